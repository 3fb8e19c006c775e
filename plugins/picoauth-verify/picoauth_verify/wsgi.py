"""Lets requests into a WSGI application, as Flask's and Django's are (PEP 3333)."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from picoauth_verify.bearer import admitted
from picoauth_verify.errors import Refused, Unreachable
from picoauth_verify.verifier import Verifier


class WsgiMiddleware:
    """Puts who asks into `environ["picoauth"]`, or answers 401 in the application's place.

    With `required=False` a request without a token gets through, with None for who asks.
    """

    def __init__(self, app: WSGIApplication, verifier: Verifier, *, required: bool = True) -> None:
        self.app = app
        self.verifier = verifier
        self.required = required

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        header = environ.get("HTTP_AUTHORIZATION")
        headers = [] if header is None else [header]
        try:
            environ["picoauth"] = admitted(self.verifier, headers, required=self.required)
        except (Refused, Unreachable) as error:
            answer = error.answer
            phrase = HTTPStatus(answer.status).phrase
            start_response(f"{answer.status} {phrase}", list(answer.headers))
            return [answer.body]
        return self.app(environ, start_response)
