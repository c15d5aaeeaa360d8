"""A loop of the module selectors whose /slow takes a second, for which it need not wait. It makes one mistake.

usage: loop_ways.py PORT WAY
  deaf     while a /slow is served, it watches no listener
  forgets  while a /slow is served, it accepts a client, but does not watch it
"""
import selectors
import socket
import sys
import time

WAY = sys.argv[2]
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\ndone"
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
loop = selectors.DefaultSelector()
slow = []       # (when it is due, the connection)
forgotten = []


def watch(sock):
    sock.setblocking(False)
    loop.register(sock, selectors.EVENT_READ)


def answer(client):
    client.send(ANSWER)
    client.close()


def accept():
    client, _ = listener.accept()
    if slow and WAY == "forgets":
        forgotten.append(client)
    else:
        watch(client)


def serve(client):
    request = client.recv(8192)
    loop.unregister(client)
    if b"/slow" in request:
        slow.append((time.monotonic() + 1, client))
        if WAY == "deaf" and len(slow) == 1:
            loop.unregister(listener)
    elif request:
        answer(client)
    else:
        client.close()


watch(listener)
while True:
    for key, _ in loop.select(0.05 if slow else None):
        accept() if key.fileobj is listener else serve(key.fileobj)
    while slow and slow[0][0] <= time.monotonic():
        answer(slow.pop(0)[1])
        if not slow:
            while forgotten:
                watch(forgotten.pop())
            if WAY == "deaf":
                watch(listener)
