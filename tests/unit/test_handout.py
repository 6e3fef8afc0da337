"""A model that leaves answers as it did at home, in every form, for every task."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import skops.io
from numpy.typing import NDArray
from tests.programs import told_by
from tests.reigns import VERDICT
from tests.samples import mixed, window_of

from retuned_pipelines.ensemble import founded
from retuned_pipelines.fitting import FittedModel, fit
from retuned_pipelines.handout.bundle import ALIGNED, bundle, trusted_types
from retuned_pipelines.handout.manifest import Form, Manifest, NoSuchForm
from retuned_pipelines.models.families import default_recipe
from retuned_pipelines.recipe import Past, Recipe
from retuned_pipelines.schema import INSTANT, Feature, Kind, Schema, Task
from retuned_pipelines.version import Member, Revision, Version
from retuned_pipelines.weights import begun
from retuned_pipelines.window import Window


def manifest(models: list[FittedModel], task: Task, weights: list[float] | None = None) -> Manifest:
    shares = weights or [1 / len(models)] * len(models)
    members = tuple(Member(recipe=m.recipe, weight=w) for m, w in zip(models, shares, strict=True))
    version = Version(
        model="demo",
        number=3,
        members=members,
        verdict=VERDICT,
        study="s2",
        parent=2,
        created_at=1.0,
    )
    revision = Revision(
        model="demo",
        version=3,
        number=2,
        artifacts=("a",) * len(models),
        fitted_as_of=240,
        rows=120,
        first_seq=1,
        last_seq=239,
        schema_digest="",
        libraries={"scikit-learn": "1.9", "lightgbm": "4.7"},
        created_at=1.0,
        standing=begun(members, 120, is_single=False),
        last_time=10**15,
    )
    return Manifest(
        task=task,
        target="y",
        version=version,
        revision=revision,
        models=tuple(models),
        release="1.2.3",
        python="3.11.7",
    )


def at_home(found: Manifest, window: Window) -> NDArray[np.float64]:
    """The champion's own arithmetic."""
    parts = []
    for share in found.shares:
        output = share.model.predict(share.model.layout.encode(window.features))
        if found.classes:
            wide = np.zeros((len(window), len(found.classes)))
            wide[:, [found.classes.index(name) for name in share.model.classes]] = output
            output = wide
        parts.append(output * share.weight)
    return np.asarray(np.sum(parts, axis=0))


def records(window: Window) -> list[dict[str, Any]]:
    return list(window.features.to_pylist())


def written(files: dict[str, bytes], folder: Path) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def answers(told: dict[str, Any]) -> NDArray[np.float64]:
    return np.array(told.get("probabilities", told["predictions"]))


@pytest.mark.parametrize("task", list(Task))
def test_an_ensemble_is_one_skops_file_that_answers_alike(task: Task, tmp_path: Path) -> None:
    window = mixed(task, 400)
    recipes = [m.recipe for m in founded(task, 400, 7)]
    recipes += [default_recipe(task, "forest"), default_recipe(task, "constant")]
    recipes.append(
        Recipe.of("forest", default_recipe(task, "forest").settings, Past(time_feature=True))
    )
    found = manifest([fit(recipe, window, task) for recipe in recipes], task)
    folder = written(bundle(found, Form.SKOPS), tmp_path)
    estimator = skops.io.load(folder / "model.skops", trusted=list(trusted_types(found)))
    assert "retuned" not in " ".join(trusted_types(found))
    frame = pd.DataFrame(records(window))
    ask = estimator.predict_proba if task.is_classification else estimator.predict
    home = at_home(found, window)
    assert np.allclose(ask(frame), home, rtol=1e-15, atol=2e-16)
    # In another order, beside other columns.
    more = frame[list(reversed(frame.columns))].assign(unrelated=1)
    assert np.array_equal(ask(more), ask(frame))
    told = told_by(folder, records(window)[:5])
    assert np.allclose(answers(told), home[:5], rtol=1e-15, atol=2e-16)


