"""Measure the six stages beside gunicorn, uvicorn, Node and nginx (those that are installed: make
deps-peers), with one process each.

  latency  /fast while another client waits for /slow, and five simultaneous /slow
  cost     the CPU time of one /fast, of all processes of the server, with 64 clients that keep
           their connections; and its ratio to the floor, a bare epoll loop that sends a
           constant answer (tests/bench/floor.c)
  workers  the same for 05 with two workers, and its ratio to 05 with one

Exit status: 0 if no answer was lost and the claims at the end hold; 1 if not, 2 for a bad
command line."""
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections import namedtuple

from bench.results import HERE, median
from kit import measuring, proc, processes, tool
from kit.errors import Failed
from kit.processes import PIPES, Program
from kit.report import Report, bad
from kit.servers import Server
from kit.tree import STAGES


DELAY, CLIENTS, SECONDS = 1, 64, 1
APPS = HERE / "apps"
CLAIMS = [  # the CPU time of A for each request, as a ratio to that of B: from least to most
    ("05-epoll", "floor", 0, 1.10, "05 takes at most 1.10 times the CPU time of the floor"),
    ("06-libev", "floor", 0, 1.20, "06 takes at most 1.20 times the CPU time of the floor"),
    ("05-epoll", "nginx", 0, 0.85, "05 takes at most 0.85 times the CPU time of nginx"),
    ("uvicorn+FastAPI", "05-epoll", 10, 1e9, "uvicorn with FastAPI takes at least 10 times that of 05"),
    ("gunicorn+Flask", "05-epoll", 25, 1e9, "gunicorn with Flask takes at least 25 times that of 05"),
    ("05-epoll--workers=2", "05-epoll--workers=1", 0, 1.11,
     "05 with two workers takes at most 1.11 times the CPU time of 05 with one"),
]
# The cost of a request depends on how often the server falls asleep and is woken, and that depends on
# which of the two is slower, the server or its client: on two cores the floor slept 40 times in 1,000
# requests, nginx 10 times. To load all servers in the same way, server and client share one core, and
# a process that is woken does not push the other aside (SCHED_BATCH, sched(7)): each works until it has
# nothing left to do, and each turn of a server finds all clients waiting. (16 times in 1,000, for all.)
CORES = os.sched_getaffinity(0)
ONE_CORE = {max(CORES)}

Peer = namedtuple("Peer", "name pid url tests promise")
Load = namedtuple("Load", "cpu_us rate")
report = Report("server", "metric", "value", "least", "most")
started = []  # in the order in which they are measured: those that a claim compares follow each other
missing = []


@contextlib.contextmanager
def started_on(cores):
    """What is started here runs on these cores."""
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, CORES)


# ---- the servers

def short(name):
    return name[:2] if name in STAGES else name


def add(name, server, tests, promise=None):
    """Let a server that is running be measured."""
    started.append(Peer(name, server.pid, server.url, tests, promise))


def start_stage(stage, tests, promise=None, *options):
    """Start a stage. Return its name in the tables."""
    name = "".join([stage, *options])
    report.begin(f" {short(name)}")
    server = Server(stage, "--delay", f"{DELAY}", "--timeout", "3600", *options)
    add(name, server, tests, promise)
    return name


def start_other(name, tests, promise, command, url="", **environment):
    """Start a server that is not ours; it says its URL unless that is given. Wait until it answers. Return
    what it has written."""
    report.begin(f" {name}")
    environment = dict(os.environ, DELAY=f"{DELAY}", PYTHONDONTWRITEBYTECODE="1", **environment)
    server = Program(command, dies_by=signal.SIGTERM, env=environment)

    def answers_at():
        found = re.search(r"http://127\.0\.0\.1:[1-9]\d*", url + server.output() + server.messages())
        return found and measuring.probe(found[0], "0:/fast", timeout=2)[0]["status"] == "200" and found[0]

    answer = processes.wait_until(lambda: not server.alive or answers_at(), 15, step=0.1)
    written = server.output() + server.messages()
    if answer and server.alive:
        started.append(Peer(name, server.pid, answer, tests, promise))
    else:
        report.fail(f"{name} does not answer", written.splitlines()[:5])
    return written


def start_nginx():
    folder = tool.scratch() / "nginx"
    folder.mkdir()
    with socket.socket() as reserved:  # keeps the port for nginx: the kernel gives it to nobody else
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("127.0.0.1", 0))
        port = f"{reserved.getsockname()[1]}"
        (folder / "nginx.conf").write_text((APPS / "nginx.conf").read_text().replace("PORT", port))
        start_other("nginx", "cost", None, ["nginx", "-p", folder, "-c", "nginx.conf"],
                    url=f"http://127.0.0.1:{port}")


