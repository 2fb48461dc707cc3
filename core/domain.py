"""The things Telepathy talks about. Frozen, keyword-only, without behaviour beyond their own fields."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema


class Emotion(enum.StrEnum):
    """The eight emotions, in the order every model output and every table uses."""

    NEUTRAL = "neutral"
    CALM = "calm"
    HAPPY = "happy"
    SAD = "sad"
    ANGRY = "angry"
    FEARFUL = "fearful"
    DISGUST = "disgust"
    SURPRISED = "surprised"


MAX_LABEL_LENGTH = 40
MAX_LABELS = 50
"""Most that one model tells apart."""


class OwnLabel(str):
    """A label of a model of somebody's own that is none of the eight emotions: `bored`, `question`.

    It is its name: 1 to 40 printable characters without space at either end. Make labels with `label_of`, which gives
    the eight as what they are.

    Examples
    --------
    >>> OwnLabel("bored").value
    'bored'
    """

    __slots__ = ()

    def __new__(cls, name: str) -> OwnLabel:
        """Raises ValueError for what is no name, or the name of one of the eight."""
        if not is_label_name(name):
            raise ValueError(
                f"{name!r} is no label: 1 to {MAX_LABEL_LENGTH} printable characters, no space at the ends"
            )
        if name in _EIGHT:
            raise ValueError(f"{name!r} is one of the eight emotions")
        return super().__new__(cls, name)

    @property
    def value(self) -> str:
        """Its name, as `Emotion.value`."""
        return str.__str__(self)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """In JSON a string of such a form."""
        from pydantic_core import core_schema

        return core_schema.no_info_after_validator_function(
            cls, core_schema.str_schema(min_length=1, max_length=MAX_LABEL_LENGTH)
        )


Label = Emotion | OwnLabel
"""What a model can say."""

_EIGHT = frozenset(emotion.value for emotion in Emotion)


def is_label_name(name: str) -> bool:
    """Whether a label can be called so.

    >>> is_label_name("not bored"), is_label_name(" bored"), is_label_name("")
    (True, False, False)
    """
    return 0 < len(name) <= MAX_LABEL_LENGTH and name.isprintable() and name == name.strip()


def label_of(name: str) -> Label:
    """The label called `name`; one of the eight where it is one. Raises ValueError for what is no name.

    >>> label_of("happy"), label_of("bored")
    (<Emotion.HAPPY: 'happy'>, 'bored')
    """
    return Emotion(name) if name in _EIGHT else OwnLabel(name)


def in_order(labels: Iterable[Label]) -> list[Label]:
    """Each once: the eight in their order, then the others as they come."""
    found = dict.fromkeys(labels)
    return [*(emotion for emotion in Emotion if emotion in found), *(each for each in found if each not in _EIGHT)]


def own_labels(labels: Iterable[Label]) -> frozenset[OwnLabel]:
    """Those that are none of the eight."""
    return frozenset(label for label in labels if isinstance(label, OwnLabel))


class Source(enum.StrEnum):
    """By which door a recording came in."""

    UPLOAD = "upload"
    MICROPHONE = "microphone"
    SAMPLE = "sample"
    API = "api"
    STREAM = "stream"
    BATCH = "batch"


class Bandwidth(enum.StrEnum):
    """How high the recording's spectrum reaches: telephone stops near 3.4 kHz."""

    TELEPHONE = "telephone"
    WIDE = "wide"


class Role(enum.StrEnum):
    """What somebody is here to do; `core.access.roles` says which pages and routes that opens."""

    VIEWER = "viewer"
    ANALYST = "analyst"
    ANNOTATOR = "annotator"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Whose eyes a question to the store is asked with: stands in the WHERE clause of every one."""

    user_id: UUID
    project_ids: frozenset[UUID] = frozenset()
    """Projects that others share with them, besides their own recordings."""
    sees_everything: bool = False
    """Admins do, and the process itself."""


NOBODY = UUID(int=0)
"""Owner of what was kept before there were accounts: admins see it."""

PROCESS = Reader(user_id=NOBODY, sees_everything=True)
"""The process itself, where it asks on nobody's behalf."""


