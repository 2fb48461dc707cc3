"""Live: speak, and see which emotion is heard while you do."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import streamlit as st

from core.domain import Source
from core.workbench import Workbench
from pages.parts import answer, projects, refusals, session, stage, telephone

AUTOMATIC, WEBSOCKET, WEBRTC = "Automatic", "WebSocket", "WebRTC"
KEPT = "live_kept"


def render() -> None:
    workbench = session.workbench()
    workbench.recogniser()
    head, way_in = st.columns([3, 2], vertical_alignment="bottom")
    with head:
        st.title("Live", anchor=False)
        st.caption("Speak, and see which emotion we hear while you do. Nothing is kept unless you say so.")
    with way_in:
        chosen = st.segmented_control(
            "How the sound travels",
            [AUTOMATIC, WEBSOCKET, WEBRTC],
            default=AUTOMATIC,
            required=True,
            key="live_way_in",
            help="Automatic takes the WebSocket, which any HTTPS proxy passes on, and WebRTC where that is refused.",
        )
    project_id = projects.choose(workbench, session.caller(), prefix="live")
    if not projects.ask_consent(workbench, session.caller(), project_id, prefix="live"):
        return
    is_refused = st.session_state.get("live_websocket_refused", False)
    if chosen == WEBRTC or (chosen == AUTOMATIC and is_refused):
        if is_refused and chosen == AUTOMATIC:
            st.info("WebSockets do not get through here, so the sound travels by WebRTC.")
        if not telephone.has_sound():
            workbench.require_quota(session.call("/live"))
        keep_sound(workbench, telephone.call(workbench, key="live"), project_id)
    else:
        heard = stage.listen(
            recording_name=recording_name(),
            project_id=project_id,
            key="live_stage",
            labels=session.deployed_labels(workbench),
        )
        keep_stream(*heard)
    if KEPT in st.session_state:
        show(workbench, st.session_state[KEPT])


def recording_name() -> str:
    return f"Live session, {datetime.now(session.zone()):%-d %B %Y, %H:%M}"


def keep_sound(workbench: Workbench, sound: bytes | None, project_id: UUID | None) -> None:
    if sound is None:
        return
    with refusals.told():
        with st.spinner("Analysing"), workbench.serving(session.call("/live")) as use:
            analysis = workbench.analyse(
                sound,
                name=recording_name(),
                source=Source.STREAM,
                owner=session.owner(),
                project_id=project_id,
                timeline=True,
            )
            use.add_prediction(analysis.prediction)
        telephone.let_go()
        st.session_state[KEPT] = analysis.prediction.id
        st.rerun()
    st.caption("Nothing of it is lost: try again when that is over, or discard it.")


def keep_stream(kept: UUID | None, is_refused: bool) -> None:
    if kept is not None:
        st.session_state[KEPT] = kept
    if is_refused and not st.session_state.get("live_websocket_refused"):
        st.session_state["live_websocket_refused"] = True
        st.rerun()


def show(workbench: Workbench, prediction_id: UUID) -> None:
    st.divider()
    with refusals.told():
        recording, prediction = session.answer_of(workbench, prediction_id)
        answer.show(workbench, recording, prediction, prefix="live", on_deleted=lambda: st.session_state.pop(KEPT))


render()
