"""Fetching from real servers on loopback, friendly and hostile."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from threading import Event
from typing import Any

import pytest

import picoauth.testing
from picoauth import ConfigError
from picoauth_fetch import Answer, FetchBusy, Fetcher, FetchFailed, FetchRefused, fetcher, resolving
from picoauth_fetch.testing import Authority, Site, answer, site
from picoauth_fetch.wire import Guard, tried

assert picoauth.testing.__all__  # a map of names is refused without it
LONG = 60.0
"""Seconds, where a test is not about time."""


@pytest.fixture
async def there(authority: Authority) -> AsyncIterator[Site]:
    """`https://there.example/`, and `https://other.example/`."""
    async with site(authority.context("there.example", "other.example")) as made:
        yield made


def fetching(authority: Authority, there: Site | None = None, **settings: Any) -> Fetcher:
    names = {"there.example": there.place, "other.example": there.place} if there else {}
    known = {"agent": "test", "timeout": LONG, "ca": authority.ca, "names": names}
    return Fetcher(**{**known, **settings})


async def refused(fetcher: Fetcher, url: str) -> str:
    with pytest.raises(FetchRefused) as caught:
        await fetcher.get(url)
    assert str(caught.value) == caught.value.reason
    return caught.value.reason


async def failed(fetcher: Fetcher, url: str = "https://there.example/") -> str:
    with pytest.raises(FetchFailed) as caught:
        await fetcher.get(url)
    assert str(caught.value) == caught.value.reason
    return caught.value.reason


PRIVATE = "its host is not at a public address"


async def test_get(authority: Authority, there: Site) -> None:
    """What is there is answered as it came; no cookie, no compression, our name."""
    there.answers["/x"] = answer(b"h\xe4llo", kind="text/html; charset=latin1", Set_Cookie="a=b")
    fetched = await fetching(authority, there).get(
        "https://there.example/x?y=1#z", headers={"Accept": "text/html"}
    )
    assert fetched == Answer(
        "https://there.example/x?y=1",
        200,
        {"content-type": "text/html; charset=latin1", "content-length": "5", "set-cookie": "a=b"},
        b"h\xe4llo",
    )
    assert (there.asked[0].method, there.asked[0].path) == ("GET", "/x?y=1")
    assert there.asked[0].headers == {
        "host": "there.example",
        "user-agent": "test",
        "accept": "text/html",
        "accept-encoding": "identity",
        "connection": "close",
    }


async def test_post(authority: Authority, there: Site) -> None:
    """A body goes once; a redirect is an answer like any, and any status is."""
    there.answers["/x"] = answer(status=307, Location="https://other.example/y")
    told = fetching(authority, there)
    fetched = await told.post("https://there.example/x", b"{}", headers={"X-Y": "ü"})
    assert (fetched.status, fetched.headers["location"]) == (307, "https://other.example/y")
    assert [(each.method, each.body) for each in there.asked] == [("POST", b"{}")]
    assert there.asked[0].headers["x-y"] == "ü".encode().decode("latin-1")
    assert (await told.post("https://there.example/y", b"")).status == 404
    assert there.asked[1].headers["content-length"] == "0"


async def test_no_cookies(authority: Authority, there: Site) -> None:
    """Nothing of one answer is in the next request."""
    there.answers["/"] = answer(status=302, Location="/x", Set_Cookie="a=b")
    told = fetching(authority, there)
    await told.get("https://there.example/")
    await told.get("https://there.example/x")
    assert [asked.headers.get("cookie") for asked in there.asked] == [None] * 3
    assert there.connections == 3


async def test_repeated_headers_are_a_list(authority: Authority, there: Site) -> None:
    """As RFC 9110 has it in section 5.3."""
    there.answers["/"] = b"HTTP/1.1 200 OK\r\nLink: <a>\r\nlink: <b>\r\nContent-Length: 0\r\n\r\n"
    fetched = await fetching(authority, there).get("https://there.example/")
    assert fetched.headers["link"] == "<a>, <b>"


async def test_redirects(authority: Authority, there: Site) -> None:
    """Two are followed, and told; only `Accept` goes to another origin."""
    there.answers["/1"] = answer(status=301, Location="2")
    there.answers["/2"] = answer(status=302, Location="https://other.example/3")
    there.answers["/3"] = answer(b"found")
    told = fetching(authority, there)
    said = {"Accept": "text/html", "Authorization": "Bearer x"}
    fetched = await told.get("https://there.example/1", headers=said)
    assert (fetched.url, fetched.body) == ("https://other.example/3", b"found")
    assert fetched.redirects == (
        (301, "https://there.example/2"),
        (302, "https://other.example/3"),
    )
    sent = [asked.headers.get("authorization") for asked in there.asked]
    assert sent == ["Bearer x", "Bearer x", None]
    assert [asked.headers["accept"] for asked in there.asked] == ["text/html"] * 3


async def test_too_many_redirects(authority: Authority, there: Site) -> None:
    """The third is refused, a loop too; none is followed where none is allowed."""
    there.answers["/"] = answer(status=302, Location="/")
    assert await refused(fetching(authority, there), "https://there.example/") == (
        "more than 2 redirects"
    )
    assert len(there.asked) == 3
    fetched = await fetching(authority, there, redirects=0).get("https://there.example/")
    assert (fetched.status, fetched.redirects) == (302, ())


async def test_status_without_location(authority: Authority, there: Site) -> None:
    """A redirect to nowhere is an answer; so is 304."""
    there.answers["/"] = answer(status=302)
    there.answers["/304"] = b"HTTP/1.1 304 Not Modified\r\nLocation: /x\r\n\r\n"
    told = fetching(authority, there)
    assert (await told.get("https://there.example/")).status == 302
    assert (await told.get("https://there.example/304")).status == 304


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("http://there.example/", "a redirect, and it is no URL of https"),
        ("https://10.0.0.1/", PRIVATE),
        ("https://127.0.0.1:8100/", PRIVATE),
        ("https://[::1]/", PRIVATE),
        ("https://within.example/", PRIVATE),
    ],
)
async def test_redirect_to_within(
    authority: Authority, there: Site, location: str, reason: str
) -> None:
    """Each redirect is checked again, name and address."""
    there.answers["/"] = answer(status=302, Location=location)
    names = {"there.example": there.place, "within.example": "192.168.1.1"}
    told = fetching(authority, names=names)
    assert await refused(told, "https://there.example/") == reason


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[64:ff9b::7f00:1]/",
        "https://[2002:7f00:1::]/",
        "https://[fe80::1]/",
        "https://169.254.169.254/latest/meta-data/",
        "https://within.example/",
        "https://mixed.example/",
        "https://xdeim.example/",
        "https://localhost/",
    ],
)
async def test_private_addresses_are_refused(authority: Authority, url: str) -> None:
    """One private address among public ones is enough, whichever comes first."""
    names = {
        "within.example": "10.0.0.1",
        "mixed.example": ["93.184.216.34", "10.0.0.1"],
        "xdeim.example": ["10.0.0.1", "93.184.216.34"],
    }
    assert await refused(fetching(authority, names=names), url) == PRIVATE


async def test_private_addresses_by_setting(authority: Authority) -> None:
    """The own networks may be allowed: the machine itself, by address and by name."""
    async with site(authority.context("localhost", "127.0.0.1")) as made:
        told = fetching(authority, private=True)
        for host in ("127.0.0.1", "localhost"):
            assert (await told.get(f"https://{host}:{made.port}/")).status == 404
        assert made.asked[0].headers["host"] == f"127.0.0.1:{made.port}"
        assert await refused(told, "https://169.254.169.254/") == PRIVATE


async def test_ipv6(authority: Authority) -> None:
    """An address in brackets, in the URL and in `Host`."""
    assert socket.has_ipv6
    async with site(authority.context("::1"), address="::1") as made:
        told = fetching(authority, private=True)
        url = f"https://[::1]:{made.port}/"
        assert (await told.get(url)).url == url
        assert made.asked[0].headers["host"] == f"[::1]:{made.port}"


class Rebinding(Mapping[str, "str | Sequence[str]"]):
    """A name that stands for a public address when it is looked up first, then for a private one."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    def __getitem__(self, name: str) -> Sequence[str]:
        self.asked += 1
        return self.answers[min(self.asked, len(self.answers)) - 1]

    def __iter__(self) -> Iterator[str]:
        raise AssertionError

    def __len__(self) -> int:
        return 1