class Scope(enum.StrEnum):
    """What an API key may do. Its owner's role bounds it too."""

    PREDICT = "predict"
    """Ask for predictions, batches, streams and explanations; label clips."""
    READ = "read"
    """Read recordings, predictions and one's own usage."""
    DELETE = "delete"
    """Delete recordings."""
    ADMIN = "admin"
    """What only admins may."""


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """An account."""

    id: UUID
    email: str
    """In lower case, normalised."""
    name: str
    role: Role
    plan: str
    is_active: bool
    has_password: bool
    """False until a set-up or invitation link was used, and for those who come by single sign-on."""
    created_at: datetime
    last_sign_in_at: datetime | None


class LinkKind(enum.StrEnum):
    """What a one-time link is for."""

    SET_UP = "set_up"
    """The first sign-in of the first admin."""
    INVITATION = "invitation"
    """An account that does not exist yet."""
    PASSWORD_RESET = "password_reset"  # noqa: S105 - the name of a kind
    """An account whose password was forgotten, or has none yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OneTimeLink:
    """What is kept of a one-time link; its token is shown once and kept nowhere."""

    kind: LinkKind
    user_id: UUID | None
    """None for an invitation."""
    email: str
    role: Role | None
    """Of the account that an invitation makes; None otherwise."""
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Somebody signed in: a browser, or a program with a token."""

    id: UUID
    user_id: UUID
    created_at: datetime
    expires_at: datetime
    refreshed_at: datetime
    """When its refresh token was last exchanged for another."""
    address: str
    """Network address that signed in."""
    user_agent: str
    """What the program that signed in calls itself."""
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """What is kept of an API key; the key itself is shown once and kept nowhere."""

    id: UUID
    user_id: UUID
    name: str
    prefix: str
    """Its first characters, `tel_live_` included."""
    last_four: str
    scopes: frozenset[Scope]
    plan: str | None
    """None for that of its owner."""
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None
    replaces_id: UUID | None
    """The key that it took over from in a rotation; both are valid until the older one expires."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks, once that is proved."""

    user: User
    scopes: frozenset[Scope]
    reader: Reader
    plan: str
    """The name of the plan that counts: the key's, or the user's."""
    key_id: UUID | None = None
    session_id: UUID | None = None
    """Of the browser's session or the JWT's; None with a key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MonthUsage:
    """What one user has used since the month began, in UTC."""

    n_calls: int
    """That cost inference and were answered."""
    audio_s: float
    """Seconds of sound judged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One line of the audit log, chained to the one before by its hash."""

    number: int
    """From 1, without gaps."""
    at: datetime
    actor_id: UUID | None
    """None for commands on the machine and for the process itself."""
    actor: str
    """E-mail address, `command line` or `telepathy`."""
    action: str
    """A dotted name: `user.create`, `key.revoke`, `role.change`."""
    subject: str
    """What it was done to: an address, an id, a name."""
    details: Mapping[str, str]
    previous_hash: str
    hash: str


class Purpose(enum.StrEnum):
    """What a project infers emotion for; `core.privacy` says each in words, and which the law forbids."""

    PERSONAL = "personal"
    RESEARCH = "research"
    SERVICE_QUALITY = "service_quality"
    HEALTH = "health"
    MEDIA = "media"
    WORKPLACE = "workplace"
    EDUCATION = "education"


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """Recordings that several people share, for one stated purpose."""

    id: UUID
    name: str
    purpose: Purpose
    purpose_note: str
    """The purpose in its owner's words, shown to whoever is asked to agree."""
    exception: str
    """The medical or safety reason that makes a forbidden purpose lawful; empty where none is needed."""
    exception_by: str
    """Who recorded that, by address."""
    exception_at: datetime | None
    retention_days: int | None
    """Days after which its recordings are deleted; None keeps them."""
    owner_id: UUID
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectMember:
    """Somebody a project is shared with."""

    project_id: UUID
    user_id: UUID
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """That somebody read what happens to voices, and agreed."""

    user_id: UUID
    project_id: UUID | None
    """None for recordings outside projects."""
    text_version: int
    agreed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """Something that admins want to know of, from the moment it is noticed until it is over."""

    id: UUID
    rule: str
    """Name of the rule that noticed: `latency`, `errors`, `memory` ..."""
    subject: str
    """What it is about, where there are several: the id of a user, the name of a machine. Empty otherwise."""
    sentence: str
    """What was found, in words, once it opened."""
    value: float
    """What was measured then."""
    limit: float
    opened_at: datetime
    acknowledged_at: datetime | None = None
    acknowledged_by: str | None = None
    closed_at: datetime | None = None
    """None while it lasts."""
    closed_by: str | None = None
    """An admin's address, kept as the id of the account; `telepathy` when the measurement was back within its limit."""
    closing_sentence: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookEndpoint:
    """Where somebody wants to be told of events. Its secret is shown once, and kept sealed."""

    id: UUID
    owner_id: UUID
    url: str
    description: str
    event_types: frozenset[str]
    """Those it is told of; none means all."""
    created_at: datetime
    previous_secret_until: datetime | None = None
    """How long the secret before this one signs too; None when there is none."""
    disabled_at: datetime | None = None
    """None while it is told."""
    disabled_because: str = ""
    """A sentence."""

    def takes(self, event_type: str) -> bool:
        """Whether it is to be told of this."""
        return self.disabled_at is None and (not self.event_types or event_type in self.event_types)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookMessage:
    """Something that happened, as it is told to every endpoint of its owner that takes it."""

    id: UUID
    owner_id: UUID
    event_type: str
    about_id: UUID | None
    """The recording it tells of: it is deleted with it."""
    created_at: datetime
    body: str
    """JSON, exactly as it is signed and sent."""

    @property
    def sent_id(self) -> str:
        """What stands in the header `webhook-id`: the same however often it is sent."""
        return f"msg_{self.id.hex}"


