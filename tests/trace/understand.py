"""From a log of strace, and the probe's rows in it, to a Recording."""
import re
from collections import Counter

import strace_log
import symbols
import verdict
from descriptors import LOOP, RECEIVE, Connection, Descriptors
from recording import Call, Client, Recording, Thread, Wait
from words import DETAIL, NOISE, Words, timeout_ms

PLUMBING = {"common/clock.c", "common/net.c"}  # small wrappers: the line that calls them says more
MARGIN = 0.03   # of the experiment, before and after it


class NotUnderstood(Exception):
    """One line: why this log is of no use."""


def rows(log):
    """The probe's rows, as dictionaries."""
    lines = [line.split("\t") for line in log.header.get("probe", [])]
    return [dict(zip(lines[0], line)) for line in lines[1:]] if lines else []


class Experiment:
    """Who is who in a log: clients, connections, processes, threads."""

    def __init__(self, log):
        self.log = log
        self.seen = Descriptors(log)
        asked = rows(log)
        self.clients, self.connection_of = (
            self._clients_of_probe(asked) if asked else self._clients_of_connections())
        if not self.clients:
            raise NotUnderstood("no client's request is in it")
        starts = [client.start for client in self.clients]
        last = max([client.done or client.start for client in self.clients])
        self.begin = min(starts) - MARGIN * (last - min(starts))
        self.end = last + MARGIN * (last - min(starts)) if last > min(starts) else log.end
        if any(client.done is None for client in self.clients):
            self.end = max(self.end, log.end)
        self.index_of = {id(connection): index for index, connection in enumerate(self.connection_of) if connection}

    def _clients_of_probe(self, asked):
        clients, connections = [], []
        free = sorted((c for c in self.seen.connections), key=lambda c: c.begun.end or c.begun.start)
        for row in sorted(asked, key=lambda row: float(row["start_ms"])):
            zero = float(row["epoch"]) - float(row["start_ms"]) / 1e3
            at = {key: zero + float(row[key + "_ms"]) / 1e3 if row[key + "_ms"] != "-" else None
                  for key in ("start", "connected", "sent", "first", "done")}
            connection = _matching(free, row, at)
            if connection:
                free.remove(connection)
            client = Client(row["path"], at["start"], at["connected"], None, None, None, at["done"],
                            port=int(row["port"]) or None, status=row["status"])
            self._add_server_side(client, connection)
            clients.append(client)
            connections.append(connection)
        return clients, connections

    def _clients_of_connections(self):
        clients, connections = [], []
        for connection in self.seen.connections:
            if connection.path is None:
                continue
            begun = connection.begun
            client = Client(connection.path, begun.end or begun.start, begun.end, None, None, None, None,
                            port=connection.port)
            self._add_server_side(client, connection)
            client.done = client.answered
            clients.append(client)
            connections.append(connection)
        return clients, connections

    def _add_server_side(self, client, connection):
        if connection is None:
            return
        client.fd = connection.fd
        if connection.accepted:
            client.accepted, client.accepted_by = connection.accepted.end, connection.accepted.tid
            client.connected = min(client.connected or client.accepted, client.accepted)
        if connection.received:
            client.received = connection.received.end
        if connection.answered:
            client.answered, client.answered_by = connection.answered.end, connection.answered.tid

    def name(self, connection):
        """A client's name: its path; with a number, if several have asked for that path."""
        index = self.index_of.get(id(connection))
        if index is None:
            return connection.path or "another client"
        return client_name(self.clients, index)


def client_name(clients, index):
    path = clients[index].path
    alike = [number for number, client in enumerate(clients) if client.path == path]
    return path if len(alike) == 1 else f"{path} ({alike.index(index) + 1} of {len(alike)})"


def _matching(free, row, at):
    """The connection of a row: by its port, if that is known; else the first one that fits in time and path."""
    port = int(row["port"])
    for connection in free:
        if connection.port and connection.port == port:
            return connection
    for connection in free:
        begun = connection.begun.end or connection.begun.start
        if connection.port or connection.path not in (None, row["path"]):
            continue
        if begun >= at["start"] - 0.002 and (at["done"] is None or begun <= at["done"]):
            return connection
    return None


