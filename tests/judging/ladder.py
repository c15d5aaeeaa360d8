"""The ladder: what a server must do, in the order in which one writes it. Each rung is a function that fails
(Fell), and says so in a way that the reader can repeat."""
import concurrent.futures
import ctypes
import dataclasses
import os
import pathlib
import re
import resource
import shutil
import signal
import subprocess
import time
from typing import Callable, NamedTuple

from judging import compiled, skeleton
from judging.compiled import make
from judging.judged import Fell, Trouble
from kit import processes, tool
from kit.errors import Failed
from kit.processes import PIPES
from kit.report import span
from kit.tree import BUILD, ROOT


DELAY = 0.3
# Tests of 05 that are not for 07-uring: it has no pool; its sockets may block, since it never calls recv or
# accept itself; and an accept that is in flight does not notice a lower limit of descriptors.
NOT_FOR_URING = {"threads", "event_loop_sockets_are_nonblocking", "shutdown_without_descriptors_is_bounded"}


SYS_IO_URING_SETUP = 425  # on every architecture but alpha


class Rung(NamedTuple):
    key: str
    title: str
    climb: Callable
    kinds: str    # those for which it is
    needs: str    # "": also for a URL; "process": for a server that we start; "tree": for a stage
    tests: str    # tests of check_stages that look for the same; the gallery names them
    chapter: str  # of the tutorial: how its title begins; "": that of the stage


class Skipped(Exception):
    """A rung cannot be tried here, and why."""


LADDER = []


def rung(key, title, kinds="one threads loop", needs="process", tests="", chapter=""):
    def add(function):
        LADDER.append(Rung(key, title, function, kinds, needs, tests, chapter))
        return function
    return add


def reason_to_skip(rung_, judged):
    """Return why a rung is not for this server, or None. "": its model has no such rung."""
    if not {judged.kind, judged.like} & set(rung_.kinds.split()):
        return ""
    if rung_.needs and judged.command is None:
        return "for a server that is started here, not for a URL"
    if rung_.needs == "tree" and not judged.in_tree:
        return "for a stage in this tree"
    return None


def forbidden(judged):
    """Return why a server cannot be judged on this machine, or None."""
    if judged.like != "07-uring":
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    ring = libc.syscall(SYS_IO_URING_SETUP, 1, ctypes.create_string_buffer(120))  # struct io_uring_params
    if ring < 0:
        return f"io_uring_setup: {os.strerror(ctypes.get_errno())}"
    os.close(ring)
    return None


# ---- first steps

@rung("build", "it builds without warnings", needs="tree")
def builds(judged):
    """The file is compiled even if it has not changed, so that the warnings show every time."""
    path = f"{judged.name}/server.c"
    made = make(["-W", path, judged.name])
    text = (ROOT / path).read_text(errors="replace")
    warnings = re.findall(r"warning: .*", made.stderr)
    if skeleton.unwritten(text):  # which may be what needs a function
        warnings = [line for line in warnings if "[-Wunused-function]" not in line]
    if made.returncode != 0 or warnings:
        unused = re.findall(r"'(\w+)' (?:defined|set) but not used|unused \w+ '(\w+)'", made.stderr)
        fell = Fell("no error and no warning", "\n".join(made.stderr.strip().splitlines()[:12]),
                    names=[first or second for first, second in unused])
        fell.did = [f"make -W {path} {judged.name}"]
        raise fell


@rung("listen", "it says where it listens")
def listens(judged):
    with judged.serve("--delay", DELAY) as server:
        server.expected = "a server that keeps running"
        server.pause(0.1)


@rung("fast", "it answers /fast", needs="",
      tests="both_routes_are_answered slow_is_never_early one_event_causes_one_recv "
            "slow_requests_wait_simultaneously")
def fast(judged):
    with judged.serve("--delay", DELAY) as server:
        for _ in range(2):
            server.expect_served("/fast")
        late = server.client()
        late.pause(0.1)
        late.get("/fast")
        server.expect(late, "/fast")


@rung("slow", "it answers /slow after its delay", needs="",
      tests="both_routes_are_answered slow_is_never_early one_event_causes_one_recv "
            "slow_requests_wait_simultaneously")
