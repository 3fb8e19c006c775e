"""Bad input on every route: a problem with a stable code, never a failure, and nothing stored."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import fields, is_dataclass
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio
from hypothesis import example, given, settings
from hypothesis import strategies as st

from picoauth import ANYTHING, AuthError, Route
from picoauth.parsers import DEPTH_LIMIT, EXACT, MEMBERS_LIMIT, parse_form, parse_json
from picoauth.testing import Server, serving
from tests.asgi import EXAMPLES, Answer, Lines, ask, bearer, rows, typed
from tests.factors import EVERY, PATIENT, PLUGINS, enrol

in_one_loop = pytest.mark.asyncio(loop_scope="module")
FEW = settings(EXAMPLES, max_examples=15)
"""Each example is sent to every route, or is a whole login."""

JSON = "application/json"
KERNEL_POLICIES = ("public", "flow", "session", "fresh")
LARGE = 64 * 1024 + 1

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-EXACT, EXACT),
    st.floats(allow_nan=False, allow_infinity=False),
    TEXTS,
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=6,
)
"""JSON that every parser reads alike."""


def deep(levels: int) -> bytes:
    return b'{"a": ' * (levels // 2) + b"[" * (levels - levels // 2)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    """A server with every kind of factor; Ann is registered and has a second factor."""
    folder = tmp_path_factory.mktemp("bad")
    async with serving(folder, EVERY + PATIENT, plugins=PLUGINS) as running:
        await running.register()
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def token(server: Server) -> str:
    """A fresh session of Ann's, who has codes."""
    found: str = (await enrol(server, "111111"))["access_token"]
    return found


def filled(path: str) -> str:
    """A path with something in the place of each parameter."""
    return "/".join("7" if part.startswith("{") else part for part in path.split("/"))


def targets(server: Server) -> list[tuple[str, str, Route | None]]:
    """Every route; those of the edge read the body themselves, if at all."""
    edge = [(route.method, route.path, None) for route in server.app.edge]
    behind = [(r.route.method, filled(r.route.path), r.route) for r in server.app.routes]
    assert edge
    assert behind
    return [*edge, *behind]


def reads_json(route: Route | None) -> bool:
    """Whether a body gets as far as the JSON parser: no guard of a plugin, no other type."""
    return (
        route is not None
        and route.policy in KERNEL_POLICIES
        and route.listener == "public"
        and JSON in route.accepts
    )


async def refused(
    server: Server,
    token: str,
    body: bytes,
    headers: Lines,
    expected: tuple[int, str],
    *,
    routes: Sequence[tuple[str, str, Route | None]] | None = None,
) -> list[Answer]:
    """Send a body to every route. Those that read JSON answer what is expected; nobody stores."""
    before = await rows(server)
    answers = []
    for method, path, route in routes or targets(server):
        length = ("Content-Length", str(len(body)))
        takes_token = route is None or ANYTHING in route.accepts
        lines = [*headers, length, *([] if takes_token else [bearer(token)])]
        got = await ask(server, method, path, body, headers=lines)
        status, code = got.code
        assert 400 <= status < 500, (method, path)
        assert code, (method, path)
        if reads_json(route):
            assert expected == (status, code), (method, path)
            answers.append(got)
    assert before == await rows(server)
    assert answers
    return answers


@in_one_loop
@FEW
@given(
    content_type=st.one_of(
        st.sampled_from(
            [
                "",
                "text/plain",
                "application/x-www-form-urlencoded",
                "multipart/form-data; boundary=x",
                "application/jsonp",
                "application/json, text/plain",
                "text/json",
                "*/*",
            ]
        ),
        st.text(st.characters(min_codepoint=32, max_codepoint=126)),
    ).filter(lambda text: text.partition(";")[0].strip().lower() != JSON),
    body=st.sampled_from([b"{}", b'{"username": "ann"}', b"--x\r\n\r\n\r\n--x--", b"\xff"]),
)
async def test_wrong_content_type(
    server: Server, token: str, content_type: str, body: bytes
) -> None:
    """A body that does not call itself JSON is not looked at."""
    headers = [typed(content_type)] if content_type else []
    await refused(server, token, body, headers, (415, "unsupported_media_type"))


@in_one_loop
@FEW
@given(encoding=st.sampled_from(["gzip", "identity", "", "br, gzip", "x"]))
async def test_content_encoding(server: Server, token: str, encoding: str) -> None:
    """A body that says it is encoded is not unpacked, and not read as if it were not."""
    headers = [typed(JSON), ("Content-Encoding", encoding)]
    await refused(server, token, b"{}", headers, (415, "unsupported_media_type"))


