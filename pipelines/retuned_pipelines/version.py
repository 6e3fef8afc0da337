"""What the registry keeps: numbered versions, and their revisions."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 (the journal resolves annotations at run time)
from dataclasses import asdict, dataclass
from typing import Any

from retuned_pipelines.evaluate.verdict import Verdict
from retuned_pipelines.recipe import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One recipe of a version.

    Attributes:
        recipe: how it is fitted.
        weight: its share in the prediction; a version's weights add up to 1.
    """

    recipe: Recipe
    weight: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A numbered, immutable set of recipes, and the evidence on which it was accepted.

    Attributes:
        model: the model's name.
        number: from 1, never used twice.
        members: the recipes and their weights.
        verdict: the gate's.
        study: id of the study that found it; "" for a default recipe.
        parent: number of the champion that it replaced; 0 for the first.
        created_at: seconds since the epoch.
    """

    model: str
    number: int
    members: tuple[Member, ...]
    verdict: Verdict
    study: str
    parent: int
    created_at: float

    def to_json(self) -> dict[str, Any]:
        """JSON form."""
        return {
            **asdict(self),
            "members": [{"recipe": m.recipe.to_json(), "weight": m.weight} for m in self.members],
            "verdict": self.verdict.to_json(),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Version:
        """Read what `to_json` wrote."""
        members = tuple(
            Member(recipe=Recipe.from_json(m["recipe"]), weight=m["weight"])
            for m in value["members"]
        )
        return cls(**{**value, "members": members, "verdict": Verdict.from_json(value["verdict"])})


@dataclass(frozen=True, slots=True)
class Standing:
    """What the weights of an ensemble are made from.

    Attributes:
        weights: of the members; they add up to 1.
        mean_loss: running mean of the members' median loss.
        periods: how many periods that mean is of.
    """

    weights: tuple[float, ...]
    mean_loss: float = 0.0
    periods: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """A version refitted on newer rows: the artifacts that answer requests.

    Attributes:
        model: the model's name.
        version: number of the version that was refitted.
        number: from 1 within the version; ``n.r`` is its full name.
        artifacts: SHA-256 of each member's artifact, hexadecimal, in the members' order.
        fitted_as_of: the newest sequence number known to the fit.
        rows: labelled rows learned from (the largest member window).
        first_seq: smallest sequence number among those rows.
        last_seq: largest sequence number among those rows.
        schema_digest: `Schema.digest` of the features.
        libraries: versions of the libraries that fitted it, by name.
        created_at: seconds since the epoch.
        standing: the members' weights as of this revision; None where the version's own count.
    """

    model: str
    version: int
    number: int
    artifacts: tuple[str, ...]
    fitted_as_of: int
    rows: int
    first_seq: int
    last_seq: int
    schema_digest: str
    libraries: Mapping[str, str]
    created_at: float
    standing: Standing | None = None

    @property
    def name(self) -> str:
        """Version and revision, for example ``3.2``."""
        return f"{self.version}.{self.number}"

    def to_json(self) -> dict[str, Any]:
        """JSON form."""
        return {**asdict(self), "libraries": dict(self.libraries)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Revision:
        """Read what `to_json` wrote."""
        found = value.get("standing")
        standing = (
            None if found is None else Standing(**{**found, "weights": tuple(found["weights"])})
        )
        return cls(**{**value, "artifacts": tuple(value["artifacts"]), "standing": standing})
