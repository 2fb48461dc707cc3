/* The routes that annotating asks. Errors carry what the server said of them: {status, detail, retryAfterMs}. */

const COLUMNS = 600;
const LONGEST_WAIT_S = 3600; // a month's allowance may be over for four weeks: more than a timer can count

class Server {
  constructor(address) { this.address = address; }

  /* The clips to label next, at most `n`, those rated before they were undone, and how far things are. */
  queue(n) { return this.ask(`${this.address}/queue?n=${n}`); }

  async overview(clip) {
    return unpacked(await this.ask(`${recordingOf(clip)}/overview?columns=${COLUMNS}`));
  }

  soundOf(clip) { return withBase(`${recordingOf(clip)}/audio`); }

  send({ id, kind, clip, rating, spent_s }) {
    const path = { rate: "ratings", skip: "skips", undo: "undo" }[kind];
    const about = { id, assignment_id: clip };
    return this.ask(`${this.address}/${path}`, kind === "rate" ? { ...about, rating, spent_s } : about);
  }

  async ask(path, body) {
    const options = { credentials: "same-origin", headers: { Accept: "application/json" } };
    if (body) {
      Object.assign(options, { method: "POST", body: JSON.stringify(body), keepalive: true });
      options.headers["Content-Type"] = "application/json";
    }
    let answer;
    try { answer = await fetch(withBase(path), options); } catch { throw { status: 0, detail: "", retryAfterMs: 0 }; }
    if (!answer.ok) throw await problemOf(answer);
    return answer.status === 204 ? null : answer.json();
  }
}

function recordingOf(clip) { return `/api/v1/recordings/${clip.recording_id}`; }

/* Behind a proxy the process may stand below another folder than the root. */
function withBase(path) {
  const folder = new URL(document.baseURI).pathname.replace(/[^/]*$/, "");
  return `${location.origin}${folder}${path.replace(/^\//, "")}`;
}

async function problemOf(answer) {
  const problem = await answer.json().catch(() => ({}));
  const retryAfterMs = 1000 * Math.min(Number(answer.headers.get("Retry-After") || 0), LONGEST_WAIT_S);
  return { status: answer.status, detail: problem.detail || `The server answered ${answer.status}.`, retryAfterMs };
}
