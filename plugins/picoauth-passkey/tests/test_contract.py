"""The passkey plugin keeps the contracts of factors, of routes, and of the matrix."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import pytest

from picoauth import Caller, Plugin
from picoauth.testing import Ceremony, Someone
from picoauth.testing.authenticator import Authenticator
from picoauth.testing.contracts import AccessContract, FactorContract, MatrixContract
from picoauth.testing.contracts.factor import Bench, alike
from picoauth_passkey.ceremonies import Kind
from picoauth_passkey.testing import PasskeyCeremony
from tests.factors import CEREMONIES, PLUGINS


class KeyCeremony(PasskeyCeremony):
    """A U2F key: it keeps no user handle, and asks nobody for a PIN."""

    completes: ClassVar[bool] = False
    kind: ClassVar[Kind] = "security_key"

    def device(self) -> Authenticator:
        return replace(super().device(), verified=False, attestation="fido-u2f")

    async def asks(self, someone: Someone) -> Mapping[str, Any]:
        return {"username": someone.username}


class TestPasskey(FactorContract):
    """A passkey that verifies its user, on a server that has nothing else."""

    factor = "passkey"
    single_use = True

    @pytest.fixture
    def picoauth_settings(self) -> str:
        return 'plugins = ["passkey"]'

    async def test_nobody_is_told_who_exists(self, bench: Bench) -> None:
        """As in the contract, but that a device is told to forget what is nobody's.

        A credential id that was real is random, and only its device and its page ever had it: to
        be told that it is unknown says nothing about any name. So that is all that may differ.
        """
        accounts, answers = bench.server.auth.accounts, {}
        for what in ("is wrong", "is disabled", "is gone"):
            someone = await bench.someone()
            if what == "is disabled":
                await accounts.disable(someone.user.id, Caller())
            if what == "is gone":
                await accounts.delete(someone.user.id, Caller())
            step = await bench.step(someone)
            payload = await bench.answer(step, wrong=what == "is wrong")
            answer = await step.send(payload)
            status, headers, body = alike(answer, someone)
            signals = answer.json().get("signals")
            hint = {"rpId": "localhost", "credentialId": payload["passkey"]["id"]}
            assert (what == "is gone") == (signals == {"unknownCredential": hint})
            assert (what == "is gone") == (signals is not None)
            del headers["content-length"]
            body.pop("signals", None)
            answers[what] = [alike(step.begun, someone), (status, headers, body)]
        assert answers["is wrong"] == answers["is disabled"]
        assert answers["is wrong"] == answers["is gone"]


class TestKey(FactorContract):
    """A U2F key, a second factor after a pin."""

    factor = "passkey"
    single_use = True
    test_nobody_is_told_who_exists = None  # type: ignore[assignment]  # of names: test_decoys.py

    @pytest.fixture
    def picoauth_settings(self) -> str:
        return 'plugins = ["pin", "passkey"]'

    @pytest.fixture
    def picoauth_plugins(self) -> Mapping[str, type[Plugin[Any]]]:
        return {"pin": PLUGINS["pin"]}

    @pytest.fixture
    def picoauth_ceremonies(self) -> Mapping[str, type[Ceremony]]:
        return {"pin": CEREMONIES["pin"], "passkey": KeyCeremony}


class TestMatrix(MatrixContract):
    """No entrance passes a passkey by."""

    @pytest.fixture
    def picoauth_settings(self) -> str:
        return 'plugins = ["password", "passkey"]'


class TestMatrixOfKeys(TestMatrix):
    """Nor a key that does not verify its user, which is one factor."""

    @pytest.fixture
    def picoauth_ceremonies(self) -> Mapping[str, type[Ceremony]]:
        return {"passkey": KeyCeremony}


class TestAccess(AccessContract):
    """Anybody may make an account; whoever adds a passkey has to be there."""

    @pytest.fixture
    def picoauth_settings(self) -> str:
        related = 'related_origins = ["https://example.net"]'
        return f'plugins = ["password", "passkey"]\n[passkey]\n{related}'

    @pytest.fixture
    def open_routes(self) -> Collection[str]:
        return {
            "POST /auth/register",
            "POST /auth/passkey/register/begin",
            "POST /auth/passkey/register",
            "GET /.well-known/webauthn",
        }
