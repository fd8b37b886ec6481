"""Known differences in what is answered."""

import re

import wire
from known import cache_control, is_past, lifetimes, of, stated, where
from played import source

# --- Conditions ---------------------------------------------------------------------------------------


@of("condition", "nginx keeps nothing that it cannot use without asking", "RFC 9111 §4.3.1: ours")
def _(d):
    return d.theirs[-1].condition == (None, None) and d.step.method == "GET" and not d.asks("Range")


@of("condition", "ours sends back a Last-Modified that is no date", "RFC 9110 §8.8.2: nginx")
def _(d):
    return d.ours[-1].condition[1] == "Wed, 01 Jan 2020" and d.theirs[-1].condition[1] is None


@of("condition", "ours validates no variant for other fields than its own", "RFC 9111 §4.1, §4.3.1: both")
def _(d):
    return d.ours[-1].condition == (None, None) and any(stated(step, "Vary") for step in d.case.steps[: d.number])


@of("condition", "nginx keeps an old answer where the new one cannot be kept", "RFC 9111 §4.3.3: both")
def _(d):
    before = d.theirs[max(d.number - 1, 0)]
    if not before.asked or before.asked[0].status == 304 or not any(d.theirs[-1].condition):
        return False
    step = d.case.steps[d.number - 1]
    forbids = re.search("no-store|no-cache|private", cache_control(step), re.I)
    is_odd = re.search(r"""max-age(\s+=|=\s|="|='|=-|=[a-z]|=60[^\d,]|=?\s*(,|$))""", cache_control(step), re.I)
    return forbids or is_odd or not lifetimes(step) or stated(step, "Set-Cookie")


@of("condition", "nginx validates what CDN-Cache-Control forbids to store", "RFC 9213 §2.2: ours")
def _(d):
    return d.ours[-1].condition == (None, None) and any(
        "no-store" in stated(step, "CDN-Cache-Control") for step in d.case.steps[: d.number]
    )


@of("condition", "ours sends a HEAD, a range and what carries credentials on as they come", "RFC 9110 §13.2.1: both")
def _(d):
    return d.step.method == "HEAD" or d.asks("Range") or d.asks("Authorization")


@of("condition", "nginx validates what it had of a HEAD, a range or credentials", "RFC 9111 §4.3.1: both")
def _(d):
    played = d.theirs[: d.number]
    return d.ours[-1].condition == (None, None) and any(
        step.method == "HEAD" or any(name in ("Range", "Authorization") for name, _ in step.request)
        for step, _ in zip(d.case.steps, played)
    )


@of("status", "ours serves what it has instead of a server error, nginx where it is configured to", "RFC 9111 §4.3.3, RFC 5861 §4: both")
def _(d):
    stale = re.search(r";ttl=-\d+;detail=server-error", d.ours[-1].answer.get("Cache-Status") or "")
    return d.theirs[-1].answer.status >= 500 and d.ours[-1].asked and stale


@of("status", "nginx has If-Modified-Since count beside If-None-Match", "RFC 9110 §13.1.3: ours")
def _(d):
    return d.asks("If-None-Match") and d.asks("If-Modified-Since")


@of("status", "nginx answers a condition only from what it stores", "RFC 9111 §4.3.2: both")
def _(d):
    conditional = d.asks("If-None-Match") or d.asks("If-Modified-Since")
    statuses = {d.ours[-1].answer.status, d.theirs[-1].answer.status}
    return conditional and d.theirs[-1].asked and 304 in statuses and statuses <= {200, 206, 304}


@of("status", "nginx weighs conditions for a 200 alone", "RFC 9110 §13.2.1: ours")
def _(d):
    return d.served.status in range(201, 300) and d.ours[-1].answer.status == 304


@of("status", "nginx answers a HEAD with a range", "RFC 9110 §14.2: ours")
def _(d):
    return d.step.method == "HEAD" and d.asks("Range")


