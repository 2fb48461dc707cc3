"""The listening widget of Review by itself, in a real browser: a picture, a player, a stretch, what is missing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, Route

from api.schemas import OverviewShape
from core.config import Settings
from core.features.audio import DecodeLimits, decode
from core.features.overview import overview
from pages.parts import listener
from pages.parts.theme import LIGHT
from tests.factories import make_recording
from tests.sounds import voice_wav

SECONDS = 2.0
SHELL = """<!doctype html><meta charset="utf-8"><style>body { --st-text-color: #111; --st-font: sans-serif }</style>
<div id="host"></div><script type="module">
  const root = document.getElementById("host").attachShadow({ mode: "open" });
  root.innerHTML = `<style>{css}</style>{html}`;
  const { default: mount } = await import("/widget.js");
  window.told = [];
  const setStateValue = (name, value) => window.told.push([name, value]);
  window.show = (data) => { mount({ parentElement: root, data, setStateValue }); };
  show({sight});
</script>"""
PIXELS = "() => new Set(document.querySelector('#host').shadowRoot.querySelector('canvas').toDataURL()).size"


@dataclass
class Server:
    """What the widget asks, answered from memory."""

    sight: dict[str, object]
    missing: bool = False
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.sound = voice_wav(seconds=SECONDS)
        waveform = decode(self.sound, limits=DecodeLimits.from_settings(Settings())).waveform
        self.picture = OverviewShape.of(overview(waveform, n_columns=600), start_s=0).model_dump()

    def answer(self, route: Route) -> None:
        path = urlsplit(route.request.url).path
        if path == "/":
            shell = SHELL.replace("{css}", listener.STYLE).replace("{html}", listener.MARKUP)
            route.fulfill(body=shell.replace("{sight}", json.dumps(self.sight)), content_type="text/html")
        elif path == "/widget.js":
            route.fulfill(body=listener.SCRIPT, content_type="text/javascript")
        elif self.missing:
            route.fulfill(status=404, json={"detail": "There is no such recording."})
        else:
            self.asked.append(path)
            if path.endswith("/audio"):
                route.fulfill(body=self.sound, content_type="audio/wav")
            else:
                route.fulfill(json=self.picture)


@pytest.fixture
def server() -> Server:
    return Server(sight=dict(listener.sight_of(make_recording(duration_s=SECONDS), LIGHT)))


@pytest.fixture
def open_widget(browser: Browser, server: Server) -> Iterator[Callable[[], Page]]:
    """Opens the widget; nothing may go wrong inside it."""
    context = browser.new_context(viewport={"width": 900, "height": 800})
    context.set_default_timeout(20_000)
    context.route("**/*", server.answer)
    troubles: list[str] = []

    def open_it() -> Page:
        page = context.new_page()
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.goto("http://localhost/")
        return page

    yield open_it
    context.close()
    assert troubles == []


def wait_for(page: Page, state: str) -> None:
    page.locator(f".listener[data-state={state}]").wait_for()


def canvas_point(page: Page, share: float) -> tuple[float, float]:
    box = page.locator("canvas").bounding_box()
    return box["x"] + 50 + (box["width"] - 50) * share, box["y"] + 40


def drag(page: Page, from_share: float, to_share: float) -> None:
    page.mouse.move(*canvas_point(page, from_share))
    page.mouse.down()
    page.mouse.move(*canvas_point(page, to_share), steps=4)
    page.mouse.up()


def position_s(page: Page) -> float:
    return int(page.locator(".seek input").input_value()) / 1000 * SECONDS


def test_the_recording_is_drawn_and_plays(open_widget, server):
    page = open_widget()
    wait_for(page, "ready")
    assert sorted(path.rsplit("/", 1)[-1] for path in server.asked) == ["audio", "overview"]
    assert all(str(server.sight["recording_id"]) in path for path in server.asked)
    page.wait_for_function(f"() => ({PIXELS})() > 40")  # an empty canvas is written with a handful of letters
    page.get_by_role("button", name="Play").click()
    page.get_by_role("button", name="Pause").wait_for()
    page.wait_for_function("() => document.querySelector('#host').shadowRoot.querySelector('.seek input').value > 50")
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("button", name="Faster").click()
    assert page.locator(".rate").inner_text().startswith("1.25")


def test_a_stretch_that_is_drawn_is_played_alone_and_a_tap_forgets_it(open_widget):
    page = open_widget()
    wait_for(page, "ready")
    drag(page, 0.3, 0.45)
    page.get_by_role("button", name="Play").click()
    page.get_by_role("button", name="Pause").wait_for()
    page.get_by_role("button", name="Play").wait_for()  # it stopped by itself
    assert position_s(page) == pytest.approx(0.45 * SECONDS, abs=0.1)
    page.mouse.click(*canvas_point(page, 0.8))
    page.wait_for_function("() => document.querySelector('#host').shadowRoot.querySelector('.seek input').value > 790")
    page.get_by_role("button", name="Play").click()
    page.wait_for_function("() => document.querySelector('#host').shadowRoot.querySelector('.seek input').value > 950")


def test_another_recording_takes_the_place_of_the_first_and_the_same_one_stays(open_widget, server):
    page = open_widget()
    wait_for(page, "ready")
    page.evaluate("sight => show(sight)", server.sight)
    assert len(server.asked) == 2, "a run of the page fetches nothing again"
    other = str(make_recording().id)
    page.evaluate("sight => show(sight)", server.sight | {"recording_id": other})
    wait_for(page, "loading")
    wait_for(page, "ready")
    assert len([path for path in server.asked if other in path]) == 2


def test_what_is_gone_is_told_and_cannot_be_played(open_widget, server):
    server.missing = True
    page = open_widget()
    wait_for(page, "missing")
    page.get_by_text("There is no such recording.").wait_for()
    assert page.get_by_role("button", name="Play").is_disabled()


def test_segments_lie_under_the_picture_and_one_that_is_pressed_is_played_and_told(open_widget, server):
    recording = make_recording(duration_s=SECONDS)
    pieces = [listener.Piece(start_s=0.5, end_s=1.0, label="sad"), listener.Piece(start_s=1.0, end_s=1.5, label=None)]
    lanes = [listener.Lane(name="ann@example.org", pieces=pieces[:1]), listener.Lane(name="Consensus", pieces=pieces)]
    server.sight = dict(listener.sight_of(recording, LIGHT, lanes=lanes))
    page = open_widget()
    wait_for(page, "ready")
    canvas, piece = page.locator("canvas").bounding_box(), page.locator(".track button").first.bounding_box()
    assert piece["x"] == pytest.approx(canvas["x"] + 50 + 0.25 * (canvas["width"] - 50), abs=2)
    assert piece["width"] == pytest.approx(0.25 * (canvas["width"] - 50), abs=2)
    page.get_by_role("button", name="to decide, 1.00 to 1.50 s").click()
    page.get_by_role("button", name="Pause").wait_for()
    stretch = {"start": 1, "end": 1.5, "label": None, "recording_id": str(recording.id)}
    assert page.evaluate("() => told") == [["stretch", stretch]]
    assert page.locator(".track button[aria-pressed=true]").count() == 1
    page.get_by_role("button", name="Play").wait_for()
    drag(page, 0.1, 0.2)
    page.mouse.click(*canvas_point(page, 0.9))
    told = page.evaluate("() => told.map(([name, stretch]) => stretch && stretch.label)")
    assert told == [None, None, None]
    assert page.evaluate("() => told.at(-1)[1]") is None
    assert page.evaluate("() => told[1][1].end") == pytest.approx(0.2 * SECONDS, abs=0.02)
