"""Whether somebody speaks right now: for streams, whose loudest and quietest moments are not known yet.

A whole recording is judged against its own levels (`core.features.speech`); a stream that has only just begun has none.
Here WebRTC's detector decides, a Gaussian mixture over the energies of six bands, frame by frame.
"""

from __future__ import annotations

import numpy as np
import webrtcvad
from numpy.typing import NDArray

from core.features.waveform import TARGET_SAMPLE_RATE_HZ

FRAME_S = 0.02
_FRAME = round(FRAME_S * TARGET_SAMPLE_RATE_HZ)
_AGGRESSIVENESS = 2
"""Of 0 to 3. Mode 3 loses half of quiet speech (peaks near -30 dBFS), mode 1 nothing more than mode 2 keeps; both 2 and
1 take steady noise of -40 dBFS for silence (measured with espeak-ng speech, white and pink noise)."""


class VoiceActivity:
    """Speech flags of a stream, one for every 20 ms. Keeps its state from call to call; not thread safe."""

    def __init__(self) -> None:
        self._detector = webrtcvad.Vad(_AGGRESSIVENESS)
        self._rest = np.zeros(0, dtype="<i2")

    def push(self, samples: NDArray[np.float32]) -> list[bool]:
        """Flags of the frames that `samples`, float32 (n_samples,) at 16 kHz, completes."""
        whole = np.concatenate([self._rest, (np.clip(samples, -1, 1) * 32_767).astype("<i2")])
        n_frames = len(whole) // _FRAME
        self._rest = whole[n_frames * _FRAME :]
        frames = whole[: n_frames * _FRAME].reshape(n_frames, _FRAME)
        return [bool(self._detector.is_speech(frame.tobytes(), TARGET_SAMPLE_RATE_HZ)) for frame in frames]
