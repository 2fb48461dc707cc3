"""What stands around every page: the tab's title, the logo, and the few rules that the theme cannot say."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

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
    st.html(STYLE)
