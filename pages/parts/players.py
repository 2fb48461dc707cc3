"""Listening to recordings."""

from __future__ import annotations

import streamlit as st

from core.domain import Recording
from core.features.containers import Container
from core.workbench import Workbench
from pages.parts import session

MEDIA_TYPES: dict[str, str] = {
    Container.WAV: "audio/wav",
    Container.FLAC: "audio/flac",
    Container.MP3: "audio/mpeg",
    Container.ADTS: "audio/aac",
    Container.OGG: "audio/ogg",
    Container.MP4: "audio/mp4",
    Container.WEBM: "audio/webm",
}


def player(workbench: Workbench, recording: Recording) -> bool:
    """Play the recording as it was sent; whether its sound is still there."""
    sound = session.sound_of(workbench, recording)
    if sound is None:
        st.caption("The sound of this recording is no longer kept; its numbers are.")
        return False
    media_type = MEDIA_TYPES.get(recording.format.container, "audio/wav")
    st.audio(sound, format=media_type, alt=f"Recording {recording.name}")
    return True