def slow(judged):
    with judged.serve("--delay", DELAY) as server:
        delay = server.delay(DELAY)
        start = time.monotonic()
        server.expect_served("/slow", sleeps=delay)
        took = time.monotonic() - start
        if judged.command and took < delay:
            raise Fell(f"a response after {delay} s, and not before", f"the response after {took:.3f} s")
        server.expect_served("/fast")


@rung("ring", "it works with a ring of io_uring", kinds="07-uring", needs="tree")
def works_with_a_ring(judged):
    with judged.serve() as server:
        server.expect_served("/fast")
        server.settle()  # it has closed the connection
        kinds = {os.readlink(path) for path in pathlib.Path(f"/proc/{server.program.pid}/fd").iterdir()}
        if "anon_inode:[io_uring]" not in kinds or "anon_inode:[eventpoll]" in kinds:
            raise Fell("an io_uring and no eventpoll in /proc/$server/fd", " ".join(sorted(kinds)))


# ---- two clients

@rung("clients", "a client does not wait for others", kinds="threads loop", needs="",
      tests="fast_overtakes_slow slow_requests_wait_simultaneously")
def concurrent_clients(judged):
    """Noise only adds time, and no more to a longer delay: if in doubt, try again with a longer one."""
    for delay in (DELAY, 1, 2.5):
        with judged.serve("--delay", delay, "--timeout", 10) as server:
            seconds = server.delay(delay)
            server.expected = "/fast before any /slow, and 12 /slow side by side, the last after one delay"
            shots = ["12x0:/slow", f"{seconds / 3 * 1000:.0f}:/fast"]
            *slow_rows, fast_row = server.probe(*shots, delay=seconds, lasts=seconds * 13)
            done = sorted(float(row["done_ms"]) / 1000 for row in slow_rows)
            if float(fast_row["done_ms"]) / 1000 < done[0] and done[-1] < 1.75 * seconds:
                return
            if delay == 2.5 or done[-1] > seconds + 2:  # more than noise
                raise Fell(server.expected, f"/fast after {span(fast_row['took_ms'])}, and the last of "
                           f"12 /slow after {done[-1]:.1f} s, which is {done[-1] / seconds:.1f} delays")


@rung("clients", "a client waits for the one before it", kinds="one", needs="", tests="fast_waits_for_slow")
def serial_clients(judged):
    with judged.serve("--delay", DELAY) as server:
        delay = server.delay(DELAY)
        server.expected = "/fast after both /slow, which is what the model of 01 costs"
        rows = server.probe("2x0:/slow", f"{delay / 3 * 1000:.0f}:/fast", delay=delay, lasts=delay * 3)
        fast_done = float(rows[-1]["done_ms"]) / 1000
        if fast_done < 1.5 * delay:
            raise Fell(server.expected, f"/fast {fast_done:.1f} s after the start: not the model of 01")


# ---- one connection

@rung("keep-alive", "a connection serves one request after another", kinds="threads loop", needs="",
      tests="connection_is_kept_alive", chapter="01")
def keep_alive(judged):
    with judged.serve("--delay", DELAY) as server:
        client, delay = server.client(), server.delay(DELAY)
        for path in ("/fast", "/slow", "/fast"):
            client.get(path)
            server.expect(client, path, sleeps=delay)


@rung("keep-alive", "every connection ends after its response", kinds="one", needs="",
      tests="blocking_server_closes_every_connection", chapter="01")
def no_keep_alive(judged):
    with judged.serve("--delay", DELAY) as server:
        client = server.client()
        client.get("/fast")
        server.expected = 'a response that says "Connection: close", and then the end of the connection'
        if not server.expect(client, "/fast").closes:
            raise Fell(server.expected, "a response that does not say so")
        client.end()


@rung("pipelining", "requests in one piece, and a request in two", needs="",
      tests="pipelined_requests_are_answered_in_order request_may_arrive_in_pieces one_event_causes_one_recv")
def pipelining(judged):
    with judged.serve("--delay", DELAY) as server:
        if judged.kind != "one":
            client = server.client()
            client.get("/fast", times=3)
            for _ in range(3):
                server.expect(client, "/fast")
        client = server.client()
        client.first_half("/fast")
        client.pause(0.05)
        client.rest("/fast")
        server.expect(client, "/fast")


@rung("idle", "when it has nothing to do, it sleeps", needs="process",
      tests="resets_cause_neither_exit_nor_busy_loop silent_client_delays_nobody_else")
