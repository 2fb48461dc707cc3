"""What one visitor's session knows: the workbench, the reader's clock, and what was handed in so far."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from pathlib import Path
from uuid import UUID
from zoneinfo import ZoneInfo, available_timezones

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from core.access.addresses import caller_address
from core.access.cookies import REFRESH_COOKIE, SESSION_COOKIE, cookie_name, is_https
from core.config import REPOSITORY
from core.domain import Caller, Emotion, Label, ModelCard, Prediction, Reader, Recording, Source
from core.errors import (
    BusyError,
    NotSignedInError,
    QuotaExceededError,
    RateLimitedError,
    TelepathyError,
    UnknownRecordingError,
)
from core.features.audio import DecodeLimits, decode
from core.features.overview import Overview, overview
from core.identifiers import new_id
from core.inbox import Outcome, Pending, Upload, receive
from core.inference.registry import list_models
from core.store.predictions import find_prediction
from core.store.recordings import select_recording
from core.usage import PAGE, Call
from core.workbench import Workbench, current_workbench

SAMPLES_DIR = REPOSITORY / "data" / "samples"
MAX_PAUSE_S = 2
"""The page waits as long for itself where a limit by the second is full; of a longer wait it tells."""
MAX_OUTCOMES = 50
"""A session keeps this many answers at hand; older ones stand on Explore."""
SCREEN_COLUMNS = 900
"""More columns than this cannot be told apart at the width of a chart."""


def workbench() -> Workbench:
    """The process's workbench."""
    return current_workbench()


def caller() -> Caller:
    """Who is signed in, as the store knows them now: an ended session or a disabled account is noticed on every run.

    Raises
    ------
    NotSignedInError
        Nobody is, or no longer.
    """
    return _caller_by(workbench(), _cookie(SESSION_COOKIE), _cookie(REFRESH_COOKIE))


def _caller_by(workbench: Workbench, session: str | None, refresh: str | None) -> Caller:
    found = workbench.access.caller_of_page(session, refresh)
    if found is None:
        raise NotSignedInError
    return found


def at_download(make: Callable[[Caller], bytes]) -> Callable[[], bytes]:
    """`make` for a download button: asked, once somebody presses it, with who is signed in by then.

    Streamlit calls it without running the page, from an open page of somebody who was signed out or lost a role too.
    """
    opened, cookies = workbench(), (_cookie(SESSION_COOKIE), _cookie(REFRESH_COOKIE))
    return lambda: make(_caller_by(opened, *cookies))


def keep_to(caller: Caller) -> None:
    """Forget what this page knows of somebody else: a browser that connects anew may have changed hands meanwhile."""
    if st.session_state.get("navigation_user") != caller.user.id:
        if "navigation_user" in st.session_state:
            st.session_state.clear()
        st.session_state["navigation_user"] = caller.user.id


def reader() -> Reader:
    """Whose eyes this page asks the store with."""
    return caller().reader


def owner() -> UUID:
    """Whose the recordings of this page are."""
    return caller().user.id


def own_reader() -> Reader:
    """As `reader`, of one's own alone: an admin's too."""
    return Reader(user_id=caller().user.id)


def who() -> str:
    """What this session's person is called where their deeds are kept."""
    return caller().user.email


def call(route: str) -> Call:
    """An action on the page at `route` that costs inference, for the usage ledger."""
    return Call(route=route, method=PAGE, caller=caller(), request_id=new_id().hex, address=address())


def address() -> str:
    """The network address that this page was opened from, past the proxies that the settings trust, as by the API."""
    forwarded_for = st.context.headers.get_all("X-Forwarded-For")
    return caller_address(st.context.ip_address, forwarded_for, workbench().settings.trusted_proxies)


def _cookie(name: str) -> str | None:
    """What the browser said when it opened this page; the session may have been renewed since."""
    secure = is_https(
        workbench().settings,
        scheme="https" if speaks_https() else "http",
        forwarded_proto=st.context.headers.get("X-Forwarded-Proto") or "",
    )
    return st.context.cookies.get(cookie_name(name, is_https=secure))


def speaks_https() -> bool:
    """Whether the process has a certificate, and no proxy need have one."""
    return bool(st.get_option("server.sslCertFile"))


