"""Which pages there are, and for whom. The one place that shows errors a user can be told; all others stay loud."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st
import structlog

from core.access.roles import may_open
from core.domain import Caller, Role
from core.errors import NotSignedInError, TelepathyError
from core.identifiers import new_id
from pages.parts import frame, refusals, session


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One page in the navigation."""

    page: str
    """Its file, and the row of `core.access.roles.PAGES` that says who may open it."""
    title: str
    icon: str
    help: str


WORK = (
    Entry(
        page="analyse",
        title="Analyse",
        icon=":material/graphic_eq:",
        help="Hand in a recording and read which emotion it carries, how sure that is, and why.",
    ),
    Entry(
        page="live",
        title="Live",
        icon=":material/mic:",
        help="Speak, and see which emotion is heard while you do.",
    ),
    Entry(
        page="explore",
        title="Explore",
        icon=":material/travel_explore:",
        help="Every prediction so far: filter, compare, listen again, download.",
    ),
    Entry(
        page="explain",
        title="Explain",
        icon=":material/lightbulb:",
        help="Why an answer came out as it did: which stretches and which features of the voice spoke for it.",
    ),
)
BULK = (
    Entry(
        page="batch",
        title="Batch",
        icon=":material/library_music:",
        help="Hand in many recordings at once; they are scored in the background, and results appear as they come.",
    ),
    Entry(
        page="jobs",
        title="Jobs",
        icon=":material/pending_actions:",
        help="What is being done in the background: how far it is, pause, cancel, try again.",
    ),
    Entry(
        page="reports",
        title="Reports",
        icon=":material/summarize:",
        help="PDF, Excel or CSV of any period, project or filter: to download, or by e-mail on a schedule.",
    ),
)
LABELLING = (
    Entry(
        page="annotate",
        title="Annotate",
        icon=":material/label:",
        help="Listen to one clip after another and say what you hear, a key each.",
    ),
    Entry(
        page="review",
        title="Review",
        icon=":material/rule:",
        help="What annotators said of a clip, side by side: decide, send back, comment.",
    ),
    Entry(
        page="labelling",
        title="Labelling",
        icon=":material/tune:",
        help="Set up what is asked of whom; how far they are and how well they agree; labels in and out.",
    ),
)
MODELS = (
    Entry(
        page="models",
        title="Models",
        icon=":material/model_training:",
        help="Which model answers, what each is worth, and how your corrections make a better one.",
    ),
)
OWN = (
    Entry(
        page="projects",
        title="Projects",
        icon=":material/folder_shared:",
        help="Recordings that several people share, for one stated purpose; how long they are kept.",
    ),
    Entry(
        page="usage",
        title="Usage",
        icon=":material/data_usage:",
        help="What you asked for so far, what is left of it this month, and what went wrong.",
    ),
    Entry(
        page="webhooks",
        title="Webhooks",
        icon=":material/webhook:",
        help="Have programs of yours told when something happens, and see what became of each message.",
    ),
    Entry(
        page="account",
        title="Account",
        icon=":material/person:",
        help="Your password, your sessions, your API keys.",
    ),
    Entry(
        page="people",
        title="People",
        icon=":material/group:",
        help="Accounts, roles, invitations, everybody's keys, the audit log.",
    ),
    Entry(
        page="admin",
        title="Admin",
        icon=":material/monitor_heart:",
        help="Who uses what, how fast and how well it is answered, what that costs, and alerts.",
    ),
    Entry(page="sign_out", title="Sign out", icon=":material/logout:", help="End this session."),
)


def render() -> None:
    frame.begin()
    try:
        with structlog.contextvars.bound_contextvars(request_id=new_id().hex):
            open_page()
    except TelepathyError as error:
        refusals.show(error)
        if isinstance(error, NotSignedInError):
            frame.leave()


def open_page() -> None:
    caller = session.caller()
    session.keep_to(caller)
    frame.stay_signed_in(session.workbench().settings.access_token_minutes)
    role = caller.user.role
    groups = {"": WORK, "Bulk": BULK, "Label": (*LABELLING, *MODELS), name_in_menu(caller): OWN}
    found = {title: pages_of(entries, role) for title, entries in groups.items()}
    page = st.navigation({title: entries for title, entries in found.items() if entries}, position="top")
    page.run()


def pages_of(entries: tuple[Entry, ...], role: Role) -> list[st.Page]:
    return [
        st.Page(
            f"{entry.page}.py",
            title=entry.title,
            icon=entry.icon,
            default=entry.page == "analyse",
            url_path="" if entry.page == "analyse" else entry.page.replace("_", "-"),
            help=entry.help,
        )
        for entry in entries
        if may_open(role, entry.page)
    ]


def name_in_menu(caller: Caller) -> str:
    """What the menu of one's own pages is called: nothing that Streamlit would take for markdown."""
    plain = "".join(character for character in caller.user.name if character.isalnum() or character in " .-'")
    return plain.strip()[:30] or "You"


render()
