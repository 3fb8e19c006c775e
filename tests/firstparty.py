"""The plugins of this repository, by their names, as the tests find them installed."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
INSTALLED = sorted(
    name
    for path in ROOT.glob("plugins/*/pyproject.toml")
    for name in tomllib.loads(path.read_text("utf-8"))["project"]
    .get("entry-points", {})
    .get("picoauth.v1", {})
)
"""All that there are; a package for applications is none."""
LISTED = tuple(tomllib.loads((ROOT / "picoauth.toml").read_text("utf-8"))["plugins"])
"""Those of the settings file that comes along, which are those that `picoauth init` writes."""
