// The bench: one server, or several on one axis, and the time. Time stands unless play() runs.
import {element, button} from "./page-elements.mjs";
import {Picture, axisEnd} from "./page-draw.mjs";
import {
  actor, clientName, clientState, describe, ended, grouped, hasEnded, list, meaning, reached, span, threadState, upper,
  COMPUTES, LOOP,
} from "./page-run.mjs";

const CODE_LINES = 9, FEW_LINES = 5;   // on a phone
const BEAT_MS = 520, SLIDE_MS = 700, FILM_MS = 6000;   // of "what matters": an event, a gap, and all of it at most
const MANY = 60, RUSH_MS = 2000;   // nobody reads so many events one by one: this is all that they get
const NOTHING_MS = 50;             // a gap that is worth a word

export class Bench {
  // parts: the elements {rows, time, details}; sources(stage, file): the lines; onSeek: the player has moved the time.
  constructor(parts, sources, onSeek) {
    Object.assign(this, { ...parts, sources, onSeek });
    this.shown = [];               // rows: {run, names, heading, picture}
    this.timeline = [];            // moments of all runs: {t, orders, matters}
    this.end = 0;                  // the last moment
    this.at = { t: 0, index: -1 }; // index in the timeline; 0.5 more between two moments
    this.limit = Infinity;         // the time cannot be moved beyond: a question is open
    this.pace = "matters";
    this.playing = null;
    this.pinned = null;            // a call whose line is shown, whatever the time
    this.still = matchMedia("(prefers-reduced-motion: reduce)");
    this.buildTime();
    this.buildDetails();
    new ResizeObserver(() => this.draw()).observe(this.rows);
    this.rows.addEventListener("pointerdown", event => this.drag(event));
  }

  // ---- what is shown

  // Show these runs from the next draw() on: {names, run, caption}. If it may, runs that are alike share a row.
  show(rows, mayFold = true) {
    const folded = [];
    for (const row of rows) {
      const same = mayFold && folded.find(each => alike(each.run, row.run));
      if (same) same.names.push(...row.names);
      else folded.push({ ...row, names: [...row.names] });
    }
    this.shown = folded.map((row, i) => {
      const picture = element("div", { className: "lanes" });
      const heading = element("h2", {}, list(row.names));
      const caption = element("p", { className: "quiet caption" }, ...row.caption || []);
      return { ...row, picture, words: element("p", { className: "unseen" }), prefix: `row${i}-`,
               box: element("section", { className: "row" }, element("div", { className: "head" }, heading, caption),
                            picture) };
    });
    for (const row of this.shown) row.box.append(row.words);
    this.rows.replaceChildren(...this.shown.map(each => each.box));
    this.timeline = merged(this.shown.map(each => each.run));
    this.end = Math.max(0, ...this.shown.map(each => lastMoment(each.run)));
    this.pinned = null;
  }

  get run() { return this.shown[0].run; }

  cursor(row) {
    const { t, index } = this.at;
    if (index < 0) return { t, order: -1 };
    const moment = this.timeline[Math.floor(index)];
    if (!moment || moment.t < t) return { t, order: Infinity };
    return { t, order: moment.orders[row] };
  }

  // All has happened: the cursor is at the last moment, or after it.
  get atEnd() {
    return this.at.t > this.end || (this.at.t === this.end && this.at.index >= this.timeline.length - 1);
  }

  draw() {
    const wide = this.rows.clientWidth - 2;      // without the border
    if (!this.shown.length || wide < 100) return;
    this.codeSize = wide < 620 ? FEW_LINES : CODE_LINES;
    const least = Math.max(1.25 * Math.min(...this.shown.map(each => each.run.delay)), 500);
    this.axis = axisEnd(Math.max(this.at.t, 0), least);
    this.shown.forEach((row, i) => {
      const cursor = this.cursor(i);
      row.drawn = new Picture(wide, this.axis, row.prefix);
      row.picture.innerHTML = row.drawn.draw(row.run, cursor);
      if (!this.playing) row.words.textContent = `At ${span(this.at.t)}: ${describe(row.run, cursor)}`;
    });
    this.slider.max = this.axis;
    this.slider.value = this.at.t;
    this.clock.value = span(Math.max(0, this.at.t));
    this.slider.setAttribute("aria-valuetext", span(Math.max(0, this.at.t)));
    this.drawDetails();
  }

