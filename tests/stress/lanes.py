"""Many servers and clients simultaneously, in one thread: each server has a lane, a coroutine that awaits
what the functions of lab.py wait for. The loop that runs them looks at each every 20 ms."""
import time
import types

import lab

_spoke = time.monotonic()


def say(line=""):
    global _spoke
    _spoke = time.monotonic()
    print(line, flush=True)


def together(lanes, doing):
    """Run lanes in turn until all have ended. After four seconds without a word, say what doing() returns."""
    lanes = list(lanes)
    try:
        while lanes:
            for lane in lanes[:]:
                try:
                    lane.send(None)
                except StopIteration:
                    lanes.remove(lane)
            if time.monotonic() - _spoke > 4:
                say(f"       ... {doing()}")
            time.sleep(0.02)
    finally:
        for lane in lanes:
            lane.close()


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
    if not await until(lambda: not program.alive, patience):
        return False
    program.stop()  # lab.py need not remember it
    return True


def kill(program):
    program.process.kill()
    program.stop()


async def start(name, *options, patience=10, **arguments):
    """Start a server. Return it when it waits for clients: then it has opened all its descriptors."""
    def asleep():
        return lab.stat(server.pid)[0] == "S"

    server = lab.Server(name, *options, wait=False, **arguments)
    if not await until(lambda: server.listening() and asleep(), patience):
        kill(server)
        raise lab.Failed(f"did not say within {patience} s where it listens")
    return server


async def must_end(server, status, patience=5):
    """Fail unless a server ends in time and with this status."""
    if not await ended(server, patience):
        kill(server)
        raise lab.Failed("does not end")
    if server.process.returncode != status:
        raise lab.Failed(" ".join([f"ended with {lab.ending(server.process.returncode)}:",
                                   *server.messages().splitlines()[-1:]]))


async def cpu_share(server, seconds):
    """Return what a server uses of a CPU from now on, in percent: 100 if it dies."""
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