@pytest.mark.parametrize("task", list(Task))
@pytest.mark.parametrize("family", ["lightgbm", "linear", "forest", "constant"])
def test_one_member_answers_to_the_last_bit(family: str, task: Task) -> None:
    window = mixed(task, 300)
    found = manifest([fit(default_recipe(task, family), window, task)], task)
    data = bundle(found, Form.SKOPS)["model.skops"]
    estimator = skops.io.loads(data, trusted=list(trusted_types(found)))
    ask = estimator.predict_proba if task.is_classification else estimator.predict
    assert np.array_equal(ask(pd.DataFrame(records(window))), at_home(found, window))


@pytest.mark.parametrize("labels", [["1", "2"], ["true", "false"], ['"a"', '"b"'], ["1", '"1"']])
def test_classes_leave_as_they_were_sent(labels: list[str]) -> None:
    x = np.arange(200.0)
    window = window_of({"x": x}, [labels[int(value > 100)] for value in x])
    found = manifest([fit(default_recipe(Task.BINARY, "linear"), window, Task.BINARY)], Task.BINARY)
    data = bundle(found, Form.SKOPS)["model.skops"]
    estimator = skops.io.loads(data, trusted=list(trusted_types(found)))
    told = estimator.predict(pd.DataFrame({"x": [0.0, 199.0]})).tolist()
    assert [json.dumps(value) for value in told] == labels


