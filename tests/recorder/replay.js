"use strict";
const { recordings, files } = JSON.parse(document.getElementById("data").textContent);
let codeLines = 15;                // that are shown of a file
const STEP_MS = 1200;              // how long a moment is shown, call by call
const SPEEDS = [["1", "real time"], ["0.1", "10 times slower"], ["0.01", "100 times slower"], ["0", "call by call"]];

// ---- small helpers

function element(tag, properties, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties))
    if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function span(seconds) {
  if (seconds >= 0.9995) return +seconds.toFixed(3) + " s";
  if (seconds < 0.00095) return Math.round(seconds * 1e6) + " µs";
  return +(seconds * 1e3).toFixed(seconds < 0.01 ? 1 : 0) + " ms";
}

const clock = seconds => (seconds * 1e3).toFixed(2) + " ms";
const list = words => words.join(", ").replace(/, ([^,]*)$/, " and $1");
const reached = (moment, t) => moment !== null && moment <= t;

// The value at x of a line through points [x, y] that rise; null outside.
function between(points, x) {
  for (let i = 1; i < points.length; i++) {
    const [[x0, y0], [x1, y1]] = [points[i - 1], points[i]];
    if (x >= x0 && x <= x1) return x1 > x0 ? y0 + (x - x0) / (x1 - x0) * (y1 - y0) : y0;
  }
  return null;
}

// ---- what happens at time t of a recording, which counts from its beginning

const STATES = { way: "On its way", backlog: "In the backlog", accepted: "Accepted", answered: "Answered" };

function clientState(client, t) {
  if (t < client.start) return "absent";
  if (reached(client.answered === null ? client.done : client.answered, t)) return "answered";
  if (reached(client.accepted, t)) return "accepted";
  return reached(client.connected, t) ? "backlog" : "way";
}

function clientWords(client, t) {
  const words = { way: "is on its way", backlog: "is in the backlog",
                  accepted: "is accepted and not yet answered", answered: "is answered" };
  return `${client.path} ${words[clientState(client, t)]}`;
}

// In a call, after it ("pause" or "computes"), or outside of its life; and the call.
function threadState(recording, thread, t) {
  const end = thread.end === null ? recording.duration : thread.end;
  if (t < thread.start) return { state: "absent" };
  if (reached(thread.end, t)) return { state: "ended" };
  const index = thread.calls.findLastIndex(each => each.start <= t);
  if (index < 0) return { state: "before" };
  const call = thread.calls[index];
  if (!reached(call.end, t)) return { state: "call", call };
  return { state: call.computes ? "computes" : "pause", call };
}

function threadWords({ state, call }) {
  switch (state) {
    case "absent": return "does not exist yet";
    case "before": return "has not begun its first call";
    case "ended": return "has ended";
    case "computes": return "computes";
    case "pause": return `has returned from ${call.name}`;
  }
  const place = call.source || call.function;
  return `${call.plain} (${call.name}${place ? ", called from " + place : ""})`;
}

function describe(recording, t) {
  const words = recording.threads.map(each => [each.label, threadState(recording, each, t)])
    .filter(([, { state }]) => state !== "absent" && state !== "ended")
    .map(([label, state]) => `${label.replace(/^main/, "the main")} ${threadWords(state)}`);
  const clients = recording.clients.filter(each => clientState(each, t) !== "absent");
  return [...words, ...clients.map(each => clientWords(each, t))].join("; ") + ".";
}

// ---- one recording on the page: cursors in its drawing; its clients, its loop and its threads

class View {
  constructor(recording, picture, timed, player) {
    this.recording = recording;
    this.picture = picture;
    this.drawing = picture.querySelector("svg");
    this.cursors = timed.map(addCursor);
    this.drawing.addEventListener("click", event => this.seek(event, player));
    this.board = element("div", { className: "board" });
    this.loop = element("div", { className: "box loop", hidden: !recording.waits.length });
    this.side = element("div", { className: "side" }, this.board, this.loop);
    this.parts = recording.threads.map(addThread);
    this.threads = element("div", { className: "threads" }, ...this.parts.map(each => each.box));
  }

  show(t) {
    for (const { path, points, top, bottom } of this.cursors) {
      const x = between(points, t);
      path.setAttribute("d", x === null ? "" : `M${x.toFixed(1)},${top} V${bottom}`);
    }
    this.scrollTo(between(this.cursors[0].points, t));
    this.showClients(t);
    this.showLoop(t);
    for (const parts of this.parts) this.showThread(parts, t);
  }

  // On a narrow screen the drawing scrolls in its box, with the cursor.
  scrollTo(x) {
    const { drawing, picture } = this;
    if (x !== null && picture.scrollWidth > picture.clientWidth)
      picture.scrollLeft = x / drawing.viewBox.baseVal.width * drawing.clientWidth - picture.clientWidth / 2;
  }

