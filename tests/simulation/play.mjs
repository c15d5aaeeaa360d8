// The simulation under node, for tests/play.py and the tests: jobs come on stdin, a line of JSON each, and a line with
// the answer goes to stdout.
//
//     {"text": "05-epoll --delay 1; 0:/slow 100:/fast", "want": ["result", "strace"]}
//     {"text": "...", "steps": [150, "150:/fast", null]}      run until 150 ms, then another event, then run to the end
//     {"text": "...", "model": "05-epoll"}                    hold it against the rules of invariants.mjs, too
//     {"goal": 4, "texts": [...]}
//     {"seeds": [1, 200], "stage": "07-mine", "model": "05-epoll"}    run these seeds, up to the first that fails
//
// The simulation runs in a worker. One that tells nothing for two seconds is stopped: its server makes no call.
import fs from "fs";
import path from "path";
import zlib from "zlib";
import {fileURLToPath} from "url";
import {isMainThread, parentPort, Worker, workerData} from "worker_threads";
import {formatExperiment, GrammarError, parseEvent, parseExperiment} from "./grammar.mjs";
import {broken} from "./invariants.mjs";
import {experimentOf} from "./seeds.mjs";
import {shrink} from "./shrink.mjs";
import {loadStage, Session, simulate} from "./simulation.mjs";
import {viewOf, why} from "./page-run.mjs";
import {straceLog} from "./strace.mjs";

const SILENCE_MS = 2000;
const MOST_CALLS = 10000; // of a seed's server while no time passes: its clients are few

// ---- stages, from what build.py has written

function readBundle(folder) {
  return JSON.parse(fs.readFileSync(path.join(folder, "stages.json"), "utf8"));
}

const loaded = new Map();

function stageOf(bundle, name) {
  const entry = bundle.stages[name];
  if (entry === undefined)
    throw new Error(bundle.missing[name] ||
                    `${name}: no such stage; there are ${Object.keys(bundle.stages).join(" ")}`);
  if (!loaded.has(entry))
    loaded.set(entry, loadStage(name, zlib.gunzipSync(Buffer.from(entry.wasm, "base64")),
      {...entry, sources: {...bundle.sources, ...entry.sources}}));
  return loaded.get(entry);
}

// ---- jobs

async function answer(bundle, job, progress, tell) {
  if (job.goal !== undefined) return judge(bundle, job, progress);
  if (job.seeds !== undefined) return trySeeds(bundle, job, progress, tell);
  const experiment = parseExperiment(job.text);
  const settings = {...experiment, ...job.settings, progress}, stage = stageOf(bundle, experiment.stage);
  const result = job.steps === undefined ? simulate(stage, settings) : inSteps(stage, settings, job.steps);
  const answer = {text: formatExperiment(experiment), all_options: experiment.options, events: experiment.events};
  if (job.model) answer.broken = broken(experiment, result, job.model).map(explained);
  for (const want of job.want || ["result"]) {
    if (want === "strace") {
      answer.strace = straceLog(result);
    } else if (want === "sentences") { // of the page: why each client waited, or did not
      const run = viewOf(result, experiment.events);
      answer.sentences = run.clients.map(client => why(run, client).sentence);
    } else if (want === "result") {
      answer.result = result;
    } else {
      answer.result = {...result, calls: []};
    }
  }
  return answer;
}

function inSteps(stage, settings, steps) {
  const session = new Session(stage, settings);
  for (const step of steps) {
    if (typeof step === "string") session.add(parseEvent(step));
    else session.run(step === null ? Infinity : step);
  }
  const {result} = session;
  session.close();
  return result;
}

