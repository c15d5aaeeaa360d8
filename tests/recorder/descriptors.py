"""Follow the descriptors of processes through a log: what each one is, and which requests go through it."""
import re
from collections import deque
from dataclasses import dataclass, field
from typing import Deque, Dict, List, Optional, Set, Tuple

from kit import proc
from recorder import strace_log

ACCEPT = {"accept", "accept4"}
RECEIVE = {"recv", "recvfrom", "recvmsg", "recvmmsg", "read", "readv", "pread64", "preadv"}
SEND = {"send", "sendto", "sendmsg", "sendmmsg", "write", "writev", "sendfile", "sendfile64", "splice"}
LOOP = {"epoll_wait", "epoll_pwait", "epoll_pwait2", "poll", "ppoll", "ppoll_time64", "select", "_newselect",
        "pselect6", "pselect6_time64"}
DUPLICATE = {"dup", "dup2", "dup3"}
NAME_SERVER = 53  # a port
A_CLIENT_AT = "a client at "  # what comes from a listener that is not the one of the URL
MOST_LOCKS = 100  # of a file: so many of the last are looked at

_FD = re.compile(r"(-?\d+)(?:<(.{0,4999}?)>(?=[,)\s\]}]|$))?")
_SECOND_FD = re.compile(r"\d+(?:<.{0,4999}?>)?, (?:NULL|\[.*?\]), (\d+)(?:<(.{0,4999}?)>(?=,))?")  # of splice
_PEER = re.compile(r"->.*:(\d+)\]")
_PAIR = re.compile(r"(?:TCP|UDP)(?:v6)?:\[(.*)->(.*)\]")
_ENDPOINT = re.compile(r"sin6?_port=htons\((\d+)\).*?"
                       r'(?:inet_addr\("([^"]*)"\)|inet_pton\(AF_INET6, "([^"]*)")')
_PORT_IN_ADDRESS = re.compile(r"sin6?_port=htons\((\d+)\)")
_SUN_PATH = re.compile(r'sun_path=(@?)"((?:[^"\\]|\\.)*)"')
_TEXT = re.compile(r'"((?:[^"\\]|\\.)*)"')
_EVENT_DATA = re.compile(r"(?:u64|data)=(?:0x([0-9a-f]{1,16})|([0-9]{1,20}))(?!\w)")  # as strace 6.1 and 6.13 print it
_REQUEST = re.compile(r"(?:GET|HEAD|POST|PUT|DELETE|PATCH|OPTIONS) (\S+) HTTP/1")
_PASSED = re.compile(r"SCM_RIGHTS, cmsg_data=\[(.*?)\](?=\}|$)")
_EVENTS = {"signalfd": "a signal", "inotify": "a change of files (inotify)",
           "mq_open": "a message"}  # what comes from such a descriptor
_WAKE_UPS = ("eventfd", "anon_inode:[eventfd]")


@dataclass(eq=False)
class OpenFile:
    """What one or more descriptors mean (an open file description).

    kind is "listener", "client", "server" (on the way to another server), "names" (to the name server), "file",
    "pipe", "wake-up" (of a loop, by another thread), "timer", "child" (a process: its name is a number), "epoll",
    "other" (its name says what comes from there), or "unknown"."""
    kind: str
    name: str = ""                 # an address, a path
    nonblocking: bool = False

    def __str__(self):
        words = {"listener": "listener", "wake-up": "its own wake-up", "timer": "a timer", "unknown": "a socket",
                 "epoll": "another epoll", "pipe": "a pipe"}
        return words.get(self.kind) or self.name or self.kind


@dataclass(eq=False)
class Request:
    """A request that the server has read, and what it did with it."""
    connection: "Connection"
    path: Optional[str]
    first: Optional[strace_log.SystemCall] = None     # that read of it
    received: Optional[strace_log.SystemCall] = None  # the last one
    answered: Optional[strace_log.SystemCall] = None  # the last one that sent of the response
    marked: bool = False            # it is one of those that were sent for the recording


