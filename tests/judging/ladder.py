"""The ladder: what a server must do, in the order in which one writes it. A rung is a title and the cases of
tests/suite that it asks for; some rungs look at the source or the build of a stage instead."""
import ctypes
import dataclasses
import os
import pathlib
import re
import shutil
import signal
import subprocess
from typing import Callable, NamedTuple, Optional, Tuple

from judging import building, skeleton
from judging.building import make
from kit import processes, tool
from kit.errors import Failed
from kit.printable import printable
from kit.processes import PIPES
from kit.tree import BUILD, ROOT
import simulation.build
from simulation import seeds
from simulation.engine import Simulation
from suite import cases
from suite.cases import NEEDS, PROGRAM, READINESS, STAGE, all_cases
from suite.running import run_all
from suite.server import FAST, FAST_CLOSE, SLOW, Failure, Skipped, allow_descriptors, reported

DELAY = 0.3
SYS_IO_URING_SETUP = 425  # on every architecture but alpha


class Rung(NamedTuple):
    key: str       # of its hints
    title: str
    cases: Tuple[str, ...]
    look: Optional[Callable]  # look(stage) raises a Failure; instead of cases
    models: str    # those for which it is
    needs: str     # as of a case
    also: Tuple[str, ...]     # other tests, whose bugs may show themselves here already; the gallery names them
    chapter: str   # of the tutorial: how its title begins; "": that of the stage

    def cases_for(self, stage):
        return [all_cases()[name] for name in self.cases if all_cases()[name].suits(stage)]

    def climb(self, stage):
        """Fail if the rung is not passed."""
        if self.look:
            self.look(stage)
        for case in self.cases_for(stage):
            try:
                case.check(stage)
            except Failure as failure:
                failure.names = failure.names or [case.name]
                raise

    def reason_to_skip(self, stage):
        """Return why it is not for this server, or None. "": its model has no such rung."""
        its_own = [all_cases()[name] for name in self.cases if all_cases()[name].holds_for(stage.model)]
        if not {stage.model, stage.kind} & set(self.models.split()) or self.cases and not its_own:
            return ""
        least = min([case.needs for case in its_own] or [self.needs], key=NEEDS.index)
        if NEEDS.index(least) <= NEEDS.index(stage.offers):
            return None
        return {PROGRAM: "for a server that is started here, not for a URL",
                STAGE: "for a stage in this tree"}[least]


LADDER = []


def rung(key, title, *names, models=cases.ALL, also="", chapter=""):
    """Add a rung that asks for these cases."""
    LADDER.append(Rung(key, title, names, None, models, STAGE, tuple(also.split()), chapter))


def look(key, title, models=cases.ALL, chapter=""):
    """Add a rung that looks at a stage in a way of its own."""
    def add(function):
        LADDER.append(Rung(key, title, (), function, models, STAGE, (), chapter))
        return function
    return add


def forbidden(stage):
    """Return why a server cannot be judged on this machine, or None."""
    if stage.model != "07-uring":
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    ring = libc.syscall(SYS_IO_URING_SETUP, 1, ctypes.create_string_buffer(120))  # struct io_uring_params
    if ring < 0:
        return f"io_uring_setup: {os.strerror(ctypes.get_errno())}"
    os.close(ring)
    return None


# ---- first steps

@look("build", "it builds without warnings")
def builds(stage):
    """The file is compiled even if it has not changed, so that the warnings show every time."""
    path = f"{stage.name}/server.c"
    made = make(["-W", path, stage.name])
    text = (ROOT / path).read_text(errors="replace")
    warnings = re.findall(r"warning: .*", made.stderr)
    if skeleton.unwritten(text):  # which may be what needs a function
        warnings = [line for line in warnings if "[-Wunused-function]" not in line]
    if made.returncode != 0 or warnings:
        unused = re.findall(r"'(\w+)' (?:defined|set) but not used|unused \w+ '(\w+)'", made.stderr)
        fell = Failure("no error and no warning", "\n".join(made.stderr.strip().splitlines()[:12]),
                    names=[first or second for first, second in unused])
        fell.did = [f"make -W {path} {stage.name}"]
        raise fell


rung("listen", "it says where it listens", "server_says_where_it_listens")
rung("fast", "it answers /fast", "fast_is_answered",
     also="one_event_causes_one_recv slow_requests_wait_simultaneously slow_is_answered_after_its_delay")
