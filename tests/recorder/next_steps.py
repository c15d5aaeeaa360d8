"""What a person does next, when the line that waits cannot be known from outside: the command that would show it, for
a program of this kind. Such a command runs as the same user, or with sudo."""
import os
import re

from kit import proc
from kit.report import Verbatim

_PYTHON = re.compile(r"python(3\.(\d+))?")
MOST = 60_000_000  # bytes of a program that are searched


def of(pid):
    """Return lines for people about a process that is running; [] if nothing fits."""
    exe = _exe(pid)
    name = os.path.basename(exe)
    python = _PYTHON.match(name)
    if python:
        lines = [f"py-spy dump --pid {pid}    (pip install py-spy)"]
        if python[2] and int(python[2]) >= 14:
            lines.insert(0, f"{exe} -m asyncio ps {pid}    (the tasks, and what each awaits)")
        return ["To see the line in which each thread is:", *indented(lines)]
    if name == "java":
        return ["To see the line in which each thread is:", *indented([f"jstack {pid}"])]
    if name in ("node", "nodejs"):
        return ["To see which function computes, start it with --cpu-prof, and open the profile that it",
                "writes at its end in the developer tools of Chromium:",
                *indented([f"node --cpu-prof {_arguments(pid)}"])]
    if name.startswith("ruby"):
        return ["To see the line in which each thread is:", *indented([f"rbspy dump --pid {pid}"])]
    if _is_go(exe):
        return ["To see the line in which each goroutine is (this ends the program):",
                *indented([f"kill -QUIT {pid}"])]
    if exe:
        return ["To see the function in which each thread is:",
                *indented([f"gdb -p {pid} -batch -ex 'thread apply all backtrace'"])]
    return []


def runs_tasks(pid):
    """Do the threads of a process run tasks of its own, such as goroutines? What a thread waits for is then not what a
    task waits for."""
    exe = _exe(pid)
    return os.path.basename(exe).startswith("beam") or _is_go(exe)


def indented(lines):
    return [Verbatim(f"  {line}") for line in lines]


def _exe(pid):
    try:
        return os.readlink(f"/proc/{pid}/exe").replace(" (deleted)", "")
    except OSError:
        return ""


def _arguments(pid):
    words = proc.command(pid).split(" ", 1)
    return words[1] if len(words) > 1 else ""


def _is_go(exe):
    try:
        with open(exe, "rb") as file:
            return b"\xff Go buildinf:" in file.read(MOST)
    except OSError:
        return False
