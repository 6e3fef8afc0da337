"""What else a challenger must not fail at, and what the verdict tells of it."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.reigns import VERDICT
from tests.samples import window_of

from retuned_pipelines.evaluate.evidence import Evidence, slices_of
from retuned_pipelines.evaluate.gate import confirm, judge
from retuned_pipelines.evaluate.sequential import pace
from retuned_pipelines.evaluate.verdict import Aspect, Ruling, Verdict
from retuned_pipelines.schema import Task
from retuned_pipelines.spec import GatePolicy, ModelSpec

SPEC = ModelSpec(name="demo", task=Task.REGRESSION, target="y", metric="neg_mean_absolute_error")
CLASSES = replace(SPEC, task=Task.BINARY, metric="neg_log_loss")
ROWS = 800


def errors(mean: float, seed: int, noise: float = 0.3) -> NDArray[np.float64]:
    """Errors of a model whose target is 0 everywhere."""
    return np.abs(mean + noise * np.random.default_rng(seed).normal(size=ROWS))


def evidence(challenger: NDArray[np.float64], rival: NDArray[np.float64]) -> Evidence:
    return Evidence(
        target=np.zeros(ROWS),
        challenger=challenger,
        rival=rival,
        classes=(),
        lengths=(ROWS // 8,) * 8,
        first_seq=1,
        last_seq=2 * ROWS,
    )


BETTER = evidence(errors(0.8, 0), errors(1.0, 1))
"""A challenger that removes a fifth of the loss."""


def ruled(found: Evidence, policy: GatePolicy | None = None, *, spec: ModelSpec = SPEC) -> Verdict:
    """The whole gate, for the first challenger of a reign."""
    spec = replace(spec, gate=policy or GatePolicy())
    rng = np.random.default_rng(7)
    verdict = judge(spec, found, rival_name="champion", is_simpler=False, number=1, rng=rng)
    return confirm(spec, verdict, found, family="lightgbm", rng=rng)


# Spending


@pytest.mark.parametrize(
    ("number", "confidence", "words"),
    [(0, 0.95, "95%"), (1, 0.96960, "96.96%"), (2, 0.99240, "99.24%"), (50, 0.99999, "99.99%")],
)
def test_the_more_challengers_came_the_more_certain_the_next_must_be(
    number: int, confidence: float, words: str
) -> None:
    found = judge(
        SPEC,
        BETTER,
        rival_name="champion",
        is_simpler=False,
        number=number,
        rng=np.random.default_rng(0),
    )
    assert found.confidence == pytest.approx(confidence, abs=1e-5)
    assert found.level == pytest.approx(1 - confidence, abs=1e-5)
    assert found.number == number
    assert f"with {words} confidence" in found.reasons[0]
    assert (f"challenger {number} of this reign" in found.reasons[0]) is (number > 1)


def test_what_the_first_challenger_of_a_reign_may_do_the_fifth_may_not() -> None:
    close = evidence(errors(0.95, 0), errors(1.0, 1))
    by_number = {
        number: judge(
            SPEC,
            close,
            rival_name="champion",
            is_simpler=False,
            number=number,
            rng=np.random.default_rng(0),
        )
        for number in (1, 5)
    }
    assert by_number[1].is_promoted
    assert not by_number[5].is_promoted
    assert by_number[5].gain == by_number[1].gain
    assert by_number[5].lower < by_number[1].lower


# The family's default


@pytest.mark.parametrize(("default", "is_promoted"), [(0.6, False), (0.79, True), (1.0, True)])
def test_a_challenger_that_is_worse_than_its_family_s_default_is_overtuned(
    *, default: float, is_promoted: bool
) -> None:
    found = ruled(replace(BETTER, default=errors(default, 2)))
    (check,) = found.checks
    assert (check.aspect, check.subject) == (Aspect.DEFAULT, "lightgbm")
    assert found.is_promoted is check.is_passed is is_promoted
    assert ("Overtuned" in found.reasons[0]) is not is_promoted
    # Why it would have been promoted is told, too.
    assert any("Better" in reason for reason in found.reasons)


def test_a_challenger_as_good_as_the_default_is_seldom_taken_for_overtuned() -> None:
    found = [
        ruled(
            replace(
                evidence(errors(0.8, 3 * seed), errors(1.0, 3 * seed + 1)),
                default=errors(0.8, 3 * seed + 2),
            )
        ).is_promoted
        for seed in range(40)
    ]
    # At most 5 %, and three standard errors of 40 turns.
    assert np.mean(found) >= 0.84


# Guards


@pytest.mark.parametrize(
    ("margin", "is_promoted"), [(0.05, False), (0.95, True)], ids=["small margin", "large margin"]
)
def test_a_guard_must_not_fall_by_more_than_the_margin(*, margin: float, is_promoted: bool) -> None:
    # Less wrong in the mean, but far off in a few rows: the squared error rises.
    few = np.where(np.arange(ROWS) % 80 == 0, 8.0, errors(0.7, 0))
    policy = GatePolicy(guards=("neg_mean_squared_error",), guard_margin=margin)
    found = ruled(evidence(few, errors(1.0, 1)), policy)
    (check,) = found.checks
    assert (check.aspect, check.subject, check.rows) == (
        Aspect.GUARD,
        "neg_mean_squared_error",
        ROWS,
    )
    assert found.is_promoted is is_promoted
    said = "GATE__GUARD_MARGIN is 5.0%" if not is_promoted else "holds"
    assert any(said in reason for reason in found.reasons)


def classified(*, flips: float) -> Evidence:
    """A challenger with better probabilities that misses this share of the positives."""
    rng = np.random.default_rng(3)
    target = (rng.random(ROWS) < 0.2).astype(np.int64)

    def output(sure: float, wrong: NDArray[np.bool_]) -> NDArray[np.float64]:
        positive = np.where((target == 1) ^ wrong, sure, 1 - sure)
        return np.column_stack([1 - positive, positive])

    missed = (target == 1) & (rng.random(ROWS) < flips)
    return replace(
        evidence(output(0.9, missed), output(0.65, (target == 1) & (rng.random(ROWS) < 0.1))),
        target=target,
        classes=("0", "1"),
    )


@pytest.mark.parametrize(("flips", "is_promoted"), [(0.0, True), (0.25, False)])
def test_a_better_log_loss_does_not_excuse_a_lost_recall(
    *, flips: float, is_promoted: bool
) -> None:
    found = ruled(classified(flips=flips), GatePolicy(guards=("recall",)), spec=CLASSES)
    assert any("Better" in reason for reason in found.reasons)
    assert found.is_promoted is is_promoted


def test_a_guard_without_a_value_is_a_refusal() -> None:
    known = classified(flips=0.0)
    half = np.arange(ROWS) < ROWS // 2
    one_class = replace(known, target=np.where(half, 0, 0), lengths=(100,) * 8)
    output = np.column_stack([np.full(ROWS, 0.9), np.full(ROWS, 0.1)])
    found = ruled(
        replace(one_class, challenger=output), GatePolicy(guards=("roc_auc",)), spec=CLASSES
    )
    assert not found.is_promoted
    assert "no value on these rows" in found.reasons[0]


# Slices


def sliced(north: float) -> Evidence:
    """Better on 700 rows, in the north (100 rows) off by so much."""
    is_north = np.arange(ROWS) % 8 == 0
    region = np.where(is_north, "north", "south").astype(object)
    challenger = np.where(is_north, errors(north, 5), errors(0.7, 0))
    return replace(evidence(challenger, errors(1.0, 1)), slices={"region": region})


@pytest.mark.parametrize(("north", "is_promoted"), [(0.8, True), (1.02, True), (1.5, False)])
def test_a_slice_that_certainly_got_worse_is_a_refusal(*, north: float, is_promoted: bool) -> None:
    found = ruled(sliced(north), GatePolicy(slices=("region",)))
    assert [(check.subject, check.rows) for check in found.checks] == [
        ("region=north", 100),
        ("region=south", 700),
    ]
    assert found.is_promoted is is_promoted
    if not is_promoted:
        assert "Slice region=north is worse" in found.reasons[0]


def test_small_slices_are_not_looked_at_and_the_verdict_says_so() -> None:
    policy = GatePolicy(slices=("region",), slice_rows=1000)
    found = ruled(sliced(1.8), policy)
    assert found.is_promoted
    assert "No slice has 1000 rows" in found.reasons[-1]


def test_a_column_that_no_row_has_is_named() -> None:
    found = ruled(sliced(0.8), GatePolicy(slices=("region", "colour")))
    assert found.is_promoted
    assert "GATE__SLICES names colour, which no row has." in found.reasons


def test_with_many_equal_slices_luck_seldom_refuses() -> None:
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(25):
        challenger, rival = np.abs(rng.normal(size=(2, ROWS)))
        given = replace(
            evidence(challenger, rival),
            slices={"group": np.array([str(n % 8) for n in range(ROWS)], dtype=object)},
        )
        promoted = replace(VERDICT, ruling=Ruling.PROMOTED)
        spec = replace(SPEC, gate=GatePolicy(slices=("group",), guard_margin=0.0))
        refused += not confirm(spec, promoted, given, family="linear", rng=rng).is_promoted
    # 5 % of 25 are 1.3, and three standard errors 3.3.
    assert refused <= 4


def test_slices_are_categories_flags_missing_values_and_classes() -> None:
    window = window_of(
        {"region": ["north", None, "south"], "flag": [0.0, 1.0, 1.0]}, ["0", "1", "1"]
    )
    spec = replace(CLASSES, gate=GatePolicy(slices=("region", "flag", "y", "colour")))
    found = {name: list(values) for name, values in slices_of(spec, window).items()}
    assert found == {
        "region": ["north", "missing", "south"],
        "flag": ["0", "1", "1"],
        "y": ["0", "1", "1"],
    }


# The verdict


def test_a_refused_challenger_is_not_looked_at_further() -> None:
    found = ruled(
        replace(evidence(errors(1.2, 0), errors(1.0, 1)), default=errors(0.5, 2)),
        GatePolicy(guards=("r2",)),
    )
    assert not found.is_promoted
    assert found.checks == ()


def test_the_verdict_survives_json_with_everything_that_was_checked() -> None:
    found = ruled(replace(sliced(0.8), default=errors(0.8, 2)), GatePolicy(slices=("region",)))
    assert len(found.checks) == 3
    assert found.pace == pace(sliced(0.8).challenger, sliced(0.8).rival)
    assert Verdict.from_json(json.loads(json.dumps(found.to_json(), allow_nan=False))) == found


def test_verdicts_from_before_there_were_checks_can_be_read() -> None:
    old = {
        name: value
        for name, value in VERDICT.to_json().items()
        if name not in {"number", "checks", "pace"}
    }
    found = Verdict.from_json(old)
    assert (found.number, found.checks, found.pace) == (0, (), None)
    assert found.level == pytest.approx(0.05)
