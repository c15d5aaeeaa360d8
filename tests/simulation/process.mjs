// The process: a server in WebAssembly, its threads, its signals, and the system calls that it makes.
//
// Each system call is an import of the server's module (libc.c). One thread runs at a time, until it calls something
// that has to wait; then the clock goes on to the next event. Calls and computations take no time, so this looks as if
// each thread had a processor of its own. Where two threads are ready at the same time, the one that has been ready
// longer runs first; the event yield interrupts it.
//
// A thread that waits while another one runs is suspended with Asyncify (a pass of binaryen): the import tells the
// module to unwind its stack into memory, and returns; later, the module winds it up again, down to the same call of
// the same import, which then returns the result. A thread that is the only one need not be suspended: the import
// itself lets the clock go on, and returns when the thread's wait is over.
import {signalName} from "./calls.mjs";
import {ERRORS, EAGAIN, EBADF, EINTR, EINVAL, ENOENT, ENOTCONN, ENOTSOCK, EOPNOTSUPP, EPIPE} from "./kernel.mjs";
import {Connection, Epoll, ERR, EventFd, HUP, IN, Listener, MS, NVAL, OUT, Socket, START, Stream} from "./kernel.mjs";

export const MAIN = 1;                  // the number of the first thread
export const EPOCH_S = 1767225600;      // time() at time 0: 1 January 2026
const MONOTONIC_NS = 5000e9;            // CLOCK_MONOTONIC at time 0
export const MOST_THREADS = 1000;
const NAMED = {clone: "pthread_create"}; // the names of calls in the grammar
const EPOLL_CTL_ADD = 1;
const ERROR_NUMBERS = Object.fromEntries(Object.entries(ERRORS).map(([number, [name]]) => [name, Number(number)]));
const MOST_CALLS = 100000;              // while no time passes and no byte is moved
const MOST_IN_ALL = 1e6;                // calls of a run
const RECORDED_CALLS = 3000;            // of those
const FINE_STEP = 20 * MS, STEP = 100 * MS, FINE = 1000 * MS; // of a computation: see compute
const ASYNCIFY_STACK = 4096;            // at the start of a thread's memory
const SIGPIPE = 13, SIGCHLD = 17, SIG_DFL = 0, SIG_IGN = 1;
const MSG_PEEK = 2, MSG_DONTWAIT = 0x40, MSG_NOSIGNAL = 0x4000;
const O_NONBLOCK = 0o4000;

// A run with ten thousand clients fills a hundred megabytes. To write to fresh memory costs many times what it costs to
// clear memory that was used before: so the memory of the last run is kept.
let spare = null;

function freshMemory() {
  const memory = spare || new WebAssembly.Memory({initial: 32, maximum: 65536});
  if (spare !== null) new Uint8Array(memory.buffer).fill(0);
  spare = null;
  return memory;
}

export class Stopped extends Error {}   // the simulation has stopped the server
class Ended extends Error {}            // the process has ended: leave WebAssembly

class Thread {
  constructor(process, id, run, argument, memory, size) {
    Object.assign(this, {process, id, name: id === MAIN ? "main thread" : `thread ${id}`, startNs: process.kernel.now,
                         endNs: null, run, argument, memory, size, stack: 0, errno: 0, started: false,
                         mask: process.current ? process.current.mask : 0, ready: true,
                         wait: {attempt: () => 0, forget: nothing}, todo: null, result: 0, call: null, handling: 0,
                         early: null, pending: 0, cpuNs: 0, computing: null, computedNs: 0});
  }

  // Its wait may be over: let it look.
  wake() {
    if (this.ready || this.wait === null) return;
    this.ready = true;
    this.process.ready.push(this);
  }
}

export class Process {
  // log: what is recorded (simulation.mjs). choices: see simulate. main: the words of the command line.
  constructor(kernel, module, words, log, choices, mostCalls = MOST_CALLS) {
    Object.assign(this, {kernel, timeline: kernel.timeline, log, choices, mostCalls, threads: new Map(), ready: [],
                         next: null, current: null, ended: null, pending: 0, handlers: new Map(), unwinding: false,
                         rewinding: false, until: Infinity, idleCalls: 0, calls: 0, lastNs: START, nextThread: MAIN,
                         garbage: [], alone: true, due: [], yieldNs: null, planned: new Map(), faults: [],
                         futexes: new Map()});
    this.memory = freshMemory();
    this.instance = new WebAssembly.Instance(module, this.imports(module));
    this.exports = this.instance.exports;
    if (this.exports.sim_first_pointer() !== 1) throw new Stopped("a signal handler may look like SIG_IGN (libc.c)");
    this.errnoAt = this.exports.sim_errno();
    const memory = this.exports.malloc(ASYNCIFY_STACK); // for the main thread
    this.refresh();
    this.mainStack = this.exports.__stack_pointer.value;
    const text = new TextEncoder().encode(words.map((word) => `${word}\0`).join(""));
    if (text.length > 4096 || words.length > 64) throw new Stopped("the command line is too long");
    this.bytes.set(text, this.exports.sim_words());
    this.words = words.length;
    this.newThread(0, 0, memory, ASYNCIFY_STACK);
  }

