"""A recording: what the threads of one server, and its clients, did during one experiment.

All times are in seconds since the recording began (the moment of the first client's connect, less a
little), as floats. None means "never", or "not within the recording".
"""
from dataclasses import dataclass, field
from typing import Dict, List, Optional

from recorder.account import Part


@dataclass
class Call:
    """One system call of one thread."""
    tid: int
    name: str                      # such as "epoll_pwait"
    arguments: str                 # as strace prints them, without the outer brackets
    result: str                    # as strace prints it, such as "1" or "-1 EAGAIN (...)"; "" if unfinished
    start: float                   # may be below 0: it was waiting when the recording began
    end: Optional[float]           # None: it had not returned when the recording ended
    source: Optional[str] = None   # "05-epoll/server.c:44": the line of ours that called it, if known
    function: Optional[str] = None  # "main", or the innermost function that is known
    waits_for: str = ""            # "" (it did not wait), or one of waiting.KINDS
    plain: str = ""                # in a reader's words, such as "waits for any client, 1 s at most"
    client: Optional[int] = None   # the index in Recording.clients of the client that this is about
    stack: List[str] = field(default_factory=list)  # our lines, "main 05-epoll/server.c:44", innermost first
    detail: bool = False           # of less interest: left out where space is short
    folded: int = 0                # how many calls of this thread just before it are not in the story
    of: str = ""                   # what it waits for, such as an address: see waiting.Cause
    by: Optional[int] = None
    stranger: bool = False         # it is about a client that is not in the recording


@dataclass(eq=False)
class Thread:
    tid: int
    pid: int
    label: str                     # "main thread", "thread 2 (pool-1)", "worker 1", "worker 1, thread 2"
    start: float                   # may be below 0, too
    end: Optional[float]           # None: it still ran when the recording ended
    calls: List[Call] = field(default_factory=list)   # in the order of time, those of the story only
    parts: List[Part] = field(default_factory=list)   # all of its life within the recording: see account
    runs_tasks: bool = False       # of its program, such as goroutines: what it waits for is not what they wait for


@dataclass
class Client:
    """One request of the probe, and when the server noticed."""
    path: str                      # "/slow"
    start: float                   # connect was called
    connected: Optional[float]     # connect had returned: the client is in the backlog
    accepted: Optional[float]      # accept returned it to the server
    received: Optional[float]      # recv returned (the last byte of) its request
    answered: Optional[float]      # send took the response
    done: Optional[float]          # the client had all of the response
    fd: Optional[int] = None       # in the server
    port: Optional[int] = None     # of the client
    accepted_by: Optional[int] = None   # tid
    answered_by: Optional[int] = None   # tid
    read_by: Optional[int] = None       # tid
    accept_seen: bool = True            # else it was accepted at some moment before it was read
    status: str = ""


@dataclass
class Upstream:
    """A question to another server."""
    name: str                      # "127.0.0.1:5432"
    start: float
    end: Optional[float]           # None: it did not answer
    tid: int
    client: Optional[int] = None   # the index of the client whose request takes it; None: that cannot be seen
    by: Optional[int] = None       # the thread of this very program that accepts there


@dataclass
class Wait:
    """The event loop waits: from the arguments of one epoll_pwait, ppoll or pselect6."""
    tid: int
    start: float
    end: Optional[float]
    watched: List[str]             # "listener", "/slow (fd 5)", ... what is watched during this wait
    timeout_ms: Optional[float]    # None: for ever
    reported: List[str]            # what it returned
    whole: bool = True             # nothing else was watched, or could have been


@dataclass
class Recording:
    name: str                      # "05-epoll", "06-libev --block", "asyncio.sleep under uvicorn"
    command: str                   # what was recorded, for people
    url: str
    duration: float
    threads: List[Thread]
    clients: List[Client]
    waits: List[Wait]
    serializes: Optional[bool]     # did /fast wait? None: it cannot be said
    sentence: str                  # why /fast waited, or did not, with thread, call and line
    computing_from: float = 0.02   # a thread computes if it makes no call for so many seconds
    idle_threads: int = 0          # of the server, not in threads, since they had no part in this
    others: List[Thread] = field(default_factory=list)  # these threads, without calls
    upstreams: List[Upstream] = field(default_factory=list)
    complete: bool = True          # no thread is missing, so that "only" can be said
    program: str = ""              # the command line of the process that served the last client
    pid: int = 0                   # of that process
    hidden: Dict[str, int] = field(default_factory=dict)  # calls that are not in the story: {name: how many}
    sources: Dict[str, List[str]] = field(default_factory=dict)  # "05-epoll/server.c": its lines
