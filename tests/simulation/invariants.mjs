// What holds in every run of a server, whatever clients do: broken() looks at one run, and returns what does not.
//
// Time stands still while the server works, so a response is due at an exact moment: when the request has arrived, the
// response before it is out, and, for /slow, the delay is over. A wait has whole milliseconds, and so has the
// tolerance. Where the model makes clients wait (01, a blocked loop, a full pool), where descriptors have run out, a
// call has been made to fail, or a thread to stand still, a response may be late by as much as that explains, and no
// later.
//
// What it does not claim: that the cost is right (how many calls, how much memory), or that the bytes of a head are. A
// client that is not answered because a call failed for it (epoll_ctl, malloc) is let pass, one for each such call; so
// is what a client does in the very millisecond of a deadline, as both outcomes are right.
import {FAULTS, isNewClient, routeOf} from "./grammar.mjs";
import {kindOf} from "./seeds.mjs";

const TOLERANCE = 1.01;   // ms
const EARLY = 0.001;
const PAUSE = 1000;       // NET_PAUSE_NS: after accept has failed
const RETRY = 10;         // NET_RETRY_NS: until 02 tries again
const COMPUTED = 100;     // a computation ends in steps of that (process.mjs)
const LINGER = 2000;      // net_linger_ns
const BODIES = {"/fast": ["200", "That was fast!"], "/slow": ["200", "That was slow!"]};
const TURNS = 30, TURNS_EACH = 6; // turns of a loop, and more for each thing that happens
const FAIR = 400;         // responses to one client before that to another: twice what a loop reads of it in a turn
const LOST = ["epoll_ctl", "malloc"]; // a failure of these may cost a client

// Return [{rule, client, at, text}] in the order of time. model: the stage of the toolkit whose model the server has.
// An experiment that says more than seeds do (idle clients, options in another form, minutes) is not looked at.
export function broken(experiment, result, model) {
  if (valuesOf(experiment.options) === null || experiment.events.some(({action}) => action === "idle")) return [];
  const run = new Run(experiment, result, kindOf(model));
  const found = [...run.ending(), ...run.calls(), ...run.drain(), ...run.fairness()], lost = [];
  for (const client of result.clients) {
    const mistakes = [...run.backlog(client), ...run.conversation(client)];
    if (mistakes.some(({forgivable}) => forgivable) && lost.length < run.mayBeLost) lost.push(client);
    else found.push(...mistakes.map(({forgivable, ...mistake}) => ({...mistake, client: client.number})));
  }
  return found.sort((a, b) => a.at - b.at);
}

const LONGEST = 60; // s: the simulation looks ten minutes ahead
const WITH_VALUE = ["--delay", "--timeout", "--threads", "--descriptors"];
const WITHOUT = ["--block", "--compute", "--verbose"];

// The values of the options, or null if one is not known here.
function valuesOf(options) {
  const values = {"--delay": 10, "--timeout": 10};
  for (let i = 0; i < options.length; i++) {
    if (WITH_VALUE.includes(options[i])) values[options[i]] = Number(options[++i]);
    else if (!WITHOUT.includes(options[i])) return null;
  }
  const {"--delay": delay, "--timeout": timeout} = values;
  return Object.values(values).every((value) => value >= 0) && Math.max(delay, timeout) <= LONGEST ? values : null;
}

class Run {
  constructor({options, events}, result, kind) {
    const values = valuesOf(options);
    const slow = events.reduce((sum, event) => sum + (event.action === "pipeline" && event.count === undefined ? 1
      : routeOf(event) === "/slow" ? event.count || 1 : 0), 0);
    const signals = events.filter(({action}) => action === "TERM" || action === "INT");
    const works = kind === "loop" && (options.includes("--block") || options.includes("--compute"));
    Object.assign(this, {events, result, kind, end: result.end, delay: values["--delay"] * 1000,
                         timeout: values["--timeout"] * 1000,
                         limit: values["--descriptors"], signals, stop: signals.length > 0 ? signals[0].at : Infinity});
    const work = works ? slow * (this.delay + (options.includes("--compute") ? COMPUTED : 0)) : 0;
    this.still = events.reduce((sum, {action, count}) => sum + (action === "yield" && count ? count : 0), 0);
    // how late /slow may be: its turn comes last
    this.slowLate = this.still + (kind === "threads" ? RETRY * result.faults.length : work);
    // and all else, if the loop itself works; in 02, if there was no thread
    this.late = this.still + (kind === "threads" ? RETRY * (result.faults.length + (this.limit !== undefined))
      : options.includes("--threads") ? 0 : work);
    this.pool = options.includes("--threads");
    const givesUp = kind === "threads" && this.stop < Infinity && this.late >= this.timeout; // no thread for so long
    this.mayBeLost = givesUp ? Infinity : result.faults.filter(({name}) => LOST.includes(name)).length;
    this.pauses = result.faults.length * PAUSE;
    this.over = this.end.kind === "waiting" ? Infinity : this.end.at;
    const base = Math.min(...result.clients.map(({fd}) => fd === null ? Infinity : fd));
    this.capacity = this.limit === undefined ? Infinity : this.limit - base;
  }

