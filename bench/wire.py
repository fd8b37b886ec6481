"""One connection that asks for the same thing again and again."""

import re
import socket

from trouble import Trouble


class Connection:
    def __init__(self, port, method, path, fields):
        lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", *(f"{name}: {value}" for name, value in fields.items())]
        self.request = ("\r\n".join(lines) + "\r\n\r\n").encode()
        self.has_body = method != "HEAD"
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.stream = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stream.close()
        self.socket.close()

    def ask(self):
        """Asks, reads the answer to its end, and gives its head."""
        self.socket.sendall(self.request)
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = self.stream.readline()
            if not line:
                raise Trouble(f"the connection was closed after {head!r}")
            head += line
        length = re.search(rb"(?im)^content-length: (\d+)", head)
        if self.has_body and length and not head.startswith(b"HTTP/1.1 304"):
            self.stream.read(int(length[1]))
        return head
