"""Count what one more /fast costs a stage, on a connection that is kept: the instructions that the
server executes (callgrind counts them), and its system calls (strace counts them). One client asks, and
reads the answer before it asks again.

Each figure is the difference between a run with many requests and a run with few, divided by the
difference in requests: so start and end of the server cancel out. Such counts vary by a thousandth
or so, where times vary by a tenth on a busy machine.

Exit status: 0 if the bounds on system calls hold, 1 if one does not, 2 for a bad command line."""
import os
import re
import signal
import socket

from kit import proc, processes, tool
from kit.commandline import one_of
from kit.errors import Failed
from kit.report import Report
from kit.servers import Server
from kit.tree import BUILD, STAGES

REQUEST = b"GET /fast HTTP/1.1\r\nHost: a\r\n\r\n"
FEW, MANY = 200, 4200
COROUTINES = {"07-coroutines": BUILD / "assembly/07-coroutines",  # the solution of the exercise
              "07-ucontext": BUILD / "ucontext/07-coroutines"}
KEPT = [*STAGES[1:], *COROUTINES]  # 01 keeps no connection
# a wait, recv, send; but 02 needs no wait, as it waits in recv, and each of two swapcontext sets the mask of signals
MOST_CALLS = {stage: {"02-threaded": 2.1, "07-ucontext": 5.2}.get(stage, 3.1) for stage in KEPT}
report = Report("stage", "instructions", "calls")


def ask(port, requests):
    """Send so many requests over one connection, each after the answer to the one before."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(requests):
            connection.sendall(REQUEST)
            answer = b""
            while not answer.endswith(b"That was fast!"):
                part = connection.recv(4096)
                if not part:
                    raise Failed("the server has closed the connection", answer.decode(errors="replace"))
                answer += part


def run(stage, under, requests, is_child):
    """Serve so many requests under a tool that counts. Return what it has written at its end."""
    server = Server(stage, "--timeout", "3600", under=under, program=COROUTINES.get(stage))
    ask(server.port, requests)
    os.kill(proc.children(server.pid)[0] if is_child else server.pid, signal.SIGTERM)
    if not processes.wait_until(lambda: not server.alive):
        server.stop()
        raise Failed(f"{stage} does not end under {under[0]}")
    return server.messages()


def count(stage, pattern, under, is_child=False):
    """Return the count of a tool for one request; pattern finds it in what the tool has written."""
    counts = []
    for requests in (FEW, MANY):
        written = run(stage, under, requests, is_child)
        found = re.findall(pattern, written, re.M)
        if not found:
            raise Failed(f"{under[0]} has counted nothing", written)
        counts.append(int(found[-1]))
    return (counts[1] - counts[0]) / (MANY - FEW)


def main(arguments):
    parser = report.parser(__doc__)
    parser.add_argument("stages", nargs="*", metavar="STAGE", type=one_of(KEPT),
                        help="those to count (02 to 06, 07-coroutines, 07-ucontext)")
    options = parser.parse_args(arguments)
    for program in ("valgrind", "strace"):
        tool.need(program, "deps-tools")
    report.start(parser, options, *STAGES)
    print(f"{'stage':<14} {'instructions':>12} {'system calls':>14}   for one more /fast on a kept connection")
    for stage in options.stages or KEPT:
        report.begin(stage)
        out = tool.scratch() / "callgrind.out"
        instructions = count(stage, r"Collected : (\d+)",
                             ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"])
        # Without rt_sigprocmask: a loop calls it every 50 ms (stop_poll), however many requests there are. But
        # swapcontext calls it, too.
        traced = "all" if stage == "07-ucontext" else "!rt_sigprocmask"
        # The line "total" of strace -c: % time, seconds, usecs/call (in newer versions), calls, errors, total
        calls = count(stage, r"^100\.00 +\S+ +(?:\d+ +)?(\d+)(?: +\d+)? +total$",
                      ["strace", "-f", "-c", "-S", "calls", "-e", f"trace={traced}"], is_child=True)
        report.figure(stage, f"{instructions:.1f}", f"{calls:.3f}")
        report.end(f"{instructions:12.0f} {calls:14.2f}", column=16)
        if calls > MOST_CALLS[stage]:
            report.fail(f"{stage}: {calls:.2f} system calls for a request, want at most {MOST_CALLS[stage]}")
    return report.verdict()


if __name__ == "__main__":
    tool.run(main)
