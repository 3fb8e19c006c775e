"""Makes `picoauth_hibp/common.bin` of the lists that NOTICE names; needs `picoauth[dev]`."""

from __future__ import annotations

import gzip
from importlib.resources import files
from pathlib import Path

from zxcvbn.frequency_lists import FREQUENCY_LISTS

from picoauth_hibp.digests import folded, packed

LEAST = 8
"""Code points: the password plugin never takes fewer."""


def passwords() -> set[str]:
    """Those of Django and of zxcvbn that are long enough to be a password at all."""
    django = files("django.contrib.auth").joinpath("common-passwords.txt.gz").read_bytes()
    both = [*gzip.decompress(django).decode().splitlines(), *FREQUENCY_LISTS["passwords"]]
    return {folded(password) for password in both if len(password) >= LEAST}


if __name__ == "__main__":
    target = Path(__file__).parent / "picoauth_hibp" / "common.bin"
    target.write_bytes(packed(passwords()))
