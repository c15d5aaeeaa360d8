"""Are URLs of servers read as they should be, and are the processes found that listen there?"""
import argparse
import os
import socket
import unittest

from kit import proc, tool, unittests, urls


class Urls(unittest.TestCase):
    def test_url_is_a_host_and_a_port_without_a_path(self):
        for text, address in [("http://127.0.0.1:8000", ("127.0.0.1", 8000)), ("http://localhost/", ("localhost", 80)),
                              ("http://[::1]:65535", ("::1", 65535)), ("http://a-b.example:1/", ("a-b.example", 1))]:
            self.assertEqual(urls.address(urls.url(text)), address)

    def test_anything_else_is_refused(self):
        for text in ["", "http://", "https://127.0.0.1:8000", "127.0.0.1:8000", "http://h:99999", "http://h:0",
                     "http://h:", "http://h:8000/x", "http://h:8000//", "http://a b", "http://h\n", "http://::1",
                     "http://h:٣", "http://h@i"]:
            with self.subTest(text), self.assertRaisesRegex(argparse.ArgumentTypeError, "want http://HOST"):
                urls.url(text)

    def test_listener_is_found_as_long_as_it_listens(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            self.assertTrue(urls.connects(f"http://127.0.0.1:{port}"))
            self.assertEqual(proc.owners(proc.listeners(port)), [os.getpid()])
        self.assertFalse(urls.connects(f"http://127.0.0.1:{port}"))
        self.assertEqual((proc.listeners(port), proc.owners(set())), (set(), []))

    def test_only_addresses_of_this_machine_are_here(self):
        self.assertTrue(urls.is_here("http://127.0.0.1:1"))
        self.assertFalse(urls.is_here("http://192.0.2.1:1"))  # nobody has it (RFC 5737)

    def test_free_port_is_free(self):
        self.assertEqual(proc.listeners(urls.free_port()), set())


if __name__ == "__main__":
    tool.run(unittests.main)
