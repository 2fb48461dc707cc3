"""What the API sends, field by field: the shapes behind its OpenAPI document."""

from __future__ import annotations

from base64 import b64encode
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Literal
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from core.batches import BatchStatus
from core.domain import Bandwidth, JobState, Label, Prediction, Quality, Segment, Source, TimelineWindow, Uncertainty
from core.features.overview import Overview
from core.inference.attribution import Attribution, strongest_stretch
from core.store.predictions import PredictionRow

if TYPE_CHECKING:  # Praat: 30 MB that only explanations need
    from core.explaining import VoiceReasons
    from core.inference.surrogate import ProsodyAttribution

# Ranges are told, not enforced: a share that rounding made 1.0000000000000002 must not turn an answer into a failure.
Share = Annotated[float, Field(json_schema_extra={"minimum": 0, "maximum": 1})]
Nats = Annotated[float, Field(json_schema_extra={"minimum": 0})]
Seconds = Annotated[float, Field(description="In seconds from the start of the recording.")]

_EXAMPLE = {
    "neutral": 0.04,
    "calm": 0.03,
    "happy": 0.71,
    "sad": 0.02,
    "angry": 0.08,
    "fearful": 0.03,
    "disgust": 0.02,
    "surprised": 0.07,
}
TIME_DECIMALS = 6
"""A microsecond is finer than a sample; more digits only show how binary numbers are written (1.1500000000000001)."""
_EXAMPLE_ID = "01939b2e-7c11-7d6a-9d0c-5a5f1f0f3c2e"


