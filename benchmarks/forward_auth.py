"""What it costs that nginx asks picoauth about each request.

nginx by the shipped configuration, over TLS, before a bare Quart route and a bare ASGI route
(bare.py): once protected, once with the lines about picoauth taken out. CPU of all processes
(nginx, picoauth over its unix socket, the route) for each request, user and system, over 16
keep-alive connections; least of ten interleaved runs. picoauth is asked by a cookie, and by an
access token. Beside it the time of one request after the other, where nothing else runs.

The shipped configuration keeps its connections to picoauth, and opens one for each request to
the application. The Quart route is asked once more over connections that are kept, which is
the least that a request through nginx can cost.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from client import Client
from measure import PICOAUTH, Figure, Server, folder, free_port, main, person, register, settled

EXAMPLES = Path(__file__).parent.parent / "plugins/picoauth-forward-auth/examples"
BARE = Path(__file__).with_name("bare.py")
CONNECTIONS, RUNS, REQUESTS = 16, 10, 1000
HOST = "wiki.example.com"
SETTINGS = f"""
trusted_proxies = ["unix"]
[forward-auth]
hosts = ["{HOST}"]
"""
MAIN = """
daemon off; master_process off; pid nginx.pid; error_log stderr;
events {}
http {
    access_log off;
    keepalive_requests 1000000;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    include picoauth.conf;
}
"""


class TlsClient(Client):
    """One connection to nginx."""

    def __init__(self, port: int) -> None:
        super().__init__(f"http://127.0.0.1:{port}")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.socket = context.wrap_socket(self.socket, server_hostname=HOST)


def work(quick: bool) -> Sequence[Figure]:  # noqa: FBT001 - what the command line says
    runs = 3 if quick else RUNS
    with folder() as path:
        for name in ("picoauth", "quart", "asgi"):
            (path / name).mkdir()
        with (
            authenticating(path / "picoauth") as picoauth,
            bare(path / "quart", "quart") as quart,
            bare(path / "asgi", "asgi") as asgi,
            proxying(path, picoauth, {"quart": quart, "kept": quart, "asgi": asgi}) as proxy,
        ):
            nginx, ports = proxy
            credentials = logged_in(picoauth)
            found: dict[tuple[str, str], list[float]] = {}
            alone: dict[tuple[str, str], list[float]] = {}
            for _ in range(runs):
                for page, server in [("quart", quart), ("kept", quart), ("asgi", asgi)]:
                    for how, raw in credentials.items():
                        port = ports[page, how != "plain"]
                        key, processes = (page, how), [nginx, server, picoauth]
                        found.setdefault(key, []).append(per_request(port, raw, processes))
                        alone.setdefault(key, []).append(one_by_one(port, raw))
    costs = {key: min(each) for key, each in found.items()}
    times = {key: min(each) for key, each in alone.items()}
    return figures(costs, times)


def figures(
    costs: Mapping[tuple[str, str], float], times: Mapping[tuple[str, str], float]
) -> Sequence[Figure]:
    rows = [Figure("a Quart page through nginx alone", costs["quart", "plain"], "µs")]
    for how in ("cookie", "token"):
        rows += [
            Figure(f"  protected, by {how}", costs["quart", how], "µs"),
            Figure("    by nginx alone", costs["quart", how] / costs["quart", "plain"], most=2),
        ]
    rows += [
        Figure("  time of one after the other", times["quart", "plain"], "µs"),
        Figure("    protected, by cookie", times["quart", "cookie"] / times["quart", "plain"]),
    ]
    for page, name in [("kept", "the same, over kept connections"), ("asgi", "a bare ASGI page")]:
        rows += [
            Figure(f"{name}, nginx alone", costs[page, "plain"], "µs"),
            Figure("  protected, by cookie", costs[page, "cookie"], "µs"),
            Figure("    by nginx alone", costs[page, "cookie"] / costs[page, "plain"]),
            Figure("    in time", times[page, "cookie"] / times[page, "plain"]),
        ]
    return rows


@contextlib.contextmanager
def stopping(server: Server) -> Iterator[Server]:
    try:
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def authenticating(path: Path) -> Iterator[Server]:
    """picoauth, on the host that is protected, so that no hop is needed."""
    address = settled(path)
    toml = path / "picoauth.toml"
    text = re.sub(r"public_url = .*", f'public_url = "https://{HOST}"', toml.read_text())
    text = text.replace('"password"', '"password", "forward-auth"')
    start, table, rest = text.partition("\n[")
    toml.write_text(start + SETTINGS + table + rest)
    with stopping(Server([str(PICOAUTH), "serve"], path, address)) as server:
        server.ready()
        yield server


@contextlib.contextmanager
def bare(path: Path, kind: str) -> Iterator[Server]:
    address = f"http://127.0.0.1:{free_port()}"
    with stopping(Server([sys.executable, str(BARE), kind, address], path, address)) as server:
        server.ready()
        yield server


@contextlib.contextmanager
def proxying(
    path: Path, picoauth: Server, pages: Mapping[str, Server]
) -> Iterator[tuple[Server, Mapping[tuple[str, bool], int]]]:
    """nginx, with a port for each page, protected and not."""
    certificate(path)
    upstream, _, protected = (EXAMPLES / "nginx.conf").read_text().split("\nserver {\n")
    plain = re.sub(r".*picoauth.*\n", "", protected)
    conf, ports = [upstream.replace("unix:/run/picoauth/picoauth.sock", picoauth.unix)], {}
    for name, page in pages.items():
        for on, text in [(True, protected), (False, plain)]:
            ports[name, on] = port = free_port()
            block = text.replace("listen 443", f"listen 127.0.0.1:{port}")
            if name == "kept":
                where = page.address.removeprefix("http://")
                conf.append(f"upstream kept{port} {{ server {where}; keepalive 16; }}")
                block = block.replace("127.0.0.1:3000", f"kept{port}")
                block = block.replace("$app_connection", '""')
            block = block.replace("http://127.0.0.1:3000", page.address)
            conf.append(f"server {{\n{block.replace('/etc/ssl/example', str(path))}")
    (path / "nginx.conf").write_text(MAIN)
    (path / "picoauth.conf").write_text("\n".join(conf))
    (path / "snippets").mkdir()
    for name in ("picoauth", "picoauth-headers"):
        text = (EXAMPLES / f"nginx-{name}.conf").read_text().replace("auth.example.com", HOST)
        (path / f"snippets/{name}.conf").write_text(text)
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    assert program, "nginx is not installed"
    command = [program, "-p", str(path), "-c", str(path / "nginx.conf"), "-e", "stderr"]
    with stopping(Server(command, path, "")) as nginx:
        for port in ports.values():
            wait(port, nginx)
        yield nginx, ports


def wait(port: int, nginx: Server) -> None:
    while True:
        try:
            TlsClient(port).close()
        except OSError:
            assert nginx.process.poll() is None, nginx.log.read_text()
            time.sleep(0.01)
        else:
            return


def certificate(path: Path) -> None:
    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-x509"]
    names = ["-subj", f"/CN={HOST}", "-keyout", f"{path}/key.pem", "-out", f"{path}/cert.pem"]
    subprocess.run(["openssl", "req", *new, *names], check=True, capture_output=True)


def logged_in(picoauth: Server) -> Mapping[str, bytes]:
    """The request to the letter: of nobody, where nobody asks; by cookie; by token."""
    register(picoauth, ["ann"])
    client = picoauth.client()
    token = client.ask("POST", "/auth/login", person("ann"))["access_token"]
    body = f'{{"username": "ann", "password": "{person("ann")["password"]}", "session": "cookie"}}'
    head = f"POST /auth/login HTTP/1.1\r\nhost: localhost\r\norigin: https://{HOST}\r\n"
    client.send(
        f"{head}content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode()
    )
    while b"set-cookie: " not in client.rest:
        client.more()
    [cookie] = re.findall(rb"set-cookie: ([^;]+)", client.rest)
    client.close()
    start = f"GET /health-check HTTP/1.1\r\nhost: {HOST}\r\n".encode()
    return {
        "plain": start + b"\r\n",
        "cookie": start + b"cookie: " + cookie + b"\r\n\r\n",
        "token": start + f"authorization: Bearer {token}\r\n\r\n".encode(),
    }


def per_request(port: int, raw: bytes, processes: Sequence[Server]) -> float:
    """Microseconds of CPU of all processes for each of `REQUESTS`."""
    clients = [TlsClient(port) for _ in range(CONNECTIONS)]
    for client in clients:
        asked(client, raw)
    began = sum(process.cpu() for process in processes)
    for _ in range(0, REQUESTS, CONNECTIONS):
        for client in clients:
            client.send(raw)
        for client in clients:
            assert client.receive().status == 200
    spent = sum(process.cpu() for process in processes) - began
    for client in clients:
        client.close()
    return spent / (-(-REQUESTS // CONNECTIONS) * CONNECTIONS) * 1e6


def one_by_one(port: int, raw: bytes) -> float:
    """Microseconds from a request to its answer; the median of many."""
    client, spans = TlsClient(port), []
    for _ in range(200):
        began = time.perf_counter()
        asked(client, raw)
        spans.append(time.perf_counter() - began)
    client.close()
    return sorted(spans)[len(spans) // 2] * 1e6


def asked(client: Client, raw: bytes) -> None:
    client.send(raw)
    answer = client.receive()
    assert answer.status == 200, answer


if __name__ == "__main__":
    main(__doc__, work)
