"""A user who leaves a trace wherever first-party plugins keep any, for tests of deletions."""

from __future__ import annotations

from typing import Any

from picoauth import Caller
from picoauth.testing import MailPlugin, Server, Someone

PLUGINS = (
    *("password", "totp", "passkey", "email", "magic-link", "recovery", "reset", "permissions"),
    *("forward-auth", "captured-mail"),
)
"""All that may know something about a user, but for stores of sessions."""
KIT = {"captured-mail": MailPlugin}
TABLES = """
[forward-auth]
hosts = ["wiki.example.com"]
[throttle]
failures = 1000
[mail]
pause = 0
"""
AGENT = "the agent of annabel"
NAME, OLD_NAME, SHOWN = "annabel", "anneliese", "Annabel Lee"
VERIFIED, PENDING = f"{OLD_NAME}@example.com", "new.address@example.com"
HERE = Caller()


def settings(*more: str, tables: str = "") -> str:
    listed = ", ".join(f'"{name}"' for name in (*PLUGINS, *more))
    return f'plugins = [{listed}]\ntrusted_proxies = ["unix"]\n{TABLES}{tables}'


async def annabel(server: Server) -> Someone:
    """Uses everything: each factor, each mail, each table, right and wrong."""
    server.client.headers["User-Agent"] = AGENT
    someone = await server.join(
        "password", "magic-link", "totp", "passkey", "recovery", username=OLD_NAME
    )
    for factor in ("password", "totp", "passkey", "magic-link"):
        await someone.prove(factor if factor != "totp" else "password", wrong=True)
    token = (await someone.login("password", "totp"))["access_token"]
    await someone.login("passkey")
    answers = [
        await server.post("/auth/email", {"address": PENDING}, token=token),
        await server.post("/auth/passkey/begin", {}, token=token),
        await server.post("/auth/stepup/begin", {"factor": "passkey"}, token=token),
        await someone.prove("password"),
        await server.send("PATCH", "/auth/me", {"username": NAME, "name": SHOWN}, token=token),
        await server.post("/auth/forgot_password", {"username": NAME}),
    ]
    codes = [answer.json()["code"] for answer in answers if answer.is_error]
    assert ["more_needed"] == codes
    someone.notes["token"] = token
    permissions: Any = server.auth.plugins.on["permissions"]
    await permissions.roles.put("editors", ["wiki:edit"], HERE)
    await permissions.holdings.replace(someone.user.id, ["wiki:read"], ["editors"], HERE)
    waiting = server.auth.outbox.queuing(
        "post", "p1", b"{}", about="x", expires_at=server.auth.now() + 60, user_id=someone.user.id
    )
    await server.auth.database.write(waiting)
    server.client.headers["User-Agent"] = "another agent"
    return someone


def words(someone: Someone) -> list[str]:
    """What only she has, as it may stand anywhere."""
    return [someone.user.id, NAME, OLD_NAME, SHOWN, VERIFIED, PENDING, AGENT]


async def tables(server: Server) -> list[str]:
    sql = "select name from sqlite_master where type = 'table' order by name"
    return [name for (name,) in await server.auth.database.read(sql)]


async def holders(server: Server, *texts: str) -> set[str]:
    """The tables of which some row has some of these texts anywhere."""
    found = set()
    for table in await tables(server):
        for row in await server.auth.database.read(f"select * from {table}"):
            values = [v.decode("latin-1") if isinstance(v, bytes) else str(v) for v in row]
            if any(text in value for text in texts for value in values):
                found.add(table)
    return found
