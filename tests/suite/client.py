"""A client that says anything, step by step, and remembers what it did. A STEP is one of

  /fast        send a request for this path
  say:TEXT     send these bytes; \\r, \\n, \\\\ and \\x7f stand for one byte
  read         read a response
  end          expect that the server closes the connection
  fill         send requests without reading, until no more fits
  flood        send requests without end, and read the responses, until the connection ends
  half-close   say that no more requests will come
  reset        break the connection off
  wait:0.5     do nothing for half a second

/fast*3 sends three requests in one piece, and say:x*8192 sends 8,192 bytes."""
import contextlib
import fcntl
import re
import select
import shlex
import socket
import struct
import termios
import threading
import time

from kit.printable import printable
from kit.responses import Broken, parse

MOST_UNREAD = 12 << 20     # bytes of requests that a server may read while nobody reads its responses
MOST_RESPONSE = 256 << 10  # bytes of a response
HOST = "example.org"


def request(path, *fields, method="GET"):
    head = [f"{method} {path} HTTP/1.1", f"Host: {HOST}", *fields, ""]
    return "".join(f"{line}\r\n" for line in head).encode()


class Client:
    """One connection. wait(condition, sleeps, socket) waits until condition() is true, and may fail; sleeps
    is how long the server may do nothing for good reason. asleep() tells whether it has nothing to do, and
    settle() waits for that. steps is what has been done."""

    def __init__(self, host, port, wait, asleep, settle, buffers=0):
        self.wait, self.asleep, self.settle = wait, asleep, settle
        self.steps, self.received, self.ended, self.over = [], b"", False, False
        self.socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF) if buffers else ():
            self.socket.setsockopt(socket.SOL_SOCKET, option, buffers)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.settimeout(15)
        try:
            self.socket.connect((host, port))
        except OSError as error:
            self.socket.close()
            raise Broken(f"connect: {error.strerror or error}") from None
        self.socket.setblocking(False)

    @property
    def port(self):
        return self.socket.getsockname()[1]

    # ---- say

    def say(self, data):
        """Send these bytes."""
        self.steps.append(data)
        deadline = time.monotonic() + 15
        while data:
            try:
                data = data[self.socket.send(data):]
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise Broken("the server does not read what is sent") from None
                poll(self.socket, select.POLLOUT, 0.1)
            except OSError as error:
                raise Broken(f"send: {error.strerror}") from None

    def get(self, path, times=1):
        self.say(request(path) * times)

    def fill(self, path="/fast", may_end=False):
        """Send requests without reading, until no more fits, or the server ends the connection if it may.
        Return how many have been sent as a whole."""
        self.steps.append("fill")
        data, sent, last, full = request(path) * 1000, 0, time.monotonic(), False
        while sent <= MOST_UNREAD:
            try:
                sent += self.socket.send(data[sent % len(data):])
                last, full = time.monotonic(), False
            except BlockingIOError:
                if full:  # still, though the server had time to read
                    return sent // len(request(path))
                full = self.asleep()
                if time.monotonic() - last > 15:
                    raise Broken("the server reads nothing more, but does not sleep either: it is woken "
                                 "again and again") from None
            except OSError as error:
                if may_end:
                    return sent // len(request(path))
                raise Broken(f"send: {error.strerror}") from None
        raise Broken(f"the server reads and reads: {sent >> 20} MiB of requests, though nobody reads its "
                     "responses")

    def flood(self, path="/fast"):
        """Send requests without end, and read the responses, until the server or close_flood ends the
        connection."""
        self.steps.append("flood")
        self.socket.setblocking(True)
        reader = threading.Thread(target=self._discard, daemon=True)
        reader.start()
        with contextlib.suppress(OSError):
            while self.socket.send(request(path) * 2000):
                pass
        reader.join()

    def _discard(self):
        with contextlib.suppress(OSError):
            while self.socket.recv(1 << 20):
                pass

    def close_flood(self):
        self.over = True
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

    def all_received(self):
        """Wait until the kernel of the server has received all that was said (tcp(7), SIOCOUTQ)."""
        def done():
            return struct.unpack("i", fcntl.ioctl(self.socket, termios.TIOCOUTQ, b"\0" * 4))[0] == 0
        self.wait(done, 10)

    def half_close(self):
        self.steps.append("half-close")
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)

    def reset(self):
        self.steps.append("reset")
        self.over = True
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self):
        self.over = True
        self.socket.close()

    def pause(self, seconds):
        """Do nothing, and let the server do all that it has to do."""
        self.steps.append(f"wait:{seconds:g}")
        time.sleep(seconds)
        self.settle()

    # ---- hear

    def _receive(self):
        """Return whether there is something new: more bytes in received, or the end."""
        try:
            data = self.socket.recv(65536)
        except BlockingIOError:
            return False
        except OSError as error:
            raise Broken(f"the server has reset the connection ({error.strerror})") from None
        self.received += data
        self.ended = not data
        return True

    def silent(self):
        """Has nothing come, neither a response nor the end?"""
        if not self.received and not self.ended:
            self._receive()
        return not self.received and not self.ended

    def read(self, sleeps=0, head=False):
        """Return one response, and leave what comes after it. A response to HEAD has no body. All of it has
        to come in the time of one wait, however many bytes renew the hope."""
        self.steps.append("read")
        return self._take(head) or self.wait(lambda: self._look(head), sleeps, self.socket)

    def _take(self, head):
        """Return a response that has come as a whole, or None."""
        response, length = parse(self.received, head, self.ended)
        self.received = self.received[length:]
        return response

    def _look(self, head):
        """Look whether more has come. Return a response if it is whole now, or None."""
        response = self._take(head) if self._receive() else None
        if response:
            return response
        if self.ended:
            begun = f'after "{printable(self.received[:60].decode(errors="replace"))}"'
            raise Broken("the server has closed the connection " +
                         (begun if self.received else "without a response"))
        if len(self.received) > MOST_RESPONSE:
            raise Broken(f"a response that does not end: {MOST_RESPONSE >> 10} KiB so far")
        return None

    def count(self, wanted, text=b"That was fast!", sleeps=10):
        """Read so many responses, and count them by their body. A kernel with bytes to send asks ever more
        rarely whether the other has room for them (RFC 9293, section 3.8.6.1), so the server may sleep. It may
        be slow, too: each thousand may take the time of one wait."""
        self.steps.append("read")
        found = enough = 0

        def look():
            nonlocal found
            for _ in range(64):
                if self.ended or found >= enough or not self._receive():
                    break
                found += self.received.count(text)
                self.received = self.received.rpartition(text)[2][-MOST_RESPONSE:]
            return self.ended or found >= enough

        while found < wanted and not self.ended:
            enough = min(found + 1000, wanted)
            self.wait(look, sleeps, self.socket)
        return found

    def end(self, sleeps=0):
        """Wait until the server closes the connection."""
        self.steps.append("end")
        self.over = True

        def over():
            self.ended or self._receive()
            if self.received:
                raise Broken(f'more bytes than one response has: '
                             f'"{printable(self.received[:60].decode(errors="replace"))}"')
            return self.ended

        self.wait(over, sleeps, self.socket)
        self.socket.close()

    # ---- what was done

    def shown(self, url, stays):
        """Return a command that does the same, and stays connected for a while if this client does."""
        stays = stays and not self.over
        words = list(map(word, merged(self.steps)))
        stays = stays and words[-1:] != ["flood"]
        if len(words) == 2 and words[1] == "read" and re.fullmatch(r"/\w+", words[0]) and not stays:
            return f"curl -i {url}{words[0]}"
        return shlex.join(["tests/talk.py", url, *words, *(["wait:9"] if stays else [])])


def poll(file, events, seconds):
    """Wait until one of these events, for so long at most."""
    waiting = select.poll()
    waiting.register(file, events)
    waiting.poll(seconds * 1000)


def merged(steps):
    """Join what was said in several pieces without a pause."""
    joined = []
    for step in steps:
        if joined and isinstance(step, bytes) and isinstance(joined[-1], bytes):
            joined[-1] += step
        else:
            joined.append(step)
    return joined


def word(step):
    """Return a step as a word of the command line."""
    if isinstance(step, str):
        return step
    path = re.match(r"GET (/\S*) ", step.decode("latin-1"))
    one = request(path[1]) if path else step
    if path and step == one * (len(step) // len(one)):
        return path[1] + (f"*{len(step) // len(one)}" if len(step) > len(one) else "")
    if len(step) > 80 and step == step[:1] * len(step):
        return f"{word(step[:1])}*{len(step)}"
    text = step.decode("latin-1").encode("unicode_escape").decode()
    return "say:" + re.sub(r"(.)\1{79,}", lambda run: f"...{len(run[0])} times {run[1]}...", text)
