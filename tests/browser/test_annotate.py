"""Annotating in a real browser over a real process: clips by keys, undo, a reload, a lost connection, blind mode."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, Response

from tests.browser.conftest import PHONE, Visit
from tests.bundles import TINY
from tests.labelling_projects import fill_data_dir
from tests.process import RunningApp, running_app

N_CLIPS = 16


@pytest.fixture(scope="module")
def app(tmp_path_factory, chromium_path) -> Iterator[tuple[RunningApp, dict[str, str]]]:
    data_dir = tmp_path_factory.mktemp("labelling") / "data"
    cookies = fill_data_dir(data_dir, n_clips=N_CLIPS)
    with running_app(data_dir, signs_in=False, models_dir=TINY.parent, model="tiny") as started:
        yield started, cookies


@pytest.fixture
def annotator(browser, app) -> Iterator[Visit]:
    """The annotator's browser, on Annotate; nothing may go wrong in it, and it asks no other host."""
    started, cookies = app
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.set_default_timeout(60_000)
    context.add_cookies([{"name": name, "value": value, "url": started.url} for name, value in cookies.items()])
    visit = Visit(page=context.new_page(), app=started)
    visit.watch()
    yield visit
    context.close()
    assert visit.other_hosts == []
    assert [each for each in visit.console_errors if "ERR_INTERNET_DISCONNECTED" not in each] == []


def ready(page: Page) -> None:
    page.locator(".labeller[data-state=ready]").wait_for()


def press(page: Page, *keys: str) -> None:
    for key in keys:
        ready(page)
        page.keyboard.press(key)


def saved(page: Page) -> None:
    page.locator(".labeller[data-saved=all]").wait_for()


def name(page: Page) -> str:
    ready(page)
    return page.locator(".name").inner_text()


def queue(visit: Visit) -> dict:
    """What the server knows, asked as the annotator."""
    asked = visit.page.evaluate("() => performance.getEntriesByType('resource').map(entry => entry.name)")
    [address] = {each.split("?")[0] for each in asked if "/queue?" in each}
    return visit.page.request.get(address).json()


def test_clips_are_labelled_by_keys_and_nothing_is_lost_or_given_away(annotator):
    page, answers = annotator.page, []

    def note(response: Response) -> None:
        if "/labelling/" in response.url and response.request.method == "GET":
            answers.extend(response.json()["clips"])

    page.on("response", note)
    annotator.open("annotate")
    first = name(page)
    assert "The model hears" not in page.locator(".labeller").inner_text()
    press(page, *"12345678", "0", "b")
    saved(page)
    ready(page)
    assert page.locator(".count").inner_text() == f"10 of {N_CLIPS} done"
    assert float(page.locator(".labeller").get_attribute("data-next-clip-ms")) > 0
    known = queue(annotator)
    said = [clip["rating"]["label"] or clip["rating"]["flag"] for clip in known["recent"]]
    assert said == [
        *("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised"),
        *("cannot_tell", "bad_audio"),
    ]
    assert known["recent"][0]["name"] == first
    assert answers
    assert all(clip["guess"] is None for clip in answers), "blind: no answer before the rating"

    page.keyboard.press("u")
    page.get_by_text(known["recent"][-1]["name"], exact=True).wait_for()
    saved(page)
    again = name(page)
    page.reload()
    annotator.settle()
    assert name(page) == again, "a reload goes on at the same clip"
    press(page, "5")
    saved(page)
    assert queue(annotator)["recent"][-1]["rating"]["label"] == "angry"

    page.context.set_offline(True)
    press(page, "1", "2")
    page.get_by_text("2 answers wait in this browser").wait_for()
    assert queue_length(page) == 2
    page.context.set_offline(False)
    saved(page)
    assert queue(annotator)["progress"]["n_done"] == 12


def queue_length(page: Page) -> int:
    return int(page.locator(".labeller").get_attribute("data-waiting"))


def test_a_phone_shows_all_of_it(annotator):
    page = annotator.page
    page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    annotator.open("annotate")
    ready(page)
    assert not annotator.scrolls_sideways()
    smallest = page.locator(".labels button").evaluate_all("all => Math.min(...all.map(one => one.offsetHeight))")
    assert smallest >= 44, "fingers need as much"
    page.get_by_role("button", name="happy").click()
    saved(page)
