// A line that moves across a chart while its recording plays; a tap or click in the chart moves the player there.
// Where `stretches` are given (start and end, in seconds), a tap plays the one it falls into, and that alone; so does
// any button that names a player in `data-play`, with `data-start` and `data-end`.
// It reads where plotly.js drew the time axis. Should a later plotly.js not say, the line stays away and nothing else fails.
export default function ({ data }) {
  const TAP_PX = 5;
  const line = document.createElement("div");
  line.className = "telepathy-playhead";
  const band = document.createElement("div");
  band.className = "telepathy-stretch";
  for (const mark of [line, band]) {
    mark.setAttribute("aria-hidden", "true");
    mark.hidden = true;
  }
  let chart = null;
  let pressedAt = null;
  let timer = null;
  let stretch = null;

  const audio = () => document.querySelector(`.st-key-${data.player} audio`);
  const axis = () => chart?._fullLayout?.xaxis;
  const timeAt = (clientX) => axis().p2d(clientX - chart.getBoundingClientRect().left - axis()._offset);

  const play = async (start, end) => {
    const player = audio();
    if (!player) return;
    player.pause();
    stretch = { start, end: Math.min(end, player.duration || end) };
    player.currentTime = start;
    try { await player.play(); } catch { stretch = null; }  // the browser may refuse; the player's own button works
    draw();
    clearTimeout(timer);
    cancelAnimationFrame(timer);
    tick();
  };
  const stopAtEnd = () => {
    const player = audio();
    if (!stretch || !player) return;
    if (player.currentTime >= stretch.end) {
      player.pause();
      player.currentTime = stretch.end;
      stretch = null;
    } else if (!player.seeking && player.currentTime < stretch.start - 0.3) {
      stretch = null;  // somebody moved the player elsewhere
    }
  };

  const press = (event) => { pressedAt = { x: event.clientX, y: event.clientY }; };
  const release = (event) => {
    const player = audio();
    const isTap = pressedAt && Math.hypot(event.clientX - pressedAt.x, event.clientY - pressedAt.y) < TAP_PX;
    pressedAt = null;
    if (!player || !isTap || !axis()?.p2d || event.target.closest?.(".modebar")) return;
    const time = timeAt(event.clientX);
    if (data.stretches) {
      const hit = data.stretches.find(([start, end]) => start <= time && time < end);
      if (hit) play(...hit);
    } else if (time >= 0 && time <= player.duration) {
      player.currentTime = time;
      draw();
    }
  };
  const pressButton = (event) => {
    const button = event.target.closest?.(`[data-play="${data.player}"]`);
    if (button) play(Number(button.dataset.start), Number(button.dataset.end));
  };

  const attach = (found) => {
    chart?.removeEventListener("pointerdown", press, true);
    window.removeEventListener("pointerup", release, true);
    line.remove();
    band.remove();
    chart = found;
    if (!chart) return;
    chart.style.position = "relative";
    chart.append(band, line);
    chart.addEventListener("pointerdown", press, true);
    window.addEventListener("pointerup", release, true);
  };

  const draw = () => {
    const found = document.querySelector(`.st-key-${data.chart} .js-plotly-plot`);
    if (found !== chart || (chart && !line.isConnected)) attach(found);
    const player = audio();
    const time = axis();
    if (!player || !time?.d2p) { line.hidden = band.hidden = true; return; }
    const x = time.d2p(player.currentTime);
    const size = chart._fullLayout._size;
    line.hidden = player.currentTime === 0 || x < 0 || x > time._length;
    line.style.left = `${time._offset + x}px`;
    band.hidden = !stretch;
    if (stretch) {
      const [left, right] = [time.d2p(stretch.start), time.d2p(stretch.end)];
      band.style.left = `${time._offset + left}px`;
      band.style.width = `${right - left}px`;
    }
    for (const mark of [line, band]) {
      mark.style.top = `${size.t}px`;
      mark.style.height = `${size.h}px`;
    }
  };

  const tick = () => {
    stopAtEnd();
    draw();
    const isPlaying = audio() && !audio().paused;
    timer = isPlaying ? requestAnimationFrame(tick) : setTimeout(tick, 200);
  };
  document.addEventListener("click", pressButton);
  const watch = setInterval(stopAtEnd, 30);  // frames stop in a tab out of sight, sound does not
  tick();

  return () => {
    cancelAnimationFrame(timer);
    clearTimeout(timer);
    clearInterval(watch);
    document.removeEventListener("click", pressButton);
    attach(null);
  };
}
