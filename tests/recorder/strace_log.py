"""Read what strace -f -ttt -T [-y] [-k] has written.

A log may contain several recordings, one after the other. Each begins with lines of ours, "# key: value", for
what strace does not know; a log that a person has made has none:

    recording, command, url   what it is called, what was recorded, and where it answered
    slow, fast                the routes that the verdict is about
    mark                      what each request of the recording contains, and no other one
    probe                     the columns of build/probe --tsv --ports, and then a row for each request
    thread, listener, epoll   of a process that was running before: 12 of 10; 3 of 10; 4 of 10 watches 3 5
    epoll                     of one that has an io_uring, which may change that in no call, what it watched at a
                              moment, again when that has changed: 4 of 10 at 1700000000.1 watches 3 5
    socket                    another socket that it had: 6 of 10 is 127.0.0.1:5000->127.0.0.1:5432 nonblocking;
                              7 of 10 listens at 127.0.0.1:5433
    inside                    the call that a thread was in when strace attached to it: 12 is in poll
    name                      of a thread: 12 is worker
    cpu                       at a moment, for how many seconds a thread has had a processor, and has been ready to
                              run without one: 12 at 1700000000.1 had 0.012 ready 0.5
    program                   of a process: 10 is python3 app.py
    tasks                     a process whose threads run tasks of its own, such as goroutines: 10
    frame                     the place of an address in a stack: PROGRAM ADDRESS = FUNCTION FILE:LINE; ...
    source                    a checksum of the lines that are named there, for each file

In a frame, each blank of a name is written as %20 (quote). A log comes from a stranger: a line of the header that
has another form is ignored.
"""
import re
from dataclasses import dataclass, field
from typing import Dict, List, Optional, Tuple
from urllib.parse import quote as percent, unquote

FIRST_KEY = "recording"
STOPPED = "stopped"  # not a call, but told as one
MOST_BYTES = 60_000_000   # of a log that is read
MOST_CALLS = 400_000
MOST_IN_LINE = 100_000  # characters: a longer line is not understood
MOST_DIGITS = 300       # in a row: Python refuses to read numbers of thousands, and a float has 308

_LONG_NUMBER = re.compile(rf"[0-9]{{{MOST_DIGITS}}}")
_ATTACHED = re.compile(r"strace: Process (\d{1,10}) (?:attached|detached)(?: with \d+ threads)?\n")
_OTHER_CLOCK = re.compile(r"(?:\[pid +\d+\] |\d+ +)?(\d\d:\d\d:\d\d(?:\.\d+)?|\d+\.\d{6}) \w+\(.*")
_RESUMING = re.compile(r"<\.\.\. resuming interrupted ([\w ]{1,99}) \.\.\.>")
_LINE = re.compile(r"(?:\[pid +(\d+)\] |(\d+) +)?([0-9]{9,11}\.[0-9]{1,9}) (.*)")
_FINISHED = re.compile(r"(\w+)\((.*)\) += (.*?)(?: <([0-9]{1,9}\.[0-9]{1,9})>)?")
_UNFINISHED = re.compile(r"(\w+)\((.*?),? *<(?:unfinished|detached) \.\.\.>")
_RESUMED = re.compile(r"<\.\.\. (\w+) resumed>(.*)")
_SIGNAL = re.compile(r"--- (SIG\w+|stopped by SIG\w+) (?:.* )?---")
_END = re.compile(r"\+\+\+ (.*) \+\+\+")
_FRAME = re.compile(r" > (.+)\) \[0x([0-9a-f]+)\].*")
_CUT = re.compile(r"(\w+)\((.*)")
_HEADER = re.compile(r"# (\w+): (.*)")
_PROCESS = re.compile(r"(\d+)(?: /\* (\d+) in strace's PID NS \*/)?")  # as --pidns-translation prints it


@dataclass
class Frame:
    """A line of a stack."""
    object: str
    function: str
    address: int


@dataclass
class SystemCall:
    tid: int
    name: str
    arguments: str
    result: str
    start: float
    end: Optional[float]  # None: it has not returned
    stack: List[Frame] = field(default_factory=list)  # the innermost first
    restarted: bool = False  # it goes on with a call that a signal, or strace, had interrupted

    @property
    def value(self):
        """The result as a number, or None."""
        number = re.match(r"-?\d+", self.result)
        return int(number[0]) if number else None

    @property
    def duration(self):
        return 0.0 if self.end is None else self.end - self.start


