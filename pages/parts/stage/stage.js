/* The stage: what is heard right now, large. It listens by itself over the WebSocket (an AudioWorklet sends 50 ms of
   32-bit floats at a time), or shows the events that Python hands it when the sound comes by WebRTC. */

const HISTORY_S = 30;
const FRAME_S = 0.05;
const FRAMES_PER_S = 15; // smooth enough for a timeline of 30 s, and leaves slow machines time for everything else
const stages = new WeakMap();

const WORKLET = `
  registerProcessor("telepathy-microphone", class extends AudioWorkletProcessor {
    constructor() { super(); this.kept = []; this.length = 0; }
    process(inputs) {
      const channels = inputs[0];
      if (channels.length) {
        const mono = new Float32Array(channels[0].length);
        for (const channel of channels) for (let i = 0; i < mono.length; i++) mono[i] += channel[i] / channels.length;
        this.kept.push(mono);
        this.length += mono.length;
        if (this.length >= sampleRate * ${FRAME_S}) {
          const frame = new Float32Array(this.length);
          let at = 0;
          for (const part of this.kept) { frame.set(part, at); at += part.length; }
          this.kept = []; this.length = 0;
          this.port.postMessage(frame, [frame.buffer]);
        }
      }
      return true;
    }
  });`;

const REASONS = {
  NotAllowedError: "The browser was not allowed to use the microphone. Allow it beside the address bar, then start again.",
  NotFoundError: "No microphone was found. Plug one in, then start again.",
  NotReadableError: "Another program holds the microphone. Close it, then start again.",
  OverconstrainedError: "That microphone is gone. Choose another one.",
};

export default function (component) {
  const { parentElement, data } = component;
  if (!stages.has(parentElement)) stages.set(parentElement, new Stage(parentElement));
  const stage = stages.get(parentElement);
  stage.update(component);
  return () => { stage.leave(); stages.delete(parentElement); };
}

class Stage {
  constructor(root) {
    const find = (selector) => root.querySelector(selector);
    this.parts = {
      toggle: find(".toggle"), devices: find(".devices"), meter: find(".meter"), level: find(".meter i"),
      status: find(".status"), now: find(".now"), lead: find(".lead"), word: find(".word"), doubt: find(".doubt"),
      canvas: find("canvas"), legend: find(".legend"), after: find(".after"), question: find(".after p"),
      keep: find(".keep"), discard: find(".discard"),
    };
    this.events = [];
    this.started = 0;
    this.peakDbfs = -60;
    this.isListening = false;
    this.parts.toggle.onclick = () => (this.isListening ? this.stop() : this.start());
    this.parts.devices.onchange = () => { if (this.isListening) this.changeDevice(); };
    this.parts.keep.onclick = () => this.end(true);
    this.parts.discard.onclick = () => this.end(false);
    this.draw = this.draw.bind(this);
    this.drawing = requestAnimationFrame(this.draw);
  }

  update({ data, setTriggerValue, setStateValue }) {
    this.data = data;
    this.tell = setTriggerValue;
    this.remember = setStateValue;
    if (!this.parts.legend.children.length) this.fillLegend();
    const shown = data.shown;
    if (shown) this.parts.toggle.hidden = this.parts.devices.hidden = true;
    if (shown) this.show(shown);
  }

  fillLegend() {
    for (const { name, sign, colour } of this.data.emotions) {
      const item = document.createElement("li");
      item.innerHTML = `<span aria-hidden="true"></span><span></span><b></b><span class="bar"><i></i></span>`;
      const [mark, word] = item.children;
      mark.textContent = sign;
      mark.style.color = colour;
      word.textContent = name;
      item.querySelector("i").style.background = colour;
      item.dataset.emotion = name;
      this.parts.legend.append(item);
    }
  }

