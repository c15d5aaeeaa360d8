"""From the addresses of a stack to lines of the source, with addr2line."""
import contextlib
import os
import pathlib
import re
import shutil
import struct
import subprocess
import zlib

from kit.printable import printable
from kit.tree import ROOT
from recorder import strace_log

MOST_BYTES = 2_000_000  # of a source file that is shown
PLUMBING = {"common/clock.c", "common/net.c"}  # small wrappers: the line that calls them says more
_LIBRARY = re.compile(r"/(usr/)?lib(32|64|x32)?/|\[")
_NOT_OURS = ("/usr/", "/rustc/", "/rust/")  # the sources of libraries, as their makers name them
PT_LOAD = 1  # elf(5)
_LIBC = re.compile(r".*/(libc|libpthread|ld)[-.][^/]*|\[.*")


# ---- while it is recorded: addresses are looked up, and kept in the header of the log

def header(log):
    """Lines for the header: the place of each address in the stacks, and for each file a checksum of the lines
    that are named there."""
    addresses = {}
    for call in log.calls:
        for frame in call.stack:
            if not _LIBRARY.match(frame.object):
                addresses.setdefault(frame.object, set()).add(frame.address)
    lines, known = [], []
    for program, found in addresses.items():
        for address, places in _look_up(program, sorted(found)).items():
            written = ["{} {}:{}".format(*map(strace_log.quote, split(place))) for place in places]
            lines.append(f"frame: {strace_log.quote(program)} 0x{address:x} = {'; '.join(written)}")
            known += places
    return lines + checksums(known, [pathlib.Path.cwd()])


def checksums(places, folders=()):
    """Lines for the header: of each file that these places name, a checksum of the lines that are named."""
    return [f"source: {strace_log.quote(name)} {checksum(path, numbers)}"
            for name, path, numbers in _files(places, folders)]


def _look_up(program, addresses):
    """{address: ["function file:line", ...]}, an inlined function before the one that it is part of."""
    path = next((path for path in (ROOT / program, pathlib.Path(program)) if path.is_file()), None)
    if shutil.which("addr2line") is None or path is None:
        return {}
    # A stack holds the addresses to return to: the call is just before.
    segments = _segments(path)
    wanted = {_address(address - 1, segments): address for address in addresses}
    command = ["addr2line", "-a", "-f", "-i", "-C", "-e", path, *map(hex, wanted)]
    try:
        output = subprocess.run(command, capture_output=True, text=True, timeout=20).stdout
    except subprocess.TimeoutExpired:
        return {}
    found = {}
    for block in re.split(r"^(?=0x)", output, flags=re.M)[1:]:
        address, *lines = block.splitlines()
        places = [f"{function} {_shorten(line)}" for function, line in zip(lines[::2], lines[1::2])
                  if re.search(r":[1-9]\d*( \(|$)", line) and not line.startswith(_NOT_OURS)]
        if places:
            found[wanted[int(address, 16)]] = places
    return found


def _segments(path):
    """Where a program's parts are: [(offset in the file, length, address)]. Most linkers make offset and address the
    same; lld, and any of a program that is not position-independent, do not."""
    with contextlib.suppress(OSError, struct.error), open(path, "rb") as file:
        head = file.read(64)
        wide, order = head[4:5] == b"\2", "<" if head[5:6] == b"\1" else ">"
        start, = struct.unpack_from(order + ("Q" if wide else "I"), head, 32 if wide else 28)
        size, count = struct.unpack_from(order + "HH", head, 54 if wide else 42)
        file.seek(start)
        table = file.read(size * count)
        rows = [struct.unpack_from(order + ("II4Q" if wide else "6I"), table, size * number) for number in range(count)]
        if head[:4] == b"\x7fELF":
            return [(row[2], row[5], row[3]) if wide else (row[1], row[4], row[2]) for row in rows if row[0] == PT_LOAD]
    return []


def _address(offset, segments):
    """strace tells the place in the file; addr2line wants the address."""
    return next((address + offset - begin for begin, length, address in segments if begin <= offset < begin + length),
                offset)


