"""Is the judge fair? It must praise what is right, name what is wrong, and see through a server that lies.

Everything happens in a copy of the tree. --gallery plants each bug of tests/servers/bugs in a solution, not just a
few of them: some minutes.
"""
import argparse
import itertools
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time
import unittest

from judging import copies, exercises, hints, ladder, skeleton
from judging.copies import environment, make
from judging.lying_server import LIES
from kit import processes, tool, unittests
from kit import tree as kit_tree
from kit.commandline import Parser
from kit.errors import Failed
from kit.processes import PIPES
from kit.servers import Server
from kit.tree import ROOT
from servers.bugs.bug import Bug, every_name
from suite.cases import all_cases
from suite.server import Stage

HERE = pathlib.Path(__file__).resolve().parent

URING = Stage("07-uring", "07-uring", [])
FORBIDDEN = ladder.forbidden(URING)
STAGES = [stage for stage in skeleton.CUTS if stage != "07-uring" or not FORBIDDEN]
LANES = 8  # judges that work simultaneously: they mostly wait
numbers = itertools.count(10)
options = argparse.Namespace(gallery=False)


# ---- a copy of the tree

def copy_tree(source, name):
    return copies.copy_tree(tool.scratch() / name, source)


_tree = None


def clean_tree():
    """Return the copy that all tests share that do not touch common/."""
    global _tree
    if _tree is None:
        _tree = copy_tree(ROOT, "tree")
        # What judges share that work simultaneously is built before they do.
        make(_tree, "probe", "check_http", "check_connections", "build/turn/05-epoll")
        make(_tree, "BUILD=build/asan", "SANITIZE=address", "02-threaded", "05-epoll")
        make(_tree, "BUILD=build/tsan", "SANITIZE=thread", "02-threaded")
    return _tree


def write_stage(tree, like, text=None):
    """Make a stage of a new number, and return its name. Without a text, what the skeleton leaves out is put
    back."""
    name = f"{next(numbers)}-{like[3:]}"
    (tree / name).mkdir()
    (tree / name / "server.c").write_text((text or skeleton.whole(name, like)).replace("NAME", name))
    (tree / name / "like").write_text(like + "\n")
    return name


