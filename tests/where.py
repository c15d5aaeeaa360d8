#!/usr/bin/env python3
"""Where is my request now? Show where each connection to a port stands, and what each
thread of the process that serves the port is doing at this moment.

A connection is in the backlog until the server accepts it. Then its bytes are unread,
or read and not answered, or answered. The kernel knows all of this (ss, /proc), and
the server does not notice: where.py stops nothing and attaches to nothing. It reads
all of this twice, and shows what both readings have in common. What a server does with
a request that it has read cannot be seen from here, except for its connections to other
servers.
"""
from kit import tool  # first: see kit/__init__.py

import os
import pwd
import re
import time
from collections import Counter

from kit import commandline, proc
from kit.commandline import Parser
from kit.errors import Failed
from kit.printable import printable
from kit.report import fold
from recorder import next_steps, snapshot
from recorder.descriptors import NAME_SERVER, RECEIVE, SEND

EPILOG = "Exit status: 0 if something listens on the port; 1 if not; 2 for a bad command line."
MOST = 8      # lines about connections, or threads, that are alike
KINDS = ("connecting", "backlog", "unread", "reading", "read", "answered", "closed")


def ago(ms):
    return f"{ms} ms ago" if ms < 1000 else f"{ms / 1000:.1f} s ago"


# ---- connections

def standing(s, connected=()):
    """Where a connection stands: (the kind of it, in words). s is the server's end; connected are clients of this
    machine that are connected as they see it."""
    arrived = ago(s.number("lastrcv"))
    if s.state == "SYN-RECV":
        return "connecting", ("is connected, but the server sees it only when it has sent something (TCP_DEFER_ACCEPT)"
                              if s.peer in connected else "is about to connect, or has connected and sent nothing")
    if s.inode == 0 and s.state in ("ESTAB", "CLOSE-WAIT"):
        gone = ", but its client has gone" if s.state == "CLOSE-WAIT" else ""
        said = f"{s.receive} bytes have arrived, the last {arrived}" if s.receive else "nothing has arrived"
        return "backlog", f"is in the backlog, not accepted{gone}; {said}"
    if s.inode == 0 or s.state not in ("ESTAB", "CLOSE-WAIT"):
        rest = f"; {s.send} bytes are not delivered yet" if s.send else ""
        return "closed", f"is closed by the server{rest}"
    kind, words = _accepted(s, arrived)
    if s.state == "CLOSE-WAIT":
        words += "; its client has closed its side"
    return kind, words


def _accepted(s, arrived):
    received = s.number("bytes_received") - (s.state == "CLOSE-WAIT")  # here, too, the end counts
    sent = s.number("bytes_sent")
    if s.receive:
        return "unread", f"is accepted; {s.receive} bytes are unread, the last arrived {arrived}"
    if s.send:
        return "answered", (f"is accepted; {s.send} bytes of an answer are sent, "
                            "and its client has not confirmed them")
    if received <= 0:
        return "reading", "is accepted; nothing has arrived"
    if not sent:
        return "read", f"is accepted; its {received} bytes are read, the last arrived {arrived}; not answered"
    if s.number("lastsnd") > s.number("lastrcv"):
        return "read", f"is accepted; it was answered before; more has arrived {arrived}, is read and not answered"
    return "answered", (f"is accepted; an answer, or a part of one, was sent {ago(s.number('lastsnd'))}, "
                        "and nothing has arrived since")


def clients(port):
    """{address of a client of this machine: the program behind it}."""
    ends = {s.inode: s.local for s in snapshot.sockets("dport", "=", f":{port}") if s.inode}
    found = {}
    for pid in proc.all_pids():
        for inode in proc.descriptors(pid, ends).values():
            if pid != os.getpid():  # we may have inherited it
                found.setdefault(ends[inode], f"{printable(proc.name(pid))} (pid {pid})")
    return found


def both(first, second, programs):
    """Yield (kind, address, words) of each connection, as both readings have it, or with its change."""
    before = {s.peer: s for s in first.connections}
    for s in sorted(second.connections, key=lambda s: -s.number("lastrcv")):
        kind, words = standing(s, programs)
        if s.peer not in before:
            yield kind, s.peer, f"has just come: it {words}"
        elif standing(before[s.peer], programs)[0] != kind:
            yield kind, s.peer, f"has just changed: it {words}"
        else:
            yield kind, s.peer, words
    for peer in before.keys() - {s.peer for s in second.connections}:
        yield "closed", peer, "has just gone"


