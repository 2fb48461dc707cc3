"""The ledger as requests see it: noting never waits nor raises, and what was noted is in the store soon."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime
from uuid import UUID

import pytest
import structlog

from core import usage
from core.config import REPOSITORY, Settings
from core.domain import Caller, Emotion, Reader, Role, User
from core.errors import BusyError, SilentAudioError, StoreError
from core.store.engine import open_store
from core.store.usage import select_usage_events, select_usage_summary
from core.usage import Call, UsageLedger, noting, truncated
from tests.factories import make_prediction, make_recording, make_usage_event

ADMIN = Reader(user_id=UUID(int=9), sees_everything=True)
CALL = Call(route="/analyse", method="PAGE", caller=None, request_id="abc", address="")


class MoodyStore:
    """A store that refuses to append while it is told to, and lets the test wait for that."""

    def __init__(self, store) -> None:
        self._store = store
        self.refuses = False
        self.loses_the_answer = False
        self.n_refused = 0
        self.changed = threading.Condition()
        self.gate = threading.Event()
        self.gate.set()

    def __getattr__(self, name):
        return getattr(self._store, name)

    @contextlib.contextmanager
    def transaction(self, doing):
        if doing != "appending to the usage ledger":
            with self._store.transaction(doing) as connection:
                yield connection
            return
        self.gate.wait()
        with self.changed:
            if self.refuses:
                self.n_refused += 1
                self.changed.notify_all()
                raise StoreError(doing, "no space left on device")
        with self._store.transaction(doing) as connection:
            yield connection
        if self.loses_the_answer:
            self.loses_the_answer = False
            raise StoreError(doing, "the server closed the connection")

    def wait_for_refusals(self, n):
        with self.changed:
            assert self.changed.wait_for(lambda: self.n_refused >= n, 60)


@pytest.fixture
def moody(store):
    return MoodyStore(store)


@pytest.fixture
def ledger(moody, tmp_path, monkeypatch):
    monkeypatch.setattr(usage, "_TRY_AGAIN_S", 0.01)
    opened = UsageLedger(moody, Settings(data_dir=tmp_path))
    yield opened
    moody.refuses = False
    moody.gate.set()
    opened.close()


def kept(store):
    found, cursor = [], None
    while True:
        page = select_usage_events(store, reader=ADMIN, cursor=cursor)
        found += page.items
        cursor = page.next_cursor
        if cursor is None:
            return sorted(found, key=lambda event: event.id)


def test_closing_writes_everything_that_was_noted(store, ledger):
    events = [make_usage_event(address="192.0.2.7") for _ in range(1_203)]
    for event in events:
        ledger.note(event)
    ledger.close()
    ledger.close()
    assert [event.id for event in kept(store)] == [event.id for event in events]
    assert {event.address for event in kept(store)} == {"192.0.2.0/24"}
    assert ledger.n_lost == 0


def test_a_single_event_is_written_without_anybody_asking_for_it(store, ledger):
    written = threading.Event()
    original = ledger._settle

    def settle(n_lines):
        original(n_lines)
        written.set()

    ledger._settle = settle
    event = make_usage_event(address="")
    ledger.note(event)
    assert written.wait(60)
    assert kept(store) == [event]


def test_noting_goes_on_while_the_store_takes_its_time(ledger, moody, store):
    moody.gate.clear()
    for _ in range(3 * usage.FLUSH_EVENTS):  # with an append stuck inside the store, none of these waits
        ledger.note(make_usage_event())
    moody.gate.set()
    assert ledger.flush(deadline_s=60)
    assert len(kept(store)) == 3 * usage.FLUSH_EVENTS


def test_many_threads_lose_nothing(store, ledger):
    def work():
        for _ in range(300):
            ledger.note(make_usage_event())

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ledger.flush(deadline_s=60)
    assert select_usage_summary(store, reader=ADMIN).figures.n_requests == 2_400


def test_a_store_that_refuses_for_a_while_loses_nothing_and_it_is_logged(store, ledger, moody):
    events = [make_usage_event(address="") for _ in range(20)]
    moody.refuses = True
    with structlog.testing.capture_logs() as logs:
        for event in events[:10]:
            ledger.note(event)
        moody.wait_for_refusals(3)
        for event in events[10:]:
            ledger.note(event)
        moody.refuses = False
        assert ledger.flush(deadline_s=60)
    assert kept(store) == events
    said = [line["event"] for line in logs]
    assert said == ["usage ledger waits for the store", "usage ledger writes again"]
    assert "no space left on device" in logs[0]["reason"]
    assert ledger.n_lost == 0


def test_lines_whose_writing_nobody_confirmed_are_kept_once(store, ledger, moody):
    moody.loses_the_answer = True
    events = [make_usage_event(address="") for _ in range(5)]
    ledger.note(*events)
    assert ledger.flush(deadline_s=60)
    assert kept(store) == events


def test_beyond_the_bound_the_newest_are_lost_and_counted(store, ledger, moody, monkeypatch):
    monkeypatch.setattr(usage, "MAX_WAITING", 10)
    moody.refuses = True
    events = [make_usage_event(address="") for _ in range(14)]
    for event in events:
        ledger.note(event)
    assert ledger.n_lost == 4
    moody.refuses = False
    assert ledger.flush(deadline_s=60)
    assert kept(store) == events[:10]


def test_closing_while_the_store_refuses_gives_up_and_says_how_many_are_lost(store, ledger, moody):
    moody.refuses = True
    ledger.note(*(make_usage_event() for _ in range(7)))
    with structlog.testing.capture_logs() as logs:
        ledger.close(deadline_s=0.05)
    assert logs[-1] == {
        "event": "usage ledger closed before everything was written",
        "n_lost": 7,
        "log_level": "error",
    }
    assert ledger.n_lost == 7


def test_lines_that_a_store_keeps_after_closing_gave_up_are_not_lost(store, ledger, moody):
    moody.gate.clear()
    ledger.note(*(make_usage_event() for _ in range(7)))
    ledger.close(deadline_s=0.05)
    assert ledger.n_lost == 7
    moody.gate.set()
    ledger.close()
    assert len(kept(store)) == 7
    assert ledger.n_lost == 0


def test_after_closing_noting_is_harmless(store, ledger):
    ledger.close()
    ledger.note(make_usage_event())
    assert ledger.n_lost == 1
    assert kept(store) == []


def test_a_line_that_no_column_takes_costs_no_other(store, ledger):
    good = [make_usage_event(address="") for _ in range(3)]
    with structlog.testing.capture_logs() as logs:
        ledger.note(good[0], make_usage_event(at=datetime(2026, 1, 1)), *good[1:])
        assert ledger.flush(deadline_s=60)
    assert [line["event"] for line in logs] == ["usage ledger could not write a line"]
    assert kept(store) == good
    assert ledger.n_lost == 1


def test_texts_that_a_database_would_refuse_are_mended(store, ledger):
    ledger.note(make_usage_event(method="A\0B", request_id="\udc80" + "x" * 500, address="\0"))
    assert ledger.flush(deadline_s=60)
    [event] = kept(store)
    assert (event.method, event.request_id, event.address) == ("AB", "?" + "x" * 199, "")


@pytest.mark.parametrize(
    ("way", "address", "expected"),
    [
        ("truncated", "203.0.113.99", "203.0.113.0/24"),
        ("truncated", "2001:db8:aaaa:bbbb::1", "2001:db8:aaaa::/48"),
        ("truncated", "somewhere", ""),
        ("full", "203.0.113.99", "203.0.113.99"),
        ("none", "203.0.113.99", ""),
        ("hashed", "", ""),
    ],
)
def test_addresses_are_kept_as_the_settings_say(store, tmp_path, way, address, expected):
    ledger = UsageLedger(store, Settings(data_dir=tmp_path, usage_address=way))
    ledger.note(make_usage_event(address=address))
    ledger.close()
    assert kept(store)[0].address == expected
    assert truncated("fe80::1%eth0") == "fe80::/48"


def test_hashed_addresses_are_alike_across_starts_and_need_the_key(store, tmp_path):
    for folder in (tmp_path / "one", tmp_path / "one", tmp_path / "other"):
        folder.mkdir(exist_ok=True)
        ledger = UsageLedger(store, Settings(data_dir=folder, usage_address="hashed"))
        ledger.note(make_usage_event(address="203.0.113.99"))
        ledger.close()
    first, second, other = (event.address for event in kept(store))
    assert first == second != other
    assert len(first) == 32
    assert int(first, 16) >= 0
    key = tmp_path / "one" / "usage-address.key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in (tmp_path / "one").glob("*.key*")] == ["usage-address.key"]


def test_a_key_that_cannot_be_made_is_said(store, tmp_path):
    with pytest.raises(StoreError, match=r"making .*usage-address\.key"):
        UsageLedger(store, Settings(data_dir=tmp_path / "missing", usage_address="hashed"))


def test_a_call_with_three_recordings_is_one_request_and_three_predictions(store, ledger):
    user = User(
        id=UUID(int=5),
        email="ann@example.org",
        name="Ann",
        role=Role.ANALYST,
        plan="free",
        is_active=True,
        has_password=True,
        created_at=datetime.now(UTC),
        last_sign_in_at=None,
    )
    caller = Caller(
        user=user, scopes=frozenset(), reader=Reader(user_id=user.id), plan="pro", key_id=UUID(int=6), session_id=None
    )
    call = Call(route="/api/v1/batch-predict", method="POST", caller=caller, request_id="r", address="")
    with noting(ledger, call) as use:
        for emotion in (Emotion.SAD, Emotion.SAD, Emotion.CALM):
            use.add_prediction(make_prediction(make_recording(), emotion=emotion))
    assert ledger.flush(deadline_s=60)
    figures = select_usage_summary(store, reader=caller.reader).figures
    assert (figures.n_requests, figures.n_calls, figures.n_predictions, figures.audio_s) == (1, 3, 3, 15.0)
    events = kept(store)
    assert [event.is_further for event in events] == [False, True, True]
    assert {(event.user_id, event.key_id, event.plan, event.status) for event in events} == {
        (user.id, UUID(int=6), "pro", 200)
    }


@pytest.mark.parametrize(
    ("error", "status"), [(SilentAudioError(-90.0), 422), (BusyError(1, 1), 503), (ValueError("oops"), 500)]
)
def test_a_page_action_that_fails_is_noted_with_what_it_stands_for(store, ledger, error, status):
    with pytest.raises(type(error)), noting(ledger, CALL):
        raise error
    assert ledger.flush(deadline_s=60)
    [event] = kept(store)
    assert (event.status, event.n_predictions, event.user_id, event.plan) == (status, 0, None, None)


CHILD = """
import os, sys, time
from pathlib import Path
from core.config import Settings
from core.store.engine import open_store
from core.usage import UsageLedger
from tests.factories import make_usage_event

