"""A server of the standard library's http.server, whose /slow waits for about a second in one of many system calls.

usage: system_ways.py PORT WAY [UPSTREAM_PORT]

One thread, which waits for another process, for a thread, or for the kernel:
  lockf      for the lock of a file (fcntl)    eventfd    for an eventfd that a thread writes to
  message    for a message (msgrcv)            full-pipe  for room in a pipe that a thread reads from
  semaphore  for a semaphore (semop)           timerfd    for a timer that is a descriptor
  sigwait    for a signal of another process   inotify    for a file that another process makes
  signalfd   the same, from a descriptor       patient    looks whether a child has ended, and sleeps again
  lock-file  tries to make a file, and sleeps again
  alarm      for a signal of its own           terminal   for a line from a terminal
  unix       for a server at a path            udp        for a server that takes datagrams
  connect    for a server whose backlog is full
  event-child  for an eventfd that a child writes to
  fifo       for a FIFO to be readable
  front      for a process that this one has started, and that serves at another port
  kept       for a server, over a connection that is kept
  polling    looks every 10 ms                 itself     asks this very server
  no-main    sleeps in the only thread that is left: the main thread has ended
  silent     for a client that comes between /slow and /fast, and sends nothing
  no-reader  for such a client that does not read its answer
A thread for each client:
  pool       /fast wants the one connection to a database, which /slow has
Processes:
  workers    a pool of one process does what takes a second
  reuseport  each of two has a listener of its own, and /slow keeps one busy
  turn       two take turns to accept, and /slow is served in its turn
  shared     one for each client, and /fast wants the lock of /slow
  namespace  one, in a namespace of its own, where threads have other numbers: /fast wants the lock of /slow
  token      one for each client, and /fast wants what is in a pipe, which /slow has taken
"""
import ctypes
import fcntl
import http.server
import multiprocessing
import os
import platform
import queue
import select
import signal
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import time

PORT, WAY = int(sys.argv[1]), sys.argv[2]
UPSTREAM = int(sys.argv[3]) if len(sys.argv) > 3 else 0
PATH = os.path.join(tempfile.gettempdir(), f"system-{PORT}")
REQUEST = "GET /{} HTTP/1.1\r\nHost: h\r\n\r\n"
PR_SET_PDEATHSIG, PRIVATE, CREATE = 1, 0, 0o1600
NEW_PIDS, NEW_USERS = 0x20000000, 0x10000000
libc = ctypes.CDLL(None)
connections = queue.Queue()


def process(work):
    """Let another process work, which does not outlive this one, however it ends (prctl(2))."""
    if os.fork() == 0:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        work()
        os._exit(0)


def after_a_second(work, *arguments):
    def run():
        time.sleep(1)
        work(*arguments)
    return run


def thread(work):
    threading.Thread(target=work, daemon=True).start()


def wait_for_a_lock():
    ready, told = os.pipe()

    def hold():
        with open(PATH, "w") as file:
            fcntl.lockf(file, fcntl.LOCK_EX)
            os.write(told, b"!")
            time.sleep(1)

    process(hold)
    os.read(ready, 1)
    with open(PATH, "w") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
    os.unlink(PATH)


def wait_for_a_message():
    messages, text = libc.msgget(PRIVATE, CREATE), ctypes.create_string_buffer(b"\1" + b"\0" * 7 + b"x")
    try:
        process(after_a_second(libc.msgsnd, messages, text, 1, 0))
        libc.msgrcv(messages, text, 1, 0, 0)
    finally:  # it would outlive all processes
        libc.msgctl(messages, 0, None)


def wait_for_a_semaphore():
    semaphore = libc.semget(PRIVATE, 1, CREATE)
    try:
        process(after_a_second(libc.semop, semaphore, (ctypes.c_short * 3)(0, 1, 0), 1))
        libc.semop(semaphore, (ctypes.c_short * 3)(0, -1, 0), 1)
    finally:
        libc.semctl(semaphore, 0, 0)


def wait_for_a_signal():
    process(after_a_second(os.kill, os.getpid(), signal.SIGUSR1))
    signal.sigwait([signal.SIGUSR1])


