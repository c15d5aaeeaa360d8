"""Is a process at work, asleep, or in a busy loop? On a busy machine it may have to wait for a processor: it
then uses no processor time, but it does not sleep either (proc(5): stat, status and schedstat of each
thread)."""
import contextlib
import os
import pathlib
import re
import time
from typing import NamedTuple

from kit import proc


class Activity:
    """Has a process, or a child of it, done anything lately?"""

    def __init__(self, pid):
        self.pid, self.seen, self.since = pid, None, time.monotonic()

    def look(self):
        """Return for how many seconds it has neither run nor wanted to run."""
        now = tasks(self.pid).values()
        done = cpu_seconds(self.pid), sum(task.wanted for task in now)
        if done != self.seen or any(task.running for task in now):
            self.seen, self.since = done, time.monotonic()
        return time.monotonic() - self.since


class Task(NamedTuple):
    """A thread at one moment."""
    running: bool   # or it wants to
    ran: float      # seconds
    wanted: float   # seconds for which it has run, or waited for a processor
    slept: int      # how often it has gone to sleep of its own accord


def tasks(pid):
    """Return the threads of a process and of its children, by their number."""
    found = {}
    for member in family(pid):
        for task in proc.threads(member):
            folder = pathlib.Path(f"/proc/{member}/task/{task}")
            with contextlib.suppress(OSError):
                ran, waited = map(int, (folder / "schedstat").read_text().split()[:2])
                status = (folder / "status").read_text(errors="replace")
                found[task] = Task(
                    re.search(r"^State:\t(.)", status, re.M)[1] in "RD", ran / 1e9, (ran + waited) / 1e9,
                    int(re.search(r"^voluntary_ctxt_switches:\s*(\d+)", status, re.M)[1]))
    return found


def cpu_seconds(pid):
    """Return the processor time that a process and its children have used, also in threads that have ended."""
    ticks = 0
    for member in family(pid):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            ticks += sum(map(int, proc.stat(member)[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


class Restlessness:
    """For how long has a thread run, or wanted to run, without going to sleep? It is in a busy loop if that
    does not end, however little a busy machine lets it run."""

    def __init__(self, pid):
        self.pid, self.begun, self.looked, self.longest = pid, {}, time.monotonic(), 0

    def look(self):
        """Return the longest such time, in seconds. A thread counts from the moment when we first see it."""
        if time.monotonic() - self.looked < 0.2:
            return self.longest
        longest = 0
        for number, task in tasks(self.pid).items():
            begun = self.begun.get(number)
            if begun is None or begun.slept != task.slept:
                self.begun[number] = task
            elif task.ran - begun.ran > 0.5:
                longest = max(longest, task.wanted - begun.wanted)
        self.looked, self.longest = time.monotonic(), longest
        return longest


def children(pid):
    """Return the pids of the children of a process (faster than a look at all processes)."""
    return [int(child) for task in proc.threads(pid)
            for child in proc.read(f"/proc/{pid}/task/{task}/children").split()]


def family(pid):
    """Return the pids of a process and of all its descendants."""
    return [pid, *(member for child in children(pid) for member in family(child))]
