"""Plugins that are missing, misspelt, broken or hostile: told at the start, and never let in."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from picoauth import (
    Auth,
    Check,
    ConfigError,
    Database,
    EdgeRoute,
    Job,
    Plugin,
    Problem,
    Route,
    described,
    hookimpl,
    hookspec,
    parse,
)
from picoauth.discovery import Found, told
from picoauth.testing import offer, serving
from tests import storage
from tests.distributions import Distributions, distributing
from tests.factors import CodeFactor, CodePlugin, KeyPlugin
from tests.plugs import (
    TELL,
    Kind,
    answering,
    application,
    made,
    offers,
    settings_of,
)


@pytest.fixture
def distributions(tmp_path: Path) -> Iterator[Distributions]:
    """Where the test installs plugins."""
    folder = tmp_path / "installed"
    folder.mkdir()
    with distributing(folder) as there:
        yield there


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """A database that is closed though no server gets to run."""
    opened = storage.engine(tmp_path / "test.db")
    yield opened
    asyncio.run(opened.close())


def problems(
    folder: Path, listed: Sequence[str], more: str = "", found: Sequence[Found] | None = None
) -> list[str]:
    """What is wrong with what is listed, before a database is opened."""
    with pytest.raises(ConfigError) as raised:
        Auth(parse(settings_of(listed, more), folder), found=found)
    assert not (folder / "picoauth.db").exists()
    return list(raised.value.problems)


def misfits(folder: Path, more: str = "", **kinds: Any) -> list[str]:
    return problems(folder, [name.replace("_", "-") for name in kinds], more, offers(kinds))


def unstartable(folder: Path, database: Database, kinds: dict[str, Any], more: str = "") -> str:
    """What is wrong with what plugins declare: one sentence."""
    with pytest.raises(ConfigError) as raised:
        application(folder, database, kinds, more)
    [problem] = raised.value.problems
    return problem


# What is listed, and what is installed.


def test_installing_does_not_enable(distributions: Distributions, tmp_path: Path) -> None:
    """What is not listed is never imported, however broken it is."""
    distributions.add("evil", "evil", "raise SystemExit('imported')")
    distributions.add("lost", "lost", metadata=False)
    distributions.add("good", "good")
    auth = Auth(parse(settings_of(["good"]), tmp_path))
    asyncio.run(auth.database.close())
    assert ["good"] == list(auth.plugins.on)
    assert "installed_evil" not in sys.modules


def test_missing(tmp_path: Path) -> None:
    """A plugin that is not installed is told with the command that installs it, or the near one."""
    assert [
        'plugins: pasword is not installed, did you mean "password"?',
        "plugins: push is not installed: run `pip install picoauth-push`.",
    ] == problems(tmp_path, ["pasword", "push"])


def test_two_distributions(distributions: Distributions, tmp_path: Path) -> None:
    """Nobody can say which of two is meant."""
    distributions.add("picoauth-sms", "sms")
    distributions.add("other-sms", "sms")
    assert [
        "plugins: sms is offered by other-sms 1.0 and picoauth-sms 1.0: uninstall one of them."
    ] == problems(tmp_path, ["sms"])


def test_other_hooks(distributions: Distributions, tmp_path: Path) -> None:
    """A plugin for an older or newer server is recognised."""
    distributions.add("picoauth-sms", "sms", group="picoauth.v0")
    distributions.add("picoauth-other", "other", group="picoauth.v0")
    assert [
        (
            "plugin sms (picoauth-sms 1.0) was written for the hooks picoauth.v0, this server has "
            "picoauth.v1: install a version of picoauth-sms that fits."
        )
    ] == problems(tmp_path, ["sms"])


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("import nowhere", "ModuleNotFoundError: No module named 'nowhere'"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("raise RuntimeError('a\\nb')", "RuntimeError: a b"),
        ("Other = 1", "AttributeError: module 'installed_bad' has no attribute 'Made'"),
    ],
)
def test_import_failure(
    distributions: Distributions, tmp_path: Path, source: str, told: str
) -> None:
    """Whatever an import raises is one sentence on one line."""
    distributions.add("bad", "bad", source)
    assert [
        (
            f"plugin bad (bad 1.0) cannot be imported ({told}): "
            "reinstall it, or remove it from `plugins`."
        )
    ] == problems(tmp_path, ["bad"])


def test_lost_metadata(distributions: Distributions, tmp_path: Path) -> None:
    """A distribution whose name is lost is still told from others."""
    distributions.add("lost", "lost", "1 / 0", metadata=False)
    assert [
        (
            "plugin lost (? ?) cannot be imported (ZeroDivisionError: division by zero): "
            "reinstall it, or remove it from `plugins`."
        )
    ] == problems(tmp_path, ["lost"])


@pytest.mark.parametrize("kind", [None, 3, object, Plugin(None, "x", None), lambda: None])  # type: ignore[arg-type]
def test_no_plugin(tmp_path: Path, kind: Any) -> None:
    """An entry point has to name a class of plugins."""
    assert [
        f"plugin odd (picoauth-odd 0.1.0) names test:Plugin, which is no Plugin: {TELL}."
    ] == misfits(tmp_path, odd=kind)


@pytest.mark.parametrize(
    "name",
    ["picoauth", "users", "migrate", "doctor", "tokens", "plugins", "outbox", "migrations",
     "signing", "signing-keys", "retired", "resource-servers"],
)  # fmt: skip
def test_reserved_names(tmp_path: Path, name: str) -> None:
    """No plugin has a name, or tables, that are the kernel's; whether it is installed or not."""
    remedy = "has a name that is the kernel's: remove it from `plugins`."
    assert [f"plugins: {name} {remedy}"] == problems(tmp_path, [name])
    installed = [offer(name, made())]
    assert [f"plugin {name} (picoauth-{name} 0.1.0) {remedy}"] == problems(
        tmp_path, [name], found=installed
    )


