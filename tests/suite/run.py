"""Run the black-box cases over the six stages, or those that are named. CASE is the name of a case, or a
subject."""
from kit import tool  # first: see kit/__init__.py

import argparse
import os
import pathlib

from kit import report
from kit.commandline import Parser
from kit.tree import BUILD_NOTE, STAGES, built
from suite import cases
from suite.running import LANES, lane, run_all
from suite.server import Stage, lines

FEW = 4  # cases that may run again; if more come too late, this machine is not the reason


def parse(arguments):
    parser = Parser(description=__doc__, epilog=BUILD_NOTE, usage="%(prog)s [OPTION]... [CASE]...")
    known = {*cases.all_cases(), *cases.SUBJECTS}
    parser.add_argument("cases", metavar="CASE", nargs="*")
    parser.add_argument("--stage", metavar="STAGE",
                        help="for this stage alone, or for several: '01-blocking 02-threaded'")
    parser.add_argument("--without", metavar="CASE", default="", help="leave out this case, or several")
    parser.add_argument("--program", metavar="PROGRAM", help="test this program, by the cases for STAGE")
    parser.add_argument("--seconds", action="store_true", help="print how long each case took")
    parser.add_argument("--lane", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    options.cases = [word for words in options.cases for word in words.split()]
    options.models = (options.stage or "").split()
    options.without = options.without.split()
    for name in [*options.cases, *options.without]:
        if name not in known:
            parser.error(f"{name}: no such case, nor a subject of them: {' '.join(cases.SUBJECTS)}")
    models = [*STAGES, *(cases.READERS if options.program else [])]
    for name in options.models:
        if name not in models:
            parser.error(f"--stage {name}: want one of {' '.join(models)}")
    if options.program and len(options.models) != 1:
        parser.error(f"--program {options.program}: by the cases for which --stage?")
    return options


def jobs(options):
    """Return what is to be run: cases, each with its stage."""
    program = options.program
    stages = [Stage(pathlib.Path(program).name if program else model, model,
                    [program or str(built(model))], in_tree=True) for model in options.models or STAGES]
    wanted = [case for case in cases.all_cases().values()
              if (not options.cases or {case.name, case.subject} & set(options.cases))
              and case.name not in options.without]
    return [(case, stage) for case in wanted for stage in stages if case.suits(stage)]


def again(wanted, failed):
    """A few cases in which something came too late, beside many others, run once more, each alone: this
    machine may have been busy. Any other failure stands. Return the results that failed before and pass
    now."""
    late = {(result.stage, result.case): result for result in failed if result.late}
    if len(late) > FEW or len(wanted) <= LANES:
        return []
    jobs_alone = [(case, stage) for case, stage in wanted if (stage.name, case.name) in late]
    return [late[result.stage, result.case] for result in run_all(jobs_alone, lanes=1)
            if result.outcome == "passed"]


def main(arguments):
    options = parse(arguments)
    if options.lane:
        return lane()
    os.environ.setdefault("TSAN_OPTIONS", "halt_on_error=1")  # a race ends the server, and so fails the case
    wanted = jobs(options)
    built("probe")
    passed, failed = {stage.name: 0 for _, stage in wanted}, []

    def progress(text):
        report.write(f"    {sum(passed.values()) + len(failed)} of {len(wanted)} cases:{text}\n")

    report.tick(progress)
    for result in run_all(wanted):
        if result.outcome == "passed":
            passed[result.stage] += 1
        else:
            told = report.bad("FAILED") if result.outcome == "failed" else "skipped"
            print(f"{result.stage:12} {result.case}: {told}", *lines(result.rows), sep="\n")
        if result.outcome == "failed":
            failed.append(result)
        if options.seconds:
            print(f"{result.seconds:6.2f} s  {result.stage} {result.case}")
    report.tick(None)
    alone = again(wanted, failed)
    for result in alone:
        failed.remove(result)
        print(f"{result.stage:12} {result.case}: passed only alone")
    for stage, count in passed.items():
        print(f"{stage:12} {count} passed, {sum(result.stage == stage for result in failed)} failed")
    print(f"{sum(passed.values())} passed, {len(failed)} failed" +
          (f", {len(alone)} passed only alone" if alone else ""))
    return 1 if failed or not wanted else 0


if __name__ == "__main__":
    tool.run(main)
