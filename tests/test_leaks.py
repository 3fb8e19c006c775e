"""No secret that a client holds, and none of the server's, is found where it could be read."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from picoauth import Event
from picoauth.secrets import Place
from picoauth.testing import Server, serving
from tests.accounts import heard, user_id
from tests.factors import PLUGINS, code_of

SETTINGS = 'plugins = ["password", "code", "key"]\n[throttle]\nfailures = 1000'
PASSWORD, CHANGED, WRONG, TYPED = (
    f"marked {what} 7d1f8c" for what in ("password", "changed password", "wrong one", "typed name")
)


def forms(secret: str | bytes) -> Iterator[bytes]:
    """The spellings in which a secret could stand somewhere."""
    raw = secret.encode() if isinstance(secret, str) else secret
    yield raw
    yield raw.hex().encode()
    yield raw.hex().upper().encode()
    for offset in range(3):  # base64 of a text that it is part of
        coded = base64.b64encode(bytes(offset) + raw)
        middle = coded[-(-offset * 8 // 6) : len(coded) - 4]
        yield middle
        yield middle.replace(b"+", b"-").replace(b"/", b"_")
    yield json.dumps(raw.decode("latin-1"))[1:-1].encode()


class Journey:
    """Ann's way through the server, and each secret that she or a stranger held on it."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.secrets: dict[str, str | bytes] = {}
        self.known = {"password": PASSWORD, "changed": CHANGED, "wrong": WRONG, "typed": TYPED}

    def keep(self, answer: dict[str, Any]) -> dict[str, Any]:
        for name in ("access_token", "refresh_token", "flow"):
            if name in answer:
                self.secrets[f"{name} {len(self.secrets)}"] = answer[name]
        return answer

    async def post(self, path: str, body: Any = None, token: str | None = None) -> dict[str, Any]:
        answer = await self.server.post(path, body, token=token)
        return self.keep(answer.json() if answer.content else {})

    async def whole(self) -> None:
        ann = {"username": "ann", "password": PASSWORD}
        await self.post("/auth/register", ann)
        first = await self.post("/auth/login", ann)
        token = (await self.post("/key/enrol", token=first["access_token"]))["access_token"]
        begun = await self.post("/auth/stepup/begin", {"factor": "key"}, token)
        proof = {"factor": "key", "owner": "ann", "flow": begun["flow"]}
        token = (await self.post("/auth/stepup", proof, token))["access_token"]
        await self.failures(ann, token)
        begun = await self.post("/auth/login/begin", {"factor": "key"})
        key = {"factor": "key", "owner": "ann", "flow": begun["flow"]}
        more = await self.post("/auth/login", key)
        tokens = await self.post("/auth/login", {"flow": more["flow"], **ann})
        answer = await self.server.send(
            "PUT", "/auth/password", {"password": CHANGED}, token=tokens["access_token"]
        )
        tokens = self.keep(answer.json())
        await self.tokens(tokens)
        await self.ticket()
        self.root()

    async def failures(self, ann: dict[str, str], token: str) -> None:
        """What goes wrong is what logs are written of."""
        await self.post("/auth/login", {**ann, "password": WRONG})
        await self.post("/auth/login", {"username": TYPED, "password": PASSWORD})
        await self.post("/auth/login", {"username": "ann", "password": PASSWORD, "key": WRONG})
        await self.post("/auth/login", {"flow": token, **ann})
        await self.post("/auth/login", {"password": PASSWORD, "surprise": WRONG})
        await self.post("/auth/register", {"username": TYPED, "password": PASSWORD, "x": WRONG})
        await self.post("/jwt/refresh", token=token)
        await self.server.client.post("/jwt/refresh", content=PASSWORD)
        await self.server.get("/auth/me", token=f"{token}x")
        await self.server.get(f"/auth/factors/{PASSWORD}", token=token)
        self.server.auth.events.recorders = {"bug": raising}
        answer = await self.server.post("/auth/login", {**ann, "password": WRONG})
        assert (500, "internal_error") == code_of(answer)
        self.server.auth.events.recorders = {}

    async def tokens(self, tokens: dict[str, Any]) -> None:
        """Refresh twice, use a spent token, and log out of what is left."""
        spent = tokens["refresh_token"]
        for _ in range(2):
            self.server.clock.advance(20)
            tokens = await self.post("/jwt/refresh", token=tokens["refresh_token"])
        assert {"access_token", "refresh_token"} <= tokens.keys()
        await self.post("/jwt/validate", token=tokens["access_token"])
        stolen = await self.server.post("/jwt/refresh", token=spent)
        assert "session_ended" == stolen.json()["code"]
        last = await self.post("/auth/login/begin", {"factor": "key"})
        assert "flow" in last

    async def ticket(self) -> None:
        auth = self.server.auth
        secret, issuing = auth.tickets.issue(
            "reset", {}, expires_at=auth.now() + 60, user_id=await user_id(self.server)
        )
        await auth.database.write(issuing)
        self.secrets["ticket"] = secret

    def root(self) -> None:
        """The server's own: the root secret, and all that is derived from it or signs."""
        auth = self.server.auth
        text = (self.server.folder / "picoauth.secret").read_bytes().strip()
        self.secrets |= {"root": text, "root bytes": base64.urlsafe_b64decode(text)}
        for purpose in ("pepper", "seal", "typed", "retired name", "refresh rotating"):
            [self.secrets[f"key of {purpose}"]] = auth.secrets.derive(purpose).values()
        [key] = auth.keys.active.values()
        private = key.key.as_dict(private=True)
        self.secrets["signing key"] = base64.urlsafe_b64decode(f"{private['d']}==")


