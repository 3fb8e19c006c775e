"""A Flask application that lets in who has an access token of picoauth."""

from flask import Flask, request

from picoauth_verify import Verifier, WsgiMiddleware

app = Flask(__name__)
app.wsgi_app = WsgiMiddleware(app.wsgi_app, Verifier("http://127.0.0.1:8100"))


@app.get("/")
def hello() -> dict[str, str]:
    return {"hello": request.environ["picoauth"].username}
