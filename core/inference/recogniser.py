"""Waveform in, emotions out: one model, loaded once, shared by all threads.

A clip takes this way: leading and trailing silence go (`speech_span`), log-mel, encoder (once), head (all forward
passes in one call), softmax at the card's temperature, summary. The same clip gives the same numbers, bit for bit, from
every thread and in whatever company: lengths are never padded, an interpreter serves one caller at a time, and the
dropout masks depend on nothing but the seed and the number of passes.
"""

from __future__ import annotations

import hashlib
import queue
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import threadpoolctl
from ai_edge_litert.interpreter import Interpreter, SignatureRunner
from numpy.typing import NDArray

from core.domain import Interval, Label, ModelCard, Segment, Sketch, TimelineWindow, Uncertainty
from core.errors import DamagedModelError, FeatureMismatchError, InvalidParameterError
from core.features.log_mel import N_MELS, log_mel
from core.features.speech import FRAME_S, speech_activity, speech_span
from core.features.waveform import TARGET_SAMPLE_RATE_HZ, Waveform
from core.features.windows import sliding_windows
from core.inference.registry import (
    HEAD,
    VERSION_DIGITS,
    ServingParameters,
    find_encoder,
    read_card,
    read_published_encoder,
    read_serving_parameters,
    weights_digest,
)
from core.inference.sketch import sketch_of
from core.inference.stages import StageTimer
from core.inference.timeline import merge_windows, speech_share
from core.inference.uncertainty import PassSummary, summarise_passes

MIN_PASSES, MAX_PASSES = 2, 500
MIN_WINDOW_SPEECH_S = 0.3
"""A window with less speech carries no emotion; as short as the shortest recording accepted."""
_WINDOWS_PER_CALL = 16
"""Windows whose passes run through the head together: 500 passes of 16 windows of 512 numbers take 16 MB."""

