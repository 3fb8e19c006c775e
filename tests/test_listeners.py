"""Addresses and their sockets: what is made, what is taken over, what is refused and how."""

from __future__ import annotations

import errno
import fcntl
import grp
import os
import re
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from picoauth.errors import ConfigError
from picoauth.listeners import Bind, Sockets, open_sockets
from picoauth.socketfiles import BACKLOG
from tests.wire import short_folder

NOBODY = 65534


@pytest.fixture
def folder() -> Iterator[Path]:
    with short_folder() as made:
        yield made


@contextmanager
def unprivileged() -> Iterator[None]:
    """As a user who may not do everything."""
    before = os.geteuid()
    os.seteuid(NOBODY if before == 0 else before)
    try:
        yield
    finally:
        os.seteuid(before)


def opened(*public: str, admin: Sequence[str] = (), **more: Any) -> Sockets:
    return open_sockets(Bind(public, admin, **more), {})


def refusal(*public: str, **more: Any) -> str:
    """The sentence that an address is refused with."""
    with pytest.raises(ConfigError) as caught:
        opened(*public, **more)
    return str(caught.value)


def unix_socket(path: Path, *, listening: bool) -> socket.socket:
    """A socket that another process might have at a path."""
    other = socket.socket(socket.AF_UNIX)
    other.bind(str(path))
    if listening:
        other.listen()
    return other


def answers(sockets: Sockets, number: int = 0) -> bool:
    """Whether one can connect to a public socket."""
    sock = sockets.by_listener["public"][number]
    with socket.socket(sock.family) as client:
        client.connect(sock.getsockname())
        accepted, _ = sock.accept()
        accepted.close()
    return True


def test_unix_and_tcp_at_once(folder: Path) -> None:
    """All addresses listen, and are shown as a person can reach them."""
    with opened(f"unix:{folder}/s", "tcp:127.0.0.1:0", admin=(f"unix:{folder}/a",)) as sockets:
        assert ["public", "admin"] == list(sockets.by_listener)
        port = sockets.by_listener["public"][1].getsockname()[1]
        assert [f"unix:{folder}/s", f"http://127.0.0.1:{port}", f"unix:{folder}/a"] == (
            sockets.addresses()
        )
        assert answers(sockets, 0)
        assert answers(sockets, 1)


@pytest.mark.parametrize("address", ["tcp:[::1]:0", "tcp:::1:0"])
def test_ipv6(address: str) -> None:
    """An IPv6 address may have brackets, and is shown with them."""
    if not socket.has_ipv6 or not Path("/proc/net/if_inet6").exists():
        pytest.skip("this machine has no IPv6")
    with opened(address) as sockets:
        assert re.fullmatch(r"http://\[::1\]:\d+", sockets.addresses()[0])


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666])
def test_mode_and_group(folder: Path, mode: int) -> None:
    """The socket's file has the mode and group of the settings."""
    group = grp.getgrgid(os.getegid())
    with opened(f"unix:{folder}/s", socket_mode=mode, socket_group=group.gr_name):
        made = (folder / "s").stat()
        assert mode == stat.S_IMODE(made.st_mode)
        assert group.gr_gid == made.st_gid


