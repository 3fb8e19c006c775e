"""Logins against a real directory: who gets in, who does not, and what happens without it."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import httpx
import ldap
import pytest

from picoauth import (
    Caller,
    ConfigError,
    Denied,
    Draft,
    Factor,
    NoSettings,
    Payload,
    Plugin,
    Problem,
    Proof,
    Situation,
    Statement,
    User,
    hookimpl,
    identifier,
)
from picoauth.testing import Ceremony, Server, Someone, serving
from picoauth.testing.contracts import FactorContract
from picoauth_ldap import LdapFactor, LdapPlugin

SETTINGS = """
plugins = ["ldap", "house"]

[throttle]
failures = 3

[ldap]
url = "{url}"
dn = "uid={{username}},dc=example,dc=org"
"""
PASSWORDS = {"ann": "correct horse", "bob": "battery staple"}
BOTH = {"username": "ann", "password": "correct horse"}
REFUSED = (401, "proof_refused")
DONE = (200, None)
DOWN = (503, "unavailable")
START_TLS = bytes.fromhex("300c02010178070a010004000400")
"""How a directory agrees to begin TLS (RFC 4511, section 4.14.2), to message 1."""


class PinFactor(Factor):
    """A second factor whose only pin is 1234."""

    name: ClassVar[str] = "pin"
    second: ClassVar[bool] = True

    async def verify(self, situation: Situation, payload: Payload) -> Proof:
        if situation.user is None or payload.get("pin") != "1234":
            raise Denied(self.refused)
        return Proof(user=situation.user, amr=("pin",))


class HousePlugin(Plugin[NoSettings]):
    """A second factor, and what happens while somebody is about to be a user."""

    meanwhile: Any = None

    @hookimpl
    def factors(self) -> Sequence[Factor]:
        return [PinFactor()]

    @hookimpl
    async def check_registration(self, draft: Draft) -> Problem | None:
        meanwhile, self.meanwhile = self.meanwhile, None
        return await meanwhile(draft) if meanwhile else None


@asynccontextmanager
async def directing(folder: Path, url: str, more: str = "") -> AsyncIterator[Server]:
    settings = SETTINGS.format(url=url) + more
    async with serving(folder, settings, plugins={"house": HousePlugin}) as server:
        yield server


@pytest.fixture
async def server(tmp_path: Path, slapd: Any) -> AsyncIterator[Server]:
    """A server whose users are those of the directory."""
    async with directing(tmp_path, f"ldap://127.0.0.1:{slapd.plain}") as running:
        yield running


def meanwhile(server: Server, what: Callable[[Draft], Any]) -> None:
    server.auth.plugin(HousePlugin).meanwhile = what


async def login(server: Server, username: Any = "ann", password: Any = None) -> httpx.Response:
    given = PASSWORDS.get(username, "") if password is None else password
    return await server.post("/auth/login", {"username": username, "password": given})


def code_of(answer: httpx.Response) -> tuple[int, str | None]:
    return answer.status_code, answer.json().get("code")


async def user(server: Server, name: str = "ann") -> User:
    found = await server.auth.users.find("ldap", name)
    assert found is not None
    return found


async def users(server: Server) -> int:
    [(count,)] = await server.auth.database.read("select count(*) from users")
    found: int = count
    return found


# Who gets in.


async def test_first_login_makes_the_user(server: Server) -> None:
    """Whom the directory knows is a user from the first login on, and the same one at the second."""
    first, second = await login(server), await login(server)
    assert [DONE, DONE] == [code_of(first), code_of(second)]
    assert 1 == await users(server)
    claims = (await server.post("/jwt/validate", token=second.json()["access_token"])).json()
    assert ("ann", ["pwd"]) == (claims["preferred_username"], claims["amr"])
    ann = await user(server)
    kinds = [(one.kind, one.value) for one in await server.auth.users.identifiers(ann.id)]
    assert [("ldap", "ann"), ("username", "ann")] == kinds
    factors = await server.get("/auth/factors", token=first.json()["access_token"])
    assert ["ldap"] == [one["factor"] for one in factors.json()["factors"]]


@pytest.mark.parametrize("typed", ["Ann", "ANN", "ａｎｎ"])  # noqa: RUF001 - full width
async def test_one_account_for_all_spellings(server: Server, typed: str) -> None:
    """What the directory takes for one name is one user."""
    assert [DONE, DONE] == [
        code_of(await login(server, name, PASSWORDS["ann"])) for name in (typed, "ann")
    ]
    assert 1 == await users(server)


async def test_second_factor_is_asked_for(server: Server) -> None:
    """No line of the plugin says so: a password alone is no login for who has a second factor."""
    await login(server)
    enrolment = server.auth.users.enrolment((await user(server)).id, "pin")
    await server.auth.database.write(server.auth.users.enrolling(enrolment))
    answer = await login(server)
    assert ((401, "more_needed"), ["pin"]) == (code_of(answer), answer.json()["next"])
    step = {"factor": "pin", "flow": answer.json()["flow"], "pin": "1234"}
    assert DONE == code_of(await server.post("/auth/login", step))


async def test_stepup(server: Server) -> None:
    """A session is proven afresh by its own user's password, not by another's."""
    token = (await login(server)).json()["access_token"]
    await login(server, "bob")
    for name, expected in (("bob", REFUSED), ("ann", DONE)):
        body = {"factor": "ldap", "username": name, "password": PASSWORDS[name]}
        assert expected == code_of(await server.post("/auth/stepup", body, token=token))


# Who does not.


async def test_wrong_and_unknown_are_alike(server: Server) -> None:
    """A wrong password and a name that is nobody's get one answer, first login or later."""
    await login(server)
    asked = [("ann", "wrong"), ("bob", "wrong"), ("nobody", "wrong")]
    answers = [await login(server, *pair) for pair in asked]
    bodies = [{**answer.json(), "request_id": ""} for answer in answers]
    assert [REFUSED] * 3 == [code_of(answer) for answer in answers]
    assert bodies[0] == bodies[1] == bodies[2]
    assert 1 == await users(server)


