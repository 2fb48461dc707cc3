"""Explain in a real browser: from an answer to its reasons, heard stretch by stretch, taken away in one file."""

from __future__ import annotations

import re

import httpx2
import pytest

from tests.browser.conftest import DESKTOP, PHONE
from tests.browser.test_pages import DRAWN_CHARTS, press_on, require_readable
from tests.bundles import copy_of_tiny
from tests.process import running_app
from tests.sounds import voice_wav
from tests.surrogates import write_small_surrogate

CLIP = voice_wav(seconds=3.0, pitch_hz=137.0)
PLAYER = ".st-key-explain_player audio"
REGIONS = """() => {
  const plot = document.querySelector('.st-key-explain_regions .js-plotly-plot');
  const found = plot?._fullData?.find(trace => trace.name === 'regions');
  return found ? {x: Array.from(found.x), z: Array.from(found.z, row => Array.from(row))} : null;
}"""


@pytest.fixture(scope="module")
def app(tmp_path_factory, chromium_path):
    """A process of its own, whose tiny model has a surrogate."""
    models_dir = tmp_path_factory.mktemp("models")
    write_small_surrogate(copy_of_tiny(models_dir, "tiny"))
    with running_app(tmp_path_factory.mktemp("data"), models_dir=models_dir, model="tiny") as started:
        yield started


@pytest.fixture(scope="module")
def prediction_id(app):
    answer = httpx2.post(
        f"{app.url}/api/v1/predict", files={"file": ("seed.wav", CLIP)}, headers=app.headers, timeout=60
    )
    return answer.json()["prediction"]["id"] if "prediction" in answer.json() else answer.json()["id"]


def regions(visit):
    """Values of the regions on screen, once there are some."""
    visit.page.wait_for_function(f"() => ({REGIONS})() !== null")
    return visit.page.evaluate(REGIONS)


def heard(visit) -> list[float]:
    """Where the player was at each moment until it stopped, after whatever set it going; in seconds."""
    visit.page.wait_for_function(f"() => window.heardSome && document.querySelector('{PLAYER}').paused")
    return visit.page.evaluate("() => window.heard")


def listen(visit) -> None:
    """Take notes of where the player is while it plays."""
    visit.page.evaluate(
        f"""() => {{
          window.heard = []; window.heardSome = false;
          const player = document.querySelector('{PLAYER}');
          player.addEventListener('playing', () => {{ window.heardSome = true; }}, {{once: true}});
          clearInterval(window.noting);
          window.noting = setInterval(() => {{ if (!player.paused) window.heard.push(player.currentTime); }}, 10);
        }}"""
    )


def test_from_analyse_to_the_reasons_and_the_address_can_be_shared(visit):
    with visit() as here:
        here.open()
        here.upload(("my own clip.wav", CLIP))
        here.page.get_by_role("link", name="Explain this answer").click()
        here.page.wait_for_url(re.compile(r"/explain\?prediction="))
        here.page.get_by_text("The strongest reasons").wait_for()
        here.settle()
        regions(here)
        here.page.wait_for_function(f"() => ({DRAWN_CHARTS})().length === 4")
        assert "my own clip.wav" in here.page.locator(".telepathy-verdict").inner_text()
        assert here.page.get_by_text("These are the reasons of a surrogate").first.is_visible()
        link = here.page.url.removeprefix(here.app.url + "/")
    with visit() as there:
        there.open(link)
        there.page.get_by_text("The strongest reasons").wait_for()
        assert "my own clip.wav" in there.page.locator(".telepathy-verdict").inner_text()


def test_a_prediction_of_explore_leads_here_too(visit, prediction_id):
    with visit() as here:
        here.open(f"explore?prediction={prediction_id}")
        here.page.get_by_role("dialog").get_by_role("link", name="Explain this answer").click()
        here.page.wait_for_url(re.compile(r"/explain\?prediction="))
        here.page.get_by_text("The strongest reasons").wait_for()
        here.settle()


def test_a_click_on_a_region_plays_that_stretch_and_nothing_else(visit, prediction_id):
    with visit() as here:
        here.open(f"explain?prediction={prediction_id}")
        edges = regions(here)["x"]
        here.settle()
        listen(here)
        column = len(edges) // 2
        middle = (edges[column] + edges[column + 1]) / 2
        press_on(here, "explain_regions", (middle / 3.0, 0.5))
        places = heard(here)
        assert min(places) >= edges[column] - 0.05
        assert max(places) <= edges[column + 1] + 0.15
        assert max(places) - min(places) > 0.5 * (edges[column + 1] - edges[column])


