// A server of Node, whose /slow takes about a second in one of many ways.
//
// usage: node node_ways.js PORT WAY [UPSTREAM_PORT]
//
// timer    a timer: the loop is free          compute  computes
// fetch    asks another server: it is free    child    waits for a child process, in the loop
// pool     a pool of one thread; so does /fast
// cluster  the parent passes connections to two workers, which compute
// worker   one thread of the program's own computes; so does /fast
"use strict";
const cluster = require("cluster"), crypto = require("crypto"), http = require("http");
const { execSync } = require("child_process"), { Worker, isMainThread, parentPort } = require("worker_threads");
const [port, way, upstream] = process.argv.slice(2);

const compute = () => { for (const end = Date.now() + 1000; Date.now() < end;); };
const hash = (rounds, done) => crypto.pbkdf2("a", "b", rounds, 64, "sha512", done);
const asked = [];
const tell = (slow, done) => { asked.push(done); worker.postMessage(slow); };
const ask = done => http.get({ host: "127.0.0.1", port: upstream, path: "/slow", agent: false },
  answer => answer.resume().on("end", done));

const slow = {
  timer: done => setTimeout(done, 1000),
  compute: done => { compute(); done(); },
  fetch: ask,
  child: done => { execSync("sleep 1"); done(); },
  pool: done => hash(2000000, done),
  cluster: done => { compute(); done(); },
  worker: done => tell(true, done),
}[way];
const fast = { pool: done => hash(1, done), worker: done => tell(false, done) }[way] || (done => done());
const worker = way === "worker" && isMainThread && new Worker(__filename, { argv: process.argv.slice(2) });
if (worker) worker.on("message", () => asked.shift()());

if (!isMainThread) {
  parentPort.on("message", slow => { if (slow) compute(); parentPort.postMessage("done"); });
} else if (way === "cluster" && (cluster.isPrimary || cluster.isMaster)) {
  const workers = [cluster.fork(), cluster.fork()];
  let online = 0;  // none of them listens before both can
  cluster.on("online", () => { if (++online === 2) workers.forEach(worker => worker.send("listen")); });
} else {
  const listen = () => http.createServer((request, response) =>
    (request.url === "/slow" ? slow : fast)(() => response.end("done"))).listen(+port, "127.0.0.1");
  if (way === "cluster") process.once("message", listen);
  else listen();
}