def test_private_until_the_mode_is_set(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between its making and its mode nobody else may connect; the umask is as before."""
    seen = []
    chown = os.chown

    def spying(path: Path, *ids: int) -> None:
        seen.append(stat.S_IMODE(path.stat().st_mode))
        chown(path, *ids)

    monkeypatch.setattr(os, "chown", spying)
    before = os.umask(0o022)
    try:
        with opened(f"unix:{folder}/s"):
            assert [0o600] == seen
        assert 0o022 == os.umask(0o022)
    finally:
        os.umask(before)


def test_a_socket_outlasts_bursts(folder: Path) -> None:
    """Hundreds may wait to be accepted."""
    with opened(f"unix:{folder}/s"), ExitStack() as stack:
        for _ in range(BACKLOG):
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.setblocking(False)
            client.connect(f"{folder}/s")


@pytest.mark.parametrize(
    "address",
    [
        "",
        "unix:",
        "unix:a\0b",
        "tcp:",
        "tcp:8100",
        "tcp::8100",
        "tcp:localhost",
        "tcp:localhost:http",
        "tcp:localhost:-1",
        "tcp:localhost:²",
        "tcp:localhost:65536",
        "tcp:localhost:99999999999",
        "tcp:\u00fc:1",
        "tcp:a b:1",
        "http://localhost:8100",
        "localhost:8100",
        "/run/picoauth.sock",
    ],
)
def test_bad_address(address: str) -> None:
    """What is no address is refused with two that are."""
    assert (
        f"bind: {address!r} is no address: write unix:/path/to.sock or tcp:127.0.0.1:8100."
        == refusal(address)
    )


def test_occupied_port() -> None:
    """A port on which somebody listens is refused."""
    with opened("tcp:127.0.0.1:0") as sockets:
        port = sockets.by_listener["public"][0].getsockname()[1]
        assert (
            f"bind: tcp:127.0.0.1:{port} is in use: stop what listens there, "
            "or choose another port."
        ) == refusal(f"tcp:127.0.0.1:{port}")


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        (
            "tcp:192.0.2.1:0",
            "bind: tcp:192.0.2.1:0 is no address of this machine: choose one that is.",
        ),
        (
            "tcp:a..b:0",
            "bind: tcp:a..b:0 has no address: write it as a number.",
        ),
        ("unix:{0}/none/s", "bind: unix:{0}/none/s has no folder: make it."),
        (
            "unix:{0}/file/s",
            "bind: unix:{0}/file/s has a file where its folder should be: choose another path.",
        ),
        (
            "unix:{0}/file",
            "bind: {0}/file exists and is no socket: move it away, or choose another path.",
        ),
        (
            "unix:{0}/link",
            "bind: {0}/link exists and is no socket: move it away, or choose another path.",
        ),
        (
            "unix:{0}/" + "x" * 100,
            "bind: unix:{0}/" + "x" * 100 + " is longer than 107 bytes, "
            "which no socket may be: choose a shorter path.",
        ),
        (
            "unix:{0}/packets",
            "bind: unix:{0}/packets does not work: Protocol wrong type for socket.",
        ),
    ],
)
def test_unusable_address(folder: Path, address: str, sentence: str) -> None:
    """One sentence says what is wrong and what to do, and nothing is removed or left."""
    (folder / "file").write_text("precious")
    (folder / "link").symlink_to(folder / "nowhere")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as packets:
        packets.bind(str(folder / "packets"))
        before = sorted(folder.iterdir())
        assert sentence.format(folder) == refusal(address.format(folder))
        assert before == sorted(folder.iterdir())
    assert "precious" == (folder / "file").read_text()


def test_longest_path(folder: Path) -> None:
    """A path of exactly 107 bytes works."""
    path = f"{folder}/{'x' * (106 - len(str(folder)))}"
    with opened(f"unix:{path}") as sockets:
        assert 107 == len(path)
        assert answers(sockets)


def test_no_such_group(folder: Path) -> None:
    """A group that does not exist is refused."""
    assert "socket_group: there is no group nobody-knows-it: make it, or name another." == refusal(
        f"unix:{folder}/s", socket_group="nobody-knows-it"
    )


def test_group_of_others(folder: Path) -> None:
    """A group that the user is not in is refused, and the socket is gone again."""
    folder.chmod(0o777)
    other = next(g for g in grp.getgrall() if g.gr_gid not in {*os.getgroups(), os.getegid()})
    with unprivileged():
        assert (
            f"bind: unix:{folder}/s cannot be given to that group by this user: join the group."
            == refusal(f"unix:{folder}/s", socket_group=other.gr_name)
        )
    assert [] == list(folder.iterdir())


def test_missing_permission(folder: Path) -> None:
    """A folder in which the user may not write is refused."""
    folder.chmod(0o555)
    with unprivileged():
        sentence = refusal(f"unix:{folder}/s")
    assert (
        f"bind: unix:{folder}/s is not permitted to this user: "
        "choose another, or give the permission."
    ) == sentence


def test_read_only_file_system(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that cannot be written is refused."""

    def read_only(*_: object) -> int:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "open", read_only)
    assert f"bind: unix:{folder}/s is on a read-only file system: choose another path." == refusal(
        f"unix:{folder}/s"
    )


def test_stale_socket_is_replaced(folder: Path) -> None:
    """What a server that was killed left, socket and lock, is no hindrance."""
    unix_socket(folder / "s", listening=True).close()
    (folder / "s.lock").touch()
    with opened(f"unix:{folder}/s") as sockets:
        assert answers(sockets)


