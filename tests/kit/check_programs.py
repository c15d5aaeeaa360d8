"""Run Check programs one after another, and sum up their results."""
import os
import pathlib
import re
import subprocess

from kit import processes
from kit.commandline import Parser
from kit.errors import Failed
from kit.printable import printable
from kit.report import tick, write
from kit.tool import run


SUMMARY = re.compile(r"\d+%: Checks: (\d+), Failures: (\d+), Errors: (\d+)")
# a test that failed or could not finish
FAILURE = re.compile(r":\d+:[FE]:")


def run_program(program):
    """Run a program. Return how many tests passed and how many failed, and a line for each failure."""
    name = pathlib.Path(program).name
    if not os.access(program, os.X_OK):
        raise Failed(f"{program} is not built: make {name}")
    print(f"== {name}", flush=True)
    # In a group of its own: when Check is told to stop, it may signal its whole group.
    process = processes.start([program], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              errors="replace")
    checks = failed = 0
    lines = []

    def listen():
        tick(lambda _: write(f"({name} is still running)\n"))

    listen()
    for line in map(str.rstrip, process.stdout):
        listen()
        print(printable(line))
        summary = SUMMARY.match(line)
        if summary:
            checks += int(summary[1])
            failed += int(summary[2]) + int(summary[3])
        elif FAILURE.search(line):
            lines.append(line)
    tick(None)
    status = processes.stop(process)
    died = checks == 0 or status != 0 and failed == 0
    if died:
        lines.append(f"{name}: {processes.ending(status)}, after {checks} tests")
    return checks - failed, failed + died, lines


def main(arguments):
    parser = Parser(description=__doc__, usage="%(prog)s PROGRAM...")
    parser.add_argument("programs", metavar="PROGRAM", nargs="+")
    results = [run_program(program) for program in parser.parse_args(arguments).programs]
    passed, failed = (sum(result[column] for result in results) for column in (0, 1))
    if failed:
        print("\nWhat failed:", *(line for result in results for line in result[2]), sep="\n")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    run(main)
