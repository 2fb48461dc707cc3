"""Made-up answers of a model, for tests of scores and reports."""

from __future__ import annotations

import numpy as np

from core.domain import Emotion
from training.corpora import ManifestRow
from training.scores import EMOTIONS, Evaluation, ScoredRecording, score_robustness, summarise_answers
from training.training_record import Exposure, TrainingRecord

UNKNOWN_TO_CARD = TrainingRecord(speakers=None, is_label_used=None, corpora=None)


def make_answer(
    *,
    label: Emotion,
    answer: Emotion,
    confidence: float = 0.8,
    corpus: str = "RAVDESS",
    speaker: str = "1",
    name: str = "",
    exposure: Exposure = Exposure.SPEAKER_UNSEEN,
    sex: str = "female",
    second: Emotion | None = None,
    plain_confidence: float | None = None,
    entropy: float | None = None,
) -> ScoredRecording:
    """An answer with `confidence` in `answer` and the rest on `second`, or on all others alike."""
    others = [second] if second is not None else [emotion for emotion in EMOTIONS if emotion != answer]
    probabilities = [
        confidence if emotion == answer else (1 - confidence) / len(others) if emotion in others else 0.0
        for emotion in EMOTIONS
    ]
    doubt = 1 - confidence if entropy is None else entropy
    row = ManifestRow(
        path=f"{corpus}/{name or f'{speaker}-{label}-{answer}-{confidence}'}.wav",
        corpus=corpus,
        speaker=f"{corpus}-{speaker}",
        sex=sex,
        language="en",
        emotion=label,
        intensity="",
        statement="",
        duration_s=2.0,
        sha256_original="",
        licence="",
    )
    return ScoredRecording(
        row=row,
        exposure=exposure,
        probabilities=tuple(probabilities),
        plain_confidence=confidence if plain_confidence is None else plain_confidence,
        predictive_entropy_nats=doubt,
        expected_entropy_nats=doubt / 2,
        mutual_information_nats=doubt / 2,
        is_abstained=confidence < 0.4,
    )


def draw_answers(seed: int = 0, n_recordings: int = 120, accuracy: float = 0.7) -> list[ScoredRecording]:
    """Answers for two corpora, one with six labels; the surer, the more often right."""
    generator = np.random.default_rng(seed)
    answers = []
    for number in range(n_recordings):
        corpus = ("RAVDESS", "CREMA-D")[number % 2]
        label = (
            EMOTIONS[generator.integers(8)] if corpus == "RAVDESS" else EMOTIONS[(0, 2, 3, 4, 5, 6)[number // 2 % 6]]
        )
        confidence = generator.uniform(0.25, 0.99)
        is_right = generator.random() < accuracy + 0.5 * (confidence - 0.6)
        answer = label if is_right else EMOTIONS[(EMOTIONS.index(label) + 1 + generator.integers(7)) % 8]
        answers.append(
            make_answer(
                label=label,
                answer=answer,
                confidence=float(confidence),
                corpus=corpus,
                speaker=str(number % 10),
                name=f"{number:04}",
                sex=("female", "male")[number % 2],
                plain_confidence=float(np.clip(confidence + generator.normal(scale=0.1), 0, 1)),
            )
        )
    return answers


def make_evaluation(answers: list[ScoredRecording] | None = None, *, has_robustness: bool = True) -> Evaluation:
    """A whole evaluation of made-up answers."""
    scored = draw_answers() if answers is None else answers
    clean = {recording.row.path: recording for recording in scored}
    robustness = tuple(
        score_robustness(
            name,
            f"what {name} does",
            clean,
            dict(list(clean.items())[n_lost:]),
            n_refused=n_lost,
            protocol="made up",
            known=EMOTIONS,
            n_resamples=20,
            seed=0,
        )
        for name, n_lost in (("clean", 0), ("babble 10 dB", 3))
    )
    return summarise_answers(
        scored,
        protocol="made up for a test",
        known=EMOTIONS,
        model={"name": "made-up", "version": "made-up-1", "licence": "none", "is_commercial_use_allowed": False},
        settings={"n_passes": 30},
        manifest={"name": "manifest.csv", "part": "", "sha256": "0" * 64, "n_rows": len(scored)},
        record=UNKNOWN_TO_CARD,
        votes={},
        robustness=robustness if has_robustness else (),
        n_resamples=20,
    )
