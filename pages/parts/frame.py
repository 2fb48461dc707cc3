"""What stands around every page: the tab's title, the logo, and the few rules that the theme cannot say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import streamlit as st

from core.access.roles import may_open
from pages.parts import session, theme

RENEWALS_PER_TOKEN = 3
"""How often a page asks for the next token within the life of one: a request that fails costs nobody their session."""
RENEWAL_SCRIPT = Path(__file__).with_name("renewal.js")
LOGO = Path(__file__).parent / "logo.svg"

STYLE = """<style>
:has(> [data-testid="stHeaderLogo"])::after, :has(> [data-testid="stSidebarLogo"])::after {
  content: "Telepathy"; font: 600 1.2rem "Source Serif", serif; margin-left: .5rem; color: inherit;
}
:has(> [data-testid="stHeaderLogo"]), :has(> [data-testid="stSidebarLogo"]) { display: flex; align-items: center; }
[data-testid="stCaptionContainer"] { opacity: 1; }
[data-testid="stCaptionContainer"] p { opacity: .8; }
.telepathy-verdict { margin: 0 0 .25rem; }
.telepathy-verdict p { margin: 0 0 .35rem; line-height: 1.5; }
.telepathy-verdict .telepathy-name { opacity: .72; font-size: .875rem; overflow-wrap: anywhere; margin-bottom: 1rem; }
.telepathy-verdict .telepathy-lead { font-size: 1rem; margin: 0; opacity: .8; }
.telepathy-verdict h2 {
  font: 600 1.9rem/1.15 "Source Serif", serif; padding: 0 0 .6rem;
}
.telepathy-legend { display: flex; flex-wrap: wrap; gap: .4rem 1.1rem; margin-top: .25rem; }
.telepathy-sign { margin-right: .12em; }
.telepathy-playhead { position: absolute; width: 2px; background: currentColor; opacity: .75; pointer-events: none; }
.telepathy-stretch {
  position: absolute; pointer-events: none; border: 2px solid currentColor; border-radius: 4px; opacity: .85;
}
.telepathy-play {
  font: inherit; font-size: .875rem; line-height: 1.2; color: inherit; background: transparent; cursor: pointer;
  border: 1px solid color-mix(in srgb, currentColor 35%, transparent); border-radius: 999px; padding: .35rem .8rem;
  white-space: nowrap;
}
.telepathy-play:hover { border-color: currentColor; }
.telepathy-play:focus-visible { outline: 2px solid currentColor; outline-offset: 2px; }
.telepathy-reasons { display: grid; gap: .9rem; }
.telepathy-reasons > div { line-height: 1.5; border-left: 4px solid; padding-left: .75rem; }
.telepathy-reasons > div > span { display: block; margin-bottom: .4rem; }
.telepathy-key { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; font-size: .875rem; margin-bottom: .2rem; }
.telepathy-key i {
  display: inline-block; width: 1.4em; height: .9em; border-radius: 3px; margin-right: .35em; vertical-align: -.1em;
}
[class*="st-key-explain_regions"] .nsewdrag { cursor: pointer; }
.st-key-analyse_sound .nsewdrag, .st-key-explore_sound .nsewdrag { cursor: pointer; }
@media (pointer: coarse) {
  [class*="st-key-"][class*="_sound"] .nsewdrag, [class*="st-key-explore_by_doubt"] .nsewdrag,
  [class*="st-key-explore_over_time"] .nsewdrag { pointer-events: none; }  /* a finger scrolls the page */
}
@media (prefers-reduced-motion: reduce) { * { animation: none !important; transition: none !important; } }
</style>"""


def begin() -> None:
    """Set up the page; called before anything is drawn."""
    st.set_page_config(page_title="Telepathy", page_icon=str(LOGO), layout="wide")
    st.logo(str(LOGO), size="large")
    st.html(STYLE + button_style(theme.surface()))


def button_style(surface: theme.Surface) -> str:
    """Primary buttons are ink, and what stands on ink is paper; Streamlit writes white on it in both themes."""
    return (
        '<style>[data-testid^="stBaseButton-primary"]:not(:disabled) '
        f"{{ color: {surface.background} !important; }}</style>"
    )


def stay_signed_in(access_token_minutes: float) -> None:
    """Have the browser renew its session while the page is open; nothing on the page changes by that."""
    every_ms = round(access_token_minutes * 60_000 / RENEWALS_PER_TOKEN)
    _renewal(key="navigation_renewal", data={"everyMs": every_ms})


def leave(target: str = "/sign-in") -> None:
    """Have the browser go to another address of this site."""
    _renewal(key="navigation_leaving", data={"leave": target})


def _renewal(*, key: str, data: dict[str, object]) -> None:
    mount = st.components.v2.component("telepathy_renewal", js=RENEWAL_SCRIPT.read_text(encoding="utf-8"))
    mount(key=key, data=data, height=0)


def link(page: str, label: str, *, icon: str, query_params: Mapping[str, str | Sequence[str]] | None = None) -> None:
    """A link to another page, for those who may open it."""
    if may_open(session.caller().user.role, page):
        st.page_link(f"{page}.py", label=label, icon=icon, query_params=query_params)
