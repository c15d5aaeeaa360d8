"""Draw scale-idle.svg, scale-waits.svg, peers.svg, wayout.svg and switches.svg in tests/bench from the figures in
tests/bench/results. NAME is one of these files of results: scale, peers, wayout, switches; without names, all.

Exit status: 0 if all is drawn, and nothing that was measured is other than it should be; 1 if not, 2
for a bad command line."""
import argparse
import os
import re

from bench.results import HERE, RESULTS, load, machine, replace
from kit import processes, tool
from kit.commandline import Parser
from kit.errors import Failed
from kit.tree import BUILD_NOTE, ROOT, STAGES


COLORS = {"01-blocking": 0xd55e00, "02-threaded": 0xe69f00, "03-select": 0x56b4e9, "04-poll": 0x0072b2,
          "05-epoll": 0x009e73, "06-libev": 0xcc79a7, "floor": 0x222222}
OTHER = 0x888888


POOL = "05-epoll--threads=4"


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
        replace(RESULTS / f"{name}.tsv", f"# {machine()}\n{figures.read_text()}")
        wrong += status
    return wrong


# ---- drawing

def write(name, rows):
    """Write rows to a file for gnuplot, which complains of an empty one."""
    lines = ["\t".join(map(str, row)) + "\n" for row in rows or [["NaN"] * 4]]
    (tool.scratch() / name).write_text("".join(lines), encoding="utf-8")


def draw(out, script, **variables):
    """Have gnuplot run a script that knows these variables."""
    svg, head = tool.scratch() / "out.svg", tool.scratch() / "head"
    variables.update({f"c{stage[:2]}": COLORS[stage] for stage in STAGES}, out=svg, work=tool.scratch())
    head.write_text("".join(f"{name} = {value}\n" if isinstance(value, (int, float)) else
                            "{} = '{}'\n".format(name, str(value).replace("'", "''"))
                            for name, value in variables.items()))
    environment = dict(os.environ, LC_ALL="C.UTF-8")
    status = processes.start(["gnuplot", head, f"{script}.gnuplot"], cwd=HERE, env=environment).wait()
    if status != 0:
        raise Failed(f"gnuplot cannot draw {out} ({processes.ending(status)})")
    replace(ROOT / out, svg.read_text(encoding="utf-8"))
    print(out)


def labels(name, ends, factor):
    """Name the lines at their right ends {stage: y}, a factor apart."""
    lines, last = [], 0
    for stage, y in sorted(ends.items(), key=lambda end: end[1]):
        last = max(y, last * factor)
        lines.append(f"set label '{stage}' at graph 1.03,first {last:.3f} left offset character 1.2,-0.35 "
                     f"point pt 5 ps 0.9 lc rgb {COLORS[stage]} textcolor rgb ink font ',12'\n")
    (tool.scratch() / f"{name}.labels").write_text("".join(lines))


def scale():
    measured_on, rows = load("scale")

    def series(experiment, metric, stage):
        return [(int(row["clients"]), float(row["value"])) for row in rows
                if (row["experiment"], row["metric"], row["stage"]) == (experiment, metric, stage)]

    idle = {stage: [(max(n, 10), us) for n, us in series("idle", "cpu_us", stage)] for stage in STAGES}
    late = {stage: [(n, max(ms, 1)) for n, ms in series("waits", "late_ms", stage)] for stage in STAGES}
    for name, lines, factor in ("idle", idle, 1.7), ("waits", late, 1.9):
        for stage, points in lines.items():
            write(f"{name}.{stage[:2]}", points)
        labels(name, {stage: points[-1][1] for stage, points in lines.items()
                      if points and stage not in ("01-blocking", "03-select")}, factor)
    draw("tests/bench/scale-idle.svg", "scale-idle", machine=measured_on)

    memory, clients = [], 0
    for place, stage in enumerate(STAGES[1:], 1):
        n, own = (series("waits", "server_kib", stage) or [(0, 0)])[-1]
        kernel = dict(series("waits", "kernel_kib", stage)).get(n, 0)
        text = (f"{own} + {kernel}" if kernel else own) if n else "not measured"
        memory.append((place, COLORS[stage], own, kernel, f'"{text}"'))
        clients = max(clients, n)
    write("waits.memory", memory)
    both = any(kernel for _, _, _, kernel, _ in memory)
    draw("tests/bench/scale-waits.svg", "scale-waits", machine=measured_on, memory_clients=f"{clients:,}",
         memory_most=round(max(own + kernel for _, _, own, kernel, _ in memory) * 1.5 + 1, 1),
         memory_note="solid: in the server" + ("; pale: in the kernel, for both ends" if both else ""),
         late01=late["01-blocking"][-1][1] if late["01-blocking"] else 1)


