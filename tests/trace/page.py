"""Build the page that replays recordings: page.html, filled with drawings and data."""
import dataclasses
import html
import json
import pathlib
import re

import svg

TEMPLATE = pathlib.Path(__file__).with_name("page.html")


def slug(name):
    """The name of a recording as it stands in an address: #05-epoll."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-")


def build(recordings):
    """Return the page as one self-contained file."""
    links = "\n".join(f'<a href="#{slug(each.name)}">{html.escape(each.name)}</a>' for each in recordings)
    return (TEMPLATE.read_text(encoding="utf-8")
            .replace("<!-- links -->", links)
            .replace("<!-- sections -->", "\n".join(map(section, recordings)))
            .replace("<!-- data -->", data(recordings)))


def section(recording):
    """A recording without any script: its name, the sentence and the drawing."""
    name, path = slug(recording.name), html.escape(svg.focus(recording).path)
    verdict = {True: f'<strong class="bad">{path} had to wait</strong>',
               False: f'<strong class="good">{path} did not wait</strong>', None: ""}[recording.serializes]
    drawing = svg.draw([recording], prefix=name + "-", headings=False)
    return (f'<section id="{name}">\n<h2>{html.escape(recording.name)}</h2> {verdict}\n'
            f'<p>{html.escape(recording.sentence)}</p>\n'
            f'<div class="picture" tabindex="0" role="group" aria-label="The drawing">{drawing}</div>\n'
            f'<p class="command">Recorded: <code>{html.escape(recording.command)}</code></p>\n</section>')


def data(recordings):
    """The recordings for the script, as JSON that cannot end the script element; each source file once."""
    files, result = [], []
    for recording in recordings:
        each = dataclasses.asdict(recording)
        for name, lines in each["sources"].items():
            if lines not in files:
                files.append(lines)
            each["sources"][name] = files.index(lines)
        result.append({**each, "slug": slug(recording.name), "zero": svg.zero(recording)})
    return json.dumps({"recordings": result, "files": files}, separators=(",", ":")).replace("<", "\\u003c")