  /* Events and state that Python passes on, when the sound comes by WebRTC. */
  show({ events, peak_dbfs, status, isListening }) {
    if (isListening) this.peakDbfs = Math.max(peak_dbfs, this.peakDbfs);
    const newest = this.events.length ? this.events[this.events.length - 1].end_s : -1;
    const restarted = events.length && events[events.length - 1].end_s < newest;
    const isForgotten = !isListening && !events.length && this.events.length > 0;
    if (restarted || isForgotten || (isListening && !this.isListening)) this.reset();
    for (const event of events) if (restarted || event.end_s > newest) this.hear(event);
    this.isListening = isListening;
    if (!isListening) this.rest();
    this.say(status);
  }

  async start() {
    this.parts.toggle.disabled = true;
    this.parts.after.hidden = true;
    this.release(); // a session that nobody decided about: its stream would otherwise end this one with its summary
    this.reset();
    this.say("Asking for the microphone");
    try {
      if (!navigator.mediaDevices || !window.AudioWorkletNode) {
        throw new Error("Browsers allow the microphone on https:// and on localhost only. Open this page there.");
      }
      this.context = new AudioContext();
      await this.openDevice();
      const source = URL.createObjectURL(new Blob([WORKLET], { type: "text/javascript" }));
      await this.context.audioWorklet.addModule(source);
      URL.revokeObjectURL(source);
      await this.openSocket();
      this.worklet = new AudioWorkletNode(this.context, "telepathy-microphone");
      this.worklet.port.onmessage = ({ data }) => this.send(data);
      this.input.connect(this.worklet);
      await this.context.resume();
      this.isListening = true;
      this.parts.toggle.textContent = "Stop";
      this.parts.lead.textContent = "Listening";
      this.say("Connected by WebSocket");
    } catch (error) {
      this.say(REASONS[error.name] || error.message);
      this.release();
    }
    this.parts.toggle.disabled = false;
  }

  async openDevice() {
    const chosen = this.parts.devices.value;
    const wanted = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    if (chosen) wanted.deviceId = { exact: chosen };
    this.media = await navigator.mediaDevices.getUserMedia({ audio: wanted });
    this.input = this.context.createMediaStreamSource(this.media);
    const devices = (await navigator.mediaDevices.enumerateDevices()).filter(({ kind }) => kind === "audioinput");
    const current = this.media.getAudioTracks()[0].getSettings().deviceId;
    this.parts.devices.replaceChildren(
      ...devices.map(({ deviceId, label }, index) => new Option(label || `Microphone ${index + 1}`, deviceId)),
    );
    this.parts.devices.value = current || "";
    this.parts.devices.hidden = devices.length < 2;
    this.media.getAudioTracks()[0].onended = () => {
      if (this.isListening) { this.stop(); this.say("The microphone went away. What was heard until then is here."); }
    };
  }

  async changeDevice() {
    const before = this.media;
    this.input.disconnect();
    try {
      await this.openDevice();
      this.input.connect(this.worklet);
    } catch (error) {
      this.stop();
      this.say(REASONS[error.name] || error.message);
    }
    for (const track of before.getTracks()) { track.onended = null; track.stop(); }
  }

  openSocket() {
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const folder = new URL(document.baseURI).pathname.replace(/[^/]*$/, "");
    this.socket = new WebSocket(`${scheme}//${location.host}${folder}${this.data.address.replace(/^\//, "")}`);
    this.socket.binaryType = "arraybuffer";
    return new Promise((resolve, reject) => {
      this.isConnected = false;
      this.socket.onopen = () => this.socket.send(JSON.stringify({
        sample_rate: this.context.sampleRate, encoding: "f32le", window_s: this.data.window_s, hop_s: this.data.hop_s,
        smoothing_s: this.data.smoothing_s, may_store: true, name: this.data.recording_name, project: this.data.project,
      }));
      this.socket.onmessage = ({ data }) => {
        const event = JSON.parse(data);
        this.isConnected = true;
        if (event.type === "ready") resolve();
        else this.receive(event, reject);
      };
      this.socket.onclose = () => {
        if (!this.isConnected) this.remember("refused", true);
        reject(new Error("The connection was refused. Choose WebRTC above, or ask for WebSockets to be let through."));
        if (this.isListening) this.rest();
        if (this.isListening || !this.parts.after.hidden) this.say("The connection ended. What was heard was not kept.");
        this.isListening = false;
        this.parts.after.hidden = true;
        this.release();
      };
    });
  }

