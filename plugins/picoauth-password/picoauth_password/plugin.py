"""Registration, login and change of password, as a picoauth plugin."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from picoauth import (
    Auth,
    Caller,
    Check,
    Factor,
    ImportField,
    Keyed,
    Plugin,
    Problem,
    Reply,
    Request,
    Route,
    Secret,
    Statement,
    User,
    described,
    hookimpl,
    identifier,
    problems,
    replies,
    user_of,
)
from picoauth_password.checkups import Checkups
from picoauth_password.factor import PasswordFactor, Passwords
from picoauth_password.hashing import Cost, Hasher
from picoauth_password.imported import PasswordHash
from picoauth_password.policy import (
    PASSWORD_TOO_LONG,
    PASSWORD_TOO_SHORT,
    PasswordContext,
    PasswordHooks,
    check_text,
)
from picoauth_password.shapes import NewPassword, Registered, Registration

if TYPE_CHECKING:
    import click

PASSWORD = (PASSWORD_TOO_SHORT, PASSWORD_TOO_LONG)


@dataclass(frozen=True)
class PasswordSettings:
    """The table `[password]`."""

    register: bool = described("Whether anyone may make an account.", default=True)
    min_length: int = described("Least code points of a new password.", default=8, least=8, most=64)
    max_length: int = described("Most code points of a password.", default=256, least=64, most=1024)
    memory_kib: int = described("Argon2id memory of one hash, in KiB.", default=19456)
    iterations: int = described("Argon2id passes.", default=2)
    parallelism: int = described("Argon2id lanes.", default=1)

    firebase_signer_key: Secret | None = described(
        "The key of a Firebase project, in Base64, by which imported hashes are verified.",
        default=None,
    )

    def __post_init__(self) -> None:
        problem = self.cost.problem()
        if problem is not None:
            raise ValueError(problem)

    @property
    def cost(self) -> Cost:
        return Cost(self.memory_kib, self.iterations, self.parallelism)


MIGRATIONS = (
    """
    create table password (
        user_id text primary key references users(id) on delete cascade,
        enrolment_id text not null references enrolments(id) on delete cascade,
        hash text not null, pepper_id text not null, changed_at integer not null
    )
    """,
    "create index password_enrolment on password (enrolment_id)",
    "create index password_pepper on password (pepper_id)",
    """
    update password set pepper_id = 'bcrypt'
     where pepper_id = '' and (hash like '$2_$__$%' or hash like 'bcrypt%')
    """,
    "update password set pepper_id = 'firebase' where pepper_id = '' and hash like '$fbscrypt$%'",
)


class PasswordPlugin(Plugin[PasswordSettings]):
    """The factor `password`, its routes and its table."""

    hooks: ClassVar[type | None] = PasswordHooks

    def __init__(self, auth: Auth, name: str, settings: PasswordSettings) -> None:
        super().__init__(auth, name, settings)
        peppers = auth.secrets.derive("pepper")
        self.hasher = Hasher(peppers, settings.cost, random=auth.secrets.random)
        self.passwords = Passwords(auth, self.hasher, settings.firebase_signer_key)
        auth.secrets.keyed.append(Keyed("passwords", self.passwords.by_root))

    @property
    def password_problems(self) -> Sequence[Problem]:
        """Why a new password may be refused, here or by another plugin."""
        others = self.auth.plugins.collect("password_refusals")
        return (*PASSWORD, *(problem for _, some in others for problem in some))

    @hookimpl
    def migrations(self) -> Sequence[str]:
        return MIGRATIONS

    @hookimpl
    def factors(self) -> Sequence[Factor]:
        return [PasswordFactor(self.auth, self.passwords, self.settings.max_length)]

    @hookimpl
    def routes(self) -> Sequence[Route]:
        refusals = self.password_problems
        register = Route(
            method="POST",
            path="/auth/register",
            handler=self.register,
            policy="public",
            body=Registration,
            status=201,
            answer=Registered,
            problems=(
                *refusals,
                problems.REFUSED,
                problems.USERNAME_TAKEN,
                problems.INVALID_USERNAME,
                problems.INVALID_EMAIL,
            ),
            example=dict(PasswordFactor.example),
        )
        change = Route(
            method="PUT",
            path="/auth/password",
            handler=self.change,
            policy="fresh",
            body=NewPassword,
            answer=replies.Handed,
            problems=(*refusals, problems.REFUSED, problems.START_OVER, problems.NOT_FOUND),
            example={"password": "another horse battery staple"},
        )
        return [*([register] if self.settings.register else []), change]

    @hookimpl
    def commands(self) -> Sequence[click.Command]:
        from picoauth_password.commands import commands  # noqa: PLC0415 - for the CLI alone

        return commands(self)

    @hookimpl
    def imports(self) -> Mapping[str, ImportField]:
        return {"password_hash": PasswordHash(self.passwords)}

    @hookimpl
    def checks(self) -> Sequence[Check]:
        return Checkups(self).checks()

    def gauges(self) -> Mapping[str, float]:
        """For a plugin that exports figures: passwords that are hashed now, or wait for it."""
        return {"hashes_pending": len(self.hasher.pending)}

    async def affordable(self, seconds: float) -> Sequence[Mapping[str, float]]:
        """For `picoauth stress`: costs whose hash takes about so long here; the present one first."""
        from picoauth_password.affording import affordable  # noqa: PLC0415 - for a test alone

        return await affordable(self.hasher.cost, seconds)

    @hookimpl
    def lifespan(self) -> AbstractAsyncContextManager[None]:
        @asynccontextmanager
        async def hashing() -> AsyncIterator[None]:
            await self.passwords.check_peppers()
            try:
                yield
            finally:
                self.hasher.close()

        return hashing()

    @hookimpl
    async def export(self, user: User) -> Mapping[str, Any]:
        """When it was set; nothing tells what it is."""
        changed_at = await self.passwords.changed_at(user.id)
        return {} if changed_at is None else {"changed_at": changed_at}

    async def register(self, request: Request) -> Reply:
        """Make an account. An e-mail address is kept unverified: it finds and blocks nobody."""
        body: Registration = request.body
        draft = self.auth.users.draft(username=body.username, name=body.display_name)
        if body.email is not None:
            address = identifier("email", body.email, verified=False)
            draft = replace(draft, identifiers=[*draft.identifiers, address])
        context = PasswordContext(body.username, body.email, body.display_name)
        await self.check(body.password, context)
        stored = await self.hasher.hash(body.password)
        enrolment = self.auth.users.enrolment(draft.user_id, PasswordFactor.name)
        user, replies = await self.auth.users.register(
            draft,
            [self.passwords.creating(enrolment, stored)],
            enrolments=[enrolment],
            caller=request.caller,
        )
        made = {"id": user.id, "username": body.username, "name": user.name}
        return Reply({**made, **replies}, 201)

    async def change(self, request: Request) -> Reply:
        """Change the password: other sessions end, this one gets new tokens."""
        access = request.access
        user = await self.auth.users.require(access.user_id)
        await self.check(request.body.password, await self.context(user))
        stored = await self.hasher.hash(request.body.password)
        statements = await self.passwords.setting(user, stored)
        answer = await self.auth.credentials.change_credential(
            access.session_id, PasswordFactor.name, statements, request.caller
        )
        return Reply(answer)

    async def set_password(self, text: str, password: str) -> None:
        """Set a password for an administrator at the command line: every session ends."""
        user = await user_of(self.auth, text)
        await self.replace_password(user, password, (), Caller.local())

    async def replace_password(
        self, user: User, password: str, statements: Sequence[Statement], caller: Caller
    ) -> None:
        """Give a user who is not logged in a password, the first one or another: every session ends.

        `statements`, as what takes a ticket, come first in its write. Raises AuthError for a
        password that is refused, Denied where the account changed since `user` was read, and
        Conflict for `statements`: the password is as it was then.
        """
        await self.check(password, await self.context(user))
        stored = await self.hasher.hash(password)
        setting = await self.passwords.setting(user, stored)
        await self.auth.credentials.reset_credential(
            user, PasswordFactor.name, [*statements, *setting], caller
        )

    async def context(self, user: User) -> PasswordContext:
        known = {one.kind: one.display for one in await self.auth.users.identifiers(user.id)}
        return PasswordContext(known.get("username"), known.get("email"), user.name)

    async def check(self, password: str, context: PasswordContext) -> None:
        """Raises AuthError for a password that is refused, here or by another plugin."""
        check_text(password, least=self.settings.min_length, most=self.settings.max_length)
        await self.auth.ask("check_password", password=password, context=context)
