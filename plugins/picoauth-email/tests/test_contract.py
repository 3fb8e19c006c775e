"""The email plugin keeps the contracts of routes and logins; its templates are whole."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pytest
from letters import ADDRESS, KINDS, REQUIRED, SETTINGS, joined

from picoauth import Auth, ConfigError, Link, Login
from picoauth.config import parse
from picoauth.testing import Server, offer, serving
from picoauth.testing.contracts import AccessContract, MatrixContract
from picoauth_email import EmailPlugin
from tests.factors import CEREMONIES

OPEN = {
    "GET /auth/email/verify/{token}",
    "POST /auth/email/cancel",
}


class TestAccess(AccessContract):
    """Everybody changes her own address; a link opens without a session what it is for."""

    @pytest.fixture
    def open_routes(self) -> Collection[str]:
        return OPEN


class TestAccessBeforeTheLogin(AccessContract):
    """The ticket of a refused login is asked for by the handler."""

    @pytest.fixture
    async def server(self, picoauth_server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
        """One whose users get in all the same, or nobody could ask as one."""

        async def nobody_is_asked(login: Login) -> None: ...

        monkeypatch.setattr(picoauth_server.auth, "check_login", nobody_is_asked)
        return picoauth_server

    @pytest.fixture
    def picoauth_settings(self) -> str:
        return REQUIRED

    @pytest.fixture
    def open_routes(self) -> Collection[str]:
        return {*OPEN, "POST /auth/email/unverified", "POST /auth/email/unverified/verify"}


class TestMatrix(MatrixContract):
    """No address stands for a factor."""


TEMPLATES = {"verify", "taken", "changing", "changed"}


def test_templates(tmp_path: Path) -> None:
    """Each is there in three languages, is given the same values in all, and is no link by itself."""
    auth = made(tmp_path, SETTINGS)
    templates = auth.mail.of(auth.plugin(EmailPlugin))
    templates.load()
    assert TEMPLATES == set(templates.names)
    link = Link("https://auth.example.org/login/#verify-email=TOKEN")
    values = {"code": "12345678", "link": link, "site": link, "minutes": "10", "hours": "24"}
    for name in TEMPLATES:
        assert ["en", "de", "fr"] == templates.languages(name)
        used = templates.values(name)
        for language in ("", "de/", "fr/"):
            files = [f"{name}/{language}{file}" for file in templates.files(name)]
            assert used == set().union(*(templates.variables(templates.shipped, f) for f in files))
            assert 3 == len(files)
            mail = templates.render(name, [language.strip("/")], values)
            assert name == "taken" or link in mail.text
            assert len(mail.subject) < 60
            assert all(len(line) < 300 for line in mail.text.splitlines())


def made(folder: Path, settings: str) -> Auth:
    found = [offer(name, kind) for name, kind in {**KINDS, "email": EmailPlugin}.items()]
    return Auth(parse(settings, folder), found=found)


def test_it_needs_a_mailer(tmp_path: Path) -> None:
    """Nobody could verify anything without."""
    with pytest.raises(ConfigError) as caught:
        made(tmp_path, 'plugins = ["pin", "email"]')
    assert (
        "plugin email (picoauth-email 0.1.0) needs the slot mailer, which no listed plugin "
        "fills: list one that does."
    ) == str(caught.value)


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ('page = "login"', 'page must be a path such as "/login/", without "#"'),
        ('page = "/#x"', 'page must be a path such as "/login/", without "#"'),
        ('code_life = "11m"', "code_life must be at most 600 seconds"),
        ('link_life = "2d"', "link_life must be at most 86400 seconds"),
        ('cancel_life = "1h"', "cancel_life must be at least 86400 seconds"),
        ('login_life = "2h"', "login_life must be at most 3600 seconds"),
    ],
)
def test_settings_that_are_none(tmp_path: Path, setting: str, sentence: str) -> None:
    """They stop the start, in a sentence."""
    with pytest.raises(ConfigError) as caught:
        made(tmp_path, f"{SETTINGS}[email]\n{setting}\n")
    assert f"[email].{sentence}" in str(caught.value).replace(": ", " ")


async def test_own_page(tmp_path: Path) -> None:
    """Links open the page of the settings."""
    settings = f'{SETTINGS}[email]\npage = "/app?view=account"\n'
    async with serving(tmp_path, settings, plugins=KINDS, ceremonies=CEREMONIES) as server:
        ann = await joined(server)
        await ann.set()
        link = (await ann.mail()).values["link"]
        assert link.startswith("https://auth.example.org/app?view=account#verify-email=")


async def test_hosts_of_a_request_are_nothing(tmp_path: Path) -> None:
    """Where a link points to is a setting, whatever a request says (R-4)."""
    async with serving(tmp_path, SETTINGS, plugins=KINDS, ceremonies=CEREMONIES) as server:
        ann = await joined(server)
        headers = {
            "Authorization": f"Bearer {ann.token}",
            "Host": "auth.example.org",
            "X-Forwarded-Host": "evil.example",
            "Forwarded": "host=evil.example",
            "Origin": "https://evil.example",
            "Referer": "https://evil.example/",
        }
        body = {"address": ADDRESS}
        answer = await server.client.post("/auth/email", json=body, headers=headers)
        assert 202 == answer.status_code
        message = await ann.mail()
        assert "evil" not in f"{message.text}{message.html}"