def idle(judged):
    with judged.serve("--timeout", 20) as server:
        server.expect_no_busy_loop(0.2, "a client connects")
        if judged.kind != "one":
            client = server.client()
            client.get("/fast")
            server.expect(client, "/fast")
        server.expect_served("/fast")
        server.expect_no_busy_loop(0.2)
        if judged.in_tree:
            server.expect_no_wake_ups(0.3)


@rung("turn", "each turn of its loop is in order", kinds="03-select 04-poll 05-epoll 06-libev", needs="tree")
def turns_in_order(judged):
    """A second program, in which a wrong order is an error: no client could rely on seeing it."""
    program = BUILD / "turn" / judged.name
    made = make([os.path.relpath(program, ROOT)])
    if made.returncode != 0:
        raise Failed(f"{program}: not built", made.stderr)
    with dataclasses.replace(judged, command=[str(program)]).serve("--delay", DELAY) as server:
        server.expected = "connections_ready, connections_expire, connections_accept in each turn"
        client = server.client()
        for path in ("/fast", "/slow"):
            client.get(path)
            server.expect(client, path, sleeps=DELAY)
        server.pause(0.05)


# ---- difficult clients

@rung("slow-reader", "a client that does not read delays nobody, and loses nothing", kinds="threads loop",
      needs="", tests="client_that_does_not_read_costs_little partial_sends_lose_and_repeat_nothing "
            "silent_client_delays_nobody_else", chapter="05")
def slow_reader(judged):
    with judged.serve("--timeout", 20) as server:
        client = server.client(buffers=65536)
        server.expected = "a server that stops reading requests, and sleeps, when nobody reads its responses"
        sent = client.fill()
        server.expect_served("/fast")
        server.expect_no_busy_loop(0.2, "this client reads")
        server.expected = f"{sent} responses, once they are read"
        got = client.count(sent)
        if got != sent:
            raise Fell(server.expected, f"{got} responses, then the end of the connection")


@rung("silent", "a silent client delays nobody, and is closed after --timeout", kinds="threads loop",
      tests="silent_client_delays_nobody_else silent_client_is_closed_without_a_response", chapter="01")
def silent_client(judged):
    with judged.serve("--timeout", 30) as server:
        server.client()
        server.client().first_half("/fast")
        server.expect_served("/fast")
        server.expect_no_busy_loop(0.2)
    with judged.serve("--timeout", 0.5) as server:
        start = time.monotonic()
        client = server.client()
        server.expected = "the end of the silent connection, 0.5 s after it began"
        client.end(sleeps=0.5)
        took = time.monotonic() - start
        if took < 0.5:
            raise Fell(server.expected, f"the end after {took:.2f} s")


@rung("silent", "a silent client delays the next one, until --timeout", kinds="one",
      tests="silent_client_delays_the_next_client silent_client_is_closed_without_a_response", chapter="01")
def silent_client_alone(judged):
    with judged.serve("--timeout", 0.5) as server:
        client = server.client()
        server.expect_served("/fast", sleeps=0.5)
        server.expected = "the end of the silent connection"
        client.end()


@rung("leaving", "a client that breaks off harms nobody",
      tests="resets_cause_neither_exit_nor_busy_loop writing_to_a_closed_connection_raises_no_sigpipe "
            "half_closed_client_is_answered", chapter="04")
def leaving_clients(judged):
    with judged.serve("--delay", DELAY) as server:
        client = server.client()
        client.get("/slow")
        client.half_close()
        server.expect(client, "/slow", sleeps=DELAY)
    if judged.kind != "one":  # which sleeps, and sees nothing
        with judged.serve("--delay", 30, "--timeout", 30) as server:
            patient = server.client()
            patient.get("/slow")
            patient.half_close()
            leave_during_slow(server)
            server.expect_no_busy_loop(0.3)
            server.expect_served("/fast")
        with judged.serve("--timeout", 30) as server:
            leave_between_requests(server)
            server.expect_no_busy_loop(0.3)
            server.expect_served("/fast")
    with judged.serve("--delay", DELAY) as server:
        leave_during_slow(server)
        server.pause(DELAY)  # until the server wants to send the responses
        server.expect_served("/fast", sleeps=DELAY)


