"""The client of the cases, and a server that does not let it go: each wait has one deadline, however many
bytes come."""
import contextlib
import socket
import threading
import time
import unittest
from unittest import mock

from kit import unittests
from kit.tool import run
from suite.client import MOST_RESPONSE, Broken, request, word
from suite.server import Failure, Stage, lines

HEAD = b"HTTP/1.1 200 OK\r\n"
LENGTH = b"Content-Length: 14\r\n\r\n"


@contextlib.contextmanager
def server_that_sends(first, again=b"", pause=0.0):
    """A server that sends first, and then something again and again. Yield it as a stage at a URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def serve():
            with contextlib.suppress(OSError):
                client, _ = listener.accept()
                with client:
                    client.recv(65536)
                    client.sendall(first)
                    while again:
                        client.sendall(again)
                        time.sleep(pause)

        threading.Thread(target=serve, daemon=True).start()
        yield Stage("x", "05-epoll", None, url=f"http://127.0.0.1:{listener.getsockname()[1]}")


class Endless(unittest.TestCase):
    def failure(self, *sent, read=True, **how):
        """Return what is said of such a server."""
        start = time.monotonic()
        with mock.patch("suite.server.PATIENCE", 1), server_that_sends(*sent, **how) as stage:
            with self.assertRaises(Failure) as raised, stage.serve() as server:
                client = server.client(request("/fast"))
                server.expect(client, "/fast") if read else client.count(1000, b"!", sleeps=0)
        self.assertLess(time.monotonic() - start, 5)
        return raised.exception.got

    def test_drip_does_not_renew_the_deadline(self):
        for first in (b"", HEAD, HEAD + b"X: ", HEAD + b"Transfer-Encoding: chunked\r\n\r\n"):
            with self.subTest(first):
                self.assertIn("an incomplete response", self.failure(first, b"1", pause=0.1))

    def test_memory_is_bounded(self):
        chunks = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
        for first, again in [(HEAD, b"X: y\r\n" * 999), (HEAD + b"X: ", b"x" * 9999), (b"", b"x" * 9999),
                             (chunks, b"3e8\r\n" + b"x" * 1000 + b"\r\n"),
                             (HEAD + b"Content-Length: 99999999\r\n\r\n", b"x" * 9999)]:
            with self.subTest(first):
                self.assertIn(f"does not end: {MOST_RESPONSE >> 10} KiB", self.failure(first, again))
        self.assertIn("nothing within", self.failure(b"", b"x" * 9999, read=False))

    def test_foreign_bytes_do_not_reach_the_terminal(self):
        for sent in (b"\x1b[31m\r\n\r\n", HEAD + LENGTH + b"\x1b]0;title\x07 \xe2\x80\xae"):
            got = "\n".join(lines([("got", self.failure(sent))]))
            self.assertRegex(got, r"\\x1b")
            self.assertNotRegex(got, "[\x1b\x07\u202e]")

    def test_what_is_no_length_is_named(self):
        """A chunk of -6 bytes, for instance, ends where it begins, and the next one is the same."""
        for length in ("-1", "+14", "1_4", "0x0e", "", "14, 14", "9" * 16):
            with self.subTest(length):
                sent = HEAD + f"Content-Length: {length}\r\n\r\nThat was fast!".encode()
                self.assertIn(f'no length: "Content-Length: {length}"', self.failure(sent))
        for size in ("-6", "+e", "e_0", "0xe", "", "x", "f" * 16):
            with self.subTest(size):
                sent = HEAD + f"Transfer-Encoding: chunked\r\n\r\n{size}\r\nThat was fast!\r\n0\r\n\r\n".encode()
                self.assertIn(f'no chunk size: "{size}"', self.failure(sent))

    def test_some_responses_have_no_body(self):
        for line in (b"100 Continue", b"103 Early Hints", b"204 No Content", b"304 Not Modified"):
            sent = b"HTTP/1.1 " + line + b"\r\nX: y\r\n\r\n" + HEAD + LENGTH + b"That was fast!"
            with self.subTest(line), server_that_sends(sent) as stage, stage.serve() as server:
                client = server.client(request("/fast"))
                first = client.read()
                self.assertEqual((first.line.encode(), first.body), (b"HTTP/1.1 " + line, ""))
                server.expect(client, "/fast")

    def test_response_that_has_come_is_read_although_the_connection_is_reset(self):
        with server_that_sends((HEAD + LENGTH + b"That was fast!") * 2) as stage, stage.serve() as server:
            client = server.client(request("/fast") * 2)
            server.expect(client, "/fast")  # both have come in one piece
            with mock.patch.object(client, "_receive", side_effect=Broken("the server has reset the connection")):
                server.expect(client, "/fast")

    def test_body_may_end_with_the_connection(self):
        for head in (HEAD + b"\r\n", HEAD + b"Connection: close\r\n\r\n", b"HTTP/1.0 200 OK\r\n\r\n"):
            with server_that_sends(head + b"That was fast!") as stage, stage.serve() as server:
                server.expect(server.client(request("/fast")), "/fast")


class Words(unittest.TestCase):
    def test_step_is_a_word_that_can_be_typed(self):
        self.assertEqual(word(request("/fast")), "/fast")
        self.assertEqual(word(request("/fast") * 3), "/fast*3")
        self.assertEqual(word(b"GET /fast HT"), "say:GET /fast HT")
        self.assertEqual(word(b"?\r\n\x1b\xff"), r"say:?\r\n\x1b\xff")
        self.assertEqual(word(b"x" * 8192), "say:x*8192")
        self.assertEqual(word(b"GET /" + b"x" * 8192), "say:GET /...8192 times x...")


if __name__ == "__main__":
    run(unittests.main)
