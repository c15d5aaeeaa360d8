"""One look at a server from outside: its connections as the kernel tells them (ss), its descriptors and its threads
(/proc). It stops nothing, attaches to nothing, and takes some milliseconds."""
import os
import re
import subprocess
import time
from dataclasses import dataclass, field
from typing import Dict, List

from kit import proc
from kit.errors import Failed
from kit.printable import printable

UNCONNECTED = "UNCONN"  # of UDP: it may ask many servers, and the kernel does not tell which


@dataclass
class Socket:
    """A TCP socket as ss tells of it; or another one, without details."""
    state: str
    receive: int   # bytes that have arrived and are unread; of a listener, the clients in its backlog
    send: int      # bytes that the peer has not confirmed; of a listener, the size of its backlog
    local: str
    peer: str
    inode: int     # 0: no process has it
    details: str

    def number(self, name):
        found = re.search(rf"\b{name}:(\d+)", self.details)
        return int(found[1]) if found else 0

    @property
    def waits_for_answer(self):
        """Was something sent after what arrived last?"""
        return self.number("bytes_sent") > 0 and (
            self.number("bytes_received") == 0 or self.number("lastsnd") < self.number("lastrcv"))


def sockets(*condition):
    """The TCP sockets that meet a condition of ss, such as "sport", "=", ":8000"."""
    run = subprocess.run(["ss", "-Htaneio", *condition], capture_output=True, text=True,
                         env={**os.environ, "LC_ALL": "C"})
    if run.returncode != 0:
        raise Failed(f"ss: {printable(run.stderr.strip())}")
    found = []
    for block in re.sub(r"\n[ \t]+", " ", run.stdout).splitlines():  # a socket may take two lines
        words = proc.unmapped(block).split(None, 5) + [""]
        inode = re.search(r"\bino:(\d+)", words[5])
        unread = max(int(words[1]) - (words[0] == "CLOSE-WAIT"), 0)  # the kernel counts the end as a byte
        found.append(Socket(words[0], unread, int(words[2]), words[3], words[4],
                            int(inode[1]) if inode else 0, words[5]))
    return found


@dataclass
class Process:
    pid: int
    name: str
    listens: bool
    accepted: Dict[int, str] = field(default_factory=dict)   # descriptor -> the address of the client
    outgoing: Dict[int, Socket] = field(default_factory=dict)  # descriptor -> a connection to another server
    places: Dict[int, proc.Place] = field(default_factory=dict)  # tid -> where it is
    names: Dict[int, str] = field(default_factory=dict)      # tid -> what it is called


@dataclass
class Snapshot:
    began: float                # by the monotonic clock
    ended: float
    listeners: List[Socket]
    connections: List[Socket]   # the server's ends
    processes: List[Process]
    late_ms: float = 0          # so much later the connections to other servers were read


def serving(port):
    """The processes that listen on a port, and those that have a connection to it: a parent may pass them on."""
    found = sockets("sport", "=", f":{port}")
    listening = proc.owners({each.inode for each in found if each.state == "LISTEN"})
    accepted = proc.owners({each.inode for each in found if each.state != "LISTEN" and each.inode})
    return [pid for pid in dict.fromkeys(proc.without_init(listening) + accepted) if pid != os.getpid()]


def take(port, pids):
    """Look at these processes once."""
    began = time.monotonic()
    places = {pid: {tid: proc.place(pid, tid) for tid in proc.threads(pid)} for pid in pids}
    everything = sockets("sport", "=", f":{port}")
    listeners = [each for each in everything if each.state == "LISTEN"]
    own = [each for each in everything if each.state not in ("LISTEN", "TIME-WAIT")]
    fds = {pid: proc.sockets(pid) for pid in pids}
    ended = time.monotonic()
    found = [_process(pid, fds[pid], {tid: place for tid, place in places[pid].items() if place}, listeners, own)
             for pid in pids if fds[pid] or places[pid]]
    return Snapshot(began, ended, listeners, own, found, (time.monotonic() - began) * 1000)


def _process(pid, fds, places, listeners, own):
    inodes, peers = {each.inode for each in listeners}, {each.inode: each.peer for each in own if each.inode}
    process = Process(pid, printable(proc.name(pid)), any(inode in inodes for inode in fds.values()),
                      {fd: peers[inode] for fd, inode in fds.items() if inode in peers}, places=places)
    rest = {inode: fd for fd, inode in fds.items() if inode not in peers and inode not in inodes}
    process.outgoing = _outgoing(rest)
    process.names = {tid: printable(proc.name(pid, tid)) for tid in places}
    return process


def _outgoing(rest):
    """The connections to other servers among these sockets (inode -> descriptor)."""
    pairs = [each for each in proc.tcp_sockets() if each.inode in rest and not each.listens] if rest else []
    ports = sorted({each.peer[1] for each in pairs if each.peer[1]})[:8]
    condition = " or ".join(f"dport = :{port}" for port in ports)
    found = sockets(f"( {condition} )") if ports else []
    others = rest.keys() - {each.inode for each in pairs}
    local = at_paths() if others else {}
    found += [Socket("ESTAB", 0, 0, "", path, inode, "") for inode, path in local.items()]
    found += [Socket("ESTAB" if each.peer[1] else UNCONNECTED, each.unread, 0, proc.written(each.local),
                     proc.written(each.peer), each.inode, "") for each in (proc.udp_sockets() if others else ())]
    return {rest[each.inode]: each for each in found if each.inode in rest}


def at_paths():
    """{inode of a UNIX socket: the path of the server to which it is connected}. When something was sent, the kernel
    does not tell."""
    run = subprocess.run(["ss", "-Hxan"], capture_output=True, text=True, errors="replace",
                         env={**os.environ, "LC_ALL": "C"})
    paths, peers = {}, {}
    for line in run.stdout.splitlines():
        found = re.match(r"u_\w+ +ESTAB +\d+ +\d+ +(.*?) +(\d+) +\S.* (\d+)\s*$", line)
        if found:
            paths[found[2]], peers[found[2]] = found[1], found[3]
    return {int(inode): printable(paths[peer]) for inode, peer in peers.items()
            if paths[inode] == "*" and paths.get(peer, "*") != "*"}
