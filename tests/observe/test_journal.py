"""The journal's lines."""

from __future__ import annotations

import json
import os
import socket
from typing import Any

from twisted.trial.unittest import TestCase

from pipsocks.model import Attempt, Destination, Ended, StartError
from pipsocks.observe.journal import Journal, jsonLine, textLine
from pipsocks.observe.target import lineWriter, openTarget


class JournalTests(TestCase):
    """What is written when a session ends."""

    def write(self, form: Any, user: str = "ann", destination: str = "index.example") -> str:
        lines: list[str] = []
        now = [10.0]
        entry = Journal(lines.append, form, lambda: now[0], lambda: 0.0).open("socks:127.0.0.1:1080", "127.0.0.1:5000")
        entry.protocol, entry.user, entry.route, entry.relay = "socks5", user, "default", "splice"
        entry.destination = Destination(destination, 443)
        entry.attempted(Attempt("far", "a:1080", "hop_refused", 1.26))
        entry.attempted(Attempt("b:3128", "b:3128", "ok", 34.5))
        now[0] = 11.5
        self.assertEqual(lines, [])
        entry.close(Ended("ok", 517, 4096))
        (line,) = lines
        return line

    def test_json(self) -> None:
        """Every value stands under its key, the attempts with hop, outcome and milliseconds."""
        line = json.loads(self.write(jsonLine))
        self.assertEqual(len(line.pop("id")), 8)
        self.assertEqual(
            line,
            {
                "time": "1970-01-01T00:00:00.000+00:00",
                "listener": "socks:127.0.0.1:1080",
                "client": "127.0.0.1:5000",
                "user": "ann",
                "protocol": "socks5",
                "destination": "index.example:443",
                "sni": "",
                "route": "default",
                "because": "",
                "attempts": [
                    {"chain": "far", "hop": "a:1080", "outcome": "hop_refused", "ms": 1.3},
                    {"chain": "b:3128", "hop": "b:3128", "outcome": "ok", "ms": 34.5},
                ],
                "relay": "splice",
                "up": 517,
                "down": 4096,
                "seconds": 1.5,
                "outcome": "ok",
            },
        )

    def test_text(self) -> None:
        """A person reads the same in one line; empty values are left out."""
        line = self.write(textLine, user="")
        self.assertIn('attempts="far (at a:1080) hop_refused 1.3ms; b:3128 ok 34.5ms" relay=splice up=517', line)
        self.assertNotIn("user=", line)
        self.assertTrue(line.endswith("seconds=1.5 outcome=ok"), line)

    def test_escaped(self) -> None:
        """No control character, quote or newline of a client's breaks a line, in either form."""
        hostile = 'a\n"b"\x1b[31m=\xe9\u202e'
        text, line = self.write(textLine, user=hostile), self.write(jsonLine, user=hostile)
        for written in (text, line):
            self.assertTrue(written.isascii() and written.isprintable(), written)
        self.assertEqual(json.loads(line)["user"], hostile)
        self.assertIn('user="a\\\\n\\"b\\"', text)

    def rescued(self, form: Any, **fields: Any) -> str:
        """A line whose session has these fields too."""
        lines: list[str] = []
        entry = Journal(lines.append, form, lambda: 0.0, lambda: 0.0).open("http:127.0.0.1:3128", "127.0.0.1:5000")
        for name, value in fields.items():
            setattr(entry, name, value)
        entry.close(Ended("ok"))
        return lines[0]

    def test_rescue(self) -> None:
        """Why it went that way, the name in the ClientHello, and how often it was rescued, each where it is so."""
        fields = {"because": "route[2]", "sni": "index.example", "replays": 2, "resumes": 1}
        text, line = self.rescued(textLine, **fields), json.loads(self.rescued(jsonLine, **fields))
        for name, value in fields.items():
            self.assertIn(f" {name}={value} ", text)
            self.assertEqual(line[name], value)

    def test_noRescue(self) -> None:
        """Where nothing of the kind happened a person does not read of it; a program finds the texts empty."""
        text, line = self.rescued(textLine), json.loads(self.rescued(jsonLine))
        for name in ("because", "sni", "replays", "resumes"):
            self.assertNotIn(name, text)
        self.assertEqual((line["because"], line["sni"]), ("", ""))
        self.assertFalse({"replays", "resumes"} & set(line))

    def test_rescueIsEscaped(self) -> None:
        """A name in a ClientHello is the client's own, and a route's the administrator's: neither breaks a line."""
        hostile = 'a" outcome=ok\r\n\x1b[2J\u202e'
        for name in ("because", "sni"):
            text, line = (self.rescued(form, **{name: hostile}) for form in (textLine, jsonLine))
            for written in (text, line):
                self.assertTrue(written.isascii() and written.isprintable(), written)
            self.assertEqual(json.loads(line)[name], hostile)
            self.assertIn(f'{name}="a\\" outcome=ok\\', text)

    def test_off(self) -> None:
        """A journal that is off formats nothing."""
        Journal(None, lambda line: self.fail("formatted"), lambda: 0.0, lambda: 0.0).open("l", "c").close(Ended("ok"))

    def test_noDestination(self) -> None:
        """A connection that never asked for anything has a line all the same."""
        lines: list[str] = []
        Journal(lines.append, textLine, lambda: 0.0, lambda: 0.0).open("http", "c").close(Ended("no_request"))
        self.assertIn("outcome=no_request", lines[0])
        self.assertNotIn("destination", lines[0])


