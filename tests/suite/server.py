"""The server that a case tests: start it, watch it through /proc, limit it, end it. What a case does is
written down as commands that a reader can repeat."""
import calendar
import contextlib
import os
import pathlib
import re
import resource
import select
import shlex
import signal
import socket
import time
from dataclasses import dataclass, field
from typing import List, Optional

from kit import measuring, proc, processes, servers, urls
from kit.errors import Failed
from kit.printable import printable
from kit.responses import has_length
from kit.tree import ROOT
from suite import cases
from suite.activity import Activity, Restlessness, children, cpu_seconds, family, tasks
from suite.client import Broken, Client, poll, request

ASLEEP = 1        # seconds without any activity, after which a server has forgotten its client
BUSY = 2          # seconds for which a thread has run, or wanted to, after which it is in a busy loop
PATIENCE = 20     # seconds, after which it is too slow even for a busy machine
MOST_OUTPUT = 16  # MiB that a server may print
MOST_THREADS = 1000
MOST_STACKS = 16  # GiB of address space for them
MANUAL_PORT = 8000

FAST, SLOW = request("/fast"), request("/slow")
FAST_CLOSE, SLOW_CLOSE = request("/fast", "Connection: close"), request("/slow", "Connection: close")


class Failure(Exception):
    """A case does not hold: what was expected, and what came. It is late if it may only have come too late,
    as on a machine that is busy with something else."""

    def __init__(self, expected, got, names=(), late=False):
        super().__init__(got)
        self.expected, self.got, self.late = expected, got, late
        self.names = list(names)  # of cases that failed, or of functions that are not called
        self.did = []             # commands that show it

    def rows(self):
        """Return what a reader is told, each part with its label."""
        return [("did", "\n".join(self.did)), ("expected", self.expected), ("got", self.got)]


class Trouble(Exception):
    """There was no answer, and why."""


class Late(Trouble):
    """The answer did not come in time, though the server does not look as if it had forgotten it."""


class Skipped(Exception):
    """A case cannot be tried here, and why."""


def lines(rows):
    """Return rows as the lines of a report, for a terminal: what a server has sent may be in them."""
    report = []
    for label, text in rows:
        first, *more = map(printable, text.strip().split("\n"))
        if text:
            report += [f"        {label + ':':10}{first}", *(" " * 18 + line for line in more)]
    return report


def stderr_to(descriptor, more=""):
    """Return the arguments of serve for a server whose stderr is this descriptor. more redirects others."""
    return dict(under=["bash", "-c", f'exec "$@" {more}2>&{descriptor}', "bash"], pass_fds=[descriptor])


@contextlib.contextmanager
def packet_pipe():
    """Yield the ends of a pipe in which each write is a packet (pipe(2), O_DIRECT)."""
    reader, writer = os.pipe2(os.O_CLOEXEC | os.O_DIRECT | os.O_NONBLOCK)
    try:
        yield reader, writer
    finally:
        os.close(reader)
        os.close(writer)


def packets(reader):
    """Return what has been written to such a pipe: bytes for each write."""
    found = []
    with contextlib.suppress(BlockingIOError):
        while True:
            found.append(os.read(reader, 4096))
    return found


@contextlib.contextmanager
def full_pipe():
    """Yield a descriptor: a write to it waits, since nobody reads from the other end."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, b"\0")
    os.set_blocking(writer, True)
    try:
        yield writer
    finally:
        os.close(reader)
        os.close(writer)


def allow_descriptors(count):
    """Let this process, and each server that it starts from now on, have so many descriptors and some more. Return
    whether the hard limit allows that."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, count + 200)), hard))
    return hard >= count + 200


@contextlib.contextmanager
def ended_pipe():
    """Yield a descriptor from which there is nothing to read, and never will be."""
    reader, writer = os.pipe()
    os.close(writer)
    try:
        yield reader
    finally:
        os.close(reader)


