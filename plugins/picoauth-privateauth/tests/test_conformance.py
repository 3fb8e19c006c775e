"""What the specifications ask of the endpoint: a test for each line of the table in the README."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata
from endpoint import (
    APP,
    BACK,
    CHALLENGE,
    DOOR,
    DOOR_BACK,
    ISSUER,
    OLD,
    PRIVATE,
    VERIFIER,
    Home,
    legacy,
    query,
)

from picoauth import Caller, Statement, Unavailable, identifier
from picoauth_fetch import web as urls
from picoauth_fetch.testing import Site, answer
from picoauth_privateauth.clients import LOGO_LIMIT

CLIENT = "https://client.example/"
OWN = "https://client.example/back"
METADATA = "/.well-known/oauth-authorization-server"
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 20


def document(**changes: Any) -> bytes:
    """What a modern client has at its URL."""
    members = {
        "client_id": CLIENT,
        "client_name": "Modern",
        "client_uri": CLIENT,
        "redirect_uris": [OWN],
        **changes,
    }
    return json.dumps({n: v for n, v in members.items() if v is not None}).encode()


def as_json(body: bytes, **headers: str) -> bytes:
    return answer(body, kind="application/json", **headers)


def page(text: str, **headers: str) -> bytes:
    return answer(text.encode(), kind="text/html", **headers)


def unknown(**changes: Any) -> dict[str, Any]:
    """A request of a client that nobody registered."""
    return {"client_id": CLIENT, "redirect_uri": OWN, **changes}


async def shown(at_home: Home, **changes: Any) -> dict[str, Any]:
    """What the user is told of a request."""
    request = await at_home.request(**changes)
    told: dict[str, Any] = (await at_home.ask("GET", f"requests/{request}")).json()
    return told


async def refusal(at_home: Home, *more: tuple[str, str], **changes: Any) -> tuple[int, str]:
    """Status and code of what is answered without a redirect."""
    found = await at_home.authorize(*more, **changes)
    assert "location" not in found.headers
    return found.status_code, found.json()["code"]


async def sent_back(at_home: Home, *more: tuple[str, str], **changes: Any) -> dict[str, str]:
    """What a client hears by a redirect."""
    found = await at_home.authorize(*more, **changes)
    assert 303 == found.status_code, found.text
    location = found.headers["location"]
    assert location.startswith((f"{BACK}?", f"{legacy()['redirect_uri']}?"))
    return query(location)


async def add_email(at_home: Home) -> None:
    """As the plugin for addresses does."""
    auth, address = at_home.server.auth, identifier("email", "ann@example.com", verified=True)
    naming = auth.users.naming(await at_home.user_id(), address, auth.now())
    assert isinstance(naming, Statement)
    await auth.database.write(naming)


async def metadata(at_home: Home) -> dict[str, Any]:
    found: dict[str, Any] = (await at_home.server.get(METADATA)).json()
    return found


# Identifiers and metadata


async def test_p_1_issuer(at_home: Home) -> None:
    """The issuer is a URL of https without query, a prefix of that of the metadata."""
    issuer = (await metadata(at_home))["issuer"]
    assert ISSUER == issuer
    assert f"https://auth.example{METADATA}".startswith(issuer)


async def test_p_2_metadata(at_home: Home) -> None:
    """All that is required is there, and a strict reader of RFC 8414 has nothing against it."""
    found = await metadata(at_home)
    assert "https://auth.example/indieauth/authorize" == found["authorization_endpoint"]
    assert "https://auth.example/indieauth/token" == found["token_endpoint"]
    assert "https://auth.example/indieauth/introspect" == found["introspection_endpoint"]
    assert ["S256"] == found["code_challenge_methods_supported"]
    AuthorizationServerMetadata(found).validate()


async def test_p_3_scopes(at_home: Home) -> None:
    """It says which scopes there are."""
    assert ["profile", "email", "create"] == (await metadata(at_home))["scopes_supported"]


async def test_p_4_optional(at_home: Home) -> None:
    """A revocation endpoint is said to need no secret, and userinfo is named."""
    found = await metadata(at_home)
    assert ["none"] == found["revocation_endpoint_auth_methods_supported"]
    assert "https://auth.example/indieauth/userinfo" == found["userinfo_endpoint"]
    assert ["code"] == found["response_types_supported"]
    assert ["authorization_code", "refresh_token"] == found["grant_types_supported"]


async def test_p_5_iss(at_home: Home) -> None:
    """It says that answers name their issuer."""
    assert (await metadata(at_home))["authorization_response_iss_parameter_supported"] is True


async def test_p_6_documents(at_home: Home) -> None:
    """It says that documents of clients are read."""
    assert (await metadata(at_home))["client_id_metadata_document_supported"] is True


async def test_p_7_place(at_home: Home) -> None:
    """The metadata is where RFC 8414 has it, may be kept, and read by pages from anywhere."""
    found = await at_home.server.client.get(METADATA, headers={"Origin": "https://any.example"})
    assert "public, max-age=3600" == found.headers["cache-control"]
    assert "*" == found.headers["access-control-allow-origin"]
    assert "access-control-allow-credentials" not in found.headers


async def test_p_8_profile_page(at_home: Home) -> None:
    """A profile page links to the endpoint, in its header and its text, also for who asks by HEAD."""
    for method in ("GET", "HEAD"):
        found = await at_home.server.send(method, "/u/ann")
        assert 200 == found.status_code
        link = found.headers["link"]
        assert f'<https://auth.example{METADATA}>; rel="indieauth-metadata"' in link
        assert '<https://auth.example/indieauth/authorize>; rel="authorization_endpoint"' in link
        assert '<https://auth.example/indieauth/token>; rel="token_endpoint"' in link
    text = (await at_home.server.get("/u/ann")).text
    assert (
        '<link rel="authorization_endpoint" href="https://auth.example/indieauth/authorize">'
        in text
    )
    assert 404 == (await at_home.server.get("/u/bob")).status_code


@pytest.mark.parametrize(
    "text",
    [
        "ftp://ann.example/",
        "https://ann.example/../x",
        "https://ann.example/a/./b",
        "https://ann.example/%2e%2E/x",
        "https://ann.example/#me",
        "https://ann.example/#",
        "https://ann@ann.example/",
        "https://ann:pw@ann.example/",
        "https://ann.example:443/",
        "https://ann.example:8443/",
        "https://ann.example:/",
        "https://127.0.0.1/",
        "https://127.1/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://0x7f000001/",
        "https://[::1]/",
        "https://ann.example\\@evil.example/",
        "https://ann.exam\tple/",
        "https:ann.example",
        "https://",
        "https:///x",
        "ann.example",
        "https://änn.example/",
        "https://ann.example/" + "x" * 2048,
    ],
)
def test_p_9_profile_urls(text: str) -> None:
    """What can be no profile URL is refused."""
    with pytest.raises(ValueError, match=r"must|has"):
        urls.profile(text)


async def test_p_10_canonical(at_home: Home) -> None:
    """A URL without a path, or in capitals, is the same; at the redemption, too."""
    assert "https://ann.example/" == str(urls.profile("HTTPS://Ann.Example"))
    assert "https://ann.example/?a=B" == str(urls.profile("https://ann.example?a=B"))
    code = await at_home.code(client_id="https://APP.example")
    assert 200 == (await at_home.redeem(code, client_id="https://app.example")).status_code


# Clients


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("https://app.example", True),
        ("https://app.example/x?y=z", True),
        ("https://app.example:8443/", True),
        ("http://127.0.0.1:1234/", True),
        ("http://[::1]:1234/", True),
        ("http://localhost/", True),
        ("https://app.example/#", False),
        ("https://app.example/x/../y", False),
        ("https://app.example/x/%2e%2e/y", False),
        ("https://me@app.example/", False),
        ("https://10.0.0.1/", False),
        ("https://127.0.0.2/", False),
        ("https://[::2]/", False),
        ("https://app.example:99999/", False),
        ("app.example", False),
        ("javascript:alert(1)", False),
    ],
)
def test_p_11_client_ids(text: str, *, fits: bool) -> None:
    """A client has a URL with a name, or one of the two addresses of loopback."""
    try:
        urls.client_id(text)
    except ValueError:
        assert not fits
    else:
        assert fits


async def test_p_12_fetch(at_home: Home, web: Site) -> None:
    """The page of an unknown client is got, for its name, its logo and its redirects."""
    web.answers["/"] = as_json(document(logo_uri="https://pics.example/logo.png"))
    web.answers["/logo.png"] = answer(PNG, kind="image/png")
    client = (await shown(at_home, **unknown()))["client"]
    assert "Modern" == client["name"]
    assert "metadata" == client["source"]
    assert client["verified"] is True
    assert client["logo_uri"].startswith("data:image/png;base64,iVBORw0KGgo")
    assert ["/", "/logo.png"] == [asked.path for asked in web.asked]
    assert "cookie" not in web.asked[0].headers


@pytest.mark.parametrize(
    "client", ["http://127.0.0.1:{}/", "http://[::1]:{}/", "http://localhost:{}/"]
)
async def test_p_13_loopback(at_home: Home, web: Site, client: str) -> None:
    """A client on the user's own device is not asked for anything."""
    client = client.format(web.port)
    told = await shown(at_home, client_id=client, redirect_uri=f"{client}back")
    assert 0 == web.connections
    assert {"source": "loopback", "verified": False, "warnings": ["loopback"]}.items() <= told[
        "client"
    ].items()


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.1.2.3", "169.254.169.254", "::1", "::ffff:127.0.0.1", "100.64.0.1"]
)
async def test_p_14_special_addresses(at_home: Home, web: Site, address: str) -> None:
    """A name that leads to an address inside is not followed there, nor is a logo's."""
    at_home.fetching({"client.example": address})
    assert ["not_fetched"] == (await shown(at_home, **unknown()))["client"]["warnings"]
    assert 0 == web.connections


