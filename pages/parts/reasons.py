"""What explanations are made of, each computed once: begun in the recogniser's threads, shared by all sessions, kept
within bounds. Whoever needs one waits for it with `session.progress`; a later run of the page has it at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import streamlit as st

from core.domain import Label, ModelCard, Recording
from core.errands import Errand, Progress
from core.errors import ModelError
from core.explaining import Voice, look_at_voice, measure_recording
from core.features.prosody import Prosody
from core.features.prosody_reference import ProsodyReference, read_references
from core.inference.attribution import Attribution, Stretch
from core.inference.registry import find_model
from core.inference.surrogate import (
    GlobalAttribution,
    ProsodyAttribution,
    Surrogate,
    explain_many,
    explain_prosody,
    open_surrogate,
)
from core.usage import Call
from core.workbench import Workbench
from pages.parts import session


def _is_usable(errand: Errand[Any]) -> bool:
    return not errand.has_failed


def attribution(
    workbench: Workbench,
    recording: Recording,
    card: ModelCard,
    *,
    emotion: Label,
    contrast: Label | None,
    start_s: float | None,
    call: Call | None = None,
) -> Attribution:
    """Which regions of a recording spoke for `emotion`, by the model with this card. Its `log_mel` is left out.

    `call` is for what is made outside a run of a page, such as a download: only a run knows who asks, and only a run
    can draw how far it is.
    """
    errand = _attribution(
        workbench,
        recording.sha256,
        card.name,
        card.version,
        emotion,
        contrast,
        start_s,
        workbench.settings.seed,
        call or session.call("/explain"),
    )
    if call is not None:
        return errand.wait(_tell_nobody)
    with session.progress() as tell:
        return errand.wait(tell)


def _tell_nobody(_share: float, _doing: str) -> None:
    """The progress of what is made for a download: the browser shows that one itself."""


@st.cache_resource(max_entries=64, show_spinner=False, validate=_is_usable)
def _attribution(
    _workbench: Workbench,
    sha256: str,
    model: str,
    version: str,
    emotion: Label,
    contrast: Label | None,
    start_s: float | None,
    seed: int,
    _call: Call,
) -> Errand[Attribution]:
    def job(tell: Progress) -> Attribution:
        with _workbench.serving(_call) as use:
            found = _workbench.explain(
                _workbench.recording_files.read(sha256),
                emotion=emotion,
                contrast=contrast,
                model=model,
                seed=seed,
                start_s=start_s,
                progress=tell,
            )
            use.add_attribution(found)
        return replace(found, log_mel=found.log_mel[:0].copy())  # of ten minutes it would be 19 MB

    return Errand(_workbench.executor, job)


def voice(workbench: Workbench, recording: Recording, window: Stretch) -> Voice:
    """One stretch of a recording, seen and measured."""
    errand = _voice(workbench, recording.sha256, window.start_s, window.end_s)
    with session.progress() as tell:
        return errand.wait(tell)


@st.cache_resource(max_entries=64, show_spinner=False, validate=_is_usable)
def _voice(_workbench: Workbench, sha256: str, start_s: float, end_s: float) -> Errand[Voice]:
    return Errand(
        _workbench.executor,
        lambda tell: look_at_voice(
            _workbench,
            _workbench.recording_files.read(sha256),
            window=Stretch(start_s=start_s, end_s=end_s),
            n_columns=session.SCREEN_COLUMNS,
            progress=tell,
        ),
    )


def prosodies(workbench: Workbench, hashes: Sequence[str]) -> list[Prosody]:
    """The speech in each of these recordings, measured; those whose sound is no longer kept are left out."""
    kept = [sha256 for sha256 in dict.fromkeys(hashes) if workbench.recording_files.exists(sha256)]
    measured = []
    with session.progress() as tell:
        for number, sha256 in enumerate(kept):
            tell_of_all = partial(_tell_of_all, tell, number, len(kept))
            measured.append(_prosody(workbench, sha256).wait(tell_of_all))
    return measured


def _tell_of_all(tell: Progress, n_done: int, n_all: int, share: float, _doing: str) -> None:
    tell((n_done + share) / n_all, f"Measuring recording {n_done + 1} of {n_all}")


@st.cache_resource(max_entries=512, show_spinner=False, validate=_is_usable)
def _prosody(_workbench: Workbench, sha256: str) -> Errand[Prosody]:
    return Errand(
        _workbench.executor,
        lambda tell: measure_recording(_workbench, _workbench.recording_files.read(sha256), progress=tell),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SurrogateOrNot:
    """A model's surrogate, or the sentence that says why there is none."""

    surrogate: Surrogate | None
    sentence: str = ""


def surrogate(workbench: Workbench, card: ModelCard) -> SurrogateOrNot:
    """The surrogate of the model with this card."""
    try:
        return SurrogateOrNot(surrogate=_surrogate(*session.model_folders(workbench), card.name, card.version))
    except ModelError as error:
        return SurrogateOrNot(surrogate=None, sentence=str(error))


@st.cache_resource(max_entries=3, show_spinner=False)
def _surrogate(models_dir: str, installed_dir: str, model: str, version: str) -> Surrogate:
    return open_surrogate(find_model(Path(models_dir), model, installed_dir=Path(installed_dir)))


def prosody_attribution(
    workbench: Workbench,
    found: Surrogate,
    seen: Voice,
    *,
    sha256: str,
    emotion: Label,
    contrast: Label | None,
    model_probabilities: Mapping[Label, float],
) -> ProsodyAttribution:
    """What moved the surrogate's answer."""
    errand = _prosody_attribution(
        workbench,
        found,
        found.model_version,
        seen,
        sha256,
        seen.window.start_s,
        seen.window.end_s,
        emotion,
        contrast,
        dict(model_probabilities),
    )
    with session.progress() as tell:
        return errand.wait(tell)


@st.cache_resource(max_entries=128, show_spinner=False, validate=_is_usable)
def _prosody_attribution(
    _workbench: Workbench,
    _surrogate: Surrogate,
    version: str,
    _seen: Voice,
    sha256: str,
    start_s: float,
    end_s: float,
    emotion: Label,
    contrast: Label | None,
    model_probabilities: dict[Label, float],
) -> Errand[ProsodyAttribution]:
    def job(tell: Progress) -> ProsodyAttribution:
        tell(0.1, "Explaining by acoustic features")
        return explain_prosody(
            _surrogate, _seen.prosody, emotion=emotion, contrast=contrast, model_probabilities=model_probabilities
        )

    return Errand(_workbench.executor, job)


def attributions_of_many(workbench: Workbench, found: Surrogate, hashes: Sequence[str]) -> GlobalAttribution | None:
    """What moves the surrogate over these recordings; None where the sound of none of them is kept."""
    measured = prosodies(workbench, hashes)
    if not measured:
        return None
    errand = _attributions_of_many(workbench, found, found.model_version, measured, tuple(hashes))
    with session.progress() as tell:
        return errand.wait(tell)


@st.cache_resource(max_entries=8, show_spinner=False, validate=_is_usable)
def _attributions_of_many(
    _workbench: Workbench,
    _surrogate: Surrogate,
    version: str,
    _measured: Sequence[Prosody],
    hashes: tuple[str, ...],
) -> Errand[GlobalAttribution]:
    def job(tell: Progress) -> GlobalAttribution:
        tell(0.1, "Explaining by acoustic features")
        return explain_many(_surrogate, _measured)

    return Errand(_workbench.executor, job)


@st.cache_resource(max_entries=1, show_spinner=False)
def references() -> list[ProsodyReference]:
    """The voices of research corpora to compare with."""
    return read_references()
