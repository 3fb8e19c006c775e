"""Routes for who forgot a password, as a picoauth plugin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from picoauth import Auth, Caller, Identifier, Plugin, Route, User, hookimpl, problems
from picoauth_reset.resets import Passwords, Resets
from picoauth_reset.shapes import Forgotten, NewPassword, ResetSettings

PATH = "/auth/forgot_password"


class ResetPlugin(Plugin[ResetSettings]):
    """Its routes; its tickets are rows of the kernel."""

    requires: ClassVar[Sequence[str]] = ("password",)
    needs: ClassVar[Sequence[str]] = ("mailer",)

    def __init__(self, auth: Auth, name: str, settings: ResetSettings) -> None:
        super().__init__(auth, name, settings)
        self.resets = Resets(auth, self)

    @hookimpl
    def routes(self) -> Sequence[Route]:
        late = (problems.NOT_FOUND, problems.LINK_EXPIRED)
        passwords = self.auth.plugin(Passwords)  # type: ignore[type-abstract]
        refused = (*passwords.password_problems, problems.REFUSED)
        by_token: dict[str, Any] = {
            "path": f"{PATH}/{{token}}",
            "policy": "public",
            "status": 204,
        }
        return [
            Route(
                method="POST",
                path=PATH,
                handler=self.resets.ask,
                policy="public",
                body=Forgotten,
                status=202,
                answer=dict,
            ),
            Route(method="GET", handler=self.resets.look, problems=late, **by_token),
            Route(
                method="PUT",
                handler=self.resets.set,
                body=NewPassword,
                problems=(*late, *refused),
                **by_token,
            ),
        ]

    async def start_reset(self, user: User, caller: Caller) -> Identifier | None:
        """Send a user a link, for an administrator, who learns the address and nothing else.

        None where the user has no verified address, or is disabled: then nothing is sent.
        """
        return await self.resets.start(user, caller)
