"""Does tests/latency.py tell the truth about servers with a pool, about servers that compute, and about where
their threads are?"""
import pathlib
import subprocess
import unittest
from unittest import mock

from kit import proc, processes, tool, unittests
from kit.processes import Program
from kit.servers import Server
from kit.tree import ROOT
from recorder import blocked

HERE = pathlib.Path(__file__).resolve()

POOLS = {"06-libev --block --threads 2": "2 at a time", "02-threaded --threads 2": "2 at a time",
         "02-threaded --compute": "shares cores", "05-epoll --compute": "serializes"}


def latency(*words):
    run = subprocess.run([ROOT / "tests/latency.py", *words], capture_output=True, text=True, timeout=120)
    return run.returncode, run.stdout, run.stderr


class Latency(unittest.TestCase):
    def may_look(self):
        """Skip a test where even the calls of a process of our own may not be seen."""
        with Program(["sleep", "100"]) as program:
            if not processes.wait_until(lambda: blocked.where(program.pid, program.pid) == "clock_nanosleep"):
                self.skipTest("/proc does not tell in which call a process is blocked, or cc is missing")

    def table(self, *words):
        status, output, errors = latency("--delay", "0.4", *words)
        self.assertEqual((status, errors), (0, ""), output)
        return output.rpartition("threads  verdict\n")[2].splitlines()

    def test_pools_and_computations(self):
        for row, (name, verdict) in zip(self.table(*POOLS), POOLS.items()):
            self.assertTrue(row.startswith(name) and f"  {verdict}" in row, row)

    def test_threads_are_seen(self):
        self.may_look()
        trap, epoll, pool = self.table("trap", "05-epoll", "06-libev --block --threads 3")[:3]
        self.assertTrue(trap.endswith("serializes: clock_nanosleep"), trap)
        self.assertTrue(epoll.endswith("concurrent: epoll_pwait"), epoll)
        self.assertRegex(pool, "3 at a time: epoll_p?wait, clock_nanosleep$")

    def test_server_that_is_running_is_seen(self):
        self.may_look()
        with Server("05-epoll", "--block", "--delay", "0.4") as server:
            status, output, _ = latency(server.url)
        self.assertIn("serializes: clock_nanosleep", output)
        self.assertEqual(status, 0, output)

    def test_wrong_options_of_a_stage_are_refused(self):
        for words in ["05-epoll --port 1", "05-epoll --threads", "05-epoll --threads 2 x"]:
            status, _, errors = latency(words)
            self.assertEqual(status, 2)
            wanted = "want a stage with --block, --compute or --threads N"
            self.assertEqual(errors, f"latency.py: {words}: {wanted}\n")


class Blocked(unittest.TestCase):
    def place(self, files, bits_32=False):
        """Return where a thread is whose files in /proc have these contents."""
        with mock.patch("kit.proc.read", lambda path: files.get(path.rsplit("/", 1)[1], "")), \
                mock.patch("kit.proc.call_names", lambda: {35: "nanosleep"}), \
                mock.patch("kit.proc.is_32_bit", lambda _: bits_32):
            return blocked.where(1, 1)

    def test_what_cannot_be_seen_is_not_said(self):
        asleep = {"status": "Name:\tx\nState:\tS (sleeping)\n"}
        self.assertEqual(self.place({**asleep, "syscall": "35 0x1 0x2\n", "wchan": "hrtimer"}), "nanosleep")
        self.assertEqual(self.place({**asleep, "wchan": "hrtimer"}), "the kernel's hrtimer")
        self.assertEqual(self.place({**asleep, "syscall": "35 0x1 0x2\n", "wchan": "hrtimer"}, bits_32=True),
                         "the kernel's hrtimer")
        self.assertIsNone(self.place({**asleep, "syscall": "36 0x1 0x2\n"}))
        self.assertIsNone(self.place({**asleep, "syscall": "-1 0x1 0x2\n", "wchan": "0"}))
        self.assertIsNone(self.place({}))
        self.assertEqual(self.place({"status": "State:\tR (running)\n", "syscall": "running\n"}), "running")

    def test_a_thread_is_where_it_mostly_is(self):
        samples = blocked.Samples([])
        samples.taken = [(0.0, {(1, 1): "early"}), (1.0, {(1, 1): "poll", (1, 2): "futex"}),
                         (2.0, {(1, 1): "running", (1, 2): "futex", (1, 3): "short"}),
                         (3.0, {(1, 1): "poll", (1, 2): "futex"}), (4.0, {(1, 1): "late"})]
        self.assertEqual(samples.between(0.5, 3.5), ["poll", "futex"])
        self.assertEqual(samples.between(5, 6), [])
        samples.taken.append((5.0, {(1, 1): "poll", (1, 2): None}))
        self.assertEqual(samples.between(4.5, 6), [])

    def test_sentences(self):
        for places, sentence in [(["poll"], "its one thread was in poll"),
                                 (["poll", "futex", "futex"], "its 3 threads were in poll and futex"),
                                 (["a", "b", "c", "running"], "its 4 threads were in a, b and c, or running"),
                                 (["running"], "its one thread was running")]:
            self.assertEqual(blocked.sentence(places), sentence)

    def test_a_process_of_ours_is_64_bit(self):
        self.assertFalse(proc.is_32_bit("self"))


if __name__ == "__main__":
    tool.run(unittests.main)
