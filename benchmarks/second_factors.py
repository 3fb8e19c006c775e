"""What the second step of a login costs with TOTP or a passkey, and what these plugins add.

CPU of the process (user and system, all threads) per `POST /auth/login` that carries the second
proof, asked in-process; the steps before it are not counted. Least of ten interleaved rounds of 50
logins each. Beside it a stub: a second factor that accepts whatever comes and writes nothing of its
own, and what the libraries' own calls cost for the same proofs: that of pyotp for the three steps of
the window, and that of webauthn for one assertion. Then a server process of its own: resident
memory (VmRSS) and the time to the first answer with the password plugin alone and with
recovery, totp and passkey beside it, and after a use of each. MB are 10^6 bytes.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pyotp
from measure import Figure, folder, main, person, register, serving
from webauthn import base64url_to_bytes, verify_authentication_response

from picoauth import Factor, NoSettings, Payload, Plugin, Proof, Situation, hookimpl
from picoauth.testing import Ceremony, Server, Someone
from picoauth.testing import serving as inside
from picoauth.testing.authenticator import Authenticator
from picoauth_passkey.testing import signed

ROUNDS, LOGINS = 10, 50
SETTINGS = """
plugins = ["password", "recovery", "totp", "passkey", "stub"]
public_url = "http://localhost"
[password]
memory_kib = 12288
iterations = 3
"""


class StubFactor(Factor):
    """Accepts everybody who comes as a second step."""

    name: ClassVar[str] = "stub"
    second: ClassVar[bool] = True

    async def verify(self, situation: Situation, payload: Payload) -> Proof:  # noqa: ARG002
        assert situation.user
        return Proof(user=situation.user, amr=("stub",))


class StubPlugin(Plugin[NoSettings]):
    """The stub."""

    @hookimpl
    def factors(self) -> Sequence[Factor]:
        return [StubFactor()]


class StubCeremony(Ceremony):
    """Nothing to prove."""

    async def enrol(self, someone: Someone) -> None:
        await someone.enrolment("stub")

    async def answer(self, someone: Someone, challenge: Mapping[str, Any]) -> Payload:  # noqa: ARG002
        return {"stub": "yes"}

    async def wrong(self, someone: Someone, challenge: Mapping[str, Any]) -> Payload:  # noqa: ARG002
        return {}


async def spent(work: Callable[[], Awaitable[Any]]) -> float:
    """Microseconds of CPU."""
    began = time.process_time()
    await work()
    return (time.process_time() - began) * 1e6


async def second_step(server: Server, someone: Someone, factor: str) -> float:
    """Log in by password, and count what the second step costs."""
    server.clock.advance(60)  # another code, and no failure to be delayed by
    answer = await someone.prove("password")
    flow, challenge = await someone.begin(factor, answer.json()["flow"])
    payload = await server.ceremonies[factor].answer(someone, challenge)
    replies = []

    async def step() -> None:
        replies.append(await someone.send(factor, payload, flow))

    cost = await spent(step)
    assert replies[0].status_code == 200, replies[0].text
    return cost


async def steps(path: Path, rounds: int) -> dict[str, float]:
    """The least mean of each factor."""
    plugins, ceremonies = {"stub": StubPlugin}, {"stub": StubCeremony}
    async with inside(path, SETTINGS, plugins=plugins, ceremonies=ceremonies) as server:
        people = {name: await server.join("password", name) for name in ("stub", "totp", "passkey")}
        found: dict[str, list[float]] = {name: [] for name in people}
        for _ in range(rounds):
            for name, someone in people.items():
                costs = [await second_step(server, someone, name) for _ in range(LOGINS)]
                found[name].append(sum(costs) / LOGINS)
        libraries = {
            "pyotp": codes(people["totp"]),
            "webauthn": await assertion(server, people["passkey"]),
        }
    return {**{name: min(costs) for name, costs in found.items()}, **libraries}


def codes(someone: Someone) -> float:
    """The own call of pyotp, which makes the codes of three steps and compares."""
    secret = pyotp.random_base32()
    someone.notes["totp"].code()

    def call() -> None:
        pyotp.TOTP(secret).verify("000000", valid_window=1)

    return least(call)


async def assertion(server: Server, someone: Someone) -> float:
    """The own call of webauthn for one assertion."""
    answer = await someone.prove("password")
    _, challenge = await someone.begin("passkey", answer.json()["flow"])
    credential = signed(someone.notes["passkey"], challenge)
    [key] = someone.notes["passkey"].credentials.values()
    raw = challenge["challenge"]

    def call() -> None:
        verify_authentication_response(
            credential=credential,
            expected_challenge=base64url_to_bytes(raw),
            expected_rp_id="localhost",
            expected_origin=server.auth.config.public_url,
            credential_public_key=key.public_key,
            credential_current_sign_count=0,
        )

    return least(call)


def least(call: Callable[[], None]) -> float:
    """Microseconds of CPU of one call, least of ten times fifty."""
    found = []
    for _ in range(ROUNDS):
        began = time.process_time()
        for _ in range(LOGINS):
            call()
        found.append((time.process_time() - began) * 1e6 / LOGINS)
    return min(found)


def process(path: Path, quick: bool) -> dict[str, float]:  # noqa: FBT001 - what the command line says
    """Memory and start of a server with the password plugin alone, and with the three."""
    lists = {"alone": ["password"], "three": ["password", "recovery", "totp", "passkey"]}
    found: dict[str, list[float]] = {
        f"{name} {what}": [] for name in lists for what in ("start", "memory")
    }
    for name, plugins in lists.items():
        (path / name).mkdir()
        with serving(path / name, plugins=plugins) as server:
            register(server, ["ann"])
    for _ in range(2 if quick else 5):
        for name, plugins in lists.items():
            with serving(path / name, wait=False, plugins=plugins) as server:
                found[f"{name} start"].append(server.ready())
                login(server)
                found[f"{name} memory"].append(server.resident())
    with serving(path / "three", plugins=lists["three"]) as server:
        use(server)
        used = server.resident()
    return {**{name: min(values) for name, values in found.items()}, "used": used}


def login(server: Any) -> str:
    tokens = server.client().ask("POST", "/auth/login", person("ann"))
    token: str = tokens["access_token"]
    return token


def use(server: Any) -> None:
    """Enrol an app, which hands out recovery codes, and a passkey; log in by it."""
    client, token = server.client(), login(server)
    added = client.ask("POST", "/auth/totp", {"qr": True}, token=token, want=201)
    confirmation = {"id": added["id"], "code": pyotp.TOTP(added["secret"]).now()}
    confirmed = client.ask("POST", "/auth/totp/confirm", confirmation, token=token)
    assert len(confirmed["recovery"]["codes"]) == 10
    token = confirmed["access_token"]
    begun = client.ask("POST", "/auth/passkey/begin", {}, token=token)
    device = Authenticator(origin=server.address.replace("127.0.0.1", "localhost"))
    made = {"ticket": begun["ticket"], "passkey": device.create(begun["options"])}
    client.ask("POST", "/auth/passkey", made, token=token, want=201)
    asked = client.ask("POST", "/auth/login/begin", {"factor": "passkey"})
    proof = {"factor": "passkey", "flow": asked["flow"], "passkey": device.get(asked["challenge"])}
    client.ask("POST", "/auth/login", proof)


def work(quick: bool) -> Sequence[Figure]:  # noqa: FBT001 - what the command line says
    with tempfile.TemporaryDirectory(prefix="picoauth-benchmark-") as path:
        least = asyncio.run(steps(Path(path), 3 if quick else ROUNDS))
    with folder() as path:
        grown = process(path, quick)
    found = [Figure("second step by a stub", least["stub"], "µs")]
    for factor, library in (("totp", "pyotp"), ("passkey", "webauthn")):
        allowed = least["stub"] + least[library]
        found += [
            Figure(f"{library}'s own call", least[library], "µs"),
            Figure(f"second step by {factor}", least[factor], "µs"),
            Figure("  by stub and call together", least[factor] / allowed, most=1.2),
        ]
    return [
        *found,
        Figure(
            "RSS with the three plugins, unused: more",
            grown["three memory"] - grown["alone memory"],
            "MB",
            most=2,
        ),
        Figure(
            "RSS with the three plugins, used: more",
            grown["used"] - grown["alone memory"],
            "MB",
            most=20,
        ),
        Figure(
            "start with the three plugins: more",
            grown["three start"] - grown["alone start"],
            "s",
            most=0.2,
        ),
    ]


if __name__ == "__main__":
    main(__doc__, work)
