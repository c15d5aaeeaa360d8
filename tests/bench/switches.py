"""Measure what a switch costs: to stop in the middle of one function, and to go on in the middle of another.

  call      a function call in C, there or back: the least that there is
  assembly  two stacks, by the instructions in tests/judging/stack.h
  ucontext  the same two stacks, by swapcontext, which also sets the mask of signals: a system call
  threads   two threads on one core, which wake each other by semaphores: the kernel chooses the next
  python    a function call in Python, there or back
  send      a coroutine of Python: send, to the next await, and back
  task      two tasks of asyncio that take turns (await asyncio.sleep(0)): each switch goes through the loop

All times are CPU time, that of the kernel included, for one way: half of the way there and back.

Exit status: 0; 1 if something could not be measured, 2 for a bad command line."""
import asyncio
import itertools
import os
import platform
import subprocess
import time

from bench.measured import median
from kit import measuring, tool
from kit.errors import Failed
from kit.report import Report
from kit.tree import built

ROUNDS = 9
WAYS = ["call", "assembly", "ucontext", "threads", "python", "send", "task"]

report = Report("way", "metric", "value", "least", "most")


class Pause:
    def __await__(self):
        yield


def function():
    pass


def python_call(count):
    for _ in itertools.repeat(None, count):
        function()


def send(count):
    async def forever():
        pause = Pause()
        while True:
            await pause

    coroutine = forever()
    for _ in itertools.repeat(None, count):
        coroutine.send(None)
    coroutine.close()


def task(count):
    async def take_turns():
        for _ in itertools.repeat(None, count):
            await asyncio.sleep(0)

    async def two():
        await asyncio.gather(take_turns(), take_turns())

    asyncio.run(two())


def in_python(rounds):
    """Return (way, ns) for each way and round."""
    os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
    for _ in range(rounds):
        for way, function_, count in ("python", python_call, 1000000), ("send", send, 300000), ("task", task, 30000):
            begun = time.process_time()
            function_(count)
            yield way, (time.process_time() - begun) * 1e9 / (2 * count)


def in_c(rounds):
    for program in "switches", "switches-ucontext":
        done = subprocess.run([built(program), str(rounds)], stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode != 0:
            raise Failed(f"{program} failed: exit status {done.returncode}")
        for row in measuring.table(f"way\tns\n{done.stdout}"):
            yield row["way"], float(row["ns"])


def main(arguments):
    parser = report.parser(__doc__, quick="three rounds of each")
    options = parser.parse_args(arguments)
    report.start(parser, options, "switches", "switches-ucontext")
    rounds = 3 if options.quick else ROUNDS
    report.begin("Measuring")
    found = {}
    for way, ns in [*in_c(rounds), *in_python(rounds)]:
        found.setdefault(way, []).append(ns)
    report.end()
    print(f"\none switch, CPU time; medians of {rounds} rounds (Python {platform.python_version()})\n"
          f"{'way':<10} {'':>10}   relative to a call")
    report.figure("python", "version", platform.python_version())
    for way in WAYS:
        if way not in found:
            report.say(f"{way}: not measured: this processor has no instructions for it in stack.h")
            continue
        ns = sorted(found[way])
        ratio = median(ns) / median(found["call"])
        report.figure(way, "switch_ns", f"{median(ns):.2f}", f"{ns[0]:.2f}", f"{ns[-1]:.2f}")
        report.figure(way, "switch_ratio", f"{ratio:.1f}")
        print(f"{way:<10} {median(ns):>7.1f} ns   {ratio:>10.1f} x")
    return report.verdict()


if __name__ == "__main__":
    tool.run(main)
