"""The server that is judged: start it, watch it, limit it. What a rung of the ladder does is written down as
commands that the reader can repeat."""
import contextlib
import os
import pathlib
import re
import resource
import shlex
import signal
import socket
import time
from dataclasses import dataclass, field
from typing import List, NamedTuple, Optional

from judging import compiled
from judging.client import Broken, Client, sleep_a_little
from kit import measuring, proc, processes
from kit.errors import Failed
from kit.processes import Program
from kit.servers import Server
from kit.tree import ROOT


ASLEEP = 1        # seconds without any activity, after which a server has forgotten its client
BUSY = 2          # seconds for which a thread has run, or wanted to, after which it is in a busy loop
PATIENCE = 20     # seconds, after which it is too slow even for a busy machine
MOST_OUTPUT = 16  # MiB that a server may print
MOST_THREADS = 1000
MOST_STACKS = 16  # GiB of address space for them
MANUAL_PORT = 8000


class Fell(Exception):
    """A rung is not passed: what was expected, and what came."""

    def __init__(self, expected, got, names=()):
        super().__init__(got)
        self.expected, self.got = expected, got
        self.names = list(names)  # of tests that failed, or of functions that are not called
        self.did = []             # commands that show it


class Trouble(Exception):
    """There was no answer, and why."""


@dataclass
class Judged:
    """What is to be judged."""
    name: str
    like: str                     # the stage whose model it has
    command: Optional[List[str]]  # None: a server that is already running
    url: Optional[str] = None
    in_tree: bool = False         # a stage in a folder of its own, beside common/
    delay: Optional[float] = None  # of /slow, if the server is already running
    exercise: str = ""            # its name, if this is a stage of the toolkit that the reader has changed
    sanitizer: str = ""           # that the command was built with

    @property
    def kind(self):
        """How it serves its clients: one after the other, with threads, or in a loop."""
        return {"01-blocking": "one", "02-threaded": "threads"}.get(self.like, "loop")

    def shown(self):
        """Return the command as the reader types it."""
        return shlex.join(os.path.relpath(word, ROOT) if word.startswith(str(ROOT)) else word
                          for word in self.command)

    @contextlib.contextmanager
    def serve(self, *options):
        """Start it. If the caller's rung is not passed, say what has been done."""
        running = Running(self, [str(option) for option in options])
        try:
            running.start()
            yield running
            if running.program and not running.program.alive and not running.may_end:
                raise Fell("a server that keeps running", running.ending())
        except (Trouble, Broken) as trouble:
            raise running.explain(Fell(running.expected, running.reason(trouble))) from None
        except (ProcessLookupError, FileNotFoundError):  # what the rung wanted to see in /proc has gone
            if running.program is None or running.program.alive:
                raise
            raise running.explain(Fell("a server that keeps running", running.ending())) from None
        except Fell as fell:
            raise running.explain(fell)
        finally:
            running.stop()


class Activity:
    """Has a process, or a child of it, done anything lately? On a busy machine, it may have to wait for a
    processor: it then uses no processor time, but it does not sleep either."""

    def __init__(self, pid):
        self.pid, self.seen, self.since = pid, None, time.monotonic()

    def look(self):
        """Return for how many seconds it has neither run nor wanted to run."""
        states, used, wanted = self.now()
        if (used, wanted) != self.seen or re.search("[RD]", states):
            self.seen, self.since = (used, wanted), time.monotonic()
        return time.monotonic() - self.since

    def now(self):
        """Return the states of its threads; the processor time that they have used, in seconds; and this plus
        the time for which they have waited for a processor."""
        states, ticks, ran, waited = "", 0, 0, 0
        for pid in family(self.pid):
            with contextlib.suppress(OSError):  # it has ended meanwhile
                ticks += sum(map(int, proc.stat(pid)[11:13]))
            for task in pathlib.Path(f"/proc/{pid}/task").glob("*"):
                with contextlib.suppress(OSError):
                    states += proc.stat(f"{pid}/task/{task.name}")[0]
                    times = (task / "schedstat").read_text().split()
                    ran, waited = ran + int(times[0]), waited + int(times[1])
        used = ticks / os.sysconf("SC_CLK_TCK")
        return states, used, (ran + waited) / 1e9


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
        for folder in pathlib.Path(f"/proc/{member}/task").glob("*"):
            with contextlib.suppress(OSError):
                ran, waited = map(int, (folder / "schedstat").read_text().split()[:2])
                status = (folder / "status").read_text(errors="replace")
                found[folder.name] = Task(
                    re.search(r"^State:\t(.)", status, re.M)[1] in "RD", ran / 1e9, (ran + waited) / 1e9,
                    int(re.search(r"^voluntary_ctxt_switches:\s*(\d+)", status, re.M)[1]))
    return found


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
            elif task.ran - begun.ran > 0.1:
                longest = max(longest, task.wanted - begun.wanted)
        self.looked, self.longest = time.monotonic(), longest
        return longest


