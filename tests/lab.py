"""Start servers and clients, watch them, stop them: what all tools in tests/ share.

A tool is a module with a main(arguments) that returns its exit status, and ends with

    if __name__ == "__main__":
        lab.run(main)

However such a tool ends, by itself or by SIGINT, SIGTERM, SIGHUP or a closed terminal, at any moment: all
processes that it started, and those that they started, end before it does, and scratch() is removed. A
signal ends it without an exception, so that its own "finally" and "with" blocks are not run to the end.
"""
import argparse
import contextlib
import ctypes
import errno
import functools
import itertools
import os
import pathlib
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = ROOT / os.environ.get("BUILD", "build")
BUILD_NOTE = "BUILD in the environment names the folder with the programs (build)."  # for --help
STAGES = ["01-blocking", "02-threaded", "03-select", "04-poll", "05-epoll", "06-libev"]

PIPES = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # for start(), to be read by finish()

_SIGNALS = [signal.SIGHUP, signal.SIGINT, signal.SIGTERM]
_PR_SET_CHILD_SUBREAPER = 36  # <linux/prctl.h>
_libc = ctypes.CDLL(None, use_errno=True)
_strangers = []    # children that the tool had before it started any
_interrupted = False
_scratch = None


class Failed(Exception):
    """The tool cannot do what it was asked to, or a program let it down: one line that says why.
    details are lines that such a program wrote to stderr."""

    def __init__(self, reason, details=""):
        super().__init__(reason)
        self.details = [line.rstrip() for line in details.strip().splitlines()[:5]]


# ---- a tool

def run(main):
    """Run a tool, and exit with the status that main(arguments) returns."""
    global _strangers
    _strangers = children(os.getpid())
    # A process whose parent has died becomes our child, not that of init, so that clean_up finds it.
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    for number in _SIGNALS:
        # nohup, or a shell that started us in the background, lets us ignore a signal. A handler does that, too,
        # and what we start does not inherit it (execve(2)).
        ignored = signal.getsignal(number) == signal.SIG_IGN
        signal.signal(number, (lambda *_: None) if ignored else _interrupt)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    try:
        status = _call(main)
    finally:
        clean_up()
    sys.exit(status)


def _call(main):
    sys.stdout = sys.stdout or open(os.devnull, "w")
    sys.stderr = sys.stderr or open(os.devnull, "w")
    sys.stdout.reconfigure(line_buffering=True, errors="backslashreplace")
    try:
        try:
            status = main(sys.argv[1:])
            sys.stdout.flush()
            return status
        except Failed as failure:
            print(f"{tool()}: {failure}", *failure.details, sep="\n    ", file=sys.stderr)
            return 1
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.EIO, errno.ENOSPC):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python will try to flush it again
        if error.errno == errno.ENOSPC:
            print(f"{tool()}: {error.strerror}", file=sys.stderr)
            return 1
        return 128 + signal.SIGPIPE  # nobody reads our output: the pipe or the terminal is closed


def tool():
    """Return the name of the tool, for its messages."""
    return pathlib.Path(sys.argv[0]).name


def _interrupt(number, _frame):
    """Clean up and exit, right here in the handler: an exception could be lost on its way to run(), or strike
    while clean_up is at work. A second signal kills what the first one has only asked to stop."""
    global _interrupted
    try:
        patience, _interrupted = 0 if _interrupted else 1, True
        clean_up(patience)
    finally:
        os._exit(128 + number)


def clean_up(patience=1):
    """End all processes that descend from this one, and remove the scratch folder. Kill processes that are
    still running after patience, in seconds."""
    deadline = time.monotonic() + patience
    told = set()
    while True:
        running = [pid for pid in children(os.getpid()) if pid not in _strangers and not _reap(pid)]
        late = time.monotonic() - deadline
        if not running or late > 5:  # even a killed process stays while the kernel is busy for it
            break
        for pid in running:
            if late >= 0:
                _kill(pid, signal.SIGKILL)
            elif pid not in told:
                _kill(pid, signal.SIGTERM)
                _kill(pid, signal.SIGCONT)  # a stopped process does not notice SIGTERM
                told.add(pid)
        time.sleep(0.01)
    if _scratch:  # a thread of ours may still be writing there
        wait_until(lambda: shutil.rmtree(_scratch, ignore_errors=True) or not _scratch.exists(), patience=1)


