"""Make system calls of the servers fail. List the calls that each STAGE makes while it
listens, and inject each error that their manual pages allow, with strace(1). The
server must carry on or, where it cannot, end with one clear line.

An error is injected at these moments:
  first  into the first call after strace has attached
  later  into the fifth call; or, if no thread makes so many (strace counts for each
         thread), into the first call after the same clients were served without errors
  every  into every call for a second
  stop   into every call, and the server is told to stop meanwhile
  start  into a call that the server makes after listen, before it waits for a client

A new server is started for each fault. After the fault, without strace, it must answer
/fast and /slow, use less than a third of a CPU, have no more descriptors and threads
than before, and end with status 0 on SIGTERM. While every call fails, it must not try
again immediately, unless the error asks for that. A fault at the start must either
leave no trace, or end the server with one clear line.

02 to 06 are tried again with a pool of two threads, as "02-threaded pool" and so on.

Short sends are not tried: strace can only pretend them, and bytes would be lost. A
response of 300 bytes always fits into the buffer of an empty socket.
"""
import argparse
import operator
import os
import re
import signal
import tempfile
import time
from collections import Counter
from typing import NamedTuple

from kit import processes, tool
from kit.commandline import Parser
from kit.errors import Failed
from kit.processes import Program
from kit.servers import Server
from kit.tree import STAGES, built
from servers.stress import awaitable


EPILOG = """\
environment:
  ONLY   inject only the faults that match this regular expression, which sees
         STAGE|CALL|ERROR|MOMENT: ONLY='accept4[|]EMFILE'
  LIKE   a stage: any program may be named as STAGE, if it makes the same calls
  LANES  how many servers run simultaneously (20): most of the time, they wait
  BUILD  the folder with the programs (build)"""
OPTIONS = "--delay 0.2 --timeout 1 --verbose".split()
POOLS = {f"{stage} pool": ["--threads", "2", "--block"] for stage in STAGES[2:]}
CODES = dict(zip([*STAGES, *POOLS], "123456cdef"))  # what TABLE calls them

CLIENTS = {  # as shots of the probe
    "good": "5x0:/fast 4x0:/slow 30:/slow 60:/fast 90:/fast 120:/fast 150:/fast".split(),
    # After a 404, the server closes the connection and lingers.
    "mix": "5x0:/nowhere 4x0:/fast 4x0:/slow 40:/fast 80:/nowhere 120:/slow 160:/fast".split(),
    "many": ["100x0:/slow"],  # more memory than there is at the start
}
MOMENTS = {"all": "first later every stop", "ends": "first later"}


class Row(NamedTuple):
    """Errors of a system call, and what they may cause."""
    stages: str   # their numbers; c to f are 03 to 06 with a pool
    calls: str    # "a,b": a or b, whichever the C library uses; "!a": made only because of the error besides;
    #               "?a": not on every processor
    errors: str
    moments: str
    clients: str
    outcome: str  # see below
    besides: str = ""  # an error that is injected all the time

    # "":      at the start: it serves, or ends
    # lossy    clients may get no answer, but the server carries on
    # retried  all clients are served, unless every call fails
    # served   all clients are served
    # ends     the server cannot carry on: one line on stderr, exit status 1


