"""HTTP/1.1 on sockets, as little as it takes: what was sent is what is on the wire, field by field."""

import asyncio
import contextlib
from datetime import datetime, timezone

LIMIT = 15


class Message:
    def __init__(self, start, fields, body=b""):
        self.start = start
        self.fields = fields
        self.body = body

    @property
    def status(self):
        return int(self.start.split(" ")[1])

    def all(self, name):
        return [value for other, value in self.fields if other.lower() == name.lower()]

    def get(self, name):
        """All values as one list, or None."""
        values = self.all(name)
        return ", ".join(values) if values else None


FORMS = ("%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %d %H:%M:%S %Y")


def date(text):
    """Seconds, if it is a date in one of the three forms of HTTP; with or without the right case."""
    for form in FORMS:
        with contextlib.suppress(TypeError, ValueError):
            return datetime.strptime(text, form).replace(tzinfo=timezone.utc).timestamp()
    return None


async def read_head(reader):
    raw = await reader.readuntil(b"\r\n\r\n")
    start, *lines = raw.decode("latin-1").split("\r\n")[:-2]
    fields = []
    for line in lines:
        name, _, value = line.partition(":")
        fields.append((name, value.strip()))
    return Message(start, fields)


async def read_body(reader, message, *, of_head):
    if of_head or message.status in (204, 304) or message.status < 200:
        return b""
    if (message.get("Transfer-Encoding") or "").lower() == "chunked":
        body = b""
        while size := int((await reader.readline()).split(b";")[0], 16):
            body += await reader.readexactly(size)
            await reader.readexactly(2)
        await reader.readline()
        return body
    length = message.get("Content-Length")
    return await reader.read() if length is None else await reader.readexactly(int(length))


def head(start, fields):
    return "".join([start, "\r\n", *(f"{name}: {value}\r\n" for name, value in fields), "\r\n"]).encode("latin-1")


async def ask(port, method, path, fields):
    """One request on a connection of its own."""
    async with asyncio.timeout(LIMIT):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            always = [("Host", "differential.test"), ("Connection", "close")]
            writer.write(head(f"{method} {path} HTTP/1.1", always + fields))
            answer = await read_head(reader)
            answer.body = await read_body(reader, answer, of_head=method == "HEAD")
            return answer
        finally:
            writer.close()


async def serve(answer):
    """A server on a free port of this machine; `answer` makes of a request (method, path, fields) what is sent."""

    async def connection(reader, writer):
        try:
            while True:
                request = await read_head(reader)
                method, path, _ = request.start.split(" ")
                start, fields, body = answer(method, path, request)
                writer.write(head(start, fields))
                if method != "HEAD":
                    writer.write(body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connection, "127.0.0.1", 0, backlog=1024)
    return server, server.sockets[0].getsockname()[1]
