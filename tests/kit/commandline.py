"""The command line of a tool."""
import argparse
import functools
import itertools
import os
import pathlib
import re

from kit import tool
from kit.printable import printable


class Parser(argparse.ArgumentParser):
    """A command line. If it is wrong: one line that names the option and its value, and exit status 2."""

    def __init__(self, **arguments):
        super().__init__(allow_abbrev=False, add_help=False,
                         formatter_class=argparse.RawDescriptionHelpFormatter, **arguments)

    def parse_args(self, args, namespace=None):
        self.add_argument("--help", action="help", help="print this text")
        for word in itertools.takewhile(lambda word: word != "--", args):
            if re.match("--?[a-z]", word) and word.partition("=")[0] not in self._option_string_actions:
                self.error(f"{word}: no such option; see --help")
        return self.parse_intermixed_args(args, namespace)

    def error(self, message):
        for pattern, replacement in [
                (r"^argument (-\S+): expected .*", r"\1 wants a value"),
                (r"^argument (-\S+): ", r"\1 "),
                (r"^argument [^:]*: ", ""),
                (r"invalid choice: '(.*)' \(choose from (.*)\)", r"\1: want one of \2")]:
            message = re.sub(pattern, replacement, message)
        if "want one of" in message:
            message = message.replace("'", "")  # which Python before 3.12 puts around each
        self.exit(2, f"{tool.name()}: {printable(message)}\n")


def _number(pattern, kind, wanted, least, most):
    """Return a type for an argument: a number that is written so, from least to most."""
    def parse(text):
        if re.fullmatch(pattern, text, re.ASCII) and least <= kind(text) <= most:
            return kind(text)
        raise argparse.ArgumentTypeError(f"{text}: want {wanted} from {least} to {most}")
    return parse


seconds = functools.partial(_number, r"\d+\.?\d*|\.\d+", float, "seconds,")
whole_number = functools.partial(_number, r"[1-9]\d{0,17}|0", int, "a number")


def matching(pattern, wanted):
    """Return a type for an argument: a text that is written so."""
    def parse(text):
        if re.fullmatch(pattern, text, re.ASCII):
            return text
        raise argparse.ArgumentTypeError(f"{text}: want {wanted}")
    return parse


route = matching(r"/[!-\[\]-~]*", "a path that begins with /, without blanks, backslashes or bytes above 0x7E")


def one_of(names):
    """Return a type for each of several arguments, perhaps none: one of these names."""
    return matching("|".join(map(re.escape, names)), f"one of {' '.join(names)}")


def output(text):
    """The type of an argument that is a file to be written; - is stdout."""
    path = pathlib.Path(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{text}: this is a folder")
    # the slash makes access(2) fail if the parent is a file
    if text != "-" and not os.access(path if path.exists() else f"{path.parent}/", os.W_OK):
        raise argparse.ArgumentTypeError(f"{text}: cannot be written")
    return text