  // The process is not going to run any more.
  release() {
    spare = this.memory;
  }

  refresh() {
    const {buffer} = this.memory;
    this.bytes = new Uint8Array(buffer);
    this.ints = new Int32Array(buffer);
  }

  imports(module) {
    const kernel = {}, missing = [], env = {memory: this.memory};
    for (const {module: from, name, kind} of WebAssembly.Module.imports(module)) {
      if (from === "env" && kind === "function") // of the C library, and not in libc.c
        env[name] = () => {
          throw new Stopped(`the simulation has no ${name}`);
        };
      if (from !== "kernel") continue;
      const call = SYSTEM_CALLS[name.replace(/^sys_/, "")];
      if (!call) missing.push(name);
      else kernel[name] = this.enter.bind(this, name.slice(4), call);
    }
    if (missing.length > 0) throw new Stopped(`the simulated kernel has no ${missing.join(", ")}`);
    const clock = {
      clock_ns: (number) => this.clock(number), get_rlimit: () => this.kernel.limit,
      get_thread: () => this.current.id,
      error_text: (number, at, most) => {
        const text = new TextEncoder().encode(ERRORS[number] ? ERRORS[number][1] : `Unknown error ${number}`);
        new Uint8Array(this.memory.buffer).set(text.subarray(0, most), at);
        return Math.min(text.length, most);
      },
    };
    return {env, kernel, clock};
  }

  clock(clock) {
    if (clock === 0) return EPOCH_S * 1e9 + this.kernel.now;
    if (clock === 3) return this.current.cpuNs;
    if (clock === 2) return [...this.threads.values()].reduce((sum, thread) => sum + thread.cpuNs, 0);
    return MONOTONIC_NS + this.kernel.now;
  }

  // ---- threads

  newThread(run, argument, memory, size) {
    const thread = new Thread(this, this.nextThread++, run, argument, memory, size);
    this.threads.set(thread.id, thread);
    this.alone = this.threads.size === 1;
    this.log.thread(thread);
    this.ready.push(thread);
    return thread;
  }

  // Let the threads run until nothing is ready and nothing happens until a time, or the process has ended.
  run(until) {
    this.until = until;
    try {
      while (this.ended === null) {
        const thread = this.next || this.nextReady();
        this.next = null;
        if (thread !== null) this.resume(thread);
        else if (this.mayStep()) this.step();
        else return;
      }
    } catch (error) {
      if (!(error instanceof Ended)) this.fail(error);
    }
    if (this.ended !== null) while (this.mayStep()) this.step(); // the clients go on
  }

  // Nothing is ready: what was to happen while the server was at work happens now; else the clock goes on.
  step() {
    if (this.due.length > 0) this.due.shift().action();
    else this.timeline.step();
  }

  // Let something happen after so many steps. Each beginning and each end of a call is a step (see grammar.mjs).
  later(steps, action) {
    this.due.push({steps, action});
  }

  countStep() {
    for (const event of this.due) event.steps--;
    while (this.due.length > 0 && this.due[0].steps <= 0) this.due.shift().action();
    if (this.ended !== null) throw new Ended();
  }

  // The next call of this name fails.
  letFail(name, error) {
    if (name === "malloc") {
      const at = this.exports.sim_malloc_failures.value;
      if (this.ints.length === 0) this.refresh();
      this.setInt(at, this.int(at) + 1);
      this.faults.push([name, error, this.kernel.now]);
    } else {
      if (!this.planned.has(name)) this.planned.set(name, []);
      this.planned.get(name).push(ERROR_NUMBERS[error]);
    }
  }

  // Return the error with which a call fails, or 0.
  fault(name, args) {
    const planned = this.planned.size > 0 && this.planned.get(NAMED[name] || name);
    if (!planned || planned.length === 0 || (name === "epoll_ctl" && args[1] !== EPOLL_CTL_ADD)) return 0;
    const number = planned.shift();
    this.faults.push([NAMED[name] || name, ERRORS[number][0], this.kernel.now]);
    return number;
  }

  // Is there anything to come before the time that run was given?
  mayStep() {
    if (this.due.length > 0) return true;
    const next = this.timeline.next();
    return next < this.until && !(this.until === Infinity && this.log.settled(next));
  }

  fail(error) {
    if (error instanceof Stopped) this.end("stopped", {text: error.message});
    else if (error instanceof WebAssembly.RuntimeError || error instanceof RangeError)
      this.end("stopped", {text: `the server trapped: ${error.message}`, stack: error.stack});
    else throw error;
  }

