from dataclasses import dataclass
import cases
@dataclass
class Difference:
    case: object
    number: int
    what: str
    ours: list
    theirs: list

    def told(self):
        def one(played):
            a=played.answer
            asked = f"asked ({', '.join(f'{n}: {v}' for n in ('If-None-Match','If-Modified-Since') if (v := played.asked[-1][1].get(n)))})" if played.asked else "did not ask"
            return f"{asked}; {a.status} {a.body[:20]!r} " + " | ".join(f"{n}: {v}" for n, v in a.fields)
        return f"{self.what} in step {self.number+1} of {self.case.name}\n{cases.told(self.case)}\n  ours:  {one(self.ours[-1])}\n  nginx: {one(self.theirs[-1])}"

KNOWN = []
def reason(d):
    for k in KNOWN:
        if k.holds(d): return k
    return None
def outline(d):
    return d.what
