"""Put a site together for static hosting, in build/site: the page to play with first, the tutorial, the recordings.

All links in it are relative, but those to sources: where the environment says REPOSITORY=https://…, they lead there,
and otherwise to copies in the site. SITE=https://… is the address at which it will be found; only the preview needs it.
Each link is followed. Exit status: 0; 1 if the site cannot be made, or a link leads nowhere; 2 for a bad command
line."""
import html
import os
import pathlib
import re
import shutil
import urllib.parse

from kit import tool
from kit.commandline import Parser
from kit.errors import Failed
from kit.tree import BUILD, ROOT
from recorder import replay
from simulation import page
from simulation.preview import PREVIEW
from tutorial import page as tutorial
from tutorial import pictures

HERE = pathlib.Path(__file__).resolve().parent
SITE = BUILD / "site"
ADDRESS = os.environ.get("SITE", "").rstrip("/")
WORDS = "Send /slow, then /fast, to real servers in C, and see which of them keeps you waiting, and in which line."
HEAD = """<meta property="og:title" content="{title}">
<meta property="og:description" content="{words}">
<meta property="og:type" content="website">
<meta property="og:image" content="{image}">
<meta name="twitter:card" content="summary_large_image">"""
BACK = '<p><a href="index.html">Play</a> · <a href="tutorial.html">The tutorial</a></p>'
PAGES = ("index.html", "tutorial.html", "recordings.html")
LINK = re.compile(r'(?<=\s)(href|src)="([^"]*)"')


def recordings():
    """Return {picture: address in the site}, and the page of all recordings."""
    shown = {picture: pictures.recordings(picture) for picture in pictures.PICTURES}
    addresses = {picture: f"recordings.html#{replay.slug(found[0].name)}" for picture, found in shown.items()}
    every = {each.name: each for found in shown.values() for each in found}
    return addresses, replay.build(list(every.values()))


def with_sources(text):
    """Return a page of the site whose links to files of the toolkit lead to the repository, or to a copy."""
    def lead(match):
        name, _, part = match[2].partition("#")
        part = f"#{part}" if part else ""
        path = os.path.normpath(SITE / urllib.parse.unquote(html.unescape(name)))
        if not name or ":" in name or not path.startswith(f"{ROOT}/") or path.startswith(f"{SITE}/"):
            return match[0]
        inside = os.path.relpath(path, ROOT)
        if not os.path.exists(path):
            return match[0]        # the check says so
        if page.REPOSITORY:
            return f'{match[1]}="{page.REPOSITORY}/blob/HEAD/{inside}{part}"'
        copy = SITE / "sources" / inside
        if os.path.isdir(path):
            copy.mkdir(parents=True, exist_ok=True)
            (copy / "index.html").write_text(listing(pathlib.Path(path)), encoding="utf-8")
            return f'{match[1]}="sources/{inside}/index.html"'
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
        return f'{match[1]}="sources/{inside}{part}"'
    return LINK.sub(lead, text)


def listing(folder):
    names = "".join(f"<li>{html.escape(each.name)}</li>" for each in sorted(folder.iterdir()))
    return (f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{folder.name}</title>{replay.ICON}'
            f"<ul>{names}</ul></html>")


def build():
    shutil.rmtree(SITE, ignore_errors=True)
    SITE.mkdir(parents=True)
    shutil.copyfile(PREVIEW, SITE / PREVIEW.name)
    addresses, recorded = recordings()
    head = HEAD.format(title="You are two clients: who waits for whom?", words=WORDS,
                       image=f"{ADDRESS}/{PREVIEW.name}" if ADDRESS else PREVIEW.name)
    text = re.sub(r"""(?<=["'])play\.html\b""", "index.html", tutorial.build(SITE / "tutorial.html"))
    text = text.replace("<code>make trace</code> makes recordings", '<a href="recordings.html">The recordings</a>; '
                        "<code>make trace</code> makes some", 1)
    pages = page.build(BUILD / "play", "tutorial.html", addresses, head), text, recorded.replace(
        "</h1>", f"</h1>\n{BACK}", 1)
    for name, text in zip(PAGES, pages):
        (SITE / name).write_text(with_sources(text), encoding="utf-8")


def dead_links():
    """Follow all links of the site, and the addresses that the page's script makes. Return those that lead nowhere."""
    dead = []
    for path in sorted(SITE.glob("*.html")):
        text = path.read_text(encoding="utf-8")
        markup = re.sub(r"<script.*?</script>", "", text, flags=re.S)
        links = [html.unescape(match[2]) for match in LINK.finditer(markup)]
        dead += [f"{path.name} does not lead to {each}" for each in PAGES if each != path.name and each not in text]
        if replay.ICON not in text:
            links.append("favicon.ico")        # a browser asks for it
        if path.name == "index.html":
            links += re.findall(r'"(recordings\.html#[^"]+)"', text)
            links += [f"tutorial.html#{chapter}" for chapter in re.findall(r'chapter: "([^"]+)"', text)]
        for link in links:
            target, _, part = link.partition("#")
            if re.match(r"https?:|data:", link):
                continue
            if target.startswith("/"):
                dead.append(f"{path.name}: {link} is not relative")
            file = path.parent / urllib.parse.unquote(target) if target else path
            if not file.is_file():
                dead.append(f"{path.name}: {link}")
            elif part and file.suffix == ".html" and file.name != "index.html" and \
                    f'id="{urllib.parse.unquote(part)}"' not in file.read_text(encoding="utf-8"):
                dead.append(f"{path.name}: {link}: {file.name} has no such part")
    return dead


def main(arguments):
    Parser(description=__doc__, usage="%(prog)s").parse_args(arguments)
    if not (BUILD / "play/stages.json").exists():
        raise Failed("the servers are not compiled for the page", "make play compiles them")
    build()
    dead = dead_links()
    if dead:
        raise Failed("links of the site lead nowhere", "\n".join(dead))
    files = [path for path in SITE.rglob("*") if path.is_file()]
    print(f"The site is {SITE} ({len(files)} files, {sum(path.stat().st_size for path in files) // 1000} kB); all its "
          f"links lead somewhere")
    return 0


if __name__ == "__main__":
    tool.run(main)
