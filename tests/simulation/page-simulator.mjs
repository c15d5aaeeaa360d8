// Simulations for the page, in a worker: the page stays responsive, and a server that never comes back is stopped.
import {viewSteps} from "./page-run.mjs";

const SILENCE_MS = 2000;           // a server that makes no call for so long is stopped
const WORTH_MS = 12;               // a simulation that takes longer is prepared while time stands
const PIECE_MS = 8;                // of work without a break
const KEPT = 24;                   // results

export class Simulator {
  // source: the text of the worker. stages: {name: {lines, title, …, wasm (gzip, in base64)}}.
  constructor(source, stages) {
    this.source = source;
    this.stages = stages;
    this.results = new Map();      // text of an experiment -> promise of a run
    this.waiting = [];             // of {message, resolve, reject}; the first is being simulated
    this.count = this.took = 0;
    this.start();
  }

  start() {
    const address = URL.createObjectURL(new Blob([this.source], { type: "text/javascript" }));
    this.worker = new Worker(address);
    URL.revokeObjectURL(address);
    this.given = new Set();
    this.worker.onmessage = ({ data }) => data.alive ? this.stillAlive(data.id) : this.finish(data);
    this.worker.onerror = event => this.finish({ id: this.waiting[0]?.message.id,
      error: event.message || "The simulation failed." });
  }

  // Return a promise of the run of an experiment.
  run(experiment) {
    const key = JSON.stringify([experiment.stage, experiment.options, experiment.events]);
    if (!this.results.has(key)) {
      const promise = this.simulate(experiment, undefined, key).then(result => this.view(result, experiment.events));
      promise.catch(() => { if (this.results.get(key) === promise) this.results.delete(key); });
      this.results.set(key, promise);
      if (this.results.size > KEPT) this.results.delete(this.results.keys().next().value);
    }
    return this.results.get(key);
  }

  // Nobody waits for a run any more. What is being prepared goes on if this stage may begin with it.
  abandon(stage) {
    const [first] = this.waiting, running = first && (first.key || first.message.stage !== stage);
    for (const { key, reject } of this.waiting.splice(running ? 0 : 1)) {
      this.results.delete(key);
      reject(new Error("Another run was asked for."));
    }
    if (!running) return;
    clearTimeout(this.timer);
    this.worker.terminate();
    this.start();
  }

  // A long result is looked at piece by piece, so that the page stays responsive.
  async view(result, events) {
    const steps = viewSteps(result, events);
    for (let began = performance.now(), step = steps.next();; step = steps.next()) {
      if (step.done) return step.value;
      if (performance.now() - began < PIECE_MS) continue;
      await new Promise(resolve => setTimeout(resolve));
      began = performance.now();
    }
  }

  // Time stands at `until`: prepare for what the player may do next, if it is worth it.
  prepare(experiment, until) {
    if (this.took > WORTH_MS) this.simulate(experiment, until).catch(() => {});
  }

  async simulate({ stage, options, events }, until, key) {
    if (!(stage in this.stages)) throw new Error(`This page has no server ${stage}.`);
    return new Promise((resolve, reject) => {
      this.waiting.push({ key, message: { id: ++this.count, stage, options, events, until }, resolve, reject });
      if (this.waiting.length === 1) this.next();
    });
  }

  next() {
    if (!this.waiting.length) return;
    const { message } = this.waiting[0], { stage } = message;
    const given = this.given.has(stage) ? null : this.stages[stage];
    this.given.add(stage);
    this.worker.postMessage({ ...message, given });   // it answers that it is alive when the server begins
  }

  // Stop a server that makes no system call for two seconds. One that turns without end is stopped by the simulation.
  watch(id) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.worker.terminate();
      this.start();
      this.finish({ id, error: "The server was stopped after two seconds: it made no system call any more." });
    }, SILENCE_MS);
  }

  stillAlive(id) {
    if (this.waiting[0]?.message.id === id) this.watch(id);
  }

  finish({ id, result, error, took = 0 }) {
    if (!this.waiting.length || this.waiting[0].message.id !== id) return;
    clearTimeout(this.timer);
    this.took = took || this.took;
    const { resolve, reject } = this.waiting.shift();
    if (error) reject(new Error(error));
    else resolve(result);
    this.next();
  }
}
