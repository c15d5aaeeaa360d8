#!/usr/bin/env python3
"""Where is my request now? Tell of each connection to a port where it stands, and of
each thread of the process that listens there what it is doing at this moment.

A connection is in the backlog until the server accepts it. Then its bytes are unread,
or read and not answered, or answered. The kernel knows all of this (ss, /proc), and
the server does not notice. What a server does with a request after reading it cannot
be seen from here.
"""
from kit import tool  # first: see kit/__init__.py

import os
import re
import subprocess
from collections import Counter
from dataclasses import dataclass

from kit import commandline, proc
from kit.commandline import Parser
from kit.errors import Failed


EPILOG = "Exit status: 0 if something listens on the port; 1 if not; 2 for a bad command line."
MOST = 8  # lines about connections, or threads, that are alike


@dataclass
class Socket:
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


def sockets(side, port, *options):
    """The TCP sockets whose own port (side "sport") or whose peer's (side "dport") is port."""
    run = subprocess.run(["ss", "-Htaneio", *options, f"{side} = :{port}"], capture_output=True, text=True)
    if run.returncode != 0:
        raise Failed(f"ss: {run.stderr.strip()}")
    found = []
    for block in re.sub(r"\n[ \t]+", " ", run.stdout).splitlines():  # a socket may take two lines
        words = block.split(None, 5) + [""]
        inode = re.search(r"\bino:(\d+)", words[5])
        unread = max(int(words[1]) - (words[0] == "CLOSE-WAIT"), 0)  # the kernel counts the end as a byte
        found.append(Socket(words[0], unread, int(words[2]), words[3], words[4],
                            int(inode[1]) if inode else 0, words[5]))
    return found


def ago(ms):
    return f"{ms} ms ago" if ms < 1000 else f"{ms / 1000:.1f} s ago"


# ---- connections

def standing(s):
    """Where a connection stands: (the kind of it, in words). s is the server's end."""
    arrived = ago(s.number("lastrcv"))
    if s.state == "SYN-RECV":
        return "connecting", "is about to connect"
    if s.inode == 0 and s.state in ("ESTAB", "CLOSE-WAIT"):
        gone = ", but its client has gone" if s.state == "CLOSE-WAIT" else ""
        said = f"{s.receive} bytes have arrived, the last {arrived}" if s.receive else "nothing has arrived"
        return "backlog", f"is in the backlog, not accepted{gone}; {said}"
    if s.inode == 0 or s.state not in ("ESTAB", "CLOSE-WAIT"):
        rest = f"; {s.send} bytes are not delivered yet" if s.send else ""
        return "closed", f"is closed by the server{rest}"
    words = _accepted(s, arrived)
    if s.state == "CLOSE-WAIT":
        words += "; its client has closed its side"
    return "accepted", words


def _accepted(s, arrived):
    received = s.number("bytes_received") - (s.state == "CLOSE-WAIT")  # here, too, the end counts
    sent = s.number("bytes_sent")
    if s.receive:
        return f"is accepted; {s.receive} bytes are unread, the last arrived {arrived}"
    if s.send:
        return f"is accepted; {s.send} bytes of the answer are sent, and its client has not confirmed them"
    if received <= 0:
        return "is accepted; nothing has arrived"
    if not sent:
        return f"is accepted; its {received} bytes are read, the last arrived {arrived}; not answered"
    if s.number("lastsnd") > s.number("lastrcv"):
        return f"is accepted; it was answered before; more has arrived {arrived}, is read and not answered"
    return f"is accepted; it was answered {ago(s.number('lastsnd'))}, and nothing has arrived since"


def clients(port):
    """{address of a client of this machine: the program behind it}."""
    inodes = {s.inode: s.local for s in sockets("dport", port) if s.inode}
    found = {}
    for pid in proc.all_pids():
        for inode in proc.descriptors(pid, inodes).values():
            if pid != os.getpid():  # we may have inherited it
                found.setdefault(inodes[inode], f"{proc.name(pid)} (pid {pid})")
    return found