def test_a_long_story_is_cut() -> None:
    """What an exception says is one line of 300 characters at most."""
    assert "ValueError: " + "x" * 288 == told(ValueError("x" * 1000))


# What a class makes of hooks.


def test_requires(tmp_path: Path) -> None:
    """What a plugin cannot do without is named, and its other hooks are not blamed for it."""
    needy = made(requires=("password", "sms"), check_password=hookimpl(lambda _: None))
    assert [
        "plugin needy (picoauth-needy 0.1.0) requires password: add it to `plugins`.",
        "plugin needy (picoauth-needy 0.1.0) requires sms: add it to `plugins`.",
    ] == misfits(tmp_path, needy=needy)


@pytest.mark.parametrize("attribute", ["requires", "needs"])
def test_a_text_is_no_list(tmp_path: Path, attribute: str) -> None:
    """`requires = "password"` would be eight names of one letter."""
    assert [
        f"plugin odd (picoauth-odd 0.1.0) has a text in `{attribute}`, where a list belongs: {TELL}."
    ] == misfits(tmp_path, odd=made(**{attribute: "password"}))


def test_needs(tmp_path: Path, database: Database) -> None:
    """A slot that a plugin needs has to be filled, and there has to be such a slot."""
    sentence = (
        "plugin needy (picoauth-needy 0.1.0) needs the slot {}, "
        "which no listed plugin fills: list one that does."
    )
    kinds = {"key": KeyPlugin, "needy": made(needs=("database", "limiter", "mailer"))}
    assert sentence.format("mailer") == unstartable(tmp_path, database, kinds)
    kinds = {"key": KeyPlugin, "needy": made(needs=("mail",))}
    assert sentence.format("mail (there is no such slot)") == unstartable(tmp_path, database, kinds)


async def sync_in_name_only(_: Any) -> Any:
    return ()


def of_login(self: Any, login: Any) -> None:
    """Not async."""


async def of_another(self: Any, user: Any) -> None:
    """An argument that is not given."""