async def test_p_14_logos(at_home: Home, web: Site) -> None:
    """A logo at an address inside is not got; the rest of the document counts."""
    web.answers["/"] = as_json(document(logo_uri=f"https://127.0.0.1:{web.port}/secret"))
    client = (await shown(at_home, **unknown()))["client"]
    assert ("Modern", None) == (client["name"], client["logo_uri"])
    assert 1 == web.connections


@pytest.mark.parametrize("address", ["10.0.0.1", "::ffff:169.254.169.254", "64:ff9b::a00:1"])
async def test_p_14_logos_by_name(at_home: Home, web: Site, tmp_path: Path, address: str) -> None:
    """Nor is one whose name leads inside, or that is a redirect to there."""
    names = {"client.example": web.place, "pics.example": address}
    at_home.fetching(names, tmp_path / "ca.pem")
    inside = f"https://127.0.0.1:{web.port}/secret"
    web.answers["/redirect"] = answer(status=302, Location=inside)
    for logo in ("https://pics.example/logo.png", "https://client.example/redirect", inside):
        web.answers["/"] = as_json(document(logo_uri=logo))
        at_home.plugin.clients.known.clear()
        client = (await shown(at_home, **unknown()))["client"]
        assert ("Modern", None) == (client["name"], client["logo_uri"])
    assert {"/", "/redirect"} == {asked.path for asked in web.asked}


async def test_p_15_status(at_home: Home, web: Site) -> None:
    """Only 200 is a document, and no redirect is followed."""
    web.answers["/elsewhere"] = as_json(document())
    for told in (
        answer(status=302, Location="https://client.example/elsewhere"),
        answer(document(), status=404, kind="application/json"),
        answer(document(), status=201, kind="application/json"),
    ):
        web.answers["/"] = told
        assert "none" == (await shown(at_home, **unknown()))["client"]["source"]
    assert {"/"} == {asked.path for asked in web.asked}


async def test_p_16_size(at_home: Home, web: Site) -> None:
    """A page that is too long is none, and neither is a nested one that no reader bears."""
    web.answers["/"] = as_json(document(padding="x" * 70_000))
    assert "none" == (await shown(at_home, **unknown()))["client"]["source"]
    web.answers["/"] = as_json(b"[" * 60_000)
    assert (400, "client_refused") == await refusal(at_home, **unknown())


async def test_p_16_time(at_home: Home, web: Site, tmp_path: Path) -> None:
    """A page that does not end in time is none; nobody waits longer for it."""
    at_home.fetching({"client.example": web.place}, tmp_path / "ca.pem", timeout=0.3)
    web.answers["/"] = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"
    web.hanging.add("/")
    assert ["not_fetched"] == (await shown(at_home, **unknown()))["client"]["warnings"]


