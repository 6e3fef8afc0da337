"""The gate's rulings, as tables."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from retuned_pipelines.evaluate.evidence import Evidence
from retuned_pipelines.evaluate.gate import judge, refused
from retuned_pipelines.evaluate.verdict import Ruling, Verdict
from retuned_pipelines.schema import Task
from retuned_pipelines.spec import GatePolicy, ModelSpec

SPEC = ModelSpec(name="demo", task=Task.REGRESSION, target="y", metric="neg_mean_absolute_error")


def evidence(challenger: float, rival: float, *, blocks: int = 8, noise: float = 0.0) -> Evidence:
    """Two models on 400 rows, each off by so much on average."""
    rng = np.random.default_rng(0)
    return Evidence(
        target=np.zeros(400),
        challenger=np.abs(challenger + noise * rng.normal(size=400)),
        rival=np.abs(rival + noise * rng.normal(size=400)),
        classes=(),
        lengths=(400 // blocks,) * blocks if blocks else (),
        first_seq=11,
        last_seq=811,
    )


def ruled(
    found: Evidence,
    *,
    rival_name: str = "champion",
    is_simpler: bool = False,
    spec: ModelSpec = SPEC,
) -> Verdict:
    return judge(
        spec,
        found,
        rival_name=rival_name,
        is_simpler=is_simpler,
        rng=np.random.default_rng(1),
    )


@pytest.mark.parametrize(
    ("challenger", "rival", "noise", "rival_name", "is_simpler", "ruling", "word"),
    [
        # What serves is beaten by evidence only.
        (0.8, 1.0, 0.1, "champion", False, Ruling.PROMOTED, "Better"),
        (0.99, 1.0, 0.5, "champion", False, Ruling.REFUSED, "Not enough evidence"),
        (1.2, 1.0, 0.1, "champion", False, Ruling.REFUSED, "No gain"),
        (1.0, 1.0, 0.0, "champion", False, Ruling.REFUSED, "No gain"),
        # Simpler wins where it is as good, and loses where it is worse.
        (1.001, 1.0, 0.0, "champion", True, Ruling.PROMOTED, "simpler"),
        (1.001, 1.0, 0.0, "champion", False, Ruling.REFUSED, "No gain"),
        (1.05, 1.0, 0.0, "champion", True, Ruling.REFUSED, "No gain"),
        # Where nothing serves yet the estimate is enough.
        (0.99, 1.0, 0.5, "constant", False, Ruling.PROMOTED, "nothing serves yet"),
        (1.05, 1.0, 0.1, "constant", False, Ruling.REFUSED, "No better than a constant"),
        (1.0, 1.0, 0.0, "constant", True, Ruling.REFUSED, "No better than a constant"),
    ],
)
def test_a_challenger_is_ruled_upon(  # the columns of the table
    *,
    challenger: float,
    rival: float,
    noise: float,
    rival_name: str,
    is_simpler: bool,
    ruling: Ruling,
    word: str,
) -> None:
    found = ruled(
        evidence(challenger, rival, noise=noise), rival_name=rival_name, is_simpler=is_simpler
    )
    assert found.ruling is ruling
    assert found.is_promoted is (ruling is Ruling.PROMOTED)
    assert word in found.reasons[0]


def test_the_verdict_names_its_evidence() -> None:
    found = ruled(evidence(0.8, 1.0, noise=0.1))
    assert found.lower <= found.gain <= found.upper
    assert found.gain == pytest.approx(0.2, abs=0.02)
    assert (found.challenger_score, found.rival_score) == pytest.approx((-0.8, -1.0), abs=0.02)
    assert (found.blocks, found.rows, found.first_seq, found.last_seq) == (8, 400, 11, 811)
    assert (found.metric, found.rival, found.confidence) == (SPEC.metric, "champion", 0.95)


@pytest.mark.parametrize("rival_name", ["champion", "constant"])
@pytest.mark.parametrize(("blocks", "is_promoted"), [(0, False), (3, False), (4, True)])
def test_too_few_blocks_are_a_refusal(*, rival_name: str, blocks: int, is_promoted: bool) -> None:
    found = ruled(evidence(0.5, 1.0, noise=0.1, blocks=blocks), rival_name=rival_name)
    assert found.is_promoted is is_promoted
    if not is_promoted:
        assert "GATE__MIN_BLOCKS is 4" in found.reasons[0]


@pytest.mark.parametrize(("min_gain", "is_promoted"), [(0.1, True), (0.3, False)])
def test_the_gain_asked_for_must_be_certain(*, min_gain: float, is_promoted: bool) -> None:
    found = ruled(
        evidence(0.8, 1.0, noise=0.05), spec=replace(SPEC, gate=GatePolicy(min_gain=min_gain))
    )
    assert found.is_promoted is is_promoted


@pytest.mark.parametrize(("margin", "is_promoted"), [(0.0, False), (0.05, True)])
def test_what_counts_as_equal_is_the_policy_s(*, margin: float, is_promoted: bool) -> None:
    found = ruled(
        evidence(1.01, 1.0), is_simpler=True, spec=replace(SPEC, gate=GatePolicy(margin=margin))
    )
    assert found.is_promoted is is_promoted


def drifting(seed: int, *, signal: float = 0.0) -> Evidence:
    """A classifier's outputs in eight blocks between which the share of the classes swings.

    Each fit knows the share that was; the constant is of one fit, before the first block.
    """
    rng = np.random.default_rng(seed)
    level = 1.5 * np.sin(np.arange(-1, 8) * rng.uniform(0.5, 2.5) + rng.uniform(0, 6))
    order = rng.normal(size=(8, 50))
    share = 1 / (1 + np.exp(-level[1:, None] - signal * order))
    positive = 1 / (1 + np.exp(-level[:-1, None] - 0.3 * order)).ravel()
    constant = np.full(400, 1 / (1 + np.exp(-level[0])))
    return Evidence(
        target=(rng.random(400) < share.ravel()).astype(np.int64),
        challenger=np.column_stack([1 - positive, positive]),
        rival=np.column_stack([1 - constant, constant]),
        classes=("0", "1"),
        lengths=(50,) * 8,
        first_seq=1,
        last_seq=800,
    )


@pytest.mark.parametrize("metric", ["roc_auc", "average_precision"])
def test_noise_seldom_becomes_the_first_champion(metric: str) -> None:
    spec = replace(SPEC, task=Task.BINARY, metric=metric)

    def promoted(signal: float, seeds: int) -> float:
        found = [drifting(seed, signal=signal) for seed in range(seeds)]
        return float(
            np.mean([ruled(one, spec=spec, rival_name="constant").is_promoted for one in found])
        )

    # Nominal is 5 %, and three standard errors of 100 turns.
    assert promoted(0.0, 100) <= 0.11
    assert promoted(1.0, 20) >= 0.9


@pytest.mark.parametrize("metric", ["accuracy", "roc_auc"])
def test_where_noise_may_score_better_the_first_champion_must_be_certain(metric: str) -> None:
    spec = replace(SPEC, task=Task.BINARY, metric=metric)
    found = [ruled(drifting(seed), spec=spec, rival_name="constant") for seed in range(30)]
    by_chance = [one for one in found if one.gain > 0 and one.lower <= 0]
    assert by_chance
    assert not any(one.is_promoted for one in by_chance)
    assert all("Not enough evidence" in one.reasons[0] for one in by_chance)


def test_ranks_in_too_few_blocks_are_a_refusal() -> None:
    given = drifting(0, signal=3.0)
    target = given.target.copy()
    target[150:] = 0
    spec = replace(SPEC, task=Task.BINARY, metric="roc_auc")
    found = ruled(replace(given, target=target), spec=spec)
    assert not found.is_promoted
    assert "a value in 3 blocks only" in found.reasons[0]


def test_a_metric_without_a_value_is_a_refusal_that_json_can_hold() -> None:
    output = np.full((60, 2), 0.5)
    one_class = Evidence(
        target=np.ones(60, dtype=np.int64),
        challenger=output,
        rival=output,
        classes=("0", "1"),
        lengths=(10,) * 6,
        first_seq=1,
        last_seq=120,
    )
    spec = replace(SPEC, task=Task.BINARY, metric="roc_auc")
    for rival_name in ("champion", "constant"):
        found = ruled(one_class, spec=spec, rival_name=rival_name)
        assert not found.is_promoted
        assert "no value" in found.reasons[0]
        assert Verdict.from_json(json.loads(json.dumps(found.to_json(), allow_nan=False))) == found


def test_what_could_not_be_compared_is_refused_with_its_reason() -> None:
    found = refused(SPEC, rival_name="champion", reason="A fit failed: timeout.")
    assert not found.is_promoted
    assert found.reasons == ("A fit failed: timeout.",)
    assert (found.blocks, found.rows) == (0, 0)
    assert Verdict.from_json(found.to_json()) == found
