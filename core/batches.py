"""Batches: many recordings scored in the background, each exactly once, whatever becomes of the process meanwhile.

What was sent waits in a folder beside the recordings. A job takes it in groups: decoded, measured and recognised on
threads of a lower priority than those that somebody waits for, and kept in one transaction with what the group's items
came to. A process that is killed leaves items without an outcome, and the next one goes on with those.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

import structlog

from core.access.limits import Call as LimitedCall
from core.access.roles import require_route
from core.archives import path_within
from core.batch_sources import BatchSources, Found
from core.domain import (
    PROCESS,
    Batch,
    BatchItem,
    BatchOutcome,
    Caller,
    Job,
    JobState,
    Prediction,
    Reader,
    Recording,
    Source,
    UsageEvent,
)
from core.errors import (
    AudioError,
    InvalidParameterError,
    JobError,
    JobsNotRunningError,
    JobStateError,
    NothingScoredError,
    RequestError,
    SourceError,
    StoreError,
    TelepathyError,
    UnknownBatchError,
    UnknownJobError,
    UnknownRecordingError,
    UploadTooLargeError,
)
from core.identifiers import new_id
from core.inference.bulk import GROUP, Heard, fingerprint, hear_many
from core.inference.recogniser import Recogniser, require_passes
from core.jobs.runs import Lane, Run
from core.store.batches import (
    MAX_PAGE_ROWS,
    BatchProgress,
    BatchRow,
    delete_batches,
    insert_batch,
    insert_batch_outcomes,
    select_batch,
    select_batch_progress,
    select_batch_rows,
    select_batches,
    select_known_answers,
    select_unfinished_batches,
    select_waiting_items,
)
from core.store.blindfolds import select_veiled_recordings
from core.store.recordings import insert_recordings, update_recording_project
from core.usage import Call as UsageCall

if TYPE_CHECKING:
    from core.store.recording_files import RecordingFiles
    from core.workbench import Workbench

log = structlog.get_logger(__name__)

KIND = "batch"
NICENESS = 10
"""Of the threads that score: beside one that somebody waits for, they get a tenth of a core (Linux)."""
ROUTE = ("POST", "/api/v1/batches")
"""Whoever may not call it may have no batch scored, by whatever door it came."""
WAITS_FOR = timedelta(days=7)
"""How long the sounds of a batch that failed wait for somebody to retry it."""
GIVE_WAY_S = 0.2
"""Before each recording, a thread that scores waits so long at most while somebody waits for one answer."""
MAX_MODELS = 2
"""Opened for batches, beside those that answer at once: an interpreter serves one caller at a time."""
MAX_NAME_CHARACTERS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """One recording of a batch as it comes: its bytes, or where they are fetched from."""

    name: str
    data: bytes | None = None
    location: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchStatus:
    """A batch, and how far it is."""

    batch: Batch
    state: JobState
    progress: BatchProgress
    job: Job | None
    """None where its job is not known any more."""

    @property
    def share(self) -> float:
        """How much is done, in [0, 1]."""
        return self.progress.n_done / self.batch.n_items if self.batch.n_items else 1.0

    @property
    def error(self) -> str:
        """Why it failed, in a sentence; empty where it did not."""
        if self.state is not JobState.FAILED:
            return ""
        if self.progress.n_done >= self.batch.n_items:
            return str(NothingScoredError(self.batch.n_items))
        return self.job.error if self.job is not None else ""

    @property
    def can_go_on(self) -> bool:
        """Whether its job failed and did not come to its end."""
        is_over = self.progress.n_done >= self.batch.n_items and not self.progress.n_scored
        return self.job is not None and self.job.state is JobState.FAILED and not is_over

    @property
    def rate_per_s(self) -> float | None:
        """Recordings a second since it was begun last; None before the first, and once it has ended."""
        began_at = self.job.started_at if self.job is not None else None
        if self.state is not JobState.RUNNING or began_at is None or self.progress.last_at is None:
            return None
        spent_s = (self.progress.last_at - began_at).total_seconds()
        return self.progress.n_done / spent_s if spent_s > 0 and self.progress.n_done else None

    @property
    def seconds_left(self) -> float | None:
        """How long the rest takes at that rate; None where there is none."""
        rate = self.rate_per_s
        return None if rate is None else (self.batch.n_items - self.progress.n_done) / rate


class Batches:
    """The batches of one process. Safe to share between threads; close it once."""

    def __init__(self, workbench: Workbench) -> None:
        self._workbench = workbench
        settings = workbench.settings
        self._store = workbench.store
        self.sources = BatchSources(settings)
        self._n_workers = settings.batch_workers
        self._threads = ThreadPoolExecutor(self._n_workers, thread_name_prefix="batch", initializer=_give_way_to_others)
        self._models: OrderedDict[str, Recogniser] = OrderedDict()
        self._models_changing = threading.Lock()
        self.on_end: Callable[[BatchStatus], None] | None = None
        """Told of every batch once all its recordings are done; again, by a job that was killed meanwhile."""
        self.on_failure: Callable[[Batch, TelepathyError], None] | None = None
        """Told of every batch that could not go on, and why; its job can be retried."""
        workbench.jobs.register(KIND, _run, title="Scoring a batch", lane=Lane.HEAVY)
        workbench.jobs.when_started(self.adopt)

    def create(
        self,
        submitted: Iterable[Submitted],
        *,
        caller: Caller,
        call: UsageCall,
        source: Source,
        name: str = "",
        project_id: UUID | None = None,
        agrees: bool = False,
        n_passes: int | None = None,
        timeline: bool | None = None,
        model: str | None = None,
        batch_id: UUID | None = None,
    ) -> BatchStatus:
        """Keep what was submitted until its turn comes, and have it scored in the background.

        Parameters
        ----------
        call
            As the usage ledger notes each recording that is scored; the request itself is noted by whoever answers it.
        agrees
            Whether whoever speaks has agreed to being recorded, where nobody said so before.
        n_passes
            None for that of the settings.
        model
            Its name or version; None for the one that is deployed when the batch is sent.

        Raises
        ------
        JobsNotRunningError
            Nothing works on jobs in this process.
        ConsentNeededError, UnknownProjectError
            Nobody has agreed yet; there is no such project.
        QuotaExceededError
            The month's allowance is used up.
        ModelError
            There is no such model, or it cannot be used.
        SourceNotAllowedError, SourceError
            A location is not allowed, or a folder cannot be read.
        InvalidParameterError, UploadTooLargeError
            There are no recordings, or too many.
        StoreError
            They could not be kept.
        """
        settings, jobs = self._workbench.settings, self._workbench.jobs
        if not jobs.is_running:
            raise JobsNotRunningError
        n_passes = settings.n_passes if n_passes is None else n_passes
        require_passes(n_passes)
        model = model or self._workbench.models.deployed
        self._workbench.models.folder(model)
        self._workbench.projects.require_consent(caller, project_id, agrees=agrees)
        self._workbench.require_quota(call)
        batch_id = batch_id or new_id()
        waiting = self._waiting(batch_id)
        try:
            items = list(self._kept(submitted, waiting))
            if not items:
                raise InvalidParameterError("files", "empty", "at least one recording")
            batch = Batch(
                id=batch_id,
                owner_id=caller.user.id,
                project_id=project_id,
                name=(name.strip() or _name_of(items))[:MAX_NAME_CHARACTERS],
                source=source,
                n_items=len(items),
                n_passes=n_passes,
                timeline=timeline,
                model=model,
                plan=caller.plan,
                key_id=caller.key_id,
                route=call.route,
                method=call.method,
                request_id=call.request_id,
                address=self._workbench.usage.kept_address(call.address),
                created_at=datetime.now(UTC),
            )
            insert_batch(self._store, batch=batch, items=items)
        except BaseException:
            waiting.delete_all()
            raise
        self._enqueue(batch)
        return self._status(batch)

    def _kept(self, submitted: Iterable[Submitted], waiting: RecordingFiles) -> Iterator[BatchItem]:
        settings = self._workbench.settings
        position, n_bytes = 0, 0
        for each in submitted:
            found = [Found("", "")] if each.data is not None else self.sources.expand(each.location)
            for location, name in found:
                if position >= settings.max_background_files:
                    expected = f"at most {settings.max_background_files:,} recordings; send several batches"
                    raise InvalidParameterError("files", "more", expected)
                sha256 = ""
                if each.data is not None:
                    n_bytes += len(each.data)
                    if n_bytes > settings.max_background_mb * 1e6:
                        raise UploadTooLargeError(n_bytes, settings.max_background_mb, "The batch")
                    sha256 = waiting.write(each.data)
                name = path_within(each.name or name)[-MAX_NAME_CHARACTERS:]  # its end is what tells it from others
                yield BatchItem(position=position, name=name, sha256=sha256, location=location)
                position += 1

    def _enqueue(self, batch: Batch) -> None:
        title = f"Scoring {batch.n_items:,} recording{'s' if batch.n_items != 1 else ''}: {batch.name}"
        self._workbench.jobs.enqueue(
            KIND, owner=batch.owner_id, job_id=batch.id, arguments={"batch_id": str(batch.id)}, title=title
        )

    def adopt(self) -> None:
        """Have batches scored whose process was killed after it kept them and before it enqueued them."""
        for batch in select_unfinished_batches(self._store, reader=PROCESS):
            try:
                self._workbench.jobs.job(batch.id, reader=PROCESS)
            except UnknownJobError:
                self._enqueue(batch)

    def give_up(self, now: datetime) -> int:
        """End batches that failed `WAITS_FOR` ago and nobody retried, and delete their sounds that wait; how many.

        What they lack has its problem from then on: it can be sent again.
        """
        given_up = 0
        for batch in select_unfinished_batches(self._store, reader=PROCESS):
            try:
                job = self._workbench.jobs.job(batch.id, reader=PROCESS)
            except UnknownJobError:
                continue  # not begun yet: `adopt` is about to
            if job.state is not JobState.FAILED or job.ended_at is None or job.ended_at > now - WAITS_FOR:
                continue
            items = select_waiting_items(self._store, batch_id=batch.id, reader=PROCESS)
            gone = f"it was deleted {WAITS_FOR.days} days after its batch failed; send it again"
            outcomes = [_problem(item, SourceError(item.name, gone)) for item in items]
            insert_batch_outcomes(self._store, batch=batch, outcomes=outcomes)
            self._waiting(batch.id).delete_all()
            given_up += 1
        return given_up

    def status(self, batch_id: UUID, *, reader: Reader) -> BatchStatus:
        """A batch and how far it is. Raises UnknownBatchError where there is none that `reader` may see."""
        return self._status(self._find(batch_id, reader))

    def list_batches(self, *, reader: Reader, limit: int = 50, before: UUID | None = None) -> list[BatchStatus]:
        """Batches that `reader` may see, newest first; those before the one with the id `before`."""
        found = select_batches(self._store, reader=reader, limit=limit, before=before)
        return self._statuses(found, reader)

    def rows(
        self, batch_id: UUID, *, reader: Reader, limit: int = 100, after: int = -1, has_problem: bool | None = None
    ) -> list[BatchRow]:
        """What is done of a batch, in its order: those after position `after`. Raises UnknownBatchError."""
        self._find(batch_id, reader)
        return select_batch_rows(
            self._store, batch_id=batch_id, reader=reader, limit=limit, after=after, has_problem=has_problem
        )

    def cancel(self, batch_id: UUID, *, reader: Reader) -> BatchStatus:
        """Score no more of it, and delete what waits; what is scored stays. Its owner and admins may.

        Raises
        ------
        UnknownBatchError
            There is none that `reader` may see.
        UnknownJobError, JobStateError
            It is somebody else's, or has ended.
        """
        batch = self._find(batch_id, reader)
        self._workbench.jobs.cancel(batch_id, reader=reader)
        self._waiting(batch_id).delete_all()
        return self._status(batch)

    def retry(self, batch_id: UUID, *, reader: Reader) -> BatchStatus:
        """Go on with a batch whose job failed: what is done stays done, the rest is scored. Its owner and admins may.

        Raises
        ------
        UnknownBatchError
            There is none that `reader` may see.
        UnknownJobError, JobStateError
            It is somebody else's, or its job did not fail: of a cancelled one nothing waits any more, nor of one whose
            recordings are all done.
        """
        batch = self._find(batch_id, reader)
        job = self._workbench.jobs.job(batch_id, reader=reader)
        if not self._status(batch).can_go_on:
            raise JobStateError(job.state, "retry")
        self._workbench.jobs.retry(batch_id, reader=reader)
        return self._status(batch)

    def forget_all(self, *, reader: Reader) -> int:
        """Cancel and forget every batch of `reader`; the recordings and answers that came of them stay. How many."""
        n_forgotten = 0
        while found := select_batches(self._store, reader=Reader(user_id=reader.user_id), limit=500):
            for batch in found:
                with contextlib.suppress(JobError):
                    self._workbench.jobs.cancel(batch.id, reader=PROCESS)
                self._waiting(batch.id).delete_all()
            delete_batches(self._store, batch_ids=[batch.id for batch in found], reader=reader)
            n_forgotten += len(found)
        return n_forgotten

    def _find(self, batch_id: UUID, reader: Reader) -> Batch:
        batch = select_batch(self._store, batch_id=batch_id, reader=reader)
        if batch is None:
            raise UnknownBatchError(batch_id)
        return batch

    def _status(self, batch: Batch) -> BatchStatus:
        [status] = self._statuses([batch], PROCESS)
        return status

    def _statuses(self, batches: Sequence[Batch], reader: Reader) -> list[BatchStatus]:
        """How far each is. The jobs are read first: what is counted after one has ended is what it came to."""
        jobs = [self._job(batch) for batch in batches]
        progress = select_batch_progress(self._store, batch_ids=[batch.id for batch in batches], reader=reader)
        return [
            _status_of(batch, job, progress.get(batch.id, BatchProgress()))
            for batch, job in zip(batches, jobs, strict=True)
        ]

    def _job(self, batch: Batch) -> Job | None:
        with contextlib.suppress(JobError):
            return self._workbench.jobs.job(batch.id, reader=PROCESS)
        return None

    def _waiting(self, batch_id: UUID) -> RecordingFiles:
        return self._workbench.recording_files.waiting(str(batch_id))

    def run(self, batch_id: UUID) -> None:
        """Score what a batch still lacks; in the thread of its job."""
        batch = select_batch(self._store, batch_id=batch_id, reader=PROCESS)
        if batch is None:
            return
        try:
            self._run(batch)
        except TelepathyError as error:
            if self.on_failure is not None:
                self.on_failure(batch, error)
            raise
        if not self._progress(batch).n_scored:
            raise NothingScoredError(batch.n_items)

    def _run(self, batch: Batch) -> None:
        jobs, batch_id = self._workbench.jobs, batch.id
        recogniser = self._recogniser(batch.model)
        items = select_waiting_items(self._store, batch_id=batch_id, reader=PROCESS)
        if len(items) < batch.n_items:
            self._tell_again(batch)
        run, is_failing = jobs.current(), threading.Event()

        def is_stopping() -> bool:
            self._workbench.executor.wait_until_idle(timeout_s=GIVE_WAY_S)
            return is_failing.is_set() or (run is not None and run.is_stopping)

        size = max(1, min(GROUP, math.ceil(len(items) / (2 * self._n_workers))))
        groups = deque(items[first : first + size] for first in range(0, len(items), size))
        under_way: deque[Future[int]] = deque()
        try:
            while groups or under_way:
                while groups and len(under_way) <= self._n_workers:
                    under_way.append(
                        self._threads.submit(self._score, batch, groups.popleft(), recogniser, run, is_stopping)
                    )
                if run is not None:
                    run.require_going_on()
                    self._tell(run, batch)
                under_way.popleft().result()
        finally:
            is_failing.set()
            # The job ends once the groups under way have: what they had heard is kept, and counted from then on.
            for future in under_way:
                if not future.cancel():
                    future.exception()
            if run is not None:
                with contextlib.suppress(StoreError):
                    self._tell(run, batch)
        if run is not None:
            run.require_going_on()
        jobs.step("end", self._end, str(batch_id))

    def _progress(self, batch: Batch) -> BatchProgress:
        found = select_batch_progress(self._store, batch_ids=[batch.id], reader=PROCESS)
        return found.get(batch.id, BatchProgress())

    def _tell(self, run: Run, batch: Batch) -> None:
        progress = self._progress(batch)
        problems = f", {progress.n_problems:,} with a problem" if progress.n_problems else ""
        run.tell(progress.n_done / batch.n_items, f"{progress.n_done:,} of {batch.n_items:,} done{problems}")

    def _tell_again(self, batch: Batch) -> None:
        """Have webhooks told of what a process kept that was killed before it did."""
        since, limit, after = datetime.now(UTC) - WAITS_FOR, MAX_PAGE_ROWS, -1
        while rows := select_batch_rows(self._store, batch_id=batch.id, reader=PROCESS, limit=limit, after=after):
            after = rows[-1].position
            new = [row.prediction_id for row in rows if not row.is_repeat and row.finished_at > since]
            self._workbench.tell_again(batch.owner_id, [each for each in new if each is not None])

    def _end(self, batch_id: str) -> None:
        self._waiting(UUID(batch_id)).delete_all()
        status = self.status(UUID(batch_id), reader=PROCESS)
        n_scored, n_problems = status.progress.n_scored, status.progress.n_problems
        self._workbench.jobs.note(f"{n_scored:,} scored, {n_problems:,} with a problem.")
        if self.on_end is not None:
            self.on_end(status)

    def _score(
        self,
        batch: Batch,
        items: Sequence[BatchItem],
        recogniser: Recogniser,
        run: Run | None,
        is_stopping: Callable[[], bool],
    ) -> int:
        """Score some items, in a thread of ours; how many are done."""
        if is_stopping():
            return 0
        self._require_still_allowed(batch)
        self._require_quota(batch)
        with self._workbench.counted():
            try:
                return self._score_together(batch, items, recogniser, run, is_stopping)
            except StoreError:
                # Somebody deleted one of the recordings at this moment, or another process was as far: one by one,
                # those alone that have no outcome yet.
                left = {item.position for item in select_waiting_items(self._store, batch_id=batch.id, reader=PROCESS)}
                n_done = len([item for item in items if item.position not in left])
                for item in items:
                    if item.position in left and not is_stopping():
                        n_done += self._score_alone(batch, item, recogniser, run, is_stopping)
                return n_done

    def _score_alone(
        self, batch: Batch, item: BatchItem, recogniser: Recogniser, run: Run | None, is_stopping: Callable[[], bool]
    ) -> int:
        try:
            return self._score_together(batch, [item], recogniser, run, is_stopping)
        except UnknownRecordingError as error:
            return self._keep(batch, [_problem(item, error)], [], [], run)

    def _score_together(
        self,
        batch: Batch,
        items: Sequence[BatchItem],
        recogniser: Recogniser,
        run: Run | None,
        is_stopping: Callable[[], bool],
    ) -> int:
        settings = self._workbench.settings
        outcomes: list[BatchOutcome] = []
        sounds: list[tuple[BatchItem, bytes, str]] = []
        for item in items:
            if is_stopping():
                break
            try:
                data = self._sound(batch, item)
            except (AudioError, RequestError, UnknownRecordingError) as error:
                outcomes.append(_problem(item, error))
                continue
            answer_print = fingerprint(
                hashlib.sha256(data).hexdigest(),
                model_version=recogniser.card.version,
                settings=settings,
                n_passes=batch.n_passes,
                timeline=batch.timeline,
            )
            sounds.append((item, data, answer_print))
        known = select_known_answers(
            self._store,
            fingerprints={answer_print for _, _, answer_print in sounds},
            reader=Reader(user_id=batch.owner_id),
        )
        new: list[tuple[BatchItem, bytes, str]] = []
        for item, data, answer_print in sounds:
            if answer_print in known:
                recording_id, prediction_id, _ = known[answer_print]
                if batch.project_id is not None:
                    owner = Reader(user_id=batch.owner_id)
                    update_recording_project(
                        self._store,
                        recording_id=recording_id,
                        project_id=batch.project_id,
                        reader=owner,
                        kept_for=self._workbench.kept_for,
                    )
                outcomes.append(_outcome(item, recording_id, prediction_id, answer_print, is_repeat=True))
            else:
                new.append((item, data, answer_print))
        heard = hear_many(
            [data for _, data, _ in new],
            recogniser=recogniser,
            settings=settings,
            n_passes=batch.n_passes,
            timeline=batch.timeline,
            is_stopping=is_stopping,
        )
        answered: list[tuple[BatchItem, bytes, str, Heard]] = []
        for (item, data, answer_print), result in zip(new, heard, strict=False):
            if isinstance(result, Heard):
                answered.append((item, data, answer_print, result))
            else:
                outcomes.append(_problem(item, result))
        recordings = self._keep_recordings(batch, answered)
        predictions = []
        for (item, _, answer_print, result), recording in zip(answered, recordings, strict=True):
            prediction = _prediction(result, recording)
            predictions.append(prediction)
            outcomes.append(_outcome(item, recording.id, prediction.id, answer_print, is_repeat=False))
        return self._keep(batch, outcomes, recordings, predictions, run)

    def _keep_recordings(
        self, batch: Batch, answered: Sequence[tuple[BatchItem, bytes, str, Heard]]
    ) -> list[Recording]:
        files, waiting = self._workbench.recording_files, self._waiting(batch.id)
        contents = [hashlib.sha256(data).hexdigest() for _, data, _, _ in answered]
        for (item, data, _, _), sha256 in zip(answered, contents, strict=True):
            if item.location:
                files.write(data)
            else:
                files.take(sha256, data, waiting=waiting)
        recordings = insert_recordings(
            self._store,
            recordings=[
                Recording(
                    id=new_id(),
                    owner_id=batch.owner_id,
                    project_id=batch.project_id,
                    sha256=sha256,
                    name=item.name,
                    size_bytes=len(data),
                    duration_s=heard.audio.waveform.duration_s,
                    format=heard.audio.format,
                    source=batch.source,
                    created_at=datetime.now(UTC),
                )
                for (item, data, _, heard), sha256 in zip(answered, contents, strict=True)
            ],
            kept_for=self._workbench.kept_for,
        )
        for (_, data, _, _), recording in zip(answered, recordings, strict=True):
            if not files.exists(recording.sha256):
                files.write(data)  # deleted by the last who had it, between the lines above
        return recordings

    def _keep(
        self,
        batch: Batch,
        outcomes: Sequence[BatchOutcome],
        recordings: Sequence[Recording],
        predictions: Sequence[Prediction],
        run: Run | None,
    ) -> int:
        if not outcomes:
            return 0
        veiled = select_veiled_recordings(
            self._store, user_id=batch.owner_id, recording_ids=[recording.id for recording in recordings]
        )
        insert_batch_outcomes(
            self._store,
            batch=batch,
            outcomes=outcomes,
            predictions=predictions,
            events=[_usage_event(batch, each, is_hidden=each.recording_id in veiled) for each in predictions],
        )
        self._workbench.limits.add_audio(batch.owner_id, sum(each.duration_s for each in predictions))
        for recording, prediction in zip(recordings, predictions, strict=True):
            self._workbench.tell_analysis(recording, prediction)
        if run is not None:
            for outcome in outcomes:
                if outcome.problem:
                    run.note(f"Item {outcome.position + 1}: {outcome.problem}")
        return len(outcomes)

    def _sound(self, batch: Batch, item: BatchItem) -> bytes:
        return self.sources.read(item.location) if item.location else self._waiting(batch.id).read(item.sha256)

    def _require_still_allowed(self, batch: Batch) -> None:
        """See that whoever sent it may still have it scored: the job fails otherwise, and goes on if somebody retries
        it once they may again.

        Raises
        ------
        InvalidCredentialsError
            The key was revoked, or the account was disabled or deleted.
        ForbiddenError
            Role or key do not allow it any more.
        UnknownProjectError
            They are not in the project any more.
        """
        sender = self._workbench.access.caller_on_behalf_of(batch.owner_id, key_id=batch.key_id)
        require_route(sender, *ROUTE)
        if batch.project_id is not None:
            self._workbench.projects.find(batch.project_id, sender.reader)

    def _require_quota(self, batch: Batch) -> None:
        """Raise QuotaExceededError: the job fails then, and goes on once somebody retries it."""
        settings = self._workbench.settings
        plan_name = batch.plan if batch.plan in settings.plans else settings.new_user_plan
        self._workbench.limits.require_quota(
            LimitedCall(
                address=batch.address,
                user_id=batch.owner_id,
                key_id=batch.key_id,
                plan=settings.plans[plan_name],
                plan_name=plan_name,
                costs_inference=True,
            )
        )

    def _recogniser(self, name: str) -> Recogniser:
        with self._models_changing:
            if name not in self._models:
                settings = self._workbench.settings
                self._models[name] = Recogniser.open(
                    self._workbench.models.folder(name),
                    installed_dir=settings.installed_models_dir,
                    n_interpreters=self._n_workers,
                )
                if len(self._models) > MAX_MODELS:
                    self._models.popitem(last=False)
            self._models.move_to_end(name)
            return self._models[name]

    def close(self) -> None:
        """End the threads, once the jobs have ended."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _status_of(batch: Batch, job: Job | None, progress: BatchProgress) -> BatchStatus:
    if progress.n_done >= batch.n_items:
        state = JobState.SUCCEEDED if progress.n_scored else JobState.FAILED
    else:
        state = JobState.QUEUED if job is None or job.state is JobState.SUCCEEDED else job.state
    return BatchStatus(batch=batch, state=state, progress=progress, job=job)