async def test_p_16_compressed(at_home: Home, web: Site) -> None:
    """What is compressed was not asked for, and is never unpacked."""
    web.answers["/"] = as_json(gzip.compress(b" " * 10_000_000), Content_Encoding="gzip")
    assert ["not_fetched"] == (await shown(at_home, **unknown()))["client"]["warnings"]
    assert "identity" == web.asked[0].headers["accept-encoding"]


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": "https://client.example"},
        {"client_id": "https://client.example/other"},
        {"client_id": None},
        {"client_id": ["https://client.example/"]},
        {"client_uri": "https://elsewhere.example/"},
        {"client_secret": "hunter2"},
        {"client_secret_expires_at": 0},
        {"token_endpoint_auth_method": "client_secret_post"},
        {"redirect_uris": "https://client.example/back"},
        {"redirect_uris": [1]},
        {"client_name": {"en": "Modern"}},
    ],
)
async def test_p_17_documents(at_home: Home, web: Site, changes: dict[str, Any]) -> None:
    """A document that is another's, or wrong, lets nobody in."""
    web.answers["/"] = as_json(document(**changes))
    assert (400, "client_refused") == await refusal(at_home, **unknown())


async def test_p_18_cache(at_home: Home, web: Site) -> None:
    """A document is remembered as long as it says, a day at most; what failed is not."""
    clock = at_home.server.clock

    async def asked(headers: dict[str, str], after: int) -> int:
        """How often the page is got in two requests."""
        at_home.plugin.clients.known.clear()
        web.asked.clear()
        web.answers["/"] = as_json(document(), **headers)
        await at_home.request(**unknown())
        clock.advance(after)
        await at_home.request(**unknown())
        return len(web.asked)

    assert 1 == await asked({"Cache-Control": "max-age=1000"}, 999)
    assert 2 == await asked({"Cache-Control": "max-age=1000"}, 1000)
    assert 1 == await asked({"Cache-Control": "public, max-age=9999999"}, 86399)
    assert 2 == await asked({"Cache-Control": "public, max-age=9999999"}, 86400)
    assert 1 == await asked({}, 299)
    assert 2 == await asked({}, 300)
    assert 2 == await asked({"Cache-Control": "no-store"}, 0)
    assert 2 == await asked({"Cache-Control": "no-cache, max-age=60"}, 0)
    assert 2 == await asked({"Cache-Control": "max-age=0"}, 0)
    assert 1 == await asked({"Cache-Control": "max-age=1000", "Age": "900"}, 99)
    assert 2 == await asked({"Cache-Control": "max-age=1000", "Age": "900"}, 100)
    assert 2 == await asked({"Cache-Control": "max-age=1000", "Age": "2000"}, 0)
    written = {"Date": "Mon, 05 Jan 2026 10:00:00 GMT"}
    assert 1 == await asked({**written, "Expires": "Mon, 05 Jan 2026 10:10:00 GMT"}, 599)
    assert 2 == await asked({**written, "Expires": "Mon, 05 Jan 2026 10:10:00 GMT"}, 600)
    assert 2 == await asked({**written, "Expires": "Mon, 05 Jan 2026 09:00:00 GMT"}, 0)
    huge = f"Mon, 05 Jan 2026 10:10:00 +{'9' * 25}"
    for spoilt in ("0", "-1", "", "soon", "Mon, 05 Jan 2026 10:10:00", huge):
        assert 2 == await asked({**written, "Expires": spoilt}, 0), spoilt
    assert 2 == await asked({"Expires": "Mon, 05 Jan 2026 10:10:00 GMT"}, 0)
    known = {**written, "Expires": "Mon, 05 Jan 2026 09:00:00 GMT"}
    assert 1 == await asked({**known, "Cache-Control": "max-age=60"}, 59)
    assert 2 == await asked({"Pragma": "no-cache"}, 0)
    assert 2 == await asked({"Vary": "*"}, 0)
    web.answers["/"] = answer(status=500)
    at_home.plugin.clients.known.clear()
    await at_home.request(**unknown())
    web.answers["/"] = as_json(document())
    assert "Modern" == (await shown(at_home, **unknown()))["client"]["name"]


async def test_p_19_unreachable(at_home: Home, web: Site) -> None:
    """Of a page that cannot be got nothing is known: it comes back to its own origin alone."""
    web.answers["/"] = answer(b"<p class='h-app'>Old</p>", status=403, kind="text/html")
    told = await shown(at_home, **unknown())
    assert {"name": None, "source": "none", "verified": False}.items() <= told["client"].items()
    assert (400, "redirect_refused") == await refusal(
        at_home, **unknown(redirect_uri="https://other.example/back")
    )


async def test_p_20_h_app(at_home: Home, web: Site) -> None:
    """An older client says who it is by an h-app, if its URL is the client's."""
    text = (
        '<div class="h-app"><img class="u-logo" src="logo.png">'
        '<a class="u-url p-name" href="/">Old &amp;\n good</a></div>'
    )
    web.answers["/"] = page(text)
    web.answers["/logo.png"] = answer(PNG)
    client = (await shown(at_home, **unknown()))["client"]
    assert ("Old & good", "h-app") == (client["name"], client["source"])
    assert client["logo_uri"].startswith("data:image/png;")
    at_home.plugin.clients.known.clear()
    web.answers["/"] = page(text.replace('href="/"', 'href="https://bank.example/"'))
    client = (await shown(at_home, **unknown()))["client"]
    assert (None, "html") == (client["name"], client["source"])


async def test_p_21_warnings(at_home: Home, web: Site) -> None:
    """A page of another host is warned of; what is no picture is not shown as one."""
    name = "https://client.example.org/"
    web.answers["/"] = as_json(
        document(
            client_id=name,
            client_uri="https://client.example",
            redirect_uris=[f"{name}back"],
            logo_uri="https://pics.example/logo",
            client_name="A\u202e\nB" + "x" * 200,
        )
    )
    web.answers["/logo"] = answer(b"<svg onload=alert(1)>", kind="image/svg+xml")
    client = (await shown(at_home, client_id=name, redirect_uri=f"{name}back"))["client"]
    assert ["client_uri_host_differs"] == client["warnings"]
    assert client["logo_uri"] is None
    assert "A B" + "x" * 97 == client["name"]
    at_home.plugin.clients.known.clear()
    web.answers["/logo"] = answer(PNG + b"\0" * LOGO_LIMIT)
    assert {} == at_home.plugin.clients.logos
    client = (await shown(at_home, client_id=name, redirect_uri=f"{name}back"))["client"]
    assert client["logo_uri"] is None


