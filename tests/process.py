"""The real process, started as an operator starts it, on a free port and with a data folder of its own."""

from __future__ import annotations

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


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningApp:
    """A started `streamlit run app.py` that has said it is ready."""

    url: str
    port: int
    process: subprocess.Popen[str]
    log: Path
    """What it wrote to stdout and stderr."""
    ready_after_s: float

    def stop(self, number: int = signal.SIGTERM, *, timeout_s: float = 30.0) -> int:
        """Send a signal and wait for the end; the exit code."""
        self.process.send_signal(number)
        return self.process.wait(timeout_s)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(data_dir: Path, *, port: int, log: Path, settings: dict[str, object]) -> subprocess.Popen[str]:
    """Start the process without waiting for it. `settings` go by the environment, which has no others."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith((PREFIX, "STREAMLIT_"))}
    environ |= {PREFIX + name.upper(): str(value) for name, value in ({"data_dir": data_dir} | settings).items()}
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
    data_dir: Path, *, deadline_s: float = 120.0, is_awaited_at: str = "/readyz", **settings: object
) -> Iterator[RunningApp]:
    """The process, from ready to killed at the latest at the end of the context; ready is 200 at `is_awaited_at`."""
    data_dir.mkdir(parents=True, exist_ok=True)
    port, log = free_port(), data_dir / "process.log"
    url = f"http://127.0.0.1:{port}"
    started = time.monotonic()
    process = start(data_dir, port=port, log=log, settings=settings)
    try:
        while not _is_ready(url + is_awaited_at):
            waited_s = time.monotonic() - started
            if process.poll() is not None or waited_s > deadline_s:
                raise RuntimeError(f"not ready after {waited_s:.1f} s (exit {process.poll()}):\n{log.read_text()}")
            time.sleep(0.02)
        yield RunningApp(url=url, port=port, process=process, log=log, ready_after_s=time.monotonic() - started)
    finally:
        process.kill()
        process.wait()


def _is_ready(url: str) -> bool:
    try:
        return httpx2.get(url, timeout=5).status_code == 200
    except httpx2.TransportError:
        return False
