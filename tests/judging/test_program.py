"""A PROGRAM in another language: is the contract what the judge asks, and does nothing right fail?

With --repeat N, each right program climbs the ladder N times, beside as many busy loops as there are processors.
"""
import argparse
import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import unittest

from judging import ladder
from kit import processes, tool, unittests, urls
from kit.commandline import Parser, whole_number
from kit.processes import PIPES
from kit.tree import ROOT
from suite.server import Stage

HERE = "tests/judging"
ASYNCIO, THREADS = f"{HERE}/lying_server.py", f"{HERE}/right/threads.py"
RIGHT = {"asyncio": ("05-epoll", f"{sys.executable} {ASYNCIO}"),
         "threads": ("02-threaded", f"{sys.executable} {THREADS}"),
         "node": ("05-epoll", f"node {HERE}/right/node.mjs")}
options = argparse.Namespace(repeat=0)


def judge(*words):
    """Run the judge. Return its exit status and what it has printed."""
    process = processes.start([ROOT / "tests/judge.py", *words], cwd=ROOT, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True)
    out, _ = processes.finish(process)
    return process.returncode, out


def asked(offers):
    """Return the titles of the rungs that are asked of such a server, of any model."""
    stages = [Stage("x", model, ["x"]) if offers == "program" else Stage("x", model, None, url="http://x:1")
              for model in ("01-blocking", "02-threaded", "05-epoll")]
    return [rung.title for rung in ladder.LADDER if any(rung.reason_to_skip(stage) is None for stage in stages)]


class Contract(unittest.TestCase):
    def test_it_names_the_rungs_that_are_asked(self):
        status, out = judge("contract")
        self.assertEqual(status, 0)
        table = re.search(r"\n\| rung .*?\n\n", out, re.S)[0]
        named = [(title.strip(" *"), "*" in title) for title in re.findall(r"(?m)^\| ([^|]*) \|", table)[1:]
                 if not title.startswith("---")]
        self.assertEqual(sorted(title for title, _ in named), sorted(asked("program")))
        self.assertEqual(sorted(title for title, url in named if url), sorted(asked("url")))

    def test_page_for_teachers_counts_the_rungs(self):
        """Its table has a row for each group."""
        groups = ["build listen fast slow", "model idle clients keep-alive pipelining",
                  "turn slow-reader silent leaving", "leaks descriptors signals", "sanitizer unit tests faults seeds"]
        stage = Stage("05-epoll", "05-epoll", ["x"], in_tree=True)
        rungs = [rung.key for rung in ladder.LADDER if rung.reason_to_skip(stage) is None]
        self.assertEqual(rungs, " ".join(groups).split())
        page = (ROOT / HERE / "teaching.md").read_text()
        table = page.partition("| rungs of 05 |")[2].split("\n\n")[0]
        self.assertEqual(table.count("\n|") - 1, len(groups))
        self.assertIn("The first four show whether it works at all, the next five", " ".join(page.split()))

    def test_help_leads_to_it(self):
        _, out = judge("--help")
        self.assertIn('"contract" says what it must do', out)


class Programs(unittest.TestCase):
    def test_right_ones_pass(self):
        for name, (model, program) in RIGHT.items():
            if name == "node" and not shutil.which("node"):
                continue
            with self.subTest(name):
                status, out = judge("check", model, "--program", program)
                self.assertEqual(status, 0, out)
                said = "(Node closes clients that come while it has no descriptor)"
                self.assertEqual(said in out, name == "node", out)
                self.assertEqual("The top of the ladder" in out, name != "node")

    def test_localhost_is_every_address(self):
        """A program that listens on ::1 alone; and the name in a URL."""
        if not socket.has_ipv6:
            self.skipTest("no IPv6")
        program = f"{sys.executable} {ASYNCIO} --host ::1"
        status, out = judge("check", "05-epoll", "--program", program)
        self.assertEqual(status, 0, out)
        with listening("::1") as port:
            self.assertEqual(urls.reachable(f"http://localhost:{port}"), f"http://[::1]:{port}")
        with listening("127.0.0.1") as port:
            self.assertEqual(urls.reachable(f"http://localhost:{port}"), f"http://127.0.0.1:{port}")

    def test_program_that_has_changed_is_judged_again(self):
        copy = tool.scratch() / "program.py"
        text = (ROOT / ASYNCIO).read_text()
        copy.write_text(text.replace('"That was {path[1:]}!"', '"Wrong"'))
        command = ["05-epoll", "--program", f"{sys.executable} {copy}"]
        self.assertIn("FAIL  it answers /fast", judge("check", *command)[1])
        self.assertNotIn("has not been checked", judge("hint", *command)[1])
        copy.write_text(text.replace("server.close()", "pass"))
        self.assertIn("has not been checked as it is now", judge("hint", *command)[1])

    def test_right_ones_pass_again_and_again(self):
        if not options.repeat:
            self.skipTest("without --repeat")
        for name, (model, program) in RIGHT.items():
            for number in range(options.repeat):
                with busy_loops(), self.subTest(name, number=number):
                    status, out = judge("check", model, "--program", program)
                    self.assertEqual(status, 0, out)


@contextlib.contextmanager
def listening(host):
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as listener:
        listener.bind((host, 0))
        listener.listen()
        yield listener.getsockname()[1]


@contextlib.contextmanager
def busy_loops():
    """One for each processor, which ends by itself after some minutes."""
    code = "import time\nwhile time.monotonic_ns() < 300e9 + %d: pass" % time.monotonic_ns()
    loops = [processes.start([sys.executable, "-c", code], **PIPES) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for loop in loops:
            processes.stop(loop)
            loop.communicate()


def main(arguments):
    parser = Parser(description=__doc__, usage="%(prog)s [OPTION]... [TEST]...")
    parser.add_argument("tests", nargs="*", metavar="TEST", help="Class.test, or a class")
    parser.add_argument("--repeat", metavar="N", type=whole_number(1, 1000), help="climb so many times", default=0)
    parser.parse_args(arguments, options)
    return unittests.main(options.tests, few=0 if options.repeat else unittests.FEW)


if __name__ == "__main__":
    tool.run(main)
