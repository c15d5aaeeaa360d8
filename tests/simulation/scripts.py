"""What clients do, in the grammar of an experiment (grammar.mjs). It holds the simulated kernel against Linux.

All run with --delay 0.6 --timeout 1.2. Things happen 100 ms apart or more, so that a slow machine keeps their order.
Only what is marked differs between stages: 01 and 02 have no --block, and 01 no --threads.
"""
import re
from typing import List, NamedTuple

TIMES = ["--delay", "--timeout"]
OPTIONS = ["--delay", "0.6", "--timeout", "1.2"]


class Script(NamedTuple):
    name: str
    events: str
    options: List[str] = []
    rest_ms: int = 1400  # after the last event, until SIGTERM ends it

    def text(self, stage, stretch=1):
        """The experiment on a stage, with all times so many times as long. It ends with SIGTERM, once all is over."""
        options = [f"{float(word) * stretch:g}" if before in TIMES else word
                   for before, word in _with_the_one_before([*OPTIONS, *_for_stage(stage, self.options)])]
        begun = int(re.findall(r"(\d+):", self.events)[-1])
        last = "" if self.events.endswith(("TERM", "INT")) else f" {begun + self.rest_ms}:TERM"
        events = re.sub(r"(?<![x\d])(\d+):|x(\d+):", lambda found: _stretched(found, stretch), self.events + last)
        return f"{' '.join([stage, *options])}; {events}"


def _with_the_one_before(words):
    return list(zip(["", *words], words))


def _stretched(found, stretch):
    return f"{int(found[1]) * stretch}:" if found[1] else f"x{int(found[2]) * stretch}:"


def _for_stage(stage, options):
    """01 and 02 block anyway, and know no pool."""
    return [] if "--threads" in options and stage[:2] in ("01", "02") else options


SCRIPTS = [
    Script("one fast", "0:/fast"),
    Script("one slow", "0:/slow"),
    Script("slow, then fast", "0:/slow 150:/fast"),
    Script("fast, slow, fast", "0:/fast 150:/slow 300:/fast"),
    Script("two slow", "0:/slow 150:/slow"),
    Script("three slow at one moment", "3x0:/slow", rest_ms=2200),
    Script("an unknown path", "0:/nowhere 150:/fast"),
    Script("no delay", "0:/slow 150:/fast", ["--delay", "0"]),
    Script("a silent client", "0:silent 150:/fast"),
    Script("a silent client closes", "0:silent 200:close 400:/fast"),
    Script("a silent client half-closes", "0:silent 200:half-close 400:/fast"),
    Script("a silent client resets", "0:silent 200:reset 400:/fast"),
    Script("half a head, and the rest", "0:half 200:rest 400:/fast"),
    Script("half a head, and no more", "0:half 150:/fast"),
    Script("half of /slow, and the rest", "0:half=/slow 150:/fast 300:rest"),
    Script("half a head, then close", "0:half 200:close 400:/fast"),
    Script("half a head, then half-close", "0:half 200:half-close 400:/fast"),
    Script("half a head, then reset", "0:half 200:reset 400:/fast"),
    Script("half-close during /slow", "0:/slow 150:half-close"),
    Script("close during /slow", "0:/slow 150:close 300:/fast"),
    Script("reset during /slow", "0:/slow 150:reset 300:/fast"),
    Script("reset during a /slow that was watched", "0:half=/slow 150:rest 300:reset 450:/fast"),
    Script("half-close, then reset", "0:/slow 120:half-close 240:reset"),
    Script("pipelining", "0:pipeline 150:/fast"),
    Script("three pipelined", "0:pipeline=3"),
    Script("pipelining, then close", "0:pipeline 150:close 300:/fast"),
    Script("pipelining, then reset", "0:pipeline 150:reset 300:/fast"),
    Script("reset in the backlog", "0:/slow 120:/fast 240:reset@2"),
    Script("close in the backlog", "0:/slow 120:/fast 240:close@2"),
    # They connect half a second before in the simulation, and later on Linux: their time-out comes after SIGTERM.
    Script("idle clients", "0:idle=5 0:/slow 150:/fast", ["--timeout", "2.4"], rest_ms=700),
    Script("no descriptor left", "0:silent 120:silent 240:/fast 360:close@1", ["--descriptors", "7"]),
    Script("SIGTERM at rest", "100:TERM"),
    Script("SIGTERM during /slow", "0:/slow 150:TERM"),
    Script("SIGTERM, a silent client", "0:silent 150:TERM"),
    Script("SIGTERM, half a head", "0:half 150:TERM 300:rest"),
    Script("SIGTERM, one in the backlog", "0:/slow 120:/fast 240:TERM"),
    Script("Ctrl-C during /slow", "0:/slow 150:INT"),
    Script("Ctrl-C twice", "0:/slow 120:INT 240:INT"),
    Script("--block", "0:/slow 150:/fast", ["--block"]),
    # What takes 400 ms of a processor may take ten times as long on a busy machine, and SIGTERM must come later.
    Script("--compute", "0:/slow 150:/fast", ["--compute", "--delay", "0.4"], rest_ms=6000),
    Script("a pool", "0:/slow 120:/slow 240:/fast", ["--block", "--threads", "2"]),
    Script("a pool that is full", "0:/slow 120:/slow 240:/fast", ["--block", "--threads", "1"]),
    Script("a pool, and SIGTERM", "0:/slow 150:TERM", ["--block", "--threads", "1"]),
]

# Two stages that differ from those of the toolkit in one place: what the six do not show of the kernel.
EDGE, BACKLOG = "edge", "small-backlog"
CHANGED = {  # the stage, the code that is replaced, and with what
    EDGE: ("05-epoll", r"want == WANT_WRITE \? EPOLLOUT : EPOLLIN\b",
           "(want == WANT_WRITE ? EPOLLOUT : EPOLLIN) | EPOLLET"),
    BACKLOG: ("01-blocking", r"\bSOMAXCONN\b", "1"),
}
MORE = [
    (EDGE, Script("an edge is reported once", "0:silent 200:half 400:rest 600:/fast")),
    # Both come while the loop sleeps: on a busy machine, two that come at the same time may be two edges.
    (EDGE, Script("two clients, one edge", "0:/slow 200:/fast 350:/fast 1000:/fast", ["--block"])),
    (BACKLOG, Script("a full backlog", "0:/slow 120:/fast 240:/fast 360:/nowhere", rest_ms=2500)),
]