class TargetTests(TestCase):
    """Where lines go."""

    def test_standard(self) -> None:
        """``-`` is what the program prints to."""
        lines: list[str] = []
        write = openTarget("-", lines.append)
        assert write is not None
        write("x")
        self.assertEqual(lines, ["x"])

    def test_off(self) -> None:
        """``off`` is nowhere."""
        self.assertIsNone(openTarget("off", print))

    def test_file(self) -> None:
        """A file is appended to, line by line, at once."""
        path = self.mktemp()
        for text in ("one", "two"):
            write = openTarget(path, print)
            assert write is not None
            write(text)
        with open(path) as file:
            self.assertEqual(file.read(), "one\ntwo\n")

    def test_unwritable(self) -> None:
        """A path that cannot be opened stops the start, named and with a hint."""
        error = self.assertRaises(StartError, openTarget, os.path.join(self.mktemp(), "no", "journal"), print)
        self.assertIn("hint:", str(error))
        self.assertIn("No such file", str(error))

    def test_noLogins(self) -> None:
        """A URL in the path's place is told without its login; an @ in a path is part of it."""
        url = self.assertRaises(StartError, openTarget, "socks5://u:hunter2@a:1", print)
        self.assertIn("journal ***@a:1: ", str(url))
        path = self.assertRaises(StartError, openTarget, f"{self.mktemp()}/me@home/journal", print)
        self.assertIn("/me@home/journal: ", str(path))

    def test_fullDisk(self) -> None:
        """A line that cannot be written is lost; the session is not."""
        with open("/dev/full", "w") as file:
            lineWriter(file)("x")
            self.assertRaises(OSError, file.close)

    def test_journald(self) -> None:
        """systemd's journal gets the line as a message of its native protocol."""
        path = self.mktemp()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
            journal.bind(path)
            write = openTarget("journald", print, path)
            assert write is not None
            write("a=b")
            self.assertEqual(journal.recv(1000), b"MESSAGE=a=b\nPRIORITY=6\nSYSLOG_IDENTIFIER=pipsocks\n")
        write("nobody listens any more")

    def test_noJournald(self) -> None:
        """Where there is no systemd the start says so."""
        self.assertIn("--journal -", str(self.assertRaises(StartError, openTarget, "journald", print, self.mktemp())))
