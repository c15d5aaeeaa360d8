"""Does tests/where.py know where requests are?"""
import contextlib
import os
import pathlib
import re
import socket
import subprocess
import sys
import time
import unittest
import unittest.mock

import where
from kit import proc, processes, terminals, tool, unittests
from kit.processes import Program
from kit.servers import Server
from kit.tree import STAGES
from kit.urls import free_port
from recorder.snapshot import Process

WHERE = pathlib.Path(__file__).resolve().parent.parent / "where.py"
PYTHON = "/usr/bin/python3" if os.access("/usr/bin/python3", os.X_OK) else sys.executable
PATIENCE = 90
SERVER = """
import socket, sys, time
port, way, *more = sys.argv[1:]
if way == "named":
    open("/proc/self/comm", "w").write(chr(27) + "[31mred")
listener = socket.socket(socket.AF_INET6 if way == "six" else socket.AF_INET)
if way == "defer":
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 30)
listener.bind(("::" if way == "six" else "127.0.0.1", int(port)))
listener.listen()
client, _ = listener.accept()
client.recv(999)
if way == "half":
    client.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 4\\r\\n\\r\\ndo")
if way in ("ask", "at"):
    other = socket.socket(socket.AF_UNIX if way == "at" else socket.AF_INET)
    other.connect(more[0] if way == "at" else ("127.0.0.1", int(more[0])))
    other.sendall(b"GET /slow HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
    other.recv(999)
if way in ("datagrams", "datagrams to"):
    other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    other.bind(("127.0.0.1", 0))
    if way == "datagrams to":
        other.connect(("127.0.0.1", int(more[0])))
    other.recv(999)
if way == "pipe":
    import os
    ends = os.pipe()
    if os.fork() == 0:
        os.close(ends[1])  # then it ends with its parent
        os._exit(len(os.read(ends[0], 1)))
    os.read(ends[0], 1)
time.sleep(99)
"""


def run(*arguments):
    return subprocess.run([sys.executable, str(WHERE), *map(str, arguments)], capture_output=True, text=True,
                          timeout=PATIENCE, stdin=subprocess.DEVNULL)


class Threads(unittest.TestCase):
    def told(self, *places):
        """What is told of a thread that was at one place, and then at another one."""
        first, second = (Process(1, "x", True, places={1: proc.Place("S", *place)}) for place in places)
        line, = where.tell_threads(first, second)
        return line

    def test_thread_that_waits_twice_for_the_same_is_told_once(self):
        with unittest.mock.patch("kit.proc.call_names", lambda bits_32: {1: "futex", 2: "nanosleep"}):
            self.assertIn("asleep in futex, until another thread wakes it up, or for a time, again and again.",
                          self.told((1, 5), (1, 6)))
            self.assertIn("does not stay in one call: it is asleep in futex", self.told((1, 5), (2, 5)))
            self.assertNotIn("again", self.told((1, 5), (1, 5)))


