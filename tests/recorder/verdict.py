"""The sentence: why did /fast wait, or why did it not?"""

from recorder import clients
from recorder.words import span

JUST = 0.02  # seconds: less is left of /slow's time than can be told apart


def judge(recording, slow_path, fast_path, asked=True):
    """Return (serializes, sentence). asked: the recording tells when the clients connected."""
    slow, fast = _pair(recording.clients, slow_path, fast_path)
    if fast is None:
        return None, "Nothing can be said: this takes a slow request, and a fast one that is sent later."
    name = clients.name(recording.clients, recording.clients.index(fast))
    if fast.done is None:
        return None, f"{name} was not answered: {_why(recording, fast, recording.duration)}."
    took, left = fast.done - fast.start, (slow.done or recording.duration) - fast.start
    if left < JUST and not asked:
        return None, (f"Nothing can be said: {name} was accepted after {slow.path} was answered, "
                      "and this log does not tell when it connected.")
    if left < JUST:
        return None, f"Nothing can be said: {slow.path} was answered before {name} was sent."
    if took > left / 2:
        return True, f"{name} waited {span(took)}: {_why(recording, fast, fast.done)}."
    return False, f"{name} did not wait: {_why_not(recording, slow, fast, name if asked else None)}."


def _pair(everybody, slow_path, fast_path):
    """The last client that asked for the fast path, and the first before it that asked for the slow one."""
    slow_path = slow_path or everybody[0].path
    for fast in reversed(everybody):
        if fast.path == fast_path or (not fast_path and fast.path != slow_path):
            for slow in everybody:
                if slow.path == slow_path and slow.start < fast.start:
                    return slow, fast
    return None, None


def pieces(thread, begin, end, computing_from):
    """What a thread did from begin to end: (from, to, call). The call is None where the thread computed."""
    last, found = begin, []
    for call in thread.calls:
        start, stop = max(call.start, begin), min(end if call.end is None else call.end, end)
        if stop > start:
            if start - last >= computing_from:
                found.append((last, start, None))
            found.append((start, stop, call))
            last = max(last, stop)
    thread_end = end if thread.end is None else min(thread.end, end)
    if thread_end - last >= computing_from:
        found.append((last, thread_end, None))
    return found


def _why(recording, fast, until):
    """What the thread that should have served fast did instead."""
    in_backlog = fast.accepted is None or fast.accepted - fast.start > (until - fast.start) / 2
    thread = _thread(recording, fast.accepted_by if in_backlog else fast.answered_by)
    if thread is None:
        return "which thread should have served it cannot be seen"
    begin, end = (fast.start, fast.accepted or until) if in_backlog else (fast.accepted, until)
    times = {}  # what it did -> how long each took
    for start, stop, call in pieces(thread, begin, end, recording.computing_from):
        times.setdefault(f"in {call.name}{_called(call)}" if call else "computing", []).append(stop - start)
    who = _who(recording, thread)
    most = max(times, key=lambda doing: sum(times[doing]), default=None)
    if most is None or sum(times[most]) < (end - begin) / 2:
        return f"{who} was busy, but neither a call nor a computation took most of that time"
    return f"{who} was {most}{f', {len(times[most])} times' if len(times[most]) > 1 else ''}"


def _why_not(recording, slow, fast, name):
    """Which thread served fast, and what it, or the one that served slow, did when fast came. name is None if
    it is not known when that was."""
    server = _thread(recording, fast.answered_by or fast.accepted_by)
    other = _thread(recording, slow.answered_by or slow.accepted_by)
    if server is None:
        return "which thread served it cannot be seen"
    who = _who(recording, server)
    if other not in (None, server):
        call = _call_at(other, fast.start, fast.done)
        doing = f"in {call.name}{_called(call)}" if call else "busy"
        return f"{who} answered it, while {_who(recording, other)} was {doing}"
    if name is None:
        before = [call for call in server.calls if call.start < fast.start and call.waits_for == "clients"]
        call = before[-1] if before else None
    else:
        call = _call_at(server, fast.start, fast.accepted or fast.done)
    if call is None:
        words = f"{who} was between two calls"
    elif call.waits_for == "clients":
        words = f"{who} was waiting for any client, in {call.name}{_called(call)}"
    else:
        words = f"{who} was in {call.name}{_called(call)}"
    for thread in recording.threads:
        call = _call_at(thread, fast.done, fast.done)
        if thread is not server and call and call.waits_for == "delay":
            return f"{words}, and {thread.label} was in {call.name}{_called(call)}"
    if fast.accepted is None or name is None:
        return words
    soon = span(fast.accepted - fast.start)
    return f"{words}; it accepted {name} {soon} after {name} had connected"


def _thread(recording, tid):
    """The thread with this number; if none is known to have served a client, the only one there is."""
    if tid is None and len(recording.threads) == 1:
        return recording.threads[0]
    return next((thread for thread in recording.threads if thread.tid == tid), None)


def _call_at(thread, moment, until):
    """The call that a thread was in at a moment; if none, the next one until then that waits for clients."""
    for call in thread.calls:
        if call.start <= moment and (call.end is None or call.end > moment):
            return call
    return next((call for call in thread.calls
                 if moment < call.start <= until and call.waits_for == "clients"), None)


def _who(recording, thread):
    if len(recording.threads) > 1 or (recording.idle_threads and thread.label == "main thread"):
        return f"the {thread.label}" if thread.label == "main thread" else thread.label
    return "the only worker" if thread.label.startswith("worker") else "the only thread"


def _called(call):
    if call.source:
        return f", called from {call.source}"
    return f", called by {call.function}" if call.function else ""
