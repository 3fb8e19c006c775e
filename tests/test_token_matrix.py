"""Every credential at every place that takes one: each is accepted at its own alone (K-5, T-1)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from picoauth.jose import sign
from picoauth.testing import Server
from picoauth.tokens import Tokens
from tests.accounts import SETTINGS, accounts, login, user_id
from tests.factors import PIN, begin, code_of, step

Made = Callable[[], Awaitable[str]]
Tried = Callable[[Server, str], Awaitable[httpx.Response]]

MODES = {"rotating": "stateless", "stateless": "rotating"}


def settings(mode: str = "rotating", *, url: str = "", algorithm: str = "ES256") -> str:
    issuer = f'public_url = "{url}"\n' if url else ""
    return f'{issuer}{SETTINGS}[tokens]\nrefresh = "{mode}"\nalgorithm = "{algorithm}"\n'


async def handed_out(folder: Path, settings: str) -> dict[str, str]:
    """Tokens of Ann by another server, or by the same one as it was set before."""
    async with accounts(folder, settings) as server:
        tokens = await login(server)
        return {name: tokens[f"{name}_token"] for name in ("access", "refresh")}


async def foreign(folder: Path, elsewhere: Path, mode: str) -> dict[str, str]:
    """Tokens that this server must not accept, by what is wrong with them."""
    other_mode = await handed_out(folder, settings(MODES[mode]))
    issuer = await handed_out(folder, settings(mode, url="https://other.example"))
    secret = await handed_out(elsewhere, settings(mode))
    algorithm = await handed_out(elsewhere, settings(mode, algorithm="EdDSA"))
    return {
        "refresh token of the other mode": other_mode["refresh"],
        "access token of another issuer": issuer["access"],
        "refresh token of another issuer": issuer["refresh"],
        "access token by another secret": secret["access"],
        "refresh token by another secret": secret["refresh"],
        "access token of another algorithm": algorithm["access"],
    }


def forged(tokens: Tokens, access: str, refresh: str) -> dict[str, str]:
    """What one of our keys signed in the place of the other."""
    signing, refreshing = tokens.keys.signing, tokens.refresh_keys[0]
    claims = tokens.check(access).claims
    spent = tokens.check_refresh(refresh)
    members = {"iss": claims["iss"], "sub": spent.user_id, "sid": spent.session_id, "gen": 0}
    times = {"iat": claims["iat"], "exp": claims["exp"]}
    return {
        "access header by a refresh key": sign(
            refreshing.key, {**signing.header, "alg": "HS256"}, claims
        ),
        "refresh claims by a signing key": sign(signing.key, signing.header, {**members, **times}),
        "refresh header by a signing key": sign(
            signing.key, {**refreshing.header, "alg": signing.algorithm}, {**members, **times}
        ),
        "parts of both": ".".join([*access.split(".")[:2], refresh.split(".")[2]]),
    }


async def ticket(server: Server, purpose: str) -> str:
    """A ticket as plugins issue them, with data that any reader of a flow would take."""
    flow = server.auth.logins.flows.blank(None)
    secret, issuing = server.auth.tickets.issue(
        purpose, flow.dump(), expires_at=flow.expires_at, user_id=await user_id(server)
    )
    await server.auth.database.write(issuing)
    return secret


def constant(value: str) -> Made:
    async def made() -> str:
        return value

    return made


async def credentials(server: Server, others: Mapping[str, str]) -> dict[str, Made]:
    """Everything that looks like a credential, made anew for each use where one use spends it."""
    tokens = await login(server)
    access, refresh = tokens["access_token"], tokens["refresh_token"]

    async def login_flow() -> str:
        return await begin(server, "key")

    async def stepup_flow() -> str:
        begun = await server.post("/auth/stepup/begin", {"factor": "key"}, token=access)
        flow: str = begun.json()["flow"]
        return flow

    async def reset() -> str:
        return await ticket(server, "reset")

    async def email() -> str:
        return await ticket(server, "email")

    claims = server.auth.tokens.check(access).claims
    texts = {
        "access token": access,
        "refresh token": refresh,
        **others,
        **forged(server.auth.tokens, access, refresh),
        "session id": claims["sid"],
        "user id": claims["sub"],
        "token id": claims["jti"],
        "key id": server.auth.keys.signing.id,
        "user name": "ann",
    }
    flows = {"flow of a login": login_flow, "flow of a step-up": stepup_flow}
    tickets = {"ticket of a reset": reset, "ticket of an address": email}
    return {**{name: constant(text) for name, text in texts.items()}, **flows, **tickets}


def by_token(method: str, path: str) -> Tried:
    async def tried(server: Server, credential: str) -> httpx.Response:
        return await server.send(method, path.replace("{id}", "none"), token=credential)

    return tried


def by_body(path: str) -> Tried:
    async def tried(server: Server, credential: str) -> httpx.Response:
        return await server.client.post(path, content=credential)

    return tried


def by_flow(path: str, token: str | None, **proof: Any) -> Tried:
    async def tried(server: Server, credential: str) -> httpx.Response:
        return await server.post(path, {"flow": credential, **proof}, token=token)

    return tried


def places(server: Server, token: str) -> dict[str, tuple[str, Tried]]:
    """Every route that takes a credential, with the one that it is for."""
    key = {"factor": "key", "owner": "ann"}
    found = {
        "/auth/login": ("flow of a login", by_flow("/auth/login", None, **key)),
        "/auth/login/begin": ("flow of a login", by_flow("/auth/login/begin", None, factor="key")),
        "/auth/stepup": ("flow of a step-up", by_flow("/auth/stepup", token, **key)),
        "/auth/stepup/begin": (
            "flow of a step-up",
            by_flow("/auth/stepup/begin", token, factor="key"),
        ),
        "/jwt/refresh": ("refresh token", by_token("POST", "/jwt/refresh")),
        "/jwt/refresh by body": ("refresh token", by_body("/jwt/refresh")),
        "/jwt/validate": ("access token", by_token("POST", "/jwt/validate")),
        "/jwt/validate by body": ("access token", by_body("/jwt/validate")),
        "/auth/session": ("access token", by_token("GET", "/auth/session")),
    }
    for registered in server.app.routes:
        route = registered.route
        if route.policy in ("session", "fresh"):
            name = f"{route.method} {route.path}"
            found[name] = ("access token", by_token(route.method, route.path))
    return found


HARMLESS = ("GET", "/")
"""What the right credential is tried at: it would end sessions and accounts elsewhere."""
REFUSALS = {"flow of a login": "flow_ended", "flow of a step-up": "flow_ended"}


@pytest.mark.parametrize("mode", MODES)
async def test_each_credential_at_each_place(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, mode: str
) -> None:
    """No credential is accepted in the place of another, nor spent by the try."""
    others = await foreign(tmp_path, tmp_path_factory.mktemp("elsewhere"), mode)
    async with accounts(tmp_path, settings(mode)) as server:
        made = await credentials(server, others)
        table = places(server, await made["access token"]())
        assert 20 < len(table)
        found, expected = {}, {}
        for name, make in made.items():
            credential = await make()
            for place, (own, tried) in table.items():
                if own != name:
                    found[name, place] = code_of(await tried(server, credential))
                    expected[name, place] = (401, REFUSALS.get(own, "invalid_token"))
        assert expected == found
        for place, (own, tried) in table.items():
            if place.startswith(HARMLESS):
                answer = await tried(server, await made[own]())
                assert (200, place) == (answer.status_code, place)


async def test_credentials_in_the_address(tmp_path: Path) -> None:
    """Nothing reads a token from a query, which ends up in logs (K-15)."""
    async with accounts(tmp_path) as server:
        token = (await login(server))["access_token"]
        for name in ("access_token", "token", "authorization", "flow"):
            answer = await server.get("/auth/session", params={name: token})
            assert (401, "token_missing") == code_of(answer)
        answer = await server.client.post("/jwt/refresh", params={"token": token})
        assert (401, "token_missing") == code_of(answer)


@pytest.mark.parametrize("scheme", ["Basic", "Token", "bearerx", ""])
async def test_other_schemes(tmp_path: Path, scheme: str) -> None:
    """A valid token under another scheme is no token; the scheme's case does not matter."""
    async with accounts(tmp_path) as server:
        token = (await login(server))["access_token"]

        async def under(name: str) -> httpx.Response:
            headers = {"Authorization": f"{name} {token}"}
            return await server.client.get("/auth/me", headers=headers)

        assert (401, "token_missing") == code_of(await under(scheme))
        assert 200 == (await under("bEARER")).status_code


async def test_flow_outlives_tries_elsewhere(tmp_path: Path) -> None:
    """A ticket that is shown at the wrong place is not spent there."""
    async with accounts(tmp_path) as server:
        token = (await login(server))["access_token"]
        flow = await begin(server, "pin")
        wrong = await server.post("/auth/stepup", {"flow": flow, **PIN}, token=token)
        assert (401, "flow_ended") == code_of(wrong)
        assert 200 == (await step(server, flow, **PIN)).status_code
