"""Labelling: what is asked of whom; how far annotators are, how well they agree; ratings as files."""

from __future__ import annotations

import enum

import streamlit as st

from core.domain import Caller, Project
from core.labelling.consensus import Method
from core.workbench import Workbench
from pages.parts import (
    agreement,
    frame,
    labelling_assignment,
    labelling_choice,
    labelling_files,
    labelling_progress,
    labelling_set_up,
    labelling_words,
    session,
)


class Part(enum.StrEnum):
    """What the page shows."""

    SET_UP = "Set up"
    GIVE_OUT = "Give out"
    PROGRESS = "Progress"
    AGREEMENT = "Agreement"
    FILES = "Files"


def render() -> None:
    workbench, caller = session.workbench(), session.caller()
    head, choice = st.columns([3, 2], vertical_alignment="bottom")
    with head:
        st.title("Labelling", anchor=False)
        st.caption("What is asked of whom, how far they are, and how well they agree.")
    projects = workbench.projects.list_for(caller.reader)
    if not projects:
        empty()
        return
    with choice:
        project = labelling_choice.choose(projects, key="labelling_project")
    labelled = {each.id for each in workbench.labelling.projects(caller.reader)}
    if project.id not in labelled:
        labelling_set_up.draw(workbench, caller, project, None)
        return
    part = st.segmented_control(
        "Part",
        list(Part),
        default=Part.PROGRESS,
        required=True,
        key="labelling_part",
        label_visibility="collapsed",
    )
    show(workbench, caller, project, part)


def show(workbench: Workbench, caller: Caller, project: Project, part: Part) -> None:
    if part is Part.SET_UP:
        settings = workbench.labelling.settings(project.id, caller.reader)
        labelling_set_up.draw(workbench, caller, project, settings)
    elif part is Part.GIVE_OUT:
        labelling_assignment.draw(workbench, caller, project)
    elif part is Part.PROGRESS:
        labelling_progress.draw(workbench, caller, project)
    elif part is Part.FILES:
        labelling_files.draw(workbench, caller, project)
    else:
        method = st.segmented_control(
            "Consensus by",
            list(Method),
            default=Method.MAJORITY,
            required=True,
            format_func=lambda each: labelling_words.METHOD_WORDS[each],
            key="labelling_method",
            help=labelling_words.METHOD_HELP,
        )
        agreement.draw(workbench, caller, project, method)


def empty() -> None:
    with st.container(border=True, key="labelling_empty"):
        st.subheader("No project yet", anchor=False)
        st.markdown(
            "People label the recordings of a project. Begin one, share it with annotators, and hand in recordings.",
            anchors=False,
        )
        frame.link("projects", "Begin a project", icon=":material/folder_shared:")


render()
