#!/usr/bin/env python3
"""Write a stage yourself, and have it judged.

  start NAME --like STAGE   make NAME/server.c, which is STAGE with its model cut out
  check NAME                climb the ladder: one line for each rung, up to the first that fails
  hint NAME                 ask a question about the rung that fails; run it again for more
  solution NAME             show how the toolkit's own file differs, once NAME is at the top of the ladder
  exercise [NAME]           check an exercise of the tutorial, such as medium; without NAME, list them
                            (hint and solution take this NAME, too)
  contract                  print what a PROGRAM must do, and which rung asks what
  grade FOLDER              check each submission in a folder, and write a table of the results
"""
from kit import tool  # first: see kit/__init__.py

import argparse
import contextlib
import hashlib
import json
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
import time

from judging import building, exercises, grade, hints, ladder, results, skeleton
from kit import urls
from kit.commandline import Parser, whole_number
from kit.errors import Failed
from kit.report import bad, good
from kit.tree import BUILD, ROOT, STAGES
from judging.results import Tried, fallen, left_out, read, write
from suite.server import MANUAL_PORT, Failure, Skipped, Stage, lines, reported


EPILOG = f"""\
NAME is two digits and a word, such as 07-mine; the stages of the toolkit can be
checked, too. PROGRAM is any other program that takes --port, --delay and
--timeout, or the URL of a server that is running: "contract" says what it must do.

{grade.HELP}

BUILD in the environment names the folder with the programs (build).
Exit status: 0 if all is well; 1 if not; 2 for a bad command line."""
WAITING = ("fast", "slow", "clients", "keep-alive", "pipelining", "slow-reader", "silent", "leaving",
           "descriptors",
           "threads")
WIDTH = max(len(rung.title) for rung in ladder.LADDER)
CRASH = "killed by SIG(SEGV|ABRT|BUS|FPE|ILL)"


# ---- the command line

def parse(arguments):
    parser = Parser(description=__doc__, epilog=EPILOG, usage="%(prog)s COMMAND [NAME] [OPTION]...")
    parser.add_argument("command", metavar="COMMAND", choices=list(COMMANDS))
    parser.add_argument("name", metavar="NAME", nargs="?")
    parser.add_argument("--like", metavar="STAGE", choices=list(skeleton.CUTS),
                        help="the stage whose model yours has (check remembers what you told start)")
    parser.add_argument("--program", metavar="PROGRAM", help="judge this program instead")
    parser.add_argument("--all", action="store_true", help="climb on after a rung that fails")
    parser.add_argument("--json", metavar="FILE", type=pathlib.Path,
                        help="check, exercise, grade: also write the result to this file")
    for name, what, standard, most in grade.LIMITS:
        parser.add_argument(f"--{name}", metavar="N", type=whole_number(1, most), default=standard,
                            help=f"grade: {what} for each submission ({standard})")
    options = parser.parse_args(arguments)
    try:
        check(options)
    except argparse.ArgumentTypeError as error:
        parser.error(str(error))
    return options


def check(options):
    """Refuse a command line that makes no sense."""
    command, name = options.command, options.name
    if command == "exercise" and name is not None and name not in NAMES:
        raise argparse.ArgumentTypeError(f"{name}: no such exercise; want one of {' '.join(NAMES)}")
    if command in ("exercise", "contract") or command in ("hint", "solution") and name in NAMES:
        return
    if name is None:
        wanted = "FOLDER?" if command == "grade" else "STAGE? such as 07-mine"
        raise argparse.ArgumentTypeError(f"{command}: which {wanted}")
    if command == "grade":
        return
    if not re.fullmatch(r"\d\d-[a-z0-9][a-z0-9-]*", name):
        raise argparse.ArgumentTypeError(f"{name}: want two digits and a word, such as 07-mine")
    if "://" in (options.program or ""):
        urls.url(options.program)
    try:
        options.words = shlex.split(options.program or "")
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"--program {options.program}: {str(error).lower()}") from None
    if options.program is not None and not options.words:
        raise argparse.ArgumentTypeError("--program wants a command, or http://HOST:PORT")
    if command == "start":
        if options.like is None:
            raise argparse.ArgumentTypeError("start: want --like STAGE (with make: LIKE=05-epoll)")
        if name < "07":
            raise argparse.ArgumentTypeError(f"{name}: 00 to 06 belong to the toolkit; want 07 or more")


def get_stage(options):
    """Return the stage to be judged."""
    name = options.name
    if name in exercises.EXERCISES:
        return exercises.EXERCISES[name].stage()
    like = options.like or remembered(name)
    if like is None:
        raise Failed(f"{name}: which model is it? Add LIKE=05-epoll, or begin with: "
                         f"make start STAGE={name} LIKE=05-epoll")
    if options.program and "://" in options.program:
        return Stage(name, like, None, url=options.program.rstrip("/"))
    if options.program:
        return Stage(name, like, options.words)
    if not (ROOT / name / "server.c").exists():
        raise Failed(f"{name}/server.c: no such file. To make it: make start STAGE={name} LIKE={like}")
    return Stage(name, like, [str(BUILD / name)], in_tree=True)


