"""The object that plugins hold as `self.auth`: the kernel's parts, put together."""

from __future__ import annotations

import asyncio
import secrets as os_secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, TypeVar, cast

from picoauth import secrets, upgrades, upkeep
from picoauth.accounts import Accounts
from picoauth.addresses import Proxies
from picoauth.callers import Caller
from picoauth.changes import settled
from picoauth.cookies import Cookies
from picoauth.credentials import Credentials
from picoauth.database import Database, Statement, values_of
from picoauth.delivery import Events, by_event
from picoauth.discovery import Found, blaming
from picoauth.drafts import Draft
from picoauth.embedded import Embedded
from picoauth.errors import AuthError, ConfigError
from picoauth.factors import Factor, by_name
from picoauth.feed import Feed
from picoauth.figures import Figure, Figures
from picoauth.grants import Grants
from picoauth.identities import Identities
from picoauth.jobs import Jobs
from picoauth.keys import Keys
from picoauth.logins import Logins
from picoauth.mail import Mail, Mailer
from picoauth.mint import Login
from picoauth.outbox import Outbox, Sender
from picoauth.plugins import Plugins, stop
from picoauth.policies import who
from picoauth.problems import STEPUP_NEEDED
from picoauth.resource_servers import ResourceServers
from picoauth.revocations import Revocations, forever
from picoauth.rotation import Rotation
from picoauth.sessions import Session, SessionStore
from picoauth.settings import Config
from picoauth.sites import Sites
from picoauth.sqlsessions import SqlSessions
from picoauth.throttle import AccountLimiter, Limiter
from picoauth.tickets import Tickets
from picoauth.tokens import Access, Tokens
from picoauth.users import Users

T = TypeVar("T")