  receive(event, reject) {
    if (event.type === "emotion" || event.type === "silence") {
      if (!this.isDiscarded) this.hear(event);
      if (!this.isListening) this.rest(); // an answer that was on its way when it was stopped
    }
    else if (event.type === "summary") this.finish(event);
    else {
      this.refusal = event.detail;
      this.say(event.detail);
      if (event.type === "error") reject(new Error(event.detail));
    }
  }

  send(frame) {
    let peak = 0;
    for (const value of frame) peak = Math.max(peak, Math.abs(value));
    this.peakDbfs = Math.max(20 * Math.log10(peak + 1e-6), this.peakDbfs - 3);
    if (this.socket && this.socket.readyState === WebSocket.OPEN) this.socket.send(frame);
  }

  stop() {
    this.isListening = false;
    if (this.worklet) this.worklet.port.onmessage = null; // frames on their way would lift the meter for good
    this.rest();
    for (const track of this.media ? this.media.getTracks() : []) track.stop();
    if (this.context) this.context.close();
    this.media = this.context = null;
    if (!this.socket || this.socket.readyState !== WebSocket.OPEN) return;
    // An empty frame now and then keeps the stream open until it is decided what becomes of it.
    this.waiting = setInterval(() => this.socket && this.socket.send(new Float32Array(0)), 5000);
    const seconds = this.events.length ? this.events[this.events.length - 1].end_s : 0;
    this.parts.question.textContent = `${Math.round(seconds)} s were heard. Keep them, with the same analysis as an upload?`;
    this.parts.after.hidden = false;
    this.say("Stopped. Nothing is kept yet.");
  }

  end(isKept) {
    clearInterval(this.waiting);
    this.parts.after.hidden = true;
    if (!isKept) { this.reset(); this.rest(); }
    this.say(isKept ? "Keeping and analysing" : "Discarded. Nothing was kept.");
    this.isDiscarded = !isKept;
    if (this.socket) { this.socket.send(JSON.stringify({ type: "end", store: isKept })); }
  }

  finish(summary) {
    if (this.isListening) { this.isListening = false; this.rest(); } // the server ended it, by an error that was told
    this.parts.after.hidden = true;
    if (summary.prediction_id) {
      this.say("Kept. The analysis is below.");
      this.tell("kept", summary.prediction_id);
    } else if (!this.isDiscarded) {
      this.say(this.refusal || "Nothing was kept.");
    }
    if (this.socket) this.socket.onclose = null;
    this.release();
  }

  release() {
    clearInterval(this.waiting);
    for (const track of this.media ? this.media.getTracks() : []) { track.onended = null; track.stop(); }
    if (this.context) this.context.close();
    if (this.socket) { this.socket.onclose = null; this.socket.close(); }
    this.media = this.context = this.socket = null;
    this.parts.toggle.textContent = "Start listening";
  }

  leave() {
    cancelAnimationFrame(this.drawing);
    this.isListening = false;
    this.release();
  }

  reset() {
    this.events = [];
    this.refusal = null;
    this.isDiscarded = false;
    this.parts.now.dataset.emotion = "";
    this.parts.word.textContent = "";
    this.parts.doubt.textContent = "";
    for (const item of this.parts.legend.children) this.fill(item, null);
  }

  rest() {
    this.parts.toggle.textContent = "Start listening";
    this.parts.lead.textContent = this.events.length ? "Last heard" : "Press start and speak";
    this.peakDbfs = -60;
  }

  say(text) { if (this.parts.status.textContent !== text) this.parts.status.textContent = text; }

