"""What nginx is known to do otherwise, and the clause that says who is right (or that both are).

A difference is known only if its cause is in the very answer that one of them used again, or in the request at hand.
The differences themselves: known_reuse.py (who asks the origin), known_answers.py (what is answered).
"""

import re
from dataclasses import dataclass
from typing import Callable

import cases
from played import Difference


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
