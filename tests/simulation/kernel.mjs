// The simulated kernel: the clock, sockets, and what select, poll and epoll know of them.
//
// It does what Linux does, as far as the six servers can tell:
//   the backlog      a listening socket holds one client more than listen asked for. When it is full, a client's
//                    SYN is dropped, and tried again after 1, 2, 3, 4, 5, 7, 11 ... s, as by Linux since 6.5
//   TCP              buffers of a fixed size, half-close, reset; which error recv, send and shutdown give, and once
//   readiness        what poll reports for each state: POLLIN, POLLOUT, POLLHUP, POLLERR, POLLRDHUP
//   epoll            level and edge, one shot, the order of events in a batch
//   descriptors      the lowest that is free, up to the limit (EMFILE); accept takes its own before it waits
//   eventfd          a counter that can be waited for
//   the clock        stands still while a thread runs; jumps to the next event when all threads wait
// process.mjs has threads, signals, and the system calls themselves; clients.mjs has the clients.
//
// It does not simulate: the cost of anything (calls take no time), the network (what is sent has arrived), processes
// (fork, so --workers), files, IPv6, urgent data, buffers that grow. Linux lets the buffers of a socket grow to some
// megabytes; here they are BUFFER bytes each way.
//
// Times are in nanoseconds, as numbers; 0 is when the experiment begins, and the server starts a second before.

export const EPERM = 1, EINTR = 4, EBADF = 9, EAGAIN = 11, ENOMEM = 12, EEXIST = 17, EINVAL = 22, EMFILE = 24,
  EPIPE = 32, ENOTSOCK = 88, EOPNOTSUPP = 95, ECONNRESET = 104, ENOTCONN = 107, ENOENT = 2;
export const ERRORS = {
  1: ["EPERM", "Operation not permitted"], 2: ["ENOENT", "No such file or directory"],
  4: ["EINTR", "Interrupted system call"], 9: ["EBADF", "Bad file descriptor"],
  11: ["EAGAIN", "Resource temporarily unavailable"], 12: ["ENOMEM", "Cannot allocate memory"],
  17: ["EEXIST", "File exists"], 22: ["EINVAL", "Invalid argument"], 23: ["ENFILE", "Too many open files in system"],
  24: ["EMFILE", "Too many open files"], 28: ["ENOSPC", "No space left on device"],
  32: ["EPIPE", "Broken pipe"], 38: ["ENOSYS", "Function not implemented"],
  88: ["ENOTSOCK", "Socket operation on non-socket"], 95: ["EOPNOTSUPP", "Operation not supported"],
  103: ["ECONNABORTED", "Software caused connection abort"], 104: ["ECONNRESET", "Connection reset by peer"],
  105: ["ENOBUFS", "No buffer space available"], 107: ["ENOTCONN", "Transport endpoint is not connected"],
};

export const IN = 0x1, OUT = 0x4, ERR = 0x8, HUP = 0x10, NVAL = 0x20, RDHUP = 0x2000;
export const EPOLLET = 0x80000000, EPOLLONESHOT = 0x40000000;
const PRIVATE = (EPOLLET | EPOLLONESHOT | 0x30000000) >>> 0; // no events, but how to report them

export const MS = 1e6, SECOND = 1e9;
export const START = -1 * SECOND;          // when the server starts
export const BUFFER = 64 * 1024;           // of a socket, each way
const SOMAXCONN = 4096;                    // net.core.somaxconn
const RETRIES = [1, 2, 3, 4, 5, 7, 11, 19, 35, 67].map((seconds) => seconds * SECOND); // net.ipv4.tcp_syn_retries
const GIVE_UP = 131 * SECOND;

// ---- the clock

// What is to happen, in the order of time. What is due at one time comes in the order of its rank (what the clients of
// the experiment do comes first), and then in the order in which it was planned.
class Timeline {
  constructor() {
    this.now = START;
    this.heap = []; // a binary heap
    this.planned = 0;
  }

  // Call action at a time. Of what is due at one time, a lower rank comes first. Return a token for cancel.
  at(time, action, rank = 1) {
    const entry = {time: Math.max(time, this.now), rank, number: this.planned++, action};
    const heap = this.heap;
    let i = heap.length;
    for (let up; i > 0 && before(entry, heap[up = (i - 1) >> 1]); i = up) heap[i] = heap[up];
    heap[i] = entry;
    return entry;
  }

  cancel(entry) {
    entry.action = null;
  }

  // The time of the next event; Infinity if there is none.
  next() {
    while (this.heap.length > 0 && this.heap[0].action === null) this.pop();
    return this.heap.length > 0 ? this.heap[0].time : Infinity;
  }

