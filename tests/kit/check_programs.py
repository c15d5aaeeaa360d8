"""python3 -m kit.check_programs PROGRAM...: run these Check programs one after another, and sum up their results."""
import os
import pathlib
import re
import subprocess
import sys

from kit import processes
from kit.errors import Failed
from kit.printable import printable
from kit.report import tick, write
from kit.tool import run


# Check's summary, which check_stages prefixes with the stage
SUMMARY = re.compile(r"(?:(\S+): )?\d+%: Checks: (\d+), Failures: (\d+), Errors: (\d+)")
# a test that failed or could not finish
FAILURE = re.compile(r":\d+:[FE]:")
# a stage whose tests did not finish
KILLED = re.compile(r"\S+: killed by signal \d+$")


def run_program(program):
    """Run a program. Return how many tests passed and how many failed, and a line for each failure."""
    name = pathlib.Path(program).name
    if not os.access(program, os.X_OK):
        raise Failed(f"{program} is not built: make {name}")
    print(f"== {name}", flush=True)
    # In a group of its own: when Check is told to stop, it may signal its whole group.
    process = processes.start([program], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                        errors="replace")
    checks = failed = died = 0
    stage, lines = None, []

    def listen():
        tick(lambda _: write(f"({name} is still running)\n"))

    listen()
    for line in map(str.rstrip, process.stdout):
        listen()
        print(printable(line))
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
    tick(None)
    status = processes.stop(process)
    if checks == 0 or (status != 0 and failed + died == 0):
        died += 1
        lines.append(f"{name}: {processes.ending(status)}, after {checks} tests")
    return checks - failed, failed + died, lines


def main(programs):
    if not programs:
        print("usage: python3 -m kit.check_programs PROGRAM...", file=sys.stderr)
        return 2
    results = [run_program(program) for program in programs]
    passed, failed = (sum(result[column] for result in results) for column in (0, 1))
    if failed:
        print("\nWhat failed:", *(line for result in results for line in result[2]), sep="\n")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    run(main)
