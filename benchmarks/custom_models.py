"""What a model of one's own data set reaches: `python -m benchmarks.custom_models [--quick]`.

Corpora that the encoder has never heard (telepathy-commercial heard CREMA-D alone) stand in for somebody's data set.
For each protocol and seed a head is fitted as `python -m training custom` fits it, as it is and with augmentation.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from core.config import REPOSITORY, Settings
from core.evaluation.classification import unweighted_average_recall
from core.features.audio import DecodeLimits, decode
from core.features.clip_stream import LabelledClip
from core.inference.recogniser import Recogniser
from training.calibrate import fit_temperature, mean_probabilities
from training.corpora import ManifestRow, read_manifest
from training.custom import CustomPlan, divide
from training.custom_head import HeadLearner, Heard, hear
from training.custom_splits import Protocol

CORPORA = REPOSITORY.parent / "shared" / "corpora"
ENCODER = REPOSITORY / "data" / "models" / "telepathy-commercial"
AUGMENTATIONS = {"none": {}, "noise, room, gain, speed": {"noise": 0.5, "room": 0.5, "gain": 0.5, "speed": 0.5}}
N_SEEDS = 5


def main(
    quick: Annotated[bool, typer.Option(help="SAVEE alone, one seed.")] = False,
    most: Annotated[int, typer.Option(help="Clips of one corpus.")] = 600,
) -> None:
    """Print the table of docs/custom-models.md."""
    rows = list(read_manifest(CORPORA / "manifest.csv")[0])
    print("| corpus | clips | labels | speakers | protocol | augmentation | mean recall, % | deviation | chance, % |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for corpus in ("SAVEE",) if quick else ("SAVEE", "RAVDESS"):
        chosen = sorted((row for row in rows if row.corpus == corpus), key=lambda row: row.sha256_original)[:most]
        for said, strengths in AUGMENTATIONS.items():
            began = time.process_time()
            plan = CustomPlan(strengths=strengths)
            with tempfile.TemporaryDirectory() as folder:
                heard = hear(
                    _clips(chosen), Recogniser.open(ENCODER), plan.augmentation, cache=Path(folder) / "heard.npz"
                )
                for protocol in Protocol:
                    found = [
                        100 * _recall(heard, replace(plan, protocol=protocol, seed=seed), Path(folder))
                        for seed in range(1 if quick else N_SEEDS)
                    ]
                    n_labels, n_speakers = len(set(heard.labels)), len(set(heard.speakers))
                    print(
                        f"| {corpus} | {len(heard)} | {n_labels} | {n_speakers} | {protocol.value} | {said} | "
                        f"{np.mean(found):.1f} | {np.std(found):.1f} | {100 / n_labels:.1f} |",
                        flush=True,
                    )
            print(f"processor_s {time.process_time() - began:.0f}", flush=True)


def _clips(rows: list[ManifestRow]) -> Iterator[LabelledClip]:
    limits = DecodeLimits.from_settings(Settings())
    for row in rows:
        waveform = decode((CORPORA / row.path).read_bytes(), limits=limits).waveform
        yield LabelledClip(name=row.path, label=row.emotion.value, speaker=row.speaker, waveform=waveform)


def _recall(heard: Heard, plan: CustomPlan, folder: Path) -> float:
    classes = tuple(sorted(set(heard.labels)))
    labels = np.array([classes.index(label) for label in heard.labels])
    learner = HeadLearner(
        heard,
        classes,
        parent=ENCODER,
        n_epochs=plan.n_epochs,
        learning_rate=plan.learning_rate,
        augmentation=plan.augmentation,
        seed=plan.seed,
    )
    tested, answers = [], []
    for division in divide(plan, labels, heard.speakers):
        if not len(division.test):
            continue
        checkpoint = folder / "fit.npz"
        checkpoint.unlink(missing_ok=True)
        fitted = learner.fit(division.training, checkpoint=checkpoint, after_round=lambda *_: None)
        temperature = fit_temperature(fitted.pass_logits(division.validation), labels[division.validation])
        answers.append(mean_probabilities(fitted.pass_logits(division.test), temperature=temperature).argmax(axis=1))
        tested.append(division.test)
    return unweighted_average_recall(labels[np.concatenate(tested)], np.concatenate(answers))


if __name__ == "__main__":
    typer.run(main)
