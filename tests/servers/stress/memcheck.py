"""Run the unit tests under valgrind's memcheck, and the six servers, too, while honest and
hostile clients keep them busy. Run 02 and a pool of threads under its helgrind, in 03 to 06
with two workers, each of which has a pool. All run simultaneously: most of the time, the
servers wait.
"""
import functools
import os
import pathlib
import re

from kit import processes
from kit.commandline import Parser
from kit.errors import Failed
from kit.processes import Program
from kit.tool import need, run, scratch
from kit.tree import BUILD, BUILD_NOTE, STAGES, built
from servers.stress import awaitable


MEMCHECK = ["--leak-check=full", "--errors-for-leak-kinds=definite", "--show-leak-kinds=definite"]
HELGRIND = ["--tool=helgrind", f"--suppressions={pathlib.Path(__file__).with_name('helgrind.supp')}"]
UNIT = ["check_http", "check_connections", "check_pool"]
POOL = ["--block", "--threads", "4"]
FOUND = 99  # the exit status of a program in which valgrind has found errors


def valgrind(log, tool):
    """Return the command that runs a program. Each of its processes writes a log, which holds only errors."""
    return ["valgrind", "-q", f"--error-exitcode={FOUND}", "--child-silent-after-fork=no",
            f"--log-file={log}.%p", *tool]


async def check_tests(name, tool, log):
    slower = {**os.environ, "CK_TIMEOUT_MULTIPLIER": "30"}  # as valgrind is, on a busy machine
    with Program([*valgrind(log, tool), BUILD / name], env=slower) as tests:
        await awaitable.ended(tests)
        failures = [line for line in tests.output().splitlines() if re.search(":[FE]:", line)]
        if not re.search("%: Checks: [1-9]", tests.output()):
            raise Failed(f"ended with {processes.ending(tests.process.returncode)}: {tests.messages()}")
        if failures:
            raise Failed(failures[0])
        if tests.process.returncode == FOUND:
            raise Failed("valgrind has found errors")


async def check_server(stage, tool, log, options=()):
    async def ask(shots):
        for row in await awaitable.Probe(server.url, *shots.split(), timeout=60).rows():
            if not awaitable.is_right(row):
                raise Failed(f"a client was let down: {row['path']} {row['status']}")

    serial = stage == "01-blocking"  # its clients wait for each other, so it gets fewer
    with await awaitable.start(stage, "--delay", "0.3", "--timeout", "1.5", "--verbose", *options, patience=30,
                               under=valgrind(log, tool)) as server:
        await ask("5x0:/fast 2x0:/slow" if serial else "20x0:/fast 10x0:/slow 10x100:/fast")
        with Program([BUILD / "hostile", "--seconds", 3 if serial else 5,
                      "--connections", 2 if serial else 30, server.url]) as hostile:
            await awaitable.ended(hostile)
            if hostile.process.returncode != 0:
                raise Failed(f"a wrong answer: {hostile.messages()}")
        await ask("0:/fast 0:/slow" if serial else "20x0:/fast 10x0:/slow")
        with awaitable.Probe(server.url, "0:/slow", timeout=60) as client:
            await awaitable.sleep(0.2)
            server.process.terminate()  # while a client waits
            await awaitable.ended(client)
        await awaitable.must_end(server, 0, 30)


def check_all(checks):
    failed, waiting = [], list(checks)

    async def lane(name, check):
        log, problem = scratch() / name, ""
        try:
            await check(log)
        except Failed as failure:
            problem = "\n".join([str(failure), *failure.details])
        logs = sorted(log.parent.glob(f"{name}.[0-9]*"))
        errors = "".join(path.read_text(errors="replace") for path in logs)
        if errors:
            problem = "\n".join(["valgrind has found errors", *([problem] if problem else []),
                                 *errors.splitlines()[:40]])
        awaitable.say(f"{name}: FAILED: {problem}" if problem else f"{name}: ok")
        waiting.remove(name)
        failed.extend([name] if problem else [])

    awaitable.together([lane(name, check) for name, check in checks.items()],
                       lambda: f"waiting for {' '.join(waiting)}")
    awaitable.say(f"{len(checks) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


def main(arguments):
    Parser(description=__doc__, epilog=BUILD_NOTE).parse_args(arguments)
    need("valgrind", "deps-tools")
    for program in (*UNIT, *STAGES, "probe", "hostile"):
        built(program)
    checks = {name: functools.partial(check_tests, name, MEMCHECK) for name in UNIT}
    checks["check_pool-helgrind"] = functools.partial(check_tests, "check_pool", HELGRIND)
    checks.update({stage: functools.partial(check_server, stage, MEMCHECK) for stage in STAGES})
    checks["02-threaded-helgrind"] = functools.partial(check_server, "02-threaded", HELGRIND)
    checks["05-epoll-pool"] = functools.partial(check_server, "05-epoll", MEMCHECK, options=POOL)
    for stage in STAGES[2:]:
        workers = ["--workers", "2"] if stage > "03" else []
        checks[f"{stage}-pool-helgrind"] = functools.partial(check_server, stage, HELGRIND,
                                                             options=[*POOL, *workers])
    return check_all(checks)


if __name__ == "__main__":
    run(main)
