"""Start servers and clients, watch them, stop them: what all tools in tests/ share.

A tool is a module with a main(arguments) that returns its exit status, and ends with

    if __name__ == "__main__":
        lab.run(main)

However it ends, by itself or by SIGINT, SIGTERM, SIGHUP or a closed terminal, every process that it
started with start() or Server() has ended before it does, and scratch() is removed.
"""
import contextlib
import ctypes
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = ROOT / os.environ.get("BUILD", "build")
STAGES = ["01-blocking", "02-threaded", "03-select", "04-poll", "05-epoll", "06-libev"]

PIPES = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # for start(), to be read by finish()

_SIGNALS = {signal.SIGHUP, signal.SIGINT, signal.SIGTERM}
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_libc = ctypes.CDLL(None, use_errno=True)
_running = []  # processes, in the order in which they were started
_scratch = None


class Failed(Exception):
    """What was asked for cannot be done, or did not come out: one line that says why."""


# ---- a tool

def run(main):
    """Run a tool, and exit with the status that main(arguments) returns."""
    for number in _SIGNALS:
        signal.signal(number, _interrupt)
    # A process whose parent has died becomes our child, so that clean_up finds it.
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        status = main(sys.argv[1:])
        sys.stdout.flush()
    except Failed as failure:
        print(f"{tool()}: {failure}", file=sys.stderr)
        status = 1
    except BrokenPipeError:  # nobody reads our output any more
        sys.stdout = open(os.devnull, "w")
        status = 128 + signal.SIGPIPE
    finally:
        clean_up()
    sys.exit(status)


def tool():
    return pathlib.Path(sys.argv[0]).name


def _interrupt(number, _frame):
    for other in _SIGNALS:  # one is enough: the next must not interrupt clean_up
        signal.signal(other, signal.SIG_IGN)
    raise SystemExit(128 + number)


def clean_up():
    """End what still runs, the last started first, and remove the files."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    for process in reversed(_running[:]):
        stop(process, patience=1)
    while True:  # an orphan that ends leaves its children to us
        orphans = children(os.getpid())
        if not orphans:
            break
        for pid in orphans:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    if _scratch:
        shutil.rmtree(_scratch, ignore_errors=True)


def scratch():
    """A folder for temporary files."""
    global _scratch
    if _scratch is None:
        with _signals_blocked():
            _scratch = pathlib.Path(tempfile.mkdtemp(prefix="lab-"))
    return _scratch


def need(command, target):
    """Fail if a command is missing, and name the make target that installs it."""
    if shutil.which(command) is None:
        raise Failed(f"{command} is missing. To install it: make {target}")


# ---- processes

@contextlib.contextmanager
def _signals_blocked():
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield before
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def start(command, dies_by=signal.SIGKILL, **popen_arguments):
    """Start a process that does not outlive this one; return its Popen. If this process is killed, the
    kernel sends dies_by to the other: SIGTERM lets one that has workers of its own stop them."""
    parent = os.getpid()
    # A signal between fork and the line that remembers the child would lose it.
    with _signals_blocked() as before:
        def in_child():
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            _libc.prctl(_PR_SET_PDEATHSIG, dies_by, 0, 0, 0)
            if os.getppid() != parent:
                os._exit(1)
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

        process = subprocess.Popen([str(word) for word in command], preexec_fn=in_child, **popen_arguments)
        _running.append(process)
    return process


def stop(process, patience=5):
    """Ask a process to stop; kill it if it takes longer than patience, in seconds. Return its exit status."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process in _running:
        _running.remove(process)
    return process.returncode


def finish(process, watch=None):
    """Wait until a process ends, and call watch now and then. Return what it has written to its pipes."""
    while True:
        try:
            output = process.communicate(timeout=0.05)
            break
        except subprocess.TimeoutExpired:
            if watch:
                watch()
    stop(process)
    return output


def children(pid):
    """Return the pids of the processes that the first thread of a process has forked."""
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(word) for word in file.read().split()]


def family(pid):
    """Return the pids of a process and of all its descendants."""
    return [pid, *(relative for child in children(pid) for relative in family(child))]


def ending(status):
    """How a process ended, in words."""
    return f"exit status {status}" if status >= 0 else f"killed by {signal.Signals(-status).name}"


def wait_until(condition, patience=10, step=0.02):
    """Call condition until it returns something true, and return that; None after patience, in seconds."""
    deadline = time.monotonic() + patience
    while True:
        result = condition()
        if result or time.monotonic() >= deadline:
            return result or None
        time.sleep(step)


class Server:
    """A stage, or another program that says "listening on URL" on stdout, and what /proc says of it."""

    def __init__(self, name, *options, program=None, **popen_arguments):
        self.name = name
        program = pathlib.Path(program or BUILD / name)
        if not program.exists():
            raise Failed(f"{name} is not built: make {name}")
        self.out, self.err = tempfile.TemporaryFile("w+"), tempfile.TemporaryFile("w+")
        self.process = start([program, "--port", "0", *options], stdout=self.out, stderr=self.err, **popen_arguments)
        self.pid = self.process.pid
        self.url = self._wait_for_url()

    def _wait_for_url(self, patience=10):
        def announced():
            return re.search(r"listening on (http://\S+)\n", self.output()) or not self.alive

        found = wait_until(announced, patience)
        if isinstance(found, re.Match):
            return found[1]
        reason = (f"did not start ({ending(self.process.returncode)}): {self.messages().strip()}" if found else
                  f"did not say within {patience} s where it listens")
        self.stop()
        raise Failed(f"{self.name}: {reason}")

    @property
    def alive(self):
        return self.process.poll() is None

    @property
    def port(self):
        return int(self.url.rsplit(":", 1)[1].rstrip("/"))

    @property
    def threads(self):
        return len(os.listdir(f"/proc/{self.pid}/task"))

    @property
    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def output(self):
        """What it has written to stdout so far."""
        self.out.seek(0)
        return self.out.read()

    def messages(self):
        """What it has written to stderr so far."""
        self.err.seek(0)
        return self.err.read()

    def stop(self, patience=5):
        """Graceful at first. Return the exit status."""
        return stop(self.process, patience)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop(patience=1)


# ---- the measuring client

def probe(url, *shots, timeout=30, watch=None):
    """Send requests (shots: see build/probe --help); return a dictionary for each, with took_ms beside
    the columns of the probe (None: no answer). Call watch now and then meanwhile."""
    client = start([BUILD / "probe", "--tsv", "--timeout", timeout, url, *shots], **PIPES)
    out, err = finish(client, watch)
    if client.returncode == 2 or not out:
        raise Failed(f"cannot ask {url}: {err.strip()}")
    header, *lines = out.splitlines()
    rows = [dict(zip(header.split("\t"), line.split("\t"))) for line in lines]
    for row in rows:
        row["took_ms"] = float(row["done_ms"]) - float(row["start_ms"]) if row["done_ms"] != "-" else None
    return rows


# ---- what a person reads

def _colored(text, code):
    plain = not sys.stdout.isatty() or "NO_COLOR" in os.environ or os.environ.get("TERM", "dumb") == "dumb"
    return text if plain else f"\033[{code}m{text}\033[0m"


def good(text):
    return _colored(text, 32)


def bad(text):
    return _colored(text, 31)


def span(ms):
    """A duration for people: 0.3 ms, 1.002 s."""
    return f"{ms:.1f} ms" if ms < 100 else f"{ms / 1000:.3f} s"
