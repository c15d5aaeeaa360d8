"""Do the tools tell the truth about servers of many kinds? Each case says which words must be in the sentence, and
which must never be: a wrong thread, call, address, or "computing". "Cannot be seen" is a right answer only where a case
has it among its words. A case whose program is not installed is skipped, and counted.

usage: python3 -m recorder.test_cases [CASE]...
       python3 -m recorder.test_cases repeat TIMES [CASE]...
"""
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import unittest
from collections import Counter
from dataclasses import dataclass

from kit import processes, tool, unittests
from kit.servers import Server
from kit.tree import TESTS, built
from recorder import strace_log, understand

HERE = pathlib.Path(__file__).resolve().parent / "cases"
PATIENCE = 90  # seconds
TRIES = 3      # a machine that is busy can make anything wait; but what must never be said must never be said
PYTHON = "/usr/bin/python3" if os.access("/usr/bin/python3", os.X_OK) else sys.executable
FALSE = r"computing|for a lock|its turn|process \d"  # what most of them do not do
WAITED, DID_NOT = "/fast waited", "/fast did not wait"


@dataclass
class Case:
    command: str            # {port}, {up}: a stage with a delay of a second; {quick}: the same with 5 ms
    must: list              # regular expressions
    never: str = FALSE
    options: str = ""       # of trace.py
    folder: str = ""        # of the command, below tests/

    @property
    def program(self):
        return self.command.split()[0]


def asyncio(way):
    return f"{PYTHON} asyncio_ways.py {{port}} {way}"


def http(way):
    return f"{PYTHON} http_ways.py {{port}} {way}"


UP = r"127\.0\.0\.1:{up}"
QUICK = r"127\.0\.0\.1:{quick}"
LOOP = r"the only thread was waiting for any client, in epoll_p?wait"
BEHIND = r"/fast waited [\d.]+ m?s for something inside the program \(a lock, a pool\), or behind it"
FREE = r"the (only|main) thread had read it, and was free, in epoll_p?wait"
SLEEP = r"the only thread was in (clock_nanosleep|select)"

