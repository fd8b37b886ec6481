"""What came out: on the terminal, as JSON, as a table in Markdown and as a plot."""

import json
import time

import plot
import tools
from cases import CONTENDERS, Wanted
from trouble import Trouble

RESULTS = tools.ROOT / "bench" / "results"
README = tools.ROOT / "README.md"
PLOT = tools.ROOT / "docs" / "speed.svg"
BEGIN, END = "<!-- begin speed -->\n", "<!-- end speed -->"
# Beyond this something else was running.
BUSY = 0.5
METRICS = {"cpu_us": "CPU", "per_second": "throughput", "p99_us": "p99", "resident_bytes": "resident"}
MIB = 1 << 20


def say_head(programs, machine, given):
    versions = ", ".join(f"{name} {version}" for name, version in programs.versions().items())
    print(f"{machine['cpu']}, {machine['cores']} cores, Linux {machine['kernel']}; {versions}")
    print(
        f"{given.rounds} rounds of {given.seconds} s a run, {given.connections} connections. The load generator and the backend "
        "share the cores with what is measured: read ratios; CPU time is the server's own."
    )
    if machine["load_before"] > BUSY:
        print(f"The machine is busy (load {machine['load_before']:.1f}): throughput and p99 will say little.")


def say_progress(number, count, case):
    print(f"\n[{number}/{count}] {case.name}: {case.title}", flush=True)


def say_result(result):
    if result.problem:
        print(f"  FAILED: {result.problem}")
    for note in result.notes:
        print(f"  {note}")
    if result.case.wanted is Wanted.MEMORY:
        for name in result.rounds:
            print(f"  {CONTENDERS[name].title:44} {result.middle(name, 'resident_bytes') / MIB:7.1f} MiB resident")
    elif result.rounds:
        print(f"  {'':44} {'CPU µs':>7} {'':7} {'per s':>8} {'':7} {'p50 ms':>7} {'p99 ms':>7} {'':7} {'p99, 4 conn.':>12}")
        for name in result.rounds:
            print("  " + line(result, name))
    for target in result.case.targets:
        value = result.target_value(target)
        if value is not None:
            print(f"  {METRICS[target.metric]} {quantity(target, value)}, to be {bound(target)}: {verdict(target, value)}")


def line(result, name):
    def ratio(metric):
        value = result.ratio(name, metric)
        return f"x{value:.2f}" if value is not None and name != result.reference else ""

    few = result.middle(name, "p99_few_us")
    return (
        f"{CONTENDERS[name].title:44} {result.middle(name, 'cpu_us'):7.1f} {ratio('cpu_us'):7} "
        f"{result.middle(name, 'per_second'):8.0f} {ratio('per_second'):7} {result.middle(name, 'p50_us') / 1000:7.2f} "
        f"{result.middle(name, 'p99_us') / 1000:7.2f} {ratio('p99_us'):7} {'' if few is None else f'{few / 1000:12.2f}'}"
    ).rstrip()


def quantity(target, value):
    return f"{value / MIB:.0f} MiB" if target.metric == "resident_bytes" else f"x{value:.2f}"


def bound(target):
    if target.at_least is not None:
        return f"≥ {target.at_least:g}"
    return f"≤ {target.at_most / MIB:g} MiB" if target.metric == "resident_bytes" else f"≤ {target.at_most:g}"


def verdict(target, value):
    return "reached" if target.is_reached(value) else "missed"


