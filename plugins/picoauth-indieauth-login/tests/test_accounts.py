"""Accounts that one gets by a domain, links to accounts that are there, and attacks on both."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import pytest
from people import (
    ANN,
    ENDPOINT,
    HOME,
    IN,
    OPEN,
    REFUSED,
    TABLE,
    TRUSTED,
    UNUSABLE,
    People,
    answer,
    page,
    people,
    told,
)

from picoauth import Caller, Draft, NoSettings, Plugin, Problem, Statement, hookimpl
from picoauth.testing.contracts.factor import together
from picoauth_fetch import Answer, FetchFailed, html
from picoauth_fetch.html import Page
from picoauth_indieauth_login import discovery
from picoauth_indieauth_login.client import Identity
from picoauth_indieauth_login.discovery import AT_ONCE
from picoauth_indieauth_login.profiles import known
from picoauth_indieauth_login.testing import Endpoint

BOB = "https://bob.example/"
TAKEN = (409, "identifier_taken")


async def count(them: People, table: str = "users") -> int:
    [(found,)] = await them.server.auth.database.read(f"select count(*) from {table}")
    return int(found)


async def test_link_only(them: People) -> None:
    """By default a domain that nobody linked gets nobody in, and makes no account."""
    assert REFUSED == told(await them.login())
    assert 0 == await count(them)
    await them.linked()
    assert IN == told(await them.login())


async def test_listed(tmp_path: Path) -> None:
    """Domains of the list get an account, others none."""
    table = f'{TABLE}registration = "listed"\nlisted = ["https://ANN.example"]\n'
    async with people(tmp_path, table) as them:
        assert IN == told(await them.login())
        them.says({"me": BOB})
        assert REFUSED == told(await them.login(BOB))
        assert 1 == await count(them)


async def test_open(anybody: People) -> None:
    """With open registration each domain gets an account, and the same one again."""
    assert IN == told(await anybody.login())
    first = await anybody.user_of()
    assert IN == told(await anybody.login())
    assert first == await anybody.user_of()
    assert (1, 1) == (await count(anybody), await count(anybody, "enrolments"))


async def test_fifty_at_once(anybody: People) -> None:
    """Fifty first logins with one domain make one account."""
    endpoint = Endpoint()
    anybody.plugin.client.fetching(endpoint, endpoint)
    me, begun = endpoint.page("ann"), []
    for _ in range(50):
        await anybody.server.auth.database.write(Statement("delete from throttle"))
        begun.append(await anybody.begin(me))
    replies = await together(
        anybody.come_back(each.flow, endpoint.approve(each.url, "ann")) for each in begun
    )
    statuses = [reply.status_code for reply in replies]  # type: ignore[union-attr]
    assert {200} == set(statuses)
    assert (1, 1) == (await count(anybody), await count(anybody, "indieauth_login"))


class Home(Endpoint):
    """A trusted endpoint that knows Ann alone."""

    async def post(self, url: str, body: bytes, *, headers: Any = None) -> Answer:
        return Answer(url, 200, {}, b'{"username": "ann", "permissions": ["media:watch"]}')


async def test_many_at_once_by_an_endpoint(them: People) -> None:
    """Many first logins of one user of a trusted endpoint make one account."""
    them.plugin.client.fetching(Home(), Home())
    begun = [await them.begin(None, endpoint="home") for _ in range(20)]
    replies = await together(them.come_back(each.flow, each.brought()) for each in begun)
    assert {200} == {reply.status_code for reply in replies}  # type: ignore[union-attr]
    assert (1, 1) == (await count(them), await count(them, "indieauth_login"))


class StrictPlugin(Plugin[NoSettings]):
    """Lets nobody register."""

    @hookimpl
    async def check_registration(self, draft: Draft) -> Problem | None:
        return Problem(403, "strict", "Nobody may register.")


async def test_registration_is_checked(tmp_path: Path) -> None:
    """What other plugins have against an account holds here too."""
    on = 'plugins = ["indieauth-login", "pin", "strict"]\npublic_url = "https://app.example"\n'
    async with people(tmp_path, OPEN, on, {"strict": StrictPlugin}) as them:
        assert (403, "strict") == told(await them.login())
        assert 0 == await count(them)


async def test_link(them: People) -> None:
    """A domain is linked by a fresh session; it is verified, listed, and gets its owner in."""
    made = await them.linked()
    token = await them.token()
    shown = (await them.server.get("/auth/indieauth", token=token)).json()
    at = them.server.auth.now()
    link = {"id": made, "endpoint": None, "me": ANN, "permissions": [], "linked_at": at}
    assert {"links": [link], "endpoints": ["home", "old"]} == shown
    factors = (await them.server.get("/auth/factors", token=token)).json()
    assert "indieauth" in json.dumps(factors)
    exported = (await them.server.get("/auth/me/export", token=token)).json()
    assert [link] == exported["indieauth-login"]["links"]
    ann = await them.server.auth.users.find("username", "ann")
    assert ann is not None
    assert ann.id == await them.user_of()


async def test_link_at_an_endpoint(them: People) -> None:
    """A name at a trusted endpoint is linked without a permission, and gets in with one."""
    them.says({"username": "ann", "permissions": []}, path="/home")
    reply = await them.link("ann", endpoint="home")
    assert "ann" == reply.json()["username"]
    assert (403, "permission_required") == told(await them.login(None, endpoint="home"))
    them.says({"username": "ann", "permissions": ["media:WATCH"]}, path="/home")
    assert IN == told(await them.login(None, endpoint="home"))
    token = await them.token()
    [link] = (await them.server.get("/auth/indieauth", token=token)).json()["links"]
    assert ("home", "ann", ["media:watch"]) == (
        link["endpoint"],
        link["username"],
        link["permissions"],
    )


async def test_unlink(them: People) -> None:
    """Who removes the factor is not found by the domain any more, and another may link it."""
    made = await them.linked()
    gone = await them.server.send("DELETE", f"/auth/factors/{made}", token=await them.token())
    assert gone.is_success, gone.text
    assert await them.user_of() is None
    assert REFUSED == told(await them.login())
    await them.linked("bob")
    assert IN == told(await them.login())


async def test_last_factor(anybody: People) -> None:
    """The only way in cannot be removed."""
    token = (await anybody.login()).json()["access_token"]
    [link] = (await anybody.server.get("/auth/indieauth", token=token)).json()["links"]
    gone = await anybody.server.send("DELETE", f"/auth/factors/{link['id']}", token=token)
    assert (409, "last_factor") == told(gone)
    assert await anybody.user_of()


async def test_links_of_others(them: People) -> None:
    """What is somebody's is linked to nobody else, nor twice."""
    await them.linked()
    assert TAKEN == told(await them.link("ann"))
    assert TAKEN == told(await them.link("bob"))


