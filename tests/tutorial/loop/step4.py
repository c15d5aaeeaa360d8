"""Step 4: someone else's result. Several coroutines may wait for it, and it may be an error. That takes a
future, a task that fills it, and a queue of what to run next.

In asyncio: Future.__await__ and set_result, whose __schedule_callbacks uses call_soon (futures.py,
base_events.py); Task.__step and __wakeup (tasks.py); _run_once, which empties the queue _ready; sock_connect
(selector_events.py)."""
import collections
import errno
import heapq
import itertools
import os
import select
import socket
import time
import traceback

import web

timers = []                  # a heap of (when it is due, a number, the function to call then)
numbers = itertools.count()  # two that are due at the same time keep their order
waiting = {}                 # descriptor: the future that says it is ready
epoll = select.epoll()
queue = collections.deque()  # functions to call in this turn


class Future:
    """A result that may not exist yet."""

    def __init__(self):
        self.done, self.result, self.error, self.callbacks = False, None, None, []

    def set(self, result=None, error=None):
        if not self.done:
            self.done, self.result, self.error = True, result, error
            queue.extend(self.callbacks)  # later: whoever sets a result is in the middle of something

    def __await__(self):
        if not self.done:
            yield self  # send returns it to the task, and is called again when the result exists
        if self.error:
            raise self.error
        return self.result


class Task(Future):
    """A coroutine that is being run, and a future for what it will return."""

    def __init__(self, coroutine):
        super().__init__()
        self.coroutine = coroutine
        queue.append(self.step)

    def step(self):
        """Run the coroutine to its next await of a future that is not done."""
        try:
            future = self.coroutine.send(None)
        except StopIteration as end:
            self.set(end.value)
        except Exception as error:
            if not self.callbacks:  # nobody waits for it, so nobody would ever hear of it
                traceback.print_exc()
            self.set(error=error)
        else:
            future.callbacks.append(self.step)  # it goes into the queue when the future is done


def call_later(seconds, function):
    heapq.heappush(timers, (time.monotonic() + seconds, next(numbers), function))


async def sleep(seconds):
    future = Future()
    call_later(seconds, future.set)
    await future


async def until(sock, event):
    """Wait until a socket is readable (EPOLLIN) or writable (EPOLLOUT)."""
    future = waiting[sock.fileno()] = Future()
    epoll.register(sock, event)
    await future


def run():
    while True:
        # something is queued: only look; else wait until the nearest timer is due, or without limit
        timeout = 0 if queue else max(0, timers[0][0] - time.monotonic()) if timers else None
        for fd, _ in epoll.poll(timeout):
            epoll.unregister(fd)
            waiting.pop(fd).set()
        while timers and timers[0][0] <= time.monotonic():
            heapq.heappop(timers)[2]()
        for _ in range(len(queue)):  # what these add is for the next turn, after another look at epoll
            queue.popleft()()


# ---- what runs on it

async def serve(listener):
    while True:
        await until(listener, select.EPOLLIN)
        try:
            client, _ = listener.accept()
            client.setblocking(False)  # or send would block until everything is sent
            Task(converse(client))
        except OSError:  # the client has gone again, or we have run out of descriptors
            await sleep(0.1)


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
        await until(client, select.EPOLLIN)
        part = client.recv(4096)
        if not part:
            raise ConnectionError("the client has closed the connection")
        head += part
    return head


async def send_all(sock, data):
    while data:
        await until(sock, select.EPOLLOUT)
        data = data[sock.send(data):]  # send returns how many bytes it has taken


async def respond(path):
    if path == "/slow":
        await sleep(options.delay)
        return 200, "That was slow!"
    if path == "/fast":
        return 200, "That was fast!"
    if path == "/upstream":
        try:
            return 200, await shared_answer()
        except (OSError, ValueError) as error:
            return 502, f"502 Bad Gateway: {error}"
    return (404, "Not Found") if path else (400, "Bad Request")


asking = None  # the task that asks the upstream


def shared_answer():
    """Ask the upstream for its /slow. Clients that come while it is being asked share its answer."""
    global asking
    if asking is None or asking.done:
        asking = Task(ask(options.upstream, "/slow"))
    return asking


async def ask(address, path):
    """Return what another server answers."""
    with socket.socket() as sock:
        sock.setblocking(False)
        error = sock.connect_ex(address)
        if error == errno.EINPROGRESS:  # usually: it takes a packet there and one back
            await until(sock, select.EPOLLOUT)
            error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, os.strerror(error))
        await send_all(sock, web.request(address[0], path))
        answer = b""
        while len(answer) < web.MOST:
            await until(sock, select.EPOLLIN)
            part = sock.recv(4096)
            if not part:
                break
            answer += part
    return web.content(answer)


if __name__ == "__main__":
    options, listener = web.start()
    Task(serve(listener))
    run()
