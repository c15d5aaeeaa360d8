#!/usr/bin/env python3
from kit import tool  # first: see kit/__init__.py

import re
import time

from kit import urls
from kit.commandline import Parser
from suite import client as clients
from suite.client import Broken, Client


def wait(condition, sleeps=0, socket=None):
    deadline = time.monotonic() + 30
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            raise Broken("nothing for 30 s")
        time.sleep(0.002)


def asleep():
    time.sleep(0.2)
    return True


def take(client, step):
    """Take a step. Return what came of it."""
    verb, _, value = step.partition(":")
    plain = {"read": client.read, "end": client.end, "fill": client.fill, "flood": client.flood,
             "half-close": client.half_close, "reset": client.reset}
    if step in plain:
        return plain[step]()
    if verb == "wait":
        return client.pause(float(value))
    text, times = re.fullmatch(r"(.*?)(?:\*(\d+))?", step, re.S).groups()
    if text.startswith("/"):
        return client.get(text, int(times or 1))
    said = text[len("say:"):].encode("latin-1", "backslashreplace").decode("unicode_escape").encode("latin-1")
    return client.say(said * int(times or 1))


def main(arguments):
    parser = Parser(description=clients.__doc__, usage="%(prog)s URL STEP...")
    parser.add_argument("url", metavar="URL", type=urls.url)
    parser.add_argument("steps", metavar="STEP", nargs="+")
    options = parser.parse_args(arguments)
    for step in options.steps:
        if not re.fullmatch(r"/\S*|say:.*|wait:\d+(\.\d+)?|read|end|fill|flood|half-close|reset", step, re.S):
            parser.error(f"{step}: no such step; see --help")
    start = time.monotonic()
    try:
        client = Client(*urls.address(options.url), wait, asleep, asleep)
        for step in options.steps:
            came = take(client, step)
            print(f"{time.monotonic() - start:7.3f} s  {step}" + (f": {came}" if came is not None else ""))
    except Broken as broken:
        print(f"{time.monotonic() - start:7.3f} s  {broken}")
        return 1
    return 0


if __name__ == "__main__":
    tool.run(main)
