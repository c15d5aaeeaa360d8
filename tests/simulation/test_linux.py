"""The simulated kernel is held against Linux: the same scripts, on a real server under strace and in the simulation.

    python3 -m simulation.test_linux [STAGE]... [--all] [--only WORDS]      (make simulation-test, ALL=1 for all)

Without --all, each script runs on one of the six stages, so that each script is seen, and each stage. Then errors are
planted in the simulated kernel, and each must be noticed.
"""
import re
import shutil
import signal

from kit import tool
from kit.commandline import Parser
from kit.errors import Failed
from kit.report import bad, good
from kit.tree import ROOT, STAGES, TESTS, built
from simulation import build, compare, libev, reality
from simulation.engine import Simulation
from simulation.scripts import BACKLOG, CHANGED, EDGE, MORE, SCRIPTS

STRETCHES = [1, 2, 4]  # a script that differs runs again, and takes its time: a busy machine may have been too late

# Errors of a kernel: a name, the code of kernel.mjs to replace, its replacement, the script and stage that notice it.
PLANTED = [
    ("a reset that reads as end of input", "return this.takeError();\n    if (this.readShut",
     "return this.takeError() && [];\n    if (this.readShut", "half a head, then reset", "05-epoll"),
    ("a forgotten HUP", "if (this.dead || ((this.readShut || this.peerFinished) && this.writeShut)) mask |= HUP;", "",
     "half a head, then reset", "05-epoll"),
    ("an edge that is a level", "(watch.events & EPOLLET) === 0", "true", "two clients, one edge", EDGE),
    ("a backlog without limit", "if (this.length > this.limit) {", "if (false) {", "a full backlog", BACKLOG),
    ("a late timer", "time: Math.max(time, this.now), rank,", "time: Math.max(time, this.now) + rank * 300 * MS, rank,",
     "one slow", "05-epoll"),
]


# ---- a script, here and there

class Bench:
    """Runs scripts on real servers and in the simulation."""

    def __init__(self):
        tree, compiler = build.Sources(ROOT, "tree"), build.Compiler()
        self.folder = tool.scratch() / "play"
        self.folder.mkdir()
        self.programs, stages = {}, {}
        for stage in STAGES:
            found, reason = libev.source(build.PLAY) if stage.startswith("06") else (None, None)
            if reason:
                print(f"{stage} is left out: {reason}")
                continue
            stages.update([build.build(compiler, tree, stage, found)])
            self.programs[stage] = reality.native(tree, stage, found) if found else built(stage)
        for name, (stage, right, wrong) in CHANGED.items():
            sources = build.copied(name, stage, lambda file, text, r=right, w=wrong: re.sub(r, w, text))
            stages.update([build.build(compiler, sources, stage)])
            self.programs[name] = reality.native(sources, stage)
        build.write_bundle(self.folder, stages)

    def simulated(self, simulation, text):
        answer = simulation.ask(text=text, want=["result", "strace"], settings={"until": 30000})
        if "error" in answer or answer.get("stopped"):
            raise Failed(f"{text}: {answer.get('error') or answer['stopped']}")
        result, strace, end = answer["result"], answer["strace"], answer["result"]["end"] or {"kind": "running"}
        ending = {"killed": f"killed by {end.get('signal')}", "exited": f"exited with {end.get('status')}"}
        return {"log": "".join(f"# {line}\n" for line in strace["header"]) + strace["text"],
                "clients": result["clients"], "ending": ending.get(end["kind"], end["kind"]),
                "events": answer["events"], "options": answer["all_options"]}

    def real(self, stage, options, events):
        log, clients, status = reality.run(self.programs[stage], stage, options, events)
        told = [{"status": client.status,
                 "answers": [{"status": status, "body": body} for status, body in client.answers],
                 **{key: value and value * 1000 for key, value in vars(client).items()
                    if key in ("start", "connected", "done")}}
                for client in clients]
        ending = f"exited with {status}" if status >= 0 else f"killed by {signal.Signals(-status).name}"
        return {"log": log, "clients": told, "ending": ending}

    def hold(self, simulation, script, stage):
        """Run a script on a stage, there and here, several times if need be. Return (what differs, how long the script
        was in the end, the real run)."""
        for stretch in STRETCHES:
            there = self.simulated(simulation, script.text(stage, stretch))
            here = self.real(stage, there["options"], there["events"])
            found = compare.differences(here, there)
            if not found:
                break
        return found, stretch, here


def pairs(stages, everything):
    """The scripts and stages that run: [(script, stage)]."""
    for number, script in enumerate(SCRIPTS):
        for stage in stages if everything else [stages[number % len(stages)]]:
            yield script, stage
    yield from ((script, stage) for stage, script in MORE)


def plant(bench, name, right, wrong):
    """Return a simulation with an error in its kernel."""
    folder = tool.scratch() / re.sub(r"\W", "-", name)
    shutil.copytree(TESTS / "simulation", folder, ignore=lambda _, names: [n for n in names if not n.endswith(".mjs")])
    kernel = folder / "kernel.mjs"
    text = kernel.read_text()
    if text.count(right) != 1:
        raise Failed(f"{name}: the code to replace is at {text.count(right)} places: {right}")
    kernel.write_text(text.replace(right, wrong))
    return Simulation(bench.folder, folder / "play.mjs")


def main(arguments):
    parser = Parser(description=__doc__.partition("\n")[0])
    parser.add_argument("stages", nargs="*", metavar="STAGE", help="the stages (all six)")
    parser.add_argument("--all", action="store_true", help="run each script on each stage")
    parser.add_argument("--only", metavar="WORDS", help="run the scripts with these words in their name")
    options = parser.parse_args(arguments)
    tool.need("strace", "deps-tools")
    bench, failed, count, seen = Bench(), 0, 0, {}

    def tell(name, found, stretch=1):
        nonlocal failed, count
        count += 1
        failed += bool(found)
        more = f" ({stretch} times as slow)" if stretch > 1 and not found else ""
        print(f"  {bad('FAILED') if found else good('ok')}  {name}{more}", flush=True)
        for line in found:
            print(f"        {line}", flush=True)

    stages = [stage for stage in options.stages or STAGES if stage in bench.programs]
    with Simulation(bench.folder) as simulation:
        for script, stage in pairs(stages, options.all):
            if not options.only or options.only in script.name:
                found, stretch, here = bench.hold(simulation, script, stage)
                tell(f"{stage}: {script.name}", found, stretch)
                seen[script.name, stage] = stretch, here
        print(f"{count - failed} of {count} scripts run alike on Linux and in the simulated kernel")
        for name, right, wrong, script_name, stage in PLANTED if not options.only else ():
            script = next(s for s in [*SCRIPTS, *(more for _, more in MORE)] if s.name == script_name)
            stretch, here = seen.get((script_name, stage)) or bench.hold(simulation, script, stage)[1:]
            with plant(bench, name, right, wrong) as planted:
                noticed = compare.differences(here, bench.simulated(planted, script.text(stage, stretch)))
            tell(f"planted: {name} is noticed", [] if noticed else ["it is not"])
    return 1 if failed else 0


if __name__ == "__main__":
    tool.run(main)
