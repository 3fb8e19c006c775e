"""The test kit: a whole server on a temporary file, with a client and a clock in hand."""

from picoauth.testing.server import Clock, Server, offer, serving

__all__ = ["Clock", "Server", "offer", "serving"]
