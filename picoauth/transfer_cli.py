"""The commands `picoauth users import` and `picoauth users export`."""

from __future__ import annotations

import gc
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import click

from picoauth.auth import Auth
from picoauth.callers import Caller
from picoauth.completion import USER
from picoauth.config import sentence
from picoauth.errors import ConfigError, Denied
from picoauth.exporting import exported
from picoauth.failures import Failure, Misuse
from picoauth.identifiers import canonical
from picoauth.importing import Advance, Importer, Report
from picoauth.importlines import Line
from picoauth.running import run
from picoauth.tables import as_json

MISFIT = (
    "The password does not fit line {number}: nothing was imported. See that the hash and its "
    "parameters are those of the system it comes from."
)
SELDOM = 50_000
"""Objects, those of about three writes."""
STEP = 256 * 1024
"""Bytes between two pictures of a progress bar."""


@click.command("import")
@click.argument("file", metavar="FILE", type=click.Path(allow_dash=True))
@click.option("--check", is_flag=True, help="Write nothing: say what would become of each line.")
@click.option(
    "--sample",
    type=USER,
    metavar="USER",
    help="First ask for this user's password, and see that it fits what the file has.",
)
@as_json
@click.pass_context
def import_(ctx: click.Context, file: str, check: bool, sample: str | None, as_json: bool) -> None:  # noqa: FBT001
    """Make users from a file of JSON lines, or from the standard input (-).

    Every line is looked at before the first user is made: one that is wrong keeps all from
    being made. Names that somebody has already are told by line, and the others are made.
    An import that was interrupted is finished by doing it again.
    """
    with opened(file) as lines:

        async def work(auth: Auth) -> tuple[Report, bool]:
            with closing(Importer(auth, Caller.local())) as importer, seldom_collected():
                with progress("Reading", size(lines), quiet=as_json) as advance:
                    report, line = importer.check(
                        lines, advance, sample=key(sample) if sample else None
                    )
                if report.refusals:
                    return report, False
                if sample:
                    await prove(importer, sample, line, file)
                label = "Looking" if check else "Making users"
                with progress(label, size(lines), quiet=as_json) as advance:
                    return await importer.run(lines, advance, dry=check), True

        report, sound = run(ctx, work)
    tell(report, sound=sound, check=check, as_json=as_json)


@click.command("export")
@click.argument("file", metavar="[FILE]", default="-", type=click.Path(allow_dash=True))
@click.option(
    "--secrets",
    is_flag=True,
    help="With hashes of passwords, and all else that lets in whoever reads it.",
)
@click.pass_context
def export(ctx: click.Context, file: str, secrets: bool) -> None:  # noqa: FBT001
    """Write all users as JSON lines, to a new file or to the standard output."""
    with made(file) as out:

        async def work(auth: Auth) -> int:
            count = 0
            [(total,)] = await auth.database.read("select count(*) from users", slow=True)
            with progress("Writing", total, quiet=out is sys.stdout, step=1) as advance:
                async for page in exported(auth, secrets=secrets):
                    for user in page:
                        click.echo(json.dumps(user), file=out)
                    advance(len(page))
                    count += len(page)
            return count

        count = run(ctx, work)
    if file != "-":
        click.echo(f"Wrote {users(count)} to {file}.")


@contextmanager
def seldom_collected() -> Iterator[None]:
    """Lines have no cycles: to look for some after each 700 objects is work for nothing."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(SELDOM, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def opened(file: str) -> IO[bytes]:
    """A file that can be read twice. Raises ConfigError."""
    try:
        stream: IO[bytes] = sys.stdin.buffer if file == "-" else open(file, "rb")  # noqa: PTH123, SIM115
        if file != "-" and stream.seekable():
            return stream
        copy = TemporaryFile()  # noqa: SIM115 - it has no name, so that nobody else reads it
        with nullcontext() if file == "-" else stream:
            shutil.copyfileobj(stream, copy)
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}.") from error
    copy.seek(0)
    return copy


@contextmanager
def made(file: str) -> Iterator[IO[str]]:
    """A new file that only its owner can read, and which is there only as a whole."""
    if file == "-":
        yield sys.stdout
        return
    try:
        out = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise ConfigError(f"{file} exists already: name another, or move it away.") from error
    except OSError as error:
        raise ConfigError(f"{file} cannot be written: {error.strerror}.") from error
    try:
        with os.fdopen(out, "w", encoding="utf-8") as stream:
            yield stream
    except BaseException:
        Path(file).unlink()
        raise


@contextmanager
def progress(label: str, length: int, *, quiet: bool, step: int = STEP) -> Iterator[Advance]:
    """A bar for who watches at a terminal."""
    if quiet or not watched():
        yield lambda _: None
        return
    with click.progressbar(
        length=length, label=label, file=sys.stderr, update_min_steps=step
    ) as bar:
        yield bar.update


def watched() -> bool:
    return sys.stderr.isatty()


def size(lines: IO[bytes]) -> int:
    return os.fstat(lines.fileno()).st_size


def key(user: str) -> tuple[str, str]:
    """What finds a user, by kind and value. Raises AuthError."""
    kind = "email" if "@" in user else "username"
    return kind, canonical(kind, user)


async def prove(importer: Importer, sample: str, line: Line | None, file: str) -> None:
    """See that a user's own text fits what the file has of the user. Raises ConfigError, Failure."""
    if line is None:
        raise ConfigError(f"No line has the user {sample!r}: name one for --sample who is there.")
    known = [(importer.fields[name], value) for name, value in line.fields.items()]
    provable = [(field, value) for field, value in known if field.provable]
    if not provable:
        raise ConfigError(
            f"Line {line.number} has nothing that a password could fit: name another for --sample."
        )
    typed = asked(sample, file)
    for field, value in provable:
        try:
            await field.prove(value, typed)
        except Denied as error:
            raise Failure([MISFIT.format(number=line.number)]) from error


def asked(user: str, file: str) -> str:
    """At a terminal, where nobody sees it; else the first line of the standard input."""
    if sys.stdin.isatty() or file == "-":
        return str(click.prompt(f"Password of {user}", hide_input=True, err=True))
    return sys.stdin.readline().rstrip("\r\n")


def tell(report: Report, *, sound: bool, check: bool, as_json: bool) -> None:
    """Raises Failure for lines that made no user, and Misuse where they kept all from being made."""
    if as_json:
        click.echo(json.dumps({**asdict(report), "written": sound and not check}))
    elif sound:
        would = "would be made" if check else "made"
        click.echo(f"{users(report.made)} {would}, {report.there} there already.")
    problems = [sentence(f"line {one.line}", one.problem) for one in report.refused]
    if report.refusals > len(problems):
        problems.append(f"and {report.refusals - len(problems)} lines more.")
    if not sound:
        raise Misuse([*problems, "Nothing was imported: mend the file, and do it again."])
    if problems:
        raise Failure([*problems, "These lines make no user; the others are not held up by them."])


def users(count: int) -> str:
    return f"{count} user{'' if count == 1 else 's'}"
