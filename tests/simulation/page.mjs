// The page: the first minute, the goals, and everything. One rule: time stands whenever it is the player's turn.
import {
  decodeAddress, encodeAddress, formatExperiment, isNewClient, numberOf, parseExperiment, routeOf, shortened,
} from "./grammar.mjs";
import {goals} from "./goals.mjs";
import {$, element, button, sentence} from "./page-elements.mjs";
import {Bench} from "./page-bench.mjs";
import {Doors, duration} from "./page-doors.mjs";
import {Simulator} from "./page-simulator.mjs";
import {
  SOON, clientName, clientState, grouped, hasEnded, laneName, span, took, upper, why, whyInOrder, LOOP,
} from "./page-run.mjs";

const data = JSON.parse($("data").textContent);
const TURN_MS = 100;               // after a click, so much time passes, and it is the player's turn again
const TITLES = { "01-blocking": "one client after the other", "02-threaded": "a thread for each connection",
  "03-select": "one thread, select", "04-poll": "one thread, poll", "05-epoll": "one thread, epoll",
  "06-libev": "one thread, a library's loop" };
const STAGES = Object.keys(data.stages);
const OWN = STAGES.filter(each => !(each in TITLES) && !data.stages[each].title);      // a reader's
const SERVERS = STAGES.filter(each => each in TITLES || OWN.includes(each));          // without those with a bug
const embedded = window.self !== window.top;

const simulator = new Simulator($("worker").textContent, data.stages);
const bench = new Bench({ rows: $("rows"), time: $("time"), details: $("details") },
  (stage, file) => data.own[stage]?.[file] || data.sources[file], () => turned());
bench.repository = data.repository;

// What the player has: a server, what the clients do, other servers beside it.
const table = { stage: "01-blocking", options: [], events: [], others: [] };
let past = [];                     // tables before the last clicks, for undo
let predictions = [];              // {server, said, happened, right}
let goal = null, unlocked = new Set(), everything = false;
let scene = 0;                     // a new one ends what an old one was waiting for
let asked = new Set();          // clients (numbers) that were asked about
const solved = new Set(remembered("solved", []));

function remembered(name, otherwise) {
  try {
    return JSON.parse(localStorage.getItem("play-" + name)) ?? otherwise;
  } catch {
    return otherwise;              // no storage here: nothing is remembered
  }
}

function remember(name, value) {
  try {
    localStorage.setItem("play-" + name, JSON.stringify(value));
  } catch { /* as above */ }
}

// ---- servers and runs

const serverText = ({ stage, options }) => [stage, ...options].join(" ");

function serverOf(text) {
  const [stage, ...options] = text.split(" ");
  return { stage, options };
}

// The options that belong to the experiment, for another server.
function sameFor(text, options) {
  const other = serverOf(text), kept = [];
  for (let i = 0; i < options.length; i++)
    if (["--delay", "--timeout", "--descriptors"].includes(options[i])) kept.push(options[i], options[++i]);
  return { stage: other.stage, options: [...other.options, ...kept] };
}

class Outdated extends Error {}

// Show the runs of the table. The cursor stays. Throw Outdated if the player has done something else meanwhile.
async function simulateTable(folded = true) {
  const mine = ++simulateTable.count, outdated = () => mine !== simulateTable.count;
  const rows = [table, ...table.others.map(each => sameFor(each, table.options))];
  simulator.abandon(table.stage);
  const late = setTimeout(() => { if (!outdated()) say(SIMULATING); }, 300);
  try {
    const runs = await Promise.all(rows.map(({ stage, options }) =>
      simulator.run({ stage, options, events: table.events })));
    if (outdated()) throw new Outdated();
    bench.show(runs.map((run, i) => ({ run, names: [shortName(rows[i])], caption: captionOf(rows[i]) })), folded);
    $("details").dataset.ready = "yes";
  } catch (error) {
    if (outdated()) throw new Outdated();
    say(element("p", { className: "wrong" }, error.message));
    if (bench.shown.length && !$("controls").hidden) buildControls();     // so that it can be undone
    throw new Outdated();
  } finally {
    clearTimeout(late);
    if (!outdated() && $("turn").textContent === SIMULATING) say();
  }
}
simulateTable.count = 0;
const SIMULATING = "The simulation runs …";

function shortName({ stage, options }) {
  const kept = [];
  for (let i = 0; i < options.length; i++)
    if (options[i] === "--delay" || options[i] === "--timeout") i++;
    else kept.push(options[i]);
  return [stage, ...kept].join(" ");
}

function captionOf({ stage, options }) {
  const { of, title } = data.stages[stage];
  const words = [TITLES[stage] || (title ? `${of} with a bug: ${title}` : "yours")];
  if (/^0[12]/.test(stage)) return words;              // --block and --threads change nothing there
  const seconds = secondsOf(options), sleeps = !options.includes("--compute");
  if (options.includes("--threads")) words.push(", and a pool",
    sleeps ? `; in Python: await asyncio.to_thread(time.sleep, ${seconds})` : "");
  else if (options.includes("--block") && sleeps) words.push(`; in Python: time.sleep(${seconds}) in an async def`);
  return words.filter(Boolean);
}

// Three bugs of the gallery (tests/servers/bugs), and clicks with which their effect shows.
const BUGS = [
  ["lost-wake-up --block --threads 1 --delay 1; 0:/slow 100:/fast",
    "a lost wake-up: /slow is never answered"],
  ["hang-up-spin-epoll --delay 1; 0:half=/slow 50:rest@1 100:reset@1",
    "a spin: a client leaves, and the loop turns without end"],
  ["select-keeps-its-sets --delay 1; 0:half 100:/fast 200:rest@1",
    "a set that is not copied: select forgets a client"]];

