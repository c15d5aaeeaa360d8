"""The clients of an experiment: which connection of the server belongs to which request of the probe."""

from recorder.descriptors import Descriptors
from recorder.recording import Client

MARGIN = 0.03  # of the experiment: a recording begins so much earlier, and ends so much later,
MOST = 0.05    # but no more than so many seconds
KEYS = ["start", "connected", "accepted", "received", "answered", "done"]  # in the order of time


def name(clients, index):
    """What a reader calls a client: its path, numbered if several clients have asked for that path."""
    path = clients[index].path
    alike = [number for number, client in enumerate(clients) if client.path == path]
    return path if len(alike) == 1 else f"{path} ({alike.index(index) + 1} of {len(alike)})"


class Experiment:
    """The clients in a log, and the part of it that is about them. Times are in seconds since 1970."""

    def __init__(self, log):
        self.log = log
        self.seen = Descriptors(log)
        self.rows = _rows(log)
        pairs = list(self._by_request() if self.rows else self._by_connection())
        self.clients = [client for client, _ in pairs]
        self._index = {id(connection): index for index, (_, connection) in enumerate(pairs) if connection}
        if pairs:
            self.begin, self.end = self._limits()

    def _limits(self):
        first = min(client.start for client in self.clients)
        last = max(client.done or client.start for client in self.clients)
        margin = min(MARGIN * (last - first), MOST)
        unanswered = any(client.done is None for client in self.clients)
        return first - margin, self.log.end if unanswered or last == first else last + margin

    def _by_request(self):
        """The probe tells when a client started; strace, when the server accepted and answered it."""
        free = sorted(self.seen.connections, key=lambda connection: connection.begun)
        for row in sorted(self.rows, key=lambda row: float(row["start_ms"])):
            zero = float(row["epoch"]) - float(row["start_ms"]) / 1000
            moments = {key: None if row[f"{key}_ms"] == "-" else zero + float(row[f"{key}_ms"]) / 1000
                       for key in ("start", "connected", "done")}
            connection = _connection(free, row, moments)
            if connection:
                free.remove(connection)
            yield _client(row["path"], moments, connection, int(row["port"]), row["status"]), connection

    def _by_connection(self):
        """Without the probe, a client is seen from the moment on when it is accepted."""
        for connection in self.seen.connections:
            if connection.path:
                answered = connection.answered and connection.answered.end
                moments = {"start": connection.begun, "connected": None, "done": answered}
                yield _client(connection.path, moments, connection, connection.port, ""), connection

    def index(self, connection):
        """The index of the client that has this connection, or None."""
        return self._index.get(id(connection))

    def name(self, connection):
        index = self.index(connection)
        return name(self.clients, index) if index is not None else connection.path or "another client"


def _rows(log):
    """The rows of the probe in the header, as dictionaries."""
    lines = [line.split("\t") for line in log.header.get("probe", [])]
    return [dict(zip(lines[0], line)) for line in lines[1:]]


def _connection(free, row, moments):
    """The connection of a request: the one with its port, or else the first that fits in time and path."""
    for connection in free:
        if connection.port == int(row["port"]):
            return connection
    for connection in free:
        # A proxy in between has ports of its own. The clocks of strace and the probe differ by microseconds.
        in_time = moments["start"] - 0.002 <= connection.begun <= (moments["done"] or connection.begun)
        if in_time and connection.path in (None, row["path"]):
            return connection
    return None


def _client(path, moments, connection, port, status):
    client = Client(path, moments["start"], moments["connected"], None, None, None, moments["done"],
                    port=port or None, status=status)
    if connection:
        client.fd = connection.fd
        for key, call in [("accepted", connection.accepted), ("received", connection.received),
                          ("answered", connection.answered)]:
            setattr(client, key, call.end if call else None)
        client.accepted_by = connection.accepted.tid if connection.accepted else None
        client.answered_by = connection.answered.tid if connection.answered else None
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
