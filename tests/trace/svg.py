"""Draw recordings: a lane for each client, a lane for each thread, and the moment that matters, magnified.

draw() returns one SVG for any number of recordings, all on one scale of time. It reads on white and on
dark, and says in words what it shows, so that it needs no legend.
"""
import html
import math
import textwrap
from typing import List, NamedTuple, Tuple

WIDTH, MARGIN, LABELS, END = 900, 16, 130, 768    # lanes go from LABELS to END; after it there is room for words
STRIP_END = WIDTH - MARGIN
LANE, BAR = 32, 24                                # the height of a lane, and of the bar in it
SIZE, LINE = 12, 15                               # of text
COLUMNS = 7                                       # at most, in the magnified strip
KINDS = ("clients", "delay", "lock", "thread", "other")

STYLE = """
.waits { font: 12px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif }
.waits text { fill: #1f2328 }
.waits .name { font-size: 18px; font-weight: 600 }
.waits .sentence { font-size: 14px }
.waits .strong { font-weight: 600 }
.waits .mono { font-family: ui-monospace, SFMono-Regular, Menlo, "DejaVu Sans Mono", monospace }
.waits .quiet { fill: #59636e }
.waits .card { fill: #fff; stroke: #d0d7de }
.waits .grid { stroke: #e4e7ea }
.waits .leader { stroke: #8c959f; fill: none }
.waits .arrival { stroke: #1f2328; stroke-dasharray: 2 3; fill: none }
.waits .lens { fill: #59636e; fill-opacity: .1; stroke: #8c959f; stroke-width: .7 }
.waits .dot { fill: #59636e }
.waits .lane { fill: #f3f4f6 }
.waits .way { fill: #fff; stroke: #59636e; stroke-dasharray: 3 2 }
.waits .backlog { fill: #fbd0c4; stroke: #b3261e }
.waits .accepted { fill: #ddecd3; stroke: #50802f }
.waits .clients { fill: #d8eaf8; stroke: #2f7fb8 }
.waits .delay { fill: #ffdfae; stroke: #a85b00 }
.waits .lock { fill: #efd9eb; stroke: #8e3b80 }
.waits .thread { fill: #d2efe4; stroke: #00795a }
.waits .other { fill: #e4e4e4; stroke: #707070 }
.waits .work { fill: #24292f; stroke: #24292f }
.waits .call { fill: #fff; stroke: #24292f }
.waits .pause { fill: #adb5bd }
.waits .hatch-backlog { stroke: #e58872 } .waits .hatch-delay { stroke: #f3b862 }
.waits .hatch-lock { stroke: #d9a5cf } .waits .hatch-thread { stroke: #83cdb3 }
.waits .good { fill: #ddecd3; stroke: #50802f } .waits .bad { fill: #fbd0c4; stroke: #b3261e }
.waits text .inverse { fill: #fff }
.waits .cursor { stroke: #0550ae; stroke-width: 2 }
@media (prefers-color-scheme: dark) {
.waits text { fill: #e6edf3 }
.waits .quiet { fill: #9da7b3 }
.waits .card { fill: #0d1117; stroke: #3d444d }
.waits .grid { stroke: #262c34 }
.waits .leader, .waits .lens { stroke: #7d8590 }
.waits .arrival { stroke: #e6edf3 }
.waits .lens { fill: #9da7b3 }
.waits .dot { fill: #9da7b3 }
.waits .lane { fill: #171c23 }
.waits .way { fill: #0d1117; stroke: #9da7b3 }
.waits .backlog, .waits .bad { fill: #5e211b; stroke: #ff8f7a }
.waits .accepted, .waits .good { fill: #24401b; stroke: #86bf5d }
.waits .clients { fill: #123a56; stroke: #4ea3dd }
.waits .delay { fill: #573a0a; stroke: #f0ad4e }
.waits .lock { fill: #4a2145; stroke: #d98cc9 }
.waits .thread { fill: #0f4435; stroke: #3fbf94 }
.waits .other { fill: #33383e; stroke: #9198a1 }
.waits .work { fill: #c9d1d9; stroke: #c9d1d9 }
.waits .call { fill: #0d1117; stroke: #c9d1d9 }
.waits .pause { fill: #59636e }
.waits .hatch-backlog { stroke: #8f3f34 } .waits .hatch-delay { stroke: #805a1c }
.waits .hatch-lock { stroke: #7a4272 } .waits .hatch-thread { stroke: #24735a }
.waits text .inverse { fill: #0d1117 }
.waits .cursor { stroke: #6cb6ff }
}
"""
HATCHES = {"backlog": "M-2,10 L10,-2 M-2,2 L2,-2 M6,10 L10,6", "delay": "M-2,-2 L10,10 M-2,6 L2,10 M6,-2 L10,2",
           "lock": "M-2,-2 L10,10 M-2,10 L10,-2", "thread": "M0,4 H8"}


