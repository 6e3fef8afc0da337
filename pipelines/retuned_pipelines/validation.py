"""A recipe validated on time-ordered folds: how it scores, and what its models are like.

Everything that is learned from rows (vocabularies, imputation, scaling, weights, the model) is
learned inside of a fold, from labels that were known when the fold's first row came.
"""

from __future__ import annotations

import math
import pickle
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from retuned_pipelines.evaluate.scores import scores
from retuned_pipelines.evaluate.splits import folds
from retuned_pipelines.fitting import aligned, classes_of, encoded_target, fit, learned
from retuned_pipelines.search.halving import small
from retuned_pipelines.search.trial import Footprint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from retuned_pipelines.evaluate.splits import Fold
    from retuned_pipelines.fitting import FittedModel
    from retuned_pipelines.recipe import Recipe
    from retuned_pipelines.schema import Task
    from retuned_pipelines.window import Window

    Scores = Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How recipes of a study are validated.

    Attributes:
        task: what is predicted.
        names: scikit-learn scorer names; the first is the model's metric.
        folds: at the most.
        seed: of everything random.
        threads: that fitting may use.
        changed_seq: newest sequence number before the last detected change; 0 for none.
        share: of the rows that a recipe would learn from, the share that it is to.
    """

    task: Task
    names: tuple[str, ...]
    folds: int
    seed: int = 0
    threads: int = 1
    changed_seq: int = 0
    share: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """How a recipe did; the attributes of a `Trial` of the same names say what they are."""

    score: float
    train_score: float | None
    fold_scores: tuple[float, ...]
    train_fold_scores: tuple[float, ...]
    constant_scores: tuple[float, ...]
    constant_train_scores: tuple[float, ...]
    scores: Scores
    train_scores: Scores
    footprint: Footprint

    def as_fields(self) -> dict[str, Any]:
        """The attributes by name, for `dataclasses.replace` of a trial."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scored:
    """One fold: scores of the model and of the constant, on rows unseen and seen."""

    unseen: Scores
    seen: Scores
    constant_unseen: float
    constant_seen: float
    fit_s: float
    predict_us: float
    model_bytes: int
    rows: int


def validate(
    recipe: Recipe, window: Window, terms: Terms, clock: Callable[[], float]
) -> Validation:
    """Fit a recipe on each fold's past, and score it on the fold and on what it learned from.

    Args:
        recipe: what to validate.
        window: a study's labelled rows in time order.
        terms: how.
        clock: seconds; for what fitting and predicting take, and nothing else.

    Raises:
        ValueError: there are too few rows for a fold, or the metric has no value on any.
    """
    classes = classes_of(window) if terms.task.is_classification else ()
    metric = terms.names[0]
    found = [
        _scored(recipe, window, fold, terms, classes=classes, clock=clock)
        for fold in folds(window, terms.folds)
    ]
    whole = [fold for fold in found if np.isfinite(fold.unseen[metric])]
    if not whole:
        message = f"no fold of {len(window)} rows could be scored by {metric}"
        raise ValueError(message)
    means = _means([fold.unseen for fold in found])
    train_means = _means([fold.seen for fold in found])
    return Validation(
        score=means[metric],
        train_score=train_means.get(metric),
        fold_scores=tuple(fold.unseen[metric] for fold in whole),
        train_fold_scores=_all_finite(fold.seen[metric] for fold in whole),
        constant_scores=_all_finite(fold.constant_unseen for fold in whole),
        constant_train_scores=_all_finite(fold.constant_seen for fold in whole),
        scores=means,
        train_scores=train_means,
        footprint=Footprint(
            fit_s=math.fsum(fold.fit_s for fold in found),
            predict_us=min(fold.predict_us for fold in found),
            model_bytes=found[-1].model_bytes,
            rows=found[-1].rows,
        ),
    )


def _scored(  # noqa: PLR0913 (a fold and what is done with it)
    recipe: Recipe,
    window: Window,
    fold: Fold,
    terms: Terms,
    *,
    classes: tuple[str, ...],
    clock: Callable[[], float],
) -> _Scored:
    past, unseen = window.take(fold.train), window.take(fold.validation)
    recipe = small(recipe, terms.share, len(past))
    begun = clock()
    model = fit(
        recipe,
        past,
        terms.task,
        seed=terms.seed,
        threads=terms.threads,
        changed_seq=terms.changed_seq,
    )
    fitted = clock()
    output = _asked(model, unseen, classes)
    asked = clock()
    known, _ = learned(recipe.past, past, terms.changed_seq)
    seen = known.newest(len(unseen))
    constant = _constant(encoded_target(past, classes), len(classes))
    return _Scored(
        unseen=scores(terms.names, terms.task, encoded_target(unseen, classes), output, classes),
        seen=scores(
            terms.names,
            terms.task,
            encoded_target(seen, classes),
            _asked(model, seen, classes),
            classes,
        ),
        constant_unseen=_constant_score(constant, unseen, terms, classes),
        constant_seen=_constant_score(constant, seen, terms, classes),
        fit_s=fitted - begun,
        predict_us=1e6 * (asked - fitted) / len(unseen),
        model_bytes=_size(model) if fold.validation[-1] == len(window) - 1 else 0,
        rows=len(known),
    )


def _asked(model: FittedModel, rows: Window, classes: tuple[str, ...]) -> NDArray[np.float64]:
    output = model.predict(model.layout.encode(rows.features))
    return aligned(output, model.classes, classes)


def _constant(target: NDArray[Any], classes: int) -> NDArray[np.float64]:
    """The answer that fits labels (n) best without looking at features, as one row of output."""
    if not classes:
        return np.atleast_1d(np.median(target))
    return np.atleast_2d(np.bincount(target, minlength=classes) / len(target))


def _constant_score(
    constant: NDArray[np.float64], rows: Window, terms: Terms, classes: tuple[str, ...]
) -> float:
    output = np.repeat(constant, len(rows), axis=0)
    metric, target = terms.names[0], encoded_target(rows, classes)
    return scores((metric,), terms.task, target, output, classes)[metric]


class _Counter:
    """Takes bytes and keeps their number."""

    def __init__(self) -> None:
        self.bytes = 0

    def write(self, piece: Any) -> int:  # noqa: ANN401 (bytes, or whatever holds some)
        size = memoryview(piece).nbytes
        self.bytes += size
        return size


def _size(model: FittedModel) -> int:
    """Bytes of a model. An artifact is about as long, and takes ten times as long to write."""
    counter = _Counter()
    pickle.dump(model.estimator, counter, protocol=5)
    return counter.bytes


def _means(found: Sequence[Scores]) -> Scores:
    """The mean of each score over the folds in which it has a value."""
    columns = {name: [fold[name] for fold in found] for name in found[0]}
    finite = {name: [v for v in values if np.isfinite(v)] for name, values in columns.items()}
    return {name: math.fsum(v) / len(v) for name, v in finite.items() if v}


def _all_finite(values: Iterable[float]) -> tuple[float, ...]:
    """The values; none of them where one is missing, so that folds stay side by side."""
    found = tuple(values)
    return found if np.isfinite(found).all() else ()
