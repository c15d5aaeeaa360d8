"""Does tests/latency.py tell the truth about servers with a pool, about servers that compute, and about where
their threads are?"""
import os
import subprocess
import sys
import unittest
from unittest import mock

import latency as latency_tool
from kit import proc, processes, terminals, tool, unittests
from kit.processes import Program
from kit.servers import Server
from kit.tree import ROOT, TESTS, built
from kit.urls import connects, free_port
from recorder import blocked

CASES = TESTS / "recorder/cases"
PYTHON = "/usr/bin/python3" if os.access("/usr/bin/python3", os.X_OK) else sys.executable
MORAL = "A server serializes requests if"
TRIES = 3  # a busy machine may leave no time to look
POOLS = {"06-libev --block --threads 2": "2 at a time", "01-blocking --workers 2": "2 at a time",
         "02-threaded --compute": "shares cores", "05-epoll --compute": "serializes"}


def latency(*words):
    run = subprocess.run([ROOT / "tests/latency.py", *words], capture_output=True, text=True, timeout=120)
    return run.returncode, run.stdout, run.stderr


class Probe(unittest.TestCase):
    def test_the_shortest_is_not_longer_than_the_longest(self):
        """In 01, the client that is answered last has not waited longest: it came later."""
        with Server("01-blocking", "--delay", "0.3") as server:
            run = subprocess.run([built("probe"), "--tsv", "--summary", server.url, "0:/slow", "250:/fast"],
                                 capture_output=True, text=True, timeout=60, check=True)
        titles, row = (line.split("\t") for line in run.stdout.splitlines())
        times = [float(dict(zip(titles, row))[title]) for title in ("min_ms", "median_ms", "p99_ms", "max_ms")]
        self.assertEqual(times, sorted(times))
        self.assertLess(times[0], 200)
        self.assertGreaterEqual(times[-1], 300)


class Latency(unittest.TestCase):
    def may_look(self):
        """Skip a test where even the calls of a process of our own may not be seen."""
        with Program(["sleep", "100"]) as program:
            if not processes.wait_until(lambda: blocked.where(program.pid, program.pid) == "clock_nanosleep"):
                self.skipTest("/proc does not tell in which call a process is blocked")

    def table(self, *words):
        status, output, errors = latency("--delay", "0.4", *words)
        self.assertEqual((status, errors), (0, ""), output)
        return output.rpartition("threads  verdict\n")[2].splitlines()

    def test_pools_and_computations(self):
        """As --way-out asks them, after the stages that are named."""
        rows = self.table("--way-out", "05-epoll")
        for row, (name, verdict) in zip(rows, [("05-epoll", "concurrent"), *POOLS.items()]):
            self.assertTrue(row.startswith(f"{name}  ") and f"  {verdict}" in row, row)
        self.assertIn("A pool of threads beside an event loop runs the line that blocks. /fast does not", rows)

    def test_threads_are_seen(self):
        self.may_look()
        for _ in range(TRIES):
            trap, epoll, pool = self.table("trap", "05-epoll", "06-libev --block --threads 3")[:3]
            if "clock_nanosleep" in trap and "epoll" in epoll:
                break
        self.assertTrue(trap.endswith("serializes: clock_nanosleep"), trap)
        self.assertTrue(epoll.endswith("concurrent: epoll_pwait"), epoll)
        self.assertRegex(pool, "3 at a time: epoll_p?wait, clock_nanosleep$")

    def test_server_that_is_running_is_seen(self):
        self.may_look()
        with Server("05-epoll", "--block", "--delay", "0.4") as server:
            status, output, _ = latency(server.url)
        self.assertIn("serializes: clock_nanosleep", output)
        self.assertEqual(status, 0, output)

    def test_head_has_no_body(self):
        """A response to it announces the length of a body that does not follow."""
        with Server("05-epoll", "--delay", "0.4") as server:
            status, output, _ = latency("--method", "HEAD", server.url)
        self.assertRegex(output, r"[12]\.\d delays .*  concurrent")
        self.assertEqual(status, 0, output)

    def test_data_wants_a_method(self):
        status, _, errors = latency("--data", "a=b", "http://127.0.0.1:1")
        self.assertEqual((status, errors), (2, "latency.py: --data a=b: want --method, too, such as POST\n"))

    def test_wrong_options_of_a_stage_are_refused(self):
        for words in ["05-epoll --port 1", "05-epoll --threads", "05-epoll --threads 2 x"]:
            status, _, errors = latency(words)
            self.assertEqual(status, 2)
            wanted = "want a stage with --block, --compute, --threads N or --workers N"
            self.assertEqual(errors, f"latency.py: {words}: {wanted}\n")


