// An experiment as text: a stage, its options, and what clients do, and when.
//
//     05-epoll --block --delay 1; 0:/slow 100:/fast 300:reset@1
//
// The same text is an address of the page (after #), the command line of tests/play.py, and a test. + stands for a
// blank, and %XX for a byte, as in any address. An event is TIME:ACTION, with the time in milliseconds:
//
//     PATH                a new client asks for it, as build/probe does, and leaves once it has the answer
//                         (5x0:/slow are five such clients)
//     silent              a new client connects, and sends nothing
//     half[=PATH]         a new client sends the first half of a request (for /fast)
//     more=N, rest        a client with half a request sends N bytes more, or the rest
//     pipeline[=N[xPATH]] a new client sends /slow and /fast together on one connection (or N times PATH, or /fast)
//     keep[=PATH]         a new client asks for it (/fast), and keeps its connection
//     ask[=PATH]          a client that keeps its connection asks again
//     post                a new client sends POST /fast, with a body that looks like another request
//     half-close, close, reset   a client ends its half of the connection, all of it, or resets it
//     stop-reading        a client takes nothing any more
//     window=N            a client has room for N bytes, and reads them a millisecond later
//     idle=N              N clients connect before time 0, one after another, and send nothing
//     TERM, INT           the server gets this signal
//     CALL=ERROR          the next such call fails: FAULTS lists them (5x0:accept4=EMFILE: the next five). malloc
//                         fails so often, or until memory is freed
//     yield[=N]           the thread that runs is interrupted: others that are ready run first (or it stands still for
//                         N milliseconds, as if the machine had no processor for it)
//
// @N, at the end of what a client does, names the client: 1 is the first that came. Without it, it is the last.
//
// ~K after the time: K steps later in what the server does at that time. Each beginning and each end of a system call
// is a step. If the server comes to rest earlier, it happens then. So 0:/fast 0~3:reset resets the connection while the
// server is at work on it.
//
// What the page shows of an experiment may follow, each after a semicolon of its own:
//
//     goal N              it is an attempt at this goal
//     with SERVER, ...    the same events in other servers, beside it
//     at TIME             time stands there

export class GrammarError extends Error {
  constructor(text, position, expected) {
    const found = shortened(text.slice(position).split(/\s/)[0]);
    super(`${found === "" ? "at its end" : found}: ${expected}`);
    Object.assign(this, {name: "GrammarError", text, position, expected});
  }
}

// The beginning of a text that is too long to be shown.
export function shortened(text, most = 80) {
  return text.length > most ? `${text.slice(0, most)} …` : text;
}

const STAGE_NAME = /^[a-z0-9][a-z0-9-]*$/;
// An option of the experiment, and not of the server: how many descriptors its process may have.
export const LIMIT = "--descriptors";
// The calls that can be made to fail, and with which errors.
export const FAULTS = {
  accept4: ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "ECONNABORTED"],
  epoll_ctl: ["ENOMEM", "ENOSPC"], // EPOLL_CTL_ADD: nothing else needs memory
  pthread_create: ["EAGAIN"],
  malloc: ["ENOMEM"],
};
const NEW = ["silent", "half", "pipeline", "keep", "post"];
const OLD = ["more", "rest", "ask", "half-close", "close", "reset", "stop-reading", "window"];
const SIGNALS = ["TERM", "INT"];
const OTHERS = ["idle", "yield", ...SIGNALS, ...Object.keys(FAULTS)];
const WITH_PATH = ["half", "keep", "ask"];
const LATEST = 86400e3, LONGEST = 10000;
const MOST_TIMES = 1000, MOST_IDLE = 10000, MOST_PIPELINED = 100000, MOST_SENT = 10000;
const MOST_IN_ALL = 120000; // events, idle clients and pipelined requests
const NUMBERS = {idle: MOST_IDLE, pipeline: MOST_PIPELINED, more: MOST_SENT, window: MOST_SENT, yield: LONGEST};
const NUMBER_OR_NONE = ["pipeline", "yield"];
const MANY = new RegExp(`^[^:]*:(/|(${Object.keys(FAULTS).join("|")})=)`); // what may come many times
const ACTIONS = `want an action after the colon: a path such as /fast, or one of ${
  [...NEW, ...OLD, "idle=N", "yield", ...SIGNALS, ...Object.keys(FAULTS).map((call) => `${call}=ERROR`)].join(" ")}`;

// The text that an address stands for, with all that is before its #.
export function decodeAddress(address) {
  return address.replace(/^[^#;]*#/, "").replace(/\+/g, " ").replace(/(%[0-9a-f]{2})+/gi, (bytes) => {
    try {
      return decodeURIComponent(bytes);
    } catch {
      return bytes; // it stands for no text
    }
  });
}

export function encodeAddress(experiment) {
  return `#${(typeof experiment === "string" ? experiment : formatExperiment(experiment)).replace(/ /g, "+")}`;
}

