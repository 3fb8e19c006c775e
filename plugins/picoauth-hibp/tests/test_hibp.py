"""New passwords are looked at wherever one is set, and a login never is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from breachlists import ordered

from picoauth import Caller, ConfigError, Denied, Plugin, Statement
from picoauth.testing import MailPlugin, Server, delivered, serving
from picoauth.testing.server import PASSWORD
from picoauth_hibp import HibpPlugin
from picoauth_hibp.building import build
from picoauth_hibp.lists import Reader
from picoauth_password import PasswordContext, PasswordPlugin

COMMON, BREACHED, FINE = "password1", "battery staples", "another horse battery staple"
ON = 'plugins = ["password", "hibp"]\npublic_url = "https://login.wintergarden.example"\n'
VERIFIED = """
    insert into identifiers (user_id, kind, value, display, verified_at)
    select id, 'email', 'rosalind@example.org', 'Rosalind@example.org', 1 from users
"""


@pytest.fixture
def picoauth_settings(tmp_path: Path) -> str:
    source, target = tmp_path / "list.txt", tmp_path / "breaches"
    source.write_bytes(ordered([BREACHED]))
    parts = Reader(1).of_path(source, partial=False)
    build(target, parts, made=1, least=1, progress=lambda _: None)
    return f'{ON}[hibp]\nfilter = "breaches"\nwords = ["Glasshouse"]\n'


def told(answer: Any) -> tuple[int, str | None, str | None]:
    body = answer.json() if answer.content else {}
    return answer.status_code, body.get("code"), body.get("reason")


async def register(
    server: Server, password: str, **body: Any
) -> tuple[int, str | None, str | None]:
    known = {"username": "ann", "password": password, **body}
    return told(await server.post("/auth/register", known))


REFUSALS = [
    (COMMON, (400, "password_breached", "common")),
    (COMMON.upper(), (400, "password_breached", "common")),
    (BREACHED, (400, "password_breached", "breached")),
    ("Wintergarden1", (400, "password_guessable", "context")),
    ("gl4ssh0use", (400, "password_guessable", "context")),
    ("p1coauth99", (400, "password_guessable", "context")),
    ("Rosalind!", (400, "password_guessable", "context")),
    ("annannann", (400, "password_guessable", "context")),
    ("franklin 1920", (400, "password_guessable", "context")),
]


@pytest.mark.parametrize(("password", "expected"), REFUSALS)
async def test_register(
    server: Server, password: str, expected: tuple[int, str | None, str | None]
) -> None:
    """A new user's password is no known one, and no name; nobody is made before."""
    person = {"email": "rosalind@example.org", "display_name": "R. Franklin"}
    assert expected == await register(server, password, **person)
    assert [] == await server.auth.database.read("select id from users")
    assert (201, None, None) == await register(server, PASSWORD, **person)


async def test_words_of_a_refusal(server: Server) -> None:
    """A page can show what is said; the password is not in it, and no rule about its characters."""
    said = {}
    for password in (COMMON, BREACHED, "annannann"):
        answer = await server.post("/auth/register", {"username": "ann", "password": password})
        body = answer.json()
        said[body["reason"]] = f"{body['title']} {body['detail']}"
        assert password not in answer.text
    known = "This password is known to attackers: choose another one."
    assert {
        "common": f"{known} It is among those that are used most.",
        "breached": f"{known} It is among those that were stolen elsewhere.",
        "context": (
            "This password is easily guessed: choose another one. "
            "It is little more than the name of this site, your name or your address."
        ),
    } == said


async def test_change(server: Server) -> None:
    """A user's new password is looked at, with all that is known of the user."""
    await server.register("ann")
    token = (await server.login("ann"))["access_token"]
    for password, expected in REFUSALS[:5]:
        answer = await server.send("PUT", "/auth/password", {"password": password}, token=token)
        assert expected == told(answer)
    assert (
        200
        == (await server.post("/auth/login", {"username": "ann", "password": PASSWORD})).status_code
    )
    changed = await server.send("PUT", "/auth/password", {"password": FINE}, token=token)
    assert 200 == changed.status_code


