"""Does tests/talk.py refuse what it cannot say, before it says anything?"""
import socket
import subprocess
import threading
import unittest

from kit import tool, unittests
from kit.servers import Server
from kit.tree import TESTS


def talk(*words):
    run = subprocess.run([TESTS / "talk.py", *words], capture_output=True, text=True, timeout=60)
    return run.returncode, run.stdout, run.stderr


class Steps(unittest.TestCase):
    def test_wrong_step_is_named(self):
        for step in [r"say:\x", r"say:a\xzz", r"say:\u20ac", "say:\u20ac", b"say:\xff", b"/\xff", "say:\\",
                     "say:x*99999999999999", "/fast*999999999", "read*3", "wait:-1", "wait:1e999", "wait:nan",
                     "nonsense", ""]:
            shown = step.decode(errors="surrogateescape") if isinstance(step, bytes) else step
            shown = shown.replace("\udcff", r"\xff")
            with self.subTest(step):
                self.assertEqual(talk("http://127.0.0.1:1", "/fast", step),
                                 (2, "", f"talk.py: {shown}: no such step; see --help\n"))

    def test_bytes_are_said_as_they_stand(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            came = []

            def serve():
                client, _ = listener.accept()
                with client:
                    while piece := client.recv(4096):
                        came.append(piece)

            server = threading.Thread(target=serve)
            server.start()
            steps = [r"say:a\r\n\x00\\*2", "say:\u00e9", "say:*", "half-close"]
            status, output, errors = talk(f"http://127.0.0.1:{listener.getsockname()[1]}", *steps)
            server.join()
        self.assertEqual((status, errors), (0, ""))
        self.assertEqual(b"".join(came), b"a\r\n\0\\" * 2 + b"\xe9" + b"*")
        self.assertEqual([line.split(" s  ")[1] for line in output.splitlines()], steps)

    def test_steps_are_told_one_by_one(self):
        steps = ["/fast", "read", "/slow*2", "read", "read", "half-close", "end"]
        with Server("05-epoll", "--delay", "0.1") as server:
            status, output, _ = talk(server.url, *steps)
        self.assertEqual(status, 0, output)
        told = [line.split(" s  ")[1] for line in output.splitlines()]
        answers = iter(["fast", "slow", "slow"])
        self.assertEqual(told, [f'read: status 200 and "That was {next(answers)}!"' if step == "read" else step
                                for step in steps])


if __name__ == "__main__":
    tool.run(unittests.main)
