"""The stress test: which link it names, what it refuses, and that nothing leaves. Never how fast."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner, Result

from picoauth import Auth, ConfigError, parse
from picoauth.cli import cli
from picoauth.stress import crowd, hosting, links, load, outcome, page, plan, plots, report, run
from picoauth.stress import served as process
from picoauth.stress.links import LINKS, Use
from picoauth.stress.load import Done, Load, Spell
from picoauth.stress.outcome import Outcome, Step
from picoauth.stress.probe import Counted, resident
from picoauth.stress.wire import Answer, Wire
from picoauth.stress_cli import progress, shown, written
from tests.processes import PATIENCE, free_port, running
from tests.wire import short_folder

SHORT = ("--duration", "0.4", "--warm-up", "0.2", "--users", "4", "--target", "0.1")
DEAR = "[password]\nmemory_kib = 32768\niterations = 3\n"
"""Hashes that take longer than anything else."""
CROWD = ("--loop", "closed", "--steps", "1", "--p99", "0.001")
"""However fast or busy the machine is: all clients wait all the time, and for too long."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    settings(tmp_path)
    return tmp_path


def settings(folder: Path, plugins: str = '["password"]', more: str = "") -> None:
    (folder / "picoauth.toml").write_text(f"plugins = {plugins}\n{more}")


def stress(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["stress", *SHORT, *arguments])


def found(*arguments: str) -> dict[str, Any]:
    """What a test that ends well tells programs."""
    result = stress("--json", "-", *arguments)
    assert 0 == result.exit_code, result.output
    told: dict[str, Any] = json.loads(result.stdout)
    return told


def test_hash_queue_gives_way(folder: Path) -> None:
    """With very dear hashes; the JSON and the page have all that was asked for."""
    settings(folder, more=DEAR)
    result = stress(
        *(*CROWD, "--start", "8", "--mix", "login=1", "--flood", "4", "--json", "out.json"),
        *("--html", "out.html", "--most", "login_p99_ms=1"),
    )
    assert 1 == result.exit_code, result.output
    told = json.loads((folder / "out.json").read_text())
    assert "hash queue" == told["link"], told
    assert 1 == told["version"]
    assert {"name": "login_p99_ms", "most": 1, "kept": False} == {
        name: value for name, value in told["bounds"][0].items() if name != "measured"
    }
    assert not told["fine"]
    assert "The weakest link: hash queue" in result.stdout
    assert "MISSED" in result.stdout
    check_page((folder / "out.html").read_text(), "hash queue")
    assert not (folder / "picoauth.db").exists()
    assert not (folder / "picoauth.secret").exists()


def check_page(text: str, *words: str) -> None:
    """It is well-formed, and loads nothing from anywhere."""
    root = ET.fromstring(text.removeprefix("<!DOCTYPE html>\n"))  # noqa: S314 - our own
    assert {"script", "link", "img", "iframe"}.isdisjoint(one.tag for one in root.iter())
    assert all("href" not in one.attrib and "src" not in one.attrib for one in root.iter())
    assert "url(" not in text
    assert [word for word in words if word not in text] == []
    assert list(root.iter("svg"))


