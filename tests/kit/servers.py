"""Servers that the tools start."""
import re

from kit.errors import Failed
from kit.processes import Program, ending, wait_until
from kit.tree import built


class Server(Program):
    """A stage, or another program that says "listening on URL" on stdout.

    under is a command that runs the program, such as valgrind and its options. With wait=False, the caller
    waits for listening()."""

    def __init__(self, name, *options, program=None, under=(), wait=True, **popen_arguments):
        self.name = name
        self.url = None
        super().__init__([*under, program or built(name), "--port", "0", *options], **popen_arguments)
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