async def test_rebinding(authority: Authority) -> None:
    """A name is looked up once, and the connection goes to what was checked."""
    async with site(authority.context("there.example")) as within:
        names = Rebinding(["127.0.0.1"], ["169.254.169.254"])
        told = fetching(authority, private=True, names=names)
        url = f"https://there.example:{within.port}/"
        assert (await told.get(url)).status == 404
        assert (names.asked, within.connections) == (1, 1)
        assert await refused(told, url) == PRIVATE


async def test_next_address_is_tried(authority: Authority) -> None:
    """Where one address does not answer, another may."""
    async with site(authority.context("there.example")) as made:
        dead = ["127.0.0.2", "127.0.0.1"]  # its server listens at one of them
        told = fetching(authority, private=True, names={"there.example": dead})
        assert (await told.get(f"https://there.example:{made.port}/")).status == 404


def test_addresses_of_both_families_are_tried() -> None:
    """Two of each: where a network has no IPv6, all of those fail."""
    found = ["2a00::1", "2a00::2", "2a00::3", "1.1.1.1", "1.1.1.2", "1.1.1.3"]
    assert tried(found) == ["2a00::1", "2a00::2", "1.1.1.1", "1.1.1.2"]


async def test_nobody_there(authority: Authority) -> None:
    """A port on which nobody listens is a failure."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        told = fetching(authority, names={"there.example": place})
        assert await failed(told) == "its host does not answer"


async def test_certificates(authority: Authority, tmp_path: Path) -> None:
    """One for another name, one that is over, one of a stranger: nothing is asked."""
    stranger = Authority(tmp_path)
    for context in (
        authority.context("other.example"),
        authority.context("there.example", age=3),
        stranger.context("there.example"),
    ):
        async with site(context) as made:
            assert await failed(fetching(authority, made)) == (
                "no connection by TLS, or its certificate is not good"
            )
            assert made.asked == []


async def test_http_by_setting(authority: Authority) -> None:
    """Plain http where it is allowed, and from there to https, not back."""
    async with site() as plain, site(authority.context("safe.example")) as safe:
        names = {"there.example": plain.place, "safe.example": safe.place}
        told = fetching(authority, names=names, insecure=True)
        plain.answers["/"] = answer(status=301, Location="https://safe.example/x")
        assert (await told.get("http://there.example/")).url == "https://safe.example/x"
        safe.answers["/x"] = answer(status=301, Location="http://there.example/y")
        assert await refused(told, "http://there.example/") == (
            "a redirect, and it is no URL of https"
        )


async def test_limit_of_the_body(authority: Authority, there: Site) -> None:
    """Exactly the limit is read; a byte more fails, whatever length was announced."""
    told = fetching(authority, there, limit=1000)
    there.answers["/"] = answer(b"x" * 1000)
    assert len((await told.get("https://there.example/")).body) == 1000
    reason = "its answer is longer than 1000 bytes"
    there.answers["/"] = answer(b"x" * 1001)
    assert await failed(told) == reason
    there.answers["/"] = b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 10_000_000
    assert await failed(told) == reason
    chunk = b"fff\r\n" + b"x" * 0xFFF + b"\r\n"
    there.answers["/"] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk * 99
    assert await failed(told) == reason


@pytest.mark.parametrize("coding", ["gzip", "br", "identity, gzip", "GZIP"])
async def test_compressed_answers(authority: Authority, there: Site, coding: str) -> None:
    """No bomb is ever unpacked."""
    there.answers["/"] = answer(b"x", Content_Encoding=coding)
    assert await failed(fetching(authority, there)) == (
        "its answer is compressed, which was not asked for"
    )
    there.answers["/"] = answer(b"x", Content_Encoding="Identity")
    assert (await fetching(authority, there).get("https://there.example/")).body == b"x"


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"HELLO\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 1_000_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA\x00: b\r\n\r\n",
    ],
    ids=range(9),
)
async def test_answers_that_are_no_http(authority: Authority, there: Site, said: bytes) -> None:
    """Broken off, mad, or endless headers: a failure, and nothing of it is believed."""
    there.answers["/"] = said
    assert await failed(fetching(authority, there)) == "its answer is no HTTP, or breaks off"


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 99,
    ],
    ids=range(4),
)
async def test_time_of_all(authority: Authority, there: Site, said: bytes) -> None:
    """Silence ends after the time, at whichever point it begins."""
    there.answers["/"] = said
    there.hanging.add("/")
    told = fetching(authority, there, timeout=0.5)
    assert await failed(told) == "its answer took longer than 0.5 s"
    with pytest.raises(FetchFailed, match=r"^its answer took longer than 0\.5 s$"):
        await told.post("https://there.example/", b"x")


async def test_time_of_a_handshake(authority: Authority) -> None:
    """A server that takes the connection and never speaks TLS ends after the time, too."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = f"127.0.0.1:{silent.getsockname()[1]}"
        told = fetching(authority, names={"there.example": place}, timeout=0.3)
        assert await failed(told) == "its answer took longer than 0.3 s"


