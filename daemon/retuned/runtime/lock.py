"""One daemon a state directory, and the directory's own name."""

from __future__ import annotations

import fcntl
import os
import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

from retuned.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_NAME = "home"


class StateLock:
    """Holds a state directory for this process alone, once it was taken.

    The lock is the kernel's: it ends with the process, however that ends. A process that is only
    stopped keeps it.
    """

    def __init__(self, directory: Path) -> None:
        """Make the directory if it is not there; nothing is held yet.

        Raises:
            ConfigError: it cannot be made or written.
        """
        self.directory = directory
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._file = (directory / "lock").open("a+")
        except OSError as error:
            message = (
                f"RETUNED_STATE_DIR={directory} cannot be used: {error.strerror}. "
                "Choose a directory that this user may write."
            )
            raise ConfigError(message) from error

    def __enter__(self) -> Self:
        """Close it at the end."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let go."""
        self._file.close()

    def take(self) -> bool:
        """Hold the directory from now on; False where another process does."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        self._file.truncate(0)
        self._file.write(str(os.getpid()))
        self._file.flush()
        return True

    @property
    def refusal(self) -> ConfigError:
        """Why the directory cannot be used, where it could not be taken."""
        self._file.seek(0)
        holder = self._file.read().strip() or "unknown"
        return ConfigError(
            f"another daemon (process {holder}) uses RETUNED_STATE_DIR={self.directory}: "
            "stop it, or choose another directory."
        )


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold a directory, made if it is not there, as long as this lasts.

    Raises:
        ConfigError: it cannot be made or written, or another daemon holds it.
    """
    with StateLock(directory) as lock:
        if not lock.take():
            raise lock.refusal
        yield


def name_of(directory: Path) -> str:
    """The name of a state directory, made once by whoever holds it.

    Raises:
        ConfigError: it cannot be written or read.
    """
    path = directory / _NAME
    try:
        if not path.exists():
            draft = path.with_name(f"{_NAME}.tmp")
            draft.write_text(secrets.token_hex(8))
            draft.replace(path)
        name = path.read_text().strip()
    except OSError as error:
        message = f"{path} cannot be used: {error.strerror}"
        raise ConfigError(message) from error
    if not name.isalnum():
        message = f"{path} is damaged: remove it, and adopt its models anew (retuned adopt)"
        raise ConfigError(message)
    return name
