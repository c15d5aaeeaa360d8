// What a seed chooses: the options of a server, up to 20 clients, when each one comes and what it does, in which pieces
// its request arrives, and at which step of the server's work; signals, calls that fail, threads that are interrupted.
//
// The result is an experiment like any other (grammar.mjs): its text is all that is needed to see the run again.
//
// It does not choose evenly. Most moments are those at which something else happens (another client's event, a
// deadline, a delay that ends), as that is where mistakes are. It makes no malformed requests (the unit tests and the
// fuzzer of common/http.c do), no processes (--workers), and no load: twenty clients are never busy for long. epoll_ctl
// fails in 05 alone: libev tells of it only after its next wait, so 06 may be late by any time.
import {FAULTS, inOrder} from "./grammar.mjs";

const MOST_CLIENTS = 20;
const MOST_STEPS = 30;
const FLOOD = 0.1, FLOODED = 1200;    // requests on one connection
const RUSHED = 0.4;                   // of the moment at which most happens
const STILL = [1, 10, 60, 60, 250, 600]; // ms

// A generator of numbers from 0 to 1 (mulberry32).
function generator(seed) {
  let state = Math.imul(seed, 0x9e3779b1) >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

// How often a moment is chosen in which way: see Script.moment. For what the server does not expect, those at which it
// works.
const WHEN = {any: 4, now: 2, rush: 2, other: 2, fine: 2, during: 1, delayed: 2, late: 1};
const NEXT = {any: 1, now: 1, soon: 4, delayed: 1, late: 1};
const AT_WORK = {any: 1, rush: 3, other: 3, again: 3, fine: 1, during: 3, delayed: 3, late: 1};

class Choices {
  constructor(seed) {
    this.random = generator(seed);
    for (let i = 0; i < 4; i++) this.random();
  }

  chance(probability) {
    return this.random() < probability;
  }

  from(least, most) {
    return least + Math.floor(this.random() * (most - least + 1));
  }

  of(list) {
    return list[Math.floor(this.random() * list.length)];
  }

  // One of {choice: weight}.
  weighted(weights) {
    let left = this.random() * Object.values(weights).reduce((sum, weight) => sum + weight, 0);
    for (const [choice, weight] of Object.entries(weights)) if ((left -= weight) < 0) return choice;
    return Object.keys(weights)[0];
  }
}

// How a stage serves clients: one after the other, each by a thread, or all in a loop. model: a stage of the toolkit.
export function kindOf(model) {
  return {"01-blocking": "one", "02-threaded": "threads"}[model] || "loop";
}

// Return {stage, options, events}. model: the stage of the toolkit whose model it has.
export function experimentOf(seed, stage, model) {
  const choices = new Choices(seed);
  const times = {delay: choices.of([0, 50, 100, 300, 600]), timeout: choices.of([200, 500, 1000])};
  const options = ["--delay", `${times.delay / 1000}`, "--timeout", `${times.timeout / 1000}`,
                   ...optionsOf(choices, kindOf(model))];
  const script = new Script(choices, times, choices.of([0, 5, 300, 300, 1000]));
  const scarce = options.includes("--descriptors");
  const clients = script.clients = 1 + Math.floor(choices.random() ** (scarce ? 1 : 2) * MOST_CLIENTS);
  for (let i = 0; i < clients; i++) client(script, choices);
  const works = options.includes("--block") || options.includes("--compute");
  if (choices.chance(works || scarce ? 0.6 : 0.4)) signals(script, choices);
  if (choices.chance(0.25)) faults(script, choices, model);
  if (choices.chance(0.8) && (kindOf(model) === "threads" || options.includes("--threads")))
    for (let i = choices.from(1, 5); i > 0; i--) interleave(script, choices);
  if (choices.chance(0.15))
    for (let i = choices.from(1, 6); i > 0; i--)
      script.add({action: "yield", count: choices.of(STILL)}, script.moment(0, AT_WORK), 1);
  return {stage, options, events: script.inOrder()};
}

function optionsOf(choices, kind) {
  const options = [];
  if (kind === "loop" && choices.chance(0.3)) {
    options.push(choices.chance(0.8) ? "--block" : "--compute");
    if (choices.chance(0.6)) options.push("--threads", `${choices.from(1, 3)}`);
  }
  if (choices.chance(0.3)) options.push("--descriptors", `${choices.from(9, 13)}`);
  return options;
}

// The events so far, each with the client that it is about, as this has no number before all events are in order.
class Script {
  constructor(choices, times, width) {
    Object.assign(this, {choices, times, width, events: [], rush: Math.round(choices.random() * width)});
  }

  // A moment from a time on: most often one at which something is likely to happen.
  moment(from = 0, weights = WHEN) {
    const {choices, times, events} = this, one = (list) => list.length > 0 ? choices.of(list).at : 0;
    const at = () => one(events);
    const found = {
      any: () => from + choices.random() * this.width,
      now: () => from,
      soon: () => from + choices.random() * times.delay,
      rush: () => this.rush,
      other: at,
      again: () => one(events.filter((event) => event.of)), // one that is there does something more
      fine: () => at() + choices.of([0.001, 0.5, 0.999, 1, 10, 10.5]),
      during: () => at() + Math.round(choices.random() * times.delay),
      delayed: () => one(events.filter(({path, action}) => path === "/slow" || action === "pipeline")) + times.delay,
      late: () => at() + times.timeout,
    }[choices.weighted(weights)]();
    return Math.round(Math.max(from, found) * 1000) / 1000;
  }

  // Add an event, at a step of the server's work with some probability. of: the event that made its client.
  add(event, at, probability = 0.12, of = null) {
    const {choices} = this, inside = choices.chance(at === this.rush ? Math.max(RUSHED, probability) : probability);
    const steps = inside ? {steps: 1 + Math.floor(choices.random() ** 2 * MOST_STEPS)} : {};
    const added = {at, ...steps, ...event};
    if (of !== null) {
      Object.defineProperty(added, "of", {value: of});
      if (inOrder(added, of) < 0) Object.assign(added, {at: of.at, steps: of.steps});
      if (added.steps === undefined) delete added.steps;
    }
    this.events.push(added);
    return added;
  }

  inOrder() {
    const events = this.events.map((event, i) => [event, i])
      .sort(([a, i], [b, j]) => inOrder(a, b) || i - j).map(([event]) => event);
    let clients = 0;
    const numbers = new Map();
    for (const event of events) {
      if (event.makes) numbers.set(event, ++clients);
      if (event.of) event.client = numbers.get(event.of);
      delete event.makes;
    }
    return events;
  }
}

const PATHS = ["/fast", "/slow", "/slow", "/fast", "/nowhere"];

function client(script, choices) {
  const kind = choices.weighted({get: 55, half: 14, keep: 12, pipeline: 8, silent: 6, post: 5});
  const event = {action: kind, makes: true};
  if (kind === "get" || kind === "half" || kind === "keep") event.path = choices.of(PATHS);
  if (kind === "pipeline" && choices.chance(0.5)) {
    event.count = choices.chance(script.times.delay === 0 ? 0.5 : FLOOD) ? FLOODED : choices.from(2, 5);
    if (script.times.delay === 0 && choices.chance(0.5)) event.path = "/slow";
  }
  const made = script.add(event, script.moment());
  let {at} = made;
  const then = (action, more = {}, moment = script.moment(at, choices.chance(0.5) ? NEXT : WHEN)) =>
    ({at} = script.add({action, ...more}, moment, 0.12, made));
  if (choices.chance(0.1)) {
    script.add({action: "window", count: choices.from(20, 200)}, at, 0, made);
    if (choices.chance(0.3)) script.add({action: "stop-reading"}, at, 0, made);
  }
  if (kind === "half") {
    for (let pieces = choices.of([0, 0, 1, 2, 4]); pieces > 0; pieces--) then("more", {count: choices.from(1, 20)});
    if (choices.chance(0.8)) then("rest");
  }
  if (kind === "keep") for (let more = choices.from(0, 3); more > 0; more--) then("ask", {path: choices.of(PATHS)});
  if (event.count === FLOODED) beside(script, choices, made);
  if (choices.chance(0.25))
    then(choices.of(["reset", "close", "half-close"]), {}, script.moment(choices.chance(0.5) ? at : made.at));
}

// While a flood of requests is served, a client that is there already asks.
function beside(script, choices, flood) {
  if (script.clients++ >= MOST_CLIENTS) return;
  const made = script.add({action: "keep", makes: true}, 0, 0);
  script.add({action: "ask", steps: choices.from(1, 200)}, flood.at, 0, made);
}

function signals(script, choices) {
  const first = script.add({action: choices.chance(0.6) ? "TERM" : "INT"}, script.moment(0, AT_WORK), 0.4);
  if (choices.chance(0.5))
    script.add({action: choices.chance(0.4) ? "TERM" : "INT"}, script.moment(first.at, NEXT), 0.3);
}

// Which thread runs changes at some of the steps of a moment.
function interleave(script, choices) {
  const at = script.moment(0, AT_WORK), first = 1 + Math.floor(choices.random() ** 2 * MOST_STEPS);
  for (let steps = first; steps < first + 6; steps++)
    if (choices.chance(0.5)) script.add({action: "yield", steps}, at, 0);
}

function faults(script, choices, model) {
  const kinds = {accept4: 4, malloc: 2, pthread_create: kindOf(model) === "threads" ? 4 : 0,
                 epoll_ctl: model === "05-epoll" ? 2 : 0};
  for (let i = choices.from(1, 2); i > 0; i--) {
    const action = choices.weighted(kinds), at = script.moment();
    const error = choices.of(FAULTS[action]);
    for (let times = choices.of([1, 1, 2, 5, 20]); times > 0; times--) script.add({action, error}, at, 0);
  }
}
