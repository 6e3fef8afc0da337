"""Signatures over what is kept in the registry, with a key that is not."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from retuned.errors import ConfigError, PermanentError

_BYTES = 32


class Forged(PermanentError):
    """A signature or a digest does not fit what it signs; it must not be loaded."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A secret of 32 bytes for HMAC-SHA-256 (RFC 2104)."""

    secret: bytes = field(repr=False)

    @classmethod
    def load_or_make(cls, path: Path) -> SigningKey:
        """Read the key, or make one; only its owner may read the file.

        Raises:
            ConfigError: the file is no key, or may be read by others.
        """
        try:
            return cls._read(path)
        except FileNotFoundError:
            _make(path)
            return cls._read(path)

    @classmethod
    def _read(cls, path: Path) -> SigningKey:
        try:
            is_open = path.stat().st_mode & 0o077
            secret = bytes.fromhex(path.read_text().strip())
        except FileNotFoundError:
            raise
        except (OSError, ValueError) as error:
            message = f"{path} is no signing key ({error}): restore it from a backup"
            raise ConfigError(message) from error
        if is_open:
            message = f"{path} may be read by others than its owner: run chmod 600 {path}"
            raise ConfigError(message)
        if len(secret) != _BYTES:
            message = f"{path} is no signing key: expected {_BYTES * 2} hexadecimal digits"
            raise ConfigError(message)
        return cls(secret)

    def sign(self, message: bytes) -> str:
        """Sign a message; hexadecimal."""
        return hmac.new(self.secret, message, hashlib.sha256).hexdigest()

    def verify(self, message: bytes, signature: str) -> None:
        """Check a signature.

        Raises:
            Forged: it was not made with this key over this message.
        """
        if not hmac.compare_digest(self.sign(message).encode(), signature.encode()):
            text = (
                "the signature does not fit: it was changed, or signed with another key "
                "(signing.key in the state directory)"
            )
            raise Forged(text)


def _make(path: Path) -> None:
    """Write a new key, whole and on the disk, unless somebody else has just made one."""
    file, draft = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.")
    try:
        with os.fdopen(file, "w") as output:
            output.write(secrets.token_hex(_BYTES))
            output.flush()
            os.fsync(output.fileno())
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        Path(draft).unlink()
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