def tell_connections(first, second, programs):
    lines = {}
    for kind, peer, words in both(first, second, programs):
        program = f", {programs[peer]}," if peer in programs else ""
        lines.setdefault("accepted" if kind in KINDS[2:6] else kind, []).append(f"  {peer}{program} {words}.")
    for kind in ("connecting", "backlog", "accepted", "closed"):
        yield from lines.get(kind, [])[:MOST]
        if len(lines.get(kind, [])) > MOST:
            yield f"  ... and {len(lines[kind]) - MOST} more like this ({kind})."
    if not lines:
        yield "  No client is connected."


# ---- other servers

def tell_outgoing(process, second):
    """What the process has asked other servers, and for which request, as far as that can be known."""
    inodes = set(process.accepted.values())
    waiting = [s for s in second.connections if s.peer in inodes and standing(s)[0] == "read"]
    lines = []
    for fd, s in sorted(process.outgoing.items()):
        if s.state == "SYN-SENT":
            state = "is being connected; it has not answered"
        elif s.state == snapshot.UNCONNECTED:
            lines.append(f"  it has a UDP socket at {s.local} (descriptor {fd}), which is not connected: whom it asked "
                         f"cannot be seen{'; a datagram has arrived, and is unread' * (s.receive > 0)}.")
            continue
        elif s.state != "ESTAB":
            continue
        elif not s.details:  # at a path of this machine, or of UDP
            state = ("has sent something, which is unread" if s.receive else
                     "is connected; whether it has answered cannot be seen")
        elif s.waits_for_answer:
            state = f"was asked {ago(s.number('lastsnd'))}, and has not answered"
            able = [each for each in waiting if each.number("lastrcv") + second.late_ms >= s.number("lastsnd")]
            state += (f": for {able[0].peer}, the only request that is not answered" if len(able) == 1 else
                      "; for which request cannot be seen" if able else "")
        elif s.number("bytes_received"):
            state = f"answered {ago(s.number('lastrcv'))}"
        else:
            state = "is connected"
        lines.append(f"  it has a connection to {_server(s)} (descriptor {fd}), which {state}.")
    yield from lines[:MOST]
    if len(lines) > MOST:
        yield f"  ... and {len(lines) - MOST} more connections to other servers."


def _server(s):
    return f"the name server {s.peer}" if s.peer.endswith(f":{NAME_SERVER}") else s.peer


# ---- threads

def doing(process, place):
    """What a thread does at this moment, in words."""
    if place.state == "R":
        return "is running"
    if place.state in "Tt":
        return "is stopped, or traced"
    if place.function:
        return f"is asleep in the kernel's {printable(place.function)}"
    if place.number is None:
        return "is asleep; only its owner or root may see in which call"
    name = proc.call_name(place.number, place.bits_32)
    return f"is asleep in {name}{_purpose(process, name, place.argument)}"


def _purpose(process, name, fd):
    if name.startswith(("epoll", "poll", "ppoll", "select", "pselect", "_newselect")):
        return ", until something happens on a descriptor that it watches, or for a time"
    if "nanosleep" in name:
        return ", for a time"
    if name.startswith("accept"):
        return ", until a client connects"
    if name.startswith("futex"):
        return ", until another thread wakes it up, or for a time"
    if name in ("wait4", "waitid", "waitpid"):
        children = [f"{printable(proc.name(pid))}, pid {pid}" for pid in proc.children(process.pid)]
        return ", until a child process ends" + (f" ({children[0]})" if len(children) == 1 else "")
    if name in (*RECEIVE, *SEND, "connect", "flock", "fsync", "fdatasync"):
        return _about(process, name, fd)
    return ", for a signal" if name.startswith("rt_sig") else ""


def _about(process, name, fd):
    """What a call waits for at its descriptor."""
    server = process.outgoing.get(fd)
    if server and server.state == snapshot.UNCONNECTED and name in RECEIVE:
        return f", until a datagram comes to {server.local}"
    peer = process.accepted.get(fd) or (server and (
        _server(server) if server.peer != _server(server) else f"{server.peer}, another server,"))
    if peer:
        return f", until {peer} " + ("sends something" if name in RECEIVE else "accepts" if name == "connect" else
                                     "has read what was sent")
    try:
        path = printable(os.readlink(f"{proc.files(process.pid)}/fd/{fd}"))
    except OSError:
        return ""
    if path.startswith("pipe:"):
        others = [f"{printable(proc.name(pid))} (pid {pid})" for pid in proc.users_of(path) if pid != process.pid]
        has = f" that {' and '.join(others[:2])} {'has' if len(others) == 1 else 'have'}, too"
        return f", for a pipe{has * bool(others)}"
    return f", for the lock of {path}" if name == "flock" else f", for {path}"


