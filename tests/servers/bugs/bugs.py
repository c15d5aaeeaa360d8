"""Plant each bug of tests/servers/bugs in a copy of the tree, and require that the tests which it names
notice it. NAME is a file NAME.bug in this folder; without names, plant all of them.
Exit status: 0 if every bug is caught; 1 if not; 2 for a bad command line.
"""
import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import textwrap
import time

from kit import processes, tool
from kit.commandline import Parser
from kit.errors import Failed
from kit.report import Report
from kit.tree import ROOT, STAGES
from servers.bugs.bug import Bug, every_name

UNIT = ["check_http", "check_connections", "check_pool"]
PATIENCE = 180  # seconds for one test program


def programs(bug):
    """Return what to run: {unit test program, or stage: the tests that must fail}."""
    wanted = {}
    for where, test in bug.catchers:
        wanted.setdefault(where, set()).add(test)
    return wanted


def possible_programs(bug):
    """Return the same for a bug that names no tests yet."""
    touched = bug.changed(ROOT)
    stages = [bug.stage] if bug.stage else []
    if not stages:
        blocking, events = "common/blocking.c" in touched, "common/connections.c" in touched
        stages = ["02-threaded"] * (not events) + ["05-epoll"] * (not blocking)
    return {name: set() for name in [*([] if bug.stage else UNIT), *stages]}


def make(tree, bug_sanitizer, targets, log):
    command = ["make", "-s", "-C", tree, "CFLAGS=-O1 -g", f"SANITIZE={bug_sanitizer}", *targets]
    with open(log, "w") as output:
        process = processes.start(command, stdout=output, stderr=subprocess.STDOUT)
        process.wait()
    return processes.stop(process) == 0


def failures(tree, where, wanted):
    """Run a program of unit tests, or the cases for a stage, until the wanted ones have failed, or to the
    end. Return the names of all that have failed so far; "(died)" stands for a program that did not end
    well."""
    log = tool.scratch() / f"{tree.name}.{where}.log"
    env = {**os.environ, "CK_LOG_FILE_NAME": str(log)}
    command, output, failure = [tree / "build" / where], os.devnull, r"^[^:\n]*:\d+:[FE]:[^:]*:(\w+):"
    if where in STAGES:
        env.update(PYTHONPATH=str(tree / "tests"), BUILD="build")
        command = [sys.executable, "-m", "suite.run", "--stage", where, *wanted]
        output, failure = log, r"^\S+ +(\w+): FAILED$"
    with open(output, "w") as file:
        process = processes.start(command, cwd=tree, env=env, stdout=file, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + PATIENCE
    while True:
        running = process.poll() is None
        failed = set(re.findall(failure, log.read_text(errors="replace") if log.exists() else "", re.M))
        if not running or (wanted and wanted <= failed) or time.monotonic() > deadline:
            break
        time.sleep(0.1)
    status = processes.stop(process, patience=2)
    return failed | ({"(died)"} if not running and status != 0 and not failed else set())


def plant(name, clean, find):
    """Plant one bug in a copy of the clean tree, and print a line. Return whether it is caught."""
    tree = tool.scratch() / name
    log = tool.scratch() / "log"
    shutil.copytree(clean, tree, symlinks=True)
    try:
        bug = Bug(name)
        bug.plant(tree)
    except Failed as failed:
        print(f"{name:28} FAILED: {failed}")
        return False
    to_run = possible_programs(bug) if find else programs(bug)
    targets = {*to_run, *(["probe"] if set(to_run) & set(STAGES) else [])}
    if not to_run or not make(tree, bug.sanitizer.replace("none", ""), targets, log):
        print(f"{name:28} FAILED: {'does not build' if to_run else 'it names no test'}")
        print(textwrap.indent(log.read_text() if to_run else "", "    "), end="")
        return False
    caught, missed = [], []
    for where, wanted in to_run.items():
        failed = failures(tree, where, wanted)
        caught += [f"{where} {test}" for test in sorted(failed if find else wanted & failed)]
        missed += [f"{where} {test}" for test in sorted(wanted - failed)]
    if missed or not caught:
        print(f"{name:28} FAILED: not noticed by {', '.join(missed) or 'any test'}")
        return False
    print(f"{name:28} caught by {', '.join(caught)}")
    return True


def prepare():
    """Copy the tree and build the copy, with nothing planted in it. Return its path."""
    clean = tool.scratch() / "clean"
    clean.mkdir()
    for path in ["Makefile", "common", "tests", *STAGES]:
        if (ROOT / path).is_dir():
            shutil.copytree(ROOT / path, clean / path, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(ROOT / path, clean)
    report, log = Report(), tool.scratch() / "log"
    report.begin("Building a tree without bugs ...")
    builds = make(clean, "address", [f"-j{os.cpu_count()}", "all", *UNIT], log)
    report.end()
    if not builds:
        raise Failed("the tree does not build", log.read_text())
    return clean


def plant_all(names, find):
    """Plant the bugs, some at a time: their tests mostly wait. Return how many are caught."""
    clean, waiting, running, caught = prepare(), list(names), {}, 0
    told = time.monotonic()
    while waiting or running:
        while waiting and len(running) < 2 * os.cpu_count():
            command = [*tool.module("servers.bugs.bugs"), "--plant", clean, *(["--find"] if find else []),
                       waiting[0]]
            running[processes.start(command)] = waiting.pop(0)
        for process in [process for process in running if process.poll() is not None]:
            del running[process]
            caught += processes.stop(process) == 0
        if time.monotonic() - told > 4:
            told = time.monotonic()
            print(f"    ... {', '.join(running.values())}", flush=True)
        time.sleep(0.1)
    return caught


def main(arguments):
    parser = Parser(description=__doc__, usage="%(prog)s [OPTION]... [NAME]...")
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--find", action="store_true",
                        help="run all tests that might notice, and list those that do (for a new bug)")
    parser.add_argument("--diff", action="store_true", help="show each NAME as a diff, or list all bugs; plant none")
    parser.add_argument("--plant", type=pathlib.Path, metavar="TREE", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    names = options.names or every_name()
    for name in names:
        if name not in every_name():
            parser.error(f"{name}: no such bug in tests/servers/bugs")
    if options.diff and not options.names:
        width = max(map(len, names))
        print("\n".join(f"{name:<{width}}  {Bug(name).head.splitlines()[0]}" for name in names))
        return 0
    if options.diff:
        print("\n".join(bug.head + bug.diff() for bug in map(Bug, names)), end="")
        return 0
    if options.plant:
        return 0 if plant(names[0], options.plant, options.find) else 1
    caught = plant_all(names, options.find)
    print(f"{caught} passed, {len(names) - caught} failed")
    return 0 if caught == len(names) else 1


if __name__ == "__main__":
    tool.run(main)
