"""Jobs: leased, bounded, and careful about clocks; and what the kernel cleans up by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from picoauth import Database, Job, Statement, Unavailable
from picoauth.jobs import Jobs
from picoauth.testing import Clock, Server
from tests.storage import DEADLINE, kernel_tables

SESSION = """
    insert into sessions (id, user_id, idle_at, expires_at, ended_at, epoch, generation,
                          created_at, rotated_at, auth_time, amr)
    values (?, ?, ?, ?, ?, 0, 0, 0, 0, 0, '[]')
"""


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with kernel_tables(tmp_path) as database:
        yield database


class Work:
    """A job that counts its runs, and fails in each where it is told so."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.runs = 0
        self.ran = asyncio.Event()
        self.error = error

    async def __call__(self) -> None:
        self.runs += 1
        self.ran.set()
        if self.error:
            raise self.error


class Hang:
    """A job that does not come back until it is cut off."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.ended = asyncio.Event()

    async def __call__(self) -> None:
        self.began.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.ended.set()


def jobs_of(database: Database, clock: Clock, *jobs: Job, wall: Clock | None = None) -> Jobs:
    """The jobs of one process. `wall` is its clock where that can leap, `clock` never does."""
    wall = wall or clock
    made = Jobs(database, lambda: int(wall()), clock)
    made.jobs = jobs
    return made


async def test_job_runs_when_it_is_due(database: Database, clock: Clock) -> None:
    """The first run is at once, the next one when `every` seconds are over."""
    work = Work()
    jobs = jobs_of(database, clock, Job("count", 60, work))
    runs = []
    for seconds in (0, 0, 59, 1, 1, 0, 60, 1):
        clock.advance(seconds)
        await jobs.once()
        runs.append(work.runs)
    assert [1, 1, 1, 1, 2, 2, 2, 3] == runs


async def test_one_of_several_processes_runs_it(database: Database, clock: Clock) -> None:
    """Each run is done by one process, whoever asks first; each job has a lease of its own."""
    first, second = Work(), Work()
    all_jobs = [
        jobs_of(database, clock, Job("first", 60, first), Job("second", 60, second))
        for _ in range(5)
    ]
    for expected in (1, 2, 3):
        await asyncio.gather(*(jobs.once() for jobs in all_jobs))
        assert (expected, expected) == (first.runs, second.runs)
        clock.advance(61)


async def test_lease_outlasts_the_run(database: Database) -> None:
    """Clocks are read in whole seconds: a lease taken late in one covers all of its run."""
    here, there = Clock(1_800_000_000.9), Clock(1_800_000_000.9)
    mine, theirs = Work(), Work()
    await jobs_of(database, here, Job("work", 60, mine)).once()
    there.advance(60 - 0.01)  # the run that began at .9 may go on until here
    await jobs_of(database, there, Job("work", 60, theirs)).once()
    assert (1, 0) == (mine.runs, theirs.runs)
    there.advance(1)
    await jobs_of(database, there, Job("work", 60, theirs)).once()
    assert (1, 1) == (mine.runs, theirs.runs)


async def test_run_is_cut_off(
    database: Database,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A run that takes longer than its lease ends with it, so that no two are ever at work."""
    limits: list[tuple[float, asyncio.Timeout]] = []
    timeout = asyncio.timeout

    def noted(seconds: float) -> asyncio.Timeout:
        limits.append((seconds, timeout(None)))
        return limits[-1][1]

    monkeypatch.setattr(asyncio, "timeout", noted)
    hang = Hang()
    running = asyncio.create_task(jobs_of(database, clock, Job("hang", 60, hang)).once())
    await asyncio.wait_for(hang.began.wait(), DEADLINE)
    [(seconds, limit)] = limits
    limit.reschedule(0)
    await asyncio.wait_for(running, DEADLINE)
    assert (60, True) == (seconds, hang.ended.is_set())
    assert [("ERROR", "job hang was cut off after 60 s")] == messages(caplog)