@dataclass(eq=False)
class Connection(OpenFile):
    """A connection of a client."""
    pid: int = 0
    fd: int = -1
    accepted: Optional[strace_log.SystemCall] = None
    port: Optional[int] = None      # of the client
    listener: Optional[OpenFile] = None
    requests: List[Request] = field(default_factory=list)

    @property
    def begun(self):
        """When the server first saw the client."""
        call = self.accepted or (self.requests and self.requests[0].first)
        return (call.start if call.end is None else call.end) if call else 0.0

    @property
    def path(self):
        return self.requests[0].path if self.requests else None


@dataclass(eq=False)
class Exchange:
    """What a process asked another server, and got."""
    server: OpenFile
    tid: int
    start: float
    request: Optional[Request]     # whose handler asked, as far as that is known
    answered: Optional[float] = None
    sent: bool = False             # something was sent there


@dataclass
class Lock:
    """Somebody has the lock of a file, from one moment to another."""
    tid: int
    pid: int
    fd: int
    begin: float
    end: Optional[float] = None


@dataclass
class Process:
    pid: int
    files: Dict[int, OpenFile] = field(default_factory=dict)
    epolls: Dict[int, Dict[int, int]] = field(default_factory=dict)  # epoll fd -> {event data: fd}
    whole: bool = False             # the log has it from its start: what it watches is known
    ring: bool = False              # but it has an io_uring, and may tell an epoll what to watch in no call
    once: Set[Tuple[int, int]] = field(default_factory=set)  # (epoll, event data) that EPOLLONESHOT watches once
    looked_at: Set[int] = field(default_factory=set)  # the epolls of which /proc told what they watch, all the same


