"""Pages of other origins, which are listed one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Headers = Sequence[tuple[bytes, bytes]]


class Cors:
    """Answers pages of other origins, which are listed one by one (H-5)."""

    def __init__(self, origins: Sequence[str]) -> None:
        self.origins = {origin.encode() for origin in origins}

    def headers(self, headers: Mapping[bytes, bytes]) -> Headers:
        origin = headers.get(b"origin")
        if origin is None or origin not in self.origins:
            return [(b"vary", b"origin")] if self.origins else []
        allow = b"access-control-allow-origin", origin
        return [allow, (b"access-control-allow-credentials", b"true"), (b"vary", b"origin")]

    def preflight(self, method: str, headers: Mapping[bytes, bytes]) -> Headers | None:
        """The answer to a browser that asks first, or None where this is something else."""
        asks = method == "OPTIONS" and b"access-control-request-method" in headers
        if not asks or headers.get(b"origin") not in self.origins:
            return None
        return [
            (b"access-control-allow-methods", b"GET, POST, PUT, PATCH, DELETE"),
            (b"access-control-allow-headers", b"authorization, content-type"),
            (b"access-control-max-age", b"600"),
        ]