def test_stale_socket_that_vanishes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stale socket that somebody else removes just then is as good as none."""
    unix_socket(folder / "s", listening=True).close()

    def vanished(mode: int) -> bool:
        (folder / "s").unlink()
        return bool(mode)

    monkeypatch.setattr(stat, "S_ISSOCK", vanished)
    with opened(f"unix:{folder}/s") as sockets:
        assert answers(sockets)


def live(folder: Path) -> str:
    return f"bind: unix:{folder}/s is served by another process: stop that one first."


def test_live_socket_is_refused(folder: Path) -> None:
    """A socket that a server of ours serves is not taken from it."""
    with opened(f"unix:{folder}/s") as sockets:
        assert live(folder) == refusal(f"unix:{folder}/s")
        assert answers(sockets)


@pytest.mark.parametrize("waiting", [0, 2])
def test_live_socket_of_others_is_refused(folder: Path, waiting: int) -> None:
    """Nor is that of any other program, even if it cannot accept more connections now."""
    with unix_socket(folder / "s", listening=False) as other, ExitStack() as stack:
        other.listen(0)
        for _ in range(waiting):
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.setblocking(False)
            client.connect_ex(str(folder / "s"))
        assert live(folder) == refusal(f"unix:{folder}/s")
        assert (folder / "s").is_socket()


def test_starting_server_is_refused(folder: Path) -> None:
    """Of two servers that start at once, the one that comes second to the lock does not go on."""
    unix_socket(folder / "s", listening=True).close()
    with (folder / "s.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert live(folder) == refusal(f"unix:{folder}/s")
    assert (folder / "s").is_socket()


def test_lock_that_is_removed_meanwhile(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock whose file a stopping server has just removed protects nothing: it does not count."""
    flock = fcntl.flock

    def late(descriptor: int, how: int) -> None:
        (folder / "s.lock").unlink()
        flock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", late)
    assert live(folder) == refusal(f"unix:{folder}/s")


RACER = """
import sys
from picoauth.errors import ConfigError
from picoauth.listeners import Bind, open_sockets
print("up", flush=True)
for line in sys.stdin:
    try:
        sockets = open_sockets(Bind([sys.argv[1]]), {})
    except ConfigError as error:
        print(error, flush=True)
        next(sys.stdin)
    else:
        print("listening", flush=True)
        next(sys.stdin)
        sockets.close()
    print("closed", flush=True)
"""


def test_servers_that_start_at_the_same_moment(folder: Path) -> None:
    """Exactly one of two gets a path with a stale socket, round after round."""
    command = [sys.executable, "-c", RACER, f"unix:{folder}/s"]
    with ExitStack() as stack:
        racers = [
            stack.enter_context(
                subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
                )
            )
            for _ in range(2)
        ]
        assert ["up"] * 2 == heard(racers)
        for _ in range(30):
            unix_socket(folder / "s", listening=True).close()
            told(racers)
            assert [live(folder), "listening"] == sorted(heard(racers))
            told(racers)
            assert ["closed"] * 2 == heard(racers)
            assert [] == list(folder.iterdir())


def told(racers: list[subprocess.Popen[str]]) -> None:
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")


def heard(racers: list[subprocess.Popen[str]]) -> list[str]:
    return [racer.stdout.readline().rstrip("\n") for racer in racers if racer.stdout]


def test_all_or_nothing(folder: Path) -> None:
    """If one address fails, those before it are closed, and their files are gone."""
    with unix_socket(folder / "busy", listening=True):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        sentence = refusal(f"unix:{folder}/s", f"tcp:127.0.0.1:{port}", f"unix:{folder}/busy")
        assert (
            f"bind: unix:{folder}/busy is served by another process: stop that one first."
            == sentence
        )
        with opened(f"tcp:127.0.0.1:{port}"):
            assert [folder / "busy"] == list(folder.iterdir())


def test_closing_removes_the_files(folder: Path) -> None:
    """A server that stops leaves neither socket nor lock, and closing again does nothing."""
    sockets = opened(f"unix:{folder}/s")
    assert [folder / "s", folder / "s.lock"] == sorted(folder.iterdir())
    sockets.close()
    sockets.close()
    assert [] == list(folder.iterdir())


def test_closing_leaves_what_others_made(folder: Path) -> None:
    """A socket that another process has put there meanwhile stays."""
    sockets = opened(f"unix:{folder}/s")
    (folder / "s").unlink()
    with unix_socket(folder / "s", listening=True):
        sockets.close()
        assert [folder / "s"] == list(folder.iterdir())


