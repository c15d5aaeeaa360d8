// The goals: each breaks one misconception, and each is judged by what the simulation did.
//
// judge() takes [{experiment, result}, …], one for each address that was handed in, and returns {solved, text}: text
// says what the simulation did, so that a goal that is not reached can be tried again. A goal that needs two servers
// (both) returns the experiment that is missing, too: next. solution: addresses that reach the goal; the tests play
// them.

import {numberOf, routeOf} from "./grammar.mjs";
import {clientName, COMPUTES, count, grouped, upper, viewOf} from "./page-run.mjs";

const FAR = 100;                   // ms: a client that waited for so long has waited

const has = (experiment, name) => experiment.options.includes(name);
const delayOf = ({ options }) => numberOf(options, "--delay", 10) * 1000;
const poolOf = ({ options }) => numberOf(options, "--threads", 0);
const gets = (result, path) => result.clients.filter(each => each.action === "get" && routeOf(each) === path);
const tookOf = client => client.answered === null ? Infinity : client.answered - client.start;
const inWords = ms => ms === Infinity ? "without end"
  : ms >= 1000 ? `${+(ms / 1000).toFixed(3)} s` : `${Math.round(ms)} ms`;
const asks = (experiment, path) => experiment.events.some(each =>
  routeOf(each) === path || (path === "/slow" && each.action === "pipeline" && !each.count));
const isLoop = experiment => /^0[3-6]/.test(experiment.stage);
const lastAfter = clients =>
  Math.max(...clients.map(each => each.answered ?? Infinity)) - Math.min(...clients.map(each => each.start));

// The calls of a thread in which some time passed between begin and end.
function between(result, begin, end, thread) {
  return result.calls.filter(call => call.thread === thread &&
    Math.min(call.end ?? end, end) > Math.max(call.start, begin));
}

const nameOf = (result, client) => upper(clientName(viewOf(result), client.number - 1));
const no = (text, next = null) => ({ solved: false, text, next });
const lower = words => words[0].toLowerCase() + words.slice(1);
const yes = text => ({ solved: true, text });

// The first of the addresses that reaches the goal; or else, what the last one did.
function any(one) {
  return experiments => {
    let last = no("No address was handed in.");
    for (const each of experiments) {
      last = one(each);
      if (last.solved) return last;
    }
    return last;
  };
}

// A client that closes its half is still there.
const goneAt = client => client.leftBy === "half-close" ? null : client.left;

function wholeRequestNeverAccepted(client) {
  const gone = goneAt(client), until = gone ?? client.ended ?? Infinity;
  const answered = client.answered !== null && (gone === null || client.answered <= gone);
  return client.sent !== null && !answered && (client.accepted === null || client.accepted >= until);
}

