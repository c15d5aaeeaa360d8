"""The two routes in Python, with a thread for each client: for test_right.py.

usage: threads.py --port PORT [--delay SECONDS] [--timeout SECONDS]
"""
import argparse
import re
import signal
import socket
import threading
import time

parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int, required=True)
parser.add_argument("--delay", type=float, default=10)
parser.add_argument("--timeout", type=float, default=10)
options = parser.parse_args()
stopping = threading.Event()
idle, busy, lock = set(), set(), threading.Condition()


def receive(client, received):
    """Return what has been received, as soon as that is a whole head; b"" at the end or the time-out."""
    deadline = time.monotonic() + options.timeout
    while b"\r\n\r\n" not in received:
        left = deadline - time.monotonic()
        if left <= 0:
            return b""
        client.settimeout(left)
        more = client.recv(65536)
        if not more:
            return b""
        received += more
    return received


def converse(client):
    received = b""
    while not stopping.is_set():
        with lock:
            idle.add(client)
        received = receive(client, received)
        with lock:
            idle.discard(client)
        if not received:
            return
        head, _, received = received.partition(b"\r\n\r\n")
        path = head.split()[1].decode()
        if path == "/slow":
            time.sleep(options.delay)
        known = path in ("/fast", "/slow")
        body = f"That was {path[1:]}!" if known else "404 Not Found"
        closes = stopping.is_set() or re.search(rb"(?im)^connection:.*\bclose\b", head)
        client.settimeout(options.timeout)
        client.sendall((f"HTTP/1.1 {'200 OK' if known else '404 Not Found'}\r\nContent-Length: {len(body)}\r\n"
                        f"{'Connection: close' if closes else 'X-Kept: yes'}\r\n\r\n{body}").encode())
        if closes:
            return


def serve(client):
    try:
        converse(client)
    except OSError:
        pass  # the client has gone, or reads nothing
    finally:
        with lock:
            idle.discard(client)
            busy.discard(client)
            client.close()
            lock.notify_all()


def stop(*_):
    """Let accept return: the socket that it waits for is shut down."""
    stopping.set()
    listener.shutdown(socket.SHUT_RDWR)


listener = socket.create_server(("127.0.0.1", options.port), backlog=1000)
signal.signal(signal.SIGTERM, stop)
while not stopping.is_set():
    try:
        accepted, _ = listener.accept()
    except OSError:
        with lock:
            if not stopping.is_set():
                lock.wait(0.5)  # no descriptor: until a client gives one back
        continue
    with lock:
        busy.add(accepted)
    threading.Thread(target=serve, args=[accepted]).start()
listener.close()
with lock:
    for client in idle:
        client.shutdown(socket.SHUT_RDWR)
    while busy:
        lock.wait()
