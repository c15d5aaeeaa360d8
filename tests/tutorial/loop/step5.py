"""Step 5: the client leaves. Cancelling a task throws an exception into its coroutine, at the await where it
stands. Each `finally` on the way out puts back what was taken. A time-out is a timer that cancels.

In asyncio: Task.cancel, and coro.throw in Task.__step (tasks.py); wait_for (tasks.py), timeout (timeouts.py,
3.11). There, a task that is cancelled also cancels what it awaits, unless shield (tasks.py) protects that."""
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


class Cancelled(BaseException):
    """Nobody wants the result any more. (It is no Exception, so that `except Exception` lets it pass.)"""


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
        self.coroutine, self.future, self.cancelled = coroutine, None, False
        queue.append(self.step)

    def step(self):
        """Run the coroutine to its next await of a future that is not done."""
        try:
            if self.cancelled:
                self.cancelled = False
                self.future = self.coroutine.throw(Cancelled())
            else:
                self.future = self.coroutine.send(None)
        except StopIteration as end:
            self.set(end.value)
        except Cancelled as error:
            self.set(error=error)
        except Exception as error:
            if not self.callbacks:  # nobody waits for it, so nobody would ever hear of it
                traceback.print_exc()
            self.set(error=error)
        else:
            self.future.callbacks.append(self.step)  # it goes into the queue when the future is done

    def cancel(self):
        """Raise Cancelled in the coroutine, at the await where it stands."""
        if not self.done:
            self.cancelled = True
            if self.future and self.step in self.future.callbacks:  # or else its step is in the queue already
                self.future.callbacks.remove(self.step)
                queue.append(self.step)


def call_later(seconds, function):
    heapq.heappush(timers, (time.monotonic() + seconds, next(numbers), function))


async def sleep(seconds):
    future = Future()
    call_later(seconds, future.set)
    await future


def watch(sock, event):
    """Return a future that is done when a socket is readable (EPOLLIN), writable (EPOLLOUT), or when its peer
    has left (EPOLLRDHUP)."""
    epoll.register(sock, event | select.EPOLLONESHOT)  # report it once: it may take some time to unwatch
    future = waiting[sock.fileno()] = Future()
    return future


def unwatch(sock):
    epoll.unregister(sock)
    del waiting[sock.fileno()]


async def until(sock, event):
    try:
        await watch(sock, event)
    finally:
        unwatch(sock)


def run():
    while True:
        # something is queued: only look; else wait until the nearest timer is due, or without limit
        timeout = 0 if queue else max(0, timers[0][0] - time.monotonic()) if timers else None
        for fd, _ in epoll.poll(timeout):
            waiting[fd].set()
        while timers and timers[0][0] <= time.monotonic():
            heapq.heappop(timers)[2]()
        for _ in range(len(queue)):  # what these add is for the next turn, after another look at epoll
            queue.popleft()()


# ---- made of these

async def within(seconds, coroutine):
    """Return what a coroutine returns. If that takes longer, cancel it, and raise TimeoutError."""
    task = Task(coroutine)
    call_later(seconds, task.cancel)
    try:
        return await task
    except Cancelled:
        if isinstance(task.error, Cancelled):  # it was the task that was cancelled, and not we
            raise TimeoutError("no answer in time") from None
        raise
    finally:
        task.cancel()  # if we are cancelled, it is, too; if it is done, nothing happens


async def while_connected(client, coroutine):
    """Return what a coroutine returns. If the client leaves meanwhile, cancel it."""
    task = Task(coroutine)
    watch(client, select.EPOLLRDHUP).callbacks.append(task.cancel)
    try:
        return await task
    finally:
        unwatch(client)
        task.cancel()


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
        path = web.path(await within(options.timeout, read_head(client)))
        status, body = await while_connected(client, respond(path))
        await within(options.timeout, send_all(client, web.response(status, body)))
    except (OSError, Cancelled):  # it has left, or is too slow: that is the end of this conversation only
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
        begun = time.monotonic()
        try:
            await sleep(options.delay)
            return 200, "That was slow!"
        finally:
            print(f"/slow ends after {time.monotonic() - begun:.3f} s", flush=True)
    if path == "/fast":
        return 200, "That was fast!"
    if path == "/upstream":
        try:
            return 200, await shared_answer()
        except TimeoutError as error:
            return 504, f"504 Gateway Timeout: {error}"
        except (OSError, ValueError) as error:
            return 502, f"502 Bad Gateway: {error}"
    return (404, "Not Found") if path else (400, "Bad Request")


asking = None  # the task that asks the upstream


def shared_answer():
    """Ask the upstream for its /slow. Clients that come while it is being asked share its answer."""
    global asking
    if asking is None or asking.done:
        asking = Task(within(options.timeout, ask(options.upstream, "/slow")))
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