  // A click on the drawing goes to that moment.
  seek(event, player) {
    const matrix = this.drawing.getScreenCTM().inverse();
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix);
    const hit = this.cursors.find(each => point.y >= each.top && point.y <= each.bottom);
    const time = hit ? between(hit.points.map(([t, x]) => [x, t]), point.x) : null;
    if (time === null || player.controls.hidden) return;
    player.play(false);
    player.go(time - this.recording.zero);
  }

  showClients(t) {
    this.board.replaceChildren(...Object.entries(STATES).map(([state, words]) => {
      const here = this.recording.clients.filter(each => clientState(each, t) === state);
      return element("div", { className: `box ${state}${here.length ? " full" : ""}` },
        element("h3", {}, state === "backlog" ? `${words}: ${here.length}` : words),
        ...here.map(each => element("span", { className: "token" }, each.path)));
    }));
  }

  showLoop(t) {
    const { recording } = this, wait = recording.waits.findLast(each => each.start <= t);
    let words = "has not waited yet", rows = [];
    if (wait && !reached(wait.end, t)) {
      const left = Math.max(0, wait.timeout_ms / 1e3 - (t - wait.start));
      words = "waits";
      rows = [["watches", list(wait.watched) || "nothing"],
              ["nearest deadline", wait.timeout_ms === null ? "none: it waits until something happens"
                : `in ${span(left)} (time-out of this wait: ${span(wait.timeout_ms / 1e3)})`]];
    } else if (wait) {
      const { state, call } = threadState(recording, recording.threads.find(each => each.tid === wait.tid), t);
      const stuck = state === "computes" || state === "call" && call.waits_for;
      words = stuck ? "stands still" : "works";
      rows = [["was told", list(wait.reported) || "nothing: the time was over"]];
      if (stuck) rows.unshift(["its thread", state === "computes" ? "computes" : "is in " + call.name]);
    }
    this.loop.replaceChildren(element("h3", {}, "The event loop " + words),
      element("dl", {}, ...rows.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)])));
  }

  showThread(parts, t) {
    const { state, call } = threadState(this.recording, parts.thread, t);
    parts.words.textContent = threadWords({ state, call });
    parts.file.hidden = parts.code.hidden = parts.stack.hidden = !call;
    if (!call) return;
    if (parts.call !== call) parts.place = call.source || "";
    parts.call = call;
    this.showCode(parts, state === "call" ? "now" : "then");
    parts.stack.hidden = call.stack.length < 2;
    parts.stack.replaceChildren("Called from ", ...call.stack.map(frame => {
      const place = frame.slice(frame.lastIndexOf(" ") + 1);
      const onclick = () => { parts.place = place; this.showThread(parts, t); };
      return element("button", { type: "button", "aria-pressed": place === parts.place, onclick }, frame);
    }));
  }

  showCode(parts, style) {
    const colon = parts.place.lastIndexOf(":"), name = parts.place.slice(0, colon);
    const line = Number(parts.place.slice(colon + 1)), lines = files[this.recording.sources[name]];
    parts.code.hidden = !lines;
    parts.file.textContent = lines ? name : parts.place ? `at ${parts.place}` : "The source line is not known.";
    if (!lines) return;
    // Do not move the code while the line is well inside of what is shown.
    if (name !== parts.name || line < parts.first + 2 || line > parts.first + codeLines - 3)
      parts.first = Math.max(1, Math.min(line - (codeLines >> 1), lines.length - codeLines + 1));
    parts.name = name;
    parts.lines.replaceChildren(...lines.slice(parts.first - 1, parts.first - 1 + codeLines).map((words, i) => {
      const item = element("li", { value: parts.first + i }, words);
      if (item.value === line) {
        item.className = style;
        item.setAttribute("aria-current", "true");
      }
      return item;
    }));
  }
}

function addCursor(group) {
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("class", "cursor");
  group.append(path);
  const points = group.dataset.points.split(" ").map(each => each.split(",").map(Number));
  return { path, points, top: Number(group.dataset.top), bottom: Number(group.dataset.bottom) };
}

function addThread(thread) {
  const words = element("p", {}), file = element("div", { className: "quiet" }), lines = element("ol", {});
  const code = element("div", { className: "code", tabIndex: 0, role: "region",
                                "aria-label": "Code of the " + thread.label }, lines);
  const stack = element("div", { className: "stack" });
  const name = element("h3", {}, thread.label);
  const box = element("div", { className: "box thread" }, name, words, file, code, stack);
  return { thread, words, file, lines, code, stack, box, first: 0, name: "", place: "", call: null };
}

// ---- the player: its time (now) counts from the arrival of the first client

