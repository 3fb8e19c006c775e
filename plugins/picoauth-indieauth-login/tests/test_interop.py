"""Logins at endpoints as they are: at django-indieweb, and at this project's own, in both modes.

Everything goes over https on loopback; the names of hosts lead there.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from people import Begun, fragment, told

from picoauth import Caller
from picoauth.testing import Server, serving
from picoauth_fetch import Fetcher
from picoauth_fetch.testing import Authority
from picoauth_indieauth_login import IndieAuthLoginPlugin
from picoauth_permissions import PermissionsPlugin
from picoauth_privateauth import PrivateAuthPlugin
from tests.interop import apart, listening
from tests.processes import PATIENCE

SITE = Path(__file__).with_name("interop_django.py")
PINS = Path(__file__).with_name("interop.txt")
"""django-indieweb, with all that it needs."""
CLIENT = """
plugins = ["indieauth-login", "password"]
public_url = "https://app.example"

[indieauth-login]
domains = true
registration = "open"

[[indieauth-login.endpoints]]
name = "home"
url = "https://auth.example/indieauth/authorize"
issuer = "https://auth.example/"
required_permission = "Media:Watch"
application = "media"
register = true
"""
HOME = """
plugins = ["password", "permissions", "privateauth"]
public_url = "https://auth.example"

[privateauth]
consent_url = "https://auth.example/consent/"
"""
REGISTERED = """
[[privateauth.clients]]
client_id = "https://app.example/auth/indieauth/client"
name = "App"
redirect_uris = ["https://app.example/auth/indieauth/callback"]
application = "media"
"""


def certificate(authority: Authority, *names: str) -> Path:
    """A file with certificate and key."""
    before = set(authority.folder.glob("*.pem"))
    authority.context(*names)
    [made] = set(authority.folder.glob("*.pem")) - before
    return made


def reaching(client: Server, names: dict[str, str], ca: Path) -> None:
    known: dict[str, Any] = {"agent": "test", "redirects": 5, "names": names, "ca": ca}
    plugin = client.auth.plugin(IndieAuthLoginPlugin)
    plugin.client.fetching(Fetcher(**known), Fetcher(**known, private=True))


async def begin(client: Server, **asked: str) -> Begun:
    reply = await client.post("/auth/login/begin", {"factor": "indieauth", **asked})
    assert 200 == reply.status_code, reply.text
    return Begun(reply.json()["flow"], reply.json()["challenge"]["url"])


async def come_back(client: Server, begun: Begun, location: str) -> httpx.Response:
    """Back by the callback of the plugin, and with what the page got to the login."""
    there = urlsplit(location)
    assert "https://app.example" == f"{there.scheme}://{there.netloc}"
    on = await client.get(f"{there.path}?{there.query}")
    assert 303 == on.status_code
    assert "code" in fragment(on.headers["location"])
    from urllib.parse import unquote

    brought = unquote(urlsplit(on.headers["location"]).fragment.partition("=")[2])
    body = {"factor": "indieauth", "flow": begun.flow, "indieauth": brought}
    return await client.post("/auth/login", body)


async def me(client: Server, url: str) -> bool:
    return await client.auth.users.find("url", url) is not None


def approved(url: str, port: str, ca: Path) -> str:
    """What a person does in a browser at the Django site: where it is sent back to."""
    context = ssl.create_default_context(cafile=ca)
    with httpx.Client(verify=context, base_url=f"https://127.0.0.1:{port}") as browser:

        def go(method: str, path: str, **more: Any) -> httpx.Response:
            headers = {
                "Host": "ann.example",
                "Referer": "https://ann.example/",
                **more.pop("headers", {}),
            }
            named = {"sni_hostname": "ann.example"}
            return browser.request(method, path, headers=headers, extensions=named, **more)

        page = go("GET", url.removeprefix("https://ann.example"))
        assert 200 == page.status_code, page.text
        inputs = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page.text)
        form = {name: unescape(value) for name, value in inputs}
        cookie = {"Cookie": page.headers["set-cookie"].partition(";")[0]}
        done = go("POST", "/indieweb/auth/", data={**form, "action": "approve"}, headers=cookie)
        assert 302 == done.status_code, done.text
        return str(done.headers["location"])


@pytest.mark.timeout(900)
async def test_django_indieweb(tmp_path: Path) -> None:
    """Ann logs in with the domain where her Django site is."""
    authority = Authority(tmp_path)
    pem = certificate(authority, "ann.example")
    process = await asyncio.create_subprocess_exec(
        *(apart(PINS, "interop-django"), str(SITE), str(tmp_path / "django.db"), str(pem)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        port = (await asyncio.wait_for(process.stdout.readline(), 2 * PATIENCE)).decode().strip()
        async with serving(tmp_path, CLIENT) as client:
            reaching(client, {"ann.example": f"127.0.0.1:{port}"}, authority.ca)
            begun = await begin(client, me="ann.example")
            location = await asyncio.to_thread(approved, begun.url, port, authority.ca)
            assert (200, "") == told(await come_back(client, begun, location))
            assert await me(client, "https://ann.example/")
    finally:
        process.kill()
        await process.wait()


@asynccontextmanager
async def both(folder: Path, more: str = "") -> AsyncIterator[tuple[Server, Server]]:
    """A client, and this project's own endpoint, each by https, that find each other."""
    authority = Authority(folder)
    pem = certificate(authority, "auth.example", "app.example")
    for name in ("app", "auth"):
        (folder / name).mkdir()
    async with (
        serving(folder / "app", CLIENT) as client,
        serving(folder / "auth", HOME + more) as home,
        listening(client.app, pem) as app,
        listening(home.app, pem) as auth,
    ):
        reaching(client, {"auth.example": auth}, authority.ca)
        names, plugin = {"app.example": app}, home.auth.plugin(PrivateAuthPlugin)
        plugin.clients.fetcher = Fetcher(agent="test", redirects=0, names=names, ca=authority.ca)
        await home.register()
        yield client, home


