"""The parts of Projects, the choice of one on other pages, and the notice before its first recording."""

from __future__ import annotations

from uuid import UUID

import streamlit as st

from core.domain import Caller, Project, Purpose
from core.privacy import FORBIDDEN, LAW, PURPOSES, consent_sentences
from core.store.predictions import PredictionFilter
from core.workbench import Workbench
from pages.parts import address, frame, refusals, words

OWN_SPACE = "Mine alone"
NOT_TYPED = {"projects_name": "", "projects_note": "", "projects_exception": "", "projects_days": None}
"""What the form holds once a project has begun: pressed again, it would begin the same one twice."""


def draw_list(workbench: Workbench, caller: Caller) -> None:
    """Every project one may see, each with its members and its period."""
    found = workbench.projects.list_for(caller.reader)
    if not found:
        st.info("No projects yet. Whatever you record is yours alone.", icon=":material/folder_shared:")
    for project in found:
        _draw_project(workbench, caller, project)


def _draw_project(workbench: Workbench, caller: Caller, project: Project) -> None:
    may_change = project.owner_id == caller.user.id or caller.reader.sees_everything
    key = f"projects_{project.id}"
    with st.container(border=True, key=key):
        st.markdown(f"##### {words.plain(project.name)}", anchors=False)
        st.markdown(f"**{PURPOSES[project.purpose]}**", anchors=False)
        if project.purpose_note:
            st.markdown(words.plain(project.purpose_note), anchors=False)
        if project.exception:
            said_by = words.plain(project.exception_by)
            st.warning(
                f"Lawful because: {words.plain(project.exception)} (recorded by {said_by})", icon=":material/gavel:"
            )
        days = project.retention_days
        st.caption("Recordings are kept " + (f"for {days:,} days." if days else "until somebody deletes them."))
        owner, *members = workbench.projects.members(project.id, caller.reader)
        st.markdown(f"Begun by {words.plain(owner.name)} ({words.plain(owner.email)})", anchors=False)
        for member in members:
            with st.container(horizontal=True, vertical_alignment="center", key=f"{key}_member_{member.id}"):
                st.markdown(f"{words.plain(member.name)} ({words.plain(member.email)})", anchors=False)
                is_oneself = member.id == caller.user.id
                label = "Leave" if is_oneself else "Remove"
                if (may_change or is_oneself) and st.button(label, key=f"{key}_remove_{member.id}", type="tertiary"):
                    workbench.projects.remove_member(project.id, member.id, by=caller)
                    st.rerun()
        with st.container(horizontal=True, vertical_alignment="center", key=f"{key}_tools"):
            if may_change:
                _draw_changes(workbench, caller, project, key)
            of_project = address.parameters_of(PredictionFilter(project_id=project.id))
            frame.link("reports", "Report", icon=":material/summarize:", query_params=of_project)


def _draw_changes(workbench: Workbench, caller: Caller, project: Project, key: str) -> None:
    with st.popover("Change", icon=":material/edit:", key=f"{key}_change"):
        with st.form(f"{key}_share", border=False):
            email = st.text_input("Share with the account of", key=f"{key}_email", placeholder="name@example.org")
            if st.form_submit_button("Share", key=f"{key}_share_now"):
                workbench.projects.add_member(project.id, email, by=caller)
                st.rerun()
        with st.form(f"{key}_keep", border=False):
            days = _ask_days(f"{key}_days", project.retention_days)
            if st.form_submit_button("Keep for so long", key=f"{key}_keep_now"):
                workbench.projects.change_retention(project.id, days, by=caller)
                st.rerun()


def _ask_days(key: str, value: int | None) -> int | None:
    days = st.number_input(
        "Delete recordings after (days)", 1, 36_500, value, 1, key=key, placeholder="never", help="Empty keeps them."
    )
    return None if days is None else int(days)


def draw_new(workbench: Workbench, caller: Caller) -> None:
    """Begin a project: its purpose first, since some are prohibited."""
    if st.session_state.pop("projects_begun", False):
        st.session_state.update(NOT_TYPED)
    with st.container(border=True, key="projects_new"):
        st.subheader("Begin a project", anchor=False)
        name = st.text_input("Name", key="projects_name", max_chars=100)
        purpose = st.radio(
            "What do you infer emotion for?",
            list(PURPOSES),
            format_func=lambda each: PURPOSES[each] + (" (prohibited)" if each in FORBIDDEN else ""),
            index=list(PURPOSES).index(Purpose.RESEARCH),
            key="projects_purpose",
        )
        note = st.text_area(
            "In your own words", key="projects_note", max_chars=1000, help="People who agree read this."
        )
        exception = ""
        if purpose in FORBIDDEN:
            st.error(LAW, icon=":material/gavel:")
            if caller.reader.sees_everything:
                exception = st.text_area("Medical or safety reason that makes it lawful", key="projects_exception")
        else:
            st.caption(LAW)
        days = _ask_days("projects_days", None)
        if st.button("Begin", key="projects_begin", type="primary", disabled=not name.strip()):
            with refusals.told():
                workbench.projects.create(
                    name, purpose, by=caller, purpose_note=note, retention_days=days, exception=exception
                )
                st.session_state["projects_begun"] = True
                st.rerun()


def names(workbench: Workbench, caller: Caller) -> dict[UUID, str]:
    """The names of the projects that somebody may see, by id."""
    return {project.id: project.name for project in workbench.projects.list_for(caller.reader)}


def choose(workbench: Workbench, caller: Caller, *, prefix: str) -> UUID | None:
    """Which project recordings of this page go into; None for one's own. Asks nothing while there is no project."""
    found = {project.id: project for project in workbench.projects.list_for(caller.reader)}
    if not found:
        return None
    return st.selectbox(
        "Recordings go into",
        [None, *found],
        format_func=lambda each: OWN_SPACE if each is None else found[each].name,
        key=f"{prefix}_project",
        help="Everybody in a project sees and hears its recordings.",
    )


def ask_consent(workbench: Workbench, caller: Caller, project_id: UUID | None, *, prefix: str) -> bool:
    """Whether recordings may begin: the notice is shown until somebody has agreed, and then never again."""
    if workbench.projects.has_agreed(caller.user.id, project_id):
        return True
    project = None if project_id is None else workbench.projects.find(project_id, caller.reader)
    days = workbench.settings.retention_days if project is None else project.retention_days
    with st.container(border=True, key=f"{prefix}_consent"):
        st.markdown("##### Before the first recording", anchors=False)
        for sentence in consent_sentences(project, retention_days=days):
            st.markdown(words.plain(sentence), anchors=False)
        if st.button("I have read this and agree", key=f"{prefix}_agree", type="primary", icon=":material/check:"):
            workbench.projects.agree(caller.user.id, project_id)
            st.rerun()
    return False
