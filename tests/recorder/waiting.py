"""What does each call of each thread wait for? The one place where that is decided.

A call that cannot wait (its descriptor is non-blocking, its time-out is 0, it only asks the kernel for something)
waits for nothing, however long it took: strace, and a busy machine, make any call slow.
"""
import bisect
import re
from dataclasses import dataclass
from typing import Dict, Optional

from recorder import strace_log
from recorder.descriptors import A_CLIENT_AT, ACCEPT, LOOP, RECEIVE, SEND, Connection, channel, first_fd

# What a call can wait for. "" is: nothing.
CLIENTS, CLOCK, SERVER, NAMES, FILE, CHILD, LOCK, TURN, THREAD, OTHER, UNKNOWN = KINDS = (
    "clients", "delay", "server", "names", "file", "child", "lock", "turn", "thread", "other", "unknown")
SUSPICIOUS = 0.05  # seconds: a call that does not wait, and took so long, was not kept by strace alone
SOON = 0.02        # seconds: what ends so soon before, or after, ends with it
TURNS = 3          # so many short waits in a row for the interpreter's lock tell that it is that
A_TURN = 0.03      # seconds: each of them ends by then
OWNER = 0x3fffffff  # FUTEX_TID_MASK: of a number that says who has a lock
MOST_ANCESTORS = 50  # of a process are looked at
MOST_MOVES = 100   # so many calls at the other end of a pipe are looked at, for each that waits

SLEEP = {"nanosleep", "clock_nanosleep", "clock_nanosleep_time64"}
FUTEX = {"futex", "futex_time64", "futex_wait", "futex_waitv"}
_TO_FILES = {"open", "openat", "openat2", "creat", "flock", "fsync", "fdatasync", "sync", "syncfs", "msync",
             "sync_file_range", "rename", "renameat2", "unlink", "unlinkat", "mkdir", "rmdir", "stat", "lstat",
             "newfstatat", "statx", "readlink", "access", "faccessat2", "getdents64", "ftruncate", "fallocate",
             "copy_file_range", "pread64", "pwrite64", "execve"}
_FOR_SIGNALS = {"rt_sigtimedwait", "rt_sigsuspend", "sigsuspend", "pause"}
_FOR_CHILDREN = {"wait4", "waitid", "waitpid"}
_FOR_PROCESSES = {"msgrcv": "a message", "mq_timedreceive": "a message", "mq_timedreceive_time64": "a message",
                  "msgsnd": "room for a message", "mq_timedsend": "room for a message",
                  "mq_timedsend_time64": "room for a message", "semop": "a semaphore", "semtimedop": "a semaphore",
                  "semtimedop_time64": "a semaphore"}
_NEVER_WAIT = {"mmap", "mmap2", "munmap", "mremap", "mprotect", "madvise", "brk", "sched_yield", "exit", "exit_group"}
_FUTEX_CALL = re.compile(r"(0x[0-9a-f]+)(?:<.*?>)?, FUTEX_(\w+?)(?:_PRIVATE)?(?:\||, |$)")

_SECOND = re.compile(r", (0x[0-9a-f]+), FUTEX_OP_")  # FUTEX_WAKE_OP may wake at two addresses


@dataclass(frozen=True)
class Cause:
    kind: str = ""
    of: str = ""                 # an address, a path, the command of a child, what is done at a turn; the one client
    by: Optional[int] = None     # tid: who woke it; of a child, its pid


NOTHING = Cause()
OR_WOKEN = "or a wake-up"  # a sleep that another thread, or a signal, could have ended
SHARED = "another process"  # who could wake a wait at a futex that processes share
STANDARD = {0: "its standard input, a pipe", 1: "its standard output, a pipe", 2: "its standard error, a pipe"}
URING = "io_uring"  # what was asked of it is in memory, and in no call
SET_BY_URING = "io_uring told that epoll what to watch"  # libuv does so from 1.45 on; no call to epoll_ctl tells it
A_TASK = Cause(OTHER, "a task to run")  # of a thread that runs goroutines, or processes of Erlang


