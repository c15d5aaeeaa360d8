"""A shell into which the commands of one chapter are typed, one after the other."""
import os
import re
import secrets
import subprocess

from kit import proc, processes, tool
from kit.errors import Failed
from kit.tree import ROOT
from kit.urls import free_port


PATIENCE = 60  # seconds for one command


class Session:
    """bash with job control, in the folder of the toolkit. $port and $url name a port of our own."""

    def __init__(self):
        self.port = free_port()
        self.path = tool.scratch() / f"session-{secrets.token_hex(4)}"
        self.file = open(self.path, "wb")
        # The reader's shell is not started by make, and the text says build/.
        environment = {name: value for name, value in os.environ.items()
                       if name not in ("BUILD", "MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
        environment.update(LC_ALL="C.UTF-8", TERM="dumb", PYTHONUNBUFFERED="1")
        self.shell = processes.start(["bash", "--noprofile", "--norc"], cwd=ROOT, env=environment,
                                     stdin=subprocess.PIPE, stdout=self.file, stderr=subprocess.STDOUT)
        self.type("set -m")  # as an option, -m has no effect in bash 5.1 without a terminal

    def type(self, command):
        """Type a line; return what the terminal shows until the shell is ready for the next one."""
        command = re.sub(r"^port=\d+;", f"port={self.port};", command)
        mark, before = f"ready-{secrets.token_hex(8)}", self.path.stat().st_size
        # A reader's shell forgets the jobs that have ended before it prompts; else %build/05 may mean two of them.
        self.shell.stdin.write(f"jobs >/dev/null\n{command}\necho {mark}\n".encode())
        self.shell.stdin.flush()
        if not processes.wait_until(lambda: mark in self._since(before) or self.shell.poll() is not None, PATIENCE):
            raise Failed(f"after {PATIENCE} s this is still running: {command}\n{self._since(before)}")
        starts_server = command.rstrip().endswith("&") and "$port" in command and "$url" not in command
        if starts_server:
            processes.wait_until(lambda: proc.listeners(self.port) or
                                 "Address already in use" in self._since(before), 20)
        if command.startswith("kill %"):
            processes.wait_until(lambda: not proc.listeners(self.port), 20)
        return self._since(before).replace(f"{mark}\n", "")

    def _since(self, offset):
        return self.path.read_bytes()[offset:].decode(errors="replace")

    def jobs(self):
        """Return the commands that are still running."""
        processes.wait_until(lambda: not self.type("jobs -r"), 5, step=0.3)
        return self.type("jobs -r").strip()

    def close(self):
        self.shell.stdin.close()
        try:
            self.shell.wait(5)
        except subprocess.TimeoutExpired:
            pass
        processes.stop(self.shell, patience=1)
        self.file.close()
