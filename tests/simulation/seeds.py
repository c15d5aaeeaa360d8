"""Run seeds: clients, signals and errors that a number chooses, against whole stages, and say which rule was broken
(seeds.mjs chooses, invariants.mjs has the rules, shrink.mjs makes what fails small)."""
import json
import time

from kit.errors import Failed
from kit.report import bad, good
from kit.tree import BUILD, ROOT, STAGES

AT_ONE_GO = 200  # seeds in one job


def model_of(stage, bundle):
    """Return the stage of the toolkit whose model a stage has."""
    of = bundle["stages"].get(stage, {}).get("of", stage)
    like = ROOT / of / "like"
    model = like.read_text().strip() if like.exists() else of
    if model not in STAGES:
        raise Failed(f"{stage}: which model is it? Begin with: make start STAGE={stage} LIKE=05-epoll")
    return model


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


def told(failure):
    """Return the lines that tell of a failure."""
    return [f"seed {failure['seed']} breaks a rule ({failure['rule']}): {failure['why']}",
            f"tests/play.py '#{failure['text']}'"]


def run(simulation, stages, first, last, folder=BUILD / "play"):
    """Run these seeds on each stage, and print a line or two for each. Return the number of stages that fail."""
    bundle = json.loads((folder / "stages.json").read_text())
    stages = stages or [stage for stage in STAGES if stage not in bundle["missing"]]
    width, failed, begun, seeds = max(map(len, stages)), 0, time.monotonic(), 0
    for stage in stages:
        if stage not in bundle["stages"]:
            reason = bundle["missing"].get(stage, f"it is not built. To build it: make play STAGE={stage}")
            raise Failed(f"{stage}: {reason}")
        failure = first_failure(simulation, stage, model_of(stage, bundle), first, last)
        seeds += failure["seed"] - first + 1 if failure else last - first + 1
        if failure:
            failed += 1
            print(f"{stage:{width}}  {bad('FAILED')}", *told(failure), sep="\n    ", flush=True)
        else:
            print(f"{stage:{width}}  {good('ok')}  {last - first + 1} seeds", flush=True)
    took = time.monotonic() - begun
    print(f"{seeds} runs in {took:.1f} s, {failed} of {len(stages)} stages failed")
    return failed


def numbers(text):
    """Return (first, last) for "200" or "201-400"."""
    first, dash, last = text.partition("-")
    if not (text.isascii() and first.isdigit() and (last.isdigit() or not dash)):
        raise ValueError
    first, last = (int(first), int(last)) if dash else (1, int(first))
    if not 1 <= first <= last <= 10 ** 9:
        raise ValueError
    return first, last

