"""Registration, login and change of password, over HTTP on a real file."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from picoauth import (
    AuthError,
    Caller,
    ConfigError,
    Conflict,
    Denied,
    NoSettings,
    Plugin,
    Problem,
    Statement,
    Unavailable,
    User,
    hookimpl,
)
from picoauth.testing import Server, serving
from picoauth.testing.server import PASSWORD
from picoauth_password import PasswordContext, PasswordPlugin
from picoauth_password.factor import PasswordFactor
from picoauth_password.hashing import Hasher
from picoauth_password.policy import check_text

OTHER = "another horse battery staple"
ON = 'plugins = ["password"]'
VERIFIED = """
    insert into identifiers (user_id, kind, value, display, verified_at)
    select id, 'email', ?, ?, 1 from users
"""


def code_of(answer: httpx.Response) -> tuple[int, str | None]:
    """Status and stable code; None stands for an answer that is no problem."""
    return answer.status_code, answer.json().get("code") if answer.content else None


def plugin(server: Server) -> PasswordPlugin:
    return server.auth.plugin(PasswordPlugin)


async def register(server: Server, **body: Any) -> httpx.Response:
    return await server.post("/auth/register", {"username": "ann", "password": PASSWORD, **body})


async def login(server: Server, **body: Any) -> httpx.Response:
    return await server.post("/auth/login", {"username": "ann", "password": PASSWORD, **body})


async def change(server: Server, token: str, password: str = OTHER) -> httpx.Response:
    return await server.send("PUT", "/auth/password", {"password": password}, token=token)


async def row(server: Server) -> tuple[str, str, int]:
    [found] = await server.auth.database.read("select hash, pepper_id, changed_at from password")
    hash_, pepper_id, changed_at = found
    return hash_, pepper_id, changed_at


async def ann(server: Server) -> User:
    user = await server.auth.users.find("username", "ann")
    assert user is not None
    return user


async def only(server: Server) -> User:
    """Make a user without a password, as an administrator does."""
    user, _ = await server.auth.users.register(server.auth.users.draft(username="ann"))
    return user


# Registration


async def test_register(server: Server) -> None:
    """A new account is answered by 201, its id and its names, and can log in."""
    answer = await register(server, display_name="Ann Example")
    user = await ann(server)
    assert {"id": user.id, "username": "ann", "name": "Ann Example"} == answer.json()
    assert (201, "Ann Example") == (answer.status_code, user.name)
    assert 200 == (await login(server)).status_code
    taken = await register(server, username="ANN", password=OTHER)
    assert (409, "username_taken") == code_of(taken)


async def test_name_is_the_user_name_where_none_is_given(server: Server) -> None:
    """Without `display_name` the user name is shown as it was typed."""
    assert "Ann" == (await register(server, username="Ann")).json()["name"]


async def test_registration_can_be_closed(tmp_path: Path) -> None:
    """With `register = false` there is no such route."""
    async with serving(tmp_path, f"{ON}\n[password]\nregister = false") as server:
        assert (404, "not_found") == code_of(await register(server))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"username": "an n"}, (400, "invalid_username")),
        ({"username": "ann@example.org"}, (400, "invalid_username")),
        ({"username": ""}, (400, "invalid_body")),
        ({"username": None}, (400, "invalid_body")),
        ({"email": "nobody"}, (400, "invalid_email")),
        ({"display_name": ""}, (400, "invalid_body")),
        ({"password": ["secret"]}, (400, "invalid_body")),
        ({"password": ""}, (400, "password_too_short")),
        ({"password": "sevens."}, (400, "password_too_short")),
        ({"password": "\N{GRINNING FACE}" * 7}, (400, "password_too_short")),
        ({"password": "x" * 257}, (400, "password_too_long")),
        ({"verified": True}, (400, "invalid_body")),
    ],
)
async def test_register_refuses(server: Server, body: dict[str, Any], expected: Any) -> None:
    """What cannot be a user is a problem with a code, and nobody is made."""
    assert expected == code_of(await register(server, **body))
    assert [] == await server.auth.database.read("select id from users")


async def test_bounds_are_told(server: Server) -> None:
    """A refusal of a password's length says the bound, for people and for programs."""
    short, long = [(await register(server, password="x" * size)).json() for size in (1, 257)]
    assert ("It needs at least 8 characters.", 8) == (short["detail"], short["least"])
    detail = "It may have at most 256 characters, and 1024 bytes in UTF-8."
    assert (detail, 256) == (long["detail"], long["most"])