  pop() {
    const heap = this.heap, first = heap[0], last = heap.pop();
    if (heap.length > 0) {
      let i = 0;
      for (;;) {
        let child = 2 * i + 1;
        if (child >= heap.length) break;
        if (child + 1 < heap.length && before(heap[child + 1], heap[child])) child++;
        if (!before(heap[child], last)) break;
        heap[i] = heap[child];
        i = child;
      }
      heap[i] = last;
    }
    return first;
  }

  // Let the clock jump to the next event, and let everything happen that is due then.
  step() {
    const time = this.now = this.next();
    while (this.next() === time) this.pop().action();
  }
}

function before(a, b) {
  if (a.time !== b.time) return a.time < b.time;
  return a.rank !== b.rank ? a.rank < b.rank : a.number < b.number;
}

// ---- files

// What a descriptor stands for. Each knows its readiness (mask), and tells those who wait for a change: threads in a
// call of their own (waiters), instances of epoll (watches), and threads in select or poll (kernel.pollers).
class File {
  constructor(kernel, kind) {
    this.kernel = kernel;
    this.kind = kind;
    this.fd = -1;
    this.mask = 0;
    this.nonblocking = false;
    this.waiters = null; // a Set of threads, once there was one
    this.watch = null;   // the first Watch of an instance of epoll; the next one is its other
  }

  // Something has happened: take the new readiness, and wake those who wait. key says what has happened.
  changed(key) {
    const mask = this.readiness();
    this.mask = mask;
    if (this.fd >= 0) this.kernel.masks[this.fd] = mask;
    if (key === 0) return;
    if (this.waiters !== null) for (const thread of this.waiters) thread.wake();
    for (let watch = this.watch; watch !== null; watch = watch.other) watch.notify(key);
    if (this.fd >= 0) for (const [thread, changed] of this.kernel.pollers) {
      changed.push(this.fd);
      thread.wake();
    }
  }

  closed() {}
}

export class Stream extends File { // stdout, stderr, /dev/null
  readiness() {
    return OUT;
  }
}

export class EventFd extends File {
  constructor(kernel, count) {
    super(kernel, "eventfd");
    this.count = count;
  }

  readiness() {
    return (this.count > 0 ? IN : 0) | OUT;
  }

  read() {
    const count = this.count;
    if (count === 0) return -EAGAIN;
    this.count = 0;
    this.changed(OUT);
    return count;
  }

  write(count) {
    this.count += count;
    this.changed(IN);
    return 8;
  }
}

export class Socket extends File { // neither listening nor connected
  constructor(kernel) {
    super(kernel, "socket");
  }

  readiness() {
    return OUT | HUP;
  }
}

export class Listener extends File {
  constructor(kernel, limit) {
    super(kernel, "listener");
    this.limit = Math.min(limit < 0 ? SOMAXCONN : limit, SOMAXCONN);
    this.backlog = [];
    this.head = 0; // of the backlog: where the next one is taken
  }

  get length() {
    return this.backlog.length - this.head;
  }

  readiness() {
    return this.length > 0 ? IN : 0;
  }

  // A client connects. Its SYN is dropped while the backlog is full.
  connect(client, tries = 0) {
    if (this.kernel.listener !== this) return client.refused();
    if (this.length > this.limit) {
      const {timeline} = this.kernel;
      client.dropped();
      if (tries < RETRIES.length)
        timeline.at(client.startNs + RETRIES[tries], () => client.gone || this.connect(client, tries + 1));
      else
        timeline.at(client.startNs + GIVE_UP, () => client.gone || client.timedOut());
      return undefined;
    }
    const connection = new Connection(this.kernel, client);
    this.backlog.push(connection);
    this.kernel.recordBacklog(this.length);
    client.connected(connection);
    this.changed(IN);
    return undefined;
  }

  accept() {
    const connection = this.backlog[this.head++];
    if (this.head > 1000) { // give the memory back now and then
      this.backlog.splice(0, this.head);
      this.head = 0;
    }
    this.kernel.recordBacklog(this.length);
    this.changed(0);
    return connection;
  }

  // The clients that are in the backlog when it closes are reset.
  closed() {
    this.kernel.listener = null;
    for (const connection of this.backlog.splice(0).slice(this.head)) connection.abort();
    this.head = 0;
    this.kernel.recordBacklog(0);
  }
}

// The server's end of a connection. client is the other end (clients.mjs).
export class Connection extends File {
  constructor(kernel, client) {
    super(kernel, "connection");
    this.client = client;
    this.input = null;     // Uint8Arrays that have arrived
    this.inputSize = 0;
    this.unsent = 0;       // bytes that the client does not take
    this.error = 0;        // to be reported once
    this.peerFinished = false; // FIN has arrived
    this.readShut = false;
    this.writeShut = false;
    this.dead = false;     // reset, or both ends have closed: TCP_CLOSE
    this.receiveTimeout = Infinity;
    this.sendTimeout = Infinity;
  }

