"""Fixtures of picoauth, for every project that has it installed.

`picoauth_server` is the whole server on a temporary file, with a client attached. A project
overrides the other fixtures in its `conftest.py` to say what is to be served.
"""

# pytest loads this module for every project where picoauth is installed, needed or not: picoauth
# itself, which takes half a second, is imported by whoever uses a fixture.

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from picoauth import Plugin
    from picoauth.testing import Ceremony, Server

pytest.register_assert_rewrite("picoauth.testing.contracts")


@pytest.fixture
def picoauth_settings() -> str:
    """The settings, as `picoauth.toml` has them; override it."""
    return 'plugins = ["password"]'


@pytest.fixture
def picoauth_plugins() -> Mapping[str, type[Plugin[Any]]]:
    """Plugins by name that no installed package offers, such as those of a test; override it."""
    return {}


@pytest.fixture
def picoauth_ceremonies() -> Mapping[str, type[Ceremony]]:
    """How test users prove a factor, by its name, where no installed package says it; override it."""
    return {}


async def served(
    tmp_path: Path,
    picoauth_settings: str,
    picoauth_plugins: Mapping[str, type[Plugin[Any]]],
    picoauth_ceremonies: Mapping[str, type[Ceremony]],
) -> AsyncIterator[Server]:
    """The whole server on a temporary file, with a client attached."""
    from picoauth.testing import serving  # noqa: PLC0415 - see above

    async with serving(
        tmp_path, picoauth_settings, plugins=picoauth_plugins, ceremonies=picoauth_ceremonies
    ) as server:
        yield server


def unserved() -> None:
    """Says what is missing."""
    pytest.fail("picoauth_server needs pytest-asyncio: install picoauth[testing].", pytrace=False)


try:
    import pytest_asyncio
except ImportError:
    picoauth_server: Any = pytest.fixture(name="picoauth_server")(unserved)
else:
    picoauth_server = pytest_asyncio.fixture(name="picoauth_server")(served)