async def test_most_links(tmp_path: Path) -> None:
    """One account has so many links, also if they come at once."""
    async with people(tmp_path, "[indieauth-login]\ndomains = true\nmost = 1\n") as them:
        await them.linked()
        them.says({"me": BOB})
        assert (409, "too_many_links") == told(await them.link("ann", BOB))


async def test_ticket_of_another(them: People) -> None:
    """A victim's browser that comes back with an attacker's answer links nothing, nor one twice."""
    ann, bob = await them.token("ann"), await them.token("bob")
    begun = (await them.server.post("/auth/indieauth/begin", {"me": ANN}, token=ann)).json()
    sent = {"ticket": begun["ticket"], "indieauth": "code=x&state=y"}
    for token in (bob, ann):
        assert REFUSED == told(await them.server.post("/auth/indieauth", sent, token=token))
    assert 0 == await count(them, "indieauth_login")


async def test_session_that_is_not_fresh(them: People) -> None:
    """An old session links nothing."""
    token = await them.token()
    them.server.clock.advance(400)
    reply = await them.server.post("/auth/indieauth/begin", {"me": ANN}, token=token)
    assert (403, "stepup_needed") == told(reply)


@pytest.mark.parametrize("body", [{}, {"me": ANN, "endpoint": "home"}, {"me": 1}, {"me": None}])
async def test_beginnings_that_are_none(them: People, body: dict[str, Any]) -> None:
    """One of the two, as a text."""
    reply = await them.server.post("/auth/indieauth/begin", body, token=await them.token())
    assert (400, "invalid_body") == told(reply)


