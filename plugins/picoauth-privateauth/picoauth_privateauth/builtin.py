"""The built-in page where users log in and decide: forms alone, and the kernel's own login."""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode, urlsplit

from picoauth import Access, Auth, AuthError, Denied, Reply, Request, Step, problems
from picoauth_privateauth import page
from picoauth_privateauth.consent import Consent
from picoauth_privateauth.problems import REQUEST_DECIDED

PATH = "/indieauth/consent"
QUERY = {"request": "Id of the request."}
CODES = {"totp": "Code of your app", "recovery": "Recovery code"}
"""Second factors that can be typed, each in the member of its own name."""
BOX = "scope-"
"""What a checkbox of a scope begins with."""
LATE = replace(problems.NOT_FOUND, title="This took too long, or was begun by somebody else.")
UNTYPED = (
    "Your account asks for more than this page can take. Log in where you do it otherwise, "
    "on this server, and then begin again at the application."
)
SAME_ORIGIN = {"Referrer-Policy": "same-origin"}
"""Or the browser would not say where its forms come from."""


class BuiltIn:
    """Answers pages, and what their forms send. Who is logged in is known by the kernel's cookie."""

    def __init__(self, auth: Auth, consent: Consent) -> None:
        self.auth = auth
        self.consent = consent
        public = urlsplit(auth.config.public_url)
        self.origin = f"{public.scheme}://{public.netloc}"

    async def show(self, request: Request) -> Reply:
        """Where users log in, and are asked."""
        secret = request.query.get("request", "")
        try:
            access = await self.access(request)
            return await (self.ask(secret, access) if access else self.login(secret))
        except AuthError as refusal:
            return sorry(refusal)

    async def take(self, request: Request) -> Reply:
        """What the page's forms send."""
        secret = request.body.get("request", "")
        try:
            self.check_origin(request)
            return await self.taken(request, secret)
        except AuthError as refusal:
            return sorry(refusal)

    async def taken(self, request: Request, secret: str) -> Reply:
        form, access = request.body, await self.access(request)
        wish = form.get("do", "login")
        if access is None or wish == "login":
            return await self.logged_in(request, secret)
        self.check_token(form.get("token", ""), secret, access)
        if wish == "logout":
            await self.consent.requests.release(secret, access.user_id)
            await self.auth.accounts.logout(access.user_id, access.session_id, request.caller)
            self.auth.cookies.forget(access)
            return to_page(secret)
        return Reply(None, 303, {"Location": await self.decided(wish, request, secret, access)})

    async def decided(self, wish: str, request: Request, secret: str, access: Access) -> str:
        if wish != "approve":
            return await self.consent.denied(secret, access.user_id, request.caller)
        form = request.body
        scopes = [name.removeprefix(BOX) for name in form if name.startswith(BOX)]
        user_id, me = access.user_id, form.get("me")
        return await self.consent.approved(secret, user_id, scopes, me, request.caller)

    async def access(self, request: Request) -> Access | None:
        try:
            return await self.auth.who(cookie=request.headers.get("cookie", ""))
        except Denied:
            return None

    async def logged_in(self, request: Request, secret: str) -> Reply:
        """One step of a login; after the last one to what the user came for."""
        form = request.body
        step = Step(
            flow=form.get("flow"),
            payloads=payloads(form),
            caller=request.caller,
            delivery="cookie",
            same_site=True,  # which `check_origin` saw to
        )
        try:
            await self.auth.logins.login(step)
        except AuthError as refusal:
            return await self.again(secret, form, refusal)
        return to_page(secret)

    async def again(self, secret: str, form: Mapping[str, str], refusal: AuthError) -> Reply:
        """The form once more: for the next factor, or for another try."""
        flow, problem = refusal.extra.get("flow"), refusal.problem
        asked = [name for name in refusal.extra.get("next", ()) if name in CODES]
        if problem.code == "more_needed" and not asked:
            raise AuthError(problem, UNTYPED)
        if asked:
            return await self.login(secret, flow=flow, choice=asked)
        choice = [name for name in CODES if name in form] if flow else []
        return await self.login(
            secret,
            flow=flow if choice else None,
            choice=choice,
            problem=problem.title,
            status=problem.status,
            username=form.get("username", ""),
        )

    async def login(self, secret: str, *, status: int = 200, **values: Any) -> Reply:
        """Raises AuthError for a request that nobody can decide any more, before anybody logs in."""
        asked = await self.consent.requests.peek(secret)
        known = {"flow": None, "choice": (), "username": "", **values}
        name = called(asked.client)
        place = {"request": secret, "action": PATH, "labels": CODES, "name": name}
        return page.rendered("login", "Log in", status, SAME_ORIGIN, **known, **place)

    async def ask(self, secret: str, access: Access) -> Reply:
        found = await self.consent.shown(secret, access.user_id)
        client = found["client"]
        name = called(client)
        return page.rendered(
            "consent",
            f"Log in to {name}?",
            200,
            SAME_ORIGIN,
            **{n: found[n] for n in ("client", "profiles", "scopes", "redirect_uri")},
            permitted=found["permitted"],
            told=page.listed([page.TOLD[one] for one in found["tells"]]),
            name=name,
            username=await self.auth.users.username(access.user_id) or "logged in",
            warnings=[page.WARNINGS[one] for one in client["warnings"]],
            scope_labels=page.labels(found["tells"]),
            request=secret,
            token=self.token(secret, access),
            action=PATH,
        )

    def token(self, secret: str, access: Access) -> str:
        """Only a page that was shown to this session has it: no other can decide in its name."""
        text = f"{secret} {access.session_id}"
        return self.auth.secrets.digests("privateauth consent", text)[0].hex()

    def check_token(self, given: str, secret: str, access: Access) -> None:
        """Raises AuthError."""
        if not hmac.compare_digest(given.encode(), self.token(secret, access).encode()):
            raise AuthError(problems.CROSS_SITE)

    def check_origin(self, request: Request) -> None:
        """Raises AuthError for a form of another site (S-5), which could log a victim in as another."""
        origin = request.headers.get("origin", "null")
        same = request.headers.get("sec-fetch-site") == "same-origin"
        if origin != self.origin and not (origin == "null" and same):
            raise AuthError(problems.CROSS_SITE)


def payloads(form: Mapping[str, str]) -> Sequence[tuple[str, Mapping[str, Any]]]:
    """The factors that the form has a proof of."""
    codes = [(name, {name: form[name].strip()}) for name in CODES if form.get(name, "").strip()]
    if codes:
        return codes[:1]
    password = {name: form.get(name, "") for name in ("username", "password")}
    return [("password", password)]


def called(client: Mapping[str, Any]) -> str:
    return str(client["name"] or urlsplit(client["client_id"]).netloc)


def sorry(refusal: AuthError) -> Reply:
    """A request that is not there was begun too long ago, or by somebody else."""
    if refusal.problem in (problems.NOT_FOUND, REQUEST_DECIDED):
        problem = LATE if refusal.problem == problems.NOT_FOUND else refusal.problem
        refusal = AuthError(problem, "Go back to the application, and begin again there.")
    return page.sorry(refusal)


def to_page(secret: str) -> Reply:
    return Reply(None, 303, {"Location": f"{PATH}?{urlencode({'request': secret})}"})
