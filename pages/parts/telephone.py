"""The WebRTC microphone: streamlit-webrtc brings the sound, a session judges it, the stage shows it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import av
import streamlit as st

from core.access.limits import call_of
from core.config import Settings
from core.domain import Caller
from core.features.frames import mono_samples
from core.inference.live import LiveOptions
from core.inference.live_session import LiveSession
from core.usage import WEBRTC, note_stream
from core.workbench import Workbench
from pages.parts import session, stage

SESSION, HELD, WANTED = "live_session", "live_held", "live_wanted"
AS_IT_SOUNDS = {"echoCancellation": False, "noiseSuppression": False, "autoGainControl": False}
"""As by WebSocket: what a browser does to please listeners changes level and spectrum, which the model goes by."""
N_NEWEST = 12
"""Answers handed to the browser at once: three seconds, should a machine be so busy that the page looks no earlier."""
LOOKS_EVERY_S = 0.2
"""Oftener than answers come, every 0.25 s: a timer as slow as they are misses some (it showed 3.92 a second of 4)."""
MICROPHONE_NEEDS_HTTPS = "Browsers allow the microphone on https:// and on localhost only. Open this page there."
MICROPHONE_ADVICE = (
    "If the browser refuses the microphone (NotAllowedError), allow it beside the address bar; if it finds none "
    "(NotFoundError), plug one in. Then start again."
)
"""streamlit-webrtc shows the browser's own name of the error and takes no other words for it."""


def call(workbench: Workbench, *, key: str) -> bytes | None:
    """Start, stop, stage and, once stopped, the question what becomes of it.

    Returns
    -------
    The sound, as a FLAC file, of a session that has just been kept; None in every other run.
    """
    if HELD in st.session_state:
        return _decide_again(key)
    # Imported when it is used: it takes a second and 30 MB, and its SRTP library crashes in a process that has loaded
    # tensorflow (2.21), as the tests' has.
    from streamlit_webrtc import WebRtcMode, create_audio_sink_track, webrtc_streamer

    current = _current_session(workbench)
    context = webrtc_streamer(
        key=f"{key}_webrtc",
        mode=WebRtcMode.SENDONLY,
        sink_audio_track=create_audio_sink_track(_taker(workbench), key=f"{key}_sink"),
        rtc_configuration={"iceServers": _ice_servers(workbench.settings)},
        media_stream_constraints={"audio": AS_IT_SOUNDS, "video": False},
        translations={
            "start": "Start listening",
            "stop": "Stop",
            "select_device": "Choose a microphone",
            "device_ask_permission": "Allow the microphone where the browser asks for it.",
            "device_access_denied": "The browser was not allowed to use the microphone",
            "device_not_available": "No microphone was found",
            "media_api_not_available": MICROPHONE_NEEDS_HTTPS,
        },
        media_toggle_controls=False,
    )
    is_playing, is_calling = context.state.playing, context.state.signalling
    if not is_playing and not is_calling:
        st.caption(MICROPHONE_ADVICE)
    above_stage = st.container()
    _stage(is_playing, is_calling, key)
    if is_playing or current.duration_s == 0:
        return None
    with above_stage:  # below it, the question would stand where nobody scrolls to
        return _decide(current, key)


@st.fragment(run_every=LOOKS_EVERY_S)
def _stage(is_playing: bool, is_calling: bool, key: str) -> None:
    live: LiveSession = st.session_state[SESSION]
    if live.failure is not None:
        st.error(f"{live.failure} Nothing more is heard.", icon=":material/hearing_disabled:")
        return
    lost = f" {live.n_lost} frames were dropped: the machine is overloaded." if live.n_lost else ""
    state = "Connected by WebRTC." if is_playing else "Connecting by WebRTC." if is_calling else "Not listening."
    # While it goes on, only what is new: all of the half minute would be 45 kB four times a second.
    events = live.events[-N_NEWEST:] if is_playing else live.events
    labels = session.deployed_labels(session.workbench())
    stage.show(
        events,
        peak_dbfs=live.peak_dbfs,
        status=state + lost,
        is_listening=is_playing,
        key=f"{key}_stage",
        labels=labels,
    )


