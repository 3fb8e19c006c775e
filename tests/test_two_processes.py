"""Two processes on one file: every race has one winner, or the documented result."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from picoauth.schema import KERNEL

RACER = Path(__file__).with_name("racer.py")
NOW = 1_800_000_000


class Process:
    """A process that does what it is told."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(RACER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def say(self, line: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def hear(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline()

    def prepare(self, command: str, **arguments: Any) -> None:
        self.say(json.dumps([command, arguments]))
        assert "ready\n" == self.hear()

    def answer(self) -> Any:
        return json.loads(self.hear())

    def do(self, command: str, **arguments: Any) -> Any:
        self.prepare(command, **arguments)
        self.say("go")
        return self.answer()

    def end(self) -> None:
        self.process.communicate()
        assert 0 == self.process.returncode


class Two:
    """Two processes, told the same or different things at once."""

    def __init__(self) -> None:
        self.first, self.second = self.processes = (Process(), Process())

    def both(self, command: str, **arguments: Any) -> list[Any]:
        return self.at_once((command, arguments), (command, arguments))

    def at_once(self, *commands: tuple[str, dict[str, Any]]) -> list[Any]:
        for process, (command, arguments) in zip(self.processes, commands, strict=True):
            process.prepare(command, **arguments)
        for process in self.processes:
            process.say("go")
        return [process.answer() for process in self.processes]

    def end(self) -> None:
        for process in self.processes:
            process.end()

    def total(self, command: str, **arguments: Any) -> dict[str, int]:
        """What both answer together, where they count."""
        return summed(self.both(command, **arguments))


def summed(counts: list[dict[str, int]]) -> dict[str, int]:
    return dict(sum((Counter(each) for each in counts), Counter()))


@pytest.fixture(scope="module")
def processes() -> Iterator[Two]:
    """Two processes for all tests here: starting one takes long, starting an `Auth` does not."""
    two = Two()
    yield two
    two.end()


@pytest.fixture
def two(processes: Two, tmp_path: Path) -> Iterator[Two]:
    """Two processes on new files, with one user."""
    processes.both("start", folder=str(tmp_path), now=NOW)
    assert {"registered": 1} == processes.first.do("register", names=["ann"])
    yield processes
    processes.both("stop")


def test_both_start_on_nothing(processes: Two, tmp_path: Path) -> None:
    """Two that start at once on an empty folder make one secret, one schema and one key."""
    for number in range(10):
        folder = tmp_path / str(number)
        folder.mkdir()
        answers = processes.both("start", folder=str(folder), now=NOW)
        assert answers[0] == answers[1]
        assert (1, len(KERNEL)) == (len(answers[0]["keys"]), answers[0]["migrations"])
        processes.first.do("register", names=["ann"])
        tokens = processes.first.do("login", username="ann")
        assert {"valid": 1} == processes.second.do("validate", token=tokens["access_token"])
        refresh = tokens["refresh_token"]
        assert {refresh: 1} == processes.second.do("refresh", token=refresh)
        processes.both("stop")


def test_ticket_is_taken_once(two: Two) -> None:
    """Of a hundred who take a ticket, fifty in each process, one has it (T-3)."""
    for _ in range(5):
        secret = two.first.do("issue")
        assert {"taken": 1, "gone": 99} == two.total("take", secret=secret, times=50)


def test_name_is_registered_once(two: Two) -> None:
    """`Bob`, `bob` and full-width `bob` are one name, whoever asks first (P-9)."""
    names = ["Bob", "bob", "\uff22\uff4f\uff42"] * 8
    assert {"registered": 1, "username_taken": 47} == two.total("register", names=names)
    named = "select count(*) from identifiers where value = 'bob'"
    assert [[1]] == two.first.do("rows", sql=named)
    assert [[2]] == two.first.do("rows", sql="select count(*) from users")


def test_flood_is_counted_together(two: Two) -> None:
    """Two processes let through together as many failures as one does (A-2)."""
    assert {"tried": 10, "too_many_attempts": 190} == two.total("attempt", times=100)


