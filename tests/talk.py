#!/usr/bin/env python3
from kit import tool  # first: see kit/__init__.py

import argparse
import re
import time

from kit import urls
from kit.commandline import Parser
from kit.printable import printable
from suite import client as clients
from suite.client import Broken, Client

MOST_SAID = 1 << 24  # bytes in a step


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


def said(step):
    """Return what a step says: a path or bytes, and how many times; or None if it says nothing."""
    found = re.fullmatch(r"(/\S*?|say:.*?)(?:\*(\d+))?", step, re.S)
    if not found:
        return None
    text, times = found[1], int(found[2] or 1)
    if not text.startswith("/"):
        text = text[len("say:"):].encode("latin-1", "backslashreplace").decode("unicode_escape").encode("latin-1")
    if len(text.encode() if isinstance(text, str) else text) * times > MOST_SAID:
        raise ValueError
    return text, times


def step(text):
    """The type of an argument that is a step."""
    try:
        if said(text) or re.fullmatch(r"wait:\d{1,9}(\.\d+)?|read|end|fill|flood|half-close|reset", text):
            return text
    except ValueError:  # an escape that stands for no byte, or too many bytes
        pass
    raise argparse.ArgumentTypeError(f"{text}: no such step; see --help")


def take(client, step):
    """Take a step. Return what came of it."""
    verb, _, value = step.partition(":")
    plain = {"read": client.read, "end": client.end, "fill": client.fill, "flood": client.flood,
             "half-close": client.half_close, "reset": client.reset}
    if step in plain:
        return plain[step]()
    if verb == "wait":
        return client.pause(float(value))
    what, times = said(step)
    return client.say(what * times) if isinstance(what, bytes) else client.get(what, times)


def main(arguments):
    parser = Parser(description=clients.__doc__, usage="%(prog)s URL STEP...",
                    epilog="Exit status: 0 if every step succeeded; 1 if not; 2 for a bad command line.")
    parser.add_argument("url", metavar="URL", type=urls.url)
    parser.add_argument("steps", metavar="STEP", nargs="+", type=step)
    options = parser.parse_args(arguments)
    start = time.monotonic()
    try:
        client = Client(*urls.address(options.url), wait, asleep, asleep)
        for each in options.steps:
            came = take(client, each)
            print(f"{time.monotonic() - start:7.3f} s  {printable(each)}" + (f": {came}" if came is not None else ""))
    except Broken as broken:
        print(f"{time.monotonic() - start:7.3f} s  {broken}")
        return 1
    return 0


if __name__ == "__main__":
    tool.run(main)
