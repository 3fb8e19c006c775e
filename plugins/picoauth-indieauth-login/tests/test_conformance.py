"""What the specifications ask of a client: a test for each line of the table in the README."""

from __future__ import annotations

import hashlib
import json
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Any

import pytest
from people import (
    ANN,
    BACK,
    CLIENT,
    ENDPOINT,
    HOME,
    IN,
    ISSUER,
    METADATA,
    OPEN,
    REFUSED,
    TRUSTED,
    UNUSABLE,
    People,
    as_json,
    fragment,
    page,
    people,
    query,
    told,
)

from picoauth import AuthError
from picoauth_fetch.testing import answer
from picoauth_indieauth_login import UnknownPermissionSeen
from picoauth_indieauth_login.client import MOST_PERMISSIONS
from picoauth_indieauth_login.permissions import REPORTED
from picoauth_indieauth_login.profiles import candidates, canonical

NO_PROFILES = (
    *("", " ", "/", "ftp://ann.example/", "mailto:ann@ann.example"),
    *("https://ann.example:8443/", "https://ann.example:443/", "https://ann.example/#"),
    *("https://ann.example/#me", "https://ann@ann.example/", "https://ann:x@ann.example/"),
    *("https://127.0.0.1/", "https://[::1]/", "https://2130706433/", "https://127.1/"),
    *("https://0x7f000001/", "https://ann.example/../x", "https://ann.example/%2e%2E/x"),
    *("https://ann.example/./", "https://ann example/", "https://ann.example/\\x"),
    *("https://ann.example/\nx", "javascript:alert(1)", "https://", "https:///x", "x" * 3000),
)


async def endpoint_of(them: People, me: str = ANN) -> str:
    """The endpoint that a browser is sent to."""
    return (await them.begin(me)).url.partition("?")[0]


async def refusal(them: People, me: str = ANN) -> tuple[int, str]:
    return told(await them.ask(me=me))


# "Sign in with your domain"


def test_c_1_canonical() -> None:
    """A path is there, and the host in lower case; names in any script are looked up as one."""
    for typed in ("https://ann.example", "HTTPS://Ann.Example/", "https://ANN.EXAMPLE"):
        assert ANN == canonical(typed)
    assert "https://ann.example/Ann?x=Y" == canonical("https://ANN.example/Ann?x=Y")
    assert "https://xn--bcher-kva.example/" == canonical("https://Bücher.example")


def test_c_1_bare_host() -> None:
    """One without a scheme is tried by https, and by http only where that is allowed."""
    assert [ANN] == candidates(" ann.example ", http=False)
    assert [ANN, "http://ann.example/"] == candidates("ann.example", http=True)
    assert ["https://ann.example/x"] == candidates("ann.example/x", http=False)


@pytest.mark.parametrize("typed", NO_PROFILES)
async def test_c_1_no_profiles(them: People, typed: str) -> None:
    """What can be nobody's profile URL is refused, and nothing is fetched."""
    before = len(them.web.asked)
    assert UNUSABLE == await refusal(them, typed)
    assert before == len(them.web.asked)


async def test_c_1_http(tmp_path: Path) -> None:
    """By default nobody is who the network says; by setting a bare host falls back to http."""
    with pytest.raises(AuthError):
        candidates("http://ann.example/", http=False)
    async with people(tmp_path, f"{OPEN}http_profiles = true\n") as them:
        from picoauth_fetch.testing import site

        async with site() as plain:
            plain.answers["/"] = page(f'<link rel="authorization_endpoint" href="{ENDPOINT}">')
            dead = {"ann.example": plain.place}
            them.reach(dead)
            begun = await them.begin("ann.example")
            assert "http://ann.example/" == begun.asked["me"]


