"""The exercises of the tutorial that ask for code: what to do, how it is checked, hints, and a solution."""
import pathlib
import re
import signal
import time
from typing import List, NamedTuple

from judging import building, ladder
from judging.ladder import DELAY, Rung
from kit import processes
from kit.processes import PIPES
from kit.tree import BUILD, STAGES
from suite import upstreams
from suite.cases import ALL, LONG, STAGE, SUBJECTS, all_cases
from suite.server import FAST, Failure, Skipped, Stage, reported
from suite.slow_clients import client_that_does_not_read_costs_little, flooded


HERE = pathlib.Path(__file__).resolve().parent


class Exercise(NamedTuple):
    name: str
    chapter: str
    build: str          # the program
    files: str          # what the reader changes
    solution: pathlib.Path
    task: str
    hints: List[str]    # a question, a system call, nearly the answer
    rungs: List[Rung]

    def stage(self):
        model = self.build if self.build in STAGES else "06-libev"
        return Stage(self.build, model, [str(BUILD / self.build)], in_tree=True, exercise=self.name)


EXERCISES = {}


def read(name):
    """Return the task of an exercise, and its hints, from exercises.txt."""
    text = (HERE / "exercises.txt").read_text()
    section = re.search(rf"^== {name}\n(.*?)(?=\n*^== |\n*\Z)", text, re.M | re.S)[1]
    task, *hints = section.split("\nhint: ")
    return task, [" ".join(hint.split()) for hint in hints]


def exercise(name, chapter, build, files):
    task, hints = read(name)
    solution = HERE / f"solutions/{name}.patch"
    EXERCISES[name] = Exercise(name, chapter, build, files, solution, task, hints, [])
    step(name, "it builds")(builds)


def step(name, title):
    def add(function):
        asked = EXERCISES[name]
        asked.rungs.append(Rung(name, title, (), function, ALL, STAGE, (), asked.chapter))
        return function
    return add


def builds(stage):
    made = ladder.make([stage.name])
    if made.returncode != 0 or "warning:" in made.stderr:
        fell = Failure("no error and no warning", "\n".join(made.stderr.strip().splitlines()[:12]))
        fell.did = [f"make {stage.name}"]
        raise fell


def black_box(stage, *subjects):
    """Some of the cases that held before."""
    ladder.run_cases(stage, [case for case in all_cases().values() if case.subject in subjects])


# ---- 01

exercise("keep-alive", "More on 01", "01-blocking", "01-blocking")


@step("keep-alive", "a second request on the same connection is answered")
def second_request(stage):
    with stage.serve("--delay", DELAY) as server:
        client = server.client()
        for path in ("/fast", "/slow", "/fast"):
            client.get(path)
            if server.expect(client, path, sleeps=DELAY).closes:
                raise Failure("a response that does not say Connection: close", f"one that does, to {path}")


@step("keep-alive", "the price: an idle client makes the next one wait, until --timeout")
def price_of_keep_alive(stage):
    with stage.serve("--timeout", 1) as server:
        start = time.monotonic()
        idle = server.client()
        idle.get("/fast")
        server.expect(idle, "/fast")
        server.expect_served("/fast", sleeps=1)
        waited = time.monotonic() - start
        if waited < 1:
            raise Failure("a client that waits for the idle one, since 01 takes one client at a time",
                       f"its response after {waited:.3f} s")


# ---- 02

exercise("small-stacks", "More on 02", "02-threaded", "02-threaded")


@step("small-stacks", "a hundred threads in 40 MiB of address space")
def hundred_threads(stage):
    with stage.serve("--delay", 30) as server:
        server.expect_served("/fast")
        server.limit("as", server.memory() + (40 << 20))
        for _ in range(100):
            server.client().get("/slow")
        if not processes.wait_until(lambda: server.program.threads > 100, patience=5):
            raise Failure("100 clients that are served simultaneously, each by a thread of its own",
                       f"{server.program.threads - 1} of them")


@step("small-stacks", "64 KiB are enough for every request")
def small_stacks_suffice(stage):
    black_box(stage, "http", "keep_alive", "slow_clients")


# ---- 03

exercise("medium", "More on 03", "03-select", "common")


@step("medium", "/medium is answered after half the delay")
def medium(stage):
    with stage.serve("--delay", 0.6) as server:
        start = time.monotonic()
        server.expect_served("/medium", sleeps=0.3)
        took = time.monotonic() - start
        if took < 0.3:
            raise Failure("a response after 0.3 s, and not before", f"the response after {took:.3f} s")


@step("medium", "/medium overtakes a /slow that came before it")
def medium_overtakes_slow(stage):
    """If the machine was slow, try again with a longer delay."""
    for delay in (1, 6):
        with stage.serve("--delay", delay) as server:
            server.expected = "a response to /medium after half the delay, and before that to /slow"
            slow, other = server.client(), server.client()
            slow.get("/slow")
            slow.pause(0.1)
            other.get("/medium")
            server.expect(other, "/medium", sleeps=delay)
            if slow.silent():
                server.expect(slow, "/slow", sleeps=delay)
                return
            if delay == 6:
                raise Failure(server.expected, "the response to /slow was there first")


