"""What /proc tells of processes, threads and listening sockets."""
import contextlib
import functools
import ipaddress
import os
import pathlib
import re
import shlex
import struct
import sys
from typing import NamedTuple, Optional, Tuple

from kit import call_names as names_of_calls

_LISTEN = "0A"  # TCP_LISTEN of <netinet/tcp.h>
_MAPPED = re.compile(r"\[::ffff:(\d+\.\d+\.\d+\.\d+)\]")


def read(path):
    """Return the text of a file in /proc; "" if it is gone or may not be read."""
    with contextlib.suppress(OSError):
        return pathlib.Path(path).read_text(errors="replace")
    return ""


def all_pids():
    """Return the numbers of all processes, sorted."""
    return sorted(int(pid) for pid in os.listdir("/proc") if pid.isdigit())


def descriptors(pid, inodes):
    """Return {descriptor: inode} of these sockets, as far as a process has them and we may look."""
    return {fd: inode for fd, inode in sockets(pid).items() if inode in inodes}


def files(pid):
    """Return the folder in /proc that has the descriptors of a process: its own, or that of another thread if the main
    thread has ended before."""
    folder = f"/proc/{pid}"
    with contextlib.suppress(OSError), os.scandir(f"{folder}/fd") as entries:
        if next(entries, None):
            return folder
    return next((f"{folder}/task/{tid}" for tid in threads(pid) if tid != pid), folder)


def _links(pid):
    """Yield (descriptor, what it is open to, such as socket:[77]) for each descriptor of a process."""
    folder = files(pid)
    with contextlib.suppress(OSError):
        for fd in os.listdir(f"{folder}/fd"):
            with contextlib.suppress(OSError):
                yield fd, os.readlink(f"{folder}/fd/{fd}")


class InternetSocket(NamedTuple):
    """A socket of TCP or UDP. An address is (IP address, port); IPv4 that is mapped into IPv6 is told as IPv4."""
    local: Tuple[str, int]
    peer: Tuple[str, int]
    listens: bool
    inode: int      # 0: no process has it
    unread: int     # bytes that have arrived


def _sockets(names, port=None):
    found, wanted = [], "" if port is None else f":{port:04X} "
    for name in names:
        for line in read(f"/proc/net/{name}").splitlines()[1:]:
            if wanted not in line:
                continue
            _, local, peer, state, queues, _, _, _, _, inode, *_ = line.split()
            found.append(InternetSocket(_address(local), _address(peer), state == _LISTEN, int(inode),
                                        int(queues.partition(":")[2], 16)))
    return found


def tcp_sockets(port=None):
    """Return all TCP sockets of this network namespace, or those with this port at either end."""
    return _sockets(("tcp", "tcp6"), port)


def udp_sockets():
    """Return all UDP sockets of this network namespace. One that is not connected has the port 0 at the other end."""
    return _sockets(("udp", "udp6"))


def unmapped(text):
    """[::ffff:127.0.0.1]:80 -> 127.0.0.1:80, wherever it stands in a text."""
    return _MAPPED.sub(r"\1", text)


def _address(text):
    """0100007F:1F90 -> ("127.0.0.1", 8080). The kernel prints words of 32 bits in the byte order of this machine."""
    digits, _, port = text.partition(":")
    words = b"".join(struct.pack("=I", int(digits[i:i + 8], 16)) for i in range(0, len(digits), 8))
    address = ipaddress.ip_address(words)
    return str(getattr(address, "ipv4_mapped", None) or address), int(port, 16)


