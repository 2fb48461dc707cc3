"""The schedule of retries."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from core.webhooks.retries import JITTER_SHARE, MAX_RETRY_AFTER_S, WAITS_S, seconds_of, wait_s

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_schedule_is_the_one_of_the_specification():
    hours = [wait / 3600 for wait in WAITS_S[3:]]
    assert WAITS_S[:3] == (5.0, 300.0, 1800.0)
    assert hours == [2, 5, 10, 14, 20, 24]


@pytest.mark.parametrize("n_attempts", range(1, 10))
def test_wait_is_spread_between_the_schedule_and_a_fifth_more(n_attempts):
    least, most = (wait_s(n_attempts, chance=lambda share=share: share) for share in (0.0, 1.0))
    assert least == WAITS_S[n_attempts - 1]
    assert most == pytest.approx(least * (1 + JITTER_SHARE))
    assert least <= wait_s(n_attempts) <= most


def test_tenth_attempt_is_the_last():
    assert wait_s(10) is None
    assert wait_s(10, retry_after_s=1.0) is None


@pytest.mark.parametrize(
    ("asked_s", "waited_s"), [(None, 5.0), (1.0, 5.0), (90.0, 90.0), (1e12, MAX_RETRY_AFTER_S), (0.0, 5.0)]
)
def test_receiver_may_ask_for_a_longer_pause_and_not_for_a_shorter_one(asked_s, waited_s):
    assert wait_s(1, retry_after_s=asked_s, chance=lambda: 0.0) == waited_s


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0.0),
        (" 17 ", 17.0),
        ("9" * 40, 999_999_999_999.0),
        ("Sun, 01 Mar 2026 12:01:00 GMT", 60.0),
        ("Sun, 01 Mar 2026 11:00:00 GMT", 0.0),
        ("Sun, 01 Mar 2026 12:01:00 -0000", 60.0),
        *((text, None) for text in ("", "-5", "1.5", "soon", "²", "Sun, 99 Mar 2026 12:01:00 GMT")),
    ],
)
def test_retry_after_is_read_in_both_its_forms(header, seconds):
    assert seconds_of(header, now=NOON) == seconds