const secondsOf = options => numberOf(options, "--delay", 10);

// ---- the player's turn: words, questions, buttons

function say(...nodes) {
  $("turn").replaceChildren(...nodes.map(each => typeof each === "string" ? sentence(each) : each));
  announce(nodes.map(each => typeof each === "string" ? each : each.textContent).join(" "));
}

const live = element("div", { className: "unseen", role: "status" });
document.body.append(live);

function announce(words) {
  live.textContent = words;
}

// Resolve when this button is pressed.
function pressed(words, className = "act") {
  return new Promise(resolve => {
    const made = button(words, () => resolve(made));
    made.className = className;
    const choices = element("div", { className: "choices" }, made);
    $("turn").append(choices);
    if (pressed.keyboard) made.focus();
  });
}

// Ask; resolve with the index of the answer.
function ask(question, answers) {
  return new Promise(resolve => {
    const legend = element("legend", { tabIndex: -1 }, question);
    const choices = element("div", { className: "choices" },
      ...answers.map((words, i) => button(words, () => resolve(i))));
    $("turn").append(element("fieldset", { className: "question" }, legend, choices));
    if (pressed.keyboard) legend.focus();
  });
}
addEventListener("keydown", () => { pressed.keyboard = true; }, true);
addEventListener("pointerdown", () => { pressed.keyboard = false; }, true);

// ---- questions about a client, judged by the run

// {question, answers, judge(run) -> index, happened(run) -> words}; null if there is nothing to ask.
function questionAbout(number, experiment) {
  const last = experiment.events[experiment.events.length - 1];
  const slow = experiment.events.some(each => each !== last && routeOf(each) === "/slow" && each.action === "get");
  const when = run => {
    const client = run.clients[number - 1];
    if (client.answered === null) return 2;
    const time = took(client) - (client.slow ? run.delay : 0);
    if (time < SOON) return 0;
    // A silent client is never answered, but it is done when the server closes its connection.
    const done = each => each.answered ?? (slow ? null : each.left?.t ?? each.lost?.t ?? null);
    const before = run.clients.filter(each => each !== client && each.start <= client.start).map(done)
      .filter(each => each !== null);
    return client.slow || before.some(each => Math.abs(each - client.answered) < SOON) ? 1 : 2;
  };
  const happened = run => {
    const client = run.clients[number - 1];
    return client.answered === null ? (run.ending?.cut ? `not within ${span(run.end - client.start)}` : "never")
      : took(client) < SOON ? "immediately" : `after ${span(took(client))}`;
  };
  if (routeOf(last) === "/slow") return { question: "When is this /slow answered?", judge: when, happened,
    answers: [`after ${secondsOf(experiment.options)} s, as if it were alone`, "later than that", "never"] };
  return { question: `When is ${clientName(bench.run, number - 1)} answered?`, judge: when, happened,
    answers: ["immediately", slow ? "when /slow has its answer" : "when the client before it is done",
      "later than that, or never"] };
}

async function predict(question) {
  bench.limit = bench.at.t;
  const said = await ask(question.question, question.answers);
  bench.limit = Infinity;
  const run = bench.run, right = question.judge(run) === said;
  const kept = { server: shortName(table), said: question.answers[said], happened: question.happened(run), right };
  return kept;
}

function keep(prediction) {
  predictions.push(prediction);
  const rows = predictions.slice(-8).map(({ server, said, happened, right }) => element("tr", {},
    element("td", {}, ...server.split(" ").flatMap((each, i) =>
      [i ? " " : "", element("span", { className: "place" }, each)])),
    element("td", {}, said), element("td", { className: right ? "" : "off" }, happened)));
  $("predictions").replaceChildren(element("table", {}, element("caption", {}, "What you predicted"),
    element("thead", {}, element("tr", {},
      ...["server", "you said", "it happened"].map(each => element("th", { scope: "col" }, each)))),
    element("tbody", {}, ...rows)));
  $("predictions").hidden = false;
}

// ---- the first minute

const one = { stage: "01-blocking", options: ["--delay", "1"] };
const loopOf = stage => ({ stage, options: ["--delay", "1"] });
const trapOf = stage => ({ stage, options: ["--block", "--delay", "1"] });
const SLOW = { at: 0, action: "get", path: "/slow" }, FAST = { at: 100, action: "get", path: "/fast" };

async function firstMinute() {
  const mine = ++scene, current = promise => promise.then(value => {
    if (mine !== scene) throw new Outdated();
    return value;
  });
  clear();
  document.body.classList.add("first");
  Object.assign(table, { ...one, events: [], others: [] });
  await simulateTable();
  bench.standAt(0);
  say("This is a web server in C, with one thread. Its /slow takes a second, its /fast no time.");
  await current(pressed("Send /slow"));

  table.events = [SLOW];
  say("");
  await simulateTable();
  $("details").hidden = false;
  bench.standAt(0);
  await current(bench.play(100));
  say(`Time stands at 100 ms. It is your turn. ${whereIsThread()}`);
  await current(pressed("Send /fast"));

  table.events = [SLOW, FAST];
  say("");
  const first = await askAgain(mine, one);
  await current(pressed("The same clicks, in 05-epoll. It has one thread, too."));

  document.body.classList.remove("first");
  say("");
  const second = await askAgain(mine, loopOf("05-epoll"),
    "This server has one thread as well. You have sent /slow. At 100 ms, you send /fast.");
  await current(pressed("The same loop, with one line changed"));

  say("");
  const third = await askAgain(mine, trapOf("05-epoll"), twins());
  if (![first, second, third].every(each => each.right)) {
    const wrong = [first, second, third].find(each => !each.right);
    const other = wrong === second ? loopOf("04-poll") : trapOf("03-select");
    await current(pressed(`Once more, in ${shortName(other)}`));
    say("");
    await askAgain(mine, other, wrong === second ? "One thread and a loop, with poll in the place of epoll."
      : "A loop with select, and the same changed line.");
  }
  await current(pressed("The twins: 01 and 05 --block"));

  Object.assign(table, { ...one, events: [SLOW, FAST], others: ["05-epoll --block"] });
  await simulateTable(false);
  bench.standAt(0);
  say("");
  $("predictions").hidden = true;
  await current(bench.play());
  endOfFirstMinute();
}

