"""Requests and responses on the wire."""
import time

from suite.cases import LONG, URL, case
from suite.client import request
from suite.server import FAST_CLOSE, SLOW, Failure, shown

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


# Requests, by what the six answer and whether they keep the connection. tests/servers/unit tries many more of
# each kind, on the parser alone; these show that what it decides reaches the wire.
FIELD = "GET /fast HTTP/1.1\r\nHost: h\r\n{}\r\n\r\n"
OLD = "GET /fast HTTP/1.0\r\n{}\r\n\r\n"
LINE = "{}\r\nHost: h\r\n\r\n"
HOST = "GET /fast HTTP/1.1\r\nHost: {}\r\n\r\n"
ANSWERS = [
    (200, "kept", LINE, ["GET /fast?a=b HTTP/1.1", "GET http://other/fast HTTP/1.1", "GET /fast HTTP/1.9",
                         "GET HTTP://[::1]:1/fast HTTP/1.1", "\r\n\r\n\r\n\r\nGET /fast HTTP/1.1"]),
    (200, "kept", HOST, ["a:8000", "[::1]:80", "a-b.example.", "\ta\t"]),
    (200, "kept", FIELD, ["X: a\tb \xe4", "X:", "Content-Length: 0", "Connection: keep-alive",
                          "Connection: closed, not-close"]),
    (200, "kept", OLD, ["Connection: a, Keep-Alive"]),
    (200, "closed", OLD, ["Host: h", "X: no Host", "Connection: keep-alive\r\nConnection: close"]),
    (200, "closed", FIELD, ["Connection: CLOSE", "Connection: a\r\nConnection: keep-alive, close",
                            "Content-Length: 5", "Transfer-Encoding: chunked"]),
    (404, "kept", LINE, ["GET / HTTP/1.1", "POST /x HTTP/1.1", "DELETE /x HTTP/1.1", "OPTIONS * HTTP/1.1",
                         "CONNECT h:80 HTTP/1.1", "GET /%66ast HTTP/1.1", "GET //fast HTTP/1.1",
                         "GET /FAST HTTP/1.1", "GET /./fast HTTP/1.1", "GET http://h HTTP/1.1"]),
    (405, "kept", LINE, [f"{method} /fast HTTP/1.1" for method in
                         ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT")]),
    (405, "closed", "POST /fast HTTP/1.1\r\nHost: h\r\n{}\r\n\r\n",
     ["Content-Length: 5", "Transfer-Encoding: chunked", "Content-Length: 5\r\nExpect: 100-continue"]),
    (501, "kept", LINE, ["BREW /fast HTTP/1.1", "get /fast HTTP/1.1", "BREW / HTTP/1.1"]),
    (501, "closed", FIELD, ["Transfer-Encoding: gzip, chunked",
                            "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked"]),
    (505, "closed", LINE, ["GET /fast HTTP/2.0", "GET /fast HTTP/3.1", "PRI * HTTP/2.0"]),
    # Nothing here waits for a time-out: many of these end with the byte or the line that is wrong.
    (400, "closed", "{}\r\n", ["G@T /fast HTTP/1.1", "GET fast HTTP/1.1", "GET * HTTP/1.1",
                               "GET h:80 HTTP/1.1", "CONNECT h: HTTP/1.1", "GET http://u@h/fast HTTP/1.1",
                               "GET /fast?\x80 HTTP/1.1", "GET /f st HTTP/1.1", "GET /fast",
                               "GET /fast HTTP/0.9", "GET /fast HTTP/1.10", "GET /fast http/1.1"]),
    (400, "closed", "{}", ["GET /fast HTTP/1.1\n", "GET /fast\rX", "GET\0", "GET /fast HTTP/1.1\r\nX: \x7f",
                           "\n", "\r\n" * 5]),
    (400, "closed", HOST, ["", "a b", "a/fast", "a:http", "::1", "h\r\nHost: h"]),
    (400, "closed", OLD, ["Host: a b", "Transfer-Encoding: chunked"]),
    (400, "closed", FIELD, ["X", ": x", "X : y", "X: a\r\n b: c", "Content-Length: +5",
                            "Content-Length: 5, 5", "Content-Length: 18446744073709551616",
                            "Content-Length: 5\r\nContent-Length: 5",
                            "Transfer-Encoding: chunked\r\nContent-Length: 5", "Transfer-Encoding: identity",
                            "Transfer-Encoding: chunked, gzip"]),
]


@case()
def each_kind_of_request_has_its_answer(stage):
    with stage.serve("--delay", LONG, "--timeout", LONG) as server:
        for status, then, form, texts in ANSWERS:
            for text in texts:
                said, closes = form.format(text).encode("latin-1"), then == "closed" or stage.one
                if status == 200:
                    expect_fast(server, said, closes)
                else:
                    expect_error(server, said, status, closes)


def expect_fast(server, said, closes):
    """Expect that a request is answered. Then the connection goes on or ends, as the response says."""
    client = server.client(said)
    response = server.expect(client, "/fast")
    if response.closes != closes:
        raise Failure(f"a response {'with' if closes else 'without'} Connection: close", shown(response))
    expect_end_of(client, server, closes)


def expect_error(server, said, status, closes):
    """Expect that a request gets this error. Then the connection goes on or ends, as the response says."""
    client = server.client(said)
    response = server.expect_status(client, status, closes)
    if (response.fields.get("allow") == "GET, HEAD") != (status == 405):
        raise Failure("the field Allow: GET, HEAD in a 405, and in no other response", str(response))
    if not response.body.startswith(f"{status} ") or not response.body.endswith("\n"):
        raise Failure(f'a line that begins with "{status}", as the body', str(response))
    expect_end_of(client, server, closes)


def expect_end_of(client, server, closes):
    """Expect that the connection has ended, or serves one more request and then ends."""
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
