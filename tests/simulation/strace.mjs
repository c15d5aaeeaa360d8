// What was simulated, as a log of strace -f -ttt -T: the recorder reads it (tests/trace.py --from) as it reads that of a
// real server. So pictures, verdicts and sentences are the recorder's own.
import {PORT} from "./clients.mjs";
import {EPOCH_S} from "./process.mjs";

const PROCESS = 1000;      // the number of the main thread; thread 2 is the next one
const TICK = 0.000001;     // strace tells microseconds: calls at one moment are told one after another

// Return {text, places}: the log without its header, and the lines that its stacks name, by address.
export function straceLog(result) {
  const lines = [], places = new Map(), ends = [];
  for (const call of result.calls) if (call.name !== "(computes)") lines.push([call.start, callLine(call), call.stack]);
  for (const signal of result.signals) lines.push(...signalLines(signal));
  for (const thread of result.threads) if (thread.end !== null) ends.push([thread.end, thread.id, result.end]);
  const sorted = lines.map((line, i) => [...line, i]).sort((a, b) => a[0] - b[0] || order(a, b, lines));
  const printed = [];
  let last = -Infinity;
  for (const [at, [thread, text], stack] of sorted) {
    last = Math.max(last + TICK, seconds(at));
    printed.push(`${PROCESS - 1 + thread} ${last.toFixed(6)} ${text}`);
    for (const place of stack) {
      if (!places.has(place)) places.set(place, 16 * (places.size + 1));
      printed.push(` > ${result.stage}(${place.split(" ")[0]}+0x0) [0x${places.get(place).toString(16)}]`);
    }
  }
  for (const [at, id, end] of ends.sort((a, b) => b[1] - a[1])) {
    last = Math.max(last + TICK, seconds(at));
    const how = end !== null && end.kind === "killed" ? `killed by ${end.signal}` : `exited with ${(end && end.status) || 0}`;
    printed.push(`${PROCESS - 1 + id} ${last.toFixed(6)} +++ ${how} +++`);
  }
  return {text: printed.map((line) => `${line}\n`).join(""), places: [...places]};
}

function seconds(ms) {
  return EPOCH_S + ms / 1000;
}

// Calls come in the order in which they began. A signal comes before the calls of that moment: its handler makes them.
function order(a, b) {
  return a[3] - b[3];
}

function callLine(call) {
  if (call.name === "clone3" && call.value > 0) {
    const tid = PROCESS - 1 + call.value;
    const args = call.args.replace(/parent_tid=\[\d+\]/, `parent_tid=[${tid}]`);
    return [call.thread, `clone3(${args}) = ${tid} <0.000000>`];
  }
  if (call.name === "exit_group") return [call.thread, `exit_group(${call.args}) = ?`];
  if (call.end === null) return [call.thread, `${call.name}(${call.args.replace(/, $/, ",")} <unfinished ...>`];
  return [call.thread, `${call.name}(${call.args}) = ${call.result} <${((call.end - call.start) / 1000).toFixed(6)}>`];
}

function signalLines({at, thread, name, handled, interrupted}) {
  const lines = [[at, [thread, `--- ${name} {si_signo=${name}, si_code=SI_USER, si_pid=1, si_uid=0} ---`], []]];
  if (handled && interrupted)
    lines.push([at, [thread, "rt_sigreturn({mask=[]}) = -1 EINTR (Interrupted system call) <0.000000>"], []]);
  return lines;
}

// What the recorder wants to know beside the calls, as lines "# key: value".
export function straceHeader(result, places) {
  const requests = result.clients.filter((client) => client.requests > 0);
  const columns = ["request", "path", "start_ms", "connected_ms", "sent_ms", "first_ms", "done_ms", "status", "body", "port", "epoch"];
  const ms = (value) => value === null ? "-" : value.toFixed(3);
  const rows = requests.map((client, i) => [i + 1, client.path, ms(client.start), ms(client.connected), ms(client.sent),
    ms(client.first), ms(client.done), client.status || "-", client.body || "-", client.port, (EPOCH_S + client.start / 1000).toFixed(6)]);
  const title = [result.stage, ...result.options.filter((word) => ["--block", "--compute"].includes(word))].join(" ");
  return [
    `recording: ${title}, simulated`, `command: ${[result.stage, ...result.options].join(" ")} (in the simulated kernel)`,
    `url: http://127.0.0.1:${PORT}`, "slow: /slow", "fast: /fast",
    `probe: ${columns.join("\t")}`, ...rows.map((row) => `probe: ${row.join("\t")}`),
    ...places.map(([place, address]) => `frame: ${result.stage} 0x${address.toString(16)} = ${place}`),
  ];
}
