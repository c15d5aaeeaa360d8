#!/usr/bin/env python3
"""Ask servers for /slow and, shortly after, from another client, for /fast. Which
of them keep /fast waiting?

latency.py starts and stops each STAGE that it asks. A stage may have options, in
quotation marks: "06-libev --block --threads 2". Without arguments, it asks all
stages, and trap, which is 06-libev with --block. A URL, such as
http://127.0.0.1:8000, is a server of your own that is already running.

Exit status: 0 if every stage behaves as its model promises, and every URL can be
judged; 1 if not; 2 for a bad command line.
"""
from kit import tool  # first: see kit/__init__.py

import argparse
import contextlib
import itertools
import os
import re
import sys
import time
from dataclasses import dataclass
from typing import Optional

from kit import asking, commandline, measuring, processes, urls
from kit.errors import Failed
from kit.report import Report, bad, fold, folded, good, span, width
from kit.servers import Server
from kit.tree import STAGES
from recorder import blocked, next_steps


TRIES = 3
# In delays, until five clients have their /slow. One worker takes 5 (two workers 3), three or four take 2.
ONE_AFTER_THE_OTHER, SIDE_BY_SIDE = 4, 1.75
SHARES_CORES = "shares cores"  # a verdict, beside serializes, concurrent, unclear and "N at a time"
WIDTH = 44  # of a bar, in characters
COLUMNS = ["request", "path", "start_ms", "connected_ms", "sent_ms", "first_ms", "done_ms", "status", "body"]
MORAL = """\
A server serializes requests if it can do nothing else while it waits for one
client. Keeping /fast fast takes a thread for each client, or an event loop that
never blocks."""
WAY_OUT = """\
A pool of threads beside an event loop runs the line that blocks. /fast does not
wait, and as many /slow run simultaneously as the pool has threads. If processes
accept the clients themselves, /fast waits too when all of them are busy. A
computation also stops a loop, and threads share the cores of the machine."""
PREDICTIONS = ["immediately", "when {slow} has its answer"]
STAGE_OPTIONS = r"( (--block|--compute|--(threads|workers)[= ]\d+))+"

report = Report("stage", "experiment", "try", *COLUMNS)


@dataclass
class Subject:
    """A server to judge: a stage with options, or a URL."""
    name: str
    promise: Optional[str] = None  # the verdict that its model promises; None: any clear one
    waits: Optional[bool] = None   # whether /fast waits, if the verdict does not tell
    remark: str = ""

    def __post_init__(self):
        self.stage, *self.options = self.name.split()
        self.url = self.name if "://" in self.name else None
        threads = re.search(r"--(?:threads|workers)[= ](\d+)", self.name)
        self.threads = int(threads[1]) if threads else 1  # so many /slow keep all of them busy


SUBJECTS = {stage: Subject(stage, "concurrent") for stage in STAGES}
SUBJECTS["01-blocking"].promise = "serializes"
SUBJECTS["trap"] = Subject("06-libev --block", "serializes",
                           remark=" (the trap: /slow sleeps inside the loop)")
POOLS = [
    Subject("06-libev --block --threads 2", "2 at a time", waits=False, remark=" (a pool beside the loop)"),
    Subject("01-blocking --workers 2", "2 at a time", waits=True, remark=" (the processes accept the clients)"),
    Subject("02-threaded --compute", SHARES_CORES, remark=" (/slow computes)"),
    Subject("05-epoll --compute", "serializes", remark=" (/slow computes inside the loop)"),
]


# ---- the command line

def parse_subject(text):
    if text in SUBJECTS:
        return SUBJECTS[text]
    if text.startswith("http://"):
        try:
            return Subject(urls.url(text))
        except argparse.ArgumentTypeError as error:
            raise argparse.ArgumentTypeError(f"{error} (--slow and --fast are the paths)") from None
    stage, _, options = text.partition(" ")
    if stage in STAGES and options:
        if not re.fullmatch(STAGE_OPTIONS, f" {options}"):
            raise argparse.ArgumentTypeError(f"{text}: want a stage with --block, --compute, --threads N or "
                                             "--workers N")
        return next((subject for subject in POOLS if subject.name == text), Subject(text))
    raise argparse.ArgumentTypeError(
        f"{text}: neither a stage nor an http:// URL; want one of: {' '.join(SUBJECTS)}")


