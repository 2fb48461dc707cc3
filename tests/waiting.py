"""Waiting for what another thread or process brings about."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_until(is_true: Callable[[], bool], *, timeout_s: float = 30.0) -> None:
    """Return once `is_true()`; fail after `timeout_s`."""
    ends_s = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < ends_s, "it did not come about in time"
        time.sleep(0.01)
