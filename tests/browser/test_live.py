"""The Live page in a real browser with a microphone that speaks, pauses and speaks again; by both ways in."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile
from playwright.sync_api import Page, WebSocketRoute, sync_playwright

from tests.bundles import TINY
from tests.process import RunningApp, running_app
from tests.sounds import voice

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Debian's chromium is not installed")

RATE = 48_000
FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
HEARD = """() => {
  const roots = [document, ...[...document.querySelectorAll("*")].map((one) => one.shadowRoot).filter(Boolean)];
  const now = roots.map((root) => root.querySelector("[data-testid=live-now]")).find(Boolean);
  return now ? now.dataset.emotion : "";
}"""

METER_IS_EMPTY = """() => {
  const roots = [document, ...[...document.querySelectorAll("*")].map((one) => one.shadowRoot).filter(Boolean)];
  return roots.some((root) => root.querySelector(".meter")?.getAttribute("aria-valuenow") === "-60");
}"""


@pytest.fixture(scope="module")
def app(tmp_path_factory) -> Iterator[RunningApp]:
    with running_app(
        tmp_path_factory.mktemp("live"), model="tiny", models_dir=TINY.parent, stream_idle_s=60
    ) as started:
        yield started


@pytest.fixture(scope="module")
def microphone(tmp_path_factory) -> Path:
    """Quiet low speech, three seconds of nothing, loud high speech; Chromium plays it over and over."""
    file = tmp_path_factory.mktemp("microphone") / "microphone.wav"
    sound = np.concatenate(
        [
            0.3 * voice(seconds=3.0, pitch_hz=110.0, sample_rate_hz=RATE),
            np.zeros(3 * RATE, np.float32),
            voice(seconds=3.0, pitch_hz=240.0, sample_rate_hz=RATE),
        ]
    )
    soundfile.write(file, sound, RATE, subtype="PCM_16")
    return file


@contextmanager
def opened(
    app: RunningApp, *flags: str, permissions: tuple[str, ...] = ("microphone",), with_device: bool = True
) -> Iterator[Page]:
    devices = ["--use-fake-device-for-media-stream"] if with_device else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, *devices, *flags])
        context = browser.new_context(viewport={"width": 1440, "height": 900}, permissions=list(permissions))
        context.add_cookies(app.browser_cookies)
        page = context.new_page()
        foreign: list[str] = []
        page.on("request", lambda request: foreign.append(request.url) if _is_foreign(request.url) else None)
        page.goto(app.url)
        page.get_by_role("link", name="Live").click()
        page.get_by_test_id("live-toggle").wait_for(state="attached", timeout=60_000)
        yield page
        browser.close()
    assert foreign == []


def _is_foreign(url: str) -> bool:
    return not url.startswith(("http://127.0.0.1", "http://localhost", "ws://127.0.0.1", "data:", "blob:"))


def changes(page: Page, wanted: list[str], *, within_s: float) -> list[str]:
    """What is heard, one entry for each change between speech and silence, until `wanted` has been seen."""
    seen: list[str] = []
    ends_at = time.monotonic() + within_s
    while time.monotonic() < ends_at and not _holds(seen, wanted):
        heard = page.evaluate(HEARD)
        kind = "silence" if heard in {"", "silence"} else "speech"
        if not seen or seen[-1] != kind:
            seen.append(kind)
        page.wait_for_timeout(100)
    return seen


def _holds(seen: list[str], wanted: list[str]) -> bool:
    return any(seen[at : at + len(wanted)] == wanted for at in range(len(seen)))


def test_timeline_follows_a_microphone_by_websocket_and_the_session_can_be_kept(app, microphone):
    flags = ("--use-fake-ui-for-media-stream", f"--use-file-for-fake-audio-capture={microphone}")
    with opened(app, *flags) as page:
        page.get_by_test_id("live-toggle").click()
        wanted = ["speech", "silence", "speech"]
        assert _holds(changes(page, wanted, within_s=60), wanted)
        assert page.get_by_test_id("live-status").inner_text() == "Connected by WebSocket"
        page.get_by_test_id("live-toggle").click()
        page.get_by_test_id("live-keep").wait_for()
        page.wait_for_function(METER_IS_EMPTY)
        page.get_by_test_id("live-now").get_by_text("Last heard").wait_for()
        page.get_by_test_id("live-keep").click()
        page.get_by_text("Live session,").first.wait_for(timeout=60_000)
        page.get_by_text("How likely each emotion is").wait_for(timeout=60_000)


def test_discarded_session_leaves_nothing(app, microphone):
    flags = ("--use-fake-ui-for-media-stream", f"--use-file-for-fake-audio-capture={microphone}")
    with opened(app, *flags) as page:
        before = page.request.get(f"{app.url}/api/v1/predictions").json()["items"]
        page.get_by_test_id("live-toggle").click()
        assert "speech" in changes(page, ["speech"], within_s=60)
        page.get_by_test_id("live-toggle").click()
        page.get_by_test_id("live-discard").click()
        page.get_by_text("Discarded. Nothing was kept.").wait_for()
        assert page.get_by_test_id("live-now").inner_text().strip() == "Press start and speak"
        assert page.request.get(f"{app.url}/api/v1/predictions").json()["items"] == before


def test_session_nobody_decided_about_is_let_go_when_the_next_begins(app, microphone):
    flags = ("--use-fake-ui-for-media-stream", f"--use-file-for-fake-audio-capture={microphone}")
    with opened(app, *flags) as page:
        streams = []
        page.on("websocket", lambda socket: streams.append(socket) if socket.url.endswith("/api/v1/stream") else None)
        for _ in range(2):
            page.get_by_test_id("live-toggle").click()
            assert "speech" in changes(page, ["speech"], within_s=60)
            page.get_by_test_id("live-toggle").click()
            page.get_by_test_id("live-keep").wait_for()
        assert [stream.is_closed() for stream in streams] == [True, False]


def test_timeline_follows_a_microphone_by_webrtc(app, microphone):
    flags = ("--use-fake-ui-for-media-stream", f"--use-file-for-fake-audio-capture={microphone}")
    with opened(app, *flags) as page:
        page.get_by_role("radio", name="WebRTC").click()
        frame = page.frame_locator("iframe[src*=webrtc]")
        frame.get_by_role("button", name="Start listening").click(timeout=60_000)
        wanted = ["speech", "silence", "speech"]
        assert _holds(changes(page, wanted, within_s=90), wanted)
        assert page.get_by_test_id("live-status").inner_text() == "Connected by WebRTC."
        frame.get_by_role("button", name="Stop").click()
        page.get_by_role("button", name="Keep and analyse").wait_for(timeout=60_000)
        page.get_by_test_id("live-now").get_by_text("Last heard").wait_for()
        question, stage = page.get_by_text("s were heard. Keep them").bounding_box(), page.get_by_test_id("live-now")
        assert question["y"] < stage.bounding_box()["y"]
        page.get_by_role("button", name="Keep and analyse").click()
        page.get_by_text("How likely each emotion is").wait_for(timeout=60_000)


def test_stream_that_the_server_ends_says_why_and_begins_anew_at_one_press(app, microphone):
    flags = ("--use-fake-ui-for-media-stream", f"--use-file-for-fake-audio-capture={microphone}")
    with opened(app, *flags) as page:
        page.route_web_socket(re.compile("/api/v1/stream$"), _end_at_the_first_frame)
        for _ in range(2):
            page.get_by_test_id("live-toggle").click()
            page.get_by_text("The month is used up.").wait_for()
            assert page.get_by_test_id("live-toggle").inner_text() == "Start listening"


def _end_at_the_first_frame(socket: WebSocketRoute) -> None:
    def answer(message: str | bytes) -> None:
        if isinstance(message, str):
            socket.send(json.dumps({"type": "ready"}))
            return
        socket.send(json.dumps({"type": "error", "detail": "The month is used up.", "recoverable": False}))
        socket.send(json.dumps({"type": "summary", "prediction_id": None}))

    socket.on_message(answer)


def test_sound_travels_by_webrtc_where_the_websocket_is_refused(app, microphone):
    flags = ("--use-fake-ui-for-media-stream", f"--use-file-for-fake-audio-capture={microphone}")
    with opened(app, *flags) as page:
        page.route_web_socket(re.compile("/api/v1/stream$"), lambda socket: socket.close())
        page.get_by_test_id("live-toggle").click()
        page.get_by_text("WebSockets do not get through here, so the sound travels by WebRTC.").wait_for()
        page.frame_locator("iframe[src*=webrtc]").get_by_role("button", name="Start listening").wait_for()


def test_denied_microphone_is_explained_by_both_ways_in(app):
    with opened(app, "--deny-permission-prompts", permissions=()) as page:
        page.get_by_test_id("live-toggle").click()
        page.get_by_text("The browser was not allowed to use the microphone").wait_for()
        assert page.get_by_test_id("live-toggle").is_enabled()
        page.get_by_role("radio", name="WebRTC").click()
        frame = page.frame_locator("iframe[src*=webrtc]")
        frame.get_by_role("button", name="Start listening").click(timeout=60_000)
        frame.get_by_text("NotAllowedError").wait_for(timeout=60_000)
        assert page.get_by_text("allow it beside the address bar").last.is_visible()


def test_missing_microphone_is_explained_by_both_ways_in(app):
    with opened(app, with_device=False) as page:
        page.get_by_test_id("live-toggle").click()
        page.get_by_text("No microphone was found. Plug one in, then start again.").wait_for()
        assert page.get_by_test_id("live-toggle").is_enabled()
        page.get_by_role("radio", name="WebRTC").click()
        frame = page.frame_locator("iframe[src*=webrtc]")
        frame.get_by_role("button", name="Start listening").click(timeout=60_000)
        frame.get_by_text("NotFoundError").wait_for(timeout=60_000)
        assert page.get_by_text("if it finds none (NotFoundError), plug one in").is_visible()


MARK = """() => {
  window.telepathyStale = 0;
  const main = document.querySelector("[data-testid=stMain]");
  const title = main.querySelector("h1");
  title.dataset.mark = "same";
  new MutationObserver(() => { window.telepathyStale += title.closest("[data-stale=true]") ? 1 : 0; })
    .observe(main, { attributes: true, subtree: true, attributeFilter: ["data-stale"] });
}"""


@pytest.mark.parametrize("way", ["WebSocket", "WebRTC"])
def test_page_stands_still_while_the_stage_moves(app, microphone, way):
    flags = ("--use-fake-ui-for-media-stream", f"--use-file-for-fake-audio-capture={microphone}")
    with opened(app, *flags) as page:
        if way == "WebRTC":
            page.get_by_role("radio", name="WebRTC").click()
            start = page.frame_locator("iframe[src*=webrtc]").get_by_role("button", name="Start listening")
            start.click(timeout=60_000)
        else:
            page.get_by_test_id("live-toggle").click()
        assert "speech" in changes(page, ["speech"], within_s=90)
        page.evaluate(MARK)
        wanted = ["speech", "silence", "speech"]
        assert _holds(changes(page, wanted, within_s=60), wanted)
        assert page.locator("h1[data-mark=same]").count() == 1
        assert page.evaluate("() => window.telepathyStale") == 0
