"""That a PostgreSQL which is away, slow or resets loses nothing and lets nobody in.

See `database_elsewhere.py` for what is looked at. The engine is that of `examples/picoauth-postgres`;
exit code 3 where PostgreSQL is missing.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "examples/picoauth-postgres/tests"))

from cluster import BIN, Cluster
from database_elsewhere import Elsewhere, measured
from harness import NOWHERE, Figure, Options, folder, main

from picoauth_postgres import Postgres


def work(options: Options) -> Sequence[Figure]:
    cluster = Cluster()
    try:
        cluster.start()
        direct = cluster.database()
        name = direct.partition("@/")[2].partition("?")[0]
        there = Elsewhere(
            plugin="postgres",
            connect=lambda: connected(cluster.folder / ".s.PGSQL.5432"),
            url=lambda port: f"postgresql://picoauth@127.0.0.1:{port}/{name}",
            opened=lambda: Postgres(direct),
            patience=5,
        )
        with folder() as path:
            return measured(options, path, there)
    finally:
        cluster.end()


def connected(path: Path) -> socket.socket:
    one = socket.socket(socket.AF_UNIX)
    one.connect(str(path))
    return one


if __name__ == "__main__":
    if BIN is None:
        print("PostgreSQL is missing: install the package postgresql")
        sys.exit(NOWHERE)
    main(__doc__, work)
