"""Run seeds: clients, signals and errors that a number chooses, against whole stages, and say which rule was broken
(seeds.mjs chooses, invariants.mjs has the rules, shrink.mjs makes what fails small)."""
import time

from kit.errors import Failed
from kit.report import bad, good
from kit.tree import ROOT, STAGES
from servers.bugs.bug import Bug, every_name
from simulation import build
from simulation.engine import Simulation

AT_ONE_GO = 200  # seeds in one job

# Bugs of the gallery that no seed can reach, by what a seed would need.
BEYOND = {
    "a malformed request, or another body: those of a seed are well formed": [
        "bare-lf", "chunked-not-last", "host-unchecked", "quote-in-the-log"],
    "more than one process (--workers)": [
        "a-diagnostic-ends-the-server", "blocking-listener", "leaver-takes-clients-along", "stopped-child"],
    "a stderr that nobody reads, or none": ["frozen-by-its-log", "stderr-is-a-client"],
    "more than 1,000 clients": ["fd-set-overflow"],
    "a loop that is busy while time passes: here, calls take none": ["deaf-under-load"],
    "two threads that run simultaneously: here, one runs until its next call": ["result-without-the-lock"],
    "a library that makes calls of its own: that of the simulation makes none": ["zone-file-in-http-date"],
}


def model_of(stage, bundle):
    """Return the stage of the toolkit whose model a stage has, or None."""
    of = bundle["stages"].get(stage, {}).get("of", stage or "")
    like = ROOT / of / "like"
    model = like.read_text().strip() if like.exists() else of
    return model if model in STAGES else None


def first_failure(simulation, stage, model, first, last):
    """Return what the first seed that fails broke, shrunk: {seed, rule, why, text}; or None."""
    for begin in range(first, last + 1, AT_ONE_GO):
        answer = simulation.ask(seeds=[begin, min(begin + AT_ONE_GO - 1, last)], stage=stage, model=model)
        if "error" in answer:
            raise Failed(answer["error"])
        if "failure" not in answer:
            raise Failed(f"{stage}: {answer['stopped']}")
        if answer["failure"]:
            return answer["failure"]
    return None


def told(failure, more=""):
    """Return the lines that tell of a failure."""
    return [f"seed {failure['seed']} breaks a rule ({failure['rule']}): {failure['why']}",
            f"tests/play.py {more}'#{failure['text']}'"]


def run(simulation, stages, first, last, more=""):
    """Run these seeds on each stage, and print a line or two for each. more: options for the command that shows a
    failure again. Return the number of stages that fail."""
    bundle = simulation.bundle()
    stages = stages or [stage for stage in STAGES if stage in bundle["stages"]]
    width, failed, begun, seeds = max(map(len, stages)), 0, time.monotonic(), 0
    for stage in stages:
        if stage not in bundle["stages"]:
            reason = bundle["missing"].get(stage, f"it is not built. To build it: make play STAGE={stage}")
            raise Failed(f"{stage}: {reason}")
        model = model_of(stage, bundle)
        if model is None:
            raise Failed(f"{stage}: which model is it? Begin with: make start STAGE={stage} LIKE=05-epoll")
        failure = first_failure(simulation, stage, model, first, last)
        seeds += failure["seed"] - first + 1 if failure else last - first + 1
        if failure:
            failed += 1
            print(f"{stage:{width}}  {bad('FAILED')}", *told(failure, more), sep="\n    ", flush=True)
        else:
            print(f"{stage:{width}}  {good('ok')}  {last - first + 1} seeds", flush=True)
    took = time.monotonic() - begun
    pace = "" if failed else f" ({seeds / took * 60:,.0f} a minute)"  # to shrink a failure takes longer
    print(f"{seeds} runs in {took:.1f} s{pace}, {failed} of {len(stages)} stages failed")
    return failed


# ---- bugs of the gallery

def home_of(bug):
    """Return the stage in which seeds look for a bug: the first that it is in, or whose tests notice it."""
    noticed = [where for where, _ in bug.catchers if where in STAGES]
    return bug.stage or (noticed or ["05-epoll"])[0]


def why_beyond(name):
    """Return why no seed can reach a bug, or None if one can."""
    return next((reason for reason, names in BEYOND.items() if name in names), None)


def planted(name, stage=None):
    """Return a Simulation of a stage in which this bug is planted."""
    if name not in every_name():
        raise Failed(f"{name}: there is no tests/servers/bugs/{name}.bug")
    return Simulation(build.build_alone(stage or home_of(Bug(name)), name))


def hunt(names, first, last):
    """Plant each bug in turn, run these seeds, and print which are found. Return whether half of those that seeds can
    reach are."""
    found, reachable, width = 0, 0, max(map(len, names))
    for name in names:
        beyond = why_beyond(name)
        if beyond:
            print(f"{name:{width}}  beyond  {beyond}", flush=True)
            continue
        reachable += 1
        stage = home_of(Bug(name))
        with planted(name, stage) as simulation:
            failure = first_failure(simulation, stage, stage, first, last)
        if failure:
            found += 1
            print(f"{name:{width}}  {good('found')}  {stage}", *told(failure, f"--bug {name} "),
                  sep="\n    ", flush=True)
        else:
            print(f"{name:{width}}  {bad('missed')}  {stage}", flush=True)
    print(f"{found} of {reachable} bugs found with {last - first + 1} seeds each; "
          f"{len(names) - reachable} are beyond seeds")
    return 2 * found >= reachable


def numbers(text):
    """Return (first, last) for "200" or "201-400"."""
    first, dash, last = text.partition("-")
    if not (text.isascii() and first.isdigit() and (last.isdigit() or not dash)):
        raise ValueError
    first, last = (int(first), int(last)) if dash else (1, int(first))
    if not 1 <= first <= last <= 10 ** 9:
        raise ValueError
    return first, last
