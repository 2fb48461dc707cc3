/* One recording, heard and seen: waveform above log-mel, who drew which segments below them, and a player. Any stretch
   that is drawn or pressed is played alone, and the page is told. */

const TAP_PX = 6;
const listeners = new WeakMap();

export default function ({ parentElement, data, setStateValue }) {
  if (!listeners.has(parentElement)) listeners.set(parentElement, new Listener(parentElement));
  const listener = listeners.get(parentElement);
  listener.remember = setStateValue;
  listener.take(data);
  return () => { listener.leave(); listeners.delete(parentElement); };
}

class Listener {
  constructor(root) {
    this.root = root.querySelector(".listener");
    this.canvas = this.find("canvas");
    this.picture = new Picture(this.canvas);
    this.server = new Server("");
    this.rate = 1;
    this.listen();
    this.drawing = requestAnimationFrame(this.draw = this.draw.bind(this));
  }

  find(selector) { return this.root.querySelector(selector); }

  take(data) {
    this.look = { ...data.look, font: getComputedStyle(this.root).fontFamily };
    if (this.data?.recording_id !== data.recording_id) this.load(data);
    else if (this.seen) this.picture.show(this.seen, this.look);
    this.data = data;
    this.fillLanes();
  }

  /* A track for each person and one for what all of them come to, on the time axis of the picture. */
  fillLanes() {
    const { lanes, duration_s: whole } = this.data;
    const told = JSON.stringify([lanes, whole]);
    if (this.told === told) return; // or a run of the page would take the focus from what was pressed
    this.told = told;
    this.find(".lanes").hidden = !lanes.length;
    this.find(".lanes").replaceChildren(...lanes.map(({ name, is_together, pieces }) => {
      const lane = document.createElement("div"), who = document.createElement("p"), track = document.createElement("div");
      lane.className = is_together ? "lane together" : "lane";
      who.textContent = name;
      track.className = "track";
      track.append(...pieces.map((piece) => this.pieceButton(piece, whole)));
      lane.append(who, track);
      return lane;
    }));
  }

  pieceButton({ start, end, label, text, colour, paper }, whole) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = text;
    button.title = `${text}, ${start.toFixed(2)} to ${end.toFixed(2)} s`;
    button.setAttribute("aria-label", button.title);
    button.setAttribute("aria-pressed", false);
    Object.assign(button.dataset, { start, end });
    button.classList.toggle("open", label === null);
    Object.assign(button.style, {
      left: `${(100 * start) / whole}%`, width: `${(100 * (end - start)) / whole}%`,
      borderColor: label === null ? "" : colour, background: label === null ? "" : paper,
    });
    button.onclick = () => {
      if (!this.isReady) return;
      this.mark({ start, end }, label);
      this.sound.seek(start);
      this.sound.play();
    };
    return button;
  }

  tellMarked() {
    for (const button of this.root.querySelectorAll(".track button")) {
      const { start, end } = button.dataset;
      button.setAttribute("aria-pressed", this.marked?.start === Number(start) && this.marked?.end === Number(end));
    }
  }

  async load(data) {
    this.sound?.close();
    this.seen = this.sound = this.marked = this.marking = null;
    this.root.dataset.state = "loading";
    this.tell("Loading the recording");
    const clip = { recording_id: data.recording_id };
    const sound = (this.sound = new Sound(this.server.soundOf(clip), data.duration_s));
    try {
      const [seen] = await Promise.all([this.server.overview(clip), sound.ready]);
      if (sound !== this.sound) return; // another recording was opened meanwhile
      sound.rate = this.rate;
      sound.isLooping = this.isLooping;
      this.seen = seen;
      this.picture.show(seen, this.look);
      this.root.dataset.state = "ready";
      this.tell("");
    } catch (error) {
      if (sound !== this.sound) return;
      this.root.dataset.state = "missing";
      this.tell(error.detail || error.message || "The server cannot be reached. Open this recording again.");
    }
  }

  get isReady() { return this.root.dataset.state === "ready"; }

  tell(text) {
    this.find(".waiting").textContent = text;
    this.find(".waiting").hidden = !text;
    for (const button of this.root.querySelectorAll(".transport button, .transport input")) button.disabled = !this.isReady;
  }

  listen() {
    this.find(".play").onclick = () => (this.sound.isPlaying ? this.sound.pause() : this.sound.play());
    this.find(".loop").onclick = () => {
      this.sound.isLooping = this.isLooping = !this.isLooping;
      this.find(".loop").setAttribute("aria-pressed", this.isLooping);
    };
    this.find(".slower").onclick = () => this.changeRate(-1);
    this.find(".faster").onclick = () => this.changeRate(1);
    this.find(".seek input").oninput = ({ target }) => this.sound.seek((target.value / 1000) * this.seen.duration_s);
    this.observer = new ResizeObserver(() => { this.picture.drawnFor = ""; });
    this.observer.observe(this.canvas);
    let began = null;
    const stretchTo = (event) => {
      const at = this.picture.secondsAt(event.offsetX);
      return { start: Math.min(began.at, at), end: Math.max(began.at, at) };
    };
    this.canvas.onpointerdown = (event) => {
      if (!this.isReady || event.button) return;
      began = { x: event.offsetX, at: this.picture.secondsAt(event.offsetX) };
      this.canvas.setPointerCapture(event.pointerId);
    };
    this.canvas.onpointermove = (event) => {
      if (began && Math.abs(event.offsetX - began.x) >= TAP_PX) this.marking = stretchTo(event);
    };
    this.canvas.onpointerup = (event) => {
      if (!began) return;
      const stretch = stretchTo(event);
      if (this.marking && stretch.end > stretch.start) this.mark(stretch);
      else { this.mark(null); this.sound.seek(began.at); }
      began = this.marking = null;
    };
    this.canvas.onpointercancel = () => { began = this.marking = null; };
  }

  /* Only this stretch is played, until another is marked or a tap forgets it. */
  mark(stretch, label = null) {
    const isKnown = !stretch && !this.marked;
    this.marked = stretch;
    this.sound.mark(stretch);
    this.tellMarked();
    if (isKnown || !this.data.lanes.length || !this.remember) return;
    this.remember("stretch", stretch && { ...stretch, label, recording_id: this.data.recording_id });
  }

  changeRate(by) {
    this.rate = RATES[Math.min(Math.max(RATES.indexOf(this.rate) + by, 0), RATES.length - 1)];
    this.sound.rate = this.rate;
    this.find(".rate").textContent = `${this.rate}×`;
  }

  draw() {
    this.drawing = requestAnimationFrame(this.draw);
    if (!this.isReady) return;
    this.sound.tick();
    this.picture.draw({ at: this.sound.at, marked: this.marking || this.marked, segments: [] });
    const text = this.sound.isPlaying ? "Pause" : "Play";
    if (this.find(".play").textContent !== text) this.find(".play").textContent = text;
    const seek = this.find(".seek input");
    if (seek.getRootNode().activeElement !== seek) seek.value = Math.round((1000 * this.sound.at) / this.seen.duration_s);
  }

  leave() {
    cancelAnimationFrame(this.drawing);
    this.observer.disconnect();
    this.sound?.close();
  }
}