class Predictions(unittest.TestCase):
    """--predict, in a terminal."""
    PROMPT = "1, 2, or Enter to skip: "

    def talk(self, answers, *words):
        """Give these answers, each when it is asked for. Return the status, and what the terminal shows."""
        status, shown, left = terminals.run([ROOT / "tests/latency.py", "--predict", "--delay", "0.6", *words],
                                            self.PROMPT, answers)
        self.assertEqual(left, [])
        return status, shown

    def test_what_was_said_stands_beside_what_happened(self):
        status, shown = self.talk(["1\n", "2\n"], "05-epoll", "trap")
        self.assertEqual(status, 0, shown)
        self.assertRegex(shown, r"You said: immediately\. What happened: immediately, after [\d.]+ m?s\.\n")
        self.assertRegex(shown, r"You said: when /slow has its answer\. What happened: after 0\.\d+ s\.\n")
        self.assertRegex(shown, r"(?m)^server +you said +it happened\n"
                                r"05-epoll +immediately +immediately, after .*\n"
                                r"06-libev --block +when /slow has its answer +after 0\.\d+ s\n")

    def test_wrong_prediction_is_no_failure(self):
        status, shown = self.talk(["2\n"], "05-epoll")
        self.assertEqual(status, 0, shown)
        self.assertIn("You said: when /slow has its answer. What happened: immediately", shown)

    def test_question_comes_before_the_answer(self):
        _, shown = self.talk(["2\n"], "01-blocking")
        self.assertLess(shown.index(self.PROMPT), shown.index("had to wait"))

    def test_other_words_are_asked_again_and_an_empty_line_skips(self):
        for answers in ["3\n", "perhaps\n", "\n"], ["\x04"]:
            status, shown = self.talk(answers, "05-epoll")
            self.assertEqual(status, 0, shown)
            self.assertIn("concurrent", shown)
            self.assertNotIn("said", shown)

    def test_what_was_typed_before_the_question_is_no_answer(self):
        ours, theirs = terminals.open_terminal()
        os.write(ours, b"2\n")
        asks = "import sys; from kit import asking; sys.exit(10 + asking.choice('?', ['a', 'b']))"
        asked = subprocess.Popen([sys.executable, "-c", asks], stdin=theirs, stdout=theirs,
                                 env={**os.environ, "PYTHONPATH": str(TESTS)})
        os.close(theirs)
        shown = ""
        while not shown.endswith("skip: "):
            shown += os.read(ours, 4096).decode()
        os.write(ours, b"1\n")
        self.assertEqual(asked.wait(), 10)
        os.close(ours)

    def test_without_a_terminal_it_says_so_and_goes_on(self):
        status, output, errors = latency("--predict", "--delay", "0.3", "05-epoll")
        self.assertEqual(status, 0, output)
        self.assertEqual(errors, "latency.py: --predict: nothing is asked, because this is not a terminal\n")
        self.assertNotIn("Predict", output)


class Terminals(unittest.TestCase):
    def test_nothing_is_wider_than_80_columns(self):
        """Of the six and the trap, and of those with longer names."""
        for words in [[], list(POOLS)]:
            _, shown, _ = terminals.run([ROOT / "tests/latency.py", "--delay", "0.2", *words])
            self.assertIn("verdict", shown)
            wide = [line for line in shown.splitlines() if len(line) > 80]
            self.assertEqual(wide, [], shown)