@step("medium", "with --delay 0, clients that ask for /medium without end delay nobody")
def medium_without_end(stage):
    with stage.serve("--delay", 0, "--timeout", LONG) as server, flooded(server, "/medium"):
        for _ in range(5):
            server.expect_served("/fast")


@step("medium", "everything else is as it was")
def medium_changes_nothing_else(stage):
    ladder.unit_tests(stage)
    black_box(stage, "http", "waiting", "leaving_clients", "shutdown")


# ---- 05

exercise("edge", "05", "05-epoll", "05-epoll common")


def watched(server):
    """Return what the kernel watches for the server: {descriptor: (events, data)} (proc(5), fdinfo)."""
    text = ""
    for path in pathlib.Path(f"/proc/{server.program.pid}/fdinfo").glob("*"):
        text += path.read_text()
    return {int(fd): (int(events, 16), int(data, 16)) for fd, events, data in
            re.findall(r"^tfd: +(\d+) events: +([0-9a-f]+) data: +([0-9a-f]+)", text, re.M)}


def edges(server):
    """Return how many descriptors are watched with EPOLLET, and how many are watched."""
    found = watched(server).values()
    return sum(events >> 31 for events, _ in found), len(found)


@step("edge", "clients are watched with EPOLLET, and served")
def edge_clients(stage):
    with stage.serve("--timeout", 20) as server:
        server.expected = "EPOLLET in the events of a client (/proc/$server/fdinfo)"
        client = server.client()
        client.get("/fast", times=1000)  # more than one recv takes
        got = client.count(1000)
        if got != 1000:
            raise Failure("1000 responses to 1000 requests", f"{got} responses")
        if edges(server)[0] == 0:
            raise Failure(server.expected, "none that has it")
        client.say(FAST[:14])
        client.pause(0.05)
        client.say(FAST[14:])
        server.expect(client, "/fast")


@step("edge", "a client that does not read loses nothing")
def edge_slow_reader(stage):
    client_that_does_not_read_costs_little(stage)


@step("edge", "the listener is watched with EPOLLET, and a burst of clients is served")
def edge_listener(stage):
    with stage.serve("--timeout", 20) as server:
        server.expect_served("/fast")
        server.pause(0.1)
        found, watched = edges(server)
        if watched != 1 or found != 1:
            raise Failure("one descriptor that is watched, the listener, with EPOLLET (/proc/$server/fdinfo)",
                       f"{watched}, of them {found} with EPOLLET")
        clients = server.burst(50)
        for client in clients:
            server.expect(client, "/fast")


@step("edge", "everything else is as it was")
def edge_changes_nothing_else(stage):
    black_box(stage, *SUBJECTS)


exercise("oneshot", "05", "05-epoll", "05-epoll")

EPOLLONESHOT = 1 << 30  # <sys/epoll.h>


def watched_with_clients(server):
    """Return the same, when three clients have been served and stay connected."""
    clients = [server.client(FAST) for _ in range(3)]
    for client in clients:
        server.expect(client, "/fast")
    server.settle()
    return watched(server)


@step("oneshot", "the listener and each client are watched with EPOLLONESHOT")
def oneshot_is_used(stage):
    with stage.serve("--timeout", LONG) as server:
        found = watched_with_clients(server)
        if len(found) != 4 or not all(events & EPOLLONESHOT for events, _ in found.values()):
            raise Failure("a listener and 3 clients, each with EPOLLONESHOT (events in /proc/$server/fdinfo)",
                          ", ".join(f"{fd}: {events:x}" for fd, (events, _) in sorted(found.items())))


@step("oneshot", "each is armed again: requests in pieces, slow readers, and a burst of clients")
def oneshot_is_armed_again(stage):
    black_box(stage, "keep_alive")
    client_that_does_not_read_costs_little(stage)
    with stage.serve("--timeout", LONG) as server:
        for client in server.burst(50):
            server.expect(client, "/fast")


@step("oneshot", "everything else is as it was")
def oneshot_changes_nothing_else(stage):
    black_box(stage, *SUBJECTS)


exercise("pointer", "05", "05-epoll", "05-epoll")


@step("pointer", "what the kernel keeps for each descriptor is a pointer of its own")
def pointers_are_used(stage):
    with stage.serve("--timeout", LONG) as server:
        found = watched_with_clients(server)
        maps = pathlib.Path(f"/proc/{server.program.pid}/maps").read_text()
        memory = [(int(begin, 16), int(end, 16)) for begin, end in
                  re.findall(r"^([0-9a-f]+)-([0-9a-f]+) rw", maps, re.M)]
        pointers = {data for _, data in found.values() if any(begin <= data < end for begin, end in memory)}
        if len(found) < 4 or len(pointers) != len(found):
            raise Failure("for each descriptor, an address in writable memory (data in /proc/$server/fdinfo)",
                          ", ".join(f"{fd}: {data:x}" for fd, (_, data) in sorted(found.items())))


