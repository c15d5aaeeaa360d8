"""Options, the lines that a server prints, and the address that it listens on."""
import re
import socket
import time

from kit import proc
from kit.printable import printable
from suite.cases import PROGRAM, case
from suite.client import request
from suite.server import FAST, FAST_CLOSE, SLOW, Failure, Skipped, packet_pipe, packets, stderr_to

WRONG = ["--port 70000", "--port x", "--port -1", "--port ", "--delay -1", "--delay nan", "--delay 1x",
         "--delay ", "--delay 1e9", "--delay inf", "--delay  1", "--delay .", "--timeout 0", "--timeout x",
         "--host 300.1.1.1", "--host ", "--host no.such", "--nonsense", "extra", "--port", "--delay 99999",
         "--port 99999999", "--timeout 0.00001"]


@case(needs=PROGRAM)
def server_says_where_it_listens(stage):
    with stage.serve("--delay", 0.3) as server:
        server.expected = "a server that keeps running"
        server.pause(0.1)


@case()
def bad_option_is_named(stage):
    for words in WRONG:
        option, given, value = words.partition(" ")
        with stage.serve(option, *([value] if given else []), listens=False) as server:
            server.expect_exit(2)
            said = server.messages()
            if option not in said or value not in said or said.count("\n") != 1:
                raise Failure(f'one line on stderr that names {option} and "{value}"', f'"{printable(said)}"')
            if server.program.output():
                raise Failure("nothing on stdout", f'"{printable(server.program.output())}"')


@case()
def help_and_version_are_printed(stage):
    for option, wanted in [("--help", "--delay SECONDS"), ("--version", f"{stage.name}")]:
        with stage.serve(option, listens=False) as server:
            server.expect_exit(0)
            if wanted not in server.program.output():
                raise Failure(f'"{wanted}" on stdout', f'"{printable(server.program.output()[:200])}"')


@case()
def port_in_use_is_an_error(stage):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with stage.serve("--port", port, listens=False) as server:
            server.expect_exit(1)
            # glibc says "Address already in use", musl "Address in use"
            if not re.search(rf"{port}.*: Address (already )?in use\n$", server.messages()):
                raise Failure("a message that names the port, and the reason",
                              f'"{printable(server.messages())}"')


@case()
def error_message_is_one_write(stage):
    """So it stays in one piece, however many processes write to the same log."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for options, stdout, status in [(["--port", port], "", 1), (["--port", port, "--workers", 2], "", 1),
                                        (["--port", 0], ">/dev/full ", 1), (["--port", "x"], "", 2),
                                        (["--nonsense"], "", 2)]:
            with packet_pipe() as (reader, writer):
                with stage.serve(*options, listens=False, **stderr_to(writer, stdout)) as server:
                    server.expect_exit(status)
                    said = packets(reader)
                    if len(said) != 1 or said[0].count(b"\n") != 1 or not said[0].endswith(b"\n"):
                        raise Failure("one line on stderr, in one write", f"these writes: {said}")


@case()
def server_listens_on_ipv6(stage):
    try:
        with socket.socket(socket.AF_INET6) as here:
            here.bind(("::1", 0))
    except OSError as error:
        raise Skipped(f"no IPv6 here: {error.strerror}") from None
    with stage.serve("--host", "::1") as server:
        client = server.client(FAST_CLOSE)
        server.expect_closed(client, server.expect(client, "/fast"))


@case()
def verbose_logs_one_line_per_response(stage):
    requests = [(FAST, '"GET /fast HTTP/1.1" 200 '),
                (b"\r\n" + SLOW, '"GET /slow HTTP/1.1" 200 '),
                (request("/fast", method="POST"), '"POST /fast HTTP/1.1" 405 '),
                (b"GET /\x1b[31m\x07\xff HTTP/1.1\r\n\r\n", '"GET /?'),  # it would turn a terminal red
                (b"\x7f\x80\n", '"?'),
                # these would look like another status and duration
                (b'GET /fast HTTP/1.1" 200 0.012 ms\r\n\r\n', r'"GET /fast HTTP/1.1\" 200 0.012 ms" 400 '),
                (b'GET /\\"200 HTTP/1.1\r\nHost: h\r\n\r\n', r'"GET /\\\"200 HTTP/1.1" 404 ')]
    with stage.serve("--delay", 0.05, "--verbose") as server:
        wanted = []
        for said, line in requests:
            before = server.messages().count("\n")
            client = server.client(said)
            wanted.append(f" 127.0.0.1:{client.port} {line}")
            server.read(client, sleeps=0.05)
            server.expected = "a line on stderr for each response"
            server.wait_for(lambda: server.messages().count("\n") > before)
            client.close()
        server.expect_graceful_exit()
        log = server.messages()
        written = log.splitlines()
        if len(written) != len(wanted) or any(text not in line for text, line in zip(wanted, written)):
            raise Failure("these lines on stderr:\n" + "\n".join(wanted), printable(log))
        if re.search(r"[^ -~\n]", log):
            raise Failure("printable ASCII in the log", f'"{printable(log)}"')


@case()
def verbose_outlives_the_reader_of_its_log(stage):
    with stage.serve("--verbose", under=["bash", "-c", 'exec "$@" 2> >(exit)', "bash"]) as server:
        server.wait_for(lambda: all(proc.stat(reader)[0] == "Z" for reader in server.workers()))
        for _ in range(3):
            client = server.client(FAST_CLOSE)
            server.expect_closed(client, server.expect(client, "/fast"))
        server.expect_graceful_exit()


@case()
def verbose_outlives_a_file_that_is_full(stage):
    """The log has reached the largest size that a file may have (setrlimit(2), RLIMIT_FSIZE)."""
    with stage.serve("--verbose") as server:
        server.limit("fsize", 300)
        for _ in range(10):
            server.expect_served()
        server.expect_graceful_exit()


@case()
def log_never_reaches_a_client(stage):
    """Without a stderr, the first socket would get its number, and the log would go to a client."""
    with stage.serve("--verbose", under=["sh", "-c", 'exec "$@" <&- 2>&-', "sh"]) as server:
        for _ in range(3):
            client = server.client(FAST_CLOSE)
            server.expect_closed(client, server.expect(client, "/fast"))
        client = server.client(FAST)
        server.expect(client, "/fast")
        client.pause(0.05)
        if not stage.one:
            server.expect_silence([client], "nothing after the response")
        server.expect_graceful_exit()


@case()
def server_without_stdout_listens(stage):
    """The listener must not become descriptor 1, to which the server says where it listens."""
    with stage.serve("--port", 0, listens=False, under=["sh", "-c", 'exec "$@" >&-', "sh"]) as server:
        server.expected = "a server that opens a socket"
        server.wait_for(lambda: server.descriptors() > 3, sleeps=5)
        server.wait_asleep()
        time.sleep(0.2)  # let it say where it listens; the case also holds if it has not
        server.expect_alive()
        server.expect_graceful_exit()
