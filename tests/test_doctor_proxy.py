"""`picoauth doctor proxy`: a real request through a real proxy to a real server."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from click.testing import CliRunner, Result

from picoauth import parse
from picoauth.cli import cli
from picoauth.testing import Server
from tests.certificates import self_signed
from tests.proxying import Canned, Change, Headers, Proxy, proxying, running

CLIENT = "198.51.100.7"
"""What the proxy takes for the address of whoever asks."""


class Way:
    """A server on a unix socket and a port, with a proxy before it."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self.stack = stack
        self.url = "http://localhost:1"
        self.proxies: list[Proxy] = []
        self.port = 0
        """Where the server listens itself, beside the unix socket."""

    def proxy(self, change: Change, tls: ssl.SSLContext | None = None) -> Proxy:
        proxy = self.stack.enter_context(proxying(change, tls))
        self.url = f"{'https' if tls else 'http'}://localhost:{proxy.server_port}"
        self.proxies.append(proxy)
        return proxy

    def serve(self, more: str = 'trusted_proxies = ["unix"]', *, tcp: bool = False) -> None:
        """Start the server; the proxy passes requests on to its socket, or to its port."""
        config = parse(self.write(more), self.folder)
        addresses = self.stack.enter_context(running(config))
        self.port = int(addresses[1].rpartition(":")[2])
        self.write(more)
        for proxy in self.proxies:
            proxy.target = self.port if tcp else str(self.folder / "p")

    def write(self, more: str = "") -> str:
        bind = ["unix:p", f"tcp:127.0.0.1:{self.port}"]
        text = (
            f'plugins = ["password"]\npublic_url = "{self.url}"\nbind = {json.dumps(bind)}\n{more}'
        )
        (self.folder / "picoauth.toml").write_text(text, encoding="utf-8")
        return text

    def doctor(self, *arguments: str) -> Result:
        path = str(self.folder / "picoauth.toml")
        result = CliRunner().invoke(cli, ["--config", path, "doctor", "proxy", *arguments])
        assert isinstance(result.exception, SystemExit | None), result.exception
        return result

    def told(self, *arguments: str) -> tuple[dict[str, Any], dict[str, tuple[str, str]]]:
        """What the server saw, and what is wrong by check."""
        result = self.doctor("--json", *arguments)
        seen, *found = map(json.loads, result.stdout.splitlines())
        wrong = {f["check"]: (f["level"], f["problem"]) for f in found if f["problem"]}
        failing = any(level != "advice" for level, _ in wrong.values())
        assert int(failing) == result.exit_code
        return seen, wrong

    def unreached(self, *arguments: str) -> str:
        """The one sentence where somebody else answers, or nobody."""
        result = self.doctor("--json", *arguments)
        assert 1 == result.exit_code
        found = json.loads(result.stdout)
        assert ("reach", "danger") == (found["check"], found["level"])
        sentence: str = found["problem"]
        return sentence


@pytest.fixture
def way() -> Iterator[Way]:
    """A folder with a short name, as unix sockets need."""
    with TemporaryDirectory(prefix="pa", dir="/tmp") as name, ExitStack() as stack:
        yield Way(Path(name), stack)


def good(headers: Headers) -> None:
    """As nginx does by `$proxy_add_x_forwarded_for`, and Caddy by itself."""
    before = headers.get("x-forwarded-for")
    headers["x-forwarded-for"] = f"{before}, {CLIENT}" if before else CLIENT
    headers["x-forwarded-proto"] = "https"


def bare(_: Headers) -> None:
    """As a proxy of which nobody asked anything."""


def setting(**named: str) -> Change:
    """A proxy that sets headers, and is good otherwise."""

    def change(headers: Headers) -> None:
        good(headers)
        headers.update({name.replace("_", "-"): value for name, value in named.items()})

    return change