function whereIsThread() {
  const { call, name } = waitingAt(100);
  return call ? `The thread of the server is in ${name}, in the highlighted line.` : "";
}

function waitingAt(t) {
  const call = bench.run.threads[0].calls.filter(each => each.start <= t && (each.end === null || each.end > t)).pop();
  return { call, name: call ? call.name : "" };
}

// Show this server with the clicks of the table, ask about /fast, play, and say what happened.
async function askAgain(mine, server, ...words) {
  Object.assign(table, { stage: server.stage, options: server.options, others: [] });
  await simulateTable();
  bench.standAt(100);
  say(...words);
  const prediction = await predict(questionAbout(2, table));
  if (mine !== scene) throw new Outdated();
  say("");
  await bench.play();
  if (mine !== scene) throw new Outdated();
  const reason = why(bench.run, bench.run.clients[1]);
  if (reason.call) bench.pin(reason.call);
  say(verdictOf(prediction), reason.sentence);
  keep(prediction);
  return prediction;
}

function verdictOf({ said, happened, right }) {
  return element("p", { className: right ? "solved" : "wrong" },
    right ? `As you said: ${said}${said.startsWith(happened) ? "" : ` (${happened})`}.`
      : `You said: ${said}. What happened: ${happened}.`);
}

function twins() {
  return element("div", {}, element("p", { className: "say" },
    "The same loop. The option --block changes one line of its /slow. In Python, that line would be:"),
    element("div", { className: "twin" },
      element("span", {}, "before"), element("code", {}, "await asyncio.sleep(1)"),
      element("span", {}, "now"), element("code", {}, "time.sleep(1)      # in an async def")));
}

function endOfFirstMinute() {
  const calls = bench.shown.map(each => waitOf(each.run)), [first, second] = calls.map(placeOf);
  say(`Two servers, the same picture. In 01, the thread was in ${first}. In 05 --block, it was in ${second}.`,
    element("p", { className: "rule" },
      "Each of these servers has one thread. What counts is the call in which that thread waits. " +
      "05 waits in a call that ends for any client. 01 and 05 --block wait in a call that ends for one thing " +
      "only, and so everybody else waits, too. ",
      "Ask this of any server: in which call is the thread that should serve me, and what ends that call?"));
  unlockTime();
  const go = element("div", { className: "choices" }, button("Now the goals", () => { location.hash = "#goals"; }));
  go.firstChild.className = "act";
  $("turn").append(go);
  if (calls[0]) bench.pin(calls[0]);
}

// The call in which the first thread was when /fast came.
function waitOf(run) {
  return run.threads[0].calls.filter(each => each.end > each.start && each.start <= 100 && each.end > 100).pop();
}

function placeOf(call) {
  return call ? `${call.name}, called from ${call.source || "a line that this browser does not tell"}` : "no call";
}

function entitle(words) {
  $("title").textContent = document.title = words;
}

function clear() {
  bench.stop();
  bench.limit = Infinity;
  goal = null;
  everything = false;
  unlocked = new Set();
  past = [];
  asked = new Set();
  document.body.classList.remove("first");
  entitle("You are two clients. Who waits for whom?");
  for (const id of ["time", "controls", "details", "predictions", "goals", "doors"]) $(id).hidden = true;
  $("bench").hidden = false;
  $("task").replaceChildren();
  document.body.classList.remove("timed");
  say();
}

function unlockTime() {
  $("time").hidden = false;
  $("details").hidden = false;
  document.body.classList.add("timed");
  bench.draw();
}

// ---- the goals

function showGoals() {
  ++scene;
  clear();
  $("bench").hidden = true;
  $("goals").hidden = false;
  entitle("Goals");
  const items = goals.map(each => {
    const made = element("button", { type: "button", onclick: () => { location.hash = `#goal-${each.number}`; } },
      element("strong", {}, `${each.number}. ${each.title}${solved.has(each.number) ? " ✓" : ""}`),
      element("span", { className: "belief" }, `To be disproved: “${each.belief}”`));
    return element("li", {}, made);
  });
  const waits = element("button", { type: "button", onclick: () => { location.hash = "#doors"; } },
    element("strong", {}, "You are the wait"),
    element("span", { className: "belief" }, "What select, poll and epoll do, done by you"));
  items.splice(9, 0, element("li", {}, waits));
  $("goals").replaceChildren(
    element("p", {}, "Each goal disproves a belief. Most bring something new that you may do. The simulation judges."),
    element("ol", { className: "goals" }, ...items),
    element("h2", {}, "Three bugs"),
    element("p", {}, "Servers with one mistake each. Let time pass, and look at the thread."),
    element("ul", {}, ...BUGS.filter(([address]) => address.split(" ")[0] in data.stages)
      .map(([address, words]) => element("li", {}, element("a", { href: encodeAddress(`${address}; at 0`) }, words)))),
    ...OWN.map(each => element("p", {}, "Your own server: ",
      element("a", { href: encodeAddress(`${each} --delay 1; 0:/slow 100:/fast`) }, `${each}, with the first clicks`))),
    element("p", {}, element("a", { href: "#first" }, "The first minute again"), " · ",
      element("a", { href: "#everything" }, "Everything: all servers, all options, all that a client may do")));
}

