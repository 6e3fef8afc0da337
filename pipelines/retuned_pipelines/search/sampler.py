"""Drawing recipes with Optuna's samplers.

Optuna's study lives in memory for one draw only and is filled from recorded trials.
"""

from __future__ import annotations

import hashlib
import math
import warnings
from typing import TYPE_CHECKING, Any

import optuna
from optuna.distributions import (
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import TrialState, create_trial

from retuned_pipelines.recipe import Recipe
from retuned_pipelines.search.space import Choice, Real, Whole
from retuned_pipelines.search.trial import Origin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

    from retuned_pipelines.recipe import Past, Scalar
    from retuned_pipelines.search.space import Dimension, Space
    from retuned_pipelines.search.trial import Trial

FAMILY, PAST = "family", "past"
"""How samplers name what is chosen first."""


def propose(
    space: Space, earlier: Sequence[Trial], origin: Origin, *, seed: tuple[int, ...]
) -> Recipe:
    """Draw one recipe.

    Random draws are uniform over the space. Bayesian ones come from a tree-structured Parzen
    estimator (Bergstra et al. 2011; multivariate and grouped, Falkner et al. 2018), which
    learns from the earlier trials; trials that failed count as the worst.

    Args:
        space: what may be chosen.
        earlier: trials to learn from.
        origin: random or Bayesian.
        seed: of the draw; the same seed and trials give the same recipe.
    """
    number = int.from_bytes(hashlib.sha256(repr(seed).encode()).digest()[:4])
    sampler: BaseSampler
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if origin is Origin.BAYESIAN:
            sampler = optuna.samplers.TPESampler(
                seed=number, multivariate=True, group=True, n_startup_trials=1
            )
        else:
            sampler = optuna.samplers.RandomSampler(seed=number)
        study = _silent_study(sampler)
        if origin is Origin.BAYESIAN:
            study.add_trials(list(_recorded(space, earlier)))
        trial = study.ask()
        return chosen(space, lambda name, dimension: _suggest(trial, name, dimension))


def chosen(space: Space, choose: Callable[[str, Dimension], Scalar]) -> Recipe:
    """Put a recipe together: its family, its past, then what that family has.

    Args:
        space: what may be chosen.
        choose: chooses a value by name and dimension: ``family`` and ``past`` first, then
            ``<family>.<hyperparameter>``, in the space's order.
    """
    family = str(choose(FAMILY, Choice(tuple(space.families))))
    pasts = {str(past): past for past in space.pasts}
    past = pasts[str(choose(PAST, Choice(tuple(pasts))))]
    params = {
        name: choose(f"{family}.{name}", dimension)
        for name, dimension in space.families[family].items()
    }
    return Recipe.of(family, params, past)


def _silent_study(sampler: BaseSampler) -> optuna.Study:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        return optuna.create_study(direction="maximize", sampler=sampler)
    finally:
        optuna.logging.set_verbosity(before)


def _suggest(trial: optuna.Trial, name: str, dimension: Dimension) -> Scalar:
    match dimension:
        case Real(low, high, log):
            return trial.suggest_float(name, low, high, log=log)
        case Whole(low, high, log):
            return trial.suggest_int(name, low, high, log=log)
        case Choice(values):
            return trial.suggest_categorical(name, list(values))


def _recorded(space: Space, trials: Sequence[Trial]) -> Iterator[FrozenTrial]:
    scores = [trial.score for trial in trials if trial.score is not None]
    worst = min(scores, default=0.0)
    for trial in trials:
        found = _placed(space, trial.recipe)
        if found is not None:
            params, distributions = found
            yield create_trial(
                state=TrialState.COMPLETE,
                params=params,
                distributions=distributions,
                value=worst if trial.score is None else trial.score,
            )


def _placed(
    space: Space, recipe: Recipe
) -> tuple[dict[str, Any], dict[str, BaseDistribution]] | None:
    """Where a recipe lies in the space; None where it lies outside.

    The champion's may, where another release found it. Its window has another size: the nearest
    one counts.
    """
    dimensions = space.families.get(recipe.family)
    past = nearest_past(space, recipe.past)
    if dimensions is None or past is None:
        return None
    if not all(has_place(dimensions[name], recipe.settings.get(name)) for name in dimensions):
        return None
    params: dict[str, Any] = {FAMILY: recipe.family, PAST: str(past)}
    distributions: dict[str, BaseDistribution] = {
        FAMILY: CategoricalDistribution(list(space.families)),
        PAST: CategoricalDistribution([str(past) for past in space.pasts]),
    }
    for name, dimension in dimensions.items():
        value = _nearest(dimension, recipe.settings[name])
        params[f"{recipe.family}.{name}"] = value
        distributions[f"{recipe.family}.{name}"] = _distribution(dimension)
    return params, distributions


def nearest_past(space: Space, past: Past) -> Past | None:
    """The past of the space that is most like one that was counted in other rows.

    Returns:
        One of the same kind, of the nearest number of rows; None where there is none.
    """
    if past in space.pasts:
        return past
    alike = [other for other in space.pasts if _kind(other) == _kind(past)]
    return min(alike, key=lambda other: _distance(other, past), default=None)


def _kind(past: Past) -> tuple[bool, ...]:
    is_window, is_fading = past.rows is not None, past.half_life_rows is not None
    return is_window, is_fading, past.since_change, past.time_feature


def _distance(past: Past, other: Past) -> float:
    pairs = ((past.rows, other.rows), (past.half_life_rows, other.half_life_rows))
    return sum(abs(math.log(one / two)) for one, two in pairs if one and two)


def has_place(dimension: Dimension, value: Scalar) -> bool:
    """Whether a value, or the nearest to it, is one of the dimension's."""
    if isinstance(dimension, Choice):
        return value in dimension.values
    return isinstance(value, int | float)


def _nearest(dimension: Dimension, value: Scalar) -> Scalar:
    """The value, moved to the edge of its range where a default lies outside."""
    if isinstance(dimension, Choice) or not isinstance(value, int | float):
        return value
    return min(max(value, dimension.low), dimension.high)


def _distribution(dimension: Dimension) -> BaseDistribution:
    match dimension:
        case Real(low, high, log):
            return FloatDistribution(low, high, log=log)
        case Whole(low, high, log):
            return IntDistribution(low, high, log=log)
        case Choice(values):
            return CategoricalDistribution(list(values))
