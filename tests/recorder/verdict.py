"""The sentence: why did /fast wait, or why did it not?

It names a thread, a call, an address only where the log shows it. Where it does not, it says so."""
from collections import Counter

from kit import urls
from recorder import account, clients, strace_log
from recorder.account import BETWEEN, CALLS, COMPUTING, HELD, OUTSIDE, STARVED, UNKNOWN
from recorder.descriptors import A_CLIENT_AT, LOOP, RECEIVE
from recorder.lengths import duration as span
from recorder.waiting import FUTEX, SET_BY_URING, SUSPICIOUS

JUST = 0.02  # seconds: less is left of /slow's time than can be told apart
A_WHILE = 0.2  # seconds: what a thread does is seen in no shorter time
MEANWHILE = "; meanwhile "
CHAIN = 2      # so many threads or processes are named, of which one waits for the next
NEARLY_ALL = 0.8  # of the time: a wait that took so much of it is told alone, without short ones for the same
MANY_FILES = 10  # so many are told together
MANY = 50      # so many calls are what a thread was busy with, however short they were, if one came
OFTEN = 0.003  # seconds after the other, strace included
LEAST = 0.25  # of the time: a wait that took less is not what took it
ITSELF = 0.5   # seconds that a fast request may take by itself, if no end of the slow one tells whether it has waited
PENDING = "no answer in"  # what the probe says of a request that it has given up; others have failed before
WORK = {COMPUTING, OUTSIDE, "server", "names", "file"}  # what a process does for others; it sleeps for itself
IDLE = {"clients", "lock", "thread", "turn", "other", UNKNOWN}  # what a thread does that has nothing to do, perhaps


def judge(recording, slow_path, fast_path, asked=True):
    """Return (serializes, sentence). asked: the recording tells when the clients connected."""
    slow, fast = clients.pair(recording.clients, slow_path, fast_path)
    if fast is None:
        return None, "Nothing can be said: this takes a slow request, and a fast one that is sent later."
    name = clients.name(recording.clients, recording.clients.index(fast))
    if fast.done is None:
        return None, f"{name} was not answered{_why(recording, fast, recording.duration)}."
    took, left = fast.done - fast.start, (slow.done or recording.duration) - fast.start
    if left < JUST and not asked:
        what, when = ("accepted", "it connected") if fast.accept_seen else ("read", "it was sent")
        return None, (f"Nothing can be said: {name} was {what} after {slow.path} was answered, "
                      f"and this log does not tell when {when}.")
    if left < JUST and took > ITSELF:  # what it was asked for may go on after the answer
        why = _why(recording, fast, fast.done)
        return None, f"{name} waited {span(took)} after {slow.path} had been answered{why}."
    if left < JUST:
        status = "" if slow.status in ("", "200") else f" with {slow.status}"
        return None, f"Nothing can be said: {slow.path} was answered{status} before {name} was sent."
    if took > min(left / 2, ITSELF if slow.done is None else left):
        return True, f"{name} waited {span(took)}{_why(recording, fast, fast.done)}."
    if slow.done is None and slow.status and not slow.status.startswith(PENDING):
        return None, f"Nothing can be said: {slow.path} was not answered ({slow.status})."
    return False, f"{name} did not wait: {_why_not(recording, slow, fast, name if asked else None)}."


# ---- what a thread did during some time

