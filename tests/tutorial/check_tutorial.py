"""Does what tutorial.md says hold? Its code stands in the files that it names, its diffs are what diff prints, its
tables are the measured ones, its links lead somewhere, its pictures name lines that exist, and its commands print
what it shows, as does what README shows of make latency. The commands of a chapter are typed into one shell.

TUTORIAL in the environment names another text. Exit status: 0 if all holds; 1 if not; 2 for a bad command line."""
import difflib
import os
import re
import shutil
import subprocess
import time

from kit import tool
from kit.commandline import Parser
from kit.errors import Failed
from kit.report import tick, write
from kit.tree import ROOT
from recorder.cases.expected import CASES
from tutorial import length, markdown, older_systems, output, session


TEXT = ROOT / os.environ.get("TUTORIAL", "tutorial.md")
OTHER_PAGES = ["README.md", ".github/CONTRIBUTING.md", "tests/README.md", "tests/judging/teaching.md",
               "tests/judging/contract.md"]
TRIES = 3
PROGRAMS = ["all", "build/hold", "trigger", "early", "states"]
WAITS = r"clock_sleep_until|->run\(|p(select|poll)\(|epoll_pwait\(|ev_run|accept4\(|clock_compute|block\("


class Count:
    passed = failed = 0


def say(holds, words):
    """Count whether something holds. If it does not, say what is wrong, in these words."""
    if holds:
        Count.passed += 1
    else:
        Count.failed += 1
        print(f"FAILED: {words}", flush=True)


def summed_up():
    """Print how much holds, and return the exit status."""
    print(f"{Count.passed} passed, {Count.failed} failed")
    return 1 if Count.failed else 0


# ---- without running anything

def stands_in(lines, source):
    return any(source[i:i + len(lines)] == lines for i in range(len(source) - len(lines) + 1))


def diff_of(one, other):
    before, after = ((ROOT / name).read_text().splitlines() for name in (one, other))
    return list(difflib.unified_diff(before, after, n=1, lineterm=""))[2:]


def quoted(block):
    """Return whether a block with a file in its fence is what stands there."""
    try:
        source = (diff_of(*block.words) if block.kind == "diff" else
                  (ROOT / block.words[0]).read_text().splitlines())
    except (OSError, TypeError):
        return False
    indent = min((len(line) - len(line.lstrip()) for line in block.lines if line), default=0)
    plain = [line[indent:] for line in source] if block.words[0].endswith(".py") else source
    return bool(block.lines) and (stands_in(block.lines, source) or stands_in(block.lines, plain))


def quotations(chapters, lines):
    blocks = [block for chapter in chapters for block in chapter.blocks
              if block.words and block.kind not in ("expect", "not run", "before")]
    say(len(blocks) >= 15, f"only {len(blocks)} quotations were found: does this test still see them?")
    for block in blocks:
        say(quoted(block), f"line {block.line}: this is not what stands in {' '.join(block.words)}")
        above = next(filter(str.strip, reversed(lines[:block.line - 1])), "")
        say(all(word in above for word in block.words), f"line {block.line}: the line above does not name the file")
        spoiled = markdown.Block(0, block.kind, block.words, [*block.lines[:-1], block.lines[-1] + "x"])
        if quoted(spoiled):
            say(False, f"line {block.line}: a wrong quotation would not be noticed")


def headings(text):
    return {markdown.slug(heading) for heading in re.findall(r"(?m)^#+ (.*)", markdown.prose(text))}


def links(text):
    prose, anchors = markdown.prose(text), headings(text)
    for link in sorted(set(re.findall(r"\]\(([^)]+)\)", prose))):
        if link.startswith("#"):
            say(link[1:] in anchors, f"{TEXT.name} has a link to {link}, and no such heading")
        elif link.startswith("build/play.html#"):
            address = r"first|doors|goal-\d+|[\w-]+(\+--[\w-]+(\+[\d.]+)?)*;(\+\d+:[\w=/@-]+)+(;\+at\+\d+)?"
            say(re.fullmatch(address, link.partition("#")[2]), f"{link} is no address of the page to play with")
        elif not link.startswith("http"):
            say((ROOT / link).exists(), f"{TEXT.name} has a link to {link}, which is not there")
    prose += (ROOT / "README.md").read_text()
    for path in sorted(set(re.findall(r"`([a-z0-9.-]+/[a-zA-Z0-9_./-]*)`", prose))):
        if not path.startswith(("build/", "Lib/")):
            say((ROOT / path).exists(), f"{path} is named, but not there")


def links_elsewhere():
    """Links between the other pages of text lead to files that are there, and to headings."""
    pages = [ROOT / name for name in OTHER_PAGES]
    for page in pages:
        text = markdown.prose(page.read_text(encoding="utf-8"))
        for link in sorted(set(re.findall(r"\]\(((?!http)[^)]+)\)", text))):
            name, _, heading = link.partition("#")
            target = page.parent / name if name else page
            found = target.exists() and (not heading or heading in headings(target.read_text(encoding="utf-8")))
            say(found, f"{page.relative_to(ROOT)} has a link to {link}, which is not there")


