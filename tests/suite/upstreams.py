"""Servers that ask another server, their upstream, for its /slow: the route /upstream, which no stage has. It
is an exercise for 05, a patch of common/blocking.c, and a part of the loop in Python. judging/upstream.py
builds the first two; judging/exercises.py, judging/test_upstream.py and tutorial/loop/test_loop.py run these
cases.

As a command: be an upstream on port 8001, where those servers look for one, and do NAME to each client:

  answer     respond
  error      respond with status 500
  reset      break the connection off
  half       send a part of the content, and close
  half_head  send a part of the head, and close
  no_http    speak another protocol
  too_long   respond with 100,000 bytes
  endless    send without end
  silent     never respond
  drip       send a byte every 0.1 s
  by_turns   some of these, one after another"""
from kit import tool  # first: see kit/__init__.py

import concurrent.futures
import contextlib
import itertools
import signal
import socket
import struct
import threading
import time

from kit import measuring, servers
from kit.commandline import Parser, whole_number
from suite.cases import LONG
from suite.client import request
from suite.server import FAST, PATIENCE, Failure, allow_descriptors, lines

PORT = 8001
CONTENT = "That was the upstream!"
LAST = request("/upstream", "Connection: close")  # on its connection


# ---- upstreams

def response(content, line="200 OK"):
    return f"HTTP/1.1 {line}\r\nContent-Length: {len(content)}\r\nConnection: close\r\n\r\n{content}".encode()


def say(client, data):
    with contextlib.suppress(OSError):
        client.sendall(data)
    client.close()


def answer(client):
    say(client, response(CONTENT))


def error(client):
    say(client, response("sorry", "500 Internal Server Error"))


def reset(client):
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def half(client):
    say(client, response(CONTENT)[:-4])


def half_head(client):
    say(client, b"HTTP/1.1 20")


def no_http(client):
    say(client, b"SSH-2.0-OpenSSH_9.2\r\n\r\n")


def too_long(client):
    threading.Thread(target=say, args=[client, response("x" * 100000)], daemon=True).start()


def endless(client):
    threading.Thread(target=say_forever, args=[client, bytes(65536), 0], daemon=True).start()


def drip(client):
    threading.Thread(target=say_forever, args=[client, b"x", 0.1], daemon=True).start()


def say_forever(client, data, pause):
    with contextlib.suppress(OSError):
        client.sendall(b"HTTP/1.1 200 OK\r\nX: ")
        while True:
            client.sendall(data)
            time.sleep(pause)


def silent(_client):
    pass


TURNS = [answer, reset, half, no_http, silent]


def by_turns(client, turns=itertools.cycle(TURNS)):
    next(turns)(client)


BEHAVIOURS = {function.__name__: function for function in (
    answer, error, reset, half, half_head, no_http, too_long, endless, silent, drip, by_turns)}
BAD = [error, reset, half, half_head, no_http, too_long, endless]


class Upstream:
    """A server that reads the request of one client after the other, and calls behave(client)."""

    def __init__(self, behave, port=0):
        self.listener = socket.create_server(("127.0.0.1", port), backlog=4096)
        self.port = self.listener.getsockname()[1]
        self.behave, self.clients, self.asked = behave, [], 0
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                self.clients.append(client)
                with contextlib.suppress(OSError):  # this one has left
                    if client.recv(4096):
                        self.asked += 1
                        self.behave(client)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        for each in self.listener, *self.clients:
            each.close()


