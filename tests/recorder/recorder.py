"""Start a server under strace, or attach strace to one that is running; ask it; return the log as text.

strace runs as a grandchild of ours (-D), so that the server is our own child: our signals reach it, and it
ends when we do. (A server that strace had started would go on when strace is killed.) strace itself ends
after the last process that it follows.
"""
import contextlib
import functools
import itertools
import os
import re
import shlex
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from typing import List, Optional

from kit import measuring, proc, processes, tool, urls
from kit.errors import Failed
from kit.printable import printable
from kit.processes import Program
from kit.servers import Server
from kit.tree import ROOT, built
from recorder import next_steps, strace_log, symbols


STRACE = ["strace", "-f", "-ttt", "-T", "-y", "-s", "256"]
LARGE = 20000000           # bytes of a program: see _stack_option
INTERPRETER = re.compile(r"python|pypy|node|ruby|perl|php|java|beam|lua|(ba|da|z)?sh$")
MARK = "X-Recorded"        # a field of our requests
QUIET, FEW = 0.25, 5000    # a server that adds few bytes to the log for so many seconds is at rest


# ---- may we trace?

def check():
    """Fail, with advice, if this process may not trace what it starts."""
    tool.need("strace", "deps-tools")
    tried = subprocess.run(["strace", "-D", "-o", "/dev/null", "true"], capture_output=True, text=True)
    if tried.returncode != 0 or "strace:" in tried.stderr:
        raise Failed(f"strace may not trace here ({_last_line(tried.stderr)}). {advice()}")


def _last_line(text):
    return (text.strip().splitlines() or ["it says nothing"])[-1].replace("strace: ", "")


def advice(attach=False):
    """How to allow what is forbidden."""
    scope = int(proc.read("/proc/sys/kernel/yama/ptrace_scope") or 0)
    allowed = 0 if attach else 1
    if proc.tracer(os.getpid(), os.getpid()):
        return "This program is itself being traced, by strace or a debugger. Start it without."
    if scope == 3:
        return "kernel.yama.ptrace_scope is 3, which forbids all tracing until the next boot."
    if scope > allowed:
        return (f"kernel.yama.ptrace_scope is {scope}. Use sudo, or allow it: "
                f"sudo sysctl kernel.yama.ptrace_scope={allowed}")
    if attach:
        return "To trace a process of another user, use sudo."
    return "To allow it in a container: docker run --cap-add SYS_PTRACE ..."


@functools.lru_cache(maxsize=None)
def _namespace_option():
    """Return the option with which strace tells of a process in another PID namespace, such as a container's, by the
    number that it prints elsewhere; if this strace has it."""
    option = ["--pidns-translation"]
    tried = subprocess.run(["strace", *option, "-o", "/dev/null", "true"], capture_output=True)
    return option if tried.returncode == 0 else []


def _stack_option(program):
    """Return -k if this strace has it and the program knows the names of its functions. The stack of an
    interpreter takes milliseconds to follow, and leads to no line of the reader's."""
    try:
        with open(program, "rb") as file:
            data = file.read(LARGE + 1)
    except OSError:
        return []
    if not data.startswith(b"\x7fELF") or b"\0.symtab\0" not in data or len(data) > LARGE or \
            INTERPRETER.match(os.path.basename(os.path.realpath(program))):
        return []
    tried = subprocess.run(["strace", "-k", "-o", "/dev/null", "true"], capture_output=True, text=True)
    return ["-k"] if tried.returncode == 0 and not tried.stderr else []


# ---- what is recorded

@dataclass
class Requests:
    """What is asked: shots for the probe, and the routes that the verdict is about."""
    shots: List[str]
    slow: str = "/slow"
    fast: str = "/fast"
    timeout: Optional[float] = None
    mark: str = ""  # each request has it, so that the requests of other clients are not taken for ours


def stage(name, delay, requests):
    """Record a stage, or the trap."""
    name, *flags = ["06-libev", "--block"] if name == "trap" else [name]
    options = ["--delay", f"{delay:g}", *flags]
    log = _new_log()
    server = Server(name, *options, under=_strace(log, built(name)))
    rows, cpu = _ask(server.url, requests, delay, log, [server.pid])
    server.stop()
    _wait_for_strace(log)
    title, folder = " ".join([name, *flags]), os.environ.get("BUILD", "build")
    return _compose(log, requests, rows, title, f"{folder}/{' '.join([name, *options])}", server.url, cpu)


def command(url, words, title, patience, requests):
    """Start a command that answers at url within patience, in seconds, and record it."""
    requests.mark = os.urandom(4).hex()
    program = shutil.which(words[0])
    if program is None:
        raise Failed(f"{words[0]}: no such command")
    if urls.connects(url):
        raise Failed(f"{url}: something is listening there already. Stop it, or leave out the command")
    log = _new_log()
    server = Program([*_strace(log, program), *words], stdin=subprocess.DEVNULL)
    _wait_for_answer(url, requests.fast, patience, server, log)
    rows, cpu = _ask(url, requests, 30, log, [server.pid])
    server.stop()
    _wait_for_strace(log)
    return _compose(log, requests, rows, title, shlex.join(words), url, cpu)


