"""Test the solution of the exercise 07-coroutines, in both ways to switch: that it links the object file of
common/blocking.c that 01 and 02 link, that each stack has its guard, and that three classic mistakes show."""
import platform
import re
import resource
import shlex
import shutil
import signal
import socket
import subprocess
import time
import unittest
from typing import NamedTuple, Tuple

from kit import tool, unittests
from kit.measuring import probe
from kit.processes import wait_until
from kit.servers import Server
from kit.tree import BUILD, ROOT

SOURCE = ROOT / "tests/judging/07-coroutines.c"
WAYS = ["assembly", "ucontext"]
SPARE_MOST = int(re.search(r"SPARE_MOST = (\d+)", SOURCE.read_text())[1])
STACK_KIB, MORE_KIB = 68, 1024  # with its guard; what else may grow: the heap
LIGHT_GUARDS = tuple(map(int, re.findall(r"\d+", platform.release())[:2])) >= (6, 13)  # MADV_GUARD_INSTALL


def serve(way="assembly", *options, program=None, **arguments):
    return Server("07-coroutines", *options, program=program or BUILD / way / "07-coroutines", **arguments)


def make(*arguments):
    done = subprocess.run(["make", "--no-print-directory", f"BUILD={BUILD.relative_to(ROOT)}", *arguments], cwd=ROOT,
                          stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


def maps(server):
    with open(f"/proc/{server.pid}/maps") as file:
        return file.read().splitlines()


def size_kib(server):
    """Return the size of its address space."""
    with open(f"/proc/{server.pid}/status") as file:
        return int(re.search(r"VmSize:\s*(\d+)", file.read())[1])


def connect(server, path="/slow", more=b""):
    client = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode() + more)
    return client


class Object(unittest.TestCase):
    def test_01_and_02_and_07_link_the_same_object_file(self):
        used = {}
        for program in "01-blocking", "02-threaded", "assembly/07-coroutines", "ucontext/07-coroutines":
            target = BUILD / program
            lines = make("--dry-run", "--always-make", str(target.relative_to(ROOT))).replace("\\\n", " ").splitlines()
            link = next(line.partition(";")[2] or line for line in lines if f"-o {target.relative_to(ROOT)} " in line)
            map_ = tool.scratch() / "map"
            command = shlex.split(link)
            command[command.index("-o") + 1] = str(tool.scratch() / "program")
            subprocess.run([*command, f"-Wl,-Map={map_}"], cwd=ROOT, check=True)
            used[program] = {line for line in re.findall(r"^LOAD (.*)$", map_.read_text(), re.M) if "blocking" in line
                             and "01-" not in line}
        self.assertEqual(len(set(map(frozenset, used.values()))), 1, used)
        self.assertEqual(len(used["01-blocking"]), 1, used)

    def test_it_is_not_included_and_has_no_macros_of_its_own(self):
        self.assertNotRegex(SOURCE.read_text(), r'#include ".*\.c"')
        self.assertNotRegex((ROOT / "common/blocking.c").read_text(), "(?i)coroutine|__wrap|__real")


GUARD = r"""
#include "tests/judging/stack.h"
#include <assert.h>
#include <stdlib.h>
#include <sys/wait.h>

static void nothing(void) {}

/* Return the signal that ends a process which touches this byte; 0: none. */
static int touch(volatile char *at)
{
    int status, child = fork();
    if (child == 0) {
        *at = 1;
        _exit(0);
    }
    assert(child > 0 && waitpid(child, &status, 0) == child);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

int main(void)
{
    struct stack stacks[8];
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (int i = 0; i < 8; i++)
        assert(stack_new(&stacks[i], 65536, nothing));
    for (int i = 0; i < 8; i++) {
        assert(touch(stacks[i].low) == 0 && touch(stacks[i].low + 65535) == 0);
        assert(touch(stacks[i].low - 1) == 11 && touch(stacks[i].low - page) == 11);
    }
    stack_free(&stacks[3]); /* and the neighbours stay as they are */
    assert(touch(stacks[3].low) == 11 && touch(stacks[2].low) == 0 && touch(stacks[4].low) == 0);
    return 0;
}
"""


