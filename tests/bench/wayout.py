"""Measure the way out of the trap: a pool of threads for the line that blocks or computes.

  beside    the experiment with stages and with FastAPI and Flask (make deps-peers): /slow as often as the
            pool has threads, ten /fast meanwhile, and five simultaneous /slow; in which calls the
            threads are
  queue     100 /slow over a pool of 4: how late is the n-th, and /fast meanwhile? 5,000 of them: what does a
            client in the queue of a pool take?
  all       10,000 /slow through 8 threads of 05, and with SIGTERM in the middle: all answered?
  handover  the CPU time of a request that computes nothing: through a pool, as a ratio to in the loop

Exit status: 0 if all that was measured is as the model promises; 1 if not, 2 for a bad command line."""
import math
import os
import pathlib
import re
import signal
import time
from collections import namedtuple

from bench import peers
from bench.results import median
from bench.peers import DELAY, report
from kit import measuring, proc, processes, tool, tree
from kit.errors import Failed
from kit.processes import PIPES
from kit.servers import Server
from kit.tree import built
from recorder import blocked


TRIES = 3
CORES = min(5, len(peers.CORES))
# waits: does /fast wait? turns: how many five /slow take; if they compute, at least
Row = namedtuple("Row", "name threads waits turns")
STAGES = [  # a stage, its options, and the rest of its Row
    ("01-blocking", "", 1, True, 5), ("05-epoll", "", 1, False, 1), ("06-libev", "--block", 1, True, 5),
    ("06-libev", "--block --threads=2", 2, False, 3), ("01-blocking", "--workers=2", 2, True, 3),
    ("02-threaded", "--compute", 1, False, 5 / CORES), ("05-epoll", "--compute", 1, True, 5),
    ("05-epoll", "--compute --threads=2", 2, False, 5 / min(2, CORES))]
FASTAPI = [  # its environment
    ("FastAPI,async,time.sleep", dict(WAY="mistake"), 1, True, 5),
    ("FastAPI,def", dict(WAY="def"), 1, False, 1),
    ("FastAPI,def,2-threads", dict(WAY="def", LIMIT="2"), 2, False, 3),
    ("FastAPI,all-def,2-threads", dict(WAY="all-def", LIMIT="2"), 2, True, 3),
    ("FastAPI,to_thread", dict(WAY="to_thread"), 1, False, 1),
    ("FastAPI,async,computing", dict(WAY="mistake", WORK="compute"), 1, True, 5),
    ("FastAPI,def,computing", dict(WAY="def", WORK="compute"), 1, False, 5)]


# ---- beside

def start_beside():
    """Start all servers. Return a Row for each, in the order of peers.started."""
    rows = []
    report.begin("Starting")
    for stage, options, *promise in STAGES:
        name = peers.start_stage(stage, "beside", None, *options.split())
        rows.append(Row(name, *promise))
    command = peers.uvicorn("fastapi_pool:app")
    if command:
        for name, environment, *promise in FASTAPI:
            peers.start_other(name, "beside", None, command, **environment)
            rows.append(Row(name, *promise))
    command = peers.gunicorn("flask_app:app", "--threads=2")
    if command:
        peers.start_other("Flask,gunicorn--threads=2", "beside", None, command)
        rows.append(Row("Flask,gunicorn--threads=2", 2, True, 3))
    report.end()
    peers.say_missing()
    return rows


def ask(peer, row):
    """Return the times of ten /fast, in ms and in order, the delays that five /slow take, and where the
    threads were."""
    samples = blocked.Samples(proc.family(peer.pid))
    shots = [f"{100 + 40 * number}:/fast" for number in range(10)]
    slow, *rest = measuring.probe(peer.url, f"{row.threads}x0:/slow", *shots, watch=samples.take, ports=True)
    begun = float(slow["epoch"])
    places = samples.between(begun + 0.1, begun + slow["took_ms"] / 1000)
    five = measuring.probe(peer.url, "5x0:/slow")
    lost = [answer for answer in [slow, *rest, *five] if answer["status"] != "200"]
    if lost:
        raise Failed(f"{peer.name}: {len(lost)} answers lost: {lost[0]['path']}: {lost[0]['status']}")
    fast_ms = sorted(answer["took_ms"] for answer in rest[-10:])
    return fast_ms, max(float(answer["done_ms"]) for answer in five) / 1000 / DELAY, places


