"""Recordings in the Trace Event Format, as JSON: Perfetto's viewer and chrome://tracing open it."""
import json

from understand import client_name


def dump(recordings):
    """Return the JSON text: a process for each recording's clients, and one for each of its processes."""
    events = []
    for number, recording in enumerate(recordings, 1):
        events += _clients(recording, number) + _threads(recording)
    return json.dumps({"traceEvents": events, "displayTimeUnit": "ms"}, indent=0)


def _name(kind, pid, tid, name):
    return {"ph": "M", "name": kind, "pid": pid, "tid": tid, "args": {"name": name}}


def _bar(name, pid, tid, start, end, **details):
    start = max(start, 0.0)
    return {"ph": "X", "name": name, "pid": pid, "tid": tid, "ts": round(start * 1e6, 1),
            "dur": round(max(end - start, 0.0) * 1e6, 1), "args": {k: v for k, v in details.items() if v is not None}}


def _clients(recording, number):
    pid = number  # no server has so small a number, unless it is alone in a container
    events = [_name("process_name", pid, 0, f"{recording.name}: clients")]
    for index, client in enumerate(recording.clients):
        tid = number * 1000 + index
        events.append(_name("thread_name", pid, tid, client_name(recording.clients, index)))
        moments = [("connecting", client.start), ("in the backlog", client.connected), ("accepted", client.accepted),
                   ("its request is read", client.received), ("answered", client.answered), ("", client.done)]
        known = [(words, moment) for words, moment in moments if moment is not None]
        if client.done is None:
            known.append(("", recording.duration))
        for (words, start), (_, end) in zip(known, known[1:]):
            events.append(_bar(words, pid, tid, start, end, status=client.status or None))
    return events


def _threads(recording):
    events = []
    for thread in recording.threads:
        pid = thread.pid
        events.append(_name("process_name", pid, 0, recording.name))
        events.append(_name("thread_name", pid, thread.tid, thread.label))
        for call in thread.calls:
            end = recording.duration if call.end is None else call.end
            events.append(_bar(call.name, pid, thread.tid, call.start, end, means=call.plain, source=call.source,
                               arguments=call.arguments, result=call.result, waits_for=call.waits_for or None))
    return events
