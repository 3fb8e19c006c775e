"""A Django site with django-indieweb, by https on loopback: run by `test_interop.py`.

Whoever comes is Ann; all else is as the package has it.
"""

from __future__ import annotations

import ssl
import sys
from collections.abc import Callable
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import django
from django.conf import settings

PAGE = b'<link rel="indieauth-metadata" href="/indieweb/auth/metadata/">'


def ann(get_response: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Lets everybody in as Ann: how people log in there is not what is tested."""

    def work(request: Any) -> Any:
        from django.contrib.auth.models import User

        request.user = User.objects.get(username="ann")
        return get_response(request)

    return work


def configure(database: str) -> None:
    settings.configure(
        ALLOWED_HOSTS=["ann.example"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": database}},
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        INSTALLED_APPS=[
            *("django.contrib.auth", "django.contrib.contenttypes"),
            *("django.contrib.sessions", "django.contrib.sites"),
            *("django.contrib.staticfiles", "indieweb"),
        ],
        MIDDLEWARE=["django.middleware.csrf.CsrfViewMiddleware", "interop_django.ann"],
        ROOT_URLCONF="interop_django",
        SITE_ID=1,
        SECRET_KEY="of a test",
        STATIC_URL="/static/",
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "APP_DIRS": True,
                "OPTIONS": {
                    "context_processors": ["django.template.context_processors.request"],
                },
            }
        ],
        USE_TZ=True,
    )
    django.setup()


class Quiet(WSGIRequestHandler):
    """Says nothing of requests, but that they came by https."""

    def get_environ(self) -> dict[str, Any]:
        return {**super().get_environ(), "HTTPS": "on"}

    def log_message(self, *_: Any) -> None:
        pass


def urls() -> list[Any]:
    from django.http import HttpResponse
    from django.urls import include, path

    return [
        path("", lambda _: HttpResponse(PAGE)),
        path("indieweb/", include("indieweb.urls")),
    ]


def main(certificate: str) -> None:
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from django.core.wsgi import get_wsgi_application

    call_command("migrate", verbosity=0)
    User.objects.create_user("ann")
    server = make_server("127.0.0.1", 0, get_wsgi_application(), handler_class=Quiet)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    print(server.server_port, flush=True)  # noqa: T201 - what the test reads
    server.serve_forever()


if __name__ == "__main__":
    sys.modules["interop_django"] = sys.modules["__main__"]
    configure(sys.argv[1])
    urlpatterns = urls()
    main(sys.argv[2])
