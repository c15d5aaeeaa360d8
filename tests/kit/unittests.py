"""Run the tests of a module in Python: what the modules test_*.py share."""
import sys
import unittest

from kit.report import tick, write


def say(words):
    write(f"{words.lstrip()} ")


class Result(unittest.TextTestResult):
    """Says for how long a test, or the preparation for the next one, has been running."""

    def startTest(self, test):
        super().startTest(test)
        tick(say)

    def stopTest(self, test):
        super().stopTest(test)
        tick(say)

    @property
    def failed(self):
        """The names of the tests that failed; a test with several subtests that fail is one."""
        return sorted({test.id().split()[0].partition(".")[2] for test, _ in [*self.failures, *self.errors]})


def run(arguments):
    """Run the tests of the program, or those that are named, such as Class.test. Return the names of those
    that failed."""
    loader, module = unittest.defaultTestLoader, sys.modules["__main__"]
    suite = loader.loadTestsFromNames(arguments, module) if arguments else loader.loadTestsFromModule(module)
    result = unittest.TextTestRunner(sys.stdout, verbosity=2, resultclass=Result).run(suite)
    tick(None)
    for test, reason in result.skipped:
        print(f"skipped: {test.id()}: {reason}")
    failed = len(result.failed)
    passed = max(0, result.testsRun - failed - len(result.skipped))  # a class that cannot begin runs none
    print(f"{passed} passed, {failed} failed")
    return result.failed


def main(arguments):
    """The same. Return the exit status."""
    return 1 if run(arguments) else 0
