"""Does what a tool prints, and the file of its figures, hold what others wrote without obeying it?"""
import contextlib
import io
import unittest
from unittest import mock

from kit import report, tool, unittests
from kit.errors import Failed
from kit.printable import printable
from kit.report import Report


class Reports(unittest.TestCase):
    def setUp(self):
        mock.patch("kit.report.write", lambda text: print(text, end="")).start()
        self.addCleanup(mock.patch.stopall)

    def printed(self, action):
        with contextlib.redirect_stdout(io.StringIO()) as out:
            action()
        report.tick(None)
        return out.getvalue()

    def test_failure_and_its_details_are_printable(self):
        said = Report()
        text = self.printed(lambda: said.fail("a name: \033]0;x\a", ["first\x1b[2J", "sec\rond"]))
        self.assertEqual(text, "    FAILED: a name: \\x1b]0;x\\x07\n    first\\x1b[2J\n    sec\\x0dond\n")
        self.assertEqual(self.printed(lambda: self.assertEqual(said.verdict(), 1)), "1 failed: see above.\n")

    def test_check_that_fails_is_counted_and_the_others_go_on(self):
        said = Report()

        def check():
            with said.checking("one"):
                raise Failed("no\nluck", "why")
            with said.checking("two"):
                pass
        self.assertEqual(self.printed(check), "    FAILED: one: no\\x0aluck\n    why\n")
        self.assertEqual(said.failed, 1)

    def test_figures_stay_in_their_columns(self):
        said, path = Report("a", "b", "c"), tool.scratch() / "figures.tsv"
        parser = said.parser("a test")
        said.start(parser, parser.parse_args(["--tsv", str(path)]))
        said.figure("x\ty", "z\nz")
        self.assertEqual(path.read_text(), "a\tb\tc\nx y\tz\\x0az\t-\n")

    def test_controls_become_escapes(self):
        for text, shown in [("plain, é, 中", "plain, é, 中"), ("\0\x7f\x85", "\\x00\\x7f\\x85"), ("\u202e", "\\u202e"),
                            (b"\xff".decode(errors="surrogateescape"), "\\xff"), ("\ud800", "\\ud800"), (5, "5")]:
            self.assertEqual(printable(text), shown)


class Folding(unittest.TestCase):
    def test_line_is_cut_between_words_and_goes_on_further_to_the_right(self):
        self.assertEqual(report.folded("  one two three", 9), ["  one two", "    three"])
        self.assertEqual(report.folded("one two", 7), ["one two"])
        self.assertEqual(report.folded("a  b  column", 9, hanging=0), ["a  b", "column"])

    def test_word_that_is_too_long_stays_whole(self):
        self.assertEqual(report.folded("  see http://127.0.0.1:8000/a", 12), ["  see", "    http://127.0.0.1:8000/a"])
        self.assertEqual(report.folded("http://127.0.0.1:8000/a b", 3), ["http://127.0.0.1:8000/a", "  b"])
        self.assertEqual(report.folded("", 3), [""])

    def test_colors_take_no_room_and_wide_letters_take_two(self):
        self.assertEqual(report.folded("\033[31mone\033[0m two", 7), ["\033[31mone\033[0m two"])
        self.assertEqual(report.columns("中e\u0301"), 3)

    def test_only_a_terminal_folds_and_never_a_command(self):
        for terminal, text, expected in [(40, "word " * 9 + "end", 2), (40, report.Verbatim("word " * 9 + "end"), 1),
                                         (None, "word " * 9 + "end", 1)]:
            with mock.patch("kit.report.width", lambda: terminal):
                self.assertEqual(len(report.fold(text).splitlines()), expected)


if __name__ == "__main__":
    tool.run(unittests.main)