async def test_empty_password(server: Server, slapd: Any) -> None:
    """The directory lets an empty password in, as nobody; the factor does not ask it."""
    connection = ldap.initialize(f"ldap://127.0.0.1:{slapd.plain}")
    connection.simple_bind_s("uid=ann,dc=example,dc=org", "")  # raises no error: the trap is real
    assert (400, "invalid_body") == code_of(await login(server, "ann", ""))
    assert 0 == await users(server)


async def test_name_is_escaped(server: Server, slapd: Any) -> None:
    """A name that reads as a path to another entry is a name: Eve, a guest, is not let in."""
    connection = ldap.initialize(f"ldap://127.0.0.1:{slapd.plain}")
    connection.simple_bind_s("uid=eve,ou=guests,dc=example,dc=org", "let me in")
    assert REFUSED == code_of(await login(server, "eve,ou=guests", "let me in"))
    assert REFUSED == code_of(await login(server, "eve", "let me in"))


@pytest.mark.parametrize("typed", ["ann ", "an\u00adn", "", "ann@example.org"])
async def test_names_that_are_none(server: Server, typed: str) -> None:
    """The directory would take some for Ann, past what is counted for her: nobody asks it."""
    assert (400, "invalid_username") == code_of(await login(server, typed, PASSWORDS["ann"]))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "username must be a text"),
        ({"username": "ann"}, "password must be a text"),
        ({"username": 1, "password": "x"}, "username must be a text"),
        ({**BOTH, "password": 1}, "password must be a text"),
    ],
)
async def test_malformed(server: Server, body: dict[str, Any], said: str) -> None:
    """What is no text is told."""
    answer = await server.post("/auth/login", {"factor": "ldap", **body})
    assert (400, said) == (answer.status_code, answer.json()["detail"])


async def test_disabled(server: Server) -> None:
    """Whoever is disabled here stays out, whatever the directory says, in the same words."""
    await login(server)
    await server.auth.accounts.disable((await user(server)).id, Caller())
    assert REFUSED == code_of(await login(server))


async def test_removed_factor(server: Server) -> None:
    """A user who removed this factor is not let in by it."""
    await login(server)
    await server.auth.database.write(Statement("delete from enrolments"))
    assert REFUSED == code_of(await login(server))


async def test_deleted_user_stays_out(server: Server) -> None:
    """The user name is retired with the user, so that the next login makes no other one."""
    await login(server)
    await server.auth.accounts.delete((await user(server)).id, Caller())
    assert REFUSED == code_of(await login(server))
    assert 0 == await users(server)


async def test_user_name_of_somebody(server: Server) -> None:
    """Nobody is handed an account that only has the same name."""
    await server.auth.users.register(server.auth.users.draft(username="ann"))
    assert REFUSED == code_of(await login(server))
    assert 1 == await users(server)


async def test_registration_that_is_denied(server: Server) -> None:
    """A plugin that has a say in who becomes a user has it here too."""

    async def closed(_: Draft) -> Problem:
        return Problem(403, "closed", "Come back tomorrow.")

    meanwhile(server, closed)
    assert (403, "closed") == code_of(await login(server))
    assert 0 == await users(server)