# The listener of 01 and 02 blocks until they are told to stop, so its accept4 does not return EAGAIN. On
# SIGTERM, 06 writes to the eventfd of libev, which cannot fail in these ways, so "stop" is left out there.
# From openat to lseek: the C library reads the time zone for the first line of the log.
# Before each line of the log, poll looks if stderr takes it. With one descriptor, it needs no memory.
# With a pool, 03 to 05 also read and write an eventfd of their own. If a read fails, it stays readable. A
# write really fails with EAGAIN only if it is readable already: if strace pretended that, a wake-up would be
# lost. libev does not look at the result of its write; an eventfd cannot have these errors.
TABLE = """\
123456|accept4,accept|EMFILE ENFILE ENOBUFS ENOMEM ECONNABORTED EINTR EPROTO EPERM|all|good|served
3456|accept4,accept|EAGAIN|all|good|served
123456|accept4,accept|ENETDOWN ENOPROTOOPT EHOSTDOWN ENONET EHOSTUNREACH EOPNOTSUPP ENETUNREACH|all|good|served
123456|accept4,accept|EBADF EINVAL ENOTSOCK|ends|good|ends
123456|recvfrom|EINTR|all|good|retried
3456|recvfrom|EAGAIN|all|good|retried
12|recvfrom|EAGAIN|all|mix|lossy
123456|recvfrom|ECONNRESET ECONNREFUSED ENOMEM ETIMEDOUT ENOTCONN EHOSTUNREACH|all|mix|lossy
123456|sendto|EINTR|all|good|retried
3456|sendto|EAGAIN|all|good|retried
12|sendto|EAGAIN|all|mix|lossy
123456|sendto|EPIPE ECONNRESET ENOBUFS ENOMEM ENOTCONN ETIMEDOUT EHOSTUNREACH|all|mix|lossy
3|pselect6|EINTR ENOMEM|all|good|served
3|pselect6|EBADF EINVAL|ends|good|ends
4|ppoll|EINTR ENOMEM|all|good|served
4|ppoll|EFAULT EINVAL|ends|good|ends
5|epoll_pwait|EINTR ENOMEM|all|good|served
5|epoll_pwait|EBADF EFAULT EINVAL|ends|good|ends
6|epoll_wait,epoll_pwait|EINTR ENOMEM|all|good|served
6|epoll_wait,epoll_pwait|EBADF EFAULT EINVAL|ends|good|ends
56|epoll_ctl|ENOMEM ENOSPC|all|mix|lossy
2|clone3,clone|EAGAIN ENOMEM EPERM|all|good|served
2|mmap|ENOMEM EAGAIN|all|good|served
2|mprotect|ENOMEM|all|good|served
2|madvise|EAGAIN ENOMEM|all|good|served
123456|brk|retval=0|all|many|lossy|mmap:error=ENOMEM
12|setsockopt|ENOMEM ENOBUFS EINVAL|all|mix|lossy
12|clock_nanosleep|EINTR|all|good|retried
12|!clock_nanosleep|EINTR|all|good|served|accept4:error=EMFILE
2|!clock_nanosleep|EINTR|all|good|served|clone3,clone:error=EAGAIN
3|!clock_nanosleep|EINTR|all|good|served|pselect6:error=ENOMEM
4|!clock_nanosleep|EINTR|all|good|served|ppoll:error=ENOMEM
5|!clock_nanosleep|EINTR|all|good|served|epoll_pwait:error=ENOMEM
6|!clock_nanosleep|EINTR|all|good|served|epoll_wait,epoll_pwait:error=ENOMEM
123456|shutdown|ENOTCONN ENOBUFS|all|mix|lossy
123456|close|EINTR EIO ENOSPC EDQUOT|all|mix|lossy
123456|poll|EINTR|all|good|retried
123456|getpeername|ENOTCONN ENOBUFS|all|good|served
12345|write|EIO ENOSPC EPIPE EAGAIN EINTR EDQUOT EFBIG|all|good|served
6|write|EIO ENOSPC EPIPE EAGAIN EINTR EDQUOT EFBIG|first later every|good|served
123456|openat|EMFILE ENFILE ENOMEM EACCES EINTR ENOENT|first|good|served
123456|newfstatat|EACCES ENOMEM|first|good|served
123456|fstat|ENOMEM|first|good|served
123456|read|EIO EINTR EISDIR|first|good|served
123456|lseek|ESPIPE|first|good|served
cdef|accept4,accept|EMFILE ECONNABORTED|all|good|served
cdef|recvfrom|EINTR ECONNRESET|all|mix|lossy
cdef|sendto|EPIPE ECONNRESET|all|mix|lossy
cdef|sendto|EAGAIN|all|good|retried
c|pselect6|EINTR ENOMEM|all|good|served
d|ppoll|EINTR ENOMEM|all|good|served
e|epoll_pwait|EINTR ENOMEM|all|good|served
f|epoll_wait,epoll_pwait|EINTR ENOMEM|all|good|served
ef|epoll_ctl|ENOMEM ENOSPC|all|mix|lossy
cdef|clock_nanosleep|EINTR|all|good|retried
cde|write|EINTR EIO ENOSPC|all|good|served
cdef|read|EINTR EAGAIN|all|good|served
cdef|read|EIO|first later stop|good|served
cdef|close|EIO|all|mix|lossy
"""