rung("slow", "it answers /slow after its delay", "slow_is_answered_after_its_delay",
     also="one_event_causes_one_recv")

# The calls that are a model, one of each line; a library of its own makes those of 06.
CALLS = {"01-blocking": ["accept accept4"],
         "02-threaded": ["accept accept4", "pthread_create"],
         "03-select": ["select pselect"],
         "04-poll": ["poll ppoll __poll_chk __ppoll_chk"],
         "05-epoll": ["epoll_ctl", "epoll_wait epoll_pwait epoll_pwait2"],
         "06-libev": ["ev_run", "ev_io_start"]}


@look("model", "it makes the calls of its model", models=" ".join(CALLS))
def makes_the_calls_of_its_model(stage):
    """What the object file of the stage asks the linker for, and which other stage it includes."""
    compiled = BUILD / "obj" / stage.name / "server.o"
    included = re.findall(r"\S+\.c(?=\s)", compiled.with_suffix(".d").read_text())
    others = sorted({path for path in included if pathlib.Path(path).parent != pathlib.Path(stage.name)})
    text = "".join(path.read_text(errors="replace") for path in sorted((ROOT / stage.name).glob("*.[ch]")))
    others += re.findall(r"(?m)^[ \t]*#[ \t]*include[ \t]*<([^>\n]+\.c)>", text)  # which the compiler leaves out
    if others:
        raise Failure(f"a model written in {stage.name}/server.c", f"it includes {', '.join(others)}")
    if shutil.which("nm") is None:
        raise Skipped("nm is missing, which gcc comes with")
    found = subprocess.run(["nm", compiled], capture_output=True, text=True, check=False).stdout
    called = set(re.findall(r"^ +U (\w+)", found, re.M))
    tells = [*re.findall(r"^[0-9a-f]+ [A-Z] (__(?:[alt]san|ubsan|sanitizer)_\w+)", found, re.M),
             *re.findall(r"\b(?:__SANITIZE_|__has_feature|__wasm)\w*", text)]
    if tells:
        raise Failure("a stage that is the same in each program that the judge builds", f"it has {tells[0]}")
    for names in CALLS[stage.model]:
        if not called & set(names.split()):
            waits = sorted(called & set(" ".join(line for calls in CALLS.values() for line in calls).split()))
            failure = Failure(f"a call of {' or '.join(word for word in names.split() if word[0] != '_')}",
                              f"none in {stage.name}/server.c" +
                              (f", which calls {', '.join(waits)}" if waits else ""))
            failure.did = [f"nm -u {os.path.relpath(compiled, ROOT)}"]
            raise failure


@look("ring", "it works with a ring of io_uring", models="07-uring")
def works_with_a_ring(stage):
    with stage.serve() as server:
        server.expect_served("/fast")
        server.settle()  # it has closed the connection
        kinds = {os.readlink(path) for path in pathlib.Path(f"/proc/{server.program.pid}/fd").iterdir()}
        if "anon_inode:[io_uring]" not in kinds or "anon_inode:[eventpoll]" in kinds:
            raise Failure("an io_uring and no eventpoll in /proc/$server/fd", " ".join(sorted(kinds)))


rung("idle", "when it has nothing to do, it sleeps", "idle_server_sleeps", "loop_sleeps_until_a_deadline")

# ---- two clients, one connection

rung("clients", "a client does not wait for others", "slow_requests_wait_simultaneously",
     models="threads loop")
rung("clients", "a client waits for the one before it", "fast_waits_for_slow", models="one")
rung("keep-alive", "a connection serves one request after another", "connection_is_kept_alive",
     models="threads loop", chapter="01")
rung("keep-alive", "every connection ends after its response", "blocking_server_closes_every_connection",
     models="one", chapter="01")
rung("pipelining", "requests in one piece, and a request in two", "pipelined_requests_are_answered_in_order",
     "request_may_arrive_in_pieces", also="one_event_causes_one_recv")


