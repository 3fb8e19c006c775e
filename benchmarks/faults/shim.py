"""A way to a server elsewhere that passes on, refuses, resets in the middle, delays or swallows."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress

__all__ = ["FAULTS", "Shim", "reachable"]

FAULTS = ("refuse", "reset", "late", "slow", "swallow")
DELAYS = {"late": (0, 0.03), "slow": (5, 5)}
"""Seconds for which a part of a message is held back, at least and at most."""
PASSED = 40
"""Parts of messages, at most, that pass before a connection is reset."""


def reachable(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


class Shim:
    """Listens on a port of its own, and passes on what comes, as long as there is no fault.

    `connect` opens a connection to the server. By `chance` it is said after how many parts of
    messages a connection is reset, in the middle of the next one, whose ever that is.
    """

    def __init__(self, connect: Callable[[], socket.socket], chance: random.Random) -> None:
        self.connect, self.chance, self.fault = connect, chance, ""
        self.open: set[socket.socket] = set()
        self.port = 0
        self.listen()

    def listen(self) -> None:
        self.listening = socket.create_server(("127.0.0.1", self.port))
        self.port = self.listening.getsockname()[1]
        threading.Thread(target=self.accept, args=(self.listening,), daemon=True).start()

    def accept(self, listening: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listening.accept()
                server = self.connect()
                self.open |= {client, server}
                passing = [None] * self.chance.randint(0, PASSED)
                for pair in ((client, server), (server, client)):
                    threading.Thread(
                        target=self.pass_on, args=(*pair, passing), daemon=True
                    ).start()

    def pass_on(self, source: socket.socket, sink: socket.socket, passing: list[None]) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if self.fault in DELAYS:
                    time.sleep(self.chance.uniform(*DELAYS[self.fault]))
                elif self.fault == "reset":
                    if not passing:
                        sink.sendall(data[: len(data) // 2])
                        break
                    with suppress(IndexError):  # the other way took it
                        passing.pop()
                elif self.fault == "swallow":
                    continue
                sink.sendall(data)
        for each in (source, sink):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
            self.open.discard(each)

    def begin(self, fault: str) -> None:
        """Have a fault, or none: what was swallowed is lost, and no connection ends for it."""
        before, self.fault = self.fault, fault
        if fault == "refuse":
            self.close()
            for each in list(self.open):
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
        elif before == "refuse":
            self.listen()

    def close(self) -> None:
        with suppress(OSError):  # which wakes who accepts
            self.listening.shutdown(socket.SHUT_RDWR)
        self.listening.close()