store = open_store(sys.argv[1])
ledger = UsageLedger(store, Settings(data_dir=Path(sys.argv[2])))
settle = ledger._settle
def tell(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())  # at once: two threads tell
def settle_and_tell(n_lines):
    settle(n_lines)
    tell("written", n_lines)
ledger._settle = settle_and_tell
while True:
    event = make_usage_event()
    ledger.note(event)
    tell("noted", event.id)
    time.sleep(0.002)
"""


def test_kill_9_loses_the_newest_lines_only_those_that_no_write_had_taken_yet(store_url, tmp_path):
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, store_url, str(tmp_path)], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    )
    noted: list[UUID] = []
    written: list[int] = []
    while len(written) < 3 or len(noted) < sum(written) + 20:
        hear(child.stdout.readline(), noted, written)
    child.send_signal(signal.SIGKILL)
    for line in child.communicate(timeout=60)[0].splitlines():
        hear(line, noted, written)
    assert child.returncode == -signal.SIGKILL
    with open_store(store_url) as store:
        there = {event.id for event in kept(store)}
    lost = [event_id for event_id in noted if event_id not in there]
    assert 0 < len(lost) <= len(noted) - sum(written)
    assert lost == noted[-len(lost) :]


def hear(line, noted, written):
    word, what = line.split()
    if word == "noted":
        noted.append(UUID(what))
    else:
        written.append(int(what))
