"""What the scripts about faults share: a seed, a long form, a journal, and the table at the end."""

from __future__ import annotations

import argparse
import json
import sqlite3
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from client import Answer, Client, message
from measure import (
    PASSWORD,
    PICOAUTH,
    Figure,
    Server,
    folder,
    free_port,
    person,
    print_table,
    serving,
    settled,
)

__all__ = [
    "FULL",
    "NOWHERE",
    "ORIGIN",
    "PASSWORD",
    "PICOAUTH",
    "TORN",
    "Answer",
    "Client",
    "Figure",
    "Journal",
    "Options",
    "Server",
    "again",
    "ask",
    "contents",
    "cookie_login",
    "cookie_of",
    "folder",
    "free_port",
    "login",
    "main",
    "message",
    "person",
    "refused",
    "register",
    "serving",
    "settled",
    "state",
    "timed",
    "until",
    "validate",
]

FULL = (503, 507)
"""What a write is answered that has no room."""
NOWHERE = 3
"""How a script ends for which the machine has no place, such as a disk of its own."""
ORIGIN = "sec-fetch-site: same-origin"
SEED = 20260101
TIMES = ("s", "ms")
TORN = """
    select count(*) from users u where
        not exists (select 1 from identifiers i where i.user_id = u.id and i.kind = 'username')
        or not exists (select 1 from enrolments e join password p on p.enrolment_id = e.id
                        where e.user_id = u.id and p.user_id = u.id)
"""


@dataclass(frozen=True)
class Options:
    """`long` is for a night, the rest for each commit: a minute at most."""

    seed: int
    long: bool


def main(doc: str | None, work: Callable[[Options], Sequence[Figure]]) -> None:
    """Run a script. Exit code 1 where a bound is missed."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--long", action="store_true", help="many more faults")
    parser.add_argument(
        "--untimed", action="store_true", help="bounds of time are told alone: for a busy machine"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    given = parser.parse_args()
    began = time.monotonic()
    figures = work(Options(given.seed, given.long))
    if given.untimed:
        figures = [replace(one, most=None) if one.unit in TIMES else one for one in figures]
    print_table(figures)
    kept = all(figure.kept for figure in figures)
    if given.json:
        told = {
            "script": Path(sys.argv[0]).name,
            "seed": given.seed,
            "long": given.long,
            "seconds": round(time.monotonic() - began, 1),
            "kept": kept,
            "figures": [{**asdict(one), "kept": one.kept} for one in figures],
        }
        given.json.write_text(json.dumps(told, indent=2) + "\n")
    sys.exit(not kept)


@dataclass
class Journal:
    """What the server acknowledged, and what it answered that it should not have."""

    users: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def expect(self, what: str, answer: Answer | None, *statuses: int) -> None:
        status = None if answer is None else answer.status
        if status not in statuses:
            self.wrong.append(f"{what}: {status}")
            print(f"{what} answers {status}, not {statuses}", file=sys.stderr)


def ask(server: Server, method: str, path: str, body: Any = None, *more: Any) -> Answer | None:
    """One request on a connection of its own; None where the server hangs up or is not there."""
    with suppress(OSError):
        client = Client(server.address)
        try:
            client.send(message(method, path, body, *more))
            return client.receive()
        finally:
            client.close()
    return None


def register(server: Server, name: str, journal: Journal) -> int:
    """Answers the status, 0 for none; who is acknowledged stands in the journal."""
    answer = ask(server, "POST", "/auth/register", person(name))
    if answer is not None and answer.status == 201:
        journal.users.append(name)
    return answer.status if answer else 0


def login(server: Server, name: str, password: str = PASSWORD) -> Answer | None:
    return ask(server, "POST", "/auth/login", {"username": name, "password": password})


def again(server: Server) -> bool:
    """Whether one who is always there can log in; with fifty sessions, the first of them ends."""
    answer = login(server, "ann")
    return answer is not None and answer.status == 200


def cookie_login(server: Server, name: str) -> str:
    """The cookie of a new session."""
    body = {**person(name), "session": "cookie"}
    answer = ask(server, "POST", "/auth/login", body, None, ORIGIN)
    assert answer is not None
    assert answer.status == 200, answer
    return cookie_of(answer)


def cookie_of(answer: Answer) -> str:
    lines = answer.head.decode().split("\r\n")
    [found] = [line for line in lines if line.lower().startswith("set-cookie:")]
    return found.partition(":")[2].partition(";")[0].strip()


def refused(server: Server) -> bool:
    """Whether a server refuses to start, by exit code 2 and one sentence for a person."""
    began = server.log.stat().st_size
    try:
        server.ready()
    except RuntimeError:
        server.process.wait(30)
        said = server.log.read_bytes()[began:].decode(errors="replace")
        fine = "picoauth: " in said and "Traceback" not in said
        if not fine or server.process.returncode != 2:
            print(f"exit code {server.process.returncode}: {said[-800:]}", file=sys.stderr)
        return fine and server.process.returncode == 2
    server.stop()
    return False


def contents(path: Path, pattern: str = "*") -> dict[str, bytes]:
    """What files there are, by name, and what is in them; the output of servers is left out."""
    return {
        one.name: one.read_bytes()
        for one in path.glob(pattern)
        if one.is_file() and one.name != "log"
    }


def validate(server: Server, token: str) -> int:
    answer = ask(server, "POST", "/jwt/validate", None, token)
    return answer.status if answer else 0


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What it answers, and the seconds that it took."""
    began = time.monotonic()
    return work(), time.monotonic() - began


def until(condition: Callable[[], object], seconds: float) -> float:
    """Wait for a condition; the seconds that it took, or infinity."""
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        if condition():
            return time.monotonic() - began
        time.sleep(0.02)
    return float("inf")


def state(path: Path, journal: Journal) -> list[Figure]:
    """The file as it is: nothing acknowledged is lost, nothing half-made, nothing broken."""
    with closing(sqlite3.connect(f"file:{path}/picoauth.db?mode=ro", uri=True)) as database:
        names = database.execute("select value from identifiers where kind = 'username'")
        lost = set(journal.users) - {name for (name,) in names}
        torn = database.execute(TORN).fetchone()[0]
        faults = database.execute("pragma integrity_check").fetchall() != [("ok",)]
        faults += len(database.execute("pragma foreign_key_check").fetchall())
    return [
        Figure("users acknowledged", len(journal.users)),
        Figure("  of them lost", len(lost), most=0),
        Figure("users that are not whole", torn, most=0),
        Figure("faults that SQLite finds", faults, most=0),
    ]