class Doing:
    """What a thread did from begin to end, in one phrase that begins after "was"."""

    def __init__(self, recording, thread, begin, end, deep=CHAIN):
        self.recording, self.thread, self.begin, self.end, self.deep = recording, thread, begin, end, deep
        parts = account.between(thread.parts, begin, end)
        self.groups = {}  # (kind, of) -> the Sums of it
        for each in account.sums(parts):
            self.groups.setdefault(_group(each), []).append(each)
        starved = self.groups.pop((STARVED, ""), [])
        between = sum(each.seconds for each in [*self.groups.pop((BETWEEN, ""), []), *starved])
        self.short = Counter(part.name for part in parts if part.name and part.seconds < account.A_PAUSE)
        self.tries = Counter(part.of for part in parts if part.kind == CALLS and part.of)
        files = [key for key in self.groups if key[0] == "file" and self._seconds(key) < LEAST * (end - begin)]
        if len(files) >= MANY_FILES:
            self.groups["file", MANY_FILES] = [each for key in files for each in self.groups.pop(key)]
        calls = self.groups.get((CALLS, ""), [])
        if all(each.longest < SUSPICIOUS and each.seconds < (end - begin) / 2 for each in calls):
            between += sum(each.seconds for each in self.groups.pop((CALLS, ""), []))
        order = sorted(self.groups, key=lambda key: -self._seconds(key))
        self.length = max(sum(part.seconds for part in parts), 1e-9)
        self.shares = [(key, self._seconds(key) / max(end - begin, 1e-9)) for key in order]
        self.kind = order[0][0] if order else ""
        # What is between two calls, and in calls that do not wait, is mostly what being recorded costs, as is the time
        # in which a busy machine let it not run: it decides nothing.
        least = max(0.5 * (1 - between / max(end - begin, 1e-9)), LEAST)
        self.clear = bool(order) and self.shares[0][1] >= least
        self.many = between > (end - begin) / 2
        self.kept = sum(each.seconds for each in starved) / max(end - begin, 1e-9)
        self.starved = self.kept > 0.5

    def _seconds(self, key):
        return sum(each.seconds for each in self.groups[key])

    def free(self):
        """Did it wait, in a loop, for whatever client comes?"""
        return self.clear and self.shares[0][0] == ("clients", "")

    def idle(self):
        """Could it be that it had nothing to do? Whoever waits for one client has."""
        return not self.clear or (self.kind in IDLE and (self.kind != "clients" or self.free()))

    def dozes(self):
        """Did it sleep so that another thread could have woken it?"""
        return self.kind == "delay" and self.groups[self.shares[0][0]][0].name in FUTEX

    def phrase(self):
        if self.clear:
            return self._one(self.shares[0][0])
        most = max((share for _, share in self.shares), default=0)
        calls = sum(self.short.values())
        many = calls >= MANY and (self.end - self.begin) / calls < OFTEN
        if self.many and (many and most < LEAST or most < 0.1 and not self.starved):
            name, times = self.short.most_common(1)[0] if self.short else ("", 0)
            often = f" ({name}, {times:,} times)" if times >= MANY else ""
            return f"busy with many short calls{often}, and with what it did between them"
        if self.starved:
            return "mostly ready to run, but without a processor: this machine is busy, or strace kept it"
        if not self.shares:
            return "not there yet"
        parts = [f"{share * 100:.0f} % of that time {self._one(key)}" for key, share in self.shares[:2] if share > 0.1]
        parts += [f"{self.kept * 100:.0f} % ready to run, but without a processor"] if self.kept > 0.1 else []
        return "busy with several things: " + " and ".join(parts) if parts else "busy with many things"

    def _one(self, key):
        kind, of = key
        sums = self.groups[key]
        most = max(sums, key=lambda each: each.seconds)
        if kind == COMPUTING:
            return "computing"
        if of == MANY_FILES:
            names = Counter()
            for each in sums:
                names[each.name] += each.times
            return f"in calls about many files, {sum(names.values()):,} times, mostly in {names.most_common(1)[0][0]}"
        if kind == OUTSIDE:
            return "computing, or ready to run: this recording does not tell which"
        if kind == HELD:
            return "outside of any call, but did not run: it waited for memory (a page fault), or strace kept it"
        if kind == CALLS:
            return f"busy in calls that do not wait, the longest of them in {most.name}"
        if kind == UNKNOWN:
            because = f", because {most.of}" if most.of == SET_BY_URING else ""
            return (f"in {most.name}; for what cannot be seen{because}" if most.name
                    else "in a call that began before the recording, which does not tell it")
        if kind == "delay" and most.name in FUTEX and most.times > 1:
            others = (_busy_others(self.recording, [self.thread], self.begin, self.end, self.thread.pid)
                      if self.deep else "")
            tried = self._tried(most.times)
            return (f"in {most.name}{most.place}, {most.times:,} timed waits{tried}" if tried else
                    f"in {most.name}{most.place}, {most.times:,} timed waits, perhaps for a lock{others}")
        if most.name == strace_log.STOPPED:
            return "stopped by a signal (SIGCONT lets it go on)"
        several = kind != "clients" and most.longest < NEARLY_ALL * most.seconds
        often = f", {most.times:,} times" if most.times > 1 and several else ""
        each = f"{often}, {_ms(most.seconds / most.times)} each" if most.times > 2 and several else often
        tried = self._tried(most.times) if kind == "delay" else ""
        return f"in {most.name}{most.place}{_timed(most)}{each}{self._for(kind, of or most.of, most)}{tried}"

    def _tried(self, sleeps):
        """What a thread that sleeps again and again does in between, in vain."""
        asked = Counter(f"asked {each.name}" for each in self.recording.upstreams
                        if each.tid == self.thread.tid and self.begin <= each.start < self.end)
        often = [each for tries in (self.tries, asked) for each in tries.most_common(1) if each[1] > max(sleeps / 2, 2)]
        return f"; in between, it {often[0][0]} {often[0][1]:,} times" if often else ""

    def _for(self, kind, of, most):
        if kind == "clients" and of:
            does = "" if most.name == "splice" else " to send something" if most.name in RECEIVE else \
                " to read what was sent"
            return f", waiting for {of}{does}"
        if kind == "clients":
            return ", waiting for any client" if most.name in LOOP else ""
        if kind == "server":
            itself = ", which is this very server" * urls.names(self.recording.url, of)
            which = self.which(most.by)
            return f", for {of or 'another server'}{itself}{which}{which and self.meanwhile(most.by, 'it')}"
        if kind == "names":
            return f", for the name server {of}"
        if kind == "file":
            lock = "the lock of " * (most.name in ("flock", "fcntl", "fcntl64"))
            return f", for {lock}{of}{self._holder_of_file(most.by)}" if of else ", for files"
        if kind == "child":
            return f", for its child process{f' ({of})' if of else ''}{self.meanwhile(most.by, 'it')}"
        if kind == "turn":
            return f", waiting for its turn (the interpreter's lock){self._holder()}"
        if kind == "lock":
            return self._lock(most)
        if kind == "delay":
            return ""
        if kind == "thread":
            other = _thread(self.recording, most.by)
            if other is None:
                return ", for another thread" if most.of != "its end" else ", for the end of another thread"
            who = _who(self.recording, other, False)
            until = f", for the end of {who}" if most.of == "its end" else f", until {who} woke it"
            return f"{until}{self.meanwhile(most.by)}"
        return f", for {of}" if of else ""

    def _lock(self, most):
        waker = _thread(self.recording, most.by)
        if waker is None:
            another = "another thread" if not most.of else f"another thread, or {most.of}"
            return f", for a lock or {another}" + ("" if most.by is None and self._ended() else
                                                     self._others_too())
        return f", until {_who(self.recording, waker, False)} woke it{self.meanwhile(most.by)}"

    def _ended(self):
        last = self.thread.parts[-1]
        return last.kind != "lock" or last.end < self.recording.duration - 0.2  # it was stopped before the end

    def _others_too(self):
        """Other threads that wait for a lock, and have a request to answer: this may be a deadlock."""
        also = []
        for client in self.recording.clients:
            thread = _thread(self.recording, client.read_by)
            if thread not in (None, self.thread) and client.done is None and thread.parts:
                last = thread.parts[-1]
                if last.kind == "lock" and last.by is None:
                    also.append(f"{_who(self.recording, thread, False)} (for {client.path})")
        return ", which did not come; so was " + " and ".join(also) if also else ", which did not come"

    def meanwhile(self, tid, subject=""):
        """What another thread, or a child process, did in the same time."""
        other = _thread(self.recording, tid)
        if other is None or not self.deep:
            return ""
        doing = Doing(self.recording, other, self.begin, self.end, deep=self.deep - 1)
        covered = doing.length / max(self.end - self.begin, 1e-9)
        if not doing.clear or covered < 0.5 or doing.free() or doing.kind == "turn" or \
                doing.shares[0][0][1].startswith(A_CLIENT_AT):
            return ""
        return f"{MEANWHILE}{subject or _who(self.recording, other, False)} was {doing.phrase()}"

    def _holder_of_file(self, tid):
        """Who had the lock of a file, if a call shows that, and what it did meanwhile."""
        other = _thread(self.recording, tid)
        if other is None or other.runs_tasks:
            return ""
        return f", which {_who(self.recording, other, False)} had{self.meanwhile(tid)}" if tid else ""

    def which(self, tid):
        """The process of this very program that is the other server, as the thread that accepts there."""
        other = _thread(self.recording, tid)
        return (f", which is {_who(self.recording, other, False)} of this program"
                if tid and other not in (None, self.thread) else "")

    def _holder(self):
        """Who could have had the interpreter's lock: the thread of the process that computed; if none did, the only one
        that was in a call, which it may have made without giving the lock back."""
        inside = []
        for other in _everybody(self.recording):
            if other is not self.thread and other.pid == self.thread.pid and self.deep:
                doing = Doing(self.recording, other, self.begin, self.end, deep=0)
                words = f"{MEANWHILE}{_who(self.recording, other, False)} was {doing.phrase()}"
                if doing.clear and doing.kind in (COMPUTING, OUTSIDE):
                    return words
                inside += [words] if doing.clear and not doing.idle() else []
        return inside[0] if len(inside) == 1 else ""


