"""Run cases: one here, or many in several processes (lanes) simultaneously, since they mostly wait."""
import dataclasses
import json
import os
import queue
import shlex
import signal
import subprocess
import sys
import threading
import time
import traceback
from typing import List, NamedTuple, Tuple

from kit import processes
from kit.tree import BUILD, ROOT, TESTS
from suite import cases
from suite.server import Failure, Skipped, Stage

LANES = 5 * (os.cpu_count() or 1)


class Result(NamedTuple):
    stage: str
    case: str
    outcome: str                # "passed", "failed" or "skipped"
    rows: List[Tuple[str, str]]  # what a reader is told, each part with its label
    seconds: float
    late: bool = False          # see Failure


def run_case(case, stage):
    """Run a case. Return its result."""
    start, outcome, rows, late = time.monotonic(), "passed", [], False
    try:
        case.check(stage)
    except Failure as failure:
        outcome, rows, late = "failed", [*failure.rows(), ("again", command(stage, case.name))], failure.late
    except Skipped as skipped:
        outcome, rows = "skipped", [("why", str(skipped))]
    except Exception:  # the case itself is wrong, or this machine is: say where
        outcome, rows = "failed", [("error", traceback.format_exc()), ("again", command(stage, case.name))]
    return Result(stage.name, case.name, outcome, rows, time.monotonic() - start, late)


def command(stage, case):
    """Return the command that runs a case alone."""
    build = f"BUILD={os.path.relpath(BUILD, ROOT)} " if BUILD != ROOT / "build" else ""
    program = "" if stage.name == stage.model else f" PROGRAM={shlex.quote(stage.shown())}"
    return f"make {build}case STAGE={stage.model} CASE={case}{program}"


def lane():
    """Run the cases that the lines of stdin name, and write a line about each."""
    known = cases.all_cases()
    for line in sys.stdin:
        name, stage = json.loads(line)
        print(json.dumps(run_case(known[name], Stage(**stage))), flush=True)
    return 0


def run_all(jobs, lanes=LANES):
    """Run jobs, each a case and a stage, and yield the results as they come."""
    waiting, results = queue.SimpleQueue(), queue.SimpleQueue()
    for case, stage in jobs:
        waiting.put((case, stage))

    def feed(process):
        try:
            while True:
                case, stage = waiting.get_nowait()
                print(json.dumps([case.name, dataclasses.asdict(stage)]), file=process.stdin, flush=True)
                line = process.stdout.readline()
                results.put(Result(*json.loads(line)) if line else
                            Result(stage.name, case.name, "failed",
                                   [("error", "the process that ran the case has ended")], 0))
        except queue.Empty:
            process.stdin.close()

    # A lane that is told to stop, or whose parent is killed, ends the servers that it has started.
    words = [sys.executable, "-m", "suite.run", "--lane"]
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    started = [processes.start(words, dies_by=signal.SIGTERM, cwd=ROOT, env=environment, **pipes)
               for _ in range(min(lanes, waiting.qsize()))]
    for process in started:
        threading.Thread(target=feed, args=[process], daemon=True).start()
    for _ in jobs:
        yield results.get()
    for process in started:
        process.wait()
