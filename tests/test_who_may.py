"""Every route of every first-party plugin, with whom it lets in: a table that is read in reviews.

`AccessContract` asks each route as each principal; this is what it is held against, in one place.
To bring the table up to date, run `python -m tests.test_who_may`, and look at the difference.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from picoauth import Application, Auth, parse
from picoauth.discovery import installed
from picoauth.routes import AnyRoute, Route
from picoauth.testing import MailPlugin, offer
from tests.firstparty import INSTALLED

TABLE = Path(__file__).with_name("who_may.txt")
IN_PLACE = ("session-", "mail-", "smtp", "encrypted", "libsql")
"""Plugins that fill a slot, of which one can be on; they have no routes."""
NEEDED = """
trusted_proxies = ["unix"]
[forward-auth]
hosts = ["wiki.example.com"]
[indieauth-login]
domains = true
[privateauth]
consent_url = "built-in"
[webhook.endpoints.crm]
url = "https://crm.example.com/"
secret = { file = "webhook.secret" }
"""


def rows(folder: Path) -> Sequence[str]:
    """A line for each: method, path, policy, and listener where that is not the public one."""
    names = [name for name in INSTALLED if not name.startswith(IN_PLACE)]
    settings = f"plugins = {json.dumps([*names, 'captured-mail'])}\n{NEEDED}"
    (folder / "webhook.secret").write_text(f"whsec_{'A' * 43}=", encoding="utf-8")
    (folder / "webhook.secret").chmod(0o600)
    found = [*installed(), offer("captured-mail", MailPlugin)]
    app = Application(Auth(parse(settings, folder), found=found))
    return sorted(row(route) for _, route in app.description.routes)


def row(route: AnyRoute) -> str:
    policy, listener = "edge", "public"
    if isinstance(route, Route):
        policy, listener = route.policy, route.listener
    where = "" if listener == "public" else f", on the {listener} listener"
    return f"{route.path} {route.method}: {policy}{where}"


def test_table_of_all_routes(tmp_path: Path) -> None:
    """Nobody opens a route to others without a line of the table that says so (M-2)."""
    assert TABLE.read_text(encoding="utf-8").splitlines() == rows(tmp_path)


def test_administration_is_guarded(tmp_path: Path) -> None:
    """Whatever is below `/admin` has the policy `admin`, and the listener for it (M-1)."""
    below = [line for line in rows(tmp_path) if line.startswith("/admin")]
    assert below
    assert [] == [line for line in below if not line.endswith(": admin, on the admin listener")]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        TABLE.write_text("".join(f"{line}\n" for line in rows(Path(folder))), encoding="utf-8")
