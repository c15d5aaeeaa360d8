"""Draw the plots scale-idle, scale-waits, peers, wayout and switches in tests/bench from tests/bench/results.
NAME is one of the files of results: scale, peers, wayout, switches; without names, all.

Exit status: 0 if all is drawn, and nothing that was measured is other than it should be; 1 if not, 2
for a bad command line."""
import os
import re

from bench.plot import WIDTH, Plot
from bench.results import RESULTS, load, machine
from kit import processes, tool
from kit.commandline import Parser, one_of
from kit.errors import Failed
from kit.tree import BUILD_NOTE, ROOT, STAGES


POOL = "05-epoll--threads=4"


def rows_of(path):
    return path.read_text().splitlines() if path.exists() else []


def measure(names, quick):
    """Run the measuring tools, and keep their figures. Return how many of them found something wrong."""
    wrong = 0
    for name in names:
        figures = tool.scratch() / f"{name}.tsv"
        options = ["--quick"] if quick else []
        # Its temporary files are inside of ours: should it be killed, they go as well.
        status = processes.start([*tool.module(f"bench.{name}"), "--tsv", figures, *options],
                           env=dict(os.environ, TMPDIR=f"{tool.scratch()}")).wait()
        if status not in (0, 1) or not figures.exists():
            raise Failed(f"{name}.py did not measure to its end: {processes.ending(status)}")
        old = RESULTS / f"{name}.tsv"
        measured, before = len(rows_of(figures)) - 1, len(rows_of(old)) - 2  # without headings and machine()
        if measured < before and not quick:
            raise Failed(f"{name}.py measured {measured} figures, and {before} before: see above. To have the new ones "
                         f"all the same, delete {old.relative_to(ROOT)} first")
        tool.write(RESULTS / f"{name}.tsv", f"# {machine()}\n{figures.read_text()}")
        wrong += status
    return wrong


# ---- drawing: each function returns {name of the picture: the picture}

def colour(name):
    return name[:2] if name in STAGES else "other"


def value_of(row):
    return float(row["value"])


def spread(row):
    return float(row["least"]), float(row["most"])


def scale():
    measured_on, rows = load("scale")

    def series(experiment, metric, stage):
        return [(int(row["clients"]), float(row["value"])) for row in rows
                if (row["experiment"], row["metric"], row["stage"]) == (experiment, metric, stage)]

    return {"scale-idle": idle(series, measured_on), "scale-waits": waits(series, measured_on)}


def idle(series, measured_on):
    plot = Plot("idle", "Processor time per request as idle connections grow",
                "Up to 1,000 and up to 10,000 idle connections: 03 and 04 rise with each of them, and "
                "03 ends before 1,024. 02, 05 and 06 stay below 5 µs.")
    plot.title("Processor time per /fast as idle connections grow", "03 can hold some 1,020 of them")
    lines = [(stage, series("idle", "cpu_us", stage)) for stage in STAGES[1:]]
    for x, most, across, up, labels in (
            (58, 1000, {0: "0", 1000: "1,000 idle"}, {0: "0", 100: "100 µs", 200: "200 µs"},
             [(560, 170, "03 and 04", "end"), (980, 16, "02, 05, 06", "end")]),
            (276, 10000, {0: "0", 10000: "10,000 idle"}, {0: "0", 1000: "1 ms", 2000: "2 ms", 3200: "3.2 ms"},
             [(6200, 2600, "04", "end"), (9800, 256, "02, 05, 06", "end")])):
        shown = [(stage[:2], [(n, us) for n, us in points if n <= most], True) for stage, points in lines]
        y = plot.graph(x, 150, across, up, shown, labels)
    plot.y = y
    return plot.draw(measured_on)


def waits(series, measured_on):
    plot = Plot("waits", "How late the last answer is, and the memory of a waiting client",
                "Of 10,000 simultaneous clients, 02 answers the last much later than 04, 05 and 06, "
                "and it takes more memory for each.")
    late, memory = [], []
    for stage in STAGES:
        points = dict(series("waits", "late_ms", stage))
        clients = max(points)
        if clients == 10000:
            late.append((stage, stage[:2], points[clients], f"{points[clients]:.0f} ms", None))
        else:
            how = "one by one" if stage == "01-blocking" else "in waves"
            words = f"{points[clients] / 1000:.1f} s with {clients:,} clients: {how}"
            late.append((stage, stage[:2], None, words, None))
        own, kernel = (dict(series("waits", each, stage)).get(10000) for each in ("server_kib", "kernel_kib"))
        if kernel:
            memory.append((stage, stage[:2], own, f"{own} + {kernel} KiB", kernel))
    plot.title("How late is the last of 10,000 answers to /slow?")
    plot.bars(late, 108, 90)
    plot.title("Memory for each waiting client", "solid: in the server; pale: in the kernel, for both ends")
    plot.bars(memory, 108, 124)
    return plot.draw(measured_on)


