"""How many words has tutorial.md, outside of code: on its path, and in all?"""
import re

from kit import tool
from kit.commandline import Parser
from kit.tree import ROOT
from tutorial import markdown

END_OF_PATH = "\n# For those who build one\n"
MOST_ON_THE_PATH = 6000  # about an hour, with the commands


def count(text):
    """Return the number of words of a text. Code, output and comments do not count."""
    return len(re.sub(r"(?s)<!--.*?-->", "", markdown.prose(text)).split())


def path_of(text):
    return text[:text.index(END_OF_PATH)]


def main(arguments):
    Parser(description=__doc__).parse_args(arguments)
    text = (ROOT / "tutorial.md").read_text(encoding="utf-8")
    print(f"{count(path_of(text)):,} words on the path, {count(text):,} in all")
    return 0


if __name__ == "__main__":
    tool.run(main)
