"""Importing users from lines of JSON: all is checked before the first is made, and a rerun goes on."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

from picoauth.callers import Caller
from picoauth.drafts import Draft, Registration
from picoauth.embedded import Embedded
from picoauth.errors import AuthError, Conflict
from picoauth.failures import worded
from picoauth.importfiles import Names, Raw, batched, lines_at, raw_lines
from picoauth.importlines import BadLine, Line, Reader
from picoauth.imports import ImportField
from picoauth.registering import register_all
from picoauth.users import TAIL, shown

if TYPE_CHECKING:
    from picoauth.auth import Auth

BATCH = 1000
"""Users of one write. What a server on the same file writes meanwhile waits for it."""
TOLD = 1000
"""Refusals that are kept; all others are counted."""
GONE = "its name was that of a user who is gone, or has another name now"

Advance = Callable[[int], None]
"""Told how many bytes were read, again and again."""


@dataclass(frozen=True)
class Refused:
    """A line that makes no user, and why."""

    line: int
    problem: str


@dataclass
class Report:
    """What became of the lines that say something; `there` has an earlier import's users."""

    lines: int = 0
    made: int = 0
    there: int = 0
    refusals: int = 0
    refused: list[Refused] = field(default_factory=list)
    """The first of them."""

    def refuse(self, line: int, problem: str) -> None:
        self.refusals += 1
        if len(self.refused) < TOLD:
            self.refused.append(Refused(line, problem))


