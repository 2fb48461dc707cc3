"""Moving windows in memory: exact, all or nothing, bounded."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.access.windows import Window, WindowMemory, Windows, items_of
from core.errors import InvalidSettingError
from tests.clocks import Clock


def windows_of(limits: str, whose: str = "ada", kind: str = "user") -> list[Window]:
    return [Window(item, kind, whose) for item in items_of(limits)]


def test_window_lets_through_what_it_may_and_no_more():
    clock = Clock()
    windows, both = Windows(clock=clock), windows_of("3 per second; 5 per minute")
    taken = [windows.take(both)[0] for _ in range(4)]
    assert taken == [True, True, True, False]
    clock.pass_s(1.0)
    taken = [windows.take(both)[0] for _ in range(3)]
    assert taken == [True, True, False]


def test_refused_calls_count_in_no_window():
    clock = Clock()
    windows, both = Windows(clock=clock), windows_of("2 per second; 10 per minute")
    for _ in range(50):
        windows.take(both)
    second, minute = windows.look(both)
    assert (second.remaining, minute.remaining) == (0, 8)


def test_window_moves_with_its_oldest_call():
    clock = Clock()
    windows, [minute] = Windows(clock=clock), windows_of("2 per minute")
    windows.take([minute])
    clock.pass_s(40.0)
    windows.take([minute])
    taken, [standing] = windows.take([minute])
    assert not taken
    assert standing.retry_after_s == 20
    clock.pass_s(20.0)
    assert windows.take([minute])[0]
    assert not windows.take([minute])[0]


@given(st.lists(st.floats(0, 30), min_size=1, max_size=200), st.integers(1, 10), st.integers(1, 60))
def test_no_stretch_as_long_as_the_window_ever_holds_more_than_the_limit(pauses_s, amount, length_s):
    clock = Clock()
    windows, [window] = Windows(clock=clock), windows_of(f"{amount} per {length_s} second")
    moments = []
    for pause_s in pauses_s:
        clock.pass_s(pause_s)
        was_full = windows.look([window])[0].is_full
        taken, _ = windows.take([window])
        assert taken is not was_full
        if taken:
            moments.append(clock())
    for position, moment in enumerate(moments):
        assert sum(moment <= other < moment + length_s for other in moments[position:]) <= amount


def test_window_says_when_it_has_room_and_then_has_it():
    clock = Clock()
    windows, [window] = Windows(clock=clock), windows_of("5 per 7 second")
    for _ in range(5):
        assert windows.take([window])[0]
        clock.pass_s(0.3)
    taken, [standing] = windows.take([window])
    assert not taken
    clock.pass_s(standing.retry_after_s)
    assert windows.take([window])[0]


def test_50_threads_at_once_get_exactly_the_limit():
    windows, both = Windows(), windows_of("20 per hour; 1000 per day")
    ready = threading.Barrier(50)

    def take() -> bool:
        ready.wait(timeout=60)
        return windows.take(both)[0]

    with ThreadPoolExecutor(50) as pool:
        taken = [each.result() for each in [pool.submit(take) for _ in range(50)]]
    assert sum(taken) == 20
    assert windows.look(both)[1].remaining == 980


def test_what_one_uses_another_keeps():
    windows = Windows()
    [ada], [bob] = windows_of("1 per day"), windows_of("1 per day", "bob")
    assert windows.take([ada])[0]
    assert windows.take([bob])[0]
    assert not windows.take([ada])[0]


def test_forgotten_window_is_empty():
    windows, [window] = Windows(), windows_of("1 per day")
    windows.take([window])
    windows.forget([window])
    assert windows.take([window])[0]


def test_memory_holds_no_more_windows_than_it_may_and_forgets_the_one_unused_longest():
    clock = Clock()
    memory = WindowMemory(max_windows=3, clock=clock)
    for key in ("a", "b", "c", "a", "d"):
        clock.pass_s(1)
        assert memory.acquire_entry(key, 10, 3600)
    assert len(memory) == 3
    assert memory.get_moving_window("a", 10, 3600)[1] == 2
    assert memory.get_moving_window("b", 10, 3600)[1] == 0


def test_windows_that_time_has_emptied_leave_memory():
    clock = Clock()
    memory = WindowMemory(clock=clock)
    for number in range(1000):
        memory.acquire_entry(str(number), 10, 60)
    clock.pass_s(60)
    for number in range(500):
        memory.acquire_entry(f"new {number}", 10, 60)
    assert len(memory) == 500


def test_many_addresses_do_not_push_another_kind_out_of_memory(monkeypatch):
    monkeypatch.setattr(WindowMemory.__init__, "__defaults__", (5, Clock()))
    windows, [failures] = Windows(), windows_of("1 per day", kind="account")
    windows.take([failures])
    for number in range(50):
        windows.take(windows_of("1 per day", str(number), kind="address"))
    assert windows.look([failures])[0].is_full


@pytest.mark.parametrize(
    ("limits", "names"),
    [
        ("10 per second; 5000 per day", ["user-second", "user-day"]),
        ("5000 per day; 10 per second", ["user-second", "user-day"]),
        ("20 per 5 second; 20 per minute", ["user-5-seconds", "user-minute"]),
        ("20 per minute; 10 per 60 second", ["user-60-seconds"]),
    ],
)
def test_names_are_unique_and_the_shortest_comes_first(limits, names):
    assert [window.name for window in windows_of(limits)] == names


@pytest.mark.parametrize(
    "url", ["nonsense", "http://localhost", "memory://", "memcached://localhost:11211", "redis://h:x"]
)
def test_what_is_no_redis_is_an_invalid_setting_without_its_password(url):
    with pytest.raises(InvalidSettingError, match="redis_url") as refused:
        Windows.open(url)
    assert url not in str(refused.value)