def tell_connections(own, port):
    programs = clients(port)
    lines = {}
    for s in sorted(own, key=lambda s: -s.number("lastrcv")):
        kind, words = standing(s)
        program = f", {programs[s.peer]}," if s.peer in programs else ""
        lines.setdefault(kind, []).append(f"  {s.peer}{program} {words}.")
    for kind in ("connecting", "backlog", "accepted", "closed"):
        yield from lines.get(kind, [])[:MOST]
        if len(lines.get(kind, [])) > MOST:
            yield f"  ... and {len(lines[kind]) - MOST} more like this ({kind})."
    if not lines:
        yield "  No client is connected."


# ---- threads

def doing(pid, tid, peers):
    """What a thread does at this moment, in words. peers: {descriptor: whose connection}."""
    place = proc.place(pid, tid)
    if place is None:
        return None
    if place.state == "R":
        return "is running"
    if place.state in "Tt":
        return "is stopped, or traced"
    if place.function:
        return f"is asleep in the kernel's {place.function}"
    if place.number is None:
        return "is asleep; only its owner or root may see in which call"
    name = proc.call_name(place.number)
    return f"is asleep in {name}{_purpose(name, place.argument, peers)}"


def _purpose(name, fd, peers):
    if name.startswith(("epoll", "poll", "ppoll", "select", "pselect")):
        return ", until something happens on a descriptor that it watches, or for a time"
    if "nanosleep" in name:
        return ", for a time"
    if name.startswith("accept"):
        return ", until a client connects"
    if name == "futex":
        return ", until another thread wakes it up"
    if name in ("read", "readv", "recvfrom", "recvmsg") and fd in peers:
        return f", until {peers[fd]} sends something"
    if name in ("write", "writev", "sendto", "sendmsg", "sendfile") and fd in peers:
        return f", until {peers[fd]} has read what was sent"
    if name in ("wait4", "waitid"):
        return ", until a child process ends"
    return ", for a signal" if name.startswith("rt_sig") else ""


def tell_threads(pid, peers):
    told = Counter()
    words = [(tid, doing(pid, tid, peers)) for tid in proc.threads(pid)]
    totals = Counter(text for _, text in words)
    for number, (tid, text) in enumerate(words, 1):
        if text is None:  # it has ended meanwhile
            continue
        told[text] += 1
        if told[text] <= MOST:
            yield f"  {'its main thread' if tid == pid else f'thread {number} (tid {tid})'} {text}."
        elif told[text] == MOST + 1:
            yield f"  ... and {totals[text] - MOST} more threads: each {text}."


# ---- all of it

def tell(port):
    everything = sockets("sport", port)
    listeners = [s for s in everything if s.state == "LISTEN"]
    own = [s for s in everything if s.state not in ("LISTEN", "TIME-WAIT")]
    if not listeners:
        raise Failed(f"nothing listens on port {port}")
    yield "\n".join(f"{s.local}: {s.receive} of at most {s.send} clients in the backlog" for s in listeners)
    yield from tell_connections(own, port)
    inodes = {s.inode for s in listeners}
    serving = [pid for pid in proc.all_pids() if proc.descriptors(pid, inodes)]
    if not serving:
        yield "The process that listens belongs to another user: only its owner or root may see its threads."
    peer_of = {s.inode: s.peer for s in own if s.inode}
    for pid in serving:
        peers = {fd: peer_of[inode] for fd, inode in proc.descriptors(pid, peer_of).items()}
        yield f"{proc.name(pid)} (pid {pid}) listens, and has accepted {len(peers)} of the connections"
        yield from tell_threads(pid, peers)


def main(arguments):
    parser = Parser(description=__doc__, epilog=EPILOG, usage="%(prog)s PORT")
    parser.add_argument("port", type=commandline.whole_number(1, 65535), metavar="PORT")
    options = parser.parse_args(arguments)
    tool.need("ss", "deps-tutorial")
    os.environ["LC_ALL"] = "C"
    for line in tell(options.port):
        print(line)
    return 0


if __name__ == "__main__":
    tool.run(main)
