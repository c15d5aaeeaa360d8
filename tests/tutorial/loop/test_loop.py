#!/usr/bin/env python3
"""Test the five steps to an event loop: what they print, how latency.py judges them, and what they do when an upstream
or a client behaves badly."""
import ast
import asyncio
import dataclasses
import io
import pathlib
import re
import socket
import subprocess
import sys
import time
import tokenize
import unittest

from kit import tool, unittests
from kit.measuring import probe
from kit.processes import wait_until
from kit.servers import Server
from kit.tree import ROOT
from suite import upstreams
from suite.server import Stage
from suite.upstreams import Upstream, reset, silent

HERE = pathlib.Path(__file__).resolve().parent
END = "# ---- "  # a line that begins so ends the loop: below is what uses it
SLEEP = "await Sleep(options.delay)"
# Each of their connections serves one request, and a signal ends them immediately.
STEP5 = [case for case in upstreams.ALL if case not in (upstreams.requests_in_one_piece_are_answered_in_order,
                                                        upstreams.requests_in_flight_are_answered_before_exit,
                                                        upstreams.signal_does_not_end_the_wait_for_a_connection,
                                                        upstreams.client_that_leaves_meanwhile_harms_nobody)]
STEP4 = [upstreams.upstream_is_asked, upstreams.fast_overtakes_upstream, upstreams.bad_upstream_is_a_502,
         upstreams.upstream_that_refuses_is_a_502]


def source(number):
    return (HERE / f"step{number}.py").read_text(encoding="utf-8")


