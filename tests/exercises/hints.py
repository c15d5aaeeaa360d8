"""Hints, step by step: a question, and how mistakes of this kind show; the system call; the mistakes."""
import pathlib
import re

import gallery
import lab
import skeleton

KEPT = pathlib.Path(__file__).resolve().parent / "hints.txt"


def find(key, verb, judged):
    """Return the hint for a rung: of the stage, of its kind, or of all."""
    section = re.search(rf"^== {key}\n(.*?)(?=^== |\Z)", KEPT.read_text(), re.M | re.S)[1]
    found = {}
    for words, text in re.findall(rf"^{verb}((?: [\w-]+)*): (.*(?:\n +.*)*)", section, re.M):
        for word in words.split() or ["all"]:
            found[word] = " ".join(text.split())
    return found.get(judged.like) or found.get(judged.kind) or found["all"]


def chapter(begin):
    """Return the chapter of the tutorial whose title begins so, such as 05. 07-uring is an exercise of 06."""
    begin = "06" if begin == "07" else begin
    found = re.search(rf"^## ({begin}.*)$", (lab.ROOT / "tutorial.md").read_text(), re.M)
    return f'tutorial.md, "{found[1] if found else begin}"'.replace("`", "")


def steps(judged, rung, names):
    """Return the hints for a rung, one after the other. names are those of gallery.related."""
    first = find(rung.key, "ask", judged)
    path = lab.ROOT / judged.name / "server.c"
    left = skeleton.unwritten(path.read_text(errors="replace")) if judged.in_tree and path.exists() else []
    bugs = gallery.related(judged, names) if not left else []
    if left:
        places = ", ".join(map(str, left))
        first = f"{judged.name}/server.c has places that are still to be written: lines {places}.\n{first}"
    if bugs:
        first += "\nMistakes that others have made, as they show:"
        first += "".join(f"\n- {bug.symptom}" for bug in bugs)
    second = find(rung.key, "look", judged) + f"\nThe chapter: {chapter(rung.chapter or judged.like[:2])}"
    if left:
        second += "\nWhen these places are written, and a rung still fails, there are more hints."
    return [first, second, *map(mistake, bugs)]


def mistake(bug):
    text = f"{bug.name}: {bug.mistake} In its patch, tests/bugs/{bug.name}.patch, - is right and + is wrong:"
    return "\n".join([text, *bug.lines()])
