"""The stricter values that standards name, for those who have to follow them."""

from __future__ import annotations

from collections.abc import Sequence

from picoauth.checks import Check, plain
from picoauth.settings import Config
from picoauth.template import short

HOUR, DAY = 3600, 86400
MOST_FAILURES = 100


class Standards:
    """One check for each subject."""

    def __init__(self, config: Config) -> None:
        self.tokens = config.tokens
        self.cookies = config.cookies
        self.throttle = config.throttle
        self.stateless = config.tokens.refresh == "stateless"

    def checks(self) -> Sequence[Check]:
        looks = {
            "refresh": self.refresh,
            "idle": self.idle,
            "absolute": self.absolute,
            "cookie-ends": self.cookie_ends,
            "cookie-domain": self.cookie_domain,
            "window": self.window,
            "failures": self.failures,
        }
        return [plain(name, "advice", look) for name, look in looks.items()]

    def refresh(self) -> str | None:
        """RFC 9700, section 2.2.2."""
        if not self.stateless:
            return None
        return (
            '`refresh = "stateless"` does not notice a stolen refresh token: RFC 9700 (2.2.2) asks '
            'that those of apps and browsers rotate, as they do with refresh = "rotating".'
        )

    def idle(self) -> str | None:
        """NIST SP 800-63B-4, section 2.2.3."""
        if self.stateless or self.tokens.idle <= HOUR:
            return None
        return (
            f"`idle` in [tokens] is {short(self.tokens.idle)}: NIST SP 800-63B-4 (2.2.3) asks, "
            'where there is a second factor, for the end after an hour without use, idle = "1h".'
        )

    def absolute(self) -> str | None:
        """NIST SP 800-63B-4, sections 2.1.3 and 2.2.3."""
        _, end = self.tokens.ends(0)
        if end <= DAY:
            return None
        name = "stateless_life" if self.stateless else "absolute"
        return (
            f"`{name}` in [tokens] lets a session last {short(end)}: NIST SP 800-63B-4 (2.1.3, "
            f'2.2.3) asks for {name} = "30d" with one factor, and "24h" with two.'
        )

    def cookie_ends(self) -> str | None:
        """NIST SP 800-63B-4, section 2.2.3."""
        c = self.cookies
        if c.idle <= HOUR and max(c.absolute, c.remember) <= DAY:
            return None
        return (
            f"`idle`, `absolute` and `remember` in [cookies] are {short(c.idle)}, "
            f"{short(c.absolute)} and {short(c.remember)}: NIST SP 800-63B-4 (2.2.3) asks, where "
            'there is a second factor, for "1h", "24h" and "24h".'
        )

    def cookie_domain(self) -> str | None:
        """RFC 6265bis, section 8.6: weak confidentiality and integrity between hosts."""
        if self.cookies.domain is None:
            return None
        return (
            f"`domain` in [cookies] hands every visitor's session to each host below "
            f"{self.cookies.domain}: leave it out, unless you trust all that runs there."
        )

    def window(self) -> str | None:
        """RFC 9700, section 4.14.2."""
        if self.stateless or not self.tokens.window:
            return None
        return (
            f"`window` in [tokens] is {short(self.tokens.window)}: RFC 9700 (4.14.2) knows no time "
            "in which a spent refresh token is still good, so window = 0; but then two tabs that "
            "refresh at once log their user out."
        )

    def failures(self) -> str | None:
        """NIST SP 800-63B-4, section 3.2.2."""
        if self.throttle.failures <= MOST_FAILURES:
            return None
        return (
            f"`failures` in [throttle] is {self.throttle.failures}: NIST SP 800-63B-4 (3.2.2) "
            "allows 100 wrong tries in a row, so failures = 100 at most."
        )
