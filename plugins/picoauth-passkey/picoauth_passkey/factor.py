"""The factor `passkey`: a challenge, and the signature that proves whose it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from picoauth import (
    Attemptee,
    AuthError,
    Caller,
    Challenge,
    Denied,
    Enrolment,
    Factor,
    Payload,
    Proof,
    Situation,
    User,
    Whose,
)
from picoauth_passkey.answers import Answer, AuthenticatorData, packed
from picoauth_passkey.ceremonies import CHALLENGE, Asked, descriptor, request
from picoauth_passkey.credentials import NAME, Credential, Owned
from picoauth_passkey.decoys import Decoys
from picoauth_passkey.questions import (
    NOBODY,
    Question,
    Signed,
    malformed,
    sent_in,
    typed,
)
from picoauth_passkey.refusals import MALFORMED, PasskeyCounterFell, Refusal, require

if TYPE_CHECKING:
    from picoauth_passkey.plugin import PasskeyPlugin


class PasskeyFactor(Factor):
    """A passkey, or a U2F key; by itself, or after another factor."""

    name: ClassVar[str] = NAME
    starts: ClassVar[bool] = True
    second: ClassVar[bool] = True

    def __init__(self, plugin: PasskeyPlugin) -> None:
        self.plugin = plugin
        self.auth = plugin.auth
        self.party = plugin.party
        self.passkeys = plugin.passkeys
        self.life = plugin.settings.challenge_life
        self.decoys = Decoys(plugin.auth)

    async def begin(self, situation: Situation, payload: Payload) -> Challenge:
        """Ask for a signature: by whichever passkey, or by one of the user's who is named.

        Whoever asks by a name gets the same for all names: for those without a passkey, and for
        nobody's, it is decoys, after the same work (P-8, W-8).
        """
        user = situation.user or situation.claimed
        named = user is not None or "username" in payload
        known = [each for each in await self.of(user) if self.useful(each)]
        decoys = self.decoys.of(typed(payload) or (user.id if user else ""))
        allowed = ([descriptor(each) for each in known] or decoys) if named else []
        challenge = packed(self.auth.secrets.random(CHALLENGE))
        public = request(
            self.party,
            challenge,
            self.life,
            allowed=allowed,
            verification=self.wish(situation, known),
        )
        whose = (user.id if user else NOBODY) if named else None
        appid = bool(public["extensions"])
        state = Question(challenge, self.auth.now(), whose, appid)
        return Challenge(public, vars(state))

    async def of(self, user: User | None) -> list[Credential]:
        """Those of a user; nobody has none, which takes the same look."""
        return await self.passkeys.of(user.id if user else NOBODY)

    def useful(self, credential: Credential) -> bool:
        """Whether a browser would find it under this site."""
        return credential.rp_id in self.plugin.sites

    def wish(self, situation: Situation, known: Sequence[Credential]) -> str:
        """Nobody is asked for a PIN whose keys are second factors alone, once that is no secret."""
        able = situation.user is None or any(each.user_verified for each in known)
        return "preferred" if able else "discouraged"

    async def identify(self, payload: Payload) -> Attemptee:
        """Who has the user name, or the owner of the passkey; ids of no passkey are counted, too.

        An address is nobody's name here: the ids of its user's passkeys would tell whose it is.
        """
        if "username" in payload and NAME not in payload:
            name = typed(payload)
            return Attemptee(name=Whose.identified("username", name), typed=name)
        sent = sent_in(payload)
        if sent is None:
            return Attemptee(user=None)
        try:
            identity = Answer.read(sent).id
        except Refusal as refusal:
            raise malformed(refusal) from refusal
        owned = await self.passkeys.owned(identity)
        # The decoys of one name are counted together, as the passkeys of one user are.
        counted = self.decoys.name_in(identity) or packed(identity)
        return Attemptee(user=owned.user if owned else None, typed=counted)

    async def completes(self, enrolment: Enrolment) -> bool:
        found = await self.passkeys.of(enrolment.user_id)
        return any(e.enrolment_id == enrolment.id and e.user_verified for e in found)

    async def verify(self, situation: Situation, payload: Payload) -> Proof:
        """WebAuthn, section 7.2: first what needs no look at what is stored, then the rest as one.

        The answer to the rest is the same after the same work, whatever fails of it (P-8).
        """
        await self.plugin.verifying.ready()
        owned: Owned | None = None
        try:
            question = Question.of(situation.state, self.auth.now(), self.life)
            signed = self.signed(question, sent_in(payload))
            owned = await self.passkeys.owned(signed.answer.id)
            found = self.recognized(signed, owned)
            self.check_whose(found, situation, question, signed.handle)
            await self.check_counter(found, signed.data, situation.caller)
        except Refusal as refusal:
            raise await self.denied(refusal, owned, payload, situation.caller) from refusal
        return self.proof(found, signed.data)

    def signed(self, question: Question, sent: Any) -> Signed:
        """Raises Refusal for what would be wrong whoever signed it."""
        answer = Answer.read(sent)
        data = AuthenticatorData.read(answer.bytes_of("authenticatorData", "authenticator_data"))
        answer.bytes_of("signature", "form")
        handle = answer.user_handle
        answer.check_client("webauthn.get", question.challenge, self.party.origins)
        site = self.party.id
        if answer.by_appid:  # only for those who were asked, and only where the browser says so
            require(question.appid, "appid")
            site = self.party.appid or site
        data.check(site, verified=False)
        return Signed(answer, handle, data, Asked(question.challenge, site, self.party.origins))

    def recognized(self, signed: Signed, owned: Owned | None) -> Owned:
        """Raises Refusal unless the stored key signed; where there is none, nobody's is tried."""
        library = self.plugin.verifying.library
        credential = owned.credential if owned else library.NOBODY
        library.check_signature(signed.answer, signed.asked, credential)
        if owned is None:
            raise Refusal("unknown")
        require(owned.credential.rp_id == signed.asked.site, "owner")
        return owned

    def check_whose(
        self, owned: Owned, situation: Situation, question: Question, handle: bytes | None
    ) -> None:
        """Raises Refusal for a passkey of another user than the flow's, or the named one (W-4)."""
        known = situation.user.id if situation.user else question.user_id
        require(known in (None, owned.user.id), "owner")
        require(question.user_id in (None, owned.user.id), "owner")
        # Who is not known otherwise has to be named by the device itself (section 7.2, step 6).
        require(handle is not None or known is not None, "user_handle")
        require(handle in (None, owned.handle), "user_handle")
        require(owned.user.disabled_at is None, "disabled")

    async def check_counter(self, owned: Owned, data: AuthenticatorData, caller: Caller) -> None:
        """Raises Refusal for a device-bound key that may have been copied, and tells of it."""
        credential = owned.credential
        if credential.falls(data):
            event = PasskeyCounterFell(
                at=self.auth.now(),
                user_id=owned.user.id,
                enrolment_id=credential.enrolment_id,
                stored=credential.counter,
                sent=data.counter,
                caller=caller,
            )
            await self.auth.events.commit(event)
            raise Refusal("counter")

    def proof(self, owned: Owned, data: AuthenticatorData) -> Proof:
        """`amr` as in RFC 8176: a key that stays in its device, or one that may be elsewhere, too."""
        credential = owned.credential
        complete = data.verified and credential.user_verified
        key = "hwk" if credential.device_bound else "swk"
        return Proof(
            user=owned.user,
            amr=(key, "user", *(["mfa"] if complete else [])),
            complete=complete,
            enrolment_id=credential.enrolment_id,
            statements=[self.passkeys.using(credential, data)],
        )

    async def denied(
        self, refusal: Refusal, owned: Owned | None, payload: Payload, caller: Caller
    ) -> AuthError:
        """What the client gets; the operator's log has the check itself."""
        await self.plugin.tell(refusal, owned.user.id if owned else None, caller)
        if refusal.check in MALFORMED:
            return malformed(refusal)
        denied = Denied(self.refused, check=refusal.told)
        if owned is None and refusal.told == "credential":
            denied.extra |= self.hint(Answer.read(sent_in(payload)).id)
        return denied

    def hint(self, credential_id: bytes) -> dict[str, Any]:
        """That nobody has it, so that the device forgets it; of our decoys we say no word."""
        known = self.decoys.has(credential_id)
        return {} if known else {"signals": self.plugin.unknown(credential_id)}
