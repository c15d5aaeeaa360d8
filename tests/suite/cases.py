"""What a case is, and which there are.

A case is a function in a file of this folder. Its name states what is true, and it takes the stage that it
tests:

    @case(CONCURRENT, needs=PROGRAM)
    def silent_client_delays_nobody_else(stage):
        with stage.serve("--timeout", LONG) as server:
            ...

It fails by raising a Failure (server.py). It may wait for an event, but never rely on the length of a time:
something that must not have happened yet would take longer (LONG) than any machine needs for a step."""
import importlib
from typing import Callable, NamedTuple

# The models that a case holds for: stages, or kinds of stages.
ALL = "one threads loop"
CONCURRENT = "threads loop"
READINESS = "03-select 04-poll 05-epoll 06-libev"  # loops that wait until a descriptor is ready, with a pool
# Not for a ring: there the kernel may have accepted a client that nobody wants any more, and the toolkit's own
# supports --block alone.
NOT_RING = "one threads 03-select 04-poll 05-epoll 06-libev 07-coroutines"
READERS = ["07-uring", "07-coroutines"]  # models of which a reader writes the stage
KINDS = {"01-blocking": "one", "02-threaded": "threads"}  # all others are loops

# What a case needs of the server, each more than the one before.
URL = "a URL"          # the two routes, on a server that is already running
PROGRAM = "a program"  # that we start with --port, --delay and --timeout, and watch through /proc
STAGE = "a stage"      # of this tree: all options, and the exact responses of common/http.c
NEEDS = [URL, PROGRAM, STAGE]

LONG = 60  # seconds; no step of a case takes so long
SUBJECTS = ["http", "keep_alive", "waiting", "slow_clients", "leaving_clients", "resources", "signals",
            "shutdown", "threads", "workers", "command_line"]


class Case(NamedTuple):
    name: str
    subject: str      # the file that it stands in
    models: str
    needs: str
    check: Callable   # check(stage) raises a Failure if the case does not hold

    def holds_for(self, model):
        return bool({model, kind(model)} & set(self.models.split()))

    def suits(self, stage):
        """Is it for this stage or program?"""
        return self.holds_for(stage.model) and NEEDS.index(self.needs) <= NEEDS.index(stage.offers)


_cases = {}


def case(models=ALL, needs=STAGE):
    """Declare a case."""
    def declare(function):
        name, subject = function.__name__, function.__module__.rpartition(".")[2]
        assert name not in _cases, name
        _cases[name] = Case(name, subject, models, needs, function)
        return function
    return declare


def all_cases():
    """Return all cases by their names."""
    for subject in SUBJECTS:
        importlib.import_module(f"suite.{subject}")
    return _cases


def kind(model):
    """Return how a model serves its clients: one after the other, with threads, or in a loop."""
    return KINDS.get(model, "loop")
