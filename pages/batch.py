"""Batch: hand in many recordings at once, watch them being scored, read and take away what came of it."""

from __future__ import annotations

import streamlit as st

from core.workbench import Workbench
from pages.parts import batch_form, batch_results, session


def render() -> None:
    workbench = session.workbench()
    inputs, results = st.columns([2, 5], gap="large")
    with inputs:
        st.title("Batch", anchor=False)
        st.caption("Hand in many recordings. They are scored in the background: you can close this page meanwhile.")
        batch_form.draw(workbench, session.caller())
    with results:
        draw_results(workbench)


def draw_results(workbench: Workbench) -> None:
    found = workbench.batches.list_batches(reader=session.reader())
    if not found:
        batch_results.empty()
        return
    batch_id = batch_results.choose(found, session.zone())
    batch_results.draw(workbench, batch_id)


render()
