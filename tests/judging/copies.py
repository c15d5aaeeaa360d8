"""Copies of the tree, in which something may be changed or judged without harm to the reader's own."""
import hashlib
import os
import shutil

from kit import processes
from kit.errors import Failed
from kit.processes import PIPES
from kit.tree import BUILD, ROOT, STAGES

PARTS = ["Makefile", "tutorial.md", "common", "tests", *STAGES]
KEPT = ["obj", "flags", "probe", "check_http", "check_connections"]  # of the build folder


def copy_tree(target, source=ROOT, kept=KEPT):
    """Make a copy of a tree, with what is built in it, so that this is not built again. Return its folder."""
    skip = shutil.ignore_patterns("__pycache__", "corpus", "recordings", "judge")
    target.mkdir(parents=True)
    for part in PARTS:
        if (source / part).is_dir():
            shutil.copytree(source / part, target / part, ignore=skip)
        else:
            shutil.copy2(source / part, target)
    (target / "build").mkdir()
    build = BUILD if source == ROOT else source / "build"
    for name in kept:
        if (build / name).is_dir():
            shutil.copytree(build / name, target / "build" / name, symlinks=True)
        elif (build / name).exists():
            shutil.copy2(build / name, target / "build")
    return target


def environment():
    """Return an environment without the options of a make that has started us, and without its variables."""
    return {name: value for name, value in os.environ.items()
            if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "BUILD", "STAGE", "LIKE", "PROGRAM", "PYTHONPATH")}


def make(tree, *words):
    """Build something in a copy."""
    command = ["make", "-s", f"-j{os.cpu_count()}", *words]
    process = processes.start(command, cwd=tree, env=environment(), **PIPES)
    _, err = processes.finish(process)
    if process.returncode != 0:
        raise Failed(f"make {' '.join(words)} failed: {err}")


def fingerprints(tree):
    """Return {path: its fingerprint} of the files that a copy judges by. What is built is not among them."""
    paths = [path for part in PARTS for path in [tree / part, *(tree / part).rglob("*")]]
    return {str(path.relative_to(tree)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in paths if path.is_file() and path.suffix != ".pyc"}