class Axis(NamedTuple):
    """Where a moment is drawn: between the points (time, x), which rise, it runs evenly."""
    points: List[Tuple[float, float]]
    marked: float = 0              # a line at this x: words keep out of its way

    def x(self, moment):
        (t0, x0), *rest = self.points
        for t1, x1 in rest:
            if moment < t1:
                return x0 + (max(moment, t0) - t0) / (t1 - t0) * (x1 - x0)
            t0, x0 = t1, x1
        return x0

    def shows(self, start, end):
        return end >= self.points[0][0] and start <= self.points[-1][0]

    def as_text(self):
        return " ".join(f"{t:.6f},{x:.1f}" for t, x in self.points)


# ---- words

def span(seconds):
    """A duration for people."""
    if seconds < 0.00095:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 0.01:
        return f"{seconds * 1e3:.1f} ms"
    if seconds < 0.9995:
        return f"{seconds * 1e3:.0f} ms"
    return f"{seconds:.3f}".rstrip("0").rstrip(".") + " s"


def width(text, size=SIZE, factor=0.6):
    return len(text) * size * factor


def focus(recording):
    """The client that the experiment is about: the last to arrive."""
    return max(recording.clients, key=lambda client: client.start)


def answered(client):
    return client.answered if client.answered is not None else client.done


def zero(recording):
    """Times are told from the arrival of the first client on."""
    return min(client.start for client in recording.clients)


def at(moment, recording):
    return f"at {span(moment - zero(recording))}"


def until(moment, recording):
    return recording.duration if moment is None else moment


def call_title(call, recording):
    took = f"{span(call.end - call.start)}" if call.end is not None else "it had not returned when the recording ended"
    lines = [f"{call.name}({call.arguments})" + (f" = {call.result}" if call.result else ""), call.plain,
             (f"{at(call.start, recording)}, " if call.start >= 0 else "") + (f"for {took}" if call.end is not None else took),
             f"called from {call.source or call.function}" if call.source or call.function else ""]
    return "\n".join(line for line in lines if line)


# ---- pieces of SVG

def text(x, y, words, style="", anchor="start"):
    return (f'<text x="{x:.1f}" y="{y:.1f}"' + (f' class="{style}"' if style else "") +
            (f' text-anchor="{anchor}"' if anchor != "start" else "") + f'>{html.escape(words)}</text>')


def line(x0, y0, x1, y1, style):
    return f'<path class="{style}" d="M{x0:.1f},{y0:.1f} L{x1:.1f},{y1:.1f}"/>'


def bar(kind, x0, x1, y, height, title, prefix, label=""):
    """A bar with a hatch, a title, and the words on it."""
    x1 = max(x1, x0 + 2.5)
    box = f'x="{x0:.1f}" y="{y:.1f}" width="{x1 - x0:.1f}" height="{height}"'
    hatch = f'<rect {box} fill="url(#{prefix}{kind})"/>' if kind in HATCHES else ""
    return f'<g><title>{html.escape(title)}</title><rect class="{kind}" {box}/>{hatch}{label}</g>'