def parse(arguments):
    parser = report.parser(__doc__, usage="%(prog)s [OPTION]... [STAGE | URL]...")
    parser.add_argument("subjects", nargs="*", metavar="STAGE | URL", type=parse_subject,
                        help=f"one of {' '.join(SUBJECTS)}, or http://HOST[:PORT]")
    parser.add_argument("--delay", type=commandline.seconds(0.1, 3600), metavar="SECONDS", default=1,
                        help="how long /slow waits in a stage (1); for a URL, this is measured")
    parser.add_argument("--workers", type=commandline.whole_number(1, 999), metavar="N", default=1,
                        help="start each stage with N processes, and send N times as many /slow (1)")
    parser.add_argument("--way-out", action="store_true",
                        help="also ask: " + ", ".join(subject.name for subject in POOLS))
    parser.add_argument("--predict", action="store_true",
                        help="ask you before each server what will happen, and show your answer beside what happened")
    for path, kind in ("/slow", "slow"), ("/fast", "fast"):
        parser.add_argument(f"--{kind}", type=commandline.route, metavar="PATH", default=path,
                            help=f"the {kind} route ({path})")
    parser.add_argument("--header", metavar="LINE", action="append", default=[],
                        type=commandline.matching("[!-9;-~]+:[ -~]*", "NAME: VALUE"),
                        help='a field for the requests to a URL, such as "Cookie: a=b"; may be repeated')
    parser.add_argument("--method", type=commandline.matching("[A-Z]+", "a method, such as POST"), default="GET",
                        help="the method for the slow route (GET)")
    parser.add_argument("--data", metavar="TEXT", help="the body for the slow route, with a --method such as POST")
    options = parser.parse_args(arguments)
    if options.data is not None and options.method == "GET":
        parser.error(f"--data {options.data}: want --method, too, such as POST")
    options.subjects = options.subjects or list(SUBJECTS.values())
    options.subjects += POOLS if options.way_out else []
    if options.predict and not asking.possible():
        print(f"{tool.name()}: --predict: nothing is asked, because this is not a terminal", file=sys.stderr)
        options.predict = False
    report.start(parser, options, "probe")
    return options


# ---- the experiments

def clients(count):
    words = {1: "one client asks", 5: "five clients ask"}
    return words.get(count, f"{count} clients ask")


