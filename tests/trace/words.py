"""A system call in a reader's words: what it does, what it waits for, and whether it belongs to the story."""
import re
from dataclasses import dataclass
from typing import Optional

import descriptors
import strace_log

WAITED = 0.001  # seconds: a call that took less came back immediately, as far as can be seen under strace
LONG = 0.01     # a call of any other kind that took as long belongs to the story

_TIME = re.compile(r"\{tv_sec=(\d+), tv_[nu]sec=(\d+)\}")
_SLEEPS = {"nanosleep", "clock_nanosleep"}
_WAITS_FOR = {"futex": "lock", "flock": "lock", "wait4": "other", "waitid": "other", "rt_sigtimedwait": "other",
              "rt_sigsuspend": "other", "pause": "other", "io_uring_enter": "other", "fsync": "other"}
_WORDS = {"wait4": "waits for a child process", "waitid": "waits for a child process",
          "rt_sigtimedwait": "waits for a signal", "rt_sigsuspend": "waits for a signal", "pause": "waits for a signal",
          "fsync": "waits for the disk", "flock": "waits for the lock of a file", "connect": "connects to another server",
          "io_uring_enter": "asks io_uring, whose work a trace of calls does not show"}

STORY, DETAIL, NOISE = 0, 1, 2  # how much a call belongs to the story


@dataclass
class Meaning:
    plain: str
    waits_for: str = ""
    rank: int = NOISE


def timeout_ms(call):
    """How long a loop's wait may last, in ms: from its arguments. None: for ever."""
    if call.name in ("epoll_wait", "epoll_pwait", "poll"):
        # the last but the mask and its size; of poll and epoll_wait, the last
        numbers = re.findall(r", (-?\d+)(?=,|$)", call.arguments)
        if call.name == "epoll_pwait" and len(numbers) > 1:
            numbers = numbers[:-1]
        value = int(numbers[-1]) if numbers else -1
        return None if value < 0 else float(value)
    time = _TIME.search(call.arguments)
    if not time:
        return None
    return round(int(time[1]) * 1e3 + int(time[2]) / (1e3 if call.name == "select" else 1e6), 6)


def span(seconds):
    """A duration for people."""
    ms = seconds * 1e3
    return f"{ms:.1f} ms" if ms < 99.5 else f"{ms:.0f} ms"


class Words:
    """Says what calls mean. name(connection) is what a reader calls a client: "/fast"."""

    def __init__(self, seen, name):
        self.seen = seen
        self.name = name

    def meaning(self, call, serving=None) -> Meaning:
        """What a call means, made by a thread that has read the request of the connection serving."""
        meaning = self._loop(call) or self._client(call) or self._thread(call, serving) or self._other(call)
        if call.duration < WAITED and call.end is not None and call.name not in descriptors.LOOP:
            meaning.waits_for = ""
        return meaning

    def _loop(self, call) -> Optional[Meaning]:
        if call.name not in descriptors.LOOP:
            return None
        limit = timeout_ms(call)
        most = "" if limit is None else f", {limit:g} ms at most"
        watched = self.seen.watched.get(id(call), [])
        if limit == 0:
            return Meaning("looks for events, without waiting", "", DETAIL if self.seen.reported.get(id(call)) else NOISE)
        if not watched and not call.name.startswith("epoll"):
            return Meaning(f"sleeps{most}", "delay", STORY)
        if not watched or any(isinstance(thing, descriptors.Connection) or thing == "listener" for thing in watched):
            return Meaning(f"waits for any client{most}", "clients", STORY)
        return Meaning(f"waits for something else than clients{most}", "other", STORY if call.duration >= LONG else NOISE)

    def _client(self, call) -> Optional[Meaning]:
        connection = self.seen.of_call.get(id(call))
        if call.name in descriptors.ACCEPT:
            return self._accept(call, connection)
        if not isinstance(connection, descriptors.Connection):
            return None
        whose, count = self.name(connection), call.value or 0
        if call.name in descriptors.RECEIVE:
            return self._receive(call, whose, count)
        if call.name in descriptors.SEND:
            if count > 0 or call.end is None:
                return Meaning(f"sends {f'{count} bytes ' if count else ''}to {whose}", "clients", STORY)
            return Meaning(f"cannot send to {whose} now", "", DETAIL)
        if call.name == "epoll_ctl":
            stops = "EPOLL_CTL_DEL" in call.arguments
            return Meaning(f"{'no longer watches' if stops else 'watches'} the connection of {whose}", "", DETAIL)
        return Meaning(f"closes the connection of {whose}", "", DETAIL)

    def _accept(self, call, connection):
        if connection is not None:
            if call.duration >= WAITED:
                return Meaning(f"waits for a client, and accepts {self.name(connection)}", "clients", STORY)
            return Meaning(f"accepts {self.name(connection)}", "", STORY)
        if "EAGAIN" in call.result:
            return Meaning("finds the backlog empty", "", NOISE)
        return Meaning("waits for a client", "clients", STORY if call.end is None or call.duration >= WAITED else NOISE)

    def _receive(self, call, whose, count):
        if "MSG_PEEK" in call.arguments:
            return Meaning(f"looks whether {whose} has sent more", "clients", NOISE)
        if count > 0:
            return Meaning(f"reads the request of {whose}", "clients", STORY)
        if call.value == 0:
            return Meaning(f"sees that {whose} has closed its connection", "clients", NOISE)
        if "EAGAIN" in call.result:
            return Meaning(f"finds nothing to read from {whose}", "", NOISE)
        return Meaning(f"waits for the request of {whose}", "clients", STORY)

    def _thread(self, call, serving) -> Optional[Meaning]:
        if call.name in _SLEEPS:
            time = _TIME.search(call.arguments)
            relative = time and "TIMER_ABSTIME" not in call.arguments
            length = f" {int(time[1]) * 1e3 + int(time[2]) / 1e6:g} ms" if relative else ""
            whose = f", serving {self.name(serving)}" if serving else ""
            return Meaning(f"sleeps{length}{whose}", "delay", STORY)
        if strace_log.child(call):
            return Meaning("starts a thread or a process", "", STORY)
        if call.name == "exit":
            return Meaning("ends", "", DETAIL)
        return None

    def _other(self, call):
        waited = call.duration >= LONG or call.end is None
        rank = STORY if waited and call.name not in ("execve", "exit_group") else NOISE
        if call.name == "futex":
            joined = re.match(r".*, FUTEX_WAIT\w*(?:\|\w+)*, (\d+),", call.arguments)
            if joined and int(joined[1]) in self.seen.pid_of:
                return Meaning("waits for a thread to end", "thread", rank)
            return Meaning("waits for a lock or for another thread", "lock", rank)
        if call.name in descriptors.RECEIVE | descriptors.SEND | {"connect"}:
            note = descriptors.first_fd(call)[1] or "a file or a socket"
            verb = {True: "reads from", False: "writes to"}[call.name in descriptors.RECEIVE]
            return Meaning(_WORDS.get(call.name) or f"{verb} {note}", "other", rank)
        return Meaning(_WORDS.get(call.name, "does something that is not about clients"), _WAITS_FOR.get(call.name, "other"), rank)
