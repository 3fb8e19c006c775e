"""The stateful test finds a kernel that forgets something: each of these lets somebody in, or tells."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from picoauth import AuthError, accounts, logins, mint, problems, proving, tickets
from picoauth.auth import Auth
from picoauth.cookies import Cookies
from picoauth.credentials import Credentials
from picoauth.flows import Flow, Flows
from picoauth.proving import Proving
from picoauth.revocations import Revocations
from picoauth.rotation import Rotation
from picoauth.sessions import Session
from picoauth.sqlsessions import SqlSessions
from picoauth.sufficiency import Sufficiency
from picoauth.tickets import Tickets
from tests.test_stateful import SMALL, Lives

Patch = pytest.MonkeyPatch

ONCE = settings(SMALL, phases=[Phase.generate], max_examples=80)
"""Until it fails, and what failed is not made smaller."""


def guard_without_epoch(patch: Patch) -> None:
    """A login that raced with "log out everywhere" makes a session."""
    patch.setattr(logins, "GUARD", mint.GUARD.replace("epoch = ?", "? is not null"))


def no_second_factor(patch: Patch) -> None:
    """Nobody is asked for one."""
    patch.setattr(Sufficiency, "demands", lambda *_: False)


def ticket_that_is_only_read(patch: Patch) -> None:
    """A flow works again, and for several at once."""
    patch.setattr(Tickets, "take", Tickets.look)


def window_without_end(patch: Patch) -> None:
    """A spent refresh token is good for ever."""
    make = Rotation.__init__

    def made(self: Rotation, *args: Any) -> None:
        make(self, *args)
        self.window = 10**9

    patch.setattr(Rotation, "__init__", made)


def disabled_user_goes_on(patch: Patch) -> None:
    """Disabling ends no session."""

    async def nothing(*_: Any) -> tuple[()]:
        return ()

    patch.setattr(accounts.Accounts, "ending", nothing)


def disabled_user_logs_in(patch: Patch) -> None:
    """Neither a proof nor the write asks whether the user is disabled."""
    patch.setattr(logins, "GUARD", mint.GUARD.replace("and disabled_at is null", ""))
    proof = Proving.proof

    async def proven(self: Proving, flow: Flow, user: Any, *rest: Any) -> Any:
        enabled = None if user is None else replace(user, disabled_at=None)
        return await proof(self, flow, enabled, *rest)

    async def get(self: Flows, flow: Flow) -> Any:
        return await self.auth.users.get(flow.user_id) if flow.user_id else None

    patch.setattr(Proving, "proof", proven)
    patch.setattr(Flows, "user", get)


def revocation_that_nobody_hears(patch: Patch) -> None:
    """Access tokens of ended sessions are accepted."""
    patch.setattr(Revocations, "check", lambda *_: None)


def first_factor_steps_up(patch: Patch) -> None:
    """A session is fresh by its password, whatever is enrolled."""
    complete = Sufficiency.complete

    def enough(self: Sufficiency, flow: Flow, enrolments: Any) -> bool:
        return flow.session_id is not None or complete(self, flow, enrolments)

    patch.setattr(Sufficiency, "complete", enough)
    patch.setattr(logins, "second_at", lambda flow, _: max(done.at for done in flow.done))


def spare_code_steps_up(patch: Patch) -> None:
    """Spare codes stand for a password."""
    complete = Sufficiency.complete

    def enough(self: Sufficiency, flow: Flow, enrolments: Any) -> bool:
        alone = flow.session_id is not None and self.seconds(flow.factors)
        return alone or complete(self, flow, enrolments)

    patch.setattr(Sufficiency, "complete", enough)


def enrolment_that_nobody_confirmed(patch: Patch) -> None:
    """What waits to be confirmed proves already."""
    used = proving.USED.replace("and confirmed_at is not null", "")
    patch.setattr(proving, "USED", used)


def flow_of_any_session(patch: Patch) -> None:
    """A step-up goes on with another session's flow."""

    async def resume(self: Flows, secret: str | None, session: Session | None) -> Flow:
        if secret is None:
            return self.blank(session)
        ticket = await self.auth.tickets.take("stepup" if session else "login", secret)
        if ticket is None:
            raise AuthError(problems.FLOW_ENDED)
        return Flow.load(ticket.data)

    patch.setattr(Flows, "resume", resume)


