"""A Quart application that lets in who has an access token of picoauth."""

from quart import Quart, request

from picoauth_verify import AsgiMiddleware, Verifier

app = Quart(__name__)
app.asgi_app = AsgiMiddleware(app.asgi_app, Verifier("http://127.0.0.1:8100"))


@app.get("/")
async def hello() -> dict[str, str]:
    return {"hello": request.scope["picoauth"].username}