async def test_two_first_logins(server: Server) -> None:
    """The slower of two makes no second user, and is told to try again."""

    async def faster(_: Draft) -> None:
        own = identifier("ldap", "ann", verified=True)
        other = replace(server.auth.users.draft(), identifiers=[own])
        enrolled = [server.auth.users.enrolment(other.user_id, "ldap")]
        await server.auth.users.register(other, enrolments=enrolled)

    meanwhile(server, faster)
    assert DOWN == code_of(await login(server))
    assert DONE == code_of(await login(server))
    assert 1 == await users(server)


class LdapCeremony(Ceremony):
    """How a user of a test logs in: the directory knows each, with a password of their own."""

    async def enrol(self, someone: Someone) -> None:
        name, auth = someone.username, self.server.auth
        connection = ldap.initialize(auth.plugin(LdapPlugin).settings.url)
        connection.simple_bind_s("cn=admin,dc=example,dc=org", "secret")
        person = {"objectClass": b"inetOrgPerson", "cn": b"x", "sn": b"x", "uid": name.encode()}
        entry = {**person, "userPassword": self.password(someone).encode()}
        with suppress(ldap.ALREADY_EXISTS):  # another test had somebody of the name
            connection.add_s(f"uid={name},dc=example,dc=org", [*entry.items()])
        own = identifier("ldap", name, verified=True)
        naming = auth.users.naming(someone.user.id, own, auth.now())
        await auth.database.write(naming)
        await someone.enrolment("ldap")

    def password(self, someone: Someone) -> str:
        return f"the password of {someone.username}"

    async def answer(self, someone: Someone, challenge: Mapping[str, Any]) -> Payload:
        return {"username": someone.username, "password": self.password(someone)}

    async def wrong(self, someone: Someone, challenge: Mapping[str, Any]) -> Payload:
        return {"username": someone.username, "password": "another password"}


class PinCeremony(Ceremony):
    """Everybody has the one pin."""

    async def enrol(self, someone: Someone) -> None:
        await someone.enrolment("pin")

    async def answer(self, someone: Someone, challenge: Mapping[str, Any]) -> Payload:
        return {"pin": "1234"}

    async def wrong(self, someone: Someone, challenge: Mapping[str, Any]) -> Payload:
        return {"pin": "4321"}


class TestContract(FactorContract):
    """What every factor keeps to, tried by the kit."""

    factor = "ldap"
    elsewhere = True

    @pytest.fixture
    def picoauth_settings(self, slapd: Any) -> str:
        return SETTINGS.format(url=f"ldap://127.0.0.1:{slapd.plain}")

    @pytest.fixture
    def picoauth_plugins(self) -> Mapping[str, type[Plugin[Any]]]:
        return {"house": HousePlugin}

    @pytest.fixture
    def picoauth_ceremonies(self) -> Mapping[str, type[Ceremony]]:
        return {"ldap": LdapCeremony, "pin": PinCeremony}


# Without a directory.


async def test_directory_down(server: Server, slapd: Any) -> None:
    """Without the directory nobody is told that a password is wrong, and no failure is counted."""
    await login(server)
    slapd.stop()
    answers = [await login(server) for _ in range(5)]
    assert [DOWN] * 5 == [code_of(answer) for answer in answers]
    assert "1" == answers[0].headers["Retry-After"]
    slapd.start()
    assert DONE == code_of(await login(server))


async def test_failures_are_counted(server: Server) -> None:
    """Guesses are slowed down, however the name is written."""
    await login(server)
    codes = [code_of(await login(server, name, "wrong")) for name in ("ann", "Ann", "ANN", "ann")]
    assert [*[REFUSED] * 3, (429, "too_many_attempts")] == codes