async function openGoal(number, experiment, at) {
  const mine = ++scene;
  if (goal?.number !== number) tried = [];
  clear();
  goal = goals[number - 1];
  unlocked = new Set(goal.controls);
  entitle(`Goal ${goal.number}: ${goal.title}`);
  $("task").replaceChildren(element("div", { className: "task" }, element("p", {}, goal.task),
    element("p", { className: "quiet" }, `To be disproved: “${goal.belief}” `,
      element("a", { href: "#goals" }, "All goals"))));
  if (experiment) Object.assign(table, experiment);
  else Object.assign(table, serverOf(goal.server), { events: [], others: [] });
  await begin(mine, at);
}

async function openEverything(experiment, at) {
  const mine = ++scene;
  clear();
  everything = !embedded || !experiment;
  if (!everything) unlocked = usedBy(experiment);
  entitle(experiment ? "Who waits for whom?" : "Everything");
  $("task").replaceChildren(element("p", { className: "task quiet" }, "All servers and all that a client may do. ",
    element("a", { href: "#goals" }, "Goals"), " · ", element("a", { href: "#first" }, "The first minute")));
  Object.assign(table, experiment || { stage: "05-epoll", options: ["--delay", "1"], events: [], others: [] });
  await begin(mine, at);
}

// In a frame of another page, an experiment comes with what it uses itself, and no more.
function usedBy({ options, events }) {
  const actions = { "/slow": "slow", "/fast": "fast" };
  return new Set([...options.filter(each => each.startsWith("--")).map(each => each.slice(2)),
    ...events.map(each => each.action === "get" ? actions[routeOf(each)] : each.action)]);
}

async function begin(mine, at) {
  await simulateTable();
  if (mine !== scene) throw new Outdated();
  $("controls").hidden = false;    // there is a run now
  unlockTime();
  bench.standAt(0);                // drawn, the axis is known, and with it how far one can seek
  if (at !== undefined) return bench.seek(at);
  turned();
}

// It is the player's turn: controls, and what can be said now.
function turned() {
  if (document.body.classList.contains("first") || !$("controls") || $("controls").hidden || bench.limit < Infinity)
    return;
  buildControls();
  const { ending, broken: [mistake] } = bench.run, over = hasEnded(bench.run, bench.cursor(0));
  const atEnd = over || bench.atEnd;
  const nodes = [];
  const failed = over && ending.kind === "exited" && ending.status;
  if (failed) nodes.push(element("p", { className: "wrong" }, endWords()));
  else if (goal && table.events.length && atEnd) nodes.push(...judged());
  if (!nodes.length) nodes.push(table.events.length && !atEnd
    ? `Time stands at ${span(bench.at.t)}. Act, or let time pass.`
    : over || table.events.length ? endWords() : "Time stands at 0. What do your clients do?");
  if (atEnd && mistake && ending.kind !== "stopped" && !(failed && mistake.rule === "ending"))
    nodes.push(element("p", { className: "wrong" }, ruleWords(mistake)));
  say(...nodes);
  if (table.events.length) writeAddress();
  simulator.prepare(copyOf(table), Math.round(bench.at.t));
}

function endWords() {
  const { ending, result } = bench.run, said = result.output.filter(each => each.fd === 2).pop();
  if (ending && ending.kind === "exited")
    return `The server has ended, with status ${ending.status}${said ? `. It says: ${said.text.trim()}` : "."}`;
  if (ending && ending.kind === "stopped") return `The simulation stopped this server. ${upper(ending.text)}.`;
  if (ending && ending.kind === "killed") return `The server was ended by a signal: ${ending.text || ending.signal}.`;
  if (ending && ending.cut) return `The simulation looks no further than ${span(ending.at)}.`;
  const { connected, closed } = result.idle;
  return `Nothing more happens until a client does something${
    connected > closed ? ", or the time-out of the idle clients has passed" : ""}.`;
}

// One of those that hold in each run of the six servers, as tests/play.py says it.
const ruleWords = ({ rule, client, text }) => `This breaks a rule (${rule}): ` +
  `${client ? `client ${client}: ` : ""}${text}.`.replace(/client (\d+)/g, (_, n) => clientName(bench.run, n - 1));

const BACK = "You can also go back in time, and act then.";

function judged() {
  const others = goal.both ? tried.filter(each => each.experiment.stage !== table.stage) : [];
  tried = [...others, { experiment: copyOf(table), result: bench.run.result }];
  const { solved: done, text, next: missing } = goal.judge(tried);
  if (!done)
    return [element("p", { className: "say" }, text),
      ...missing ? [element("div", { className: "choices" }, againIn(missing))] : [],
      element("p", { className: "quiet" }, `${endWords()} ${BACK}`)];
  solved.add(goal.number);
  remember("solved", [...solved]);
  const next = goals[goal.number] ? element("a", { href: `#goal-${goal.number + 1}` }, "Next goal")
    : element("a", { href: "#goals" }, "All goals");
  const links = [element("a", { href: data.tutorial + "#" + goal.chapter }, "the chapter"), ", ",
    element("a", { href: data.recordings[goal.recording] }, "the real server, recorded")];
  const address = tried.map(({ experiment }) => formatExperiment(experiment)).join("\n");
  return [element("div", { className: "solved" }, element("p", {}, element("strong", {}, "Solved. "), text),
    element("p", {}, goal.lesson), element("p", {}, "Read on: ", ...links, ". ", next),
    element("p", {}, "To hand this in to a teacher, copy: ", element("code", { className: "handin" }, address)))];
}
let tried = [];                    // the last run; of a goal in two servers, that of each