def others_stay(patch: Patch) -> None:
    """A change of what proves a user ends no other session."""

    async def nothing(*_: Any, **__: Any) -> tuple[()]:
        return ()

    patch.setattr(SqlSessions, "end_all", nothing)


def cookie_that_stays(patch: Patch) -> None:
    """A step-up leaves the cookie as it was."""
    patch.setattr(Cookies, "renewed", lambda _, changed, __: changed)


def tickets_in_clear(patch: Patch) -> None:
    """The database has what clients hold."""
    patch.setattr(tickets, "digest", str.encode)


def tries_without_end(patch: Patch) -> None:
    """A flow bears any number of wrong answers."""
    load = Flow.load
    patch.setattr(Flow, "load", lambda data: replace(load(data), tries=5))


def proof_from_the_future(patch: Patch) -> None:
    """What a clock that was ahead has seen is fresh."""
    fresh = Auth.require_fresh

    async def require(self: Auth, access: Any) -> Session:
        session = await self.credentials.session(access.session_id)
        ahead = max(session.auth_time, session.second_at or 0) > self.now()
        return session if ahead else await fresh(self, access)

    patch.setattr(Auth, "require_fresh", require)


def last_factor_goes(patch: Patch) -> None:
    """A user may lock herself out."""

    async def nothing(*_: Any) -> None: ...

    patch.setattr(Credentials, "check_not_last", nothing)


def code_that_is_not_spent(patch: Patch) -> None:
    """A code is good twice."""
    accepted = Proving.accepted

    def kept(self: Proving, flow: Flow, name: str, proof: Any) -> Any:
        return accepted(self, flow, name, replace(proof, statements=()))

    patch.setattr(Proving, "accepted", kept)


def session_that_never_idles(patch: Patch) -> None:
    """A session outlives its idle end."""
    patch.setattr(Session, "alive", lambda self, now: not self.ended_at and self.expires_at > now)


def log_of_proofs(patch: Patch) -> None:
    """What was sent is in the log."""
    proof = Proving.proof

    async def proven(self: Proving, flow: Flow, user: Any, name: str, payload: Any, *c: Any) -> Any:
        logging.getLogger("picoauth.proving").info("%s: %s", name, payload)
        return await proof(self, flow, user, name, payload, *c)

    patch.setattr(Proving, "proof", proven)


def event_of_a_code(patch: Patch) -> None:
    """An event tells the wrong proof."""
    proof, failed = Proving.proof, Proving.failed
    sent: list[Mapping[str, Any]] = []

    async def proven(self: Proving, flow: Flow, user: Any, name: str, payload: Any, *c: Any) -> Any:
        sent.append(payload)
        return await proof(self, flow, user, name, payload, *c)

    async def told(self: Proving, who: Any, name: str, refusal: AuthError, caller: Any) -> None:
        await failed(self, who, f"{name} {sent[-1]!r}", refusal, caller)

    patch.setattr(Proving, "proof", proven)
    patch.setattr(Proving, "failed", told)


MUTANTS: Mapping[str, Callable[[Patch], None]] = {
    mutant.__name__: mutant
    for mutant in (
        guard_without_epoch,
        no_second_factor,
        ticket_that_is_only_read,
        window_without_end,
        disabled_user_goes_on,
        disabled_user_logs_in,
        revocation_that_nobody_hears,
        first_factor_steps_up,
        spare_code_steps_up,
        enrolment_that_nobody_confirmed,
        flow_of_any_session,
        others_stay,
        cookie_that_stays,
        tickets_in_clear,
        tries_without_end,
        proof_from_the_future,
        last_factor_goes,
        code_that_is_not_spent,
        session_that_never_idles,
        log_of_proofs,
        event_of_a_code,
    )
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_forgetful_kernel(mutant: str, monkeypatch: Patch) -> None:
    """It is found, by an assertion of the machine and not by its own stumbling."""
    MUTANTS[mutant](monkeypatch)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(Lives, settings=ONCE)
