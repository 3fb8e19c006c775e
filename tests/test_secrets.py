"""The root secret: where it comes from, the keys derived from it, and what it seals."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from picoauth import Config, ConfigError, parse
from picoauth.errors import reason
from picoauth.secrets import Place, Root, Secrets, load
from picoauth.testing import serving
from tests.factors import PLUGINS
from tests.storage import exactly

OLD, NEW = (hashlib.sha512(name).digest()[:33] for name in (b"old", b"new"))
PLACE = Place("signing_keys", "sealed", "k1")
FOREIGN = (
    "The secret is not the one that this database was made with: "
    "put the old one back, at the end of the list where you want a new one."
)
ALTERED = "The sealed of signing_keys k1 was altered in the database: restore it from a backup."
WEAK = (
    "The secret from {} is too short or too regular: "
    "write at least 32 random bytes, as `openssl rand -base64 33` prints them."
)


def secrets(*values: bytes) -> Secrets:
    return Secrets(values, os.urandom)


def settings(folder: Path, more: str = "") -> Config:
    return parse(f"plugins = []\n{more}", folder)


def expanded(key: bytes, info: bytes) -> bytes:
    """HKDF-SHA-256 for one block (RFC 5869, section 2), in the words of the RFC."""
    prk = hmac.digest(bytes(32), key, "sha256")
    return hmac.digest(prk, info + b"\x01", "sha256")


def test_keys_are_derived_by_purpose() -> None:
    """Each purpose has a key of its own, which says nothing of another, and never changes."""
    derived = secrets(NEW, OLD).derive("pepper")
    expected = [expanded(value, b"picoauth pepper") for value in (NEW, OLD)]
    assert expected == list(derived.values())
    assert [expanded(value, b"picoauth key id")[:4].hex() for value in (NEW, OLD)] == list(derived)
    purposes = ["pepper", "seal", "key id", "typed", "refresh rotating", "refresh stateless"]
    keys = {key for name in purposes for key in secrets(NEW, OLD).derive(name).values()}
    assert 2 * len(purposes) == len(keys)


def test_digests_are_keyed() -> None:
    """What must be found again is hashed under a key, newest first."""
    expected = [
        hmac.digest(expanded(value, b"picoauth typed"), "Änn".encode(), "sha256")
        for value in (NEW, OLD)
    ]
    assert expected == secrets(NEW, OLD).digests("typed", "Änn")


def test_sealed_value_is_opened_where_it_stands() -> None:
    """Sealing hides the value, twice never alike, and opening in its place gives it back."""
    keeper = secrets(OLD)
    first, second = (keeper.seal(PLACE, b"the key") for _ in range(2))
    assert first != second
    assert b"the key" not in first
    assert b"the key" == keeper.open(PLACE, first)


FLIPPED: dict[str, Callable[[bytes], bytes]] = {
    "nonce": lambda sealed: sealed[:4] + bytes([sealed[4] ^ 1]) + sealed[5:],
    "text": lambda sealed: sealed[:16] + bytes([sealed[16] ^ 1]) + sealed[17:],
    "tag": lambda sealed: sealed[:-1] + bytes([sealed[-1] ^ 1]),
    "cut": lambda sealed: sealed[:-1],
    "nearly empty": lambda sealed: sealed[:20],
    "no nonce": lambda sealed: sealed[:4],
}


@pytest.mark.parametrize("how", FLIPPED)
def test_altered_value_is_told(how: str) -> None:
    """Whatever is changed in a sealed value, or cut off it, is noticed (D-4)."""
    keeper = secrets(OLD)
    with pytest.raises(ConfigError, match=exactly(ALTERED)):
        keeper.open(PLACE, FLIPPED[how](keeper.seal(PLACE, b"the key")))


@pytest.mark.parametrize("member", ["table", "column", "row"])
def test_value_opens_in_no_other_place(member: str) -> None:
    """A sealed value that was moved to another table, column or row is not opened (D-4)."""
    keeper = secrets(OLD)
    sealed = keeper.seal(replace(PLACE, **{member: "other"}), b"the key")
    with pytest.raises(ConfigError, match=exactly(ALTERED)):
        keeper.open(PLACE, sealed)


def test_value_is_bound_to_its_key() -> None:
    """A key id that was exchanged in the database opens nothing."""
    both = secrets(NEW, OLD)
    sealed, other = both.seal(PLACE, b"the key"), secrets(OLD).seal(PLACE, b"the key")
    with pytest.raises(ConfigError, match=exactly(ALTERED)):
        both.open(PLACE, other[:4] + sealed[4:])


def test_rotation() -> None:
    """A list opens what any of its secrets sealed, and seals with the first."""
    old, both, new = secrets(OLD), secrets(NEW, OLD), secrets(NEW)
    before = old.seal(PLACE, b"the key")
    assert b"the key" == both.open(PLACE, before)
    assert b"the key" == new.open(PLACE, both.seal(PLACE, b"the key"))
    for keeper, sealed in ((new, before), (old, both.seal(PLACE, b"")), (new, b"")):
        with pytest.raises(ConfigError, match=exactly(FOREIGN)):
            keeper.open(PLACE, sealed)


def test_root_is_not_shown() -> None:
    """A secret that is printed by mistake shows its id alone."""
    assert "Root('0a0b0c0d')" == repr(Root("0a0b0c0d", OLD))
    assert not [form for form in (OLD.hex(), repr(OLD)[2:-1]) if form in repr(secrets(OLD).roots)]


def test_first_start_makes_a_secret(tmp_path: Path) -> None:
    """Where there is none, 33 random bytes are written, for the owner alone, and kept."""
    umask = os.umask(0)
    try:
        made = load(settings(tmp_path), os.urandom)
    finally:
        os.umask(umask)
    [path] = tmp_path.iterdir()
    assert ("picoauth.secret", 0o600) == (path.name, stat.S_IMODE(path.stat().st_mode))
    assert 33 == len(base64.urlsafe_b64decode(path.read_bytes()))
    assert made.roots == load(settings(tmp_path), os.urandom).roots


def test_secret_is_whole_when_it_appears(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file gets its name when it is on the disk: nobody ever reads half a secret."""
    flush, seen = os.fsync, []

    def noting(descriptor: int) -> None:
        path = tmp_path / "picoauth.secret"
        seen.append((os.fstat(descriptor).st_size, path.exists()))
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", noting)
    load(settings(tmp_path), os.urandom)
    assert [(45, False)] == seen