  // ---- time

  buildTime() {
    this.slider = element("input", { type: "range", min: 0, max: 1, step: "any", className: "slider",
      "aria-label": "Time", oninput: () => this.seek(this.slider.valueAsNumber) });
    this.clock = element("output", { className: "clock", "aria-live": "off" });    // it changes with each frame
    this.playButton = button("▶", () => this.onPlay());
    this.playButton.className = "play";
    this.namePlay("▶", "Let time pass");
    this.playButton.title = "Let time pass, or stop it (space)";
    const back = button("◀", () => this.step(-1)), forth = button("▶❘", () => this.step(1));
    back.textContent = "❘◀";
    for (const [made, words, key] of [[back, "Previous call", "←"], [forth, "Next call", "→"]]) {
      made.setAttribute("aria-label", words);
      made.title = `${words} (${key})`;
    }
    const pace = element("select", { "aria-label": "Pace", onchange: () => { this.pace = pace.value; } },
      element("option", { value: "matters" }, "what matters"), element("option", { value: "real" }, "real time"));
    this.gap = element("span", { className: "gap", "aria-hidden": "true" });
    this.time.append(back, this.playButton, forth, this.slider, this.clock,
      element("label", {}, element("span", {}, "show "), pace));
    this.onPlay = () => this.playing ? this.stop() : this.play();
  }

  namePlay(sign, words) {
    this.playButton.textContent = sign;
    this.playButton.setAttribute("aria-label", words);
  }

  // The player moves the time: to t, but not beyond an open question.
  seek(t) {
    this.stop();
    this.pinned = null;
    t = Math.max(0, Math.min(t, this.limit, Math.max(this.axis || 0, this.end)));
    this.at = { t, index: this.indexAt(t) };
    this.draw();
    this.onSeek();
  }

  // The last moment that has happened at t.
  indexAt(t) {
    let low = 0, high = this.timeline.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.timeline[middle].t <= t) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  // Stand at t, before any server has moved at t: what the clients do is done.
  standAt(t) {
    this.stop();
    let index = this.indexAt(t);
    while (index >= 0 && this.timeline[index].t === t && this.timeline[index].orders.some(order => order >= 0)) index--;
    this.at = { t, index };
    this.draw();
  }

  step(direction) {
    this.stop();
    this.pinned = null;
    const { index } = this.at, next = direction > 0 ? Math.floor(index) + 1 : Math.ceil(index) - 1;
    const moment = this.timeline[next];
    if (direction > 0 && (!moment || moment.t > this.limit)) return;
    if (next < 0 || moment.t < 0) this.at = { t: 0, index: this.firstIndex() };
    else this.at = { t: moment.t, index: next };
    this.draw();
    for (const row of this.shown) row.words.setAttribute("aria-live", "polite");
    this.onSeek();
  }

  firstIndex() {
    return this.indexAt(-1e-9);
  }

  // A drag over a picture moves the time, and so does a click.
  drag(event) {
    if (event.button || this.time.hidden || !event.target.closest(".lanes")) return;
    const area = event.target.closest(".lanes"), row = this.shown.find(each => each.picture === area);
    const move = each => this.seek(row.drawn.time(each.clientX - area.getBoundingClientRect().left));
    area.setPointerCapture(event.pointerId);
    move(event);
    area.onpointermove = move;
    area.onpointerup = area.onpointercancel = () => { area.onpointermove = null; };
  }

