"""Random cases: two to four requests for one address, what the origin says to each, and the time between them."""

import random
from dataclasses import dataclass, field, replace
from email.utils import formatdate

# A short lifetime (max-age=3) is over after a pause, and not before: caches count seconds each in its own way.
SHORT = 3
PAUSE = 4.7

FIXED = 1577836800
FIXED_DATE = formatdate(FIXED, usegmt=True)


@dataclass(frozen=True)
class Step:
    method: str
    request: tuple
    status: int
    response: tuple
    chunked: bool
    pause: bool


@dataclass(frozen=True)
class Case:
    name: str
    steps: tuple = field(default=())


def date(offset):
    """Written out when it is sent."""
    return ("date", offset)


CACHE_CONTROL = [
    "max-age=60", "max-age=60", "max-age=60", "max-age=3", "max-age=3", "max-age=3", "max-age=0",
    "s-maxage=60", "s-maxage=3, max-age=60", "max-age=3, s-maxage=60", "max-age=60, s-maxage=0", "max-age=0, s-maxage=60",
    "public, max-age=60", "public", "private, max-age=60", "private", "no-store", "no-store, max-age=60",
    "no-cache", "no-cache, max-age=60", "MAX-AGE=60", "No-Store, Max-Age=60", "PRIVATE, max-age=60", " , max-age=60 ,,",
    'max-age="60"', "max-age='60'", "max-age=-1", "max-age=060", "max-age=60.5", "max-age=abc", "max-age", "max-age=",
    "max-age=99999999999", 'ext="max-age=60"', 'ext="max-age=60", max-age=3', 'ext="no-store", max-age=60',
    'ext="a, private, b", max-age=60', "must-revalidate, max-age=60", "must-revalidate, max-age=3", "must-revalidate",
    "proxy-revalidate, max-age=3", "no-transform, max-age=60", "immutable, max-age=60", 'private="x-b", max-age=60',
    'no-cache="x-b", max-age=60', "max-age=3, max-age=60", "max-age=60, max-age=3", "xmax-age=60", "x-no-store, max-age=60",
    "max-age =60", "max-age= 60", "max-age=60;x", "max-age=60 x", "", "stale-if-error=60, max-age=3",
]  # fmt: skip
EXPIRES = [
    date(60), date(60), date(60), date(SHORT), date(0), date(-60), "0", "-1", "never",
    "Thursday, 18-Aug-50 02:01:18 GMT", "Thu Aug 18 02:01:18 2050", "Thu, 18 Aug 2050 02:01:18 UTC",
    "thu, 18 aug 2050 02:01:18 gmt", "Thu, 18 Aug 2050 2:01:18 GMT", "Tue, 19 Jan 2038 14:14:08 GMT",
]  # fmt: skip
# Those that are to come, and HTTP dates (in any case).
DATES = {EXPIRES[at] for at in (9, 10, 12, 14)}
DATE = [date(0), date(0), date(0), date(0), date(-30), date(-100), date(30), "then"]
AGE = ["0", "30", "90", "abc", "-1", "90.5", "0, 90", "90, 0", "2147483648"]
VARY = ["X-A", "X-A", "X-A, X-B", "x-a,x-b", "*", "X-A, *", "Accept-Language", "", ", X-A", "Accept-Encoding", "Origin"]
ETAG = ['"v"', '"v"', '"v"', 'W/"v"', "v", '"other"']
LAST_MODIFIED = [FIXED_DATE, FIXED_DATE, FIXED_DATE, date(-100), date(60), "Wed, 01 Jan 2020"]
STATUS = [200] * 30 + [203, 204, 299, 301, 302, 307, 308, 400, 403, 404, 410, 418, 500, 502, 503]

IF_NONE_MATCH = ['"v"', 'W/"v"', "*", '"x", "v"', '"x"', "v"]
IF_MODIFIED_SINCE = [FIXED_DATE, formatdate(FIXED + 3600, usegmt=True), formatdate(FIXED - 3600, usegmt=True), "then"]
RANGE = ["bytes=0-3", "bytes=2-", "bytes=-2", "bytes=900-", "bytes=0-1,3-4", "lines=1-2", "bytes=3-1"]
REQUEST_CACHE_CONTROL = ["no-cache", "max-age=0", "no-store", "max-stale=60", "min-fresh=600"]


def make(seed, number):
    r = random.Random(f"{seed} {number}")
    # One habit for all answers of a case, so that something gets stored and validated now and then.
    varies = r.random() < 0.35
    etag = r.choice(ETAG) if r.random() < 0.5 else None
    modified = r.choice(LAST_MODIFIED) if r.random() < 0.4 else None
    count = r.choice([2, 2, 3, 3, 4])
    steps = [step(r, varies, etag, modified, last=at == count - 1) for at in range(count)]
    return Case(f"/{seed}/{number}", tuple(steps))


