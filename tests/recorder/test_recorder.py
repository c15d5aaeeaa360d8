"""Does tests/trace.py record what it promises, refuse what it cannot record, and leave nothing running?"""
import contextlib
import os
import pathlib
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
import unittest
import unittest.mock

from kit import measuring, proc, processes, unittests
from kit.servers import Server
from kit.tool import run as run_tool, scratch
from kit.tree import ROOT, STAGES, built
from kit.urls import free_port
from recorder import recorder, strace_log, understand
from recorder.test_trace import EXPECTED, calls, kept

HERE = pathlib.Path(__file__).resolve().parent

TRACE, WHERE = HERE.parent / "trace.py", HERE.parent / "where.py"
SERVER = HERE / "asyncio_server.py"
SUBJECTS = [*STAGES, "trap"]
PATIENCE = 90  # seconds: a tool that takes longer hangs
TRIES = 3      # a machine that is busy for a second can make /fast wait anywhere


def run(tool, *arguments, **more):
    """Run a tool; return its CompletedProcess."""
    return subprocess.run([sys.executable, str(tool), *map(str, arguments)], capture_output=True, text=True,
                          timeout=PATIENCE, stdin=subprocess.DEVNULL, **more)


def expect(case, pattern, record):
    """Record until the output has the pattern in it, TRIES times at most. Return the output."""
    for _ in range(TRIES):
        result = record()
        case.assertEqual((result.returncode, result.stderr), (0, ""))
        if re.search(pattern, result.stdout):
            break
    case.assertRegex(result.stdout, pattern)
    return result.stdout


def live(name):
    """The sentence of a live recording: the machine may be slow for a second."""
    return EXPECTED[name].replace(r"9\d\d ms", r"\d{3,4} ms")


def live_python(name):
    """The same of a program in Python, whose time.sleep is a select before 3.11."""
    return live(name) if sys.version_info >= (3, 11) else live(name).replace("clock_nanosleep", "select")


def marked(mark):
    """The processes that have this mark in their environment."""
    return [pid for pid in proc.all_pids()
            if f"TRACE_MARK={mark}" in proc.read(f"/proc/{pid}/environ")]


# ---- live