  // Is what happens at a moment ambiguous, as something happens there in the middle of the server's work?
  inTheMiddle(at) {
    return this.events.some((event) => event.steps && event.at === at);
  }

  // ---- the server as a whole

  ending() {
    const {end, signals, stop, over} = this;
    const broken = (rule, text) => [{rule, at: end.at, text}];
    const lacks = /simulat(ion|ed kernel) has no/.test(end.text);
    if (end.kind === "stopped" && lacks) return broken("unsupported", end.text);
    if (end.kind === "stopped") return broken(/while no time passed/.test(end.text) ? "spin" : "crash", end.text);
    if (end.signal === "SIGINT" && this.still > 0 && signals.length > 1) return []; // it may hear them in any order
    const second = this.still === 0 && signals.slice(1).find(({action}) => action === "INT");
    if (second && second.at > stop && second.at <= over && end.kind !== "killed" && !(second.at > over - TOLERANCE))
      return broken("second-interrupt", `the second SIGINT, at ${ms(second.at)}, did not end it`);
    if (end.kind === "killed" && second && end.signal === "SIGINT")
      return end.at > Math.max(second.at, 0) + TOLERANCE + (this.late && COMPUTED)
        ? broken("second-interrupt", `the second SIGINT, at ${ms(second.at)}, ended it at ${ms(end.at)}`) : [];
    if (end.kind === "killed") return broken("ending", `the server was ${end.text}`);
    if (end.kind === "exited" && stop === Infinity)
      return broken("ending", `the server ${end.text}, and nothing had told it to stop`);
    if (end.kind === "exited" && end.status !== 0) return broken("ending", `the server ${end.text}`);
    if (end.kind === "waiting" && stop < Infinity) return broken("drain", `told to stop at ${ms(stop)}, it never ends`);
    return [];
  }

  // The calls: none for a descriptor that is closed, and few turns in which nothing happens.
  calls() {
    const {result, kind} = this, {notOpen} = result, found = [];
    if (notOpen) found.push({rule: "descriptor", at: notOpen.at,
                             text: `${notOpen.name} of descriptor ${notOpen.fd}, which is not open`});
    const turns = ["epoll_pwait", "epoll_wait", "ppoll", "poll", "pselect6"]
      .reduce((sum, name) => sum + (result.counts[name] || 0), 0);
    const happened = this.events.length + result.faults.length + result.clients.reduce((sum, client) =>
      sum + 2 + client.requests + client.answers.length * (client.window === null ? 1 : 2 + 400 / client.window), 0);
    if (kind === "loop" && turns > TURNS + TURNS_EACH * happened + this.paused())
      found.push({rule: "spin", at: result.now,
                  text: `${grouped(turns)} turns of the loop, while ${grouped(Math.round(happened))} things happened`});
    return found;
  }

  // Turns of a loop that waits for descriptors: one a second.
  paused() {
    return this.limit === undefined ? 0 : (this.result.now + PAUSE) / PAUSE * 2;
  }

