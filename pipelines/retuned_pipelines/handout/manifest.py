"""What is told of a model that leaves the house."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from retuned_pipelines.weights import serving

if TYPE_CHECKING:
    from retuned_pipelines.fitting import FittedModel
    from retuned_pipelines.schema import Feature, Task
    from retuned_pipelines.version import Member, Revision, Version


@dataclass(frozen=True, slots=True, eq=False)
class Share:
    """A fitted member and its weight in the answer, more than 0."""

    model: FittedModel
    weight: float


class Form(StrEnum):
    """In which form a model leaves."""

    SKOPS = "skops"
    LIGHTGBM = "lightgbm"
    MLFLOW = "mlflow"


class NoSuchForm(ValueError):
    """This model cannot leave in that form; says which it can."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Manifest:
    """A revision that leaves, and where it comes from.

    Attributes:
        task: what it predicts.
        target: the field that it predicts.
        version: its version.
        revision: the revision itself.
        models: its fitted members; None for those that are not asked.
        release: retuned's own version.
        python: Python's.
    """

    task: Task
    target: str
    version: Version
    revision: Revision
    models: tuple[FittedModel | None, ...]
    release: str
    python: str

    @property
    def name(self) -> str:
        """Model, version and revision, for example ``bikes 3.2``."""
        return f"{self.version.model} {self.revision.name}"

    @property
    def asked(self) -> tuple[tuple[Member, float, FittedModel], ...]:
        """The members whose answers count, with their weights of now, in order."""
        weights = serving(self.revision.standing)
        return tuple(
            (member, weight, model)
            for member, weight, model in zip(
                self.version.members, weights, self.models, strict=True
            )
            if weight and model is not None
        )

    @property
    def shares(self) -> tuple[Share, ...]:
        """The same, without recipes."""
        return tuple(Share(model, weight) for _, weight, model in self.asked)

    @property
    def classes(self) -> tuple[str, ...]:
        """JSON texts of all classes, in the champion's order; empty for regression."""
        found = [model for model in self.models if model is not None]
        return tuple(dict.fromkeys(name for model in found for name in model.classes))

    @property
    def features(self) -> tuple[Feature, ...]:
        """The features that the members want; a member of an earlier schema has fewer."""
        return max((model.layout.schema.features for _, _, model in self.asked), key=len)
