#!/usr/bin/env python3
"""A server for test_trace.py: /slow takes a second in an asyncio loop, in one of four ways.

usage: asyncio_server.py PORT sleep|block|compute|pool
"""
import asyncio
import sys
import time


def compute():
    end = time.monotonic() + 1
    while time.monotonic() < end:  # this makes no system call
        pass


async def wait(way):
    if way == "sleep":
        await asyncio.sleep(1)
    elif way == "block":
        time.sleep(1)
    elif way == "compute":
        compute()
    else:
        await asyncio.get_running_loop().run_in_executor(None, time.sleep, 1)


async def answer(reader, writer):
    head = await reader.readuntil(b"\r\n\r\n")
    if head.startswith(b"GET /slow "):
        await wait(sys.argv[2])
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nDone\n")
    await writer.drain()
    writer.close()


async def main():
    server = await asyncio.start_server(answer, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()


asyncio.run(main())
