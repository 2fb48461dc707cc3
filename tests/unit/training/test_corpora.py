"""Manifests and published file names."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
import soundfile

from core.domain import Emotion
from training.corpora import (
    COLUMNS,
    ManifestRow,
    content_sha256,
    index_folder,
    manifest_sha256,
    read_manifest,
    write_manifest,
)
from training.corpus_names import NamedRecording, recognise_name
from training.errors import ManifestError

CORPORA = Path(__file__).resolve().parents[4] / "shared" / "corpora"
needs_corpora = pytest.mark.skipif(not CORPORA.exists(), reason="the corpora do not stand at ../shared/corpora")

ROW = ManifestRow(
    path="TESS/OAF_back_angry.wav",
    corpus="TESS",
    speaker="TESS-OAF",
    sex="female",
    language="en",
    emotion=Emotion.ANGRY,
    intensity="",
    statement="back",
    duration_s=1.539,
    sha256_original="ab" * 32,
    licence="CC BY-NC-ND 4.0",
)


def write_rows(path: Path, *changes: dict[str, str]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for number, change in enumerate(changes):
            record = {column: str(getattr(ROW, column)) for column in COLUMNS}
            writer.writerow(record | {"path": f"{number}.wav"} | change)
    return path


def write_noise(path: Path, *, seed: int, duration_s: float = 0.1, sample_rate: int = 16_000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).uniform(-0.1, 0.1, int(duration_s * sample_rate))
    soundfile.write(path, noise, sample_rate)
    return path


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (
            "Actor_12/03-01-08-02-01-02-12.wav",
            ("RAVDESS", "RAVDESS-12", "female", "en", Emotion.SURPRISED, "strong", "s01r02", "CC BY-NC-SA 4.0"),
        ),
        (
            "03-01-02-01-02-01-07.wav",
            ("RAVDESS", "RAVDESS-07", "male", "en", Emotion.CALM, "normal", "s02r01", "CC BY-NC-SA 4.0"),
        ),
        (
            "AudioWAV/1091_WSI_SAD_XX.wav",
            ("CREMA-D", "CREMA-D-1091", "female", "en", Emotion.SAD, "XX", "WSI", "ODbL 1.0"),
        ),
        ("1040_ITH_SAD_X.wav", ("CREMA-D", "CREMA-D-1040", "male", "en", Emotion.SAD, "XX", "ITH", "ODbL 1.0")),
        (
            "TESS/YAF_youth_ps.wav",
            ("TESS", "TESS-YAF", "female", "en", Emotion.SURPRISED, "", "youth", "CC BY-NC-ND 4.0"),
        ),
        (
            "OAF_neutral/OA_bite_neutral.wav",
            ("TESS", "TESS-OAF", "female", "en", Emotion.NEUTRAL, "", "bite", "CC BY-NC-ND 4.0"),
        ),
        ("AudioData/JE/su15.wav", ("SAVEE", "SAVEE-JE", "male", "en", Emotion.SURPRISED, "", "su15", "research only")),
        ("KL_sa03.wav", ("SAVEE", "SAVEE-KL", "male", "en", Emotion.SAD, "", "sa03", "research only")),
        (
            "samples/SM0_happiness_14.wav",
            ("nEMO", "nEMO-SM0", "", "pl", Emotion.HAPPY, "", "14", "CC BY-NC-SA 4.0"),
        ),
    ],
)
def test_published_name_says_what_its_publisher_says(path, expected) -> None:
    found = recognise_name(PurePosixPath(path))
    assert isinstance(found, NamedRecording)
    assert tuple(getattr(found, field) for field in NamedRecording.__slots__) == expected


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("03-02-03-01-01-01-02.wav", "song"),
        ("01-01-03-01-01-01-02.wav", "video"),
        ("03-01-03-01-01-01-00.wav", "actors 01 to 24"),
        ("1092_WSI_SAD_XX.wav", "actors 1001 to 1091"),
        ("03-01-09-01-01-01-02.wav", "no known corpus"),
        ("XX/a01.wav", "no known corpus"),
        ("a01.wav", "no known corpus"),
        ("1001_DFA_CAL_XX.wav", "no known corpus"),
        ("holiday.mp3", "no known corpus"),
    ],
)
def test_name_of_nothing_usable_says_why(path, reason) -> None:
    found = recognise_name(PurePosixPath(path))
    assert isinstance(found, str)
    assert reason in found


def test_crema_d_has_forty_three_women_and_forty_eight_men() -> None:
    sexes = [
        found.sex
        for actor in range(1001, 1092)
        if isinstance(found := recognise_name(PurePosixPath(f"{actor}_DFA_ANG_XX.wav")), NamedRecording)
    ]
    assert (sexes.count("female"), sexes.count("male")) == (43, 48)


def test_index_of_a_folder_holds_every_corpus_with_durations_and_hashes(tmp_path) -> None:
    names = [
        "RAVDESS/Actor_01/03-01-05-01-01-01-01.wav",
        "CREMA-D/AudioWAV/1001_DFA_ANG_XX.wav",
        "TESS/OAF_back_angry.wav",
        "SAVEE/DC/a01.wav",
        "nEMO/EB0_anger_1.flac",
    ]
    for seed, name in enumerate(names):
        write_noise(tmp_path / name, seed=seed, duration_s=0.1 * (seed + 1))
    (tmp_path / "README.txt").write_text("not audio")
    rows, problems = index_folder(tmp_path)
    assert not problems
    assert [row.path for row in rows] == sorted(names)
    assert {row.corpus for row in rows} == {"RAVDESS", "CREMA-D", "TESS", "SAVEE", "nEMO"}
    assert {row.emotion for row in rows} == {Emotion.ANGRY}
    by_corpus = {row.corpus: row for row in rows}
    assert by_corpus["TESS"].duration_s == pytest.approx(0.3)
    assert by_corpus["TESS"].sha256_original == hashlib.sha256((tmp_path / names[2]).read_bytes()).hexdigest()


def test_file_that_cannot_be_used_is_named_and_loses_no_other(tmp_path) -> None:
    write_noise(tmp_path / "1001_DFA_ANG_XX.wav", seed=0)
    (tmp_path / "1001_DFA_SAD_XX.wav").write_bytes(b"")
    (tmp_path / "1001_DFA_HAP_XX.wav").write_bytes(b"RIFF, or so it says")
    soundfile.write(tmp_path / "1001_DFA_FEA_XX.wav", np.zeros(0), 16_000)
    soundfile.write(tmp_path / "1001_DFA_DIS_XX.wav", np.zeros(1600), 16_000)
    write_noise(tmp_path / "holiday.wav", seed=1)
    rows, problems = index_folder(tmp_path)
    assert [row.path for row in rows] == ["1001_DFA_ANG_XX.wav"]
    reasons = {problem.path: problem.reason for problem in problems}
    assert "cannot be read" in reasons["1001_DFA_SAD_XX.wav"]
    assert "cannot be read" in reasons["1001_DFA_HAP_XX.wav"]
    assert reasons["1001_DFA_FEA_XX.wav"] == "holds no samples"
    assert reasons["1001_DFA_DIS_XX.wav"] == "is digital silence"
    assert "no known corpus" in reasons["holiday.wav"]


def test_copies_with_contradicting_labels_are_all_left_out_and_plain_copies_kept_once(tmp_path) -> None:
    for name in ("1001_DFA_ANG_XX.wav", "1001_DFA_SAD_XX.wav"):
        write_noise(tmp_path / name, seed=0)
    for name in ("03-01-05-01-01-01-07.wav", "03-01-05-01-01-02-07.wav"):
        write_noise(tmp_path / name, seed=1)
    rows, problems = index_folder(tmp_path)
    assert [row.path for row in rows] == ["03-01-05-01-01-01-07.wav"]
    reasons = {problem.path: problem.reason for problem in problems}
    assert reasons["03-01-05-01-01-02-07.wav"] == "is a copy of 03-01-05-01-01-01-07.wav"
    assert "contradicts" in reasons["1001_DFA_ANG_XX.wav"]
    assert "contradicts" in reasons["1001_DFA_SAD_XX.wav"]


def test_manifest_written_is_the_manifest_read(tmp_path) -> None:
    write_manifest(tmp_path / "manifest.csv", [ROW])
    assert read_manifest(tmp_path / "manifest.csv") == ([ROW], [])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"emotion": "bored"}, "emotion is 'bored'"),
        ({"emotion": ""}, "emotion is ''"),
        ({"duration_s": "long"}, "duration_s is 'long'"),
        ({"duration_s": "nan"}, "duration_s is 'nan'"),
        ({"duration_s": "-1"}, "duration_s is '-1'"),
        ({"speaker": " "}, "speaker is empty"),
        ({"path": "0.wav"}, "same path"),
    ],
)
def test_row_that_cannot_be_used_is_named_with_its_line_and_loses_no_other(tmp_path, change, reason) -> None:
    rows, problems = read_manifest(write_rows(tmp_path / "m.csv", {}, change, {}))
    assert [row.path for row in rows] == ["0.wav", "2.wav"]
    assert len(problems) == 1
    assert problems[0].reason.startswith("line 3: ")
    assert reason in problems[0].reason


def test_row_with_too_few_values_is_a_problem(tmp_path) -> None:
    path = write_rows(tmp_path / "m.csv", {})
    path.write_text(path.read_text() + "1.wav,TESS\n")
    rows, problems = read_manifest(path)
    assert len(rows) == 1
    assert "11 values" in problems[0].reason


def test_manifest_without_a_column_is_refused_with_its_name(tmp_path) -> None:
    (tmp_path / "m.csv").write_text("path,corpus\na.wav,TESS\n")
    with pytest.raises(ManifestError, match="columns are missing: speaker"):
        read_manifest(tmp_path / "m.csv")


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00 binary"])
def test_file_that_is_no_manifest_is_refused(tmp_path, content) -> None:
    (tmp_path / "m.csv").write_bytes(content)
    with pytest.raises(ManifestError):
        read_manifest(tmp_path / "m.csv")


def test_manifest_that_is_not_there_is_refused(tmp_path) -> None:
    with pytest.raises(ManifestError, match="No such file"):
        read_manifest(tmp_path / "m.csv")


def test_hash_of_a_manifest_does_not_depend_on_the_order_of_its_rows() -> None:
    other = ManifestRow(**{field: getattr(ROW, field) for field in ManifestRow.__slots__} | {"path": "b.wav"})
    assert manifest_sha256([ROW, other]) == manifest_sha256([other, ROW])
    assert manifest_sha256([ROW, other]) != manifest_sha256([ROW])


def test_same_sound_in_other_tags_has_the_same_content_hash(tmp_path) -> None:
    plain = write_noise(tmp_path / "a.wav", seed=0)
    samples, sample_rate = soundfile.read(plain)
    with soundfile.SoundFile(tmp_path / "b.wav", "w", sample_rate, 1) as tagged:
        tagged.title = "a title"
        tagged.write(samples)
    other = write_noise(tmp_path / "c.wav", seed=1)
    assert plain.read_bytes() != (tmp_path / "b.wav").read_bytes()
    assert content_sha256(plain) == content_sha256(tmp_path / "b.wav")
    assert content_sha256(plain) != content_sha256(other)


@needs_corpora
def test_names_of_the_real_corpora_say_what_their_manifest_says() -> None:
    rows, problems = read_manifest(CORPORA / "manifest.csv")
    assert not problems
    for row in rows:
        named = recognise_name(PurePosixPath(row.path))
        assert isinstance(named, NamedRecording)
        assert all(getattr(named, field) == getattr(row, field) for field in NamedRecording.__slots__), row.path


@needs_corpora
def test_index_of_real_recordings_is_their_manifest_row_by_row(tmp_path) -> None:
    rows, _ = read_manifest(CORPORA / "manifest.csv")
    expected = {row.path: row for row in rows[::100]}
    for path in expected:
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).symlink_to(CORPORA / path)
    found, problems = index_folder(tmp_path)
    assert not problems
    assert {row.path for row in found} == set(expected)
    for row in found:
        published = expected[row.path]
        assert row.duration_s == pytest.approx(published.duration_s, abs=0.0011)
        # The hash is that of the compressed copy, so everything else is compared.
        for column in set(COLUMNS) - {"duration_s", "sha256_original"}:
            assert getattr(row, column) == getattr(published, column)
