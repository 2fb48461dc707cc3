"""UUIDv7: the fields of RFC 9562, section 5.7, and their order."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from uuid import RFC_4122

from core import identifiers
from core.identifiers import new_id


def test_version_variant_and_time_stand_where_the_rfc_says():
    before_ms = time.time_ns() // 1_000_000
    made = new_id()
    after_ms = time.time_ns() // 1_000_000
    assert made.version == 7
    assert made.variant == RFC_4122
    assert before_ms <= made.int >> 80 <= after_ms


def test_ids_made_in_a_row_ascend_and_their_texts_too():
    made = [new_id() for _ in range(10_000)]
    assert made == sorted(set(made))
    assert [str(each) for each in made] == sorted(str(each) for each in made)


def test_ids_ascend_while_the_clock_stands_still_and_steps_back(monkeypatch):
    times = iter([5_000_000_000_000] * 5000 + [4_000_000_000_000] * 5000)
    monkeypatch.setattr(identifiers, "_last_ticks", 0)
    monkeypatch.setattr(identifiers, "time", SimpleNamespace(time_ns=lambda: next(times)))
    made = [new_id() for _ in range(10_000)]
    assert made == sorted(set(made))
    assert made[0].int >> 80 == 5_000_000
    assert {each.version for each in made} == {7}


def test_fraction_of_the_millisecond_is_kept(monkeypatch):
    monkeypatch.setattr(identifiers, "_last_ticks", 0)
    monkeypatch.setattr(identifiers, "time", SimpleNamespace(time_ns=lambda: 1_000_000_500_000))
    assert new_id().int >> 64 & 0xFFF == 0x800


def test_threads_never_get_the_same_id():
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: new_id(), range(8000)))
    assert len(set(made)) == 8000
