// System calls as strace prints them: names, arguments, results.
import {ERR, ERRORS, HUP, IN, NVAL, OUT, RDHUP, EPOLLET, EPOLLONESHOT} from "./kernel.mjs";
import {Connection, Epoll, EventFd, Listener} from "./kernel.mjs";
import {PORT} from "./clients.mjs";

const NAMES = {socket_timeout: "setsockopt", futex_wait: "futex", futex_wake: "futex", clone: "clone3",
               setrlimit: "prlimit64", compute: "(computes)"};
const LOOPS = ["epoll_pwait", "epoll_wait", "ppoll", "poll", "pselect6"];
const SIGNALS = {1: "HUP", 2: "INT", 3: "QUIT", 13: "PIPE", 15: "TERM", 17: "CHLD", 25: "XFSZ"};
const EVENTS = [[IN, "IN"], [2, "PRI"], [OUT, "OUT"], [ERR, "ERR"], [HUP, "HUP"], [NVAL, "NVAL"], [RDHUP, "RDHUP"]];
const ANYWHERE = "0x7ffc0000e000"; // the address of a buffer in which nothing was written
const MOST_BYTES = 256;

export function callName(name) {
  return NAMES[name] || name;
}

export function isLoop(name) {
  return LOOPS.includes(name);
}

// What a reader calls the file of a descriptor.
export function fileName(file) {
  if (file instanceof Listener) return "listener";
  if (file instanceof Connection) return file.client.number > 0 ? `client ${file.client.number}` : "idle client";
  if (file instanceof EventFd) return "wake-up";
  return file instanceof Epoll ? "epoll" : null;
}

export function resultText(result) {
  if (result >= 0) return String(result);
  const [name, text] = ERRORS[-result] || [`errno ${-result}`, "Unknown error"];
  return `-1 ${name} (${text})`;
}

function flags(value, names, none = "0") {
  const found = names.filter(([bits]) => (value & bits) !== 0).map(([, name]) => name);
  return found.length > 0 ? found.join("|") : none;
}

function eventsText(events, prefix) {
  const names = EVENTS.map(([bits, name]) => [bits, prefix + name]);
  return flags(events, [...names, [EPOLLONESHOT, "EPOLLONESHOT"], [EPOLLET, "EPOLLET"]]);
}

function signalSet(mask) {
  return mask === -1 ? "~[]" : `[${membersOf([mask]).map((bit) => SIGNALS[bit + 1] || bit + 1).join(" ")}]`;
}

export function signalName(number) {
  return `SIG${SIGNALS[number] || number}`;
}

function timeText(ns) {
  return `{tv_sec=${Math.floor(ns / 1e9)}, tv_nsec=${Math.round(ns % 1e9)}}`;
}

function quoted(bytes, size = bytes.length) {
  let text = "";
  for (let i = 0; i < bytes.length && i < MOST_BYTES; i++) {
    const byte = bytes[i];
    const special = {9: "\\t", 10: "\\n", 11: "\\v", 12: "\\f", 13: "\\r", 34: '\\"', 92: "\\\\"}[byte];
    const next = bytes[i + 1];
    if (special) text += special;
    else if (byte >= 32 && byte < 127) text += String.fromCharCode(byte);
    else if (next >= 48 && next <= 57) text += `\\${byte.toString(8).padStart(3, "0")}`;
    else text += `\\${byte.toString(8)}`;
  }
  return `"${text}"${size > MOST_BYTES ? "..." : ""}`;
}

// The numbers of the bits of a set: descriptors of select, signals (from 0 on).
function membersOf(words) {
  const found = [];
  for (let i = 0; i < words.length; i++)
    for (let rest = words[i]; rest !== 0; rest &= rest - 1) found.push(i * 32 + 31 - Math.clz32(rest & -rest));
  return found;
}

function addressText(port) {
  return `{sa_family=AF_INET, sin_port=htons(${port}), sin_addr=inet_addr("127.0.0.1")}`;
}

function hex(number) {
  return `0x${number.toString(16)}`;
}

