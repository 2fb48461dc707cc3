/* What the page says: everything that is written into the widget's HTML. */

class Board {
  constructor(root, labeller) {
    this.root = root;
    this.of = labeller;
  }

  find(selector) { return this.root.querySelector(selector); }

  all(selector) { return [...this.root.querySelectorAll(selector)]; }

  get state() { return this.root.dataset.state; }

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
    const { item } = this.of;
    const isDone = this.state === "done";
    this.find(".work").hidden = isDone || (!item && this.of.hasQueue);
    this.find(".done").hidden = !isDone;
    this.find(".name").textContent = item ? item.clip.name : isDone ? "" : "Looking for clips";
    this.find(".waiting").hidden = isDone || Boolean(item?.sound);
    this.find(".waiting").textContent = item?.error ? `This clip cannot be loaded. ${this.sentence(item.error)}` : "Loading the clip";
    this.press(".loop", this.of.isLooping);
    this.press(".autoplay", this.of.plays);
    this.press(".parts", this.of.isCutting);
    this.find(".cutting").hidden = !this.of.isCutting;
    this.tellProgress();
    this.find(".previous").disabled = item ? this.of.index === 0 : !this.of.items.length;
    this.find(".next").disabled = !item || (item.state === "open" && this.of.index === this.of.items.length - 1);
    this.find(".skip").disabled = item?.state !== "open";
    if (!item) return;
    this.tellSegments(item);
    const { rating, draft } = item;
    for (const button of this.all("[data-label]")) {
      button.classList.toggle("chosen", rating?.label === button.dataset.label);
      button.classList.toggle("secondly", draft.second === button.dataset.label);
      button.classList.toggle("guessed", item.clip.guess?.label === button.dataset.label);
      button.setAttribute("aria-pressed", rating?.label === button.dataset.label);
    }
    for (const button of this.all("[data-flag]")) button.setAttribute("aria-pressed", rating?.flag === button.dataset.flag);
    for (const button of this.all("[data-intensity]")) {
      button.setAttribute("aria-pressed", String(draft.intensity ?? "") === button.dataset.intensity);
    }
    const second = this.find(".second");
    this.press(".second", Boolean(this.of.isSecondNext));
    const chosen = draft.second;
    second.textContent = this.of.isSecondNext ? "Choose the second" : chosen ? `Second choice: ${chosen}` : "Second choice";
    const note = this.find(".note input");
    note.value = draft.note || "";
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
      sign.textContent = this.of.labelOf(one.label)?.sign || "○";
      sign.style.color = this.of.labelOf(one.label)?.colour || "inherit";
      button.append(sign, ` ${one.label || "no label yet"}, ${one.start.toFixed(2)} to ${one.end.toFixed(2)} s`);
      button.onclick = () => this.of.select(index);
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
    if (!this.of.progress) return;
    const { n_done: n, n_total: total } = this.of.progress;
    const bar = this.find(".progress");
    bar.setAttribute("aria-valuemax", total);
    bar.setAttribute("aria-valuenow", Math.min(n, total));
    bar.firstElementChild.style.width = total ? `${Math.min(100, (100 * n) / total)}%` : "0";
    this.find(".count").textContent = `${n.toLocaleString("en")} of ${total.toLocaleString("en")} done`;
  }

  tellSaved() {
    const { outbox } = this.of;
    const saved = this.find(".saved");
    const n = outbox.waiting;
    this.set("waiting", n);
    this.set("saved", n ? "waiting" : "all");
    let text = n ? "Saving" : this.of.hasQueue ? "Everything is saved" : "";
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
    const play = this.find(".play"), plays = Boolean(this.of.item?.sound?.isPlaying);
    if (plays) this.isBlocked = false;
    if (isBlocked) this.isBlocked = true;
    const text = plays ? "Pause" : "Play";
    if (play.textContent !== text) play.textContent = text;
    play.classList.toggle("asked", Boolean(this.isBlocked));
  }

  press(selector, isPressed) { this.find(selector).setAttribute("aria-pressed", isPressed); }

  fillLabels() {
    const { labels, asks } = this.of.data;
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
      button.onclick = (event) => this.of.hands.at(event, () => this.of.choose(label, event.shiftKey));
      return button;
    }));
    const flags = [["cannot_tell", "0", "Can't tell"], ["bad_audio", "B", "Bad audio"]];
    this.find(".flags").replaceChildren(...flags.map(([name, key, words]) => {
      const button = this.small(key, words);
      button.dataset.flag = name;
      button.onclick = (event) => this.of.hands.at(event, () => this.of.flag(name));
      return button;
    }));
    const intensity = this.find(".intensity");
    intensity.hidden = !asks.intensity;
    const levels = [["Q", "Weak"], ["W", "Medium"], ["E", "Strong"]];
    intensity.replaceChildren(intensity.firstElementChild, ...levels.map(([key, words], index) => {
      const button = this.small(key, words);
      button.dataset.intensity = index + 1;
      button.onclick = () => this.of.setIntensity(index + 1);
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
}

function percent(share) {
  if (share > 0 && share < 0.005) return "under 1 %";
  if (share >= 0.995 && share < 1) return "over 99 %";
  return `${Math.round(100 * share)} %`;
}
