"""Composition: store, recordings, models and executor, opened once per process, and the one way through them all."""

from __future__ import annotations

import hashlib
import shutil
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID, uuid5

import structlog

from core.access.access import Access
from core.access.guards import KeyGuard, MailGuard, PageGuard, SignInGuard
from core.access.limits import CallLimits, call_of
from core.access.projects import Projects
from core.access.roles import WORKING
from core.access.windows import Windows
from core.alerts import (
    Alerts,
    measures_of_corrections,
    measures_of_machine,
    measures_of_quotas,
    measures_of_usage,
    naming,
    rules_of,
    teller,
)
from core.batches import Batches, BatchStatus
from core.config import Settings, settings_of_this_machine
from core.domain import (
    PROCESS,
    Alert,
    Batch,
    Caller,
    JobState,
    Label,
    LinkKind,
    Prediction,
    Quality,
    Reader,
    Recording,
    Role,
    Scope,
    Source,
)
from core.errors import (
    AnswerHiddenError,
    ForbiddenError,
    ModelError,
    ShuttingDownError,
    StoreError,
    TelepathyError,
    UnknownProjectError,
    UnknownRecordingError,
    UnknownUserError,
)
from core.features.audio import DecodedAudio, DecodeLimits, decode
from core.features.quality import measure_quality
from core.identifiers import new_id
from core.inference.attribution import Attribution, attribute
from core.inference.executor import InferenceExecutor
from core.inference.recogniser import Progress, Recogniser, Recognition, require_passes
from core.inference.stages import StageTimer
from core.jobs.jobs import Jobs
from core.kept_answers import KeptAnswers
from core.labelling.labelling import Labelling
from core.mail import Mail, Mailer
from core.models import custom, retraining
from core.models.data_sets import DataSets
from core.models.models import Models
from core.models.shadow import Shadow
from core.outbox import Outbox
from core.own_files import make_own_folder
from core.report_jobs import ReportClock
from core.reports.reports import Reports
from core.reports.schedules import ReportSchedules
from core.retention import keep_time
from core.secrets import Vault
from core.store.blindfolds import select_hiding_recording
from core.store.engine import Store, open_store
from core.store.predictions import insert_prediction, select_prediction
from core.store.recording_files import RecordingFiles
from core.store.recordings import count_recordings, delete_recording, insert_recording, select_recording
from core.store.usage import select_month_usage
from core.usage import Call as UsageCall
from core.usage import UsageLedger, Use, noting
from core.webhooks.delivering import deliver_by_jobs
from core.webhooks.webhooks import Webhooks

if TYPE_CHECKING:
    from core.explaining import VoiceReasons
    from core.store.models import ModelEvent
    from core.store.report_schedules import ReportRun, ReportSchedule

log = structlog.get_logger(__name__)

PREDICTED = "prediction.created"
"""What webhooks are told once a recording has been analysed."""
MAX_OPEN_MODELS = 3
"""More are closed, the one unused longest first: each takes a few times its size in memory."""
_DECODED, _MEASURED, _RECOGNISED = 0.1, 0.15, 0.95
"""How far an analysis is after each of its stages, for whoever watches; a guess, since recordings differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """What became of a recording."""

    recording: Recording
    prediction: Prediction
    stage_durations_s: Mapping[str, float]
    """Wall time by stage: decode, quality, speech, log_mel, encoder, passes, timeline, store.

    `store` is what remains once the answer is known: most of a recording is written before.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadinessCheck:
    """Whether one thing that predictions need is there."""

    name: str
    ok: bool
    sentence: str


