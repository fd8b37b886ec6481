"""Known differences in whether the origin is asked."""

import re

from known import cache_control, is_explicit, is_past, lifetimes, only_nginx, only_ours, stated, where
from played import source

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