def _kill(pid, number):
    with contextlib.suppress(OSError):  # a thread of ours has just reaped it, or it is another user's (sudo)
        os.kill(pid, number)


def _reap(pid):
    """Return whether a child has ended. The kernel does not reuse its number before that."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True


def scratch():
    """Return a folder for temporary files."""
    global _scratch
    if _scratch is None:
        # The name is known to clean_up before the folder exists. (The module tempfile would try out the
        # folder above with a file, and leave that if a signal arrives.)
        _scratch = pathlib.Path(os.environ.get("TMPDIR", "/tmp"), f"lab-{secrets.token_hex(8)}")
        _scratch.mkdir(mode=0o700)
    return _scratch


def need(command, target):
    """Fail if a command is missing, and name the make target that installs it."""
    if shutil.which(command) is None:
        raise Failed(f"{command} is missing. To install it: make {target}")


def built(name):
    """Return the path of a program in the build folder. Fail if it is not there, and say how to build it."""
    program = BUILD / name
    if not os.access(program, os.X_OK):
        build = os.environ.get("BUILD", "build")
        folder = f"BUILD={build} " if build != "build" else ""
        packages = "deps " if name == "06-libev" else ""
        raise Failed(f"{name} is not built. To build it: make {folder}{packages}{name}")
    return program


# ---- its command line

class Parser(argparse.ArgumentParser):
    """A command line. If it is wrong: one line that names the option and its value, and exit status 2."""

    def __init__(self, **arguments):
        super().__init__(allow_abbrev=False, add_help=False,
                         formatter_class=argparse.RawDescriptionHelpFormatter, **arguments)

    def parse_args(self, args, namespace=None):
        self.add_argument("--help", action="help", help="print this text")
        for word in itertools.takewhile(lambda word: word != "--", args):
            if re.match("--?[a-z]", word) and word.partition("=")[0] not in self._option_string_actions:
                self.error(f"{word}: no such option; see --help")
        return self.parse_intermixed_args(args, namespace)

    def error(self, message):
        for pattern, replacement in [
                (r"^argument (-\S+): expected .*", r"\1 wants a value"),
                (r"^argument (-\S+): ", r"\1 "),
                (r"^argument [^:]*: ", ""),
                (r"invalid choice: '(.*)' \(choose from (.*)\)", r"\1: want one of \2")]:
            message = re.sub(pattern, replacement, message)
        if "want one of" in message:
            message = message.replace("'", "")  # which Python before 3.12 puts around each
        self.exit(2, f"{tool()}: {message}\n")


def _number(pattern, kind, wanted, least, most):
    """Return a type for an argument: a number that is written so, from least to most."""
    def parse(text):
        if re.fullmatch(pattern, text, re.ASCII) and least <= kind(text) <= most:
            return kind(text)
        raise argparse.ArgumentTypeError(f"{text}: want {wanted} from {least} to {most}")
    return parse


seconds = functools.partial(_number, r"\d+\.?\d*|\.\d+", float, "seconds,")
whole_number = functools.partial(_number, r"[1-9]\d{0,17}|0", int, "a number")


def route(text):
    """The type of an argument that is a path of a server."""
    if re.fullmatch(r"/[!-\[\]-~]*", text):
        return text
    raise argparse.ArgumentTypeError(
        f"{text}: want a path that begins with /, without blanks, backslashes or bytes above 0x7E")


# ---- processes

def start(command, dies_by=signal.SIGKILL, **popen_arguments):
    """Start a process, in a session of its own, that does not outlive this one; return its Popen. If this
    process is killed, the kernel sends dies_by to the other: SIGTERM lets a server stop its own workers.
    (The kernel does so when the *thread* ends that called start.)"""
    command = [str(word) for word in command]
    for program in ("setpriv", command[0]):
        if shutil.which(program) is None:
            reason = errno.EACCES if os.path.exists(program) else errno.ENOENT
            raise Failed(f"cannot start {program}: {os.strerror(reason)}")
    popen_arguments.setdefault("stdin", subprocess.DEVNULL)
    # setpriv(1) asks the kernel for that signal, and becomes the command (execve(2)). We could do the first
    # with preexec_fn, but then Python would fork with all its memory: three times the processor time.
    under = ["setpriv", "--pdeathsig", dies_by.name]
    return subprocess.Popen([*under, "--", *command], start_new_session=True, **popen_arguments)


def stop(process, patience=5):
    """Ask a process to stop. If it takes longer than patience, in seconds, kill it and all in its group.
    Return its exit status."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return process.returncode


