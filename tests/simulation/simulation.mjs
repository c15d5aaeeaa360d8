// An experiment: a server, its clients, and what is recorded of both. simulate() runs one from its start to its end;
// a Session runs it as far as it is told to, and takes more events.
//
// Nothing outlives a run, and no run depends on another or on the time of day: the same server, options and events
// give the same result, to the byte. choices.wokenFirst: a thread that a write wakes runs before the one that wrote.
import {callName, describeCall, eventNames, fileName, isLoop, reportedBy, reportText, resultText,
        watchedBy} from "./calls.mjs";
import {Client, IdleClient} from "./clients.mjs";
import {FAULTS, isNewClient, LIMIT} from "./grammar.mjs";
import {Connection, IN, Kernel, MS, OUT, START} from "./kernel.mjs";
import {Process, Stopped} from "./process.mjs";

const PATIENCE_MS = 600e3;    // after the last event, the run ends even if a client is still waiting
const MOST_WATCHED = 100;     // more than those are counted, not listed
const IDLE_STEP = MS, IDLE_FROM = START / 2; // when idle clients connect
const FEW_IDLE = 50;          // with more, what is before time 0 is not recorded
const MOST_RECORDED = 20000;  // calls; the others are counted
const PLUMBING = /(^| )common\/(clock|net)\.c:/; // small wrappers: the line that calls them says more
const FIRST = 0;              // the rank on the timeline of what clients do: it comes before what is planned otherwise

// ---- stages

// A stage that was built for the simulation: its module, and what build.py tells about it (STAGE.json): the table from
// the offsets of calls to lines, the text of its files, which stage it is a variant of, how its threads are scheduled.
export function loadStage(name, wasm, {lines = null, sources = {}, of = name, title = "", choices = {}} = {}) {
  const module = wasm instanceof WebAssembly.Module ? wasm : new WebAssembly.Module(wasm);
  return {name, module, places: lines === null ? null : placesOf(lines), sources, of, title, choices};
}

// {offset: "function file:line"}, from the compact table: see build.py.
function placesOf({offsets, numbers, places}) {
  const found = new Map();
  let offset = 0;
  offsets.forEach((distance, i) => {
    offset += distance;
    found.set(offset, places[numbers[i]]);
  });
  return found;
}

// The lines of ours that lead to the call that is being made, the innermost first; null if this engine tells no
// offsets.
function stackOf(places, text) {
  const found = [], pattern = /wasm-function\[\d+\]:0x([0-9a-f]+)/g;
  let any = false;
  for (let frame; (frame = pattern.exec(text)) !== null;) {
    any = true;
    const here = places.get(parseInt(frame[1], 16));
    if (here !== undefined) found.push(here);
  }
  return any ? found : null;
}

// ---- what is recorded

class Log {
  constructor(session, {recordFrom, lines}) {
    Object.assign(this, {session, recordFromNs: recordFrom, wantsLines: lines, calls: [], threads: [], signals: [],
                         outputs: [], counts: {}, looked: 0, tooMany: false, linesMissing: false, notOpen: null,
                         stacks: new Map(), order: 0});
  }

  get now() {
    return this.session.kernel.now;
  }

  begin(thread, name, args, process, startNs = this.now) {
    const told = callName(name), early = startNs < this.now;
    if (!early) this.counts[told] = (this.counts[told] || 0) + 1;
    if (this.now < this.recordFromNs || this.tooMany || this.calls.length >= MOST_RECORDED) return null;
    const fd = FD_FIRST.has(name) ? args[0] : null, file = fd === null ? null : process.kernel.get(fd);
    const [entry, exit] = describeCall(name, process, args);
    const record = {thread: thread.id, name: told, args: entry, result: "?", value: null, start: startNs / MS,
                    end: null, line: null, stack: [], fd, file: fileName(file), waits: null,
                    client: file instanceof Connection ? file.client.number || null : null};
    hide(record, {name, args, exit, began: this.order++, ended: null, got: []});
    if (isLoop(told)) this.beginLoop(record, name, process, args);
    if (this.wantsLines && (!early || process.alone)) this.place(record);
    this.calls.push(record);
    return record;
  }