@dataclass
class Log:
    header: Dict[str, List[str]] = field(default_factory=dict)
    calls: List[SystemCall] = field(default_factory=list)        # in the order in which they began
    signals: List[Tuple[int, float, str]] = field(default_factory=list)  # thread, time, name
    ends: Dict[int, Tuple[float, str]] = field(default_factory=dict)     # of threads: time, how
    unread: int = 0        # lines that are none of strace's
    end: float = 0.0       # the time of the last line
    durations: bool = False
    other_clock: bool = False  # it has times that -ttt does not print
    cut: bool = False      # it is longer than what was read

    def first(self, key):
        return self.header.get(key, [""])[0]

    def fields(self, key, pattern):
        """Yield what the groups of a pattern match in the lines of the header with this key. Lines that have
        another form are ignored."""
        for line in self.header.get(key, []):
            found = re.fullmatch(pattern, line, re.ASCII)
            if found:
                yield found.groups()

    def started(self):
        """Which thread or process was started by which call: {tid: call}."""
        return {child(call): call for call in self.calls if child(call)}


def quote(name):
    """A name as a part of a line of the header: without blanks, and without what separates the parts."""
    return percent(name, safe="/+,:<>@~*&!$'[]()^|#?-_.", errors="surrogateescape")


def unquoted(name):
    return unquote(name, errors="replace")


def _frame(text):
    """The program and the function of a line " > PROGRAM(FUNCTION+OFFSET) [ADDRESS]". Either may contain
    brackets: those of the function are balanced."""
    start, depth = None, 0  # from the end: the first bracket after which all are balanced
    for place in range(len(text) - 1, 0, -1):
        if text[place] == "(" and depth == 0:
            start = place
        depth += (text[place] == ")") - (text[place] == "(")
        if depth < 0:
            break
    if start is None:
        return text.partition("(")[0], ""
    return text[:start], text[start + 1:].rpartition("+")[0]


def child(call):
    """The thread or process that this call has started, or None."""
    if call.name not in ("clone", "clone3", "fork", "vfork"):
        return None
    return process(call.result)


def process(text):
    """The number, as strace knows it, of the process with which a result or an argument begins; or None."""
    found = _PROCESS.match(text)
    return int(found[2] or found[1]) or None if found else None


