// What was simulated, as a log of strace -f -ttt -T: the recorder reads it (tests/trace.py --from) as it reads that of
// a real server. So pictures, verdicts and sentences are the recorder's own.
import {PORT} from "./clients.mjs";
import {EPOCH_S} from "./process.mjs";

const PROCESS = 1000;  // the number of the main thread; thread 2 is the next one
const EPOCH_US = EPOCH_S * 1e6;

// strace tells microseconds. All times here are such, in whole numbers: a fraction of a second near 2026 is not exact.
const micros = (ms) => EPOCH_US + Math.round(ms * 1000);
const seconds = (us) => `${Math.floor(us / 1e6)}.${String(us % 1e6).padStart(6, "0")}`;

// Return {text, header, places}: the log; lines "# key: value" for what strace does not know; and the lines of source
// that its stacks name, with an address for each.
export function straceLog(result) {
  const times = spread(result), places = new Map(), printed = [];
  const print = (order, thread, text, stack = []) => printed.push([order, thread, text, stack]);
  for (const call of result.calls)
    if (call.hidden) print(call.hidden.began, call.thread, callText(call, times), call.stack);
  for (const signal of result.signals) printSignal(signal, print);
  for (const thread of result.threads)
    if (thread.end !== null) print(thread.hidden.ended, thread.id, endText(thread, result.end));
  const lines = printed.sort((a, b) => a[0] - b[0]).map(([order, thread, text, stack]) => {
    const time = order === Infinity ? micros(result.end.at + 1) : times.get(order);
    const line = `${PROCESS - 1 + thread} ${seconds(time)} ${text}\n`;
    return line + stack.map((place) => frame(result, place, places)).join("");
  });
  return {text: lines.join(""), header: header(result, [...places], times), places: [...places]};
}

// The time of each thing, by the order in which they happened: two at one moment are a microsecond apart, and the
// clients of that moment came before.
function spread(result) {
  const points = [];
  for (const {hidden, start, end} of result.calls) {
    if (!hidden) continue;
    points.push([hidden.began, start]);
    if (hidden.ended !== null) points.push([hidden.ended, end]);
  }
  for (const {hidden, at} of result.signals) points.push([hidden.began, at], [hidden.ended, at]);
  for (const {hidden, end} of result.threads)
    if (end !== null && hidden.ended !== Infinity) points.push([hidden.ended, end]);
  const times = new Map();
  let last = -Infinity;
  for (const [order, ms] of points.sort((a, b) => a[0] - b[0])) {
    last = Math.max(last, micros(ms)) + 1;
    if (order !== null) times.set(order, last);
  }
  return times;
}

function callText(call, times) {
  const {name, args, hidden} = call;
  if (name === "exit_group") return `exit_group(${args}) = ?`;
  if (hidden.ended === null) return `${name}(${args.replace(/, $/, ",")} <unfinished ...>`;
  const took = `<${seconds(times.get(hidden.ended) - times.get(hidden.began))}>`;
  if (name === "clone3" && call.value > 0) {
    const tid = PROCESS - 1 + call.value;
    return `clone3(${args.replace(/parent_tid=\[\d+\]/, `parent_tid=[${tid}]`)}) = ${tid} ${took}`;
  }
  if (name === "accept4" && call.value >= 0 && call.peer)
    return `accept4(${args}) = ${call.value}<TCP:[127.0.0.1:${PORT}->127.0.0.1:${call.peer}]> ${took}`;
  return `${name}(${args}) = ${call.result} ${took}`;
}

function printSignal({thread, name, handled, interrupted, hidden}, print) {
  print(hidden.began, thread, `--- ${name} {si_signo=${name}, si_code=SI_USER, si_pid=1, si_uid=0} ---`);
  if (handled)
    print(hidden.ended, thread,
      `rt_sigreturn({mask=[]}) = ${interrupted ? "-1 EINTR (Interrupted system call)" : "0"} <0.000000>`);
}

function endText(thread, end) {
  const whole = thread.hidden.ended === Infinity;
  const status = whole && end.status || 0;
  return `+++ ${whole && end.kind === "killed" ? `killed by ${end.signal}` : `exited with ${status}`} +++`;
}

function frame(result, place, places) {
  if (!places.has(place)) places.set(place, 16 * (places.size + 1));
  return ` > ${result.stage}(${place.split(" ")[0]}+0x0) [0x${places.get(place).toString(16)}]\n`;
}

// The start of a body as build/probe prints it.
function shown(body) {
  return body.slice(0, 40).replace(/[^ -~]/g, "?") || "-";
}

function header(result, places, times) {
  const columns = ["request", "path", "start_ms", "connected_ms", "sent_ms", "first_ms", "done_ms", "status", "body",
                   "port", "epoch"];
  // A client has its answer once the send that brought it is over.
  const sends = new Map();
  for (const call of result.calls)
    if (call.name === "sendto" && call.hidden.ended !== null && call.value > 0)
      sends.set(`${call.client}/${call.end}`, times.get(call.hidden.ended));
  const ms = (value) => value === null ? "-" : value.toFixed(3);
  const told = (client, value) => {
    const sent = sends.get(`${client.number}/${value}`);
    return value === null || sent === undefined ? ms(value) : ms((sent - EPOCH_US) / 1000);
  };
  const rows = result.clients.filter((client) => client.requests > 0)
    .map((client, i) => [i + 1, client.path, ms(client.start),
    ms(client.connected), ms(client.sent), told(client, client.first), told(client, client.done), client.status || "-",
    shown(client.body), client.port, seconds(micros(client.start))]);
  const title = [result.stage, ...result.options.filter((word) => ["--block", "--compute"].includes(word))].join(" ");
  return [
    `recording: ${title}, simulated`, `command: ${[result.stage, ...result.options].join(" ")}`,
    `url: http://127.0.0.1:${PORT}`, "slow: /slow", "fast: /fast",
    ...(rows.length > 0 ? [`probe: ${columns.join("\t")}`, ...rows.map((row) => `probe: ${row.join("\t")}`)] : []),
    ...places.map(([place, address]) => `frame: ${result.stage} 0x${address.toString(16)} = ${place}`),
    ...result.threads.flatMap((thread) => samples(result, thread)),
  ];
}

// For how long a thread has had a processor, at each moment at which that changes. It is never ready without one: each
// thread has a core. Calls cost nothing, so it is only what it computed.
function samples(result, {id}) {
  const moments = [[-1, 0]];
  let had = 0;
  for (const {start, end} of result.calls.filter((call) => call.thread === id && call.waits === "compute")) {
    moments.push([start, had], [end ?? result.now, had += (end ?? result.now) - start]);
  }
  return [...moments, [result.now + 2, had]].map(([ms, sum]) =>
    `cpu: ${PROCESS - 1 + id} at ${seconds(micros(ms))} had ${(sum / 1000).toFixed(6)} ready 0.000000`);
}