# The same for the calls between listen and the first wait for clients. libev does without epoll, and makes a
# pipe if it gets no eventfd. But if epoll_ctl refuses that descriptor, libev says nothing, and never hears of
# a signal or of a job. 06 cannot mend this, so it is left out.
STARTING = """\
56ef|epoll_create1|EMFILE ENFILE ENOMEM|start|good|
5e|epoll_ctl|ENOMEM ENOSPC|start|good|
6cdef|eventfd2|EMFILE ENFILE ENOMEM ENODEV|start|good|
6f|!pipe2,?pipe|EMFILE ENFILE|start|good||eventfd2:error=EMFILE
cdef|mmap|ENOMEM EAGAIN|start|good|
cdef|mprotect|ENOMEM|start|good|
cdef|clone3,clone|EAGAIN ENOMEM EPERM|start|good|
"""

# These calls are left out, for these reasons.
LEFT_OUT = {
    "rt_sigaction": "only EINVAL and EFAULT: a wrong argument",
    "rt_sigprocmask": "only EINVAL and EFAULT: a wrong argument",
    "rt_sigreturn": "returns to where the signal arrived, never an error",
    "restart_syscall": "the kernel resumes the call that strace interrupted when it attached",
    "exit": "never returns",
    "exit_group": "never returns",
    "fcntl": "F_SETFL, in the handler of SIGTERM: only EPERM, for append-only files, and EBADF",
    "set_robust_list": "only EINVAL: a wrong argument",
    "rseq": "EINVAL, EPERM: a wrong argument; the C library ends the process",
    "futex": "locks, and conditions without a time limit: the C library tries again after EINTR and EAGAIN; "
             "a FUTEX_WAKE cannot fail",
    "sched_getaffinity": "the C library counts CPUs to size its arenas, and does without if that fails",
    "munmap": "only ENOMEM, where a mapping would be split: the C library unmaps whole mappings",
}

# The C library decides whether it makes these calls at all. All others in the table must be made.
LIBRARY = "mprotect madvise brk openat newfstatat fstat read lseek".split()


# ---- what a server calls while it listens

class Tracer(Program):
    """strace, attached to a server."""

    def __init__(self, server, *options):
        self.server, self.file = server, tempfile.TemporaryFile()
        number = self.file.fileno()
        super().__init__(["strace", "-f", "-p", server.pid, "-o", f"/dev/fd/{number}", *options],
                         pass_fds=[number])

    def log(self):
        return processes.contents(self.file)

    async def attach(self):
        await awaitable.until(lambda: "attached" in self.messages() or not self.alive, 5)
        if "attached" not in self.messages():
            raise Failed(f"strace did not attach: {' '.join(self.messages().splitlines()[-1:])}")

    async def detach(self):
        """Leave the server to itself. If strace left between the start and the end of a call that it makes
        fail, the call would fail with ENOSYS. So suspend the server first: then no thread is in a call."""
        server = self.server
        server.process.send_signal(signal.SIGSTOP)
        await awaitable.until(
            lambda: not server.alive or self.log().count("--- stopped by SIGSTOP") >= server.threads, 2)
        # Do not stop strace while the server is ending: strace 6.1 would wait forever for a main thread that
        # has ended before the others. It ends with the server.
        if not server.alive:
            await awaitable.ended(self, 1)
        self.process.terminate()
        if not await awaitable.ended(self, 2):
            awaitable.kill(self)
        server.process.send_signal(signal.SIGCONT)


