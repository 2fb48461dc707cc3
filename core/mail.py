"""Mail by SMTP: one message at a time, plain text, over TLS wherever the server offers it."""

from __future__ import annotations

import base64
import contextlib
import ipaddress
import smtplib
import ssl
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import make_msgid, parseaddr
from urllib.parse import parse_qs, unquote, urlsplit

import idna

from core.config import Settings
from core.errors import InvalidSettingError, MailError

TIMEOUT_S = 20.0
"""For each answer of the server."""
PORTS = {"smtp": 587, "smtps": 465}
SMTP_URL_FORM = (
    "smtp://USER:PASSWORD@HOST:PORT or smtps://..., with reserved characters percent-encoded, and ?ca=FILE for a "
    "certificate authority of one's own"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """A message as its writer sees it."""

    to: str
    """One address."""
    subject: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A file that goes with a message."""

    name: str
    """Plain letters: mail programs make their own of others."""
    media_type: str
    """`application/pdf`; what follows a semicolon is left out."""
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class MailServer:
    """Where mail is handed in."""

    host: str
    port: int
    has_tls_from_the_start: bool
    user: str | None
    password: str | None = field(repr=False)
    ca_file: str | None
    """PEM file of the certificate authorities that count; None for those of the machine."""

    @staticmethod
    def of(url: str) -> MailServer:
        """The server that `smtp_url` names. Raises InvalidSettingError, which shows nothing of the URL."""
        try:
            parts = urlsplit(url)
            port = parts.port or PORTS.get(parts.scheme, 0)
        except ValueError:
            port = 0
        if not port or not parts.hostname or parts.path not in ("", "/") or parts.fragment:
            raise InvalidSettingError("smtp_url", "no address of a mail server", SMTP_URL_FORM)
        query = parse_qs(parts.query, keep_blank_values=True)
        if set(query) - {"ca"}:
            raise InvalidSettingError("smtp_url", "an address with something unknown after its ?", SMTP_URL_FORM)
        return MailServer(
            host=parts.hostname,
            port=port,
            has_tls_from_the_start=parts.scheme == "smtps",
            user=None if parts.username is None else unquote(parts.username),
            password=None if parts.password is None else unquote(parts.password),
            ca_file=query["ca"][-1] if "ca" in query else None,
        )

    @property
    def is_on_this_machine(self) -> bool:
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


class Mailer:
    """Hands messages in, each over a connection of its own. Safe to share between threads.

    Certificates are always verified, name and chain: by the authorities of this machine, or by those in the file that
    `?ca=` names. A password goes over TLS, or to this very machine.
    """

    def __init__(self, server: MailServer | None, sender: str) -> None:
        self._server = server
        self._sender = sender
        self._sender_address = _address("mail_from", parseaddr(sender)[1] or sender)

    @staticmethod
    def open(settings: Settings) -> Mailer:
        """The mailer of these settings; it speaks to nobody before `send`.

        Raises
        ------
        InvalidSettingError
            `smtp_url` or `mail_from` is none, or the file of authorities cannot be read.
        """
        server = MailServer.of(settings.smtp_url) if settings.smtp_url else None
        try:
            mailer = Mailer(server, settings.mail_from)
        except MailError:
            raise InvalidSettingError("mail_from", repr(settings.mail_from), "an e-mail address") from None
        if server is not None:
            try:
                _context(server)
            except OSError as error:  # ssl.SSLError is one too
                found = f"an address with ca={server.ca_file!r}, which cannot be used ({error.strerror or error})"
                raise InvalidSettingError("smtp_url", found, "the path of a PEM file") from error
        return mailer

    @property
    def is_configured(self) -> bool:
        """Whether there is a mail server."""
        return self._server is not None

    def send(
        self,
        to: str,
        subject: str,
        text: str,
        *,
        attachments: Sequence[Attachment] = (),
        message_id: str = "",
    ) -> None:
        """Hand one message in, and return once the server has taken it.

        `message_id` is what stands before the @ of its Message-ID: a message that is sent again by the same one is
        known to mail programs as the same. Empty makes one up.

        Raises
        ------
        MailError
            There is no server, it does not answer, or it does not take the message; the sentence says which.
            `is_final` when another attempt could not help.
        """
        server = self._server
        if server is None:
            raise MailError("no mail server is set", is_final=True)
        receiver = _address("address", to)
        message = self._message(receiver, subject, text, message_id)
        for each in attachments:
            main, _, sub = each.media_type.partition(";")[0].partition("/")
            message.add_attachment(each.data, maintype=main, subtype=sub, filename=each.name)
        with _speaking_plainly(server), _connection(server, self._sender_address.domain) as connection:
            _log_in(connection, server)
            connection.send_message(message, self._sender_address.addr_spec, [receiver.addr_spec])

    def _message(self, receiver: Address, subject: str, text: str, message_id: str) -> EmailMessage:
        _require_one_line("subject", subject)
        message = EmailMessage(policy=SMTP)
        name = parseaddr(self._sender)[0]
        message["From"] = Address(name, addr_spec=self._sender_address.addr_spec)
        message["To"] = receiver
        message["Subject"] = subject
        message["Date"] = datetime.now(UTC)
        domain = self._sender_address.domain
        message["Message-ID"] = f"<{message_id}@{domain}>" if message_id else make_msgid(domain=domain)
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers, please
        message.set_content(text)
        return message


def _require_one_line(what: str, text: str) -> None:
    """Refuse what could begin another header, or hide one: control characters and line separators."""
    if any(unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} for character in text):
        raise MailError(f"the {what} holds a line break or another control character", is_final=True)


def require_address(text: str) -> None:
    """Raises MailError unless `text` is exactly one e-mail address."""
    _address("address", text)


def _address(what: str, text: str) -> Address:
    """Exactly one address, its domain as DNS knows it."""
    _require_one_line(what, text)
    local, _, domain = text.rpartition("@")
    found: Address | None = None
    with contextlib.suppress(ValueError, IndexError, MessageError):
        if not domain.isascii():
            domain = idna.encode(domain, uts46=True).decode("ascii")
        found = Address(addr_spec=f"{local}@{domain}")
    if found is None or not found.username or not found.domain:
        raise MailError(f"{text!r} is not one e-mail address", is_final=True)
    return found


def _context(server: MailServer) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=server.ca_file)


@contextlib.contextmanager
def _connection(server: MailServer, own_name: str) -> Iterator[smtplib.SMTP]:
    """An open conversation, over TLS where it is offered."""
    context = _context(server)
    connection: smtplib.SMTP
    if server.has_tls_from_the_start:
        connection = smtplib.SMTP_SSL(
            server.host, server.port, local_hostname=own_name, timeout=TIMEOUT_S, context=context
        )
    else:
        connection = smtplib.SMTP(server.host, server.port, local_hostname=own_name, timeout=TIMEOUT_S)
    with connection:
        connection.ehlo_or_helo_if_needed()
        is_safe = server.has_tls_from_the_start
        if not is_safe and connection.has_extn("starttls"):
            connection.starttls(context=context)
            connection.ehlo()
            is_safe = True
        if server.user is not None and not (is_safe or server.is_on_this_machine):
            raise MailError(f"{server.host} offers no TLS, and the password is not sent in the clear", is_final=True)
        yield connection


def _log_in(connection: smtplib.SMTP, server: MailServer) -> None:
    if server.user is None:
        return
    password = server.password or ""
    if (server.user + password).isascii():
        connection.login(server.user, password)
        return
    said = base64.b64encode(f"\0{server.user}\0{password}".encode()).decode("ascii")  # smtplib itself knows ASCII only
    code, answer = connection.docmd("AUTH", f"PLAIN {said}")
    if code != 235:
        raise smtplib.SMTPAuthenticationError(code, answer)


@contextlib.contextmanager
def _speaking_plainly(server: MailServer) -> Iterator[None]:
    """Turn what SMTP and the network say into a sentence. Of a refused password only the number is told: servers have
    been seen to repeat what they were sent."""
    where = f"{server.host}:{server.port}"
    try:
        yield
    except smtplib.SMTPAuthenticationError as error:
        is_final = error.smtp_code >= 500
        raise MailError(f"{where} refused user and password ({error.smtp_code})", is_final=is_final) from None
    except smtplib.SMTPRecipientsRefused as error:
        [(address, (code, said))] = error.recipients.items()
        refusal = f"{where} takes no mail for {address}: {_said(code, said)}"
        raise MailError(refusal, is_final=code >= 500, is_of_recipient=True) from error
    except smtplib.SMTPResponseException as error:
        is_final = 500 <= error.smtp_code < 600
        raise MailError(f"{where} answered {_said(error.smtp_code, error.smtp_error)}", is_final=is_final) from error
    except smtplib.SMTPNotSupportedError as error:
        raise MailError(f"{where} cannot do what is needed ({error})", is_final=True) from error
    except smtplib.SMTPException as error:
        raise MailError(f"the conversation with {where} broke off ({error})") from error
    except ssl.SSLCertVerificationError as error:
        raise MailError(f"the certificate of {where} is not trusted ({error.verify_message})") from error
    except OSError as error:
        raise MailError(f"{where} cannot be reached ({error.strerror or error})") from error


def _said(code: int, said: bytes | str) -> str:
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
    return f"{code} {' '.join(text.split())}"[:300]
