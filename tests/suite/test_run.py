"""Cases run once more, alone, if they may have failed because this machine was busy, and only then."""
import contextlib
import io
import itertools
import signal
import socket
import sys
import threading
import unittest
from unittest import mock

from kit import processes, unittests
from kit.tool import run
from suite import activity, cases
from suite.client import request
from suite.run import FEW, main
from suite.running import LANES, run_case
from suite.server import Stage

NAME = "05-epoll"
RIGHT = b"HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\nThat was fast!"


def silent(client):
    """Say nothing until the client has left."""
    client.recv(1)


def wrong(client):
    client.sendall(RIGHT.replace(b"fast!", b"slow!"))


def is_served(first):
    """Return a case that fails at its first run only: its server does this to its client."""
    runs = itertools.count()

    def check(_):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            def serve(number=next(runs)):
                client, _ = listener.accept()
                with client:
                    client.recv(4096)
                    first(client) if number == 0 else client.sendall(RIGHT)

            threading.Thread(target=serve, daemon=True).start()
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            with Stage(NAME, NAME, None, url=url).serve() as server:
                server.expect(server.client(request("/fast")), "/fast")
    return check


def keeps_running(*ways):
    """Return a case that starts a program of Python, the next one of these at each run, and the last one from
    then on."""
    left = list(ways)

    def check(_):
        program = Stage(NAME, NAME, [sys.executable, "-c", left.pop(0) if left[1:] else left[0]])
        with program.serve(listens=False) as server:
            server.expected = "the word ready"
            server.wait_for(lambda: "ready" in server.program.output(), sleeps=5)
            server.signal(signal.SIGTERM)
            server.expect_exit(-signal.SIGTERM, patience=1)
    return check


READY = "import time; print('ready', flush=True); time.sleep(60)"


class Again(unittest.TestCase):
    def run_suite(self, planted, beside=LANES):
        """Run these cases beside so many that pass. Return the exit status, and what is printed."""
        checks = {**planted, **{f"good_{number}": lambda _: None for number in range(beside)}}
        made = {name: cases.Case(name, "http", NAME, cases.URL, check) for name, check in checks.items()}

        def run_here(jobs, lanes=LANES):
            yield from (run_case(*job) for job in jobs)

        with mock.patch.multiple("suite.run", run_all=run_here, built=lambda _: "/bin/true"), \
                mock.patch("suite.cases.all_cases", lambda: made), mock.patch("suite.server.PATIENCE", 0.5), \
                contextlib.redirect_stdout(io.StringIO()) as printed:
            return main(["--stage", NAME]), printed.getvalue()

    def test_late_response_runs_again(self):
        status, printed = self.run_suite({"flaky": is_served(silent)})
        self.assertEqual(status, 0)
        self.assertIn("05-epoll     flaky: FAILED\n", printed)
        self.assertIn("05-epoll     flaky: passed only alone\n", printed)
        self.assertTrue(printed.endswith(f"\n{LANES} passed, 0 failed, 1 passed only alone\n"), printed)

    def test_late_exit_runs_again(self):
        deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + READY
        status, printed = self.run_suite({"flaky": keeps_running(deaf, READY)})
        self.assertEqual((status, printed.splitlines()[-1]),
                         (0, f"{LANES} passed, 0 failed, 1 passed only alone"))

    def test_whatever_is_not_late_stays_failed(self):
        for name, check in {
                "crash": keeps_running("import os; os.abort()", READY),
                "crash_at_the_end": keeps_running(
                    "import os, signal; signal.signal(signal.SIGTERM, lambda *_: os.abort()); " + READY,
                    READY),
                "exit_status": keeps_running("raise SystemExit(3)", READY),
                "wrong_byte": is_served(wrong),
                "end_of_the_connection": is_served(lambda client: None),
                "busy_loop": keeps_running("while True: pass", READY),
                "mistake_of_the_case": lambda _, left=iter([0]): next(left, 1) or 1 / 0}.items():
            with self.subTest(name), mock.patch("suite.server.BUSY", 0.2):
                status, printed = self.run_suite({name: check})
                self.assertEqual((status, printed.splitlines()[-1]), (1, f"{LANES} passed, 1 failed"))

    def test_case_that_is_always_late_stays_failed(self):
        deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + READY
        self.assertEqual(self.run_suite({"late": keeps_running(deaf)})[0], 1)

    def test_many_late_cases_stay_failed(self):
        late = {f"late_{number}": is_served(silent) for number in range(FEW + 1)}
        status, printed = self.run_suite(late)
        self.assertEqual((status, printed.splitlines()[-1]), (1, f"{LANES} passed, {FEW + 1} failed"))

    def test_case_that_ran_alone_does_not_run_again(self):
        self.assertEqual(self.run_suite({"late": is_served(silent)}, beside=0)[0], 1)


class Family(unittest.TestCase):
    def test_a_process_may_end_while_we_look_at_it(self):
        shell = processes.start(["sh", "-c", "i=0; while [ $i -lt 1000 ]; do (exit 0); i=$((i + 1)); done"])
        while shell.poll() is None:
            self.assertIn(shell.pid, activity.family(shell.pid))
            activity.tasks(shell.pid)


if __name__ == "__main__":
    run(unittests.main)
