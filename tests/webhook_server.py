"""A web server on loopback that keeps what is posted to it and answers as it is told."""

from __future__ import annotations

import gzip
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HANGS = 0
"""Stands where a status does: nothing is answered until `released` is set."""
DRIPS = 1
"""As well: the beginning of an answer comes byte by byte and does not end before `released` is set."""


@dataclass
class WebhookServer:
    """What came in, and what is answered."""

    url: str = ""
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    """Status and headers of the next answers; none left means 204."""
    bodies: list[bytes] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    arrived: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    """Released for each post."""
    released: threading.Event = field(default_factory=threading.Event)
    """Lets go of those that hang; set at the end too."""


@contextmanager
def webhook_server(
    *answers: tuple[int, dict[str, str]], port: int = 0, tls: ssl.SSLContext | None = None
) -> Iterator[WebhookServer]:
    """The server, from listening to gone."""
    kept = WebhookServer(answers=list(answers))

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            kept.bodies.append(body)
            kept.paths.append(self.path)
            kept.headers.append({name.lower(): value for name, value in self.headers.items()})
            status, headers = kept.answers.pop(0) if kept.answers else (204, {})
            if status in (HANGS, DRIPS):
                kept.arrived.release()
                while not kept.released.wait(0.02):
                    if status == DRIPS:
                        self.wfile.write(b"H")
                self.close_connection = True
                return
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()
            kept.arrived.release()

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """Who hangs up early is no news."""

    server = Server(("127.0.0.1", port), Answer)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    kept.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield kept
    finally:
        kept.released.set()
        server.shutdown()
        server.server_close()
        thread.join()
