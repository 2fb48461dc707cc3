"""One attempt, to a real server: what it says of itself, where it connects to, and how long it waits."""

from __future__ import annotations

import ssl
from urllib.parse import urlsplit

import pytest

from core.errors import InvalidParameterError, WebhookError
from core.webhooks.address_guard import Pinned
from core.webhooks.sending import host_of, post, require_safe_scheme
from tests.mail_server import make_certificate
from tests.process import free_port
from tests.webhook_server import DRIPS, HANGS, webhook_server

HERE = Pinned(host="127.0.0.1", addresses=("127.0.0.1",))
BODY = b'{"type":"webhook.test"}'


def send(url: str, *, pinned: Pinned = HERE, timeout_s: float = 10.0, **options):
    return post(url, BODY, {"webhook-id": "msg_1"}, pinned=pinned, timeout_s=timeout_s, **options)


def port_of(url: str) -> int:
    return int(urlsplit(url).port or 0)


def test_message_arrives_byte_for_byte():
    with webhook_server() as server:
        answer = send(f"{server.url}/hook/Größe?x=1")
    assert answer.status == 204
    assert answer.duration_ms > 0
    assert server.bodies == [BODY]
    assert server.paths == ["/hook/Gr%C3%B6%C3%9Fe?x=1"]
    [headers] = server.headers
    assert headers["content-type"] == "application/json"
    assert headers["webhook-id"] == "msg_1"
    assert headers["host"] == f"127.0.0.1:{port_of(server.url)}"
    assert headers["user-agent"].startswith("Telepathy/")


def test_pinned_address_is_connected_to_and_the_name_is_told():
    """The name leads nowhere: nobody asks for it again."""
    pinned = Pinned(host="hooks.invalid", addresses=("127.0.0.1",))
    with webhook_server() as server:
        send(f"http://hooks.invalid:{port_of(server.url)}/x", pinned=pinned)
    assert server.headers[0]["host"] == f"hooks.invalid:{port_of(server.url)}"


def test_second_address_is_tried_when_the_first_does_not_answer():
    pinned = Pinned(host="hooks.invalid", addresses=("127.0.0.9", "127.0.0.1"))
    with webhook_server() as server:
        assert send(f"http://hooks.invalid:{port_of(server.url)}/x", pinned=pinned).status == 204


def test_certificate_is_checked_against_the_name_and_not_the_address(tmp_path):
    asked_for = []
    certificate = make_certificate(tmp_path, names=("hooks.invalid",))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate.file, certificate.key_file)
    tls.sni_callback = lambda _socket, name, _context: asked_for.append(name)
    trusting = ssl.create_default_context(cafile=str(certificate.file))
    right = Pinned(host="hooks.invalid", addresses=("127.0.0.1",))
    wrong = Pinned(host="other.invalid", addresses=("127.0.0.1",))
    with webhook_server(tls=tls) as server:
        port = port_of(server.url)
        assert send(f"https://hooks.invalid:{port}/x", pinned=right, ssl_context=trusting).status == 204
        with pytest.raises(WebhookError, match=r"other\.invalid .* certificate is not trusted"):
            send(f"https://other.invalid:{port}/x", pinned=wrong, ssl_context=trusting)
        with pytest.raises(WebhookError, match="certificate is not trusted"):
            send(f"https://hooks.invalid:{port}/x", pinned=right)
    assert asked_for == ["hooks.invalid", "other.invalid", "hooks.invalid"]
    assert len(server.bodies) == 1


def test_redirect_is_not_followed():
    with webhook_server() as target, webhook_server((307, {"Location": f"{target.url}/inner"})) as server:
        assert send(server.url).status == 307
        assert target.bodies == []


def test_retry_after_is_read():
    with webhook_server((429, {"Retry-After": "17"})) as server:
        assert send(server.url).retry_after == "17"


@pytest.mark.parametrize("behaviour", [HANGS, DRIPS], ids=["hangs", "drips"])
def test_nobody_is_waited_for_beyond_the_deadline(behaviour):
    """A byte now and then does not stretch it."""
    with (
        webhook_server((behaviour, {})) as server,
        pytest.raises(WebhookError, match=r"did not answer within 0\.2 s"),
    ):
        send(server.url, timeout_s=0.2)


def test_who_is_not_there_is_told_without_the_path():
    with pytest.raises(WebhookError, match="it cannot be reached") as caught:
        send(f"http://127.0.0.1:{free_port()}/secret-path")
    assert "secret-path" not in str(caught.value)


def test_what_speaks_no_tls_is_told():
    pinned = Pinned(host="hooks.invalid", addresses=("127.0.0.1",))
    with webhook_server() as server, pytest.raises(WebhookError, match="it speaks no TLS that can be understood"):
        send(f"https://hooks.invalid:{port_of(server.url)}/x", pinned=pinned)


@pytest.mark.parametrize(
    "url",
    [
        *("file:///etc/passwd", "ftp://example.org/x", "example.org", "http://", "http://[::1", "", "javascript:x"),
        *("https://user@example.org/", "https://user:pass@example.org/", "https://example.org/#x", "gopher://x/"),
        *(
            "https://example.org:99999/",
            "https://example.org:0/",
            "https://exa mple.org/",
            "https://example.org/" + "x" * 2000,
        ),
    ],
    ids=range(15),
)
def test_only_plain_addresses_of_the_web_are_taken(url):
    with pytest.raises(InvalidParameterError):
        host_of(url)


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://hooks.example.org:8443/x?y=1", "hooks.example.org"),
        ("https://Bücher.example/ä", "xn--bcher-kva.example"),
        ("http://[::1]:80/", "::1"),
        ("http://2130706433/", "2130706433"),
    ],
)
def test_host_is_what_the_resolver_is_asked_for(url, host):
    assert host_of(url) == host


def test_plain_http_is_for_private_networks_alone():
    public, private = (Pinned(host="h", addresses=(address,)) for address in ("9.9.9.9", "10.0.0.1"))
    require_safe_scheme("https://h/", public)
    require_safe_scheme("http://h/", private)
    with pytest.raises(InvalidParameterError, match="one of https"):
        require_safe_scheme("http://h/", public)
