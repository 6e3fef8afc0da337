"""The record of one trial: a recipe tried, how it scored and what it cost."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from retuned_pipelines.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Mapping


class Origin(StrEnum):
    """Where a trial's recipe came from."""

    DEFAULT = "default"
    CHAMPION = "champion"
    EARLIER = "earlier"
    PORTFOLIO = "portfolio"
    RANDOM = "random"
    BAYESIAN = "bayesian"
    GRID = "grid"
    QUASIRANDOM = "quasirandom"
    GENETIC = "genetic"
    CMAES = "cmaes"
    PROMOTED = "promoted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a piece of work in a child process used.

    Attributes:
        wall_s: elapsed seconds.
        cpu_s: CPU seconds of the child, user and system.
        peak_mb: peak resident memory of the child in megabytes (10^6 bytes).
    """

    wall_s: float
    cpu_s: float
    peak_mb: float

    def __add__(self, other: Cost) -> Cost:
        """Add seconds; of peaks, keep the larger."""
        return Cost(
            wall_s=self.wall_s + other.wall_s,
            cpu_s=self.cpu_s + other.cpu_s,
            peak_mb=max(self.peak_mb, other.peak_mb),
        )


NO_COST = Cost(wall_s=0.0, cpu_s=0.0, peak_mb=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One recipe tried.

    Attributes:
        number: position in the study, from 0.
        batch: the batch in which it was asked for.
        origin: where the recipe came from.
        recipe: what was tried.
        score: mean validation score over the folds, higher is better; None if it failed.
        train_score: mean score on the rows learned from; None if it failed.
        fold_scores: validation score of each fold.
        cost: what it used, refits of all folds together.
        error: why it failed (``timeout``, ``out of memory``, the exception), else "".
        share: of the rows that it would learn from, the share that it did, evenly spaced over
            them; from 0 (not included) to 1. Only trials of 1 can be put forward.
    """

    number: int
    batch: int
    origin: Origin
    recipe: Recipe
    score: float | None
    train_score: float | None
    fold_scores: tuple[float, ...] = field(default=())
    cost: Cost = NO_COST
    error: str = ""
    share: float = 1.0

    @property
    def is_whole(self) -> bool:
        """Whether it learned from everything that its recipe says."""
        return self.share >= 1.0

    @property
    def gap(self) -> float | None:
        """Train score less validation score: large means overfitted."""
        if self.score is None or self.train_score is None:
            return None
        return self.train_score - self.score

    def to_json(self) -> dict[str, Any]:
        """JSON form."""
        return {**asdict(self), "recipe": self.recipe.to_json(), "gap": self.gap}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Trial:
        """Read what `to_json` wrote."""
        fields = {key: item for key, item in value.items() if key != "gap"}
        fields["origin"] = Origin(fields["origin"])
        fields["recipe"] = Recipe.from_json(fields["recipe"])
        fields["fold_scores"] = tuple(fields["fold_scores"])
        fields["cost"] = Cost(**fields["cost"])
        return cls(**fields)