@pytest.mark.parametrize(
    "record",
    [b"GET / nonsense" * 20, b"\x17\x03\x03\x00\x20" + b"z" * 32, b"\x15\x03\x03\x00\x02\x02\x28"],
    ids=["no record", "cannot be decrypted", "alert in clear"],
)
@pytest.mark.parametrize(
    "said", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"], ids=range(2)
)
async def test_tls_that_breaks(authority: Authority, said: bytes, record: bytes) -> None:
    """A host that speaks TLS until the handshake is over, and then nonsense, is a failure."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        await writer.drain()
        os.write(writer.get_extra_info("socket").fileno(), record)
        await reader.read()
        writer.close()

    context = authority.context("there.example")
    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context) as server:
        place = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        told = fetching(authority, names={"there.example": place})
        assert await failed(told) == "its connection breaks off"


async def test_header_that_cannot_be_sent(authority: Authority, there: Site) -> None:
    """A line break in a header of the caller would be a request of somebody else."""
    with pytest.raises(FetchRefused, match=r"^a header that HTTP cannot send$"):
        await fetching(authority, there).get("https://there.example/", headers={"X": "a\r\nB: c"})
    assert there.asked == []


async def test_check(authority: Authority) -> None:
    """What a setting names can be judged before anything is fetched."""
    fetching(authority).check("https://there.example/")
    with pytest.raises(FetchRefused, match=r"^it is no URL of https$"):
        fetching(authority).check("http://there.example/")


async def test_no_proxy_of_the_environment(
    authority: Authority, there: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy would connect to whatever it likes, unchecked."""
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert (await fetching(authority, there).get("https://there.example/")).status == 404