async def start(subject, **arguments):
    """Start a stage, with or without a pool."""
    return await awaitable.start(program_of(subject), *OPTIONS, *POOLS.get(subject, []), **arguments)


def program_of(subject):
    return subject.partition(" ")[0]


async def list_calls(subject, lines):
    """Append a line for each call that a server makes. Return how often one thread made each, at most."""
    server = await start(subject)
    tracer = Tracer(server)
    try:
        await tracer.attach()
        for clients in ("mix", "many", "mix"):
            if clients != "many" or subject not in ("01-blocking", *POOLS):  # there, they take 10 s or more
                await awaitable.Probe(server.url, *CLIENTS[clients]).rows()
        client = awaitable.Probe(server.url, "0:/slow")
        await awaitable.sleep(0.1)
        server.process.terminate()
        await awaitable.must_end(server, 0)
        await awaitable.ended(client)
        await tracer.detach()
    finally:
        awaitable.kill(server)
        awaitable.kill(tracer)
    calls, most = {}, {}
    for (_, name), count in sorted(Counter(re.findall(r"^(\d+) +(\w+)\(", tracer.log(), re.M)).items()):
        calls[name] = calls.get(name, 0) + count
        most[name] = max(most.get(name, 0), count)
    serving = re.findall(r"^\d+ +(\w+)\(", tracer.log().partition("--- SIGTERM")[0], re.M)
    for name in sorted(calls):
        lines.append(f"{subject:16} {name:16} {calls[name]:6}, by one thread at most {most[name]} "
                     f"{'-' if name in serving else 'stop'}")
    return most


async def list_start(subject):
    """Return the calls between listen and the first wait for clients: their names, each with its number."""
    with tempfile.TemporaryFile() as log:
        server = await start(subject, **traced_from_the_start(log))
        awaitable.kill(server)
        text = processes.contents(log)
    counts, found = Counter(), []
    for name in re.findall(rf"^{server.pid} +(\w+)\(", text, re.M):
        counts[name] += 1
        if name in ("pselect6", "ppoll", "epoll_wait", "epoll_pwait"):
            break
        if counts["listen"]:
            found.append((name, counts[name]))
    return found


def traced_from_the_start(log, *options):
    """Return arguments that make start() run the server under strace, which is not its parent (-D)."""
    number = log.fileno()
    os.fchmod(number, 0o666)  # strace opens it once more, perhaps as another user
    return dict(under=["strace", "-D", "-f", "-o", f"/dev/fd/{number}", *options], pass_fds=[number])


# ---- the faults

class Fault(NamedTuple):
    stage: str
    call: str
    error: str
    moment: str
    row: Row
    most: int  # calls by one thread; at the start: which of these calls is meant

    def __str__(self):
        return f"{self.stage:16} {self.call:16} {self.error.split('=')[-1]:13} {self.moment:6}"


def read_table(text, subject):
    """Return the rows that are for a stage; for one with a pool, also those for it without."""
    subject = subject if subject in CODES else os.environ["LIKE"]
    rows = [Row(*line.split("|")) for line in text.splitlines()]
    return [[row for row in rows if CODES[name] in row.stages] for name in (subject, program_of(subject))]


def choose_faults(calls):
    """Return the faults to inject, and lines that say what is wrong with the table."""
    faults, wrong = [], []
    for subject, called in calls.items():
        rows, others = read_table(TABLE, subject)
        known = {name for row in rows + others for name in row.calls.split(",")} | set(LEFT_OUT)
        wrong += [f"{subject:16} {call:16} is called, but not in the table" for call in called
                  if call not in known]
        for row in rows:
            hidden = row.calls.startswith("!")
            names = [name for name in row.calls.strip("!").split(",") if hidden or name in called]
            if not names and (row.calls not in LIBRARY or subject in POOLS):
                wrong.append(f"{subject:16} {row.calls:16} is in the table, but never called")
            faults += [Fault(subject, name, error, moment, row, 0 if hidden else called[name])
                       for name in names for error in row.errors.split()
                       for moment in MOMENTS.get(row.moments, row.moments).split()]
    return faults, wrong


