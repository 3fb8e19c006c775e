"""The sockets that the server listens on: made, or inherited; all of them or none."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from picoauth.errors import ConfigError
from picoauth.routes import Listener
from picoauth.socketfiles import BACKLOG, reason, unix

FIRST_INHERITED = 3
"""sd_listen_fds(3): descriptors count from here."""
TCP = re.compile(r"tcp:(?P<host>[\x21-\x7e]+):(?P<port>[0-9]{1,5})")
HIGHEST_PORT = 65535


@dataclass(frozen=True)
class Bind:
    """Where to listen: `unix:/path` and `tcp:host:port`, for the public and for administration."""

    public: Sequence[str]
    admin: Sequence[str] = ()
    socket_mode: int = 0o660
    socket_group: str | None = None


@dataclass
class Sockets:
    """Open sockets by listener; whoever closes them removes the files that it made."""

    by_listener: dict[Listener, list[socket.socket]] = field(default_factory=dict)
    stack: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.stack.close()

    def add(self, listener: Listener, sock: socket.socket) -> None:
        self.by_listener.setdefault(listener, []).append(sock)

    def addresses(self) -> list[str]:
        return [address(sock) for socks in self.by_listener.values() for sock in socks]


def open_sockets(bind: Bind, environment: MutableMapping[str, str] = os.environ) -> Sockets:
    """Take what systemd hands over, and make the rest: all of it or nothing. Raises ConfigError."""
    sockets = Sockets()
    try:
        for listener, sock in inherited(environment, sockets.stack):
            sockets.add(listener, sock)
        wanted: Sequence[tuple[Listener, Sequence[str]]] = (
            ("public", bind.public),
            ("admin", bind.admin),
        )
        for listener, addresses in wanted:
            if listener not in sockets.by_listener:
                for each in addresses:
                    sockets.add(listener, made(each, bind, sockets.stack))
    except BaseException:
        sockets.close()
        raise
    return sockets


def inherited(
    environment: MutableMapping[str, str], stack: ExitStack
) -> Iterator[tuple[Listener, socket.socket]]:
    """Socket activation (sd_listen_fds(3)); those named `admin` are for administration."""
    count, pid = environment.pop("LISTEN_FDS", "0"), environment.pop("LISTEN_PID", "")
    names = environment.pop("LISTEN_FDNAMES", "").split(":")
    if pid != str(os.getpid()):
        return
    if not count.isdecimal():
        raise ConfigError(f"LISTEN_FDS: {count!r} is no number of descriptors: set it to one.")
    for number in range(int(count)):
        name = names[number] if number < len(names) else ""
        sock = adopted(FIRST_INHERITED + number, stack)
        yield ("admin" if name == "admin" else "public"), sock


def adopted(descriptor: int, stack: ExitStack) -> socket.socket:
    try:
        sock = stack.enter_context(socket.socket(fileno=descriptor))
        sock.set_inheritable(False)
        listening = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError:
        listening = False
    if not listening or sock.type != socket.SOCK_STREAM:
        raise ConfigError(
            f"LISTEN_FDS: descriptor {descriptor} is no listening socket: "
            "use ListenStream= in the socket unit."
        )
    return sock


def made(address: str, bind: Bind, stack: ExitStack) -> socket.socket:
    if address.startswith("unix:") and "\0" not in address and address != "unix:":
        return unix(Path(address[5:]), bind.socket_mode, bind.socket_group, stack)
    return tcp(address, *numeric(address), stack)


def numeric(address: str) -> tuple[str, int]:
    """Host and port of a `tcp:` address. Raises ConfigError."""
    found = TCP.fullmatch(address)
    if not found or int(found["port"]) > HIGHEST_PORT:
        raise ConfigError(
            f"bind: {address!r} is no address: write unix:/path/to.sock or tcp:127.0.0.1:8100."
        )
    return found["host"].strip("[]"), int(found["port"])


def tcp(address: str, host: str, port: int, stack: ExitStack) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        sock = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.bind((host, port))
        sock.listen(BACKLOG)
    except OSError as error:
        raise ConfigError(f"bind: {address} {reason(error)}") from error
    return sock


def address(sock: socket.socket) -> str:
    """What a person can reach: `unix:/path`, or a URL."""
    name = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        return f"unix:{os.fsdecode(name)}"
    host = f"[{name[0]}]" if sock.family == socket.AF_INET6 else name[0]
    return f"http://{host}:{name[1]}"