  // Take the thread that runs next: one whose wait is over. Return null if there is none.
  nextReady() {
    while (this.ready.length > 0) {
      const thread = this.ready.shift();
      thread.ready = false;
      if (thread.todo !== null) {
        const todo = thread.todo;
        thread.todo = thread.wait = null;
        this.current = thread;
        if (this.did(thread, todo())) return thread;
      } else if (thread.wait !== null && this.isOver(thread)) {
        return thread;
      }
    }
    return null;
  }

  // Has what a thread waits for come, or its deadline, or a signal? If so, set its result.
  isOver(thread) {
    const {wait} = thread, late = wait.deadline !== undefined && this.kernel.now >= wait.deadline;
    let result = wait.attempt();
    if (result === undefined && wait.lateBeforeSignal && late) result = wait.late;
    if (result === undefined && this.deliverable(thread) !== 0) result = -EINTR;
    if (result === undefined && late) result = wait.late;
    if (result === undefined) return false;
    if (result < 0 && wait.done) result = wait.done() || result;
    if (wait.timer) this.timeline.cancel(wait.timer);
    wait.forget(thread, result);
    thread.wait = null;
    thread.result = result;
    return true;
  }

  // Run a thread until it waits or ends.
  resume(thread) {
    const {exports} = this;
    if (this.ints.length === 0) this.refresh();
    this.current = thread;
    if (thread.started) {
      exports.__stack_pointer.value = thread.stack;
      this.ints[this.errnoAt >> 2] = thread.errno;
      this.rewinding = true;
      exports.asyncify_start_rewind(thread.memory);
    } else {
      thread.started = true;
      exports.__stack_pointer.value = thread.id === MAIN ? this.mainStack : thread.memory + thread.size;
      this.ints[this.errnoAt >> 2] = 0;
    }
    const status = thread.id === MAIN ? exports.sim_main(this.words)
      : exports.sim_thread(thread.run, thread.argument);
    if (this.unwinding) {
      this.unwinding = false;
      exports.asyncify_stop_unwind();
      if (this.ints.length === 0) this.refresh();
      thread.stack = exports.__stack_pointer.value;
      thread.errno = this.ints[this.errnoAt >> 2];
    } else if (thread.id === MAIN) {
      this.log.begin(thread, "exit_group", [status], this);
      this.exit(status);
    } else {
      this.endThread(thread);
    }
  }

  endThread(thread) {
    thread.endNs = this.kernel.now;
    this.log.threadEnded(thread);
    this.threads.delete(thread.id);
    this.alone = this.threads.size === 1;
    this.garbage.push(thread.memory);
    this.current = null;
  }

  // The current thread waits: let the world go on until something is ready. If that is this thread, return its result.
  switch(thread) {
    for (;;) {
      const next = this.nextReady();
      this.current = thread;
      if (next === thread) return this.finish(thread);
      if (thread.handling > 0) throw new Stopped("a signal handler makes a call that waits");
      if (next !== null || !this.mayStep()) {
        this.next = next;
        const data = thread.memory; // two pointers, and room
        this.ints[data >> 2] = data + 8;
        this.ints[(data >> 2) + 1] = data + ASYNCIFY_STACK;
        this.unwinding = true;
        this.exports.asyncify_start_unwind(data);
        return 0;
      }
      this.step();
      if (this.ended !== null) throw new Ended();
    }
  }

  // ---- a system call, from the server's import to its result

  enter(name, call, ...args) {
    const thread = this.current;
    if (this.rewinding) { // it has been suspended in this call, and goes on
      this.rewinding = false;
      this.exports.asyncify_stop_rewind();
      return this.finish(thread);
    }
    if (this.ints.length === 0) this.refresh();
    if (name !== "compute") {
      thread.computing = null;
      this.count(name);
      if (this.due.length > 0) this.countStep();
      if (this.deliverable(thread) !== 0 && thread.handling === 0) this.handleSignals(thread, false);
      thread.call = this.log.begin(thread, name, args, this);
      if (thread.call === null) thread.early = {name, args, ns: this.kernel.now};
    }
    const ns = this.interruption(thread);
    if (ns !== undefined) return this.stepAside(thread, () => this.perform(thread, name, call, args), ns);
    if (!this.did(thread, this.perform(thread, name, call, args))) return this.switch(thread);
    if (this.choices.wokenFirst && this.ready.length > 0 && thread.handling === 0 && name === "write")
      return this.stepAside(thread, () => thread.result);
    return this.finish(thread);
  }

  // From now on, calls are recorded. Record those, too, in which threads wait already.
  recordWaits() {
    for (const thread of this.threads.values()) {
      if (thread.wait === null || thread.todo !== null || thread.call !== null || thread.early === null) continue;
      const {name, args, ns} = thread.early;
      thread.call = this.log.begin(thread, name, args, this, ns);
      if (thread.call !== null) this.log.waits(thread.call, thread.wait);
    }
  }

