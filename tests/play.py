#!/usr/bin/env python3
"""Play a server and its clients in the simulated kernel: the C files of a stage, a clock
that jumps from event to event, and clients that do what you tell them. It prints what
build/probe prints of a real server. The page build/play.html shows the same.

A SHOT is TIME:ACTION, with the time in milliseconds. A PATH is a client that asks for it,
as with build/probe. silent, half, keep, post and pipeline are other clients. rest,
half-close, close, reset and stop-reading are what the last client does (with @N at the
end, client N). idle=N are clients that connect before all others and say nothing. TERM
and INT are signals. An OPTION is one of the stage, or --descriptors N, its limit. An
address of the page can stand in place of STAGE, OPTIONs and SHOTs.

With --seeds, a number chooses clients, signals and errors, and each run must keep some
rules: a complete request gets its response when it is due, nothing spins, a drain ends.
A run that breaks a rule is made smaller, and printed as an address of the page. --seeds N
runs the numbers 1 to N, on the six stages or on each STAGE, and --seeds 201-400 these
numbers. --bug NAME first plants a bug of tests/servers/bugs, and --bug all each bug in
turn, to see which of them the seeds find."""
from kit import tool  # first: see kit/__init__.py

import argparse
import json
import pathlib
import re
import sys

from kit.commandline import Parser, output, seconds, whole_number
from kit.report import span
from recorder import symbols
from servers.bugs.bug import every_name
from simulation import seeds
from simulation.engine import Simulation

EXAMPLES = """\
examples:
  tests/play.py 05-epoll --delay 1 0:/slow 100:/fast
  tests/play.py 05-epoll --delay 1 --block 5x0:/slow 100:reset@2 --calls
  tests/play.py '#02-threaded --delay 1; 0:/slow 100:/fast' --strace build/log
  tests/trace.py --from build/log

  tests/play.py --seeds 1000 05-epoll
  tests/play.py --seeds 1000 --bug sigpipe

Exit status: 0 if every request was answered with status 200, the goal is reached, or no
rule is broken (--bug all: half of the bugs are found); 1 if not; 2 for a bad command
line."""
SHOT = re.compile(r"(\d+x)?[\d.]+(~\d+)?:.")
COLUMNS = ["path", "started", "connected", "first byte", "done", "took", "status", "body"]
TO_THE_RIGHT = {"started", "connected", "first byte", "done", "took"}


# ---- the command line

def parse(arguments):
    """Return (our options, the text of the experiment). What we do not know is for the server, which says itself what
    is wrong with it."""
    parser = Parser(description=__doc__, epilog=EXAMPLES,
                    usage="%(prog)s STAGE [OPTION]... SHOT...\n       %(prog)s --goal N <ADDRESSES"
                          "\n       %(prog)s --seeds N [STAGE]...")
    parser.add_argument("--calls", action="store_true",
                        help="print each system call: when, by which thread, from which line")
    parser.add_argument("--strace", type=output, metavar="FILE",
                        help="write the calls as strace does, for tests/trace.py --from")
    parser.add_argument("--json", type=output, metavar="FILE",
                        help="write all that is known of the run (- for stdout)")
    parser.add_argument("--until", type=seconds(0, 86400), metavar="SECONDS", help="stop the run there")
    parser.add_argument("--goal", type=whole_number(1, 99), metavar="N",
                        help="judge the addresses on stdin, a line each: do they reach goal N of the page?")
    parser.add_argument("--seeds", type=seed_numbers, metavar="N",
                        help="run what the numbers 1 to N choose (or FIRST-LAST)")
    parser.add_argument("--bug", metavar="NAME", help="plant this bug of the gallery in the stage")
    ours, rest = _split(arguments)
    options = parser.parse_args(ours)
    if options.bug == "all" and options.seeds is None:
        parser.error("--bug all: want --seeds N, too")
    if options.goal is not None or options.seeds is not None:
        return options, rest
    if not rest:
        parser.error("want a stage, such as 05-epoll, and shots, such as 0:/slow 100:/fast; see --help")
    if len(rest) == 1 and ";" in rest[0]:
        return options, rest[0]
    if not any(map(SHOT.match, rest)):
        parser.error(f"{' '.join(rest)}: want at least one TIME:ACTION, such as 0:/slow; see --help")
    words = [word for word in rest if not SHOT.match(word)]
    return options, f"{' '.join(words)}; {' '.join(word for word in rest if SHOT.match(word))}"


def seed_numbers(text):
    try:
        return seeds.numbers(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text}: want a number of seeds, or FIRST-LAST") from None


def _split(arguments):
    """Split the words into ours and those of the experiment."""
    ours, rest, words = [], [], iter(arguments)
    for word in words:
        name = word.partition("=")[0]
        if name in ("--calls", "--help"):
            ours.append(word)
        elif name in ("--strace", "--json", "--goal", "--until", "--seeds", "--bug"):
            ours += [word] if "=" in word else [word, next(words, "")]
            if ours[-1] == "":
                ours.pop()
        else:
            rest.append(word)
    return ours, rest


# ---- what is printed

def print_table(columns, to_the_right, rows):
    widths = [max(map(len, column)) for column in zip(columns, *rows)]
    for row in [columns, *rows]:
        cells = [cell.rjust(width) if name in to_the_right else cell.ljust(width)
                 for name, cell, width in zip(columns, row, widths)]
        print("  ".join(cells).rstrip())


