"""How often something may be sent to one account or one address."""

from __future__ import annotations

from collections.abc import Callable

from picoauth.database import Database, Statement
from picoauth.settings import MailSettings

HOUR, DAY = 3600, 86400
# Spans begin with the first message in them. One that begins in the future was made by a clock
# that was ahead: it counts for nothing.
TAKE = """
    insert into rates (key, last_at, hour_at, hourly, day_at, daily) values (?, ?, ?, 1, ?, 1)
        on conflict (key) do update set
            last_at = excluded.last_at,
            hour_at = case when rates.hour_at > ? and rates.hour_at <= excluded.last_at
                      then rates.hour_at else excluded.last_at end,
            hourly = case when rates.hour_at > ? and rates.hour_at <= excluded.last_at
                     then rates.hourly + 1 else 1 end,
            day_at = case when rates.day_at > ? and rates.day_at <= excluded.last_at
                     then rates.day_at else excluded.last_at end,
            daily = case when rates.day_at > ? and rates.day_at <= excluded.last_at
                    then rates.daily + 1 else 1 end
        where (rates.last_at <= ? or rates.last_at > excluded.last_at)
          and (rates.hourly < ? or rates.hour_at <= ? or rates.hour_at > excluded.last_at)
          and (rates.daily < ? or rates.day_at <= ? or rates.day_at > excluded.last_at)
    returning key
"""


class Rates:
    """Counts, by one conditional statement, whoever asks and in how many processes."""

    def __init__(self, database: Database, settings: MailSettings, now: Callable[[], int]) -> None:
        self.database = database
        self.settings = settings
        self.now = now

    async def take(self, *keys: str) -> bool:
        """Whether one more may be sent under each of the keys; each that may is counted.

        A key holds no address and no name: take an id, or a keyed hash.
        """
        taken = await self.database.write(*(self.taking(key) for key in keys))
        return all(taken)

    def taking(self, key: str) -> Statement:
        now, bounds = self.now(), self.settings
        hour, day = now - HOUR, now - DAY
        inside = (hour, hour, day, day)
        allowed = (now - bounds.pause, bounds.hourly, hour, bounds.daily, day)
        return Statement(TAKE, (key, now, now, now, *inside, *allowed))


def cleaning(now: int) -> Statement:
    return Statement("delete from rates where last_at < ?", (now - DAY,))
