// The clients: what each one does on its own, and what it has seen. A client with a request sends it when it is
// connected, reads what comes, and leaves once it has all answers, as build/probe does; one that keeps its connection
// leaves when it is told to, or when the server does.
import {MS} from "./kernel.mjs";

export const PORT = 40000;              // where the server listens
const FIRST_PORT = 50000;               // of the clients

const encoder = new TextEncoder(), decoder = new TextDecoder("latin1");

function requestText(path, last = true) {
  return `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${PORT}\r\n${last ? "Connection: close\r\n" : ""}\r\n`;
}

// More than a server reads of a head, so some of it is unread when the server has read enough to answer.
const BODY = requestText("/fast").repeat(150);
const POST = requestText("/fast", false).replace("GET", "POST")
  .replace("\r\n\r\n", `\r\nContent-Length: ${BODY.length}\r\n\r\n${BODY}`);

// What a client sends, for an event: [path, text] of each request.
function requestsOf(event) {
  const {action, path = "/fast", count} = event;
  if (action === "get" || action === "half") return [[path, requestText(path)]];
  if (action === "keep" || action === "ask") return [[path, requestText(path, false)]];
  if (action === "post") return [[path, POST]];
  if (action !== "pipeline") return [];
  if (count === undefined) return [["/slow", requestText("/slow", false)], ["/fast", requestText("/fast")]];
  return Array.from({length: count}, (_, i) => [path, requestText(path, i === count - 1)]);
}

export class Client {
  constructor(kernel, number, event) {
    const asked = requestsOf(event), text = asked.map((request) => request[1]).join("");
    const half = event.action === "half" ? text.indexOf("\r\n") >> 1 : text.length;
    Object.assign(this, {
      kernel, number, action: event.action, path: event.path || (asked.length > 0 ? asked[0][0] : null),
      requests: asked.length, asked: [], arrived: 0, pushed: 0, window: Infinity,
      keeps: event.action === "keep" || event.action === "post", resetNs: null, halfClosedNs: null,
      port: FIRST_PORT + number % 15000, startNs: kernel.now, connectedNs: null, sentNs: null, acceptedNs: null,
      receivedNs: null, answeredNs: null, firstNs: null, doneNs: null, leftNs: null, leftBy: null, endedNs: null,
      fd: null, acceptedBy: null, acceptedOrder: null, answeredBy: null, error: "", retriesNs: [], answers: [],
      connection: null, reading: true, gone: false, finishedNs: null,
      outgoing: text === "" ? [] : [encoder.encode(text.slice(0, half))], rest: encoder.encode(text.slice(half)),
      unread: 0, toSend: 0, head: "", left: 0, body: "", status: "",
    });
    this.noteAsked(asked);
  }

  // It is going to send these requests. Of each, we note when its first and its last byte have arrived.
  noteAsked(requests) {
    for (const [path, text] of requests) {
      const from = this.pushed + this.toSend;
      this.asked.push({path, from, to: from + text.length, begunNs: null, arrivedNs: null, order: null});
      this.toSend += text.length;
    }
  }

  // ---- what it does

  connect() {
    this.kernel.connect(this);
  }

  sendRest() {
    this.sendMore({count: this.rest.length});
  }

  sendMore({count}) {
    if (this.gone || this.leftBy !== null || this.rest.length === 0) return;
    this.outgoing.push(this.rest.subarray(0, count));
    this.rest = this.rest.subarray(count);
    this.push();
  }

  askAgain(event) {
    if (this.gone || !this.keeps || this.leftBy !== null) return;
    const requests = requestsOf(event);
    this.requests += requests.length;
    this.doneNs = null;
    this.noteAsked(requests);
    this.outgoing.push(encoder.encode(requests.map((request) => request[1]).join("")));
    this.push();
  }

  narrow({count}) {
    this.window = count;
    if (this.connection && !this.gone) this.connection.changed(0); // it may be writable no more
  }