async def approve(home: Server, url: str) -> str:
    """What Ann does at the endpoint; where her browser is sent back to."""
    token = (await home.login())["access_token"]
    there = urlsplit(url)
    asked = await home.get(f"{there.path}?{there.query}")
    assert 303 == asked.status_code, asked.text
    request = asked.headers["location"].partition("request=")[2]
    shown = (await home.get(f"/indieauth/requests/{request}", token=token)).json()
    assert shown["client"]["verified"], shown
    assert shown["pkce"]
    done = await home.post(f"/indieauth/requests/{request}/approve", {}, token=token)
    return str(done.json()["redirect_to"])


async def test_own_endpoint(tmp_path: Path) -> None:
    """Ann logs in with the profile URL that the endpoint gives her, which reads the client."""
    async with both(tmp_path) as (client, home):
        for _ in range(2):
            begun = await begin(client, me="https://auth.example/u/ann")
            location = await approve(home, begun.url)
            assert (200, "") == told(await come_back(client, begun, location))
        assert await me(client, "https://auth.example/u/ann")
        assert 1 == len(await client.auth.database.read("select 1 from users"))


async def test_own_endpoint_restricted(tmp_path: Path) -> None:
    """Without a domain: she is told apart by her user name, and let in by a permission."""
    async with both(tmp_path, REGISTERED) as (client, home):
        begun = await begin(client, endpoint="home")
        refused = await come_back(client, begun, await approve(home, begun.url))
        assert (403, "permission_required") == told(refused)
        user = await home.auth.users.find("username", "ann")
        assert user is not None
        await home.auth.plugin(PermissionsPlugin).grant(user.id, "media:watch", Caller())
        begun = await begin(client, endpoint="home")
        done = await come_back(client, begun, await approve(home, begun.url))
        assert (200, "") == told(done)
        [row] = await client.auth.database.read("select name, permissions from indieauth_login")
        assert ("ann", '["media:watch"]') == tuple(row)