def choose_faults_at_the_start(calls):
    """The same for the start."""
    faults, wrong = [], []
    for subject, called in calls.items():
        for row in read_table(STARTING, subject)[0]:
            wanted = row.calls.strip("!").split(",")
            found = [call for call in called if call[0] in wanted]
            if row.calls.startswith("!"):
                found = [(",".join(wanted), 1)]
            if not found:
                wrong.append(f"{subject:16} {row.calls:16} is in the table, but not called at the start")
            faults += [Fault(subject, name, error, "start", row, number)
                       for name, number in found for error in row.errors.split()]
    return faults, wrong


class Attempt:
    """One fault in one server. The methods fail if the server does not behave."""

    def __init__(self, fault):
        self.fault, self.row = fault, fault.row
        self.server = self.client = self.tracer = None

    async def run(self):
        """Return the result."""
        try:
            await self.prepare()
            return await self.inject()
        finally:
            for program in filter(None, (self.client, self.server, self.tracer)):
                awaitable.kill(program)

    async def prepare(self):
        fault, row = self.fault, self.row
        self.server = await start(fault.stage)
        self.descriptors, self.threads = self.server.descriptors, self.server.threads
        first = {"first": "1", "later": "5", "every": "1+", "stop": "1+"}[fault.moment]
        if fault.call == "close":  # let the C library read and close the file of the time zone
            await awaitable.Probe(self.server.url, "0:/fast").rows()
        if fault.moment == "later" and row.calls.startswith("!"):
            first = "2"
        elif fault.moment == "later" and fault.most < 5:
            first = "1"
            await awaitable.Probe(self.server.url, *CLIENTS[row.clients]).rows()
            await self.settle(0)
        self.tracer = Tracer(self.server, *self.strace_options(first))
        await self.tracer.attach()

    def strace_options(self, when):
        fault, besides = self.fault, self.row.besides
        error = fault.error if "=" in fault.error else f"error={fault.error}"
        traced = ",".join(filter(None, [fault.call, "accept4,?accept", besides.split(":")[0]]))
        return [f"--trace={traced}", f"--inject={fault.call}:{error}:when={when}",
                *([f"--inject={besides}"] if besides else [])]

    def injected(self):
        """Return how many times."""
        names = re.sub(",[?]?", "|", self.fault.call)
        return len(re.findall(rf"(?:{names}).*\(INJECTED\)", self.trace()))

    def trace(self):
        return self.tracer.log()

    def happened(self):
        # Start the same clients again if they did not cause enough calls.
        if self.client is None or not self.client.alive:
            self.client = awaitable.Probe(self.server.url, *CLIENTS[self.row.clients])
        return self.injected() > 0 or not self.server.alive

    async def inject(self):
        """Let the fault happen, and judge the server. Return the result."""
        server, outcome, moment = self.server, self.row.outcome, self.fault.moment
        await awaitable.until(self.happened, 5)
        begun = time.monotonic()
        if moment == "every":
            await awaitable.sleep(1)
        elif moment == "stop":
            await awaitable.sleep(0.1)
            server.process.terminate()
            await awaitable.ended(server, 1)
        elif outcome == "ends":
            await awaitable.ended(server, 3)
        await self.tracer.detach()
        times, seconds = self.injected(), time.monotonic() - begun
        if times == 0:
            raise Failed("was not injected")
        if outcome == "ends":
            return await self.must_end_with_a_line()
        if moment == "stop":
            await awaitable.must_end(server, 0)
        else:
            await self.survive(times, seconds)
        return "ok"

    async def must_end_with_a_line(self):
        await awaitable.must_end(self.server, 1)
        said = [line for line in self.server.messages().splitlines()
                if not re.match(r"[0-9-]*T[0-9:]*Z ", line)]  # of --verbose
        if len(said) != 1 or not said[0].startswith(f"{program_of(self.fault.stage)}: "):
            raise Failed(f"does not say so in one line: {'|'.join(said[:3])}")
        return f"ends: {said[0]}"

    async def survive(self, times, seconds):
        fault, server = self.fault, self.server
        if not server.alive:
            await awaitable.must_end(server, None)
        if self.row.outcome == "served" or (self.row.outcome == "retried" and fault.moment != "every"):
            for row in await self.client.rows():
                if row["status"] != "200":
                    raise Failed(f"a client was let down: {row['path']} {row['status']}")
        awaitable.kill(self.client)
        rows = await awaitable.Probe(server.url, "0:/fast", "0:/slow").rows()
        if len(rows) != 2 or not all(map(awaitable.is_right, rows)):
            raise Failed(f"no right answer afterwards: {[(row['path'], row['status']) for row in rows]}")
        if fault.call == "close" and closes_twice(self.tracer.log()):
            raise Failed("closes a number twice")
        # strace makes a call fail by not making it: what was not closed stays open.
        await self.settle(times if fault.call == "close" else 0)
        if await awaitable.cpu_share(server, 0.3) >= 100 / 3:
            raise Failed("spins afterwards")
        if fault.moment == "every" and times > 250 * seconds and not may_try_again(fault):
            raise Failed(f"spins: {times} calls in {seconds:.1f} s")
        server.process.terminate()
        await awaitable.must_end(server, 0)

    async def settle(self, more):
        """Wait until there are as many threads and descriptors as at the start, plus more descriptors."""
        def held():
            return f"{self.server.descriptors} descriptors and {self.server.threads} threads"

        wanted = f"{self.descriptors + more} descriptors and {self.threads} threads"
        if not await awaitable.until(lambda: held() == wanted):
            raise Failed(f"leaks: {held()} instead of {wanted}")