@dataclass
class Stage:
    """What is tested: a stage, or another program that should behave like one."""
    name: str
    model: str                    # the stage whose model it has
    command: Optional[List[str]]  # None: a server that is already running
    url: Optional[str] = None
    in_tree: bool = False         # a stage in a folder of its own, beside common/
    delay: Optional[float] = None  # of /slow, if the server is already running
    exercise: str = ""            # its name, if this is a stage of the toolkit that the reader has changed
    sanitizer: str = ""           # that the command was built with

    @property
    def kind(self):
        """How it serves its clients: "one" after the other, with "threads", or in a "loop"."""
        return cases.kind(self.model)

    @property
    def one(self):
        return self.kind == "one"

    @property
    def offers(self):
        return cases.STAGE if self.in_tree else cases.URL if self.command is None else cases.PROGRAM

    def shown(self):
        """Return the command as the reader types it."""
        return shlex.join(os.path.relpath(word, ROOT) if word.startswith(str(ROOT)) else word
                          for word in self.command)

    @contextlib.contextmanager
    def serve(self, *options, listens=True, under=(), **popen_arguments):
        """Start it, and wait until it listens. under is a command that starts it, such as prlimit and its
        options."""
        server = Server(self, [str(option) for option in options], list(under), popen_arguments)
        try:
            server.start(listens)
            yield server
            if server.program and not server.program.alive and not server.may_end:
                raise Failure("a server that keeps running", server.ending())
        except (Trouble, Broken) as trouble:
            raise server.explain(Failure(server.expected, server.reason(trouble),
                                         late=isinstance(trouble, Late))) from None
        except (ProcessLookupError, FileNotFoundError):  # what the case wanted to see in /proc has gone
            if server.program is None or server.program.alive:
                raise
            raise server.explain(Failure("a server that keeps running", server.ending())) from None
        except Failure as failure:
            raise server.explain(failure)
        finally:
            server.stop()


