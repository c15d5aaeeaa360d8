"""Replay recordings on a page: replay.css, replay.js and the data, which each page that does so includes; and
the page of all recordings, replay.html."""
import html
import json
import pathlib
import re

from recorder import svg, verdict


HERE = pathlib.Path(__file__).resolve().parent
# Without one in the page, a browser asks a host for /favicon.ico.
ICON = ("""<link rel="icon" href="data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E"""
        """%3Cpath d='M1 3h5v4H1z' fill='%23dceed5' stroke='%23368a4a'/%3E"""
        """%3Cpath d='M1 9h14v4H1z' fill='%23ffdfa8' stroke='%23b07a1a'/%3E%3C/svg%3E">""")
# What the script needs to know of each.
THREAD = ("tid", "label", "start", "end")
CALL = ("name", "start", "end", "source", "function", "waits_for", "plain", "stack")
CLIENT = ("path", "start", "connected", "accepted", "answered", "done")
WAIT = ("tid", "start", "end", "watched", "timeout_ms", "reported")


def slug(name):
    """The name of a recording as it stands in an address: #05-epoll. It is none of the page's own names."""
    plain = re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-")
    return plain if re.match(r"\d\d-|trap", plain) else f"recording-{plain}".rstrip("-")


def slugs(recordings):
    """The same for all recordings of a page: numbered, where they would be alike."""
    found = []
    for each in recordings:
        name, number = slug(each.name), 2
        while name in found:
            name, number = f"{slug(each.name)}-{number}", number + 1
        found.append(name)
    return found


def style():
    """Return the styles of the drawings and of the player."""
    return svg.STYLE + (HERE / "replay.css").read_text(encoding="utf-8")


def script():
    return (HERE / "replay.js").read_text(encoding="utf-8")


def build(recordings):
    """Return the page of all recordings as one self-contained file."""
    names = slugs(recordings)
    links = "\n".join(f'<a href="#{name}">{html.escape(each.name)}</a>' for name, each in zip(names, recordings))
    return ((HERE / "replay.html").read_text(encoding="utf-8")
            .replace("<!-- icon -->", ICON)
            .replace("<!-- style -->", style())
            .replace("<!-- script -->", script())
            .replace("<!-- links -->", links)
            .replace("<!-- sections -->", "\n".join(map(section, recordings, names)))
            .replace("<!-- data -->", data(recordings)))


def section(recording, name):
    """A recording without any script: its name, the sentence and the drawing. name is its id."""
    path = html.escape(svg.focus(recording).path)
    verdict = {True: f'<strong class="bad">{path} had to wait</strong>',
               False: f'<strong class="good">{path} did not wait</strong>', None: ""}[recording.serializes]
    drawing = svg.draw([recording], prefix=name + "-", headings=False, styled=False)
    return (f'<section id="{name}">\n<h2>{html.escape(recording.name)}</h2> {verdict}\n'
            f'<p>{html.escape(recording.sentence)}</p>\n'
            f'<div class="picture" tabindex="0" role="group" aria-label="The drawing">{drawing}</div>\n'
            f"{noted([recording], drawing)}\n"
            f'<p class="command">Recorded: <code>{html.escape(recording.command)}</code></p>\n</section>')


def noted(recordings, drawing):
    """What is to be said below a drawing, as text: a narrow screen breaks its lines."""
    captions = "".join(f'<span class="caption">{html.escape(each)}</span>' for each in lower(recordings))
    return (f'<p class="noted">{captions}<span class="works"></span>'
            f'{"<br>".join(map(html.escape, svg.notes(recordings, drawing)))}</p>')


def lower(recordings):
    """Yield what is magnified. On a narrow screen, this is read in the place of its caption, which scrolls away."""
    for each, (t0, t1, words) in zip(recordings, svg.moments(recordings)):
        name = f" of {each.name}" if len(recordings) > 1 else ""
        yield f"The lower lanes{name} show {svg.span(t1 - t0)} call by call, not to scale: w{words[1:]}."


def data(recordings):
    """The recordings for the script, as JSON that cannot end the script element; each source file once."""
    files, result = [], []
    for recording, name in zip(recordings, slugs(recordings)):
        for lines in recording.sources.values():
            if lines not in files:
                files.append(lines)
        result.append({
            "name": recording.name, "slug": name, "zero": svg.zero(recording),
            "duration": recording.duration, "computing_from": recording.computing_from,
            "threads": [{**fields(thread, THREAD), "calls": calls(thread, recording)}
                        for thread in recording.threads],
            "clients": [fields(client, CLIENT) for client in recording.clients],
            "waits": [fields(wait, WAIT) for wait in recording.waits],
            "sources": {name: files.index(lines) for name, lines in recording.sources.items()}})
    return json.dumps({"recordings": result, "files": files}, separators=(",", ":")).replace("<", "\\u003c")


def calls(thread, recording):
    """The calls of a thread, and after which of them it computes."""
    ends = [call.start for call in thread.calls[1:]]
    ends.append(recording.duration if thread.end is None else thread.end)
    return [{**fields(call, CALL), "computes": call.end is not None and
             verdict.computes(thread, call.end, end, recording.computing_from)}
            for call, end in zip(thread.calls, ends)]


def fields(thing, names):
    return {name: getattr(thing, name) for name in names}
