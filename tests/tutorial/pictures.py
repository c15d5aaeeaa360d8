#!/usr/bin/env python3
"""Record the servers again, and draw the recordings that the tutorial shows: waits.svg of each stage,
06-libev/trap.svg, and the comparisons in tests/tutorial: await.svg, trap.svg and pool.svg.

A picture can be drawn at a quiet moment only. Look at each before you commit it.
Exit status: 0 if all are drawn; 1 if not; 2 for a bad command line."""
import shutil
import socket
import sys

sys.path[:0] = [__file__.rpartition("/tutorial/")[0]]
import lab  # noqa: E402

HERE = lab.ROOT / "tests" / "tutorial"
ASYNCIO = lab.ROOT / "tests" / "trace" / "asyncio_server.py"
TRIES = 5

# How to record: the command line of a server that is not one of the stages, after its URL.
PYTHON = {"asyncio": ("asyncio.sleep in async def", "sleep"),
          "mistake": ("time.sleep in async def", "block"),
          "executor": ("run_in_executor(time.sleep)", "pool")}
SINGLE = {**{stage: f"{stage}/waits.svg" for stage in lab.STAGES}, "trap": "06-libev/trap.svg"}
SERIALIZES = {"01-blocking", "trap", "mistake"}
TOGETHER = {"await.svg": ["05-epoll", "asyncio"], "trap.svg": ["01-blocking", "trap", "mistake"],
            "pool.svg": ["pool", "executor"]}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def trace(*arguments):
    """Run the recorder, and return what it prints."""
    tool = lab.start([sys.executable, lab.ROOT / "tests" / "trace.py", *arguments], **lab.PIPES)
    out, err = lab.finish(tool)
    if tool.returncode != 0:
        raise lab.Failed(f"trace.py {' '.join(map(str, arguments))}: {lab.ending(tool.returncode)}", err)
    return out


def what(name):
    """Return the arguments that tell the recorder which server to record."""
    if name in SINGLE:
        return [name]
    url = f"http://127.0.0.1:{free_port()}"
    port = url.rpartition(":")[2]
    if name == "pool":
        command = [lab.built("05-epoll"), "--port", port, "--delay", "1", "--block", "--threads", "2"]
        return ["--name", "05-epoll --block --threads 2", url, "--", *command]
    title, way = PYTHON[name]
    return ["--name", title, url, "--", sys.executable, ASYNCIO, port, way]


def record(name):
    """Record one server until its verdict is the one that is expected. Return the file of the log."""
    log = lab.scratch() / f"{name}.strace"
    for _ in range(TRIES):
        told = trace("--raw", log, *what(name))
        sentence = next((line for line in told.splitlines() if line.startswith("/fast ")), "/fast: nothing")
        if ("did not wait" not in sentence) == (name in SERIALIZES):
            print(f"{name}: {sentence}", flush=True)
            return log
    raise lab.Failed(f"{name} cannot be drawn: {sentence}")


def draw(logs, picture):
    """Draw recordings, one below the other."""
    joined, svg = lab.scratch() / "joined", lab.scratch() / "picture.svg"
    joined.write_text("".join(log.read_text() for log in logs))
    trace("--from", joined, "--svg", svg)
    shutil.move(svg, lab.ROOT / picture)
    print(picture, flush=True)


def main(arguments):
    lab.Parser(description=__doc__).parse_args(arguments)
    lab.need("strace", "deps-tutorial")
    logs = {}
    for name, picture in SINGLE.items():
        logs[name] = record(name)
        draw([logs[name]], picture)
    for picture, names in TOGETHER.items():
        for name in names:
            logs[name] = logs.get(name) or record(name)
        draw([logs[name] for name in names], HERE / picture)
    return 0


if __name__ == "__main__":
    lab.run(main)