def written(address):
    """(IP address, port), as people write it."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def listeners(port, hosts=None):
    """Return the inodes of the sockets that listen on a port: at one of these addresses or, if none does, at all
    addresses. (The kernel, too, prefers a socket with the very address.)"""
    found = [each for each in tcp_sockets(port) if each.listens and each.local[1] == port]
    exact = {each.inode for each in found if hosts is None or each.local[0] in hosts}
    return exact or {each.inode for each in found if each.local[0] in ("0.0.0.0", "::")}


def sockets(pid):
    """Return {descriptor: inode} of all sockets of a process, as far as we may look."""
    return {int(fd): int(name[8:-1]) for fd, name in _links(pid) if re.fullmatch(r"socket:\[\d+\]", name)}


def is_nonblocking(pid, fd):
    """Return whether O_NONBLOCK is set for a descriptor of a process; False if we may not look."""
    found = re.search(r"^flags:\s+0*([0-7]+)", read(f"{files(pid)}/fdinfo/{fd}"), re.M)
    return bool(found and int(found[1], 8) & os.O_NONBLOCK)


def owners(inodes):
    """Return the processes that have one of these sockets, as far as we may look."""
    return [pid for pid in all_pids() if descriptors(pid, inodes)] if inodes else []


def without_init(pids):
    """Leave out the init process, if there are others: it listens for services that it starts."""
    return [pid for pid in pids if pid != 1] or pids


def threads(pid):
    """Return the numbers of the threads of a process, sorted; [] if it has ended."""
    with contextlib.suppress(OSError):
        return sorted(int(tid) for tid in os.listdir(f"/proc/{pid}/task"))
    return []


def processor_seconds(pid, tid):
    """Return for how many seconds a thread has had a processor, and for how many it has been ready to run and had none;
    None if that cannot be seen."""
    numbers = read(f"/proc/{pid}/task/{tid}/schedstat").split()
    return (int(numbers[0]) / 1e9, int(numbers[1]) / 1e9) if len(numbers) == 3 else None


def tracer(tid, pid):
    """Return the process that traces a thread, or 0; -1 if the thread has ended."""
    found = re.search(r"TracerPid:\s+(\d+)", read(f"/proc/{pid}/task/{tid}/status"))
    return int(found[1]) if found else -1


def epolls(pid):
    """Return {epoll descriptor: [the descriptors that it watches]} of a process."""
    folder = files(pid)
    infos = {int(fd): read(f"{folder}/fdinfo/{fd}") for fd, name in _links(pid) if "eventpoll" in name}
    return {fd: list(map(int, re.findall(r"^tfd:\s+(\d+)", info, re.M))) for fd, info in infos.items()}


def has_a_ring(pid):
    """Return whether a process has an io_uring: it may then ask the kernel for something without a system call."""
    return any("[io_uring]" in name for _, name in _links(pid))


def users_of(path):
    """Return the processes that have a file open."""
    return [pid for pid in all_pids() if any(name == str(path) for _, name in _links(pid))]


def command(pid):
    """Return the command line of a process, for people."""
    return shlex.join(read(f"/proc/{pid}/cmdline").rstrip("\0").split("\0"))


def name(pid, tid=None):
    """Return the name of a process, or of one of its threads; "" if it has ended."""
    return read(f"/proc/{pid}/comm" if tid is None else f"/proc/{pid}/task/{tid}/comm").rstrip("\n")


def is_32_bit(pid):
    """Return whether a process runs a 32-bit program, whose system calls have other numbers than ours."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/exe", "rb") as file:
        return file.read(5) == b"\x7fELF\x01" and sys.maxsize > 1 << 32
    return False


@functools.lru_cache(maxsize=None)
def call_names(bits_32=False):
    """Return {number: name} of the system calls of this machine; {} if we have no table for it."""
    return names_of_calls.names(bits_32)


def call_name(number, bits_32):
    """Return the name of a system call; "system call 999" if the table does not have it."""
    return call_names(bits_32).get(number, f"system call {number}")


class Place(NamedTuple):
    """Where a thread is at a moment."""
    state: str                       # a letter of proc(5), status
    number: Optional[int] = None     # the system call in which it is blocked, as far as we may see that
    argument: Optional[int] = None   # the first one of this call
    function: Optional[str] = None   # otherwise the kernel's function, as far as we may see that
    bits_32: bool = False            # the number is that of a 32-bit program

    @property
    def call(self):
        """The name of the system call, or None if it is unknown."""
        return call_names(self.bits_32).get(self.number)


def place(pid, tid):
    """Return where a thread is; None if it has ended."""
    folder = f"/proc/{pid}/task/{tid}"
    state = re.search(r"^State:\s+(\w)", read(f"{folder}/status"), re.M)
    if state is None or state[1] in "ZX":
        return None
    number, *arguments = read(f"{folder}/syscall").split() or [""]
    if state[1] == "R" or number == "running":
        return Place("R")
    if number.isdigit():
        return Place(state[1], int(number), int(arguments[0], 16), bits_32=is_32_bit(pid))
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
