// From an experiment that fails to a small one that fails in the same way: leave out events, options, and what is
// particular about each event, for as long as it still fails.
//
// The result is small, not the smallest: nothing more can be left out of it alone. It shows the same broken rule, which
// is most often, but not always, the same mistake.
import {inOrder, isAboutClient, isNewClient} from "./grammar.mjs";

const MOST_RUNS = 400;

// fails(experiment): does it fail in the same way? Return a small experiment for which it returns true.
export function shrink(experiment, fails) {
  let runs = 0;
  let best = named(experiment);
  // Take a simpler one, if it still fails.
  const better = (candidate) => {
    if (candidate === null || runs++ >= MOST_RUNS || !fails(candidate)) return false;
    best = candidate;
    return true;
  };
  for (let before = Infinity; sizeOf(best) < before && runs < MOST_RUNS;) {
    before = sizeOf(best);
    for (let size = Math.ceil(best.events.length / 2); size >= 1; size = size > 1 ? Math.ceil(size / 2) : 0)
      for (let at = best.events.length - size; at >= 0; at -= size) better(without(best, at, size));
    for (const option of ["--descriptors", "--threads", "--block", "--compute"]) better(withoutOption(best, option));
    for (let i = 0; i < best.events.length; i++)
      for (const change of CHANGES) better(changed(best, i, change));
  }
  return unnamed(best);
}

function sizeOf({options, events}) {
  return JSON.stringify([options, events]).length;
}

// Every client by its number, so that events can be left out.
function named({stage, options, events}) {
  let clients = 0;
  return {stage, options, events: events.map((event) => {
    if (isNewClient(event)) clients++;
    return event.client === undefined && isAboutClient(event) ? {...event, client: clients} : event;
  })};
}

// The last client needs no number.
function unnamed({stage, options, events}) {
  let clients = 0;
  return {stage, options, events: events.map((event) => {
    if (isNewClient(event)) clients++;
    const {client, ...rest} = event;
    return client === clients ? rest : event;
  })};
}

// Without some events, and without what their clients do.
function without({stage, options, events}, at, size) {
  const numbers = new Map(), kept = [];
  let clients = 0, left = 0;
  events.forEach((event, i) => {
    const out = i >= at && i < at + size;
    if (isNewClient(event) && ++clients && !out) numbers.set(clients, ++left);
    if (out || (event.client !== undefined && !numbers.has(event.client))) return;
    kept.push(event.client === undefined ? event : {...event, client: numbers.get(event.client)});
  });
  return {stage, options, events: kept};
}

function withoutOption({stage, options, events}, name) {
  const at = options.indexOf(name);
  if (at < 0) return null;
  const has = name === "--descriptors" || name === "--threads";
  return {stage, options: [...options.slice(0, at), ...options.slice(at + (has ? 2 : 1))], events};
}

const CHANGES = [
  ({steps, ...event}) => steps === undefined ? null : event,
  (event) => event.at > 0 ? {...event, at: 0} : null,
  (event, before) => before && event.at > before.at ? {...event, at: before.at} : null,
  (event) => rounded(event, 100),
  (event) => rounded(event, 10),
  (event) => rounded(event, 1),
  (event) => event.steps > 1 ? {...event, steps: event.steps >> 1} : null,
  (event) => event.steps > 1 ? {...event, steps: event.steps - 1} : null,
  (event) => event.action === "pipeline" && event.count > 2 ? {...event, count: 2} : null,
  (event) => event.action === "pipeline" && event.count > 2 ? {...event, count: event.count >> 1} : null,
  (event) => event.path && event.path !== "/fast" ? {...event, path: "/fast"} : null,
  (event) => ["half", "keep", "pipeline", "post"].includes(event.action)
    ? {at: event.at, action: "get", path: event.path || "/fast"} : null,
];

function rounded(event, to) {
  const at = Math.round(event.at / to) * to;
  return at !== event.at ? {...event, at} : null;
}

// With one event changed, if all are still in order.
function changed({stage, options, events}, i, change) {
  const event = change(events[i], events[i - 1]);
  if (event === null) return null;
  const after = [...events.slice(0, i), event, ...events.slice(i + 1)];
  return after.every((each, k) => k === 0 || inOrder(after[k - 1], each) <= 0) ? {stage, options, events: after} : null;
}