async def test_c_2_redirects(them: People) -> None:
    """Redirects are followed, five of them, to other hosts too."""
    for number in range(6):
        where = f"https://bob.example/{number + 1}" if number else "/1"
        them.web.answers[f"/{number}"] = answer(status=302, Location=where)
    them.web.answers["/5"] = them.web.answers["/"]
    assert ENDPOINT == await endpoint_of(them, f"{ANN}0")
    them.web.answers["/5"] = answer(status=302, Location="/")
    assert UNUSABLE == await refusal(them, f"{ANN}0")


async def test_c_2_status(them: People) -> None:
    """An error page names nothing."""
    body = f'<link rel="indieauth-metadata" href="{METADATA}">'.encode()
    for status in (400, 404, 500):
        them.web.answers["/"] = answer(body, status=status, kind="text/html")
        assert UNUSABLE == await refusal(them)


async def test_c_3_precedence(them: People) -> None:
    """The header comes first, then the first `<link>` of the page."""
    two = '<link rel="indieauth-metadata" href="/a"><link rel="indieauth-metadata" href="/b">'
    for path in "abc":
        them.web.answers[f"/{path}"] = as_json(
            {"issuer": ANN, "authorization_endpoint": f"{ANN}of-{path}"}
        )
    them.web.answers["/"] = page(two)
    assert f"{ANN}of-a" == await endpoint_of(them)
    them.web.answers["/"] = page(two, Link='</c>; rel="x indieauth-metadata", </b>; rel=me')
    assert f"{ANN}of-c" == await endpoint_of(them)


async def test_c_3_relations(them: People) -> None:
    """A relation is one of several, in any case; in what is no HTML the header alone counts."""
    them.web.answers["/"] = page(f'<link rel="me INDIEAUTH-Metadata" href="{METADATA}">')
    assert ENDPOINT == await endpoint_of(them)
    text = f'<link rel="indieauth-metadata" href="{METADATA}">'.encode()
    them.web.answers["/"] = answer(text, kind="text/plain")
    assert UNUSABLE == await refusal(them)
    link = f'<{METADATA}>; rel="indieauth-metadata"'
    them.web.answers["/"] = answer(b"{}", kind="application/json", Link=link)
    assert ENDPOINT == await endpoint_of(them)


async def test_c_3_relative(them: People) -> None:
    """Relative links are relative to where the redirects led."""
    them.web.answers["/"] = answer(status=301, Location="https://bob.example/deep/page")
    them.web.answers["/deep/page"] = page('<link rel="indieauth-metadata" href="meta">')
    them.web.answers["/deep/meta"] = as_json(
        {"issuer": "https://bob.example/deep/", "authorization_endpoint": "auth"}
    )
    assert "https://bob.example/deep/auth" == await endpoint_of(them)


async def test_c_4_legacy(them: People) -> None:
    """Without metadata, the older relation is taken, from header or page."""
    them.web.answers["/"] = page(f'<link href="{ENDPOINT}?x=1" rel="authorization_endpoint">')
    begun = await them.begin()
    assert begun.url.startswith(f"{ENDPOINT}?x=1&response_type=code&")
    them.web.answers["/"] = page(Link=f'<{ENDPOINT}>; rel="authorization_endpoint"')
    assert ENDPOINT == await endpoint_of(them)


@pytest.mark.parametrize(
    "text",
    [
        '<a rel="REL" href="HREF">x</a>',
        '<!-- <link rel="REL" href="HREF"> -->',
        '<script>\'<link rel="REL" href="HREF">\'</script>',
        "<p title=\"<link rel='REL' href='HREF'>\">",
        '<template><link rel="REL" href="HREF"></template>',
        '&lt;link rel="REL" href="HREF"&gt;',
    ],
)
async def test_c_5_link_elements(them: People, text: str) -> None:
    """What a commenter could write names no endpoint."""
    for rel, href in (("indieauth-metadata", METADATA), ("authorization_endpoint", ENDPOINT)):
        them.web.answers["/"] = page(text.replace("REL", rel).replace("HREF", href))
        assert UNUSABLE == await refusal(them)


