"""How a champion and each of its members are scored on the labels that come."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from tests.reigns import reign_of
from tests.samples import window_of

from retuned.ingest.parse import JSON, parse_labels, parse_rows
from retuned.rows.log import RowLog
from retuned.serve.champion import Champion
from retuned.watch import MAX_SCORED, MIN_SCORED, score_matured, score_members
from retuned_pipelines.fitting import FittedModel, fit
from retuned_pipelines.recipe import Recipe
from retuned_pipelines.schema import Task
from retuned_pipelines.spec import ModelSpec
from retuned_pipelines.version import Blocks
from retuned_pipelines.weights import BLOCKS

NUMBERS = ModelSpec(
    name="demo", task=Task.REGRESSION, target="y", metric="neg_mean_absolute_error", time="t"
)
CLASSES = replace(NUMBERS, task=Task.MULTICLASS, metric="neg_log_loss")
CONSTANT = Recipe(family="constant")


@pytest.fixture
def log(tmp_path: Path) -> Iterator[RowLog]:
    found = RowLog(tmp_path / "numbers.sqlite", Task.REGRESSION)
    yield found
    found.close()


def come(log: RowLog, labels: Sequence[Any], spec: ModelSpec = NUMBERS) -> int:
    """Append rows with their labels; returns the newest sequence number."""
    begun = log.counts().rows
    rows = [
        {"id": begun + n, "t": begun + n, "x": 0.0, "y": label} for n, label in enumerate(labels)
    ]
    parsed = parse_rows(orjson.dumps(rows), JSON, spec, log.schema, 0)
    assert not parsed.rejected
    return log.append_rows(parsed.batch, parsed.schema).last_seq


def always(answer: float) -> FittedModel:
    """A model that answers the same to every row."""
    return fit(CONSTANT, window_of({"x": [0.0, 1.0]}, [answer] * 2), Task.REGRESSION)


def shares(*classes: str) -> FittedModel:
    """A model that answers the classes' shares."""
    return fit(CONSTANT, window_of({"x": np.zeros(len(classes))}, list(classes)), Task.MULTICLASS)


def champion(
    *models: FittedModel | None,
    as_of: int = 0,
    weights: Sequence[float] = (),
    elder: tuple[FittedModel | None, ...] = (),
) -> Champion:
    crowned = reign_of([CONSTANT] * len(models), as_of=as_of, weights=weights)
    return Champion.of(crowned, models, elder)


def served(log: RowLog, spec: ModelSpec = NUMBERS) -> list[float]:
    return log.losses(1, metric=spec.metric).loss.tolist()


def column(blocks: Blocks, member: int) -> list[float]:
    return [row[member] for row in blocks]


@pytest.mark.parametrize(
    ("labels", "parts"), [(10, 1), (19, 1), (20, 2), (79, 7), (80, 8), (500, BLOCKS)]
)
def test_members_are_scored_on_parts_of_ten_labels_at_least_in_their_order(
    log: RowLog, labels: int, parts: int
) -> None:
    truth = np.arange(float(labels))
    until = come(log, truth.tolist())
    found = score_members(NUMBERS, log, champion(always(0.0), always(-1.0)), until).came
    assert found is not None
    assert found.elder == ()
    expected = [part.mean() for part in np.array_split(truth, parts)]
    assert column(found.losses, 0) == pytest.approx(expected)
    assert column(found.losses, 1) == pytest.approx([loss + 1 for loss in expected])


def test_the_champion_s_own_loss_is_stored_as_it_served(log: RowLog) -> None:
    until = come(log, [1.0] * 20)
    both = champion(always(0.0), always(4.0), weights=(0.75, 0.25))
    score_members(NUMBERS, log, both, until)
    assert served(log) == [0.0] * 20


