/* Waveform above log-mel on one axis of time, drawn from what the server prepared; over it the playhead, what is marked,
   and the segments. */

const GUTTER = 50, AXIS = 20, GAP = 8, WAVE_SHARE = 0.42;
const FREQUENCIES = [[500, "500 Hz"], [1000, "1 kHz"], [2000, "2 kHz"], [4000, "4 kHz"]];
const STEPS_S = [0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800];

class Picture {
  constructor(canvas) {
    this.canvas = canvas;
    this.pen = canvas.getContext("2d");
    this.still = document.createElement("canvas");
  }

  /* `seen` is the server's overview, `scale` three colours from nothing to most; null clears. */
  show(seen, look) {
    this.seen = seen;
    this.look = look;
    this.image = seen && spectrogram(seen, look.scale);
    this.drawnFor = "";
  }

  /* Seconds under a place across the canvas, in pixels of the page. */
  secondsAt(x) {
    const share = (x - GUTTER) / (this.canvas.clientWidth - GUTTER);
    return this.seen.start_s + Math.min(1, Math.max(0, share)) * this.seen.duration_s;
  }

  draw({ at, marked, segments, selected, colourOf, nameOf }) {
    const ratio = devicePixelRatio || 1;
    const width = this.canvas.clientWidth, height = this.canvas.clientHeight;
    if (!width || !this.look) return;
    const shape = `${width} ${height} ${ratio}`;
    if (this.drawnFor !== shape) { this.drawStill(width, height, ratio); this.drawnFor = shape; }
    const pen = this.pen;
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, this.canvas.width, this.canvas.height);
    pen.drawImage(this.still, 0, 0);
    if (!this.seen) return;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    const x = (seconds) => GUTTER + ((seconds - this.seen.start_s) / this.seen.duration_s) * (width - GUTTER);
    const bottom = height - AXIS;
    segments.forEach((one, index) => {
      const [left, right] = [x(one.start), x(one.end)];
      pen.globalAlpha = index === selected ? 0.4 : 0.22;
      pen.fillStyle = colourOf(one.label);
      pen.fillRect(left, 0, right - left, bottom);
      pen.globalAlpha = 1;
      pen.strokeStyle = colourOf(one.label);
      pen.lineWidth = index === selected ? 3 : 1.5;
      pen.strokeRect(left + 1, 1, right - left - 2, bottom - 2);
      this.write(nameOf(one, index), left + 5, 5, right - left - 8);
    });
    if (marked) {
      pen.globalAlpha = 0.16;
      pen.fillStyle = this.look.ink;
      pen.fillRect(x(marked.start), 0, x(marked.end) - x(marked.start), bottom);
      pen.globalAlpha = 1;
      pen.strokeStyle = this.look.ink;
      pen.lineWidth = 1.5;
      pen.setLineDash([5, 3]);
      pen.strokeRect(x(marked.start), 1, x(marked.end) - x(marked.start), bottom - 2);
      pen.setLineDash([]);
    }
    pen.fillStyle = this.look.ink;
    pen.fillRect(Math.min(x(at), width - 2) - 0.5, 0, 2.5, bottom);
  }

  write(text, left, top, room) {
    const pen = this.pen;
    pen.font = `600 13px ${this.look.font}`;
    if (room < 24) return;
    let shown = text;
    while (shown && pen.measureText(shown).width > room) shown = shown.slice(0, -1);
    if (shown !== text && shown.length < 3) return;
    pen.fillStyle = this.look.paper;
    pen.globalAlpha = 0.85;
    pen.fillRect(left - 2, top - 1, pen.measureText(shown).width + 4, 17);
    pen.globalAlpha = 1;
    pen.fillStyle = this.look.ink;
    pen.textBaseline = "top";
    pen.fillText(shown, left, top);
  }

  drawStill(width, height, ratio) {
    this.canvas.width = this.still.width = Math.round(width * ratio);
    this.canvas.height = this.still.height = Math.round(height * ratio);
    const pen = this.still.getContext("2d");
    pen.scale(ratio, ratio);
    const room = height - AXIS, wave = room * WAVE_SHARE - GAP / 2, top = wave + GAP, tall = room - top;
    pen.fillStyle = this.look.raised;
    pen.fillRect(GUTTER, 0, width - GUTTER, wave);
    pen.fillRect(GUTTER, top, width - GUTTER, tall);
    if (!this.seen) return;
    pen.imageSmoothingEnabled = true;
    pen.drawImage(this.image, GUTTER, top, width - GUTTER, tall);
    pen.fillStyle = this.look.bar;
    const { lowest, highest } = this.seen, each = (width - GUTTER) / lowest.length;
    const y = (value) => wave / 2 - (value / 127) * (wave / 2 - 3);
    for (let column = 0; column < lowest.length; column++) {
      const high = y(highest[column]), low = y(lowest[column]);
      pen.fillRect(GUTTER + column * each, high, each + 0.3, Math.max(1, low - high));
    }
    pen.font = `12px ${this.look.font}`;
    pen.fillStyle = this.look.muted;
    pen.textAlign = "right";
    pen.textBaseline = "middle";
    for (const [hz, text] of tall > 90 ? FREQUENCIES : FREQUENCIES.filter((_, index) => index % 2)) {
      pen.fillText(text, GUTTER - 4, top + tall * (1 - mel(hz) / mel(8000)));
    }
    this.drawAxis(pen, width, height);
  }

  drawAxis(pen, width, height) {
    const { start_s: start, duration_s: duration } = this.seen;
    const most = Math.max(2, Math.floor((width - GUTTER) / 80));
    const step = STEPS_S.find((each) => duration / each <= most) || STEPS_S[STEPS_S.length - 1];
    pen.textBaseline = "alphabetic";
    pen.textAlign = "center";
    for (let tick = Math.ceil(start / step - 1e-6) * step; tick <= start + duration + 1e-6; tick += step) {
      const left = GUTTER + ((tick - start) / duration) * (width - GUTTER);
      const text = clock(tick, step, start + duration);
      const half = pen.measureText(text).width / 2;
      pen.fillText(text, Math.min(Math.max(left, GUTTER + half), width - half), height - 5);
    }
  }
}

