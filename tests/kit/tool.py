"""A tool: how it starts, and how it ends.

A tool is a module with a main(arguments) that returns its exit status, and ends with

    if __name__ == "__main__":
        tool.run(main)

However such a tool ends, by itself, by SIGINT, SIGQUIT, SIGTERM, SIGHUP or a closed terminal, at any moment: all
processes that it started, and those that they started, end before it does, and scratch() is removed. A
signal ends it without an exception, so that its own "finally" and "with" blocks are not run to the end.
"""
import contextlib
import ctypes
import errno
import os
import pathlib
import secrets
import shutil
import signal
import sys
import time

from kit import proc
from kit.errors import Failed
from kit.printable import printable
from kit.processes import wait_until
from kit.tree import TESTS

_SIGNALS = [signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM]
# what this machine does not let us read, write, open or start: no defect of the tool
_REFUSALS = [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EMFILE,
             errno.ENFILE, errno.ENOMEM, errno.EAGAIN]
_PR_SET_CHILD_SUBREAPER = 36  # <linux/prctl.h>
_libc = ctypes.CDLL(None, use_errno=True)
_strangers = []    # children that the tool had before it started any
_interrupted = False
_scratch = None


def run(main):
    """Run a tool, and exit with the status that main(arguments) returns."""
    global _strangers
    _strangers = proc.children(os.getpid())
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
            print(f"{name()}: {failure}", *failure.details, sep="\n    ", file=sys.stderr)
            return 1
    except OSError as error:
        closed = error.errno in (errno.EPIPE, errno.EIO) and error.filename is None
        if not closed and error.errno not in _REFUSALS:
            raise
        if error.filename is None:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python will try to flush it again
        if closed:
            return 128 + signal.SIGPIPE  # nobody reads our output: the pipe or the terminal is closed
        file = f"{printable(error.filename)}: " if error.filename else ""
        print(f"{name()}: {file}{error.strerror}", file=sys.stderr)
        return 1


def name():
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
        children = [pid for pid in proc.children(os.getpid()) if pid not in _strangers]
        running = [pid for pid in children if not _reap(pid)]
        late = time.monotonic() - deadline
        # Where one has ended, look again: its own children are ours since then. And even a killed process stays while
        # the kernel is busy for it.
        if not children or late > 5:
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
        _scratch = pathlib.Path(os.environ.get("TMPDIR", "/tmp"), f"toolkit-{secrets.token_hex(8)}")
        try:
            _scratch.mkdir(mode=0o700)
        except OSError as error:
            raise Failed(f"no folder for temporary files in {_scratch.parent} (TMPDIR): {error.strerror}") from None
    return _scratch


def write(path, text):
    """Write a file in one step: a reader finds it as it was, or as it is now. A signal has to wait, so that it leaves
    no half of a file."""
    new = path.with_name(f".{path.name}.{os.getpid()}")
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        new.write_text(text, encoding="utf-8")
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def need(command, target):
    """Fail if a command is missing, and name the make target that installs it."""
    if shutil.which(command) is None:
        raise Failed(f"{command} is missing. To install it: make {target}")


def module(name, *arguments):
    """Return the command that runs a module of tests/, such as servers.stress.faults."""
    return ["env", f"PYTHONPATH={TESTS}", sys.executable, "-m", name, *arguments]
