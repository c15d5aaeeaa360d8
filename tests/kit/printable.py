"""Show text that others wrote (the output of a program, the bytes of a client, the name of a process) without obeying
it."""
import re

# Controls, and the characters that change the direction of the text around them.
_UNPRINTABLE = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufffe\uffff"
                          "\ud800-\udfff]")


def printable(text):
    """Return the text on one line, with an escape such as \\x1b in the place of each character that could control
    a terminal, or is not allowed in XML."""
    return _UNPRINTABLE.sub(_escape, str(text).replace("\t", " "))


def _escape(found):
    code = ord(found[0])
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8 (surrogateescape)
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
