"""Takes the picture in README.md: `python -m tests.browser.take_picture`. Needs the corpora and chromium.

Two actors of RAVDESS (13 and 14) speak in turn, angry, then happy, then surprised; what stands in the picture is what
the committed model makes of that.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
from playwright.sync_api import sync_playwright

from core.config import REPOSITORY, Settings
from core.features.audio import DecodeLimits, decode
from core.features.speech import speech_span
from tests.browser.conftest import FLAGS, READY
from tests.process import running_app
from tests.sounds import SAMPLE_RATE_HZ, wav_bytes

RAVDESS = REPOSITORY.parent / "shared" / "corpora" / "RAVDESS"
UTTERANCES = (
    "03-01-05-02-01-02-13",
    "03-01-05-01-02-02-13",
    "03-01-05-02-02-02-14",
    "03-01-05-01-01-02-13",
    "03-01-03-01-02-02-14",
    "03-01-08-02-02-02-13",
)
PICTURE = REPOSITORY / "docs" / "images" / "analyse.png"
PAUSE_S = 0.4


def dialogue() -> bytes:
    """The utterances one after the other, as WAV."""
    limits = DecodeLimits.from_settings(Settings())
    parts = []
    for name in UTTERANCES:
        waveform = decode((RAVDESS / f"{name}.opus").read_bytes(), limits=limits).waveform
        start, end = speech_span(waveform)
        parts += [waveform.samples[start:end], np.zeros(round(PAUSE_S * SAMPLE_RATE_HZ), np.float32)]
    sound = np.concatenate(parts)
    return wav_bytes(0.8 * sound / np.abs(sound).max())


def main() -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        running_app(Path(folder)) as app,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        context = browser.new_context(viewport={"width": 1440, "height": 1180})
        context.add_cookies(app.browser_cookies)
        page = context.new_page()
        page.goto(app.url)
        page.wait_for_function(READY)
        page.locator("input[type=file]").set_input_files(
            [{"name": "acted dialogue.wav", "mimeType": "audio/wav", "buffer": dialogue()}]
        )
        page.locator(".st-key-analyse_sound .hm, .st-key-analyse_sound image").first.wait_for()
        page.wait_for_function(READY)
        page.wait_for_timeout(1500)
        page.screenshot(path=PICTURE)
        browser.close()


if __name__ == "__main__":
    main()