@step("pointer", "an event of a connection that is closed in the same turn harms nobody")
def stale_pointers_harm_nobody(stage):
    """A drain closes idle clients at the beginning of a turn, whose wait has reported them: they and the signal have
    come while the loop was busy with a /slow of --block."""
    checked = building.built_with(stage, "address")
    if checked is None:
        raise Skipped("the compiler cannot build it with -fsanitize=address")
    with building.reports(checked) as reports:
        fallen = None
        try:
            with checked.serve("--timeout", LONG, "--delay", 1, "--block") as server:
                clients = [server.client(FAST) for _ in range(20)]
                for client in clients:
                    server.expect(client, "/fast")
                slow = server.client()
                slow.get("/slow")
                slow.pause(0.2)
                for client in clients:
                    client.say(FAST)
                server.signal(signal.SIGTERM)
                server.expect(slow, "/slow", sleeps=1)
                server.expect_exit()
        except Failure as fell:
            fallen = fell
        found = reports()
    if found:
        raise Failure("no report of AddressSanitizer", reported(found[0], stage.name))
    if fallen:
        raise fallen


@step("pointer", "everything else is as it was")
def pointer_changes_nothing_else(stage):
    black_box(stage, *SUBJECTS)


exercise("upstream", "Another server", "05-epoll", "04-poll 05-epoll 06-libev common")


@step("upstream", "/upstream is answered, and /fast does not wait")
def upstream_answers(stage):
    for case in (upstreams.upstream_is_asked, upstreams.fast_overtakes_upstream,
                 upstreams.requests_in_one_piece_are_answered_in_order):
        case(stage)


@step("upstream", "an upstream that refuses, resets, or talks nonsense: 502")
def upstream_is_bad(stage):
    upstreams.upstream_that_refuses_is_a_502(stage)
    upstreams.bad_upstream_is_a_502(stage)


@step("upstream", "an upstream that has not answered after --timeout: 504")
def upstream_is_silent(stage):
    upstreams.silent_upstream_is_a_504(stage)
    upstreams.upstream_that_never_accepts_is_a_504(stage)


@step("upstream", "a client that leaves meanwhile harms nobody")
def client_leaves_upstream(stage):
    """And SIGTERM waits for the upstream."""
    upstreams.client_that_leaves_meanwhile_harms_nobody(stage)
    upstreams.requests_in_flight_are_answered_before_exit(stage)


@step("upstream", "a client that resets frees both descriptors immediately")
def reset_of_upstream_is_given_up(stage):
    upstreams.client_that_resets_is_given_up(stage)


@step("upstream", "a thousand clients: an answer or an error for each")
def thousand_clients_of_upstream(stage):
    upstreams.thousand_clients(stage)


@step("upstream", "everything else is as it was")
def upstream_changes_nothing_else(stage):
    ladder.unit_tests(stage)
    black_box(stage, *SUBJECTS)


exercise("give-up", "Who notices", "05-epoll", "04-poll 05-epoll 06-libev common")


@step("give-up", "a reset during /slow frees the descriptor immediately")
def reset_is_given_up(stage):
    with stage.serve("--delay", LONG) as server:
        before = server.descriptors_at_rest()
        for kept in False, True:  # the request is the first one of its connection; and a later one
            client = server.client()
            if kept:
                client.get("/fast")
                server.expect(client, "/fast")
            client.get("/slow", times=2)
            client.all_received()
            server.pause(0.1)
            client.reset()
            server.expect_descriptors(before)
        server.expect_no_busy_loop(0.2)


@step("give-up", "a client that has only half-closed is answered")
def half_closed_is_answered(stage):
    with stage.serve("--delay", 1) as server:
        clients = [server.client() for _ in range(2)]
        for client in clients:
            client.get("/slow")
        clients[0].half_close()
        clients[1].say(FAST)  # more input is no reason either
        server.expect_no_busy_loop(0.3)
        for client in clients:
            server.expect(client, "/slow", sleeps=1)
        server.expect_end(clients[0])


@step("give-up", "a reset while a thread works does not make the loop spin")
def reset_during_work(stage):
    with stage.serve("--delay", 1, "--block", "--threads", 2) as server:
        before = server.descriptors_at_rest()
        client = server.client()
        client.get("/slow")
        client.all_received()
        server.pause(0.1)
        client.reset()
        server.expect_no_busy_loop(0.2)
        server.expect_descriptors(before)


@step("give-up", "everything else is as it was")
def give_up_changes_nothing_else(stage):
    """Without the unit tests: they want a connection that sleeps not to be watched at all."""
    black_box(stage, *SUBJECTS)


# ---- 06

exercise("ev-now-update", "06", "early", "tests/tutorial/early.c")


@step("ev-now-update", "the timer fires after 0.5 s")
def timer_is_not_early(stage):
    """Noise can only make it later, so try several times."""
    for _ in range(3):
        process = processes.start([BUILD / "early"], **PIPES)
        out, _ = processes.finish(process)
        fired = re.search(r"fired after (\d+\.\d) s", out)
        if not fired or float(fired[1]) < 0.5 or "timer of 0.5 s" not in out or "for 0.3 s" not in out:
            fell = Failure("a timer of 0.5 s, started after computing for 0.3 s, fired after 0.5 s",
                           out.strip())
            fell.did = ["build/early"]
            raise fell
