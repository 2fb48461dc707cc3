/* Annotating: one clip after another, a key each. It talks to the API by itself (same origin, the session's cookie), has
   the next clips at hand before they are shown, and leaves what was rated to the outbox. */

const AHEAD = 5; // clips loaded beyond the one on screen: a fast hand rates two a second, and the network may pause
const BEHIND = 3; // clips whose sound is kept for going back
const MOST_ASKED = 50; // by the API
const LOOK_AGAIN_MS = 4000;
const labellers = new WeakMap();

export default function (component) {
  const { parentElement, data } = component;
  let labeller = labellers.get(parentElement);
  if (labeller && labeller.identity !== identityOf(data)) { labeller.leave(); labeller = null; }
  if (!labeller) labellers.set(parentElement, (labeller = new Labeller(parentElement, data)));
  labeller.take(data);
  return () => { labeller.leave(); labellers.delete(parentElement); };
}

function identityOf(data) { return `${data.address} ${data.user}`; }

class Labeller {
  constructor(root, data) {
    this.identity = identityOf(data);
    this.board = new Board(root.querySelector(".labeller"), this);
    this.hands = new Hands(this.board, this);
    this.server = new Server(data.address);
    this.picture = new Picture(this.board.find("canvas"));
    this.items = [];
    this.index = -1;
    this.done = [];
    this.rate = 1;
    this.isLooping = false;
    this.plays = remembered("autoplay", true);
    this.usesKeys = remembered("keys", true);
    this.isCutting = remembered("segments", false);
    this.outbox = new Outbox(this.identity, {
      send: (action) => this.server.send(action),
      onSent: (action, answer) => this.onSent(action, answer),
      onChange: () => this.board.tellSaved(),
    });
    for (const action of this.outbox.actions) if (action.kind !== "undo") this.add(action.shown, action);
    this.hands.listen();
    this.drawing = requestAnimationFrame(this.draw = this.draw.bind(this));
    this.begin();
  }

  take(data) {
    const look = JSON.stringify([data.look, data.labels, data.asks]);
    this.data = data;
    if (this.look === look) return;
    this.look = look;
    const style = getComputedStyle(this.board.root);
    this.colours = { ...data.look, font: style.fontFamily };
    this.board.fillLabels();
    this.board.fillHelp();
    if (this.item?.seen) this.picture.show(this.item.seen, this.colours);
    this.board.tellItem();
  }

  async begin() {
    await this.outbox.flush(); // before asking what is left, so that nothing comes twice
    await this.refill();
  }

  /* ---- which clips ---- */

  get item() { return this.items[this.index]; }

  /* Ask for more clips, unless the last answer had no more and nothing was closed or saved since. */
  async refill() {
    const moment = `${this.done.length} ${this.outbox.waiting}`;
    if (this.isAsking || this.again || (this.isSpent && this.askedAtMoment === moment)) return;
    this.isAsking = true;
    try {
      // What was not sent yet is still open to the server. As many again as are loaded: one question for several clips.
      const asked = Math.min(2 * AHEAD + this.outbox.waiting, MOST_ASKED);
      const answer = await this.server.queue(asked);
      const isFirst = !this.hasQueue;
      this.hasQueue = true;
      this.isSpent = answer.clips.length < asked;
      this.askedAtMoment = moment;
      if (!this.outbox.waiting) this.progress = answer.progress;
      this.progress ||= answer.progress;
      if (isFirst) for (const clip of answer.recent) this.add(clip);
      for (const clip of answer.clips) this.add(clip);
      this.board.notice("");
    } catch (error) {
      if (!this.hasQueue) this.board.notice(this.board.sentence(error));
      this.again = setTimeout(() => { this.again = null; this.refill(); }, error.retryAfterMs || LOOK_AGAIN_MS);
    }
    this.isAsking = false;
    if (!this.item) this.open(this.firstOpen(0));
    else this.load();
    this.board.tellSaved();
  }

  /* A clip the server offers, or one that `action`, which has not been sent yet, closed before the page was loaded. */
  add(clip, action) {
    const known = this.items.find((item) => item.clip.id === clip.id);
    if (known && known.state === "skipped" && !this.outbox.has(known.action)) this.offerAgain(known);
    if (known) return;
    const rating = action ? action.rating : clip.rating;
    const state = action?.kind === "skip" ? "skipped" : rating ? "rated" : "open";
    const { second, intensity, note } = rating || {};
    const draft = { second, intensity, note };
    const item = { clip, rating, state, segments: rating?.segments || [], selected: -1, draft };
    if (action) item.action = action.id;
    if (state !== "open") this.done.push(item);
    this.items.push(item);
  }

