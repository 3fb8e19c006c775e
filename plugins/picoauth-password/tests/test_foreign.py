"""Hashes of other systems: made by them, verified here, renewed at the next login, never a fault."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import argon2
import bcrypt
import pytest
from django.conf import settings as django_settings
from hypothesis import given, settings
from hypothesis import strategies as st
from werkzeug.security import generate_password_hash

from picoauth import Caller, ConfigError, Denied, Statement, Unavailable
from picoauth.exporting import exported
from picoauth.importing import Importer, Report
from picoauth.testing import Server, serving
from picoauth_password import PasswordPlugin
from picoauth_password.factor import USED
from picoauth_password.foreign import Unreadable, read
from picoauth_password.foreignhashes import NO_BCRYPT, ForeignHashes, computed
from picoauth_password.hashing import Hasher, Stored, WrongPassword
from picoauth_password.plugin import MIGRATIONS
from picoauth_password.schemes import Pbkdf2

SIGNER = "jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA=="
SIGNER_KEY = base64.b64decode(SIGNER)
FIREBASE = (
    "$fbscrypt$v=1,n=14,r=8,p=1,ss=Bw==$42xEC+ixf3L2lw==$"
    "lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRuid5lQ=="
)
"""Published by Firebase, at github.com/firebase/scrypt."""
PASSWORD = "correct hörse"
PATIENCE = 20_000
"""Iterations that a test waits for."""

DJANGO = {
    "pbkdf2_sha256": "PBKDF2PasswordHasher",
    "pbkdf2_sha1": "PBKDF2SHA1PasswordHasher",
    "argon2": "Argon2PasswordHasher",
    "bcrypt_sha256": "BCryptSHA256PasswordHasher",
    "bcrypt": "BCryptPasswordHasher",
    "scrypt": "ScryptPasswordHasher",
}
if not django_settings.configured:
    django_settings.configure()


def of_django(name: str) -> str:
    """Bcrypt makes its own salt."""
    from django.contrib.auth import hashers

    hasher: Any = getattr(hashers, DJANGO[name])()
    if hasattr(hasher, "rounds"):
        hasher.rounds = 4
    return str(hasher.encode(PASSWORD, hasher.salt()))


MADE: Mapping[str, Any] = {
    **{name: lambda name=name: of_django(name) for name in DJANGO},
    **{
        f"bcrypt {prefix}": lambda prefix=prefix: (
            bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4))
            .decode()
            .replace("$2b$", f"${prefix}$")
        )
        for prefix in ("2a", "2b", "2y")
    },
    **{
        f"werkzeug {method}": lambda method=method: generate_password_hash(PASSWORD, method=method)
        for method in ("scrypt", "pbkdf2:sha1:1000", "pbkdf2:sha256:1000", "pbkdf2:sha512:1000")
    },
    **{
        f"argon2{kind.name}": lambda kind=kind: argon2.PasswordHasher(
            time_cost=1, memory_cost=64, parallelism=1, type=kind
        ).hash(PASSWORD)
        for kind in argon2.Type
    },
}
"""Made by the libraries of the systems themselves."""

PUBLISHED = {
    "passlib pbkdf2": (
        "$pbkdf2-sha256$6400$0ZrzXitFSGltTQnBWOsdAw$Y11AchqV4b0sUisdZd0Xr97KWoymNE0LNNrnEgY4H9M",
        "password",
    ),
    "passlib scrypt": (
        "$scrypt$ln=16,r=8,p=1$aM15713r3Xsvxbi31lqr1Q$nFNh2CVHVjNldFVKDHDlm4CbdRSCdEBsjjJxD+iCs5E",
        "password",
    ),
    "php": ("$2y$07$usesomesillystringfore2uDLvp1Ii2e./U9C8sBjqp8I90dH6hi", "rasmuslerdorf"),
    "php, odd bits": (
        "$2y$07$usesomesillystringfors2uDLvp1Ii2e./U9C8sBjqp8I90dH6hi",
        "rasmuslerdorf",
    ),
    "firebase": (FIREBASE, "user1password"),
}


def fits(text: str, password: str) -> bool:
    scheme = read(text, SIGNER_KEY)
    return computed(scheme, password) == scheme.tag


@pytest.mark.parametrize("name", MADE)
def test_made_by_others(name: str) -> None:
    """What the library of another system made fits its password, and no other."""
    text = MADE[name]()
    assert fits(text, PASSWORD)
    assert not fits(text, f"{PASSWORD}!")
    assert not fits(text, "")


@pytest.mark.parametrize("name", PUBLISHED)
def test_published(name: str) -> None:
    """Vectors that others published."""
    text, password = PUBLISHED[name]
    assert fits(text, password)
    assert not fits(text, f"{password}!")


def test_old_argon2() -> None:
    """Version 1.0 of Argon2, which wrote no version."""
    raw = argon2.low_level.hash_secret_raw(
        b"x", b"saltsalt", 1, 64, 1, 32, argon2.Type.I, version=16
    )
    parts = [base64.b64encode(one).rstrip(b"=").decode() for one in (b"saltsalt", raw)]
    assert fits("$argon2i$m=64,t=1,p=1${}${}".format(*parts), "x")


def test_bcrypt_is_cut_as_ever() -> None:
    """Bcrypt takes 72 bytes, as everywhere; Django's, of a digest, all of them."""
    text = bcrypt.hashpw(b"x" * 72, bcrypt.gensalt(4)).decode()
    assert fits(text, "x" * 80)
    assert not fits(text, "x" * 71)