const copyOf = ({ stage, options, events }) => ({ stage, options: [...options], events: [...events] });

// ---- what the player does

// Do something now. What came later is dropped; undo brings it back.
async function act(...events) {
  const mine = ++scene, now = Math.round(bench.at.t);
  past.push({ ...copyOf(table), others: [...table.others], at: { ...bench.at } });
  const kept = table.events.filter(each => each.at <= now);
  table.events = [...kept, ...events.map(each => ({ at: now, ...each }))];
  bench.stop();
  await simulateTable();
  bench.standAt(now);
  await goOn(mine, now, events.length === 1 ? questionFor(table.events[table.events.length - 1]) : null);
}

// Ask if there is a question, let time pass until it is decided, and say why it came so.
async function goOn(mine, now, question) {
  say("");
  if (!question) {
    await bench.play(now + TURN_MS);
    if (mine === scene) turned();
    return;
  }
  buildControls(true);
  const prediction = await predict(question);
  if (mine !== scene) throw new Outdated();
  say("");
  await bench.play(Math.max(now + TURN_MS, question.until(bench.run)));
  if (mine !== scene) throw new Outdated();
  keep(prediction);
  turned();
  const reason = question.explain(bench.run);
  if (reason.call) bench.pin(reason.call);
  const elsewhere = prediction.right || $("turn").querySelector(".act") ? null : inAnother();
  const again = elsewhere ? [element("div", { className: "choices" }, againIn(elsewhere))] : [];
  // Once the goal is reached, another server is not the next step.
  if ($("turn").querySelector(".solved")) {
    for (const each of again) each.firstChild.className = "";
    $("turn").append(...again.splice(0));
  }
  $("turn").prepend(verdictOf(prediction), sentence(reason.sentence), ...again);
  announce($("turn").textContent);
  if (pressed.keyboard && document.activeElement === document.body)     // the answer that was pressed is gone
    ($("turn").querySelector("button.act, a[href^='#']") || $("controls").querySelector("button:enabled")).focus();
}

function questionFor(event) {
  if (hasEnded(bench.run, { t: event.at, order: -1 })) return null;
  const clients = table.events.filter(isNewClient).length;
  if (goal && goal.number === 9 && (event.action === "reset" || event.action === "close"))
    return questionOfLeaving(event, clients);
  if (goal && goal.number === 10 && event.action === "get") return questionOfCost();
  if (event.action === "pipeline" && goal && goal.number === 8) return questionOfOrder(clients);
  if (event.action !== "get") return null;
  const earlier = table.events.some(each => each !== event && isNewClient(each));
  if (!earlier || asked.has(key(event))) return null;
  asked.add(key(event));
  const question = questionAbout(clients, table);
  return { ...question, until: run => run.clients[clients - 1].answered ?? bench.end,
    explain: run => why(run, run.clients[clients - 1]) };
}

// Ask once for each server and each kind of request.
const key = event => `${serverText(table)} ${event.path} ` +
  table.events.filter(each => each.action !== "get" || each.path !== "/fast").length;

function questionOfOrder(number) {
  const last = run => run.clients[number - 1].answers[1];
  return { question: "One connection asks for /slow and then for /fast. When is its /fast answered?",
    answers: ["immediately", "after its /slow", "never"],
    judge: run => !last(run) ? 2 : last(run).t - run.clients[number - 1].start < SOON ? 0 : 1,
    happened: run => !last(run) ? "never" : `after ${span(last(run).t - run.clients[number - 1].start)}`,
    until: run => last(run) ? last(run).t : bench.end, explain: run => whyInOrder(run, run.clients[number - 1]) };
}

function questionOfLeaving(event, clients) {
  const number = event.client || clients;
  const next = run => run.threads.flatMap(each => each.calls).sort((a, b) => a.order - b.order)
    .find(call => call.client === number - 1 && call.start >= run.clients[number - 1].left?.t);
  const judge = run => {
    const call = next(run), client = run.clients[number - 1];
    return !call ? 2 : call.start - client.left.t < SOON ? 0 : 1;
  };
  return { question: `When does ${table.stage.slice(0, 2)} learn that the client has left?`, judge,
    answers: ["immediately", "when it wants to send the answer", "never"],
    happened: run => judge(run) === 2 ? "never"
      : `${judge(run) === 0 ? "immediately, " : ""}at ${span(next(run).start)}`,
    until: run => next(run) ? next(run).start : bench.end,
    explain: run => ({ call: next(run) || null, sentence: next(run)
      ? `The next call about this client was ${next(run).name}, at ${span(next(run).start)}` +
        `${next(run).source ? ", called from " + next(run).source : ""}.`
      : "The server made no call about this client any more." }) };
}

function questionOfCost() {
  const idle = table.events.reduce((sum, each) => sum + (each.action === "idle" ? each.count : 0), 0);
  const costs = data.measured[table.stage];
  if (!costs || idle !== 10000 || !costs[10000]) return null;
  const times = costs[10000] / costs[0];
  const factor = times < 2 ? "" : `, about ${grouped(Number(times.toPrecision(2)))} times as much`;
  return { question: `In ${table.stage}, one /fast without idle clients costs ${duration(costs[0])} of processor ` +
      "time (measured). And now, with 10,000?",
    answers: ["as much", "about 10 times as much", "more than 100 times as much"],
    judge: () => times < 2 ? 0 : times < 30 ? 1 : 2, happened: () => `${duration(costs[10000])} as measured${factor}`,
    until: () => Math.round(bench.at.t) + TURN_MS,
    explain: run => ({ call: run.threads[0].calls.find(each => LOOP.has(each.name) && each.start >= 0) || null,
      sentence: `Measured on ${data.measured.machine}, not simulated: ${duration(costs[10000])} for each request. ` +
        "In the simulation, calls cost nothing, so it answers immediately in any case." }) };
}

