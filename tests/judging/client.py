"""A client that does odd things, step by step, and says when they happened. A STEP is

  /fast        send a request for this path
  /fast*3      three of them, in one piece
  first:/fast  the first half of such a request
  rest:/fast   the other half
  read         read a response
  end          expect that the server closes the connection
  fill         send requests without reading, until no more fits
  half-close   say that no more requests will come
  reset        break the connection off
  wait:0.5     do nothing for half a second
"""
import contextlib
import re
import shlex
import socket
import struct
import time
from typing import NamedTuple

from kit import tool
from kit.commandline import Parser
from kit.errors import Failed


PROGRAM = "tests/judging/client.py"
MOST = 12 << 20  # bytes that are sent without reading


class Response(NamedTuple):
    status: int
    fields: dict  # names in lower case
    body: str

    @property
    def closes(self):
        return "close" in self.fields.get("connection", "").lower()

    def __str__(self):
        return f'status {self.status} and "{self.body.strip()}"'


class Broken(Exception):
    """The connection is not what it should be."""


def request(path):
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def sleep_a_little():
    time.sleep(0.2)
    return True


class Client:
    """One connection. wait(condition, sleeps) waits until condition() is true, and may fail; sleeps is how
    long the server may do nothing for good reason. asleep() tells whether it has nothing to do, and settle()
    waits for that. steps is what has been done, as words of the command line."""

    def __init__(self, host, port, wait, asleep=sleep_a_little, settle=lambda: None, buffers=0):
        self.asleep, self.settle = asleep, settle
        self.wait, self.steps, self.received, self.over = wait, [], b"", False
        self.socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF) if buffers else ():
            self.socket.setsockopt(socket.SOL_SOCKET, option, buffers)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.settimeout(5)
        try:
            self.socket.connect((host, port))
        except OSError as error:
            raise Broken(f"connect: {error.strerror or error}") from None
        self.socket.setblocking(False)

    # ---- say

    def send(self, data):
        deadline = time.monotonic() + 5
        while data:
            try:
                data = data[self.socket.send(data):]
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise Broken("the server does not read what is sent") from None
                time.sleep(0.01)
            except OSError as error:
                raise Broken(f"send: {error.strerror}") from None

    def get(self, path, times=1):
        self.steps.append(path if times == 1 else f"{path}*{times}")
        self.send(request(path) * times)

    def first_half(self, path):
        self.steps.append(f"first:{path}")
        self.send(request(path)[:len(path) + 9])

    def rest(self, path):
        self.steps.append(f"rest:{path}")
        self.send(request(path)[len(path) + 9:])

    def fill(self, path="/fast"):
        """Send requests without reading, until no more fits. Return how many have been sent as a whole."""
        self.steps.append("fill")
        data, sent, last, full = request(path) * 1000, 0, time.monotonic(), False
        while sent <= MOST:
            try:
                sent += self.socket.send(data[sent % len(data):])
                last, full = time.monotonic(), False
            except BlockingIOError:
                if full:  # still, though the server had time to read
                    return sent // len(request(path))
                full = self.asleep()
                if time.monotonic() - last > 5:
                    raise Broken("the server reads nothing more, but does not sleep either: it is woken "
                                 "again and again") from None
            except OSError as error:
                raise Broken(f"send: {error.strerror}") from None
        raise Broken(f"the server reads and reads: {sent >> 20} MiB of requests, though nobody reads its "
                     "responses")

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
        self.steps.append(f"wait:{seconds:g}")
        time.sleep(seconds)
        self.settle()

    # ---- hear

    def _receive(self, most=65536):
        """Return whether there is something new: more bytes in received, or the end, which ended tells."""
        try:
            data = self.socket.recv(most)
        except BlockingIOError:
            return False
        except OSError as error:
            raise Broken(f"the server has reset the connection ({error.strerror})") from None
        self.received += data
        self.ended = not data
        return True

    def silent(self):
        """Has nothing come, neither a response nor the end?"""
        return not self._receive() and not self.received

    def read(self, sleeps=0):
        """Return one response, and leave what comes after it."""
        self.steps.append("read")
        while True:
            response, length = parse(self.received)
            if response:
                self.received = self.received[length:]
                return response
            self.wait(self._receive, sleeps)
            if self.ended:
                raise Broken("the server has closed the connection" + (
                    f' after "{self.received[:60].decode(errors="replace")}"' if self.received else
                    " without a response"))

    def count(self, wanted, text=b"That was fast!", sleeps=10):
        """Read so many responses, and count them by their body. A kernel with bytes to send asks ever more
        rarely whether the other has room for them (RFC 9293, section 3.8.6.1), so the server may sleep."""
        self.steps.append("read")
        found = 0
        while found < wanted:
            self.wait(self._receive, sleeps)
            if self.ended:
                break
            found += self.received.count(text)
            self.received = self.received.rpartition(text)[2]
        return found

    def end(self, sleeps=0):
        """Wait until the server closes the connection."""
        self.steps.append("end")
        self.over = True
        self.wait(self._receive, sleeps)
        if self.received:
            raise Broken(f'more bytes than one response has: "{self.received[:60].decode(errors="replace")}"')

    def shown(self, url, stays):
        """Return a command that does the same, and stays connected for a while if this client does."""
        stays = stays and not self.over
        if self.steps in (["/fast", "read"], ["/slow", "read"]) and not stays:
            return f"curl -i {url}{self.steps[0]}"
        return shlex.join([PROGRAM, url, *self.steps, *(["wait:9"] if stays else [])])