  beginLoop(record, name, process, args) {
    const {count, found, timeout} = watchedBy(name, process, args, MOST_WATCHED), {kernel} = process;
    record.watching = count;
    record.watched = found === null ? null : found.map(([fd, events]) => ({
      fd, file: fileName(kernel.get(fd)), for: events & IN ? "read" : events & OUT ? "write" : "nothing"}));
    record.timeout = timeout;
    record.deadline = timeout === null ? null : record.start + timeout;
    record.reported = [];
    record.looked = 0;
  }

  // Which line made the call? A stack is long, and there are few: understand each once.
  place(record) {
    const text = new Error().stack, {places} = this.session.stage;
    let known = this.stacks.get(text);
    if (known === undefined) {
      const stack = stackOf(places, text);
      this.linesMissing = this.linesMissing || stack === null;
      const telling = (stack || []).filter((place) => !PLUMBING.test(place));
      known = {stack: stack || [], line: (telling[0] || (stack || [])[0] || " ").split(" ")[1] || null};
      this.stacks.set(text, known);
    }
    record.stack = known.stack;
    record.line = known.line;
  }

  waits(record, wait) {
    const {name} = record.hidden;
    record.waits = isLoop(name) || name === "accept4" ? "clients"
      : name === "clock_nanosleep" ? "delay"
        : name === "futex_wait" ? (wait.kind === 0 ? "lock" : "thread")
          : record.client !== null ? "client" : "thread";
  }

  end(record, result, process) {
    const {name, args, exit} = record.hidden;
    record.end = this.now / MS;
    record.hidden.ended = this.order++;
    record.value = result;
    if (record.end === record.start) record.waits = null;
    if (name === "accept4" && result >= 0) {
      record.client = process.kernel.get(result).client.number || null;
      record.file = fileName(process.kernel.get(result));
      record.peer = process.kernel.get(result).client.port;
    }
    if (isLoop(name)) {
      const reported = reportedBy(name, process, args, record, result);
      record.reported = reported.slice(0, MOST_WATCHED).map(([fd, events]) => ({
        fd, file: fileName(process.kernel.get(fd)), events: eventNames(events)}));
      const leftMs = record.timeout === null ? null : record.deadline - record.end;
      record.result = reportText(name, result, reported, leftMs === null ? null : leftMs * MS);
    } else {
      record.result = resultText(result);
    }
    if (exit !== undefined) record.args += exit(result, record.hidden.got);
  }

  computes(thread, startNs) {
    if (this.now < this.recordFromNs) return null;
    const record = {thread: thread.id, name: "(computes)", args: "", result: "", value: 0, start: startNs / MS,
                    end: null, line: null, stack: [], fd: null, client: null, file: null, waits: "compute"};
    if (this.wantsLines) this.place(record);
    this.calls.push(record);
    return record;
  }

  computed(record) {
    record.end = this.now / MS;
  }

  thread(thread) {
    this.threads.push(thread);
  }

  threadEnded(thread) {
    thread.ended = this.order++;
  }

  signal(thread, name) {
    const record = {at: this.now / MS, thread: thread.id, name, handled: false, interrupted: false};
    hide(record, {began: this.order++, ended: null});
    this.signals.push(record);
  }

  returned(interrupted) {
    const last = this.signals[this.signals.length - 1];
    Object.assign(last, {handled: true, interrupted});
    last.hidden.ended = this.order++;
  }

  output(fd, text) {
    this.outputs.push({at: this.now / MS, fd, text});
  }

  // The first call for a descriptor that is not open is kept. fcntl may ask whether one is.
  failedAsNotOpen(name, fd) {
    if (this.notOpen === null && name !== "fcntl") this.notOpen = {at: this.now / MS, name: callName(name), fd};
  }

