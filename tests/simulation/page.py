"""Put the page together, in which the servers can be played with: FILE, or build/play.html.

The page is one file: the servers as WebAssembly and the lines of their calls (build/play/stages.json), the simulated
kernel, the sources that it shows, the styles and the pictures of the recorder.
Exit status: 0; 1 if the page cannot be made; 2 for a bad command line."""
import json
import os
import pathlib
import re

from bench import results
from kit import tool
from kit.commandline import Parser
from kit.errors import Failed
from kit.tree import BUILD, ROOT
from recorder import replay, svg
from simulation import seeds
from tutorial import pictures

HERE = pathlib.Path(__file__).resolve().parent
KERNEL = ("grammar", "kernel", "clients", "calls", "process", "simulation", "seeds", "invariants")
PAGE = ("grammar", "page-run", "goals", "page-elements", "page-draw", "page-bench", "page-doors", "page-simulator",
        "page")
MOST = 1_000_000                   # bytes
# Without JavaScript, the page shows these recordings of the real servers.
PICTURES = (("01-blocking/waits.svg", "01-blocking: /fast waited some 900 ms in the backlog, while the only thread "
             "slept in clock_nanosleep to serve /slow"),
            ("05-epoll/waits.svg", "05-epoll: /fast did not wait, because the only thread was waiting for any client"))
# Where the links of the page lead: the address of the repository is set in the environment, in this one place.
REPOSITORY = os.environ.get("REPOSITORY", "").rstrip("/")


def inline(names, folder=HERE):
    """Return modules as one script. Each becomes a function of its own that returns what it exports, so only these
    names must differ; its imports are dropped."""
    return "\n".join(_as_function((folder / f"{name}.mjs").read_text(encoding="utf-8")) for name in names)


def _as_function(text):
    text = re.sub(r"^import .*?;\n", "", text, flags=re.M | re.S)
    names = re.findall(r"^export (?:async )?(?:function\*?|class) ([\w$]+)", text, flags=re.M)
    for statement in re.findall(r"^export const (.*?);", text, flags=re.M | re.S):
        several = "{" not in statement and "=>" not in statement
        names += re.findall(r"(?:^|,\s+)([\w$]+) = ", statement)[:None if several else 1]
    text = re.sub(r"^export ", "", text, flags=re.M)
    names = ", ".join(names)
    return f"const {{{names}}} = (() => {{\n{text}\nreturn {{{names}}};\n}})();\n"


def in_script(text):
    """Return text that cannot end the script element in which it stands."""
    return re.sub(r"<(?=/script|!--)", r"\\x3c", text, flags=re.I)


def as_data(thing):
    """Return JSON that cannot end its script element."""
    return json.dumps(thing, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")


def idle_costs():
    """Return what a request costs with idle clients, as it was measured: {stage: {clients: µs}, "machine": words}."""
    machine, rows = results.load("scale")
    costs = {"machine": ", ".join(machine.split(", ")[:3])}
    for row in rows:
        if row["experiment"] == "idle" and row["metric"] == "cpu_us":
            costs.setdefault(row["stage"], {})[int(row["clients"])] = float(row["value"])
    return costs


def picture(name, words):
    drawing = (ROOT / name).read_text(encoding="utf-8")
    drawing = re.sub(r"<style>.*?</style>", "", drawing, flags=re.S)
    prefix = re.sub(r"\W", "-", name)
    drawing = re.sub(r'(id="|url\(#|aria-labelledby="|(?<= ))waits-', rf"\g<1>{prefix}-", drawing)
    return f'<figure class="picture" tabindex="0" role="group" aria-label="{words}">{drawing}</figure>'


def without_script():
    """Return what the page says where no script runs."""
    return ("<p>You ask a server for <code>/slow</code>, which takes a second. 100 ms later, a second client asks for "
            "<code>/fast</code>. Who waits for whom? With JavaScript, this page runs the real servers and lets you "
            "find out. These are recordings of two of them. Both have one thread.</p>"
            "<p>The first sleeps for the one client, and so the other waits. The second waits for all clients in one "
            "call, and so nobody waits.</p>" + "\n".join(picture(*each) for each in PICTURES))


def build(play, tutorial, recordings, preview=""):
    """Return the page. play: the folder with stages.json. tutorial: its address. recordings: {picture: its address}."""
    built = json.loads((play / "stages.json").read_text(encoding="utf-8"))
    own = {name: stage.pop("sources") for name, stage in built["stages"].items()}
    for name, stage in built["stages"].items():
        stage["model"] = seeds.model_of(name, built)
    data = {"stages": built["stages"], "sources": built["sources"], "own": own, "measured": idle_costs(),
            "missing": built["missing"], "tutorial": tutorial, "recordings": recordings, "repository": REPOSITORY}
    script = inline(PAGE).replace("/* hatches */ {}", json.dumps(svg.HATCHES))
    parts = {"icon": replay.ICON, "style": replay.style() + (HERE / "page.css").read_text(encoding="utf-8"),
             "preview": preview, "without": without_script(), "data": as_data(data),
             "worker": in_script(inline((*KERNEL, "page-worker"))), "script": in_script(script)}
    page = (HERE / "page.html").read_text(encoding="utf-8")
    return re.sub(r"<!-- (\w+) -->", lambda found: parts[found[1]], page)


def main(arguments):
    parser = Parser(description=__doc__, usage="%(prog)s [FILE]")
    parser.add_argument("file", nargs="?", default=BUILD / "play.html", type=pathlib.Path, metavar="FILE")
    options = parser.parse_args(arguments)
    if not (BUILD / "play/stages.json").exists():
        raise Failed("the servers are not compiled for the page", "make play compiles them")
    page = options.file.resolve()
    page.parent.mkdir(parents=True, exist_ok=True)
    way = os.path.relpath(ROOT, page.parent)
    text = build(BUILD / "play", os.path.relpath(BUILD / "tutorial.html", page.parent),
                 {each: f"{way}/{each}" for each in pictures.PICTURES})
    size = len(text.encode())
    if size > MOST:
        raise Failed(f"the page has {size:,} bytes, and should have {MOST:,} at most")
    page.write_text(text, encoding="utf-8")
    print(f"The page is {page} ({size // 1000} kB)")
    return 0


if __name__ == "__main__":
    tool.run(main)
