"""Recordings in the Trace Event Format: JSON for Perfetto's viewer and chrome://tracing."""
import json

from recorder import clients


NO_PROCESS = 1 << 22  # the numbers of processes are smaller


def dump(recordings):
    """Return the text. In it, the clients of a recording are the threads of a process with a number that none has."""
    events = []
    for number, recording in enumerate(recordings, NO_PROCESS):
        events += [*_clients(recording, number), *_threads(recording), *_upstreams(recording, number)]
    return json.dumps({"traceEvents": events, "displayTimeUnit": "ms"}, indent=0)


def _name(kind, pid, tid, name):
    return {"ph": "M", "name": kind, "pid": pid, "tid": tid, "args": {"name": name}}


def _bar(name, pid, tid, start, end, **details):
    """A complete event; times are in microseconds."""
    start = max(start, 0.0)
    return {"ph": "X", "name": name, "pid": pid, "tid": tid, "ts": round(start * 1e6, 1),
            "dur": round(max(end - start, 0.0) * 1e6, 1),
            "args": {key: text for key, text in details.items() if text}}


def _clients(recording, pid):
    yield _name("process_name", pid, 0, f"{recording.name}: clients")
    for index, client in enumerate(recording.clients):
        tid = pid * 1000 + index
        yield _name("thread_name", pid, tid, clients.name(recording.clients, index))
        moments = [("connects", client.start), ("in the backlog", client.connected),
                   ("accepted", client.accepted), ("its request is read", client.received),
                   ("answered", client.answered), ("", client.done)]
        known = [(words, moment) for words, moment in moments if moment is not None]
        if client.done is None:
            known.append(("", recording.duration))
        for (words, start), (_, end) in zip(known, known[1:]):
            yield _bar(words, pid, tid, start, end, status=client.status)


def _threads(recording):
    for thread in recording.threads:
        yield _name("process_name", thread.pid, 0, recording.name)
        yield _name("thread_name", thread.pid, thread.tid, thread.label)
        for call in thread.calls:
            end = recording.duration if call.end is None else call.end
            yield _bar(call.name, thread.pid, thread.tid, call.start, end, meaning=call.plain,
                       source=call.source, waits_for=call.waits_for, arguments=call.arguments,
                       result=call.result)


def _upstreams(recording, pid):
    """A lane for each connection to another server, below the clients: those of one server may overlap."""
    lanes = []  # the end of the last bar in each
    for each in sorted(recording.upstreams, key=lambda each: each.start):
        end = recording.duration if each.end is None else each.end
        lane = next((index for index, (name, last) in enumerate(lanes) if name == each.name and last <= each.start),
                    len(lanes))
        lanes[lane:lane + 1] = [(each.name, end)]
        tid = pid * 1000 + 500 + lane
        yield _name("thread_name", pid, tid, f"server {each.name}")
        asked = recording.clients[each.client].path if each.client is not None else ""
        yield _bar("asked", pid, tid, each.start, end, waits_for=asked)
