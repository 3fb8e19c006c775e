"""What a browser answers: its JSON, the client data and the authenticator data (WebAuthn L3)."""

from __future__ import annotations

import hmac
import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from picoauth_passkey.cbor import require_map
from picoauth_passkey.refusals import failing, require

BASE64URL = re.compile(r"[A-Za-z0-9_-]*")
LONGEST_ID = 1023
"""Bytes of a credential id (WebAuthn, section 7.1)."""
SHORTEST_ID = 16
"""Bytes, of which 100 bits are random (section 4)."""
UP, UV, BE, BS, AT, ED = 0x01, 0x04, 0x08, 0x10, 0x40, 0x80
"""Flags of the authenticator data (section 6.1)."""
FIXED, ATTESTED = 37, 18
"""Bytes before what may follow: hash, flags and counter; then model and length of the id."""
TRANSPORTS = ("ble", "cable", "hybrid", "internal", "nfc", "smart-card", "usb")


def packed(raw: bytes) -> str:
    """Base64url without padding (RFC 4648, section 5)."""
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def unpacked(value: object, check: str) -> bytes:
    """Raises Refusal for a text that is not the one spelling of its bytes."""
    require(isinstance(value, str) and BASE64URL.fullmatch(value), check)
    text = str(value)
    with failing(check):
        raw = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    require(packed(raw) == text, check)
    return raw


@dataclass(frozen=True)
class Answer:
    """One answer, its members decoded and nothing checked but their form."""

    id: bytes
    client_data: bytes
    response: Mapping[str, Any]
    extensions: Mapping[str, Any]

    @classmethod
    def read(cls, value: object) -> Answer:
        """Raises Refusal for what is no PublicKeyCredential as JSON (section 5.1)."""
        members = mapping(value, "form")
        response = mapping(members.get("response"), "form")
        require(members.get("type") == "public-key", "form")
        raw = unpacked(members.get("rawId"), "id")
        require(members.get("id") == members["rawId"], "id")
        require(SHORTEST_ID <= len(raw) <= LONGEST_ID, "id")
        client_data = unpacked(response.get("clientDataJSON"), "client_data")
        extensions = mapping(members.get("clientExtensionResults", {}), "form")
        return cls(raw, client_data, response, extensions)

    def bytes_of(self, member: str, check: str) -> bytes:
        return unpacked(self.response.get(member), check)

    @property
    def user_handle(self) -> bytes | None:
        """Which a device leaves out, or empty, where it keeps none."""
        return unpacked(self.response.get("userHandle") or "", "form") or None

    @property
    def transports(self) -> tuple[str, ...]:
        """How the device is reached; names of later days tell us nothing."""
        named = self.response.get("transports")
        return tuple(t for t in TRANSPORTS if isinstance(named, list) and t in named)

    @property
    def by_appid(self) -> bool:
        """Whether the browser says that it found a key from the days of U2F (section 10.1.1)."""
        return self.extensions.get("appid") is True

    def plain(self, *members: str) -> dict[str, Any]:
        """What the library is to see; it trips over some of the others."""
        response = {name: self.response[name] for name in ("clientDataJSON", *members)}
        identity = packed(self.id)
        return {"id": identity, "rawId": identity, "type": "public-key", "response": response}

    def check_client(self, kind: str, challenge: str, origins: Collection[str]) -> None:
        """What the browser says of the page: section 7.1, steps 7 to 12, and 7.2, steps 10 to 15.

        `kind` keeps a signature of one ceremony from serving another, `challenge` an old one from
        serving again, `origins` one that was given to another site from serving here. A page in a
        frame of a stranger's is none that its user chose.
        """
        with failing("client_data"):
            data = mapping(json.loads(self.client_data.decode()), "client_data")
        require(data.get("type") == kind, "client_data_type")
        sent = data.get("challenge")
        require(isinstance(sent, str), "challenge")
        with failing("challenge"):  # JSON can spell half a character, which has no bytes
            same = hmac.compare_digest(str(sent).encode(), challenge.encode())
        require(same, "challenge")
        require(data.get("origin") in origins, "origin")
        require(data.get("crossOrigin", False) is False, "cross_origin")
        require("topOrigin" not in data, "top_origin")


def mapping(value: object, check: str) -> Mapping[str, Any]:
    require(isinstance(value, dict), check)
    return value if isinstance(value, dict) else {}


@dataclass(frozen=True)
class Attested:
    """A new credential, as its authenticator describes it."""

    aaguid: bytes
    id: bytes
    key: bytes
    """The public key, as COSE."""


@dataclass(frozen=True)
class AuthenticatorData:
    """Section 6.1."""

    site: bytes
    """SHA-256 of the relying party's id, or of an `appid`."""
    flags: int
    counter: int
    attested: Attested | None

    @classmethod
    def read(cls, raw: bytes) -> AuthenticatorData:
        """Raises Refusal for what is cut short or has more than it says."""
        require(len(raw) >= FIXED, "authenticator_data")
        flags, at, attested = raw[32], FIXED, None
        if flags & AT:
            attested, at = attested_in(raw)
        if flags & ED:
            at = require_map(raw, at, "authenticator_data")
        require(at == len(raw), "authenticator_data")
        return cls(raw[:32], flags, int.from_bytes(raw[33:FIXED]), attested)

    @property
    def verified(self) -> bool:
        return bool(self.flags & UV)

    @property
    def backup_eligible(self) -> bool:
        return bool(self.flags & BE)

    @property
    def backed_up(self) -> bool:
        return bool(self.flags & BS)

    def check(self, site: str, *, verified: bool) -> None:
        """Section 7.1, steps 14 to 18, and 7.2, steps 16 to 20.

        `site` keeps a signature for another site from serving here; `verified` says whether the
        device must have asked for a PIN or a finger, which is the server's to decide.
        """
        require(hmac.compare_digest(self.site, sha256(site.encode()).digest()), "rp_id")
        require(self.flags & UP, "presence")
        require(self.verified or not verified, "verification")
        require(self.backup_eligible or not self.backed_up, "backup")


def attested_in(raw: bytes) -> tuple[Attested, int]:
    """What follows the counter, and where it ends (section 6.5.1)."""
    start = FIXED + ATTESTED
    length = int.from_bytes(raw[start - 2 : start])
    require(len(raw) > start + length, "authenticator_data")
    end = require_map(raw, start + length, "authenticator_data")
    aaguid, identity = raw[FIXED : FIXED + 16], raw[start : start + length]
    return Attested(aaguid, identity, raw[start + length : end]), end
