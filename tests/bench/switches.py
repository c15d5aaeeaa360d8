"""Measure what a switch costs: to stop in the middle of one function, and to go on in the middle of another. Then
measure 07-coroutines (the solution of the exercise), which makes two for each request, beside 02 and 05: the CPU time
of a /fast, and 10,000 clients that wait for /slow.

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

from bench import peers, scale
from bench.peers import ONE_CORE, report
from bench.results import median
from kit import measuring, tool
from kit.errors import Failed
from kit.servers import Server
from kit.tree import BUILD, built

ROUNDS = 9
DELAY = 5      # of the clients that wait
GOAL = 1.2     # times the CPU time of 05
WAYS = ["call", "assembly", "ucontext", "threads", "python", "send", "task"]
SERVERS = {"02-threaded": "02-threaded", "05-epoll": "05-epoll", "07-coroutines": "assembly/07-coroutines",
           "07-coroutines-ucontext": "ucontext/07-coroutines"}
COROUTINES = ["07-coroutines", "07-coroutines-ucontext"]


# ---- one switch

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
    for program in "switch", "switch-ucontext":
        done = subprocess.run([built(program), str(rounds)], stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode != 0:
            raise Failed(f"{program} failed: exit status {done.returncode}")
        for row in measuring.table(f"way\tns\n{done.stdout}"):
            yield row["way"], float(row["ns"])


def switches(rounds):
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


# ---- 07-coroutines

def start(name, *options):
    return Server(name[:13], *options, program=BUILD / SERVERS[name])


def cost(rounds):
    """The CPU time of a request, as peers.py measures it."""
    os.sched_setaffinity(0, peers.CORES)
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    with peers.started_on(ONE_CORE):
        for name in SERVERS:
            peers.add(name, start(name), "cost")
    print(f"\nCPU time of a /fast: {peers.CLIENTS} clients that keep their connections, {rounds} rounds")
    loads = peers.measure("cost", rounds, "05-epoll", ONE_CORE, 1)
    peers.check(loads, "07-coroutines", "05-epoll", 0, GOAL, f"07-coroutines takes at most {GOAL} times that of 05")


def waits(clients):
    print(f"\n{clients} simultaneous /slow of {DELAY} s")
    for name in SERVERS:
        with start(name, "--delay", DELAY, "--timeout", 300) as server, report.checking(name):
            report.begin(name)
            before = server.cpu_seconds
            found, errors = scale.crowd(server, clients, DELAY, [f"{clients}x0:/slow"], DELAY * 0.85)
            found["cpu_us"] = (server.cpu_seconds - before) / clients * 1e6
            report.end(f"the last {found['late_ms']:.0f} ms late, {found['server_kib']:.1f} KiB and "
                       f"{found['cpu_us']:.0f} us of CPU time for each client, {found['lost']} lost", column=26)
            for metric in "late_ms", "server_kib", "cpu_us", "lost":
                report.figure(name, f"waits_{metric}", f"{found[metric]:.1f}")
            if found["lost"] and name in COROUTINES:  # the kernel may turn clients of 02 away: it accepts too slowly
                report.fail(f"{name}: {found['lost']} answers lost", errors)


def main(arguments):
    parser = report.parser(__doc__, quick="fewer rounds, and 1,000 clients")
    options = parser.parse_args(arguments)
    tool.need("wrk", "deps-peers")
    report.start(parser, options, "switch", "switch-ucontext", "probe", *SERVERS.values())
    switches(3 if options.quick else ROUNDS)
    cost(3 if options.quick else ROUNDS)
    waits(1000 if options.quick else 10000)
    return report.verdict()


if __name__ == "__main__":
    tool.run(main)
