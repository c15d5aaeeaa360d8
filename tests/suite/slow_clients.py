"""Clients that are silent, slow to send or slow to read."""
import contextlib
import threading
import time

from kit import processes
from suite.cases import CONCURRENT, LONG, PROGRAM, URL, case
from suite.client import request
from suite.http import expect_error
from suite.server import FAST, PATIENCE, Failure, Skipped


@case(needs=PROGRAM)
def silent_client_is_closed_without_a_response(stage):
    with stage.serve("--timeout", 0.5) as server:
        said = [b"", b"\r\n"] if stage.in_tree else [b""]  # an empty line begins no request
        for text in said if stage.one or not stage.in_tree else [*said, FAST]:
            start = time.monotonic()
            client = server.client(*([text] if text else []))
            if text == FAST:
                server.expect(client, "/fast")
            server.expected = "the end of the silent connection, 0.5 s after it began"
            client.end(sleeps=0.5)
            took = time.monotonic() - start
            if took < 0.5 - 0.05 * (text != b""):
                raise Failure(server.expected, f"the end after {took:.2f} s")
        server.expect_served()


@case()
def shortest_timeout_is_a_timeout(stage):
    """A millisecond is soon rounded away, or taken for the limit that is set already, and 0 is no limit."""
    with stage.serve("--timeout", 0.001) as server:
        for _ in range(20):
            client = server.client()
            server.expected = "the end of the silent connection"
            client.end()
            server.did.remove(client)
        server.expect_no_busy_loop(0.2)


@case()
def dripping_head_times_out(stage):
    with stage.serve("--timeout", 0.5) as server:
        client, start = server.client(b"GET /fast HTTP/1.1\r\nHost: h\r\nX: "), time.monotonic()
        said, steps = start, list(client.steps)
        while client.silent():
            if time.monotonic() - start > PATIENCE:
                client.steps = [*steps, *[b"x", "wait:0.02"] * 3]
                raise Failure("status 408, 0.5 s after the head began",
                              f"nothing after {PATIENCE} s: each byte renews the time-out")
            said = time.monotonic()
            client.say(b"x")
            time.sleep(0.02)
        if time.monotonic() - start < 0.2:
            raise Failure("status 408, 0.5 s after the head began",
                          f"a response after {time.monotonic() - start:.2f} s")
        client.steps = [*steps, *[b"x", "wait:0.2"] * 3]
        response = server.expect_status(client, 408)
        if time.monotonic() - said < 0.4:  # else the server may have stopped lingering
            server.expect_closed(client, response)
        server.expect_served()


def client_that_drips(server, *more):
    """Send a request with --timeout 0.6 so that the server waits for its last part for 0.2 s. What it has
    told the kernel for that wait must not cut the next one short. Return the client."""
    for _ in range(20):
        start = time.monotonic()
        client = server.client(b"GET /fast HT")
        time.sleep(0.4)
        client.say(b"TP/1.1\r\n")
        time.sleep(0.02)
        if time.monotonic() - start < 0.55:  # else this machine was too slow: try again
            client.say(b"Host: h\r\n\r\n" + b"".join(more))
            server.expect(client, "/fast")
            return client
        client.close()
        server.did = server.did[:1]
    raise Skipped("this machine is too slow for a --timeout of 0.6 s")


@case(CONCURRENT)
def idle_wait_after_a_dripped_head_has_its_whole_time(stage):
    with stage.serve("--timeout", 0.6) as server:
        client = client_that_drips(server)
        start = time.monotonic()
        server.expect_end(client, sleeps=0.6)
        if time.monotonic() - start < 0.5:
            raise Failure("a connection that stays open for 0.6 s",
                          f"its end after {time.monotonic() - start:.2f} s")


@case(CONCURRENT)
def head_after_a_dripped_head_has_its_whole_time(stage):
    with stage.serve("--timeout", 0.6) as server:
        client, start = client_that_drips(server, b"GET /fast HT"), time.monotonic()
        time.sleep(0.4)
        if time.monotonic() - start < 0.5:
            server.expect_silence([client], "no 408 before 0.6 s")
            client.say(b"TP/1.1\r\nHost: h\r\n\r\n")
            server.expect(client, "/fast")


