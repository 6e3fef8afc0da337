"""Signatures over what is kept in the registry, with keys that are not."""

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
from retuned.runtime.durable import sync_names

_BYTES = 32
_ID_DIGITS = 16


class Forged(PermanentError):
    """A signature or a digest does not fit what it signs; it must not be loaded."""


class UnknownKey(Forged):
    """Signed with a key that is not in the key file: perhaps by a daemon with another one."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A secret of 32 bytes for HMAC-SHA-256 (RFC 2104), and those it came after.

    Attributes:
        secret: signs, and verifies.
        older: secrets that only verify: what they signed before they were succeeded.
    """

    secret: bytes = field(repr=False)
    older: tuple[bytes, ...] = field(default=(), repr=False)

    @classmethod
    def load_or_make(cls, path: Path) -> SigningKey:
        """Read the keys, or make one; only its owner may read the file.

        The file has one key a line, the newest first; see `rotate`.

        Raises:
            ConfigError: the file holds no key, or may be read by others.
        """
        try:
            return cls.load(path)
        except FileNotFoundError:
            _make(path)
            return cls.load(path)

    @classmethod
    def load(cls, path: Path) -> SigningKey:
        """Read the keys.

        Raises:
            FileNotFoundError: there is no such file.
            ConfigError: the file holds no key, or may be read by others.
        """
        try:
            is_open = path.stat().st_mode & 0o077
            lines = path.read_text().split()
            found = [bytes.fromhex(line) for line in lines]
        except FileNotFoundError:
            raise
        except (OSError, ValueError) as error:
            message = f"{path} is no signing key ({error}): restore it from a backup"
            raise ConfigError(message) from error
        if is_open:
            message = f"{path} may be read by others than its owner: run chmod 600 {path}"
            raise ConfigError(message)
        if not found or any(len(secret) != _BYTES for secret in found):
            message = f"{path} is no signing key: expected {_BYTES * 2} hexadecimal digits a line"
            raise ConfigError(message)
        return cls(found[0], tuple(found[1:]))

    @property
    def id(self) -> str:
        """Names the key that signs; tells nothing of it."""
        return _id(self.secret)

    @property
    def ids(self) -> tuple[str, ...]:
        """Names of all keys that verify, the one that signs first."""
        return tuple(_id(secret) for secret in (self.secret, *self.older))

    def sign(self, message: bytes) -> str:
        """Sign a message: ``<key id>:<HMAC, hexadecimal>``."""
        return f"{self.id}:{_mac(self.secret, message)}"

    def verify(self, message: bytes, signature: str) -> None:
        """Check a signature.

        Raises:
            Forged: it was not made with one of these keys over this message.
            UnknownKey: it names a key that is not among these.
        """
        name, _, mac = signature.partition(":")
        known = {_id(secret): secret for secret in (self.secret, *self.older)}
        if name in known:
            if hmac.compare_digest(_mac(known[name], message).encode(), mac.encode()):
                return
            text = "the signature does not fit: it was changed"
            raise Forged(text)
        if len(name) == _ID_DIGITS and set(name) <= set("0123456789abcdef"):
            text = (
                f"it was signed with another key ({name}) than those in the key file "
                f"({', '.join(known)}): RETUNED_SIGNING_KEY_FILE, else signing.key in the state "
                "directory"
            )
            raise UnknownKey(text)
        text = "the signature does not fit: it is none"
        raise Forged(text)

    def seal(self, kind: str, text: bytes) -> bytes:
        """Put a signature before a text; what is sealed as one kind is no other's."""
        return self.sign(_message(kind, text)).encode() + b"\n" + text

    def unsealed(self, kind: str, sealed: bytes) -> bytes:
        """The text that was sealed; it has been verified before anything reads it.

        Raises:
            Forged: it was changed, or sealed as another kind.
            UnknownKey: it was sealed with a key that is not among these.
        """
        signature, _, text = sealed.partition(b"\n")
        self.verify(_message(kind, text), signature.decode(errors="replace"))
        return text

    def is_newest(self, sealed: bytes) -> bool:
        """Whether the newest of these keys made a seal."""
        return sealed.startswith(self.id.encode() + b":")


def rotate(path: Path) -> SigningKey:
    """Put a new key before those in the file; it signs from the next start on.

    Raises:
        FileNotFoundError: there is no such file.
        ConfigError: the file holds no key, may be read by others, or cannot be replaced.
    """
    found = SigningKey.load(path)
    secret = secrets.token_bytes(_BYTES)
    rotated = SigningKey(secret, (found.secret, *found.older))
    _replace(path, rotated)
    return rotated


def drop_older(path: Path) -> SigningKey:
    """Leave only the newest key in the file: what others signed is refused from then on.

    Raises:
        FileNotFoundError: there is no such file.
        ConfigError: the file holds no key, may be read by others, or cannot be replaced.
    """
    alone = SigningKey(SigningKey.load(path).secret)
    _replace(path, alone)
    return alone


def _message(kind: str, text: bytes) -> bytes:
    return kind.encode() + b"\n" + text


def _mac(secret: bytes, message: bytes) -> str:
    return hmac.new(secret, message, hashlib.sha256).hexdigest()


def _id(secret: bytes) -> str:
    return _mac(secret, b"retuned key id")[:_ID_DIGITS]


def _make(path: Path) -> None:
    """Write a new key, whole and on the disk, unless somebody else has just made one."""
    draft = _draft(path, SigningKey(secrets.token_bytes(_BYTES)))
    try:
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
    sync_names(path.parent)


def _replace(path: Path, key: SigningKey) -> None:
    draft = _draft(path, key)
    try:
        owner = path.stat()
        os.chown(draft, owner.st_uid, owner.st_gid)
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        message = f"{path} cannot be replaced: {error}"
        raise ConfigError(message) from error
    sync_names(path.parent)


def _draft(path: Path, key: SigningKey) -> Path:
    try:
        file, name = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.")
    except OSError as error:
        message = f"a signing key cannot be written beside {path}: {error}"
        raise ConfigError(message) from error
    with os.fdopen(file, "w") as output:
        output.write("".join(f"{secret.hex()}\n" for secret in (key.secret, *key.older)))
        output.flush()
        os.fsync(output.fileno())
    return Path(name)
