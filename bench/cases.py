"""What is measured, and what is to be reached: a table of cases."""

from dataclasses import dataclass, field
from enum import Enum

import configs

MIB = 1 << 20


class Wanted(Enum):
    """What every answer of a run has to be; anything else ends the case."""

    HIT = "a stored page"
    NOT_MODIFIED = "a 304 without the backend"
    MISS = "a page that nobody asked for before"
    MEMORY = "ten thousand pages, and what they take"


@dataclass(frozen=True)
class Contender:
    # The method of Farm that starts it.
    kind: str
    settings: str
    title: str
    is_quick: bool = False


CONTENDERS = {
    "phantom-frame": Contender("ours", "", "phantom-frame", True),
    "from-disk": Contender("ours", "memory_limit = 0", "phantom-frame, memory_limit = 0", True),
    "uncompressed": Contender("ours", "compress = []", "phantom-frame, compress = []", True),
    "unsynced": Contender("ours", 'compress = []\ndurability = "none"', 'phantom-frame, the same and durability = "none"'),
    "nginx-tuned": Contender("nginx_cache", configs.OPEN_FILES, "nginx proxy_cache, with open_file_cache", True),
    "nginx": Contender("nginx_cache", "", "nginx proxy_cache", True),
    "nginx-static": Contender("nginx_static", configs.OPEN_FILES, "nginx, static files"),
    "varnish": Contender("varnish", "", "Varnish, malloc"),
}
RIVALS = ("nginx", "nginx-tuned", "nginx-static", "varnish")
CACHES = ("nginx", "nginx-tuned", "varnish")


@dataclass(frozen=True)
class Limit:
    """A target. Ratios are to the reference; `resident_bytes` is absolute."""

    metric: str
    at_most: float | None = None
    at_least: float | None = None

    def is_reached(self, value):
        return value <= self.at_most if self.at_least is None else value >= self.at_least

    def is_missed_by(self, factor, value):
        return value > self.at_most * factor if self.at_least is None else value < self.at_least / factor


def limits(cpu=None, throughput=None, p99=None):
    found = []
    if cpu is not None:
        found.append(Limit("cpu_us", at_most=cpu))
    if throughput is not None:
        found.append(Limit("per_second", at_least=throughput))
    if p99 is not None:
        found.append(Limit("p99_us", at_most=p99))
    return tuple(found)


SMALL = limits(cpu=0.75, throughput=1.1, p99=1.0)
LARGE = limits(cpu=1.2, throughput=0.9, p99=1.2)
SPARE = limits(cpu=0.75, throughput=1.1)


@dataclass(frozen=True)
class Case:
    name: str
    title: str
    page: str
    wanted: Wanted = Wanted.HIT
    subject: str = "phantom-frame"
    rivals: tuple = RIVALS
    # What the client accepts, best first; empty for identity.
    codings: tuple = ()
    is_h2: bool = False
    targets: tuple = ()
    is_quick: bool = False
    # Measured beside the subject, without targets.
    beside: tuple = field(default=())

    def contenders(self, left_out):
        return [name for name in (self.subject, *self.beside, *self.rivals) if name not in left_out]


CASES = (
    Case("hot-1k", "hit, 1 KB", "1k", targets=SMALL, is_quick=True),
    Case("hot-10k", "hit, 10 KB", "10k", targets=SMALL, is_quick=True),
    Case("hot-100k", "hit, 100 KB", "100k", targets=SMALL, is_quick=True),
    Case("hot-1m", "hit, 1 MB", "1m", targets=LARGE, is_quick=True),
    Case("disk-10k", "hit from disk, 10 KB", "10k", subject="from-disk", rivals=("nginx", "nginx-tuned"), targets=limits(cpu=1.6, throughput=0.7), is_quick=True),
    Case("disk-100k", "hit from disk, 100 KB", "100k", subject="from-disk", rivals=("nginx", "nginx-tuned")),
    Case("disk-1m", "hit from disk, 1 MB", "1m", subject="from-disk", rivals=("nginx", "nginx-tuned")),
    Case("304", "304 to a client", "10k", Wanted.NOT_MODIFIED, rivals=RIVALS, targets=SPARE, is_quick=True),
    Case("gzip-10k", "hit in gzip, 10 KB", "10k", codings=("gzip",), targets=SPARE, is_quick=True),
    Case("gzip-100k", "hit in gzip, 100 KB", "100k", codings=("gzip",), targets=SPARE),
    # Without modules nginx and Varnish have no brotli, and answer the same request in gzip.
    Case("br-10k", "hit in brotli, 10 KB", "10k", codings=("br", "gzip"), rivals=CACHES, targets=SPARE, is_quick=True),
    Case("h2-1k", "hit by HTTP/2, 1 KB", "1k", is_h2=True),
    Case("h2-10k", "hit by HTTP/2, 10 KB", "10k", is_h2=True, is_quick=True),
    Case("h2-100k", "hit by HTTP/2, 100 KB", "100k", is_h2=True),
    Case(
        "miss-10k", "miss, 10 KB", "10k", Wanted.MISS, subject="uncompressed", beside=("unsynced",), rivals=("nginx", "varnish"),
        targets=limits(cpu=1.5, throughput=0.8), is_quick=True,
    ),
    Case(
        "memory", "10,000 pages of 10 KB", "10k", Wanted.MEMORY, rivals=("nginx",),
        targets=(Limit("resident_bytes", at_most=130 * MIB),), is_quick=True,
    ),
)  # fmt: skip
