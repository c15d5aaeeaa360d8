"""Running out of descriptors or threads, and leaking none."""
import itertools
import select
import time

from suite.cases import LONG, PROGRAM, READINESS, case
from suite.client import Broken, request
from suite.server import FAST, FAST_CLOSE, SLOW, Failure, Skipped, Trouble, allow_descriptors


@case(needs=PROGRAM)
def clients_wait_for_descriptors(stage):
    with stage.serve("--timeout", LONG) as server:
        server.expect(server.client(FAST), "/fast")  # it holds the highest descriptor so far
        server.pause(0.1)
        most = server.limit("nofile", server.lowest_free_descriptor())
        clients = [server.client(FAST) for _ in range(3)]
        server.expect_no_busy_loop(0.3, "it has a free descriptor")
        server.limit("nofile", most)
        for client in clients:
            try:
                server.expect(client, "/fast", sleeps=1)  # it may pause for so long
            except Broken:
                if server.runtime() == "node":
                    server.expect_served("/fast", sleeps=1)
                    raise Skipped("Node closes clients that come while it has no descriptor") from None
                raise


def serve_forty(stage, most=None, enough=0):
    """Serve forty clients that come simultaneously, with that many descriptors at most. Return how much
    processor time they cost; enough is what they cost with enough descriptors."""
    with stage.serve("--timeout", 0.4) as server:
        if most:
            server.limit("nofile", most)
        start, before = time.monotonic(), server.cpu_seconds()
        for client in server.burst(40):
            server.expect(client, "/fast", sleeps=4)
            server.expect_end(client, sleeps=4)
        took, used = time.monotonic() - start, server.cpu_seconds() - before
        server.expect_served(sleeps=1)
        if most and not stage.one and took < 0.7:
            raise Failure("clients that wait for a descriptor",
                          f"all were served in {took:.2f} s, so nothing ran out")
        if most and used > 2 * enough + 0.1:
            raise Failure("a server that sleeps until it has a free descriptor",
                          f"a busy loop: {used:.2f} s of processor time; {enough:.2f} s with enough of them")
        return used


@case()
def forty_clients_share_twenty_descriptors(stage):
    enough = serve_forty(stage)
    serve_forty(stage, most=20, enough=enough)


@case(READINESS)
def more_clients_than_an_fd_set_holds(stage):
    if not allow_descriptors(1100):
        raise Skipped("1,300 descriptors are more than the hard limit here allows (ulimit -Hn)")
    with stage.serve("--timeout", 2) as server:
        server.expected = "a server that takes as many of 1,100 clients as it can watch, and carries on"
        start = time.monotonic()
        with server.crowd(1100) as sockets:
            server.pause(0.1)
            poll = select.poll()
            for silent in sockets:
                poll.register(silent, select.POLLIN)
            closed = len(poll.poll(0))
            if closed and time.monotonic() - start < 2:
                raise Failure("silent clients that are closed at their time-out, or wait in the backlog",
                              f"{closed} of 1,100 are closed before")
            server.expect_served("/fast", sleeps=5)
            for silent in sockets:  # each is accepted, and closed at its time-out
                if silent.recv(1) != b"":
                    raise Failure("the end of each silent connection", "a byte")
        server.expect_served("/fast")


@case("04-poll 05-epoll 06-libev 07-coroutines")
def each_of_many_clients_is_heard(stage):
    """What a stage keeps for a descriptor must have room for high numbers, and not share it."""
    if not allow_descriptors(1100):
        raise Skipped("1,300 descriptors are more than the hard limit here allows (ulimit -Hn)")
    with stage.serve("--timeout", LONG) as server, server.crowd(1100) as sockets:
        for number in (1, 300, 1100):
            client, answered = sockets[number - 1], select.poll()
            answered.register(client, select.POLLIN)
            client.sendall(FAST)
            server.expected = f"a response to number {number} of 1,100 clients"
            server.wait_for(lambda: answered.poll(0))
            if not client.recv(4096).startswith(b"HTTP/1.1 200 "):
                raise Failure(server.expected, "the end of its connection")


@case("threads")
def clients_wait_for_threads(stage):
    with stage.serve("--delay", 0.1) as server:
        server.expect_served("/fast")
        server.limit_threads()
        server.expected = "a response to each of 60 clients, without room for 60 stacks"
        try:
            server.probe("60x0:/slow", delay=0.1, lasts=5)
        except (Failure, Trouble) as failure:
            server.expect_alive()
            if server.program.threads >= 5 or not server.is_full():
                raise
            raise Failure(server.expected,
                          f"{failure}\nalmost no threads are left, but the address space of the "
                          "server is full: threads that have ended have left their stacks") from None
        server.expect_graceful_exit()


@case("04-poll 05-epoll 06-libev")
def clients_wait_for_memory(stage):
    """Each client of a thousand takes memory, of which the server has little. Somewhere on the way an
    allocation fails: of a connection, or of a table, or inside a library."""
    with stage.serve("--timeout", LONG) as server:
        size = server.memory() >> 10
    if size > 1 << 20:
        raise Skipped("a sanitizer needs terabytes, and gets no limit")
    for step in range(8):
        limit = f"--as={size + 500 + 700 * step << 10}"
        with stage.serve("--timeout", LONG, under=["prlimit", limit]) as server:
            with server.crowd(1000, or_until_full=True) as sockets:
                for client in sockets:
                    client.sendall(FAST)
                server.expected = "a server that goes on when memory is short"
                sockets[0].recv(1)
                server.pause(0.1)  # let it run out of memory; the case also holds if it has not
            server.expect_served(sleeps=1)
            server.expect_graceful_exit()


@case(needs=PROGRAM)
def no_descriptor_leaks(stage):
    """A program may open something for itself meanwhile; but what it loses on one path, it loses six times."""
    requests = [FAST, SLOW, b"", b"GET /fa"]
    if stage.in_tree:
        requests += [FAST_CLOSE, b"?\r\n", request("/x"),
                     request("/fast", "Content-Length: 9", method="POST") + b"x"]
    with stage.serve("--delay", 0.01, "--timeout", LONG) as server:
        server.expect_served()
        server.settle()
        before = server.descriptors_at_rest() if stage.in_tree else server.descriptors()
        for end, said in itertools.product(["read", "half-close", "reset", "close"] * 6, requests):
            client = server.client(*([said] if said else []))
            if end == "read" and said not in (b"", b"GET /fa"):
                client.read(sleeps=0.01)
            if end == "half-close":
                client.half_close()
            if end == "reset":
                client.reset()
            client.close()
            server.did = server.did[:1]
        server.expect_served()
        server.did = server.did[:1] + ["for i in $(seq 200); do curl -s http://127.0.0.1:8000/fast; done",
                                       "ls /proc/$server/fd"]
        server.expect_descriptors(before, or_more=0 if stage.in_tree else 5)
        if not stage.in_tree:
            server.expect_no_zombies()