async def test_p_21_logo_that_is_gone(at_home: Home, web: Site) -> None:
    """A picture is shown as long as the client has it, and that of a page that was lost is not."""
    web.answers["/logo"] = answer(PNG)

    async def logo() -> str | None:
        at_home.plugin.clients.known.clear()
        found: str | None = (await shown(at_home, **unknown()))["client"]["logo_uri"]
        return found

    pictured = as_json(document(logo_uri="https://pics.example/logo"))
    for later in (as_json(document()), answer(status=410), page("<p>")):
        web.answers["/"] = pictured
        assert await logo()
        web.answers["/"] = later
        assert await logo() is None
    web.answers["/"] = pictured
    web.answers["/logo"] = answer(status=410)
    assert await logo() is None


# Redirects


async def test_p_22_other_origin(at_home: Home, web: Site) -> None:
    """Another origin has to be published; the same one is good where no list is."""
    web.answers["/"] = page('<link rel="redirect_uri" href="https://elsewhere.example/in">')
    await at_home.request(**unknown(redirect_uri="https://elsewhere.example/in"))
    await at_home.request(**unknown(redirect_uri="https://client.example/anything"))
    for other in (
        "http://client.example/in",
        "https://client.example:8443/in",
        "https://x.client.example/in",
    ):
        assert (400, "redirect_refused") == await refusal(at_home, **unknown(redirect_uri=other))


async def test_p_23_published(at_home: Home, web: Site) -> None:
    """What is published is compared to the letter, resolved, from links and from the header."""
    web.answers["/"] = page(
        '<link rel="redirect_uri" href="http://[">'  # no URL, and no reason to fail
        '<link href="/in?x=1" rel="foo REDIRECT_URI"><a rel="redirect_uri" href="https://evil.example/">',
        Link='<https://[x>; rel=redirect_uri, <app.example:/in>; rel="redirect_uri", </other>; rel=other',
    )
    await at_home.request(**unknown(redirect_uri="app.example:/in"))
    await at_home.request(**unknown(redirect_uri="https://client.example/in?x=1"))
    for other in ("app.example:/in/", "app.example:/other", "https://evil.example/"):
        assert (400, "redirect_refused") == await refusal(at_home, **unknown(redirect_uri=other))


async def test_p_24_lists(at_home: Home, web: Site) -> None:
    """Who publishes a list, or is registered with one, is held to it."""
    web.answers["/"] = as_json(document())
    for changes in (
        unknown(redirect_uri="https://client.example/other"),
        unknown(redirect_uri=f"{OWN}/"),
        unknown(redirect_uri=f"{OWN}?x=1"),
        {"redirect_uri": "https://app.example/other"},
        {"redirect_uri": "https://app.example/callback/"},
        {"redirect_uri": "https://APP.example/callback"},
    ):
        assert (400, "redirect_refused") == await refusal(at_home, **changes)


@pytest.mark.parametrize(
    "uri",
    [
        "https://client.example/back#x",
        "https://client.example/back#",
        "https://client.example@evil.example/",
        "https://me:pw@client.example/back",
        "https://client.example\\@evil.example/",
        "https://client.example/\r\nSet-Cookie: a=b",
        "https://client.example/ back",
        "//evil.example/",
        "/back",
        "",
        "javascript:alert(1)//",
        "JavaScript:alert(1)",
        "data:text/html,x",
        "vbscript:x",
        "file:///etc/passwd",
        "blob:https://client.example/x",
        "about:blank",
        "https:client.example",
        "https://client.example/" + "x" * 2048,
    ],
)
async def test_p_25_bad_redirects(at_home: Home, web: Site, uri: str) -> None:
    """Nobody is sent there, whatever the client publishes; a person gets to see an error."""
    web.answers["/"] = as_json(document(redirect_uris=[uri or " ", OWN]))
    assert (400, "redirect_refused") == await refusal(at_home, **unknown(redirect_uri=uri))
    found = await at_home.authorize(**unknown(redirect_uri=uri), accept="text/html")
    assert 400 == found.status_code
    assert "text/html; charset=utf-8" == found.headers["content-type"]
    assert "This application wants to send you where it may not." in found.text


# Authorization requests


async def test_p_26_parameters(at_home: Home) -> None:
    """Unknown parameters are ignored; one that is there twice is an error."""
    await at_home.request(nonce="x", prompt="login")
    assert (400, "client_refused") == await refusal(at_home, ("client_id", APP))
    assert (400, "redirect_refused") == await refusal(at_home, ("redirect_uri", BACK))
    for name in ("state", "scope", "code_challenge", "response_type", "whatever"):
        back = await sent_back(at_home, (name, "a"), (name, "b"))
        assert "invalid_request" == back["error"]
        assert ("state" in back) == (name != "state")
    back = await sent_back(at_home, *((f"x{number}", "y") for number in range(60)))
    assert "invalid_request" == back["error"]
    assert (400, "client_refused") == await refusal(at_home, client_id=None)
    assert (400, "redirect_refused") == await refusal(at_home, redirect_uri=None)


@pytest.mark.parametrize(
    "changes",
    [
        {"code_challenge": None, "code_challenge_method": None},
        {"code_challenge": None},
        {"code_challenge_method": None},
        {"code_challenge_method": "plain"},
        {"code_challenge_method": "s256"},
        {"code_challenge": CHALLENGE[:-1]},
        {"code_challenge": CHALLENGE + "A"},
        {"code_challenge": CHALLENGE[:-1] + "="},
        {"code_challenge": CHALLENGE[:-1] + "+"},
        {"code_challenge": ""},
    ],
)
async def test_p_27_pkce(at_home: Home, changes: dict[str, Any]) -> None:
    """A challenge by S256 is required, of the length that it has."""
    assert "invalid_request" == (await sent_back(at_home, **changes))["error"]


@pytest.mark.parametrize("state", ["a b+c%2F&=?#ä🙂", "x" * 2048, " ", "null"])
async def test_p_28_state(at_home: Home, state: str) -> None:
    """State comes back as it was."""
    back = await at_home.approved(await at_home.request(state=state))
    assert state == back["state"]


@pytest.mark.parametrize("state", [None, "", "x" * 2049])
async def test_p_28_without_state(at_home: Home, state: str | None) -> None:
    """A request without state, or with too long a one, is an error."""
    assert "invalid_request" == (await sent_back(at_home, state=state))["error"]


