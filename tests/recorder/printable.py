"""Text of others, and numbers, in a form that a terminal, an SVG and a person can take."""
import re
import unicodedata

# Controls, and the characters that change the direction of the text around them.
_UNPRINTABLE = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufffe\uffff"
                          "\ud800-\udfff]")


def printable(text):
    """The same text on one line, with an escape such as \\x1b in the place of each character that could control a
    terminal or is not allowed in XML."""
    return _UNPRINTABLE.sub(_escape, text.replace("\t", " "))


def _escape(found):
    code = ord(found[0])
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8 (surrogateescape)
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def columns(text):
    """How many columns of a terminal a text takes."""
    return sum(0 if unicodedata.combining(letter) else 1 + (unicodedata.east_asian_width(letter) in "WF")
               for letter in text)


def duration(seconds):
    """A duration as a person writes it: 0.3 ms, 902 ms, 12.3 s, 5 min 20 s, 2 h 5 min."""
    if seconds < 0.0995:
        return f"{seconds * 1000:.1f} ms"
    if seconds < 9.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 119.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    big, small, units = (whole // 60, whole % 60, ("min", "s")) if whole < 7200 else (
        whole // 3600, whole % 3600 // 60, ("h", "min"))
    return f"{big} {units[0]}" + (f" {small} {units[1]}" if small else "")