// A wrong prediction is asked again, with the same clicks, in another server.
const ELSEWHERE = { "01": "03-select --block", "02": "05-epoll", "03": "04-poll", "04": "03-select", "05": "04-poll",
  "06": "05-epoll" };

function inAnother() {
  const [stage, ...loop] = (ELSEWHERE[table.stage.slice(0, 2)] || "04-poll").split(" ");
  const extra = table.events.some(each => routeOf(each) === "/slow") ? loop : [];   // only a /slow blocks
  return { stage, options: [...extra.filter(each => !table.options.includes(each)), ...table.options] };
}

function againIn(other) {
  const again = button(`The same clicks, in ${shortName(other)}`, () => guarded(repeat(other)));
  again.className = "act";
  return again;
}

async function repeat(server) {
  const mine = ++scene;
  past.push({ ...copyOf(table), others: [...table.others], at: { ...bench.at } });
  Object.assign(table, server);
  const last = table.events[table.events.length - 1];
  await simulateTable();
  const question = questionFor(last);
  bench.standAt(question ? last.at : 0);
  if (question) return goOn(mine, last.at, question);
  say("");
  if (await bench.play() && mine === scene) turned();
}

async function undo() {
  if (!past.length) return;
  ++scene;
  const { at, ...before } = past.pop();
  Object.assign(table, before);
  bench.limit = Infinity;
  bench.stop();
  await simulateTable();
  bench.at = at;
  bench.draw();
  turned();
}

async function change(server) {
  const mine = ++scene;
  past.push({ ...copyOf(table), others: [...table.others], at: { ...bench.at } });
  Object.assign(table, server);
  bench.limit = Infinity;
  bench.stop();
  const { t } = bench.at;
  await simulateTable();
  if (mine !== scene) throw new Outdated();
  bench.standAt(t);
  turned();
}

// ---- the controls

const roomy = matchMedia("(min-width: 900px)"), unfolded = new Set();
roomy.onchange = () => { if (bench.shown.length && !$("controls").hidden) buildControls(bench.limit < Infinity); };

function buildControls(disabled = false) {
  const may = name => everything || unlocked.has(name);
  const folds = everything && !roomy.matches;          // there is no room for everything
  const first = [], clientRows = [], serverRows = [], last = [];
  const row = (rows, ...nodes) => { if (nodes.length) rows.push(element("div", { className: "choices" }, ...nodes)); };
  const does = (name, words, ...events) => {
    if (!may(name)) return [];
    const made = button(words, () => guarded(act(...events.map(each => ({ ...each })))));
    return [fresh(name, made)];
  };
  const get = (path, count = 1) => Array.from({ length: count }, () => ({ action: "get", path }));
  const usual = [...does("slow", "Send /slow", ...get("/slow")), ...does("fast", "Send /fast", ...get("/fast"))];
  const more = [...does("five", "5 × /slow", ...get("/slow", 5)),
    ...does("hundred", "100 × /slow", ...get("/slow", 100)),
    ...does("silent", "Connect, and stay silent", { action: "silent" }),
    ...does("half", "Send half a request", { action: "half" }),
    ...does("pipeline", "/slow and /fast on one connection", { action: "pipeline" })];
  row(first, ...usual, ...folds ? [] : more);
  row(clientRows, ...folds ? more : []);
  const clients = bench.run.clients.filter(each =>
    ["way", "backlog", "accepted", "queued"].includes(clientState(each, bench.cursor(0))));
  const about = ["rest", "half-close", "reset", "stop-reading"].filter(may);
  if (about.length) {
    const which = element("select", { "aria-label": "Which client" }, ...clients.slice(-20).reverse().map(each =>
      element("option", { value: each.number }, laneName(bench.run, each))));
    if (!clients.length) which.append(element("option", {}, "no client is waiting"));
    const words = { rest: "sends the rest", "half-close": "closes its half", reset: "leaves (reset)",
      "stop-reading": "stops reading" };
    const made = about.map(name => {
      const each = button(words[name], () => guarded(act({ action: name, client: Number(which.value) })));
      each.disabled = !clients.length;
      return fresh(name, each);
    });
    // Only a client with half a request has a rest to send.
    const offer = () => {
      const client = bench.run.clients[which.value - 1], rest = made[about.indexOf("rest")];
      if (rest && client) rest.disabled = disabled || client.action !== "half" ||
        (client.sent !== null && client.sent <= bench.at.t);
    };
    which.onchange = offer;
    offer();
    row(clientRows, which, ...made);
  }
  row(clientRows, ...does("TERM", "SIGTERM to the server", { action: "TERM" }),
    ...does("INT", "Ctrl-C", { action: "INT" }));
  row(serverRows, ...optionControls(may));
  if (everything || table.others.length || (table.events.length && bench.atEnd))
    row(serverRows, ...otherControls());
  bench.playButton.disabled = !table.events.length;
  const undoing = button("Undo", () => guarded(undo()));
  undoing.disabled = !past.length;
  undoing.title = "Undo (Ctrl+Z)";
  const again = button("Start again", () => guarded(restart()));
  again.disabled = !table.events.length;
  const link = (words, onclick) => element("button", { type: "button", className: "link", onclick }, words);
  row(last, undoing, again, ...goal ? [link("Show me a way", showSolution)] : [],
      ...table.events.length && !embedded ? [link("Link to this moment", copyLink)] : [],
      ...embedded ? [element("a", { href: encodeAddress(addressOf()) }, "On a page of its own")] : []);
  const nameOf = each => each.getAttribute("aria-label") || (each.closest("label") || each).textContent;
  const had = $("controls").contains(document.activeElement) ? nameOf(document.activeElement) : null;
  $("controls").replaceChildren(...first, ...folds ? [fold("More that clients can do, and signals", clientRows),
    fold("The server, its options, other servers", serverRows)] : [...clientRows, ...serverRows], ...last);
  for (const each of $("controls").querySelectorAll("button, select, input")) if (disabled) each.disabled = true;
  if (had) [...$("controls").querySelectorAll("button, select, input")].find(each => nameOf(each) === had)?.focus();
}