def test_good_proxy(way: Way) -> None:
    """The server sees who asks, by which name, and how; nobody is believed but the proxy."""
    way.proxy(good)
    way.serve()
    seen, wrong = way.told()
    host = way.url.removeprefix("http://")
    assert {
        "address": CLIENT,
        "host": host,
        "scheme": "https",
        "peer": None,
        "headers": {"host": host, "x-forwarded-for": CLIENT, "x-forwarded-proto": "https"},
    } == seen
    assert {} == wrong


def test_text(way: Way) -> None:
    """For people: what the server sees, then what is wrong."""
    way.proxy(setting(x_forwarded_for="\x1b[2J"))
    way.serve()
    host = way.url.removeprefix("http://")
    result = way.doctor()
    assert (
        f"Of a request to {way.url} the server sees:\n"
        "  address           -\n"
        f"  host              {host}\n"
        "  scheme            https\n"
        "  comes from        the unix socket\n"
        "  x-forwarded-for   \\x1b[2J\n"
        "  x-forwarded-proto https\n"
        "warning  address, the weakest link\n"
        "  The X-Forwarded-For of your proxy is '\\x1b[2J', which ends in no plain address: "
        "let it send addresses alone, without ports.\n"
        "Fine: forged-address, host, own-address.\n"
    ) == result.stdout
    assert 1 == result.exit_code


def test_no_proxy(way: Way) -> None:
    """Where nothing stands between, there is nothing to mend."""
    way.url = "http://localhost:1"
    way.serve()
    seen, wrong = way.told(f"http://127.0.0.1:{way.port}")
    assert ("127.0.0.1", "127.0.0.1", "http") == (seen["address"], seen["peer"], seen["scheme"])
    assert {} == wrong


FORGING = (
    "Your proxy passes on what clients write, so that anybody can claim any address: let it set "
    "X-Forwarded-For itself (nginx: `proxy_set_header X-Forwarded-For $remote_addr;`)."
)
SILENT = (
    "Your proxy does not tell the server who calls: let it set X-Forwarded-For itself "
    "(nginx: `proxy_set_header X-Forwarded-For $remote_addr;`)."
)


def test_proxy_that_says_nothing(way: Way) -> None:
    """Nobody's address is known, but of those who make one up."""
    way.proxy(bare)
    way.serve()
    seen, wrong = way.told()
    assert (None, "http") == (seen["address"], seen["scheme"])
    assert {"forged-address": ("danger", FORGING), "address": ("warning", SILENT)} == wrong


def test_proxy_that_is_not_believed(way: Way) -> None:
    """At the unix socket nobody is, unless the settings say so."""
    way.proxy(good)
    way.serve("")
    seen, wrong = way.told()
    assert (None, CLIENT) == (seen["address"], seen["headers"]["x-forwarded-for"])
    sentence = (
        "The server does not know who calls, since it believes nobody at the unix socket: "
        'if only your proxy can connect to that, put "unix" into `trusted_proxies`.'
    )
    assert {"address": ("warning", sentence)} == wrong


@pytest.mark.parametrize(("change", "claims"), [(good, True), (bare, False)])
def test_proxy_that_is_taken_for_the_client(way: Way, change: Change, claims: bool) -> None:  # noqa: FBT001
    """A proxy that is not trusted is whoever asks; without its header there is no telling."""
    way.proxy(change)
    way.serve("", tcp=True)
    seen, wrong = way.told()
    assert ("127.0.0.1", "127.0.0.1") == (seen["address"], seen["peer"])
    sentence = (
        "The server takes your proxy for the one who calls: "
        'put "127.0.0.1" into `trusted_proxies`, if that is the proxy\'s address.'
    )
    assert ({"address": ("warning", sentence)} if claims else {}) == wrong


def test_proxy_on_a_port_that_is_believed(way: Way) -> None:
    """By its address, as the settings say."""
    way.proxy(good)
    way.serve('trusted_proxies = ["127.0.0.0/8"]', tcp=True)
    seen, wrong = way.told()
    assert (CLIENT, "127.0.0.1") == (seen["address"], seen["peer"])
    assert {} == wrong


OWN = (
    "This machine is in `trusted_proxies` itself, so that the server believed an address that the "
    "doctor made up: whether it believes strangers, too, shows only from elsewhere."
)