class Strangers(unittest.TestCase):
    """Servers that are no stages. What must never be said is in never."""

    def ask(self, way, must, never, status=0, program="http_ways.py", words=()):
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        with Program([PYTHON, CASES / program, port, way]):
            processes.wait_until(lambda: connects(url))
            found, output, errors = latency(*words, url)
        self.assertEqual((found, errors), (status, ""), output)
        for pattern in must:
            self.assertRegex(output, pattern)
        for pattern in [*never, "unclear"]:
            self.assertNotRegex(output, pattern)

    def test_no_server(self):
        status, output, _ = latency(f"http://127.0.0.1:{free_port()}")
        self.assertEqual(status, 1)
        self.assertRegex(output, r"(?m)^http://\S+ +refused: nothing is listening there$")

    def test_slow_route_wants_another_method(self):
        """It takes POST with this body and this field, and nothing else."""
        words = ["--method", "POST", "--data", "a=b", "--header", "Cookie: c=d"]
        self.ask("post", [r"  concurrent"], ["status"], words=words)
        for wrong in words[4:], [*words[:2], *words[4:]], words[:4]:
            self.ask("post", ["/slow: status 40[05]"], ["concurrent", "serializes"], status=1, words=wrong)

    def test_first_call_that_is_cold(self):
        self.ask("cold", ["the first call was cold", r"serializes", "/fast had to wait", MORAL],
                 ["concurrent", "did not wait"])

    def test_slow_route_that_is_not_slow_any_more(self):
        self.ask("cached", ["not slow any more"], ["serializes", "concurrent", MORAL], status=1)

    def test_loop_that_is_free_is_not_accused(self):
        self.ask("lock", ["free, in epoll_wait", r"something inside the program \(a lock, a pool\), or behind it"],
                 [MORAL], program="asyncio_ways.py")

    def test_one_slow_at_a_time_is_a_verdict_where_fast_does_not_wait(self):
        self.ask("turns", ["serves 1 at a time", "serves one /slow at a time; while it does, /fast does not wait"],
                 [MORAL, "serializes"], program="asyncio_ways.py")

    def test_some_at_a_time_is_a_verdict(self):
        self.ask("prefork", ["serves 2 at a time", "while it does, /fast waits, too"], [MORAL, "serializes"])

    def test_process_that_serves_is_found(self):
        self.ask("passing", ["accepted but unread", "the thread that served /slow was in (clock_nanosleep|p?select)"],
                 ["recvmsg", "its one thread"])

    def test_server_at_another_address_with_the_same_port_is_another_server(self):
        with Server("05-epoll", "--delay", "0.4") as ours:
            with Server("01-blocking", "--delay", "0.4", "--host", "127.0.0.2", "--port", ours.port):
                for _ in range(3):  # on a busy machine, it may say that the process cannot be seen
                    status, output, _ = latency(ours.url)
                    self.assertEqual(status, 0, output)
                    self.assertNotIn("accept", output)
                    if "concurrent: epoll_pwait\n" in output:
                        break
        self.assertRegex(output, "concurrent: epoll_pwait\n")


class Turns(unittest.TestCase):
    def test_how_many_are_served_simultaneously(self):
        for ends, expected in [([1000, 2000, 3000, 4000, 5000], 1), ([1000, 1010, 2000, 2010, 3000], 2),
                               ([1000, 1001, 1002, 2010, 2020], 3), ([1000] * 4 + [2000], 4), ([1000] * 5, 5),
                               ([1000, 1010, 1020, 2000, 4000], None)]:
            done = latency_tool.Experiment(latency_tool.Subject("http://127.0.0.1:1"), None)
            done.delay, done.delays = 1, ends[-1] / 1000
            self.assertEqual(done.count_side_by_side(ends), expected, ends)