@pytest.mark.parametrize(
    "issuer",
    [
        *("http://auth.example/", "https://auth.example/?x", "https://auth.example/#x"),
        *("https://auth.example/other", "https://evil.example/", "https://auth.examp"),
        *("https://auth.example/?", "auth.example", "", None, 1, ["https://auth.example/"]),
    ],
)
async def test_c_6_issuer(them: People, issuer: Any) -> None:
    """An issuer is of https, without query and fragment, and a prefix of its metadata's URL."""
    them.web.answers["/metadata"] = as_json({"issuer": issuer, "authorization_endpoint": ENDPOINT})
    assert UNUSABLE == await refusal(them)


async def test_c_6_issuer_of_another_host(them: People) -> None:
    """A prefix of letters alone would make `auth.example` of `auth.example.evil.example`."""
    them.web.answers["/"] = page(
        '<link rel="indieauth-metadata" href="https://evil.example/metadata">'
    )
    issuer = "https://evil.exampl"
    them.web.answers["/metadata"] = as_json({"issuer": issuer, "authorization_endpoint": ENDPOINT})
    assert UNUSABLE == await refusal(them)


async def test_c_6_no_downgrade(them: People) -> None:
    """Metadata that is spoilt is not passed over for the older relation, which has no issuer."""
    them.web.answers["/"] = page(
        f'<link rel="indieauth-metadata" href="{METADATA}">'
        f'<link rel="authorization_endpoint" href="{ENDPOINT}">'
    )
    for spoilt in (answer(status=500), answer(b"{", kind="application/json"), as_json([])):
        them.web.answers["/metadata"] = spoilt
        assert UNUSABLE == await refusal(them)


@pytest.mark.parametrize(
    "endpoint",
    [
        *("http://auth.example/a", "javascript:alert(1)", "https://a@auth.example/"),
        *("https://auth.example/#x", "http://[", "https://[", "https://10.0.0.1/", 1, None),
    ],
)
async def test_c_6_endpoints(them: People, endpoint: Any) -> None:
    """An endpoint is a URL of the web, by https."""
    them.web.answers["/metadata"] = as_json({"issuer": ISSUER, "authorization_endpoint": endpoint})
    assert UNUSABLE == await refusal(them)
    if isinstance(endpoint, str):
        them.web.answers["/"] = page(f'<link rel="authorization_endpoint" href="{endpoint}">')
        assert UNUSABLE == await refusal(them)


async def test_c_7_request(them: People) -> None:
    """PKCE by S256, a state, the profile URL; a new one each time."""
    first, second = await them.begin("ann.example"), await them.begin()
    asked = first.asked
    assert ("code", "S256") == (asked["response_type"], asked["code_challenge_method"])
    assert (CLIENT, BACK, ANN) == (asked["client_id"], asked["redirect_uri"], asked["me"])
    assert (43, 32) == (len(asked["code_challenge"]), len(asked["state"]))
    assert "scope" not in asked
    assert asked["state"] != second.asked["state"]
    assert asked["code_challenge"] != second.asked["code_challenge"]


async def test_c_7_verifier(them: People) -> None:
    """What is redeemed has the verifier of the challenge, in characters that it may have."""
    await them.linked()
    begun = await them.begin()
    assert IN == told(await them.come_back(begun.flow, begun.brought()))
    verifier = them.form["code_verifier"]
    digest = hashlib.sha256(verifier.encode()).digest()
    packed = urlsafe_b64encode(digest).rstrip(b"=").decode()
    assert begun.asked["code_challenge"] == packed
    assert 43 == len(verifier)


async def test_c_8_document(them: People) -> None:
    """The client's URL has its document, which the endpoint of this project reads, too."""
    found = await them.server.get("/auth/indieauth/client")
    body = found.json()
    assert (CLIENT, "app.example") == (body["client_id"], body["client_name"])
    assert body["client_id"].startswith(body["client_uri"])
    assert ([BACK], "none") == (body["redirect_uris"], body["token_endpoint_auth_method"])
    assert "max-age" in found.headers["cache-control"]
    from picoauth_privateauth.documents import from_json

    assert (BACK,) == from_json(found.content, [CLIENT]).redirect_uris


