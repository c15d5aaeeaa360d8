// In a worker of the browser: run experiments, one after the other. A server that never comes back costs only this
// worker, which the page then ends (page-simulator.mjs).
//
// While time stands, the page lets us prepare: the same experiment, run as far as the player has seen it. What the
// player then does is added, and only the rest has to run. The result is the same as that of a run from the start.
import {broken} from "./invariants.mjs";
import {loadStage, Session} from "./simulation.mjs";

const ENOUGH_CALLS = 5000;         // after those, the simulation looks no further
const LONG = 200;                  // characters: the page needs no more of the arguments of a call
const BRIEF_MS = 12000;            // with many idle clients, what happens so long after the last event is not simulated
const FEW = 30;                    // clients: with more, the rules would take long, and they are tried with 20
const TELL_MS = 400;               // how often it is told that the server still makes calls

const loaded = new Map();          // stages by name
let prepared = null;               // {key, events, until, session}

onmessage = async ({ data }) => {
  const { id, stage, options, events, given, until } = data;
  try {
    if (given) loaded.set(stage, { ...loadStage(stage, await unpacked(given.wasm), given), model: given.model });
    postMessage({ id, alive: true });          // the server begins: what the browser needed until here is not its fault
    const began = performance.now();
    let told = began;
    const progress = () => {
      if (performance.now() - told < TELL_MS) return;
      told = performance.now();
      postMessage({ id, alive: true });
    };
    const patience = events.some(each => each.action === "idle" && each.count >= 1000) ? BRIEF_MS : undefined;
    const settings = { options, events, lines: true, progress, patience, enough: ENOUGH_CALLS };
    if (until !== undefined) {
      prepared = null;
      const session = new Session(loaded.get(stage), settings);
      session.run(until);
      prepared = { key: JSON.stringify([stage, options]), events, until, session };
      postMessage({ id, result: null });
      return;
    }
    const session = fromPrepared(JSON.stringify([stage, options]), events)
      || new Session(loaded.get(stage), settings);
    const result = session.run();
    const { model } = loaded.get(stage);
    const judged = model && !result.end.cut && result.clients.length <= FEW;
    result.broken = judged ? broken({ options, events }, result, model) : [];
    const calls = result.calls.map((call, i) => brief(call, i === result.calls.length - 1));
    postMessage({ id, result: { ...result, calls, backlog: [] }, took: performance.now() - began });
  } catch (error) {
    postMessage({ id, error: String(error && error.message || error) });
  }
};

// What the page needs of a call: each of its properties costs the page time when the message comes.
function brief(call, last) {
  const { stack, fd, waits, looked, peer, reported, ...needed } = call;
  if (call.args.length > LONG) needed.args = call.args.slice(0, LONG);
  if (call.line?.includes("libev-")) needed.stack = stack;
  if (last && reported) needed.reported = reported;
  return needed;
}

async function unpacked(base64) {
  const packed = Uint8Array.from(atob(base64), each => each.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// The session that was prepared, with the events that are new; null if it is another experiment.
function fromPrepared(key, events) {
  if (!prepared || prepared.key !== key) return null;
  const { events: before, until, session } = prepared, more = events.slice(before.length);
  const same = JSON.stringify(events.slice(0, before.length)) === JSON.stringify(before);
  if (!same || more.some(each => each.at < until || each.action === "idle")) return null;
  prepared = null;
  for (const each of more) session.add(each);
  return session;
}
