// A line that moves across a chart while its recording plays; a tap or click in the chart moves the player there.
// It reads where plotly.js drew the time axis. Should a later plotly.js not say, the line stays away and nothing else fails.
export default function ({ data }) {
  const TAP_PX = 5;
  const line = document.createElement("div");
  line.className = "telepathy-playhead";
  line.setAttribute("aria-hidden", "true");
  let chart = null;
  let pressedAt = null;
  let timer = null;

  const audio = () => document.querySelector(`.st-key-${data.player} audio`);
  const axis = () => chart?._fullLayout?.xaxis;
  const timeAt = (clientX) => axis().p2d(clientX - chart.getBoundingClientRect().left - axis()._offset);

  const press = (event) => { pressedAt = { x: event.clientX, y: event.clientY }; };
  const release = (event) => {
    const player = audio();
    const isTap = pressedAt && Math.hypot(event.clientX - pressedAt.x, event.clientY - pressedAt.y) < TAP_PX;
    pressedAt = null;
    if (!player || !isTap || !axis()?.p2d) return;
    const time = timeAt(event.clientX);
    if (time >= 0 && time <= player.duration) {
      player.currentTime = time;
      draw();
    }
  };

  const attach = (found) => {
    chart?.removeEventListener("pointerdown", press, true);
    window.removeEventListener("pointerup", release, true);
    line.remove();
    chart = found;
    if (!chart) return;
    chart.style.position = "relative";
    chart.appendChild(line);
    chart.addEventListener("pointerdown", press, true);
    window.addEventListener("pointerup", release, true);
  };

  const draw = () => {
    const found = document.querySelector(`.st-key-${data.chart} .js-plotly-plot`);
    if (found !== chart || (chart && !line.isConnected)) attach(found);
    const player = audio();
    const time = axis();
    if (!player || !time?.d2p) { line.hidden = true; return; }
    const x = time.d2p(player.currentTime);
    const size = chart._fullLayout._size;
    line.hidden = player.currentTime === 0 || x < 0 || x > time._length;
    line.style.left = `${time._offset + x}px`;
    line.style.top = `${size.t}px`;
    line.style.height = `${size.h}px`;
  };

  const tick = () => {
    draw();
    const isPlaying = audio() && !audio().paused;
    timer = isPlaying ? requestAnimationFrame(tick) : setTimeout(tick, 200);
  };
  tick();

  return () => {
    cancelAnimationFrame(timer);
    clearTimeout(timer);
    attach(null);
  };
}
