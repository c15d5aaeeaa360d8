"""A bug of the gallery: a file NAME.bug in this folder. Its head says what the mistake is, how it shows, and
which tests must notice it. After that, it says which code to replace, and with what:

    Replace in FUNCTION:
        the right code
    With:
        the wrong code

or `Delete in FUNCTION:` alone. FUNCTION may also be a folder or a file, or be left out: the right code is
searched in common/ and in the six stages, and must be found exactly once. White space and comments do not
count, so a bug stays valid when its code is moved, indented or wrapped in another way. A comment that follows
the right code on its line goes with it.
"""
import difflib
import functools
import pathlib
import re
import textwrap
from typing import NamedTuple, Optional

from kit.errors import Failed
from kit.tree import ROOT, STAGES

GALLERY = pathlib.Path(__file__).resolve().parent
# or a literal, which may contain what looks like a comment
COMMENT = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|' r"'(?:\\.|[^'\\\n])*'", re.S)
TOKEN = re.compile(r'"(?:\\.|[^"\\])*"|' r"'(?:\\.|[^'\\])*'|\w+|\S")


def sources(tree, *more):
    """Return the code that a bug may change, in common/, the stages, and more folders: {path: text}."""
    folders = ["common", *STAGES, *more]
    paths = [path for folder in folders for path in sorted((tree / folder).glob("*.[ch]"))]
    return {str(path.relative_to(tree)): path.read_text(errors="replace") for path in paths}


@functools.lru_cache(maxsize=None)
def without_comments(text):
    """Return the text with blanks where it has comments: all else is where it was."""
    return COMMENT.sub(lambda found: found[0] if found[0][0] in "\"'" else re.sub(r"\S", " ", found[0]), text)


def tokens(code):
    return TOKEN.findall(without_comments(code))


def pattern(code):
    """Return a regular expression for this code, however it is spaced and wrapped."""
    return re.compile(r"\s*".join(rf"\b{token}\b" if re.match(r"\w", token) else re.escape(token)
                                  for token in tokens(code)))


def bodies(code, function):
    """Return where the definitions of a function begin and end."""
    found = []
    for begin in re.finditer(rf"^[\w \t*]+\b{re.escape(function)}\s*\([^;{{}}]*\)\s*\{{", code, re.M):
        depth, end = 1, begin.end()
        while depth > 0 and end < len(code):
            depth += {"{": 1, "}": -1}.get(code[end], 0)
            end += 1
        found.append((begin.start(), end))
    return found


def indentation(line):
    return len(line) - len(line.lstrip(" "))


class Replacement(NamedTuple):
    where: Optional[str]  # a folder, a file or a function
    right: str
    wrong: str

    def places(self, files, code=None):
        """Return where its right code stands, or other code: [(path, begin, end)]."""
        found = []
        for path, text in files.items():
            clean = without_comments(text)
            here = self.where is None or f"{path}/".startswith(f"{self.where}/")
            for begin, end in [(0, len(clean))] if here else bodies(clean, self.where):
                found += [(path, *match.span()) for match in
                          pattern(self.right if code is None else code).finditer(clean, begin, end)]
        return found

    def apply(self, files):
        """Replace its right code in the files, or raise Failed."""
        places = self.places(files)
        if len(places) != 1:
            lines = [f"{path}:{files[path].count(chr(10), 0, begin) + 1}" for path, begin, _ in places]
            found = f"at {len(places)} places ({', '.join(lines)})" if places else "nowhere"
            raise Failed(f"the code that it replaces is {found} in "
                         f"{self.where or 'common/ and the stages'}:\n{textwrap.indent(self.right, '    ')}")
        (path, begin, end), = places
        text = files[path]
        comment = re.compile(r"[ \t]*(/\*.*?\*/|//[^\n]*)", re.S).match(text, end)
        end = comment.end() if comment else end
        first = text.rfind("\n", 0, begin) + 1
        shift = indentation(text[first:]) - indentation(self.right)
        wrong = [line if line[:1] in ("", "#") else " " * max(0, indentation(line) + shift) + line.lstrip()
                 for line in self.wrong.splitlines()]
        if text[first:begin].strip():  # it begins inside a line
            wrong[:1] = [line.lstrip() for line in wrong[:1]]
        else:
            begin = first
            end += not wrong and text[end:end + 1] == "\n"
        files[path] = text[:begin] + "\n".join(wrong) + text[end:]


class Bug:
    def __init__(self, name):
        self.name, self.path = name, GALLERY / f"{name}.bug"
        self.head, *parts = re.split(r"^(?=Replace|Delete)", self.path.read_text(), flags=re.M)
        self.mistake, self.symptom = self.head.splitlines()[:2]
        self.sanitizer = (re.findall(r"^Sanitizer: (\w+)$", self.head, re.M) or ["address"])[0]
        # such as: Caught by: 05-epoll silent_client_delays_nobody_else
        self.catchers = [line.split() for line in re.findall(r"^Caught by: (.*)$", self.head, re.M)]
        self.replacements = [self.replacement(part) for part in parts]
        if not parts:
            raise Failed(f"tests/servers/bugs/{name}.bug replaces nothing")
        stages = [part.where for part in self.replacements if part.where in STAGES]
        self.stage = stages[0] if stages else None  # None: it is in common/

    def replacement(self, part):
        block = r"\n((?:    .*\n|\n)+)"
        found = re.fullmatch(rf"(Replace|Delete)(?: in (\S+))?:{block}(?:With:{block})?",
                             part.rstrip("\n") + "\n")
        if not found or (found[1] == "Replace") != (found[4] is not None):
            raise Failed(f"tests/servers/bugs/{self.name}.bug: neither Replace: and With:, nor Delete:, each "
                         f"above code that is indented by four blanks\n{part}")
        right, wrong = (re.sub("^    ", "", text or "", flags=re.M).strip("\n") for text in found.group(3, 4))
        return Replacement(found[2], right, wrong)

    def changed(self, tree, instead=None):
        """Return the files that it changes in a tree: {path: (text before, text after)}. A bug of a stage is
        put into a folder instead, if there is one."""
        before = sources(tree, *[instead] if instead else [])
        after = dict(before)
        for part in self.replacements:
            if instead and part.where in STAGES:
                part = part._replace(where=instead)
            try:
                part.apply(after)
            except Failed as failed:
                raise Failed(f"tests/servers/bugs/{self.name}.bug: {failed}") from None
        return {path: (text, after[path]) for path, text in before.items() if after[path] != text}

    def plant(self, tree, instead=None):
        for path, (_, after) in self.changed(tree, instead).items():
            (tree / path).write_text(after)

    def diff(self, tree=ROOT):
        """Return what it changes, as patch takes it."""
        return "".join(line for path, texts in self.changed(tree).items() for line in difflib.unified_diff(
            *(text.splitlines(keepends=True) for text in texts), f"a/{path}", f"b/{path}"))

    def is_in(self, files):
        """Is its wrong code there, and its right code not, except in the wrong code?"""
        wrong = without_comments("\n".join(part.wrong for part in self.replacements))
        return all((not part.wrong or part.places(files, part.wrong)) and
                   (pattern(part.right).search(wrong) or not part.places(files))
                   for part in self.replacements)

    def lines(self):
        """Return the lines that it changes: - right code, + wrong code."""
        return [line for part in self.replacements
                for line in difflib.ndiff(part.right.splitlines(), part.wrong.splitlines())
                if line[0] in "-+"]


def every_name():
    return sorted(path.stem for path in GALLERY.glob("*.bug"))