def suspend_after(server, said):
    """Suspend the server after it has read the beginning of a request, and well before its time-out of 0.5 s;
    if this machine was too slow for that, try again. Return the client."""
    idle = server.descriptors_at_rest()
    for _ in range(100):
        start = time.monotonic()
        client = server.client((b"" if server.stage.one else FAST) + said)
        if not server.stage.one:
            server.expect(client, "/fast")  # one segment: the server has read both
        processes.wait_until(lambda: server.descriptors() != idle, patience=0.3, step=0.002)
        server.wait_asleep()
        server.suspend()
        if time.monotonic() - start < 0.3:
            return client
        server.resume()
        client.close()
        server.did = server.did[:1]
        server.expect_descriptors(idle)
    raise Skipped("this machine is too slow for a --timeout of 0.5 s")


def expect_answer_after_suspension(server, beginning, rest):
    """While the server is suspended, the deadline passes, but the rest of the request arrives."""
    client = suspend_after(server, beginning)
    time.sleep(0.6)
    client.say(rest)
    client.all_received()
    server.resume()
    server.expect(client, "/fast")


@case()
def request_sent_during_a_suspension_is_answered(stage):
    with stage.serve("--timeout", 0.5) as server:
        expect_answer_after_suspension(server, b"", FAST)


@case()
def head_completed_during_a_suspension_is_answered(stage):
    with stage.serve("--timeout", 0.5) as server:
        expect_answer_after_suspension(server, b"GET /fast HT", b"TP/1.1\r\nHost: h\r\n\r\n")


@contextlib.contextmanager
def flooded(server, path="/fast"):
    """Let three clients ask for path without end, and read the responses."""
    clients = [server.client() for _ in range(3)]
    floods = [threading.Thread(target=client.flood, args=[path], daemon=True) for client in clients]
    server.flooded = True
    for flood in floods:
        flood.start()
    try:
        yield
    finally:
        for client, flood in zip(clients, floods):
            client.close_flood()
            flood.join()


@case(CONCURRENT)
def client_that_sends_without_end_delays_nobody(stage):
    with stage.serve("--timeout", LONG) as server, flooded(server):
        for _ in range(10):
            server.expect_served("/fast")


@case(needs=URL)
def client_that_does_not_read_costs_little(stage):
    with stage.serve("--timeout", LONG) as server:
        if stage.in_tree:
            server.expect_served()
        before = server.resident() if stage.in_tree else 0
        client = server.client(buffers=65536)
        server.expected = "a server that stops reading requests, and sleeps, when nobody reads its responses"
        sent = client.fill(may_end=stage.one)
        grown = server.resident() - before if stage.in_tree else 0
        if sent < 1000 and stage.in_tree:
            raise Failure("a server that reads at least 1,000 requests", f"{sent} requests could be sent")
        if grown > 8 << 10:
            raise Failure("a server that grows by no more than 8 MiB", f"it grew by {grown} KiB")
        server.expect_served("/fast")
        server.expect_no_busy_loop(0.2, "this client reads")
        if not stage.one:
            server.expected = f"{sent} responses, once they are read"
            got = client.count(sent)
            if got != sent:
                raise Failure(server.expected, f"{got} responses, then the end of the connection")
            server.expect_no_busy_loop(0.2, "this client asks again")
            client.close()
            server.expect_served("/fast")


@case()
def error_response_arrives_whatever_was_sent(stage):
    """Closing a socket with unread input resets the connection, and the response may be lost."""
    with stage.serve() as server:
        expect_error(server, b"GET /fast HTTP/1.1\r\nX: " + b"x" * (1 << 20), 431, True)
        expect_error(server, b"GET /" + b"x" * (1 << 20), 414, True)
        expect_error(server, request("/fast", "Content-Length: 102400", method="POST") + b"x" * 102400, 405,
                     True)
        expect_error(server, b"?\r\n" + b"x" * 102400, 400, True)
        server.expect_served()
