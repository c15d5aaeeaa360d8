"""A skeleton: a stage with its I/O model cut out. It is generated from the real file, so it cannot lag.
skeleton.txt says what is cut out, and what is to be written there."""
import pathlib
import re
import textwrap
from typing import NamedTuple

from kit.errors import Failed
from kit.tree import ROOT, STAGES


TO_WRITE = {"07-uring": "06", "07-coroutines": "The other answer"}  # stages of readers alone: their chapters
UNTIL = "Until then (delete these lines, too):"
WIDTH = 100  # of a line, as in .clang-format
KEPT = pathlib.Path(__file__).resolve().parent / "skeleton.txt"


class Cut(NamedTuple):
    """A place, and what is to be written there."""
    place: str  # the name of a function; or "loop", the first in main
    task: str   # for a comment; each line is a paragraph
    stub: str


def read_cuts():
    """Return the cuts of each stage."""
    cuts = {}
    for stage, place, text in re.findall(r"^== (\S+) (\S+)\n(.*?)(?=^== |\Z)", KEPT.read_text(), re.M | re.S):
        task, _, stub = text.strip().partition("\nUntil then:\n")
        cuts.setdefault(stage, []).append(Cut(place, re.sub("\n +", " ", task), stub))
    return cuts


CUTS = read_cuts()


def path(model):
    """Return the file of a stage. Those that are the reader's to write, such as 07-uring, are among the solutions."""
    return ROOT / (f"{model}/server.c" if model in STAGES else f"tests/judging/{model}.c")


def source(model):
    """Return the text of a stage."""
    return path(model).read_text()


def whole(name, model):
    """Return the stage as if it were called name."""
    text = source(model)
    if text.count(f'"{model}"') != 1:
        raise no_skeleton(model, f'"{model}", the name of the stage, is not found once')
    return text.replace(f'"{model}"', f'"{name}"')


def skeleton(name, model):
    """Return the stage as if it were called name, without its model."""
    text, found = re.subn(r"\A/\* \d\d: ", f"/* {name}, to be written after {model}: ", whole(name, model))
    if not found:
        raise no_skeleton(model, "a comment at its head, with the number of the stage, is not found")
    for cut in CUTS[model]:
        text = apply(text, cut, model)
    return text


def no_skeleton(model, reason):
    file = path(model).relative_to(ROOT)
    return Failed(f"{file}: {reason}, so there can be no skeleton; see tests/judging/skeleton.py")


def apply(text, cut, model):
    """Replace the body at the place of a cut."""
    if cut.place == "loop":
        pattern, indent = r"(?sm)^int main\(.*?\n    while \([^\n]*\) \{\n(.*?)^    \}$", 8
    else:
        pattern, indent = rf"(?sm)^\w[^\n;]*\b{cut.place}\([^;{{]*\)\n\{{\n(.*?)^\}}$", 4
    found = re.search(pattern, text)
    if not found:
        raise no_skeleton(model, f"{cut.place} is not found")
    stub = textwrap.indent(f"/* {UNTIL} */\n{cut.stub}\n", " " * indent)
    return text[:found.start(1)] + comment(cut.task, indent) + stub + text[found.end(1):]


def comment(text, indent):
    """Return a comment in C."""
    lines = []
    for paragraph in text.splitlines():
        hanging = "   " if paragraph[0].isdigit() else ""
        lines += textwrap.wrap(paragraph, WIDTH - indent - 6, subsequent_indent=hanging,
                               break_long_words=False, break_on_hyphens=False)
    return textwrap.indent("/* " + "\n * ".join(lines) + " */\n", " " * indent)


def unwritten(text):
    """Return the numbers of the lines where something is still to be written: the stub is still there."""
    places = re.finditer(r"/\* To write: (?:(?!\*/).)*\*/\s*/\* Until then", text, re.S)
    return [text.count("\n", 0, place.start()) + 1 for place in places]


def without_tasks(text, model):
    """Return a stage without what skeleton has written into it: its heading, and what is to be written."""
    head = re.match(r"/\* .*\n", source(model))[0]
    text = re.sub(r"\A/\* \d\d-[\w-]+, to be written after [^:]*: .*\n", lambda _: head, text)
    return re.sub(r" */\* To write: (?:(?!\*/).)*\*/\n", "", text, flags=re.S)
