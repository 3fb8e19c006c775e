"""Mail on standard output, so that a first run needs no mail server."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TextIO
from urllib.parse import urlsplit

from picoauth import Check, Mailer, Message, NoSettings, Plugin, Unavailable, hookimpl

__all__ = ["ConsolePlugin"]

RULE = "─" * 72
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class ConsolePlugin(Plugin[NoSettings]):
    """Prints mails."""

    @hookimpl
    def mailer(self) -> Mailer | None:
        return self

    async def send(self, message: Message) -> None:
        """Raises Unavailable where there is no standard output, or it is closed."""
        try:
            show(boxed(message), sys.stdout)
        except (OSError, ValueError):
            raise Unavailable("standard output is closed") from None

    @hookimpl
    def checks(self) -> Sequence[Check]:
        return [Check(self.name, self.look, live=False)]

    async def look(self) -> str | None:
        if urlsplit(self.auth.config.public_url).hostname in LOOPBACK:
            return None
        return (
            "Mails go to standard output, where whoever reads the log can use their links, "
            "and to nobody else: list another mailer, such as smtp, in place of mail-console."
        )


def boxed(message: Message) -> str:
    """What people read of a mail; open to the right, so that a terminal keeps a link in one piece."""
    body = message.text.replace("\r\n", "\n").rstrip("\n").split("\n")
    lines = [f"To: {message.to}", f"Subject: {message.subject}", "", *body]
    inside = "".join(f"│ {plain(line)}".rstrip() + "\n" for line in lines)
    return f"┌{RULE}\n{inside}└{RULE}\n"


def plain(line: str) -> str:
    """Without what would move the cursor, colour the terminal or turn the line around."""
    return "".join(c if c.isprintable() else " " if c.isspace() else "�" for c in line)


def show(text: str, stream: TextIO | None) -> None:
    """In one piece, since other tasks and processes write there too; in what letters it has."""
    if stream is None:  # as of a process that was started without
        raise OSError
    known = stream.encoding or "utf-8"
    stream.write(text.encode(known, "backslashreplace").decode(known))
    stream.flush()
