"""The matrix entrance x second factor: no way to log in passes a second factor by."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from itertools import product
from typing import TypeAlias, TypeVar

import httpx
import pytest

from picoauth.testing.contracts.base import Contract, agree
from picoauth.testing.people import Someone
from picoauth.testing.server import Server

T = TypeVar("T")

Cell: TypeAlias = tuple[str, ...]
"""Factors, in the order of their proofs."""
Outcome: TypeAlias = tuple[int, str | None, list[str] | None, int]
"""Status, stable code, the factors that would help, and the sessions that the user has then."""

IN: Outcome = (200, None, None, 1)


class MatrixContract(Contract):
    """Inherit it where `picoauth_settings` lists your plugin and others.

        class TestMatrix(MatrixContract):
            pass

    It walks each factor that may start a login with each second factor, whatever is listed.
    Each factor needs a `Ceremony`; those of installed packages are found by themselves.
    """

    @pytest.fixture
    def server(self, picoauth_server: Server) -> Server:
        """The server whose factors are walked; override it for another one."""
        return picoauth_server

    async def test_every_factor_is_in_the_matrix(self, server: Server) -> None:
        """One without a ceremony would be left out, and nobody would see it."""
        left_out = [name for name in server.auth.factors if server.ceremonies.find(name) is None]
        assert [] == left_out

    async def test_entrance_alone(self, server: Server) -> None:
        """It is a login, unless it is a second factor, which asks for another proof.

        A fallback changes nothing: having recovery codes is not being enrolled.
        """
        fallbacks = [name for name, factor in server.auth.factors.items() if factor.fallback]

        async def walk(entrance: str) -> Outcome:
            someone = await enrolled(server, entrance, *fallbacks)
            return await outcome(someone, await someone.prove(entrance))

        expected: dict[Cell, Outcome] = {
            (name,): (401, "more_needed", fallbacks, 0)
            if demanding(server, name) and not server.ceremonies[name].completes
            else IN
            for name in server.starters
        }
        agree(expected, await walked(expected, walk))

    async def test_entrance_with_second_factor(self, server: Server) -> None:
        """The entrance alone makes no session, and with the second factor it does."""

        async def walk(entrance: str, second: str) -> list[Outcome]:
            someone = await enrolled(server, entrance, second)
            answer = await someone.prove(entrance)
            alone = await outcome(someone, answer)
            if answer.status_code == 200:
                return [alone]
            both = await someone.prove(second, answer.json().get("flow"))
            return [alone, await outcome(someone, both)]

        cells = pairs(server)
        expected: dict[Cell, list[Outcome]] = {
            (entrance, second): [IN]
            if server.ceremonies[entrance].completes
            else [(401, "more_needed", [second], 0), IN]
            for entrance, second in cells
        }
        agree(expected, await walked(cells, walk))

    async def test_two_proofs(self, server: Server) -> None:
        """Two of different factors are enough exactly where one of them is a second factor."""

        async def walk(entrance: str, second: str, other: str) -> Outcome:
            someone = await enrolled(server, entrance, second, other)
            answer = await someone.prove(entrance)
            if answer.status_code == 401:
                answer = await someone.prove(other, answer.json().get("flow"))
            return await outcome(someone, answer)

        seconds = [name for name in server.auth.factors if demanding(server, name)]
        cells = [
            cell
            for cell in product(server.starters, seconds, server.auth.factors)
            if cell[0] != cell[2]
        ]
        expected = {
            (entrance, second, other): IN
            if enough(server, entrance, other)
            else (401, "more_needed", [second], 0)
            for entrance, second, other in cells
        }
        agree(expected, await walked(cells, walk))

    async def test_wrong_second_factor(self, server: Server) -> None:
        """A wrong proof is refused in the factor's own words, and the login is where it was."""

        async def walk(entrance: str, second: str) -> tuple[Outcome, Outcome]:
            someone = await enrolled(server, entrance, second)
            begun = await someone.prove(entrance)
            wrong = await someone.prove(second, begun.json().get("flow"), wrong=True)
            refused = await outcome(someone, wrong)
            again = await someone.prove(second, wrong.json().get("flow"))
            return refused, await outcome(someone, again)

        cells = [pair for pair in pairs(server) if not server.ceremonies[pair[0]].completes]
        expected: dict[Cell, tuple[Outcome, Outcome]] = {
            (entrance, second): (
                (*refusal(server, second), None, 0),
                IN,
            )
            for entrance, second in cells
        }
        agree(expected, await walked(cells, walk))

    async def test_stepup(self, server: Server) -> None:
        """A session from before the second factor came has to prove that."""

        async def walk(entrance: str, second: str) -> list[int]:
            someone = await enrolled(server, entrance)
            token = (await someone.login(entrance))["access_token"]
            await someone.enrol(second)
            before = await server.get("/auth/me", token=token)
            first = await server.send("DELETE", "/auth/sessions/none", token=token)
            proven = await someone.prove(second, token=token)
            fresh = await server.send("DELETE", "/auth/sessions/none", token=token)
            return [each.status_code for each in (before, first, proven, fresh)]

        cells = [pair for pair in pairs(server) if not demanding(server, pair[0])]
        # Nobody has the session `none`: who is let in as far as that gets a 404.
        expected = {
            (entrance, second): [
                200,
                404 if server.ceremonies[entrance].completes else 403,
                200,
                404,
            ]
            for entrance, second in cells
        }
        agree(expected, await walked(cells, walk))


async def enrolled(server: Server, *factors: str) -> Someone:
    return await server.join(*dict.fromkeys(factors))


def demanding(server: Server, name: str) -> bool:
    """Whether the factor, once enrolled, has to be proven."""
    factor = server.auth.factors[name]
    return factor.second and not factor.fallback


def enough(server: Server, *proofs: str) -> bool:
    """Whether these are a login, for someone who has a second factor."""
    factors = [server.auth.factors[name] for name in proofs]
    complete = server.ceremonies[proofs[0]].completes
    return complete or any(factor.second or factor.fallback for factor in factors)


def refusal(server: Server, name: str) -> tuple[int, str]:
    """How the factor answers what is no proof."""
    refused = server.auth.factors[name].refused
    return refused.status, refused.code


def pairs(server: Server) -> list[tuple[str, str]]:
    """Each entrance with each second factor that has to be proven once it is enrolled."""
    seconds = [name for name in server.auth.factors if demanding(server, name)]
    return [pair for pair in product(server.starters, seconds) if pair[0] != pair[1]]


async def outcome(someone: Someone, answer: httpx.Response) -> Outcome:
    body = answer.json()
    return answer.status_code, body.get("code"), body.get("next"), await someone.sessions()


async def walked(cells: Iterable[Cell], walk: Callable[..., Awaitable[T]]) -> dict[Cell, T]:
    """What each cell comes to."""
    return {cell: await walk(*cell) for cell in cells}
