"""The same random requests and answers through the proxy and through nginx: where they differ, and whether that is known.

  python3 compare.py --binary PATH [--seed N] [--cases N] [--side-by-side N] [--only NUMBER] [--work DIR]

Prints the seed, how often each known difference (known.py) was met, and each unknown one with the smallest case that
still shows it. Exit 0: none is unknown; 1: some are; 2: it could not run. Python 3.11 and its standard library.
"""

import argparse
import asyncio
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from pathlib import Path

import cases
import known
import proxies
import wire

# Two steps without a pause between them have to be closer than this, or what they say is nothing worth.
CLOSE = 1.2
SHOWN = 12
COMPARED = (
    "ETag", "Last-Modified", "Cache-Control", "Expires", "Date", "Vary", "Content-Type", "Content-Range", "Location",
    "Set-Cookie", "Pragma", "CDN-Cache-Control", "X-B", "X-Hop", "X-Step",
)  # fmt: skip


@dataclass
class Played:
    """What one proxy made of one step."""

    answer: wire.Message
    asked: list = field(default_factory=list)
    at: float = 0

    @property
    def from_step(self):
        """Which step's answer was served, from 0."""
        return int((self.answer.get("X-Step") or "0").split(",")[0]) - 1


class Side:
    """A proxy and the origin behind it."""

    def __init__(self, name):
        self.name = name
        self.running = {}
        self.seen = {}

    async def start(self, start_proxy):
        self.server, port = await wire.serve(self.answer)
        self.proxy = await asyncio.to_thread(start_proxy, port)

    def answer(self, method, path, request):
        case, number = self.running.get(path, (None, 0))
        if case is None:
            return "HTTP/1.1 404 Not Found", [("Content-Length", "0")], b""
        self.seen[path].append((method, request))
        return origin(case.steps[number], number, request)

    async def play(self, case, path):
        played = []
        for number, step in enumerate(case.steps):
            self.running[path] = (case, number)
            self.seen[path] = []
            at = time.monotonic()
            answer = await wire.ask(self.proxy.port, step.method, path, list(step.request))
            played.append(Played(answer, self.seen[path], at))
            if step.pause:
                await asyncio.sleep(cases.PAUSE)
        del self.running[path], self.seen[path]
        return played


def origin(step, number, request):
    """An origin that knows conditions, and no ranges."""
    fields = cases.written(step.response, time.time())
    fields.append(("X-Step", str(number + 1)))
    if step.status == 200 and not_modified(dict(fields), request):
        return "HTTP/1.1 304 Not Modified", fields, b""
    start = f"HTTP/1.1 {step.status} Whatever"
    body = f"0123456789 of {number + 1}\n".encode()
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
    since, modified = http_date(request.get("If-Modified-Since")), http_date(fields.get("Last-Modified"))
    return since is not None and modified is not None and modified <= since


def opaque(tag):
    return tag.strip().removeprefix("W/")


def http_date(text):
    if text is None or not re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT", text):
        return None
    return parsedate_to_datetime(text)


async def difference(case, sides, counter):
    """The first place where the two differ, or None; "late" where the machine was too slow to say."""
    path = f"{case.name}/{next(counter)}"
    ours, theirs = await asyncio.gather(*(side.play(case, path) for side in sides))
    for number, step in enumerate(case.steps[:-1]):
        for played in (ours, theirs):
            if not step.pause and played[number + 1].at - played[number].at > CLOSE:
                return "late"
    for number in range(len(case.steps)):
        if what := first_of(ours[number], theirs[number]):
            return known.Difference(case, number, what, ours[: number + 1], theirs[: number + 1])
    return None


def first_of(ours, theirs):
    if bool(ours.asked) != bool(theirs.asked):
        return "only ours asked" if ours.asked else "only nginx asked"
    if ours.asked:
        sent = [[one.asked[-1][1].get(name) for name in ("If-None-Match", "If-Modified-Since")] for one in (ours, theirs)]
        if sent[0] != sent[1]:
            return "condition"
    if ours.answer.status != theirs.answer.status:
        return "status"
    if ours.answer.body != theirs.answer.body:
        return "body"
    for name in COMPARED:
        if ours.answer.get(name) != theirs.answer.get(name):
            return name
    return None


async def smallest(found, sides, counter):
    """As many things taken away as can be, while what is left shows the same and is not known."""
    while True:
        tried = [asyncio.create_task(difference(case, sides, counter)) for case in cases.smaller(found.case)]
        better = [
            one
            for one in await asyncio.gather(*tried)
            if isinstance(one, known.Difference) and one.what == found.what and known.reason(one) is None
        ]
        if not better:
            return found
        found = better[0]


async def compare(options, work):
    sides = [Side("ours"), Side("nginx")]
    starts = [
        lambda port: proxies.ours(options.binary, work / "ours", port),
        lambda port: proxies.nginx(options.nginx, work / "nginx", port),
    ]
    counter = iter(range(10**9))
    met, unknown, late = Counter(), {}, 0
    same = 0
    try:
        for side, start in zip(sides, starts):
            await side.start(start)
        numbers = [options.only] if options.only is not None else range(options.cases)
        waiting = iter(numbers)

        async def worker():
            nonlocal late, same
            for number in waiting:
                case = cases.make(options.seed, number)
                found = await difference(case, sides, counter)
                if found == "late":
                    found = await difference(case, sides, counter)
                if found is None:
                    same += 1
                elif found == "late":
                    late += 1
                elif reason := known.reason(found):
                    met[reason.name] += 1
                else:
                    unknown.setdefault(known.outline(found), []).append(found)

        await asyncio.gather(*(worker() for _ in range(options.side_by_side)))
        print(f"{same} cases alike, {sum(met.values())} with a known difference, {late} too late to tell")
        for one in known.KNOWN:
            print(f"  {met[one.name]:5} {one.name} ({one.clause})")
        print(f"{sum(map(len, unknown.values()))} with an unknown difference, of {len(unknown)} kinds")
        for found_all in list(unknown.values())[: options.shown]:
            found = min(found_all, key=lambda one: len(cases.told(one.case)))
            found = await smallest(found, sides, counter)
            print(f"\n{len(found_all)} times: {found.told()}")
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
    parser.add_argument("--side-by-side", type=int, default=150)
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