def _shorten(place):
    """/home/me/toolkit/common/net.c:12 (discriminator 3) -> common/net.c:12"""
    path = os.path.normpath(place.partition(" (")[0])
    for folder in (str(ROOT), os.getcwd()):
        if path.startswith(folder.rstrip(os.sep) + os.sep):
            return path[len(folder.rstrip(os.sep)) + 1:]
    return path


def split(place):
    """function common/net.c:12 -> (function, common/net.c, 12). A path may contain blanks, the name of a function
    in C++ as well: the last blank before a slash, or the first one, is between them."""
    rest, _, number = place.rpartition(":")
    for found in re.finditer(" ", rest):
        function, path = rest[:found.start()], rest[found.end():]
        if path.startswith("/") or " " not in path or find(path):
            return function, path, number
    return rest.partition(" ")[0], rest.partition(" ")[2], number


def _file(place):
    return split(place)[1]


def find(name, folders=()):
    """The file that a name in a log means: one below the toolkit, or below one of these folders. None for any other,
    for the log may come from a stranger, who must not learn, or have us show, what else is on this machine."""
    for folder in (ROOT, *folders):
        with contextlib.suppress(OSError, ValueError):  # no name of a file
            folder = pathlib.Path(folder).resolve()
            path = pathlib.Path(folder, name).resolve()  # follows links: they must not lead out of it
            if folder in path.parents and path.is_file() and path.stat().st_size <= MOST_BYTES:
                return path
    return None


def _files(places, folders):
    """Return (name, path, numbers of the lines) for each file that these places name, that is there, and that has
    these lines."""
    numbers = {}
    for place in places:
        _, name, number = split(place)
        if re.fullmatch(r"[1-9]\d{0,6}", number, re.ASCII):
            numbers.setdefault(name, set()).add(int(number))
    found = []
    for name in sorted(numbers):
        path = find(name, folders)
        if path and max(numbers[name]) <= len(path.read_bytes().splitlines()):
            found.append((name, path, sorted(numbers[name])))
    return found


def checksum(path, numbers):
    """Return a checksum of these lines: only a change that touches or moves them makes a recording stale."""
    lines = path.read_bytes().splitlines()
    return f"{zlib.crc32(b' '.join(b''.join(lines[number - 1:number]).strip() for number in numbers)):08x}"


# ---- when it is told

def known_places(log):
    """{(object, address): ["function file:line", ...]}, from the header."""
    found = {}
    for program, address, places in log.fields("frame", r"(.+) 0x([0-9a-f]{1,16}) = (.+)"):
        written = [printable(strace_log.unquoted(place)) for place in places.split("; ")]
        found[strace_log.unquoted(program), int(address, 16)] = [
            place for place in written if re.fullmatch(r".+ .+:\d{1,7}", place, re.ASCII)]
    return found


def place(call, next_call, known):
    """Return (our lines, the innermost that says something, its function) of a call. next_call is the next
    one of its thread."""
    frames = call.stack
    if strace_log.child(call) and next_call and any("pthread_create" in f.function for f in next_call.stack):
        frames = next_call.stack  # of clone, strace finds no stack; but pthread_create makes this call, too
    ours = [line for frame in frames for line in known.get((frame.object, frame.address), [])]
    telling = [line for line in ours if _file(line) not in PLUMBING] or ours
    if telling:
        function, _, source = telling[0].rpartition(" ")
        return ours, source, function
    functions = [frame.function for frame in frames if frame.function and not _LIBC.fullmatch(frame.object)]
    return ours, None, functions[0] if functions else None


def sources(threads, log, folders=()):
    """{file: its lines} for the files that the threads' calls came from, but for none of which a line that is
    named has changed or moved."""
    sums = {strace_log.unquoted(name): value for name, value in log.fields("source", r"(.+) ([0-9a-f]{8})")}
    names = {_file(line) for thread in threads for call in thread.calls for line in call.stack}
    places = [place for found in known_places(log).values() for place in found]
    return {name: path.read_text(errors="replace").splitlines() for name, path, numbers in _files(places, folders)
            if name in names and sums.get(name) == checksum(path, numbers)}
