"""A Django application in one file that lets in who has an access token of picoauth."""

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import path

from picoauth_verify import Verifier, WsgiMiddleware

settings.configure(ALLOWED_HOSTS=["localhost", "127.0.0.1"], ROOT_URLCONF=__name__)


def hello(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"hello": request.environ["picoauth"].username})


urlpatterns = [path("", hello)]
application = WsgiMiddleware(get_wsgi_application(), Verifier("http://127.0.0.1:8100"))