function fold(words, rows) {
  const box = element("details", { open: unfolded.has(words),
    ontoggle: () => box.open ? unfolded.add(words) : unfolded.delete(words) }, element("summary", {}, words), ...rows);
  return box;
}

function withOption(options, name, value) {
  const kept = [];
  for (let i = 0; i < options.length; i++) {
    if (options[i] !== name) kept.push(options[i]);
    else if (value !== true && value !== false) i++;
  }
  if (value === true) return [name, ...kept];
  return value === false || value === "" ? kept : [...kept, name, String(value)];
}

// Mark what a goal brings.
function fresh(name, control) {
  if (goal && goal.brings === name) control.classList.add("new");
  return control;
}

function optionControls(may) {
  const { stage, options } = table, made = [];
  const check = (name, flag, words) => {
    if (!may(name)) return;
    const box = element("input", { type: "checkbox", checked: options.includes(flag),
      onchange: () => guarded(change({ options: withOption(options, flag, box.checked) })) });
    made.push(fresh(name, element("label", { className: "check" }, box, element("code", {}, flag), words)));
  };
  // What is no value of an option, the server says itself.
  const number = (name, flag, words, step = 1) => {
    if (!may(name)) return;
    const at = options.lastIndexOf(flag);
    const field = element("input", { type: "number", min: 0, step, value: at < 0 ? "" : options[at + 1],
      onchange: () => {
        const none = field.value === "" || (name === "threads" && Number(field.value) === 0);
        guarded(change({ options: withOption(options, flag, none ? "" : Number(field.value)) }));
      } });
    made.push(fresh(name, element("label", {}, element("code", {}, flag), words, field)));
  };
  if (may("server")) {
    const select = element("select", { "aria-label": "Server", onchange: () => guarded(change({ stage: select.value,
      options: options.filter(each => everything || each !== "--block") })) },
      ...(everything ? STAGES : SERVERS).map(each => element("option", { value: each, selected: each === stage },
        data.stages[each].title ? `${data.stages[each].of} with a bug: ${each}` : each)));
    select.value = stage;
    made.push(fresh("server", element("label", {}, "server", select)));
  }
  if (!/^0[12]/.test(stage) || everything) {
    check("block", "--block", "/slow sleeps in the loop");
    check("compute", "--compute", "/slow computes");
  }
  number("threads", "--threads", "in a pool");
  number("delay", "--delay", "seconds of a /slow", "any");
  number("timeout", "--timeout", "seconds for a silent client", "any");
  number("descriptors", "--descriptors", "at most");
  if (may("idle")) {
    const now = table.events.reduce((sum, each) => sum + (each.action === "idle" ? each.count : 0), 0);
    const select = element("select", { "aria-label": "Idle clients",
      onchange: () => guarded(setIdle(Number(select.value))) },
      ...[0, 100, 1000, 10000].map(each => element("option", { value: each }, grouped(each))));
    select.value = now;
    made.push(fresh("idle", element("label", {}, "idle clients", select)));
  }
  return made;
}

// They connect before time 0.
async function setIdle(number) {
  const kept = table.events.filter(each => each.action !== "idle");
  await change({ events: number ? [{ at: 0, action: "idle", count: number }, ...kept] : kept });
}

function otherControls() {
  const blocks = each => /^0[3-6]/.test(each) || OWN.includes(each);
  const choices = [...SERVERS.flatMap(each => blocks(each) ? [each, `${each} --block`] : [each])]
    .filter(each => each !== shortName(table) && !table.others.includes(each));
  const select = element("select", { "aria-label": "Server to compare with" },
    ...choices.map(each => element("option", {}, each)));
  const add = button("Add it, with the same clicks",
    () => guarded(change({ others: [...table.others, select.value] })));
  const none = button("Only one server", () => guarded(change({ others: [] })));
  return [element("span", {}, "compare with"), select, add, ...table.others.length ? [none] : []];
}

// A goal begins again in its own server, if the player could not choose another one.
async function restart() {
  const own = goal && !unlocked.has("server") ? serverOf(goal.server) : table;
  await change({ events: [], ...own.stage === table.stage ? {} : own });
  bench.standAt(0);
  turned();
}

function showSolution() {
  const [first] = goal.solution;
  $("task").append(element("p", {}, "One way: ", ...goal.solution.flatMap((each, i) =>
    [i ? ", and " : "", element("a", { href: encodeAddress(each) }, each)])));
  return first;
}

async function copyLink() {
  const words = `${location.href.split("#")[0]}${encodeAddress(addressOf(Math.round(bench.at.t)))}`;
  try {
    await navigator.clipboard.writeText(words);
    announce("The link is copied.");
  } catch { /* the address is shown in any case */ }
  $("turn").append(element("p", { className: "quiet" }, "This moment: ", element("a", { href: words }, words)));
}

