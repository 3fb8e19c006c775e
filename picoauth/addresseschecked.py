"""The doctor's look at addresses: who can reach the server, and whether it can listen."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from collections.abc import Sequence
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from picoauth.banner import absolute
from picoauth.checks import Check, plain
from picoauth.client import PATIENCE, UnixConnection, exchange
from picoauth.errors import ConfigError
from picoauth.formats import LOOPBACK
from picoauth.listeners import numeric
from picoauth.settings import Config
from picoauth.socketfiles import check_length, group_id, live, no_socket, reason

OTHERS = 0o002
"""Who may write to a unix socket may connect to it (unix(7))."""
LOCAL = {"Host": "localhost"}
"""A name that every server answers to."""
WIDEST = {4: 8, 6: 7}
"""Bits of 10.0.0.0/8 and fc00::/7: no network of one's own is larger."""
WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - it is the server that listens there


class Addresses:
    """Where a server listens, and whom it believes."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.all = absolute(config, [*config.bind, *config.admin_bind])
        self.unix = [Path(address[5:]) for address in self.all if address.startswith("unix:")]
        self.networks = [
            ipaddress.ip_network(name) for name in config.trusted_proxies if name != "unix"
        ]

    def checks(self) -> Sequence[Check]:
        return [
            plain("trusted-proxies", "danger", self.trusting),
            plain("listeners", "danger", self.listening),
            plain("socket-mode", "warning", self.socket_mode),
            plain("open-port", "warning", self.open_port),
            plain("client-addresses", "advice", self.blind),
        ]

    def trusting(self) -> str | None:
        wide = [str(net) for net in self.networks if net.prefixlen < WIDEST[net.version]]
        if not wide:
            return None
        return (
            f"`trusted_proxies` believes strangers ({', '.join(wide)}), who can then claim any "
            "address: list the addresses of your own proxies alone."
        )

    def listening(self) -> str | None:
        """What would stop the server from listening, unless it is the server that listens."""
        try:
            if self.unix:
                group_id(self.config.socket_group)
            for address in self.all:
                check(address)
        except ConfigError as error:
            return str(error)
        return None

    def socket_mode(self) -> str | None:
        """A socket of systemd's has the mode of its unit, and not that of the settings."""
        modes = [path.stat().st_mode for path in self.unix if path.is_socket()]
        wanted = [int(self.config.socket_mode, 8)] if self.unix else []
        if not any(mode & OTHERS for mode in (*modes, *wanted)):
            return None
        more = ", and claim any address" if "unix" in self.config.trusted_proxies else ""
        return (
            f"Every user of this machine can connect to the socket past your proxy{more}: "
            'set socket_mode = "0660" (SocketMode= in a unit of systemd), and `socket_group` to '
            "the group of the proxy."
        )

    def open_port(self) -> str | None:
        """Behind a proxy in another container there has to be an open port: then one is trusted."""
        found = [address for address in self.all if is_open(address)]
        if not found or self.networks:
            return None
        return (
            f"{' and '.join(found)} can be reached from other machines, without TLS: listen on "
            "127.0.0.1 or on a unix socket, or list your proxy's address in `trusted_proxies`."
        )

    def blind(self) -> str | None:
        if not self.unix or "unix" in self.config.trusted_proxies:
            return None
        return (
            "Who comes through the unix socket has no address, so that sessions show none: if "
            'only your proxy can connect to it, put "unix" into `trusted_proxies`.'
        )


def is_open(address: str) -> bool:
    """Other machines may get there."""
    if address.startswith("unix:"):
        return False
    host = address.removeprefix("tcp:").rpartition(":")[0].strip("[]")
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host not in LOOPBACK


def check(address: str) -> None:
    """Raises ConfigError."""
    if address.startswith("unix:"):
        check_path(Path(address[5:]))
    else:
        check_port(address)


def check_path(path: Path) -> None:
    """Raises ConfigError, worded as by the server, where a unix socket could not be made."""
    check_length(path)
    try:
        if not path.exists():
            check_folder(path.parent)
        elif not path.is_socket():
            raise no_socket(path)
        elif not (is_systems(path) or is_ours(UnixConnection(str(path)))):
            raise live(path)
    except ConnectionRefusedError:
        return  # it is of a server that died, and the next one removes it
    except OSError as error:
        raise ConfigError(f"bind: unix:{path} {reason(error)}") from error


def is_systems(path: Path) -> bool:
    """A socket of root's that this user may not connect to: systemd made it, for the proxy alone."""
    return path.stat().st_uid == 0 and not os.access(path, os.W_OK, effective_ids=True)


def check_folder(folder: Path) -> None:
    """Raises OSError where no file can be made."""
    os.stat(f"{folder}/.")  # noqa: PTH116 - a Path would drop the dot, which asks for a folder
    if not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
        raise PermissionError(errno.EACCES, "")


def check_port(address: str) -> None:
    """Raises ConfigError, worded as by the server, where it could not listen on a port."""
    host, port = numeric(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((host, port))  # and never listen: a server that starts meanwhile may
    except OSError as error:
        used = error.errno == errno.EADDRINUSE
        if not (
            used and is_ours(HTTPConnection(WILDCARDS.get(host, host), port, timeout=PATIENCE))
        ):
            raise ConfigError(f"bind: {address} {reason(error)}") from error


def is_ours(connection: HTTPConnection) -> bool:
    """Whether whoever listens there is a picoauth. Raises OSError where nobody does."""
    with closing(connection):
        connection.connect()
        try:
            return "ready" in exchange(connection, "GET", "/health-check", headers=LOCAL).json
        except (OSError, HTTPException):
            return False
