"""The authorization endpoint, as browsers come to it: on to the user's page, back, or to an error."""

from __future__ import annotations

from picoauth import AuthError, Reply, Request, Unavailable
from picoauth_privateauth import page
from picoauth_privateauth.asked import Asked, Reader, Returning, SentBack
from picoauth_privateauth.requests import Requests

QUERY = {
    "response_type": "`code`.",
    "client_id": "URL of the client.",
    "redirect_uri": "Where the browser comes back to.",
    "state": "What comes back unchanged.",
    "code_challenge": "Hash of what the client will tell with the code (RFC 7636).",
    "code_challenge_method": "`S256`.",
    "scope": "What is asked for, beside who the user is.",
    "me": "Who the client supposes that the user is.",
}


class Authorization:
    """Looks at what clients ask for, before any user is bothered with it."""

    def __init__(self, reader: Reader, requests: Requests, consent_url: str) -> None:
        self.reader = reader
        self.requests = requests
        self.consent_url = consent_url

    async def authorize(self, request: Request) -> Reply:
        """Keep what a client asks for, and send the browser to the page where its user decides."""
        try:
            asked = await self.reader.read(request.raw_query)
        except SentBack as back:
            return Reply(None, 303, {"Location": back.location})
        except AuthError as refusal:
            # A person looks at it, whom nobody sends anywhere (RFC 6749, section 4.1.2.1).
            if not page.wanted(request):
                raise
            return page.sorry(refusal)
        return Reply(None, 303, {"Location": await self.onward(asked)})

    async def onward(self, asked: Asked) -> str:
        """To the page, or, where nothing can be kept now, back: the client may ask again."""
        try:
            secret = await self.requests.keep(asked)
        except Unavailable:
            back = Returning(asked.redirect_uri, asked.state, self.reader.issuer)
            return back.refuse("temporarily_unavailable", "Try again a little later.").location
        return f"{self.consent_url}?request={secret}"
