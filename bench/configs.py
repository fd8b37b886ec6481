"""The servers' settings. Each is to be at its best; what that is was measured, not assumed.

nginx: with `tcp_nopush on` a response of several segments waits 40 ms for an acknowledgement on loopback (100 KB: a
tenth of the throughput, p99 48 ms), so it is off. `open_file_cache` saves a cached answer an open, a stat and the
reading of its head, a fifth to a third of the CPU time; few have it on in front of `proxy_cache`, so that is a contender
of its own, `nginx-tuned`. `sendfile off` with large `output_buffers` doubles the time of 100 KB and 1 MB.
In HTTP/2 it is the other way round: with `sendfile on` every answer waits the 40 ms, whatever else is set.
"""

import pages

# What all three nginx have in common: as many workers as cores, and connections that are kept.
NGINX = """daemon off;
user {user};
worker_processes {cores};
worker_rlimit_nofile 65536;
pid {work}/nginx.pid;
error_log {work}/error.log error;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  types {{ text/html html; }}
  default_type text/html;
  sendfile on;
  tcp_nodelay on;
  keepalive_requests 1000000000;
  keepalive_timeout 1h;
  client_body_temp_path {work}/body;
  proxy_temp_path {work}/temp;
  fastcgi_temp_path {work}/fastcgi;
  uwsgi_temp_path {work}/uwsgi;
  scgi_temp_path {work}/scgi;
  {open_files}
{servers}
}}
"""

OPEN_FILES = "open_file_cache max=20000 inactive=1h;"

# Any path below /cold/ is a page of 10 KB of its own: what is alike might be kept once. The count of requests is what
# tells hits from misses.
BACKEND = """
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    root {site};
    gzip_static on;
    location / {{ add_header Cache-Control "public, max-age=86400"; }}
    location /cold/ {{ add_header Cache-Control "public, max-age=86400"; {cold} }}
    location = /count {{ stub_status; }}
  }}
"""

# The backend answers in gzip, and what it answers is kept as it is: nothing is compressed on a hit.
NGINX_CACHE = """
  map $http_accept_encoding $coding {{ default ""; "~gzip" gzip; }}
  proxy_cache_path {work}/cache levels=1:2 keys_zone=pages:64m inactive=1d use_temp_path=off;
  upstream backend {{ server 127.0.0.1:{backend}; keepalive 64; }}
  proxy_http_version 1.1;
  proxy_set_header Connection "";
  proxy_set_header Accept-Encoding $coding;
  proxy_cache pages;
  proxy_cache_key $request_uri$coding;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{ proxy_pass http://backend; }}
  }}
  server {{
    listen 127.0.0.1:{h2_port} http2 backlog=4096;
    sendfile off;
    output_buffers 2 128k;
    location / {{ proxy_pass http://backend; }}
  }}
"""

NGINX_STATIC = """
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    root {site};
    gzip_static on;
  }}
  server {{
    listen 127.0.0.1:{h2_port} http2 backlog=4096;
    sendfile off;
    output_buffers 2 128k;
    root {site};
    gzip_static on;
  }}
"""

OURS = """[server]
proxy_url = "http://127.0.0.1:{backend}"
proxy_bind = "127.0.0.1"
proxy_port = {port}
control_port = {control_port}
snapshot_dir = "snapshots"
{settings}
"""

# Bodies are kept in the coding that they were asked for in, or Varnish would unzip them on every plain hit.
VARNISH = """vcl 4.1;
backend default {{ .host = "127.0.0.1"; .port = "{backend}"; }}
sub vcl_recv {{
  if (req.http.Accept-Encoding ~ "gzip") {{ set req.http.Accept-Encoding = "gzip"; }} else {{ unset req.http.Accept-Encoding; }}
}}
sub vcl_hash {{ hash_data(req.http.Accept-Encoding); }}
"""


def cold():
    """nginx's directives for `pages.cold` of the path that is asked for."""
    page = pages.cold("$request_uri").decode()
    # nginx takes no parameter of 4 KB.
    parts = [page[begin : begin + 3000] for begin in range(0, len(page), 3000)]
    sets = "".join(f"set $part{number} '{part}'; " for number, part in enumerate(parts))
    return sets + "return 200 '" + "".join(f"$part{number}" for number in range(len(parts))) + "';"
