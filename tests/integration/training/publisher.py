"""A publisher's server on this machine: serves bytes with or without ranges, and fails as told."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Publisher:
    """What a server holds, how it misbehaves, and what it was asked."""

    files: dict[str, bytes] = field(default_factory=dict)
    supports_ranges: bool = True
    breaks_after: list[int] = field(default_factory=list)
    """Bytes sent before the connection is cut, one number for each of the next answers."""
    statuses: list[int] = field(default_factory=list)
    """Statuses answered instead of content, one for each of the next requests."""
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    """Path and Range header of every request."""
    url: str = ""


@contextmanager
def serve_publisher() -> Iterator[Publisher]:
    """A running server; its `url` ends without a slash."""
    publisher = Publisher()
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            with lock:
                publisher.requests.append((self.path, self.headers.get("Range")))
                status = publisher.statuses.pop(0) if publisher.statuses else None
                n_sent = publisher.breaks_after.pop(0) if publisher.breaks_after else None
            content = publisher.files.get(self.path)
            if status is not None or content is None:
                self._answer(status or 404, b"")
                return
            start = 0
            asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
            headers = {}
            if asked and publisher.supports_ranges:
                start = int(asked[1])
                if start >= len(content):
                    self._answer(416, b"", {"Content-Range": f"bytes */{len(content)}"})
                    return
                headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self._answer(206 if headers else 200, content[start:], headers, n_sent=n_sent)

        def _answer(
            self, status: int, body: bytes, headers: dict[str, str] | None = None, *, n_sent: int | None = None
        ) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body[:n_sent])
            if n_sent is not None and n_sent < len(body):
                self.wfile.flush()
                self.close_connection = True

        def log_message(self, format: str, *arguments: object) -> None:
            """Stay silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    publisher.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield publisher
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
