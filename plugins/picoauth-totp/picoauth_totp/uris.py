"""How a secret gets into an app: as an `otpauth:` address, and as a QR code of it."""

from __future__ import annotations

import io
from urllib.parse import quote

from picoauth_totp.codes import base32

LONGEST = 64
"""Bytes of issuer and of account, in UTF-8: a QR code with more is hard to scan."""


def uri(secret: bytes, *, issuer: str, account: str) -> str:
    """The key URI, as all apps read it; both names have to be `plain`.

    The label is written out, since what libraries leave as it is (a slash) some apps cut at.
    Algorithm, digits and period are what apps take where nothing is said.
    """
    issuer, account = quote(issuer, safe=""), quote(account, safe="")
    return f"otpauth://totp/{issuer}:{account}?secret={base32(secret)}&issuer={issuer}"


def plain(text: str) -> str:
    """A name for a label, where the first colon ends the issuer, escaped or not; it may be empty."""
    kept = "".join(c if c.isprintable() and c != ":" else " " for c in text)
    cut = " ".join(kept.split()).encode()[:LONGEST]
    return cut.decode(errors="ignore").rstrip()


def qr(text: str) -> str:
    """A QR code as SVG: black on white whatever the page's colours, in its quiet zone of four.

    It refers to nothing outside, and stands in a page as it is, or as an image.
    """
    import segno  # noqa: PLC0415 - loaded when somebody asks for a picture

    out = io.BytesIO()
    segno.make_qr(text, error="m").save(
        out,
        kind="svg",
        xmldecl=False,
        nl=False,
        omitsize=True,
        border=4,
        dark="#000",
        light="#fff",
        svgclass=None,
        lineclass=None,
    )
    return out.getvalue().decode()