def test_writes_of_both_are_kept(two: Two) -> None:
    """Writers of two processes wait for each other: nothing is lost, nobody is refused."""
    writes = [("write", {"first": first, "times": 200}) for first in (0, 1000)]
    assert {"written": 400} == summed(two.at_once(*writes))
    for process in two.processes:
        assert [[400]] == process.do("rows", sql="select count(*) from retired_names")


def test_same_write_of_both(two: Two) -> None:
    """A row that both write is written by one."""
    expected = {"written": 50, "conflict": 50}
    assert expected == two.total("write", first=0, times=50)


def test_refresh_in_both(two: Two) -> None:
    """A thousand refreshes in two processes are one generation, and one answer to all (K-10)."""
    refresh_in_both(two)


def refresh_in_both(two: Two) -> None:
    """What holds of it, whatever keeps the sessions: no family but one, no theft, no error."""
    token = two.first.do("login", username="ann")["refresh_token"]
    for generation, times in ((1, 500), (2, 50), (3, 50)):
        two.both("advance", seconds=11)
        [(answered, count)] = two.total("refresh", token=token, times=times).items()
        assert 2 * times == count
        assert answered != token
        token = answered
        assert [[generation]] * 2 == two.both("generation", username="ann")
    assert {"UserRegistered": 1} == two.total("told")


@pytest.mark.parametrize("age", [9, 10, 11])
def test_spent_token_in_both(two: Two, age: int) -> None:
    """A spent token is served by both within the window, and noticed once after it (K-9)."""
    token = two.first.do("login", username="ann")["refresh_token"]
    two.both("advance", seconds=20)
    [second] = two.first.do("refresh", token=token)
    two.both("advance", seconds=age)
    answers = two.total("refresh", token=token, times=20)
    thefts = two.total("told").get("RefreshReused", 0)
    assert (({second: 40}, 0) if age < 10 else ({"session_ended": 40}, 1)) == (answers, thefts)


def test_clocks_that_differ(two: Two) -> None:
    """A process whose clock is behind takes no rotation of the other's for theft."""
    token = two.first.do("login", username="ann")["refresh_token"]
    two.first.do("advance", seconds=30)
    [second] = two.first.do("refresh", token=token)
    assert {second: 1} == two.second.do("refresh", token=token)
    assert {second: 1} == two.second.do("refresh", token=second)
    assert {"UserRegistered": 1} == two.total("told")


def test_end_stands_against_a_refresh(two: Two) -> None:
    """Of a refresh in one process and a logout in the other, the logout stands."""
    for _ in range(5):
        tokens = two.first.do("login", username="ann")
        two.both("advance", seconds=20)
        answered, _ = two.at_once(
            ("refresh", {"token": tokens["refresh_token"], "times": 50}),
            ("logout", {"user_id": tokens["user_id"]}),
        )
        for token in answered.keys() - {"session_ended"}:
            for process in two.processes:
                assert {"session_ended": 1} == process.do("refresh", token=token)
        assert [] == two.first.do("rows", sql="select id from sessions where ended_at is null")


def test_end_is_learnt_by_the_other(two: Two) -> None:
    """A session that one process ended is refused by the other after its poll, and not before."""
    tokens = two.first.do("login", username="ann")
    two.first.do("logout", user_id=tokens["user_id"])
    access = tokens["access_token"]
    assert {"session_ended": 1} == two.first.do("validate", token=access)
    assert {"valid": 1} == two.second.do("validate", token=access)
    two.second.do("poll")
    assert {"session_ended": 1} == two.second.do("validate", token=access)


def test_job_runs_in_one(two: Two) -> None:
    """Each run of a job is done by one of the processes."""
    for _ in range(5):
        assert 1 == sum(two.both("job", times=5))
        assert 0 == sum(two.both("job", times=1))
        two.both("advance", seconds=61)


# Links and codes that were mailed

