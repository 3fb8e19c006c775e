"""The filter: what it finds, what it refuses to be, and how it is made."""

from __future__ import annotations

import errno
import hashlib
import os
import resource
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from breachlists import as_ranges, numbered, ordered, sha1

from picoauth import ConfigError
from picoauth_hibp import building, lists
from picoauth_hibp.building import build
from picoauth_hibp.digests import digest
from picoauth_hibp.filters import HEAD, START, SUM, Filter, Head
from picoauth_hibp.lists import Reader

MADE = 1_800_000_000


def made(source: Path, target: Path, *, least: int = 1, partial: bool = False) -> Head:
    parts = Reader(least).of_path(source, partial=partial)
    return build(target, parts, made=MADE, least=least, progress=lambda _: None)


def refusal(source: Path, target: Path, *, partial: bool = False) -> str:
    with pytest.raises(ConfigError) as refused:
        made(source, target, partial=partial)
    return str(refused.value)


@contextmanager
def opened(path: Path) -> Iterator[Filter]:
    one = Filter(path)
    try:
        yield one
    finally:
        one.close()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return tmp_path / "list.txt"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "breaches"


@pytest.mark.parametrize("count", [1, 2, 31, 32, 33, 5000])
def test_finds_all(source: Path, target: Path, count: int) -> None:
    """Every password of a list is found, whatever its size."""
    texts = numbered(count)
    source.write_bytes(ordered(texts))
    head = made(source, target)
    assert (count, MADE, 1) == (head.entries, head.made, head.least)
    with opened(target) as one:
        assert head == one.head
        assert [] == [text for text in texts if not one.has(digest(text))]
        one.verify(lambda _: None)
    assert 0o644 == target.stat().st_mode & 0o777
    assert [target.name, source.name] == sorted(path.name for path in target.parent.iterdir())


def test_finds_little_else(source: Path, target: Path) -> None:
    """Of what is in no list at most one in a thousand is found, and as many as the head says."""
    source.write_bytes(ordered(numbered(20_000)))
    head = made(source, target)
    with opened(target) as one:
        found = sum(one.has(digest(f"something else {n}")) for n in range(50_000))
    assert head.wrongly < 1 / 1000
    assert found <= 50
    assert abs(found - 50_000 * head.wrongly) < 25


def test_every_bucket(source: Path, target: Path) -> None:
    """The first and the last digest that there can be are found, and not their neighbours."""
    edges = [f"{0:040X}:1", f"{2**160 - 1:X}:1"]
    source.write_text("\n".join([edges[0], *ordered(numbered(400)).decode().split(), edges[1]]))
    made(source, target)
    with opened(target) as one:
        assert [True, True] == [one.has(bytes(20)), one.has(b"\xff" * 20)]
        assert [False, False] == [one.has(bytes([0, 0, 0xFF] * 7)), one.has(b"\xff\xff\0" * 7)]