def installed(what, packages, command, module=None):
    """Return whether a command is there, and a module of the Python that runs it. Remember what is not."""
    found = shutil.which(command) is not None
    if found and module:
        with open(shutil.which(command), errors="replace") as file:
            python = file.readline()[2:].split()  # after #!
        found = processes.start([*python, "-c", f"import {module}"], stderr=subprocess.DEVNULL).wait() == 0
    if not found:
        missing.append(f"{what} is not installed ({packages}): make deps-peers")
    return found


def uvicorn(app):
    """Return the command that serves a FastAPI application of apps/; None if that cannot be run."""
    if not installed("uvicorn with FastAPI", "uvicorn python3-fastapi", "uvicorn", "fastapi"):
        return None
    return ["uvicorn", "--workers=1", "--port=0", "--no-access-log", "--app-dir", APPS, app]


def gunicorn(app, *options):
    """The same for a Flask application."""
    if not installed("gunicorn with Flask", "gunicorn python3-flask", "gunicorn", "flask"):
        return None
    return ["gunicorn", "--workers=1", *options, "--bind", "127.0.0.1:0", "--worker-tmp-dir", tool.scratch(),
            "--chdir", APPS, app]


def start_others():
    """Return what uvicorn says of the event loop that it runs on."""
    loop = None
    if installed("nginx", "nginx-light", "nginx"):
        start_nginx()
    if installed("Node", "nodejs", "node"):
        start_other("node", "latency cost", "concurrent", ["node", APPS / "node.js"])
    command = uvicorn("fastapi_app:app")
    if command:
        output = start_other("uvicorn+FastAPI", "latency cost", "concurrent", command)
        loop = re.search(r"^loop: .*$", output, re.M)
        start_other("FastAPI,time.sleep", "latency", "serializes", command, MISTAKE="1")
    command = gunicorn("flask_app:app")
    if command:
        start_other("gunicorn+Flask", "latency cost", "serializes", command)
    return loop and loop[0]


def start_all():
    report.begin("Starting")
    with started_on(ONE_CORE):
        start_stage("01-blocking", "latency cost", "serializes")
        for stage in ("02-threaded", "03-select", "04-poll"):
            start_stage(stage, "latency cost", "concurrent")
        start_stage("06-libev", "latency", "serializes", "--block")
        start_stage("06-libev", "latency cost", "concurrent")
        start_stage("floor", "cost")
        start_stage("05-epoll", "latency cost", "concurrent")
        loop = start_others()
    if len(CORES) > 1:
        for workers in (1, 2):
            start_stage("05-epoll", "workers", None, f"--workers={workers}")
    else:
        missing.append("two workers: there is only one core")
    report.end()
    say_missing()
    return loop


def say_missing():
    """Loudly: a comparison without these is another comparison."""
    for text in missing:
        print(bad(f"LEFT OUT: {text}"), flush=True)


# ---- latency

def latency():
    print(f"\nDoes one client wait for another? /slow waits {DELAY} s\n"
          f"{'server':<27} {'/fast meanwhile':>16} {'five /slow':>13}  verdict")
    for peer in [peer for peer in started if "latency" in peer.tests]:
        report.begin(peer.name)
        pair = measuring.probe(peer.url, "0:/slow", "100:/fast")
        five = measuring.probe(peer.url, "5x0:/slow")
        lost = [f"{row['path']}: {row['status']}" for row in pair + five if row["status"] != "200"]
        if lost:
            report.fail(f"{peer.name}: {len(lost)} answers lost: {lost[0]}")
            continue
        fast_ms, five_ms = pair[1]["took_ms"], max(float(row["done_ms"]) for row in five)
        quick = fast_ms < DELAY * 500 and five_ms < DELAY * 2000
        verdict = "concurrent" if quick else "serializes"
        report.figure(peer.name, "fast_ms", f"{fast_ms:.3f}")
        report.figure(peer.name, "five_slow_ms", f"{five_ms:.3f}")
        report.end(f"{fast_ms:13.1f} ms {five_ms:10.1f} ms  {verdict}", column=28)
        if verdict != peer.promise:
            report.fail(f"{peer.name}: {verdict}, but its model promises {peer.promise}")


# ---- cost

def cpu_ns(pid):
    """Return the CPU time that each process of a server has taken: {pid: ns}. /proc/PID/stat has the same,
    but in ticks of 10 ms, too coarse for the work of a second."""
    return {member: time.clock_gettime_ns((~member << 3) | 2)  # as clock_getcpuclockid(3) does it
            for member in proc.family(pid)}


