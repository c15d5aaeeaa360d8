"""An account of every millisecond: the parts of each thread's life, which add up to it."""
import bisect
from collections import defaultdict
from dataclasses import dataclass, field
from typing import List, Optional, Tuple

COMPUTING, OUTSIDE, STARVED, HELD, BETWEEN, CALLS, UNKNOWN = OWN = (
    "computing", "outside", "starved", "held", "between", "calls", "unknown")
HAD = 0.05       # of some time: a thread that had a processor for less of it did not compute
READY = 0.5      # of the time of a call that does not wait: so much without a processor, and it was not the call
A_LONG_TIME = 0.3  # seconds: a thread that is ready to run gets a processor within less, if only for a moment
SHORT = 0.05     # seconds: in a call that does not wait and is no longer, a thread had a processor, or strace kept it
A_PAUSE = 0.001  # seconds: between two calls, so much may be what being recorded costs, even on an idle machine
LONG_PAUSE = 0.003  # seconds: strace may keep a thread so long, too, but then it has no processor
PAUSES = 8       # so many times the usual time between two calls may be, too


@dataclass
class Part:
    """From one moment to another, a thread did one thing.

    kind is what it waited for (waiting.KINDS); "calls": it was in a call that does not wait; "computing": it was
    outside of any call, and had a processor; "starved": it was ready to run, and had hardly any; "held": it had hardly
    any for long, and was not even ready to run, as if it waited for a page of memory; "outside": one of
    these, and the log does not tell which; "between": outside of any call, for so short that strace may have kept it
    there; "unknown": the log does not tell."""
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


@dataclass
class Processor:
    """When a thread had a processor, and when it was ready to run and had none: samples of the seconds of both since
    it began, as (moment, had, was ready), in the order of time."""
    samples: List[Tuple[float, float, float]] = field(default_factory=list)

    def during(self, begin, end):
        """Return the seconds of both between two moments; None if there are no samples of that time. Between two
        samples, they are spread evenly; where samples lie within the time, only these count."""
        moments = [moment for moment, _, _ in self.samples]
        first, last = bisect.bisect_left(moments, begin), bisect.bisect_right(moments, end) - 1
        if last > first and moments[last] - moments[first] > (end - begin) / 2:
            begin, end, scale = moments[first], moments[last], (end - begin) / (moments[last] - moments[first])
        else:
            scale = 1.0
        if not moments or moments[0] > begin or moments[-1] < end:
            return None
        (had, ready), (had_then, ready_then) = self._at(begin, moments), self._at(end, moments)
        return (had_then - had) * scale, (ready_then - ready) * scale

    def _at(self, moment, moments):
        after = bisect.bisect_left(moments, moment)
        if moments[after] == moment:
            return self.samples[after][1:]
        (t0, *before), (t1, *then) = self.samples[after - 1], self.samples[after]
        share = (moment - t0) / (t1 - t0)
        return tuple(a + (b - a) * share for a, b in zip(before, then))


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


def tell_computing(found, processor):
    """Outside of any call, a thread computed if it had a processor. If it had none, then it was ready to run, and other
    programs, or strace, kept it from running; perhaps in a call, too. Without samples, only the first can be either."""
    for part in found:
        if part.kind == BETWEEN and part.seconds > LONG_PAUSE:  # the usual time between two calls may be a computation
            had, _ = processor.during(part.start, part.end) or (0.0, 0.0)
            part.kind = COMPUTING if had > part.seconds / 2 else BETWEEN
        if part.kind in (COMPUTING, CALLS) or (part.kind == UNKNOWN and part.name):
            known = processor.during(part.start, part.end)
            had, ready = known or (0.0, 0.0)
            if part.kind == COMPUTING and had < HAD * part.seconds:
                held = part.seconds > A_LONG_TIME and ready < HAD * part.seconds
                part.kind = OUTSIDE if not known else HELD if held else STARVED
            elif part.kind != COMPUTING and part.seconds > A_PAUSE and ready > READY * part.seconds:
                part.kind = STARVED
            elif part.kind == CALLS and known and A_PAUSE < part.seconds < SHORT and had < part.seconds / 2:
                part.kind = STARVED


def longest_computation(found):
    """How long a thread computed without waiting for anything: in between, it may have made calls that do not wait."""
    longest = length = 0.0
    for part in found:
        length = length if part.kind in OWN and part.kind != UNKNOWN else 0.0
        length += part.seconds if part.kind in (COMPUTING, OUTSIDE) else 0.0
        longest = max(longest, length)
    return longest


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
        key = (part.kind, "", "", "") if part.kind in OWN else (part.kind, part.name, part.of, part.place)
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
