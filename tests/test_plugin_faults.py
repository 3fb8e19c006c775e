"""Each async hook of a plugin with each fault: denied or logged with its name, never let in."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from picoauth import Addition, Check, Denied, Problem, Route, Unavailable, hookimpl
from picoauth import plugins as loader
from picoauth.asking import asked
from picoauth.testing import Server, serving
from tests.factors import PIN, PinPlugin, code_of, count, join, step
from tests.hurry import hurry
from tests.plugs import Kind, answering, deciding, made, settings_of

ODD = "plugin odd (picoauth-odd 0.1.0)"


async def raises() -> None:
    raise ValueError("boom")


async def exits() -> None:
    raise SystemExit(0)


async def hangs() -> None:
    await asyncio.Event().wait()


async def clings() -> None:
    """Does not let go when it is cancelled, until it is cancelled again."""
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        await asyncio.Event().wait()


async def cancels() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)


async def cancelled() -> None:
    raise asyncio.CancelledError


FAILING: dict[Callable[[], Awaitable[Any]], str] = {
    raises: "failed in {} (ValueError: boom)",
    exits: "failed in {} (RuntimeError: it called sys.exit())",
    hangs: "failed in {} (TimeoutError: no answer within 0.05 s)",
    clings: "failed in {} (TimeoutError: no answer within 0.05 s)",
    cancels: "failed in {} (RuntimeError: it cancelled itself)",
    cancelled: "failed in {} (RuntimeError: it cancelled itself)",
}


def answers(value: Callable[[], Any]) -> Callable[[], Awaitable[Any]]:
    async def answer() -> Any:
        return value()

    return answer


DECIDING = FAILING | {
    answers(lambda: True): "answers {} with `bool`",
    answers(lambda: False): "answers {} with `bool`",
    answers(lambda: ""): "answers {} with `str`",
    answers(raises): "answers {} with `coroutine`",
    answers(object): "answers {} with `object`",
}


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits two seconds for a test."""
    monkeypatch.setattr(loader, "PATIENCE", 0.05)


