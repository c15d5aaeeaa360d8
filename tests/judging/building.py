"""Build the reader's stage; and a second time, with a sanitizer, which says where a mistake is (gcc(1),
-fsanitize)."""
import contextlib
import dataclasses
import fcntl
import os
import subprocess

from kit import processes, servers, tool
from kit.processes import PIPES
from kit.tree import BUILD, ROOT


def make(targets, tree=ROOT, **variables):
    """Run make in a tree, with the variables of the make that has started us, and more, but not with its
    options."""
    env = {name: value for name, value in os.environ.items() if name not in ("MFLAGS", "MAKELEVEL")}
    env["MAKEFLAGS"] = "".join(os.environ.get("MAKEFLAGS", "").partition("-- ")[1:])
    env["LC_ALL"] = "C"
    variables = {"BUILD": os.path.relpath(BUILD, ROOT), **variables}
    words = [f"{name}={value}" for name, value in variables.items()]
    process = processes.start(["make", "-s", *words, *targets], cwd=tree, env=env, **PIPES)
    out, err = processes.finish(process)
    return subprocess.CompletedProcess(targets, process.returncode, out, err)


def built_with(stage, sanitizer):
    """Return the stage, built with a sanitizer; None if that is not possible here."""
    folder = BUILD / {"address": "asan", "thread": "tsan"}[sanitizer]
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as lock:  # for another judge in the same tree
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = make([stage.name], BUILD=os.path.relpath(folder, ROOT), SANITIZE=sanitizer)
    if made.returncode != 0:
        return None
    return dataclasses.replace(stage, command=[str(folder / stage.name)], sanitizer=sanitizer)


@contextlib.contextmanager
def reports(stage, leaks=False):
    """Let the programs that are started meanwhile write their reports to files. Yield a function that returns
    the reports so far. With leaks, AddressSanitizer also reports what nobody has freed at the end."""
    folder = tool.scratch() / f"reports-{stage.name}-{stage.sanitizer}"
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    if servers.UNDER:  # another user writes there
        folder.parent.chmod(0o711)
        folder.chmod(0o777)
    name = {"address": "ASAN_OPTIONS", "thread": "TSAN_OPTIONS"}[stage.sanitizer]
    before = os.environ.get(name)
    os.environ[name] = f"log_path={folder}/report:handle_abort=1:detect_leaks={leaks:d}:exitcode=66"
    try:
        yield lambda: [path.read_text(errors="replace") for path in sorted(folder.iterdir())]
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
