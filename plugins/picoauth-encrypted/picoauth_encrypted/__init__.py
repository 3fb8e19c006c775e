"""The database as an encrypted file: ChaCha20-Poly1305, page by page."""

from picoauth_encrypted.plugin import EncryptedPlugin

__all__ = ["EncryptedPlugin"]
