"""A write as one Hrana batch: a whole transaction in one round trip.

Hrana's conditions know whether a step failed, but not how many rows it touched. So a statement
that must touch a number of rows is followed by one that fails unless it did.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from picoauth import Conflict, Row, Statement

Json: TypeAlias = dict[str, Any]
Value: TypeAlias = str | int | float | bytes | None

OWN = re.compile(r"\s*(begin|commit|end|rollback|savepoint|release)\b", re.IGNORECASE)
"""Statements that would end the transaction around them."""
TABLE = re.compile(r"\s*create\s+table\b", re.IGNORECASE)
QUERY = re.compile(
    r"\s*(select|values|with\b(?!.*\b(insert|update|delete)\b))", re.IGNORECASE | re.DOTALL
)
LEAST, MOST = -(2**63), 2**63 - 1
"""What `abs` of the least number would be is more than there is, which is an error."""

COUNTED = f"select case when {{}} = ? then 1 else abs({LEAST}) end"
TRANSIENT = re.compile(
    r"SQLITE_(BUSY|LOCKED|FULL|IOERR|READONLY|CORRUPT|CANTOPEN|NOTADB|NOMEM|PROTOCOL|INTERRUPT)"
    r"|TRANSACTION_|STREAM_|AUTH_|BLOCKED|NAMESPACE_|SERVER_|INTERNAL|RESPONSE_TOO_LARGE"
)
"""Codes that tell of the server, not of the statement."""
BUSY = re.compile(r"SQLITE_(BUSY|LOCKED)|TRANSACTION_(TIMEOUT|BUSY)")
"""Codes of what came to nothing for sure, and may be tried again."""

NO_CODES = ("", "UNKNOWN")
"""What an error has that came without one; the second is how libsql-client says so."""


class Batch:
    """The steps of a write, and what their results mean."""

    def __init__(self, statements: Sequence[Statement]) -> None:
        self.statements = statements
        self.steps: list[Json] = []
        self.add("begin immediate")
        self.places = [self.one(each) for each in statements]
        self.commit = self.add("commit")
        undo = {"type": "not", "cond": {"type": "ok", "step": self.commit}}
        self.steps.append({"condition": undo, "stmt": step("rollback")})

    def add(self, sql: str, args: Sequence[Value] = (), *, wanted: bool = False) -> int:
        """A step that follows if the one before it went well; answers its place."""
        place = len(self.steps)
        after = {"condition": {"type": "ok", "step": place - 1}} if place else {}
        self.steps.append({**after, "stmt": step(sql, args, wanted=wanted)})
        return place

    def one(self, statement: Statement) -> tuple[int, int]:
        """The places of a statement, and of what counts its rows or else of itself again."""
        sql = statement.sql.rstrip().rstrip(";")
        if OWN.match(sql):
            raise ValueError("a write is one transaction already")
        strict = "\nstrict" if TABLE.match(sql) else ""
        place = self.add(f"{sql}{strict}", statement.args, wanted=True)
        if statement.rows is None:
            return place, place
        if QUERY.match(sql):  # which `changes()` knows nothing of
            count = COUNTED.format(f"(select count(*) from ({sql}\n))")
            return place, self.add(count, (*statement.args, statement.rows))
        return place, self.add(COUNTED.format("changes()"), (statement.rows,))

    def answer(self, result: Mapping[str, Any]) -> list[list[Row]]:
        """The rows of each statement. Raises Conflict, or Failed for anything else."""
        failed = next((n for n, error in enumerate(result["step_errors"]) if error), None)
        if failed is not None:
            raise self.failure(failed, result["step_errors"][failed])
        results = result["step_results"]
        if results[self.commit] is None:
            raise Failed({"message": "the batch was not done", "code": "SERVER_ERROR"})
        return [rows(results[place]) for place, _ in self.places]

    def failure(self, step: int, error: Mapping[str, Any]) -> Exception:
        for index, (place, counted) in enumerate(self.places):
            broken = step == place and code(error).startswith("SQLITE_CONSTRAINT")
            if broken or (step == counted != place and "overflow" in error["message"]):
                return Conflict(index)
        return Failed(error)


class Failed(Exception):
    """A statement that the server refused, so that nothing of its write was done."""

    def __init__(self, error: Mapping[str, Any]) -> None:
        super().__init__(error["message"])
        self.code = code(error)

    @property
    def busy(self) -> bool:
        return bool(BUSY.match(self.code))

    @property
    def transient(self) -> bool:
        return bool(TRANSIENT.match(self.code))


def code(error: Mapping[str, Any]) -> str:
    """Raises ValueError where there is none: then nobody knows whether it tells of the server."""
    found = error["code"]
    if not isinstance(found, str) or found in NO_CODES:
        raise ValueError("an error without a code")
    return found


def step(sql: str, args: Sequence[Value] = (), *, wanted: bool = False) -> Json:
    """A statement as Hrana has it."""
    sql.encode()  # the server ends the connection of everybody over a lone surrogate
    return {"sql": sql, "args": [packed(value) for value in args], "want_rows": wanted}


def packed(value: Value) -> Json:
    """A value as Hrana has it; integers as text, since JSON's end at 2**53."""
    if value is None:
        return {"type": "null"}
    if isinstance(value, str):
        value.encode()
        return {"type": "text", "value": value}
    if isinstance(value, int):
        if not LEAST <= value <= MOST:
            raise OverflowError("an integer of a database has 64 bits")
        return {"type": "integer", "value": str(int(value))}
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("a number of a database is finite")
        return {"type": "float", "value": value}
    return {"type": "blob", "base64": base64.b64encode(value).decode()}


def rows(result: Mapping[str, Any]) -> list[Row]:
    return [tuple(map(unpacked, row)) for row in result["rows"]]


def unpacked(value: Mapping[str, Any]) -> Value:
    match value["type"]:
        case "null":
            return None
        case "integer":
            return int(value["value"])
        case "float":
            return float(value["value"])
        case "blob":  # which comes without padding
            return base64.b64decode(value["base64"] + "==")
        case _:
            return str(value["value"])