def peers():
    measured_on, rows = load("peers")
    ratio = {row["server"]: float(row["value"]) for row in rows if row["metric"] == "cost_ratio"}
    plot = Plot("peers", "Processor time per request",
                "The four event loops lie close to the floor, nginx, 02 and 01 somewhat above it, "
                "Node higher, and uvicorn and gunicorn far above.")
    plot.title("Processor time per /fast", "64 clients, on one core with the server; × relative to the floor")
    bars = []
    for row in sorted((row for row in rows if row["metric"] == "cost_us"), key=value_of):
        name, us = row["server"], value_of(row)
        digits = 2 if us < 10 else 0
        bars.append((name, colour(name), us, f"{us:.{digits}f} µs, {ratio[name]:.{digits}f} ×", spread(row)))
    plot.bars(bars, 128, 96)
    return {"peers": plot.draw(measured_on)}


def wayout():
    measured_on, rows = load("wayout")
    value = {(row["server"], row["metric"]): row for row in rows}

    def series(pattern):
        """Return (the number in the name, the value) of each metric of this pool."""
        found = [(re.fullmatch(pattern, row["metric"]), row) for row in rows if row["server"] == POOL]
        return [(float(match[1]), float(row["value"])) for match, row in found if match]

    late, fast = series(r"nth_(\d+)_ms"), series(r"fast_at_([\d.]+)_ms")
    # A /fast is drawn where it stands among the /slow: beside those that were answered at that moment.
    beside = [(sum(end <= at for _, end in late), ms) for at, ms in fast]
    plot = Plot("wayout", "A pool of four threads, and what a hand-over costs",
                "Of 100 answers, each four come 50 ms after the four before, and /fast is always "
                "answered immediately. A request through a pool costs about a third more.")
    plot.title("100 simultaneous /slow of 50 ms, a pool of 4")
    plot.y = plot.graph(56, WIDTH - 80, {0: "0", 25: "25", 50: "50", 100: "the 100th answer"},
                        {0: "0", 500: "0.5 s", 1000: "1 s", 1400: "1.4 s"},
                        [("05", late, False), ("01", beside, False)],
                        [(46, 900, "/slow: four at a time", "end"), (98, 80, "/fast, meanwhile", "end")]) + 6
    plot.title("Processor time of a /slow that does nothing")
    names = {"in-the-loop": "in the loop", "threads=1": "pool of 1", "threads=4": "pool of 4"}
    bars = []
    for way, name in names.items():
        cost, times = (value[f"05-epoll--{way}", f"handover_{metric}"] for metric in ("us", "ratio"))
        words = f"{value_of(cost):.1f} µs, {value_of(times):.2f} ×"
        bars.append((name, "05", value_of(cost), words, spread(cost)))
    plot.bars(bars, 96, 110)
    kib = {name: value_of(value[name, "kib_per_waiting_client"]) for name in ("05-epoll", POOL)}
    plot.note(f"Memory of a waiting client: {kib[POOL]:.2f} KiB in the queue of the pool,")
    plot.note(f"{kib['05-epoll']:.2f} KiB in the loop, with a deadline")
    return {"wayout": plot.draw(measured_on)}


WAYS = {"call": "a call in C", "assembly": "two stacks, 14 instructions", "python": "a call in Python",
        "send": "send to a coroutine", "ucontext": "two stacks, swapcontext",
        "threads": "two threads, one core", "task": "two tasks of asyncio"}
SORTS = {"assembly": "05", "ucontext": "05", "threads": "02", "python": "03", "send": "03", "task": "03"}
NEAR = 100                     # ns: what takes less is drawn once more, magnified


def switches():
    measured_on, rows = load("switches")
    bars = []
    for row in sorted((row for row in rows if row["metric"] == "switch_ns"), key=value_of):
        name, ns = row["server"], value_of(row)
        words = f"{ns:,.{1 if ns < NEAR else 0}f} ns"
        bars.append((WAYS[name], SORTS.get(name, "other"), ns, words, spread(row)))
    plot = Plot("switches", "What a switch costs",
                "A function call and a switch of stacks by assembly cost nanoseconds, a send to a "
                "coroutine tens of nanoseconds, swapcontext hundreds of nanoseconds, two threads "
                "and two tasks of asyncio microseconds.")
    plot.title("What a switch costs", "to stop here and go on elsewhere: processor time",
               "green: a stack of its own; orange: threads; blue: Python")
    plot.bars(bars, 190, 74)
    plot.title("The same, magnified")
    plot.bars([bar for bar in bars if bar[2] < NEAR], 190, 74)
    return {"switches": plot.draw(measured_on)}


DRAW = {"scale": scale, "peers": peers, "wayout": wayout, "switches": switches}


def drawn(names=tuple(DRAW)):
    """Return {path: picture} of all that is drawn from these files of results."""
    return {f"tests/bench/{name}.svg": picture for each in names for name, picture in DRAW[each]().items()}


def main(arguments):
    parser = Parser(description=__doc__, epilog=BUILD_NOTE)
    parser.add_argument("names", nargs="*", metavar="NAME", type=one_of(DRAW))
    parser.add_argument("--measure", action="store_true",
                        help="first measure anew, some ten minutes for all, and replace tests/bench/results")
    parser.add_argument("--quick", action="store_true", help="with --measure: fewer clients and rounds")
    options = parser.parse_args(arguments)
    names = options.names or list(DRAW)
    wrong = measure(names, options.quick) if options.measure else 0
    for path, picture in drawn(names).items():
        tool.write(ROOT / path, picture)
        print(path)
    if wrong:
        raise Failed("the pictures are drawn, but not all figures are as they should be: see above")
    return 0


if __name__ == "__main__":
    tool.run(main)