  /* What was skipped comes back last. */
  offerAgain(item) {
    const shown = this.item;
    item.state = "open";
    this.done = this.done.filter((one) => one !== item);
    this.items = [...this.items.filter((one) => one !== item), item];
    this.index = this.items.indexOf(shown);
  }

  firstOpen(from) {
    const after = this.items.findIndex((item, at) => at >= from && item.state === "open");
    return after >= 0 ? after : this.items.findIndex((item) => item.state === "open");
  }

  /* Have the clips around the one on screen at hand, and let go of the sound of those far behind. */
  load() {
    if (this.isLeft) return;
    const open = this.items.filter((item, at) => item.state === "open" && at > this.index).slice(0, AHEAD);
    const near = new Set(this.item ? [this.item, ...open] : open);
    // What is waited for, and one ahead at a time: plans let a person have few calls under way.
    let isLoading = this.items.some((item) => item !== this.item && item.loading && !item.sound);
    for (const item of near) {
      if (item.loading || item.error || (isLoading && item !== this.item)) continue;
      isLoading ||= item !== this.item;
      this.fetch(item);
    }
    this.items.forEach((item, at) => {
      if (item.sound && !near.has(item) && Math.abs(at - this.index) > BEHIND) {
        item.sound.close();
        item.sound = item.loading = null;
      }
    });
    const left = this.items.filter((item) => item.state === "open").length;
    if (this.hasQueue && left <= AHEAD) this.refill();
  }

  fetch(item) {
    item.loading = this.fetchNow(item).catch((error) => {
      item.error = error;
      item.loading = null;
      if (item.sound) item.sound.close();
      item.sound = null;
      if (item === this.item) this.board.tellItem();
      if (!error.status || TRY_AGAIN.has(error.status)) {
        setTimeout(() => { item.error = null; this.load(); }, error.retryAfterMs || LOOK_AGAIN_MS);
      }
    }).then(() => this.load());
  }

  async fetchNow(item) {
    const { clip } = item;
    const sound = new Sound(this.server.soundOf(clip), clip.recording_duration_s);
    try {
      [item.seen] = await Promise.all([item.seen || this.server.overview(clip), sound.ready]);
    } catch (error) {
      sound.ready.then(() => sound.close(), () => {}); // it may come after the picture was refused
      throw error;
    }
    if (this.isLeft) { sound.close(); return; }
    item.sound = sound;
    item.sound.mark(item.marked || null);
    if (item === this.item) this.present();
  }

  /* ---- on screen ---- */

  labelOf(name) { return this.data.labels.find((label) => label.name === name); }

  open(index) {
    if (this.item?.sound) this.item.sound.pause();
    this.index = index;
    this.marking = null;
    if (!this.item) { this.finish(); this.load(); return; }
    this.item.error = null;
    this.board.set("state", this.item.sound ? "ready" : "loading");
    this.board.tellItem();
    if (this.item.sound) this.present();
    this.load();
  }

  present() {
    const { item } = this;
    this.board.set("state", "ready");
    this.picture.show(item.seen, this.colours);
    item.sound.rate = this.rate;
    item.sound.isLooping = this.isLooping;
    item.sound.mark(item.marked || null);
    this.board.tellItem();
    if (this.plays && item.state === "open") {
      item.sound.seek(0);
      item.sound.play().then((plays) => { if (!plays && item === this.item) this.board.tellPlay(true); });
    }
    item.openedAt = performance.now();
    this.measure();
  }

  /* How long the clip took to appear, from the key that closed the one before: for the benchmark and the curious. */
  measure() {
    if (!this.closedAt) return;
    const start = this.closedAt;
    this.closedAt = 0;
    requestAnimationFrame(() => setTimeout(() => {
      const { duration } = performance.measure("telepathy-next-clip", { start, end: performance.now() });
      this.board.root.dataset.nextClipMs = duration.toFixed(1);
    }));
  }