// Return {stage, options, events, view}. Throw a GrammarError that says where the text is none, and what was expected
// there.
export function parseExperiment(address) {
  const text = decodeAddress(address), semicolon = text.indexOf(";");
  const words = wordsOf(text, 0, semicolon < 0 ? text.length : semicolon);
  if (words.length === 0 || !STAGE_NAME.test(words[0].text))
    throw new GrammarError(text, words.length ? words[0].position : 0, "want the name of a stage, such as 05-epoll");
  if (semicolon < 0)
    throw new GrammarError(text, text.length, "want a semicolon after the options, and then what the clients do");
  const second = text.indexOf(";", semicolon + 1), end = second < 0 ? text.length : second;
  return {
    stage: words[0].text,
    options: optionsOf(words.slice(1), text),
    events: parseEvents(text, semicolon + 1, end),
    view: parseView(text, end + 1),
  };
}

// The words of options; --delay=1 are two words. --descriptors is ours, so we say what is wrong with its value. What is
// wrong with other options, the server says itself.
function optionsOf(words, text) {
  const options = words.flatMap(({text: word}) => /^--[a-z]+=./.test(word) ? word.split(/=(.*)/).slice(0, 2) : [word]);
  const at = options.indexOf(LIMIT);
  if (at >= 0 && !/^[1-9]\d{0,8}$/.test(options[at + 1]))
    throw new GrammarError(text, words.find((word) => word.text.startsWith(LIMIT)).position,
      "want a number of descriptors after it");
  return options;
}

// The number that an option has, or another one if the option is not there or its value is none.
export function numberOf(options, name, otherwise) {
  const at = options.lastIndexOf(name), value = at < 0 ? NaN : Number(options[at + 1]);
  return Number.isFinite(value) && value >= 0 ? value : otherwise;
}

// Return {goal, others, at}, each as far as it is there.
function parseView(text, from) {
  const view = {};
  for (let at = from, end; at < text.length; at = end + 1) {
    end = text.indexOf(";", at) < 0 ? text.length : text.indexOf(";", at);
    const words = wordsOf(text, at, end), [{text: name, position} = {text: "", position: at}] = words;
    const value = words.slice(1).map((word) => word.text).join(" "), place = words.length > 1 ? words[1].position : end;
    if (name === "goal" && /^[1-9]\d?$/.test(value)) view.goal = Number(value);
    else if (name === "goal") throw new GrammarError(text, place, "want the number of a goal");
    else if (name === "at" && isTime(value)) view.at = Number(value);
    else if (name === "at") throw new GrammarError(text, place, WANT_TIME);
    else if (name === "with" && value.split(", ").every((server) => STAGE_NAME.test(server.split(" ")[0])))
      view.others = value.split(", ");
    else if (name === "with")
      throw new GrammarError(text, place, "want the names of servers, such as 01-blocking, 04-poll");
    else if (name !== "" || end < text.length)
      throw new GrammarError(text, position, "want, after this semicolon, goal N, with SERVER, or at TIME");
  }
  return view;
}

function parseEvents(text, from, to) {
  const events = [];
  let clients = 0, all = 0;
  for (const word of wordsOf(text, from, to)) {
    const [, times, rest] = /^(?:(\d+)x)?(.*)$/.exec(word.text);
    if (times !== undefined && !(Number(times) >= 1 && Number(times) <= MOST_TIMES && MANY.test(rest)))
      throw new GrammarError(text, word.position,
        `want a number from 1 to ${MOST_TIMES} before the x, and then TIME:PATH or TIME:CALL=ERROR`);
    const event = parseEvent(rest, clients, text, word.position + word.text.length - rest.length);
    // Clients are numbered in the order in which they come, so the text is in that order, too.
    if (events.length > 0 && inOrder(event, events[events.length - 1]) < 0)
      throw new GrammarError(text, word.position, "want the events in the order of their times");
    all += Number(times || (["idle", "pipeline"].includes(event.action) && event.count) || 1);
    if (all > MOST_IN_ALL)
      throw new GrammarError(text, word.position,
        `that is more than ${MOST_IN_ALL.toLocaleString("en")} clients and requests in all`);
    for (let i = 0; i < Number(times || 1); i++) events.push({...event});
    clients += isNewClient(event) ? Number(times || 1) : 0;
  }
  return events;
}

// What a request asks for: its path without the query, as the servers see it.
export function routeOf({path = ""}) {
  return path === null ? "" : path.replace(/\?.*/, "");
}

// Negative if a comes before b.
export function inOrder(a, b) {
  return a.at - b.at || (a.steps || 0) - (b.steps || 0);
}

// Is it what a client does that is there already?
export function isAboutClient(event) {
  return OLD.includes(event.action);
}

export function isNewClient(event) {
  return event.action === "get" || NEW.includes(event.action);
}

const WANT_TIME = `want a time in milliseconds, from 0 to ${LATEST}`;

