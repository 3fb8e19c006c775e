"""The page about imports: its scripts, run on what other systems export."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from picoauth.testing import Server, serving
from tests.pages import DOCS, blocks

SCRIPT = str(Path(sys.executable).with_name("picoauth"))
BLOCKS = list(blocks(DOCS / "import.md"))
ON = 'plugins = ["password"]\n'
PASSWORD = "correct horse"
SALT = b"0123456789abcdef"
DJANGO = """
import django
from django.conf import settings

settings.configure(
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    PASSWORD_HASHERS=["django.contrib.auth.hashers.PBKDF2PasswordHasher"],
    USE_TZ=True,
)
django.setup()
from django.contrib.auth import get_user_model
from django.core.management import call_command

call_command("migrate", verbosity=0)
User = get_user_model()
User.objects.create_user("ann", "ann@example.com", "correct horse", first_name="Ann")
User.objects.create_user("bob", is_active=False)
"""


def block(first: str) -> str:
    [found] = [one.text for one in BLOCKS if one.text.startswith(first)]
    return found


def converted(name: str, given: str, before: str = "") -> str:
    """What a script of the page writes."""
    done = subprocess.run(
        [sys.executable, "-c", before + block(f"# {name}")],
        input=given,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def b64(value: bytes) -> str:
    return base64.b64encode(value).decode()


def imported(folder: Path, lines: str, settings: str = ON) -> dict[str, Any]:
    (folder / "picoauth.toml").write_text(settings, encoding="utf-8")
    done = subprocess.run(
        [SCRIPT, "users", "import", "-", "--json"],
        cwd=folder,
        input=lines,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "" == done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


async def login(server: Server, password: str = PASSWORD, **who: str) -> int:
    return (await server.post("/auth/login", {**who, "password": password})).status_code


def test_steps(tmp_path: Path) -> None:
    """The steps do what the page says, with the line that it shows."""
    (tmp_path / "picoauth.toml").write_text(ON, encoding="utf-8")
    (tmp_path / "users.jsonl").write_text(block('{"username"'), encoding="utf-8")
    said: Sequence[str] = (
        "1 user would be made, 0 there already.",
        "1 user made, 0 there already.",
    )
    for command, expected in zip(block("picoauth users").splitlines(), said, strict=True):
        done = subprocess.run(
            [SCRIPT, *command.split()[1:]],
            cwd=tmp_path,
            input="rasmuslerdorf\n",
            capture_output=True,
            text=True,
            check=False,
        )
        assert (expected + "\n", "") == (done.stdout, done.stderr)


async def test_django(tmp_path: Path) -> None:
    """Users of Django, with one of its own databases."""
    lines = converted("from_django.py", "", DJANGO)
    assert 2 == imported(tmp_path, lines)["made"]
    async with serving(tmp_path, ON) as server:
        assert 200 == await login(server, username="ann")
        bob = await server.auth.users.find("username", "bob")
        assert bob is not None
        assert bob.disabled_at is not None


async def test_firebase(tmp_path: Path) -> None:
    """Users of Firebase, with the vector that it published."""
    key = "jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA=="
    (tmp_path / "firebase.key").write_text(key, encoding="utf-8")
    tag = "lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRuid5lQ=="
    ann = {
        "email": "ann@example.com",
        "emailVerified": True,
        "passwordHash": tag,
        "salt": "42xEC+ixf3L2lw==",
        "createdAt": "1600000000000",
    }
    bob = {"email": "bob@example.com", "emailVerified": True, "createdAt": "1600000000000"}
    lines = converted("from_firebase.py", json.dumps({"users": [ann, bob]}))
    settings = block("plugins")
    assert 2 == imported(tmp_path, lines, settings)["made"]
    async with serving(tmp_path, settings) as server:
        assert 200 == await login(server, "user1password", email="ann@example.com")


async def test_auth0(tmp_path: Path) -> None:
    """Users of Auth0, by bcrypt."""
    text = "$2b$04$usesomesillystringforeSZ3saLXGnQtLrpxgqydzBYMhY/4iDpG"
    ann = {"email": "ann@example.com", "email_verified": True, "passwordHash": text}
    assert 1 == imported(tmp_path, converted("from_auth0.py", json.dumps(ann)))["made"]
    async with serving(tmp_path, ON) as server:
        assert 200 == await login(server, "rasmuslerdorf", email="ann@example.com")


def keycloak(name: str, value: bytes, **data: Any) -> dict[str, Any]:
    secret = {"value": b64(value), "salt": b64(SALT), "additionalParameters": {}}
    credential = {
        "type": "password",
        "secretData": json.dumps(secret),
        "credentialData": json.dumps(data),
    }
    return {
        "username": name,
        "createdTimestamp": 1_600_000_000_000,
        "enabled": True,
        "credentials": [credential],
    }


async def test_keycloak(tmp_path: Path) -> None:
    """Users of Keycloak, by PBKDF2 and by Argon2."""
    from argon2.low_level import Type, hash_secret_raw

    value = hashlib.pbkdf2_hmac("sha512", PASSWORD.encode(), SALT, 1000, 64)
    ann = keycloak("ann", value, algorithm="pbkdf2-sha512", hashIterations=1000)
    parameters = {"memory": ["7168"], "type": ["id"], "version": ["1.3"], "parallelism": ["1"]}
    value = hash_secret_raw(PASSWORD.encode(), SALT, 5, 7168, 1, 32, Type.ID)
    bob = keycloak(
        "bob", value, algorithm="argon2", hashIterations=5, additionalParameters=parameters
    )
    carl = {**keycloak("carl", b""), "credentials": [], "email": "c@example.com", "firstName": "C"}
    lines = converted("from_keycloak.py", json.dumps({"users": [ann, bob, carl]}))
    assert 3 == imported(tmp_path, lines)["made"]
    async with serving(tmp_path, ON) as server:
        for name in ("ann", "bob"):
            assert 200 == await login(server, username=name)


def test_csv(tmp_path: Path) -> None:
    """Users of a table."""
    table = "username,email,email_verified,name\nann,ann@example.com,true,Ann\nbob,,,\n"
    assert 2 == imported(tmp_path, converted("from_csv.py", table))["made"]
