"""Many servers and clients simultaneously, in one thread: each server has a lane, a coroutine that awaits
whatever the functions of lab.py would block for. The loop that runs them looks at each every 20 ms."""
import time
import types

import lab

_spoke = time.monotonic()


def say(line=""):
    global _spoke
    _spoke = time.monotonic()
    print(line, flush=True)


def together(lanes, doing):
    """Run lanes in turn until all have ended. After four seconds of silence, print what doing() returns."""
    lanes = list(lanes)
    while lanes:
        for lane in lanes[:]:
            try:
                lane.send(None)
            except StopIteration:
                lanes.remove(lane)
        if time.monotonic() - _spoke > 4:
            say(f"       ... {doing()}")
        time.sleep(0.02)


@types.coroutine
def others():
    """Give the other lanes their turn."""
    yield


async def until(condition, patience=10.0):
    """Wait until condition() is true; return False if it takes longer than patience, in seconds."""
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() >= deadline:
            return False
        await others()
    return True


async def sleep(seconds):
    await until(lambda: False, seconds)


async def ended(program, patience=float("inf")):
    """Wait until a program ends; return False if it takes longer than patience, in seconds."""
    return await until(lambda: not program.alive, patience)


def kill(program):
    program.process.kill()
    program.process.wait()


async def start(name, *options, patience=10, **arguments):
    """Start a server. Return it when it waits for clients: it has opened all its descriptors by then."""
    server = lab.Server(name, *options, wait=False, **arguments)
    if not await until(lambda: server.listening() and lab.stat(server.pid)[0] == "S", patience):
        kill(server)
        raise lab.Failed(f"does not listen after {patience} s")
    return server


async def must_end(server, status, patience=5):
    """Fail unless a server ends in time and with this status."""
    if not await ended(server, patience):
        kill(server)
        raise lab.Failed("does not end")
    if server.process.returncode != status:
        last = server.messages().splitlines()[-1:]
        raise lab.Failed(" ".join([f"ended ({lab.ending(server.process.returncode)})", *last]))


async def cpu_share(server, seconds):
    """Return the share of a CPU that a server uses from now on, in percent: 100 if it dies."""
    try:
        begun, before = time.monotonic(), server.cpu_seconds
        await sleep(seconds)
        return 100 * (server.cpu_seconds - before) / (time.monotonic() - begun)
    except OSError:
        return 100


class Probe(lab.Program):
    """Honest clients."""

    def __init__(self, url, *shots, timeout=8):
        super().__init__([lab.BUILD / "probe", "--tsv", "--timeout", timeout, url, *shots])

    async def rows(self):
        await ended(self)
        return lab.probe_rows(self.output())


def is_right(row):
    return row["status"] == "200" and row["body"] == f"That was {row['path'][1:]}!"
