"""Compile the servers for the simulation: the C files as they are, to WebAssembly.

    python3 -m simulation.build [--quiet] [STAGE]...     (make play)

writes BUILD/play/stages.json, for tests/play.py and the page: for each stage the module, which source line each call in
it comes from, and the text of these files. Some bugs of the gallery are built, too, as stages of their own.

The tools are clang, lld, binaryen and llvm-symbolizer of the distribution; the headers are those of its C library, for
i386, which is the 32-bit architecture that is nearest to WebAssembly. libc.c is the C library.
"""
import base64
import concurrent.futures
import gzip
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

from kit import processes, tool
from kit.errors import Failed
from kit.tree import BUILD, ROOT, STAGES
from servers.bugs.bug import Bug
from simulation import libev

HERE = pathlib.Path(__file__).resolve().parent
PLAY = BUILD / "play"
TOOLS = ["clang", "wasm-ld", "wasm-opt", "llvm-symbolizer", "llvm-objdump"]

# Bugs that are built as stages: the bug, the stage, a title, and which thread runs first.
VARIANTS = [
    ("lost-wake-up", "05-epoll", "wakes the loop too early", {"wokenFirst": True}),
    ("hang-up-spin-epoll", "05-epoll", "keeps a sleeping connection in the set", {}),
    ("select-keeps-its-sets", "03-select", "passes its own sets to select", {}),
]

TARGET = ["--target=wasm32-unknown-unknown", "-mmutable-globals", "-mbulk-memory", "-D__i386__",
          "-D__regparm__(x)=unused", "-D_GNU_SOURCE", "-D_TIME_BITS=64", "-D_FILE_OFFSET_BITS=64", "-std=gnu11", "-w"]
# Lines are exact as long as nothing is inlined, and no call is moved: so few of wasm-opt's passes come after asyncify.
EXACT = ["-g", "-O1", "-fno-inline", "-fdebug-compilation-dir=."]
PASSES = ["--asyncify", "--pass-arg=asyncify-imports@kernel.*", "--simplify-locals-nostructure", "--coalesce-locals",
          "--vacuum", "--reorder-locals"]
EXPORTS = ["sim_first_pointer", "sim_main", "sim_handle", "sim_thread", "sim_words", "sim_errno", "sim_free",
           "sim_malloc_failures", "malloc", "__stack_pointer"]


def headers():
    """The folder of the C library's headers for this machine, and one with the header that only i386 has."""
    empty = PLAY / "include" / "gnu" / "stubs-32.h"
    empty.parent.mkdir(parents=True, exist_ok=True)
    if not empty.exists():
        empty.touch()
    known = sorted(pathlib.Path("/usr/include").glob("*-linux-gnu*/bits/types.h"))
    folder = known[0].parent.parent if known else None
    if folder is None:
        raise Failed("the headers of the C library are missing. To install them: make deps")
    return [f"-I{PLAY / 'include'}", "-isystem", "/usr/include", "-isystem", str(folder)]


