"""Check each submission in a folder, each in a copy of the tree of its own, and write a table."""
import dataclasses
import fcntl
import hashlib
import json
import os
import pathlib
import re
import shutil
import time

from judging import copies, limits, results, skeleton
from kit import processes, tool
from kit.errors import Failed
from kit.printable import printable
from kit.report import bad, good
from kit.tree import BUILD
from simulation import libev

# option, what it limits, the usual value, and the most
LIMITS = [("seconds", "seconds", 600, 86400), ("memory", "MiB of memory", 2048, 1 << 20),
          ("processes", "processes and threads", 2000, 1 << 20)]
HELP = """\
FOLDER has a folder for each submission, with server.c, its headers, and a file "like",
which names the stage whose model it has (--like is for submissions without one). grade
judges each submission in a copy of the tree, and runs its server as another user, who
can write only to one folder, in memory. So run grade as root. If you stop grade and run
it again, it goes on where it was. It judges a submission again if that has changed. The
results are in FOLDER/grades.json.

This is no sandbox: it stops mistakes, not an attack. A limit that this machine refuses
is named in each row. If you do not know the people, run it in the container of README.md:
"docker run" then takes --volume for the folder, --network=none, and --cap-add=SYS_ADMIN,
without which unshare(1) may be refused."""
KEPT = [*copies.KEPT, "asan/obj", "asan/flags", "tsan/obj", "tsan/flags"]
MOST_BYTES = 1 << 20  # of all files that one submission has


@dataclasses.dataclass
class Submission:
    """What somebody has handed in."""
    name: str
    files: list   # of C
    model: str    # "": unknown
    flaw: str     # why it cannot be judged, or ""

    @property
    def stage(self):
        """Its name in the copy: what its server calls itself."""
        text = "".join(path.read_text(errors="replace") for path in self.files if path.name == "server.c")
        named = re.search(r'"(\d\d-[a-z0-9][a-z0-9-]{0,30})"', text)
        return named[1] if named else f"90-{self.model[3:]}"

    def state(self, judge):
        """Return something that changes when it has changed, or the judge has."""
        parts = [judge.encode(), self.model.encode()]
        for path in self.files:
            parts += [os.fsencode(path.name), path.read_bytes()]
        return hashlib.sha256(b"\0".join(parts)).hexdigest()


def find(folder, like):
    """Return the submissions in a folder."""
    try:
        entries = sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")
    except OSError as error:
        raise Failed(f"{folder}: {error.strerror}") from None
    if not entries:
        raise Failed(f"{folder}: there is no folder in it; want one for each submission, with its server.c")
    return [read(path, like) for path in entries]


def read(folder, like):
    """Return the submission in a folder, or in the only stage in that folder."""
    places = [path.parent for path in [folder / "server.c", *sorted(folder.glob("*/server.c"))] if path.is_file()]
    if len(places) != 1:
        found = f"{len(places)} files server.c" if places else "no server.c"
        return Submission(folder.name, [], "", f"there is {found} in it")
    files = sorted(path for path in places[0].glob("*.[ch]") if path.is_file())
    flaws = [f"{path.name} is a link" for path in dict.fromkeys([folder, *places, *files]) if path.is_symlink()]
    if sum(path.stat().st_size for path in files) > MOST_BYTES:
        flaws.append("its files are larger than 1 MiB")
    note = places[0] / "like"
    noted = note.is_file() and not note.is_symlink() and note.stat().st_size < 100
    model = note.read_text(errors="replace").strip() if noted else like or ""
    if model not in skeleton.CUTS:
        flaws.append(f"which model is it? {f'like: {model[:40]}' if model else 'It needs --like, or like'}")
        model = ""
    return Submission(folder.name, files, model, "; ".join(flaws))


# ---- one submission