  halfClose() {
    if (this.halfClosedNs === null) this.halfClosedNs = this.kernel.now;
    this.leave("half-close");
    if (this.connection && this.outgoing.length === 0) this.connection.finish();
  }

  close() {
    if (this.gone) return;
    this.leave("close");
    this.quit();
  }

  reset() {
    if (this.gone) return;
    this.leave("reset");
    this.gone = true;
    if (this.connection) this.connection.reset();
  }

  stopReading() {
    this.reading = false;
  }

  leave(by) {
    if (this.leftNs !== null && by === "half-close") return;
    this.leftNs = this.kernel.now;
    this.leftBy = by;
  }

  // Close: what comes from now on is answered with a reset.
  quit() {
    if (this.gone) return;
    this.gone = true;
    if (this.connection === null) return;
    if (!this.reading && this.connection.unsent > 0) this.connection.reset();
    else this.connection.finish();
  }

  // Give the connection as much as there is room for.
  push() {
    const {connection, outgoing} = this;
    while (connection !== null && outgoing.length > 0 && !connection.dead) {
      const room = connection.room(), first = outgoing[0];
      if (room <= 0) return;
      if (first.length <= room) outgoing.shift();
      else outgoing[0] = first.subarray(room);
      const part = first.length <= room ? first : first.subarray(0, room);
      this.unread += part.length;
      this.toSend -= part.length;
      this.pushed += part.length;
      this.noteArrived();
      connection.arrive(part);
    }
    if (this.toSend === 0 && this.sentNs === null && this.requests > 0) this.sentNs = this.kernel.now;
    if (outgoing.length === 0 && this.leftBy === "half-close" && connection) connection.finish();
  }

  noteArrived() {
    for (; this.arrived < this.asked.length && this.pushed > this.asked[this.arrived].from; this.arrived++) {
      const request = this.asked[this.arrived];
      if (request.begunNs === null) request.begunNs = this.kernel.now;
      if (this.pushed < request.to) return;
      request.arrivedNs = this.kernel.now;
      request.order = this.kernel.order++;
    }
  }

  // ---- what the server, or its kernel, does

  refused() {
    this.error = "refused";
    this.gone = true;
    this.endedNs = this.kernel.now;
  }

  dropped() {
    this.retriesNs.push(this.kernel.now);
  }

  timedOut() {
    this.error = "timed out";
    this.gone = true;
  }

  connected(connection) {
    this.connection = connection;
    this.connectedNs = this.kernel.now;
    this.push();
    if (this.leftBy === "half-close") connection.finish();
  }

  wasAccepted(fd, thread) {
    this.fd = fd;
    this.acceptedNs = this.kernel.now;
    this.acceptedBy = thread.id;
    this.acceptedOrder = this.kernel.order++;
  }

  // The server has read size bytes.
  wasRead(size) {
    this.unread -= size;
    if (this.toSend === 0 && this.unread === 0 && this.requests > 0 && this.receivedNs === null)
      this.receivedNs = this.kernel.now;
    if (this.outgoing.length > 0) this.push();
  }

  sentBy(thread) {
    if (this.answeredNs !== null && this.answers.length > 1) return;
    this.answeredNs = this.kernel.now;
    this.answeredBy = thread.id;
  }

  wasClosed() {
    if (this.endedNs === null) this.endedNs = this.kernel.now;
  }

  // The server has ended its half: there is no more to come.
  finished() {
    this.finishedNs = this.kernel.now;
    if (this.gone) return;
    if (this.answers.length < this.requests && this.error === "") this.error = "closed early";
    this.quit();
  }

  // The server has closed: what we still send is answered with a reset.
  orphaned() {
    if (!this.gone && this.outgoing.length > 0) this.wasReset();
  }

  wasReset() {
    if (this.endedNs === null) this.endedNs = this.kernel.now;
    if (this.gone) return;
    this.gone = true;
    this.resetNs = this.kernel.now;
    if (this.answers.length < this.requests) this.error = "reset";
  }

