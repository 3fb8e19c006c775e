"""The sets of codes: the table `recovery`, and the enrolments that its rows hang on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from picoauth import Auth, Statement, described
from picoauth_recovery.codes import digest, made

FACTOR = "recovery"
COUNT = 10

MIGRATIONS = (
    """
    create table recovery (
        enrolment_id text not null references enrolments(id) on delete cascade,
        hash blob not null, primary key (enrolment_id, hash)
    )
    """,
)

VOID_ALL = "delete from enrolments where factor = 'recovery'"
VOID = "delete from enrolments where user_id = ? and factor = 'recovery'"
ADD = "insert into recovery (enrolment_id, hash) values " + ", ".join(["(?, ?)"] * COUNT)
LEFT = """
    select count(r.hash), e.confirmed_at
      from enrolments e left join recovery r on r.enrolment_id = e.id
     where e.user_id = ? and e.factor = 'recovery' group by e.id, e.confirmed_at
"""
FIND = """
    select e.id, r.hash, (select count(*) from recovery where enrolment_id = e.id)
      from enrolments e join recovery r on r.enrolment_id = e.id
     where e.user_id = ? and e.factor = 'recovery' and r.hash = ?
"""
# The count is what the event says is left: of two codes at once one is refused, and good still.
SPEND = """
    delete from recovery where enrolment_id = ? and hash = ?
       and (select count(*) from recovery where enrolment_id = ?) = ?
"""


@dataclass(frozen=True)
class Left:
    """What a user has left of the newest set of codes."""

    left: int = described("How many codes still work.", example=9)
    made_at: int | None = described(
        "When they were made; null where there are none.", example=1800000000
    )


@dataclass(frozen=True)
class Found:
    """A code that works, with the set that it is of."""

    enrolment_id: str
    hash: bytes
    count: int
    """How many codes the set has, this one among them."""

    def spending(self) -> Sequence[Statement]:
        """Take the code, once; with the last one goes the set, which is no factor any more."""
        args = (self.enrolment_id, self.hash, self.enrolment_id, self.count)
        empty = Statement("delete from enrolments where id = ?", (self.enrolment_id,), rows=1)
        return [Statement(SPEND, args, rows=1), *([empty] if self.count == 1 else [])]


class Sets:
    """Makes sets of codes, and finds what is left of them. Only hashes are stored."""

    def __init__(self, auth: Auth) -> None:
        self.auth = auth

    def making(self, user_id: str) -> tuple[Sequence[str], Sequence[Statement]]:
        """The codes of a new set, and what puts it in the place of an older one."""
        codes = [made(self.auth.secrets.random) for _ in range(COUNT)]
        enrolment = self.auth.users.enrolment(user_id, FACTOR)
        rows = [value for code in codes for value in (enrolment.id, digest(code))]
        void = Statement(VOID, (user_id,))
        return codes, [void, self.auth.users.enrolling(enrolment), Statement(ADD, rows, COUNT)]

    def voiding(self, user_id: str) -> Statement:
        """Void the codes of a user who has no second factor, which they could stand for."""
        names = self.undemanding()
        sql = f"""
            delete from enrolments where user_id = ? and factor = 'recovery' and not exists (
                select 1 from enrolments where user_id = ? and confirmed_at is not null
                   and factor not in ({", ".join("?" * len(names))}))
        """
        return Statement(sql, (user_id, user_id, *names))

    async def find(self, user_id: str, code: str) -> Found | None:
        rows = await self.auth.database.read(FIND, (user_id, digest(code)))
        return Found(*rows[0]) if rows else None

    async def left(self, user_id: str) -> Left:
        rows = await self.auth.database.read(LEFT, (user_id,))
        return Left(*rows[0]) if rows else Left(0, None)

    async def lacking(self) -> int:
        """How many users have a second factor, and no codes for when it is lost."""
        names = self.undemanding()
        sql = f"""
            select count(distinct user_id) from enrolments e
             where confirmed_at is not null and factor not in ({", ".join("?" * len(names))})
               and not exists (select 1 from enrolments
                                where user_id = e.user_id and factor = 'recovery')
        """
        [(count,)] = await self.auth.database.read(sql, names, slow=True)
        found: int = count
        return found

    def undemanding(self) -> Sequence[str]:
        """Factors that make no second factor necessary; those that nobody here knows do."""
        names = dict.fromkeys((*self.auth.factors, *self.auth.config.ignore_factors))
        return [name for name in names if not self.auth.logins.rule.demanding(name)]
