"""The password factor passes the contract of all factors."""

from picoauth.testing.contracts import FactorContract


class TestPassword(FactorContract):
    """User name and password, on a server that has nothing else."""

    factor = "password"
