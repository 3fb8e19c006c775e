"""Enrolment and confirmation of authenticators, as a picoauth plugin."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from picoauth import (
    Addition,
    Attempt,
    Auth,
    AuthError,
    BackupRestored,
    Check,
    Enrolment,
    Event,
    Factor,
    ImportField,
    Job,
    Keyed,
    Plugin,
    Problem,
    Reply,
    Request,
    Route,
    User,
    described,
    hookimpl,
    problems,
    replies,
)
from picoauth_totp.authenticators import (
    FACTOR,
    LIFE,
    TOO_MANY_AUTHENTICATORS,
    Authenticators,
)
from picoauth_totp.checkups import Checkups
from picoauth_totp.codes import WrongCode, base32
from picoauth_totp.factor import TotpFactor
from picoauth_totp.imported import TotpSecrets
from picoauth_totp.uris import plain, qr, uri

WRONG_CODE = Problem(400, "wrong_code", "This code is wrong, or no longer good.")
SECRET = 20
"""Bytes of a secret: 160 bits (RFC 4226, section 4)."""
CONFIRM = "/auth/totp/confirm"
SAMPLE = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


@dataclass(frozen=True)
class TotpSettings:
    """The table `[totp]`."""

    issuer: str | None = described(
        "What apps show beside the account; the host of `public_url` if unset.",
        default=None,
        least=1,
        most=64,
    )
    window: int = described(
        "Steps of 30 seconds, before and after the present one, whose codes are good.",
        default=1,
        least=0,
        most=1,
    )


@dataclass(frozen=True)
class NewAuthenticator:
    """The body of `POST /auth/totp`."""

    label: str | None = described("Name to show.", default=None, least=1, most=100, example="Phone")
    qr: bool = described("Whether a QR code is wanted.", default=False, example=True)


@dataclass(frozen=True)
class Added:
    """An authenticator that counts as soon as it is confirmed. The secret is not shown again."""

    id: str = described("Of the enrolment.", example=replies.FACTOR_ID)
    secret: str = described("For who types it, in Base32.", example=SAMPLE)
    uri: str = described(
        "For an app on this device.",
        example=f"otpauth://totp/auth.example.com:ann?secret={SAMPLE}&issuer=auth.example.com",
    )
    qr: str = described(
        "The same for another device: a QR code as SVG, where one is wanted.",
        default="",
        example='<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 49 49"></svg>',
    )


@dataclass(frozen=True)
class Confirmation:
    """The body of `POST /auth/totp/confirm`."""

    id: str = described("Of the enrolment.", example=replies.FACTOR_ID)
    code: str = described("What the app shows.", example="123456")


MIGRATIONS = (
    """
    create table totp (
        enrolment_id text primary key references enrolments(id) on delete cascade,
        user_id text not null references users(id) on delete cascade,
        sealed blob not null, key_id text not null,
        last_step integer not null, created_at integer not null
    )
    """,
    "create index totp_user on totp (user_id)",
)


class TotpPlugin(Plugin[TotpSettings]):
    """The factor `totp`, its routes and its table."""

    def __init__(self, auth: Auth, name: str, settings: TotpSettings) -> None:
        super().__init__(auth, name, settings)
        self.authenticators = Authenticators(auth, settings.window)
        auth.secrets.keyed.append(Keyed("authenticators", self.authenticators.by_key))
        host = urlsplit(auth.config.public_url).hostname or ""
        self.issuer = plain(settings.issuer or "") or plain(host)

    @hookimpl
    def migrations(self) -> Sequence[str]:
        return MIGRATIONS

    @hookimpl
    def factors(self) -> Sequence[Factor]:
        return [TotpFactor(self.authenticators)]

    @hookimpl
    def routes(self) -> Sequence[Route]:
        add = Route(
            method="POST",
            path="/auth/totp",
            handler=self.add,
            policy="fresh",
            body=NewAuthenticator,
            status=201,
            answer=Added,
            problems=(TOO_MANY_AUTHENTICATORS, problems.NOT_FOUND),
        )
        confirm = Route(
            method="POST",
            path=CONFIRM,
            handler=self.confirm,
            policy="fresh",
            body=Confirmation,
            answer=replies.Handed,
            problems=(WRONG_CODE, problems.NOT_FOUND, problems.START_OVER, problems.REFUSED),
        )
        return [add, confirm]

    @hookimpl
    def imports(self) -> Mapping[str, ImportField]:
        return {"totp": TotpSecrets(self.authenticators)}

    @hookimpl
    def checks(self) -> Sequence[Check]:
        return Checkups(self.authenticators).checks()

    @hookimpl
    def jobs(self) -> Sequence[Job]:
        return [
            Job("totp-clean", LIFE, self.authenticators.clean, purges=True),
            Job("totp-reseal", LIFE, self.authenticators.reseal),
        ]

    @hookimpl
    def lifespan(self) -> AbstractAsyncContextManager[None]:
        @asynccontextmanager
        async def checked() -> AsyncIterator[None]:
            await self.authenticators.check_keys()
            yield

        return checked()

    @hookimpl
    def record(self, event: Event) -> Addition | None:
        """Of a restored backup nobody knows which codes of the last minute were used."""
        if isinstance(event, BackupRestored):
            return Addition([self.authenticators.spending_all(event.at)])
        return None

    @hookimpl
    async def export(self, user: User) -> Mapping[str, Any]:
        """What the user named and used; secrets are not told again."""
        found = await self.auth.users.enrolments(user.id)
        mine = [e for e in found if e.factor == FACTOR]
        members = ("id", "label", "confirmed_at", "last_used_at")
        return {"authenticators": [{name: getattr(e, name) for name in members} for e in mine]}

    async def add(self, request: Request) -> Reply:
        """Make an authenticator, which counts as soon as it is confirmed."""
        user = await self.auth.users.require(request.access.user_id)
        secret = self.auth.secrets.random(SECRET)
        made = self.auth.users.enrolment(user.id, FACTOR, request.body.label)
        await self.authenticators.add(replace(made, confirmed_at=None), secret)
        address = uri(secret, issuer=self.issuer, account=await self.account(user))
        answer = {"id": made.id, "secret": base32(secret), "uri": address}
        # The picture takes 10 ms and more, in which others would wait.
        picture = {"qr": await asyncio.to_thread(qr, address)} if request.body.qr else {}
        return Reply({**answer, **picture}, 201)

    async def account(self, user: User) -> str:
        """What an app shows for the user, who may have no name that a label can have."""
        username = await self.auth.users.username(user.id)
        return plain(username or "") or plain(user.name) or user.id

    async def confirm(self, request: Request) -> Reply:
        """Put an authenticator in force: other sessions end, this one gets new tokens.

        Its code is spent with it, and guesses count together with those of logins (A-1).
        """
        access, caller = request.access, request.caller
        found = await self.authenticators.unconfirmed(access.user_id, request.body.id)
        attempt = Attempt(CONFIRM, caller.address, found.user_id, FACTOR)
        await self.auth.limiter.attempt(attempt)
        try:
            step = self.authenticators.step(found, request.body.code)
        except WrongCode as error:
            raise AuthError(WRONG_CODE) from error
        statements = [
            self.authenticators.spending(found, step),
            *self.auth.limiter.succeeded(attempt),
        ]
        enrolment = Enrolment(found.enrolment_id, found.user_id, FACTOR)
        return Reply(
            await self.auth.credentials.confirm(access.session_id, enrolment, statements, caller)
        )
