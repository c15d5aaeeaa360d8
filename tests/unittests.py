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
        """The names of the tests that failed; a test with several subtests that fail is one."""
        names = [test.id().partition(" ")[0] for test, _ in [*self.failures, *self.errors]]
        return list(dict.fromkeys(name.partition(".")[2] for name in names))


def run(names):
    """Run tests of the program; without names, all of them."""
    loader, module = unittest.defaultTestLoader, sys.modules["__main__"]
    suite = loader.loadTestsFromNames(names, module) if names else loader.loadTestsFromModule(module)
    result = unittest.TextTestRunner(sys.stdout, verbosity=2, resultclass=Result).run(suite)
    lab.tick(None)
    return result


def main(names, tries=1):
    """Run the tests of the program, or those that are named, such as Class.test. If a busy machine can spoil
    a test, but cannot make it pass, try those that fail again."""
    result = run(names)
    count, skipped = result.testsRun, result.skipped
    for number in range(2, tries + 1):
        if result.failed:
            print(f"\nTry {number} of {tries}: {' '.join(result.failed)}")
            result = run(result.failed)
    for test, reason in skipped:
        print(f"skipped: {test.id()}: {reason}")
    print(f"{count - len(result.failed) - len(skipped)} passed, {len(result.failed)} failed")
    return 1 if result.failed else 0
