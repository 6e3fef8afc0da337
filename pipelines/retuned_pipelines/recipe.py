"""A recipe: everything that decides how a model is fitted, and the window it learns from."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

Scalar = str | int | float | bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What a search looks for. Fitted on a Window it gives a model.

    Attributes:
        family: name of a model family, a key of ``models.FAMILIES``.
        params: the family's hyperparameters, preprocessing included, sorted by name.
        window_rows: how many of the newest labelled rows to learn from; None for all.
    """

    family: str
    params: tuple[tuple[str, Scalar], ...] = ()
    window_rows: int | None = None

    @classmethod
    def of(
        cls, family: str, params: Mapping[str, Scalar], window_rows: int | None = None
    ) -> Recipe:
        """Build a recipe from a mapping of hyperparameters."""
        return cls(family=family, params=tuple(sorted(params.items())), window_rows=window_rows)

    @property
    def settings(self) -> Mapping[str, Scalar]:
        """The hyperparameters as a read-only mapping."""
        return MappingProxyType(dict(self.params))

    @property
    def digest(self) -> str:
        """The first 12 hexadecimal digits of the SHA-256 of the JSON form."""
        text = json.dumps(self.to_json(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def to_json(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "family": self.family,
            "params": dict(self.params),
            "window_rows": self.window_rows,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Recipe:
        """Read what `to_json` wrote."""
        return cls.of(value["family"], value["params"], value["window_rows"])