  perform(thread, name, call, args) {
    const error = this.fault(name, args), result = error ? -error : call.call(this, thread, ...args);
    if (result === -EBADF) this.log.failedAsNotOpen(name, args[0]);
    return result;
  }

  // For how long is the thread interrupted here? 0: until others that are ready have run; undefined: not at all.
  interruption(thread) {
    const ns = this.yieldNs;
    if (ns === null || thread.handling > 0) return undefined;
    this.yieldNs = null;
    return ns > 0 || !this.alone ? ns : undefined;
  }

  finish(thread) {
    const result = this.leave(thread), ns = this.interruption(thread);
    return ns !== undefined ? this.stepAside(thread, () => result, ns) : result;
  }

  // Let the other threads that are ready run first, or for a time only others.
  stepAside(thread, todo, ns = 0) {
    thread.todo = todo;
    if (ns === 0) {
      thread.wait = {attempt: nothing, forget: nothing};
      thread.wake();
    } else {
      this.timeline.at(this.kernel.now + ns, () => {
        thread.ready = true;
        this.ready.push(thread);
      });
    }
    return this.switch(thread);
  }

  // A call has returned a result, or what it waits for. Return false if the thread has to wait.
  did(thread, result) {
    if (typeof result === "number") {
      thread.result = result;
      return true;
    }
    thread.wait = result;
    if (result.deadline !== undefined && result.deadline < Infinity)
      result.timer = this.timeline.at(result.deadline, () => thread.wake());
    if (thread.call !== null) this.log.waits(thread.call, result);
    if (this.deliverable(thread) !== 0) thread.wake();
    return false;
  }

  // The end of a call: what it returns is known. Handle the signals that have come.
  leave(thread) {
    const {result, call} = thread;
    thread.call = null;
    if (call !== null) this.log.end(call, result, this);
    if (this.due.length > 0 && thread.computing === null) this.countStep();
    // The mask of a wait holds until a handler has run, but not if the wait has come to another end.
    if (thread.restoreMask !== undefined && result !== -EINTR) {
      thread.mask = thread.restoreMask;
      thread.restoreMask = undefined;
    }
    if (this.deliverable(thread) !== 0) this.handleSignals(thread, result === -EINTR);
    while (this.garbage.length > 0 && thread.handling === 0) this.exports.sim_free(this.garbage.pop());
    return result;
  }

  count(name) {
    if (this.kernel.now !== this.lastNs) {
      this.lastNs = this.kernel.now;
      this.idleCalls = 0;
    }
    if (++this.idleCalls > this.mostCalls)
      throw new Stopped(`the server made ${this.mostCalls.toLocaleString("en")} calls while no time passed and no ` +
                        `byte was moved, the last one ${name}`);
    this.log.tooMany = this.idleCalls > RECORDED_CALLS;
    if (++this.calls > MOST_IN_ALL)
      throw new Stopped(`the server made ${MOST_IN_ALL.toLocaleString("en")} calls, the last one ${name}`);
    if (this.calls % 1000 === 0) this.log.progress();
  }

  moved() {
    this.idleCalls = 0;
  }

  // ---- signals

  // A signal for the process.
  signal(number) {
    if (this.ended !== null) return;
    const action = this.handlers.get(number) || {handler: SIG_DFL};
    if (action.handler === SIG_IGN || (action.handler === SIG_DFL && number === SIGCHLD)) return;
    this.pending |= bit(number);
    for (const thread of this.threads.values())
      if ((thread.mask & bit(number)) === 0) {
        if (action.handler === SIG_DFL) this.killed(number, thread);
        else thread.wake();
        return;
      }
  }

  deliverable(thread) {
    return (this.pending | thread.pending) & ~thread.mask;
  }

  handleSignals(thread, interrupted) {
    for (let ready; (ready = this.deliverable(thread)) !== 0;) {
      const number = 32 - Math.clz32(ready & -ready);
      this.pending &= ~bit(number);
      thread.pending &= ~bit(number);
      const action = this.handlers.get(number) || {handler: SIG_DFL, mask: 0};
      if (action.handler === SIG_IGN) continue;
      if (action.handler === SIG_DFL) {
        if (number === SIGCHLD) continue;
        this.killed(number, thread);
        throw new Ended();
      }
      this.log.signal(thread, signalName(number));
      const before = thread.restoreMask !== undefined ? thread.restoreMask : thread.mask;
      const {result} = thread, errno = this.ints[this.errnoAt >> 2];
      thread.restoreMask = undefined;
      thread.mask |= action.mask | bit(number);
      thread.handling++;
      this.exports.sim_handle(action.handler, number);
      if (this.ints.length === 0) this.refresh();
      thread.handling--;
      thread.mask = before;
      thread.result = result;
      this.ints[this.errnoAt >> 2] = errno;
      this.log.returned(interrupted);
    }
  }

