"""Does kit.tool keep its promise? However a tool ends, it leaves no process and no file.

Each tool here runs with a mark in its environment, which all its processes inherit, and with a folder of its
own for temporary files.
"""
import errno
import os
import pathlib
import random
import re
import resource
import secrets
import signal
import sys
import time
import unittest

from kit import processes, unittests
from kit.errors import Failed
from kit.processes import Program
from kit.report import Report
from kit.servers import Server
from kit.terminals import open_terminal
from kit.tool import run, scratch, write
from kit.tree import ROOT, TESTS

ITSELF = ["-m", "kit.test_tool"]

PATIENCE = 60  # in seconds; a tool that takes longer hangs
HANGUP, INTERRUPT, TERMINATE = 128 + signal.SIGHUP, 128 + signal.SIGINT, 128 + signal.SIGTERM
BROKEN_PIPE = 128 + signal.SIGPIPE


# ---- tools that get interrupted: python3 -m kit.test_tool tool NAME

def restart():
    """Spend nearly all the time in starting and stopping a server."""
    while True:
        print("up")
        with Server("05-epoll", "--workers", "2"):
            (scratch() / "file").write_text("text")


def stubborn():
    """Have processes that ignore signals. One is an orphan, and one is in a session of its own."""
    ready = scratch() / "ready"
    processes.start(["sh", "-c", "trap '' HUP INT TERM; setsid sleep 1000 & sleep 1000 & echo >$0; wait", ready])
    processes.start(["sh", "-c", "trap '' HUP INT TERM; sleep 1000 &"]).wait()
    processes.wait_until(ready.exists)
    print("up")
    time.sleep(1000)


def stopped():
    """Have a process that is stopped, as by Ctrl-Z."""
    os.kill(processes.start(["sleep", "1000"]).pid, signal.SIGSTOP)
    print("up")
    time.sleep(1000)


def serving():
    """Print while a server runs."""
    with Server("05-epoll"):
        while True:
            print("up")
            time.sleep(0.01)


def failing():
    processes.start(["sleep", "1000"])
    raise Failed("no luck", "first line\nsecond line\n")


def refused():
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/etc/file")  # as open() does, but for root


