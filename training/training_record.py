"""What a model heard in training, kept beside it, so that a later score can say whether it is a test at all.

Beside `card.json` stands `heard.csv`: one row for each recording heard, with the first 12 hexadecimal digits of its
`sha256_original` and whether its label was used. Twelve digits tell 15,000 recordings from as many others with a chance
of a mix-up below one in a million. Speakers, counts and licences stand in the card's `data`.
"""

from __future__ import annotations

import csv
import enum
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from training.corpora import COMMERCIAL_LICENCES, ManifestRow, manifest_sha256

HEARD = "heard.csv"
N_DIGITS = 12


class Exposure(enum.StrEnum):
    """What a model knows of a recording from its training, from worst to best."""

    LABEL_HEARD = "recordings heard in training, with their labels"
    RECORDING_HEARD = "recordings heard in training, without their labels"
    SPEAKER_HEARD = "speakers heard in training, recordings not"
    SPEAKER_UNSEEN = "speakers unseen in training"
    UNKNOWN = "overlap with the training data unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRecord:
    """What a model heard; None where its card does not say."""

    speakers: frozenset[str] | None
    is_label_used: dict[str, bool] | None
    """By the first digits of the hash, for every recording heard."""
    corpora: tuple[str, ...] | None

    def exposure(self, row: ManifestRow) -> Exposure:
        """What the model knows of one recording."""
        if self.speakers is None or self.is_label_used is None:
            return Exposure.UNKNOWN
        is_label_used = self.is_label_used.get(_digits(row.sha256_original)) if row.sha256_original else None
        if is_label_used is not None:
            return Exposure.LABEL_HEARD if is_label_used else Exposure.RECORDING_HEARD
        return Exposure.SPEAKER_HEARD if row.speaker in self.speakers else Exposure.SPEAKER_UNSEEN


def write_training_record(
    folder: Path, *, labelled: Sequence[ManifestRow], unlabelled: Sequence[ManifestRow] = ()
) -> dict[str, object]:
    """Write `heard.csv` into a model's folder.

    Parameters
    ----------
    labelled
        Recordings whose labels the model was fitted to, validation included.
    unlabelled
        Recordings it heard otherwise, such as in distillation; those that are labelled too may be among them.

    Returns
    -------
    dict
        `data` of the model's card: `manifest_sha256`, `speakers`, `corpora` with counts and licences, and
        `is_commercial_use_allowed`.
    """
    is_label_used = {_digits(row.sha256_original): False for row in unlabelled}
    is_label_used |= {_digits(row.sha256_original): True for row in labelled}
    with (folder / HEARD).open("w", encoding="ascii", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["sha256_original", "is_label_used"])
        writer.writerows((digits, int(is_used)) for digits, is_used in sorted(is_label_used.items()))
    heard = {row.path: row for row in [*unlabelled, *labelled]}
    by_corpus: defaultdict[str, list[ManifestRow]] = defaultdict(list)
    for row in heard.values():
        by_corpus[row.corpus].append(row)
    labelled_paths = {row.path for row in labelled}
    return {
        "manifest_sha256": manifest_sha256(heard.values()),
        "corpora": {
            corpus: {
                "n_recordings": len(rows),
                "n_labelled": sum(row.path in labelled_paths for row in rows),
                "n_speakers": len({row.speaker for row in rows}),
                "hours": round(sum(row.duration_s for row in rows) / 3600, 2),
                "licence": " / ".join(sorted({row.licence for row in rows})),
            }
            for corpus, rows in sorted(by_corpus.items())
        },
        "speakers": sorted({row.speaker for row in heard.values()}),
        "is_commercial_use_allowed": is_commercial_use_allowed(heard.values()),
    }


def read_training_record(folder: Path) -> TrainingRecord:
    """What the model in `folder` heard; fields of its card or files that are missing give None, never an error."""
    try:
        data = json.loads((folder / "card.json").read_text(encoding="utf-8"))["data"]
    except (OSError, ValueError, KeyError):
        data = {}
    if not isinstance(data, dict):
        data = {}
    speakers, corpora = data.get("speakers"), data.get("corpora")
    try:
        with (folder / HEARD).open(encoding="ascii", newline="") as file:
            is_label_used = {row["sha256_original"]: row["is_label_used"] == "1" for row in csv.DictReader(file)}
    except (OSError, KeyError, UnicodeDecodeError):
        is_label_used = None
    return TrainingRecord(
        speakers=frozenset(speakers) if isinstance(speakers, list) else None,
        is_label_used=is_label_used,
        corpora=tuple(corpora) if isinstance(corpora, dict | list) else None,
    )


def is_commercial_use_allowed(rows: Iterable[ManifestRow]) -> bool:
    """Whether every recording's licence allows a model trained on it to be used commercially."""
    return all(row.licence in COMMERCIAL_LICENCES for row in rows)


def _digits(sha256: str) -> str:
    return sha256[:N_DIGITS].lower()
