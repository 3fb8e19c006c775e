"""nginx and Caddy by files of ours, with TLS on loopback, before a picoauth on a socket."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.processes import accepts, program, running


@dataclass(frozen=True)
class Setup:
    """What is changed in our files for a test."""

    ours: Path
    """Where they are."""
    folder: Path
    """Where picoauth has its socket."""
    host: str
    port: int
    pair: tuple[Path, Path]
    """Files of a certificate and of its key."""
    more: Mapping[str, str] = field(default_factory=dict)
    """Further texts, and what stands in their place."""


def changed(file: Path, changes: Mapping[str, str]) -> str:
    """A file of ours with its paths and ports changed to those of a test."""
    text = file.read_text(encoding="utf-8")
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    return text


@contextmanager
def nginx(setup: Setup) -> Iterator[None]:
    (chain, key), folder = setup.pair, setup.folder
    changes = {
        "listen 443 ssl;": f"listen 127.0.0.1:{setup.port} ssl;",
        "listen [::]:443 ssl;": "",
        "/run/picoauth/picoauth.sock": f"{folder}/picoauth.sock",
        "/etc/ssl/picoauth/fullchain.pem": str(chain),
        "/etc/ssl/picoauth/privkey.pem": str(key),
    }
    site = changed(setup.ours / "nginx.conf", {**changes, **setup.more})
    (folder / "site.conf").write_text(site, encoding="utf-8")
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    types = "types { text/html html; text/javascript js; text/css css; }"
    main = f"daemon off; master_process off; pid {folder}/nginx.pid; events {{}}"
    whole = f"{main} http {{ access_log off; {types} {paths} include {folder}/site.conf; }}"
    (folder / "nginx.conf").write_text(whole, encoding="utf-8")
    command = [program("nginx"), "-p", str(folder), "-c", f"{folder}/nginx.conf", "-e", "stderr"]
    with running(command, folder, lambda _: accepts(setup.port)):
        yield


@contextmanager
def caddy(setup: Setup) -> Iterator[None]:
    (chain, key), folder = setup.pair, setup.folder
    changes = {
        f"\n{setup.host} {{": (
            "\n{\n admin off\n auto_https disable_redirects\n}\n"
            f"https://{setup.host}:{setup.port} {{\n bind 127.0.0.1\n tls {chain} {key}"
        ),
        "/run/picoauth/picoauth.sock": f"{folder}/picoauth.sock",
    }
    site = changed(setup.ours / "Caddyfile", {**changes, **setup.more})
    (folder / "Caddyfile").write_text(site, encoding="utf-8")
    command = [program("caddy"), "run", "--config", f"{folder}/Caddyfile", "--adapter", "caddyfile"]
    homes = {name: str(folder) for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME")}
    with running(command, folder, lambda _: accepts(setup.port), homes):
        yield


FRONTS: Mapping[str, Callable[[Setup], AbstractContextManager[None]]] = {
    "nginx": nginx,
    "caddy": caddy,
}
