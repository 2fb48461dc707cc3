"""Review: what annotators said of each clip, side by side; decide, send back, comment."""

from __future__ import annotations

import streamlit as st

from core.domain import Caller, Project
from core.labelling.consensus import Method
from core.labelling.labelling import ReviewClip, Shown
from core.workbench import Workbench
from pages.parts import frame, labelling_choice, labelling_words, people_names, review_clip, review_table, session


def render() -> None:
    workbench, caller = session.workbench(), session.caller()
    head, choice = st.columns([3, 2], vertical_alignment="bottom")
    with head:
        st.title("Review", anchor=False)
        st.caption("What annotators said of each clip, side by side. Those they disagree about most come first.")
    projects = workbench.labelling.projects(caller.reader)
    if not projects:
        empty()
        return
    with choice:
        project = labelling_choice.choose(projects, key="review_project")
    method, shown = controls()
    clips = workbench.labelling.clips_for_review(project.id, reader=caller.reader, method=method)
    if not clips:
        unrated()
        return
    show(workbench, caller, project, [clip for clip in clips if clip.is_shown(shown)], len(clips))


def controls() -> tuple[Method, Shown]:
    which, how = st.columns(2)
    shown = which.segmented_control(
        "Clips",
        list(Shown),
        default=Shown.TO_DECIDE,
        required=True,
        format_func=lambda each: review_table.SHOWN_WORDS[each],
        key="review_shown",
    )
    method = how.segmented_control(
        "Consensus by",
        list(Method),
        default=Method.MAJORITY,
        required=True,
        format_func=lambda each: labelling_words.METHOD_WORDS[each],
        key="review_method",
        help=labelling_words.METHOD_HELP,
    )
    return method, shown


def show(workbench: Workbench, caller: Caller, project: Project, clips: list[ReviewClip], n_all: int) -> None:
    st.markdown(f"##### {len(clips):,} of {n_all:,} rated clips", anchors=False)
    if not clips:
        st.success("No clip of this kind is left. Choose others above.", icon=":material/check:")
        return
    names = people_names.names_in_project(workbench, project.id, caller.reader)
    opened = review_table.draw(clips, names, key="review_table")
    if opened is not None:
        review_clip.draw(workbench, caller, project, clips[opened], names)


def empty() -> None:
    with st.container(border=True, key="review_empty"):
        st.subheader("No project is labelled yet", anchor=False)
        st.markdown("Set up which of your projects people label, with which labels, and who.", anchors=False)
        frame.link("labelling", "Set up a project to be labelled", icon=":material/tune:")


def unrated() -> None:
    with st.container(border=True, key="review_unrated"):
        st.subheader("No ratings yet", anchor=False)
        st.markdown("Clips appear here as soon as an annotator has rated them.", anchors=False)
        frame.link("annotate", "Annotate", icon=":material/label:")


render()