const MSG = [[1, "MSG_OOB"], [2, "MSG_PEEK"], [0x40, "MSG_DONTWAIT"], [0x4000, "MSG_NOSIGNAL"]];
const SOCK = [[0o2000000, "SOCK_CLOEXEC"], [0o4000, "SOCK_NONBLOCK"]];
const OPTIONS = {"1/2": "SOL_SOCKET, SO_REUSEADDR", "1/13": "SOL_SOCKET, SO_LINGER", "6/1": "SOL_TCP, TCP_NODELAY"};
const THREAD_FLAGS = "CLONE_VM|CLONE_FS|CLONE_FILES|CLONE_SIGHAND|CLONE_THREAD|CLONE_SYSVSEM|CLONE_SETTLS|" +
  "CLONE_PARENT_SETTID|CLONE_CHILD_CLEARTID";

// For each call: the arguments, as far as they are known when it begins; and a function that returns the rest when it
// ends, from (result, the events that a wait of epoll has got), or nothing.
const DESCRIBE = {
  socket: (p, domain, type) =>
    [`AF_INET, ${["SOCK_STREAM", flags(type, SOCK, "")].filter(Boolean).join("|")}, IPPROTO_IP`],
  openat: (p, at, bits) => [`AT_FDCWD, "${p.text(at)}", ${["O_RDONLY", "O_WRONLY", "O_RDWR"][bits & 3]}`],
  bind: (p, fd) => [`${fd}, ${addressText(PORT)}, 16`],
  listen: (p, fd, backlog) => [`${fd}, ${backlog}`],
  accept4: (p, fd, address, size, bits) => [`${fd}, NULL, NULL, ${flags(bits, SOCK)}`],
  recvfrom: (p, fd, at, size, bits) => [`${fd}, `, (result) =>
    `${result < 0 ? ANYWHERE : quoted(p.bytes.slice(at, at + result))}, ${size}, ${flags(bits, MSG)}, NULL, NULL`],
  sendto: (p, fd, at, size, bits) =>
    [`${fd}, ${quoted(p.bytes.slice(at, at + size))}, ${size}, ${flags(bits, MSG)}, NULL, 0`],
  read: (p, fd, at, size) => [`${fd}, `, (result) =>
    `${result < 0 ? ANYWHERE : quoted(p.bytes.slice(at, at + result))}, ${size}`],
  write: (p, fd, at, size) => [`${fd}, ${quoted(p.bytes.slice(at, at + size))}, ${size}`],
  close: (p, fd) => [`${fd}`],
  shutdown: (p, fd, how) => [`${fd}, ${["SHUT_RD", "SHUT_WR", "SHUT_RDWR"][how]}`],
  fcntl: (p, fd, command, argument) => [command === 4
                                        ? `${fd}, F_SETFL, O_RDONLY${argument & 0o4000 ? "|O_NONBLOCK" : ""}`
    : command === 3 ? `${fd}, F_GETFL` : command === 2 ? `${fd}, F_SETFD, FD_CLOEXEC` : `${fd}, F_GETFD`],
  setsockopt: (p, fd, level, name, value) =>
    [`${fd}, ${OPTIONS[`${level}/${name}`] || `${level}, ${name}`}, [${value}], 4`],
  socket_timeout: (p, fd, name, ns) => {
    const bytes = new Uint8Array(16), view = new DataView(bytes.buffer);
    view.setUint32(0, Math.floor(ns / 1e9), true);
    view.setUint32(8, Math.floor(ns % 1e9 / 1e3), true);
    return [`${fd}, SOL_SOCKET, ${name === 20 ? "SO_RCVTIMEO_OLD" : "SO_SNDTIMEO_OLD"}, ${quoted(bytes)}, 16`];
  },
  getsockname: (p, fd) => [`${fd}, `, () => `${addressText(PORT)}, [128 => 16]`],
  getpeername: (p, fd) => [`${fd}, `, (result) =>
    result < 0 ? `${ANYWHERE}, [128]` : `${addressText(p.kernel.get(fd).client.port)}, [128 => 16]`],
  epoll_create1: (p, bits) => [bits ? "EPOLL_CLOEXEC" : "0"],
  epoll_ctl: (p, fd, op, target, at) => [`${fd}, EPOLL_CTL_${["", "ADD", "DEL", "MOD"][op]}, ${target}, ${
    op === 2 ? ANYWHERE : eventText(p.int(at) >>> 0, [p.int(at + 4), p.int(at + 8)])}`],
  epoll_wait: (p, fd, at, most, ms) => [`${fd}, `, (result, got) => `${gotText(result, got)}, ${most}, ${ms}`],
  epoll_pwait: (p, fd, at, most, ms, maskAt) => {
    const mask = maskAt === 0 ? "NULL" : signalSet(p.int(maskAt));
    return [`${fd}, `, (result, got) => `${gotText(result, got)}, ${most}, ${ms}, ${mask}, 8`];
  },
  poll: (p, at, count, ms) => [`${pollText(p, at, count)}, ${count}, ${ms}`],
  ppoll: (p, at, count, ns, maskAt) => [`${pollText(p, at, count)}, ${count}, ${
    ns < 0 ? "NULL" : timeText(ns)}, ${maskAt === 0 ? "NULL" : signalSet(p.int(maskAt))}, 8`],
  pselect6: (p, nfds, readAt, writeAt, exceptAt, ns, maskAt) => {
    const words = (nfds + 31) >> 5;
    const set = (at) => at === 0 ? "NULL" : `[${membersOf(p.ints.slice(at >> 2, (at >> 2) + words)).join(" ")}]`;
    return [`${nfds}, ${set(readAt)}, ${set(writeAt)}, ${set(exceptAt)}, ${ns < 0 ? "NULL" : timeText(ns)}, ${
      maskAt === 0 ? "NULL" : `{sigmask=${signalSet(p.int(maskAt))}, sigsetsize=8}`}`];
  },
  eventfd2: (p, count, bits) => [`${count}, ${flags(bits, [[0o2000000, "EFD_CLOEXEC"], [0o4000, "EFD_NONBLOCK"]])}`],
  rt_sigaction: (p, number, handler, bits, maskAt) => [`${signalName(number)}, {sa_handler=${
    ["SIG_DFL", "SIG_IGN"][handler] || hex(handler)}, sa_mask=${signalSet(p.int(maskAt))}, sa_flags=${
    flags(bits, [[0x10000000, "SA_RESTART"]])}}, NULL, 8`],
  rt_sigprocmask: (p, how, setAt, oldAt) => [`${["SIG_BLOCK", "SIG_UNBLOCK", "SIG_SETMASK"][how]}, ${
    setAt === 0 ? "NULL" : signalSet(p.int(setAt))}, `, () => `${oldAt === 0 ? "NULL" : signalSet(p.int(oldAt))}, 8`],
  rt_sigsuspend: (p, maskAt) => [`${signalSet(p.int(maskAt))}, 8`],
  pause: () => [""],
  tgkill: (p, number) => [`1000, 1000, ${signalName(number)}`],
  clock_nanosleep: (p, clock, bits, ns) =>
    [`${clock === 1 ? "CLOCK_MONOTONIC" : "CLOCK_REALTIME"}, ${bits ? "TIMER_ABSTIME" : "0"}, ${timeText(ns)}, `,
     () => "NULL"],
  futex_wait: (p, at, value) => [`${hex(at)}, FUTEX_WAIT_PRIVATE, ${value}, NULL`],
  futex_wake: (p, at, most) => [`${hex(at)}, FUTEX_WAKE_PRIVATE, ${most}`],
  clone: () => [`{flags=${THREAD_FLAGS}, exit_signal=0}`, (result) => ` => {parent_tid=[${result}]}, 88`],
  setrlimit: (p, resource, soft) => [`0, RLIMIT_NOFILE, {rlim_cur=${soft}, rlim_max=${soft}}, NULL`],
  unsupported: (p, at) => [p.text(at)],
  exit_group: (p, status) => [`${status}`],
};

