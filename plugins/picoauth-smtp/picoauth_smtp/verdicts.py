"""What a failure means: another try, or none. It holds nothing that the server said but numbers."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from picoauth import Unavailable, Undeliverable

RECIPIENT, MESSAGE = "the recipient", "the message"
CODE = re.compile(r"[245]\.\d{1,3}\.\d{1,3}(?!\S)")
"""What stands behind the code, where a server says more (RFC 2034)."""
OPERATORS = re.compile(r"(50[0234]|530|535|538)|\d+ 5\.(1\.[78]|5\.\d+|7\.\d+)")
"""About the sender, the login, the protocol or the rules of the server, whenever they are said.

Postfix refuses nothing before the recipient. To give up a mail for it would lose it by a mistake
in the settings; an address that does not exist is 5.1.1 (RFC 3463, RFC 5248).
"""
REFUSED = 500


@contextmanager
def judging(what: str) -> Iterator[None]:
    """Turns what is raised within into Unavailable or Undeliverable.

    Without its cause, since servers repeat the address, and some the password.
    """
    from aiosmtplib import SMTPException, SMTPResponseException  # noqa: PLC0415 - on first use

    try:
        yield
    except SMTPResponseException as error:
        raise answered(what, error.code, error.message) from None
    except (SMTPException, OSError) as error:
        raise Unavailable(f"the mail server {broken(error)}") from None


def answered(what: str, code: int, text: str) -> Unavailable | Undeliverable:
    """By the code of an answer to `what`."""
    more = CODE.match(text)
    shown = f"{code} {more[0]}" if more else str(code)
    if not REFUSED - 100 <= code < REFUSED + 100:
        return Unavailable("the mail server does not answer as SMTP has it")
    if code < REFUSED:
        return Unavailable(f"the mail server puts {what} off ({shown})")
    kind = Undeliverable if final(what, shown) else Unavailable
    return kind(f"the mail server refuses {what} ({shown})")


def final(what: str, shown: str) -> bool:
    return what in (RECIPIENT, MESSAGE) and not OPERATORS.fullmatch(shown)


def broken(error: Exception) -> str:
    """Of a connection that did not come about, or that broke."""
    cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        why = cause.verify_message.rstrip(".")
        return f"has a certificate that is not trusted: {why}"
    words = {
        TimeoutError: "does not answer in time",
        ssl.SSLError: "cannot be spoken to over TLS",
        socket.gaierror: "has a name that cannot be looked up",
        ConnectionRefusedError: "refuses connections",
        ConnectionError: "broke off the connection",
    }
    found = (text for kind, text in words.items() if isinstance(cause, kind))
    return next(found, "cannot be reached")