def test_too_few_labels_tell_nothing_of_the_members_and_are_scored_all_the_same(
    log: RowLog,
) -> None:
    until = come(log, [1.0] * (MIN_SCORED - 1))
    both = champion(always(0.0), always(1.0))
    assert score_members(NUMBERS, log, both, until).came is None
    assert served(log) == [0.5] * (MIN_SCORED - 1)
    # They are not lost for the members: with the next ones they are enough.
    found = score_members(NUMBERS, log, both, come(log, [1.0])).came
    assert found is not None
    assert found.losses == ((1.0, 0.0),)
    assert served(log) == [0.5] * MIN_SCORED


def test_labels_that_the_revision_knew_say_nothing(log: RowLog) -> None:
    known = come(log, [100.0] * 30)
    until = come(log, [1.0] * 30)
    found = score_members(NUMBERS, log, champion(always(0.0), as_of=known), until).came
    assert found is not None
    assert column(found.losses, 0) == [1.0] * 3
    assert served(log) == [1.0] * 30
    assert score_members(NUMBERS, log, champion(always(0.0), as_of=until), until).came is None
    assert served(log) == [1.0] * 30


def test_what_a_check_has_scored_counts_for_the_members_and_is_stored_once(log: RowLog) -> None:
    only = champion(always(0.0))
    score_matured(NUMBERS, log, only, come(log, [1.0] * 20))
    until = come(log, [3.0] * 20)
    found = score_members(NUMBERS, log, only, until).came
    assert found is not None
    assert column(found.losses, 0) == [1.0, 1.0, 3.0, 3.0]
    assert served(log) == [1.0] * 20 + [3.0] * 20
    # The order may be carried out again after a crash: with the same result.
    assert score_members(NUMBERS, log, only, until).came == found
    assert served(log) == [1.0] * 20 + [3.0] * 20


def test_of_many_labels_at_once_some_are_scored_evenly(log: RowLog) -> None:
    truth = np.arange(5.0 * MAX_SCORED)
    until = come(log, truth.tolist())
    found = score_members(NUMBERS, log, champion(always(0.0)), until).came
    assert found is not None
    expected = [part.mean() for part in np.array_split(truth, BLOCKS)]
    assert column(found.losses, 0) == pytest.approx(expected, rel=0.01)
    losses = served(log)
    assert len(losses) == MAX_SCORED
    assert losses[-1] == truth[-1]
    # Those in between are not made up for later.
    score_matured(NUMBERS, log, champion(always(0.0)), until)
    assert len(served(log)) == MAX_SCORED


def test_a_retired_member_has_no_loss(log: RowLog) -> None:
    until = come(log, [1.0] * 20)
    both = champion(None, always(0.0), weights=(0.0, 1.0))
    found = score_members(NUMBERS, log, both, until).came
    assert found is not None
    assert np.isnan(column(found.losses, 0)).all()
    assert column(found.losses, 1) == [1.0, 1.0]
    assert served(log) == [1.0] * 20


def test_former_fits_are_scored_where_somebody_asks(log: RowLog) -> None:
    until = come(log, [1.0] * 20)
    both = champion(always(0.0), always(0.5), elder=(None, always(-1.0)))
    found = score_members(NUMBERS, log, both, until, wants_elder=True).came
    assert found is not None
    assert column(found.losses, 1) == [0.5, 0.5]
    assert column(found.elder, 1) == [2.0, 2.0]
    assert np.isnan(column(found.elder, 0)).all()


def test_a_class_that_nobody_knows_is_as_wrong_as_can_be(tmp_path: Path) -> None:
    log = RowLog(tmp_path / "classes.sqlite", Task.MULTICLASS)
    try:
        until = come(log, ["a"] * 10 + ["new"] * 10, CLASSES)
        both = champion(shares('"a"', '"b"'), shares('"b"', '"c"'), weights=(1.0, 0.0))
        assert both.classes == ('"a"', '"b"', '"c"')
        found = score_members(CLASSES, log, both, until).came
        assert found is not None
        # For weights a miss counts as a probability of 1 in 1,000, as that of a class never seen.
        assert column(found.losses, 0) == pytest.approx([math.log(2), math.log(1000)])
        assert column(found.losses, 1) == pytest.approx([math.log(1000)] * 2)
        assert served(log, CLASSES) == pytest.approx([math.log(2)] * 10 + [15 * math.log(10)] * 10)
    finally:
        log.close()


