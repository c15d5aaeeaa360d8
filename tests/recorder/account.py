"""An account of every millisecond: the parts of each thread's life, which add up to it."""
from collections import defaultdict
from dataclasses import dataclass
from typing import Optional

COMPUTING, STARVED, BETWEEN, CALLS, UNKNOWN = "computing", "starved", "between", "calls", "unknown"
HAD = 0.05       # of the time that it seems to compute: a thread that had a processor for less of it did not compute
A_PAUSE = 0.001  # seconds: between two calls, so much may be what being recorded costs, even on an idle machine
PAUSES = 8       # so many times the usual time between two calls may be, too


@dataclass
class Part:
    """From one moment to another, a thread did one thing.

    kind is what it waited for (waiting.KINDS); "calls": it was in a call that does not wait; "computing": it was
    outside of any call; "starved": the same, but it had hardly any processor time; "between": the same, but for
    so short that strace may have kept it there; "unknown": the log does not tell."""
    kind: str
    start: float
    end: float
    of: str = ""                 # see waiting.Cause
    by: Optional[int] = None
    name: str = ""               # of the call
    place: str = ""              # ", called from 05-epoll/server.c:44"

    @property
    def seconds(self):
        return self.end - self.start


def pause(threads):
    """How long the time between two calls may be without telling that the thread computed: strace makes all of these
    times longer, and those most whose stacks it follows. threads: the calls of each, as (start, end)."""
    gaps = sorted(start - end for calls in threads for (_, end), (start, _) in zip(calls, calls[1:])
                  if end is not None and start >= end)
    usual = gaps[len(gaps) // 2] if len(gaps) >= 8 else 0
    return max(A_PAUSE, PAUSES * usual)


def parts(calls, begin, end, known_from=None, pause=A_PAUSE):
    """Return the Parts of a thread's life from begin to end, without gaps. calls are (start, end or None, Part
    without times), in the order of time; before known_from, nothing is known of it. A time between two calls that is
    not longer than pause is no computing."""
    found, last = [], begin

    def add(kind, start, stop, **more):
        if stop > start:
            found.append(Part(kind, start, stop, **more))

    if known_from is not None and known_from > begin:
        last = min(known_from, end)
        add(UNKNOWN, begin, last)
    for start, stop, made in calls:
        start, stop = max(start, last), min(end if stop is None else stop, end)
        if stop <= last or start >= end:
            continue
        add(COMPUTING if start - last > pause else BETWEEN, last, start)
        add(made.kind or CALLS, start, stop, of=made.of, by=made.by, name=made.name, place=made.place)
        last = max(last, stop)
    add(COMPUTING if end - last > pause else BETWEEN, last, end)
    return found


def starve(found, cpu_seconds):
    """If a thread had no processor for most of the time that it seems to compute, then it was ready to run, and other
    programs, or strace, kept it from running."""
    computing = [part for part in found if part.kind == COMPUTING]
    if cpu_seconds is not None and cpu_seconds < HAD * sum(part.seconds for part in computing):
        for part in computing:
            part.kind = STARVED


def between(found, begin, end):
    """The same parts, cut to a time."""
    cut = []
    for part in found:
        start, stop = max(part.start, begin), min(part.end, end)
        if stop > start:
            cut.append(Part(part.kind, start, stop, part.of, part.by, part.name, part.place))
    return cut


@dataclass
class Sum:
    """All parts that are alike."""
    kind: str
    name: str = ""
    of: str = ""
    place: str = ""
    seconds: float = 0
    times: int = 0
    longest: float = 0
    by: Optional[int] = None


def sums(found):
    """Add up what is alike, the longest first."""
    totals = defaultdict(Sum)
    for part in found:
        key = (part.kind, "", "", "") if part.kind in (COMPUTING, STARVED, BETWEEN, CALLS, UNKNOWN) else (
            part.kind, part.name, part.of, part.place)
        if key not in totals:
            totals[key] = Sum(*key)
        total = totals[key]
        total.seconds += part.seconds
        total.times += 1
        if part.seconds > total.longest:
            total.longest, total.by = part.seconds, part.by
            if part.kind in (CALLS, UNKNOWN):
                total.name = part.name
    return sorted(totals.values(), key=lambda total: -total.seconds)
