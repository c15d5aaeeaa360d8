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

SIZE = "1g"       # of the copy, and of what the judge writes beside it
ITS_OWN = "256m"  # of what a server may write


def main(arguments):
    plan = json.loads(pathlib.Path(arguments[0]).read_text())
    folder = pathlib.Path(plan["folder"])
    ours, its_own = folder / "ours", folder / "tmp"
    if plan["read_only"]:
        subprocess.run(["mount", "--bind", folder.parent, folder.parent], check=True)  # it has the result
        limits.make_read_only(str(folder.parent))
    if plan["namespace"]:
        mount_memory(folder, SIZE, "755")
    if plan["network"]:
        limits.start_loopback()
    ours.mkdir()
    its_own.mkdir()
    its_own.chmod(0o1777)
    if plan["namespace"]:
        mount_memory(its_own, ITS_OWN, "1777")
    tree = copies.copy_tree(folder / "tree", pathlib.Path(plan["tree"]), plan["kept"])
    stage = tree / plan["stage"]
    stage.mkdir(exist_ok=True)  # one of the six, changed, is judged instead of it
    for path in plan["files"]:
        shutil.copyfile(path, stage / pathlib.Path(path).name)
    (stage / "like").write_text(plan["model"] + "\n")
    before = copies.fingerprints(tree)
    under = [*plan["under"], "env", f"TMPDIR={its_own}"]
    # (TEMP is what Check reads, in the unit tests.)
    env = {**copies.environment(), "TMPDIR": str(ours), "TEMP": str(ours), "SERVERS_UNDER": json.dumps(under),
           "LIBEV_SOURCE": plan["libev"]}
    result = ours / "result.json"
    process = processes.start([tree / "tests/judge.py", "check", plan["stage"], "--like", plan["model"],
                               "--json", result, *(["--all"] if plan["all"] else [])], cwd=tree, env=env,
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    _, said = processes.finish(process)
    report = json.loads(result.read_text()) if result.exists() else {
        "error": printable(said.strip()[-300:]) or f"the judge has ended: {processes.ending(process.returncode)}"}
    after = copies.fingerprints(tree)
    report["changed"] = sorted(path for path in {*before, *after} if before.get(path) != after.get(path))
    pathlib.Path(plan["result"]).write_text(json.dumps(report))
    return 0


def mount_memory(folder, size, mode):
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode={mode}", "tmpfs", folder], check=True)


if __name__ == "__main__":
    tool.run(main)
