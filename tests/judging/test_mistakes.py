"""Is each mistake that readers make stopped, and does a hint name it, or else keep silent?

mistakes.txt has them. Each is planted in a stage or a program of its own, in a copy of the tree. Without names and
without --all, a dozen of them are. The last line counts the hints that name the mistake, those that name none, and
those that name another; at most one in ten may do that.
"""
import argparse
import concurrent.futures
import pathlib
import re

from judging import ladder, skeleton
from judging.test_judge import Command, clean_tree
from judging.test_program import RIGHT
from kit import tool
from kit.commandline import Parser, whole_number
from kit.errors import Failed
from kit.report import bad, good
from kit.tree import ROOT
from servers.bugs.bug import Bug

HERE = pathlib.Path(__file__).resolve().parent
INCLUDES = "errno.h signal.h stdio.h stdlib.h string.h unistd.h".split()
SAMPLE = """no-del always-add edge-for-clients eintr-dies polls-every-10-ms hang-up-skipped closes-twice
            sleeps-by-select exits-on-sigterm ignores-sigterm urgent-data-too nonblocking-client memory-unchecked
            not-detached leaves-at-the-half-close""".split()


class Mistake(Bug):
    """One of mistakes.txt, in a stage or in a program of test_program."""

    def __init__(self, stage, name, text):
        self.stage, self.name = stage, name
        head, *parts = re.split(r"^(?=Replace|Delete)", text, flags=re.M)
        self.falls, self.hint, self.wrong = re.fullmatch(r"Falls: (.*)\nHint: +(.*)\nNot: +(.*)\n", head).groups()
        self.replacements = [self.replacement(part) for part in parts]

    def text(self, right):
        """Return what is right, with it."""
        files = {"server.c": right}
        for part in self.replacements:
            try:
                part.apply(files)
            except Failed as failed:
                raise Failed(f"mistakes.txt, {self.stage} {self.name}: {failed}") from None
        return files["server.c"]


def read():
    """Return all mistakes."""
    text = (HERE / "mistakes.txt").read_text()
    return [Mistake(*found) for found in re.findall(r"^== (\S+) (\S+)\n(.*?)(?=^== |\Z)", text, re.M | re.S)]


def plant(mistake, number):
    """Make a stage with it, or a program. Return the words that name that to the judge."""
    name = f"{10 + number % 90}-m{number}"
    folder = clean_tree() / name
    folder.mkdir()
    if mistake.stage in RIGHT:
        like, command = RIGHT[mistake.stage]
        *words, right = command.split()
        (folder / "server").write_text(mistake.text((ROOT / right).read_text()))
        return [name, "--like", like, "--program", " ".join([*words, f"{name}/server"])]
    text = "".join(f"#include <{header}>\n" for header in INCLUDES)
    (folder / "server.c").write_text(text + mistake.text(skeleton.whole(name, mistake.stage)))
    (folder / "like").write_text(mistake.stage + "\n")
    return [name]


def judged(words):
    """Return what the judge says of a server, and all its hints."""
    check = Command(clean_tree(), "tests/judge.py", "check", *words).finish()
    hints = ""
    while check.status and "That was the last hint" not in hints:
        hints = Command(clean_tree(), "tests/judge.py", "hint", *words).finish().out
    return check, hints


def verdict(mistake, check, hints):
    """Return where it fell, whether that is one of its rungs, and what its hint was: right, silent or wrong."""
    key = fallen_key(check)
    text = " ".join(hints.partition("\n\n")[2].split())  # without the title of the rung, and the names of cases
    shown = re.search(r"^   - .*;$|common/connections\.c", hints, re.M)  # the solution
    if shown or mistake.wrong != "-" and re.search(mistake.wrong, text):
        hint = "wrong"
    else:
        hint = "right" if mistake.hint == "any" or re.search(mistake.hint, text) else "silent"
    return key, key in mistake.falls.split(), hint


def fallen_key(check):
    title = check.fell()
    found = [rung.key for rung in ladder.LADDER if rung.title == title]
    return found[0] if found else "nowhere" if check.status == 0 else "?"


def main(arguments):
    parser = Parser(description=__doc__, usage="%(prog)s [OPTION]... [NAME]...")
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--all", action="store_true", help="plant all of them: most of an hour")
    parser.add_argument("--lanes", type=whole_number(1, 64), default=2, metavar="N",
                        help="so many judges at a time (2)")
    parser.add_argument("--verbose", action="store_true", help="print what the judge says of each")
    options = parser.parse_args(arguments, argparse.Namespace())
    known = read()
    unknown = set(options.names) - {mistake.name for mistake in known}
    if unknown:
        parser.error(f"{unknown.pop()}: no such mistake in mistakes.txt")
    wanted = options.names or (None if options.all else SAMPLE)
    chosen = [mistake for mistake in known if wanted is None or mistake.name in wanted]
    return run(chosen, options)


def run(chosen, options):
    counts, missed = dict.fromkeys(("right", "silent", "wrong"), 0), []
    clean_tree()
    planted = [plant(mistake, number) for number, mistake in enumerate(chosen)]
    with concurrent.futures.ThreadPoolExecutor(options.lanes) as pool:
        for mistake, (check, hints) in zip(chosen, pool.map(judged, planted)):
            key, stopped, hint = verdict(mistake, check, hints)
            if mistake.falls != "nowhere":
                counts[hint] += 1
            missed += [] if stopped else [mistake.name]
            said = "" if stopped else bad(f"want {mistake.falls}")
            mark = {"right": good, "wrong": bad}.get(hint, str)
            print(f"  {mistake.stage:12} {mistake.name:34} {key:12} {mark(f'{hint:7}')} {said}".rstrip(), flush=True)
            if options.verbose or not stopped or hint == "wrong":
                print(check.out + hints)
    total = sum(counts.values())
    print(f"{len(chosen) - len(missed)} of {len(chosen)} as expected. Hints: {counts['right']} right, "
          f"{counts['silent']} name none, {counts['wrong']} name another mistake.")
    return 1 if missed or counts["wrong"] * 10 > total else 0


if __name__ == "__main__":
    tool.run(main)
