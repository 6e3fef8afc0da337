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
class GpuUse:
    """What a piece of work used of graphics processors.

    Attributes:
        share: mean share of the time in which the busiest device computed, whoever for.
        peak_mb: highest memory seen, in megabytes (10^6 bytes).
        is_device_wide: whether that is everybody's memory, where the driver does not tell whose.
    """

    share: float
    peak_mb: float
    is_device_wide: bool


def _larger(one: GpuUse | None, other: GpuUse | None) -> GpuUse | None:
    if one is None or other is None:
        return one or other
    return GpuUse(
        share=max(one.share, other.share),
        peak_mb=max(one.peak_mb, other.peak_mb),
        is_device_wide=one.is_device_wide or other.is_device_wide,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a piece of work in a child process used.

    Attributes:
        wall_s: elapsed seconds.
        cpu_s: CPU seconds of the child, user and system.
        peak_mb: peak resident memory of the child in megabytes (10^6 bytes).
        gpu: what it used of graphics processors; None where there is none.
    """

    wall_s: float
    cpu_s: float
    peak_mb: float
    gpu: GpuUse | None = None

    def __add__(self, other: Cost) -> Cost:
        """Add seconds; of peaks, keep the larger."""
        return Cost(
            wall_s=self.wall_s + other.wall_s,
            cpu_s=self.cpu_s + other.cpu_s,
            peak_mb=max(self.peak_mb, other.peak_mb),
            gpu=_larger(self.gpu, other.gpu),
        )

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Cost:
        """Read what `dataclasses.asdict` gave."""
        gpu = value.get("gpu")
        return cls(**{**value, "gpu": None if gpu is None else GpuUse(**gpu)})


NO_COST = Cost(wall_s=0.0, cpu_s=0.0, peak_mb=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """What the models of a trial were like to fit, to keep and to ask.

    Attributes:
        fit_s: elapsed seconds of all folds' fits.
        predict_us: microseconds to encode and predict one row among many, in the fastest fold.
        model_bytes: bytes of the last fold's model, uncompressed; it learned from most rows.
        rows: labelled rows that the last fold's model learned from.
    """

    fit_s: float
    predict_us: float
    model_bytes: int
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One recipe tried.

    Attributes:
        number: position in the study, from 0.
        batch: the batch in which it was asked for.
        origin: where the recipe came from.
        recipe: what was tried.
        score: mean validation score over the folds, higher is better; None if it failed.
        train_score: mean score on the newest rows learned from; None if it failed.
        fold_scores: validation score of each fold that has one.
        train_fold_scores: train score of each of these folds.
        constant_scores: validation score, in each of these folds, of the constant that fits the
            labels known before it best.
        constant_train_scores: and that constant's score on the rows of the train score.
        scores: mean validation scores by scikit-learn's scorer names, the metric's among them.
        train_scores: likewise on the rows of the train score.
        footprint: what its models were like; None if it failed.
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
    train_fold_scores: tuple[float, ...] = field(default=())
    constant_scores: tuple[float, ...] = field(default=())
    constant_train_scores: tuple[float, ...] = field(default=())
    scores: Mapping[str, float] = field(default_factory=dict)
    train_scores: Mapping[str, float] = field(default_factory=dict)
    footprint: Footprint | None = None
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
        for name in _BY_FOLD:
            fields[name] = tuple(fields.get(name, ()))
        footprint = fields.get("footprint")
        fields["footprint"] = None if footprint is None else Footprint(**footprint)
        fields["cost"] = Cost.from_json(fields["cost"])
        return cls(**fields)


_BY_FOLD = ("fold_scores", "train_fold_scores", "constant_scores", "constant_train_scores")