class Shape(BaseModel):
    """Base of everything sent: a field that is not declared is a mistake."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ParameterProblem(Shape):
    """One parameter that cannot be used."""

    parameter: str = Field(examples=["n_passes"])
    detail: str = Field(examples=["The parameter 'n_passes' is '1'; it must be greater than or equal to 2."])


class ReadinessCheck(Shape):
    """One thing the process needs in order to answer."""

    name: str = Field(examples=["store"])
    ok: bool
    sentence: str | None = Field(
        default=None, examples=["The store takes writes."], description="For admins only: it may name paths."
    )


class Problem(Shape):
    """Why a request was refused (RFC 9457). Programs go by `code`: it never changes; people read `detail`."""

    type: str = Field(examples=["urn:telepathy:problem:clip_too_short"], description="URI of the kind of problem.")
    title: str = Field(examples=["The recording is too short"], description="The same for all problems of this kind.")
    status: int = Field(examples=[422], description="The HTTP status.")
    detail: str = Field(
        examples=["The recording lasts 0.10 s; at least 0.3 s are needed. Send a longer stretch of speech."],
        description="What is wrong here, and what would be right.",
    )
    instance: str = Field(examples=["/api/v1/predict"], description="The path asked for.")
    code: str = Field(examples=["clip_too_short"], description="Stable name of the kind; docs/errors.md lists them.")
    request_id: str | None = Field(
        default=None, description="As in the X-Request-Id header; name it when asking for help."
    )
    errors: list[ParameterProblem] | None = Field(default=None, description="Each parameter that cannot be used.")
    checks: list[ReadinessCheck] | None = Field(default=None, description="With `not_ready`: what was looked at.")


class QualityNoteShape(Shape):
    """One reason to trust the answer less."""

    code: str = Field(examples=["noisy"])
    sentence: str


class QualityShape(Shape):
    """How good the recording is for recognising emotion."""

    peak_dbfs: float
    rms_dbfs: float
    clipping_share: Share = Field(description="Share of samples stuck at full scale.")
    speech_ratio: Share = Field(description="Share of the recording in which somebody speaks.")
    snr_db: float = Field(description="Estimated ratio of speech to noise.")
    bandwidth: Bandwidth
    bandwidth_hz: float
    notes: list[QualityNoteShape] = Field(description="Reasons to trust the answer less; empty when there are none.")

    @staticmethod
    def of(quality: Quality) -> QualityShape:
        notes = [QualityNoteShape(code=note.code, sentence=note.sentence) for note in quality.notes]
        return QualityShape(
            peak_dbfs=quality.peak_dbfs,
            rms_dbfs=quality.rms_dbfs,
            clipping_share=quality.clipping_share,
            speech_ratio=quality.speech_ratio,
            snr_db=quality.snr_db,
            bandwidth=quality.bandwidth,
            bandwidth_hz=quality.bandwidth_hz,
            notes=notes,
        )


class UncertaintyShape(Shape):
    """Entropy of the answer in nats: predictive = expected (ambiguous voice) + mutual information (unsure model)."""

    predictive_entropy: Nats
    expected_entropy: Nats
    mutual_information: Nats

    @staticmethod
    def of(uncertainty: Uncertainty) -> UncertaintyShape:
        return UncertaintyShape(
            predictive_entropy=uncertainty.predictive_entropy_nats,
            expected_entropy=uncertainty.expected_entropy_nats,
            mutual_information=uncertainty.mutual_information_nats,
        )


class SegmentShape(Shape):
    """A stretch in which one emotion stays on top."""

    start_s: Seconds
    end_s: Seconds
    emotion: Label | None = Field(description="null where nobody speaks.")
    confidence: Share

    @staticmethod
    def of(segment: Segment) -> SegmentShape:
        return SegmentShape(
            start_s=segment.start_s, end_s=segment.end_s, emotion=segment.emotion, confidence=segment.confidence
        )


class WindowShape(Shape):
    """What the model says about one sliding window."""

    start_s: Seconds
    end_s: Seconds
    probabilities: dict[Label, float] = Field(description="Empty where nobody speaks.")
    speech_ratio: Share
    predictive_entropy: Nats = Field(description="In nats; 0 where nobody speaks.")

    @staticmethod
    def of(window: TimelineWindow) -> WindowShape:
        return WindowShape(
            start_s=window.start_s,
            end_s=window.end_s,
            probabilities=dict(window.probabilities),
            speech_ratio=window.speech_ratio,
            predictive_entropy=window.predictive_entropy_nats,
        )


class PredictionShape(Shape):
    """What one model version heard in one recording."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": _EXAMPLE_ID,
                "emotion": "happy",
                "confidence": 0.71,
                "abstained": False,
                "probabilities": {**_EXAMPLE},
                "standard_deviations": dict.fromkeys(_EXAMPLE, 0.02),
                "intervals": {emotion: [round(p * 0.8, 3), round(p * 1.2, 3)] for emotion, p in _EXAMPLE.items()},
                "uncertainty": {"predictive_entropy": 1.13, "expected_entropy": 1.05, "mutual_information": 0.08},
                "quality": {
                    "peak_dbfs": -3.1,
                    "rms_dbfs": -20.4,
                    "clipping_share": 0.0,
                    "speech_ratio": 0.83,
                    "snr_db": 31.0,
                    "bandwidth": "wide",
                    "bandwidth_hz": 7600.0,
                    "notes": [],
                },
                "segments": [{"start_s": 0.0, "end_s": 5.0, "emotion": "happy", "confidence": 0.71}],
                "windows": [],
                "duration_s": 5.0,
                "n_passes": 30,
                "model_version": "telepathy-0123456789ab",
                "latency_ms": 48.2,
                "recording_id": "01939b2e-7c0f-7000-8a51-1f6e0b8c2d11",
                "source": "api",
                "created_at": "2026-01-05T09:30:00Z",
            }
        }
    )

    id: UUID
    emotion: Label = Field(description="The emotion with the largest probability.")
    confidence: Share = Field(description="That probability, calibrated.")
    abstained: bool = Field(description='Whether the honest answer is "not sure": confidence is below the threshold.')
    probabilities: dict[Label, float] = Field(description="Mean over the forward passes; they sum to 1.")
    standard_deviations: dict[Label, float] = Field(description="Over the forward passes.")
    intervals: dict[Label, tuple[float, float]] = Field(description="5th to 95th percentile of the forward passes.")
    uncertainty: UncertaintyShape
    quality: QualityShape
    segments: list[SegmentShape] = Field(description="The timeline; empty for short recordings unless asked for.")
    windows: list[WindowShape] = Field(description="The sliding windows behind the segments.")
    duration_s: float = Field(description="Length of the recording.")
    n_passes: int = Field(description="Stochastic forward passes behind the answer.")
    model_version: str
    latency_ms: float = Field(description="From bytes to answer, without network and queue.")
    recording_id: UUID = Field(description="The same bytes sent twice are one recording with two predictions.")
    source: Source = Field(description="By which door the recording came in.")
    created_at: datetime

    @staticmethod
    def of(prediction: Prediction) -> PredictionShape:
        return PredictionShape(
            id=prediction.id,
            emotion=prediction.emotion,
            confidence=prediction.confidence,
            abstained=prediction.abstained,
            probabilities=dict(prediction.probabilities),
            standard_deviations=dict(prediction.standard_deviations),
            intervals={emotion: (each.low, each.high) for emotion, each in prediction.intervals.items()},
            uncertainty=UncertaintyShape.of(prediction.uncertainty),
            quality=QualityShape.of(prediction.quality),
            segments=[SegmentShape.of(segment) for segment in prediction.segments],
            windows=[WindowShape.of(window) for window in prediction.windows],
            duration_s=prediction.duration_s,
            n_passes=prediction.n_passes,
            model_version=prediction.model_version,
            latency_ms=prediction.latency_ms,
            recording_id=prediction.recording_id,
            source=prediction.source,
            created_at=prediction.created_at,
        )