class AttemptOutcome(enum.StrEnum):
    """What became of one attempt to deliver."""

    TAKEN = "taken"
    """The receiver answered 2xx."""
    POSTPONED = "postponed"
    """It did not, and is asked again."""
    GIVEN_UP = "given_up"
    """It did not, and was asked often enough."""
    GONE = "gone"
    """It answered 410: nothing is sent there any more."""
    DROPPED = "dropped"
    """Nothing was sent: the endpoint had been switched off by then."""


class DeliveryState(enum.StrEnum):
    """How a delivery stands."""

    WAITING = "waiting"
    TAKEN = "taken"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookAttempt:
    """One attempt that has ended."""

    number: int
    """From 1."""
    happened_at: datetime
    outcome: AttemptOutcome
    status: int | None
    """Of HTTP; None when there was no answer."""
    duration_ms: float | None
    problem: str
    """A sentence; empty when it was taken."""
    next_at: datetime | None
    """When it is tried again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookDelivery:
    """A message on its way to one endpoint."""

    id: UUID
    owner_id: UUID
    endpoint_id: UUID
    message: WebhookMessage
    is_replay: bool
    """Whether somebody asked for it once more."""
    created_at: datetime
    attempts: tuple[WebhookAttempt, ...] = ()
    """In their order."""

    @property
    def state(self) -> DeliveryState:
        """How it stands after the last attempt."""
        if not self.attempts or self.attempts[-1].outcome is AttemptOutcome.POSTPONED:
            return DeliveryState.WAITING
        is_taken = self.attempts[-1].outcome is AttemptOutcome.TAKEN
        return DeliveryState.TAKEN if is_taken else DeliveryState.FAILED


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageEvent:
    """One line of the usage ledger: a call of the API, or an action on a page that costs inference.

    A request that had several recordings judged has a line for each; all but the first are `is_further`, so that
    predictions, emotions and seconds of sound add up over all lines, and calls over those that are not.
    """

    id: UUID
    at: datetime
    """When it began."""
    user_id: UUID | None
    """None for callers who did not say who they are."""
    key_id: UUID | None
    """None for those who came without an API key: by a browser, or with a token."""
    plan: str | None
    """The plan that counted then; None for nobody's."""
    route: str
    """The template of the address, such as `/api/v1/predictions/{prediction_id}`; of a page, its address."""
    method: str
    """`GET`, `POST` and so on; `WEBSOCKET` for live streams, `PAGE` for pages."""
    status: int
    """As of HTTP, pages and streams included: 200, 422, 503. 499 means that the caller left first."""
    duration_ms: float | None
    """From the first byte to the end of the answer; None for further recordings of a request."""
    n_predictions: int
    """How often a model answered: 1 for a recording, a live stream or an explanation, 0 for all else."""
    audio_s: float
    """Seconds of sound judged."""
    emotion: Label | None
    confidence: float | None
    model_version: str | None
    request_id: str
    address: str
    """As the setting `usage_address` has it kept; empty where none is known or wanted."""

    @property
    def is_further(self) -> bool:
        """Whether it tells of a further recording of a request that has a line already."""
        return self.duration_ms is None


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioFormat:
    """What the bytes of a recording turned out to be."""

    container: str
    codec: str
    sample_rate_hz: int
    """Before resampling."""
    n_channels: int
    """Before mixing down to mono."""
    warnings: tuple[str, ...] = ()
    """Plain sentences, such as that the end of the file is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityNote:
    """One reason, in a plain sentence, to trust an answer less."""

    code: str
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """How good a recording is for recognising emotion."""

    peak_dbfs: float
    rms_dbfs: float
    clipping_share: float
    """Share of samples in runs at full scale, in [0, 1]."""
    speech_ratio: float
    """Share of the recording's frames that hold speech, in [0, 1]."""
    snr_db: float
    bandwidth: Bandwidth
    bandwidth_hz: float
    """Frequency below which 99 % of the energy of speech frames lies or the measured cut-off, at most 8000."""
    notes: tuple[QualityNote, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """Audio as uploaded or collected, whole; its bytes are kept by content hash."""

    id: UUID
    owner_id: UUID
    """Who sent it: only they, admins and the members of its project see it."""
    project_id: UUID | None = None
    """The project that shares it; None for one's own."""
    sha256: str
    name: str
    """As the sender called it; never used as a path."""
    size_bytes: int
    duration_s: float
    format: AudioFormat
    source: Source
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Uncertainty:
    """Entropy of the mean of the forward passes, split into its two parts.

    `predictive_entropy` = `expected_entropy` (aleatoric) + `mutual_information` (epistemic), all in nats.
    """

    predictive_entropy_nats: float
    expected_entropy_nats: float
    mutual_information_nats: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """Range that holds the middle 90 % of the forward passes (5th to 95th percentile)."""

    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineWindow:
    """What the model says about one sliding window of a long recording."""

    start_s: float
    end_s: float
    probabilities: Mapping[Label, float]
    """Mean over the forward passes; sums to 1. Empty where nobody speaks: there is no emotion to name."""
    speech_ratio: float
    """Share of the window's frames that hold speech, in [0, 1]."""
    predictive_entropy_nats: float
    """0 where nobody speaks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A stretch of a recording in which one emotion stays on top."""

    start_s: float
    end_s: float
    emotion: Label | None
    """None where nobody speaks."""
    confidence: float
    """Mean calibrated probability of `emotion` over the windows merged here; 0 where nobody speaks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sketch:
    """Where a recording lies among all that one encoder heard: its embedding in few numbers."""

    encoder: str
    """First digits of the encoder's SHA-256: sketches of different encoders cannot be compared."""
    numbers: bytes
    """float16, little-endian; `core.inference.sketch` says which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What one model version said about one recording."""

    id: UUID
    recording_id: UUID
    model_version: str
    probabilities: Mapping[Label, float]
    """Mean over the forward passes; sums to 1."""
    standard_deviations: Mapping[Label, float]
    intervals: Mapping[Label, Interval]
    uncertainty: Uncertainty
    abstained: bool
    """Whether the answer is an honest "not sure": `confidence` lies below the abstention threshold."""
    n_passes: int
    quality: Quality
    segments: tuple[Segment, ...]
    windows: tuple[TimelineWindow, ...]
    duration_s: float
    latency_ms: float
    source: Source
    created_at: datetime
    sketch: Sketch | None = None
    """None where it was made before sketches were kept."""

    @property
    def emotion(self) -> Label:
        """The emotion with the largest probability."""
        return max(self.probabilities, key=lambda emotion: self.probabilities[emotion])

    @property
    def confidence(self) -> float:
        """The largest calibrated probability."""
        return self.probabilities[self.emotion]


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveEmotion:
    """What the model says about the newest window of a stream."""

    start_s: float
    end_s: float
    """Both since the stream began."""
    probabilities: Mapping[Label, float]
    """Of this window alone; sums to 1. Empty where nobody speaks."""
    smoothed: Mapping[Label, float]
    """Exponential mean over this and the windows before it. Empty where nobody speaks."""
    uncertainty: Uncertainty | None
    """None where nobody speaks."""
    abstained: bool
    """Whether the largest smoothed probability lies below the abstention threshold; False where nobody speaks."""
    speech_ratio: float
    """Share of the window's frames that hold speech, in [0, 1]."""
    level_dbfs: float
    """RMS level of the window; -120 for digital silence."""

    @property
    def emotion(self) -> Label | None:
        """The emotion with the largest smoothed probability; None where nobody speaks."""
        return max(self.smoothed, key=lambda emotion: self.smoothed[emotion]) if self.smoothed else None


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveSummary:
    """A whole stream in one answer."""

    duration_s: float
    speech_s: float
    """Time in which somebody spoke."""
    n_windows: int
    n_windows_with_speech: int
    probabilities: Mapping[Label, float]
    """Mean over the windows, weighted by their speech ratios; empty where nobody ever spoke."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """What a model says of itself: data, terms, protocol, scores. Read from `card.json` beside its weights."""

    name: str
    version: str
    """`NAME-` and the first 12 hexadecimal digits of the hash of its weights."""
    description: str
    emotions: tuple[Label, ...]
    licence: str
    is_commercial_use_allowed: bool
    created_at: datetime
    size_bytes: int
    is_installed: bool = True
    """False while it lacks an encoder that others publish (`core.inference.registry.PublishedEncoder`)."""


class JobState(enum.StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    """Stopped until somebody lets it go on."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def has_ended(self) -> bool:
        """Whether it goes on by itself no more; a failed or cancelled job can be retried."""
        return self in {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED}


@dataclass(frozen=True, slots=True, kw_only=True)
class JobLogLine:
    """One line of what a job had to say."""

    at: datetime
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Work in the background, which goes on where it stopped when the process ends in between."""

    id: UUID
    kind: str
    title: str
    """What it is, in words."""
    owner_id: UUID
    state: JobState
    progress: float
    """How much is done, in [0, 1]."""
    doing: str
    """What is being done, in words; empty before it begins."""
    created_at: datetime
    started_at: datetime | None
    """When it was begun last; None while it has never run."""
    ended_at: datetime | None
    error: str
    """Why it failed, in a sentence; empty otherwise."""
    log: tuple[JobLogLine, ...] = ()
    """The newest lines, oldest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Many recordings to be scored in the background, as they were sent. How far they are is its job's to tell."""

    id: UUID
    """Of its job too."""
    owner_id: UUID
    project_id: UUID | None
    """The project that shares its recordings; None for one's own."""
    name: str
    source: Source
    n_items: int
    n_passes: int
    timeline: bool | None
    """Whether answers have windows and segments; None for those of recordings longer than one window."""
    model: str
    plan: str
    """The name of the plan that counts."""
    key_id: UUID | None
    route: str
    """As the usage ledger has it, with the three below."""
    method: str
    request_id: str
    address: str
    """As the setting `usage_address` has it kept."""
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchItem:
    """One recording of a batch, before it is scored."""

    position: int
    """Among those of its batch, from 0."""
    name: str
    sha256: str
    """Of its sound, which waits for its turn; empty for one that is fetched when its turn comes."""
    location: str
    """Where it is fetched from, a URL or a path; empty otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOutcome:
    """What became of one recording of a batch: an answer, or a problem."""

    position: int
    recording_id: UUID | None
    prediction_id: UUID | None
    fingerprint: str
    """Of content, model version and settings: the same gives the same answer. Empty where there is none."""
    is_repeat: bool
    """Whether the answer was there already, from the same content, model version and settings."""
    problem_code: str
    """Empty where there is an answer."""
    problem: str
    """A sentence."""
    finished_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSet:
    """Clips with labels that somebody sent to have a model learn from them. Theirs alone."""

    id: UUID
    owner_id: UUID
    name: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSetClip:
    """One file of a data set: something to learn from, or a problem."""

    position: int
    """Among those of its set, from 0."""
    name: str
    """As it was sent, folders included."""
    sha256: str
    """Of its bytes, which are kept; empty where there is a problem."""
    label: str
    speaker: str
    """Empty where nobody says."""
    duration_s: float
    problem: str
    """Why it cannot be learnt from, in a sentence; empty where it can."""


class QueueKind(enum.StrEnum):
    """By which a labelling project chooses the next clip."""

    UNCERTAIN = "uncertain"
    """Where the model's passes disagree most: mutual information."""
    LIKELY_WRONG = "likely_wrong"
    """Where the model's answer has the least probability."""
    DISAGREEMENT = "disagreement"
    """Where annotators have disagreed most so far."""
    DIVERSE = "diverse"
    """Farthest from all that are labelled."""
    RANDOM = "random"
    """The control: what every other is to be compared with."""


class RatingFlag(enum.StrEnum):
    """Why a rating has no label."""

    CANNOT_TELL = "cannot_tell"
    BAD_AUDIO = "bad_audio"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabellingSettings:
    """How the clips of a project are labelled."""

    labels: tuple[str, ...] = tuple(emotion.value for emotion in Emotion)
    """In the order of their keys, 1 to 9."""
    asks_second: bool = True
    asks_intensity: bool = True
    asks_note: bool = True
    is_blind: bool = True
    """Whether the model's answer stays hidden until a clip is rated."""
    overlap: int = 1
    """How many people rate each clip."""
    annotators: tuple[UUID, ...] = ()
    queues: Mapping[QueueKind, int] = dataclasses.field(default_factory=lambda: {QueueKind.RANDOM: 100})
    """Share of each queue in per cent; they add up to 100."""
    gold: Mapping[UUID, str] = dataclasses.field(default_factory=dict)
    """Recordings whose label is known, to check annotators by; annotators are not told which they are."""
    seed: int = 0
    instructions: str = ""
    """What annotators should know and keep to, as plain text; they read it on the Annotate page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RatedSegment:
    """A stretch of a recording with a label of its own."""

    start_s: float
    end_s: float
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rating:
    """What one annotator says of one recording."""

    id: UUID
    """Made by whoever sends it: the same one sent twice counts once."""
    project_id: UUID
    recording_id: UUID
    annotator_id: UUID
    label: str | None
    """None where a flag says why, or where every segment has a label of its own."""
    second: str | None = None
    """What else was heard."""
    intensity: int | None = None
    """1 weak, 2 medium, 3 strong."""
    flag: RatingFlag | None = None
    note: str = ""
    segments: tuple[RatedSegment, ...] = ()
    spent_s: float = 0.0
    """From the clip's first showing to the label."""
    answer_shown: str | None = None
    """The model's answer, where it stood beside the clip; None in blind mode."""
    rated_at: datetime


class DecisionKind(enum.StrEnum):
    """What a reviewer does about a recording's ratings."""

    ADJUDICATE = "adjudicate"
    """Say which label counts."""
    ADJUDICATE_SEGMENT = "adjudicate_segment"
    """Say which label counts of a stretch of the recording, or that none does."""
    SEND_BACK = "send_back"
    """Have it rated again: what was rated before counts no more."""
    COMMENT = "comment"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What a reviewer said about the ratings of a recording."""

    id: UUID
    project_id: UUID
    recording_id: UUID
    kind: DecisionKind
    label: str | None
    """Of an adjudication; of one of a segment, None says that nothing is there."""
    note: str
    by: UUID
    at: datetime
    start_s: float | None = None
    end_s: float | None = None
    """Of the stretch that an adjudication of a segment is about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """A clip that waits for one annotator."""

    id: UUID
    project_id: UUID
    recording_id: UUID
    annotator_id: UUID
    slot: int
    """Which of the clip's places for annotators, from 0."""
    assigned_at: datetime
    given_by: UUID | None = None
    """Who gave it by hand; None where a queue chose it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsensusSegment:
    """A stretch of a recording with what the segments that people drew come to there."""

    start_s: float
    end_s: float
    label: str | None
    """None where as many people say one thing as another."""
    share: float
    """Of those who drew segments, how many say so."""
    n_ratings: int
    """How many drew segments."""
    adjudicated_by: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsensusLabel:
    """What the ratings of a recording come to."""

    recording_id: UUID
    probabilities: Mapping[str, float]
    """By label; sums to 1."""
    method: str
    """`majority`, `dawid_skene` or `adjudicated`."""
    n_ratings: int
    adjudicated_by: UUID | None = None

    @property
    def label(self) -> str:
        """The label with the largest share; of several, the first in alphabetical order."""
        return min(self.probabilities, key=lambda label: (-self.probabilities[label], label))
