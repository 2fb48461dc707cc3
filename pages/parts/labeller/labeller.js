/* Annotating: one clip after another, a key each. It talks to the API by itself (same origin, the session's cookie), has
   the next clips at hand before they are shown, and leaves what was rated to the outbox. */

const AHEAD = 3; // clips loaded beyond the one on screen: about a breath's worth for the fastest hand
const BEHIND = 3; // clips whose sound is kept for going back
const NUDGE_S = 0.5;
const LOOK_AGAIN_MS = 4000;
const labellers = new WeakMap();

const KEYS = [
  ["1 to 9", "choose the label; that saves it and opens the next clip"],
  ["Shift + 1 to 9", "note a second choice first"],
  ["0", "can't tell"],
  ["B", "bad audio"],
  ["Q W E", "weak, medium, strong"],
  ["N", "write a note"],
  ["Space", "play or pause"],
  ["L", "play over and over"],
  ["J K", "half a second back, ahead"],
  [", .", "slower, faster"],
  ["A", "play each clip as it opens"],
  ["[ ]", "mark from here, to here; what is marked is played"],
  ["Esc", "forget the mark"],
  ["← →", "previous clip, next clip"],
  ["U", "undo the last, saved or not"],
  ["S", "skip"],
  ["G", "draw segments, or no longer"],
  ["↑ ↓", "previous segment, next segment"],
  ["X M Del", "split here, merge with the next, remove a segment"],
  ["Enter", "save the segments"],
  ["?", "this list"],
];

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
    this.root = root.querySelector(".labeller");
    this.find = (selector) => this.root.querySelector(selector);
    this.all = (selector) => [...this.root.querySelectorAll(selector)];
    this.server = new Server(data.address);
    this.picture = new Picture(this.find("canvas"));
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
      onChange: () => this.tellSaved(),
    });
    this.listen();
    this.drawing = requestAnimationFrame(this.draw = this.draw.bind(this));
    this.begin();
  }

  take(data) {
    const look = JSON.stringify([data.look, data.labels, data.asks]);
    this.data = data;
    if (this.look === look) return;
    this.look = look;
    const style = getComputedStyle(this.root);
    this.colours = { ...data.look, font: style.fontFamily };
    this.fillLabels();
    this.fillHelp();
    if (this.item?.seen) this.picture.show(this.item.seen, this.colours);
    this.tellItem();
  }

  async begin() {
    await this.outbox.flush(); // before asking what is left, so that nothing comes twice
    await this.refill();
  }

  /* ---- which clips ---- */

  get item() { return this.items[this.index]; }

  /* Ask for more clips, unless the last answer had fewer than were asked for and nothing was closed since. */
  async refill() {
    const isSpent = this.isSpent && this.askedAfter === this.done.length;
    if (this.isAsking || this.again || isSpent) return;
    this.isAsking = true;
    const asked = AHEAD + 1, after = this.done.length;
    try {
      const answer = await this.server.queue(asked);
      const isFirst = !this.hasQueue;
      this.hasQueue = true;
      this.isSpent = answer.clips.length < asked;
      this.askedAfter = after;
      if (!this.outbox.waiting) this.progress = answer.progress;
      if (isFirst) for (const clip of answer.recent) this.add(clip);
      for (const clip of answer.clips) this.add(clip);
      this.notice("");
      if (!this.item) this.open(this.firstOpen(0));
    } catch (error) {
      if (!this.hasQueue) this.notice(this.sentence(error));
      const wait = Math.max(LOOK_AGAIN_MS, error.retryAfterMs || 0);
      this.again = setTimeout(() => { this.again = null; this.refill(); }, wait);
    }
    this.isAsking = false;
    this.load();
    this.tellSaved();
  }

  add(clip) {
    const known = this.items.find((item) => item.clip.id === clip.id);
    const waits = this.outbox.actions.some((action) => action.clip === clip.id && action.kind !== "undo");
    if (known || waits) return;
    const item = { clip, segments: [], selected: -1, draft: {}, state: clip.rating ? "rated" : "open", rating: clip.rating };
    if (clip.rating?.segments) item.segments = clip.rating.segments;
    if (item.state === "rated") this.done.push(item);
    this.items.push(item);
  }

  firstOpen(from) {
    const after = this.items.findIndex((item, at) => at >= from && item.state === "open");
    return after >= 0 ? after : this.items.findIndex((item) => item.state === "open");
  }

  /* Have the clips around the one on screen at hand, and let go of the sound of those far behind. */
  load() {
    const open = this.items.filter((item, at) => item.state === "open" && at > this.index).slice(0, AHEAD);
    const near = new Set(open);
    if (this.item) near.add(this.item);
    for (const item of near) this.fetch(item);
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
    if (item.loading) return item.loading;
    item.error = null;
    item.loading = this.fetchNow(item).catch((error) => {
      item.error = error;
      item.loading = null;
      if (item.sound) item.sound.close();
      item.sound = null;
      if (item === this.item) this.tellItem();
      if (!error.status || TRY_AGAIN.has(error.status)) {
        setTimeout(() => { if (!this.isLeft) this.load(); }, Math.max(LOOK_AGAIN_MS, error.retryAfterMs || 0));
      }
    });
    return item.loading;
  }

  async fetchNow(item) {
    const { clip } = item;
    const sound = new Sound({
      address: this.server.soundOf(clip), start: clip.start_s, end: clip.end_s, whole: clip.recording_duration_s,
    });
    const [seen] = await Promise.all([item.seen || this.server.overview(clip), sound.ready]);
    item.seen = seen;
    item.sound = sound;
    item.sound.mark(item.marked || null);
    if (item === this.item) this.present();
  }

  /* ---- on screen ---- */

  open(index) {
    if (this.item?.sound) this.item.sound.pause();
    this.index = index;
    this.marking = null;
    if (!this.item) { this.finish(); return; }
    this.set("state", this.item.sound ? "ready" : "loading");
    this.tellItem();
    if (this.item.sound) this.present();
    this.load();
  }

  present() {
    const { item } = this;
    this.set("state", "ready");
    this.picture.show(item.seen, this.colours);
    item.sound.rate = this.rate;
    item.sound.isLooping = this.isLooping;
    item.sound.mark(item.marked || null);
    this.tellItem();
    if (this.plays && item.state === "open") {
      item.sound.seek(item.clip.start_s);
      item.sound.play().then((plays) => { if (!plays && item === this.item) this.tellPlay(true); });
    }
    this.measure();
  }

  /* How long the clip took to appear, from the key that closed the one before: for the benchmark and the curious. */
  measure() {
    if (!this.pressedAt) return;
    const start = this.pressedAt;
    this.pressedAt = 0;
    requestAnimationFrame(() => setTimeout(() => {
      const { duration } = performance.measure("telepathy-next-clip", { start, end: performance.now() });
      this.root.dataset.nextClipMs = duration.toFixed(1);
    }));
  }

  finish() {
    this.set("state", this.hasQueue ? "done" : "loading");
    if (!this.hasQueue) return;
    this.pressedAt = 0;
    this.tellItem();
    const n = this.progress.n_done;
    this.find(".done p").textContent = n
      ? `Nothing is left for you here. You labelled ${n.toLocaleString("en")} ${n === 1 ? "clip" : "clips"}.`
      : "No clip of this project waits for you. They appear here once somebody assigns some.";
  }

  draw() {
    this.drawing = requestAnimationFrame(this.draw);
    const { item } = this;
    if (!item || !item.sound || this.root.dataset.state !== "ready") return;
    item.sound.tick();
    this.picture.draw({
      at: item.sound.at,
      marked: this.marking || (this.isCutting ? null : item.marked),
      segments: this.isCutting ? item.segments : [],
      selected: item.selected,
      colourOf: (name) => this.labelOf(name)?.colour || this.colours.muted,
      nameOf: (one, index) => `${index + 1} ${one.label || "no label yet"}`,
    });
    const { start_s: start, end_s: end } = item.clip;
    const seek = this.find(".seek input");
    if (seek.getRootNode().activeElement !== seek) seek.value = Math.round((1000 * (item.sound.at - start)) / (end - start));
    this.tellPlay();
  }

  /* ---- rating ---- */

  choose(label, isSecond) {
    const { item } = this;
    if (!item || !label) return;
    if (isSecond || this.isSecondNext) {
      this.isSecondNext = false;
      if (this.data.asks.second) item.draft.second = item.draft.second === label.name ? null : label.name;
      this.tellItem();
    } else if (this.isCutting && item.segments[item.selected]) {
      item.segments = relabel(item.segments, item.selected, label.name);
      this.select(Math.min(item.selected + 1, item.segments.length - 1));
    } else if (!this.isCutting) {
      this.rateWith({ label: label.name });
    }
  }

  flag(name) { if (!this.isCutting || !this.item?.segments.length) this.rateWith({ flag: name }); }

  saveSegments() {
    const { item } = this;
    if (!this.isCutting || !item || !item.segments.length) return;
    const bare = item.segments.findIndex((one) => !one.label);
    if (bare >= 0) { this.select(bare); this.notice(`Segment ${bare + 1} has no label yet.`); return; }
    this.rateWith({ segments: item.segments });
  }

  rateWith(given) {
    const { item } = this;
    if (!item || this.root.dataset.state !== "ready") return;
    if (item.state === "rated") this.takeBack(item);
    const { second, intensity, note } = item.draft;
    const rating = { ...given, second: second === given.label ? null : second || null, intensity: intensity ?? null, note: note || "" };
    const spent = Math.max(0, (performance.now() - (item.openedAt || performance.now())) / 1000);
    item.rating = rating;
    item.action = newId();
    this.close(item, "rated", { id: item.action, kind: "rate", clip: item.clip.id, rating, spent_s: round(spent) });
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
    this.notice("");
    this.outbox.add(action);
    this.open(this.firstOpen(this.index + 1));
  }

  undo() {
    const item = this.done[this.done.length - 1];
    if (!item) { this.notice("There is nothing to undo."); return; }
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
    if (item && answer.guess) item.guess = answer.guess;
    if (answer.progress && !this.outbox.waiting) this.progress = answer.progress;
    this.load();
  }

  step(by) {
    const at = this.root.dataset.state === "done" ? this.items.length : this.index;
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
    this.find(".rate").textContent = `${this.rate}×`;
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
    this.tellItem();
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
    const drawn = { start: round(Math.min(start, end)), end: round(Math.max(start, end)), label: null };
    if (!item || !isLongEnough(drawn)) return;
    if (!this.isCutting) { this.setMark(drawn); return; }
    item.segments = paint(item.segments, drawn);
    this.select(item.segments.indexOf(drawn));
  }

  beginStretch() {
    if (!this.item?.sound) return;
    this.beganAt = this.item.sound.at;
    if (!this.isCutting) this.setStretch(this.beganAt, this.item.clip.end_s);
  }

  endStretch() {
    const { item } = this;
    if (!item?.sound) return;
    const last = item.segments[item.segments.length - 1];
    const start = this.beganAt ?? (this.isCutting && last ? last.end : item.clip.start_s);
    this.beganAt = null;
    this.setStretch(start, item.sound.at);
  }

  select(index) {
    const { item } = this;
    item.selected = index;
    const one = item.segments[index];
    this.setMark(one ? { start: one.start, end: one.end } : null);
    this.tellItem();
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
    if (!item.segments.length) item.segments = [{ start: item.clip.start_s, end: item.clip.end_s, label: null }];
    const at = item.sound.at;
    const index = item.segments.findIndex((one) => one.start < at && at < one.end);
    if (index >= 0) this.cut(split(item.segments, index, round(at)), index);
    this.tellItem();
  }

  mergeWithNext() { if (this.isCutting && this.item) this.cut(merge(this.item.segments, this.item.selected), this.item.selected); }

  removeSegment() {
    if (this.isCutting && this.item?.segments[this.item.selected]) {
      this.cut(without(this.item.segments, this.item.selected), this.item.selected);
    }
  }

  /* ---- what is told ---- */

  set(name, value) { this.root.dataset[name] = value; }

  notice(text) {
    const notice = this.find(".notice");
    notice.hidden = !text;
    notice.firstElementChild.textContent = text;
  }

  sentence(error) {
    if (error.status === SIGNED_OUT) return "You are signed out. Sign in again in another tab; what you rated is kept here until then.";
    return error.detail || "The server cannot be reached. This page tries again by itself.";
  }

  tellItem() {
    const { item } = this;
    const isDone = this.root.dataset.state === "done";
    this.find(".work").hidden = isDone || (!item && this.hasQueue);
    this.find(".done").hidden = !isDone;
    this.find(".name").textContent = isDone ? "" : item ? item.clip.name : "";
    this.find(".waiting").hidden = isDone || Boolean(item?.sound);
    this.find(".waiting").textContent = item?.error ? `This clip cannot be loaded. ${this.sentence(item.error)}` : "Loading the clip";
    this.press(".loop", this.isLooping);
    this.press(".autoplay", this.plays);
    this.press(".parts", this.isCutting);
    this.find(".cutting").hidden = !this.isCutting;
    this.tellProgress();
    this.find(".previous").disabled = item ? this.index === 0 : !this.items.length;
    this.find(".next").disabled = !item || (item.state === "open" && this.index === this.items.length - 1);
    this.find(".skip").disabled = item?.state !== "open";
    if (!item) return;
    item.openedAt ||= item.sound ? performance.now() : 0;
    this.tellSegments(item);
    const { rating, draft } = item;
    for (const button of this.all("[data-label]")) {
      button.classList.toggle("chosen", rating?.label === button.dataset.label);
      button.classList.toggle("secondly", (rating ? rating.second : draft.second) === button.dataset.label);
      button.classList.toggle("guessed", item.clip.guess?.label === button.dataset.label);
      button.setAttribute("aria-pressed", rating?.label === button.dataset.label);
    }
    for (const button of this.all("[data-flag]")) button.setAttribute("aria-pressed", rating?.flag === button.dataset.flag);
    for (const button of this.all("[data-intensity]")) {
      button.setAttribute("aria-pressed", String((rating ? rating.intensity : draft.intensity) ?? "") === button.dataset.intensity);
    }
    const second = this.find(".second");
    this.press(".second", Boolean(this.isSecondNext));
    const chosen = rating ? rating.second : draft.second;
    second.textContent = this.isSecondNext ? "Choose the second" : chosen ? `Second choice: ${chosen}` : "Second choice";
    const note = this.find(".note input");
    note.value = (rating ? rating.note : draft.note) || "";
    const guess = this.find(".guess"), told = item.clip.guess;
    guess.hidden = !told;
    if (told) guess.textContent = `The model hears ${told.label}, ${percent(told.confidence)} sure.`;
  }

  tellSegments(item) {
    const list = this.find(".cutting ol");
    list.replaceChildren(...item.segments.map((one, index) => {
      const entry = document.createElement("li"), button = document.createElement("button");
      button.type = "button";
      button.className = "segment";
      button.setAttribute("aria-pressed", index === item.selected);
      const sign = document.createElement("span");
      sign.setAttribute("aria-hidden", "true");
      sign.textContent = this.labelOf(one.label)?.sign || "○";
      sign.style.color = this.labelOf(one.label)?.colour || "inherit";
      button.append(sign, ` ${one.label || "no label yet"}, ${one.start.toFixed(2)} to ${one.end.toFixed(2)} s`);
      button.onclick = () => this.select(index);
      entry.append(button);
      return entry;
    }));
    this.find(".tip").textContent = item.segments.length
      ? "Choose a segment and give it a label. Save them when each has one."
      : "Drag across the picture, or play and press “Begin here” and “End here”.";
    this.find(".submit").disabled = !item.segments.length;
    this.find(".merge").disabled = item.selected < 0 || item.selected >= item.segments.length - 1;
    this.find(".remove").disabled = !item.segments[item.selected];
  }

  tellProgress() {
    if (!this.progress) return;
    const { n_done: n, n_total: total } = this.progress;
    const bar = this.find(".progress");
    bar.setAttribute("aria-valuemax", total);
    bar.setAttribute("aria-valuenow", Math.min(n, total));
    bar.firstElementChild.style.width = total ? `${Math.min(100, (100 * n) / total)}%` : "0";
    this.find(".count").textContent = `${n.toLocaleString("en")} of ${total.toLocaleString("en")} done`;
  }

  tellSaved() {
    const { outbox } = this;
    const saved = this.find(".saved");
    const n = outbox.waiting;
    this.set("waiting", n);
    this.set("saved", n ? "waiting" : "all");
    let text = n ? "Saving" : this.hasQueue ? "Everything is saved" : "";
    if (n && outbox.trouble) {
      const how = `${n} ${n === 1 ? "answer waits" : "answers wait"} in this browser`;
      text = outbox.trouble.status === SIGNED_OUT ? `You are signed out. ${how}: sign in again.` : `Not connected. ${how} and will be sent.`;
      if (!outbox.isKept) text += " Do not close this tab: the browser keeps nothing.";
    }
    if (saved.textContent !== text) saved.textContent = text;
    if (outbox.refused.length) {
      const [{ detail }] = outbox.refused.slice(-1);
      this.notice(`${outbox.refused.length === 1 ? "An answer was" : `${outbox.refused.length} answers were`} not taken. ${detail}`);
    }
    this.tellProgress();
  }

  tellPlay(isBlocked) {
    const play = this.find(".play"), plays = Boolean(this.item?.sound?.isPlaying);
    if (plays) this.isBlocked = false;
    if (isBlocked) this.isBlocked = true;
    const text = plays ? "Pause" : "Play";
    if (play.textContent !== text) play.textContent = text;
    play.classList.toggle("asked", Boolean(this.isBlocked));
  }

  press(selector, isPressed) { this.find(selector).setAttribute("aria-pressed", isPressed); }

  /* ---- labels and help ---- */

  labelOf(name) { return this.data.labels.find((label) => label.name === name); }

  fillLabels() {
    const { labels, asks } = this.data;
    this.find(".labels").replaceChildren(...labels.map((label, index) => {
      const button = document.createElement("button");
      button.type = "button";
      button.dataset.label = label.name;
      if (index < 9) button.setAttribute("aria-keyshortcuts", index + 1);
      button.innerHTML = `<kbd aria-hidden="true"></kbd><span class="sign" aria-hidden="true"></span><span class="word"></span>`;
      const [key, sign, word] = button.children;
      key.textContent = index < 9 ? index + 1 : "";
      sign.textContent = label.sign;
      sign.style.color = label.colour;
      word.textContent = label.name;
      button.onclick = (event) => this.at(event, () => this.choose(label, event.shiftKey));
      return button;
    }));
    const flags = [["cannot_tell", "0", "Can't tell"], ["bad_audio", "B", "Bad audio"]];
    this.find(".flags").replaceChildren(...flags.map(([name, key, words]) => {
      const button = this.small(key, words);
      button.dataset.flag = name;
      button.onclick = (event) => this.at(event, () => this.flag(name));
      return button;
    }));
    const intensity = this.find(".intensity");
    intensity.hidden = !asks.intensity;
    const levels = [["Q", "Weak"], ["W", "Medium"], ["E", "Strong"]];
    intensity.replaceChildren(intensity.firstElementChild, ...levels.map(([key, words], index) => {
      const button = this.small(key, words);
      button.dataset.intensity = index + 1;
      button.onclick = () => this.setIntensity(index + 1);
      return button;
    }));
    this.find(".second").hidden = !asks.second;
    this.find(".note").hidden = !asks.note;
  }

  small(key, words) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "small";
    button.setAttribute("aria-keyshortcuts", key);
    const kbd = document.createElement("kbd");
    kbd.setAttribute("aria-hidden", "true");
    kbd.textContent = key;
    button.append(kbd, words);
    return button;
  }

  setIntensity(value) {
    const { item } = this;
    if (!item || !this.data.asks.intensity) return;
    item.draft.intensity = item.draft.intensity === value ? null : value;
    this.tellItem();
  }

  fillHelp() {
    this.find(".help dl").replaceChildren(...KEYS.flatMap(([keys, words]) => {
      const term = document.createElement("dt"), says = document.createElement("dd");
      term.replaceChildren(...keys.split(" ").map((part) => {
        const isKey = !["to", "+"].includes(part);
        const one = document.createElement(isKey ? "kbd" : "span");
        one.textContent = part;
        return one;
      }));
      says.textContent = words;
      return [term, says];
    }));
  }

  /* ---- hands ---- */

  at(event, act) {
    this.pressedAt = event.timeStamp;
    act();
  }

  listen() {
    const on = (selector, act) => { this.find(selector).onclick = (event) => this.at(event, act); };
    on(".play", () => this.toggleSound());
    on(".loop", () => this.toggle("loop"));
    on(".slower", () => this.changeRate(-1));
    on(".faster", () => this.changeRate(1));
    on(".autoplay", () => this.toggle("autoplay"));
    on(".parts", () => this.toggle("segments"));
    on(".begin", () => this.beginStretch());
    on(".finish", () => this.endStretch());
    on(".split", () => this.splitHere());
    on(".merge", () => this.mergeWithNext());
    on(".remove", () => this.removeSegment());
    on(".submit", () => this.saveSegments());
    on(".previous", () => this.step(-1));
    on(".next", () => this.step(1));
    on(".undo", () => this.undo());
    on(".skip", () => this.skip());
    on(".second", () => { this.isSecondNext = !this.isSecondNext; this.tellItem(); });
    on(".help-open", () => this.find(".help").showModal());
    on(".help-close", () => this.find(".help").close());
    on(".dismiss", () => { this.outbox.refused = []; this.notice(""); });
    this.find(".use-keys").checked = this.usesKeys;
    this.find(".use-keys").onchange = ({ target }) => remember("keys", (this.usesKeys = target.checked));
    this.find(".note input").oninput = ({ target }) => { if (this.item) this.item.draft.note = target.value; };
    this.find(".note input").onkeydown = (event) => { if (event.key === "Enter" || event.key === "Escape") this.root.focus(); };
    this.find(".seek input").oninput = ({ target }) => {
      const { clip } = this.item;
      this.item.sound?.seek(clip.start_s + (target.value / 1000) * (clip.end_s - clip.start_s));
    };
    this.listenToPointer();
    this.hear = (event) => this.onKey(event);
    document.addEventListener("keydown", this.hear);
    const observer = new ResizeObserver(() => { this.picture.drawnFor = ""; });
    observer.observe(this.find("canvas"));
    this.observer = observer;
  }

  listenToPointer() {
    const canvas = this.find("canvas");
    const TAP_PX = 6;
    let began = null;
    canvas.onpointerdown = (event) => {
      if (!this.item?.sound || event.button) return;
      began = { x: event.offsetX, at: this.picture.secondsAt(event.offsetX) };
      canvas.setPointerCapture(event.pointerId);
    };
    canvas.onpointermove = (event) => {
      if (!began || Math.abs(event.offsetX - began.x) < TAP_PX) return;
      const at = this.picture.secondsAt(event.offsetX);
      this.marking = { start: Math.min(began.at, at), end: Math.max(began.at, at) };
    };
    canvas.onpointerup = (event) => {
      if (!began) return;
      const at = this.picture.secondsAt(event.offsetX);
      const isTap = Math.abs(event.offsetX - began.x) < TAP_PX;
      if (isTap) this.tap(at);
      else this.setStretch(began.at, at);
      began = this.marking = null;
    };
    canvas.onpointercancel = () => { began = this.marking = null; };
  }

  tap(at) {
    const { item } = this;
    const index = this.isCutting ? item.segments.findIndex((one) => one.start <= at && at < one.end) : -1;
    if (index >= 0 && index !== item.selected) this.select(index);
    else if (!this.isCutting && item.marked && (at < item.marked.start || at > item.marked.end)) this.setMark(null);
    item.sound.seek(at);
  }

  onKey(event) {
    if (!this.usesKeys && event.key !== "?") return;
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    const target = event.composedPath()[0];
    if (this.find(".help").open || isTyping(target)) return;
    const act = this.actOf(event, target);
    if (!act) return;
    event.preventDefault();
    this.at(event, act);
  }

  actOf(event, target) {
    const digit = /^(?:Digit|Numpad)(\d)$/.exec(event.code)?.[1];
    if (digit === "0" && !event.shiftKey) return event.repeat ? null : () => this.flag("cannot_tell");
    if (digit && digit !== "0") return event.repeat ? null : () => this.choose(this.data.labels[digit - 1], event.shiftKey);
    const isOnButton = target instanceof Element && target.closest("button, a, summary, [role=option]");
    const segments = this.isCutting ? this.item?.segments.length : 0;
    const held = { ArrowRight: () => this.step(1), ArrowLeft: () => this.step(-1), j: () => this.nudge(-NUDGE_S), k: () => this.nudge(NUDGE_S) };
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (held[key]) return held[key];
    if (event.repeat) return null;
    const once = {
      b: () => this.flag("bad_audio"),
      q: () => this.setIntensity(1), w: () => this.setIntensity(2), e: () => this.setIntensity(3),
      n: this.data.asks.note && (() => this.find(".note input").focus()),
      " ": !isOnButton && (() => this.toggleSound()),
      l: () => this.toggle("loop"), a: () => this.toggle("autoplay"), g: () => this.toggle("segments"),
      ",": () => this.changeRate(-1), ".": () => this.changeRate(1),
      "[": () => this.beginStretch(), "]": () => this.endStretch(),
      Escape: this.item?.marked && (() => { this.item.selected = -1; this.setMark(null); this.tellItem(); }),
      u: () => this.undo(), s: () => this.skip(),
      x: this.isCutting && (() => this.splitHere()),
      m: segments && (() => this.mergeWithNext()),
      Delete: segments && (() => this.removeSegment()), Backspace: segments && (() => this.removeSegment()),
      ArrowDown: segments && (() => this.select(Math.min(this.item.selected + 1, segments - 1))),
      ArrowUp: segments && (() => this.select(Math.max(this.item.selected - 1, 0))),
      Enter: segments && !isOnButton && (() => this.saveSegments()),
      "?": () => this.find(".help").showModal(),
    };
    return once[key] || null;
  }

  leave() {
    this.isLeft = true;
    cancelAnimationFrame(this.drawing);
    clearTimeout(this.again);
    document.removeEventListener("keydown", this.hear);
    this.observer.disconnect();
    this.outbox.close();
    for (const item of this.items) item.sound?.close();
  }
}

function isTyping(target) {
  if (!(target instanceof HTMLElement)) return false;
  return target.isContentEditable || target.matches("textarea, select, input:not([type=checkbox], [type=button])");
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

function percent(share) {
  if (share > 0 && share < 0.005) return "under 1 %";
  if (share >= 0.995 && share < 1) return "over 99 %";
  return `${Math.round(100 * share)} %`;
}
