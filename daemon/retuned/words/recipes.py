"""Recipes in words."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from retuned_pipelines.recipe import FOREIGN_FAMILY, Past
from retuned_pipelines.version import Standing
from retuned_pipelines.weights import serving

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_FAMILIES = {"lightgbm": "LightGBM", "linear": "linear model", "forest": "random forest"}

_LEAVES, _RATE = 31, 0.1
"""LightGBM's defaults."""

_LOSSES = {"regression_l1": "absolute error", "huber": "Huber loss"}


def recipe_in_words(recipe: Mapping[str, Any]) -> str:
    """Say in a few words what a recipe (in its JSON form) is."""
    params = recipe["params"]
    if recipe["family"] == FOREIGN_FAMILY:
        return f"imported {params['estimator']}"
    told = [recipe["family"]]
    if "num_leaves" in params:
        told.append(f"{params['num_leaves']} leaves")
    told += [_LOSSES[loss] for loss in (params.get("objective"),) if loss in _LOSSES]
    if recipe["family"] != "constant":
        told.append(str(Past(**recipe["past"])))
    return ", ".join(told)


def recipe_in_short(recipe: Mapping[str, Any]) -> str:
    """Say in a legend's few words what makes a recipe differ from its family's default."""
    params, past = recipe["params"], Past(**recipe["past"])
    if recipe["family"] == FOREIGN_FAMILY:
        return f"imported {params['estimator']}"
    told = [_FAMILIES.get(recipe["family"], recipe["family"])]
    if params.get("num_leaves", _LEAVES) != _LEAVES:
        told.append(f"{params['num_leaves']} leaves")
    told += [_LOSSES[loss] for loss in (params.get("objective"),) if loss in _LOSSES]
    if past.rows is not None:
        told.append(f"newest {past.rows:,} rows")
    if past.since_change:
        told.append("since the last change")
    if past.half_life_rows is not None:
        told.append(f"half-life {past.half_life_rows:,} rows")
    if past.time_feature:
        told.append("time as a feature")
    if len(told) == 1 and recipe["family"] == "lightgbm":
        told.append("defaults" if params.get("learning_rate") == _RATE else "tuned")
    return ", ".join(told)


def names_of(recipes: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Short names, no two the same, by `identity`; in the order in which recipes come first."""
    found = {identity(recipe): recipe_in_short(recipe) for recipe in recipes}
    count, names = Counter(found.values()), {}
    seen: Counter[str] = Counter()
    for key, name in found.items():
        seen[name] += 1
        names[key] = f"{name} ({seen[name]})" if count[name] > 1 else name
    return names


def identity(recipe: Mapping[str, Any]) -> str:
    """What makes two recipes (in their JSON forms) the same."""
    return json.dumps(recipe, sort_keys=True)


def shares_in_words(standing: Mapping[str, Any]) -> list[str]:
    """How much each member of a revision has to say, by its standing in the JSON form."""
    found = Standing.from_json(standing)
    return [
        "retired" if is_gone else f"{share:.1%}" if share else "not asked"
        for share, is_gone in zip(serving(found), found.retired, strict=True)
    ]


def origin_in_words(trial: Mapping[str, Any]) -> str:
    """Where a trial's recipe came from, and on how much of its rows it was tried, if not on all."""
    share = trial["share"]
    return f"{trial['origin']}, {share:.0%} of the rows" if share < 1 else str(trial["origin"])