def fitting(axis, x0, x1, y, *choices):
    """The first of the choices that fits between x0 and x1: each is a list of (words, style)."""
    x, room = x0, x1 - x0
    if x0 < axis.marked < x0 + room / 2:
        x, room = axis.marked, x1 - axis.marked
    for choice in choices:
        if sum(width(words, factor=0.62) for words, _ in choice) + 6 * len(choice) <= room:
            spans = "".join(f'<tspan class="{style}"{" dx=%s6%s" % (chr(34), chr(34)) if i else ""}>{html.escape(words)}</tspan>'
                            for i, (words, style) in enumerate(choice))
            return f'<text x="{x + 5:.1f}" y="{y + 16:.1f}">{spans}</text>'
    return ""


def wrapped(x, y, words, characters, style, line_height):
    """Lines of text; return them and their height."""
    lines = textwrap.wrap(words, characters, break_long_words=False)
    return [text(x, y + i * line_height, each, style) for i, each in enumerate(lines)], len(lines) * line_height


def round_step(duration, pixels, least=75):
    """A round time that takes at least so many pixels."""
    rough = least * duration / pixels
    power = 10 ** math.floor(math.log10(rough))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)


def grid(axis, origin, y0, y1):
    """Vertical lines at round times after the origin, and what they say."""
    (t0, x0), (t1, x1) = axis.points
    step = round_step(t1 - t0, x1 - x0)
    parts = []
    for i in range(int((t1 - origin) / step) + 1):
        x = axis.x(origin + i * step)
        parts += [line(x, y0, x, y1, "grid"), text(x, y0 - 4, span(i * step) if i else "0", "quiet", "middle")]
    return parts


# ---- lanes

def client_lane(client, recording, axis, y, prefix):
    """On its way, in the backlog, accepted, answered."""
    end = until(answered(client), recording)
    accepted = until(client.accepted, recording)
    connected = min(until(client.connected, recording), accepted)
    by = {thread.tid: thread.label for thread in recording.threads}.get(client.answered_by)
    served = [("accepted", "strong"), (f"served by {by}" if by and len(recording.threads) > 1 else "not yet answered", "")]
    phases = [("way", client.start, connected, "on its way", [("on its way", "")]),
              ("backlog", connected, accepted, "in the backlog: connected, not yet accepted",
               [("in the backlog", "strong"), ("connected, but not yet accepted", "")], [("in the backlog", "strong")]),
              ("accepted", accepted, end, "accepted, not yet answered", served, served[:1])]
    parts = []
    for kind, start, stop, title, *choices in phases:
        if start < stop and axis.shows(start, stop):
            x0, x1 = axis.x(start), axis.x(stop)
            parts.append(bar(kind, x0, x1, y, BAR, f"{client.path}: {title}\n{at(start, recording)}, for {span(stop - start)}",
                             prefix,
                             fitting(axis, x0, x1, y, *choices)))
    return parts + answer_label(client, axis, y)


def answer_label(client, axis, y):
    moment = answered(client)
    if moment is None:
        return [text(axis.points[-1][1] + 6, y + 16, "no answer", "strong")]
    x = axis.x(moment)
    took = span((client.done if client.done is not None else moment) - client.start)
    for words in (f"✓ answered after {took}", f"✓ after {took}", "✓"):
        if x + 8 + width(words) <= STRIP_END:
            return [text(x + 8, y + 16, words, "strong")]
    return []


def spans(thread, recording):
    """The life of a thread: (kind, start, end, calls). Between two calls it has computed ("work"), or the time is so
    short that much of it is what being recorded costs ("pause")."""
    last = until(thread.end, recording)
    now, result = thread.start, []

    def between(start, end):
        if end > start:
            result.append(("work" if end - start >= recording.computing_from else "pause", start, end, []))

    for call in thread.calls:
        if result:
            between(now, call.start)
        now = last if call.end is None else call.end
        result.append((call.waits_for if call.waits_for in KINDS else "call", call.start, now, [call]))
    between(now, last)
    return result


