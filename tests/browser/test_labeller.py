"""The annotating widget by itself, in a real browser, over answers written here: keys, segments, lost connections."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import pytest
from playwright.sync_api import Browser, Page, Route

from api.schemas import OverviewShape
from core.config import Settings
from core.domain import Emotion
from core.features.audio import DecodeLimits, decode
from core.features.overview import overview
from pages.parts import labeller
from pages.parts.theme import LIGHT
from tests.sounds import voice_wav

SECONDS = 2.0
SHELL = """<!doctype html><meta charset="utf-8"><style>body { --st-text-color: #111; --st-font: sans-serif }</style>
<div id="host"></div><script type="module">
  const root = document.getElementById("host").attachShadow({ mode: "open" });
  root.innerHTML = `<style>{css}</style>{html}`;
  const { default: mount } = await import("/widget.js");
  window.leave = mount({ parentElement: root, data: {task} });
</script>"""


def clip_of(number: int) -> dict[str, object]:
    return {
        "id": f"clip-{number}",
        "recording_id": "voice",
        "name": f"clip {number}.wav",
        "start_s": 0,
        "end_s": SECONDS,
        "recording_duration_s": SECONDS,
        "guess": None,
        "rating": None,
    }


@dataclass
class Server:
    """What the widget asks, answered from memory."""

    clips: list[dict[str, object]] = field(default_factory=lambda: [clip_of(number) for number in range(9)])
    sent: list[tuple[str, str, dict]] = field(default_factory=list)
    n_given: int = 4
    """Clips in a queue at the most, however many are asked for."""
    refusals: list[tuple[int, str]] = field(default_factory=list)
    """Status and detail of the next answers to what is sent."""
    is_reachable: bool = True
    holds: bool = False
    """Whether what is sent is left without an answer for now."""
    held: list[tuple[Route, str, str, dict]] = field(default_factory=list)
    holds_loads: bool = False
    """Likewise, of sounds and pictures."""
    loads: list[Route] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)
    """How many clips each question for a queue wanted."""

    def __post_init__(self) -> None:
        self.sound = voice_wav(seconds=SECONDS)
        waveform = decode(self.sound, limits=DecodeLimits.from_settings(Settings())).waveform
        self.picture = OverviewShape.of(overview(waveform, n_columns=600), start_s=0).model_dump()
        self.closed: dict[str, dict] = {}

    @property
    def progress(self) -> dict[str, int]:
        return {"n_done": len(self.closed), "n_total": len(self.clips)}

    def answer(self, route: Route) -> None:
        path = urlsplit(route.request.url).path
        if path == "/":
            route.fulfill(body=shell(), content_type="text/html")
        elif path == "/widget.js":
            route.fulfill(body=labeller.SCRIPT, content_type="text/javascript")
        elif not self.is_reachable:
            route.abort()
        elif path.endswith("/queue"):
            n = int(parse_qs(urlsplit(route.request.url).query)["n"][0])
            self.asked.append(n)
            left = [clip for clip in self.clips if clip["id"] not in self.closed][: min(n, self.n_given)]
            route.fulfill(json={"clips": left, "recent": [], "progress": self.progress})
        elif path.endswith(("/audio", "/overview")):
            if self.holds_loads:
                self.loads.append(route)
            else:
                self.load(route)
        else:
            body = json.loads(route.request.post_data or "{}")
            sent = (route, body["assignment_id"], path.rsplit("/", 1)[-1], body)
            if self.holds:
                self.held.append(sent)
            else:
                self.take(*sent)

    def load(self, route: Route) -> None:
        if route.request.url.endswith("/audio"):
            route.fulfill(body=self.sound, content_type="audio/wav")
        else:
            route.fulfill(json=self.picture)

    def take(self, route: Route, clip: str, kind: str, body: dict) -> None:
        if self.refusals:
            status, detail = self.refusals.pop(0)
            route.fulfill(status=status, json={"detail": detail})
            return
        self.sent.append((clip, kind, body))
        if kind == "undo":
            self.closed.pop(clip, None)
        else:
            self.closed[clip] = body
        route.fulfill(json={"progress": self.progress})

    @property
    def said(self) -> list[tuple[str, object]]:
        """Clip and label of what was sent, or what else became of it."""
        return [(clip, _said(kind, body)) for clip, kind, body in self.sent]


def _said(kind: str, body: dict) -> object:
    rating = body.get("rating", {})
    return rating.get("label") or rating.get("flag") or kind


def shell() -> str:
    labels = [emotion.value for emotion in Emotion]
    task = labeller.task_of(project_id=UUID(int=1), user_id=UUID(int=2), labels=labels, surface=LIGHT)
    return SHELL.replace("{css}", labeller.STYLE).replace("{html}", labeller.MARKUP).replace("{task}", json.dumps(task))


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def open_widget(browser: Browser, server: Server) -> Iterator[Callable[[], Page]]:
    """Opens the widget, again and again in the same browser profile; nothing may go wrong inside it."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(20_000)
    context.route("**/*", server.answer)
    troubles: list[str] = []

    def open_it() -> Page:
        page = context.new_page()
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.goto("http://localhost/")
        wait_for(page, "state", "ready")
        return page

    yield open_it
    context.close()
    assert troubles == []


def wait_for(page: Page, name: str, value: str) -> None:
    page.locator(f".labeller[data-{name}={value}]").wait_for(state="attached")


def until(page: Page, is_so: Callable[[], bool]) -> None:
    """Let the page go on until something holds here."""
    for _ in range(1000):
        if is_so():
            return
        page.wait_for_timeout(20)
    raise AssertionError("it never came so")


def press(page: Page, *keys: str) -> None:
    """Press keys one after another, each once the clip it is meant for is there."""
    for key in keys:
        wait_for(page, "state", "ready")
        page.keyboard.press(key)


def drag(page: Page, from_share: float, to_share: float) -> None:
    box = page.locator("canvas").bounding_box()
    left, width = box["x"] + 50, box["width"] - 50
    page.mouse.move(left + width * from_share, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(left + width * to_share, box["y"] + 40, steps=4)
    page.mouse.up()


def test_a_key_saves_the_label_with_what_was_noted_and_opens_the_next_clip(open_widget, server):
    page = open_widget()
    press(page, "3", "Shift+4", "w", "5", "0", "b", "s")
    wait_for(page, "saved", "all")
    assert server.said == [
        ("clip-0", "happy"),
        ("clip-1", "angry"),
        ("clip-2", "cannot_tell"),
        ("clip-3", "bad_audio"),
        ("clip-4", "skips"),
    ]
    ratings = [body for _, kind, body in server.sent if kind == "ratings"]
    assert (ratings[1]["rating"]["second"], ratings[1]["rating"]["intensity"]) == ("sad", 2)
    assert all(each["spent_s"] >= 0 for each in ratings)
    assert page.locator(".name").inner_text() == "clip 5.wav"
    assert page.locator(".count").inner_text() == "5 of 9 done"


def test_more_clips_are_asked_for_before_they_run_out_while_ratings_are_still_on_their_way(open_widget, server):
    server.clips = [clip_of(number) for number in range(30)]
    server.n_given = 50
    server.holds = True
    page = open_widget()
    assert server.asked == [10]
    press(page, *"1234567")
    page.get_by_text("clip 7.wav", exact=True).wait_for()
    for _ in range(1000):
        if len(server.asked) > 1 and server.held:
            break
        page.wait_for_timeout(10)
    assert server.held, "a rating is on its way"
    assert server.closed == {}, "and none was acknowledged"
    assert len(server.asked) > 1, "more were asked for all the same, with clips left of the ten"
    assert server.asked[1] > 10, "with those on their way counted in: to the server they are still open"
    press(page, *"12345678")
    page.get_by_text("clip 15.wav", exact=True).wait_for()
    server.holds = False
    for sent in server.held:
        server.take(*sent)
    wait_for(page, "saved", "all")
    assert [clip for clip, _ in server.said] == [f"clip-{number}" for number in range(15)]


def test_clips_ahead_are_loaded_one_after_another_and_one_refused_holds_up_no_other(open_widget, server):
    server.n_given = 1
    page = open_widget()
    server.holds_loads, server.n_given = True, 5
    press(page, "1")
    until(page, lambda: len(server.loads) == 4)
    page.wait_for_function("() => document.getElementById('host').shadowRoot.querySelector('.waiting').offsetHeight")
    waited_for, ahead = server.loads[:2], server.loads[2:]
    server.loads = []
    for route in ahead:
        route.fulfill(status=429, headers={"Retry-After": "1"}, json={"detail": "At most 4 calls at a time."})
    until(page, lambda: len(server.loads) == 2)
    assert page.locator(".labeller").get_attribute("data-state") == "loading"
    server.holds_loads = False
    for route in waited_for + server.loads:
        server.load(route)
    press(page, "2", "3", "4")
    wait_for(page, "state", "ready")
    assert [label for _, label in server.said[:4]] == ["neutral", "calm", "happy", "sad"]


def test_a_refusal_for_four_weeks_is_not_tried_again_at_once(open_widget, server):
    server.n_given = 1
    page = open_widget()
    page.evaluate("""() => {
        const set = window.setTimeout;
        window.waits = [];
        window.setTimeout = (call, ms) => { window.waits.push(ms || 0); return set(call, ms); };
    }""")
    server.holds_loads = True
    press(page, "1")
    until(page, lambda: len(server.loads) == 2)
    for route in server.loads:
        route.fulfill(status=429, headers={"Retry-After": "2592000"}, json={"detail": "The month's calls are used up."})
    page.wait_for_function("() => window.waits.some((ms) => ms >= 3_600_000)")
    assert max(page.evaluate("() => window.waits")) < 2**31, "a browser takes a longer time for none"


def test_a_clip_that_comes_after_the_page_was_left_is_not_played(open_widget, server):
    server.n_given = 1
    page = open_widget()
    server.holds_loads = True
    press(page, "1")
    until(page, lambda: len(server.loads) == 2)
    page.evaluate("""() => {
        window.leave();
        window.come_of_it = new Promise((tell) => {
            HTMLMediaElement.prototype.play = async () => tell("played");
            URL.revokeObjectURL = () => tell("let go");
        });
    }""")
    for route in server.loads:
        server.load(route)
    assert page.evaluate("() => window.come_of_it") == "let go"


def test_a_note_is_typed_without_its_letters_counting_as_keys(open_widget, server):
    page = open_widget()
    press(page, "n")
    page.keyboard.type("sounds 3 days tired")
    page.keyboard.press("Enter")
    press(page, "4")
    wait_for(page, "saved", "all")
    assert [(body["rating"]["label"], body["rating"]["note"]) for _, _, body in server.sent] == [
        ("sad", "sounds 3 days tired")
    ]


def test_undo_opens_the_last_clip_again_saved_or_not(open_widget, server):
    page = open_widget()
    press(page, "1", "2")
    wait_for(page, "saved", "all")
    press(page, "u")
    assert page.locator(".name").inner_text() == "clip 1.wav"
    press(page, "8")
    wait_for(page, "saved", "all")
    assert server.said == [("clip-0", "neutral"), ("clip-1", "calm"), ("clip-1", "undo"), ("clip-1", "surprised")]
    server.is_reachable = False
    press(page, "3", "4", "u", "u", "6")
    server.is_reachable = True
    wait_for(page, "saved", "all")
    assert server.said[4:] in (
        [("clip-2", "fearful")],
        [("clip-2", "happy"), ("clip-2", "undo"), ("clip-2", "fearful")],  # the first was on its way already
    )


def test_what_was_rated_without_a_connection_is_sent_after_a_reload(open_widget, server):
    page = open_widget()
    server.is_reachable = False
    press(page, "1", "2")
    page.get_by_text("2 answers wait in this browser and will be sent").wait_for()
    page.close()
    server.is_reachable = True
    page = open_widget()
    wait_for(page, "saved", "all")
    assert server.said == [("clip-0", "neutral"), ("clip-1", "calm")]
    assert page.locator(".name").inner_text() == "clip 2.wav"


def test_a_busy_server_is_asked_again_and_what_it_refuses_is_told(open_widget, server):
    page = open_widget()
    server.refusals = [(503, "Busy."), (422, "The label 'happy' is none of this project.")]
    press(page, "3", "4")
    page.get_by_text("An answer was not taken. The label 'happy' is none of this project.").wait_for()
    wait_for(page, "saved", "all")
    assert server.said == [("clip-1", "sad")]


def test_segments_are_drawn_split_merged_and_labelled(open_widget, server):
    page = open_widget()
    press(page, "g")
    drag(page, 0.1, 0.4)
    press(page, "3")
    drag(page, 0.5, 0.9)
    press(page, "5")
    page.locator(".seek input").evaluate("input => { input.value = 700; input.dispatchEvent(new Event('input')); }")
    press(page, "x", "ArrowDown", "4")
    said = page.locator(".segment").all_inner_texts()
    assert [text.split(",")[0].split()[-1] for text in said] == ["happy", "angry", "sad"]
    press(page, "ArrowUp", "m", "Enter")
    wait_for(page, "saved", "all")
    [(_, _, body)] = server.sent
    segments = body["rating"]["segments"]
    assert [each["label"] for each in segments] == ["happy", "angry"]
    times = [edge for each in segments for edge in (each["start"], each["end"])]
    assert times == pytest.approx([0.2, 0.8, 1.0, 1.8], abs=0.02)


def test_a_segment_without_a_label_is_asked_about_before_anything_is_saved(open_widget, server):
    page = open_widget()
    press(page, "g")
    drag(page, 0.2, 0.6)
    press(page, "Enter")
    page.get_by_text("Segment 1 has no label yet.").wait_for()
    assert server.sent == []


def test_what_is_marked_is_played_and_looped(open_widget, server):
    page = open_widget()
    page.evaluate("() => localStorage.setItem('telepathy-annotate-autoplay', 'false')")
    page.reload()
    wait_for(page, "state", "ready")
    drag(page, 0.25, 0.5)
    press(page, "l", ".", "Space")
    page.get_by_role("button", name="Pause").wait_for()
    assert page.locator(".rate").inner_text().startswith("1.25")
    press(page, "Space")
    page.get_by_role("button", name="Play", exact=True).wait_for()
    assert server.sent == [], "Space and a drag rate nothing"


def test_the_end_says_so_and_can_be_undone(open_widget, server):
    server.clips = server.clips[:2]
    page = open_widget()
    press(page, "1", "2")
    page.get_by_text("You labelled 2 clips").wait_for()
    page.keyboard.press("u")
    wait_for(page, "state", "ready")
    assert page.locator(".name").inner_text() == "clip 1.wav"


def test_a_click_leaves_no_trap_for_space(open_widget, server):
    page = open_widget()
    page.get_by_role("button", name="happy").click()
    wait_for(page, "saved", "all")
    page.keyboard.press("Space")
    assert server.said == [("clip-0", "happy")]
    page.keyboard.press("?")
    in_focus = page.evaluate("() => document.getElementById('host').shadowRoot.activeElement.textContent")
    assert in_focus == "Keys", "a phone opens the list at its top"
    page.get_by_role("dialog").get_by_text("Use these keys on this page").click()
    page.get_by_role("button", name="Close").last.click()
    page.keyboard.press("4")
    assert server.said == [("clip-0", "happy")], "keys are off"