  /* No clip is left: for good, or until the server has been asked once more. */
  finish() {
    const isOver = this.hasQueue && this.isSpent && !this.isAsking;
    this.board.set("state", isOver ? "done" : "loading");
    this.board.tellItem();
    if (!isOver) return;
    this.closedAt = 0;
    const n = this.progress.n_done;
    this.board.find(".done p").textContent = n
      ? `Nothing is left for you here. You labelled ${n.toLocaleString("en")} ${n === 1 ? "clip" : "clips"}.`
      : "No clip of this project waits for you. They appear here once somebody assigns some.";
  }

  draw() {
    this.drawing = requestAnimationFrame(this.draw);
    const { item } = this;
    if (!item || !item.sound || this.board.state !== "ready") return;
    item.sound.tick();
    this.picture.draw({
      at: item.sound.at,
      marked: this.marking || (this.isCutting ? null : item.marked),
      segments: this.isCutting ? item.segments : [],
      selected: item.selected,
      colourOf: (name) => this.labelOf(name)?.colour || this.colours.muted,
      nameOf: (one, index) => `${index + 1} ${one.label || "no label yet"}`,
    });
    const seek = this.board.find(".seek input");
    if (seek.getRootNode().activeElement !== seek) seek.value = Math.round((1000 * item.sound.at) / item.seen.duration_s);
    this.board.tellPlay();
  }

  /* ---- rating ---- */

  choose(label, isSecond) {
    const { item } = this;
    if (!item || !label) return;
    if (isSecond || this.isSecondNext) {
      this.isSecondNext = false;
      const { draft } = item;
      if (this.data.asks.second) draft.second = draft.second === label.name ? null : label.name;
      this.board.tellItem();
    } else if (this.isCutting && item.segments[item.selected]) {
      item.segments = relabel(item.segments, item.selected, label.name);
      this.select(Math.min(item.selected + 1, item.segments.length - 1));
    } else if (!this.isCutting) {
      this.rateWith({ label: label.name });
    }
  }

  flag(flag) { if (!this.isCutting || !this.item?.segments.length) this.rateWith({ flag }); }

  saveSegments() {
    const { item } = this;
    if (!this.isCutting || !item || !item.segments.length) return;
    const bare = item.segments.findIndex((one) => !one.label);
    if (bare >= 0) { this.select(bare); this.board.notice(`Segment ${bare + 1} has no label yet.`); return; }
    this.rateWith({ segments: item.segments });
  }

  rateWith(given) {
    const { item } = this;
    if (!item || this.board.state !== "ready") return;
    if (item.state === "rated") this.takeBack(item);
    const { second, intensity, note } = item.draft;
    const rating = {
      ...given,
      second: second === given.label ? null : second || null,
      intensity: intensity ?? null,
      note: note || "",
    };
    const spent_s = round((performance.now() - item.openedAt) / 1000);
    item.rating = rating;
    item.action = newId();
    this.close(item, "rated", { id: item.action, kind: "rate", clip: item.clip.id, rating, spent_s });
  }

  setIntensity(value) {
    const { item } = this;
    if (!item || !this.data.asks.intensity) return;
    item.draft.intensity = item.draft.intensity === value ? null : value;
    this.board.tellItem();
  }

  skip() {
    const { item } = this;
    if (!item || item.state !== "open") return;
    item.action = newId();
    this.close(item, "skipped", { id: item.action, kind: "skip", clip: item.clip.id });
  }

  close(item, state, action) {
    item.state = state;
    this.done.push(item);
    if (state === "rated" && this.progress) this.progress.n_done += 1;
    this.board.notice("");
    this.closedAt = this.askedAt;
    this.outbox.add({ ...action, shown: item.clip });
    this.open(this.firstOpen(this.index + 1));
  }

  undo() {
    const item = this.done[this.done.length - 1];
    if (!item) { this.board.notice("There is nothing to undo."); return; }
    this.takeBack(item);
    this.open(this.items.indexOf(item));
  }

  /* Open again what was rated or skipped: unsent, it is simply not sent; saved, the server is told. */
  takeBack(item) {
    this.done = this.done.filter((one) => one !== item);
    if (item.state === "rated" && this.progress) this.progress.n_done -= 1;
    item.state = "open";
    item.rating = null;
    if (item.action && this.outbox.withdraw(item.action)) return;
    this.outbox.add({ id: newId(), kind: "undo", clip: item.clip.id });
  }

  onSent(action, answer) {
    if (!answer) return;
    const item = this.items.find((one) => one.clip.id === action.clip);
    if (item && answer.guess) item.clip.guess = answer.guess;
    if (answer.progress && !this.outbox.waiting) this.progress = answer.progress;
    this.load();
  }