def _group(each):
    """What is alike enough to be added up."""
    return (each.kind, each.of if each.kind in ("clients", "server", "names", "child", "file", "other") else "")


def _timed(each):
    """A futex is known as a lock: say that it is none here."""
    return ", a timed wait" if each.kind == "delay" and each.name in FUTEX else ""


def _ms(seconds):
    return span(seconds) if seconds < 0.001 or seconds > 0.0995 else f"{seconds * 1000:.0f} ms"


# ---- why it waited

def _why(recording, fast, until):
    """Where it was for most of that time, and what the thread did instead that should have served it."""
    accepted = until if fast.accepted is None else fast.accepted
    received = until if fast.received is None else max(fast.received, accepted)
    if not fast.accept_seen:
        accepted = fast.start
    places = [("backlog", fast.start, accepted), ("unread", accepted, received), ("inside", received, until)]
    place, begin, end = max(places, key=lambda each: each[2] - each[1])
    return {"backlog": _in_backlog, "unread": _unread, "inside": _inside}[place](recording, fast, begin, end)


def _in_backlog(recording, fast, begin, end):
    threads = [_thread(recording, fast.accepted_by)]
    if fast.accepted_by is None:
        threads = [thread for thread in recording.threads if _accepts(thread)] or (
            recording.threads if len(recording.threads) == 1 else [])
    if not threads or threads[0] is None:
        return ": which thread should have accepted it cannot be seen"
    thread, doing = threads[0], Doing(recording, threads[0], begin, end)
    if doing.free():
        return (f" in the backlog: {_who(recording, thread)} did not accept it, although it was "
                f"waiting for clients, {doing.phrase().partition(', waiting')[0]}")
    asked = _upstreams(recording, begin, end) if doing.idle() else []
    words = doing.phrase()
    if doing.clear and doing.kind == "delay" and words.startswith("in epoll") and \
            _ignored(recording, thread, begin, end, "listener"):
        return f": {_who(recording, thread)} was {words}, and did not watch its listener"
    return _sentence(recording, threads, begin, end) + (MEANWHILE + ", and ".join(asked[:3]) if asked else "")