def parse(data):
    """Return the first response in data, and its length; None, 0 if it is not complete."""
    head, found, rest = data.partition(b"\r\n\r\n")
    if not found:
        return None, 0
    status, *lines = head.decode(errors="replace").split("\r\n")
    said = re.match(r"HTTP/1\.[01] (\d{3})( |$)", status)
    if not said:
        raise Broken(f'no status line: "{status[:60]}"')
    fields = {}
    for line in lines:
        name, _, value = line.partition(":")
        fields[name.strip().lower()] = value.strip()
    if "chunked" in fields.get("transfer-encoding", "").lower():
        body, length = parse_chunks(rest)
    elif fields.get("content-length", "").isdigit():
        length = int(fields["content-length"])
        body = rest[:length] if len(rest) >= length else None
    else:
        raise Broken("the response has no Content-Length, so nobody knows where it ends")
    if body is None:
        return None, 0
    return Response(int(said[1]), fields, body.decode(errors="replace")), len(head) + 4 + length


def parse_chunks(data):
    """Return the body, and the length of its coding; None, 0 if it is not complete."""
    body, at = b"", 0
    while True:
        line, found, _ = data[at:].partition(b"\r\n")
        if not found:
            return None, 0
        try:
            size = int(line.split(b";")[0], 16)
        except ValueError:
            raise Broken(f'no chunk size: "{line[:20].decode(errors="replace")}"') from None
        at += len(line) + 2
        if len(data) < at + size + 2:
            return None, 0
        body += data[at:at + size]
        at += size + 2
        if size == 0:
            return body, at


# ---- the command line

def wait_patiently(condition, _sleeps=0):
    deadline = time.monotonic() + 30
    while not condition():
        if time.monotonic() > deadline:
            raise Broken("nothing for 30 s")
        time.sleep(0.002)


def take(client, step):
    """Take a step. Return what came of it."""
    verb, _, value = step.partition(":")
    plain = {"read": client.read, "end": client.end, "fill": client.fill, "half-close": client.half_close,
             "reset": client.reset}
    if step in plain:
        return plain[step]()
    if step.startswith("/"):
        path, _, times = step.partition("*")
        return client.get(path, int(times or 1))
    return {"first": client.first_half, "rest": client.rest,
            "wait": lambda text: client.pause(float(text))}[verb](value)


def main(arguments):
    parser = Parser(description=__doc__, usage="%(prog)s URL STEP...")
    parser.add_argument("url", metavar="URL")
    parser.add_argument("steps", metavar="STEP", nargs="+")
    options = parser.parse_args(arguments)
    url = re.fullmatch(r"http://(\[[0-9a-f:]+\]|[\w.-]+):(\d{1,5})/?", options.url)
    if not url:
        parser.error(f"{options.url}: want http://HOST:PORT")
    known = r"/\S*?(\*\d+)?|(first|rest):/\S*|wait:\d+(\.\d+)?|read|end|fill|half-close|reset"
    for step in options.steps:
        if not re.fullmatch(known, step):
            parser.error(f"{step}: no such step; see --help")
    start = time.monotonic()
    try:
        client = Client(url[1].strip("[]"), int(url[2]), wait_patiently)
        for step in options.steps:
            came = take(client, step)
            print(f"{time.monotonic() - start:7.3f} s  {step}" + (f": {came}" if came is not None else ""))
    except Broken as broken:
        raise Failed(str(broken)) from None
    return 0


if __name__ == "__main__":
    tool.run(main)