class Command:
    """A command that runs in a tree. out is what it has printed, to stderr, too."""

    def __init__(self, tree, *words):
        self.words, self.out = words, None
        self.process = processes.start([str(tree / words[0]), *words[1:]], cwd=tree, env=environment(), text=True,
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def finish(self):
        if self.out is None:
            self.out, _ = processes.finish(self.process)
        return self

    @property
    def status(self):
        return self.finish().process.returncode

    def rungs(self):
        """Return the titles of the rungs, each with its result."""
        lines = re.findall(r"^  (ok|FAIL|--) +(.*?)  +", self.finish().out, re.M)
        return {title: result for result, title in lines}

    def fell(self):
        """Return the title of the rung that failed, or None."""
        return next((title for title, result in self.rungs().items() if result == "FAIL"), None)


def judge(*words, tree=None):
    return Command(tree or clean_tree(), "tests/judge.py", *words)


def together(commands):
    """Run commands, given as functions that start them, a few at a time. Return them when they have ended."""
    waiting, started = list(commands), []
    while waiting or any(command.process.poll() is None for command in started if command.out is None):
        running = [command for command in started if command.out is None]
        for command in running:
            if command.process.poll() is not None:
                command.finish()
        while waiting and len([command for command in started if command.out is None]) < LANES:
            started.append(waiting.pop(0)())
        time.sleep(0.05)
    return [command.finish() for command in started]


def title(key, kind="05-epoll"):
    kinds = {kind, Stage(kind, kind, []).kind}
    return next(rung.title for rung in ladder.LADDER if rung.key == key and kinds & set(rung.models.split()))


# ---- tests

class Skeleton(unittest.TestCase):
    def test_skeleton_compiles_and_answers_nobody(self):
        names = [f"{next(numbers)}-{like[3:]}" for like in STAGES]
        for name, like in zip(names, STAGES):
            started = judge("start", name, "--like", like)
            self.assertEqual(started.status, 0, started.out)
        checks = together([lambda name=name: judge("check", name) for name in names])
        for check in checks:
            self.assertEqual((check.status, check.fell()), (1, title("fast")), check.out)
            self.assertEqual(check.rungs()[title("build")], "ok")
        out = judge("hint", names[0]).finish().out
        self.assertIn("still to be written", out)

    def test_what_is_cut_out_is_not_in_the_skeleton(self):
        for like, call in zip(STAGES, ["accept4(", "pthread_create(", "pselect(", "ppoll(", "epoll_pwait(",
                                     "ev_io_init(", "IORING_OP_ACCEPT"]):
            text = skeleton.skeleton("07-x", like)
            self.assertIn(call, skeleton.whole("07-x", like))
            self.assertNotIn(call, re.sub(r"/\*.*?\*/", "", text, flags=re.S))
            self.assertEqual(len(skeleton.unwritten(text)), len(skeleton.CUTS[like]))

    def test_what_a_comment_names_is_there(self):
        headers = "".join(path.read_text() for path in (ROOT / "common").glob("*.h"))
        for like in STAGES:
            for cut in skeleton.CUTS[like]:
                for name in re.findall(r"\b[a-z]+_[a-z0-9_]+\b(?!\(\d\))", cut.task):  # no manual pages
                    self.assertTrue(re.search(rf"\b{name}\b", skeleton.source(like) + headers), name)

    def test_written_is_what_has_no_stub_any_more(self):
        text = skeleton.skeleton("07-x", "05-epoll")
        written = text.replace(f"/* {skeleton.UNTIL} */\n    (void)fd", "(void)fd")
        self.assertEqual((len(skeleton.unwritten(text)), len(skeleton.unwritten(written))), (2, 1))

    def test_start_leaves_a_file_alone(self):
        name = write_stage(clean_tree(), "04-poll", "mine\n")
        started = judge("start", name, "--like", "05-epoll")
        self.assertEqual((started.status, (clean_tree() / name / "server.c").read_text()), (1, "mine\n"))
        self.assertIn("left as it is", started.out)

    def test_a_place_that_is_gone_is_named(self):
        tree = copy_tree(ROOT, "renamed")
        for like, old, new, said in [
                ("05-epoll", "bool watch(", "bool look(", "watch is not found"),
                ("03-select", "while (connections_remain()) {", "do {", "loop is not found"),
                ("01-blocking", '"01-blocking"', "NAME", '"01-blocking", the name of the stage, is not'),
                ("04-poll", "/* 04: ", "/* Four: ", "a comment at its head, with the number of the stage")]:
            path = tree / like / "server.c"
            path.write_text(path.read_text().replace(old, new))
            started = judge("start", f"{next(numbers)}-x", "--like", like, tree=tree)
            self.assertEqual(started.status, 1)
            self.assertIn(said, started.out)

    def test_wrong_command_line_is_a_line_that_says_why(self):
        name = "want two digits and a word, such as 07-mine"
        url = "want http://HOST[:PORT] with a PORT up to 65535, and no path"
        for words, said in [(["start", "07-x"], "start: want --like STAGE (with make: LIKE=05-epoll)"),
                            (["start", "05-x", "--like", "05-epoll"], "05-x: 00 to 06 belong to the toolkit; "
                             "want 07 or more"),
                            (["start", "7-x", "--like", "05-epoll"], f"7-x: {name}"),
                            (["start", "../07-x", "--like", "05-epoll"], f"../07-x: {name}"),
                            (["check", "07-x", "--program", "http://127.0.0.1:x"],
                             f"http://127.0.0.1:x: {url}"),
                            (["check"], "check: which STAGE? such as 07-mine"),
                            (["check", "07-x", "--program", "foo 'bar"], "--program foo 'bar: no closing quotation"),
                            (["check", "07-x", "--program", "http://127.0.0.1:99999"],
                             f"http://127.0.0.1:99999: {url}"),
                            (["check", "07-x", "--like", "x"], "--like x: want one of " +
                             ", ".join(STAGES)),
                            (["climb", "07-x"],
                             "climb: want one of start, check, hint, solution, exercise, contract, grade")]:
            command = judge(*words)
            self.assertEqual((command.status, command.out), (2, f"judge.py: {said}\n"))


class Ladder(unittest.TestCase):
    def test_what_is_cut_out_put_back_passes_all(self):
        tree = clean_tree()
        names = [write_stage(tree, like) for like in STAGES]
        for check in together([lambda name=name: judge("check", name) for name in names]):
            self.assertEqual((check.status, set(check.rungs().values()) - {"--"}), (0, {"ok"}), check.out)
        for name in names:
            solution = judge("solution", name)
            self.assertEqual((solution.status, solution.out), (0, ""))

    def test_solution_is_not_told_before_the_top(self):
        name = f"{next(numbers)}-x"
        self.assertEqual(judge("start", name, "--like", "05-epoll").status, 0)
        solution = judge("solution", name)
        self.assertEqual(solution.status, 1)
        self.assertIn("is not at the top of the ladder yet", solution.out)
        self.assertNotIn("epoll_pwait(", solution.out)

    def test_a_warning_fails_every_time(self):
        text = skeleton.whole("NAME", "05-epoll").replace("    while (connections_remain",
                                                          "    int unused;\n    while (connections_remain")
        name = write_stage(clean_tree(), "05-epoll", text)
        for _ in range(2):
            check = judge("check", name).finish()
            self.assertEqual(check.fell(), title("build"), check.out)
            self.assertIn("unused", check.out)

    def test_what_was_done_can_be_repeated(self):
        """The commands that a failure shows make the same server fail."""
        text = skeleton.whole("NAME", "05-epoll").replace("op = EPOLL_CTL_DEL;", "abort();")
        name = write_stage(clean_tree(), "05-epoll", "#include <stdlib.h>\n" + text)
        check = judge("check", name).finish()
        self.assertIn(check.fell(), (title("fast"), title("slow")), check.out)
        did = re.search(r"did: +(.*?)\n +expected:", check.out, re.S)[1].splitlines()
        script = "\n".join(line.strip() for line in did).replace("8000", "$port")
        script = script.replace("& server", "--port $port & server").replace("curl", "sleep 0.5; curl -s")
        script = f"ulimit -c 0; port=$((20000 + $$ % 10000)); {script}\nwait $server; echo $?"
        repeated = processes.start(["bash", "-c", script], cwd=clean_tree(), **PIPES)
        out, err = processes.finish(repeated)
        self.assertIn("134", out, err)  # 128 + SIGABRT

    def test_crash_and_endless_loop_are_reported_with_the_last_words(self):
        loop = "for (int i = 0; i < ready; i++)"
        cases = [
            (f'if (ready > 0) {{ fprintf(stderr, "I am lost\\n"); raise(SIGSEGV); }}\n        {loop}',
             ['the server has ended: killed by SIGSEGV', '"I am lost"', "AddressSanitizer: ", "server.c:"]),
            (f"while (ready > 0) ready += !ready;\n        {loop}", ["a busy loop"]),
            (f'while (ready > 0) puts("{"spam" * 100}");\n        {loop}',
             ["a busy loop", "it printed 16 MiB"])]
        names = []
        for change, _ in cases:
            text = skeleton.whole("NAME", "05-epoll").replace(loop, change)
            names.append(write_stage(clean_tree(), "05-epoll", "#include <stdio.h>\n" + text))
        checks = together([lambda name=name: judge("check", name) for name in names])
        for check, (_, said) in zip(checks, cases):
            self.assertEqual(check.fell(), title("fast"), check.out)
            for words in said:
                self.assertIn(words, check.out)
        self.assertEqual(processes_of(clean_tree()), [])

    def test_interrupted_judge_leaves_no_process(self):
        name = write_stage(clean_tree(), "05-epoll")
        check = judge("check", name)
        self.assertTrue(processes.wait_until(lambda: processes_of(clean_tree() / "build" / name)))
        check.process.terminate()
        self.assertEqual(check.status, 128 + 15)
        self.assertEqual(processes_of(clean_tree() / "build" / name), [])


def processes_of(path):
    """Return the processes whose program is below a path."""
    found = []
    for entry in pathlib.Path("/proc").glob("[0-9]*/exe"):
        try:
            program = os.readlink(entry)
        except OSError:
            continue
        if program == str(path) or program.startswith(f"{path}/"):
            found.append(program)
    return found


class Liars(unittest.TestCase):
    """Another program, in another language."""
    CAUGHT = {None: None, "reads-all": "slow-reader", "drain": "signals", "deaf": "signals",  # what takes long
              "spins": "leaving", "dies": "leaving", "patient": "silent", "swallows": "pipelining",
              "closes": "keep-alive", "fourth": "clients", "early": "slow", "body": "fast",
              "elsewhere": "listen", "until-close": "keep-alive", "endless": "fast"}
    SAID = {"elsewhere": r"it listens on \d+, not on --port",
            "until-close": "the server has closed the connection without a response",
            "endless": '"HTTP/1.1 200 OK.*", without a Content-Length, so it ends with the connection, which stays'}

    def test_honest_program_passes_and_each_liar_is_caught(self):
        self.assertEqual(set(LIES), set(self.CAUGHT) - {None})
        programs = [f"{sys.executable} tests/judging/lying_server.py {lie or ''}" for lie in self.CAUGHT]
        checks = together([lambda program=program: judge("check", "05-epoll", "--program", program)
                           for program in programs])
        for check, key in zip(checks, self.CAUGHT.values()):
            self.assertEqual(check.fell(), key and title(key), check.out)
            self.assertEqual(check.status, 1 if key else 0)
        for lie, said in self.SAID.items():
            self.assertRegex(checks[list(self.CAUGHT).index(lie)].out, said)

    def test_server_at_a_url(self):
        make(clean_tree(), "05-epoll", "01-blocking")
        for like, model, status in [("05-epoll", "05-epoll", 0), ("01-blocking", "05-epoll", 1)]:
            with Server(like, "--delay", "0.4", program=clean_tree() / "build" / like) as server:
                check = judge("check", model, "--program", server.url)
                self.assertEqual(check.status, status, check.out)

    def test_io_uring_may_be_forbidden(self):
        number, ladder.SYS_IO_URING_SETUP = ladder.SYS_IO_URING_SETUP, 9999
        try:
            self.assertEqual(ladder.forbidden(URING), "io_uring_setup: Function not implemented")
            self.assertIsNone(ladder.forbidden(Stage("05-epoll", "05-epoll", [])))
        finally:
            ladder.SYS_IO_URING_SETUP = number

    def test_make_passes_all_on(self):
        """A program whose command has quotes and blanks; the model; and to go on after a failure."""
        tree, program = clean_tree(), f"{sys.executable} -c 'import sys; sys.exit(3)'"
        check = Command(tree, shutil.which("make"), "-s", "check", "STAGE=07-other", "LIKE=04-poll", "ALL=1",
                        f"PROGRAM={program}").finish()
        self.assertIn(f"07-other: {program}, by the model of 04-poll\n", check.out)
        self.assertIn("make hint STAGE=07-other LIKE=04-poll PROGRAM=", check.out)
        self.assertEqual(set(check.rungs().values()), {"FAIL", "--"}, check.out)
        self.assertGreater(list(check.rungs().values()).count("FAIL"), 5)

    def test_program_that_is_not_there(self):
        check = judge("check", "05-epoll", "--program", "/nowhere/server")
        self.assertEqual(check.status, 1)
        self.assertIn("judge.py: cannot start /nowhere/server: No such file or directory", check.out)


class Mistakes(unittest.TestCase):
    """See also test_mistakes.py."""

    def test_the_work_of_another_stage_falls_at_the_model(self):
        """04's file as a 05, and a file that lets 05's do it, under its own name."""
        renamed = '#define options_parse(count, words, name, with) options_parse(count, words, "NAME", with)\n'
        for text, said in [(skeleton.whole("NAME", "04-poll"), "which calls ppoll"),
                           (f'#include "common/options.h"\n{renamed}#include "05-epoll/server.c"\n',
                            "it includes 05-epoll/server.c")]:
            check = judge("check", write_stage(clean_tree(), "05-epoll", text)).finish()
            self.assertEqual(check.fell(), title("model"), check.out)
            self.assertIn(said, check.out)

    def test_a_function_may_be_unused_while_something_is_still_to_be_written(self):
        text = skeleton.skeleton("NAME", "02-threaded")
        self.assertIn("(void)any_client, ", text)
        name = write_stage(clean_tree(), "02-threaded", text.replace("(void)any_client, ", ""))
        check = judge("check", name).finish()
        self.assertEqual((check.fell(), check.rungs()[title("build")]), (title("fast", "02-threaded"), "ok"), check.out)

    def test_program_gets_hints_without_c(self):
        for program, said in [("/bin/false", "has ended: exit status 1"),
                              (f"{sys.executable} tests/judging/lying_server.py closes",
                               "got: +HTTP/1.1 200 OK, Connection: close")]:
            check = judge("check", "05-epoll", "--program", program).finish()
            self.assertRegex(check.out, said)
            out = all_hints("05-epoll", "--program", program)
            self.assertIsNone(re.search("epoll_|watch|connections|[.]patch", out), out)


def all_hints(*words, tree=None):
    out = ""
    while not re.search("That was the last hint|nothing to hint at", out):
        hint = judge("hint", *words, tree=tree).finish()
        if hint.status != 0:
            raise Failed(hint.out)
        out = hint.out
    return out


class Hints(unittest.TestCase):
    def test_every_rung_of_every_stage_has_hints(self):
        unit = "".join(path.read_text() for path in (ROOT / "tests/servers/unit").glob("*.c"))
        names = {*all_cases(), *re.findall(r"START_TEST\((\w+)\)", unit)}
        text = (ROOT / "tutorial.md").read_text().splitlines()
        about = {"descriptors": "EMFILE", "leaving": "reset", "memory": "pthread_join", "threads": "EAGAIN",
                 "numbers": "FD_SETSIZE"}
        for like in STAGES:
            stage = Stage(like, like, [], in_tree=True)
            for rung in ladder.LADDER:
                if rung.reason_to_skip(stage) is None:
                    self.assertGreaterEqual(len(hints.steps(stage, rung, [*rung.cases, *rung.also])), 2)
                    self.assertLessEqual({*rung.cases, *rung.also}, names)
                    line = int(re.search("^tutorial.md, line ([0-9]+): ", hints.section(rung, stage))[1])
                    chapter = "\n".join(text[line - 1:]).partition("\n## ")[0]
                    self.assertTrue(about.get(rung.key, "") in chapter, f"{rung.key} of {like}: line {line}")

    def test_what_a_hint_names_is_there(self):
        """Each function and constant is in the code, or in the file that the hint names, and so is a quotation."""
        code = {path: path.read_text() for folder in ("common", "tests/judging", *kit_tree.STAGES)
                for path in (ROOT / folder).glob("*.[ch]")}
        known = set(re.findall(r"\w+", " ".join(code.values())))
        texts = [(HERE / name).read_text() for name in ("hints.txt", "exercises.txt")]
        texts += [f"{bug.mistake} {bug.symptom}" for bug in map(Bug, every_name())]
        for text in (" ".join(text.split()) for text in texts):
            names = set(re.findall(r"\b(?!ev_)[a-zA-Z]+_\w+\b(?!\(\d\))", text))  # no manual pages
            self.assertEqual(names - known, set())
            places = re.findall(r"(\w+_\w+) in (?:common/)?(\w+\.[ch])\b", text)
            places += re.findall(r"([^.;:]+), in (\w+\.[ch])\b", text)
            places += [(names, file) for file, names in
                       re.findall(r"common/(\w+\.[ch]): ((?:\w+_\w+(?:, | and )?)+)", text)]
            for names, file in places:
                there = set(re.findall(r"\w+", code[ROOT / "common" / file]))
                self.assertEqual(set(re.findall(r"\w+", names)) - {"and"} - there, set(), file)
            for file, quoted in re.findall(r'common/(\w+\.[ch]): "(.*?)\.?"', text):
                self.assertIn(quoted, re.sub(r"\s+(\* )?", " ", code[ROOT / "common" / file]))

    # What came says it all, and the hint asks for it, without the name of the bug.
    ASKED = {"address-of-a-loop-variable": "or another one before that",  # if one of two threads was so early
             "eintr-is-an-error": "A signal has ended the wait",
             "errno-of-pthread-create": "pthread_create(3): it returns EAGAIN, and does not set errno",
             "revents-compared": "For which of them does your loop call connections_ready"}

    def test_planted_bug_is_named(self):
        sample = ["keep-alive-in-01", "sigpipe-blocking", "address-of-a-loop-variable", "select-and-one",
                  "fd-set-overflow", "hang-up-spin-poll", "lost-signal", "emfile-spin"]
        bugs = [Bug(name) for name in (every_name() if options.gallery else sample)]
        bugs = [bug for bug in bugs if bug.sanitizer != "thread"]  # no rung sees a race
        planted = [plant(bug) for bug in bugs]
        checks = together([lambda tree=tree, name=name: judge("check", name, tree=tree)
                           for tree, name in planted])
        for bug, (tree, name), check in zip(bugs, planted, checks):
            with self.subTest(bug=bug.name):
                for again in (False, True):  # by chance, some mistakes show themselves at another rung
                    check = judge("check", name, tree=tree).finish() if again else check
                    out = all_hints(name, tree=tree)
                    print(f"    {bug.name:32} {check.fell()}")
                    words, mistake = " ".join(out.split()), f"{bug.name}: {bug.mistake}"
                    named = mistake in words or self.ASKED.get(bug.name, mistake) in words
                    if named:
                        break
                self.assertTrue(named, check.out + out)


def plant(bug):
    """Put a bug into a solution. Return the tree and the name of the stage."""
    caught = sorted(where for where, _ in bug.catchers if where in kit_tree.STAGES)
    tree = clean_tree() if bug.stage else copy_tree(clean_tree(), bug.name)
    name = write_stage(tree, bug.stage or [*caught, "05-epoll"][0])
    bug.plant(tree, instead=name)
    return tree, name


class Exercises(unittest.TestCase):
    def test_each_asks_for_something_and_its_solution_passes(self):
        names = list(exercises.EXERCISES)
        trees = {name: copy_tree(clean_tree(), name) for name in names}
        checks = together([lambda name=name: judge("exercise", name, tree=trees[name]) for name in names])
        for check, name in zip(checks, names):
            self.assertEqual((check.status, list(check.rungs().values())), (1, ["ok", "FAIL"]), check.out)
            self.assertEqual(judge("solution", name, tree=trees[name]).status, 1)
            with open(exercises.EXERCISES[name].solution) as text:
                subprocess.run(["patch", "-s", "-p1"], cwd=trees[name], stdin=text, check=True)
        checks = together([lambda name=name: judge("exercise", name, tree=trees[name]) for name in names])
        for check, name in zip(checks, names):
            self.assertEqual((check.status, set(check.rungs().values())), (0, {"ok"}), check.out)
            solution = judge("solution", name, tree=trees[name]).finish()
            self.assertEqual(solution.out, exercises.EXERCISES[name].solution.read_text())

    def test_reader_is_sent_to_the_chapter_that_tells_of_it(self):
        for exercise in exercises.EXERCISES.values():
            for rung in exercise.rungs:
                self.assertEqual(hints.section(rung, exercise.stage()), hints.chapter(exercise.chapter))

    def test_what_takes_a_solution_back_takes_back_all_of_it(self):
        for name, exercise in exercises.EXERCISES.items():
            changed = re.findall(r"^--- a/(\S+)", exercise.solution.read_text(), re.M)
            left = [path for path in changed if not any(path.startswith(part) for part in exercise.files.split())]
            self.assertEqual(left, [], name)

    def test_half_a_solution_is_not_enough(self):
        """One queue for both delays; EPOLLET in the stage alone; memory that is freed too early."""
        solved = ["medium", "edge", "pointer"]
        trees = [copy_tree(clean_tree(), f"half-{name}") for name in solved]
        for tree, name in zip(trees, solved):
            with open(exercises.EXERCISES[name].solution) as text:
                subprocess.run(["patch", "-s", "-p1"], cwd=tree, stdin=text, check=True)
        for name, right, wrong in [
                ("conversation.c", "        enter(c, DOZING);", "        enter(c, SLEEPING);"),
                ("connections.c", "    TAILQ_INSERT_TAIL(&all.queues[state], c, link);",
                 "    if (http_is_medium(&c->conversation.request))\n"
                 "        c->deadline_ns -= all.options->delay_ns / 2;\n"
                 "    TAILQ_INSERT_TAIL(&all.queues[state], c, link);")]:
            path = trees[0] / "common" / name
            text = path.read_text()
            self.assertEqual(text.count(right), 1)
            path.write_text(text.replace(right, wrong))
        for name in ["connections.c", "conversation.c", "conversation.h"]:
            shutil.copy2(ROOT / "common" / name, trees[1] / "common")
        path = trees[2] / "05-epoll/server.c"
        late = "    SLIST_INSERT_HEAD(&gone, table[fd], link);\n"
        self.assertEqual(path.read_text().count(late), 1)
        path.write_text(path.read_text().replace(late, "    free(table[fd]);\n"))
        checks = together([lambda tree=tree, name=name: judge("exercise", name, tree=tree)
                           for tree, name in zip(trees, solved)])
        self.assertEqual([check.fell() for check in checks], ["/medium overtakes a /slow that came before it",
                                                              "clients are watched with EPOLLET, and served",
                                                              "an event of a connection that is closed in the same "
                                                              "turn harms nobody"])

    def test_hints_and_list(self):
        listed = judge("exercise").finish()
        self.assertEqual(listed.status, 0)
        for name, exercise in exercises.EXERCISES.items():
            self.assertIn(name, listed.out)
            for step in range(len(exercise.hints)):
                out = judge("hint", name).finish().out
                self.assertIn(f"{step + 1}. ", out)
            self.assertIn("That was the last hint", out)
        wrong = judge("exercise", "nothing")
        self.assertEqual(wrong.status, 2)
        self.assertIn("nothing: no such exercise; want one of keep-alive", wrong.out)


def main(arguments):
    parser = Parser(description=__doc__, usage="%(prog)s [OPTION]... [TEST]...")
    parser.add_argument("tests", nargs="*", metavar="TEST", help="Class.test, or a class")
    parser.add_argument("--gallery", action="store_true", help="plant each bug of tests/servers/bugs")
    parser.parse_args(arguments, options)
    tool.need("patch", "deps-tools")
    tool.need("curl", "deps-tutorial")
    if FORBIDDEN:
        print(f"07-uring cannot be judged here, and is skipped: {FORBIDDEN}")
    return unittests.main(options.tests)


if __name__ == "__main__":
    tool.run(main)
