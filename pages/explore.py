"""Explore: every prediction so far, to filter, compare, listen to again and download."""

from __future__ import annotations

from datetime import tzinfo

import streamlit as st

from core.domain import Reader
from core.reports.predictions_csv import predictions_csv
from core.store.engine import Store
from core.store.predictions import (
    PredictionFilter,
    count_predictions,
    count_predictions_by_emotion,
    select_model_versions,
    select_predictions,
)
from pages.parts import address, detail, filters, frame, overviews, paging, projects, session, tables, words


def render() -> None:
    workbench, zone, reader = session.workbench(), session.zone(), session.reader()
    store = workbench.store
    st.title("Explore", anchor=False)
    labels = count_predictions_by_emotion(store, reader=reader)
    n_all = sum(labels.values())
    if n_all == 0:
        empty()
        return
    detail.draw(workbench)
    chosen = filters.current()
    project_names = projects.names(workbench, session.caller())
    filters.draw(
        chosen,
        select_model_versions(store, reader=reader),
        zone,
        project_names=project_names,
        labels=[label for label, n in labels.items() if n],
    )
    n_shown = count_predictions(store, reader=reader, filter=chosen)
    if n_shown == 0:
        st.info("No prediction matches these filters. Reset takes them all off.", icon=":material/filter_alt_off:")
    overviews.draw(store, chosen, zone, reader=reader)
    if n_shown > 0:
        rows(store, chosen, n_shown, n_all, zone, reader)


def empty() -> None:
    with st.container(border=True, key="explore_empty"):
        st.subheader("No predictions yet", anchor=False)
        st.markdown("Whatever is analysed here, by page or by API, appears on this page. Hand in a first recording:")
        st.page_link("analyse.py", label="Analyse a recording", icon=":material/graphic_eq:")


def whose() -> tables.Whose:
    workbench = session.workbench()
    return tables.Whose(
        users={user.id: user.email for user in workbench.access.users()},
        projects={project.id: project.name for project in workbench.projects.list_for(session.reader())},
    )


def rows(store: Store, chosen: PredictionFilter, n_shown: int, n_all: int, zone: tzinfo, reader: Reader) -> None:
    heading, order_place, download_place, report_place, _room_for_the_tables_tools = st.columns(
        [4, 3, 2, 1.2, 1.8], vertical_alignment="bottom"
    )
    heading.markdown(f"##### {words.share_of(n_shown, n_all)}", anchors=False, help=words.OPENING_HELP)
    order = filters.order()
    with order_place:
        filters.draw_order(order)
    download_place.download_button(
        "Download CSV",
        data=session.at_download(
            lambda caller: "".join(predictions_csv(store, reader=caller.reader, filter=chosen, order=order)).encode()
        ),
        file_name="telepathy-predictions.csv",
        mime="text/csv",
        key="explore_download",
        icon=":material/download:",
        on_click="ignore",
        width="stretch",
        help=f"All {n_shown:,} predictions that match, not only this page.",
    )
    with report_place:
        frame.link("reports", "Report", icon=":material/summarize:", query_params=address.parameters_of(chosen))
    place = paging.place(chosen, order)
    page = select_predictions(
        store, reader=reader, filter=chosen, limit=paging.PAGE_ROWS, cursor=place.cursor, order=order
    )
    tables.predictions(
        page.items,
        zone=zone,
        key=f"explore_table_{detail.visit(place)}",
        on_open=lambda row: detail.open_prediction(row.id),
        whose=whose() if reader.sees_everything else None,
    )
    paging.draw(place, page.next_cursor, n_shown)


render()
