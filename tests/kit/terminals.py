"""A program in a terminal of 80 columns, for tests."""
import fcntl
import os
import pty
import struct
import subprocess
import termios
import unittest


def open_terminal():
    """Return the descriptors of both ends of a new terminal. Skip the test where there is none."""
    try:
        return pty.openpty()
    except OSError as error:  # such as in a chroot without /dev/pts
        raise unittest.SkipTest(f"there are no terminals here: {error}") from None


def run(command, prompt=None, answers=(), columns=80):
    """Run a command in a terminal. Each time that it shows the prompt last, give it the next answer. Return its status,
    what it showed, and the answers that are left."""
    ours, theirs = open_terminal()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=subprocess.STDOUT,
                               env={**environment, "TERM": "dumb"})
    os.close(theirs)
    shown, answers = "", list(answers)
    while True:
        try:
            shown += os.read(ours, 4096).decode(errors="replace")
        except OSError:  # it has ended
            break
        if answers and shown.endswith(prompt):
            os.write(ours, answers.pop(0).encode())
    os.close(ours)
    return process.wait(), shown.replace("\r\n", "\n"), answers
