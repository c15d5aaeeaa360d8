"""Where is a thread, as far as /proc tells?"""
import signal
import unittest
from unittest import mock

from kit import proc, processes, tool, unittests
from kit.proc import Place
from kit.processes import Program

ASLEEP = {"status": "Name:\tx\nState:\tS (sleeping)\n", "syscall": "35 0x7 0x2 0x0\n", "wchan": "hrtimer"}


def place(bits_32=False, **files):
    """Return where a thread with these files in its folder is; those of ASLEEP are there unless they are named."""
    files = {**ASLEEP, **files}
    with mock.patch("kit.proc.read", lambda path: files.get(path.rsplit("/", 1)[1], "")), \
            mock.patch("kit.proc.is_32_bit", lambda _: bits_32):
        return proc.place(1, 2)


class Places(unittest.TestCase):
    def test_call_and_its_argument(self):
        self.assertEqual(place(), Place("S", 35, 7))

    def test_function_where_the_call_may_not_be_seen(self):
        for syscall in ["", "-1 0x7f 0x7f\n"]:
            self.assertEqual(place(syscall=syscall), Place("S", function="hrtimer"))
        self.assertEqual(place(syscall="", wchan="0"), Place("S"))

    def test_numbers_of_a_32_bit_process_are_not_ours(self):
        here = place(bits_32=True)
        self.assertEqual(here, Place("S", 35, 7, bits_32=True))
        with mock.patch("kit.call_names.platform.machine", lambda: "x86_64"):
            self.assertEqual([here.call, place().call], ["ftime", "nanosleep"])

    def test_running_thread_is_in_no_call(self):
        self.assertEqual(place(syscall="running\n"), Place("R"))
        self.assertEqual(place(status="State:\tR (running)\n"), Place("R"))

    def test_thread_that_has_ended_is_nowhere(self):
        self.assertIsNone(place(status=""))
        self.assertIsNone(place(status="State:\tZ (zombie)\n", syscall="", wchan="0"))

    def test_sleeping_and_stopped_process_are_told_apart(self):
        with Program(["sleep", "100"]) as program:
            seen = processes.wait_until(lambda: (now := proc.place(program.pid, program.pid)).state == "S" and now)
            self.assertFalse(proc.is_32_bit(program.pid))
            if seen.number is None or not proc.call_names():
                self.skipTest("/proc does not tell in which call a process is blocked")
            self.assertEqual(seen.call, "clock_nanosleep")
            program.process.send_signal(signal.SIGSTOP)
            self.assertTrue(processes.wait_until(lambda: proc.place(program.pid, program.pid).state == "T"))


if __name__ == "__main__":
    tool.run(unittests.main)
