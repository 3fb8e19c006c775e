"""Login by a directory: picoauth asks it about each password, and keeps none."""

import asyncio
import logging
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import ldap
from ldap.dn import escape_dn_chars

from picoauth import (
    Attemptee,
    Auth,
    AuthError,
    Caller,
    Denied,
    Factor,
    Payload,
    Plugin,
    Proof,
    Seconds,
    Situation,
    Unavailable,
    User,
    Whose,
    described,
    hookimpl,
    identifier,
    problems,
    text_of,
)

URL = re.compile(r"ldaps?://([A-Za-z0-9.-]+|\[[0-9a-f:]+\])(:[0-9]{1,5})?/?")
CLEAR = re.compile(r"ldap://(127\.0\.0\.1|localhost|\[::1\])(:|/|$)")
"""Where a password may go without TLS: to this machine."""
REFUSALS = (ldap.INVALID_CREDENTIALS, ldap.NO_SUCH_OBJECT, ldap.UNWILLING_TO_PERFORM)
LOCKED = (ldap.CONSTRAINT_VIOLATION, ldap.INAPPROPRIATE_AUTH)
"""What directories say to a wrong password, of a name that is nobody's, of who may not log in."""


@dataclass(frozen=True)
class Settings:
    """The table `[ldap]`."""

    url: str = described("The directory; ldap:// begins TLS, but on loopback.")
    dn: str = described("The entry of a user, with {username} in it.")
    ca_file: Path | None = described("Who vouches for the directory.", default=None)
    timeout: Seconds = described("A login waits for.", default=Seconds(5), least=1, most=60)

    def __post_init__(self) -> None:
        if not URL.fullmatch(self.url):  # the library would also take a list, and go on to others
            raise ValueError("`url` must be an address such as ldaps://ldap.example.com")
        if self.dn.count("{username}") != 1:  # else one entry would stand for everybody
            raise ValueError("`dn` must have {username} once: uid={username},dc=example,dc=com")


class LdapFactor(Factor):
    """User name and password, as the directory knows them."""

    name: ClassVar[str] = "ldap"
    starts: ClassVar[bool] = True
    example: ClassVar[Payload] = {"username": "ann", "password": "correct horse battery staple"}

    def __init__(self, auth: Auth, settings: Settings) -> None:
        self.auth, self.settings, self.pool = auth, settings, ThreadPoolExecutor(16)

    async def identify(self, payload: Payload) -> Attemptee:
        name, _ = read(payload)
        return Attemptee(name=Whose.identified(self.name, name), typed=name)

    async def verify(self, situation: Situation, payload: Payload) -> Proof:
        name, password = read(payload)
        user = await self.auth.users.find(self.name, name)
        await self.ask(name, password)
        user = user or await self.join(name, situation.caller)
        enrolled = {one.factor: one.id for one in await self.auth.users.enrolments(user.id)}
        if self.name not in enrolled:  # the user removed this factor
            raise Denied(self.refused)
        return Proof(user=user, amr=("pwd",), enrolment_id=enrolled[self.name])

    async def join(self, name: str, caller: Caller) -> User:
        """Make the user at the first login. Raises Denied where somebody has, or had, the name."""
        draft, own = self.auth.users.draft(username=name), identifier("ldap", name, verified=True)
        draft = replace(draft, identifiers=[own, *draft.identifiers])
        enrolled = [self.auth.users.enrolment(draft.user_id, self.name)]
        try:
            return (await self.auth.users.register(draft, enrolments=enrolled, caller=caller))[0]
        except AuthError as error:
            faster = Unavailable("another first login of the person was faster")
            why = {problems.IDENTIFIER_TAKEN: faster, problems.USERNAME_TAKEN: Denied(self.refused)}
            raise why.get(error.problem, error) from None

    async def ask(self, name: str, password: str) -> None:
        """Raises Denied for a wrong password, and where no answer comes in time what is a 503.

        Unavailable takes the attempt back, which is for those alone whose password was not sent:
        else a slow directory could be asked without end, as it may answer the right one in time.
        """
        loop, sent = asyncio.get_running_loop(), list[int]()
        asked = loop.run_in_executor(self.pool, self.bind, name, password, sent)
        try:
            await asyncio.wait_for(asked, self.settings.timeout)
        except (*REFUSALS, *LOCKED) as error:
            raise Denied(self.refused) from error
        except (ldap.LDAPError, TimeoutError) as error:
            logging.getLogger("picoauth_ldap").warning("the directory gives no answer: %r", error)
            raise AuthError(problems.UNAVAILABLE) if sent else Unavailable("no answer") from error

    def bind(self, name: str, password: str, sent: list[int]) -> None:
        """Raises LDAPError. Certificates are looked at, whatever the machine's ldap.conf says.

        `sent` gets the number of the message that has the password, once it is on its way.
        """
        connection, clear = ldap.initialize(self.settings.url), CLEAR.match(self.settings.url)
        connection.set_option(ldap.OPT_NETWORK_TIMEOUT, self.settings.timeout)
        connection.set_option(ldap.OPT_TIMEOUT, self.settings.timeout)
        # Without it no limit of time holds for a TLS handshake, and the thread may stay for good.
        connection.set_option(ldap.OPT_CONNECT_ASYNC, not clear)
        connection.set_option(ldap.OPT_X_TLS_REQUIRE_CERT, ldap.OPT_X_TLS_DEMAND)
        if self.settings.ca_file:
            connection.set_option(ldap.OPT_X_TLS_CACERTFILE, str(self.settings.ca_file))
        connection.set_option(ldap.OPT_X_TLS_NEWCTX, 0)  # the options above count from here on
        try:
            if self.settings.url.startswith("ldap:") and not clear:
                connection.start_tls_s()
            dn = self.settings.dn.replace("{username}", escape_dn_chars(name))
            sent.append(connection.simple_bind(dn, password))
            connection.result(sent[0])
        finally:
            connection.unbind_s()


def read(payload: Payload) -> tuple[str, str]:
    """The name, in one form for all that a directory takes for the same, and the password."""
    name, password = text_of(payload, "username"), text_of(payload, "password")
    if not password:  # it binds as nobody, which directories grant (RFC 4513, section 5.1.2)
        raise AuthError(problems.INVALID_BODY, "password must not be empty")
    name = identifier("username", name, verified=True).value
    return identifier("ldap", name, verified=True).value, password


class LdapPlugin(Plugin[Settings]):
    """The factor `ldap`. There is no more to it."""

    @hookimpl
    def factors(self) -> Sequence[Factor]:
        return [LdapFactor(self.auth, self.settings)]
