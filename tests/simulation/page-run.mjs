// A run of the simulation, told in the recorder's words.
//
// What runs is the C server. This file only reads its log: what each call means (as tests/recorder/meaning.py says
// it of a recording), what is known at a moment (the cursor), and why a client waited. It decides nothing.
//
// Times are milliseconds since the experiment began; null is never. The cursor is {t, order}: calls take no time
// in the simulated clock, so order (the number of a call) tells those of one moment apart.

import {numberOf, routeOf} from "./grammar.mjs";

export const LOOP = new Set(["epoll_pwait", "epoll_wait", "ppoll", "poll", "pselect6", "select"]);
export const COMPUTES = "(computes)";
export const SOON = 20;                   // ms: an answer that comes so soon has not waited

export function span(ms) {
  if (ms >= 999.5) return +(ms / 1e3).toFixed(3) + " s";
  if (ms > 0 && ms < 0.95) return Math.round(ms * 1e3) + " µs";
  return +ms.toFixed(ms < 9.95 ? 1 : 0) + " ms";
}

// 10,000
export const grouped = number => String(number).replace(/\B(?=(\d{3})+$)/g, ",");
export const count = (number, noun) => `${grouped(number)} ${noun}${number === 1 ? "" : "s"}`;
export const list = words => words.join(", ").replace(/, ([^,]*)$/, " and $1");

// Has something that happens at t, as the order-th event, happened at the cursor?
export function reached(t, order, cursor) {
  return t !== null && (t < cursor.t || (t === cursor.t && order <= cursor.order));
}

export const begun = (call, cursor) => reached(call.start, call.order, cursor);
export const ended = (call, cursor) => reached(call.end, call.orderEnd, cursor);

// Has the server ended at the cursor? It has if nothing of that time is still to come.
export function hasEnded({ ending, moments }, cursor) {
  if (!ending || ending.kind === "waiting" || cursor.t < ending.at) return false;
  return moments.every(({ t, order }) => t !== ending.at || reached(t, order, cursor));
}

// ---- from the result of a simulation

const CLIENT_MOMENT = -1;          // what clients do at some time comes before what the server does then

export function viewOf(result, events = []) {
  const steps = viewSteps(result, events);
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value;
  }
}

const STEP = 200;                  // calls

// The same in steps. The last returns the view.
export function* viewSteps(result, events = []) {
  const number = (name, otherwise) => numberOf(result.options, name, otherwise);
  const run = { name: [result.stage, ...result.options].join(" "), stage: result.stage, options: result.options, result,
    delay: number("--delay", 10) * 1e3, pool: number("--threads", 0) > 0 && !result.stage.startsWith("02"),
    end: result.now, ending: result.end, idle: result.idle ? result.idle.count : 0,
    signals: events.filter(each => each.action === "TERM" || each.action === "INT")
      .map(each => ({ t: each.at, order: CLIENT_MOMENT, name: each.action })),
    broken: result.broken || [], linesMissing: Boolean(result.linesMissing) };
  const threads = new Map(result.threads.map(each => [each.id, { id: each.id, label: each.name, start: each.start,
    end: each.end, calls: [] }]));
  for (const [order, call] of result.calls.entries()) {
    if (order % STEP === 0) yield;
    const failed = call.value < 0 ? (/-1 (E\w+)/.exec(call.result) || ["", "an error"])[1] : "";
    const client = call.client === null || call.client === undefined ? null : call.client - 1;
    const watchesClients = call.watched === null ||
      (call.watched || []).some(each => /^(listener|client)/.test(each.file));
    threads.get(call.thread).calls.push({ ...call, order, orderEnd: order, failed, client, watchesClients,
      source: ownLine(call), timeout: call.timeout === undefined ? null : call.timeout });
  }
  run.threads = [...threads.values()];
  yield;
  for (const thread of run.threads) {
    thread.order = thread.calls.length ? thread.calls[0].order - 0.5 : CLIENT_MOMENT;
    thread.orderEnd = thread.calls.length ? thread.calls[thread.calls.length - 1].order : CLIENT_MOMENT;
    thread.calls.forEach((call, i) => {          // a call that waited ends just before the next one begins
      if (call.end !== null && call.end > call.start && thread.calls[i + 1])
        call.orderEnd = thread.calls[i + 1].order - 0.5;
    });
    nameTheServed(thread);
  }
  const orderOf = new Map();                      // "accept 3", "send 3": the number of the last such call
  for (const [order, call] of result.calls.entries()) {
    if (!call.client) continue;
    if (/^accept/.test(call.name)) orderOf.set(`accept ${call.client}`, order);
    if (/^(send|write)/.test(call.name) && call.value > 0) orderOf.set(`send ${call.client} ${call.end}`, order);
  }
  run.clients = result.clients.map((client, index) => clientOf(client, index, orderOf));
  if (run.pool) nameTheJobs(run);
  yield;
  run.alike = new Map();
  for (const { label, index } of run.clients) run.alike.set(label, [...run.alike.get(label) || [], index]);
  yield;
  run.moments = yield* momentsOf(run);
  return run;
}

