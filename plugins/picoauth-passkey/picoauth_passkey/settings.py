"""The table `[passkey]` of `picoauth.toml`, and the relying party that follows from it."""

from __future__ import annotations

import ipaddress
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import SplitResult, urlsplit

from picoauth import Config, ConfigError, Seconds, described

DOMAIN = re.compile(r"localhost|([a-z0-9_-]+\.)+[a-z][a-z0-9-]*")
ORIGIN = re.compile(r"(https://[a-z0-9._-]+|http://localhost)(:[0-9]{1,5})?")
APPID = re.compile(r"https://[a-z0-9._-]+(:[0-9]{1,5})?(/[!-~]*)?")
AAGUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
USUAL = {"http": 80, "https": 443}
LOCALHOST = "localhost"


def check_domain(domain: str) -> None:
    if not DOMAIN.fullmatch(domain):
        raise ValueError("must be a domain such as example.com, in lower case")


def check_origin(origin: str) -> None:
    if not ORIGIN.fullmatch(origin) or origin.endswith((":443", ":80")):
        raise ValueError("must be an origin such as https://example.com, in lower case")


def check_appid(url: str) -> None:
    if not APPID.fullmatch(url):
        raise ValueError("must be a URL such as https://example.com/app-id.json")


def check_aaguid(aaguid: str) -> None:
    if not AAGUID.fullmatch(aaguid):
        raise ValueError("must be an AAGUID such as ee882879-721c-4913-9775-3dfcce97072a")


@dataclass(frozen=True)
class PasskeySettings:
    """The table `[passkey]`."""

    register: bool = described(
        "Whether anyone may make an account that has a passkey and no password.", default=True
    )
    rp_id: str | None = described(
        "The domain that passkeys belong to, the host of `public_url` if unset; those of another one are lost.",
        default=None,
        check=check_domain,
    )
    rp_name: str | None = described(
        "What devices show of the server; its `rp_id` if unset.", default=None, least=1, most=64
    )
    related_origins: tuple[str, ...] = described(
        "Origins of login pages beside that of `public_url`.", default=(), each=check_origin
    )
    appid: str | None = described(
        "The `appid` of keys that were registered by the U2F API of old browsers.",
        default=None,
        check=check_appid,
    )
    attestation: Literal["none", "direct"] = described(
        "`direct` takes only devices whose maker is one of `attestation_roots`.", default="none"
    )
    attestation_roots: tuple[Path, ...] = described(
        "PEM files with the certificates of makers.", default=()
    )
    allowed_aaguids: tuple[str, ...] = described(
        "Models that are taken, with `direct`; all of these makers if empty.",
        default=(),
        each=check_aaguid,
    )
    most: int = described("Passkeys that a user may have.", default=20, least=1, most=100)
    challenge_life: Seconds = described(
        "A challenge has to be signed in.", default=Seconds(300), least=30, most=300
    )

    def __post_init__(self) -> None:
        if self.attestation == "direct" and not self.attestation_roots:
            raise ValueError('attestation = "direct" needs attestation_roots to trust')
        if self.attestation == "none" and (self.attestation_roots or self.allowed_aaguids):
            raise ValueError(
                'attestation_roots and allowed_aaguids need attestation = "direct": '
                "without it devices say nothing that could be trusted"
            )


@dataclass(frozen=True)
class RelyingParty:
    """The site that passkeys are for (WebAuthn, section 4)."""

    id: str
    name: str
    origins: tuple[str, ...]
    """Of the pages that may use them; compared byte for byte."""
    appid: str | None = None

    @classmethod
    def of(cls, config: Config, settings: PasskeySettings) -> RelyingParty:
        """Raises ConfigError where `public_url` has no name that passkeys could belong to."""
        parts = urlsplit(config.public_url)
        host = named(parts)
        if settings.rp_id is None and is_address(host):
            raise ConfigError(
                f"Passkeys belong to a name, and public_url has the address {host}: "
                "reach the server by a name, or set rp_id in [passkey]."
            )
        site = settings.rp_id or host
        origins = dict.fromkeys([origin(parts.scheme, host, parts.port), *settings.related_origins])
        return cls(site, settings.rp_name or site, tuple(origins), settings.appid)


def named(parts: SplitResult) -> str:
    """The host; loopback has a name, under which browsers use passkeys without https."""
    host = parts.hostname or ""
    return LOCALHOST if is_address(host) and ipaddress.ip_address(host).is_loopback else host


def origin(scheme: str, host: str, port: int | None) -> str:
    """As browsers write it: without a port that goes without saying."""
    shown = f"[{host}]" if ":" in host else host
    return f"{scheme}://{shown}" + ("" if port in (None, USUAL[scheme]) else f":{port}")


def is_address(host: str) -> bool:
    with suppress(ValueError):
        return bool(ipaddress.ip_address(host))
    return False
