"""Measure what clients cost each stage (all six, if none is named).

  idle    CPU time of the server for one /fast, while other connections are idle
  waits   10 to 10,000 clients ask for /slow simultaneously: how late is the last answer,
          and how much memory does each client take?
  beyond  100,000 clients wait simultaneously (05 and 06, with several --workers)

Exit status: 0 if no server lost an answer, and the cost grows where its model says so and nowhere
else; 1 if not, 2 for a bad command line."""
import contextlib
import os
import pathlib
import re
import resource
import time
from collections import namedtuple

from bench.results import median
from kit import measuring, proc, processes, tool
from kit.commandline import one_of
from kit.errors import Failed
from kit.processes import PIPES
from kit.report import Report
from kit.servers import Server
from kit.tree import STAGES, built


Size = namedtuple("Size", "delay passes rounds most beyond beyond_delay spread")
FULL = Size(delay=5, passes=3, rounds=3, most=10000, beyond=100000, beyond_delay=20, spread=10)
QUICK = Size(delay=2, passes=2, rounds=3, most=1000, beyond=10000, beyond_delay=4, spread=2)
FD_SETSIZE = 1024
_, DESCRIPTORS = resource.getrlimit(resource.RLIMIT_NOFILE)

report = Report("experiment", "stage", "clients", "metric", "value", "least", "most")


def numbers(path, pattern=r"(\d+)"):
    return [int(number) for number in re.findall(pattern, pathlib.Path(path).read_text(), re.M)]


def shortage(stage, clients):
    """What this machine has too little of for so many clients of a stage, in words, or None."""
    limits = [("descriptors (ulimit -Hn)", DESCRIPTORS, 50)]
    if stage == "02-threaded":
        most, _ = resource.getrlimit(resource.RLIMIT_NPROC)
        # The stack of a thread takes two mappings: itself, and its guard page.
        limits += [("mappings (vm.max_map_count)", *numbers("/proc/sys/vm/max_map_count"), clients + 200),
                   ("threads (kernel.threads-max)", *numbers("/proc/sys/kernel/threads-max"), 1000),
                   ("threads (kernel.pid_max)", *numbers("/proc/sys/kernel/pid_max"), 1000),
                   ("threads (ulimit -u)", most if most >= 0 else clients + 1001, 1000)]
    few = [f"too few {name}: {limit}" for name, limit, reserve in limits if clients >= limit - reserve]
    return next(iter(few), None)


# ---- idle: the cost of one /fast while other connections are idle

def start_idle(stage, size, stack):
    """Start a server for each number of idle connections. Return {number: server}, and a note for each
    number that cannot be measured."""
    if stage == "01-blocking":
        return {}, ["not measured: it keeps no connection open, and a silent client would block it"]
    servers, notes, total = {}, [], 0
    for clients in [n for n in (0, 100, 1000, 10000) if n <= size.most]:
        if stage == "03-select" and clients > FD_SETSIZE - 10:
            notes.append(f"{clients} idle: impossible, select ends at FD_SETSIZE ({FD_SETSIZE})")
            continue
        total += clients
        few = shortage(stage, total)
        if few:
            notes.append(f"{clients} idle: not measured, {few}")
        else:
            servers[clients] = stack.enter_context(Server(stage, "--timeout", "3600"))
    return servers, notes


def measure_idle(stage, size):
    """Return the CPU times, a dictionary {clients: us} for each round, and notes on what is missing."""
    with contextlib.ExitStack() as stack:
        servers, notes = start_idle(stage, size, stack)
        if not servers:
            return [], notes
        targets = [f"{server.port}:{server.pid}:{clients}" for clients, server in servers.items()]
        hold = processes.start([built("hold"), size.rounds, *targets], **PIPES)
        out, err = processes.finish(hold)
    if hold.returncode != 0:
        raise Failed(f"hold did not measure ({processes.ending(hold.returncode)})", err)
    rounds = [{} for _ in range(size.rounds)]
    for row in measuring.table(out):
        rounds[int(row["round"]) - 1][int(row["idle"])] = float(row["cpu_us"])
    return rounds, notes


def show_idle(stage, rounds, notes):
    print(stage)
    for note in notes:
        report.say(note)
    for clients in sorted(set().union(*rounds)):
        times = [row[clients] for row in rounds]
        # The ratio is taken within each round, because the load of the machine changes with time.
        ratio = round(median(row[clients] / row[0] for row in rounds), 2)
        middle, least, most = median(times), min(times), max(times)
        report.figure("idle", stage, clients, "cpu_us", f"{middle:.3f}", f"{least:.3f}", f"{most:.3f}")
        report.figure("idle", stage, clients, "ratio", f"{ratio:.2f}")
        report.say(f"{clients:6} idle: {middle:9.1f} us per /fast ({least:.1f} to {most:.1f}), "
                   f"{ratio:7.2f} times none")
        if stage in ("05-epoll", "06-libev") and ratio > 1.5:
            report.fail(f"{stage}: the promise is at most 1.5 times")
        if stage in ("03-select", "04-poll") and clients >= 1000 and ratio < 3:
            report.fail(f"{stage}: this cost should grow, to at least 3 times")


