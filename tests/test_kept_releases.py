"""Databases of releases, as tests/fixtures keeps them: today's code takes all that is in them."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from picoauth import Auth, parse
from picoauth.backups import backup, restore
from picoauth.cli import cli
from picoauth.resealing import hanging
from picoauth.testing import PASSWORD, Clock, Server, serving
from picoauth_admin import AdminPlugin
from picoauth_audit import AuditPlugin
from picoauth_encrypted.connections import connecting, raw
from picoauth_permissions import PermissionsPlugin
from tests.factors import code_of
from tests.firstparty import ROOT
from tests.fixtures.make import HERE, make, read
from tests.fixtures.people import Person

RELEASES = sorted(path.parent.name for path in HERE.glob("*/database.sql"))
AFTER = 120
"""Seconds after the fixture was made: what was begun then can still be ended."""
YEARS = 10 * 365 * 86400
ELSEWHERE = {"endings", "audit_unsealed"}
"""Tables that have rows only where sessions are kept outside the database, or for a moment."""


@dataclass
class Kept:
    """A release's database in a folder of the test, and what its users hold."""

    folder: Path
    settings: str
    told: Mapping[str, Any]

    @property
    def path(self) -> Path:
        return self.folder / "picoauth.db"

    @property
    def held(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.told["held"]
        return found

    def clock(self, after: int = AFTER) -> Clock:
        return Clock(self.told["made_at"] + after)

    @asynccontextmanager
    async def served(self) -> AsyncIterator[Server]:
        async with serving(self.folder, self.settings, clock=self.clock()) as server:
            yield server


@pytest.fixture(params=RELEASES)
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Kept:
    source = HERE / request.param
    for name in ("root.secret", "webhook.secret", "picoauth.toml"):
        shutil.copyfile(source / name, tmp_path / name)
        (tmp_path / name).chmod(0o600)
    read((source / "database.sql").read_text("utf-8"), tmp_path / "picoauth.db")
    told = json.loads((source / "people.json").read_text("utf-8"))
    return Kept(tmp_path, (source / "picoauth.toml").read_text("utf-8"), told)


def counts(path: Path) -> dict[str, int]:
    """Rows of each table."""
    with closing(sqlite3.connect(path)) as connection:
        tables = connection.execute("select name from sqlite_master where type = 'table'")
        return {
            name: connection.execute(f"select count(*) from {name}").fetchone()[0]
            for (name,) in tables.fetchall()
        }


async def people(kept: Kept, server: Server) -> dict[str, Person]:
    return {name: await Person.read(server, name, one) for name, one in kept.told["people"].items()}


async def test_nothing_is_lost(kept: Kept) -> None:
    """Each table has as many rows after the upgrade as before, and no reference is broken."""
    before = counts(kept.path)
    auth = Auth(parse(kept.settings, kept.folder), clock=kept.clock())
    await auth.migrate()
    await auth.database.close()
    after = counts(kept.path)
    assert [] == [table for table, rows in before.items() if after[table] < rows]
    with closing(sqlite3.connect(kept.path)) as connection:
        assert [("ok",)] == connection.execute("pragma integrity_check").fetchall()
        assert [] == connection.execute("pragma foreign_key_check").fetchall()


async def test_everybody_logs_in(kept: Kept) -> None:
    """By each factor that they had; and a second factor is asked for as it was."""
    async with kept.served() as server:
        tried = set()
        for person in (await people(kept, server)).values():
            for first, *others in person.ways:
                if person.tokens:
                    await logs_in(person, first, others)
                    tried |= {first, *others}
        assert set(server.auth.factors) == tried


async def logs_in(person: Person, first: str, others: Sequence[str]) -> None:
    answer = await person.someone.prove(first)
    for other in others:
        assert (401, "more_needed") == code_of(answer), (person.someone.username, first)
        answer = await person.someone.prove(other, answer.json()["flow"])
    assert 200 == answer.status_code, (person.someone.username, answer.text)


async def test_who_could_not_log_in(kept: Kept) -> None:
    """Who is disabled stays out, who closed the account may come back, who is gone is nobody."""
    async with kept.served() as server:
        found = await people(kept, server)
        told = {name: code_of(await found[name].someone.prove("password")) for name in BARRED}
        assert BARRED == told
        body = {"username": "erin", "password": f"{PASSWORD} of erin"}
        assert (401, "invalid_credentials") == code_of(await server.post("/auth/login", body))


BARRED = {"dan": (401, "invalid_credentials"), "carol": (403, "account_closed")}


async def test_sessions_go_on(kept: Kept) -> None:
    """With the tokens and the cookie that clients have; what had ended has ended."""
    async with kept.served() as server:
        for name, person in (await people(kept, server)).items():
            if person.tokens:
                answer = await server.post("/jwt/validate", token=person.tokens["access_token"])
                assert 200 == answer.status_code, (name, answer.text)
                answer = await server.post("/jwt/refresh", token=person.tokens["refresh_token"])
                assert 200 == answer.status_code, (name, answer.text)
        answer = await server.client.get("/auth/session", headers={"Cookie": kept.held["cookie"]})
        assert "ann" == answer.json()["preferred_username"]
        ended = await server.post("/jwt/validate", token=kept.held["ended"])
        assert (401, "session_ended") == code_of(ended)


async def test_audit_log_is_whole(kept: Kept) -> None:
    """Its chain is what it was, up to the row that was the last."""
    seq, link = kept.held["audit"]
    async with kept.served() as server:
        verifier = server.auth.plugin(AuditPlugin).verifier
        assert seq <= (await verifier.verify({seq: link})).rows


async def test_imported_password_fits(kept: Kept) -> None:
    """And is then kept as one of ours."""
    sql = "select hash from password p join identifiers i on i.user_id = p.user_id where value = ?"
    name = kept.held["imported"]["username"]
    async with kept.served() as server:
        await server.login(**kept.held["imported"])
        [(hashed,)] = await server.auth.database.read(sql, (name,))
        assert hashed.startswith("$argon2id$")


async def test_who_may_do_what(kept: Kept) -> None:
    """Permissions, also by roles; keys of administrators and of resource servers."""
    async with kept.served() as server:
        permissions = server.auth.plugin(PermissionsPlugin)
        for name, held in kept.held["permissions"].items():
            user = await server.auth.users.find("username", name)
            assert user is not None
            assert held == sorted(await permissions.held(user.id))
        keys = server.auth.plugin(AdminPlugin).keys
        assert "backup" == await keys.check(kept.held["admin_key"], "GET")
        bearer = f"Bearer {kept.held['resource_server']}"
        assert "files" == (await server.auth.resource_servers.check(bearer)).name


async def test_names_stay_retired(kept: Kept) -> None:
    """Neither an old name of somebody nor that of who is gone is free."""
    async with kept.served() as server:
        for name in (*kept.held["retired"], "erin"):
            body = {"username": name, "password": PASSWORD}
            answer = await server.post("/auth/register", body)
            assert (409, "username_taken") == code_of(answer), name


async def test_what_was_begun_can_be_ended(kept: Kept) -> None:
    """Links that were mailed, an invitation, and a client's request."""
    async with kept.served() as server:
        found = await people(kept, server)
        link = {"factor": "magic-link", "magic-link": kept.held["magic-link"]}
        assert 200 == (await server.post("/auth/login", link)).status_code
        path = f"/auth/forgot_password/{kept.held['reset']}"
        answer = await server.send("PUT", path, {"password": "another good horse battery"})
        assert answer.is_success, answer.text
        invited = {"factor": "invitation", "invitation": kept.held["invitation"]}
        assert 200 == (await server.post("/auth/login", invited)).status_code
        token = found["passkey-user"].tokens["access_token"]
        path = f"/indieauth/requests/{kept.held['request']}"
        assert "App" == (await server.get(path, token=token)).json()["client"]["name"]


async def test_clients_go_on(kept: Kept) -> None:
    """A client that a user let in has its tokens, and knows the user by the same URL."""
    held = kept.held["client"]
    async with kept.served() as server:
        answer = await server.get("/indieauth/userinfo", token=held["access_token"])
        assert 200 == answer.status_code, answer.text
        form = {
            "grant_type": "refresh_token",
            "client_id": "https://app.example/",
            "refresh_token": held["refresh_token"],
        }
        refreshed = await server.client.post("/indieauth/token", data=form)
        assert 200 == refreshed.status_code, refreshed.text
        assert held["me"] == refreshed.json()["me"]


async def test_all_that_is_sealed_opens(kept: Kept) -> None:
    """Under a new secret everything is sealed anew; passwords wait for their users."""
    old = (kept.folder / "root.secret").read_text("utf-8").strip()
    new = "c2Vjb25kIHJhbmRvbSBieXRlcyBvZiB0aGVzZSB0ZXN0cyEh"
    (kept.folder / "root.secret").write_text(f"{new}\nold {kept.told['made_at']} {old}\n", "utf-8")
    async with kept.served() as server:
        assert {"signing keys", "messages", "passwords", "authenticators", "webhooks"} == set(
            await hanging(server.auth)
        )
        for keyed in server.auth.secrets.keyed:
            if keyed.reseal is not None:
                await keyed.reseal()
        assert ["passwords"] == list(await hanging(server.auth))


WAITING = "select id from outbox where kind = 'mail' and sealed is not null"


async def test_mail_leaves(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    """What waited to be sent is sent."""
    with closing(sqlite3.connect(kept.path)) as connection:
        before = set(connection.execute(WAITING))
    assert before
    async with kept.served() as server:
        server.clock.advance(300)  # what was tried more often waits for longer
        await server.auth.outbox.flush()
        assert not before & set(await server.auth.database.read(WAITING))
    assert f"#reset={kept.held['reset']}" in capsys.readouterr().out


@pytest.mark.parametrize("after", [-YEARS, AFTER, YEARS])
def test_dry_run(kept: Kept, after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """`picoauth upgrade --dry-run` says that all is well, whenever it is run."""
    monkeypatch.setattr("picoauth.upgrade_cli.time", SimpleNamespace(time=kept.clock(after)))
    config = str(kept.folder / "picoauth.toml")
    done = CliRunner().invoke(cli, ["--config", config, "upgrade", "--dry-run"])
    assert 0 == done.exit_code, done.output
    logins = [line for line in done.output.splitlines() if line.startswith("login by ")]
    assert logins
    assert [] == [line for line in logins if not line.endswith(": works")]


async def test_restored(kept: Kept) -> None:
    """Put back, everybody logs in by every factor afresh; nothing counts that anybody was handed."""
    async with kept.served() as server:
        await backup(server.auth, kept.folder / "backup.db")
        keys = kids(await server.get("/.well-known/jwks.json"))
    clock = kept.clock()
    making = partial(Auth, clock=clock, monotonic=clock)
    await restore(parse(kept.settings, kept.folder), kept.folder / "backup.db", making)
    async with serving(kept.folder, kept.settings, clock=kept.clock(AFTER + 120)) as server:
        assert not keys & kids(await server.get("/.well-known/jwks.json"))
        found = await people(kept, server)
        for person in found.values():
            await nothing_counts(server, person)
        await nothing_held_counts(server, kept.held)
        for person in found.values():
            for first, *others in person.ways if person.tokens else ():
                if "recovery" not in others:
                    await logs_in(person, first, others)
        await server.auth.plugin(AuditPlugin).verifier.verify()


def kids(answer: httpx.Response) -> set[str]:
    return {key["kid"] for key in answer.json()["keys"]}


async def nothing_counts(server: Server, person: Person) -> None:
    """Neither tokens of sessions, nor recovery codes."""
    if person.tokens:
        answer = await server.post("/jwt/validate", token=person.tokens["access_token"])
        assert 401 == answer.status_code, person.someone.username
        answer = await server.post("/jwt/refresh", token=person.tokens["refresh_token"])
        assert 401 == answer.status_code, person.someone.username
    if "recovery" in person.someone.notes:
        first = await person.someone.prove(person.ways[0][0])
        body = {"factor": "recovery", "flow": first.json()["flow"]}
        code = person.someone.notes["recovery"][0]
        answer = await server.post("/auth/login", {**body, "recovery": code})
        assert (401, "proof_refused") == code_of(answer)


async def nothing_held_counts(server: Server, held: Mapping[str, Any]) -> None:
    """Neither a cookie, nor links in mails, an invitation, or the tokens of clients."""
    cookie = await server.client.get("/auth/session", headers={"Cookie": held["cookie"]})
    assert 401 == cookie.status_code
    for factor in ("magic-link", "invitation"):
        answer = await server.post("/auth/login", {"factor": factor, factor: held[factor]})
        assert 401 == answer.status_code, factor
    answer = await server.get(f"/auth/forgot_password/{held['reset']}")
    assert 404 == answer.status_code
    client = held["client"]
    answer = await server.get("/indieauth/userinfo", token=client["access_token"])
    assert 401 == answer.status_code
    form = {"grant_type": "refresh_token", "client_id": "https://app.example/"}
    form["refresh_token"] = client["refresh_token"]
    answer = await server.client.post("/indieauth/token", data=form)
    assert (400, "invalid_grant") == (answer.status_code, answer.json()["error"])


@pytest.mark.parametrize("release", RELEASES)
def test_encrypted_file_opens(release: str) -> None:
    """With the key of then, whatever the library encrypts by now."""
    key = (HERE / release / "encrypted.key").read_bytes().strip()
    with closing(connecting(raw(key))(str(HERE / release / "encrypted.bin"))) as connection:
        assert [("ann",)] == connection.execute("select name from users").fetchall()


def test_every_release_is_kept() -> None:
    """Who adds a release to the list of changes makes its fixture, as README.md beside them says."""
    changes = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert "0.1.0" in RELEASES
    assert set(re.findall(r"^## \[?(\d[\w.]*)", changes, re.MULTILINE)) <= set(RELEASES)


# What is made, of which the next release's will be one.


ADVICE = (
    "have no row in the fixture that tests/fixtures/make.py makes. New releases get a new fixture: "
    "list the plugin in tests/fixtures/settings.toml, let somebody use it in tests/fixtures/parts.py, "
    "and look at it in tests/test_kept_releases.py. The fixtures of releases that are out stay as "
    "they are; tests/fixtures/README.md says when the next one is made."
)


def tables_of_plugins() -> set[str]:
    """Whose plugin is in this repository, listed in the fixture's settings or not."""
    sources = "".join(path.read_text("utf-8") for path in ROOT.glob("plugins/*/picoauth_*/*.py"))
    made, dropped = (
        set(re.findall(rf"{verb} table (\w+)", sources)) for verb in ("create", "drop")
    )
    return made - dropped


async def test_every_table_has_rows(tmp_path: Path) -> None:
    """Every table, of the kernel and of every first-party plugin, in what the next release keeps."""
    await make(tmp_path)
    rows = counts(tmp_path / "picoauth.db")
    wanted = (rows.keys() | tables_of_plugins()) - ELSEWHERE
    assert {"users", "audit", "webhook"} <= wanted
    empty = sorted(table for table in wanted if not rows.get(table))
    assert not empty, f"The tables {empty} {ADVICE}"