@dataclasses.dataclass
class Row:
    """A submission that is being judged."""
    submission: Submission
    lane: int
    given: limits.Limits
    process: object
    began: float
    folder: pathlib.Path
    used: int = 0  # MiB, the most so far

    def overrun(self):
        """Return which limit it has passed, or None."""
        self.used = max(self.used, limits.memory_of(self.process.pid))
        if self.used > self.given.memory:
            return f"it used more than {self.given.memory} MiB of memory"
        if time.monotonic() - self.began > self.given.seconds:
            return f"it took longer than {self.given.seconds} s"
        return None

    def report(self, stopped):
        """Return what has come of it."""
        processes.stop(self.process, patience=0 if stopped else 5)
        found = results.read(self.folder / "result.json")
        said = (self.folder / "log").read_text(errors="replace").strip()
        if stopped:
            found = {"error": stopped}
        elif found is None:
            found = {"error": printable(said[-300:]) or processes.ending(self.process.returncode)}
        elif found.get("changed"):
            found = {"error": f"it has changed files of the judge: {', '.join(found['changed'][:3])}"}
        return {"name": self.submission.name, "model": self.submission.model,
                "seconds": round(time.monotonic() - self.began, 1), "MiB": self.used,
                "refused": self.given.refused, **found}


def begin(submission, lane, given, tree, options):
    """Start the judge of a submission."""
    folder = tool.scratch() / f"row-{lane}-{time.monotonic_ns()}"
    folder.mkdir()
    tool.scratch().chmod(0o711)  # the server is another user, and is below it
    plan = {"folder": str(folder / "copy"), "tree": str(tree), "kept": KEPT, "stage": submission.stage,
            "model": submission.model, "files": [str(path) for path in submission.files], "all": options.all,
            "under": limits.for_server(given, lane), "namespace": bool(given.namespace), "network": given.network,
            "read_only": given.read_only,
            "libev": os.environ.get("LIBEV_SOURCE", "none"), "result": str(folder / "result.json")}
    (folder / "copy").mkdir()
    (folder / "plan").write_text(json.dumps(plan))
    with open(folder / "log", "w") as log:
        process = processes.start([*given.namespace, *tool.module("judging.confine", folder / "plan")],
                                  stdout=log, stderr=log)
    return Row(submission, lane, given, process, time.monotonic(), folder)


def clean_tree():
    """Return a copy of the tree with all that is the same for each submission, built."""
    tree = copies.copy_tree(tool.scratch() / "tree")
    copies.make(tree, "probe", "check_http", "check_connections", "build/obj/tests/judging/turn_order.o")
    for kind, folder in ("address", "asan"), ("thread", "tsan"):
        common = [f"build/{folder}/obj/{path.relative_to(tree).with_suffix('.o')}" for path in tree.glob("common/*.c")]
        try:
            copies.make(tree, f"BUILD=build/{folder}", f"SANITIZE={kind}", *common)
        except Failed:
            continue  # the rung says that it cannot be built
    return tree


# ---- all of them

def run(options):
    folder = pathlib.Path(options.name).resolve()
    submissions = find(folder, options.like)
    path = options.json or folder / "grades.json"
    claim = claim_results(path)
    given = limits.find_limits(options.seconds, options.memory, options.processes)
    tree = clean_tree()
    judge = json.dumps([copies.fingerprints(tree), given, options.all])
    known = before(path)
    print(f"{len(submissions)} submissions. {headline(given)}")
    done = {}
    states = {submission.name: submission.state(judge) for submission in submissions if not submission.flaw}
    for submission in submissions:
        if submission.flaw:
            done[submission.name] = {"name": submission.name, "model": submission.model, "error": submission.flaw}
        elif known.get(submission.name, {}).get("state") == states[submission.name]:
            done[submission.name] = known[submission.name]
    results.write(path, as_json(given, done.values()))  # if that fails, then now
    for row in done.values():
        show(row, "as before" if "state" in row else "")
    left = [submission for submission in submissions if submission.name not in done]
    if "06-libev" in {submission.model for submission in left}:
        found, _ = libev.source(BUILD / "play")
        os.environ.setdefault("LIBEV_SOURCE", str(found or "none"))
    for row, submission in judged(left, given, tree, options):
        done[submission.name] = {**row, "state": states[submission.name]}
        show(row)
        results.write(path, as_json(given, [done[each.name] for each in submissions if each.name in done]))
    pathlib.Path(claim.name).unlink()
    print(f"{sum(bool(row.get('top')) for row in done.values())} of {len(submissions)} at the top. {path} has it all.")
    return 0