  receive(bytes) {
    if (this.gone) { // who closed has no socket any more
      this.connection.reset();
      return;
    }
    if (this.firstNs === null) this.firstNs = this.kernel.now;
    this.parse(decoder.decode(bytes));
    if (this.answers.length > 0 && this.answers.length >= this.requests) {
      if (this.doneNs === null) this.doneNs = this.kernel.now;
      if (!this.keeps) this.quit();
    }
  }

  // With a window, it takes bytes a millisecond after the server has sent them.
  receiveLater(bytes) {
    this.kernel.timeline.at(this.kernel.now + MS, () => this.reading && this.connection.taken(bytes));
  }

  // Take the text of one response after the other: a head with Content-Length, and so many bytes.
  parse(text) {
    for (let rest = text; rest !== "";) {
      if (this.left === 0) {
        this.head += rest;
        const end = this.head.indexOf("\r\n\r\n");
        if (end < 0) return;
        rest = this.head.slice(end + 4);
        this.left = Number((/^content-length: *(\d+)/im.exec(this.head.slice(0, end)) || [0, 0])[1]);
        this.status = this.head.slice(9, 12);
        this.head = this.body = "";
      }
      this.body += rest.slice(0, this.left);
      const taken = Math.min(rest.length, this.left);
      this.left -= taken;
      rest = rest.slice(taken);
      if (this.left === 0) {
        this.answers.push({at: this.kernel.now / MS, status: this.status, body: this.body, order: this.kernel.order++});
        this.body = "";
      }
    }
  }

  // ---- what is told of it

  told(ended) {
    const ms = (ns) => ns === null ? null : ns / MS;
    const answer = this.answers[this.answers.length - 1];
    return {
      number: this.number, action: this.action, path: this.path, requests: this.requests, start: ms(this.startNs),
      connected: ms(this.connectedNs), sent: ms(this.sentNs), accepted: ms(this.acceptedNs),
      received: ms(this.receivedNs), answered: ms(this.answeredNs), first: ms(this.firstNs), done: ms(this.doneNs),
      left: ms(this.leftNs), leftBy: this.leftBy, ended: ms(this.endedNs),
      status: this.error || (answer ? answer.status
        : this.requests > 0 && ended && this.leftBy === null ? "no answer" : ""),
      body: answer ? answer.body : "", answers: this.answers,
      asked: this.asked.map(({path, begunNs, arrivedNs, order}) => ({
        path, begun: ms(begunNs), arrived: ms(arrivedNs), order})),
      window: this.window === Infinity ? null : this.window, reading: this.reading, reset: ms(this.resetNs),
      halfClosed: ms(this.halfClosedNs), port: this.port, fd: this.fd, thread: this.answeredBy,
      acceptedBy: this.acceptedBy, acceptedOrder: this.acceptedOrder, retries: this.retriesNs.slice(0, 8).map(ms),
    };
  }
}

// A client that connects and does nothing. There may be ten thousand, so it is small.
export class IdleClient {
  constructor(kernel, group) {
    Object.assign(this, {kernel, group, number: 0, startNs: kernel.now, reading: true, gone: false, connection: null});
    this.port = FIRST_PORT + group.count % 15000;
  }

  connect() {
    this.kernel.connect(this);
  }

  refused() {
    this.gone = true;
  }

  dropped() {}

  timedOut() {
    this.gone = true;
  }

  connected(connection) {
    this.connection = connection;
    this.group.connected++;
  }

  wasAccepted() {
    this.group.accepted++;
  }

  wasRead() {}

  sentBy() {}

  receive() {}

  wasClosed() {
    if (!this.gone) this.group.closed++;
    this.gone = true;
  }

  finished() {
    this.connection.finish();
  }

  orphaned() {}

  wasReset() {
    this.wasClosed();
  }
}
