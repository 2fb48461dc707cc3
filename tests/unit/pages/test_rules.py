"""The rules of a page, read off its syntax tree."""

from __future__ import annotations

import ast

import pytest
from streamlit import config

from core.config import REPOSITORY

PAGES = [path for path in sorted((REPOSITORY / "pages").glob("*.py")) if path.stem != "__init__"]
PARTS = sorted((REPOSITORY / "pages" / "parts").glob("*.py"))
LAYERS = (ast.Try, ast.TryStar)


def calls(path):
    return [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]


def first_text(node: ast.expr) -> str | None:
    if isinstance(node, ast.JoinedStr):
        node = node.values[0]
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_errors_are_caught_in_the_navigation_only(path):
    catches = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, LAYERS)]
    assert len(catches) == (1 if path.stem == "navigation" else 0)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_keys_of_widgets_begin_with_the_name_of_their_page(path):
    keys = [first_text(keyword.value) for call in calls(path) for keyword in call.keywords if keyword.arg == "key"]
    assert all(key is not None and key.startswith(path.stem) for key in keys), keys


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_page_does_no_sums(path):
    sums = [
        node
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.BinOp) and not isinstance(node.op, ast.BitOr)  # X | None is a type
    ]
    assert not sums


@pytest.mark.parametrize("path", [*PAGES, *PARTS], ids=lambda path: path.stem)
def test_what_a_visitor_wrote_is_never_taken_for_html(path):
    trusting = [
        keyword
        for call in calls(path)
        for keyword in call.keywords
        if keyword.arg in {"unsafe_allow_html", "unsafe_allow_javascript"}
    ]
    assert not trusting


@pytest.mark.parametrize("path", [*PAGES, *PARTS], ids=lambda path: path.stem)
def test_caches_are_bounded(path):
    for call in calls(path):
        if isinstance(call.func, ast.Attribute) and call.func.attr in {"cache_data", "cache_resource"}:
            assert {keyword.arg for keyword in call.keywords} & {"max_entries"}, f"{path.name}:{call.lineno}"


@pytest.mark.parametrize(("option", "wanted"), [("runner.postScriptGC", False), ("server.fileWatcherType", "none")])
def test_what_holds_up_the_sound_of_a_microphone_after_each_run_of_a_page_is_off(monkeypatch, option, wanted):
    monkeypatch.chdir(REPOSITORY)
    assert config.get_config_options(force_reparse=True)[option].value == wanted
