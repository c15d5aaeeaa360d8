"""A system call in a reader's words: what it does, and whether it belongs to the story."""
import enum
from dataclasses import dataclass

from recorder import strace_log, waiting
from recorder.descriptors import ACCEPT, LOOP, RECEIVE, SEND, Connection
from recorder.lengths import duration
from recorder.waiting import (CHILD, CLIENTS, CLOCK, FILE, FUTEX, LOCK, NAMES, OTHER, SERVER, SLEEP, THREAD, TURN,
                              UNKNOWN)

WAITED = 0.001  # seconds: a call that took less came back immediately, as far as can be seen under strace
LONG = 0.01     # seconds: a call that waited for so long belongs to the story, whatever it waited for
HELD_UP = 0.05  # seconds: so does any call that took so long; less may be the fault of a busy machine
FEW = 6         # exchanges with another server that are told call by call

_LIBEV_IDLE_MS = 59743  # without a timer, libev's wait ends after that (MAX_BLOCKTIME in its ev.c): nothing is due


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


def milliseconds(ms):
    """A time-out as it is told: whole milliseconds are not rounded."""
    return f"{ms:.0f} ms" if ms < 1000 and ms == int(ms) else duration(ms / 1000)


class Meanings:
    """What calls mean. name(connection): what a reader calls the client, such as /fast."""

    def __init__(self, seen, causes, name):
        self.seen, self.causes, self.name = seen, causes, name
        self.talkative = len(seen.exchanges) <= FEW

    def of(self, call, serving=None):
        """Return the Meaning of a call of a thread that has read the request serving."""
        file, cause = self.seen.of_call.get(id(call)), self.causes.of(call)
        if call.name in LOOP:
            meaning = self._loop(call, cause)
        elif call.name in ACCEPT:
            meaning = self._accept(call, file)
        elif isinstance(file, Connection):
            meaning = self._client(call, self.name(self.seen.request_of.get(id(call)) or file))
        elif call.name in SLEEP:
            meaning = self._sleep(call, serving)
        elif strace_log.child(call):
            meaning = Meaning("starts a thread or a process")  # its label is not known yet
        elif call.name == "exit":
            meaning = Meaning("ends", rank=Rank.DETAIL)
        elif file is not None and file.kind in (SERVER, NAMES) and call.name in RECEIVE | SEND | {"connect"}:
            meaning = self._server(call, file)
        else:
            meaning = self._other(call, cause, serving)
        meaning.waits_for = cause.kind
        if call.end is not None and call.duration < WAITED:
            meaning.waits_for = ""
        return meaning

    def _loop(self, call, cause):
        limit = waiting.timeout_ms(call)
        most = "" if limit in (None, _LIBEV_IDLE_MS) else f", {milliseconds(limit)} at most"
        reported = self.seen.reported[id(call)]
        rank = Rank.STORY if call.end is None or call.duration >= LONG else Rank.NOISE
        if limit == 0:
            return Meaning("looks for events, without waiting", "", Rank.DETAIL if reported else Rank.NOISE)
        if cause.kind == CLIENTS:
            return Meaning(f"waits for any client{most}")
        if cause.kind == CLOCK:
            return Meaning(f"sleeps{most}")
        if cause.kind == UNKNOWN and not call.arguments:  # it began before the log
            return Meaning("waits", "", rank)
        if cause.kind in (SERVER, NAMES, CHILD, UNKNOWN):
            return Meaning(f"{waits(cause)}{most}", "", rank)
        return Meaning(f"waits, but not for clients{most}", "", rank)

    def _accept(self, call, connection):
        if isinstance(connection, Connection):
            waits = "waits for a client, and " if self.seen.blocks[id(call)] and call.duration >= WAITED else ""
            return Meaning(f"{waits}accepts {self.name(connection)}")
        if "EAGAIN" in call.result:
            return Meaning("finds the backlog empty", rank=Rank.NOISE)
        waited = call.end is None or call.duration >= WAITED
        if connection is not None and connection.kind == "other":
            return Meaning(f"waits for {connection.name}", "", Rank.NOISE)
        return Meaning("waits for a client", "", Rank.STORY if waited else Rank.NOISE)

    def _client(self, call, client):
        """A call about the connection of a client."""
        count = call.value or 0
        reads = self.seen.reads.get(id(call))
        if reads:
            return self._receive(call, client, count)
        if reads is False:
            if count > 0 or call.end is None:
                return Meaning(f"sends {f'{count} bytes ' if count else ''}to {client}")
            return Meaning(f"cannot send to {client} now", rank=Rank.DETAIL)
        if call.name == "epoll_ctl":
            verb = "no longer watches" if "EPOLL_CTL_DEL" in call.arguments else "watches"
            return Meaning(f"{verb} the connection of {client}", rank=Rank.DETAIL)
        if call.name in ("close", "shutdown"):
            return Meaning(f"closes the connection of {client}", rank=Rank.DETAIL)
        return Meaning(f"prepares the connection of {client}", rank=Rank.NOISE)

    def _receive(self, call, client, count):
        if "MSG_PEEK" in call.arguments:
            return Meaning(f"looks whether {client} has sent more", rank=Rank.NOISE)
        if count > 0:
            return Meaning(f"reads the request of {client}")
        if call.value == 0:
            return Meaning(f"sees that {client} has closed its connection", rank=Rank.NOISE)
        if "EAGAIN" in call.result:
            return Meaning(f"finds nothing to read from {client}", rank=Rank.NOISE)
        return Meaning(f"waits for the request of {client}")

    def _sleep(self, call, serving):
        absolute = "TIMER_ABSTIME" in call.arguments
        length = "" if absolute else f" {milliseconds(waiting.milliseconds(call.arguments) or 0)}"
        return Meaning(f"sleeps{length}{f', serving {self.name(serving)}' if serving else ''}")

    def _server(self, call, file):
        """A call about a connection to another server."""
        name, count = _server_name(file.kind, file.name), call.value or 0
        waited = self.seen.blocks.get(id(call)) and (call.end is None or call.duration >= LONG)
        rank = Rank.STORY if waited or (self.talkative and file.kind == SERVER) else Rank.NOISE
        if call.name == "connect":
            return Meaning(f"connects to {name}", "", rank)
        if not self.seen.reads.get(id(call)):
            return Meaning(f"asks {name}" if count > 0 else f"cannot send to {name} now", "",
                           rank if count > 0 else Rank.NOISE)
        if count > 0:
            return Meaning(f"waits for {name}, and reads" if waited else f"reads from {name}", "", rank)
        return Meaning(f"waits for {name}" if waited else f"finds nothing to read from {name}", "",
                       Rank.STORY if waited else Rank.NOISE)

    def _other(self, call, cause, serving):
        if call.name in ("execve", "exit_group"):
            return Meaning("starts or ends the program", rank=Rank.NOISE)
        if call.name == strace_log.STOPPED:
            return Meaning("is stopped by a signal")
        if cause.kind == FILE and not cause.of:  # a name that leads nowhere
            return Meaning("does something that is not about clients", rank=Rank.NOISE)
        long = call.end is None or call.duration >= (LONG if cause.kind else HELD_UP)
        rank = Rank.STORY if long else Rank.NOISE
        if cause.kind == CLOCK and call.name in FUTEX:
            return Meaning(f"sleeps (a timed wait){f', serving {self.name(serving)}' if serving else ''}", "", rank)
        words = waits(cause, call.name) if cause.kind else "does something that is not about clients"
        return Meaning(words, "", rank)


def _server_name(kind, name):
    return f"the name server {name}" if kind == NAMES else name or "another server"


def waits(cause, call=""):
    """Such as "waits for 127.0.0.1:5432"."""
    if cause.kind in (SERVER, NAMES):
        return f"waits for {_server_name(cause.kind, cause.of)}"
    if cause.kind == FILE:
        return f"waits for {'the lock of ' * (call in ('flock', 'fcntl', 'fcntl64'))}{cause.of}"
    if cause.kind == CHILD:
        return f"waits for a child process{f' ({cause.of})' if cause.of else ''}"
    if cause.kind == THREAD:
        return "waits for a thread to end" if cause.of else "waits for another thread"
    words = {CLIENTS: "waits for a client",
             LOCK: f"waits for a lock or for another thread{f', or {cause.of}' if cause.of else ''}",
             TURN: "waits for its turn, the interpreter's lock",
             CLOCK: "sleeps", OTHER: f"waits for {cause.of or 'something that is not about clients'}",
             UNKNOWN: "waits; for what cannot be seen"}
    return words[cause.kind]
