"""What users do, from one end to the other."""

from picoauth.testing import Server


async def test_register_and_login(server: Server) -> None:
    """A new user logs in, and the token is valid."""
    await server.register()
    tokens = await server.login()
    answer = await server.post("/jwt/validate", token=tokens["access_token"])
    assert answer.status_code == 200
    assert answer.json()["preferred_username"] == "ann"