  readiness() {
    let mask = 0;
    if (this.dead || ((this.readShut || this.peerFinished) && this.writeShut)) mask |= HUP;
    if (this.peerFinished || this.readShut || this.dead) mask |= IN | RDHUP;
    if (this.inputSize > 0) mask |= IN;
    if (this.writeShut || this.dead || this.hasRoom()) mask |= OUT;
    if (this.error !== 0) mask |= ERR;
    return mask;
  }

  // Is it writable? A client with a window has room once it has taken all.
  hasRoom() {
    return this.client.window < Infinity ? this.unsent === 0 : this.unsent * 3 <= BUFFER * 2;
  }

  // ---- what comes from the client

  room() {
    return BUFFER - this.inputSize;
  }

  arrive(bytes) {
    if (this.input === null) this.input = [bytes];
    else this.input.push(bytes);
    this.inputSize += bytes.length;
    this.changed(IN);
  }

  finish() { // FIN
    if (this.dead || this.peerFinished) return;
    this.peerFinished = true;
    this.dead = this.writeShut && this.unsent === 0;
    this.changed(IN | RDHUP | (this.writeShut ? HUP : 0));
  }

  reset() { // RST
    if (this.dead) return;
    this.error = this.peerFinished ? EPIPE : ECONNRESET;
    this.dead = true;
    this.unsent = 0;
    this.changed(IN | OUT | ERR | HUP | RDHUP);
  }

  // ---- what the server does

  // Return up to size bytes that have arrived, in parts (none at the end of the input); a negative errno; or undefined:
  // nothing yet.
  receive(size) {
    if (this.inputSize > 0) return this.inputUpTo(size);
    if (this.peerFinished) return [];
    if (this.error !== 0) return this.takeError();
    if (this.readShut || this.dead) return [];
    return undefined;
  }

  inputUpTo(size) {
    const parts = [];
    for (let left = size, i = 0; left > 0 && i < this.input.length; left -= parts[i++].length)
      parts.push(this.input[i].subarray(0, left));
    return parts;
  }

  // The server has read size bytes: drop them; the client may have more.
  drop(size) {
    this.inputSize -= size;
    for (let left = size; left > 0;) {
      const first = this.input.shift();
      if (first.length > left) this.input.unshift(first.subarray(left));
      left -= first.length;
    }
    this.changed(0);
    this.client.wasRead(size);
  }

  // An error of the connection is told once.
  takeError() {
    const error = this.error;
    this.error = 0;
    this.changed(0);
    return -error;
  }

  // Return how many bytes were taken, a negative errno, or undefined: no room.
  send(bytes) {
    if (this.error !== 0) return this.takeError();
    if (this.dead || this.writeShut) return -EPIPE;
    if (this.client.window < Infinity) return this.sendIntoWindow(bytes);
    if (this.unsent === 0 && this.client.reading) {
      this.client.receive(bytes);
      return bytes.length;
    }
    const room = 2 * BUFFER - this.unsent; // ours, and that of the client
    if (room <= 0) return undefined;
    const taken = Math.min(room, bytes.length);
    this.unsent += taken;
    this.changed(0);
    return taken;
  }

  sendIntoWindow(bytes) {
    const taken = bytes.subarray(0, Math.max(0, this.client.window - this.unsent));
    if (taken.length === 0) return undefined;
    this.unsent += taken.length;
    this.changed(0);
    this.client.receiveLater(taken);
    return taken.length;
  }

  // The client has taken what was sent into its window.
  taken(bytes) {
    this.unsent -= bytes.length;
    this.client.receive(bytes);
    if (this.unsent === 0 && (this.writeShut || this.fd < 0)) this.client.finished();
    else if (!this.dead) this.changed(OUT);
  }

  shutdown(how) {
    if (this.dead) return -ENOTCONN;
    if (how !== 1) this.readShut = true;
    if (how !== 0 && !this.writeShut) {
      this.writeShut = true;
      this.dead = this.peerFinished && this.unsent === 0;
      if (this.unsent === 0) this.client.finished();
    }
    this.changed(IN | OUT | (this.readiness() & HUP));
    return 0;
  }

  // The server closes it. Unread input makes that a reset.
  closed() {
    if (this.dead) return;
    if (this.inputSize > 0) return this.abort();
    const {client, writeShut} = this;
    this.dead = true;
    if (!writeShut && this.unsent === 0) client.finished();
    client.orphaned();
    return undefined;
  }

  abort() {
    if (this.dead) return;
    this.dead = true;
    this.client.wasReset();
  }
}

// ---- epoll

class Watch {
  constructor(epoll, file, fd) {
    Object.assign(this, {epoll, file, fd, events: 0, data: null, listed: false});
    this.other = file.watch; // of another instance
    file.watch = this;
  }

  notify(key) {
    if ((key & this.events) !== 0) this.list();
  }

