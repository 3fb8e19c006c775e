"""A FastAPI application that lets in who has an access token of picoauth."""

from fastapi import FastAPI, Request

from picoauth_verify import AsgiMiddleware, Verifier

app = FastAPI()
app.add_middleware(AsgiMiddleware, verifier=Verifier("http://127.0.0.1:8100"))


@app.get("/")
async def hello(request: Request) -> dict[str, str]:
    return {"hello": request.state.picoauth.username}
