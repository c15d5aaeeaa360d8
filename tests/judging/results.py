"""What the judge has found out, as JSON: for a teacher, or for another program."""
import json
from typing import NamedTuple, Optional

from judging.ladder import Rung
from kit import tool
from kit.errors import Failed
from suite.server import Failure

OUTCOMES = {"ok": "passed", "FAIL": "failed", "--": "skipped"}


class Tried(NamedTuple):
    """A rung, and what came of it."""
    rung: Rung
    result: str                 # "ok", "FAIL", "--" (it was left out)
    seconds: float = 0
    fell: Optional[Failure] = None
    reason: str = ""            # why it was left out


def fallen(tried):
    """Return the rungs that are not passed, each with what happened."""
    return [(each.rung, each.fell) for each in tried if each.result == "FAIL"]


def left_out(tried):
    return [each for each in tried if each.result == "--"]


def as_json(stage, tried, ladder):
    """Return the result as what JSON has. ladder: all rungs that there are for this server."""
    rows = []
    for number, rung in enumerate(ladder, 1):
        each = next((each for each in tried if each.rung is rung), None)
        row = {"number": number, "rung": rung.title, "result": OUTCOMES[each.result] if each else "not tried"}
        if each and each.result == "--":
            row["reason"] = each.reason
        elif each:
            row["seconds"] = round(each.seconds, 1)
        if each and each.fell:
            row["reason"] = each.fell.got
            row["expected"] = each.fell.expected
            row["did"] = each.fell.did
        rows.append(row)
    counts = {outcome: sum(row["result"] == outcome for row in rows) for outcome in [*OUTCOMES.values(), "not tried"]}
    return {"server": stage.name if stage.in_tree else stage.url or stage.shown(), "model": stage.model,
            "top": counts["passed"] == len(rows), **counts, "rungs": rows}


def write(path, text):
    """Write a file in one step, and make its folder if that is missing."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        tool.write(path, text)
    except OSError as error:
        raise Failed(f"{path}: cannot be written: {error.strerror}") from None


def read(path, parse=json.loads):
    """Return what is written in such a file; None if it is not there, or damaged."""
    try:
        return parse(path.read_text())
    except (OSError, ValueError):
        return None
