"""From the client to the user and back."""

from __future__ import annotations

from endpoint import Home, legacy, writing


async def test_login(at_home: Home) -> None:
    """A client learns who logged in, and nothing else."""
    code = await at_home.code()
    answer = await at_home.redeem(code)
    assert (200, {"me": "https://auth.example/u/ann"}) == (answer.status_code, answer.json())


async def test_privateauth(at_home: Home) -> None:
    """A PrivateAuth client learns what its user may do there."""
    await at_home.permit("media:watch")
    await at_home.permit("picoauth:admin")
    code = await at_home.legacy_code()
    answer = await at_home.legacy(code)
    assert 200 == answer.status_code, answer.text
    assert {
        "me": "https://auth.example/u/ann",
        "username": "ann",
        "name": "ann",
        "permissions": ["media:watch"],
    } == answer.json()
    assert legacy()


async def test_tokens(at_home: Home) -> None:
    """Tokens are renewed, asked about, used and given up."""
    tokens = await at_home.handed("profile create")
    assert (await at_home.introspected(tokens["access_token"]))["active"] is True
    assert 200 == (await at_home.userinfo(tokens["access_token"])).status_code
    answer = await at_home.post(
        "token",
        grant_type="refresh_token",
        refresh_token=tokens["refresh_token"],
        client_id="https://app.example/",
    )
    assert 200 == answer.status_code, answer.text
    assert "profile create" == answer.json()["scope"]


async def test_writes(at_home: Home) -> None:
    """From request to code at most three writes; a code is verified by one."""
    await at_home.token()
    with writing(at_home.server) as writes:
        request = await at_home.request(scope="profile")
        assert 200 == (await at_home.ask("GET", f"requests/{request}")).status_code
        code = (await at_home.approved(request))["code"]
        assert 3 == len(writes)
        await at_home.redeem(code)
        assert 4 == len(writes)