async def test_disabled(them: People) -> None:
    """A disabled user does not get in; a deleted one is nobody, and her domain is free."""
    await them.linked()
    user_id = str(await them.user_of())
    await them.server.auth.accounts.disable(user_id, Caller())
    assert REFUSED == told(await them.login())
    await them.server.auth.accounts.enable(user_id, Caller())
    assert IN == told(await them.login())
    await them.server.auth.accounts.delete(user_id, Caller())
    assert REFUSED == told(await them.login())
    assert (0, 0) == (await count(them), await count(them, "indieauth_login"))


async def test_stepup(anybody: People) -> None:
    """A session is proven afresh by its own domain, and no other one makes an account there."""
    token = (await anybody.login()).json()["access_token"]

    async def stepup(me: str) -> tuple[int, str]:
        begun = await anybody.server.post(
            "/auth/stepup/begin", {"factor": "indieauth", "me": me}, token=token
        )
        body = begun.json()
        from people import Begun

        brought = Begun(body["flow"], body["challenge"]["url"]).brought()
        sent = {"factor": "indieauth", "flow": body["flow"], "indieauth": brought}
        return told(await anybody.server.post("/auth/stepup", sent, token=token))

    anybody.says({"me": BOB})
    assert REFUSED == await stepup(BOB)
    assert 1 == await count(anybody)
    anybody.says({"me": ANN})
    assert IN == await stepup(ANN)


async def test_endpoint_that_moved(tmp_path: Path) -> None:
    """A name in the settings that means another endpoint now does not let its old people in."""
    async with people(tmp_path) as them:
        them.says({"username": "ann", "permissions": ["media:watch"]}, path="/home")
        begun = await them.begin(None, endpoint="home")
        client = them.plugin.client
        old = client.endpoints["home"]
        from dataclasses import replace

        client.endpoints["home"] = replace(old, url="https://auth.example/new")
        assert REFUSED == told(await them.come_back(begun.flow, begun.brought()))
        del client.endpoints["home"]
        assert (400, "unknown_endpoint") == told(await them.ask(endpoint="home"))
        assert HOME == old.url


async def test_endpoint_is_down(them: People) -> None:
    """Nobody is refused for it: one may try again, from the beginning."""
    await them.linked()
    begun = await them.begin()
    them.web.answers["/authorize"] = answer(b"x" * 300_000)
    reply = await them.come_back(begun.flow, begun.brought())
    assert (503, "unavailable") == told(reply)


