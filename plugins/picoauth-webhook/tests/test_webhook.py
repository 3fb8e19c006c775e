"""Events at receivers: real servers on loopback, friendly, slow, gone and hostile."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import re
import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

from picoauth import (
    AccessRefused,
    Caller,
    ConfigError,
    Event,
    LoginCompleted,
    LoginFailed,
    MessageDropped,
    Statement,
    Unavailable,
    UserRegistered,
)
from picoauth.testing import PASSWORD, Clock, Server, serving
from picoauth_fetch import Answer
from picoauth_fetch.testing import Asked, Authority, Site, answer, site
from picoauth_webhook import WebhookPlugin
from picoauth_webhook.endpoint import judge
from picoauth_webhook.payload import told

KEYS = (bytes(range(32)), bytes(range(100, 132)))
SECRETS = ["whsec_" + base64.b64encode(key).decode() for key in KEYS]
ONE = '{ env = "HOOK_0" }'


def table(name: str, url: str, more: str = "", secret: str = ONE) -> str:
    lines = f'url = "{url}"\nsecret = {secret}\nprivate = true\ninsecure = true\n{more}\n'
    return f"[webhook.endpoints.{name}]\n{lines}"


@asynccontextmanager
async def hooked(
    folder: Path, *tables: str, above: str = "", clock: Clock | None = None, **receivers: str
) -> AsyncIterator[tuple[Server, list[Site]]]:
    """A server, and receivers with more settings each: all take what comes to `/`."""
    async with AsyncExitStack() as stack:
        sites = [await stack.enter_async_context(site()) for _ in receivers]
        made = [
            table(name, f"http://127.0.0.1:{one.port}/", more)
            for (name, more), one in zip(receivers.items(), sites, strict=True)
        ]
        for one in sites:
            one.answers["/"] = answer(status=204)
        settings = 'plugins = ["password", "webhook"]\n[webhook]\n' + above
        text = "\n".join((settings, *made, *tables))
        server = await stack.enter_async_context(serving(folder, text, clock=clock))
        await server.auth.outbox.flush()  # of the first start, which makes a key
        for one in sites:
            one.asked.clear()
        yield server, sites


def plugin_of(server: Server) -> WebhookPlugin:
    return server.auth.plugin(WebhookPlugin)


def verified(asked: Asked, key: bytes = KEYS[0]) -> dict[str, Any]:
    """As the specification has it, by other means than the plugin's."""
    signed = f"{asked.headers['webhook-id']}.{asked.headers['webhook-timestamp']}.".encode()
    digest = hmac.new(key, signed + asked.body, hashlib.sha256).digest()
    assert f"v1,{base64.b64encode(digest).decode()}" in asked.headers["webhook-signature"].split()
    said: dict[str, Any] = json.loads(asked.body)
    return said


async def outcomes(server: Server) -> list[tuple[Any, ...]]:
    found = await plugin_of(server).kept.list()
    shown = [(one["endpoint"], one["type"], one["state"], one["error"]) for one in found]
    return [one for one in shown if one[1] != "SigningKeyAdded"]


async def test_hook_senders(tmp_path: Path) -> None:
    """An event arrives, signed and whole, and what it says is what the log says."""
    async with hooked(tmp_path, shop="") as (server, [shop]):
        await server.register("ann")
        await server.auth.outbox.flush()
        asked = shop.asked[0]
        assert (asked.method, asked.path) == ("POST", "/")
        assert asked.headers["content-type"] == "application/json"
        assert asked.headers["user-agent"] == "picoauth-webhook/0.1.0"
        assert asked.headers["webhook-timestamp"] == str(server.auth.now())
        said = verified(asked)
        assert set(said) == {"version", "type", "timestamp", "data"}
        assert (said["version"], said["type"]) == (1, "UserRegistered")
        assert datetime.fromisoformat(said["timestamp"]).timestamp() == server.auth.now()
        data = said["data"]
        assert data["user_id"]
        assert data["factors"] == ["password"]
        assert data["address"] == "127.0.0.1"
        assert not {"identifiers", "locale", "languages", "caller", "at"} & set(data)
        tokens = await server.login("ann")
        await server.auth.outbox.flush()
        assert tokens["access_token"] not in str(shop.asked)
        assert tokens["refresh_token"] not in str(shop.asked)
        types = [verified(one)["type"] for one in shop.asked]
        assert types[-1] == "LoginCompleted"
        ids = [one.headers["webhook-id"] for one in shop.asked]
        assert len(set(ids)) == len(ids)
        assert all(re.fullmatch(r"msg_[^.]+", i) for i in ids)