class Experiment:
    """Ask one server, and judge it. The attributes tell of the last try."""

    def __init__(self, subject, options):
        self.subject, self.options = subject, options
        self.delay = None if subject.url else options.delay  # of a URL, it is measured
        self.server = None   # of a URL there is none
        self.problem = None  # in words: why the server could not be judged
        self.tries = 1
        self.waited = self.fast_ms = self.delays = self.verdict = None
        self.threads = 0     # the most that were seen; 0: not counted
        self.places = []     # where they were while /slow was pending
        self.everybody = True  # these are all that it has, in all of its processes
        self.whom = ""       # the request that they served, if only of that one it was seen by whom
        self.standing = ""   # where /fast was meanwhile: backlog, unread, read; "" if it was not seen
        self.pid = None      # of the process that served the last request, if that was seen
        self.side_by_side = None  # how many /slow are served at a time; None: no number that fits
        self.free = ""       # /fast was read, and a thread waited for clients in this call
        self.alone_ms = 0    # how long /fast takes
        self.remarks = []    # what is to be said after the table
        self.said = None     # the prediction, as an index; None: there is none

    def ask(self, announcement, experiment, *shots):
        """Send requests; return a row of the probe for each. Fail if not all answers are right."""
        self.threads, self.samples = 0, blocked.Samples(self.pids, self.url)
        report.begin(f"    {announcement} ...")
        # A computation takes longer where others use the processor, too.
        timeout = round(self.delay * 6, 1) + (60 if "--compute" in self.subject.options else 10) if self.delay else 60
        shots = [self.shot(shot) for shot in shots]
        rows = measuring.probe(self.url, *shots, timeout=timeout, watch=self.look, ports=True,
                               headers=self.options.header, data=self.options.data)
        report.end()
        for row in rows:
            report.figure(self.subject.name, experiment, self.tries, *[row[column] for column in COLUMNS])
        self.check(rows)
        return rows

    def shot(self, shot):
        """The same shot, with the method of the slow route."""
        moment, _, path = shot.partition(":")
        return f"{moment}:{self.options.method} {path}" if path == self.options.slow else shot

    def look(self):
        if self.server and self.server.alive and self.options.workers == 1 and "--workers" not in self.subject.name:
            self.threads = max(self.threads, self.server.threads)
        self.samples.take()

    def check(self, rows):
        wrong = next(filter(None, map(self.wrong, rows)), None)
        if wrong and self.server:
            time.sleep(0.2)  # a server that breaks off may be about to die
        if self.server and not self.server.alive:
            raise Failed(f"died ({processes.ending(self.server.process.returncode)})", self.server.messages())
        if wrong:
            raise Failed(wrong)

    def wrong(self, row):
        """Return what is wrong with an answer, or None."""
        asked, status, body = row["path"], row["status"], row["body"]
        if not re.fullmatch(r"2\d\d", status) or self.server and status != "200":
            if status == "refused":
                return "refused: nothing is listening there"
            return f"{asked}: status {status}" if status.isdigit() else f"{asked}: {status}"
        expected = "That was slow!" if asked == self.options.slow else "That was fast!"
        if self.server and body != expected:
            return f'{asked}: answers "{body}", not "{expected}"'
        return None

    def measure_alone(self):
        """Measure how long the server takes for one request. That is the delay of its slow route."""
        slow, fast = self.options.slow, self.options.fast
        self.ask(f"is {fast} ready", "fast-first", f"0:{fast}")  # this one may be cold
        fast_ms = self.ask(f"how long does {fast} take alone", "fast-alone", f"0:{fast}")[0]["took_ms"]
        self.alone_ms = fast_ms
        slow_ms = self.ask(f"how long does {slow} take alone", "slow-alone", f"0:{slow}")[0]["took_ms"]
        report.say(f"{fast} {span(fast_ms)}, {slow} {slow_ms / 1000:.3f} s")
        if slow_ms < 100 or slow_ms <= 3 * fast_ms:
            raise Failed(f"cannot be judged: {slow} is not clearly slower than {fast}")
        self.delay = slow_ms / 1000

    def fast_after_slow(self):
        slow, fast, count = self.options.slow, self.options.fast, self.options.workers * self.subject.threads
        gap_ms = min(100, self.delay * 100)
        rows = self.ask(f"{clients(count)} for {slow}, and {gap_ms:.0f} ms later another for {fast}",
                        "fast-behind-slow", f"{count}x0:{slow}", f"{gap_ms:.3f}:{fast}")
        self.fast_ms = rows[-1]["took_ms"]
        slow_end_ms = float(rows[0]["done_ms"])  # of the very request beside which /fast was sent
        draw(rows, self.waits(rows[-1], slow_end_ms))
        if self.subject.url:
            self.take_this_delay(rows[0]["took_ms"])
        self.waited = self.waits(rows[-1], slow_end_ms)
        self.see(rows)
        self.tell_why()

    def waits(self, row, slow_end_ms):
        return row["took_ms"] > (slow_end_ms - float(row["start_ms"])) / 2

    def take_this_delay(self, slow_ms):
        """Judge by how long the slow route took beside the fast one: the first time, it may have been cold."""
        slow, alone = self.options.slow, self.delay * 1000
        if slow_ms < 100 or slow_ms <= 3 * self.alone_ms:
            raise Failed(f"cannot be judged: {slow} took {span(alone)} the first time, and {span(slow_ms)} the "
                         "second time, so it is not slow any more (a cache?)")
        if not 0.7 * alone < slow_ms < 1.3 * alone:
            report.say(f"{slow} took {span(alone)} the first time, and {span(slow_ms)} this time" +
                       (": the first call was cold" if slow_ms < alone else ""))
        if slow_ms < alone:
            self.delay = slow_ms / 1000

    def see(self, rows):
        """See what the threads did while /slow was pending, and where /fast was."""
        fast = rows[-1]
        begin, slow_end = float(fast["epoch"]), float(rows[0]["epoch"]) + rows[0]["took_ms"] / 1000
        pids = self.samples.servers([int(row["port"]) for row in rows])
        self.pid = next(iter(pids), None)
        self.everybody = pids >= set(self.samples.pids)
        self.whom = "" if self.samples.saw_server(int(fast["port"])) else self.options.slow
        self.places = self.samples.between(begin, slow_end, pids)
        end = min(slow_end, begin + fast["took_ms"] / 1000)
        self.standing = self.samples.standing(int(fast["port"]), begin, end)
        self.free = blocked.free(self.places) if self.waited and self.standing == "read" else ""

    def tell_why(self):
        slow, fast = self.options.slow, self.options.fast
        how = bad(f"{fast} had to wait for {slow}") if self.waited else good(f"{fast} did not wait")
        where = {"unread": ", accepted but unread", "read": ", read but not answered"}
        if not self.places:
            report.say(how)
        elif self.free:
            others = [place for place in self.places if place != self.free]
            meanwhile = f"; others were in {', '.join(dict.fromkeys(others))}" if others else ""
            who = "its one thread was" if len(self.places) == 1 else f"one of its {len(self.places)} threads was"
            report.say(bad(f"{fast} had to wait") + f", but {who} free, in {self.free}{meanwhile}:")
            report.say(f"{fast} waited for something inside the program (a lock, a pool), or behind it")
        else:
            report.say(how + where.get(self.standing, "") * self.waited +
                       f": {blocked.sentence(self.places, self.everybody, self.whom)}")

    def five_slow(self):
        slow, count = self.options.slow, 5 * self.options.workers
        rows = self.ask(f"{clients(count)} for {slow} simultaneously", "five-slow", f"{count}x0:{slow}")
        first_ms = min(float(row["start_ms"]) for row in rows)
        ends = sorted(float(row["done_ms"]) - first_ms for row in rows)
        if self.subject.url and ends[-1] < 500 * self.delay:
            raise Failed(f"cannot be judged: {slow} is not slow any more ({span(ends[-1])})")
        self.delays = ends[-1] / 1000 / self.delay
        self.side_by_side = self.count_side_by_side(ends)
        how = ("as fast as the cores compute" if "--compute" in self.subject.options else
               bad("one after the other") if self.delays > ONE_AFTER_THE_OTHER else
               good("side by side") if self.delays < SIDE_BY_SIDE else
               f"{self.side_by_side} at a time" if self.in_turns() else
               "neither one after the other nor side by side")
        threads = f", {self.threads} thread{'s' * (self.threads > 1)}" if self.threads else ""
        report.say(f"the last is answered after {span(ends[-1])}, "
                   f"{self.delays:.1f} delays: {how}{threads}")

    def count_side_by_side(self, ends):
        """How many requests were served simultaneously, from when each was answered: as many as in the first turn. A
        stage tells it itself. None if that does not fit the end of the last."""
        if not self.subject.url:
            return self.subject.threads
        number = sum(end < ends[0] + 500 * self.delay for end in ends)
        turns = -(-len(ends) // number)
        return number if turns - 0.3 < self.delays < turns + 0.9 else None

    def all_busy(self):
        """Does /fast wait, too, when as many /slow are pending as are served simultaneously?"""
        slow, fast, count = self.options.slow, self.options.fast, self.side_by_side
        rows = self.ask(f"{clients(count)} for {slow}, and 100 ms later another for {fast}",
                        "fast-behind-all", f"{count}x0:{slow}", f"100:{fast}")
        waits = self.waits(rows[-1], min(float(row["done_ms"]) for row in rows[:-1]))
        report.say(bad(f"{fast} had to wait, too") if waits else good(f"{fast} did not wait"))
        self.remarks.append(f"{self.subject.name} serves {count} {slow} at a time; while it does, {fast} "
                            f"{'waits, too' if waits else 'does not wait'}.")

    def judge(self):
        """Return the verdict."""
        if self.subject.promise == SHARES_CORES:  # at most as many can compute simultaneously as there are
            least = max(1, 5 / len(os.sched_getaffinity(0)))
            return SHARES_CORES if not self.waited and self.delays > 0.95 * least else "unclear"
        if self.waited and self.delays > ONE_AFTER_THE_OTHER:
            return "serializes"
        if not self.waited and self.delays < SIDE_BY_SIDE:
            return "concurrent"
        return f"{self.side_by_side} at a time" if self.in_turns() else "unclear"

    def in_turns(self):
        """Return whether its threads took their /slow in as many turns as five of them need."""
        if self.subject.url:
            return self.side_by_side is not None and (self.side_by_side > 1 or not self.waited)
        turns = -(-5 // self.subject.threads)
        return self.subject.threads > 1 and turns - 0.1 < self.delays < turns + 0.9

    def kept(self):
        """Return whether it behaves as its model promises."""
        promise, waits = self.subject.promise, self.subject.waits
        if promise is None:
            return self.verdict != "unclear"
        return self.verdict == promise and waits in (None, self.waited)

    def promise(self):
        """Tell what its model promises."""
        fast = {None: "", True: f", and that {self.options.fast} waits",
                False: f", and that {self.options.fast} does not wait"}
        return self.subject.promise + fast[self.subject.waits]

    def run(self):
        """Try until the verdict is as promised, for noise can only add time."""
        self.url = self.subject.url or self.server.url
        self.pids = blocked.serving(self.url)
        if self.subject.url:
            self.measure_alone()
        if self.options.predict:
            self.predict()
        while True:
            self.fast_after_slow()
            self.five_slow()
            self.verdict = self.judge()
            if self.subject.url and self.in_turns() and self.side_by_side > 1 and self.delays >= SIDE_BY_SIDE:
                self.all_busy()
            elif self.subject.url and not self.waited and self.verdict == "1 at a time":
                self.remarks = [f"{self.subject.name} serves one {self.options.slow} at a time; while it does, "
                                f"{self.options.fast} does not wait."]
            if self.kept() or not self.subject.promise or self.tries == TRIES:
                break
            self.tries += 1
            report.say(f"again: {self.verdict}, but the model promises {self.promise()} "
                       f"(try {self.tries} of {TRIES})")
        if self.said is not None:
            words = f"You said: {self.predicted()}. What happened: {self.happened()}."
            report.say(good(words) if self.right() else bad(words))

    def predict(self):
        slow, fast = self.options.slow, self.options.fast
        answers = [answer.format(slow=slow) for answer in PREDICTIONS]
        busy = self.options.workers * self.subject.threads
        self.said = asking.choice(f"Predict: {clients(busy)} for {slow}, and soon after another for {fast}.\n"
                                  f"    When is {fast} answered?", answers)

    def predicted(self):
        return PREDICTIONS[self.said].format(slow=self.options.slow)

    def happened(self):
        return f"after {span(self.fast_ms)}" if self.waited else f"immediately, after {span(self.fast_ms)}"

    def right(self):
        return self.said == int(self.waited)

    def moral(self):
        """Does what is to be learned from the stages apply? Not to a loop that was free."""
        return self.subject.url is None or (self.verdict == "serializes" and self.standing in ("backlog", "unread"))

    def next_steps(self):
        """Lines that say how to find the line that /fast waited for, in a server that is running."""
        if not self.subject.url or self.problem or not self.waited or self.pid is None:
            return []
        return next_steps.of(self.pid)

    @property
    def failed(self):
        return self.problem is not None or not self.kept()

    def note(self):
        """Return what is to be said after the table, if anything."""
        name = self.subject.name
        if self.failed and self.problem is None:
            if self.subject.promise is None:
                waits = "waits for" if self.waited else "does not wait for"
                return (f"{name}: unclear. {self.options.fast} {waits} {self.options.slow}, and the last of five "
                        f"{self.options.slow} took {self.delays:.1f} delays")
            return (f"{name}: the verdict was {self.verdict} in all {TRIES} tries, "
                    f"but the model promises {self.promise()}")
        late = self.tries > 1 and not self.failed
        return f"{name}: as its model promises, but only in try {self.tries}" if late else None


def experiment(subject, options):
    """Do the experiment with one subject, and return it."""
    done = Experiment(subject, options)
    report.begin(f"{subject.name}{subject.remark}")
    try:
        with contextlib.ExitStack() as stack:
            if not subject.url:
                settings = ["--delay", options.delay, "--timeout", options.delay * 8 + 20,
                            "--workers", options.workers, *subject.options]
                done.server = stack.enter_context(Server(subject.stage, *settings))
            report.end()
            done.run()
    except Failed as failure:
        done.problem = str(failure).removeprefix(f"{subject.stage} ")
        for line in bad(done.problem), *(f"  {line}" for line in failure.details):
            report.say(line)
    print()
    return done


# ---- what a person reads

def utf8():
    """Return whether the terminal can be expected to show a block."""
    locale = next(filter(None, map(os.environ.get, ["LC_ALL", "LC_CTYPE", "LANG"])), "")
    return re.search("utf-?8", locale, re.IGNORECASE) is not None


def shorten(text, width):
    return text if len(text) <= width else f"{text[:width - 1]}~"


def draw(rows, waited):
    """Draw a bar for each request, all on one scale, and the last one in color."""
    end = max(float(row["done_ms"]) for row in rows)
    for row in rows:
        first, last = (int(float(row[column]) / end * WIDTH + 0.5) for column in ["start_ms", "done_ms"])
        first = min(first, WIDTH - 1)
        last = max(last, first + 1)
        bar = ("█" if utf8() else "#") * (last - first)
        if row is rows[-1]:
            bar = bad(bar) if waited else good(bar)
        bar = " " * first + bar + " " * (WIDTH - last)
        report.say(f"{shorten(row['path'], 12):<12} {bar}  {span(row['took_ms']):>8}")


def print_table(experiments, options):
    slow, fast = options.slow, options.fast
    if len(slow + fast) > 10:
        slow, fast = "slow", "fast"
    count = "five" if options.workers == 1 else str(5 * options.workers)
    names = [done.subject.name for done in experiments]
    first = min(max(map(len, names)), room_for(names))
    figures = f"{f'{fast} after {slow}':>17}  {f'{count} {slow}':>10}  threads"
    print(f"{'server':<{first}}  {figures}  verdict")
    for done in experiments:
        if done.problem:
            print_row(done.subject.name, first, "", bad(done.problem.partition(". ")[0]))
            continue
        color = {"concurrent": good, "serializes": bad}.get(done.verdict, str)
        words = f"serves {done.verdict}" if done.subject.url and done.in_turns() and done.delays >= SIDE_BY_SIDE else \
            done.verdict
        where = "inside the program" if done.free else blocked.summary(done.places)
        verdict = color(words) + (f": {where}" if where else "")
        figures = f"{span(done.fast_ms):>17}  {f'{done.delays:.1f} delays':>10}  {done.threads or '-':>7}  "
        print_row(done.subject.name, first, figures, verdict)
    print()


def room_for(names):
    """How many columns names have in a table: on a terminal, as few as the longest of their words takes."""
    return 28 if width() is None else max(16, *(len(word) for name in names for word in name.split()))


def print_row(name, first, middle, last):
    """Print a row of a table. On a terminal, its first and its last cell take as many lines as they need."""
    cells, before = [[shorten(name, first)], [last]], first + 2 + len(middle)
    if width() is not None:
        cells = [folded(name, first, hanging=0), folded(last, max(width() - before, 1), hanging=0)]
    for number, (left, right) in enumerate(itertools.zip_longest(*cells, fillvalue="")):
        print(f"{left:<{first}}  {middle if number == 0 else ' ' * len(middle)}{right}".rstrip())


def print_predictions(experiments):
    told = [done for done in experiments if done.said is not None and done.problem is None]
    if not told:
        return
    rows = [("server", "you said", "it happened", str)]
    for done in told:
        rows.append((done.subject.name, done.predicted(), done.happened(), good if done.right() else bad))
    names = [row[0] for row in rows]
    first, second = min(max(map(len, names)), room_for(names)), min(max(len(row[1]) for row in rows), 28)
    for server, said, happened, color in rows:
        print_row(server, first, f"{shorten(said, second):<{second}}  ", color(happened))
    print()


def main(arguments):
    options = parse(arguments)
    experiments = [experiment(subject, options) for subject in options.subjects]
    print_table(experiments, options)
    print_predictions(experiments)
    for note in filter(None, [done.note() for done in experiments]):
        print(fold(note))
    failed = sum(done.failed for done in experiments)
    for done in experiments:
        for line in [*done.remarks, *done.next_steps()]:
            print(fold(line))
    if failed:
        print(f"{failed} of {len(experiments)} servers did not behave as expected: see above.")
    elif any(done.moral() for done in experiments):
        print(MORAL)
    if options.way_out and not failed:
        print(WAY_OUT)
    return 1 if failed else 0


if __name__ == "__main__":
    tool.run(main)
