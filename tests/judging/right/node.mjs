// The two routes in Node, as its http module serves them: for test_right.py.
// usage: node.mjs --port PORT [--delay SECONDS] [--timeout SECONDS]
import { createServer } from "node:http";
import { parseArgs } from "node:util";

const number = (standard) => ({ type: "string", default: standard });
const { values } = parseArgs({ options: { port: number("8000"), delay: number("10"), timeout: number("10") } });
const timeout = values.timeout * 1000;

const server = createServer((request, response) => {
  const answer = (body, status = 200) => {
    if (stopping) response.setHeader("Connection", "close");
    response.writeHead(status, { "Content-Type": "text/plain", "Content-Length": body.length }).end(body);
  };
  if (request.url === "/fast") answer("That was fast!");
  else if (request.url === "/slow") setTimeout(answer, values.delay * 1000, "That was slow!");
  else answer("404 Not Found", 404);
});
let stopping = false;
server.httpAllowHalfOpen = true; // a client that sends no more still waits for its response
server.keepAliveTimeout = timeout;
server.on("connection", (socket) => {
  // headersTimeout does not begin before the first byte
  const silent = setTimeout(() => socket.destroy(), timeout);
  socket.once("data", () => clearTimeout(silent));
  socket.once("close", () => clearTimeout(silent));
});
server.listen(Number(values.port), "127.0.0.1");
process.on("SIGTERM", () => {
  stopping = true;
  server.close();
  server.closeIdleConnections();
});