def _decide(live: LiveSession, key: str) -> bytes | None:
    st.markdown(f"{live.duration_s:.0f} s were heard. Keep them, with the same analysis as an upload?")
    with st.container(horizontal=True):
        is_kept = st.button("Keep and analyse", type="primary", key=f"{key}_keep")
        is_discarded = st.button("Discard", key=f"{key}_discard")
    if is_discarded:
        live.discard()
        del st.session_state[SESSION]
        st.rerun()
    if not is_kept:
        return None
    del st.session_state[SESSION]
    st.session_state[HELD], st.session_state[WANTED] = live.finish(), True
    st.rerun()


def _decide_again(key: str) -> bytes | None:
    """Until it is analysed or discarded, what was heard stays: whatever refuses it, nothing of it is lost."""
    held: bytes | None = st.session_state[HELD]
    if held is None:
        del st.session_state[HELD]
        return None
    st.markdown("What was heard is still here. Keep it, with the same analysis as an upload?")
    with st.container(horizontal=True):
        is_kept = st.button("Keep and analyse", type="primary", key=f"{key}_keep_held")
        is_discarded = st.button("Discard", key=f"{key}_discard_held")
    if is_discarded:
        let_go()
        st.rerun()
    return held if st.session_state.pop(WANTED, False) or is_kept else None


def has_sound() -> bool:
    """Whether something was heard of which nobody has said yet what becomes of it."""
    live: LiveSession | None = st.session_state.get(SESSION)
    return HELD in st.session_state or (live is not None and not live.is_over and live.duration_s > 0)


def let_go() -> None:
    """Forget what was heard, once it is kept or not wanted."""
    st.session_state.pop(HELD, None)


def _current_session(workbench: Workbench) -> LiveSession:
    if SESSION not in st.session_state or st.session_state[SESSION].is_over:
        asking = replace(session.call("/live"), method=WEBRTC)
        workbench.limits.require_quota(
            call_of(asking.caller, workbench.settings, address=asking.address, costs_inference=True)
        )
        st.session_state[SESSION] = LiveSession(
            workbench.recogniser(),
            partial(_options, workbench.settings),
            max_duration_s=workbench.settings.max_duration_s,
            folder=workbench.settings.data_dir,
            may_go_on=partial(_may_go_on, workbench, asking.caller),
            on_over=partial(note_stream, workbench.usage, asking),
        )
    live: LiveSession = st.session_state[SESSION]
    return live


def _may_go_on(workbench: Workbench, caller: Caller | None, audio_s: float) -> None:
    if caller is not None:
        workbench.require_still_allowed(caller, audio_s=audio_s)


def _taker(workbench: Workbench):
    """What streamlit-webrtc calls for every frame, off Streamlit's threads: it only hands the samples on."""
    live = _current_session(workbench)

    def take(frame: av.AudioFrame) -> None:
        live.push(mono_samples(frame), frame.sample_rate)

    return take


def _options(settings: Settings, sample_rate: int) -> LiveOptions:
    return LiveOptions(
        sample_rate_hz=sample_rate,
        window_s=stage.WINDOW_S,
        hop_s=stage.HOP_S,
        smoothing_s=stage.SMOOTHING_S,
        n_passes=settings.n_passes,
        seed=settings.seed,
        abstention_confidence=settings.abstention_confidence,
    )


def _ice_servers(settings: Settings) -> list[dict[str, str]]:
    """None unless the settings name them: streamlit-webrtc would otherwise ask a public server."""
    servers = []
    if settings.stun_url:
        servers.append({"urls": settings.stun_url})
    if settings.turn_url:
        turn = {"urls": settings.turn_url, "username": settings.turn_username, "credential": settings.turn_password}
        servers.append(turn)
    return servers