MAILED = """
plugins = ["password", "email", "reset", "magic-link", "captured-mail"]
[throttle]
failures = 1000
[mail]
hourly = 10
"""
ANN = {"username": "ann", "password": "correct horse battery staple"}
NEW = {"password": "another horse battery staple"}
FORGOT, LOGIN = "/auth/forgot_password", "/auth/login"


class Served:
    """Two servers on one file, and Ann, whose address is not verified yet."""

    def __init__(self, two: Two, folder: Path) -> None:
        self.two = two
        two.both("serve", folder=str(folder), now=NOW, settings=MAILED)
        made = {**ANN, "email": "ann@example.com"}
        body = {"method": "POST", "path": "/auth/register", "body": made}
        assert {"201": 1} == two.first.do("ask", **body)

    def mails(self, template: str) -> list[dict[str, str]]:
        """The values of all that were sent, by whichever process."""
        sent = [mail for found in self.two.both("mails") for mail in found]
        return [values for name, _, values in sent if name == template]

    def token(self, template: str) -> str:
        [values] = self.mails(template)
        return values["link"].partition("=")[2]

    def race(self, method: str, path: str, *bodies: Any, **more: Any) -> dict[str, int]:
        """The same in both processes, or one thing in each."""
        asking = [
            ("ask", {"method": method, "path": path, "body": body, **more}) for body in bodies
        ]
        return summed(self.two.at_once(*(asking * 2)[:2]))

    def session(self) -> str:
        token: str = self.two.first.do("answer", path=LOGIN, body=ANN)["access_token"]
        return token

    def verified(self) -> None:
        body = {"token": self.token("email/verify")}
        asked = {"method": "POST", "path": "/auth/email/verify", "token": self.session()}
        assert {"200": 1} == self.two.first.do("ask", body=body, **asked)
        self.two.both("advance", seconds=61)


@pytest.fixture
def served(processes: Two, tmp_path: Path) -> Iterator[Served]:
    yield Served(processes, tmp_path)
    processes.both("stop")


@pytest.mark.parametrize("proof", ["token", "code"])
def test_address_is_verified_once(served: Served, proof: str) -> None:
    """Of all who verify an address by one link or one code, in two processes, one does (T-3)."""
    [values] = served.mails("email/verify")
    body = {proof: values["code"] if proof == "code" else values["link"].partition("=")[2]}
    refused = "400 wrong_code" if proof == "code" else "404 not_found"
    found = served.race("POST", "/auth/email/verify", body, times=2, token=served.session())
    assert (1, 3) == (found["200"], sum(found.values()) - found["200"])
    assert {refused, "200", "401 session_ended", "401 start_over"} >= set(found)
    verified = "select count(*) from identifiers where kind = 'email' and verified_at is not null"
    assert [[1]] == served.two.first.do("rows", sql=verified)


def test_one_mail_is_sent_by_either(served: Served) -> None:
    """Of fifty who ask in two processes for a new password one gets a mail, and it comes once."""
    served.verified()
    assert {"202": 50} == served.race("POST", FORGOT, {"username": "ann"}, times=25)
    assert 1 == len(served.mails("reset/reset"))


def test_password_is_reset_once(served: Served) -> None:
    """Of two processes that take the link of a reset at once, one sets the password (T-3)."""
    served.verified()
    served.race("POST", FORGOT, {"username": "ann"})
    path = f"{FORGOT}/{served.token('reset/reset')}"
    other = {"password": "yet another horse battery staple"}
    assert {"204": 1, "404 not_found": 1} == served.race("PUT", path, NEW, other)
    logins = served.race("POST", LOGIN, {**ANN, **NEW}, {**ANN, **other})
    assert {"200": 1, "401 invalid_credentials": 1} == logins
    assert 1 == len(served.mails("reset/changed"))


