"""`picoauth doctor proxy`: asks the running server, through its proxy, what it sees of a request."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit

from picoauth import seen
from picoauth.addresses import Proxies, canonical
from picoauth.auth import Auth
from picoauth.client import PATIENCE, Answer, exchange
from picoauth.doctor import Finding, ranked
from picoauth.http import hostname
from picoauth.problems import INVALID_HOST, NOT_FOUND
from picoauth.shapes import Shaper

FORGED = "192.0.2.1"
"""An address for examples (RFC 5737), from which nobody calls."""
CLAIM = {"X-Forwarded-For": FORGED}


@dataclass(frozen=True)
class Seen:
    """What the server saw of a request. `peer` is who connected, None for a unix socket."""

    address: str | None
    host: str
    scheme: str
    peer: str | None
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Report:
    """What was seen, if the server was reached, and what to mend."""

    seen: Seen | None
    findings: Sequence[Finding]


SET = "let it set X-Forwarded-For itself (nginx: `proxy_set_header X-Forwarded-For $remote_addr;`)."
UNKNOWN = (
    "The server does not know who calls, since it believes nobody at the unix socket: "
    'if only your proxy can connect to that, put "unix" into `trusted_proxies`.'
)
TAKEN = (
    "The server takes your proxy for the one who calls: "
    'put "{peer}" into `trusted_proxies`, if that is the proxy\'s address.'
)
BELIEVED = f"Your proxy passes on what clients write, so that anybody can claim any address: {SET}"
OURS = (
    "This machine is in `trusted_proxies` itself, so that the server believed an address that the "
    "doctor made up: whether it believes strangers, too, shows only from elsewhere."
)


class Unreached(Exception):
    """One sentence: who answered instead of the server, if anybody did."""


class Probe:
    """Asks at a URL, twice: as it is, and with a forged address."""

    def __init__(self, auth: Auth, url: str) -> None:
        self.auth = auth
        self.url = url
        self.parts = urlsplit(url)
        self.proxies = Proxies.of(auth.config)

    async def run(self) -> Report:
        """Writes two tickets, which end by themselves. Raises Unavailable where that fails."""
        (first, making), (second, more) = (seen.ticket(self.auth) for _ in range(2))
        await self.auth.database.write(making, more)
        try:
            honest, forged = self.ask(first, {}), self.ask(second, CLAIM)
        except Unreached as error:
            return Report(None, [Finding("reach", "danger", str(error))])
        return Report(honest, ranked(self.findings(honest, forged)))

    def ask(self, ticket: str, headers: Mapping[str, str]) -> Seen:
        """Raises Unreached."""
        kind = HTTPSConnection if self.parts.scheme == "https" else HTTPConnection
        connection = kind(self.parts.netloc, timeout=PATIENCE)
        path, body = self.parts.path + seen.PATH, {"ticket": ticket}
        try:
            answer = exchange(connection, "POST", path, headers=headers, body=body)
        except (OSError, HTTPException) as error:
            raise Unreached(f"{self.url} {broken(error)}") from error
        found = Shaper().build(Seen, answer.json) if answer.status == HTTPStatus.OK else None
        if found is None:
            raise Unreached(f"{self.url} {instead(answer)}")
        return found

    def findings(self, honest: Seen, forged: Seen) -> Iterator[Finding]:
        believed = forged.address == FORGED
        ours = believed and self.trusts_us(forged)
        yield Finding("forged-address", "danger", BELIEVED if believed and not ours else None)
        yield Finding("address", "warning", self.address(honest))
        yield Finding("host", "warning", self.host(honest))
        yield Finding("own-address", "advice", OURS if ours else None)

    def trusts_us(self, forged: Seen) -> bool:
        """It was the doctor that counted as a proxy: it came directly, or was noted behind its claim."""
        tcp = [address for address in self.auth.config.bind if address.startswith("tcp:")]
        ports = [int(address.rpartition(":")[2]) for address in tcp]
        direct = self.parts.scheme == "http" and self.parts.port in ports
        return direct or not forged.headers.get("x-forwarded-for", "").endswith(FORGED)

    def address(self, honest: Seen) -> str | None:
        peer, claimed = canonical(honest.peer or ""), honest.headers.get("x-forwarded-for")
        if peer and claimed is None and self.parts.scheme == "http":
            return None  # no proxy, as far as one can see
        if not (self.proxies.unix if peer is None else self.proxies.trusted(peer)):
            return UNKNOWN if peer is None else TAKEN.format(peer=peer)
        if claimed is None:
            return f"Your proxy does not tell the server who calls: {SET}"
        if honest.address is None:
            return (
                f"The X-Forwarded-For of your proxy is {claimed!r}, which ends in no plain address: "
                "let it send addresses alone, without ports."
            )
        return None

    def host(self, honest: Seen) -> str | None:
        """Without the port, which is no part of the name."""
        asked = self.parts.hostname or ""
        if hostname(honest.host.encode("latin-1", "replace")) == asked.encode():
            return None
        return (
            f"Your proxy was asked for {asked}, and asks the server for {honest.host}, "
            "which so cannot refuse foreign names: let it keep the Host (nginx: "
            "`proxy_set_header Host $host;`)."
        )


def broken(error: OSError | HTTPException) -> str:
    """Nobody answers."""
    match error:
        case socket.gaierror():
            return "has no address here: make its DNS record, or mend `public_url`."
        case ConnectionRefusedError():
            return (
                "refuses the connection: start the server, or the proxy before it, and let it "
                "listen there."
            )
        case ssl.SSLCertVerificationError():
            return (
                f"has a certificate that this machine does not trust ({error.verify_message}): "
                "get one that browsers trust, or make its authority known to this machine."
            )
        case ssl.SSLError():
            return "does not speak TLS: see to the certificate of the proxy, or mend `public_url`."
        case TimeoutError():
            return f"does not answer within {PATIENCE:g} s: see whether its port is open."
    return f"breaks off the connection ({str(error) or type(error).__name__}): see the proxy's log."


def instead(answer: Answer) -> str:
    """Somebody else answers, or the server says no."""
    code = answer.json.get("code")
    match answer.status:
        case _ if code == INVALID_HOST.code:
            return (
                "reaches the server, which refuses the name that the proxy asks for: let the proxy "
                "keep the Host (nginx: `proxy_set_header Host $host;`), or list the name in "
                "`allowed_hosts`."
            )
        case 404 if code == NOT_FOUND.code:
            return (
                "reaches a picoauth that has another database, or is older: start the one of these "
                "settings anew, and let the proxy lead there."
            )
        case _ if code and "request_id" in answer.json:
            return f"reaches the server, which refuses to answer ({code}): see its log."
        case 301 | 302 | 303 | 307 | 308:
            return (
                f"redirects to {answer.headers.get('location')}: let `public_url` be the address "
                "that answers itself."
            )
        case 502 | 503 | 504:
            return (
                f"has a proxy that does not reach the server (status {answer.status}): see that it "
                "runs, and that the proxy leads to an address of `bind`."
            )
    return (
        f"is answered by something else (status {answer.status}): let the proxy pass on "
        "everything below it, as it is."
    )