@pytest.mark.parametrize(
    ("slow", "mix", "link"),
    [
        ("commits=0.5", "login=1,register=4", "commits"),
        ("store=0.2", "login=1,sessions=9", "store"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_slow_links_give_way(slow: str, mix: str, link: str) -> None:
    """A disk that takes half a second for each commit, a store that takes long for each look-up."""
    told = found(*CROWD, "--slow", slow, "--mix", mix, "--start", "4", "--flood", "2")
    assert link == told["link"], told["steps"]


def test_whole_test(folder: Path) -> None:
    """With a second factor, in a closed loop: every figure is there."""
    settings(folder, '["password", "totp", "recovery"]')
    told = found(
        *("--second", "totp", "--loop", "closed", "--start", "1", "--steps", "2"),
        *("--p99", "60", "--slow", "mail=0.1", "--flood", "3", "--users", "12"),
    )
    assert told["link"] is None
    assert told["sentence"].startswith("Nothing gave way up to 2"), json.dumps(told["steps"])
    assert {1.0, 2.0} == {one["offered"] for one in told["steps"]}
    assert set(run.SUMMARY) >= told["summary"].keys() >= {"checks_per_second", "logins_per_second"}
    assert told["summary"]["checks_per_second"] > 0
    assert set(LINKS) == told["steps"][0]["use"]["waiting"].keys()
    assert [19456, 2] == [told["argon2"][0][name] for name in ("memory_kib", "iterations")]
    assert 0 == told["steps"][0]["failed"], told["steps"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--mix", "logout=1"],
            (
                "--mix 'logout=1' cannot be read: write NAME=NUMBER, several with commas; "
                "names are login, register, refresh, validate, sessions."
            ),
        ),
        (["--mix", "login=x"], "--mix 'login=x' cannot be read"),
        (["--mix", "login=nan"], "--mix 'login=nan' cannot be read"),
        (["--mix", "validate=1"], "--mix: there must be logins in it: add login=1."),
        (["--second", "totp"], "--second 'totp' is no second factor that is on: there is none."),
        (["--least", "speed=9"], "names are logins_per_second, login_p99_ms"),
        (
            ["--url", "ftp://127.0.0.1"],
            "--url 'ftp://127.0.0.1' is no address: write http://127.0.0.1:8100 or unix:/path.",
        ),
        (["--url", "http://127.0.0.1:x"], "is no address"),
        (
            ["--url", "unix:/no/socket"],
            "No server answers at unix:/no/socket: start it, or mend --url.",
        ),
    ],
)
@pytest.mark.usefixtures("folder")
def test_refusals(arguments: list[str], message: str) -> None:
    """What cannot be done is said in a sentence, before anything is loaded."""
    result = stress(*arguments)
    assert 2 == result.exit_code, result.output
    assert message in result.stderr


def test_database_elsewhere(folder: Path) -> None:
    """It would be filled: that has to be allowed in the settings."""
    settings(folder, more='database = "libsql://db.example.com"\n')
    result = stress()
    assert 2 == result.exit_code
    assert (
        "The database of these settings is elsewhere, and would be filled: write settings "
        "with one that is for nothing else, and `stress = true`."
    ) in result.stderr


def test_database_elsewhere_that_may_be_filled(tmp_path: Path) -> None:
    """It stays the database; the secret does not."""
    text = 'plugins = []\nstress = true\ndatabase = "libsql://db.example.com"\n'
    config = hosting.own(parse(text, tmp_path), tmp_path)
    assert "libsql://db.example.com" == config.database
    assert (f"unix:{tmp_path / 's'}",) == config.bind


def test_sessions_elsewhere(folder: Path) -> None:
    """A store of sessions would be filled, too."""
    settings(folder, '["password", "session-memory"]')
    result = stress()
    assert 2 == result.exit_code
    assert (
        "A plugin keeps the sessions of these settings elsewhere, and they would be filled: "
        "write settings with a store that is for nothing else, and `stress = true`."
    ) in result.stderr


def test_sessions_elsewhere_that_may_be_filled(folder: Path) -> None:
    """Its calls are counted as those of the store."""
    settings(folder, '["password", "session-memory"]', "stress = true\n")
    told = found("--steps", "1", "--start", "5", "--p99", "60", "--flood", "1")
    assert 0 == told["steps"][0]["failed"], told["steps"]


def test_settings_that_do_not_start(folder: Path) -> None:
    """What the server says is told."""
    with pytest.raises(ConfigError, match="The server does not start"):
        asyncio.run(started(folder / "nothing.toml", folder))


async def started(path: Path, folder: Path) -> None:
    async with hosting.served(path, folder, {}):
        pass


def test_server_that_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("")
    assert "it says nothing" == hosting.last(tmp_path / "log")


@contextmanager
def server(folder: Path, more: str = "") -> Iterator[str]:
    """A server that runs already."""
    address = f"http://127.0.0.1:{free_port()}"
    text = f'plugins = ["password"]\nbind = ["tcp:{address[7:]}"]\n{more}'
    (folder / "other.toml").write_text(text)
    command = [str(Path(sys.executable).with_name("picoauth")), "--config", "other.toml", "serve"]
    with running(command, folder, lambda said: "listens on" in said):
        yield address


def test_running_server_must_say_so(folder: Path) -> None:
    """Loopback is no exception: people may use what is behind it."""
    with server(folder) as url:
        result = stress("--url", url)
    assert 2 == result.exit_code
    assert (
        f"The server at {url} does not say that it may be loaded: "
        "write `stress = true` into its settings if nobody uses it, and start it again."
    ) in result.stderr


def test_running_server_that_says_so(folder: Path) -> None:
    """It is loaded from outside, where no link can be seen."""
    with server(folder, "stress = true\n") as url:
        told = found(*CROWD, "--url", url, "--html", "o.html")
    assert told["link"] is None
    assert told["sentence"] == outcome.UNSEEN
    assert {"url": url} == told["server"]
    check_page((folder / "o.html").read_text(), url)


def test_running_server_without_registration(folder: Path) -> None:
    """There are no users then."""
    with server(folder, "stress = true\n[password]\nregister = false\n") as url:
        result = stress("--url", url)
    assert 2 == result.exit_code
    assert (
        "The server answers a registration with 404: users of a stress test register by name "
        "and password."
    ) in result.stderr


def test_health_check_says_so() -> None:
    """Only where the settings do: elsewhere the answer is as it was."""
    assert not hosting.says_it_may(Answer(200, b"[]"))
    assert not hosting.says_it_may(Answer(200, b"{"))
    assert not hosting.says_it_may(Answer(200, b'{"stress": "true"}'))
    assert not hosting.says_it_may(Answer(404, b'{"stress": true}'))
    assert hosting.says_it_may(Answer(200, b'{"stress": true}'))


def test_reports_that_cannot_be_written(folder: Path) -> None:
    """That is said before anything is loaded; and a disk may be full afterwards, all the same."""
    result = stress("--html", "no/where")
    assert 2 == result.exit_code, result.output
    assert "no/where cannot be written: make its folder, or name another file." in result.stderr
    with pytest.raises(ConfigError, match=r"no/where cannot be written: No such file"):
        written(folder / "no" / "where", "")


def test_reports_are_optional(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a file, it is on the terminal alone."""
    shown(report_of(), None, None)
    assert "<sentence>" in capsys.readouterr().out


def test_progress_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """A bar that is gone in the end."""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with progress() as say:
        say("half of it", 0.5)
    said = capsys.readouterr().err
    assert "████████████░░░░░░░░░░░░  50%  half of it" in said
    assert said.endswith("\r\033[K")


def test_nothing_leaves_the_machine() -> None:
    """Neither a connection nor a datagram goes to another one; those of this one do."""
    for event in ("socket.connect", "socket.sendto"):
        with pytest.raises(ConnectionRefusedError):
            process.offline(event, (None, ("198.51.100.1", 443)))
        with pytest.raises(ConnectionRefusedError):
            process.offline(event, (None, ("example.com", 443)))
        process.offline(event, (None, ("127.0.0.1", 1)))
        process.offline(event, (None, ("::1", 1, 0, 0)))
        process.offline(event, (None, ("localhost", 1)))
        process.offline(event, (None, "/run/socket"))
    process.offline("open", (("198.51.100.1", 443),))


def test_hook_is_there() -> None:
    """In a process of its own, since a hook is for ever."""
    program = (
        "import sys, socket; from picoauth.stress.served import offline\n"
        "sys.addaudithook(offline)\n"
        "s = socket.socket()\n"
        "try: s.connect(('198.51.100.1', 9))\n"
        "except ConnectionRefusedError as e: print(e)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "a server under stress talks to nobody\n" == done.stdout


async def test_nothing_queued_is_sent(tmp_path: Path) -> None:
    """Whatever plugins send by the outbox, is swallowed; mails, too."""
    auth = Auth(parse('plugins = ["password", "mail-console"]', tmp_path))

    async def sends(_: bytes) -> None:
        raise AssertionError("it was sent")

    auth.senders = {**auth.senders, "event": sends}
    process.kept_in(auth, 0)
    assert isinstance(auth.mailer, process.Nobody)
    await auth.mailer.send(None)  # type: ignore[arg-type]
    assert auth.mail.send == auth.senders["mail"]
    await auth.senders["event"](b"")
    await auth.database.close()


def sample(at: float, **more: float) -> Mapping[str, float]:
    nothing = dict.fromkeys(
        ("lag", "hashes", "writes", "write_calls", "write_seconds", "reads", "read_calls"), 0.0
    )
    more = {"read_seconds": 0, "backlog": 0, "cpu": 0, "loop": 0, "resident": 0, **more}
    return {"at": at, **nothing, **more}


def test_attribution() -> None:
    """Each link by what is measured of it; what it waited for the loop is not its own."""
    calm = links.used([sample(0), sample(1)], 10, 0, 0)
    assert links.weakest(calm, calm) is None
    for name, more in {
        "hash queue": {"hashes": 9},
        "commits": {"write_calls": 10, "write_seconds": 9},
        "event loop": {"lag": 0.9, "write_calls": 10, "write_seconds": 9},
        "store": {"read_calls": 10, "read_seconds": 9},
        "mail": {"backlog": 9},
    }.items():
        lag = more.get("lag", 0)
        use = links.used([sample(0, lag=lag), sample(1, **more)], 10, 0, 0)
        assert name == links.weakest(use, calm), (name, use)
    late = links.used([sample(0), sample(1)], 10, 0.5, 0.9)
    assert "the load itself" == links.weakest(late, calm)
    assert links.weakest(links.used([], 10, 0, 0), calm) is None
    assert links.weakest(Use({}), Use({})) is None


PLAN = plan.Plan(mix={"login": 1})


def spelled(*statuses: int, seconds: float = 0.1) -> Spell:
    return Spell(0, 1, [Done("login", 0, seconds, status) for status in statuses])


def stepped(offered: float, spell: Spell, **waiting: float) -> Step:
    return outcome.step(offered, spell, Use(waiting), PLAN)


def test_what_is_too_much() -> None:
    """Refusals, failures and slow answers; the time of a refusal counts for nothing."""
    assert stepped(1, spelled(*[200] * 100)).fine
    assert "2.0% refused or failed" == stepped(1, spelled(*[200] * 98, 503, 0)).why
    assert "p99 of login is 2000 ms" == stepped(1, spelled(200, seconds=2)).why
    assert 0 == stepped(1, spelled(503)).operations["login"].p99
    assert stepped(1, Spell(0, 1)).fine


def test_verdicts() -> None:
    """A link, limits, or that none stands out."""
    fine, bad = stepped(1, spelled(200)), stepped(2, spelled(503), **{"hash queue": 9.0})
    assert "hash queue" == run.verdict([fine, bad], inside=True)[0]
    assert "hash queue" == run.verdict([bad], inside=True)[0]
    assert "limits" == run.verdict([fine, stepped(2, spelled(429))], inside=True)[0]
    assert (None, outcome.NOWHERE) == run.verdict([stepped(2, spelled(503))], inside=True)
    assert (None, outcome.UNSEEN) == run.verdict([stepped(2, spelled(503))], inside=False)


def test_bounds() -> None:
    """What was not measured keeps none."""
    bounded = replace(PLAN, least={"a": 1, "b": 1}, most={"a": 1, "c": 1})
    assert [False, False, True, False] == [
        one["kept"] for one in outcome.bounds({"a": 0.5}, bounded)
    ]


def report_of(*steps: Step, **summary: float) -> Outcome:
    machine = {
        "cores": 2,
        "load_average": 0.5,
        "system": "<&>",
        "processor": "x",
        "python": "3",
        "sqlite": "3",
    }
    told = {"plugins": ["password"], "database": "a new file"}
    found = Outcome(machine, told, vars(PLAN), list(steps), None, "<sentence>", summary)
    found.bounds = [{"name": "c", "measured": None, "most": 1, "kept": False}]
    return found


def test_reports_of_little() -> None:
    """Nothing measured, nothing fine, one step: there is a page, and text, all the same."""
    other = outcome.step(3, Spell(0, 1, [Done("validate", 0, 1, 200)]), Use({"store": 2.0}), PLAN)
    for found in (report_of(), report_of(other), report_of(stepped(1, spelled(503)))):
        check_page(page.page(found), "&lt;sentence&gt;", "&lt;&amp;&gt;")
        assert "c: not measured, at most 1: MISSED" in list(report.lines(found_with(found)))


def found_with(found: Outcome) -> Outcome:
    found.link = "store"
    found.summary["logins_per_second"] = 0.0
    assert "at every load" in report.headline(replace(found, steps=[]))
    return found


@pytest.mark.parametrize(
    ("most", "end", "step"), [(0, 1e-9, 2e-10), (0.9, 1, 0.2), (7, 8, 2), (1000, 1000, 200)]
)
def test_axes(most: float, end: float, step: float) -> None:
    """They end at a round number, in at most five steps."""
    axis = plots.Axis(most, (0, 100))
    assert [pytest.approx(end), pytest.approx(step)] == [axis.end, axis.step]
    assert 100 == axis.at(end * 2)


def test_limit_beyond_the_plot() -> None:
    """It is left out, where the axis is given."""
    line = plots.Line("a", "a", [(1, 1)])
    assert "limit" not in plots.chart("t", [line], "x", "y", most=1, limit=(5, "limit"))


def test_what_was_reached() -> None:
    """In logins, and where users do other things in all that they do."""
    bad = report_of(stepped(1, spelled(503)))
    assert "The weakest link: not found." == report.headline(bad)
    fine = report_of(stepped(1, spelled(200)), logins_per_second=2.5, operations_per_second=25.0)
    assert "The weakest link: not reached." == report.headline(fine)
    fine.link = "commits"
    assert "The weakest link: commits, above 2.5 logins a second." == report.headline(fine)
    fine.plan = {**fine.plan, "mix": {"login": 1, "validate": 9}}
    assert (
        "The weakest link: commits, above 25.0 operations a second, 2.5 of them logins."
    ) == report.headline(fine)


def test_busy_machine() -> None:
    """Whoever reads the figures has to know it."""
    found = report_of(stepped(1, spelled(200)))
    assert "" == report.busy(found)
    found.machine = {**found.machine, "load_average": 3.25}
    note = "Other work ran on this machine (load average 3.2): it can do more than this."
    assert f"  {note}" in list(report.lines(found))
    check_page(page.page(found), note)


COMMAND = (str(Path(sys.executable).with_name("picoauth")), "stress", *SHORT, "--duration", "600")


@pytest.fixture
def scratch() -> Iterator[Path]:
    with short_folder() as folder:
        yield folder


def test_interrupted(folder: Path, scratch: Path) -> None:
    """By ctrl-C: nothing is left behind, and the exit code is another one than that of bounds."""
    process = begun(folder, scratch)
    os.killpg(process.pid, signal.SIGINT)
    said = process.communicate(timeout=PATIENCE)[1].decode()
    assert 130 == process.returncode, said
    assert "\nInterrupted: there is no report.\n" in said
    assert "Traceback" not in said
    assert [] == list(scratch.iterdir())


def begun(folder: Path, scratch: Path) -> subprocess.Popen[bytes]:
    """A test of ten minutes, whose server is up."""
    environment = {**os.environ, "TMPDIR": str(scratch)}
    process = subprocess.Popen(
        COMMAND, cwd=folder, stderr=subprocess.PIPE, start_new_session=True, env=environment
    )
    assert process.stderr
    while b"operations a second" not in process.stderr.readline():
        assert process.poll() is None
    return process


async def status(address: str) -> int:
    """What a server answers; 0 where there is none."""
    wire = Wire(address)
    found = (await wire.ask("GET", "/health-check")).status
    wire.close()
    return found


def test_server_ends_with_its_test(folder: Path, scratch: Path) -> None:
    """Also where the test is killed, and cannot end it."""
    process = begun(folder, scratch)
    assert process.stderr
    [place] = scratch.iterdir()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stderr.close()
    end = time.monotonic() + PATIENCE
    while asyncio.run(status(f"unix:{place}/s")):
        assert time.monotonic() < end
        time.sleep(0.01)


async def test_load_keeps_its_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be sent counts as failed; who has no proof left is told apart."""
    someone = crowd.Crowd([crowd.Person("ann", "198.18.0.1")], 1)
    monkeypatch.setattr(load, "CROWDED", 0)
    loading = Load(Wire("unix:/no/socket"), someone, {"login": 1}, 1)
    spell = await loading.open(200, 0.1)
    assert spell.done
    assert {0} == {one.status for one in spell.done}
    monkeypatch.setattr(load, "CROWDED", 5)
    assert {0} == {one.status for one in (await loading.open(200, 0.1)).done}

    async def spent() -> None:
        raise crowd.Spent

    someone.people[0].credentials = spent  # type: ignore[method-assign, assignment]
    spell = await loading.closed(1, 0.05)
    assert [] == spell.done
    assert spell.skipped


def test_sessions_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """An old one goes for each new one."""
    monkeypatch.setattr(crowd, "KEPT", 2)
    some = crowd.Crowd([], 1)
    for number in range(5):
        some.keep({"access_token": str(number)})
    assert 2 == len(some.sessions)


async def test_calls_are_counted() -> None:
    """Those that fail, too."""
    from picoauth import Unavailable

    counted = Counted()

    async def fails() -> None:
        assert 1 == counted.now
        raise Unavailable("gone")

    with pytest.raises(Unavailable):
        await counted.around(fails)()
    assert [0, 1, 1] == [counted.now, counted.calls, counted.failed]


def test_memory_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system does not tell, it is 0."""
    assert resident() > 1e6
    monkeypatch.setattr("builtins.open", lambda *_, **__: (_ for _ in ()).throw(OSError()))
    assert 0 == resident()


async def test_nobody_can_log_in() -> None:
    """A test of such settings would say nothing."""
    nowhere = hosting.Target(Wire("unix:/no/socket"))
    with pytest.raises(ConfigError) as refused:
        await aimed(nowhere, PLAN).whole()
    assert (
        "No user of the test can log in (the server answers 0): "
        "try these settings by hand, and `picoauth doctor`."
    ) == str(refused.value)
    spent = aimed(nowhere, PLAN)
    spent.crowd.people[0].credentials = nothing_left  # type: ignore[method-assign, assignment]
    with pytest.raises(ConfigError, match=r"No user of the test can log in \(the server answers 0"):
        await spent.whole()


def aimed(target: hosting.Target, asked: plan.Plan) -> run.Test:
    people = crowd.Crowd([crowd.Person("ann", "198.18.0.1")], 1)
    return run.Test(target, people, asked, report_of(), lambda *_: None)


async def nothing_left() -> None:
    raise crowd.Spent


@pytest.mark.parametrize(
    ("asked", "most", "tried"),
    [
        (PLAN, 40.0, [20, 30, 45, 37.5, 41.25]),
        (PLAN, 31.0, [20, 30, 45, 37.5, 33.75]),
        (replace(PLAN, steps=2), 50.0, [20, 30]),
        (replace(PLAN, loop="closed", start=1), 2.0, [1, 2, 3]),
        (replace(PLAN, loop="closed", start=8), 1.0, [8, 4, 2]),
    ],
)
async def test_climb(
    asked: plan.Plan, most: float, tried: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Up to a load that is too much, then closer to where that begins."""
    climbing = aimed(hosting.Target(Wire("unix:/no/socket")), asked)
    seen: list[float] = []

    async def step(offered: float) -> Step:
        seen.append(offered)
        return stepped(offered, spelled(200 if offered <= most else 503))

    monkeypatch.setattr(climbing, "step", step)
    await climbing.climb()
    assert tried == seen


async def test_server_that_hangs_up(tmp_path: Path) -> None:
    """In the middle of an answer: that is none, and the next one comes on another connection."""
    heads = [b"HTTP/1.1 200 \r\ncontent-length: 9\r\n\r\n{", b"HTTP/1.1 204 \r\n\r\n"]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(heads.pop(0))
        writer.close()

    wire = Wire(f"unix:{tmp_path / 's'}")
    async with await asyncio.start_unix_server(answer, tmp_path / "s"):
        assert [0, 204] == [(await wire.ask("GET", "/")).status for _ in range(2)]
        assert 1 == len(wire.idle)
        wire.close()


async def test_refresh_that_is_refused() -> None:
    """The session keeps the tokens that it had."""
    some = crowd.Crowd([], 1)
    some.keep({"refresh_token": "a"})
    answer = await some.refresh(Wire("unix:/no/socket"))
    assert (0, [{"refresh_token": "a"}]) == (answer.status, some.sessions)


async def test_proofs_are_used_up(tmp_path: Path) -> None:
    """No code of an authenticator is good twice: then another user has to log in."""
    config = parse('plugins = ["password", "totp"]', tmp_path)
    asked = replace(PLAN, users=1, second="totp", second_share=1.0, target=0.1)
    [person] = (await crowd.gathered(config, tmp_path, asked)).people
    seen: list[str] = []
    with pytest.raises(crowd.Spent):
        await until_spent(person, seen)
    assert 2 <= len(seen) <= 4  # by how much of half a minute is over
    assert len(seen) == len(set(seen))


async def until_spent(person: crowd.Person, seen: list[str]) -> None:
    while True:
        seen.append((await person.credentials())["totp"])


async def test_database_elsewhere_that_is_slow() -> None:
    """Each write and each look-up takes longer."""

    class Elsewhere:
        async def write(self) -> str:
            return "written"

        async def read(self) -> str:
            return "read"

    auth: Any = SimpleNamespace(database=Elsewhere())
    process.slowed(auth, {})
    assert not vars(auth.database)
    process.slowed(auth, {"commits": 0.0, "store": 0.0})
    assert {"write", "read"} == vars(auth.database).keys()
    assert ("written", "read") == (await auth.database.write(), await auth.database.read())


async def test_without_the_test_kit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What makes the users is named."""
    monkeypatch.setitem(sys.modules, "picoauth.testing.server", None)
    config = parse('plugins = ["password"]', tmp_path)
    with pytest.raises(ConfigError, match="Users are made by the test kit: run `pip install"):
        await crowd.gathered(config, tmp_path, PLAN)


async def test_factor_that_nobody_can_prove(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A factor whose package has no ceremony."""
    monkeypatch.setattr("picoauth.testing.people.installed", lambda _: None)
    config = parse('plugins = ["password"]', tmp_path)
    with pytest.raises(ConfigError, match="Nobody told how a user proves the factor password: "):
        await crowd.gathered(config, tmp_path, PLAN)