@look("turn", "each turn of its loop is in order", models=READINESS)
def turns_in_order(stage):
    """A second program, in which what breaks a rule of common/connections.h is an error: few clients could rely
    on seeing it. It also has no memory, once, when epoll_ctl is to watch a client."""
    program = BUILD / "turn" / stage.name
    made = make([os.path.relpath(program, ROOT)])
    if made.returncode != 0:
        raise Failed(f"{program}: not built", made.stderr)
    with dataclasses.replace(stage, command=[str(program)]).serve("--delay", DELAY) as server:
        server.expected = "connections_ready, connections_expire, connections_accept in each turn"
        client = server.client(FAST)
        server.expect(client, "/fast")
        client.get("/slow")  # it is not watched meanwhile
        crowd = server.burst(70, known=True)  # which one wait reports, or nearly; the listener is the first of them
        for each in crowd:
            server.expect(each, "/fast")
        server.expect(client, "/slow", sleeps=DELAY)
        crowd[0].reset()  # a hang-up
        server.expected = "a loop that keeps the rules of common/connections.h"
        server.client()
        server.pause(0.05)
        server.client(FAST_CLOSE)
        server.pause(0.05)
        expect_turns(stage, server)


def expect_turns(stage, server):
    """Let the program end, and expect that it has waited by its model, and not merely contains the calls. SIGTERM comes
    just before a wait, which must not last then; if it does, another signal ends it. Whether and how the program ends
    is the question of another rung."""
    server.signal(signal.SIGUSR1)  # at which it raises SIGTERM
    server.may_end = True
    server.settle()
    lasts = server.program.alive
    if lasts:
        server.signal(signal.SIGTERM)
        processes.wait_until(lambda: not server.program.alive, patience=4)
    said = re.search(r"turns: (\d+), by (\w[\w ]*)(, SIGTERM)?", server.program.output())
    by = stage.model[3:] if stage.model in ("03-select", "04-poll", "05-epoll") else "a library"
    if said and said[1] == "0":
        raise Failure("a loop that calls the functions of common/connections.h", "it never calls connections_wait_ms")
    if said and said[2] != by:
        raise Failure(f"a loop that waits by {by}", f"it waits by {said[2]}")
    if said and said[3] and lasts:
        raise Failure("a server that ends, if SIGTERM comes just before its wait",
                      "SIGTERM came after connections_wait_ms, and the wait lasted until the next signal")


@look("memory", "it gives back what it takes, and survives what it does not get", models="threads")
def gives_back_what_it_takes(stage):
    """A second program, in which a descriptor that is closed twice is an error, and memory that is left. One client
    gets no memory at first, and another no thread."""
    program = BUILD / "careful" / stage.name
    if shutil.which("objcopy") is None:
        raise Skipped("objcopy is missing, which gcc comes with")
    made = make([os.path.relpath(program, ROOT)])
    if made.returncode != 0:
        raise Failed(f"{program}: not built", made.stderr)
    with dataclasses.replace(stage, command=[str(program)]).serve("--delay", DELAY, "--timeout", cases.LONG) as server:
        for _ in range(8):
            client = server.client(FAST_CLOSE)
            server.expect(client, "/fast", sleeps=1)
            server.expect_end(client)
        server.did = server.did[:1] + ["for i in $(seq 8); do curl -s http://127.0.0.1:8000/fast; done"]
        server.signal(signal.SIGTERM)
        server.may_end = True  # whether it does end is the question of another rung
        processes.wait_until(lambda: not server.program.alive, patience=8)
        server.expected = "a server that has closed and freed all that it took for a client"
        if not server.program.alive and server.program.process.returncode != 0:
            raise Failure(server.expected, server.ending())


# ---- difficult clients

rung("slow-reader", "a client that does not read delays nobody, and loses nothing",
     "client_that_does_not_read_costs_little", models="threads loop",
     also="partial_sends_lose_and_repeat_nothing", chapter="05")
rung("silent", "a silent client delays nobody, and is closed after --timeout",
     "silent_client_delays_nobody_else",
     "silent_client_is_closed_without_a_response", models="threads loop", chapter="01")
rung("silent", "a silent client delays the next one, until --timeout", "silent_client_delays_the_next_client",
     "silent_client_is_closed_without_a_response", models="one", chapter="01")
rung("leaving", "a client that breaks off harms nobody", "half_closed_client_is_answered",
     "writing_to_a_closed_connection_raises_no_sigpipe", "resets_cause_neither_exit_nor_busy_loop",
     chapter="04")
rung("leaks", "no descriptor is left open", "no_descriptor_leaks")

# ---- running out, and the end

