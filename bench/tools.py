"""The programs that it takes: found, installed, built."""

import os
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from trouble import Trouble

ROOT = Path(__file__).resolve().parent.parent
# Program, and Debian's package that has it.
NEEDED = {"nginx": "nginx-core", "wrk": "wrk", "h2load": "nghttp2-client"}
PLACES = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])
INSTALL_LIMIT = 300


class Missing(Exception):
    """Something that somebody has to install first."""


@dataclass(frozen=True)
class Programs:
    ours: Path
    nginx: str
    wrk: str
    h2load: str
    varnishd: str | None

    def versions(self):
        found = {
            "phantom-frame": first_line([self.ours, "--version"]),
            "nginx": first_line([self.nginx, "-v"]),
            "wrk": first_line([self.wrk, "-v"]),
            "h2load": first_line([self.h2load, "--version"]),
        }
        if self.varnishd:
            found["varnish"] = first_line([self.varnishd, "-V"])
        return {name: re.search(r"\d+\.\d+[\w.-]*|$", line)[0] or line for name, line in found.items()}


def find(binary):
    paths = {name: shutil.which(name, path=PLACES) for name in NEEDED}
    missing = [NEEDED[name] for name, path in paths.items() if path is None]
    if missing:
        install(missing)
        paths = {name: shutil.which(name, path=PLACES) for name in NEEDED}
        missing = [name for name, path in paths.items() if path is None]
        if missing:
            raise Missing(f"{', '.join(missing)} cannot be found, though it was installed; is it in PATH?")
    return Programs(ours=ours(binary), varnishd=shutil.which("varnishd", path=PLACES), **paths)


def install(packages):
    names = " ".join(packages)
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise Missing(f"install these first: {names} (Debian's names; `apt-get install {names}`)")
    # The server's package would start it.
    environment = {**os.environ, "RUNLEVEL": "1", "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "-qq"], ["install", "-qq", "-y", "--no-install-recommends", *packages]):
        try:
            subprocess.run(["apt-get", *command], env=environment, check=True, stdout=subprocess.DEVNULL, timeout=INSTALL_LIMIT)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            raise Missing(f"{names} could not be installed ({error}); install them by hand") from error


def ours(binary):
    if binary is None:
        if shutil.which("cargo") is None:
            raise Missing("there is no cargo to build phantom-frame with; install Rust, or name a --binary")
        subprocess.run(["cargo", "build", "--release", "--locked"], cwd=ROOT, check=True)
        target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
        binary = ROOT / target / "release" / "phantom-frame"
    binary = binary.resolve()
    if not os.access(binary, os.X_OK) or not binary.is_file():
        raise Trouble(f"{binary} is no program; build it with cargo build --release, or leave --binary out")
    return binary


def first_line(command):
    said = subprocess.run(command, capture_output=True, text=True, timeout=10)
    return (said.stdout + said.stderr).strip().partition("\n")[0]


def machine():
    """What the figures depend on."""
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return {"cpu": model, "cores": len(os.sched_getaffinity(0)), "kernel": platform.release(), "load_before": os.getloadavg()[0]}