def _run(workbench: Workbench, batch_id: str) -> None:
    workbench.batches.run(UUID(batch_id))


def _give_way_to_others() -> None:
    """Give a thread of ours a lower priority than those that somebody waits for. Linux alone can, of one thread."""
    with contextlib.suppress(AttributeError, OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)


def _name_of(items: Sequence[BatchItem]) -> str:
    return items[0].name if len(items) == 1 else f"{items[0].name} and {len(items) - 1:,} more"


def _outcome(
    item: BatchItem, recording_id: UUID, prediction_id: UUID, answer_print: str, *, is_repeat: bool
) -> BatchOutcome:
    return BatchOutcome(
        position=item.position,
        recording_id=recording_id,
        prediction_id=prediction_id,
        fingerprint=answer_print,
        is_repeat=is_repeat,
        problem_code="",
        problem="",
        finished_at=datetime.now(UTC),
    )


def _problem(item: BatchItem, error: AudioError | RequestError | UnknownRecordingError) -> BatchOutcome:
    return BatchOutcome(
        position=item.position,
        recording_id=None,
        prediction_id=None,
        fingerprint="",
        is_repeat=False,
        problem_code=error.code,
        problem=str(error),
        finished_at=datetime.now(UTC),
    )


def _prediction(heard: Heard, recording: Recording) -> Prediction:
    recognition = heard.recognition
    return Prediction(
        id=new_id(),
        recording_id=recording.id,
        model_version=recognition.model_version,
        probabilities=recognition.probabilities,
        standard_deviations=recognition.standard_deviations,
        intervals=recognition.intervals,
        uncertainty=recognition.uncertainty,
        abstained=recognition.abstained,
        n_passes=recognition.n_passes,
        quality=heard.quality,
        segments=recognition.segments,
        windows=recognition.windows,
        duration_s=recording.duration_s,
        latency_ms=heard.latency_ms,
        source=Source.BATCH,
        created_at=datetime.now(UTC),
        sketch=recognition.sketch,
    )


def _usage_event(batch: Batch, prediction: Prediction, *, is_hidden: bool) -> UsageEvent:
    """A further line of the request that sent the batch: calls are counted by that one, recordings by these.

    Without the answer where it is hidden from whoever sent it: they see their lines.
    """
    return UsageEvent(
        id=new_id(),
        at=prediction.created_at,
        user_id=batch.owner_id,
        key_id=batch.key_id,
        plan=batch.plan,
        route=batch.route,
        method=batch.method,
        status=200,
        duration_ms=None,
        n_predictions=1,
        audio_s=prediction.duration_s,
        emotion=None if is_hidden else prediction.emotion,
        confidence=None if is_hidden else prediction.confidence,
        model_version=prediction.model_version,
        request_id=batch.request_id,
        address=batch.address,
    )