async def test_c_9_state(them: People) -> None:
    """A state that is none, another one, or another browser's proves nothing."""
    await them.linked()
    begun, other = await them.begin(), await them.begin()
    posts = len([a for a in them.web.asked if a.method == "POST"])
    for state in (None, "", "x", other.asked["state"], begun.asked["state"] + "x"):
        flow = (await them.begin()).flow
        assert REFUSED == told(await them.come_back(flow, begun.brought(state=state)))
    assert REFUSED == told(await them.come_back(other.flow, begun.brought()))
    assert posts == len([a for a in them.web.asked if a.method == "POST"])


async def test_c_9_once(them: People) -> None:
    """A state is good for one look, whatever comes of it."""
    await them.linked()
    begun = await them.begin()
    wrong = await them.come_back(begun.flow, begun.brought(iss="https://evil.example/"))
    assert REFUSED == told(wrong)
    assert REFUSED == told(await them.come_back(wrong.json()["flow"], begun.brought()))
    assert (401, "flow_ended") == told(await them.come_back(begun.flow, begun.brought()))


@pytest.mark.parametrize(
    "iss", [None, "", "https://auth.example", "https://AUTH.example/", "https://evil.example/"]
)
async def test_c_9_iss(them: People, iss: str | None) -> None:
    """Another issuer, to the letter, is refused, and the code goes to nobody."""
    await them.linked()
    begun = await them.begin()
    posts = len([a for a in them.web.asked if a.method == "POST"])
    assert REFUSED == told(await them.come_back(begun.flow, begun.brought(iss=iss)))
    assert posts == len([a for a in them.web.asked if a.method == "POST"])


async def test_c_9_legacy_iss(them: People) -> None:
    """Where no issuer is known there is none to compare; one of another host is refused."""
    await them.linked()
    them.web.answers["/"] = page(f'<link rel="authorization_endpoint" href="{ENDPOINT}">')
    for iss, expected in (
        (None, IN),
        (ISSUER, IN),
        ("https://evil.example/", REFUSED),
        ("nobody", REFUSED),
    ):
        begun = await them.begin()
        assert expected == told(await them.come_back(begun.flow, begun.brought(iss=iss)))


async def test_c_9_errors(them: People) -> None:
    """An error is no proof, be there a code or not, from whomever it is."""
    await them.linked()
    for changes in ({"error": "access_denied", "code": None}, {"error": "x"}, {"code": ""}):
        begun = await them.begin()
        assert REFUSED == told(await them.come_back(begun.flow, begun.brought(**changes)))


async def test_c_10_redeem(them: People) -> None:
    """At the authorization endpoint, by POST, for JSON."""
    await them.linked()
    await them.login()
    assert "/authorize" == them.posted.path
    assert "application/json" == them.posted.headers["accept"]
    assert "application/x-www-form-urlencoded" == them.posted.headers["content-type"]
    assert {"authorization_code", "a code", CLIENT, BACK} < set(them.form.values())
    assert "x-privateauth-version" not in them.posted.headers


async def test_c_10_no_redirect(them: People) -> None:
    """A redirect is no identity, and is not followed."""
    await them.linked()
    them.web.answers["/elsewhere"] = as_json({"me": ANN})
    them.web.answers["/authorize"] = answer(status=302, Location="/elsewhere")
    assert REFUSED == told(await them.login())
    assert "/elsewhere" not in [asked.path for asked in them.web.asked]


@pytest.mark.parametrize(
    "members", [{}, [], None, "me", {"me": None}, {"me": 1}, {"me": ""}, {"me": "ann.example"}]
)
async def test_c_10_no_identity(anybody: People, members: Any) -> None:
    """An answer without a profile URL is nobody's; so is an error."""
    anybody.says(members)
    assert REFUSED == told(await anybody.login())
    anybody.says({"me": ANN}, status=400)
    assert REFUSED == told(await anybody.login())


