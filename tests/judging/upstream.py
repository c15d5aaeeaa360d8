"""Build the servers that ask an upstream, in build/upstream/build: the toolkit with the solution of the
exercise upstream, and with a patch of common/blocking.c. Then count what /upstream takes in each way to wait:
lines of code that are new or changed, at how many places, and in how many files.

  await          in the loop in Python (tests/tutorial/loop/step5.py): the coroutine that asks, the branch that
                 awaits it, and what cancels both when the client leaves
  state machine  in common/ and the stages 04 to 06: the solution of the exercise. 05 gives up, too, when its
                 client has reset the connection
  own stack      in common/blocking.c for 01, 02 and 07-coroutines: blocking calls, straight down. They learn
                 that a client has left only when they answer"""
from kit import tool  # first: see kit/__init__.py

import ast
import pathlib
import re
import shutil
import subprocess
from typing import NamedTuple

from judging.building import make
from kit.commandline import Parser
from kit.errors import Failed
from kit.tree import BUILD, ROOT, STAGES

HERE = pathlib.Path(__file__).resolve().parent
STEP = ROOT / "tests/tutorial/loop/step5.py"
TREE = BUILD / "upstream"
LOOPS, BLOCKING = HERE / "solutions/upstream.patch", HERE / "solutions/upstream-blocking.patch"
COROUTINES = ["assembly/07-coroutines", "ucontext/07-coroutines"]
NO_WAIT = ("common/http.", "common/options.")  # the same for all ways


def patched(*targets):
    """Build these programs, with both patches applied, and return their folder."""
    for path in ["Makefile", "common", *STAGES]:
        copy(path)
    for path in ["tests/tests.mk", "tests/probe.c", *(ROOT / "tests/judging").glob("*.[ch]")]:
        copy(path)
    for patch in LOOPS, BLOCKING:
        with open(patch) as text:
            done = subprocess.run(["patch", "-s", "-p1"], cwd=TREE, stdin=text, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode != 0:
            raise Failed(f"{patch.relative_to(ROOT)} does not apply", done.stdout)
    made = make([f"build/{target}" for target in targets], tree=TREE, BUILD="build")
    if made.returncode != 0 or "warning:" in made.stderr:
        raise Failed("the servers with /upstream are not built without warnings", made.stderr)
    return TREE / "build"


def copy(path):
    """Copy a file or a folder of the toolkit into the tree that is patched."""
    source = ROOT / path
    target = TREE / source.relative_to(ROOT)
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
    else:
        shutil.copy2(source, target)


# ---- the count

class Way(NamedTuple):
    name: str
    lines: int
    places: int
    files: int
    kept: str


def code(lines):
    """Return the lines of C that are neither empty nor a comment."""
    text = re.sub(r"/\*.*?\*/", lambda found: "\n" * found[0].count("\n"), "\n".join(lines), flags=re.S)
    return [line for line in text.splitlines() if line.strip()]


def changes(patch, wanted):
    """Return how many lines a patch adds, at how many places, in how many of the wanted files."""
    lines, places, files = 0, 0, 0
    for file in re.split(r"^(?=--- )", patch.read_text(), flags=re.M)[1:]:
        if not wanted(re.match(r"--- a/(\S+)", file)[1]):
            continue
        files += 1
        for hunk in re.split(r"^@@.*\n", file, flags=re.M)[1:]:
            # a comment that the patch adds is whole: no line of it was there before
            added = [line[1:] for line in hunk.splitlines() if line.startswith("+")]
            lines += len(code(added))
            places += len(re.findall(r"(?:^[+-].*\n?)+", hunk, re.M))
    return lines, places, files


def python_lines():
    """Return the lines of the coroutine that asks, of the branch that awaits it, and of what cancels it."""
    tree = ast.parse(STEP.read_text(encoding="utf-8"))
    functions = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.AsyncFunctionDef)}
    branch = next(node for node in functions["respond"].body
                  if isinstance(node, ast.If) and "/upstream" in ast.unparse(node.test))
    nodes = functions["ask"], functions["while_connected"], branch
    lines = sum(node.end_lineno - node.lineno + 1 for node in nodes) - 2  # two docstrings
    return lines + 1  # converse calls while_connected


def ways():
    states = len(re.findall(r"^\+ +[A-Z]+, +/\*", LOOPS.read_text(), re.M))
    return [Way("await", python_lines(), 4, 1, "frames of coroutines"),
            Way("state machine", *changes(LOOPS, lambda path: not path.startswith(NO_WAIT)),
                f"a struct, in {states} new states"),
            Way("own stack", *changes(BLOCKING, lambda path: True), "a stack")]


def show():
    print(f"{'/upstream':15} {'lines':>6} {'places':>7} {'files':>6}   its state is kept in")
    for way in ways():
        print(f"{way.name:15} {way.lines:>6} {way.places:>7} {way.files:>6}   {way.kept}")
    others, _, _ = changes(LOOPS, lambda path: path.startswith(NO_WAIT))
    print(f"\n(Without what is no I/O, and the same for both in C: {others} lines of common/http and "
          "options.)")


def main(arguments):
    parser = Parser(description=__doc__)
    parser.add_argument("--count", action="store_true", help="only count")
    options = parser.parse_args(arguments)
    if not options.count:
        tool.need("patch", "deps-tools")
        folder = patched(*STAGES, *COROUTINES)
        print(f"{folder.relative_to(ROOT)}: {' '.join([*STAGES, *COROUTINES])}\n")
    show()
    return 0


if __name__ == "__main__":
    tool.run(main)
