"""Annotate: listen to one clip after another and say what you hear, a key each."""

from __future__ import annotations

import streamlit as st

from core.domain import Caller, LabellingSettings, Project
from core.workbench import Workbench
from pages.parts import frame, labeller, labelling_choice, session, words
from pages.parts.theme import surface


def render() -> None:
    workbench, caller = session.workbench(), session.caller()
    head, choice = st.columns([3, 2], vertical_alignment="bottom")
    head.title("Annotate", anchor=False)
    projects = workbench.labelling.projects_of_annotator(caller)
    if not projects:
        empty(caller)
        return
    with choice:
        project = labelling_choice.choose(projects, key="annotate_project")
    show(workbench, caller, project)


def empty(caller: Caller) -> None:
    with st.container(border=True, key="annotate_empty"):
        st.subheader("Nothing to annotate yet", anchor=False)
        st.markdown(
            "Clips appear here once somebody makes you an annotator of a project. "
            f"Tell its owner your address: {words.plain(caller.user.email)}",
            anchors=False,
        )
        frame.link("labelling", "Set up a project to be labelled", icon=":material/tune:")


def show(workbench: Workbench, caller: Caller, project: Project) -> None:
    settings = workbench.labelling.settings(project.id, caller.reader)
    if settings.is_blind:
        st.caption("What the model hears stays hidden from you until you have rated a clip.")
    instructions(project, settings)
    asked = {"second": settings.asks_second, "intensity": settings.asks_intensity, "note": settings.asks_note}
    task = labeller.task_of(
        project_id=project.id,
        user_id=caller.user.id,
        labels=settings.labels,
        surface=surface(),
        asks=[name for name, is_asked in asked.items() if is_asked],
    )
    labeller.annotate(task, key=f"annotate_{project.id}")


def instructions(project: Project, settings: LabellingSettings) -> None:
    """What the project's owner wants annotators to know: open until they fold it away."""
    if not settings.instructions:
        return
    with st.expander(
        "Instructions", expanded=True, icon=":material/menu_book:", key=f"annotate_instructions_{project.id}"
    ):
        st.text(settings.instructions)


render()