@dataclass
class Server:
    """A server that runs, or the one at a URL."""
    stage: Stage
    options: List[str]
    under: List[str]
    popen_arguments: dict
    program: Optional[processes.Program] = None
    url: Optional[str] = None
    expected: str = "an answer"
    may_end: bool = False
    flooded: bool = False                    # by clients that never stop: it may be busy all the time
    did: list = field(default_factory=list)  # commands, and clients
    asked: int = 0                           # how many clients there have been

    # ---- start and stop

    def start(self, listens):
        if self.stage.command is None:
            self.url = urls.reachable(self.stage.url)
            return
        options = self.options if self.stage.in_tree else ["--port", str(MANUAL_PORT), *self.options]
        command = shlex.join([*self.under, *shlex.split(self.stage.shown()), *options])
        self.did.append(f"{command} & server=$!; sleep 0.5")
        if not listens:
            self.program = processes.Program([*servers.UNDER, *self.under, *self.stage.command, *self.options],
                                             **self.popen_arguments)
        elif self.stage.in_tree:
            self._start_stage()
        else:
            self._start_stranger()
        with contextlib.suppress(ProcessLookupError):  # it has ended already
            servers.prlimit(self.program.pid, resource.RLIMIT_FSIZE, (MOST_OUTPUT << 20,) * 2)
            if listens and self.stage.kind == "threads" and self.stage.in_tree and self._size() < 1 << 30:
                servers.prlimit(self.program.pid, resource.RLIMIT_AS, (MOST_STACKS << 30,) * 2)

    def _start_stage(self):
        """A stage says where it listens."""
        name = self.stage.name
        self.expected = f'the line "{name}: listening on http://HOST:PORT"'
        self.program = servers.Server(name, *self.options, program=self.stage.command[0], wait=False,
                                      under=self.under,
                                      **self.popen_arguments)
        try:
            # What starts it may compute before it does: valgrind translates the program.
            self.wait_for(self.program.listening, busy=PATIENCE if self.under else None)
        except Failed:
            raise Trouble(self.ending()) from None
        except Trouble as trouble:
            raise type(trouble)(f'"{printable(self.program.output().strip()[:200])}"; {trouble}') from None
        said = re.match(r"(\S+): listening on http://(\S+):\d+\n", self.program.output())
        host = self.option("--host", "127.0.0.1")
        if not said or said[1] != name or said[2] != (f"[{host}]" if ":" in host else host):
            raise Failure(self.expected, f'"{printable(self.program.output().strip()[:200])}"')
        self.url = self.program.url

    def _start_stranger(self):
        """Another program listens where it is told to."""
        port = urls.free_port()
        places = urls.every_address(f"http://localhost:{port}")
        self.expected = f"a server that listens on port {MANUAL_PORT} of localhost"
        self.program = processes.Program([*servers.UNDER, *self.stage.command, "--port", port, *self.options])

        def accepts():
            return next(filter(urls.connects, places), None)

        try:
            self.url = self.wait_for(accepts, sleeps=5, busy=PATIENCE)  # it may have to be compiled first
        except Trouble:
            others = self.ports()
            if not others:
                raise
            raise Failure(f"a server that listens on the port of --port, here {MANUAL_PORT}",
                          f"it listens on {', '.join(map(str, others))}, not on --port") from None

    def runtime(self):
        """Return the name of the program that runs: node, if it is written for Node."""
        with contextlib.suppress(OSError):  # it has ended
            return pathlib.Path(os.readlink(f"/proc/{self.program.pid}/exe")).name
        return ""

    def ports(self):
        """Return the ports on which it listens, whichever it was told."""
        inodes = {inode for pid in family(self.program.pid) for inode in proc.sockets(pid).values()}
        return sorted({each.local[1] for each in proc.tcp_sockets() if each.listens and each.inode in inodes})

    def stop(self):
        for client in self.clients():
            client.close()
        if self.program:  # gracefully if its coverage is wanted: a killed process writes none
            self.program.stop(patience=2 if "COVERAGE" in os.environ else 0)

    def option(self, name, default):
        return self.options[self.options.index(name) + 1] if name in self.options else default

    # ---- watch

    def wait_for(self, condition, sleeps=0, file=None, busy=None):
        """Wait until condition() is true, and return what it returns, unless patience() says that this is in
        vain. With file, look when something can be read from it."""
        check, step = self.patience(sleeps, busy=busy), 0.001
        while True:
            result = condition()
            if result:
                return result
            try:
                check()
            except (Trouble, ProcessLookupError, FileNotFoundError):
                result = condition()  # it may have answered, and then ended
                if result:
                    return result
                self.expect_alive()
                raise
            if file:
                poll(file, select.POLLIN, 0.1)
            else:
                time.sleep(step)
                step = min(2 * step, 0.02)

    def patience(self, sleeps, lasts=0, busy=None):
        """Return a function to call now and then while we wait for the server. It fails when there is no hope
        any more. sleeps is how long the server may do nothing for good reason, lasts how much longer all may
        take, and busy how much processor time the server may use."""
        start, watch, looked = time.monotonic(), None, 0
        busy = busy or (PATIENCE if "--compute" in self.options or self.flooded else BUSY)

        def check():
            nonlocal watch, looked
            now = time.monotonic()
            waited = now - start
            if waited > PATIENCE + sleeps + lasts:
                raise Late(f"nothing within {waited:.0f} s")
            if self.program is None or self.program.alive and (waited < 0.05 or now - looked < 0.08):
                return
            self.expect_alive()
            looked = now
            if watch is None:
                watch = Activity(self.program.pid), Restlessness(self.program.pid), self.cpu_seconds()
            activity, restless, before = watch
            if activity.look() > sleeps + ASLEEP:
                raise Trouble("nothing: the server sleeps as if there were nothing to do")
            self.expect_few_threads()
            used = self.cpu_seconds() - before
            if used > busy or restless.look() > busy:
                raise Trouble(f"nothing within {waited:.0f} s, and the server never sleeps: a busy loop, "
                              f"which used {used:.1f} s of processor time{self.flood()}")

        return check

    def asleep(self):
        """Return whether it does nothing for a tenth of a second. A busy machine does not make it look so."""
        if self.program is None:
            time.sleep(0.2)
            return True
        activity, start = Activity(self.program.pid), time.monotonic()
        while activity.look() < 0.1:
            if time.monotonic() - start > 0.15:
                return False
            time.sleep(0.02)
        return True

    def cpu_seconds(self):
        """Return the processor time that the server and its children have used."""
        return cpu_seconds(self.program.pid) if self.program else 0

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
            spin = any(before[number].slept == task.slept and
                       (task.running or task.wanted - before[number].wanted > took / 5)
                       for number, task in after.items() if number in before)
            if not spin and used <= took / 5:
                return
        raise Failure(f"a server that sleeps until {until}",
                      f"a busy loop, {self.company()}: it used {used:.2f} s of processor time in {took:.2f} s")

    def company(self):
        """Return in words how many clients are connected."""
        count = sum(not client.over for client in self.clients())
        return f"while {count} client{'s are' if count > 1 else ' is'} connected" if count else \
            "though no client is connected"

    def expect_no_wake_ups(self):
        """Expect that it sleeps for half a second."""
        before = tasks(self.program.pid)
        time.sleep(0.5)
        after = tasks(self.program.pid)
        self.expect_alive()
        times = max((task.slept - before[number].slept for number, task in after.items() if number in before),
                    default=0)
        if times > 2:
            raise Failure("a server that sleeps until something happens",
                          f"it wakes up {times} times in 0.5 s, though nothing happens")

    def expect_few_threads(self):
        """A server that starts threads without end is stopped early. The threads of clients that have left may
        take a while to end."""
        count = self.program.threads if self.program.alive else 0
        clients = sum(not client.over for client in self.clients())
        one_each = self.stage.kind == "threads" and self.stage.in_tree and clients
        if count > (self.asked + 20 if one_each else MOST_THREADS):
            raise Trouble(f"{count} threads for {clients} client{'s' * (clients != 1)}")

    def reason(self, trouble):
        """Return in words why there was no answer. A server that breaks off may be about to die."""
        if re.match("the end of (the|a) .*connection", self.expected) and str(trouble).startswith("nothing"):
            alone = self.stage.kind == "threads" and self.program and self.program.threads == 1
            return "the connection stays open" + (", and no thread serves it" if alone else "") + (
                str(trouble)[len("nothing"):].replace(": the server sleeps", "; the server sleeps"))
        begun = [client.received for client in self.clients() if client.received]
        if begun and str(trouble).startswith("nothing"):
            came = printable(begun[-1][:60].decode(errors="replace"))
            head, found, _ = begun[-1].partition(b"\r\n\r\n")
            if found and not has_length(head):
                return (f'"{came}", without a Content-Length, so it ends with the connection, which stays open: '
                        f"{str(trouble).partition(': ')[2] or trouble}")
            return f'an incomplete response, "{came}", and then {trouble}'
        if isinstance(trouble, Broken) and self.program:
            processes.wait_until(lambda: not self.program.alive, patience=1)
            if not self.program.alive and not self.may_end:
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

    def wait_asleep(self):
        """Wait until its main thread waits for the kernel."""
        self.wait_for(lambda: self.status("State")[0] == "S")

    def expect_alive(self):
        if self.program and not self.program.alive:
            raise Trouble(self.ending())

    def flood(self):
        """Say so if it has printed more than it may. A stage ignores SIGXFSZ, and goes on."""
        most = max(len(self.program.output()), len(self.program.messages()))
        return f" (it printed {MOST_OUTPUT} MiB, and may print no more)" if most >= MOST_OUTPUT << 20 else ""

    def ending(self):
        """Return in words how the server has ended, and its last words."""
        status = self.program.process.returncode
        text = f"the server has ended: {processes.ending(status)}"
        text += self.flood()
        said = (self.program.messages() or self.program.output()).strip().splitlines()
        if "Sanitizer: " in "".join(said):
            return f"{text}\n{reported(self.program.messages(), self.stage.name)}"
        last = [printable(line[:200]) for line in said if "listening on" not in line][-3:]
        return text + "".join(f'\n"{line}"' for line in last)

    def status(self, name, pid=None):
        """Return a value of /proc/PID/status."""
        text = pathlib.Path(f"/proc/{pid or self.program.pid}/status").read_text(errors="replace")
        found = re.search(rf"^{name}:\s*(.*)$", text, re.M)
        return found[1] if found else ""

    def messages(self):
        """Return what it has written to stderr."""
        return self.program.messages()

    def expect_no_message(self):
        """Expect that it has printed nothing but where it listens."""
        if self.program and self.stage.in_tree:
            more = self.program.output().partition("\n")[2]
            for where, said in [("stderr", self.messages()), ("stdout", more)]:
                if said:
                    raise Failure("a server that prints where it listens, and no more",
                                  f'on {where}: "{printable(said.strip()[:200])}"')

    def workers(self):
        """Return the pids of its children."""
        return sorted(children(self.program.pid))

    def wait_workers(self, count, but=()):
        """Wait until it has so many workers, and none of those; return them."""
        self.expected = f"{count} worker{'s' * (count != 1)}" + (", the dead one replaced" if but else "")

        def found():
            workers = self.workers()  # one look: between two, the parent may reap the dead one
            return len(workers) == count and not set(but) & set(workers) and workers

        return self.wait_for(found, sleeps=10)

    # ---- descriptors, and limits

    def descriptors(self, pid=None):
        """Return how many descriptors it has open."""
        return len(os.listdir(f"/proc/{pid or self.program.pid}/fd"))

    def descriptors_at_rest(self):
        """Serve a client, so that it has opened all that it opens for itself. Return how many descriptors it
        has."""
        client = self.client(FAST_CLOSE)
        self.expect(client, "/fast")
        client.end()
        self.wait_asleep()  # it has closed the connection, too
        return self.descriptors()

    def expect_descriptors(self, wanted, or_more=0):
        """Wait until it has so many descriptors open, or, if it may open some for itself, less than so many more."""
        try:
            self.wait_for(lambda: self.descriptors() == wanted or self.descriptors() < wanted + or_more, sleeps=2)
        except Trouble:
            self.expect_alive()
            raise Failure(f"{wanted} open descriptors (ls /proc/$server/fd)",
                          f"{self.descriptors()} of them") from None

    def expect_no_zombies(self, but=5):
        """Expect that it has waited for each child of its that has ended, but for a few. It may do so when the next
        client comes."""
        for _ in range(5):
            states = [self.status("State", pid)[:1] for pid in children(self.program.pid)]
            if states.count("Z") < but:
                return
            self.expect_served()
            self.settle()
        raise Failure("a server that waits for its children",
                      f"{states.count('Z')} zombies: children that have ended")

    def lowest_free_descriptor(self):
        used = set(os.listdir(f"/proc/{self.program.pid}/fd"))
        return next(number for number in range(len(used) + 1) if str(number) not in used)

    def limit(self, what, most):
        """Set a soft resource limit, such as nofile. Return the one before."""
        number = getattr(resource, f"RLIMIT_{what.upper()}")
        before, hard = servers.prlimit(self.program.pid, number)
        servers.prlimit(self.program.pid, number, (most, hard))
        self.did.append(f"prlimit --pid $server --{what}={most}:")
        return before

    def exhaust_descriptors(self):
        """From now on, it can accept no client until one of its descriptors is closed."""
        self.wait_asleep()  # it has opened all that it opens when it starts
        self.limit("nofile", self.lowest_free_descriptor())
        if self.stage.kind != "loop":  # accept may have reserved one before it blocked: for this client
            self.client(FAST_CLOSE).close()

    def limit_threads(self):
        """Leave it room for a dozen more stacks."""
        if self._size() < 1 << 30:  # a sanitizer needs terabytes, and gets no limit
            self.limit("as", self.memory() + (100 << 20))

    def memory(self):
        """Return the size of its address space at rest, in bytes."""
        self.settle()
        return self._size()

    def is_full(self):
        """Is there no room for two more stacks in its address space?"""
        return self._size() > servers.prlimit(self.program.pid, resource.RLIMIT_AS)[0] - (16 << 20)

    def resident(self):
        """Return how much memory it has, in KiB."""
        return int(self.status("VmRSS").split()[0])

    def _size(self):
        """Return the size of its address space in bytes (proc(5), statm)."""
        pages = int(pathlib.Path(f"/proc/{self.program.pid}/statm").read_text().split()[0])
        return pages * resource.getpagesize()

    # ---- signals, and the end

    def signal(self, number, pid=None):
        self.may_end |= pid is None and number in (signal.SIGTERM, signal.SIGINT)
        os.kill(pid or self.program.pid, number)
        clients = self.did and isinstance(self.did[-1], Client)  # which run in the background, and must begin
        self.did.append(f"{'sleep 0.4; ' if clients else ''}kill -{signal.Signals(number).name[3:]} "
                        f"{'$worker' if pid else '$server'}")

    def suspend(self, pid=None):
        """Stop it, or a worker, until SIGCONT, and wait until each thread has stopped: its parent hears of it then."""
        self.signal(signal.SIGSTOP, pid)
        pid = pid or self.program.pid
        processes.wait_until(lambda: all("State:\tT" in proc.read(f"/proc/{pid}/task/{tid}/status")
                                         for tid in proc.threads(pid)))

    def resume(self, pid=None):
        self.signal(signal.SIGCONT, pid)

    def wait_delivered(self, pid=None):
        """Wait until no signal is pending for it. (The kernel delivers a pending signal once, however often
        it was sent.)"""
        self.expected = "a server that lets the signal in"
        self.wait_for(lambda: int(self.status("ShdPnd", pid), 16) == 0, sleeps=5)

    def expect_exit(self, status=0, patience=8):
        """Expect that it ends with this status, or by this signal: -signal.SIGINT."""
        self.may_end = True
        self.expected = f"the end of the server, with {processes.ending(status)}" if status >= 0 else \
            f"the end of the server, {processes.ending(status)}"
        if not processes.wait_until(lambda: not self.program.alive, patience=patience):
            raise Late(f"it still runs after {patience} s: {self.heard()}")
        if self.program.process.returncode != status:
            raise Trouble(self.ending())

    def expect_graceful_exit(self):
        """Tell it to stop, and expect that it does."""
        self.signal(signal.SIGTERM)
        self.expect_exit()

    def heard(self):
        """Return in words what has become of SIGTERM (proc(5), status)."""
        with contextlib.suppress(OSError):
            if int(self.status("ShdPnd"), 16) >> (signal.SIGTERM - 1) & 1:
                return "SIGTERM is pending, since the server blocks it and does not let it in"
            if int(self.status("SigIgn"), 16) >> (signal.SIGTERM - 1) & 1:
                return "it ignores SIGTERM"
        return "it has taken SIGTERM, and goes on"

    # ---- ask

    def client(self, *said, **arguments):
        """Return a new client that has said this. If the server is impatient and this machine was slow, try
        again."""
        host, port = urls.address(self.url)
        hurry, until = float(self.option("--timeout", 10)) < 1, time.monotonic() + PATIENCE
        while True:
            since = time.monotonic()
            self.asked += 1
            client = Client(host, port, self.wait_for, self.asleep, self.settle, **arguments)
            for data in said:
                client.say(data)
            if not hurry or time.monotonic() - since < 0.2:
                self.did.append(client)
                return client
            client.close()
            if time.monotonic() > until:
                raise Skipped("this machine is too slow for a --timeout of less than a second")

    def clients(self):
        return [entry for entry in self.did if isinstance(entry, Client)]

    def read(self, client, sleeps=0, head=False):
        """Return a response. That of a stage has the fields that every response has."""
        response = client.read(sleeps, head)
        if self.stage.in_tree:
            self._check_fields(response)
        return response

    def _check_fields(self, response):
        for name, wanted in [("server", self.stage.name), ("content-type", "text/plain; charset=utf-8"),
                             ("content-length", None), ("date", None)]:
            got = response.fields.get(name)
            if got is None or wanted not in (None, got):
                raise Failure(f"the field {name.title()}: {wanted or '...'} in each response",
                              got or f"{response}, without it")
        try:
            date = time.strptime(response.fields["date"], "%a, %d %b %Y %H:%M:%S GMT")
            right = time.strftime("%a, %d %b %Y %H:%M:%S GMT", date) == response.fields["date"]
        except ValueError:
            right = False
        if not right or abs(calendar.timegm(date) - time.time()) > 60:
            raise Failure("a Date that is now, as in Sun, 06 Nov 1994 08:49:37 GMT",
                          printable(response.fields["date"]) or "an empty Date")

    def expect(self, client, path, sleeps=0, head=False):
        """Expect the right response on a connection. Return it."""
        body = "" if head else f"That was {path[1:]}!"
        self.expected = (f"status 200 and no body for HEAD {path}" if head else
                         f'status 200 and "{body}" for {path}')
        due = time.monotonic() + sleeps
        try:
            response = self.read(client, sleeps, head)
        except Broken as broken:
            if path == "/slow" and time.monotonic() < due:
                raise Broken(f"{broken}, before the delay was over") from None
            raise
        if response.status != 200 or response.body != body:
            raise Failure(self.expected, str(response))
        # if a client only says something after this
        self.expected = "a server that goes on, and a connection that stays open"
        return response

    def expect_status(self, client, status, closes=None):
        """Expect an error on a connection. Return the response."""
        self.expected = f"status {status}"
        response = self.read(client)
        if response.status != status:
            raise Failure(self.expected, str(response))
        if closes is not None and response.closes != closes:
            raise Failure(f"status {status} {'with' if closes else 'without'} Connection: close",
                          shown(response))
        return response

    def expect_closed(self, client, response):
        """Expect that a response says close, and that the connection then ends."""
        if not response.closes:
            raise Failure("a response that says Connection: close", shown(response))
        self.expected = "the end of the connection, after Connection: close"
        client.end()

    def expect_end(self, client, sleeps=0):
        self.expected = "the end of the connection"
        client.end(sleeps)

    def expect_silence(self, clients, expected):
        """Expect that nothing has come, neither a response nor the end."""
        for client in clients:
            if not client.silent():
                came = client.received[:60].decode(errors="replace")
                raise Failure(expected, f'"{printable(came)}"' if came else "the end of the connection")

    def expect_served(self, path="/fast", sleeps=0):
        """Expect that a new client is served."""
        client = self.client(request(path))
        self.expect(client, path, sleeps)
        client.close()

    def expect_refusal(self):
        """Wait until it no longer listens."""
        self.expected = "a server that no longer listens"
        host, port = urls.address(self.url)

        def refused():
            with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as client:
                try:
                    client.connect((host, port))
                except (ConnectionRefusedError, ConnectionResetError):
                    return True
            return False

        self.wait_for(refused, sleeps=5)

    def probe(self, *shots, delay, lasts):
        """Send requests, and expect the right responses. Return a row of the probe for each."""
        self.asked += sum(int((re.match(r"(\d+)x", shot) or [0, 1])[1]) for shot in shots)
        command = shlex.join(["build/probe", self.url, *shots])
        self.did += [command] if command not in self.did else []
        check, seen = self.patience(delay, lasts, busy=PATIENCE), {}

        def watch():
            """The probe itself may be at work: it may have been built with a sanitizer."""
            probes = set(children(os.getpid())) - {self.program and self.program.pid}
            if all(seen.setdefault(pid, Activity(pid)).look() > 0.5 for pid in probes):
                check()

        try:
            rows = measuring.probe(self.url, *shots, timeout=PATIENCE + lasts, watch=watch)
        except Trouble as trouble:
            raise type(trouble)(re.sub("^nothing", "some clients got no answer", str(trouble))) from None
        self.expect_alive()
        lost = [row for row in rows if row["status"] == "-" and "no answer" in row["body"]]
        if lost:
            raise Failure(f"a response to each of {len(rows)} clients",
                          f"{len(lost)} of {len(rows)} clients got {printable(lost[0]['body'])}")
        for row in rows:
            right = f"That was {row['path'][1:]}!"
            if row["status"] != "200" or row["body"] != right:
                got = f"{row['status']} {row['body']}".rstrip(" -")
                raise Failure(f'status 200 and "{right}" for each {row["path"]}',
                              f"no response to a client: {row['body']}" if row["status"] == "-" else got)
        return rows

    @contextlib.contextmanager
    def crowd(self, count, or_until_full=False):
        """Let so many clients connect and say nothing; yield their sockets. This needs as many descriptors. If
        or_until_full, fewer will do: the server accepts none for a second, and its backlog takes none (with musl,
        it has room for 128)."""
        host, port = urls.address(self.url)
        self.asked += count
        self.did.insert(0, f"ulimit -n {count + 100}")
        self.did.append(f"for i in $(seq {count}); do exec {{fd}}<>/dev/tcp/{host}/{MANUAL_PORT}; done")
        allow_descriptors(count)
        with contextlib.ExitStack() as stack:
            sockets = []
            try:
                for _ in range(count):
                    try:
                        connected = socket.create_connection((host, port), timeout=1 if or_until_full else 15)
                    except socket.timeout:
                        if or_until_full:
                            break
                        raise
                    connected.settimeout(15)
                    sockets.append(stack.enter_context(connected))
                yield sockets
            except OSError as error:
                self.settle()
                self.expect_alive()
                raise Trouble(f"connect: {error}") from None

    def burst(self, count, known=False):
        """Let so many clients connect, and ask for /fast, while the server is suspended. If they are known, all
        but one have connected before. Return them."""
        clients = [self.client() for _ in range(count - 1)] if known else []
        if known:
            self.pause(0.05)
        self.suspend()  # else it may see the first clients alone
        clients = [self.client() for _ in range(count - len(clients))] + clients
        for client in clients:
            client.say(FAST)
        self.resume()
        return clients

    def delay(self, delay):
        """Return how long /slow takes. At a URL, that is measured once."""
        if self.stage.command is None and self.stage.delay is None:
            start = time.monotonic()
            self.expect_served("/slow", sleeps=60)
            self.stage.delay = time.monotonic() - start
            self.did.pop()
        return delay if self.stage.command else self.stage.delay

    # ---- what has been done

    def explain(self, failure):
        """Add to a failure the commands that show it, with the port of a server that is started by hand."""
        manual = self.stage.url or f"http://127.0.0.1:{MANUAL_PORT}"
        for number, entry in enumerate(self.did):
            if isinstance(entry, Client):
                last = number == len(self.did) - 1
                if last and entry.steps and isinstance(entry.steps[-1], bytes):
                    entry.steps.append("read")  # else it would leave immediately
                elif last and entry.steps[-1:] == ["fill"]:
                    entry.steps.append("wait:9")
                entry = entry.shown(manual, stays=not last) + ("" if last else " &")
            failure.did.append(entry.replace(self.url or manual, manual))
        times = {line: failure.did.count(line) for line in failure.did}
        failure.did = [f"for i in $(seq {count}); do {line.rstrip(' &')} & done" if count > 1 else line
                       for line, count in times.items()]
        return failure


