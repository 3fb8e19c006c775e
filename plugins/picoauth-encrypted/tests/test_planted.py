"""What was planted stands on the disk nowhere: not in the database, its log, backups, or lines of a log."""

from __future__ import annotations

import logging
import os
from base64 import b32decode, b64decode
from contextlib import closing
from pathlib import Path

import pytest
from encrypting import SETTINGS, opened

from picoauth import Statement
from picoauth.backups import backup
from picoauth.testing import Server, serving
from picoauth.testing.server import PASSWORD

NAME, ADDRESS, LABEL, BODY = (
    "planted-name", "planted@address.example", "planted label", b"planted body of a mail",
)  # fmt: skip
BARE = 'plugins = ["password", "totp"]'


async def planted(server: Server) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """What an encrypted file hides, and of it what is sealed in any file."""
    body = {"username": NAME, "password": PASSWORD, "email": ADDRESS}
    assert 201 == (await server.post("/auth/register", body)).status_code
    tokens = await server.login(NAME)
    answer = await server.send("POST", "/auth/totp", {"label": LABEL}, token=tokens["access_token"])
    secret = answer.json()["secret"]
    await server.auth.database.write(
        server.auth.outbox.rows.queuing(
            "nothing", "m1", BODY, about="", expires_at=2**33, user_id=None
        )
    )
    [(sealed,)] = await server.auth.database.read("select sealed from outbox where id = 'm1'")
    signing = server.auth.keys.signing.key.as_dict(private=True)["d"]
    clear = {"name": NAME.encode(), "address": ADDRESS.encode(), "label": LABEL.encode()}
    hidden = {
        "password": PASSWORD.encode(),
        "body": BODY,
        "secret": secret.encode(),
        "raw secret": b32decode(secret),
        "signing key": signing.encode(),
        "raw signing key": b64decode(signing + "==", altchars=b"-_"),
        "access token": tokens["access_token"].encode(),
        "refresh token": tokens["refresh_token"].encode(),
    }
    return {**clear, **hidden, "sealed body": sealed[:200]}, hidden


def found(folder: Path, log: str, planted: dict[str, bytes]) -> set[str]:
    """Which of it stands somewhere."""
    texts = [p.read_bytes() for p in folder.rglob("*") if p.is_file()] + [log.encode()]
    return {what for what, value in planted.items() if any(value in text for text in texts)}


@pytest.mark.parametrize("settings", [SETTINGS, BARE], ids=["encrypted", "plain"])
async def test_nothing_planted_is_found(
    keyed: Path, settings: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Of a plain file that is true of what is sealed, or kept as a hash, alone (D-3)."""
    caplog.set_level(logging.DEBUG)
    encrypted = settings == SETTINGS
    async with serving(keyed, settings) as server:
        every, hidden = await planted(server)
        await backup(server.auth, keyed / "backup.db")
        await server.auth.database.write(Statement("update users set name = name"))
        names = set(os.listdir(keyed))  # noqa: PTH208 - a look at it
        assert {"picoauth.db", "picoauth.db-wal", "picoauth.db-shm", "backup.db"} <= names
        live = found(keyed, caplog.text, every)
    closed = found(keyed, caplog.text, every)
    if encrypted:
        assert (set(), set()) == (live, closed)
    else:
        assert not (live | closed) & hidden.keys()
        assert {"name", "address", "label"} <= closed


@pytest.mark.parametrize("mode", ["wal", "delete", "persist"])
def test_journal_has_nothing_planted(tmp_path: Path, mode: str) -> None:
    """Nor has the log, in the middle of a write, whatever kind of it there is; the pages are there."""
    with closing(opened(tmp_path / "it.db")) as connection:
        connection.execute(f"pragma journal_mode = {mode}").fetchall()
        connection.execute("pragma cache_size = 1")  # so that pages are written before the commit
        connection.execute("create table t (id integer primary key, name text not null)")
        for n in range(100):
            connection.execute("insert into t values (?, ?)", (n, NAME * 50))
        connection.execute("begin immediate")
        connection.execute("update t set name = ? || name", (ADDRESS,))
        journals = [path for path in tmp_path.iterdir() if path.name != "it.db"]
        assert {"wal": "it.db-wal"}.get(mode, "it.db-journal") in {p.name for p in journals}
        assert any(path.stat().st_size > 50_000 for path in journals)
        texts = {"name": NAME.encode(), "address": ADDRESS.encode()}
        assert set() == found(tmp_path, "", texts)
        connection.execute("rollback")
