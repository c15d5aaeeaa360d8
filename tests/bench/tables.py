"""Write the figures of tests/bench/results into the tables of tutorial.md, between their marks, and look whether its
sentences say the same figures.

Exit status: 0; 1 if a sentence differs from the results, or with --check a table; 2 for a bad command line."""
import difflib
import re
import sys

from bench.results import load
from kit import tool
from kit.commandline import Parser
from kit.errors import Failed
from kit.tree import ROOT, STAGES


TEXT = ROOT / "tutorial.md"


def table(heading, rows, measured_on, command, words=0):
    """words: how many of the last columns have words, not figures."""
    first, *lines = [f"| {' | '.join(cells)} |\n" for cells in [heading, *rows]]
    rule = "|---|" + "--:|" * (len(heading) - 1 - words) + "---|" * words
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
                 lines, measured_on, "wayout", words=1)


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


def sentences():
    """Return what sentences of the text say of the same results."""
    _, rows = load("switches")
    switch = {(row["server"], row["metric"]): float(row["value"]) for row in rows if row["server"] != "python"}
    _, rows = load("scale")
    kib = {(row["stage"], row["metric"]): float(row["value"]) for row in rows
           if (row["experiment"], row["clients"]) == ("waits", "10000") and row["metric"].endswith("kib")}
    server, kernel = kib["02-threaded", "server_kib"], kib["02-threaded", "kernel_kib"]
    loop = kib["05-epoll", "server_kib"] + kib["05-epoll", "kernel_kib"]

    def parked(metric, form):
        return [f"{switch[name, metric]:{form}}" for name in ("07-coroutines", "05-epoll", "02-threaded")]

    memory, time, late = (parked(metric, form) for metric, form in (
        ("waits_server_kib", ".1f"), ("waits_cpu_us", ".0f"), ("waits_late_ms", ".0f")))
    return [f"{switch['task', 'switch_ns'] / 1000:.1f} and {switch['threads', 'switch_ns'] / 1000:.1f} µs",
            f"some {kernel:.0f} KiB more for each client",
            f"some {server:.0f} KiB in the process and {kernel:.0f} KiB in the kernel",
            f"{server + kernel - loop:.0f} of {server + kernel:.0f} KiB",
            f"07 took {memory[0]} KiB for each, two pages of its stack (05: {memory[1]}; 02: {memory[2]})",
            f"took {time[0]} µs of CPU time (05: {time[1]}; 02: {time[2]})",
            f"the last was {late[0]} ms late (05: {late[1]}; 02: {late[2]})"]


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
        tool.write(TEXT, new)
    elif new != old:
        sys.stderr.writelines(difflib.unified_diff(old.splitlines(True), new.splitlines(True),
                                                   "tutorial.md", "tests/bench/results", n=0))
        raise Failed("the tables of tutorial.md are not up to date. To write them: make tables")
    missing = [each for each in sentences() if each not in " ".join(new.split())]
    if missing:
        raise Failed("\n".join(f"tutorial.md does not say: {each}" for each in missing))
    return 0


if __name__ == "__main__":
    tool.run(main)