class Workbench:
    """Everything a process needs to answer. Safe to share between threads; close it once, at the end."""

    def __init__(
        self, settings: Settings, store: Store, recording_files: RecordingFiles, access: Access, vault: Vault
    ) -> None:
        self.settings = settings
        self.store = store
        self.access = access
        self.projects = Projects(access)
        windows = Windows.open(settings.redis_url)
        self.limits = CallLimits.open(settings, windows)
        self.limits.used_this_month = lambda user_id, month_start: select_month_usage(
            store, user_id=user_id, month_start=month_start
        )
        self.sign_in_guard = SignInGuard(windows, settings)
        self.key_guard = KeyGuard(windows, settings)
        self.mail_guard = MailGuard(windows)
        self.page_guard = PageGuard(windows)
        self.recording_files = recording_files
        self.kept_answers = KeptAnswers(store, vault)
        """To requests that may be sent again."""
        self.sounds_in_use: list[Callable[[Collection[str]], set[str]]] = []
        """Each says which of some sounds, by SHA-256, wait without a recording: whoever keeps such adds itself."""
        self.executor = InferenceExecutor(n_workers=settings.inference_workers, n_queue=settings.inference_queue)
        self._keepers = ThreadPoolExecutor(settings.inference_workers, thread_name_prefix="keeper")
        """Write recordings while they are recognised: a disk takes as long to promise as a model to answer."""
        self.on_analysis: Callable[[Analysis], None] | None = None
        """Told of every analysis once it is stored, by the thread that made it."""
        self.usage = UsageLedger(store, settings)
        """Where calls and page actions are noted by whoever answers them."""
        self.reports = Reports(settings, store)
        self.mailer = Mailer.open(settings)
        self.outbox = Outbox()
        """Mails and webhooks on their way."""
        self.webhooks = Webhooks(
            store,
            settings,
            vault,
            may_be_told=self._may_have_webhooks,
            tell_owner=self._mail_owner,
            audit=access.audit,
        )
        """What happens is told to them; attempts are made from `jobs.start()` on."""
        rules = rules_of(settings)
        self._tell_admins = teller(settings, self.mailer, self.outbox, {rule.name: rule.title for rule in rules})
        self.alerts = Alerts(
            store,
            rules,
            {**measures_of_machine(settings), **measures_of_usage(store)},
            tell=self._tell_of_alert,
            interval_s=settings.alert_interval_s,
            named=naming(access.users),
        )
        """Evaluated from `alerts.start()` on, which the process calls."""
        self.alerts.add_measures(measures_of_quotas(store, settings.plans, access.users))
        self.alerts.add_measures(measures_of_corrections(lambda: self.corrected_answers()))
        self.jobs = Jobs(self, settings)
        """Work in the background, from `jobs.start()` on, which the process calls."""
        deliver_by_jobs(self.webhooks, self.jobs)
        self.report_schedules = ReportSchedules(settings, store, access, self.projects, self.reports, self.mailer)
        self.report_schedules.on_sent = self._tell_of_report
        self.report_clock = ReportClock(self)
        """Looks for scheduled reports that are due, from `report_clock.start()` on, which the process calls."""
        self.batches = Batches(self)
        """Many recordings at once, in the background."""
        self.batches.on_end = self._tell_of_batch
        self.batches.on_failure = self._tell_of_failed_batch
        self.data_sets = DataSets(
            self, forget_training=lambda data_set_id: custom.forget_data_set(settings, data_set_id)
        )
        """Clips with labels that people sent to have models learn from them."""
        retraining.register(self)
        custom.register(self)
        self.mail_link: Callable[[LinkKind, str, str], None] | None = None
        """Sends a one-time link by mail: its kind, the address, its token. None where no mail server is set."""
        self.models = Models(settings, store, access, open_model=self.recogniser)
        """Which model versions there are and which one answers."""
        self.models.on_event = self._tell_of_model
        self.shadow = Shadow(store, settings)
        """Lets another model hear what is answered."""
        self._models: OrderedDict[str, Recogniser] = OrderedDict()
        self._models_changing = threading.Lock()
        self._model_opening = threading.Lock()
        self._changed = threading.Condition()
        self._n_active = 0
        self._is_closed = False
        self.labelling = Labelling(self)
        self.corrected_answers: Callable[[], Sequence[bool]] = self.labelling.corrected_answers
        """Whether each answer that somebody checked was right, newest first."""
        keep_time(self)

    def recogniser(self, name: str | None = None) -> Recogniser:
        """The model called `name`, or whose version that is, or the deployed one; opened when it is first asked for.

        Raises
        ------
        ModelNotFoundError
            There is no such model.
        EncoderMissingError
            Its encoder, which others publish, is not installed.
        DamagedModelError, FeatureMismatchError
            It cannot be used.
        """
        name = name or self.models.deployed
        known = self._opened_model(name)
        if known is not None:
            return known
        with self._model_opening:
            known = self._opened_model(name)
            if known is not None:
                return known
            folder = self.models.folder(name)
            known = self._opened_model(folder.name)  # asked for by its version
            if known is not None:
                return known
            opened = Recogniser.open(
                folder,
                installed_dir=self.settings.installed_models_dir,
                n_interpreters=self.settings.inference_workers,
            )
            with self._models_changing:
                self._models[folder.name] = opened
                if len(self._models) > MAX_OPEN_MODELS:
                    self._models.popitem(last=False)
            return opened

    def _opened_model(self, name: str) -> Recogniser | None:
        with self._models_changing:
            if name not in self._models:
                return None
            self._models.move_to_end(name)
            return self._models[name]

    def analyse(
        self,
        data: bytes,
        *,
        name: str,
        source: Source,
        owner: UUID,
        shown_to: Reader | None = None,
        project_id: UUID | None = None,
        n_passes: int | None = None,
        timeline: bool | None = None,
        model: str | None = None,
        progress: Progress | None = None,
    ) -> Analysis:
        """Decode a recording, measure its quality, recognise its emotion, store both; in the calling thread.

        Once this returns, the recording and its prediction are safe on disk. The recording is written while it is
        recognised; should that fail, it is kept without a prediction.

        Parameters
        ----------
        data
            A whole file of any kind that is read.
        name
            As its sender calls it.
        source
            The door it came in by.
        owner, project_id
            Whose it is, and the project that shares it; None for their own eyes only.
        shown_to
            Who is told the answer; None where nobody is.
        n_passes, model
            None for those of the settings.
        timeline
            Whether to give windows and segments; None for recordings longer than one window.
        progress
            Told how far it is; called from this thread.

        Raises
        ------
        AudioError
            The recording cannot be used.
        ModelError
            The model cannot.
        InvalidParameterError
            `n_passes` is out of place.
        AnswerHiddenError
            `shown_to` rates the recording blind and has not yet: raised before anything is heard where it stands in
            their project already, and once the answer is kept where it came into that project now.
        StoreError
            The answer could not be kept.
        ShuttingDownError
            The workbench has been closed.
        """
        with self.counted():
            timer = StageTimer()
            tell = progress or _tell_nobody
            started_s = time.perf_counter()
            recogniser = self.recogniser(model)
            n_passes = self.settings.n_passes if n_passes is None else n_passes
            require_passes(n_passes)
            if shown_to is not None:
                self._require_shown(shown_to, sha256=hashlib.sha256(data).hexdigest())
            tell(0.0, "Decoding")
            with timer.stage("decode"):
                audio = decode(data, limits=DecodeLimits.from_settings(self.settings))
            kept = self._keepers.submit(
                self._keep, data, audio, name=name, source=source, owner=owner, project_id=project_id
            )
            tell(_DECODED, "Measuring quality")
            with timer.stage("quality"):
                quality = measure_quality(
                    audio.waveform,
                    source_sample_rate_hz=audio.format.sample_rate_hz,
                    clipping_share=audio.clipping_share,
                )
            tell(_MEASURED, "Recognising")
            recognition = recogniser.recognise(
                audio.waveform,
                n_passes=n_passes,
                seed=self.settings.seed,
                window_s=self.settings.window_s,
                hop_s=self.settings.hop_s,
                abstention_confidence=self.settings.abstention_confidence,
                timeline=timeline,
                progress=lambda share, doing: tell(_MEASURED + share * (_RECOGNISED - _MEASURED), doing),
                timer=timer,
            )
            latency_ms = (time.perf_counter() - started_s) * 1e3
            tell(_RECOGNISED, "Storing")
            with timer.stage("store"):
                recording = kept.result()
                prediction = insert_prediction(
                    self.store,
                    prediction=_prediction(
                        recognition, recording=recording, quality=quality, source=source, latency_ms=latency_ms
                    ),
                )
            analysis = Analysis(
                recording=recording,
                prediction=prediction,
                stage_durations_s={stage: spent_ms / 1e3 for stage, spent_ms in timer.milliseconds.items()},
            )
            self._tell(analysis)
            listener = self.models.standing.shadow
            if listener is not None and model is None:
                self.shadow.hear(lambda: self.recogniser(listener), audio.waveform, recording, prediction)
            tell(1.0, "Done")
            if shown_to is not None and recording.project_id is not None:
                self._require_shown(shown_to, sha256=recording.sha256)
            return analysis

    def _require_shown(self, reader: Reader, *, sha256: str) -> None:
        """Raise AnswerHiddenError where `reader` is to rate this sound before they may know what the model says."""
        hiding = select_hiding_recording(self.store, reader=reader, sha256=sha256)
        if hiding is not None:
            raise AnswerHiddenError(hiding)

    def explain(
        self,
        data: bytes,
        *,
        emotion: Label | None = None,
        contrast: Label | None = None,
        shown_to: Reader | None = None,
        model: str | None = None,
        seed: int | None = None,
        start_s: float | None = None,
        progress: Progress | None = None,
    ) -> Attribution:
        """Decode a recording as `analyse` does and say which of its times and bands spoke for an emotion.

        In the calling thread, which should be one of `executor`: it takes seconds. Nothing is stored: recording, model
        version and seed give the same explanation again.

        Parameters
        ----------
        data
            A whole file of any kind that is read.
        emotion, contrast, start_s
            As in `core.inference.attribution.attribute`.
        shown_to
            Who is told; None where that was looked into before.
        model, seed
            None for those of the settings.
        progress
            Told how far it is; called from this thread.

        Raises
        ------
        AudioError
            The recording cannot be used.
        ModelError
            The model cannot.
        InvalidParameterError
            An emotion, the seed or `start_s` is out of place.
        AnswerHiddenError
            `shown_to` is to rate this sound first, without knowing the answer.
        ShuttingDownError
            The workbench has been closed.
        """
        with self.counted():
            if shown_to is not None:
                self._require_shown(shown_to, sha256=hashlib.sha256(data).hexdigest())
            recogniser = self.recogniser(model)
            audio = decode(data, limits=DecodeLimits.from_settings(self.settings))
            return attribute(
                recogniser,
                audio.waveform,
                emotion=emotion,
                contrast=contrast,
                seed=self.settings.seed if seed is None else seed,
                start_s=start_s,
                window_s=self.settings.window_s,
                hop_s=self.settings.hop_s,
                progress=progress,
            )

    def explain_voice(
        self, data: bytes, attribution: Attribution, *, model: str | None = None, reference: str | None = None
    ) -> VoiceReasons:
        """The acoustic side of an explanation, as `core.explaining.explain_voice`; in the calling thread."""
        from core.explaining import explain_voice  # Praat: 30 MB that only explanations need

        with self.counted():
            return explain_voice(self, data, attribution, model=model, reference=reference)

    def kept_for(self, project_id: UUID | None) -> timedelta | None:
        """How long recordings are kept in a project, or for None outside projects; None is until they are deleted."""
        days: int | None = self.settings.retention_days
        if project_id is not None:
            try:
                days = self.projects.find(project_id, PROCESS).retention_days
            except UnknownProjectError:
                days = None
        return timedelta(days=days) if days else None

    def delete_recording(self, recording_id: UUID, *, reader: Reader, by: Caller | None = None) -> Recording:
        """Delete a recording with all predictions about it, and its sound unless somebody else sent the same.

        The audit log notes `by`. Without one nothing is noted of it alone: who deletes many notes how many.

        Raises
        ------
        UnknownRecordingError
            There is none by this id that `reader` may see.
        ForbiddenError
            It is somebody else's, who shares it.
        StoreError
            It could not be deleted.
        """
        recording = select_recording(self.store, recording_id=recording_id, reader=reader)
        if recording is None:
            raise UnknownRecordingError(recording_id)
        if not reader.sees_everything and recording.owner_id != reader.user_id:
            raise ForbiddenError("This recording is somebody else's: only they and admins can delete it.")
        self.webhooks.forget_recording(recording.id, owner_id=recording.owner_id)
        sound = self._delete_sound(recording.sha256)
        delete_recording(self.store, recording_id=recording_id, reader=reader)
        retraining.forget_recording(self.settings, recording_id)
        if count_recordings(self.store, reader=PROCESS, sha256=recording.sha256):
            if sound:  # somebody sent the same at this moment; they look too, after their row is there (`_keep`)
                self.recording_files.write(sound)
        elif self.recording_files.exists(recording.sha256):  # both who had it deleted it at this moment
            self.recording_files.delete(recording.sha256)
        told = {
            "recording_id": recording.id,
            "project_id": None if recording.project_id is None else str(recording.project_id),
            "deleted_at": datetime.now(UTC),
        }
        self.webhooks.emit("recording.deleted", owner=recording.owner_id, data=told)
        if by is not None:
            self.access.audit("recording.delete", str(recording.id), by, owner=recording.owner_id)
        return recording

    def delete_stray_sound(self, sha256: str) -> None:
        """Delete a sound that no recording has, unless somebody sends the same at this moment. Raises StoreError."""
        try:
            sound = self.recording_files.read(sha256)
        except StoreError:
            sound = b""  # damaged: nobody can use it again
        self.recording_files.delete(sha256)
        if sound and count_recordings(self.store, reader=PROCESS, sha256=sha256):
            self.recording_files.write(sound)

    def _delete_sound(self, sha256: str) -> bytes:
        """Delete the sound that one recording alone has, and return it; empty where others have it too.

        Before its row: should anything fail in between, the row is still there to be deleted again, and no sound stays
        that nobody can ask for.
        """
        if count_recordings(self.store, reader=PROCESS, sha256=sha256) > 1 or not self.recording_files.exists(sha256):
            return b""
        try:
            sound = self.recording_files.read(sha256)
        except StoreError:
            sound = b""  # damaged: nobody can use it again
        self.recording_files.delete(sha256)
        return sound

    def _keep(
        self, data: bytes, audio: DecodedAudio, *, name: str, source: Source, owner: UUID, project_id: UUID | None
    ) -> Recording:
        kept = insert_recording(
            self.store,
            recording=Recording(
                id=new_id(),
                owner_id=owner,
                project_id=project_id,
                sha256=self.recording_files.write(data),
                name=name,
                size_bytes=len(data),
                duration_s=audio.waveform.duration_s,
                format=audio.format,
                source=source,
                created_at=datetime.now(UTC),
            ),
            kept_for=self.kept_for,
        )
        if not self.recording_files.exists(kept.sha256):
            self.recording_files.write(data)  # deleted by the last who had it, between the lines above
        return kept

    def tell_analysis(self, recording: Recording, prediction: Prediction) -> None:
        """Tell whoever wants to know of a recording that was analysed together with others."""
        self._tell(Analysis(recording=recording, prediction=prediction, stage_durations_s={}))

    def _tell(self, analysis: Analysis) -> None:
        if self.on_analysis is not None:
            self.on_analysis(analysis)
        self._tell_webhooks(analysis)

    def _tell_webhooks(self, analysis: Analysis) -> None:
        recording, owner = analysis.recording, analysis.recording.owner_id
        if owner in self.webhooks.owners() and select_hiding_recording(
            self.store, reader=Reader(user_id=owner), sha256=recording.sha256
        ):
            return  # who is told is to rate it first
        message_id = _message_id(analysis.prediction.id)
        self.webhooks.emit(PREDICTED, owner=owner, data=_told(analysis), about=recording.id, message_id=message_id)

    def tell_again(self, owner: UUID, prediction_ids: Sequence[UUID]) -> None:
        """Webhooks of predictions that a process kept which was killed before it told of them; no other of them."""
        by_message = {_message_id(each): each for each in prediction_ids}
        untold = self.webhooks.untold(PREDICTED, owner=owner, message_ids=list(by_message))
        for message_id, prediction_id in by_message.items():
            if message_id not in untold:
                continue
            prediction = select_prediction(self.store, prediction_id=prediction_id, reader=PROCESS)
            if prediction is None:
                continue
            recording = select_recording(self.store, recording_id=prediction.recording_id, reader=PROCESS)
            if recording is not None:
                self._tell_webhooks(Analysis(recording=recording, prediction=prediction, stage_durations_s={}))

    def _tell_of_batch(self, status: BatchStatus) -> None:
        """Tell webhooks of a batch that has come to its end: once, even by a job that was killed here."""
        batch, progress = status.batch, status.progress
        data: dict[str, object] = {
            "batch_id": batch.id,
            "n_recordings": batch.n_items,
            "n_problems": progress.n_problems,
        }
        event_type = "batch.succeeded"
        if status.state is JobState.FAILED:
            event_type = "batch.failed"
            data = {"batch_id": batch.id, "error": status.error}
        self.webhooks.emit(event_type, owner=batch.owner_id, data=data, message_id=uuid5(batch.id, event_type))
        self.webhooks.flush()

    def _tell_of_report(self, run: ReportRun, schedule: ReportSchedule) -> None:
        data = {"report_id": run.id, "n_recipients": len(run.delivered_to)}
        self.webhooks.emit("report.sent", owner=schedule.owner_id, data=data, message_id=uuid5(run.id, "report.sent"))

    def _tell_of_model(self, event: ModelEvent, _by: Caller) -> None:
        data = {"model": event.model, "model_version": event.version}
        self.tell_admins_webhooks("model.deployed", data)

    def _tell_of_failed_batch(self, batch: Batch, error: TelepathyError) -> None:
        self.webhooks.emit("batch.failed", owner=batch.owner_id, data={"batch_id": batch.id, "error": str(error)})

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Have `close` wait for what happens inside."""
        with self._changed:
            if self._is_closed:
                raise ShuttingDownError
            self._n_active += 1
        try:
            yield
        finally:
            with self._changed:
                self._n_active -= 1
                self._changed.notify_all()

    @contextmanager
    def serving(self, call: UsageCall, *, waited_s: float = 0.0) -> Iterator[Use]:
        """Answer an action of a page within what its caller may ask for, and note it in the usage ledger.

        `waited_s` is how long it had waited for its turn before that.

        Raises
        ------
        RateLimitedError, QuotaExceededError
            As `core.access.limits.CallLimits.admit`.
        """
        asked = call_of(call.caller, self.settings, address=call.address, costs_inference=True)
        with noting(self.usage, call, waited_s=waited_s) as use, self.limits.admit_now(asked):
            yield use
        self.count_audio(call.caller, use)

    def require_quota(self, call: UsageCall) -> None:
        """Raise QuotaExceededError where who calls has nothing left this month. Nothing is counted."""
        self.limits.require_quota(call_of(call.caller, self.settings, address=call.address, costs_inference=True))

    def require_still_allowed(self, caller: Caller, *, audio_s: float) -> None:
        """See that a stream may go on of which `audio_s` seconds were heard: asked every few seconds of it.

        Raises
        ------
        InvalidCredentialsError
            The key or session was revoked or has expired, or the account was disabled or deleted.
        ForbiddenError
            They may not have anything recognised any more.
        QuotaExceededError
            The month's allowance of sound is used up.
        """
        now = self.access.caller_again(caller)
        if Scope.PREDICT not in now.scopes:
            raise ForbiddenError("You may not have speech recognised any more: your role or your key changed.")
        self.limits.require_sound(now, self.settings, audio_s=audio_s)

    def count_audio(self, caller: Caller | None, use: Use) -> None:
        """Count what `caller` has just had on their month's quota, until the ledger tells of it."""
        if caller is not None:
            self.limits.add_audio(caller.user.id, sum(answer.audio_s for answer in use.answers))

    def mail(self, mail: Mail) -> bool:
        """Send `mail` in the background. False when there is no mail server, or too much waits for it."""
        if not self.mailer.is_configured:
            return False
        return self.outbox.put("a mail", lambda: self.mailer.send(mail.to, mail.subject, mail.text))

    def _mail_owner(self, owner_id: UUID, subject: str, text: str) -> None:
        with suppress(UnknownUserError):
            self.mail(Mail(to=self.access.user(owner_id).email, subject=subject, text=text))

    def _may_have_webhooks(self, owner_id: UUID) -> bool:
        with suppress(UnknownUserError):
            user = self.access.user(owner_id)
            return user.is_active and user.role in WORKING
        return False

    def _tell_of_alert(self, alert: Alert) -> None:
        self._tell_admins(alert)
        if alert.closed_at is None:
            self.tell_admins_webhooks(
                "alert.opened",
                {
                    "alert_id": alert.id,
                    "rule": alert.rule,
                    "subject": alert.subject,
                    "sentence": alert.sentence,
                    "value": alert.value,
                    "limit": alert.limit,
                    "opened_at": alert.opened_at,
                },
            )

    def tell_admins_webhooks(self, event_type: str, data: Mapping[str, object]) -> None:
        """Tell the endpoints of all admins of something that happened."""
        for owner_id in self.webhooks.owners():
            with suppress(UnknownUserError):
                if self.access.user(owner_id).role is Role.ADMIN:
                    self.webhooks.emit(event_type, owner=owner_id, data=data)

    def readiness(self) -> list[ReadinessCheck]:
        """Whether model, store and disk are there; each with a sentence for the operator."""
        return [self._check_model(), self._check_store(), self._check_disk()]

    def _check_model(self) -> ReadinessCheck:
        try:
            version = self.recogniser().card.version
        except ModelError as error:
            return ReadinessCheck(name="model", ok=False, sentence=str(error))
        return ReadinessCheck(name="model", ok=True, sentence=f"Model {version} is loaded.")

    def _check_store(self) -> ReadinessCheck:
        try:
            self.store.require_writable()
        except StoreError as error:
            return ReadinessCheck(name="store", ok=False, sentence=str(error))
        return ReadinessCheck(name="store", ok=True, sentence=f"The store at {self.store.name} can be written.")

    def _check_disk(self) -> ReadinessCheck:
        needed_mb = self.settings.min_free_disk_mb
        try:
            free_mb = shutil.disk_usage(self.settings.data_dir).free / 1e6
        except OSError as error:
            return ReadinessCheck(name="disk", ok=False, sentence=f"The data folder cannot be read: {error.strerror}.")
        sentence = f"{free_mb:,.0f} MB are free; {needed_mb:,.0f} MB are needed."
        return ReadinessCheck(name="disk", ok=free_mb >= needed_mb, sentence=sentence)

    def close(self) -> None:
        """Finish what was accepted, up to the deadline of the settings, then close the store. Safe to call twice."""
        ends_s = time.monotonic() + self.settings.shutdown_deadline_s
        self.report_clock.stop()
        self.jobs.close(deadline_s=self.settings.shutdown_deadline_s / 2)
        self.batches.close()
        self.alerts.close(deadline_s=self.settings.shutdown_deadline_s)
        self.executor.shutdown(deadline_s=self.settings.shutdown_deadline_s)
        with self._changed:
            self._is_closed = True
            remaining_s = max(0.0, ends_s - time.monotonic())
            is_drained = self._changed.wait_for(lambda: self._n_active == 0, timeout=remaining_s)
        if is_drained:
            self._keepers.shutdown()
        self.webhooks.close()
        self.shadow.close()
        self.usage.close()
        self.outbox.close(deadline_s=max(1.0, ends_s - time.monotonic()))
        self.limits.close()
        self.store.close()
        self.access.close()