@contextlib.contextmanager
def refusing():
    """Yield a port at which nobody listens."""
    with socket.socket() as taken:  # until the end, so that nobody else gets it
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@contextlib.contextmanager
def deaf():
    """Yield a port that does not even complete a connection: its backlog is full, and nobody accepts."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, contextlib.ExitStack() as stack:
        for _ in range(4):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


# ---- what the cases share

@contextlib.contextmanager
def serve(stage, port, *options, command=""):
    """Start the server that is tested. command is what a reader starts before, as its upstream."""
    with stage.serve("--upstream", f"127.0.0.1:{port}", *options) as server:
        server.did[0] = server.did[0].replace(f"127.0.0.1:{port}", f"127.0.0.1:{PORT}")
        if command:
            server.did.insert(0, f"{command} &")
        yield server


@contextlib.contextmanager
def beside(stage, behave, *options, may_complain=False):
    """Start an upstream and the server. When the case is over, the server must have closed what it has
    opened, and have written nothing to stderr, unless it may. Yield both."""
    with Upstream(behave) as upstream, serve(
            stage, upstream.port, *options,
            command=f"PYTHONPATH=tests python3 -m suite.upstreams {behave.__name__}") as server:
        before = at_rest(server)
        yield upstream, server
        server.expect_descriptors(before)
        if not may_complain:
            server.expect_no_message()


def at_rest(server):
    """Serve a client. Return how many descriptors the server has open afterwards."""
    expect(ask(server, "/fast"), 200, "That was fast!")
    server.wait_asleep()
    return server.descriptors()


def ask(server, path="/upstream", sleeps=0):
    server.expected = f"a response to {path}"
    client = server.client(request(path, "Connection: close"))
    return finish(server, client, sleeps)


def finish(server, client, sleeps=0):
    """Return the one response of a client."""
    found = client.read(sleeps)
    server.expect_end(client)
    return found


def expect(found, status, content=None):
    wanted = f"status {status}" + (f' and "{content}"' if content else "")
    if found.status != status or content not in (None, found.body):
        raise Failure(wanted, str(found))


# ---- cases

def upstream_is_asked(stage):
    """What it answers is passed on, each time anew, and HEAD gets no content."""
    with beside(stage, answer) as (upstream, server):
        for _ in range(3):
            expect(ask(server), 200, CONTENT)
        if upstream.asked != 3:
            raise Failure("an upstream that is asked for each of 3 requests",
                          f"{upstream.asked} requests to it")


def fast_overtakes_upstream(stage):
    with servers.Server("05-epoll", "--delay", "1") as upstream, serve(
            stage, upstream.port, command=f"build/05-epoll --port {PORT} --delay 1") as server:
        client = server.client(LAST)
        server.pause(0.1)
        expect(ask(server, "/fast"), 200, "That was fast!")
        server.expect_silence([client], "a response to /upstream later than that to /fast")
        expect(finish(server, client, sleeps=1), 200, "That was slow!")


def requests_in_one_piece_are_answered_in_order(stage):
    """Also when the upstream fails immediately: a server must not confuse its descriptors then."""
    for behave, status in (answer, 200), (reset, 502):
        with beside(stage, behave) as (_, server):
            client = server.client(request("/upstream") * 5 + FAST + LAST)
            for _ in range(5):
                expect(client.read(), status)
            expect(client.read(), 200, "That was fast!")
            expect(finish(server, client), status)


def bad_upstream_is_a_502(stage):
    for behave in BAD:
        with beside(stage, behave) as (_, server):
            for _ in range(3):
                expect(ask(server), 502)


def upstream_that_refuses_is_a_502(stage):
    with refusing() as port, serve(stage, port) as server:
        before = at_rest(server)
        for _ in range(3):
            expect(ask(server), 502)
        server.expect_descriptors(before)


def silent_upstream_is_a_504(stage):
    """After --timeout, not before; a byte now and then does not renew that."""
    for behave in silent, drip:
        with beside(stage, behave, "--timeout", 1) as (_, server):
            expect_504(server)


def upstream_that_never_accepts_is_a_504(stage):
    with deaf() as port, serve(stage, port, "--timeout", 1) as server:
        expect_504(server)


def expect_504(server):
    start = time.monotonic()
    client = server.client(LAST)
    if not server.stage.one:
        expect(ask(server, "/fast"), 200, "That was fast!")
    expect(finish(server, client, sleeps=1), 504)
    took = time.monotonic() - start
    if not 0.99 <= took:
        raise Failure("a 504 after --timeout, 1 s", f"it comes after {took:.3f} s")
    if took > 1.9 and server.cpu_seconds() < 0.2:
        again = time.monotonic()  # this machine may have been slow: only twice is a fault of the server
        ask(server, sleeps=1)
        if time.monotonic() - again > 1.9:
            raise Failure("a 504 after --timeout, 1 s", f"it comes after {took:.3f} s")


def client_that_leaves_meanwhile_harms_nobody(stage, may_complain=False):
    """By closing, by saying that it sends no more, and by a reset."""
    with beside(stage, silent, "--timeout", 1, may_complain=may_complain) as (_, server):
        for leave in "close", "half_close", "reset":
            clients = [server.client(request("/upstream")) for _ in range(1 if stage.one else 20)]
            server.pause(0.1)
            for client in clients:
                getattr(client, leave)()
        server.expect_no_busy_loop(0.3)
        expect(ask(server, "/fast", sleeps=PATIENCE), 200, "That was fast!")


def client_that_resets_is_given_up(stage):
    """Both descriptors are closed long before the time-out, and a half-close is no reason for that."""
    with beside(stage, silent, "--timeout", LONG) as (upstream, server):
        before = server.descriptors()
        half, *clients = [server.client(LAST) for _ in range(3)]
        server.wait_for(lambda: upstream.asked == 3)
        half.half_close()
        for client in clients:
            client.reset()
        server.expect_descriptors(before + 2)
        for there in upstream.clients:  # two have been closed at the other end
            say(there, response(CONTENT))
        expect(finish(server, half), 200, CONTENT)


def signal_does_not_end_the_wait_for_a_connection(stage):
    """It may end a call, also if nobody handles it: SIGCONT after SIGSTOP (signal(7))."""
    with deaf() as port, serve(stage, port, "--timeout", 1) as server:
        start = time.monotonic()
        client = server.client(request("/upstream"))
        server.pause(0.1)
        server.suspend()
        server.resume()
        server.pause(0.1)
        server.signal(signal.SIGTERM)
        expect(finish(server, client, sleeps=1), 504)
        if time.monotonic() - start < 0.99:
            raise Failure("a 504 after --timeout, 1 s", "it comes earlier")
        server.expect_exit()


def requests_in_flight_are_answered_before_exit(stage):
    with servers.Server("05-epoll", "--delay", "1") as upstream, serve(
            stage, upstream.port, command=f"build/05-epoll --port {PORT} --delay 1") as server:
        client = server.client(request("/upstream"))
        client.all_received()
        server.pause(0.1)
        server.program.process.terminate()
        expect(finish(server, client, sleeps=1), 200, "That was slow!")
        server.expect_exit()


def thousand_clients(stage):
    """Each gets an answer or a clear error, and the next one is served."""
    allow_descriptors(2000)  # the server has one to each client, and one to the upstream
    for behave in answer, reset, half, silent, by_turns:
        wanted = {answer: {"200"}, silent: {"504"}, by_turns: {"200", "502", "504"}}
        statuses = wanted.get(behave, {"502"})
        timeout = 2 if behave in (silent, by_turns) else LONG
        with beside(stage, behave, "--timeout", timeout) as (_, server):
            server.asked += 1000
            rows = measuring.probe(server.url, "1000x0:/upstream", timeout=LONG)
            found = {row["status"] if row["status"] != "-" else row["body"] for row in rows}
            if not found <= statuses:
                raise Failure(f"status {' or '.join(sorted(statuses))} for each of 1,000 clients",
                              ", ".join(sorted(found)))
            expect(ask(server, "/fast"), 200, "That was fast!")


ALL = [upstream_is_asked, fast_overtakes_upstream, requests_in_one_piece_are_answered_in_order,
       bad_upstream_is_a_502, upstream_that_refuses_is_a_502, silent_upstream_is_a_504,
       upstream_that_never_accepts_is_a_504, client_that_leaves_meanwhile_harms_nobody,
       signal_does_not_end_the_wait_for_a_connection, requests_in_flight_are_answered_before_exit,
       thousand_clients]
NOT_ONE = [fast_overtakes_upstream, requests_in_one_piece_are_answered_in_order, thousand_clients]


def failures(stage, cases):
    """Run cases simultaneously, for they mostly wait. Return what those say that do not hold."""
    def run(case):
        try:
            case(stage)
        except Failure as failure:
            return "\n".join([case.__name__, *lines(failure.rows())])
        return None

    few = [case for case in cases if case is not thousand_clients]
    with concurrent.futures.ThreadPoolExecutor(len(few)) as pool:
        found = list(pool.map(run, few))
    found += [run(case) for case in cases if case is thousand_clients]
    return [text for text in found if text]


# ---- the command

def main(arguments):
    parser = Parser(description=__doc__, usage="%(prog)s NAME [--port PORT]")
    parser.add_argument("name", metavar="NAME", choices=list(BEHAVIOURS))
    parser.add_argument("--port", metavar="PORT", type=whole_number(0, 65535), default=PORT,
                        help=f"where to listen ({PORT})")
    options = parser.parse_args(arguments)
    with Upstream(BEHAVIOURS[options.name], options.port) as upstream:
        print(f"{options.name}: listening on http://127.0.0.1:{upstream.port}", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    tool.run(main)
