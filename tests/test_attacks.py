"""What an attacker tried against logins, and what comes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from picoauth import (
    Auth,
    ConfigError,
    Denied,
    Enrolment,
    Event,
    Factor,
    Guard,
    Login,
    LoginFailed,
    NoSettings,
    Plugin,
    Reply,
    Request,
    Route,
    Session,
    User,
    hookimpl,
    parse,
    problems,
)
from picoauth.testing import Server, serving
from tests.factors import (
    ALL,
    PIN,
    PLUGINS,
    KeyFactor,
    KeyPlugin,
    code_of,
    count,
    join,
    step,
)

ONE = 'plugins = ["pin"]'


async def enrolled(server: Server, name: str) -> None:
    """Write an enrolment of Ann for a factor that this server does not have."""
    ann = await server.auth.users.find("username", "ann")
    assert ann is not None
    enrolment = server.auth.users.enrolment(ann.id, name)
    await server.auth.database.write(server.auth.users.enrolling(enrolment))


async def test_factor_whose_plugin_another_process_has(tmp_path: Path) -> None:
    """A factor that was enrolled elsewhere, and that nobody here knows, is not passed by."""
    async with serving(tmp_path, ONE, plugins=PLUGINS) as server:
        await join(server)
        await enrolled(server, "newer")
        answer = await step(server, **PIN)
        assert ((401, "more_needed"), []) == (code_of(answer), answer.json()["next"])
        assert 0 == await count(server, "sessions")


async def test_factor_that_the_operator_ignores(tmp_path: Path) -> None:
    """One that `ignore_factors` names asks nothing of anyone."""
    settings = f'{ONE}\nignore_factors = ["older"]'
    async with serving(tmp_path, settings, plugins=PLUGINS) as server:
        await join(server)
        await enrolled(server, "older")
        assert (200, None) == code_of(await step(server, **PIN))


async def test_challenges_of_an_account_are_limited(tmp_path: Path) -> None:
    """Nobody has one account mailed sixty links: asking counts, a login with it forgives (A-6)."""
    asked = {"factor": "link", "to": "ann"}
    async with serving(tmp_path, f"{ALL}\n[throttle]\nfailures = 3", plugins=PLUGINS) as server:
        await join(server)
        answers = [await server.post("/auth/login/begin", asked) for _ in range(4)]
        assert [200, 200, 200, 429] == [answer.status_code for answer in answers]
        assert (429, "too_many_attempts") == code_of(answers[-1])
        flow = answers[0].json()["flow"]
        assert (200, None) == code_of(await step(server, flow, factor="link", clicked=True))
        assert 200 == (await server.post("/auth/login/begin", asked)).status_code


class Curfew(Plugin[NoSettings]):
    """Lets nobody in, and hears of it."""

    heard: list[Event]

    @hookimpl
    async def check_login(self, login: Login) -> None:
        raise Denied(problems.FORBIDDEN)

    @hookimpl
    async def on(self, event: Event) -> None:
        type(self).heard.append(event)


async def test_login_that_a_plugin_denies_is_an_event(tmp_path: Path) -> None:
    """A login whose factors all passed, and that was still refused, is told of (L-1)."""
    curfew = type("Heard", (Curfew,), {"heard": []})
    plugins = {**PLUGINS, "curfew": curfew}
    async with serving(tmp_path, 'plugins = ["pin", "curfew"]', plugins=plugins) as server:
        await join(server)
        assert (403, "forbidden") == code_of(await step(server, **PIN))
        await server.auth.events.settle()
        [failed] = [event for event in curfew.heard if isinstance(event, LoginFailed)]
        assert ("pin", "forbidden", None) == (failed.factor, failed.code, failed.typed)


@pytest.mark.parametrize("life", [60, 86400, 40 * 86400])
async def test_stateless_session_ends_with_its_token(tmp_path: Path, life: int) -> None:
    """However long a stateless token lasts, its session's row is there to be ended."""
    settings = f'{ONE}\n[tokens]\nrefresh = "stateless"\nstateless_life = {life}'
    async with serving(tmp_path, settings, plugins=PLUGINS) as server:
        await join(server)
        tokens = (await step(server, **PIN)).json()
        server.clock.advance(life - 1)
        for job in server.auth.jobs.jobs:
            await job.run()
        again = await server.post("/jwt/refresh", token=tokens["refresh_token"])
        assert 200 == again.status_code
        ended = await server.post("/auth/logout_from_all", token=again.json()["access_token"])
        assert 204 == ended.status_code
        late = await server.post("/jwt/refresh", token=tokens["refresh_token"])
        assert (401, "session_ended") == code_of(late)


