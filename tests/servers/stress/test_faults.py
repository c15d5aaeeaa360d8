"""Does the list of system calls name what a stage is known to call, and nothing else happen?"""
import os
import subprocess
import unittest

from kit import tool, unittests


class List(unittest.TestCase):
    def faults(self, *words):
        run = subprocess.run(tool.module("servers.stress.faults", *words), capture_output=True, text=True, timeout=120)
        self.assertEqual(run.stderr, "")
        return run.returncode, run.stdout.splitlines()

    def test_calls_are_listed_and_no_fault_is_injected(self):
        status, lines = self.faults("--list", "05-epoll")
        self.assertEqual(status, 0)
        self.assertTrue(lines[0].startswith("Calls made while a stage listens"), lines[0])
        called = {}
        for line in lines[1:]:
            name, call, phase = line[:16].strip(), line[16:].split()[0], line.split()[-1]
            called.setdefault(name, set()).add((call, phase))
        self.assertEqual(set(called), {"05-epoll", "05-epoll pool"})  # no line of an outcome
        serving = {(call, "-") for call in ("accept4", "recvfrom", "sendto", "epoll_pwait", "epoll_ctl", "close")}
        self.assertLessEqual(serving | {("rt_sigreturn", "stop")}, called["05-epoll"])
        self.assertNotIn("futex", {call for call, _ in called["05-epoll"]})
        self.assertIn("futex", {call for call, _ in called["05-epoll pool"]})

    def test_other_stages_are_refused(self):
        run = subprocess.run(tool.module("servers.stress.faults", "--list", "99-x"), capture_output=True, text=True,
                             env={**os.environ, "LIKE": ""}, timeout=60)
        self.assertEqual((run.returncode, run.stdout), (2, ""))
        self.assertIn("99-x: want a stage", run.stderr)


if __name__ == "__main__":
    tool.run(unittests.main)
