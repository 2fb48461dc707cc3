"""Splits keep copies and speakers on one side, whatever the manifest does."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.domain import Emotion
from training.corpora import ManifestRow, read_manifest
from training.errors import SplitError
from training.splits import (
    Split,
    read_split,
    shared_speaker_split,
    speaker_independent_split,
    speaker_independent_splits,
    write_split,
)

MANIFEST = Path(__file__).resolve().parents[4] / "shared" / "corpora" / "manifest.csv"
needs_corpora = pytest.mark.skipif(not MANIFEST.exists(), reason="the corpora do not stand at ../shared/corpora")


def make_row(number: int, *, corpus: str = "A", speaker: str = "A-1", sex: str = "", **changes: object) -> ManifestRow:
    row = ManifestRow(
        path=f"{corpus}/{number:05}.wav",
        corpus=corpus,
        speaker=speaker,
        sex=sex,
        language="en",
        emotion=list(Emotion)[number % 8],
        intensity="",
        statement=str(number),
        duration_s=1.0,
        sha256_original=f"{number:064x}",
        licence="",
    )
    return dataclasses.replace(row, **changes)


def make_manifest() -> list[ManifestRow]:
    """Corpora shaped like the real ones: many speakers, two, three, and nine without a sex."""
    shapes = {"CREMA-D": (24, 16), "TESS": (2, 80), "SAVEE": (3, 40), "nEMO": (9, 24), "RAVDESS": (10, 16)}
    rows = []
    for corpus, (n_speakers, n_clips) in shapes.items():
        for speaker in range(n_speakers):
            sex = {"TESS": "female", "SAVEE": "male", "nEMO": ""}.get(corpus, ("female", "male")[speaker % 2])
            rows += [
                make_row(len(rows) + clip, corpus=corpus, speaker=f"{corpus}-{speaker}", sex=sex)
                for clip in range(n_clips)
            ]
    return rows


def parts(split: Split) -> dict[str, set[str]]:
    return {"training": set(split.training), "validation": set(split.validation), "test": set(split.test)}


def assert_each_row_stands_once(split: Split, rows: list[ManifestRow]) -> None:
    paths = [*split.training, *split.validation, *split.test]
    assert sorted(paths) == sorted(row.path for row in rows)


def sides(split: Split, rows: list[ManifestRow], key: str) -> dict[object, set[str]]:
    part_of = {path: part for part, paths in parts(split).items() for path in paths}
    found: dict[object, set[str]] = {}
    for row in rows:
        found.setdefault(getattr(row, key), set()).add(part_of[row.path])
    return found


def test_shared_speaker_split_holds_eighty_ten_ten_of_every_stratum() -> None:
    rows = [make_row(number) for number in range(8 * 50)]
    split = shared_speaker_split(rows)
    assert_each_row_stands_once(split, rows)
    for part, expected in {"training": 40, "validation": 5, "test": 5}.items():
        counts = Counter(row.emotion for row in rows if row.path in parts(split)[part])
        assert set(counts.values()) == {expected}


def test_speaker_independent_splits_judge_each_speaker_once_and_never_learn_from_them() -> None:
    rows = make_manifest()
    splits = speaker_independent_splits(rows)
    judged: Counter[str] = Counter()
    for split in splits:
        assert_each_row_stands_once(split, rows)
        assert all(len(found) == 1 for found in sides(split, rows, "speaker").values())
        judged.update({row.speaker for row in rows if row.path in set(split.test)})
    assert set(judged.values()) == {1}
    assert len(judged) == 48


def test_two_actresses_and_three_men_are_judged_in_different_folds() -> None:
    rows = make_manifest()
    tests = [{row.speaker for row in rows if row.path in set(split.test)} for split in speaker_independent_splits(rows)]
    for corpus, n_folds_with_one in {"TESS": 2, "SAVEE": 3}.items():
        counts = sorted(sum(speaker.startswith(corpus) for speaker in test) for test in tests)
        assert counts == [0] * (5 - n_folds_with_one) + [1] * n_folds_with_one


def test_folds_are_balanced_by_corpus_and_sex() -> None:
    rows = make_manifest()
    for split in speaker_independent_splits(rows):
        speakers = {(row.corpus, row.sex, row.speaker) for row in rows if row.path in set(split.test)}
        by_corpus = Counter(corpus for corpus, _, _ in speakers)
        by_sex = Counter((corpus, sex) for corpus, sex, _ in speakers)
        assert 4 <= by_corpus["CREMA-D"] <= 5
        assert by_corpus["RAVDESS"] == 2
        assert 1 <= by_corpus["nEMO"] <= 2
        assert 2 <= by_sex["CREMA-D", "female"] <= 3
        assert by_sex["RAVDESS", "female"] == by_sex["RAVDESS", "male"] == 1


def test_validation_holds_a_tenth_of_the_speakers_of_corpora_that_can_spare_them() -> None:
    rows = make_manifest()
    for split in speaker_independent_splits(rows):
        counts = Counter(
            corpus for corpus, _ in {(row.corpus, row.speaker) for row in rows if row.path in set(split.validation)}
        )
        assert counts == {"CREMA-D": 2, "RAVDESS": 1, "nEMO": 1}


@pytest.mark.parametrize("make", [shared_speaker_split, lambda rows, seed: speaker_independent_splits(rows, seed=seed)])
def test_split_depends_on_the_seed_and_not_on_the_order_of_rows(make) -> None:
    rows = make_manifest()
    assert make(rows, seed=3) == make(rows[::-1], seed=3)
    assert make(rows, seed=3) != make(rows, seed=4)


def test_another_corpus_leaves_the_shared_speaker_parts_of_the_others_as_they_were() -> None:
    rows = make_manifest()
    before = shared_speaker_split([row for row in rows if row.corpus != "nEMO"])
    after = shared_speaker_split(rows)
    assert set(before.test) == {path for path in after.test if not path.startswith("nEMO")}


def test_copies_of_one_published_file_stand_on_one_side() -> None:
    rows = [make_row(number, sha256_original=f"{number % 50:064x}") for number in range(200)]
    split = shared_speaker_split(rows)
    assert_each_row_stands_once(split, rows)
    assert all(len(found) == 1 for found in sides(split, rows, "sha256_original").values())
    assert all(parts(split).values())


def test_hash_in_capitals_is_the_same_hash() -> None:
    rows = [
        make_row(number, sha256_original=(f"{number % 40:064x}" if number < 40 else f"{number % 40:064X}"))
        for number in range(80)
    ]
    split = shared_speaker_split(rows)
    lowered = [dataclasses.replace(row, sha256_original=row.sha256_original.lower()) for row in rows]
    assert all(len(found) == 1 for found in sides(split, lowered, "sha256_original").values())


def test_rows_without_a_hash_are_not_taken_for_copies() -> None:
    split = shared_speaker_split([make_row(number, sha256_original="") for number in range(160)])
    assert all(parts(split).values())


def test_copies_with_the_same_audio_under_different_hashes_stand_on_one_side() -> None:
    rows = [make_row(number) for number in range(160)]
    audio = {row.path: f"audio {number // 2}" for number, row in enumerate(rows)}
    split = shared_speaker_split(rows, content_hashes=audio)
    part_of = {path: part for part, paths in parts(split).items() for path in paths}
    for first, second in zip(rows[::2], rows[1::2], strict=True):
        assert part_of[first.path] == part_of[second.path]


def test_speakers_who_share_a_copy_are_one_group_even_through_a_chain() -> None:
    rows = make_manifest()
    first_of = {row.speaker: index for index, row in reversed(list(enumerate(rows)))}
    a, b, c = (first_of[f"CREMA-D-{number}"] for number in (0, 1, 2))
    rows[b] = dataclasses.replace(rows[b], sha256_original=rows[a].sha256_original)
    audio = {rows[b + 1].path: "same", rows[c].path: "same"}
    for split in speaker_independent_splits(rows, content_hashes=audio):
        found = sides(split, rows, "speaker")
        assert found["CREMA-D-0"] == found["CREMA-D-1"] == found["CREMA-D-2"]
        assert len(found["CREMA-D-0"]) == 1


adversarial_rows = st.lists(
    st.tuples(
        st.sampled_from(["A", "B", "C"]),
        st.integers(0, 9),
        st.sampled_from(["female", "male", ""]),
        st.integers(0, 60),
        st.integers(0, 60),
        st.sampled_from(list(Emotion)),
    ),
    min_size=1,
    max_size=120,
)


@settings(max_examples=150, deadline=None)
@given(adversarial_rows, st.integers(0, 2**31))
def test_no_manifest_makes_a_split_leak(drawn, seed) -> None:
    rows = [
        make_row(
            number,
            corpus=corpus,
            speaker=f"{corpus}-{speaker}",
            sex=sex,
            sha256_original=f"{original}",
            emotion=emotion,
        )
        for number, (corpus, speaker, sex, original, _, emotion) in enumerate(drawn)
    ]
    audio = {row.path: str(values[4]) for row, values in zip(rows, drawn, strict=True)}
    splits = [shared_speaker_split(rows, seed=seed, content_hashes=audio)]
    try:
        folds = speaker_independent_splits(rows, seed=seed, content_hashes=audio)
    except SplitError:
        folds = ()
    for split in [*splits, *folds]:
        assert_each_row_stands_once(split, rows)
        assert all(len(found) == 1 for found in sides(split, rows, "sha256_original").values())
        part_of = {path: part for part, paths in parts(split).items() for path in paths}
        by_audio: dict[str, set[str]] = {}
        for path, digest in audio.items():
            by_audio.setdefault(digest, set()).add(part_of[path])
        assert all(len(found) == 1 for found in by_audio.values())
    for split in folds:
        assert all(len(found) == 1 for found in sides(split, rows, "speaker").values())


def test_too_few_speakers_for_the_folds_are_refused_with_their_number() -> None:
    rows = [make_row(number, speaker=f"A-{number % 3}") for number in range(30)]
    with pytest.raises(SplitError, match="3 groups of speakers do not fill 5 folds"):
        speaker_independent_splits(rows)


def test_empty_manifest_is_refused() -> None:
    with pytest.raises(SplitError, match="no rows"):
        shared_speaker_split([])


def test_fold_outside_the_range_is_refused() -> None:
    with pytest.raises(SplitError, match="no fold 6"):
        speaker_independent_split(make_manifest(), fold=6)


def test_split_written_is_the_split_read(tmp_path) -> None:
    split = speaker_independent_split(make_manifest(), fold=2)
    path = write_split(split, tmp_path)
    assert path.name == "speaker_independent_split_2_of_5.json"
    assert read_split(path) == split


def test_file_that_is_no_split_is_refused(tmp_path) -> None:
    (tmp_path / "x.json").write_text('{"name": "x"}')
    with pytest.raises(SplitError, match="is not a split"):
        read_split(tmp_path / "x.json")


@needs_corpora
def test_real_corpora_are_split_without_a_leak_and_in_balance() -> None:
    rows, problems = read_manifest(MANIFEST)
    assert not problems
    split = shared_speaker_split(rows)
    assert_each_row_stands_once(split, rows)
    assert 0.098 < len(split.test) / len(rows) < 0.102
    judged: list[str] = []
    for fold in speaker_independent_splits(rows):
        assert_each_row_stands_once(fold, rows)
        assert all(len(found) == 1 for found in sides(fold, rows, "speaker").values())
        speakers = Counter(
            corpus for corpus, _ in {(row.corpus, row.speaker) for row in rows if row.path in set(fold.test)}
        )
        assert speakers["RAVDESS"] == 4
        assert 15 <= speakers["CREMA-D"] <= 16
        assert speakers["TESS"] <= 1
        assert speakers["SAVEE"] <= 1
        judged += fold.test
    assert len(judged) == len(set(judged)) == len(rows)
