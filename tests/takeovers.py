"""Takeovers to publish in a registry, where what is fitted does not matter."""

from __future__ import annotations

import hashlib

from tests.reigns import VERDICT

from retuned.registry.history.events import Event, EventKind
from retuned.registry.pointer import Crowned
from retuned.registry.signing import SigningKey
from retuned.registry.versions import Registry
from retuned_pipelines.recipe import Past, Recipe
from retuned_pipelines.version import Member, Revision, Standing, Version

MODEL = "demo"
KEY = SigningKey(bytes(range(32)))
DATA = b"a fitted model"
RECIPE = Recipe.of("linear", {"alpha": 0.1, "fit_intercept": True}, Past(rows=200))


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def version(number: int = 1, model: str = MODEL) -> Version:
    return Version(
        model=model,
        number=number,
        members=(Member(recipe=RECIPE, weight=0.7), Member(recipe=RECIPE, weight=0.3)),
        verdict=VERDICT,
        study="s1",
        parent=number - 1,
        created_at=10.5,
    )


def revision(of: int = 1, number: int = 1, data: bytes = DATA, model: str = MODEL) -> Revision:
    return Revision(
        model=model,
        version=of,
        number=number,
        artifacts=(digest(data),),
        fitted_as_of=900,
        rows=800,
        first_seq=1,
        last_seq=900,
        schema_digest="abc",
        libraries={"scikit-learn": "1.9", "numpy": "2.4"},
        created_at=11.25,
        standing=Standing(weights=(0.7, 0.3), low=(0, 2), fitted=(800, 700), patience=(1, 4)),
    )


def event(name: str = "e1", model: str = MODEL) -> Event:
    return Event(id=name, at=12.5, model=model, kind=EventKind.PROMOTED, body={"version": 1})


def publish(
    registry: Registry,
    of: int = 1,
    number: int = 1,
    *,
    expected: str = "",
    data: bytes = DATA,
    told: Event | None = None,
) -> Crowned:
    return registry.publish(
        version(of),
        revision(of, number, data),
        expected=expected,
        artifacts={digest(data): data},
        event=told or event(f"e{of}.{number}"),
    )
