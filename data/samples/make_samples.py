"""Makes the sample recordings beside this file: `python data/samples/make_samples.py`. Needs espeak-ng.

The voices are synthetic. What differs is the prosody: pitch, its range, speed and loudness. They show what the
workbench does; they are no reference for how an emotion sounds.
"""

from __future__ import annotations

import io
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

FOLDER = Path(__file__).resolve().parent
SAMPLE_RATE_HZ = 22_050
"""espeak-ng's own."""
ROOM_DBFS = -62.0
"""Noise as in a quiet room, so that the pauses are not digital silence."""


@dataclass(frozen=True, slots=True)
class Utterance:
    """One stretch of one voice."""

    text: str
    voice: str = "en-us"
    speed: int = 165
    """Words per minute."""
    pitch: int = 50
    """0 to 99."""
    pitch_range: int = 50
    """0, a monotone, to 99."""
    peak_dbfs: float = -6.0
    pause_s: float = 0.0
    """Before the voice begins."""


SAMPLES: dict[str, list[Utterance]] = {
    "even.flac": [
        Utterance("The parcel arrived on Tuesday morning. I left it on the table next to the door."),
    ],
    "fast-high-lively.flac": [
        Utterance(
            "You will never guess who just called! They said yes, all of them, and we start on Monday!",
            voice="en-us+f3",
            speed=205,
            pitch=78,
            pitch_range=95,
            peak_dbfs=-3.0,
        ),
    ],
    "slow-low-flat.flac": [
        Utterance(
            "I waited all evening, and nobody came. I am going home.",
            voice="en-gb+m3",
            speed=110,
            pitch=22,
            pitch_range=18,
            peak_dbfs=-16.0,
        ),
    ],
    "loud-fast-low.flac": [
        Utterance(
            "I have told you three times now. Take it back! I will not pay for something that never worked!",
            voice="en-us+m7",
            speed=200,
            pitch=35,
            pitch_range=85,
            peak_dbfs=-1.0,
        ),
    ],
    "soft-calm.flac": [
        Utterance(
            "Breathe in slowly. There is nothing you need to do right now.",
            voice="en-gb+f2",
            speed=125,
            pitch=45,
            pitch_range=35,
            peak_dbfs=-14.0,
        ),
    ],
    "conversation.opus": [
        Utterance("Good afternoon, this is the service desk. How can I help you?", "en-gb+f2", 155, 48, 50, -8.0, 0.4),
        Utterance("Hello. I ordered a lamp two weeks ago, and it has not arrived.", "en-us+m3", 150, 40, 40, -9.0, 0.7),
        Utterance("It says here that it was delivered on Friday.", "en-gb+f2", 155, 48, 45, -8.0, 1.4),
        Utterance("Delivered? That cannot be! I was at home all day!", "en-us+m3", 200, 60, 95, -2.0, 0.3),
        Utterance("I understand. We send a new one today, free of charge.", "en-gb+f2", 135, 42, 35, -10.0, 0.7),
        Utterance("Oh! Well, that is very kind. Thank you so much!", "en-us+m3", 165, 55, 80, -6.0, 0.6),
    ],
}


def speak(utterance: Utterance) -> NDArray[np.float32]:
    """The utterance in espeak-ng's voice, float32 (n_samples,), at its peak level."""
    marked_up = f"<speak><prosody range='{2 * utterance.pitch_range}%'>{utterance.text}</prosody></speak>"
    command = ["espeak-ng", "--stdout", "-m", "-v", utterance.voice, "-s", str(utterance.speed)]
    command += ["-p", str(utterance.pitch), marked_up]
    spoken = subprocess.run(command, capture_output=True, check=True).stdout  # noqa: S603 - texts from this file
    samples, _ = soundfile.read(io.BytesIO(spoken), dtype="float32")
    return np.asarray(samples * (10 ** (utterance.peak_dbfs / 20) / np.abs(samples).max()), dtype=np.float32)


def compose(utterances: list[Utterance], *, seed: int) -> NDArray[np.float32]:
    """The utterances one after the other in a quiet room, float32 (n_samples,)."""
    parts = [np.zeros(int(0.15 * SAMPLE_RATE_HZ), np.float32)]
    for utterance in utterances:
        parts += [np.zeros(int(utterance.pause_s * SAMPLE_RATE_HZ), np.float32), speak(utterance)]
    sound = np.concatenate(parts)
    room = np.random.default_rng(seed).standard_normal(len(sound)) * 10 ** (ROOM_DBFS / 20)
    return np.clip(sound + room, -1, 1).astype(np.float32)


def main() -> None:
    """Write every sample."""
    for seed, (name, utterances) in enumerate(SAMPLES.items()):
        samples = compose(utterances, seed=seed)
        if name.endswith(".opus"):
            # Opus knows 48 kHz and four lower rates only
            soundfile.write(FOLDER / name, soxr.resample(samples, SAMPLE_RATE_HZ, 24_000), 24_000, "OPUS", format="OGG")
        else:
            soundfile.write(FOLDER / name, samples, SAMPLE_RATE_HZ, "PCM_16")


if __name__ == "__main__":
    main()