LOADING = """
import os, sys
from pathlib import Path
from picoauth import parse
from picoauth.secrets import load
print("ready", flush=True)
for line in sys.stdin:
    roots = load(parse("plugins = []", Path(line.strip())), os.urandom).roots
    Path(line.strip(), "picoauth.db").touch()
    print(roots[0].id, flush=True)
"""


def test_two_processes_make_one_secret(tmp_path: Path) -> None:
    """Of two that start on nothing at once, one makes the secret, and both read it whole."""
    command = [sys.executable, "-c", LOADING]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with ExitStack() as stack:
        both = [stack.enter_context(subprocess.Popen(command, **pipes)) for _ in range(2)]
        for process in both:
            stack.callback(process.kill)
        assert ["ready\n"] * 2 == [line(process) for process in both]
        ids = [made_by(both, tmp_path / str(number)) for number in range(40)]
    assert (40, {1}) == (len(set(map(str, ids))), {len(set(pair)) for pair in ids})
    assert {"picoauth.secret", "picoauth.db"} == {path.name for path in tmp_path.glob("*/*")}


def made_by(processes: Sequence[subprocess.Popen[bytes]], folder: Path) -> list[str]:
    """Ids of the secrets that the processes have, who are let go at once."""
    folder.mkdir()
    for process in processes:
        assert process.stdin
        process.stdin.write(f"{folder}\n".encode())
        process.stdin.flush()
    return [line(process) for process in processes]


