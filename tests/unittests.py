"""Run the tests of a module in Python: what the programs check_*.py share."""
import sys
import unittest

import lab


def say(words):
    lab.write(f"{words.lstrip()} ")


class Result(unittest.TextTestResult):
    """Says for how long a test, or the preparation for the next one, has been running."""

    def startTest(self, test):
        super().startTest(test)
        lab.tick(say)

    def stopTest(self, test):
        super().stopTest(test)
        lab.tick(say)

    @property
    def failed(self):
        """How many tests failed; a test with several subtests that fail is one."""
        return len({test.id().partition(" ")[0] for test, _ in [*self.failures, *self.errors]})


def main(arguments):
    """Run the tests of the program, or those that are named, such as Class.test."""
    loader, module = unittest.defaultTestLoader, sys.modules["__main__"]
    suite = loader.loadTestsFromNames(arguments, module) if arguments else loader.loadTestsFromModule(module)
    result = unittest.TextTestRunner(sys.stdout, verbosity=2, resultclass=Result).run(suite)
    lab.tick(None)
    for test, reason in result.skipped:
        print(f"skipped: {test.id()}: {reason}")
    print(f"{result.testsRun - result.failed - len(result.skipped)} passed, {result.failed} failed")
    return 0 if result.wasSuccessful() else 1
