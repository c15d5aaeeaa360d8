"""Is every millisecond of a thread accounted for, and as what it was?"""
import pathlib
import unittest

from kit import tool, unittests
from recorder import account, strace_log, understand
from recorder.account import Part

HERE = pathlib.Path(__file__).resolve().parent
LOGS = sorted([*(HERE / "recordings").glob("*.strace"), *(HERE / "cases").glob("logs/*"),
               *(HERE.parent / "tutorial/recordings").glob("*.strace")])


class Kept(unittest.TestCase):
    def test_parts_of_each_thread_add_up_to_its_lifetime(self):
        seen = 0
        for path in LOGS:
            for log in strace_log.read(path.read_text(errors="replace")):
                try:
                    recording = understand.understand(log)
                except understand.NotUnderstood:
                    continue
                for thread in [*recording.threads, *recording.others]:
                    with self.subTest(f"{path.name} {thread.label}"):
                        begin = max(thread.start, 0)
                        end = recording.duration if thread.end is None else thread.end
                        self.assertAlmostEqual(sum(part.seconds for part in thread.parts), end - begin, places=5)
                        for before, after in zip(thread.parts, thread.parts[1:]):
                            self.assertAlmostEqual(before.end, after.start, places=6)
                        seen += 1
        self.assertGreater(seen, 40)


class Parts(unittest.TestCase):
    def test_time_outside_of_any_call_is_computing(self):
        call = Part("server", 0, 0, "127.0.0.1:5432", None, "recvfrom")
        found = account.parts([(1.0, 2.0, call), (2.5, 3.0, call)], 0.0, 4.0)
        self.assertEqual([(part.kind, part.start, part.end) for part in found],
                         [("computing", 0.0, 1.0), ("server", 1.0, 2.0), ("computing", 2.0, 2.5),
                          ("server", 2.5, 3.0), ("computing", 3.0, 4.0)])
        server, computing = sorted(account.sums(found), key=lambda each: each.name != "recvfrom")
        self.assertEqual((server.seconds, server.times, computing.seconds), (1.5, 2, 2.5))

    def test_what_lies_between_many_calls_is_no_computing(self):
        calls = [(i * 0.02, i * 0.02 + 0.001) for i in range(20)]
        self.assertAlmostEqual(account.pause([calls]), account.PAUSES * 0.019)
        self.assertEqual(account.pause([calls[:3]]), account.A_PAUSE)
        call = Part("", 0, 0, "", None, "recvfrom")
        found = account.parts([(*each, call) for each in calls], 0, 0.381, pause=account.pause([calls]))
        self.assertEqual({part.kind for part in found}, {"calls", "between"})

    def test_thread_without_a_processor_does_not_compute(self):
        call = Part("delay", 0, 0, "", None, "nanosleep")
        for samples, expected in [([(0.0, 0.5, 0.5), (1.0, 0.5, 0.5), (4.0, 0.6, 3.4)], "starved"),
                                  ([(0.0, 0.5, 0.5), (1.0, 0.5, 0.5), (4.0, 0.9, 3.1)], "computing"),
                                  ([(0.0, 0.5, 0.5), (3.0, 2.5, 0.5)], "outside"), ([], "outside")]:
            found = account.parts([(0.0, 1.0, call)], 0.0, 4.0)
            account.tell_computing(found, account.Processor(samples))
            self.assertEqual([part.kind for part in found], ["delay", expected])

    def test_each_time_has_its_own_samples(self):
        """A thread that computed once is not said to have computed later, when it was only ready to run."""
        call = Part("delay", 0, 0, "", None, "nanosleep")
        found = account.parts([(1.0, 2.0, call)], 0.0, 3.0)
        account.tell_computing(found, account.Processor([(0, 0, 0), (1.0, 1.0, 0), (2.0, 1.0, 0), (3.0, 1.01, 0.99)]))
        self.assertEqual([part.kind for part in found], ["computing", "delay", "starved"])

    def test_call_that_does_not_wait_was_kept_by_a_busy_machine(self):
        for ready, expected in [(0.1, "starved"), (0.0, "calls")]:
            found = account.parts([(0.0, 0.1, Part("", 0, 0, "", None, "sendto"))], 0.0, 0.1)
            account.tell_computing(found, account.Processor([(0.0, 0.0, 0.0), (0.1, 0.0, ready)]))
            self.assertEqual([part.kind for part in found], [expected])

    def test_short_call_that_does_not_wait_was_kept_if_it_had_no_processor(self):
        for seconds, had, expected in (0.02, 0.001, "starved"), (0.02, 0.015, "calls"), (0.1, 0.001, "calls"):
            found = account.parts([(0.0, seconds, Part("", 0, 0, "", None, "getpid"))], 0.0, seconds)
            account.tell_computing(found, account.Processor([(0.0, 0.0, 0.0), (seconds, had, 0.0)]))
            self.assertEqual([part.kind for part in found], [expected], seconds)

    def test_samples_within_a_time_count_more_than_those_around_it(self):
        processor = account.Processor([(0.0, 0, 0), (1.0, 0.9, 0), (1.1, 0.9, 0.1), (1.9, 0.9, 0.9), (2.0, 1.0, 0.9)])
        had, ready = processor.during(0.95, 1.95)
        self.assertAlmostEqual(had, 0.0)
        self.assertAlmostEqual(ready, 1.0)
        self.assertAlmostEqual(processor.during(0.25, 0.75)[0], 0.45)
        self.assertIsNone(processor.during(1.95, 3.0))

    def test_what_was_before_the_log_is_unknown(self):
        call = Part("delay", 0, 0, "", None, "nanosleep")
        found = account.parts([(1.0, None, call)], 0.0, 4.0, known_from=1.0)
        self.assertEqual([(part.kind, part.seconds) for part in found], [("unknown", 1.0), ("delay", 3.0)])

    def test_call_that_does_not_wait_is_no_wait(self):
        found = account.parts([(0.0, 1.0, Part("", 0, 0, "", None, "sendto"))], 0.0, 1.0)
        self.assertEqual([part.kind for part in found], ["calls"])

    def test_a_part_of_it_is_cut_out(self):
        found = account.parts([(0.0, 2.0, Part("delay", 0, 0, "", None, "nanosleep"))], 0.0, 4.0)
        self.assertEqual([(part.kind, part.start, part.end) for part in account.between(found, 1.5, 3.0)],
                         [("delay", 1.5, 2.0), ("computing", 2.0, 3.0)])


if __name__ == "__main__":
    tool.run(unittests.main)