class Descriptors:
    """What the calls of a log are about. They are followed in the order in which they took effect."""

    def __init__(self, log):
        self.log = log
        self.mark = log.first("mark")
        self.connections: List[Connection] = []
        self.exchanges: List[Exchange] = []
        self.of_call: Dict[int, OpenFile] = {}       # id(call) -> what it is about
        self.request_of: Dict[int, Request] = {}     # id(call) -> the request that it reads or answers
        self.reads: Dict[int, bool] = {}             # id(call) -> whether it reads from its descriptor, or writes
        self.blocks: Dict[int, bool] = {}            # id(call) -> whether it may wait at its descriptor
        self.watched: Dict[int, List[OpenFile]] = {}  # id(call that waits)
        self.reported: Dict[int, List[OpenFile]] = {}
        self.partly = set()                          # ids of waits: their epoll may watch more than is known
        self.processes: Dict[int, Process] = {}
        self.pid_of: Dict[int, int] = {}
        self.names: Dict[int, str] = {}              # of threads
        self.programs: Dict[int, str] = {}           # of processes: the command that they run
        self.moves = {}                              # (channel, read?) -> when, and by which calls, in this order
        self.movers = {}                             # (channel, read?) -> the processes that read there, or wrote
        self.locks = {}                              # path -> [Lock], in the order in which they were got
        self.holder: Dict[int, int] = {}             # id(call that waits for such a lock) -> the thread that had it
        self.acceptors = {}                          # the name of another listener -> the threads that accepted there
        self.serving: Dict[int, Request] = {}        # tid -> the request that it read last, and has not answered
        self.tasks = set()                           # pids of those whose threads run tasks of their own
        self.passing = set()                         # tids that pass connections of clients to another process
        self._port = _url_port(log) if self._has_listener(log) else ""
        self._passed = []                            # descriptors on their way between processes
        self._unanswered: Dict[Request, None] = {}   # an ordered set
        self._last_exchange: Dict[OpenFile, Exchange] = {}
        self._looks: Deque[Tuple[float, int, int, List[int]]] = deque()  # moment, pid, epoll, what it watched
        self._last_looks: Dict[Tuple[int, int], Tuple[float, List[int]]] = {}
        self._find_processes()
        for call in sorted(log.calls, key=_takes_effect):
            while self._looks and self._looks[0][0] <= _takes_effect(call):
                _, pid, epoll, fds = self._looks.popleft()
                self._look(self.processes[pid], epoll, fds)
            self._follow(call, self.processes[self.pid_of[call.tid]])

    # ---- processes

    def _find_processes(self):
        """Find out which thread belongs to which process. The header tells it of a process that was running
        before, and which descriptors that had."""
        log = self.log
        for tid, pid in log.fields("thread", r"(\d+) of (\d+)"):
            self.pid_of[int(tid)] = int(pid)
        for tid, call in sorted(log.started().items(), key=lambda item: item[1].start):
            parent = self.pid_of.setdefault(call.tid, call.tid)
            self.pid_of[tid] = parent if "CLONE_THREAD" in call.arguments else tid
        for tid in {call.tid for call in log.calls}:
            self.pid_of.setdefault(tid, tid)
        self.processes = {pid: Process(pid) for pid in self.pid_of.values()}
        known = self.processes.setdefault
        for fd, pid, flags in log.fields("listener", r"(\d+) of (\d+)( nonblocking)?"):
            known(int(pid), Process(int(pid))).files[int(fd)] = OpenFile("listener", "", bool(flags))
        sockets = log.fields("socket", r"(\d+) of (\d+) is (\S+:\d+)->(\S+:\d+)( nonblocking)?")
        for fd, pid, here, there, flags in sockets:
            file = self._end_of_a_connection(here, there, False)
            file.nonblocking = bool(flags)
            known(int(pid), Process(int(pid))).files[int(fd)] = file
        for fd, pid, place, flags in log.fields("socket", r"(\d+) of (\d+) listens at (\S+:\d+)( nonblocking)?"):
            known(int(pid), Process(int(pid))).files[int(fd)] = OpenFile("other", f"{A_CLIENT_AT}{place}", bool(flags))
        for epoll, pid, fds in log.fields("epoll", r"(\d+) of (\d+) watches((?: \d+)*)"):
            process = known(int(pid), Process(int(pid)))
            process.epolls[int(epoll)] = {int(fd): int(fd) for fd in fds.split()}
            process.whole = True
        looks = log.fields("epoll", r"(\d+) of (\d+) at (\d{1,12}\.\d{1,9}) watches((?: \d+)*)")
        self._looks.extend(sorted((float(moment), int(pid), int(epoll), list(map(int, fds.split())))
                                  for epoll, pid, moment, fds in looks))
        for moment, pid, epoll, fds in self._looks:
            known(pid, Process(pid))
            self._last_looks[pid, epoll] = moment, fds
        self.names.update((int(tid), name) for tid, name in log.fields("name", r"(\d+) is (.*)"))
        self.programs.update((int(pid), name) for pid, name in log.fields("program", r"(\d+) is (.*)"))
        self.tasks = {int(pid) for pid, in log.fields("tasks", r"(\d+)")}

    def is_interpreter(self, pid):
        """Is this a program in Python, whose threads take turns?"""
        return re.search(r"python|gunicorn|uvicorn|flask|celery", self.programs.get(pid, "")) is not None

    @staticmethod
    def _look(process, epoll, fds):
        """Somebody looked at what this epoll watches. An event's data are not told there: libuv, which is the one that
        sets an epoll through io_uring, has the descriptor for it."""
        process.ring = True
        process.looked_at.add(epoll)
        process.epolls[epoll] = {fd: fd for fd in fds}

    # ---- calls

    def _follow(self, call, process):
        fd, note = first_fd(call)
        if call.name in ACCEPT:
            self._accept(call, process, fd, note)
        elif call.name in ("socket", "socketpair", "pipe", "pipe2", "eventfd", "eventfd2", "timerfd_create",
                           "open", "openat", "openat2", "creat", "memfd_create", "signalfd", "signalfd4",
                           "inotify_init", "inotify_init1", "pidfd_open", "mq_open"):
            self._open(call, process)
        elif call.name == "listen" and call.value == 0:
            self._listen(self._file(process, fd, note))
        elif call.name == "bind" and call.value == 0 and fd in process.files:
            process.files[fd].name = endpoint(call.arguments) or process.files[fd].name
        elif call.name == "getsockname" and call.value == 0 and fd in process.files:
            file = process.files[fd]  # the kernel may have chosen the port
            file.name = re.sub(r"\S+:0$", lambda old: endpoint(call.arguments) or old[0], file.name)
        elif call.name == "getsockopt" and "SO_ERROR, [E" in call.arguments:
            file = self.of_call[id(call)] = self._file(process, fd, note)
            if file in self._last_exchange:  # it was refused
                self._last_exchange[file].answered = call.end
        elif call.name == "connect":
            self._connect(call, process, fd, note)
        elif call.name == "close":
            self.of_call[id(call)] = process.files.pop(fd, None)
            self._unlock(self.of_call[id(call)], process.pid, fd, call.start)
        elif call.name == "flock":
            self._lock(call, process, fd, note, "LOCK_UN" in call.arguments)
        elif call.name in ("epoll_create", "epoll_create1"):
            if (call.value or 0) > 0:
                process.files[call.value], process.epolls[call.value] = OpenFile("epoll"), {}
                process.looked_at.discard(call.value)
        elif call.name.startswith("io_uring"):
            process.ring |= (call.value or 0) >= 0
        elif call.name in RECEIVE | SEND:
            self._transfer(call, process, fd, note)
        elif call.name == "epoll_ctl":
            self._watch(call, process)
        elif call.name == "shutdown":
            self.of_call[id(call)] = process.files.get(fd)
        elif call.name in LOOP:
            self._wait(call, process, fd)
        elif call.name in DUPLICATE or call.name.startswith("fcntl") or call.name == "ioctl":
            self._control(call, process, fd, note)
        elif call.name in ("execve", "execveat"):
            self._run(call, process)
        elif call.name == "prctl":
            found = re.match(r'PR_SET_NAME, "((?:[^"\\]|\\.)*)"', call.arguments)
            if found:
                self.names[call.tid] = found[1]
        elif strace_log.child(call) in self.processes:
            self._start(call, process)
        elif fd is not None and note:
            self.of_call[id(call)] = self._file(process, fd, note)

    def _start(self, call, process):
        """A process has started another one, which inherits its descriptors, or a thread, which has a name."""
        child = strace_log.child(call)
        started = self.processes[self.pid_of[child]]
        if call.tid in self.names:
            self.names.setdefault(child, self.names[call.tid])
        if started is process:
            return
        if "CLONE_FILES" in call.arguments and "CLONE_VFORK" not in call.arguments:
            started.files, started.epolls, started.looked_at = process.files, process.epolls, process.looked_at
        else:
            started.files = {**process.files, **started.files}
            started.epolls = {epoll: dict(fds) for epoll, fds in process.epolls.items()}
            started.looked_at = set(process.looked_at)
        started.whole, started.ring = process.whole, process.ring
        self.programs.setdefault(started.pid, self.programs.get(process.pid, ""))

    def _run(self, call, process):
        """A process becomes another program."""
        words = re.match(r'(?:\S+, )?"((?:[^"\\]|\\.)*)", \[(.*?)\](?:\.\.\.)?,', call.arguments)
        if words and call.value == 0:
            self.programs[process.pid] = " ".join(_TEXT.findall(words[2])) or words[1]
            self.names.pop(call.tid, None)
            process.whole, process.ring = True, False

    def _lock(self, call, process, fd, note, ends):
        """A lock of a file is got, or given back."""
        file = self.of_call[id(call)] = self._file(process, fd, note)
        holder = next((lock.tid for lock in reversed(self.locks.get(file.name, [])[-MOST_LOCKS:])
                       if lock.tid != call.tid and lock.begin <= call.start and self._has(lock, call.start)), None)
        if holder:
            self.holder[id(call)] = holder
        if call.value == 0:
            self._unlock(file, process.pid, fd, call.start)
            if not ends:
                self.locks.setdefault(file.name, []).append(Lock(call.tid, process.pid, fd, call.end or call.start))

    def _unlock(self, file, pid, fd, moment):
        for lock in self.locks.get(file.name, [])[-MOST_LOCKS:] if file else ():
            if lock.end is None and (lock.pid, lock.fd) == (pid, fd):
                lock.end = moment

    def _has(self, lock, moment):
        """Does it still have the lock? Whoever ends gives it back."""
        end = lock.end or (self.log.ends[lock.pid][0] if lock.pid in self.log.ends else None)
        return end is None or moment < end

    def _open(self, call, process):
        """A call that returns a new descriptor, or two."""
        if (call.value or 0) < 0 or call.value is None:
            return
        nonblocking = "NONBLOCK" in call.arguments or "NDELAY" in call.arguments
        if call.name in ("pipe", "pipe2", "socketpair"):
            ends = re.search(r"\[(\d+)(?:<(.*?)>)?, (\d+)(?:<(.*?)>)?\]", call.arguments)
            if not ends:
                return
            name = ends[2] or f"pipe:{id(call)}"
            for end in (int(ends[1]), int(ends[3])):
                process.files[end] = OpenFile("pipe", name, nonblocking)
            return
        kind, name = "unknown", ""
        if call.name.startswith("eventfd"):
            kind = "wake-up"
        elif call.name.startswith("timerfd"):
            kind = "timer"
        elif call.name.startswith(("open", "creat")):
            path = _TEXT.search(call.arguments)
            kind, name = "file", path[1] if path else "a file"
        elif call.name == "pidfd_open":
            kind, name = "child", str(strace_log.process(call.arguments) or "")
        elif call.name != "socket":
            kind, name = "other", next((what for word, what in _EVENTS.items() if call.name.startswith(word)), "")
        process.files[call.value] = OpenFile(kind, name, nonblocking)
        self.of_call[id(call)] = process.files[call.value]

    @staticmethod
    def _has_listener(log):
        """Does the log show the listener of the URL, so that others can be told from it?"""
        place = f":{_url_port(log)}"
        return log.first("listener") or any(call.name == "bind" and endpoint(call.arguments).endswith(place)
                                            for call in log.calls)

    def _listen(self, file):
        """A program may serve others, too, than the clients of the URL: its own processes, for instance."""
        if file.kind == "other":
            return
        elsewhere = self._port and file.name and not file.name.endswith(f":{self._port}")
        if elsewhere and (file.name[0] in "/@" or ":" in file.name):
            file.kind, file.name = "other", f"{A_CLIENT_AT}{file.name}"
        else:
            file.kind = "listener"

    def _accept(self, call, process, fd, note):
        listener = self._file(process, fd, note)
        self._listen(listener)
        self.blocks[id(call)] = not listener.nonblocking
        self.of_call[id(call)] = listener
        if call.value is None or call.value < 0:
            return
        if listener.kind == "other":
            self.acceptors.setdefault(listener.name, set()).add(call.tid)
            process.files[call.value] = OpenFile("other", listener.name, "SOCK_NONBLOCK" in call.arguments)
            return
        peer = _PEER.search(call.result) or _PORT_IN_ADDRESS.search(call.arguments)
        connection = Connection("client", "", "SOCK_NONBLOCK" in call.arguments, process.pid, call.value, call,
                                int(peer[1]) if peer else None, listener)
        self.connections.append(connection)
        process.files[call.value] = connection
        self.of_call[id(call)] = connection

    def _connect(self, call, process, fd, note):
        file = self._file(process, fd, note)
        address = endpoint(call.arguments)
        nonblocking = file.nonblocking
        if address and file.kind in ("unknown", "server", "names"):
            known = _server(address, "UDP" in note)
            file.kind, file.name = known.kind, known.name
        self.of_call[id(call)] = file
        self.blocks[id(call)] = not nonblocking
        started = (call.value or 0) == 0 or "EINPROGRESS" in call.result
        if file.kind == "server" and started:
            self._exchange(call, file, call.start)

    def _exchange(self, call, file, moment):
        """Another server is asked for something."""
        self._last_exchange[file] = Exchange(file, call.tid, moment, self._on_account_of(call))
        self.exchanges.append(self._last_exchange[file])

    def _on_account_of(self, call):
        """The request for which a call is made, as far as that is known."""
        pending = [request for request in self._unanswered if request.connection.pid == self.pid_of[call.tid]]
        own = self.serving.get(call.tid)
        return pending[0] if len(pending) == 1 else own if own in pending else None

    def _transfer(self, call, process, fd, note):
        file = self._file(process, fd, note)
        receives, count = call.name in RECEIVE, call.value or 0
        if call.name in ("recvmsg", "sendmsg"):
            self._pass(call, process, receives)
        if call.name == "splice":
            file, receives = self._spliced(call, process, file)
        text = _TEXT.search(call.arguments)
        request = _REQUEST.match(text[1]) if text else None
        if file.kind in ("unknown", "listener") and receives and request and count > 0:
            file = Connection("client", "", file.nonblocking, process.pid, fd, None,
                              int(_PEER.search(note)[1]) if _PEER.search(note) else None)
            self.connections.append(file)  # accepted before the log began
            process.files[fd] = file
        if file.kind == "unknown" and "sin" in call.arguments and endpoint(call.arguments):
            known = _server(endpoint(call.arguments))  # sendto with an address
            file.kind, file.name = known.kind, known.name
        self.of_call[id(call)] = file
        self.reads[id(call)] = receives
        self.blocks[id(call)] = not file.nonblocking and not re.search("MSG_DONTWAIT|SPLICE_F_NONBLOCK", call.arguments)
        if isinstance(file, Connection):
            if count > 0 and "MSG_PEEK" not in call.arguments:
                self._serve(call, file, receives, request and request[1])
            elif file.requests:
                self.request_of[id(call)] = file.requests[-1]
        elif file.kind == "server":
            self._ask(call, file, receives, count)
        elif file.kind in ("pipe", "wake-up") and count > 0:
            moments, calls = self.moves.setdefault((channel(file), receives), ([], []))
            moments.append(_takes_effect(call))
            calls.append(call)
            self.movers.setdefault((channel(file), receives), set()).add(process.pid)

    def _spliced(self, call, process, source):
        """Bytes go from a socket into a pipe, or from a pipe to a socket: (the one that is no pipe, whether it is read
        from)."""
        found = _SECOND_FD.match(call.arguments)
        if source.kind != "pipe" or not found:
            return source, True
        return self._file(process, int(found[1]), found[2] or ""), False

    def _serve(self, call, connection, receives, path):
        """Part of a request is read, or of a response sent."""
        last = connection.requests[-1] if connection.requests else None
        if receives:
            connection.pid = self.pid_of[call.tid]
            if last is None or (path and last.answered):
                last = Request(connection, path, call)
                connection.requests.append(last)
            if last.answered is None:  # else it is the end of a body that nobody wanted
                last.received = call
                last.path = last.path or path
                last.marked |= bool(self.mark) and self.mark in call.arguments
                self.serving[call.tid] = last
                self._unanswered[last] = None
        elif last is not None:
            last.answered = call
            self._unanswered.pop(last, None)
            for tid in [tid for tid, request in self.serving.items() if request is last]:
                del self.serving[tid]
        if last is not None:
            self.request_of[id(call)] = last

    def _ask(self, call, server, receives, count):
        """Something is sent to another server, or comes from there."""
        last = self._last_exchange.get(server)
        if receives:
            if last and count > 0:
                last.answered = call.end
        elif last is None or last.answered is not None:
            self._exchange(call, server, call.start)
            self._last_exchange[server].sent = True
        elif not last.sent:  # it may have been connected before the request was read
            last.sent, last.request = True, last.request or self._on_account_of(call)

    def _pass(self, call, process, receives):
        """Descriptors travel between processes."""
        found = _PASSED.search(call.arguments)
        if not found or (call.value or 0) <= 0:
            return
        for number, note in _FD.findall(found[1]):
            inode = re.search(r"\d+", note)
            if not receives:
                if isinstance(process.files.get(int(number)), Connection):
                    self.passing.add(call.tid)
                self._passed.append((process.pid, inode and inode[0], process.files.get(int(number))))
                continue
            for index, (pid, known, file) in enumerate(self._passed):
                if file and (known == inode[0] if known and inode else pid != process.pid):
                    process.files[int(number)] = file
                    if isinstance(file, Connection):
                        file.pid, file.fd = process.pid, int(number)
                    del self._passed[index]
                    break

    def _control(self, call, process, fd, note):
        file = self._file(process, fd, note)
        self.of_call[id(call)] = file
        if call.name in DUPLICATE or "F_DUPFD" in call.arguments:
            if (call.value if call.value is not None else -1) >= 0:
                process.files[call.value] = file
        elif "F_SETLK" in call.arguments or "F_OFD_SETLK" in call.arguments:
            self._lock(call, process, fd, note, "F_UNLCK" in call.arguments)
        elif "F_SETFL" in call.arguments and call.value == 0:
            file.nonblocking = "O_NONBLOCK" in call.arguments
        elif "FIONBIO" in call.arguments and call.value == 0:
            file.nonblocking = "[0]" not in call.arguments

    def _watch(self, call, process):
        change = re.match(r"(\d+)(?:<.*?>)?, EPOLL_CTL_(\w+), (\d+)(?:<(.*?)>(?=,))?", call.arguments)
        if not change or call.value != 0:
            return
        watched = process.epolls.setdefault(int(change[1]), {})
        fd = int(change[3])
        for data in [data for data, other in watched.items() if other == fd]:
            del watched[data]
        if change[2] != "DEL" and "{events=0," not in call.arguments:
            data = next(_event_data(call), fd)
            watched[data] = fd
            once = process.once.add if "EPOLLONESHOT" in call.arguments else process.once.discard
            once((int(change[1]), data))
        file = self._file(process, fd, change[4] or "")
        if isinstance(file, Connection):
            self.of_call[id(call)] = file
            if file.requests:
                self.request_of[id(call)] = file.requests[-1]

    def _wait(self, call, process, fd):
        if call.name.startswith("epoll"):
            events = self._events(call, process, fd)
            watched = [(number, "") for number in events.values()]
            found = [data for data in _event_data(call) if data in events]
            reported = [(events[data], "") for data in found]
            for data in found:
                if (fd, data) in process.once:  # it is not watched until it is asked for again
                    del events[data]
                    process.once.discard((fd, data))
        elif "poll" in call.name:
            watched, reported = (_polled(text) for text in (call.arguments, call.result))
        else:
            sets = re.match(r"\d+, (\[.*?\]|NULL), (\[.*?\]|NULL)", call.arguments)
            watched = [pair for words in (sets.groups() if sets else ()) for pair in _set(words)]
            ready = re.match(r"\d+ \((.*?)(?:, left|\)$)", call.result)
            reported = _set(ready[1]) if ready else []
        self.watched[id(call)] = [self._file(process, *pair) for pair in watched]
        self.reported[id(call)] = [self._file(process, *pair) for pair in reported]

    def _events(self, call, process, epoll):
        """{event data: descriptor} of an epoll, in this wait. What the wait returns was watched, whoever said so."""
        moment, fds = self._last_looks.get((process.pid, epoll), (0, None))
        if call.end is None and moment > call.start:  # it still waited then
            self._look(process, epoll, fds)
        events = process.epolls.setdefault(epoll, {})
        if process.ring:
            events.update((fd, fd) for fd in _event_data(call) if fd not in events and fd in process.files)
            if epoll not in process.looked_at:
                self.partly.add(id(call))
        return events

    def _file(self, process, fd, note):
        """What a descriptor means. If that was opened before the log began, strace's note about it may tell."""
        known = process.files.get(fd)
        if known is None:
            known = self._described(note or "", fd)
            if fd is not None:
                process.files[fd] = known
        elif known.kind == "unknown" and note and "->" in note and not isinstance(known, Connection):
            found = self._described(note, fd)
            known.kind, known.name = found.kind, found.name
        return known

    def _described(self, note, fd):
        pair, inode = _PAIR.search(note), re.search(r"\[(\d+)\]", note)
        if pair:
            return self._end_of_a_connection(*pair.groups(), "UDP" in note)
        if any(word in note for word in _WAKE_UPS):
            return OpenFile("wake-up")
        if "timerfd" in note:
            return OpenFile("timer")
        for word, what in _EVENTS.items():
            if note.startswith("anon_inode:") and word in note:
                return OpenFile("other", what)
        if "eventpoll" in note:
            return OpenFile("epoll")
        if note.startswith("pipe:"):
            return OpenFile("pipe", note)
        if note.startswith("/"):
            return OpenFile("file", note)
        path = re.search(r'^UNIX.*->.*"(.*)"', note)
        if path:
            return _server(path[1])
        return OpenFile("unknown", f"socket {inode[1]}" if inode else f"fd {fd}")

    def _end_of_a_connection(self, here, there, datagrams):
        """A connection that was there before the log began: to a client, if something listens at our end."""
        port = here.rpartition(":")[2]
        listens = any(file.kind == "listener" and file.name.endswith(f":{port}")
                      for process in self.processes.values() for file in process.files.values())
        peer = there.rpartition(":")[2]
        if not datagrams and peer.isdigit() and (listens or _url_port(self.log) == port):
            connection = Connection("client", "", True, port=int(peer))
            self.connections.append(connection)
            return connection
        return _server(proc.unmapped(there), datagrams)


