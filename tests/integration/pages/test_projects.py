"""Projects: purposes, sharing, retention; the notice before the first recording; one's own data on Account."""

from __future__ import annotations

import re

import pytest

from core.domain import PROCESS, Purpose, Role
from core.errors import UnknownUserError
from core.privacy import PURPOSES
from core.store.recordings import select_recordings
from pages.parts import stage, telephone
from tests.callers import make_user
from tests.sounds import voice_wav


def text_of(app) -> str:
    return "\n".join(each.value for each in [*app.markdown, *app.error, *app.warning, *app.info, *app.caption])


def test_a_project_is_begun_shared_and_given_a_period(open_page, workbench, sign_in):
    sign_in(Role.ANALYST)
    friend = make_user(workbench)
    app = open_page("projects")
    assert "No projects yet" in text_of(app)
    assert app.button(key="projects_begin").disabled
    app.text_input(key="projects_name").set_value("Voices *of* 2026")
    app.number_input(key="projects_days").set_value(30)
    app.run().button(key="projects_begin").click().run()
    assert not app.exception
    [project] = workbench.projects.list_for(PROCESS)
    assert (project.purpose, project.retention_days) == (Purpose.RESEARCH, 30)
    assert app.text_input(key="projects_name").value == ""
    assert app.number_input(key="projects_days").value is None
    assert app.button(key="projects_begin").disabled
    app.text_input(key=f"projects_{project.id}_email").set_value(friend.email)
    app.button(key=f"projects_{project.id}_share_now").click().run()
    assert workbench.projects.members(project.id, PROCESS)[1] == friend
    app.number_input(key=f"projects_{project.id}_days").set_value(7)
    app.button(key=f"projects_{project.id}_keep_now").click().run()
    assert "kept for 7 days" in text_of(app)
    app.button(key=f"projects_{project.id}_remove_{friend.id}").click().run()
    assert len(workbench.projects.members(project.id, PROCESS)) == 1


def test_names_and_notes_of_a_project_are_never_taken_for_markup(open_page, workbench, sign_in):
    evil = "<img src=x onerror=alert(1)> [a](javascript:alert(2)) ![b](https://evil.example/c.png)"
    user = workbench.access.create_user("eve@example.org", evil, Role.ANALYST, "enterprise", by=None)
    signed_in = sign_in(Role.ANALYST, user)
    caller = workbench.access.caller_of_page(signed_in.access_token, signed_in.refresh_token)
    workbench.projects.create(evil, Purpose.RESEARCH, by=caller, purpose_note=evil)
    text = text_of(open_page("projects"))
    assert text.count("onerror") == 3, "name, note and owner"
    assert not re.search(r"(?<!\\)<img|(?<!\\)\]\(", text)


@pytest.mark.parametrize("role", [Role.ANALYST, Role.ADMIN])
def test_chooser_says_which_purposes_are_prohibited_and_refuses_them(open_page, workbench, sign_in, role):
    sign_in(role)
    app = open_page("projects")
    assert "Article 5(1)(f)" in text_of(app)
    app.text_input(key="projects_name").set_value("Moods")
    app.radio(key="projects_purpose").set_value(Purpose.WORKPLACE).run()
    assert "Article 5(1)(f)" in app.error[0].value
    app.button(key="projects_begin").click().run()
    assert any("prohibited in the EU" in each.value for each in app.error)
    assert app.text_input(key="projects_name").value == "Moods"
    assert not [each for each in app.button if each.key == "navigation_again"]
    assert workbench.projects.list_for(PROCESS) == []
    if role is Role.ANALYST:
        assert not [each for each in app.text_area if each.key == "projects_exception"]
        return
    app.text_area(key="projects_exception").set_value("pilots fall asleep")
    app.run().button(key="projects_begin").click().run()
    assert "Lawful because: pilots fall asleep" in text_of(app)


def test_nothing_can_be_handed_in_before_somebody_agrees(open_page, workbench, sign_in):
    user = workbench.access.create_user("new@example.org", "New", Role.ANALYST, "enterprise", by=None)
    sign_in(Role.ANALYST, user)
    for page in ("analyse", "live"):
        app = open_page(page)
        assert not app.exception
        assert PURPOSES[Purpose.PERSONAL].split(",")[0] in text_of(app)
        assert not app.get("file_uploader")
        assert not app.get("audio_input")
    app = open_page("analyse")
    assert [each for each in app.button if each.key.startswith("analyse_sample_")]
    app.button(key="analyse_agree").click().run()
    assert app.get("file_uploader")
    assert workbench.projects.has_agreed(user.id, None)
    assert not [each for each in open_page("live").button if each.key == "live_agree"]


def test_recordings_go_into_the_chosen_project_after_its_notice(open_page, workbench, sign_in):
    signed_in = sign_in(Role.ANALYST)
    caller = workbench.access.caller_of_page(signed_in.access_token, signed_in.refresh_token)
    project = workbench.projects.create("Voices", Purpose.RESEARCH, by=caller, purpose_note="Calls of our own line")
    app = open_page("analyse")
    app.selectbox(key="analyse_project").set_value(project.id).run()
    assert "Calls of our own line" in text_of(app)
    assert not app.get("file_uploader")
    app.button(key="analyse_agree").click().run()
    assert app.get("file_uploader")
    next(each for each in app.button if each.key.startswith("analyse_sample_")).click().run()
    assert not app.exception
    [outcome] = app.session_state["analyse_inbox"].outcomes.values()
    assert (outcome.analysis.recording.project_id, outcome.analysis.recording.owner_id) == (project.id, caller.user.id)


def test_live_goes_into_the_chosen_project_after_its_notice(open_page, workbench, sign_in, monkeypatch):
    signed_in = sign_in(Role.ANALYST)
    caller = workbench.access.caller_of_page(signed_in.access_token, signed_in.refresh_token)
    project = workbench.projects.create("Voices", Purpose.RESEARCH, by=caller, purpose_note="Calls of our own line")
    given = []
    monkeypatch.setattr(stage, "listen", lambda **asked: given.append(asked["project_id"]) or (None, False))
    app = open_page("live")
    sign_in(Role.ANALYST, signed_in.user)
    app.selectbox(key="live_project").set_value(project.id).run()
    assert "Calls of our own line" in text_of(app)
    assert project.id not in given
    app.button(key="live_agree").click().run()
    assert given[-1] == project.id
    heard = [voice_wav(seconds=1.2)]
    monkeypatch.setattr(telephone, "call", lambda workbench, key: heard.pop() if heard else None)
    app.segmented_control(key="live_way_in").set_value("WebRTC").run()
    assert not app.exception
    [recording] = select_recordings(workbench.store, reader=caller.reader, project_id=project.id)
    assert recording.owner_id == caller.user.id


def test_account_is_deleted_when_its_address_is_typed(open_page, workbench, sign_in):
    signed_in = sign_in(Role.ANALYST)
    app = open_page("account")
    assert app.button(key="account_delete").disabled
    app.text_input(key="account_delete_typed").set_value(signed_in.user.email.upper()).run()
    app.button(key="account_delete").click().run()
    with pytest.raises(UnknownUserError):
        workbench.access.user(signed_in.user.id)