def claim_results(path):
    """Let no other grade write these results until this one ends, and remove the temporary files of an earlier one that
    was killed. Return the file that says so."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        name = path.with_name(f".{path.name}.temporary")
        while True:
            claim = open(name, "a+", errors="replace")
            fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if name.exists() and os.path.samestat(os.fstat(claim.fileno()), name.stat()):
                break
            claim.close()  # one that ended meanwhile has removed it
    except BlockingIOError:
        raise Failed(f"{path}: another grade is writing it") from None
    except OSError as error:
        raise Failed(f"{path}: cannot be written: {error.strerror}") from None
    claim.seek(0)
    left = pathlib.Path(claim.read())
    if re.fullmatch("toolkit-[0-9a-f]{16}", left.name):
        shutil.rmtree(left, ignore_errors=True)
    claim.truncate(0)
    print(tool.scratch(), file=claim, end="", flush=True)
    return claim


def before(path):
    """Return the rows of an earlier run by their names, as far as the file has any."""
    found = results.read(path)
    rows = found.get("submissions") if isinstance(found, dict) else None
    return {row["name"]: row for row in rows if isinstance(row, dict) and {"name", "state"} <= row.keys()} \
        if isinstance(rows, list) else {}


def judged(left, given, tree, options):
    """Judge submissions, as many simultaneously as there are processors. Yield what has come of each."""
    waiting, rows = list(left), []
    while waiting or rows:
        free = sorted(set(range(os.cpu_count() or 1)) - {row.lane for row in rows})
        for lane in free[:len(waiting)]:
            rows.append(begin(waiting.pop(0), lane, given, tree, options))
        time.sleep(0.1)
        for row in list(rows):
            stopped = row.overrun() if row.process.poll() is None else None
            if stopped or row.process.poll() is not None:
                rows.remove(row)
                yield row.report(stopped), row.submission


def as_json(given, rows):
    limited = {name: getattr(given, name) for name, *_ in LIMITS}
    return json.dumps({"limits": limited, "refused": given.refused, "submissions": list(rows)}, indent=1) + "\n"


def headline(given):
    return (f"Each has {given.seconds} s, {given.memory} MiB and {given.processes} processes and threads. "
            "This is no sandbox: see --help.")


def show(row, more=""):
    """Print the row of a submission."""
    fell = next((rung for rung in row.get("rungs", []) if rung["result"] == "failed"), None)
    skipped = [f"{rung['rung']} ({rung['reason']})" for rung in row.get("rungs", []) if rung["result"] == "skipped"]
    total = len(row.get("rungs", []))
    result = "not judged" if "error" in row else f"rung {fell['number']} of {total}" if fell else \
        "the top" if row["top"] else f"{row['passed']} of {total} passed"
    color = bad if "error" in row or fell else good
    who = f"{printable(row['name']):16} {row['model'] or '?':12}"
    print(f"  {who} {color(f'{result:16}')} {row.get('seconds', 0):6.1f} s  {more}".rstrip())
    lines = [row["error"]] if "error" in row else []
    lines += [fell["rung"], *fell["reason"].splitlines()[:4]] if fell else []
    lines += [f"left out: {', '.join(skipped)}"] if skipped else []
    lines += [f"not limited here: {what} ({why})" for what, why in row.get("refused", {}).items()]
    for line in lines:
        print(f"      {printable(line)}")