def leave_during_slow(server):
    """One client has said before that it sends no more: send then fails with EPIPE, and raises SIGPIPE unless
    told not to."""
    one = server.judged.kind == "one"
    clients = [server.client()] if one else [server.client(), server.client()]
    for client in clients:
        if not one:  # let the server watch the socket, before it stops doing so for /slow
            client.get("/fast")
            server.expect(client, "/fast")
        client.get("/slow")
        client.pause(0.1)
    clients[0].half_close()
    for client in clients:
        client.reset()


def leave_between_requests(server):
    """The server waits for the next request of one client, and for the rest of a request of another."""
    clients = [server.client(), server.client()]
    for client in clients:
        client.get("/fast")
        server.expect(client, "/fast")
    clients[1].first_half("/fast")
    for client in clients:
        client.pause(0.1)
        client.reset()


# ---- running out

@rung("descriptors", "out of descriptors, it waits", tests="clients_wait_for_descriptors", chapter="03")
def out_of_descriptors(judged):
    with judged.serve("--timeout", 20) as server:
        holder = server.client()  # of the highest descriptor so far
        holder.get("/fast")
        server.expect(holder, "/fast")
        server.pause(0.1)
        most = resource.prlimit(server.program.pid, resource.RLIMIT_NOFILE)[0]
        server.limit("nofile", resource.RLIMIT_NOFILE, server.lowest_free_descriptor())
        clients = [server.client() for _ in range(3)]
        for client in clients:
            client.get("/fast")
        server.expect_no_busy_loop(0.3, "it has a free descriptor")
        server.limit("nofile", resource.RLIMIT_NOFILE, most)
        for client in clients:
            server.expect(client, "/fast", sleeps=1)  # it may pause for so long


@rung("threads", "out of threads, clients wait", kinds="threads", needs="tree",
      tests="clients_wait_for_threads")
def out_of_threads(judged):
    with judged.serve("--delay", 0.1) as server:
        server.expect_served("/fast")
        server.limit("as", resource.RLIMIT_AS, server.memory() + (100 << 20))
        server.expected = "a response to each of 60 clients, without room for 60 stacks"
        try:
            server.probe("60x0:/slow", delay=0.1, lasts=5)
        except (Fell, Trouble) as failure:
            server.expect_alive()
            limit = resource.prlimit(server.program.pid, resource.RLIMIT_AS)[0]
            if server.program.threads >= 5 or server.memory() <= limit - (16 << 20):
                raise
            raise Fell(server.expected, f"{failure}\nalmost no threads are left, but the address space of the "
                       "server is full: threads that have ended have left their stacks") from None


@rung("numbers", "more clients than a set has bits", kinds="03-select", needs="tree",
      tests="more_clients_than_an_fd_set_holds")
def more_than_a_set_holds(judged):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        with judged.serve("--timeout", 30) as server:
            server.expected = "a server that takes as many of 1,100 clients as it can watch, and carries on"
            with server.crowd(1100):
                server.pause(0.1)
            server.expect_served("/fast", sleeps=1)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# ---- signals

@rung("signals", "SIGTERM: it finishes the requests in flight, and ends",
      tests="server_without_clients_exits_immediately requests_in_flight_are_answered_before_exit "
            "idle_connections_are_closed_immediately signal_while_the_loop_is_busy_is_not_lost",
      chapter="What")
def signals(judged):
    with judged.serve() as server:
        server.pause(0.1)
        server.signal(signal.SIGTERM)
        server.expect_exit()
    expect_drained(judged)
    if judged.kind == "threads" and judged.in_tree:
        expect_masks(judged)
    if judged.kind == "loop" and judged.in_tree:
        expect_drained(judged, "--block")


def expect_masks(judged):
    """Expect that a signal can only go to the main thread. Linux prefers that one, so nobody would notice."""
    with judged.serve("--delay", 30) as server:
        server.client().get("/slow")
        server.wait_for(lambda: server.program.threads > 1)
        server.pause(0.05)
        for task in pathlib.Path(f"/proc/{server.program.pid}/task").iterdir():
            mask = int(re.search(r"^SigBlk:\s*(\w+)", (task / "status").read_text(), re.M)[1], 16)
            masked = bool(mask >> (signal.SIGTERM - 1) & 1)
            if masked != (int(task.name) != server.program.pid):
                server.did.append("sleep 0.5; grep SigBlk /proc/$server/task/*/status")
                raise Fell("SIGTERM in the signal mask of each thread but the main thread",
                           "the main thread masks it, too" if masked else "a thread that does not mask it")


