"""What to do next when something cannot be done: each kind of error with its sentence and one step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from core.errors import (
    AccessError,
    AnswerHiddenError,
    AudioError,
    BusyError,
    EncoderMissingError,
    ForbiddenError,
    JobError,
    MailError,
    ModelError,
    NotSignedInError,
    QuotaExceededError,
    RateLimitedError,
    RequestError,
    SettingError,
    StoreError,
    TelepathyError,
    UnknownPredictionError,
)
from core.inbox import Refusal
from pages.parts import frame


def show(error: TelepathyError) -> None:
    """Say what is wrong, in the error's own sentence, and offer the next step."""
    if isinstance(error, NotSignedInError):
        st.info("You are signed out.", icon=":material/logout:")
        st.link_button("Sign in", "/sign-in", key="navigation_sign_in")
    elif isinstance(error, ForbiddenError):
        st.warning(str(error), icon=":material/lock:")
    elif isinstance(error, UnknownPredictionError):
        st.warning(str(error), icon=":material/search_off:")
        frame.link("explore", "Show all predictions", icon=":material/arrow_forward:")
    elif isinstance(error, AnswerHiddenError):
        hidden(error)
    elif isinstance(error, EncoderMissingError):
        st.error(str(error), icon=":material/model_training:")
        st.markdown("Install it, then open this page again:")
        st.code(error.command, language="bash")
    elif isinstance(error, ModelError):
        st.error(str(error), icon=":material/model_training:")
        st.markdown("Make the model that comes with Telepathy, then open this page again:")
        st.code("make model", language="bash")
    elif isinstance(error, StoreError):
        st.error(str(error), icon=":material/database_off:")
        _again("Nothing that was answered before is lost. When this is mended:")
    elif isinstance(error, AudioError):
        st.warning(str(error), icon=":material/hearing_disabled:")
    elif isinstance(error, BusyError):
        st.warning(str(error), icon=":material/hourglass_top:")
        _again("Nothing that was answered before is lost. In a moment:")
    elif isinstance(error, SettingError):
        st.error(str(error), icon=":material/tune:")
        st.markdown("Mend it in `telepathy.toml` or in the environment, and start Telepathy again.")
    else:
        st.error(str(error), icon=":material/error:")
        _again("If this is mended:")


@contextmanager
def told() -> Iterator[None]:
    """Say in its place what of an account, a key or a form was refused, and go on with the page."""
    try:
        yield
    except AnswerHiddenError as error:
        hidden(error)
    except (AccessError, RequestError, MailError, JobError) as error:
        st.error(str(error), icon=":material/error:")


def hidden(error: AnswerHiddenError) -> None:
    """Say that a clip is to be rated first, and lead there."""
    st.info(str(error), icon=":material/visibility_off:")
    frame.link("annotate", "Annotate", icon=":material/arrow_forward:")


def refused(name: str, error: Refusal) -> None:
    """Say why a recording got no answer; the sentence of such an error ends with what to try."""
    is_hidden = isinstance(error, AnswerHiddenError)
    st.subheader("Kept, and its answer hidden" if is_hidden else "No answer for this one", anchor=False)
    st.text(name)
    if isinstance(error, AnswerHiddenError):
        hidden(error)
        return
    if isinstance(error, BusyError):
        st.warning(str(error), icon=":material/hourglass_top:")
        st.markdown("Nothing is wrong with the recording. Hand it in again in a moment.")
        return
    if isinstance(error, RateLimitedError | QuotaExceededError):
        st.warning(str(error), icon=":material/hourglass_top:")
        st.markdown("Nothing is wrong with the recording. Hand it in again then; the page Usage says what is left.")
        return
    st.error(str(error), icon=":material/hearing_disabled:")
    st.markdown("What works best: one person talking for two seconds or more, near the microphone, in a quiet room.")


def _again(sentence: str) -> None:
    st.markdown(sentence)
    st.button("Try again", key="navigation_again", icon=":material/refresh:")
