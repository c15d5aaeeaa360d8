"""Record the servers again, keep the recordings in tests/tutorial/recordings, and draw those that the tutorial
shows: waits.svg of each stage, 06-libev/trap.svg, and in tests/tutorial the comparisons await.svg, trap.svg,
pool.svg and upstream.svg, and first.svg for README. Draw loops.svg, which needs no recording, and turns.svg, for
which the loop of step 4 runs here.

A picture can be drawn at a quiet moment only. Look at each before you commit it.
Exit status: 0 if all are drawn; 1 if not; 2 for a bad command line."""
import contextlib
import pathlib
import re
import sys

from judging import upstream
from kit import processes, servers, tool
from kit.commandline import Parser
from kit.errors import Failed
from kit.processes import PIPES
from kit.tree import ROOT, STAGES, built
from kit.urls import free_port
from recorder import clients, replay, strace_log, svg, symbols, understand
from tutorial import first, loops
from tutorial.loop import turns

HERE = pathlib.Path(__file__).resolve().parent

KEPT = HERE / "recordings"
ASYNCIO = ROOT / "tests" / "recorder" / "asyncio_server.py"
TRIES = 5

# How to record: the command line of a server that is not one of the stages, after its URL.
PYTHON = {"asyncio": ("asyncio.sleep in async def", "sleep"),
          "mistake": ("time.sleep in async def", "block"),
          "executor": ("run_in_executor(time.sleep)", "pool")}
# The same for those that ask another server: its title, and its command without a port.
ASKING = {"upstream-await": ("await: the loop of step 5", ["python3", upstream.STEP]),
          "upstream-states": ("states: 05", [upstream.TREE / "build/05-epoll"]),
          "upstream-stack": ("a stack of its own: 07", [upstream.TREE / "build/assembly/07-coroutines"])}
SERIALIZES = {"01-blocking", "trap", "mistake"}

# The recordings that a picture shows, one below the other.
PICTURES = {**{f"{stage}/waits.svg": [stage] for stage in STAGES},
            "06-libev/trap.svg": ["trap"],
            "tests/tutorial/await.svg": ["05-epoll", "asyncio"],
            "tests/tutorial/trap.svg": ["01-blocking", "trap", "mistake"],
            "tests/tutorial/pool.svg": ["pool", "executor"],
            "tests/tutorial/upstream.svg": list(ASKING)}
TURNS = "tests/tutorial/turns.svg"
FIRST = ["01-blocking/waits.svg", "05-epoll/waits.svg"]

# Calls that say, before the experiment begins, which threads and descriptors there are.
BEFORE = re.compile(r"listen|accept|epoll_c|eventfd|clone|pipe|socketpair")
FILES = re.compile(r'["<]/')  # a call with such arguments is about a file of this machine, not about a client


def trace(*arguments):
    """Run the recorder, and return what it prints."""
    tracer = processes.start([sys.executable, ROOT / "tests" / "trace.py", *arguments], **PIPES)
    out, err = processes.finish(tracer)
    if tracer.returncode != 0:
        raise Failed(f"trace.py {' '.join(map(str, arguments))}: {processes.ending(tracer.returncode)}", err)
    return out


def what(name, asked):
    """Return the arguments that tell the recorder which server to record. asked is the port of the server that some
    ask."""
    if name in STAGES or name == "trap":
        return [name]
    port = str(free_port())
    url = f"http://127.0.0.1:{port}"
    if name == "pool":
        command = [built("05-epoll"), "--port", port, "--delay", "1", "--block", "--threads", "2"]
        return ["--name", "05-epoll --block --threads 2", url, "--", *command]
    if name in ASKING:
        title, command = ASKING[name]
        return ["--name", title, url, "--slow", "/upstream", "--", *command, "--port", port, "--upstream",
                f"127.0.0.1:{asked}"]
    title, way = PYTHON[name]
    return ["--name", title, url, "--", "python3", ASYNCIO, port, way]


