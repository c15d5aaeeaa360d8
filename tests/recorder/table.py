"""A recording as a table for the terminal, and the sentence that it comes to."""
import textwrap

from kit.report import bad, columns, good
from recorder import clients, verdict
from recorder.lengths import duration as span
from recorder.meaning import WAITED

MOST_LINES = 30
WIDTH = 80
HEAD = ("ms", "call", "in words", "took")


class Line:
    """A line of the table. The lower its worth, the sooner it is left out if there are too many."""

    def __init__(self, time, words, call="", took=None, source="", worth=3):
        self.time, self.words, self.call, self.took = time, words, call, took
        self.source, self.worth = source, worth
        self.stands_for = 0  # lines that are left out


def tell(recording):
    """Return the lines to print, at most MOST_LINES, of WIDTH columns at most; but the last one, the sentence, is as
    long as it is."""
    lines = sorted([*_client_lines(recording), *_thread_lines(recording)], key=lambda line: line.time)
    color = {True: bad, False: good, None: str}[recording.serializes]
    rows = _rows(recording, lines, MOST_LINES)
    return [*rows, "", color(recording.sentence)]


def _rows(recording, lines, most):
    """The title and the table, with as few lines left out as necessary."""
    title = _cut(f"== {recording.name}" + (f"  ({recording.command})"
                                           if recording.command not in ("", recording.name) else ""), WIDTH)
    while True:
        table = _table(lines, recording.clients[0].start)
        rows = [title, "", *table, *_sources(lines), *_hidden(recording)]
        too_many = len(rows) + 2 - most
        if too_many <= 0:
            return rows
        lines = _fewer(lines, too_many)


def _fewer(lines, count):
    """Leave out count lines, those first that are worth least, and took least. Of those that belong to the story,
    say how many are missing, where the first of them was."""
    worth = min(line.worth for line in lines if not line.stands_for)
    least = sorted((line for line in lines if line.worth == worth and not line.stands_for),
                   key=lambda line: (line.took or 0, abs(lines.index(line) - len(lines) / 2)))
    gap = next((line for line in lines if line.stands_for), None)
    count += worth > 2 and gap is None  # it takes a line to say so
    gone = least[:count]
    if worth > 2:
        first = min(gone, key=lines.index)
        if gap is None or lines.index(gap) > lines.index(first):
            lines = [line for line in lines if line is not gap]
            gap, old = Line(first.time, "", worth=9), gap
            gap.stands_for = old.stands_for if old else 0
            lines.insert(lines.index(first), gap)
        gap.stands_for += len(gone)
        gap.words = f"... ({gap.stands_for} more lines)"
    return [line for line in lines if line not in gone]


def _client_lines(recording):
    slow, fast = clients.pair(recording.clients, "", "") if len(recording.clients) > 2 else (None, None)
    for index, client in enumerate(recording.clients):
        name = clients.name(recording.clients, index)
        worth = 2 if slow and client not in (slow, fast) else 4
        backlog = (client.accepted or recording.duration) - client.start
        if backlog >= recording.computing_from and client.accept_seen:
            yield Line(client.start, f"{name} connects, and stays in the backlog", took=backlog, worth=worth)
        elif backlog > 0:  # else the log does not tell when it connected
            yield Line(client.start, f"{name} connects", worth=worth)
        if client.done is None:
            yield Line(recording.duration, f"{name}: {client.status or 'not answered'}", worth=worth)
        else:
            status = "" if client.status in ("200", "") else f" with {client.status}"
            yield Line(client.done, f"{name} is answered{status} after {span(client.done - client.start)}",
                       worth=worth)


def _thread_lines(recording):
    for thread in recording.threads:
        label = f"{thread.label}: " if len(recording.threads) > 1 else ""
        begin = max(thread.start, 0)
        for start, end, call in verdict.pieces(thread, begin, recording.duration, recording.computing_from):
            if call is None:
                yield Line(start, f"{label}computes", took=end - start, worth=4)
            else:
                took = call.end - call.start if call.end is not None else None
                long = took is not None and took >= recording.duration / 5
                waited = took is None or took >= recording.computing_from
                worth = (4 if long else 0 if call.detail else 1 if call.stranger else
                         3 if waited or call.client is not None else 2)
                yield Line(call.start, f"{label}{call.plain}", call.name, took, call.source or call.function or "",
                           worth)


def _table(lines, zero):
    """Columns, flush, with the words on as many lines as they take. Times count from zero."""
    cells = [HEAD]
    for line in lines:
        time = f"{round((line.time - zero) * 1000, 1) + 0:.1f}" if line.time >= 0 else "before"
        took = span(line.took) if line.took is not None and line.took >= WAITED else ""
        cells.append((_cut(time, 16), _cut(line.call, 24), line.words, took))
    moment, call, _, took = (max(map(len, column)) for column in zip(*cells))
    room = WIDTH - moment - call - took - 6
    rows = []
    for row in cells:
        first, *rest = textwrap.wrap(row[2], room, subsequent_indent="  ") or [""]
        rows.append(f"{row[0]:>{moment}}  {row[1]:<{call}}  {_pad(first, room)}  {row[3]:>{took}}".rstrip())
        rows += [" " * (moment + call + 4) + words for words in rest]
    widest = max(map(len, rows))
    spare = max(0, min(room - max(columns(line.words) for line in lines), WIDTH - widest)) if lines else 0
    return rows if spare == 0 else [_narrow(row, moment + call + 4, room, spare) for row in rows]


def _pad(words, room):
    return words + " " * (room - columns(words))


def _narrow(row, before, room, spare):
    """Take out blanks that no line needs between the words and the time that a call took."""
    return row[:before + room - spare] + row[before + room:] if len(row) > before + room else row


def _sources(lines):
    """Which line of the program made which call."""
    places = {}
    for line in lines:
        if line.source:
            places.setdefault(line.call, {}).setdefault(line.source, None)
    words = []
    for call, found in places.items():
        path = ""
        for place in found:
            words.append(f"{call} {place}" if not path else
                         f":{place.rpartition(':')[2]}" if place.rpartition(":")[0] == path else place)
            call, path = "", place.rpartition(":")[0]
    return textwrap.wrap("Called from: " + ", ".join(words) + ".", WIDTH, break_long_words=False,
                         break_on_hyphens=False) if words else []


def _hidden(recording):
    """A line about what is not told, if there is anything."""
    parts, names = [], list(recording.hidden)
    if names:
        count, more = sum(recording.hidden.values()), ", ..." * (len(names) > 5)
        parts.append(f"{count} other call{'s' * (count > 1)} ({', '.join(names[:5])}{more})")
    if recording.idle_threads:
        count = recording.idle_threads
        parts.append(f"{count} thread{'s' * (count > 1)} without a part in this")
    return textwrap.wrap(f"Not shown: {' and '.join(parts)}.", WIDTH) if parts else []


def _cut(text, width):
    return text if columns(text) <= width else text[:width - 4] + " ..."
