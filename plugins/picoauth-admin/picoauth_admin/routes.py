"""What the routes of administration have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from picoauth import Route, problems

ONE = "/admin/users/{id}"


@dataclass(frozen=True)
class Routes:
    """Declares routes; the guard says whether they are on the public listener, too."""

    def of(self, method: str, path: str, handler: Any, **more: Any) -> Route:
        return Route(
            method=method,
            path=path,
            handler=handler,
            policy="admin",
            listener="admin",
            **more,
        )

    def get(self, path: str, handler: Any, answer: type, **more: Any) -> Route:
        return self.of("GET", path, handler, answer=answer, **more)

    def one(self, method: str, below: str, handler: Any, **more: Any) -> Route:
        """Of one user, who may not be there."""
        found = (problems.NOT_FOUND, *more.pop("problems", ()))
        return self.of(method, f"{ONE}{below}", handler, problems=found, **more)
