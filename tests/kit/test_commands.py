"""Do the commands of the Makefile take what a reader gives them for what it is, and are they all listed?"""
import re
import subprocess
import unittest

from kit import tool, unittests
from kit.tree import ROOT

# Each would leave a file if a shell, or make, ran what it says.
STRANGE = ["a b;touch {0};$(touch {0})`touch {0}`\"$(shell touch {0})|touch {0}", "it's; touch {0}; '"]


def make(*words):
    return subprocess.run(["make", "-s", *words], cwd=ROOT, capture_output=True, text=True, timeout=60)


class Commands(unittest.TestCase):
    def test_value_is_never_run_by_a_shell(self):
        trace = tool.scratch() / "ran"
        for command, variable in [("start LIKE=05-epoll", "STAGE"), ("start STAGE=07-x", "LIKE"), ("check", "STAGE"),
                                  ("hint", "STAGE"), ("solution", "STAGE"), ("exercise", "NAME"), ("bugs", "NAME"),
                                  ("case", "CASE"), ("case", "STAGE"), ("cases", "CASES")]:
            for strange in STRANGE:
                value = strange.format(trace)
                with self.subTest(f"make {command} {variable}={value}"):
                    made = make(*command.split(), f"{variable}={value}")
                    self.assertRegex(made.stderr, r"(?m)^(judge|bugs|run|test_cases)\.py: ")
                    self.assertNotIn("Traceback", made.stderr)
                    self.assertEqual(made.returncode, 2)
                    self.assertFalse(trace.exists())

    def test_object_is_built_again_when_a_flag_changes(self):
        folder = tool.scratch() / "flags"
        objects = []
        for flags in ["-O0", "-O0 -DANOTHER", "-O0 -DANOTHER"]:
            made = make(f"BUILD={folder}", f"CFLAGS={flags}", f"{folder}/obj/common/table.o")
            self.assertEqual((made.stderr, made.returncode), ("", 0))
            objects.append((folder / "obj/common/table.o").stat().st_mtime_ns)
        self.assertNotEqual(objects[0], objects[1])
        self.assertEqual(objects[1], objects[2])

    def test_no_program_that_is_built_is_also_a_command(self):
        programs = re.search(r"^TEST_PROGRAMS := (.*)$", make("-pn", "help").stdout, re.M)[1].split()
        self.assertIn("hold", programs)
        named = re.findall(r"^  make (\S+)", make("help").stdout, re.M)
        self.assertEqual(set(programs) & set(named), set())

    def test_help_lists_every_command_once(self):
        listed = re.findall(r"^  make (\S+) +\S", make("help").stdout, re.M)
        self.assertEqual(len(listed), len(set(listed)))
        for name in ["all", "latency", "test", "start", "check", "bugs", "lint", "scale", "tutorial", "deps"]:
            self.assertIn(name, listed)

    def test_gallery_is_listed_with_a_line_for_each_bug(self):
        bugs = sorted(path.stem for path in (ROOT / "tests/servers/bugs").glob("*.bug"))
        lines = make("bug").stdout.splitlines()
        self.assertEqual([line.split()[0] for line in lines], bugs)
        wrong = make("bug", "NAME=no-such")
        self.assertTrue(wrong.stderr.startswith("bugs.py: no-such: no such bug in tests/servers/bugs\n"), wrong.stderr)

    def test_command_runs_although_a_file_has_its_name(self):
        named = re.findall(r"^  make (\S+)", make("help").stdout, re.M)
        phony = set(make("-pn", "help").stdout.partition("\n.PHONY: ")[2].partition("\n")[0].split())
        self.assertEqual([name for name in named if name not in phony], [])

    def test_text_names_only_commands_that_exist(self):
        listed = set(re.findall(r"^  make (\S+)", make("help").stdout, re.M))
        for name in ["README.md", "tutorial.md", "tests/README.md", ".github/CONTRIBUTING.md"]:
            text = (ROOT / name).read_text()
            for words in re.findall(r"(?:`|^ *)make((?:\s+[a-z][a-z-]*)+)(?=[^\w-])", text, re.M):
                with self.subTest(f"{name}: make{words}"):
                    self.assertLessEqual(set(words.split()), listed | {"probe"})


if __name__ == "__main__":
    tool.run(unittests.main)
