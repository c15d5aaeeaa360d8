"""Turn tutorial.md into one HTML page: FILE, or build/tutorial.html.

pandoc writes the HTML. Then the pictures are put into it, each heading gets a link, each chapter links to its
neighbours, each picture and each table a box that scrolls by itself, each block of commands a button that
copies it, each prediction its choices, each recording a player, and each experiment the simulation, one copy
for all of them (if make play has built build/play.html).
Exit status: 0; 1 if the page cannot be made; 2 for a bad command line."""
import base64
import html
import json
import os
import pathlib
import re
import textwrap

from kit import processes, tool
from kit.commandline import Parser
from kit.errors import Failed
from kit.processes import PIPES
from kit.tree import BUILD, ROOT
from recorder import replay, svg
from tutorial import pictures
from tutorial.loop import turns

HERE = pathlib.Path(__file__).resolve().parent

TITLE = "What happens beneath async/await?"
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
{icon}
<style>
{style}
</style>
<noscript><style>.simulated {{ display: none; }}
@media (max-width: 69.99rem) {{ nav {{ position: static; }} }}</style></noscript>
</head>
<body>
<nav id="contents" aria-label="Contents">
<details open>
<summary>Contents<span id="here"></span></summary>
<p><a href="#top">{title}</a></p>
<div id="tools"></div>
{contents}
<p>{others}</p>
</details>
</nav>
<main id="top">
{text}
</main>
<script type="application/json" id="data">{data}</script>
{simulation}
<script>
{script}
</script>
</body>
</html>
"""


def pandoc():
    """Return the text as HTML."""
    tool.need("pandoc", "deps-tutorial")
    options = ["--from", "gfm", "--to", "html5", "--wrap", "none", "--no-highlight"]
    run = processes.start(["pandoc", *options, "tutorial.md"], cwd=ROOT, **PIPES)
    out, err = processes.finish(run)
    if run.returncode != 0:
        raise Failed(f"pandoc: {processes.ending(run.returncode)}", err)
    return out


def drawn(text):
    """Put the pictures into the text: a recording as a drawing that can be played, any other as data."""
    def picture(match):
        name, words = match[1], match[2]
        if name in pictures.PICTURES:
            return recording(name, words)
        if name == pictures.TURNS:
            return stepped(words)
        data = base64.b64encode((ROOT / name).read_bytes()).decode()
        return f'<figure class="fits"><img src="data:image/svg+xml;base64,{data}" alt="{words}"></figure>'

    text = re.sub(r"<figcaption.*?</figcaption>\n?", "", text, flags=re.S)
    text = re.sub(r"<(p|figure)>\s*(<img [^>]*>)\s*</\1>", r"\2", text)
    return re.sub(r'<img\s+src="([^"]*\.svg)"\s+alt="([^"]*)"\s*/>', picture, text)


def stepped(words):
    """Return the scenes of a drawing that is stepped through, one below the other: the script shows one at a time."""
    drawing = (ROOT / pictures.TURNS).read_text(encoding="utf-8")
    items = [f'<li><figure><svg class="scene" viewBox="{box}" role="img" aria-label="Scene {number}">'
             f"{scene}</svg><figcaption>{caption}</figcaption></figure></li>"
             for number, (box, scene, caption) in enumerate(turns.SCENES.findall(drawing), 1)]
    return "\n".join([f'<div class="stepped turns" role="group" aria-label="{words}">', "<ol>", *items, "</ol>",
                      "</div>"])


def recording(name, words):
    """Return the drawing of what a picture shows, with the names of the recordings for the script."""
    found = pictures.recordings(name)
    prefix = re.sub(r"\W", "-", name.rpartition(".")[0]) + "-"
    described = f'aria-label="{words}" aria-describedby="{prefix}desc"'
    drawing = svg.draw(found, prefix, styled=False)
    drawing = drawing.replace(f'aria-labelledby="{prefix}title {prefix}desc"', described)
    slugs = " ".join(replay.slug(each.name) for each in found)
    told = "".join(f'<div class="told"><strong>{html.escape(each.name)}</strong> {html.escape(each.sentence)}</div>\n'
                   for each in found)  # on a narrow screen, where the drawing is cut
    return (f'<div class="replay" data-recordings="{slugs}">\n{told}'
            f'<figure class="scroll picture" tabindex="0">\n{drawing}</figure>\n'
            f"{replay.noted(found, drawing)}\n</div>")


def headings(text):
    """Return the text with a link on each heading and links between chapters, and the contents."""
    entries, parts = [], []

    def link(match):
        level, name, title = match[1], match[2], match[3]
        here = f'<a class="here" href="#{name}" aria-label="Link to this part">#</a>'
        heading = f'<h{level} id="{name}">{title} {here}</h{level}>'
        if level == "1" and not entries:
            return match[0]
        if level != "3":
            entries.append((level, name, title))
            parts.append(name)
            heading = f"<!-- before {name} -->\n{heading}"
        return heading

    text = re.sub(r'<h([123]) id="([^"]+)">(.*?)</h\1>', link, text, flags=re.S)
    for number, (_, name, _) in enumerate(entries):
        text = text.replace(f"<!-- before {name} -->\n", neighbours(entries, number - 1))
    lines = [f'<li{" class=part" if level == "1" else ""}><a href="#{name}">{title}</a></li>'
             for level, name, title in entries]
    return text, "<ol>\n" + "\n".join(lines) + "\n</ol>"


def neighbours(entries, number):
    """Return the end of a chapter: links to those before and after it."""
    if number < 0:
        return ""
    _, after, title = entries[number + 1]
    back = ""
    if number:
        _, before, words = entries[number - 1]
        back = f'<a href="#{before}">← {words}</a> '
    return f'<p class="neighbours">{back}<a class="next" href="#{after}">{title} →</a></p>\n'


def choices(match):
    """Return a prediction that is asked: the script makes buttons of it."""
    return f'<div class="choices" data-choices="{html.escape(match[1].strip())}"></div>'


def experiment(match):
    """Return the place of an experiment: the script puts the simulation there, in a frame."""
    words = re.sub(r"\s+", " ", match[1]).strip()
    name = re.sub(r"^#", "", words).replace(" ", "+")
    return f'<div class="simulated" data-address="play.html#{html.escape(name)}"></div>'


def commands(match):
    """Return a block of commands. Where a command does not fit into a line, its next line is indented."""
    lines = "".join(f"<span>{line}</span>" for line in match[1].splitlines(keepends=True))
    return f'<div class="commands"><pre class="sh"><code>{lines}</code></pre></div>'


def code(match):
    """Return a piece of a file. How far it is indented there says nothing, and on a narrow screen it costs words."""
    return f"{match[1]}{textwrap.dedent(match[2])}</code></pre>"


def output(match):
    """Return a block of output. A line that is no row of a table goes on in the next line where it does not fit."""
    kinds = [("row" if re.search(r"\S  ", line) else "prose", line) for line in match[2].splitlines(keepends=True)]
    lines = [f'<span class="{kind}">{line}</span>' for kind, line in kinds]
    return f"{match[1]}{''.join(lines)}</code></pre>"


def words(text):
    """Keep options and names in one piece: a line is not to end after a hyphen in them."""
    name = r"<[^>]*>|(?<![^\s>])(?!--?(?:[\s<]|$))[^\s<>]{0,28}-[^\s<>]{0,28}(?![^\s<])"

    def whole(match):
        return re.sub(name, lambda part: part[0] if part[0].startswith("<") else f'<span class="word">{part[0]}</span>',
                      match[0])

    return re.sub(r'<pre class="sh">.*?</pre>|(?<!">)<code>.*?</code>|<td[^>]*>[^<]*</td>', whole, text, flags=re.S)


def boxes(text):
    """Put tables into boxes that scroll, and mark commands, output and predictions."""
    text = re.sub(r"<!-- choices:(.*?)-->", choices, text)
    text = re.sub(r"<!-- play:(.*?)-->", experiment, text, flags=re.S)
    text = re.sub(r"<table.*?</table>", lambda match: f'<div class="scroll" tabindex="0">{match[0]}</div>', text,
                  flags=re.S)
    text = re.sub(r'<pre class="sh"><code>(.*?)</code></pre>', commands, text, flags=re.S)
    text = re.sub(r'(<pre class="(?:c|python)[^>]*><code>)(.*?)</code></pre>', code, text, flags=re.S)
    text = re.sub(r'(<pre class="(?:output|text)[^>]*><code>)(.*?)</code></pre>', output, text, flags=re.S)
    text = re.sub(r"<pre\b", '<pre tabindex="0"', text)  # so that the arrows scroll it
    return re.sub(r"<p><strong>(<a [^>]*>[^<]*</a>)</strong></p>", r'<p class="file">\1</p>', text)


def links(text, folder):
    """Let links to files lead from the folder of the page to the toolkit."""
    way = os.path.relpath(ROOT, folder)
    text = re.sub(r'href="(?!#|https?:|build/)([^"]+)"', rf'href="{way}/\1"', text)
    return text.replace('href="build/', 'href="')  # what is built lies beside the page


def build(page, simulation=None):
    """Return the page. simulation: the page to play with, to be part of it; None if it lies beside, as play.html; ""
    if there is none."""
    text, contents = headings(boxes(words(drawn(links(pandoc(), page.parent)))))
    shown = {each.name: each for name in pictures.PICTURES for each in pictures.recordings(name)}
    others = ('<a href="trace.html">Your own recordings</a>' if (page.parent / "trace.html").exists() else
              "<code>make trace</code> makes recordings of your own.")
    if simulation == "":
        text = re.sub(r'<div class="simulated".*?</div>', "", text)
    embedded = json.dumps(simulation).replace("<", "\\u003c") if simulation else ""
    return PAGE.format(title=html.escape(TITLE), icon=replay.ICON,
                       style=replay.style() + turns.STYLE + (HERE / "page.css").read_text(),
                       contents=contents, others=others, text=text, data=replay.data(list(shown.values())),
                       simulation=embedded and f'<script type="application/json" id="play">{embedded}</script>',
                       script=replay.script() + (HERE / "page.js").read_text())


def main(arguments):
    parser = Parser(description=__doc__, usage="%(prog)s [FILE]")
    parser.add_argument("file", nargs="?", default=BUILD / "tutorial.html", type=pathlib.Path, metavar="FILE")
    options = parser.parse_args(arguments)
    page = options.file.resolve()
    page.parent.mkdir(parents=True, exist_ok=True)
    play = BUILD / "play.html"
    page.write_text(build(page, play.read_text(encoding="utf-8") if play.exists() else ""), encoding="utf-8")
    print(f"The page is {page}")
    if not play.exists():
        print("It has no simulation, because build/play.html is missing: make play builds that.")
    return 0


if __name__ == "__main__":
    tool.run(main)
