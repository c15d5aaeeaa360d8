"""Seeds: what they choose is the same every time, the six hold, and planted bugs are found."""
import json
import re
import subprocess
import unittest

from kit import tool, unittests
from kit.tree import BUILD, STAGES, TESTS
from servers.bugs.bug import Bug, every_name
from simulation import build, seeds
from simulation.engine import node, Simulation
from simulation.scripts import SCRIPTS

PLANTED = [  # a bug of the gallery, the rules that it can break, and a pattern of the shrunk experiment
    ("accept-inherits-nothing", "deadline|answer", ";"),
    ("delay-zero-flood", "fairness", "pipeline=.*ask"),
    ("errno-of-pthread-create", "answer|leak|deadline", "pthread_create=EAGAIN"),
    ("forgotten-pipelined-bytes", "answer", "pipeline|ask"),
    ("keep-alive-in-01", "answer|deadline", "keep|pipeline"),
    ("lost-wake-up", "answer|drain", "--threads .*/slow .*yield"),
    ("never-resumes", "backlog", "--descriptors|accept4="),
    ("no-linger", "reset", "0:post$"),
    ("short-write-restarts", "answer", "window="),
    ("sigpipe", "ending", "(close|reset)"),
    ("sleep-cut-short", "early", "(/slow|pipeline).* .*(TERM|INT)$"),
    ("timeout-rounded-down", "spin", ";"),
]
ADDRESSES = [  # a bug that few seeds find, what one of them was shrunk to, and the rule that it breaks
    ("delay-from-a-stale-clock", "early",
     "0.1 --timeout 1; 0:yield=60 0:/fast 100:keep=/fast 100:ask=/slow 100~2:yield=600"),
    ("drain-retries-for-nothing", "drain", "0.05 --timeout 0.5; 0:accept4=ENOBUFS 0:INT"),
    ("drain-without-end", "spin", "0.3 --timeout 0.2 --descriptors 11; 6x0:/slow 0:TERM"),
    ("lost-signal", "deadline", "0 --timeout 1 --block; 0:silent 0:/slow 0~6:TERM"),
    ("stale-event", "descriptor", "0.05 --timeout 0.2; 0:keep=/fast 120:ask=/fast 120:TERM"),
    ("trap-without-a-way-out", "second-interrupt", "0.1 --block; 0:/slow 50:INT 60:INT"),
]
SOME = 100  # seeds for each of the six
MANY = 600  # before a bug must have been found


class Choices(unittest.TestCase):
    def texts(self, last):
        """The experiments of the first seeds."""
        code = ('import {experimentOf} from "./seeds.mjs"; import {formatExperiment, parseExperiment} '
                f'from "./grammar.mjs";const found = []; for (let seed = 1; seed <= {last}; seed++) {{'
                'const experiment = experimentOf(seed, "05-epoll", "05-epoll"), text = formatExperiment(experiment);'
                'found.push([text, formatExperiment(parseExperiment(text)), experiment.events]); }'
                'console.log(JSON.stringify(found));')
        return node(code)

    def test_seed_is_an_experiment(self):
        found = self.texts(500)
        self.assertEqual(len({text for text, *_ in found}), 500)
        making = "get", "half", "keep", "pipeline", "silent", "post"
        for text, again, events in found:
            self.assertEqual(text, again)
            makers = [event for event in events if event["action"] in making]
            self.assertTrue(1 <= len(makers) <= 20, text)
        everything = " ".join(text for text, *_ in found)
        for word in ("/slow", "half", "more=", "rest", "ask=", "post", "pipeline", "reset", "half-close", "close",
                     "silent", "window=", "stop-reading", "TERM", "INT", "accept4=EMFILE", "malloc=ENOMEM",
                     "epoll_ctl=", "yield", "yield=", "~", "--block", "--threads", "--descriptors"):
            self.assertIn(word, everything)

    def test_same_seed_gives_the_same_bytes(self):
        texts = [text for text, *_ in self.texts(30)]
        results = []
        for order in (texts, reversed(texts)):
            with Simulation() as simulation:
                results.append({text: json.dumps(simulation.ask(text=text, want=["result", "strace"]))
                                for text in order})
        self.assertEqual(*results)