def busy_spans(thread, recording):
    """The same, but all the calls between two waits, and the pauses between them, are one span: "busy". Where a thread
    wakes up, does nothing for a client and waits again, the two waits are one."""
    nothing, result = ("", 0, 0, []), []
    for kind, start, end, calls in spans(thread, recording):
        before, last = ([nothing, nothing] + result)[-2:]
        if kind in ("call", "pause") and last[0] == "busy":
            result[-1] = ("busy", last[1], end, last[3] + calls)
        elif kind in ("call", "pause"):
            result.append(("busy", start, end, calls))
        elif kind == before[0] != "work" and calls[0].name == before[3][-1].name and is_idle(last):
            result[-2:] = [(kind, before[1], end, before[3] + calls)]
        else:
            result.append((kind, start, end, calls))
    return result


def is_idle(piece):
    return piece[0] == "busy" and all(call.detail and call.client is None for call in piece[3])


def thread_lane(thread, recording, axis, y, prefix, pieces):
    """Bars for what the thread does; work, however short, can be seen."""
    waits, work = [], []
    for kind, start, end, calls in pieces(thread, recording):
        if not axis.shows(start, end):
            continue
        x0, x1 = axis.x(start), axis.x(end)
        if kind == "pause":
            work.append(f'<rect class="pause" x="{x0:.1f}" y="{y + 9}" width="{x1 - x0:.1f}" height="6"/>')
        elif kind in ("work", "busy"):
            words = [("computing", "inverse")] if kind == "work" else [("busy", "inverse")]
            work.append(bar("work", x0, x1, y, BAR, work_title(thread, kind, end - start, calls), prefix,
                            fitting(axis, x0, x1, y, words)))
        else:
            title = "\n\n".join(call_title(call, recording) for call in calls)
            waits.append(bar(kind, x0, x1, y, BAR, title, prefix, fitting(axis, x0, x1, y, *call_labels(calls))))
            waits += [f'<rect class="work" x="{axis.x(call.start) - 1:.1f}" y="{y + BAR - 4}" width="2" height="4"/>'
                      for call in calls[1:] if axis.shows(call.start, call.start)]
    return waits + work


def work_title(thread, kind, duration, calls):
    if kind == "work":
        return f"{thread.label} computes for {span(duration)}"
    return f"{thread.label} works for {span(duration)}: " + ", ".join(call.name for call in calls)


def call_labels(calls):
    """What may stand on the bar of a call, or of a call that was made several times in a row; the best first."""
    plain = calls[0].plain if len(calls) == 1 else f"{calls[0].plain.split(',')[0]}, {len(calls)} times"
    name, source = (calls[0].name, "mono"), (calls[0].source or "", "mono quiet")
    return [(plain, "strong"), name, source], [(plain, "strong"), name], [name]


def lanes(recording, axis, y, prefix):
    """The whole experiment. Return the drawing, and where it ends."""
    x = axis.x(focus(recording).start)
    axis = axis._replace(marked=x)
    top, bottom = y, y + 18 + LANE * (len(recording.clients) + len(recording.threads)) + 16 * (recording.idle_threads > 0)
    parts = grid(axis, zero(recording), y + 14, bottom)
    y += 18
    for client in recording.clients:
        parts.append(text(MARGIN, y + 16, f"client {client.path}", "strong"))
        parts += client_lane(client, recording, axis, y, prefix)
        y += LANE
    parts.append(line(x, y - LANE - 2, x, y + LANE * len(recording.threads) - 4, "arrival"))
    for thread in recording.threads:
        parts.append(text(MARGIN, y + 16, thread.label, "strong"))
        parts += thread_lane(thread, recording, axis, y, prefix, busy_spans)
        y += LANE
    if recording.idle_threads:
        others = "1 other thread sleeps" if recording.idle_threads == 1 else f"{recording.idle_threads} other threads sleep"
        parts.append(text(axis.points[0][1], y + 6, others + " all the time.", "quiet"))
    return with_axis(parts, axis, top, bottom), bottom


def with_axis(parts, axis, top, bottom):
    """The same, and what a script needs to know to draw a cursor over it."""
    return [f'<g class="timed" data-points="{axis.as_text()}" data-top="{top:.0f}" data-bottom="{bottom:.0f}">', *parts, "</g>"]