def load(peer, cores, threads, path):
    """Load a server for one round."""
    command = ["wrk", f"-t{threads}", f"-c{CLIENTS}", f"-d{SECONDS}s", "--timeout", "10s",
               f"{peer.url}{path}"]
    try:
        before = cpu_ns(peer.pid)
        with started_on(cores):
            wrk = processes.start(command, **PIPES)
        output = "".join(wrk.communicate()).strip()
        after = cpu_ns(peer.pid)
    except OSError as error:
        raise Failed(f"its CPU time cannot be read: {error.strerror}")
    lost = re.search(r"(Non-2xx|Socket errors).*", output)
    counted = re.search(r"([1-9]\d*) requests in ([\d.]+)(m?s),", output)
    if wrk.returncode != 0 or lost or not counted:
        raise Failed(lost[0] if lost else f"wrk: {processes.ending(wrk.returncode)}", output)
    if not before.keys() <= after.keys():
        raise Failed("one of its processes has ended, and its CPU time is lost")
    requests, took_s = int(counted[1]), float(counted[2]) / (1000 if counted[3] == "ms" else 1)
    return Load((sum(after.values()) - sum(before.values())) / 1000 / requests, round(requests / took_s))


def measure(experiment, rounds, base, cores, threads, path="/fast"):
    """Return {server: {round: Load}}. Each round measures all servers in turn."""
    loads = {peer.name: {} for peer in started if experiment in peer.tests}
    for number in range(1, rounds + 1):
        report.begin(f"    round {number:2} of {rounds}:")
        for peer in [peer for peer in started if peer.name in loads]:
            report.begin(f" {short(peer.name)}")
            with report.checking(f"{peer.name} not measured in round {number}"):
                loads[peer.name][number] = load(peer, cores, threads, path)
        report.end()
    show(experiment, loads, base, path)
    return loads


def ratios(loads, name, base):
    """The CPU time of one server, as a ratio to that of another in the same round."""
    own, other = loads.get(name, {}), loads.get(base, {})
    return [own[number].cpu_us / other[number].cpu_us for number in own if number in other]


def show(experiment, loads, base, path):
    rows = []
    for name, rounds in loads.items():
        columns = {"us": [load.cpu_us for load in rounds.values()], "ratio": ratios(loads, name, base),
                   "rate": [load.rate for load in rounds.values()]}
        if all(columns.values()):
            rows.append((name, {key: (median(of), min(of), max(of)) for key, of in columns.items()}))
    times = "times " + base.replace("05-epoll--", "")
    print(f"{'server':<22} {f'CPU us per {path}':>26} {times:>24} {path} per second")
    for name, row in sorted(rows, key=lambda row: row[1]["us"]):
        for key, values in row.items():
            report.figure(name, f"{experiment}_{key}", *[f"{value:.3f}" for value in values])
        print("{:<22} {:9.2f} ({:6.2f} to {:6.2f}) {:8.2f} ({:5.2f} to {:5.2f}) {:16.0f}".format(
            name, *row["us"], *row["ratio"], row["rate"][0]), flush=True)


def check(loads, name, base, least, most, claim):
    measured = ratios(loads, name, base)
    if not measured:
        report.say(f"not measured: {claim}")
        return
    ratio = round(median(measured), 4)
    if least <= ratio <= most:
        report.say(f"holds ({ratio:.2f}): {claim}")
    else:
        report.fail(f"({ratio:.2f}): {claim}")


def main(arguments):
    parser = report.parser(__doc__, "fewer rounds")
    options = parser.parse_args(arguments)
    rounds = 3 if options.quick else 21
    tool.need("wrk", "deps-peers")
    report.start(parser, options, "probe", "floor", *STAGES)
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))  # inherited by all that is started here

    loop = start_all()
    latency()
    if loop:
        print(f"(uvicorn: {loop})")
    print(f"\nCPU time of the server for one /fast: {CLIENTS} clients, {rounds} rounds of {SECONDS} s; the\n"
          f"median, least to most. Server and client share core {max(CORES)}, and take turns there.\n"
          "The clients keep their connections, except with 01-blocking and gunicorn, which close\n"
          "each: there the cost includes that of a new connection.")
    loads = measure("cost", rounds, "floor", ONE_CORE, 1)
    if len(CORES) > 1:
        print("\nThe same on all cores, with a client of two threads:")
        loads.update(measure("workers", rounds, "05-epoll--workers=1", CORES, 2))
    print("\nClaims, as ratios of the CPU time for each request:")
    for claim in CLAIMS:
        check(loads, *claim)
    say_missing()
    return report.verdict()


if __name__ == "__main__":
    tool.run(main)
