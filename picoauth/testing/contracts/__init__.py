"""Contracts: what the kernel promises of each kind of part, as tests that a third party inherits.

A contract is a class whose tests a subclass inherits, and whose fixtures it overrides. The
kernel's own parts pass the same ones.
"""

from picoauth.testing.contracts.access import AccessContract
from picoauth.testing.contracts.database import DatabaseContract
from picoauth.testing.contracts.factor import FactorContract
from picoauth.testing.contracts.limiter import LimiterContract
from picoauth.testing.contracts.mailer import Arrived, MailerContract
from picoauth.testing.contracts.matrix import MatrixContract
from picoauth.testing.contracts.sessions import SessionStoreContract

__all__ = [
    "AccessContract",
    "Arrived",
    "DatabaseContract",
    "FactorContract",
    "LimiterContract",
    "MailerContract",
    "MatrixContract",
    "SessionStoreContract",
]