@of("status", "nginx has a range that ends before it begins be one", "RFC 9110 §14.1.1, §14.2: ours")
def _(d):
    return ("Range", "bytes=3-1") in d.step.request


@of("status", "nginx cuts nothing out of what came in chunks", "RFC 9110 §14.2: both")
def _(d):
    return d.asks("Range") and d.theirs[-1].answer.status == 200 and d.case.steps[source(d.theirs)].chunked


@of("status", "ours sends a range on where nothing is stored", "RFC 9110 §14.2: both")
def _(d):
    return d.asks("Range") and d.ours[-1].asked and d.ours[-1].answer.status == 200


# --- Fields -------------------------------------------------------------------------------------------


@of("ETag", "ours makes an entity tag where there is none", "RFC 9110 §8.8.3: both")
def _(d):
    return not stated(d.served, "ETag") and d.theirs[-1].answer.get("ETag") is None


@of("Cache-Control", "ours tells clients to ask each time where the lifetime is its own", "RFC 9111 §4.2.2: both")
def _(d):
    told = d.ours[-1].answer.get("Cache-Control") == "public, max-age=0, must-revalidate"
    return told and not stated(d.served, "Cache-Control")


@of("Expires", "ours moves Expires by Age where there is no Date, or none that is one", "RFC 9111 §5.3: nginx")
def _(d):
    ages = stated(d.served, "Age")
    return ages and re.match(r"[1-9]", ages[0]) and not any(isinstance(one, tuple) for one in stated(d.served, "Date"))


@of("X-Hop", "nginx passes on what Connection names", "RFC 9110 §7.6.1: ours")
def _(d):
    return d.ours[-1].answer.get("X-Hop") is None


@of("Date", "ours writes Date from the clock of what is stored", "RFC 9110 §6.6.1: nginx")
def _(d):
    dates = stated(d.served, "Date")
    # Where the lifetime is ours alone, the clock starts when the answer comes.
    is_ours = not lifetimes(d.served) and not stated(d.served, "Last-Modified") and not stated(d.served, "Expires")
    return stated(d.served, "Age") or is_ours or any(isinstance(one, str) or one[1] > 0 for one in dates)


@of("Expires", "ours writes Expires from Date and the lifetime that it meant", "RFC 9111 §5.3: both")
def _(d):
    date, expires = wire.date(d.ours[-1].answer.get("Date")), wire.date(d.ours[-1].answer.get("Expires"))
    their_date = wire.date(d.theirs[-1].answer.get("Date")) or date
    values = d.theirs[-1].answer.all("Expires")
    theirs = wire.date(values[0]) if len(set(values)) == 1 else None
    if date is None or expires is None:
        return False
    if theirs is None or theirs <= their_date or any(map(is_past, stated(d.served, "Expires"))):
        return expires <= date
    # Date may be another too, and is looked at for itself.
    return abs(expires - theirs) <= 1 or abs((expires - date) - (theirs - their_date)) <= 1


def after_304(played):
    return any(asked.status == 304 for one in played for asked in one.asked)


def is_field(d):
    return d.what[0].isupper()


@where(lambda d: is_field(d) or d.what == "condition", "nginx takes nothing over from a 304", "RFC 9111 §3.2: ours")
def _(d):
    return after_304(d.ours) and source(d.ours) >= source(d.theirs)


@where(lambda d: d.what.startswith("only"), "nginx takes nothing but a lifetime over from a 304", "RFC 9111 §3.2: ours")
def _(d):
    return after_304(d.ours[:-1])


@where(
    lambda d: len(d.ours[-1].asked) > 1,
    "ours asks anew where a 304 is of something else, or forbids storing",
    "RFC 9111 §4.3.4: both",
)
def _(d):
    return d.ours[-1].asked[0].status == 304


@where(
    lambda d: d.what in ("only ours asked", "condition"),
    "ours drops what a 304 forbids to store",
    "RFC 9111 §5.2.2.5: both",
)
def _(d):
    return any(len(one.asked) > 1 and one.asked[0].status == 304 for one in d.ours)
