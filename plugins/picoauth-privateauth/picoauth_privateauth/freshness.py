"""How long what was fetched may be kept, by its own headers (RFC 9111)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

LONGEST = 86400
MAX_AGE = re.compile(r"(?:^|[\s,])max-age\s*=\s*\"?([0-9]{1,9})", re.IGNORECASE)
NOT_KEPT = re.compile(r"\b(no-store|no-cache|private)\b", re.IGNORECASE)
AGE = re.compile(r"[0-9]{1,9}")


def life(headers: Mapping[str, str], default: int, now: int) -> int:
    """Seconds for which an answer may be kept, a day at most; `default` where it does not say."""
    control = headers.get("cache-control", "")
    said = control or headers.get("pragma", "")
    if NOT_KEPT.search(said) or headers.get("vary", "").strip() == "*":
        return 0
    match = MAX_AGE.search(control)
    if match is None and "expires" not in headers:
        return min(default, LONGEST)
    fresh = int(match[1]) if match else lifetime(headers, now)
    return max(0, min(fresh - age(headers), LONGEST))


def lifetime(headers: Mapping[str, str], now: int) -> int:
    """From `Date` to `Expires`; what is no date is over already (section 5.3)."""
    end, start = moment(headers["expires"]), moment(headers.get("date", ""))
    return 0 if end is None else end - (now if start is None else start)


def moment(text: str) -> int | None:
    try:
        found = parsedate_to_datetime(text)
    except (ValueError, OverflowError):  # OverflowError: of a zone of many digits
        return None
    return None if found.tzinfo is None else int(found.timestamp())


def age(headers: Mapping[str, str]) -> int:
    """Seconds for which caches on the way had it already (section 5.1)."""
    found = AGE.fullmatch(headers.get("age", ""))
    return int(found[0]) if found else 0