  // A drain is over when the last connection is closed.
  drain() {
    const {end, stop, result} = this;
    if (end.kind !== "exited" || stop === Infinity) return [];
    const hopeless = this.hopeless();
    if (end.at > hopeless + TOLERANCE + this.late)
      return [{rule: "drain", at: end.at, text: `told to stop at ${ms(stop)}, it had no descriptor at ${
        ms(hopeless)}, and no connection that could free one, and it ends at ${ms(end.at)}`}];
    const last = Math.max(stop, ...result.clients.map(
      ({accepted, ended}) => accepted === null || ended === null ? -Infinity : ended));
    const excuse = this.pauses > 0 || this.limit !== undefined ? this.pauses + this.timeout : 0;
    const pause = this.kind === "one" ? RETRY : 0; // told to stop just before accept: it pauses
    return end.at > last + TOLERANCE + excuse + pause + this.late
      ? [{rule: "drain", at: end.at,
          text: `told to stop at ${ms(stop)}, and rid of its last client at ${ms(last)}, it ends at ${ms(end.at)}`}]
      : [];
  }

  // When does a loop that was told to stop know that it can accept nobody, as nothing will be freed that accept lacks?
  hopeless() {
    const {kind, stop, result, events} = this;
    if (kind !== "loop") return Infinity;
    const alone = events.every(({at, action}) => at !== stop || ["TERM", "INT"].includes(action) || action in FAULTS);
    const isOpen = ({accepted, ended}, at) => accepted !== null && accepted <= at && (ended === null || ended >= at);
    const failed = result.faults.find(({name, error, at}) => name === "accept4" && error !== "ECONNABORTED" &&
      (at > stop || (at === stop && alone)) && !result.clients.some((client) => isOpen(client, at)));
    return failed === undefined ? Infinity : failed.at;
  }

  // A client that sends very much does not have the loop to itself: few of its responses come before that of another.
  fairness() {
    const {result, kind} = this, floods = result.clients.filter(({answers}) => answers.length > FAIR);
    if (kind !== "loop" || this.late > 0) return [];
    return floods.flatMap((flood) => result.clients.filter((client) => client !== flood)
      .flatMap((client) => this.unfair(flood, client)));
  }

  // The responses to a client before which too many went to a flood.
  unfair(flood, {number, asked, answers, acceptedOrder, window}) {
    const found = [], slowToo = this.delay === 0 && !this.pool;
    asked.forEach(({path, order}, i) => {
      if (order === null || answers[i] === undefined || window !== null) return;
      if (routeOf({path}) === "/slow" && !slowToo) return;
      const from = Math.max(order, acceptedOrder, i > 0 ? answers[i - 1].order : 0), to = answers[i].order;
      const before = flood.answers.filter((answer) => answer.order > from && answer.order < to).length;
      if (before > FAIR)
        found.push({rule: "fairness", client: number, at: answers[i].at,
                    text: `its request for ${path} was there, and client ${flood.number} got ${
                      grouped(before)} answers first`});
    });
    return found;
  }

  // ---- a client in the backlog

  // It is accepted immediately, unless no descriptor is free (or, in 01, another client is served). Once the server is
  // told to stop, it need not be; if it came before, it is not lost (but 01 accepts nobody more).
  backlog(client) {
    const {kind, over, stop} = this, {connected, accepted, ended} = client;
    if (connected === null) return [];
    const left = client.left === null ? Infinity : this.result.now; // a run may end before such a client is accepted
    const until = Math.min(left, ...[accepted, ended, over].map((at) => at === null ? Infinity : at));
    const busy = until > connected ? this.busy(connected, until) : 0;
    const excuse = this.pauses + this.late + (kind === "loop" || this.limit === undefined
                                              ? 0 : RETRY * this.result.clients.length);
    const needNot = accepted === null && stop < Infinity &&
      (kind === "one" || client.left !== null || this.cameAfterStop(client));
    const waited = until - connected - busy;
    if (!needNot && waited > TOLERANCE + excuse)
      return [{rule: "backlog", at: Math.min(until, this.result.now), forgivable: true,
               text: (waited === Infinity ? "it waits in the backlog for ever"
                 : `it waited in the backlog for ${ms(waited)}`) +
                 `, while ${kind === "one" ? "no other client was served" : "a descriptor was free"}`}];
    return needNot || accepted !== null ? [] : this.neverAccepted(client);
  }

  cameAfterStop({connected, number}) {
    const {events, signals, stop} = this, made = events.filter(isNewClient)[number - 1];
    return connected > stop || (connected === stop &&
      (made.steps !== undefined || signals[0].steps !== undefined ||
       events.indexOf(made) > events.indexOf(signals[0])));
  }