async def test_c_11_other_me(anybody: People) -> None:
    """A `me` that was not on the way has to name the same endpoint itself."""
    anybody.says({"me": "https://bob.example/"})
    assert IN == told(await anybody.login())
    assert await anybody.user_of("https://bob.example/")
    assert await anybody.user_of() is None


async def test_c_11_other_endpoint(anybody: People) -> None:
    """One that names another endpoint, or none, is not this endpoint's to tell."""
    anybody.web.answers["/victim"] = page(
        '<link rel="authorization_endpoint" href="https://bob.example/authorize">'
    )
    anybody.web.answers["/silent"] = page()
    for me in ("https://ann.example/victim", "https://bob.example/silent", "https://ann.example/x"):
        anybody.says({"me": me})
        assert REFUSED == told(await anybody.login())
        assert await anybody.user_of(me) is None


async def test_c_11_same_host(anybody: People) -> None:
    """Being on the host of what was entered is not enough: others live there."""
    anybody.web.answers["/ann"] = anybody.web.answers["/"]
    anybody.web.answers["/bob"] = page(
        '<link rel="authorization_endpoint" href="https://bob.example/authorize">'
    )
    anybody.says({"me": "https://evil.example/bob"})
    assert REFUSED == told(await anybody.login("https://evil.example/ann"))


async def test_c_11_on_the_way(anybody: People) -> None:
    """What the redirects led over needs no second look."""
    anybody.web.answers["/old"] = answer(status=302, Location="https://bob.example/")
    anybody.says({"me": "https://bob.example/"})
    begun = await anybody.begin(f"{ANN}old")
    gets = len(anybody.web.asked)
    assert IN == told(await anybody.come_back(begun.flow, begun.brought()))
    assert gets + 1 == len(anybody.web.asked)


async def test_c_12_stored(anybody: People) -> None:
    """What was answered is stored in its one form, and only if it can be a profile URL."""
    anybody.says({"me": "HTTPS://Ann.Example"})
    assert IN == told(await anybody.login())
    assert await anybody.user_of(ANN)
    for me in (
        "https://ann.example:443/",
        "https://127.0.0.1/",
        "https://ann.example/#x",
        "x" * 3000,
    ):
        anybody.says({"me": me})
        assert REFUSED == told(await anybody.login())


async def test_c_13_profile(anybody: People) -> None:
    """What else the endpoint tells links nothing: not the address of another account."""
    from picoauth import identifier

    await anybody.token("ann")
    auth = anybody.server.auth
    ann = await auth.users.find("username", "ann")
    assert ann is not None
    address = identifier("email", "ann@example.com", verified=True)
    await auth.database.write(auth.users.naming(ann.id, address, auth.now()))
    anybody.says({"me": ANN, "profile": {"email": "ann@example.com", "name": "Ann"}})
    assert IN == told(await anybody.login())
    assert ann.id != await anybody.user_of()


async def test_c_14_unknown_members(anybody: People) -> None:
    """They are ignored; a token that nobody asked for is kept nowhere."""
    anybody.says({"me": ANN, "access_token": "SECRET-TOKEN", "x": {"y": [1]}})
    assert IN == told(await anybody.login())
    folder = anybody.server.folder
    assert not any(b"SECRET-TOKEN" in path.read_bytes() for path in folder.glob("picoauth.db*"))


@pytest.mark.parametrize(
    "address", ["10.0.0.1", "::1", "::ffff:127.0.0.1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::"]
)
async def test_c_15_ssrf(anybody: People, address: str) -> None:
    """No page, metadata, redirect, endpoint or answered domain leads into a private network."""
    inside = {"bob.example": address}
    anybody.reach(inside)
    posts = len(anybody.web.asked)
    assert UNUSABLE == await refusal(anybody, "https://bob.example/")
    for where in ("https://bob.example/", "https://127.0.0.1/", "http://169.254.169.254/"):
        anybody.web.answers["/redirect"] = answer(status=302, Location=where)
        assert UNUSABLE == await refusal(anybody, f"{ANN}redirect")
        anybody.web.answers["/meta"] = page(f'<link rel="indieauth-metadata" href="{where}">')
        assert UNUSABLE == await refusal(anybody, f"{ANN}meta")
    anybody.web.answers["/endpoint"] = page(
        '<link rel="authorization_endpoint" href="https://bob.example/">'
    )
    begun = await anybody.begin(f"{ANN}endpoint")
    assert REFUSED == told(await anybody.come_back(begun.flow, begun.brought(iss=None)))
    anybody.says({"me": "https://bob.example/"})
    assert REFUSED == told(await anybody.login())
    assert posts < len(anybody.web.asked)