  step(by) {
    const at = this.board.state === "done" ? this.items.length : this.index;
    const index = at + by;
    if (index >= 0 && index < this.items.length) this.open(index);
    else if (by > 0 && this.item && this.item.state !== "open") this.open(this.firstOpen(0));
  }

  /* ---- sound ---- */

  toggleSound() {
    const { item } = this;
    if (!item?.sound) return;
    if (item.sound.isPlaying) item.sound.pause();
    else item.sound.play();
  }

  nudge(by) { this.item?.sound?.seek(this.item.sound.at + by); }

  changeRate(by) {
    this.rate = RATES[Math.min(Math.max(RATES.indexOf(this.rate) + by, 0), RATES.length - 1)];
    this.board.find(".rate").textContent = `${this.rate}×`;
    if (this.item?.sound) this.item.sound.rate = this.rate;
  }

  toggle(name) {
    if (name === "loop") {
      this.isLooping = !this.isLooping;
      if (this.item?.sound) this.item.sound.isLooping = this.isLooping;
    } else if (name === "autoplay") remember("autoplay", (this.plays = !this.plays));
    else {
      remember("segments", (this.isCutting = !this.isCutting));
      this.setMark(null);
    }
    this.board.tellItem();
  }

  /* ---- marks and segments ---- */

  setMark(stretch) {
    const { item } = this;
    if (!item) return;
    item.marked = stretch;
    item.sound?.mark(stretch);
  }

  /* A stretch was drawn, or its end named: something to listen to, or a segment. */
  setStretch(start, end) {
    const { item } = this;
    if (!item) return;
    const stretch = { start: round(Math.min(start, end)), end: round(Math.max(start, end)), label: null };
    stretch.end = Math.min(stretch.end, item.clip.recording_duration_s); // a player may run some milliseconds over
    if (!isLongEnough(stretch)) return;
    if (!this.isCutting) { this.setMark(stretch); return; }
    item.segments = paint(item.segments, stretch);
    this.select(item.segments.indexOf(stretch));
  }

  beginStretch() {
    if (!this.item?.sound) return;
    this.beganAt = this.item.sound.at;
    if (!this.isCutting) this.setStretch(this.beganAt, this.item.clip.recording_duration_s);
  }

  endStretch() {
    const { item } = this;
    if (!item?.sound) return;
    const last = item.segments[item.segments.length - 1];
    const start = this.beganAt ?? (this.isCutting && last ? last.end : 0);
    this.beganAt = null;
    this.setStretch(start, item.sound.at);
  }

  select(index) {
    const { item } = this;
    item.selected = index;
    const one = item.segments[index];
    this.setMark(one ? { start: one.start, end: one.end } : null);
    this.board.tellItem();
  }

  cut(segments, index) {
    const { item } = this;
    if (segments === item.segments) return;
    item.segments = segments;
    this.select(Math.min(index, segments.length - 1));
  }

  splitHere() {
    const { item } = this;
    if (!this.isCutting || !item?.sound) return;
    if (!item.segments.length) item.segments = [{ start: 0, end: item.clip.recording_duration_s, label: null }];
    const at = item.sound.at;
    const index = item.segments.findIndex((one) => one.start < at && at < one.end);
    if (index >= 0) this.cut(split(item.segments, index, round(at)), index);
    this.board.tellItem();
  }

  mergeWithNext() { if (this.isCutting && this.item) this.cut(merge(this.item.segments, this.item.selected), this.item.selected); }

  removeSegment() {
    if (this.isCutting && this.item?.segments[this.item.selected]) {
      this.cut(without(this.item.segments, this.item.selected), this.item.selected);
    }
  }

  leave() {
    this.isLeft = true;
    cancelAnimationFrame(this.drawing);
    clearTimeout(this.again);
    this.hands.leave();
    this.outbox.close();
    for (const item of this.items) item.sound?.close();
  }
}

function remembered(name, otherwise) {
  try { return JSON.parse(localStorage.getItem(`telepathy-annotate-${name}`)) ?? otherwise; } catch { return otherwise; }
}

function remember(name, value) {
  try { localStorage.setItem(`telepathy-annotate-${name}`, JSON.stringify(value)); } catch { /* only for as long as the page is open, then */ }
}

function newId() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16)); // addresses without https, other than this machine's
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const digits = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

function round(seconds) { return Math.round(seconds * 1000) / 1000; }
