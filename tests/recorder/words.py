"""A system call in a reader's words: what it does, what it waits for, and whether it belongs to the story."""
import enum
import re
from dataclasses import dataclass

from recorder import strace_log
from recorder.descriptors import ACCEPT, Connection, LOOP, RECEIVE, SEND, first_fd


WAITED = 0.001  # seconds: a call that took less came back immediately, as far as can be seen under strace
LONG = 0.01     # seconds: a call that waited for so long belongs to the story, whatever it waited for
HELD_UP = 0.05  # seconds: so does any call that took so long; less may be the fault of a busy machine

_LIBEV_IDLE_MS = 59743  # without a timer, libev's wait ends after that (MAX_BLOCKTIME in its ev.c): nothing is due

_TIME = re.compile(r"\{tv_sec=(\d+), tv_([nu])sec=(\d+)\}")
_SLEEP = {"nanosleep", "clock_nanosleep"}
_OTHER = {"wait4": "waits for a child process", "waitid": "waits for a child process",
          "rt_sigtimedwait": "waits for a signal", "rt_sigsuspend": "waits for a signal",
          "pause": "waits for a signal", "fsync": "waits for the disk",
          "connect": "connects to another server",
          "io_uring_enter": "hands work to the kernel, which does not show here"}


class Rank(enum.Enum):
    """How much a call belongs to the story."""
    STORY = 0
    DETAIL = 1  # told where there is room
    NOISE = 2


@dataclass
class Meaning:
    plain: str
    waits_for: str = ""  # as in Call
    rank: Rank = Rank.STORY


def span(seconds):
    """A duration for people: 0.3 ms, 900 ms."""
    return f"{seconds * 1000:.1f} ms" if seconds < 0.0995 else f"{seconds * 1000:.0f} ms"


def timeout_ms(call):
    """How long the wait of a loop may last, from its arguments. None: for ever, or unknown."""
    if call.name in ("epoll_wait", "epoll_pwait", "poll"):
        # epoll_pwait(4, [...], 64, 1000, [], 8): the number after the maximum, before the mask
        found = re.search(r", (-?\d+)(, (NULL|\[.*?\]|~\[.*?\]|0x\w+), \d+)?$", call.arguments)
        return float(found[1]) if found and int(found[1]) >= 0 else None
    return _milliseconds(call.arguments)


def _milliseconds(arguments):
    found = _TIME.search(arguments)
    return round(int(found[1]) * 1e3 + int(found[3]) / {"n": 1e6, "u": 1e3}[found[2]], 6) if found else None


def _is_client(thing):
    return isinstance(thing, Connection) or thing == "listener"


class Words:
    """What calls mean. seen: Descriptors. name(connection): what a reader calls the client, such as /fast."""

    def __init__(self, seen, name):
        self.seen = seen
        self.name = name

    def meaning(self, call, serving=None):
        """Return the Meaning of a call of a thread that has read the request of the connection serving."""
        connection = self.seen.of_call.get(id(call))
        if call.name in LOOP:
            return self._loop(call)
        if call.name in ACCEPT:
            meaning = self._accept(call, connection)
        elif isinstance(connection, Connection):
            meaning = self._client(call, self.name(connection))
        elif call.name in _SLEEP:
            meaning = self._sleep(call, serving)
        elif strace_log.child(call):
            meaning = Meaning("starts a thread or a process")  # its label is not known yet
        elif call.name == "exit":
            meaning = Meaning("ends", rank=Rank.DETAIL)
        else:
            meaning = self._other(call)
        if call.end is not None and call.duration < WAITED:
            meaning.waits_for = ""
        return meaning

    def _loop(self, call):
        limit = timeout_ms(call)
        most = "" if limit in (None, _LIBEV_IDLE_MS) else f", {limit:g} ms at most"
        watched, reported = self.seen.watched[id(call)], self.seen.reported[id(call)]
        rank = Rank.STORY if call.end is None or call.duration >= LONG else Rank.NOISE
        if limit == 0:
            return Meaning("looks for events, without waiting", "", Rank.DETAIL if reported else Rank.NOISE)
        if not call.arguments:  # it began before the log
            return Meaning("waits", "other", rank)
        if any(map(_is_client, watched)) or (call.name.startswith("epoll") and not watched):
            return Meaning(f"waits for any client{most}", "clients")
        if not watched:
            return Meaning(f"sleeps{most}", "delay")
        return Meaning(f"waits, but not for clients{most}", "other", rank)

    def _accept(self, call, connection):
        if connection is not None:
            waits = "waits for a client, and " if call.duration >= WAITED else ""
            return Meaning(f"{waits}accepts {self.name(connection)}", "clients")
        if "EAGAIN" in call.result:
            return Meaning("finds the backlog empty", rank=Rank.NOISE)
        waited = call.end is None or call.duration >= WAITED
        return Meaning("waits for a client", "clients", Rank.STORY if waited else Rank.NOISE)

    def _client(self, call, client):
        """A call about the connection of a client."""
        count = call.value or 0
        if call.name in RECEIVE:
            return self._receive(call, client, count)
        if call.name in SEND:
            if count > 0 or call.end is None:
                return Meaning(f"sends {f'{count} bytes ' if count else ''}to {client}", "clients")
            return Meaning(f"cannot send to {client} now", rank=Rank.DETAIL)
        if call.name == "epoll_ctl":
            verb = "no longer watches" if "EPOLL_CTL_DEL" in call.arguments else "watches"
            return Meaning(f"{verb} the connection of {client}", rank=Rank.DETAIL)
        return Meaning(f"closes the connection of {client}", rank=Rank.DETAIL)

    def _receive(self, call, client, count):
        if "MSG_PEEK" in call.arguments:
            return Meaning(f"looks whether {client} has sent more", rank=Rank.NOISE)
        if count > 0:
            return Meaning(f"reads the request of {client}", "clients")
        if call.value == 0:
            return Meaning(f"sees that {client} has closed its connection", rank=Rank.NOISE)
        if "EAGAIN" in call.result:
            return Meaning(f"finds nothing to read from {client}", rank=Rank.NOISE)
        return Meaning(f"waits for the request of {client}", "clients")

    def _sleep(self, call, serving):
        absolute = "TIMER_ABSTIME" in call.arguments
        length = "" if absolute else f" {_milliseconds(call.arguments) or 0:g} ms"
        return Meaning(f"sleeps{length}{f', serving {self.name(serving)}' if serving else ''}", "delay")

    def _other(self, call):
        if call.name in ("execve", "exit_group"):
            return Meaning("starts or ends the program", rank=Rank.NOISE)
        if call.name == strace_log.STOPPED:
            return Meaning("is stopped by a signal", "other")
        waits = call.name in _OTHER or call.name in ("futex", "flock") or call.name in RECEIVE | SEND
        long = call.end is None or call.duration >= (LONG if waits else HELD_UP)
        rank = Rank.STORY if long else Rank.NOISE
        if call.name == "futex":
            joined = re.search(r", FUTEX_WAIT[\w|]*, (\d+),", call.arguments)
            if joined and int(joined[1]) in self.seen.pid_of:
                return Meaning("waits for a thread to end", "thread", rank)
            return Meaning("waits for a lock or for another thread", "lock", rank)
        if call.name == "flock":
            return Meaning("waits for the lock of a file", "lock", rank)
        if call.name in RECEIVE | SEND:
            verb = "reads from" if call.name in RECEIVE else "writes to"
            return Meaning(f"{verb} {first_fd(call)[1] or 'a file or a socket'}", "other", rank)
        return Meaning(_OTHER.get(call.name, "does something that is not about clients"), "other", rank)