class Player {
  constructor(controls) {
    this.controls = controls;
    this.views = [];
    this.now = this.timer = this.frame = 0;
    const walk = (words, label, key, direction) => element("button", { type: "button", "aria-label": label,
      title: `${label} (${key})`, onclick: () => { this.play(false); this.step(direction); } }, words);
    this.button = element("button", { type: "button", className: "play", title: "Play or pause (space)",
      onclick: () => this.play(!this.playing) });
    this.slider = element("input", { type: "range", step: "any", className: "slider", "aria-label": "Time",
      oninput: () => { this.play(false); this.go(this.slider.valueAsNumber); } });
    this.time = element("output", { className: "time", "aria-live": "off" });    // it changes with each frame
    this.speed = element("select", { className: "speed" },
      ...SPEEDS.map(([value, words]) => element("option", { value }, words)));
    this.speed.value = matchMedia("(prefers-reduced-motion: reduce)").matches ? "0" : "0.1";
    this.moment = element("p", { className: "moment", role: "status" });
    this.buttons = element("div", { className: "buttons" }, this.button,
      walk("◀ Previous", "Previous call", "←", -1), walk("Next ▶", "Next call", "→", 1),
      this.slider, this.time, element("label", {}, "Speed ", this.speed));
    controls.append(this.buttons, this.moment);
    this.play(false);
  }

  get first() { return Math.min(...this.views.map(({ recording }) => -recording.zero)); }
  get last() { return Math.max(...this.views.map(({ recording }) => recording.duration - recording.zero)); }

  // Play these, from the moment that is shown now.
  show(views) {
    this.views = views;
    this.slider.min = this.first;
    this.slider.max = this.last;
    this.go(this.now);
  }

  // The moments to step to: a call begins, a client arrives, a client has its answer.
  moments() {
    const all = this.views.flatMap(({ recording: { zero, threads, clients, duration } }) => {
      const calls = threads.flatMap(each => each.calls.map(call => call.start));
      return [...calls, ...clients.flatMap(each => [each.start, each.done])]
        .filter(t => t !== null && t >= 0 && t <= duration).map(t => t - zero);
    });
    return [this.first, ...all, this.last].sort((a, b) => a - b);
  }

  go(t) {
    this.now = Math.min(Math.max(t, this.first), this.last);
    const several = this.views.length > 1;
    const words = this.views.map(view => {
      const { name, zero } = view.recording, moment = this.now + zero;
      view.show(moment);
      return (several ? name + ": " : "") + describe(view.recording, moment);
    }).join(" ");
    this.slider.value = this.now;
    this.slider.setAttribute("aria-valuetext", `${clock(this.now)}: ${words}`);
    this.time.value = clock(this.now);
    this.moment.textContent = `At ${clock(this.now)}: ${words}`;
  }

  // Return false at the end.
  step(direction) {
    const next = direction > 0 ? this.moments().find(t => t > this.now + 2e-6)
      : this.moments().findLast(t => t < this.now - 2e-6);
    if (next !== undefined) this.go(next);
    return next !== undefined;
  }

  play(on) {
    this.playing = on;
    clearTimeout(this.timer);
    cancelAnimationFrame(this.frame);
    this.button.textContent = on ? "❚❚ Pause" : "▶ Play";
    this.moment.setAttribute("aria-live", on ? "off" : "polite");
    if (!on) return;
    if (this.now >= this.last) this.go(0);
    let before = null;
    const speed = () => Number(this.speed.value);
    const next = () => {
      if (speed()) this.frame = requestAnimationFrame(tick);
      else this.timer = setTimeout(tick, STEP_MS, null);
    };
    // now: the time of the frame that is drawn, or null for a step
    const tick = now => {
      if (speed() && now !== null && before !== null) this.go(this.now + Math.min(now - before, 100) / 1e3 * speed());
      before = now;
      if (speed() ? this.now < this.last : this.step(1)) next();
      else this.play(false);
    };
    this.frame = requestAnimationFrame(tick);
  }

  onKey(event) {
    if (event.ctrlKey || event.altKey || event.metaKey || event.target.matches("select")) return;
    if (event.key === " " && event.target.matches("button, a")) return;
    const box = event.target.closest(".code, .picture");     // the arrows scroll what scrolls
    if (box && /^Arrow/.test(event.key) && (box.matches(".code") || box.scrollWidth > box.clientWidth)) return;
    const acts = { ArrowLeft: () => this.step(-1), ArrowRight: () => this.step(1),
                   Home: () => this.go(this.first), End: () => this.go(this.last) };
    if (event.key === " ") this.play(!this.playing);
    else if (!(event.key in acts)) return;
    else {
      this.play(false);
      acts[event.key]();
    }
    event.preventDefault();
  }
}