def test_the_stretch_that_mattered_most_is_played_by_its_button(visit, prediction_id):
    with visit() as here:
        here.open(f"explain?prediction={prediction_id}")
        regions(here)
        button = here.page.locator(".telepathy-play").first
        button.wait_for()
        here.settle()
        start_s, end_s = (float(button.get_attribute(f"data-{name}")) for name in ("start", "end"))
        listen(here)
        button.focus()
        here.page.keyboard.press("Enter")
        places = heard(here)
        assert min(places) >= start_s - 0.05
        assert max(places) <= end_s + 0.15
        assert here.page.locator(PLAYER).evaluate("player => player.currentTime") == pytest.approx(end_s, abs=0.1)


def test_why_not_the_runner_up_changes_the_chart(visit, prediction_id):
    with visit() as here:
        here.open(f"explain?prediction={prediction_id}")
        before = regions(here)
        here.settle()
        here.page.locator(".st-key-explain_against").get_by_role("radio").nth(1).click()
        here.page.get_by_text(re.compile("Why .* and not .*Which parts")).wait_for()
        here.settle()
        assert "against=" in here.page.url
        assert regions(here)["z"] != before["z"]


def test_the_download_opens_without_internet(visit, browser, prediction_id, tmp_path):
    with visit() as here:
        here.open(f"explain?prediction={prediction_id}")
        regions(here)
        here.settle()
        with here.page.expect_download() as download:
            here.page.get_by_role("button", name="Download as HTML").click()
        file = tmp_path / "explanation.html"
        download.value.save_as(file)
        with here.page.expect_download() as picture:
            here.page.locator(".st-key-explain_regions .modebar-btn").first.click()
        assert picture.value.path().read_bytes().startswith(b"\x89PNG")
    context = browser.new_context(offline=True)
    page = context.new_page()
    asked, errors = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(file.as_uri())
    page.locator("#regions .hm image").first.wait_for(state="attached")
    assert "The stretch" in page.locator("body").inner_text()
    assert not [url for url in asked if not url.startswith(("file:", "data:", "blob:"))]
    assert errors == []
    context.close()


HOSTILE = "<script>document.title='taken'</script><b>clip</b>.wav"


@pytest.mark.parametrize("page_name", ["analyse", "explain"])
def test_the_report_opens_without_internet_and_prints_as_text(visit, browser, tmp_path, page_name):
    with visit() as here:
        here.open()
        here.upload((HOSTILE, voice_wav(seconds=3.0, pitch_hz=151.0 if page_name == "analyse" else 163.0)))
        if page_name == "explain":
            here.page.get_by_role("link", name="Explain this answer").click()
            here.page.get_by_text("The strongest reasons").wait_for()
            here.settle()
        with here.page.expect_download() as download:
            here.page.get_by_role("button", name="Report (HTML)").click()
        file = tmp_path / "report.html"
        download.value.save_as(file)
    context = browser.new_context(offline=True, viewport={"width": 900, "height": 900})
    page = context.new_page()
    asked, errors = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(file.as_uri())
    page.locator("#probabilities .main-svg").first.wait_for(state="attached")
    said = page.locator("body").inner_text()
    assert "<b>clip</b>.wav" in said
    assert page.title().startswith("<script>")
    for title in ("The recording", "How likely each emotion is", "What is heard when", "The model, and how far"):
        assert title in said
    reasons = ("Which parts of the sound", "rather than", "How the voice sounds", "stand-in (surrogate)")
    assert [title in said for title in reasons] == [page_name == "explain"] * 4
    assert not [url for url in asked if not url.startswith(("file:", "data:", "blob:"))]
    assert errors == []
    assert page.evaluate("() => document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    printed = page.pdf(prefer_css_page_size=True)
    assert printed.startswith(b"%PDF")
    assert b"/ToUnicode" in printed  # glyphs that know their letters: text, not a picture of it
    page.set_viewport_size({"width": 400, "height": 900})
    page.reload()
    page.locator("#probabilities .main-svg").first.wait_for(state="attached")
    figures = page.locator(".figure")
    assert figures.count() == (3 if page_name == "explain" else 2)
    assert not figures.evaluate_all("(all) => all.filter((one) => one.scrollWidth > one.clientWidth).length")
    context.close()


def test_with_nothing_chosen_a_sample_takes_one_click(visit):
    with visit() as here:
        here.open("explain")
        here.page.get_by_text("Across many recordings").wait_for()
        here.settle()
        here.page.locator(".st-key-explain_samples button").nth(1).click()
        here.page.get_by_text("The strongest reasons").wait_for()
        here.settle()
        assert "prediction=" in here.page.url


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_text_can_be_read_and_nothing_is_wider_than_the_screen(visit, prediction_id, size, scheme):
    with visit(size=size, scheme=scheme) as here:
        here.open("explain")
        require_readable(here)
        here.open(f"explain?prediction={prediction_id}")
        regions(here)
        here.settle()
        require_readable(here)
