"""The command: what is measured (cases), against what (servers), by what (load), and what came out (report)."""

import argparse
import shutil
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import measure
import report
import tools
from cases import CASES, CONTENDERS
from servers import Farm
from trouble import Trouble

EPILOG = """
Exit codes: 0, measured, whether or not the targets are reached; 1, something went wrong, or an answer was not what it
should be, or (with --fail-beyond) a target is missed by far; 3, a program is missing.
"""


def arguments():
    parser = argparse.ArgumentParser(prog="bench/compare", description=__doc__, epilog=EPILOG)
    parser.add_argument("--quick", action="store_true", help="fewer cases and rounds, phantom-frame and nginx alone: two minutes")
    parser.add_argument("--only", action="append", metavar="CASE", help="only cases whose names begin so; may be given again")
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds of each case (5; 3 if quick)")
    parser.add_argument("--seconds", type=int, metavar="S", help="seconds of each run (2; 1 if quick)")
    parser.add_argument("--connections", type=int, default=32, metavar="N", help="connections of the load (32)")
    parser.add_argument("--binary", type=Path, metavar="PATH", help="a phantom-frame, instead of a release build of this tree")
    parser.add_argument("--reference", choices=("nginx", "nginx-tuned"), default="nginx", help="what ratios are to: nginx, or nginx with open_file_cache")
    parser.add_argument("--fail-beyond", type=float, metavar="FACTOR", help="exit 1 if a target is missed by more than this factor")
    parser.add_argument("--write", action="store_true", help="put table and plot into README.md and docs/speed.svg")
    parser.add_argument("--list", action="store_true", help="list the cases")
    given = parser.parse_args()
    given.rounds = given.rounds or (3 if given.quick else 5)
    given.seconds = given.seconds or (1 if given.quick else 2)
    if given.rounds < 1 or given.seconds < 1 or given.connections < 1:
        parser.error("--rounds, --seconds and --connections are 1 or more")
    return given


def chosen(given):
    if given.only:
        cases = [case for case in CASES if any(case.name.startswith(name) for name in given.only)]
        if not cases:
            raise Trouble(f"no case begins with {' or '.join(given.only)}; bench/compare --list has them")
        return cases
    return [case for case in CASES if case.is_quick or not given.quick]


def main():
    given = arguments()
    if given.list:
        for case in CASES:
            print(f"{case.name:12} {case.title}{' (quick)' if case.is_quick else ''}")
        return 0
    cases = chosen(given)
    programs = tools.find(given.binary)
    left_out = {name for name, contender in CONTENDERS.items() if given.quick and not contender.is_quick}
    if not programs.varnishd:
        left_out.add("varnish")
    with ExitStack() as stack:
        work = Path(tempfile.mkdtemp(prefix="phantom-bench-"))
        stack.callback(shutil.rmtree, work, ignore_errors=True)
        farm = stack.enter_context(Farm(programs, work))
        results = []
        machine = tools.machine()
        report.say_head(programs, machine, given)
        for number, case in enumerate(cases, 1):
            report.say_progress(number, len(cases), case)
            results.append(measure.case(case, farm, given, left_out))
            report.say_result(results[-1])
    outcome = report.Outcome(results, programs, machine, given)
    outcome.save()
    if given.write:
        outcome.publish()
    outcome.say()
    return 1 if outcome.is_failed() else 0


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def end(number, _frame):
    # Leaves by way of the exits above, which stop the servers; a second signal must not keep them from it.
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    raise SystemExit(128 + number)


if __name__ == "__main__":
    for each in SIGNALS:
        signal.signal(each, end)
    try:
        code = main()
    except tools.Missing as error:
        print(f"bench/compare: {error}", file=sys.stderr)
        code = 3
    except (Trouble, OSError) as error:
        print(f"bench/compare: {error}", file=sys.stderr)
        code = 1
    sys.exit(code)