async def of_near(self: Any, logins: Any) -> None:
    """An argument that is nearly given."""


def with_options(function: Any, **options: Any) -> Any:
    """Marked as pluggy allows it, and picoauth does not."""
    hookimpl(function)
    function.picoauth_impl |= options
    return function


MISFITS = {
    "forgotten marker": (
        {"routes": lambda _: ()},
        "overrides routes without @hookimpl: mark it, or rename it.",
    ),
    "a value": (
        {"factors": ()},
        "overrides factors without @hookimpl: mark it, or rename it.",
    ),
    "misspelt": (
        {"check_logins": hookimpl(of_login)},
        'implements the hook check_logins, which does not exist, did you mean "check_login"?',
    ),
    "unknown": (
        {"xyzzy": hookimpl(of_login)},
        (
            "implements the hook xyzzy, which does not exist: "
            "mend its name, or list the plugin that offers it."
        ),
    ),
    "async for sync": ({"routes": hookimpl(sync_in_name_only)}, "must write routes with `def`."),
    "sync for async": (
        {"check_login": hookimpl(of_login)},
        "must write check_login with `async def`.",
    ),
    "classmethod": (
        {"routes": classmethod(hookimpl(lambda _: ()))},
        "must write routes as a plain method, marked with @hookimpl.",
    ),
    "tryfirst": (
        {"routes": with_options(lambda _: (), tryfirst=True)},
        "must write routes as a plain method, marked with @hookimpl.",
    ),
    "another argument": (
        {"check_login": hookimpl(of_another)},
        f"has an argument user of check_login, which the hook does not give: {TELL}.",
    ),
    "near argument": (
        {"check_login": hookimpl(of_near)},
        (
            "has an argument logins of check_login, which the hook does not give, "
            'did you mean "login"?'
        ),
    ),
}


@pytest.mark.parametrize(("members", "problem"), MISFITS.values(), ids=MISFITS)
def test_misfit(tmp_path: Path, members: dict[str, Any], problem: str) -> None:
    """What pluggy would let pass stops the server."""
    assert [f"plugin odd (picoauth-odd 0.1.0) {problem}"] == misfits(tmp_path, odd=made(**members))


class Hostile(type):
    """A class that nobody may look at."""

    def __dir__(cls) -> list[str]:
        return ["nothing"]


def test_a_class_that_hides(tmp_path: Path) -> None:
    """A class that lies about its members is told like any other that fails."""
    odd = Hostile("Odd", (Plugin,), {})
    assert [
        f"plugin odd (picoauth-odd 0.1.0) cannot be looked at (AttributeError: nothing): {TELL}."
    ] == misfits(tmp_path, odd=odd)


class Offered:
    """Hooks of a plugin."""

    @hookspec
    async def check_word(self, word: str) -> Problem | None:
        """Answer a problem to refuse a word."""


class Again:
    """A hook that the kernel has."""

    @hookspec
    async def check_login(self, word: str) -> Problem | None:
        """Taken."""


class Bare:
    """No hook at all."""


@pytest.mark.parametrize(
    ("kind", "problem"),
    [
        (Bare, f"offers no @hookspec in `hooks`: {TELL}."),
        (Again, f"offers the hook check_login, which exists already: {TELL}."),
    ],
)
def test_hooks_that_cannot_be_offered(tmp_path: Path, kind: type, problem: str) -> None:
    """A plugin offers at least one hook, and none that exists."""
    assert [f"plugin odd (picoauth-odd 0.1.0) {problem}"] == misfits(tmp_path, odd=made(hooks=kind))


def test_hook_offered_twice(tmp_path: Path) -> None:
    """Two plugins cannot offer one hook."""
    assert [
        f"plugin two (picoauth-two 0.1.0) offers the hook check_word, which exists already: {TELL}."
    ] == misfits(tmp_path, one=made(hooks=Offered), two=made(hooks=Offered))


