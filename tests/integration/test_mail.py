"""Mail, handed to a real server: with and without TLS and password, refused, and after an outage."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import quote

import pytest
from structlog.testing import capture_logs

from core.access_mails import invitation_mail, password_reset_mail
from core.config import Settings
from core.errors import InvalidSettingError, MailError
from core.mail import Mailer, MailServer
from core.outbox import Outbox
from tests.mail_server import mail_server, make_certificate
from tests.process import free_port

PASSWORD = "p@ss/w:rd?#%é 1"
HOUR_S = 3600.0


def mailer(url: str, **settings: object) -> Mailer:
    return Mailer.open(Settings(smtp_url=url, mail_from="Telepathy <telepathy@example.org>", **settings))


@pytest.fixture
def certificate(tmp_path):
    return make_certificate(tmp_path)


def test_message_arrives_as_it_was_written():
    with mail_server() as server:
        mailer(f"smtp://127.0.0.1:{server.port}").send(
            "ann@example.org", "Größe", "Line one.\n.\nÜmlaut. " + "x" * 2000
        )
    [message], [envelope] = server.messages, server.envelopes
    assert message.get_content().replace("\r\n", "\n") == "Line one.\n.\nÜmlaut. " + "x" * 2000 + "\n"
    assert message["Subject"] == "Größe"
    assert message["From"] == "Telepathy <telepathy@example.org>"
    assert (envelope.mail_from, envelope.rcpt_tos) == ("telepathy@example.org", ["ann@example.org"])
    assert message.get_content_type() == "text/plain"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Message-ID"].endswith("@example.org>")
    assert abs((parsedate_to_datetime(message["Date"]) - datetime.now(UTC)).total_seconds()) < HOUR_S


def test_password_goes_over_starttls_when_it_is_offered(certificate):
    with mail_server(user="us@er", password=PASSWORD, certificate=certificate) as server:
        url = f"smtp://us%40er:{quote(PASSWORD, safe='')}@localhost:{server.port}?ca={certificate.file}"
        mailer(url).send("ann@example.org", "Hello", "Text")
    assert server.was_encrypted == [True]
    assert server.n_log_ins == 1


def test_tls_from_the_start(certificate):
    with mail_server(user="me", password="secret", certificate=certificate, has_tls_from_the_start=True) as server:
        url = f"smtps://me:secret@127.0.0.1:{server.port}?ca={certificate.file}"
        mailer(url).send("ann@example.org", "Hello", "Text")
    assert server.was_encrypted == [True]


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
def test_certificate_that_nobody_vouches_for_is_not_trusted(certificate, scheme):
    with (
        mail_server(certificate=certificate, has_tls_from_the_start=scheme == "smtps") as server,
        pytest.raises(MailError, match=r"the certificate of localhost:\d+ is not trusted \(self-signed"),
    ):
        mailer(f"{scheme}://localhost:{server.port}").send("ann@example.org", "Hello", "Text")
    assert server.messages == []


def test_certificate_of_another_name_is_not_trusted(tmp_path):
    other = make_certificate(tmp_path, names=("elsewhere.example",))
    with mail_server(certificate=other) as server, pytest.raises(MailError, match="is not trusted"):
        mailer(f"smtp://localhost:{server.port}?ca={other.file}").send("ann@example.org", "Hello", "Text")
    assert server.messages == []


def test_password_is_not_sent_in_the_clear_to_another_machine(monkeypatch):
    monkeypatch.setattr(MailServer, "is_on_this_machine", property(lambda server: False))
    with (
        mail_server(user="me", password="secret") as server,
        pytest.raises(MailError, match="offers no TLS, and the password is not sent in the clear") as caught,
    ):
        mailer(f"smtp://me:secret@127.0.0.1:{server.port}").send("ann@example.org", "Hello", "Text")
    assert caught.value.is_final
    assert server.n_log_ins == 0


@pytest.mark.parametrize(
    ("host", "is_here"),
    [("localhost", True), ("127.0.0.1", True), ("[::1]", True), ("10.0.0.1", False), ("mail.example.org", False)],
)
def test_what_counts_as_this_machine(host, is_here):
    assert MailServer.of(f"smtp://{host}").is_on_this_machine is is_here


def test_wrong_password_is_told_without_it():
    with (
        mail_server(user="me", password="right") as server,
        pytest.raises(MailError, match=r"refused user and password \(535\)") as caught,
    ):
        mailer(f"smtp://me:wrong-{PASSWORD[:2]}word@127.0.0.1:{server.port}").send("ann@example.org", "Hi", "Text")
    assert caught.value.is_final
    assert "wrong" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_password_shows_nowhere():
    server = MailServer.of("smtp://me:hunter22@mail.example.org")
    assert server.password == "hunter22"
    assert "hunter22" not in repr(server) + repr(Settings(smtp_url="smtp://me:hunter22@mail.example.org"))


@pytest.mark.parametrize(
    "url",
    [
        "mail.example.org:25",
        "http://me:hunter22@mail.example.org",
        "smtp://me:hunter22@",
        "smtp://me:hunter22@mail.example.org:port",
        "smtp://me:hunter/22@mail.example.org",
        "smtp://me:hunter#22@mail.example.org",
        "smtp://me:hunter22@mail.example.org?verify=no",
        "smtp://me:hunter22@mail.example.org?ca=/no/such/file.pem",
    ],
)
def test_url_of_no_mail_server_is_refused_without_showing_it(url):
    with pytest.raises(InvalidSettingError, match="The setting 'smtp_url' is") as caught:
        mailer(url)
    assert "hunter" not in str(caught.value)


def test_sender_that_is_no_address_is_refused():
    with pytest.raises(InvalidSettingError, match="mail_from"):
        Mailer.open(Settings(mail_from="Telepathy"))


def test_refused_recipient_is_told_with_the_servers_words():
    with (
        mail_server(refusals=("550 no such person here",)) as server,
        pytest.raises(MailError, match=r"takes no mail for ann@example\.org: 550 no such person here") as caught,
    ):
        mailer(f"smtp://127.0.0.1:{server.port}").send("ann@example.org", "Hello", "Text")
    assert caught.value.is_final


def test_refusal_for_now_is_not_final():
    with (
        mail_server(refusals=("451 later, please",)) as server,
        pytest.raises(MailError, match="451 later, please") as caught,
    ):
        mailer(f"smtp://127.0.0.1:{server.port}").send("ann@example.org", "Hello", "Text")
    assert not caught.value.is_final


def test_server_that_does_not_answer_is_told():
    port = free_port()
    with pytest.raises(MailError, match=f"127.0.0.1:{port} cannot be reached") as caught:
        mailer(f"smtp://127.0.0.1:{port}").send("ann@example.org", "Hello", "Text")
    assert not caught.value.is_final


def test_without_a_server_nothing_is_sent():
    without = Mailer.open(Settings())
    assert not without.is_configured
    with pytest.raises(MailError, match="no mail server is set"):
        without.send("ann@example.org", "Hello", "Text")


@pytest.mark.parametrize("end", ["\r\n", "\n", "\r", "\x0b", "\x85", "\u2028", "\0"])
def test_header_cannot_be_smuggled_in(end):
    with mail_server() as server:
        sender = mailer(f"smtp://127.0.0.1:{server.port}")
        with pytest.raises(MailError, match="the subject holds a line break"):
            sender.send("ann@example.org", f"Hello{end}Bcc: eve@example.org", "Text")
        with pytest.raises(MailError, match="the address holds a line break"):
            sender.send(f"ann@example.org{end}Bcc: eve@example.org", "Hello", "Text")
    assert server.messages == []


@pytest.mark.parametrize(
    "to",
    ["", "ann", "@example.org", "ann@", "a@example.org, b@example.org", "Ann <ann@example.org>", "a b@example.org"],
)
def test_receiver_is_one_bare_address(to):
    with mail_server() as server, pytest.raises(MailError, match="is not one e-mail address"):
        mailer(f"smtp://127.0.0.1:{server.port}").send(to, "Hello", "Text")
    assert server.envelopes == []


def test_domain_with_umlauts_is_written_as_dns_knows_it():
    with mail_server() as server:
        mailer(f"smtp://127.0.0.1:{server.port}").send("ann@größe.example", "Hello", "Text")
    assert server.envelopes[0].rcpt_tos == ["ann@xn--gre-6ka8i.example"]


def test_mails_about_accounts_carry_their_link_and_nothing_that_watches():
    link = "https://telepathy.example.org/link?token=abc_-123"
    for mail in (
        invitation_mail(to="ann@example.org", link=link, invited_by="Bob", hours=24),
        password_reset_mail(to="ann@example.org", link=link, hours=0.5),
    ):
        with mail_server() as server:
            mailer(f"smtp://127.0.0.1:{server.port}").send(mail.to, mail.subject, mail.text)
        [message] = server.messages
        assert link in message.get_content().splitlines()
        assert message.get_content().count("http") == 1
        assert not message.is_multipart()


def test_mail_waits_out_an_outage_and_arrives():
    port, outbox = free_port(), Outbox(waits_s=(HOUR_S, HOUR_S))
    sender = mailer(f"smtp://127.0.0.1:{port}")
    with capture_logs() as logged:
        assert outbox.put("a link by mail", lambda: sender.send("ann@example.org", "Hello", "Text"))
        assert outbox.wait_for_attempts(1, timeout_s=30)
    assert outbox.n_waiting == 1
    assert [(line["event"], line["log_level"]) for line in logged] == [("not delivered yet", "warning")]
    with mail_server(port=port) as server:
        outbox.close(deadline_s=30)  # what waits is tried once more rather than lost
    assert len(server.messages) == 1


def test_mail_is_tried_again_by_itself():
    outbox = Outbox(waits_s=(0.0, 0.0))
    with mail_server(refusals=("451 later", "451 later")) as server:
        sender = mailer(f"smtp://127.0.0.1:{server.port}")
        outbox.put("a link by mail", lambda: sender.send("ann@example.org", "Hello", "Text"))
        assert outbox.wait_for_attempts(3, timeout_s=30)
        outbox.close(deadline_s=30)
    assert len(server.messages) == 1


def test_final_refusal_is_not_tried_again():
    outbox = Outbox(waits_s=(0.0, 0.0))
    with mail_server(refusals=("550 never", "451 later")) as server, capture_logs() as logged:
        sender = mailer(f"smtp://127.0.0.1:{server.port}")
        outbox.put("a link by mail", lambda: sender.send("ann@example.org", "Hello", "Text"))
        outbox.close(deadline_s=30)
        assert server.refusals == ["451 later"]
    assert [line["event"] for line in logged] == ["given up"]
    assert server.messages == []
