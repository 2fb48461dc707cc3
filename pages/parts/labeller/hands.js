/* What hands do: keys, buttons, and strokes across the picture. */

const NUDGE_S = 0.5;
const TAP_PX = 6;

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

class Hands {
  constructor(board, labeller) {
    this.board = board;
    this.of = labeller;
  }

  /* Do what was asked for, and remember when: how long the next clip takes is told from here. */
  at(event, act) {
    this.of.askedAt = event.timeStamp;
    act();
  }

  listen() {
    const on = (selector, act) => { this.board.find(selector).onclick = (event) => this.at(event, act); };
    on(".play", () => this.of.toggleSound());
    on(".loop", () => this.of.toggle("loop"));
    on(".slower", () => this.of.changeRate(-1));
    on(".faster", () => this.of.changeRate(1));
    on(".autoplay", () => this.of.toggle("autoplay"));
    on(".parts", () => this.of.toggle("segments"));
    on(".begin", () => this.of.beginStretch());
    on(".finish", () => this.of.endStretch());
    on(".split", () => this.of.splitHere());
    on(".merge", () => this.of.mergeWithNext());
    on(".remove", () => this.of.removeSegment());
    on(".submit", () => this.of.saveSegments());
    on(".previous", () => this.of.step(-1));
    on(".next", () => this.of.step(1));
    on(".undo", () => this.of.undo());
    on(".skip", () => this.of.skip());
    on(".second", () => { this.of.isSecondNext = !this.of.isSecondNext; this.board.tellItem(); });
    on(".help-open", () => this.board.find(".help").showModal());
    on(".help-close", () => this.board.find(".help").close());
    on(".dismiss", () => { this.of.outbox.refused = []; this.board.notice(""); });
    this.board.find(".use-keys").checked = this.of.usesKeys;
    this.board.find(".use-keys").onchange = ({ target }) => remember("keys", (this.of.usesKeys = target.checked));
    this.board.find(".note input").oninput = ({ target }) => { if (this.of.item) this.of.item.draft.note = target.value; };
    this.board.find(".note input").onkeydown = (event) => { if (event.key === "Enter" || event.key === "Escape") this.board.root.focus(); };
    this.board.find(".seek input").oninput = ({ target }) => {
      const { clip } = this.of.item;
      this.of.item.sound?.seek((target.value / 1000) * clip.recording_duration_s);
    };
    this.board.root.addEventListener("click", (event) => { // or Space would press again what was clicked last
      if (event.detail && !isTyping(event.target) && !this.board.find(".help").open) this.board.root.focus({ preventScroll: true });
    });
    this.listenToPointer();
    this.hear = (event) => this.onKey(event);
    document.addEventListener("keydown", this.hear);
    const observer = new ResizeObserver(() => { this.of.picture.drawnFor = ""; });
    observer.observe(this.board.find("canvas"));
    this.observer = observer;
  }

  listenToPointer() {
    const canvas = this.board.find("canvas");
    let began = null;
    canvas.onpointerdown = (event) => {
      if (!this.of.item?.sound || event.button) return;
      began = { x: event.offsetX, at: this.of.picture.secondsAt(event.offsetX) };
      canvas.setPointerCapture(event.pointerId);
    };
    canvas.onpointermove = (event) => {
      if (!began || Math.abs(event.offsetX - began.x) < TAP_PX) return;
      const at = this.of.picture.secondsAt(event.offsetX);
      this.of.marking = { start: Math.min(began.at, at), end: Math.max(began.at, at) };
    };
    canvas.onpointerup = (event) => {
      if (!began) return;
      const at = this.of.picture.secondsAt(event.offsetX);
      const isTap = Math.abs(event.offsetX - began.x) < TAP_PX;
      if (isTap) this.tap(at);
      else this.of.setStretch(began.at, at);
      began = this.of.marking = null;
    };
    canvas.onpointercancel = () => { began = this.of.marking = null; };
  }

  tap(at) {
    const { item } = this.of;
    const index = this.of.isCutting ? item.segments.findIndex((one) => one.start <= at && at < one.end) : -1;
    if (index >= 0 && index !== item.selected) this.of.select(index);
    else if (!this.of.isCutting && item.marked && (at < item.marked.start || at > item.marked.end)) this.of.setMark(null);
    item.sound.seek(at);
  }

  onKey(event) {
    if (!this.of.usesKeys && event.key !== "?") return;
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    const target = event.composedPath()[0];
    if (this.board.find(".help").open || isTyping(target)) return;
    const act = this.actOf(event, target);
    if (!act) return;
    event.preventDefault();
    this.at(event, act);
  }

  actOf(event, target) {
    const digit = /^(?:Digit|Numpad)(\d)$/.exec(event.code)?.[1];
    if (digit === "0" && !event.shiftKey) return event.repeat ? null : () => this.of.flag("cannot_tell");
    if (digit && digit !== "0") return event.repeat ? null : () => this.of.choose(this.of.data.labels[digit - 1], event.shiftKey);
    const isOnButton = target instanceof Element && target.closest("button, a, summary, [role=option]");
    const segments = this.of.isCutting ? this.of.item?.segments.length : 0;
    const held = { ArrowRight: () => this.of.step(1), ArrowLeft: () => this.of.step(-1), j: () => this.of.nudge(-NUDGE_S), k: () => this.of.nudge(NUDGE_S) };
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (held[key]) return held[key];
    if (event.repeat) return null;
    const once = {
      b: () => this.of.flag("bad_audio"),
      q: () => this.of.setIntensity(1), w: () => this.of.setIntensity(2), e: () => this.of.setIntensity(3),
      n: this.of.data.asks.note && (() => this.board.find(".note input").focus()),
      " ": !isOnButton && (() => this.of.toggleSound()),
      l: () => this.of.toggle("loop"), a: () => this.of.toggle("autoplay"), g: () => this.of.toggle("segments"),
      ",": () => this.of.changeRate(-1), ".": () => this.of.changeRate(1),
      "[": () => this.of.beginStretch(), "]": () => this.of.endStretch(),
      Escape: this.of.item?.marked && (() => { this.of.item.selected = -1; this.of.setMark(null); this.board.tellItem(); }),
      u: () => this.of.undo(), s: () => this.of.skip(),
      x: this.of.isCutting && (() => this.of.splitHere()),
      m: segments && (() => this.of.mergeWithNext()),
      Delete: segments && (() => this.of.removeSegment()), Backspace: segments && (() => this.of.removeSegment()),
      ArrowDown: segments && (() => this.of.select(Math.min(this.of.item.selected + 1, segments - 1))),
      ArrowUp: segments && (() => this.of.select(Math.max(this.of.item.selected - 1, 0))),
      Enter: segments && !isOnButton && (() => this.of.saveSegments()),
      "?": () => this.board.find(".help").showModal(),
    };
    return once[key] || null;
  }

  leave() {
    document.removeEventListener("keydown", this.hear);
    this.observer.disconnect();
  }
}

function isTyping(target) {
  if (!(target instanceof HTMLElement)) return false;
  return target.isContentEditable || target.matches("textarea, select, input:not([type=checkbox], [type=button])");
}