async def test_name_that_does_not_exist(authority: Authority) -> None:
    """By the real resolver."""
    assert await failed(fetching(authority), "https://nobody.invalid/") == (
        "its name cannot be resolved"
    )


async def test_dead_resolver(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """Look-ups that hang end for those who wait, and never take more than so many threads (FE-4)."""
    over = Event()

    def hang(*_: object, **__: object) -> None:
        over.wait()
        raise OSError

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    told = fetching(authority, timeout=0.2)
    asked = [failed(told, "https://slow.example/") for _ in range(resolving.MOST)]
    assert set(await asyncio.gather(*asked)) == {"its answer took longer than 0.2 s"}
    with pytest.raises(FetchBusy, match=r"^too many names are being looked up$"):
        await told.get("https://slow.example/")
    assert await asyncio.to_thread(lambda: "the loop's own threads are free")
    over.set()


def test_resolver_after_the_end_of_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """A late answer finds nobody, and says so to nobody."""
    made = resolving.Resolver()
    loop = asyncio.new_event_loop()
    loop.close()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [])
    made.free.acquire()
    made.work("x", loop, asyncio.Future(loop=loop))
    assert made.free.acquire(blocking=False)


async def test_answer_that_nobody_waits_for() -> None:
    """It comes after the end, and is let go."""
    answered: asyncio.Future[list[str]] = asyncio.get_running_loop().create_future()
    answered.cancel()
    resolving.settle(answered, lambda: answered.set_result([]))
    assert answered.cancelled()


