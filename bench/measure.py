"""A case: its servers warmed and looked at, then loaded one after the other, round by round."""

import gzip
import os
import time
from dataclasses import dataclass, field
from statistics import median

import load
import pages
from cases import CONTENDERS, Case, Wanted
from trouble import Trouble

# Connections of the second look at p99, where nothing queues.
FEW = 4
# How long a coding may take to be ready after the first hit.
CODING_LIMIT = 10
# What an answer may have beside its body: its head, and what HTTP/2 puts around it.
MAX_HEAD = 1500
PAGES = 10_000
FILL_LIMIT = 180


@dataclass
class Result:
    """What was measured of each contender, round by round; a problem if an answer was not what it should be."""

    case: Case
    reference: str
    rounds: dict = field(default_factory=dict)
    notes: list = field(default_factory=list)
    problem: str | None = None

    def middle(self, name, metric):
        values = [one[metric] for one in self.rounds.get(name, ()) if metric in one]
        return median(values) if values else None

    def ratio(self, name, metric):
        """To the reference in the same round, the median of the rounds."""
        both = zip(self.rounds.get(name, ()), self.rounds.get(self.reference, ()))
        ratios = [one[metric] / other[metric] for one, other in both if metric in one and other.get(metric)]
        return median(ratios) if ratios else None

    def target_value(self, target):
        measure = self.middle if target.metric == "resident_bytes" else self.ratio
        return measure(self.case.subject, target.metric)


@dataclass(frozen=True)
class Prepared:
    """How a server is asked, and how long its answers' bodies are."""

    fields: dict
    length: int


def case(case, farm, given, left_out):
    result = Result(case, given.reference)
    names = case.contenders(left_out - {given.reference})
    if given.reference not in names:
        # It stands in for nginx where that is the only rival.
        names.append(given.reference)
    try:
        if case.wanted is Wanted.MEMORY:
            memory(case, farm, names, result)
        elif case.wanted is Wanted.MISS:
            misses(case, farm, given, names, result)
        else:
            hits(case, farm, given, names, result)
    except Trouble as trouble:
        result.problem = str(trouble)
    return result


def hits(case, farm, given, names, result):
    ready = {}
    for name, server in started(case, farm, names, result):
        prepared = prepare(case, server)
        if prepared is None:
            result.notes.append(f"{CONTENDERS[name].title}: not compressed")
        else:
            ready[name] = (server, prepared)
    for name, (server, _) in ready.items():
        if not server.come_to_rest():
            result.notes.append(f"{CONTENDERS[name].title} went on working in the background")
    program = farm.programs.h2load if case.is_h2 else farm.programs.wrk
    drive = load.h2load if case.is_h2 else load.wrk
    path = f"/{case.page}.html"
    few = FEW if any(target.metric == "p99_us" for target in case.targets) else None
    for number in range(given.rounds):
        for name in turned(ready, number):
            server, prepared = ready[name]
            asked = farm.backend.count()

            def once(connections, seconds):
                return drive(program, server, path, prepared.fields, connections, seconds)

            figures = measured(server, lambda: once(given.connections, given.seconds), prepared.length)
            if few and name in (case.subject, given.reference):
                figures["p99_few_us"] = once(few, 1).p99_us
            result.rounds.setdefault(name, []).append(figures)
            if farm.backend.count() != asked:
                raise Trouble(f"{server.name} asked the backend during what should have been hits")
    for name, (server, prepared) in ready.items():
        check(case, server, prepared.fields)


def started(case, farm, names, result):
    """The servers by name. One that does not start is left out, if there is something to compare without it."""
    for name in names:
        try:
            yield name, farm.server(name, CONTENDERS[name])
        except Trouble as trouble:
            if name in (case.subject, result.reference):
                raise
            result.notes.append(f"left out: {trouble}")


def misses(case, farm, given, names, result):
    for name in names:
        farm.stop(name)
    fresh = dict(started(case, farm, names, result))
    for number in range(given.rounds):
        for name in turned(fresh, number):
            server = fresh[name]
            check_cache_status(server, server.get(f"/cold/probe/{number}"), "fwd=uri-miss")
            # What one leaves to be written would be written in the next one's time.
            os.sync()
            asked = farm.backend.count()
            figures = measured(
                server,
                lambda: load.wrk_cold(farm.programs.wrk, server, f"{number}", given.connections, given.seconds),
                pages.SIZES[case.page],
            )
            fetched = farm.backend.count() - asked
            if fetched < figures["requests"]:
                raise Trouble(f"{server.name} answered {figures['requests']} cold requests with {fetched} of the backend")
            result.rounds.setdefault(name, []).append(figures)
            check_kept(server, farm, f"/cold/{number}/0/0")
    for name in names:
        # Tens of thousands of files that nobody asks for again.
        farm.stop(name)