  hear(event) {
    event.heard_at = performance.now() / 1000;
    this.started = event.heard_at - event.end_s;
    this.events.push(event);
    const oldest = event.end_s - HISTORY_S - 2;
    while (this.events.length && this.events[0].end_s < oldest) this.events.shift();
    const { lead, word, doubt, now } = this.parts;
    const isSilent = event.type === "silence";
    if (isSilent) {
      lead.textContent = "Listening";
      word.classList.remove("two");
      word.textContent = "…";
      doubt.textContent = "Nobody speaks";
      now.dataset.emotion = "silence";
    } else {
      const ranked = Object.entries(event.smoothed).sort((a, b) => b[1] - a[1]);
      const shown = event.abstained ? ranked.slice(0, 2) : ranked.slice(0, 1);
      lead.textContent = event.abstained ? "Not sure" : "We hear";
      word.classList.toggle("two", event.abstained);
      word.replaceChildren(...shown.flatMap(([name], index) => {
        const sign = document.createElement("span");
        sign.className = "sign";
        sign.setAttribute("aria-hidden", "true");
        sign.style.color = this.emotion(name).colour;
        sign.textContent = this.emotion(name).sign;
        return [...(index ? [" or "] : []), sign, name];
      }));
      doubt.textContent = `${percent(event.confidence)} sure; ${this.doubtIn(event)}`;
      now.dataset.emotion = event.abstained ? "not sure" : event.emotion;
    }
    for (const item of this.parts.legend.children) {
      this.fill(item, isSilent ? null : event.smoothed[item.dataset.emotion] || 0);
    }
  }

  /* One emotion of the legend; `share` is null where nothing is heard. */
  fill(item, share) {
    item.querySelector("b").textContent = share === null ? "" : briefly(share);
    item.querySelector("i").style.width = `${100 * (share || 0)}%`;
  }

  emotion(name) { return this.data.emotions.find((emotion) => emotion.name === name); }

  doubtIn(event) {
    if (event.predictive_entropy < 0.5) return "hardly any doubt";
    const amount = event.predictive_entropy < 1.2 ? "some doubt" : "much doubt";
    return event.mutual_information / event.predictive_entropy > 0.5 ? `${amount}, mostly in the model` : `${amount}, mostly in the voice`;
  }

  draw(at = 0) {
    this.drawing = requestAnimationFrame(this.draw);
    if (at - (this.drawnAt || 0) < 1000 / FRAMES_PER_S) return;
    this.drawnAt = at;
    this.peakDbfs = Math.max(-60, this.peakDbfs - (this.data && this.data.shown ? 1.6 : 0));
    this.parts.level.style.width = `${Math.max(0, Math.min(100, (this.peakDbfs + 60) / 0.6))}%`;
    this.parts.meter.setAttribute("aria-valuenow", Math.round(this.peakDbfs));
    const canvas = this.parts.canvas;
    const ratio = window.devicePixelRatio || 1;
    const width = Math.round(canvas.clientWidth * ratio), height = Math.round(canvas.clientHeight * ratio);
    if (!width || !this.data) return;
    if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
    const pen = canvas.getContext("2d");
    pen.clearRect(0, 0, width, height);
    if (!this.events.length) return;
    const last = this.events[this.events.length - 1];
    const now = this.isListening ? Math.min(performance.now() / 1000 - this.started, last.end_s + 1) : last.end_s;
    const x = (seconds) => width * (1 - (now - seconds) / HISTORY_S);
    for (const event of this.events) {
      if (event.type === "silence") continue;
      const left = x(event.end_s - this.data.hop_s), right = x(event.end_s);
      let top = height;
      for (const { name, colour } of this.data.emotions) {
        const tall = (event.smoothed[name] || 0) * height;
        pen.fillStyle = colour;
        pen.fillRect(left, top - tall, right - left + 1, tall + 0.5);
        top -= tall;
      }
    }
  }
}

/* As `percent`, where there is little room. */
function briefly(share) {
  return percent(share).replace("under ", "<\u2009").replace("over ", ">\u2009");
}

function percent(share) {
  if (share < 0.005) return "under 1\u00a0%";
  if (share >= 0.995 && share < 1) return "over 99\u00a0%";
  return `${Math.round(100 * share)}\u00a0%`;
}