def starved():
    """Run out of descriptors, beside a process."""
    processes.start(["sleep", "1000"])
    resource.setrlimit(resource.RLIMIT_NOFILE, (50, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    print([open("/dev/null") for _ in range(50)])


def noisy():
    raise Failed("it says \033[31mred\033[0m\r", "and \u202eturns\a\nround\t.\0")


def crashing():
    (scratch() / "file").write_text("text")
    processes.start(["sleep", "1000"])
    raise ValueError("a defect")


def waiting():
    """Wait for a process, and say so."""
    report = Report()
    report.begin("waiting")
    processes.start(["sleep", "4.5"]).wait()
    report.end("done")


def writing():
    """Write a file again and again."""
    while True:
        write(pathlib.Path(os.environ["TMPDIR"], "file"), TEXT)
        print("up")


TEXT = "text" * 250000
TOOLS = {tool.__name__: tool for tool in [restart, stubborn, stopped, serving, failing, refused, starved, noisy,
                                          crashing, waiting, writing]}


# A class of tests that cannot begin for the first time
AGAIN = """
import unittest
from kit import tool, unittests
class Whole(unittest.TestCase):
    tried = False
    @classmethod
    def setUpClass(cls):
        before, cls.tried = cls.tried, True
        if not before:
            raise OSError
    def test_one(self): pass
    def test_two(self): pass
class Other(unittest.TestCase):
    def test_three(self): pass
    def test_four(self): self.skipTest("not here")
tool.run(unittests.main)
"""
STARTED = []


class Tool(Program):
    """A tool, and what is left of it."""

    def __init__(self, *command, prefix=(), **popen_arguments):
        mark = secrets.token_hex(8)
        self.mark = f"TEST_TOOL={mark}"
        self.folder = scratch() / mark
        self.folder.mkdir()
        STARTED.append(self)
        environment = {**os.environ, "TEST_TOOL": mark, "TMPDIR": str(self.folder)}
        super().__init__([*prefix, sys.executable, *command], env=environment, **popen_arguments)

    def processes(self):
        """Return the pid and the command line of each of its processes."""
        found = {}
        for entry in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                if self.mark in (entry / "environ").read_text(errors="replace").split("\0"):
                    command = (entry / "cmdline").read_text(errors="replace")
                    found[int(entry.name)] = command.replace("\0", " ")
            except OSError:  # it has ended meanwhile, or belongs to another user
                pass
        return found

    def files(self):
        return list(self.folder.rglob("*"))

    def wait_for(self, condition):
        if not processes.wait_until(lambda: condition() or not self.alive, PATIENCE):
            raise AssertionError(f"nothing happened in {PATIENCE} s")


def start(name, prefix=(), **popen_arguments):
    """Start one of the tools above."""
    return Tool(*ITSELF, "tool", name, prefix=prefix, **popen_arguments)


def start_and_wait(name, prefix=()):
    """Start one of the tools above, and wait until it is at work."""
    tool = start(name, prefix)
    tool.wait_for(lambda: "up" in tool.output())
    return tool


class Target:
    """A tool that gets one signal, or two, a moment after its first output."""

    def __init__(self, tool, number, moment, kill):
        self.tool, self.kill = tool, kill
        self.signals = [(moment, number)]
        if random.random() < 0.5:
            second = random.choice([signal.SIGINT, signal.SIGTERM])
            self.signals.append((moment + random.uniform(0, 0.02), second))
        self.history = ", ".join(f"{number.name} after {moment:.4f} s" for moment, number in self.signals)
        self.statuses = [128 + number for _, number in self.signals]
        self.deadline = time.monotonic() + PATIENCE
        self.zero = None

    def shoot(self):
        """Send the next signal if it is due."""
        now = time.monotonic()
        if self.zero is None and (self.tool.output() or now > self.deadline):
            self.zero = now
        if not self.tool.alive:
            self.signals = []
        elif self.zero is not None and self.signals and now >= self.zero + self.signals[0][0]:
            self.kill(self.tool.pid, self.signals.pop(0)[1])


def under_shell(script):
    """Return the start of a command line: the shell runs script, in which "$@" is the rest."""
    return ["sh", "-c", script, "sh"]


def on_terminal(script):
    """The same on a terminal, which is the standard input."""
    take_it = ("import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
               "os.execvp(sys.argv[1], sys.argv[1:])")
    return [sys.executable, "-c", take_it, *under_shell(script)]


# ---- the tests

class Tools(unittest.TestCase):

    def tearDown(self):
        """Kill what a tool that fails the test has left."""
        for pid in [pid for tool in STARTED for pid in tool.processes()]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        STARTED.clear()

    def assert_ends(self, tool, *statuses):
        """The tool ends with one of these statuses, and leaves nothing."""
        tool.wait_for(lambda: not tool.alive)
        left, files = tool.processes(), tool.files()
        self.assertIn(tool.process.returncode, statuses, tool.messages())
        self.assertEqual((left, files), ({}, []))

    def assert_fails(self, tool, message):
        """The tool ends with this message, and leaves nothing."""
        self.assert_ends(tool, 1)
        self.assertEqual(tool.messages(), f"test_tool.py: {message}")

    def assert_any_moment(self, command, seconds, count, kill=os.kill):
        """Start count tools for each signal. Send it at a random moment; some get a second one soon after."""
        targets = [Target(Tool(*command), number, random.uniform(0, seconds), kill)
                   for number in [signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM] * count]
        while any(target.signals for target in targets):
            for target in targets:
                target.shoot()
            time.sleep(0.001)
        for target in targets:
            with self.subTest(target.history):
                self.assert_ends(target.tool, *target.statuses)

    def test_signals_at_any_moment_of_latency(self):
        command = [ROOT / "tests/latency.py", "--delay", "0.5", "--workers", "2", "01-blocking", "trap"]
        self.assert_any_moment(command, seconds=2, count=4)

    def test_signals_at_any_moment_of_start_and_stop(self):
        self.assert_any_moment([*ITSELF, "tool", "restart"], seconds=0.5, count=4)

    def test_signals_to_the_whole_group_as_by_ctrl_c(self):
        self.assert_any_moment([*ITSELF, "tool", "restart"], seconds=0.5, count=2, kill=os.killpg)

    def test_signals_before_the_tool_can_catch_them(self):
        tools = [start("serving") for _ in range(6)]
        for tool in tools:
            time.sleep(random.uniform(0, 0.05))
            # Not SIGINT: while Python itself starts, it may swallow the KeyboardInterrupt.
            os.kill(tool.pid, random.choice([signal.SIGHUP, signal.SIGTERM]))
        for tool in tools:
            tool.wait_for(lambda: not tool.alive)
            self.assertNotEqual(tool.process.returncode, 0)
            self.assert_ends(tool, tool.process.returncode)

    def test_processes_that_ignore_signals_are_killed(self):
        tool = start_and_wait("stubborn")
        self.assertEqual(len(tool.processes()), 5)
        os.kill(tool.pid, signal.SIGTERM)
        self.assert_ends(tool, TERMINATE)

    def test_second_signal_while_processes_ignore_the_first(self):
        tool = start_and_wait("stubborn")
        os.kill(tool.pid, signal.SIGTERM)
        time.sleep(0.1)
        os.kill(tool.pid, signal.SIGINT)
        self.assert_ends(tool, TERMINATE, INTERRUPT)

    def test_stopped_process_is_ended(self):
        tool = start_and_wait("stopped")
        os.kill(tool.pid, signal.SIGHUP)
        self.assert_ends(tool, HANGUP)

    def test_server_does_not_outlive_a_tool_that_is_killed(self):
        tool = start_and_wait("serving")
        self.assertEqual(len(tool.processes()), 2)
        tool.process.kill()
        tool.process.wait()
        processes.wait_until(lambda: not tool.processes(), PATIENCE)
        self.assert_ends(tool, -signal.SIGKILL)

    def test_closed_pipe(self):
        tool = start("serving", under_shell('{ "$@"; echo "status $?" >&2; } | head -n 1'))
        self.assert_ends(tool, 0)
        self.assertEqual((tool.output(), tool.messages()), ("up\n", f"status {BROKEN_PIPE}\n"))

    def close_terminal(self, script):
        terminal, stdin = open_terminal()
        tool = start("serving", on_terminal(script), stdin=stdin)
        os.close(stdin)
        shown = os.read(terminal, 1000)
        os.close(terminal)
        self.assertTrue(shown.startswith(b"up"), shown)
        return tool

    def test_closed_terminal(self):
        tool = self.close_terminal('exec "$@" >&0 2>&0')
        self.assert_ends(tool, HANGUP, BROKEN_PIPE)

    def test_closed_terminal_with_nohup(self):
        tool = self.close_terminal('trap "" HUP; exec "$@" >&0 2>&0')
        self.assert_ends(tool, BROKEN_PIPE)

    def test_signal_that_was_ignored_stays_so(self):
        tool = start_and_wait("serving", under_shell('trap "" HUP; exec "$@"'))
        os.kill(tool.pid, signal.SIGHUP)
        lines = len(tool.output())
        tool.wait_for(lambda: len(tool.output()) > lines + 10)
        server, = set(tool.processes()) - {tool.pid}
        ignored = re.search(r"SigIgn:\s*(\w+)", pathlib.Path(f"/proc/{server}/status").read_text())[1]
        self.assertFalse(int(ignored, 16) >> signal.SIGHUP - 1 & 1)  # what the tool has started is as always
        os.kill(tool.pid, signal.SIGTERM)
        self.assert_ends(tool, TERMINATE)

    def test_process_that_others_started_lives_on(self):
        tool = start_and_wait("serving", under_shell('sleep 1000 & exec "$@"'))
        os.kill(tool.pid, signal.SIGTERM)
        tool.wait_for(lambda: not tool.alive)
        (pid, command), = tool.processes().items()
        self.assertEqual(command, "sleep 1000 ")
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)  # its parent has ended, so it is ours

    def test_full_disk_is_a_failure(self):
        self.assert_fails(start("serving", under_shell('exec "$@" >/dev/full')), "No space left on device\n")

    def test_failure_is_a_line_with_details(self):
        self.assert_fails(start("failing"), "no luck\n    first line\n    second line\n")

    def test_refusal_of_the_system_is_a_line(self):
        self.assert_fails(start("refused"), "/etc/file: Permission denied\n")

    def test_shortage_of_descriptors_is_a_line(self):
        self.assert_fails(start("starved"), "/dev/null: Too many open files\n")

    def test_folder_for_temporary_files_may_be_missing(self):
        self.assert_fails(start("restart", ["env", "TMPDIR=/nowhere"]),
                          "no folder for temporary files in /nowhere (TMPDIR): No such file or directory\n")

    def test_text_of_others_cannot_control_the_terminal(self):
        self.assert_fails(start("noisy"), "it says \\x1b[31mred\\x1b[0m\\x0d\n"
                          "    and \\u202eturns\\x07\n    round .\\x00\n")

    def test_ctrl_c_while_a_command_imports_what_it_needs(self):
        slow = scratch() / "slow"
        slow.mkdir()
        (slow / "argparse.py").write_text("import time; print('up', flush=True); time.sleep(1000)")
        for command in ["latency.py", "trace.py", "where.py", "judge.py"]:
            with self.subTest(command):
                tool = Tool(TESTS / command, prefix=["env", f"PYTHONPATH={slow}"])
                tool.wait_for(lambda tool=tool: "up" in tool.output())
                os.kill(tool.pid, signal.SIGINT)
                self.assert_ends(tool, -signal.SIGINT)
                self.assertEqual(tool.messages(), "")

    def test_defect_leaves_nothing(self):
        tool = start("crashing")
        self.assert_ends(tool, 1)
        self.assertIn("ValueError: a defect", tool.messages())

    def test_file_is_written_as_a_whole_or_not_at_all(self):
        for _ in range(8):
            tool = start_and_wait("writing")
            time.sleep(random.uniform(0, 0.02))
            os.kill(tool.pid, signal.SIGTERM)
            tool.wait_for(lambda tool=tool: not tool.alive)
            self.assertEqual({file.name: file.read_text() == TEXT for file in tool.files()}, {"file": True})

    def test_line_that_takes_long_says_for_how_long(self):
        tool = start("waiting")
        tool.wait_for(lambda: not tool.alive)
        self.assertRegex(tool.output(), r"^waiting( \d+ s \.\.\.)+ done\n$")

    def test_output_is_whole_although_it_is_read_meanwhile(self):
        program = Program(["sh", "-c", "i=0; while [ $i -lt 20000 ]; do i=$((i + 1)); echo $i; done"])
        while program.alive:
            program.output()
            time.sleep(0.001)
        self.assertEqual(program.output().split(), [str(i + 1) for i in range(20000)])

    def test_wrong_command_line_is_a_line_that_names_the_option(self):
        for words, message in [(["--delay", "x"], "--delay x: want seconds, from 0.1 to 3600"),
                               (["trap", "--workers=0"], "--workers 0: want a number from 1 to 999"),
                               (["--slow"], "--slow wants a value"),
                               (["http://[::1]/slow"], "http://[::1]/slow: want http://HOST[:PORT] with a PORT up to "
                                                       "65535, and no path (--slow and --fast are the paths)"),
                               (["--del", "1"], "--del: no such option; see --help")]:
            self.assert_wrong("latency.py", words, message)
        for words in ["--foo"], ["05-epoll", "foo"]:
            self.assert_wrong("play.py", words, f"{' '.join(words)}: want at least one TIME:ACTION, such as 0:/slow; "
                                                "see --help")

    def test_name_of_no_test_is_refused(self):
        tool = Tool("-m", "kit.test_proc", "Places.test_nothing")
        self.assert_ends(tool, 2)
        self.assertEqual((tool.output(), tool.messages()), ("", "test_proc.py: Places.test_nothing: no such test\n"))

    def test_class_that_could_not_begin_runs_once_more(self):
        module = scratch() / "again.py"
        module.write_text(AGAIN)
        tool = Tool(module)
        self.assert_ends(tool, 0)
        self.assertTrue(tool.output().endswith("\n3 passed, 0 failed, 2 passed only alone\n"), tool.output())

    def test_file_that_cannot_be_written_is_named(self):
        name = scratch() / "file"
        name.write_text("")
        for command, words, options in [("trace.py", ["05-epoll"], ["--svg", "--html", "--json", "--raw"]),
                                        ("play.py", ["05-epoll", "0:/fast"], ["--json", "--strace"])]:
            for option in options:
                for file, reason in [(f"{name}/x", "cannot be written"), ("/nowhere/x", "cannot be written"),
                                     (scratch(), "this is a folder")]:
                    self.assert_wrong(command, [option, str(file), *words], f"{option} {file}: {reason}")

    def assert_wrong(self, command, words, message):
        tool = Tool(TESTS / command, *words)
        self.assert_ends(tool, 2)
        self.assertEqual(tool.messages(), f"{command}: {message}\n")


def main(arguments):
    return TOOLS[arguments[1]]() if arguments[:1] == ["tool"] else unittests.main(arguments)


if __name__ == "__main__":
    run(main)