class AttemptAtTheStart(Attempt):
    """The same between listen and the first wait for clients: strace starts the server."""

    async def prepare(self):
        self.log = tempfile.TemporaryFile()
        traced = traced_from_the_start(self.log, *self.strace_options(self.fault.most))
        self.server = Server(program_of(self.fault.stage), *OPTIONS, *POOLS.get(self.fault.stage, []),
                                 wait=False, **traced)

    def trace(self):
        return processes.contents(self.log)

    async def inject(self):
        server = self.server
        await awaitable.until(lambda: server.listening() and (self.injected() or not server.alive), 5)
        if not self.injected():
            raise Failed("was not injected")
        rows = await awaitable.Probe(server.url, "0:/fast", "0:/slow").rows()
        if len(rows) != 2 or not all(map(awaitable.is_right, rows)):
            return await self.must_end_with_a_line()
        server.process.terminate()
        await awaitable.must_end(server, 0)
        return "ok"


def closes_twice(log):
    """After close has failed, with whatever error, the number may already belong to another connection."""
    closed = set()
    for accepted, closing in re.findall(r"accept4?\b.* = (\d+)$|close\((\d+)", log, re.M):
        if closing in closed:
            return True
        closed = closed | {closing} if closing else closed - {accepted}
    return False


def may_try_again(fault):
    """Return whether the server may try again immediately, for as long as the error persists."""
    if fault.error == "EAGAIN":  # unlike strace, the kernel reports when it makes sense
        return fault.call in ("accept4", "accept", "recvfrom", "sendto", "read")
    return fault.error == "EINTR" or (fault.call in ("accept4", "accept") and fault.error in ("ECONNABORTED", "EPROTO"))