def remembered(name):
    """Return the stage whose model it has: itself, or the one that start was told; or None."""
    if name in STAGES:
        return name
    note = ROOT / name / "like"
    like = note.read_text().strip() if note.exists() else None
    if like is not None and like not in skeleton.CUTS:
        raise Failed(f"{name}/like: {like}: want one of {' '.join(skeleton.CUTS)}")
    return like


# ---- start

def start(options):
    name, folder = options.name, ROOT / options.name
    text = skeleton.skeleton(name, options.like)
    if (folder / "server.c").exists():
        raise Failed(f"{name}/server.c is there already, and is left as it is")
    folder.mkdir(exist_ok=True)
    (folder / "server.c").write_text(text)
    (folder / "like").write_text(options.like + "\n")
    lines = ", ".join(map(str, skeleton.unwritten(text)))
    print(f"{name}/server.c: the model of {options.like} is yours to write (lines {lines}).\n"
          f"Read:  {hints.chapter(options.like)}\n"
          f"Then:  make check STAGE={name}\n"
          f"Stuck: make hint STAGE={name}")
    return 0


# ---- check

def rungs(stage):
    """Return the rungs of the ladder, or of an exercise."""
    return exercises.EXERCISES[stage.exercise].rungs if stage.exercise else ladder.LADDER


def climb(stage, every, quiet=False):
    """Climb the ladder, and say how far that went. Return the rungs that were tried, or left out."""
    tried, its_own = [], rungs_for(stage)
    for rung in its_own:
        if not quiet and sys.stdout.isatty():
            print(f"  ..    {rung.title}", end="\r", flush=True)
        each = try_rung(rung, stage)
        tried.append(each)
        say(each.result, rung, f"({each.reason})" if each.result == "--" else f"{each.seconds:5.1f} s", quiet)
        if each.fell and not quiet:
            explain(rung, each.fell, stage)
        if each.fell and not every:
            break
    if not quiet:
        fell = fallen(tried)
        stopped = f"Rung {len(tried)} of {len(its_own)}: " if fell and not every else ""
        left = f", {len(left_out(tried))} left out" if left_out(tried) else ""
        print(f"{stopped}{sum(each.result == 'ok' for each in tried)} passed, {len(fell)} failed{left}")
    return tried


def rungs_for(stage):
    """Return the rungs that there are for its model."""
    return [rung for rung in rungs(stage) if rung.reason_to_skip(stage) != ""]


def say(result, rung, text, quiet):
    """Print a line about a rung."""
    if not quiet:
        color = {"ok": good, "FAIL": bad}.get(result, str)
        print(f"  {color(f'{result:4}')}  {rung.title:{WIDTH}}  {text}")


def try_rung(rung, stage):
    reason, began = rung.reason_to_skip(stage), time.monotonic()
    if reason:
        return Tried(rung, "--", reason=reason)
    try:
        rung.climb(stage)
        return Tried(rung, "ok", time.monotonic() - began)
    except Failure as fell:
        return Tried(rung, "FAIL", time.monotonic() - began, fell)
    except Skipped as skipped:
        return Tried(rung, "--", reason=str(skipped))


def explain(rung, fell, stage):
    """Say what was done, what was expected, and what came; and where to read on."""
    rows = [*fell.rows(),
            ("to write",
             ", ".join(f"line {line}" for line in hints.unwritten(stage)) if rung.key != "build" else ""),
            ("where", where(stage, rung) if re.search(CRASH, fell.got) else ""),
            ("read", hints.section(rung, stage)), ("see it", see(rung, fell, stage)),
            ("then", "kill -9 $server" if "server=$!" in "".join(fell.did) else ""),
            ("hint", f"make hint {words(stage)}")]
    print("\n".join(lines(rows)))


def where(stage, rung):
    """Return where a stage crashes on a rung, in words; "": unknown. A second build, with AddressSanitizer,
    finds that out."""
    source = ROOT / stage.name / "server.c"
    stage = building.built_with(stage, "address") if stage.in_tree and source.exists() else None
    if stage is None:
        return ""
    with building.reports(stage) as reports:
        with contextlib.suppress(Failure, Skipped):
            rung.climb(stage)
        found = reports()
    return reported(found[0], stage.name) if found else ""