def idle(stages, size):
    """Each pass measures all stages, and each round of a stage all numbers of clients, so that a change in
    the load of the machine hits all of them."""
    print("CPU time of the server for one /fast on one connection, while others are open and idle\n"
          f"(median of {size.passes * size.rounds} rounds, least to most; client and server share a CPU):")
    rounds, notes = {stage: [] for stage in stages}, {}
    for number in range(1, size.passes + 1):
        report.begin(f"    pass {number} of {size.passes}:")
        for stage in stages:
            report.begin(f" {stage}")
            with report.checking(stage):
                measured, notes[stage] = measure_idle(stage, size)
                rounds[stage] += measured
        report.end()
    for stage in stages:
        show_idle(stage, rounds[stage], notes.get(stage, []))


# ---- waits: how late is the last answer, and what does a waiting client take?

def overflows():
    """How often the kernel turned a client away because a backlog was full. The client's kernel tries
    again a second later, unseen."""
    names, values = re.findall(r"^TcpExt: (.*)$", pathlib.Path("/proc/net/netstat").read_text(), re.M)
    return int(dict(zip(names.split(), values.split()))["ListenOverflows"])


def sample(server):
    """Memory of all processes of a server: pages of their own, and their share of others (Pss). Memory
    of the kernel. Open descriptors."""
    family = proc.family(server.pid)
    return (sum(sum(numbers(f"/proc/{pid}/smaps_rollup", r"^Pss: *(\d+)")) for pid in family),
            sum(numbers("/proc/meminfo", r"^(?:Slab|KernelStack|PageTables): *(\d+)")),
            sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in family))


def crowd(server, clients, delay, shots, seconds, parts=1, sources=2):
    """Let so many clients wait for /slow simultaneously. Return {metric: value}, and what they complain of.

    They run in so many processes (parts), connect from so many addresses (sources), and the server is
    sampled after some seconds, when all of them wait."""
    before, overflows_before = sample(server), overflows()
    probe = [built("probe"), "--tsv", "--summary", "--sources", sources, "--timeout", "300"]
    probes = [processes.start([*probe, server.url, *shots], **PIPES) for _ in range(parts)]
    time.sleep(seconds)
    server_kib, kernel_kib, held = (now - then for now, then in zip(sample(server), before))
    threads = sum(len(os.listdir(f"/proc/{pid}/task")) for pid in proc.family(server.pid))
    outputs = [processes.finish(probe) for probe in probes]
    rows, errors = [row for out, _ in outputs for row in measuring.table(out)], "".join(err for _, err in outputs)
    if len(rows) < parts:
        raise Failed(f"cannot ask {server.url}", errors)
    late_ms = {key: max([float(row[key]) for row in rows if row[key] != "-"], default=0) - delay * 1000
               for key in ("max_ms", "median_ms", "p99_ms")}
    return {"late_ms": late_ms["max_ms"], "median_late_ms": late_ms["median_ms"],
            "p99_late_ms": late_ms["p99_ms"],
            "lost": clients - sum(int(row["ok"]) for row in rows), "held": held, "threads": threads,
            "server_kib": server_kib / clients, "kernel_kib": kernel_kib / clients,
            "overflows": overflows() - overflows_before}, errors.splitlines()


def judge(experiment, stage, clients, figures, errors, metrics):
    """Write these metrics to the file. Fail if answers were lost."""
    for metric in metrics:
        value = figures[metric]
        value = f"{value:.1f}" if isinstance(value, float) else value
        report.figure(experiment, stage, clients, metric, value)
    if figures["overflows"]:
        backlog, = numbers("/proc/sys/net/core/somaxconn")
        report.say(f"(the backlog, net.core.somaxconn = {backlog}, was full {figures['overflows']} times)")
    if figures["lost"]:
        report.fail(f"{stage}: {figures['lost']} of {clients} answers lost", errors)


def ask_simultaneously(stage, clients, delay):
    with Server(stage, "--delay", delay, "--timeout", "300") as server:
        return crowd(server, clients, delay, [f"{clients}x0:/slow"], delay * 0.85)


