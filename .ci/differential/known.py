"""What nginx is known to do otherwise, and the clause that says who is right (or that both are).

A difference is known only if its cause is in the very answer that one of them used again, or in the request at hand.
"""

import re
from dataclasses import dataclass
from typing import Callable

import cases
import wire
from played import Difference, source


@dataclass
class Known:
    name: str
    clause: str
    holds: Callable[[Difference], bool]


KNOWN = []


def reason(difference):
    return next((one for one in KNOWN if one.holds(difference)), None)


def outline(difference):
    """Differences of one kind look alike."""
    return difference.what


# --- What was said of the answer that was used again -------------------------------------------------

NUMBERS = re.compile(r'\b(s-maxage|max-age)\s*=\s*("?)([^",\s;]*)("?)(\s*[^,\s][^,]*)?', re.I)


def stated(step, name):
    return cases.stated(step, name)


def cache_control(step):
    return ", ".join(stated(step, "Cache-Control"))


def lifetimes(step):
    """Every number of seconds that is one, with the name of its directive."""
    unquoted = re.sub(r'ext="[^"]*"', "ext", cache_control(step))
    return [(name.lower(), int(value)) for name, _, value, _, rest in NUMBERS.findall(unquoted) if value.isdigit() and not rest]


def is_explicit(step):
    return bool(lifetimes(step)) or bool(stated(step, "Expires"))


def is_past(expires):
    """Not a date to come, as a reader of dates has it: RFC 9111 §4.2, RFC 9110 §5.6.7."""
    if isinstance(expires, tuple):
        return expires[1] <= 0
    return expires not in cases.DATES


def only_ours(name, clause):
    return where(lambda d: d.what == "only ours asked", name, clause)


def only_nginx(name, clause):
    return where(lambda d: d.what == "only nginx asked", name, clause)


def of(what, name, clause):
    return where(lambda d: d.what == what, name, clause)


def where(applies, name, clause):
    def add(holds):
        KNOWN.append(Known(name, clause, lambda d: applies(d) and bool(holds(d))))
        return holds

    return add


# --- nginx uses an answer again, and ours asks -------------------------------------------------------


@only_ours("nginx does not count Age", "RFC 9111 §4.2.3: ours")
def _(d):
    ages = stated(d.used_again, "Age")
    return ages and re.match(r"[1-9]\d*(,|$)", ages[0])


@only_ours("nginx does not look at Date", "RFC 9111 §4.2.1, §4.2.3: ours")
def _(d):
    return any(isinstance(one, tuple) and one[1] != 0 for one in stated(d.used_again, "Date"))


@only_ours("nginx shares what was answered to credentials", "RFC 9111 §3.5: ours")
def _(d):
    return d.asks("Authorization") or any(name == "Authorization" for name, _ in d.used_again.request)


@only_ours("nginx makes a GET of a HEAD, and keeps the answer", "RFC 9110 §9.3.2: both")
def _(d):
    return d.used_again.method == "HEAD" or d.step.method == "HEAD"


@only_ours("nginx asks for the whole where a range is asked for, and keeps it", "RFC 9110 §14.2: both")
def _(d):
    return any(name == "Range" for name, _ in d.used_again.request)


@only_ours("nginx finds max-age inside of other words", "RFC 9111 §5.2: ours")
def _(d):
    return re.search(r"xmax-age=|ext=\"max-age=", cache_control(d.used_again), re.I)


@only_ours("nginx takes one of several lifetimes, ours the shortest", "RFC 9111 §4.2.1: both")
def _(d):
    names = [name for name, _ in lifetimes(d.used_again)]
    return len(names) != len(set(names)) or len(stated(d.used_again, "Expires")) > 1


@only_ours("nginx reads a lifetime where there is none", "RFC 9111 §4.2.1: ours")
def _(d):
    return re.search(r"max-age(=?\s*(,|$)|=60[; ]|=\s|\s=)", cache_control(d.used_again), re.I)


@only_ours("nginx reads dates that are none, and never mind the zone", "RFC 9111 §5.3: ours")
def _(d):
    return any(isinstance(one, str) and is_past(one) for one in stated(d.used_again, "Expires"))


@only_ours("nginx has a lifetime of zero seconds last for one", "RFC 9111 §4.2: ours")
def _(d):
    return any(isinstance(one, tuple) and one[1] == 0 for one in stated(d.used_again, "Expires"))


@only_ours("nginx does not find the star in a list", "RFC 9111 §4.1: ours")
def _(d):
    return "*" in ", ".join(stated(d.used_again, "Vary"))


@only_ours("nginx reads one line of Vary alone", "RFC 9110 §5.3: ours")
def _(d):
    return len(stated(d.used_again, "Vary")) > 1


@only_ours("nginx knows no CDN-Cache-Control", "RFC 9213 §2.2: ours")
def _(d):
    return stated(d.used_again, "CDN-Cache-Control")


# --- ours uses an answer again, and nginx asks -------------------------------------------------------