@dataclass(frozen=True)
class Port:
    """Settings of a plugin."""

    port: int = described("A port.", least=1)


@dataclass(frozen=True)
class Unreadable:
    """Settings whose type cannot be read."""

    port: list[str] = described("Ports.", default=None)


def test_settings_of_a_plugin(tmp_path: Path) -> None:
    """Mistakes in a plugin's table are the operator's to mend; a wrong type is its authors'."""
    assert ["[post].port: is missing."] == misfits(tmp_path, post=made(Plugin[Port]))
    failing = "plugin post (picoauth-post 0.1.0) has settings that cannot be read "
    assert [
        f"{failing}(TypeError: list[str] is no type that a setting or a body can have): {TELL}."
    ] == misfits(tmp_path, "[post]\nport = []", post=made(Plugin[Unreadable]))
    assert [f"{failing}(TypeError: <class 'int'> is no dataclass): {TELL}."] == misfits(
        tmp_path, post=made(Plugin[int])
    )
    assert [f"{failing}(TypeError: ForwardRef('Port') is no dataclass): {TELL}."] == misfits(
        tmp_path, post=made(Plugin["Port"])
    )


def test_every_mistake_at_once(tmp_path: Path) -> None:
    """Mistakes about several plugins are told together, and nothing of theirs has run."""

    def never(*_: Any) -> None:
        raise AssertionError("was made")

    kinds = {
        "post": made(Plugin[Port], __init__=never),
        "odd": made(routes=lambda _: (), __init__=never),
        "needy": made(requires=["sms"], __init__=never),
        "fine": made(__init__=never),
    }
    assert [
        "plugins: push is not installed: run `pip install picoauth-push`.",
        "plugin needy (picoauth-needy 0.1.0) requires sms: add it to `plugins`.",
        "plugin odd (picoauth-odd 0.1.0) overrides routes without @hookimpl: mark it, or rename it.",
        "[post].port: must be a whole number.",
    ] == problems(tmp_path, ["push", *kinds], "[post]\nport = 'x'", offers(kinds))


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (ValueError("boom"), f"plugin bad (picoauth-bad 0.1.0) cannot be made (ValueError: boom): {TELL}."),
        (SystemExit(), f"plugin bad (picoauth-bad 0.1.0) cannot be made (SystemExit:): {TELL}."),
        (ConfigError("Its own words."), "Its own words."),
    ],
)  # fmt: skip
def test_constructor_that_raises(tmp_path: Path, error: BaseException, problem: str) -> None:
    """A plugin that cannot be made stops the server, beside every other one that cannot."""

    def fail(*_: Any) -> None:
        raise error

    kinds = {"bad": made(__init__=fail), "fine": made(), "worse": made(__init__=fail)}
    assert [problem, problem.replace("bad", "worse")] == problems(
        tmp_path, list(kinds), found=offers(kinds)
    )


# What plugins declare.


def two(hook: str, answer: Callable[[], Any]) -> dict[str, Kind]:
    return {"one": answering(hook, answer), "two": answering(hook, answer)}


class Everything:
    """Occupies any slot."""

    def __getattr__(self, name: str) -> Any:
        return handle


async def handle(_: Any) -> Any: ...


@pytest.mark.parametrize("slot", ["database", "sessions", "mailer", "limiter"])
def test_slot_with_two_occupants(tmp_path: Path, database: Database, slot: str) -> None:
    """Both are named, and one has to go."""
    kinds = {"key": KeyPlugin, **two(slot, Everything)}
    one, other = "plugin one (picoauth-one 0.1.0)", "plugin two (picoauth-two 0.1.0)"
    ours = " and plugin store (picoauth-store 0.1.0)" if slot == "database" else ""
    assert f"The slot {slot} is filled by {one} and {other}{ours}: list one of them." == (
        unstartable(tmp_path, database, kinds)
    )


