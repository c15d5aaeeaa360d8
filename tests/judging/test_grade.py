"""Is a folder of submissions graded: each for itself, within its limits, and by files that it cannot write?"""
import json
import os
import pathlib
import re
import secrets
import shutil
import signal
import subprocess
import sys
import unittest

import judge
from judging import grade, ladder, limits, results, skeleton
from judging.results import Tried
from kit import proc, processes, tool, unittests
from kit.processes import PIPES
from kit.tree import ROOT, STAGES
from suite.server import Failure, Stage

MAIN = "int main(int argc, char **argv)\n{\n"
LOOP = "for (int i = 0; i < ready; i++)"
LEFT = f"/tmp/left-{secrets.token_hex(8)}"
# What each does before it serves. All of it is bounded, whether the limits hold or not.
BAD = {
    "bomb": ("#include <sys/wait.h>\n#include <err.h>\n#include <unistd.h>\n",
             "    for (int i = 0; i < 50; i++) {\n        pid_t child = fork();\n        if (child < 0)\n"
             "            err(1, \"fork\");\n        if (child == 0) {\n            sleep(30);\n"
             "            _exit(0);\n        }\n    }\n"),
    "eater": ("#include <stdlib.h>\n#include <string.h>\n#include <unistd.h>\n",
              "    for (int i = 0; i < 40; i++) {\n        char *more = malloc(16 << 20);\n        if (more != NULL)\n"
              "            memset(more, 1, 16 << 20);\n        usleep(50000);\n    }\n"),
    "daemon": ("#include <unistd.h>\n",
               "    if (fork() > 0)\n        _exit(0);\n    setsid();\n    sleep(60);\n    _exit(0);\n"),
    "filler": ("#include <fcntl.h>\n#include <stdio.h>\n#include <stdlib.h>\n#include <unistd.h>\n",
               "    static char block[1 << 20], path[4096];\n"
               "    snprintf(path, sizeof path, \"%s/filler\", getenv(\"TMPDIR\"));\n"
               "    int file = open(path, O_CREAT | O_WRONLY, 0600);\n"
               "    for (int i = 0; i < 400 && write(file, block, sizeof block) > 0; i++)\n        continue;\n"
               "    return 7;\n"),
    "leaver": ("#include <err.h>\n#include <stdio.h>\n",
               f"    if (fopen(\"{LEFT}\", \"w\") == NULL)\n        err(1, \"fopen\");\n    return 0;\n"),
    "loop": ("", "    for (volatile int i = 1; i > 0;)\n        i = 1;\n"),
    "writer": ("#include <err.h>\n#include <stdio.h>\n",
               "    FILE *file = fopen(\"tests/judging/hints.txt\", \"a\");\n    if (file == NULL)\n"
               "        err(1, \"hints.txt\");\n    fputs(\"mine\\n\", file);\n    fclose(file);\n"),
}


def write(folder, name, text, like="05-epoll"):
    place = folder / name
    place.mkdir(parents=True)
    (place / "server.c").write_text(text)
    if like:
        (place / "like").write_text(f"{like}\n")
    return place


def text_of(bad=None):
    text = skeleton.whole("07-mine", "05-epoll")
    if bad is None:
        return text
    assert text.count(MAIN) == 1
    include, code = BAD[bad]
    return include + text.replace(MAIN, MAIN + code)


def run(folder, *options, env=None):
    """Grade a folder. Return what is printed, and the rows of the file by their names."""
    process = processes.start([ROOT / "tests/judge.py", "grade", folder, *options], cwd=ROOT, env=env, **PIPES)
    out, err = processes.finish(process)
    assert process.returncode == 0, err
    return out, rows_of(folder)


def rows_of(folder):
    found = results.read(folder / "grades.json") or {"submissions": []}
    return {row["name"]: row for row in found["submissions"]}


def of_submissions():
    """Return the processes of the users as whom submissions run."""
    users = range(limits.FIRST_USER, limits.FIRST_USER + 1000)
    found = {pid: re.search(r"^Uid:\t(\d+)", proc.read(f"/proc/{pid}/status"), re.M) for pid in proc.all_pids()}
    return [pid for pid, user in found.items() if user and int(user[1]) in users]


