"""The two proxies, over folders of their own, with settings that mean the same."""

import random
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path

START_LIMIT = 20

OURS = """[server]
proxy_url = "http://127.0.0.1:{origin}"
proxy_bind = "127.0.0.1"
proxy_port = 0
control_port = 0
snapshot_dir = "snapshots"
fill = "transparent"
default_ttl = "0s"
pass_ttl = "0s"
max_fills = 4096
durability = "none"
log = "error"
"""

# What nginx does not cache by itself it does not cache here. It replaces Date, unless told to pass it.
NGINX = """daemon off;
master_process off;
pid {work}/nginx.pid;
error_log {work}/error.log error;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  client_body_temp_path {work}/body;
  proxy_temp_path {work}/temp;
  fastcgi_temp_path {work}/fastcgi;
  uwsgi_temp_path {work}/uwsgi;
  scgi_temp_path {work}/scgi;
  proxy_cache_path {work}/cache keys_zone=pages:32m inactive=1h use_temp_path=off;
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    location / {{
      proxy_pass http://127.0.0.1:{origin};
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      proxy_pass_header Date;
      proxy_cache pages;
      proxy_cache_key $request_uri;
      proxy_cache_revalidate on;
      if_modified_since before;
      max_ranges 1;
      proxy_force_ranges on;
      add_header X-Cache $upstream_cache_status always;
    }}
  }}
}}
"""


class Proxy:
    def __init__(self, process, port):
        self.process = process
        self.port = port

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def ours(binary, work: Path, origin):
    work.mkdir()
    (work / "config.toml").write_text(OURS.format(origin=origin))
    log = work / "log"
    with log.open("w") as out:
        process = subprocess.Popen([binary, "serve", work / "config.toml"], stdout=out, stderr=out)
    found = wait_for(process, log, lambda: re.search(r"^phantom-frame .*http://127\.0\.0\.1:(\d+) -> ", log.read_text(), re.M))
    return Proxy(process, int(found[1]))


def nginx(binary, work: Path, origin):
    work.mkdir()
    # nginx cannot be asked for a free port. One below those that the system gives out is nobody's for long.
    for attempt in range(20):
        port = free_port()
        config = work / f"nginx-{attempt}.conf"
        config.write_text(NGINX.format(work=work, port=port, origin=origin))
        log = work / "log"
        with log.open("w") as out:
            process = subprocess.Popen([binary, "-p", work, "-e", "stderr", "-c", config], stdout=out, stderr=out)
        try:
            wait_for(process, log, lambda: is_open(port))
            return Proxy(process, port)
        except RuntimeError as error:
            if "Address already in use" not in str(error):
                raise
    raise RuntimeError("nginx found no port that is free")


def wait_for(process, log, ready):
    end = time.monotonic() + START_LIMIT
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args[0]} has ended: {log.read_text()}")
        if found := ready():
            return found
        time.sleep(0.02)
    process.kill()
    raise RuntimeError(f"{process.args[0]} did not start: {log.read_text()}")


def is_open(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port():
    for port in random.sample(range(21000, 32768), 200):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise RuntimeError("there is no free port below 32768")


def found(name):
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