@in_one_loop
@FEW
@given(value=VALUES.filter(lambda value: not isinstance(value, dict)))
async def test_json_that_is_no_object(server: Server, token: str, value: Any) -> None:
    """Arrays, null, numbers and texts are no bodies."""
    body = json.dumps(value).encode()
    for got in await refused(server, token, body, [typed(JSON)], (400, "invalid_body")):
        assert [{"member": "", "message": "must be an object"}] == got.json["errors"]
        assert "must be an object" == got.json["detail"]


READ_APART: dict[str, bytes] = {
    "not a number": b"NaN",
    "infinity": b"Infinity",
    "minus infinity": b"-Infinity",
    "a float that is infinite": b"1e999",
    "a negative one": b"-1e999",
    "a long one": b"9" * 400 + b".0",
    "an integer that floats cannot hold": b"9007199254740993",
    "a negative such integer": b"-9007199254740993",
    "an integer of many digits": b"9" * 60000,
    "NUL": rb'"\u0000"',
    "raw NUL": b'"\x00"',
    "a raw line end": b'"a\nb"',
    "a lone surrogate": rb'"\ud800"',
    "surrogates the wrong way round": rb'"\udc00\ud800"',
    "NUL in a name": rb'{"\u0000": 1}',
    "a lone surrogate in a name": rb'{"\ud800": 1}',
    "a name twice": b'{"a": 1, "a": 1}',
    "a name twice in two spellings": rb'{"a": 1, "\u0061": 2}',
    "a name twice, deeper": b'{"a": {"b": 1, "b": 2}}',
    "many levels": deep(17) + b"1",
    "very many levels": deep(20000),
    "levels of arrays alone": b"[" * 60000,
    "levels of objects alone": b'{"":' * 10000,
    "leading zero": b"01",
    "plus sign": b"+1",
    "bare point": b"1.",
    "point first": b".5",
    "hexadecimal": b"0x10",
    "underscore": b"1_000",
    "other quotes": b"'a'",
    "no quotes": b"{a: 1}",
    "half a word": b"tru",
    "a comma too many": b"[1,]",
    "a comment": b"/**/1",
    "two values": b"1 2",
    "a byte order mark": b"\xef\xbb\xbf1",
    "an open text": b'"' + b"a" * 100,
    "too many members": json.dumps(dict.fromkeys(map(str, range(MEMBERS_LIMIT + 1)))).encode(),
}
PLACES = [b"%b", b'{"username": %b}', b'[{"x": [%b]}]', b'{"z": 1, "y": %b}']


@pytest.mark.parametrize("place", PLACES, ids=bytes.decode)
@pytest.mark.parametrize("name", READ_APART)
def test_json_that_is_read_apart(name: str, place: bytes) -> None:
    """Whatever two parsers would read differently, or one at great length, is not JSON here."""
    with pytest.raises(AuthError, match="invalid_json"):
        parse_json(place % READ_APART[name])


@in_one_loop
@FEW
@given(name=st.sampled_from(list(READ_APART)), place=st.sampled_from(PLACES))
async def test_json_that_is_read_apart_by_a_route(
    server: Server, token: str, name: str, place: bytes
) -> None:
    """No route reads such a body, whoever sends it."""
    body = place % READ_APART[name]
    await refused(server, token, body, [typed(JSON)], (400, "invalid_json"))


@in_one_loop
@FEW
@given(body=st.binary(min_size=1, max_size=64).filter(lambda body: not is_json(body)))
@example(body=b'{"username": "\xff\xfe"}')
@example(body=b'{"username": "\xed\xa0\x80"}')
@example(body=b'{"username": "\xc0\xaf"}')
@example(body='{"username": "ann"}'.encode("utf-16"))
@example(body=b" ")
async def test_bytes_that_are_no_json(server: Server, token: str, body: bytes) -> None:
    """Invalid UTF-8, other encodings, and any other bytes."""
    await refused(server, token, body, [typed(JSON)], (400, "invalid_json"))


def is_json(body: bytes) -> bool:
    try:
        json.loads(body.decode())
    except ValueError:
        return False
    return True


@in_one_loop
@pytest.mark.parametrize("content_type", [JSON, "text/plain", "multipart/form-data; boundary=x"])
@pytest.mark.parametrize("body", [b"{}".ljust(LARGE), b"x" * LARGE, b"[" * LARGE, b"\0" * 200_000])
async def test_bodies_over_the_limit(
    server: Server, token: str, body: bytes, content_type: str
) -> None:
    """A body over 64 KiB is too large, whatever it is."""
    await refused(server, token, body, [typed(content_type)], (413, "body_too_large"))