class Graded(unittest.TestCase):
    """One run for a folder with submissions of all kinds."""

    @classmethod
    def setUpClass(cls):
        if os.geteuid() != 0:
            raise unittest.SkipTest("only root can let a server run as another user")
        cls.folder = tool.scratch() / "class"
        for bad in BAD:
            write(cls.folder, bad, text_of(bad))
        write(cls.folder, "first-only", text_of().replace(LOOP, "for (int i = 0; i < (ready > 0); i++)"))
        write(cls.folder / "nested", "07-mine", text_of().replace("connections_accept();", ""))
        write(cls.folder, "no-model", text_of(), like=None)
        (cls.folder / "empty").mkdir()
        write(cls.folder, "link", text_of())
        (cls.folder / "link/more.h").symlink_to("/etc/hostname")
        write(cls.folder, "borrower", f'/* "05-epoll" */\n#include "{ROOT}/05-epoll/server.c"\n')
        borrowed = os.path.relpath(ROOT / "05-epoll/server.c", "/usr/include")
        write(cls.folder, "borrower-too", f'/* "05-epoll" */\n#include <{borrowed}>\n')
        (cls.folder / "other").symlink_to("first-only")
        (cls.folder / "another").mkdir()
        (cls.folder / "another/05-epoll").symlink_to(ROOT / "05-epoll")
        (cls.folder / "pipe").mkdir()
        os.mkfifo(cls.folder / "pipe/server.c")
        write(cls.folder, "escape", text_of(), like="\x1b[2J")
        write(cls.folder, "two\nlines", text_of("daemon"))
        cls.out, cls.rows = run(cls.folder, "--memory", "300", "--processes", "40")

    def reason(self, name):
        failed = [rung for rung in self.rows[name]["rungs"] if rung["result"] == "failed"]
        return failed[0]["rung"], failed[0]["reason"]

    def test_forks_are_limited(self):
        if "user of its own" not in self.rows["bomb"]["refused"]:
            self.assertIn("fork: Resource temporarily unavailable", self.reason("bomb")[1])

    def test_memory_is_limited(self):
        self.assertEqual(self.rows["eater"]["error"], "it used more than 300 MiB of memory")

    def test_endless_loop_falls_at_its_rung(self):
        self.assertEqual(self.reason("loop")[0], "it says where it listens")
        self.assertIn("a busy loop", self.reason("loop")[1])

    def test_files_of_the_judge_cannot_be_written(self):
        self.assertIn("hints.txt: Permission denied", self.reason("writer")[1])
        self.assertEqual(self.rows["writer"]["changed"], [])

    def test_other_files_cannot_be_written(self):
        self.assertFalse(os.path.exists(LEFT))
        if "files outside of its copy" not in self.rows["leaver"]["refused"]:
            self.assertIn("fopen: Read-only file system", self.reason("leaver")[1])

    def test_full_folder_does_no_harm_to_the_judge(self):
        self.assertEqual(self.reason("filler"), ("it says where it listens", "the server has ended: exit status 7"))

    def test_file_of_the_toolkit_is_no_submission(self):
        rung = "it makes the calls of its model"
        self.assertEqual(self.reason("borrower"), (rung, f"it includes {ROOT}/05-epoll/server.c"))
        self.assertEqual(self.reason("borrower-too")[0], rung)
        self.assertRegex(self.reason("borrower-too")[1], "^it includes [.][.]/.*/05-epoll/server.c$")

    def test_what_is_printed_controls_no_terminal(self):
        self.assertNotIn("\x1b", self.out)
        self.assertIn("like: \\x1b[2J", self.out)
        self.assertIn("\n  two\\x0alines ", self.out)

    def test_row_has_rung_result_seconds_and_reason(self):
        row = self.rows["first-only"]
        self.assertEqual((row["top"], row["failed"], row["model"]), (False, 1, "05-epoll"))
        rung, reason = self.reason("first-only")
        self.assertEqual(rung, "each turn of its loop is in order")
        self.assertIn("calls of connections_ready in a turn: 1", reason)
        self.assertGreater(row["seconds"], 1)
        self.assertEqual({each["result"] for each in row["rungs"]}, {"passed", "failed", "not tried"})
        self.assertRegex(self.out, r"first-only +05-epoll +rung \d+ of \d+ +[\d.]+ s\n +each turn of its loop")
        self.assertEqual(self.reason("nested")[0], "it answers /fast")

    def test_what_cannot_be_judged_is_said(self):
        self.assertIn("which model is it?", self.rows["no-model"]["error"])
        self.assertEqual(self.rows["empty"]["error"], "there is no server.c in it")
        self.assertEqual(self.rows["link"]["error"], "more.h is a link")
        self.assertEqual(self.rows["other"]["error"], "other is a link")
        self.assertIn("05-epoll is a link", self.rows["another"]["error"])
        self.assertEqual(self.rows["pipe"]["error"], "there is no server.c in it")

    def test_nothing_is_left(self):
        self.assertEqual(of_submissions(), [])
        self.assertNotIn("/row-", pathlib.Path("/proc/mounts").read_text())

    def test_second_run_judges_what_has_changed(self):
        (self.folder / "loop/server.c").write_text(text_of("loop").replace(MAIN, MAIN + "    return 3;\n"))
        out, rows = run(self.folder, "--memory", "300", "--processes", "40")
        self.assertEqual(out.count("as before"), sum("state" in row for row in self.rows.values()) - 1, out)
        self.assertEqual(rows["bomb"], self.rows["bomb"])
        failed = [rung["reason"] for rung in rows["loop"]["rungs"] if rung["result"] == "failed"]
        self.assertIn("exit status 3", failed[0])


