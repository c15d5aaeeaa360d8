"""Record: start a server under strace, or attach to one, ask it, and return the log as text."""
import os
import pathlib
import re
import shutil
import subprocess

import lab
import strace_log
import symbols
from understand import checksum

OPTIONS = ["-f", "-ttt", "-T", "-y", "-s", "256"]


# ---- may we trace?

def check():
    """Fail, with advice, if this process may not trace its children. Return the options for a stack."""
    lab.need("strace", "deps-tools")
    tried = subprocess.run(["strace", "-D", "-o", "/dev/null", "true"], capture_output=True, text=True)
    if tried.returncode != 0 or "strace:" in tried.stderr:
        raise lab.Failed(f"strace may not trace here ({_last_line(tried.stderr)}). {advice()}")
    stack = subprocess.run(["strace", "-k", "-o", "/dev/null", "true"], capture_output=True, text=True)
    return ["-k"] if stack.returncode == 0 and not stack.stderr else []


def _last_line(text):
    return (text.strip().splitlines() or ["no reason given"])[-1].replace("strace: ", "")


def ptrace_scope():
    try:
        return int(pathlib.Path("/proc/sys/kernel/yama/ptrace_scope").read_text())
    except (OSError, ValueError):
        return 0


def advice():
    """How to allow what is forbidden."""
    if _traced_by(os.getpid()):
        return "This process is traced itself, by strace or a debugger: start it without."
    scope = ptrace_scope()
    if scope == 3:
        return "kernel.yama.ptrace_scope is 3: nothing may be traced until the next boot."
    if scope == 2:
        return "kernel.yama.ptrace_scope is 2: try again with sudo, or allow it: sudo sysctl kernel.yama.ptrace_scope=1"
    return "In a container, allow it from outside: docker run --cap-add SYS_PTRACE ..."


def _traced_by(pid):
    """The process that traces pid, or 0."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"TracerPid:\s+(\d+)", status)[1])


# ---- a server under strace

class Tracer:
    """strace as a grandchild of ours (-D): the server is our child, so signals reach it directly and it does
    not outlive us; strace ends when the last of its processes has ended."""

    def __init__(self, stack):
        self.log = lab.scratch() / f"strace-{os.urandom(4).hex()}"
        self.prefix = ["strace", "-D", *OPTIONS, *stack, "-o", str(self.log)]

    def text(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""


def finished(log):
    """Wait until strace has written the end of each process."""
    return lab.wait_until(lambda: not _writers(log), 5)


def _writers(path):
    """Processes that have this file open: strace itself."""
    found = []
    for pid in os.listdir("/proc"):
        try:
            if pid.isdigit() and any(os.readlink(f"/proc/{pid}/fd/{fd}") == str(path)
                                     for fd in os.listdir(f"/proc/{pid}/fd")):
                found.append(int(pid))
        except OSError:
            continue
    return found


def record_stage(name, options, shots, stack, timeout):
    """Record a stage of ours. Return the text of the log."""
    stage, flags = ("06-libev", ["--block"]) if name == "trap" else (name, [])
    tracer = Tracer(stack)
    server = lab.Server(stage, *options, *flags, under=tracer.prefix)
    rows = lab.probe(server.url, *shots, timeout=timeout, ports=True)
    server.stop()
    finished(tracer.log)
    title = " ".join([stage, *flags])
    command = " ".join(["build/" + stage, *options, *flags])
    return compose(tracer.text(), rows, {"recording": title, "command": command, "url": server.url,
                                         "slow": "/slow", "fast": "/fast"})


# ---- the log, with what strace cannot know

def compose(text, rows, header):
    """Put the lines that tell the rest before a log of strace."""
    text = _without_root(text)
    lines = [f"{key}: {value}" for key, value in header.items()]
    columns = list(rows[0])
    columns.remove("took_ms")
    lines += ["probe: " + "\t".join(columns)]
    lines += ["probe: " + "\t".join(row[column] for column in columns) for row in rows]
    log, = strace_log.read(text)
    frames = symbols.header_lines(log)
    lines += frames
    lines += [f"source: {name} {checksum(lab.ROOT / name)}" for name in _files(frames)]
    return "".join(f"# {line}\n" for line in lines) + text


def _files(frames):
    names = {name for line in frames for name in re.findall(r" (\S+):\d+(?=;|$)", line)}
    return sorted(name for name in names if (lab.ROOT / name).is_file() and not name.startswith("/"))


def _without_root(text):
    return text.replace(f"{lab.ROOT}/", "").replace(str(lab.ROOT), ".")
