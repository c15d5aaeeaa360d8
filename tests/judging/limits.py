"""Limits for a program of somebody else, as far as this machine lets us set them. They are no sandbox: they stop what
goes wrong, not who means harm."""
import fcntl
import os
import pathlib
import pwd
import re
import shutil
import socket
import struct
import subprocess
import sys
from typing import Dict, List, NamedTuple

from kit import proc, tool
from suite.activity import family

FIRST_USER = 59000  # of the users that have no name, one for each judge that runs


class Limits(NamedTuple):
    """What each submission is given."""
    seconds: int
    memory: int       # MiB, of all its processes
    processes: int    # and threads
    namespace: List[str]     # the command under which its judge runs; [] if that is refused
    network: bool            # has that a network of its own, without a way out?
    read_only: bool          # can all files but its own be read-only for it?
    user: bool               # may its server run as another user?
    refused: Dict[str, str]  # a limit, and why this machine refuses it


OWN = ["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1  # netdevice(7)


def find_limits(seconds, memory, processes):
    """Try out what this machine allows."""
    refused, namespace, network = {}, [], False
    for more in [["--net"], [], ["--user", "--map-root-user", "--net"], ["--user", "--map-root-user"]]:
        command, network = ["unshare", *OWN, *more], "--net" in more
        why = "unshare is missing (util-linux)" if shutil.which("unshare") is None else \
            complaint(command, *(tool.module("judging.limits", "start_loopback") if network else ["true"]))
        if why is None:
            namespace = command
            break
        refused["network of its own" if network else "processes of its own"] = why
    if namespace:
        refused.pop("processes of its own", None)
    if network:
        refused.pop("network of its own", None)
    files = complaint(namespace, *tool.module("judging.limits", "make_read_only")) if namespace else \
        refused["processes of its own"]
    if files:
        refused["files outside of its copy"] = files
    why = complaint([*namespace, *as_user(FIRST_USER)])
    if why:
        refused["user of its own"] = why
    if why and os.geteuid() == 0:
        refused["number of processes"] = "the kernel does not count those of root"
    return Limits(seconds, memory, processes, namespace, bool(namespace) and network, not files, not why, refused)


def start_loopback():
    """A new network namespace has a loopback device, which is down."""
    with socket.socket() as any_socket:
        request = struct.pack("16sH14x", b"lo", 0)
        flags = struct.unpack("16sH14x", fcntl.ioctl(any_socket, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | IFF_UP))


def make_read_only(*kept):
    """Make what is mounted in this mount namespace read-only, but for what is at these places: else a server could
    leave a file in each folder in which all may write, or fill the disk."""
    for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")  # proc_pid_mountinfo(5)
        point, options = before.split()[4:6]
        point = re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), point)
        kind = after.split()[0]
        if "rw" in options.split(",") and kind not in ("proc", "devpts") and not point.startswith(kept):
            done = subprocess.run(["mount", "-o", "remount,bind,ro", point], stderr=subprocess.PIPE, text=True)
            if done.returncode != 0:
                sys.exit(done.stderr.strip())


def complaint(command, *other):
    """Return why a command does not start another, or None if it does."""
    tried = subprocess.run([*command, *(other or ["true"])], capture_output=True, text=True,
                           stdin=subprocess.DEVNULL, check=False)
    return None if tried.returncode == 0 else (tried.stderr.strip().splitlines() or ["unknown"])[-1]


def as_user(number):
    """Return a command that runs another as a user who has no right but its own."""
    return ["setpriv", "--reuid", str(number), "--regid", str(number), "--clear-groups", "--no-new-privs",
            "--inh-caps=-all", "--bounding-set=-all", "--pdeathsig", "KILL", "--"]


def free_user(number):
    """Return the first user from that number on that does not exist on this machine."""
    known = {user.pw_uid for user in pwd.getpwall()}
    return next(user for user in range(FIRST_USER + number, FIRST_USER + 1000) if user not in known)


def for_server(limits, lane):
    """Return the command under which a server runs. lane tells it from the servers that run meanwhile."""
    most = limits.processes + (0 if limits.user else tasks_of(os.getuid()))
    return [*["prlimit", f"--nproc={most}"], *(as_user(free_user(lane)) if limits.user else [])]


def tasks_of(user):
    """Return how many processes and threads a user has."""
    return sum(len(proc.threads(pid)) for pid in proc.all_pids()
               if proc.read(f"/proc/{pid}/status").partition("\nUid:\t")[2].split("\t")[0] == str(user))


def memory_of(pid):
    """Return how much memory a process and its descendants have, in MiB."""
    pages = [proc.read(f"/proc/{member}/statm").split()[1:2] for member in family(pid)]
    return sum(int(each[0]) for each in pages if each) * os.sysconf("SC_PAGE_SIZE") >> 20


if __name__ == "__main__":
    {"start_loopback": start_loopback, "make_read_only": make_read_only}[sys.argv[1]]()
