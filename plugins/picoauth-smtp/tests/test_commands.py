"""The commands with which an operator tries mail, as they are typed."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from mailservers import PASSWORD, MailServer, mail_server

from picoauth_fetch.testing import Authority

SCRIPT = str(Path(sys.executable).with_name("picoauth"))
PAGE = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


@pytest.fixture
async def there(certificates: Authority, tmp_path: Path) -> AsyncIterator[MailServer]:
    """A mail server, and the settings of the page in a folder, about that server."""
    [settings] = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    async with mail_server(starttls=certificates.context(), auth_required=True) as there:
        here = settings.replace('"mail.example.org"', f'"localhost:{there.port}"')
        text = f'{here}ca = "{certificates.ca}"\n'
        (tmp_path / "picoauth.toml").write_text(text, encoding="utf-8")
        (tmp_path / "smtp.password").write_text(PASSWORD, encoding="utf-8")
        yield there


async def typed(folder: Path, line: str) -> tuple[int | None, str]:
    """The exit code, and all that is said."""
    command, *arguments = line.split()
    assert "picoauth" == command
    process = await asyncio.create_subprocess_exec(
        SCRIPT,
        *arguments,
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    return process.returncode, said.decode()


async def test_commands_of_the_page(there: MailServer, tmp_path: Path) -> None:
    """The doctor finds nothing to say of mail, and a mail arrives."""
    doctor, test = re.findall(r"^picoauth .*$", PAGE, re.MULTILINE)
    _, said = await typed(tmp_path, doctor)
    assert {"smtp", "smtp-tls"} <= set(said.splitlines()[-1].rstrip(".").split(", "))
    assert (0, "Sent: see whether it arrives.\n") == await typed(tmp_path, test)
    [mail] = there.mails
    assert ("you@example.com", "Example <auth@example.org>") == (mail["To"], mail["From"])


async def test_wrong_password(there: MailServer, tmp_path: Path) -> None:
    """Both say so, in the same words, and neither says which."""
    (tmp_path / "smtp.password").write_text("wrong horse", encoding="utf-8")
    why = "the mail server refuses user name and password (535 5.7.8)"
    code, said = await typed(tmp_path, "picoauth doctor --json")
    assert (1, True) == (code, f"No mail can be sent, since {why}: see to that server" in said)
    assert (
        2,
        f"picoauth: The mail was not sent ({why}): see to the settings of what delivers mail.\n",
    ) == await typed(tmp_path, "picoauth mail test you@example.com")
    assert [] == there.got