NAMED: dict[str, Callable[[], Any]] = {
    "factor": lambda: [CodeFactor(None, "")],  # type: ignore[arg-type]
    "sender": lambda: {"code": handle},
    "guard": lambda: {"code": handle},
    "job": lambda: [Job("code", 60, handle)],  # type: ignore[arg-type]
    "check": lambda: [Check("code", handle)],  # type: ignore[arg-type]
}


@pytest.mark.parametrize("what", NAMED)
def test_a_name_that_is_taken(tmp_path: Path, database: Database, what: str) -> None:
    """Names are unique over all plugins; both sides are named."""
    kinds = {"key": KeyPlugin, **two(f"{what}s", NAMED[what])}
    assert (
        "plugin one (picoauth-one 0.1.0) and plugin two (picoauth-two 0.1.0) both have "
        f'a {what} "code": list one of them.'
    ) == unstartable(tmp_path, database, kinds)


def test_two_factors_of_one_name(tmp_path: Path, database: Database) -> None:
    """A plugin's own factors have different names, too."""
    kinds = {"key": KeyPlugin, "odd": answering("factors", lambda: NAMED["factor"]() * 2)}
    assert f"plugin odd (picoauth-odd 0.1.0) has two factors of one name: {TELL}." == (
        unstartable(tmp_path, database, kinds)
    )


def unawaited() -> Any:
    async def forgotten() -> None: ...

    return forgotten()


def generated() -> Iterator[None]:
    yield None


LISTS = {
    "migrations": "str",
    "factors": "Factor",
    "routes": "Route",
    "edge": "EdgeRoute",
    "checks": "Check",
    "jobs": "Job",
}
SLOTS = {
    "database": "Database",
    "sessions": "SessionStore",
    "mailer": "Mailer",
    "limiter": "Limiter",
}
BELONGS = {
    **{hook: f"a list of `{kind}`" for hook, kind in LISTS.items()},
    **dict.fromkeys(("guards", "senders"), "functions by name"),
    **{hook: f"`None` or a `{kind}`" for hook, kind in SLOTS.items()},
    "lifespan": "`None` or an async context manager",
}
GARBAGE: dict[str, Callable[[], Any]] = {
    "NoneType": lambda: None,
    "str": lambda: "garbage",
    "bool": lambda: True,
    "coroutine": unawaited,
    "generator": generated,
    "object": lambda: [object()],
    "dict": lambda: {"name": "no function"},
}


async def start(folder: Path, kinds: dict[str, Any]) -> None:
    text = settings_of(["key", *kinds])
    async with serving(folder, text, plugins={"key": KeyPlugin, **kinds}):
        raise AssertionError("it started")


ODD = [
    (hook, found)
    for hook in BELONGS
    for found in GARBAGE
    if found != "NoneType" or hook in LISTS or hook in ("guards", "senders")
]


@pytest.mark.parametrize(("hook", "found"), ODD)
async def test_hook_that_answers_garbage(tmp_path: Path, hook: str, found: str) -> None:
    """Each declaring hook, with each odd answer: the plugin is named, and nothing starts."""
    with pytest.raises(ConfigError) as raised:
        await start(tmp_path, {"odd": answering(hook, GARBAGE[found])})
    name = "list" if found == "object" and hook not in LISTS else found
    assert str(raised.value) == (
        f"plugin odd (picoauth-odd 0.1.0) answers {hook} with `{name}`, "
        f"where {BELONGS[hook]} belongs: {TELL}."
    )


class Unopenable:
    """Something that a plugin cannot open."""

    async def __aenter__(self) -> None:
        raise ValueError("boom")

    async def __aexit__(self, *_: object) -> None: ...


async def test_lifespan_that_cannot_be_entered(tmp_path: Path) -> None:
    """What a plugin cannot open stops the server in a sentence."""
    with pytest.raises(ConfigError) as raised:
        await start(tmp_path, {"odd": answering("lifespan", Unopenable)})
    assert str(raised.value) == (
        f"plugin odd (picoauth-odd 0.1.0) fails in lifespan (ValueError: boom): {TELL}."
    )