# ---- the magnified strip

def moment(recording):
    """The part to magnify, and what it is: the prompt answer to the last client, or the end of its wait."""
    client, long = focus(recording), 0.05 * recording.duration
    end = until(answered(client), recording)
    start, words = client.start, f"When {client.path} arrives"
    for thread in recording.threads:
        for _, begin, stop, calls in spans(thread, recording):
            if stop - begin > long and start + long < stop <= end:
                start, words = stop, f"When {calls[0].name if calls else 'the computation'} ends"
    # If the thread soon waits again, show that as well: it says for what, and until when.
    for thread in recording.threads:
        again = [call.start for call in thread.calls if call.waits_for in KINDS and call.start > end]
        if thread.tid == client.answered_by and again and again[0] - end < long:
            end = again[0]
    margin = max(end - start, 20e-6)
    return start - 0.06 * margin, end + 0.14 * margin, words


def columns(recording, t0, t1):
    """What is done about the client in this time, in its order: (kind, start, end, calls, thread)."""
    client = focus(recording)
    about = [each for each in recording.threads if each.tid in (client.accepted_by, client.answered_by)]
    result = [(*each, thread) for thread in about or recording.threads for each in spans(thread, recording)]
    result = [each for each in result if each[0] != "pause" and (t0 <= each[1] <= t1 or t0 <= each[2] < t1)]
    result.sort(key=lambda each: each[1])
    if len(result) > COLUMNS:
        result = [each for each in result if not any(call.detail for call in each[3])]
    return result[:COLUMNS]


def column_spans(found, t0, t1):
    """The spans of a thread as the columns show them: a call without a column is part of a pause."""
    def pieces(thread, recording):
        if all(each[4] is not thread for each in found):
            return busy_spans(thread, recording)
        return [(kind if (kind, start, end, calls, thread) in found or start < t0 and end > t1 else "pause", start, end, calls)
                for kind, start, end, calls in spans(thread, recording)]
    return pieces


def column_axis(found, t0, t1):
    """Give each call as much room as its name takes. Return the axis, and the edges of the columns."""
    rooms = [max(84, width(calls[0].name if calls else "computing", factor=0.65) + 16) for _, _, _, calls, _ in found]
    tail = 24 if found and found[-1][2] < t1 else 0  # for the mark that says answered
    each = (STRIP_END - LABELS - tail) / max(1, sum(rooms))
    edges = [LABELS + each * sum(rooms[:i]) for i in range(len(rooms) + 1)]
    points = [(t0, LABELS)]
    for i, (_, start, end, _, _) in enumerate(found):
        following = found[i + 1][1] if i + 1 < len(found) else t1
        for moment, x in ((start, edges[i] + 4), (end, edges[i + 1] - 4)):
            if points[-1][0] < moment < following:
                points.append((moment, x))
    return Axis(points + [(t1, STRIP_END)]), edges


def strip(recording, axis, y, prefix):
    """The moment that matters, magnified: call by call. Return the drawing, and where it ends."""
    t0, t1, words = moment(recording)
    found = columns(recording, t0, t1)
    near, edges = column_axis(found, t0, t1)
    x0, x1 = axis.x(t0), axis.x(t1)
    client, threads = focus(recording), [t for t in recording.threads if near.shows(t.start, until(t.end, recording))]
    bottom = y + 46 + LANE * (1 + len(threads))
    parts = [f'<path class="lens" d="M{x0:.1f},{y - 4} H{x1:.1f} L{STRIP_END},{y + 18} V{bottom - 2} H{LABELS} V{y + 18} Z"/>',
             text(LABELS + 6, y + 34, f"{words}: {span(t1 - t0)}, call by call, not to scale", "strong")]
    top = y = y + 44
    parts.append(text(MARGIN, y + 16, f"client {client.path}", "strong"))
    parts += client_lane(client, recording, near, y, prefix)
    for thread in threads:
        y += LANE
        parts.append(text(MARGIN, y + 16, thread.label, "strong"))
        parts += thread_lane(thread, recording, near, y, prefix, column_spans(found, t0, t1))
    most = 0
    for each, left, right in zip(found, edges, edges[1:]):
        lines = column_words(*each[:4], near, right - left)
        parts += [text(left + 7, bottom + 14 + LINE * i, *words) for i, words in enumerate(lines)]
        most = max(most, len(lines))
    return with_axis(parts, near, top, bottom), bottom + 4 + LINE * most


