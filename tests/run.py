#!/usr/bin/env python3
"""run.py PROGRAM...: run these Check programs one after another, and sum up their results."""
import os
import pathlib
import re
import select
import subprocess
import sys

import lab

SILENCE_S = 4  # after which a reader wonders whether anything still happens

# Check's summary, which check_stages prefixes with the stage
SUMMARY = re.compile(r"(?:(\S+): )?\d+%: Checks: (\d+), Failures: (\d+), Errors: (\d+)")
# a test that failed or could not finish
FAILURE = re.compile(r":\d+:[FE]:")
# a stage whose tests did not finish
KILLED = re.compile(r"\S+: killed by signal \d+$")


def lines_of(process):
    """Yield what a process prints, line by line, and None whenever it is silent."""
    rest = b""
    while True:
        if not select.select([process.stdout], [], [], SILENCE_S)[0]:
            yield None
            continue
        data = os.read(process.stdout.fileno(), 65536)
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            yield line.decode(errors="replace")
        if not data:
            return


def run(program):
    """Run a program. Return how many tests passed and how many failed, and a line for each failure."""
    name = pathlib.Path(program).name
    if not os.access(program, os.X_OK):
        raise lab.Failed(f"{program} is not built: make {name}")
    print(f"== {name}", flush=True)
    # In a group of its own: when Check is told to stop, it may signal its whole group.
    process = lab.start([program], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    checks = failed = died = 0
    stage, lines = None, []
    for line in lines_of(process):
        if line is None:
            print(f"({name} is still running)", flush=True)
            continue
        print(line, flush=True)
        summary = SUMMARY.match(line)
        if summary:
            stage = summary[1]
            checks += int(summary[2])
            failed += int(summary[3]) + int(summary[4])
        elif FAILURE.search(line):  # Check does not know the stage in which it found the problem
            lines.append(line if not stage or stage in line else f"{line} ({stage})")
        elif KILLED.match(line):
            died += 1
            lines.append(line)
    status = lab.stop(process)
    if checks == 0 or (status != 0 and failed + died == 0):
        died += 1
        lines.append(f"{name}: {lab.ending(status)}, after {checks} tests")
    return checks - failed, failed + died, lines


def main(programs):
    if not programs:
        print("usage: run.py PROGRAM...", file=sys.stderr)
        return 2
    results = [run(program) for program in programs]
    passed, failed = (sum(result[column] for result in results) for column in (0, 1))
    if failed:
        print("\nWhat failed:", *(line for result in results for line in result[2]), sep="\n")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    lab.run(main)
