"""Measurements: show them as they are taken, write them to a file, read them again."""
import os
import pathlib
import platform
import signal
import statistics
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
RESULTS = HERE / "results"
sys.path.insert(0, str(HERE.parent))
import lab

BUILD_NOTE = "BUILD in the environment names the folder with the programs (build)."
median = statistics.median_low  # one of the measurements, not the mean of two


class Report:
    """What a tool prints while it measures, the file for its figures, and how many checks failed.

    A line that takes long begins with what is measured, goes on with a dot for each second, and ends
    with the result."""

    def __init__(self, *columns):
        self.columns = columns
        self.failed = 0
        self.file = None
        self._width = 0  # of the line that has begun
        self._next_dot = 0

    def parser(self, description, quick):
        """The command line that the measuring tools share."""
        parser = lab.Parser(description=description, epilog=BUILD_NOTE)
        parser.add_argument("--quick", action="store_true", help=quick)
        parser.add_argument("--tsv", metavar="FILE",
                            help=f"write the figures as tab-separated values: {', '.join(self.columns)}")
        return parser

    def start(self, parser, options, *programs):
        """Check that the programs are built, and begin the file of --tsv."""
        for program in programs:
            lab.built(program)
        if options.tsv is not None:
            try:
                self.file = open(options.tsv, "w")
            except OSError as error:
                parser.error(f"--tsv {options.tsv}: cannot be written: {error.strerror}")
        self.figure(*self.columns)

    def figure(self, *values):
        """A row of the file; the last columns may be left out."""
        if self.file:
            print(*values, *["-"] * (len(self.columns) - len(values)), sep="\t", file=self.file, flush=True)

    def begin(self, text):
        """Begin a line, or go on with it."""
        print(text, end="", flush=True)
        self._width += len(text)
        self._next_dot = time.monotonic() + 1

    def tick(self):
        if time.monotonic() >= self._next_dot:
            self.begin(".")

    def end(self, text="", column=0):
        """End the line that has begun with text, at that column."""
        print(" " * (column - self._width) + text, flush=True)
        self._width = 0

    def say(self, text):
        print(f"    {text}", flush=True)

    def fail(self, text, details=()):
        if self._width:
            self.end()
        for line in lab.bad(f"FAILED: {text}"), *details:
            self.say(line)
        self.failed += 1

    def verdict(self):
        """Say how many checks failed, if any did. Return the exit status."""
        if self.failed:
            print(f"{self.failed} failed: see above.")
        return 1 if self.failed else 0


# ---- files of results

def machine():
    """The line that says where and when something was measured."""
    with open("/proc/cpuinfo") as file:
        lines = [line.partition(":") for line in file]
    models = [value.strip() for key, _, value in lines if key.strip() in ("model name", "Model")]
    model, release = (models or [platform.machine()])[0], platform.release().split("-")[0]
    date = time.strftime("%Y-%m-%d", time.gmtime())
    return f"{model}, {os.cpu_count()} cores, {platform.system()} {release}, {date}"


def load(name):
    """Read a file of results. Return what machine() said then, and a dictionary for each row."""
    path = RESULTS / f"{name}.tsv"
    if not path.exists():
        raise lab.Failed(f"{path.relative_to(lab.ROOT)} is missing. To measure it: make measure")
    first, header, *lines = path.read_text().splitlines()
    return first.lstrip("# "), [dict(zip(header.split("\t"), line.split("\t"))) for line in lines]


def replace(path, text):
    """Write a file as a whole: nobody finds it half-written. A signal has to wait."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP, signal.SIGINT, signal.SIGTERM})
    new = path.with_name(f"{path.name}.new")
    try:
        new.write_text(text, encoding="utf-8")
        os.replace(new, path)
    finally:
        new.unlink(missing_ok=True)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
