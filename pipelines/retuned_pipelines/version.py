"""What the registry keeps: numbered versions, and their revisions."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 (the journal resolves annotations at run time)
from dataclasses import asdict, dataclass
from typing import Any

from retuned_pipelines.evaluate.verdict import Verdict
from retuned_pipelines.provenance import Provenance
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How the members of a version stand: what follows from their losses, step by step.

    Each tuple has an entry for each member.

    Attributes:
        weights: they add up to 1; 0 for a retired member.
        low: steps in a row in which the weight was too small to matter.
        fitted: labelled rows that were known when the member was last fitted.
        patience: how much longer than usual the member waits for its next fit.
        mean_loss: running mean of the members' median loss.
        blocks: how many parts of steps that mean is of.
        leader: position of the member that alone answers; None where all do.
        recent: mean losses on the newest blocks (blocks, members), where one alone answers.
        gone: retired members, which are fitted no more and have no artifact; () for none.
    """

    weights: tuple[float, ...]
    low: tuple[int, ...]
    fitted: tuple[int, ...]
    patience: tuple[int, ...]
    mean_loss: float = 0.0
    blocks: int = 0
    leader: int | None = None
    recent: tuple[tuple[float, ...], ...] = ()
    gone: tuple[bool, ...] = ()

    @property
    def retired(self) -> tuple[bool, ...]:
        """Whether each member is retired."""
        return self.gone or (False,) * len(self.weights)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Standing:
        """Read the JSON form, which has lists for tuples."""
        plain: dict[str, Any] = {
            name: tuple(found) if isinstance(found, list) else found
            for name, found in value.items()
        }
        return cls(**{**plain, "recent": tuple(tuple(row) for row in value["recent"])})


Blocks = tuple[tuple[float, ...], ...]
"""Mean losses on blocks of labels (blocks, members)."""


@dataclass(frozen=True, slots=True)
class Came:
    """How the members did on the labels that came since their revision was made.

    Attributes:
        losses: mean loss of each member on each block of labels, in time order; NaN for a
            retired member.
        elder: the same by the fit that each member had before its last one; NaN where there is
            none, () where nobody asked.
    """

    losses: Blocks
    elder: Blocks = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """How a champion and the one before it did on labels that neither had learned from.

    Attributes:
        differences: loss of the champion less that of its predecessor on the same row, in the
            order in which the labels came; a row counts once.
        until: newest sequence number of labels looked at.
        came: how the predecessor's members did; None where too few labels came to tell.
    """

    differences: tuple[float, ...]
    until: int
    came: Came | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """A version refitted on newer rows: the artifacts that answer requests.

    Attributes:
        model: the model's name.
        version: number of the version that was refitted.
        number: from 1 within the version; ``n.r`` is its full name.
        artifacts: SHA-256 of each member's artifact, hexadecimal, in the members' order; "" for
            a retired member.
        fitted_as_of: the newest sequence number known to the fits and to the weights.
        rows: labelled rows learned from (the largest member window).
        first_seq: smallest sequence number among those rows.
        last_seq: largest sequence number among those rows.
        schema_digest: `Schema.digest` of the features.
        libraries: versions of the libraries that fitted it, by name.
        created_at: seconds since the epoch.
        standing: how the members stand as of this revision.
        predict_ms: milliseconds that each member takes for a row; 0 where it was not measured.
        first_time: the oldest time among the rows learned from, microseconds since the epoch.
        last_time: the newest time among those.
        seed: of the fits.
        provenance: from what each member was fitted; None for one of which it is not known,
            () where that is so of all.
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
    standing: Standing
    predict_ms: tuple[float, ...] = ()
    first_time: int = 0
    last_time: int = 0
    seed: int = 0
    provenance: tuple[Provenance | None, ...] = ()

    @property
    def name(self) -> str:
        """Version and revision, for example ``3.2``."""
        return f"{self.version}.{self.number}"

    def to_json(self) -> dict[str, Any]:
        """JSON form."""
        value = {**asdict(self), "libraries": dict(self.libraries)}
        # What was signed before there were provenances has to stay the same text.
        if not any(self.provenance):
            del value["provenance"]
        return value

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Revision:
        """Read what `to_json` wrote."""
        standing = Standing.from_json(value["standing"])
        lists = {name: tuple(value[name]) for name in ("artifacts", "predict_ms")}
        provenance = tuple(
            None if found is None else Provenance.from_json(found)
            for found in value.get("provenance", ())
        )
        return cls(**{**value, **lists, "standing": standing, "provenance": provenance})


@dataclass(frozen=True, slots=True, kw_only=True)
class Shadow:
    """A champion of before: refitted likewise and compared, but it answers nobody.

    Attributes:
        version: what was champion.
        revision: as it was refitted last.
        judged: challengers that the gate compared with it while it reigned.
    """

    version: Version
    revision: Revision
    judged: int = 0
