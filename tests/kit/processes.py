"""Start processes, watch them, stop them."""
import errno
import os
import shutil
import signal
import subprocess
import time

from kit import proc
from kit.errors import Failed

PIPES = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # for start(), to be read by finish()


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
        return sum(map(int, proc.stat(self.pid)[11:13])) / os.sysconf("SC_CLK_TCK")

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
