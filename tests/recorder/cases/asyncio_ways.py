"""An asyncio server of the standard library, whose /slow takes about a second in one of many ways.

usage: asyncio_ways.py PORT WAY [UPSTREAM_PORT]

The event loop is free:
  sleep     awaits a sleep
  lock      holds an asyncio.Lock that /fast wants, too
  turns     the same, but /fast does not want it
  pool      uses a pool of one thread, which /fast needs, too
  processes uses a pool of one process, which computes, and which /fast needs, too
  await     awaits another server
  httpx     does so with HTTPX
  front     awaits a process that it has started, which serves one at a time, and so does /fast
  both      awaits another server, and so does /fast
  leak      awaits a future that nobody ever fulfils: no answer
The event loop is blocked:
  urllib    asks another server
  requests  does so with requests
  queries   asks another server 200 times
  fifo      opens a FIFO into which nobody writes for a second
  child     waits for a child process that sleeps
  names     waits for a name server that does not answer
  compute   computes
  after     sleeps, but only when it has answered: no /slow is slow
"""
import asyncio
import ctypes
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

PORT, WAY = int(sys.argv[1]), sys.argv[2]
UPSTREAM = int(sys.argv[3]) if len(sys.argv) > 3 else 0
URL = f"http://127.0.0.1:{UPSTREAM}/slow"
PR_SET_PDEATHSIG = 1
POOL = ThreadPoolExecutor(1)
PROCESSES = ProcessPoolExecutor(1, multiprocessing.get_context("fork")) if WAY == "processes" else None
if WAY == "requests":  # no other way needs these packages
    import requests
if WAY == "httpx":
    import httpx
    CLIENT = httpx.AsyncClient()  # here and not in the handler: it reads certificates, which takes a while


def ask_upstream():
    urllib.request.urlopen(URL).read()


async def await_upstream():
    reader, writer = await asyncio.open_connection("127.0.0.1", UPSTREAM)
    writer.write(b"GET /slow HTTP/1.1\r\nHost: upstream\r\nConnection: close\r\n\r\n")
    await reader.read()
    writer.close()


def open_fifo():
    path = os.path.join(tempfile.mkdtemp(), "orders.fifo")
    os.mkfifo(path)
    threading.Timer(1, lambda: open(path, "w").close()).start()
    open(path).close()


def ask_name_server():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, b"\1" + bytes(15))  # a second
        client.sendto(b"\0\1\1\0\0\1\0\0\0\0\0\0\3www\7example\3com\0\0\1\0\1", ("127.0.0.1", 53))
        try:
            client.recv(512)
        except OSError:
            pass


def serve_one_at_a_time(listener):
    while True:
        client, _ = listener.accept()
        with client:
            time.sleep(1 if b"/slow" in client.recv(999) else 0)
            client.sendall(b"done")


async def await_process(path):
    reader, writer = await asyncio.open_connection(*BACK.getsockname())
    writer.write(path)
    await reader.read()
    writer.close()


def compute():
    end = time.monotonic() + 1
    while time.monotonic() < end:
        pass


async def slow(lock):
    loop = asyncio.get_running_loop()
    if WAY == "sleep":
        await asyncio.sleep(1)
    elif WAY in ("lock", "turns"):
        async with lock:
            await asyncio.sleep(1)
    elif WAY == "pool":
        await loop.run_in_executor(POOL, time.sleep, 1)
    elif WAY == "processes":
        await loop.run_in_executor(PROCESSES, compute)
    elif WAY in ("await", "both"):
        await await_upstream()
    elif WAY == "front":
        await await_process(b"/slow")
    elif WAY == "httpx":
        await CLIENT.get(URL)
    elif WAY == "leak":
        await loop.create_future()
    elif WAY == "urllib":
        ask_upstream()
    elif WAY == "requests":
        requests.get(URL)
    elif WAY == "queries":
        for _ in range(200):
            ask_upstream()
    elif WAY == "fifo":
        open_fifo()
    elif WAY == "child":
        subprocess.run(["sleep", "1"])
    elif WAY == "names":
        ask_name_server()
    elif WAY == "compute":
        compute()


async def fast(lock):
    if WAY == "lock":
        async with lock:
            pass
    elif WAY == "pool":
        await asyncio.get_running_loop().run_in_executor(POOL, int)
    elif WAY == "processes":
        await asyncio.get_running_loop().run_in_executor(PROCESSES, int)
    elif WAY == "both":
        await await_upstream()
    elif WAY == "front":
        await await_process(b"/fast")


async def main():
    lock = asyncio.Lock()

    async def serve(reader, writer):
        try:
            while True:
                line = await reader.readline()
                if not line:
                    break
                while (await reader.readline()).strip():
                    pass
                await (slow(lock) if b"/slow" in line else fast(lock))
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")
                await writer.drain()
                if WAY == "after" and b"/slow" in line:
                    time.sleep(1)
        except ConnectionError:
            pass
        writer.close()

    if WAY == "httpx":
        await CLIENT.get(f"http://127.0.0.1:{UPSTREAM}/fast")  # the first request loads modules, for a while, too
    async with await asyncio.start_server(serve, "127.0.0.1", PORT) as server:
        await server.serve_forever()

if WAY == "front":
    BACK = socket.create_server(("127.0.0.1", 0))
    if os.fork() == 0:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # it does not outlive this one
        serve_one_at_a_time(BACK)
asyncio.run(main())
