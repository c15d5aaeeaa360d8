"""The gallery of bugs, tests/servers/bugs: which of them show themselves at a rung of the ladder."""
import re

from kit.tree import ROOT


class Bug:
    def __init__(self, path):
        header, _, diff = path.read_text().partition("\n--- ")
        self.name = path.stem
        self.mistake, self.symptom = header.splitlines()[:2]
        self.diff = "--- " + diff
        self.touched = re.findall(r"^\+\+\+ b/(\S+)", self.diff, re.M)
        self.race = "Sanitizer: thread" in header.splitlines()
        # such as: Caught by: check_stages 05-epoll fast_overtakes_slow
        catchers = [line.split() for line in re.findall(r"^Caught by: (.*)$", header, re.M)]
        self.tests = {words[-1] for words in catchers}
        self.stages = {words[1] for words in catchers if len(words) == 3}

    def concerns(self, judged):
        """Is it a mistake that the reader can have made: in the model, or in a file of common/ that has
        changed, so that its wrong lines are there, and its right lines are not?"""
        return judged.like != "07-uring" and all(
            path == f"{judged.like}/server.c" or path.startswith("common/") and self.is_in(path)
            for path in self.touched)

    def is_in(self, path):
        there = {line.strip() for line in (ROOT / path).read_text().splitlines()}
        right, wrong = ({line[1:].strip() for line in self.lines() if line.startswith(sign)} for sign in "-+")
        gone = right - wrong - {""}  # nothing, if the patch only adds lines
        return wrong - right <= there and not (gone and gone <= there)

    def leaves_out(self, names):
        right = "\n".join(line for line in self.lines() if line.startswith("-"))
        return any(re.search(rf"\b{name}\b", right) for name in names)

    def lines(self):
        """Return the lines that it changes: - right, + wrong."""
        return [line for line in self.diff.splitlines() if not re.match(r"(---|\+\+\+|@@) ", line)]


def related(judged, names):
    """Return the bugs that tests with these names notice, or that leave out a function or variable with such
    a name; those of the stage itself first."""
    bugs = [Bug(path) for path in sorted((ROOT / "tests/servers/bugs").glob("*.patch"))]
    found = [bug for bug in bugs if bug.tests & set(names) or bug.leaves_out(names)]
    return sorted(filter(lambda bug: bug.concerns(judged), found),
                  key=lambda bug: f"{judged.like}/server.c" not in bug.touched)