def finish(process, watch=None):
    """Wait until a process ends, and call watch now and then. Return what it has written to its pipes."""
    while True:
        try:
            return process.communicate(timeout=0.05)
        except subprocess.TimeoutExpired:
            if watch:
                watch()


def children(pid):
    """Return the pids of the children of a process, those included that have ended and are not reaped yet."""
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            if stat(entry)[1] == str(pid):
                found.append(int(entry))
    return found


def family(pid):
    """Return the pids of a process and of all its descendants."""
    return [pid, *(member for child in children(pid) for member in family(child))]


def stat(pid):
    """Return the fields of /proc/PID/stat from the third on, which is the state (proc(5))."""
    return pathlib.Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()


def ending(status):
    """Return in words how a process ended."""
    return f"exit status {status}" if status >= 0 else f"killed by {signal.Signals(-status).name}"


def wait_until(condition, patience=10, step=0.02):
    """Call condition until it returns something true, and return that; None after patience, in seconds."""
    deadline = time.monotonic() + patience
    while True:
        result = condition()
        if result or time.monotonic() >= deadline:
            return result or None
        time.sleep(step)


class Program:
    """A process whose output is kept."""

    def __init__(self, command, **popen_arguments):
        self._out = open(os.memfd_create("stdout"), "rb", buffering=0)
        self._err = open(os.memfd_create("stderr"), "rb", buffering=0)
        self.process = start(command, stdout=self._out, stderr=self._err, **popen_arguments)
        self.pid = self.process.pid

    @property
    def alive(self):
        return self.process.poll() is None

    @property
    def threads(self):
        return len(os.listdir(f"/proc/{self.pid}/task"))

    @property
    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    @property
    def cpu_seconds(self):
        """The CPU time that it has used so far."""
        return sum(map(int, stat(self.pid)[11:13])) / os.sysconf("SC_CLK_TCK")

    def output(self):
        """Return what it has written to stdout so far."""
        return contents(self._out)

    def messages(self):
        """Return what it has written to stderr so far."""
        return contents(self._err)

    def stop(self, patience=5):
        """Stop it, gracefully at first. Return its exit status."""
        return stop(self.process, patience)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop(patience=1)


def contents(file):
    """Read a file from its start, and leave its offset alone: the process that writes to it shares that."""
    return os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0).decode(errors="replace")


class Server(Program):
    """A stage, or another program that says "listening on URL" on stdout.

    under is a command that runs the program, such as valgrind and its options. With wait=False, the caller
    waits for listening()."""

    def __init__(self, name, *options, program=None, under=(), wait=True, **popen_arguments):
        self.name = name
        self.url = None
        super().__init__([*under, program or built(name), "--port", "0", *options], **popen_arguments)
        if wait and not wait_until(self.listening):
            self.stop(patience=1)
            raise Failed(f"{name} did not say within 10 s where it listens", self.messages())

    def listening(self):
        """Return whether it has said where it listens; url is then set. Fail if it has ended instead."""
        ended = not self.alive
        found = re.search(r"listening on (http://\S+)\n", self.output())
        if found:
            self.url = found[1]
        elif ended:
            raise Failed(f"{self.name} did not start ({ending(self.process.returncode)})", self.messages())
        return found is not None

    @property
    def port(self):
        return int(self.url.rsplit(":", 1)[1].rstrip("/"))


# ---- the measuring client

def probe(url, *shots, timeout=30, watch=None, ports=False):
    """Send requests (shots: see build/probe --help); return a dictionary for each, with took_ms beside
    the columns of the probe (None: no answer). Call watch now and then meanwhile. With ports, a row also
    has the client's port and epoch, the moment of its start in seconds since 1970 (see --ports)."""
    options = ["--tsv", *(["--ports"] if ports else []), "--timeout", timeout]
    client = start([built("probe"), *options, url, *shots], **PIPES)
    out, err = finish(client, watch)
    if client.returncode not in (0, 1) or not out:
        raise Failed(f"cannot ask {url}", err or ending(client.returncode))
    return probe_rows(out)