# Login


@pytest.mark.parametrize(
    "body",
    [{}, {"username": "ANN"}, {"username": "\uff41\uff4e\uff4e"}, {"factor": "password"}],
)
async def test_login_by_user_name(server: Server, body: dict[str, Any]) -> None:
    """Case and width of a user name do not matter, and `factor` may be left out."""
    await server.register()
    assert 200 == (await login(server, **body)).status_code


@pytest.mark.parametrize("member", ["username", "email"])
async def test_login_by_verified_address(server: Server, member: str) -> None:
    """A verified address finds its user, in either member, however it is written."""
    await server.register()
    address = ("ann@example.org", "Ann@Example.org")
    await server.auth.database.write(Statement(VERIFIED, address, rows=1))
    body = {member: "ANN@example.ORG", "password": PASSWORD}
    assert 200 == (await server.post("/auth/login", body)).status_code


async def test_unverified_address_finds_nobody(server: Server) -> None:
    """The address of a registration is kept, but neither finds nor blocks anybody."""
    for username in ("ann", "bob"):
        answer = await register(server, username=username, email="ann@example.org")
        assert 201 == answer.status_code
    token = (await login(server)).json()["access_token"]
    me = (await server.get("/auth/me", token=token)).json()
    address = {"kind": "email", "value": "ann@example.org", "verified": False}
    assert address in me["identifiers"]
    by_address = await login(server, username="ann@example.org")
    assert (401, "invalid_credentials") == code_of(by_address)


async def test_wrong_password(server: Server) -> None:
    """A failed login is a problem, with `error` as the original picoauth had it, and no flow."""
    await server.register()
    answer = await login(server, password=OTHER)
    expected = {
        "type": "about:blank",
        "title": "Invalid username or password",
        "status": 401,
        "code": "invalid_credentials",
        "error": "Invalid username or password",
        "request_id": answer.headers["x-request-id"],
    }
    assert (401, expected) == (answer.status_code, answer.json())


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"password": ""}, (401, "invalid_credentials")),
        ({"username": ""}, (401, "invalid_credentials")),
        ({"username": "an n"}, (401, "invalid_credentials")),
        ({"username": 3}, (400, "invalid_body")),
        ({"username": "@", "email": None}, (400, "invalid_body")),
        ({"password": None}, (400, "invalid_body")),
        ({"password": "x" * 257}, (400, "password_too_long")),
    ],
)
async def test_login_refuses(server: Server, body: dict[str, Any], expected: Any) -> None:
    """Nothing never matches (P-12), and what is no password is refused before any hashing."""
    await server.register()
    assert expected == code_of(await login(server, **body))


async def test_password_within_a_flow_is_the_flows_users(tmp_path: Path) -> None:
    """Who is known by an earlier proof needs no name with the password, and none counts."""

    class Always(PasswordFactor):
        name = "always"

    class AlwaysPlugin(Plugin[NoSettings]):
        @hookimpl
        def factors(self) -> list[PasswordFactor]:
            passwords = self.auth.plugin(PasswordPlugin).passwords
            return [Always(self.auth, passwords, 256)]

    settings = 'plugins = ["password", "always"]'
    async with serving(tmp_path, settings, plugins={"always": AlwaysPlugin}) as server:
        await server.register()
        both = await login(server, always={"username": "bob", "password": PASSWORD})
        assert 200 == both.status_code
        wrong = await login(server, always={"password": OTHER})
        assert (401, "invalid_credentials") == code_of(wrong)


# What may be a password


