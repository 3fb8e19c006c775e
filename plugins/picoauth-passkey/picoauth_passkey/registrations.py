"""Registration of passkeys: beside other factors, or as the first of a new account."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from picoauth import (
    Attempt,
    AuthError,
    Draft,
    Enrolment,
    Reply,
    Request,
    Route,
    Statement,
    identifier,
    problems,
)
from picoauth_passkey.answers import Answer, packed, unpacked
from picoauth_passkey.bodies import Asking, Beginning, Enrolled, Made, NewAccount, Registered
from picoauth_passkey.ceremonies import CHALLENGE, Asked, Person, creation, signals
from picoauth_passkey.credentials import HANDLE, NAME
from picoauth_passkey.refusals import (
    PASSKEY_REFUSED,
    PASSKEY_TAKEN,
    TOO_MANY_PASSKEYS,
    Refusal,
)

if TYPE_CHECKING:
    from picoauth_passkey.library import New
    from picoauth_passkey.plugin import PasskeyPlugin

ENROL, REGISTER = "passkey enrol", "passkey register"
"""Purposes of tickets: one to add a passkey to an account, one to make an account with it."""
PATH = "/auth/passkey"
REFUSALS = (PASSKEY_REFUSED, PASSKEY_TAKEN)
NAMES = (problems.USERNAME_TAKEN, problems.INVALID_USERNAME, problems.INVALID_EMAIL)


def beginning(user_id: str) -> Attempt:
    """Options make rows: so many of an account without a passkey at the end are delayed (A-6)."""
    return Attempt(f"{PATH}/begin", None, user_id, "passkey registration")


class Registrations:
    """The routes, and what they have in common."""

    def __init__(self, plugin: PasskeyPlugin) -> None:
        self.plugin = plugin
        self.auth = plugin.auth
        self.party = plugin.party
        self.passkeys = plugin.passkeys
        self.life = plugin.settings.challenge_life

    def routes(self) -> Sequence[Route]:
        def post(path: str, handler: Any, policy: str, **more: Any) -> Route:
            return Route(method="POST", path=PATH + path, handler=handler, policy=policy, **more)

        gone = (problems.NOT_FOUND, TOO_MANY_PASSKEYS)
        ended = (*REFUSALS, *gone, problems.START_OVER, problems.REFUSED)
        begin = {"body": NewAccount, "answer": Asking, "problems": NAMES}
        register = {
            "body": Made,
            "status": 201,
            "answer": Registered,
            "problems": (*REFUSALS, problems.REFUSED, *NAMES),
        }
        anew = [
            post("/register/begin", self.begin_register, "public", **begin),
            post("/register", self.register, "public", **register),
        ]
        return [
            post("/begin", self.begin, "fresh", body=Beginning, answer=Asking, problems=gone),
            post("", self.enrol, "fresh", body=Made, status=201, answer=Enrolled, problems=ended),
            *(anew if self.plugin.settings.register else []),
        ]

    async def begin(self, request: Request) -> Reply:
        """Begin to add a passkey; an older beginning of the user's is void."""
        kind = request.body.kind
        user = await self.auth.users.require(request.access.user_id)
        await self.auth.limiter.attempt(beginning(user.id))
        await self.passkeys.check_room(user.id)
        handle, known = await self.passkeys.handle(user.id), await self.passkeys.of(user.id)
        person = Person(handle, await self.plugin.shown(user), user.name)
        challenge = self.challenge()
        options = creation(
            self.party,
            person,
            challenge,
            self.life,
            kind=kind,
            known=known,
            attestation=self.plugin.settings.attestation,
        )
        ticket = await self.keep(ENROL, {"challenge": challenge}, user.id)
        return Reply({"ticket": ticket, "options": options})

    async def enrol(self, request: Request) -> Reply:
        """Add a passkey: other sessions end, this one gets new tokens."""
        body, access = request.body, request.access
        new = await self.verified(ENROL, request, access.user_id)
        await self.check_new(new)
        await self.passkeys.check_room(access.user_id)
        user = await self.auth.users.require(access.user_id)
        told = await self.plugin.signals(user, new.id)
        enrolment = self.auth.users.enrolment(user.id, NAME, body.label)
        forgiven = self.auth.limiter.succeeded(beginning(access.user_id))
        answer = await self.auth.credentials.enrol(
            access.session_id, enrolment, [self.creating(enrolment, new), *forgiven], request.caller
        )
        made = {"id": enrolment.id, "label": enrolment.label, "signals": told}
        return Reply({**made, **answer}, 201)

    async def begin_register(self, request: Request) -> Reply:
        """Begin to make an account that has a passkey and no password."""
        body: NewAccount = request.body
        draft = self.draft(vars(body))
        if await self.auth.users.find("username", body.username) is not None:
            raise AuthError(problems.USERNAME_TAKEN)  # before a device keeps a key for nothing
        challenge, handle = self.challenge(), self.auth.secrets.random(HANDLE)
        options = creation(
            self.party,
            self.person(handle, draft),
            challenge,
            self.life,
            verified=True,
            attestation=self.plugin.settings.attestation,
        )
        data = {"challenge": challenge, "handle": packed(handle), "account": vars(body)}
        return Reply({"ticket": await self.keep(REGISTER, data), "options": options})

    async def register(self, request: Request) -> Reply:
        """Make an account whose first credential is a passkey."""
        new, data = await self.opened(REGISTER, request)
        await self.check_new(new)
        draft = self.draft(data["account"])
        enrolment = self.auth.users.enrolment(draft.user_id, NAME, request.body.label)
        person = self.person(unpacked(data["handle"], "challenge"), draft)
        handing = self.passkeys.handing(draft.user_id, person.handle)
        try:
            user, more = await self.auth.users.register(
                draft,
                [handing, self.creating(enrolment, new)],
                enrolments=[enrolment],
                caller=request.caller,
            )
        except AuthError as refusal:  # the device has a key already, for an account that is none
            refusal.extra = {**refusal.extra, "signals": self.plugin.unknown(new.id)}
            raise
        made = {"id": user.id, "username": person.name, "name": user.name}
        return Reply({**made, "signals": signals(self.party, person, [new.id]), **more}, 201)

    def person(self, handle: bytes, draft: Draft) -> Person:
        return Person(handle, draft.identifiers[0].display, draft.name)

    def draft(self, account: Mapping[str, Any]) -> Draft:
        """Raises AuthError for what cannot be a name or an address."""
        draft = self.auth.users.draft(username=account["username"], name=account["display_name"])
        if account["email"] is None:
            return draft
        address = identifier("email", account["email"], verified=False)
        return replace(draft, identifiers=[*draft.identifiers, address])

    def challenge(self) -> str:
        return packed(self.auth.secrets.random(CHALLENGE))

    async def keep(self, purpose: str, data: Mapping[str, Any], user_id: str | None = None) -> str:
        ticket, issuing = self.auth.tickets.issue(
            purpose, data, expires_at=self.auth.now() + self.life, user_id=user_id
        )
        voiding = [self.auth.tickets.voiding(purpose, user_id)] if user_id else []
        await self.auth.database.write(*voiding, issuing)
        return ticket

    async def verified(self, purpose: str, request: Request, user_id: str) -> New:
        new, _ = await self.opened(purpose, request, user_id)
        return new

    async def opened(
        self, purpose: str, request: Request, user_id: str | None = None
    ) -> tuple[New, Mapping[str, Any]]:
        """The new credential, and what its ticket carried. Raises AuthError.

        The ticket is taken before anything is looked at: a challenge is good for one try (W-1).
        """
        await self.plugin.verifying.ready()
        ticket = await self.auth.tickets.take(purpose, request.body.ticket)
        try:
            if ticket is None or ticket.user_id != user_id:
                raise Refusal("challenge")  # noqa: TRY301 - one way out for all refusals
            asked = Asked(
                ticket.data["challenge"],
                self.party.id,
                self.party.origins,
                verified=purpose == REGISTER,
            )
            answer = Answer.read(request.body.passkey)
            return self.plugin.verifying.library.registered(answer, asked, self.trust), ticket.data
        except Refusal as refusal:
            await self.plugin.tell(refusal, user_id, request.caller)
            raise AuthError(PASSKEY_REFUSED, check=refusal.check) from refusal

    @property
    def trust(self) -> Any:
        settings = self.plugin.settings
        return self.plugin.verifying.library.Trust(self.plugin.roots, settings.allowed_aaguids)

    async def check_new(self, new: New) -> None:
        """Raises AuthError for one that somebody has.

        A decoy is nobody's; to take it would tell that the name it was made for is nobody's.
        """
        if self.plugin.factor.decoys.has(new.id):
            raise AuthError(PASSKEY_TAKEN)
        await self.passkeys.check_new(new.id)

    def creating(self, enrolment: Enrolment, new: New) -> Statement:
        return self.passkeys.creating(enrolment, new, self.party.id)