  // Put it at the end of the list of what may be ready.
  list() {
    if (this.listed) return;
    this.listed = true;
    this.epoll.ready.push(this);
    this.epoll.changed(IN);
  }
}

export class Epoll extends File {
  constructor(kernel) {
    super(kernel, "epoll");
    this.set = new Map(); // fd -> Watch
    this.ready = [];      // Watches that may be ready, in the order in which that came
  }

  readiness() {
    return this.ready.length > 0 ? IN : 0;
  }

  control(op, fd, file, events, data) {
    if (file instanceof Stream) return -EPERM;
    const adds = op === 1; // EPOLL_CTL_ADD
    if (adds === this.set.has(fd)) return adds ? -EEXIST : -ENOENT;
    if (adds) this.set.set(fd, new Watch(this, file, fd));
    const watch = this.set.get(fd);
    if (op === 2) { // EPOLL_CTL_DEL
      this.remove(watch);
      return 0;
    }
    watch.events = (events | ERR | HUP) >>> 0;
    watch.data = data;
    if ((file.mask & watch.events) !== 0) watch.list();
    return 0;
  }

  remove(watch) {
    this.set.delete(watch.fd);
    unlink(watch);
    watch.events = 0;
    if (watch.listed) this.ready.splice(this.ready.indexOf(watch), 1);
    watch.listed = false;
  }

  // Take up to most events: call report(events, data, watch) for each. Return their number.
  take(most, report) {
    const {ready} = this, again = [];
    let count = 0, looked = 0;
    while (looked < ready.length && count < most) {
      const watch = ready[looked++], events = (watch.file.mask & watch.events) >>> 0;
      watch.listed = false;
      if (events === 0) continue;
      report(events, watch.data, watch, count++);
      if ((watch.events & EPOLLONESHOT) !== 0)
        watch.events = (watch.events & PRIVATE) >>> 0;
      else if ((watch.events & EPOLLET) === 0)
        again.push(watch); // level: the next wait looks again
    }
    this.looked = looked;
    ready.splice(0, looked);
    for (const watch of again) {
      watch.listed = true;
      ready.push(watch);
    }
    this.mask = this.readiness();
    return count;
  }

  closed() {
    for (const watch of this.set.values()) unlink(watch);
  }
}

function unlink(watch) {
  const {file} = watch;
  if (file.watch === watch) file.watch = watch.other;
  for (let at = file.watch; at !== null; at = at.other) if (at.other === watch) at.other = watch.other;
}

// ---- all of it

export class Kernel {
  constructor({descriptors = 65536} = {}) {
    this.timeline = new Timeline();
    this.files = [];
    this.masks = new Int32Array(1024).fill(NVAL); // by descriptor, for poll
    this.lowest = 0;                              // no descriptor below is free
    this.limit = descriptors;                     // RLIMIT_NOFILE
    this.listener = null;
    this.order = 0;                               // what happens to clients is counted, as much of it has one time
    this.pollers = new Map();                     // thread in select or poll -> descriptors that have changed since
    this.backlogLengths = []; // [ns, length], each change
    for (let fd = 0; fd < 3; fd++) this.open(new Stream(this, "stream"));
  }

  get now() {
    return this.timeline.now;
  }

  // The lowest descriptor that is free, or -EMFILE.
  free() {
    while (this.files[this.lowest]) this.lowest++;
    return this.lowest < this.limit ? this.lowest : -EMFILE;
  }

  // Give a file the lowest descriptor that is free. Return it, or -EMFILE.
  open(file) {
    const fd = this.free();
    if (fd < 0) return fd;
    this.files[fd] = file;
    file.fd = fd;
    if (fd >= this.masks.length) {
      const masks = new Int32Array(2 * fd).fill(NVAL);
      masks.set(this.masks);
      this.masks = masks;
    }
    this.masks[fd] = file.mask = file.readiness();
    return fd;
  }

  get(fd) {
    return this.files[fd] || null;
  }

  // Put another file in the place of one, as listen does with a socket, and accept.
  replace(file, other) {
    other.fd = file.fd;
    other.nonblocking = file.nonblocking;
    this.files[file.fd] = other;
    other.changed(0);
  }

  close(fd) {
    const file = this.files[fd];
    if (!file) return -EBADF;
    this.files[fd] = null;
    this.masks[fd] = NVAL;
    this.lowest = Math.min(this.lowest, fd);
    while (file.watch !== null) file.watch.epoll.remove(file.watch);
    file.fd = -1;
    file.closed();
    return 0;
  }

  connect(client) {
    if (this.listener === null) client.refused();
    else this.listener.connect(client);
  }

  recordBacklog(length) {
    const all = this.backlogLengths, last = all[all.length - 1];
    if (last !== undefined && last[0] === this.now) last[1] = length;
    else all.push([this.now, length]);
  }
}