class Causes:
    """The causes of all calls of a log."""

    def __init__(self, log, seen, name=str):
        """name(connection or request): what a reader calls its client, such as /fast."""
        self.seen, self._name = seen, name
        self.started = {strace_log.child(call): call for call in log.calls if strace_log.child(call)}
        self._wakes = _wakes(log.calls)
        self._goes_on, self._ends = _interrupted(log.calls), log.ends
        self._children = self._lives_of_children(log)
        self._of: Dict[int, Cause] = {id(call): self._cause(call) for call in log.calls}
        calls_of = {}
        for call in log.calls:
            calls_of.setdefault(call.tid, []).append(call)
        self._find_turns(calls_of)

    def of(self, call):
        return self._of[id(call)]

    # ---- one call

    def _cause(self, call):
        if call.name == strace_log.STOPPED:
            return Cause(OTHER, "a signal that lets it go on")
        if call.name in LOOP:
            return self._loop(call)
        if call.name in SLEEP:
            return Cause(CLOCK)
        if call.name in FUTEX:
            return self._futex(call)
        if call.name in ACCEPT | RECEIVE | SEND | {"connect"}:
            return self._transfer(call)
        file = self.seen.of_call.get(id(call))
        if call.name == "close" and isinstance(file, Connection) and _long(call):  # SO_LINGER
            return Cause(CLIENTS, self._name(self.seen.request_of.get(id(call)) or file))
        if call.name in _FOR_CHILDREN:
            return self._look_for_child(call) if "WNOHANG" in call.arguments else self._child(call)
        if call.name in _FOR_SIGNALS:
            return Cause(OTHER, "a signal")
        if call.name.startswith("fcntl"):
            locks = re.search(r"F_(OFD_)?SETLKW", call.arguments)
            return Cause(FILE, self._path(call), self.seen.holder.get(id(call))) if locks else self._attempt(call)
        if call.name in _TO_FILES:
            attempt = "LOCK_NB" in call.arguments or "EEXIST" in call.result or (
                "ENOENT" in call.result and not _long(call))
            return self._attempt(call) if attempt else Cause(FILE, self._path(call), self.seen.holder.get(id(call)))
        if call.name.startswith("io_uring_enter"):
            least = re.match(r"\d+(?:<.*?>)?, \d+, (\d+)", call.arguments)
            return Cause(UNKNOWN, URING) if least is None or least[1] != "0" else NOTHING
        if call.name == "restart_syscall":
            return Cause(UNKNOWN)
        if strace_log.child(call) and (call.name == "vfork" or "CLONE_VFORK" in call.arguments):
            return Cause(CHILD, self._command(strace_log.child(call)), strace_log.child(call))
        if call.name in _FOR_PROCESSES:
            return NOTHING if "IPC_NOWAIT" in call.arguments else Cause(OTHER, _FOR_PROCESSES[call.name])
        if call.name == "getsockopt" and "SO_ERROR, [ECONNREFUSED]" in call.arguments and file:
            return Cause("", f"was refused by {file.name}")
        # of all the others it is not known whether they can wait
        return Cause(UNKNOWN) if _long(call) and call.name not in _NEVER_WAIT else NOTHING

    def _loop(self, call):
        if timeout_ms(call) == 0:
            return NOTHING
        if not call.arguments and not self.seen.watched.get(id(call)):
            return Cause(UNKNOWN)  # it began before the log
        watched = self.seen.watched[id(call)]
        kinds = {file.kind for file in watched}
        epoll = call.name.startswith("epoll")
        process = self.seen.processes[self.seen.pid_of[call.tid]]
        if kinds & {"client", "listener"} or (
                epoll and not watched and not process.whole and not process.ring):
            return Cause(CLIENTS)
        if id(call) in self.seen.partly:
            return Cause(UNKNOWN, SET_BY_URING)
        for kind in (SERVER, NAMES):
            if kind in kinds:
                named = dict.fromkeys(file.name for file in watched if file.kind == kind)
                return self.server(kind, ", ".join(list(named)[:3]) + ", ..." * (len(named) > 3))
        if process.pid in self.seen.tasks:
            return A_TASK
        if not kinds or kinds == {"timer"}:
            return Cause(CLOCK)
        if call.value == 0:
            return Cause(CLOCK, OR_WOKEN)
        ends = [self._other_end(file, call) for file in watched if file.kind in ("pipe", "wake-up")]
        if ends:
            return next((end for end in ends if end.kind == CHILD), next((end for end in ends if end.by), ends[0]))
        if kinds == {"file"}:  # of a special one: it may have nothing to read
            return Cause(FILE, ", or ".join(dict.fromkeys(file.name for file in watched)))
        if "child" in kinds:
            return self._child_of(next(file for file in watched if file.kind == "child"))
        named = dict.fromkeys(file.name for file in watched if file.kind == "other" and file.name)
        return Cause(UNKNOWN if kinds & {"unknown"} else OTHER, ", or ".join(named) if kinds == {"other"} else "")

    def _transfer(self, call):
        file = self.seen.of_call.get(id(call))
        if "ECONNREFUSED" in call.result and file:
            return Cause("", f"was refused by {file.name}")
        if not self.seen.blocks.get(id(call), False):
            nothing = "EAGAIN" in call.result and self.seen.reads.get(id(call)) and file and file.kind == SERVER
            return Cause("", f"found nothing from {file.name}") if nothing else NOTHING
        if call.name in ACCEPT and (file is None or file.kind != "other"):
            return Cause(CLIENTS)
        if isinstance(file, Connection):  # of one client: whoever waits so is not free for others
            return Cause(CLIENTS, self._name(self.seen.request_of.get(id(call)) or file))
        if file is None:
            return Cause(UNKNOWN)
        if file.kind in (SERVER, NAMES, FILE):
            return self.server(file.kind, file.name)
        if file.kind in ("pipe", "wake-up"):
            return self._other_end(file, call)
        if file.kind == "timer":
            return Cause(CLOCK)
        return Cause(OTHER, file.name) if file.kind == "other" and file.name else Cause(UNKNOWN)

    def server(self, kind, name):
        """Another server; the one thread of this program, if the log has it, that accepts its clients."""
        port = name.rpartition(":")[2]
        for place in (name, f"0.0.0.0:{port}", f"[::]:{port}"):
            tids = self.seen.acceptors.get(A_CLIENT_AT + place, ())
            if len(tids) == 1:
                return Cause(kind, name, *tids)
        return Cause(kind, name)

    def _child_of(self, file):
        pid = int(file.name) if file.name.isdigit() else None
        return Cause(CHILD, self._command(pid), pid)

    def _other_end(self, file, call):
        """A pipe, a pair of sockets, or a number that others write: who? The log shows who did so while this call
        waited, or which process did so at all; or that a child ended just when the wait did."""
        receives, own, last = self.seen.reads.get(id(call), True), self.seen.pid_of[call.tid], self._last(call)
        by = self._moved(file, not receives, call.tid, call.start, last.end)
        pids = {self.seen.pid_of[by]} if by else self.seen.movers.get((channel(file), not receives), set())
        others = list(pids - {own})
        if len(others) == 1 and own in self._ancestors(others[0]):
            return Cause(CHILD, self._command(others[0]), others[0])
        if len(others) == 1 and by:
            return Cause(THREAD, "", by)
        ended = self._child_that_ended(call)
        if ended or by:
            return ended or Cause(THREAD, "", by)
        if "EINTR" in last.result or "ERESTART" in last.result:
            return Cause(OTHER, "a signal")
        if pids == {own}:
            return Cause(THREAD)
        return Cause(OTHER, STANDARD.get(first_fd(call)[0], "a pipe") if file.kind == "pipe" else "a wake-up")

    def _moved(self, file, receives, tid, begin, end):
        """The other thread that last read there, or wrote, between two moments; None if none did."""
        if end is None:
            return None
        moments, calls = self.seen.moves.get((channel(file), receives), ([], []))
        first, last = bisect.bisect(moments, begin), bisect.bisect(moments, end + SOON)
        moved = [call.tid for call in calls[max(first, last - MOST_MOVES):last]
                 if call.tid != tid and call.start <= end]
        return moved[-1] if moved else None

    def _ancestors(self, pid):
        """The processes that have started a process, or one of those that did."""
        found = []
        while pid in self.started and pid not in found and len(found) < MOST_ANCESTORS:
            found.append(pid)
            pid = self.seen.pid_of[self.started[pid].tid]
        return {*found[1:], pid}

    def _child_that_ended(self, call):
        """The child process that ended just when this call did, as its cause; or None."""
        for child, start, end in self._children.get(self.seen.pid_of[call.tid], ()):
            if start < call.start and (end is None or call.start < end) and (
                    call.end is None or (end is not None and end < call.end + SOON)):
                return Cause(CHILD, self._command(child), child)
        return None

    def _lives_of_children(self, log):
        """{pid: its child processes, as (pid, start, end or None)}, the last first."""
        found = {}
        for tid, call in sorted(self.started.items(), key=lambda item: -item[1].start):
            if "CLONE_THREAD" not in call.arguments and tid in self.seen.processes:
                end = log.ends[tid][0] if tid in log.ends else None
                found.setdefault(self.seen.pid_of[call.tid], []).append((tid, call.start, end))
        return found

    def _attempt(self, call):
        """A call that would not wait for a lock, or for a file that somebody else has made."""
        if "EEXIST" in call.result:
            return Cause("", f"tried to make {self._path(call)}, which was there,")
        if "ENOENT" in call.result:
            return Cause("", f"looked for {self._path(call)}, which was not there,")
        failed = "EAGAIN" in call.result or "EACCES" in call.result
        return Cause("", f"tried in vain to get the lock of {self._path(call)}") if failed else NOTHING

    def _look_for_child(self, call):
        child = self._child(call).of if call.value == 0 else ""
        return Cause("", f"looked for the end of its child process{f' ({child})' if child else ''}") \
            if call.value == 0 else NOTHING

    def _child(self, call):
        call = self._last(call)
        pid = strace_log.process(call.result) or strace_log.process(re.sub("^P_PID, ", "", call.arguments))
        found = re.search(r"si_pid=(\d+)", call.arguments)
        pid = int(found[1]) if found and not pid else pid
        return Cause(CHILD, self._command(pid), pid)

    def _command(self, pid):
        return self.seen.programs.get(pid, "") if pid in self.seen.processes else ""

    def _path(self, call):
        file, note = self.seen.of_call.get(id(call)), first_fd(call)[1]
        path = re.search(r'"((?:[^"\\]|\\.)*)"', call.arguments)
        if call.name.startswith("open") or not (file or note.startswith("/")):
            return path[1] if path else ""
        return file.name if file and file.kind == "file" else note

    def _futex(self, call):
        found = _FUTEX_CALL.match(call.arguments)
        address, operation = (found[1], found[2]) if found else ("", "WAIT" if call.name != "futex" else "")
        if not operation.startswith(("WAIT", "LOCK_PI", "CLOCK", "CMP_REQUEUE_PI")) or "WAKE" in operation:
            return NOTHING if found else Cause(LOCK)
        joined = self._joined(call)
        if joined:
            return Cause(THREAD, "its end", joined)
        if self.seen.pid_of[call.tid] in self.seen.tasks:
            return A_TASK
        if "ETIMEDOUT" in call.result:
            return Cause(CLOCK)
        if call.end is None and "tv_sec" in call.arguments:
            return Cause(UNKNOWN)  # for a lock or for the clock: the end would tell
        if "EAGAIN" in call.result:
            return NOTHING
        private = "PRIVATE" in call.arguments or not found
        addresses = [address] if found else re.findall(r"uaddr=(0x[0-9a-f]+)", call.arguments)
        return Cause(LOCK, "" if private else SHARED, self._waker(call, addresses, private))

    def _joined(self, call):
        """The thread whose end this call waits for, or None: the kernel wakes whoever waits where the number of a
        thread stands, in this process or another one. A mutex that is contended has a number there, too: 2."""
        found = re.search(r"FUTEX_WAIT[\w|]*, (\d+),", call.arguments)
        number = int(found[1]) if found and "PRIVATE" not in found[0] else 0
        tid = number & OWNER  # of a lock that its owner may leave by ending, too
        if tid == call.tid or self.seen.pid_of.get(tid) != self.seen.pid_of[call.tid]:
            return None
        known = number == tid > 2 and (call.end is None or call.value != 0)
        return tid if known or self._ended_in(call, tid) else None

    def _ended_in(self, call, tid):
        """Did a thread end while this call waited, and the call then?"""
        end = self._ends[tid][0] if tid in self._ends and call.end is not None else None
        return end is not None and max(call.start, call.end - SOON) < end + SOON and end < call.end + SOON

    def _waker(self, call, addresses, private):
        """The thread that woke this one: of this process, if the futex is private to it. What a signal interrupted may
        find, when it goes on, that it need not wait any more."""
        first, call = call, self._last(call)
        woken = (call.value or 0) >= 0 if call.name == "futex_waitv" else call.value == 0
        if call.end is None or not (woken or (call is not first and "EAGAIN" in call.result)):
            return None
        pid = self.seen.pid_of[call.tid]
        wakers = [wake for address in addresses for wake in self._wakes.get(address, ()) if wake.tid != call.tid
                  and (self.seen.pid_of[wake.tid] == pid or not private and wake.value != 0)
                  and call.start <= wake.start <= call.end + 0.0005]
        return wakers[-1].tid if wakers else None

    def _last(self, call):
        """The call with which a wait ended that began with this one: signals may have interrupted it."""
        while id(call) in self._goes_on:
            call = self._goes_on[id(call)]
        return call

    # ---- the interpreter's lock

    def _find_turns(self, calls_of):
        """A thread of Python that wants the interpreter's lock waits 5 ms for it, and again, and does nothing
        else. Other programs may wait in this way for something else: of them, it is not said."""
        places = set()
        for tid, calls in calls_of.items():
            if not self.seen.is_interpreter(self.seen.pid_of[tid]):
                continue
            run, last = 0, None
            for call in calls:
                place = self._short_wait(call)
                if place is None and call.name in FUTEX and call.duration < 0.002:
                    continue  # the mutex beside it
                run = 0 if place is None else run + 1 if place == last else 1
                last = place
                if run >= TURNS:
                    places.add((self.seen.pid_of[tid], place))
        for call in (call for calls in calls_of.values() for call in calls if call.name in FUTEX):
            waits = self._of[id(call)].kind in (CLOCK, LOCK, UNKNOWN)
            if waits and "tv_sec" in call.arguments and (self.seen.pid_of[call.tid], _place(call)) in places:
                self._of[id(call)] = Cause(TURN, "", self._of[id(call)].by)

    def _short_wait(self, call):
        timed_out = call.name in FUTEX and "ETIMEDOUT" in call.result and call.duration < A_TURN
        return _place(call) if timed_out else None


