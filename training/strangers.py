"""How much of a model's accuracy noise costs on strangers: speakers that encoder and head have never heard from us.

`python -m training evaluate --robustness` measures the model that ships, which has learnt from every recording here, so
that its answers to undisturbed ones come from memory and the loss looks larger than a stranger's.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from zlib import crc32

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from core.config import Settings
from core.features.audio import decode
from core.features.waveform import DecodeLimits, Waveform
from training.cache import Recordings, padded_log_mels, trimmed
from training.disturbances import CLEAN, DISTURBANCES, Disturbance
from training.heads import HeadPlan, pool
from training.judge import FittedHead, answer, emotion_numbers
from training.progress import Progress
from training.splits import Split
from training.whisper import Encoder, frame_mask

CORPORA = ("RAVDESS", "CREMA-D")
"""Those with speakers enough to draw from."""
N_RECORDINGS = 200
_N_VOICES = 24
_BATCH = 16


def accuracy_of_strangers(
    encoder: Encoder,
    heads: Sequence[tuple[Split, FittedHead]],
    recordings: Recordings,
    *,
    plan: HeadPlan,
    audio: Path,
    n_recordings: int = N_RECORDINGS,
    seed: int = 0,
) -> dict[str, float]:
    """Accuracy by disturbance, "clean" first, on recordings drawn alike from the test parts of some folds.

    The voices of babble are drawn from the same recordings, over all of these folds.

    Parameters
    ----------
    encoder
        Has heard none of the speakers in these test parts from us.
    heads
        Folds, each with the head of its training part.
    audio
        Folder that the manifest's paths begin in: whole files are disturbed, then trimmed as they are in serving.
    """
    encode = tf.function(
        lambda mels, mask: pool(encoder(mels, mask), frame_mask(mask)),
        input_signature=[tf.TensorSpec([None, None, 80]), tf.TensorSpec([None, None])],
    )
    limits = DecodeLimits.from_settings(Settings())
    generator = np.random.default_rng([seed, 1])
    samples = []
    for split, head in heads:
        inside = [index for index in recordings.indices(split.test) if recordings.rows[index].corpus in CORPORA]
        n_drawn = min(len(inside), n_recordings // len(heads))
        samples.append((np.sort(generator.choice(inside, size=n_drawn, replace=False)), head))
    everyone = np.concatenate([chosen for chosen, _ in samples])
    talkers = generator.choice(everyone, size=min(_N_VOICES, len(everyone)), replace=False)
    voices = [(recordings.rows[index].speaker, recordings.waveform(int(index)).samples) for index in talkers]
    emotions = emotion_numbers(recordings)

    def disturbed(index: int, disturbance: Disturbance) -> Waveform:
        row = recordings.rows[index]
        others = [voice for speaker, voice in voices if speaker != row.speaker]
        chance = np.random.default_rng([seed, crc32(disturbance.name.encode()), crc32(row.path.encode())])
        whole = decode((audio / row.path).read_bytes(), limits=limits).waveform
        return trimmed(decode(disturbance.disturb(whole, others, chance), limits=limits).waveform)

    found: dict[str, float] = {}
    with Progress("strangers", len(everyone) * (1 + len(DISTURBANCES))) as progress:
        for disturbance in (CLEAN, *DISTURBANCES):
            n_right = 0
            for chosen, head in samples:
                embeddings: list[NDArray[np.float32]] = []
                for start in range(0, len(chosen), _BATCH):
                    waveforms = [disturbed(int(index), disturbance) for index in chosen[start : start + _BATCH]]
                    mels, mask = padded_log_mels(waveforms)
                    embeddings.extend(encode(tf.constant(mels), tf.constant(mask)).numpy())
                    progress.advance(len(waveforms))
                answers = answer(head, np.stack(embeddings), np.arange(len(chosen)), plan)
                n_right += int((answers.probabilities.argmax(axis=1) == emotions[chosen]).sum())
            found[disturbance.name] = n_right / len(everyone)
    return found


def in_words(accuracies: dict[str, float], *, n_recordings: int = N_RECORDINGS, is_encoder_frozen: bool = False) -> str:
    """The sentence of a card; of a frozen encoder nobody here knows what it heard before.

    Examples
    --------
    >>> in_words({"clean": 0.6, "babble 10 dB": 0.42, "shift +100 ms": 0.61}, n_recordings=10).split(", ")[-1]
    'points of accuracy lost: babble 10 dB 18.0; shift +100 ms -1.0.'
    """
    clean = accuracies["clean"]
    losses = [f"{name} {100 * (clean - found) + 0.0:.1f}" for name, found in accuracies.items() if name != "clean"]
    unknown = "the head (the encoder is frozen)" if is_encoder_frozen else "encoder and head"
    return (
        f"On {n_recordings} {' and '.join(CORPORA)} recordings of speakers unknown to {unknown}, "
        f"{100 * clean:.1f} % right undisturbed, points of accuracy lost: {'; '.join(losses)}."
    )