class Alone(unittest.TestCase):
    def test_right_submission_is_at_the_top(self):
        folder = tool.scratch() / "right"
        write(folder, "right", text_of())
        out, rows = run(folder)
        self.assertEqual((rows["right"].get("failed"), rows["right"].get("error")), (0, None), out)
        self.assertEqual(rows["right"]["top"], rows["right"]["skipped"] == 0)

    def test_killed_in_the_middle_it_goes_on(self):
        folder = tool.scratch() / "killed"
        write(folder, "a", text_of().replace("connections_accept();", ""))
        for name in "bc":
            write(folder, name, text_of("bomb").replace("i < 50", "i < 5").replace("connections_accept();", ""))
        command = [ROOT / "tests/judge.py", "grade", folder]
        temporary = tool.scratch() / "temporary"
        temporary.mkdir()
        tool.scratch().chmod(0o711)  # another user's server is below it
        env = {**os.environ, "TMPDIR": str(temporary)}
        for number in (signal.SIGTERM, signal.SIGKILL):
            process = processes.start(command, cwd=ROOT, env=env, **PIPES)
            self.assertTrue(processes.wait_until(lambda: of_submissions() or process.poll() is not None,
                                                 patience=120))
            other = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
            self.assertEqual((other.returncode, other.stderr),
                             (1, f"judge.py: {folder}/grades.json: another grade is writing it\n"))
            before = set(rows_of(folder))
            process.send_signal(number)
            processes.finish(process)
            self.assertEqual(process.returncode, 128 + number if number == signal.SIGTERM else -number)
            self.assertTrue(processes.wait_until(lambda: not of_submissions()), of_submissions())
        self.assertEqual(len(os.listdir(temporary)), 1)  # nothing removes it but the next run
        out, rows = run(folder, env=env)
        self.assertEqual((os.listdir(temporary), sorted(os.listdir(folder))), ([], ["a", "b", "c", "grades.json"]))
        self.assertEqual(set(rows), set("abc"))
        self.assertEqual(out.count("as before"), len(before))

    def test_refused_limit_stands_in_the_row(self):
        """Commands that refuse what they are asked for, as they do in a container."""
        commands = tool.scratch() / "commands"
        commands.mkdir()
        real = shutil.which("setpriv")
        refuses = f'case "$*" in *--reuid*) echo "setpriv: refused" >&2; exit 1;; esac\nexec {real} "$@"'
        for name, code in [("unshare", "echo 'unshare: unshare failed: Operation not permitted' >&2; exit 1"),
                           ("setpriv", refuses)]:
            (commands / name).write_text(f"#!/bin/sh\n{code}\n")
            (commands / name).chmod(0o755)
        folder = tool.scratch() / "refused"
        write(folder, "writer", text_of("writer").replace(MAIN, MAIN + "    if (argc > 99)\n        return 1;\n")
              .replace("connections_accept();", ""))
        out, rows = run(folder, env={**os.environ, "PATH": f"{commands}:{os.environ['PATH']}"})
        row = rows["writer"]
        self.assertEqual(row["refused"]["processes of its own"], "unshare: unshare failed: Operation not permitted")
        self.assertEqual(row["refused"]["user of its own"], "setpriv: refused")
        self.assertIn("not limited here: processes of its own (unshare: ", out)
        self.assertEqual(row["error"], "it has changed files of the judge: tests/judging/hints.txt")

    def test_without_net_admin_the_network_is_shared(self):
        """In a container that has CAP_SYS_ADMIN alone, a new network has no loopback device that works."""
        code = ("from judging.limits import find_limits as find\n"
                "found = find(9, 9, 9)\nprint(found.network, *found.refused)")
        command = ["setpriv", "--inh-caps=-all", "--bounding-set=-net_admin", "env", f"PYTHONPATH={ROOT / 'tests'}",
                   sys.executable, "-c", code]
        out = subprocess.run(command, capture_output=True, text=True, check=False)
        self.assertEqual(out.stdout, "False network of its own\n", out.stderr)

    def test_folder_without_submissions(self):
        folder = tool.scratch() / "nothing"
        folder.mkdir()
        for path, said in [(folder, "there is no folder in it"), (folder / "none", "No such file or directory")]:
            done = subprocess.run([ROOT / "tests/judge.py", "grade", path], capture_output=True, text=True,
                                  check=False)
            self.assertEqual(done.returncode, 1)
            self.assertIn(said, done.stderr)


