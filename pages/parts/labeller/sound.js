/* One recording's sound, played whole, from a place, or a marked part of it, once or over and over. */

const RATES = [0.5, 0.75, 1, 1.25, 1.5, 1.75, 2];
const LARGEST_BLOB_S = 600; // longer recordings are fetched by the player, in parts, as it needs them

class Sound {
  constructor(address, duration) {
    this.audio = new Audio();
    this.audio.preload = "auto";
    this.duration = duration;
    this.stretch = null;
    this.isLooping = false;
    this.isReady = false;
    this.ready = this.load(address);
    this.audio.addEventListener("ended", () => this.reachEnd());
  }

  /* Resolves once it can be played without the network; rejects when this browser cannot play it. */
  async load(address) {
    if (this.duration <= LARGEST_BLOB_S) {
      const answer = await fetch(address, { credentials: "same-origin" });
      if (!answer.ok) throw await problemOf(answer);
      this.url = URL.createObjectURL(await answer.blob());
    }
    await new Promise((resolve, reject) => {
      this.audio.addEventListener("canplaythrough", resolve, { once: true });
      this.audio.addEventListener("error", () => reject(new Error("This browser cannot play this kind of recording.")));
      this.audio.src = this.url || address;
      this.audio.load();
    });
    this.isReady = true;
  }

  get bounds() { return this.stretch || { start: 0, end: this.duration }; }

  get at() { return this.audio.currentTime; }

  get isPlaying() { return !this.audio.paused; }

  /* Resolves to whether it plays: browsers want a click or a key first. */
  async play() {
    const { start, end } = this.bounds;
    if (this.at < start - 0.01 || this.at >= end - 0.02) this.audio.currentTime = start;
    try { await this.audio.play(); return true; } catch { return false; }
  }

  pause() { this.audio.pause(); }

  seek(at) { this.audio.currentTime = Math.min(Math.max(at, 0), this.duration); }

  mark(stretch) {
    this.stretch = stretch;
    if (stretch && (this.at < stretch.start || this.at > stretch.end)) this.audio.currentTime = stretch.start;
  }

  set rate(rate) { this.audio.playbackRate = this.audio.defaultPlaybackRate = rate; }

  /* Called with every frame that is drawn: players tell the time only four times a second. */
  tick() { if (this.isPlaying && this.at >= this.bounds.end) this.reachEnd(); }

  reachEnd() {
    if (!this.isLooping) { this.audio.pause(); this.audio.currentTime = Math.min(this.bounds.end, this.audio.duration || 0); return; }
    this.audio.currentTime = this.bounds.start;
    if (this.audio.paused) this.audio.play().catch(() => {});
  }

  close() {
    this.audio.pause();
    this.audio.removeAttribute("src");
    this.audio.load();
    if (this.url) URL.revokeObjectURL(this.url);
  }
}
