"""What runs in the namespaces of one submission (judging/grade.py starts it): make a copy of the tree, put the
submission into it, and judge it there. All of it is in memory, and ends with the namespaces.

    python3 -m judging.confine PLAN     (a file in JSON)
"""
import json
import pathlib
import shutil
import subprocess

from judging import copies, limits
from kit import processes, tool
from kit.printable import printable

SIZE = "1g"  # of the copy, and of all that is written beside it


def main(arguments):
    plan = json.loads(pathlib.Path(arguments[0]).read_text())
    folder = pathlib.Path(plan["folder"])
    if plan["namespace"]:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=755", "tmpfs", folder], check=True)
    if plan["network"]:
        limits.start_loopback()
    temporary = folder / "tmp"
    temporary.mkdir()
    temporary.chmod(0o1777)
    tree = copies.copy_tree(folder / "tree", pathlib.Path(plan["tree"]), plan["kept"])
    stage = tree / plan["stage"]
    stage.mkdir(exist_ok=True)  # one of the six, changed, is judged instead of it
    for path in plan["files"]:
        shutil.copyfile(path, stage / pathlib.Path(path).name)
    (stage / "like").write_text(plan["model"] + "\n")
    before = copies.fingerprints(tree)
    env = {**copies.environment(), "TMPDIR": str(temporary), "SERVERS_UNDER": json.dumps(plan["under"]),
           "LIBEV_SOURCE": plan["libev"]}
    result = folder / "result.json"
    process = processes.start([tree / "tests/judge.py", "check", plan["stage"], "--json", result,
                               *(["--all"] if plan["all"] else [])], cwd=tree, env=env, stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, text=True)
    _, said = processes.finish(process)
    report = json.loads(result.read_text()) if result.exists() else {
        "error": printable(said.strip()[-300:]) or f"the judge has ended: {processes.ending(process.returncode)}"}
    after = copies.fingerprints(tree)
    report["changed"] = sorted(path for path in {*before, *after} if before.get(path) != after.get(path))
    pathlib.Path(plan["result"]).write_text(json.dumps(report))
    return 0


if __name__ == "__main__":
    tool.run(main)
