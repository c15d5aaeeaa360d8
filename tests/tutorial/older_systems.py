"""Where the text differs from an older system, such as Debian 11: its comments <!-- before PROGRAM VERSION: ... -->."""
import functools
import os
import re
import subprocess
import sys

from kit.errors import Failed


@functools.lru_cache(maxsize=None)
def version(program):
    """Return the version of a program of this system as a tuple; None if it is not installed. Node, which most of the
    text does without, is then older than any."""
    if program == "Python":
        return sys.version_info[:2]
    if program == "glibc":
        text = os.confstr("CS_GNU_LIBC_VERSION")
    elif program == "Starlette":
        text = subprocess.run(["/usr/bin/python3", "-c", "import starlette; print(starlette.__version__)"],
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    elif program == "Node":
        text = subprocess.run(["sh", "-c", "node --version || echo 0"], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True).stdout
    else:
        raise Failed(f"before {program}: its version is not known here; see tests/tutorial/older_systems.py")
    return tuple(map(int, re.findall(r"\d+", text))) or None


def differences(befores):
    """Return what the comments of a block say of this system: ({word: other}, a reason not to run it, or None)."""
    words, reason = {}, None
    for before in befores:
        parts = re.fullmatch(r"(\S+) ([\d.]+): (?:(\S+) is (\S+)|(.+))", before)
        if not parts:
            raise Failed(f"what does this comment mean? before {before}")
        if (version(parts[1]) or (99,)) >= tuple(map(int, parts[2].split("."))):
            continue
        if parts[3]:
            words[parts[3]] = parts[4]
        else:
            reason = f"{parts[1]} is older than {parts[2]}, or missing: {parts[5]}"
    return words, reason


def translate(line, words):
    """Return a line of the text as this system prints it."""
    for word, other in words.items():
        line = re.sub(rf"\b{word}\b", other, line)
    return line
