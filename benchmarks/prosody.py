"""How long prosody takes per second of audio.  python -m benchmarks.prosody"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import soundfile

from core.features.prosody import measure_prosody, prosody_contours
from core.features.waveform import Waveform

CLIP = Path(__file__).parents[1] / "tests" / "reference" / "prosody_low_calm.flac"
N_TIMES = 15


def main() -> None:
    """Process time, so that other programs on the machine count little: median and range of 15 runs."""
    samples, sample_rate = soundfile.read(CLIP, dtype="float32")
    for duration_s in (1, 5, 30):
        waveform = Waveform(samples=np.resize(samples, duration_s * sample_rate), sample_rate=sample_rate)
        for measure in (measure_prosody, prosody_contours):
            measure(waveform)
            times_ms = []
            for _ in range(N_TIMES):
                began = time.process_time()
                measure(waveform)
                times_ms.append((time.process_time() - began) * 1e3)
            print(
                f"{measure.__name__:17s} {duration_s:3d} s of speech: {np.median(times_ms):7.1f} ms "
                f"({min(times_ms):.1f} to {max(times_ms):.1f}), {np.median(times_ms) / duration_s:5.1f} ms per second"
            )


if __name__ == "__main__":
    main()