@pytest.mark.parametrize(
    ("typed", "again", "other"),
    [
        ("  spaces  around  ", "  spaces  around  ", "spaces  around"),
        ("\N{GRINNING FACE}" * 256, "\N{GRINNING FACE}" * 256, "\N{GRINNING FACE}" * 255),
        ("\u00e9tienne ecrit", "e\u0301tienne ecrit", "etienne ecrit"),
        ("e\u0301tienne ecrit", "\u00e9tienne ecrit", "\u00c9tienne ecrit"),
        ("a\u00a0hard space", "a hard space", "ahard space"),
        ("eight888", "eight888", "EIGHT888"),
    ],
)
async def test_what_is_typed_is_the_password(
    server: Server, typed: str, again: str, other: str
) -> None:
    """Spaces, emoji, 1,024 bytes, composed or not: nothing is trimmed or folded (P-2, P-3)."""
    assert 201 == (await register(server, password=typed)).status_code
    assert 200 == (await login(server, password=again)).status_code
    assert (401, "invalid_credentials") == code_of(await login(server, password=other))


@pytest.mark.parametrize("escape", ["\\u0000", "\\ud800", "\\udc00\\ud800"])
async def test_nul_and_lone_surrogates(server: Server, escape: str) -> None:
    """What is no text is refused where JSON comes in, at both routes (P-3)."""
    body = f'{{"username": "ann", "password": "correct horse {escape}"}}'
    headers = {"Content-Type": "application/json"}
    for path in ("/auth/register", "/auth/login"):
        answer = await server.client.post(path, content=body, headers=headers)
        assert (400, "invalid_json") == code_of(answer)


@pytest.mark.parametrize("password", ["correct\0horse", "correct horse \ud800"])
def test_text_from_elsewhere(password: str) -> None:
    """What a command line has and JSON has not is refused too, and not repeated."""
    with pytest.raises(AuthError, match=r"^invalid_body$") as caught:
        check_text(password, least=8, most=256)
    assert "A password is text without NUL." == caught.value.detail


async def test_bytes_count_as_well(tmp_path: Path) -> None:
    """A password has at most 1,024 bytes, however many characters the settings allow."""
    async with serving(tmp_path, f"{ON}\n[password]\nmax_length = 1024") as server:
        emoji = "\N{GRINNING FACE}"
        assert (400, "password_too_long") == code_of(await register(server, password=emoji * 257))
        assert 201 == (await register(server, password=emoji * 256)).status_code
        assert (400, "password_too_long") == code_of(await login(server, password=emoji * 257))
        assert 200 == (await login(server, password=emoji * 256)).status_code


async def test_least_length_is_a_setting(tmp_path: Path) -> None:
    """A least length of 12 takes 12 characters and refuses 11; old passwords still log in."""
    async with serving(tmp_path) as server:
        await server.register(password="eight888")
    async with serving(tmp_path, f"{ON}\n[password]\nmin_length = 12") as server:
        assert 200 == (await login(server, password="eight888")).status_code
        short = await register(server, username="bob", password="x" * 11)
        assert (400, "password_too_short") == code_of(short)
        long = await register(server, username="bob", password="x" * 12)
        assert 201 == long.status_code


COST = (
    "[password]: memory_kib must be at least 47104 with 1 iteration, 19456 with 2, 12288 with 3 "
    "or more (OWASP), and at most 4194304; iterations must be 1 to 64, and parallelism 1 to 16."
)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("memory_kib = 19455", COST),
        ("iterations = 1", COST),
        ("memory_kib = 12287\niterations = 3", COST),
        ("parallelism = 17", COST),
        ("min_length = 7", "[password].min_length: must be at least 8."),
        ("max_length = 63", "[password].max_length: must be at least 64."),
    ],
)
async def test_settings_have_a_floor(tmp_path: Path, settings: str, expected: str) -> None:
    """A server below OWASP's minimum does not start (P-5)."""
    with pytest.raises(ConfigError) as caught:
        async with serving(tmp_path, f"{ON}\n[password]\n{settings}"):
            pass
    assert expected == str(caught.value)


# Change


async def test_change(server: Server) -> None:
    """Other sessions end, this one gets new tokens; the new password logs in, the old does not."""
    await server.register()
    mine, other = await server.login(), await server.login()
    server.clock.advance(20)
    answer = await change(server, mine["access_token"])
    new = answer.json()
    assert {"access_token", "refresh_token", "token_type", "expires_in"} == set(new)
    refreshed = await server.post("/jwt/refresh", token=new["refresh_token"])
    assert 200 == refreshed.status_code
    for path, token in (("/jwt/validate", "access_token"), ("/jwt/refresh", "refresh_token")):
        assert (401, "session_ended") == code_of(await server.post(path, token=other[token]))
    assert (401, "invalid_credentials") == code_of(await login(server))
    assert 200 == (await login(server, password=OTHER)).status_code
    assert server.auth.now() == (await row(server))[2]


