"""Analyse: hand in a recording, read which emotion it carries and how sure that is."""

from __future__ import annotations

from dataclasses import replace
from math import ceil

import streamlit as st

from core.domain import Caller, Source
from core.inbox import Outcome, receive
from core.workbench import Workbench
from pages.parts import answer, frame, projects, refusals, session, tables, words
from pages.parts.session import Inbox


def render() -> None:
    workbench, inbox = session.workbench(), session.inbox()
    ask_for_a_password(workbench, session.caller())
    inputs, results = st.columns([2, 5], gap="large")
    with inputs:
        hand_in(workbench, inbox)
    with results:
        with session.progress() as tell:
            # Emptied at once: a run that goes on for long would leave "Nothing handed in yet" standing below.
            place = st.empty() if inbox.has_work else st
            inbox.work(workbench, tell, owner=session.owner(), begin_call=lambda: session.call("/"))
        with place.container():
            answers(workbench, inbox)
    if inbox.outcomes:
        inputs.button(
            "Start afresh", key="analyse_clear", icon=":material/restart_alt:", type="tertiary", on_click=inbox.clear
        )


def ask_for_a_password(workbench: Workbench, caller: Caller) -> None:
    """Who came by the set-up link and chooses none is locked out once the session ends."""
    if caller.user.has_password or workbench.settings.single_sign_on:
        return
    with st.container(border=True, horizontal=True, vertical_alignment="center", key="analyse_password"):
        st.markdown(
            ":material/key: You are signed in by a link that worked once. Choose a password to come back.",
            anchors=False,
        )
        frame.link("account", "Choose a password", icon=":material/arrow_forward:")


def answers(workbench: Workbench, inbox: Inbox) -> None:
    if not inbox.outcomes:
        welcome()
    elif len(inbox.outcomes) > 1:
        choose(inbox)
    if inbox.open_sha256 in inbox.outcomes:
        show(workbench, inbox.outcomes[inbox.open_sha256])


def hand_in(workbench: Workbench, inbox: Inbox) -> None:
    st.title("Analyse", anchor=False)
    st.caption("Hand in somebody speaking. We tell you which emotion we hear, how sure we are, and why.")
    workbench.recogniser()  # without a model, say so before anybody hands in anything
    caller = session.caller()
    inbox.project_id = projects.choose(workbench, caller, prefix="analyse")
    inbox.model = choose_model(workbench)
    if projects.ask_consent(workbench, caller, inbox.project_id, prefix="analyse"):
        take_recordings(workbench, inbox)
    samples(inbox)


def choose_model(workbench: Workbench) -> str | None:
    """The one whose answers are wanted, where there are several; None for the deployed one."""
    listed = [version.card for version in workbench.models.list_versions()[0]]
    deployed = workbench.models.deployed
    others = sorted(card.name for card in listed if card.is_installed and card.name != deployed)
    if not others:
        return None
    said = {card.name: ", ".join(card.emotions) for card in listed}
    chosen = st.selectbox(
        "Model",
        [deployed, *others],
        key="analyse_model",
        help="Which one answers. What was handed in before is heard by the other one too.",
    )
    if chosen == deployed:
        return None
    st.caption(f"It says {words.plain(said[chosen])}.")
    return str(chosen)


def take_recordings(workbench: Workbench, inbox: Inbox) -> None:
    files = st.file_uploader(
        "Upload recordings",
        accept_multiple_files=True,
        max_upload_size=ceil(workbench.settings.max_upload_mb),
        key=f"analyse_files_{inbox.round}",
        help="WAV, FLAC, MP3, Ogg, Opus, M4A or WebM. One or several, "
        f"up to {words.duration(workbench.settings.max_duration_s)} each.",
    )
    inbox.take_files(files, Source.UPLOAD)
    spoken = st.audio_input("Or speak", key=f"analyse_microphone_{inbox.round}")
    inbox.take_files([spoken] if spoken else [], Source.MICROPHONE)


def samples(inbox: Inbox) -> None:
    if session.samples():
        st.markdown(":small[Or try a sample]", anchors=False)
    is_first_visit = st.query_params.pop("sample", None) == "first"  # the set-up link leads here
    with st.container(horizontal=True, gap="small", key="analyse_samples"):
        for number, path in enumerate(session.samples()):
            is_pressed = st.button(words.sample_name(path.stem), key=f"analyse_sample_{path.stem}")
            if is_pressed or (is_first_visit and number == 0):
                inbox.take(receive(path.read_bytes(), name=path.name, source=Source.SAMPLE))


def welcome() -> None:
    with st.container(border=True, key="analyse_welcome"):
        st.subheader("Nothing handed in yet", anchor=False)
        st.markdown("Upload a recording, speak into the microphone, or try a sample. You will see", anchors=False)
        left, right = st.columns(2, gap="medium")
        left.markdown(
            ":material/record_voice_over: **The emotion we hear**  \nOne of eight, or an honest \u201cnot sure\u201d."
        )
        right.markdown(
            ":material/balance: **How sure we are**  \nAnd whether the doubt lies in the voice or in the model."
        )
        left.markdown(":material/timeline: **When it changes**  \nIf the recording is longer than a few seconds.")
        right.markdown(":material/mic_external_on: **How good the sound is**  \nAnd what would make the answer better.")
        answer.legend()
        st.caption("Recordings stay on this machine. Nothing is sent anywhere else.")


def choose(inbox: Inbox) -> None:
    st.markdown("##### This session", anchors=False)
    newest_first = list(reversed(inbox.outcomes))
    opened = tables.outcomes(
        [inbox.outcomes[sha256] for sha256 in newest_first],
        opened=newest_first.index(inbox.open_sha256),
        key=f"analyse_table_{inbox.n_taken}_{inbox.round}",
    )
    inbox.open_sha256 = newest_first[opened]


def show(workbench: Workbench, outcome: Outcome) -> None:
    if outcome.analysis is not None:
        recording = replace(outcome.analysis.recording, name=outcome.name)  # kept once, under its first name
        answer.show(workbench, recording, outcome.analysis.prediction, prefix="analyse")
    if outcome.refusal is not None:
        refusals.refused(outcome.name, outcome.refusal)


render()
