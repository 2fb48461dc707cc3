"""The WebRTC microphone, as far as it goes without a browser."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.domain import Role
from core.errors import QuotaExceededError
from core.plans import default_plans
from pages.parts import telephone

NOTHING = replace(default_plans()["free"], calls_per_month=0)


def test_session_that_is_over_gives_way_to_one_that_listens(workbench, sign_in, monkeypatch):
    sign_in(Role.ANALYST)
    monkeypatch.setattr(telephone.st, "session_state", {})
    first = telephone._current_session(workbench)
    assert telephone._current_session(workbench) is first
    first.discard()
    second = telephone._current_session(workbench)
    assert second is not first
    assert not second.is_over


def test_nobody_listens_once_the_months_quota_is_used_up(workbench, sign_in, monkeypatch):
    monkeypatch.setattr(telephone.st, "session_state", {})
    signed_in = sign_in(Role.ANALYST)
    monkeypatch.setitem(workbench.settings.plans, signed_in.user.plan, NOTHING)
    with pytest.raises(QuotaExceededError):
        telephone._current_session(workbench)
    assert telephone.SESSION not in telephone.st.session_state
