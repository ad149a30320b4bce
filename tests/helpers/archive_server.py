"""A server of archives on loopback that can be told to misbehave."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


@dataclass
class ArchiveServer:
    """What the server serves, and what it was asked.

    Attributes:
        files: Content by name; other names are answered with `absent`.
        breaks: For each answer to come, after how many bytes the connection is cut.
        etag: The version of every file; None sends none.
        ranges: Whether `Range` is honoured.
        errors: For each answer to come, a status to send instead.
        requests: (name, Range, If-Range) of each request.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    breaks: list[int] = field(default_factory=list)
    etag: str | None = '"1"'
    ranges: bool = True
    absent: int = 404
    errors: list[int] = field(default_factory=list)
    requests: list[tuple[str, str | None, str | None]] = field(default_factory=list)
    url: str = ""

    @property
    def names(self) -> list[str]:
        return [name for name, _, _ in self.requests]


@contextmanager
def serve() -> Iterator[ArchiveServer]:
    """Runs a server until the block ends."""
    served = ArchiveServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.rpartition("/")[2]
            span, condition = self.headers["Range"], self.headers["If-Range"]
            served.requests.append((name, span, condition))
            content = served.files.get(name)
            if served.errors or content is None:
                self.send_error(served.errors.pop(0) if served.errors else served.absent)
                return
            start = 0
            if span and served.ranges and condition in (None, served.etag):
                start = int(span.removeprefix("bytes=").removesuffix("-"))
            if start and start >= len(content):
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            if served.etag:
                self.send_header("ETag", served.etag)
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            end = start + served.breaks.pop(0) if served.breaks else len(content)
            self.wfile.write(content[start:end])

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.url = f"http://127.0.0.1:{server.server_address[1]}/checkpoint"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
