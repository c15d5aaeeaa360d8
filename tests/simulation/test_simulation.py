"""The simulation: its grammar, its lines, its limits, and that a run depends on nothing but the experiment."""
import json
import math
import re
import subprocess
import unittest

from kit import tool, unittests
from kit.tree import BUILD, ROOT, STAGES, TESTS
from recorder import strace_log, understand
from simulation import build
from simulation.engine import node, Simulation

BUNDLE = BUILD / "play" / "stages.json"
MISTAKES = [  # an experiment, the position of the mistake, and words of the message
    ("", 0, "name of a stage"), ("#; 0:/fast", 0, "name of a stage"), ("05-epoll", 8, "semicolon"),
    ("05-epoll; fast", 10, "TIME:ACTION"), ("05-epoll; x:/fast", 10, "time in milliseconds"),
    ("05-epoll; -1:/fast", 10, "time in milliseconds"), ("05-epoll; 86400001:/fast", 10, "from 0 to 86400000"),
    ("05-epoll; 0:fast", 12, "action after the colon"), ("05-epoll; 0:/fa\u00e9", 12, "path that begins with /"),
    ("05-epoll; 0:reset", 12, "no client has come yet"), ("05-epoll; 0:/fast 1:reset@2", 25, "@1"),
    ("05-epoll; 0:/fast 1:reset@0", 25, "number of a client"), ("05-epoll; 0:silent=3", 18, "takes no value"),
    ("05-epoll; 0:idle", 16, "from 1 to 10000"), ("05-epoll; 0:idle=10001", 16, "from 1 to 10000"),
    ("05-epoll; 0:silent@1", 18, "want no @"), ("05-epoll; 100:/fast 0:/slow", 20, "order of their times"),
    ("05-epoll; 0x0:/fast", 10, "before the x"), ("05-epoll; 2x0:silent", 10, "then TIME:PATH or TIME:CALL=ERROR"),
    ("05-epoll; 0~0:/fast", 11, "steps from 1 to 9999"), ("05-epoll; 0~2:/fast 0:/slow", 20, "order of their times"),
    ("05-epoll; 0:accept4", 19, "one of EMFILE"), ("05-epoll; 0:accept4=EBADF", 19, "one of EMFILE"),
    ("05-epoll; 0:recv=EINTR", 12, "accept4=ERROR"), ("05-epoll; 0:malloc=ENOMEM@1", 25, "want no @"),
    ("05-epoll; 0:yield=0", 17, "from 1 to 10000"), ("05-epoll; 0:half 1:more", 23, "from 1 to 10000"),
    ("05-epoll; 0:window=9", 12, "no client has come yet"),
    ("05-epoll; 0:keep 1:ask=fast", 23, "path that begins with /"),
    ("05-epoll; 0:half=fast", 17, "path that begins with /"), ("05-epoll; 0:pipeline=0", 20, "from 1"),
    ("05-epoll; 0:pipeline=2xfast", 23, "path that begins with /"), ("05-epoll; 0:pipeline=/slow", 20, "from 1"),
    ("05-epoll;0:/fast;9:/slow", 17, "want, after this semicolon, goal N"),
    ("05-epoll; 0:/fast; goal x", 24, "number of a goal"),
    ("05-epoll; 0:/fast; at x", 22, "time in milliseconds"), ("05-epoll; 0:/fast; with ../x", 24, "names of servers"),
    ("05-epoll; 0:/fast?a+b", 20, "TIME:ACTION"), ("05-epoll; 0:/%C3%BC", 12, "path that begins with /"),
    ("05-epoll --descriptors x; 0:/fast", 9, "number of descriptors"),
    ("05-epoll; " + 121 * "1000x0:/fast ", 1570, "more than 120,000"),
]
RIGHT = [
    "05-epoll; 0:/fast", "05-epoll --block --delay 1; 0:/slow 100:/fast 300:reset@1",
    "01-blocking; 0:idle=10000 5:silent",
    "02-threaded; 100x0:/slow 1.5:half 2:half=/slow 3:rest@102 4:half-close "
    "5:close@1 6:stop-reading@2 7:pipeline 8:pipeline=9 9:pipeline=9x/slow",
    "05-epoll; 0:keep 0~3:reset@1 1:keep=/slow 2:ask=/nowhere@2 2:window=30@2 3:post 4:half 5.001:more=3@4",
    "02-threaded; 5x0:accept4=EMFILE 0:pthread_create=EAGAIN 0~9:yield 1:malloc=ENOMEM 2:epoll_ctl=ENOSPC 3:yield=20",
    "07-mine --timeout 0.5; 0:TERM 1:INT", "05-epoll;",
]