async def test_hook_record(tmp_path: Path) -> None:
    """A change that does not happen is told to nobody: its message is part of its write."""
    async with hooked(tmp_path, shop='events = ["UserRegistered"]') as (server, [shop]):
        await server.register("ann")
        body = {"username": "ann", "password": "correct horse battery staple"}
        assert (await server.post("/auth/register", body)).status_code == 409
        await server.auth.outbox.flush()
        assert len(shop.asked) == 1
        assert await outcomes(server) == [("shop", "UserRegistered", "sent", None)]


async def test_chosen_events(tmp_path: Path) -> None:
    """Each receiver has those that it asked for; failed logins come to no other."""
    settings = {"all": "", "logins": 'events = ["LoginCompleted", "LoginFailed"]'}
    async with hooked(tmp_path, **settings) as (server, [everything, logins]):
        await server.register("ann")
        await server.login("ann")
        assert (
            await server.post("/auth/login", {"username": "ann", "password": "x" * 20})
        ).status_code == 401
        await server.auth.outbox.flush()
        assert {json.loads(one.body)["type"] for one in everything.asked} >= {
            "UserRegistered",
            "LoginCompleted",
        }
        endpoints = server.auth.plugin(WebhookPlugin).endpoints
        kinds = (LoginFailed, AccessRefused, LoginCompleted)
        assert [False, False, True] == [endpoints["all"].wants(kind) for kind in kinds]
        assert "LoginFailed" not in str(everything.asked)
        types = sorted(json.loads(one.body)["type"] for one in logins.asked)
        assert types == ["LoginCompleted", "LoginFailed"]
        assert "x" * 20 not in str(logins.asked)


async def test_two_secrets(tmp_path: Path) -> None:
    """While a secret is changed, whoever knows one of them can verify."""
    both = '[{ env = "HOOK_1" }, { env = "HOOK_0" }]'
    async with site() as shop:
        shop.answers["/"] = answer(status=200)
        made = table("shop", f"http://127.0.0.1:{shop.port}/", secret=both)
        async with hooked(tmp_path, made) as (server, _):
            await server.register("ann")
            await server.auth.outbox.flush()
            assert verified(shop.asked[0], KEYS[0]) == verified(shop.asked[0], KEYS[1])
            with pytest.raises(AssertionError):
                verified(shop.asked[0], bytes(32))


async def test_again_until_it_is_taken(tmp_path: Path) -> None:
    """A refusal is tried again, under the same id, at a time that is signed anew."""
    clock = Clock()
    async with hooked(tmp_path, shop='events = ["UserRegistered"]', clock=clock) as (
        server,
        [shop],
    ):
        shop.answers["/"] = answer(status=500)
        await server.register("ann")
        await server.auth.outbox.flush()
        assert await outcomes(server) == [
            ("shop", "UserRegistered", "waits", "the receiver answered 500")
        ]
        shop.answers["/"] = answer(status=302, Location="http://127.0.0.1:1/")
        clock.advance(15)
        await server.auth.outbox.flush()
        shop.answers["/"] = answer(status=202)
        clock.advance(30)
        await server.auth.outbox.flush()
        assert len(shop.asked) == 3
        assert len({one.headers["webhook-id"] for one in shop.asked}) == 1
        times = [int(one.headers["webhook-timestamp"]) for one in shop.asked]
        assert times == [times[0], times[0] + 15, times[0] + 45]
        assert verified(shop.asked[0]) == verified(shop.asked[2])
        assert await outcomes(server) == [("shop", "UserRegistered", "sent", None)]