def column_words(kind, start, end, calls, near, room):
    """The words under a call, line by line: (words, style)."""
    plain = calls[0].plain if calls else "computes"
    if not calls or calls[0].end is None or end > near.points[-1][0]:
        took = "begins" if start > near.points[0][0] else ""
    else:
        took = span(end - start)
    if start < near.points[0][0]:
        took = f"ends after {took}"
    return [(words, "") for words in textwrap.wrap(plain, int((room - 8) / (SIZE * 0.57)))] + [(took, "quiet")]


# ---- the whole

def heading(recording, y):
    parts = [text(MARGIN, y + 18, recording.name, "name")]
    if recording.serializes is not None:
        words = f"{focus(recording).path} {'had to wait' if recording.serializes else 'did not wait'}"
        room = width(words, factor=0.62) + 24
        parts.append(f'<rect class="{"bad" if recording.serializes else "good"}" x="{STRIP_END - room:.1f}" y="{y}" '
                     f'width="{room:.1f}" height="24" rx="12"/>')
        parts.append(text(STRIP_END - room / 2, y + 16, words, "strong", "middle"))
    lines, height = wrapped(MARGIN, y + 42, recording.sentence, 114, "sentence", 19)
    return parts + lines, y + 38 + height


def summary(recording):
    """What the picture says, for readers who do not see it."""
    facts = [f"{recording.name}: {recording.sentence}"]
    for client in recording.clients:
        end = answered(client)
        facts.append(f"{client.path} arrives {at(client.start, recording)}" +
                     (f", is accepted {at(client.accepted, recording)}" if client.accepted is not None else ", is not accepted") +
                     (f" and answered {at(end, recording)}." if end is not None else " and not answered."))
    return " ".join(facts)


FOOTNOTE = ("Where the lane of a thread is solid, the thread works. Recorded with strace, which makes each call take about a "
            "millisecond longer.")


def draw(recordings, prefix="waits-", headings=True):
    """Return one SVG of all the recordings. On a page, prefix makes the ids in it unique, and the page has the headings."""
    before = max(zero(recording) for recording in recordings)
    after = max(recording.duration - zero(recording) for recording in recordings)
    parts, y = [], 0
    for recording in recordings:
        if y:
            parts.append(line(MARGIN, y, STRIP_END, y, "grid"))
        axis = Axis([(zero(recording) - before, LABELS), (zero(recording) + after, END)])
        y += 14
        if headings:
            drawn, y = heading(recording, y)
            parts += drawn
        for piece in (lanes, strip):
            drawn, y = piece(recording, axis, y, prefix)
            parts += drawn
        y += 8
    parts.append(text(MARGIN, y + 10, FOOTNOTE, "quiet"))
    height = round(y + 24)
    parts.insert(0, f'<rect class="card" x=".5" y=".5" width="{WIDTH - 1}" height="{height - 1}" rx="8"/>')
    patterns = "".join(f'<pattern id="{prefix}{kind}" width="8" height="8" patternUnits="userSpaceOnUse">'
                       f'<path class="hatch-{kind}" d="{path}" stroke-width="1.5"/></pattern>' for kind, path in HATCHES.items())
    title = "Who waits, and where: " + ", ".join(recording.name for recording in recordings)
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
            f'class="waits" role="img" aria-labelledby="{prefix}title {prefix}desc">\n'
            f'<title id="{prefix}title">{html.escape(title)}</title>\n'
            f'<desc id="{prefix}desc">{html.escape(" ".join(map(summary, recordings)))}</desc>\n'
            f'<style>{STYLE}</style>\n<defs>{patterns}</defs>\n' + "\n".join(parts) + "\n</svg>\n")