def _ignored(recording, thread, begin, end, name):
    """Did a thread wait, for most of some time, for other descriptors than the one with this name? If a thread is
    missing, that one may have watched it."""
    waits = [(min(wait.end or end, end) - max(wait.start, begin), wait) for wait in recording.waits
             if wait.tid == thread.tid and wait.whole]
    others = sum(seconds for seconds, wait in waits
                 if seconds > 0 and not any(watched.startswith(name) for watched in wait.watched))
    return recording.complete and others > (end - begin) / 2


def _sentence(recording, threads, begin, end):
    """": the only thread was in clock_nanosleep"; of several threads, each."""
    told = [f"{_who(recording, thread)} was {Doing(recording, thread, begin, end).phrase()}" for thread in threads[:3]]
    more = f", and {len(threads) - 3} more" if len(threads) > 3 else ""
    return ": " + ", ".join(told) + more


def _unread(recording, fast, begin, end):
    """It was accepted, and nobody read it."""
    where = ", accepted but unread" if fast.accept_seen else ""
    acceptor, reader = _thread(recording, fast.accepted_by), _thread(recording, fast.read_by)
    for thread in (reader, acceptor):
        if thread is not None:
            doing = Doing(recording, thread, max(begin, thread.start), end)
            if not doing.idle() and doing.length > (end - begin) / 2 or doing.kind == "turn":
                return f"{where}: {_who(recording, thread)} was {doing.phrase()}"
    known = acceptor or reader
    if known is None:
        return f"{where}: which thread should have read it cannot be seen"
    doing = Doing(recording, known, begin, end)
    busy = _busy_others(recording, [known], begin, end, known.pid)
    if doing.free():
        client = clients.name(recording.clients, recording.clients.index(fast))
        ignored = _ignored(recording, known, begin, end, f"{client} (fd ")
        return (f"{where}: {_who(recording, known)} had accepted it, and was waiting for {'other ' * ignored}clients, "
                f"{doing.phrase().partition(', waiting')[0]}{', without watching this one' * ignored}{busy}")
    words = doing.phrase()
    return f"{where}: {_who(recording, known)} was {words}{busy * (MEANWHILE not in words)}"