POOLS = ["--block", "--block --threads 1", "--block --threads 2", "--compute --threads 1"]
SOLUTIONS = 'import { goals } from "./goals.mjs"; console.log(JSON.stringify(goals.flatMap(each => each.solution)))'


def claim(sentence):
    """A sentence without what only the page tells (the line that computes, the backlog, until when a wait lasts) and
    what only the recorder does (how often, how soon)."""
    more = (r"(computing), in [\w/.-]+:\d+", r"(computing|:\d+), and thread \d+ was computing\b",
            r"(\.) (?:Meanwhile|That wait).*", r"(:\d+), \d+ times", r"(calls|:\d+); it accepted .*(?=\.$)")
    for each in more:
        sentence = re.sub(each, r"\1", sentence)
    return sentence


class Simulated(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.simulation = Simulation()

    @classmethod
    def tearDownClass(cls):
        cls.simulation.close()


class Grammar(Simulated):
    def test_mistakes_are_named_with_their_place(self):
        for text, position, words in MISTAKES:
            with self.subTest(text):
                answer = self.simulation.ask(text=text)
                self.assertEqual(answer.get("position"), position, answer)
                self.assertIn(words, answer["error"])

    def test_text_and_experiment_are_the_same(self):
        for text in RIGHT:
            code = ('import {parseExperiment as p, formatExperiment as f, encodeAddress as e} from "./grammar.mjs";'
                    f'const t = {json.dumps(text)}; console.log(JSON.stringify([t, e(t), t.replace(/ /g, "%20"), '
                    "`file:///a/play.html${e(p(t))}`].map(each => f(p(each)))))")
            self.assertEqual(node(code), [text] * 4)


class Runs(Simulated):
    def run_of(self, text, **job):
        answer = self.simulation.ask(text=text, **{"want": ["result"], **job})
        self.assertNotIn("error", answer)
        return answer["result"]

    def statuses(self, text, **job):
        return [client["status"] for client in self.run_of(text, **job)["clients"]]

    # ---- the same events give the same bytes

    def test_run_depends_on_nothing_else(self):
        for text in ["02-threaded --delay 1; 9x0:/slow 100:/fast 150:reset@3 300:half 500:rest 700:TERM",
                     "05-epoll --delay 1 --block --threads 2; 5x0:/slow 100:silent 200:pipeline 250:reset@7"]:
            first = self.simulation.ask(text=text, want=["result", "strace"])
            self.run_of("01-blocking; 0:/fast")
            self.assertEqual(first, self.simulation.ask(text=text, want=["result", "strace"]))

    def test_run_in_steps_is_a_run_from_the_start(self):
        for stage in [*STAGES, "05-epoll --block --threads 2"]:
            whole = self.run_of(f"{stage} --delay 1; 0:/slow 100:/fast 1000:/slow 1500:reset")
            steps = self.run_of(f"{stage} --delay 1; 0:/slow",
                                steps=[100, "100:/fast", 500, 1000, "1000:/slow", 1500, "1500:reset", None])
            self.assertEqual(whole, steps, stage)

    # ---- words for what seldom happens

    def test_event_in_the_middle_of_the_servers_work(self):
        """The connection is reset between the call that reports it and the one that reads it, and so on."""
        results = [self.run_of(f"05-epoll --delay 1; 0:silent 0~{steps}:reset 100:/fast") for steps in range(1, 12)]
        seen = [next((call["result"].split()[1] for call in result["calls"] if call["client"] == 1
                      and call["name"] == "recvfrom" and "ECONNRESET" in call["result"]), "") for result in results]
        self.assertEqual(set(seen), {"ECONNRESET"})
        moments = [[call["name"] for call in result["calls"] if call["end"] == 0].index("close") for result in results]
        self.assertGreater(len(set(moments)), 1, moments)
        self.assertEqual({result["clients"][1]["status"] for result in results}, {"200"})

    def test_signal_between_two_calls(self):
        """01 looks whether it was told to stop, and then accepts: the signal comes in between. Then it pauses."""
        ends = set()
        for steps in range(1, 20):
            result = self.run_of(f"01-blocking; 0:/fast 0~{steps}:TERM")
            self.assertEqual((result["end"]["kind"], result["clients"][0]["status"]), ("exited", "200"), steps)
            ends.add(result["end"]["at"])
        self.assertEqual(ends, {0, 10})

    def test_call_that_is_to_fail_fails_with_its_error(self):
        result = self.run_of("05-epoll; 2x0:accept4=EMFILE 0:/fast")
        self.assertEqual([call["result"].split()[:2] for call in result["calls"] if call["name"] == "accept4"],
                         [["-1", "EMFILE"], ["-1", "EMFILE"], ["5"]])
        self.assertEqual(result["clients"][0]["done"], 2000)
        self.assertEqual(result["faults"], [{"name": "accept4", "error": "EMFILE", "at": at} for at in (0, 1000)])
        self.assertEqual(self.run_of("02-threaded; 0:pthread_create=EAGAIN 0:/fast")["clients"][0]["done"], 10)
        self.assertEqual(self.run_of("05-epoll; 0:malloc=ENOMEM 0:/fast")["clients"][0]["done"], 1000)
        for error in ("ENOMEM", "ENOSPC"):
            result = self.run_of(f"05-epoll; 0:epoll_ctl={error} 0:silent")
            self.assertEqual(result["clients"][0]["ended"], 0, error)
            self.assertIn(f"-1 {error}", " ".join(call["result"] for call in result["calls"]))

    def test_client_with_a_window(self):
        for stage in STAGES:
            result = self.run_of(f"{stage}; 0:/fast 0:window=100")
            client, sent = result["clients"][0], [call["value"] for call in result["calls"] if call["name"] == "sendto"]
            self.assertEqual((client["body"], client["done"]), ("That was fast!", math.ceil(sum(sent) / 100)), stage)
            self.assertEqual(len(sent), 1 if stage[:2] < "03" else client["done"], stage)

    def test_client_whose_window_closes_is_not_writable(self):
        for stage in STAGES[2:]:
            result = self.run_of(f"{stage} --timeout 1; 0:pipeline=4 0:stop-reading 0~9:window=20")
            self.assertLess(len(result["calls"]), 100, stage)

    def test_send_that_is_cut_short_returns_what_was_sent(self):
        """By a signal, and by SO_SNDTIMEO: only a send that has sent nothing fails."""
        for options, event in [("--timeout 1", "0.5:TERM"), ("--timeout 0.002", "50:/nowhere")]:
            result = self.run_of(f"01-blocking {options}; 0:/fast 0:window=10 {event}")
            sent = next(call for call in result["calls"] if call["name"] == "sendto")
            self.assertEqual(sent["value"], 10 * (1 + math.floor(sent["end"])), event)
        client = self.run_of("01-blocking; 0:/fast 0:window=10 0.5:TERM")["clients"][0]
        self.assertEqual(client["body"], "That was fast!")

    def test_client_that_keeps_its_connection(self):
        for stage in STAGES[1:]:
            client = self.run_of(f"{stage} --delay 1; 0:keep 100:ask=/slow")["clients"][0]
            self.assertEqual([(answer["at"], answer["status"]) for answer in client["answers"]],
                             [(0, "200"), (1100, "200")])
            self.assertEqual(client["ended"], 11100)

    def test_body_is_not_read_as_a_request(self):
        for stage in STAGES:
            client = self.run_of(f"{stage}; 0:post")["clients"][0]
            self.assertEqual(([answer["status"] for answer in client["answers"]], client["ended"], client["reset"]),
                             (["405"], 0, None))

    def test_interrupted_thread_lets_others_run_first(self):
        """Which thread takes the job depends on it."""
        orders = {tuple(call["thread"] for call in self.run_of(
            f"02-threaded; 3x0:/fast 0~{steps}:yield")["calls"] if call["start"] == 0) for steps in range(1, 20)}
        self.assertGreater(len(orders), 5)

    def test_thread_stands_still(self):
        """It alone: other threads, clients and the clock go on."""
        for stage, fast in [("01-blocking", 30), ("02-threaded", 15), ("05-epoll", 30)]:
            result = self.run_of(f"{stage} --delay 1; 0:silent 0:half 1:close@1 10:rest 10~1:yield=20 15:/fast")
            self.assertEqual([client["done"] for client in result["clients"][1:]], [30, fast], stage)

    # ---- the sentences

    def test_page_says_what_the_recorder_says(self):
        """The page's sentence about /fast, and that of the recorder on the same run as a log: the same claim, thread,
        call and line. Either may go on after that."""
        texts = [f"{stage} {options} --delay 1; 0:/slow 100:/fast" for stage in STAGES
                 for options in ["", "--compute", *(POOLS if stage[:2] > "02" else [])]]
        seen = set()
        for text in [*texts, *(each for each in node(SOLUTIONS) if "idle" not in each)]:
            answer = self.simulation.ask(text=text, want=["result", "strace", "sentences"], settings={"until": 30000})
            self.assertNotIn("error", answer, text)
            header = "".join(f"# {line}\n" for line in answer["strace"]["header"])
            recorder = understand.understand(strace_log.read(header + answer["strace"]["text"])[0]).sentence
            if recorder.startswith("Nothing can be said"):
                continue           # no pair of /slow and /fast
            page = [words for client, words in zip(answer["result"]["clients"], answer["sentences"])
                    if client["path"] == "/fast"][-1]
            with self.subTest(text):
                self.assertEqual(claim(page), claim(recorder), f"{page} / {recorder}")
            seen.add(claim(page))
        self.assertGreater(len(seen), 12, seen)

    # ---- lines

    def test_each_line_contains_its_call(self):
        words = {"recvfrom": "recv", "sendto": "send", "clock_nanosleep": "clock_sleep_until|clock_nanosleep|block",
                 "pselect6": "pselect|select", "epoll_ctl": "epoll_ctl",
                 "rt_sigprocmask": "sigprocmask|pthread_sigmask",
                 "rt_sigaction": "sigaction|stop_catch|signal", "futex": "pthread_|sem_", "clone3": "pthread_create",
                 "exit_group": "exit", "prlimit64": "setrlimit|net_limit", "eventfd2": "eventfd",
                 "(computes)": "clock_gettime",
                 "getsockname": "getsockname|listen|open", "socket": "socket|listen|open", "bind": "bind|listen|open",
                 "setsockopt": "setsockopt|listen|open|limit", "listen": "listen|open", "openat": "open",
                 "write": "write|fflush|listen|open|die"}
        bundle = json.loads(BUNDLE.read_text())
        seen = 0
        for stage in STAGES:
            for options in (["", "--block", "--compute", "--block --threads 1"] if stage[:2] > "02" else [""]):
                result = self.run_of(f"{stage} --delay 0.5 --timeout 1 {options}; 0:/slow 10:/fast "
                                     "100:silent 200:half 300:half 350:reset 400:/nowhere 500:pipeline 3000:TERM")
                for call in result["calls"]:
                    for place in call["stack"][:1]:
                        file, _, number = place.split(" ")[1].rpartition(":")
                        line = bundle["sources"][file][int(number) - 1]
                        expected = words.get(call["name"], call["name"]) + ("|ev_" if stage == "06-libev" else "")
                        self.assertRegex(line, rf"\b({expected})", f"{stage} {call['name']} {place}")
                        seen += 1
        self.assertGreater(seen, 500)

    def test_call_from_the_servers_own_lines_is_named(self):
        for stage in STAGES:
            result = self.run_of(f"{stage} --delay 0.5; 0:/slow 100:/fast")
            named = [call for call in result["calls"] if call["line"]]
            self.assertGreater(len(named), 10)
            if stage != "06-libev":
                self.assertTrue(any(call["line"].startswith(stage) for call in named))

    def test_wait_that_began_before_anything_is_recorded_is_recorded(self):
        waits = ["recvfrom", "accept4", "pselect6", "ppoll", "epoll_pwait", "epoll_wait"]
        for stage, wait in zip(STAGES, waits):
            for option in ["", "--block --threads 1"] if stage[:2] > "02" else [""]:
                result = self.run_of(f"{stage} --delay 1 {option}; 0:idle=100 100:/fast")
                first = [call for call in result["calls"] if call["thread"] == 1][0]
                with self.subTest(stage=stage, option=option):
                    self.assertEqual(first["name"], wait)
                    self.assertLess(first["start"], 0)
                    self.assertEqual(first["end"], 9500 if stage[:2] == "01" else 100)
                    if stage[:2] not in ("02", "06") and not option:
                        self.assertRegex(first["line"], rf"^(common/blocking|{stage}/server)\.c:\d+$")

    def test_run_ends_where_enough_calls_are_recorded(self):
        result = self.run_of("03-select --delay 1; 0:idle=10000 0:/fast", settings={"enough": 1000})
        self.assertTrue(1000 <= len(result["calls"]) < 10000)
        self.assertTrue(result["end"]["cut"])
        self.assertEqual(result["now"], max(call["end"] or 0 for call in result["calls"]))

    # ---- what a server may not do

    def test_server_that_misbehaves_is_stopped(self):
        with Simulation(build.build_programs(tool.scratch() / "programs")) as simulation:
            self.assertIn("makes no call", simulation.ask(text="loop; 0:/fast")["stopped"])
            for name, words in [("trap", "trapped"), ("nap", "1,000,000 calls"), ("fork", "has no fork"),
                                ("unknown", "^the simulation has no timerfd_create$")]:
                end = simulation.ask(text=f"{name}; 0:/fast")["result"]["end"]
                self.assertEqual(end["kind"], "stopped", name)
                self.assertRegex(end["text"], words)

    def test_busy_loop_is_stopped(self):
        end = self.run_of("hang-up-spin-epoll --delay 1; 0:half=/slow 50:rest 100:reset")["end"]
        self.assertEqual((end["kind"], end["at"]), ("stopped", 100), end)
        self.assertIn("while no time passed", end["text"])

    def test_options_are_those_of_the_server(self):
        result = self.run_of("05-epoll --delay soon; 0:/fast")
        self.assertEqual((result["end"]["kind"], result["end"]["status"]), ("exited", 2))
        self.assertIn("--delay soon: want seconds", result["output"][0]["text"])

    # ---- the bugs that are built as stages

    def test_bugs_that_are_built_as_stages_show(self):
        self.assertEqual(self.statuses("lost-wake-up --delay 1 --block --threads 2; 0:/slow 100:/fast"),
                         ["no answer", "200"])
        lost = self.simulation.ask(text="lost-wake-up --block --threads 1 --delay 1; 0:/slow 100:/fast",
                                   want=["sentences"])
        self.assertRegex(lost["sentences"][0],
                         "/slow was not answered: the main thread was in epoll_pwait, .* although thread 2 had nothing")
        self.assertEqual(self.statuses("select-keeps-its-sets --delay 1; 0:/slow 1100:/fast"), ["200", "no answer"])
        for stage in ("03-select", "05-epoll"):
            self.assertEqual(self.statuses(f"{stage} --delay 1 --block --threads 2; 0:/slow 1100:/fast"),
                             ["200", "200"])

    # ---- the simulated kernel

    def test_backlog_drops_what_it_cannot_hold(self):
        result = self.run_of("01-blocking --delay 1 --timeout 1; 0:idle=4100 0:/fast", settings={"recordFrom": 1e9})
        self.assertEqual(max(length for _, length in result["backlog"]), 4097)
        self.assertGreaterEqual(result["clients"][0]["connected"], 1000)
        self.assertEqual(result["clients"][0]["retries"][:3], [0, 1000, 2000])

    def test_threads_and_descriptors_are_limited(self):
        alone = self.run_of("04-poll; 0:idle=1200")            # they connect, though no other client comes
        self.assertEqual((alone["idle"]["accepted"], alone["end"]["at"]), (1200, 0))
        many = self.run_of("02-threaded --timeout 60; 0:idle=1200", settings={"until": 1000})
        self.assertEqual((len(many["threads"]), many["idle"]["accepted"]), (1001, 1001))
        many = self.run_of("03-select --timeout 60; 0:idle=1200", settings={"until": 1000})
        self.assertEqual(many["idle"]["accepted"], 1024 - 4)  # 0, 1, 2, and the listener

    def test_client_that_stops_reading_is_given_up(self):
        for stage in STAGES:
            result = self.run_of(f"{stage} --timeout 1; 0:silent 100:/fast")
            self.assertEqual(result["clients"][1]["status"], "200")
        result = self.run_of("05-epoll --timeout 1; 0:pipeline=3000 0:stop-reading 100:/fast")
        full = [call for call in result["calls"] if call["name"] == "sendto" and "EAGAIN" in call["result"]]
        self.assertEqual([call["start"] for call in full], [1000])  # a last try; before, it was watched for writing
        self.assertEqual(result["clients"][1]["status"], "200")
        self.assertEqual(result["clients"][0]["ended"], 1000)

    def test_second_interrupt_ends_it_and_second_term_does_not(self):
        end = self.run_of("01-blocking --delay 1; 0:/slow 100:INT 200:INT")["end"]
        self.assertEqual((end["kind"], end["signal"], end["at"]), ("killed", "SIGINT", 200))
        end = self.run_of("01-blocking --delay 1; 0:/slow 100:TERM 200:TERM")["end"]
        self.assertEqual((end["kind"], end["status"], end["at"]), ("exited", 0, 1000))
        for stage in ["05-epoll", "06-libev"]:  # computing, it hears each signal when it comes
            end = self.run_of(f"{stage} --compute --delay 1; 0:/slow 3:TERM 10:INT")["end"]
            self.assertEqual((end["kind"], end["signal"], end["at"]), ("killed", "SIGINT", 10))

    def test_computing_takes_its_time_and_a_processor_for_each_thread(self):
        result = self.run_of("05-epoll --compute --delay 2.5; 0:/slow 100:/fast")
        self.assertEqual([client["done"] for client in result["clients"]], [2500, 2500])
        result = self.run_of("05-epoll --compute --threads 2 --delay 0.5; 2x0:/slow 100:/fast 200:/slow")
        self.assertEqual([client["done"] for client in result["clients"]], [500, 500, 100, 1000])

    def test_ten_thousand_idle_clients(self):
        for stage in STAGES[3:]:
            result = self.run_of(f"{stage} --delay 1; 0:idle=10000 0:/slow 100:/fast")
            self.assertEqual([client["done"] for client in result["clients"]], [1000, 100])
            self.assertEqual(result["idle"]["accepted"], 10000)
        # The next client waits until the first have timed out.
        for stage, accepted in (("02-threaded", 2001), ("03-select", 2040)):
            result = self.run_of(f"{stage} --delay 1; 0:idle=10000 0:/fast", settings={"patience": 12000})
            self.assertEqual((result["idle"]["accepted"], result["end"]["cut"]), (accepted, True))
            self.assertEqual(result["clients"][0]["answered"], None)


class Command(unittest.TestCase):
    def play(self, *words, **options):
        return subprocess.run([str(TESTS / "play.py"), *words], capture_output=True, text=True, cwd=ROOT, **options)

    def test_prints_the_table_of_the_probe(self):
        done = self.play("05-epoll", "--delay", "1", "0:/slow", "100:/fast")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(done.stdout.splitlines()[1].split(),
                         "/slow 0.0 ms 0.0 ms 1.000 s 1.000 s 1.000 s 200 That was slow!".split())

    def test_shots_of_a_step_and_what_fails(self):
        done = self.play("05-epoll", "--delay", "1", "0:silent", "100~2:reset", "200:/fast", "200:accept4=EMFILE")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"(?m)^/fast +0\.200 s .* 200 ")

    def test_address_bar_of_the_page_will_do_and_a_query_breaks_no_rule(self):
        done = self.play("file:///play.html#05-epoll+--delay=1;+0:/slow?a%2Bb+9:/fast?c;+goal+1;+with+04-poll;+at+50")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("/slow?a+b", done.stdout)

    def test_prints_calls_with_lines(self):
        done = self.play("#05-epoll+--delay+1;+0:/slow", "--calls")
        self.assertRegex(done.stdout, r"(?m)^ +0\.0 +main thread  accept4\(3, .*\) = 5  common/\w+\.c:\d+$")

    def test_recorder_reads_its_log(self):
        log = tool.scratch() / "log"
        self.play("02-threaded", "--delay", "1", "0:/slow", "100:/fast", "--strace", str(log))
        told = subprocess.run([str(TESTS / "trace.py"), "--from", str(log)], capture_output=True, text=True,
                              cwd=ROOT).stdout
        self.assertIn("/fast did not wait: thread 3 answered it, while thread 2 was in clock_nanosleep", told)

    def test_wrong_command_line_is_named(self):
        done = self.play("05-epoll", "0:/slow", "100:foo")
        self.assertEqual(done.returncode, 2)
        self.assertIn("^\nplay.py: foo: want an action", done.stderr)
        self.assertEqual(self.play("nothing", "0:/fast").returncode, 2)
        self.assertEqual(self.play("05-epoll").returncode, 2)
        self.assertEqual(self.play("05-epoll", "--delay", "x", "0:/fast").returncode, 2)
        self.assertRegex(self.play().stderr, "want a stage")


if __name__ == "__main__":
    tool.run(unittests.main)