def process(url, pid, title, requests):
    """Record a process that is running, with its threads and the processes that it has started."""
    if not urls.connects(url):
        raise Failed(f"{url}: nothing is listening. To start a server: {tool.name()} {url} -- COMMAND")
    requests.mark = os.urandom(4).hex()
    listeners = listening(url)
    pids = _serving(url, listeners) if pid is None else [pid]
    ours = proc.family(os.getpid())
    pids = [pid for pid in dict.fromkeys(sum(map(proc.family, pids), [])) if pid not in ours]
    log = _new_log()
    header = [line for pid in pids for line in _what_it_has(pid, listeners)]
    strace, threads = _attach(pids, log)
    header += [f"thread: {tid} of {pid}" for tid, pid in threads]
    header += [f"name: {tid} is {proc.name(pid, tid)}" for tid, pid in threads]
    rows, cpu = _ask(url, requests, 30, log, pids, patience=1)
    processes.stop(strace)  # it detaches, and the process goes on
    command = proc.command(pids[0])
    return _compose(log, requests, rows, title or command, command, url, [*header, *cpu])


def _what_it_has(pid, listeners):
    """Lines for the header about a process that was running before."""
    yield f"program: {pid} is {proc.command(pid)}"
    known = {each.inode: each for each in proc.tcp_sockets()}
    for fd, inode in proc.sockets(pid).items():
        nonblocking = " nonblocking" * proc.is_nonblocking(pid, fd)
        if inode in listeners:
            yield f"listener: {fd} of {pid}{nonblocking}"
        elif inode in known:
            here, there = (proc.written(address) for address in (known[inode].local, known[inode].peer))
            what = f"listens at {here}" if known[inode].listens else f"is {here}->{there}"
            yield f"socket: {fd} of {pid} {what}{nonblocking}"
    for fd, watched in proc.epolls(pid).items():
        yield f"epoll: {fd} of {pid} watches {' '.join(map(str, watched))}"
    for tid in proc.threads(pid):
        place = proc.place(pid, tid)
        if place and place.call:
            yield f"inside: {tid} is in {place.call}"


def _attach(pids, log):
    """Attach strace to processes. Return it, and a list of (thread, process)."""
    program = f"/proc/{pids[0]}/exe"
    threads = [(tid, pid) for pid in pids for tid in proc.threads(pid)]
    alive = [(tid, pid) for tid, pid in threads if proc.place(pid, tid)]  # a main thread may have ended before others
    first = {pid: tid for tid, pid in reversed(alive)}
    words = [word for pid in pids for word in ("-p", first.get(pid, pid))]
    strace = processes.start([*STRACE, "-q", *_namespace_option(), *_stack_option(program), "-o", log, *words],
                             stderr=subprocess.PIPE, text=True)
    processes.wait_until(lambda: strace.poll() is not None or all(proc.tracer(*thread) for thread in alive))
    if strace.poll() is not None:
        raise Failed(f"strace cannot attach ({_last_line(strace.stderr.read())}). {advice(attach=True)}")
    return strace, threads


def _new_log():
    return tool.scratch() / f"strace-{os.urandom(4).hex()}"


def _strace(log, program):
    return [STRACE[0], "-D", *STRACE[1:], *_namespace_option(), *_stack_option(program), "-o", log]


def _wait_for_strace(log):
    """Wait until strace has written everything and has ended."""
    processes.wait_until(lambda: not proc.users_of(log), 5)


# ---- asking

def _ask(url, requests, delay, log, pids, patience=5):
    """Send the requests when the server has come to rest, or after patience, in seconds: others may be asking it.
    Return the rows of the probe, and lines for the header: when each thread had a processor, and what an epoll watched
    that was told so in no call."""
    sizes = []  # of the log

    def at_rest():
        sizes.append((time.monotonic(), log.stat().st_size if log.exists() else 0))
        before = [size for moment, size in sizes if moment < sizes[-1][0] - QUIET]
        return before and sizes[-1][1] - before[-1] < FEW  # some loops wake up ten times a second

    processes.wait_until(at_rest, patience)
    used, family, looks, watched = {}, [], itertools.count(), {}

    def look():
        _check(log)
        if next(looks) % 4 == 0:  # it takes longer than all the rest
            family[:] = sum(map(proc.family, pids), [])
        for pid in family:
            for tid in proc.threads(pid):
                seconds = proc.processor_seconds(pid, tid)
                if seconds:
                    used.setdefault(tid, []).append((time.time(), *seconds))
            _look_at_epolls(pid, watched)

    look()
    rows = measuring.probe(url, *requests.shots, timeout=requests.timeout or 2 * delay + 10, ports=True,
                           watch=look, headers=[f"{MARK}: {requests.mark}"] if requests.mark else ())
    time.sleep(0.1)  # let the server come to its next wait before it is told to stop
    look()
    tasks = [f"tasks: {pid}" for pid in family if next_steps.runs_tasks(pid)]
    epolls = [f"epoll: {epoll} of {pid} at {moment:.6f} watches {' '.join(map(str, fds))}"
              for (epoll, pid), samples in watched.items() for moment, fds in samples if fds is not None]
    return rows, [*tasks, *epolls, *(f"cpu: {tid} at {moment:.6f} had {had:.6f} ready {ready:.6f}"
                                     for tid, samples in used.items() for moment, had, ready in _changes(samples))]