def code_lines(text):
    """Return the number of lines that have code: no comment, docstring or import."""
    left_out = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            left_out.add(node.lineno)
        elif isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            if ast.get_docstring(node) is not None:
                left_out.update(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    kinds = (tokenize.NAME, tokenize.OP, tokenize.NUMBER, tokenize.STRING)
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return len({token.start[0] for token in tokens if token.type in kinds} - left_out)


def python(*arguments, text=None):
    """Run Python in the folder of the steps; return what it prints."""
    done = subprocess.run([sys.executable, *arguments], cwd=HERE, input=text, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=60, check=False)
    return done.stdout


def step(number, *options, program=None, under=()):
    """Start a step that is a server."""
    return Server(f"step{number}", *options, program=program or HERE / f"step{number}.py",
                  under=[*under, sys.executable], env={"PYTHONPATH": f"{HERE}", "PATH": "/usr/bin:/bin"})


def tried(number):
    """Return a step as what a case of tests/suite tests."""
    return Step(f"step{number}", "05-epoll", [str(HERE / f"step{number}.py")], in_tree=True)


def verdict(server):
    done = subprocess.run([sys.executable, ROOT / "tests/latency.py", server.url], stdout=subprocess.PIPE, text=True,
                          timeout=120, check=False)
    found = re.search(r"delays +\S+ +(\w+)", done.stdout)
    return found[1] if found else done.stdout


def connect(server, path="/slow"):
    client = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return client


def answer(client):
    """Return the status and the body of the answer."""
    with client:
        head, _, body = b"".join(iter(lambda: client.recv(4096), b"")).decode().partition("\r\n\r\n")
    return head.split(" ")[1] if head else "", body


def ask(server, path):
    return answer(connect(server, path))


@dataclasses.dataclass
class Step(Stage):
    """A step, for the cases of tests/suite."""

    def serve(self, *options, **arguments):
        return super().serve(*options, under=[sys.executable], **arguments)


class Text(unittest.TestCase):
    def test_loop_task_future_and_timers_are_some_sixty_lines(self):
        lines = [code_lines(source(number).partition(END)[0]) for number in range(2, 6)]
        self.assertEqual(lines, sorted(lines))
        self.assertLessEqual(lines[2], 60)
        self.assertLessEqual(lines[3], 75)

    def test_no_asyncio(self):
        for number in range(1, 6):
            self.assertNotRegex(source(number), r"(?m)^(import|from) asyncio")

    def test_named_functions_of_asyncio_exist(self):
        there = "".join(path.read_text() for path in pathlib.Path(asyncio.__file__).parent.glob("*.py"))
        for number in range(1, 6):
            named = re.findall(r"[a-z_]+", ast.get_docstring(ast.parse(source(number))).partition("In asyncio")[2])
            for name in {name for name in named if "_" in name.strip("_") or name.startswith("_")} - {"base_events"}:
                self.assertRegex(there, rf"\b{name}\b", f"step {number}")


class First(unittest.TestCase):
    def test_step1_resumes_two_coroutines_by_hand(self):
        self.assertEqual(python("step1.py").splitlines(), [
            "a begins", "send returns a pause", "b begins", "send returns a pause", "a goes on", "b goes on",
            "b is done", "a is done"])

    def test_step2_sleeps_three_times_in_one_second(self):
        *lines, last = python("step2.py").splitlines()
        self.assertEqual(lines, ["a begins", "b begins", "c begins", "c ends", "b ends", "a ends"])
        self.assertRegex(last, r"^three sleeps in 1\.\d s$")


class Servers(unittest.TestCase):
    def test_steps_are_concurrent(self):
        for number in 3, 4, 5:
            with self.subTest(number), step(number, "--delay", "0.5") as server:
                self.assertEqual(verdict(server), "concurrent")

    def test_one_line_makes_step3_serialize(self):
        text = source(3)
        self.assertEqual(text.count(SLEEP), 1)
        trap = tool.scratch() / "trap.py"
        trap.write_text(text.replace(SLEEP, "time.sleep(options.delay)"), encoding="utf-8")
        with step(3, "--delay", "0.5", program=trap) as server:
            self.assertEqual(verdict(server), "serializes")

    def test_routes(self):
        for number in 3, 4, 5:
            with self.subTest(number), step(number, "--delay", "0.1") as server:
                self.assertEqual(ask(server, "/fast"), ("200", "That was fast!"))
                self.assertEqual(ask(server, "/slow"), ("200", "That was slow!"))
                self.assertEqual(ask(server, "/other")[0], "404")
                self.assertEqual(ask(server, "/a b")[0], "400")

    def test_head_may_arrive_byte_by_byte(self):
        with step(3) as server, socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in b"GET /fast HTTP/1.1\r\nHost: x\r\n\r\n":
                client.sendall(bytes([byte]))
            self.assertEqual(answer(client), ("200", "That was fast!"))

    def test_bad_clients_end_only_themselves(self):
        for number in 3, 4, 5:
            with self.subTest(number), step(number, "--delay", "0.2") as server:
                before = server.descriptors
                for path in "/slow", "/fast":
                    for _ in range(10):
                        reset(connect(server, path))
                        connect(server, path).close()
                socket.create_connection(("127.0.0.1", server.port)).close()
                self.assertEqual(ask(server, "/fast"), ("200", "That was fast!"))
                self.assertTrue(wait_until(lambda: server.descriptors == before), server.messages())
                self.assertEqual(server.messages(), "")

    def test_out_of_descriptors_it_waits_until_one_is_free(self):
        for number in 3, 4, 5:
            with self.subTest(number), step(number, "--delay", "0.5", under=["prlimit", "--nofile=24"]) as server:
                clients = [connect(server) for _ in range(40)]
                self.assertEqual({answer(client) for client in clients}, {("200", "That was slow!")})


class Upstreams(unittest.TestCase):
    def test_two_clients_share_one_upstream(self):
        for number in 4, 5:
            with self.subTest(number), Server("05-epoll", "--delay", "0.5", "--verbose") as upstream:
                with step(number, "--upstream", f"127.0.0.1:{upstream.port}") as server:
                    rows = probe(server.url, "2x0:/upstream", "100:/upstream", "200:/fast")
                    self.assertEqual([row["body"] for row in rows], ["That was slow!"] * 3 + ["That was fast!"])
                    self.assertLess(rows[-1]["took_ms"], 250)
                    self.assertEqual(upstream.messages().count("/slow"), 1)
                    self.assertEqual(ask(server, "/upstream")[0], "200")
                    self.assertEqual(upstream.messages().count("/slow"), 2)

    def test_cases_that_hold_for_all_ways_to_wait(self):
        """The same as for the stages (judging/test_upstream.py). Step 4 has no time-out."""
        for number in 4, 5:
            with self.subTest(number):
                cases = STEP4 if number == 4 else STEP5
                self.assertEqual("\n".join(upstreams.failures(tried(number), cases)), "")

    def test_clients_that_leave_harm_nobody(self):
        """If all of them have left, nobody awaits the shared answer, and step 5 says so when that fails."""
        upstreams.client_that_leaves_meanwhile_harms_nobody(tried(5), may_complain=True)

    def test_upstream_that_refuses_is_named(self):
        for number in 4, 5:
            with self.subTest(number), upstreams.refusing() as port:
                with step(number, "--upstream", f"127.0.0.1:{port}") as server:
                    self.assertIn("Connection refused", ask(server, "/upstream")[1])

    def test_two_clients_share_the_time_out(self):
        with Upstream(silent) as upstream:
            with step(5, "--upstream", f"127.0.0.1:{upstream.port}", "--timeout", "0.5") as server:
                rows = probe(server.url, "2x0:/upstream", "100:/fast")
                self.assertEqual([row["status"] for row in rows], ["504", "504", "200"])
                self.assertEqual(upstream.asked, 1)


class Leaving(unittest.TestCase):
    def test_step5_cancels_the_handler_of_a_client_that_leaves(self):
        for leave in socket.socket.close, reset:
            with self.subTest(leave.__name__), step(5, "--delay", "20") as server:
                before = server.descriptors
                client = connect(server)
                time.sleep(0.3)
                leave(client)
                found = wait_until(lambda: re.search(r"/slow ends after (\S+) s", server.output()))
                self.assertTrue(found, server.messages())
                self.assertLess(float(found[1]), 5)
                self.assertTrue(wait_until(lambda: server.descriptors == before))
                self.assertEqual(ask(server, "/fast"), ("200", "That was fast!"))
                self.assertLess(server.cpu_seconds, 1)

    def test_client_that_leaves_does_not_take_the_answer_from_another(self):
        with Server("05-epoll", "--delay", "1") as upstream:
            with step(5, "--upstream", f"127.0.0.1:{upstream.port}") as server:
                first, second = connect(server, "/upstream"), connect(server, "/upstream")
                time.sleep(0.3)
                first.close()
                self.assertEqual(answer(second), ("200", "That was slow!"))

    def test_all_clients_of_an_upstream_may_leave(self):
        with Upstream(silent) as upstream, step(
                5, "--upstream", f"127.0.0.1:{upstream.port}", "--timeout", "0.5") as server:
            before = server.descriptors
            connect(server, "/upstream").close()
            time.sleep(0.1)
            self.assertTrue(wait_until(lambda: server.descriptors == before))

    def test_silent_client_is_given_up_in_step5(self):
        with step(5, "--timeout", "0.3") as server:
            with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
                client.sendall(b"GET /fa")
                self.assertEqual(client.recv(100), b"")


PROGRAM = """
import sys
from step5 import *

async def work(seconds=0.05):
    print("begins")
    try:
        await sleep(seconds)
        print("goes on")
        return "the result"
    finally:
        print("finally")

{0}

async def whole():
    await main()
    sys.exit()

Task(whole())
run()
"""


class Tasks(unittest.TestCase):
    """Of step 5: what becomes of a task that is cancelled."""

    def check(self, main, *lines):
        self.assertEqual(python("-", text=PROGRAM.format(main)).splitlines(), list(lines))

    def test_result_is_there_for_all_who_wait(self):
        self.check("""
async def wait(task):
    print(await task)

async def main():
    task = Task(work())
    a, b = Task(wait(task)), Task(wait(task))
    await a
    await b
    print(await task)
""", "begins", "goes on", "finally", "the result", "the result", "the result")

    def test_cancelled_before_its_first_step_no_line_runs(self):
        self.check("""
async def main():
    task = Task(work())
    task.cancel()
    await sleep(0.1)
    print(task.done, type(task.error).__name__)
""", "True Cancelled")

    def test_cancelled_twice_finally_runs_once(self):
        self.check("""
async def main():
    task = Task(work())
    await sleep(0)
    task.cancel()
    task.cancel()
    await sleep(0.1)
    task.cancel()
    print(type(task.error).__name__)
""", "begins", "finally", "Cancelled")

    def test_cancelled_in_the_turn_in_which_its_future_is_done(self):
        self.check("""
async def main():
    async def two():
        try:
            await sleep(0.02)
        except Cancelled:
            print("cancelled")
        await sleep(0.05)
        print("awaited again")
    task = Task(two())
    await sleep(0)
    task.future.set()
    task.cancel()
    await task
""", "cancelled", "awaited again")

    def test_finally_may_await(self):
        self.check("""
async def main():
    async def tidy():
        try:
            await sleep(1)
        finally:
            await sleep(0.05)
            print("tidy")
    task = Task(tidy())
    await sleep(0)
    task.cancel()
    try:
        await task
    except Cancelled:
        print("cancelled")
""", "tidy", "cancelled")

    def test_time_out_cancels_and_its_finally_runs(self):
        self.check("""
async def main():
    try:
        await within(0.05, work(5))
    except TimeoutError as error:
        print(error)
    print(await within(1, work()))
""", "begins", "finally", "no answer in time", "begins", "goes on", "finally", "the result")

    def test_cancelled_from_outside_a_time_out_cancels_what_it_waits_for(self):
        self.check("""
async def main():
    task = Task(within(5, work(5)))
    await sleep(0.05)
    task.cancel()
    try:
        await task
    except Cancelled:
        print("cancelled")
    await sleep(0.05)
""", "begins", "finally", "cancelled")

    def test_leaving_is_told_once_and_does_not_spin_the_loop(self):
        self.check("""
async def main():
    here, there = socket.socketpair()
    leaving, begun = watch(here, select.EPOLLRDHUP), time.process_time()
    there.close()
    await leaving
    await sleep(0.4)
    print("slept" if time.process_time() - begun < 0.2 else "was busy")
""", "slept")

    def test_error_that_nobody_awaits_is_printed(self):
        output = python("-", text=PROGRAM.format("""
async def wrong():
    raise ValueError("wrong")

async def main():
    Task(wrong())
    await sleep(0.05)
"""))
        self.assertIn("ValueError: wrong", output)


if __name__ == "__main__":
    tool.run(unittests.main)
