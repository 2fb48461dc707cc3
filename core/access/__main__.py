"""`python -m core.access`: accounts, API keys, the audit log, signing and secret keys, for whoever runs this machine.

Works before the first start and while the workbench runs. What a command was asked for goes to standard output and
nothing else does; the audit log says `command line`.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import UUID

import structlog
import typer

from core.access import secret_commands
from core.access.access import Access, is_valid_key
from core.access.links import link_address, noted_port
from core.config import settings_of_this_machine
from core.domain import ApiKey, LinkKind, Role, Scope
from core.errors import InvalidParameterError, TelepathyError, UnknownUserError
from core.own_files import keep_new_files_private
from core.store.audit import select_audit_entries, verify_audit_log

commands = typer.Typer(help="Accounts, API keys and the audit log.", add_completion=False, no_args_is_help=True)
user_commands = typer.Typer(help="Accounts.", no_args_is_help=True)
key_commands = typer.Typer(help="API keys.", no_args_is_help=True)
audit_commands = typer.Typer(help="The audit log.", no_args_is_help=True)
commands.add_typer(user_commands, name="user")
commands.add_typer(key_commands, name="key")
commands.add_typer(audit_commands, name="audit")
secret_commands.register(commands)

Email = Annotated[str, typer.Argument(help="E-mail address of the account.")]
KeyId = Annotated[UUID, typer.Argument(help="Id of the key, as `key list` shows it.")]


@contextlib.contextmanager
def opened() -> Iterator[Access]:
    access = Access.open(settings_of_this_machine(), process="command line")
    try:
        yield access
    finally:
        access.close()


@user_commands.command("create")
def create_user(
    email: Email,
    name: Annotated[str, typer.Option(help="Name to show; the address before the @ otherwise.")] = "",
    role: Annotated[Role, typer.Option(help="What they are here to do.")] = Role.ANALYST,
    plan: Annotated[str, typer.Option(help="Plan; that of new accounts otherwise.")] = "",
    password_stdin: Annotated[bool, typer.Option(help="Read the password from the first line of standard input.")] = (
        False
    ),
) -> None:
    """Make an account and print a one-time link that opens it; with --password-stdin, none is needed or printed."""
    password = sys.stdin.readline().rstrip("\r\n") if password_stdin else None
    with opened() as access:
        user = access.create_user(
            email, name or email.strip().partition("@")[0], role, plan or None, by=None, password=password
        )
        if password is None:
            _print_link(access, user.email)


@user_commands.command("list")
def list_users() -> None:
    """Print all accounts: address, role, plan, whether they may sign in, since when, and their name."""
    with opened() as access:
        for user in access.users():
            state = "active" if user.is_active else "disabled"
            if user.is_active and not user.has_password:
                state = "no password"
            _print_row(user.email, user.role, user.plan, state, _day(user.created_at), user.name)


@user_commands.command("disable")
def disable_user(email: Email) -> None:
    """End somebody's sessions and let their keys rest, from the next request on."""
    with opened() as access:
        access.change_active(access.user_by_email(email).id, False, by=None)


@user_commands.command("enable")
def enable_user(email: Email) -> None:
    """Let somebody sign in again; keys that were not revoked are valid again."""
    with opened() as access:
        access.change_active(access.user_by_email(email).id, True, by=None)


@user_commands.command("link")
def link_user(email: Email) -> None:
    """Print a one-time link that sets somebody's password: for the locked out, and where no mail is sent."""
    with opened() as access:
        _print_link(access, email)


@user_commands.command("role")
def change_role(email: Email, role: Annotated[Role, typer.Argument(help="The new role.")]) -> None:
    """Give somebody another role."""
    with opened() as access:
        access.change_role(access.user_by_email(email).id, role, by=None)


@user_commands.command("plan")
def change_plan(email: Email, plan: Annotated[str, typer.Argument(help="The new plan.")]) -> None:
    """Give somebody another plan."""
    with opened() as access:
        access.change_plan(access.user_by_email(email).id, plan, by=None)


@key_commands.command("create")
def create_key(
    user: Annotated[str, typer.Option(help="E-mail address of the account that the key acts for.")],
    name: Annotated[str, typer.Option(help="What it is for.")],
    scopes: Annotated[str, typer.Option(help="What it may do, comma-separated: predict, read, delete, admin.")],
    plan: Annotated[str, typer.Option(help="Plan; that of the account otherwise.")] = "",
    expires_days: Annotated[float | None, typer.Option(help="Days after which it ends; never otherwise.")] = None,
) -> None:
    """Make an API key and print it, and nothing else. It cannot be shown again."""
    with opened() as access:
        _, text = access.create_key(
            access.user_by_email(user).id,
            name,
            _scopes(scopes),
            expires_at=_after(expires_days),
            plan=plan or None,
            by=None,
        )
        typer.echo(text)


