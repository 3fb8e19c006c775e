"""What the tests have in common: a key, and connections under it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import picoauth.auth
from picoauth import Embedded
from picoauth.cli import cli
from picoauth_encrypted.connections import Connection, connecting, raw

KEY = b"dGhlIHJhbmRvbSBieXRlcyBvZiBhIHRlc3Qga2V5LCAzMw=="
OTHER = b"YW5vdGhlciBrZXkgb2YgYSB0ZXN0LCBhcyByYW5kb20gYXMgMQ=="
TABLE = '\n[encrypted]\nencryption_key = { file = "picoauth.key" }\n'
SETTINGS = f'plugins = ["encrypted", "password", "totp"]{TABLE}'
PLANTED = "planted-in-a-row"


def opened(path: Path, key: bytes = KEY) -> Connection:
    return connecting(raw(key))(str(path))


class Engine(Embedded):
    """What a kernel takes that is told of no plugin."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, connect=connecting(raw(KEY)))


@pytest.fixture(autouse=True, scope="module")
def encrypted() -> Iterator[None]:
    """Every server of the module is on an encrypted file, whatever plugins it lists."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(picoauth.auth, "Embedded", Engine)
        yield


def invoke(folder: Path, *words: str) -> Result:
    return CliRunner().invoke(cli, ["--config", str(folder / "picoauth.toml"), *words])


def rows(connection: Connection) -> list[tuple[str, ...]]:
    try:
        return connection.execute("select name from t order by id").fetchall()
    finally:
        connection.close()