def test_bcrypt_and_nul() -> None:
    """A password with NUL fits no hash by bcrypt: in C, it would be a shorter one."""
    text = bcrypt.hashpw(b"x", bcrypt.gensalt(4)).decode()
    assert not fits(text, "x\0y")
    assert not fits(bcrypt.hashpw(b"x\0y", bcrypt.gensalt(4)).decode(), "x\0y")


def phc(kind: str, salt: int = 16, tag: int = 32) -> str:
    parts = [base64.b64encode(bytes(size)).rstrip(b"=").decode() for size in (salt, tag)]
    return "{}${}${}".format(kind, *parts)


REFUSED = {
    "": "is in a format that is unknown here",
    "!": "is in a format that is unknown here",
    "x" * 1025: "has more than 1024 characters",
    "md5$salt$5f4dcc3b5aa765d61d8327deb882cf99": "is in a format that is unknown here",
    "$2x$04$usesomesillystringforeSZ3saLXGnQtLrpxgqydzBYMhY/4iDpG": "is in a format that is unknown here",
    "$2b$17$usesomesillystringforeSZ3saLXGnQtLrpxgqydzBYMhY/4iDpG": "has a cost of 17, which must be from 4 to 16",
    "$2b$03$usesomesillystringforeSZ3saLXGnQtLrpxgqydzBYMhY/4iDpG": "has a cost of 3, which must be from 4 to 16",
    phc(
        "$pbkdf2-sha256$i=1000000000"
    ): "has iterations of 1000000000, which must be from 1 to 5000000",
    phc(
        "$pbkdf2-sha1$i=2000000", tag=64
    ): "has iterations of 8000000, which must be from 1 to 5000000",
    phc("$pbkdf2-sha256$i=1000", tag=15): "has a digest of 15 bytes, where 16 to 128 belong",
    phc("$pbkdf2-sha256$i=1000", tag=129): "has a digest of 129 bytes, where 16 to 128 belong",
    phc("$pbkdf2-sha256$i=1000", salt=257): "has a salt of 257 bytes, where 1 to 256 belong",
    phc(
        "$scrypt$ln=99,r=6,p=1"
    ): "is by scrypt with an n that is no power of two, or too great for its r",
    phc(
        "$scrypt$ln=16,r=1,p=1"
    ): "is by scrypt with an n that is no power of two, or too great for its r",
    phc("$scrypt$ln=19,r=8,p=1"): "has a memory of 536870912, which must be from 1 to 268435456",
    phc(
        "$scrypt$ln=16,r=8,p=17"
    ): "has a memory by p of 1140850688, which must be from 1 to 1073741824",
    phc(
        "$scrypt$ln=16,r=9999999999,p=1"
    ): "has an r of 9999999999, which must be from 1 to 64",  # two to its power: 20 GB
    phc("$scrypt$ln=1,r=65,p=1"): "has an r of 65, which must be from 1 to 64",
    phc("$scrypt$ln=1,r=8,p=65"): "has a p of 65, which must be from 1 to 64",
    f"scrypt$16385$salt$8$1${'A' * 43}=": "is by scrypt with an n that is no power of two, or too great for its r",
    phc("$argon2id$v=19$m=65536,t=3,p=17"): "has a p of 17, which must be from 1 to 16",
    phc(
        "$argon2id$v=19$m=999999,t=1,p=1"
    ): "has a memory of 1023998976, which must be from 8192 to 268435456",
    phc(
        "$argon2id$v=19$m=262144,t=9,p=1"
    ): "has a memory by passes of 2415919104, which must be from 268435456 to 1073741824",
    phc("$argon2id$v=19$m=65536,t=3,p=4", salt=7): "has a salt of 7 bytes, where 8 to 256 belong",
    "$pbkdf2-sha256$i=1$AB$" + "A" * 43: "is in a format that is unknown here",
    f"{FIREBASE[:-4]}h==": "is in a format that is unknown here",
    phc("$fbscrypt$v=1,n=14,r=8,p=1,ss=Bw=="): "is of a project with another firebase_signer_key",
}


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: text[:40])
def test_refused(text: str) -> None:
    """What cannot be verified, or would cost too much, is refused in a clause without its value."""
    with pytest.raises(Unreadable) as refused:
        read(text, SIGNER_KEY)
    assert REFUSED[text] == str(refused.value)


