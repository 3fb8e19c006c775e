"""The files under `docs/run`, with the real programs that they are for."""

from __future__ import annotations

import os
import re
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.certificates import self_signed
from tests.fronts import FRONTS, Setup, changed
from tests.processes import PATIENCE, free_port, program, running
from tests.wire import short_folder

RUN = Path(__file__).parent.parent / "docs" / "run"
PAGE = (RUN.parent / "run-it.md").read_text(encoding="utf-8")
PICOAUTH = str(Path(sys.executable).with_name("picoauth"))
HOST = "auth.example.com"
ANN = {"username": "ann", "password": "correct horse battery staple"}
SETTINGS = f"""
plugins = ["password"]
public_url = "https://{HOST}"
trusted_proxies = ["unix"]
"""


@contextmanager
def serving(folder: Path) -> Iterator[None]:
    """The real server behind a unix socket."""
    (folder / "picoauth.toml").write_text(SETTINGS, encoding="utf-8")
    with running([PICOAUTH, "serve"], folder, lambda said: "/auth/login" in said):
        yield


@dataclass(frozen=True)
class Front:
    """A proxy that listens with TLS on loopback, before a real picoauth."""

    port: int
    tls: ssl.SSLContext

    def client(self, address: str = "127.0.0.1") -> httpx.Client:
        transport = httpx.HTTPTransport(verify=self.tls, local_address=address)
        return httpx.Client(
            base_url=f"https://127.0.0.1:{self.port}", headers={"Host": HOST}, transport=transport
        )

    def ask(self, client: httpx.Client, method: str, path: str, **more: Any) -> httpx.Response:
        return client.request(method, path, extensions={"sni_hostname": HOST}, **more)

    def raw(self, data: bytes) -> bytes:
        """All that a new connection is answered until it is closed."""
        with (
            socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as plain,
            self.tls.wrap_socket(plain, server_hostname=HOST) as secured,
        ):
            secured.sendall(data)
            answer = b""
            while some := secured.recv(65536):
                answer += some
            return answer


@pytest.fixture(scope="module", params=FRONTS)
def front(request: pytest.FixtureRequest) -> Iterator[Front]:
    """Both proxies with our files, before a picoauth where Ann is registered."""
    program(request.param)
    with short_folder() as folder, serving(folder):
        pair, port = self_signed(folder, HOST), free_port()
        with FRONTS[request.param](Setup(RUN, folder, HOST, port, pair)):
            made = Front(port, ssl.create_default_context(cafile=pair[0]))
            with made.client() as client:
                assert 201 == made.ask(client, "POST", "/auth/register", json=ANN).status_code
            yield made


def test_login_through_a_proxy(front: Front) -> None:
    """A login over TLS works, its answer is that of a server with a public address."""
    with front.client() as client:
        answer = front.ask(client, "POST", "/auth/login", json=ANN)
        assert 200 == answer.status_code
        assert "max-age=31536000" == answer.headers["strict-transport-security"]
        token = answer.json()["access_token"]
        bearer = {"Authorization": f"Bearer {token}"}
        claims = front.ask(client, "POST", "/jwt/validate", headers=bearer).json()
        assert ("ann", f"https://{HOST}") == (claims["preferred_username"], claims["iss"])


def test_address_that_the_server_sees(front: Front) -> None:
    """It is the one that the proxy was asked from, whatever the client claims."""
    claims = {
        "X-Forwarded-For": "203.0.113.9, 127.0.0.1",
        "X-Real-IP": "203.0.113.9",
        "Forwarded": "for=203.0.113.9",
        "X-Forwarded-Host": "evil.example",
    }
    with front.client("127.0.0.2") as client:
        answer = front.ask(client, "POST", "/auth/login", json=ANN, headers=claims)
        bearer = {"Authorization": f"Bearer {answer.json()['access_token']}"}
        shown = front.ask(client, "GET", "/auth/sessions", headers=bearer).json()
        assert ["127.0.0.2"] == [s["address"] for s in shown["sessions"] if s["current"]]


def test_foreign_host_through_a_proxy(front: Front) -> None:
    """Whoever asks for another name gets no login, and no word of it but that it is not served."""
    with front.client() as client:
        headers = {"Host": "evil.example"}
        answer = front.ask(client, "POST", "/auth/login", json=ANN, headers=headers)
        assert "access_token" not in answer.text
        unserved = "The setting `allowed_hosts` does not have 'evil.example'."
        assert "evil" not in f"{answer.headers} {answer.text.replace(unserved, '')}"