// The line to show: of the toolkit's own files, and not of libev's.
function ownLine({ line, stack }) {
  if (!line || !line.includes("libev-")) return line;
  const own = (stack || []).find(place => !place.includes("libev-"));
  return own ? own.split(" ")[1] : null;
}

// While a thread sleeps or computes, whom does it serve? The client whose request it has read last.
function nameTheServed(thread) {
  let last = null;
  for (const call of thread.calls) {
    if (/^recv/.test(call.name) && call.value > 0 && !/MSG_PEEK/.test(call.args)) last = call.client;
    if (/^(send|close)/.test(call.name) && call.client === last) last = null;
    if (call.client === null && serves(call)) call.client = last;
  }
}

const serves = call => /nanosleep$/.test(call.name) || call.name === COMPUTES;

// Which thread of a pool works for whom? The log does not tell. The queue of a pool is one: who has sent its request
// first is served first. Where the answers came as that predicts, each /slow has a job: {queued, start, thread}.
function nameTheJobs(run) {
  const slow = run.clients.filter(each => routeOf(each) === "/slow");
  const read = new Map();                         // the last call that read from a client
  for (const call of run.threads[0].calls)
    if (/^recv/.test(call.name) && call.value > 0 && !/MSG_PEEK/.test(call.args)) read.set(call.client, call);
  const queue = slow.filter(each => each.sent !== null && read.has(each.index))
    .sort((a, b) => read.get(a.index).order - read.get(b.index).order);
  const jobs = run.threads.slice(1).flatMap(thread => thread.calls.filter(serves).map(call => ({ call, thread })))
    .sort((a, b) => a.call.order - b.call.order);
  const known = jobs.length <= queue.length && slow.every(each => ["get", "half"].includes(each.action)) &&
    queue.every(({ answered }, i) => answered === null || Math.abs(answered - jobs[i]?.call.end) < 1);
  if (!known) return;
  queue.forEach((client, i) => {
    const { call = null, thread = null } = jobs[i] || {};
    client.job = { queued: read.get(client.index), start: call, thread };
    if (call) call.client = client.index;
  });
}

function clientOf(client, index, orderOf) {
  const order = (what, t) => orderOf.get(`${what} ${client.number}` + (what === "send" ? ` ${t}` : "")) ??
    CLIENT_MOMENT;
  const left = client.leftBy === "reset" || client.leftBy === "close"
    ? { t: client.left, order: CLIENT_MOMENT, by: client.leftBy } : null;
  const answers = (client.answers || []).map(each => ({ ...each, t: each.at, order: order("send", each.at) }));
  const answered = client.answered ?? null;
  const lost = answered === null && !left && client.ended !== null && client.ended !== undefined
    ? { t: client.ended, order: Infinity, by: client.status } : null;
  return { index, number: client.number, label: labelOf(client), called: calledOf(client), action: client.action,
    path: client.path, requests: client.requests || 0, slow: client.action === "get" && routeOf(client) === "/slow",
    start: client.start, orderStart: CLIENT_MOMENT, connected: client.connected,
    sent: client.sent, accepted: client.accepted, orderAccepted: order("accept"), answered,
    orderAnswered: order("send", answered),
    done: client.done, left, lost, status: client.status, answers, thread: client.thread,
    halfClosed: client.leftBy === "half-close" ? client.left : null, retries: client.retries || [] };
}