@in_one_loop
async def test_empty_bodies(server: Server, token: str) -> None:
    """Nothing is no JSON, and without a type it is nothing that a route takes."""
    wanting = [t for t in targets(server) if t[2] is not None and t[2].body is not None]
    json_type = [typed(JSON)]
    await refused(server, token, b"", json_type, (400, "invalid_json"), routes=wanting)
    await refused(server, token, b"", [], (415, "unsupported_media_type"), routes=wanting)


def of_members(server: Server) -> list[tuple[str, str, Route]]:
    """Routes whose body is a type with members."""
    return [(m, p, r) for m, p, r in targets(server) if r is not None and is_dataclass(r.body)]


@in_one_loop
@FEW
@given(name=TEXTS, value=VALUES)
@example(name="usernames", value="ann")
@example(name="__class__", value={})
@example(name="é" * 200, value=1)
async def test_unknown_members(server: Server, token: str, name: str, value: Any) -> None:
    """A member that the route does not know is named, cut short, and nothing else is done."""
    for method, path, route in of_members(server):
        known: dict[str, Any] = {field.name: "aaaaaaaa" for field in fields(route.body or type)}
        if name in known:
            continue
        body = json.dumps({**known, name: value}).encode()
        one = [(method, path, route)]
        expected = 400, "invalid_body"
        for got in await refused(server, token, body, [typed(JSON)], expected, routes=one):
            [wrong] = [e for e in got.json["errors"] if e["message"].startswith("is unknown")]
            assert wrong["member"] == name[:64] or not name.isprintable()


@in_one_loop
@FEW
@given(
    values=st.lists(VALUES.filter(lambda value: not isinstance(value, str)), min_size=1, max_size=4)
)
async def test_members_of_other_types(server: Server, token: str, values: list[Any]) -> None:
    """Nothing is taken for a text that is none: no coercion (H-6)."""
    for method, path, route in of_members(server):
        names = [field.name for field in fields(route.body or type)]
        body = dict(
            zip(names, [value if value is not None else [] for value in values], strict=False)
        )
        one = [(method, path, route)]
        expected = 400, "invalid_body"
        await refused(server, token, json.dumps(body).encode(), [typed(JSON)], expected, routes=one)


@in_one_loop
async def test_answers_stay_small(server: Server, token: str) -> None:
    """As many unknown members as an object may have are answered within 64 KiB."""
    names = [f"{n:02}{'usernam' * 50}" for n in range(MEMBERS_LIMIT)]
    body = json.dumps(dict.fromkeys(names)).encode()
    routes = of_members(server)
    expected = 400, "invalid_body"
    for got in await refused(server, token, body, [typed(JSON)], expected, routes=routes):
        assert len(got.body) < LARGE


