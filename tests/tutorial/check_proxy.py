"""nginx in front of two stages, with the configuration tests/tutorial/nginx.conf. Show that nginx asks both in turn,
that a silent client no longer blocks 01, and that one of the two may stop without losing a request.

The ports of the configuration are replaced by free ones. Exit status: 0 if all of this holds; 1 if not; 2 for a
bad command line."""
import pathlib
import socket
import threading

from kit import measuring, processes, tool
from kit.commandline import Parser
from kit.errors import Failed
from kit.processes import Program
from kit.servers import Server
from kit.urls import free_port


CONFIGURATION = pathlib.Path(__file__).with_name("nginx.conf")
SHOTS = ["0:/fast", "50:/fast", "100:/fast", "150:/fast", "16x200:/fast"]  # 20 requests
TRIES = 5


class Proxy(Program):
    """nginx on a free port, in front of two servers."""

    def __init__(self, first, second):
        self.port = free_port()
        text = CONFIGURATION.read_text()
        for old, new in (8000, self.port), (8001, first.port), (8002, second.port):
            text = text.replace(str(old), str(new))
        folder = tool.scratch() / f"nginx-{self.port}"
        folder.mkdir()
        (folder / "nginx.conf").write_text(text)
        super().__init__(["nginx", "-p", folder, "-c", folder / "nginx.conf"])
        self.url = f"http://127.0.0.1:{self.port}"

    def answers(self):
        try:
            return measuring.probe(self.url, "0:/fast", timeout=5)[0]["status"] == "200"
        except Failed:
            return False


def start_proxy(first, second):
    for _ in range(TRIES):  # another program may take the free port before nginx does
        proxy = Proxy(first, second)
        if processes.wait_until(lambda: not proxy.alive or proxy.answers()) and proxy.alive:
            return proxy
    raise Failed("nginx does not start", proxy.messages())


def ask(proxy, first, second, by_server=True):
    """Ask 20 times through the proxy. Return how many of the answers are from the first server."""
    before = [server.messages().count(' 200 ') for server in (first, second)]
    rows = measuring.probe(proxy.url, *SHOTS, timeout=10)
    lost = sum(row["status"] != "200" for row in rows)
    if lost:
        raise Failed(f"{lost} of {len(rows)} requests got no answer with status 200", proxy.messages())
    one, two = (server.messages().count(' 200 ') - old for server, old in zip((first, second), before))
    print(f"  {len(rows)} answers" + (f": {one} from 01, {two} from 05" if by_server else ""))
    return one


def main(arguments):
    Parser(description=__doc__).parse_args(arguments)
    tool.need("nginx", "deps-tutorial")
    first = Server("01-blocking", "--delay", "2", "--verbose")
    second = Server("05-epoll", "--delay", "2", "--verbose")
    proxy = start_proxy(first, second)
    print("nginx asks both in turn:")
    if not 5 <= ask(proxy, first, second) <= 15:
        raise Failed("nginx does not ask both in turn")
    print("A client that connects and stays silent does not block 01:")
    with socket.create_connection(("127.0.0.1", proxy.port)):
        if ask(proxy, first, second) < 5:
            raise Failed("01 does not answer")
    print("05 is told to stop meanwhile, and no request is lost:")
    timer = threading.Timer(0.12, second.process.terminate)  # after the third of the 20 requests
    timer.start()
    ask(proxy, first, second, by_server=False)  # which server gets how many is not certain here
    timer.join()
    if second.stop() != 0:
        raise Failed("05 did not exit with status 0", second.messages())
    print("05 has stopped:")
    if ask(proxy, first, second) != 20:
        raise Failed("some answers are not from 01, and 05 has stopped")
    return 0


if __name__ == "__main__":
    tool.run(main)