function labelOf({ action, path, requests }) {
  if (action === "pipeline") return requests === 2 ? "/slow, /fast" : `${requests} × ${path}`;
  return { silent: "silent", half: path && path !== "/fast" ? `half ${path}` : "half" }[action] || path || action;
}

// What a sentence calls such a client.
function calledOf({ action, path }) {
  return { silent: "the silent client", half: "the client with half a request",
    pipeline: "the pipelining client" }[action] || path || action;
}

// ---- words

const WORDS = {
  nothing: "does something that is not about clients",
  lock: "waits for a lock or for another thread",
};

// What a call does, as far as it can be told at the cursor: {plain, waits, detail}. waits is one of the recorder's
// kinds: clients, delay, lock, thread, other.
export function meaning(run, call, cursor) {
  const done = ended(call, cursor), waited = !done || call.end > call.start;
  const idle = call.file === "idle client" ? "an idle client" : null;
  const who = call.client === null ? idle : clientName(run, call.client);
  if (LOOP.has(call.name)) {
    const most = call.timeout === null || call.timeout >= 59000 ? "" : `, ${span(call.timeout)} at most`;
    if (call.timeout === 0) return { plain: "looks for events, without waiting", waits: "", detail: true };
    if (call.watchesClients) return { plain: "waits for any client" + most, waits: "clients" };
    return call.watched && call.watched.length
      ? { plain: "waits, but not for clients" + most, waits: "other" } : { plain: "sleeps" + most, waits: "delay" };
  }
  if (call.name === COMPUTES) return { plain: `computes${who ? `, serving ${who}` : ""}`, waits: "work" };
  switch (call.name) {
    case "accept": case "accept4":
      if (done && call.failed) return call.failed === "EAGAIN"
        ? { plain: "finds the backlog empty", waits: "", detail: true }
        : { plain: `cannot accept a client: ${call.failed}`, waits: "" };
      if (!done) return { plain: "waits for a client", waits: "clients" };
      return { plain: (waited ? "waits for a client, and " : "") + `accepts ${who || "a client"}`, waits: "clients" };
    case "recv": case "recvfrom": case "read":
      if (who === null) return { plain: WORDS.nothing, waits: waited ? "other" : "", detail: true };
      if (/MSG_PEEK/.test(call.args)) return { plain: `looks whether ${who} has sent more`, waits: "", detail: true };
      if (!done) return { plain: `waits for the request of ${who}`, waits: "clients" };
      if (call.failed === "EAGAIN") return waited
        ? { plain: `waits in vain for the request of ${who}`, waits: "clients" }
        : { plain: `finds nothing to read from ${who}`, waits: "", detail: true };
      if (call.failed) return { plain: `finds that ${who} has reset its connection`, waits: waited ? "clients" : "" };
      if (call.value === 0)
        return { plain: `sees that ${who} has closed its connection`, waits: waited ? "clients" : "" };
      return { plain: `reads the request of ${who}`, waits: "clients" };
    case "send": case "sendto": case "write":
      if (who === null) return { plain: WORDS.nothing, waits: "", detail: true };
      if (done && call.failed)
        return { plain: `cannot send to ${who}${call.failed === "EAGAIN" ? " now" : `: ${call.failed}`}`, waits: "" };
      return { plain: done ? `sends ${count(call.value, "byte")} to ${who}` : `sends to ${who}`, waits: "clients" };
    case "close": case "shutdown":
      return who === null ? { plain: WORDS.nothing, waits: "", detail: true }
        : { plain: `closes the connection of ${who}`, waits: "", detail: true };
    case "epoll_ctl":
      return who === null ? { plain: WORDS.nothing, waits: "", detail: true }
        : { plain: `${/DEL/.test(call.args) ? "no longer watches" : "watches"} the connection of ${who}`, waits: "",
          detail: true };
    case "clock_nanosleep": case "nanosleep":
      return { plain: `sleeps${who ? `, serving ${who}` : ""}`, waits: "delay" };
    case "unsupported":
      return { plain: "makes a call that is not simulated", waits: "" };
  }
  if (/^(pthread_(mutex_lock|cond_wait|cond_timedwait|join)|sem_wait|futex)/.test(call.name))
    return { plain: WORDS.lock, waits: waited ? "lock" : "", detail: !waited };
  if (who !== null)
    return { plain: `${call.name === "getpeername" ? "looks up the address" : "prepares the connection"} of ${who}`,
      waits: "", detail: true };
  return waited ? { plain: "waits for something that is not about clients", waits: "other" }
    : { plain: WORDS.nothing, waits: "", detail: true };
}

