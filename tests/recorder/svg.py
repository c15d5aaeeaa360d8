"""Draw recordings: a lane for each client, a lane for each thread, and the moment that matters, call by call.

draw() returns one SVG for any number of recordings, all on one scale of time. It reads on white and on
dark, and says in words what it shows, so that it needs no legend.
"""
import html
import math
import re
import textwrap
from typing import List, NamedTuple, Tuple

from recorder import verdict
from recorder.recording import Call, Recording, Thread
from recorder.waiting import KINDS


WIDTH, MARGIN = 900, 16
LABELS, END = 130, 768         # lanes go from LABELS to END; after that there is room for words
STRIP_END = WIDTH - MARGIN
LANE, BAR = 32, 24             # the height of a lane, and of the bar in it
SIZE, LINE = 12, 15            # of text
TRUSTED = 0.01                 # seconds: strace adds as much to a call, so what takes less is not told
COLUMNS = 7                    # calls in the magnified strip, at most, if some can be left out
MOST_LETTERS = 15              # of the name of a lane
MOST_UPSTREAMS = 4             # lanes of other servers
WORKS = "The thread works."    # beside a bar that says so
AT_MOST = " A wait of “… at most” ends when the next {} is due."
RECORDED = "Recorded with strace, which adds up to a few ms to each call: trust the order, not the microseconds."

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
.waits .server, .waits .names { fill: #e6e0fa; stroke: #6a4fb3 }
.waits .turn { fill: #efd9eb; stroke: #8e3b80 }
.waits .other, .waits .file, .waits .child, .waits .unknown { fill: #e4e4e4; stroke: #707070 }
.waits .work { fill: #24292f; stroke: #24292f }
.waits .call { fill: #fff; stroke: #24292f }
.waits .pause { fill: #adb5bd }
.waits .hatch-backlog { stroke: #e58872 }
.waits .hatch-delay { stroke: #f3b862 }
.waits .hatch-lock, .waits .hatch-turn { stroke: #d9a5cf }
.waits .hatch-thread { stroke: #83cdb3 }
.waits .hatch-server { stroke: #b3a3ea }
.waits .good { fill: #ddecd3; stroke: #50802f }
.waits .bad { fill: #fbd0c4; stroke: #b3261e }
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
.waits .server, .waits .names { fill: #33265c; stroke: #a994ee }
.waits .turn { fill: #4a2145; stroke: #d98cc9 }
.waits .other, .waits .file, .waits .child, .waits .unknown { fill: #33383e; stroke: #9198a1 }
.waits .work { fill: #c9d1d9; stroke: #c9d1d9 }
.waits .call { fill: #0d1117; stroke: #c9d1d9 }
.waits .pause { fill: #59636e }
.waits .hatch-backlog { stroke: #8f3f34 }
.waits .hatch-delay { stroke: #805a1c }
.waits .hatch-lock, .waits .hatch-turn { stroke: #7a4272 }
.waits .hatch-thread { stroke: #24735a }
.waits .hatch-server { stroke: #5b479c }
.waits text .inverse { fill: #0d1117 }
.waits .cursor { stroke: #6cb6ff }
}
"""
DARK = "@media (prefers-color-scheme: dark) {\n"


def small_style(scope, *names, light="", dark=""):
    """Return the style of a picture of the class scope: that of these parts in STYLE, and rules of its own."""
    def rules(style):
        found = {selector: rule for selectors, rule in re.findall(r"^(.*) ({.*})$", style, re.M)
                 for selector in selectors.split(", ")}
        return "".join(f".{scope} {name} {found[f'.waits {name}']}\n" for name in names)

    day, night = STYLE.split(DARK)
    font = day.replace("waits", scope, 1).replace("12px", "12.5px", 1).splitlines()[1]
    return (f"\n{font}\n.{scope} .name {{ font-size: 15px; font-weight: 600 }}\n{rules(day)}{light}"
            f"{DARK}{rules(night)}{dark}}}\n")


def needed(drawn):
    """Return the rules of STYLE for what is drawn."""
    there = set(" ".join(re.findall(r'class="([^"]*)"', drawn)).split())

    def is_needed(line):
        classes = re.findall(r"\.waits (?:text )?\.([\w-]+)", line)
        return not classes or there.intersection(classes)

    return "\n".join(filter(is_needed, STYLE.split("\n")))


HATCHES = {"backlog": "M-2,10 L10,-2 M-2,2 L2,-2 M6,10 L10,6",
           "delay": "M-2,-2 L10,10 M-2,6 L2,10 M6,-2 L10,2",
           "lock": "M-2,-2 L10,10 M-2,10 L10,-2",
           "turn": "M-2,-2 L10,10 M-2,10 L10,-2",
           "thread": "M0,4 H8",
           "server": "M4,0 V8"}


class Axis(NamedTuple):
    """Where a moment is drawn: between the points (time, x), which rise, it runs evenly."""
    points: List[Tuple[float, float]]
    marked: float = 0          # a line at this x: words keep out of its way

    def x(self, moment):
        (t0, x0), *rest = self.points
        for t1, x1 in rest:
            if moment < t1:
                return x0 + (max(moment, t0) - t0) / max(t1 - t0, 1e-9) * (x1 - x0)
            t0, x0 = t1, x1
        return x0

    def shows(self, start, end):
        return end >= self.points[0][0] and start <= self.points[-1][0]

    def as_text(self):
        return " ".join(f"{t:.6f},{x:.1f}" for t, x in self.points)


class Sheet(NamedTuple):
    """What is drawn, and where."""
    recording: Recording
    axis: Axis
    prefix: str                # begins each id
    magnified: Tuple[float, float, str]  # from, to, and what that is


class Span(NamedTuple):
    """A part of the life of a thread. kind is one of KINDS (it waits); "call" (it is in a call that does not
    wait); "work" (it computes between two calls); "pause" (so little time between two calls that much of it
    is what being recorded costs); "busy" (several calls and pauses)."""
    kind: str
    start: float
    end: float
    calls: List[Call]
    thread: Thread


# ---- words

def span(seconds):
    """Return a duration for people."""
    if seconds == 0:
        return "0 s"
    if seconds < 0.00095:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 0.01:
        return f"{seconds * 1e3:.1f} ms"
    if seconds < 0.9995:
        return f"{seconds * 1e3:.0f} ms"
    return f"{seconds:.3f}".rstrip("0").rstrip(".") + " s"


def width(words, factor=0.62):
    """Guess how wide a text is; rather too much, as each system has a font of its own."""
    return len(words) * SIZE * factor


def focus(recording):
    """Return the client that the experiment is about: the last to arrive."""
    return max(recording.clients, key=lambda client: client.start)


def zero(recording):
    """Return the moment from which times are told: the first client arrives."""
    return min(client.start for client in recording.clients)


def answered(client):
    return client.done if client.answered is None else client.answered


def until(moment, recording):
    return recording.duration if moment is None else moment


def at(moment, recording):
    return f"at {span(moment - zero(recording))}"


def call_title(call, recording):
    lines = [f"{call.name}({call.arguments})" + (f" = {call.result}" if call.result else ""), call.plain]
    took = f"for {span(call.end - call.start)}" if call.end is not None else "until the recording ended"
    lines.append(f"{at(call.start, recording)}, {took}" if call.start >= zero(recording) else took)
    if call.source or call.function:
        lines.append(f"called from {call.source or call.function}")
    return "\n".join(filter(None, lines))


def summary(recording):
    """Return what the picture says, for readers who do not see it."""
    facts = [f"{recording.name}: {recording.sentence}"]
    for client in recording.clients:
        end = answered(client)
        facts.append(f"{client.path} arrives {at(client.start, recording)}, " +
                     ("" if _unseen(client) else
                      "is not accepted, " if client.accepted is None else
                      f"is accepted {at(client.accepted, recording)}, ") +
                     ("and is not answered." if end is None else f"and is answered {at(end, recording)}."))
    return " ".join(facts)


# ---- pieces of SVG

def text(x, y, words, style="", anchor="start"):
    return (f'<text x="{x:.1f}" y="{y:.1f}"' + (f' class="{style}"' if style else "") +
            (f' text-anchor="{anchor}"' if anchor != "start" else "") + f'>{html.escape(words)}</text>')


def line(x0, y0, x1, y1, style):
    return f'<path class="{style}" d="M{x0:.1f},{y0:.1f} L{x1:.1f},{y1:.1f}"/>'


def bar(sheet, kind, start, end, y, title, *labels):
    """Return a bar from start to end, with a hatch, a title, and the first of the labels that fits."""
    x0, x1 = sheet.axis.x(start), sheet.axis.x(end)
    box = f'x="{x0:.1f}" y="{y:.1f}" width="{max(2.5, x1 - x0):.1f}" height="{BAR}"'
    hatch = f'<rect {box} fill="url(#{sheet.prefix}{kind})"/>' if kind in HATCHES else ""
    return (f'<g><title>{html.escape(title)}</title><rect class="{kind}" {box}/>{hatch}'
            f'{fitting(sheet.axis, x0, x1, y, labels)}</g>')


def fitting(axis, x0, x1, y, labels):
    """Return the first label that fits between x0 and x1. A label is a list of (words, style)."""
    if x0 < axis.marked < (x0 + x1) / 2:
        x0 = axis.marked
    for label in labels:
        if sum(width(words) + 6 for words, _ in label) <= x1 - x0:
            spans = "".join(f'<tspan class="{style}"' + ' dx="6"' * (i > 0) + f'>{html.escape(words)}</tspan>'
                            for i, (words, style) in enumerate(label))
            return f'<text x="{x0 + 5:.1f}" y="{y + 16:.1f}">{spans}</text>'
    return ""


def grid(axis, origin, y0, y1):
    """Return vertical lines at round times after the origin, with the times above them."""
    (t0, x0), (t1, x1) = axis.points
    rough = 75 * (t1 - t0) / (x1 - x0)  # so far apart, their times do not overlap
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    parts = []
    for i in range(int((t1 - origin) / step) + 1):
        x = axis.x(origin + i * step)
        parts += [line(x, y0, x, y1, "grid"),
                  text(x, y0 - 4, span(i * step) if i else "0", "quiet", "middle")]
    return parts


def with_axis(parts, axis, top, bottom):
    """Return the same, with what a script needs to know to draw a cursor over it."""
    return [f'<g class="timed" data-points="{axis.as_text()}" data-top="{top:.0f}" '
            f'data-bottom="{bottom:.0f}">', *parts, "</g>"]


# ---- a lane of a client

def client_lane(sheet, client, y):
    """On its way, in the backlog, accepted, answered."""
    recording, axis = sheet.recording, sheet.axis
    accepted = until(client.accepted, recording)
    connected = min(until(client.connected, recording), accepted)
    threads = {thread.tid: thread.label.replace("main", "the main") for thread in recording.threads}
    server = threads.get(client.answered_by) if len(threads) > 1 else None
    served = [("accepted", "strong"), (f"served by {server}" if server else "not yet answered", "")]
    state = "accepted, not yet answered"
    if _unseen(client):
        served = [("connected", "strong"), ("whether it is accepted cannot be seen", "")]
        state = "connected; whether it is accepted cannot be seen"
    queued = [("in the backlog", "strong"), ("connected, but not yet accepted", "")]
    parts = [text(MARGIN, y + 16, f"client {client.path}", "strong")]
    for kind, start, end, title, labels in [
            ("way", client.start, connected, "on its way", [[("on its way", "")]]),
            ("backlog", connected, accepted, "in the backlog: connected, not yet accepted",
             [queued, queued[:1]]),
            ("accepted", accepted, until(answered(client), recording), state,
             [served, served[:1]])]:
        if start < end and axis.shows(start, end):
            title = f"{client.path}: {title}\n{at(start, recording)}, for {span(end - start)}"
            parts.append(bar(sheet, kind, start, end, y, title, *labels))
    return parts + answer_label(client, axis, y)


def _unseen(client):
    """Do no calls tell when it was accepted, and read?"""
    return not client.accept_seen and client.received is None


def answer_label(client, axis, y):
    moment = answered(client)
    if moment is None:
        return [text(axis.points[-1][1] + 6, y + 16, "no answer", "strong")]
    x = axis.x(moment) + 8
    took = span((moment if client.done is None else client.done) - client.start)
    for words in (f"✓ answered after {took}", f"✓ after {took}", "✓"):
        if x + width(words) <= STRIP_END:
            return [text(x, y + 16, words, "strong")]
    return []


# ---- a lane of a thread

def lane_name(label):
    """The name of a thread, as far as there is room for it: "12: HTTP-Dispatcher" for thread 12 (HTTP-Dispatcher)."""
    if len(label) <= MOST_LETTERS or label.startswith("worker") and "(" not in label:
        return label
    short = re.sub(r"^(?:worker (\d+), )?thread (\d+) \((.*)\)$",
                   lambda found: f"{found[1] + '.' if found[1] else ''}{found[2]}: {found[3]}", label)
    return short if len(short) <= MOST_LETTERS else f"{short[:MOST_LETTERS - 1]}…"


def spans(thread, recording):
    """Return the life of a thread, from its first call on."""
    last = until(thread.end, recording)
    result = []

    def between(start, end):
        if end > start:
            kind = "work" if verdict.computes(thread, start, end, recording.computing_from) else "pause"
            result.append(Span(kind, start, end, [], thread))

    for call in thread.calls:
        if result:
            between(result[-1].end, call.start)
        kind = call.waits_for if call.waits_for in KINDS else "call"
        result.append(Span(kind, call.start, last if call.end is None else call.end, [call], thread))
    between(result[-1].end if result else thread.start, last)
    return result


def busy_spans(thread, recording):
    """Return the same, but all the calls between two waits, and the pauses between them, are one span. Where
    a thread wakes up, does nothing for a client and waits again, the two waits are one."""
    nothing, result = Span("", 0, 0, [], thread), []
    for each in spans(thread, recording):
        before, last = [nothing, nothing, *result][-2:]
        if each.kind in ("call", "pause"):
            if last.kind == "busy":
                result.pop()
                each = each._replace(start=last.start, calls=last.calls + each.calls)
            result.append(each._replace(kind="busy"))
        elif (each.kind == before.kind in KINDS and each.calls[0].name == before.calls[0].name
              and is_idle(last)):
            result[-2:] = [before._replace(end=each.end, calls=before.calls + each.calls)]
        else:
            result.append(each)
    return result


def is_idle(piece):
    return piece.kind == "busy" and all(call.detail and call.client is None for call in piece.calls)


def thread_lane(sheet, thread, y, pieces):
    """Bars for what the thread does; work, however short, can be seen."""
    axis, waits, work = sheet.axis, [], []
    for kind, start, end, calls, _ in pieces:
        if not axis.shows(start, end):
            continue
        if kind == "pause":
            work.append(f'<rect class="pause" x="{axis.x(start):.1f}" y="{y + 9}" '
                        f'width="{axis.x(end) - axis.x(start):.1f}" height="6"/>')
        elif kind in ("work", "busy"):
            does, label = ("computes", "computing") if kind == "work" else ("works", "busy")
            title = f"{thread.label} {does} for {span(end - start)}"
            if calls:
                title += ": " + ", ".join(call.name for call in calls)
            work.append(bar(sheet, "work", start, end, y, title, [(label, "inverse")]))
        else:
            title = "\n\n".join(call_title(call, sheet.recording) for call in calls)
            waits.append(bar(sheet, kind, start, end, y, title, *call_labels(calls)))
            waits += [f'<rect class="work" x="{axis.x(again.start) - 1:.1f}" y="{y + BAR - 4}" width="2" '
                      'height="4"/>' for again in calls[1:] if axis.shows(again.start, again.start)]
    return [text(MARGIN, y + 16, lane_name(thread.label), "strong"), *waits, *work]


def call_labels(calls):
    """Return what may stand on the bar of a call, or of several in a row, the best first."""
    plain = calls[0].plain
    if len(calls) > 1:
        plain = f"{plain.split(',')[0]}, {len(calls)} times"
    name, source = (calls[0].name, "mono"), (calls[0].source or "", "mono quiet")
    return [(plain, "strong"), name, source], [(plain, "strong"), name], [name]


# ---- a lane of another server

def upstreams(recording):
    """Return the other servers that were asked: (name, the Upstreams), those first that took longest."""
    asked = {}
    for each in recording.upstreams:
        asked.setdefault(each.name, []).append(each)

    def length(item):
        return -sum(until(each.end, recording) - each.start for each in item[1])

    return sorted(asked.items(), key=length)[:MOST_UPSTREAMS]


def upstream_lane(sheet, name, asked, y):
    """A bar for each question; questions with little time between them are one bar."""
    recording, bars = sheet.recording, []
    for each in asked:
        end = until(each.end, recording)
        if bars and each.start - bars[-1][1] < recording.computing_from and each.client == bars[-1][2]:
            bars[-1][1:] = [max(end, bars[-1][1]), each.client, bars[-1][3] + 1]
        else:
            bars.append([each.start, end, each.client, 1])
    parts = [text(MARGIN, y + 16, lane_name(name), "strong")]
    for start, end, client, count in bars:
        why = f"asked for {recording.clients[client].path}" if client is not None else "asked"
        often = f", {count} times" if count > 1 else ""
        title = f"{name} is {why}{often}\n{at(start, recording)}, for {span(end - start)}"
        parts.append(bar(sheet, "server", start, end, y, title, [(why + often, "strong")]))
    return parts


# ---- the lanes of the whole experiment

def lanes(sheet, y):
    """Return the drawing, and where it ends."""
    recording = sheet.recording
    clients, threads, others = recording.clients, recording.threads, recording.idle_threads
    arrival = sheet.axis.x(focus(recording).start)
    sheet = sheet._replace(axis=sheet.axis._replace(marked=arrival))
    top, y = y, y + 18
    servers = upstreams(recording)
    end_of_lanes = y + LANE * (len(clients) + len(threads) + len(servers))
    bottom = end_of_lanes + (16 if others else 0)
    parts = grid(sheet.axis, zero(recording), y - 4, bottom)
    for client in clients:
        parts += client_lane(sheet, client, y)
        y += LANE
    parts.append(line(arrival, y - LANE - 2, arrival, end_of_lanes - 4, "arrival"))
    for thread in threads:
        parts += thread_lane(sheet, thread, y, busy_spans(thread, recording))
        y += LANE
    for name, asked in servers:
        parts += upstream_lane(sheet, name, asked, y)
        y += LANE
    if others:
        words = "1 other thread has" if others == 1 else f"{others} other threads have"
        parts.append(text(LABELS, y + 6, f"{words} no part in this.", "quiet"))
    return with_axis(parts, sheet.axis, top, bottom), bottom


# ---- the magnified strip

def moment(recording):
    """Return the part to magnify, and what it is: the last client is answered promptly, or its wait ends."""
    client, long = focus(recording), 0.05 * recording.duration
    end = until(answered(client), recording)
    start, words = client.start, f"When {client.path} arrives"
    for thread in recording.threads:
        for each in spans(thread, recording):
            if each.end - each.start > long and start + long < each.end <= end:
                what = each.calls[0].name if each.calls else "the computation"
                start, words = each.end, f"When {what} ends"
    # If the thread soon waits again, show that as well: it says for what, and until when.
    for thread in recording.threads:
        again = [call.start for call in thread.calls if call.waits_for in KINDS and call.start > end]
        if thread.tid == client.answered_by and again and again[0] - end < long:
            end = again[0]
    margin = max(end - start, 20e-6)
    return start - 0.06 * margin, end + 0.14 * margin, words


def moments(recordings):
    """The part to magnify of each. Recordings that are compared show the same moment: if not all of them have the
    last client answered promptly, that is when it arrives."""
    found = [moment(recording) for recording in recordings]
    prompt = [t1 - t0 for recording, (t0, t1, _) in zip(recordings, found) if t0 < focus(recording).start <= t1]
    if len(prompt) in (0, len(found)):
        return found
    arrivals = []
    for recording, (t0, t1, words) in zip(recordings, found):
        client = focus(recording)
        if not t0 < client.start <= t1:
            t0, t1, words = client.start - 0.05 * max(prompt), client.start + max(prompt), f"When {client.path} arrives"
        arrivals.append((t0, t1, words))
    return arrivals


def columns(recording, t0, t1):
    """Return what is done about the last client in this time, in its order."""
    client = focus(recording)
    about = [each for each in recording.threads if each.tid in (client.accepted_by, client.answered_by)]
    result = [each for thread in about or recording.threads for each in spans(thread, recording)
              if each.kind != "pause" and (t0 <= each.start <= t1 or t0 <= each.end < t1)]
    if len(result) > COLUMNS:
        result = [each for each in result if not any(call.detail for call in each.calls)]
    return sorted(result, key=lambda each: each.start)[:COLUMNS]


def column_spans(found, thread, recording, t0, t1):
    """Return the life of a thread as the columns show it: a call without a column is part of a pause."""
    if all(each.thread is not thread for each in found):
        return busy_spans(thread, recording)
    return [each if each in found or each.start < t0 and each.end > t1 else each._replace(kind="pause")
            for each in spans(thread, recording)]


def column_axis(found, t0, t1):
    """Give each call as much room as its name takes. Return the axis, and the edges of the columns."""
    rooms = [max(84, width(each.calls[0].name if each.calls else "computing", 0.65) + 16) for each in found]
    tail = 24 if found and found[-1].end < t1 else 0  # for the mark that says answered
    unit = (STRIP_END - LABELS - tail) / max(1, sum(rooms))
    edges = [LABELS + unit * sum(rooms[:i]) for i in range(len(rooms) + 1)]
    points = [(t0, LABELS)]
    for i, each in enumerate(found):
        following = found[i + 1].start if i + 1 < len(found) else t1
        for time, x in ((each.start, edges[i] + 4), (each.end, edges[i + 1] - 4)):
            if points[-1][0] < time < following:
                points.append((time, x))
    return Axis(points + [(t1, STRIP_END)]), edges


def strip(sheet, y):
    """Draw the moment that matters, call by call. Return the drawing, and where it ends."""
    recording, far = sheet.recording, sheet.axis
    t0, t1, words = sheet.magnified
    found = columns(recording, t0, t1)
    near, edges = column_axis(found, t0, t1)
    sheet = sheet._replace(axis=near)
    threads = [each for each in recording.threads if near.shows(each.start, until(each.end, recording))]
    top, bottom = y + 44, y + 46 + LANE * (1 + len(threads))
    parts = [f'<path class="lens" d="M{far.x(t0):.1f},{y - 4} H{far.x(t1):.1f} '
             f'L{STRIP_END},{y + 18} V{bottom - 2} H{LABELS} V{y + 18} Z"/>',
             text(LABELS + 6, y + 34, f"{words}: {span(t1 - t0)}, call by call, not to scale", "strong")]
    parts += client_lane(sheet, focus(recording), top)
    for i, thread in enumerate(threads):
        pieces = column_spans(found, thread, recording, t0, t1)
        parts += thread_lane(sheet, thread, top + LANE * (i + 1), pieces)
    most = 0
    for each, left, right in zip(found, edges, edges[1:]):
        lines = column_words(each, near, right - left)
        parts += [text(left + 7, bottom + 14 + LINE * i, *line) for i, line in enumerate(lines)]
        most = max(most, len(lines))
    return with_axis(parts, near, top, bottom), bottom + 4 + LINE * most


def column_words(each, near, room):
    """Return the words under a call, line by line: (words, style)."""
    t0, t1 = near.points[0][0], near.points[-1][0]
    if each.end > t1 or each.calls and each.calls[0].end is None:
        took = "begins"
    elif each.end - each.start < TRUSTED:
        took = ""
    else:
        took = span(each.end - each.start)
    if each.start < t0 - (t1 - t0):
        took = f"ends after {took}"
    plain = each.calls[0].plain if each.calls else "computes"
    lines = textwrap.wrap(plain, int((room - 8) / (SIZE * 0.57)))
    return [(words, "") for words in lines] + ([(took, "quiet")] if took else [])


# ---- the whole

def heading(recording, y):
    parts = [text(MARGIN, y + 18, recording.name, "name")]
    if recording.serializes is not None:
        words = f"{focus(recording).path} {'had to wait' if recording.serializes else 'did not wait'}"
        room = width(words) + 24
        parts.append(f'<rect class="{"bad" if recording.serializes else "good"}" x="{STRIP_END - room:.1f}" '
                     f'y="{y}" width="{room:.1f}" height="24" rx="12"/>')
        parts.append(text(STRIP_END - room / 2, y + 16, words, "strong", "middle"))
    lines = textwrap.wrap(recording.sentence, 112, break_long_words=False)
    parts += [text(MARGIN, y + 42 + 19 * i, words, "sentence") for i, words in enumerate(lines)]
    return parts, y + 38 + 19 * len(lines)


def notes(recordings, drawn):
    """Return what is to be said below a drawing of these recordings: of the bars, and of the times."""
    due = "time-out" if any(recording.upstreams for recording in recordings) else "response"
    return WORKS + AT_MOST.format(due) * ("at most" in drawn), RECORDED


def draw(recordings, prefix="waits-", headings=True, styled=True):
    """Return one SVG of all the recordings. prefix begins each id in it: on a page, these must differ. A page
    that has the style already, and says the notes in its own text, leaves both out here."""
    before = max(zero(recording) for recording in recordings)
    after = max(recording.duration - zero(recording) for recording in recordings)
    parts, y = [], 0
    for recording, magnified in zip(recordings, moments(recordings)):
        if y:
            parts.append(line(MARGIN, y, STRIP_END, y, "grid"))
        y += 14
        if headings:
            drawn, y = heading(recording, y)
            parts += drawn
        axis = Axis([(zero(recording) - before, LABELS), (zero(recording) + after, END)])
        for piece in (lanes, strip):
            drawn, y = piece(Sheet(recording, axis, prefix, magnified), y)
            parts += drawn
        y += 8
    if styled:
        parts.append(f'<rect class="work" x="{MARGIN}" y="{y + 1}" width="18" height="10"/>')
        for note, x in zip(notes(recordings, "".join(parts)), (MARGIN + 24, MARGIN)):
            parts.append(text(x, y + 10, note, "quiet"))
            y += 16
    height = round(y + 8)
    drawn = "\n".join([f'<rect class="card" x=".5" y=".5" width="{WIDTH - 1}" height="{height - 1}" rx="8"/>', *parts])
    patterns = "".join(f'<pattern id="{prefix}{kind}" width="8" height="8" patternUnits="userSpaceOnUse">'
                       f'<path class="hatch-{kind}" d="{path}" stroke-width="1.5"/></pattern>'
                       for kind, path in HATCHES.items() if f'"url(#{prefix}{kind})"' in drawn)
    title = "Who waits, and where: " + ", ".join(recording.name for recording in recordings)
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
        f'height="{height}" class="waits" role="img" aria-labelledby="{prefix}title {prefix}desc">',
        f'<title id="{prefix}title">{html.escape(title)}</title>',
        f'<desc id="{prefix}desc">{html.escape(" ".join(map(summary, recordings)))}</desc>',
        *([f"<style>{needed(patterns + drawn)}</style>"] if styled else []),
        f"<defs>{patterns}</defs>", drawn, "</svg>", ""])