async def test_command_and_replacement(server: Server) -> None:
    """So is one that an administrator sets, or who proved to be a user in another way."""
    await server.register("ann")
    passwords = server.auth.plugin(PasswordPlugin)
    user = await server.auth.users.find("username", "ann")
    assert user is not None
    for password, (_, code, reason) in REFUSALS[:5]:
        for setting in (
            passwords.set_password("ann", password),
            passwords.replace_password(user, password, (), Caller.local()),
        ):
            with pytest.raises(Denied) as denied:
                await setting
            assert (code, reason) == (denied.value.problem.code, denied.value.extra["reason"])


async def test_reset(tmp_path: Path, picoauth_settings: str) -> None:
    """So is one that is set by a link of a mail."""
    settings = picoauth_settings.replace('"hibp"]', '"hibp", "captured-mail", "reset"]')
    plugins: dict[str, type[Plugin[Any]]] = {"captured-mail": MailPlugin}
    async with serving(tmp_path, settings, plugins=plugins) as server:
        await server.register("ann")
        await server.auth.database.write(Statement(VERIFIED))
        await server.post("/auth/forgot_password", {"username": "ann"})
        [mail] = await delivered(server)
        path = f"/auth/forgot_password/{mail.values['link'].partition('=')[2]}"
        for password, expected in [*REFUSALS[:3], ("ROSALIND7", REFUSALS[-1][1])]:
            answer = await server.send("PUT", path, {"password": password})
            assert expected == told(answer)
        assert 204 == (await server.send("PUT", path, {"password": FINE})).status_code


async def test_login_is_never_asked_about(tmp_path: Path, picoauth_settings: str) -> None:
    """Who has a bad password from before logs in, and proves it again, without a look at it."""
    with_password = ON.replace(', "hibp"', "")
    async with serving(tmp_path, with_password) as server:
        for name, password in [("ann", COMMON), ("bob", BREACHED), ("rosalind", "rosalind")]:
            await server.post("/auth/register", {"username": name, "password": password})
    async with serving(tmp_path, picoauth_settings) as server:
        plugin = server.auth.plugin(HibpPlugin)

        def broken(*_: object) -> None:
            raise AssertionError

        plugin.filtered = plugin.is_breached = broken  # type: ignore[assignment, method-assign]
        for name, password in [("ann", COMMON), ("bob", BREACHED), ("rosalind", "rosalind")]:
            body = {"username": name, "password": password}
            answer = await server.post("/auth/login", body)
            assert 200 == answer.status_code
            token = answer.json()["access_token"]
            again = await server.post("/auth/stepup", {"password": password}, token=token)
            assert 200 == again.status_code