def test_address_that_nobody_speaks(tmp_path: Path) -> None:
    """An address may have a password in it: only its scheme is repeated."""
    secret = tmp_path / "secret"
    secret.touch(0o600)
    secret.write_text("c29tZXRoaW5nIGVsc2Ugb2YgdGhlIHJpZ2h0IGxlbmd0aC4", encoding="utf-8")
    more = 'database = "libsql://ann:hunter2@db"\nsecret = { file = "secret" }'
    assert [
        "database: no plugin that is listed speaks libsql: list one, or name a file."
    ] == problems(tmp_path, ["password"], more)


@pytest.mark.parametrize("error", [ValueError("boom"), SystemExit("boom")], ids=repr)
@pytest.mark.parametrize("hook", BELONGS)
async def test_hook_that_raises(tmp_path: Path, hook: str, error: BaseException) -> None:
    """Each declaring hook that raises: the plugin is named, and nothing starts."""

    def fail() -> None:
        raise error

    with pytest.raises(ConfigError) as raised:
        await start(tmp_path, {"odd": answering(hook, fail)})
    assert str(raised.value) == (
        f"plugin odd (picoauth-odd 0.1.0) fails in {hook} ({type(error).__name__}: boom): {TELL}."
    )


class Nameless(CodeFactor):
    """A factor without a name."""

    name: ClassVar[str] = ""


class Session(CodeFactor):
    """A factor whose name is a member of every login's body."""

    name: ClassVar[str] = "session"


@pytest.mark.parametrize(
    ("kind", "problem"),
    [
        (Nameless, "has factors without a name"),
        (Session, 'has a factor "session", which is a name of the kernel\'s'),
    ],
)
def test_names_of_factors(
    tmp_path: Path, database: Database, kind: type[CodeFactor], problem: str
) -> None:
    """A factor is called by its name, which is none of the members of a login's body."""
    odd = answering("factors", lambda: [kind(None, "")])  # type: ignore[arg-type]
    assert f"plugin odd (picoauth-odd 0.1.0) {problem}: {TELL}." == (
        unstartable(tmp_path, database, {"odd": odd})
    )


@pytest.mark.parametrize(
    ("hook", "name"), [("jobs", "clean"), ("checks", "database"), ("checks", "revocations")]
)
def test_names_of_the_kernel(tmp_path: Path, database: Database, hook: str, name: str) -> None:
    """A job of the kernel's name would run in its place, or never."""
    item = Job(name, 60, handle) if hook == "jobs" else Check(name, handle)  # type: ignore[arg-type]
    kinds = {"key": KeyPlugin, "odd": answering(hook, lambda: [item])}
    assert (
        f'plugin odd (picoauth-odd 0.1.0) has a {hook[:-1]} "{name}", '
        f"which is a name of the kernel's: {TELL}."
    ) == unstartable(tmp_path, database, kinds)


def test_order_of_the_list(tmp_path: Path, database: Database) -> None:
    """Hooks run in the order of `plugins`, not in that of what is installed."""
    kinds = {name: answering("jobs", lambda name=name: [Job(name, 1, handle)]) for name in "cab"}  # type: ignore[arg-type, misc]
    app = application(tmp_path, database, {"key": KeyPlugin, **kinds})
    assert ["clean", "delete-closed", "c", "a", "b"] == [job.name for job in app.auth.jobs.jobs]


# Routes, and ways to log in.


def routing(*routes: Any, hook: str = "routes") -> Kind:
    return answering(hook, lambda: routes)


def route(path: str, policy: str = "public", method: str = "GET") -> Route:
    return Route(method=method, path=path, handler=handle, policy=policy)


def edge_route(path: str, method: str = "GET") -> EdgeRoute:
    return EdgeRoute(method=method, path=path, handler=handle)