@pytest.mark.parametrize("ways", [("link", "link"), ("link", "code"), ("code", "link")])
def test_magic_link_is_used_once(served: Served, ways: tuple[str, str]) -> None:
    """Link and code are one proof: of all who come with either, in two processes, one is in."""
    served.verified()
    asked = {"factor": "magic-link", "username": "ann"}
    flow = served.two.first.do("answer", path="/auth/login/begin", body=asked)["flow"]
    [values] = served.mails("magic-link/login")
    proofs = {
        "link": {"factor": "magic-link", "magic-link": values["link"].partition("=")[2]},
        "code": {"factor": "magic-link", "magic-link": values["code"], "flow": flow},
    }
    found = served.race("POST", LOGIN, *(proofs[way] for way in ways), times=10)
    assert 1 == found.pop("200")
    assert {"401 proof_refused", "401 flow_ended"} >= set(found)
    assert 19 == sum(found.values())
    sessions = "select count(*) from sessions where amr like '%email%'"
    assert [[1]] == served.two.first.do("rows", sql=sessions)


# Mail


class Mailing:
    """Processes that queue and send mail in a folder, one after the other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, what: str, now: float, said: str, *, kill: bool) -> None:
        """Run one until it says its word, and then kill it, unless it ends by itself."""
        command = [sys.executable, "-m", "tests.mailing", what, str(now)]
        root = str(RACER.parents[1])
        process = subprocess.Popen(
            command,
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": root},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout
        assert f"{said}\n" == process.stdout.readline()
        if kill:
            process.kill()
        process.communicate()
        assert (-signal.SIGKILL if kill else 0) == process.returncode

    @property
    def journal(self) -> list[str]:
        """What arrived, in order."""
        path = self.folder / "journal"
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def test_killed_before_and_after_sending(tmp_path: Path) -> None:
    """A mail outlives `kill -9` after its commit; killed in mid-send it comes twice, with one id."""
    mailing = Mailing(tmp_path)
    mailing.run("queue", NOW, "queued", kill=True)
    assert [] == mailing.journal
    mailing.run("hang", NOW + 1, "sent", kill=True)
    [first] = mailing.journal
    assert first.endswith(" ann@example.com")
    mailing.run("send", NOW + 2, "waits", kill=False)  # the lease of the killed one
    assert [first] == mailing.journal
    mailing.run("send", NOW + 200, "done", kill=False)
    assert [first, first] == mailing.journal
    mailing.run("send", NOW + 900, "done", kill=False)
    assert [first, first] == mailing.journal


def test_closed_accounts_are_deleted_once(processes: Two, tmp_path: Path) -> None:
    """Two processes sweep at once, and somebody restores: each is deleted once, or comes back."""
    settings = "plugins = []\n[account]\ndeletion_grace = '1h'"
    processes.both("start", folder=str(tmp_path), now=NOW, settings=settings)
    names = [f"user{number}" for number in range(60)]
    processes.first.do("register", names=names)
    ids = [processes.first.do("close", username=name) for name in names]
    assert {} == processes.total("sweep")
    processes.both("advance", seconds=3600)
    assert {"restored": 20} == processes.first.do("reopen", user_ids=ids[:20])
    assert {"deleted": 40} == processes.total("sweep")
    assert [[20]] == processes.second.do("rows", sql="select count(*) from users")
    for one in names[:20]:
        processes.first.do("close", username=one)
    processes.both("advance", seconds=3600)
    swept, restored = processes.at_once(("sweep", {}), ("reopen", {"user_ids": ids[:20]}))
    assert 20 == swept["deleted"] + restored.get("restored", 0)
    left = processes.first.do("rows", sql="select count(*), count(closed_at) from users")
    assert [[restored.get("restored", 0), 0]] == left
    processes.both("stop")


def test_names_are_counted_together(two: Two) -> None:
    """Two processes let one user take three names, whichever is asked."""
    user = two.first.do("login", username="ann")["user_id"]
    total: Counter[str] = Counter()
    for turn in range(4):
        renames = [
            ("rename", {"user_id": user, "prefix": f"{who}{turn}x", "times": 10}) for who in "ab"
        ]
        total += Counter(summed(two.at_once(*renames)))
    assert 3 == total["renamed"]
    assert total.keys() <= {"renamed", "too_many_renames", "conflict"}
    assert [[3]] == two.first.do("rows", sql="select count(*) from renames")
