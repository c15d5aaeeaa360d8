"""A signal arrives at a bad moment, or more than once."""
import contextlib
import os
import signal
import time

from kit import processes
from suite.cases import CONCURRENT, LONG, NOT_RING, case
from suite.server import FAST, SLOW, Failure, full_pipe, stderr_to
from suite.slow_clients import flooded


@case("loop")
def signal_while_the_loop_is_busy_is_not_lost(stage):
    with stage.serve("--timeout", LONG, "--delay", 0.5, "--block") as server:
        idle = server.client(FAST)
        server.expect(idle, "/fast")
        slow = server.client(SLOW)
        slow.pause(0.2)  # let it fall asleep in the loop; the case also holds if it has not
        server.signal(signal.SIGTERM)
        server.expect(slow, "/slow", sleeps=0.5)
        server.expected = "the end of the idle connection"
        idle.end()
        server.expect_exit()


@case(CONCURRENT)
def signal_reaches_a_loop_that_is_never_idle(stage):
    with stage.serve("--timeout", LONG) as server, flooded(server):
        time.sleep(0.3)
        server.signal(signal.SIGTERM)
        server.expect_exit(patience=15)


@case()
def second_sigint_ends_the_server_immediately(stage):
    """When the signals arrive, the server waits for the rest of a head, or for the end of /slow."""
    for said in (b"GET /fast HT", SLOW):
        for first in (signal.SIGTERM, signal.SIGINT):
            with stage.serve("--timeout", LONG, "--delay", LONG) as server:
                before = server.descriptors_at_rest()
                client = server.client(said if stage.one else FAST + said)
                if not stage.one:
                    server.expect(client, "/fast")  # one segment: the server has read both
                server.expect_descriptors(before + 1)
                server.wait_asleep()
                expect_end_by_second_signal(server, client, first, refuses=not stage.one)  # 01 listens until it exits


def expect_end_by_second_signal(server, client, first, refuses=False):
    """Expect that the first signal leaves the client alone, and that SIGINT then ends the server."""
    server.signal(first)
    server.wait_delivered()
    if server.stage.kind == "threads":
        server.wait_asleep()  # ThreadSanitizer keeps one signal of each kind until the thread's next call
    if refuses:
        server.expect_refusal()
    server.expect_silence([client], "a connection that outlives the first signal")
    server.signal(signal.SIGINT)
    server.expect_exit(-signal.SIGINT)


@case(NOT_RING)
def second_sigint_ends_a_server_in_the_trap(stage):
    """The server is in a call that blocks, or it computes."""
    for how in ("--block", "--compute"):
        for first in (signal.SIGTERM, signal.SIGINT):
            with stage.serve("--timeout", LONG, "--delay", LONG, how) as server:
                before = server.descriptors_at_rest()
                client = server.client(SLOW)
                server.expect_descriptors(before + 1)
                time.sleep(0.1)  # let it begin; the case also holds if it has not
                expect_end_by_second_signal(server, client, first)


@case(NOT_RING)
def server_that_waits_for_the_reader_of_its_log_hears_signals(stage):
    """Nobody reads what --verbose writes, so the server waits in the middle of a request."""
    for number in (signal.SIGTERM, signal.SIGINT):
        with full_pipe() as stderr, stage.serve("--verbose", "--timeout", LONG,
                                                **stderr_to(stderr)) as server:
            client = server.client(FAST)
            server.expect(client, "/fast")
            time.sleep(0.1)  # let it begin to wait; the case also holds if it has not
            server.signal(number)
            if number == signal.SIGTERM:
                server.expect_exit()
            else:
                with contextlib.suppress(ProcessLookupError, FileNotFoundError):
                    server.wait_delivered()
                    server.signal(number)
                if not processes.wait_until(lambda: not server.program.alive):
                    raise Failure("a server that two SIGINT end", f"it still runs: {server.heard()}")


@case()
def server_that_waits_for_the_reader_of_its_stdout_hears_signals(stage):
    """Nobody reads where it listens, so it waits before its first client."""
    for number in (signal.SIGTERM, signal.SIGINT):
        with full_pipe() as stdout:
            under = ["bash", "-c", f'exec "$@" >&{stdout}', "bash"]
            with stage.serve("--port", 0, listens=False, under=under, pass_fds=[stdout]) as server:
                server.expected = "a server that opens a socket"
                server.wait_for(lambda: server.descriptors() > 4, sleeps=5)
                server.wait_asleep()
                server.signal(number)
                server.expect_exit()


@case()
def repeated_sigterm_changes_nothing(stage):
    """Some of the signals come so soon after each other that the server may not notice each; others are more
    than 200 ms apart."""
    for first in (signal.SIGTERM, signal.SIGINT):
        with stage.serve("--timeout", LONG, "--delay", 0.8) as server:
            before = server.descriptors_at_rest()
            slow = server.client(SLOW)
            server.expect_descriptors(before + 1)
            server.signal(first)
            for again in range(5):
                time.sleep(0.01 if again < 3 else 0.25)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(server.program.pid, signal.SIGTERM)
            server.did.append("for i in 1 2 3 4 5; do sleep 0.1; kill -TERM $server; done")
            server.expect(slow, "/slow", sleeps=0.8)
            server.expect_end(slow)
            server.expect_exit()
