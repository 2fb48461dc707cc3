"""Predictions of several months, by which reports are checked: everything about them is known here."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from core.config import Settings
from core.domain import PROCESS, Emotion, Prediction, Recording, Source
from core.reports.report import Report, ReportFormat, ReportRequest
from core.reports.reports import Reports
from core.store.engine import open_store
from core.store.predictions import insert_predictions
from core.store.recordings import insert_recording
from tests.bundles import TINY
from tests.factories import make_prediction, make_recording
from tests.prepared_stores import prepared

NOW = datetime(2026, 4, 2, 12, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")
EVIL = "=1+cmd|'/C calc'!A0<b>&.wav"
NAMES = ("Größe, Ω и Ж.wav", "声の録音.wav", EVIL, "plain.wav")


@pytest.fixture
def store(tmp_path):
    with open_store(prepared(tmp_path) / "store.duckdb") as opened:
        yield opened


@pytest.fixture
def filled(store) -> list[tuple[Recording, Prediction]]:
    """120 predictions about four recordings, some each day, across the change to summer time."""
    recordings = [insert_recording(store, recording=make_recording(name=name)) for name in NAMES]
    emotions = [Emotion.SAD, Emotion.CALM, Emotion.SAD, Emotion.ANGRY, Emotion.HAPPY]
    made = []
    for n in range(120):
        recording = recordings[n % 4]
        prediction = make_prediction(
            recording,
            emotion=emotions[n % 5],
            confidence=0.3 + (n % 7) / 10,
            model_version="tiny-0" if n % 3 else "other-1",
            source=Source.API if n % 2 else Source.UPLOAD,
            duration_s=1.5 + n % 4,
        )
        made.append((recording, replace(prediction, created_at=NOW - timedelta(hours=7 * n, minutes=n + 1))))
    insert_predictions(store, predictions=[prediction for _, prediction in made])
    return made


@pytest.fixture
def reports(store) -> Reports:
    return Reports(Settings(models_dir=TINY.parent), store, now=lambda: NOW)


@pytest.fixture
def written(reports):
    """Assembles a report and writes it; gives both."""

    def write(format: ReportFormat, *, reader=PROCESS, **asked) -> tuple[Report, io.BytesIO]:
        request = ReportRequest(**({"title": "Calls", "zone": BERLIN} | asked))
        report = reports.assemble(request, reader=reader)
        file = io.BytesIO()
        reports.write(report, format, file, reader=reader)
        file.seek(0)
        return report, file

    return write