async def test_p_29_me(at_home: Home, web: Site) -> None:
    """`me` is never looked at and never believed: it is a choice among the user's own."""
    told = await shown(at_home, me="https://client.example/")
    assert "https://client.example/" == told["me_hint"]
    assert ["https://auth.example/u/ann"] == told["profiles"]
    assert 0 == web.connections
    answered = await at_home.redeem(await at_home.code(me="https://client.example/"))
    assert "https://auth.example/u/ann" == answered.json()["me"]
    await at_home.plugin.profiles.add(await at_home.user_id(), "https://ann.example/", Caller())
    answered = await at_home.redeem(await at_home.code(me="ann.example"))
    assert "https://ann.example/" == answered.json()["me"]
    assert (await shown(at_home, me="javascript:alert(1)"))["me_hint"] is None


async def test_p_30_scopes(at_home: Home) -> None:
    """Malformed scopes are an error, unknown ones are dropped; `email` goes with `profile`."""
    assert ["create"] == (await shown(at_home, scope="create unheard-of create email"))["scopes"]
    assert ["email", "profile"] == (await shown(at_home, scope="email profile"))["scopes"]
    for scope in ('pro"file', "pro\\file", "profile\temail", "x" * 65, "a " * 600, "prö"):
        assert "invalid_scope" == (await sent_back(at_home, scope=scope))["error"]


async def test_p_31_prompt(at_home: Home) -> None:
    """The page that asks the user is told all that it should show."""
    told = await shown(at_home, scope="profile")
    assert {
        "expires_at": 1_800_000_600,
        "client": {
            "client_id": APP,
            "name": "App",
            "logo_uri": None,
            "client_uri": None,
            "source": "registered",
            "verified": True,
            "warnings": [],
        },
        "redirect_uri": BACK,
        "scopes": ["profile"],
        "me_hint": None,
        "profiles": ["https://auth.example/u/ann"],
        "pkce": True,
        "flow": "indieauth",
        "permitted": True,
        "required_permission": None,
        "tells": ["username"],
    } == {name: value for name, value in told.items() if name != "id"}


async def test_p_31_tells(at_home: Home, web: Site) -> None:
    """The page is told what a client gets to know with `X-PrivateAuth-Version`, no more and no less."""
    web.answers["/"] = as_json(document())
    await at_home.ask("PUT", "me", {"shortName": "Annie"})
    modern = {"client_id": APP, "redirect_uri": BACK, "code_verifier": VERIFIER}
    stranger = {**modern, "client_id": CLIENT, "redirect_uri": OWN}
    old = {"client_id": OLD, "redirect_uri": legacy()["redirect_uri"]}
    door = {"client_id": DOOR, "redirect_uri": DOOR_BACK}
    front = {**modern, **door}
    await at_home.permit("door:open")
    for changes, form, members in (
        ({}, modern, {"username"}),
        (door, front, {"username", "name", "permissions"}),
        (unknown(), stranger, {"username"}),
        (legacy(), old, {"username", "name", "permissions"}),
    ):
        request = await at_home.request(**changes)
        tells = (await at_home.ask("GET", f"requests/{request}")).json()["tells"]
        assert members == set(tells)
        code = (await at_home.approved(request))["code"]
        told = (await at_home.post("authorize", headers=PRIVATE, code=code, **form)).json()
        assert members | {"permissions"} == told.keys() - {"me", "shortName"}
        assert ("name" in tells) == ("shortName" in told)


# Answers


async def test_p_32_response(at_home: Home, web: Site) -> None:
    """The client gets code, state and issuer, beside a query that it has."""
    uri = "https://client.example/back?a=1&b=&a=%20"
    web.answers["/"] = page("<p>")
    request = await at_home.request(**unknown(redirect_uri=uri))
    answered = await at_home.ask("POST", f"requests/{request}/approve", {})
    location = answered.json()["redirect_to"]
    assert location.startswith(f"{uri}&code=")
    assert location.endswith("&iss=https%3A%2F%2Fauth.example%2F")
    back = await at_home.approved(await at_home.request())
    assert {"code", "state", "iss"} == back.keys()
    assert ("st at/e+1", ISSUER) == (back["state"], back["iss"])


async def test_p_33_codes(at_home: Home) -> None:
    """A code has 256 bits, is good once, and for 60 seconds."""
    codes = {await at_home.code() for _ in range(3)}
    assert {43} == {len(code) for code in codes}
    first, second, third = codes
    at_home.server.clock.advance(59)
    assert 200 == (await at_home.redeem(first)).status_code
    assert 400 == (await at_home.redeem(first)).status_code
    at_home.server.clock.advance(1)
    assert 400 == (await at_home.redeem(second)).status_code
    assert 400 == (await at_home.redeem(third, "token")).status_code


async def test_p_34_errors(at_home: Home) -> None:
    """Errors go to a redirect that is verified, with state and issuer."""
    back = await sent_back(at_home, response_type="token")
    assert {
        "error": "unsupported_response_type",
        "error_description": "response_type must be code.",
        "state": "st at/e+1",
        "iss": ISSUER,
    } == back
    assert "invalid_request" == (await sent_back(at_home, response_type=None))["error"]
    request = await at_home.request()
    answered = await at_home.ask("POST", f"requests/{request}/deny")
    back = query(answered.json()["redirect_to"])
    assert ("access_denied", "st at/e+1", ISSUER) == (back["error"], back["state"], back["iss"])


