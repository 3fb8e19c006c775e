"""The contract of mailers, with STARTTLS and a login."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import Envelope
from mailservers import PASSWORD, USER, MailServer, mail_server, parsed

from picoauth import Auth, Mailer, parse
from picoauth.testing.contracts import Arrived, MailerContract
from picoauth_fetch.testing import Authority
from picoauth_smtp import SmtpPlugin


def arrived(envelope: Envelope) -> Arrived:
    mail = parsed(envelope)
    html = mail.get_body(("html",))
    return Arrived(
        id=mail["Message-ID"].strip("<>").partition("@")[0],
        to=envelope.rcpt_tos,
        subject=mail["Subject"],
        text=content(mail.get_body(("plain",))),
        html=content(html) if html else None,
        headers=mail.keys(),
    )


def content(part: Any) -> str:
    assert isinstance(part, EmailMessage)
    found: str = part.get_content()
    return found


class TestSmtp(MailerContract):
    """A real server, in the test's process."""

    @pytest.fixture
    async def there(self, certificates: Authority) -> AsyncIterator[MailServer]:
        context = certificates.context()
        async with mail_server(starttls=context, auth_required=True) as there:
            self.there = there
            yield there

    @pytest.fixture
    async def mailer(
        self, there: MailServer, tmp_path: Path, certificates: Authority
    ) -> AsyncIterator[Mailer]:
        (tmp_path / "smtp.password").write_text(PASSWORD, encoding="utf-8")
        settings = f"""
            plugins = ["smtp"]
            [smtp]
            host = "localhost:{there.port}"
            username = "{USER}"
            password = {{ file = "smtp.password" }}
            sender = "Auth <auth@example.org>"
            ca = "{certificates.ca}"
        """
        auth = Auth(parse(settings, tmp_path))
        plugin = auth.plugin(SmtpPlugin)
        async with plugin.running():
            yield plugin.delivering
        await auth.database.close()

    async def arrived(self, mailer: Mailer) -> Sequence[Arrived]:
        return [arrived(envelope) for envelope in self.there.got]

    @pytest.fixture
    async def down(self, mailer: Mailer, there: MailServer) -> Mailer:
        await there.stop()
        return mailer

    @pytest.fixture
    def refused(self, there: MailServer) -> str:
        there.strangers.add("bob@example.com")
        return "bob@example.com"
