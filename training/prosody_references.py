"""How voices usually sound: mean and spread of each measure by corpus and sex, as `data/references/prosody.json`.

`python -m training references`. Figures alone: no recording, and nothing of a single one, is written.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from core.domain import Emotion
from core.features.prosody_reference import SCHEMA, ProsodyReference, make_reference
from training.corpora import manifest_sha256
from training.prosody_sample import PLAN, MeasuredRecording, measuring_version
from training.whole_files import write_atomically

MIN_SAMPLE = 20
"""Fewer recordings make no reference: their spread would be a guess."""
_OF_SEX = {"female": " of women", "male": " of men", "": ""}


def make_references(measured: Sequence[MeasuredRecording]) -> list[ProsodyReference]:
    """References by corpus and sex, neutral speech first, then all emotions in equal numbers."""
    references = []
    for corpus in sorted({one.row.corpus for one in measured}):
        of_corpus = [one for one in measured if one.row.corpus == corpus]
        sexes = sorted({one.row.sex for one in of_corpus})
        for is_neutral in (True, False):
            chosen = (
                [one for one in of_corpus if one.row.emotion is Emotion.NEUTRAL] if is_neutral else alike(of_corpus)
            )
            # Of a corpus with one sex alone, "both" would be the same voices again.
            for sex in dict.fromkeys(["", *sexes] if len(sexes) != 1 else sexes):
                voices = [one for one in chosen if sex in ("", one.row.sex)]
                if len(voices) >= MIN_SAMPLE:
                    references.append(_reference(voices, corpus=corpus, sex=sex, is_neutral=is_neutral))
    return references


def alike(measured: Sequence[MeasuredRecording]) -> list[MeasuredRecording]:
    """Of each sex and emotion as many recordings as the rarest gives, those drawn first."""
    cells: defaultdict[tuple[str, Emotion], list[MeasuredRecording]] = defaultdict(list)
    for one in measured:
        cells[one.row.sex, one.row.emotion].append(one)
    fewest = min(map(len, cells.values()))
    return [one for cell in cells.values() for one in cell[:fewest]]


def _reference(voices: Sequence[MeasuredRecording], *, corpus: str, sex: str, is_neutral: bool) -> ProsodyReference:
    who = f"{_OF_SEX[sex]} in {corpus}"
    return make_reference(
        [one.prosody for one in voices],
        name=f"neutral speech{who}" if is_neutral else f"speech{who}, all emotions alike",
        n_speakers=len({one.row.speaker for one in voices}),
        corpus=corpus,
        sex=sex,
        is_neutral=is_neutral,
        licence="; ".join(sorted({one.row.licence for one in voices})),
    )


def write_references(path: Path, measured: Sequence[MeasuredRecording]) -> None:
    """Write the references of `measured` so that `read_references` reads them."""
    fields = {
        "schema": SCHEMA,
        "protocol": (
            "Prosody of the speech in each recording (silence at its ends cut), measured by Praat. Recordings drawn by "
            f"corpus, sex and emotion, speakers taking turns, seed {PLAN.seed}; of neutral up to {PLAN.n_neutral} in "
            f"each cell. 'All emotions alike' takes equal numbers. Mean and standard deviation (n - 1) of natural "
            "logarithms for measures that count as ratios: see docs/prosody.md."
        ),
        "licence": (
            "Statistics only, no recordings and nothing of a single one. The recordings stay under their own licences, "
            "named at each reference."
        ),
        "command": "python -m training references",
        "manifest_sha256": manifest_sha256([one.row for one in measured]),
        "measuring_version": measuring_version(),
        "references": [_entry(reference) for reference in make_references(measured)],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(fields, indent=1) + "\n")


def _entry(reference: ProsodyReference) -> dict[str, object]:
    return {
        "name": reference.name,
        "corpus": reference.corpus,
        "sex": reference.sex,
        "is_neutral": reference.is_neutral,
        "n_recordings": reference.n_recordings,
        "n_speakers": reference.n_speakers,
        "mean_duration_s": round(reference.mean_duration_s, 3),
        "licence": reference.licence,
        "measures": {
            measure: {
                "n_recordings": found.n_recordings,
                "mean": float(f"{found.mean:.6g}"),
                "standard_deviation": float(f"{found.standard_deviation:.6g}"),
            }
            for measure, found in reference.statistics.items()
        },
    }
