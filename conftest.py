"""Fixtures for the tests of the kernel and of every plugin."""

from collections.abc import Mapping

import pytest

from picoauth.testing import Ceremony, Server
from tests.factors import CEREMONIES

pytest_plugins = ["pytester"]


@pytest.fixture
def picoauth_ceremonies() -> Mapping[str, type[Ceremony]]:
    """Of the factors of `tests/factors.py`, where a test says that they are on."""
    return CEREMONIES


@pytest.fixture
def server(picoauth_server: Server) -> Server:
    """The kit's server, with password login: what third parties get by installing."""
    return picoauth_server