def wait_for_a_signal_from_a_descriptor():
    signals = libc.signalfd(-1, (ctypes.c_ulong * 16)(1 << signal.SIGUSR1 - 1), 0)
    process(after_a_second(os.kill, os.getpid(), signal.SIGUSR1))
    os.read(signals, 128)
    os.close(signals)


def wait_for_a_lock_file():
    open(PATH, "x").close()
    process(after_a_second(os.unlink, PATH))
    while True:
        try:
            open(PATH, "x").close()
            return os.unlink(PATH)
        except FileExistsError:
            time.sleep(0.02)


def wait_for_an_alarm():
    signal.setitimer(signal.ITIMER_REAL, 1)
    signal.pause()


def wait_for_a_number():
    event = libc.eventfd(0, 0)
    thread(after_a_second(os.write, event, (1).to_bytes(8, sys.byteorder)))
    os.read(event, 8)
    os.close(event)


def wait_for_a_number_of_a_child():
    event = libc.eventfd(0, 0)
    process(after_a_second(os.write, event, (1).to_bytes(8, sys.byteorder)))
    os.read(event, 8)
    os.close(event)


def wait_for_a_fifo():
    os.mkfifo(PATH)
    fifo = os.open(PATH, os.O_RDWR)
    process(after_a_second(os.write, fifo, b"x"))
    select.select([fifo], [], [])
    os.close(fifo)
    os.unlink(PATH)


def wait_for_room():
    reader, writer = os.pipe()
    thread(after_a_second(os.read, reader, 1 << 20))
    os.write(writer, bytes(100000))
    os.close(writer)


def wait_for_a_timer():
    timer = libc.timerfd_create(time.CLOCK_MONOTONIC, 0)
    libc.timerfd_settime(timer, 0, (ctypes.c_long * 4)(0, 0, 1, 0), None)
    os.read(timer, 8)
    os.close(timer)


def wait_for_a_file():
    with tempfile.TemporaryDirectory() as folder:
        watch = libc.inotify_init()
        libc.inotify_add_watch(watch, folder.encode(), 0x100)  # IN_CREATE
        process(after_a_second(os.mkdir, f"{folder}/new"))
        os.read(watch, 4096)
        os.close(watch)


def wait_for_a_line():
    screen, keyboard = os.openpty()
    process(after_a_second(os.write, screen, b"x\n"))
    os.read(keyboard, 2)
    os.close(screen)
    os.close(keyboard)


def wait_for_a_backlog():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        with socket.socket() as one, socket.socket() as two:
            for each in (one, two):
                each.setblocking(False)
                each.connect_ex(listener.getsockname())
            process(after_a_second(listener.accept))
            socket.create_connection(listener.getsockname()).close()


def ask(path, server):
    server.sendall(REQUEST.format(path).encode())
    server.recv(4096)


def ask_a_server(family, address, kind=socket.SOCK_STREAM):
    with socket.socket(family, kind) as server:
        server.connect(address)
        server.send(b"x")
        server.recv(1)


def ask_the_pool():
    connection = connections.get()
    ask("slow", connection)
    connections.put(connection)


def ask_itself():
    with socket.create_connection(("127.0.0.1", PORT), timeout=1) as server:
        try:
            ask("fast", server)
        except socket.timeout:
            pass


def be_busy_with_a_stranger(request):
    def stand_in_the_way():
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", PORT))
            client.sendall(request)
            time.sleep(1.5)

    process(stand_in_the_way)
    time.sleep(0.3)


def hold(lock, seconds):
    with lock:
        time.sleep(seconds)


def have_the_token(seconds):
    os.read(token[0], 1)
    time.sleep(seconds)
    os.write(token[1], b"t")


def poll_for_a_second():
    until = time.monotonic() + 1
    while time.monotonic() < until:
        time.sleep(0.01)


