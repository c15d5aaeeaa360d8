"""The gallery of bugs, tests/servers/bugs: which of them show themselves at a rung of the ladder."""
import re

from judging import skeleton
from kit.tree import ROOT
from servers.bugs.bug import Bug, every_name, sources


def concerns(bug, stage, common):
    """Is it a mistake that the reader can have made: in the model, or in common/, where its wrong code is
    and its right code is not?"""
    if stage.model in skeleton.TO_WRITE:
        return False
    return bug.stage == stage.model if bug.stage else bug.is_in(common)


def leaves_out(bug, names):
    right = "\n".join(line for line in bug.lines() if line.startswith("-"))
    return any(re.search(rf"\b{name}\b", right) for name in names)


def related(stage, names):
    """Return the bugs that tests with these names notice, or that leave out a function or variable with such
    a name; those of the stage itself first."""
    common = {path: text for path, text in sources(ROOT).items() if path.startswith("common/")}
    bugs = [bug for bug in map(Bug, every_name())
            if {test for _, test in bug.catchers} & set(names) or leaves_out(bug, names)]
    return sorted((bug for bug in bugs if concerns(bug, stage, common)),
                  key=lambda bug: bug.stage != stage.model)