@pytest.mark.parametrize(
    ("status", "wait", "seconds"),
    [
        (429, "120", 120),
        (503, "999999", 999999),
        (503, "9" * 5000, 0),
        (503, "Wed, 21 Oct 2026 07:28:00 GMT", 0),
        (503, "-1", 0),
        (404, "", 0),
        (301, "", 0),
        (101, "", 0),
    ],
)
def test_refusals_of_a_receiver(status: int, wait: str, seconds: int) -> None:
    """Nothing but 2xx is done; the wait that is asked for is passed on."""
    with pytest.raises(Unavailable, match=f"^the receiver answered {status}$") as caught:
        judge(Answer("https://x.example/", status, {"retry-after": wait}, b""))
    assert caught.value.retry_after == seconds


async def test_receiver_that_is_gone(tmp_path: Path) -> None:
    """410 ends it at once, and tells so, but not to receivers: that would never end."""
    async with hooked(tmp_path, shop='events = ["UserRegistered"]', all="") as (server, sites):
        for one in sites:
            one.answers["/"] = answer(status=410)
        await server.register("ann")
        await server.auth.outbox.flush()
        await server.auth.outbox.flush()
        dropped = server.events.of(MessageDropped)
        assert {(one.kind, one.why) for one in dropped} == {
            ("webhook:shop", "the receiver is gone (410)"),
            ("webhook:all", "the receiver is gone (410)"),
        }
        assert len(sites[0].asked) == 1
        assert "MessageDropped" not in str(sites[1].asked)


async def test_too_late(tmp_path: Path) -> None:
    """What could not be sent in time is dropped, and reported."""
    clock = Clock()
    more = 'expires = "1h"'
    async with hooked(tmp_path, above=more, shop='events = ["UserRegistered"]', clock=clock) as (
        server,
        [shop],
    ):
        shop.answers["/"] = answer(status=500)
        await server.register("ann")
        await server.auth.outbox.flush()
        server.auth.jobs.offset += 3600
        clock.advance(3600)
        await server.auth.outbox.flush()
        assert [one.why for one in server.events.of(MessageDropped)] == ["it came too late"]
        assert await outcomes(server) == [
            ("shop", "UserRegistered", "given up", "it came too late")
        ]


async def test_slow_receiver_holds_nobody_up(tmp_path: Path) -> None:
    """It is cut off after its time; another gets its events meanwhile."""
    async with hooked(tmp_path, above="timeout = 1", slow="", quick="") as (
        server,
        [slow, quick],
    ):
        slow.answers["/"] = b""
        slow.hanging.add("/")
        for name in ("ann", "bob", "cem", "dan", "eve", "fay"):
            await server.register(name)
        await server.auth.outbox.flush()
        expected = await outcomes(server)
        assert {one[1:] for one in expected if one[0] == "quick"} >= {
            ("UserRegistered", "sent", None)
        }
        assert {one[2:] for one in expected if one[0] == "slow"} == {
            ("waits", "its answer took longer than 1 s")
        }
        assert quick.asked
        assert slow.asked


async def test_private_addresses(tmp_path: Path) -> None:
    """Without `private` an address of one's own is not reached; the message waits for a mended setting."""
    made = table("shop", "https://127.0.0.1:8443/").replace("private = true", "private = false")
    async with hooked(tmp_path, made) as (server, _):
        await server.register("ann")
        await server.auth.outbox.flush()
        [one] = await outcomes(server)
        assert one[2:] == ("waits", "its host is not at a public address")


async def test_certificate_by_setting(tmp_path: Path) -> None:
    """A receiver with a private authority is reached by its file."""
    authority = Authority(tmp_path)
    async with site(authority.context("localhost")) as shop:
        shop.answers["/x"] = answer()
        made = table("shop", f"https://localhost:{shop.port}/x", 'ca = "ca.pem"')
        async with hooked(tmp_path, made) as (server, _):
            await server.register("ann")
            await server.auth.outbox.flush()
            assert verified(shop.asked[-1])["type"] == "UserRegistered"


