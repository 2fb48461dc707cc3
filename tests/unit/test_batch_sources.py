"""Where batches may fetch recordings: within what the settings allow, and never from behind this machine."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import fsspec
import pytest

from core.batch_sources import BatchSources
from core.config import Settings
from core.errors import SourceError, SourceNotAllowedError, UploadTooLargeError


class Audio(BaseHTTPRequestHandler):
    """Answers by path: /sound, /moved, /gone, /large."""

    def do_GET(self) -> None:
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/sound")
            self.end_headers()
            return
        self.send_response(404 if self.path.startswith("/gone") else 200)
        self.end_headers()
        self.wfile.write(bytes(30_000) if self.path == "/large" else b"sound")

    def log_message(self, *_: object) -> None:
        """Quietly."""


@pytest.fixture
def server():
    server = HTTPServer(("127.0.0.1", 0), Audio)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://audio.test:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def sources(allowed: str = "https:", *, addresses: list[str] | None = None, **given: object) -> BatchSources:
    return BatchSources(
        Settings(batch_sources=allowed, **given), resolve=lambda host, port: addresses or ["93.184.216.34"]
    )


def test_nothing_is_allowed_unless_the_settings_say_so(tmp_path):
    for location in ("https://example.org/a.wav", str(tmp_path), "s3://bucket/a.wav"):
        with pytest.raises(SourceNotAllowedError, match="allows nothing"):
            sources("").require_allowed(location)


@pytest.mark.parametrize(
    "location",
    [
        "https://example.org.evil.test/audio/a.wav",
        "https://example.org/other/a.wav",
        "https://example.org/audio/../other/a.wav",
        "https://example.org@evil.test/audio/a.wav",
        "http://example.org/audio/a.wav",
        "https://example.org:8443/audio/a.wav",
        "simplecache::https://example.org/audio/a.wav",
        "file:///etc/passwd",
        "/etc/passwd",
    ],
)
def test_what_is_not_below_an_allowed_place_is_refused(location):
    with pytest.raises(SourceNotAllowedError):
        sources("https://example.org/audio/").require_allowed(location)


def test_what_is_below_an_allowed_place_is_allowed(tmp_path):
    allowed = sources(f"https://example.org/audio, s3://bucket/in, {tmp_path}")
    for location in ("https://example.org/audio/a.wav?token=1", "s3://bucket/in/deep/a.wav", str(tmp_path / "a.wav")):
        allowed.require_allowed(location)


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_recordings_of_a_folder_are_named_by_their_path_in_it(tmp_path, scheme):
    for name in ("b/01.wav", "a/01.wav", "a/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"sound")
    place = f"{scheme}{tmp_path}"
    for written in (place, f"{place}/"):
        found = list(sources(place).expand(written))
        assert [each.name for each in found] == ["a/01.wav", "b/01.wav"]
        assert [sources(place).read(each.location) for each in found] == [b"sound", b"sound"]


def test_a_place_that_is_allowed_is_a_folder_itself():
    fsspec.filesystem("memory").pipe("/bucket/in/b/01.wav", b"sound")
    for written in ("memory://bucket/in", "memory://bucket/in/"):
        [found] = sources("memory://bucket/in").expand(written)
        assert found.name == "b/01.wav"
        assert sources("memory://bucket/in").read(found.location) == b"sound"
    with pytest.raises(SourceNotAllowedError):
        list(sources("memory://bucket/in").expand("memory://bucket/inner"))


@pytest.mark.parametrize("location", ["https://[bad/a.wav", "https://example.org:99999/a.wav"])
def test_what_is_no_address_says_so(location):
    [found] = sources().expand(location)
    with pytest.raises(SourceError, match="no address"):
        sources().read(found.location)


def test_a_link_out_of_an_allowed_folder_is_not_followed(tmp_path):
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    outside.mkdir()
    (outside / "secret.wav").write_bytes(b"secret")
    (inside / "link.wav").symlink_to(outside / "secret.wav")
    with pytest.raises(SourceNotAllowedError):
        sources(str(inside)).read(str(inside / "link.wav"))
    with pytest.raises(SourceNotAllowedError):
        list(sources(str(inside)).expand(str(inside)))


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.1.2.3", "169.254.169.254", "::1", "::ffff:192.168.0.1", "0.0.0.0"]
)
def test_a_public_name_of_a_private_address_is_refused(address):
    with pytest.raises(SourceNotAllowedError, match="private address"):
        sources(addresses=["93.184.216.34", address]).read("https://rebinding.test/a.wav")


def test_only_https_is_fetched_from_public_hosts():
    with pytest.raises(SourceNotAllowedError, match="only https"):
        sources("http:").read("http://example.org/a.wav")


def test_a_host_that_may_be_private_is_fetched_from(server):
    allowed = sources(server, addresses=["127.0.0.1"], batch_private_hosts="audio.test", max_upload_mb=0.02)
    assert allowed.read(f"{server}/sound") == b"sound"
    assert allowed.read(f"{server}/Töne/ein Ton.wav?key=1%2F2") == b"sound"
    with pytest.raises(SourceError, match="redirects are not followed"):
        allowed.read(f"{server}/moved")
    with pytest.raises(SourceError, match="404"):
        allowed.read(f"{server}/gone?token=secret")
    with pytest.raises(UploadTooLargeError):
        allowed.read(f"{server}/large")


def test_the_sentence_holds_no_secret_of_the_url():
    with pytest.raises(SourceNotAllowedError) as refused:
        sources("").require_allowed("https://user:password@example.org/a.wav?token=abc")
    assert "password" not in str(refused.value)
    assert "abc" not in str(refused.value)


def test_a_file_that_is_missing_or_too_large_says_so(tmp_path):
    allowed = sources(str(tmp_path), max_upload_mb=0.001)
    with pytest.raises(SourceError, match="no such file"):
        allowed.read(str(tmp_path / "none.wav"))
    (tmp_path / "large.wav").write_bytes(bytes(2000))
    with pytest.raises(UploadTooLargeError):
        allowed.read(str(tmp_path / "large.wav"))