def step(r, varies, etag, modified, *, last):
    request = []
    for name in ("X-A", "X-B"):
        if r.random() < (0.5 if varies else 0.15):
            request.append((name, r.choice(["1", "1", "2"])))
    often = [
        (0.1, "Accept-Language", ["en", "en, de", "EN,de", "de;q=0.5, en"]),
        (0.05, "Accept-Encoding", ["gzip", "identity"]),
        (0.08, "If-None-Match", IF_NONE_MATCH),
        (0.08, "If-Modified-Since", IF_MODIFIED_SINCE),
        (0.06, "Range", RANGE),
        (0.05, "Cache-Control", REQUEST_CACHE_CONTROL),
        (0.02, "Pragma", ["no-cache"]),
        (0.02, "Authorization", ["Basic Og=="]),
    ]
    for chance, name, values in often:
        if r.random() < chance:
            request.append((name, r.choice(values)))
    if any(name == "Range" for name, _ in request) and r.random() < 0.3:
        request.append(("If-Range", r.choice(['"v"', 'W/"v"', '"x"', FIXED_DATE])))

    response = [("Content-Type", r.choice(["text/plain", "text/html; charset=utf-8"]))]
    if r.random() < 0.75:
        response.append(("Cache-Control", r.choice(CACHE_CONTROL)))
        if r.random() < 0.12:
            response.append((r.choice(["Cache-Control", "cache-control"]), r.choice(CACHE_CONTROL)))
    often = [
        (0.3, "Expires", EXPIRES),
        (0.03, "Expires", EXPIRES),
        (0.7, "Date", DATE),
        (0.12, "Age", AGE),
        (0.6 if varies else 0.08, "Vary", VARY),
        (0.05, "Vary", VARY),
        (0.04, "Set-Cookie", ["a=b; Path=/"]),
        (0.03, "Pragma", ["no-cache"]),
        (0.03, "CDN-Cache-Control", ["max-age=60", "no-store", "max-age=0"]),
        (0.05, "X-B", ["from the origin"]),
    ]
    for chance, name, values in often:
        if r.random() < chance:
            response.append((name, r.choice(values)))
    if etag and r.random() < 0.9:
        response.append(("ETag", etag))
    if modified and r.random() < 0.9:
        response.append(("Last-Modified", modified))
    if r.random() < 0.06:
        response += [("Connection", "X-Hop"), ("X-Hop", "1")]
    r.shuffle(response)
    status = r.choice(STATUS)
    if status in (301, 302, 307, 308):
        response.append(("Location", "/elsewhere"))
    method = "HEAD" if r.random() < 0.05 else "GET"
    return Step(method, tuple(request), status, tuple(response), r.random() < 0.3, not last and r.random() < 0.35)


def smaller(case):
    """The case with one thing less, each."""
    for at, one in enumerate(case.steps):
        if len(case.steps) > 1:
            yield replace(case, steps=case.steps[:at] + case.steps[at + 1 :])
        simpler = [replace(one, request=without) for without in less(one.request)]
        simpler += [replace(one, response=without) for without in less(one.response)]
        if one.chunked:
            simpler.append(replace(one, chunked=False))
        if one.pause:
            simpler.append(replace(one, pause=False))
        if one.status != 200:
            simpler.append(replace(one, status=200))
        if one.method != "GET":
            simpler.append(replace(one, method="GET"))
        for other in simpler:
            yield replace(case, steps=case.steps[:at] + (other,) + case.steps[at + 1 :])


def less(fields):
    return [fields[:at] + fields[at + 1 :] for at in range(len(fields))]


def written(fields, now):
    return [(name, value if isinstance(value, str) else formatdate(now + value[1], usegmt=True)) for name, value in fields]


def stated(one, name):
    """The values of a field of the origin's answer, as they are in the case."""
    return [value for other, value in one.response if other.lower() == name.lower()]


def told(case):
    lines = []
    for number, one in enumerate(case.steps, 1):
        lines.append(f"  {number}. {one.method}  {fields_told(one.request)}")
        lines.append(f"     -> {one.status}  {fields_told(one.response)}{'  (chunked)' if one.chunked else ''}")
        if one.pause:
            lines.append(f"     … {PAUSE} s")
    return "\n".join(lines)


def fields_told(fields):
    parts = []
    for name, value in fields:
        parts.append(f"{name}: {value}" if isinstance(value, str) else f"{name}: now{value[1]:+} s")
    return " | ".join(parts) or "-"
