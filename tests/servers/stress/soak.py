"""Run honest and hostile clients against all six servers simultaneously, for SECONDS, and
against 02 to 06 with a pool of threads.

No honest client may notice the hostile ones. No server may die, grow, keep descriptors or
threads, or be busy when it has no clients. Each has so few descriptors that it runs out of
them now and then. In the end, each is told to stop while clients wait, and must answer
them.
"""
import collections
import pathlib
import re
import resource
import time

from kit import commandline, processes, tool
from kit.commandline import Parser
from kit.processes import Program
from kit.tree import BUILD, STAGES, built
from servers.stress import awaitable


DELAY, POOL_DELAY = 0.5, 0.1  # of /slow; with a pool, a short one: the clients wait for each other
POOL = ["--threads", "8", "--block"]
DESCRIPTORS = 64  # of a server, at most
GROWTH, GROWTH_KB = 1.25, 1024  # memory may grow to 125 %, plus a MiB
STATUSES = "200 400 404 405 408 414 431 501 505".split()

Sample = collections.namedtuple("Sample", "second memory peak descriptors threads cpu")


class Load:
    """A server and what it has to bear."""

    def __init__(self, server, name):
        self.server, self.name = server, name
        self.serial = self.name == "01-blocking"  # its clients wait for each other, so it gets fewer
        self.samples = []
        self.sample(-1)
        self.start = self.samples[0]
        self.right, self.wrong = 0, []  # honest clients: how many got the right answer; what others got
        self.hostile = collections.Counter()  # its columns: connections, 200, ..., wrong
        self.seed = 0
        self.complaints = []  # of the clients, on stderr
        self.busy = []  # the shares of a CPU that the server used when all clients had gone, in percent

    def sample(self, second):
        try:
            status = pathlib.Path(f"/proc/{self.server.pid}/status").read_text()
            memory, peak = (int(re.search(rf"{key}:\s+(\d+)", status)[1]) for key in ("VmRSS", "VmHWM"))
            self.samples.append(Sample(second, memory, max(memory, peak), self.server.descriptors,
                                       self.server.threads, self.server.cpu_seconds))
        except (OSError, TypeError):
            pass  # it has died

    async def ask(self, shots):
        """Send honest requests, and count the right answers."""
        probe = awaitable.Probe(self.server.url, *shots.split(), timeout=60)
        rows = await probe.rows()
        self.complaints += probe.messages().splitlines()
        wrong = [f"{row['path']}: {row['status']} {row['body']}" for row in rows if not awaitable.is_right(row)]
        self.right += len(rows) - len(wrong)
        self.wrong += wrong if rows else ["no request was sent"]

    async def abuse(self, seconds, shots=None):
        """Run hostile clients for some seconds, and honest clients meanwhile."""
        self.seed += 1
        client = Program([BUILD / "hostile", "--seed", self.seed, "--seconds", seconds,
                          "--connections", 3 if self.serial else 60, self.server.url])
        while shots and client.alive:
            await self.ask(shots)
        await awaitable.ended(client)
        names, *rows = client.output().splitlines() or [""]
        for row in rows:
            self.hostile.update(dict(zip(names.split(), map(int, row.split()))))
        self.complaints += client.messages().splitlines()
        if client.process.returncode != 0:
            self.complaints.append(f"hostile: {processes.ending(client.process.returncode)}")
            self.hostile["failed"] += 1

    async def run(self, deadline):
        shots = "4x0:/fast 300:/slow" if self.serial else "20x0:/fast 10x0:/slow 250:/fast 10x400:/fast"
        while time.monotonic() < deadline and self.server.alive:
            await self.abuse(3, shots)
            await awaitable.sleep(1 if self.serial else 0.1)
        for _ in range(3):  # all hang up in the middle of something, which is no reason to be busy
            await self.abuse(1)
            self.busy.append(await awaitable.cpu_share(self.server, 1))

    # ---- the verdict

    def memory(self, begin, end):
        """Return the most memory in a period: what a server holds at one moment depends on its clients."""
        return max((sample.memory for sample in self.samples if begin <= sample.second <= end), default=0)

    def describe(self):
        now = self.samples[-1]
        return (f"{self.name:16} honest {self.right:5}, wrong {len(self.wrong)}; "
                f"hostile {self.hostile['connections']:6}, wrong {self.hostile['wrong']}; "
                f"memory {now.memory:5}, descriptors {now.descriptors:2}, threads {now.threads:2}, "
                f"CPU {now.cpu:.1f}")

    async def judge(self, seconds):
        """Return a list of checks: name, result, details."""
        def settled():
            self.sample(seconds)
            return self.server.alive and self.samples[-1][3:5] == self.start[3:5]

        free = await awaitable.until(lambda: settled() or not self.server.alive, 5) and self.server.alive
        last, hostile, busy = self.samples[-1], self.hostile, max(self.busy)
        early, late = self.memory(0, seconds / 5), self.memory(seconds * 4 / 5, seconds)
        return [
            ("honest clients are served", self.right > 0 and not self.wrong,
             f"{self.right} right, {len(self.wrong)} wrong: {self.wrong[:1]}"),
            ("hostile clients get what they deserve",
             hostile["connections"] > 0 and not hostile["wrong"] and not hostile["failed"],
             f"{hostile['connections']} connections, {hostile['wrong']} wrong: {self.complaints[:1]}"),
            ("it stays alive", self.server.alive, self.server.messages()),
            ("memory does not grow", late <= early * GROWTH + GROWTH_KB,
             f"{early} KiB in the first fifth, {late} in the last"),
            ("descriptors and threads are freed", free,
             f"(descriptors, threads) are {last[3:5]}, and {self.start[3:5]} at the start"),
            ("it is quiet when all clients have gone", busy <= 10, f"{busy:.0f} % of a CPU"),
        ]

    async def drain(self):
        """Tell the server to stop while clients wait: more of them than it has descriptors. Return checks."""
        count, least = (3, 1) if self.serial else (100, 100)
        clients = awaitable.Probe(self.server.url, f"{count}x0:/slow", timeout=30)
        await awaitable.sleep(0.1)
        busy = await awaitable.cpu_share(self.server, 0.3)
        self.server.process.terminate()
        answered = sum(map(awaitable.is_right, await clients.rows()))
        if not await awaitable.ended(self.server, 5):
            awaitable.kill(self.server)
        status = self.server.process.returncode
        return [
            ("it is quiet while its clients wait", busy <= 40, f"{busy:.0f} % of a CPU"),
            ("told to stop, it answers waiting clients", answered >= least, f"{answered} of {count}"),
            ("told to stop, it ends well", status == 0, f"{processes.ending(status)}: {self.server.messages()}"),
        ]