def appending(address: str) -> Change:
    def change(headers: Headers) -> None:
        before = headers.get("x-forwarded-for")
        headers["x-forwarded-for"] = f"{before}, {address}" if before else address

    return change


def test_doctor_that_counts_as_a_proxy(way: Way) -> None:
    """What it claims is believed, as it would be of the proxy; that says nothing of strangers."""
    way.proxy(appending("127.0.0.1"))
    way.serve('trusted_proxies = ["127.0.0.1"]', tcp=True)
    assert {"own-address": ("advice", OWN)} == way.told()[1]
    _, wrong = way.told(f"http://127.0.0.1:{way.port}")
    assert {"own-address": ("advice", OWN)} == wrong


def test_proxy_that_asks_for_another_host(way: Way) -> None:
    """As nginx does by itself: the server answers to loopback, but cannot tell who was asked."""
    way.proxy(setting(host="127.0.0.1"))
    way.serve()
    seen, wrong = way.told()
    assert "127.0.0.1" == seen["host"]
    sentence = (
        "Your proxy was asked for localhost, and asks the server for 127.0.0.1, which so cannot "
        "refuse foreign names: let it keep the Host (nginx: `proxy_set_header Host $host;`)."
    )
    assert {"host": ("warning", sentence)} == wrong


def test_proxy_that_drops_the_port(way: Way) -> None:
    """The name is what counts, as nginx has it in `$host`."""
    way.proxy(setting(host="LOCALHOST"))
    way.serve()
    assert ("LOCALHOST", {}) == (way.told()[0]["host"], way.told()[1])


def test_proxy_that_asks_for_a_foreign_host(way: Way) -> None:
    """The server refuses it, and nobody gets in."""
    way.proxy(setting(host="backend"))
    way.serve()
    assert (
        f"{way.url} reaches the server, which refuses the name that the proxy asks for: let the "
        "proxy keep the Host (nginx: `proxy_set_header Host $host;`), or list the name in "
        "`allowed_hosts`."
    ) == way.unreached()


@pytest.fixture
def tls(tmp_path: Path) -> ssl.SSLContext:
    """A certificate for localhost that nobody signed; `cert.pem` has it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*self_signed(tmp_path, "localhost"))
    return context


def test_certificate(
    way: Way, tls: ssl.SSLContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that this machine does not trust is told why, and one that it does is used."""
    way.proxy(good, tls)
    way.serve()
    assert (
        f"{way.url} has a certificate that this machine does not trust (self-signed certificate): "
        "get one that browsers trust, or make its authority known to this machine."
    ) == way.unreached()
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    assert (CLIENT, {}) == (way.told()[0]["address"], way.told()[1])