async def test_failing_job_stays_alone(
    database: Database, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """What one job does wrong is logged; the others run, and it runs again."""
    errors = [Unavailable("the mail server is down"), ZeroDivisionError(), TimeoutError(), None]
    works = [Work(error) for error in errors]
    jobs = jobs_of(database, clock, *(Job(f"{n}", 60, work) for n, work in enumerate(works)))
    for expected in (1, 2):
        await jobs.once()
        assert [expected] * 4 == [work.runs for work in works]
        clock.advance(61)
    expected_messages = [
        ("ERROR", "job 1 failed"),
        ("ERROR", "job 2 failed"),
        ("WARNING", "job 0 has to wait: the mail server is down"),
    ]
    assert expected_messages == sorted(messages(caplog)[:3])


async def test_database_that_is_down(
    database: Database, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a lease nothing runs."""
    work = Work()
    jobs = jobs_of(database, clock, Job("work", 60, work))
    await database.close()
    await jobs.once()
    assert 0 == work.runs
    [(level, message)] = messages(caplog)
    assert ("WARNING", True) == (level, message.startswith("job work has to wait: "))


async def test_long_job_holds_no_other_up(database: Database, clock: Clock) -> None:
    """While one job hangs, the others go on; a stop ends it too."""
    hang, broken, work = Hang(), Work(asyncio.CancelledError()), Work()
    jobs = jobs_of(
        database, clock, Job("hang", 10**6, hang), Job("broken", 60, broken), Job("work", 60, work)
    )
    running = asyncio.create_task(jobs.forever(pause=0.001))
    await asyncio.wait_for(hang.began.wait(), DEADLINE)
    for expected in (1, 2, 3):
        await asyncio.wait_for(work.ran.wait(), DEADLINE)
        assert expected == work.runs
        work.ran.clear()
        clock.advance(61)
    assert not hang.ended.is_set()
    assert 2 <= broken.runs
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert hang.ended.is_set()


@pytest.mark.parametrize(
    ("leap", "held_back"), [(0, False), (3600, False), (3601, True), (86400 * 365, True)]
)
async def test_clock_that_leaps_ahead(
    database: Database,
    clock: Clock,
    leap: int,
    *,
    held_back: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """After a leap of the wall clock nothing is purged for an hour; the rest goes on (FT-1)."""
    wall, work, mail = Clock(), Work(), Work()
    both = Job("work", 60, work, purges=True), Job("mail", 60, mail)
    jobs = jobs_of(database, clock, *both, wall=wall)
    await jobs.once()
    for each in (wall, clock):
        each.advance(61)
    wall.advance(leap)
    await jobs.once()
    assert (1 if held_back else 2, 2) == (work.runs, mail.runs)
    for each in (wall, clock):
        each.advance(3599)
    await jobs.once()
    assert (1 if held_back else 3) == work.runs
    for each in (wall, clock):
        each.advance(1)
    await jobs.once()
    assert (2 if held_back else 3) == work.runs
    warning = f"the clock leapt ahead by {leap} s: nothing is purged for an hour"
    assert ([("WARNING", warning)] if held_back else []) == messages(caplog)


async def test_time_that_passed_is_no_leap(
    database: Database, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """A machine that was busy or idle for a day does not hold anything back."""
    work = Work()
    jobs = jobs_of(database, clock, Job("work", 60, work))
    await jobs.once()
    clock.advance(86400)
    await jobs.once()
    assert (2, []) == (work.runs, messages(caplog))


@pytest.mark.parametrize(("back", "runs"), [(1, 1), (3600, 1), (3601, 2), (86400 * 365, 2)])
async def test_clock_that_goes_back(database: Database, clock: Clock, back: int, runs: int) -> None:
    """A lease that a clock took which was ahead does not last until that time comes (FT-1)."""
    wall, work = Clock(), Work()
    jobs = jobs_of(database, clock, Job("work", 60, work), wall=wall)
    await jobs.once()
    wall.advance(-back)
    await jobs.once()
    assert runs == work.runs


async def test_the_kernel_cleans_up(server: Server) -> None:
    """Every ten minutes what nobody can need again is removed, and nothing else."""
    database, clock = server.auth.database, server.clock
    user, _ = await server.auth.users.register(server.auth.users.draft(username="ann"))
    now = int(clock())
    ages = {"gone": now - 90_000, "needed": now - 2_900}
    for name, time in ages.items():
        await database.write(
            Statement("insert into tickets values (?, 'x', null, '', ?)", (name.encode(), time)),
            Statement("insert into throttle values (?, 1, 0, ?)", (name, time)),
            Statement("insert into revocations values (?, ?, ?, ?)", (name, time, time, time)),
            *(
                Statement(SESSION, (f"{name} {column}", user.id, *times))
                for column, times in {
                    "idle": (time, now, None),
                    "expired": (now, time, None),
                    "ended": (now, now, time),
                }.items()
            ),
        )
    clock.advance(601)
    await server.auth.jobs.once()
    left = {
        "tickets": [(b"needed",)],
        "throttle": [("needed",)],
        "revocations": [("needed",)],
        "sessions": [("needed ended",), ("needed expired",), ("needed idle",)],
    }
    columns = {"tickets": "hash", "throttle": "key", "revocations": "session_id", "sessions": "id"}
    assert left == {
        table: await database.read(f"select {column} from {table} order by 1")
        for table, column in columns.items()
    }


def messages(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [
        (record.levelname, record.getMessage())
        for record in caplog.records
        if record.name == "picoauth.jobs"
    ]