async def test_replay(tmp_path: Path) -> None:
    """What was sent, or given up, is sent once more under its id; what waits is not."""
    async with hooked(tmp_path, shop='events = ["UserRegistered"]') as (server, [shop]):
        await server.register("ann")
        webhook = plugin_of(server)
        [kept] = await webhook.kept.list()
        assert await webhook.replay(kept["id"]) == "it still waits to be sent"
        await server.auth.outbox.flush()
        results = await asyncio.gather(*(webhook.replay(kept["id"]) for _ in range(50)))
        assert results.count(None) == 1
        assert set(results) == {None, "it still waits to be sent"}
        await server.auth.outbox.flush()
        first, second = shop.asked
        assert first.headers["webhook-id"] == second.headers["webhook-id"] == kept["id"]
        assert verified(first) == verified(second)
        assert await webhook.replay("nothing") == "there is no such message"
        del webhook.endpoints["shop"]
        assert await webhook.replay(kept["id"]) == "its endpoint is no longer in the settings"


async def test_kept_for_a_time(tmp_path: Path) -> None:
    """After it, and with a user, they are gone from the table; nothing of them is in clear."""
    clock = Clock()
    async with hooked(tmp_path, above='keep = "1h"', shop="", clock=clock) as (server, [shop]):
        await server.register("ann")
        await server.auth.outbox.flush()
        webhook = plugin_of(server)
        [job] = [one for one in server.auth.jobs.jobs if one.name == "webhook"]
        assert job.purges
        clock.advance(3600)
        await job.run()
        assert len(await outcomes(server)) == len(shop.asked) == 1
        clock.advance(1)
        await job.run()
        assert await webhook.kept.list() == []


async def test_deleted_user(tmp_path: Path) -> None:
    """Of who is deleted nothing goes out any more but that, and nothing is kept that says who."""
    async with hooked(tmp_path, shop="") as (server, [shop]):
        shop.answers["/"] = answer(status=503)
        await server.register("ann")
        token = (await server.login("ann"))["access_token"]
        await server.auth.outbox.flush()
        shop.asked.clear()  # what was tried in vain, and waits to be tried again
        assert (await server.send("DELETE", "/auth/me", token=token)).status_code == 204
        shop.answers["/"] = answer(status=204)
        await server.auth.outbox.flush()
        assert [verified(one)["type"] for one in shop.asked] == ["UserDeleted"]
        user_id = verified(shop.asked[0])["data"]["user_id"]
        assert [one[1] for one in await outcomes(server)] == ["UserDeleted"]
        connection = sqlite3.connect(tmp_path / "picoauth.db")
        rows = connection.execute("select * from webhook").fetchall()
        connection.close()
        assert user_id not in str(rows)


async def test_nothing_is_kept_in_clear(tmp_path: Path) -> None:
    """Neither address nor user agent stands in the database's file."""
    async with hooked(tmp_path, shop="") as (server, _):
        await server.register("ann")
        headers = {"User-Agent": "canary-agent/1"}
        body = {"username": "ann", "password": PASSWORD}
        answered = await server.client.post("/auth/login", json=body, headers=headers)
        assert answered.status_code == 200
        assert "LoginCompleted" in str(await outcomes(server))
        connection = sqlite3.connect(tmp_path / "picoauth.db")
        rows = connection.execute("select * from webhook").fetchall()
        queued = connection.execute("select * from outbox").fetchall()
        connection.close()
        assert rows
        assert queued
        assert "canary-agent" not in str((rows, queued))
        assert SECRETS[0][6:] not in str((rows, queued))