def beside():
    rows = {row.name: row for row in start_beside()}
    print(f"\n/slow waits or computes for {DELAY} s; ten /fast meanwhile\n"
          f"{'server':<30} {'/fast: median':>13} {'most':>10}  five /slow  the threads meanwhile")
    for peer in peers.started:
        row = rows[peer.name]
        report.begin(peer.name)
        for _ in range(TRIES):
            fast_ms, delays, places = ask(peer, row)
            waits = fast_ms[5] > DELAY * 300
            most = math.inf if "comput" in row.name else row.turns + 0.75  # others need the processor, too
            kept = waits == row.waits and row.turns - 0.1 < delays < most
            if kept:
                break
        of_fast = median(fast_ms), fast_ms[0], fast_ms[-1]
        report.figure(peer.name, "fast_ms", *[f"{ms:.3f}" for ms in of_fast])
        report.figure(peer.name, "five_slow_delays", f"{delays:.2f}")
        report.figure(peer.name, "threads_in", blocked.summary(places) or "-")
        report.end(f"{median(fast_ms):10.1f} ms {fast_ms[-1]:7.1f} ms  {delays:4.1f} delays  "
                   f"{blocked.summary(places)}", column=31)
        if not kept:
            report.fail(f"{peer.name}: /fast {'waits' if waits else 'does not wait'}, {delays:.1f} delays")


# ---- queue