def open_workbench(settings: Settings) -> Workbench:
    """Open store, accounts and recordings, and load the model of the settings where there is one.

    Without a usable model the workbench opens all the same: pages can say what to do, stored answers can be read, and
    the model is looked for again whenever one is asked for.

    Raises
    ------
    StoreError
        The store, the folder of recordings, or the file of secret keys, cannot be opened.
    MigrationError
        The store's schema is newer than this code.
    InvalidSettingError
        `secret_keys` holds something else; the mail server, who gets alerts, or one of `allowed_networks` is none.
    """
    try:
        make_own_folder(settings.data_dir)
    except OSError as error:
        raise StoreError(f"making the folder {settings.data_dir}", error.strerror or str(error)) from error
    vault = Vault.open(settings)
    recording_files = RecordingFiles(settings.recordings_location, vault=vault, encrypts=settings.encrypt_recordings)
    with ExitStack() as opened:
        store = opened.enter_context(closing(open_store(settings.store_location)))
        access = opened.enter_context(closing(Access.open(settings)))
        workbench = Workbench(settings, store, recording_files, access, vault)
        opened.pop_all()
    try:
        workbench.recogniser()
    except ModelError as error:
        log.warning("no usable model", reason=str(error))
    return workbench


def _message_id(prediction_id: UUID) -> UUID:
    """Of the message that tells of a prediction: told twice, it is sent once."""
    return uuid5(prediction_id, PREDICTED)


