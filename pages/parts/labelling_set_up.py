"""Setting up how a project is labelled: labels, people, queues, gold clips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

import pandas as pd
import streamlit as st

from core.access.roles import LABELLERS
from core.domain import Caller, Emotion, LabellingSettings, Project, QueueKind, Recording
from core.labelling.rules import MAX_INSTRUCTIONS, MAX_LABEL, MAX_LABELS, MAX_OVERLAP
from core.store.recordings import select_recordings
from core.workbench import Workbench
from pages.parts import labelling_words, refusals
from pages.parts.tables import ROW_HEIGHT_PX

EIGHT, OWN = "The eight emotions", "My own"
MAX_GOLD_ROWS = 500
SAVED = "labelling_saved"


def draw(workbench: Workbench, caller: Caller, project: Project, settings: LabellingSettings | None) -> None:
    """The form; `settings` are those of now, None where there are none yet."""
    if project.owner_id != caller.user.id and not caller.reader.sees_everything:
        st.info("Only the owner of a project and admins set up how it is labelled.", icon=":material/lock:")
        return
    if st.session_state.pop(SAVED, False):
        st.success("Saved. What was rated before stays.", icon=":material/check:")
    now = settings or LabellingSettings(annotators=(caller.user.id,))
    key = f"labelling_{project.id}"
    asked, people = st.columns(2, gap="large")
    with asked:
        labels = _labels(now, key)
        also = _also(now, key)
        instructions = st.text_area(
            "Instructions to annotators",
            now.instructions,
            max_chars=MAX_INSTRUCTIONS,
            height=140,
            key=f"{key}_instructions",
            placeholder="Whom you listen to, what each label means, what to do when you doubt.",
            help="They read this above the clips, on the page Annotate.",
        )
    with people:
        annotators = _annotators(workbench, caller, project, now, key)
        overlap = st.number_input(
            "People per clip",
            1,
            MAX_OVERLAP,
            now.overlap,
            key=f"{key}_overlap",
            help="Two or more show how well people agree, and mend single mistakes.",
        )
        is_blind = st.toggle(
            "Hide the model's answer until a clip is rated",
            now.is_blind,
            key=f"{key}_blind",
            help="Labels given beside an answer lean towards it. Use those that are not for training and measuring.",
        )
    queues = _queues(now, key)
    gold = _gold(workbench, caller, project, now, labels, key)
    total = sum(queues.values())
    if st.button("Save", key=f"{key}_save", type="primary", disabled=total != 100 or not labels):
        chosen = LabellingSettings(
            labels=tuple(labels),
            asks_second="second" in also,
            asks_intensity="intensity" in also,
            asks_note="note" in also,
            is_blind=is_blind,
            overlap=int(overlap),
            annotators=tuple(annotators),
            queues=queues,
            gold=gold,
            seed=now.seed,
            instructions="\n".join(line.rstrip() for line in instructions.strip().splitlines()),
        )
        with refusals.told():
            workbench.labelling.configure(project.id, chosen, by=caller)
            st.session_state[SAVED] = True
            st.rerun()


def _labels(now: LabellingSettings, key: str) -> list[str]:
    st.markdown("##### What is asked", anchors=False)
    is_own = set(now.labels) != {emotion.value for emotion in Emotion}
    which = st.segmented_control(
        "Labels", [EIGHT, OWN], default=OWN if is_own else EIGHT, required=True, key=f"{key}_which"
    )
    if which == EIGHT:
        return [emotion.value for emotion in Emotion]
    typed = st.text_input(
        "Labels, in the order of their keys",
        ", ".join(now.labels) if is_own else "",
        key=f"{key}_labels",
        placeholder="pleased, angry, neither",
        help=f"2 to {MAX_LABELS}, divided by commas, of at most {MAX_LABEL} letters each.",
    )
    return labels_of(typed)


def labels_of(typed: str) -> list[str]:
    """The labels in what somebody typed, each once.

    >>> labels_of(" pleased,angry ,, pleased")
    ['pleased', 'angry']
    """
    return list(dict.fromkeys(" ".join(each.split()) for each in typed.split(",") if each.strip()))


def _also(now: LabellingSettings, key: str) -> list[str]:
    asked = {"second": now.asks_second, "intensity": now.asks_intensity, "note": now.asks_note}
    return st.pills(
        "And besides",
        list(asked),
        default=[name for name, is_asked in asked.items() if is_asked],
        selection_mode="multi",
        format_func={"second": "Second choice", "intensity": "How strong", "note": "A note"}.__getitem__,
        key=f"{key}_also",
    )


def _annotators(
    workbench: Workbench, caller: Caller, project: Project, now: LabellingSettings, key: str
) -> Sequence[UUID]:
    st.markdown("##### Of whom", anchors=False)
    members = {
        user.id: user for user in workbench.projects.members(project.id, caller.reader) if user.role in LABELLERS
    }
    chosen: list[UUID] = st.multiselect(
        "Annotators",
        list(members),
        default=[each for each in now.annotators if each in members],
        format_func=lambda each: f"{members[each].name} ({members[each].email})",
        key=f"{key}_annotators",
        placeholder="Who rates",
        help="Share the project with somebody, on the page Projects, to find them here.",
    )
    return chosen


def _queues(now: LabellingSettings, key: str) -> dict[QueueKind, int]:
    st.markdown("##### Which clips first", help=labelling_words.QUEUES_HELP, anchors=False)
    shares: dict[QueueKind, int] = {}
    with st.container(horizontal=True, gap="small"):
        for kind in QueueKind:
            share = st.number_input(
                f"{labelling_words.QUEUE_WORDS[kind]} (%)",
                0,
                100,
                now.queues.get(kind, 0),
                5,
                key=f"{key}_queue_{kind.value}",
                help=labelling_words.QUEUE_HELP[kind],
                width=200,
            )
            shares[kind] = int(share)
    total = sum(shares.values())
    if total != 100:
        st.warning(f"These add up to {total} %; they have to make 100 %.", icon=":material/percent:")
    return {kind: share for kind, share in shares.items() if share}


def _gold(
    workbench: Workbench, caller: Caller, project: Project, now: LabellingSettings, labels: Sequence[str], key: str
) -> Mapping[UUID, str]:
    recordings = select_recordings(workbench.store, reader=caller.reader, project_id=project.id, limit=MAX_GOLD_ROWS)
    with st.expander(f"Gold clips ({len(now.gold):,})", icon=":material/verified:", key=f"{key}_gold"):
        st.caption(labelling_words.GOLD_HELP + " Give a label to those you know for certain.")
        if not recordings:
            st.caption("This project has no recordings yet.")
            return now.gold
        edited = st.data_editor(
            gold_frame(recordings, now.gold),
            key=f"{key}_gold_table",
            hide_index=True,
            row_height=ROW_HEIGHT_PX,
            height=ROW_HEIGHT_PX * 9 if len(recordings) > 8 else "content",
            disabled=["Recording", "Length"],
            column_config={
                "Recording": st.column_config.TextColumn(width="large"),
                "Length": st.column_config.NumberColumn(format="%.1f s", width="small"),
                "Known label": st.column_config.SelectboxColumn(options=list(labels), width="medium"),
            },
        )
    return gold_of(recordings, edited, now.gold)


def gold_frame(recordings: Sequence[Recording], gold: Mapping[UUID, str]) -> pd.DataFrame:
    """Columns Recording, Length (s), Known label (None where it is not known)."""
    rows = [(each.name, each.duration_s, gold.get(each.id)) for each in recordings]
    return pd.DataFrame(rows, columns=["Recording", "Length", "Known label"])


def gold_of(recordings: Sequence[Recording], edited: pd.DataFrame, before: Mapping[UUID, str]) -> dict[UUID, str]:
    """The known labels after the table was edited; those of recordings the table did not show stay."""
    shown = {each.id for each in recordings}
    kept = {recording_id: label for recording_id, label in before.items() if recording_id not in shown}
    for recording, label in zip(recordings, edited["Known label"].tolist(), strict=True):
        if isinstance(label, str) and label:
            kept[recording.id] = label
    return kept
