"""Which client delays which other client."""
import os
import pathlib
import re
import time

from kit import report
from suite.activity import tasks
from suite.cases import CONCURRENT, LONG, PROGRAM, READINESS, URL, case
from suite.http import DELAY
from suite.server import FAST, SLOW, SLOW_CLOSE, Failure, Skipped, ended_pipe


@case()
def slow_is_never_early(stage):
    for delay in (0.001, 0.0333, 0.2):
        with stage.serve("--delay", delay) as server:
            for _ in range(3):
                client, busy = server.client(), None if stage.one else server.client()
                start = time.monotonic()
                client.say(SLOW_CLOSE)
                while busy and client.silent() and time.monotonic() < start + 15:
                    busy.get("/fast")  # so that a loop is busy, and may look too early
                    server.expect(busy, "/fast")
                response = server.expect(client, "/slow", sleeps=delay)
                took = time.monotonic() - start
                if took < delay:
                    raise Failure(f"a response to /slow after {delay} s, and not before",
                                  f"the response after {took:.4f} s")
                server.expect_closed(client, response)
                server.did = server.did[:1]


@case("loop")
def loop_sleeps_until_a_deadline(stage):
    """If a wait is rounded down, it ends early, and the loop spins for the rest of a millisecond: for 0.9 ms with one
    of these delays, for 0.1 ms with the other."""
    shown, spent = "0.2", cost_of_slow(stage, 0.2, 2)
    got = f"it is busy meanwhile: a /slow after 200 ms costs {spent * 1e3:.0f} ms of processor time"
    if spent < 0.2 / 10:  # else the loop spins for all of it
        shown = "0.0109"
        for _ in range(3):
            short, long = (cost_of_slow(stage, delay, 25) for delay in (0.0101, 0.0109))
            if long < 3 * short or long - short < 0.0003:
                return
        got = (f"its wait is over too early: a /slow after 10.9 ms costs {long * 1e6:.0f} us of processor time, "
               f"one after 10.1 ms {short * 1e6:.0f} us")
    failure = Failure("a loop that sleeps until the deadline of /slow", got)
    failure.did = [f"{stage.shown()} --delay {shown} & server=$!; sleep 0.5", "curl http://127.0.0.1:8000/slow",
                   "strace -p $server & curl http://127.0.0.1:8000/slow"]
    raise failure