async def test_filter_that_is_cut_denies(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A filter that breaks under the server lets no password through, and the log names it."""
    (tmp_path / "breaches").write_bytes(b"")
    assert (403, "refused", None) == await register(server, FINE)
    assert "has changed under the server: start it anew" in caplog.text
    assert (400, "password_breached", "common") == await register(server, COMMON)


async def test_filter_that_is_none(tmp_path: Path) -> None:
    """A server whose filter is missing or foreign does not start."""
    settings = f'{ON}[hibp]\nfilter = "gone"\n'
    with pytest.raises(ConfigError) as refused:
        async with serving(tmp_path, settings):
            raise AssertionError
    sentence = (
        f"filter in [hibp]: {tmp_path / 'gone'} cannot be read (No such file or directory): "
        "make it with `picoauth hibp build`."
    )
    assert sentence == str(refused.value)


async def test_without_a_filter(tmp_path: Path) -> None:
    """The list that comes along works at once, and asks nobody."""
    async with serving(tmp_path, ON) as server:
        assert (400, "password_breached", "common") == await register(server, COMMON)
        assert (201, None, None) == await register(server, BREACHED)
        assert server.auth.plugin(HibpPlugin).online is None


async def test_odd_texts(server: Server) -> None:
    """What no list can have is looked at without an error."""
    plugin = server.auth.plugin(HibpPlugin)
    for text in (
        "",
        "\ud800",
        "\0",
        "\N{ARABIC LIGATURE SALLALLAHOU ALAYHE WASALLAM}" * 300,
        "ß" * 512,
    ):
        assert await plugin.check_password(text, PasswordContext("ann", "@", "")) is None


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ('mode = "both"', 'mode must be one of "offline", "online"'),
        ('on_error = "ask"', 'on_error must be one of "offline", "allow", "deny"'),
        ("patience_ms = 1501", "patience_ms must be at most 1500"),
        ("failures = 0", "failures must be at least 1"),
        ("pause = 0", "pause must be at least 1 second"),
        ('url = "http://example.com/range/"', "url must begin with https://, or with http:// on this machine"),
        ('url = "ftp://127.0.0.1/"', "url must begin with https://, or with http:// on this machine"),
        ('url = "https://me@example.com/"', "url must be an address without a user, a query or a fragment"),
        ('url = "https://example.com/?a=b"', "url must be an address without a user, a query or a fragment"),
        ('url = "https://example.com/#a"', "url must be an address without a user, a query or a fragment"),
        ('url = "https:///range/"', "url must be an address without a user, a query or a fragment"),
        ('url = "https://example.com:70000/"', "url must be an address such as https://api.pwnedpasswords.com/range/"),
        ('url = "https://example.com/\\n"', "url must be an address such as https://api.pwnedpasswords.com/range/"),
        ('url = "https://exämple.com/"', "url must be an address such as https://api.pwnedpasswords.com/range/"),
        ('url = "https://[::1/"', "url must be an address such as https://api.pwnedpasswords.com/range/"),
    ],
)  # fmt: skip
async def test_settings(tmp_path: Path, table: str, problem: str) -> None:
    """A mistake in the settings is told in a sentence."""
    with pytest.raises(ConfigError) as refused:
        async with serving(tmp_path, f"{ON}[hibp]\n{table}\n"):
            raise AssertionError
    name, _, rest = problem.partition(" ")
    assert f"[hibp].{name}: {rest}." == str(refused.value)


@pytest.mark.parametrize(
    "url", ["http://localhost:1/", "http://[::1]/range", "https://example.com:8443"]
)
async def test_urls(tmp_path: Path, url: str) -> None:
    """A mirror may be at any address over TLS, and on this machine without."""
    async with serving(tmp_path, f'{ON}[hibp]\nurl = "{url}"\nmode = "online"\n') as server:
        assert url == server.auth.plugin(HibpPlugin).settings.url


async def test_password_is_required(tmp_path: Path) -> None:
    """Without passwords there is nothing to look at."""
    with pytest.raises(ConfigError) as refused:
        async with serving(tmp_path, 'plugins = ["hibp"]'):
            raise AssertionError
    expected = "plugin hibp (picoauth-hibp 0.1.0) requires password: add it to `plugins`."
    assert expected == str(refused.value)


@pytest.mark.parametrize(
    ("table", "more"),
    [
        ("", set()),
        ('mode = "online"', set()),
        ('on_error = "deny"', set()),
        ('mode = "online"\non_error = "deny"', {"unavailable"}),
    ],
)
async def test_description(tmp_path: Path, table: str, more: set[str]) -> None:
    """`/openapi.json` has the problems at each route that sets a password."""
    async with serving(tmp_path, f"{ON}[hibp]\n{table}\n") as server:
        routes = server.auth.plugin(PasswordPlugin).routes()
        for route in routes:
            codes = {problem.code for problem in route.problems}
            assert {"password_breached", "password_guessable"} <= codes
            assert more == codes & {"unavailable"}
        text = (await server.get("/openapi.json")).text
    assert text.count("password_breached") >= 2
