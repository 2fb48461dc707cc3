"""The address of Explore: what it says comes back, and nonsense in it restricts nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as some

from core.domain import Emotion, Source
from core.store.predictions import EVERYTHING, PredictionFilter, PredictionOrder
from pages.parts.address import filter_of, order_of, parameters_of, prediction_of

minutes = some.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)).map(
    lambda moment: moment.replace(second=0, microsecond=0, tzinfo=UTC)
)
percent = some.integers(1, 99).map(lambda whole: whole / 100)
nats = some.integers(1, 207).map(lambda whole: whole / 100)
filters = some.builds(
    PredictionFilter,
    emotions=some.lists(some.sampled_from(Emotion), unique=True).map(tuple),
    sources=some.lists(some.sampled_from(Source), unique=True).map(tuple),
    model_versions=some.lists(some.text("abc-0123456789", min_size=1), unique=True).map(tuple),
    recording_name=some.text().map(str.strip),
    abstained=some.sampled_from([None, True, False]),
    min_confidence=some.none() | percent,
    min_entropy_nats=some.none() | nats,
    created_from=some.none() | minutes,
    created_before=some.none() | minutes,
)
texts = some.dictionaries(
    some.sampled_from(["emotion", "source", "confidence", "uncertainty", "from", "until", "verdict", "order", "name"]),
    some.lists(some.text() | some.from_regex(r"\d{1,5}(\.\d)?-\d{1,5}", fullmatch=True), max_size=3),
)


@given(filters)
def test_what_is_said_comes_back(chosen):
    assert filter_of(parameters_of(chosen)) == chosen


def test_everything_is_an_empty_address():
    assert parameters_of(EVERYTHING) == {}
    assert filter_of({}) == EVERYTHING


@given(texts)
def test_nonsense_is_never_an_error_and_settles(parameters):
    once = filter_of(parameters)
    assert filter_of(parameters_of(once)) == once
    assert order_of(parameters) in PredictionOrder


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("emotion", "j" * 41),
        ("source", "telepathy"),
        ("verdict", "maybe"),
        ("confidence", "50"),
        ("confidence", "a-b"),
        ("confidence", "0-100"),
        ("uncertainty", "0.00-2.10"),
        ("from", "2026-02-30T10:00Z"),
        ("from", "2026-02-03T10:00"),
        ("until", "yesterday"),
    ],
)
def test_what_makes_no_sense_restricts_nothing(name, value):
    assert filter_of({name: [value]}) == EVERYTHING


def test_ranges_widen_to_whole_steps():
    chosen = PredictionFilter(
        min_confidence=0.504, max_confidence=0.803, min_entropy_nats=0.123, max_entropy_nats=1.001
    )
    assert parameters_of(chosen) == {"confidence": ["50-81"], "uncertainty": ["0.12-1.01"]}


def test_an_inverted_range_is_turned_round():
    assert filter_of({"confidence": ["80-50"]}) == PredictionFilter(min_confidence=0.5, max_confidence=0.8)


def test_times_are_utc():
    moment = datetime(2026, 11, 22, 13, 5, tzinfo=UTC)
    assert parameters_of(PredictionFilter(created_from=moment)) == {"from": ["2026-11-22T13:05Z"]}


def test_order_and_open_prediction_are_read():
    some_id = UUID("01a205a1-db03-7b0c-ae1f-75c8a131a10d")
    assert order_of({"order": ["least_confident"]}) is PredictionOrder.LEAST_CONFIDENT
    assert order_of({"order": ["random"]}) is PredictionOrder.NEWEST
    assert prediction_of({"prediction": [str(some_id)]}) == some_id
    assert prediction_of({"prediction": ["'; DROP TABLE predictions"]}) is None
    assert prediction_of({}) is None
