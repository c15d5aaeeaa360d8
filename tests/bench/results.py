"""The files of measurements in tests/bench/results."""
import os
import pathlib
import platform
import statistics
import time

from kit import measuring
from kit.errors import Failed
from kit.tree import ROOT

HERE = pathlib.Path(__file__).resolve().parent
RESULTS = HERE / "results"

median = statistics.median_low  # one of the measurements, not the mean of two


def machine():
    """The line that says where and when something was measured."""
    with open("/proc/cpuinfo") as file:
        lines = [line.partition(":") for line in file]
    models = [value.strip() for key, _, value in lines if key.strip() in ("model name", "Model")]
    model, release = (models or [platform.machine()])[0], platform.release().split("-")[0]
    date = time.strftime("%Y-%m-%d", time.gmtime())
    return f"{model}, {os.cpu_count()} cores, {platform.system()} {release}, {date}"


def load(name):
    """Read a file of results. Return what machine() said then, and a dictionary for each row."""
    path = RESULTS / f"{name}.tsv"
    if not path.exists():
        raise Failed(f"{path.relative_to(ROOT)} is missing. To measure it: make measure")
    first, _, rows = path.read_text().partition("\n")
    return first.lstrip("# "), measuring.table(rows)