  neverAccepted(client) {
    if (this.pauses > 0 || this.limit !== undefined || this.late >= this.timeout || this.end.kind !== "exited")
      return [];
    return [{rule: "drain", at: this.over,
             text: `it was connected at ${ms(client.connected)}, and lost when the server ended`}];
  }

  // For how long in this time did other clients have all descriptors, or 01's attention?
  busy(from, to) {
    const spans = this.result.clients.filter(({accepted}) => accepted !== null)
      .map(({accepted, ended}) => [accepted, ended === null ? Infinity : ended]);
    const moments = [...new Set([from, to, ...spans.flat().filter((at) => at > from && at < to)])]
      .sort((a, b) => a - b);
    let sum = 0;
    for (let i = 1; i < moments.length; i++) {
      const open = spans.filter(([accepted, ended]) => accepted < moments[i] && ended >= moments[i]).length;
      if (open >= (this.kind === "one" ? 1 : this.capacity)) sum += moments[i] - moments[i - 1];
    }
    return sum;
  }

  // ---- a client that is accepted

  // Follow its requests and the responses to them. Stop at the first that is wrong, or that has no certain outcome.
  conversation(client) {
    const {accepted, asked, answers} = client;
    if (accepted === null) return [];
    if (client.window !== null && 3 + 400 / client.window >= this.timeout) return []; // too slow a reader
    const talk = new Conversation(this, client);
    let free = accepted;
    for (let i = 0; i < asked.length; i++) {
      const outcome = talk.request(asked[i], answers[i], i, free);
      if (outcome.free === undefined) return outcome.mistakes;
      free = outcome.free;
    }
    return talk.idle(null, asked.length, free).mistakes;
  }
}

// One client and its server. A step returns {free} (when the server turns to the next request) or {mistakes}: none if
// all is well, or nothing can be said.
class Conversation {
  constructor(run, client) {
    const {halfClosed, left, leftBy, window} = client;
    Object.assign(this, {run, client, tolerance: TOLERANCE + (window === null ? 0 : 3 + 400 / window)});
    // when it will send nothing more; when it takes nothing more
    this.finished = Math.min(halfClosed === null ? Infinity : halfClosed, left === null ? Infinity : left);
    this.gone = leftBy === "close" || leftBy === "reset" ? left : Infinity;
  }

  wrong(rule, at, text, forgivable = false) {
    return {mistakes: [{rule, at, text, forgivable}]};
  }

  // The server has nothing of the next request until begun (null: it never comes). all: all of the request comes.
  idle(begun, count, free, all = false) {
    const {run} = this, stop = run.stop <= free ? free : run.stop;
    const first = begun === null ? Infinity : Math.max(begun, free);
    if (all && begun <= free) return {free: first};
    const ends = [[all ? Infinity : this.finished, "its client had left"],
                  [free + run.timeout, "nothing came for --timeout"], [stop, "the server was told to stop"]];
    const [end, why] = ends.reduce((a, b) => b[0] < a[0] ? b : a);
    if (first < end - TOLERANCE - (all ? 0 : run.still)) return {free: first};
    if (first <= end + TOLERANCE + run.late) return {mistakes: []}; // at that very moment
    return this.ends(Math.max(end, free), why, count);
  }

  // Request i was sent; the server is free to read it.
  request({path, begun, arrived}, answer, i, free) {
    const {run, client} = this;
    const idle = this.idle(begun, i, free, arrived !== null);
    if (idle.free === undefined) return idle;
    const start = idle.free, deadline = start + run.timeout;
    const complete = arrived === null ? Infinity : arrived;
    const given = arrived === null ? Math.min(deadline, this.finished) : deadline;
    if (complete > given + TOLERANCE + run.late) {
      if (this.finished < deadline - TOLERANCE - run.late)
        return this.ends(Math.max(this.finished, start), "its client had left", i);
      if (this.finished <= deadline + TOLERANCE + run.late) return {mistakes: []};
      return this.answered(answer, i, "408", null, deadline, run.late, "408 is due", true);
    }
    if (complete > given - TOLERANCE && arrived > start) return {mistakes: []}; // at the very moment of the deadline
    const ready = Math.max(complete, start), route = routeOf({path});
    const slow = route === "/slow" && client.action !== "post";
    const [status, body] = client.action === "post" ? ["405", null] : BODIES[route] || ["404", null];
    return this.answered(answer, i, status, body, ready + (slow ? run.delay : 0), slow ? run.slowLate : run.late,
                         `the request for ${path} was there at ${ms(ready)}`, client.action === "post");
  }

