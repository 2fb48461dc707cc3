"""`python -m core.access` as an operator uses it: before the first start, and while a process holds the store open."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from core.access.__main__ import commands
from core.access.access import Access
from core.access.api_keys import is_well_formed
from core.access.links import note_port
from core.config import PREFIX, REPOSITORY, Settings
from core.domain import LinkKind, Role, Scope
from core.errors import InvalidCredentialsError, TelepathyError
from core.store.audit import verify_audit_log
from tests.integration.access.people import BROWSER, PASSWORD, audited, make_key, make_user, signed_in

LINK = re.compile(r"http://localhost:8501/link\?token=([A-Za-z0-9_-]{43})\n")


class Operator:
    """Somebody at the command line of the machine. A new interpreter takes a second: most commands share this one."""

    def __init__(self, settings):
        self.environ = {"TELEPATHY_DATA_DIR": str(settings.data_dir), "TELEPATHY_STORE_URL": settings.store_url}

    def runs(self, *arguments, typed=""):
        """A real process: its exit code, standard output and standard error."""
        environ = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        done = subprocess.run(
            [sys.executable, "-m", "core.access", *arguments],
            cwd=REPOSITORY,
            env=environ | self.environ,
            input=typed,
            capture_output=True,
            text=True,
            timeout=200,
        )
        return done.returncode, done.stdout, done.stderr

    def says(self, *arguments, typed=""):
        done = CliRunner().invoke(commands, list(arguments), input=typed, env=self.environ)
        assert done.exit_code == 0, (done.stderr, done.exception)
        assert done.stderr == ""
        return done.stdout

    def is_refused(self, *arguments, typed=""):
        done = CliRunner().invoke(commands, list(arguments), input=typed, env=self.environ)
        assert isinstance(done.exception, TelepathyError), (done.exception, done.stdout)
        assert done.stdout == ""
        return str(done.exception)


@pytest.fixture
def operator(settings):
    return Operator(settings)


def test_first_commands_come_before_the_first_start(operator, settings):
    code, said, complaint = operator.runs("user", "create", "Grace@example.org", "--name", "Grace", "--role", "admin")
    link = LINK.fullmatch(said)
    assert (code, complaint) == (0, "")
    assert link
    code, secret, complaint = operator.runs(
        *("key", "create", "--user", "grace@example.org", "--name", "load test"),
        *("--scopes", "predict,read", "--plan", "enterprise"),
    )
    assert (code, complaint) == (0, "")
    assert secret.endswith("\n")
    assert is_well_formed(secret[:-1])
    access = Access.open(settings)
    who = access.caller_of_key(secret[:-1])
    assert (who.user.role, who.plan, who.scopes) == (Role.ADMIN, "enterprise", {Scope.PREDICT, Scope.READ})
    assert not who.reader.sees_everything
    assert access.peek_link(link[1]) is LinkKind.PASSWORD_RESET
    into = access.use_link(link[1], new_password=PASSWORD, **BROWSER)
    assert (into.user.email, into.user.name) == ("grace@example.org", "Grace")
    assert access.is_set_up()
    assert [entry[:2] for entry in audited(access)][:3] == [
        ("command line", "user.create"),
        ("command line", "link.create"),
        ("command line", "key.create"),
    ]
    access.close()


def test_commands_work_while_a_process_holds_the_store_open(operator, access):
    user, other = make_user(access), make_user(access, "grace@example.org", Role.ADMIN)
    session, secret = signed_in(access, user), make_key(access, user)
    assert access.caller_of_token(session.access_token)
    code, made, _ = operator.runs("key", "create", "--user", user.email, "--name", "x", "--scopes", "read")
    made = made.strip()
    assert code == 0
    assert access.caller_of_key(made).plan == "free"
    operator.says("user", "role", user.email, "viewer")
    operator.says("user", "plan", user.email, "pro")
    assert access.caller_of_token(session.access_token).user.role is Role.VIEWER
    assert access.caller_of_key(made).plan == "pro"
    kid = operator.says("rotate-signing-key").strip()
    assert access._signing_keys.current().kid == kid
    assert access.caller_of_token(session.access_token)
    operator.says("rotate-signing-key", "--at-once")
    with pytest.raises(InvalidCredentialsError):
        access.caller_of_token(session.access_token)
    assert access.caller_of_page(session.access_token, session.refresh_token).user.id == user.id
    assert operator.runs("user", "disable", user.email) == (0, "", "")
    for refused in (secret, made):
        with pytest.raises(InvalidCredentialsError):
            access.caller_of_key(refused)
    assert access.caller_of_page(session.access_token, session.refresh_token) is None
    operator.says("user", "enable", user.email)
    assert access.caller_of_key(secret).user.id == user.id
    assert "only admin" in operator.is_refused("user", "disable", other.email)
    assert operator.says("audit", "verify") == (
        f"{verify_audit_log(access.store).n_entries}:{verify_audit_log(access.store).head_hash}\n"
    )


def test_password_comes_by_standard_input_and_no_link_is_printed(operator, settings):
    assert operator.says("user", "create", "ada@example.org", "--password-stdin", typed=PASSWORD + "\n") == ""
    access = Access.open(settings)
    user = access.user_by_email("ada@example.org")
    assert (user.name, user.role, user.plan, user.has_password) == ("ada", Role.ANALYST, "free", True)
    access.close()
    refusal = operator.is_refused("user", "create", "eve@example.org", "--password-stdin", typed="short\n")
    assert "has 5 characters" in refusal


def test_lists_show_what_there_is_and_no_secret(operator, access):
    user = make_user(access)
    make_user(access, "linked@example.org", password=None)
    access.change_active(make_user(access, "gone@example.org").id, False, by=None)
    secret = make_key(access, user, Scope.READ, Scope.PREDICT)
    key = access.all_keys()[0]
    people = operator.says("user", "list").splitlines()
    assert [line.split("\t")[:4] for line in people] == [
        ["ada@example.org", "analyst", "free", "active"],
        ["linked@example.org", "analyst", "free", "no password"],
        ["gone@example.org", "analyst", "free", "disabled"],
    ]
    (line,) = operator.says("key", "list").splitlines()
    assert secret not in line
    assert line.split("\t") == [
        str(key.id),
        f"{secret[:13]}...{secret[-4:]}",
        *("ada@example.org", "valid", "predict,read", "as its owner", "never", "notebook"),
    ]
    assert operator.says("key", "list", "--user", "linked@example.org") == ""
    rotated = operator.says("key", "rotate", str(key.id), "--overlap-hours", "0")[:-1]
    assert access.caller_of_key(rotated).user.id == user.id
    new = next(each for each in access.all_keys() if each.replaces_id == key.id)
    operator.says("key", "revoke", str(new.id))
    states = {line.split("\t")[0]: line.split("\t")[3] for line in operator.says("key", "list").splitlines()}
    assert states == {str(key.id): "expired", str(new.id): "revoked"}
    last = operator.says("audit", "show", "--last", "1").split("\t")
    assert last[2:5] == ["command line", "key.revoke", str(new.id)]
    assert len(operator.says("audit", "show").splitlines()) == len(audited(access))


def test_locked_out_admin_comes_in_by_a_link(operator, access):
    admin = make_user(access, "grace@example.org", Role.ADMIN)
    link = LINK.fullmatch(operator.says("user", "link", "GRACE@example.org"))
    into = access.use_link(link[1], new_password="seven swans over the lake", **BROWSER)
    assert into.user.id == admin.id


def test_broken_log_is_said_and_the_command_fails(operator, access):
    make_user(access)
    noted = operator.says("audit", "verify").strip()
    make_user(access, "eve@example.org")
    assert operator.says("audit", "verify", "--remembered", noted)
    other = noted[:-1] + ("0" if noted[-1] != "0" else "1")
    done = CliRunner().invoke(commands, ["audit", "verify", "--remembered", other], env=operator.environ)
    assert done.exit_code == 1
    assert "not the one whose hash was noted" in done.stderr


def test_mistake_ends_with_code_1_and_one_sentence(tmp_path):
    operator = Operator(Settings(data_dir=tmp_path / "data"))
    code, said, complaint = operator.runs("user", "disable", "eve@example.org")
    assert (code, said) == (1, "")
    assert complaint == "There is no account eve@example.org. It may have been deleted.\n"


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["key", "create", "--user", "eve@example.org", "--name", "x", "--scopes", "read"], "no account"),
        (["key", "create", "--user", "ada@example.org", "--name", "x", "--scopes", "reed"], "predict,read"),
        (["key", "create", "--user", "ada@example.org", "--name", "x", "--scopes", ""], "scopes"),
        (["key", "create", "--user", "ada@example.org", "--name", "x", "--scopes", "admin"], "more than"),
        (["key", "create", "--user", "ada@example.org", "--name", "x", "--scopes", "read", "--plan", "gold"], "gold"),
        (
            ["key", "create", "--user", "ada@example.org", "--name", "x", "--scopes", "read", "--expires-days", "-1"],
            "expires-days",
        ),
        (["key", "revoke", "00000000-0000-0000-0000-000000000000"], "no API key"),
        (["user", "create", "no address"], "e-mail address"),
        (["user", "create", "ada@example.org"], "an account for ada@example.org already"),
        (["user", "link", "eve@example.org"], "no account"),
        (["audit", "verify", "--remembered", "x"], "NUMBER:HASH"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_mistake_is_said_in_one_sentence(tmp_path, arguments, what):
    settings = Settings(data_dir=tmp_path / "data")
    access = Access.open(settings)
    make_user(access)
    access.close()
    assert what in Operator(settings).is_refused(*arguments)


def test_link_leads_to_the_port_of_the_process_or_to_the_public_address(operator, settings, access):
    make_user(access, "ada@example.org", password=None)
    note_port(settings, 8623)
    assert operator.says("user", "link", "ada@example.org").startswith("http://localhost:8623/link?token=")
    note_port(settings, 8623, is_https=True)
    assert operator.says("user", "link", "ada@example.org").startswith("https://localhost:8623/link?token=")
    public = Operator(settings)
    public.environ["TELEPATHY_PUBLIC_URL"] = "https://voices.example.org"
    assert public.says("user", "link", "ada@example.org").startswith("https://voices.example.org/link?token=")
