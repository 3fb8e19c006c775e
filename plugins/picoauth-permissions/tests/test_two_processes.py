"""Two processes on one file that remove the last two administrators at once."""

from __future__ import annotations

from pathlib import Path

from tests.test_two_processes import NOW, Two

ABLE = """
    select count(*) from permissions p join users u on u.id = p.user_id
     where p.permission = 'picoauth:admin' and u.disabled_at is null
"""
ROUNDS = 5


def test_last_two_administrators(tmp_path: Path) -> None:
    """Whichever process is faster, and by whatever way, one administrator is left."""
    two = Two()
    try:
        settings = 'plugins = ["permissions"]'
        two.both("start", folder=str(tmp_path), now=NOW, settings=settings)
        names = [f"user{n}" for n in range(2 * ROUNDS)]
        two.first.do("register", names=names)
        ids = [two.first.do("appoint", username=name) for name in names[:2]]
        for done in range(ROUNDS):
            first, second = two.both("lose", user_ids=ids, times=25)
            assert 0 < first.get("last_administrator", 0) + second.get("last_administrator", 0)
            assert [[1]] == two.first.do("rows", sql=ABLE), (first, second)
            ids += [two.second.do("appoint", username=name) for name in names[2 + 2 * done :][:1]]
    finally:
        two.end()