class Doorman(Plugin[NoSettings]):
    """Guards a policy of its own, as a test tells it."""

    policy = "invited"
    answer: Any = None

    @hookimpl
    def guards(self) -> dict[str, Guard]:
        return {self.policy: self.guard}

    @hookimpl
    def routes(self) -> Sequence[Route]:
        return [Route(method="GET", path="/party", handler=self.party, policy="invited")]

    async def guard(self, request: Request) -> Any:
        if self.answer == "hang":
            await asyncio.Event().wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def party(self, request: Request) -> Reply:
        return Reply({"guest": request.principal})


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("ann", (200, None)),
        (None, (403, "forbidden")),
        (False, (403, "forbidden")),
        (ValueError("a bug"), (403, "refused")),
        (Denied(problems.TOKEN_MISSING), (401, "token_missing")),
        ("hang", (403, "refused")),
    ],
)
async def test_guard_of_a_plugin(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    answer: Any,
    expected: tuple[int, str | None],
) -> None:
    """Only a principal is let in: nothing, no, a fault and silence all deny."""
    if answer == "hang":
        monkeypatch.setattr("picoauth.plugins.PATIENCE", 0.01)
    plugins = {**PLUGINS, "doorman": type("Told", (Doorman,), {"answer": answer})}
    async with serving(tmp_path, 'plugins = ["pin", "doorman"]', plugins=plugins) as server:
        assert expected == code_of(await server.get("/party"))


async def test_guard_of_the_kernel_is_not_replaced(tmp_path: Path) -> None:
    """A plugin that would guard `fresh` stops the server."""
    plugins = {**PLUGINS, "doorman": type("Thief", (Doorman,), {"policy": "fresh"})}
    with pytest.raises(ConfigError) as refusal:
        async with serving(tmp_path, 'plugins = ["pin", "doorman"]', plugins=plugins):
            pass
    expected = (
        "plugin doorman (picoauth-doorman 0.1.0) guards the policy fresh, which is the kernel's: "
        "list a version of it that guards one of its own."
    )
    assert (expected,) == refusal.value.problems


class Moody(Plugin[NoSettings]):
    """Adds a claim, when it is up to it."""

    up = True

    @hookimpl
    async def claims(self, user: User, session: Session) -> dict[str, Any]:
        if not type(self).up:
            raise ValueError("a bug")
        return {"mood": "fine"}


async def test_failing_claims_cost_nobody_the_session(tmp_path: Path) -> None:
    """Who refreshes while a plugin fails comes again, however much later, and is no thief (K-10)."""
    moody: Any = type("Changing", (Moody,), {})
    plugins = {**PLUGINS, "moody": moody}
    async with serving(tmp_path, 'plugins = ["pin", "moody"]', plugins=plugins) as server:
        await join(server)
        token = (await step(server, **PIN)).json()["refresh_token"]
        moody.up = False
        server.clock.advance(60)
        assert (403, "refused") == code_of(await server.post("/jwt/refresh", token=token))
        moody.up = True
        server.clock.advance(60)
        answer = await server.post("/jwt/refresh", token=token)
        assert (200, None) == code_of(answer)


async def test_proof_from_the_future_is_not_fresh(tmp_path: Path) -> None:
    """A clock that was ahead at the login keeps no door open when it is right again."""
    async with serving(tmp_path, ONE, plugins=PLUGINS) as server:
        await join(server)
        token = (await step(server, **PIN)).json()["access_token"]
        server.clock.advance(-1)
        answer = await server.send("DELETE", "/auth/me", token=token)
        assert (403, "stepup_needed") == code_of(answer)


async def removed(server: Server, token: str, factor: str) -> tuple[int, str | None]:
    """Remove Ann's factor of one kind."""
    found = (await server.get("/auth/factors", token=token)).json()["factors"]
    [gone] = [each["id"] for each in found if each["factor"] == factor]
    return code_of(await server.send("DELETE", f"/auth/factors/{gone}", token=token))


async def test_factor_without_which_nothing_is_enough(tmp_path: Path) -> None:
    """A key that is a second factor, but no login by itself, does not make a password spare."""
    async with serving(tmp_path, ALL, plugins=PLUGINS) as server:
        await join(server)
        token = (await step(server, **PIN)).json()["access_token"]
        assert (409, "last_factor") == await removed(server, token, "pin")
        token = (await server.post("/key/enrol", {}, token=token)).json()["access_token"]
        assert (409, "last_factor") == await removed(server, token, "pin")
        assert (200, None) == await removed(server, token, "key")


class Whole(KeyFactor):
    """A key that verifies its user."""

    async def completes(self, enrolment: Enrolment) -> bool:
        return True


class WholePlugin(KeyPlugin):
    @hookimpl
    def factors(self) -> Sequence[Factor]:
        return [Whole(self.auth)]


async def test_factor_that_is_a_login_by_itself(tmp_path: Path) -> None:
    """A password may go where the key that is left is enough."""
    async with serving(tmp_path, ALL, plugins={**PLUGINS, "key": WholePlugin}) as server:
        await join(server)
        token = (await step(server, **PIN)).json()["access_token"]
        token = (await server.post("/key/enrol", {}, token=token)).json()["access_token"]
        assert (200, None) == await removed(server, token, "pin")


def test_secret_of_a_database_elsewhere_is_not_made_anew(tmp_path: Path) -> None:
    """Whether a remote database has users cannot be seen: its first secret is made by hand."""
    remote = parse('plugins = ["password"]\ndatabase = "libsql://db.example.com"', tmp_path)
    path = tmp_path / "picoauth.secret"
    with pytest.raises(ConfigError) as refusal:
        Auth(remote)
    expected = (
        f"{path} is missing, and whether the database elsewhere belongs to one cannot be told: "
        "put it back from your backup, or make the first one by "
        f"`umask 077; openssl rand -base64 33 > {path}`."
    )
    assert ((expected,), []) == (refusal.value.problems, list(tmp_path.iterdir()))
