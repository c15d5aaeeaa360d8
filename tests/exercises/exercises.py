"""The exercises of the tutorial that ask for code: what to do, how it is checked, hints, and a solution."""
import pathlib
import re
import resource
import time
from typing import List, NamedTuple

import lab
import ladder
from judged import Fell, Judged
from ladder import DELAY, Rung

HERE = pathlib.Path(__file__).resolve().parent


class Exercise(NamedTuple):
    name: str
    chapter: str
    task: str
    build: str        # the program
    rungs: List[Rung]
    hints: List[str]  # a question, a system call, nearly the answer
    solution: pathlib.Path
    taken_back: str   # the command that removes what the reader has written; "": nothing needs to be removed

    def judged(self):
        stage = self.build if self.build in lab.STAGES else "06-libev"
        return Judged(self.build, stage, [str(lab.BUILD / self.build)], in_tree=True, exercise=self.name)


EXERCISES = {}


def exercise(name, **fields):
    EXERCISES[name] = Exercise(name, rungs=[], taken_back=f"git checkout {fields.pop('files')}", **fields)
    step(name, "it builds")(builds)


def step(name, title):
    def add(function):
        EXERCISES[name].rungs.append(Rung(name, title, function, "one threads loop", "tree", "", ""))
        return function
    return add


def builds(judged):
    made = ladder.make([judged.name])
    if made.returncode != 0 or "warning:" in made.stderr:
        fell = Fell("no error and no warning", "\n".join(made.stderr.strip().splitlines()[:12]))
        fell.did = [f"make {judged.name}"]
        raise fell


def black_box(judged, *subjects):
    """Some of the tests that the stage had to pass before."""
    ladder.build("check_stages")
    ladder.run_check_stages({"STAGE": judged.like}, subjects)


# ---- 01

exercise("keep-alive", chapter="01", build="01-blocking", files="01-blocking", task="""\
01 closes each connection after one response. Let it keep connections alive, as HTTP/1.1 clients expect. Then
look at what this costs: why do servers that take one client after the other not do it?""", hints=[
    "Who decides whether the conversation goes on after a response? Read the contract in common/blocking.h.",
    "blocking_converse: its last argument.",
    "In main, false becomes true."], solution=HERE.parent / "bugs" / "keep-alive-in-01.patch")


@step("keep-alive", "a second request on the same connection is answered")
def second_request(judged):
    with judged.serve("--delay", DELAY) as server:
        client = server.client()
        for path in ("/fast", "/slow", "/fast"):
            client.get(path)
            if server.expect(client, path, sleeps=DELAY).closes:
                raise Fell("a response that does not say Connection: close", f"one that does, to {path}")


@step("keep-alive", "the price: an idle client makes the next one wait, until --timeout")
def price_of_keep_alive(judged):
    with judged.serve("--timeout", 1) as server:
        idle = server.client()
        idle.get("/fast")
        server.expect(idle, "/fast")
        start = time.monotonic()
        server.expect_served("/fast", sleeps=1)
        waited = time.monotonic() - start
        if waited < 0.5:
            raise Fell("a client that waits for the idle one: 01 has one thread, and takes one client at a time",
                       f"its response after {waited:.3f} s")


# ---- 02

exercise("small-stacks", chapter="02", build="02-threaded", files="02-threaded", task="""\
A thread gets a stack of 8 MiB of address space (ulimit -s), and uses a few KiB of it. Give the threads of 02
stacks of 64 KiB, so that a hundred of them fit where five did.""", hints=[
    "What does main hand to pthread_create besides the function and its argument?",
    "pthread_attr_setstacksize(3)",
    "Set the size in the attributes `detached`, where main sets them up, and check what it returns."],
    solution=HERE / "solutions" / "small-stacks.patch")


@step("small-stacks", "a hundred threads in 40 MiB of address space")
def hundred_threads(judged):
    with judged.serve("--delay", 30) as server:
        server.expect_served("/fast")
        server.limit("as", resource.RLIMIT_AS, server.memory() + (40 << 20))
        for _ in range(100):
            server.client().get("/slow")
        if not lab.wait_until(lambda: server.program.threads > 100, patience=3):
            raise Fell("100 clients that are served simultaneously, each by a thread of its own",
                       f"{server.program.threads - 1} threads")


@step("small-stacks", "64 KiB are enough for every request")
def small_stacks_suffice(judged):
    black_box(judged, "http", "keep_alive", "slow_clients")


# ---- 03

exercise("medium", chapter="03", build="03-select", files="common", task="""\
Add a route /medium to 03, which answers "That was medium!" after half of --delay. common/http.c has the routes,
limits_ns in common/connections.c the delays. Why is one queue for all sleepers not enough any more?""", hints=[
    "All connections in one queue may wait equally long: that keeps it in order. What happens to a /medium that "
    "comes into the queue of the sleepers after a /slow?",
    "Which states wait for WANT_NOTHING, and where are they named? enum state, wants, limits_ns, advance, "
    "connections_expire. (http.h: enum http_route.)",
    "Give /medium a state of its own, and with it a queue, whose limit is half the delay."],
    solution=HERE / "solutions" / "medium.patch")


