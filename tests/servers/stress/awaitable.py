"""Many servers and clients simultaneously, in one thread: each server has a lane, a coroutine that awaits
whatever the functions of kit would block for."""
import asyncio
import signal
import time

from kit import measuring, proc, processes
from kit.errors import Failed
from kit.processes import Program
from kit.report import tick, write
from kit.servers import Server
from kit.tree import BUILD


sleep = asyncio.sleep


_doing = None  # a function that tells what the lanes are doing


def _speak(_):
    write(f"       ... {_doing()}\n")


def say(line):
    print(line)
    tick(_doing and _speak)


def together(lanes, doing):
    """Run lanes until all have ended. After four seconds of silence, print what doing() returns."""
    async def run():
        await asyncio.gather(*lanes)

    global _doing
    _doing = doing
    if not any(signal.getitimer(signal.ITIMER_REAL)):
        tick(_speak)
    asyncio.run(run())


async def until(condition, patience=10.0):
    """Wait until condition() is true; return False if it takes longer than patience, in seconds."""
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() >= deadline:
            return False
        await sleep(0.02)
    return True


async def ended(program, patience=float("inf")):
    """Wait until a program ends; return False if it takes longer than patience, in seconds."""
    return await until(lambda: not program.alive, patience)


def kill(program):
    program.process.kill()
    program.process.wait()


async def start(name, *options, patience=10, **arguments):
    """Start a server. Return it when it waits for clients: it has opened all its descriptors by then."""
    server = Server(name, *options, wait=False, **arguments)
    if not await until(lambda: server.listening() and proc.stat(server.pid)[0] == "S", patience):
        kill(server)
        raise Failed(f"does not listen after {patience} s")
    return server


async def must_end(server, status, patience=5):
    """Fail unless a server ends in time and with this status."""
    if not await ended(server, patience):
        kill(server)
        raise Failed("does not end")
    if server.process.returncode != status:
        last = server.messages().splitlines()[-1:]
        raise Failed(" ".join([f"ended ({processes.ending(server.process.returncode)})", *last]))


async def cpu_share(server, seconds):
    """Return the share of a CPU that a server uses from now on, in percent: 100 if it dies."""
    try:
        begun, before = time.monotonic(), server.cpu_seconds
        await sleep(seconds)
        return 100 * (server.cpu_seconds - before) / (time.monotonic() - begun)
    except OSError:
        return 100


class Probe(Program):
    """Honest clients."""

    def __init__(self, url, *shots, timeout=8):
        super().__init__([BUILD / "probe", "--tsv", "--timeout", timeout, url, *shots])

    async def rows(self):
        await ended(self)
        return measuring.probe_rows(self.output())


def is_right(row):
    return row["status"] == "200" and row["body"] == f"That was {row['path'][1:]}!"
