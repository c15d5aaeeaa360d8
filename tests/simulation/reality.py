"""The same experiment on a real server: clients that do what a script says, in real time, while strace records.

What clients.mjs simulates, this does with sockets: a client with a request sends it, reads what comes, and closes once
it has all answers.
"""
import contextlib
import os
import re
import select
import signal
import socket
import struct
import time

from kit import processes, tool
from kit.responses import parse
from kit.servers import Server
from kit.tree import BUILD, ROOT
from recorder import recorder, strace_log, symbols
from simulation import build, libev

COLUMNS = ["request", "path", "start_ms", "connected_ms", "sent_ms", "first_ms", "done_ms", "status", "body", "port",
           "epoch"]


class Client:
    """One client of a script. Times are in seconds since the script began; None: it did not happen."""

    def __init__(self, action, path, count, address, zero):
        self.action, self.zero = action, zero
        host = f"Host: {address[0]}:{address[1]}\r\n"

        def request(path, last=True):
            close = "Connection: close\r\n" if last else ""
            return f"GET {path} HTTP/1.1\r\n{host}{close}\r\n"

        self.requests = {"silent": 0, "idle": 0, "pipeline": count or 2}.get(action, 1)
        self.path = path or {"half": "/fast", "pipeline": "/slow"}.get(action)
        text, self.rest = "", ""
        if action == "pipeline" and count:
            text = request("/fast", False) * (count - 1) + request("/fast")
        elif action == "pipeline":
            text = request("/slow", False) + request("/fast")
        elif self.requests:
            text = request(self.path)
        if action == "half":
            cut = text.index("\r\n") >> 1
            text, self.rest = text[:cut], text[cut:]
        self.text, self.input, self.answers, self.error = text, b"", [], ""
        self.connected = self.left_by = self.first = self.done = self.sent = None
        self.start = self.now()
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.connect_ex(address)
        if select.select([], [self.socket], [], 0)[1]:  # as always, unless the backlog is full
            self.connect()
        self.port = self.socket.getsockname()[1]

    def connect(self):
        """The connection is there: send the request."""
        error = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            self.end("refused")
            return
        self.connected = self.now()
        if self.text:
            self.socket.send(self.text.encode())
            self.sent = self.now()

    def now(self):
        return time.monotonic() - self.zero

    @property
    def gone(self):
        return self.socket.fileno() < 0

    # ---- what it does

    def do(self, action):
        if self.gone:
            return
        if action == "rest":
            self.socket.send(self.rest.encode())
            self.sent = self.now()
        elif action == "half-close":
            self.left_by = self.left_by or action
            self.socket.shutdown(socket.SHUT_WR)
        elif action in ("close", "reset"):
            self.left_by = action
            if action == "reset":
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.socket.close()

    # ---- what comes

    def receive(self):
        try:
            bytes_ = self.socket.recv(65536)
        except BlockingIOError:
            return
        except ConnectionResetError:
            self.end("reset")
            return
        if not bytes_:
            self.end("closed early")
            return
        self.first = self.first or self.now()
        self.input += bytes_
        while True:
            response, length = parse(self.input)
            if response is None:
                break
            self.answers.append((str(response.status), response.body))
            self.input = self.input[length:]
        if self.answers and len(self.answers) >= self.requests:
            self.done = self.now()
            self.socket.close()

    def end(self, error):
        if len(self.answers) < self.requests:
            self.error = error
        self.socket.close()

    @property
    def status(self):
        if self.error or self.answers:
            return self.error or self.answers[-1][0]
        return "no answer" if self.requests and self.left_by is None else ""


@contextlib.contextmanager
def _before_all_others():
    """Run before other processes, where that is allowed (sched(7)). On a busy machine, a server would otherwise accept
    a client that has connected and not yet sent."""
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def play(address, pid, events, zero_of):
    """Let the events happen, and the clients read, until the server ends or all is over. Return the clients."""
    clients = []
    zero = zero_of()
    for event in [*events, None]:
        until = zero + event["at"] / 1000 if event else zero + 60
        while time.monotonic() < until:
            open_ = {client.socket: client for client in clients if not client.gone}
            if event is None and not open_:
                return zero, clients
            pending = [client.socket for client in open_.values() if client.connected is None]
            reading = [client.socket for client in open_.values() if client.connected is not None]
            readable, writable, _ = select.select(reading, pending, [], max(0, until - time.monotonic()))
            for ready in readable:
                open_[ready].receive()
            for ready in writable:
                open_[ready].connect()
        if event is not None:
            _happen(event, address, pid, clients, zero)
    return zero, clients


