"""Run each FUZZER for an equal share of SECONDS. Say every four seconds, on a terminal every second, how many
inputs it has tried.

The inputs that are new, and the log, stay beside the fuzzer. Exit status: 0 if no input breaks a rule; 1 if
one does; 2 for a bad command line.
"""
import os
import pathlib
import re
import subprocess
import sys
import time

from kit import commandline, processes, tool
from kit.commandline import Parser
from kit.errors import Failed


HERE = pathlib.Path(__file__).resolve().parent


def fuzz(fuzzer, seconds, seed):
    """Run one fuzzer. Fail if it finds an input that breaks a rule. From the same corpus, the same
    seed tries the same inputs. For 0, libFuzzer draws a seed."""
    if not os.access(fuzzer, os.X_OK):
        raise Failed(f"{fuzzer} is not built. To build and run it: make fuzz")
    new, log = fuzzer.with_suffix(".new"), fuzzer.with_suffix(".log")
    new.mkdir(exist_ok=True)
    # libFuzzer builds inputs from operands that it compares, and some are addresses.
    same_addresses = ["setarch", "-R"] if seed else []
    with open(log, "w") as output:
        process = processes.start([*same_addresses, fuzzer, f"-max_total_time={seconds}", f"-seed={seed}", "-reload=0",
                                   f"-dict={HERE / 'http.dict'}", "-print_final_stats=1",
                                   f"-artifact_prefix={fuzzer}-", new, HERE / "corpus" / fuzzer.name],
                                  stdout=output, stderr=subprocess.STDOUT)
    begun, terminal = time.monotonic(), sys.stdout.isatty()

    def say(state, end="\n"):
        text = log.read_text(errors="replace")
        tried = re.findall(r"^(?:#|stat::number_of_executed_units: )(\d+)", text, re.M)
        print(f"{fuzzer}: {int((tried or [0])[-1]):,} inputs tried, {state}", end=end, flush=True)

    while not processes.wait_until(lambda: process.poll() is not None, patience=1 if terminal else 4):
        left = max(0, begun + seconds - time.monotonic())
        say(f"{left:.0f} s left", end="    \r" if terminal else "\n")
    if process.returncode != 0:
        print(re.sub(r"^#.*\n", "", log.read_text(errors="replace"), flags=re.M))
        raise Failed(f"{fuzzer}: {processes.ending(process.returncode)}")
    say("no rule broken")


def main(arguments):
    parser = Parser(description=__doc__)
    parser.add_argument("seconds", metavar="SECONDS", type=commandline.whole_number(2, 999999))
    parser.add_argument("fuzzers", metavar="FUZZER", nargs="+", type=pathlib.Path)
    parser.add_argument("--seed", metavar="N", type=commandline.whole_number(0, 2**32 - 1), default=0)
    options = parser.parse_args(arguments)
    for fuzzer in options.fuzzers:
        fuzz(fuzzer, options.seconds // len(options.fuzzers), options.seed)
    return 0


if __name__ == "__main__":
    tool.run(main)
