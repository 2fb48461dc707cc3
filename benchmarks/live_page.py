"""How long the Live page takes from sound to screen, and how often it changes: the real process, a real browser.

python -m benchmarks.live_page                        # a minute of each way in, with the committed model
python -m benchmarks.live_page --seconds 30 --way websocket

Chromium's fake microphone plays a file over and over: three seconds of digital silence, three of a loud voice. A
worklet of our own listens to the same stream that the page got and notes when the voice begins; observers note when
the level meter and the emotion follow. All times are those of one machine's clock. What lies before, from the air to
the browser, is the sound card's and no part of these figures.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import numpy as np
import psutil
import soundfile
import typer
from playwright.sync_api import Page, sync_playwright
from rich import box
from rich.console import Console
from rich.table import Table

from core.config import Settings
from tests.process import RunningApp, running_app
from tests.sounds import voice

DEFAULTS = Settings()
RATE = 48_000
SILENCE_S, VOICE_S = 3.0, 3.0
SETTLING_S = 2.0
"""After the first event: connections are made once, and are not what a listener waits for again and again."""
N_LOOKS = 30
"""How often memory is read."""
HEAP = "() => performance.memory.usedJSHeapSize"
METER_ON_DB = -45
"""The meter's scale begins at -60; digital silence never lifts it."""
FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]
PROBE = """(() => {
  const now = () => performance.timeOrigin + performance.now();
  const found = (window.top.telepathyProbe ||= { voices: [], meter: [], emotions: [], updates: [] });
  const worklet = `registerProcessor("probe", class extends AudioWorkletProcessor {
    constructor() { super(); this.quiet = sampleRate; }
    process([channels]) {
      if (!channels.length) return true;
      const isLoud = channels[0].some((value) => Math.abs(value) > 0.02);
      if (isLoud && this.quiet >= sampleRate) this.port.postMessage(0);
      this.quiet = isLoud ? 0 : this.quiet + channels[0].length;
      return true;
    }
  });`;
  const devices = navigator.mediaDevices;
  if (devices) {
    const original = devices.getUserMedia.bind(devices);
    devices.getUserMedia = async (wanted) => {
      const stream = await original(wanted);
      const context = new AudioContext();
      await context.audioWorklet.addModule(URL.createObjectURL(new Blob([worklet], { type: "text/javascript" })));
      const probe = new AudioWorkletNode(context, "probe");
      probe.port.onmessage = () => found.voices.push(now());
      context.createMediaStreamSource(stream).connect(probe);
      return stream;
    };
  }
  let watched = null;
  const watch = () => {
    const roots = [document, ...[...document.querySelectorAll("*")].map((one) => one.shadowRoot).filter(Boolean)];
    const find = (selector) => roots.map((root) => root.querySelector(selector)).find(Boolean);
    const meter = find(".meter"), stage = find("[data-testid=live-now]"), doubt = find(".doubt");
    if (!meter || meter === watched) return;
    watched = meter;
    const note = (list, value) => list.push([now(), value()]);
    new MutationObserver(() => note(found.meter, () => Number(meter.getAttribute("aria-valuenow"))))
      .observe(meter, { attributes: true, attributeFilter: ["aria-valuenow"] });
    new MutationObserver(() => note(found.emotions, () => stage.dataset.emotion))
      .observe(stage, { attributes: true, attributeFilter: ["data-emotion"] });
    new MutationObserver(() => found.updates.push(now())).observe(doubt, { childList: true, characterData: true });
  };
  if (window === window.top) setInterval(watch, 100); // the stage is drawn anew when the way in changes
})();"""

console = Console(width=160)


class WayIn(StrEnum):
    """How the sound travels."""

    WEBSOCKET = "WebSocket"
    WEBRTC = "WebRTC"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the observers noted, in milliseconds of one clock."""

    voices: list[float]
    """When a voice began, after at least a second of silence."""
    meter: list[tuple[float, float]]
    """When the level meter changed, and to what."""
    emotions: list[tuple[float, str]]
    updates: list[float]
    """When an answer was drawn."""
    memory: list[tuple[float, float]]
    """Resident megabytes of the process, and megabytes of the page's heap, from beginning to end."""

    def delays_ms(self, changes: list[tuple[float, bool]]) -> list[float]:
        """From each beginning of a voice to the first change that shows it, before the voice ends."""
        delays = []
        for began in self.voices:
            after = [at - began for at, is_shown in changes if is_shown and 0 <= at - began < 1e3 * VOICE_S]
            delays += after[:1]
        return delays


def write_microphone(file: Path) -> None:
    """The sound that the fake microphone repeats."""
    spoken = voice(seconds=VOICE_S, pitch_hz=180.0, sample_rate_hz=RATE)
    sound = np.concatenate([np.zeros(round(SILENCE_S * RATE), np.float32), spoken])
    soundfile.write(file, sound, RATE, subtype="PCM_16")


