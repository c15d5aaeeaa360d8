"""A recording as a table for the terminal, and the sentence that it comes to."""

from kit.report import bad, good
from recorder import clients, verdict
from recorder.words import WAITED, span

MOST_LINES = 30
HEAD = ("ms", "actor", "call", "in words", "took", "called from")
RIGHT = ("ms", "took")  # these columns are flush right


class Line:
    def __init__(self, time, actor, call="", words="", took=None, source="", detail=False):
        self.time, self.actor, self.call, self.words = time, actor, call, words
        self.took, self.source, self.detail = took, source, detail


def tell(recording):
    """Return the lines to print, at most MOST_LINES."""
    hidden = _hidden(recording)
    lines = [*_client_lines(recording), *_thread_lines(recording)]
    lines = _fit(sorted(lines, key=lambda line: line.time), MOST_LINES - len(hidden) - 5)
    command = f"  ({recording.command})" if recording.command not in ("", recording.name) else ""
    color = {True: bad, False: good, None: str}[recording.serializes]
    return [f"== {recording.name}{command}", "", *_table(lines, recording.clients[0].start), *hidden,
            "", color(recording.sentence)]


def _client_lines(recording):
    for index, client in enumerate(recording.clients):
        name = clients.name(recording.clients, index)
        backlog = (client.accepted or recording.duration) - client.start
        if backlog >= recording.computing_from:
            yield Line(client.start, name, "", "connects, and stays in the backlog", backlog)
        elif backlog > 0:  # else the log does not tell when it connected
            yield Line(client.start, name, "", "connects")
        if client.done is None:
            yield Line(recording.duration, name, "", client.status)
        else:
            status = "" if client.status in ("200", "") else f" with {client.status}"
            yield Line(client.done, name, "", f"is answered{status} after {span(client.done - client.start)}")


def _thread_lines(recording):
    for thread in recording.threads:
        begin = max(thread.start, 0)
        for start, end, call in verdict.pieces(thread, begin, recording.duration, recording.computing_from):
            if call is None:
                yield Line(start, thread.label, "", "computes", end - start)
            else:
                took = call.end - call.start if call.end is not None else None
                source = call.source or call.function or ""
                yield Line(call.start, thread.label, call.name, call.plain, took, source, call.detail)


def _fit(lines, most):
    """Leave out details, and then the middle, until the lines fit."""
    if len(lines) > most:
        lines = [line for line in lines if not line.detail]
    if len(lines) > most:
        first, last = most // 2, most - most // 2 - 1
        gap = Line(lines[first].time, "...", words=f"({len(lines) - first - last} more lines)")
        lines = [*lines[:first], gap, *lines[-last:]]
    return lines


def _table(lines, zero):
    """Columns, flush. Times count from zero."""
    rows, actor = [HEAD], None
    for line in lines:
        time = f"{round((line.time - zero) * 1000, 1) + 0:.1f}" if line.time >= 0 else "before"
        took = span(line.took) if line.took is not None and line.took >= WAITED else ""
        same = line.actor == actor
        rows.append((time, "" if same else line.actor, line.call, line.words, took, line.source))
        actor = line.actor
    widths = [max(map(len, column)) for column in zip(*rows)]
    return ["  ".join(cell.rjust(width) if head in RIGHT else cell.ljust(width)
                      for head, cell, width in zip(HEAD, row, widths)).rstrip() for row in rows]


def _hidden(recording):
    """A line about what is not told, if there is anything."""
    parts, names = [], list(recording.hidden)
    if names:
        count, more = sum(recording.hidden.values()), ", ..." * (len(names) > 5)
        parts.append(f"{count} other call{'s' * (count > 1)} ({', '.join(names[:5])}{more})")
    if recording.idle_threads:
        count = recording.idle_threads
        parts.append(f"{count} thread{'s' * (count > 1)} without a part in this")
    return [f"Not shown: {' and '.join(parts)}."] if parts else []
