"""What a server answers: the bytes of HTTP responses, as they come."""
import re
from typing import NamedTuple

from kit.printable import printable


class Response(NamedTuple):
    line: str     # such as HTTP/1.1 200 OK
    status: int
    fields: dict  # names in lower case
    body: str

    @property
    def closes(self):
        return "close" in self.fields.get("connection", "").lower()

    @property
    def stays(self):
        return "keep-alive" in self.fields.get("connection", "").lower()

    def __str__(self):
        return f'status {self.status} and "{printable(self.body.strip()[:200])}"'


class Broken(Exception):
    """The connection is not what it should be."""


def parse(data, head=False, ended=False):
    """Return the first response in data, and its length; None, 0 if it is not complete. Without a length, its
    body ends with the connection (RFC 9112, section 6.3)."""
    text, found, rest = data.partition(b"\r\n\r\n")
    if not found:
        return None, 0
    line, *lines = text.decode(errors="replace").split("\r\n")
    said = re.match(r"HTTP/1\.[01] (\d{3})( |$)", line)
    if not said:
        raise Broken(f'no status line: "{printable(line[:60])}"')
    fields = {}
    for field in lines:
        name, _, value = field.partition(":")
        fields[name.strip().lower()] = value.strip()
    if said[1][0] == "1" or said[1] in ("204", "304"):
        body, length = b"", 0
    elif "chunked" in fields.get("transfer-encoding", "").lower() and not head:
        body, length = parse_chunks(rest)
    elif "content-length" in fields:
        if not re.fullmatch(r"[0-9]{1,15}", fields["content-length"]):
            raise Broken(f'no length: "Content-Length: {printable(fields["content-length"][:20])}"')
        length = 0 if head else int(fields["content-length"])
        body = rest[:length] if len(rest) >= length else None
    elif not head:
        body, length = (rest, len(rest)) if ended else (None, 0)
    else:
        body, length = b"", 0
    if body is None:
        return None, 0
    return Response(line, int(said[1]), fields, body.decode(errors="replace")), len(text) + 4 + length


def has_length(head):
    """Return whether a head says where its response ends."""
    return re.search(rb"\r\n(content-length|transfer-encoding):", head, re.I) is not None


def parse_chunks(data):
    """Return the body, and the length of its coding; None, 0 if it is not complete."""
    body, at = bytearray(), 0  # to bytes, each addition would copy them all
    while True:
        line, found, _ = data[at:at + 100].partition(b"\r\n")
        if not found and len(data) - at < 100:
            return None, 0
        digits = re.match(rb"([0-9A-Fa-f]{1,15})[ \t]*(;|\Z)", line)
        if not found or not digits:
            raise Broken(f'no chunk size: "{printable(line[:20].decode(errors="replace"))}"')
        size = int(digits[1], 16)
        at += len(line) + 2
        if len(data) < at + size + 2:
            return None, 0
        body += data[at:at + size]
        at += size + 2
        if size == 0:
            return bytes(body), at