@pytest.mark.parametrize(
    ("kinds", "clash", "owners"),
    [
        ({"a": routing(route("/x")), "b": routing(route("/x"))}, "GET /x", "a b"),
        ({"a": routing(route("/x/{id}")), "b": routing(route("/x/{n}"))}, "GET /x/{n}", "a b"),
        ({"a": routing(route("/x"), route("/x"))}, "GET /x", "a a"),
        ({"a": routing(route("/auth/me"))}, "GET /auth/me", "picoauth a"),
        ({"a": routing(route("/auth/session"))}, "GET /auth/session", "picoauth a"),
        (
            {"a": routing(edge_route("/x"), hook="edge"), "b": routing(route("/x"))},
            "GET /x",
            "a b",
        ),
        (
            {"a": routing(edge_route("/jwt/validate", "POST"), hook="edge")},
            "POST /jwt/validate",
            "picoauth a",
        ),
    ],
)
def test_routes_that_clash(
    tmp_path: Path, database: Database, kinds: dict[str, Kind], clash: str, owners: str
) -> None:
    """Two routes of one method and path, on the edge or behind it."""
    one, other = (
        name if name == "picoauth" else f"plugin {name} (picoauth-{name} 0.1.0)"
        for name in owners.split()
    )
    assert f"{clash} is a route of {one} and of {other}: list one of them." == (
        unstartable(tmp_path, database, {"key": KeyPlugin, **kinds})
    )


def test_route_without_a_policy(tmp_path: Path, database: Database) -> None:
    """A route says who may call it; forgetting that is an error in the plugin."""
    forgetful = answering("routes", lambda: [Route(method="GET", path="/x", handler=handle)])  # type: ignore[call-arg]
    assert (
        "plugin a (picoauth-a 0.1.0) fails in routes (TypeError: Route.__init__() missing 1 "
        f"required keyword-only argument: 'policy'): {TELL}."
    ) == unstartable(tmp_path, database, {"key": KeyPlugin, "a": forgetful})


GOOD: dict[str, dict[str, Any]] = {
    "routes": {"method": "GET", "path": "/x", "handler": handle, "policy": "public"},
    "edge": {"method": "GET", "path": "/x", "handler": handle},
    "jobs": {"name": "odd", "every": 60, "run": handle},
    "checks": {"name": "odd", "run": handle},
}
TYPES: dict[str, Callable[..., Any]] = {
    "routes": Route,
    "edge": EdgeRoute,
    "jobs": Job,
    "checks": Check,
}


@pytest.mark.parametrize(
    ("hook", "member", "value"),
    [
        *(
            ("routes", "path", path)
            for path in (None, "", "x", "/a b", "/{", "/}", "/{a-b}", "/{1}", "/{a}/{a}", "/<x>", "/x?y", "/é")
        ),
        ("routes", "method", "get"),
        ("routes", "method", None),
        ("routes", "method", ""),
        ("routes", "handler", None),
        ("routes", "policy", []),
        ("routes", "policy", None),
        ("routes", "body", int),
        ("routes", "body", {}),
        ("routes", "known", 3),
        ("routes", "answer", list),
        ("routes", "query", {"at": 3}),
        ("routes", "query", ["at"]),
        ("routes", "accepts", "text/plain"),
        ("routes", "also", [None]),
        ("routes", "problems", ["not_found"]),
        ("routes", "problems", [Problem("403", "closed", "Closed.")]),  # type: ignore[arg-type]
        ("routes", "status", "200"),
        ("routes", "media", None),
        ("routes", "summary", 3),
        ("routes", "example", b"x"),
        ("edge", "answer", int),
        ("edge", "path", "x"),
        ("edge", "method", 3),
        ("edge", "handler", "x"),
        ("jobs", "every", 0),
        ("jobs", "every", "x"),
        ("jobs", "every", True),
        ("jobs", "run", None),
        ("checks", "run", 3),
        ("checks", "level", "fatal"),
        ("checks", "level", []),
    ],
)  # fmt: skip
def test_members_that_cannot_be(
    tmp_path: Path, database: Database, hook: str, member: str, value: Any
) -> None:
    """What would break the start, or the first request, in words of others."""
    item = TYPES[hook](**{**GOOD[hook], member: value})
    kinds = {"key": KeyPlugin, "odd": answering(hook, lambda: [item])}
    what = "edge routes" if hook == "edge" else hook
    assert (
        f"plugin odd (picoauth-odd 0.1.0) has {what} whose `{member}` cannot be {value!r}: {TELL}."
    ) == unstartable(tmp_path, database, kinds)


