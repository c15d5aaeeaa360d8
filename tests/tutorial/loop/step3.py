"""Step 3: sockets. The one wait of the loop is now epoll. It ends when a descriptor is ready or a sleeper is due.

In asyncio: _run_once (base_events.py) waits in _selector.select; sock_accept, sock_recv and sock_sendall
(selector_events.py) try the call, and if it would block, _add_reader or _add_writer registers the descriptor."""
import heapq
import itertools
import select
import time

import web

timers = []                  # a heap of (when it is due, a number, the coroutine)
numbers = itertools.count()  # to tell two apart that are due at the same time: coroutines have no order
waiting = {}                 # descriptor: the coroutine that waits for it
epoll = select.epoll()


class Sleep:
    def __init__(self, seconds):
        self.due = time.monotonic() + seconds

    def __await__(self):
        yield self  # send returns this to step, which parks the coroutine

    def park(self, coroutine):
        heapq.heappush(timers, (self.due, next(numbers), coroutine))


class Ready:
    """Wait until a socket is readable (EPOLLIN) or writable (EPOLLOUT)."""

    def __init__(self, sock, event):
        self.fd, self.event = sock.fileno(), event

    def __await__(self):
        yield self

    def park(self, coroutine):
        epoll.register(self.fd, self.event)
        waiting[self.fd] = coroutine


def step(coroutine):
    """Run a coroutine to its next await, and park it there."""
    try:
        coroutine.send(None).park(coroutine)
    except StopIteration:  # it has returned
        pass


def run():
    while True:
        timeout = max(0, timers[0][0] - time.monotonic()) if timers else None  # None: no limit
        for fd, _ in epoll.poll(timeout):  # the one call that blocks
            epoll.unregister(fd)
            step(waiting.pop(fd))
        while timers and timers[0][0] <= time.monotonic():
            step(heapq.heappop(timers)[2])


# ---- what runs on it

async def serve(listener):
    while True:
        await Ready(listener, select.EPOLLIN)
        try:
            client, _ = listener.accept()
            client.setblocking(False)  # or send would block until everything is sent
            step(converse(client))
        except OSError:  # the client has gone again, or we have run out of descriptors
            await Sleep(0.1)


async def converse(client):
    try:
        path = web.path(await read_head(client))
        status, body = await respond(path)
        await send_all(client, web.response(status, body))
    except OSError:  # it has reset the connection: that is the end of this conversation only
        pass
    finally:
        client.close()


async def read_head(client):
    head = b""
    while b"\r\n\r\n" not in head and len(head) < web.MOST:
        await Ready(client, select.EPOLLIN)
        part = client.recv(4096)
        if not part:
            raise ConnectionError("the client has closed the connection")
        head += part
    return head


async def send_all(sock, data):
    while data:
        await Ready(sock, select.EPOLLOUT)
        data = data[sock.send(data):]  # send returns how many bytes it has taken


async def respond(path):
    if path == "/slow":
        await Sleep(options.delay)
        return 200, "That was slow!"
    if path == "/fast":
        return 200, "That was fast!"
    return (404, "Not Found") if path else (400, "Bad Request")


if __name__ == "__main__":
    options, listener = web.start()
    step(serve(listener))
    run()