def raising(_: Event) -> Any:
    raise RuntimeError("a bug of a plugin")


@asynccontextmanager
async def journeys(folder: Path) -> AsyncIterator[Journey]:
    async with serving(folder, SETTINGS, plugins=PLUGINS) as server:
        yield Journey(server)


CLIENT = ("httpx", "httpcore")
"""The test's own client logs what it sends."""


async def test_no_secret_is_found(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Neither row, log, event nor trace has a secret, in whatever spelling (L-2)."""
    caplog.set_level(logging.DEBUG)
    async with journeys(tmp_path) as journey:
        events = heard(journey.server)
        await journey.whole()
        await journey.server.auth.events.settle()
        rows = await everything(journey.server)
    places = {
        "rows": rows,
        "log": "\n".join(logged(r) for r in caplog.records if r.name not in CLIENT).encode(),
        "events": repr(events).encode(),
    }
    assert [] == found(journey, places)
    assert b"a bug of a plugin" in places["log"]


@pytest.mark.embedded
async def test_no_secret_is_in_the_file(tmp_path: Path) -> None:
    """Neither while the server runs nor after its end."""
    async with journeys(tmp_path) as journey:
        await journey.whole()
        running = files(tmp_path)
    places = {"file while it runs": running, "file after the end": files(tmp_path)}
    assert [] == found(journey, places)


def found(journey: Journey, places: Mapping[str, bytes]) -> list[tuple[str, str]]:
    """Which secret is where; there is enough to look for, and to look at."""
    for name, place in places.items():
        assert len(place) > 2000, name
    secrets: dict[str, str | bytes] = {**journey.secrets, **journey.known}
    assert len(secrets) > 25
    return [
        (place, secret)
        for place, content in places.items()
        for secret, value in secrets.items()
        for form in {*forms(value), *parts(value)}
        if form in content
    ]


def parts(secret: str | bytes) -> set[bytes]:
    """The parts of a token but for its header, which is everyone's."""
    text = secret if isinstance(secret, str) else ""
    return {part.encode() for part in text.split(".")[1:]} if text.count(".") == 2 else set()


def files(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.glob("picoauth.db*")))


def logged(record: logging.LogRecord) -> str:
    """All that a handler could write of a record, its exception included."""
    return f"{logging.Formatter().format(record)} {record.args!r}"


async def everything(server: Server) -> bytes:
    """Every row of every table."""
    database = server.auth.database
    tables = await database.read("select name from sqlite_master where type = 'table'")
    rows = [await database.read(f"select * from {table}") for (table,) in tables]
    return repr(rows).encode()


def test_forms_find_what_they_should() -> None:
    """The search notices a secret in the spellings that matter."""
    secret = "marked secret of some length"
    for hidden in (
        secret.encode(),
        secret.encode().hex().encode(),
        base64.b64encode(secret.encode()),
        base64.urlsafe_b64encode(b"x" + secret.encode() + b"y"),
        base64.b64encode(f'{{"a": "{secret}"}}'.encode()),
    ):
        assert any(form in b"before " + hidden + b" after" for form in forms(secret))
    assert not any(form in b"another secret of some length" for form in forms(secret))


@pytest.mark.embedded
async def test_sealed_value_is_where_it_should_be(tmp_path: Path) -> None:
    """The search would find the signing key, were it not sealed: its row is there."""
    async with journeys(tmp_path) as journey:
        auth = journey.server.auth
        [(key_id, algorithm, sealed)] = await auth.database.read(
            "select id, algorithm, sealed from signing_keys"
        )
        opened = auth.secrets.open(Place("signing_keys", "sealed", f"{key_id} {algorithm}"), sealed)
        assert (True, False) == (sealed in files(tmp_path), opened in files(tmp_path))