class Live(unittest.TestCase):
    """All seven, recorded once."""

    @classmethod
    def setUpClass(cls):
        cls.folder = scratch()
        for _ in range(TRIES):
            began = time.monotonic()
            cls.result = run(TRACE, "--raw", cls.folder / "all.strace", "--json", cls.folder / "all.json")
            cls.took = time.monotonic() - began
            if cls.result.returncode != 0:
                raise AssertionError(cls.result.stderr)
            logs = strace_log.read((cls.folder / "all.strace").read_text())
            cls.recordings = dict(zip(SUBJECTS, map(understand.understand, logs)))
            if cls.took < 30 and all(re.fullmatch(live(name), recorded.sentence)
                                     for name, recorded in cls.recordings.items()):
                break

    def test_it_takes_less_than_half_a_minute(self):
        self.assertLess(self.took, 30)

    def test_sentence_of_each(self):
        for name in SUBJECTS:
            with self.subTest(name):
                self.assertRegex(self.recordings[name].sentence, f"^{live(name)}$")
                self.assertIn(self.recordings[name].sentence, self.result.stdout)

    def test_01_and_the_trap_accept_fast_after_the_sleep_ended(self):
        for name in ("01-blocking", "trap"):
            with self.subTest(name):
                recorded = self.recordings[name]
                sleep, = calls(recorded, "clock_nanosleep")
                slow, fast = recorded.clients
                self.assertLess(slow.received, sleep.start + 0.001)
                self.assertLess(fast.connected, sleep.end)
                self.assertGreater(fast.accepted, sleep.end)
                self.assertGreater(fast.accepted, slow.answered)

    def test_02_answers_fast_in_a_thread_of_its_own(self):
        recorded = self.recordings["02-threaded"]
        slow, fast = recorded.clients
        self.assertEqual(len({slow.accepted_by, slow.answered_by, fast.answered_by}), 3)
        self.assertEqual(slow.accepted_by, fast.accepted_by)
        self.assertLess(fast.done, slow.done)
        labels = {thread.tid: thread.label for thread in recorded.threads}
        self.assertEqual([labels[tid] for tid in (slow.accepted_by, slow.answered_by, fast.answered_by)],
                         ["main thread", "thread 2", "thread 3"])
        starts = [call.plain for call in calls(recorded, "clone", "clone3")]
        self.assertEqual(starts, ["starts thread 2", "starts thread 3"])

    def test_loops_wait_for_what_is_left_of_the_delay(self):
        """Such as 1000 ms, and after /fast 899 ms. The bounds hold however slow the machine is: the deadline
        was set after the request was read, and each wait began after its time-out was calculated."""
        for name in ("03-select", "04-poll", "05-epoll", "06-libev"):
            with self.subTest(name):
                recorded = self.recordings[name]
                slow, fast = recorded.clients
                self.assertEqual(len(recorded.threads), 1)
                self.assertLess(fast.done, slow.done)
                first, *others = [wait for wait in recorded.waits if wait.start > slow.received and wait.end]
                last = next(wait for wait in others if wait.timeout_ms and not wait.reported)
                self.assertEqual(first.reported, ["listener"])
                self.assertTrue(900 <= first.timeout_ms <= 1000, first)
                least = 1000 - (last.start - slow.received) * 1000
                most = first.timeout_ms - (first.end - first.start) * 1000
                self.assertTrue(least - 2 <= last.timeout_ms <= most + 2, f"{least} {last.timeout_ms} {most}")
                self.assertGreaterEqual((last.end - last.start) * 1000, last.timeout_ms - 1)

    def test_source_lines_say_what_is_done_there(self):
        for name in SUBJECTS:
            recorded = self.recordings[name]
            for call in calls(recorded, "accept4", "clock_nanosleep", "recvfrom", "sendto"):
                with self.subTest(f"{name} {call.name}"):
                    path, _, number = call.source.rpartition(":")
                    line = recorded.sources[path][int(number) - 1]
                    function = {"accept4": "accept4", "recvfrom": "recv", "sendto": "send",
                                "clock_nanosleep": "clock_sleep_until"}[call.name]
                    self.assertIn(f"{function}(", line)

    def test_from_a_log_tells_the_same(self):
        again = run(TRACE, "--from", self.folder / "all.strace", "--json", self.folder / "again.json",
                    cwd="/")
        self.assertEqual(again.returncode, 0, again.stderr)
        self.assertEqual(again.stdout, self.result.stdout)
        self.assertEqual((self.folder / "again.json").read_text(), (self.folder / "all.json").read_text())

    def test_log_tells_when_each_thread_had_a_processor(self):
        for log in strace_log.read((self.folder / "all.strace").read_text()):
            samples = list(log.fields("cpu", r"(\d+) at \d+\.\d+ had (\d+\.\d+) ready \d+\.\d+"))
            self.assertEqual(len(samples), len(log.header["cpu"]))
            self.assertGreater(max(float(had) for _, had in samples), 0)

    def test_log_does_not_tell_where_the_toolkit_is(self):
        self.assertNotIn(str(ROOT), (self.folder / "all.strace").read_text())


# ---- programs of the reader's own

class Commands(unittest.TestCase):
    def record(self, *way, name="x"):
        port = free_port()
        return run(TRACE, f"http://127.0.0.1:{port}", "--name", name,
                   "--", sys.executable, SERVER, port, *way)

    def test_each_way_to_be_slow(self):
        for way, expected in [("sleep", "asyncio"), ("block", "mistake"),
                              ("compute", "compute"), ("pool", "executor")]:
            with self.subTest(way):
                output = expect(self, f"\n{live_python(expected)}\n",
                                lambda: self.record(way, name=f"this is {way}"))
                self.assertIn(f"== this is {way}", output)

    def test_program_without_debug_information_names_functions(self):
        source = scratch() / "plain.c"
        program = scratch() / "plain"
        source.write_text(PLAIN)
        subprocess.run(["cc", "-O0", "-fno-inline", "-o", program, source], check=True)
        port = free_port()
        output = expect(self, r"the only thread was in clock_nanosleep, called by take_a_nap\.\n",
                        lambda: run(TRACE, f"http://127.0.0.1:{port}", "--", program, port))
        self.assertRegex(output, r"sleep +sleeps 1 s, serving /slow +[\d.]+ m?s\n")
        self.assertRegex(output, r"(?s)Called from:.*clock_nanosleep\stake_a_nap")

    @unittest.skipUnless(shutil.which("uvicorn"), "uvicorn is missing: make deps-peers")
    def test_fastapi_under_uvicorn(self):
        for environment, expected in [({}, "asyncio"), ({"MISTAKE": "1"}, "mistake")]:
            port = free_port()
            expect(self, live_python(expected), lambda: run(
                TRACE, f"http://127.0.0.1:{port}", "--", "uvicorn", "--loop", "asyncio", "--port", port,
                "fastapi_app:app", cwd=ROOT / "tests/bench/apps", env={**os.environ, "DELAY": "1", **environment}))

    @unittest.skipUnless(shutil.which("gunicorn"), "gunicorn is missing: make deps-peers")
    def test_flask_under_gunicorn(self):
        port = free_port()
        expect(self, live_python("gunicorn"), lambda: run(
            TRACE, f"http://127.0.0.1:{port}", "--", "gunicorn", "-b", f"127.0.0.1:{port}", "flask_app:app",
            cwd=ROOT / "tests/bench/apps", env={**os.environ, "DELAY": "1"}))