  killed(number, thread) {
    const signal = signalName(number);
    this.log.signal(thread, signal);
    this.end("killed", {signal, text: `killed by ${signal}`});
  }

  exit(status) {
    this.end("exited", {status, text: `exited with status ${status}`});
  }

  // The process ends: the kernel closes what it has open.
  end(kind, more) {
    if (this.ended !== null) return;
    this.ended = {kind, atNs: this.kernel.now, ...more};
    for (let fd = this.kernel.files.length - 1; fd > 2; fd--) this.kernel.close(fd);
  }

  // ---- memory

  int(at) {
    return this.ints[at >> 2];
  }

  setInt(at, value) {
    this.ints[at >> 2] = value;
  }

  text(at) {
    let end = at;
    while (this.bytes[end] !== 0) end++;
    return new TextDecoder().decode(this.bytes.subarray(at, end));
  }

  connection(fd) {
    const file = this.kernel.get(fd);
    if (file === null) return -EBADF;
    return file instanceof Connection ? file
      : file instanceof Socket || file instanceof Listener ? -ENOTCONN : -ENOTSOCK;
  }
}

function nothing() {}

function bit(number) {
  return 1 << (number - 1);
}

// A thread waits for files: attempt until it returns something else than undefined, or until the deadline.
function waitFor(thread, files, attempt, deadline = Infinity, late = -EAGAIN, more = {}) {
  for (const file of files) {
    if (file.waiters === null) file.waiters = new Set();
    file.waiters.add(thread);
  }
  return {attempt, deadline, late, ...more, forget: () => files.forEach((file) => file.waiters.delete(thread))};
}

// The wait of select, poll, epoll and sigsuspend: with another signal mask meanwhile, as far as the call gives one.
function withMask(process, thread, maskAt) {
  if (maskAt === 0) return;
  thread.restoreMask = thread.mask;
  thread.mask = process.int(maskAt);
}

// ---- the system calls: each gets the thread and the arguments, and returns a result or what the thread waits for

