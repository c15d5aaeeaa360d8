"""Several processes that share the port (--workers)."""
import contextlib
import os
import signal
import time

from kit import proc
from suite.cases import CONCURRENT, LONG, NOT_RING, case
from suite.server import FAST, FAST_CLOSE, SLOW, Failure, Skipped, full_pipe, packet_pipe, packets, stderr_to


@case()
def workers_share_the_port(stage):
    with stage.serve("--workers", 3, "--timeout", LONG) as server:
        server.wait_workers(3)
        clients = []
        for _ in range(40):
            clients.append(server.client(FAST))
            server.expect(clients[-1], "/fast")
        for client in clients if not stage.one else []:
            # No client connects now, so a worker that blocks in accept would serve nobody.
            client.get("/fast")
            server.expect(client, "/fast")
        server.expect_graceful_exit()


@case()
def dead_worker_is_replaced(stage):
    with stage.serve("--workers", 2) as server:
        dead = server.wait_workers(2)[0]
        server.signal(signal.SIGKILL, dead)
        server.expected = 'a message: "was killed by signal 9"'
        server.wait_for(lambda: "was killed by signal 9" in server.messages(), sleeps=5)
        server.wait_workers(2, but=[dead])
        server.expect_served()
        server.signal(signal.SIGINT)
        server.expect_exit()


@case(CONCURRENT)
def workers_answer_requests_in_flight_before_exit(stage):
    with stage.serve("--workers", 2, "--delay", 0.5, "--timeout", LONG) as server:
        server.wait_workers(2)
        clients = [server.client(SLOW) for _ in range(20)]
        time.sleep(0.1)
        server.signal(signal.SIGTERM)
        for client in clients:
            server.expect(client, "/slow", sleeps=0.5)
        server.expect_exit()


def tell(server, workers, number):
    """Send a signal to the server, and to these workers."""
    for pid in (server.program.pid, *workers):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass  # it has exited


def with_one_busy(server):
    """Let one of two workers be busy with /slow. Return the workers, and the client."""
    workers = server.wait_workers(2)
    slow = server.client(SLOW)
    # A worker of 01 that is told to stop accepts no client any more.
    server.expected = "a worker that accepts the client"
    server.wait_for(lambda: server.descriptors(workers[0]) != server.descriptors(workers[1]), sleeps=5)
    return workers, slow


@case()
def repeated_sigterm_changes_nothing_for_workers(stage):
    """timeout(1) and service managers signal the parent and its workers, and the parent passes the signal
    on."""
    for everybody in (False, True):
        with stage.serve("--workers", 2, "--timeout", LONG, "--delay", 0.8) as server:
            workers, slow = with_one_busy(server)
            who = workers if everybody else []
            told = "-$server" if who else "$server"
            server.did.append(f"for i in 1 2 3 4 5 6; do kill -TERM {told}; sleep 0.1; done")
            tell(server, who, signal.SIGTERM)
            server.may_end = True
            for again in range(5):
                time.sleep(0.01 if again < 3 else 0.25)
                tell(server, who, signal.SIGTERM)
            server.expect(slow, "/slow", sleeps=0.8)
            server.expect_end(slow)
            server.expect_exit()


@case(NOT_RING)
def worker_that_leaves_takes_no_client_along(stage):
    """Clients that have sent nothing yet wait in the backlog, which two workers share. One of them is told to
    stop: it must not take clients from the backlog, only to close them."""
    with stage.serve("--workers", 2, "--timeout", LONG) as server:
        first, second = server.wait_workers(2)
        server.expect_served()
        server.settle()  # a busy worker takes one more client before it looks for signals (stop_poll)
        for worker in (first, second):
            server.suspend(worker)
        clients = [server.client() for _ in range(8)]
        server.signal(signal.SIGTERM, first)
        server.resume(first)
        server.expected = "a worker that exits"
        server.wait_for(lambda: first not in server.workers(), sleeps=10)
        time.sleep(0.1)  # let the parent say so; the case also holds if it has not
        server.resume(second)
        for client in clients:
            client.say(FAST_CLOSE)
            server.expect_closed(client, server.expect(client, "/fast"))
        time.sleep(0.1)  # let a worker that went along exit
        if second not in server.workers():
            raise Failure("a worker that goes on when the other one is told to stop", "it went along")


@case(CONCURRENT)
def workers_told_before_their_parent_drain_the_backlog(stage):
    """A service manager may signal all processes, and the workers first. No client in the backlog is lost,
    though each worker leaves it to the others."""
    with stage.serve("--workers", 2, "--timeout", LONG) as server:
        workers = server.wait_workers(2)
        server.expect_served()
        for worker in workers:
            server.suspend(worker)
        clients = [server.client(FAST) for _ in range(8)]
        server.suspend()
        for worker in workers:
            server.signal(signal.SIGTERM, worker)
            server.resume(worker)
        server.expected = "workers that exit"
        server.wait_for(lambda: all(proc.stat(worker)[0] == "Z" for worker in workers), sleeps=10)
        server.signal(signal.SIGTERM)
        server.resume()
        for client in clients:
            server.expect(client, "/fast")
            server.expect_end(client)
        server.expect_exit()