PLAIN = r"""
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
static void take_a_nap(void) { nanosleep(&(struct timespec){1, 0}, NULL); }
int main(int argc, char **argv)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    int listener = socket(AF_INET, SOCK_STREAM, 0), client;
    const char *text = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    char head[999] = "";
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons((unsigned short)atoi(argv[argc - 1]));
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 9) < 0)
        return 1;
    while ((client = accept(listener, NULL, NULL)) >= 0) {
        if (read(client, head, sizeof head - 1) > 0 && strncmp(head, "GET /slow", 9) == 0)
            take_a_nap();
        if (write(client, text, strlen(text)) < 0)
            return 1;
        close(client);
    }
}
"""


class Running(unittest.TestCase):
    """A server that is running already."""

    def start(self, *options):
        server = Server("05-epoll", "--delay", "1", *options)
        self.addCleanup(server.stop)
        return server

    def record(self, server, *options):
        output = expect(self, r"\n/fast did not wait: .* in epoll_pwait, called from 05-epoll/",
                        lambda: run(TRACE, server.url, *options))
        self.assertRegex(output, r"before .* waits for any client +\d")  # it knows what is watched
        self.assertEqual(proc.tracer(server.pid, server.pid), 0)
        row, = measuring.probe(server.url, "0:/fast")
        self.assertEqual(row["status"], "200")  # it goes on
        return output

    def test_process_is_found_by_its_port(self):
        self.record(self.start())

    def test_workers_are_found_by_their_parent(self):
        server = self.start("--workers", "2")
        self.assertIn("worker 2", self.record(server, "--pid", server.pid))

    def test_process_whose_main_thread_has_ended_is_recorded(self):
        port = free_port()
        with processes.Program([sys.executable, HERE / "cases/system_ways.py", port, "no-main"]) as program:
            self.assertTrue(processes.wait_until(
                lambda: "(zombie)" in proc.read(f"/proc/{program.pid}/task/{program.pid}/status")), program.messages())
            expect(self, r"\n/fast waited .*: thread 2.* was in (clock_nanosleep|select)",
                   lambda: run(TRACE, f"http://127.0.0.1:{port}"))

    def test_interrupted_recorder_leaves_the_server_running(self):
        server = self.start()
        tool = processes.start([sys.executable, TRACE, server.url], stdout=subprocess.DEVNULL)
        self.assertTrue(processes.wait_until(lambda: proc.tracer(server.pid, server.pid)))
        self.assertEqual(processes.stop(tool), 128 + signal.SIGTERM)
        self.assertTrue(processes.wait_until(lambda: proc.tracer(server.pid, server.pid) == 0))
        row, = measuring.probe(server.url, "0:/fast")
        self.assertEqual(row["status"], "200")


# ---- bad input