def experiments(text):
    """What each chapter plays is an experiment that the simulation can read."""
    found = [" ".join(words.split()) for words in re.findall(r"(?s)<!-- play:(.*?)-->", text)]
    say(len(found) >= 8, f"only {len(found)} experiments were found: does this test still see them?")
    found = [words for words in found if words != "first"]
    if not shutil.which("node"):
        print("not tested: the experiments that the page plays, because node is missing (make deps-play)")
        return
    script = "import(process.argv[1]).then(grammar => process.argv.slice(2).forEach(grammar.parseExperiment))"
    run = subprocess.run(["node", "-e", script, ROOT / "tests/simulation/grammar.mjs", *found],
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
    say(run.returncode == 0, f"an experiment is none: {run.stdout}")


def pictures(text):
    """The text alternative of a recording tells what was recorded, and the recording names lines that wait."""
    for alternative, name in re.findall(r"!\[([^\]]*)\]\(([\w/-]+\.svg)\)", text):
        if not (ROOT / name).exists():  # links() says so
            continue
        told = (re.search(r"<desc[^>]*>(.*?)</desc>", (ROOT / name).read_text(), re.S) or ["", ""])[1]
        verdicts = re.findall(r"/fast (waited|did not wait)", told)
        for verdict in verdicts:
            say(verdict in alternative, f"{name}: recorded is that /fast {verdict}; its text alternative differs")
        for fact in re.findall(r"only thread|main thread|thread \d+|\w+_\w+|pp?oll|pselect6",
                               alternative if told else ""):
            say(fact in told, f"{name}: its text alternative names {fact}, which was not recorded")
        for waited in map(int, re.findall(r"waited (\d+) ms", told)):
            say(any(abs(waited - int(ms)) < 100 for ms in re.findall(r"(\d+) ms", alternative)),
                f"{name}: recorded are {waited} ms; its text alternative differs")
        for waited in re.findall(r"waited ([\d.]+ s)\b", told):
            say(waited in alternative, f"{name}: recorded are {waited}; its text alternative differs")
        for file, line in re.findall(r"called from (\S+?):(\d+)", told):
            source = (ROOT / file).read_text().splitlines()
            code = source[int(line) - 1] if int(line) <= len(source) else ""
            say(re.search(WAITS, code), f"{name} names {file}:{line}, and nothing waits there: make pictures")
    for chapter in text.split("\n## "):
        drawn = " ".join((ROOT / name).read_text() for name in re.findall(r"!\[[^\]]*\]\(([\w/-]+\.svg)\)", chapter))
        for label in re.findall(r'"([\d.]+ m?s\s+at\s+most)"', chapter):
            seen = re.sub(r"\s+|<[^>]*>", " ", drawn)
            say(re.search(rf"\b{' '.join(label.split())}", " ".join(seen.split())),
                f"{label}: no picture of the chapter says so")


def cases(text):
    """What is said of servers that are not run here, because they need more packages, is what "make cases" wants."""
    blocks = re.findall(r'<!-- not run: [^\n]*CASES="([^"]*)"[^\n]*\n```sh\n.*?```\n```text\n(.*?)```', text, re.S)
    say(len(blocks) >= 1, "no block names its cases: does this test still see them?")
    for names, shown in blocks:
        lines = shown.splitlines()
        say(len(lines) == len(names.split()), f"there is not a line for each of these cases: {names}")
        for name, line in zip(names.split(), lines):
            for pattern in CASES[name].must:
                say(re.search(re.sub(r"{\w+}", r"\\d+", pattern), line), f"the case {name} wants other words: {line}")


def gallery(text):
    """The bugs that the text names are in the gallery."""
    named = {name for names in re.findall(r'make\s+bugs?\s+NAME=("[^"]+"|[\w-]+)', text)
             for name in names.strip('"').split()}
    say(len(named) >= 10, f"only {len(named)} bugs are named: does this test still see them?")
    for name in sorted(named):
        say((ROOT / "tests/servers/bugs" / f"{name}.bug").exists(), f"{name}: the gallery has no such bug")


def exercises(text):
    """Each exercise is told of in the chapter to which the judge sends its reader."""
    run = subprocess.run([ROOT / "tests/judge.py", "exercise"], stdout=subprocess.PIPE, universal_newlines=True)
    found = re.findall(r"(?m)^([\w-]+) .*\n +tutorial.md, line (\d+): ", run.stdout)
    say(len(found) >= 8, f"only {len(found)} exercises were found: does this test still see them?")
    for name, line in found:
        chapter = "\n".join(text.splitlines()[int(line):]).split("\n## ")[0]
        say(re.search(rf"NAME={name}\b|`{name}`", chapter),
            f"the exercise {name} is not told of in the chapter of line {line}")


def readable(text):
    """The path can be walked in an hour."""
    words = length.count(length.path_of(text))
    say(2000 < words <= length.MOST_ON_THE_PATH, f"the path has {words} words")


def static(text):
    chapters = markdown.read(text)
    readable(text)
    quotations(chapters, text.splitlines())
    links(text)
    links_elsewhere()
    experiments(text)
    pictures(text)
    cases(text)
    gallery(text)
    exercises(text)
    tables = subprocess.run(tool.module("bench.tables", "--check"), cwd=ROOT)
    say(tables.returncode == 0, "the tables")
    return chapters


# ---- commands

def wrong(commands, shown):
    """Return what is wrong with the output of a block of commands, or None."""
    lines, words = shown.splitlines(), older_systems.differences(commands.befores)[0]
    for block in commands.outputs:
        expected = [older_systems.translate(line, words) for line in block.lines]
        found = output.difference(expected, lines)
        if found:
            return f"line {block.line}: {found}"
        spoiled = [*expected[:-1], expected[-1] + " x"]
        if block.lines[-1].strip() != output.ELISION and not output.difference(spoiled, lines):
            return f"line {block.line}: wrong output would not be noticed"
    for pattern in commands.expectations:
        if not re.search(older_systems.translate(pattern, words), shown, re.M):
            return f"line {commands.block.line}: the output does not match: {pattern}"
    if re.search(r"command not found|No such file or directory|Address already in use", shown) and not (
            commands.outputs or commands.expectations):
        return f"line {commands.block.line}: a command failed"
    return None


def try_chapter(blocks):
    """Type the commands of a chapter. Return (how many blocks hold, what is wrong)."""
    shell, number = session.Session(), 0
    try:
        shell.type("port=0; url=http://127.0.0.1:$port")
        for number, commands in enumerate(blocks):
            shown = "".join(map(shell.type, commands.block.lines))
            problem = wrong(commands, shown)
            if problem:
                return number, f"{problem}\n    {shown.strip()}".replace("\n", "\n    ")
        number, left = len(blocks), shell.jobs()
        return number, f"it leaves this running: {left}" if left else None
    except Failed as failure:
        return number, str(failure)
    finally:
        shell.close()


def run_chapter(chapter):
    blocks = []
    for commands in markdown.commands(chapter):
        reason = older_systems.differences(commands.befores)[1]
        if reason:
            print(f"not run: line {commands.block.line}, because {reason}", flush=True)
        else:
            blocks.append(commands)
    if not blocks:
        return
    write(f"  {chapter.title}: {len(blocks)} blocks of commands")
    tick(write)
    # A machine that stops for a second can spoil what is said of who waits, but cannot make a wrong text right.
    for number in range(1, TRIES + 1):
        began = time.monotonic()
        held, problem = try_chapter(blocks)
        if not problem:
            break
        if number < TRIES:
            print(f"\nagain: {chapter.title}, try {number + 1} of {TRIES}: {problem.splitlines()[0]}", flush=True)
            time.sleep(2)
    tick(None)
    print(f", {time.monotonic() - began:.0f} s", flush=True)
    Count.passed += held
    say(not problem, f"{chapter.title}: {problem}")


def readme():
    """The table of verdicts in README is what `make latency` prints."""
    shown = re.search(r"(?ms)^```text\n(server .*?)^```$", (ROOT / "README.md").read_text(encoding="utf-8"))
    expected = [output.ELISION, *shown[1].splitlines(), output.ELISION]
    for _ in range(TRIES):
        run = subprocess.run([ROOT / "tests/latency.py"], stdout=subprocess.PIPE, universal_newlines=True)
        problem = output.difference(expected, run.stdout.splitlines())
        if not problem:
            break
    say(not problem, f"README.md: {problem}\n{run.stdout}")


def main(arguments):
    parser = Parser(description=__doc__, usage="%(prog)s [--static] [CHAPTER]...")
    parser.add_argument("--static", action="store_true", help="run no commands")
    parser.add_argument("chapters", nargs="*", metavar="CHAPTER", help="run only chapters whose title begins so")
    options = parser.parse_args(arguments)
    text = TEXT.read_text(encoding="utf-8")
    for words in options.chapters:
        if not any(chapter.title.startswith(words) for chapter in markdown.read(text)):
            parser.error(f"{words}: no chapter begins so")
    chapters = static(text)
    if not options.static:
        build = subprocess.run(["make", "-s", "BUILD=build", *PROGRAMS], cwd=ROOT)
        if build.returncode != 0:
            raise Failed("the programs cannot be built")
        for chapter in chapters:
            if not options.chapters or chapter.title.startswith(tuple(options.chapters)):
                run_chapter(chapter)
        if not options.chapters:
            readme()
    return summed_up()


if __name__ == "__main__":
    tool.run(main)
