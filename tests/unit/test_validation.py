"""A recipe on time-ordered folds: honest, and what is measured of it."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from tests.samples import mixed, window_of

from retuned_pipelines.evaluate.metrics import score
from retuned_pipelines.evaluate.scores import REPORTED, reported
from retuned_pipelines.evaluate.splits import folds
from retuned_pipelines.fitting import aligned, classes_of, encoded_target, fit
from retuned_pipelines.models import artifact
from retuned_pipelines.models.families import FAMILIES, default_recipe
from retuned_pipelines.recipe import EVERYTHING, Past, Recipe
from retuned_pipelines.schema import Task
from retuned_pipelines.spec import DEFAULT_METRIC
from retuned_pipelines.validation import Terms, validate
from retuned_pipelines.window import Window

FOLDS = 3
PASTS = (
    EVERYTHING,
    Past(rows=100),
    Past(half_life_rows=80),
    Past(time_feature=True),
    Past(sample_rows=90),
    Past(since_change=True),
)


def terms(task: Task) -> Terms:
    return Terms(task=task, names=reported(task, DEFAULT_METRIC[task]), folds=FOLDS, changed_seq=61)


def ticking() -> float:
    return next(_TICKS)


_TICKS = itertools.count(0.0, 0.5)


@pytest.mark.parametrize("task", list(Task))
def test_every_score_is_a_mean_over_the_folds(task: Task) -> None:
    window, recipe = mixed(task, 300), default_recipe(task, "linear")
    found = validate(recipe, window, terms(task), ticking)
    assert set(found.scores) == set(found.train_scores) == set(REPORTED[task])
    assert found.score == found.scores[DEFAULT_METRIC[task]]
    assert found.score == pytest.approx(np.mean(found.fold_scores))
    assert found.train_score == pytest.approx(np.mean(found.train_fold_scores))
    classes = classes_of(window) if task.is_classification else ()
    for name, told in found.scores.items():
        values = []
        for fold in folds(window, FOLDS):
            model = fit(recipe, window.take(fold.train), task)
            rows = window.take(fold.validation)
            output = aligned(
                model.predict(model.layout.encode(rows.features)), model.classes, classes
            )
            values.append(score(name, task, encoded_target(rows, classes), output, classes))
        assert told == pytest.approx(np.mean(values), abs=1e-9), name


@pytest.mark.parametrize("task", list(Task))
def test_the_constant_is_the_family_of_that_name(task: Task) -> None:
    found = validate(Recipe(family="constant"), mixed(task, 300), terms(task), ticking)
    assert found.constant_scores == pytest.approx(found.fold_scores)
    assert found.constant_train_scores == pytest.approx(found.train_fold_scores)


def test_the_train_score_is_of_rows_that_were_learned_from() -> None:
    # Nearly every row's own leaf: what was learned from is known by heart, and nothing else is.
    rng = np.random.default_rng(0)
    window = window_of({"x": rng.normal(size=400)}, rng.normal(size=400))
    params = {"n_estimators": 30, "min_samples_leaf": 1, "max_features": 1.0}
    recipe = Recipe.of("forest", params, Past(rows=50))
    found = validate(recipe, window, terms(Task.REGRESSION), ticking)
    assert found.train_scores["r2"] > 0.99
    assert found.scores["r2"] < 0.1
    assert found.footprint.rows == 50


def test_what_its_models_are_like_is_measured() -> None:
    task = Task.REGRESSION
    window, recipe = mixed(task, 300), default_recipe(task)
    found = validate(recipe, window, terms(task), ticking)
    assert found.footprint.fit_s == 0.5 * FOLDS
    assert found.footprint.predict_us == pytest.approx(1e6 * 0.5 / 50)
    last = folds(window, FOLDS)[-1]
    assert found.footprint.rows == len(last.train)
    written = len(artifact.dump(fit(recipe, window.take(last.train), task)))
    assert written / 3 < found.footprint.model_bytes < written


def test_a_fold_without_a_score_is_left_out_wherever_folds_stand_side_by_side() -> None:
    rng = np.random.default_rng(0)
    target = np.where(rng.random(300) < 0.5, "0", "1").astype(object)
    target[250:] = "1"
    window = window_of({"x": rng.normal(size=300)}, target)
    ranked = replace(terms(Task.BINARY), names=("roc_auc", "accuracy"))
    found = validate(default_recipe(Task.BINARY, "linear"), window, ranked, ticking)
    assert len(found.fold_scores) == len(found.train_fold_scores) == 2
    assert found.constant_scores == (0.5, 0.5)


def test_too_few_rows_are_said_to_be() -> None:
    window = mixed(Task.REGRESSION, 20)
    with pytest.raises(ValueError, match="no fold of 20 rows"):
        validate(Recipe(family="constant"), window, terms(Task.REGRESSION), ticking)


def with_delay(window: Window, delay: int) -> Window:
    """The same rows, each label known so many rows later."""
    size = len(window)
    return replace(window, label_seq=window.seq + 2 * delay + 1, as_of=int(2 * (size + delay) + 1))


def scrambled(window: Window, rows: np.ndarray, seed: int, task: Task) -> Window:
    """The window with other features (a category never seen among them) and labels in some rows."""
    rng = np.random.default_rng(seed)
    donors = np.arange(len(window))
    donors[rows] = rng.permutation(rows)
    other = window.take(donors)
    mask = pa.array(np.isin(np.arange(len(window)), rows))
    features = other.features
    for place, name in enumerate(features.column_names):
        column = features[name].combine_chunks()
        strange = pa.scalar("unheard of" if name == "colour" else 1e6, column.type)
        features = features.set_column(place, name, pa.compute.if_else(mask, strange, column))
    target = other.target
    if task is Task.REGRESSION:
        target = pa.compute.if_else(mask, pa.compute.multiply(target, -7.0), target)
    return replace(window, features=features, target=target)


@pytest.mark.parametrize("delay", [0, 40])
@pytest.mark.parametrize("past", PASTS, ids=str)
@pytest.mark.parametrize("family", sorted(FAMILIES))
@pytest.mark.parametrize("task", list(Task))
def test_nothing_that_was_not_known_when_a_fold_began_changes_its_model(
    task: Task, family: str, past: Past, delay: int
) -> None:
    window = with_delay(mixed(task, 300), delay)
    recipe = replace(default_recipe(task, family), past=past)
    first = folds(window, FOLDS)[0]
    start = int(first.validation[0])
    assert first.train.max() == start - delay - 1
    unknown = np.setdiff1d(np.arange(len(window)), first.train)
    poisoned = scrambled(window, unknown, seed=1, task=task)
    probe = window.take(first.validation)
    outputs = []
    for rows in (window, poisoned):
        fold = folds(rows, FOLDS)[0]
        model = fit(recipe, rows.take(fold.train), task, changed_seq=61)
        outputs.append(model.predict(model.layout.encode(probe.features)))
        # Neither do labels that come later change what the rows learned from are like.
        assert fold.train.tolist() == first.train.tolist()
    assert np.array_equal(outputs[0], outputs[1])


@pytest.mark.parametrize("family", sorted(FAMILIES))
@pytest.mark.parametrize("task", list(Task))
def test_features_that_are_noise_gain_nothing_over_a_constant_on_new_rows(
    task: Task, family: str
) -> None:
    rng = np.random.default_rng(3)
    target = mixed(task, 600).target
    noise = window_of({"a": rng.normal(size=600), "b": rng.choice(list("xyz"), 600)}, target)
    found = validate(default_recipe(task, family), noise, terms(task), ticking)
    ahead = np.subtract(found.fold_scores, found.constant_scores)
    assert ahead.mean() <= max(2 * ahead.std(ddof=1) / np.sqrt(len(ahead)), 0.01)
