"""Servers that the tools start."""
import json
import os
import re
import resource
import subprocess

from kit.errors import Failed
from kit.processes import Program, ending, wait_until
from kit.tree import built


# The command under which each server runs, as words in JSON: judging/grade.py lets it be another user.
UNDER = json.loads(os.environ.get("SERVERS_UNDER", "[]"))
_LIMITS = {getattr(resource, f"RLIMIT_{name.upper()}"): name for name in ("fsize", "as", "nofile")}


def prlimit(pid, number, limits=None):
    """Return a resource limit of a server, and set it. If the server is another user, only that user may, unless root
    has CAP_SYS_RESOURCE, which it has not in a container."""
    try:
        return resource.prlimit(pid, number, *([limits] if limits else []))
    except PermissionError:
        if not UNDER:
            raise
    name = _LIMITS[number] + (f"={limits[0]}:{limits[1]}" if limits else "")
    command = [*UNDER, "prlimit", "--pid", str(pid), "--raw", "--noheadings", "--output", "SOFT,HARD", f"--{name}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ProcessLookupError(done.stderr.strip())
    return tuple(resource.RLIM_INFINITY if word == "unlimited" else int(word) for word in done.stdout.split())


class Server(Program):
    """A stage, or another program that says "listening on URL" on stdout.

    under is a command that runs the program, such as valgrind and its options. With wait=False, the caller
    waits for listening()."""

    def __init__(self, name, *options, program=None, under=(), wait=True, **popen_arguments):
        self.name = name
        self.url = None
        super().__init__([*UNDER, *under, program or built(name), "--port", "0", *options], **popen_arguments)
        if wait and not wait_until(self.listening):
            self.stop(patience=1)
            raise Failed(f"{name} did not say within 10 s where it listens", self.messages())

    def listening(self):
        """Return whether it has said where it listens; url is then set. Fail if it has ended instead."""
        ended = not self.alive
        found = re.search(r"listening on (http://\S+)\n", self.output())
        if found:
            self.url = found[1]
        elif ended:
            raise Failed(f"{self.name} did not start ({ending(self.process.returncode)})", self.messages())
        return found is not None

    @property
    def port(self):
        return int(self.url.rsplit(":", 1)[1].rstrip("/"))