async def test_p_34_no_database(at_home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client hears that nothing can be kept now, so that its user can come again."""

    async def down(*_: Any) -> Any:
        raise Unavailable("the database is down")

    monkeypatch.setattr(at_home.server.auth.database, "write", down)
    back = await sent_back(at_home)
    assert ("temporarily_unavailable", "st at/e+1", ISSUER) == (
        back["error"],
        back["state"],
        back["iss"],
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": OLD},
        {"client_id": "https://app.example/x"},
        {"redirect_uri": f"{BACK}/"},
        {"redirect_uri": "https://APP.example/callback"},
        {"redirect_uri": None},
        {"client_id": None},
        {"client_id": "app"},
    ],
)
@pytest.mark.parametrize("path", ["authorize", "token"])
async def test_p_35_bound(at_home: Home, changes: dict[str, Any], path: str) -> None:
    """A code is good for its client and its redirect alone; and a wrong one has spent it."""
    code = await at_home.code(scope="profile")
    answered = await at_home.redeem(code, path, **changes)
    assert 400 == answered.status_code
    assert answered.json()["error"] in ("invalid_grant", "invalid_request")
    assert 400 == (await at_home.redeem(code, path)).status_code


async def test_p_35_body_alone(at_home: Home) -> None:
    """What stands in the query of a POST is not looked at, and JSON is no form."""
    code = await at_home.code()
    form = {"code": code, "client_id": APP, "redirect_uri": BACK, "code_verifier": VERIFIER}
    client = at_home.server.client
    answered = await client.post("/indieauth/authorize", params=form, data={"x": "y"})
    assert (400, "invalid_request") == (answered.status_code, answered.json()["error"])
    assert 415 == (await client.post("/indieauth/authorize", json=form)).status_code
    assert 200 == (await at_home.redeem(code)).status_code


@pytest.mark.parametrize(
    "verifier", [None, "", VERIFIER[:-1] + "x", VERIFIER[:42], VERIFIER + "=", CHALLENGE, "x" * 129]
)
@pytest.mark.parametrize("path", ["authorize", "token"])
async def test_p_36_verifier(at_home: Home, verifier: str | None, path: str) -> None:
    """A challenge wants its verifier."""
    code = await at_home.code(scope="profile")
    answered = await at_home.redeem(code, path, code_verifier=verifier)
    assert (400, "invalid_grant") == (answered.status_code, answered.json()["error"])


async def test_p_36_no_challenge(at_home: Home) -> None:
    """Without a challenge there must be no verifier."""
    answered = await at_home.legacy(await at_home.legacy_code(), code_verifier=VERIFIER)
    assert (400, "invalid_grant") == (answered.status_code, answered.json()["error"])


async def test_p_37_grant_type(at_home: Home) -> None:
    """It may be missing at the authorization endpoint alone, and be nothing else."""
    assert 200 == (await at_home.redeem(await at_home.code(), grant_type=None)).status_code
    code = await at_home.code(scope="profile")
    answered = await at_home.redeem(code, "token", grant_type=None)
    assert (400, "invalid_request") == (answered.status_code, answered.json()["error"])
    assert 200 == (await at_home.redeem(code, "token")).status_code
    for path in ("authorize", "token"):
        answered = await at_home.redeem(await at_home.code(), path, grant_type="password")
        assert "unsupported_grant_type" == answered.json()["error"]


async def test_p_38_identity(at_home: Home) -> None:
    """An identity has `me`, and the profile if that was granted."""
    answered = await at_home.redeem(await at_home.code(scope="profile"))
    assert "application/json" == answered.headers["content-type"]
    url = "https://auth.example/u/ann"
    assert {"me": url, "profile": {"name": "ann", "url": url}} == answered.json()


async def test_p_39_no_scope(at_home: Home) -> None:
    """Without a scope there is no token, and nothing but the profile URL."""
    assert ["me"] == list((await at_home.redeem(await at_home.code())).json())
    answered = await at_home.redeem(await at_home.code(), "token")
    assert (400, "invalid_grant") == (answered.status_code, answered.json()["error"])
    assert "access_token" not in answered.text


async def test_p_40_token(at_home: Home) -> None:
    """Tokens come with all that clients want to know."""
    tokens = await at_home.handed("create")
    assert {
        "token_type": "Bearer",
        "expires_in": 3600,
        "scope": "create",
        "me": "https://auth.example/u/ann",
    } == {name: value for name, value in tokens.items() if not name.endswith("_token")}
    assert (43, 43) == (len(tokens["access_token"]), len(tokens["refresh_token"]))


async def test_p_41_profile(at_home: Home) -> None:
    """`profile` tells name, picture and URL; `email` the verified address, with it."""
    photo = "https://ann.example/me.jpg"
    await at_home.ask("PUT", "me", {"photo": photo, "shortName": "Annie"})
    await add_email(at_home)
    url = "https://auth.example/u/ann"
    known = {"name": "ann", "url": url, "photo": photo}
    assert known == (await at_home.handed("profile"))["profile"]
    assert {**known, "email": "ann@example.com"} == (await at_home.handed("profile email"))[
        "profile"
    ]
    request = await at_home.request(scope="profile email")
    back = await at_home.approved(request, scopes=["email"])
    assert ["me"] == list((await at_home.redeem(back["code"])).json())


async def test_p_42_no_store(at_home: Home) -> None:
    """No answer is kept, and no page tells the next one where it came from."""
    answers = [
        await at_home.authorize(),
        await at_home.redeem(await at_home.code()),
        await at_home.redeem("x", "token"),
        await at_home.redeem(await at_home.code(scope="profile"), "token"),
    ]
    for answered in answers:
        assert "no-store" == answered.headers["cache-control"]
        assert "no-referrer" == answered.headers["referrer-policy"]


async def test_p_43_errors(at_home: Home) -> None:
    """Errors are 400, in JSON, in the words of OAuth."""
    for path, form, error in (
        ("authorize", {}, "invalid_request"),
        ("authorize", {"code": "x"}, "invalid_grant"),
        ("token", {"grant_type": "authorization_code"}, "invalid_request"),
        ("token", {"grant_type": "refresh_token"}, "invalid_request"),
        ("token", {"grant_type": "refresh_token", "refresh_token": "x"}, "invalid_grant"),
        ("token", {"grant_type": "client_credentials"}, "unsupported_grant_type"),
        ("revoke", {}, "invalid_request"),
    ):
        answered = await at_home.post(path, x="y", **form)
        assert (400, error) == (answered.status_code, answered.json()["error"])
        assert "application/json" == answered.headers["content-type"]


@pytest.mark.parametrize("path", ["authorize", "token"])
async def test_p_44_second_use(at_home: Home, path: str) -> None:
    """A second use is refused, and takes back what the first one got."""
    code = await at_home.code(scope="profile")
    tokens = (await at_home.redeem(code, "token")).json()
    assert (await at_home.introspected(tokens["access_token"]))["active"] is True
    answered = await at_home.redeem(code, path)
    assert (400, "invalid_grant") == (answered.status_code, answered.json()["error"])
    for token in (tokens["access_token"], tokens["refresh_token"]):
        assert {"active": False} == await at_home.introspected(token)
    assert 401 == (await at_home.userinfo(tokens["access_token"])).status_code


# Tokens


async def renewed(at_home: Home, token: str, **changes: Any) -> Any:
    form = {"grant_type": "refresh_token", "refresh_token": token, "client_id": APP, **changes}
    return await at_home.post("token", **form)


async def test_p_45_refresh(at_home: Home) -> None:
    """A refresh token is good once, for its client, for as much or less, and ends when unused."""
    tokens = await at_home.handed("profile create")
    answered = await renewed(at_home, tokens["refresh_token"], client_id=OLD)
    assert "invalid_grant" == answered.json()["error"]
    answered = await renewed(at_home, tokens["refresh_token"], scope="profile email")
    assert "invalid_scope" == answered.json()["error"]
    fewer = (await renewed(at_home, tokens["refresh_token"], scope="create")).json()
    assert "create" == fewer["scope"]
    assert "create" == (await at_home.introspected(fewer["access_token"]))["scope"]
    again = (await renewed(at_home, fewer["refresh_token"])).json()
    assert "profile create" == again["scope"]
    answered = await renewed(at_home, fewer["refresh_token"])
    assert (400, "invalid_grant") == (answered.status_code, answered.json()["error"])
    for token in (fewer["access_token"], again["access_token"], again["refresh_token"]):
        assert {"active": False} == await at_home.introspected(token)
    unused = await at_home.handed()
    at_home.server.clock.advance(30 * 86400)
    assert 400 == (await renewed(at_home, unused["refresh_token"])).status_code


async def test_p_46_introspection(at_home: Home) -> None:
    """Only resource servers may ask; a client's own token is no key."""
    token = (await at_home.handed())["access_token"]
    for headers in ({}, {"Authorization": f"Bearer {token}"}, {"Authorization": "Bearer x"}):
        answered = await at_home.post("introspect", headers=headers, token=token)
        assert (401, "invalid_client") == (answered.status_code, answered.json()["error"])


async def test_p_47_introspected(at_home: Home) -> None:
    """Of a good token all is told, of any other nothing."""
    tokens = await at_home.handed("create")
    told = await at_home.introspected(tokens["access_token"])
    assert {
        "active": True,
        "me": "https://auth.example/u/ann",
        "client_id": APP,
        "scope": "create",
        "exp": 1_800_003_600,
        "iat": 1_800_000_000,
    } == told
    at_home.server.clock.advance(3600)
    assert {"active": False} == await at_home.introspected(tokens["access_token"])
    assert {"active": False} == await at_home.introspected("x")


@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
async def test_p_48_revocation(at_home: Home, kind: str) -> None:
    """Whoever has a token may give it up, and all that came with it; also in the old form."""
    for path, more in (("revoke", {}), ("token", {"action": "revoke"})):
        tokens = await at_home.handed()
        answered = await at_home.post(path, token=tokens[kind], **more)
        assert 200 == answered.status_code
        assert {"active": False} == await at_home.introspected(tokens["access_token"])
        assert 400 == (await renewed(at_home, tokens["refresh_token"])).status_code
    assert 200 == (await at_home.post("revoke", token="unknown")).status_code


async def test_p_49_bearer_errors(at_home: Home) -> None:
    """A token that is bad, or does not reach, is told so; without any there is no error code."""
    answered = await at_home.server.get("/indieauth/userinfo")
    assert (401, "Bearer") == (answered.status_code, answered.headers["www-authenticate"])
    answered = await at_home.userinfo("x")
    assert ("client_token_invalid", "invalid_token") == tuple(
        answered.json()[name] for name in ("code", "error")
    )
    assert 'Bearer error="invalid_token"' == answered.headers["www-authenticate"]
    answered = await at_home.userinfo((await at_home.handed("create"))["access_token"])
    assert 403 == answered.status_code
    assert 'Bearer error="insufficient_scope"' == answered.headers["www-authenticate"]
    tokens = await at_home.handed("profile")
    assert 401 == (await at_home.userinfo(tokens["refresh_token"])).status_code
    at_home.server.clock.advance(3600)
    assert 401 == (await at_home.userinfo(tokens["access_token"])).status_code


async def test_p_50_userinfo(at_home: Home) -> None:
    """The profile, by a token; pages of any site may ask, and no cookie counts."""
    tokens = await at_home.handed("profile")
    answered = await at_home.userinfo(tokens["access_token"])
    assert tokens["profile"] == answered.json()
    client = at_home.server.client
    asking = {"Origin": "https://any.example", "Access-Control-Request-Method": "GET"}
    allowed = await client.options("/indieauth/userinfo", headers=asking)
    assert 204 == allowed.status_code
    assert "*" == allowed.headers["access-control-allow-origin"]
    assert "authorization" in allowed.headers["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in allowed.headers


# PrivateAuth


async def test_pa_p_1_legacy_request(at_home: Home) -> None:
    """A registered client may ask without `response_type`, or with `id`."""
    for kind in (None, "id", "code"):
        assert await at_home.legacy_code(response_type=kind)
    for kind in (None, "id"):
        back = await sent_back(at_home, response_type=kind)
        assert back["error"] in ("invalid_request", "unsupported_response_type")


async def test_pa_p_2_no_me(at_home: Home) -> None:
    """Without `me` it is whoever is logged in."""
    told = (await at_home.legacy(await at_home.legacy_code())).json()
    assert "https://auth.example/u/ann" == told["me"]


async def test_pa_p_3_state(at_home: Home) -> None:
    """State comes back as it was, the code is short-lived, and good once."""
    back = await at_home.approved(await at_home.request(**{**legacy(), "state": "a b+%41"}))
    assert "a b+%41" == back["state"]
    assert 200 == (await at_home.legacy(back["code"])).status_code
    assert 400 == (await at_home.legacy(back["code"])).status_code
    late = await at_home.legacy_code()
    at_home.server.clock.advance(60)
    assert 400 == (await at_home.legacy(late)).status_code


async def test_pa_p_4_verification(at_home: Home) -> None:
    """The code is verified at the authorization endpoint, for this client and redirect alone."""
    for changes in ({"client_id": APP}, {"redirect_uri": BACK}):
        answered = await at_home.legacy(await at_home.legacy_code(), **changes)
        assert (400, "invalid_grant") == (answered.status_code, answered.json()["error"])


async def test_pa_p_5_answer(at_home: Home) -> None:
    """Permissions are a list, though it be empty; what is not known is left out."""
    told = (await at_home.legacy(await at_home.legacy_code())).json()
    assert {
        "me": "https://auth.example/u/ann",
        "username": "ann",
        "permissions": [],
        "name": "ann",
    } == told
    await at_home.ask("PUT", "me", {"shortName": "Annie"})
    told = (await at_home.legacy(await at_home.legacy_code())).json()
    assert "Annie" == told["shortName"]


async def test_pa_p_6_username(at_home: Home) -> None:
    """A user name is told in its one form, and is nobody else's."""
    await at_home.join("Bob")
    told = (await at_home.legacy(await at_home.legacy_code("Bob"))).json()
    assert ("bob", "https://auth.example/u/bob") == (told["username"], told["me"])


async def test_pa_p_7_lower_case(at_home: Home) -> None:
    """Permissions are told in lower case, of the client's own application alone."""
    for permission in ("media:Watch", "media:admin", "mediacenter:x", "door:open", "media"):
        await at_home.permit(permission)
    told = (await at_home.legacy(await at_home.legacy_code())).json()
    assert ["media", "media:admin", "media:watch"] == told["permissions"]


async def test_pa_p_9_both_kinds(at_home: Home) -> None:
    """Without the header, or with another version, the answer is plain IndieAuth."""
    for headers in ({}, {"X-PrivateAuth-Version": "2"}, {"X-PrivateAuth-Version": ""}):
        code = await at_home.legacy_code()
        form = {"code": code, "client_id": OLD, "redirect_uri": legacy()["redirect_uri"]}
        answered = await at_home.post("authorize", headers=headers, **form)
        assert ["me"] == list(answered.json())
    modern = {"code_verifier": VERIFIER, "client_id": APP, "redirect_uri": BACK}
    answered = await at_home.post("authorize", headers=PRIVATE, code=await at_home.code(), **modern)
    assert "ann" == answered.json()["username"]


OURS = '<link rel="indieauth-metadata" href="https://auth.example/.well-known/oauth-authorization-server">'
MINE = '<link rel="me" href="https://auth.example/u/ann">'


async def test_pa_p_10_own_url(at_home: Home, web: Site) -> None:
    """A URL of one's own has to link to the endpoint, and to the user there; it is one user's."""
    own = {"urls": ["https://ann.example"]}

    async def wanting(text: str, username: str = "ann", **headers: str) -> tuple[int, str]:
        web.answers["/"] = page(text, **headers)
        answered = await at_home.ask("PUT", "me", own, username=username)
        return answered.status_code, answered.json().get("code", "")

    await at_home.join("bob")
    assert (400, "profile_refused") == await wanting("")
    assert (400, "profile_refused") == await wanting(OURS)
    assert (400, "profile_refused") == await wanting(MINE)
    assert (400, "profile_refused") == await wanting(OURS + MINE, "bob")
    assert (400, "profile_refused") == await wanting(f"{OURS}{MINE.replace('<link', '<a')}")
    assert (400, "profile_refused") == await wanting(f"<!--{OURS}{MINE}-->")
    assert (400, "profile_refused") == await wanting(f"<template>{OURS}{MINE}</template>")
    assert (400, "profile_refused") == await wanting(f"<script>'{OURS}{MINE}'</script>")
    other = OURS.replace("auth.example", "evil.example")
    assert (400, "profile_refused") == await wanting(other + OURS + MINE)
    assert (200, "") == await wanting(OURS + MINE)
    assert ["https://ann.example/"] == (await at_home.ask("GET", "me")).json()["urls"]
    both = OURS + MINE + MINE.replace("u/ann", "u/bob")
    assert (409, "profile_taken") == await wanting(both, "bob")
    answered = await at_home.redeem(
        (await at_home.approved(await at_home.request(), me="https://ann.example/"))["code"]
    )
    assert "https://ann.example/" == answered.json()["me"]


async def test_pa_p_10_pages_that_are_none(at_home: Home, web: Site) -> None:
    """An error page proves nothing, nor does a link in what no browser reads as HTML."""
    link = f"<{ISSUER}.well-known/oauth-authorization-server>; rel=indieauth-metadata"
    links = f"{link}, <{ISSUER}u/ann>; rel=me"
    for told in (
        answer((OURS + MINE).encode(), status=404, kind="text/html"),
        answer((OURS + MINE).encode(), status=500, kind="text/html", Link=links),
        answer((OURS + MINE).encode(), kind="text/plain"),
        answer((OURS + MINE).encode(), kind="application/json"),
    ):
        web.answers["/"] = told
        answered = await at_home.ask("PUT", "me", {"urls": ["https://ann.example/"]})
        assert (400, "profile_refused") == (answered.status_code, answered.json()["code"])
    web.answers["/"] = answer(b"{}", kind="application/json", Link=links)
    answered = await at_home.ask("PUT", "me", {"urls": ["https://ann.example/"]})
    assert 200 == answered.status_code, answered.text


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "::ffff:10.0.0.1", "64:ff9b::1"]
)
async def test_pa_p_10_ssrf(at_home: Home, web: Site, tmp_path: Path, address: str) -> None:
    """No address of one's own, and no redirect of one, leads inside; all say the same."""
    names = {"ann.example": web.place, "client.example": address}
    at_home.fetching(names, tmp_path / "ca.pem")
    for where in (
        "https://client.example/",
        f"https://127.0.0.1:{web.port}/x",
        "http://ann.example/",
    ):
        web.answers["/r"] = answer(status=302, Location=where)
        answered = await at_home.ask("PUT", "me", {"urls": ["https://ann.example/r"]})
        assert "the page cannot be reached" == answered.json()["detail"]
    answered = await at_home.ask("PUT", "me", {"urls": ["https://client.example/"]})
    assert "the page cannot be reached" == answered.json()["detail"]
    assert {"/r"} == {asked.path for asked in web.asked}


async def test_pa_p_10_legacy_links(at_home: Home, web: Site) -> None:
    """The older relation will do, and the header, which comes first."""
    endpoint = '<https://auth.example/indieauth/authorize>; rel="authorization_endpoint"'
    me = '<http://[x>; rel="me", <https://auth.example/u/ann>; rel="me"'
    web.answers["/"] = page('<link rel="me" href="http://[">', Link=f"{endpoint}, {me}")
    answered = await at_home.ask("PUT", "me", {"urls": ["https://ann.example/"]})
    assert 200 == answered.status_code, answered.text


async def test_pa_p_11_plain_url(at_home: Home) -> None:
    """The endpoint's URL has no query, and a verified code is a plain 200."""
    assert "?" not in (await metadata(at_home))["authorization_endpoint"]
    assert 200 == (await at_home.legacy(await at_home.legacy_code())).status_code
