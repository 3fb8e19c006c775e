"""The sockets that the server listens on: made, checked, inherited, and removed again."""

from __future__ import annotations

import errno
import fcntl
import grp
import os
import socket
import stat
from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from picoauth.errors import ConfigError
from picoauth.routes import Listener

BACKLOG = 512
FIRST_INHERITED = 3
"""sd_listen_fds(3): descriptors count from here."""
LONGEST_PATH = 107
"""Bytes of the path of a unix socket (unix(7))."""


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
        self.stack.close()

    def add(self, listener: Listener, sock: socket.socket) -> None:
        self.by_listener.setdefault(listener, []).append(self.stack.enter_context(sock))

    def addresses(self) -> list[str]:
        return [address(sock) for socks in self.by_listener.values() for sock in socks]


def open_sockets(bind: Bind, environment: MutableMapping[str, str] = os.environ) -> Sockets:
    """Take what systemd hands over, and make the rest: all of it or nothing. Raises ConfigError."""
    sockets = Sockets()
    try:
        for listener, inherited_socket in inherited(environment):
            sockets.add(listener, inherited_socket)
        wanted: Sequence[tuple[Listener, Sequence[str]]] = (
            ("public", bind.public),
            ("admin", bind.admin),
        )
        for listener, addresses in wanted:
            if listener not in sockets.by_listener:
                for each in addresses:
                    sockets.add(listener, made(each, bind, sockets.stack))
    except BaseException:
        sockets.stack.close()
        raise
    return sockets


def inherited(environment: MutableMapping[str, str]) -> Iterator[tuple[Listener, socket.socket]]:
    """Socket activation (sd_listen_fds(3)); those named `admin` are for administration."""
    count, pid = environment.pop("LISTEN_FDS", "0"), environment.pop("LISTEN_PID", "")
    names = environment.pop("LISTEN_FDNAMES", "").split(":")
    if pid != str(os.getpid()):
        return
    for number in range(int(count)):
        name = names[number] if number < len(names) else ""
        sock = socket.socket(fileno=FIRST_INHERITED + number)
        yield ("admin" if name == "admin" else "public"), sock


def made(address: str, bind: Bind, stack: ExitStack) -> socket.socket:
    kind, _, rest = address.partition(":")
    if kind == "unix" and rest:
        return unix(Path(rest), bind, stack)
    host, colon, port = rest.rpartition(":")
    if kind != "tcp" or not colon or not port.isdigit() or int(port) > 65535:  # noqa: PLR2004
        raise ConfigError(
            f"bind: {address!r} is no address: write unix:/path/to.sock or tcp:127.0.0.1:8100."
        )
    return tcp(host.strip("[]"), int(port))


def tcp(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.bind((host, port))
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise ConfigError(f"bind: tcp:{host}:{port} {reason(error)}") from error
    return sock


def unix(path: Path, bind: Bind, stack: ExitStack) -> socket.socket:
    if len(os.fsencode(path)) > LONGEST_PATH:
        raise ConfigError(
            f"bind: unix:{path} is longer than {LONGEST_PATH} bytes, which no socket may be: "
            "choose a shorter path."
        )
    group = group_id(bind.socket_group)
    stack.enter_context(locked(path))
    remove_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        bind_privately(sock, path)
        stack.callback(remove_own, path, path.stat().st_ino)
        os.chown(path, -1, group)
        path.chmod(bind.socket_mode)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise ConfigError(f"bind: unix:{path} {reason(error)}") from error
    return sock


def bind_privately(sock: socket.socket, path: Path) -> None:
    """At no moment may others connect: the mode that is set comes later."""
    before = os.umask(0o177)
    try:
        sock.bind(str(path))
    finally:
        os.umask(before)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """One server per path: of two that find a stale socket at once, one goes on."""
    lock = Path(f"{path}.lock")
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise ConfigError(f"bind: unix:{path} {reason(error)}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise live(path) from error
    try:
        yield
    finally:
        os.close(descriptor)


def remove_stale(path: Path) -> None:
    """Remove the socket of a server that died. Raises ConfigError for anything else."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigError(f"bind: unix:{path} {reason(error)}") from error
    if not stat.S_ISSOCK(mode):
        raise ConfigError(
            f"bind: {path} exists and is no socket: move it away, or choose another path."
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
        except OSError as error:
            raise ConfigError(f"bind: unix:{path} {reason(error)}") from error
    raise live(path)


def live(path: Path) -> ConfigError:
    return ConfigError(f"bind: unix:{path} is served by another process: stop that one first.")


def remove_own(path: Path, inode: int) -> None:
    with suppress(FileNotFoundError):
        if os.lstat(path).st_ino == inode:
            path.unlink()


def group_id(name: str | None) -> int:
    if name is None:
        return -1
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError as error:
        raise ConfigError(
            f"socket_group: there is no group {name}: make it, or name another."
        ) from error


def reason(error: OSError) -> str:
    remedies = {
        errno.EADDRINUSE: "is in use: stop what listens there, or choose another port.",
        errno.EACCES: "is not permitted to this user: choose another, or give the permission.",
        errno.EADDRNOTAVAIL: "is no address of this machine: choose one that is.",
        errno.ENOENT: "has no folder: make it.",
        errno.EPERM: "cannot be given to that group by this user: join the group.",
    }
    return remedies.get(error.errno or 0, f"does not work: {error.strerror}.")


def address(sock: socket.socket) -> str:
    """What a person can reach: `unix:/path`, or a URL."""
    name = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        return f"unix:{os.fsdecode(name)}"
    host = f"[{name[0]}]" if sock.family == socket.AF_INET6 else name[0]
    return f"http://{host}:{name[1]}"