Progress = Callable[[float, str], None]
"""Told how much is done, from 0 to 1, and what is being done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recognition:
    """What one model says about one waveform."""

    model_version: str
    probabilities: Mapping[Label, float]
    standard_deviations: Mapping[Label, float]
    intervals: Mapping[Label, Interval]
    uncertainty: Uncertainty
    abstained: bool
    n_passes: int
    windows: tuple[TimelineWindow, ...]
    segments: tuple[Segment, ...]
    sketch: Sketch


class Recogniser:
    """A model ready to answer. Safe to share between threads."""

    def __init__(
        self, card: ModelCard, parameters: ServingParameters, encoder: _InterpreterPool, head: _InterpreterPool
    ) -> None:
        self.card = card
        self.parameters = parameters
        self._encoder = encoder
        self._head = head

    @classmethod
    def open(
        cls, folder: Path, *, installed_dir: Path | None = None, n_interpreters: int = 1, n_threads: int = 1
    ) -> Recogniser:
        """Load the bundle in `folder` and run it once, so that the first caller need not wait.

        Parameters
        ----------
        folder
            Holds `encoder.tflite`, `head.tflite` and `card.json`.
        installed_dir
            Where encoders that others publish are installed; only models without an encoder of their own need it.
        n_interpreters
            Callers served at the same time; further ones wait for their turn.
        n_threads
            Threads within one call. More than one gains little for graphs this small (`benchmarks/latency.py`) and
            takes the cores from other callers.

        Raises
        ------
        DamagedModelError
            A file is missing or cannot be read.
        EncoderMissingError
            The encoder that others publish is not installed.
        FeatureMismatchError
            The model was made for other features than this version computes.
        """
        card, parameters = read_card(folder, installed_dir=installed_dir), read_serving_parameters(folder)
        encoder_file = find_encoder(folder, installed_dir=installed_dir)
        _require_features(card, parameters)
        digest = weights_digest(folder, published=read_published_encoder(folder))
        if not card.version.endswith(f"-{digest[:VERSION_DIGITS]}"):
            raise DamagedModelError(card.name, f"its weights are not those of version {card.version}")
        # Whatever small matrices are multiplied while serving, OpenBLAS's threads gain nothing there and wait by
        # spinning: on two busy cores a product of 0.5 ms took 18 ms.
        threadpoolctl.threadpool_limits(limits=1, user_api="blas")
        encoder = _InterpreterPool(card.name, encoder_file, n_interpreters=n_interpreters, n_threads=n_threads)
        head = _InterpreterPool(card.name, folder / HEAD, n_interpreters=n_interpreters, n_threads=n_threads)
        masks = {f"mask_{index}": (-1, width) for index, width in enumerate(parameters.mask_widths)}
        encoder.require_inputs(card.name, {"log_mel": (1, -1, N_MELS)})
        head.require_inputs(card.name, {"embedding": (-1, parameters.n_dims), **masks})
        recogniser = cls(card, parameters, encoder, head)
        recogniser._warm_up()
        return recogniser

    def _warm_up(self) -> None:
        noise = np.random.Generator(np.random.PCG64(0)).standard_normal(TARGET_SAMPLE_RATE_HZ, dtype=np.float32)
        embedding = self.embed(Waveform(samples=0.1 * noise, sample_rate=TARGET_SAMPLE_RATE_HZ))
        if embedding.shape != (self.parameters.n_dims,):
            raise FeatureMismatchError(self.card.name, f"{self.parameters.n_dims} dimensions", f"{embedding.shape}")
        probabilities = self.pass_probabilities(embedding[np.newaxis], n_passes=MIN_PASSES, seed=0)
        if probabilities.shape[2] != len(self.card.emotions):
            raise FeatureMismatchError(
                self.card.name, f"{len(self.card.emotions)} emotions", f"judged as {probabilities.shape[2]}"
            )

    @property
    def n_interpreters(self) -> int:
        """Callers served at the same time."""
        return self._encoder.n_interpreters

    def embed(self, waveform: Waveform, *, timer: StageTimer | None = None) -> NDArray[np.float32]:
        """Embedding of the whole waveform, silence included.

        Parameters
        ----------
        waveform
            Mono, 16 kHz, more than 200 samples.

        Returns
        -------
        float32 (n_dims,)

        Raises
        ------
        ValueError
            Another sample rate, or too short.
        """
        timer = timer or StageTimer()
        with timer.stage("log_mel"):
            frames = log_mel(waveform)
        with timer.stage("encoder"):
            return self.embed_log_mel(frames)

    def embed_log_mel(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        """Embedding of a log-mel, float32 (n_dims,), for those who change it first; `frames` is (n_frames >= 1, 80)."""
        embedding: NDArray[np.float32] = self._encoder.run(log_mel=frames[np.newaxis])[0]
        return embedding

    def embed_speech(self, waveform: Waveform, *, timer: StageTimer | None = None) -> NDArray[np.float32]:
        """Embedding of the waveform without the silence at its ends: what clips and windows are judged by.

        Training cuts recordings in the same way. Windows that were not cut named the emotion of 40 % of held-out
        speech with pauses, cut ones 55 % (493 windows of four corpora, model telepathy-123d5ca55025).

        Parameters, result and errors are those of `embed`.
        """
        timer = timer or StageTimer()
        with timer.stage("speech"):
            start, end = speech_span(waveform)
        return self.embed(Waveform(samples=waveform.samples[start:end], sample_rate=waveform.sample_rate), timer=timer)

    def pass_probabilities(self, embeddings: NDArray[np.float32], *, n_passes: int, seed: int) -> NDArray[np.float64]:
        """Answers of `n_passes` forward passes with dropout for each of several clips, in one call of the head.

        Pass `t` drops the same units for every clip, and the first passes are the same however many follow: a clip's
        numbers depend neither on its company nor on its place in it.

        Parameters
        ----------
        embeddings : float32 (n_clips, n_dims)
        n_passes
            2 to 500.
        seed
            Of the dropout masks, 0 or more.

        Returns
        -------
        float64 (n_passes, n_clips, n_emotions)
            Softmax of logits over temperature; sums to 1 over emotions.

        Raises
        ------
        InvalidParameterError
            `n_passes` is out of place.

        References
        ----------
        Gal and Ghahramani (2016), "Dropout as a Bayesian approximation", ICML, section 4. Temperature: Guo et al.
        (2017), "On calibration of modern neural networks", ICML, section 4.2.
        """
        require_passes(n_passes)
        n_clips = len(embeddings)
        if n_clips == 0:
            return np.zeros((n_passes, 0, len(self.card.emotions)))
        masks = {
            f"mask_{index}": np.repeat(mask, n_clips, axis=0)
            for index, mask in enumerate(dropout_masks(self.parameters, n_passes=n_passes, seed=seed))
        }
        logits = self._head.run(embedding=np.tile(embeddings, (n_passes, 1)), **masks)
        return softmax(logits.reshape(n_passes, n_clips, -1), temperature=self.parameters.temperature)

    def plain_logits(self, embeddings: NDArray[np.float32]) -> NDArray[np.float64]:
        """What the head says with every unit kept, at the card's temperature: the softmax of it is the plain answer.

        Parameters
        ----------
        embeddings : float32 (n_clips, n_dims)
            At least one.

        Returns
        -------
        float64 (n_clips, n_emotions)
            Differences between emotions are log-odds, in nats.
        """
        masks = {
            f"mask_{index}": np.ones((len(embeddings), width), np.float32)
            for index, width in enumerate(self.parameters.mask_widths)
        }
        logits = self._head.run(embedding=embeddings, **masks)
        return np.asarray(logits, dtype=np.float64) / self.parameters.temperature

    def without_dropout(self) -> Recogniser:
        """The same model with every unit kept in every pass: all passes give its one plain answer.

        Shares the loaded graphs, so it costs nothing to make.
        """
        kept = replace(self.parameters, dropout_rates=tuple(0.0 for _ in self.parameters.dropout_rates))
        return Recogniser(self.card, kept, self._encoder, self._head)

    def recognise(
        self,
        waveform: Waveform,
        *,
        n_passes: int,
        seed: int,
        window_s: float,
        hop_s: float,
        abstention_confidence: float,
        timeline: bool | None = None,
        progress: Progress | None = None,
        timer: StageTimer | None = None,
    ) -> Recognition:
        """Emotion of a whole recording, how sure that is, and, of a long one, what is heard when.

        Where the stretch with speech is no longer than the card's `max_context_s` it is encoded whole. Otherwise the
        answer of each pass is the mean of its answers for the sliding windows, weighted by how much speech they hold.

        Parameters
        ----------
        waveform
            Mono, 16 kHz, more than 200 samples.
        n_passes, seed
            As in `pass_probabilities`.
        window_s, hop_s
            Length and step of the sliding windows in seconds.
        abstention_confidence
            Below this confidence, in [0, 1], the answer is "not sure".
        timeline
            Whether to give windows and segments; None gives them for recordings longer than one window.
        progress
            Called from this thread.

        Raises
        ------
        InvalidParameterError
            `n_passes` is out of place.
        """
        require_passes(n_passes)
        timer = timer or StageTimer()
        has_timeline = waveform.duration_s > window_s if timeline is None else timeline
        with timer.stage("speech"):
            start, end = speech_span(waveform)
        is_long = end - start > self.parameters.max_context_s * waveform.sample_rate
        tour = None
        if has_timeline or is_long:
            tour = self._walk(
                waveform, n_passes=n_passes, seed=seed, window_s=window_s, hop_s=hop_s, progress=progress, timer=timer
            )
        if tour is not None and is_long:
            passes, embedding = tour.passes, tour.embedding
        else:
            embedding = self.embed_speech(waveform, timer=timer)
            with timer.stage("passes"):
                passes = self.pass_probabilities(embedding[np.newaxis], n_passes=n_passes, seed=seed)[:, 0]
        with timer.stage("passes"):
            recognition = self._recognition(
                passes,
                embedding,
                n_passes=n_passes,
                abstention_confidence=abstention_confidence,
                windows=tour.windows if tour is not None and has_timeline else (),
                segments=tour.segments if tour is not None and has_timeline else (),
            )
        if progress is not None:
            progress(1.0, "Recognised")
        return recognition

    def recognise_many(
        self,
        waveforms: Sequence[Waveform],
        *,
        activities: Sequence[NDArray[np.bool_]] | None = None,
        n_passes: int,
        seed: int,
        window_s: float,
        hop_s: float,
        abstention_confidence: float,
        timeline: bool | None = None,
        is_stopping: Callable[[], bool] = lambda: False,
    ) -> list[Recognition]:
        """As `recognise` of each, with the same numbers, bit for bit; the passes of short ones run together.

        Those of one length are encoded after one another: the encoder's graph takes one at a time, and prepares itself
        anew for each other length. Asks `is_stopping` before each; once it says so, the rest is left out, and of the
        answers those before the first that is missing are given. `activities` are `speech_activity` of each, where
        they are known already.
        """
        require_passes(n_passes)
        done: dict[int, Recognition] = {}
        embeddings: dict[int, NDArray[np.float32]] = {}
        known = activities or [speech_activity(each) for each in waveforms]
        spans = [speech_span(each, activity=activity) for each, activity in zip(waveforms, known, strict=True)]
        for index in sorted(range(len(spans)), key=lambda each: spans[each][1] - spans[each][0]):
            if is_stopping():
                break
            waveform, (start, end) = waveforms[index], spans[index]
            is_long = end - start > self.parameters.max_context_s * waveform.sample_rate
            if is_long or (waveform.duration_s > window_s if timeline is None else timeline):
                done[index] = self.recognise(
                    waveform,
                    n_passes=n_passes,
                    seed=seed,
                    window_s=window_s,
                    hop_s=hop_s,
                    abstention_confidence=abstention_confidence,
                    timeline=timeline,
                )
            else:
                speech = Waveform(samples=waveform.samples[start:end], sample_rate=waveform.sample_rate)
                embeddings[index] = self.embed(speech)
        indices = list(embeddings)
        for first in range(0, len(indices), _WINDOWS_PER_CALL):
            group = indices[first : first + _WINDOWS_PER_CALL]
            passes = self.pass_probabilities(
                np.stack([embeddings[index] for index in group]), n_passes=n_passes, seed=seed
            )
            for place, index in enumerate(group):
                done[index] = self._recognition(
                    passes[:, place], embeddings[index], n_passes=n_passes, abstention_confidence=abstention_confidence
                )
        n_answers = next(index for index in range(len(waveforms) + 1) if index not in done)
        return [done[index] for index in range(n_answers)]

    def _recognition(
        self,
        passes: NDArray[np.float64],
        embedding: NDArray[np.float32],
        *,
        n_passes: int,
        abstention_confidence: float,
        windows: tuple[TimelineWindow, ...] = (),
        segments: tuple[Segment, ...] = (),
    ) -> Recognition:
        summary = summarise_passes(passes)
        return Recognition(
            model_version=self.card.version,
            probabilities=self._by_emotion(summary.mean),
            standard_deviations=self._by_emotion(summary.standard_deviation),
            intervals=self._intervals(summary),
            uncertainty=summary.uncertainty,
            abstained=bool(summary.mean.max() < abstention_confidence),
            n_passes=n_passes,
            windows=windows,
            segments=segments,
            sketch=Sketch(encoder=self._encoder.digest, numbers=sketch_of(embedding)),
        )

    def _walk(
        self,
        waveform: Waveform,
        *,
        n_passes: int,
        seed: int,
        window_s: float,
        hop_s: float,
        progress: Progress | None,
        timer: StageTimer,
    ) -> _Tour:
        """Go over `waveform` window by window, a few at a time, so that memory does not grow with its length."""
        with timer.stage("speech"):
            activity = speech_activity(waveform)
        bounds = sliding_windows(waveform.duration_s, window_s=window_s, hop_s=hop_s)
        ratios = [speech_share(activity, frame_s=FRAME_S, start_s=start, end_s=end) for start, end in bounds]
        has_speech = [
            ratio * (end - start) >= MIN_WINDOW_SPEECH_S - 1e-9
            for ratio, (start, end) in zip(ratios, bounds, strict=True)
        ]
        weights = [ratio if heard else 0.0 for ratio, heard in zip(ratios, has_speech, strict=True)]
        if not any(
            weights
        ):  # nothing sounds like speech: the verdict still needs an answer, so all windows count alike
            weights = [1.0] * len(bounds)
        total = np.zeros((n_passes, len(self.card.emotions)))
        place = np.zeros(self.parameters.n_dims, np.float32)
        windows: list[TimelineWindow] = []
        for first in range(0, len(bounds), _WINDOWS_PER_CALL):
            group = range(first, min(first + _WINDOWS_PER_CALL, len(bounds)))
            if progress is not None:
                progress(first / len(bounds), f"Recognising, {bounds[first][0]:.0f} of {waveform.duration_s:.0f} s")
            wanted = [index for index in group if weights[index]]
            heard = self._hear_windows(waveform, [bounds[index] for index in wanted], n_passes, seed, timer)
            answers = {index: answer for index, (_, answer) in zip(wanted, heard, strict=True)}
            with timer.stage("passes"):
                for index, (embedding, answer) in zip(wanted, heard, strict=True):
                    total += weights[index] * answer
                    place += weights[index] * embedding
                summaries = {index: summarise_passes(answer) for index, answer in answers.items() if has_speech[index]}
            windows += [self._window(bounds[index], ratios[index], summaries.get(index)) for index in group]
        with timer.stage("timeline"):
            segments = merge_windows(
                windows, activity=activity, frame_s=FRAME_S, duration_s=waveform.duration_s, hop_s=hop_s
            )
        whole = sum(weights)
        return _Tour(
            passes=total / whole,
            embedding=(place / whole).astype(np.float32),
            windows=tuple(windows),
            segments=segments,
        )

    def _hear_windows(
        self,
        waveform: Waveform,
        bounds: Sequence[tuple[float, float]],
        n_passes: int,
        seed: int,
        timer: StageTimer,
    ) -> list[tuple[NDArray[np.float32], NDArray[np.float64]]]:
        """Embedding `(n_dims,)` and pass probabilities `(n_passes, n_emotions)` of each window."""
        rate = waveform.sample_rate
        embeddings = [
            self.embed_speech(
                Waveform(samples=waveform.samples[round(start * rate) : round(end * rate)], sample_rate=rate),
                timer=timer,
            )
            for start, end in bounds
        ]
        if not embeddings:
            return []
        with timer.stage("passes"):
            passes = self.pass_probabilities(np.stack(embeddings), n_passes=n_passes, seed=seed)
        return [(embedding, passes[:, index]) for index, embedding in enumerate(embeddings)]

    def _window(self, bounds: tuple[float, float], speech_ratio: float, summary: PassSummary | None) -> TimelineWindow:
        return TimelineWindow(
            start_s=bounds[0],
            end_s=bounds[1],
            probabilities={} if summary is None else self._by_emotion(summary.mean),
            speech_ratio=speech_ratio,
            predictive_entropy_nats=0.0 if summary is None else summary.uncertainty.predictive_entropy_nats,
        )

    def _by_emotion(self, values: NDArray[np.float64]) -> dict[Label, float]:
        return dict(zip(self.card.emotions, values.tolist(), strict=True))

    def _intervals(self, summary: PassSummary) -> dict[Label, Interval]:
        lows, highs = self._by_emotion(summary.low), self._by_emotion(summary.high)
        return {emotion: Interval(low=lows[emotion], high=highs[emotion]) for emotion in self.card.emotions}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tour:
    """What a walk over all windows of a recording found."""

    passes: NDArray[np.float64]
    """Speech-weighted mean over the windows, `(n_passes, n_emotions)`."""
    embedding: NDArray[np.float32]
    """Likewise, `(n_dims,)`."""
    windows: tuple[TimelineWindow, ...]
    segments: tuple[Segment, ...]


def require_passes(n_passes: int) -> None:
    """Raise unless so many passes can be run."""
    if not MIN_PASSES <= n_passes <= MAX_PASSES:
        raise InvalidParameterError("n_passes", str(n_passes), f"a whole number from {MIN_PASSES} to {MAX_PASSES}")


def dropout_masks(parameters: ServingParameters, *, n_passes: int, seed: int) -> list[NDArray[np.float32]]:
    """One mask for each dropout layer, float32 (n_passes, width): 0 drops a unit, others hold 1 over the share kept.

    Each layer draws from its own PCG64 stream of `(seed, layer)`, row by row.
    """
    masks = []
    for layer, (width, rate) in enumerate(zip(parameters.mask_widths, parameters.dropout_rates, strict=True)):
        generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, layer])))
        kept = generator.random((n_passes, width)) >= rate
        masks.append((kept / (1 - rate)).astype(np.float32))
    return masks


def softmax(logits: NDArray[np.floating], *, temperature: float) -> NDArray[np.float64]:
    """Softmax of `logits / temperature` along the last axis, in double precision.

    Examples
    --------
    >>> softmax(np.log([[1.0, 3.0]]), temperature=1.0).round(6).tolist()
    [[0.25, 0.75]]
    """
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    powers = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    probabilities: NDArray[np.float64] = powers / powers.sum(axis=-1, keepdims=True)
    return probabilities


def _require_features(card: ModelCard, parameters: ServingParameters) -> None:
    expected = (parameters.sample_rate_hz, parameters.n_mels)
    if expected != (TARGET_SAMPLE_RATE_HZ, N_MELS):
        raise FeatureMismatchError(
            card.name, f"{expected[1]} bands at {expected[0]} Hz", f"{N_MELS} bands at {TARGET_SAMPLE_RATE_HZ} Hz"
        )


class _InterpreterPool:
    """Interpreters of one graph. LiteRT's interpreters serve one thread at a time, so each is lent to one caller."""

    def __init__(self, model: str, file: Path, *, n_interpreters: int, n_threads: int) -> None:
        self.n_interpreters = n_interpreters
        self.digest = hashlib.sha256(file.read_bytes()).hexdigest()[:VERSION_DIGITS]
        self._free: queue.LifoQueue[SignatureRunner] = queue.LifoQueue()
        for _ in range(n_interpreters):
            try:
                interpreter = Interpreter(model_path=str(file), num_threads=n_threads)
                self._free.put(interpreter.get_signature_runner())
            except (RuntimeError, ValueError) as error:
                raise DamagedModelError(model, f"{file.name} cannot be loaded ({str(error).strip()})") from error

    @contextmanager
    def _borrowed(self) -> Iterator[SignatureRunner]:
        runner = self._free.get()
        try:
            yield runner
        finally:
            self._free.put(runner)

    def run(self, **inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """The graph's one output for `inputs`, whose free dimensions may differ from call to call."""
        with self._borrowed() as runner:
            (output,) = runner(**inputs).values()
        result: NDArray[np.float32] = output
        return result

    def require_inputs(self, model: str, expected: Mapping[str, tuple[int, ...]]) -> None:
        """Raise unless the graph takes inputs of these names and shapes; -1 is any length."""
        with self._borrowed() as runner:
            details = runner.get_input_details()
        found = {name: tuple(int(size) for size in detail["shape_signature"]) for name, detail in details.items()}
        if found != expected:
            raise FeatureMismatchError(model, f"inputs {found}", f"{dict(expected)}")
