"""Hints, step by step: a question, and how mistakes of this kind show; the system call; the mistakes."""
import pathlib
import re

from judging import gallery, skeleton
from kit.tree import ROOT


KEPT = pathlib.Path(__file__).resolve().parent / "hints.txt"


# Where the tutorial explains a rung to a stage, or to stages of a kind; "": in the chapter of the stage.
SECTIONS = {"slow loop": "The wait is data", "silent loop": "The wait is data",
            "silent one": "A silent client", "silent threads": "A silent client",
            "keep-alive one": "Why does 01 answer", "keep-alive threads": "Why does 01 answer", "keep-alive loop": "",
            "pipelining loop": "More on readiness", "turn loop": "The order of a turn",
            "slow-reader threads": "Where were the bytes",
            "leaving one": "More on 01", "leaving threads": "More on 01",
            "leaving loop": "A client that leaves during",
            "leaving 05-epoll": "How does a server silence a hang-up",
            "descriptors one": "More on 02", "descriptors threads": "More on 02",
            "descriptors loop": "Running out of descriptors",
            "memory threads": "More on 02", "threads threads": "More on 02", "numbers 03-select": "The costs of select",
            "signals one": "Shutdown", "signals threads": "Shutdown", "signals loop": "Ctrl-C in a loop"}


def find(key, verb, stage, got=""):
    """Return the hint for a rung, if possible for what came: of the stage, of its kind, or of all. A program
    that is not a stage in this tree has hints of its own."""
    found = {}
    for section in (key, "all"):
        text = re.search(rf"^== {section}\n(.*?)(?=^== |\Z)", KEPT.read_text(), re.M | re.S)[1]
        for words, pattern, hint in re.findall(
                rf'^{verb}((?: [\w-]+)*)(?: "(.*?)")?: (.*(?:\n +.*)*)', text, re.M):
            for word in words.split() or ["all"]:
                if not pattern or re.search(pattern, got):
                    found.setdefault((bool(pattern), word), " ".join(hint.split()))
    whose = [stage.model, stage.kind] if stage.in_tree else ["program"]
    order = [(fits, word) for fits in (True, False) for word in [*whose, "all"]]
    if stage.model in skeleton.TO_WRITE:  # it does without common/connections.h, which other loops are told of
        order.sort(key=lambda place: place[1] == stage.kind)
    return next((found[place] for place in order if place in found), None)


def chapter(begin, model="01"):
    """Return where the tutorial has a chapter, or a paragraph, that begins so, such as 05 or Shutdown: if there
    are several, that in the chapter of a model. A stage that only a reader has is an exercise of another."""
    begin = skeleton.TO_WRITE.get(begin, begin[:2] if begin[:2].isdigit() else begin)
    text = (ROOT / "tutorial.md").read_text()
    own = re.search(rf"^## {model[:2]}:.*?(?=^## |\Z)", text, re.M | re.S)
    places = [*re.finditer(rf"^###? ({begin}.*)$", text, re.M),
              *re.finditer(rf"^(?:- )?(?:\*\*|\*|_)({begin}.*?)[.?:]?(?:\*\*|\*|_)", text, re.M)]
    if not places:
        return f'tutorial.md, "{begin}"'
    found = next((place for place in places if own and own.start() <= place.start() < own.end()), places[0])
    line = text.count("\n", 0, found.start()) + 1
    return f'tutorial.md, line {line}: "{found[1]}"'.replace("`", "")


def section(rung, stage):
    """Return where the tutorial explains a rung."""
    words = [f"{rung.key} {word}" for word in (stage.model, stage.kind) if not stage.exercise]
    begin = next((SECTIONS[word] for word in words if word in SECTIONS), rung.chapter)
    return chapter(begin or stage.model, stage.model)


def steps(stage, rung, names, got=""):
    """Return the hints for a rung, one after the other. names are those of gallery.related; got is what
    came."""
    if rung.key == "tests":  # which of them have failed
        got = "\n".join([got, *names])
    sole = find(rung.key, "sole", stage, got)
    first = sole or find(rung.key, "ask", stage, got)
    left = unwritten(stage)
    bugs = gallery.related(stage, names) if stage.in_tree and not left and not sole else []
    if left and rung.key != "build":
        places = ", ".join(map(str, left))
        first = (f"{stage.name}/server.c has places that are still to be written: "
                 f"line{'s' * (len(left) > 1)} {places}.\n{first}")
    if bugs:
        first += "\nKnown mistakes that fail here, too (yours may be another):"
        first += "".join(f"\n- {bug.symptom}" for bug in bugs)
    second = find(rung.key, "look", stage, got) + f"\nMore: {section(rung, stage)}"
    if left:
        second += "\nWhen these places are written, and a rung still fails, there are more hints."
    return [first, second, *map(mistake, bugs)]


def unwritten(stage):
    """Return the lines of a stage at which something is still to be written."""
    path = ROOT / stage.name / "server.c"
    return skeleton.unwritten(path.read_text(errors="replace")) if stage.in_tree and path.exists() else []


def mistake(bug):
    """Describe a bug of the gallery. The lines that it removes are nearly the solution: do not show them."""
    wrong = [line for line in bug.lines() if line.startswith("+")]
    text = f"{bug.name}: {bug.mistake}"
    return "\n".join([f"{text} The lines with + are wrong:", *wrong] if wrong else [text])
