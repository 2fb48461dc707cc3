"""One clip under review: its sound, all that was said of it, and what a reviewer does about that."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from core.domain import Caller, ConsensusSegment, Decision, DecisionKind, Emotion, Project, RatedSegment
from core.labelling.labelling import ReviewClip
from core.workbench import Workbench
from pages.parts import labelling_words, listener, refusals, session, words
from pages.parts.people_names import Names
from pages.parts.theme import surface

NOTES = "review_note_round"
CARD_PX = 225


def draw(workbench: Workbench, caller: Caller, project: Project, clip: ReviewClip, names: Names) -> None:
    """Listen, read, decide."""
    st.markdown(f"##### {words.plain(clip.recording.name)}", anchors=False)
    heard, decided = st.columns([3, 2], gap="large")
    with heard:
        marked = listener.listen(clip.recording, surface(), key="review_listener", lanes=_lanes(clip, names))
        if said := labelling_words.segments_in_words(clip):
            st.caption(said, help=labelling_words.SEGMENTS_HELP)
        _ratings(clip, names)
        _told(clip, names)
    with decided:
        may_decide = project.owner_id == caller.user.id or caller.reader.sees_everything
        if may_decide:
            _decide(workbench, caller, project, clip)
            if _has_segments(clip):
                _decide_stretch(workbench, caller, project, clip, marked)
        else:
            st.info("Only the owner of a project and admins decide.", icon=":material/lock:")


def _has_segments(clip: ReviewClip) -> bool:
    return bool(clip.segments) or any(rating.segments for rating in clip.ratings)


def _lanes(clip: ReviewClip, names: Names) -> list[listener.Lane]:
    """Who drew which segments, one below the other, and what they come to; none where nobody drew any."""
    if not _has_segments(clip):
        return []
    drawn = [
        listener.Lane(name=names.user(rating.annotator_id), pieces=_pieces(clip, rating.segments))
        for rating in clip.ratings
        if rating.segments
    ]
    together = _pieces(clip, clip.segments)
    return [*drawn, listener.Lane(name="Consensus", pieces=together, is_together=True)]


def _pieces(clip: ReviewClip, segments: Sequence[RatedSegment] | Sequence[ConsensusSegment]) -> list[listener.Piece]:
    """As far as the recording goes: files of others may know segments beyond its end."""
    longest = clip.recording.duration_s
    return [
        listener.Piece(start_s=each.start_s, end_s=min(each.end_s, longest), label=each.label)
        for each in segments
        if each.start_s < longest
    ]


def _ratings(clip: ReviewClip, names: Names) -> None:
    """Side by side: as many columns as fit, one card for each rating, and one for the model."""
    with st.container(horizontal=True, gap="small", key="review_ratings"):
        for rating in clip.ratings:
            with st.container(border=True, width=CARD_PX, key=f"review_rating_{rating.id}"):
                st.text(names.user(rating.annotator_id))  # markdown would make a link of an address
                st.markdown(f"**{_with_sign(labelling_words.rating_in_words(rating))}**", anchors=False)
                if rating.note:
                    st.markdown(words.plain(rating.note), anchors=False)
                shown = f" · saw {rating.answer_shown}" if rating.answer_shown else ""
                st.caption(f"{words.duration(rating.spent_s)}{shown}")
        if clip.answer is not None:
            with st.container(border=True, width=CARD_PX, key="review_answer"):
                st.text("The model")
                st.markdown(f"**{_with_sign(clip.answer.label)}**", anchors=False)
                st.caption(f"{words.percent(clip.answer.confidence)} sure")


def _with_sign(said: str) -> str:
    first = said.split(",")[0].split(";")[0]
    sign = words.emotion_label(Emotion(first)).split()[0] + " " if first in set(Emotion) else ""
    return sign + words.plain(said)


def _told(clip: ReviewClip, names: Names) -> None:
    """What reviewers did and wrote so far, oldest first."""
    for decision in clip.decisions:
        with st.container(key=f"review_decision_{decision.id}"):
            when = words.when(decision.at, session.zone())
            st.text(f"{names.user(decision.by)}, {when}: {_deed(decision)}")
            if decision.note:
                st.markdown(words.plain(decision.note), anchors=False)


def _deed(decision: Decision) -> str:
    if decision.kind is DecisionKind.ADJUDICATE:
        return f"decided {decision.label}"
    if decision.kind is DecisionKind.ADJUDICATE_SEGMENT:
        return f"decided {decision.label or 'no label'} from {decision.start_s:.2f} to {decision.end_s:.2f} s"
    return "sent back to be rated again" if decision.kind is DecisionKind.SEND_BACK else "wrote"


def _decide(workbench: Workbench, caller: Caller, project: Project, clip: ReviewClip) -> None:
    labelling, recording_id = workbench.labelling, clip.recording.id
    settings = labelling.settings(project.id, caller.reader)
    agreed = clip.consensus.label if clip.consensus is not None else None
    key = f"review_{recording_id}_{st.session_state.get(NOTES, 0)}"
    label = st.pills(
        "The label that counts",
        list(settings.labels),
        default=agreed if agreed in settings.labels else None,
        format_func=lambda each: words.emotion_label(Emotion(each)) if each in set(Emotion) else each,
        key=f"{key}_label",
        wrap=True,
    )
    note = st.text_area("Note", key=f"{key}_note", max_chars=1000, height=80)
    with st.container(horizontal=True):
        is_decided = st.button(
            "Decide",
            key=f"{key}_decide",  # a clip's own: a key pressed twice decides no clip that nobody heard
            type="primary",
            icon=":material/gavel:",
            disabled=label is None,
            shortcut="D",
        )
        is_sent_back = st.button(
            "Send back",
            key=f"{key}_send_back",
            icon=":material/undo:",
            help="Those who rated it rate it again.",
            shortcut="B",
        )
        is_said = st.button("Comment", key=f"{key}_comment", icon=":material/chat:", disabled=not note.strip())
    with refusals.told():
        if is_decided and label is not None:
            labelling.adjudicate(project.id, recording_id, label, by=caller, note=note)
        elif is_sent_back:
            labelling.send_back(project.id, recording_id, by=caller, note=note)
        elif is_said:
            labelling.comment(project.id, recording_id, note, by=caller)
        if is_decided or is_sent_back or is_said:
            st.session_state[NOTES] = st.session_state.get(NOTES, 0) + 1  # only a new key empties the note
            st.rerun()


def _decide_stretch(
    workbench: Workbench, caller: Caller, project: Project, clip: ReviewClip, marked: listener.Piece | None
) -> None:
    """Say what a stretch of the recording is, which the reader marked or names."""
    labelling, recording = workbench.labelling, clip.recording
    st.markdown("##### A stretch of it", help=labelling_words.STRETCH_HELP, anchors=False)
    longest = recording.duration_s
    first = marked or next((each for each in _pieces(clip, clip.segments) if each.label is None), None)
    start_s, end_s = (0.0, longest) if first is None else (first.start_s, min(first.end_s, longest))
    key = f"review_stretch_{recording.id}_{start_s:.3f}_{end_s:.3f}"
    settings = labelling.settings(project.id, caller.reader)
    with st.container(horizontal=True):
        start = st.number_input("From (s)", 0.0, longest, start_s, 0.1, "%.2f", key=f"{key}_from", width=130)
        end = st.number_input("To (s)", 0.0, longest, end_s, 0.1, "%.2f", key=f"{key}_to", width=130)
    label = st.pills(
        "Its label",
        list(settings.labels),
        default=marked.label if marked is not None and marked.label in settings.labels else None,
        format_func=lambda each: words.emotion_label(Emotion(each)) if each in set(Emotion) else each,
        key=f"{key}_label",
        wrap=True,
    )
    with st.container(horizontal=True):
        is_decided = st.button(
            "Decide it", key="review_decide_stretch", icon=":material/gavel:", disabled=label is None
        )
        is_empty = st.button("No label there", key="review_empty_stretch", icon=":material/layers_clear:")
    if is_decided or is_empty:
        with refusals.told():
            labelling.adjudicate_segment(
                project.id,
                recording.id,
                start_s=start,
                end_s=end,
                label=label if is_decided else None,
                by=caller,
            )
            st.rerun()