def queue():
    threads, delay, count = 4, 0.05, 100
    print(f"\n{count} simultaneous /slow of {delay} s over a pool of {threads} (05); a /fast every {delay} s")
    shots = [f"{20 + n * delay * 1000:g}:/fast" for n in range(count // threads)]
    with Server("05-epoll", "--block", "--threads", threads, "--delay", delay) as server:
        rows = measuring.probe(server.url, f"{count}x0:/slow", *shots)
    lost = sum(row["status"] != "200" for row in rows)
    if lost:
        report.fail(f"{lost} of {len(rows)} were not answered")
        return
    ends = sorted(float(row["done_ms"]) for row in rows if row["path"] == "/slow")
    for n, end in enumerate(ends, 1):
        report.figure("05-epoll--threads=4", f"nth_{n}_ms", f"{end:.3f}")
        turns = math.ceil(n / threads)
        if n in (1, 4, 5, 50, 100):
            report.say(f"the {n:3}. {end:7.1f} ms; {turns} turns take {turns * delay * 1000:.0f} ms")
        if end < turns * delay * 1000 - 1:
            report.fail("more of them than there are threads have run simultaneously")
    for row in rows[count:]:
        report.figure("05-epoll--threads=4", f"fast_at_{row['start_ms']}_ms", f"{row['took_ms']:.3f}")
    fast_ms = sorted(row["took_ms"] for row in rows[count:])
    report.say(f"/fast meanwhile: {median(fast_ms):.1f} ms, {fast_ms[-1]:.1f} ms at most")
    if median(fast_ms) > delay * 100:
        report.fail("/fast waits for the pool")


def waiting_kib(count, *options):
    """Return the memory that one client takes which waits for its /slow."""
    def rss():
        return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{server.pid}/status").read_text())[1])
    with Server("05-epoll", "--delay", "60", *options) as server:
        measuring.probe(server.url, "0:/fast")
        before, idle = rss(), server.descriptors
        # A thousand at a time: where the backlog is full, a client may never be accepted.
        client = processes.start([built("probe"), "--summary", "--timeout", "90", server.url,
                                  *(f"{min(1000, count - n)}x{n // 5}:/slow" for n in range(0, count, 1000))], **PIPES)
        here = processes.wait_until(lambda: server.descriptors >= idle + count, patience=60)
        time.sleep(0.5)  # the last ones have connected, and their requests are to be read
        after = rss()
        processes.stop(client)
        server.process.kill()
    if not here:
        raise Failed(f"not all of {count} clients were accepted within 60 s")
    return (after - before) / count


def memory():
    count = 5000
    print(f"\nMemory of the server for each of {count} clients that wait for /slow (05)")
    for name, options in [("--threads=4", ["--block", "--threads", "4"]), ("", [])]:
        kib = waiting_kib(count, *options)
        report.figure(f"05-epoll{name}", "kib_per_waiting_client", f"{kib:.3f}")
        report.say(f"{kib:.2f} KiB {'in the queue of a pool' if name else 'in the loop, with a deadline'}")


# ---- all: nothing is lost

def all_answered(stop_after):
    """Ask for 10,000 /slow. Return the rows, the ports of the responses that the server has logged, and when
    it was told to stop, in seconds since 1970."""
    stopped = math.inf
    with Server("05-epoll", "--block", "--threads", "8", "--delay", "0.001", "--timeout", "60",
                "--verbose") as server:
        client = processes.start([built("probe"), "--tsv", "--ports", "--timeout", "60", server.url,
                                  "10000x0:/slow"], **PIPES)
        if stop_after:
            time.sleep(stop_after)
            stopped = time.time()
            server.process.send_signal(signal.SIGTERM)
        rows = measuring.probe_rows(processes.finish(client)[0])
        if stop_after and (not processes.wait_until(lambda: not server.alive) or server.process.returncode != 0):
            report.fail(f"05 did not end well after SIGTERM: {server.process.poll()}")
        ports = re.findall(r':(\d+) "GET /slow[^"]*" 200', server.messages())
    return rows, ports, stopped


def check_all():
    print("\n10,000 simultaneous /slow of 1 ms through 8 threads (05)")
    for stop_after, name in [(None, "all"), (0.4, "stopped")]:
        rows, ports, stopped = all_answered(stop_after)
        answered = [row["port"] for row in rows if row["status"] == "200"]
        others = sorted({row["status"] for row in rows} - {"200"})
        report.figure("05-epoll--threads=8", f"{name}_answered", len(answered))
        last_ms = max(float(row["done_ms"]) for row in rows if row["done_ms"] != "-")
        report.figure("05-epoll--threads=8", f"{name}_ms", f"{last_ms:.0f}")
        when = "SIGTERM after 0.4 s: " if stop_after else ""
        report.say(f"{when}{len(answered)} answered in {last_ms:.0f} ms, {len(ports)} responses logged; "
                   f"other clients: {', '.join(others) or 'none'}")
        if sorted(answered) != sorted(ports):  # a port may occur twice: a later client may get it again
            report.fail("a response was lost, or sent twice")
        if not stop_after and len(answered) != 10000:
            report.fail("not all were answered")
        # The server may close a connection that was made after the signal and has sent nothing yet.
        zero = float(rows[0]["epoch"]) - float(rows[0]["start_ms"]) / 1000
        sent = [row for row in rows
                if row["sent_ms"] != "-" and zero + float(row["sent_ms"]) / 1000 < stopped - 0.001]
        report.say(f"{len(sent)} had sent their request before, "
                   f"{sum(row['status'] == '200' for row in sent)} of them were answered")
        unanswered = [row["status"] for row in sent if row["status"] != "200"]
        if unanswered:
            report.fail(f"{len(unanswered)} clients: {unanswered[0]}")


# ---- handover

def handover(rounds):
    peers.started.clear()
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))  # as peers.py does, for the same reason
    with peers.started_on(peers.ONE_CORE):
        for name, *options in [("in-the-loop",), ("threads=1", "--threads=1"), ("threads=4", "--threads=4")]:
            server = Server("05-epoll", "--compute", "--delay", "0", "--timeout", "3600", *options)
            peers.add(f"05-epoll--{name}", server, "handover")
    print("\nCPU time of 05 for one /slow with --compute --delay 0: what does a hand-over to a thread cost?")
    peers.measure("handover", rounds, "05-epoll--in-the-loop", peers.ONE_CORE, 1, "/slow")


def main(arguments):
    command_line = report.parser(__doc__, "fewer rounds")
    options = command_line.parse_args(arguments)
    tool.need("wrk", "deps-peers")
    report.start(command_line, options, "probe", *tree.STAGES)
    beside()
    queue()
    memory()
    check_all()
    handover(3 if options.quick else 11)
    peers.say_missing()
    return report.verdict()


if __name__ == "__main__":
    tool.run(main)