rung("descriptors", "out of descriptors, it waits", "clients_wait_for_descriptors", chapter="03")
rung("threads", "out of threads, clients wait", "clients_wait_for_threads")
rung("numbers", "more clients than a set has bits", "more_clients_than_an_fd_set_holds", models="03-select")
rung("signals", "SIGTERM: it finishes the requests in flight, and ends",
     "server_without_clients_exits_immediately",
     "requests_in_flight_are_answered_before_exit", "idle_connections_are_closed_immediately",
     "only_the_main_thread_takes_sigterm", "signal_while_the_loop_is_busy_is_not_lost", chapter="What")


# ---- with a sanitizer

@look("sanitizer", "a sanitizer finds no mistake")
def sanitized(stage):
    """A race or a wrong pointer may do no harm for long. Here it is found even then."""
    if "SANITIZE=" in os.environ.get("MAKEFLAGS", ""):
        raise Skipped("this build has one")
    for kind in ["thread", "address"] if stage.kind == "threads" else ["address"]:
        climb_with(kind, stage)


def climb_with(kind, stage):
    """Serve some clients with a stage that is built with this sanitizer."""
    stage = building.built_with(stage, kind)
    if stage is None:
        raise Skipped(f"the compiler cannot build it with -fsanitize={kind}")
    found, fallen = report_on(stage, leaks=kind == "address")
    if "LeakSanitizer has encountered a fatal error" in "".join(found):  # it may not trace the server here
        found, fallen = report_on(stage, leaks=False)
    if "unexpected memory mapping" in "".join(found) + (fallen.got if fallen else ""):
        raise Skipped("ThreadSanitizer cannot run here")
    if found:
        fell = Failure("no report of a sanitizer", reported(found[0], stage.name))
        folder = {"address": "asan", "thread": "tsan"}[kind]
        build = f"BUILD={os.path.relpath(BUILD, ROOT)}/{folder}"
        fell.did = [f"make {build} SANITIZE={kind} check STAGE={stage.name}"]
        raise fell
    if fallen:
        raise fallen


def report_on(stage, leaks):
    """Return the reports of the sanitizer, and how the stage has failed, or None."""
    with building.reports(stage, leaks) as reports:
        fallen = None
        try:
            crowd(stage)
        except Failure as fell:
            fallen = fell
        return reports(), fallen


def crowd(stage):
    """Some clients that come and go, and a shutdown."""
    many = stage.kind == "loop" and allow_descriptors(1100)
    with stage.serve("--delay", DELAY) as server:
        server.expect_served("/fast")
        if stage.kind == "one":
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
            if many:  # numbers for which a table of 1,024 has no room
                with server.crowd(1100):
                    server.pause(0.1)
        server.pause(DELAY)
        server.signal(signal.SIGTERM)
        server.expect_exit()
    if stage.kind == "loop":
        stale_events(stage)


def stale_events(stage):
    """SIGTERM comes while the loop sleeps (--block), and so do requests. The next wait reports these, but the drain
    answers and closes their connections before the loop gets to the events."""
    with stage.serve("--delay", DELAY, "--block") as server:
        idle = [server.client(FAST) for _ in range(3)]
        for client in idle:
            server.expect(client, "/fast")
        slow = server.client(SLOW)
        slow.pause(0.1)
        for client in idle:
            client.get("/fast")
        server.signal(signal.SIGTERM)
        for client in [slow, *idle]:
            server.expect(client, "/slow" if client is slow else "/fast", sleeps=DELAY)
        server.expect_exit()


# ---- the tests of the toolkit

FAILURE = re.compile(r"^[^:\n]*:\d+:[FE]:[^:\n]*:(\w+):\d+: (.*)", re.M)


@look("unit", "the unit tests of common/")
def unit_tests(stage):
    if "SANITIZE=" in os.environ.get("MAKEFLAGS", ""):
        raise Skipped("they take long with a sanitizer")
    build("check_http", "check_connections")
    run_unit_tests(["check_http", "check_connections"])


@look("tests", "all other cases for its model")
def all_other_cases(stage):
    names = {name for rung_ in LADDER if {stage.model, stage.kind} & set(rung_.models.split()) for name in rung_.cases}
    run_cases(stage, [case for case in all_cases().values() if case.name not in names])


