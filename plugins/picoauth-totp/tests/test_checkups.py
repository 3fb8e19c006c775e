"""What `picoauth doctor` says about authenticators, word for word, and how secrets are sealed anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from owners import SETTINGS, Owner, code_of

from picoauth import ConfigError, Statement, checks
from picoauth.testing import Clock, Server, serving
from picoauth_totp import TotpPlugin
from picoauth_totp import authenticators as table
from picoauth_totp.codes import PERIOD
from tests.factors import CEREMONIES, PLUGINS

HERE: dict[str, Any] = {"plugins": PLUGINS, "ceremonies": CEREMONIES}
SECRETS = {
    "OLD": "b25lIHJvb3Qgc2VjcmV0IG9mIHNldmVyYWwsIGxvbmcgZW5vdWdo",
    "NEW": "YW5vdGhlciBvZiBzZXZlcmFsIHJvb3Qgc2VjcmV0cywgYXMgbG9uZw",
}
GONE = "update totp set key_id = '00000000', sealed = zeroblob(60)"
"""As if another root secret had sealed it."""
LOST = (
    "`secret` no longer lists the root secret of some authenticators (1): put it back at the end "
    "of the list, until `picoauth doctor` says that none hangs on it."
)


async def problems(server: Server) -> dict[str, tuple[str, str]]:
    """What is wrong, by the name of the check."""
    found = [check for check in server.auth.checks if check.name.startswith("totp-")]
    assert [False] * 4 == [check.live for check in found]
    said = await checks.run(found)
    return {check.name: (check.level, what) for check in found if (what := said[check.name])}


async def test_nothing_is_wrong(server: Server, ann: Owner) -> None:
    """With authenticators and without."""
    assert {} == await problems(server)
    await ann.enrol()
    assert {} == await problems(server)


async def test_altered(server: Server, ann: Owner, bob: Owner) -> None:
    """Rows that somebody wrote to, of which the doctor names one."""
    enrolment_id = await ann.enrol()
    await bob.enrol()
    sql = "update totp set sealed = zeroblob(60) where enrolment_id = ?"
    await server.auth.database.write(Statement(sql, (enrolment_id,), rows=1))
    sentence = (
        "Authenticators were altered in the database, and log nobody in (1, such as "
        f"{enrolment_id}): restore the table totp from a backup, and find out who wrote there."
    )
    assert {"totp-sealed": ("danger", sentence)} == await problems(server)


async def test_clock_that_was_ahead(server: Server, ann: Owner, bob: Owner) -> None:
    """Whoever logged in then waits until that time comes; the doctor says how long."""
    await ann.enrol()
    await bob.enrol()
    server.clock.advance(3600)
    assert 200 == (await ann.login(ann.app.code())).status_code
    server.clock.advance(-3600)
    seconds = (ann.app.last - int(server.clock()) // PERIOD - 1) * PERIOD
    sentence = (
        "Authenticators were used while the server's clock was ahead (1), and accept no code for "
        f"up to {seconds} seconds: their users take another factor, or enrol anew; see that the "
        "clock is kept right (NTP)."
    )
    assert {"totp-clock": ("warning", sentence)} == await problems(server)
    server.clock.advance(seconds)
    assert {} == await problems(server)


def listing(*names: str) -> str:
    listed = ", ".join(f'{{ env = "{name}" }}' for name in names)
    return f"{SETTINGS}\nsecret = [{listed}]\n"


async def test_new_root_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Secrets are sealed anew while the server runs, and the old root secret may go (D-4)."""
    monkeypatch.setattr(table, "BATCH", 2)
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    clock = Clock()
    async with serving(tmp_path, listing("OLD"), clock=clock, **HERE) as server:
        owners = [await Owner.joined(server, f"user{n}") for n in range(5)]
        for owner in owners:
            await owner.enrol()
        broken = list(owners.pop().apps)
        await server.auth.database.write(
            Statement(
                "update totp set sealed = zeroblob(60) where enrolment_id = ?", broken, rows=1
            )
        )
        assert {"totp-sealed"} == (await problems(server)).keys()
        newest = server.auth.plugin(TotpPlugin).authenticators.keys
    async with serving(tmp_path, listing("NEW", "OLD"), clock=clock, **HERE) as server:
        plugin = server.auth.plugin(TotpPlugin)
        assert newest == plugin.authenticators.keys[1:]
        hanging = (
            "5 authenticators hang on an older root secret: let the server run, which seals them "
            "anew within ten minutes."
        )
        assert ("advice", hanging) == (await problems(server))["totp-older"]
        [job] = [job for job in server.auth.jobs.jobs if job.name == "totp-reseal"]
        assert not job.purges
        await job.run()
        # What does not open cannot be sealed anew, and is still told of.
        assert hanging.replace("5", "1") == (await problems(server))["totp-older"][1]
        await server.auth.database.write(
            Statement("delete from totp where enrolment_id = ?", broken)
        )
        none = (
            "No authenticator hangs on an older root secret: as far as they go, it may leave "
            "`secret`."
        )
        assert {"totp-older": ("advice", none)} == await problems(server)
        for owner in owners:
            owner.someone.__dict__["server"] = server
            assert 200 == (await owner.login(owner.app.code())).status_code
        sealed = await server.auth.database.read("select sealed from totp")
        await job.run()
        assert sealed == await server.auth.database.read("select sealed from totp")


async def test_resealing_touches_nothing_else(server: Server, ann: Owner) -> None:
    """One that was written to meanwhile is left as it is; a spent step stays spent."""
    await ann.enrol()
    authenticators = server.auth.plugin(TotpPlugin).authenticators
    [one] = await authenticators.of(ann.someone.user.id)
    [first], [second] = authenticators.resealing(one), authenticators.resealing(one)
    digits = ann.app.code()
    assert 200 == (await ann.login(digits)).status_code
    await server.auth.database.write(first)
    [after] = await authenticators.of(ann.someone.user.id)
    assert after.sealed != one.sealed
    await server.auth.database.write(second)
    assert [after] == await authenticators.of(ann.someone.user.id)
    assert (401, "proof_refused") == code_of(await ann.login(digits))
    assert 200 == (await ann.login(ann.app.code())).status_code


async def test_lost_root_secret(tmp_path: Path) -> None:
    """Without it users would be told that nothing works: the server says why, and does not start."""
    async with serving(tmp_path, SETTINGS, **HERE) as server:
        ann = await Owner.joined(server, "ann")
        await ann.enrol()
        await server.auth.database.write(Statement(GONE, rows=1))
        assert {"totp-secrets": ("danger", LOST)} == await problems(server)
    with pytest.raises(ConfigError) as refused:
        async with serving(tmp_path, SETTINGS, **HERE):
            pass
    assert LOST == str(refused.value)