def _url_port(log):
    found = re.match(r"http://[^/]*?(?::(\d+))?/?$", log.first("url"))
    return (found[1] or "80") if found else ""


def _server(address, datagrams=False):
    """Another server at an address; the name server, if that is its port."""
    names = address.endswith(f":{NAME_SERVER}") or "nscd" in address
    return OpenFile("names" if names else "unknown" if datagrams and address.endswith(":0") else "server", address)


def endpoint(arguments):
    """The address in the arguments of a call, as people write it; "" if there is none."""
    found, path = _ENDPOINT.search(arguments), _SUN_PATH.search(arguments)
    if found:
        return proc.unmapped(f"{found[2] or f'[{found[3]}]'}:{found[1]}")
    return "".join(path.groups()) if path else ""


def _set(words):
    """The descriptors in what strace prints of a set: "[3<socket:[77]> 5]", "in [3], out [7]"."""
    return [(int(fd), note) for fd, note in re.findall(r"\b(\d+)(?:<(.{0,999}?)>(?=[ \]]|$))?", words)
            if fd] if "<" in words else [(int(fd), "") for fd in re.findall(r"\d+", words)]


def _polled(words):
    """The same of the descriptors in an array for poll."""
    return [(int(fd), note) for fd, note in re.findall(r"\{fd=(\d+)(?:<(.{0,999}?)>(?=,))?", words)]


def channel(file):
    """What both ends of a pipe, or all that have a wake-up, share."""
    return file.name if file.kind == "pipe" else file


def _event_data(call):
    """Yield the data of each event in the arguments of a call to epoll."""
    return (int(hexadecimal, 16) if hexadecimal else int(decimal)
            for hexadecimal, decimal in _EVENT_DATA.findall(call.arguments))


def _takes_effect(call):
    if call.name == "close" or call.end is None:
        return call.start
    return call.end


def first_fd(call):
    """The descriptor that a call is about, and strace's note about it: (5, "socket:[123]")."""
    found = _FD.match(call.arguments)
    return (int(found[1]), found[2] or "") if found else (None, "")
