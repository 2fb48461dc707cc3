"""The WebRTC microphone, as far as it goes without a browser."""

from __future__ import annotations

from pages.parts import telephone


def test_session_that_is_over_gives_way_to_one_that_listens(workbench, monkeypatch):
    monkeypatch.setattr(telephone.st, "session_state", {})
    first = telephone._current_session(workbench)
    assert telephone._current_session(workbench) is first
    first.discard()
    second = telephone._current_session(workbench)
    assert second is not first
    assert not second.is_over
