"""Checks picoauth's access tokens in an application: locally, and still revocable."""

from picoauth_verify.access import Access
from picoauth_verify.asgi import AsgiMiddleware
from picoauth_verify.errors import Refused, Stale, Unreachable
from picoauth_verify.verifier import Verifier
from picoauth_verify.wsgi import WsgiMiddleware

__all__ = [
    "Access",
    "AsgiMiddleware",
    "Refused",
    "Stale",
    "Unreachable",
    "Verifier",
    "WsgiMiddleware",
]