def tell_threads(first, process):
    told = Counter()
    words = []
    for tid, place in process.places.items():
        now, before = doing(process, place), first.places.get(tid)
        if before is None:
            now = f"has just begun; it {now}"
        elif (before.state == "R", before.call, before.argument) != (place.state == "R", place.call, place.argument):
            then = doing(first, before)
            now = f"{now}, again and again" if now == then else \
                f"does not stay in one call: it {then}, and then it {now}"
        words.append((tid, now))
    totals = Counter(text for _, text in words)
    for number, (tid, text) in enumerate(words, 1):
        told[text] += 1
        name = process.names.get(tid, "")
        called = f"{name}, " if name and name != process.names.get(process.pid) else ""
        if told[text] <= MOST:
            yield f"  {'its main thread' if tid == process.pid else f'thread {number} ({called}tid {tid})'} {text}."
        elif told[text] == MOST + 1:
            yield f"  ... and {totals[text] - MOST} more threads: each {text}."


# ---- all of it

def tell(port):
    pids = snapshot.serving(port)
    programs = clients(port)
    first, second = snapshot.take(port, pids), snapshot.take(port, pids)
    if not second.listeners:
        raise Failed(f"nothing listens on port {port}")
    yield "\n".join(f"{s.local}: {s.receive} of at most {s.send} clients in the backlog" for s in second.listeners)
    yield from tell_connections(first, second, programs)
    if not any(process.listens for process in second.processes):
        yield (f"The process that listens belongs to another user{_user(second.listeners[0])}: "
               "only its owner or root may see its threads.")
    before = {process.pid: process for process in first.processes}
    for process in second.processes:
        count = len(process.accepted)
        if not process.listens and not count:
            continue  # it had a connection that has gone meanwhile
        yield f"{process.name} (pid {process.pid}) " + (
            f"listens, and has accepted {count} of the connections" if process.listens else
            f"does not listen, and has {count} of the connections, passed to it or inherited")
        yield from tell_outgoing(process, second)
        yield from tell_threads(before.get(process.pid, process), process)
    yield (f"Read twice, {(second.began - first.began) * 1000:.0f} ms apart; each reading took "
           f"{(second.ended - second.began) * 1000:.0f} ms. This is what both have in common.")
    stuck = [process for process in second.processes
             if any(standing(s)[0] in ("unread", "read") and s.peer in process.accepted.values()
                    for s in second.connections)]
    if len(stuck) == 1:
        yield from next_steps.of(stuck[0].pid)


def _user(listener):
    """Whose socket it is, if ss tells: " (www-data)"."""
    found = re.search(r"\buid:(\d+)", listener.details)
    try:
        return f" ({pwd.getpwuid(int(found[1])).pw_name})" if found else " (root)" * (os.getuid() != 0)
    except KeyError:
        return f" (user {found[1]})"


def watch(port, seconds):
    """Print a line for each change, until it is interrupted."""
    pids, programs, before, looked = [], {}, {}, 0.0
    while True:
        if time.monotonic() - looked > 2:  # it takes longer to find out which processes these are
            pids, looked = snapshot.serving(port), time.monotonic()
        now = snapshot.take(port, pids)
        if not now.listeners and not before:
            raise Failed(f"nothing listens on port {port}")
        found = {}
        for s in now.connections:
            kind, words = standing(s, programs)
            found[s.peer] = kind, f"{s.peer} {words}"
        for process in now.processes:
            for s in process.outgoing.values():
                if s.state == "ESTAB" and s.waits_for_answer:
                    found[process.pid, s.local] = "asked", f"{process.name} (pid {process.pid}) waits for {s.peer}"
        moment = f"{time.strftime('%H:%M:%S')}.{int(time.time() * 10) % 10}"
        for key in found:
            if found[key][0] != before.get(key, [""])[0]:
                print(fold(f"{moment}  {found[key][1]}"), flush=True)
        for key in before.keys() - found.keys():
            words = "has gone" if isinstance(key, str) else "has its answer, or gave up"
            who = key if isinstance(key, str) else before[key][1].replace(" waits for", ":")
            print(fold(f"{moment}  {who} {words}"), flush=True)
        before = found
        time.sleep(seconds)


def main(arguments):
    parser = Parser(description=__doc__, epilog=EPILOG, usage="%(prog)s [--watch [SECONDS]] PORT")
    parser.add_argument("port", type=commandline.whole_number(1, 65535), metavar="PORT")
    parser.add_argument("--watch", type=commandline.seconds(0.05, 3600), nargs="?", const=0.2, metavar="SECONDS",
                        help="instead, look again every SECONDS (0.2), and print a line for each change")
    options = parser.parse_args(arguments)
    tool.need("ss", "deps-tutorial")
    if options.watch:
        watch(options.port, options.watch)
    for line in tell(options.port):
        print(fold(line))
    return 0


if __name__ == "__main__":
    tool.run(main)