def _inside(recording, fast, begin, end):
    """It was read, and not answered."""
    reader, answerer = _thread(recording, fast.read_by), _thread(recording, fast.answered_by)
    if reader is None and answerer is None:
        return ", read but not answered: by which thread cannot be seen"
    index = recording.clients.index(fast)
    asked = [each for each in recording.upstreams if each.client == index
             and min(each.end or end, end) - max(each.start, begin) > (end - begin) / 2]
    thread, doing = None, None
    for candidate in dict.fromkeys([answerer, reader]):
        if candidate is not None:
            found = Doing(recording, candidate, max(begin, candidate.start), end)
            if thread is None or (doing.idle() and not found.idle()):
                thread, doing = candidate, found
    if doing.free() or (doing.idle() and (thread.runs_tasks or reader is not answerer and answerer is not None)):
        loop = reader if reader is not None else thread
        free = Doing(recording, loop, begin, end)
        who = _who(recording, loop)
        state = "free" if free.free() else "not busy with it"
        if asked:
            where = free.phrase().partition(", waiting")[0]
            which = free.which(asked[0].by)
            return (f" for {asked[0].name}{which}: {who} had read it, and was {state}, {where}"
                    f"{which and free.meanwhile(asked[0].by)}")
        others = _busy_others(recording, [loop], begin, end, loop.pid)
        return (f" for something inside the program (a lock, a pool), or behind it: {who} had read it, "
                f"and was {state}, {free.phrase().partition(', waiting')[0]}{others}")
    return f"{', read but not answered' * (fast.done is not None)}: {_who(recording, thread)} was {doing.phrase()}"


def _busy_others(recording, known, begin, end, pid):
    """What else shows: the threads of the same process that were not idle, and other servers that were asked."""
    others = []
    for other in recording.threads:
        doing = Doing(recording, other, begin, end, deep=0)
        helps = other.pid == pid or other.label.startswith("process") and doing.kind in WORK
        if other not in known and helps and doing.clear and not doing.idle() and not (
                other.runs_tasks and doing.kind == "delay"):
            others.append((other, doing, any(call.client is not None for call in other.calls)))
    doings = {}  # what they did -> who; a virtual machine has threads that wake up at times, for no client
    for other, doing, serves in others:
        if serves or not doing.dozes() or not any(each for _, _, each in others):
            doings.setdefault(doing.phrase(), []).append(_who(recording, other, False))
    told = [f"{_and(who)} {'was' if len(who) == 1 else 'were'} {phrase}" for phrase, who in doings.items()]
    told += _upstreams(recording, begin, end)
    return MEANWHILE + ", and ".join(told[:3]) if told else ""


def _and(names):
    names = names if len(names) < 4 else [*names[:2], f"{len(names) - 2} more"]
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _upstreams(recording, begin, end):
    """Which other servers were asked for most of some time, in words."""
    told = []
    for each in recording.upstreams:
        itself = each.client is None and urls.names(recording.url, each.name)  # a client that it has started
        if each.start < end and (each.end is None or each.end > begin) and not itself:
            by = recording.clients[each.client].path if each.client is not None else None
            if min(each.end or end, end) - max(each.start, begin) > (end - begin) / 2:
                told.append(f"{by} waited for {each.name}" if by else
                            f"{each.name} was asked; for which request cannot be seen")
    return told


# ---- why it did not wait

