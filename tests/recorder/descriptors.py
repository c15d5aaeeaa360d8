"""Follow a server's descriptors through a log: which is the listener, and which belongs to which client."""
import re
from dataclasses import dataclass, field
from typing import Dict, List, Optional

from recorder import strace_log


ACCEPT = {"accept", "accept4"}
RECEIVE = {"recv", "recvfrom", "recvmsg", "read", "readv"}
SEND = {"send", "sendto", "sendmsg", "write", "writev", "sendfile"}
LOOP = {"epoll_wait", "epoll_pwait", "epoll_pwait2", "poll", "ppoll", "select", "pselect6"}

_FD = re.compile(r"(\d+)(?:<(.*?)>(?=[,)\s\]}]|$))?")
_NOTE = re.compile(r"<[^<>]*(?:->[^<>]*)?>")
_PEER = re.compile(r"->.*:(\d+)\]")
_PORT_IN_ADDRESS = re.compile(r"sin6?_port=htons\((\d+)\)")
_TEXT = re.compile(r'"((?:[^"\\]|\\.)*)"')
_EVENT_DATA = re.compile(r"u64=(\w+)|data=(0x\w+)")  # as strace 6.1 and 6.13 print it
_REQUEST = re.compile(r"(?:GET|HEAD|POST|PUT|DELETE|PATCH|OPTIONS) (\S+) HTTP/1")


@dataclass
class Connection:
    """What the server did with one client."""
    pid: int
    fd: int
    accepted: Optional[strace_log.SystemCall]
    port: Optional[int]
    path: Optional[str] = None
    received: Optional[strace_log.SystemCall] = None  # the last part of the request
    answered: Optional[strace_log.SystemCall] = None  # the last part of the response

    @property
    def begun(self):
        """When the server first saw the client."""
        call = self.accepted or self.received
        return call.start if call.end is None else call.end


@dataclass
class Process:
    pid: int
    files: Dict[int, object] = field(default_factory=dict)  # fd -> Connection or a few words
    epolls: Dict[int, Dict[int, int]] = field(default_factory=dict)  # epoll fd -> {event data: fd}


