"""What a visitor sees and does, in a real browser."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import httpx2
import pytest

from tests.browser.conftest import DESKTOP, PHONE
from tests.sounds import voice_wav

CLIP, LONG = voice_wav(seconds=2.0, pitch_hz=131.0), voice_wav(seconds=9.0, pitch_hz=173.0)

CONTRASTS = Path(__file__).with_name("contrasts.js").read_text()


@pytest.fixture(scope="module")
def three_predictions(app):
    """Seeded by the API: what pages show does not depend on which test ran first."""
    for pitch_hz in (101.0, 151.0, 211.0):
        data = voice_wav(seconds=1.5, pitch_hz=pitch_hz)
        answer = httpx2.post(
            f"{app.url}/api/v1/predict",
            files={"file": (f"seed {pitch_hz:.0f}.wav", data)},
            headers=app.headers,
            timeout=60,
        )
        assert answer.status_code == 200


DRAWN_CHARTS = """() => [...document.querySelectorAll('.js-plotly-plot')]
    .filter(plot => plot.querySelector('.trace, .hm, .bars path'))
    .map(plot => plot.closest('[class*=st-key-]').className.match(/st-key-(\\w+)/)[1])"""


def drawn_charts(visit, *, n_charts: int) -> set[str]:
    """Names of the charts in which plotly has drawn something, once there are so many: it draws after the script."""
    visit.page.wait_for_function(f"n => ({DRAWN_CHARTS})().length === n", arg=n_charts)
    return set(visit.page.evaluate(DRAWN_CHARTS))


def press_on(visit, chart: str, from_share: tuple[float, float], to_share: tuple[float, float] | None = None) -> None:
    """Click into a chart at shares of its width and height, or drag from there."""
    box = visit.page.locator(f"[class*=st-key-{chart}] .nsewdrag").first.bounding_box()
    at = [(box["x"] + box["width"] * x, box["y"] + box["height"] * y) for x, y in (from_share, to_share or from_share)]
    visit.page.mouse.move(*at[0])
    visit.page.mouse.down()
    if to_share:
        visit.page.mouse.move(*at[1], steps=8)
    visit.page.mouse.up()
    visit.page.wait_for_timeout(600)
    visit.settle()


def test_an_upload_gets_its_verdict_and_is_found_on_explore(visit, three_predictions):
    with visit() as here:
        here.open()
        assert here.page.get_by_text("Nothing handed in yet").is_visible()
        here.upload(("my own clip.wav", CLIP))
        verdict = here.page.locator(".telepathy-verdict")
        assert "my own clip.wav" in verdict.inner_text()
        assert re.search("We hear:|Not sure:", verdict.inner_text())
        assert drawn_charts(here, n_charts=2) == {"analyse_probabilities", "analyse_sound"}
        assert here.page.locator("[data-testid=stAudio]").evaluate("player => player.readyState") > 0
        here.page.get_by_role("link", name="Explore").click()
        here.page.wait_for_url("**/explore")
        here.settle()
        drawn_charts(here, n_charts=3)
        here.page.get_by_placeholder("Part of a recording").fill("my own")
        here.page.keyboard.press("Enter")
        here.page.get_by_text(re.compile(r"^1 of \d+ predictions")).wait_for()
        grid = here.page.locator("[data-testid=stDataFrame] canvas").first.bounding_box()
        here.page.mouse.click(grid["x"] + 18, grid["y"] + 55)
        here.page.get_by_role("dialog").locator(".telepathy-verdict").wait_for()
        here.settle()
        assert "my own clip.wav" in here.page.get_by_role("dialog").inner_text()
        assert "prediction=" in here.page.url
        here.page.keyboard.press("Escape")
        here.page.get_by_role("dialog").wait_for(state="detached")
        here.settle()
        assert "prediction=" not in here.page.url
        assert "name=my+own" in here.page.url


def test_speaking_into_the_microphone_is_heard(visit):
    with visit() as here:
        here.open()
        microphone = here.page.locator("[data-testid=stAudioInput]")
        microphone.get_by_role("button", name="Record").click()
        here.page.wait_for_timeout(2500)
        microphone.get_by_role("button", name="Stop recording").click()
        here.page.locator(".telepathy-verdict").wait_for()
        here.settle()
        assert "Microphone" in here.page.locator("[data-testid=stMain]").inner_text()


def test_a_long_recording_shows_its_course_and_the_chart_follows_the_player(visit):
    with visit() as here:
        here.open()
        here.upload(("long.wav", LONG))
        rows = here.page.locator(".st-key-analyse_sound .yaxislayer-above").last.text_content()
        assert "surprised" in rows
        player = here.page.locator("[data-testid=stAudio]")
        press_on(here, "analyse_sound", (0.5, 0.1))
        assert player.evaluate("player => player.currentTime") == pytest.approx(4.5, abs=0.3)
        line = here.page.locator(".telepathy-playhead")
        before = line.bounding_box()["x"]
        player.evaluate("player => player.play()")
        here.page.wait_for_function(
            f"() => document.querySelector('.telepathy-playhead').getBoundingClientRect().x > {before + 20}"
        )


def test_one_click_on_a_sample_is_enough_and_keys_do_as_well(visit):
    with visit() as here:
        here.open()
        sample = here.page.locator(".st-key-analyse_samples button").first
        for _ in range(40):
            here.page.keyboard.press("Tab")
            if sample.evaluate("button => button === document.activeElement"):
                break
        here.page.keyboard.press("Enter")
        here.page.locator(".telepathy-verdict").wait_for()
        here.settle()


def test_a_row_is_opened_by_keyboard(visit, three_predictions):
    with visit() as here:
        here.open("explore?name=seed")
        here.page.locator("[data-testid=stDataFrame] canvas").first.focus()
        for keys in ("ArrowDown", "ArrowDown", "Shift+Space"):
            here.page.keyboard.press(keys)
        here.page.get_by_role("dialog").locator(".telepathy-verdict").wait_for()
        here.settle()
        assert "prediction=" in here.page.url


def test_several_files_are_listed_and_the_bad_one_says_why(visit):
    with visit() as here:
        here.open()
        here.upload(("one.wav", CLIP), ("notes.txt", b"no sound"), ("two.wav", LONG))
        assert here.page.get_by_text("This session").is_visible()
        assert "two.wav" in here.page.locator(".telepathy-verdict").inner_text()


def test_a_chart_sets_the_filter_and_the_address_carries_it(visit, three_predictions):
    with visit() as here:
        here.open("explore")
        everything = here.page.get_by_text(re.compile(r"^All \d+ predictions")).inner_text()
        press_on(here, "explore_by_doubt", (0.02, 0.02), (0.98, 0.98))
        assert "uncertainty=" in here.page.url
        assert here.page.get_by_role("button", name=re.compile("Uncertainty .* nats")).is_visible()
        link = here.page.url.removeprefix(here.app.url + "/")
        heading = here.page.get_by_text(re.compile(r"\d+ predictions")).first.inner_text()
    with visit() as there:
        there.open(link)
        assert there.page.get_by_text(re.compile(r"\d+ predictions")).first.inner_text() == heading
        there.page.get_by_role("button", name="Reset").click()
        there.page.get_by_text(everything, exact=True).wait_for()
        there.settle()
        assert there.page.url == f"{there.app.url}/explore"


def test_a_click_on_a_bar_chooses_its_emotion_and_keeps_what_was_framed(visit, three_predictions):
    with visit() as here:
        here.open("explore")
        press_on(here, "explore_by_doubt", (0.02, 0.02), (0.98, 0.98))
        kept = re.search("uncertainty=[^&]*", here.page.url)[0]
        bars = here.page.evaluate(
            "() => { const plot = document.querySelector('[class*=st-key-explore_by_emotion] .js-plotly-plot');"
            " const counts = Array.from(plot._fullData[0].x); return counts.indexOf(Math.max(...counts)); }"
        )
        press_on(here, "explore_by_emotion", (0.2, 1 - (bars + 0.5) / 8))
        assert "emotion=" in here.page.url
        assert kept in here.page.url


def test_the_download_holds_all_that_matches(visit, three_predictions):
    with visit() as here:
        here.open("explore?name=seed")
        with here.page.expect_download() as download:
            here.page.get_by_role("button", name="Download CSV").click()
        text = download.value.path().read_bytes().decode("utf-8-sig")
        rows = list(csv.DictReader(io.StringIO(text)))
        assert {row["recording_name"] for row in rows} == {"seed 101.wav", "seed 151.wav", "seed 211.wav"}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_text_can_be_read_and_nothing_is_wider_than_the_screen(visit, three_predictions, size, scheme):
    with visit(size=size, scheme=scheme) as here:
        here.open()
        require_readable(here)
        here.upload(("a recording with a rather long name, as recorders give them (2).wav", LONG))
        require_readable(here)
        here.open("explore")
        require_readable(here)


def require_readable(visit) -> None:
    """Streamlit fades what it is about to replace, so the weakest text gets some seconds."""
    for _ in range(10):
        weak = visit.page.evaluate(CONTRASTS)
        if not weak:
            break
        visit.page.wait_for_timeout(500)
    assert weak == []
    assert not visit.scrolls_sideways()
