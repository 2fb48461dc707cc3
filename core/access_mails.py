"""What is written to people about their accounts: plain text, one link, nothing that reports who has opened it."""

from __future__ import annotations

from core.mail import Mail


def invitation_mail(*, to: str, link: str, invited_by: str, hours: float) -> Mail:
    """Somebody is invited to make an account; where anybody may make one, they may have asked for it themselves."""
    why = (
        f"{invited_by} invites you to Telepathy, a workbench for emotion in speech."
        if invited_by
        else "You are invited to Telepathy, a workbench for emotion in speech, or asked for an account there yourself."
    )
    return Mail(
        to=to,
        subject="Your invitation to Telepathy",
        text=(
            f"{why}\n\n"
            f"Open this link to choose a password:\n\n{link}\n\n"
            f"It works once, within {_duration(hours)}. If you expected no invitation, ignore this message.\n"
        ),
    )


def account_exists_mail(*, to: str) -> Mail:
    """Somebody, we hope the owner of the account, wanted to make another."""
    return Mail(
        to=to,
        subject="You have an account at Telepathy",
        text=(
            "Somebody asked for an account at Telepathy with your e-mail address, which has one already.\n\n"
            "If that was you, sign in; the sign-in page also offers a new password. If it was not you, ignore this "
            "message: nothing has changed, and they were not told that you have an account.\n"
        ),
    )


def password_reset_mail(*, to: str, link: str, hours: float) -> Mail:
    """Somebody, we hope the owner of the account, wants a new password."""
    return Mail(
        to=to,
        subject="A new password for Telepathy",
        text=(
            "Somebody asked for a new password for your account at Telepathy.\n\n"
            f"If that was you, open this link to choose one:\n\n{link}\n\n"
            f"It works once, within {_duration(hours)}. If it was not you, ignore this message: "
            "your password stays as it is.\n"
        ),
    )


def _duration(hours: float) -> str:
    """A life of a link in words.

    >>> _duration(24), _duration(1), _duration(0.5), _duration(72)
    ('24 hours', '1 hour', '30 minutes', '3 days')
    """
    if hours < 1:
        return f"{round(hours * 60):d} minutes"
    if hours == 1:
        return "1 hour"
    return f"{hours / 24:g} days" if hours >= 48 and hours % 24 == 0 else f"{hours:g} hours"
