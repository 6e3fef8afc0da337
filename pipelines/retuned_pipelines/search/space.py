"""Search spaces as values: what a hyperparameter may be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from retuned_pipelines.recipe import Past, Scalar


@dataclass(frozen=True, slots=True)
class Real:
    """A real number between ``low`` and ``high`` (both included), on a log scale if ``log``."""

    low: float
    high: float
    log: bool = False


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number between ``low`` and ``high`` (both included), on a log scale if ``log``."""

    low: int
    high: int
    log: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few values that have no order."""

    values: tuple[Scalar, ...]


Dimension = Real | Whole | Choice


@dataclass(frozen=True, slots=True)
class Space:
    """What a study may choose from.

    Attributes:
        families: for each family its hyperparameters by name.
        pasts: how much of the past to learn from.
        rows: labelled rows that the study has; what a recipe costs is told from them.
    """

    families: Mapping[str, Mapping[str, Dimension]]
    pasts: tuple[Past, ...]
    rows: int = 0