async def test_change_needs_a_fresh_proof(server: Server) -> None:
    """A session of more than five minutes proves the old password first, by a step-up (P-10)."""
    await server.register()
    token = (await server.login())["access_token"]
    server.clock.advance(301)
    assert (403, "stepup_needed") == code_of(await change(server, token))
    wrong = await server.post("/auth/stepup", {"password": OTHER}, token=token)
    assert (401, "invalid_credentials") == code_of(wrong)
    token = (await server.post("/auth/stepup", {"password": PASSWORD}, token=token)).json()[
        "access_token"
    ]
    assert 200 == (await change(server, token)).status_code
    assert (401, "token_missing") == code_of(await server.send("PUT", "/auth/password", {}))


@pytest.mark.parametrize(
    ("password", "expected"),
    [("short", "password_too_short"), ("x" * 257, "password_too_long")],
)
async def test_change_refuses(server: Server, password: str, expected: str) -> None:
    """A change is held to the same bounds; what is refused changes nothing."""
    await server.register()
    before = await row(server)
    token = (await server.login())["access_token"]
    assert (400, expected) == code_of(await change(server, token, password))
    assert before == await row(server)


async def test_first_password_of_a_user_without_one(server: Server) -> None:
    """An administrator's command gives the first password, and replaces one; sessions end."""
    user = await only(server)
    await plugin(server).set_password("Ann", PASSWORD)
    token = (await server.login())["access_token"]
    assert ["password"] == [e.factor for e in await server.auth.users.enrolments(user.id)]
    await plugin(server).set_password("ann", OTHER)
    assert (401, "session_ended") == code_of(await server.get("/auth/me", token=token))
    assert 200 == (await login(server, password=OTHER)).status_code
    with pytest.raises(AuthError, match=r"^password_too_short$"):
        await plugin(server).set_password("ann", "short")


async def test_first_password_of_nobody(server: Server) -> None:
    """The command says where the names are."""
    with pytest.raises(ConfigError) as caught:
        await plugin(server).set_password("nobody", PASSWORD)
    assert "There is no user 'nobody': `picoauth users list` shows all." == str(caught.value)


async def test_password_with_what_allows_it(server: Server) -> None:
    """It is written together with the caller's statements, or neither is."""
    user = await only(server)
    auth = server.auth
    ticket, issuing = auth.tickets.issue("test", {}, expires_at=2**40, user_id=user.id)
    await auth.database.write(issuing)
    taking = [auth.tickets.taking("test", ticket)]
    with pytest.raises(AuthError, match=r"^password_too_short$"):
        await plugin(server).replace_password(user, "short", taking, Caller())
    await plugin(server).replace_password(user, PASSWORD, taking, Caller())
    token = (await server.login())["access_token"]
    user = await ann(server)
    with pytest.raises(Conflict):
        await plugin(server).replace_password(user, OTHER, taking, Caller())
    assert 200 == (await server.get("/auth/me", token=token)).status_code
    await plugin(server).replace_password(user, OTHER, (), Caller())
    assert (401, "session_ended") == code_of(await server.get("/auth/me", token=token))
    with pytest.raises(Denied):
        await plugin(server).replace_password(user, PASSWORD, (), Caller())
    assert 200 == (await login(server, password=OTHER)).status_code


# The hook that it offers

LEAKED = Problem(422, "password_leaked", "This password is known to attackers.")


class Leaks(Plugin[NoSettings]):
    """Refuses one password, and notes what it was asked."""

    requires = ("password",)

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.asked: list[tuple[str, PasswordContext]] = []

    @hookimpl
    async def check_password(self, password: str, context: PasswordContext) -> Problem | None:
        self.asked.append((password, context))
        return LEAKED if password == OTHER else None


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Server]:
    settings = 'plugins = ["password", "leaks"]'
    async with serving(tmp_path, settings, plugins={"leaks": Leaks}) as running:
        yield running