def measure_waits(stage, clients, delay):
    """Measure this number of simultaneous clients. Measure once more if the kernel has reset a few: with a full
    backlog, a client's kernel tries again to connect. If one processor then completes the connection while another
    handles the client's request, Linux sometimes resets it (in 3 of 137 runs of 02)."""
    report.begin(f"{clients:10} simultaneous clients")
    figures, errors = ask_simultaneously(stage, clients, delay)
    few = 0 < figures["lost"] <= clients // 1000
    if few and figures["overflows"] and all(line.endswith(": reset") for line in errors):
        report.say(f"the kernel reset {figures['lost']} of them, with its backlog full; once more:")
        report.begin(f"{clients:10} simultaneous clients")
        figures, errors = ask_simultaneously(stage, clients, delay)
    metrics = ["late_ms", "lost", "held", "threads"]
    text = "the last answer is {late_ms:8.1f} ms late, threads: {threads}"
    if figures["held"] < clients - 5:
        text += ", only {held} at a time"
    elif clients >= 1000:  # the growth of the server and of other processes would drown fewer clients
        metrics.append("server_kib")
        text += ", {server_kib:.1f} KiB for each client"
        if clients >= 10000:
            metrics.append("kernel_kib")
            text += " and {kernel_kib:.1f} in the kernel"
    report.end(text.format(**figures), column=42)
    judge("waits", stage, clients, figures, errors, metrics)


def waits(stage, size):
    print(stage)
    levels, delay, note = [10, 100, 1000, 10000], size.delay, None
    if stage == "01-blocking":
        levels, delay = [10], 1
        note = f"no more than 10: it serves one client after the other, so the last waits 10 times {delay} s"
    elif stage == "03-select":
        levels = [10, 100, 1000, 1100]
        note = f"past FD_SETSIZE ({FD_SETSIZE}) it serves clients in waves: the last waits a whole delay more"
    for clients in [level for level in levels if level <= size.most + 100]:
        few = shortage(stage, clients)
        if few:
            report.say(f"{clients} simultaneous clients: not measured, {few}")
            continue
        with report.checking(stage):
            measure_waits(stage, clients, delay)
    if note:
        report.say(note)


# ---- beyond: more clients than one process may have descriptors

def beyond(stage, size):
    clients = size.beyond
    memory, = numbers("/proc/meminfo", r"^MemAvailable: *(\d+)")
    used, _, most = numbers("/proc/sys/fs/file-nr")
    if memory < clients * 40 or most - used < clients * 2 + 1000:
        report.say(f"not measured: {clients} clients need {clients * 40} KiB (MemAvailable: {memory})")
        report.say(f"and {clients * 2 + 1000} descriptors (fs.file-max leaves {most - used})")
        return
    workers = max(clients * 5 // 4 // DESCRIPTORS + 1, 2)
    parts = clients // (DESCRIPTORS - 100) + 1
    while clients % parts:  # all parts are equal
        parts += 1
    sources, share = clients // 10000 + 1, clients // parts
    # Simultaneously, they would not fit into the backlog. In steps of 100 ms they do.
    steps = size.spread * 10
    shots = [f"{share * (step + 1) // steps - share * step // steps}x{step}00:/slow" for step in range(steps)]
    delay = size.beyond_delay
    report.say(f"{clients} clients come within {size.spread} s, and each waits {delay} s. A process may have")
    report.begin(f"    {DESCRIPTORS} descriptors: {workers} workers, {parts} x probe, {sources} addresses")
    options = "--workers", workers, "--delay", delay, "--timeout", "300"
    with Server(stage, *options) as server:
        time.sleep(0.5)
        figures, errors = crowd(server, clients, delay, shots, (size.spread + delay) // 2, parts, sources)
    report.end()
    for text in ["{held} waited together, {lost} got no answer",
                 "late: half at most {median_late_ms:.1f} ms, 99 % {p99_late_ms:.1f}, the last {late_ms:.1f}",
                 "{server_kib:.1f} KiB for each client and {kernel_kib:.1f} in the kernel"]:
        report.say(text.format(**figures))
    judge("beyond", stage, clients, {**figures, "workers": workers}, errors,
          ["late_ms", "median_late_ms", "p99_late_ms", "held", "lost", "server_kib", "kernel_kib", "workers",
           "overflows"])
    if figures["held"] < clients - clients // 100:
        report.fail(f"{stage}: only {figures['held']} of {clients} waited together")


def main(arguments):
    parser = report.parser(__doc__, "fewer clients, shorter waits: two minutes, for a first look or a test")
    parser.add_argument("stages", nargs="*", metavar="STAGE", type=one_of(STAGES), help=f"one of {' '.join(STAGES)}")
    options = parser.parse_args(arguments)
    stages, size = options.stages or STAGES, QUICK if options.quick else FULL
    report.start(parser, options, "probe", "hold", *stages)
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))  # for all that is started here

    idle(stages, size)
    print("\nClients that ask for /slow simultaneously. An answer is late by the time that it takes beyond\n"
          f"the delay, {size.delay} s (01: 1 s). Memory in the kernel is measured for the whole machine,\n"
          "so it includes both ends of each connection:")
    for stage in stages:
        waits(stage, size)
    for stage in [stage for stage in stages if stage in ("05-epoll", "06-libev")]:
        print(f"\n{stage}, beyond the descriptors of one process")
        with report.checking(stage):
            beyond(stage, size)
    print()
    if not report.failed:
        print("No server lost an answer. With select and poll a request pays for the silent connections,\n"
              "with epoll and with threads it does not; threads pay with memory.")
    return report.verdict()


if __name__ == "__main__":
    tool.run(main)