// ---- the address is the experiment

let written = "";

// The experiment, and what belongs to the page alone: the goal, the servers beside it, the moment.
function addressOf(at) {
  return formatExperiment({ ...copyOf(table), view: { goal: goal?.number, others: table.others, at } });
}

function writeAddress() {
  written = encodeAddress(addressOf());
  history.replaceState(null, "", written);
}

function followAddress() {
  if (location.hash === written && written) return;
  written = "";
  scrollTo(0, 0);                  // a goal far down in the list opens at its title
  if (pressed.keyboard) $("title").focus();      // what had the focus is gone
  const text = decodeAddress(location.hash), named = /^goal-(\d+)$/.exec(text);
  if (text === "" || text === "first") return guarded(firstMinute());
  if (text === "goals") return showGoals();
  if (text === "doors") return showDoors();
  if (text === "everything") return guarded(openEverything());
  if (!named) return guarded(openAddress());
  if (goals[named[1] - 1]) return guarded(openGoal(Number(named[1])));
  badAddress(noGoal(named[1]));
}

async function openAddress() {
  let experiment, view;
  try {
    ({ view, ...experiment } = parseExperiment(location.hash));
    for (const name of [experiment.stage, ...(view.others || []).map(each => each.split(" ")[0])])
      if (!STAGES.includes(name))
        throw new Error(data.missing[name] ? hasNo(name, data.missing[name])
          : `This page has no server ${shortened(name)}. It has ${STAGES.join(", ")}`);
    if (view.goal && !goals[view.goal - 1]) throw noGoal(view.goal);
  } catch (error) {
    return badAddress(error);
  }
  const shown = { ...experiment, others: view.others || [] };
  if (view.goal) await openGoal(view.goal, shown, view.at);
  else await openEverything(shown, view.at);
  const last = experiment.events.filter(each => each.action !== "idle").pop();
  if (view.at !== undefined || !last) return;
  // Frozen at its question: the last click is done, and time stands.
  bench.standAt(last.at);
  const question = questionFor(last);
  if (!question) return turned();
  await goOn(scene, last.at, question);
}

const hasNo = (name, reason) => `This page has no ${name}: ${reason}`;
const noGoal = number => new Error(`There is no goal ${number}. They have the numbers 1 to ${goals.length}`);

function badAddress(error) {
  ++scene;
  clear();
  $("bench").hidden = true;
  entitle("This address is not an experiment");
  const example = "05-epoll --block --delay 1; 0:/slow 100:/fast";
  const says = shortened(decodeAddress(location.hash), 300);
  $("task").replaceChildren(element("p", {}, "The address says: ", element("code", {}, says)),
    element("p", { className: "wrong", role: "alert" }, `${error.message}.`),
    element("p", {}, "An experiment is a server, its options, a semicolon, and what the clients do and when (in ms). " +
      "For example: ",
      element("a", { href: encodeAddress(example) }, example)),
    element("p", {}, element("a", { href: "#first" }, "Begin with the first minute"), " · ",
      element("a", { href: "#goals" }, "Goals")));
}

function showDoors() {
  ++scene;
  clear();
  $("bench").hidden = true;
  $("doors").hidden = false;
  entitle("You are the wait");
  $("task").replaceChildren(element("p", { className: "task quiet" }, element("a", { href: "#goals" }, "All goals")));
  new Doors($("doors"), data.measured);
}

function guarded(promise) {
  promise.catch(error => {
    if (!(error instanceof Outdated)) throw error;
  });
}

// ---- keys

addEventListener("keydown", event => {
  if (event.altKey || event.metaKey) return;
  if (event.ctrlKey) {
    if (event.key.toLowerCase() !== "z" || $("controls").hidden || event.target.matches("input[type=number]")) return;
    event.preventDefault();
    return guarded(undo());
  }
  if ($("time").hidden || $("bench").hidden || event.target.matches("select, input[type=number]")) return;
  if (event.target.closest(".code") && /^Arrow/.test(event.key)) return;      // they scroll it
  if (event.key === " " && event.target.matches("button, a, summary, input[type=checkbox]")) return;
  const acts = { ArrowLeft: () => bench.step(-1), ArrowRight: () => bench.step(1), Home: () => bench.seek(0),
                 " ": () => bench.onPlay() };
  if (!(event.key in acts)) return;
  event.preventDefault();
  acts[event.key]();
});

bench.onPlay = () => {
  if (bench.playing) {
    bench.stop();
    turned();
    return;
  }
  if (bench.limit < Infinity) return;
  if (bench.atEnd) bench.standAt(0);
  const mine = scene;
  say("");
  bench.play().then(done => { if (done && mine === scene) turned(); });
};

if (data.tutorial) $("links").replaceChildren(element("a", { href: data.tutorial }, "The tutorial"),
  ...data.repository ? [" · ", element("a", { href: data.repository }, "The sources")] : []);
for (const [name, reason] of Object.entries(data.missing))
  $("about").append(element("p", {}, `${hasNo(name, reason)}.`));
if (embedded) {
  document.body.classList.add("embedded");
  // The page around it is told how high this one is, and links lead to a tab of their own.
  new ResizeObserver(() => parent.postMessage({ playHeight: Math.ceil(document.body.getBoundingClientRect().height) },
    "*"))
    .observe(document.body);
  document.head.append(element("base", { target: "_blank" }));
}
$("app").hidden = false;
addEventListener("hashchange", followAddress);
followAddress();
