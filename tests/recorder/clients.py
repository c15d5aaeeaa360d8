"""The clients of an experiment: which request that the server read is which row of the probe."""
import re

from kit.printable import printable
from recorder.descriptors import Descriptors
from recorder.recording import Client

MARGIN = 0.03  # of the experiment: a recording begins so much earlier, and ends so much later,
MOST = 0.05    # but no more than so many seconds
MOST_CLIENTS = 12
KEYS = ["start", "connected", "accepted", "received", "answered", "done"]  # in the order of time


def name(everybody, index):
    """What a reader calls a client: its path, numbered if several clients have asked for that path."""
    path = everybody[index].path
    alike = [number for number, client in enumerate(everybody) if client.path == path]
    return path if len(alike) == 1 else f"{path} ({alike.index(index) + 1} of {len(alike)})"


def pair(everybody, slow_path, fast_path):
    """The request that kept another one waiting, or could have, and that other one: (slow, fast). If nothing
    tells which routes are meant, the slow one is the one that took longest."""
    slow_path = slow_path or _slow_path(everybody)
    for slow_first in (True, False):  # best is a fast one that was sent while a slow one was pending
        for fast in reversed(everybody):
            if fast.path == fast_path or (not fast_path and fast.path != slow_path):
                for slow in everybody:
                    pending = slow.done is None or slow.done > fast.start
                    if slow.path == slow_path and slow.start < fast.start and pending >= slow_first:
                        return slow, fast
    return None, None


def _slow_path(everybody):
    paths = {client.path for client in everybody}
    longest = max(everybody, key=lambda client: (client.done or float("inf")) - client.start)
    return "/slow" if "/slow" in paths else longest.path


class Experiment:
    """The requests of clients in a log, and the part of it that is about them. Times are in seconds since 1970."""

    def __init__(self, log):
        self.log = log
        self.seen = Descriptors(log)
        self.rows = _rows(log)
        pairs = list(self._by_row() if self.rows else self._by_request())
        if len(pairs) > MOST_CLIENTS:
            pairs = _the_most_telling(pairs, log)
        self.clients = [client for client, _ in pairs]
        self._index = {}
        for index, (_, (connection, request)) in enumerate(pairs):
            if request:
                self._index.setdefault(request, index)
            if connection:
                self._index.setdefault(connection, index)
        if pairs:
            self.begin, self.end = self._limits()

    def _limits(self):
        first = min(client.start for client in self.clients)
        last = max(client.done or client.start for client in self.clients)
        margin = min(MARGIN * (last - first), MOST)
        unanswered = any(client.done is None for client in self.clients)
        return first - margin, self._last_look() if unanswered or last == first else last + margin

    def _last_look(self):
        """When the experiment ends, if a client was not answered: when the processors were looked at for the last
        time. Then the server was told to stop, or strace to go; in a log without such looks, that cannot be seen."""
        looks = self.log.fields("cpu", r"\d{1,9} at (\d{1,12}\.\d{1,9}) .*")
        last = max([float(moment) for moment, in looks], default=0.0)
        return last if last > max(client.start for client in self.clients) else self.log.end

    def _by_row(self):
        """The probe tells when a client started; strace, when the server accepted and answered it."""
        free = sorted(self.seen.connections, key=lambda connection: connection.begun)
        ports = {int(row["port"]) for row in self.rows}
        direct = any(connection.port in ports for connection in free)
        marked = [connection for connection in free if connection.requests and connection.requests[0].marked]
        if marked:  # the others are not ours; of those that sent nothing, or were not read, that cannot be seen
            free = [connection for connection in free if connection in marked or not connection.requests]
        for row in sorted(self.rows, key=lambda row: float(row["start_ms"])):
            zero = float(row["epoch"]) - float(row["start_ms"]) / 1000
            moments = {key: None if row[f"{key}_ms"] == "-" else zero + float(row[f"{key}_ms"]) / 1000
                       for key in ("start", "connected", "done")}
            connection = _connection(free, row, moments, direct)
            if connection:
                free.remove(connection)
            request = connection.requests[0] if connection and connection.requests else None
            client = _client(row["path"], moments, connection, request, int(row["port"]), row["status"])
            yield client, (connection, request)

    def _by_request(self):
        """Without the probe, a request is seen from the moment on when its connection is accepted, or when it is
        read, if there was another one before it."""
        for connection in self.seen.connections:
            for number, request in enumerate(connection.requests):
                if request.path:
                    answered = request.answered and request.answered.end
                    start = connection.begun if number == 0 else request.first.end or request.first.start
                    moments = {"start": start, "connected": None, "done": answered}
                    client = _client(request.path, moments, connection, request, connection.port, "")
                    if number > 0:  # when it was sent is not known
                        client.connected = client.accepted = start
                        client.accept_seen = False
                    yield client, (connection, request)

    def index(self, thing):
        """The index of the client that has this connection or request, or None."""
        return self._index.get(thing)

    def name(self, thing):
        """What a reader calls it: /fast."""
        index = self.index(thing)
        return name(self.clients, index) if index is not None else thing.path or "another client"