def expect_drained(judged, *options):
    """Expect that /slow is answered and an idle connection is closed, and that the server then ends. If the
    machine was slow, and /slow was answered before the signal, try again."""
    for delay in (0.6, 2.5):
        with judged.serve("--delay", delay, "--timeout", 20, *options) as server:
            idle = None if judged.kind == "one" or options else server.client()
            if idle:
                idle.get("/fast")
                server.expect(idle, "/fast")
            slow_client = server.client()
            slow_client.get("/slow")
            slow_client.pause(0.1)
            in_flight = slow_client.silent()
            server.signal(signal.SIGTERM)
            server.may_end = True
            server.expect(slow_client, "/slow", sleeps=delay)  # and let it be: its end would be another event
            if idle:
                server.expected = "the end of the idle connection"
                idle.end()
            server.expect_exit()
        if in_flight:
            return


# ---- with a sanitizer

@rung("sanitizer", "a sanitizer finds no mistake", needs="tree")
def sanitized(judged):
    """A race or a wrong pointer may do no harm for long. Here it is found even then."""
    if "SANITIZE=" in os.environ.get("MAKEFLAGS", ""):
        raise Skipped("this build has one")
    for kind in ["thread", "address"] if judged.kind == "threads" else ["address"]:
        climb_with(kind, judged)


def climb_with(kind, judged):
    """Serve some clients with a stage that is built with this sanitizer."""
    stage = compiled.built_with(judged, kind)
    if stage is None:
        raise Skipped(f"the compiler cannot build it with -fsanitize={kind}")
    found, fallen = report_on(stage, leaks=kind == "address")
    if "LeakSanitizer has encountered a fatal error" in "".join(found):  # it may not trace the server here
        found, fallen = report_on(stage, leaks=False)
    if "unexpected memory mapping" in "".join(found) + (fallen.got if fallen else ""):
        raise Skipped("ThreadSanitizer cannot run here")
    if found:
        fell = Fell("no report of a sanitizer", compiled.place(found[0], judged.name))
        folder = {"address": "asan", "thread": "tsan"}[kind]
        build = f"BUILD={os.path.relpath(BUILD, ROOT)}/{folder}"
        fell.did = [f"make {build} SANITIZE={kind} check STAGE={judged.name}"]
        raise fell
    if fallen:
        raise fallen


def report_on(stage, leaks):
    """Return the reports of the sanitizer, and how the stage has failed, or None."""
    with compiled.reports(stage, leaks) as reports:
        fallen = None
        try:
            crowd(stage)
        except Fell as fell:
            fallen = fell
        return reports(), fallen


def crowd(judged):
    """Some clients that come and go, and a shutdown."""
    with judged.serve("--delay", DELAY) as server:
        server.expect_served("/fast")
        if judged.kind == "one":
            server.probe("3x0:/fast", delay=0, lasts=20)
        else:
            server.probe("30x0:/fast", "10x0:/slow", "30x100:/fast", delay=DELAY, lasts=20)
            idle = server.client()
            idle.get("/fast")
            server.expect(idle, "/fast")
            leaver = server.client()
            leaver.get("/slow")
            leaver.pause(0.05)
            leaver.reset()
            for client in server.burst(70, known=True):  # more than one wait reports
                server.expect(client, "/fast")
                client.close()
        server.pause(DELAY)
        server.signal(signal.SIGTERM)
        server.expect_exit()


# ---- the tests of the toolkit

FAILURE = re.compile(r"^[^:\n]*:\d+:[FE]:[^:\n]*:(\w+):\d+: (.*)", re.M)


@rung("unit", "the unit tests of common/", needs="tree", tests="")
def unit_tests(judged):
    if "SANITIZE=" in os.environ.get("MAKEFLAGS", ""):
        raise Skipped("they take long with a sanitizer")
    build("check_http", "check_connections")
    run_tests([[BUILD / name] for name in ("check_http", "check_connections")], {}, [{}, {}])


@rung("tests", "the black-box tests of its model", needs="tree")
def black_box_tests(judged):
    build("check_stages")
    uring = judged.like == "07-uring"
    env = {"STAGE": "05-epoll" if uring else judged.like, "PROGRAM": judged.command[0]}
    run_check_stages(env, subjects(), NOT_FOR_URING if uring else set())


