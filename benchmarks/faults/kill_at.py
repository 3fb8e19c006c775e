"""That a kill at any write point loses nothing acknowledged and leaves nothing half-made.

One journey: register, log in, change the password, log in by the new one, log out. The server
kills itself (SIGKILL) before or after the n-th statement that it writes, `begin` and `commit`
included, for every n of the journey; in the short form for eight of them, as the seed says. Work
in the background writes, too, when it likes: where the journey is over before the n-th statement,
another user makes it.
Then a server starts on the same file, in two seconds, and what was acknowledged must hold: the
user is there, exactly one of two passwords opens, a session that was ended stays ended, and a
token that was handed out is still good. What was not acknowledged may have happened or not, but
as a whole.
"""

from __future__ import annotations

import random
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from harness import (
    PASSWORD,
    Answer,
    Figure,
    Journal,
    Options,
    Server,
    ask,
    folder,
    login,
    main,
    person,
    serving,
    settled,
    state,
    until,
    validate,
)

KILLED = Path(__file__).with_name("killed.py")
OTHER = "another horse battery staple"
USERS = ("ann", "bob", "cem")
SHORT = 8
READY = 2.0


def work(options: Options) -> Sequence[Figure]:
    points, calm = counted()
    every = [(n, moment) for n in range(points) for moment in ("before", "after")]
    chance = random.Random(options.seed)  # noqa: S311 - which points, and no secret
    chosen = every if options.long else sorted(chance.sample(every, SHORT))
    journal, found, slowest, kills = Journal(), [], 0.0, 0
    for number, moment in chosen:
        with folder() as path:
            run = Run(path, journal)
            kills += run.journey(number, moment)
            slowest = max(slowest, run.examine())
            found.append(state(path, run.own))
    return [
        Figure("write points", points),
        Figure("kills", kills, least=len(chosen)),
        Figure("answers against what was acknowledged", len(journal.wrong), most=0),
        Figure("ready at first", calm, "s"),
        Figure("ready again, longest", slowest, "s", most=max(READY, 2 * calm)),
        *(
            Figure(some[0].name, sum(one.measured for one in some), most=some[0].most)
            for some in zip(*found, strict=True)
        ),
    ]


def counted() -> tuple[int, float]:
    """How many write points the journey has, and the seconds in which a server is there."""
    with folder() as path:
        run = Run(path, Journal())
        run.journey(-1, "before")
        return int((path / "points").read_text()), run.took


class Run:
    """One file, a journey that is cut off, and what was acknowledged until then."""

    def __init__(self, path: Path, journal: Journal) -> None:
        self.path, self.journal, self.own = path, journal, Journal()
        self.address = settled(path)

    def journey(self, number: int, moment: str) -> bool:
        """Whether the server was killed."""
        command = [sys.executable, str(KILLED), str(number), moment]
        server = Server(command, self.path, self.address)
        try:
            self.took = server.ready()
            server.process.send_signal(signal.SIGUSR1)
            until((self.path / "points").exists, 60)
            for self.name in USERS if number >= 0 else USERS[:1]:
                self.done: dict[str, Answer] = {}
                self.steps(server)
                if self.cut:
                    return True
            return False
        finally:
            server.stop(signal.SIGKILL)

    def steps(self, server: Server) -> None:
        """Until one is not answered."""
        tokens = {}
        for name, method, path, body, token in (
            ("register", "POST", "/auth/register", person(self.name), None),
            ("login", "POST", "/auth/login", person(self.name), None),
            ("change", "PUT", "/auth/password", {"password": OTHER}, "login"),
            ("again", "POST", "/auth/login", {"username": self.name, "password": OTHER}, None),
            ("logout", "POST", "/auth/logout", None, "again"),
        ):
            answer = ask(server, method, path, body, tokens.get(token))
            if answer is None:
                self.cut = name
                return
            self.journal.expect(name, answer, 200, 201, 204)
            self.done[name] = answer
            if name == "register":
                self.own.users.append(self.name)
            elif answer.body and "access_token" in answer.json():
                tokens[name] = answer.json()["access_token"]
        self.cut = ""

    def examine(self) -> float:
        """What a new server says of it; the seconds in which it is there."""
        with serving(self.path, wait=False) as server:
            took = server.ready()
            self.passwords(server)
            self.sessions(server)
        return took

    def passwords(self, server: Server) -> None:
        """One of them opens, if there is a user; which, where the change was acknowledged or not begun."""
        if "register" not in self.done and self.cut == "register":
            first = login(server, self.name)
            self.journal.expect("login of who may be there", first, 200, 401)
            return
        opened = [
            one
            for one in (PASSWORD, OTHER)
            if (a := login(server, self.name, one)) and a.status == 200
        ]
        wanted = [OTHER] if "change" in self.done else [PASSWORD]
        if opened != wanted and not (self.cut == "change" and len(opened) == 1):
            self.journal.wrong.append(f"opens by {len(opened)} passwords, cut at {self.cut}")

    def sessions(self, server: Server) -> None:
        """A session that was ended is so for ever, and one that was not is not."""
        if (again := self.done.get("again")) is None:
            return
        answer = ask(server, "POST", "/jwt/refresh", None, again.json()["refresh_token"])
        if "logout" in self.done:
            self.journal.expect("refresh of an ended session", answer, 401)
        else:
            self.journal.expect("refresh", answer, 200, *([401] if self.cut == "logout" else []))
            status = validate(server, again.json()["access_token"])
            if status != 200 and self.cut != "logout":
                self.journal.wrong.append(f"a token is answered {status}")


if __name__ == "__main__":
    main(__doc__, work)