@step("medium", "/medium is answered after half the delay")
def medium(judged):
    with judged.serve("--delay", 0.6) as server:
        start = time.monotonic()
        server.expect_served("/medium", sleeps=0.3)
        took = time.monotonic() - start
        if took < 0.3:
            raise Fell("a response after 0.3 s, and not before", f"the response after {took:.3f} s")


@step("medium", "/medium overtakes a /slow that came before it")
def medium_overtakes_slow(judged):
    with judged.serve("--delay", 2) as server:
        server.expected = "a response to /medium after half the delay, and before that to /slow"
        slow, other = server.client(), server.client()
        slow.get("/slow")
        slow.pause(0.1)
        other.get("/medium")
        server.expect(other, "/medium", sleeps=2)
        if not slow.silent():
            raise Fell(server.expected, "the response to /slow was there first")
        server.expect(slow, "/slow", sleeps=2)


@step("medium", "everything else is as it was")
def medium_changes_nothing_else(judged):
    ladder.unit_tests(judged)
    black_box(judged, "http", "waiting", "leaving_clients", "shutdown")


# ---- 05

exercise("edge", chapter="05", build="05-epoll", files="05-epoll common", task="""\
Let 05 watch its clients with EPOLLET, and then its listener. An edge is reported once, so common/connections.c
can no longer rely on being told again of what it has left unread. And a client that never stops sending must not
keep it from the others.""", hints=[
    "05 reads once for each event, and accepts once for each turn. Who brings it back to what is left? With EPOLLET, "
    "who does?",
    "epoll(7), question 9: until EAGAIN. recv(2), accept(2); epoll_ctl(2) with EPOLL_CTL_MOD asks for another event, if "
    "the descriptor is ready now.",
    "Read until EAGAIN, but at most some sixteen times, and then call watch for WANT_READ again, which makes it a MOD. "
    "Stay acceptable until accept says EAGAIN. Do not forget drop_input."],
    solution=HERE / "solutions" / "edge.patch")


def edges(server):
    """Return how many descriptors are watched with EPOLLET, and how many are watched."""
    text = ""
    for path in pathlib.Path(f"/proc/{server.program.pid}/fdinfo").glob("*"):
        text += path.read_text()
    events = [int(word, 16) for word in re.findall(r"^tfd: +\d+ events: +([0-9a-f]+)", text, re.M)]
    return sum(word >> 31 for word in events), len(events)


@step("edge", "clients are watched with EPOLLET, and served")
def edge_clients(judged):
    with judged.serve("--timeout", 20) as server:
        server.expected = "EPOLLET in the events of a client (/proc/$server/fdinfo)"
        client = server.client()
        client.get("/fast", times=1000)  # more than one recv takes
        got = client.count(1000)
        if got != 1000:
            raise Fell("1000 responses to 1000 requests", f"{got} responses")
        if edges(server)[0] == 0:
            raise Fell(server.expected, "none that has it")
        client.first_half("/fast")
        client.pause(0.05)
        client.rest("/fast")
        server.expect(client, "/fast")


@step("edge", "a client that does not read loses nothing")
def edge_slow_reader(judged):
    ladder.slow_reader(judged)


@step("edge", "the listener is watched with EPOLLET, and a burst of clients is served")
def edge_listener(judged):
    with judged.serve("--timeout", 20) as server:
        server.expect_served("/fast")
        server.pause(0.1)
        found, watched = edges(server)
        if watched != 1 or found != 1:
            raise Fell("EPOLLET in the events of the listener (/proc/$server/fdinfo), which is watched alone now",
                       f"{found} of {watched} descriptors with it")
        clients = server.burst(50)
        for client in clients:
            server.expect(client, "/fast")


@step("edge", "everything else is as it was")
def edge_changes_nothing_else(judged):
    black_box(judged, *ladder.subjects())


# ---- 06

exercise("ev-now-update", chapter="06", build="early", files="tests/tutorial/early.c", task="""\
tests/tutorial/early.c computes for 0.3 s, and then starts a timer of 0.5 s, which fires after 0.2 s. Let it fire
after 0.5 s, without a longer timer.""", hints=[
    "From which moment does libev count? When did it last look at the clock?",
    "ev(3): ev_now, ev_now_update, and the chapter about timeouts.",
    "ev_now_update(loop), after the computing and before ev_timer_start."],
    solution=HERE / "solutions" / "ev-now-update.patch")


@step("ev-now-update", "the timer fires after 0.5 s")
def timer_is_not_early(judged):
    process = lab.start([lab.BUILD / "early"], **lab.PIPES)
    out, _ = lab.finish(process)
    fired = re.search(r"fired after (\d+\.\d) s", out)
    if not fired or float(fired[1]) < 0.5 or "timer of 0.5 s" not in out or "for 0.3 s" not in out:
        fell = Fell("a timer of 0.5 s, started after computing for 0.3 s, fired after 0.5 s", out.strip())
        fell.did = ["build/early"]
        raise fell


# 07-uring has a folder of its own, and is judged by the ladder.
URING = """\
Write 07-uring: io_uring is completion, not readiness. You hand in a recv, and are told when it is done. Which of
the files in common/ can you keep? To begin: make start STAGE=07-uring LIKE=07-uring"""
