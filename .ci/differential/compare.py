"""The same random requests and answers through the proxy and through nginx: where they differ, and whether that is known.

  python3 compare.py --binary PATH [--seed N] [--cases N] [--side-by-side N] [--only NUMBER] [--work DIR]

Prints the seed, how often each known difference (known_*.py) was met, and each unknown one with the smallest case that
still shows it. Exit 0: none is unknown; 1: some are; 2: it could not run. Python 3.11 and its standard library.
"""

import argparse
import asyncio
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import cases
import known
import known_reuse  # noqa: F401 (these fill the list of what is known, and the first that fits counts)
import known_answers  # noqa: F401, I001
import proxies
import wire
from played import Asked, Difference, Played, step_of

# Steps without a pause between them have to be closer than this, or what they say is worth nothing.
CLOSE = 1.0
SHOWN = 12
COMPARED = (
    "ETag", "Last-Modified", "Cache-Control", "Expires", "Date", "Vary", "Content-Type", "Content-Range", "Location",
    "Set-Cookie", "Pragma", "CDN-Cache-Control", "X-B", "X-Hop", "X-Step",
)  # fmt: skip
# RFC 9110 §15.4.5, §15.5.17.
COMPARED_OF = {304: ("ETag", "Cache-Control", "Expires", "Date", "Vary"), 416: ("Content-Range",)}


class Side:
    """A proxy and the origin behind it."""

    def __init__(self, name, times):
        self.name = name
        self.running = {}
        self.seen = {}
        # When each step was first asked for, by either side: dates are written from it.
        self.times = times

    async def start(self, start_proxy):
        self.server, port = await wire.serve(self.answer)
        self.proxy = await asyncio.to_thread(start_proxy, port)

    def answer(self, method, path, request):
        case, number = self.running.get(path, (None, 0))
        if case is None:
            return "HTTP/1.1 404 Not Found", [("Content-Length", "0")], b""
        fields = cases.written(case.steps[number].response, self.times.setdefault((path, number), time.time()))
        start, fields, body = origin(case.steps[number], number, fields, request)
        self.seen[path].append(Asked(method, request, int(start.split(" ")[1])))
        return start, fields, body

    async def play(self, case, path):
        played = []
        for number, step in enumerate(case.steps):
            self.running[path] = (case, number)
            self.seen[path] = []
            at = time.monotonic()
            answer = await wire.ask(self.proxy.port, step.method, path, list(step.request))
            played.append(Played(answer, self.seen[path], at))
            played[-1].step = step_of(case, played)
            if step.pause:
                await asyncio.sleep(cases.PAUSE)
        del self.running[path], self.seen[path]
        return played


def origin(step, number, fields, request):
    """An origin that knows conditions, and no ranges."""
    fields.append(("X-Step", str(number + 1)))
    if step.status == 200 and not_modified(dict(fields), request):
        return "HTTP/1.1 304 Not Modified", fields, b""
    start = f"HTTP/1.1 {step.status} Whatever"
    # One entity tag, one body.
    tag = [value for name, value in fields if name in ("ETag", "Last-Modified")]
    body = f"0123456789 {tag or number + 1}\n".encode()
    if step.status == 204:
        return start, fields, b""
    if step.chunked:
        return start, fields + [("Transfer-Encoding", "chunked")], b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    return start, fields + [("Content-Length", str(len(body)))], body


def not_modified(fields, request):
    tags = request.get("If-None-Match")
    if tags is not None:
        tag = fields.get("ETag")
        return tag is not None and (tags == "*" or opaque(tag) in [opaque(one) for one in tags.split(",")])
    since, modified = wire.date(request.get("If-Modified-Since")), wire.date(fields.get("Last-Modified"))
    return since is not None and modified is not None and modified <= since


def opaque(tag):
    return tag.strip().removeprefix("W/")


async def difference(case, sides, counter, met):
    """The first difference after which the two go separate ways, or that is not known; None; or "late" where the
    machine was too slow to say. Known differences of single fields are noted in `met`."""
    path = f"{case.name}/{next(counter)}"
    ours, theirs = await asyncio.gather(*(side.play(case, path) for side in sides))
    if is_late(case, ours) or is_late(case, theirs):
        return "late"
    for number in range(len(case.steps)):
        def found(what):
            return Difference(case, number, what, ours[: number + 1], theirs[: number + 1])

        if what := parting(ours[number], theirs[number]):
            return found(what)
        has_date = bool(cases.stated(found("Date").served, "Date"))
        for name in fields_that_differ(ours[number].answer, theirs[number].answer, has_date):
            if reason := known.reason(found(name)):
                met[reason.name] += 1
            else:
                return found(name)
    return None


