"""From addresses in a program to lines of its source, with addr2line."""
import os
import pathlib
import re
import shutil
import subprocess
import zlib

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
_SYSTEM = re.compile(r"/(usr/)?lib(32|64|x32)?/|\[")  # libraries: their lines are not the reader's


def header_lines(log):
    """"frame OBJECT ADDRESS = FUNCTION FILE:LINE; ...", for each frame whose line is known."""
    addresses = {}
    for call in log.calls:
        for frame in call.stack:
            if not _SYSTEM.match(frame.object):
                addresses.setdefault(frame.object, set()).add(frame.address)
    lines = []
    for name, found in addresses.items():
        for address, places in _look_up(name, sorted(found)).items():
            lines.append(f"frame: {name} 0x{address:x} = " + "; ".join(" ".join(place) for place in places))
    return lines


def _look_up(name, addresses):
    """{address: [(function, "file:line"), ...]}: the inlined functions first."""
    if shutil.which("addr2line") is None or not os.path.exists(name):
        return {}
    # A stack holds addresses to return to. The call is just before.
    command = ["addr2line", "-a", "-f", "-i", "-C", "-e", name, *(hex(address - 1) for address in addresses)]
    try:
        output = subprocess.run(command, capture_output=True, text=True, timeout=20).stdout
    except subprocess.TimeoutExpired:
        return {}
    found = {}
    for block in re.split(r"^(?=0x)", output, flags=re.M)[1:]:
        address, *lines = block.splitlines()
        pairs = [(function, _shorten(line)) for function, line in zip(lines[::2], lines[1::2])]
        known = [pair for pair in pairs if not pair[1].startswith(("?", "/usr/")) and not pair[1].endswith((":?", ":0"))]
        if known:
            found[int(address, 16) + 1] = known
    return found


def find_source(name):
    """The file that a shortened name means, or None."""
    for path in (ROOT / name, pathlib.Path(name)):
        if path.is_file():
            return path
    return None


def checksum(path):
    return f"{zlib.crc32(path.read_bytes()):08x}"


def _shorten(place):
    """/home/me/toolkit/common/net.c:12 (discriminator 3) -> common/net.c:12"""
    name, _, line = place.split(" (", 1)[0].rpartition(":")
    path = os.path.normpath(name)
    for folder in (str(ROOT), os.getcwd()):
        if path.startswith(folder + os.sep):
            path = path[len(folder) + 1:]
    return f"{path}:{line}"