class Refusals(unittest.TestCase):
    def refuse(self, status, message, *arguments, **more):
        result = run(TRACE, *arguments, **more)
        self.assertEqual((result.returncode, result.stdout), (status, ""), result.stderr)
        self.assertRegex(result.stderr, rf"^trace\.py: {message}")
        self.assertNotIn("Traceback", result.stderr)
        return result

    def test_wrong_command_line_is_refused(self):
        for message, arguments in [
                ("07-kqueue: neither a stage nor an http:// URL", ["07-kqueue"]),
                ("--delay x: want seconds", ["--delay", "x"]),
                ("--gap 2: want less than the delay, which is 1", ["--gap", "2"]),
                ("--shots 5: want requests", ["--shots", "5"]),
                ("--slow slow: want a path", ["--slow", "slow"]),
                ("--name x: a stage has a name", ["--name", "x"]),
                ("--bogus: no such option", ["--bogus"]),
                ("want the URL where the server answers", ["--", "true"]),
                ("want the URL where the server answers", ["--pid", "1"]),
                ("want a command after --", ["http://127.0.0.1:1", "--"]),
                ("--delay 2: this is for stages", ["http://127.0.0.1:1", "--delay", "2"]),
                ("--pid 1: there is a command to start", ["http://127.0.0.1:1", "--pid", "1", "--", "true"]),
                ("--pid 4194304: no such process", ["http://127.0.0.1:1", "--pid", 2 ** 22]),
                ("http://127.0.0.1:1/x: want http://HOST", ["http://127.0.0.1:1/x"]),
                ("http://127.0.0.1:99999: want http://HOST", ["http://127.0.0.1:99999"]),
                ("http://192.0.2.1: this is not an address of this machine", ["http://192.0.2.1"]),
                ("--raw /nonexistent/x: cannot be written", ["--raw", "/nonexistent/x"])]:
            with self.subTest(message):
                self.refuse(2, message, *arguments)

    def test_files_that_are_no_logs(self):
        folder = scratch()
        (folder / "empty").write_text("")
        (folder / "prose").write_text("It was a dark and stormy night.\n")
        (folder / "header").write_text("# recording: x\n# url: http://127.0.0.1:1\n")
        (folder / "no-requests").write_text("7 1700000000.1 close(3) = 0 <0.1>\n")
        (folder / "no-durations").write_text(re.sub(r" <[\d.]+>$", "", kept("plain"), flags=re.M))
        for name, message in [("empty", "contains no system call"), ("prose", "is not a log of strace"),
                              ("header", "contains no system call"), ("no-requests", "contains no request"),
                              ("no-durations", "does not tell how long"), ("missing", "no such file")]:
            with self.subTest(name):
                self.refuse(2, rf"--from {folder / name}: .*{message}", "--from", folder / name)
        self.refuse(2, f"--from {sys.executable}: this is not a log", "--from", sys.executable)

    def test_servers_that_do_not_serve(self):
        url = f"http://127.0.0.1:{free_port()}"
        for message, arguments in [
                (f"{url}: nothing is listening", [url]),
                ("nosuchcommand: no such command", [url, "--", "nosuchcommand"]),
                (r"the command ended before it answered \(exit status 3\)\n    oh no\n",
                 [url, "--", "sh", "-c", "echo oh no >&2; exit 3"]),
                (f"{url} does not answer within 0.5 s", [url, "--wait", "0.5", "--", "sleep", "77"])]:
            with self.subTest(message):
                mark = secrets.token_hex(8)
                self.refuse(1, message, *arguments, env={**os.environ, "TRACE_MARK": mark})
                self.assertEqual(marked(mark), [])

    def test_url_that_is_in_use(self):
        with Server("05-epoll") as server:
            self.refuse(1, f"{server.url}: something is listening there already", server.url, "--", "true")

    def test_route_that_does_not_exist(self):
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        self.refuse(1, f"{url}/nothing: status 404", url, "--fast", "/nothing", "--",
                    built("05-epoll"), "--port", port)

    def test_process_that_does_not_serve(self):
        with Server("05-epoll") as server:
            other = processes.start(["sleep", "60"])
            self.refuse(1, "nothing can be told: the requests were answered, but not by this process",
                        server.url, "--pid", other.pid)