CASES = {
    # ---- Python: a loop
    "asyncio-sleep": Case(asyncio("sleep"), [DID_NOT, LOOP]),
    "asyncio-lock": Case(asyncio("lock"), [BEHIND, FREE], r"computing|in clock_nanosleep|was in epoll"),
    "asyncio-pool": Case(asyncio("pool"), [BEHIND, FREE, r"meanwhile thread 2.* was in (clock_nanosleep|select)"],
                         r"computing|the only thread"),
    "asyncio-await": Case(asyncio("await {up}"), [DID_NOT, LOOP, rf"while /slow waited for {UP}"]),
    "asyncio-both": Case(asyncio("both {up}"),
                         [rf"/fast waited .* for {UP}: the only thread had read it, and was free"],
                         r"computing|a lock"),
    "asyncio-leak": Case(asyncio("leak"), [DID_NOT, LOOP], FALSE, "--timeout 3"),
    "asyncio-urllib": Case(asyncio("urllib {up}"), [WAITED, rf"the only thread was in recvfrom, for {UP}"]),
    "asyncio-queries": Case(asyncio("queries {quick}"),
                            [WAITED, rf"the only thread was in (recvfrom|poll), \d+ times, [\d.]+ ms each, for "
                                     rf"{QUICK}"]),
    "asyncio-fifo": Case(asyncio("fifo"), [WAITED, r"the (main|only) thread was in openat, for \S*/orders\.fifo"]),
    "asyncio-child": Case(asyncio("child"), [WAITED, r"was in wait4, for its child process \(sleep 1\); "
                                             r"meanwhile it was in (clock_)?nanosleep"], r"computing|for a lock"),
    "asyncio-names": Case(asyncio("names"), [WAITED, r"was in recvfrom, for the name server 127\.0\.0\.1:53"]),
    "asyncio-compute": Case(asyncio("compute"), [WAITED, r"the only thread was computing"], r"in [a-z_]+\b|lock"),
    # ---- Python: threads and processes
    "http-sleep": Case(http("sleep"), [WAITED, SLEEP]),
    "http-cold": Case(http("cold"), [WAITED, SLEEP]),
    "http-cached": Case(http("cached"), [WAITED, SLEEP]),
    "http-stream": Case(http("stream"), [WAITED, SLEEP]),
    "http-stopped": Case(http("stopped"), [WAITED, r"in stopped, for a signal that lets it go on"],
                         r"computing|for a lock|restart"),
    "http-flock": Case(http("flock"), [WAITED, r"in flock, for the lock of \S*/stock-\d+\.lock"],
                       r"computing|its turn"),
    "http-pipe": Case(http("pipe"), [WAITED, r"for its child process \(sh -c .*\); meanwhile it was in wait4|"
                                     r"for its child process \(s"], r"computing|for a lock"),
    "http-thread": Case(http("thread"),
                        [DID_NOT, r"thread \d.* answered it, while thread \d.* was in (clock_nano|sele)"]),
    "http-mutex": Case(http("mutex"),
                       [WAITED, r"read but not answered: thread 3.* was in futex.*, until thread 2.* woke it; "
                                       r"meanwhile thread 2.* was in (clock_nanosleep|select)"],
                       r"computing|main thread|only"),
    "http-event": Case(http("event"),
                       [WAITED, r"thread 3.* was in futex.*, until thread 2.* woke it; meanwhile thread 2.* was "
                                       r"in (clock_nanosleep|select)"], r"computing|main thread|only"),
    "http-deadlock": Case(http("deadlock"), [r"/fast was not answered: thread 3.* was in futex.*, for a lock "
                                             r"or another thread, which did not come; so was thread 2.* \(for /slow\)"],
                          r"computing|main thread|only", "--timeout 3"),
    "http-database": Case(http("database {up}"), [WAITED, r"thread 3.* was in futex.*, until thread 2.* woke it",
                                                  rf"meanwhile thread 2.* was in recvfrom, for {UP}"],
                          r"computing|main thread|only"),
    "http-gil": Case(http("gil"), [WAITED, r"(the main thread|thread \d).* was in futex.* waiting for its turn",
                                   r"meanwhile thread 2.* was computing"],
                     r"(main thread|thread 3.*) was computing|only"),
    "http-prefork": Case(http("prefork"),
                         [DID_NOT, r"worker \d answered it, while worker \d was in (clock_nano|select)"]),
    "http-passing": Case(http("passing"), [WAITED, r"accepted but unread: worker 1 was in (clock_nanosleep|select)"],
                         r"computing|for a lock|parent was"),
    # ---- Node
    "node-timer": Case("node node_ways.js {port} timer",
                       [DID_NOT, r"the main thread was waiting for any client, in epoll"],
                       r"computing|for a lock|only"),
    "node-compute": Case("node node_ways.js {port} compute", [WAITED, r"the main thread was computing"],
                         r"for a lock|in epoll|in futex|only"),
    "node-fetch": Case("node node_ways.js {port} fetch {up}",
                       [DID_NOT, rf"waiting for any client.*/slow waited for {UP}"],
                       r"computing|for a lock|only"),
    "node-child": Case("node node_ways.js {port} child",
                       [WAITED, r"the main thread was in (epoll_p?wait|wait4|poll), for its "
                                                          r"child process"], r"computing|any client|only"),
    "node-pool": Case("UV_THREADPOOL_SIZE=1 node node_ways.js {port} pool",
                      [BEHIND, r"the main thread had read it, and was free, in epoll", r"thread \d+.* was computing"],
                      r"main thread was computing|only"),
    # The parent passes /fast to one of the two: to the one that computes, or to the other.
    "node-cluster": Case("node node_ways.js {port} cluster",
                         [r"(worker \d answered it, while|accepted but unread:) worker \d was computing"],
                         r"parent|for a lock|only"),
    # ---- Java, Ruby, Perl, PHP
    "java-plain": Case("java -cp {classes} Ways {port} plain",
                       [WAITED, r"thread \d+ \(HTTP-Dispatcher\) was in futex, a timed wait"],
                       r"computing|only|for a lock"),
    "java-cached": Case("java -cp {classes} Ways {port} cached",
                        [DID_NOT, r"\(pool-1-thread-\d\) answered it, while thread \d+ \(pool-1-thread-\d\) was in "
                                  r"futex, a timed wait"], r"computing|only|for a lock"),
    "java-fixed2": Case("java -cp {classes} Ways {port} fixed2",
                        [DID_NOT, r"while thread \d+ \(pool-1-thread-\d\) was in futex, a timed wait"],
                        r"computing|only|for a lock"),
    "java-fixed2-busy": Case("java -cp {classes} Ways {port} fixed2",
                             [WAITED, r"\(pool-1-thread-\d\) was in futex, a timed wait"], r"computing|only|for a lock",
                             "--shots 2x0:/slow\\ 100:/fast"),
    "java-sync": Case("java -cp {classes} Ways {port} sync",
                      [WAITED, r"read but not answered: thread \d+ \(pool-1-thread-\d\) was in futex"],
                      r"computing|only|HTTP-Dispatcher\) was"),
    "ruby-one": Case("ruby ways.rb {port} one", [WAITED, r"thread was in (futex, a timed wait|\w*select\w*|ppoll)"],
                     r"computing|for a lock"),
    "ruby-threads": Case("ruby ways.rb {port} threads", [DID_NOT, r"thread \d.* answered it, while thread \d"],
                         r"computing|only|for a lock"),
    "ruby-mutex": Case("ruby ways.rb {port} mutex", [WAITED, r"thread \d.* was in futex"], r"computing|only"),
    "ruby-compute": Case("ruby ways.rb {port} compute", [WAITED, r"thread was computing"], r"for a lock|its turn"),
    "perl-one": Case("perl ways.pl {port} one", [WAITED, r"the only thread was in p?select"]),
    "perl-fork": Case("perl ways.pl {port} fork", [DID_NOT, r"worker \d answered it, while worker \d was in p?select"],
                      r"computing|only"),
    "php-one": Case("php -S 127.0.0.1:{port} slow.php", [WAITED, r"the only thread was in (clock_)?nanosleep"]),
    # ---- C
    "c-mutex": Case("{mutex} {port}",
                    [WAITED, r"read but not answered: thread 3 was in futex.*, until thread 2 woke it; "
                                       r"meanwhile thread 2 was in (clock_)?nanosleep"], r"computing|only|main"),
    "c-32-bit": Case("{mutex32} {port}", [WAITED, r"thread 3 was in futex\S*, until thread 2 woke it; "
                                          r"meanwhile thread 2 was in (clock_)?nanosleep"], r"computing|only|main"),
    "stage-05": Case("{build}/05-epoll --port {port} --delay 1", [DID_NOT, LOOP]),
    "stage-05-block": Case("{build}/05-epoll --port {port} --delay 1 --block",
                           [WAITED, r"the only thread was in clock_nanosleep"]),
    "stage-01-busy": Case("{build}/01-blocking --port {port} --delay 1 --workers 2",
                          [WAITED, r"worker \d was in clock_nanosleep"], FALSE, "--shots 2x0:/slow\\ 100:/fast"),
    # ---- servers that people run
    "gunicorn": Case("gunicorn -b 127.0.0.1:{port} flask_app:app", [WAITED, r"the only worker was in clock_nanosleep"],
                     FALSE, folder="bench/apps"),
    "gunicorn-2": Case("gunicorn -w 2 -b 127.0.0.1:{port} flask_app:app",
                       [DID_NOT, r"worker \d answered it, while worker \d was in clock_nanosleep"], FALSE,
                       folder="bench/apps"),
    "gunicorn-threads": Case("gunicorn --threads 2 -b 127.0.0.1:{port} flask_app:app",
                             [DID_NOT, r"thread \d.* answered it, while .*thread \d.* was in clock_nanosleep"], FALSE,
                             folder="bench/apps"),
    "uvicorn": Case("uvicorn --port {port} fastapi_app:app", [DID_NOT, r"waiting for any client, in epoll_p?wait"],
                    FALSE, folder="bench/apps"),
    "nginx": Case("nginx -p {nginx} -c {nginx}/nginx.conf",
                  [DID_NOT, rf"waiting for any client, in epoll_wait.*/slow waited "
                                                             rf"for {UP}"]),
}
DELICATE = ["asyncio-lock", "asyncio-pool", "asyncio-await", "asyncio-queries", "http-gil", "http-mutex",
            "http-database", "http-passing", "node-cluster", "c-mutex"]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Cases(unittest.TestCase):
    """A test for each of the cases: they are added below."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tool.scratch()
        cls.upstreams = {"up": Server("05-epoll", "--delay", "1"), "quick": Server("05-epoll", "--delay", "0.005")}
        cls.ports = {name: server.port for name, server in cls.upstreams.items()}

    @classmethod
    def tearDownClass(cls):
        for server in cls.upstreams.values():
            server.stop()

    def compiled(self, name, *flags):
        program = self.folder / name
        if not program.exists():
            made = subprocess.run(["cc", "-O1", "-pthread", *flags, "-o", program, HERE / "mutex.c"],
                                  capture_output=True)
            if made.returncode != 0:
                self.skipTest(f"cc {' '.join(flags)} does not work here")
            try:
                subprocess.run([program], timeout=PATIENCE)  # without a port, it ends
            except OSError:
                self.skipTest(f"this kernel runs no programs of cc {' '.join(flags)}")
        return program

    def classes(self):
        if shutil.which("javac") is None:
            self.skipTest("javac is not installed")
        if not (self.folder / "Ways.class").exists():
            subprocess.run(["javac", "-d", self.folder, HERE / "Ways.java"], check=True, timeout=PATIENCE)
        return self.folder

    def nginx(self, port):
        text = (HERE / "nginx.conf").read_text()
        text = text.replace("PORT", str(port)).replace("UPSTREAM", str(self.ports["up"]))
        (self.folder / "nginx.conf").write_text(text)
        return self.folder

    def record(self, case):
        """Record a case, and return what is said of it."""
        port, command, environment = free_port(), case.command, {**os.environ, "DELAY": "1"}
        if re.match(r"[A-Z_]+=", command):
            setting, command = command.split(None, 1)
            environment.update([setting.split("=")])
        known = {**self.ports, "port": port, "build": built("05-epoll").parent}
        for name, make in [("classes", self.classes), ("mutex", lambda: self.compiled("mutex")),
                           ("mutex32", lambda: self.compiled("mutex32", "-m32", "-I/usr/include/x86_64-linux-gnu")),
                           ("nginx", lambda: self.nginx(port))]:
            if f"{{{name}}}" in command:
                known[name] = make()
        words = command.format(**known).split()
        if shutil.which(words[0], path=f"{os.environ['PATH']}:/usr/sbin") is None:
            self.skipTest(f"{words[0]} is not installed")
        log = self.folder / "log"
        run = subprocess.run([sys.executable, str(TESTS / "trace.py"), f"http://127.0.0.1:{port}", "--raw", str(log),
                              *self.options(case), "--", *words],
                             capture_output=True, text=True, timeout=PATIENCE, env=environment,
                             cwd=TESTS / case.folder if case.folder else HERE)
        self.assertEqual((run.returncode, run.stderr), (0, ""), run.stdout)
        recorded, = map(understand.understand, strace_log.read(log.read_text()))
        self.assertIn(recorded.sentence, run.stdout)
        return recorded.sentence

    @staticmethod
    def options(case):
        return [word.replace("\0", " ") for word in case.options.replace("\\ ", "\0").split()]

    def check(self, case, must=True):
        """Record a case once, and return what is said: never what must not be, and all that must be."""
        sentence = self.record(case)
        self.assertNotRegex(sentence, case.never)
        for pattern in self.must(case) if must else ():
            self.assertRegex(sentence, pattern)
        return sentence

    def must(self, case):
        return [pattern.format(**self.ports) if "{" in pattern else pattern for pattern in case.must]

    def tell(self, case):
        """Record until what must be said is said, TRIES times at most; never is said what must not be."""
        for _ in range(TRIES - 1):
            sentence = self.check(case, must=False)
            if all(re.search(pattern, sentence) for pattern in self.must(case)):
                return
        self.check(case)


def _add(name, case):
    def test(self):
        self.tell(case)

    setattr(Cases, f"test_{name.replace('-', '_')}", test)


for name, case in CASES.items():
    _add(name, case)


def repeat(times, names):
    """Record each of these cases so many times, beside two busy loops, and print which sentences came, without their
    numbers: there should be one, with all that must be said, and nothing that must not."""
    busy = [processes.start([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
    Cases.setUpClass()
    failed = 0
    for name in names:
        said = Counter()
        for _ in range(times):
            try:
                said[without_numbers(Cases(f"test_{name.replace('-', '_')}").check(CASES[name]))] += 1
            except (AssertionError, unittest.SkipTest) as error:
                said[str(error)] += 1
        failed += len(said) > 1 or not any(sentence.startswith("/fast") for sentence in said)
        print(f"{name}: {len(said)} of {times}")
        for sentence, count in said.most_common():
            print(f"  {count:3}  {sentence}", flush=True)
    Cases.tearDownClass()
    for each in busy:
        processes.stop(each)
    return 1 if failed else 0


def without_numbers(sentence):
    """The same without what differs each time: lengths, how often, ports, names of temporary files."""
    for pattern, name in [(r"127\.0\.0\.1:\d+", "ADDRESS"), (r"\d+(\.\d+)? m?s\b", "TIME"), (r"\d+ times", "N times"),
                          (r"/tmp/\S*\d\S*", "FILE")]:
        sentence = re.sub(pattern, name, sentence)
    return sentence


def main(arguments):
    """With "repeat N": these cases so many times, or the most delicate ones. With names of cases: these."""
    if arguments[:1] == ["repeat"]:
        return repeat(int(arguments[1]), arguments[2:] or DELICATE)
    return unittests.main([f"Cases.test_{name.replace('-', '_')}" for name in arguments])


if __name__ == "__main__":
    tool.run(main)