  progress() {
    if (this.session.progress !== null) this.session.progress();
  }

  settled(nextNs) {
    return this.session.settled(nextNs);
  }
}

// What is kept beside a record, and is no part of the result: the order in which things happened at one moment.
function hide(record, hidden) {
  Object.defineProperty(record, "hidden", {value: hidden});
}

const FD_FIRST = new Set(["bind", "listen", "accept4", "recvfrom", "sendto", "read", "write", "close", "shutdown",
                          "fcntl", "setsockopt", "socket_timeout", "getsockname", "getpeername", "epoll_ctl",
                          "epoll_wait", "epoll_pwait"]);

// ---- sessions

export class Session {
  // settings: options (words), events, descriptors (the limit of the process), lines (false: do not look for lines),
  // recordFrom (ms: earlier calls are counted, and not recorded), choices, progress (called now and then),
  // mostCalls (the run ends after so many while no time passes), patience (ms after the last event, in which clients
  // that still wait are simulated), enough (the run ends where so many calls have been recorded).
  constructor(stage, {options = [], events = [], descriptors, lines = true, recordFrom, choices = {}, progress,
                      mostCalls, patience = PATIENCE_MS, enough = Infinity} = {}) {
    const idle = events.reduce((sum, event) => sum + (event.count && event.action === "idle" ? event.count : 0), 0);
    const limit = descriptorsOf(options);
    this.stage = stage;
    this.options = limit.options;
    this.kernel = new Kernel({descriptors: descriptors || limit.descriptors});
    this.clients = [];
    this.idle = {count: 0, connected: 0, accepted: 0, closed: 0};
    this.events = [];
    this.pending = 0;
    this.lastNs = 0;
    this.stopping = false;
    this.patienceNs = patience * MS;
    this.enough = enough;
    this.error = null;
    this.progress = progress || null;
    const from = recordFrom !== undefined ? recordFrom : idle > FEW_IDLE ? 0 : -Infinity;
    this.log = new Log(this, {lines: lines && stage.places !== null, recordFrom: from * MS});
    this.idleStep = Math.min(IDLE_STEP, -IDLE_FROM / Math.max(1, idle));
    const words = [stage.name, "--port", "40000", ...this.options];
    try {
      this.process = new Process(this.kernel, stage.module, words, this.log, {...stage.choices, ...choices},
        mostCalls);
    } catch (error) {
      if (!(error instanceof Stopped)) throw error;
      this.error = error.message;
    }
    if (from === 0 && this.error === null) this.kernel.timeline.at(0, () => this.process.recordWaits(), FIRST);
    for (const event of events) this.add(event);
  }

  // Add an event. To be exact, it must not be earlier than what run was last given.
  add(event) {
    const {timeline} = this.kernel;
    this.events.push(event);
    if (event.action === "idle") {
      this.idle.count += event.count;
      timeline.at(IDLE_FROM, () => this.connectIdle(event.count), FIRST);
      this.pending++;              // they have connected by time 0
      timeline.at(0, () => { this.pending--; }, FIRST);
      return;
    }
    const at = event.at * MS;
    this.pending++;
    this.lastNs = Math.max(this.lastNs, at);
    const happen = () => {
      this.pending--;
      this.happen(event);
    };
    timeline.at(at, event.steps ? () => this.process.later(event.steps, happen) : happen, FIRST);
  }

  // Idle clients come one after another, so that the server accepts each before the next one comes.
  connectIdle(count) {
    new IdleClient(this.kernel, this.idle).connect();
    if (count > 1) this.kernel.timeline.at(this.kernel.now + this.idleStep, () => this.connectIdle(count - 1), FIRST);
  }

