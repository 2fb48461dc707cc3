"""Who sees which page; account and people do what they say."""

from __future__ import annotations

import pytest

from core.access.roles import PAGES, may_open
from core.domain import Role, Scope
from core.errors import InvalidCredentialsError
from tests.callers import PASSWORD, make_user

NEW_PASSWORD = "another long and odd sentence"


def told(app) -> str:
    shown = [*app.markdown, *app.error, *app.warning, *app.info, *app.success, *app.caption, *app.title, *app.code]
    return "\n".join(element.value for element in shown)


@pytest.mark.parametrize("role", Role)
def test_each_role_opens_its_pages_and_no_other(open_page, sign_in, role, workbench):
    sign_in(role)
    for page in ("account", "people", "explore"):
        assert page in PAGES
        if may_open(role, page):
            app = open_page(page)
            assert not app.exception
            assert [title.value for title in app.title] == [page.capitalize()]
        else:
            with pytest.raises(ValueError, match="Could not find a navigation page"):
                open_page(page)


def test_nobody_signed_in_sees_nothing(open_page, monkeypatch):
    monkeypatch.setattr("pages.parts.session._cookie", {}.get)
    app = open_page()
    assert "You are signed out" in told(app)
    assert not app.title
    assert not app.button


def test_page_of_an_ended_session_closes_on_its_next_run(open_page, sign_in, workbench):
    app = open_page("account")
    signed_in = sign_in(Role.ANALYST)
    app = open_page("account")
    assert app.title
    workbench.access.sign_out(signed_in.session_id)
    app.run()
    assert "You are signed out" in told(app)
    assert not app.title


def test_what_a_page_kept_of_one_person_is_gone_for_the_next(open_page, sign_in):
    app = open_page("account")
    app.session_state["account_new_key"] = "tel_live_of_somebody_else"
    app.run()
    assert "tel_live_of_somebody_else" in told(app)
    sign_in(Role.ANALYST)
    app.run()
    assert "tel_live_of_somebody_else" not in told(app)


def test_disabled_account_closes(open_page, workbench, sign_in):
    user = make_user(workbench)
    sign_in(user.role, user)
    app = open_page("account")
    workbench.access.change_active(user.id, False, by=None)
    assert "You are signed out" in told(app.run())


def test_password_is_changed_with_the_present_one(open_page, workbench, sign_in):
    user = make_user(workbench)
    other = workbench.access.start_session(user, address="", user_agent="")
    sign_in(user.role, user)
    app = open_page("account")
    app.text_input(key="account_old").set_value("not this one at all")
    app.text_input(key="account_new").set_value(NEW_PASSWORD)
    app.button(key="account_save_password").click().run()
    assert "present password is not right" in app.error[0].value
    app.text_input(key="account_old").set_value(PASSWORD)
    app.text_input(key="account_new").set_value(NEW_PASSWORD)
    app.button(key="account_save_password").click().run()
    assert "is saved" in app.success[0].value
    assert app.title, "this session goes on"
    assert workbench.access.caller_of_page(other.access_token, other.refresh_token) is None
    workbench.access.sign_in(email=user.email, password=NEW_PASSWORD, address="", user_agent="")


def test_guesses_at_the_present_password_are_counted(open_page, workbench, sign_in):
    user = make_user(workbench)
    sign_in(user.role, user)
    for _ in range(workbench.settings.sign_in_attempts_per_account):
        workbench.sign_in_guard.count_failure(user.email, "203.0.113.9")
    app = open_page("account")
    app.text_input(key="account_old").set_value(PASSWORD)
    app.text_input(key="account_new").set_value(NEW_PASSWORD)
    app.button(key="account_save_password").click().run()
    assert "at one account" in app.error[0].value
    with pytest.raises(InvalidCredentialsError):
        workbench.access.sign_in(email=user.email, password=NEW_PASSWORD, address="", user_agent="")


def test_key_is_made_shown_once_replaced_and_revoked(open_page, workbench, sign_in):
    user = make_user(workbench)
    sign_in(user.role, user)
    app = open_page("account")
    assert [option.lower() for option in app.pills(key="account_key_scopes").options] == ["predict", "read", "delete"]
    app.text_input(key="account_key_name").set_value("nightly *batch*")
    app.button(key="account_make_key").click().run()
    [key] = workbench.access.keys_of(user.id)
    text = app.code[0].value
    assert workbench.access.caller_of_key(text).user == workbench.access.user(user.id)
    assert key.scopes == {Scope.PREDICT, Scope.READ}
    assert key.expires_at is not None
    app.button(key="account_key_taken").click().run()
    assert text not in told(app)
    app.button(key=f"account_rotate_{key.id}").click().run()
    newer = app.code[0].value
    assert newer != text
    assert "are refused from now on. This cannot be undone." in told(app)
    app.button(key=f"account_revoke_{key.id}").click().run()
    assert [each.revoked_at is None for each in workbench.access.keys_of(user.id) if each.id == key.id] == [False]
    workbench.access.caller_of_key(newer)
    assert app.code[0].value == newer
    newest = next(each for each in workbench.access.keys_of(user.id) if each.revoked_at is None)
    app.button(key=f"account_revoke_{newest.id}").click().run()
    assert newer not in told(app)


def test_key_without_a_name_is_refused_in_its_place(open_page):
    app = open_page("account")
    app.button(key="account_make_key").click().run()
    assert len(app.error) == 1
    assert app.title


def test_viewers_hold_no_keys(open_page, sign_in):
    sign_in(Role.VIEWER)
    app = open_page("account")
    assert "Your role does not have them" in told(app)
    assert not [button for button in app.button if button.key == "account_make_key"]


def test_other_sessions_are_listed_and_ended(open_page, workbench, sign_in):
    user = make_user(workbench)
    other = workbench.access.start_session(user, address="203.0.113.9", user_agent="Mozilla/5.0 (Windows) Firefox/140")
    sign_in(user.role, user)
    app = open_page("account")
    assert "Firefox on Windows" in told(app)
    app.button(key=f"account_end_{other.session_id}").click().run()
    assert workbench.access.caller_of_page(other.access_token, other.refresh_token) is None
    app.button(key="account_sign_out_everywhere").click().run()
    assert workbench.access.sessions_of(user.id) == []


def test_admin_invites_by_a_link_shown_once(open_page, workbench):
    app = open_page("people")
    app.text_input(key="people_email").set_value("grace@example.org")
    app.button(key="people_invite_send").click().run()
    address = app.code[0].value
    assert address.startswith("http://localhost:")
    link = workbench.access.look_at_link(address.partition("token=")[2])
    assert link.email == "grace@example.org"
    app.button(key="people_link_taken").click().run()
    assert address not in told(app)


def test_invitation_goes_by_mail_where_there_is_a_server(open_page, workbench):
    mailed = []
    workbench.mail_link = lambda kind, email, token: mailed.append((kind.value, email))
    app = open_page("people")
    app.text_input(key="people_email").set_value("grace@example.org")
    app.button(key="people_invite_send").click().run()
    assert mailed == [("invitation", "grace@example.org")]
    assert "on its way by mail" in told(app)


def test_audit_log_is_shown_and_verified(open_page):
    app = open_page("people")
    app.button(key="people_verify").click().run()
    assert "as they were written" in app.success[0].value