def test_firebase_without_its_key() -> None:
    """Without the key of the project nothing fits."""
    with pytest.raises(Unreadable, match=r"^is Firebase's: set firebase_signer_key in"):
        read(FIREBASE, None)


SAMPLES = [MADE[name]() for name in ("bcrypt 2b", "werkzeug pbkdf2:sha1:1000", "argon2ID")]
SAMPLES += [phc("$scrypt$ln=4,r=1,p=1"), phc("$pbkdf2-sha512$i=10"), FIREBASE]


@settings(deadline=None)
@given(st.data())
def test_malformed(data: st.DataObject) -> None:
    """A hash that is damaged anywhere is refused, or fits nothing: it is never a fault (P-12)."""
    text = data.draw(st.sampled_from(SAMPLES[:-1]) | st.text())
    place = data.draw(st.integers(0, len(text)))
    damaged = text[:place] + data.draw(st.text(max_size=3)) + text[place + 1 :]
    try:
        scheme = read(damaged, SIGNER_KEY)
    except Unreadable:
        return
    if isinstance(scheme, Pbkdf2) and scheme.iterations < PATIENCE:
        assert computed(scheme, "") != scheme.tag


@settings(deadline=None)
@given(st.text())
def test_nothing_fits_nothing(password: str) -> None:
    """Whatever is typed does not fit a tag of zeros."""
    assert not fits(phc("$pbkdf2-sha256$i=1"), password.encode(errors="ignore").decode())


ON = 'plugins = ["password"]'


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with serving(tmp_path, ON) as found:
        yield found


async def imported(server: Server, *lines: Mapping[str, Any]) -> Report:
    text = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    importer = Importer(server.auth, Caller())
    report, _ = importer.check(io.BytesIO(text), lambda _: None)
    return report if report.refusals else await importer.run(io.BytesIO(text), lambda _: None)


def line(text: Any, username: str = "ann") -> dict[str, Any]:
    return {"username": username, "password_hash": text}


async def login(server: Server, password: str = PASSWORD, username: str = "ann") -> int:
    body = {"username": username, "password": password}
    return (await server.post("/auth/login", body)).status_code


async def stored(server: Server) -> list[tuple[str, str]]:
    return await server.auth.database.read("select hash, pepper_id from password")


async def test_login_renews(server: Server) -> None:
    """The first login verifies the other system's hash, and leaves one of ours."""
    text = MADE["werkzeug pbkdf2:sha256:1000"]()
    assert 1 == (await imported(server, line(text))).made
    assert [(text, "")] == await stored(server)
    assert 401 == await login(server, "wrong")
    assert 401 == await login(server, "")
    assert [(text, "")] == await stored(server)
    assert 200 == await login(server)
    [(renewed, pepper)] = await stored(server)
    assert renewed.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert pepper
    assert 200 == await login(server)
    assert [(renewed, pepper)] == await stored(server)


