"""Graceful shutdown: which clients are still answered, and when the server exits."""
import pathlib
import signal
import time

from suite.cases import CONCURRENT, LONG, PROGRAM, READINESS, case
from suite.server import FAST, SLOW, Failure

SIGNALS = signal.SIGTERM, signal.SIGINT


@case(needs=PROGRAM)
def server_without_clients_exits_immediately(stage):
    for number in SIGNALS if stage.in_tree else SIGNALS[:1]:
        with stage.serve("--timeout", LONG, "--delay", LONG) as server:
            if number == signal.SIGINT:
                server.expect_served()
            else:
                server.pause(0.1)
            server.signal(number)
            server.expect_exit()
            server.expect_no_message()


@case(needs=PROGRAM)
def requests_in_flight_are_answered_before_exit(stage):
    """If the machine was slow, and /slow was answered before the signal, try again."""
    for number in SIGNALS if stage.in_tree else SIGNALS[:1]:
        for delay in (0.5, 2.5):
            with stage.serve("--delay", delay, "--timeout", LONG) as server:
                idle = None if stage.one else server.client(FAST)
                if idle:
                    server.expect(idle, "/fast")
                start = time.monotonic()
                slow = server.client(SLOW)
                slow.pause(0.1)
                server.signal(number)
                in_flight = slow.silent()
                response = server.expect(slow, "/slow", sleeps=delay)
                if stage.in_tree and time.monotonic() - start < delay:
                    raise Failure(f"a response to /slow after {delay} s, in spite of the signal",
                                  "a response before that")
                if idle:
                    server.expected = "the end of the idle connection"
                    idle.end()
                if stage.in_tree and in_flight:
                    server.expect_closed(slow, response)
                server.expect_exit()
            if in_flight:
                break


@case(needs=PROGRAM)
def idle_connections_are_closed_immediately(stage):
    with stage.serve("--timeout", LONG) as server:
        idle = server.client() if stage.one else server.client(FAST)
        if not stage.one:
            server.expect(idle, "/fast")
        server.pause(0.1)  # 01 serves only clients that it has accepted
        server.signal(signal.SIGTERM)
        server.expected = "the end of the idle connection"
        idle.end()
        server.expect_exit()


@case(CONCURRENT)
def shutdown_waits_only_for_slow(stage):
    with stage.serve("--timeout", LONG, "--delay", LONG) as server:
        before = server.descriptors_at_rest()
        idle, slow = server.client(FAST), server.client(SLOW)
        server.expect(idle, "/fast")
        server.expect_descriptors(before + 2)
        server.signal(signal.SIGTERM)
        server.may_end = False  # /slow goes on
        server.expected = "the end of the idle connection"
        idle.end()
        server.expect_refusal()
        server.expect_silence([slow], "a server that waits for /slow")


def expect_drained(stage, count, delay, most=None):
    """Send so many requests for /slow, tell the server to stop, and expect that all are answered."""
    with stage.serve("--timeout", LONG, "--delay", delay) as server:
        if most:
            server.limit("nofile", most)
        clients = [server.client(SLOW) for _ in range(count)]
        for client in clients:
            client.all_received()  # and so is in the backlog, or accepted
        server.signal(signal.SIGTERM)
        for client in clients:
            server.expect(client, "/slow", sleeps=5 * delay)
            server.expect_end(client)
        server.expect_exit()


@case(CONCURRENT)
def two_hundred_requests_are_answered_before_exit(stage):
    expect_drained(stage, 200, delay=0.5)


@case(CONCURRENT)
def clients_in_the_backlog_are_answered_before_exit(stage):
    expect_drained(stage, 130, delay=0.2, most=60)


@case(CONCURRENT)
def client_may_finish_its_head_before_exit(stage):
    with stage.serve("--timeout", LONG) as server:
        client = server.client(FAST + b"GET /fast HT")
        server.expect(client, "/fast")  # one segment: the server has read both
        server.signal(signal.SIGTERM)
        finish_head(server, client)


@case(CONCURRENT)
def client_in_the_backlog_may_finish_its_head_before_exit(stage):
    with stage.serve("--timeout", LONG) as server:
        server.suspend()
        client = server.client(b"GET /fast HT")
        client.all_received()
        server.signal(signal.SIGTERM)
        server.resume()  # so it accepts this client only after SIGTERM
        finish_head(server, client)


def finish_head(server, client):
    server.expect_refusal()
    time.sleep(0.1)  # let the server read the first part; the case also holds if it has not
    client.say(b"TP/1.1\r\nHost: h\r\n\r\n")
    server.expect_closed(client, server.expect(client, "/fast"))
    server.expect_exit()


@case()
def server_out_of_descriptors_shuts_down(stage):
    """Accept fails for want of a descriptor, and no connection is left whose end would free one."""
    with stage.serve("--timeout", LONG) as server:
        server.exhaust_descriptors()
        server.client(FAST)
        time.sleep(0.1)  # let accept fail before the signal, too; the case also holds if it has not
        server.expect_graceful_exit()


@case(f"threads {READINESS}")  # an accept of io_uring that is in flight does not notice a lower limit
def shutdown_without_descriptors_is_bounded(stage):
    """Accept fails while /slow holds the last descriptor. After --timeout the server must give up accepting,
    or it would serve the waiting client as soon as /slow ends."""
    with stage.serve("--timeout", 0.3, "--delay", 3) as server:
        server.wait_asleep()
        before = server.descriptors()
        slow = server.client(SLOW)  # it gets the lowest descriptor that is free
        server.expect_descriptors(before + 1)
        server.exhaust_descriptors()
        waiting = server.client(FAST)
        server.signal(signal.SIGTERM)
        server.expect(slow, "/slow", sleeps=3)
        server.expect_end(slow)
        server.expect_exit()
        try:
            came = waiting.socket.recv(1)
        except OSError:
            came = b""
        if came:
            raise Failure("a server that accepts no client after --timeout",
                          "a response to a client that waited")


@case("threads")
def server_out_of_threads_shuts_down(stage):
    """Idle clients hold all the threads, and other clients wait for one."""
    with stage.serve("--timeout", LONG) as server:
        server.limit_threads()
        clients = [server.client(FAST) for _ in range(60)]
        server.expect(clients[0], "/fast")
        time.sleep(0.2)  # let the others get theirs; the case also holds if they have not
        server.signal(signal.SIGTERM)
        for client in clients[1:]:
            server.expect(client, "/fast", sleeps=1)
            server.expect_end(client)
        server.expect_exit()


@case("threads")
def only_the_main_thread_takes_sigterm(stage):
    """Linux prefers the main thread, so no client would notice if others took the signal."""
    with stage.serve("--delay", 30) as server:
        server.client(SLOW)
        server.wait_for(lambda: server.program.threads > 1)
        server.pause(0.05)
        for task in pathlib.Path(f"/proc/{server.program.pid}/task").iterdir():
            masked = int(server.status("SigBlk", task.name), 16) >> (signal.SIGTERM - 1) & 1
            if bool(masked) != (int(task.name) != server.program.pid):
                server.did.append("sleep 0.5; grep SigBlk /proc/$server/task/*/status")
                raise Failure("SIGTERM in the signal mask of each thread but the main thread",
                              "the main thread masks it, too" if masked else "a thread that does not mask it")