def peers():
    measured_on, rows = load("peers")
    ratio = {row["server"]: float(row["value"]) for row in rows if row["metric"] == "cost_ratio"}
    cost = sorted((float(row["value"]), row) for row in rows if row["metric"] == "cost_us")
    bars = []
    for place, (us, row) in enumerate(cost, 1):
        name, digits = row["server"], 2 if us < 10 else 0
        text = f"{us:.{digits}f} µs, {ratio[name]:.{digits}f} ×"
        bars.append((place, COLORS.get(name, OTHER), us, row["least"], row["most"], f'"{text}"', f'"{name}"'))
    write("rows", bars)
    draw("tests/bench/peers.svg", "peers", machine=measured_on, servers=len(bars))


def wayout():
    measured_on, rows = load("wayout")
    value = {(row["server"], row["metric"]): row for row in rows}

    def series(pattern):
        """Return (the number in the name, the value) of each metric of this pool."""
        found = [(re.fullmatch(pattern, row["metric"]), row) for row in rows if row["server"] == POOL]
        return [(float(match[1]), float(row["value"])) for match, row in found if match]

    late, fast = series(r"nth_(\d+)_ms"), series(r"fast_at_([\d.]+)_ms")
    write("wayout.late", [(n, ms) for n, ms in late])
    # A /fast is drawn where it stands among the /slow: beside those that were answered at that moment.
    write("wayout.fast", [(sum(end <= at for _, end in late), ms) for at, ms in fast])
    bars = []
    for place, way in enumerate(["in-the-loop", "threads=1", "threads=4"], 1):
        cost, ratio = (value[f"05-epoll--{way}", f"handover_{metric}"] for metric in ("us", "ratio"))
        text = f"{float(cost['value']):.1f} µs, {float(ratio['value']):.2f} ×"
        bars.append((place, COLORS["05-epoll"], cost["value"], cost["least"], cost["most"], f'"{text}"'))
    write("wayout.cost", bars)
    kib = {name: float(value[name, "kib_per_waiting_client"]["value"]) for name in ("05-epoll", POOL)}
    draw("tests/bench/wayout.svg", "wayout", machine=measured_on,
         in_queue=f"{kib[POOL]:.2f}", in_loop=f"{kib['05-epoll']:.2f}",
         most_us=max(float(bar[4]) for bar in bars) * 1.9)


WAYS = {"call": "a call in C", "assembly": "two stacks, 14 instructions", "python": "a call in Python",
        "send": "send to a coroutine", "ucontext": "two stacks, swapcontext", "threads": "two threads, one core",
        "task": "two tasks of asyncio"}
SORTS = {"call": 0x222222, "assembly": 0x009e73, "ucontext": 0x009e73, "threads": 0xe69f00}
PYTHON = 0x56b4e9


def switches():
    measured_on, rows = load("switches")
    bars = []
    for row in sorted((row for row in rows if row["metric"] == "switch_ns"), key=lambda row: float(row["value"])):
        ns = float(row["value"])
        text = f"{ns:.1f} ns" if ns < 100 else f"{ns:,.0f} ns"
        bars.append((len(bars) + 1, SORTS.get(row["server"], PYTHON), row["value"], row["least"], row["most"],
                     f'"{text}"', f'"{WAYS[row["server"]]}"'))
    write("rows", bars)
    draw("tests/bench/switches.svg", "switches", machine=measured_on, ways=len(bars))


DRAW = {"scale": scale, "peers": peers, "wayout": wayout, "switches": switches}


def main(arguments):
    def name(text):
        if text not in DRAW:
            raise argparse.ArgumentTypeError(f"{text}: want one of {' '.join(DRAW)}")
        return text

    parser = Parser(description=__doc__, epilog=BUILD_NOTE)
    parser.add_argument("names", nargs="*", metavar="NAME", type=name)
    parser.add_argument("--measure", action="store_true",
                        help="first measure anew, some ten minutes for all, and replace tests/bench/results")
    parser.add_argument("--quick", action="store_true", help="with --measure: fewer clients and rounds")
    options = parser.parse_args(arguments)
    tool.need("gnuplot", "deps-tutorial")
    names = options.names or list(DRAW)
    wrong = measure(names, options.quick) if options.measure else 0
    for chosen in names:
        DRAW[chosen]()
    if wrong:
        raise Failed("the pictures are drawn, but not all figures are as they should be: see above")
    return 0


if __name__ == "__main__":
    tool.run(main)
