"""Clips of somebody's own for tests: two moods that differ in pitch, said by a few speakers."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator

from core.features.clip_stream import LabelledClip
from core.features.waveform import Waveform
from tests.sounds import SAMPLE_RATE_HZ, voice, voice_wav

PITCHES_HZ = {"bored": 90.0, "excited": 260.0}


def own_clips(n_each: int = 8, *, n_speakers: int = 4) -> Iterator[LabelledClip]:
    """`n_each` clips of each mood."""
    for number in range(n_each):
        for label, pitch_hz in PITCHES_HZ.items():
            samples = voice(seconds=0.5, pitch_hz=pitch_hz + 5 * number)
            yield LabelledClip(
                name=f"{label}/{number}.wav",
                label=label,
                speaker=f"s{number % n_speakers}",
                waveform=Waveform(samples=samples, sample_rate=SAMPLE_RATE_HZ),
            )


def own_zip(n_each: int = 8, *, extra: dict[str, bytes] | None = None) -> bytes:
    """The same clips as a ZIP of folders, `SPEAKER/LABEL/file`, with further files."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(n_each):
            for label, pitch_hz in PITCHES_HZ.items():
                sound = voice_wav(seconds=0.5, pitch_hz=pitch_hz + 5 * number)
                archive.writestr(zipfile.ZipInfo(f"set/s{number % 4}/{label}/{number}.wav"), sound)
        for name, data in (extra or {}).items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return file.getvalue()