class Descriptors:
    """What the calls of a log are about. They are followed in the order in which they took effect."""

    def __init__(self, log):
        self.connections: List[Connection] = []
        self.of_call: Dict[int, Connection] = {}  # id(call) -> the connection it is about
        self.watched: Dict[int, List[object]] = {}   # id(call that waits) -> Connections and words
        self.reported: Dict[int, List[object]] = {}
        self.processes: Dict[int, Process] = {}
        self.pid_of: Dict[int, int] = {}
        self._find_processes(log)
        for call in sorted(log.calls, key=_takes_effect):
            self._follow(call, self.processes[self.pid_of[call.tid]])

    def _find_processes(self, log):
        """Find out which thread belongs to which process. The header tells it of a process that was running
        before, and which descriptors that had."""
        for line in log.header.get("thread", []):  # "12 of 10"
            tid, pid = map(int, line.split(" of "))
            self.pid_of[tid] = pid
        for tid, call in sorted(log.started().items(), key=lambda item: item[1].start):
            parent = self.pid_of.setdefault(call.tid, call.tid)
            self.pid_of[tid] = parent if "CLONE_THREAD" in call.arguments else tid
        for tid in {call.tid for call in log.calls}:
            self.pid_of.setdefault(tid, tid)
        self.processes = {pid: Process(pid) for pid in self.pid_of.values()}
        for line in log.header.get("listener", []):  # "3 of 10"
            fd, pid = map(int, line.split(" of "))
            self.processes[pid].files[fd] = "listener"
        for line in log.header.get("epoll", []):  # "4 of 10 watches 3 5"
            epoll, _, pid, _, *fds = line.split()
            self.processes[int(pid)].epolls[int(epoll)] = {int(fd): int(fd) for fd in fds}

    def _follow(self, call, process):
        fd, note = first_fd(call)
        if call.name in ACCEPT:
            self._accept(call, process, fd)
        elif call.name == "listen" and call.value == 0:
            process.files[fd] = "listener"
        elif call.name.startswith("eventfd"):
            process.files[call.value] = "its own wake-up"
        elif call.name == "close":
            self.of_call[id(call)] = process.files.pop(fd, None)
        elif call.name in RECEIVE | SEND:
            self._transfer(call, process, fd)
        elif call.name == "epoll_ctl":
            self._watch(call, process)
        elif call.name == "shutdown":
            self.of_call[id(call)] = process.files.get(fd)
        elif call.name in LOOP:
            self._wait(call, process, fd)
        elif strace_log.child(call) in self.processes:  # it inherits them
            started = self.processes[strace_log.child(call)]
            started.files = {**process.files, **started.files}
            started.epolls = {epoll: dict(fds) for epoll, fds in process.epolls.items()}
        if fd is not None and "eventfd" in note and fd not in process.files:
            process.files[fd] = "its own wake-up"

    def _accept(self, call, process, listener):
        process.files[listener] = "listener"
        if call.value is None or call.value < 0:
            return
        peer = _PEER.search(call.result) or _PORT_IN_ADDRESS.search(call.arguments)
        connection = Connection(process.pid, call.value, call, int(peer[1]) if peer else None)
        self.connections.append(connection)
        process.files[call.value] = connection
        self.of_call[id(call)] = connection

    def _transfer(self, call, process, fd):
        connection = process.files.get(fd)
        text = _TEXT.search(call.arguments)
        request = _REQUEST.match(text[1]) if text else None
        receives = call.name in RECEIVE
        if not isinstance(connection, Connection):
            if not (receives and request and (call.value or 0) > 0):
                return
            connection = Connection(process.pid, fd, None, None)  # accepted before the log began
            self.connections.append(connection)
            process.files[fd] = connection
        self.of_call[id(call)] = connection
        if (call.value or 0) <= 0 or "MSG_PEEK" in call.arguments:
            return
        if receives:
            connection.received = call
            connection.path = connection.path or (request and request[1])
        else:
            connection.answered = call

    def _watch(self, call, process):
        change = re.match(r"(\d+)(?:<.*?>)?, EPOLL_CTL_(\w+), (\d+)", call.arguments)
        if not change or call.value != 0:
            return
        watched = process.epolls.setdefault(int(change[1]), {})
        fd = int(change[3])
        for data in [data for data, other in watched.items() if other == fd]:
            del watched[data]
        if change[2] != "DEL":
            watched[next(_event_data(call), fd)] = fd
        if isinstance(process.files.get(fd), Connection):
            self.of_call[id(call)] = process.files[fd]

    def _wait(self, call, process, fd):
        if call.name.startswith("epoll"):
            events = process.epolls.get(fd, {})
            watched = list(events.values())
            reported = [events[data] for data in _event_data(call) if data in events]
        elif call.name in ("poll", "ppoll"):
            watched = [int(other) for other in re.findall(r"\{fd=(\d+)", call.arguments)]
            reported = [int(other) for other in re.findall(r"\{fd=(\d+)", call.result)]
        else:
            sets = re.match(r"\d+, (\[.*?\]|NULL), (\[.*?\]|NULL)", call.arguments)
            watched = [fd for words in (sets.groups() if sets else ()) for fd in _set(words)]
            ready = re.match(r"\d+ \((.*?)(?:, left|\)$)", call.result)
            reported = _set(ready[1]) if ready else []
        name = process.files.get
        self.watched[id(call)] = [name(other) or f"fd {other}" for other in watched]
        self.reported[id(call)] = [name(other) or f"fd {other}" for other in reported]


def _set(words):
    """The descriptors in what strace prints of a set: "[3<socket:[77]> 5]", "in [3], out [7]"."""
    return [int(fd) for fd in re.findall(r"\d+", _NOTE.sub("", words))]


def _event_data(call):
    """Yield the data of each event in the arguments of a call to epoll."""
    return (int(before or after, 0) for before, after in _EVENT_DATA.findall(call.arguments))


def _takes_effect(call):
    if call.name == "close" or call.end is None:
        return call.start
    return call.end


def first_fd(call):
    """The descriptor that a call is about, and strace's note about it: (5, "socket:[123]")."""
    found = _FD.match(call.arguments)
    return (int(found[1]), found[2] or "") if found else (None, "")
