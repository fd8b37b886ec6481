"""The load: wrk for HTTP/1.1, h2load for HTTP/2. A run is one of them against one server for a while."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from trouble import Trouble

SCRIPTS = Path(__file__).resolve().parent / "wrk"
# Past the time that a run was given.
PATIENCE = 30
ENDLESS = 1_000_000_000


@dataclass(frozen=True)
class Run:
    requests: int
    seconds: float
    # Heads included.
    bytes_received: int
    p50_us: float
    p99_us: float

    @property
    def bytes_each(self):
        return self.bytes_received / self.requests


def wrk(program, server, path, fields, connections, seconds):
    return run_wrk(program, server, path, fields, connections, seconds, [SCRIPTS / "figures.lua"])


def wrk_cold(program, server, name, connections, seconds, limit=ENDLESS):
    """Each request is for a page that nobody asked for before, until `limit` pages were."""
    script = [SCRIPTS / "cold.lua", "--", name, str(limit)]
    return run_wrk(program, server, "/", {}, connections, seconds, script)


def run_wrk(program, server, path, fields, connections, seconds, script):
    file, *arguments = script
    headers = [part for name, value in fields.items() for part in ("-H", f"{name}: {value}")]
    command = [program, "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", *headers, "-s", file]
    said = run([*command, f"http://127.0.0.1:{server.port}{path}", *arguments], seconds)
    found = re.search(r"^figures (.*)$", said, re.M)
    if not found:
        raise Trouble(f"wrk said nothing of {server.name}: {said.strip()}")
    figures = {name: float(value) for name, value in (pair.split("=") for pair in found[1].split())}
    if figures["refused"] or figures["broken"] or not figures["requests"]:
        raise Trouble(
            f"{server.name}: of {figures['requests']:.0f} requests for {path}, {figures['refused']:.0f} were answered "
            f"with an error and {figures['broken']:.0f} connections broke; its log: {server.log.read_text().strip()[-500:]}"
        )
    return Run(int(figures["requests"]), figures["us"] / 1e6, int(figures["bytes"]), figures["p50"], figures["p99"])


def h2load(program, server, path, fields, connections, seconds):
    """h2load says no percentiles; they are taken from its log of every request."""
    headers = [part for name, value in fields.items() for part in ("-H", f"{name.lower()}: {value}")]
    log = server.work / "h2load.log"
    log.unlink(missing_ok=True)
    command = [program, "-t1", f"-c{connections}", "-m1", f"-D{seconds}", f"--log-file={log}", *headers]
    said = run([*command, f"http://127.0.0.1:{server.h2_port}{path}"], seconds)
    taken, ok = [], True
    for line in log.read_text().splitlines():
        _, status, micros = line.split("\t")[:3]
        ok = ok and (status.startswith("2") or status == "304")
        taken.append(int(micros))
    finished = re.search(r"^finished in ([\d.]+)(m?s|us)", said, re.M)
    received = re.search(r"^traffic: .*\((\d+)\) total", said, re.M)
    broken = re.search(r"(\d+) failed, (\d+) errored, (\d+) timeout", said)
    if not (finished and received and broken) or not taken:
        raise Trouble(f"h2load cannot be understood (of {server.name}): {said.strip()}")
    if not ok or any(int(number) for number in broken.groups()):
        raise Trouble(f"{server.name}: requests for {path} over HTTP/2 failed: {said.strip()}")
    taken.sort()
    return Run(len(taken), float(seconds), int(received[1]), percentile(taken, 50), percentile(taken, 99))


def percentile(values, percent):
    """Of sorted values."""
    return float(values[min(len(values) - 1, len(values) * percent // 100)])


def run(command, seconds):
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=seconds + PATIENCE).stdout
    except subprocess.TimeoutExpired as error:
        raise Trouble(f"{Path(command[0]).name} did not end: {' '.join(map(str, command))}") from error
