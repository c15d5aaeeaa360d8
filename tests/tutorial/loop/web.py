"""What the steps need and what is no event loop: a command line, a listener, and just enough of HTTP/1.1.

Nothing here waits. A server with real HTTP is in common/http.c."""
import argparse
import pathlib
import signal
import socket
import sys

MOST = 65536  # bytes of a head, or of an answer
REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 502: "Bad Gateway", 504: "Gateway Timeout"}


def address(text):
    """The type of an argument ADDRESS:PORT."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"{text}: want ADDRESS:PORT")
    return host, int(port)


def start():
    """Read the command line, and listen. Return the options and the listener, which does not block."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends the program without a traceback
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--port", type=int, default=8000, help="0 lets the kernel choose (8000)")
    parser.add_argument("--delay", type=float, default=10, help="how long /slow waits, in seconds (10)")
    parser.add_argument("--timeout", type=float, default=10,
                        help="how long a client or the upstream may take, in step 5 (10)")
    parser.add_argument("--upstream", type=address, default=("127.0.0.1", 8001), metavar="ADDRESS:PORT",
                        help="the server that /upstream asks (127.0.0.1:8001)")
    options = parser.parse_args()
    listener = socket.create_server(("127.0.0.1", options.port), backlog=4096)
    listener.setblocking(False)
    name = pathlib.Path(sys.argv[0]).stem
    print(f"{name}: listening on http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    return options, listener


def path(head):
    """Return the path that a request asks for; None if its first line is not a request."""
    words = head.split(b"\r\n")[0].split(b" ")
    if len(words) == 3 and words[2].startswith(b"HTTP/1."):
        return words[1].decode("latin-1")
    return None


def request(host, path):
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()


def response(status, body):
    content = body.encode()
    return (f"HTTP/1.1 {status} {REASONS[status]}\r\nContent-Type: text/plain; charset=utf-8\r\n"
            f"Content-Length: {len(content)}\r\nConnection: close\r\n\r\n").encode() + content


def content(answer):
    """Return the text in a complete answer of another server. Raise ValueError if it is not one."""
    head, end, body = answer.partition(b"\r\n\r\n")
    first, *fields = head.decode("latin-1").split("\r\n")
    lengths = [value.strip() for name, _, value in (field.partition(":") for field in fields)
               if name.lower() == "content-length"]
    if not end or not first.startswith("HTTP/1."):
        raise ValueError("no HTTP")
    if lengths != [str(len(body))]:
        raise ValueError("half an answer")
    if first.split(" ")[1] != "200":
        raise ValueError(f"the answer is {first.split(' ')[1]}")
    return body.decode("utf-8", "replace")