async def test_check_password(guarded: Server) -> None:
    """Another plugin refuses a new password in its own words, wherever it is set."""
    server, user = guarded, await only(guarded)
    for answer in (
        await register(server, username="bob", password=OTHER),
        await register(server, username="bob"),
    ):
        expected = (422, "password_leaked") if answer.status_code != 201 else (201, None)
        assert expected == code_of(answer)
    token = (await login(server, username="bob")).json()["access_token"]
    assert (422, "password_leaked") == code_of(await change(server, token))
    with pytest.raises(AuthError, match=r"^password_leaked$"):
        await plugin(server).set_password("ann", OTHER)
    assert [] == await server.auth.users.enrolments(user.id)
    assert 200 == (await login(server, username="bob")).status_code


async def test_check_password_gets_a_context(guarded: Server) -> None:
    """Words that are close to the user are known to whoever judges; a login is not asked about."""
    server = guarded
    leaks: Any = server.auth.plugins.on["leaks"]
    await register(server, email="ann@example.org", display_name="Ann Example")
    tokens = await server.login()
    await change(server, tokens["access_token"], "a third password")
    context = PasswordContext("ann", "ann@example.org", "Ann Example")
    assert [(PASSWORD, context), ("a third password", context)] == leaks.asked


async def test_short_passwords_are_not_shown_to_others(guarded: Server) -> None:
    """What this plugin refuses itself is nobody else's business."""
    await register(guarded, password="short")
    leaks: Any = guarded.auth.plugins.on["leaks"]
    assert [] == leaks.asked


# Costs and peppers that move


async def test_hash_is_renewed_at_login_when_the_cost_moved(tmp_path: Path) -> None:
    """The next right login, and no wrong one, hashes anew; `changed_at` stays, sessions too (P-5)."""
    async with serving(tmp_path) as server:
        await server.register()
        token = (await server.login())["access_token"]
        old = await row(server)
    assert old[0].startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    async with serving(tmp_path, f"{ON}\n[password]\nmemory_kib = 20480") as server:
        await login(server, password=OTHER)
        assert old == await row(server)
        assert 200 == (await login(server)).status_code
        new = await row(server)
        assert new[0].startswith("$argon2id$v=19$m=20480,t=2,p=1$")
        assert old[1:] == new[1:]
        assert 200 == (await login(server)).status_code
        assert (new, 200) == (
            await row(server),
            (await server.get("/auth/me", token=token)).status_code,
        )


async def test_login_goes_on_where_there_is_no_place_to_hash_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A busy server keeps the old hash for another time, and lets its user in."""
    async with serving(tmp_path) as server:
        await server.register()
        old = await row(server)
    async with serving(tmp_path, f"{ON}\n[password]\niterations = 3") as server:
        hasher = fill(server)
        hasher.free.release()
        verify = hasher.verify

        async def then_busy(*arguments: Any) -> None:
            await verify(*arguments)
            hasher.free.acquire(blocking=False)

        monkeypatch.setattr(hasher, "verify", then_busy)
        assert 200 == (await login(server)).status_code
        assert old == await row(server)


async def test_password_that_changes_while_it_is_hashed_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old password's new hash never replaces another password's."""
    async with serving(tmp_path) as server:
        await server.register()
    async with serving(tmp_path, f"{ON}\n[password]\niterations = 3") as server:
        hasher = plugin(server).hasher
        hash_ = hasher.hash

        async def changing(password: str) -> Any:
            monkeypatch.undo()
            await plugin(server).set_password("ann", OTHER)
            return await hash_(password)

        monkeypatch.setattr(hasher, "hash", changing)
        assert (401, "start_over") == code_of(await login(server))
        assert (401, "invalid_credentials") == code_of(await login(server))
        assert 200 == (await login(server, password=OTHER)).status_code


def rotating(folder: Path) -> Callable[..., str]:
    """Settings with root secrets by name, newest first; each is made when it is first named."""

    def settings(*names: str) -> str:
        for name in names:
            path = folder / name
            if not path.exists():
                path.touch(0o600)
                path.write_text(secrets.token_urlsafe(33))
        listed = ", ".join(f'{{ file = "{name}" }}' for name in names)
        return f"{ON}\nsecret = [{listed}]"

    return settings


