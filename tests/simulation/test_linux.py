"""The simulated kernel is held against Linux: the same scripts, on a real server under strace and in the simulation.

    python3 -m simulation.test_linux [STAGE]... [--all] [--only WORDS]      (make play-test, ALL=1 for all)

Without --all, each script runs on one of the six stages, so that each of them and each script is seen.
"""
import sys

from kit import tool
from kit.commandline import Parser
from kit.report import Report, bad, good
from kit.tree import STAGES
from simulation import build, compare, libev, reality
from simulation.engine import Simulation
from simulation.scripts import SCRIPTS

TRIES = 3  # a busy machine may be late once: it is not late in the same way three times


def pairs(stages, everything, words):
    """The scripts and stages that run: [(script, stage)]."""
    for number, script in enumerate(SCRIPTS):
        if words and words not in script.name:
            continue
        for stage in stages if everything else [stages[number % len(stages)]]:
            yield script, stage


def simulated(simulation, text):
    answer = simulation.ask(text=text, want=["result", "strace"], settings={"until": 10000})
    if "error" in answer or answer.get("stopped"):
        return {"log": "", "clients": [], "ending": answer.get("error") or answer["stopped"], "events": []}
    result, strace = answer["result"], answer["strace"]
    end = result["end"] or {"kind": "running"}
    ending = f"killed by {end['signal']}" if end["kind"] == "killed" else f"exited with {end['status']}" if end["kind"] == "exited" else end["kind"]
    return {"log": "".join(f"# {line}\n" for line in strace["header"]) + strace["text"], "clients": result["clients"],
            "ending": ending, "events": answer["events"], "options": answer["options"]}


def real(program, stage, options, events):
    log, clients, status, _ = reality.run(program, stage, options, events)
    ms = (lambda value: None if value is None else value * 1000)
    told = [{"status": client.status, "answers": [{"status": status, "body": body} for status, body in client.answers],
             "start": ms(client.start), "done": ms(client.done)} for client in clients]
    import signal
    ending = f"exited with {status}" if status >= 0 else f"killed by {signal.Signals(-status).name}"
    return {"log": log, "clients": told, "ending": ending}


def hold(simulation, program, script, stage):
    """Run a script on a stage, there and here. Return (what differs, after how many tries)."""
    there = simulated(simulation, script.text(stage))
    for attempt in range(TRIES):
        here = real(program, stage, there["options"], there["events"])
        found = compare.differences(here, there)
        if not found:
            break
    return found, attempt + 1


def main(arguments):
    parser = Parser(description=__doc__.partition("\n")[0])
    parser.add_argument("stages", nargs="*", metavar="STAGE", help="the stages (all six)")
    parser.add_argument("--all", action="store_true", help="run each script on each stage")
    parser.add_argument("--only", metavar="WORDS", help="run the scripts with these words in their name")
    options = parser.parse_args(arguments)
    tool.need("strace", "deps-tools")
    failed = count = 0
    programs = {}
    with Simulation() as simulation:
        for script, stage in pairs(options.stages or STAGES, options.all, options.only):
            if stage not in programs:
                programs[stage] = reality.native(stage, libev.source(build.PLAY)[0] if stage.startswith("06") else None)
            found, tries = hold(simulation, programs[stage], script, stage)
            count += 1
            failed += bool(found)
            print(f"  {good('ok') if not found else bad('FAILED')}  {stage}: {script.name}{f' (try {tries})' if tries > 1 and not found else ''}", flush=True)
            for line in found:
                print(f"        {line}")
    print(f"{count - failed} of {count} scripts run alike on Linux and in the simulated kernel")
    return 1 if failed else 0


if __name__ == "__main__":
    tool.run(main)