# ---- lines of the source

def frames(log):
    """{(object, address): [("function", "file:line"), ...]}, as symbols.py has written it into the header."""
    known = {}
    for line in log.header.get("frame", []):
        key, _, places = line.partition(" = ")
        name, _, address = key.rpartition(" ")
        known[name, int(address, 16)] = [tuple(place.rsplit(" ", 1)) for place in places.split("; ")]
    return known


def place(call, after, known):
    """Return (stack, source, function) of a call; after is the next one of its thread."""
    stack = call.stack
    if strace_log.child(call) and after and any(frame.function == "pthread_create" for frame in after.stack):
        stack = after.stack  # strace does not find its way out of clone; but the next call is made by pthread_create, too
    stack = [pair for frame in stack for pair in known.get((frame.object, frame.address), [])]
    ours = [pair for pair in stack if pair[1].rpartition(":")[0] not in PLUMBING] or stack
    names = [frame.function for frame in call.stack if frame.function and not _is_libc(frame.object)]
    function = ours[0][0] if ours else names[0] if names else None
    return [" ".join(pair) for pair in stack], ours[0][1] if ours else None, function


def _is_libc(name):
    return bool(re.search(r"/(libc|libpthread|ld)[-.][^/]*$|\[vdso\]", name))


def sources(recording, log):
    """The lines of the files that the recording names, but of none that has changed since."""
    sums = dict(line.rsplit(" ", 1) for line in log.header.get("source", []))
    found = {}
    for call in (call for thread in recording.threads for call in thread.calls):
        for words in call.stack:
            name = words.rpartition(" ")[2].rpartition(":")[0]
            path = symbols.find_source(name)
            if name not in found and path and sums.get(name) in (None, symbols.checksum(path)):
                found[name] = path.read_text(errors="replace").splitlines()
    return found


# ---- threads and their calls

class _Story:
    """Picks the calls of one thread that belong to the story."""

    def __init__(self, experiment, known):
        self.experiment, self.known = experiment, known
        self.words = Words(experiment.seen, experiment.name)
        self.calls, self.waits, self.folded, self.hidden = [], [], 0, []
        self.children = []  # (call that started it, thread)
        self.serving = None  # the connection whose request it has read, and not answered

    def tell(self, calls):
        for call, after in zip(calls, calls[1:] + [None]):
            connection = self.experiment.seen.of_call.get(id(call))
            inside = call.start <= self.experiment.end and (call.end is None or call.end >= self.experiment.begin)
            meaning = self.words.meaning(call, self.serving)
            if inside and meaning.rank == NOISE:
                self.folded += 1
                self.hidden.append(call.name)
            elif inside:
                self._add(call, after, meaning, connection)
            if isinstance(connection, Connection):
                self.serving = connection if call.name in RECEIVE and (call.value or 0) > 0 else None
        return self

    def _add(self, call, after, meaning, connection):
        begin, end = self.experiment.begin, self.experiment.end
        stack, source, function = place(call, after, self.known)
        start = round(call.start - begin, 6)
        returned = round(call.end - begin, 6) if call.end is not None and call.end <= end else None
        if meaning.waits_for == "delay" and connection is None:
            connection = self.serving
        self.calls.append(Call(call.tid, call.name, call.arguments, call.result, start, returned, source, function,
                               meaning.waits_for, meaning.plain, self.experiment.index_of.get(id(connection)), stack,
                               meaning.rank == DETAIL, self.folded))
        self.folded = 0
        if strace_log.child(call):
            self.children.append((self.calls[-1], strace_log.child(call)))
        if call.name in LOOP:
            self.waits.append(_wait(self.experiment, call, start, returned))


def _wait(experiment, call, start, returned):
    def name(thing):
        if not isinstance(thing, Connection):
            return thing
        return f"{experiment.name(thing)} (fd {thing.fd})"

    seen = experiment.seen
    return Wait(call.tid, start, returned, [name(o) for o in seen.watched.get(id(call), [])],
                timeout_ms(call), [name(o) for o in seen.reported.get(id(call), [])])