@only_nginx("nginx finds directives inside of other words", "RFC 9111 §5.2: ours")
def _(d):
    return re.search(r'x-no-store|ext="[^"]*(no-store|private|max-age)', cache_control(d.used_again), re.I)


@only_nginx("nginx lets an Expires in the past win over a lifetime", "RFC 9111 §5.3: ours")
def _(d):
    return lifetimes(d.used_again) and any(is_past(one) for one in stated(d.used_again, "Expires"))


@only_nginx("nginx compares Expires with its own clock", "RFC 9111 §4.2.1: ours")
def _(d):
    dates = stated(d.used_again, "Date")
    return stated(d.used_again, "Expires") and any(isinstance(one, tuple) and one[1] != 0 for one in dates)


@only_nginx("nginx knows no heuristic lifetime", "RFC 9111 §4.2.2: both")
def _(d):
    return stated(d.used_again, "Last-Modified") and not is_explicit(d.used_again)


@only_nginx("nginx reads no lifetime in quotes", "RFC 9111 §5.2: ours")
def _(d):
    return re.search(r'max-age="', cache_control(d.used_again), re.I)


@only_nginx("nginx has max-age of a later line beat s-maxage", "RFC 9111 §5.2.2.10: ours")
def _(d):
    return len(stated(d.used_again, "Cache-Control")) > 1 and any(name == "s-maxage" for name, _ in lifetimes(d.used_again))


@only_nginx("nginx has dates in their exact case", "RFC 9111 §4.2: ours")
def _(d):
    return any(isinstance(one, str) and not is_past(one) for one in stated(d.used_again, "Expires"))


@only_nginx("nginx knows no CDN-Cache-Control", "RFC 9213 §2.2: ours")
def _(d):
    return stated(d.used_again, "CDN-Cache-Control")


@only_nginx("ours remembers for a while that there is nothing", "RFC 9111 §4.2.2: both")
def _(d):
    return d.used_again.status in (404, 410) and not is_explicit(d.used_again)


@only_nginx("ours reads a lifetime with spaces around its equals sign, or with something behind it", "RFC 9111 §4.2.1: nginx")
def _(d):
    return re.search(r"max-age( =|= |=60[ ;]x)", cache_control(d.used_again), re.I)


@only_nginx("nginx does not know that languages are languages", "RFC 9111 §4.1: ours")
def _(d):
    return "accept-language" in ", ".join(stated(d.used_again, "Vary")).lower() and d.asks("Accept-Language")


@only_nginx("nginx takes a spare lifetime that is none as a reason not to store", "RFC 9111 §4.2.1: both")
def _(d):
    return lifetimes(d.used_again) and re.search(r"max-age=(-1|60\.5|abc|'|\s*(,|$))", cache_control(d.used_again), re.I)


@only_nginx("ours asks for no coding, so that Accept-Encoding tells nothing apart", "RFC 9111 §4.1: both")
def _(d):
    return "Accept-Encoding" in stated(d.used_again, "Vary")


# --- Several answers that would do --------------------------------------------------------------------


def varies_otherwise(d, number):
    """Another answer so far named other fields in Vary than the one of that step."""
    vary = stated(d.case.steps[number], "Vary")
    return any(stated(step, "Vary") not in ([], vary) for step in d.case.steps[: d.number])


@only_ours("ours tells apart by what any stored answer names in Vary, nginx by what the newest does", "RFC 9111 §4.1: both")
def _(d):
    return varies_otherwise(d, source(d.theirs))


@only_nginx("ours serves the variant that fits, not the newest answer that does", "RFC 9111 §4: nginx")
def _(d):
    return stated(d.used_again, "Vary") and any(one.asked for one in d.theirs[source(d.ours) + 1 : -1])


def is_older(d):
    """Ours served an answer with Vary that fits, nginx a newer one to other fields, whose own Vary fits too."""
    ours, theirs = source(d.ours), source(d.theirs)
    return not d.ours[-1].asked and not d.theirs[-1].asked and ours < theirs and stated(d.served, "Vary")


@where(is_older, "ours serves the variant that fits, and nginx the newest answer that does", "RFC 9111 §4: nginx")
def _(d):
    return d.what != "X-Hop"


@where(
    lambda d: not d.ours[-1].asked and not d.theirs[-1].asked,
    "nginx serves the variant that fits, and ours the newest answer that does",
    "RFC 9111 §4: ours",
)
def _(d):
    ours, theirs = source(d.ours), source(d.theirs)
    return ours > theirs and stated(d.case.steps[theirs], "Vary")


@where(
    lambda d: not d.ours[-1].asked and not d.theirs[-1].asked,
    "nginx stores what was answered to a HEAD, a range or credentials",
    "RFC 9111 §3, §3.5: both",
)
def _(d):
    step = d.case.steps[source(d.theirs)]
    stored = step.method == "HEAD" or any(name in ("Range", "Authorization") for name, _ in step.request)
    # Which answer a 304 of ours is from is not marked.
    return stored and (source(d.ours) != source(d.theirs) or d.ours[-1].answer.get("X-Step") is None)


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