function isTime(text) {
  return /^\d+(\.\d{1,3})?$/.test(text) && Number(text) <= LATEST;
}

// Return the event that a word stands for. clients have come before it. text and position are for messages.
export function parseEvent(word, clients = Infinity, text = word, position = 0) {
  const fail = (at, expected) => {
    throw new GrammarError(text, position + at, expected);
  };
  const colon = word.indexOf(":");
  if (colon < 0) fail(0, "want TIME:ACTION, such as 100:/fast");
  const [, time, steps] = /^([^~]*)(?:~(.*))?$/.exec(word.slice(0, colon)), rest = word.slice(colon + 1);
  if (!isTime(time)) fail(0, `${WANT_TIME}, before the colon`);
  if (steps !== undefined && !/^[1-9]\d{0,3}$/.test(steps))
    fail(time.length, "want a number of steps from 1 to 9999 after the ~");
  const when = steps === undefined ? {at: Number(time)} : {at: Number(time), steps: Number(steps)};
  if (rest.startsWith("/")) return {...when, action: "get", path: path(rest, colon + 1, fail)};
  const [, action, value, of] = /^([A-Za-z0-9_-]*)(=[^@]*)?(@.*)?$/.exec(rest) || [];
  const event = {...when, action};
  const atValue = colon + 1 + (action || "").length, atNumber = atValue + (value || "").length;
  if (![...NEW, ...OLD, ...OTHERS].includes(action)) fail(colon + 1, ACTIONS);
  if (of !== undefined) {
    if (!OLD.includes(action)) fail(atNumber, `${action} is not about a client that is there already, so want no @`);
    if (!/^@[1-9]\d{0,5}$/.test(of) || Number(of.slice(1)) > clients)
      fail(atNumber, clients === 0 ? "no client has come yet"
        : `want the number of a client that has come before, from @1${clients < Infinity ? ` to @${clients}` : ""}`);
    event.client = Number(of.slice(1));
  } else if (OLD.includes(action) && clients === 0) {
    fail(colon + 1, "no client has come yet");
  }
  const [, times, each] = action === "pipeline" && /^(=\d+)x(.*)$/.exec(value) || [];
  if (times !== undefined) {
    event.count = number(times, MOST_PIPELINED, atValue, fail);
    event.path = path(each, atValue + times.length + 1, fail);
  } else if (action in NUMBERS && !(NUMBER_OR_NONE.includes(action) && value === undefined))
    event.count = number(value, NUMBERS[action], atValue, fail);
  else if (action in FAULTS) event.error = oneOf(FAULTS[action], value, atValue, fail);
  else if (WITH_PATH.includes(action) && value !== undefined) event.path = path(value.slice(1), atValue + 1, fail);
  else if (value !== undefined) fail(atValue, `${action} takes no value`);
  return event;
}

function oneOf(errors, value, at, fail) {
  if (value === undefined || !errors.includes(value.slice(1))) fail(at, `want = and one of ${errors.join(" ")}`);
  return value.slice(1);
}

function path(text, at, fail) {
  if (!/^\/[!-~]*$/.test(text)) fail(at, "want a path that begins with /, without blanks or bytes above 0x7E");
  return text;
}

function number(value, most, at, fail) {
  if (value === undefined || !/^=[1-9]\d*$/.test(value) || Number(value.slice(1)) > most)
    fail(at, `want = and a number from 1 to ${most}`);
  return Number(value.slice(1));
}

function wordsOf(text, from, to) {
  const words = [], pattern = /\S+/g;
  const part = text.slice(0, to);
  pattern.lastIndex = from;
  for (let found; (found = pattern.exec(part)) !== null;) words.push({text: found[0], position: found.index});
  return words;
}

function formatEvent(event) {
  const path = event.path && event.path.replace(/[%+]/g, encodeURIComponent);
  const value = event.action === "get" || !path ? event.count || event.error
    : event.action === "pipeline" ? `${event.count}x${path}` : path;
  return `${Number(event.at.toFixed(3))}${event.steps ? `~${event.steps}` : ""}:${
    event.action === "get" ? path : event.action}${value ? `=${value}` : ""}${
    event.client ? `@${event.client}` : ""}`;
}

export function formatExperiment({stage, options = [], events = [], view = {}}) {
  const words = [];
  for (let i = 0, times; i < events.length; i += times) {
    const word = formatEvent(events[i]);
    for (times = 1; MANY.test(word) && i + times < events.length && formatEvent(events[i + times]) === word;)
      times++;
    words.push(times > 1 ? `${times}x${word}` : word);
  }
  const {goal, others = [], at} = view;
  const shown = [goal && `goal ${goal}`, others.length > 0 && `with ${others.join(", ")}`,
    at !== undefined && `at ${at}`];
  return [[stage, ...options].join(" "), words.join(" "), ...shown.filter(Boolean)].join("; ").trim();
}
