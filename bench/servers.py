"""The servers: started in folders of their own when they are first asked for, stopped at the end."""

import http.client
import os
import pwd
import random
import re
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass

import configs
import pages
import processes
from trouble import Trouble

START_LIMIT = 20
STOP_LIMIT = 10
# A server is at rest when it used less than this, in seconds of CPU, within that time.
QUIET_CPU = 0.02
QUIET_TIME = 0.5
QUIET_LIMIT = 60


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes


class Server:
    """A server that runs: `port` speaks HTTP/1.1, `h2_port` HTTP/2 by prior knowledge."""

    def __init__(self, name, command, work, ports, environment=None):
        self.name = name
        self.work = work
        self.port, self.h2_port = ports
        self.log = work / "output.log"
        with self.log.open("w") as out:
            # Out of the terminal's process group: Ctrl-C is for this program, which stops it in order.
            self.process = subprocess.Popen(
                command, cwd=work, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
            )
        try:
            self.wait_until_open()
        except BaseException:
            self.stop()
            raise

    def wait_until_open(self):
        end = time.monotonic() + START_LIMIT
        for port in {self.port, self.h2_port}:
            while not is_open(port):
                if self.process.poll() is not None:
                    raise Trouble(f"{self.name} has ended at its start: {self.log.read_text().strip()}")
                if time.monotonic() > end:
                    raise Trouble(f"{self.name} did not open port {port} in {START_LIMIT} s: {self.log.read_text().strip()}")
                time.sleep(0.02)

    def get(self, path, fields=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", path, headers={"Accept-Encoding": "identity", **(fields or {})})
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        except (OSError, http.client.HTTPException) as error:
            raise Trouble(f"{self.name} did not answer GET {path}: {error!r}; {self.log.read_text().strip()[-500:]}") from error
        finally:
            connection.close()

    def cpu_seconds(self):
        return processes.cpu_seconds(self.process.pid)

    def resident_bytes(self):
        return processes.resident_bytes(self.process.pid)

    def come_to_rest(self):
        """Waits until what is done in the background is done; false if it goes on."""
        end = time.monotonic() + QUIET_LIMIT
        while time.monotonic() < end:
            before = self.cpu_seconds()
            time.sleep(QUIET_TIME)
            if self.cpu_seconds() - before < QUIET_CPU:
                return True
        return False

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(STOP_LIMIT)
        except subprocess.TimeoutExpired:
            for process in reversed(processes.tree(self.process.pid)):
                try:
                    os.kill(process, 9)
                except ProcessLookupError:
                    pass
            self.process.wait()
        shutil.rmtree(self.work, ignore_errors=True)


class Backend(Server):
    def count(self):
        """Requests so far, without those that asked."""
        asked = getattr(self, "asked", 0) + 1
        self.asked = asked
        found = re.search(r"requests\s+\d+ \d+ (\d+)", self.get("/count").body.decode())
        if not found:
            raise Trouble("the backend does not count its requests: this nginx lacks the stub_status module; install another")
        return int(found[1]) - asked


class Farm:
    """All of them, over one backend."""

    def __init__(self, programs, work):
        self.programs = programs
        self.work = work
        self.site = work / "site"
        self.running = {}

    def __enter__(self):
        # The workers of an nginx that root starts go through it as somebody else, unless told not to.
        pages.write(self.site)
        self.backend = self.nginx(Backend, "backend", configs.BACKEND, configs.OPEN_FILES)
        return self

    def __exit__(self, *_):
        self.stop_all()
        if hasattr(self, "backend"):
            self.backend.stop()

    def stop_all(self):
        while self.running:
            self.running.popitem()[1].stop()

    def stop(self, name):
        if name in self.running:
            self.running.pop(name).stop()

    def server(self, name, contender):
        if name not in self.running:
            self.running[name] = getattr(self, contender.kind)(name, contender)
        return self.running[name]

    def nginx_cache(self, name, contender):
        return self.nginx(Server, name, configs.NGINX_CACHE, contender.settings)

    def nginx_static(self, name, contender):
        return self.nginx(Server, name, configs.NGINX_STATIC, contender.settings)

    def nginx(self, kind, name, servers, open_files):
        work, (port, h2_port) = self.folder(name), free_ports(2)
        places = {"work": work, "site": self.site, "port": port, "h2_port": h2_port, "cold": configs.cold()}
        if kind is not Backend:
            places["backend"] = self.backend.port
        text = configs.NGINX.format(
            user=pwd.getpwuid(os.geteuid()).pw_name,
            cores=len(os.sched_getaffinity(0)),
            work=work,
            open_files=open_files,
            servers=servers.format(**places),
        )
        config = work / "nginx.conf"
        config.write_text(text)
        command = [self.programs.nginx, "-p", work, "-e", work / "error.log", "-c", config]
        return kind(name, command, work, (port, port if kind is Backend else h2_port))

    def varnish(self, name, _contender):
        work, (port,) = self.folder(name), free_ports(1)
        vcl = work / "default.vcl"
        vcl.write_text(configs.VARNISH.format(backend=self.backend.port))
        command = [self.programs.varnishd, "-F", "-n", work / "varnish", "-a", f"127.0.0.1:{port}", "-f", vcl]
        command += ["-s", "malloc,1g", "-p", "feature=+http2", "-p", "http_gzip_support=off"]
        if os.geteuid() == 0:
            # As another user it could not read the folder, which is nobody else's.
            command += ["-j", "none"]
        return Server(name, command, work, (port, port))

    def ours(self, name, contender):
        work, (port, control_port) = self.folder(name), free_ports(2)
        config = work / "config.toml"
        config.write_text(
            configs.OURS.format(backend=self.backend.port, port=port, control_port=control_port, settings=contender.settings)
        )
        return Server(name, [self.programs.ours, "serve", config], work, (port, port))

    def folder(self, name):
        work = self.work / name
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        return work


def is_open(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_ports(count):
    """Below those that the system gives to connections, so that they are nobody's for long."""
    found = []
    for port in random.sample(range(20000, 32768), 500):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise Trouble("there are no free ports between 20000 and 32767")
