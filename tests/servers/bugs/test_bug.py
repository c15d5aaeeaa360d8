"""Does each bug of the gallery fit today's code? Would it, if that code were moved and wrapped?"""
import re
import unittest
from unittest import mock

from kit import tool, unittests
from kit.errors import Failed
from kit.tree import ROOT
from servers.bugs import bug
from servers.bugs.bug import Bug, Replacement

CODE = """\
static int twice(int n)
{
    int sum = n + n; /* no overflow:
                      * n is small */
    return sum;
}

int thrice(int n)
{
    if (n > 0 && /* an alternative
                  * for "n > 0" */
        n < 9)
        return n + n + n;
    return sum;
}
"""


def planted(files, *replacement):
    files = dict(files)
    Replacement(*replacement).apply(files)
    return files


def other_layout(text):
    """Return the code without its comments, indented by tabs, and with broken after each comma and (."""
    text = bug.without_comments(text)
    text = re.sub(r"^ +", lambda blanks: "\t" * len(blanks[0]), text, flags=re.M)
    return re.sub(r"""("(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')|([(,]) ?(?=.*\).*$)""",
                  lambda found: found[1] or found[2] + "\n\t", text, flags=re.M)


class Gallery(unittest.TestCase):
    def test_each_bug_fits_todays_code(self):
        for name in bug.every_name():
            with self.subTest(name):
                self.assertTrue(Bug(name).changed(ROOT))

    def test_each_bug_fits_the_same_code_in_other_files_and_layout(self):
        today = bug.sources(ROOT)
        moved = {re.sub(r"(\w+\.[ch])$", r"other_\1", path): other_layout(text)
                 for path, text in today.items()}
        self.assertNotEqual(list(today.values()), list(moved.values()))
        for name in bug.every_name():
            with self.subTest(name), mock.patch("servers.bugs.bug.sources", lambda *_: moved):
                there = Bug(name).changed(ROOT)
            with self.subTest(name):
                here = Bug(name).changed(ROOT)
                self.assertEqual(*([bug.tokens(after) for _, after in changed.values()]
                                   for changed in (there, here)))

    def test_each_bug_is_recognized_only_in_code_that_has_it(self):
        today = bug.sources(ROOT)
        for example in map(Bug, bug.every_name()):
            with self.subTest(example.name):
                after = {path: text for path, (_, text) in example.changed(ROOT).items()}
                self.assertFalse(example.is_in(today))
                self.assertTrue(example.is_in({**today, **after}))


class Replacing(unittest.TestCase):
    def test_a_function_may_move_to_another_file(self):
        one, other = CODE.split("\n\n")
        for files in [{"common/a.c": CODE}, {"common/a.c": one, "common/b.c": other}, {"05-epoll/x.c": CODE}]:
            after = planted(files, "thrice", "return sum;", "return 0;")
            self.assertEqual("".join(after.values()),
                             "".join(files.values())[:-len("return sum;\n}\n")] + "return 0;\n}\n")

    def test_comments_and_white_space_do_not_count(self):
        after = planted({"a.c": CODE}, None, "if (n>0 && n < 9)\n    return n + n + n;",
                        "if (n)\n    return 1;")
        self.assertIn("{\n    if (n)\n        return 1;\n    return sum;\n}\n", after["a.c"])

    def test_deleted_line_goes_with_its_comment(self):
        after = planted({"a.c": CODE}, "twice", "int sum = n + n;", "")
        self.assertIn("{\n    return sum;\n}\n\nint", after["a.c"])

    def test_words_are_not_cut(self):
        with self.assertRaises(Failed):
            planted({"a.c": "returned = summer;"}, None, "ed = sum", "")

    def test_code_that_is_not_there_once_is_an_error_that_says_so(self):
        for where, right, reason in [
                (None, "return sum;", r"at 2 places \(common/a.c:5, .*:14\) in common/ and the stages:"),
                (None, "return mus;", "nowhere in common/ and the stages:\n    return mus;$"),
                ("twice", "n < 9", "nowhere in twice:\n    n < 9$"),
                ("common/b.c", "n < 9", "nowhere in common/b.c:"),
                (None, "alternative", "nowhere in")]:
            with self.subTest(right), self.assertRaisesRegex(Failed, reason):
                planted({"common/a.c": CODE}, where, right, "")


class Files(unittest.TestCase):
    def read(self, text):
        head = "The mistake.\nIts symptom.\nCaught by: check_pool x\n\n"
        (tool.scratch() / "example.bug").write_text(head + text)
        with mock.patch("servers.bugs.bug.GALLERY", tool.scratch()):
            return Bug("example")

    def test_what_a_file_says(self):
        found = self.read("Delete in f:\n    one;\n\nReplace:\n    two;\nWith:\n    if (x)\n        three;\n")
        self.assertEqual(found.replacements, [("f", "one;", ""), (None, "two;", "if (x)\n    three;")])
        self.assertEqual((found.mistake, found.symptom, found.sanitizer, found.stage, found.catchers),
                         ("The mistake.", "Its symptom.", "address", None, [["check_pool", "x"]]))
        self.assertEqual(found.lines(), ["- one;", "- two;", "+ if (x)", "+     three;"])
        self.assertEqual(self.read("Delete in 05-epoll:\n    one;\n").stage, "05-epoll")

    def test_file_that_cannot_be_read_is_an_error_that_names_it(self):
        for text in ["", "Replace:\n    x;\n", "Delete:\n    x;\nWith:\n    y;\n", "Delete:\nx;\n",
                     "Delete x:\n    y\n", "Replace:\nWith:\n    x;\n"]:
            with self.subTest(text), self.assertRaisesRegex(Failed, "^tests/servers/bugs/example.bug"):
                self.read(text)

    def test_code_that_is_gone_is_an_error_that_names_the_bug(self):
        with self.assertRaisesRegex(Failed, "^tests/servers/bugs/example.bug: .*:\n    no_such_code;$"):
            self.read("Delete:\n    no_such_code;\n").changed(ROOT)


if __name__ == "__main__":
    tool.run(unittests.main)