// What a sentence calls a client: its path, numbered if several clients have asked for that path.
export function clientName(run, index) {
  const client = run.clients[index];
  return client.called + amongAlike(run, client);
}

// What the picture calls it.
export function laneName(run, client) {
  const among = amongAlike(run, client);
  return among ? client.label + among : `client ${client.label}`;
}

function amongAlike(run, { label, index }) {
  const alike = run.alike.get(label);
  return alike.length === 1 ? "" : ` (${grouped(alike.indexOf(index) + 1)} of ${grouped(alike.length)})`;
}

// ---- what is known at the cursor

// absent, way, backlog, accepted, queued (for a thread of the pool), answered, left or lost
export function clientState(client, cursor) {
  if (!reached(client.start, client.orderStart, cursor)) return "absent";
  if (client.left && reached(client.left.t, client.left.order, cursor) &&
      !reached(client.answered, client.orderAnswered, cursor)) return "left";
  if (reached(client.answered, client.orderAnswered, cursor)) return "answered";
  if (client.lost && reached(client.lost.t, client.lost.order, cursor)) return "lost";
  if (client.job && begun(client.job.queued, cursor) && !(client.job.start && begun(client.job.start, cursor)))
    return "queued";
  if (reached(client.accepted, client.orderAccepted, cursor)) return "accepted";
  return reached(client.connected, client.orderStart, cursor) ? "backlog" : "way";
}

// The call that a thread is in, or the last one that it made: {state: absent | before | call | computes | ended, call}
export function threadState(thread, cursor) {
  if (!reached(thread.start, thread.order, cursor)) return { state: "absent", call: null };
  if (thread.end !== null && reached(thread.end, thread.orderEnd, cursor)) return { state: "ended", call: null };
  let low = 0, high = thread.calls.length;   // the first call that has not begun
  while (low < high) {
    const middle = (low + high) >> 1;
    if (begun(thread.calls[middle], cursor)) low = middle + 1;
    else high = middle;
  }
  if (low === 0) return { state: "before", call: null };
  const call = thread.calls[low - 1];
  return { state: call.end === null || cursor.t <= call.end ? "call" : "computes", call };
}

// The thread that did something last: the one whose code is worth a look.
export function actor(run, cursor) {
  let found = null, last = -1;
  for (const thread of run.threads) {
    const { state, call } = threadState(thread, cursor);
    if (call && state !== "ended" && call.order > last) [found, last] = [thread, call.order];
  }
  return found;
}

const doing = call => call.name === COMPUTES ? `computing${call.source ? `, in ${call.source}` : ""}`
  : `in ${call.name}${called(call)}`;
export const called = call => call.source ? `, called from ${call.source}` : "";

export function threadWords(run, thread, cursor) {
  const { state, call } = threadState(thread, cursor);
  if (state === "before") return "has not begun its first call";
  if (state === "computes") return "computes";
  if (state !== "call") return "";
  const { plain } = meaning(run, call, cursor);
  if (call.name === COMPUTES) return `${plain}${call.source ? ` (in ${call.source})` : ""}`;
  return `${plain} (${call.name}${called(call)})`;
}