class Stages(unittest.TestCase):
    def test_six_break_no_rule(self):
        bundle = json.loads((BUILD / "play" / "stages.json").read_text())
        with Simulation() as simulation:
            for stage in STAGES:
                if stage not in bundle["missing"]:
                    self.assertIsNone(seeds.first_failure(simulation, stage, stage, 1, SOME), stage)

    def test_six_break_no_rule_in_what_is_held_against_linux(self):
        with Simulation() as simulation:
            for stage in simulation.bundle()["stages"]:
                for script in SCRIPTS if stage in STAGES else []:
                    answer = simulation.ask(text=script.text(stage), model=stage, want=[])
                    self.assertEqual(answer["broken"], [], answer["text"])

    def test_run_goes_on_until_a_server_that_was_told_to_stop_has_ended(self):
        text = "01-blocking --delay 0.1 --timeout 0.5; 0:accept4=EMFILE 0:/fast 1:reset 2:TERM"  # it pauses for 10 ms
        with Simulation() as simulation:
            answer = simulation.ask(text=text, model="01-blocking")
        self.assertEqual((answer["result"]["end"]["kind"], answer["broken"]), ("exited", []))

    def test_what_the_simulation_does_not_have_is_no_mistake(self):
        with Simulation(build.build_programs(tool.scratch() / "programs")) as simulation:
            for name in ("unknown", "fork"):
                broken = simulation.ask(text=f"{name}; 0:/fast", model="05-epoll", want=[])["broken"]
                self.assertEqual([mistake["rule"] for mistake in broken][:1], ["unsupported"], broken)

    def test_planted_bugs_are_found(self):
        for bug, rules, pattern in PLANTED:
            stage = seeds.home_of(Bug(bug))
            with self.subTest(bug, mistake=Bug(bug).mistake), seeds.planted(bug) as simulation:
                failure = seeds.first_failure(simulation, stage, stage, 1, MANY)
                self.assertIsNotNone(failure, "not found")
                self.assertRegex(failure["rule"], f"^({rules})$", failure)
                self.assertRegex(failure["text"], pattern)
                self.assertLessEqual(len(failure["text"].partition(";")[2].split()), 8, failure["text"])
                again = simulation.ask(text=failure["text"], model=stage, want=[])
                self.assertIn(failure["rule"], [mistake["rule"] for mistake in again["broken"]])

    def test_bug_breaks_the_rule_that_its_address_names(self):
        for bug, rule, text in ADDRESSES:
            stage = seeds.home_of(Bug(bug))
            text = f"{stage} --delay {text}"
            with self.subTest(bug), Simulation() as right, seeds.planted(bug) as wrong:
                self.assertEqual(right.ask(text=text, model=stage, want=[])["broken"], [])
                self.assertIn(rule, [each["rule"] for each in wrong.ask(text=text, model=stage, want=[])["broken"]])

    def test_each_bug_that_is_beyond_seeds_is_in_the_gallery(self):
        beyond = sorted(name for names in seeds.BEYOND.values() for name in names)
        self.assertEqual(beyond, sorted(set(beyond) & set(every_name())))


class Command(unittest.TestCase):
    def play(self, *words):
        return subprocess.run([str(TESTS / "play.py"), *words], capture_output=True, text=True, check=False)

    def test_failure_is_told_with_its_address(self):
        done = self.play("--seeds", "5", "select-keeps-its-sets", "03-select")
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertRegex(done.stdout,
                         r"(?s)FAILED\n    seed \d+ breaks a rule \(deadline\): client 1: .*\n"
                         r"    tests/play.py '#select-keeps-its-sets .*; 0:.*'\n03-select .* ok  5 seeds\n")
        done = self.play("--seeds", "4-5", "03-select")
        self.assertEqual(done.returncode, 0)
        self.assertRegex(done.stdout, r"2 runs in [\d.]+ s \([\d,]+ a minute\), 0 of 1 stages failed")

    def test_bug_is_planted_and_its_address_names_the_broken_rule(self):
        done = self.play("--seeds", "200", "--bug", "no-linger")
        self.assertEqual(done.returncode, 1, done.stderr)
        address = re.search(r"tests/play.py --bug no-linger '(#05-epoll .*)'", done.stdout)[1]
        says = "This breaks a rule (reset): client 1: the server closed it with unread input"
        self.assertIn(says, self.play("--bug", "no-linger", address).stderr)
        self.assertNotIn("rule", self.play(address).stderr)

    def test_mistakes(self):
        for words, message in [(["0"], "0: want a number of seeds"), (["9-1"], "9-1: want"),
                               (["5", "09-x"], "make play STAGE=09-x"),
                               (["5", "--bug", "no-such"], "there is no tests/servers/bugs/no-such.bug")]:
            done = self.play("--seeds", *words)
            self.assertIn(message, done.stderr)
            self.assertNotEqual(done.returncode, 0)


if __name__ == "__main__":
    tool.run(unittests.main)
