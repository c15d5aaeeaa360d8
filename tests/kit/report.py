"""Print for a person, in lines that a terminal does not cut, and write the figures of a tool to a file."""
import contextlib
import math
import os
import re
import shutil
import signal
import sys
import time
import unicodedata

from kit.commandline import Parser
from kit.errors import Failed
from kit.printable import printable
from kit.tree import BUILD_NOTE, built


def tick(write):
    """Every four seconds from now on, call write with the time that has passed, such as " 8 s ...". None stops that."""
    begun = time.monotonic()
    if write:
        signal.signal(signal.SIGALRM, lambda *_: write(f" {time.monotonic() - begun:.0f} s ..."))
    signal.setitimer(signal.ITIMER_REAL, *([4, 4] if write else [0]))


def write(text):
    """Write to stdout, but not through its buffer: in that, the program may be at work when a signal arrives."""
    os.write(sys.stdout.fileno(), text.encode())


class Report:
    """Print lines while a tool works, write its figures to a file, and count the checks that fail. A line that takes
    long begins with what the tool waits for, and grows by the seconds that have passed."""

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
            print(*map(printable, values), *["-"] * (len(self.columns) - len(values)), sep="\t", file=self._file)

    def begin(self, text):
        """Begin a line, or go on with it."""
        self._write(text)
        tick(self._write)

    def _write(self, text):
        if self._width and self._width + len(text) > (width() or math.inf):
            write("\n      ")
            self._width = 6
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
        print(fold(f"    {text}"))

    def fail(self, text, details=()):
        """Say that a check failed. details are lines that a program wrote."""
        self.failed += 1
        for line in bad(f"FAILED: {printable(text)}"), *map(printable, details):
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


def width():
    """Return how many columns the terminal has; None if stdout is a file or a pipe."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


class Verbatim(str):
    """A line that is not folded, such as a command to be copied."""


def fold(text):
    """Return the text as it is for a file or a pipe. For a terminal, fold each line that is wider."""
    most = width()
    if most is None or isinstance(text, Verbatim):
        return text
    return "\n".join(part for line in text.split("\n") for part in folded(line, most))


def folded(line, most, hanging=2):
    """Return the parts into which a line is cut, between words, so that each fits into most columns. A word that is
    wider stays whole. All parts but the first are indented by hanging more columns."""
    parts, indent = [], " " * (len(line) - len(line.lstrip()))
    while columns(line) > most:
        blanks = [found.start() for found in re.finditer(r"(?<=\S) ", line)]
        if not blanks:
            break
        cut = max((blank for blank in blanks if columns(line[:blank]) <= most), default=blanks[0])
        parts.append(line[:cut])
        line = indent + " " * hanging + line[cut:].lstrip()
    return [*parts, line]


def columns(text):
    """Return how many columns of a terminal a text takes; its colors take none."""
    return sum(0 if unicodedata.combining(letter) else 1 + (unicodedata.east_asian_width(letter) in "WF")
               for letter in re.sub(r"\033\[\d*m", "", text))


def _colored(text, code):
    plain = not sys.stdout.isatty() or "NO_COLOR" in os.environ or os.environ.get("TERM", "dumb") == "dumb"
    return text if plain else f"\033[{code}m{text}\033[0m"


def good(text):
    return _colored(text, 32)


def bad(text):
    return _colored(text, 31)


def span(ms):
    """Return a duration as the probe prints it for a person: 0.3 ms, 1.002 s, 12.35 s; - for None."""
    if ms is None:
        return "-"
    return f"{ms:.1f} ms" if ms < 100 else f"{ms / 1000:.3f} s" if ms < 10000 else f"{ms / 1000:.2f} s"