async def test_renewing_never_undoes_a_change(server: Server) -> None:
    """A login under way while the password changes does not bring the old one back."""
    text = MADE["werkzeug pbkdf2:sha256:1000"]()
    await imported(server, line(text))
    plugin = server.auth.plugin(PasswordPlugin)
    user = await server.auth.users.find("username", "ann")
    assert user is not None
    statements = await plugin.passwords.renewing(user.id, Stored(text, ""), PASSWORD)
    await plugin.set_password("ann", "another horse battery")
    changed = await stored(server)
    await server.auth.database.write(*statements)
    assert changed == await stored(server)


async def test_many_logins_at_once(server: Server) -> None:
    """Eight first logins at once: each gets in or is told to wait, and one hash of ours is left."""
    await imported(server, line(MADE["werkzeug pbkdf2:sha256:1000"]()))
    statuses = await asyncio.gather(*(login(server) for _ in range(8)))
    assert {200, 503} >= set(statuses)
    assert 200 in statuses
    [(text, _)] = await stored(server)
    assert text.startswith("$argon2id$v=19$")


async def test_disabled_users(server: Server) -> None:
    """Who is disabled is not let in by an old hash, which stays as it is."""
    text = MADE["werkzeug pbkdf2:sha256:1000"]()
    await imported(server, {**line(text), "disabled": True})
    assert 401 == await login(server)
    assert [(text, "")] == await stored(server)


async def test_altered_hash(server: Server) -> None:
    """A hash that was altered in the database fits nothing, and breaks nothing (P-12)."""
    await imported(server, line(MADE["werkzeug pbkdf2:sha256:1000"]()))
    for text in ("", "x", "$2b$31$usesomesillystringforeSZ3saLXGnQtLrpxgqydzBYMhY/4iDpG", FIREBASE):
        await server.auth.database.write(Statement("update password set hash = ?", (text,)))
        assert 401 == await login(server)
        assert 401 == await login(server, "")