def _why_not(recording, slow, fast, name):
    """Which thread served fast, and what it, or the one that served slow, did when fast came. name is None if
    it is not known when that was."""
    server = _thread(recording, fast.answered_by or fast.accepted_by)
    other = _thread(recording, slow.answered_by or slow.read_by or slow.accepted_by)
    if server is None:
        return "which thread served it cannot be seen"
    who = _who(recording, server)
    if other not in (None, server):
        slow_end = recording.duration if slow.done is None else slow.done
        doing = Doing(recording, other, fast.start, max(fast.done, min(fast.start + A_WHILE, slow_end)))
        if not doing.clear and slow_end > fast.start:
            doing = Doing(recording, other, fast.start, slow_end)
        asked = _asked(recording, slow, fast)
        if asked and doing.idle():
            return f"{who} answered it, while {slow.path} waited for {asked}"
        if other.runs_tasks and doing.idle():
            free = f"; {_who(recording, other)}, which had read {slow.path}, was free" if doing.clear else ""
            return f"{who} answered it{free}"
        words = doing.phrase() if doing.clear else "busy"
        return f"{who} answered it, while {_who(recording, other)} was {words}"
    if name is None:
        before = [call for call in server.calls if call.start < fast.start and call.waits_for == "clients"]
        call = before[-1] if before else None
    else:
        call = _call_at(server, fast.start, fast.accepted or fast.done)
    if call is None:
        doing = Doing(recording, server, fast.start, fast.done, deep=0)
        computed = doing.clear and doing.kind in (COMPUTING, OUTSIDE)
        words = f"{who} was {doing.phrase() if computed else 'between two calls'}"
    elif call.waits_for == "clients" and not call.of:
        words = f"{who} was waiting for any client, in {call.name}{_called(call)}"
    else:
        words = f"{who} was in {call.name}{_called(call)}"
    for thread in recording.threads:
        call = _call_at(thread, fast.done, fast.done)
        if thread is not server and thread.pid == server.pid and not thread.runs_tasks and call and \
                call.waits_for in ("delay", "server", "names", "file", "child") and call.start >= slow.start:
            doing = Doing(recording, thread, fast.done, fast.done + 1e-4, deep=0)
            return f"{words}, and {_who(recording, thread, False)} was {doing.phrase()}"
    asked = _asked(recording, slow, fast)
    if asked:
        return f"{words}, while {slow.path} waited for {asked}"
    if fast.accepted is None or name is None or not fast.accept_seen:
        return words
    soon = span(fast.accepted - fast.start)
    return f"{words}; it accepted {name} {soon} after {name} had connected"


def _asked(recording, slow, fast):
    """The other server that slow waited for while fast was served, or ""."""
    index = recording.clients.index(slow)
    return next((each.name for each in recording.upstreams if each.client == index
                 and each.start <= fast.start and (each.end is None or each.end >= fast.done)), "")


# ---- threads

def pieces(thread, begin, end, computing_from):
    """What a thread did from begin to end: (from, to, call). The call is None where the thread computed."""
    last, found = begin, []
    for call in thread.calls:
        start, stop = max(call.start, begin), min(end if call.end is None else call.end, end)
        if stop > start:
            if computes(thread, last, start, computing_from):
                found.append((last, start, None))
            found.append((start, stop, call))
            last = max(last, stop)
    thread_end = end if thread.end is None else min(thread.end, end)
    if computes(thread, last, thread_end, computing_from):
        found.append((last, thread_end, None))
    return found


def computes(thread, begin, end, least):
    """Was it outside of any call for most of this time, which is long enough to tell? Between two calls that are
    told, there may be others that are not."""
    if end - begin < least:
        return False
    computing = sum(part.seconds for part in account.between(thread.parts, begin, end)
                    if part.kind in (COMPUTING, OUTSIDE))
    return not thread.parts or computing >= max(min(least, end - begin - account.A_PAUSE), (end - begin) / 2)


def _everybody(recording):
    return [*recording.threads, *recording.others]


def _thread(recording, tid):
    """The thread with this number; if none is known to have served a client, the only one there is."""
    if tid is None and len(recording.threads) == 1 and not recording.others:
        return recording.threads[0]
    return next((thread for thread in _everybody(recording) if thread.tid == tid), None)


def _accepts(thread):
    return any(call.name.startswith("accept") or call.waits_for == "clients" for call in thread.calls)


def _call_at(thread, moment, until):
    """The call that a thread was in at a moment; if none, the next one until then that waits for clients."""
    for call in thread.calls:
        if call.start <= moment and (call.end is None or call.end > moment):
            return call
    return next((call for call in thread.calls
                 if moment < call.start <= until and call.waits_for == "clients"), None)


def _who(recording, thread, only=True):
    everybody = _everybody(recording)
    alone = only and recording.complete and sum(each.pid == thread.pid for each in everybody) == 1
    if alone and thread.label.startswith("worker") and len(recording.threads) == 1:
        return "the only worker"
    if alone and len(everybody) == 1:
        return "the only thread"
    return f"the {thread.label}" if thread.label in ("main thread", "parent") else thread.label


def _called(call):
    if call.source:
        return f", called from {call.source}"
    return f", called by {call.function}" if call.function else ""