def line(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout
    return process.stdout.readline().decode()


def test_missing_secret_of_a_database(tmp_path: Path) -> None:
    """A database whose secret is gone gets no new one: it could not be read with it."""
    (tmp_path / "picoauth.db").touch()
    path = tmp_path / "picoauth.secret"
    sentence = (
        f"{path} is missing, but the database picoauth.db exists and needs it: "
        "put the secret back from your backup."
    )
    with pytest.raises(ConfigError, match=exactly(sentence)):
        load(settings(tmp_path), os.urandom)
    assert not path.exists()


def test_file_of_somebody_else() -> None:
    """The commonest slip is to be another user: the sentence says what to do."""
    denied = "Permission denied. Run this as the user that the server runs as, or give that user"
    assert f"{denied} the file and its folder." == reason(PermissionError(13, "Permission denied"))
    assert "Is a directory." == reason(IsADirectoryError(21, "Is a directory"))


def test_secret_that_cannot_be_made(tmp_path: Path) -> None:
    """A folder that is not there is told."""
    path = tmp_path / "none" / "a.secret"
    sentence = f"The secret {path} cannot be made: No such file or directory."
    with pytest.raises(ConfigError, match=exactly(sentence)):
        load(settings(tmp_path, 'secret = { file = "none/a.secret" }'), os.urandom)


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o620, 0o601])
def test_secret_that_others_may_open(tmp_path: Path, mode: int) -> None:
    """A secret is its owner's alone, each of a list (D-5)."""
    listed = 'secret = [{ file = "new" }, { file = "old" }]'
    for name, value in (("new", NEW), ("old", OLD)):
        (tmp_path / name).write_bytes(base64.b64encode(value))
        (tmp_path / name).chmod(0o600)
    assert 2 == len(load(settings(tmp_path, listed), os.urandom).roots)
    path = tmp_path / "old"
    path.chmod(mode)
    sentence = f"{path} can be read by other users: run `chmod 600 {path}`."
    with pytest.raises(ConfigError, match=exactly(sentence)):
        load(settings(tmp_path, listed), os.urandom)


@pytest.mark.parametrize(
    ("value", "good"),
    [
        (base64.b64encode(OLD), True),
        (OLD.hex().encode(), True),
        (b"0123456789" * 7, True),  # ten different bytes are the least
        (b"0123456789abcdef" * 2, False),  # hexadecimal digits of 128 bits
        (OLD.hex().encode()[:63], False),
        (b"thisisaverysecretpassword1234567890", False),  # a person's
        (b"correct horse battery staple, and so on.", False),
        (base64.b64encode(OLD)[:31], False),
        (b"a" * 64, False),
        (b"012345678" * 4, False),
        (b"changeme", False),
    ],
)
def test_weak_secrets_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: bytes, *, good: bool
) -> None:
    """What is short or regular was not drawn at random (K-1)."""
    monkeypatch.setenv("PICOAUTH_TEST_SECRET", value.decode())
    from_env = settings(tmp_path, 'secret = { env = "PICOAUTH_TEST_SECRET" }')
    if good:
        assert value == load(from_env, os.urandom).roots[0].key
        return
    sentence = WEAK.format("env PICOAUTH_TEST_SECRET")
    with pytest.raises(ConfigError, match=exactly(sentence)):
        load(from_env, os.urandom)
    assert [] == list(tmp_path.iterdir())


async def test_wrong_secret_is_a_sentence(tmp_path: Path) -> None:
    """A server that got another secret says so at its start; with both it starts."""
    plugins = {"key": PLUGINS["key"]}
    async with serving(tmp_path, 'plugins = ["key"]', plugins=plugins):
        pass
    path = tmp_path / "picoauth.secret"
    path.rename(tmp_path / "old")
    path.write_bytes(base64.b64encode(NEW))
    path.chmod(0o600)
    with pytest.raises(ConfigError, match=exactly(FOREIGN)):
        async with serving(tmp_path, 'plugins = ["key"]', plugins=plugins):
            pass
    listed = 'plugins = ["key"]\nsecret = [{ file = "picoauth.secret" }, { file = "old" }]'
    async with serving(tmp_path, listed, plugins=plugins) as server:
        assert 1 == len(server.auth.keys.active)