class Slow(Home):
    """The whole web; it answers when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.running, self.most, self.go_on = 0, 0, asyncio.Event()

    async def get(self, url: str, *, headers: Any = None) -> Answer:
        self.running += 1
        self.most = max(self.most, self.running)
        if self.running == AT_ONCE:
            self.go_on.set()
        await self.go_on.wait()
        self.running -= 1
        raise FetchFailed(url)


async def test_many_fetches(them: People) -> None:
    """However many begin at once, few pages are got at once, and all get their answer."""
    web = Slow()
    them.plugin.client.fetching(web, web)
    replies = await together(them.ask(me=f"h{number}.example") for number in range(40))
    assert {UNUSABLE} == {told(reply) for reply in replies}  # type: ignore[arg-type]
    assert AT_ONCE == web.most


async def test_busy(them: People) -> None:
    """Who waited too long for a turn is not refused for it: one may try again."""
    client = them.plugin.client
    begun = await them.begin()
    client.fetcher.turns.seconds = 0
    for _ in range(AT_ONCE):
        await client.fetcher.turns.free.acquire()
    assert (503, "unavailable") == told(await them.ask(me=ANN))
    assert (503, "unavailable") == told(await them.come_back(begun.flow, begun.brought()))


async def test_long_pages(them: People, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page is read once, and not where everybody waits for it."""
    threads = []

    def noted(text: str) -> Page:
        threads.append(threading.current_thread())
        return html.read(text)

    monkeypatch.setattr(discovery, "read", noted)
    them.web.answers["/"] = page(f'<link rel="authorization_endpoint" href="{ENDPOINT}">')
    await them.begin()
    [thread] = threads
    assert thread is not threading.current_thread()


async def test_metadata_is_down(them: People) -> None:
    """A domain whose endpoint cannot be read is refused, and says so."""
    them.web.answers["/metadata"] = answer(b"x" * 300_000)
    reply = await them.ask(me=ANN)
    assert (400, "profile_unusable") == told(reply)
    assert "the metadata of its endpoint cannot be reached" == reply.json()["detail"]


@pytest.mark.parametrize(
    "brought", ["x" * 5000, "code=a&code=b", "", "state=%00", "%00=%FF", "&&&="]
)
async def test_odd_answers(them: People, brought: str) -> None:
    """Whatever a browser brings, it is refused."""
    begun = await them.begin()
    assert REFUSED == told(await them.come_back(begun.flow, brought))


async def test_renewed_secret(them: People) -> None:
    """A login that began before the root secret was renewed goes on."""
    await them.linked()
    begun = await them.begin()
    client = them.plugin.client
    digests = client.auth.secrets.digests
    client.auth.secrets.digests = (  # type: ignore[method-assign]
        lambda purpose, text: [b"a newer one", *digests(purpose, text)]
    )
    assert IN == told(await them.come_back(begun.flow, begun.brought()))


async def test_nothing_to_answer_with(them: People) -> None:
    """The database has neither state nor verifier of a login that waits."""
    begun = await them.begin()
    await asyncio.sleep(0)
    found = b"".join(path.read_bytes() for path in them.server.folder.glob("*.db*"))
    assert found
    assert begun.asked["state"].encode() not in found


async def test_own_page(tmp_path: Path) -> None:
    """A page elsewhere is sent to, and one that is the redirect itself is what endpoints know."""
    table = (
        f'{TABLE}page = "https://www.example/in/"\nredirect_uri = "https://www.example/back"\n'
        'client_name = "Books"\n' + TRUSTED
    )
    async with people(tmp_path, table) as them:
        found = await them.server.get("/auth/indieauth/callback?code=x")
        assert "https://www.example/in/#indieauth=code%3Dx" == found.headers["location"]
        body = (await them.server.get("/auth/indieauth/client")).json()
        assert (["https://www.example/back"], "Books") == (
            body["redirect_uris"],
            body["client_name"],
        )
        assert "https://www.example/back" == (await them.begin()).asked["redirect_uri"]


def test_steps_that_are_no_profiles() -> None:
    """Redirects may lead over what can be nobody's profile URL; it is none that may be answered."""
    assert (ANN,) == known(["https://ann.example:8443/", ANN, ANN])


@pytest.mark.parametrize("endpoint", ["", HOME])
async def test_account_that_another_request_made(anybody: People, endpoint: str) -> None:
    """Of two first logins the second finds no account to make, and looks again."""
    accounts, identity = anybody.plugin.accounts, Identity(endpoint, ANN, "ann")
    assert await accounts.register(identity, Caller()) is not None
    assert None is await accounts.register(identity, Caller())
    assert 1 == await count(anybody)
