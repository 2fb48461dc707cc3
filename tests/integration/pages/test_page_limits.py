"""Pages keep to the plan of whoever is signed in, and say so when it is used up."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.config import Settings
from core.domain import PROCESS, Role
from core.plans import default_plans
from core.store.predictions import count_predictions
from tests.bundles import TINY
from tests.sounds import voice_wav

CLIP = voice_wav(seconds=1.5)
OTHER = voice_wav(seconds=1.2, pitch_hz=210.0)
ONE_CALL = replace(default_plans()["enterprise"], calls_per_month=1)


@pytest.fixture
def settings(tmp_path):
    plans = default_plans() | {"enterprise": ONE_CALL}
    return Settings(data_dir=tmp_path, models_dir=TINY.parent, model="tiny", plans=plans)


def said(app) -> str:
    return "\n".join(element.value for element in (*app.error, *app.warning, *app.info, *app.markdown))


def test_an_upload_beyond_the_quota_is_refused_and_costs_no_other(open_page, workbench):
    app = open_page()
    [uploader] = app.file_uploader
    uploader.set_value([("a.wav", CLIP, "audio/wav"), ("b.wav", OTHER, "audio/wav")])
    app.run()
    assert not app.exception
    assert count_predictions(workbench.store, reader=PROCESS) == 1
    assert "allows 1 calls a month" in app.dataframe[0].value["Note"].str.cat(sep=" ")


def test_live_by_webrtc_says_when_the_quota_is_used_up(open_page, workbench, sign_in):
    signed_in = sign_in(Role.ANALYST)
    app = open_page("live")
    used = workbench.limits.used_this_month
    workbench.limits.used_this_month = lambda user_id, start: replace(used(user_id, start), n_calls=1)
    sign_in(Role.ANALYST, signed_in.user)
    workbench.projects.agree(signed_in.user.id, None)
    app.segmented_control(key="live_way_in").set_value("WebRTC")
    app.run()
    assert "allows 1 calls a month" in said(app)


def test_what_was_heard_by_webrtc_is_not_lost_when_the_quota_refuses_to_keep_it(open_page, workbench, sign_in):
    signed_in = sign_in(Role.ANALYST)
    workbench.projects.agree(signed_in.user.id, None)
    used = workbench.limits.used_this_month
    workbench.limits.used_this_month = lambda user_id, start: replace(used(user_id, start), n_calls=1)
    app = open_page("live")
    app.session_state["live_held"] = CLIP
    app.segmented_control(key="live_way_in").set_value("WebRTC")
    app.run()
    app.button(key="live_keep_held").click().run()
    assert "allows 1 calls a month" in said(app)
    assert app.session_state["live_held"] == CLIP
    workbench.limits.used_this_month = used
    workbench.limits._quotas._counts.clear()
    app.button(key="live_keep_held").click().run()
    assert count_predictions(workbench.store, reader=PROCESS) == 1
    assert "live_held" not in app.session_state


def test_what_was_heard_by_webrtc_can_be_discarded_when_the_quota_is_used_up(open_page, workbench, sign_in):
    signed_in = sign_in(Role.ANALYST)
    workbench.projects.agree(signed_in.user.id, None)
    used = workbench.limits.used_this_month
    workbench.limits.used_this_month = lambda user_id, start: replace(used(user_id, start), n_calls=1)
    app = open_page("live")
    app.session_state["live_held"] = CLIP
    app.segmented_control(key="live_way_in").set_value("WebRTC")
    app.run()
    app.button(key="live_discard_held").click().run()
    assert "live_held" not in app.session_state
    assert count_predictions(workbench.store, reader=PROCESS) == 0
