"""Counts the instructions of a hit in the server itself, by valgrind, and compares them with bench/instructions.txt.

The whole program is counted, from the socket's bytes to the socket's bytes, with FEW and with MANY requests over one
connection; the difference, divided by that of the requests, is what one takes, without what the start takes. What the
kernel does is not in it. The figures depend on compiler and libraries: after a change of these, and after a change
that is meant, --write them anew.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import configs
import pages
import servers
import tools
from trouble import Trouble
from wire import Connection

FIGURES = tools.ROOT / "bench" / "instructions.txt"
FEW, MANY = 500, 2500
# Two counts of the same program differ by less: seeds of hash tables, wake-ups of threads.
TOLERANCE = 0.05
HEAD = """# Instructions of the server for one hit (bench/instructions): name, count. Written by bench/instructions --write.
"""


@dataclass(frozen=True)
class Count:
    name: str
    page: str = "10k"
    settings: str = ""
    method: str = "GET"
    is_conditional: bool = False
    coding: str | None = None


COUNTS = (
    Count("hot-1k", "1k"),
    Count("hot-10k"),
    Count("hot-100k", "100k"),
    Count("head"),
    Count("304", is_conditional=True),
    Count("disk-10k", settings="memory_limit = 0"),
    Count("gzip-10k", coding="gzip"),
)


class Pages(BaseHTTPRequestHandler):
    """The backend: each page is asked for once."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = pages.text(self.path.strip("/"))
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "public, max-age=86400")
        self.send_header("ETag", f'"{len(body)}"')
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def arguments():
    parser = argparse.ArgumentParser(prog="bench/instructions", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=Path, metavar="PATH", help="a phantom-frame, instead of a release build of this tree")
    parser.add_argument("--only", action="append", metavar="NAME", help="only these: " + ", ".join(count.name for count in COUNTS))
    parser.add_argument("--write", action="store_true", help="write the figures instead of comparing with them")
    return parser.parse_args()


def main():
    given = arguments()
    valgrind = find_valgrind()
    binary = tools.ours(given.binary)
    counts = [count for count in COUNTS if not given.only or count.name in given.only]
    if not counts:
        raise Trouble(f"there is no {', '.join(given.only)}; there are {', '.join(count.name for count in COUNTS)}")
    known = read_figures()
    backend = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    threading.Thread(target=backend.serve_forever, daemon=True).start()
    grown = 0
    try:
        for count in counts:
            found = instructions(valgrind, binary, count, backend.server_port)
            before = known.get(count.name)
            if found is None:
                print(f"{count.name:10} not compressed")
                continue
            known[count.name] = found
            change = f"{found / before - 1:+7.1%}" if before else "    new"
            is_more = before is not None and found > before * (1 + TOLERANCE)
            grown += is_more
            print(f"{count.name:10} {found:9} {change}{'  more than before' if is_more else ''}", flush=True)
    finally:
        backend.shutdown()
    if given.write:
        FIGURES.write_text(HEAD + "".join(f"{count.name} {known[count.name]}\n" for count in COUNTS if count.name in known))
        return 0
    if grown:
        print(f"{grown} grew by more than {TOLERANCE:.0%}; if that is meant: bench/instructions --write")
    return 1 if grown else 0


def find_valgrind():
    if shutil.which("valgrind") is None:
        tools.install(["valgrind"])
    return shutil.which("valgrind") or "valgrind"


def read_figures():
    if not FIGURES.exists():
        return {}
    lines = (line.split() for line in FIGURES.read_text().splitlines() if not line.startswith("#"))
    return {name: int(figure) for name, figure in lines}


def instructions(valgrind, binary, count, backend):
    """Of one request; None where the coding does not come."""
    totals = [total(valgrind, binary, count, backend, requests) for requests in (FEW, MANY)]
    return None if None in totals else round((totals[1] - totals[0]) / (MANY - FEW))


def total(valgrind, binary, count, backend, requests):
    with tempfile.TemporaryDirectory(prefix="phantom-bench-") as folder:
        work = Path(folder) / "server"
        work.mkdir()
        port, control_port = servers.free_ports(2)
        # What compresses behind the answers would be counted with them.
        settings = count.settings if count.coding else f"{count.settings}\ncompress = []"
        config = work / "config.toml"
        config.write_text(configs.OURS.format(backend=backend, port=port, control_port=control_port, settings=settings))
        command = [valgrind, "--tool=callgrind", f"--callgrind-out-file={folder}/profile", binary, "serve", config]
        # One worker: how often several wake each other is chance.
        server = servers.Server("phantom-frame", command, work, (port, port), {**os.environ, "TOKIO_WORKER_THREADS": "1"})
        try:
            if not ask(server, count, requests):
                return None
            server.process.terminate()
            server.process.wait(60)
            said = server.log.read_text()
        finally:
            server.stop()
    found = re.search(r"Collected : (\d+)", said)
    if not found:
        raise Trouble(f"valgrind counted nothing: {said.strip()[-500:]}")
    return int(found[1])


def ask(server, count, requests):
    fields = {"Accept-Encoding": count.coding} if count.coding else {}
    path = f"/{count.page}"
    for _ in range(3):
        answer = server.get(path, fields)
    if count.coding:
        # As long in both runs: what compresses is done by then.
        if not server.come_to_rest() or server.get(path, fields).headers["Content-Encoding"] != count.coding:
            return False
    if count.is_conditional:
        fields["If-None-Match"] = answer.headers["ETag"]
    with Connection(server.port, count.method, path, fields) as connection:
        for _ in range(requests):
            head = connection.ask()
            if b";hit" not in head or head.startswith(b"HTTP/1.1 304") != count.is_conditional:
                raise Trouble(f"{count.name}: this is no such hit: {head.decode('latin-1')}")
    return True


if __name__ == "__main__":
    try:
        code = main()
    except KeyboardInterrupt:
        code = 130
    except tools.Missing as error:
        print(f"bench/instructions: {error}", file=sys.stderr)
        code = 3
    except (Trouble, OSError, subprocess.SubprocessError) as error:
        print(f"bench/instructions: {error}", file=sys.stderr)
        code = 1
    sys.exit(code)
