"""Write the figures of tests/bench/results into the tables of tutorial.md, between their marks.

Exit status: 0; with --check, 1 if the tables differ from the results; 2 for a bad command line."""
import difflib
import re
import sys

from bench.results import load, replace
from kit import tool
from kit.commandline import Parser
from kit.errors import Failed
from kit.tree import ROOT, STAGES


TEXT = ROOT / "tutorial.md"


def table(heading, rows, measured_on, command):
    first, *lines = [f"| {' | '.join(cells)} |\n" for cells in [heading, *rows]]
    rule = "|---|" + "--:|" * (len(heading) - 1)
    return f"{first}{rule}\n{''.join(lines)}\n({measured_on}. Measured by `make {command}`; medians.)\n"


def idle():
    measured_on, rows = load("scale")
    cost = {(row["stage"], row["clients"]): float(row["value"]) for row in rows
            if (row["experiment"], row["metric"]) == ("idle", "cpu_us")}
    levels = ["0", "100", "1000", "10000"]

    def cell(us):
        return "-" if us is None else f"{us:.1f} µs" if us < 10 else f"{us:,.0f} µs"

    lines = [[stage, *[cell(cost.get((stage, n))) for n in levels]] for stage in STAGES[1:]]
    return table(["idle connections", *[f"{int(n):,}" for n in levels]], lines, measured_on, "scale")


def waits():
    measured_on, rows = load("scale")
    value = {(row["stage"], row["metric"]): float(row["value"]) for row in rows
             if (row["experiment"], row["clients"]) == ("waits", "10000")}
    lines = [[stage, f"{value[stage, 'late_ms']:.0f} ms", f"{value[stage, 'threads']:,.0f}",
              f"{value[stage, 'server_kib']:.1f} KiB", f"{value[stage, 'kernel_kib']:.1f} KiB"]
             for stage in STAGES if (stage, "late_ms") in value]
    heading = ["stage", "last answer late by", "threads", "memory per client in the server", "in the kernel"]
    return table(heading, lines, measured_on, "scale")


def peers():
    measured_on, rows = load("peers")
    ratio = {row["server"]: float(row["value"]) for row in rows if row["metric"] == "cost_ratio"}
    return table(["server", "CPU time per `/fast`", "relative to a bare loop"],
                 [[row["server"], f"{float(row['value']):.1f} µs", f"{ratio[row['server']]:.2f}"]
                  for row in rows if row["metric"] == "cost_us"], measured_on, "peers")


def wayout():
    measured_on, rows = load("wayout")
    value = {(row["server"], row["metric"]): row["value"] for row in rows}
    lines = []
    for name in [row["server"] for row in rows if row["metric"] == "fast_ms"]:
        told = re.sub(r",(\d)-threads", r", \1 threads", name).replace("--", " --")
        lines.append([re.sub(",(?! )", ", ", told), f"{float(value[name, 'fast_ms']):.1f} ms",
                      f"{float(value[name, 'five_slow_delays']):.1f} s", value[name, "threads_in"]])
    return table(["server", "`/fast` beside `/slow`", "five `/slow` of 1 s", "where its threads were"],
                 lines, measured_on, "wayout")


def switches():
    measured_on, rows = load("switches")
    found = {(row["server"], row["metric"]): row for row in rows}
    names = {"05-epoll": "05-epoll", "07-coroutines": "07-coroutines",
             "07-coroutines-ucontext": "07-coroutines, by `swapcontext`", "02-threaded": "02-threaded"}
    lines = []
    for name, told in names.items():
        us, ratio = found[name, "cost_us"], found[name, "cost_ratio"]
        spread = f" ({float(ratio['least']):.1f} to {float(ratio['most']):.1f})" if name != "05-epoll" else ""
        lines.append([told, f"{float(us['value']):.1f} µs", f"{float(ratio['value']):.2f}{spread}"])
    return table(["server", "CPU time per `/fast`", "relative to 05 (least to most)"], lines, measured_on, "switches")


def main(arguments):
    parser = Parser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only tell whether they are up to date")
    options = parser.parse_args(arguments)
    old = new = TEXT.read_text(encoding="utf-8")
    for make in idle, waits, peers, wayout, switches:
        marks = rf"(<!-- table: {make.__name__} -->\n).*?(?=<!-- end -->\n)"
        new, found = re.subn(marks, lambda match: match[1] + make(), new, flags=re.S)
        if found != 1:
            raise Failed(f"tutorial.md has {found} marks <!-- table: {make.__name__} -->, not one")
    if not options.check:
        replace(TEXT, new)
    elif new != old:
        sys.stderr.writelines(difflib.unified_diff(old.splitlines(True), new.splitlines(True),
                                                   "tutorial.md", "tests/bench/results", n=0))
        raise Failed("the tables of tutorial.md are not up to date. To write them: make tables")
    return 0


if __name__ == "__main__":
    tool.run(main)