async def watch(loads, begun, seconds):
    """Take samples, and print some of them, six times."""
    shown = second = 0
    while second < seconds:
        await awaitable.sleep(0.5)
        second = int(time.monotonic() - begun)
        for load in loads:
            load.sample(second)
        if second - shown >= seconds // 6:
            shown = second
            for load in loads:
                awaitable.say(f"{second:4} s  {load.describe()}")


def print_table(form, *rows):
    awaitable.say("\n" + "\n".join(form.format(*row) for row in rows))


def print_tables(loads, seconds):
    print_table("{:16} {:>7} {:>5} {:>8} {:>5} {:>7}" + " {:>5}" * (len(STATUSES) - 1),
                ("", "honest", "wrong", "hostile", "wrong", *STATUSES),
                *((load.name, load.right, len(load.wrong), load.hostile["connections"], load.hostile["wrong"],
                   *(load.hostile[status] for status in STATUSES)) for load in loads))
    print_table("{:16} {:>9} {:>9} {:>9} {:>9} {:>11} {:>8} {:>8} {:>7} {:>5}",
                ("memory (KiB)", "1st tenth", "1st fifth", "last 5th", "peak", "descriptors", "at end",
                 "threads", "CPU (s)", "busy"),
                *((load.name, load.memory(0, seconds / 10), load.memory(0, seconds / 5),
                   load.memory(seconds * 4 / 5, seconds), max(sample.peak for sample in load.samples),
                   load.start.descriptors, load.samples[-1].descriptors,
                   max(sample.threads for sample in load.samples), f"{load.samples[-1].cpu:.1f}",
                   f"{max(load.busy):.0f}%") for load in loads))


def conclude(loads, checks):
    failures = [f"{name}: {check}: FAILED: {' '.join(details.split())}"
                for name, check, passed, details in checks if not passed]
    awaitable.say("\n".join(["", *failures]))
    for load in loads:
        if failures and load.complaints:
            awaitable.say("\n".join([f"== clients of {load.name} said", *load.complaints[:12]]))
    awaitable.say(f"{len(checks) - len(failures)} passed, {len(failures)} failed")
    return 1 if failures else 0


def soak(seconds):
    def totals():
        return (f"{int(time.monotonic() - begun):4} s  honest {sum(load.right for load in loads)}, "
                f"hostile {sum(load.hostile['connections'] for load in loads)}")

    async def start(name, delay, *options):
        server = await awaitable.start(name.split()[0], "--delay", delay, "--timeout", "1", *options)
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
        loads.append(Load(server, name))

    async def start_all():
        for stage in STAGES:
            await start(stage, DELAY)
        for stage in STAGES[2:]:
            await start(f"{stage} pool", POOL_DELAY, *POOL)

    async def end(load):
        found = [*await load.judge(seconds), *await load.drain()]
        checks.extend((load.name, *check) for check in found)

    loads, checks = [], []
    awaitable.together([start_all()], lambda: "starting the servers")
    awaitable.say(f"{len(loads)} servers, {DESCRIPTORS} descriptors each, {seconds} s: memory in KiB, CPU in s")
    begun = time.monotonic()
    awaitable.together([watch(loads, begun, seconds), *(load.run(begun + seconds) for load in loads)], totals)
    awaitable.together(map(end, loads), lambda: "stopping the servers while clients wait")
    print_tables(loads, seconds)
    return conclude(loads, checks)


def main(arguments):
    parser = Parser(description=__doc__)
    parser.add_argument("seconds", nargs="?", metavar="SECONDS", type=commandline.whole_number(10, 9999), default=120,
                        help="how long (120)")
    options = parser.parse_args(arguments)
    for program in (*STAGES, "probe", "hostile"):
        built(program)
    return soak(options.seconds)


if __name__ == "__main__":
    tool.run(main)