@in_one_loop
@FEW
@given(value=st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
@example(value="\0")
@example(value="..")
@example(value="' or 1=1 --")
@example(value="\N{REPLACEMENT CHARACTER}" * 50)
async def test_path_parameters(server: Server, token: str, value: str) -> None:
    """Nothing in the place of a parameter is more than something that is not there."""
    before = await rows(server)
    for registered in server.app.routes:
        route = registered.route
        if "{" not in route.path:
            continue
        parts = [quote(value, safe="") if "{" in part else part for part in route.path.split("/")]
        body = b"" if route.body is None else json.dumps({"label": "x", **route.example}).encode()
        headers = [typed(JSON), bearer(token)]
        got = await ask(server, route.method, "/".join(parts), body, headers=headers)
        assert (404, "not_found") == got.code
    assert before == await rows(server)


PUBLIC = (
    "/health-check",
    "/openapi.json",
    "/.well-known/jwks.json",
    "/.well-known/picoauth/revocations",
    "/.well-known/picoauth/revocations/stream",
)
"""What everybody may have, whatever else the request says."""


@in_one_loop
@pytest.mark.parametrize("name", ["authorization", "content-type", "user-agent", "cookie", "x-odd"])
@FEW
@given(value=st.text(st.characters(max_codepoint=255, exclude_characters="\r\n"), max_size=300))
async def test_headers(server: Server, name: str, value: str) -> None:
    """Whatever a header says, nobody gets in by it, and nothing breaks."""
    before = await rows(server)
    for method, path, route in targets(server):
        if path in PUBLIC:
            continue
        got = await ask(server, method, path, headers=[(name, value)])
        status, code = got.code
        assert 400 <= status < 500, (method, path)
        if route is not None and route.policy in ("session", "fresh"):
            assert code in ("token_missing", "invalid_token")
    assert before == await rows(server)


MEMBERS = st.sampled_from(
    [
        *("factor", "flow", "session", "username", "email", "password", "code", "spare"),
        *("key", "link", "hint", "owner", "verified", "to", "clicked", "other", ""),
    ]
)
NEAR = st.sampled_from(["ann", "ANN", "a@b.example", "token", "password", "code", "key", "link"])
STEPS = st.dictionaries(MEMBERS, st.one_of(VALUES, NEAR), max_size=5)
"""Bodies of a login: any value for any member that any factor has."""


async def survived(server: Server, token: str, path: str, body: dict[str, Any]) -> Answer:
    headers = [typed(JSON), bearer(token)]
    got = await ask(server, "POST", path, json.dumps(body).encode(), headers=headers)
    status, code = got.code
    assert (status == 200 and path.endswith("/begin")) or 400 <= status < 500, body
    assert code != "conflict", body
    return got


@in_one_loop
@pytest.mark.parametrize("path", ["login/begin", "login", "stepup/begin", "stepup"])
@EXAMPLES
@given(body=STEPS)
@example(body={"username": "ann", "password": {"password": "a"}})
@example(body={"username": ["ann"], "password": "a"})
@example(body={"email": None, "password": "a"})
@example(body={"factor": "password", "password": []})
@example(body={"factor": ""})
@example(body={"flow": ""})
async def test_any_value_of_any_member(
    server: Server, token: str, path: str, body: dict[str, Any]
) -> None:
    """A login that says anything at all is refused, or asked for more, and makes no session."""
    before = (await rows(server))["sessions"]
    await survived(server, token, f"/auth/{path}", body)
    assert before == (await rows(server))["sessions"]


async def half_way(server: Server, token: str) -> str:
    """A flow of Ann's where her key is proven, and her code is not."""
    begun = await survived(server, token, "/auth/login/begin", {"factor": "key"})
    body = {"factor": "key", "flow": begun.json["flow"], "owner": "ann"}
    proven = await survived(server, token, "/auth/login", body)
    assert (401, "more_needed") == proven.code
    flow: str = proven.json["flow"]
    return flow


@in_one_loop
@pytest.mark.parametrize("factor", sorted({"password", *PLUGINS}))
@FEW
@given(payload=STEPS, beside=VALUES)
async def test_any_value_for_each_factor(
    server: Server, token: str, factor: str, payload: dict[str, Any], beside: Any
) -> None:
    """Within a flow, each factor survives whatever it is given, and proves nothing by it."""
    before = (await rows(server))["sessions"]
    flow = await half_way(server, token)
    own = {**payload, "factor": factor}
    begun = await survived(server, token, "/auth/login/begin", {**own, "flow": flow})
    for body in (own, {"factor": "key", "owner": "ann", factor: beside}):
        flow = begun.json.get("flow", flow)
        begun = await survived(server, token, "/auth/login", {**body, "flow": flow})
    assert before == (await rows(server))["sessions"]


@EXAMPLES
@given(value=VALUES)
def test_good_json_is_read(value: Any) -> None:
    """What every parser reads alike comes out as it went in."""
    assert value == parse_json(json.dumps(value).encode())
    assert value == parse_json(json.dumps(value, ensure_ascii=False, indent=1).encode())


@pytest.mark.parametrize(
    "body",
    [
        *(b"9007199254740992", b"-9007199254740992", b"-0", b"1e308", b"1E-400"),
        b"[" * DEPTH_LIMIT + b"]" * DEPTH_LIMIT,
        b"[" * DEPTH_LIMIT + b'1, "a", null' + b"]" * DEPTH_LIMIT,
        b'{"a": ' * DEPTH_LIMIT + b"1" + b"}" * DEPTH_LIMIT,
        b"{" + b",".join(b'"%d": 1' % n for n in range(MEMBERS_LIMIT)) + b"}",
        rb'"\ud83d\ude00"',
    ],
    ids=lambda body: body[:20],
)
def test_json_at_its_limits(body: bytes) -> None:
    """Depth, members and numbers go exactly as far as they say."""
    assert json.loads(body) == parse_json(body)


@pytest.mark.parametrize(
    "body",
    [
        b"9007199254740993",
        b"[" * (DEPTH_LIMIT + 1) + b"]" * (DEPTH_LIMIT + 1),
        b'{"a": ' * DEPTH_LIMIT + b"[]" + b"}" * DEPTH_LIMIT,
        b"{" + b",".join(b'"%d": 1' % n for n in range(MEMBERS_LIMIT + 1)) + b"}",
    ],
    ids=lambda body: body[:20],
)
def test_json_beyond_its_limits(body: bytes) -> None:
    """One step further is refused."""
    with pytest.raises(AuthError, match="invalid_json"):
        parse_json(body)


@EXAMPLES
@given(body=st.binary(max_size=200))
def test_any_form(body: bytes) -> None:
    """Any bytes as a form are texts by name, or refused."""
    try:
        found = parse_form(body)
    except AuthError:
        found = {}
    assert all(found.values())
