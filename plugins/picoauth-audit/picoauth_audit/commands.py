"""The commands `picoauth audit …`."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from picoauth import USER, ConfigError, Event, run_started, tables
from picoauth_audit.chain import Broken
from picoauth_audit.reading import Filter, line, moment
from picoauth_audit.verifying import Verified

if TYPE_CHECKING:
    from picoauth_audit.plugin import AuditPlugin

COLUMNS = ("seq", "at", "event", "user_id", "who", "actor", "address", "members")
ANCHOR = re.compile("([0-9]{1,15}):([0-9a-f]{64})")


def as_moment(_: click.Context, __: click.Parameter, value: str | None) -> int | None:
    try:
        return None if value is None else moment(value)
    except (ValueError, OverflowError) as error:
        raise click.BadParameter("write 2027-01-31, or 2027-01-31T08:00, in UTC") from error


def as_anchors(_: click.Context, __: click.Parameter, values: Sequence[str]) -> Mapping[int, str]:
    """Places in the chain and their links, as the log of the server has them."""
    found = [ANCHOR.fullmatch(value) for value in values]
    if None in found:
        raise click.BadParameter("write a place and its link, as 4711:0f3c…")
    return {int(one[1]): one[2] for one in found if one}


since = click.option("--since", callback=as_moment, help="From this time on, in UTC.")
until = click.option("--until", callback=as_moment, help="Before this time, in UTC.")


def commands(plugin: AuditPlugin) -> Sequence[click.Command]:
    return [listing(plugin), verifying(plugin), exporting(plugin), restarting(plugin)]


async def settled(plugin: AuditPlugin) -> None:
    """Seal what waits, so that it is seen. A broken chain can be looked at all the same."""
    try:
        await plugin.sealer.settle()
    except Broken as error:
        click.echo(f"The audit log is not what was written: {error}.", err=True)


def listing(plugin: AuditPlugin) -> click.Command:
    @click.command("list")
    @click.option("--user", type=USER, help="Of this user: a name, an id, or a pseudonym.")
    @click.option("--event", help="Of this event, such as LoginFailed.")
    @since
    @until
    @click.option("--actor", help="By whom: command:NAME, key:NAME, user:ID or socket.")
    @click.option("--address", help="From this address.")
    @click.option("--before", type=click.IntRange(1), help="Rows before this one.")
    @click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 1_000_000))
    @tables.as_json
    def list_(
        user: str | None,
        event: str | None,
        limit: int,
        as_json: bool,  # noqa: FBT001
        **given: Any,
    ) -> None:
        """Show rows, the newest first."""

        async def work() -> tuple[Sequence[Mapping[str, Any]], int | None]:
            await settled(plugin)
            found = None if user is None else await plugin.reader.user(user)
            if user is not None and found is None:
                raise ConfigError(
                    f"There is no user {user!r}, and no such pseudonym: "
                    "`picoauth users list` shows users."
                )
            page = await plugin.reader.page(Filter(user=found, event=event, **given), limit)
            if event is not None and not page[0]:
                check_event(event)
            return page

        shown, following = run_started(plugin.auth, work)
        tables.show(COLUMNS, shown if as_json else [*map(told, shown)], as_json=as_json)
        if following is not None:
            click.echo(f"There are more: add --before {following}", err=True)

    return list_


def check_event(event: str) -> None:
    """Nothing was found: say so if nothing can be. Raises ConfigError."""
    known = [kind.__name__ for kind in Event.kinds()]
    if event not in known:
        near = get_close_matches(event, known, n=1)
        hint = f", did you mean {near[0]}?" if near else ": see how it is written in a list of all."
        raise ConfigError(f"There is no event {event!r}{hint}")


def told(one: Mapping[str, Any]) -> Mapping[str, Any]:
    """A row for people, who need no names of members that are not there."""
    given = {name: value for name, value in one["members"].items() if value is not None}
    return {**one, "members": " ".join(f"{n}={json.dumps(v)}" for n, v in given.items())}


def verifying(plugin: AuditPlugin) -> click.Command:
    @click.command()
    @click.option(
        "--anchor",
        "anchors",
        multiple=True,
        callback=as_anchors,
        help="A link to compare, as SEQ:LINK.",
    )
    @tables.as_json
    @click.pass_context
    def verify(ctx: click.Context, anchors: Mapping[int, str], as_json: bool) -> None:  # noqa: FBT001
        """Look at every row, and say whether the log is what was written.

        Exit code 1 where it is not.
        """

        async def work() -> Verified:
            await plugin.sealer.notice_deletions()
            await plugin.sealer.settle()
            return await plugin.verifier.verify(anchors)

        try:
            found = run_started(plugin.auth, work)
        except Broken as error:
            said = f"The audit log is not what was written: {error}."
            click.echo(json.dumps({"whole": False, "why": str(error)}) if as_json else said)
            ctx.exit(1)
        click.echo(whole(found, as_json=as_json))

    return verify


def whole(found: Verified, *, as_json: bool) -> str:
    head = found.head
    if as_json:
        ends = {"seq": head.seq, "link": head.link}
        ends |= {"first": head.first, "first_link": head.first_link}
        return json.dumps({"whole": True, "rows": found.rows, "waiting": found.waiting, **ends})
    rows = f"{found.rows} row{'' if found.rows == 1 else 's'}"
    return f"The audit log is whole: {rows}, up to {head.seq}:{head.link}"


def exporting(plugin: AuditPlugin) -> click.Command:
    @click.command()
    @since
    @until
    def export(since: int | None, until: int | None) -> None:
        """Write every row as a JSON object a line, in the order of the chain."""

        async def work() -> None:
            await settled(plugin)
            async for one in plugin.reader.lines(since, until):
                click.echo(one)

        run_started(plugin.auth, work)

    return export


def restarting(plugin: AuditPlugin) -> click.Command:
    @click.command()
    @click.argument("file", type=click.Path(path_type=Path))
    def restart(file: Path) -> None:
        """Begin a new chain where the old one is broken.

        All rows go into FILE, which must not exist, and out of the database.
        """

        async def work() -> int:
            try:
                await plugin.verifier.verify()
                await plugin.sealer.settle()
            except Broken as error:
                return await moved(plugin, file, str(error))
            raise ConfigError("The audit log is whole: there is nothing to restart.")

        rows = run_started(plugin.auth, work)
        click.echo(f"{rows} rows are in {file}, and a new chain begins.")

    return restart


async def moved(plugin: AuditPlugin, file: Path, why: str) -> int:
    """Write all rows into a new file, for its owner alone, and then begin anew."""
    placeless, forged = await plugin.sealer.placeless(), await plugin.sealer.forged()
    rows, last = len(placeless) + len(forged), 0
    try:
        made = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(made, "w", encoding="utf-8") as out:  # noqa: PTH123, ASYNC230 - a command's own
            async for row in plugin.sealer.all():
                out.write(f"{line(row)}\n")
                rows, last = rows + 1, max(last, row.seq)
            out.writelines(f"{line(row)}\n" for row in (*placeless, *forged))
            out.flush()
            os.fsync(out.fileno())
    except OSError as error:
        raise ConfigError(
            f"{file} cannot be written ({error.strerror}): name a new file in a folder of yours."
        ) from error
    await plugin.sealer.restart(why, last, rows, forged)
    return rows
