"""The real process, started as an operator starts it, on a free port and with a data folder of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

from core.config import PREFIX, REPOSITORY
from tests.signed_in import Admin, first_admin


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningApp:
    """A started `streamlit run app.py` that has said it is ready."""

    url: str
    port: int
    process: subprocess.Popen[str]
    log: Path
    """What it wrote to stdout and stderr."""
    ready_after_s: float
    admin: Admin | None
    """Signed in by the set-up link; None where that was left to the test."""

    @property
    def browser_cookies(self) -> list[dict[str, str]]:
        """The admin's cookies, as Playwright takes them."""
        assert self.admin is not None
        return [{"name": name, "value": value, "url": self.url} for name, value in self.admin.cookies.items()]

    @property
    def headers(self) -> dict[str, str]:
        """What a program sends: the admin's key."""
        assert self.admin is not None
        return self.admin.headers

    def stop(self, number: int = signal.SIGTERM, *, timeout_s: float = 30.0) -> int:
        """Send a signal and wait for the end; the exit code."""
        self.process.send_signal(number)
        return self.process.wait(timeout_s)


NO_LIMIT = "1000000 per minute"
DEFAULTS = {
    "new_user_plan": "enterprise",
    "plans": json.dumps({"enterprise": {"limits": NO_LIMIT, "max_concurrent": 1000}}),
    "address_limits": NO_LIMIT,
    "access_token_minutes": 1440,
}
"""Of started processes: the first admin, whose key tests and benchmarks send, is held to no limits. Many browsers share
their cookies, and none of them may renew the session: the others would then hold a refresh token that was used."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(data_dir: Path, *, port: int, log: Path, settings: dict[str, object]) -> subprocess.Popen[str]:
    """Start the process without waiting for it. `settings` go by the environment, which has no others."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith((PREFIX, "STREAMLIT_"))}
    environ |= {
        PREFIX + name.upper(): str(value) for name, value in (DEFAULTS | {"data_dir": data_dir} | settings).items()
    }
    command = [sys.executable, "-m", "streamlit", "run", str(REPOSITORY / "app.py")]
    options = ["--server.port", str(port), "--server.address", "127.0.0.1", "--server.headless", "true"]
    with log.open("w") as output:
        return subprocess.Popen(
            [*command, *options],
            env=environ | {"HOME": str(data_dir)},
            cwd=data_dir,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
        )


@contextmanager
def running_app(
    data_dir: Path,
    *,
    deadline_s: float = 120.0,
    signs_in: bool = True,
    port: int | None = None,
    is_awaited_at: str = "/readyz",
    **settings: object,
) -> Iterator[RunningApp]:
    """The process, from ready to killed at the latest at the end of the context; ready is 200 at `is_awaited_at`.

    `signs_in` uses the set-up link.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    port, log = port or free_port(), data_dir / "process.log"
    url = f"http://127.0.0.1:{port}"
    started = time.monotonic()
    process = start(data_dir, port=port, log=log, settings=settings)
    try:
        while not _is_ready(url + is_awaited_at):
            waited_s = time.monotonic() - started
            if process.poll() is not None or waited_s > deadline_s:
                raise RuntimeError(f"not ready after {waited_s:.1f} s (exit {process.poll()}):\n{log.read_text()}")
            time.sleep(0.02)
        ready_after_s = time.monotonic() - started
        admin = first_admin(url, log) if signs_in else None
        yield RunningApp(url=url, port=port, process=process, log=log, ready_after_s=ready_after_s, admin=admin)
    finally:
        process.kill()
        process.wait()


def _is_ready(url: str) -> bool:
    try:
        return httpx2.get(url, timeout=5).status_code == 200
    except httpx2.TransportError:
        return False
