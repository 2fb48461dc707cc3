"""Programs that learn, run as children of the process that serves: what they say is read, and they end with it."""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from core.config import REPOSITORY

if TYPE_CHECKING:
    from core.workbench import Workbench

_LOOK_EVERY_S = 0.5

Feed = Callable[[BinaryIO], None]
"""Writes what a child reads from its standard input."""


def said_by(command: Sequence[str], workbench: Workbench, *, feed: Feed | None = None) -> Generator[dict[str, Any]]:
    """What the child that `command` starts prints. It ends when this does, and by itself when this process is killed.

    Looks twice a second whether the job is to stop, and then raises as `Jobs.tell` does. What `feed` raises, this does.
    """
    child = _start(command, is_fed=feed is not None)
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    failures: list[BaseException] = []
    threads = [threading.Thread(target=_read, args=(child, lines), name="learning", daemon=True)]
    if feed is not None:
        threads.append(threading.Thread(target=_feed, args=(child, feed, failures), name="feeding", daemon=True))
    for thread in threads:
        thread.start()
    try:
        while True:
            current = workbench.jobs.current()
            if current is not None:
                current.require_going_on()
            if failures:
                raise failures[0]
            with contextlib.suppress(queue.Empty):
                line = lines.get(timeout=_LOOK_EVERY_S)
                if not line:
                    return
                if line.startswith(b"{"):
                    yield json.loads(line)
    finally:
        child.kill()
        child.wait()
        for thread in threads:
            thread.join()
        if child.stdout is not None:
            child.stdout.close()


def doing_and_time_left(said: Mapping[str, Any]) -> str:
    """What a child says it does, with the time left; of half a second none is told: something always follows.

    >>> doing_and_time_left({"doing": "Learning", "seconds_left": 44.2}), doing_and_time_left({"doing": "Learning"})
    ('Learning, 44 s left', 'Learning')
    >>> [doing_and_time_left({"doing": "Learning", "seconds_left": seconds}) for seconds in (0.4, 1004, 9000)]
    ['Learning', 'Learning, 17 min left', 'Learning, 2.5 h left']
    """
    doing = str(said.get("doing", ""))
    left_s = float(said.get("seconds_left", 0.0))
    if left_s < 0.5:
        return doing
    if left_s < 95:
        return f"{doing}, {left_s:.0f} s left"
    return f"{doing}, {left_s / 60:.0f} min left" if left_s < 5700 else f"{doing}, {left_s / 3600:.1f} h left"


def _start(command: Sequence[str], *, is_fed: bool) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - this interpreter, our own module
        command,
        stdin=subprocess.PIPE if is_fed else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=REPOSITORY,
    )


def _read(child: subprocess.Popen[bytes], lines: queue.SimpleQueue[bytes]) -> None:
    """Pass lines on; an empty one says that there are no more."""
    for line in child.stdout or ():
        lines.put(line)
    lines.put(b"")


def _feed(child: subprocess.Popen[bytes], feed: Feed, failures: list[BaseException]) -> None:
    stream = child.stdin
    if stream is None:
        return
    try:
        with contextlib.suppress(BrokenPipeError), stream:  # a child that has ended reads no more
            feed(cast(BinaryIO, stream))
    except Exception as error:  # noqa: BLE001 - raised again by the thread that reads
        failures.append(error)
