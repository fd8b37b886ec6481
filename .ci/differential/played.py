"""What the two made of a case, and where they differ."""

from dataclasses import dataclass, field

import cases
import wire


@dataclass
class Asked:
    """A request that the origin got, and the status of what it said."""

    method: str
    request: wire.Message
    status: int


@dataclass
class Played:
    """What one proxy made of one step."""

    answer: wire.Message
    asked: list = field(default_factory=list)
    at: float = 0
    step: int = 0

    @property
    def condition(self):
        if not self.asked:
            return (None, None)
        return tuple(self.asked[0].request.get(name) for name in ("If-None-Match", "If-Modified-Since"))


def source(played):
    """The step whose answer was served last, from 0."""
    return played[-1].step


def step_of(case, played):
    """The same of one that has just been played, when all before it are known: as the answer is marked, or else (a 304
    of ours has no mark) the last one asked for that said the same of caching, or the last one asked for."""
    answer = played[-1].answer
    if mark := answer.get("X-Step"):
        return int(mark.split(",")[0]) - 1
    asked = [number for number, one in enumerate(played) if one.asked]
    said = answer.get("Cache-Control")
    alike = [number for number in asked if said and said == ", ".join(cases.stated(case.steps[number], "Cache-Control"))]
    return max(alike or asked, default=0)


@dataclass
class Difference:
    case: cases.Case
    number: int
    what: str
    ours: list
    theirs: list

    @property
    def step(self):
        return self.case.steps[self.number]

    @property
    def used_again(self):
        """The step whose answer was used again by the one that did not ask."""
        played = self.theirs if self.what == "only ours asked" else self.ours
        return self.case.steps[source(played)]

    @property
    def served(self):
        """The step whose answer ours served."""
        return self.case.steps[source(self.ours)]

    def asks(self, name):
        return any(other.lower() == name.lower() for other, _ in self.step.request)

    def told(self):
        lines = [f"{self.what} in step {self.number + 1} of {self.case.name}", cases.told(self.case)]
        for name, played in (("ours", self.ours[-1]), ("nginx", self.theirs[-1])):
            asked = f"asked {', '.join(map(str, filter(None, played.condition)))}" if played.asked else "did not ask"
            fields = " | ".join(f"{name}: {value}" for name, value in played.answer.fields)
            lines.append(f"  {name + ':':6} {asked}; {played.answer.status} {played.answer.body.decode()!r} {fields}")
        return "\n".join(lines)