def table(text):
    """Return a dictionary for each row of tab-separated values, the first of which names the columns."""
    header, *rows = [line.split("\t") for line in text.splitlines()] or [[]]
    return [dict(zip(header, row)) for row in rows]


def probe_rows(output):
    """Return a dictionary for each request in the output of probe --tsv."""
    rows = table(output)
    for row in rows:
        row["took_ms"] = float(row["done_ms"]) - float(row["start_ms"]) if row["done_ms"] != "-" else None
    return rows


# ---- what a person reads

def tick(write):
    """Call write every four seconds from now on, and tell it how many have passed. None stops that."""
    begun = time.monotonic()
    if write:
        signal.signal(signal.SIGALRM, lambda *_: write(f" {time.monotonic() - begun:.0f} s ..."))
    signal.setitimer(signal.ITIMER_REAL, *([4, 4] if write else [0]))


def write(text):
    """Write to stdout, past its buffer, in which the program may be at work when a signal interrupts it."""
    os.write(sys.stdout.fileno(), text.encode())


class Report:
    """What a tool prints while it works, the file for its figures, and how many checks failed. A line that
    takes long begins with what is being waited for, and says for how long."""

    def __init__(self, *columns):
        self.columns = columns
        self.failed = 0
        self._file = None
        self._width = 0  # of the line that has begun

    def parser(self, description, quick=None, **arguments):
        """Return the command line of a tool that has --tsv and, if there is a help for it, --quick."""
        parser = Parser(description=description, epilog=BUILD_NOTE, **arguments)
        if quick:
            parser.add_argument("--quick", action="store_true", help=quick)
        parser.add_argument("--tsv", metavar="FILE",
                            help=f"write the figures as tab-separated values: {', '.join(self.columns)}")
        return parser

    def start(self, parser, options, *programs):
        """Check that the programs are built, and begin the file of --tsv."""
        for program in programs:
            built(program)
        if options.tsv is not None:
            try:
                self._file = open(options.tsv, "w", buffering=1)
            except OSError as error:
                parser.error(f"--tsv {options.tsv}: cannot be written: {error.strerror}")
        self.figure(*self.columns)

    def figure(self, *values):
        """Write a row of the file; the last columns may be left out."""
        if self._file:
            print(*values, *["-"] * (len(self.columns) - len(values)), sep="\t", file=self._file)

    def begin(self, text):
        """Begin a line, or go on with it."""
        self._write(text)
        tick(self._write)

    def _write(self, text):
        self._width += len(text)
        write(text)

    def end(self, text="", column=0):
        """End the line that has begun with text, at that column or further right."""
        tick(None)
        print(f"{' ' * (column - 1 - self._width)} {text}".rstrip())
        self._width = 0

    def say(self, text):
        """Print a line of its own."""
        if self._width:
            self.end()
        print(f"    {text}")

    def fail(self, text, details=()):
        self.failed += 1
        for line in bad(f"FAILED: {text}"), *details:
            self.say(line)

    @contextlib.contextmanager
    def checking(self, name):
        """If what is done inside fails, then that is one failed check more."""
        try:
            yield
        except Failed as failure:
            self.fail(f"{name}: {failure}", failure.details)

    def verdict(self):
        """Say how many checks failed, if any did. Return the exit status."""
        if self.failed:
            print(f"{self.failed} failed: see above.")
        return 1 if self.failed else 0


def _colored(text, code):
    plain = not sys.stdout.isatty() or "NO_COLOR" in os.environ or os.environ.get("TERM", "dumb") == "dumb"
    return text if plain else f"\033[{code}m{text}\033[0m"


def good(text):
    return _colored(text, 32)


def bad(text):
    return _colored(text, 31)


def span(ms):
    """Return a duration as a person reads it: 0.3 ms, 1.002 s."""
    return f"{ms:.1f} ms" if ms < 100 else f"{ms / 1000:.3f} s"