class Outcome:
    """A whole run."""

    def __init__(self, results, programs, machine, given):
        self.results = results
        self.machine = machine
        self.versions = programs.versions()
        self.given = given

    def judged(self):
        """Each target with what was measured for it."""
        for result in self.results:
            for target in result.case.targets:
                value = result.target_value(target)
                if value is not None:
                    yield result, target, value

    def is_failed(self):
        return any(result.problem for result in self.results) or any(self.far_off())

    def far_off(self):
        """CPU and memory alone: the others tell what else the machine was doing as well."""
        factor = self.given.fail_beyond
        if factor is None:
            return
        for result, target, value in self.judged():
            if target.metric in ("cpu_us", "resident_bytes") and target.is_missed_by(factor, value):
                yield f"{result.case.title}: {METRICS[target.metric]} {quantity(target, value)}, to be {bound(target)}"

    def say(self):
        print()
        verdicts = [verdict(target, value) for _, target, value in self.judged()]
        print(f"{verdicts.count('reached')} of {len(verdicts)} targets reached; {RESULTS / 'latest.md'} has the table")
        for result in self.results:
            if result.problem:
                print(f"FAILED {result.case.name}; above is why")
        for missed in self.far_off():
            print(f"FAR OFF {missed}")

    def save(self):
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "latest.json").write_text(json.dumps(self.as_json(), indent=1) + "\n")
        (RESULTS / "latest.md").write_text(self.markdown())
        (RESULTS / "latest.svg").write_text(plot.svg(self.results))

    def publish(self):
        """Into what is committed."""
        if self.given.only:
            raise Trouble("--write is for all cases: leave --only out")
        text = README.read_text()
        before, begin, rest = text.partition(BEGIN)
        _, end, after = rest.partition(END)
        if not (begin and end):
            raise Trouble(f"{README} has no block between {BEGIN.strip()} and {END}: put these two lines where the table is to be")
        picture = f"![CPU time of the server for one answer, to that of nginx]({PLOT.relative_to(tools.ROOT)})\n\n"
        README.write_text(before + begin + picture + self.markdown() + end + after)
        PLOT.write_text(plot.svg(self.results))

    def as_json(self):
        return {
            "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "machine": self.machine,
            "versions": self.versions,
            "rounds": self.given.rounds,
            "seconds": self.given.seconds,
            "connections": self.given.connections,
            "reference": self.given.reference,
            "cases": [as_json(result) for result in self.results],
        }

    def markdown(self):
        machine = self.machine
        busy = f", on a busy machine (load {machine['load_before']:.0f})" if machine["load_before"] > BUSY else ""
        rows = [
            "| | CPU | throughput | p99 | nginx with `open_file_cache`, CPU | nginx static, CPU | Varnish, CPU |",
            "|---|---|---|---|---|---|---|",
        ]
        rows += [row(result) for result in self.results if result.case.wanted is not Wanted.MEMORY]
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        text = "\n".join(rows) + "\n\n"
        for result in self.results:
            if result.case.wanted is Wanted.MEMORY and result.rounds:
                taken = {name: f"{result.middle(name, 'resident_bytes') / MIB:.0f} MiB" for name in result.rounds}
                said = ", ".join(f"{CONTENDERS[name].title} {size}" for name, size in taken.items())
                text += f"Resident with {result.case.title}: {said}"
                text += "".join(f" (target {bound(target)})" for target in result.case.targets) + ".\n\n"
        return text + (
            f"Ratios to {CONTENDERS[self.given.reference].title} in the same round, the median of {self.given.rounds} with runs of "
            f"{self.given.seconds} s; behind them the target, ✓ where it is reached. {self.given.connections} connections, "
            f"{machine['cores']} cores ({machine['cpu']}), which load generator and backend share{busy}; {versions}.\n"
        )


def row(result):
    if result.problem or not result.rounds.get(result.case.subject):
        why = "an answer was not what it should be" if result.problem else "; ".join(result.notes)
        return f"| {result.case.title} | {why or 'not measured'} | | | | | |"
    cells = [result.case.title]
    cells += [judged_cell(result, metric) for metric in ("cpu_us", "per_second", "p99_us")]
    for rival in ("nginx-tuned", "nginx-static", "varnish"):
        value = result.ratio(rival, "cpu_us")
        cells.append("" if value is None or rival == result.reference else f"{value:.2f}")
    return "| " + " | ".join(cells) + " |"


def judged_cell(result, metric):
    value = result.ratio(result.case.subject, metric)
    if value is None:
        return ""
    targets = [target for target in result.case.targets if target.metric == metric]
    judged = "".join(f" ({bound(target)}{' ✓' if target.is_reached(value) else ''})" for target in targets)
    return f"**{value:.2f}**{judged}"


def as_json(result):
    metrics = ("cpu_us", "per_second", "p50_us", "p99_us", "p99_few_us", "resident_bytes")
    contenders = {}
    for name, rounds in result.rounds.items():
        contenders[name] = {
            "title": CONTENDERS[name].title,
            "median": {metric: value for metric in metrics if (value := result.middle(name, metric)) is not None},
            "ratio": {metric: value for metric in metrics if (value := result.ratio(name, metric)) is not None},
            "rounds": rounds,
        }
    judged = []
    for target in result.case.targets:
        value = result.target_value(target)
        if value is not None:
            judged.append(
                {"metric": target.metric, "at_most": target.at_most, "at_least": target.at_least, "value": value, "verdict": verdict(target, value)}
            )
    return {
        "name": result.case.name,
        "title": result.case.title,
        "subject": result.case.subject,
        "contenders": contenders,
        "targets": judged,
        "notes": result.notes,
        "problem": result.problem,
    }