def test_members_that_know_fewer_classes_leave_with_a_wrapper_and_say_so() -> None:
    x = np.arange(300.0)
    texts = ['"a"', '"b"', '"c"']
    window = window_of({"x": x}, [texts[int(value) // 100] for value in x])
    everything = default_recipe(Task.MULTICLASS, "linear")
    recent = Recipe.of("linear", everything.settings, Past(rows=150))
    newest = Recipe.of("linear", everything.settings, Past(rows=50))
    models = [fit(recipe, window, Task.MULTICLASS) for recipe in (everything, recent, newest)]
    assert [len(model.classes) for model in models] == [3, 2, 1]
    found = manifest(models, Task.MULTICLASS)
    assert ALIGNED in trusted_types(found)
    files = bundle(found, Form.SKOPS)
    assert "needs the retuned package" in files["MODEL_CARD.md"].decode()
    estimator = skops.io.loads(files["model.skops"], trusted=list(trusted_types(found)))
    frame = pd.DataFrame(records(window))
    assert np.allclose(estimator.predict_proba(frame), at_home(found, window), rtol=1e-15)
    best = at_home(found, window).argmax(axis=1)
    assert estimator.predict(frame).tolist() == ["abc"[n] for n in best]


@pytest.mark.parametrize("past", [Past(), Past(time_feature=True)])
@pytest.mark.parametrize("task", list(Task))
def test_one_lightgbm_model_leaves_as_text_that_answers_to_the_last_bit(
    task: Task, past: Past, tmp_path: Path
) -> None:
    window = mixed(task, 300)
    recipe = Recipe.of("lightgbm", default_recipe(task).settings, past)
    found = manifest([fit(recipe, window, task)], task)
    folder = written(bundle(found, Form.LIGHTGBM), tmp_path)
    unseen = dict.fromkeys(window.schema.names)
    asked = [*records(window), unseen, {}]
    told = answers(told_by(folder, asked))
    assert np.array_equal(told[: len(window)], at_home(found, window))
    assert np.array_equal(told[-1], told[-2])


@pytest.mark.parametrize(
    "families", [("lightgbm", "linear"), ("linear",), ("lightgbm", "lightgbm")]
)
def test_what_is_not_one_lightgbm_model_has_no_text(families: tuple[str, ...]) -> None:
    window = mixed(Task.REGRESSION, 200)
    models = [
        fit(default_recipe(Task.REGRESSION, name), window, Task.REGRESSION) for name in families
    ]
    with pytest.raises(NoSuchForm, match="is not one LightGBM model"):
        bundle(manifest(models, Task.REGRESSION), Form.LIGHTGBM)


def test_a_member_that_is_not_asked_is_left_out() -> None:
    window = mixed(Task.REGRESSION, 200)
    models = [
        fit(default_recipe(Task.REGRESSION, n), window, Task.REGRESSION)
        for n in ("lightgbm", "linear")
    ]
    found = manifest(models, Task.REGRESSION, [0.999, 0.001])
    assert len(found.asked) == 1
    assert bundle(found, Form.LIGHTGBM)["model.txt"].startswith(b"tree")


def test_a_feature_of_which_nothing_was_seen_is_no_trouble() -> None:
    window = window_of({"x": np.arange(60.0), "c": ["a", *[None] * 59]}, np.arange(60.0))
    window = window.span(1, 60)
    found = manifest(
        [fit(default_recipe(Task.REGRESSION), window, Task.REGRESSION)], Task.REGRESSION
    )
    data = bundle(found, Form.SKOPS)["model.skops"]
    estimator = skops.io.loads(data, trusted=list(trusted_types(found)))
    frame = pd.DataFrame({"x": [1.0, 50.0], "c": ["a", None]})
    assert np.isfinite(estimator.predict(frame)).all()


def test_the_card_names_what_matters_and_keeps_its_tables_whole() -> None:
    window = window_of({"a|b`c": np.arange(60.0)}, np.arange(60.0))
    model = fit(default_recipe(Task.REGRESSION), window, Task.REGRESSION)
    told = bundle(manifest([model], Task.REGRESSION), Form.SKOPS)["MODEL_CARD.md"].decode()
    for expected in (
        "# Model card: demo 3.2",
        "| `a\\|b'c` | number |",
        "Times of those rows: 1970-01-01T00:00:00 to 2001-09-09",
        "found by study s2",
        "| 1.0000 | lightgbm |",
        "It no longer learns",
        "retuned 1.2.3",
        "Python 3.11.7",
    ):
        assert expected in told, expected


@pytest.mark.parametrize("form", list(Form))
def test_features_of_every_kind_leave(form: Form, tmp_path: Path) -> None:
    size = 120
    moments = [1_700_000_000_123_457 + 3_600_000_001 * n for n in range(size)]
    columns = {
        "number": pa.array([0.5 * n for n in range(size)]),
        "whole": pa.array([None, *range(1, size)], pa.int64()),
        "flag": pa.array([n % 3 == 0 for n in range(size)]),
        "text": pa.array(["a", "b"] * (size // 2)),
        "at": pa.array([None, *moments[1:]], INSTANT),
    }
    kinds = (Kind.NUMBER, Kind.INTEGER, Kind.BOOLEAN, Kind.CATEGORY, Kind.TIMESTAMP)
    schema = Schema(tuple(Feature(n, k) for n, k in zip(columns, kinds, strict=True)))
    plain = window_of({"number": columns["number"].to_pylist()}, np.arange(float(size)))
    window = replace(plain, schema=schema, features=pa.table(columns))
    model = fit(default_recipe(Task.REGRESSION), window, Task.REGRESSION)
    found = manifest([model], Task.REGRESSION)
    folder = written(bundle(found, form), tmp_path)
    asked = [{**row, "at": row["at"] and row["at"].isoformat()} for row in records(window)]
    home = at_home(found, window)
    if form is Form.MLFLOW:
        script = (
            "import json, sys; sys.path.insert(0, 'code'); import retuned_model;"
            "model = retuned_model._load_pyfunc('model.skops');"
            "found = model.predict(json.load(sys.stdin)).tolist();"
            "print(json.dumps({'predictions': found}))"
        )
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", script],
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            cwd=folder,
            check=True,
        )
        assert json.loads(done.stdout)["predictions"] == home.tolist()
    else:
        assert told_by(folder, asked)["predictions"] == home.tolist()
        for row, moment in zip(asked[1:], moments[1:], strict=True):
            row["at"] = moment / 1e6
        assert told_by(folder, asked[1:])["predictions"] == home[1:].tolist()