def _the_most_telling(pairs, log):
    """Of many clients, the slow one and the fast one, and those beside them that took longest."""
    everybody = sorted((client for client, _ in pairs), key=lambda client: client.start)
    slow, fast = pair(everybody, log.first("slow"), log.first("fast"))
    if fast is None:
        slow = fast = max(everybody, key=_length)
    around = [each for each in pairs if each[0] in (slow, fast) or
              (each[0].start < (fast.done or log.end) and (each[0].done or log.end) > slow.start)]
    around.sort(key=lambda each: (each[0] is not slow and each[0] is not fast, -_length(each[0])))
    return sorted(around[:MOST_CLIENTS], key=lambda each: each[0].start)


def _length(client):
    return (client.done or float("inf")) - client.start


def _rows(log):
    """The rows of the probe in the header, as dictionaries."""
    lines = [line.split("\t") for line in log.header.get("probe", [])]
    rows = [dict(zip(lines[0], line)) for line in lines[1:]]
    return [row for row in rows if _is_row(row)]


def _is_row(row):
    numbers = [row.get(key, "") for key in ("start_ms", "connected_ms", "done_ms", "epoch", "port")]
    return "-" not in (numbers[0], *numbers[3:]) and all(
        re.fullmatch(r"\d{1,12}(\.\d{1,9})?|-", number, re.ASCII) for number in numbers) and all(
        row.get(key) for key in ("path", "status")) and "." not in numbers[4]


def _connection(free, row, moments, direct):
    """The connection of a request: the one with its port, or else the first that fits in time and path. direct: no
    proxy is between."""
    for connection in free:
        if connection.port == int(row["port"]):
            return connection
    for connection in free:
        # A proxy in between has ports of its own. The clocks of strace and the probe differ by microseconds.
        in_time = moments["start"] - 0.002 <= connection.begun <= (moments["done"] or connection.begun)
        possible = connection.port is None or not direct
        if in_time and possible and connection.path in (None, row["path"]):
            return connection
    return None


def _client(path, moments, connection, request, port, status):
    client = Client(printable(path), moments["start"], moments["connected"], None, None, None, moments["done"],
                    port=port or None, status=printable(status))
    if connection:
        client.fd = connection.fd
        received, answered = (request.received, request.answered) if request else (None, None)
        for key, call in [("accepted", connection.accepted), ("received", received), ("answered", answered)]:
            setattr(client, key, call.end if call else None)
        client.accepted_by = connection.accepted.tid if connection.accepted else None
        client.read_by = received.tid if received else None
        client.answered_by = answered.tid if answered else None
        if connection.accepted is None and received:  # by whom, and when, the log does not tell
            client.accepted, client.accept_seen = client.received, False
    if client.connected is None:
        client.connected = client.accepted
    return client


def count_from(client, begin):
    """Let the moments of a client count from begin. strace notices the end of a call a little late, and so
    does the probe the end of its connect: make no moment later than the next one."""
    latest = None
    for key in reversed(KEYS):
        moment = getattr(client, key)
        if moment is not None:
            latest = moment if latest is None else min(moment, latest)
            setattr(client, key, latest)
    for key in reversed(KEYS):
        moment = getattr(client, key)
        if moment is not None:
            setattr(client, key, round(max(moment, client.start) - begin, 6))