export function clientWords(run, client, cursor) {
  return `${clientName(run, client.index)} ` + {
    way: "is on its way", backlog: "is in the backlog", accepted: "is accepted and not yet answered",
    queued: "waits for a thread of the pool", answered: "is answered", left: "has left",
    lost: client.status === "refused" ? "is refused" : "has lost its connection" }[clientState(client, cursor)];
}

// All of it as one sentence, for readers who do not see the picture.
export function describe(run, cursor) {
  const over = hasEnded(run, cursor) && run.ending.kind !== "stopped";
  const threads = over ? ["the server has ended"]
    : run.threads.slice(0, 8).map(each => [each.label, threadWords(run, each, cursor)]).filter(([, words]) => words)
      .map(([label, words]) => `${label.replace(/^main/, "the main")} ${words}`);
  const clients = run.clients.filter(each => clientState(each, cursor) !== "absent").slice(-8);
  return [...threads, ...clients.map(each => clientWords(run, each, cursor))].join("; ") + ".";
}

// ---- the moments: a client does something, a thread begins a call. Stepping goes through all of them; playing
// only through those that matter.

function* momentsOf(run) {
  const all = [], after = { t: Infinity, order: Infinity };
  for (const thread of run.threads)
    for (const call of thread.calls) {
      if (call.order % STEP === 0) yield;
      if (call.start >= 0)
        all.push({ t: call.start, order: call.order, matters: !meaning(run, call, after).detail, call });
    }
  for (const client of run.clients) {
    all.push({ t: client.start, order: client.orderStart, matters: true, client });
    if (client.left) all.push({ t: client.left.t, order: client.left.order, matters: true, client });
    if (client.lost) all.push({ t: client.lost.t, order: client.lost.order, matters: true, client });
  }
  for (const signal of run.signals) all.push({ t: signal.t, order: signal.order, matters: true });
  return all.sort((a, b) => a.t - b.t || a.order - b.order);
}

// ---- why a client waited, or why it did not: the recorder's sentence (tests/recorder/verdict.py)

export const took = client => client.answered === null ? null : client.answered - client.start;

function who(run, thread) {
  if (run.threads.length === 1) return "the only thread";
  return thread.label === "main thread" ? "the main thread" : thread.label;
}

// What a thread did most of the time from begin to end: [what, ms, call].
function mostly(thread, begin, end) {
  const times = new Map();
  const add = (what, ms, call) => {
    const entry = times.get(what) || [what, 0, call];
    entry[1] += ms;
    times.set(what, entry);
  };
  let last = Math.max(begin, thread.start), code = null;
  for (const call of thread.calls) {
    const start = Math.max(call.start, begin), stop = Math.min(call.end === null ? end : call.end, end);
    if (start > end) break;
    if (stop < begin) { code = call; continue; }
    if (start > last) add("computing", start - last, code);
    if (stop > start) add(doing(call), stop - start, call);
    last = Math.max(last, stop);
    code = call;
  }
  if (end > last) add("computing", end - last, code);
  return [...times.values()].sort((a, b) => b[1] - a[1])[0] || ["", 0, null];
}