function eventText(events, data) {
  const low = BigInt(data[0] >>> 0), all = low | BigInt(data[1] >>> 0) << 32n;
  return `{events=${eventsText(events, "EPOLL")}, data={u32=${low}, u64=${all}}}`;
}

function gotText(result, got) {
  if (result < 0) return ANYWHERE;
  return `[${(result > 0 ? got : []).map(([events, data]) => eventText(events, data)).join(", ")}]`;
}

function pollText(process, at, count) {
  const parts = [];
  for (let i = at >> 2, end = i + 2 * count; i < end; i += 2) {
    const fd = process.ints[i];
    parts.push(fd < 0 ? `{fd=${fd}}` : `{fd=${fd}, events=${eventsText(process.ints[i + 1] & 0xffff, "POLL")}}`);
  }
  return `[${parts.join(", ")}]`;
}

// The arguments when a call begins: [text, function that returns the rest or undefined].
export function describeCall(name, process, args) {
  return DESCRIBE[name](process, ...args);
}

// What a wait watches: how many descriptors, [[fd, events of poll]] (null if they are more than most), and its time-out
// in ms (null: none).
export function watchedBy(name, process, args, most) {
  const {ints} = process, few = (count, list) => ({count, found: count > most ? null : list()});
  if (name.startsWith("epoll")) {
    const epoll = process.kernel.get(args[0]);
    if (!(epoll instanceof Epoll)) return {count: 0, found: [], timeout: null};
    const list = () => [...epoll.set.values()].map((watch) => [watch.fd, watch.events & (IN | OUT)]);
    return {...few(epoll.set.size, list), timeout: args[3] < 0 ? null : args[3]};
  }
  if (name === "pselect6") {
    const words = (args[0] + 31) >> 5;
    const [reading, writing] = [args[1], args[2]].map((at) => at === 0 ? [] : ints.slice(at >> 2, (at >> 2) + words));
    const list = () => [...membersOf(reading).map((fd) => [fd, IN]), ...membersOf(writing).map((fd) => [fd, OUT])];
    const count = membersOf(reading).length + membersOf(writing).length;
    return {...few(count, list), timeout: args[4] < 0 ? null : args[4] / 1e6};
  }
  const found = [];
  for (let i = args[0] >> 2, end = i + 2 * args[1]; i < end; i += 2)
    if (ints[i] >= 0) found.push([ints[i], ints[i + 1] & (IN | OUT)]);
  return {...few(found.length, () => found), timeout: args[2] < 0 ? null : name === "poll" ? args[2] : args[2] / 1e6};
}