export const goals = [
  {
    number: 1, title: "Stop 01 without asking for /slow",
    belief: "Only slow handlers block.",
    task: "Make /fast wait for more than 100 ms in 01. You may not ask for /slow.",
    server: "01-blocking --delay 1", chapter: "01-one-client-at-a-time", recording: "01-blocking/waits.svg",
    controls: ["fast", "silent"], brings: "silent",
    solution: ["01-blocking --delay 1; 0:silent 100:/fast"],
    lesson: "A thread that waits for one client serves no other. The client need not ask for anything.",
    judge: any(({ experiment, result }) => {
      if (!experiment.stage.startsWith("01")) return no("This goal is about 01.");
      if (asks(experiment, "/slow")) return no("A client asked for /slow. Try it without.");
      const most = Math.max(0, ...gets(result, "/fast").map(tookOf));
      if (most > FAR) return yes(`/fast waited ${inWords(most)}, and nobody asked for /slow.`);
      return no(gets(result, "/fast").length ? "/fast did not wait." : "No client asked for /fast.");
    }),
  },
  {
    number: 2, title: "Connect and send, and never be accepted",
    belief: "A client that is connected is being served.",
    task: "Let a client connect, send its whole request, and leave or be thrown out before the server has accepted it.",
    server: "01-blocking --delay 1", chapter: "01-one-client-at-a-time", recording: "01-blocking/waits.svg",
    controls: ["slow", "fast", "silent", "reset"], brings: "reset",
    solution: ["01-blocking --delay 1; 0:/slow 100:/fast 300:reset@2"],
    lesson: "The kernel connects a client and keeps what it sends. The server need not do anything for that.",
    judge: any(({ result }) => {
      const found = result.clients.find(wholeRequestNeverAccepted);
      if (found)
        return yes(`${nameOf(result, found)} was connected and had sent its request. ` +
          "The server had not accepted it.");
      const silent = result.clients.find(each => each.sent === null && goneAt(each) !== null &&
                                                 (each.accepted === null || each.accepted >= each.left));
      if (silent) return no(`${nameOf(result, silent)} was not accepted, but it had not sent its whole request.`);
      if (result.clients.every(each => each.sent === null)) return no("No client has sent a whole request.");
      return no("The server accepted each client that had sent its request, while that client was there.");
    }),
  },
  {
    number: 3, title: "A hundred /slow, one thread, one delay",
    belief: "Concurrency needs threads.",
    task: "Find a server that answers 100 clients that ask for /slow after one delay, with one thread.",
    server: "02-threaded --delay 1", chapter: "03-one-wait-for-all-clients", recording: "05-epoll/waits.svg",
    controls: ["slow", "hundred", "server"], brings: "hundred",
    solution: [`05-epoll --delay 1; ${Array(100).fill("0:/slow").join(" ")}`],
    lesson: "The delay of each client is a deadline in a list. One thread waits for the nearest.",
    judge: any(({ experiment, result }) => {
      const slow = gets(result, "/slow"), delay = delayOf(experiment);
      if (slow.length < 100) return no(`${slow.length} of 100 clients asked for /slow.`);
      const last = lastAfter(slow), threads = result.threads.length;
      const words = `${slow.length} clients, ${count(threads, "thread")}: the last answer came after ${inWords(last)}.`;
      if (threads > 1) return no(`${words} One thread can do that.`);
      return last < delay * 1.05 ? yes(words) : no(`${words} That is more than one delay.`);
    }),
  },
  {
    number: 4, title: "Make 05 stand still",
    belief: "An event loop makes my code non-blocking.",
    task: "Give 05 an option with which /slow makes /fast wait.",
    server: "05-epoll --delay 1", chapter: "the-trap", recording: "06-libev/trap.svg",
    controls: ["slow", "fast", "block"], brings: "block",
    solution: ["05-epoll --block --delay 1; 0:/slow 100:/fast"],
    lesson: "A loop serves others only while it waits in its own call. --block sleeps in another one.",
    judge: any(run => stoodStill(run, "clock_nanosleep", "slept in clock_nanosleep")),
  },
  {
    number: 5, title: "Stop 05, while its thread never waits",
    belief: "Only waiting blocks.",
    task: "Make /fast wait in 05 while its thread is in no system call.",
    server: "05-epoll --delay 1", chapter: "the-trap", recording: "06-libev/trap.svg",
    controls: ["slow", "fast", "block", "compute"], brings: "compute",
    solution: ["05-epoll --compute --delay 1; 0:/slow 100:/fast"],
    lesson: "A loop that computes is as deaf as a loop that sleeps. await does not help: nothing is waited for.",
    judge: any(run => stoodStill(run, COMPUTES, "computed")),
  },
  {
    number: 6, title: "Five /slow in two delays, with the fewest threads",
    belief: "A pool needs a thread for each client.",
    task: "Run 05 with --block and a pool. Five clients ask for /slow at the same time, and all have their answer " +
          "after two delays. Use as few threads as possible.",
    server: "05-epoll --block --delay 1", chapter: "the-way-out", recording: "tests/tutorial/pool.svg",
    controls: ["slow", "five", "fast", "block", "threads"], brings: "threads",
    solution: [`05-epoll --block --threads 3 --delay 1; ${Array(5).fill("0:/slow").join(" ")}`],
    lesson: "Three threads sleep for three clients, then for two. The queue of a pool is a place to wait.",
    judge: any(({ experiment, result }) => {
      const slow = gets(result, "/slow"), delay = delayOf(experiment), threads = poolOf(experiment);
      if (!has(experiment, "--block") || !isLoop(experiment) || !threads)
        return no("This takes a loop with --block and --threads.");
      if (slow.length !== 5) return no(`${slow.length} clients asked for /slow. Five should.`);
      const last = lastAfter(slow);
      const words = `With ${count(threads, "thread")} in the pool, the last answer came after ${inWords(last)}.`;
      if (last > delay * 2.05) return no(`${words} That is more than two delays.`);
      return threads > 3 ? no(`${words} Fewer threads can do that.`) : yes(words);
    }),
  },
  {
    number: 7, title: "/fast immediately, while a /slow queues",
    belief: "A pool solves it all.",
    task: "Run 05 with --block and a pool. /fast is answered immediately, while a client that asked for /slow still " +
          "waits for a thread.",
    server: "05-epoll --block --threads 2 --delay 1", chapter: "the-way-out", recording: "tests/tutorial/pool.svg",
    controls: ["slow", "five", "fast", "threads"],
    solution: ["05-epoll --block --threads 1 --delay 1; 0:/slow 0:/slow 100:/fast"],
    lesson: "The loop is free, so /fast is answered. The pool is full, so /slow waits for a thread.",
    judge: any(({ experiment, result }) => {
      const delay = delayOf(experiment);
      if (!poolOf(experiment) || !isLoop(experiment)) return no("This takes a loop with a pool: --threads.");
      const queued = gets(result, "/slow").filter(each => tookOf(each) > delay * 1.05);
      const fast = gets(result, "/fast").filter(each => tookOf(each) < FAR);
      if (!queued.length) return no("No /slow had to wait for a thread of the pool.");
      if (!fast.length) return no("A /slow waited for a thread of the pool. Now a /fast has to be answered meanwhile.");
      const both = fast.some(one => queued.some(each => each.start <= one.start &&
                                                one.start < each.start + tookOf(each) - delay));
      return both ? yes("/fast was answered immediately, while a /slow waited for a thread.")
                  : no("/fast came at a moment when no /slow waited for a thread.");
    }),
  },
  {
    number: 8, title: "A late /fast in plain 05",
    belief: "An answer that is late was blocked.",
    task: "Get a late answer to /fast from 05, without any option that blocks.",
    server: "05-epoll --delay 1", chapter: "05-one-thread-epoll", recording: "05-epoll/waits.svg",
    controls: ["slow", "fast", "pipeline"], brings: "pipeline",
    solution: ["05-epoll --delay 1; 0:pipeline"],
    lesson: "The answers of one connection come in the order of its requests. " +
            "Another connection would not have waited.",
    judge: any(({ experiment, result }) => {
      if (!isLoop(experiment) || has(experiment, "--block") || has(experiment, "--compute"))
        return no("This goal is about 05 without --block and without --compute.");
      const late = result.clients.find(each => each.action === "pipeline" && each.answers.length > 1 &&
        /fast/.test(each.answers[1].body) && each.answers[1].at - each.start > FAR);
      if (late) return yes(`/fast was answered ${inWords(late.answers[1].at - late.start)} after it was sent. ` +
        "The thread waited for any client all that time.");
      return no("No /fast was late. (What may one connection ask for?)");
    }),
  },
  {
    number: 9, title: "Leave during /slow",
    belief: "The server knows when I leave.",
    task: "Ask 05 for /slow and leave before the answer. First predict: when does 05 learn of it?",
    server: "05-epoll --delay 1", chapter: "05-one-thread-epoll", recording: "05-epoll/waits.svg",
    controls: ["slow", "fast", "reset", "half-close"], brings: "half-close",
    solution: ["05-epoll --delay 1; 0:/slow 300:reset@1"],
    lesson: "05 watches nothing on a connection while it sleeps for its client. It learns of it when it sends.",
    judge: any(({ experiment, result }) => {
      if (!isLoop(experiment)) return no("This goal is about 05.");
      const gone = gets(result, "/slow").find(each => (each.leftBy === "reset" || each.leftBy === "close") &&
        each.accepted !== null && each.accepted <= each.left && each.left - each.start < delayOf(experiment));
      if (!gone) {
        const half = gets(result, "/slow").find(each => each.leftBy === "half-close");
        return no(`${half ? `${nameOf(result, half)} closed its half and still waited for its answer: ` +
          "it had not left. " : ""}No client left between its /slow and the answer.`);
      }
      const next = result.calls.find(call => call.client === gone.number && call.start >= gone.left);
      if (!next) return no("05 made no call about that client any more.");
      return yes(`The client left at ${inWords(gone.left)}. ` +
                 `The next call about it was ${next.name} at ${inWords(next.start)}.`);
    }),
  },
  {
    number: 10, title: "Ten thousand idle clients, and one /fast",
    belief: "epoll makes a request faster.",
    task: "Connect 10,000 idle clients to 04, and send one /fast. Predict what that costs. Then do the same in 05.",
    server: "04-poll --delay 1", chapter: "05-one-thread-epoll", recording: "05-epoll/waits.svg",
    controls: ["fast", "idle", "server"], brings: "idle", both: ["04-poll", "05-epoll"],
    solution: ["04-poll --delay 1; 0:idle=10000 0:/fast", "05-epoll --delay 1; 0:idle=10000 0:/fast"],
    lesson: "Here calls cost nothing, so both answer immediately. Measured on a real machine, one turn of 04 costs " +
            "some 3 ms of processor time, and one turn of 05 some 4 µs. Without idle clients, both cost the same.",
    judge: experiments => {
      const done = ["04", "05"].map(stage => experiments.find(({ experiment, result }) =>
        experiment.stage.startsWith(stage) &&
        result.idle && result.idle.count >= 10000 && gets(result, "/fast").some(each => each.answered !== null)));
      if (done.every(Boolean)) {
        const [poll, epoll] = done.map(({ result }) => grouped(result.looked));
        return yes(`In all, the waits of 04 looked at ${poll} descriptors, and those of 05 at ${epoll}.`);
      }
      if (done.some(Boolean))
        return no(`Now the same in ${done[0] ? "05" : "04"}.`,
          { ...done.find(Boolean).experiment, stage: done[0] ? "05-epoll" : "04-poll" });
      return no("This takes 10,000 idle clients and an answered /fast, in 04 and in 05.");
    },
  },
  {
    number: 11, title: "Let SIGTERM cost a client its answer",
    belief: "A graceful shutdown answers everybody.",
    task: "Send SIGTERM to 01 so that a client that has sent its request gets no answer. Then try the same " +
          "clicks in 05.",
    server: "01-blocking --delay 1", chapter: "signals-and-shutdown", recording: "01-blocking/waits.svg",
    controls: ["slow", "fast", "TERM", "server"], brings: "TERM", both: ["01-blocking", "05-epoll"],
    solution: ["01-blocking --delay 1; 0:/slow 100:/fast 300:TERM", "05-epoll --delay 1; 0:/slow 100:/fast 300:TERM"],
    lesson: "01 finishes the conversation that it is in, and does not look into the backlog again. 05 empties the " +
            "backlog before it ends.",
    judge: experiments => {
      const own = experiments.filter(({ experiment }) => experiment.stage.startsWith("01"));
      const cost = any(lostByTerm)(own);
      if (!cost.solved) return own.length ? cost : no("This goal begins in 01.");
      const { experiment } = own.find(each => lostByTerm(each).solved), clicks = JSON.stringify(experiment.events);
      const there = experiments.find(each => each.experiment.stage.startsWith("05") &&
                                             JSON.stringify(each.experiment.events) === clicks);
      if (!there) return no(`${cost.text} Now the same clicks in 05.`, { ...experiment, stage: "05-epoll" });
      const other = lostByTerm(there);
      return other.solved ? no(`In 05, too, ${lower(other.text)} Try it with one signal.`)
        : yes(`In 01, ${lower(cost.text)} In 05, ${lower(other.text)}`);
    },
  },
];

