"""A client asks for /slow and leaves before it is answered. In the six stages, in the loop of
tests/tutorial/loop, and in the servers that are installed (make deps-peers): does the work go on? In which call
does the server notice, and how long after the client has left?

A client leaves in one of two ways. close: its kernel sends a FIN, as it also does for a client that only says
that it sends no more. reset: it sends a RST, as a client does that has unread bytes, or that was killed.

The calls are seen by strace. "over": /slow came to its end, after its delay. "cancelled": it ended before.

Exit status: 0 if each server of this toolkit does as it should; 1 if not, 2 for a bad command line."""
import concurrent.futures
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from typing import NamedTuple, Optional

from bench.results import HERE
from kit import measuring, processes, tool
from kit.errors import Failed
from kit.processes import Program
from kit.report import Report, bad
from kit.tree import ROOT, STAGES, built
from recorder import strace_log

DELAY, LEAVES_AFTER = 1.5, 0.3
APP = HERE / "apps/leaving.py"
WAYS = {"close": None, "reset": struct.pack("ii", 1, 0)}  # SO_LINGER: close sends a RST
CALLS = "accept,accept4,recvfrom,recvmsg,sendto,sendmsg,read,readv,write,writev,close,epoll_wait,epoll_pwait,poll,ppoll"
PATIENCE = 4  # seconds after the end of /slow in which a server may still notice

report = Report("server", "leaves", "metric", "value")


class Subject(NamedTuple):
    name: str
    command: list
    packages: str = ""
    environment: dict = {}
    cancels: Optional[bool] = None  # what it should do; None: whatever it does


def uvicorn(name, **environment):
    return Subject(f"FastAPI {name}", ["uvicorn", "--port=0", "--no-access-log", "--loop", "asyncio", "--app-dir",
                                       APP.parent, "leaving:app"], "uvicorn python3-fastapi", environment)


SUBJECTS = [
    *[Subject(stage, [built(stage), "--port", "0", "--delay", DELAY], cancels=False) for stage in STAGES],
    *[Subject(step, [sys.executable, ROOT / "tests/tutorial/loop" / step, "--port", "0", "--delay", DELAY],
              cancels=step == "step5.py") for step in ("step4.py", "step5.py")],
    Subject("asyncio streams", [sys.executable, APP, "0"]),
    uvicorn("async def"),
    uvicorn("async def, middleware", MIDDLEWARE="1"),
    uvicorn("def", WAY="def"),
    uvicorn("def, middleware", WAY="def", MIDDLEWARE="1"),
    uvicorn("stream", WAY="stream"),
    Subject("Flask, gunicorn", ["gunicorn", "--workers=1", "--bind", "127.0.0.1:0", "--worker-tmp-dir", "/dev/shm",
                                "--chdir", APP.parent, "leaving:flask"], "gunicorn python3-flask"),
    Subject("Node", ["node", APP.parent / "leaving.js"], "nodejs"),
]


def calls(log):
    """Return the calls that have ended, in the order of their ends."""
    return sorted((call for each in strace_log.read(log.read_text(errors="replace")) for call in each.calls
                   if call.end is not None), key=lambda call: call.end)


def evidence(call, fd):
    """Return what this call says of a client that has left, or None."""
    if re.match(rf"{fd}\b", call.arguments) and re.match("recv|read|send|write", call.name):
        error = re.match(r"-1 (ECONNRESET|EPIPE)", call.result)
        if error:
            return f"{call.name}: {error[1]}"
        if call.result == "0" and re.match("recv|read", call.name):
            return f"{call.name}: 0"
    if call.name.startswith("epoll"):
        for events, data in re.findall(r"\{events=([A-Z|]+), data=\{u32=(\d+)", call.arguments):
            if int(data) == fd and re.search("HUP|ERR", events):
                return f"{call.name}: {'|'.join(word for word in events.split('|') if re.search('HUP|ERR', word))}"
    if call.name.endswith("poll"):
        for events in re.findall(rf"\{{fd={fd}, revents=([A-Z|]+)\}}", call.arguments):
            if re.search("HUP|ERR", events):
                return f"{call.name}: {events}"
    return None


def start(subject):
    """Start a server under strace. Return its Program, and its log."""
    log = tool.scratch() / f"{SUBJECTS.index(subject)}.strace"
    environment = dict(os.environ, DELAY=f"{DELAY}", PYTHONDONTWRITEBYTECODE="1", **subject.environment)
    return Program(["strace", "-f", "-ttt", "-T", "-s", "8", "-o", log, "-e", f"trace={CALLS}", *subject.command],
                   dies_by=signal.SIGTERM, env=environment), log


def address(server):
    found = re.search(r"http://127\.0\.0\.1:([1-9]\d*)", server.output() + server.messages())
    if not server.alive:
        raise Failed("did not start", server.messages())
    return int(found[1]) if found else None


