// The picture of a run, up to the cursor: lanes, colours and words as in the recorder's pictures (svg.py).
import {begun, ended, grouped, reached, clientState, threadState, meaning, took, span, list,
  clientName, laneName, COMPUTES} from "./page-run.mjs";

// The hatches of svg.py: without colours, the kinds of waits still differ. page.py puts them here.
const HATCHES = /* hatches */ {};

const KINDS = { queued: "lock" };   // to wait for a thread has the colour that it has in the lane of a thread
const LANE = 32, BAR = 24, SMALL = 13;
const TALL = 46;                   // of a lane whose name stands above it, on a narrow screen
const THIN = 2.5;                  // px: a bar is not narrower
const DENSE = 12;                  // so many clients have a lane each; more share lanes

const escaped = words => String(words).replace(/[&<>"']/g, each => `&#${each.charCodeAt(0)};`);
const widthOf = words => words.length * SMALL * 0.56;

function svgText(x, y, words, style = "", anchor = "start") {
  return `<text x="${x.toFixed(1)}" y="${y}"${style && ` class="${style}"`}` +
    `${anchor === "start" ? "" : ` text-anchor="${anchor}"`}>${escaped(words)}</text>`;
}

function box(kind, x0, x1, y, height, prefix) {
  const width = Math.max(THIN, x1 - x0).toFixed(1);
  const shape = `x="${x0.toFixed(1)}" y="${y.toFixed(1)}" width="${width}" height="${height}"`;
  return `<rect class="${kind}" ${shape}/>` + (kind in HATCHES ? `<rect ${shape} fill="url(#${prefix}${kind})"/>` : "");
}

// The first of the labels that has room. A label is a list of [words, style].
function fitted(x, room, y, labels, anchor) {
  for (const label of labels) {
    const wide = label.reduce((sum, [words]) => sum + widthOf(words) + 6, 0);
    if (wide > room) continue;
    return `<text x="${x.toFixed(1)}" y="${y}"${anchor ? ` text-anchor="${anchor}"` : ""}>` +
      label.map(([words, style], i) => `<tspan class="${style}"${i ? ' dx="6"' : ""}>${escaped(words)}</tspan>`)
      .join("") +
      "</text>";
  }
  return "";
}

// An axis that ends at a round time after the cursor, and not where the run ends: that would tell the ending.
export function axisEnd(t, least) {
  for (let end = least; ; end *= 2) if (t * 1.04 <= end) return end;
}

export class Picture {
  constructor(width, to, prefix) {
    this.width = width;
    this.wide = width >= 620;
    this.left = this.wide ? 124 : 6;
    this.right = width - (this.wide ? 150 : 74);
    this.from = -to * (this.wide ? 0.1 : 0.12);
    this.to = to;
    this.prefix = prefix;
  }

  x(t) {
    const part = (Math.min(Math.max(t, this.from), this.to) - this.from) / (this.to - this.from);
    return this.left + part * (this.right - this.left);
  }

  time(x) {
    return this.from + (x - this.left) / (this.right - this.left) * (this.to - this.from);
  }

  draw(run, cursor) {
    this.run = run;
    this.cursor = cursor;
    this.names = "";
    this.y = this.wide ? 24 : 20;
    const top = this.y, body = [];
    for (const lane of this.clientLanes()) body.push(lane);
    body.push(this.signalLane());
    for (const lane of this.threadLanes()) body.push(lane);
    const x = this.x(cursor.t), bottom = this.y;
    const height = Math.round(bottom + 6);
    return `<svg xmlns="http://www.w3.org/2000/svg" class="waits" viewBox="0 0 ${this.width} ${height}" ` +
      `width="${this.width}" height="${height}" aria-hidden="true">${patterns(this.prefix)}` +
      `${this.grid(top, bottom - 2)}${this.arrivals(top, bottom)}${body.join("")}` +
      `<path class="cursor" d="M${x.toFixed(1)},${top - 4} V${bottom}"/>${this.names}</svg>`;
  }

  grid(top, bottom) {
    const rough = 80 * (this.to - this.from) / (this.right - this.left);
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map(each => each * power).find(each => each >= rough * 0.999);
    let parts = "";
    for (let i = 0; i * step <= this.to; i++) {
      const x = this.x(i * step);
      parts += `<path class="grid" d="M${x.toFixed(1)},${top - 2} V${bottom}"/>` +
        svgText(x, top - 7, i ? span(i * step) : "0", "quiet", "middle");
    }
    return parts;
  }

  // A dotted line where a client arrives or a signal comes.
  arrivals(top, bottom) {
    const times = new Set();
    for (const client of this.run.clients)
      if (client.start >= 0 && reached(client.start, client.orderStart, this.cursor)) times.add(client.start);
    for (const signal of this.run.signals) if (reached(signal.t, signal.order, this.cursor)) times.add(signal.t);
    return [...times].slice(-40).map(t =>
      `<path class="arrival" d="M${this.x(t).toFixed(1)},${top - 2} V${bottom - 4}"/>`).join("");
  }

  // The name of a lane, and where its bars begin.
  lane(name, height = BAR) {
    const y = this.wide ? this.y : this.y + 15;
    const words = this.wide && widthOf(name) > 118 ? name.replace(/^client /, "").slice(0, 15) : name;
    this.y += (this.wide ? LANE : TALL) + height - BAR;
    this.names += this.wide ? svgText(4, y + 16, words, "strong") : svgText(6, y - 4, words, "strong lane-name");
    return y;
  }

  *clientLanes() {
    const { run, cursor } = this;
    const here = run.clients.filter(each => reached(each.start, each.orderStart, cursor));
    if (!here.length && !run.idle) {
      const y = this.lane("client");
      yield `<rect class="lane" x="${this.left}" y="${y}" width="${this.right - this.left}" height="${BAR}"/>`;
    }
    if (run.idle) yield this.idleLane(run.idle);
    if (here.length <= DENSE)
      for (const client of here) yield this.clientLane(client);
    else
      for (const group of groups(here)) yield group.length === 1 ? this.clientLane(group[0]) : this.denseLane(group);
  }

  idleLane(number) {
    const y = this.lane(this.wide ? "idle clients" : `${grouped(number)} idle clients`);
    const x0 = this.x(this.from), x1 = this.x(this.cursor.t);
    return box("accepted", x0, Math.max(x1, x0 + 4), y, BAR, this.prefix) +
      this.label(x0, x1, y, [[[`${grouped(number)}`, "strong"],
                                [this.run.result.idle.accepted < number
                                  ? "silent, more than the server accepts" : "connected, and silent", ""]],
                             [[grouped(number), "strong"]]]);
  }

  // A label in the bar if it fits, or else to the right of the cursor, where nothing is drawn yet.
  label(x0, x1, y, labels, within = labels) {
    const inside = x1 - x0 - 10, after = x1 >= this.x(this.cursor.t) - 1 ? this.width - x1 - 10 : 0;
    for (const [i, label] of labels.entries()) {
      const drawn = fitted(x0 + 5, inside, y + 16, [within[i]]) || fitted(x1 + 7, after, y + 16, [label]);
      if (drawn) return drawn;
    }
    return "";
  }

  // The bars of a client: [kind, from, to].
  phases(client) {
    const { cursor } = this, now = cursor.t;
    const stop = Math.min(now, client.answered ?? Infinity, client.left?.t ?? Infinity, client.lost?.t ?? Infinity);
    const connected = Math.min(client.connected ?? Infinity, client.accepted ?? Infinity, stop);
    const accepted = Math.min(client.accepted ?? Infinity, stop);
    const taken = client.accepted !== null && reached(client.accepted, client.orderAccepted, cursor);
    const phases = [["way", client.start, connected], ["backlog", connected, accepted]];
    const { queued, start } = client.job || {};
    if (taken && queued && begun(queued, cursor)) {
      const served = start && begun(start, cursor);
      const from = Math.min(queued.start, stop), to = served ? Math.min(start.start, stop) : stop;
      if (from > accepted) phases.push(["accepted", accepted, from]);
      phases.push(["queued", from, to]);
      if (served) phases.push(["accepted", to, stop]);
    } else if (taken) phases.push(["accepted", accepted, stop]);
    const state = clientState(client, cursor);
    return phases.filter(([kind, from, to]) => to > from || kind === state);
  }

  clientLane(client) {
    const { run, cursor } = this;
    const y = this.lane(laneName(run, client));
    const state = clientState(client, cursor);
    // With a pool, the thread that accepts and sends is not the one that works for the client.
    const { start, thread } = client.job || {};
    const server = run.pool ? start && begun(start, cursor) && thread
      : run.threads.length > 1 && state === "answered" && run.threads.find(each => each.id === client.thread);
    const served = server ? `served by ${server.label.replace(/^main/, "the main")}` : "not yet answered";
    let drawn = "";
    const phases = this.phases(client);
    phases.forEach(([kind, from, to], i) => {
      const x0 = this.x(from), x1 = this.x(to), current = i === phases.length - 1;
      drawn += box(KINDS[kind] || kind, x0, x1, y, BAR, this.prefix);
      const words = { way: [[["on its way", ""]]],
        backlog: [[["in the backlog", "strong"], ["connected, but not yet accepted", ""]],
          [["in the backlog", "strong"]]],
        queued: [[["queued", "strong"], ["waits for a thread of the pool", ""]], [["queued", "strong"]]],
        accepted: [[["accepted", "strong"], [served, ""]], [["accepted", "strong"]]] }[kind];
      drawn += current && state === kind ? this.label(x0, x1, y, words) : fitted(x0 + 5, x1 - x0 - 6, y + 16, words);
    });
    // Earlier answers on the same connection
    for (const answer of client.answers.slice(0, -1))
      if (reached(answer.t, answer.order, cursor))
        drawn += `<path class="tick" d="M${this.x(answer.t).toFixed(1)},${y} v${BAR}"/>`;
    const end = { answered: client.answered, left: client.left?.t, lost: client.lost?.t }[state];
    if (end === undefined) return drawn;
    const x = this.x(end) + 8, room = this.width - x;
    if (state === "answered") {
      const status = client.status && client.status !== "200" ? ` with ${client.status}` : "", time = took(client);
      const words = [time ? `✓ answered${status} after ${span(time)}` : `✓ answered${status} immediately`,
                     time ? `✓${status} after ${span(time)}` : "✓ immediately", `✓ ${span(time)}`, "✓"];
      return drawn + fitted(x, room, y + 16, words.map(each => [[each, "strong"]]));
    }
    const words = state === "left" ? ["✗ left, without an answer", "✗ left"]
      : client.status === "refused" ? ["✗ refused: nobody listens", "✗ refused"]
      : client.sent === null ? ["✗ closed by the server", "✗ closed"] : ["✗ lost: no answer", "✗ lost"];
    return drawn + fitted(x, room, y + 16, words.map(each => [[each, "strong"]]));
  }

  // Many clients in one lane: a row for each, as thin as it has to be.
  denseLane(group) {
    const { cursor } = this;
    const height = Math.max(BAR, Math.min(80, group.length));
    const name = `${grouped(group.length)} × ${group[0].label}`;
    const y = this.lane(this.wide ? name : `${grouped(group.length)} clients ${group[0].label}`, height);
    const row = height / group.length, paths = { way: "", backlog: "", queued: "", accepted: "" }, last = {};
    group.forEach((client, i) => {
      for (const [kind, from, to] of this.phases(client)) {
        const x0 = this.x(from), x1 = Math.max(this.x(to), x0 + 1), previous = last[kind];
        if (previous && previous.i === i - 1 && Math.abs(previous.x0 - x0) < 0.5 && Math.abs(previous.x1 - x1) < 0.5) {
          previous.i = i;
          previous.rows++;
        } else {
          if (previous) paths[kind] += piece(previous, y, row);
          last[kind] = { i, first: i, rows: 1, x0, x1 };
        }
      }
    });
    for (const [kind, previous] of Object.entries(last)) paths[kind] += piece(previous, y, row);
    const drawn = Object.entries(paths)
      .map(([kind, d]) => d && `<path class="${KINDS[kind] || kind} dense" d="${d}"/>`).join("");
    const answered = group.filter(each => clientState(each, cursor) === "answered").length;
    const mark = answered ? "✓ " : "";
    const x = this.x(Math.max(...group.map(each => Math.min(each.answered ?? cursor.t, cursor.t)))) + 8;
    return drawn + fitted(x, this.width - x, y + height / 2 + 4,
      [[[`${mark}${grouped(answered)} of ${grouped(group.length)} answered`, "strong"]],
       [[`${mark}${grouped(answered)}`, "strong"]]]);
  }

  // The name of a signal, beside the dotted line where it came.
  signalLane() {
    const here = this.run.signals.filter(each => reached(each.t, each.order, this.cursor));
    if (!here.length) return "";
    const y = this.lane("signals");
    return here.map(({ t, name }, i) => {
      const x = this.x(t), room = (i + 1 < here.length ? this.x(here[i + 1].t) : this.width) - x - 8;
      return fitted(x + 5, room, y + 16, [[[`SIG${name}`, "strong"]]]);
    }).join("");
  }

  *threadLanes() {
    const { run, cursor } = this;
    const here = run.threads.filter(each => threadState(each, cursor).state !== "absent");
    const alive = here.length > DENSE ? here.filter(each => !(each.end !== null && each.end <= each.start)) : here;
    const shown = alive.length > DENSE ? [alive[0]] : alive;
    for (const thread of shown) yield this.threadLane(thread);
    if (shown.length < alive.length) yield this.denseThreads(alive.slice(1));
  }

  threadLane(thread) {
    const { run, cursor, prefix } = this;
    const y = this.lane(thread.label);
    const now = cursor.t, state = threadState(thread, cursor);
    const stopped = run.ending && run.ending.kind === "stopped" ? run.ending.at : Infinity;
    const stop = thread.end !== null && reached(thread.end, thread.orderEnd, cursor)
      ? thread.end : Math.min(now, stopped);
    let waits = "", work = "", last = Math.max(thread.start, this.from), ticks = -Infinity, thin = {};
    const computes = (from, to) => {
      if (to <= from) return;
      work += box("work", this.x(from), this.x(to), y, BAR, prefix) +
        fitted(this.x(from) + 5, this.x(to) - this.x(from) - 6, y + 16, [[["computing", "inverse"]]]);
    };
    for (const call of thread.calls) {
      if (!begun(call, cursor)) break;
      const end = call.end === null || !ended(call, cursor) ? Math.max(now, call.start) : call.end;
      if (end < this.from) continue;
      if (call.start > last && call !== thread.calls[0]) computes(last, call.start);
      last = end;
      const current = call === state.call && state.state === "call";
      if (end <= call.start && !(current && meaning(run, call, cursor).waits && call.end !== call.start)) {
        const x = this.x(call.start);
        if (x - ticks > 1.5)
          work += `<rect class="work" x="${(x - 1.2).toFixed(1)}" y="${y}" width="2.5" height="${BAR}"/>`;
        ticks = x;
        if (current) work += this.label(x, x, y, this.callLabels(call));
        continue;
      }
      const kind = meaning(run, call, cursor).waits || "other", x0 = this.x(call.start), x1 = this.x(end);
      if (x1 - x0 < THIN && !current) {          // many waits of one kind are one bar
        if (thin.kind !== kind || x0 > thin.x1 + 1) {
          waits += thin.kind ? box(thin.kind, thin.x0, thin.x1, y, BAR, prefix) : "";
          thin = { kind, x0 };
        }
        thin.x1 = x1;
        continue;
      }
      waits += box(kind, x0, x1, y, BAR, prefix);
      const within = this.callLabels(call, kind);
      waits += current ? this.label(x0, x1, y, this.callLabels(call), within)
        : fitted(x0 + 5, x1 - x0 - 6, y + 16, within);
    }
    if (thin.kind) waits += box(thin.kind, thin.x0, thin.x1, y, BAR, prefix);
    if (state.state === "computes") computes(last, stop);
    const served = stop <= thread.start && run.clients.find(each => each.thread === thread.id);
    if (served) work += fitted(this.x(stop) + 7, this.width - this.x(stop) - 10, y + 16,
      [[[`serves ${clientName(run, served.index)}, and ends`, ""]], [["ends", ""]]]);
    return waits + work;
  }

  // bar: the kind of the bar in which they stand, if they do. That of work is as dark as words are.
  callLabels(call, bar = "") {
    const { run, cursor } = this, { ending } = run;
    const stopped = ending?.kind === "stopped" && cursor.t >= ending.at && call.end === ending.at;
    const plain = stopped ? "is stopped" : meaning(run, call, cursor).plain, name = [call.name, "mono"],
      source = [call.source || "", "mono quiet"];
    if (call.name === COMPUTES) {
      const [strong, mono] = bar === "work" ? ["strong inverse", "mono inverse"] : ["strong", "mono quiet"];
      return [[[plain, strong], [call.source || "", mono]], [[plain, strong]], [[plain.replace(/,.*/, ""), strong]]];
    }
    return [[[plain, "strong"], name, source], [[plain, "strong"], name], [[plain.replace(/,.*/, ""), "strong"], name],
            [[plain, "strong"]], [[plain.replace(/,.*/, ""), "strong"]], [name, source], [name]];
  }

  // Many threads in one lane: how many are in which call.
  denseThreads(threads) {
    const y = this.lane(`${grouped(threads.length)} threads`);
    const where = new Map();
    for (const thread of threads) {
      const { state, call } = threadState(thread, this.cursor);
      const words = state === "ended" ? "ended" : call ? call.name : "started";
      where.set(words, (where.get(words) || 0) + 1);
    }
    const words = list([...where].map(([name, number]) =>
      `${grouped(number)} ${name === "ended" ? "" : "in "}${name}`));
    const x0 = this.x(Math.min(...threads.slice(0, 50).map(each => each.start))), x1 = this.x(this.cursor.t);
    let drawn = box("other", x0, Math.max(x1, x0 + 3), y, BAR, this.prefix), begin = x0;
    for (const { from, to, most } of this.sleeps(threads)) {
      const left = this.x(from), right = Math.max(this.x(to), left + 3);
      drawn += box("delay", left, right, y, BAR, this.prefix);
      if (to >= this.cursor.t && where.has("clock_nanosleep")) continue;   // and sleeps now
      drawn += fitted(left + 5, right - left - 6, y + 16, [[[`${grouped(most)} in clock_nanosleep`, "strong"]]]);
      begin = right;
    }
    return drawn + this.label(begin, x1, y, [[[words, "strong"]]]);
  }

  // From when to when any of these threads slept for a client, and how many at most.
  sleeps(threads) {
    const changes = threads.flatMap(each => each.calls).flatMap(call =>
      call.name !== "clock_nanosleep" || !begun(call, this.cursor) ? []
        : [[call.start, 1], [Math.min(call.end ?? Infinity, this.cursor.t), -1]])
      .sort(([t, up], [other, down]) => t - other || down - up);
    const found = [];
    let now = 0;
    for (const [t, change] of changes) {
      if (now === 0) found.push({ from: t, to: t, most: 0 });
      now += change;
      const last = found[found.length - 1];
      [last.to, last.most] = [t, Math.max(last.most, now)];
    }
    return found;
  }
}

const piece = ({ first, rows, x0, x1 }, y, row) =>
  `M${x0.toFixed(1)},${(y + first * row).toFixed(2)} H${x1.toFixed(1)} v${(rows * row).toFixed(2)} H${x0.toFixed(1)} Z`;

// Clients that asked for the same path, next to each other.
function groups(clients) {
  const found = [];
  for (const client of clients) {
    const last = found[found.length - 1];
    if (last && last[0].label === client.label) last.push(client);
    else found.push([client]);
  }
  if (found.length <= DENSE) return found;
  const byPath = new Map();
  for (const client of clients) byPath.set(client.label, [...byPath.get(client.label) || [], client]);
  return [...byPath.values()];
}

function patterns(prefix) {
  return "<defs>" + Object.entries(HATCHES).map(([kind, path]) =>
    `<pattern id="${prefix}${kind}" width="8" height="8" patternUnits="userSpaceOnUse">` +
    `<path class="hatch-${kind}" d="${path}" stroke-width="1.5"/></pattern>`).join("") + "</defs>";
}
