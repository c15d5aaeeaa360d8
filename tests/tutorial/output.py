"""Compare output with the output in the text. A time, an address, a port, a process number or a size differs from
machine to machine; everything else must be the same. How long ago something was depends on how fast a machine starts
Python, and may be anything."""
import re

TOKEN = re.compile(r"""
    (?P<age>\d+(?:\.\d+)?\s?(?:ms|s)\ ago)\b
  | (?P<time>\d+(?:\.\d+)?)\s?(?P<unit>ms|µs|us|s)\b
  | (?P<size>\d+(?:[.,]\d+)?)\s?(?P<scale>KiB|MiB|kB|bytes)\b
  | (?P<port>(?<=127\.0\.0\.1:)\d+)
  | \b(?P<id>pid|tid)\s\d+
  | (?P<decimal>\d+\.\d+)(?![.\d])
  | (?P<big>\d{5,})
  | (?P<date>\d{4}-\d\d-\d\dT[\d:]+Z|\w{3},\ \d\d\ \w{3}\ \d{4}\ [\d:]{8}\ GMT)
  | (?P<folder>(?<=[\s"'(])/[\w./+-]+(?=/[\w.-]+\.\w))
  | (?P<bar>█+)
""", re.X)
SECONDS = {"s": 1, "ms": 1e-3, "µs": 1e-6, "us": 1e-6}
SCALE = {"bytes": 1, "kB": 1024, "KiB": 1024, "MiB": 1 << 20}
ELISION = "[...]"


def tokens(line):
    """Return (kind, value) for each part of a line."""
    found, last = [], 0
    for match in TOKEN.finditer(line):
        found.append(("text", "".join(line[last:match.start()].split())))
        kind, value = match.lastgroup, 0.0
        if match["time"]:
            kind, value = "time", float(match["time"]) * SECONDS[match["unit"]]
        elif match["size"]:
            kind, value = "size", float(match["size"].replace(",", "")) * SCALE[match["scale"]]
        elif kind in ("decimal", "big"):
            value = float(match[kind])
        found.append((kind, value))
        last = match.end()
    return [*found, ("text", "".join(line[last:].split()))]


def close(kind, one, other):
    low, high = sorted([one, other])
    if kind == "time":
        return high - low <= 0.15 + 0.3 * high
    if kind == "big":
        return high <= 100 * low
    return kind not in ("size", "decimal") or high <= 3 * low + 1


def same_line(expected, actual):
    one, other = tokens(expected.rstrip()), tokens(actual.rstrip())
    return len(one) == len(other) and all(
        a[0] == b[0] and (a[1] == b[1] if a[0] == "text" else close(a[0], a[1], b[1])) for a, b in zip(one, other))


def difference(expected, actual):
    """Return the first expected line that is not there, or a line that is not expected; None if they agree.
    A line [...] in what is expected stands for any number of lines."""
    here, gap = 0, False
    for line in expected:
        if line.strip() == ELISION:
            gap = True
            continue
        while gap and here < len(actual) and not same_line(line, actual[here]):
            here += 1
        if here >= len(actual) or not same_line(line, actual[here]):
            return f"expected: {line}"
        here, gap = here + 1, False
    return None if gap or here >= len(actual) else f"not expected: {actual[here]}"
