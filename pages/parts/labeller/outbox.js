/* What was rated and is not yet known to be kept. It stands in the browser's own store until the server has said that it
   has it, so that neither a lost connection nor a closed tab loses any; what is sent twice counts once, by its id. */

const FIRST_WAIT_MS = 1000, LONGEST_WAIT_MS = 30000;
const TRY_AGAIN = new Set([408, 429, 500, 502, 503, 504]);
const SIGNED_OUT = 401;

class Outbox {
  /* `send(action)` resolves to the server's answer; it rejects with {status, detail, retryAfterMs}. */
  constructor(name, { send, onSent, onChange }) {
    this.name = `telepathy-outbox-${name}`;
    this.send = send;
    this.onSent = onSent;
    this.onChange = onChange;
    this.refused = [];
    this.isSending = false;
    this.isClosed = false;
    this.trouble = null;
    this.failures = 0;
    this.actions = this.read();
    this.wake = () => { this.failures = 0; this.flush(); };
    addEventListener("online", this.wake);
  }

  read() {
    try { return JSON.parse(localStorage.getItem(this.name)) || []; } catch { return this.actions || []; }
  }

  write() {
    this.isKept = true;
    try {
      if (this.actions.length) localStorage.setItem(this.name, JSON.stringify(this.actions));
      else localStorage.removeItem(this.name);
    } catch { this.isKept = false; }
  }

  get waiting() { return this.actions.length; }

  has(id) { return this.actions.some((action) => action.id === id); }

  add(action) {
    this.actions.push(action);
    this.write();
    this.onChange();
    this.flush();
  }

  /* Take back what has not been sent; whether it could be. */
  withdraw(id) {
    const index = this.actions.findIndex((action) => action.id === id);
    if (index < 0 || (index === 0 && this.isSending)) return false;
    this.actions.splice(index, 1);
    this.write();
    this.onChange();
    return true;
  }

  async flush() {
    clearTimeout(this.timer);
    if (this.isSending || this.isClosed) return;
    this.isSending = true;
    while (this.actions.length) {
      const action = this.actions[0];
      try {
        const answer = await this.send(action);
        this.settle(action);
        this.trouble = null;
        this.failures = 0;
        this.onSent(action, answer);
      } catch (error) {
        if (error.status && error.status !== SIGNED_OUT && !TRY_AGAIN.has(error.status)) {
          this.settle(action);
          this.refused.push({ action, detail: error.detail });
          this.onChange();
          continue;
        }
        this.trouble = error;
        if (this.isClosed) break; // they stay in the browser until the page is opened again
        const wait = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** this.failures++);
        this.timer = setTimeout(() => this.flush(), Math.max(wait * (0.75 + Math.random() / 2), error.retryAfterMs || 0));
        break;
      }
      this.onChange();
    }
    this.isSending = false;
    this.onChange();
  }

  settle(action) {
    this.actions = this.actions.filter((one) => one !== action);
    this.write();
  }

  close() {
    this.isClosed = true;
    clearTimeout(this.timer);
    removeEventListener("online", this.wake);
  }
}
