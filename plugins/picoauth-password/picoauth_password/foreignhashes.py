"""Passwords whose hashes other systems made, verified as they were there, in our bounded queue."""

from __future__ import annotations

import base64
import hmac
from functools import cached_property, partial
from importlib.util import find_spec

from picoauth import ConfigError, Secret, Unavailable
from picoauth_password.foreign import Unreadable, read
from picoauth_password.hashing import Hasher, WrongPassword
from picoauth_password.schemes import Bcrypt, Firebase, Scheme

BCRYPT, FIREBASE, OTHER = "bcrypt", "firebase", ""
FOREIGN = frozenset((BCRYPT, FIREBASE, OTHER))
"""Each stands for the id of a pepper where a hash was made without one, and says what verifying it
takes: an index on the ids answers that, however many hashes there are.
"""
NO_BCRYPT = "is by bcrypt, which is not installed: run `pip install 'picoauth-password[bcrypt]'`"


def kind(scheme: Scheme) -> str:
    if isinstance(scheme, Bcrypt):
        return BCRYPT
    return FIREBASE if isinstance(scheme, Firebase) else OTHER


class ForeignHashes:
    """`signer_key` is that of a Firebase project, in Base64. Raises ConfigError where it is not."""

    def __init__(self, hasher: Hasher, signer_key: Secret | None) -> None:
        self.hasher = hasher
        self.signer_key = None if signer_key is None else decoded(signer_key)

    @cached_property
    def has_bcrypt(self) -> bool:
        return find_spec("bcrypt") is not None

    def read(self, text: str) -> Scheme:
        """Raises Unreadable for a hash that cannot be verified here."""
        scheme = read(text, self.signer_key)
        if isinstance(scheme, Bcrypt) and not self.has_bcrypt:
            raise Unreadable(NO_BCRYPT)
        return scheme

    async def verify(self, text: str, password: str) -> None:
        """Raises WrongPassword, also for a hash that was altered; Unavailable where too many wait.

        The password is what was typed, byte for byte: none of the origins knows our normal form.
        """
        try:
            scheme = self.read(text)
        except Unreadable:
            raise WrongPassword from None
        tag = await self.hasher.run(partial(computed, scheme, password))
        if not password or not hmac.compare_digest(tag, scheme.tag):
            raise WrongPassword


def computed(scheme: Scheme, password: str) -> bytes:
    """Nothing, where the scheme has no tag for the password: nothing fits it."""
    from argon2.exceptions import HashingError  # noqa: PLC0415 - for who comes from elsewhere

    try:
        return scheme.compute(password.encode())
    except MemoryError as error:
        raise Unavailable("there is no memory for a password") from error
    except (ValueError, HashingError):
        return b""


def decoded(signer_key: Secret) -> bytes:
    try:
        return base64.b64decode(signer_key.read(), validate=True)
    except ValueError as error:
        raise ConfigError(
            f"The firebase_signer_key from {signer_key.source} is no Base64: copy it anew from the "
            "password hash parameters of the project."
        ) from error