def cost_of_slow(stage, delay, count):
    """Return the processor time, in seconds, that four of five /slow do not exceed. On a busy machine, a loop often
    wakes so late that it need not spin."""
    with stage.serve("--delay", delay) as server:
        used = [time_used(server)]
        for _ in range(count):
            server.expect_served("/slow", sleeps=delay)
            used.append(time_used(server))
        return sorted(after - before for before, after in zip(used, used[1:]))[count * 4 // 5]


def time_used(server):
    threads = tasks(server.program.pid).values()
    if not threads:
        raise Skipped("this kernel does not tell for how long a thread has run (schedstat)")
    return sum(task.ran for task in threads)


@case(CONCURRENT)
def fast_overtakes_slow(stage):
    with stage.serve("--delay", LONG) as server:
        slow = server.client(SLOW)
        server.expect_served("/fast")
        server.expect_silence([slow], f"no response to /slow before {LONG} s")


@case("one", URL)
def fast_waits_for_slow(stage):
    with stage.serve("--delay", DELAY) as server:
        delay = server.delay(DELAY)
        server.expected = "/fast after both /slow, which is what the model of 01 costs"
        rows = server.probe("2x0:/slow", f"{delay / 3 * 1000:.0f}:/fast", delay=delay, lasts=delay * 3)
        fast_done = float(rows[-1]["done_ms"]) / 1000
        if fast_done < 1.5 * delay:
            raise Failure(server.expected, f"/fast {fast_done:.1f} s after the start: not the model of 01")


@case("loop")
def with_block_fast_waits_for_slow(stage):
    with stage.serve("--delay", DELAY, "--block") as server:
        slow, start = server.client(), time.monotonic()
        slow.get("/slow")
        server.expect_served("/fast", sleeps=DELAY)
        if time.monotonic() - start < DELAY or slow.silent():
            raise Failure("/fast after /slow, since --block makes the loop sleep", "/fast before /slow")
        server.expect(slow, "/slow", sleeps=DELAY)


@case(CONCURRENT, URL)
def slow_requests_wait_simultaneously(stage):
    """Noise only adds time, and no more to a longer delay: if in doubt, try again with a longer one."""
    for delay in (DELAY, 1, 2.5):
        with stage.serve("--delay", delay, "--timeout", 10) as server:
            seconds = server.delay(delay)
            server.expected = "/fast before any /slow, and 30 /slow side by side, the last after one delay"
            shots = ["30x0:/slow", f"{seconds / 3 * 1000:.0f}:/fast"]
            *slow_rows, fast_row = server.probe(*shots, delay=seconds, lasts=seconds * 31)
            done = sorted(float(row["done_ms"]) / 1000 for row in slow_rows)
            if float(fast_row["done_ms"]) / 1000 < done[0] and done[-1] < 1.75 * seconds:
                return
            if delay == 2.5 or done[-1] > seconds + 2:  # more than noise
                raise Failure(server.expected,
                              f"/fast after {report.span(fast_row['took_ms'])}, and the last of "
                              f"30 /slow after {done[-1]:.1f} s, which is {done[-1] / seconds:.1f} delays",
                              late=True)


@case(CONCURRENT, PROGRAM)
def silent_client_delays_nobody_else(stage):
    with stage.serve("--timeout", LONG) as server:
        silent = [server.client(), server.client(b"GET /fast HT")]
        server.expect_served("/fast")
        server.expect_silence(silent, "silent clients that stay connected until --timeout")
        server.expect_no_busy_loop(0.2)


@case("one", PROGRAM)
def silent_client_delays_the_next_client(stage):
    with stage.serve("--timeout", 0.5) as server:
        client, start = server.client(), time.monotonic()
        server.expect_served("/fast", sleeps=0.5)
        took = time.monotonic() - start
        if stage.in_tree and took < 0.4:
            raise Failure("a client that waits for the silent one before it, for 0.5 s",
                          f"its response after {took:.2f} s")
        server.expect_end(client)


@case(needs=PROGRAM)
def idle_server_sleeps(stage):
    """Its standard input is at its end, which is no event for a server."""
    with ended_pipe() as stdin, stage.serve("--timeout", 20, stdin=stdin) as server:
        if stage.in_tree:
            server.did[0] = f": | {server.did[0]}"
        server.expect_no_busy_loop(0.2, "a client connects")
        if stage.one:
            silent = server.client()
            server.expect_no_busy_loop(0.2, "this client asks")
            silent.close()
        else:
            server.expect(server.client(FAST), "/fast")
        server.expect_served("/fast")
        server.expect_no_busy_loop(0.2)
        if stage.in_tree:
            server.expect_no_wake_ups()


@case(READINESS)
def event_loop_sockets_are_nonblocking(stage):
    """A socket that was reported ready may no longer be (another worker has accepted the client). However
    rare that is, an event loop must not block then. So look at the flags of its sockets (proc(5), fdinfo)."""
    with stage.serve("--timeout", LONG) as server:
        server.expect(server.client(FAST), "/fast")
        folder = pathlib.Path(f"/proc/{server.program.pid}")
        sockets = [path.name for path in (folder / "fd").iterdir() if os.readlink(path).startswith("socket:")]
        for number in sockets:
            flags = int(re.search(r"flags:\s*(\d+)", (folder / "fdinfo" / number).read_text())[1], 8)
            if not flags & os.O_NONBLOCK:
                server.did.append("grep flags /proc/$server/fdinfo/*")
                raise Failure("O_NONBLOCK on each socket", f"descriptor {number} can block")
        if len(sockets) != 2:
            raise Failure("two sockets, the listener and a client", f"{len(sockets)} sockets")