class Results(unittest.TestCase):
    RUNGS = ladder.LADDER[:3]
    STAGE = Stage("07-mine", "05-epoll", ["build/07-mine"], in_tree=True)

    def test_json_has_each_rung(self):
        fell = Failure("an answer", "none")
        fell.did = ["curl"]
        tried = [Tried(self.RUNGS[0], "ok", 1.26), Tried(self.RUNGS[1], "FAIL", 2, fell)]
        found = results.as_json(self.STAGE, tried, self.RUNGS)
        self.assertEqual([found[key] for key in ("top", "passed", "failed", "not tried")], [False, 1, 1, 1])
        self.assertEqual(found["rungs"][0], {"number": 1, "rung": self.RUNGS[0].title, "result": "passed",
                                             "seconds": 1.3})
        second = [found["rungs"][1][key] for key in ("reason", "expected", "did")]
        self.assertEqual(second, ["none", "an answer", ["curl"]])
        self.assertEqual(found["rungs"][2]["result"], "not tried")

    def test_top_is_all_rungs(self):
        passed = [Tried(rung, "ok") for rung in self.RUNGS]
        self.assertTrue(results.as_json(self.STAGE, passed, self.RUNGS)["top"])
        skipped = [*passed[:2], Tried(self.RUNGS[2], "--", reason="strace is missing")]
        self.assertFalse(results.as_json(self.STAGE, skipped, self.RUNGS)["top"])
        self.assertIn("The top of the ladder. Compare", judge.praise(self.STAGE, []))
        self.assertIn("This is not the top of the ladder: 1 rung was left out",
                      judge.praise(self.STAGE, results.left_out(skipped)))

    def test_check_writes_json(self):
        file = tool.scratch() / "check.json"
        command = [ROOT / "tests/judge.py", "check", "05-epoll", "--program", "/bin/false", "--json", file]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        found = json.loads(file.read_text())
        self.assertEqual((done.returncode, found["server"], found["failed"]), (1, "/bin/false", 1), done.stderr)
        self.assertIn("for a stage in this tree", [rung.get("reason") for rung in found["rungs"]])


class Submissions(unittest.TestCase):
    def test_damaged_results_are_no_results(self):
        path = tool.scratch() / "damaged.json"
        for text in ("", "[]", '{"submissions": 3}', '{"submissions": [1, {"name": "a"}, {"state": "b"}]}'):
            path.write_text(text)
            self.assertEqual(grade.before(path), {})

    def test_stage_is_called_as_its_server_calls_itself(self):
        folder = tool.scratch() / "names"
        for name, text, stage in [("a", '"07-mine"', "07-mine"), ("b", '"05-epoll"', "05-epoll"),
                                  ("c", "", "90-epoll")]:
            write(folder, name, text)
            self.assertEqual(grade.read(folder / name, None).stage, stage)
        self.assertIn("05-epoll", STAGES)


if __name__ == "__main__":
    tool.run(unittests.main)
