"""A server for test_judge.py, on asyncio. It does all that the ladder asks of a loop, but for one LIE.

usage: lying_server.py [LIE] [--host ADDRESS] --port PORT [--delay SECONDS] [--timeout SECONDS]
"""
import argparse
import asyncio
import os
import signal
import time

LIES = ["body", "early", "fourth", "closes", "swallows", "reads-all", "patient", "spins", "dies",
        "drain", "deaf", "elsewhere", "until-close", "endless"]

stopping = False
idle, tasks, sleeping = set(), set(), 0
lie = delay = timeout = None


async def slow():
    global sleeping
    if lie == "fourth" and sleeping >= 3:
        time.sleep(delay)  # serializes from the fourth client on
    sleeping += 1
    try:
        if lie == "spins":
            end = time.monotonic() + delay
            while time.monotonic() < end:
                await asyncio.sleep(0)
        else:
            await asyncio.sleep(delay / 2 if lie == "early" else delay)
    finally:
        sleeping -= 1
    if lie == "drain" and stopping:
        os._exit(0)


async def converse(reader, writer):
    while not stopping:
        idle.add(asyncio.current_task())
        try:
            limit = None if lie == "patient" else timeout
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), limit)
        finally:
            idle.discard(asyncio.current_task())
        path = head.split()[1].decode()
        if path == "/slow":
            await slow()
        body = b"That was fast" if lie == "body" and path == "/fast" else f"That was {path[1:]}!".encode()
        close = stopping or lie == "closes"
        length = b"" if lie in ("until-close", "endless") else b"Content-Length: %d\r\n" % len(body)
        writer.write(b"HTTP/1.1 200 OK\r\n" + b"Connection: close\r\n" * close + length + b"\r\n" + body)
        if lie == "dies" and writer.transport.is_closing():
            os.kill(os.getpid(), signal.SIGSEGV)
        if lie != "reads-all":
            await writer.drain()
        if lie == "swallows":
            reader._buffer.clear()
        if close or lie == "until-close":
            return


async def serve(reader, writer):
    tasks.add(asyncio.current_task())
    try:
        await converse(reader, writer)
    except (asyncio.CancelledError, asyncio.TimeoutError, asyncio.IncompleteReadError, OSError):
        pass
    finally:
        tasks.discard(asyncio.current_task())
        writer.close()


async def main(host, port):
    global stopping
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    server = await asyncio.start_server(serve, host, 0 if lie == "elsewhere" else port, backlog=1000)
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, (lambda: None) if lie == "deaf" else told.set)
    await told.wait()
    stopping = True
    server.close()
    for task in list(idle):
        task.cancel()
    while tasks:
        await asyncio.sleep(0.01)


def run():
    global lie, delay, timeout
    parser = argparse.ArgumentParser()
    parser.add_argument("lie", nargs="?", choices=LIES)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--delay", type=float, default=10)
    parser.add_argument("--timeout", type=float, default=10)
    options = parser.parse_args()
    lie, delay, timeout = options.lie, options.delay, options.timeout
    asyncio.run(main(options.host, options.port))


if __name__ == "__main__":
    run()
