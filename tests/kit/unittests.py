"""Run the tests of a module in Python: what the modules test_*.py share."""
import operator
import re
import sys
import unittest

from kit import tool
from kit.report import tick, write


def say(words):
    write(f"{words.lstrip()} ")


class Result(unittest.TextTestResult):
    """Say for how long a test, or the preparation for the next one, has been running."""

    def startTest(self, test):
        super().startTest(test)
        tick(say)

    def stopTest(self, test):
        super().stopTest(test)
        tick(say)

    @property
    def failed(self):
        """The names of the tests that failed, and of the classes that could not begin; "" stands for all of them."""
        return sorted({name_of(test) for test, _ in [*self.failures, *self.errors]})

    @property
    def passed(self):
        """How many tests ran to their end."""
        others = [*self.failures, *self.errors, *self.skipped]
        return self.testsRun - len({name_of(test) for test, _ in others if isinstance(test, unittest.TestCase)})


def name_of(test):
    """Return the name under which a test, with all its subtests, can run again; that of its class for setUpClass, ""
    for setUpModule."""
    found = re.search(r"__main__\.([\w.]+)", test.id())
    return found[1] if found else ""


FEW = 3  # tests that may run again; if more fail, this machine is not the reason


def run(arguments):
    """Run the tests of the program, or those that are named, such as Class.test. Return how many passed, and the names
    of those that failed or could not run."""
    loader, module = unittest.defaultTestLoader, sys.modules["__main__"]
    suite = loader.loadTestsFromNames(arguments, module) if arguments else loader.loadTestsFromModule(module)
    result = unittest.TextTestRunner(sys.stdout, verbosity=2, resultclass=Result).run(suite)
    tick(None)
    for test, reason in result.skipped:
        print(f"skipped: {test.id()}: {reason}")
    return result.passed, result.failed


def main(arguments, few=FEW):
    """Run the tests of the program, or those that are named, and print how many passed and failed. If at most few have
    failed, run these once more, beside no other test: this machine may have been busy. Return the exit status."""
    for name in arguments:
        try:
            operator.attrgetter(name)(sys.modules["__main__"])
        except AttributeError:
            print(f"{tool.name()}: {name}: no such test", file=sys.stderr)
            return 2
    passed, failed = run(arguments)
    alone = 0
    if 0 < len(failed) <= few:
        print(f"Once more, in case this machine was busy: {' '.join(failed)}", flush=True)
        alone, failed = run([] if "" in failed else failed)
    print(f"{passed + alone} passed, {len(failed)} failed" + (f", {alone} passed only alone" if alone else ""))
    return 1 if failed else 0