def family(pid):
    """Return the pids of a process and of all its descendants, faster than proc.family."""
    pids = [pid]
    for path in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            pids += [member for child in path.read_text().split() for member in family(child)]
    return pids


@dataclass
class Running:
    """A server that runs, or the one at a URL."""
    judged: Judged
    options: List[str]
    program: Optional[Program] = None
    url: Optional[str] = None
    expected: str = "an answer"
    may_end: bool = False
    did: list = field(default_factory=list)  # commands, and clients

    # ---- start and stop

    def start(self):
        if self.judged.command is None:
            self.url = self.judged.url
            return
        options = ["--port", MANUAL_PORT, *self.options] if not self.judged.in_tree else self.options
        command = " ".join([self.judged.shown(), *([shlex.join(map(str, options))] if options else [])])
        self.did.append(f"{command} & server=$!; sleep 0.5")
        if self.judged.in_tree:
            self._start_stage()
        else:
            self._start_stranger()
        with contextlib.suppress(ProcessLookupError):  # it has ended already
            resource.prlimit(self.program.pid, resource.RLIMIT_FSIZE, (MOST_OUTPUT << 20,) * 2)
            if self.judged.kind == "threads" and self.judged.in_tree and not self.judged.sanitizer:
                resource.prlimit(self.program.pid, resource.RLIMIT_AS, (MOST_STACKS << 30,) * 2)

    def _start_stage(self):
        """A stage says where it listens."""
        name = self.judged.name
        self.expected = f'the line "{name}: listening on http://127.0.0.1:PORT"'
        self.program = Server(name, *self.options, program=self.judged.command[0], wait=False)
        try:
            self.wait_for(self.program.listening)
        except Failed:
            raise Trouble(self.ending()) from None
        except Trouble as trouble:
            raise Trouble(f'"{self.program.output().strip()[:200]}"; {trouble}') from None
        said = re.match(r"(\S+): listening on http://127\.0\.0\.1:\d+\n", self.program.output())
        if not said or said[1] != name:
            raise Fell(self.expected, f'"{self.program.output().strip()[:200]}"')
        self.url = self.program.url

    def _start_stranger(self):
        """Another program listens where it is told to."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.expected = f"a server that listens on port {MANUAL_PORT}"
        self.program = Program([*self.judged.command, "--port", port, *self.options])

        def accepts():
            with socket.socket() as client:
                return client.connect_ex(("127.0.0.1", port)) == 0

        self.wait_for(accepts, sleeps=5, busy=PATIENCE)  # it may have to be compiled first

    def stop(self):
        for client in self.clients():
            client.close()
        if self.program:
            self.program.stop(patience=0)

    # ---- watch

    def wait_for(self, condition, sleeps=0, busy=BUSY):
        """Wait until condition() is true, unless patience() says that this is in vain."""
        check, start = self.patience(sleeps, busy=busy), time.monotonic()
        while not condition():
            check()
            time.sleep(0.005 if time.monotonic() - start < 0.1 else 0.03)

    def patience(self, sleeps, lasts=0, busy=BUSY):
        """Return a function to call now and then while we wait for the server. It fails when there is no hope
        any more. sleeps is how long the server may do nothing for good reason, lasts how much longer all may
        take, and busy how much processor time the server may use."""
        start, before = time.monotonic(), self.cpu_seconds()
        activity = Activity(self.program.pid) if self.program else None
        restless = Restlessness(self.program.pid) if self.program else None

        def check():
            waited = time.monotonic() - start
            if waited > PATIENCE + sleeps + lasts:
                raise Trouble(f"nothing within {waited:.0f} s")
            if activity is None or waited < 0.05 and self.program.alive:
                return
            self.expect_alive()
            if activity.look() > sleeps + ASLEEP:
                raise Trouble("nothing: the server sleeps as if there were nothing to do")
            self.expect_few_threads()
            used = self.cpu_seconds() - before
            if used > busy or restless.look() > busy:
                raise Trouble(f"nothing within {waited:.0f} s, and the server never sleeps: a busy loop, "
                              f"which used {used:.1f} s of processor time")

        return check

    def asleep(self):
        """Return whether it does nothing for a tenth of a second. A busy machine does not make it look so."""
        if self.program is None:
            return sleep_a_little()
        activity, start = Activity(self.program.pid), time.monotonic()
        while activity.look() < 0.1:
            if time.monotonic() - start > 0.15:
                return False
            time.sleep(0.02)
        return True

    def cpu_seconds(self):
        """Return the processor time that the server and its children have used."""
        return Activity(self.program.pid).now()[1] if self.program else 0

    def expect_no_busy_loop(self, seconds, until="it has something to do"):
        """Expect that it sleeps. It may still be finishing something, so look several times. A busy loop
        never ends, and never sleeps of its own accord, however rarely a busy machine lets it run."""
        if self.program is None:
            time.sleep(seconds)
            return
        for _ in range(10):
            start, before = time.monotonic(), tasks(self.program.pid)
            time.sleep(seconds)
            self.expect_alive()
            self.expect_few_threads()
            took, after = time.monotonic() - start, tasks(self.program.pid)
            used = sum(task.ran - before[number].ran for number, task in after.items() if number in before)
            spin = any(before[number].slept == task.slept and (task.running or task.ran > before[number].ran)
                       for number, task in after.items() if number in before)
            if not spin and used <= took / 5:
                return
        raise Fell(f"a server that sleeps until {until}",
                   f"a busy loop: it used {used:.2f} s of processor time in {took:.2f} s")

    def expect_no_wake_ups(self, seconds):
        """Expect that it sleeps all the time."""
        before = tasks(self.program.pid)
        time.sleep(seconds)
        after = tasks(self.program.pid)
        self.expect_alive()
        times = max((task.slept - before[number].slept for number, task in after.items() if number in before), default=0)
        if times > 2:
            raise Fell("a server that sleeps until something happens",
                       f"it wakes up {times} times in {seconds} s, though nothing happens")

    def expect_few_threads(self):
        """A server that starts threads without end is stopped early."""
        count = self.program.threads if self.program.alive else 0
        clients = sum(not client.over for client in self.clients())
        one_each = self.judged.kind == "threads" and self.judged.in_tree and clients
        most = clients + 20 if one_each else MOST_THREADS
        if count > most:
            raise Trouble(f"{count} threads for {clients} client{'s' * (clients != 1)}")

    def reason(self, trouble):
        """Return in words why there was no answer. A server that breaks off may be about to die."""
        if re.match("the end of (the|a) .*connection", self.expected) and str(trouble).startswith("nothing"):
            alone = self.judged.kind == "threads" and self.program and self.program.threads == 1
            return "the connection stays open" + (", and no thread serves it" if alone else "") + (
                str(trouble)[len("nothing"):].replace(": the server sleeps", "; the server sleeps"))
        if isinstance(trouble, Broken) and self.program:
            processes.wait_until(lambda: not self.program.alive, patience=0.2)
            if not self.program.alive:
                return f"{trouble}\n{self.ending()}"
        return str(trouble)

    def pause(self, seconds):
        """Do nothing, and let the server do all that it has to do."""
        time.sleep(seconds)
        self.settle()
        self.expect_alive()
        self.expect_few_threads()

    def settle(self):
        """Wait until the server has nothing left to do, unless it is in a busy loop."""
        for _ in range(20):
            if self.asleep():
                break

    def expect_alive(self):
        if self.program and not self.program.alive:
            raise Trouble(self.ending())

    def ending(self):
        """Return in words how the server has ended, and its last words."""
        status = self.program.process.returncode
        text = f"the server has ended: {processes.ending(status)}"
        if status == -signal.SIGXFSZ:
            text += f" (it printed more than {MOST_OUTPUT} MiB)"
        said = (self.program.messages() or self.program.output()).strip().splitlines()
        if "Sanitizer: " in "".join(said):
            return f"{text}\n{compiled.place(self.program.messages(), self.judged.name)}"
        last = [line[:200] for line in said if "listening on" not in line][-3:]
        return text + "".join(f'\n"{line}"' for line in last)

    # ---- limit

    def limit(self, what, number, most):
        """Set a resource limit, soft and hard."""
        resource.prlimit(self.program.pid, number, (most, resource.prlimit(self.program.pid, number)[1]))
        self.did.append(f"prlimit --pid $server --{what}={most}:")

    def memory(self):
        """Return the size of its address space at rest, in bytes (proc(5), statm)."""
        self.settle()
        pages = int(pathlib.Path(f"/proc/{self.program.pid}/statm").read_text().split()[0])
        return pages * resource.getpagesize()

    def lowest_free_descriptor(self):
        used = set(os.listdir(f"/proc/{self.program.pid}/fd"))
        return next(number for number in range(len(used) + 1) if str(number) not in used)

    def signal(self, number):
        self.program.process.send_signal(number)
        clients = self.did and isinstance(self.did[-1], Client)  # which run in the background, and must begin
        self.did.append(f"{'sleep 0.4; ' if clients else ''}kill -{signal.Signals(number).name[3:]} $server")

    def expect_exit(self):
        """Expect that it ends with status 0."""
        self.may_end, self.expected = True, "the end of the server, with exit status 0"
        if not processes.wait_until(lambda: not self.program.alive, patience=8):
            raise Trouble(f"it still runs after 8 s: {self.heard()}")
        if self.program.process.returncode != 0:
            raise Trouble(self.ending())

    def heard(self):
        """Return in words what has become of SIGTERM (proc(5), status)."""
        with contextlib.suppress(OSError):
            status = pathlib.Path(f"/proc/{self.program.pid}/status").read_text(errors="replace")
            pending = int(re.search(r"^ShdPnd:\s*(\w+)", status, re.M)[1], 16)
            if pending >> (signal.SIGTERM - 1) & 1:
                return "SIGTERM is pending, since the server blocks it and does not let it in"
        return "it has taken SIGTERM, and goes on"

    # ---- ask

    def client(self, **arguments):
        """Return a new client."""
        host, _, port = self.url.rstrip("/").partition("://")[2].rpartition(":")
        client = Client(host.strip("[]"), int(port), self.wait_for, self.asleep, self.settle, **arguments)
        self.did.append(client)
        return client

    def clients(self):
        return [entry for entry in self.did if isinstance(entry, Client)]

    def expect(self, client, path, sleeps=0):
        """Expect the right response on a connection. Return it."""
        self.expected = f'status 200 and "That was {path[1:]}!" for {path}'
        response = client.read(sleeps)
        if response.status != 200 or response.body != f"That was {path[1:]}!":
            raise Fell(self.expected, str(response))
        return response

    def expect_served(self, path="/fast", sleeps=0):
        """Expect that a new client is served."""
        self.expected = f"a response to {path}"
        client = self.client()
        client.get(path)
        self.expect(client, path, sleeps)
        client.close()

    def probe(self, *shots, delay, lasts):
        """Send requests, and expect the right responses. Return a row of the probe for each."""
        command = shlex.join(["build/probe", self.url, *shots])
        self.did += [command] if command not in self.did else []
        watch = self.patience(delay, lasts, busy=PATIENCE)
        try:
            rows = measuring.probe(self.url, *shots, timeout=PATIENCE + lasts, watch=watch)
        except Trouble as trouble:
            raise Trouble(re.sub("^nothing", "some clients got no answer", str(trouble))) from None
        self.expect_alive()
        lost = [row for row in rows if row["status"] == "-" and "no answer" in row["body"]]
        if lost:
            raise Fell(f"a response to each of {len(rows)} clients",
                       f"{len(lost)} of {len(rows)} clients got {lost[0]['body']}")
        for row in rows:
            right = f"That was {row['path'][1:]}!"
            if row["status"] != "200" or row["body"] != right:
                got = f"no response to a client: {row['body']}"
                raise Fell(f'status 200 and "{right}" for each {row["path"]}',
                           got if row["status"] == "-" else f'{row["status"]} {row["body"]}'.rstrip(" -"))
        return rows

    @contextlib.contextmanager
    def crowd(self, count):
        """Let so many clients connect and say nothing. This needs as many descriptors."""
        host, _, port = self.url.partition("://")[2].rpartition(":")
        self.did.insert(0, f"ulimit -n {count + 100}")
        self.did.append(f"for i in $(seq {count}); do exec {{fd}}<>/dev/tcp/{host}/{MANUAL_PORT}; done")
        with contextlib.ExitStack() as stack:
            try:
                for _ in range(count):
                    stack.enter_context(socket.create_connection((host, port), timeout=5))
            except OSError as error:
                self.settle()
                self.expect_alive()
                raise Trouble(f"connect: {error}") from None
            yield

    def burst(self, count, known=False):
        """Let so many clients connect, and ask for /fast, while the server is suspended. If they are known,
        they have connected before. Return them."""
        clients = [self.client() for _ in range(count)] if known else []
        if known:
            self.pause(0.05)
        self.signal(signal.SIGSTOP)
        processes.wait_until(lambda: proc.stat(self.program.pid)[0] == "T")  # else it may see the first clients alone
        clients = clients or [self.client() for _ in range(count)]
        for client in clients:
            client.get("/fast")
        self.signal(signal.SIGCONT)
        return clients

    def delay(self, delay):
        """Return how long /slow takes. At a URL, that is measured once."""
        if self.judged.command is None and self.judged.delay is None:
            start = time.monotonic()
            self.expect_served("/slow", sleeps=60)
            self.judged.delay = time.monotonic() - start
            self.did.pop()
        return delay if self.judged.command else self.judged.delay

    # ---- what has been done

    def explain(self, fell):
        """Add to a failure the commands that show it, with the port of a server that is started by hand."""
        manual = self.judged.url or f"http://127.0.0.1:{MANUAL_PORT}"
        for number, entry in enumerate(self.did):
            if isinstance(entry, Client):
                last = number == len(self.did) - 1
                if last and entry.steps[-1:] and entry.steps[-1].startswith("/"):
                    entry.steps.append("read")  # else it would leave immediately
                elif last and entry.steps[-1:] == ["fill"]:
                    entry.steps.append("wait:9")
                entry = entry.shown(manual, stays=not last) + ("" if last else " &")
            fell.did.append(entry.replace(self.url or manual, manual))
        times = {line: fell.did.count(line) for line in fell.did}
        fell.did = [f"for i in $(seq {count}); do {line.rstrip(' &')} & done" if count > 1 else line
                    for line, count in times.items()]
        return fell
