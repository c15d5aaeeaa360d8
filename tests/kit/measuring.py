"""The measuring client, build/probe."""
from kit.errors import Failed
from kit.processes import PIPES, ending, finish, start
from kit.tree import built


def probe(url, *shots, timeout=30, watch=None, ports=False, headers=(), data=None):
    """Send requests (shots: see build/probe --help); return a dictionary for each, with took_ms beside
    the columns of the probe (None: no answer). Call watch now and then meanwhile. With ports, a row also
    has the client's port and epoch, the moment of its start in seconds since 1970 (see --ports)."""
    options = ["--tsv", *(["--ports"] if ports else []), "--timeout", timeout]
    options += [f"--header={line}" for line in headers] + ([] if data is None else [f"--data={data}"])
    client = start([built("probe"), *options, url, *shots], **PIPES)
    out, err = finish(client, watch)
    if client.returncode not in (0, 1) or not out:
        raise Failed(f"cannot ask {url}", err or ending(client.returncode))
    return probe_rows(out)


def table(text):
    """Return a dictionary for each row of tab-separated values, the first of which names the columns."""
    header, *rows = [line.split("\t") for line in text.splitlines()] or [[]]
    return [dict(zip(header, row)) for row in rows]


def probe_rows(output):
    """Return a dictionary for each request in the output of probe --tsv."""
    rows = table(output)
    for row in rows:
        row["took_ms"] = float(row["done_ms"]) - float(row["start_ms"]) if row["done_ms"] != "-" else None
    return rows