def threads(experiment, known):
    """Return (threads, waits, number of threads that only slept, names of the calls that are not told)."""
    by_tid = {}
    for call in experiment.log.calls:
        by_tid.setdefault(call.tid, []).append(call)
    found, waits, idle, hidden, children, pids = [], [], 0, [], [], set()
    started = experiment.log.started()
    begin, end = experiment.begin, experiment.end
    for tid, calls in by_tid.items():
        first = started[tid].start if tid in started else calls[0].start
        last = experiment.log.ends.get(tid, (None,))[0]
        if first > end or (last is not None and last < begin):
            continue
        pids.add(experiment.seen.pid_of[tid])
        story = _Story(experiment, known).tell(calls)
        last = round(last - begin, 6) if last is not None and last <= end else None
        thread = Thread(tid, experiment.seen.pid_of[tid], "", round(first - begin, 6), last, story.calls)
        if _matters(thread, end - begin):
            found.append(thread)
            waits += story.waits
            hidden += story.hidden
            children += story.children
        else:
            idle += 1
    found.sort(key=lambda thread: (thread.start, thread.tid))
    _label(found, pids)
    labels = {thread.tid: thread.label for thread in found}
    for call, tid in children:
        call.plain = f"starts {labels.get(tid, 'a thread or a process')}"
    return found, sorted(waits, key=lambda wait: wait.start), idle, hidden


def _matters(thread, length):
    """Has the thread to do with clients, or with a delay, or does it compute?"""
    if any(call.client is not None or call.waits_for in ("clients", "delay") for call in thread.calls):
        return True
    return any(call is None and stop - start > length / 5
               for start, stop, call in verdict.pieces(thread, 0, length, Recording.computing_from))


def _label(found, pids):
    """Name them for people: main thread, thread 2; worker 1; worker 1, thread 2. pids are those of all processes,
    of which some may only have slept."""
    workers = []
    for thread in found:
        serves = any(call.waits_for == "clients" or call.client is not None for call in thread.calls)
        if serves and thread.pid not in workers:
            workers.append(thread.pid)
    for pid in {thread.pid for thread in found}:
        process = "" if len(pids) == 1 else f"worker {workers.index(pid) + 1}" if pid in workers else f"process {pid}"
        own = sorted((thread for thread in found if thread.pid == pid),
                     key=lambda thread: (thread.tid != pid, thread.start))
        for index, thread in enumerate(own, 1 if own[0].tid == pid else 2):
            name = "main thread" if index == 1 else f"thread {index}"
            thread.label = name if not process else process if index == 1 else f"{process}, {name}"


def understand(log):
    """Return the Recording of one log."""
    if not log.calls:
        raise NotUnderstood("it is no log of strace" if log.unread or not log.lines else "no system call is in it")
    if not log.durations:
        raise NotUnderstood("it does not say how long the calls took; record with: strace -f -ttt -T -o FILE")
    experiment = Experiment(log)
    found, waits, idle, hidden = threads(experiment, frames(log))
    for client in experiment.clients:
        _count_from(client, experiment.begin)
    recording = Recording(log.first("recording") or "a recording", log.first("command"), log.first("url"),
                          round(experiment.end - experiment.begin, 6), found, experiment.clients, waits, None, "",
                          computing_from=round(max(0.02, 0.05 * (experiment.end - experiment.begin)), 3),
                          idle_threads=idle, hidden=dict(Counter(hidden).most_common()))
    recording.serializes, recording.sentence = verdict.judge(recording, log.first("slow"), log.first("fast"))
    recording.sources = sources(recording, log)
    return recording


def _count_from(client, begin):
    """Turn seconds since 1970 into seconds since the recording began. strace hears of the end of a call a little
    late, and the probe of its connection: so no moment is later than one that follows from it."""
    keys = ["start", "connected", "accepted", "received", "answered", "done"]
    latest = None
    for key in reversed(keys):
        moment = getattr(client, key)
        if moment is not None:
            latest = moment if latest is None else min(moment, latest)
            setattr(client, key, round(max(latest, client.start) - begin, 6))