class PredictionRowShape(Shape):
    """A prediction as lists show it; `GET /api/v1/predictions/{id}` has the whole of it."""

    id: UUID
    emotion: Label
    confidence: Share
    abstained: bool
    probabilities: dict[Label, float]
    uncertainty: UncertaintyShape
    duration_s: float
    n_passes: int
    model_version: str
    latency_ms: float
    recording_id: UUID
    recording_name: str = Field(description="As its sender called it.")
    source: Source
    created_at: datetime

    @staticmethod
    def of(row: PredictionRow) -> PredictionRowShape:
        return PredictionRowShape(
            id=row.id,
            emotion=row.emotion,
            confidence=row.confidence,
            abstained=row.abstained,
            probabilities=dict(row.probabilities),
            uncertainty=UncertaintyShape.of(row.uncertainty),
            duration_s=row.duration_s,
            n_passes=row.n_passes,
            model_version=row.model_version,
            latency_ms=row.latency_ms,
            recording_id=row.recording_id,
            recording_name=row.recording_name,
            source=row.source,
            created_at=row.created_at,
        )


class PredictionPageShape(Shape):
    """Some predictions, and where the next ones begin."""

    items: list[PredictionRowShape]
    next_cursor: str | None = Field(description="Give it back as `cursor`; null when nothing follows.")


class BatchResult(Shape):
    """One recording of a batch that was answered."""

    position: int = Field(description="Place in the request, from 0.")
    name: str
    prediction: PredictionShape


class BatchProblem(Shape):
    """One recording of a batch that was refused."""

    position: int = Field(description="Place in the request, from 0.")
    name: str
    problem: Problem


class BatchShape(Shape):
    """A batch, file by file: each is in exactly one of the two lists."""

    results: list[BatchResult]
    problems: list[BatchProblem]