@contextmanager
def listening(host: str, reply: bytes = b"") -> Iterator[tuple[int, bytearray]]:
    """Somebody at a port who says one thing, and then nothing; answers what was heard."""
    heard = bytearray()
    with socket.create_server((host, 0)) as listener:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    peer, _ = listener.accept()
                    with peer:
                        heard.extend(peer.recv(4096))
                        if reply:
                            peer.sendall(reply)
                        while more := peer.recv(4096):
                            heard.extend(more)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1], heard
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.parametrize(
    ("url", "reply"),
    [
        ("ldap://127.0.0.1:{port}", b""),
        ("ldap://127.0.0.2:{port}", b""),
        ("ldap://127.0.0.2:{port}", START_TLS),
        ("ldaps://127.0.0.2:{port}", b""),
    ],
    ids=["plain", "asked for TLS", "in the handshake", "ldaps"],
)
async def test_directory_that_says_nothing(tmp_path: Path, url: str, reply: bytes) -> None:
    """A directory that hangs costs a login its time, and nobody else theirs; its thread ends."""
    with listening("127.0.0.2" if "127.0.0.2" in url else "127.0.0.1", reply) as (port, heard):
        async with directing(tmp_path, url.format(port=port), "timeout = 1") as server:
            waiting = asyncio.create_task(login(server))
            while not heard:
                assert 200 == (await server.get("/health-check")).status_code
            assert not waiting.done()
            assert DOWN == code_of(await waiting)
            server.auth.factors["ldap"].pool.shutdown()  # type: ignore[attr-defined] # waits for all
            asked = b"correct horse" in heard
            assert asked == ("127.0.0.1" in url)
            assert int(asked) == await counted(server)


async def counted(server: Server) -> int:
    """Failures at the account that was tried."""
    [(failures,)] = await server.auth.database.read("select failures from throttle")
    found: int = failures
    return found


async def test_guesses_without_an_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A directory that is slow, and may let the right password in, is not asked without end."""
    asked = []

    def bind(_: object, name: str, password: str, sent: list[int]) -> None:
        asked.append((name, password))
        sent.append(1)
        raise ldap.TIMEOUT

    monkeypatch.setattr(LdapFactor, "bind", bind)
    async with directing(tmp_path, "ldap://127.0.0.1") as server:
        codes = [code_of(await login(server, "ann", guess)) for guess in "abcd"]
    assert [*[DOWN] * 3, (429, "too_many_attempts")] == codes
    assert [("ann", "a"), ("ann", "b"), ("ann", "c")] == asked


# Who may hear the password.


@pytest.mark.parametrize("url", ["ldap://127.0.0.2:{plain}", "ldaps://127.0.0.1:{tls}"])
async def test_over_tls(tmp_path: Path, slapd: Any, url: str) -> None:
    """Any host but loopback is spoken to over TLS, begun or from the start, if it is vouched for."""
    url = url.format(plain=slapd.plain, tls=slapd.tls)
    async with directing(tmp_path, url, f'ca_file = "{slapd.authority}"') as server:
        assert DONE == code_of(await login(server))
        assert REFUSED == code_of(await login(server, "ann", "wrong"))
    async with directing(tmp_path, url) as server:
        assert DOWN == code_of(await login(server))


async def test_certificate_of_another_host(tmp_path: Path, slapd: Any) -> None:
    """A certificate for other addresses is none, even from a known authority."""
    url = f"ldap://127.0.0.3:{slapd.plain}"
    async with directing(tmp_path, url, f'ca_file = "{slapd.authority}"') as server:
        assert DOWN == code_of(await login(server))


async def test_directory_without_tls(tmp_path: Path) -> None:
    """One that cannot begin TLS gets no password."""
    refusal = START_TLS.replace(b"\x0a\x01\x00", b"\x0a\x01\x02")  # protocolError
    with listening("127.0.0.2", refusal) as (port, heard):
        async with directing(tmp_path, f"ldap://127.0.0.2:{port}") as server:
            assert DOWN == code_of(await login(server))
    assert heard
    assert b"correct horse" not in heard


ADDRESS = "[ldap]: `url` must be an address such as ldaps://ldap.example.com."
NAME = "[ldap]: `dn` must have {username} once: uid={username},dc=example,dc=com."


@pytest.mark.parametrize(
    ("url", "dn", "sentence"),
    [
        ("http://127.0.0.1", "uid={username}", ADDRESS),
        ("LDAP://example.org", "uid={username}", ADDRESS),
        ("ldap://127.0.0.1 ldap://example.org", "uid={username}", ADDRESS),
        ("ldap://127.0.0.1,example.org", "uid={username}", ADDRESS),
        ("ldap://[::1", "uid={username}", ADDRESS),
        ("ldap://127.0.0.1", "uid=ann,dc=example,dc=org", NAME),
        ("ldap://127.0.0.1", "uid={username},ou={username}", NAME),
    ],
)
async def test_settings_that_are_refused(tmp_path: Path, url: str, dn: str, sentence: str) -> None:
    """Nothing starts that would send passwords in clear, or take one entry for everybody."""
    settings = f'plugins = ["ldap"]\n[ldap]\nurl = "{url}"\ndn = "{dn}"'
    with pytest.raises(ConfigError) as refusal:
        async with serving(tmp_path, settings):
            raise AssertionError
    assert sentence == str(refusal.value)
