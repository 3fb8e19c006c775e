"""Fixtures for the tests of the kernel and of every plugin."""

import pytest

from picoauth.testing import Server

pytest_plugins = ["pytester"]


@pytest.fixture
def server(picoauth_server: Server) -> Server:
    """The kit's server, with password login: what third parties get by installing."""
    return picoauth_server