async def test_hash_is_renewed_at_login_when_the_secret_was_rotated(tmp_path: Path) -> None:
    """The pepper follows the newest root secret, and the old one can go when all have logged in."""
    settings = rotating(tmp_path)
    async with serving(tmp_path, settings("old")) as server:
        await server.register()
        old = await row(server)
    async with serving(tmp_path, settings("new", "old")) as server:
        assert 200 == (await login(server)).status_code
        new = await row(server)
        assert old[1] != new[1]
        # The keys that sign tokens are sealed with the old one as well, and are rotated elsewhere.
        await server.auth.database.write(Statement("delete from signing_keys"))
    async with serving(tmp_path, settings("new")) as server:
        assert 200 == (await login(server)).status_code
        assert new == await row(server)


async def test_secret_that_goes_too_early_stops_the_server(tmp_path: Path) -> None:
    """A missing pepper is an operator's mistake, and never a user's wrong password (P-6)."""
    settings = rotating(tmp_path)
    async with serving(tmp_path, settings("old")) as server:
        await server.register()
        await server.register("bob")
        await server.auth.database.write(Statement("delete from signing_keys"))
    with pytest.raises(ConfigError) as caught:
        async with serving(tmp_path, settings("new")):
            pass
    expected = (
        "`secret` no longer lists the root secret of some passwords (2): "
        "put it back at the end of the list, until their users have logged in."
    )
    assert expected == str(caught.value)


# The queue, and the end


def fill(server: Server) -> Hasher:
    """Take every place in the queue."""
    hasher = plugin(server).hasher
    while hasher.free.acquire(blocking=False):
        pass
    return hasher


async def test_full_queue_is_503(server: Server) -> None:
    """Whoever comes when too many wait is told to come again, and leaves nothing (P-7)."""
    fill(server)
    for answer in (await register(server), await login(server)):
        assert ((503, "unavailable"), "1") == (code_of(answer), answer.headers["retry-after"])
    assert [] == await server.auth.database.read("select id from users")


async def test_hasher_ends_with_the_server(tmp_path: Path) -> None:
    """No thread outlives the server, also where that ends by an error."""
    hashers: list[Hasher] = []

    async def run() -> None:
        async with serving(tmp_path) as server:
            hashers.append(plugin(server).hasher)
            await server.register()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await run()
    with pytest.raises(Unavailable, match=r"^passwords cannot be hashed now$"):
        await hashers[0].hash(PASSWORD)


async def test_deleted_user_leaves_no_password(server: Server) -> None:
    """The credential goes with its user, and with its enrolment."""
    await server.register()
    await server.auth.accounts.delete((await ann(server)).id, Caller())
    assert [] == await server.auth.database.read("select user_id from password")


async def test_gauges(tmp_path: Path) -> None:
    """How many passwords are hashed, or wait for it, for whoever exports figures."""
    async with serving(tmp_path) as server:
        assert plugin(server).gauges() == {"hashes_pending": 0}


async def test_export(server: Server) -> None:
    """A user is told when the password was set, and not what it is; who has none, nothing."""
    assert 201 == (await register(server)).status_code
    ann = await server.auth.users.find("username", "ann")
    assert ann is not None
    set_at = server.auth.now()
    server.clock.advance(60)
    assert {"changed_at": set_at} == await plugin(server).export(ann)
    nobody, _ = await server.auth.users.register(server.auth.users.draft(username="bob"))
    assert {} == await plugin(server).export(nobody)


async def test_password_that_a_newer_secret_keyed(server: Server) -> None:
    """Who hangs on a root secret that is not here is told so, as often as others are refused."""
    await register(server)
    await server.auth.database.write(Statement("update password set pepper_id = 'newer'", rows=1))
    answers = [code_of(await login(server)) for _ in range(12)]
    others = [code_of(await login(server, username="nobody")) for _ in range(12)]
    tries = others.count((401, "invalid_credentials"))
    assert [(503, "unavailable")] * tries == answers[:tries]
    assert {(429, "too_many_attempts")} == {*answers[tries:], *others[tries:]}