def watch(app: RunningApp, microphone: Path, way: WayIn, seconds: float) -> Seen:
    """Open Live, listen for `seconds`, and say what was seen."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=[*FLAGS, f"--use-file-for-fake-audio-capture={microphone}"]
        )
        context = browser.new_context(viewport={"width": 1440, "height": 900}, permissions=["microphone"])
        context.add_init_script(PROBE)
        context.add_cookies(app.browser_cookies)
        page = context.new_page()
        page.goto(f"{app.url}/live")
        page.get_by_test_id("live-toggle").wait_for(state="attached", timeout=60_000)
        _start(page, way)
        page.wait_for_function("() => window.telepathyProbe.updates.length", timeout=60_000)
        page.wait_for_timeout(1e3 * SETTLING_S)
        since = page.evaluate("() => performance.timeOrigin + performance.now()")
        process = psutil.Process(app.process.pid)
        memory = []
        for _ in range(N_LOOKS):
            page.wait_for_timeout(1e3 * seconds / N_LOOKS)
            memory.append((process.memory_info().rss / 1e6, page.evaluate(HEAP) / 1e6))
        found = page.evaluate("() => window.telepathyProbe")
        browser.close()
    return Seen(
        voices=[at for at in found["voices"] if at >= since][:-1],
        meter=[(at, value) for at, value in found["meter"] if at >= since],
        emotions=[(at, value) for at, value in found["emotions"] if at >= since],
        updates=[at for at in found["updates"] if at >= since],
        memory=memory,
    )


def _start(page: Page, way: WayIn) -> None:
    if way is WayIn.WEBRTC:
        page.get_by_role("radio", name="WebRTC").click()
        page.frame_locator("iframe[src*=webrtc]").get_by_role("button", name="Start listening").click(timeout=60_000)
    else:
        page.get_by_test_id("live-toggle").click()


def add_row(table: Table, way: WayIn, seen: Seen, seconds: float) -> None:
    """One way in, as a row."""
    meter_ms = seen.delays_ms([(at, value > METER_ON_DB) for at, value in seen.meter])
    emotion_ms = seen.delays_ms([(at, value not in {"", "silence"}) for at, value in seen.emotions])
    gaps_ms = np.diff(seen.updates)
    table.add_row(
        way,
        f"{len(meter_ms)} of {len(seen.voices)}",
        *_median_and_longest(meter_ms),
        *_median_and_longest(emotion_ms),
        f"{1e3 / gaps_ms.mean():.2f}" if gaps_ms.size else "none",
        f"{gaps_ms.max():.0f}" if gaps_ms.size else "none",
        f"{len(seen.meter) / seconds:.1f}",
        *_first_and_last_third(seen.memory),
    )


def _median_and_longest(delays_ms: list[float]) -> tuple[str, str]:
    return (f"{np.median(delays_ms):.0f}", f"{max(delays_ms):.0f}") if delays_ms else ("none", "none")


def _first_and_last_third(memory: list[tuple[float, float]]) -> list[str]:
    third = len(memory) // 3
    first, last = np.median(memory[:third], axis=0), np.median(memory[-third:], axis=0)
    return [f"{before:.0f} to {after:.0f}" for before, after in zip(first, last, strict=True)]


def main(
    seconds: Annotated[float, typer.Option(help="How long each way in is watched.")] = 60.0,
    way: Annotated[str, typer.Option(help="websocket, webrtc or both.")] = "both",
    model: str = DEFAULTS.model,
    models_dir: Path = DEFAULTS.models_dir,
) -> None:
    """Print how long sound takes to the screen, and how often the screen changes."""
    table = Table(
        "way in",
        "voices shown",
        "to level meter p50, ms",
        "longest",
        "to emotion p50, ms",
        "longest",
        "answers a second",
        "longest gap, ms",
        "moves of the meter a second",
        "process, first to last third, MB",
        "page's heap, MB",
        title="From sound to screen",
        box=box.MARKDOWN,
    )
    loads: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        microphone = Path(folder) / "microphone.wav"
        write_microphone(microphone)
        with running_app(Path(folder) / "data", model=model, models_dir=models_dir.resolve()) as app:
            for each in WayIn:
                if way in {"both", each.lower()}:
                    loads.append(f"{psutil.getloadavg()[0]:.1f}")
                    add_row(table, each, watch(app, microphone, each, seconds), seconds)
    console.print(table)
    console.print(f"Load of the machine before each: {', '.join(loads)}; its cores: {psutil.cpu_count()}")


if __name__ == "__main__":
    typer.run(main)