class BatchJobShape(Shape):
    """A batch in the background, and how far it is."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "01939b2e-7c11-7d6a-9d0c-5a5f1f0f3c2e",
                "name": "1.wav and 999 more",
                "state": "running",
                "progress": 0.25,
                "n_recordings": 1000,
                "n_scored": 248,
                "n_repeats": 12,
                "n_problems": 2,
                "audio_s": 744.0,
                "rate_per_s": 21.5,
                "seconds_left": 34.9,
                "project": None,
                "model": "telepathy",
                "n_passes": 30,
                "error": "",
                "created_at": "2026-03-15T12:00:00Z",
                "started_at": "2026-03-15T12:00:01Z",
                "ended_at": None,
            }
        }
    )

    id: UUID
    name: str
    state: Literal["queued", "running", "succeeded", "failed", "cancelled"] = Field(
        description="A paused batch is queued. Failed: it stopped before its end (`error` says why), or no recording "
        "could be used."
    )
    progress: float = Field(description="How much is done, from 0 to 1.")
    n_recordings: int
    n_scored: int
    n_repeats: int = Field(description="Of those scored, how many were answered from an earlier answer.")
    n_problems: int
    audio_s: float = Field(description="Seconds of sound in those scored.")
    rate_per_s: float | None = Field(description="Recordings a second; null unless it runs.")
    seconds_left: float | None = Field(description="At that rate.")
    project: UUID | None
    model: str
    n_passes: int
    error: str
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None

    @staticmethod
    def of(status: BatchStatus) -> BatchJobShape:
        batch, progress, job = status.batch, status.progress, status.job
        state = status.state.value if status.state is not JobState.PAUSED else "queued"
        return BatchJobShape.model_validate(
            {
                "id": batch.id,
                "name": batch.name,
                "state": state,
                "progress": round(status.share, 4),
                "n_recordings": batch.n_items,
                "n_scored": progress.n_scored,
                "n_repeats": progress.n_repeats,
                "n_problems": progress.n_problems,
                "audio_s": round(progress.audio_s, 3),
                "rate_per_s": status.rate_per_s,
                "seconds_left": status.seconds_left,
                "project": batch.project_id,
                "model": batch.model,
                "n_passes": batch.n_passes,
                "error": status.error,
                "created_at": batch.created_at,
                "started_at": job.started_at if job is not None else None,
                "ended_at": job.ended_at if job is not None else None,
            }
        )


class BatchJobPageShape(Shape):
    """Batches, newest first."""

    items: list[BatchJobShape]
    next_before: UUID | None = Field(description="`before` of the next page; null when nothing follows.")


class StretchShape(Shape):
    """From when to when."""

    start_s: Seconds
    end_s: Seconds

    @staticmethod
    def rounded(start_s: float, end_s: float) -> StretchShape:
        return StretchShape(start_s=round(start_s, TIME_DECIMALS), end_s=round(end_s, TIME_DECIMALS))


class AttributionShape(Shape):
    """How much each region of a recording spoke for an emotion, in nats of log-odds (docs/explanation.md)."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "model_version": "telepathy-0123456789ab",
                "emotion": "happy",
                "contrast": None,
                "unit": "nats",
                "values": [[0.4, 0.1, -0.1], [1.2, 0.5, 0.3]],
                "time_edges_s": [0.1, 0.4, 0.7],
                "band_edges_hz": [0.0, 1025.0, 2783.0, 8000.0],
                "baseline": -1.5,
                "output": 0.9,
                "probabilities": {**_EXAMPLE},
                "runner_up": "angry",
                "window": {"start_s": 0.0, "end_s": 0.8},
                "strongest_stretch": {"start_s": 0.4, "end_s": 0.7},
                "n_evaluations": 64,
                "seed": 0,
            }
        }
    )

    model_version: str
    emotion: Label = Field(description="The one explained.")
    contrast: Label | None = Field(description="The one it is set against; null for all others together.")
    unit: Literal["nats"] = Field(description="Of values, baseline and output: log-odds with the natural logarithm.")
    values: list[list[float]] = Field(
        description="SHAP values: one row for each stretch of time, one column for each band. "
        "They sum to output less baseline."
    )
    time_edges_s: list[float] = Field(
        description="Where stretches begin and end, in seconds from the start of the recording; one more than rows."
    )
    band_edges_hz: list[float] = Field(description="Where bands begin and end; one more than columns.")
    baseline: float = Field(description="Log-odds when the recording's own background replaces every region.")
    output: float = Field(description="Log-odds of the recording as it is.")
    probabilities: dict[Label, float] = Field(
        description="The model's plain answer for the window, without dropout; they sum to 1."
    )
    runner_up: Label = Field(description="The most probable emotion beside the one explained.")
    window: StretchShape = Field(description="What was explained: all of a short recording, one window of a long one.")
    strongest_stretch: StretchShape = Field(description="The stretch to play when only one can be.")
    n_evaluations: int = Field(description="Times the model was asked.")
    seed: int

    @staticmethod
    def of(attribution: Attribution) -> AttributionShape:
        start_s, end_s = strongest_stretch(attribution)
        return AttributionShape(
            model_version=attribution.model_version,
            emotion=attribution.emotion,
            contrast=attribution.contrast,
            unit="nats",
            values=attribution.values.tolist(),
            time_edges_s=[round(edge_s, TIME_DECIMALS) for edge_s in attribution.time_edges_s.tolist()],
            band_edges_hz=attribution.band_edges_hz.tolist(),
            baseline=attribution.baseline,
            output=attribution.output,
            probabilities=dict(attribution.probabilities),
            runner_up=attribution.runner_up,
            window=StretchShape.rounded(attribution.window.start_s, attribution.window.end_s),
            strongest_stretch=StretchShape.rounded(start_s, end_s),
            n_evaluations=attribution.n_evaluations,
            seed=attribution.seed,
        )


class FeatureShape(Shape):
    """One acoustic measure beside the reference."""

    measure: str
    label: str
    value: float
    unit: str
    z: float = Field(description="Standard deviations above the reference's mean; negative below.")
    usual_low: float = Field(description="One standard deviation below the mean, in the unit of the value.")
    usual_high: float
    sentence: str


class VoiceShape(Shape):
    """The voice in the stretch explained, measured by Praat and compared (docs/prosody.md)."""

    reference: str
    n_recordings: int = Field(description="Of the reference.")
    n_speakers: int
    features: list[FeatureShape]
    contour_times_s: list[float] = Field(description="A value every 10 ms, from the start of the recording.")
    pitch_hz: list[float] = Field(description="0 where nothing is voiced.")
    intensity_dbfs: list[float]


