from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from core.domain import Emotion
from tests.prosodies import voice
from training.corpora import ManifestRow
from training.prosody_references import alike, make_references
from training.prosody_sample import MeasuredRecording, SamplePlan, draw_sample

PLAN = SamplePlan(n_per_cell=4, n_by_corpus={"B": 6}, n_neutral=10)


def row(number: int, *, corpus: str = "A", speaker: int = 0, emotion: Emotion = Emotion.ANGRY, sex: str = "female"):
    return ManifestRow(
        path=f"{corpus}/{speaker}-{emotion}-{number}.wav",
        corpus=corpus,
        speaker=f"{corpus}-{speaker}",
        sex=sex,
        language="en",
        emotion=emotion,
        intensity="",
        statement="",
        duration_s=2.0,
        sha256_original=f"{corpus}{speaker}{emotion}{number}",
        licence="ODbL 1.0",
    )


ROWS = [
    row(number, corpus=corpus, speaker=speaker, emotion=emotion)
    for corpus in "AB"
    for emotion in (Emotion.NEUTRAL, Emotion.ANGRY)
    for speaker in range(2)
    for number in range(8)
]


def test_each_cell_gives_as_many_recordings_as_the_plan_says():
    counts = Counter((drawn.corpus, drawn.emotion) for drawn in draw_sample(ROWS, PLAN))
    assert counts == {
        ("A", Emotion.ANGRY): 4,
        ("A", Emotion.NEUTRAL): 10,
        ("B", Emotion.ANGRY): 6,
        ("B", Emotion.NEUTRAL): 10,
    }


def test_speakers_take_turns():
    drawn = [one for one in draw_sample(ROWS, PLAN) if (one.corpus, one.emotion) == ("A", Emotion.ANGRY)]
    assert Counter(one.speaker for one in drawn) == {"A-0": 2, "A-1": 2}


def test_order_of_the_manifest_does_not_matter():
    assert draw_sample(ROWS[::-1], PLAN) == draw_sample(ROWS, PLAN)


def test_larger_plan_holds_all_of_a_smaller_one():
    small = {one.path for one in draw_sample(ROWS, PLAN)}
    large = {one.path for one in draw_sample(ROWS, replace(PLAN, n_per_cell=7))}
    assert small < large


def measured(rows):
    return [
        MeasuredRecording(row=one, prosody=voice(pitch_median_hz=180.0 + 5 * (number % 9)))
        for number, one in enumerate(rows)
    ]


def test_all_emotions_alike_takes_as_many_of_each_as_the_rarest_has():
    rows = [one for number, one in enumerate(ROWS[:32]) if one.emotion is Emotion.NEUTRAL or number % 2]
    counts = Counter(one.row.emotion for one in alike(measured(rows)))
    assert counts == {Emotion.NEUTRAL: 8, Emotion.ANGRY: 8}


def test_references_come_by_corpus_and_sex_with_neutral_first_and_none_of_a_handful():
    rows = [
        row(number, speaker=speaker, emotion=emotion, sex=sex)
        for speaker, sex in enumerate(("female", "male"))
        for emotion in (Emotion.NEUTRAL, Emotion.ANGRY)
        for number in range(25)
    ] + [row(number, corpus="B", emotion=Emotion.NEUTRAL) for number in range(5)]
    references = make_references(measured(rows))
    assert [one.name for one in references] == [
        "neutral speech in A",
        "neutral speech of women in A",
        "neutral speech of men in A",
        "speech in A, all emotions alike",
        "speech of women in A, all emotions alike",
        "speech of men in A, all emotions alike",
    ]
    assert [one.n_recordings for one in references] == [50, 25, 25, 100, 50, 50]
    assert {one.licence for one in references} == {"ODbL 1.0"}
    assert references[0].statistics["pitch_median_hz"].standard_deviation == pytest.approx(0.065, abs=0.01)