def subjects():
    """Return the subjects of the black-box tests."""
    return re.findall(r'begin_subject\("(\w+)"\)', "".join(
        path.read_text() for path in sorted((ROOT / "tests/stages").glob("*.c"))))


def run_check_stages(env, chosen, exempt=frozenset()):
    """Test all subjects simultaneously: they mostly wait. exempt are subjects and tests that may fail."""
    more = [{"CK_RUN_CASE": subject} for subject in chosen if subject not in exempt]
    run_tests([[BUILD / "check_stages"]] * len(more), env, more, exempt)


def build(*names):
    made = make(names)
    if made.returncode != 0:
        raise Failed(f"{' '.join(names)}: not built", made.stderr)


def run_tests(commands, env, more, exempt=frozenset()):
    """Run programs simultaneously. Fail if a test of theirs does, unless it is exempt. more is a further
    environment for each."""
    ours = {name: value for name, value in os.environ.items()
            if name not in ("STAGE", "PROGRAM", "TEST", "CK_RUN_CASE")}
    output = dict(stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    started = [processes.start(command, env={**ours, **env, **its_own}, **output)
               for command, its_own in zip(commands, more)]
    with concurrent.futures.ThreadPoolExecutor(len(started)) as pool:
        outputs = [out for out, _ in pool.map(processes.finish, started)]
    failures = [failure for out in outputs for failure in FAILURE.findall(out) if failure[0] not in exempt]
    failed = [process.returncode != 0 and not exempt & {test for test, _ in FAILURE.findall(out)}
              for process, out in zip(started, outputs)]
    if not any(failed) and not failures:
        return
    if not failures:
        raise Fell("programs that end well", "\n".join(outputs[failed.index(True)].splitlines()[-3:]))
    shown = [f"{test}: {readable(message)[:200]}" for test, message in failures[:4]]
    fell = Fell("no test that fails", "\n".join(shown + ["..."] * (len(failures) > 4)),
                names=list(dict.fromkeys(test for test, _ in failures)))
    settings = [f"{name}={os.path.relpath(value, ROOT) if value.startswith('/') else value}"
                for name, value in env.items()]
    chosen = [f"TEST={failures[0][0]}"] if env else []
    program = commands[failed.index(True) if any(failed) else 0][0]
    fell.did = [" ".join([*settings, *chosen, os.path.relpath(program, ROOT)])]
    raise fell


def readable(message):
    """Return what a test says, in the words of the judge."""
    message = message.replace('incomplete response: Resource temporarily unavailable after ""', "no response")
    return re.sub(r"the server has ended: signal (\d+)", lambda found: "the server has ended: " +
                  processes.ending(-int(found[1])), message)


# The errors of the calls that are the model; the others are common/'s, and make faults tries them all.
FAULTS = (r"\|(accept4\|(EMFILE|ENOMEM|ECONNABORTED|EINTR|EAGAIN|EBADF)|"
          r"(pselect6|ppoll|epoll_pwait|epoll_wait|epoll_ctl|clone3?|mmap)\|\w+)\|(first|every|stop)")


@rung("faults", "errors of the kernel in the calls of its model", needs="tree")
def faults(judged):
    if judged.like == "07-uring":
        raise Skipped("its calls are made by the kernel")
    if shutil.which("strace") is None:
        raise Skipped("strace is missing. To install it: make deps-tools")
    # LeakSanitizer, in a build with sanitizers, cannot work under strace.
    env = {"ASAN_OPTIONS": "detect_leaks=0", **os.environ, "LIKE": judged.like, "ONLY": FAULTS}
    process = processes.start(tool.module("servers.stress.faults", judged.name), env=env, **PIPES)
    out, err = processes.finish(process)
    if process.returncode == 0:
        return
    if "strace did not attach" in out + err:
        raise Skipped("strace is not allowed here")
    failed = re.findall(r"^\S+ +(\S+) +(\S+) +(\S+) +FAILED: (.*)", out, re.M)
    shown = [f"{call} fails with {error} ({moment}): {what}" for call, error, moment, what in failed[:4]]
    fell = Fell("a server that survives it, or says in one line why it ends", "\n".join(shown) or err)
    if failed:
        call, error, moment, _ = failed[0]
        only = f"{call}[|]{error}[|]{moment}"
        fell.did = [f"PYTHONPATH=tests LIKE={judged.like} ONLY='{only}' python3 -m servers.stress.faults {judged.name}"]
    raise fell