class Where(unittest.TestCase):
    def ask(self, port):
        began = time.monotonic()
        result = run(port)
        self.took = time.monotonic() - began
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        return result.stdout

    def see(self, pattern):
        """Ask until this is told: on a busy machine, a thread takes a while to reach a call."""
        def told():
            self.text = " ".join(self.ask(self.port).split())
            return re.search(pattern, self.text)

        self.assertTrue(processes.wait_until(told, 30), self.text)

    def test_each_place_where_a_request_can_be(self):
        with Server("01-blocking", "--delay", "20") as server, contextlib.ExitStack() as stack:
            address = ("127.0.0.1", server.port)
            slow, fast, silent = (stack.enter_context(socket.create_connection(address)) for _ in range(3))
            slow.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
            fast.sendall(b"GET /fast HTTP/1.1\r\nHost: x\r\n\r\n")
            processes.wait_until(lambda: "not answered" in self.ask(server.port))
            text = self.ask(server.port)
            me = f"127.0.0.1:%d, {proc.name(os.getpid())} \\(pid {os.getpid()}\\),"
            self.assertRegex(text, rf"^127\.0\.0\.1:{server.port}: 2 of at most \d+ clients in the backlog\n")
            for client, place in [
                    (slow, r"is accepted; its 31 bytes are read, the last arrived .* ago; not answered\."),
                    (fast, r"is in the backlog, not accepted; 31 bytes have arrived, the last .* ago\."),
                    (silent, r"is in the backlog, not accepted; nothing has arrived\.")]:
                self.assertRegex(text, f"  {me % client.getsockname()[1]} {place}\n")
            self.assertIn(f"01-blocking (pid {server.pid}) listens, and has accepted 1 of the connections\n"
                          "  its main thread is asleep in clock_nanosleep, for a time.\n", text)

    def test_nothing_is_wider_than_a_terminal(self):
        for stage in STAGES:
            with self.subTest(stage), Server(stage, "--delay", "20") as server, contextlib.ExitStack() as stack:
                address = ("127.0.0.1", server.port)
                for path in ("slow", "slow", "fast"):
                    client = stack.enter_context(socket.create_connection(address))
                    client.sendall(f"GET /{path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                status, shown, _ = terminals.run([sys.executable, WHERE, str(server.port)])
                self.assertEqual(status, 0, shown)
                self.assertIn(stage, shown)
                self.assertEqual([line for line in shown.splitlines() if len(line) > 80], [])

    def test_answered_unread_and_closed(self):
        with Server("06-libev", "--delay", "20", "--block") as server, contextlib.ExitStack() as stack:
            kept_open, slow, gone = (stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
                                     for _ in range(3))
            kept_open.sendall(b"GET /fast HTTP/1.1\r\nHost: x\r\n\r\n")
            kept_open.recv(999)
            name = f"127.0.0.1:{kept_open.getsockname()[1]}, "
            self.assertRegex(self.ask(server.port),
                             name + r".* is accepted; an answer, or a part of one, was sent [\d.]+ m?s ago, and "
                                    r"nothing")
            slow.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
            processes.wait_until(lambda: "clock_nanosleep" in self.ask(server.port))
            kept_open.sendall(b"GET /fast HTTP/1.1\r\nHost: x\r\n\r\n")
            gone.shutdown(socket.SHUT_WR)
            time.sleep(0.1)
            text = self.ask(server.port)
            self.assertRegex(text, name + r".* is accepted; 31 bytes are unread, the last arrived [\d.]+ m?s ago")
            self.assertRegex(text, rf"127\.0\.0\.1:{gone.getsockname()[1]}, .* is accepted; "
                                   r"nothing has arrived; its client has closed its side\.\n")

    def test_thread_that_waits_for_a_client_names_it(self):
        with Server("02-threaded") as server:
            with socket.create_connection(("127.0.0.1", server.port)) as client:
                port = client.getsockname()[1]
                self.assertTrue(processes.wait_until(
                    lambda: f"in recvfrom, until 127.0.0.1:{port} sends something." in self.ask(server.port)))
                self.assertIn("its main thread is asleep in accept4, until a client connects.",
                              self.ask(server.port))

    def test_many_are_summed_up(self):
        with Server("01-blocking") as server, contextlib.ExitStack() as stack:
            for _ in range(50):
                stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            text = self.ask(server.port)
            self.assertIn("... and 41 more like this (backlog).", text)
            self.assertLess(len(text.splitlines()), 25)

    def test_it_reads_twice_and_says_so(self):
        with Server("05-epoll") as server:
            self.assertRegex(self.ask(server.port), r"\nRead twice, \d+ ms apart; each reading took \d+ ms\.")
            self.assertEqual(proc.tracer(server.pid, server.pid), 0)

    def test_half_of_an_answer_is_not_called_an_answer(self):
        with self.python("half"), socket.create_connection(("127.0.0.1", self.port)) as client:
            client.sendall(b"GET /slow HTTP/1.1\r\n\r\n")
            client.recv(99)
            self.see("main thread is asleep in (clock_nanosleep|select)")
            self.assertIn("is accepted; an answer, or a part of one, was sent", self.text)
            self.assertNotIn("it was answered", self.text)

    def test_process_whose_main_thread_has_ended_is_seen(self):
        """The descriptors of such a process stand only in the folders of its other threads."""
        self.port = free_port()
        with Program([PYTHON, WHERE.parent / "recorder/cases/system_ways.py", self.port, "no-main"]) as program:
            ended = f"/proc/{program.pid}/task/{program.pid}/status"
            self.assertTrue(processes.wait_until(lambda: "(zombie)" in proc.read(ended)), program.messages())
            self.see(r"thread \d.* is asleep in p?poll, until something happens")
        self.assertIn(f" (pid {program.pid}) listens, and has accepted 0 of the connections", self.text)
        self.assertNotIn("another user", self.text)
        self.assertNotIn("main thread", self.text)

    def test_client_that_a_deferring_listener_hides_is_connected(self):
        with self.python("defer"), socket.create_connection(("127.0.0.1", self.port)):
            text = self.ask(self.port)
            self.assertRegex(text, r"is connected, but the server sees it only when it has sent something|backlog")
            self.assertNotIn("about to connect", text)

    def test_listener_of_ipv6_names_the_client_of_ipv4(self):
        with self.python("six"), socket.create_connection(("127.0.0.1", self.port)) as client:
            name = f"127.0.0.1:{client.getsockname()[1]}, {proc.name(os.getpid())} "
            self.assertIn(name, self.ask(self.port))

    def test_connection_to_another_server_stands_beside_the_request_that_waits(self):
        with Server("05-epoll", "--delay", "60") as other, self.python("ask", other.port), \
                socket.create_connection(("127.0.0.1", self.port)) as client:
            client.sendall(b"GET /slow HTTP/1.1\r\n\r\n")
            here = f"127.0.0.1:{client.getsockname()[1]}"
            self.assertTrue(processes.wait_until(lambda: re.search(
                rf"it has a connection to 127\.0\.0\.1:{other.port} .*, which was asked .*, and has not answered: "
                rf"for {re.escape(here)}, the only request", self.ask(self.port)), 30))
            self.assertRegex(self.ask(self.port),
                             rf"asleep in recvfrom, until 127\.0\.0\.1:{other.port}, another server, sends something")

    def test_connection_to_a_server_at_a_path_is_told(self):
        path = str(tool.scratch() / "a base.sock")
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(path)
            other.listen()
            with self.python("at", path), socket.create_connection(("127.0.0.1", self.port)) as client:
                client.sendall(b"GET /slow HTTP/1.1\r\n\r\n")
                connected, _ = other.accept()
                with connected:
                    waits = f"asleep in recvfrom, until {path}, another server, sends something"
                    self.assertTrue(processes.wait_until(lambda: waits in " ".join(self.ask(self.port).split()), 30))
                    self.assertRegex(" ".join(self.ask(self.port).split()),
                                     rf"it has a connection to {path} \(descriptor \d+\), which is connected; whether")

    def test_pipe_is_told_with_the_other_process_that_has_it(self):
        with self.python("pipe"), socket.create_connection(("127.0.0.1", self.port)) as client:
            client.sendall(b"GET /slow HTTP/1.1\r\n\r\n")
            self.see(r"main thread is asleep in read, for a pipe that \S+ \(pid \d+\) has, too\.")

    def test_datagrams_are_told(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind(("127.0.0.1", 0))
            there = f"127.0.0.1:{other.getsockname()[1]}"
            for way, place, waits in [
                    ("datagrams to", rf"it has a connection to {there} \(descriptor \d+\), which is "
                     f"connected; whether", f"asleep in recvfrom, until {there}, another server, sends something"),
                    ("datagrams", r"it has a UDP socket at (127\.0\.0\.1:\d+) \(descriptor \d+\), which is not "
                     "connected: whom it asked cannot be seen", "asleep in recvfrom, until a datagram comes to "
                                                                r"127\.0\.0\.1:\d+")]:
                with self.python(way, other.getsockname()[1]), \
                        socket.create_connection(("127.0.0.1", self.port)) as client:
                    client.sendall(b"GET /slow HTTP/1.1\r\n\r\n")
                    self.see(waits)
                    self.assertRegex(self.text, place)

    def test_watching_tells_of_changes(self):
        with Server("01-blocking", "--delay", "99") as server, \
                Program([sys.executable, WHERE, "--watch", "0.05", server.port]) as watching, \
                socket.create_connection(("127.0.0.1", server.port)) as client:
            peer = f"127.0.0.1:{client.getsockname()[1]}"
            for request, words in [(b"", "nothing has arrived"),
                                   (b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n", "its 31 bytes are read")]:
                client.sendall(request)
                told = f"{peer} is accepted; {words}"
                self.assertTrue(processes.wait_until(lambda: told in watching.output(), PATIENCE),
                                watching.output() + watching.messages())
            for line in watching.output().splitlines():
                self.assertRegex(line, r"^\d\d:\d\d:\d\d\.\d  ")

    def test_names_of_others_do_not_reach_the_terminal(self):
        with self.python("named"), socket.create_connection(("127.0.0.1", self.port)):
            self.assertTrue(processes.wait_until(lambda: "\\x1b[31mred" in self.ask(self.port)))

    def python(self, way, *more):
        """A server that does one thing."""
        self.port = free_port()
        program = Program([PYTHON, "-c", SERVER, self.port, way, *more])
        processes.wait_until(lambda: f"0.0:{self.port}" in (out := subprocess.run(
            ["ss", "-Htnl"], capture_output=True, text=True).stdout) or f":{self.port} " in out)
        return program

    def test_refusals(self):
        for status, arguments, message in [(2, ["x"], "x: want a number from 1 to 65535"),
                                           (2, ["0"], "0: want a number from 1 to 65535"),
                                           (2, [], "the following arguments are required: PORT"),
                                           (1, [free_port()], r"nothing listens on port \d+")]:
            result = run(*arguments)
            self.assertEqual((result.returncode, result.stdout), (status, ""))
            self.assertRegex(result.stderr, f"^where.py: {message}\n$")


if __name__ == "__main__":
    tool.run(unittests.main)