async def test_c_15_too_long(them: People) -> None:
    """A page that has no end is not read to it."""
    them.web.answers["/"] = page("x" * 300_000)
    assert UNUSABLE == await refusal(them)


async def test_c_15_starts(tmp_path: Path) -> None:
    """At one host so many logins begin in a minute; others go on, and so does the next minute."""
    async with people(tmp_path, "[indieauth-login]\ndomains = true\nstarts = 2\n") as them:
        for path in ("", "x"):
            them.web.answers[f"/{path}"] = them.web.answers["/"]
            await them.begin(f"{ANN}{path}")
        them.server.clock.advance(30)
        refused = await them.ask(me="ann.example/y")
        assert (429, "too_many_attempts") == told(refused)
        assert "30" == refused.headers["retry-after"]
        await them.begin("https://bob.example/")
        them.server.clock.advance(30)
        await them.begin()


async def test_c_15_throttled(them: People) -> None:
    """For one domain logins are begun only so often, whoever begins them, and then later."""
    statuses = [(await them.ask(me=ANN)).status_code for _ in range(12)]
    assert 429 == statuses[-1]
    assert 200 == (await them.ask(me="https://bob.example/")).status_code


async def test_c_16_return(them: People) -> None:
    """The way back leads to the page of the settings alone, whatever the query has."""
    more = "code=a%26b&state=s&iss=i&return_to=https://evil.example/&page=//evil.example"
    found = await them.server.get(f"/auth/indieauth/callback?{more}")
    assert 303 == found.status_code
    location = found.headers["location"]
    assert location.startswith("https://app.example/login/#indieauth=")
    assert {"code": "a&b", "state": "s", "iss": "i"} == fragment(location)
    assert (400, "invalid_query") == told(
        await them.server.get("/auth/indieauth/callback?code=a&code=b")
    )


# PrivateAuth


async def trusted(them: People, **members: Any) -> tuple[int, str]:
    """A login at the trusted endpoint, which answers so."""
    them.says({"username": "ann", "permissions": ["media:watch"], **members}, path="/home")
    return told(await them.login(None, endpoint="home"))


async def test_pa_c_1_restricted(them: People) -> None:
    """A trusted endpoint is asked without any discovery; domains can be switched off."""
    assert HOME == (await them.begin(None, endpoint="home")).url.partition("?")[0]
    assert [] == them.web.asked
    assert (400, "unknown_endpoint") == told(await them.ask(endpoint="evil"))
    assert (400, "unknown_endpoint") == told(await them.ask(endpoint="home", me=ANN))


async def test_pa_c_1_switch(tmp_path: Path) -> None:
    """With `domains = false` nobody comes in by a domain."""
    async with people(tmp_path, f"[indieauth-login]\ndomains = false\n{TRUSTED}") as them:
        assert UNUSABLE == told(await them.ask(me=ANN))
        assert IN == await trusted(them)


async def test_pa_c_2_no_me(them: People) -> None:
    """Nobody has to say who she is, and nobody needs a domain."""
    assert "me" not in (await them.begin(None, endpoint="home")).asked
    assert IN == await trusted(them)


async def test_pa_c_3_header(them: People) -> None:
    """The code is redeemed as PrivateAuth has it."""
    await trusted(them)
    assert "1" == them.posted.headers["x-privateauth-version"]