async def test_work_for_ours_is_done_too(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong password takes what nobody's takes, and the other system's work (P-8)."""
    await imported(server, line(MADE["werkzeug pbkdf2:sha256:1000"]()))
    hasher = server.auth.plugin(PasswordPlugin).hasher
    ran: list[Any] = []
    run = hasher.run

    async def counted(work: Any) -> bytes:
        ran.append(work.func.__name__)
        return await run(work)

    monkeypatch.setattr(hasher, "run", counted)
    assert 401 == await login(server, "wrong")
    assert ["keyed", "computed"] == ran


OBJECTS = {
    "pbkdf2": {
        "algorithm": "pbkdf2-sha256",
        "iterations": 6400,
        "salt": "0ZrzXitFSGltTQnBWOsdAw==",
        "hash": "Y11AchqV4b0sUisdZd0Xr97KWoymNE0LNNrnEgY4H9M",
    },
    "scrypt": {
        "algorithm": "scrypt",
        "n": 65536,
        "r": 8,
        "p": 1,
        "salt": "aM15713r3Xsvxbi31lqr1Q",
        "hash": "nFNh2CVHVjNldFVKDHDlm4CbdRSCdEBsjjJxD-iCs5E=",
    },
    "firebase": {
        "algorithm": "firebase-scrypt",
        "rounds": 8,
        "mem_cost": 14,
        "salt_separator": "Bw==",
        "salt": "42xEC-ixf3L2lw==",
        "hash": FIREBASE.rpartition("$")[2],
    },
}


def keyed(folder: Path, key: str = SIGNER) -> str:
    (folder / "signer").write_text(f"{key}\n")
    return f'{ON}\n[password]\nfirebase_signer_key = {{ file = "signer" }}'


@pytest.mark.parametrize(
    ("name", "password"),
    [("pbkdf2", "password"), ("scrypt", "password"), ("firebase", "user1password")],
)
async def test_objects(tmp_path: Path, name: str, password: str) -> None:
    """Parts that stand apart, as dumps have them, are put into a format."""
    async with serving(tmp_path, keyed(tmp_path)) as server:
        assert 1 == (await imported(server, line(OBJECTS[name]))).made
        assert 401 == await login(server, "wrong")
        assert 200 == await login(server, password)


ALGORITHMS = "pbkdf2-sha1, pbkdf2-sha256, pbkdf2-sha512, scrypt, firebase-scrypt"
ODD: list[tuple[Any, str]] = [
    (7, "password_hash must be a text, or an object"),
    (
        {"algorithm": "md5"},
        f"password_hash has an algorithm that is none of {ALGORITHMS}",
    ),
    (
        {"algorithm": "scrypt"},
        "password_hash must have algorithm, n, r, p, salt, hash, and nothing else",
    ),
    (
        {**OBJECTS["scrypt"], "n": "65536"},
        "password_hash has a member n that must be a whole number",
    ),
    ({**OBJECTS["scrypt"], "n": True}, "password_hash has a member n that must be a whole number"),
    ({**OBJECTS["scrypt"], "n": 65535}, "password_hash has an n that is no power of two"),
    ({**OBJECTS["scrypt"], "n": -2}, "password_hash has an n that is no power of two"),
    (
        {**OBJECTS["scrypt"], "salt": ""},
        "password_hash has a member salt that must be a text in Base64",
    ),
    ({**OBJECTS["scrypt"], "salt": "$"}, "password_hash is in a format that is unknown here"),
    (
        "$argon2id$v=19$m=19456,t=2,p=1,keyid=00000000$" + "A" * 22 + "$" + "A" * 43,
        "password_hash hangs on a root secret that `secret` does not list here",
    ),
    (
        "$argon2id$v=19$m=1,t=2,p=1,keyid=00000000$" + "A" * 22 + "$" + "A" * 43,
        "password_hash is none that picoauth wrote",
    ),
]


@pytest.mark.parametrize(("value", "problem"), ODD)
async def test_odd_values(server: Server, value: Any, problem: str) -> None:
    """What is no hash is refused before anything is written."""
    report = await imported(server, line(value))
    assert [problem] == [one.problem for one in report.refused]
    assert [] == await stored(server)


async def test_round_trip(tmp_path: Path) -> None:
    """Our own hashes go to another server with the same secret, and to no other one."""
    one, two, three = (tmp_path / name for name in ("one", "two", "three"))
    for folder in (one, two, three):
        folder.mkdir()
    async with serving(one, ON) as server:
        await server.register("ann")
        foreign = MADE["bcrypt 2b"]()
        await imported(server, line(foreign, "bob"))
        [plain] = [page async for page in exported(server.auth)]
        [page] = [page async for page in exported(server.auth, secrets=True)]
    page.sort(key=lambda user: user["username"])  # made in one second, they come in any order
    assert [False, False] == ["password_hash" in user for user in plain]
    assert [True, False] == ["keyid=" in user["password_hash"] for user in page]
    (two / "picoauth.secret").write_bytes((one / "picoauth.secret").read_bytes())
    (two / "picoauth.secret").chmod(0o600)
    async with serving(two, ON) as server:
        assert 2 == (await imported(server, *page)).made
        await server.login("ann")
        assert 200 == await login(server, username="bob")
    async with serving(three, ON) as server:
        report = await imported(server, *page)
        assert ["password_hash hangs on a root secret that `secret` does not list here"] == [
            one.problem for one in report.refused
        ]


async def test_sample(server: Server) -> None:
    """A user's own password is tried against what a line has."""
    field = Importer(server.auth, Caller()).fields["password_hash"]
    value = field.check(MADE["bcrypt 2b"]())
    await field.prove(value, PASSWORD)
    with pytest.raises(Denied):
        await field.prove(value, "wrong")


def without_bcrypt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("picoauth_password.foreignhashes.find_spec", lambda _: None)


async def test_import_without_bcrypt(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashes by bcrypt are refused where its library is missing."""
    without_bcrypt(monkeypatch)
    report = await imported(server, line(MADE["bcrypt 2b"]()))
    assert [f"password_hash {NO_BCRYPT}"] == [one.problem for one in report.refused]


async def test_start_without_bcrypt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server whose users have hashes by bcrypt does not start without its library."""
    async with serving(tmp_path, ON) as server:
        await imported(server, line(MADE["bcrypt 2b"]()))
    without_bcrypt(monkeypatch)
    with pytest.raises(ConfigError) as refused:
        async with serving(tmp_path, ON):
            pass
    assert (
        "Some passwords have hashes by bcrypt, which is not installed: "
        "run `pip install 'picoauth-password[bcrypt]'`."
    ) == str(refused.value)


async def test_start_without_the_key(tmp_path: Path) -> None:
    """A server whose users have hashes of Firebase does not start without the project's key."""
    async with serving(tmp_path, keyed(tmp_path)) as server:
        await imported(server, line(FIREBASE))
    async with serving(tmp_path, keyed(tmp_path)) as server:
        assert 200 == await login(server, "user1password")
        await imported(server, line(FIREBASE, "bob"))
    with pytest.raises(ConfigError) as refused:
        async with serving(tmp_path, ON):
            pass
    assert (
        "Some passwords have hashes of Firebase: put firebase_signer_key back into "
        "[password], until their users have logged in."
    ) == str(refused.value)


async def test_start_reads_no_hash(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """What imported hashes need is in the index: one query, whatever is missing here."""
    await imported(server, line(MADE["werkzeug pbkdf2:sha256:1000"]()))
    without_bcrypt(monkeypatch)
    passwords, asked = server.auth.plugin(PasswordPlugin).passwords, []
    read = server.auth.database.read

    async def counted(sql: str, args: Any = (), *, slow: bool = False) -> Any:
        asked.append(sql)
        return await read(sql, args, slow=slow)

    monkeypatch.setattr(server.auth.database, "read", counted)
    await passwords.check_peppers()
    assert [USED] == asked


async def test_hashes_of_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those whose kind was not told yet are told apart once, by a migration."""
    texts = {
        "bcrypt": [MADE[name]() for name in ("bcrypt 2a", "bcrypt 2b", "bcrypt 2y")],
        "firebase": [FIREBASE],
        "": [MADE[name]() for name in MADE if "bcrypt" not in name],
    }
    texts["bcrypt"] += [of_django("bcrypt"), of_django("bcrypt_sha256")]
    told = sorted((text, kind) for kind, some in texts.items() for text in some)
    lines = [line(text, f"user{number}") for number, (text, _) in enumerate(told)]
    with monkeypatch.context() as patch:
        patch.setattr("picoauth_password.plugin.MIGRATIONS", MIGRATIONS[:3])
        async with serving(tmp_path, keyed(tmp_path)) as server:
            assert len(told) == (await imported(server, *lines)).made
            assert told == sorted(await stored(server))
            await server.auth.database.write(Statement("update password set pepper_id = ''"))
            await server.register("own")
    async with serving(tmp_path, keyed(tmp_path)) as server:
        found = dict(await stored(server))
        assert dict(told) == {text: found.pop(text) for text, _ in told}
        assert 1 == len(found)
        await server.login("own")


async def test_key_that_is_none(tmp_path: Path) -> None:
    """A signer key that is no Base64 stops the server."""
    with pytest.raises(ConfigError) as refused:
        async with serving(tmp_path, keyed(tmp_path, "§")):
            pass
    assert str(refused.value).startswith("The firebase_signer_key from file ")
    assert str(refused.value).endswith(
        " is no Base64: copy it anew from the password hash parameters of the project."
    )


async def test_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where memory runs out, it is tried again later: nothing is wrong with the password."""

    def full(*_: Any, **__: Any) -> bytes:
        raise MemoryError

    monkeypatch.setattr("hashlib.pbkdf2_hmac", full)
    hasher = Hasher({"a": bytes(32)}, PasswordPlugin.settings_type()().cost)
    foreign = ForeignHashes(hasher, None)
    with pytest.raises(Unavailable, match=r"^there is no memory for a password$"):
        await foreign.verify(phc("$pbkdf2-sha256$i=1"), "x")
    hasher.close()


async def test_surrogates(server: Server) -> None:
    """A lone surrogate is no password, whoever made the hash; the error does not hold it."""
    plugin = server.auth.plugin(PasswordPlugin)
    with pytest.raises(ValueError, match=r"^a password must not have lone surrogates$"):
        await plugin.passwords.verify(Stored(phc("$pbkdf2-sha256$i=1"), ""), "\ud800")


async def test_nothing_is_no_password(server: Server) -> None:
    """An empty password fits nothing, though its hash be right (P-12)."""
    text = generate_password_hash("", method="pbkdf2:sha256:1000")
    foreign = server.auth.plugin(PasswordPlugin).passwords.foreign
    with pytest.raises(WrongPassword):
        await foreign.verify(text, "")
