"""Ratings in and out of a project, as files."""

from __future__ import annotations

from functools import partial
from math import ceil

import pandas as pd
import streamlit as st

from core.domain import Caller, Project
from core.labelling.exchange import Import, export_ratings, import_ratings
from core.labelling.formats.kinds import KINDS, LabelFormat
from core.workbench import Workbench
from pages.parts import labelling_words, refusals, session
from pages.parts.tables import ROW_HEIGHT_PX

DONE, ROUND = "labelling_import_done", "labelling_import_round"


def draw(workbench: Workbench, caller: Caller, project: Project) -> None:
    """Take ratings away, bring others in; for the project's owner and admins."""
    if project.owner_id != caller.user.id and not caller.reader.sees_everything:
        st.info("Only the owner of a project and admins take ratings away or bring them in.", icon=":material/lock:")
        return
    out, into = st.columns(2, gap="large")
    with out:
        _export(workbench, project)
    with into:
        _import(workbench, caller, project)


def _format(label: str, key: str) -> LabelFormat:
    chosen: LabelFormat = st.selectbox(label, list(LabelFormat), format_func=lambda each: KINDS[each].title, key=key)
    return chosen


def _export(workbench: Workbench, project: Project) -> None:
    st.markdown("##### Take ratings away", anchors=False)
    chosen = _format("As", "labelling_export_format")
    st.caption(
        "The ratings that count, with the addresses of their annotators. Formats of one recording come as a ZIP."
    )
    st.download_button(
        "Download",
        data=session.at_download(partial(_file, workbench, project, chosen)),
        file_name=file_name(chosen),
        key="labelling_export",
        icon=":material/download:",
        on_click="ignore",
    )


def file_name(chosen: LabelFormat) -> str:
    """Of what is downloaded; it says the format, since four of them make a ZIP.

    >>> file_name(LabelFormat.ELAN)
    'telepathy-ratings-elan.zip'
    """
    kind = KINDS[chosen]
    ending = ".zip" if kind.is_archive else kind.suffixes[0]
    return f"telepathy-ratings-{chosen.value.replace('_', '-')}{ending}"


def _file(workbench: Workbench, project: Project, chosen: LabelFormat, caller: Caller) -> bytes:
    return export_ratings(workbench, project.id, chosen, by=caller).data


def _import(workbench: Workbench, caller: Caller, project: Project) -> None:
    st.markdown("##### Bring ratings in", anchors=False)
    chosen = _format("From", "labelling_import_format")
    number = st.session_state.get(ROUND, 0)
    file = st.file_uploader(
        "A file, or a ZIP of several",
        key=f"labelling_import_file_{number}",
        max_upload_size=ceil(workbench.settings.max_upload_mb),
    )
    if (
        st.button("Import", key="labelling_import", disabled=file is None, icon=":material/upload:")
        and file is not None
    ):
        with refusals.told():
            st.session_state[DONE] = import_ratings(
                workbench, project.id, file.getvalue(), name=file.name, format=chosen, by=caller
            )
            st.session_state[ROUND] = number + 1  # only a new key empties an uploader
            st.rerun()
    if DONE in st.session_state:
        _tell(st.session_state[DONE])


def _tell(done: Import) -> None:
    st.success(labelling_words.import_in_words(done), icon=":material/check:")
    if done.problems:
        st.dataframe(
            problems_frame(done),
            key="labelling_import_problems",
            hide_index=True,
            row_height=ROW_HEIGHT_PX,
            height=ROW_HEIGHT_PX * 9 if len(done.problems) > 8 else "content",
            column_config={"What": st.column_config.TextColumn(width="large")},
            alt="What could not be used of the file",
        )


def problems_frame(done: Import) -> pd.DataFrame:
    """Columns Where, What."""
    return pd.DataFrame([(each.where, each.sentence) for each in done.problems], columns=["Where", "What"])
