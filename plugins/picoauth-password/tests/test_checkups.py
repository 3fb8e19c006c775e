"""What `picoauth doctor` says about passwords, word for word."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from picoauth import ConfigError, Statement, checks
from picoauth.testing import Server, serving
from picoauth_password import PasswordPlugin
from picoauth_password.checkups import Checkups
from picoauth_password.factor import USED
from picoauth_password.policy import PasswordHooks

STRICT = """
[password]
min_length = 15
memory_kib = 65536
iterations = 3
"""

SOON = 60
"""Seconds after which a check has failed: the machine may be busy."""


def plugin_of(server: Server) -> PasswordPlugin:
    found = server.auth.plugins.on["password"]
    assert isinstance(found, PasswordPlugin)
    return found


async def problems(server: Server, took: float = 0.1) -> dict[str, tuple[str, str]]:
    """What is wrong where a hash takes so many seconds."""
    times = iter((0.0, took))
    found = Checkups(plugin_of(server), lambda: next(times)).checks()
    return {
        check.name: (check.level, problem)
        for check in found
        if (problem := await checks.attempt(check, SOON)) is not None
    }


async def test_nothing_is_wrong(tmp_path: Path) -> None:
    """Settings that follow every standard, on a machine that keeps up with them."""
    async with serving(tmp_path, 'plugins = ["password"]' + STRICT) as server:
        assert {} == await problems(server)


async def test_defaults(server: Server) -> None:
    """The defaults keep OWASP's minimum; other standards ask for more."""
    cost = (
        "memory_kib = 19456 with iterations = 2 in [password] keeps OWASP's minimum; RFC 9106 (4) "
        "recommends memory_kib = 65536, iterations = 3 and parallelism = 4."
    )
    length = (
        "min_length in [password] is 8: NIST SP 800-63B-4 (3.1.1.2) asks for min_length = 15 "
        "where users have no second factor."
    )
    assert {
        "password-cost": ("advice", cost),
        "password-length": ("advice", length),
    } == await problems(server)


SLOW = (
    "Hashing one password takes this machine 501 ms, and whoever logs in waits for all before "
    "them: lower memory_kib and iterations in [password] towards the defaults, or take a faster "
    "machine."
)
QUICK = (
    "Hashing one password takes this machine 9 ms: it can do more, and guessing gets dearer with "
    "it, so raise memory_kib or iterations in [password]."
)


@pytest.mark.parametrize(
    ("took", "expected"),
    [
        (0.501, {"password-slow": ("warning", SLOW)}),
        (0.5, {}),
        (0.01, {}),
        (0.009, {"password-quick": ("advice", QUICK)}),
    ],
)
async def test_cost_on_this_machine(
    server: Server, took: float, expected: dict[str, tuple[str, str]]
) -> None:
    """A hash is measured once, after one that loads the library."""
    wrong = await problems(server, took)
    assert {"password-cost", "password-length"} == wrong.keys() - expected.keys()
    assert expected.items() <= wrong.items()


async def test_the_doctor_asks(server: Server) -> None:
    """The plugin brings its checks; they are the doctor's alone, and take real time here."""
    found = [check for check in server.auth.checks if check.name.startswith("password-")]
    assert [False] * 7 == [check.live for check in found]
    assert 0 < await Checkups(plugin_of(server)).seconds() < 60


SECRETS: Sequence[str] = (
    "b25lIHJvb3Qgc2VjcmV0IG9mIHNldmVyYWwsIGxvbmcgZW5vdWdo",
    "YW5vdGhlciBvZiBzZXZlcmFsIHJvb3Qgc2VjcmV0cywgYXMgbG9uZw",
)


def listing(*names: str) -> str:
    listed = ", ".join(f'{{ env = "{name}" }}' for name in names)
    return f'plugins = ["password"]\nsecret = [{listed}]\n'


async def of_secrets(server: Server) -> tuple[str, str] | None:
    return (await problems(server)).get("password-secrets")


async def test_peppers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashes are counted by the root secret that they hang on, until the last is renewed."""
    for name, value in zip(("OLD", "NEW"), SECRETS, strict=True):
        monkeypatch.setenv(name, value)
    async with serving(tmp_path, listing("OLD")) as server:
        await server.register("ann")
        await server.register("bob")
        assert await of_secrets(server) is None
    sentence = (
        "{} of 2 passwords hang on an older root secret: keep it in `secret` until their users "
        "have logged in."
    )
    async with serving(tmp_path, listing("NEW", "OLD")) as server:
        assert ("advice", sentence.format(2)) == await of_secrets(server)
        await server.login("ann")
        assert ("advice", sentence.format(1)) == await of_secrets(server)
        await server.login("bob")
        gone = (
            "No password hangs on an older root secret: as far as they go, it may leave `secret`."
        )
        assert ("advice", gone) == await of_secrets(server)


async def test_peppers_that_are_lost(server: Server) -> None:
    """The server would not start: the doctor says so in its words."""
    await server.register()
    await server.auth.database.write(Statement("update password set pepper_id = 'gone'", rows=1))
    sentence = (
        "`secret` no longer lists the root secret of some passwords (1): "
        "put it back at the end of the list, until their users have logged in."
    )
    assert ("danger", sentence) == (await problems(server))["password-peppers"]
    with pytest.raises(ConfigError) as refused:
        await plugin_of(server).passwords.check_peppers()
    assert sentence == str(refused.value)


def test_who_checks_passwords_need_not_say_why() -> None:
    """Without refusals of its own a plugin adds none to the description."""
    assert () == PasswordHooks().password_refusals()


async def test_start_asks_for_each_root_secret_once(server: Server) -> None:
    """However many users there are, and in one look into an index for each of them."""
    assert [] == await server.auth.database.read(USED)
    for name in ("ann", "bob", "cem", "dan"):
        await server.register(name)
    sql = "update password set pepper_id = ? where user_id = (select max(user_id) from password where pepper_id = ?)"
    [(own,)] = await server.auth.database.read(USED)
    for pepper in ("", "~", "~"):
        await server.auth.database.write(Statement(sql, (pepper, own), rows=1))
    assert [("",), (own,), ("~",)] == await server.auth.database.read(USED)
    plan = await server.auth.database.read(f"explain query plan {USED}")
    assert [] == [step for *_, step in plan if step in ("SCAN t", "SCAN password")]