def _long(call):
    return call.end is None or call.duration >= SUSPICIOUS


def _place(call):
    """A condition of glibc waits at one of two addresses, in the same 16 bytes."""
    found = _FUTEX_CALL.match(call.arguments)
    return int(found[1], 16) >> 4 if found else None


def _interrupted(calls):
    """{id(a call that a signal interrupted): the same call once more}."""
    found, before = {}, {}
    for call in calls:
        what = call.tid, call.name, call.arguments.partition(",")[0]
        last = before.pop(what, None)
        if last is not None and call.start < last.end + SOON:
            found[id(last)] = call
        if call.end is not None and ("ERESTART" in call.result or "EINTR" in call.result):
            before[what] = call
    return found


def _wakes(calls):
    """{address: the calls that wake somebody there}."""
    found = {}
    for call in calls:
        if call.name in FUTEX:
            match = _FUTEX_CALL.match(call.arguments)
            if match and ("WAKE" in match[2] or "REQUEUE" in match[2] or "UNLOCK" in match[2]):
                for address in {match[1], *_SECOND.findall(call.arguments)}:
                    found.setdefault(address, []).append(call)
    return found


_TIME = re.compile(r"\{tv_sec=(\d+), tv_([nu])sec=(\d+)\}")


def timeout_ms(call):
    """How long the wait of a loop may last, from its arguments. None: for ever, or unknown."""
    if call.name in ("epoll_wait", "epoll_pwait", "poll"):
        # epoll_pwait(4, [...], 64, 1000, [], 8): the number after the maximum, before the mask
        found = re.search(r", (-?\d+)(, (NULL|\[.*?\]|~\[.*?\]|0x\w+), \d+)?$", call.arguments)
        return float(found[1]) if found and int(found[1]) >= 0 else None
    return milliseconds(call.arguments)


def milliseconds(arguments):
    found = _TIME.search(arguments)
    return round(int(found[1]) * 1e3 + int(found[3]) / {"n": 1e6, "u": 1e3}[found[2]], 6) if found else None
