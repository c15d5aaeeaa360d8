"""What /proc tells of processes, threads and listening sockets."""
import contextlib
import functools
import os
import pathlib
import re
import shlex
import subprocess
import sys
from typing import NamedTuple, Optional

_LISTEN = "0A"  # TCP_LISTEN of <netinet/tcp.h>


def read(path):
    """The text of a file in /proc; "" if it is gone or may not be read."""
    with contextlib.suppress(OSError):
        return pathlib.Path(path).read_text(errors="replace")
    return ""


def all_pids():
    return sorted(int(pid) for pid in os.listdir("/proc") if pid.isdigit())


def descriptors(pid, inodes):
    """{descriptor: inode} of those of a process that are one of these sockets, as far as we may look."""
    wanted = {f"socket:[{inode}]": inode for inode in inodes}
    return {int(fd): wanted[name] for fd, name in _links(pid) if name in wanted}


def _links(pid):
    """What the descriptors of a process are: (descriptor, name)."""
    with contextlib.suppress(OSError):
        for fd in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                yield fd, os.readlink(f"/proc/{pid}/fd/{fd}")


def listeners(port):
    """The inodes of the sockets that listen on a port."""
    words = [line.split() for name in ("tcp", "tcp6") for line in read(f"/proc/net/{name}").splitlines()[1:]]
    return {int(inode) for _, local, _, state, _, _, _, _, _, inode, *_ in words
            if state == _LISTEN and local.endswith(f":{port:04X}")}


def serving(port):
    """Return the processes that listen on a port, as far as we may look."""
    inodes = listeners(port)
    return [pid for pid in all_pids() if descriptors(pid, inodes)]


def threads(pid):
    with contextlib.suppress(OSError):
        return sorted(int(tid) for tid in os.listdir(f"/proc/{pid}/task"))
    return []


def tracer(tid, pid):
    """The process that traces a thread, or 0; -1 if the thread has ended."""
    found = re.search(r"TracerPid:\s+(\d+)", read(f"/proc/{pid}/task/{tid}/status"))
    return int(found[1]) if found else -1


def epolls(pid):
    """{epoll descriptor: [the descriptors that it watches]}."""
    infos = {int(fd): read(f"/proc/{pid}/fdinfo/{fd}") for fd, name in _links(pid) if "eventpoll" in name}
    return {fd: list(map(int, re.findall(r"^tfd:\s+(\d+)", info, re.M))) for fd, info in infos.items()}


def users_of(path):
    """The processes that have a file open."""
    return [pid for pid in all_pids() if any(name == str(path) for _, name in _links(pid))]


def command(pid):
    """The command line of a process, for people."""
    return shlex.join(read(f"/proc/{pid}/cmdline").rstrip("\0").split("\0"))


def name(pid):
    return read(f"/proc/{pid}/comm").strip()


def is_32_bit(pid):
    """Return whether a process runs a 32-bit program, whose system calls have other numbers than ours."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/exe", "rb") as file:
        return file.read(5) == b"\x7fELF\x01" and sys.maxsize > 1 << 32
    return False


@functools.lru_cache(maxsize=None)
def call_names():
    """{number: name} of the system calls of this machine, from the headers of its C library."""
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        defines = subprocess.run(["cc", "-E", "-dM", "-include", "asm/unistd.h", "-x", "c", os.devnull],
                                 capture_output=True, text=True, timeout=10).stdout
        return {int(number): name for name, number in re.findall(r"#define __NR_(\w+) (\d+)$", defines, re.M)}
    return {}


def call_name(number):
    return call_names().get(number, f"system call {number}")


class Place(NamedTuple):
    """Where a thread is at a moment."""
    state: str                       # a letter of proc(5), status
    number: Optional[int] = None     # the system call in which it is blocked, as far as we may see that
    argument: Optional[int] = None   # the first one of this call
    function: Optional[str] = None   # otherwise the kernel's function, as far as we may see that

    @property
    def call(self):
        """The name of the system call, or None if it is unknown."""
        return call_names().get(self.number)


def place(pid, tid):
    """Return where a thread is; None if it has ended."""
    folder = f"/proc/{pid}/task/{tid}"
    state = re.search(r"^State:\s+(\w)", read(f"{folder}/status"), re.M)
    if state is None:
        return None
    number, *arguments = read(f"{folder}/syscall").split() or [""]
    if state[1] == "R" or number == "running":
        return Place("R")
    if number.isdigit() and not is_32_bit(pid):
        return Place(state[1], int(number), int(arguments[0], 16))
    function = read(f"{folder}/wchan")
    return Place(state[1], function=function if function not in ("", "0") else None)


def children(pid):
    """Return the pids of the children of a process, those included that have ended and are not reaped yet."""
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            if stat(entry)[1] == str(pid):
                found.append(int(entry))
    return found


def family(pid):
    """Return the pids of a process and of all its descendants."""
    return [pid, *(member for child in children(pid) for member in family(child))]


def stat(pid):
    """Return the fields of /proc/PID/stat from the third on, which is the state (proc(5))."""
    return pathlib.Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