def test_events_through_a_proxy(front: Front) -> None:
    """The stream of ended sessions is passed on as it comes, and not collected."""
    path = "/.well-known/picoauth/revocations/stream"
    more = {"extensions": {"sni_hostname": HOST}, "timeout": PATIENCE}
    with front.client() as client, client.stream("GET", path, **more) as answer:
        lines = answer.iter_lines()
        assert "event: revocations" in (next(lines) for _ in range(5))


UPGRADE = (
    f"GET /health-check HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade, HTTP2-Settings\r\n"
    "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n"
).encode()
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"
CLOSE = f"GET /health-check HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode()


def test_no_tunnel_through_a_proxy(front: Front) -> None:
    """`Upgrade: h2c` makes no tunnel past the proxy: no byte of HTTP/2 comes back."""
    answer = front.raw(UPGRADE + PREFACE + CLOSE)
    assert answer.startswith(b"HTTP/1.1 ")
    assert b"HTTP/1.1 101" not in answer
    assert b"\0\0" not in answer  # every frame of HTTP/2 begins so


HIDDEN = b"DELETE /auth/me HTTP/1.1\r\nHost: x\r\n\r\n"
HEAD = f"POST /auth/login HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\n".encode()
SMUGGLED = {
    "length and chunks": HEAD
    + b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" % (5 + len(HIDDEN))
    + HIDDEN,
    "two lengths": HEAD + b"Content-Length: 0\r\nContent-Length: %d\r\n\r\n" % len(HIDDEN) + HIDDEN,
    "odd chunks": HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "chunks behind a space": HEAD + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "a chunk's size twice": HEAD + b"Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n" + HIDDEN,
}


@pytest.mark.parametrize("attack", SMUGGLED)
def test_smuggled_request(front: Front, attack: str) -> None:
    """After a request that could be read in two ways, everybody still gets their own answer."""
    answer = front.raw(SMUGGLED[attack] + CLOSE)
    assert b"HTTP/1.1 200" not in answer.partition(b"\r\n")[0]
    for _ in range(3):
        assert front.raw(CLOSE).startswith(b"HTTP/1.1 200")


def test_long_body_through_a_proxy(front: Front) -> None:
    """More than 64 KiB do not reach the server.

    Caddy sends on what comes until its own limit, and may meet that in the middle of the answer:
    of some tries one is answered to its end.
    """
    statuses = set()
    for _ in range(5):
        with front.client() as client, suppress(httpx.RemoteProtocolError):
            answer = front.ask(client, "POST", "/auth/login", content=b" " * 70_000)
            statuses.add(answer.status_code)
    assert {413} == statuses


def units(folder: Path) -> list[str]:
    """Our units in a folder, with the paths of this test."""
    names = []
    for name in ("picoauth.service", "picoauth.socket"):
        changes = {"/opt/picoauth/bin/picoauth": PICOAUTH} if name.endswith("service") else {}
        (folder / name).write_text(changed(RUN / name, changes), encoding="utf-8")
        names.append(str(folder / name))
    return names