# Beside the champion before


def before(*models: FittedModel) -> Champion:
    """A champion whose artifacts are its own."""
    crowned = reign_of(
        [CONSTANT] * len(models), as_of=0, artifacts=[f"b{n}" for n in range(len(models))]
    )
    return Champion.of(crowned, models)


def relabel(log: RowLog, row: int, label: float) -> int:
    """Correct a label; returns its sequence number."""
    sent = parse_labels(orjson.dumps([{"id": row, "label": label}]), JSON, NUMBERS)
    return log.append_labels(sent.batch).last_seq


def test_a_champion_is_compared_with_its_shadow_on_every_label_in_their_order(
    log: RowLog,
) -> None:
    until = come(log, [1.0, 2.0, 4.0])
    found = score_members(
        NUMBERS, log, champion(always(0.0)), until, shadow=before(always(2.0))
    ).beside
    assert found is not None
    assert found.differences == (1.0 - 1.0, 2.0 - 0.0, 4.0 - 2.0)
    assert found.until == until
    assert found.came is None


def test_the_shadow_s_members_are_scored_for_its_own_weights(log: RowLog) -> None:
    until = come(log, [1.0] * MIN_SCORED)
    shadow = before(always(0.0), always(3.0))
    scored = score_members(NUMBERS, log, champion(always(1.0)), until, shadow=shadow)
    assert scored.beside is not None
    assert scored.beside.came is not None
    assert scored.beside.came.losses == ((1.0, 2.0),)
    # Its answer is the mean of both: 1.5.
    assert scored.beside.differences == (-0.5,) * MIN_SCORED
    assert served(log) == [0.0] * MIN_SCORED


def test_labels_that_were_compared_before_and_corrections_of_them_count_no_more(
    log: RowLog,
) -> None:
    both = champion(always(0.0)), before(always(1.0))
    first = come(log, [1.0] * 4)
    score_members(NUMBERS, log, both[0], first, shadow=both[1])
    relabel(log, 2, 9.0)
    until = come(log, [2.0])
    found = score_members(NUMBERS, log, both[0], until, shadow=both[1], compared=first).beside
    assert found is not None
    assert found.differences == (1.0,)


def test_a_check_in_between_takes_no_label_from_the_comparison(log: RowLog) -> None:
    both = champion(always(0.0)), before(always(1.0))
    until = come(log, [1.0] * 4)
    score_matured(NUMBERS, log, both[0], until)
    found = score_members(NUMBERS, log, both[0], until, shadow=both[1]).beside
    assert found is not None
    assert found.differences == (1.0,) * 4


def test_classes_that_only_one_of_both_knows_are_compared_all_the_same(tmp_path: Path) -> None:
    log = RowLog(tmp_path / "classes.sqlite", Task.MULTICLASS)
    try:
        until = come(log, ["a", "c"], CLASSES)
        sure, unsure = champion(shares('"a"', '"a"', '"b"')), before(shares('"a"', '"b"', '"c"'))
        found = score_members(CLASSES, log, sure, until, shadow=unsure).beside
    finally:
        log.close()
    assert found is not None
    assert found.differences[0] < 0
    assert found.differences[1] > 0


def test_members_that_both_have_answer_once(log: RowLog) -> None:
    until = come(log, [1.0] * MIN_SCORED)
    # Of the same artifact as the champion's: what stands in its place is never asked.
    same = champion(always(99.0))
    found = score_members(NUMBERS, log, champion(always(0.0)), until, shadow=same).beside
    assert found is not None
    assert found.differences == (0.0,) * MIN_SCORED