@pytest.mark.parametrize("gone", ["s", "s.lock"])
def test_closing_after_a_clean_up(folder: Path, gone: str) -> None:
    """A file that somebody has removed is no error."""
    sockets = opened(f"unix:{folder}/s")
    (folder / gone).unlink()
    sockets.close()
    assert [] == list(folder.iterdir())


class Handed:
    """Descriptors as systemd hands them over, from `first` on."""

    first = 700

    def __init__(self) -> None:
        self.stack = ExitStack()

    def environment(self, *socks: socket.socket, **more: str) -> dict[str, str]:
        for number, sock in enumerate(socks):
            os.dup2(sock.fileno(), self.first + number)
        return {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(socks)), **more}


@pytest.fixture
def handed(monkeypatch: pytest.MonkeyPatch) -> Handed:
    """Descriptors count from a number that is free in this process."""
    monkeypatch.setattr("picoauth.listeners.FIRST_INHERITED", Handed.first)
    return Handed()


def test_sockets_of_systemd(folder: Path, handed: Handed) -> None:
    """They take the place of the settings' addresses; the one named `admin` is for that."""
    with (
        unix_socket(folder / "p", listening=True) as public,
        unix_socket(folder / "a", listening=True) as admin,
    ):
        environment = handed.environment(public, admin, public, LISTEN_FDNAMES="web:admin")
        bind = Bind([f"unix:{folder}/unused"], [f"unix:{folder}/unused"])
        with open_sockets(bind, environment) as sockets:
            assert [f"unix:{folder}/p", f"unix:{folder}/p"] == [
                f"unix:{sock.getsockname()}" for sock in sockets.by_listener["public"]
            ]
            assert [f"unix:{folder}/p", f"unix:{folder}/p", f"unix:{folder}/a"] == (
                sockets.addresses()
            )
            assert {} == environment
            everyone = [sock for socks in sockets.by_listener.values() for sock in socks]
            assert [False] * 3 == [os.get_inheritable(sock.fileno()) for sock in everyone]
        assert [folder / "a", folder / "p"] == sorted(folder.iterdir())


def test_only_the_admin_socket_of_systemd(folder: Path, handed: Handed) -> None:
    """A listener that gets none makes its own."""
    with unix_socket(folder / "a", listening=True) as admin:
        environment = handed.environment(admin, LISTEN_FDNAMES="admin")
        with open_sockets(Bind([f"unix:{folder}/s"]), environment) as sockets:
            assert [f"unix:{folder}/a", f"unix:{folder}/s"] == sockets.addresses()


def test_sockets_for_another_process(folder: Path, handed: Handed) -> None:
    """What is meant for a parent is not ours, and not our children's either."""
    with unix_socket(folder / "p", listening=True) as public:
        environment = handed.environment(public, LISTEN_PID=str(os.getppid()))
        with open_sockets(Bind([f"unix:{folder}/s"]), environment) as sockets:
            assert [f"unix:{folder}/s"] == sockets.addresses()
            assert {} == environment
        os.close(Handed.first)


def unit_sentence(number: int) -> str:
    return (
        f"LISTEN_FDS: descriptor {number} is no listening socket: "
        "use ListenStream= in the socket unit."
    )


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET])
def test_wrong_socket_of_systemd(handed: Handed, kind: socket.SocketKind) -> None:
    """A socket on which no stream can be accepted is refused, and closed."""
    with socket.socket(socket.AF_UNIX, kind) as wrong:
        if kind == socket.SOCK_SEQPACKET:
            wrong.bind("")
            wrong.listen()
        with pytest.raises(ConfigError) as caught:
            open_sockets(Bind([]), handed.environment(wrong))
        assert unit_sentence(Handed.first) == str(caught.value)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(Handed.first)


def test_missing_socket_of_systemd(folder: Path, handed: Handed) -> None:
    """A descriptor that is not open is refused, and those before it are closed."""
    with unix_socket(folder / "p", listening=True) as public:
        environment = handed.environment(public, LISTEN_FDS="2")
        with pytest.raises(ConfigError) as caught:
            open_sockets(Bind([]), environment)
    assert unit_sentence(Handed.first + 1) == str(caught.value)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(Handed.first)


def test_bad_number_of_sockets(handed: Handed) -> None:
    """A number that is none is refused."""
    with pytest.raises(ConfigError) as caught:
        open_sockets(Bind([]), handed.environment(LISTEN_FDS="many"))
    assert "LISTEN_FDS: 'many' is no number of descriptors: set it to one." == str(caught.value)