def _happen(event, address, pid, clients, zero):
    action = event["action"]
    if action in ("TERM", "INT"):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM if action == "TERM" else signal.SIGINT)
    elif action in ("get", "silent", "half", "pipeline"):
        clients.append(Client(action, event.get("path"), event.get("count"), address, zero))
    elif action != "idle":
        clients[event.get("client", len(clients)) - 1].do(action)


# ---- the server

def native(sources, stage, source_of_libev=None):
    """Build a stage with the system's compiler: a changed one, or 06 with the same source of libev. Return the
    program."""
    target = BUILD / "play" / "native" / (stage if sources.root == ROOT else sources.name)
    library = [*libev.FLAGS, f"-I{source_of_libev}", source_of_libev / "ev.c"] if source_of_libev else []
    files = sources.files(stage)
    newest = max(path.stat().st_mtime for path in [*files, *(sources.root / "common").glob("*.h")])
    if not target.exists() or target.stat().st_mtime < newest:
        target.parent.mkdir(parents=True, exist_ok=True)
        build.run("cc", "-std=gnu11", "-D_GNU_SOURCE", "-O1", "-g", "-w", f"-I{sources.root}", *library, *files,
                  "-o", target, "-pthread", "-lm", cwd=sources.root)
    return target


def run(program, name, options, events):
    """Run an experiment on a program. Return (the log of strace with our header, the clients)."""
    limit = options[options.index("--descriptors") + 1] if "--descriptors" in options else None
    if limit:
        at = options.index("--descriptors")
        options = options[:at] + options[at + 2:]
    log = tool.scratch() / f"strace-{time.monotonic_ns()}"
    under = ["prlimit", f"--nofile={limit}:{limit}"] if limit else []
    strace = recorder._strace(log, program)
    server = Server(name, *options, program=program, under=[*strace, *under])
    address = ("127.0.0.1", server.port)
    idle = []

    def zero():
        processes.wait_until(lambda: _at_rest(log), 5)
        for event in events:
            for _ in range(event.get("count", 0) if event["action"] == "idle" else 0):
                idle.append(socket.create_connection(address))
                time.sleep(0.03)
        time.sleep(0.05)
        return time.monotonic()

    try:
        with _before_all_others():
            start, clients = play(address, server.pid, events, zero)
        epoch = time.time() - (time.monotonic() - start)
        processes.wait_until(lambda: not server.alive, 10)
    finally:
        for connection in idle:
            connection.close()
        status = server.stop()
        recorder._wait_for_strace(log)
    return _compose(log, clients, name, options, epoch), clients, status


def _at_rest(log, sizes={}):
    """Has the log not grown for a tenth of a second?"""
    now, size = time.monotonic(), log.stat().st_size if log.exists() else 0
    before = sizes.get(log)
    if before is None or before[1] != size:
        sizes[log] = (now, size)
        return False
    return size > 0 and now - before[0] > 0.1


def _shown(client):
    """The start of a body as build/probe prints it."""
    return re.sub(r"[^ -~]", "?", client.answers[-1][1][:40]) if client.answers else "-"


def _compose(log, clients, name, options, epoch):
    text, title = log.read_text(errors="replace").replace(f"{ROOT}/", ""), " ".join([name, *options])

    def ms(value):
        return "-" if value is None else f"{value * 1000:.3f}"
    header = [f"recording: {title}", f"command: {title}", "url: http://127.0.0.1", "slow: /slow", "fast: /fast"]
    rows = [[str(i + 1), client.path, ms(client.start), ms(client.connected), ms(client.sent), ms(client.first),
             ms(client.done), client.status or "-", _shown(client), str(client.port),
             f"{epoch + client.start:.6f}"] for i, client in enumerate(c for c in clients if c.requests)]
    if rows:
        header += ["probe: " + "\t".join(row) for row in [COLUMNS, *rows]]
    copy = f"{BUILD.name}/play/copies/{name}/"  # of the tree: its lines are told as those of the tree
    header += [line.replace(copy, "") for line in symbols.header(strace_log.read(text)[0])]
    return "".join(f"# {line}\n" for line in header) + text