class Blocked(unittest.TestCase):
    def test_what_cannot_be_seen_is_not_said(self):
        for place, said in [(proc.Place("S", 35), "nanosleep"), (proc.Place("S", 36), None), (proc.Place("S"), None),
                            (proc.Place("S", function="hrtimer"), "the kernel's hrtimer"), (None, None),
                            (proc.Place("S", 162, bits_32=True), "nanosleep"), (proc.Place("R"), "running")]:
            with mock.patch("kit.proc.place", lambda *_, place=place: place), \
                    mock.patch("kit.proc.call_names", lambda bits_32: {162 if bits_32 else 35: "nanosleep"}):
                self.assertEqual(blocked.where(1, 1), said)

    def test_a_thread_is_where_it_mostly_is(self):
        samples = blocked.Samples([])
        samples.taken = [(0.0, {(1, 1): "early"}), (1.0, {(1, 1): "poll", (1, 2): "futex"}),
                         (2.0, {(1, 1): "running", (1, 2): "futex", (1, 3): "short"}),
                         (3.0, {(1, 1): "poll", (1, 2): "futex"}), (4.0, {(1, 1): "late"})]
        self.assertEqual(samples.between(0.5, 3.5), ["poll", "futex"])
        self.assertEqual(samples.between(5, 6), [])
        samples.taken.append((5.0, {(1, 1): "poll", (1, 2): None}))
        self.assertEqual(samples.between(4.5, 6), [])

    def test_client_in_the_backlog_is_served_by_nobody(self):
        samples = blocked.Samples([])
        samples.connections, samples.owners = [(1.0, {50: (0, 9), 51: (77, 0), 52: (78, 0)})], {77: 1, 78: None}
        self.assertEqual([samples.saw_server(port) for port in (50, 51, 52, 53)], [False, True, False, False])

    def test_thread_that_hardly_wants_a_processor_was_not_running(self):
        """On a busy machine, there may be few looks."""
        for wanted, expected in [([(1.0, 0.1), (3.0, 1.9)], ["running"]), ([(1.0, 0.1), (3.0, 0.2)], ["poll"]),
                                 ([(1.0, 0.1)], ["poll"]), ([(0.1, 0.1), (1.0, 0.9)], ["poll"]), ([], ["running"])]:
            samples = blocked.Samples([])
            samples.taken = [(moment, {(1, 1): place}) for moment, place in [
                (1.0, "running"), (2.0, "poll"), (3.0, "running")]]
            samples.wanted = {(1, 1): wanted}
            self.assertEqual(samples.between(0.5, 3.5), expected)
        samples.taken, samples.wanted = [(1.0, {(1, 1): "running"})], {(1, 1): [(1.0, 0.1)]}
        self.assertEqual(samples.between(0.5, 3.5), [])

    def test_a_look_tells_how_much_a_running_thread_wanted(self):
        with mock.patch("recorder.blocked.where", lambda pid, tid: "running"):
            samples = blocked.Samples([os.getpid()])
            samples.take()
        if proc.processor_seconds(os.getpid(), os.getpid()):
            self.assertIn((os.getpid(), os.getpid()), samples.wanted)

    def test_places_become_a_sentence(self):
        for places, sentence in [(["poll"], "its one thread was in poll"),
                                 (["poll", "futex", "futex"], "its 3 threads were in poll and futex"),
                                 (["a", "b", "c", "running"], "its 4 threads were in a, b and c, or running"),
                                 (["running"], "its one thread was running")]:
            self.assertEqual(blocked.sentence(places), sentence)
        self.assertEqual(blocked.sentence(["poll"], False), "the thread that served was in poll")
        self.assertEqual(blocked.sentence(["poll"], False, "/slow"), "the thread that served /slow was in poll")
        self.assertEqual(blocked.sentence(["poll", "futex"], False), "the 2 threads that served were in poll and futex")


if __name__ == "__main__":
    tool.run(unittests.main)