class Auth:
    """One server: its settings, plugins, storage and clocks. Two live in one process.

    `clock` answers seconds since 1970, `random` so many bytes from a CSPRNG.
    """

    def __init__(
        self,
        config: Config,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        random: Callable[[int], bytes] = os_secrets.token_bytes,
        found: Sequence[Found] | None = None,
    ) -> None:
        self.config = config
        self.clock = clock
        self.measured = Figures()
        self.secrets = secrets.load(config, random)
        self.plugins = Plugins()
        self.plugins.load(self, found)
        self.database: Database = self.engine()
        self.events = Events(self.database)
        self.tickets = Tickets(self.database, self.now, random)
        self.users = Users(self.events, self.secrets, self.now, self.check_registration)
        self.revocations = Revocations(self.database, self.now)
        self.keys = Keys(self.events, self.secrets, config.tokens, self.now)
        self.resource_servers = ResourceServers(self.database, self.now, random)
        self.tokens = Tokens(config, self.secrets, self.keys, self.revocations, self.now)
        self.feed = Feed(config.public_url, self.keys, self.revocations, self.now)
        self.default_limiter = AccountLimiter(self.database, config.throttle, self.now)
        self.jobs = Jobs(self.database, self.now, monotonic)
        self.accounts = Accounts(self)
        self.credentials = Credentials(self)
        self.grants = Grants(self)
        self.identities = Identities(self)
        self.cookies = Cookies(self)
        self.sites = Sites(self)
        self.proxies = Proxies.of(config)
        self.outbox = Outbox(self)
        self.mail = Mail(self)
        self.fill()

    def engine(self) -> Database:
        """What a plugin opens, or the embedded engine. Raises ConfigError."""
        taken: Database | None = self.plugins.slot("database", url=self.config.database)
        return taken or self.embedded()

    def embedded(self) -> Database:
        scheme, elsewhere, _ = self.config.database.partition("://")  # the rest may be secret
        if elsewhere:
            raise ConfigError(
                f"database: no plugin that is listed speaks {scheme}: list one, or name a file."
            )
        return Embedded(self.config.base / self.config.database)

    def fill(self) -> None:
        """Take what plugins declare. Raises ConfigError."""
        plugins = self.plugins
        store: SessionStore | None = plugins.slot("sessions")
        limiter: Limiter | None = plugins.slot("limiter")
        self.sessions = store or SqlSessions(self.database, self.config.tokens, self.now)
        self.limiter = limiter or self.default_limiter
        self.mailer: Mailer | None = plugins.slot("mailer")
        plugins.check_needs({"mailer"} if self.mailer else ())
        self.factors: Mapping[str, Factor] = plugins.unique("factors", by_name)
        self.senders: Mapping[str, Sender] = self.mail.beside(plugins.unique("senders", dict))
        self.logins = Logins(self, self.factors)
        window = self.config.tokens.window
        self.rotation = Rotation(self.sessions, self.events, self.revocations, window, self.now)
        self.events.recorders = by_event(plugins.implementations("record"))
        self.events.listeners = by_event(plugins.implementations("on"))
        self.events.hears = {name: plugin.hears for name, plugin in plugins.on.items()}
        self.jobs.jobs = [*upkeep.jobs(self), *plugins.flat("jobs")]
        self.checks = [*upkeep.checks(self), *plugins.flat("checks")]

    @asynccontextmanager
    async def started(self) -> AsyncIterator[None]:
        """Migrate, check the secret, load keys and revocations; in the end close the database.

        Enough for a command; a server adds `background`. Raises ConfigError.
        """
        try:
            await self.migrate()
            await self.keys.ensure()
            await self.revocations.poll()
            await settled(self.sessions, self.revocations)
            await self.check_factors()
            yield
        finally:
            await self.events.settle()
            await self.database.close()

    async def migrate(self) -> dict[str, Sequence[str]]:
        """Bring every table up to date; what was applied, by owner."""
        return await upgrades.upgrade(self)

    async def check_factors(self) -> None:
        """Switching a plugin off must not quietly switch second factors off."""
        rows = await self.database.read(values_of("enrolments", "factor"))
        known = {*self.factors, *self.config.ignore_factors}
        stop(
            f"Users have enrolled the factor {name}, but no listed plugin offers it: "
            f'list its plugin again, or put "{name}" into `ignore_factors`.'
            for (name,) in rows
            if name not in known
        )

    @asynccontextmanager
    async def lifespans(self) -> AsyncIterator[None]:
        """What plugins keep running while the server does. Raises ConfigError."""
        async with AsyncExitStack() as stack:
            for name, context in self.plugins.collect("lifespan"):
                if context is not None:
                    with blaming(self.plugins.origins[name], "fails in lifespan"):
                        await stack.enter_async_context(context)
            yield

    @asynccontextmanager
    async def background(self) -> AsyncIterator[None]:
        """Jobs, polls, mail, and what plugins keep running. Raises ConfigError."""
        await asyncio.to_thread(self.mail.load)
        async with self.lifespans():
            tasks = [
                asyncio.create_task(
                    forever(self.revocations.poll, self.keys.refresh, self.feed.look)
                ),
                asyncio.create_task(forever(self.sessions.settle)),
                asyncio.create_task(self.jobs.forever()),
                asyncio.create_task(self.outbox.forever()),
            ]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                    with suppress(asyncio.CancelledError):
                        await task

    def figures(self) -> list[Figure]:
        """How many answers of which status each route gave since the start, and in what time."""
        return self.measured.all()

    def now(self) -> int:
        """Whole seconds since 1970."""
        return int(self.clock())

    def plugin(self, protocol: type[T]) -> T:
        """The plugin that satisfies a runtime-checkable protocol. Raises ConfigError."""
        fitting = [plugin for plugin in self.plugins.on.values() if isinstance(plugin, protocol)]
        if len(fitting) != 1:
            raise ConfigError(f"{len(fitting)} listed plugins offer {protocol.__name__}: list one.")
        return cast("T", fitting[0])

    async def ask(self, hook: str, **arguments: Any) -> None:
        """Ask a deciding hook. Raises Denied unless every plugin answers None, in time."""
        await self.plugins.ask(hook, **arguments)

    async def check_registration(self, draft: Draft) -> None:
        await self.ask("check_registration", draft=draft)

    async def check_login(self, login: Login) -> None:
        await self.ask("check_login", login=login)

    async def derive(
        self, session: Session, caller: Caller, *statements: Statement, site: str = ""
    ) -> dict[str, Any]:
        """Tokens of a sibling, which ends with its session; `statements` join its write.

        Of a `site`, a host, in a cookie that only `who` with it accepts. Raises Denied.
        """
        return await self.logins.mint.derive(session, caller, site, *statements)

    async def who(
        self, *, authorization: str = "", cookie: str = "", site: str = "", hand: bool = True
    ) -> Access:
        """Who a request is from, by its headers `Authorization`, or else `Cookie`. Raises Denied.

        Of a `site` by its own cookie; which page asks is not looked at. `hand=False` where the
        answer, with a newer cookie, would not reach the browser.
        """
        return await who(self, authorization, cookie, site, hand=hand)

    async def require_fresh(self, access: Access) -> Session:
        """Raises AuthError (403) unless the user proved to be there a few minutes ago."""
        session = await self.credentials.session(access.session_id)
        enrolments = await self.users.enrolments(session.user_id)
        demands = self.logins.rule.demands(enrolments)
        proven_at = session.second_at if demands else session.auth_time
        age = None if proven_at is None else self.now() - proven_at
        if age is None or not 0 <= age <= self.config.logins.fresh_for:  # a clock may go back
            raise AuthError(STEPUP_NEEDED)
        return session
