"""Distributions with a plugin in them, as an installer leaves them."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PLUGIN = """
from picoauth import NoSettings, Plugin

class Made(Plugin[NoSettings]):
    pass
"""


class Distributions:
    """A folder that Python looks for packages in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(
        self,
        distribution: str,
        plugin: str,
        source: str = PLUGIN,
        *,
        group: str = "picoauth.v1",
        kind: str = "Made",
        metadata: bool = True,
    ) -> None:
        """Install a package of one module; `kind` is the plugin's class in it."""
        name = distribution.replace("-", "_")
        (self.folder / f"installed_{name}.py").write_text(source, encoding="utf-8")
        info = self.folder / f"{name}-1.0.dist-info"
        info.mkdir()
        entry = f"[{group}]\n{plugin} = installed_{name}:{kind}\n"
        (info / "entry_points.txt").write_text(entry, encoding="utf-8")
        if metadata:
            text = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n"
            (info / "METADATA").write_text(text, encoding="utf-8")
        importlib.invalidate_caches()


@contextmanager
def distributing(folder: Path) -> Iterator[Distributions]:
    """A folder on the path of imports; what was imported from it is forgotten in the end."""
    sys.path.insert(0, str(folder))
    try:
        yield Distributions(folder)
    finally:
        sys.path.remove(str(folder))
        for name in [name for name in sys.modules if name.startswith("installed_")]:
            del sys.modules[name]
        importlib.invalidate_caches()
