"""Errors of the shell: what an operator must mend, and what passes by itself."""

from __future__ import annotations


class RetunedError(Exception):
    """Any error that retuned raises on purpose; its text says what to do."""


class ConfigError(RetunedError):
    """The configuration is wrong; names the file, the key and what is allowed."""


class TransientError(RetunedError):
    """Something that passes by itself; try again after ``retry_after`` seconds."""

    def __init__(self, message: str, *, retry_after: float = 5.0) -> None:
        """Keep the delay beside the message."""
        super().__init__(message)
        self.retry_after = retry_after


class Unreachable(RetunedError):
    """No daemon answers at the address, or not in time."""


class PermanentError(RetunedError):
    """Something that trying again does not mend."""


class Interrupted(RetunedError):
    """The daemon stops in the middle of an order; it is carried out at the next start."""