@case()
def stopped_worker_hears_sigterm(stage):
    """A stopped process hears no SIGTERM until it goes on."""
    with stage.serve("--workers", 2, "--timeout", LONG) as server:
        workers = server.wait_workers(2)
        server.expect_served()
        server.suspend(workers[0])
        server.expect_graceful_exit()


def expect_replaced(server):
    """Kill a worker, and expect another one."""
    dead = server.wait_workers(2)[0]
    server.signal(signal.SIGKILL, dead)
    server.wait_workers(2, but=[dead])


@case()
def parent_outlives_the_reader_of_its_log(stage):
    """The parent reports the death of a worker, but the reader of its stderr has left."""
    reader, writer = os.pipe()
    os.close(reader)
    with stage.serve("--workers", 2, **stderr_to(writer)) as server:
        expect_replaced(server)
        server.expect_served()
        server.expect_graceful_exit()
    os.close(writer)


@case()
def parent_does_not_wait_for_the_reader_of_its_log(stage):
    """The parent must go on to supervise, even if nobody reads what it says."""
    with full_pipe() as stderr, stage.serve("--workers", 2, **stderr_to(stderr)) as server:
        expect_replaced(server)
        server.expect_graceful_exit()


@case()
def lines_of_workers_do_not_mix(stage):
    """Each line of stderr is one write."""
    with packet_pipe() as (reader, writer), stage.serve("--workers", 2, "--verbose",
                                                        **stderr_to(writer)) as server:
        server.wait_workers(2)
        written = []
        for _ in range(60):
            client = server.client(FAST_CLOSE)
            server.expect_closed(client, server.expect(client, "/fast"))
            server.did.remove(client)
            written += packets(reader)
        expect_replaced(server)
        written += packets(reader)
        for packet in written:
            if not packet.endswith(b"\n") or packet.count(b"\n") != 1:
                raise Failure("a line in each write to stderr", repr(packet))
        if len(written) <= 60:
            raise Failure("a line for each of 60 responses, and for the end of a worker",
                          f"{len(written)} lines")


@case()
def terminal_does_not_stop_a_worker_that_logs(stage):
    """With stty tostop, a process that writes to its terminal is stopped (SIGTTOU), unless its group is in the
    foreground: that of the parent is, those of the workers are not."""
    with terminal() as (screen, name):
        # The first process of a session gets the first terminal that it opens.
        under = ["sh", "-c", f'exec <{name} 2>{name}; stty tostop; exec "$@"', "sh"]
        with stage.serve("--workers", 2, "--verbose", "--timeout", LONG, under=under) as server:
            workers, shown = server.wait_workers(2), b""
            if any(proc.stat(pid)[4] == "0" for pid in workers):
                raise Skipped("no terminal of its own for the server")
            for number in range(1, 11):
                client = server.client(FAST_CLOSE)
                server.expect(client, "/fast")
                server.expected = "a line on the terminal for each response"

                def logged():
                    nonlocal shown
                    with contextlib.suppress(BlockingIOError):
                        shown += os.read(screen, 4096)
                    return shown.count(b'"GET /fast HTTP/1.1" 200 ') >= number or stopped(workers)

                server.wait_for(logged)
                if stopped(workers):
                    raise Failure(server.expected, "the terminal has stopped a worker (state T)")
            server.expect_graceful_exit()


def stopped(workers):
    return any(proc.stat(pid)[0] == "T" for pid in workers)


@contextlib.contextmanager
def terminal():
    """Yield a descriptor of what a new terminal shows, and the name of the terminal."""
    try:
        screen, keyboard = os.openpty()
    except OSError as error:
        raise Skipped(f"no terminals here: {error.strerror}") from None
    os.set_blocking(screen, False)
    os.fchmod(keyboard, 0o666)  # the server may be another user
    try:
        yield screen, os.ttyname(keyboard)
    finally:
        os.close(screen)
        os.close(keyboard)


@case()
def second_sigint_ends_the_workers_immediately(stage):
    for everybody in (False, True):
        with stage.serve("--workers", 2, "--timeout", LONG, "--delay", LONG) as server:
            workers, slow = with_one_busy(server)
            server.signal(signal.SIGTERM if everybody else signal.SIGINT)
            left = server.wait_workers(1)
            server.wait_delivered(left[0])
            if not stage.one:  # 01 listens until it exits
                server.expect_refusal()
            server.expect_silence([slow], "a connection that outlives the first signal")
            server.did.append("kill -INT $server")
            tell(server, workers if everybody else [], signal.SIGINT)
            server.expect_exit(1)  # a worker did not finish
            if "was killed by signal 2" not in server.messages():
                raise Failure('a message: "was killed by signal 2"', server.messages())