const SYSTEM_CALLS = {
  socket(thread, domain, type) {
    const socket = new Socket(this.kernel);
    socket.nonblocking = (type & O_NONBLOCK) !== 0;
    return this.kernel.open(socket);
  },

  openat(thread, at) {
    return this.text(at) === "/dev/null" ? this.kernel.open(new Stream(this.kernel, "null")) : -ENOENT;
  },

  bind(thread, fd, address) {
    const socket = this.kernel.get(fd);
    if (socket === null) return -EBADF;
    socket.address = this.bytes.slice(address, address + 16);
    if (socket.address[2] === 0 && socket.address[3] === 0) // port 0: the simulated kernel gives it 40000
      [socket.address[2], socket.address[3]] = [0x9c, 0x40];
    return 0;
  },

  listen(thread, fd, backlog) {
    const socket = this.kernel.get(fd);
    if (socket === null) return -EBADF;
    if (!(socket instanceof Socket)) return -EOPNOTSUPP;
    const listener = new Listener(this.kernel, backlog);
    listener.address = socket.address;
    this.kernel.replace(socket, listener);
    this.kernel.listener = listener;
    return 0;
  },

  accept4(thread, fd, address, size, flags) {
    const listener = this.kernel.get(fd);
    if (listener === null) return -EBADF;
    if (!(listener instanceof Listener))
      return listener instanceof Socket || listener instanceof Connection ? -EINVAL : -ENOTSOCK;
    // The number comes first, before there is a client: without one, the call fails even if it would have to wait, and
    // one that waits may return a number that was the lowest when it began.
    if (this.kernel.free() < 0) return this.kernel.free();
    if (listener.length === 0 && listener.nonblocking) return -EAGAIN;
    const place = new Socket(this.kernel), number = this.kernel.open(place);
    const attempt = () => {
      if (listener.length === 0) return undefined;
      const connection = listener.accept();
      this.kernel.replace(place, connection);
      connection.nonblocking = (flags & O_NONBLOCK) !== 0;
      connection.client.wasAccepted(number, thread);
      this.moved();
      return number;
    };
    const result = attempt();
    if (result !== undefined) return result;
    const wait = waitFor(thread, [listener], attempt), {forget} = wait;
    wait.forget = (thread, result) => {
      forget();
      if (result < 0) this.kernel.close(number);
    };
    return wait;
  },

  recvfrom(thread, fd, at, size, flags) {
    const connection = this.connection(fd);
    if (typeof connection === "number") return connection;
    const attempt = () => {
      const parts = connection.receive(size);
      if (!Array.isArray(parts)) return parts;
      let count = 0;
      for (const part of parts) {
        this.bytes.set(part, at + count);
        count += part.length;
      }
      if (count > 0 && (flags & MSG_PEEK) === 0) {
        this.moved();
        connection.drop(count);
      }
      return count;
    };
    const result = attempt();
    if (result !== undefined) return result;
    if (connection.nonblocking || (flags & MSG_DONTWAIT) !== 0) return -EAGAIN;
    return waitFor(thread, [connection], attempt, this.kernel.now + connection.receiveTimeout);
  },

  sendto(thread, fd, at, size, flags) {
    const connection = this.connection(fd);
    if (typeof connection === "number") return connection;
    const bytes = this.bytes.slice(at, at + size);
    let sent = 0;
    const blocking = !connection.nonblocking && (flags & MSG_DONTWAIT) === 0;
    const attempt = () => {
      while (sent < size) {
        const taken = connection.send(bytes.subarray(sent));
        if (taken === undefined) return blocking ? undefined : sent > 0 ? sent : -EAGAIN;
        if (taken < 0) return sent > 0 ? sent : taken;
        sent += taken;
        this.moved();
        if (!blocking) break;
      }
      connection.client.sentBy(thread);
      return sent;
    };
    const result = attempt();
    if (result === -EPIPE && (flags & MSG_NOSIGNAL) === 0) {
      thread.pending |= bit(SIGPIPE);
      return result;
    }
    if (result !== undefined) return result;
    // One that is cut short, by its time-out or by a signal, returns what it has sent.
    const until = this.kernel.now + connection.sendTimeout;
    return waitFor(thread, [connection], attempt, until, -EAGAIN, {done: () => sent});
  },

  read(thread, fd, at, size) {
    const file = this.kernel.get(fd);
    if (file instanceof Connection) return SYSTEM_CALLS.recvfrom.call(this, thread, fd, at, size, 0);
    if (!(file instanceof EventFd)) return file === null ? -EBADF : -EINVAL;
    if (size < 8) return -EINVAL;
    const attempt = () => {
      const count = file.read();
      if (count === -EAGAIN) return undefined;
      this.setInt(at, count);
      this.setInt(at + 4, 0);
      return 8;
    };
    const result = attempt();
    return result !== undefined ? result : file.nonblocking ? -EAGAIN : waitFor(thread, [file], attempt);
  },

  write(thread, fd, at, size) {
    const file = this.kernel.get(fd);
    if (file === null) return -EBADF;
    if (file instanceof Connection) return SYSTEM_CALLS.sendto.call(this, thread, fd, at, size, 0);
    if (file instanceof EventFd) return file.write(this.int(at));
    if (!(file instanceof Stream)) return -EINVAL;
    if (file.kind === "null") return size;
    this.log.output(fd, new TextDecoder().decode(this.bytes.slice(at, at + size)));
    return size;
  },

  close(thread, fd) {
    const file = this.kernel.get(fd);
    if (file instanceof Connection) file.client.wasClosed(thread);
    return this.kernel.close(fd);
  },

  shutdown(thread, fd, how) {
    const file = this.kernel.get(fd);
    if (file instanceof Listener || file instanceof Socket) return -ENOTCONN;
    const connection = this.connection(fd);
    return typeof connection === "number" ? connection : connection.shutdown(how);
  },

  fcntl(thread, fd, command, argument) {
    const file = this.kernel.get(fd);
    if (file === null) return -EBADF;
    if (command === 4) file.nonblocking = (argument & O_NONBLOCK) !== 0; // F_SETFL
    if (command === 3) return 2 | (file.nonblocking ? O_NONBLOCK : 0);   // F_GETFL
    return command === 1 || command === 2 || command === 4 ? 0 : -EINVAL;
  },

  setsockopt(thread, fd) {
    const file = this.kernel.get(fd);
    return file === null ? -EBADF : file instanceof Stream ? -ENOTSOCK : 0;
  },

  socket_timeout(thread, fd, name, ns) {
    const connection = this.connection(fd);
    if (typeof connection === "number") return connection;
    connection[name === 20 ? "receiveTimeout" : "sendTimeout"] = ns === 0 ? Infinity : ns;
    return 0;
  },

  getsockname(thread, fd, at) {
    const file = this.kernel.get(fd);
    if (file === null || file.address === undefined) return -EBADF;
    this.bytes.set(file.address, at);
    return 0;
  },

  getpeername(thread, fd, at) {
    const connection = this.connection(fd);
    if (typeof connection === "number") return connection;
    if (connection.dead) return -ENOTCONN;
    const {port} = connection.client;
    this.bytes.set([2, 0, port >> 8, port & 255, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0], at);
    return 0;
  },

  pselect6(thread, nfds, readAt, writeAt, exceptAt, ns, maskAt) {
    const {kernel} = this, words = (nfds + 31) >> 5;
    const set = (at) => at === 0 ? null : this.ints.slice(at >> 2, (at >> 2) + words);
    const asked = [set(readAt), set(writeAt), set(exceptAt)];
    const wanted = [IN | HUP | ERR, OUT | ERR, 0];
    if (nfds < 0 || nfds > 1024) return -EINVAL;
    for (let word = 0; word < words; word++) {
      const bits = asked.reduce((all, set) => set === null ? all : all | set[word], 0);
      for (let rest = bits; rest !== 0; rest &= rest - 1)
        if (kernel.masks[word * 32 + 31 - Math.clz32(rest & -rest)] === NVAL) return -EBADF;
    }
    const scan = () => {
      const found = asked.map((set) => set === null ? null : new Int32Array(words));
      let count = 0;
      for (let word = 0; word < words; word++)
        for (let i = 0; i < 3; i++)
          if (asked[i] !== null)
            for (let rest = asked[i][word]; rest !== 0; rest &= rest - 1) {
              const lowest = 31 - Math.clz32(rest & -rest);
              if ((kernel.masks[word * 32 + lowest] & wanted[i]) === 0) continue;
              found[i][word] |= 1 << lowest;
              count++;
            }
      return {found, count};
    };
    const give = (found) =>
      [readAt, writeAt, exceptAt].forEach((at, i) => at !== 0 && this.ints.set(found[i], at >> 2));
    const attempt = () => {
      const {found, count} = scan();
      if (count === 0) return undefined;
      give(found);
      return count;
    };
    withMask(this, thread, maskAt);
    if (thread.call !== null) thread.call.looked = nfds;
    this.log.looked += nfds;
    return pollWait(this, thread, attempt, ns, () => give(asked.map((set) => set && new Int32Array(words))));
  },

  ppoll(thread, at, count, ns, maskAt) {
    withMask(this, thread, maskAt);
    return poll(this, thread, at, count, ns);
  },

  poll(thread, at, count, ms) {
    return poll(this, thread, at, count, ms < 0 ? -1 : ms * MS);
  },

  epoll_create1() {
    return this.kernel.open(new Epoll(this.kernel));
  },

  epoll_ctl(thread, fd, op, target, at) {
    const epoll = this.kernel.get(fd), file = this.kernel.get(target);
    if (epoll === null || file === null) return -EBADF;
    if (!(epoll instanceof Epoll) || epoll === file) return -EINVAL;
    if (op === 2) return epoll.control(op, target, file, 0, null);
    return epoll.control(op, target, file, this.int(at) >>> 0, [this.int(at + 4), this.int(at + 8)]);
  },

  epoll_wait(thread, fd, at, most, ms) {
    return SYSTEM_CALLS.epoll_pwait.call(this, thread, fd, at, most, ms, 0);
  },

  epoll_pwait(thread, fd, at, most, ms, maskAt) {
    const epoll = this.kernel.get(fd);
    if (epoll === null) return -EBADF;
    if (!(epoll instanceof Epoll) || most <= 0) return -EINVAL;
    const attempt = () => {
      if (epoll.ready.length === 0) return undefined;
      const {call} = thread, got = [];
      const count = epoll.take(most, (events, data, watch, i) => {
        this.ints.set([events, data[0], data[1]], (at + 12 * i) >> 2);
        got.push([events, data, watch.fd]);
      });
      this.log.looked += epoll.looked;
      if (call !== null) {
        call.hidden.got = got;
        call.looked += epoll.looked;
      }
      return count > 0 ? count : undefined;
    };
    withMask(this, thread, maskAt);
    const result = attempt();
    if (result !== undefined) return result;
    if (ms === 0) return 0;
    return waitFor(thread, [epoll], attempt, ms < 0 ? Infinity : this.kernel.now + ms * MS, 0,
                   {lateBeforeSignal: true});
  },

  eventfd2(thread, count, flags) {
    const file = new EventFd(this.kernel, count);
    file.nonblocking = (flags & O_NONBLOCK) !== 0;
    return this.kernel.open(file);
  },

  rt_sigaction(thread, number, handler, flags, maskAt) {
    this.handlers.set(number, {handler, mask: this.int(maskAt)});
    return 0;
  },

  rt_sigprocmask(thread, how, setAt, oldAt) {
    const before = thread.mask;
    if (setAt !== 0) {
      const set = this.int(setAt);
      thread.mask = how === 0 ? before | set : how === 1 ? before & ~set : set;
    }
    if (oldAt !== 0) {
      this.bytes.fill(0, oldAt, oldAt + 128);
      this.setInt(oldAt, before);
    }
    return 0;
  },

  rt_sigsuspend(thread, maskAt) {
    withMask(this, thread, maskAt);
    return waitFor(thread, [], nothing);
  },

  pause(thread) {
    return waitFor(thread, [], nothing);
  },

  tgkill(thread, number) {
    thread.pending |= bit(number);
    return 0;
  },

  clock_nanosleep(thread, clock, flags, ns) {
    const until = (flags & 1) !== 0 ? ns - (clock === 0 ? EPOCH_S * 1e9 : MONOTONIC_NS) : this.kernel.now + ns;
    if (until <= this.kernel.now) return 0;
    return waitFor(thread, [], nothing, until, 0);
  },

  // A thread reads its CPU clock. Computing takes no time here, so a program that computes until that clock shows a
  // moment would never end. So between two reads of it without another call, a step of time passes.
  compute(thread) {
    if (thread.computing === null) {
      thread.computing = {record: null, startNs: this.kernel.now};
      thread.computedNs = 0;
      return 0;
    }
    const step = thread.computedNs < FINE ? FINE_STEP : STEP, {computing} = thread, begun = this.kernel.now;
    if (computing.record === null) computing.record = this.log.computes(thread, computing.startNs);
    return waitFor(thread, [], () => {
      const took = this.kernel.now - begun;
      if (took < step && this.deliverable(thread) === 0) return undefined; // a signal is handled when it comes
      thread.cpuNs += took;
      thread.computedNs += took;
      if (computing.record !== null) this.log.computed(computing.record);
      return 0;
    }, begun + step, 0);
  },

  futex_wait(thread, at, value, kind) {
    if (this.int(at) !== value) return -EAGAIN;
    if (!this.futexes.has(at)) this.futexes.set(at, []);
    const queue = this.futexes.get(at), waiter = {thread, woken: false};
    queue.push(waiter);
    return {
      attempt: () => waiter.woken ? 0 : undefined, kind,
      forget: () => queue.includes(waiter) && queue.splice(queue.indexOf(waiter), 1),
    };
  },

  futex_wake(thread, at, most) {
    const queue = this.futexes.get(at) || [];
    let count = 0;
    while (count < most && queue.length > 0) {
      const waiter = queue.shift();
      waiter.woken = true;
      waiter.thread.wake();
      count++;
    }
    return count;
  },

  clone(thread, run, argument, memory, size) {
    if (this.threads.size > MOST_THREADS) return -EAGAIN;
    return this.newThread(run, argument, memory, size).id;
  },

  setrlimit(thread, resource, soft) {
    if (resource === 7) this.kernel.limit = soft;
    return 0;
  },

  unsupported(thread, at) {
    const name = this.text(at);
    const more = ["mmap", "fork"].includes(name) ? ", and so no --workers: it has one process" : "";
    throw new Stopped(`the simulated kernel has no ${name}${more}`);
  },

  exit_group(thread, status) {
    this.exit(status);
    throw new Ended();
  },
};