// Run seeds up to the first that breaks a rule: {runs, failure}. The failure is shrunk; before that, and before each
// seed, tell what is being done, for the case that the server never comes back.
function trySeeds(bundle, {seeds: [first, last], stage: name, model}, progress, tell) {
  const stage = stageOf(bundle, name);
  const settings = {lines: false, recordFrom: Infinity, progress, mostCalls: MOST_CALLS};
  const mistakes = (experiment) => broken(experiment, simulate(stage, {...experiment, ...settings}), model);
  for (let seed = first; seed <= last; seed++) {
    const experiment = experimentOf(seed, name, model);
    const told = {runs: seed - first + 1, failure: {seed, text: formatExperiment(experiment)}};
    tell({...told, failure: {...told.failure, rule: "silence", why: "the server makes no call any more"}});
    const [mistake] = mistakes(experiment);
    if (mistake === undefined) continue;
    tell({...told, failure: {...told.failure, ...explained(mistake)}});
    const same = (other) => mistakes(other).find(({rule}) => rule === mistake.rule);
    const small = shrink(experiment, (other) => same(other) !== undefined);
    return {...told, failure: {seed, text: formatExperiment(small), whole: told.failure.text,
                               ...explained(same(small))}};
  }
  return {runs: last - first + 1, failure: null};
}

// A rule that is broken, in words.
function explained({rule, client, text}) {
  return {rule, why: client === undefined ? text : `client ${client}: ${text}`};
}

async function judge(bundle, job, progress) {
  const {goals} = await import("./goals.mjs");
  const goal = goals.find(({number}) => number === job.goal);
  if (goal === undefined) throw new Error(`there is no goal ${job.goal}: want 1 to ${goals.length}`);
  const experiments = job.texts.map((text) => {
    const experiment = parseExperiment(text);
    return {experiment, result: simulate(stageOf(bundle, experiment.stage), {...experiment, progress, lines: false})};
  });
  return {title: goal.title, ...goal.judge(experiments)};
}

async function work() {
  const bundle = readBundle(workerData.folder);
  let told = 0;
  const progress = () => {
    if (Date.now() - told < SILENCE_MS / 10) return;
    told = Date.now();
    parentPort.postMessage({alive: true});
  };
  const tell = (sofar) => parentPort.postMessage({alive: true, sofar});
  parentPort.on("message", async (job) => {
    try {
      parentPort.postMessage({answer: await answer(bundle, job, progress, tell)});
    } catch (error) {
      const {message, position, expected, text} = error;
      const known = error instanceof GrammarError || error.constructor === Error;
      parentPort.postMessage({answer: {error: known ? message : error.stack, position, expected, text}});
    }
  });
  parentPort.postMessage({ready: true});
}

// ---- the worker's host

function cpuMs() {
  const {user, system} = process.cpuUsage();
  return (user + system) / 1000;
}

// Return a function that answers one job after the other.
function host(folder) {
  let worker = null, settle = null, timer = null, sofar = null;
  const silent = (usedBefore) => {
    const used = cpuMs() - usedBefore;
    if (used < SILENCE_MS / 2) { // a busy machine: the worker had no processor
      timer = setTimeout(silent, SILENCE_MS, usedBefore);
      return;
    }
    worker.terminate();
    worker = null;
    settle({answer: sofar || {result: null,
                              stopped: `the server makes no call any more: stopped after ${SILENCE_MS / 1000} s`}});
  };
  const expect = () => {
    clearTimeout(timer);
    timer = setTimeout(silent, SILENCE_MS, cpuMs());
  };
  const start = () => new Promise((ready) => {
    worker = new Worker(fileURLToPath(import.meta.url), {workerData: {folder}});
    worker.on("message", (message) => {
      if (message.ready) return ready();
      if (message.sofar) ({sofar} = message);
      if (message.alive) return expect();
      clearTimeout(timer);
      return settle(message);
    });
    worker.on("error", (error) => settle({answer: {error: error.stack}}));
  });
  return {
    async ask(job) {
      if (worker === null) await start();
      const done = new Promise((resolve) => {
        settle = resolve;
      });
      sofar = null;
      expect();
      worker.postMessage(job);
      return (await done).answer;
    },
    end() {
      clearTimeout(timer);
      if (worker !== null) worker.terminate();
    },
  };
}

async function main() {
  const {ask, end} = host(process.argv[2]);
  let rest = "";
  process.stdin.setEncoding("utf8");
  for await (const chunk of process.stdin) {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop();
    for (const line of lines) if (line) process.stdout.write(`${JSON.stringify(await ask(JSON.parse(line)))}\n`);
  }
  end();
}

if (!isMainThread && workerData && workerData.folder) work();
else if (process.argv[1] === fileURLToPath(import.meta.url)) main();