def shown(response):
    return printable(response.line) + (f", Connection: {printable(response.fields['connection'])}"
                                       if "connection" in response.fields else ", without a field Connection")


# What a report of a sanitizer calls the place where a mistake began.
ORIGINS = (r"freed by thread|previously allocated|Previous (?:atomic )?(?:write|read)|Location is|"
           r"Mutex \w+(?= .*created)")


def reported(report, name):
    """Return the mistake that a report of a sanitizer names, and the lines of the stage's file that it names
    first: that of the mistake, and that where it began."""
    said = re.search(r"(?:ERROR|WARNING): (\w+Sanitizer: .*?)"
                     r"(?: \(pid=\d+\)| on unknown address.*| at pc .*)?$", report, re.M)
    places = [re.sub(r" 0x[0-9a-f]{6,}", "", said[1]) if said else report.strip().partition("\n")[0]]
    parts = re.split(rf"^(?=.*(?:{ORIGINS}))", report, flags=re.M)
    for part in parts[:3]:
        found = re.search(rf"#\d+ (?:0x\w+ in )?(\w+).*?\b({name}/server\.c:\d+)", part)
        head = re.search(rf"({ORIGINS})", part) if part is not parts[0] else None
        if found:
            places.append((f"{head[1]}: " if head else "") + f"{found[2]}, in {found[1]}")
    return "\n".join(dict.fromkeys(places))
