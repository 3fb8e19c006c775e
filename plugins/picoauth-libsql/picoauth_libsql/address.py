"""From the address of the settings to that of a WebSocket."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

from picoauth import ConfigError

SCHEMES = {"libsql": "wss", "ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}
"""HTTP means the same server: both protocols are on one port, and a WebSocket is twice as fast."""
FORM = (
    "libsql: `database` must be an address such as libsql://HOST or ws://HOST:PORT, "
    "without user, token or fragment: the token belongs into [libsql]."
)


def websocket(url: str) -> str:
    """Where to connect. Raises ConfigError; the sentence holds nothing of the address.

    `libsql://HOST:PORT?tls=0` is one without TLS, as libsql-client has it.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigError(FORM) from error
    scheme = SCHEMES.get(parts.scheme)
    clear = parts.scheme == "libsql" and parts.query == "tls=0" and port
    if not scheme or not plain(parts) or (parts.query and not clear):
        raise ConfigError(FORM)
    return f"{'ws' if clear else scheme}://{parts.netloc}{parts.path}"


def plain(parts: SplitResult) -> bool:
    return bool(parts.hostname) and "@" not in parts.netloc and not parts.fragment