def test_payload_of_an_event() -> None:
    """Members of the log's line; long texts are cut, nothing of None, nothing for plugins alone."""
    event = LoginCompleted(
        at=1_800_000_000,
        user_id="u",
        session_id="s" * 300,
        factors=("password", "totp"),
        caller=Caller("192.0.2.1", "agent\r\n", "r", languages="de", actor="user:x"),
    )
    assert json.loads(told(event)) == {
        "version": 1,
        "type": "LoginCompleted",
        "timestamp": "2027-01-15T08:00:00+00:00",
        "data": {
            "user_id": "u",
            "session_id": "s" * 200,
            "factors": ["password", "totp"],
            "address": "192.0.2.1",
            "user_agent": "agent\r\n",
            "request_id": "r",
            "actor": "user:x",
        },
    }
    registered = UserRegistered(at=0, user_id="u", locale="de")
    assert json.loads(told(registered))["data"] == {
        "user_id": "u",
        "factors": [],
        "imported": False,
    }


class Kind(Enum):
    """Of a part."""

    NEW = "new"


@dataclass(frozen=True)
class Part:
    """Of an event."""

    kind: Kind
    key: bytes
    names: frozenset[str]
    more: str | None = None


@dataclass(frozen=True, kw_only=True)
class Nested(Event):
    """An event of a plugin, with more in it than texts."""

    part: Part


async def test_event_of_any_plugin(tmp_path: Path) -> None:
    """What the log can tell of an event can be posted, and undoes no write."""
    async with hooked(tmp_path, shop="") as (server, [shop]):
        ann = await server.register("ann")
        event = Nested(at=1, user_id=None, part=Part(Kind.NEW, b"\0\xff", frozenset(("b", "a"))))
        rename = Statement("update users set name = 'x' where id = ?", (ann["id"],), rows=1)
        await server.auth.events.commit(event, rename)
        await server.auth.outbox.flush()
        assert (await server.auth.users.require(ann["id"])).name == "x"
        posted = [one for one in map(verified, shop.asked) if one["type"] == "Nested"]
        part = {"kind": "new", "key": "00ff", "names": ["a", "b"], "more": None}
        assert [{"part": part}] == [one["data"] for one in posted]


SENTENCES: Mapping[str, str] = {
    "": "[webhook].endpoints: is missing.",
    "[webhook]\nendpoints = {}": "[webhook].endpoints: must have at least one endpoint.",
    table("A_b", "https://x.example/"): (
        "[webhook].endpoints: must have names of lower-case letters, digits and hyphens."
    ),
    table("a", "ftp://x.example/"): "[webhook].endpoints.a.url: it is no URL of http or https.",
    table("a", "http://x.example/").replace("insecure = true", ""): (
        "[webhook].endpoints.a.url: it is no URL of https, set insecure = true if one of http will do."
    ),
    table("a", "https://x.example/", secret='{ env = "SHORT" }'): (
        "[webhook].endpoints.a.secret must be whsec_ and then 24 to 64 random bytes in base64: "
        'make one by `echo "whsec_$(openssl rand -base64 32)"`.'
    ),
    table("a", "https://x.example/", secret='{ env = "ODD" }'): (
        "[webhook].endpoints.a.secret must be whsec_ and then 24 to 64 random bytes in base64: "
        'make one by `echo "whsec_$(openssl rand -base64 32)"`.'
    ),
    table("a", "https://x.example/", 'events = ["UserRegisterd"]'): (
        '[webhook].endpoints.a.events[0] is no event, did you mean "UserRegistered"?'
    ),
    table("a", "https://x.example/", 'events = ["UserRegistered", "x"]'): (
        "[webhook].endpoints.a.events[1] is no event."
    ),
}


@pytest.mark.parametrize("settings", SENTENCES)
async def test_settings_that_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: str
) -> None:
    """One sentence each; none repeats a secret."""
    monkeypatch.setenv("SHORT", "whsec_" + base64.b64encode(bytes(23)).decode())
    monkeypatch.setenv("ODD", "whsec_ä" + base64.b64encode(bytes(32)).decode())
    with pytest.raises(ConfigError) as caught:
        async with serving(tmp_path, f'plugins = ["webhook"]\n{settings}'):
            pass
    assert caught.value.problems == (SENTENCES[settings],)
