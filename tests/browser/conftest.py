"""A real process and a real browser, Debian's chromium driven by Playwright, watched for errors and other hosts."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

from tests.bundles import TINY
from tests.process import RunningApp, running_app
from tests.sounds import voice_wav

FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--mute-audio",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]
PROBES = re.compile(r"/\w+/_stcore/(health|host-config)$")
"""Where Streamlit's script looks for its server when a page below the root is opened; the root is its second guess."""
DESKTOP, PHONE = (1440, 900), (400, 850)
READY = "() => document.querySelector('[data-testid=stApp]')?.dataset.testScriptState === 'notRunning'"


@dataclass
class Visit:
    """One visitor's page, and what happened on it that should not have."""

    page: Page
    app: RunningApp
    console_errors: list[str] = field(default_factory=list)
    other_hosts: list[str] = field(default_factory=list)

    def watch(self) -> None:
        """Take notice of console errors, exceptions and requests to anywhere else."""
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.console_errors.append(str(error)))
        self.page.on("request", self._see)
        self.page.on("websocket", lambda socket: self._check(socket.url))

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not PROBES.search(message.location["url"]):
            self.console_errors.append(f"{message.text} ({message.location['url']})")

    def _see(self, request: Request) -> None:
        self._check(request.url)

    def _check(self, url: str) -> None:
        here = f"//127.0.0.1:{self.app.port}/"
        if not url.startswith(("data:", f"http:{here}", f"ws:{here}", f"blob:http:{here}")):
            self.other_hosts.append(url)

    def open(self, path: str = "") -> None:
        """Go to an address of the process and wait until it is drawn."""
        self.page.goto(f"{self.app.url}/{path}")
        self.settle()

    def settle(self) -> None:
        """Wait until the script has run and the browser has drawn."""
        self.page.wait_for_timeout(300)
        self.page.wait_for_function(READY)
        self.page.wait_for_timeout(500)

    def upload(self, *files: tuple[str, bytes]) -> None:
        """Hand in files on Analyse."""
        self.page.locator("input[type=file]").set_input_files(
            [{"name": name, "mimeType": "audio/wav", "buffer": data} for name, data in files]
        )
        self.page.locator(".telepathy-verdict").wait_for()
        self.settle()

    def is_wider_than_the_window(self) -> bool:
        """Whether a page that is not Streamlit's is wider than the window."""
        return bool(self.page.evaluate("() => document.documentElement.scrollWidth > innerWidth"))

    def scrolls_sideways(self) -> bool:
        """Whether anything is wider than the window."""
        return bool(
            self.page.evaluate(
                "() => [document.documentElement, document.querySelector('[data-testid=stMain]')]"
                ".some(element => element.scrollWidth > element.clientWidth)"
            )
        )


@pytest.fixture(scope="session")
def chromium_path() -> str:
    found = shutil.which("chromium")
    if found is None:
        pytest.skip("chromium is not installed; .ci/run installs it")
    return found


@pytest.fixture(scope="session")
def spoken_file(tmp_path_factory) -> Path:
    """What the fake microphone hears."""
    file = tmp_path_factory.mktemp("microphone") / "spoken.wav"
    file.write_bytes(voice_wav(seconds=4.0))
    return file


@pytest.fixture(
    scope="module"
)  # while Playwright runs, its event loop keeps others, such as asyncio.run's, from running
def browser(chromium_path, spoken_file) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(
            executable_path=chromium_path, args=[*FLAGS, f"--use-file-for-fake-audio-capture={spoken_file}"]
        )
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def app(tmp_path_factory, chromium_path) -> Iterator[RunningApp]:
    """One process for all browser tests, with an empty store and a tiny model."""
    with running_app(tmp_path_factory.mktemp("data"), models_dir=TINY.parent, model="tiny") as started:
        yield started


@pytest.fixture
def visit(browser, app):
    """Opens visits; at the end of the test none of them may have seen an error or asked another host."""
    visits: list[Visit] = []

    @contextmanager
    def begin(*, size: tuple[int, int] = DESKTOP, scheme: str = "light") -> Iterator[Visit]:
        context = browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            color_scheme=scheme,
            permissions=["microphone"],
            has_touch=size == PHONE,
        )
        context.set_default_timeout(60_000)
        context.add_cookies(app.browser_cookies)
        begun = Visit(page=context.new_page(), app=app)
        begun.watch()
        visits.append(begun)
        yield begun
        context.close()

    yield begin
    for each in visits:
        assert each.console_errors == []
        assert each.other_hosts == []