async def test_pa_c_4_domains(anybody: People) -> None:
    """Where domains count, one that the endpoint does not control is refused."""
    anybody.says({"me": "https://bob.example/x", "username": "ann", "permissions": ["media:watch"]})
    assert REFUSED == told(await anybody.login())


async def test_pa_c_5_more_members(them: People) -> None:
    """They are ignored, whatever they are; the name is shown, if it can be."""
    assert IN == await trusted(them, name="Ann Smith", shortName=1, groups={"x": []}, me=7)
    [session] = await them.server.auth.database.read("select name from users")
    assert ("Ann Smith",) == tuple(session)
    for name in (1, "", "x\ny", "x" * 300):
        assert IN == await trusted(them, username=f"u{name!r:.9}", name=name)


async def test_pa_c_6_case(them: People) -> None:
    """Permissions are compared without regard to case; who lacks the required one stays out."""
    assert IN == await trusted(them, permissions=["MEDIA:watch", "Other:X"])
    for permissions in ([], ["media:listen"], ["other:media:watch"], ["media:watchx"]):
        assert (403, "permission_required") == await trusted(them, permissions=permissions)
        assert (403, "permission_required") == await trusted(
            them, username="new", permissions=permissions
        )


async def test_pa_c_6_unknown(them: People) -> None:
    """One of this application that nobody knows is told, once per login; others' are not."""
    told_of = ["media:watch", "Media:Listen", "media:wacth", "other:x"]
    await trusted(them)
    await trusted(them, permissions=told_of)
    [event] = them.server.events.of(UnknownPermissionSeen)
    assert ("home", "media:wacth") == (event.endpoint, event.permission)


async def test_pa_c_6_many(them: People) -> None:
    """However many an endpoint tells, and however long, so many are kept, and few are reported."""
    told_of = ["media:watch", *(f"media:{number}" for number in range(5000)), "media:" + "x" * 9000]
    assert IN == await trusted(them, permissions=told_of)
    assert IN == await trusted(them, permissions=told_of)
    assert 2 * REPORTED == len(them.server.events.of(UnknownPermissionSeen))
    [[kept]] = await them.server.auth.database.read("select permissions from indieauth_login")
    assert MOST_PERMISSIONS == len(json.loads(kept))
    assert (403, "permission_required") == await trusted(them, permissions=told_of[1:])


@pytest.mark.parametrize(
    "members",
    [
        *({"username": name} for name in (None, "", 1, "x" * 257, "a\nb", ["ann"])),
        *({"permissions": held} for held in (None, {}, "media:watch", [1], [None])),
    ],
)
async def test_pa_c_7_malformed(them: People, members: dict[str, Any]) -> None:
    """Without a name, or a list of permissions, nobody gets in."""
    assert REFUSED == await trusted(them, **members)


async def test_pa_c_8_pkce(them: People) -> None:
    """PKCE is always there, and the older response type only by setting."""
    asked = (await them.begin(None, endpoint="home")).asked
    assert "code" == asked["response_type"]
    old = (await them.begin(None, endpoint="old")).url
    assert old.startswith("https://auth.example/old?x=1&response_type=id&")
    assert "S256" == query(old)["code_challenge_method"]
    them.says({"username": "ann", "permissions": []}, path="/old")
    assert REFUSED == told(await them.login(None, endpoint="old"))  # nobody linked it


async def test_pa_c_9_keys(them: People) -> None:
    """The same name at two endpoints is two people; so is a domain that reads like one."""
    await trusted(them)
    them.says({"username": "ann", "permissions": []}, path="/old")
    await them.linked("bob", endpoint="old")
    [home] = await them.server.auth.database.read(
        "select user_id from indieauth_login where endpoint = ?", (HOME,)
    )
    bob = await them.server.auth.users.find("username", "bob")
    assert bob is not None
    assert bob.id != home[0]
    them.says({"username": ANN, "permissions": ["media:watch"]}, path="/home")
    assert IN == told(await them.login(None, endpoint="home"))
    assert await them.user_of() is None
