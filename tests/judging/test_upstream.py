"""Test /upstream in all ways to wait, with one set of cases (suite/upstreams.py): the solution of the
exercise in 03 to 06, and the patch of common/blocking.c in 01, 02 and 07-coroutines.
(tutorial/loop/test_loop.py does so for the loop in Python.)"""
import re
import shutil
import signal
import subprocess
import sys
import unittest

from judging import upstream
from judging.upstream import COROUTINES, patched, ways
from kit import measuring, servers, tool, unittests
from kit.tree import ROOT, STAGES
from kit.urls import free_port
from suite import upstreams
from suite.client import request
from suite.server import Failure, Stage, allow_descriptors, lines

SOME = [upstreams.upstream_is_asked, upstreams.bad_upstream_is_a_502, upstreams.silent_upstream_is_a_504]
folder = None


def setUpModule():
    global folder
    folder = patched(*STAGES, *COROUTINES)


def stage(name):
    model = name.rpartition("/")[2]
    return Stage(model, model, [str(folder / name)], in_tree=True)


class Serving(unittest.TestCase):
    def check(self, name, cases):
        self.assertEqual("\n".join(upstreams.failures(stage(name), cases)), "")

    def test_state_machine(self):
        self.check("05-epoll", [*upstreams.ALL, upstreams.client_that_resets_is_given_up])

    def test_state_machine_in_other_loops(self):
        for name in "03-select", "04-poll", "06-libev":
            with self.subTest(name):
                self.check(name, SOME)

    def test_threads(self):
        self.check("02-threaded", upstreams.ALL)

    def test_one_client_after_the_other(self):
        self.check("01-blocking", [case for case in upstreams.ALL if case not in upstreams.NOT_ONE])

    def test_coroutines(self):
        self.check("assembly/07-coroutines", upstreams.ALL)

    def test_coroutines_with_ucontext(self):
        self.check("ucontext/07-coroutines", SOME)


class Memory(unittest.TestCase):
    def test_valgrind_finds_nothing(self):
        """With each upstream, and with clients that leave. Descriptors of its own are no leak."""
        for name in "05-epoll", "assembly/07-coroutines":
            for behave in [upstreams.answer, *upstreams.BAD, upstreams.silent]:
                with self.subTest(name, behave=behave.__name__):
                    self.serve_under(stage(name), behave, 2, self.few_clients)

    def test_valgrind_finds_nothing_with_a_thousand_clients(self):
        """Of an upstream that answers, resets, breaks off, talks nonsense and stays silent, by turns."""
        allow_descriptors(2000)
        for name in "05-epoll", "assembly/07-coroutines":
            with self.subTest(name):
                self.serve_under(stage(name), upstreams.by_turns, 10, self.thousand_clients)

    def serve_under(self, server_stage, behave, timeout, ask):
        if shutil.which("valgrind") is None:
            self.skipTest("valgrind is missing. To install it: make deps-tools")
        under = ["valgrind", "-q", "--leak-check=full", "--error-exitcode=66"]
        try:
            with upstreams.Upstream(behave) as there, server_stage.serve(
                    "--upstream", f"127.0.0.1:{there.port}", "--timeout", timeout, under=under) as server:
                before = upstreams.at_rest(server)
                ask(server)
                server.expect_descriptors(before)
                server.signal(signal.SIGTERM)
                server.expect_exit(patience=30)
                server.expect_no_message()
        except Failure as failure:
            self.fail("\n".join(lines(failure.rows())))

    def few_clients(self, server):
        """Two requests each, and two of them leave."""
        clients = [server.client(request("/upstream") * 2) for _ in range(4)]
        server.pause(0.2)
        clients.pop().reset()
        clients.pop().close()
        for client in clients:
            for _ in range(2):
                client.read(sleeps=20)
            client.close()

    def thousand_clients(self, server):
        server.asked += 1000
        rows = measuring.probe(server.url, "1000x0:/upstream", timeout=300)
        self.assertEqual(len(rows), 1000)
        self.assertEqual({row["status"] for row in rows}, {"200", "502", "504"})


class Recorded(unittest.TestCase):
    """What the recorder tells and draws of a handler that awaits its upstream, in each way to wait."""

    COMMANDS = {"await": [sys.executable, upstream.STEP], "state machine": ["05-epoll"],
                "own stack": ["assembly/07-coroutines"], "ucontext": ["ucontext/07-coroutines"]}
    TRIES = 5  # on a busy machine, other things delay /fast as well; but what is false must never be said
    FALSE = r"computing|\block\b|asleep|nanosleep|cannot be seen|/upstream (waited )?for (any|a) client"

    def record(self, command, port):
        """Return what is printed, and the words of the picture."""
        drawing, own = tool.scratch() / "drawing.svg", free_port()
        program = [str(folder / command[0])] if len(command) == 1 else command
        done = subprocess.run(
            [sys.executable, ROOT / "tests/trace.py", f"http://127.0.0.1:{own}", "--slow", "/upstream",
             "--svg", drawing, "--", *program, "--port", str(own), "--upstream", f"127.0.0.1:{port}"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120, check=False)
        self.assertEqual(done.returncode, 0, done.stdout)
        texts = re.findall(r"<text[^>]*>(.*?)</text>", drawing.read_text(encoding="utf-8"), re.S)
        return done.stdout, [re.sub(r"<[^>]*>", "", text) for text in texts]

    def test_sentence_and_lanes_name_the_upstream(self):
        for way, command in self.COMMANDS.items():
            with self.subTest(way), servers.Server("05-epoll", "--delay", "1") as there:
                address = f"127.0.0.1:{there.port}"
                wanted = ("^/fast did not wait: the only thread was waiting for any client, in epoll_p?wait.*, "
                          f"while /upstream waited for {address}[.]$")
                for _ in range(self.TRIES):
                    said, drawn = self.record(command, there.port)
                    sentence = re.search(r"^/fast .*", said, re.M)[0]
                    self.assertNotRegex(sentence, self.FALSE)
                    if re.match(wanted, sentence):
                        break
                self.assertRegex(sentence, wanted)
                for call, words in ("connect", "connects to"), ("sendto", "asks"):
                    self.assertRegex(said, rf"(?m)^ *[\d.]+ +{call} +{words} {address}\b")
                self.assertIn(address, drawn)  # the name of a lane
                self.assertTrue([text for text in drawn if "asked for /upstream" in text], drawn)

    def test_blocking_call_to_the_upstream_is_to_blame(self):
        with servers.Server("05-epoll", "--delay", "1") as there:
            said, drawn = self.record(["01-blocking"], there.port)
            self.assertRegex(said, r"/fast waited [\d.]+ m?s: the only thread was in recvfrom.* "
                                   rf"for 127.0.0.1:{there.port}\b")
            self.assertIn(f"127.0.0.1:{there.port}", drawn)


class Count(unittest.TestCase):
    def test_state_machine_takes_several_times_the_lines(self):
        """What the text says of the three."""
        awaiting, machine, stack = ways()
        self.assertLess(abs(awaiting.lines - stack.lines), 10)
        self.assertGreater(machine.lines, 4 * stack.lines)
        self.assertGreater(machine.places, 3 * stack.places)

    def test_comments_and_empty_lines_do_not_count(self):
        self.assertEqual(upstream.code(["int a; /* one */", "", "/* two", " * three */", "    b();"]),
                         ["int a; ", "    b();"])

    def test_blocking_is_as_it_was_in_the_tree(self):
        self.assertNotIn("upstream", (ROOT / "common/blocking.c").read_text())


if __name__ == "__main__":
    tool.run(unittests.main)
