"""The site: pages that compress as pages do, the same on every machine."""

import gzip
import os
import random
from pathlib import Path

SIZES = {"1k": 1 << 10, "10k": 10 << 10, "100k": 100 << 10, "1m": 1 << 20}
WORDS = (
    "the of and to a in is it you that he was for on are with as his they be at one have this from or had by hot but some "
    "what there we can out other were all your when up use word how said an each she which do their time if will way about "
    "many then them would write like so these her long make thing see him two has look more day could go come did my sound "
    "no most number who over know water than call first people may down side been now find any new work part take get place"
).split()
# Any time, always the same: nginx makes its ETag of it.
MTIME = 1_700_000_000


def text(name):
    """The page of this name: paragraphs in a list, in as many bytes as its size says."""
    pick = random.Random(f"phantom-frame {name}")
    size = SIZES[name]
    head = f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{name}</title></head><body>\n'
    tail = "</body></html>\n"
    parts = [head]
    length = len(head) + len(tail)
    while length < size:
        number = pick.randrange(1, 100_000)
        words = " ".join(pick.choices(WORDS, k=pick.randrange(8, 40)))
        part = f'<article id="post-{number}" class="card card--{number % 7}"><h2><a href="/posts/{number}">{words[:30]}</a></h2><p>{words}</p></article>\n'
        parts.append(part)
        length += len(part)
    # What is too much goes from the end of the last article, what browsers see through.
    return ("".join(parts)[: size - len(tail)] + tail).encode()


def cold(path):
    """The page of 10 KB that is of this path alone, which it says at its end."""
    return text("10k") + f"<!-- {path} -->\n".encode()


def write(folder: Path):
    """Every page, and beside it the page in gzip as a build step would make it."""
    folder.mkdir()
    for name in SIZES:
        body = text(name)
        for path, content in ((f"{name}.html", body), (f"{name}.html.gz", gzip.compress(body, 9, mtime=0))):
            (folder / path).write_bytes(content)
            os.utime(folder / path, (MTIME, MTIME))
