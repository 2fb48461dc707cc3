"""The reasons of one answer as parts of its report: regions, why not the runner-up, the voice, the surrogate."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from core.errors import TelepathyError
from core.features.prosody_reference import Deviation
from core.inference.attribution import Attribution
from core.inference.surrogate import ProsodyAttribution, describe_attribution
from core.reports.analysis import Part
from core.usage import Call
from core.workbench import Workbench
from pages.parts import attribution_document, reasons, report_document, session, voice_features
from pages.parts.explanation import Case, Regions


def offer(
    workbench: Workbench,
    case: Case,
    found: Regions,
    deviations: Sequence[Deviation],
    surrogate: ProsodyAttribution | None,
) -> None:
    """The button that downloads the report with all that this page found out."""

    call = session.call("/explain")

    def explain() -> list[Part]:
        return parts(found, deviations, surrogate, contrast=lambda: against_runner_up(workbench, case, found, call))

    report_document.offer(
        workbench,
        case.recording,
        case.prediction,
        key="explain_report",
        explain=explain if found.attribution is not None else None,
    )


def against_runner_up(workbench: Workbench, case: Case, found: Regions, call: Call) -> Attribution:
    """Why not the runner-up, on behalf of `call`; asked once, for page and report alike."""
    assert found.attribution is not None
    assert case.card is not None
    return reasons.attribution(
        workbench,
        case.recording,
        case.card,
        emotion=found.attribution.emotion,
        contrast=found.attribution.runner_up,
        start_s=case.asked.start_s,
        call=call,
    )


def parts(
    found: Regions,
    deviations: Sequence[Deviation],
    surrogate: ProsodyAttribution | None,
    *,
    contrast: Callable[[], Attribution],
) -> list[Part]:
    """What is known of the reasons; `contrast` is asked for where the page itself shows no contrast."""
    if found.attribution is None or found.voice is None:
        return []
    told = [attribution_document.regions_part(found.attribution, found.voice, has_plotly=False)]
    if found.attribution.contrast is None:
        told.append(_contrast(contrast))
    if deviations:
        told.append(_voice(deviations))
    if surrogate is not None:
        told.append(_stand_in(surrogate))
    return told


def _contrast(contrast: Callable[[], Attribution]) -> Part:
    """Why not the runner-up; a sentence where the model cannot be asked now."""
    try:
        return attribution_document.contrast_part(contrast())
    except TelepathyError as error:
        return Part(title="Why not the runner-up?", sentences=(f"This could not be found out now. {error}",))


def _voice(deviations: Sequence[Deviation]) -> Part:
    frame = voice_features.deviations_frame(deviations)
    return Part(
        title="How the voice sounds",
        sentences=tuple(voice_features.outstanding(deviations)),
        columns=tuple(frame.columns),
        rows=tuple(tuple(map(str, row)) for row in frame.itertuples(index=False)),
        notes=(
            f"Measured by Praat over the stretch explained, beside {deviations[0].reference_name}. sd: standard "
            "deviation, the usual distance from the average.",
        ),
    )


def _stand_in(surrogate: ProsodyAttribution) -> Part:
    return Part(
        title="What a simpler stand-in (surrogate) makes of the voice",
        sentences=describe_attribution(surrogate),
        notes=(
            "A surrogate is a small, separate model that imitates the recogniser from acoustic features alone. "
            "These are its reasons, not the model's.",
            f"Surrogate of model {surrogate.model_version}. {surrogate.fidelity.protocol}",
        ),
    )
