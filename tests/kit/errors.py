"""The one exception that a tool raises for what is not its own defect."""
from kit.printable import printable


class Failed(Exception):
    """The tool cannot do what it was asked to, or a program let it down: one line that says why.
    details are lines that such a program wrote to stderr."""

    def __init__(self, reason, details=""):
        super().__init__("\n".join(map(printable, str(reason).split("\n"))))
        self.details = [printable(line.rstrip()) for line in details.strip().splitlines()[:5]]