/* The server's bytes as an image with one pixel a cell, the lowest band at the bottom. */
function spectrogram(seen, scale) {
  const { n_mels: rows, n_log_mel_columns: columns, log_mel: cells } = seen;
  const image = document.createElement("canvas");
  image.width = columns;
  image.height = rows;
  const pen = image.getContext("2d"), pixels = pen.createImageData(columns, rows), shades = gradient(scale);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const at = 4 * ((rows - 1 - row) * columns + column);
      pixels.data.set(shades[cells[row * columns + column]], at);
    }
  }
  pen.putImageData(pixels, 0, 0);
  return image;
}

function gradient(scale) {
  const stops = scale.map((colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16)));
  return Array.from({ length: 256 }, (_, value) => {
    const place = (value / 255) * (stops.length - 1), below = Math.min(Math.floor(place), stops.length - 2);
    return [...stops[below].map((low, index) => low + (place - below) * (stops[below + 1][index] - low)), 255];
  });
}

/* Slaney's scale, as the server's filters have it. */
function mel(hz) { return hz < 1000 ? hz / (200 / 3) : 15 + Math.log(hz / 1000) / (Math.log(6.4) / 27); }

function clock(seconds, step, longest) {
  if (longest < 60) return `${step < 1 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

function bytesOf(text, Kind) { return new Kind(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer); }

/* An overview as it came from the server, its bytes unpacked. */
function unpacked(seen) {
  return {
    ...seen,
    lowest: bytesOf(seen.lowest, Int8Array),
    highest: bytesOf(seen.highest, Int8Array),
    log_mel: bytesOf(seen.log_mel, Uint8Array),
  };
}