def see(rung, fell, stage):
    """Return the command that shows the failure while the server of "did" is running; "" if none does."""
    port = (stage.url or "").rpartition(":")[2].strip("/") or MANUAL_PORT
    if re.search(CRASH, fell.got):
        return ""
    if rung.key == "clients" and "no answer" not in fell.got:
        return trace(stage)
    if re.search("busy loop|does not sleep", fell.got) and not stage.url:
        return "timeout -s INT 1 strace -f -p $server 2>&1 | tail"
    if rung.key in WAITING and re.search("^no|got no answer|stays open|threads", fell.got):
        last = fell.did[-1] if fell.did else ""
        asks = re.match(r"curl -i (\S+)$", last)
        again = f"curl -m 3 -s {asks[1]} & sleep 1; " if asks else ""
        return f"{again}tests/where.py {port}" + ("" if asks else "  (in another terminal)")
    return ""


def words(stage):
    """Return the arguments of make that name this server."""
    if stage.exercise:
        return f"NAME={stage.exercise}"
    program = stage.url or (None if stage.in_tree else stage.shown())
    like = "" if stage.model == remembered(stage.name) else f" LIKE={stage.model}"
    return f"STAGE={stage.name}{like}" + (f" PROGRAM={shlex.quote(program)}" if program else "")


def trace(stage):
    """Return the command that records this server."""
    if stage.url:
        return f"tests/trace.py {stage.url}"
    port = "" if stage.in_tree else f"--port {MANUAL_PORT} "
    return f"tests/trace.py http://127.0.0.1:{MANUAL_PORT} -- {stage.shown()} {port}--delay 1"


def run_check(options):
    stage = get_stage(options)
    reason = ladder.forbidden(stage)
    if reason:
        print(f"{stage.name} cannot be judged here, and is skipped: {reason}")
        if options.json:
            write(options.json, json.dumps({"server": stage.name, "model": stage.model, "error": reason}) + "\n")
        return 0
    write(note(stage), json.dumps(read(note(stage))))  # if that fails, then now, not after all rungs
    what = "" if stage.in_tree else f": {stage.url or stage.shown()}"
    print(f"{stage.name}{what}, by the model of {stage.model}")
    tried = climb(stage, options.all)
    found = conclude(stage, tried, options)
    if found["rung"] is None:
        print(praise(stage, left_out(tried)))
    return 1 if found["rung"] else 0


def conclude(stage, tried, options):
    """Write down what was found. Return that."""
    if options.json:
        write(options.json, json.dumps(results.as_json(stage, tried, rungs_for(stage)), indent=1) + "\n")
    return remember(stage, fallen(tried))


def praise(stage, left):
    """Return what to say of a server that has failed nowhere. "The top" is all rungs, with none left out."""
    wanting = [each for each in left if each.rung.reason_to_skip(stage) is None]
    if wanting:
        count = f"{len(wanting)} rung{'s were' if len(wanting) > 1 else ' was'}"
        return f"This is not the top of the ladder: {count} left out, as said above. All others are passed."
    if left:
        return "The top of the ladder, for such a server. The rungs that were left out are for others."
    compare = f" Compare: make solution STAGE={stage.name}" if stage.name not in STAGES else ""
    return f"The top of the ladder.{compare}"


# ---- what was last found

def note(stage):
    return BUILD / "judge" / f"{stage.exercise or stage.name}.json"


