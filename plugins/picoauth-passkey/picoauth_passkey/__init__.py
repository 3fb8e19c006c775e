"""Passkeys (WebAuthn) and FIDO U2F keys for picoauth."""

from picoauth_passkey.plugin import PasskeyPlugin
from picoauth_passkey.refusals import PasskeyCounterFell, PasskeyRefused

__all__ = ["PasskeyCounterFell", "PasskeyPlugin", "PasskeyRefused"]
