#!/usr/bin/env python3
"""Turn tutorial.md into one HTML page: FILE, or build/tutorial.html.

pandoc writes the HTML, and puts the pictures into it. Then each heading gets a link, each picture and each table a
box that scrolls by itself, and each block of commands a button that copies it.
Exit status: 0; 1 if the page cannot be made; 2 for a bad command line."""
import html
import os
import pathlib
import re
import sys

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent.parent)]
import lab  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
TITLE = "What happens beneath async/await?"
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{style}
</style>
</head>
<body>
<nav aria-label="Contents">
<p><a href="#top">{title}</a></p>
{contents}
<p>{replay}</p>
</nav>
<main id="top">
{text}
</main>
<script>
{script}
</script>
</body>
</html>
"""


def pandoc():
    """Return the text as HTML, with its pictures in it."""
    lab.need("pandoc", "deps-tutorial")
    # No file of pandoc's own frames the text, so that only the pictures become data in the page.
    frame = lab.scratch() / "frame.html"
    frame.write_text("$body$\n")
    run = lab.start(["pandoc", "--from", "gfm", "--to", "html5", "--self-contained", "--no-highlight",
                     "--template", frame, "--metadata", "title= ", "tutorial.md"], cwd=lab.ROOT, **lab.PIPES)
    out, err = lab.finish(run)
    if run.returncode != 0:
        raise lab.Failed(f"pandoc: {lab.ending(run.returncode)}", err)
    return out


def headings(text):
    """Return the text with a link on each heading, and the contents."""
    entries = []

    def link(match):
        level, name, title = match[1], match[2], match[3]
        if level == "2":
            entries.append(f'<li><a href="#{name}">{title}</a></li>')
        return f'<h{level} id="{name}">{title} <a class="here" href="#{name}" aria-label="Link to this part">#</a></h{level}>'

    text = re.sub(r'<h([23]) id="([^"]+)">(.*?)</h\1>', link, text, flags=re.S)
    return text, "<ol>\n" + "\n".join(entries) + "\n</ol>"


def boxes(text):
    """Put pictures and tables into boxes that scroll, and mark commands and output."""
    text = re.sub(r"<figcaption[^>]*>.*?</figcaption>", "", text, flags=re.S)
    text = re.sub(r"<p>(<img [^>]*>)</p>", r"<figure>\1</figure>", text)
    text = text.replace("<figure>", '<figure tabindex="0" class="scroll">')
    text = re.sub(r"<table.*?</table>", lambda match: f'<div class="scroll" tabindex="0">{match[0]}</div>', text,
                  flags=re.S)
    text = re.sub(r'<pre class="sh"><code>(.*?)</code></pre>',
                  r'<div class="commands"><pre class="sh"><code>\1</code></pre></div>', text, flags=re.S)
    return re.sub(r"<p><strong>(<a [^>]*>[^<]*</a>)</strong></p>", r'<p class="file">\1</p>', text)


def links(text, folder):
    """Let links to files lead from the folder of the page to the toolkit."""
    way = os.path.relpath(lab.ROOT, folder)
    return re.sub(r'href="(?!#|https?:)([^"]+)"', rf'href="{way}/\1"', text)


def build(page):
    text, contents = headings(boxes(links(pandoc(), page.parent)))
    replay = ('<a href="trace.html">Replay the recordings</a>' if (page.parent / "trace.html").exists() else
              "<code>make trace</code> writes a page that replays the recordings.")
    return PAGE.format(title=html.escape(TITLE), style=(HERE / "page.css").read_text(), contents=contents,
                       replay=replay, text=text, script=(HERE / "page.js").read_text())


def main(arguments):
    parser = lab.Parser(description=__doc__, usage="%(prog)s [FILE]")
    parser.add_argument("file", nargs="?", default=lab.BUILD / "tutorial.html", type=pathlib.Path, metavar="FILE")
    options = parser.parse_args(arguments)
    page = options.file.resolve()
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(build(page), encoding="utf-8")
    print(f"The page is {page}")
    return 0


if __name__ == "__main__":
    lab.run(main)