SLOW = {
    "lockf": wait_for_a_lock, "message": wait_for_a_message, "semaphore": wait_for_a_semaphore,
    "signalfd": wait_for_a_signal_from_a_descriptor, "lock-file": wait_for_a_lock_file,
    "patient": lambda: subprocess.run(["sleep", "1"], timeout=9),
    "sigwait": wait_for_a_signal, "alarm": wait_for_an_alarm, "eventfd": wait_for_a_number,
    "full-pipe": wait_for_room, "timerfd": wait_for_a_timer, "inotify": wait_for_a_file,
    "terminal": wait_for_a_line, "connect": wait_for_a_backlog, "polling": poll_for_a_second, "itself": ask_itself,
    "namespace": lambda: hold(lock, 1), "event-child": wait_for_a_number_of_a_child, "fifo": wait_for_a_fifo,
    "front": lambda: ask_a_server(socket.AF_INET, back.getsockname()), "token": lambda: have_the_token(1),
    "unix": lambda: ask_a_server(socket.AF_UNIX, PATH),
    "udp": lambda: ask_a_server(socket.AF_INET, datagrams, socket.SOCK_DGRAM),
    "kept": lambda: ask("slow", connection), "pool": ask_the_pool,
    "silent": lambda: be_busy_with_a_stranger(b""), "shared": lambda: hold(shared, 1),
    "no-reader": lambda: be_busy_with_a_stranger(REQUEST.format("much").encode()),
    "workers": lambda: workers.apply(time.sleep, (1,)),
    "reuseport": lambda: time.sleep(1), "turn": lambda: time.sleep(1), "no-main": lambda: time.sleep(1),
}


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/slow":
            SLOW[WAY]()
        elif WAY == "pool":
            connections.put(connections.get())
        elif WAY == "shared":
            hold(shared, 0)
        elif WAY == "namespace":
            hold(lock, 0)
        elif WAY == "token":
            have_the_token(0)
        elif self.path == "/much":
            self.wfile.write(bytes(10_000_000))
        self.send_response(200)
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"done")

    def log_message(self, *_):
        pass


class ForkingServer(socketserver.ForkingMixIn, http.server.HTTPServer):
    pass


SERVERS = {"pool": http.server.ThreadingHTTPServer, "namespace": http.server.ThreadingHTTPServer,
           "shared": ForkingServer, "token": ForkingServer}


class Server(SERVERS.get(WAY, http.server.HTTPServer)):
    def server_bind(self):
        if WAY == "reuseport":
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        super().server_bind()


def answer_datagrams(server):
    while True:
        _, client = server.recvfrom(1)
        time.sleep(1)
        server.sendto(b"x", client)


def answer_at_a_path(server):
    while True:
        client, _ = server.accept()
        with client:
            client.recv(1)
            time.sleep(1)
            client.sendall(b"x")


def take_turns(server):
    with open(PATH, "w") as file:
        while True:
            fcntl.flock(file, fcntl.LOCK_EX)
            server.handle_request()
            fcntl.flock(file, fcntl.LOCK_UN)


signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
signal.signal(signal.SIGALRM, lambda *_: None)
if WAY in ("message", "semaphore"):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # so that what is made here is also removed
if WAY in ("kept", "pool"):
    connection = socket.create_connection(("127.0.0.1", UPSTREAM))
    ask("fast", connection)
    connections.put(connection)
elif WAY == "udp":
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))
    datagrams = server.getsockname()
    process(lambda: answer_datagrams(server))
elif WAY == "unix":
    server = socket.socket(socket.AF_UNIX)
    server.bind(PATH)
    server.listen()
    process(lambda: answer_at_a_path(server))
    server.close()
elif WAY == "front":
    back = socket.create_server(("127.0.0.1", 0))
    process(lambda: answer_at_a_path(back))
elif WAY == "token":
    token = os.pipe()
    os.write(token[1], b"t")
elif WAY == "namespace":
    lock = threading.Lock()
elif WAY == "shared":
    shared = multiprocessing.get_context("fork").Lock()
elif WAY == "workers":
    workers = multiprocessing.get_context("fork").Pool(1)
elif WAY == "reuseport":
    process(lambda: Server(("127.0.0.1", PORT), Handler).serve_forever())
server = Server(("127.0.0.1", PORT), Handler)
if WAY == "turn":
    process(lambda: take_turns(server))
    take_turns(server)
if WAY == "namespace":
    libc.unshare(NEW_PIDS | NEW_USERS * (os.geteuid() != 0))
    process(server.serve_forever)
    signal.pause()
if WAY == "no-main":
    threading.Thread(target=server.serve_forever).start()
    libc.syscall(60 if platform.machine() == "x86_64" else 93, 0)  # exit of this thread alone
server.serve_forever()
