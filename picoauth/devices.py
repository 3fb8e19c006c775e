"""What a device is called in a list of sessions, by what it says of itself."""

from __future__ import annotations

from typing import Any

SPELT = {"ChromiumEdge": "Edge", "AndroidBrowser": "Android", "IPad": "iPad"}
"""What the library calls otherwise than people do."""
LONGEST = 40


def device(user_agent: str | None) -> str | None:
    """`Firefox on Linux`, `curl`; None where nothing is known.

    For people to know their own devices by: anybody can say anything there.
    """
    if not user_agent:
        return None
    found = detected(user_agent)
    program, _, _ = user_agent.partition("/")
    browser = name(found, "browser") if program == "Mozilla" else program[:LONGEST].strip()
    system = name(found, "dist") or name(found, "platform") or name(found, "os")
    return " on ".join(filter(None, (browser, system))) or None


def detected(user_agent: str) -> dict[str, Any]:
    import httpagentparser  # noqa: PLC0415 - for who looks at the list

    try:
        found: dict[str, Any] = httpagentparser.detect(user_agent)
    except Exception:  # noqa: BLE001 - of many kinds: it was made for what browsers send
        return {}
    return found


def name(found: dict[str, Any], part: str) -> str | None:
    """The name of a part, as people spell it."""
    given = found.get(part, {}).get("name")
    return SPELT.get(given, given.strip()) if given else None