async def examine(fault):
    """Return the result of a fault. A busy machine can spoil an attempt, but it cannot make a broken server
    pass. So try twice more, and say so."""
    besides = f" (besides {fault.row.besides})" if fault.row.besides else ""
    note = besides
    for attempt in (1, 2, 3):
        try:
            kind = AttemptAtTheStart if fault.moment == "start" else Attempt
            return await kind(fault).run() + note
        except (Failed, OSError) as failure:
            problem = str(failure)
            note = f"{besides} (try {attempt + 1}; before: {problem})"
    return f"FAILED: {problem}{besides}"


def examine_all(faults, count):
    """Return the results of all faults, count of them at a time. Print each as soon as those before it are
    there, too."""
    results, numbers, following = {}, iter(range(len(faults))), 0

    async def lane():
        nonlocal following
        for number in numbers:
            results[number] = await examine(faults[number])
            while following in results:
                awaitable.say(f"{faults[following]} {results[following]}")
                following += 1

    awaitable.together([lane() for _ in range(count)], lambda: f"waiting for {faults[following]}".strip())
    return [results[number] for number in range(len(faults))]


# ---- all of it

def parse(arguments):
    def stage(text):
        if text not in STAGES and os.environ.get("LIKE") not in STAGES:
            raise argparse.ArgumentTypeError(f"{text}: want a stage, one of {' '.join(STAGES)}")
        return text

    parser = Parser(description=__doc__, epilog=EPILOG)
    parser.add_argument("stages", nargs="*", metavar="STAGE", type=stage, help="default: all of them")
    parser.add_argument("--list", action="store_true", help="only list the system calls")
    options = parser.parse_args(arguments)
    only, count = os.environ.get("ONLY", ""), os.environ.get("LANES", "20")
    if not re.fullmatch("[1-9][0-9]?", count):
        parser.error(f"LANES={count}: want a number from 1 to 99")
    try:
        options.only, options.lanes = re.compile(only), int(count)
    except re.error as error:
        parser.error(f"ONLY={only}: {error}")
    return options


def list_all(subjects):
    """Print the calls of all servers. Return them, and those at the start."""
    calls, starts, lines = {}, {}, {subject: [] for subject in subjects}

    async def list_one(subject):
        try:
            calls[subject] = await list_calls(subject, lines[subject])
            if subject in CODES:
                starts[subject] = await list_start(subject)
        except Failed as failure:
            raise Failed(f"{subject}, traced and without any fault: {failure}")

    awaitable.say("Calls made while a stage listens (- while it serves, stop: after SIGTERM):")
    awaitable.together(map(list_one, subjects), lambda: "listing the calls")
    awaitable.say("\n".join(line for subject in subjects for line in lines[subject]))
    return {subject: calls[subject] for subject in subjects}, starts


def run(options):
    stages = options.stages or STAGES
    calls, starts = list_all([*stages, *(subject for subject in POOLS if program_of(subject) in stages)])
    if options.list:
        return 0
    faults, wrong = map(operator.add, choose_faults(calls), choose_faults_at_the_start(starts))
    if options.only.pattern:
        faults = [fault for fault in faults if options.only.search("|".join(fault[:4]))]
        wrong = []
    awaitable.say(f"\n{'stage':16} {'call':16} {'error':13} {'when':6} outcome")
    results = examine_all(faults, options.lanes)
    failed = [f"{fault} {result}" for fault, result in zip(faults, results) if result.startswith("FAILED")]
    ended = sum(result.startswith("ends") for result in results)
    awaitable.say("\n".join(["\nWhat failed:", *failed, *wrong, ""] if failed or wrong else []))
    awaitable.say(f"{len(faults)} faults: {len(results) - ended - len(failed)} survived, "
              f"{ended} ended with a message, {len(failed)} failed\n"
              f"{len(faults) - len(failed)} passed, {len(failed + wrong)} failed")
    return 1 if failed or wrong or not faults else 0


def main(arguments):
    options = parse(arguments)
    tool.need("strace", "deps-tools")
    for program in (*(options.stages or STAGES), "probe"):
        built(program)
    return run(options)


if __name__ == "__main__":
    tool.run(main)