def run_cases(stage, wanted):
    """Run cases simultaneously: they mostly wait. Fail if one of them does."""
    suitable = [(case, stage) for case in wanted if case.suits(stage)]
    failed = [result for result in run_all(suitable) if result.outcome == "failed"]
    if failed:
        failed.sort(key=lambda result: list(all_cases()).index(result.case))
        rows = dict(failed[0].rows)
        others = [f"{result.case} fails, too" for result in failed[1:4]] + ["..."] * (len(failed) > 4)
        failure = Failure(rows.get("expected", "a case that runs to its end"),
                          "\n".join([rows.get("got", rows.get("error", "")), *others]),
                          names=[result.case for result in failed])
        failure.did = [*rows.get("did", "").splitlines(), rows["again"]]
        raise failure


def build(*names):
    made = make(names)
    if made.returncode != 0:
        raise Failed(f"{' '.join(names)}: not built", made.stderr)


def run_unit_tests(names):
    """Run Check programs. Fail if a test of theirs does."""
    output = dict(stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    for name in names:
        process = processes.start([BUILD / name], **output)
        out, _ = processes.finish(process)
        failed = FAILURE.findall(out)
        if process.returncode != 0 or failed:
            shown = [f"{test}: {printable(message)[:200]}" for test, message in failed[:4]]
            shown = shown or out.splitlines()[-3:]
            failure = Failure("no test that fails", "\n".join(shown + ["..."] * (len(failed) > 4)),
                              names=list(dict.fromkeys(test for test, _ in failed)))
            failure.did = [os.path.relpath(BUILD / name, ROOT)]
            raise failure


# The errors of the calls that are the model; the others are common/'s, and make faults tries them all.
FAULTS = (r"\|(accept4?\|(EMFILE|ENOMEM|ECONNABORTED|EINTR|EAGAIN|EBADF)|"
          r"(pselect6|ppoll|epoll_pwait|epoll_wait|epoll_ctl|clone3?|mmap)\|\w+)\|(first|every|stop)")


@look("faults", "errors of the kernel in the calls of its model")
def faults(stage):
    if stage.model == "07-uring":
        raise Skipped("its calls are made by the kernel")
    if shutil.which("strace") is None:
        raise Skipped("strace is missing. To install it: make deps-tools")
    # LeakSanitizer, in a build with sanitizers, cannot work under strace.
    model = "05-epoll" if stage.model == "07-coroutines" else stage.model  # it makes the same calls
    env = {"ASAN_OPTIONS": "detect_leaks=0", **os.environ, "LIKE": model, "ONLY": FAULTS}
    process = processes.start(tool.module("servers.stress.faults", stage.name), env=env, **PIPES)
    out, err = processes.finish(process)
    if process.returncode == 0:
        return
    if "strace did not attach" in out + err:
        raise Skipped("strace is not allowed here")
    failed = re.findall(r"^\S+ +(\S+) +(\S+) +(\S+) +FAILED: (.*)", out, re.M)
    shown = [f"{call} fails with {error} ({moment}): {what}" for call, error, moment, what in failed[:4]]
    fell = Failure("a server that survives it, or says in one line why it ends", "\n".join(shown) or err)
    if failed:
        call, error, moment, _ = failed[0]
        only = f"{call}[|]{error}[|]{moment}"
        fell.did = [f"PYTHONPATH=tests LIKE={stage.model} ONLY='{only}' "
                    f"python3 -m servers.stress.faults {stage.name}"]
    raise fell


# ---- seeds

SEEDS = 300


@look("seeds", "no seed breaks a rule, in the simulated kernel", models=" ".join(CALLS))
def seeds_break_no_rule(stage):
    """Clients, signals and errors that numbers choose: see make seeds."""
    for program in [*simulation.build.TOOLS, "node"]:
        if shutil.which(program) is None:
            raise Skipped(f"{program} is missing. To install it: make deps-play")
    try:
        folder = simulation.build.build_alone(stage.name)
    except Failed as failed:
        raise Skipped(f"it is not built for the simulation: {failed}") from None
    with Simulation(folder) as simulated:
        failure = seeds.first_failure(simulated, stage.name, stage.model, 1, SEEDS)
    if failure and failure["rule"] == "unsupported":
        raise Skipped(failure["why"])
    if failure:
        fell = Failure(f"{SEEDS} seeds that break no rule",
                       f"seed {failure['seed']}, {failure['rule']}: {failure['why']}")
        fell.did = [f"make play STAGE={stage.name}", f"tests/play.py '#{failure['text']}'"]
        raise fell
