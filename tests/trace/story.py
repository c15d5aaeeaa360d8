"""A recording as a table for the terminal, and the sentence that it comes to."""
import lab
import verdict
from understand import client_name
from words import span

MOST_LINES = 30
WAITED = 0.001  # seconds: a shorter time is not told
HEAD = ("ms", "actor", "call", "in words", "took", "called from")


class Line:
    def __init__(self, time, actor, call="", words="", took=None, source="", detail=False):
        self.time, self.actor, self.call, self.words = time, actor, call, words
        self.took, self.source, self.detail = took, source, detail


def tell(recording):
    """Return the lines to print, at most MOST_LINES."""
    rest = _rest(recording)
    table = _table(_fit(_lines(recording), MOST_LINES - 5 - bool(rest)), recording.clients[0].start)
    color = {True: lab.bad, False: lab.good, None: str}[recording.serializes]
    command = f"  ({recording.command})" if recording.command not in ("", recording.name) else ""
    return [f"== {recording.name}{command}", "", *table, *rest, "", color(recording.sentence)]


def _lines(recording):
    lines = []
    for index, client in enumerate(recording.clients):
        name = client_name(recording.clients, index)
        waits = client.accepted is not None and client.accepted - client.start > 0.02
        lines.append(Line(client.start, name, "", "connects" + (", and stays in the backlog" if waits else ""),
                          client.accepted - client.start if waits else None))
        if client.done is not None:
            status = "" if client.status in ("200", "") else f" with {client.status}"
            lines.append(Line(client.done, name, "", f"is answered{status} after {span(client.done - client.start)}"))
        elif client.status:
            lines.append(Line(recording.duration, name, "", client.status))
    for thread in recording.threads:
        for start, stop, call in verdict.pieces(thread, max(thread.start, 0.0), recording.duration, recording.computing_from):
            if call is None:
                lines.append(Line(start, thread.label, "", "computes", stop - start))
            else:
                took = call.end - call.start if call.end is not None else None
                lines.append(Line(call.start, thread.label, call.name, call.plain, took,
                                  call.source or call.function or "", call.detail))
    return sorted(lines, key=lambda line: line.time)


def _fit(lines, most):
    """Leave out details first; then the middle."""
    if len(lines) > most:
        lines = [line for line in lines if not line.detail]
    if len(lines) > most:
        first, last = most // 2, most - most // 2 - 1
        gap = Line(lines[first].time, "", "", f"({len(lines) - first - last} more lines)")
        lines = lines[:first] + [gap] + lines[-last:]
    return lines


def _table(lines, zero):
    rows, before = [HEAD], None
    for line in lines:
        took = span(line.took) if line.took is not None and line.took >= WAITED else ""
        time = f"{(line.time - zero) * 1e3:.1f}" if line.time >= 0 else "before"
        rows.append((time, line.actor if line.actor != before else "", line.call, line.words, took, line.source))
        before = line.actor
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    right = (0, 4)
    return ["  ".join(cell.rjust(width) if column in right else cell.ljust(width)
                      for column, (cell, width) in enumerate(zip(row, widths))).rstrip() for row in rows]


def _rest(recording):
    """What is not told."""
    parts = []
    if recording.hidden:
        names = list(recording.hidden)
        several = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        count = sum(recording.hidden.values())
        parts.append(f"{count} other call{'s' if count > 1 else ''} ({several})")
    if recording.idle_threads:
        count = recording.idle_threads
        parts.append(f"{count} thread{'s' if count > 1 else ''} that slept all the time")
    return [f"Not shown: {' and '.join(parts)}."] if parts else []