@dataclass(frozen=True)
class Odd:
    """Has what no JSON is checked by."""

    at: list[str]


@dataclass(frozen=True)
class Lost:
    """Has an annotation that is nothing."""

    at: Nowhere  # type: ignore[name-defined]  # noqa: F821 - as in a plugin that was not tried


@dataclass(frozen=True)
class Unshown:
    """Has an example that is no JSON."""

    at: str = described("When.", example=b"x")


@pytest.mark.parametrize("place", ["routes body", "routes known", "edge body", "edge answer"])
@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (Odd, "TypeError: list[str] is no type that a body or an answer can have"),
        (Lost, "NameError: name 'Nowhere' is not defined"),
        (Unshown, "TypeError: Object of type bytes is not JSON serializable"),
    ],
)
def test_types_that_cannot_be_described(
    tmp_path: Path, database: Database, place: str, kind: type, reason: str
) -> None:
    """What would break the first request for the route, or for its description."""
    hook, member = place.split()
    item = TYPES[hook](**{**GOOD[hook], member: kind})
    kinds = {"key": KeyPlugin, "odd": answering(hook, lambda: [item])}
    what = "edge routes" if hook == "edge" else hook
    assert (
        f"plugin odd (picoauth-odd 0.1.0) has {what} whose `{member}` cannot be described ({reason}): {TELL}."
    ) == unstartable(tmp_path, database, kinds)


@pytest.mark.parametrize(
    "path", ["/", "/x", "/.well-known/x.json", "/u/{name}", "/a-b_c/{x}/{y}", "/@{x}", "/x~/:y"]
)
def test_paths(tmp_path: Path, database: Database, path: str) -> None:
    """A path is what a URL has as it is, and parameters."""
    kinds = {"key": KeyPlugin, "shelf": routing(route(path))}
    app = application(tmp_path, database, kinds)
    assert path in [registered.route.path for registered in app.routes]


def test_policy_that_nobody_guards(tmp_path: Path, database: Database) -> None:
    """A policy that does not exist lets nobody register."""
    assert (
        "GET /x of plugin a (picoauth-a 0.1.0) has the policy 'admins', which nothing guards: "
        "name one that exists, or list the plugin that has it."
    ) == unstartable(tmp_path, database, {"key": KeyPlugin, "a": routing(route("/x", "admins"))})


def test_no_way_to_log_in(tmp_path: Path, database: Database) -> None:
    """A server that nobody can log in to does not start."""
    assert (
        "plugins: none of those listed offers a way to log in: add one, such as password."
    ) == unstartable(tmp_path, database, {"code": CodePlugin})


async def test_enrolled_factor_without_its_plugin(tmp_path: Path) -> None:
    """Switching a plugin off does not quietly switch second factors off."""
    kinds = {"key": KeyPlugin, "code": CodePlugin}
    async with serving(tmp_path, settings_of(["password", *kinds]), plugins=kinds) as server:
        await server.register()
        tokens = await server.login()
        await server.post("/code/enrol", {"code": "1"}, token=tokens["access_token"])
    with pytest.raises(ConfigError) as raised:
        async with serving(tmp_path, settings_of(["password"])):
            raise AssertionError("it started")
    assert str(raised.value) == (
        "Users have enrolled the factor code, but no listed plugin offers it: "
        'list its plugin again, or put "code" into `ignore_factors`.'
    )
    async with serving(tmp_path, settings_of(["password"], 'ignore_factors = ["code"]')) as server:
        assert await server.login()