def test_long_lists(source: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list is read in parts, sized by its beginning, and written with gaps in it."""
    monkeypatch.setattr(building, "SAMPLE", 256)
    monkeypatch.setattr(building, "BLOCK", 16)
    monkeypatch.setattr(lists, "CHUNK", 1000)
    texts = [text for text in numbered(6000) if sha1(text)[0] not in "456789"]
    source.write_bytes(ordered(texts, end="\n"))
    steps: list[int] = []
    parts = Reader(1).of_path(source, partial=False)
    head = build(target, parts, made=MADE, least=1, progress=steps.append)
    assert len(texts) == head.entries
    assert 64 <= 1 << head.bits <= 512
    assert (steps, True) == (sorted(steps), steps[-1] > 0xFF00)
    with opened(target) as one:
        assert [] == [text for text in texts if not one.has(digest(text))]


def test_lists_that_are_not_spread_evenly(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A beginning that promises less than follows makes no filter that finds too much."""
    monkeypatch.setattr(building, "SAMPLE", 16)
    monkeypatch.setattr(building, "TOLERATED", 1 / 10_000)
    few = [f"{n << 152:040X}:1" for n in range(16)]
    many = [f"{(0xF << 156) + n:040X}:1" for n in range(1000)]
    source.write_text("\n".join([*few, *many]))
    sentence = "The hashes of the list are not spread evenly, or too many: nothing was made."
    assert sentence == refusal(source, target)
    assert not target.exists()


def test_folder_of_ranges(tmp_path: Path, target: Path) -> None:
    """The files of the downloader are one list, their names being the beginnings of hashes."""
    texts = numbered(50)
    as_ranges(tmp_path / "ranges", texts)
    (tmp_path / "ranges" / "readme.md").write_text("not one of them")
    assert 50 == made(tmp_path / "ranges", target, partial=True).entries
    with opened(target) as one:
        assert [] == [text for text in texts if not one.has(digest(text))]
        assert not one.has(digest("something else"))
    sentence = (
        f"{tmp_path / 'ranges'} has 50 of 1048576 files of ranges: "
        "finish the download, or say --partial."
    )
    assert sentence == refusal(tmp_path / "ranges", target)
    (tmp_path / "empty").mkdir()
    assert "has 0 of" in refusal(tmp_path / "empty", target, partial=True)


def test_bad_line_of_a_range(tmp_path: Path, target: Path) -> None:
    """A line of a range is told by its file."""
    as_ranges(tmp_path / "ranges", ["one"])
    [path] = (tmp_path / "ranges").iterdir()
    path.write_text(f"{sha1('one')}:1\n")
    sentence = (
        f"Line 1 of {path} is not 35 hexadecimal digits, a colon and a count: nothing was made."
    )
    assert sentence == refusal(tmp_path / "ranges", target, partial=True)


def test_least(source: Path, target: Path) -> None:
    """Passwords of few accounts can be left out; a count of 0 never counts."""
    lines = [*ordered(["once"], 1).split(), *ordered(["often"], 12).split()]
    lines += ordered(["never"], 0).split()
    source.write_bytes(b"\n".join(sorted(lines)) + b"\n")
    for least, expected in [(1, {"once", "often"}), (2, {"often"}), (12, {"often"})]:
        assert least == made(source, target, least=least).least
        with opened(target) as one:
            found = {text for text in ("once", "often", "never") if one.has(digest(text))}
        assert expected == found
    with pytest.raises(ConfigError, match="There is no hash in the list"):
        made(source, target, least=13)


GOOD = ordered(numbered(40)).decode().split()
NO_LINE = "is not 40 hexadecimal digits, a colon and a count: nothing was made."


@pytest.mark.parametrize(
    "bad",
    [
        "",
        GOOD[0].replace(":", ";"),
        f"{GOOD[0]}x",
        f" {GOOD[0]}",
        GOOD[0][1:],
        f"0{GOOD[0]}",
        f"{GOOD[0][:32]}:1",
        GOOD[0].partition(":")[0],
        "G" * 40 + ":1",
        "0" * 500,
        f"{GOOD[0]}\r{GOOD[1]}",
        f"{'0' * 40}:-1",
    ],
)
@pytest.mark.parametrize("chunk", [1 << 20, 64])
def test_bad_lines(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch, bad: str, chunk: int
) -> None:
    """A line that is none is told by its number, and nothing is made."""
    monkeypatch.setattr(lists, "CHUNK", chunk)
    source.write_text("\n".join([*GOOD[:17], bad, *GOOD[17:]]), newline="")
    assert f"Line 18 of {source} {NO_LINE}" == refusal(source, target)
    assert [source] == list(target.parent.iterdir())


@pytest.mark.parametrize("chunk", [1 << 20, 64])
def test_out_of_order(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    """A list that is ordered by count is refused at its first line that is too late."""
    monkeypatch.setattr(lists, "CHUNK", chunk)
    source.write_text("\n".join([*GOOD[:20], GOOD[5], *GOOD[20:]]))
    sentence = (
        f"Line 21 of {source} is out of order: "
        "take the list that is ordered by hash; nothing was made."
    )
    assert sentence == refusal(source, target)


def test_lists_that_cannot_be_read(tmp_path: Path, target: Path) -> None:
    """A file that is not there is told as such."""
    gone = tmp_path / "gone.txt"
    assert f"{gone} cannot be read: No such file or directory." == refusal(gone, target)
    gone.touch()
    assert "There is no hash in the list: nothing was made." == refusal(gone, target)


def test_nowhere_to_write(source: Path, tmp_path: Path) -> None:
    """A folder that is not there is no reason to lose an old filter."""
    source.write_bytes(ordered(["one"]))
    target = tmp_path / "gone" / "breaches"
    sentence = (
        f"{target} cannot be written: No such file or directory. What was there is still there."
    )
    assert sentence == refusal(source, target)


def test_full_disk(source: Path, target: Path) -> None:
    """Where the disk is full the old filter stays, and nothing lies about."""
    source.write_bytes(ordered(numbered(5000)))
    target.write_bytes(b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        said = refusal(source, target)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    reason = os.strerror(errno.EFBIG)
    assert f"{target} cannot be written: {reason}. What was there is still there." == said
    assert b"old" == target.read_bytes()
    assert [target, source] == sorted(target.parent.iterdir())


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, RuntimeError])
def test_interrupted(target: Path, error: type[BaseException]) -> None:
    """Ctrl-C leaves the old filter, and nothing beside it."""
    target.write_bytes(b"old")

    def parts() -> Iterator[Sequence[int]]:
        yield range(0, 1 << 60, 1 << 40)
        raise error

    with pytest.raises(error):
        build(target, parts(), made=MADE, least=1, progress=lambda _: None)
    assert b"old" == target.read_bytes()
    assert [target] == list(target.parent.iterdir())


def test_interrupted_before_the_first_write(target: Path) -> None:
    """A file that is gone already is no second error."""

    def parts() -> Iterator[Sequence[int]]:
        for path in target.parent.iterdir():
            path.unlink()
        raise KeyboardInterrupt
        yield ()

    with pytest.raises(KeyboardInterrupt):
        build(target, parts(), made=MADE, least=1, progress=lambda _: None)


# Files that are none


@pytest.fixture
def whole(source: Path, target: Path) -> bytes:
    source.write_bytes(ordered(numbered(100)))
    made(source, target)
    return target.read_bytes()


def resigned(raw: bytes, **changes: int) -> bytes:
    """Another head, with a right sum."""
    magic, version, *fields = HEAD.unpack_from(raw)
    head = HEAD.pack(magic, changes.get("version", version), *fields)
    return (head + SUM.pack(zlib.crc32(head))).ljust(START, b"\0") + raw[START:]


def test_damaged_heads(target: Path, whole: bytes) -> None:
    """A single wrong bit of the head is seen at the start, whichever it is."""
    for number in range(START * 8):
        raw = bytearray(whole)
        raw[number // 8] ^= 1 << number % 8
        target.write_bytes(raw)
        assert foreign(target) == start(target)


def foreign(path: Path) -> str:
    return f"filter in [hibp]: {path} is not what `picoauth hibp build` makes here: make it anew."


def start(path: Path) -> str:
    with pytest.raises(ConfigError) as refused:
        Filter(path)
    return str(refused.value)


def test_foreign_files(target: Path, whole: bytes) -> None:
    """Nothing, a text, another version: refused in a sentence."""
    for raw in (b"", b"x", b"A text that is long enough. " * 20, resigned(whole, version=2)):
        target.write_bytes(raw)
        assert foreign(target) == start(target)
    target.write_bytes(resigned(whole))
    Filter(target).close()


def test_sizes(target: Path, whole: bytes) -> None:
    """A file that was cut, or has something behind it, is refused in a sentence."""
    for raw in (whole[:-1], whole[: START + 5], whole[:START], whole + b"\0"):
        target.write_bytes(raw)
        sentence = (
            f"filter in [hibp]: {target} has {len(raw)} bytes of {len(whole)}: "
            "copy it again, or make it anew."
        )
        assert sentence == start(target)
    target.unlink()
    sentence = (
        f"filter in [hibp]: {target} cannot be read (No such file or directory): "
        "make it with `picoauth hibp build`."
    )
    assert sentence == start(target)


def test_verify(target: Path, whole: bytes) -> None:
    """Damage of the body is found by reading all of it."""
    for at in (START, len(whole) // 2, len(whole) - 1):
        raw = bytearray(whole)
        raw[at] ^= 1
        target.write_bytes(raw)
        with opened(target) as one, pytest.raises(ConfigError) as refused:
            one.verify(lambda _: None)
        sentence = f"filter in [hibp]: {target} is damaged: copy it again, or make it anew."
        assert sentence == str(refused.value)


@pytest.mark.usefixtures("whole")
def test_cut_under_a_server(target: Path) -> None:
    """A file that is cut while it is open is an error; its pages, read, would kill the process."""
    with opened(target) as one:
        assert one.has(digest(numbered(1)[0]))
        with target.open("r+b") as file:
            file.truncate(0)
        with pytest.raises(OSError, match="has changed under the server: start it anew"):
            one.has(digest(numbered(1)[0]))


def test_replaced_under_a_server(source: Path, target: Path, whole: bytes) -> None:
    """Building anew does not touch what a server has open."""
    assert whole
    with opened(target) as one:
        source.write_bytes(ordered(["something else"]))
        made(source, target)
        assert one.has(digest(numbered(1)[0]))
        assert not one.has(digest("something else"))
    with opened(target) as other:
        assert other.has(digest("something else"))


def test_digest_is_that_of_the_lists() -> None:
    """SHA-1 of the text in UTF-8, composed as keyboards compose it."""
    assert hashlib.sha1("pässword".encode()).digest() == digest("pa\u0308ssword")
    assert 20 == len(digest("\ud800"))