  // Let time pass until `to`, or until nothing more happens. Return a promise: did it get there?
  play(to = Infinity) {
    this.stop();
    this.pinned = null;
    to = Math.min(to === Infinity ? this.end : to, this.limit);
    const film = this.film(to);
    return new Promise(resolve => {
      const began = performance.now(), total = film.length ? film[film.length - 1].stop : 0;
      let i = 0;
      const finish = done => {
        cancelAnimationFrame(this.playing.frame);
        clearTimeout(this.playing.timer);
        this.playing = null;
        this.namePlay("▶", "Let time pass");
        this.gap.textContent = "";
        if (done) this.at = { t: Math.max(to, this.at.t), index: this.indexAt(Math.max(to, this.at.t)) };
        this.draw();
        resolve(done);
      };
      this.playing = { finish };
      this.namePlay("❚❚", "Stop the time");
      const frame = now => {
        const passed = Math.max(0, now - began);     // a frame may be older than the click
        while (i < film.length - 1 && film[i].stop <= passed) i++;
        if (passed >= total) return finish(true);
        const piece = film[i], share = (passed - piece.start) / (piece.stop - piece.start);
        const part = piece.slide ? Math.min(1, Math.max(0, share)) : 1;
        const t = piece.from + (piece.to - piece.from) * part;
        if (piece.slide || piece.shown !== true) {
          this.at = { t, index: piece.slide && part < 1 ? piece.index - 0.5 : piece.index };
          this.draw();
          piece.shown = true;
        }
        this.sayGap(piece);
        this.playing.frame = requestAnimationFrame(frame);
      };
      this.playing.frame = requestAnimationFrame(frame);
    });
  }

  sayGap(piece) {
    const gap = piece.to - piece.from;
    this.gap.textContent = piece.slide && gap >= NOTHING_MS && this.pace === "matters"
      ? `${span(gap)} in which nothing happens` : "";
    if (this.gap.textContent && !this.gap.isConnected) this.rows.append(this.gap);
  }

  // What play() shows, piece by piece: {start, stop (of the film), from, to (of the run), index, slide}.
  film(to) {
    const moments = [];
    for (let index = Math.floor(this.at.index) + 1; index < this.timeline.length && this.timeline[index].t <= to;
      index++)
      if (this.timeline[index].matters) moments.push({ index, t: this.timeline[index].t });
    const real = this.pace === "real";
    const most = moments.length > MANY ? RUSH_MS : FILM_MS;
    const beat = real ? 0 : Math.min(BEAT_MS, most / Math.max(1, moments.length));
    const slides = new Set(moments.map(each => each.t)).size;
    const slide = this.still.matches ? 0 : Math.min(SLIDE_MS, most / Math.max(1, slides));
    const pieces = [];
    let from = this.at.t, stop = 0;
    const add = (t, index, length, slides) => {
      pieces.push({ start: stop, stop: stop + length, from, to: t, index, slide: slides });
      stop += length;
      from = t;
    };
    for (const { index, t } of moments) {
      if (t > from) add(t, index, real ? t - from : t - from < 5 ? slide / 4 : slide, true);
      add(t, index, beat, false);
    }
    if (to > from) add(to, this.timeline.length, real ? to - from : slide, true);
    return pieces;
  }

  stop() {
    if (this.playing) this.playing.finish(false);
  }

  // ---- the line of C, and the loop

  buildDetails() {
    this.codeWords = element("p", { className: "where" });
    this.codeFile = element("div", { className: "quiet mono file" });
    this.codeLines = element("ol", {});
    this.code = element("div", { className: "code", tabIndex: 0, role: "region", "aria-label": "The line of C" },
      this.codeLines);
    this.loop = element("div", { className: "loop" });
    this.details.append(element("div", { className: "source" }, this.codeWords, this.codeFile, this.code), this.loop);
    this.lineShown = "";
  }

  // Show the line of this call, until the time moves.
  pin(call) {
    this.pinned = call;
    this.drawDetails();
  }

