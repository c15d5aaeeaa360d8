"""Does the recorder understand what strace writes, and tell the truth about it?

Those of the stages and of asyncio are the recordings of the tutorial. The logs in recordings/ were made with
tests/trace.py --raw, and shortened as those of the tutorial are. Five are as strace wrote them: stderr, workers,
fastapi-def and the two of gunicorn with threads. Their threads interrupt each other's calls. They lack only the start
of the program, the lines of libraries in the stacks, and calls about files, memory and signals. Those of FastAPI and
gunicorn were made of tests/bench/apps.
"""
import collections
import contextlib
import json
import pathlib
import re
import subprocess
import sys
import time
import unittest
import unittest.mock

from kit import terminals, tool, unittests
from kit.tree import STAGES, TESTS
from recorder import (account, clients, descriptors, events, lengths, meaning, strace_log, svg, symbols, table,
                      understand, waiting)
from recorder.recording import Client

HERE = pathlib.Path(__file__).resolve().parent

SHOWN = [*STAGES, "trap", "pool", "asyncio", "mistake", "executor"]  # by the tutorial
KEPT = {path.stem: path for path in [*sorted((HERE / "recordings").glob("*.strace")),
                                     *(TESTS / f"tutorial/recordings/{name}.strace" for name in SHOWN)]}


def kept(name):
    return KEPT[name].read_text()


def one(text):
    log, = strace_log.read(text)
    return log


def recording(text):
    return understand.understand(one(text))


def calls(recorded, *names):
    """The calls of a recording with one of these names, in the order of time."""
    found = [call for thread in recorded.threads for call in thread.calls if call.name in names]
    return sorted(found, key=lambda call: call.start)


# ---- reading

READ_FAST = '7 1700000001.7 read(9, "GET /fast HTTP/1.1\\r\\n", 99) = 16 <0.000001>'
ANSWER_FAST = '7 1700000001.8 write(9, "HTTP/1.1 200 OK", 15) = 15 <0.000001>'
LOG = """\
100 1700000000.000000 accept4(3<socket:[1]>, NULL, NULL, SOCK_CLOEXEC) = 4<socket:[2]> <0.010000>
 > build/x(main+0x10) [0x1234]
100 1700000000.020000 recvfrom(4<socket:[2]>, "GET /a HTTP/1.1\\r\\n", 8192, 0, NULL, NULL) = 17 <0.000010>
100 1700000000.030000 clock_nanosleep(CLOCK_MONOTONIC, 0, {tv_sec=1, tv_nsec=0},  <unfinished ...>
101 1700000000.040000 futex(0x1, FUTEX_WAIT_PRIVATE, 2, NULL <unfinished ...>
100 1700000001.030000 <... clock_nanosleep resumed>NULL) = 0 <1.000000>
 > build/x(sleeper+0x20) [0x5678]
"""


