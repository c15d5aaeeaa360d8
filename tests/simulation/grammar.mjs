// An experiment as text: a stage, its options, and what clients do, and when.
//
//     05-epoll --block --delay 1; 0:/slow 100:/fast 300:reset@1
//
// The same text is an address of the page (after #, where + or %20 stands for a blank), the command line of
// tests/play.py, and a test. An event is TIME:ACTION, with the time in milliseconds:
//
//     PATH                a new client asks for it, as build/probe does, and leaves once it has the answer
//                         (5x0:/slow are five such clients)
//     silent              a new client connects, and sends nothing
//     half[=PATH]         a new client sends the first half of a request (for /fast)
//     rest                a client with half a request sends the rest
//     pipeline[=N]        a new client sends /slow and /fast together on one connection (or N times /fast)
//     half-close, close, reset   a client ends its half of the connection, all of it, or resets it
//     stop-reading        a client takes nothing any more
//     idle=N              N clients connect before time 0, one after another, and send nothing
//     TERM, INT           the server gets this signal
//
// @N, at the end of what a client does, names the client: 1 is the first that came. Without it, it is the last.

export class GrammarError extends Error {
  constructor(text, position, expected) {
    const found = text.slice(position).split(/\s/)[0];
    super(`${found === "" ? "the end" : found}: ${expected}`);
    Object.assign(this, {name: "GrammarError", text, position, expected});
  }
}

export const STAGE_NAME = /^[a-z0-9][a-z0-9-]*$/;
const NEW = ["silent", "half", "pipeline"], OLD = ["rest", "half-close", "close", "reset", "stop-reading"];
const SIGNALS = ["TERM", "INT"];
const LATEST = 86400e3, MOST_TIMES = 1000, MOST_IDLE = 10000, MOST_PIPELINED = 100000;
const ACTIONS = `want an action after the colon: a path such as /fast, or one of ${
  [...NEW, ...OLD, "idle=N", ...SIGNALS].join(" ")}`;

// Blanks of an address. A + in front of a word's letter is a blank, too: no path or option has one.
export function decodeAddress(text) {
  return text.replace(/^#/, "").replace(/\+|%20/g, " ").replace(/%3B/gi, ";").replace(/%3D/gi, "=").replace(/%40/gi, "@")
    .replace(/%2F/gi, "/").replace(/%3A/gi, ":");
}

export function encodeAddress(experiment) {
  return "#" + (typeof experiment === "string" ? experiment : formatExperiment(experiment)).replace(/ /g, "+");
}

// Return {stage, options, events}. Throw a GrammarError that says where the text is none, and what was expected there.
export function parseExperiment(address) {
  const text = decodeAddress(address), semicolon = text.indexOf(";");
  const words = wordsOf(text, 0, semicolon < 0 ? text.length : semicolon);
  if (words.length === 0 || !STAGE_NAME.test(words[0].text))
    throw new GrammarError(text, words.length ? words[0].position : 0, "want the name of a stage, such as 05-epoll");
  if (semicolon < 0)
    throw new GrammarError(text, text.length, "want a semicolon after the options, and then what the clients do");
  return {
    stage: words[0].text,
    options: words.slice(1).map((word) => word.text),
    events: parseEvents(text, semicolon + 1),
  };
}

export function parseEvents(text, from = 0) {
  const events = [];
  let clients = 0;
  for (const word of wordsOf(text, from, text.length)) {
    const [, times, rest] = /^(?:(\d+)x)?(.*)$/.exec(word.text);
    if (times !== undefined && !(Number(times) >= 1 && Number(times) <= MOST_TIMES && /^[^:]*:\//.test(rest)))
      throw new GrammarError(text, word.position, `want a number from 1 to ${MOST_TIMES} before the x, and then TIME:PATH`);
    const event = parseEvent(rest, clients, text, word.position + word.text.length - rest.length);
    // Clients are numbered in the order in which they come, so the text is in that order, too.
    if (events.length > 0 && event.at < events[events.length - 1].at)
      throw new GrammarError(text, word.position, "want the events in the order of their times");
    for (let i = 0; i < Number(times || 1); i++) events.push({...event});
    clients += isNewClient(event) ? Number(times || 1) : 0;
  }
  return events;
}

export function isNewClient(event) {
  return event.action === "get" || NEW.includes(event.action);
}

// Return the event that a word stands for. clients have come before it. text and position are for messages.
export function parseEvent(word, clients = Infinity, text = word, position = 0) {
  const fail = (at, expected) => {
    throw new GrammarError(text, position + at, expected);
  };
  const colon = word.indexOf(":");
  if (colon < 0) fail(0, "want TIME:ACTION, such as 100:/fast");
  if (!/^\d+(\.\d{1,3})?$/.test(word.slice(0, colon)) || Number(word.slice(0, colon)) > LATEST)
    fail(0, `want a time in milliseconds, from 0 to ${LATEST}, before the colon`);
  const at = Number(word.slice(0, colon)), rest = word.slice(colon + 1);
  if (rest.startsWith("/")) return {at, action: "get", path: path(rest, colon + 1, fail)};
  const [, action, value, of] = /^([A-Za-z-]*)(=[^@]*)?(@.*)?$/.exec(rest) || [];
  const event = {at, action};
  const atValue = colon + 1 + (action || "").length, atNumber = atValue + (value || "").length;
  if (![...NEW, ...OLD, ...SIGNALS, "idle"].includes(action)) fail(colon + 1, ACTIONS);
  if (of !== undefined) {
    if (!OLD.includes(action)) fail(atNumber, `${action} is not about a client that is there already, so want no @`);
    if (!/^@[1-9]\d{0,5}$/.test(of) || Number(of.slice(1)) > clients)
      fail(atNumber, clients === 0 ? "no client has come yet"
        : `want the number of a client that has come before, from @1${clients < Infinity ? ` to @${clients}` : ""}`);
    event.client = Number(of.slice(1));
  } else if (OLD.includes(action) && clients === 0) {
    fail(colon + 1, "no client has come yet");
  }
  if (action === "idle") event.count = number(value, MOST_IDLE, atValue, fail);
  else if (action === "pipeline" && value !== undefined) event.count = number(value, MOST_PIPELINED, atValue, fail);
  else if (action === "half" && value !== undefined) event.path = path(value.slice(1), atValue + 1, fail);
  else if (value !== undefined) fail(atValue, `${action} takes no value`);
  return event;
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

export function formatEvent(event) {
  const value = event.action === "half" && event.path ? `=${event.path}` : event.count ? `=${event.count}` : "";
  return `${Number(event.at.toFixed(3))}:${event.action === "get" ? event.path : event.action}${value}${
    event.client ? `@${event.client}` : ""}`;
}

export function formatExperiment({stage, options = [], events = []}) {
  const words = [];
  for (let i = 0, times; i < events.length; i += times) {
    const word = formatEvent(events[i]);
    for (times = 1; events[i].action === "get" && i + times < events.length && formatEvent(events[i + times]) === word;)
      times++;
    words.push(times > 1 ? `${times}x${word}` : word);
  }
  return `${[stage, ...options].join(" ")}; ${words.join(" ")}`.trim();
}