def _told(analysis: Analysis) -> dict[str, object]:
    """What webhooks are told of an analysis."""
    recording, prediction = analysis.recording, analysis.prediction
    return {
        "prediction_id": prediction.id,
        "recording_id": recording.id,
        "project_id": None if recording.project_id is None else str(recording.project_id),
        "emotion": prediction.emotion.value,
        "confidence": prediction.confidence,
        "abstained": prediction.abstained,
        "probabilities": {emotion.value: share for emotion, share in prediction.probabilities.items()},
        "model_version": prediction.model_version,
        "duration_s": prediction.duration_s,
        "source": prediction.source.value,
        "created_at": prediction.created_at,
    }


_current: Workbench | None = None
_current_changing = threading.Lock()


def set_current_workbench(workbench: Workbench | None) -> None:
    """Make `workbench` the one of this process; None lets `current_workbench` open another."""
    global _current
    with _current_changing:
        _current = workbench


def current_workbench() -> Workbench:
    """The workbench of this process: pages and API share it, since DuckDB lets one process open its file once.

    The process sets it at its start; where nobody did, it is opened from the settings of this machine.

    Raises
    ------
    StoreError, SettingError
        It cannot be opened.
    """
    global _current
    with _current_changing:
        if _current is None:
            _current = open_workbench(settings_of_this_machine())
        return _current


def _prediction(
    recognition: Recognition, *, recording: Recording, quality: Quality, source: Source, latency_ms: float
) -> Prediction:
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
        quality=quality,
        segments=recognition.segments,
        windows=recognition.windows,
        duration_s=recording.duration_s,
        latency_ms=latency_ms,
        source=source,
        created_at=datetime.now(UTC),
        sketch=recognition.sketch,
    )


def _tell_nobody(_share: float, _doing: str) -> None:
    """The progress of an analysis that nobody watches."""
