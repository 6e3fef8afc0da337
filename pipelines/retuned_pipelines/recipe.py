"""A recipe: everything that decides how a model is fitted, and the past that it learns from."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

Scalar = str | int | float | bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """How much of the past a recipe learns from, and how it weighs it.

    Attributes:
        rows: how many of the newest labelled rows; None for all.
        since_change: only rows after the last detected rise of the loss.
        sample_rows: of those at most so many, evenly spaced in time; None for all.
        half_life_rows: a row that has this many labelled rows after it counts half; None where
            all count the same.
        time_feature: the position in time is a feature. Trees then find by themselves since when
            the world is as it is, feature by feature, and go on from the newest rows; families
            that would extrapolate leave it out.
    """

    rows: int | None = None
    since_change: bool = False
    sample_rows: int | None = None
    half_life_rows: int | None = None
    time_feature: bool = False

    def size(self, labelled: int) -> int:
        """Rows that a fit learns from at most, where so many labelled ones are known."""
        sizes = (labelled, self.rows, self.sample_rows)
        return min(size for size in sizes if size is not None)

    def to_json(self) -> dict[str, Any]:
        """JSON form: what differs from everything, equally weighted."""
        return {name: value for name, value in asdict(self).items() if value}

    def __str__(self) -> str:
        """In a few words, such as ``all rows`` or ``500 rows, time as a feature``."""
        told = ["all rows" if self.rows is None else f"{self.rows:,} rows"]
        if self.since_change:
            told.append("since the last change")
        if self.sample_rows is not None and not (self.rows and self.rows <= self.sample_rows):
            told[0] += f" up to {self.sample_rows:,}"
        if self.half_life_rows is not None:
            told.append(f"half-life {self.half_life_rows:,}")
        if self.time_feature:
            told.append("time as a feature")
        return ", ".join(told)


EVERYTHING = Past()

FOREIGN_FAMILY = "imported"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What a search looks for. Fitted on a Window it gives a model.

    Attributes:
        family: name of a model family, a key of ``models.FAMILIES``.
        params: the family's hyperparameters, preprocessing included, sorted by name.
        past: what it learns from.
    """

    family: str
    params: tuple[tuple[str, Scalar], ...] = ()
    past: Past = field(default=EVERYTHING)

    @classmethod
    def of(cls, family: str, params: Mapping[str, Scalar], past: Past = EVERYTHING) -> Recipe:
        """Build a recipe from a mapping of hyperparameters."""
        return cls(family=family, params=tuple(sorted(params.items())), past=past)

    @property
    def settings(self) -> Mapping[str, Scalar]:
        """The hyperparameters as a read-only mapping."""
        return MappingProxyType(dict(self.params))

    @property
    def is_foreign(self) -> bool:
        """Whether the model came from elsewhere, so that nothing can be fitted by this recipe."""
        return self.family == FOREIGN_FAMILY

    @property
    def digest(self) -> str:
        """The first 12 hexadecimal digits of the SHA-256 of the JSON form."""
        text = json.dumps(self.to_json(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def to_json(self) -> dict[str, Any]:
        """JSON form."""
        return {"family": self.family, "params": dict(self.params), "past": self.past.to_json()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Recipe:
        """Read what `to_json` wrote."""
        return cls.of(value["family"], value["params"], Past(**value["past"]))