def test_proxy_behind_tls_that_says_nothing(
    way: Way, tls: ssl.SSLContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server speaks no TLS, so that there is a proxy, though it does not say so."""
    way.proxy(bare, tls)
    way.serve('trusted_proxies = ["127.0.0.1"]', tcp=True)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    _, wrong = way.told()
    assert {"forged-address": ("danger", FORGING), "address": ("warning", SILENT)} == wrong


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (
            Canned(301, [("Location", "https://www.example.com/")]),
            (
                "redirects to https://www.example.com/: let `public_url` be the address that answers "
                "itself."
            ),
        ),
        (
            Canned(502, body=b"<h1>Bad Gateway"),
            (
                "has a proxy that does not reach the server (status 502): see that it runs, and that "
                "the proxy leads to an address of `bind`."
            ),
        ),
        (
            Canned(404, body=b'{"code": "not_found"}'),
            (
                "reaches a picoauth that has another database, or is older: start the one of these "
                "settings anew, and let the proxy lead there."
            ),
        ),
        (
            Canned(503, body=b'{"code": "unavailable", "request_id": "1"}'),
            "reaches the server, which refuses to answer (unavailable): see its log.",
        ),
        *(
            (
                canned,
                (
                    f"is answered by something else (status {canned.status}): let the proxy pass on "
                    "everything below it, as it is."
                ),
            )
            for canned in (
                Canned(404, body=b"<h1>Not Found"),
                Canned(200, body=b"Welcome"),
                Canned(200, body=b"[1]"),
                Canned(200, body=b"[" * 60_000),
                Canned(200, body=b'{"address": 1, "host": [], "scheme": 1, "headers": 1}'),
                Canned(403, body=b'{"code": "forbidden"}'),
            )
        ),
    ],
)
def test_somebody_else_answers(way: Way, answer: Canned, sentence: str) -> None:
    """Whatever comes back is no surprise."""
    way.proxy(good)
    way.serve()
    way.proxies[0].target = answer
    assert f"{way.url} {sentence}" == way.unreached()


def test_nobody_answers(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each way in which there is no answer."""
    way.serve()
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        monkeypatch.setattr("picoauth.proxychecked.PATIENCE", 0.1)
        url = f"http://127.0.0.1:{port}"
        assert (
            f"{url} does not answer within 0.1 s: see whether its port is open."
        ) == way.unreached(url)
    assert (
        f"{url} refuses the connection: start the server, or the proxy before it, and let it "
        "listen there."
    ) == way.unreached(url)
    monkeypatch.undo()
    url = "https://nowhere.invalid"
    assert (
        f"{url} has no address here: make its DNS record, or mend `public_url`."
    ) == way.unreached(url)
    url = f"https://127.0.0.1:{way.port}"
    assert (
        f"{url} does not speak TLS: see to the certificate of the proxy, or mend `public_url`."
    ) == way.unreached(url)


def test_connection_that_breaks(way: Way) -> None:
    """Somebody takes the request, and hangs up."""

    def failing(_: Headers) -> None:
        raise LookupError

    way.proxy(failing)
    way.serve()
    assert (
        f"{way.url} breaks off the connection (Remote end closed connection without response): "
        "see the proxy's log."
    ) == way.unreached()


def test_text_of_nobody(way: Way) -> None:
    """For people it is the weakest link."""
    way.serve()
    assert (
        f"danger   reach, the weakest link\n  {way.url} refuses the connection: "
        "start the server, or the proxy before it, and let it listen there.\n"
    ) == way.doctor().stdout


@pytest.mark.parametrize("database", ["", "touched"])
def test_server_that_never_started(way: Way, database: str) -> None:
    """Nothing is made for it: neither a database nor its tables."""
    way.write()
    if database:
        (way.folder / "picoauth.db").touch()
        (way.folder / "picoauth.secret").write_bytes(
            b"dGhpcyBpcyBhIHNlY3JldCBvZiBlbm91Z2ggbGVuZ3Ro"
        )
        (way.folder / "picoauth.secret").chmod(0o600)
    before = sorted(way.folder.iterdir())
    result = way.doctor()
    assert 2 == result.exit_code
    assert (
        "picoauth: The server has not started with these settings yet: start it.\n"
    ) == result.stderr
    assert before == sorted(way.folder.iterdir())


def test_url_that_is_none(way: Way) -> None:
    """Another address is told as the settings want it."""
    way.write()
    result = way.doctor("ftp://example.com")
    assert 2 == result.exit_code
    assert "must be a URL such as https://auth.example.com, in lower case." in result.stderr


# The route itself.


async def test_nobody_else_is_told(server: Server) -> None:
    """Without a ticket that the database has there is nothing; one is good for one look, a minute."""
    from picoauth import seen

    async def look(ticket: str) -> int:
        return (await server.post(seen.PATH, {"ticket": ticket})).status_code

    assert 404 == await look("made up")
    ticket, making = seen.ticket(server.auth)
    await server.auth.database.write(making)
    assert [200, 404] == [await look(ticket), await look(ticket)]
    ticket, making = seen.ticket(server.auth)
    await server.auth.database.write(making)
    server.clock.advance(seen.LIFE)
    assert 404 == await look(ticket)
    other, making = server.auth.tickets.issue("reset", None, expires_at=server.auth.now() + 60)
    await server.auth.database.write(making)
    assert 404 == await look(other)
