"""A user who is deleted leaves nothing in Redis."""

from __future__ import annotations

from pathlib import Path

from servers import RedisServer

from picoauth.testing import serving
from tests.traces import HERE, KIT, annabel, holders, settings, words


async def test_nothing_remains(redis: RedisServer, tmp_path: Path) -> None:
    """Neither a key nor a value has anything of hers, nor does a table."""
    table = f'[session-redis]\nurl = "{redis.url}"\n'
    text = settings("session-redis", tables=table)
    async with serving(tmp_path, text, plugins=KIT) as server:
        someone = await annabel(server)
        other = await server.join("password")
        await other.login()
        sessions = [one.id for one in await server.auth.sessions.list(someone.user.id)]
        assert 2 == len(sessions)
        assert [] != found(redis, someone.user.id)
        assert sorted(sessions) == sorted(one for one in sessions if found(redis, one))
        await server.auth.accounts.delete(someone.user.id, HERE)
        assert [] == [word for word in words(someone) if found(redis, word)]
        assert [] != found(redis, other.user.id)
        assert await holders(server, *words(someone)) <= {"tickets"}
        assert [] == await server.auth.database.read("select * from endings")


def found(redis: RedisServer, text: str) -> list[str]:
    """The keys in which a text stands, or in whose value it does."""
    keys = [
        line for line in redis.ask("KEYS", "*").decode().split("\r\n") if line.startswith("pico")
    ]
    return [key for key in keys if text in key or text.encode() in value(redis, key)]


def value(redis: RedisServer, key: str) -> bytes:
    kind = redis.ask("TYPE", key)
    if kind == b"+zset\r\n":
        return redis.ask("ZRANGE", key, "0", "-1")
    assert kind == b"+string\r\n"
    return redis.ask("GET", key)