class Reading(unittest.TestCase):
    def test_call_that_was_interrupted_by_another_thread_is_one_call(self):
        log = one(LOG)
        sleep, = [call for call in log.calls if call.name == "clock_nanosleep"]
        self.assertEqual(sleep.arguments, "CLOCK_MONOTONIC, 0, {tv_sec=1, tv_nsec=0}, NULL")
        self.assertEqual((sleep.result, round(sleep.duration, 6)), ("0", 1.0))
        self.assertEqual([frame.function for frame in sleep.stack], ["sleeper"])
        self.assertEqual(log.unread, 0)

    def test_call_that_never_returned_has_no_end(self):
        futex, = [call for call in one(LOG).calls if call.name == "futex"]
        self.assertIsNone(futex.end)
        self.assertEqual(futex.arguments, "0x1, FUTEX_WAIT_PRIVATE, 2, NULL")

    def test_stack_belongs_to_the_call_before_it(self):
        accept = one(LOG).calls[0]
        self.assertEqual(accept.stack, [strace_log.Frame("build/x", "main", 0x1234)])

    def test_end_in_the_middle_of_a_call(self):
        log = one("7 1700000000.1 read(5,  <unfinished ...>\n"
                  "7 1700000000.2 <... read resumed> <unfinished ...>) = ?\n"
                  "7 1700000000.3 +++ killed by SIGKILL (core dumped) +++\n")
        self.assertEqual((log.calls[0].name, log.calls[0].end, log.unread), ("read", None, 0))
        self.assertEqual(log.ends, {7: (1700000000.3, "killed by SIGKILL (core dumped)")})

    def test_call_that_began_before_the_log(self):
        read, = one('7 1700000005.0 <... read resumed>"x", 1) = 1 <2.000000>\n').calls
        self.assertEqual((read.start, read.end, read.value), (1700000003.0, 1700000005.0, 1))

    def test_signals_and_stops_are_no_calls(self):
        log = one("7 1700000000.1 --- SIGTERM {si_signo=SIGTERM, si_code=SI_USER} ---\n"
                  "7 1700000000.2 --- stopped by SIGSTOP ---\n")
        self.assertEqual([name for _, _, name in log.signals], ["SIGTERM", "stopped by SIGSTOP"])
        self.assertEqual(log.unread, 0)

    def test_output_on_a_terminal_has_another_form(self):
        log = one("[pid  7] 1700000000.1 read(5, \"\", 1) = 0 <0.000001>\n"
                  "1700000000.2 read(5, \"\", 1) = 0 <0.000001>\n"
                  "strace: Process 7 attached\n")
        self.assertEqual([call.tid for call in log.calls], [7, 7])
        self.assertEqual(log.unread, 0)

    def test_call_that_began_when_there_were_several_processes_ends_without_a_number(self):
        """On a terminal, strace leaves out the number of the only process that is left."""
        lines = ["[pid     7] 1700000000.1 futex(0x5000, FUTEX_WAIT, 0, NULL <unfinished ...>",
                 "[pid     8] 1700000000.5 +++ exited with 0 +++", "1700000001.0 <... futex resumed>) = 0 <0.9>"]
        call, = one("\n".join(lines) + "\n").calls
        self.assertEqual((call.tid, round(call.duration, 6)), (7, 0.9))
        lines[1] = "[pid     9] 1700000000.3 futex(0x6000, FUTEX_WAIT, 0, NULL <unfinished ...>"  # which of the two?
        calls = one("\n".join(lines) + "\n").calls
        self.assertEqual([call.end for call in calls if "0x" in call.arguments], [None, None])

    def test_text_that_looks_like_a_result_is_none(self):
        call, = one(r'7 1700000000.1 write(1, "f(x) = 3 <0.1>", 14) = 14 <0.000002>' + "\n").calls
        self.assertEqual((call.value, call.arguments), (14, '1, "f(x) = 3 <0.1>", 14'))

    def test_process_in_another_namespace_has_the_number_that_strace_knows(self):
        call, = one("7 1700000000.1 fork() = 3 /* 99 in strace's PID NS */ <0.000100>\n").calls
        self.assertEqual(strace_log.child(call), 99)
        texts = ("3", "3 /* 99 in strace's PID NS */, NULL", "0", "-1 EINTR", "")
        self.assertEqual([strace_log.process(text) for text in texts], [3, 99, None, None, None])

    def test_log_may_be_cut_anywhere(self):
        whole = kept("gunicorn-threads")  # as strace has written it: its threads interrupt each other's calls
        complete = [(call.tid, call.start, call.name) for call in one(whole).calls]
        for length in range(len(whole) // 3, len(whole), 61):
            log = one(whole[:length])
            # the last line may be too short to be one
            self.assertLessEqual(log.unread, 1, whole[length - 80:length])
            found = [(call.tid, call.start, call.name) for call in log.calls]
            self.assertEqual(found[:-1], complete[:len(found) - 1])

    def test_kept_logs_are_read_completely(self):
        for path in KEPT.values():
            with self.subTest(path.name):
                log = one(path.read_text())
                self.assertEqual(log.unread, 0)
                self.assertTrue(log.durations)
                last = {call.tid: call for call in log.calls}
                for call in log.calls:  # a thread may end, or the log, while it is in its last call
                    self.assertTrue(call.end is not None or call is last[call.tid], call)

    def test_messages_of_strace_in_the_middle_of_a_line_are_taken_out(self):
        log = one("1700000000.1 clone(child_stack=NULL, flags=CLONE_FILES|SIGCHLDstrace: Process 8 attached\n"
                  ", child_tidptr=0x7f) = 8 <0.001>\n"
                  "[pid     7] 1700000000.2 close(3) = 0 <0.000001>\n"
                  "[pid     8] 1700000000.3 exit_group(0strace: Process 9 attached\n) = ?\n"
                  "[pid     8] 1700000000.4 +++ exited with 0 +++\n"
                  "1700000000.5 close(4) = 0 <0.000001>\n")
        self.assertEqual([(call.tid, call.name) for call in log.calls],
                         [(7, "clone"), (7, "close"), (8, "exit_group"), (7, "close")])
        self.assertEqual(log.unread, 0)

    def test_call_that_began_without_a_number_ends_with_one(self):
        log = one("1700000000.1 clone3({flags=CLONE_THREAD}strace: Process 8 attached\n <unfinished ...>\n"
                  "[pid     8] 1700000000.2 close(3) = 0 <0.000001>\n"
                  "[pid     7] 1700000000.3 <... clone3 resumed> => {parent_tid=[8]}, 88) = 8 <0.001>\n")
        self.assertEqual([(call.tid, call.name, "CLONE_THREAD" in call.arguments) for call in log.calls],
                         [(7, "clone3", True), (8, "close", False)])

    def test_restarted_call_is_the_one_that_was_interrupted(self):
        log = one("7 1700000000.1 clock_nanosleep(CLOCK_REALTIME, 0, {tv_sec=1, tv_nsec=0}, 0x7f) = "
                  "? ERESTART_RESTARTBLOCK (Interrupted by signal) <0.5>\n"
                  "7 1700000000.6 --- stopped by SIGSTOP ---\n"
                  "7 1700000000.7 --- SIGCONT {si_signo=SIGCONT} ---\n"
                  "7 1700000000.8 restart_syscall(<... resuming interrupted clock_nanosleep ...>) = 0 <0.4>\n"
                  "8 1700000000.9 restart_syscall(<... resuming interrupted poll ...>) = 1 <0.4>\n"
                  "9 1700000001.0 restart_syscall(<... resuming interrupted system call ...>) = 1 <0.4>\n")
        self.assertEqual([call.name for call in log.calls],
                         ["clock_nanosleep", "stopped", "clock_nanosleep", "poll", "restart_syscall"])

    def test_restarted_call_ends_where_it_is_resumed(self):
        """Of two threads, strace tells such a call in two lines, as each other: it must not seem to last for ever."""
        log = one("7 1700000000.1 restart_syscall(<... resuming interrupted poll ...> <unfinished ...>\n"
                  "8 1700000000.2 close(3) = 0 <0.000001>\n"
                  "7 1700000000.5 <... restart_syscall resumed>) = 1 <0.4>\n"
                  "7 1700000000.6 recvfrom(4, \"\", 9, 0, NULL, NULL) = 0 <0.1>\n")
        self.assertEqual([(call.tid, call.name, call.end is None) for call in log.calls],
                         [(7, "poll", False), (8, "close", False), (7, "recvfrom", False)])
        self.assertAlmostEqual(log.calls[0].duration, 0.4, places=5)

    def test_other_clocks_are_named(self):
        for line in ("12:34:56.123456 close(3) = 0 <0.1>", "7 12:34:56 close(3) = 0", "[pid 7] 0.000012 close(3) = 0"):
            with self.assertRaisesRegex(understand.NotUnderstood, "-ttt"):
                recording(line + "\n")

    def test_log_is_bounded(self):
        line = "7 1700000000.1 close(3) = 0 <0.000001>\n"
        with unittest.mock.patch("recorder.strace_log.MOST_CALLS", 100):
            log = one(line * 1000)
        self.assertEqual((len(log.calls), log.cut), (100, True))


# ---- a log from a stranger

class Strangers(unittest.TestCase):
    def frames(self, place, *more):
        lines = [f"# frame: build/x 0x1234 = main {place}", *more]
        return "\n".join(lines) + "\n" + LOG

    def test_moment_in_the_far_future_is_drawn(self):
        """So far from its begin, a recording has no time between two calls."""
        self.assertEqual(svg.Axis([(6.7e10, 1.0), (6.7e10, 2.0)]).x(0.3), 1.0)

    def test_fields_that_no_kernel_writes_are_no_traceback(self):
        """A number that is none, a name that is too long for a file, a call with a long name, an end before the
        begin."""
        text = kept("05-epoll")
        for pattern, strange in [(r"u64=\d+", "u64=inf"), (r"u64=\d+", "u64=0x"), (r"u64=\d+", "u64=013x"),
                                 (r"05-epoll/server\.c", "05-epoll/" + "s" * 300), (r"05-epoll/server\.c", "a\0b"),
                                 ("epoll_pwait", "e" * 200), (r" <\d", " <" + "9" * 400),
                                 (r" = 17\d{8}", " = 9" * 200)]:
            changed = re.sub(pattern, lambda _: strange, text)
            with self.subTest(strange[:20]), contextlib.suppress(understand.NotUnderstood):
                recorded = recording(changed)
                table.tell(recorded), svg.draw([recorded]), events.dump([recorded])
        for last in "", "7 " + "9" * 400 + ".1 close(5) = 0 <0.1>\n":
            with self.assertRaisesRegex(understand.NotUnderstood, "ends when its first request begins"):
                recording('7 1700000000.1 accept(3, NULL, NULL) = 4 <0.1>\n'
                          '7 1700000000.2 read(4, "GET /a HTTP/1.1", 9) = 15 <0.5>\n' + last)

    def test_no_line_takes_long_to_read(self):
        """What these cost grew with the square, or the cube, of their length."""
        began = "7 1700000000.1 "
        for line in [" > " + "([" * 20000 + ") [0x1]", " > a(" + ")" * 50000 + ") [0x1]", "x" * 3_000_000,
                     began + "restart_syscall(" + "<... resuming interrupted " * 4000 + ") = 0 <0.1>",
                     began + "select(9, [" + "5<" * 10000 + "], NULL, NULL, NULL) = 0 <0.1>",
                     began + "read(" + ") = " * 20000, began + "+++ " * 20000]:
            start = time.process_time()
            log = one(f'7 1700000000.0 accept(3, NULL, NULL) = 4 <0.1>\n{line}\n')
            descriptors.Descriptors(log)
            self.assertLess(time.process_time() - start, 20, line[:60])

    def test_only_files_of_the_toolkit_or_of_the_given_folder_are_read(self):
        folder = tool.scratch() / "mine"
        folder.mkdir(exist_ok=True)
        secret = tool.scratch() / "key"
        secret.write_text("secret\n")
        (folder / "link").symlink_to(secret)
        (folder / "app.c").write_text("one\ntwo\n")
        for name in (str(secret), "../key", str(folder / "link"), str(folder / "../key"), "/etc/passwd",
                     "/proc/self/environ"):
            self.assertIsNone(symbols.find(name, [folder]), name)
        self.assertEqual(symbols.find("app.c", [folder]), (folder / "app.c").resolve())
        for place, lines in [(f"{folder}/app.c:2", 1), (f"{folder}/app.c:0", 0), (f"{folder}/app.c:3", 0),
                             (f"{secret}:1", 0), (f"{secret}:0", 0)]:
            name, _, number = place.rpartition(":")
            checksum = symbols.checksum(pathlib.Path(name), [int(number)])
            log = one(self.frames(place, f"# source: {name} {checksum}"))
            recorded = understand.understand(log, [folder])
            self.assertEqual(len(recorded.sources), lines, place)

    def test_damaged_header_is_ignored(self):
        damaged = ["# thread: x of y", "# thread: 9", "# listener: 99999999999999999999 of z", "# epoll: 4",
                   "# frame: x",
                   "# frame: x 0xzz = y", "# source:  ", "# probe: a\tb", "# probe: 1\t2", "# socket: 1 of 2 is x->y",
                   "# name: 1", "# inside: 7 is in (", "# mark: "]
        self.assertEqual(recording("\n".join(damaged) + "\n" + LOG).clients[0].path, "/a")

    def test_long_number_is_none(self):
        huge, lines = "9" * 5000, LOG.splitlines()
        header = [f"# {line}" for line in (f"thread: {huge} of 1", f"name: {huge} is x", f"tasks: {huge}",
                                           f"epoll: 5 of {huge} watches 3", f"epoll: 5 of 7 watches {huge}",
                                           f"epoll: 5 of 7 at 1700000000.9 watches {huge}")]
        calls = [f"{huge} 1700000000.03 close(5) = 0 <0.1>", f"100 1700000000.03 close({huge}) = 0 <0.1>",
                 f"100 1700000000.03 close(5) = {huge} <0.1>",
                 f"100 1700000000.03 nanosleep({{tv_sec={huge}, tv_nsec=0}}, NULL) = 0 <0.1>",
                 f"100 1700000000.03 epoll_wait(5, [], 9, {huge}) = 0 <0.1>",
                 f"100 1700000000.03 ppoll([{{fd={huge}, events=POLLIN}}], 1, NULL, NULL, 8) = 0 <0.1>",
                 f"100 1700000000.03 clone(flags=0) = {huge} <0.1>", f"strace: Process {huge} attached"]
        for text in [*header, *calls, *(line.replace(huge, huge[:310]) for line in header + calls)]:
            recorded = recording("\n".join([text, *lines]))
            self.assertEqual(recorded.clients[0].path, "/a", text[:60])
            table.tell(recorded)

    def test_control_bytes_reach_neither_the_terminal_nor_a_picture(self):
        nasty = "\x1b[31m\x07\u202e\ud800"
        text = LOG.replace("/a HTTP", f"/a{nasty} HTTP")
        text = (f"# recording: x{nasty}\n# command: y{nasty}\n# name: 100 is z{nasty}\n# program: 100 is p{nasty}\n"
                + text)
        recorded = recording(text)
        shown = "\n".join(table.tell(recorded)) + svg.draw([recorded]) + events.dump([recorded])
        for letter in nasty[0], "\x07", "\u202e", "\ud800":
            self.assertNotIn(letter, shown)
        self.assertIn("\\x1b", shown)
        shown.encode("utf-8")

    def test_names_with_blanks_and_brackets_stay_one_name(self):
        program = "/x/semi; y (z)/prog = 1"
        place = "ns::f(int, char) /x/semi; y (z)/main file.c:7"
        line = f"{strace_log.quote(program)} 0x12 = {' '.join(map(strace_log.quote, symbols.split(place)[:2]))}:7"
        log = one(f"# frame: {line}\n" + LOG)
        self.assertEqual(symbols.known_places(log), {(program, 0x12): [place]})
        self.assertEqual(strace_log._frame("/x/semi; y (z)/prog(ns::f(int)+0x1"), ("/x/semi; y (z)/prog", "ns::f(int)"))


# ---- words

class Words(unittest.TestCase):
    def test_time_out_of_each_kind_of_wait(self):
        for text, expected in [
                ("epoll_wait(4, [], 64, 901) = 0", 901), ("epoll_wait(4, [], 64, -1) = 0", None),
                ("epoll_pwait(4, [], 64, 899, [], 8) = 0", 899),
                ("epoll_pwait(4, [], 64, -1, ~[], 8) = 0", None),
                ("epoll_pwait(4, 0x7ffc, 64, 12, 0x7ffc, 8) = -1 EINTR (x)", 12),
                ("epoll_pwait(4, [{events=EPOLLIN, data={u32=3, u64=3}}], 64, 1000, [], 8) = 1", 1000),
                ("epoll_pwait(4, [{events=EPOLLIN, data=0x100000003}], 64, 1000, [], 8) = 1", 1000),
                ("epoll_pwait2(4, [], 64, {tv_sec=1, tv_nsec=5000000}, NULL, 8) = 0", 1005),
                ("poll([{fd=3, events=POLLIN}], 1, 250) = 0 (Timeout)", 250),
                ("ppoll([{fd=3, events=POLLIN}], 1, {tv_sec=0, tv_nsec=898000000}, [], 8) = 0", 898),
                ("ppoll([{fd=3, events=POLLIN}], 1, NULL, [], 8) = 0", None),
                ("pselect6(4, [3], [], NULL, {tv_sec=1, tv_nsec=0}, {sigmask=[], sigsetsize=8}) = 0", 1000),
                ("select(4, [3], NULL, NULL, {tv_sec=0, tv_usec=500000}) = 0 (Timeout)", 500)]:
            call, = one(f"7 1700000000.1 {text} <0.000001>\n").calls
            self.assertEqual(waiting.timeout_ms(call), expected, text)

    def test_event_names_its_descriptor(self):
        for data in "{u32=3, u64=4294967299}", "0x100000003":  # as strace 6.1 and 6.13 print it
            log = one("7 1700000000.0 listen(3, 9) = 0 <0.1>\n"
                      f"7 1700000000.1 epoll_ctl(4, EPOLL_CTL_ADD, 3, {{events=EPOLLIN, data={data}}}) = 0\n"
                      f"7 1700000000.2 epoll_wait(4, [{{events=EPOLLIN, data={data}}}], 9, -1) = 1 <0.1>\n")
            seen = descriptors.Descriptors(log)
            self.assertEqual([file.kind for file in seen.reported[id(log.calls[-1])]], ["listener"], data)

    def test_address_of_ipv4_in_ipv6_is_one_of_ipv4(self):
        for host, told in ("::ffff:127.0.0.1", "127.0.0.1:80"), ("::1", "[::1]:80"):
            arguments = f'4, {{sa_family=AF_INET6, sin6_port=htons(80), inet_pton(AF_INET6, "{host}", &sin6_addr)}}, 28'
            self.assertEqual(descriptors.endpoint(arguments), told)

    def test_select_without_descriptors_is_a_sleep(self):
        log = one("7 1700000000.0 accept(3, NULL, NULL) = 4 <0.000001>\n"
                  '7 1700000000.1 read(4, "GET / HTTP/1.1\\r\\n", 99) = 16 <0.000001>\n'
                  "7 1700000000.2 select(0, NULL, NULL, NULL, {tv_sec=1, tv_usec=0}) = 0 (Timeout) <1.0001>\n"
                  '7 1700000001.3 write(4, "HTTP/1.1 200 OK", 15) = 15 <0.000001>\n')
        select, = calls(understand.understand(log), "select")
        self.assertEqual((select.waits_for, select.plain), ("delay", "sleeps, 1 s at most"))

    def waits(self, *lines, header=""):
        """What one call after the other waits for, from the log of a process that has read a request and answers it
        last."""
        log = one(header + "7 1700000000.0 accept(3, NULL, NULL) = 4 <0.000001>\n"
                  '7 1700000000.1 read(4, "GET / HTTP/1.1\\r\\n", 99) = 16 <0.000001>\n' +
                  "".join(f"{line}\n" for line in lines) +
                  '7 1700000003.9 write(4, "HTTP/1.1 200 OK", 15) = 15 <0.000001>\n')
        causes = waiting.Causes(log, descriptors.Descriptors(log), lambda thing: "a client")
        return [(cause.kind, cause.of) for cause in map(causes.of, log.calls[2:-1]) if cause.kind]

    def test_lock_of_a_thread_that_runs_tasks_is_not_that_of_a_task(self):
        futex = "7 1700000001.0 futex(0x5000, FUTEX_WAIT_PRIVATE, 0, NULL) = 0 <1.0>"
        self.assertEqual(self.waits(futex), [("lock", "")])
        self.assertEqual(self.waits(futex, header="# tasks: 7\n"), [("other", "a task to run")])
        self.assertEqual(self.waits(futex, header="# tasks: 8\n# tasks: x\n"), [("lock", "")])

    def why(self, *lines, header=""):
        """What is said of a log in which a process reads /slow, does something, and then accepts /fast."""
        log = one(header + "7 1700000000.0 accept(3, NULL, NULL) = 4 <0.000001>\n"
                  '7 1700000000.1 read(4, "GET /slow HTTP/1.1\\r\\n", 99) = 16 <0.000001>\n' +
                  "".join(f"{line}\n" for line in lines))
        return understand.understand(log).sentence

    def test_lock_that_processes_share_is_woken_by_another_one(self):
        """Without FUTEX_PRIVATE, the waker may be of another process; with it, an equal address is another futex."""
        for private, words in ("", "worker 2 was in futex, until worker 1 woke it"), ("_PRIVATE", "for a lock"):
            said = self.why("7 1700000000.2 fork() = 8 <0.0001>",
                            "8 1700000000.3 accept(3, NULL, NULL) = 9 <0.000001>",
                            '8 1700000000.4 read(9, "GET /fast HTTP/1.1\\r\\n", 99) = 16 <0.000001>',
                            f"8 1700000000.5 futex(0x5000, FUTEX_WAIT{private}, 0, NULL) = 0 <0.8>",
                            f"7 1700000001.3 futex(0x5000, FUTEX_WAKE{private}, 1) = 1 <0.0001>",
                            '7 1700000001.35 write(4, "HTTP/1.1 200 OK", 15) = 15 <0.000001>',
                            '8 1700000001.4 write(9, "HTTP/1.1 200 OK", 15) = 15 <0.000001>')
            self.assertRegex(said, words)

    def test_what_a_sleeper_tries_in_between_is_told(self):
        """Such a call does not wait, and is short: in the account, it is none of a wait."""
        tries = {'openat(AT_FDCWD, "/run/x.lock", O_CREAT|O_EXCL, 0600) = -1 EEXIST (File exists)':
                 "it tried to make /run/x.lock, which was there, 4 times",
                 "fcntl(5</run/db>, F_SETLK, {l_type=F_WRLCK}) = -1 EAGAIN (Resource temporarily unavailable)":
                 "it tried in vain to get the lock of /run/db 4 times",
                 "wait4(8, 0x7ffc, WNOHANG, NULL) = 0": "it looked for the end of its child process 4 times",
                 'newfstatat(AT_FDCWD, "/run/ready", 0x7ffc, 0) = -1 ENOENT (No such file or directory)':
                 "it looked for /run/ready, which was not there, 4 times",
                 "connect(5, {sin_port=htons(81), sin_addr=inet_addr(\"127.0.0.1\")}, 16) = -1 ECONNREFUSED (X)":
                 "it was refused by 127.0.0.1:81 4 times",
                 "getpid() = 7": "4 times, 200 ms each."}
        for call, words in tries.items():
            lines = ["7 1700000000.2 accept(3, NULL, NULL) = 9 <0.000001>",
                     "7 1700000000.21 socket(AF_INET, SOCK_STREAM, 0) = 5 <0.000001>"]
            for tenth in range(3, 12, 2):
                lines += [f"7 17000000{tenth / 10:04.1f} {call} <0.000010>",
                          f"7 17000000{tenth / 10 + 0.0001:07.4f} nanosleep({{tv_sec=0, tv_nsec=200000000}}, NULL) = 0 "
                          "<0.1998>"]
            self.assertIn(words, self.why(*lines[:-2], READ_FAST, ANSWER_FAST))

    def test_what_a_sleeper_asks_in_between_is_told(self):
        socket, connect, slept = ("socket(AF_INET, SOCK_STREAM|SOCK_NONBLOCK, 0) = 5",
                                  'connect(5, {sin_port=htons(81), sin_addr=inet_addr("127.0.0.1")}, 16) = -1 '
                                  "EINPROGRESS (X)", "nanosleep({tv_sec=0, tv_nsec=200000000}, NULL) = 0 <0.19>")
        nothing, answer = 'recvfrom(5, "", 9) = -1 EAGAIN (X)', 'recvfrom(5, "x", 9) = 1'
        refused = "getsockopt(5<socket:[77]>, SOL_SOCKET, SO_ERROR, [ECONNREFUSED], [4]) = 0"
        for first, each, words in [([], [socket, connect, answer], "it asked 127.0.0.1:81 4 times"),
                                   ([], [socket, connect, refused], "it was refused by 127.0.0.1:81 4 times"),
                                   ([socket, connect], [nothing], "it found nothing from 127.0.0.1:81 4 times")]:
            lines = ["7 1700000000.2 accept(3, NULL, NULL) = 9 <0.000001>"]
            lines += [f"7 1700000000.25{number} {call} <0.00001>" for number, call in enumerate(first)]
            for tenth in range(3, 12, 2):
                lines += [f"7 17000000{tenth / 10 + number / 1000:06.3f} {call} <0.00001>"
                          for number, call in enumerate(each)] + [f"7 17000000{tenth / 10 + 0.005:06.3f} {slept}"]
            self.assertIn(words, self.why(*lines[:-1 - len(each)], READ_FAST, ANSWER_FAST))

    def test_what_is_tried_between_timed_waits_is_told(self):
        calls = ('newfstatat(AT_FDCWD, "/run/ready", 0x7ffc, 0) = -1 ENOENT (X) <0.00001>',
                 "futex(0x5000, FUTEX_WAIT_PRIVATE, 0, {tv_sec=0}) = -1 ETIMEDOUT (X) <0.18>")
        lines = [f"7 17000000{tenth / 10:04.1f}{number} {call}" for tenth in (3, 5, 7, 9)
                 for number, call in enumerate(calls)]
        said = self.why("7 1700000000.2 accept(3, NULL, NULL) = 9 <0.000001>", *lines, READ_FAST, ANSWER_FAST)
        self.assertIn("4 timed waits; in between, it looked for /run/ready, which was not there, 4 times.", said)

    def test_many_files_are_told_together(self):
        calls = [f'7 {1700000000.3 + number / 50:.6f} newfstatat(AT_FDCWD, "/srv/{number}", {{}}, 0) = 0 <0.019>'
                 for number in range(68)]
        said = self.why("7 1700000000.2 accept(3, NULL, NULL) = 9 <0.000001>", *calls, READ_FAST)
        self.assertRegex(said, "the only thread was in calls about many files, 6[0-9] times, mostly in newfstatat")

    def test_thread_that_is_held_is_not_called_ready(self):
        """A page of memory that does not come is no busy machine."""
        for ready, words in (0.0, "but did not run: it waited for memory"), (1.0, "mostly ready to run"):
            said = self.why("7 1700000000.2 accept(3, NULL, NULL) = 9 <0.000001>", READ_FAST,
                            header="# cpu: 7 at 1700000000.0 had 0.0 ready 0.0\n"
                                   f"# cpu: 7 at 1700000002.0 had 0.01 ready {ready * 1.9:.2f}\n")
            self.assertIn(words, said)

    def test_who_keeps_the_lock_of_the_interpreter(self):
        """A thread may keep it in a call, too: a C function that does not give it back."""
        clone = "7 1700000000.15{} clone(flags=CLONE_VM|CLONE_FILES|CLONE_THREAD) = {} <0.00001>"
        turn = "futex(0x5000, FUTEX_WAIT_PRIVATE, 0, {tv_sec=0, tv_nsec=5000000}) = -1 ETIMEDOUT (X) <0.009>"
        turns = [f"7 {1700000000.3 + number / 100:.6f} {turn}" for number in range(130)]
        sleep = "{} 1700000000.21 nanosleep({{tv_sec=1, tv_nsec=400000000}}, NULL) = 0 <1.4>"
        for sleepers, words in ([8], "(the interpreter's lock); meanwhile thread 2 was in nanosleep."), (
                [8, 9], "(the interpreter's lock)."):
            said = self.why(*(clone.format(tid, tid) for tid in sleepers), "7 1700000000.2 accept(3, NULL, NULL) = 9 "
                            "<0.000001>", *map(sleep.format, sleepers), *turns, READ_FAST, ANSWER_FAST,
                            header="# program: 7 is python3 app.py\n")
            self.assertTrue(said.endswith(words), said)

    def test_wait_that_ends_when_the_server_is_stopped_did_not_end(self):
        """In a deadlock, the thread that handles SIGTERM may wake the others, when all is over."""
        lines = ["7 1700000000.15 clone(flags=CLONE_VM|CLONE_FILES|CLONE_THREAD) = 8 <0.00001>",
                 "7 1700000000.2 accept(3, NULL, NULL) = 9 <0.000001>",
                 READ_FAST.replace("7 1700000001.7", "8 1700000000.21"),
                 "8 1700000000.3 futex(0x5000, FUTEX_WAIT_PRIVATE, 0, NULL) = 0 <5.0>",
                 "7 1700000005.3 futex(0x5000, FUTEX_WAKE_PRIVATE, 1) = 1 <0.00001>"]
        woken, not_woken = "until the main thread woke it", "for a lock or another thread, which did not come"
        for looked, words in (4, not_woken), (6, woken):
            said = self.why(*lines, header=f"# cpu: 7 at 170000000{looked}.0 had 0.1 ready 0.1\n")
            self.assertIn(f"thread 2 was in futex, {words}", said)

    def test_server_that_refuses_is_not_waited_for(self):
        ask = ("7 1700000000.2 socket(AF_INET, SOCK_STREAM|SOCK_NONBLOCK, 0) = 5 <0.000001>",
               '7 1700000000.3 connect(5, {sin_port=htons(81), sin_addr=inet_addr("127.0.0.1")}, 16) = -1 EINPROGRESS '
               "(X) <0.0001>", "7 1700000000.4 getsockopt(5, SOL_SOCKET, SO_ERROR, [{}], [4]) = 0 <0.0001>")
        for error, answered in ("ECONNREFUSED", True), ("0", False):
            seen = descriptors.Descriptors(one("".join(f"{line.format(error)}\n" if "SO_ERROR" in line else f"{line}\n"
                                                       for line in ask)))
            self.assertEqual([each.answered is not None for each in seen.exchanges], [answered])

    def test_threads_that_doze_are_no_part_if_another_one_serves(self):
        clone = "7 1700000000.15{} clone(flags=CLONE_VM|CLONE_FILES|CLONE_THREAD) = {} <0.00001>"
        wait = "{} 1700000000.{} futex(0x{}000, FUTEX_WAIT_PRIVATE, 0, {{tv_sec=1}}) = -1 ETIMEDOUT (X) <0.{}>"
        lines = [clone.format(8, 8), clone.format(9, 9), "7 1700000000.2 accept(3, NULL, NULL) = 9 <0.000001>",
                 READ_FAST.replace("7 1700000001.7", "8 1700000000.21"), wait.format(9, 22, 6, 99),
                 *(wait.format(8, tenth, 5, 3) for tenth in (3, 6, 9))]
        end = [ANSWER_FAST.replace("7 1700000001.8", "8 1700000001.21"),
               '7 1700000001.3 write(4, "HTTP/1.1 200 OK", 15) = 15 <0.000001>']
        words = "thread 2 was in futex, 3 timed waits, perhaps for a lock; meanwhile {} was in futex, a timed wait."
        self.assertTrue(self.why(*lines, wait.format(7, 23, 7, 99), *end).endswith(words.format("the main thread")))
        self.assertTrue(self.why(*lines, "7 1700000000.23 futex(0x7000, FUTEX_WAIT_PRIVATE, 0, NULL) = 0 <0.99>",
                                 *end).endswith(words.format("thread 3")))

    def test_thread_that_only_makes_short_calls_is_busy_with_them(self):
        calls = [f"7 {1700000000.3 + number / 500:.6f} getpid() = 7 <0.000010>" for number in range(700)]
        said = self.why("7 1700000000.2 accept(3, NULL, NULL) = 9 <0.000001>", *calls,
                        READ_FAST, header="# cpu: 7 at 1700000000.0 had 0.0 ready 0.0\n"
                                          "# cpu: 7 at 1700000002.0 had 0.01 ready 1.0\n")
        self.assertIn("the only thread was busy with many short calls (getpid, 700 times), and with what", said)

    def test_thread_that_is_in_calls_for_most_of_the_time_is_busy_in_them(self):
        calls = [f"7 {1700000000.3 + number / 25:.6f} mmap(NULL, 67108864) = 0x7000 <0.035>" for number in range(34)]
        said = self.why("7 1700000000.2 accept(3, NULL, NULL) = 9 <0.000001>", *calls, READ_FAST)
        self.assertIn("the only thread was busy in calls that do not wait, the longest of them in mmap", said)

    def test_place_in_a_file_becomes_an_address(self):
        """They differ where the linker says so: addr2line would name another line, or none."""
        source, program = tool.scratch() / "placed.c", tool.scratch() / "placed"
        source.write_text("int first(void) { return 1; }\nint main(void) { return first() - 1; }\n")
        subprocess.run(["cc", "-g", "-no-pie", "-o", program, source], check=True)
        names = subprocess.run(["nm", program], capture_output=True, text=True, check=True).stdout
        address, = (int(line.split()[0], 16) for line in names.splitlines() if line.endswith(" main"))
        begin, _, start = next(each for each in symbols._segments(program) if each[2] <= address < each[2] + each[1])
        place = address - start + begin
        self.assertNotEqual(place, address)
        self.assertEqual(symbols._look_up(program, [place + 5]), {place + 5: [f"main {source}:2"]})
        self.assertEqual(symbols._segments(source), [])

    def labels(self, *lines):
        log = one("# url: http://127.0.0.1:80\n" + "".join(f"{line}\n" for line in (
            '7 1700000000.00 bind(3, {sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr("0.0.0.0")}, 16) = 0 '
            "<0.00001>", "7 1700000000.01 listen(3, 9) = 0 <0.00001>",
            "7 1700000000.10 accept(3, NULL, NULL) = 4 <0.00001>",
            '7 1700000000.11 read(4, "GET /slow HTTP/1.1\\r\\n", 99) = 16 <0.00001>', *lines,
            '7 1700000001.9 write(4, "HTTP/1.1 200 OK", 15) = 15 <0.00001>')))
        return {thread.tid: thread.label for thread in understand.understand(log).threads}

    def test_child_that_closes_what_it_inherits_is_no_worker(self):
        lines = ["7 1700000000.2 fork() = 8 <0.0001>", "8 1700000000.21 close(4) = 0 <0.0001>",
                 "7 1700000000.3 wait4(8, NULL, 0, NULL) = 8 <1.5>",
                 "8 1700000000.3 nanosleep({tv_sec=1, tv_nsec=0}, NULL) = 0 <1.4>"]
        self.assertEqual(self.labels(*lines), {7: "main thread", 8: "process 8"})
        lines[1] = '8 1700000000.21 read(4, "x", 99) = 1 <0.0001>'
        self.assertEqual(self.labels(*lines), {7: "worker 1", 8: "worker 2"})

    def test_child_that_listens_elsewhere_is_no_worker(self):
        for place, label in (('sin_port=htons(81), sin_addr=inet_addr("127.0.0.1")', "process 8"),
                             ('sun_path="/run/db"', "process 8"),
                             ('sin_port=htons(80), sin_addr=inet_addr("127.0.0.1")', "worker 2")):
            found = self.labels("7 1700000000.2 fork() = 8 <0.0001>",
                                "8 1700000000.21 socket(AF_INET, SOCK_STREAM, 0) = 5 <0.00001>",
                                f"8 1700000000.22 bind(5, {{{place}}}, 16) = 0 <0.00001>",
                                "8 1700000000.23 listen(5, 9) = 0 <0.00001>",
                                "8 1700000000.24 accept(5, NULL, NULL) = 6 <0.1>",
                                '8 1700000000.40 read(6, "GET /x HTTP/1.1", 99) = 15 <0.01>',
                                "8 1700000000.50 nanosleep({tv_sec=1, tv_nsec=0}, NULL) = 0 <1.0>")
            self.assertEqual(found[8], label, place)

    def test_wait_that_a_signal_interrupts_goes_on(self):
        for result, woken in ("0", 8), ("-1 EAGAIN (Resource temporarily unavailable)", None):
            self.assert_goes_on(result, woken)

    def assert_goes_on(self, result, woken):
        log = one("7 1700000000.0 clone(flags=CLONE_VM|CLONE_THREAD) = 8 <0.0001>\n"
                  "7 1700000001.0 futex(0x5000, FUTEX_WAIT_PRIVATE, 0, NULL) = ? ERESTARTSYS (To be restarted) <1.0>\n"
                  "7 1700000002.001 futex(0x5000, FUTEX_WAIT_PRIVATE, 0, NULL) = " + result + " <0.1>\n"
                  "8 1700000002.09 futex(0x5000, FUTEX_WAKE_PRIVATE, 1) = 1 <0.0001>\n")
        causes = waiting.Causes(log, descriptors.Descriptors(log))
        self.assertEqual([causes.of(call).by for call in log.calls], [None, 8, woken, None])

    def test_wait_for_one_client_is_no_wait_for_any(self):
        self.assertEqual(self.waits('7 1700000001.0 read(4, "Host: h\\r\\n", 99) = 9 <1.0>',
                                    "7 1700000002.1 accept(3, NULL, NULL) = 5 <1.0>"),
                         [("clients", "a client"), ("clients", "")])

    def test_pause_in_which_a_thread_had_a_processor_is_a_computation(self):
        for had, kinds in (0.09, ["computing"] * 2), (0.02, ["between"] * 2):
            parts = [account.Part("between", 0, 0.05), account.Part("between", 0.05, 0.1)]
            account.tell_computing(parts, account.Processor([(0.0, 0.0, 0.0), (0.1, had, 0.0)]))
            self.assertEqual([part.kind for part in parts], kinds)

    def test_computation_with_short_calls_in_between_is_one(self):
        spans = ("computing", 0, 0.1), ("calls", 0.1, 0.11), ("computing", 0.11, 0.3), ("lock", 0.3, 0.31)
        parts = [account.Part(*span) for span in (*spans, ("computing", 0.31, 0.4))]
        self.assertAlmostEqual(account.longest_computation(parts), 0.29)

    def test_one_call_without_an_end_tells_why_nobody_was_answered(self):
        """The log of a process that stays in the call in which it was when strace attached to it."""
        rows = ("# probe: 1\t/slow\t0.1\t0.1\t-\tno answer\t51\t1700000000.100000\n"
                "# probe: 2\t/fast\t100.1\t100.1\t-\tno answer\t52\t1700000000.200000\n")
        log = one("# url: http://127.0.0.1:80\n# slow: /slow\n# fast: /fast\n# inside: 7 is in sendto\n"
                  "# probe: request\tpath\tstart_ms\tconnected_ms\tdone_ms\tstatus\tport\tepoch\n" + rows +
                  "# listener: 3 of 7\n# socket: 4 of 7 is 127.0.0.1:80->127.0.0.1:9\n# thread: 7 of 7\n"
                  "# cpu: 7 at 1700000006.0 had 0.1 ready 0.1\n"
                  '7 1699999999.0 sendto(4, "x", 9000, 0, NULL, 0 <detached ...>\n')
        self.assertEqual(understand.understand(log).sentence, "/fast was not answered: the only thread was in sendto, "
                         "waiting for another client to read what was sent.")

    def test_process_that_was_stopped_before_is_told(self):
        """strace says so when it attaches; then there are no more lines."""
        rows = ("# probe: 1\t/slow\t0.1\t0.1\t-\tno answer\t51\t1700000000.100000\n"
                "# probe: 2\t/fast\t100.1\t100.1\t-\tno answer\t52\t1700000000.200000\n")
        log = one("# url: http://127.0.0.1:80\n# slow: /slow\n# fast: /fast\n# inside: 7 is in epoll_wait\n"
                  "# probe: request\tpath\tstart_ms\tconnected_ms\tdone_ms\tstatus\tport\tepoch\n" + rows +
                  "# listener: 3 of 7\n# thread: 7 of 7\n# cpu: 7 at 1700000003.0 had 0.1 ready 0.1\n"
                  "7 1699999999.0 --- stopped by SIGSTOP ---\n")
        self.assertEqual(understand.understand(log).sentence, "/fast was not answered: the only thread was stopped by "
                                                              "a signal (SIGCONT lets it go on).")

    def test_server_that_asks_itself_is_told_by_name_and_by_address(self):
        question = ("7 1700000000.2 socket(AF_INET, SOCK_STREAM, 0) = 5 <0.000001>",
                    "7 1700000000.3 connect(5, {sin_port=htons(80), sin_addr=inet_addr(\"127.0.0.1\")}, 16) = 0 "
                    "<0.000001>", "7 1700000000.4 accept(3, NULL, NULL) = 9 <0.000001>",
                    '7 1700000000.5 read(5, "x", 9) = 1 <1.0>', READ_FAST, ANSWER_FAST)
        for host, itself in ("127.0.0.1", True), ("localhost", True), ("127.0.0.2", False), ("localhost:81", False):
            said = self.why(*question, header=f"# url: http://{host}\n")
            self.assertEqual("which is this very server" in said, itself, said)

    def test_time_is_told_as_a_person_writes_it(self):
        told = {0.0003: "0.3 ms", 0.902: "902 ms", 0.99951: "1 s", 1.239: "1.24 s", 9.6231: "9.62 s", 9.996: "10 s",
                12.34: "12.3 s", 320: "5 min 20 s", 7500: "2 h 5 min"}
        self.assertEqual({seconds: lengths.duration(seconds) for seconds in told}, told)
        told = {50: "50 ms", 49.998: "50.0 ms", 999: "999 ms", 1000: "1 s", 9623: "9.62 s", 30000: "30 s"}
        self.assertEqual({ms: meaning.milliseconds(ms) for ms in told}, told)

    def test_wait_on_a_wake_up_that_nothing_ended_is_a_sleep(self):
        eventfd = "7 1700000000.5 eventfd2(0, EFD_NONBLOCK) = 5 <0.000001>"
        ppoll = "7 1700000001.0 ppoll([{{fd=5, events=POLLIN}}], 1, {{tv_sec=1, tv_nsec=0}}, NULL, 8) = {} <1.0>"
        self.assertEqual(self.waits(eventfd, ppoll.format("0 (Timeout)")), [("delay", "or a wake-up")])
        self.assertEqual(self.waits(eventfd, ppoll.format("1 ([{fd=5, revents=POLLIN}])")), [("other", "a wake-up")])

    def test_wait_on_a_wake_up_that_ends_with_a_child_is_for_the_child(self):
        """The handler of SIGCHLD ends it, and no other thread."""
        self.assertEqual(self.waits("7 1700000000.5 eventfd2(0, EFD_NONBLOCK) = 5 <0.000001>",
                                    "7 1700000000.6 fork() = 8 <0.0001>",
                                    "7 1700000001.0 ppoll([{fd=5, events=POLLIN}], 1, NULL, NULL, 8) = "
                                    "? ERESTARTNOHAND (To be restarted if no handler) <1.0>",
                                    "8 1700000001.999 exit_group(0) = ?", "8 1700000001.9999 +++ exited with 0 +++"),
                         [("child", "")])

    RING = ("7 1700000000.2 listen(3, 9) = 0 <0.00001>", "7 1700000000.3 epoll_create1(0) = 5 <0.00001>",
            "7 1700000000.4 io_uring_setup(256, {flags=0}) = 6 <0.00001>",
            "7 1700000000.5 eventfd2(0, EFD_NONBLOCK) = 9 <0.000001>",
            "7 1700000000.6 io_uring_enter(6, 2, 2, IORING_ENTER_GETEVENTS, NULL, 0) = 2 <0.00001>")

    def ring(self, *lines, header=""):
        """What one call after the other waits for, in a process that tells its epoll through io_uring what to watch."""
        return [each for each in self.waits(*self.RING, *lines, header=header) if each != ("unknown", waiting.URING)]

    def test_epoll_that_io_uring_sets_waits_for_what_the_log_shows(self):
        """libuv sets its epoll so from version 1.45 on."""
        wait = "7 1700000001.{} epoll_pwait(5, [{}], 64, 900, NULL, 8) = {} <0.2>"
        nothing, wake_up, client = (wait.format(number, *returns) for number, returns in enumerate(
            [("", 0), ("{events=EPOLLIN, data=0x9}", 1), ("{events=EPOLLIN, data=0x3}", 1)]))
        unknown, clients = ("unknown", waiting.SET_BY_URING), ("clients", "")
        self.assertEqual(self.ring(nothing, wake_up), [unknown, unknown])
        self.assertEqual(self.ring(wake_up, client, nothing.replace("1.0", "1.5")),
                         [unknown, clients, clients])  # what it returned, it watched
        refused = [line.replace("= 6", "= -1 EPERM (Operation not permitted)") for line in self.RING[:-1]]
        self.assertEqual(self.waits(*refused, "7 1700000000.7 epoll_ctl(5, EPOLL_CTL_ADD, 9, {events=EPOLLIN, data=9})"
                                    " = 0 <0.00001>", wake_up), [("other", "a wake-up")])

    def test_epoll_that_io_uring_sets_waits_for_what_proc_tells(self):
        wait = "7 1700000001.0 epoll_pwait(5, [{events=EPOLLIN, data=0x9}], 64, 900, NULL, 8) = 1 <0.2>"
        again = "7 1700000002.0 epoll_pwait(5,  <unfinished ...>"
        look = "# epoll: 5 of 7 at 1700000000.9 watches 9\n"
        self.assertEqual(self.ring(wait, header=look), [("other", "a wake-up")])
        self.assertEqual(self.ring(wait, header=look.replace(" 9\n", " 3 9\n")), [("clients", "")])
        later = "# epoll: 5 of 7 at 1700000003.1 watches 3 9\n"
        self.assertEqual(self.ring(wait, again, header=look + later), [("other", "a wake-up"), ("clients", "")])
        self.assertEqual(self.ring("7 1700000000.95 close(5) = 0 <0.00001>",
                                    "7 1700000000.96 epoll_create1(0) = 5 <0.00001>", wait, header=look),
                         [("unknown", waiting.SET_BY_URING)])  # it is another one

    def test_pipe_within_a_process_is_written_by_another_thread(self):
        read, *_ = self.waits("7 1700000000.5 pipe2([5<pipe:[77]>, 6<pipe:[77]>], 0) = 0 <0.000001>",
                              "7 1700000000.6 clone(child_stack=NULL, flags=CLONE_VM|CLONE_THREAD) = 9 <0.0001>",
                              '7 1700000001.0 read(5<pipe:[77]>, "x", 1) = 1 <1.0>',
                              '9 1700000002.0 write(6<pipe:[77]>, "x", 1) = 1 <0.00001>')
        self.assertEqual(read, ("thread", ""))


class Others(unittest.TestCase):
    """Who ended a wait? It is said only of the one whose call shows it."""

    THREADS = ("7 1700000000.01 clone(flags=CLONE_VM|CLONE_FILES|CLONE_THREAD) = 2 <0.0001>",
               "7 1700000000.02 clone(flags=CLONE_VM|CLONE_FILES|CLONE_THREAD) = 9 <0.0001>")
    PROCESSES = ("7 1700000000.01 pipe2([5<pipe:[77]>, 6<pipe:[77]>], 0) = 0 <0.000001>",
                 "7 1700000000.02 eventfd2(0, 0) = 8<anon_inode:[eventfd]> <0.000001>",
                 "7 1700000000.03 fork() = 20 <0.0001>", "7 1700000000.04 fork() = 30 <0.0001>",
                 "30 1700000000.05 fork() = 31 <0.0001>")

    def cause(self, *lines):
        """What the call waits for that begins in the second second: its kind, of what, by whom."""
        log = one("".join(f"{line}\n" for line in lines))
        causes = waiting.Causes(log, descriptors.Descriptors(log))
        call, = (call for call in log.calls if call.start == 1700000001.0)
        cause = causes.of(call)
        return cause.kind, cause.of, cause.by

    def test_who_writes_into_a_pipe_at_that_moment(self):
        def wait(reader, writer, fd=(5, 6), name="pipe:[77]"):
            earlier = f'20 1700000000.5 write({fd[1]}<{name}>, "x", 1) = 1 <0.00001>'
            read = f'{reader} 1700000001.0 read({fd[0]}<{name}>, "x", 1) = 1 <1.0>'
            write = f'{writer} 1700000001.9 write({fd[1]}<{name}>, "x", 1) = 1 <0.00001>'
            later = f'20 1700000005.5 write({fd[1]}<{name}>, "x", 1) = 1 <0.00001>'
            return self.cause(*self.PROCESSES, earlier, read, write, later)

        for fd, name in ((5, 6), "pipe:[77]"), ((8, 8), "anon_inode:[eventfd]"):
            self.assertEqual(wait(20, 30, fd, name), ("thread", "", 30))   # a sibling is no child
            self.assertEqual(wait(20, 7, fd, name), ("thread", "", 7))     # nor is the parent
            self.assertEqual(wait(7, 30, fd, name), ("child", "", 30))
            self.assertEqual(wait(7, 31, fd, name), ("child", "", 31))     # a child of a child
            self.assertEqual(wait(30, 20, fd, name), ("thread", "", 20))

    def test_pipe_that_nobody_else_uses(self):
        for fd, words in (1, "its standard output, a pipe"), (9, "a pipe"):
            found = self.cause(f'7 1700000001.0 write({fd}<pipe:[88]>, "x", 9) = 9 <1.0>')
            self.assertEqual(found, ("other", words, None))

    def test_who_reads_from_a_full_pipe(self):
        found = self.cause(*self.PROCESSES, '20 1700000001.0 write(6<pipe:[77]>, "x", 9) = 9 <1.0>',
                           '30 1700000001.9 read(5<pipe:[77]>, "x", 9) = 9 <0.00001>')
        self.assertEqual(found, ("thread", "", 30))

    def test_number_in_a_contended_lock_is_no_thread(self):
        """In a container, there may be a thread 2; a mutex that is waited for contains a 2."""
        wake = "9 1700000001.9 futex(0x5000, FUTEX_WAKE{}, 1) = 1 <0.00001>"
        for private in "_PRIVATE", "":
            lock = f"7 1700000001.0 futex(0x5000, FUTEX_WAIT{private}, 2, NULL) = 0 <1.0>"
            self.assertEqual(self.cause(*self.THREADS, lock, wake.format(private))[::2], ("lock", 9))
        self.assertEqual(self.cause(*self.THREADS, lock, "2 1700000001.99 +++ exited with 0 +++"),
                         ("thread", "its end", 2))
        left = lock.replace(" 2, NULL", f" {0x80000002}, NULL")  # a robust lock, whose owner ends
        self.assertEqual(self.cause(*self.THREADS, left, "2 1700000001.99 +++ exited with 0 +++"),
                         ("thread", "its end", 2))
        self.assertEqual(self.cause(*self.THREADS, left, wake.format(""))[::2], ("lock", 9))

    def test_one_of_two_addresses(self):
        wait = "7 1700000001.0 futex(0x5000, FUTEX_WAIT_PRIVATE, 1, NULL) = 0 <1.0>"
        wake = ("9 1700000001.9 futex(0x6000, FUTEX_WAKE_OP_PRIVATE, 1, 9, 0x{}000, FUTEX_OP_SET<<28|0<<12|"
                "FUTEX_OP_CMP_EQ<<24|0) = 1 <0.00001>")
        self.assertEqual(self.cause(*self.THREADS, wait, wake.format(5)), ("lock", "", 9))
        self.assertEqual(self.cause(*self.THREADS, wait, wake.format(7)), ("lock", "", None))
        vector = ("7 1700000001.0 futex_waitv([{val=0x1, uaddr=0x6000, flags=FUTEX_32|FUTEX_PRIVATE_FLAG}, {val=0x1, "
                  "uaddr=0x5000, flags=FUTEX_32|FUTEX_PRIVATE_FLAG}], 2, 0, NULL, CLOCK_REALTIME) = 1 <1.0>")
        self.assertEqual(self.cause(*self.THREADS, vector, "9 1700000001.9 futex(0x5000, FUTEX_WAKE_PRIVATE, 1) = 1 "
                                                           "<0.00001>"), ("lock", "", 9))

    def test_client_for_whom_a_connection_lingers(self):
        accept, close = "7 1700000000.5 accept(3, NULL, NULL) = 4 <0.1>", "7 1700000001.0 close({}) = 0 <2.0>"
        self.assertEqual(self.cause(accept, close.format(4))[0], "clients")
        self.assertEqual(self.cause(accept, close.format(5))[0], "unknown")
        self.assertEqual(self.cause(accept, close.format(4).replace("2.0", "0.01"))[0], "")

    def test_child_in_another_namespace(self):
        wait = "7 1700000001.0 wait4(-1, NULL, 0, NULL) = 3 /* 20 in strace's PID NS */ <1.0>"
        self.assertEqual(self.cause(*self.PROCESSES, wait), ("child", "", 20))

    def test_child_that_borrows_the_memory(self):
        found = self.cause("7 1700000001.0 vfork() = 8 <1.0>", "8 1700000001.1 nanosleep({tv_sec=1, tv_nsec=0}, NULL) "
                           "= 0 <0.8>", "8 1700000001.99 +++ exited with 0 +++")
        self.assertEqual(found, ("child", "", 8))

    def test_who_has_the_lock_of_a_file(self):
        path = "/run/orders"
        ways = {"flock(15<{}>, LOCK_EX)": "flock(15<{}>, LOCK_UN)",
                "fcntl(15<{}>, F_SETLKW, {{l_type=F_WRLCK}})": "fcntl(15<{}>, F_SETLK, {{l_type=F_UNLCK}})",
                "flock(15<{}>, LOCK_SH)": "close(15<{}>)"}
        for get, give in ways.items():
            got = f"20 1700000000.5 {get.format(path)} = 0 <0.00001>"
            wait = f"30 1700000001.0 {get.format(path)} = 0 <1.0>"
            given = f"{give.format(path)} = 0 <0.00001>"
            for who, *lines in ((20, got, wait, f"20 1700000001.9 {given}"), (None, got.replace(path, "/x"), wait),
                                (None, got, f"20 1700000000.6 {given}", wait),
                                (None, got, "20 1700000000.6 +++ exited with 0 +++", wait)):
                self.assertEqual(self.cause(*self.PROCESSES, *lines), ("file", path, who))

    def test_another_server_may_be_a_process_of_the_same_program(self):
        listens = ("7 1700000000.06 socket(AF_INET, SOCK_STREAM, 0) = 10 <0.00001>",
                   '7 1700000000.07 bind(10, {{sa_family=AF_INET, sin_port=htons({}), sin_addr=inet_addr("{}")}}, 16) '
                   "= 0 <0.00001>", "7 1700000000.08 listen(10, 9) = 0 <0.00001>",
                   '7 1700000000.085 getsockname(10, {{sa_family=AF_INET, sin_port=htons(81), sin_addr='
                   'inet_addr("127.0.0.1")}}, [16]) = 0 <0.00001>', "7 1700000000.09 fork() = 40 <0.0001>")
        asks = ("30 1700000000.1 socket(AF_INET, SOCK_STREAM, 0) = 12 <0.00001>",
                '30 1700000000.2 connect(12, {sin_port=htons(81), sin_addr=inet_addr("127.0.0.1")}, 16) = 0 <0.00001>',
                '30 1700000001.0 read(12, "x", 9) = 1 <1.0>')
        accept = "{} 1700000000.3 accept(10, NULL, NULL) = 11 <0.00001>"
        url = ("# url: http://127.0.0.1:80", "# listener: 3 of 7", *self.PROCESSES)
        for port, host in (81, "127.0.0.1"), (81, "0.0.0.0"), (0, "127.0.0.1"):
            lines = [*url, *(line.format(port, host) for line in listens), *asks]
            self.assertEqual(self.cause(*lines, accept.format(40)), ("server", "127.0.0.1:81", 40))
            self.assertEqual(self.cause(*lines), ("server", "127.0.0.1:81", None))
            self.assertEqual(self.cause(*lines, accept.format(40), accept.format(7)), ("server", "127.0.0.1:81", None))
        attached = (*url[:2], "# socket: 10 of 40 listens at 0.0.0.0:81", *asks, accept.format(40))
        self.assertEqual(self.cause(*attached), ("server", "127.0.0.1:81", 40))

    def test_bytes_that_are_spliced_are_read_or_sent(self):
        log = one("7 1700000000.0 accept(3, NULL, NULL) = 4 <0.00001>\n"
                  "7 1700000000.1 pipe2([5<pipe:[77]>, 6<pipe:[77]>], 0) = 0 <0.000001>\n"
                  "7 1700000000.2 splice(4, NULL, 6<pipe:[77]>, NULL, 4096, 0) = 86 <0.00001>\n"
                  "7 1700000000.3 splice(5<pipe:[77]>, NULL, 4, NULL, 4096, SPLICE_F_NONBLOCK) = 86 <0.00001>\n")
        seen = descriptors.Descriptors(log)
        request, = seen.connections[0].requests
        self.assertEqual((request.received, request.answered), (log.calls[2], log.calls[3]))
        self.assertEqual([seen.blocks[id(call)] for call in log.calls[2:]], [True, False])

    def test_descriptor_that_an_epoll_does_not_watch_any_more(self):
        add = "7 1700000000.{} epoll_ctl(5, EPOLL_CTL_{}, 4, {{events={}, data=4}}) = 0 <0.00001>"
        wait = "7 1700000001.{} epoll_wait(5, [{{events=EPOLLIN, data=4}}], 8, -1) = 1 <0.00001>"
        for flags, expected in ("EPOLLIN", [1, 1]), ("EPOLLIN|EPOLLONESHOT", [1, 0]), ("0", [0, 0]):
            lines = ["7 1700000000.0 accept(3, NULL, NULL) = 4 <0.1>", "7 1700000000.1 epoll_create1(0) = 5 <0.1>",
                     add.format(3, "ADD", flags), wait.format(1), wait.format(2)]
            log = one("".join(f"{line}\n" for line in lines))
            seen = descriptors.Descriptors(log)
            self.assertEqual([len(seen.watched[id(call)]) for call in log.calls[-2:]], expected, flags)


# ---- what is understood of kept recordings

def waited(doing, thread="the only thread"):
    return rf"/fast waited 9\d\d ms: {thread} was {doing}\."


def loop(call, source="", thread="the only thread"):
    called = rf", called from {source}\.c:\d+" if source else ""
    return (rf"/fast did not wait: {thread} was waiting for any client, in {call}{called}; "
            r"it accepted /fast [\d.]+ ms after /fast had connected\.")


def beside(wait, sleep):
    return (rf"/fast did not wait: the main thread was waiting for any client, in {wait}, "
            rf"and thread 2 was in {sleep}\.")


BLOCKING = r"in clock_nanosleep, called from common/blocking\.c:\d+"
EXPECTED = {  # the sentence of each kept recording
    "01-blocking": waited(BLOCKING),
    "02-threaded": rf"/fast did not wait: thread 3 answered it, while thread 2 was {BLOCKING}\.",
    "03-select": loop("pselect6", "03-select/server"),
    "04-poll": loop("ppoll", "04-poll/server"),
    "05-epoll": loop("epoll_pwait", "05-epoll/server"),
    "06-libev": loop("epoll_wait", "06-libev/server"),
    "trap": waited(r"in clock_nanosleep, called from common/connections\.c:\d+"),
    "workers": loop("epoll_pwait", "05-epoll/server", r"worker \d"),
    "asyncio": loop("epoll_wait"),
    "mistake": waited("in clock_nanosleep"),
    "uvicorn": loop("epoll_wait"),
    "uvicorn-time.sleep": waited("in clock_nanosleep"),
    "gunicorn": waited("in clock_nanosleep", "the only worker"),
    "compute": waited("computing"),
    "executor": beside("epoll_wait", "clock_nanosleep"),
    "pool": beside(r"epoll_pwait, called from 05-epoll/server\.c:\d+",
                   r"clock_nanosleep, called from common/pool\.c:\d+"),
    "fastapi-def": beside("epoll_wait", "clock_nanosleep"),
    "fastapi-to_thread": beside("epoll_wait", "clock_nanosleep"),
    "fastapi-time.sleep": waited("in clock_nanosleep"),
    "gunicorn-threads": r"/fast did not wait: worker 1, thread 3 answered it, "
                        r"while worker 1, thread 2 was in clock_nanosleep\.",
    "gunicorn-threads-busy": waited("in clock_nanosleep", "worker 1, thread 2").replace(
        " ms:", " ms, accepted but unread:"),
    "uring": r"/fast did not wait: the only thread was in io_uring_enter, called from tests/judging/ring\.h:\d+\.",
    "uring-block": waited(r"in clock_nanosleep, called from tests/judging/07-uring\.c:\d+"),
    "signal": waited(rf"{BLOCKING}, 2 times").replace(r"9\d\d", r"\d+"),
    "stderr": r"/fast \(3 of 3\) did not wait: thread 3 answered it, while thread 2 was in clock_nanosleep\.",
    "keep-alive": r"/fast \(3 of 3\) did not wait: the only thread was waiting for any client, in epoll_pwait\.",
    "plain": r"/fast did not wait: the only thread was waiting for any client, in epoll_pwait\.",
}


class Kept(unittest.TestCase):
    def test_sentence_of_each(self):
        self.assertEqual(sorted(EXPECTED), sorted(KEPT))
        for name, pattern in EXPECTED.items():
            with self.subTest(name):
                recorded = recording(kept(name))
                self.assertRegex(recorded.sentence, f"^{pattern}$")
                self.assertIs(recorded.serializes, " waited " in recorded.sentence)

    def test_without_samples_nobody_is_said_to_compute(self):
        text = re.sub("^# cpu: .*\n", "", kept("compute"), flags=re.M)
        expected = waited("computing, or ready to run: this recording does not tell which")
        self.assertRegex(recording(text).sentence, expected)

    def test_slow_request_that_failed_shows_nothing(self):
        row = r"(\t[\d.]+)\1\t200\tThat was slow!"
        for end, expected in [
                (r"\t-\t-\tclosed early\t-", r"Nothing can be said: /slow was not answered \(closed early\)\."),
                (r"\t-\t-\tno answer in 22 s\t-", "/fast did not wait: the only thread was waiting for any client"),
                (r"\t50.1\t50.1\t500\tx", r"Nothing can be said: /slow was answered with 500 before /fast was sent\.")]:
            text = re.sub(row, end, kept("05-epoll"))
            self.assertRegex(recording(text).sentence, expected)
        forever = re.sub(row, r"\t-\t-\tno answer in 70 s\t-", kept("01-blocking"))
        tid, moment = re.findall(r"(?m)^(\d+) +([\d.]+) ", forever)[-1]
        forever += f"{tid} {float(moment) + 70:.6f} accept4(3, NULL, NULL, 0) = 5 <0.000010>\n"
        self.assertRegex(recording(forever).sentence, "^/fast waited 9.. ms: the only thread was in clock_nanosleep")
        fast = re.sub(row.replace("slow", "fast"), r"\t-\t-\tclosed early\t-", kept("05-epoll"))
        self.assertRegex(recording(fast).sentence, "^/fast was not answered")

    def test_call_that_is_not_known_may_have_waited(self):
        for call, expected in [("ioctl(3, TCSBRK, 0)", "in ioctl; for what cannot be seen"),
                               ("munmap(0x7f00, 4096)",
                                "busy in calls that do not wait, the longest of them in munmap"),
                               ("msgrcv(0, 0x7f00, 1, 0, 0)", "in msgrcv, called from .*, for a message"),
                               ("semop(0, [{0, -1, 0}], 1)", "in semop, called from .*, for a semaphore")]:
            text = re.sub(r"clock_nanosleep\(.*\) = 0", lambda _, call=call: f"{call} = 0", kept("01-blocking"))
            self.assertRegex(recording(text).sentence, waited(expected))

    def test_asyncio_tells_the_story_of_05(self):
        """Both in the same order: which calls about which client, and waits for clients."""
        def told(name):
            lines = []
            for call in calls(recording(kept(name)), "accept4", "recvfrom", "sendto",
                              "epoll_pwait", "epoll_wait"):
                line = f"{call.name} {call.client}" if call.client is not None else "wait"
                if not call.detail and lines[-1:] != [line]:
                    lines.append(line)
            return lines

        expected = ["wait", "accept4 0", "recvfrom 0", "wait", "accept4 1", "recvfrom 1", "sendto 1",
                    "wait", "sendto 0", "wait"]
        self.assertEqual(told("05-epoll"), expected)
        self.assertEqual(told("asyncio"), expected)
        self.assertEqual(told("uvicorn"), expected)

    def test_time_sleep_in_async_def_tells_the_story_of_01_and_of_the_trap(self):
        def told(name):
            lines = []
            for call in calls(recording(kept(name)), "accept4", "recvfrom", "sendto", "clock_nanosleep"):
                line = f"{call.name} {call.client}"
                if call.client is not None and lines[-1:] != [line]:
                    lines.append(line)
            return lines

        expected = ["accept4 0", "recvfrom 0", "clock_nanosleep 0", "sendto 0",
                    "accept4 1", "recvfrom 1", "sendto 1"]
        for name in ("01-blocking", "trap", "mistake", "uvicorn-time.sleep", "fastapi-time.sleep", "gunicorn"):
            with self.subTest(name):
                self.assertEqual(told(name), expected)

    def test_pools_beside_a_loop_tell_one_story(self):
        """The loop does all for the clients, and another thread sleeps meanwhile."""
        def told(name):
            recorded, lines = recording(kept(name)), []
            loop = recorded.clients[0].accepted_by
            for call in calls(recorded, "accept4", "recvfrom", "sendto", "clock_nanosleep"):
                line = f"{call.name} {call.client}" if call.tid == loop else f"{call.name} elsewhere"
                about_client = call.client is not None or call.name == "clock_nanosleep"
                if about_client and lines[-1:] != [line]:
                    lines.append(line)
            return lines

        expected = ["accept4 0", "recvfrom 0", "clock_nanosleep elsewhere",
                    "accept4 1", "recvfrom 1", "sendto 1", "sendto 0"]
        for name in ("pool", "executor", "fastapi-def", "fastapi-to_thread"):
            with self.subTest(name):
                self.assertEqual(told(name), expected)

    def test_pool_of_gunicorn_reads_and_answers(self):
        """As in 02, the main thread only accepts. If both threads sleep, /fast waits for one of them."""
        recorded = recording(kept("gunicorn-threads"))
        slow, fast = recorded.clients
        self.assertEqual(slow.accepted_by, fast.accepted_by)
        self.assertEqual(len({slow.accepted_by, slow.answered_by, fast.answered_by}), 3)
        recorded = recording(kept("gunicorn-threads-busy"))
        first, second, fast = recorded.clients
        self.assertEqual([client.path for client in recorded.clients], ["/slow", "/slow", "/fast"])
        self.assertNotEqual(first.answered_by, second.answered_by)
        self.assertIn(fast.answered_by, (first.answered_by, second.answered_by))
        self.assertGreater(fast.received, min(first.answered, second.answered))

    def test_workers_and_their_parent(self):
        recorded = recording(kept("workers"))
        self.assertEqual(sorted(thread.label for thread in recorded.threads), ["worker 1", "worker 2"])
        self.assertEqual(recorded.idle_threads, 1)  # the parent, which waits for a signal
        for wait in recorded.waits:
            self.assertEqual(wait.watched[0], "listener")

    def test_waits_know_what_is_watched_and_reported(self):
        for name in ("03-select", "04-poll", "05-epoll", "06-libev"):
            with self.subTest(name):
                first, second, third = [wait for wait in recording(kept(name)).waits if wait.end][:3]
                for wait in (first, second, third):
                    self.assertIn("listener", wait.watched)
                self.assertEqual([wait.reported for wait in (first, second, third)],
                                 [["listener"], ["listener"], []])
                self.assertEqual(second.timeout_ms, 1000)

    def test_signal_is_read(self):
        self.assertIn("SIGTERM", [name for _, _, name in one(kept("signal")).signals])

    def test_log_of_a_person_names_clients_by_their_requests(self):
        recorded = recording(kept("plain"))
        self.assertEqual([client.path for client in recorded.clients], ["/slow", "/fast"])

    def test_log_of_a_person_cannot_tell_when_clients_connected(self):
        text = re.sub(r"^# .*\n", "", kept("01-blocking"), flags=re.M)
        recorded = recording(text)
        self.assertIsNone(recorded.serializes)
        self.assertIn("does not tell when it connected", recorded.sentence)

    def test_moments_of_a_client_are_in_order(self):
        for path in KEPT.values():
            for client in recording(path.read_text()).clients:
                moments = [getattr(client, key) for key in clients.KEYS]
                if path.stem.startswith("uring"):  # no call tells when the server read the request
                    moments = [moment for moment in moments if moment is not None]
                self.assertEqual(moments, sorted(moments), f"{path.name} {client.path}")

    def test_io_uring_accepts_and_reads_without_a_call(self):
        """What it waits for, and whether a client is in the backlog, cannot be seen, and is not said."""
        recorded = recording(kept("uring"))
        self.assertEqual({call.waits_for for call in calls(recorded, "io_uring_enter")}, {"unknown"})
        self.assertEqual([thread.label for thread in recorded.threads], ["main thread"])
        told = "\n".join(table.tell(recorded)) + svg.draw([recorded])
        self.assertNotRegex(told, "in the backlog|accepted at|accepted, not")
        self.assertIn("whether it is accepted cannot be seen", told)

    def test_look_at_what_has_arrived_is_not_its_reading(self):
        recorded = recording(
            '7 1700000000.1 accept(3, NULL, NULL) = 4 <0.000001>\n'
            '7 1700000000.2 recvfrom(4, "GET /a HTTP/1.1\\r\\n", 99, 0, NULL, NULL) = 17 <0.000001>\n'
            '7 1700000000.3 write(4, "HTTP/1.1 200 OK", 15) = 15 <0.000001>\n'
            '7 1700000000.4 recvfrom(4, "G", 1, MSG_PEEK|MSG_DONTWAIT, NULL, NULL) = 1 <0.000001>\n')
        client, = recorded.clients
        self.assertAlmostEqual(client.received - client.start, 0.1, places=3)
        self.assertEqual(len(calls(recorded, "recvfrom")), 1)

    def test_process_for_each_client_inherits_the_connection(self):
        recorded = recording(
            '7 1700000000.1 accept(3, NULL, NULL) = 4 <0.000001>\n'
            '7 1700000000.2 fork() = 8 <0.000001>\n'
            '7 1700000000.3 close(4) = 0 <0.000001>\n'
            '8 1700000000.4 read(4, "GET /a HTTP/1.1\\r\\n", 99) = 17 <0.000001>\n'
            '8 1700000000.5 write(4, "HTTP/1.1 200 OK", 15) = 15 <0.000001>\n')
        client, = recorded.clients
        self.assertEqual((client.accepted_by, client.answered_by), (7, 8))
        self.assertEqual([thread.label for thread in recorded.threads], ["worker 1", "worker 2"])

    def test_moments_that_were_noticed_late_are_put_in_order(self):
        client = Client("/fast", start=10.0, connected=10.5, accepted=10.2, received=10.4,
                        answered=11.1, done=11.0)
        clients.count_from(client, 9.5)
        self.assertEqual([getattr(client, key) for key in clients.KEYS], [0.5, 0.7, 0.7, 0.9, 1.5, 1.5])

    def test_source_is_shown_until_a_line_that_is_named_changes(self):
        source = tool.scratch() / "server.c"
        lines = [f"line {number}\n" for number in range(1, 61)]
        source.write_text("".join(lines))
        log = one(kept("05-epoll").replace("05-epoll/server.c", str(source)))
        named = sorted({int(number) for line in log.header["frame"]
                        for number in re.findall(rf"{source}:(\d+)", line)})
        last = named[-1] - 1
        log.header["source"] = [f"{source} {symbols.checksum(source, named)}"]
        for changed, shown in [(lines, True), (["other\n", *lines[1:], "more\n"], True),
                               (["more\n", *lines], False), ([*lines[:last], "other\n", *lines[last + 1:]], False),
                               (lines[:last], False)]:
            source.write_text("".join(changed))
            expected = {str(source): "".join(changed).splitlines()} if shown else {}
            self.assertEqual(understand.understand(log, [tool.scratch()]).sources, expected)
            self.assertEqual(understand.understand(log).sources, {})

    def test_shots_of_one_path_are_told_apart(self):
        text = kept("05-epoll").replace("/fast", "/slow")
        recorded = recording(text)
        self.assertEqual([clients.name(recorded.clients, index) for index in (0, 1)],
                         ["/slow (1 of 2)", "/slow (2 of 2)"])


class Telling(unittest.TestCase):
    def test_story_fits_on_a_screen(self):
        for path in KEPT.values():
            with self.subTest(path.name):
                lines = table.tell(recording(path.read_text()))
                self.assertLessEqual(len(lines), table.MOST_LINES)
                self.assertLessEqual(max(map(len, lines[:-1])), 80)

    def test_nothing_is_wider_than_a_terminal(self):
        all_of_them = tool.scratch() / "all.strace"
        texts = [path.read_text() for path in KEPT.values()]
        all_of_them.write_text("".join(text for text in texts if text.startswith("# recording: ")))
        status, shown, _ = terminals.run([sys.executable, TESTS / "trace.py", "--from", all_of_them])
        self.assertEqual(status, 0, shown)
        self.assertGreater(shown.count("\n/fast "), 15)
        self.assertEqual([line for line in shown.splitlines() if len(line) > 80], [])

    def test_many_clients_fit_as_well(self):
        recorded = recording(kept("05-epoll"))
        recorded.clients *= 20
        lines = table.tell(recorded)
        self.assertLessEqual(len(lines), table.MOST_LINES)
        self.assertTrue(any("more lines" in line for line in lines))

    def test_story_names_call_words_and_line(self):
        text = "\n".join(table.tell(recording(kept("01-blocking"))))
        self.assertRegex(text, r"clock_nanosleep  sleeps, serving /slow +1 s\n")
        self.assertRegex(text, r"(?s)Called from: .*clock_nanosleep\scommon/blocking\.c:\d+")
        self.assertRegex(text, r"/fast connects, and stays in the backlog +9\d\d ms")
        self.assertRegex(text, r"(?s)Not shown: \d+ other calls \(.*setsockopt.*\)\.")

    def test_thread_is_started_by_a_line_of_ours(self):
        text = "\n".join(table.tell(recording(kept("02-threaded"))))
        self.assertRegex(text, r"clone3? +main thread: starts thread 2")
        self.assertRegex(text, r"(?s)Called from:.*clone3?\s02-threaded/server\.c:\d+")

    def test_picture_explains_only_what_it_shows(self):
        asking = (TESTS / "tutorial/recordings/upstream-states.strace").read_text()
        for text, due in [(kept("01-blocking"), []), (kept("05-epoll"), ["response"]), (asking, ["time-out"])]:
            drawn = svg.draw([recording(text)])
            self.assertEqual(("s at most" in drawn, re.findall(r"ends when the next (\S+) is due", drawn)),
                             (bool(due), due))

    def test_events_are_valid(self):
        recordings = [recording(path.read_text()) for path in KEPT.values()]
        data = json.loads(events.dump(recordings))
        self.assertEqual(data["displayTimeUnit"], "ms")
        named, lanes = set(), collections.defaultdict(list)
        for event in data["traceEvents"]:
            self.assertIsInstance(event["pid"], int)
            self.assertIsInstance(event["tid"], int)
            if event["ph"] == "M":
                self.assertIn(event["name"], ("process_name", "thread_name"))
                self.assertIsInstance(event["args"]["name"], str)
                named.add((event["name"], event["pid"], event["tid"]))
            else:
                self.assertEqual(event["ph"], "X")
                self.assertGreaterEqual(event["ts"], 0)
                self.assertGreaterEqual(event["dur"], 0)
                bar = (event["ts"], event["ts"] + event["dur"], event["name"])
                lanes[event["pid"], event["tid"]].append(bar)
        self.assertGreater(len(lanes), 3 * len(KEPT) - 1)
        for (pid, tid), bars in lanes.items():
            self.assertIn(("process_name", pid, 0), named)
            self.assertIn(("thread_name", pid, tid), named)
            for before, after in zip(sorted(bars), sorted(bars)[1:]):  # a lane shows one thing at a time
                self.assertLessEqual(before[1], after[0] + 1, f"{before} {after}")


if __name__ == "__main__":
    tool.run(unittests.main)