async def test_cancelled(authority: Authority, there: Site) -> None:
    """Whoever is cancelled closes the connection."""
    there.answers["/"] = b"HTTP/1.1 200 OK\r\n"
    there.hanging.add("/")
    task = asyncio.create_task(fetching(authority, there).get("https://there.example/"))
    while not there.asked:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_unix_sockets_are_not_reached() -> None:
    """The guard has no way to one."""
    guard = Guard(resolving.Resolver(), private=True, names={})
    with pytest.raises(NotImplementedError):
        await guard.connect_unix_socket("/run/docker.sock")


def test_map_of_names_outside_of_tests() -> None:
    """Without the test kit there is no map of names, an empty one neither."""
    script = "from picoauth_fetch import Fetcher\nFetcher(agent='x')\nFetcher(agent='x', names={})"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    expected = "A map of names is for tests alone: leave it out, and use DNS."
    assert done.stderr.splitlines()[-1].endswith(expected)


def test_heavy_imports_wait() -> None:
    """Nothing of httpcore is loaded before something is fetched."""
    script = (
        "import sys, picoauth_fetch\npicoauth_fetch.Fetcher(agent='x')\n"
        "print({'httpcore', 'anyio', 'idna', 'certifi'} & sys.modules.keys())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"


def test_ca_that_cannot_be_read(tmp_path: Path) -> None:
    """A file that is no certificate is a start-up error."""
    path = tmp_path / "ca.pem"
    for _ in range(2):
        expected = f"{path} cannot be read as certificates: name a file in PEM."
        with pytest.raises(ConfigError, match=f"^{re.escape(expected)}$"):
            Fetcher(agent="x", ca=path)
        path.write_text("nothing")


async def test_trust_of_the_system(
    authority: Authority, there: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a file the system's authorities count, or certifi's where it has none."""
    told = fetching(authority, there, ca=None)
    assert await failed(told) == "no connection by TLS, or its certificate is not good"
    loaded = told.context
    await failed(told)
    assert told.context is loaded
    nothing = type("Paths", (), {"cafile": None, "capath": None})
    monkeypatch.setattr(fetcher.ssl, "get_default_verify_paths", nothing)
    assert len(fetcher.trusting().get_ca_certs()) > 50


async def test_example_of_the_page(
    authority: Authority, capsys: pytest.CaptureFixture[str]
) -> None:
    """The README's lines, as they are written, on a site of the test."""
    import picoauth_fetch.testing as kit

    page = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    used, tested = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    body = tested + "    from picoauth_fetch import FetchRefused\n    assert FetchRefused\n"
    lines = [
        line for line in used.splitlines() if line and not line.startswith(("fetcher =", "from"))
    ]
    body += "".join(f"    {line}\n" for line in lines)
    script = "async def run():\n" + "".join(f"    {line}\n" for line in body.splitlines())
    scope: dict[str, Any] = {**vars(kit), "authority": authority, "Fetcher": Fetcher}
    exec(script, scope)  # noqa: S102 - the page is ours
    await scope["run"]()
    assert capsys.readouterr().out == "https://app.example/ 200 text/plain 5\n"