def print_clients(clients):
    """The table of build/probe, with a row for each client."""
    rows = []
    for client in clients:
        took = client["done"] - client["start"] if client["done"] is not None else None
        moments = client["start"], client["connected"], client["first"], client["done"], took
        rows.append([_name(client), *map(span, moments), client["status"] or "-",
                     re.sub(r"[^ -~]", "?", client["body"][:40]) or "-"])
    print_table(COLUMNS, TO_THE_RIGHT, rows)
    names = list(dict.fromkeys(_name(client) for client in clients if client["requests"]))
    rows = [_summary(name, [client for client in clients if _name(client) == name]) for name in names]
    if rows:
        print()
        columns = ["path", "requests", "failed", "shortest", "median", "longest"]
        print_table(columns, set(columns[1:]), rows)


def _name(client):
    return client["path"] if client["action"] == "get" else client["action"]


def _summary(path, clients):
    times = sorted(client["done"] - client["start"] for client in clients if client["status"] == "200")
    middle = [times[0], times[(len(times) - 1) // 2], times[-1]] if times else [None] * 3
    return [path, str(len(clients)), str(len(clients) - len(times)), *map(span, middle)]


def print_calls(result):
    threads = {thread["id"]: thread["name"] for thread in result["threads"]}
    width = max(map(len, threads.values()))
    for call in result["calls"]:
        start, end = call["start"], call["end"]
        took = "..." if end is None else f"{end - start:.0f}" if end > start else ""
        text = f"{call['name']}({call['args']}) = {call['result']}" if call["name"][0] != "(" else "computes"
        print(f"{start:9.1f} {took:>6}  {threads[call['thread']]:{width}}  {text}  {call['line'] or ''}".rstrip())


def write_strace(path, answer):
    """Write the log, with checksums of the lines that it names, as the recorder does."""
    numbers = {}
    for place, _ in answer["places"]:
        file, _, number = place.rpartition(" ")[2].rpartition(":")
        numbers.setdefault(file, set()).add(int(number))
    known = [(file, symbols.find(file), sorted(found)) for file, found in sorted(numbers.items())]
    header = answer["header"] + [f"source: {file} {symbols.checksum(found, lines)}" for file, found, lines in known
                                 if found]
    pathlib.Path(path).write_text("".join(f"# {line}\n" for line in header) + answer["text"])


def complain(answer):
    """A text that is no experiment, or a stage that is not there."""
    if answer.get("position") is not None:
        print(answer["text"], " " * answer["position"] + "^", sep="\n", file=sys.stderr)
    print(f"{tool.name()}: {answer['error']}", file=sys.stderr)
    return 2


def stage_of(text):
    """The stage that an experiment begins with; None if it begins with something else."""
    found = re.match(r"\s*#?\s*([a-z0-9][a-z0-9-]*)", text) if isinstance(text, str) else None
    return found[1] if found else None


def open_simulation(bug, stage):
    return seeds.planted(bug, stage) if bug else Simulation()


def judge(simulation, number):
    texts = [line.strip() for line in sys.stdin if line.strip()]
    if not texts:
        print(f"{tool.name()}: want addresses of the page on stdin, a line each", file=sys.stderr)
        return 2
    answer = simulation.ask(goal=number, texts=texts)
    if "error" in answer:
        return complain(answer)
    print(f"Goal {number}, {answer['title']}: {'reached' if answer['solved'] else 'not reached'}. "
          f"{answer['text']}".rstrip())
    return 0 if answer["solved"] else 1


def main(arguments):
    options, text = parse(arguments)
    if options.bug == "all":
        return 0 if seeds.hunt(every_name(), *options.seeds) else 1
    if options.seeds is not None:
        simulation = open_simulation(options.bug, text[0] if text else None)
        failed = seeds.run(simulation, text, *options.seeds, f"--bug {options.bug} " if options.bug else "")
        return 1 if failed else 0
    simulation = open_simulation(options.bug, stage_of(text))
    if options.goal is not None:
        return judge(simulation, options.goal)
    want = ["result"] + (["strace"] if options.strace else [])
    settings = {"lines": bool(options.calls or options.strace or options.json)}
    if options.until is not None:
        settings["until"] = options.until * 1000
    model = seeds.model_of(stage_of(text), simulation.bundle()) if options.until is None else None
    answer = simulation.ask(text=text, want=want, settings=settings, model=model)
    simulation.close()
    if "error" in answer:
        return complain(answer)
    if answer.get("stopped"):
        print(f"{tool.name()}: {answer['stopped']}", file=sys.stderr)
        return 1
    result = answer["result"]
    if options.strace:
        write_strace(options.strace, answer["strace"])
    if options.json:
        with open(sys.stdout.fileno() if options.json == "-" else options.json, "w",
                  closefd=options.json != "-") as file:
            json.dump(result, file)
    for line in result["output"]:
        if line["fd"] == 2:
            print(line["text"], end="", file=sys.stderr)
    if options.calls:
        print_calls(result)
    elif options.json != "-" and result["clients"]:
        print_clients(result["clients"])
    end = result["end"]
    if end and end["kind"] != "waiting":
        print(f"The server {'was ' if end['kind'] == 'killed' else ''}{end['text']} at {span(end['at'])}."
              if end["kind"] != "stopped" else f"Stopped at {span(end['at'])}: {end['text']}.", file=sys.stderr)
    if end and end.get("status") == 2 and end["at"] < 0:
        return 2
    broken = answer.get("broken", [])
    for mistake in broken:
        print(f"This breaks a rule ({mistake['rule']}): {mistake['why']}", file=sys.stderr)
    answered = all(client["status"] == "200" for client in result["clients"] if client["requests"])
    return 0 if answered and not broken else 1


if __name__ == "__main__":
    tool.run(main)