// What select or poll has reported: [[fd, events]].
export function reportedBy(name, process, args, call, result) {
  if (result <= 0) return [];
  if (name.startsWith("epoll")) return call.hidden.got.map(([events, , fd]) => [fd, events]);
  if (name === "pselect6") {
    const words = (args[0] + 31) >> 5;
    const fds = (at) => at === 0 ? [] : membersOf(process.ints.slice(at >> 2, (at >> 2) + words));
    return [...fds(args[1]).map((fd) => [fd, IN]), ...fds(args[2]).map((fd) => [fd, OUT])];
  }
  const found = [];
  for (let i = args[0] >> 2, end = i + 2 * args[1]; i < end; i += 2)
    if (process.ints[i + 1] >>> 16 !== 0) found.push([process.ints[i], process.ints[i + 1] >>> 16]);
  return found;
}

// What strace prints of the result of a wait, beside the number.
export function reportText(name, result, reported, leftNs) {
  const left = leftNs === null ? "" : `, left ${timeText(leftNs)}`;
  if (name.startsWith("epoll") || result < 0) return resultText(result);
  if (result === 0) return "0 (Timeout)";
  if (name === "pselect6") {
    const fds = (bits) => reported.filter(([, events]) => events === bits).map(([fd]) => fd).join(" ");
    const sets = [["in", fds(IN)], ["out", fds(OUT)]].filter(([, list]) => list !== "");
    return `${result} (${sets.map(([word, list]) => `${word} [${list}]`).join(", ")}${left})`;
  }
  const parts = reported.map(([fd, events]) => `{fd=${fd}, revents=${eventsText(events, "POLL")}}`);
  return `${result} ([${parts.join(", ")}]${name === "ppoll" ? left : ""})`;
}

export function eventNames(events) {
  return flags(events, EVENTS, "");
}