class SurrogateShape(Shape):
    """The reasons of a stand-in that hears acoustic features alone; never those of the model (docs/surrogate.md)."""

    emotion: Label = Field(description="What the surrogate itself names first.")
    is_agreed: bool = Field(description="Whether the model names the same emotion first.")
    base_value: float = Field(description="Nats; with all of `values` it sums to `output`.")
    values: dict[str, float] = Field(description="SHAP value of each measure, in nats.")
    output: float
    probabilities: dict[Label, float]
    agreement: float = Field(description="Share of recordings of held-out speakers on which both name one emotion.")
    agreement_interval: tuple[float, float] = Field(description="95 %, resampling speakers.")
    majority_agreement: float = Field(description="The same share for always naming the commonest.")
    protocol: str
    sentences: list[str]


class ExplanationShape(AttributionShape):
    """Everything the Explain page shows of one recording."""

    voice: VoiceShape
    surrogate: SurrogateShape | None = Field(description="null where the model has none that fits its version.")
    surrogate_missing: str = Field(description="Why there is none; empty where there is one.")

    @staticmethod
    def of_recording(attribution: Attribution, voice: VoiceReasons) -> ExplanationShape:
        return ExplanationShape(
            **AttributionShape.of(attribution).model_dump(),
            voice=VoiceShape(
                reference=voice.reference.name,
                n_recordings=voice.reference.n_recordings,
                n_speakers=voice.reference.n_speakers,
                features=[
                    FeatureShape(
                        measure=each.measure,
                        label=each.label,
                        value=each.value,
                        unit=each.unit,
                        z=each.z,
                        usual_low=each.usual_low,
                        usual_high=each.usual_high,
                        sentence=sentence,
                    )
                    for each, sentence in zip(voice.deviations, voice.deviation_sentences, strict=True)
                ],
                contour_times_s=voice.contours.time_s.tolist(),
                pitch_hz=voice.contours.pitch_hz.tolist(),
                intensity_dbfs=voice.contours.intensity_dbfs.tolist(),
            ),
            surrogate=None if voice.surrogate is None else _surrogate_shape(voice.surrogate, voice.surrogate_sentences),
            surrogate_missing=voice.surrogate_missing,
        )


def _surrogate_shape(explained: ProsodyAttribution, sentences: tuple[str, ...]) -> SurrogateShape:
    return SurrogateShape(
        emotion=explained.surrogate_emotion,
        is_agreed=explained.is_agreed is True,
        base_value=explained.base_value,
        values=dict(explained.values),
        output=explained.output,
        probabilities=dict(explained.surrogate_probabilities),
        agreement=explained.fidelity.agreement,
        agreement_interval=explained.fidelity.agreement_interval,
        majority_agreement=explained.fidelity.majority_agreement,
        protocol=explained.fidelity.protocol,
        sentences=list(sentences),
    )


class OverviewShape(Shape):
    """What a recording, or a stretch of one, looks like, ready for a canvas. Bytes are sent as base64."""

    start_s: Seconds
    duration_s: float = Field(description="Of what is drawn.")
    n_columns: int = Field(description="Of the outline; the spectrogram has its own.")
    lowest: str = Field(description="Lowest sample of each column: signed bytes, full scale at -127.")
    highest: str = Field(description="Highest sample of each column: signed bytes, full scale at 127.")
    n_log_mel_columns: int
    n_mels: int
    log_mel: str = Field(
        description="Unsigned bytes, row by row from the lowest band: 0 at the floor of what is drawn, 255 at its top."
    )

    @staticmethod
    def of(seen: Overview, *, start_s: float) -> OverviewShape:
        n_mels, n_log_mel_columns = seen.log_mel.shape
        return OverviewShape(
            start_s=round(start_s, TIME_DECIMALS),
            duration_s=round(seen.duration_s, TIME_DECIMALS),
            n_columns=len(seen.times_s),
            lowest=_signed_bytes(seen.lowest),
            highest=_signed_bytes(seen.highest),
            n_log_mel_columns=n_log_mel_columns,
            n_mels=n_mels,
            log_mel=b64encode(seen.log_mel.tobytes()).decode(),
        )


def _signed_bytes(samples: NDArray[np.float32]) -> str:
    return b64encode(np.rint(samples * 127).astype(np.int8).tobytes()).decode()


class HealthShape(Shape):
    """The process answers."""

    status: Literal["ok"]
    version: str = Field(description="Of Telepathy.")


class ReadinessShape(Shape):
    """The process can do its work."""

    status: Literal["ready"]
    checks: list[ReadinessCheck]
