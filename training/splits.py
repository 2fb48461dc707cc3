"""Splits: which recordings a model learns from, is tuned on, and is judged by.

Two protocols. *Shared speakers*: 80/10/10, stratified by corpus and emotion; flattering, since every speaker is heard
in training. *Speaker-independent*: five folds grouped by speaker, over all corpora at once; what a stranger gets.

Under both, recordings that are copies of one another (same published file, or same encoded audio) stand on one side.
A split depends on the seed and on what the manifest says, not on the order of its rows, and adding a corpus leaves the
parts of the others as they are under the shared-speaker protocol.
"""

from __future__ import annotations

import json
import zlib
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from core.config import REPOSITORY
from core.terminal import say
from training import corpora
from training.corpora import ManifestRow, manifest_sha256, read_manifest
from training.errors import SplitError, TrainingError

N_FOLDS = 5
VALIDATION_SHARE = 0.1
"""Share of a corpus's training speakers that the inner validation part of a fold takes."""
MIN_SPEAKERS_FOR_VALIDATION = 5
"""A corpus with fewer training speakers gives none to validation: SAVEE has two left, TESS one or two."""
DEFAULT_MANIFEST = REPOSITORY.parent / "shared" / "corpora" / "manifest.csv"
DEFAULT_OUT = REPOSITORY / "data" / "runs" / "splits"
SHARED_SPEAKER_SHARES = {"training": 0.8, "validation": 0.1, "test": 0.1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Three parts of a manifest, as paths, and the protocol that every score on them carries."""

    name: str
    protocol: str
    seed: int
    manifest_sha256: str
    training: tuple[str, ...]
    validation: tuple[str, ...]
    """For early stopping, temperature and thresholds; never for scores."""
    test: tuple[str, ...]


def shared_speaker_split(
    rows: Sequence[ManifestRow], *, seed: int = 0, content_hashes: Mapping[str, str] | None = None
) -> Split:
    """The 80/10/10 split stratified by corpus and emotion; speakers stand on both sides.

    Parameters
    ----------
    rows
        A whole manifest.
    seed
        Same seed, same manifest: same split.
    content_hashes
        Hash of each file's encoded audio by path (`corpora.content_hashes`), to find copies whose
        `sha256_original` differs.

    Raises
    ------
    SplitError
        There are no rows.
    """
    groups = _groups(rows, content_hashes, by_speaker=False)
    strata: defaultdict[str, list[list[ManifestRow]]] = defaultdict(list)
    for group in groups:
        first = group[0]
        strata[f"{first.corpus}/{first.emotion}"].append(group)
    parts: dict[str, list[str]] = {part: [] for part in SHARED_SPEAKER_SHARES}
    for stratum in sorted(strata):
        drawn = _drawn(strata[stratum], seed=seed, stratum=stratum)
        n_rows = sum(len(group) for group in drawn)
        missing = {part: share * n_rows for part, share in SHARED_SPEAKER_SHARES.items()}
        for group in drawn:
            part = max(missing, key=lambda name: missing[name])
            missing[part] -= len(group)
            parts[part].extend(row.path for row in group)
    return Split(
        name="shared_speaker_split",
        protocol="80/10/10 split stratified by corpus and emotion; speakers heard in training, recordings not",
        seed=seed,
        manifest_sha256=manifest_sha256(rows),
        **{part: tuple(sorted(paths)) for part, paths in parts.items()},
    )


def speaker_independent_splits(
    rows: Sequence[ManifestRow],
    *,
    seed: int = 0,
    n_folds: int = N_FOLDS,
    content_hashes: Mapping[str, str] | None = None,
) -> tuple[Split, ...]:
    """Grouped folds over all corpora: each speaker is judged in exactly one fold and never learnt from in it.

    The speakers of each corpus and sex are spread evenly over the folds, so the two actresses of TESS stand in two
    folds and the three men of SAVEE in three others. The inner validation part holds about a tenth of the training
    speakers of every corpus that can spare one, and no speaker of the other two parts.

    Raises
    ------
    SplitError
        There are fewer groups of speakers than folds.
    """
    groups = _groups(rows, content_hashes, by_speaker=True)
    if len(groups) < n_folds:
        raise SplitError(f"{len(groups)} groups of speakers do not fill {n_folds} folds")
    folds = _fold_groups(groups, seed=seed, n_folds=n_folds)
    everything = manifest_sha256(rows)
    splits = []
    for number, test in enumerate(folds, start=1):
        rest = [group for other, fold in enumerate(folds, start=1) if other != number for group in fold]
        validation, training = _validation_groups(rest, seed=seed, number=number)
        splits.append(
            Split(
                name=f"speaker_independent_split_{number}_of_{n_folds}",
                protocol=f"speaker-independent, fold {number} of {n_folds} (grouped by speaker over all corpora)",
                seed=seed,
                manifest_sha256=everything,
                training=_paths(training),
                validation=_paths(validation),
                test=_paths(test),
            )
        )
    return tuple(splits)


def speaker_independent_split(
    rows: Sequence[ManifestRow],
    *,
    fold: int,
    seed: int = 0,
    n_folds: int = N_FOLDS,
    content_hashes: Mapping[str, str] | None = None,
) -> Split:
    """One of `speaker_independent_splits`; `fold` counts from 1."""
    if not 1 <= fold <= n_folds:
        raise SplitError(f"there is no fold {fold}, only 1 to {n_folds}")
    return speaker_independent_splits(rows, seed=seed, n_folds=n_folds, content_hashes=content_hashes)[fold - 1]


def write_split(split: Split, folder: Path) -> Path:
    """Write `split` as `folder/NAME.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{split.name}.json"
    partial = path.with_name(path.name + ".part")
    partial.write_text(json.dumps(asdict(split), indent=1) + "\n", encoding="utf-8")
    partial.replace(path)
    return path


def read_split(path: Path) -> Split:
    """The split written at `path`.

    Raises
    ------
    SplitError
        The file cannot be read or is no split.
    """
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        for part in SHARED_SPEAKER_SHARES:
            stored[part] = tuple(stored[part])
        return Split(**stored)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise SplitError(f"{path} is not a split ({error})") from error


def _groups(
    rows: Sequence[ManifestRow], content_hashes: Mapping[str, str] | None, *, by_speaker: bool
) -> list[list[ManifestRow]]:
    """Rows that must stay together: copies of one another and, `by_speaker`, all of one speaker; by union-find.

    Chains count: two speakers of whom copies of one recording exist are one group.
    """
    if not rows:
        raise SplitError("the manifest has no rows")
    ordered = sorted(rows, key=lambda row: row.path)
    parent = list(range(len(ordered)))

    def find(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    first_with: dict[Hashable, int] = {}
    for index, row in enumerate(ordered):
        keys: list[Hashable] = []
        if row.sha256_original:
            keys.append(("file", row.sha256_original.lower()))
        if content_hashes and row.path in content_hashes:
            keys.append(("audio", content_hashes[row.path]))
        if by_speaker:
            keys.append(("speaker", row.speaker))
        for key in keys:
            other = first_with.setdefault(key, index)
            low, high = sorted((find(index), find(other)))
            parent[high] = low
    members: defaultdict[int, list[ManifestRow]] = defaultdict(list)
    for index, row in enumerate(ordered):
        members[find(index)].append(row)
    return [members[root] for root in sorted(members)]


def _drawn(groups: list[list[ManifestRow]], *, seed: int, stratum: str) -> list[list[ManifestRow]]:
    """`groups` in an order drawn from seed and stratum, the largest first so that the rest can even out."""
    generator = np.random.default_rng([seed, zlib.crc32(stratum.encode())])
    shuffled = [groups[index] for index in generator.permutation(len(groups))]
    return sorted(shuffled, key=len, reverse=True)


def _speakers_by(group: Iterable[ManifestRow]) -> tuple[Counter[str], Counter[tuple[str, str]]]:
    """Number of speakers of a group by corpus, and by corpus and sex."""
    speakers = {(row.speaker, row.corpus, row.sex) for row in group}
    by_corpus = Counter(corpus for _, corpus, _ in speakers)
    by_sex = Counter((corpus, sex) for _, corpus, sex in speakers)
    return by_corpus, by_sex


def _fold_groups(groups: list[list[ManifestRow]], *, seed: int, n_folds: int) -> list[list[list[ManifestRow]]]:
    """Spread groups: each goes where its corpora, then its sexes, then clips are fewest so far."""
    folds: list[list[list[ManifestRow]]] = [[] for _ in range(n_folds)]
    corpus_loads: list[Counter[str]] = [Counter() for _ in range(n_folds)]
    sex_loads: list[Counter[tuple[str, str]]] = [Counter() for _ in range(n_folds)]
    n_rows = [0] * n_folds
    strata: defaultdict[str, list[list[ManifestRow]]] = defaultdict(list)
    for group in groups:
        strata["+".join(sorted({f"{row.corpus}/{row.sex}" for row in group}))].append(group)
    # Strata of large groups first, so that the many small ones even out the folds they fill.
    for stratum in sorted(strata, key=lambda name: (-max(map(len, strata[name])), name)):
        generator = np.random.default_rng([seed, zlib.crc32(stratum.encode())])
        for index in generator.permutation(len(strata[stratum])):
            group = strata[stratum][index]
            by_corpus, by_sex = _speakers_by(group)
            fold = min(
                range(n_folds),
                key=lambda number: (
                    sum(count * corpus_loads[number][corpus] for corpus, count in by_corpus.items()),
                    sum(count * sex_loads[number][sex] for sex, count in by_sex.items()),
                    n_rows[number],
                    number,
                ),
            )
            folds[fold].append(group)
            corpus_loads[fold].update(by_corpus)
            sex_loads[fold].update(by_sex)
            n_rows[fold] += len(group)
    if not all(folds):
        raise SplitError(f"{len(groups)} groups of speakers do not fill {n_folds} folds")
    return folds


def _validation_groups(
    groups: list[list[ManifestRow]], *, seed: int, number: int
) -> tuple[list[list[ManifestRow]], list[list[ManifestRow]]]:
    """A tenth of the speakers of each corpus that can spare one, sexes in turn, and the rest."""
    by_corpus: defaultdict[str, list[list[ManifestRow]]] = defaultdict(list)
    for group in groups:
        corpora = {row.corpus for row in group}
        # A group that chains corpora together stays in training: no corpus's tenth could be taken from it.
        if len(corpora) == 1:
            by_corpus[corpora.pop()].append(group)
    chosen: set[str] = set()
    for corpus in sorted(by_corpus):
        candidates = by_corpus[corpus]
        n_speakers = len({row.speaker for group in candidates for row in group})
        if n_speakers < MIN_SPEAKERS_FOR_VALIDATION:
            continue
        n_wanted = max(1, round(VALIDATION_SHARE * n_speakers))
        generator = np.random.default_rng([seed, number, zlib.crc32(corpus.encode())])
        order = [candidates[index] for index in generator.permutation(len(candidates))]
        n_taken: Counter[str] = Counter()
        while order and sum(n_taken.values()) < n_wanted:
            group = min(order, key=lambda candidate: n_taken[candidate[0].sex])
            order.remove(group)
            chosen.add(group[0].path)
            n_taken.update(sex for _, sex in {(row.speaker, row.sex) for row in group})
    validation = [group for group in groups if group[0].path in chosen]
    training = [group for group in groups if group[0].path not in chosen]
    return validation, training


def _paths(groups: Iterable[Sequence[ManifestRow]]) -> tuple[str, ...]:
    return tuple(sorted(row.path for group in groups for row in group))


def splits_command(
    manifest: Annotated[Path, typer.Option(help="Manifest of all corpora to split.")] = DEFAULT_MANIFEST,
    out: Annotated[Path, typer.Option(help="Folder for the split files.")] = DEFAULT_OUT,
    seed: Annotated[int, typer.Option(help="Same seed, same manifest: same splits.")] = 0,
    n_folds: Annotated[int, typer.Option(min=2, help="Number of speaker-independent folds.")] = N_FOLDS,
    audio: Annotated[
        Path | None, typer.Option(help="Folder of the audio, to find copies by their encoded sound as well.")
    ] = None,
) -> None:
    """Write the 80/10/10 split and the speaker-independent folds of a manifest, one JSON file each."""
    console = Console()
    try:
        rows, problems = read_manifest(manifest)
        hashes: dict[str, str] = {}
        if audio is not None:
            hashes, unread = corpora.content_hashes(rows, audio)
            problems += unread
        splits = [
            shared_speaker_split(rows, seed=seed, content_hashes=hashes),
            *speaker_independent_splits(rows, seed=seed, n_folds=n_folds, content_hashes=hashes),
        ]
    except TrainingError as error:
        say(console, str(error), style="red")
        raise typer.Exit(1) from error
    for problem in problems:
        say(console, f"left out: {problem.path}: {problem.reason}", style="yellow")
    speaker_of = {row.path: row.speaker for row in rows}
    table = Table("split", "training", "validation", "test", title="recordings (speakers)")
    for split in splits:
        write_split(split, out)
        parts = [f"{len(part):,} ({len({speaker_of[path] for path in part})})" for part in _parts(split)]
        table.add_row(split.name, *parts)
    console.print(table)
    say(console, f"{len(splits)} splits of {len(rows):,} recordings, seed {seed}, written to {out}")


def _parts(split: Split) -> tuple[tuple[str, ...], ...]:
    return split.training, split.validation, split.test