  // A response is due. close: the connection ends after it.
  answered(answer, i, status, body, due, late, why, close) {
    const {run, client} = this;
    const latest = due + this.tolerance + late;
    if (client.window !== null && run.late > 0) return {mistakes: []}; // a loop that works is late for each window
    if (this.gone <= latest || !client.reading || (run.end.kind === "killed" && run.over <= latest))
      return this.unanswered(due, late);
    if (answer === undefined) {
      const never = latest >= run.over && run.end.kind === "waiting" ? run.result.now : Math.min(latest, run.over);
      const resent = client.reset !== null ? `it was reset at ${ms(client.reset)}` : client.ended !== null
        ? `its connection was closed at ${ms(client.ended)}` : "no response came";
      return this.wrong("answer", never, `${why}, and ${resent}`, true);
    }
    if (answer.status !== status || (body !== null && answer.body !== body))
      return this.wrong("answer", answer.at,
                        `${why}, and the response was ${answer.status} ${answer.body.slice(0, 40)}`);
    const came = `${why}, and the response came at ${ms(answer.at)}`;
    const earliest = due - EARLY - (status === "408" ? run.still : 0);
    if (answer.at < earliest) return this.wrong("early", answer.at, `${came}; it was due at ${ms(due)}`);
    if (answer.at > latest) return this.wrong("deadline", answer.at, `${came}; it was due at ${ms(due)}`);
    const closes = close || run.kind === "one" || run.stop < due - TOLERANCE - late;
    if (!closes && Math.abs(run.stop - due) <= TOLERANCE + late) return {mistakes: []};
    if (!closes && i + 1 < client.requests) return {free: answer.at};
    if (!closes && client.action === "keep") return {free: answer.at};
    return this.ends(answer.at, "the response was the last", i + 1);
  }

  // Nobody takes the response: it ends with the client, or at a deadline.
  unanswered(due, late) {
    const {run, client} = this;
    if (run.end.kind === "killed") return {mistakes: []};
    const end = this.gone < Infinity ? Math.max(this.gone, due) : due + run.timeout;
    if (client.ended === null || client.ended > end + run.timeout + LINGER + this.tolerance + late + run.late)
      return this.wrong("leak", run.result.now, `its client was gone at ${ms(end)}, and the server ${this.closed()}`);
    return {mistakes: []};
  }

  // The connection ends now, after so many responses.
  ends(at, why, count) {
    const {run, client} = this, latest = at + this.tolerance + run.late;
    if (run.end.kind === "killed" && run.over <= latest) return {mistakes: []};
    if (client.answers.length > count) {
      const more = client.answers[count];
      return this.wrong("answer", more.at,
                        `${count} responses were due, and one more came: ${more.status} ${more.body.slice(0, 40)}`);
    }
    const asksAgain = run.still > 0 && client.asked.length > count; // before a server that stood still could close it
    if (client.reset !== null && client.reset < run.over && !run.inTheMiddle(client.reset) && !asksAgain)
      return this.wrong("reset", client.reset,
                        "the server closed it with unread input, so its last response may be lost", true);
    if (client.ended === null ? run.over > latest : client.ended > latest)
      return this.wrong("deadline", latest, `${why} at ${ms(at)}, and the server ${this.closed()}`);
    if (client.ended !== null && client.ended < at - this.tolerance - run.still && client.ended < run.over)
      return this.wrong("early", client.ended,
                        `the server closed it at ${ms(client.ended)}, before ${why} at ${ms(at)}`, true);
    return {mistakes: []};
  }

  closed() {
    return this.client.ended === null ? "never closed the connection"
      : `closed the connection at ${ms(this.client.ended)}`;
  }
}

function ms(time) {
  return `${grouped(Number(time.toFixed(3)))} ms`;
}

function grouped(number) {
  return number.toLocaleString("en");
}
