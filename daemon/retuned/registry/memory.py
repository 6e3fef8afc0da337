"""What the registry held, remembered outside of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping


class Memory(Protocol):
    """Remembers texts by model and name. Called from any thread.

    What `remember` has stored when it returns survives a crash, where anything does.
    """

    def recall(self, model: str, name: str) -> bytes | None:
        """A text; None where nothing is remembered by that name.

        Raises:
            RetunedError: the memory cannot be read.
        """

    def recall_all(self, model: str) -> dict[str, bytes]:
        """All texts of a model by name.

        Raises:
            RetunedError: the memory cannot be read.
        """

    def remember(self, model: str, texts: Mapping[str, bytes | None]) -> None:
        """Store texts, all or none; None forgets one.

        Raises:
            RetunedError: the memory cannot be written.
        """


class Fleeting:
    """A memory that ends with the process."""

    def __init__(self) -> None:
        """Remember nothing."""
        self._texts: dict[str, dict[str, bytes]] = {}

    def recall(self, model: str, name: str) -> bytes | None:
        """A text; None where nothing is remembered by that name."""
        return self._texts.get(model, {}).get(name)

    def recall_all(self, model: str) -> dict[str, bytes]:
        """All texts of a model by name."""
        return dict(self._texts.get(model, {}))

    def remember(self, model: str, texts: Mapping[str, bytes | None]) -> None:
        """Store texts; None forgets one."""
        known = {**self._texts.get(model, {}), **texts}
        self._texts[model] = {name: text for name, text in known.items() if text is not None}