class Stacks(unittest.TestCase):
    def check(self, *flags):
        source, program = tool.scratch() / "guard.c", tool.scratch() / "guard"
        source.write_text(GUARD)
        subprocess.run(["cc", "-std=gnu11", "-D_GNU_SOURCE", "-w", *flags, f"-I{ROOT}", source, "-o", program],
                       check=True)
        done = subprocess.run([program], stderr=subprocess.PIPE, text=True, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_page_below_each_stack_may_not_be_touched(self):
        self.check()
        self.check("-DUCONTEXT")

    def test_it_may_not_be_touched_on_an_older_kernel_either(self):
        self.check("-DMADV_GUARD_INSTALL=12345")  # which no kernel knows


class Serving(unittest.TestCase):
    def test_fast_overtakes_slow(self):
        for way in WAYS:
            with self.subTest(way), serve(way, "--delay", 3) as server:
                *slow, fast = probe(server.url, "200x0:/slow", "100:/fast")
                self.assertEqual({row["body"] for row in slow}, {"That was slow!"})
                self.assertEqual(fast["body"], "That was fast!")
                self.assertLess(fast["took_ms"], 2500)
                self.assertEqual(server.threads, 1)

    def test_stacks_of_many_clients_take_few_mappings_where_the_kernel_can_guard_a_page(self):
        with serve("assembly", "--delay", 20) as server:
            before = len(maps(server))
            clients = [connect(server) for _ in range(200)]
            self.assertTrue(wait_until(lambda: size_kib(server) > 200 * STACK_KIB))
            self.assertLess(len(maps(server)) - before, 20 if LIGHT_GUARDS else 2 * 200 + 20)
            for client in clients:
                client.close()

    def test_stacks_are_given_back(self):
        for way in WAYS:
            with self.subTest(way), serve(way, "--delay", 0.5) as server:
                before, descriptors = size_kib(server), server.descriptors
                probe(server.url, "500x0:/slow")
                self.assertTrue(wait_until(lambda: server.descriptors == descriptors))
                probe(server.url, "500x0:/slow")
                self.assertLessEqual(size_kib(server), before + 500 * STACK_KIB + MORE_KIB)
                probe(server.url, *[f"{10 * number}:/fast" for number in range(500)])  # one in a turn
                self.assertLessEqual(size_kib(server), before + SPARE_MOST * STACK_KIB + MORE_KIB)

    def test_clients_wait_in_the_backlog_while_memory_is_short(self):
        with serve("assembly", "--delay", 0.3) as server:
            most = (size_kib(server) + MORE_KIB) << 10
            resource.prlimit(server.pid, resource.RLIMIT_AS, (most, most))
            rows = probe(server.url, "300x0:/slow")
            self.assertEqual({row["body"] for row in rows}, {"That was slow!"})
            self.assertGreater(max(float(row["took_ms"]) for row in rows), 600)  # they had to wait

    def test_requests_in_flight_are_answered_before_exit(self):
        for way in WAYS:
            with self.subTest(way), serve(way, "--delay", 1) as server:
                client, idle = connect(server), connect(server, "/fast")
                time.sleep(0.2)
                server.process.terminate()
                self.assertIn(b"That was slow!", b"".join(iter(lambda: client.recv(4096), b"")))
                self.assertIn(b"That was fast!", b"".join(iter(lambda: idle.recv(4096), b"")))
                self.assertEqual(server.process.wait(10), 0)


    @unittest.skipIf(shutil.which("strace") is None, "strace is missing. To install it: make deps-tools")
    def test_server_without_room_in_epoll_looks_now_and_then_and_does_not_spin(self):
        for calls in "1+", "2+":  # none for the listener, or none for clients
            under = ["strace", "-D", "-o", "/dev/null", "-e", f"inject=epoll_ctl:error=ENOSPC:when={calls}"]
            with self.subTest(calls), serve(under=under) as server:  # -D: the server is our child
                with socket.create_connection(("127.0.0.1", server.port)) as silent:
                    rows = probe(server.url, "100:/fast", "200:/fast")
                    self.assertEqual([row["status"] for row in rows], ["200", "200"])
                    used = server.cpu_seconds
                    time.sleep(1)
                    self.assertLess(server.cpu_seconds - used, 0.5)
                    silent.close()
                server.process.terminate()
                self.assertEqual(server.process.wait(10), 0)


class Tools(unittest.TestCase):
    WARNING = r"==\d+==WARNING: ASan doesn't fully support makecontext/swapcontext .*\n"

    def check(self, way, program, under=()):
        with serve(way, "--delay", 1, "--timeout", 20, program=program, under=under) as server:
            rows = probe(server.url, "100x0:/fast", "20x0:/slow", "100x500:/fast", timeout=60)
            self.assertEqual({row["status"] for row in rows}, {"200"})
            connect(server).close()
            server.process.terminate()
            self.assertEqual(server.process.wait(60), 0)
            self.assertEqual(re.sub(self.WARNING, "", server.messages()), "")

    def test_sanitizers_follow_each_switch(self):
        for way in WAYS:
            with self.subTest(way):
                made = subprocess.run(["make", "-s", "BUILD=build/asan", "SANITIZE=address,undefined",
                                       f"build/asan/{way}/07-coroutines"], cwd=ROOT, check=False)
                self.assertEqual(made.returncode, 0)
                self.check(way, ROOT / "build/asan" / way / "07-coroutines")

    def test_sanitizer_sees_an_overflow_on_the_stack_of_a_coroutine(self):
        subprocess.run(["make", "-s", "BUILD=build/asan", "SANITIZE=address,undefined",
                        "build/asan/assembly/07-coroutines"], cwd=ROOT, check=True)
        right = "    close(running->fd); /*"
        wrong = "    char small[8];\n    volatile int at = 8;\n    ((volatile char *)small)[at] = 1;\n"
        program = compiled("overflow", [(right, wrong + right)], ROOT / "build/asan/obj/common",
                           "-fsanitize=address,undefined")
        with serve("assembly", program=program) as server:
            connect(server, "/fast").close()
            self.assertTrue(wait_until(lambda: not server.alive))
            self.assertIn("stack-buffer-overflow", server.messages())

    @unittest.skipIf(shutil.which("valgrind") is None, "valgrind is missing. To install it: make deps-tools")
    def test_valgrind_follows_each_switch(self):
        for way in WAYS:
            with self.subTest(way):
                self.check(way, None, ["valgrind", "-q", "--leak-check=full", "--error-exitcode=66"])


def compiled(name, changes, objects, *flags):
    """Compile the solution with these changes, and link it with the objects of this folder."""
    text = SOURCE.read_text()
    for right, wrong in changes:
        assert text.count(right) == 1, right
        text = text.replace(right, wrong)
    source, program = tool.scratch() / f"{name}.c", tool.scratch() / name
    source.write_text(text)
    wraps = (f"-Wl,--wrap={call}" for call in sorted(set(re.findall(r"__wrap_(\w+)\(", text))))
    subprocess.run(["cc", "-std=gnu11", "-D_GNU_SOURCE", "-O2", "-w", *flags, f"-I{ROOT}", source,
                    *objects.glob("*.o"), "-pthread", *wraps, "-o", program], check=True)
    return program


class Mistake(NamedTuple):
    changes: Tuple[Tuple[str, str], ...]  # right, wrong
    shows: str                            # the name of a function below


MISTAKES = {
    # A late deadline, rounded up, is -1 ms: for epoll_pwait, that is for ever.
    "late-deadline-is-forever": Mistake((
        ("return left_ns > 0 ? (int)((left_ns + NS_PER_MS - 1) / NS_PER_MS) : 0;",
         "return (int)((left_ns + NS_PER_MS - 1) / NS_PER_MS);"),), "silent_client_stays"),
    # A coroutine that frees its stack stands on it until it has switched.
    "stack-freed-underfoot": Mistake((
        ("me->function = NULL;", "me->function = NULL;\n        stack_free(&me->stack);"),), "it_crashes"),
    # A coroutine that sleeps is resumed by an event, and does not look whether its time has come.
    "forgets-why-it-woke": Mistake((
        ("if (c->wants != 0)\n", "if (c->wants != 0 || c != NULL)\n"),
        ("while (clock_now_ns() < until_ns)\n        wait_for(-1, 0, until_ns);", "wait_for(-1, 0, until_ns);")),
        "slow_is_early"),
}


class Classics(unittest.TestCase):
    """Each is planted, and must show; without it, the same experiment must show nothing."""

    def silent_client_stays(self, program):
        with serve("assembly", "--compute", "--delay", 0.5, "--timeout", 0.3, program=program) as server:
            silent = socket.create_connection(("127.0.0.1", server.port), timeout=8)
            time.sleep(0.1)
            server.process.send_signal(signal.SIGSTOP)
            busy = connect(server)  # the loop begins it late in its turn, and it computes past the deadline
            server.process.send_signal(signal.SIGCONT)
            busy.recv(4096)
            try:
                return silent.recv(1) != b""
            except socket.timeout:
                return True

    def it_crashes(self, program):
        with serve("assembly", program=program) as server:
            connect(server, "/fast").close()
            return wait_until(lambda: not server.alive, patience=1) or False

    def slow_is_early(self, program):
        with serve("assembly", "--delay", 1, program=program) as server:
            client = connect(server, "/fast")
            client.recv(4096)
            time.sleep(0.2)  # it waits for the next request, so epoll watches
            begun = time.monotonic()
            for path in b"/slow", b"/fast":
                client.sendall(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path)
                time.sleep(0.2)
            client.recv(4096)
            return time.monotonic() - begun < 0.9

    def test_classics(self):
        for name, mistake in MISTAKES.items():
            with self.subTest(name):
                program = compiled(name, mistake.changes, BUILD / "obj/common")
                self.assertTrue(getattr(self, mistake.shows)(program))
                self.assertFalse(getattr(self, mistake.shows)(None))


if __name__ == "__main__":
    tool.run(unittests.main)