def zone() -> tzinfo:
    """The time zone of the reader's browser; UTC when it does not say."""
    name = st.context.timezone
    return ZoneInfo(name) if name in _known_zones() else UTC


@functools.cache
def _known_zones() -> frozenset[str]:
    """Looked for on the disk once: that takes 8 ms each time."""
    return frozenset(available_timezones())


@dataclass
class Inbox:
    """What was handed in on Analyse in this session. The same file is analysed once, however often the page runs."""

    outcomes: dict[str, Outcome] = field(default_factory=dict)
    """By content hash and model, oldest first; at most `MAX_OUTCOMES`."""
    model: str | None = None
    """Which one answers from now on; None for the deployed one."""
    project_id: UUID | None = None
    """Where recordings go that are analysed from now on; None for one's own space."""
    open_sha256: str = ""
    """Key of the one that is shown in detail."""
    round: int = 0
    """How often the page was cleared; part of its widgets' keys, since only a new key empties an uploader."""
    n_taken: int = 0
    """How often something was handed in, known or new; part of the table's key, since only a new key moves its tick."""
    _hashes: dict[str, str] = field(default_factory=dict)
    """Content hash of each of Streamlit's file ids already taken in, by id and model."""
    _waiting: dict[str, Upload] = field(default_factory=dict)
    _pending: dict[str, Pending] = field(default_factory=dict)

    def take_files(self, files: Sequence[UploadedFile], source: Source) -> None:
        """Take in those of the uploader's files that are new."""
        for file in files:
            asked = f"{file.file_id} {self.model or ''}"
            if asked not in self._hashes:
                self._hashes[asked] = self.take(receive(file.getvalue(), name=file.name, source=source))

    def take(self, upload: Upload) -> str:
        """Take in one upload and open it; what is known already is not analysed again, unless there was no time."""
        key = f"{upload.sha256} {self.model}" if self.model else upload.sha256
        known = self.outcomes.get(key)
        if known is not None and isinstance(known.refusal, BusyError | RateLimitedError | QuotaExceededError):
            del self.outcomes[key]
        if key not in self.outcomes and key not in self._pending:
            self._waiting[key] = upload
        self.open_sha256 = key
        self.n_taken += 1
        return key

    @property
    def has_work(self) -> bool:
        """Whether something that was taken in has not been analysed."""
        return bool(self._waiting or self._pending)

    def work(
        self,
        workbench: Workbench,
        progress: Callable[[float, str], None],
        *,
        owner: UUID,
        begin_call: Callable[[], Call],
    ) -> None:
        """Analyse what was taken in, a few at a time, and wait for it; `begin_call` says for the ledger who asks."""
        if not self.has_work:
            return
        n_before, n_todo = len(self.outcomes), len(self._waiting) + len(self._pending)
        while self.has_work:
            while self._waiting and len(self._pending) < workbench.executor.n_workers:
                sha256 = next(iter(self._waiting))
                self._pending[sha256] = Pending(
                    workbench,
                    self._waiting.pop(sha256),
                    call=begin_call(),
                    owner=owner,
                    project_id=self.project_id,
                    model=self.model,
                )
            sha256, pending = next(iter(self._pending.items()))
            n_done = len(self.outcomes) - n_before

            def tell(share: float, doing: str, n_done: int = n_done) -> None:
                of_many = f"{n_done + 1} of {n_todo}: " if n_todo > 1 else ""
                progress(min(1.0, (n_done + share) / n_todo), of_many + doing)

            try:
                outcome = pending.wait(tell)
            except TelepathyError:
                self._forget(sha256)
                raise
            del self._pending[sha256]
            refusal = outcome.refusal
            if isinstance(refusal, RateLimitedError) and refusal.retry_after_s <= MAX_PAUSE_S:
                tell(0.0, "Waiting for its turn")
                time.sleep(refusal.retry_after_s)
                self._waiting = {sha256: pending.upload, **self._waiting}
            else:
                self.outcomes[sha256] = outcome
        while len(self.outcomes) > MAX_OUTCOMES:
            del self.outcomes[next(iter(self.outcomes))]
        self._open_one_that_is_there()

    def _forget(self, sha256: str) -> None:
        """Let the next run of the page try again."""
        del self._pending[sha256]
        self._hashes = {file_id: known for file_id, known in self._hashes.items() if known != sha256}
        self._open_one_that_is_there()

    def _open_one_that_is_there(self) -> None:
        """The newest, when the one that was to be shown got no outcome or had to make room."""
        if self.open_sha256 not in self.outcomes:
            self.open_sha256 = next(reversed(self.outcomes), "")

    def forget_recording(self, recording_id: UUID) -> None:
        """Forget the answers about a recording that was deleted, and empty the uploader, which holds its sound."""
        self.outcomes = {
            sha256: outcome
            for sha256, outcome in self.outcomes.items()
            if outcome.analysis is None or outcome.analysis.recording.id != recording_id
        }
        self.round += 1
        self._open_one_that_is_there()

    def clear(self) -> None:
        """Forget all of it; what was analysed stays in the store."""
        self.outcomes.clear()
        self._hashes.clear()
        self._waiting.clear()
        self._pending.clear()
        self.round += 1
        self.open_sha256 = ""


