"""Clients that end or reset the connection before they have their response."""
import time

from kit import processes
from suite.cases import LONG, PROGRAM, case
from suite.http import DELAY
from suite.server import SLOW


@case(needs=PROGRAM)
def half_closed_client_is_answered(stage):
    with stage.serve("--delay", DELAY) as server:
        for path in ["/fast", "/slow"] if stage.in_tree else ["/slow"]:
            client = server.client()
            client.get(path)
            client.half_close()
            server.expect(client, path, sleeps=DELAY)
            if stage.in_tree:
                server.expect_end(client)
        if stage.in_tree:  # it hears of the request and of the half-close in one event
            client = server.client()
            server.pause(0.05)
            server.suspend()
            client.get("/fast")
            client.half_close()
            server.resume()
            server.expect(client, "/fast")
            server.expect_end(client)


@case()
def client_that_leaves_mid_head_is_closed(stage):
    with stage.serve("--timeout", LONG) as server:
        before = server.descriptors_at_rest()
        for said in ([b"GET /fast HT"], []):
            client = server.client(*said)
            client.half_close()
            server.expect_end(client)
        server.client(b"GET /fast HTTP/1.1\r\nHo").close()
        server.client().close()
        server.expect_served()
        server.expect_descriptors(before)


@case(needs=PROGRAM)
def resets_cause_neither_exit_nor_busy_loop(stage):
    with stage.serve("--timeout", LONG, "--delay", 0.5 if stage.one else LONG) as server:
        if not stage.one:
            patient = server.client(SLOW)
            patient.half_close()
        leave_during_slow(server)
        server.expect_no_busy_loop(0.3)
        leave_between_requests(server)
        server.expect_served("/fast", sleeps=1)
        server.expect_no_busy_loop(0.2)


@case(needs=PROGRAM)
def writing_to_a_closed_connection_raises_no_sigpipe(stage):
    with stage.serve("--delay", 0.6) as server:
        before = server.descriptors_at_rest() if stage.in_tree else 0
        leave_during_slow(server)
        if stage.in_tree:
            twice = server.client(SLOW * 2)
            closes = server.client(SLOW)
            time.sleep(0.1)
            twice.reset()
            closes.close()
            processes.wait_until(lambda: server.descriptors() == before, patience=2)
        server.pause(0.6)  # until the server wants to send the responses
        server.expect_served("/fast", sleeps=2)


def leave_during_slow(server):
    """One client has said before that it sends no more: send then fails with EPIPE, and raises SIGPIPE unless
    told not to."""
    one = server.stage.one
    clients = [server.client()] if one else [server.client(), server.client()]
    for client in clients:
        if not one:  # let the server watch the socket, before it stops doing so for /slow
            client.get("/fast")
            server.expect(client, "/fast")
        client.get("/slow")
        client.all_received()
    time.sleep(0.1)
    server.expect_alive()
    clients[0].half_close()
    for client in clients:
        client.reset()


def leave_between_requests(server):
    """The server waits for the next request of one client, and for the rest of a request of another."""
    clients = [server.client(), server.client()]
    for client in clients:
        if not server.stage.one:
            client.get("/fast")
            server.expect(client, "/fast")
    clients[1].say(b"GET /fast HT")
    for client in clients:
        client.pause(0.1)
        client.reset()
    server.client().reset()