def _look_at_epolls(pid, watched):
    """Add what each epoll of a process watches now, if that has changed, to {(epoll, pid): [(moment, descriptors)]}.
    A process without an io_uring tells it in calls to epoll_ctl."""
    if not proc.has_a_ring(pid):
        return
    moment, now = time.time(), proc.epolls(pid)
    for epoll in {*now, *(epoll for epoll, owner in watched if owner == pid)}:
        samples = watched.setdefault((epoll, pid), [])
        if not samples or samples[-1][1] != now.get(epoll):  # None: it is closed
            samples.append((moment, now.get(epoll)))


def _changes(samples):
    """Leave out samples between two that are alike: the line between these goes through them."""
    return [sample for before, sample, after in zip([None, *samples], samples, [*samples[1:], None])
            if not (before and after and before[1:] == sample[1:] == after[1:])]


def _check(log):
    """Fail if the log is longer than what can be told."""
    if log.exists() and log.stat().st_size > strace_log.MOST_BYTES:
        raise Failed(f"the log of strace is longer than {strace_log.MOST_BYTES // 1_000_000} MB; that is not told")


def _wait_for_answer(url, path, patience, server, log):
    deadline = time.monotonic() + patience
    while not _answers(url, path):
        _check(log)
        if not server.alive and not proc.users_of(log):  # nor does a process that it has started run
            ending = processes.ending(server.process.returncode)
            raise Failed(f"the command ended before it answered ({ending})", server.messages())
        if time.monotonic() > deadline:
            raise Failed(f"{url} does not answer within {patience:g} s", server.messages())
        time.sleep(0.05)


def _answers(url, path):
    status = measuring.probe(url, f"0:{path}", timeout=5)[0]["status"] if urls.connects(url) else "refused"
    if status == "404":
        raise Failed(f"{url}{path}: status 404. Other routes are named with --slow PATH and --fast PATH")
    return status.isdigit()


def listening(url):
    """The inodes of the sockets that listen at a URL, by address and port."""
    host, port = urls.address(url)
    with contextlib.suppress(OSError):
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return proc.listeners(port, {place[0] for _, _, _, _, place in found})
    return set()


def serving(url):
    """The processes that serve a URL, as far as they run on this machine and may be seen: those that listen, and the
    one that has the connection if somebody connects. (A parent may pass it to a worker.)"""
    return list(dict.fromkeys([*proc.without_init(proc.owners(listening(url))), *_who_accepts(url)]))


def _who_accepts(url):
    """The processes that have the connection of a client that says nothing."""
    with contextlib.suppress(OSError), socket.create_connection(urls.address(url), timeout=1) as client:
        here = client.getsockname()[1]

        def accepted():
            return {each.inode for each in proc.tcp_sockets(here) if each.peer[1] == here and each.inode}

        inodes = processes.wait_until(accepted, 0.3)
        time.sleep(0.05)  # it may be passed on
        return [pid for pid in proc.owners(inodes) if pid != os.getpid()]
    return []


def _serving(url, listeners):
    """The same. Fail if none may be seen."""
    pids = serving(url)
    if not any(proc.descriptors(pid, listeners) for pid in pids):
        raise Failed(f"{url}: the process that listens belongs to another user. Use sudo, or --pid PID")
    return pids


# ---- the log, with what strace cannot know

def _without_our_folder(text):
    """The same log with names below the toolkit's folder in the place of absolute ones: of that folder, not of one
    whose name only begins alike."""
    inside = re.escape(str(ROOT))
    return re.sub(rf"(?<![\w./-]){inside}(?:/|(?![\w.~+-]))", lambda found: "" if found[0].endswith("/") else ".", text)


def _compose(log, requests, rows, title, command, url, more=()):
    """Put lines about the experiment before the text of strace's log."""
    with open(log, errors="replace") as file:
        text = _without_our_folder(file.read(strace_log.MOST_BYTES))
    columns = [column for column in rows[0] if column != "took_ms"]
    header = [f"recording: {title}", f"command: {command}", f"url: {url}",
              f"slow: {requests.slow}", f"fast: {requests.fast}",
              *([f"mark: {requests.mark}"] if requests.mark else []), *more]
    lines = [printable(line) for line in (*header, *symbols.header(strace_log.read(text)[0]))]
    cells = [columns, *([row[column] for column in columns] for row in rows)]
    lines[5:5] = ["probe: " + "\t".join(map(printable, row)) for row in cells]
    return "".join(f"# {line}\n" for line in lines) + text