// Did SIGTERM cost a client its answer?
function lostByTerm({ experiment, result }) {
  const term = experiment.events.find(each => each.action === "TERM");
  if (!term) return no("Nobody sent SIGTERM.");
  const lost = result.clients.find(each => each.sent !== null && each.answered === null && !each.left &&
                                   each.start <= term.at);
  if (lost) return yes(`${nameOf(result, lost)} had sent its request before SIGTERM, and got no answer.`);
  return no("Each client that had sent its request before SIGTERM got its answer.");
}

// /fast waited, and meanwhile the only thread was only in this call.
function stoodStill({ experiment, result }, name, words) {
  if (!isLoop(experiment)) return no("This goal is about a server with an event loop: 03 to 06.");
  for (const client of gets(result, "/fast")) {
    const end = client.answered ?? client.ended ?? result.now;
    if (end - client.start < FAR) continue;
    const calls = between(result, client.start, end, result.threads[0].id);
    if (calls.length && calls.every(call => call.name === name))
      return yes(`/fast waited ${inWords(end - client.start)}, while the thread ${words}.`);
    const names = [...new Set(calls.map(each => each.name === COMPUTES ? "its own code" : each.name))].join(", ");
    return no(`/fast waited ${inWords(end - client.start)}, but the thread was in ${names}.`);
  }
  return no(gets(result, "/fast").length ? "/fast did not wait." : "No client asked for /fast.");
}
