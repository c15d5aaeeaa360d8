"""A server of the standard library's http.server, whose /slow takes about a second in one of many ways.

usage: http_ways.py PORT WAY [UPSTREAM_PORT]

One thread serves all clients:
  sleep     sleeps
  cold      sleeps; the first time, it takes 2.5 s longer (a lazy import, a first connection to a database)
  cached    sleeps, but only the first time
  stream    sends the head and half of the body immediately, and the rest after a second
  stopped   stops itself, and another process lets it go on
  flock     waits for the lock of a file that another process has
  pipe      reads from a pipe into which a child writes after a second
A thread for each client:
  thread    sleeps
  post      sleeps, and takes only POST with the body a=b and the field Cookie: c=d
  mutex     takes a lock for a second; /fast wants it, too
  chain     the same, and waits in it for a lock that a third thread has
  limit     one at a time: whoever accepts waits, too
  event     waits for an event that /slow sets after a second; /slow itself sleeps
  deadlock  takes locks a and b, and /fast b and a
  gil       computes in one call of a C function that keeps the interpreter's lock
  database  asks another server, holding a lock that /fast wants, too
Processes:
  prefork   two processes accept; /slow sleeps
  passing   a parent accepts, and passes each connection to one process that serves it; /slow sleeps
"""
import array
import ctypes
import fcntl
import http.server
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

PORT, WAY = int(sys.argv[1]), sys.argv[2]
UPSTREAM = sys.argv[3] if len(sys.argv) > 3 else ""
PR_SET_PDEATHSIG = 1
A, B, EVENT = threading.Lock(), threading.Lock(), threading.Event()
LOCKED = os.path.join(tempfile.gettempdir(), f"stock-{PORT}.lock")
calls = 0


def fork():
    """Return true in a new process, which does not outlive this one, however it ends (prctl(2))."""
    parent = os.getpid()
    if os.fork() != 0:
        return False
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    return os.getppid() == parent or os._exit(0)


def stop_for_a_second():
    subprocess.Popen(["sh", "-c", f"sleep 1; kill -CONT {os.getpid()}"], close_fds=True)
    os.kill(os.getpid(), signal.SIGSTOP)


def wait_for_a_file():
    ready, told = os.pipe()
    if os.fork() == 0:
        with open(LOCKED, "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            os.write(told, b"!")
            time.sleep(1)
            os._exit(0)
    os.read(ready, 1)
    with open(LOCKED, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
    os.unlink(LOCKED)


def hold(lock):
    with lock:
        time.sleep(1)


def two_locks(first, second, pause=0.3):
    with first:
        time.sleep(pause)
        with second:
            pass


def slow():
    global calls
    calls += 1
    if WAY in ("sleep", "thread", "post", "limit", "prefork", "passing"):
        time.sleep(1)
    elif WAY == "cold":
        time.sleep(3.5 if calls == 1 else 1)
    elif WAY == "cached":
        time.sleep(1 if calls == 1 else 0)
    elif WAY == "stopped":
        stop_for_a_second()
    elif WAY == "flock":
        wait_for_a_file()
    elif WAY == "pipe":
        subprocess.check_output(["sh", "-c", "sleep 1; echo done"])
    elif WAY in ("mutex", "chain"):
        if WAY == "chain":
            threading.Thread(target=hold, args=(B,)).start()
            time.sleep(0.05)
            two_locks(A, B, 0)
        else:
            hold(A)
    elif WAY == "event":
        time.sleep(1)
        EVENT.set()
    elif WAY == "deadlock":
        two_locks(A, B)
    elif WAY == "gil":
        sum(range(60_000_000))
    elif WAY == "database":
        with A:
            urllib.request.urlopen(f"http://127.0.0.1:{UPSTREAM}/slow").read()


def fast():
    if WAY in ("mutex", "chain", "database"):
        with A:
            pass
    elif WAY == "event" and calls:
        EVENT.wait()
    elif WAY == "deadlock" and calls:
        two_locks(B, A)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if (body, self.headers.get("Cookie")) != (b"a=b", "c=d"):
            return self.send_error(400)
        self.do_GET()

    def do_GET(self):
        if WAY == "post" and self.path == "/slow" and self.command == "GET":
            return self.send_error(405)
        if WAY != "stream":
            slow() if self.path == "/slow" else fast()
        self.send_response(200)
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"do")
        if WAY == "stream" and self.path == "/slow":
            time.sleep(1)
        self.wfile.write(b"ne")

    def log_message(self, *_):
        pass


class OneAtATime(http.server.ThreadingHTTPServer):
    def process_request(self, *request):
        A.acquire()
        super().process_request(*request)

    def process_request_thread(self, *request):
        super().process_request_thread(*request)
        A.release()


def pass_connections():
    """The child serves what the parent accepts."""
    ours, theirs = socket.socketpair()
    listener = socket.create_server(("127.0.0.1", PORT))
    if fork():
        ours.close()
        listener.close()
        server = http.server.HTTPServer(("127.0.0.1", PORT), Handler, bind_and_activate=False)
        while True:
            _, passed, _, _ = theirs.recvmsg(1, socket.CMSG_SPACE(4))
            fds = array.array("i", passed[0][2])
            server.finish_request(*(lambda s: (s, s.getpeername()))(socket.socket(fileno=fds[0])))
    theirs.close()
    while True:
        client, _ = listener.accept()
        ours.sendmsg([b"!"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [client.fileno()]))])
        client.close()


if WAY == "passing":
    pass_connections()
threaded = WAY in ("thread", "post", "mutex", "chain", "event", "deadlock", "gil", "database")
kind = OneAtATime if WAY == "limit" else http.server.ThreadingHTTPServer if threaded else http.server.HTTPServer
server = kind(("127.0.0.1", PORT), Handler)
if WAY == "prefork":
    fork()
server.serve_forever()
