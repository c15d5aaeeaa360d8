"""When a connection stays open, and several requests on one connection."""
import time

from suite.cases import CONCURRENT, URL, case
from suite.client import request
from suite.http import DELAY
from suite.server import FAST, FAST_CLOSE, SLOW, Failure, shown


@case(CONCURRENT, URL)
def connection_is_kept_alive(stage):
    with stage.serve("--delay", DELAY) as server:
        client, other, delay = server.client(), server.client(), server.delay(DELAY)
        for one, path in [(client, "/fast"), (other, "/fast"), (client, "/slow"), (other, "/fast"), (client, "/fast")]:
            one.get(path)
            response = server.expect(one, path, sleeps=delay)
            if response.closes:
                raise Failure("a response without Connection: close", shown(response))


@case(CONCURRENT)
def error_keeps_the_connection(stage):
    with stage.serve() as server:
        client = server.client(FAST)
        server.expect(client, "/fast")
        client.get("/nowhere")
        server.expect_status(client, 404, closes=False)
        client.say(b"\r\n" + FAST_CLOSE)
        server.expect_closed(client, server.expect(client, "/fast"))


@case("one", URL)
def blocking_server_closes_every_connection(stage):
    with stage.serve("--delay", DELAY) as server:
        for path in ("/fast", "/slow"):
            client = server.client(request(path))
            server.expect_closed(client, server.expect(client, path, sleeps=server.delay(DELAY)))
        client = server.client(request("/fast", "Connection: keep-alive"))
        server.expect_closed(client, server.expect(client, "/fast"))
        if stage.in_tree:
            client = server.client(request("/nowhere"))
            server.expect_closed(client, server.expect_status(client, 404))


@case()
def http_1_0_closes_unless_asked_to_keep_alive(stage):
    with stage.serve() as server:
        client = server.client(b"GET /fast HTTP/1.0\r\n\r\n")
        server.expect_closed(client, server.expect(client, "/fast"))

        client = server.client(b"GET /fast HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        response = server.expect(client, "/fast")
        if response.stays == stage.one:
            raise Failure(f"a response {'without' if stage.one else 'with'} Connection: keep-alive",
                          response.line)
        if response.stays:
            client.say(b"GET /fast HTTP/1.0\r\n\r\n")
            response = server.expect(client, "/fast")
        server.expect_closed(client, response)


@case()
def connection_close_is_honoured(stage):
    with stage.serve("--delay", 0.05) as server:
        client = server.client(FAST_CLOSE)
        server.expect_closed(client, server.expect(client, "/fast"))
        # A request after it is not answered, and does no harm.
        client = server.client(request("/slow", "Connection: x, CLOSE") + FAST)
        server.expect_closed(client, server.expect(client, "/slow", sleeps=0.05))


@case(CONCURRENT, URL)
def pipelined_requests_are_answered_in_order(stage):
    with stage.serve("--delay", DELAY) as server:
        delay, client = server.delay(DELAY), server.client()
        start = time.monotonic()
        if stage.in_tree:
            client.say(FAST + SLOW + FAST + request("/slow", method="HEAD") + request("/x") + SLOW + FAST)
        else:
            client.get("/fast", times=3)
        server.expect(client, "/fast")
        if stage.in_tree:
            server.expect(client, "/slow", sleeps=delay)
            server.expect(client, "/fast")
            server.expect(client, "/slow", sleeps=delay, head=True)
            server.expect_status(client, 404)
            server.expect(client, "/slow", sleeps=delay)
            server.expect(client, "/fast")
            if time.monotonic() - start < 3 * delay:
                raise Failure("three /slow that wait one after the other",
                              f"all of them in {time.monotonic() - start:.2f} s")
        else:
            server.expect(client, "/fast")
            server.expect(client, "/fast")
        server.expect_silence([client], "no more responses than requests")


@case(CONCURRENT)
def bad_request_after_good_ones_gets_its_own_response(stage):
    with stage.serve("--delay", 0.1) as server:
        client = server.client(FAST + SLOW + b"GET /fast\r\n\r\n" + FAST)
        server.expect(client, "/fast")
        server.expect(client, "/slow", sleeps=0.1)
        server.expect_closed(client, server.expect_status(client, 400))