def shorten(text):
    """Return a log without the calls before and after the experiment, without the lines of source that only those
    name, and without this machine's files."""
    log, = strace_log.read(text)
    known, experiment = symbols.known_places(log), clients.Experiment(log)
    lines, frames = [], set()
    for call in log.calls:
        during = call.start <= experiment.end and (call.end is None or call.end >= experiment.begin)
        needed = during or call.start < experiment.begin and BEFORE.match(call.name)
        if needed and not FILES.search(call.arguments):
            end = " <unfinished ...>" if call.end is None else f") = {call.result} <{call.duration:.6f}>"
            lines.append(f"{call.tid} {call.start:.6f} {call.name}({call.arguments}{end}")
            lines += [f" > {frame.object}({frame.function}+0x0) [0x{frame.address:x}]" for frame in call.stack
                      if (frame.object, frame.address) in known or "pthread_create" in frame.function]
            frames.update((frame.object, frame.address) for frame in call.stack)
    lines += [f"{tid} {time:.6f} +++ {how} +++" for tid, (time, how) in log.ends.items()
              if time <= experiment.end]
    named = {frame: places for frame, places in known.items() if frame in frames}
    header = [line for line in text.splitlines() if line.startswith("# ") and not line.startswith("# source: ") and
              (not line.startswith("# frame: ") or
               symbols.known_places(strace_log.read(line)[0]).keys() & named.keys())]
    header += [f"# {line}" for line in symbols.checksums(place for places in named.values() for place in places)]
    return "\n".join([*header, *lines]).replace(f"{ROOT}/", "") + "\n"


def in_tree(text):
    """Return the log of a server that was built in the tree of judging.upstream, without places in files that it has
    patched: they are not in this tree."""
    patched = f"{upstream.TREE.relative_to(ROOT)}/"

    def same(place):
        name = re.sub(r":\d+$", "", place.rpartition(" ")[2].replace(patched, ""))
        return (upstream.TREE / name).read_bytes() == (ROOT / name).read_bytes()

    lines, kept = [], set()
    for line in text.splitlines():
        kind, _, rest = line.partition(": ")
        program, _, places = rest.partition(" = ")
        if kind == "# frame":
            places = "; ".join(place.replace(patched, "") for place in places.split("; ") if same(place))
            line = places and f"{kind}: {program} = {places}"
            kept.add(places and program)
        elif kind == "# source":
            line = same(rest.partition(" ")[0]) and line.replace(patched, "")
        elif line.startswith(" > ") and patched in line:  # of a stack
            line = re.sub(r" > (\S+)\(.*\[(\w+)\]", r"\1 \2", line) in kept and line
        if line:
            lines.append(line)
    return "\n".join(lines) + "\n"


def understood(text):
    log, = strace_log.read(text)
    return understand.understand(log)


def told(recording):
    """Return all that a page shows of a recording: when a thread started before it is of no interest."""
    for thread in recording.threads:
        thread.start = max(thread.start, 0)
    return svg.draw([recording]) + replay.data([recording])


def recordings(picture):
    """Return what a picture shows, from the logs that are kept."""
    return [understood((KEPT / f"{name}.strace").read_text()) for name in PICTURES[picture]]


def others():
    """Return the pictures that are drawn in another way: {name: content}."""
    servers = [recording for name in FIRST for recording in recordings(name)]
    return {"tests/tutorial/first.svg": first.draw(servers), "tests/tutorial/loops.svg": loops.draw(),
            TURNS: turns.draw(turns.record())}


def record(name):
    """Record one server until its verdict is the one that is expected, and keep the log."""
    log = tool.scratch() / f"{name}.strace"
    for _ in range(TRIES):
        with servers.Server("05-epoll", "--delay", "1") if name in ASKING else contextlib.nullcontext() as asked:
            trace("--raw", log, *what(name, asked and asked.port))
        text = in_tree(log.read_text()) if name in ASKING else log.read_text()
        found = understood(text)
        if found.serializes == (name in SERIALIZES) and "between two calls" not in found.sentence:
            short = shorten(text)
            if told(understood(short)) != told(found):
                raise Failed(f"{name}: the shortened log tells another story")
            (KEPT / log.name).write_text(short)
            print(f"{name}: {found.sentence}", flush=True)
            return
    raise Failed(f"{name} cannot be drawn: {found.sentence}")


def main(arguments):
    parser = Parser(description=__doc__, usage="%(prog)s [--kept | NAME...]")
    names = sorted({name for shown in PICTURES.values() for name in shown})
    parser.add_argument("--kept", action="store_true", help="record nothing, and draw what is kept")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"record only this: {', '.join(names)}")
    options = parser.parse_args(arguments)
    wrong = [name for name in options.names if options.kept or name not in names]
    if wrong:
        parser.error(f"{wrong[0]}: {'nothing is recorded' if options.kept else 'no such recording'}")
    if not options.kept:
        tool.need("strace", "deps-tutorial")
        wanted = options.names or names
        if any(name in ASKING for name in wanted):
            upstream.patched("05-epoll", "assembly/07-coroutines")
        for name in wanted:
            record(name)
    for picture in PICTURES:
        (ROOT / picture).write_text(svg.draw(recordings(picture)), encoding="utf-8")
    for picture, drawing in others().items():
        (ROOT / picture).write_text(drawing, encoding="utf-8")
    print(f"{len(PICTURES) + len(others())} pictures drawn")
    return 0


if __name__ == "__main__":
    tool.run(main)
