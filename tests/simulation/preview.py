"""Take the picture that a link to the page shows: its first question, with time standing. (make preview)

It is written to tests/simulation/preview.png, or to FILE. The words in it are kept in the file, so that a test can tell
whether the page still shows them. Exit status: 0; 1 if the picture cannot be taken; 2 for a bad command line."""
import pathlib
import struct
import zlib

from kit import tool
from kit.browser import Browser
from kit.commandline import Parser
from kit.errors import Failed
from kit.tree import BUILD

PREVIEW = pathlib.Path(__file__).resolve().parent / "preview.png"
SIZE = (1200, 630)                 # what sites that show such pictures ask for
SCALE = 1.5                        # so that words can be read in a small one
HEAD = b"\x89PNG\r\n\x1a\n"
SHOWN = "['#title', '.lanes', '#turn'].map(each => document.querySelector(each).innerText).join('\\n')"


def take(browser, address):
    """Go to the first question of the page. Return (the picture, the words in it)."""
    browser.resize(*(int(each / SCALE) for each in SIZE), scale=SCALE)
    browser.emulate()
    browser.open(address)
    for words in ("Send /slow", "Send /fast"):
        browser.click(words)
    browser.wait("!!document.querySelector('fieldset')")
    browser.run("scrollTo(0, 0); document.activeElement.blur()")
    return browser.capture(), browser.run(SHOWN)


def with_words(picture, words):
    """Return a PNG file with words as its description."""
    end = len(HEAD) + 12 + struct.unpack(">I", picture[len(HEAD):len(HEAD) + 4])[0]  # of its first part
    part = b"tEXt" + b"Description\0" + words.encode("latin-1", "replace")
    return picture[:end] + struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) + picture[end:]


def read(picture):
    """Return (width, height, description) of a PNG file."""
    if not picture.startswith(HEAD):
        raise Failed("this is no PNG file")
    words, at = None, len(HEAD)
    while at < len(picture):
        length, kind = struct.unpack(">I4s", picture[at:at + 8])
        content, at = picture[at + 8:at + 8 + length], at + 12 + length
        if kind == b"IHDR":
            width, height = struct.unpack(">II", content[:8])
        elif kind == b"tEXt" and content.startswith(b"Description\0"):
            words = content.partition(b"\0")[2].decode("latin-1")
    return width, height, words


def main(arguments):
    parser = Parser(description=__doc__, usage="%(prog)s [FILE]")
    parser.add_argument("file", nargs="?", default=PREVIEW, type=pathlib.Path, metavar="FILE")
    options = parser.parse_args(arguments)
    page = BUILD / "play.html"
    if not page.exists():
        raise Failed("the page is missing. To make it: make play")
    with Browser() as browser:
        picture, words = take(browser, page.as_uri())
    options.file.write_bytes(with_words(picture, words))
    return 0


if __name__ == "__main__":
    tool.run(main)
