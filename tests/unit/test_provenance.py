"""What is remembered of a fit tells whether it can be made again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.reigns import reign_of
from tests.samples import mixed, window_of

from retuned_pipelines.fitting import fit
from retuned_pipelines.models.families import default_recipe
from retuned_pipelines.provenance import (
    Provenance,
    answers_digest,
    as_then,
    rows_digest,
    schema_digest,
)
from retuned_pipelines.schema import Task
from retuned_pipelines.version import Revision

PAST = Provenance(
    as_of=9,
    changed_seq=0,
    seed=1,
    rows=4,
    first_seq=1,
    last_seq=7,
    learned="a",
    schema="b",
    answers="c",
)


def revision(**changes: Any) -> Revision:
    crowned = reign_of([default_recipe(Task.REGRESSION)], as_of=9, rows=4)
    return replace(crowned.revision, **changes)


def test_a_revision_keeps_it() -> None:
    kept = revision(provenance=(PAST, None))
    assert Revision.from_json(kept.to_json()) == kept


def test_without_it_a_revision_is_written_as_before_so_that_old_signatures_fit() -> None:
    assert "provenance" not in revision().to_json()
    assert "provenance" not in revision(provenance=(None,)).to_json()
    assert Revision.from_json(revision().to_json()) == revision()


def test_a_row_that_is_gone_and_a_label_that_was_corrected_change_the_digest() -> None:
    window = window_of({"x": [1.0, 2.0, 3.0]}, [1.0, 2.0, 3.0])
    corrected = window_of({"x": [1.0, 2.0, 3.0]}, [1.0, 2.0, 3.0], label_seq=[2, 4, 9])
    assert rows_digest(window) == rows_digest(window.span(0, 3))
    assert len({rows_digest(w) for w in (window, window.span(0, 2), corrected)}) == 3


@pytest.mark.parametrize("family", ["lightgbm", "linear", "forest"])
def test_answers_have_one_digest_whatever_the_threads(family: str) -> None:
    window = mixed(Task.REGRESSION, 300)
    recipe = default_recipe(Task.REGRESSION, family)
    models = [fit(recipe, window, Task.REGRESSION, threads=n) for n in (1, 2)]
    assert len({answers_digest(model, window) for model in models}) == 1
    other = fit(recipe, window.span(0, 299), Task.REGRESSION)
    assert answers_digest(other, window) != answers_digest(models[0], window)


def test_rows_are_read_under_the_features_of_then() -> None:
    before = window_of({"x": [1.0], "c": ["a"]}, [1.0])
    now = window_of({"x": [1.0], "c": ["a"], "new": [None]}, [1.0])
    then = as_then(now, schema_digest(before.schema))
    assert then is not None
    assert then.schema == before.schema
    assert then.features == before.features
    changed = window_of({"x": ["1.0"], "c": ["a"]}, [1.0])
    assert as_then(changed, schema_digest(before.schema)) is None
    assert np.array_equal(then.seq, now.seq)
