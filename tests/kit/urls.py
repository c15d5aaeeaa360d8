"""The URL of a server, http://HOST[:PORT]: its grammar, and what is there."""
import argparse
import re
import socket
from typing import NamedTuple

_URL = re.compile(r"http://(\[[\da-fA-F:.]+\]|[\w.-]+)(?::(\d+))?/?", re.ASCII)


class Address(NamedTuple):
    host: str
    port: int


def url(text):
    """The type of an argument that is such a URL."""
    found = _URL.fullmatch(text)
    if not found or not 1 <= int(found[2] or 80) <= 65535:
        raise argparse.ArgumentTypeError(f"{text}: want http://HOST[:PORT] with a PORT up to 65535, and no path")
    return text


def address(text):
    """Return the host and the port that a URL names."""
    found = _URL.fullmatch(text)
    return Address(found[1].strip("[]"), int(found[2] or 80))


def names(text, place):
    """Return whether this is a URL that names an address, such as 127.0.0.1:8000."""
    found = _URL.fullmatch(text)
    hosts = ("127.0.0.1", "[::1]") if found and found[1] == "localhost" else (found[1],) if found else ()
    return place in [f"{host}:{found[2] or 80}" for host in hosts]


def connects(text):
    """Return whether somebody listens at a URL."""
    try:
        socket.create_connection(address(text), timeout=1).close()
        return True
    except OSError:
        return False


def every_address(text):
    """Return a URL for each address that its host has: localhost is often both 127.0.0.1 and ::1."""
    host, port = address(text)
    try:
        found = [each[4][0] for each in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    except OSError:
        return [text]
    if host == "localhost":
        found = ["127.0.0.1", "::1", *found]
    return [f"http://{f'[{each}]' if ':' in each else each}:{port}" for each in dict.fromkeys(found)]


def reachable(text):
    """Return the first of these at which somebody listens; the same URL if nobody does, or if it has one address."""
    found = every_address(text)
    return next(filter(connects, found), text) if len(found) > 1 else text


def is_here(text):
    """Return whether the host of a URL is an address of this machine."""
    try:
        for family, kind, _, _, where in socket.getaddrinfo(address(text).host, 0, type=socket.SOCK_STREAM):
            with socket.socket(family, kind) as probe:
                probe.bind(where)
                return True
    except OSError:
        pass
    return False


def free_port():
    """Return a port of this machine on which nobody listens. Another program may take it first."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