class Forbidden(unittest.TestCase):
    def test_missing_strace_is_named(self):
        folder = scratch() / "few"
        folder.mkdir()
        result = run(TRACE, "05-epoll", env={**os.environ, "PATH": str(folder)})
        self.assertEqual(result.stderr, "trace.py: strace is missing. To install it: make deps-tools\n")
        self.assertEqual(result.returncode, 1)

    def test_without_addr2line_it_names_functions(self):
        folder = scratch() / "without-addr2line"
        folder.mkdir()
        for command in ("setpriv", "strace", "true"):
            (folder / command).symlink_to(shutil.which(command))
        result = run(TRACE, "01-blocking", env={**os.environ, "PATH": str(folder)})
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertIn("the only thread was in clock_nanosleep, called by clock_sleep_until.\n", result.stdout)

    def test_strace_without_stacks_names_calls(self):
        folder = scratch() / "without-stacks"
        folder.mkdir()
        strace = folder / "strace"
        strace.write_text("#!/bin/sh\ncase \"$*\" in *-k*) echo 'no -k in this build' >&2; exit 1 ;; esac\n"
                          f"exec {shutil.which('strace')} \"$@\"\n")
        strace.chmod(0o755)
        result = run(TRACE, "01-blocking", env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"})
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertRegex(result.stdout, live("mistake"))

    def test_traced_program_may_not_trace(self):
        """Real, with no need of another kernel: a process has one tracer at most."""
        mark = secrets.token_hex(8)
        outer = ["strace", "-f", "-q", "-o", "/dev/null", "-e", "trace=none", sys.executable]
        result = subprocess.run([*outer, TRACE, "05-epoll"], capture_output=True, text=True, timeout=PATIENCE,
                                env={**os.environ, "TRACE_MARK": mark})
        self.assertEqual((result.returncode, result.stdout), (1, ""))
        self.assertRegex(result.stderr, r"^trace\.py: strace may not trace here \(.*not permitted.*\)\. "
                                        r"This program is itself being traced")
        self.assertEqual(marked(mark), [])

    @unittest.skipUnless(os.getuid() == 0 and os.access("/usr/bin/python3", os.X_OK),
                         "only root can become another user")
    def test_process_of_another_user(self):
        nobody = ["setpriv", "--reuid", "65534", "--clear-groups", "/usr/bin/python3", "-B"]
        with Server("05-epoll") as server:
            for tool, arguments, message in [
                    (TRACE, [server.url], "the process that listens belongs to another user. Use sudo"),
                    (TRACE, [server.url, "--pid", server.pid],
                     "Operation not permitted). To trace a process of another user, use sudo."),
                    (WHERE, [server.port], "only its owner or root may see its threads")]:
                result = subprocess.run([*nobody, tool, *map(str, arguments)], capture_output=True, text=True,
                                        timeout=PATIENCE, env={**os.environ, "TMPDIR": "/tmp"})
                self.assertIn(message, result.stdout if tool == WHERE else result.stderr)
                self.assertEqual(result.returncode, 0 if tool == WHERE else 1)
                self.assertNotIn("Traceback", result.stderr)

    def test_advice_fits_what_forbids_tracing(self):
        read = proc.read
        for scope, attach, expected in [
                ("0\n", False, "docker run --cap-add SYS_PTRACE"), ("0\n", True, "use sudo"),
                ("1\n", False, "docker run"), ("1\n", True, "ptrace_scope is 1. Use sudo, or allow it: "
                                                            "sudo sysctl kernel.yama.ptrace_scope=0"),
                ("2\n", False, "sudo sysctl kernel.yama.ptrace_scope=1"),
                ("3\n", True, "until the next boot")]:
            with unittest.mock.patch("kit.proc.read", lambda path: scope if path.endswith("scope") else read(path)):
                self.assertIn(expected, recorder.advice(attach))


# ---- nothing is left

class Endings(unittest.TestCase):
    def end(self, number, ready, *arguments):
        """Start the recorder, send it a signal when its processes are ready, and expect all to end."""
        mark = secrets.token_hex(8)
        tool = subprocess.Popen([sys.executable, str(TRACE), *map(str, arguments)], stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL, env={**os.environ, "TRACE_MARK": mark,
                                                                "TMPDIR": str(scratch())})
        try:
            self.assertTrue(processes.wait_until(lambda: ready(marked(mark)), 20))
            tool.send_signal(number)
            status = tool.wait(PATIENCE)
            self.assertEqual(status, -number if number == signal.SIGKILL else 128 + number)
            left = processes.wait_until(lambda: not marked(mark), 0.2 if number != signal.SIGKILL else 5)
            self.assertTrue(left, [proc.command(pid) for pid in marked(mark)])
        finally:
            for pid in marked(mark):
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)

    @staticmethod
    def traced(pids):
        return any(proc.tracer(pid, pid) > 0 for pid in pids)

    def asked(self, pids):
        return self.traced(pids) and any("probe" in proc.name(pid) for pid in pids)

    def test_server_does_not_outlive_the_recorder(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL):
            for ready in (self.traced, self.asked):
                with self.subTest(f"{number.name} {ready.__name__}"):
                    self.end(number, ready, "01-blocking", "--delay", "30")

    def test_processes_of_a_command_do_not_outlive_the_recorder(self):
        port = free_port()
        script = f"{built('05-epoll')} --port {port} --workers 2 --delay 30 & sleep 88 & wait"
        for number in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(number.name):
                self.end(number, self.asked, f"http://127.0.0.1:{port}", "--", "sh", "-c", script)

    def test_daemon_is_recorded_and_ended(self):
        """The command ends immediately, and leaves the server to nobody."""
        mark, port = secrets.token_hex(8), free_port()
        script = f"setsid {built('05-epoll')} --port {port} --delay 1 >/dev/null &"
        expect(self, r"/fast did not wait: .* in epoll_pwait",
               lambda: run(TRACE, f"http://127.0.0.1:{port}", "--", "sh", "-c", script,
                           env={**os.environ, "TRACE_MARK": mark}))
        self.assertEqual(marked(mark), [])


if __name__ == "__main__":
    run_tool(unittests.main)