  happen(event) {
    if (event.action === "TERM" || event.action === "INT") {
      this.stopping = true;
      this.process.signal(event.action === "TERM" ? 15 : 2);
    } else if (event.action in FAULTS) {
      this.process.letFail(event.action, event.error);
    } else if (event.action === "yield") {
      this.process.yieldNs = (event.count || 0) * MS;
    } else if (isNewClient(event)) {
      const client = new Client(this.kernel, this.clients.length + 1, event);
      this.clients.push(client);
      client.connect();
    } else {
      const client = this.clients[(event.client || this.clients.length) - 1];
      if (client !== undefined) client[ACTIONS_OF[event.action]](event);
    }
  }

  // Nothing more is worth waiting for: every event has been, no client of theirs is served or waits, and the server has
  // ended if it was told to.
  settled(nextNs) {
    if (this.full) return true;
    if (this.pending > 0) return false;
    if (nextNs > this.lastNs + this.patienceNs) return true;
    if (this.stopping && this.process.ended === null) return false;
    return this.served();
  }

  get full() {
    return this.log.calls.length >= this.enough;
  }

  served() {
    return this.clients.every((client) => client.gone && (client.connection === null || client.connection.fd < 0));
  }

  // Run what is before a time, in ms; without one, until nothing more is to come. Return the result so far.
  run(until = Infinity) {
    const limit = Error.stackTraceLimit;
    Error.stackTraceLimit = 40;
    try {
      if (this.error === null) this.process.run(until * MS);
    } finally {
      Error.stackTraceLimit = limit;
    }
    this.until = until;
    return this.result;
  }

  // Give back the memory of a session that is not going to run any more.
  close() {
    if (this.process) this.process.release();
    const {ended = null, faults = []} = this.process || {};
    this.process = {ended, faults, run: () => {}, release: () => {}, signal: () => {}};
  }

  get end() {
    const atMs = this.kernel.now / MS;
    if (this.error !== null) return {kind: "stopped", at: atMs, text: this.error};
    const {ended} = this.process;
    if (ended !== null) {
      const {atNs, ...more} = ended;
      return {...more, at: atNs / MS};
    }
    const more = this.kernel.timeline.next();
    if (this.until === Infinity && more !== Infinity && (this.full || !this.served()))
      return {kind: "waiting", at: atMs, text: "the simulation looks no further", cut: true};
    if (more === Infinity || this.until === Infinity) return {kind: "waiting", at: atMs, text: "all threads wait"};
    return null;
  }

  get result() {
    const {log, kernel, stage} = this, end = this.end;
    return {
      stage: stage.name, options: this.options, now: kernel.now / MS, end, output: log.outputs,
      threads: log.threads.map((thread) => toldThread(thread, end)),
      calls: log.calls, signals: log.signals, clients: this.clients.map((client) => client.told(end !== null)),
      idle: {...this.idle}, backlog: kernel.backlogLengths.map(([ns, length]) => [ns / MS, length]),
      notOpen: log.notOpen, counts: log.counts, looked: log.looked, linesMissing: log.linesMissing,
      faults: this.process ? this.process.faults.map(([name, error, ns]) => ({name, error, at: ns / MS})) : [],
    };
  }
}

function toldThread(thread, end) {
  const over = end !== null && (end.kind === "exited" || end.kind === "killed");
  const told = {id: thread.id, name: thread.name, start: thread.startNs / MS,
                end: thread.endNs !== null ? thread.endNs / MS : over ? end.at : null};
  hide(told, {ended: thread.endNs !== null ? thread.ended : Infinity});
  return told;
}

const ACTIONS_OF = {more: "sendMore", rest: "sendRest", ask: "askAgain", window: "narrow", "half-close": "halfClose",
                    close: "close", reset: "reset", "stop-reading": "stopReading"};

// Take the limit on descriptors out of the options.
function descriptorsOf(options) {
  const at = options.indexOf(LIMIT);
  if (at < 0) return {options, descriptors: undefined};
  return {options: [...options.slice(0, at), ...options.slice(at + 2)], descriptors: Number(options[at + 1])};
}

export function simulate(stage, settings = {}) {
  const session = new Session(stage, settings);
  const result = session.run(settings.until === undefined ? Infinity : settings.until);
  session.close();
  return result;
}
