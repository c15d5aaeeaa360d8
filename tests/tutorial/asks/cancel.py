"""Cancelling, line by line: a client asks step 5 for /slow, and leaves. Print what runs in these functions from then
on, and where an exception passes through them."""
import dis
import linecache
import os
import pathlib
import socket
import sys
import types

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "loop"))
import step5  # noqa: E402 (it is in that folder)

SHOWN = "cancel", "step", "sleep", "respond", "while_connected", "converse"


def show(frame, event, argument):
    """Called by Python at each line of a function that is shown, and at each exception in it."""
    code = frame.f_code
    at = [number for offset, number in dis.findlinestarts(code) if offset <= frame.f_lasti and number]
    line = linecache.getline(code.co_filename, at[-1]).split("  #")[0].strip()
    if event == "line" and not line.startswith(("try:", "await ")):
        print(f"{code.co_name:16} {line}", flush=True)
    if event == "exception" and argument[0] is step5.Cancelled:
        print(f"{code.co_name:16} {line}  <- Cancelled", flush=True)
    return show


def call(frame, *_):
    code = frame.f_code
    return show if code.co_filename == step5.__file__ and code.co_name in SHOWN else None


async def experiment(listener):
    client = socket.create_connection(listener.getsockname())
    client.sendall(b"GET /slow HTTP/1.1\r\n\r\n")
    await step5.sleep(0.2)
    client.close()
    sleeper = step5.sleep(0.2)
    sleeper.send(None).callbacks.append(lambda: os._exit(0))  # the end of the experiment
    sys.settrace(call)


listener = socket.create_server(("127.0.0.1", 0))
listener.setblocking(False)
step5.options = types.SimpleNamespace(delay=10, timeout=10)
step5.Task(step5.serve(listener))
step5.Task(experiment(listener))
step5.run()
