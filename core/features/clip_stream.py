"""Decoded clips from one process to another through a pipe: no sound is written to a disk on its way.

For each clip one line of JSON, then its samples as int16. An empty line ends the stream: without one it was cut off.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from core.features.waveform import Waveform

_SCALE = 32767.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledClip:
    """One clip to learn from."""

    name: str
    label: str
    speaker: str
    """Empty where nobody says."""
    waveform: Waveform


def write_clip(stream: BinaryIO, clip: LabelledClip) -> None:
    """Write one clip."""
    samples = np.round(np.clip(clip.waveform.samples, -1, 1) * _SCALE).astype("<i2").tobytes()
    head = {
        "name": clip.name,
        "label": clip.label,
        "speaker": clip.speaker,
        "sample_rate": clip.waveform.sample_rate,
        "n_bytes": len(samples),
    }
    stream.write(json.dumps(head).encode() + b"\n" + samples)


def end_clips(stream: BinaryIO) -> None:
    """Say that no more clips come."""
    stream.write(b"\n")
    stream.flush()


def read_clips(stream: BinaryIO) -> Iterator[LabelledClip]:
    """The clips of a stream, one at a time. Raises EOFError where it was cut off."""
    while (line := stream.readline()) != b"\n":
        if not line.endswith(b"\n"):
            raise EOFError("the stream of clips was cut off")
        head = json.loads(line)
        data = stream.read(head["n_bytes"])
        if len(data) < head["n_bytes"]:
            raise EOFError("the stream of clips was cut off")
        samples = np.frombuffer(data, "<i2").astype(np.float32) / np.float32(_SCALE)
        yield LabelledClip(
            name=head["name"],
            label=head["label"],
            speaker=head["speaker"],
            waveform=Waveform(samples=samples, sample_rate=head["sample_rate"]),
        )
