"""The tutorial as its tests read it: chapters of blocks, with what Markdown does not show.

    ```c FILE          these lines stand in FILE, one after the other (also python, nginx)
    ```diff FILE FILE  these lines are printed by diff
    ```sh              commands, one on each line, as a reader types them
    ```output          what the commands above print
    <!-- expect: RE -->      the output of the commands above also matches this
    <!-- not run: REASON --> the commands below are not run by the tests
    <!-- choices: ONE | OTHER --> the answers that the page offers to the prediction above (page.py)
    <!-- play: EXPERIMENT -->     the page plays it here, in the simulation (the grammar of tests/play.py)
    <!-- before PROGRAM VERSION: WORD is OTHER -->  on older systems, the output above has the other word
    <!-- before PROGRAM VERSION: REASON -->         on older systems, the commands above are not run
"""
import re
from dataclasses import dataclass, field
from typing import List


@dataclass
class Block:
    line: int  # of the text, where its fence or comment stands
    kind: str  # the language of the fence; expect; not run; before
    words: List[str]
    lines: List[str] = field(default_factory=list)


@dataclass
class Chapter:
    title: str
    blocks: List[Block] = field(default_factory=list)


@dataclass
class Commands:
    """A block of commands, and all that is said of their output."""
    block: Block
    outputs: List[Block] = field(default_factory=list)
    expectations: List[str] = field(default_factory=list)
    befores: List[str] = field(default_factory=list)  # each: PROGRAM VERSION: what differs there


def read(text):
    """Return the chapters of a text."""
    chapters, fence, indent = [Chapter("(the beginning)")], None, 0
    for number, line in enumerate(text.splitlines(), 1):
        comment = re.match(r"\s*<!-- (expect:|not run:|before) (.*) -->$", line)
        begin = re.match(r"( *)```(\S+) ?(.*)", line)
        if fence:
            if line.strip() == "```":
                fence = None
            else:
                fence.lines.append(line[indent:] if line[:indent].isspace() else line)
        elif begin:
            fence, indent = Block(number, begin[2], begin[3].split()), len(begin[1])
            chapters[-1].blocks.append(fence)
        elif comment:
            chapters[-1].blocks.append(Block(number, comment[1].rstrip(":"), [comment[2]]))
        elif line.startswith("## "):
            chapters.append(Chapter(line[3:]))
    return chapters


def commands(chapter):
    """Return the commands of a chapter that are to be run, each with what is said of its output."""
    found, skip = [], False
    for block in chapter.blocks:
        if block.kind == "sh":
            found.append(None if skip else Commands(block))
        elif block.kind == "output" and found and found[-1]:
            found[-1].outputs.append(block)
        elif block.kind == "expect" and found and found[-1]:
            found[-1].expectations.append(block.words[0])
        elif block.kind == "before" and found and found[-1]:
            found[-1].befores.append(block.words[0])
        skip = block.kind == "not run"
    return [one for one in found if one]


def prose(text):
    """Return a text without its blocks of code."""
    return re.sub(r"(?ms)^ *```.*?^ *```$", "", text)


def slug(heading):
    """Return the anchor that a heading gets."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