def named(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the log says of plugins."""
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR]


def pinned(kind: Kind, name: str = "odd") -> dict[str, Any]:
    """Settings and plugins of a server with pins, and with one more plugin."""
    return {
        "settings": settings_of(["pin", name]),
        "plugins": {"pin": PinPlugin, name: kind},
    }


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(("fault", "said"), DECIDING.items())
async def test_check_login(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    fault: Callable[[], Awaitable[Any]],
    said: str,
) -> None:
    """No session, whatever a plugin that checks logins does; the log names it."""
    async with serving(tmp_path, **pinned(deciding("check_login", fault))) as server:
        await join(server)
        assert (403, "refused") == code_of(await step(server, **PIN))
        assert 0 == await count(server, "sessions")
        assert 200 == (await server.get("/health-check")).status_code
    assert [f"{ODD} {said.format('check_login')}, which denies"] == named(caplog)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(("fault", "said"), DECIDING.items())
async def test_check_registration(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    fault: Callable[[], Awaitable[Any]],
    said: str,
) -> None:
    """No user, whatever a plugin that checks registrations does; the log names it."""
    async with serving(tmp_path, **pinned(deciding("check_registration", fault))) as server:
        with pytest.raises(Denied) as denied:
            await join(server)
        assert "refused" == denied.value.problem.code
        assert 0 == await count(server, "users")
    assert [f"{ODD} {said.format('check_registration')}, which denies"] == named(caplog)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(("fault", "said"), DECIDING.items())
async def test_check_password(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    fault: Callable[[], Awaitable[Any]],
    said: str,
) -> None:
    """A hook that another plugin offers denies as those of the kernel do."""
    odd = deciding("check_password", fault)
    async with serving(tmp_path, settings_of(["password", "odd"]), plugins={"odd": odd}) as server:
        body = {"username": "ann", "password": "correct horse battery staple"}
        assert (403, "refused") == code_of(await server.post("/auth/register", body))
        assert 0 == await count(server, "users")
    assert [f"{ODD} {said.format('check_password')}, which denies"] == named(caplog)


TOO_LATE = Problem(403, "too_late", "It is too late for this.")


def raising(error: Exception) -> Callable[[], Awaitable[Any]]:
    async def fail() -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (answers(lambda: TOO_LATE), (403, "too_late")),
        (raising(Denied(TOO_LATE, "Come tomorrow.")), (403, "too_late")),
        (answers(lambda: None), (200, None)),
    ],
)
async def test_a_plugin_denies_in_its_own_words(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    answer: Callable[[], Awaitable[Any]],
    expected: tuple[int, str | None],
) -> None:
    """A problem is what the client gets, and no fault; None lets the login go on."""
    async with serving(tmp_path, **pinned(deciding("check_login", answer))) as server:
        await join(server)
        got = await step(server, **PIN)
        assert expected == code_of(got)
        assert ("It is too late for this." if got.status_code == 403 else None) == (
            got.json().get("title")
        )
        assert (expected[0] == 200) == bool(await count(server, "sessions"))
    assert [] == named(caplog)


async def test_every_plugin_is_asked(tmp_path: Path) -> None:
    """One that denies is not outvoted by those that do not, in whatever order."""
    kinds: dict[str, Kind] = {
        "yes": deciding("check_login", answers(lambda: None)),
        "no": deciding("check_login", answers(lambda: TOO_LATE)),
        "pin": PinPlugin,
    }
    for order in (["yes", "no", "pin"], ["no", "yes", "pin"]):
        async with serving(tmp_path, settings_of(order), plugins=kinds) as server:
            await join(server, order[0])
            answer = await step(server, **{**PIN, "username": order[0]})
            assert (403, "too_late") == code_of(answer)


async def test_who_asks_gives_up() -> None:
    """A hook that is asked ends with the request that asks it."""
    began, ended = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    asking = asyncio.create_task(asked(wait, {}, 60))
    await began.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await ended.wait()


class Unclear:
    """Cannot be written as JSON."""


LOOP: dict[str, Any] = {}
LOOP["loop"] = LOOP
CLAIMS = FAILING | {
    answers(lambda: None): "answers {} with `NoneType`, where JSON by name belongs",
    answers(lambda: True): "answers {} with `bool`, where JSON by name belongs",
    answers(lambda: [("a", 1)]): "answers {} with `list`, where JSON by name belongs",
    answers(raises): "answers {} with `coroutine`, where JSON by name belongs",
    answers(lambda: {1: "one"}): "answers {} with `dict`, where JSON by name belongs",
    answers(lambda: {"a": Unclear()}): "answers {} with `dict`, where JSON by name belongs",
    answers(lambda: {"a": float("nan")}): "answers {} with `dict`, where JSON by name belongs",
    answers(lambda: {"a": b"bytes"}): "answers {} with `dict`, where JSON by name belongs",
    answers(lambda: LOOP): "answers {} with `dict`, where JSON by name belongs",
}


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(("fault", "said"), CLAIMS.items())
async def test_claims(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    fault: Callable[[], Awaitable[Any]],
    said: str,
) -> None:
    """No token, and no session, where a plugin cannot say what it claims."""
    async with serving(tmp_path, **pinned(deciding("claims", fault))) as server:
        await join(server)
        assert (403, "refused") == code_of(await step(server, **PIN))
        assert 0 == await count(server, "sessions")
    assert [f"{ODD} {said.format('claims')}, which denies"] == named(caplog)


@pytest.mark.parametrize("claim", ["sub", "exp", "amr", "sid", "preferred_username", "acr"])
async def test_claim_that_is_reserved(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, claim: str
) -> None:
    """No plugin says who somebody is: no token, and the log names it."""
    odd = deciding("claims", answers(lambda: {claim: "admin"}))
    async with serving(tmp_path, **pinned(odd)) as server:
        await join(server)
        answer = await step(server, **PIN)
        assert answer.status_code >= 400
        assert "access_token" not in answer.json()
        assert 0 == await count(server, "sessions")
    assert f"{ODD} adds the claim {claim}, which is taken" in caplog.text


async def test_claim_of_two_plugins(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Two plugins cannot say the same: no token, and the log names the second."""
    kinds: dict[str, Kind] = {
        "pin": PinPlugin,
        "one": deciding("claims", answers(lambda: {"role": "admin"})),
        "odd": deciding("claims", answers(lambda: {"role": "user"})),
    }
    async with serving(tmp_path, settings_of(list(kinds)), plugins=kinds) as server:
        await join(server)
        answer = await step(server, **PIN)
        assert answer.status_code >= 400
        assert "access_token" not in answer.json()
        assert 0 == await count(server, "sessions")
    assert f"{ODD} adds the claim role, which is taken" in caplog.text


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(("fault", "said"), CLAIMS.items())
async def test_export(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    fault: Callable[[], Awaitable[Any]],
    said: str,
) -> None:
    """What a plugin knows about a user is JSON by name, or nothing is said."""
    async with serving(tmp_path, **pinned(deciding("export", fault))) as server:
        user, plugins = await join(server), server.auth.plugins
        [(name, function)] = plugins.implementations("export")
        with pytest.raises(Denied) as denied:
            await plugins.answer(name, "export", function, user=user)
        assert "refused" == denied.value.problem.code
    assert [f"{ODD} {said.format('export')}, which denies"] == named(caplog)


@pytest.mark.parametrize("fault", FAILING)
async def test_on(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    fault: Callable[[], Awaitable[Any]],
) -> None:
    """Who is only told changes nothing: the answer is good, the others are told, the log names it."""
    monkeypatch.setattr("picoauth.delivery.PATIENCE", 0.05)
    told = asyncio.Event()

    async def note() -> None:
        told.set()

    kinds: dict[str, Kind] = {
        "pin": PinPlugin,
        "odd": deciding("on", fault),
        "fine": deciding("on", note),
    }
    async with serving(tmp_path, settings_of(list(kinds)), plugins=kinds) as server:
        await join(server)
        await told.wait()
        assert 200 == (await step(server, **PIN)).status_code
    assert "plugin odd failed on UserRegistered" in named(caplog)


def recording(answer: Callable[[], Any]) -> Kind:
    def record(_: Any, event: Any) -> Any:
        return answer() if type(event).__name__ == "LoginCompleted" else None

    return made(record=hookimpl(record))


def fails(error: BaseException) -> Callable[[], Any]:
    def fail() -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    "answer",
    [
        fails(ValueError("boom")),
        lambda: True,
        lambda: "",
        raises,
        lambda: Addition(reply=object()),
        lambda: Addition(statements=3),  # type: ignore[arg-type]
        lambda: Addition(statements=["select 1"]),  # type: ignore[list-item]
    ],
)
async def test_record(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, answer: Callable[[], Any]
) -> None:
    """What must be recorded and cannot be does not happen; the log names who failed."""
    async with serving(tmp_path, **pinned(recording(answer))) as server:
        await join(server)
        assert (500, "internal_error") == code_of(await step(server, **PIN))
        assert 0 == await count(server, "sessions")
    assert "plugin odd failed in record" in caplog.text


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("fault", FAILING)
async def test_guards(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, fault: Callable[[], Awaitable[Any]]
) -> None:
    """A guard that fails lets nobody in."""

    async def secret(_: Any) -> Any:
        raise AssertionError("somebody was let in")

    async def guard(_: Any) -> Any:
        return await fault()

    route = Route(method="GET", path="/odd", handler=secret, policy="odd")
    odd = made(guards=hookimpl(lambda _: {"odd": guard}), routes=hookimpl(lambda _: [route]))
    async with serving(tmp_path, **pinned(odd)) as server:
        answer = await server.get("/odd")
        assert answer.status_code in (403, 503)
    assert [True] == [ODD in said for said in named(caplog)]


@pytest.mark.parametrize("fault", FAILING)
async def test_checks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Callable[[], Awaitable[Any]]
) -> None:
    """A check that fails is a failed check, and no failed answer."""
    hurry(monkeypatch, "odd")
    odd = answering("checks", lambda: [Check("odd", fault)])
    async with serving(tmp_path, **pinned(odd)) as server:
        answer = await server.get("/health-check")
        assert (200, ["odd"]) == (answer.status_code, list(answer.json()["problems"]))


async def test_unavailable_is_no_permission(tmp_path: Path) -> None:
    """A plugin that cannot reach what it asks denies, too."""
    down = deciding("check_login", raising(Unavailable("the box is down")))
    async with serving(tmp_path, **pinned(down)) as server:
        await join(server)
        assert (403, "refused") == code_of(await step(server, **PIN))


async def test_hook_that_nobody_implements(server: Server) -> None:
    """Nobody to ask is nobody who denies."""
    await server.auth.ask("check_login", login=None)