def memory(case, farm, names, result):
    for name in names:
        farm.stop(name)
        server = farm.server(name, CONTENDERS[name])
        end = time.monotonic() + FILL_LIMIT
        # Longer and longer, or a slow machine would never get through all of them in one run.
        seconds = 3
        while not is_all_hit(farm, server, seconds):
            seconds = min(seconds * 2, FILL_LIMIT // 4)
            if time.monotonic() > end:
                raise Trouble(f"{server.name} did not answer {PAGES} pages from its cache after {FILL_LIMIT} s")
        filled = server.resident_bytes()
        server.come_to_rest()
        result.rounds[name] = [{"resident_bytes": max(filled, server.resident_bytes())}]
        check_kept(server, farm, f"/cold/all/{PAGES // 100 - 1}/{PAGES - 1}")
        farm.stop(name)


def is_all_hit(farm, server, seconds):
    """Asks for one page after the other for a while: did every one come, and none from the backend?"""
    asked = farm.backend.count()
    run = load.wrk_cold(farm.programs.wrk, server, "all", 8, seconds, PAGES)
    return farm.backend.count() == asked and run.requests > PAGES


def measured(server, run, length):
    before = server.cpu_seconds()
    ran = run()
    cpu = server.cpu_seconds() - before
    # Answers that were cut by the end of a run count as bytes, not as requests.
    cut = 32 * length / ran.requests
    if not length <= ran.bytes_each <= length * 1.01 + MAX_HEAD + cut:
        raise Trouble(f"{server.name} sent {ran.bytes_each:.0f} bytes an answer, where the body has {length}")
    return {
        "requests": ran.requests,
        "cpu_us": cpu / ran.requests * 1e6,
        "per_second": ran.requests / ran.seconds,
        "p50_us": ran.p50_us,
        "p99_us": ran.p99_us,
    }


def prepare(case, server):
    """Has the page stored and asks as the load will; None if it does not come in the coding that is asked for."""
    fields = {"Accept-Encoding": ", ".join(case.codings)} if case.codings else {}
    path = f"/{case.page}.html"
    # Caches that count uses store at the first; in memory it is from the second on.
    for _ in range(3):
        server.get(path, fields)
    if case.wanted is Wanted.NOT_MODIFIED:
        etag = server.get(path, fields).headers["ETag"]
        if etag is None:
            raise Trouble(f"{server.name} sends no ETag for {path}")
        fields["If-None-Match"] = etag
    if case.codings and not comes_coded(server, path, fields):
        return None
    return Prepared(fields, check(case, server, fields))


def comes_coded(server, path, fields):
    end = time.monotonic() + CODING_LIMIT
    while server.get(path, fields).headers["Content-Encoding"] is None:
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def check(case, server, fields):
    """Asks once: is it the very page, and from where it should be? Gives the length of what came."""
    answer = server.get(f"/{case.page}.html", fields)
    status = 304 if case.wanted is Wanted.NOT_MODIFIED else 200
    if answer.status != status:
        raise Trouble(f"{server.name} answers {answer.status}, not {status}")
    coding = answer.headers["Content-Encoding"]
    page = pages.text(case.page)
    if status == 200 and coding != "br":
        body = gzip.decompress(answer.body) if coding == "gzip" else answer.body
        if body != page:
            raise Trouble(f"{server.name} sends another page ({len(body)} bytes, not {len(page)})")
    if coding and (coding not in case.codings or not len(answer.body) < len(page) / 2):
        raise Trouble(f"{server.name} sends {len(answer.body)} bytes in {coding}, which nobody wanted")
    check_cache_status(server, answer, ";hit")
    return len(answer.body)


def check_kept(server, farm, path):
    """A page that came as a miss is one, and is stored."""
    answer = server.get(path)
    if answer.body != pages.cold(path):
        raise Trouble(f"{server.name} sends another page for {path}")
    asked = farm.backend.count()
    check_cache_status(server, server.get(path), ";hit")
    if farm.backend.count() != asked:
        raise Trouble(f"{server.name} did not keep {path}")


def check_cache_status(server, answer, word):
    """Ours alone says; of the others the backend's count tells."""
    if CONTENDERS[server.name].kind == "ours" and word not in (answer.headers["Cache-Status"] or ""):
        raise Trouble(f"{server.name} answers with Cache-Status: {answer.headers['Cache-Status']}, which is no `{word}`")


def turned(names, number):
    """Each round begins with another one, so that no place in the order is somebody's."""
    names = list(names)
    by = number % len(names)
    return names[by:] + names[:by]