def said(server):
    """Return what /slow has said of its end, in order."""
    return re.findall(r"^/slow(?: is| )? ?(over|cancelled|ends after [\d.]+ s)", server.output(), re.M)


def leave(server, log, port, way):
    """Ask for /slow, and leave. Return how /slow ended ("over" or "cancelled"), in which call the server noticed, and
    after how many seconds."""
    before = len(said(server))
    client = socket.create_connection(("127.0.0.1", port))
    client.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
    time.sleep(LEAVES_AFTER)
    if WAYS[way]:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, WAYS[way])
    left = time.time()
    client.close()
    time.sleep(DELAY - LEAVES_AFTER + 0.5)
    noticed = None
    deadline = time.monotonic() + PATIENCE
    while noticed is None and time.monotonic() < deadline:
        time.sleep(0.2)
        seen = calls(log)
        fds = [int(call.result.split()[0]) for call in seen
               if call.name.startswith("accept") and call.result[:1].isdigit() and call.end < left]
        after = [call for call in seen if call.end >= left]
        noticed = next(((evidence(call, fds[-1]), call.end - left) for call in after if evidence(call, fds[-1])), None)
    ends = said(server)[before:]
    if not ends:  # a stage in C says nothing, but it sends
        sent = any(re.match(rf"{fds[-1]}\b", call.arguments) and re.match("send|write", call.name) for call in after)
        ends = ["over" if sent else "not seen"]
    end = ends[0]
    if end.startswith("ends after"):  # step5.py
        end = "over" if float(end.split()[2]) > DELAY - 0.1 else "cancelled"
    return end, *(noticed or ("nothing", None))


def versions():
    commands = {"Python": [sys.executable, "--version"], "Node": ["node", "--version"],
                "uvicorn": ["uvicorn", "--version"], "gunicorn": ["gunicorn", "--version"]}
    found = {}
    for name, command in commands.items():
        if shutil.which(command[0]):
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
            number = re.search(r"\d+\.\d+[.\d]*", done.stdout)
            found[name] = number[0] if number else "?"
    for module in "fastapi", "starlette", "flask":
        code = f"from importlib.metadata import version; print(version('{module}'))"
        done = subprocess.run(["/usr/bin/python3", "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              text=True, check=False)
        if done.returncode == 0:
            found[{"fastapi": "FastAPI"}.get(module, module.title())] = done.stdout.strip()
    return found


def main(arguments):
    parser = report.parser(__doc__)
    options = parser.parse_args(arguments)
    tool.need("strace", "deps-tools")
    report.start(parser, options, *STAGES)
    report.begin("Starting")
    started, missing = [], []
    for subject in SUBJECTS:
        if shutil.which(str(subject.command[0])) is None:
            missing.append(f"{subject.name} is not installed ({subject.packages}): make deps-peers")
        else:
            started.append((subject, *start(subject)))
    report.end()
    report.begin("Clients ask for /slow, and leave")
    with concurrent.futures.ThreadPoolExecutor(len(started)) as pool:
        results = list(pool.map(lambda each: measure(*each), started))
    report.end()
    for text in missing:
        print(bad(f"LEFT OUT: {text}"))
    print(f"\n/slow takes {DELAY} s; the client leaves after {LEAVES_AFTER} s\n"
          f"{'server':<30} {'leaves by':<10} {'/slow is':<10} noticed in")
    for (subject, *_), rows in zip(started, results):
        for way, (end, call, late) in rows.items():
            show(subject, way, end, call, late)
    found = versions()
    for name, version in found.items():
        report.figure(name, "-", "version", version)
    print(", ".join(f"{name} {version}" for name, version in found.items()))
    return report.verdict()


def measure(subject, server, log):
    port = processes.wait_until(lambda: address(server), 60, step=0.1)
    if port is None:
        raise Failed(f"{subject.name} does not say where it listens", server.messages())
    url = f"http://127.0.0.1:{port}"
    processes.wait_until(lambda: measuring.probe(url, "0:/fast", timeout=2)[0]["status"] == "200")
    try:
        return {way: leave(server, log, port, way) for way in WAYS}
    finally:
        server.stop()


def show(subject, way, end, call, late):
    report.figure(subject.name, way, "slow_is", end)
    report.figure(subject.name, way, "noticed_in", call)
    after = "" if late is None else f"{late * 1000:.1f} ms" if late < 0.1 else f"{late:.2f} s"
    report.figure(subject.name, way, "noticed_after_s", "-" if late is None else f"{late:.4f}")
    print(f"{subject.name:<30} {way:<10} {end:<10} {call}{f', {after} after it left' if after else ''}")
    if subject.cancels is not None and end != ("cancelled" if subject.cancels else "over"):
        report.fail(f"{subject.name}: /slow is {end}")


if __name__ == "__main__":
    tool.run(main)
