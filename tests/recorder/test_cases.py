"""Do the tools tell the truth about servers of many kinds? Each case says which words must be in the sentence, and
which must never be: a wrong thread, call, address, or "computing". "Cannot be seen" is a right answer only where a case
has it among its words. A case whose program is not installed is skipped, and counted.
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import unittest
from collections import Counter

from kit import processes, tool, unittests
from kit.commandline import Parser, whole_number
from kit.servers import Server
from kit.tree import ROOT, TESTS, built
from kit.urls import connects, free_port
from recorder import strace_log, understand
from recorder.cases.expected import CASES, DELICATE

HERE = pathlib.Path(__file__).resolve().parent / "cases"
PATIENCE = 90  # seconds
COMPILING = 400  # the same, for a compiler: that of Go compiles its library first
TRIES = 3      # a machine that is busy can make anything wait; but what must never be said must never be said


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

    def made(self, command, source, name, *words):
        """Compile a program, once, and return it. Skip the test if that does not work here."""
        program = self.folder / name
        if not program.exists():
            if shutil.which(command) is None:
                self.skipTest(f"{command} is not installed")
            made = subprocess.run([command, *words, HERE / source], capture_output=True, cwd=HERE, timeout=COMPILING,
                                  env={**os.environ, "HOME": str(self.folder)})
            if made.returncode != 0:
                self.skipTest(f"{command} {' '.join(map(str, words))} does not work here")
        return program

    def compiled(self, name, *flags):
        program = self.made("cc", "ways.c", name, "-O1", "-pthread", *flags, "-o", self.folder / name)
        try:
            subprocess.run([program], timeout=PATIENCE)  # without a port, it ends
        except OSError:
            self.skipTest(f"this kernel runs no programs of cc {' '.join(flags)}")
        return program

    def with_a_ring(self):
        """05-epoll, which tells its epoll through io_uring what to watch."""
        program = self.made("cc", "ring.c", "05-epoll-ring", "-D_GNU_SOURCE", f"-I{ROOT}", ROOT / "05-epoll/server.c",
                            *sorted(ROOT.glob("common/*.c")), "-g", "-pthread", "-o", self.folder / "05-epoll-ring")
        if subprocess.run([program, "--version"], capture_output=True, timeout=PATIENCE).returncode != 0:
            self.skipTest("there is no io_uring here")
        return program

    def configured(self, name, port, **words):
        """A folder with this configuration."""
        text = (HERE / name).read_text()
        for word, value in {"FOLDER": self.folder, "PORT": port, "UPSTREAM": self.ports["up"], **words}.items():
            text = text.replace(word, str(value))
        (self.folder / name).write_text(text)
        return self.folder

    def known(self, port, setting):
        """What may stand in a command, in braces: {name: the function that makes it}."""
        return {
            "ways": lambda: self.compiled("ways"),
            "ways32": lambda: self.compiled("ways32", "-m32", "-I/usr/include/x86_64-linux-gnu"),
            "ring": self.with_a_ring,
            "go": lambda: self.made("go", "ways.go", "go-ways", "build", "-o", self.folder / "go-ways"),
            "classes": lambda: self.made("javac", "Ways.java", "Ways.class", "-d", self.folder).parent,
            "nginx": lambda: self.configured("nginx.conf", port, MASTER=setting.get("MASTER", "off")),
            "apache": lambda: self.configured("apache.conf", port, MPM=setting.get("MPM", "")),
        }

    def server(self, case):
        """Return the URL of the server of a case, its command in words, and the arguments that start it. Skip the
        test if the server cannot run here."""
        port, command, setting = free_port(), case.command, {}
        known = {**self.ports, "port": port, "build": built("05-epoll").parent}
        while re.match(r"[A-Z_]+=", command):
            word, command = command.split(None, 1)
            setting.update([word.format(**known).split("=")])
        known.update({name: make() for name, make in self.known(port, setting).items() if f"{{{name}}}" in command})
        words = command.format(**known).split()
        if shutil.which(words[0], path=f"{os.environ['PATH']}:/usr/sbin") is None:
            self.skipTest(f"{words[0]} is not installed")
        if case.needs and subprocess.run([words[0], "-c", case.needs], capture_output=True).returncode:
            self.skipTest(f"{case.needs}: that fails here")
        arguments = {"env": {**os.environ, "DELAY": "1", "TMPDIR": str(self.folder), **setting},
                     "cwd": TESTS / case.folder if case.folder else HERE}
        return f"http://127.0.0.1:{port}", words, arguments

    def record(self, case):
        """Record a case, and return what is said of it."""
        url, words, arguments = self.server(case)
        log = self.folder / "log"
        run = subprocess.run([sys.executable, str(TESTS / "trace.py"), url, "--raw", str(log), *self.options(case),
                              "--", *words], capture_output=True, text=True, timeout=PATIENCE, **arguments)
        self.assertEqual((run.returncode, run.stderr), (0, ""), run.stdout)
        recorded, = map(understand.understand, strace_log.read(log.read_text()))
        self.assertIn(recorded.sentence, run.stdout)
        return recorded.sentence

    def agree(self, case):
        """Judge a case until latency.py says what it must, TRIES times at most."""
        for _ in range(TRIES):
            verdict = self.judge(case)
            if re.match(case.verdict, verdict):
                return
        self.assertRegex(verdict, case.verdict)

    def judge(self, case):
        """Return the verdict of latency.py."""
        url, words, arguments = self.server(case)
        with processes.Program(words, **arguments) as server:
            self.assertTrue(processes.wait_until(lambda: connects(url)), server.messages())
            run = subprocess.run([sys.executable, str(TESTS / "latency.py"), url], capture_output=True, text=True,
                                 timeout=PATIENCE)
        return (re.search(r"delays +\S+ +(.*)", run.stdout) or ["", run.stdout + run.stderr])[1]

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
        if case.verdict:
            self.agree(case)

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
    """The same without what differs each time: lengths, how often, ports, processes, names of temporary files."""
    for pattern, name in [(r"127\.0\.0\.1:\d+", "ADDRESS"), (r"\d+(\.\d+)? m?s\b", "TIME"),
                          (r"[\d,]+ times", "N times"), (r"process \d+", "process N"), (r"/tmp/\S*\d\S*", "FILE")]:
        sentence = re.sub(pattern, name, sentence)
    return sentence


def main(arguments):
    parser = Parser(description=__doc__, usage="%(prog)s [--repeat TIMES] [CASE]...")
    parser.add_argument("cases", metavar="CASE", nargs="*")
    parser.add_argument("--repeat", metavar="TIMES", type=whole_number(1, 1000),
                        help="record these, or the most delicate ones, so many times, and print which sentences came")
    options = parser.parse_args(arguments)
    for name in options.cases:
        if name not in CASES:
            parser.error(f"{name}: there is no such case in tests/recorder/cases/expected.py")
    if options.repeat:
        return repeat(options.repeat, options.cases or DELICATE)
    return unittests.main([f"Cases.test_{name.replace('-', '_')}" for name in options.cases])


if __name__ == "__main__":
    tool.run(main)