@key_commands.command("list")
def list_keys(
    user: Annotated[str, typer.Option(help="E-mail address of one account; everybody's keys otherwise.")] = "",
) -> None:
    """Print keys: id, beginning and end, owner, state, scopes, plan, last use and name; never a whole key."""
    with opened() as access:
        emails = {each.id: each.email for each in access.users()}
        keys = access.keys_of(access.user_by_email(user).id) if user else access.all_keys()
        for key in keys:
            _print_row(
                str(key.id),
                f"{key.prefix}...{key.last_four}",
                emails[key.user_id],
                _state(key),
                ",".join(sorted(key.scopes)),
                key.plan or "as its owner",
                "never" if key.last_used_at is None else f"{key.last_used_at:%Y-%m-%d %H:%M}",
                key.name,
            )


@key_commands.command("revoke")
def revoke_key(key_id: KeyId) -> None:
    """End a key: its next request is refused."""
    with opened() as access:
        access.revoke_key(key_id, by=None)


@key_commands.command("rotate")
def rotate_key(
    key_id: KeyId,
    overlap_hours: Annotated[float, typer.Option(help="Hours for which the old one is valid beside it.")] = 24.0,
) -> None:
    """Print a new key like an old one, which is valid for a while beside it."""
    with opened() as access:
        _, text = access.rotate_key(key_id, by=None, overlap=_hours(overlap_hours))
        typer.echo(text)


@audit_commands.command("verify")
def verify_log(
    remembered: Annotated[
        str, typer.Option(help="NUMBER:HASH of an entry, noted when this command printed it earlier.")
    ] = "",
) -> None:
    """Walk the chain of the audit log; print how long it is and its last hash, to note elsewhere."""
    with opened() as access:
        verdict = verify_audit_log(access.store, remembered=_remembered(remembered))
    typer.echo(f"{verdict.n_entries}:{verdict.head_hash}")
    if verdict.broken_number is not None:
        typer.echo(verdict.sentence, err=True)
        raise typer.Exit(1)


@audit_commands.command("show")
def show_log(last: Annotated[int, typer.Option(min=1, help="How many entries.")] = 50) -> None:
    """Print the newest entries, the oldest of them first."""
    with opened() as access:
        for entry in reversed(select_audit_entries(access.store, limit=last)):
            details = " ".join(f"{name}={value}" for name, value in sorted(entry.details.items()))
            when = entry.at.isoformat(timespec="seconds")
            _print_row(str(entry.number), when, entry.actor, entry.action, entry.subject, details)


@commands.command("rotate-signing-key")
def rotate_signing_key(
    at_once: Annotated[
        bool, typer.Option(help="Forget the old one now: after a leak. Programs sign in again.")
    ] = False,
) -> None:
    """Sign tokens with a new key from now on and print its name; running processes notice by themselves."""
    with opened() as access:
        typer.echo(access.rotate_signing_key(at_once=at_once))


def _print_link(access: Access, email: str) -> None:
    token = access.reset_link(access.user_by_email(email).email)
    if token is None:
        raise UnknownUserError(f"for {email} that is active")
    port, is_https = noted_port(access.settings)
    typer.echo(link_address(access.settings, LinkKind.PASSWORD_RESET, token, port=port, is_https=is_https))


def _print_row(*cells: str) -> None:
    """One line, cells apart by tabs; nothing in a cell can look like a cell or a line of its own."""
    typer.echo("\t".join("".join(sign if sign.isprintable() else " " for sign in cell) for cell in cells))


def _scopes(said: str) -> frozenset[Scope]:
    try:
        return frozenset(Scope(scope.strip()) for scope in said.split(",") if scope.strip())
    except ValueError as error:
        raise InvalidParameterError("scopes", repr(said), f"some of {','.join(Scope)}") from error


def _after(days: float | None) -> datetime | None:
    if days is None:
        return None
    if not 0 < days <= 36_500:
        raise InvalidParameterError("expires-days", f"{days:g}", "above 0 and at most 36,500")
    return datetime.now(UTC) + timedelta(days=days)


def _hours(hours: float) -> timedelta:
    if not 0 <= hours <= 8_760:
        raise InvalidParameterError("overlap-hours", f"{hours:g}", "from 0 to 8,760")
    return timedelta(hours=hours)


def _remembered(said: str) -> tuple[int, str] | None:
    number, _, hash_ = said.partition(":")
    if not said:
        return None
    if not number.isdecimal() or len(hash_) != 64:
        raise InvalidParameterError("remembered", repr(said), "NUMBER:HASH as `audit verify` prints it")
    return int(number), hash_


def _state(key: ApiKey) -> str:
    if key.revoked_at is not None:
        return "revoked"
    return "valid" if is_valid_key(key, datetime.now(UTC)) else "expired"


def _day(at: datetime) -> str:
    return at.date().isoformat()


if __name__ == "__main__":
    keep_new_files_private()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    try:
        commands()
    except TelepathyError as error:
        typer.echo(str(error), err=True)
        sys.exit(1)