class _Reader:
    """Lines go in, a Log comes out."""

    def __init__(self):
        self.log = Log()
        self.open: Dict[int, SystemCall] = {}  # of each thread, the call that has not returned
        self.stopped: Dict[int, SystemCall] = {}  # the time that a thread is stopped, told as a call
        self.last: Optional[SystemCall] = None  # whose stack may follow
        self.before: Dict[int, SystemCall] = {}  # the last call of each thread

    def line(self, text, is_last):
        if len(text) > MOST_IN_LINE or (len(text) > MOST_DIGITS and _LONG_NUMBER.search(text)):
            self.log.unread += 1
            return
        header, frame, event = _HEADER.fullmatch(text), _FRAME.fullmatch(text), _LINE.fullmatch(text)
        if header:
            self.log.header.setdefault(header[1], []).append(header[2])
        elif frame:
            if self.last:
                self.last.stack.append(Frame(*_frame(frame[1]), int(frame[2], 16)))
        elif event:
            self.last = None
            tid, time = int(event[1] or event[2] or 0), float(event[3])
            self.log.end = max(self.log.end, time)
            if not self.event(tid, time, event[4], is_last):
                self.log.unread += 1
        elif _OTHER_CLOCK.fullmatch(text):
            self.log.other_clock = True
        elif text.strip() and not text.startswith((" > ", "#", "strace: ", "[ Process PID=")):
            self.log.unread += 1

    def event(self, tid, time, text, is_last):
        """Understand what follows the time. Return False if it is none of strace's lines."""
        unfinished, resumed = _UNFINISHED.fullmatch(text), _RESUMED.fullmatch(text)
        finished, signal, end = _FINISHED.fullmatch(text), _SIGNAL.fullmatch(text), _END.fullmatch(text)
        if tid in self.stopped:
            self.stopped.pop(tid).end = time
        if resumed:
            return self.resume(tid, time, resumed)
        if unfinished:
            self.begin(tid, time, unfinished[1], unfinished[2])
        elif finished:
            self.finish(self.begin(tid, time, finished[1], finished[2]), time, finished[3], finished[4])
        elif signal:
            self.log.signals.append((tid, time, signal[1]))
            if signal[1].startswith(STOPPED):
                self.stopped[tid] = self.begin(tid, time, STOPPED, "")
                self.open.pop(tid)
        elif end:
            self.log.ends[tid] = (time, end[1])
            self.open.pop(tid, None)
        elif is_last and _CUT.fullmatch(text):  # the log was cut here: the call has not returned
            self.begin(tid, time, *_CUT.fullmatch(text).groups())
        else:
            return False
        return True

    def begin(self, tid, time, name, arguments):
        restarted = name == "restart_syscall"
        if restarted:
            name, arguments = self.interrupted(tid, arguments)
        call = SystemCall(tid, name, arguments, "", time, None, restarted=restarted)
        if name != STOPPED:
            self.before[tid] = call
        self.log.calls.append(call)
        self.open[tid] = call
        return call

    def interrupted(self, tid, arguments):
        """The name and the arguments of the call that restart_syscall goes on with."""
        before, resuming = self.before.get(tid), _RESUMING.search(arguments)
        if before and (before.result.startswith("?") or "EINTR" in before.result):
            return before.name, before.arguments
        for found in self.log.fields("inside", rf"{tid} is in (\w+)"):
            return found[0], ""
        named = resuming and re.fullmatch(r"\w+", resuming[1])
        return (named[0], "") if named else ("restart_syscall", "")

    def finish(self, call, time, result, took):
        self.open.pop(call.tid, None)
        self.last = call
        if result.startswith("?") and took is None:  # exit, or killed inside
            return
        call.result = result
        if "ERESTART" in result and call.restarted:  # once more
            self.before[call.tid] = call
        self.log.durations |= took is not None
        call.end = call.start + float(took) if took is not None else time

    def resume(self, tid, time, resumed):
        call, nameless = self.open.get(tid), self.open.get(0)
        if call is None and nameless and nameless.name == resumed[1]:  # it began when there was only one process
            call, nameless.tid = nameless, tid
            self.open[tid] = self.open.pop(0)
        elif call is None and tid == 0:  # it began when there were several, and this is the one that is left
            left = [each for each in self.open.values() if each.name == resumed[1]]
            if len(left) == 1:
                call, tid = left[0], left[0].tid
        if call is None or resumed[1] not in (call.name, "restart_syscall" if call.restarted else ""):
            # it began before the log
            call = self.begin(tid, time, resumed[1], "")
        finished = _FINISHED.fullmatch(f"x({resumed[2]}")
        if finished:
            arguments = finished[2].lstrip(", ")
            call.arguments += ", " + arguments if call.arguments and arguments else arguments
            if finished[4] and call.start == time:  # see above
                call.start = time - float(finished[4])
            self.finish(call, time, finished[3], finished[4])
        return finished is not None or "<unfinished" in resumed[2]


def read(text):
    """Return a list of Logs, one for each recording in text."""
    logs, reader, cut = [], None, len(text) > MOST_BYTES
    text = text[:MOST_BYTES]
    attached = list(dict.fromkeys(map(int, _ATTACHED.findall(text))))
    lines = _ATTACHED.sub("", text).split("\n")  # such a message may stand in the middle of another line
    for number, line in enumerate(lines):
        if reader is None or line.startswith(f"# {FIRST_KEY}: "):
            reader = _Reader()
            logs.append(reader.log)
        if len(reader.log.calls) >= MOST_CALLS:
            cut = True
            continue
        rest_is_empty = number >= len(lines) - 2 and not any(lines[number + 1:])
        reader.line(line, rest_is_empty)
    for log in logs:
        _name_the_nameless(log, attached)
        log.calls.sort(key=lambda call: call.start)
        log.cut = cut
    return logs


def _name_the_nameless(log, attached):
    """On a terminal, strace leaves out the number of the process while there is only one: give such calls the
    number of the one that is left."""
    if not any(call.tid == 0 for call in log.calls):
        return
    children = {child(call): call.start for call in log.calls if child(call)}
    numbers = list(dict.fromkeys([call.tid for call in log.calls if call.tid] + attached))
    first = next((number for number in numbers if number not in children), 0)
    for call in log.calls:
        if call.tid == 0:
            left = [tid for tid in numbers if children.get(tid, 0) <= call.start
                    and not (tid in log.ends and log.ends[tid][0] <= call.start)]
            call.tid = left[0] if len(left) == 1 and left[0] in children else first
    if 0 in log.ends:
        log.ends.setdefault(first, log.ends.pop(0))