class Importer:
    """Reads a file twice: `check` looks at it alone, and `run` makes users of what it found.

    Each write of `run` is whole, and a line whose user is there from an earlier one is passed
    over: an import that was killed is finished by doing it again. `run` goes by names: so what
    one write adds to an index is on few of its pages, however large the database is.
    """

    def __init__(self, auth: Auth, caller: Caller) -> None:
        self.auth = auth
        self.caller = caller
        self.fields = fields(auth)
        self.reader = Reader(self.fields, auth.now())
        self.keys = list(auth.secrets.derive("import").values())
        self.names = Names()

    def close(self) -> None:
        self.names.close()

    def check(
        self, file: IO[bytes], advance: Advance, *, sample: tuple[str, str] | None = None
    ) -> tuple[Report, Line | None]:
        """Look at each line, and for names that two have; answers the line of the `sample`, too."""
        report, found = Report(), None
        self.close()
        self.names = Names()
        for line, at in self.lines(raw_lines(file), report, advance):
            self.names.add(line, at)
            if sample and sample in {(one.kind, one.value) for one in line.identifiers}:
                found = line
        self.names.sort()
        for number, name, other in self.names.twice():
            report.refuse(number, f"its {name} is that of line {other}, too")
        report.refused.sort(key=lambda one: one.line)
        return report, found

    async def run(self, file: IO[bytes], advance: Advance, *, dry: bool = False) -> Report:
        """Make the users of the lines that were in order, or see which could be made.

        Raises Unavailable: do it again then.
        """
        report, raws = Report(), lines_at(file, self.names.places())
        if isinstance(self.auth.database, Embedded):
            self.auth.database.make_room()
        writing: asyncio.Task[None] | None = None
        try:
            for batch in batched(self.lines(raws, report, advance), BATCH):
                fresh = await self.fresh([line for line, _ in batch], report)
                if writing is not None:
                    await writing
                # Lines are read and looked at while those before are written.
                writing = asyncio.create_task(self.written(fresh, report, dry=dry))
                await asyncio.sleep(0)  # so that it begins
            if writing is not None:
                await writing
        finally:
            if writing is not None:
                await asyncio.wait([writing])
        report.refused.sort(key=lambda one: one.line)
        return report

    async def written(self, fresh: Sequence[Line], report: Report, *, dry: bool) -> None:
        whys = [None] * len(fresh) if dry else await self.make(fresh)
        for line, why in zip(fresh, whys, strict=True):
            if why is None:
                report.made += 1
            elif isinstance(why, Conflict) and why.index == 0:
                report.there += 1  # made this very second by another import of the line
            else:
                report.refuse(line.number, said(why))

    def lines(
        self, raws: Iterable[Raw], report: Report, advance: Advance
    ) -> Iterator[tuple[Line, int]]:
        """Those that say something, and where each begins."""
        for number, at, raw in raws:
            advance(len(raw))
            try:
                line = self.reader.line(number, raw)
            except BadLine as error:
                report.lines += 1
                report.refuse(number, f"{error}")
                continue
            if line is not None:
                report.lines += 1
                yield line, at

    async def fresh(self, lines: Sequence[Line], report: Report) -> Sequence[Line]:
        """Those whose users are not there, and whose names are free as far as can be seen."""
        ids, owners = await self.ids(lines), await self.owners(lines)
        retired = await self.retired(lines)
        found = []
        for line in lines:
            taken = [key for one in line.unique if (key := (one.kind, one.value)) in owners]
            if line.id in ids or any(self.is_from(owners[key], line) for key in taken):
                report.there += 1
            elif taken:
                report.refuse(line.number, f"its {taken[0][0]} is that of another user")
            elif line.number in retired:
                report.refuse(line.number, GONE)
            else:
                found.append(line)
        return found

    async def ids(self, lines: Sequence[Line]) -> Collection[str]:
        """Those that lines bring along, of users who are there; PostgreSQL takes no empty list."""
        names = ["", *(line.id for line in lines if line.id is not None)]
        sql = f"select id from users where id in ({', '.join('?' * len(names))})"
        return {user_id for (user_id,) in await self.auth.database.read(sql, names)}

    async def owners(self, lines: Sequence[Line]) -> Mapping[tuple[str, str], str]:
        """Whose the names are that somebody has, by kind and value."""
        known: dict[tuple[str, str], str] = {}
        for kind in {one.kind for line in lines for one in line.unique}:
            names = [one.value for line in lines for one in line.unique if one.kind == kind]
            sql = f"""
                select value, user_id from identifiers
                 where verified_at is not null and kind = ?
                   and value in ({", ".join("?" * len(names))})
            """
            rows = await self.auth.database.read(sql, (kind, *names))
            known |= {(kind, value): owner for value, owner in rows}
        return known

    async def retired(self, lines: Sequence[Line]) -> Collection[int]:
        """Numbers of lines with a name that is nobody's any more."""
        hashed, any_ = self.auth.users.retired, "select 1 from retired_names limit 1"
        if not await self.auth.database.read(any_):
            return ()
        found = [(line, one) for line in lines for one in line.unique if one.kind == "username"]
        whose = {hash_: line.number for line, one in found for hash_ in hashed(one)}
        names = [b"", *whose]
        sql = f"select hash from retired_names where hash in ({', '.join('?' * len(names))})"
        return {whose[found] for (found,) in await self.auth.database.read(sql, names)}

    async def make(self, lines: Sequence[Line]) -> Sequence[AuthError | Conflict | None]:
        """Why each made no user, or None."""
        registrations = [self.registration(line) for line in lines]
        whys = await register_all(self.auth.users, registrations, self.caller)
        await self.auth.events.settle()  # else what plugins are told of piles up
        return whys

    def registration(self, line: Line) -> Registration:
        user_id = line.id or self.auth.users.id_of(self.tails(line)[0])
        draft = Draft(
            user_id,
            line.identifiers,
            line.name,
            line.locale,
            created_at=line.created_at,
            disabled=line.disabled,
            imported=True,
        )
        made = [self.fields[name].make(user_id, value) for name, value in line.fields.items()]
        statements = [statement for one in made for statement in one.statements]
        enrolments = [enrolment for one in made for enrolment in one.enrolments]
        return Registration(draft, statements, enrolments)

    def tails(self, line: Line) -> Sequence[bytes]:
        """What the id of the line's user ends with, newest secret first: nobody else's does."""
        text = line.text
        return [hmac.digest(key, text, "sha256")[:TAIL] for key in self.keys]

    def is_from(self, user_id: str, line: Line) -> bool:
        """Whether an import made the user of a line that says the same."""
        return any(user_id.endswith(shown(tail)) for tail in self.tails(line))


def fields(auth: Auth) -> Mapping[str, ImportField]:
    """What plugins know of lines, by name. Raises ConfigError."""
    return auth.plugins.unique("imports", dict)


def said(why: AuthError | Conflict) -> str:
    """A taken name is one that somebody took just now; other conflicts are with plugins' rows."""
    return (
        worded(why).rstrip(".")
        if isinstance(why, AuthError)
        else "a plugin's row of it is there already"
    )