  drawDetails() {
    if (this.details.hidden) return;
    const { run } = this, { ending } = run;
    let cursor = this.cursor(0);
    const over = hasEnded(run, cursor);
    if (over) cursor = { t: ending.at, order: Infinity };
    const thread = this.pinned ? run.threads.find(each => each.id === this.pinned.thread) : actor(run, cursor);
    const call = this.pinned || (thread && threadState(thread, cursor).call);
    const stopped = over && ending.kind === "stopped";
    if (!call || (over && !stopped && !this.pinned)) {
      setText(this.codeWords, stopped ? "The simulation stopped the server here."
        : over ? "The server has ended." : "");
      this.codeFile.replaceChildren();
      this.code.hidden = true;
      this.lineShown = "";
      return this.drawLoop(run, cursor);
    }
    const when = this.pinned ? duringCall(call, cursor) : cursor;
    const { plain } = meaning(run, call, when);
    const several = run.threads.length > 1;
    const name = (!several ? "the thread" : thread.label === "main thread" ? "the main thread" : thread.label) +
      (this.shown.length > 1 ? ` of ${this.shown[0].names[0]}` : "");
    setText(this.codeWords, stopped && !this.pinned ? `The simulation stopped the server here: ${stillIn(run, call)}.`
      : this.pinned && ended(call, cursor) ? `${timeOf(call)}, ${name} ${plain}.` : `${upper(name)} ${plain}.`);
    this.drawCode(call, run);
    this.drawLoop(run, when);
  }