def state(stage):
    """Return something that changes when the reader has changed the server."""
    parts = [stage.model, stage.url or stage.shown()]
    files = [*ROOT.glob(f"{stage.name}/*.[ch]"), *ROOT.glob("common/*.[ch]")] if stage.in_tree else []
    for word in stage.command or [] if not stage.in_tree else []:
        path = pathlib.Path(shutil.which(word) or word)
        if path.is_file():  # the program, or its script
            parts.append(f"{path.stat().st_mtime_ns} {path.stat().st_size}")
    if stage.exercise:
        files = [*ROOT.glob("0?-*/server.c"), *ROOT.glob("common/*.[ch]"),
                 *ROOT.glob("tests/tutorial/*.c")]
    parts += [path.read_text(errors="replace") for path in sorted(files)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def remember(stage, failed, step=0):
    """Write down how far the server has come, for hint and solution."""
    rung, fell = failed[0] if failed else (None, None)
    found = {"state": state(stage), "rung": rung and rung.key, "names": fell.names if fell else [],
             "got": fell.got if fell else "", "step": step}
    write(note(stage), json.dumps(found))
    return found


def recall(stage):
    """Return how far the server has come. Judge it if it has changed since."""
    found = read(note(stage))
    if not isinstance(found, dict) or not {"state", "rung", "names", "got", "step"} <= set(found):
        found = None
    if found and found["state"] == state(stage):
        return found
    print(f"{stage.name} has not been checked as it is now. Checking ...")
    fell = fallen(climb(stage, False, quiet=True))
    same = found and fell and fell[0][0].key == found["rung"]
    return remember(stage, fell, found["step"] if same else 0)


# ---- hint, solution

def run_hint(options):
    if options.name in exercises.EXERCISES:
        return hint_at_exercise(exercises.EXERCISES[options.name])
    stage = get_stage(options)
    found = recall(stage)
    if found["rung"] is None:
        what = stage.name if stage.in_tree else stage.url or stage.shown()
        print(f"{what} is at the top of the ladder: there is nothing to hint at.")
        return 0
    rung = next(rung for rung in rungs(stage) if rung.key == found["rung"] and
                rung.reason_to_skip(stage) is None)
    steps = hints.steps(stage, rung, [*(found["names"] or rung.cases), *rung.also], found["got"])
    found["step"] = min(found["step"] + 1, len(steps))
    names = f" ({', '.join(found['names'][:3])})" if rung.key == "tests" and found["names"] else ""
    print(f"{stage.name} fails at this rung: {rung.title}{names}")
    show(steps, found["step"], stage)
    write(note(stage), json.dumps(found))
    return 0


def hint_at_exercise(exercise):
    stage = exercise.stage()
    steps, taken = exercise.hints, BUILD / "judge" / f"{exercise.name}.step"
    step = min((read(taken, int) or 0) + 1, len(steps))
    write(taken, str(step))
    show(steps, step, stage)
    return 0


def show(steps, count, stage):
    """Print so many steps of a hint."""
    for number, text in enumerate(steps[:count], 1):
        print(f"\n{number}. " + "\n".join(map(wrap, text.splitlines()))[3:])
    left = len(steps) - count
    print(f"\nFor more, run it again: make hint {words(stage)}" if left else "\nThat was the last hint.")


def wrap(line):
    """Indent a line of a hint, and wrap it unless it is a line of a diff. Names stay whole."""
    if not line or line[0] == "+":
        return "   " + line
    more = "  " if line.startswith("- ") else ""
    return textwrap.fill(line, 100, initial_indent="   ", subsequent_indent="   " + more,
                         break_long_words=False, break_on_hyphens=False)


def run_solution(options):
    stage = get_stage(options)
    if stage.exercise:
        if recall(stage)["rung"] is not None:
            raise Failed(f"{stage.exercise} is not solved yet: make exercise NAME={stage.exercise}")
        print(exercises.EXERCISES[stage.exercise].solution.read_text(), end="")
        return 0
    if not stage.in_tree or stage.name in STAGES:
        raise Failed(f"{stage.name}: the solution is for a stage that make start has begun")
    if recall(stage)["rung"] is not None:
        raise Failed(f"{stage.name} is not at the top of the ladder yet: make check STAGE={stage.name}")
    ours = tool.scratch() / "server.c"
    ours.write_text(skeleton.whole(stage.name, stage.model))
    theirs = tool.scratch() / "theirs.c"
    theirs.write_text(skeleton.without_tasks((ROOT / stage.name / "server.c").read_text(), stage.model))
    found = subprocess.run(["diff", "-u", "-B", "--label", f"{stage.name}/server.c", "--label",
                    f"{stage.model}/server.c", theirs, ours], check=False)
    if found.returncode:
        print("Both pass all checks. What is different may be as good.")
    return 0


# ---- exercise

def run_exercise(options):
    if options.name is None:
        for name in NAMES:
            number = (exercises.EXERCISES[name].chapter if name in exercises.EXERCISES else
                      skeleton.TO_WRITE[name])
            task = " ".join(exercises.read(name)[0].split())
            what = re.search(r"(?:^|\. )((?:Let|Give|Add|Write) .*?[.])(?= |$)", task)[1]
            print(f"{name:14} {what}\n{'':14} {hints.chapter(number)}")
        print("To begin with one, or to check it: make exercise NAME=medium")
        return 0
    if options.name in skeleton.TO_WRITE:
        print(exercises.read(options.name)[0])
        options.like = options.name
        return run_check(options) if (ROOT / options.name).exists() else 1
    exercise = exercises.EXERCISES[options.name]
    stage = exercise.stage()
    print(exercise.task)
    found = conclude(stage, climb(stage, options.all), options)
    if found["rung"] is None:
        print(f"Compare: make solution NAME={exercise.name}. To take it back: git checkout {exercise.files}")
    return 1 if found["rung"] else 0


def contract(_options):
    print((ROOT / "tests/judging/contract.md").read_text(), end="")
    return 0


NAMES = [*exercises.EXERCISES, *skeleton.TO_WRITE]
COMMANDS = {"start": start, "check": run_check, "hint": run_hint, "solution": run_solution,
            "exercise": run_exercise, "contract": contract, "grade": grade.run}


def main(arguments):
    options = parse(arguments)
    return COMMANDS[options.command](options)


if __name__ == "__main__":
    tool.run(main)
