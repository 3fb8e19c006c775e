"""A process that is killed between a commit and its seal loses nothing."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

from logbook import Log

from picoauth.testing import serving

WRITER = """
import asyncio, os, signal, sys
from pathlib import Path
from picoauth import Auth, parse
from picoauth_audit import sealer

async def main():
    auth = Auth(parse('plugins = ["password", "audit"]', Path(sys.argv[1])))
    async with auth.started():
        plugin = auth.plugins.on["audit"]
        await plugin.sealer.settle()
        async def joining(n):
            await auth.users.register(auth.users.draft(username=f"user{n}"))
            print(n, flush=True)
        await asyncio.gather(*(joining(n) for n in range(10)))
        sealer.MOST = 4  # sealed in part, too
        await plugin.sealer.seal()
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


async def test_killed_between_commit_and_seal(tmp_path: Path) -> None:
    """The next process seals what waits, once, behind what was sealed."""
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", WRITER, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert -signal.SIGKILL == done.returncode, done.stderr
    assert 10 == len(done.stdout.split())
    async with serving(tmp_path, 'plugins = ["password", "audit"]') as server:
        log = Log(server)
        entries = await log.entries(event="UserRegistered")
        assert 10 == len({entry["user_id"] for entry in entries})
        found = await log.verify()
        assert list(range(1, found.rows + 1)) == [one["seq"] for one in await log.entries()]


async def test_many_writers_of_two_processes(tmp_path: Path) -> None:
    """While another process writes and seals, and is killed, this one does, too: no gap, none twice."""
    async with serving(tmp_path, 'plugins = ["password", "audit"]') as server:
        log = Log(server)
        running = asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", WRITER, str(tmp_path)],
            capture_output=True,
            text=True,
            check=False,
        )

        async def writing() -> None:
            for number in range(25):
                draft = server.auth.users.draft(username=f"here{number}")
                await server.auth.users.register(draft)
                await log.plugin.sealer.settle()

        done, _ = await asyncio.gather(running, writing())
        assert -signal.SIGKILL == done.returncode, done.stderr
        assert 35 == len(await log.entries(event="UserRegistered"))
        found = await log.verify()
        assert list(range(1, found.rows + 1)) == [one["seq"] for one in await log.entries()]