@contextmanager
def progress() -> Iterator[Callable[[float, str], None]]:
    """Gives what draws how far things are, from the first time it is told; nothing is left of it afterwards."""
    place = st.empty()

    def draw(share: float, doing: str) -> None:
        place.progress(share, text=doing)

    try:
        yield draw
    finally:
        place.empty()


def inbox() -> Inbox:
    """This session's inbox."""
    if "analyse_inbox" not in st.session_state:
        st.session_state["analyse_inbox"] = Inbox()
    kept: Inbox = st.session_state["analyse_inbox"]
    return kept


@st.cache_data(max_entries=1, show_spinner=False)
def samples() -> list[Path]:
    """The recordings that come with Telepathy."""
    return sorted(path for path in SAMPLES_DIR.glob("*") if path.suffix in {".wav", ".flac", ".opus"})


@st.cache_data(max_entries=64, show_spinner=False)
def picture(_workbench: Workbench, sha256: str) -> Overview:
    """What the recording with this content looks like, at the width of a screen."""
    limits = DecodeLimits.from_settings(_workbench.settings)
    waveform = decode(_workbench.recording_files.read(sha256), limits=limits).waveform
    return overview(waveform, n_columns=SCREEN_COLUMNS)


def model_folders(workbench: Workbench) -> tuple[str, str]:
    """Where models stand that came with Telepathy, and those that were made here."""
    return str(workbench.settings.models_dir), str(workbench.settings.installed_models_dir)


@st.cache_data(max_entries=4, ttl=60, show_spinner=False)
def cards(_workbench: Workbench, models_dir: str) -> dict[str, ModelCard]:
    """The cards of the models at hand, by version."""
    listed = list_models(Path(models_dir), installed_dir=_workbench.settings.installed_models_dir)
    return {card.version: card for card in listed}


def deployed_labels(workbench: Workbench) -> tuple[Label, ...]:
    """What the model that answers can say."""
    by_name = {card.name: card for card in cards(workbench, str(workbench.settings.models_dir)).values()}
    card = by_name.get(workbench.models.deployed)
    return tuple(Emotion) if card is None else card.emotions


def answer_of(workbench: Workbench, prediction_id: UUID) -> tuple[Recording, Prediction]:
    """A prediction that this session may see, and the recording it is about.

    Raises
    ------
    UnknownPredictionError, UnknownRecordingError
        There is none by this name, or no longer, or it is another's.
    AnswerHiddenError
        Whoever looks is to rate the recording first.
    """
    prediction = find_prediction(workbench.store, prediction_id=prediction_id, reader=reader())
    recording = select_recording(workbench.store, recording_id=prediction.recording_id, reader=reader())
    if recording is None:
        raise UnknownRecordingError(prediction.recording_id)
    return recording, prediction


def sound_of(workbench: Workbench, recording: Recording) -> bytes | None:
    """The recording as it was sent; None when its bytes are no longer kept."""
    files = workbench.recording_files
    return files.read(recording.sha256) if files.exists(recording.sha256) else None