def run(*command, **options):
    """Run a compiler or the like. Fail with what it says."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)
    if done.returncode != 0:
        raise Failed(f"{pathlib.Path(str(command[0])).name} failed ({processes.ending(done.returncode)})", done.stderr)
    return done.stdout


# ---- what is compiled

class Sources:
    """A tree with stages and common/: that of the toolkit, or a copy in which a bug is planted."""

    def __init__(self, root, name):
        self.root, self.name, self.objects = root, name, PLAY / "obj" / name

    def files(self, stage, ending="c"):
        return sorted(path for folder in ("common", stage) for path in (self.root / folder).glob(f"*.{ending}"))

    def shared(self, stage):
        """Return {file: that of the toolkit's tree} for the files of a copy that need not be compiled again."""
        pairs = {kind: [(path, ROOT / path.relative_to(self.root)) for path in self.files(stage, kind)]
                 for kind in "ch"}
        alike = {kind: {path: there for path, there in found
                        if there.exists() and path.read_text() == there.read_text()}
                 for kind, found in pairs.items()}
        return alike["c"] if len(alike["h"]) == len(pairs["h"]) else {}


def uses_libev(root, stage):
    return any("<ev.h>" in file.read_text() for file in (root / stage).glob("*.c"))


def copied(name, stage, change):
    """Return the Sources of a copy of the tree, in which change(file, text) returns the text of each file. A file that
    is as it was in the last copy keeps its time."""
    root = PLAY / "copies" / name
    tree = Sources(ROOT, "tree")
    for path in [*tree.files(stage), *tree.files(stage, "h")]:
        file = path.relative_to(ROOT)
        text, copy = change(str(file), path.read_text()), root / file
        if not copy.exists() or copy.read_text() != text:
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(text)
    return Sources(root, name)


def plant(bug, stage):
    """Return the Sources of a copy of the tree with a bug of the gallery."""
    changed = Bug(bug).changed(ROOT)
    return copied(bug, stage, lambda file, text: changed[file][1] if file in changed else text)


class Compiler:
    """Compiles files that have changed, several at a time."""

    def __init__(self):
        self.flags = [*TARGET, *EXACT, *headers()]
        self.pool = concurrent.futures.ThreadPoolExecutor(os.cpu_count())

    def objects(self, sources, stage, source_of_libev):
        more = [f"-I{source_of_libev}"] if source_of_libev else []
        jobs = [(HERE / "libc.c", ROOT, PLAY / "obj", ["-ffreestanding", "-fno-builtin"])]
        shared = sources.shared(stage) if sources.root != ROOT else {}
        for file in sources.files(stage):
            jobs.append((shared[file], ROOT, PLAY / "obj" / "tree", more) if file in shared else
                        (file, sources.root, sources.objects, more))
        if source_of_libev:
            jobs.append((source_of_libev / "ev.c", source_of_libev, PLAY / "obj" / "libev", libev.FLAGS))
        return list(self.pool.map(lambda job: self.compile(*job), jobs))

    def compile(self, file, root, folder, more):
        key = hashlib.sha256(" ".join([*self.flags, *more]).encode()).hexdigest()[:12]
        target = folder / f"{file.relative_to(root).with_suffix('')}-{key}.o"
        depends = target.with_suffix(".d")
        if not _is_newer(target, depends):
            target.parent.mkdir(parents=True, exist_ok=True)
            run("clang", *self.flags, *more, "-I.", "-MD", "-MF", depends, "-c", file.relative_to(root), "-o", target,
                cwd=root)
            depends.write_text(f"{root}\n{depends.read_text()}")
        return target


def _is_newer(target, depends):
    """Is the object newer than all files that it was made of?"""
    if not target.exists() or not depends.exists():
        return False
    root, _, rule = depends.read_text().partition("\n")
    files = [pathlib.Path(root, word) for word in rule.replace("\\\n", " ").split()[1:]]
    made = target.stat().st_mtime
    return all(file.exists() and file.stat().st_mtime <= made for file in files)


# ---- from objects to a module that can suspend its threads

def link(name, objects):
    """Return the path of the module, with all that is known of its lines."""
    linked, module = PLAY / f"{name}.linked", PLAY / f"{name}.debug"
    command = ["wasm-ld", "--no-entry", "--import-memory", "--initial-memory=2097152", "--max-memory=4294967296",
               *(f"--export={export}" for export in EXPORTS), *objects, "-o", linked]
    try:
        run(*command)
    except Failed as failure:
        missing = sorted(set(re.findall(r"undefined symbol: (\w+)", " ".join(failure.details))))
        if not missing or name in STAGES:
            raise
        print(f"{name} uses {', '.join(missing)}, which the simulation does not have. It is stopped where it calls it.",
              file=sys.stderr)
        run(*command, "--allow-undefined")
    if b"\x0f__stack_pointer\x03" not in linked.read_bytes():  # an export: a name, and the kind of a global
        raise Failed("wasm-ld is too old for the simulation: it does not export __stack_pointer. "
                     "That of Debian 12 (LLVM 14) does")
    run("wasm-opt", "-g", "--enable-bulk-memory", "--enable-mutable-globals", *PASSES, linked, "-o", module)
    linked.unlink()
    return module


def sections(module):
    """Yield (id, where it begins, where its content begins, its end) of each section of a module."""
    at = 8
    while at < len(module):
        begin, kind = at, module[at]
        size, at = _number(module, at + 1)
        yield kind, begin, at, at + size
        at += size


def _number(data, at):
    """An unsigned LEB128, and what is after it."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


CODE, CUSTOM = 10, 0


def strip(module):
    """Return a module without its custom sections, which tell names and lines. They come last, so that all offsets
    stay as they are."""
    custom = [begin for kind, begin, _, _ in sections(module) if kind == CUSTOM]
    return module[:min(custom, default=len(module))]


def code_offset(module):
    return next(content for kind, _, content, _ in sections(module) if kind == CODE)


# ---- lines

def call_lines(path, root):
    """Which line does each call instruction come from? {offset in the module: "function file:line"}. llvm-symbolizer
    counts from the start of the code section, and llvm-objdump from there (LLVM 14) or from that of the file (LLVM 19).
    With an offset from elsewhere, they name plausible wrong lines."""
    start = code_offset(path.read_bytes())
    listing = run("llvm-objdump", "-d", path)
    base = int(re.search(r"^([0-9a-f]+) <CODE>:$", listing, re.M)[1], 16)
    calls = []  # (offset in the code section, function)
    for part in re.split(r"^[0-9a-f]+ <", listing, flags=re.M)[1:]:
        function = re.match(r"[^>.]*", part)[0].replace("__main_argc_argv", "main")
        found = re.findall(r"^ *([0-9a-f]+): .*\tcall(?:_indirect)?\s", part, re.M)
        calls += [(int(offset, 16) - base, function) for offset in found]
    asked = "".join(f"0x{offset:x}\n" for offset, _ in calls)
    answers = run("llvm-symbolizer", f"--obj={path}", "--functions=none", "--inlining=false", input=asked).split("\n\n")
    if len(answers) != len(calls) + 1:
        raise Failed(f"llvm-symbolizer was asked for {len(calls)} lines, and told {len(answers) - 1}")
    places = {start + offset: place for (offset, function), answer in zip(calls, answers)
              if (place := _place(function, answer.strip(), root))}
    mains = [answer.strip() for (_, function), answer in zip(calls, answers) if function == "main"]
    named = [line for line in mains if not line.startswith("??")]  # asyncify adds calls that have no line
    wrong = [line for line in named if re.search(r"/common/|/libc\.c", line)]
    if wrong or (places and not mains) or (mains and not named):
        raise Failed(f"llvm-objdump and llvm-symbolizer do not agree on where main is: {(wrong or ['nowhere'])[0]}")
    return places


def _place(function, line, root):
    """"main 05-epoll/server.c:44", or None if it is none of the toolkit's lines."""
    file, number, _ = line.rsplit(":", 2)
    path = os.path.relpath(os.path.normpath(os.path.join(root, file)), root)
    return f"{function} {path}:{number}" if number != "0" and re.match(r"common/|\d\d-[^/]*/", path) else None


def table(lines):
    """The lines of all calls in a compact form: the distances of their offsets, the number of a place for each, and the
    places."""
    places, offsets, numbers, before = {}, [], [], 0
    for offset, place in sorted(lines.items()):
        offsets.append(offset - before)
        numbers.append(places.setdefault(place, len(places)))
        before = offset
    return {"offsets": offsets, "numbers": numbers, "places": list(places)}


def sources_of(lines, root):
    """The text of each file that is named, as a list of lines."""
    files = sorted({place.split(" ")[1].rpartition(":")[0] for place in lines.values()})
    return {file: (root / file).read_text().splitlines() for file in files}


# ---- all of it

def build(compiler, sources, stage, source_of_libev=None, about=()):
    """Build one stage, unless it is built already. Return its name, and what stages.json says of it."""
    about = dict(about)
    name = sources.name if sources.root != ROOT else stage
    objects = compiler.objects(sources, stage, source_of_libev)
    made = [str(path) for path in objects], *(path.stat().st_mtime for path in (*objects, pathlib.Path(__file__)))
    key = hashlib.sha256(repr((made, about)).encode()).hexdigest()
    known = PLAY / f"{name}.json"
    if known.exists():
        before = json.loads(known.read_text())
        if before.get("key") == key:
            return name, before
    module = link(name, objects)
    lines = call_lines(module, sources.root)
    wasm = strip(module.read_bytes())
    module.unlink()
    told = {"of": stage, "lines": table(lines), "sources": sources_of(lines, sources.root), **about,
            "wasm": base64.b64encode(gzip.compress(wasm, 9, mtime=0)).decode(), "key": key}
    known.write_text(json.dumps(told, separators=(",", ":")))
    return name, told


def build_all(names):
    for program in TOOLS:
        tool.need(program, "deps-play")
    for name in names:
        if not list((ROOT / name).glob("*.c")):
            raise Failed(f"{name}: no such stage: want a folder with server.c")
    PLAY.mkdir(parents=True, exist_ok=True)
    tree, jobs, missing = Sources(ROOT, "tree"), [], {}
    for stage in dict.fromkeys([*STAGES, *names]):
        found, reason = libev.source(PLAY) if uses_libev(ROOT, stage) else (None, None)
        if reason:
            missing[stage] = reason
            print(f"{stage} is not built for the simulation: {reason}", file=sys.stderr)
        else:
            jobs.append((tree, stage, found))
    jobs += [(plant(bug, stage), stage, None, {"title": title, "choices": choices})
             for bug, stage, title, choices in VARIANTS]
    compiler = Compiler()
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        stages = dict(pool.map(lambda job: build(compiler, *job), jobs))
    return write_bundle(PLAY, stages, missing)


def build_alone(stage, bug=None):
    """Build one stage into a folder of its own, for engine.Simulation; with a bug of the gallery planted in it, if one
    is named. Return the folder."""
    found, reason = libev.source(PLAY) if uses_libev(ROOT, stage) else (None, None)
    if reason:
        raise Failed(reason)
    folder = PLAY / "alone" / (f"{stage}-{bug}" if bug else stage)
    folder.mkdir(parents=True, exist_ok=True)
    _, built = build(Compiler(), plant(bug, stage) if bug else Sources(ROOT, "tree"), stage, found)
    write_bundle(folder, {stage: built})
    return folder


def build_programs(folder):
    """Build the servers of programs/, which misbehave, into a folder. Return it."""
    compiler, stages = Compiler(), {}
    for path in sorted((HERE / "programs").glob("*.c")):
        (folder / path.stem).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder / path.stem / "server.c")
        name, told = build(compiler, Sources(folder, path.stem), path.stem)
        stages[name] = told
    write_bundle(folder, stages)
    return folder


def write_bundle(folder, stages, missing=()):
    """Write stages.json into a folder."""
    bundle = {"stages": stages, "sources": _shared(stages), "missing": dict(missing)}
    (folder / "stages.json").write_text(json.dumps(bundle, separators=(",", ":")))
    return bundle


def _shared(stages):
    """Take the text of each file that several stages have out of them. Return it."""
    texts = {}
    for stage in stages.values():
        stage.pop("key", None)
        for file, text in list(stage["sources"].items()):
            if texts.setdefault(file, text) == text:
                del stage["sources"][file]
    return texts


def main(arguments):
    bundle = build_all([name for name in arguments if name != "--quiet"])
    if "--quiet" in arguments:
        return 0
    for name, stage in bundle["stages"].items():
        print(f"  {name}: {len(stage['wasm']) // 1024} KiB in the page")
    return 0


if __name__ == "__main__":
    tool.run(main)