// poll(2) of count descriptors at an address. ns < 0: without a time-out.
function poll(process, thread, at, count, ns) {
  const {kernel} = process;
  const look = (first, length) => scan(process.ints, kernel.masks, (at >> 2) + 2 * first, length);
  // None was ready before these have changed. Most often, each is at the index that is its number.
  const lookAgain = (changed) => {
    const isAtIndex = (fd) => fd < count && process.ints[(at >> 2) + 2 * fd] === fd;
    if (!changed.every(isAtIndex)) return look(0, count);
    return [...new Set(changed)].reduce((ready, fd) => ready + look(fd, 1), 0);
  };
  if (thread.call !== null) thread.call.looked = count;
  process.log.looked += count;
  const attempt = (changed) => (changed === null ? look(0, count) : lookAgain(changed)) || undefined;
  return pollWait(process, thread, attempt, ns, nothing);
}

// Look at count descriptors of poll, from an index of memory on; return how many are ready.
function scan(ints, masks, first, count) {
  const {length} = masks;
  let ready = 0;
  for (let i = first, end = first + 2 * count; i < end; i += 2) {
    const fd = ints[i], both = ints[i + 1];
    const mask = fd < 0 ? 0 : fd < length ? masks[fd] & ((both & 0xffff) | ERR | HUP | NVAL) : NVAL;
    if (mask !== both >>> 16) ints[i + 1] = (both & 0xffff) | mask << 16;
    if (mask !== 0) ready++;
  }
  return ready;
}

// The wait of select and poll. Unlike epoll, both look for a signal even if they do not wait. attempt gets the
// descriptors that have changed since it has looked last; null: it has not looked yet.
function pollWait(process, thread, attempt, ns, none) {
  const late = () => {
    none();
    return 0;
  };
  const result = attempt(null);
  if (result !== undefined) return result;
  if (process.deliverable(thread) !== 0) return -EINTR;
  if (ns === 0) return late();
  const deadline = ns < 0 ? Infinity : process.kernel.now + ns, changed = [];
  process.kernel.pollers.set(thread, changed);
  return {
    deadline, late: undefined,
    attempt: () => {
      const ready = attempt(changed.splice(0));
      if (ready !== undefined) return ready;
      if (process.deliverable(thread) !== 0) return undefined;
      return process.kernel.now >= deadline ? late() : undefined;
    },
    forget: () => process.kernel.pollers.delete(thread),
  };
}
