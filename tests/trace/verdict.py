"""The sentence: did /fast wait for /slow, and why, or why not?"""
from words import span


def judge(recording, slow_path, fast_path):
    """Return (serializes, sentence)."""
    fast, slow = _pair(recording.clients, slow_path, fast_path)
    if fast is None:
        return None, "Nothing can be said: it takes a slow request, and a fast one that is sent later."
    if fast.done is None:
        return None, f"{fast.path} has no answer ({fast.status}): {_why(recording, fast, recording.duration)}."
    took, rest = fast.done - fast.start, (slow.done or recording.duration) - fast.start
    if rest < 0.02:
        return None, (f"Nothing can be said: {slow.path} had its answer "
                      f"{'before' if rest < 0 else 'just when'} {fast.path} was asked for.")
    if took > rest / 2:
        return True, f"{fast.path} waited {span(took)}: {_why(recording, fast, fast.done)}."
    return False, f"{fast.path} did not wait: {_why_not(recording, slow, fast)}."


def _pair(clients, slow_path, fast_path):
    """The last client that asked for the fast path, and the first before it for the slow one."""
    slow_path = slow_path or clients[0].path
    late = [c for c in clients if (c.path == fast_path if fast_path else c.path != slow_path)]
    fast = late[-1] if late else None
    early = [c for c in clients if c.path == slow_path and c is not fast and fast and c.start < fast.start]
    return (fast, early[0]) if early else (None, None)


def _who(recording, thread):
    if len(recording.threads) == 1 and thread.label == "worker 1":
        return "the only worker"
    if len(recording.threads) == 1 and not recording.idle_threads:
        return "the only thread"
    return f"the {thread.label}" if thread.label.startswith("main") else thread.label


def _called(call):
    if call.source:
        return f", called from {call.source}"
    return f", called by {call.function}" if call.function else ""


def pieces(thread, begin, end, computing_from):
    """What a thread did from begin to end: (from, to, call), call being None where it computed."""
    before, found = begin, []
    for call in thread.calls:
        start, stop = max(call.start, begin), min(end if call.end is None else call.end, end)
        if stop <= start:
            continue
        if start - before >= computing_from:
            found.append((before, start, None))
        found.append((start, stop, call))
        before = max(before, stop)
    if end - before >= computing_from and (thread.end is None or thread.end > before):
        found.append((before, end if thread.end is None else min(thread.end, end), None))
    return found


def _thread(recording, tid):
    return next((thread for thread in recording.threads if thread.tid == tid), None)


def _why(recording, fast, until):
    """Why fast waited: what the thread that served it did meanwhile."""
    accepted_late = fast.accepted is None or fast.accepted - fast.start > (until - fast.start) / 2
    thread = _thread(recording, fast.accepted_by if accepted_late else fast.answered_by)
    if thread is None and len(recording.threads) == 1:
        thread = recording.threads[0]
    if thread is None:
        return "which thread should have served it cannot be seen"
    begin, end = (fast.start, fast.accepted or until) if accepted_late else (fast.accepted, until)
    done = pieces(thread, begin, end, recording.computing_from)
    if not done:
        return f"{_who(recording, thread)} made no call that shows why"
    start, stop, call = max(done, key=lambda piece: piece[1] - piece[0])
    who = _who(recording, thread)
    if stop - start < (end - begin) / 2:
        return f"{who} was busy with many calls, of which none took long"
    if call is None:
        before = [c for c in thread.calls if c.end is not None and c.end <= start]
        return f"{who} was computing{_after(before[-1]) if before else ''}"
    return f"{who} was in {call.name}{_called(call)}"


def _after(call):
    return f", after {call.name}{_called(call).replace(', called', '')}"


def _why_not(recording, slow, fast):
    """Why fast did not wait: which thread served it, and what another one, or this one, did meanwhile."""
    server = _thread(recording, fast.answered_by or fast.accepted_by)
    other = _thread(recording, slow.answered_by or slow.accepted_by)
    if server is None:
        return "which thread served it cannot be seen"
    who = _who(recording, server)
    if other is not None and other is not server:
        busy = _during(other, fast.start)
        doing = f"was in {busy.name}{_called(busy)}" if busy else "was busy"
        return f"{who} answered it, while {_who(recording, other)} {doing}"
    asleep = _during(server, fast.connected if fast.connected is not None else fast.start)
    soon = ""
    if fast.accepted is not None and fast.connected is not None:
        soon = f"; it accepted {fast.path} {span(fast.accepted - fast.connected)} after {fast.path} had connected"
    if asleep is None:
        return f"{who} was between two calls{soon}"
    if asleep.waits_for == "clients":
        return f"{who} was waiting for any client, in {asleep.name}{_called(asleep)}{soon}"
    return f"{who} was in {asleep.name}{_called(asleep)}{soon}"


def _during(thread, moment):
    """The call that thread was in at a moment, or in the millisecond before."""
    inside = [call for call in thread.calls
              if call.start <= moment and (call.end is None or call.end > moment - 0.001)]
    return inside[-1] if inside else None
