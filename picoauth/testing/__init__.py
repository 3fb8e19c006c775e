"""The test kit: a whole server on a temporary file, with a client and a clock in hand.

Contracts to inherit are in `picoauth.testing.contracts`, which needs pytest; a soft WebAuthn
authenticator is in `picoauth.testing.authenticator`, which needs cbor2.
"""

from picoauth.testing.captured import Captured
from picoauth.testing.faults import Fault, FaultsPlugin, Faulty, each_fault, watched
from picoauth.testing.joining import Headers, Joining, Principal
from picoauth.testing.mail import MailPlugin, delivered
from picoauth.testing.people import Ceremony, Someone
from picoauth.testing.server import PASSWORD, Clock, Server, offer, serving

__all__ = [
    "PASSWORD",
    "Captured",
    "Ceremony",
    "Clock",
    "Fault",
    "FaultsPlugin",
    "Faulty",
    "Headers",
    "Joining",
    "MailPlugin",
    "Principal",
    "Server",
    "Someone",
    "delivered",
    "each_fault",
    "offer",
    "serving",
    "watched",
]
