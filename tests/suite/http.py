"""Requests and responses on the wire."""
import time

from suite.cases import LONG, URL, case
from suite.client import request
from suite.server import FAST_CLOSE, SLOW, Failure

DELAY = 0.3


@case(needs=URL)
def fast_is_answered(stage):
    with stage.serve("--delay", DELAY) as server:
        for _ in range(2):
            server.expect_served("/fast")
        late = server.client()
        late.pause(0.1)
        late.get("/fast")
        server.expect(late, "/fast")
        server.expect_no_message()


@case(needs=URL)
def slow_is_answered_after_its_delay(stage):
    with stage.serve("--delay", DELAY) as server:
        delay, client = server.delay(DELAY), server.client()
        start = time.monotonic()
        client.get("/slow")
        server.expect(client, "/slow", sleeps=delay)
        took = time.monotonic() - start
        if stage.command and took < delay:
            raise Failure(f"a response after {delay} s, and not before", f"the response after {took:.3f} s")
        server.expect_served("/fast")
        server.expect_no_message()


@case()
def head_response_has_no_body(stage):
    with stage.serve("--delay", 0.2) as server:
        for path, seconds in [("/fast", 0), ("/slow", 0.2)]:
            start = time.monotonic()
            client = server.client(request(path, "Connection: close", method="HEAD"))
            response = server.expect(client, path, sleeps=seconds, head=True)
            if time.monotonic() - start < seconds:
                raise Failure(f"a response to HEAD {path} after {seconds} s", "one that did not wait")
            server.expect_closed(client, response)


@case(needs=URL)
def request_may_arrive_in_pieces(stage):
    with stage.serve() as server:
        for size in range(1, len(FAST_CLOSE)):
            client = server.client()
            for at in range(0, len(FAST_CLOSE), size):
                client.say(FAST_CLOSE[at:at + size])
                time.sleep(0.002 if size == 1 else 0.0001)  # or the server would read them together
                if size == len(FAST_CLOSE) // 2:
                    client.pause(0.05)
            server.expect(client, "/fast")
            client.close()
            server.did.remove(client)


@case()
def each_error_has_its_status(stage):
    with stage.serve("--delay", LONG) as server:
        for said, status, closes in [
                (b"GET /fast HTTP/1.1\r\n\r\n", 400, True),  # no Host
                (b"GET /fast HTTP/1.1\n", 400, True),
                (b"\x16\x03\x01\x02\x01", 400, True),  # TLS
                (request("/nowhere"), 404, stage.one),
                (request("/slow", method="POST"), 405, stage.one),
                (request("/fast", "Connection: close", method="DELETE"), 405, True),
                (b"GET /" + b"x" * 8192, 414, True),
                (b"GET /fast HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 8192, 431, True),
                (request("/slow", method="BREW"), 501, stage.one),
                (b"GET /fast HTTP/2.0\r\nHost: h\r\n\r\n", 505, True)]:
            expect_error(server, said, status, closes)


def expect_error(server, said, status, closes):
    """Expect that a request gets this error. Then the connection goes on or ends, as the response says."""
    client = server.client(said)
    response = server.expect_status(client, status, closes)
    if (response.fields.get("allow") == "GET, HEAD") != (status == 405):
        raise Failure("the field Allow: GET, HEAD in a 405, and in no other response", str(response))
    if not response.body.startswith(f"{status} ") or not response.body.endswith("\n"):
        raise Failure(f'a line that begins with "{status}", as the body', str(response))
    if not closes:
        client.say(FAST_CLOSE)
        server.expect(client, "/fast")
    server.expect_end(client)
    server.did.remove(client)


@case()
def body_is_never_read_as_a_request(stage):
    with stage.serve("--delay", LONG) as server:
        length = f"Content-Length: {len(SLOW)}"
        expect_error(server, request("/fast", length, method="POST") + SLOW, 405, True)
        expect_error(server, request("/fast", "Transfer-Encoding: chunked", method="POST") + SLOW, 405, True)
        expect_error(server, request("/fast", "Transfer-Encoding: chunked, gzip", method="POST"), 400, True)
        expect_error(server, request("/fast", "Transfer-Encoding: gzip, chunked", method="POST"), 501, True)
        client = server.client(request("/fast", length) + SLOW)
        server.expect_closed(client, server.expect(client, "/fast"))

        client = server.client(request("/fast", length))  # the body may also arrive after the response
        response = server.expect(client, "/fast")
        client.say(SLOW)
        time.sleep(0.05)
        client.say(b"x")  # fails if the connection was reset
        server.expect_closed(client, response)