  drawCode(call, run) {
    const place = call.source || "", colon = place.lastIndexOf(":");
    const file = place.slice(0, colon), number = Number(place.slice(colon + 1)), lines = this.sources(run.stage, file);
    const shown = this.codeSize, key = `${call.name} ${place} ${shown}`;
    if (key === this.lineShown) return;
    this.lineShown = key;
    this.code.hidden = !lines;
    this.codeFile.replaceChildren(...lines
      ? [...call.name === COMPUTES ? ["in "] : [element("code", {}, call.name), ` ${this.called} `],
        this.linkTo(file, number)]
      : [element("code", {}, call.name), run.linesMissing ? ": this browser does not tell which line called it" : ""]);
    if (!lines) return;
    if (file !== this.fileShown || number < this.first + 1 || number > this.first + shown - 2)
      this.first = Math.max(1, Math.min(number - (shown >> 1), lines.length - shown + 1));
    this.fileShown = file;
    const part = lines.slice(this.first - 1, this.first - 1 + shown);
    const indent = Math.min(...part.filter(each => each.trim()).map(each => each.length - each.trimStart().length));
    this.codeLines.replaceChildren(...part.map((words, i) => {
      const own = words.trimStart(), deep = own && words.length - own.length - indent;
      const item = element("li", { value: this.first + i }, "\t".repeat(deep / 4) + " ".repeat(deep % 4) + own);
      if (item.value === number) {           // it wraps where it has to, between words, within its indentation
        item.replaceChildren(...own.split(/(?<=[ (])/).flatMap(each =>
          [element("span", {}, each), element("wbr", {})]));
        item.style.setProperty("--deep", deep);
        item.className = "now";
        item.setAttribute("aria-current", "true");
      }
      return item;
    }));
  }

  called = "called from";
  repository = "";

  linkTo(file, number) {
    const words = `${file}:${number}`;
    return this.repository ? element("a", { href: `${this.repository}/blob/HEAD/${file}#L${number}` }, words) : words;
  }

  // What is in the backlog, what the loop watches, and its nearest deadline.
  drawLoop(run, cursor) {
    const main = threadState(run.threads[0], cursor), { call } = main;
    const queued = run.clients.filter(each => {
      if (!reached(each.connected, each.orderStart, cursor)) return false;
      if (each.accepted !== null && reached(each.accepted, each.orderAccepted, cursor)) return false;
      return !(each.left && each.accepted === null && each.left.t < 0) &&
        !(each.lost && reached(each.lost.t, each.lost.order, cursor));
    });
    const rows = [["in the backlog",
      queued.length ? count12(queued.map(each => clientName(run, each.index))) : "nobody"]];
    const waiting = run.clients.filter(each => clientState(each, cursor) === "queued");
    if (run.clients.some(each => each.job))
      rows.push(["in the queue of the pool",
        waiting.length ? count12(waiting.map(each => clientName(run, each.index))) : "nobody"]);
    if (call && LOOP.has(call.name) && main.state === "call") {
      rows.push(["it watches", call.watched
        ? list(call.watched.map(each => watchWords(run, each))) || "nothing"
        : `${grouped(call.watching)} descriptors`]);
      rows.push(["nearest deadline", call.deadline === null || call.timeout === null || call.timeout > 59000 ? "none"
        : `in ${span(Math.max(0, call.deadline - cursor.t))}`]);
    }
    const key = JSON.stringify(rows);
    if (key === this.loopShown) return;
    this.loopShown = key;
    this.loop.replaceChildren(element("dl", {}, ...rows.flatMap(([name, words]) =>
      [element("dt", {}, name), element("dd", {}, words)])));
  }
}

// Even a descriptor that is watched for nothing has its hang-ups reported.
const watchWords = (run, each) => fileWords(run, each.file) +
  (each.for === "nothing" ? " (for a hang-up)" : each.file === "listener" ? " (for new clients)" : "");

// The moment at which a call ends: all that it waited for has happened.
function duringCall(call, cursor) {
  if (!ended(call, cursor)) return cursor;
  const { start, end, order, orderEnd } = call;
  return { t: end, order: end === start ? order : orderEnd - 0.25 };
}

// A line is pinned whose call was earlier than the moment of the picture.
function timeOf({ start, end }) {
  return start === end ? `At ${span(start)}` : `${start < 0 ? "Until" : `From ${span(start)} to`} ${span(end)}`;
}

const EVENTS = { IN: "something to read", OUT: "room to write", RDHUP: "the end of its input", HUP: "a hang-up",
  ERR: "an error" };

// What a server was doing when the simulation stopped it.
function stillIn(run, call) {
  if (!call.reported?.length || !/while no time passed/.test(run.ending.text))
    return `${call.name} was the last call that was recorded`;
  const reports = call.reported.map(({ file, events }) =>
    `${list(events.split("|").map(each => EVENTS[each] || each))} on ${connectionWords(run, file)}`);
  return `${call.name} returns again and again while no time passes, because it reports ${list(reports)}`;
}

const count12 = names => names.length > 6 ? `${grouped(names.length)} clients` : list(names);

function setText(node, words) {
  if (node.textContent !== words) node.textContent = words;
}

const clientOf = file => /^client (\d+)$/.exec(file)?.[1];

function connectionWords(run, file) {
  return clientOf(file) ? `the connection of ${fileWords(run, file)}` : fileWords(run, file);
}

function fileWords(run, file) {
  const client = clientOf(file);
  return client ? clientName(run, client - 1)
    : { listener: "the listener", "wake-up": "the results of the pool" }[file] || file;
}

const lastMoment = run => run.moments.length ? run.moments[run.moments.length - 1].t : 0;

// Are two runs alike for their clients, and in what their threads wait for?
export function alike(a, b) {
  return shape(a) === shape(b);
}

function shape(run) {
  const clients = run.clients.map(each => [each.label, each.start, each.accepted, each.answered, each.status,
    each.left && each.left.t, each.lost && each.lost.t, each.answers.map(answer => answer.t)]);
  const threads = run.threads.map(thread => {
    const waits = [];
    for (const call of thread.calls) {
      if (call.end !== null && call.end <= Math.max(call.start, 0)) continue;
      // To wait for one client is not to wait for any.
      const one = /^(recv|send)/.test(call.name) ? call.file : "";
      const kind = meaning(run, call, { t: Infinity, order: Infinity }).waits + one, last = waits[waits.length - 1];
      if (last && last[0] === kind && last[2] === call.start) last[2] = call.end;
      else waits.push([kind, Math.max(call.start, 0), call.end]);
    }
    return waits;
  });
  return JSON.stringify([clients, threads, run.idle]);
}

// One sequence for several runs: at each time, the k-th step shows the k-th moment of each.
function merged(runs) {
  const times = new Map();
  runs.forEach((run, row) => {
    for (const moment of run.moments) {
      if (!times.has(moment.t)) times.set(moment.t, runs.map(() => []));
      times.get(moment.t)[row].push(moment);
    }
  });
  const all = [];
  for (const t of [...times.keys()].sort((a, b) => a - b)) {
    const rows = times.get(t), steps = Math.max(...rows.map(each => each.length));
    for (let k = 0; k < steps; k++)
      all.push({ t, orders: rows.map(each => k < each.length ? each[k].order : Infinity),
                 matters: rows.some(each => k < each.length && each[k].matters) });
  }
  return all;
}