// {waited, sentence, call}: call is the one to look at.
export function why(run, client) {
  const name = clientName(run, client.index);
  const end = client.answered ?? client.left?.t ?? client.lost?.t ?? run.end;
  const time = end - client.start, own = client.slow ? run.delay : 0;
  const main = run.threads[0];
  if (client.answered !== null && time < SOON) return { waited: false, ...whyNot(run, client, name) };
  const alone = client.answered !== null && own && time - own < SOON;
  const within = run.ending?.cut && end === run.end ? ` within ${span(end - client.start)}` : "";
  const ending = client.answered === null ? `${name} was not answered${within}`
    : alone ? `${name} took its own ${span(own)} and no more`
    : `${name} waited ${span(time - own)}${own ? ` besides its own ${span(own)}` : ""}`;
  if (client.status === "refused") return { waited: false, call: null, sentence: `${name} was refused: ` +
    "the server had closed its listening socket, so there was no backlog for it to be in." };
  if (end === client.start) return { waited: false, call: null, sentence: `${ending}: ` +
    `${client.left ? "it left" : "the server closed its connection"} immediately.` };
  const accepted = client.accepted === null || client.accepted > end ? null : client.accepted;
  if (accepted === null || accepted - client.start > (end - client.start) / 2) {
    const [what, most, call] = mostly(main, client.start, accepted ?? end);
    const place = `Meanwhile, ${name} was in the backlog: connected, and not accepted.`;
    if (most < (end - client.start) / 2) return { waited: true, call,
      sentence: `${ending}: ${who(run, main)} was busy, but no call took most of that time. ${place}` };
    return { waited: true, call, sentence: `${ending}: ${who(run, main)} was ${what}. ${place}` };
  }
  const pool = run.threads.filter(each => each !== main && run.pool);
  const queued = client.answered !== null ? client.answered - run.delay : end;
  const idle = pool.find(each => each.calls.some(call => call.end === null &&
    meaning(run, call, { t: end, order: Infinity }).waits === "lock"));
  if (idle && client.slow && client.answered === null) {
    const [what, , call] = mostly(main, accepted, end);
    return { waited: true, call,
      sentence: `${ending}: ${who(run, main)} was ${what}, although ${idle.label} had nothing left to do.` };
  }
  if (pool.length && client.slow && queued > accepted) {
    const [what, , call] = mostly(pool[0], accepted, queued);
    const waited = `${client.answered === null ? ". It waited" : ","} for a thread of the pool`;
    const busy = pool.length === 1 ? `its only thread, ${pool[0].label}, was`
      : `each of its ${grouped(pool.length)} threads was`;
    return { waited: true, call, sentence: `${ending}${waited}: ${busy} ${what}.` };
  }
  const server = run.threads.find(each => each.id === client.thread) || main;
  const [what, , call] = mostly(server, accepted, end);
  return { waited: !alone, call,
    sentence: `${ending}${alone ? ". Meanwhile, " : ": "}${who(run, server)} was ${what}.` };
}

// Why an answer on a connection with several requests came when it did: {sentence, call}.
export function whyInOrder(run, client) {
  const last = client.answers[client.answers.length - 1];
  if (!last) return { call: null, sentence: "No answer came on this connection." };
  const [what, , call] = mostly(run.threads[0], client.start, last.t);
  return { call, sentence: `The last answer came at ${span(last.t)}. ` +
    `A connection is answered in the order of its requests, ` +
    `so /fast came after /slow.${what ? ` Meanwhile, ${who(run, run.threads[0])} was ${what}.` : ""}` };
}

function whyNot(run, client, name) {
  const before = { t: client.start, order: client.orderStart };
  const server = run.threads.find(each => each.id === client.thread) || run.threads[0];
  const acceptor = run.threads[0];
  const { state, call } = threadState(acceptor, before);
  const busy = run.threads.find(each => {
    const now = threadState(each, before);
    return each !== server && now.state === "call" && ["clock_nanosleep", COMPUTES].includes(now.call.name);
  });
  const other = busy && threadState(busy, before).call;
  if (busy && server !== acceptor)
    return { call: other, sentence: `${name} did not wait: ${who(run, server)} answered it, ` +
      `while ${who(run, busy)} was ${doing(other)}.` };
  if (!call || state !== "call")
    return { call, sentence: `${name} did not wait: ${who(run, acceptor)} was between two calls.` };
  const waits = meaning(run, call, before).waits;
  let sentence = `${name} did not wait: ${who(run, acceptor)} was ` +
    (waits === "clients" ? (LOOP.has(call.name) ? "waiting for any client, " : "waiting for a client, ") : "") +
    `in ${call.name}${called(call)}`;
  if (!waits.includes("clients") && call.end === client.start) sentence += ", which ended at that moment";
  if (busy) sentence += `, and ${busy.label} was ${doing(other)}`;
  sentence += ".";
  if (LOOP.has(call.name) && call.deadline !== null && call.timeout < 59000)
    sentence += ` That wait ends for any client, and at ${span(call.deadline)} at the latest.`;
  return { call, sentence };
}

export const upper = words => words[0].toUpperCase() + words.slice(1);
