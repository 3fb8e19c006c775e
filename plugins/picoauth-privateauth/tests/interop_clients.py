"""Logs in at an endpoint by clients as they are: run by `test_interop.py` where these are installed."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import html
import json
import re
import sys
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx

ME = "http://localhost/u/ann"
CLIENT = "http://localhost:9/"
BACK = "http://localhost:9/callback"
PASSWORD = "correct horse battery staple"


def person(url: str) -> str:
    """What a person does in a browser, from the client's redirect until the one back to it."""
    with httpx.Client() as browser:
        page = browser.get(browser.get(url).headers["location"])
        login = {"username": "ann", "password": PASSWORD, "do": "login"}
        logged_in = browser.post(
            page.url.copy_with(query=None), data={**fields(page), **login}, headers=HERE
        )
        cookie = {"Cookie": logged_in.headers["set-cookie"].partition(";")[0]}
        page = browser.get(page.url.join(logged_in.headers["location"]), headers=cookie)
        sent = {**fields(page), "do": "approve"}
        done = browser.post(page.url.copy_with(query=None), data=sent, headers={**cookie, **HERE})
        return str(done.headers["location"])


HERE = {"Origin": "http://localhost"}


def fields(page: httpx.Response) -> dict[str, str]:
    found = {}
    for tag in re.findall(r"<input ([^>]*)>", page.text):
        attributes = dict(re.findall(r'(\w[\w-]*)="([^"]*)"', tag))
        found[attributes["name"]] = html.unescape(attributes.get("value", ""))
    return found


def query(url: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(url).query))


def authl() -> dict[str, object]:
    """As an application with Authl does."""
    from authl import disposition, tokens
    from authl.handlers.indieauth import IndieAuth

    handler = IndieAuth(CLIENT, tokens.DictStore())
    began = handler.initiate_auth(ME, BACK, "/")
    assert isinstance(began, disposition.Redirect), began
    location = person(began.url)
    done = handler.check_callback(location, query(location), {})
    assert isinstance(done, disposition.Verified), done
    return {"me": done.identity, "name": done.profile["name"]}


def datasette() -> dict[str, object]:
    """As a Datasette with its plugin does."""
    from datasette.app import Datasette

    async def work() -> dict[str, object]:
        instance = Datasette(memory=True)
        await instance.invoke_startup()
        form = await instance.client.get("/-/indieauth")
        token = form.cookies["ds_csrftoken"]
        began = await instance.client.post(
            "/-/indieauth", data={"me": ME, "csrftoken": token}, cookies={"ds_csrftoken": token}
        )
        location = await asyncio.to_thread(person, began.headers["location"])
        path = location.removeprefix("http://localhost")
        cookies = {"ds_indieauth": began.cookies["ds_indieauth"]}
        done = await instance.client.get(path, cookies=cookies)
        assert "ds_actor" in done.cookies, done.text
        actor: dict[str, object] = instance.unsign(done.cookies["ds_actor"], "actor")["a"]
        return {"me": actor["me"]}

    return asyncio.run(work())


def indieweb_utils() -> dict[str, object]:
    """As an application with indieweb-utils does, which brings its own redirect."""
    from indieweb_utils import discover_indieauth_endpoints, indieauth_callback_handler

    endpoints = discover_indieauth_endpoints(ME)
    verifier, state = "v" * 43, "some state"
    digest = hashlib.sha256(verifier.encode()).digest()
    asked = {
        "response_type": "code",
        "client_id": CLIENT,
        "redirect_uri": BACK,
        "state": state,
        "code_challenge": base64.urlsafe_b64encode(digest).decode().rstrip("="),
        "code_challenge_method": "S256",
        "scope": "profile",
    }
    back = query(person(f"{endpoints.authorization_endpoint}?{urlencode(asked)}"))
    done = indieauth_callback_handler(
        code=back["code"],
        state=back["state"],
        token_endpoint=endpoints.token_endpoint,
        code_verifier=verifier,
        session_state=state,
        me=ME,
        callback_url=BACK,
        client_id=CLIENT,
        required_scopes=["profile"],
    )
    return {"me": done.response["me"], "scope": done.response["scope"]}


if __name__ == "__main__":
    name = sys.argv[1]
    known = {"authl": authl, "datasette": datasette, "indieweb_utils": indieweb_utils}
    print(json.dumps(known[name]()))  # noqa: T201 - what the test reads
