"""Champions out of models that a test has fitted itself."""

from __future__ import annotations

from collections.abc import Sequence

from retuned.registry.pointer import Crowned
from retuned_pipelines.evaluate.verdict import Ruling, Verdict
from retuned_pipelines.recipe import Recipe
from retuned_pipelines.version import Member, Revision, Version
from retuned_pipelines.weights import begun

VERDICT = Verdict(
    ruling=Ruling.PROMOTED,
    metric="neg_mean_absolute_error",
    rival="constant",
    challenger_score=-1.0,
    rival_score=-2.0,
    gain=0.5,
    lower=0.4,
    upper=0.6,
    confidence=0.95,
    blocks=8,
    rows=80,
    first_seq=1,
    last_seq=80,
    reasons=("It is better.",),
)


def version_of(recipes: Sequence[Recipe], weights: Sequence[float] = ()) -> Version:
    shares = weights or [1 / len(recipes)] * len(recipes)
    return Version(
        model="demo",
        number=1,
        members=tuple(Member(recipe=r, weight=w) for r, w in zip(recipes, shares, strict=True)),
        verdict=VERDICT,
        study="",
        parent=0,
        created_at=1.0,
    )


def reign_of(
    recipes: Sequence[Recipe],
    *,
    as_of: int,
    rows: int = 100,
    weights: Sequence[float] = (),
    artifacts: Sequence[str] = (),
) -> Crowned:
    version = version_of(recipes, weights)
    revision = Revision(
        model="demo",
        version=1,
        number=1,
        artifacts=tuple(artifacts or (f"a{n}" for n in range(len(recipes)))),
        fitted_as_of=as_of,
        rows=rows,
        first_seq=1,
        last_seq=as_of,
        schema_digest="s",
        libraries={},
        created_at=1.0,
        standing=begun(version.members, rows, is_single=False),
        predict_ms=(0.0,) * len(recipes),
    )
    return Crowned(version=version, revision=revision, epoch=1)
