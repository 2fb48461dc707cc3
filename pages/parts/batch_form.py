"""Handing in a batch: files, ZIPs, or a place that the settings allow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePath

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from core.archives import is_archive, unpacked
from core.batches import Submitted
from core.config import Settings
from core.domain import Caller, Source
from core.workbench import Workbench
from pages.parts import batch_results, projects, refusals, session, words
from pages.parts.held_uploads import MAX_FILE_MB

ROUTE = "/batch"


def draw(workbench: Workbench, caller: Caller) -> None:
    """Ask for recordings, and begin."""
    if not workbench.jobs.is_running:
        st.info("Nothing is scored in the background here at the moment.", icon=":material/pause_circle:")
    project_id = projects.choose(workbench, caller, prefix="batch")
    if not projects.ask_consent(workbench, caller, project_id, prefix="batch"):
        return
    round_key = st.session_state.setdefault("batch_round", 0)
    settings = workbench.settings
    files = st.file_uploader(
        "Recordings, or a ZIP of them",
        accept_multiple_files=True,
        max_upload_size=MAX_FILE_MB,
        key=f"batch_files_{round_key}",
        help=f"Up to {settings.max_background_files:,} recordings of {words.duration(settings.max_duration_s)} and "
        f"{settings.max_upload_mb:,.0f} MB each.",
    )
    location = ""
    if workbench.batches.sources.allowed:
        location = st.text_input(
            "Or a folder or address",
            key=f"batch_location_{round_key}",
            placeholder=workbench.batches.sources.allowed[0],
            help="Recordings are fetched from: " + ", ".join(workbench.batches.sources.allowed),
        )
    name = st.text_input("Name (optional)", key=f"batch_name_{round_key}", max_chars=100)
    has_some = bool(files) or bool(location.strip())
    label = f"Score {words.count(len(files), 'file')}" if files and not location.strip() else "Score them"
    if st.button(label, key="batch_start", type="primary", disabled=not has_some, icon=":material/play_arrow:"):
        with refusals.told():
            status = workbench.batches.create(
                _submitted(files, location.strip(), settings),
                caller=caller,
                call=session.call(ROUTE),
                source=Source.UPLOAD,
                name=name,
                project_id=project_id,
            )
            st.session_state["batch_round"] += 1
            batch_results.open_next(status.batch.id)
            st.rerun()


def _submitted(files: Sequence[UploadedFile], location: str, settings: Settings) -> Iterator[Submitted]:
    for file in files:
        if is_archive(file.name, file.getvalue()[:4]):
            inside = unpacked(
                file,
                name=file.name,
                max_files=settings.max_background_files,
                max_mb=settings.max_background_mb,
                max_file_mb=settings.max_upload_mb,
            )
            within = f"{PurePath(file.name).stem}/" if len(files) > 1 else ""
            for name, data in inside:
                yield Submitted(name=within + name, data=data)
        else:
            yield Submitted(name=file.name, data=file.getvalue())
    if location:
        yield Submitted(name="", location=location)