def analyze(*arguments: str) -> str:
    """What `systemd-analyze` says; a complaint fails the test."""
    command = [program("systemd-analyze"), "--no-pager", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert 0 == done.returncode, done.stderr
    assert "" == done.stderr
    return done.stdout


def test_units_are_right(tmp_path: Path) -> None:
    """There is nothing to say against the units: no unknown setting, no missing file."""
    assert "" == analyze("verify", *units(tmp_path))


def test_exposure_of_the_unit(tmp_path: Path) -> None:
    """The exposure level is the one that the page names."""
    [service, _] = units(tmp_path)
    said = analyze("security", "--offline=true", service)
    [level] = re.findall(r"Overall exposure level for \S+: ([\d.]+) ", said)
    assert f"exposure level of {level}" in PAGE


def used(path: Path) -> None:
    """Register and log in over a unix socket."""
    transport = httpx.HTTPTransport(uds=str(path))
    with httpx.Client(transport=transport, base_url="http://localhost", timeout=PATIENCE) as client:
        assert 201 == client.post("/auth/register", json=ANN).status_code
        assert 200 == client.post("/auth/login", json=ANN).status_code


REFUSING = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(65, 1, 0, 0, 0):  # PR_SET_MDWE: what MemoryDenyWriteExecute= asks of the kernel
    sys.exit(os.strerror(ctypes.get_errno()))
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_socket_activation_by_systemd() -> None:
    """Who asks first starts the server, with memory as the unit has it, and is answered."""
    activate = program("systemd-socket-activate")
    with short_folder() as folder:
        (folder / "picoauth.toml").write_text(SETTINGS, encoding="utf-8")
        path = folder / "handed.sock"
        server = [sys.executable, "-c", REFUSING, PICOAUTH, "serve"]
        command = [activate, "-l", str(path), "--", *server]
        with running(command, folder, lambda _: path.is_socket()) as log:
            used(path)
            assert f"picoauth listens on unix:{path}\n" in log.read_text(encoding="utf-8")
            assert not (folder / "picoauth.sock").exists()


LOCKED = """
set -e
mount --make-rprivate /
mount --bind "$STATE" "$STATE"
mount -o remount,bind,ro /
if touch /etc/picoauth-was-here; then exit 9; fi 2> "$STATE/refused"
exec setpriv --no-new-privs --inh-caps=-all --bounding-set=-all "$@"
"""


def test_server_that_is_locked_in() -> None:
    """It needs no network, no capability, and no place to write but its own: as the unit has it."""
    activate, unshare, setpriv = (
        program(name) for name in ("systemd-socket-activate", "unshare", "setpriv")
    )
    if os.geteuid():
        pytest.skip("only root may take things away from a process in this way")
    unit = (RUN / "picoauth.service").read_text(encoding="utf-8")
    for line in ("ProtectSystem=strict", "PrivateNetwork=yes", "CapabilityBoundingSet="):
        assert f"\n{line}\n" in unit
    with short_folder() as folder:
        (folder / "picoauth.toml").write_text(SETTINGS, encoding="utf-8")
        path = folder / "handed.sock"
        locked = ["bash", "-c", LOCKED.replace("setpriv", setpriv), "-", PICOAUTH, "serve"]
        command = [activate, "-l", str(path), "-E", f"STATE={folder}", "--", unshare]
        with running([*command, "--net", "--mount", *locked], folder, lambda _: path.is_socket()):
            used(path)
        assert "Read-only file system" in (folder / "refused").read_text(encoding="utf-8")


def calls(name: str) -> set[str]:
    """The system calls of one of systemd's sets."""
    said = analyze("syscall-filter", name).splitlines()
    words = [line.strip() for line in said if line.startswith("    ")]
    found = {word for word in words if not word.startswith(("#", "@"))}
    return found.union(*(calls(word) for word in words if word.startswith("@")))


def test_sandbox_of_the_unit() -> None:
    """The unit lets the server do what it does, and no more: system calls, kinds of sockets."""
    strace = program("strace")
    unit = (RUN / "picoauth.service").read_text(encoding="utf-8")
    assert ["@system-service", "~@privileged"] == re.findall(r"SystemCallFilter=(.*)", unit)
    assert ["AF_UNIX"] == re.findall(r"RestrictAddressFamilies=(.*)", unit)
    allowed = calls("@system-service") - calls("@privileged")
    with short_folder() as folder:
        (folder / "picoauth.toml").write_text(SETTINGS, encoding="utf-8")
        trace = folder / "trace"
        command = [strace, "-f", "-s", "0", "-o", str(trace), PICOAUTH, "serve"]
        with running(command, folder, lambda said: "/auth/login" in said):
            used(folder / "picoauth.sock")
        text = trace.read_text(encoding="utf-8", errors="replace")
    made = set(re.findall(r"^\d+ +(\w+)\(", text, re.MULTILINE))
    as_root = {"fchown"}  # SQLite gives new files to the owner of the database, if it may
    making = {"chown"}  # of its own socket's group, where systemd hands none over
    assert {"accept4", "setpriority", "openat"} <= made
    assert set() == made - allowed - as_root - making
    assert {"AF_UNIX"} == set(re.findall(r"\bsocket(?:pair)?\((\w+)", text))


@pytest.mark.parametrize("flag", [True, False])
def test_address_under_uvicorn(flag: bool) -> None:  # noqa: FBT001
    """With the flag of the page a client cannot choose its address; without it, it can."""
    [command] = re.findall(r"uvicorn (--no-proxy-headers) --port 8100 (asgi:app)", PAGE)
    [source] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    option, app = command
    port = free_port()
    uvicorn = str(Path(sys.executable).with_name("uvicorn"))
    with short_folder() as folder:
        (folder / "asgi.py").write_text(source, encoding="utf-8")
        (folder / "picoauth.toml").write_text(SETTINGS, encoding="utf-8")
        line = [uvicorn, *([option] if flag else []), "--port", str(port), app]
        with (
            running(line, folder, lambda said: "Uvicorn running" in said),
            httpx.Client(base_url=f"http://127.0.0.1:{port}") as client,
        ):
            client.post("/auth/register", json=ANN)
            claim = {"X-Forwarded-For": "203.0.113.9"}
            token = client.post("/auth/login", json=ANN, headers=claim).json()["access_token"]
            bearer = {"Authorization": f"Bearer {token}"}
            [session] = client.get("/auth/sessions", headers=bearer).json()["sessions"]
    assert ("127.0.0.1" if flag else "203.0.113.9") == session["address"]