def is_late(case, played):
    since = played[0].at
    for number, step in enumerate(case.steps[:-1]):
        if step.pause:
            since = played[number + 1].at
        elif played[number + 1].at - since > CLOSE:
            return True
    return False


def parting(ours, theirs):
    if bool(ours.asked) != bool(theirs.asked):
        return "only ours asked" if ours.asked else "only nginx asked"
    if ours.condition != theirs.condition:
        return "condition"
    if ours.answer.status != theirs.answer.status:
        return "status"
    if ours.answer.body != theirs.answer.body and ours.answer.status != 416:
        return "body"
    return None


def fields_that_differ(ours, theirs, has_date):
    for name in COMPARED_OF.get(ours.status, COMPARED):
        # Without a Date of the origin's, each writes its own.
        if (name != "Date" or has_date) and ours.get(name) != theirs.get(name):
            yield name


async def smallest(found, sides, counter):
    """As many things taken away as can be, while what is left shows the same and is not known."""
    while True:
        tried = [asyncio.create_task(difference(case, sides, counter, Counter())) for case in cases.smaller(found.case)]
        better = [
            one
            for one in await asyncio.gather(*tried)
            if isinstance(one, Difference) and one.what == found.what and known.reason(one) is None
        ]
        if not better:
            return found
        found = better[0]


async def compare(options, work):
    times = {}
    sides = [Side("ours", times), Side("nginx", times)]
    starts = [
        lambda port: proxies.ours(options.binary, work / "ours", port),
        lambda port: proxies.nginx(options.nginx, work / "nginx", port),
    ]
    counter = iter(range(10**9))
    met, unknown = Counter(), {}
    same = parted = late = 0
    try:
        for side, start in zip(sides, starts):
            await side.start(start)
        numbers = [options.only] if options.only is not None else range(options.cases)
        waiting = iter(numbers)

        async def worker():
            nonlocal same, parted, late
            for number in waiting:
                case = cases.make(options.seed, number)
                found = await difference(case, sides, counter, met)
                if found == "late":
                    found = await difference(case, sides, counter, met)
                if found is None:
                    same += 1
                elif found == "late":
                    late += 1
                elif reason := known.reason(found):
                    met[reason.name] += 1
                    parted += 1
                else:
                    unknown.setdefault(known.outline(found), []).append(found)

        await asyncio.gather(*(worker() for _ in range(options.side_by_side)))
        print(f"{same} cases alike to the end, {parted} that parted as known, {late} too late to tell")
        for one in known.KNOWN:
            print(f"  {met[one.name]:5} {one.name} ({one.clause})")
        print(f"{sum(map(len, unknown.values()))} with an unknown difference, of {len(unknown)} kinds")
        kinds = list(unknown.values())[: options.shown]
        shortest = [min(found, key=lambda one: len(cases.told(one.case))) for found in kinds]
        for all_found, one in zip(kinds, await asyncio.gather(*(smallest(one, sides, counter) for one in shortest))):
            print(f"\n{len(all_found)} times: {one.told()}")
    finally:
        for side in sides:
            if proxy := getattr(side, "proxy", None):
                await asyncio.to_thread(proxy.stop)
    return 1 if unknown else 2 if late > options.cases / 10 else 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    parser.add_argument("--nginx", default=proxies.found("nginx"))
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--cases", type=int, default=4000)
    parser.add_argument("--side-by-side", type=int, default=100)
    parser.add_argument("--shown", type=int, default=SHOWN)
    parser.add_argument("--only", type=int, help="this case of the seed alone")
    options = parser.parse_args()
    if not options.nginx:
        print("error: there is no nginx", file=sys.stderr)
        return 2
    print(f"seed {options.seed}", flush=True)
    # As an exception, so that both proxies are stopped on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    work = Path(tempfile.mkdtemp(prefix="differential-"))
    try:
        return asyncio.run(compare(options, work))
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
