"""Letting a challenger meet its rival on blocks of rows that nothing has learned from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from retuned.tune.data import WindowFile
from retuned.tune.executor import Call, Limits, Outcome, Priority
from retuned.tune.work import BlockRequest, predict_block
from retuned_pipelines.care.facts import Judged
from retuned_pipelines.care.orders import BEGINNING
from retuned_pipelines.ensemble import JOINING
from retuned_pipelines.evaluate import gate
from retuned_pipelines.evaluate.metrics import is_row_mean
from retuned_pipelines.evaluate.splits import blocks, reserve
from retuned_pipelines.fitting import classes_of, encoded_target
from retuned_pipelines.models.constant import CONSTANT
from retuned_pipelines.models.families import complexity
from retuned_pipelines.search.trial import NO_COST

if TYPE_CHECKING:
    from collections.abc import Sequence

    from retuned.rows.log import RowLog
    from retuned.tune.bench import Bench
    from retuned_pipelines.care.orders import Judge
    from retuned_pipelines.evaluate.splits import Fold
    from retuned_pipelines.evaluate.verdict import Verdict
    from retuned_pipelines.recipe import Recipe
    from retuned_pipelines.spec import ModelSpec
    from retuned_pipelines.window import Window


@dataclass(frozen=True, slots=True, eq=False)
class _Block:
    """A recipe that is to predict a block."""

    file: WindowFile
    classes: tuple[str, ...]
    recipe: Recipe
    fold: Fold


def judge(spec: ModelSpec, order: Judge, log: RowLog, bench: Bench, now: float) -> Judged:
    """Refit both procedures before each block, predict the block, and ask the gate.

    Raises:
        Interrupted: the daemon stops.
        OSError: the disk is full.
    """
    window = log.window(as_of=order.as_of, newest=order.rows, labelled=True)
    folds = blocks(window, _first(spec, order, window), spec.gate)
    outcomes = _outcomes(spec, order, bench, window, folds)
    cost = sum((outcome.cost for outcome in outcomes), NO_COST)
    verdict = _verdict(spec, order, window, folds, outcomes)
    classes = len(classes_of(window)) if spec.task.is_classification else 1
    return Judged(
        now=now,
        order=order.id,
        verdict=verdict,
        cost=cost,
        classes=classes if classes > 2 else 1,  # noqa: PLR2004 (two need one tree, as numbers do)
    )


def _first(spec: ModelSpec, order: Judge, window: Window) -> int:
    """Position of the oldest row that the gate may use."""
    if order.boundary == BEGINNING:
        return reserve(window, spec.gate)
    is_later = (window.time > order.boundary.time) | (
        (window.time == order.boundary.time) & (window.seq > order.boundary.seq)
    )
    return int(np.argmax(is_later)) if is_later.any() else len(window)


def _outcomes(
    spec: ModelSpec, order: Judge, bench: Bench, window: Window, folds: Sequence[Fold]
) -> list[Outcome]:
    """Outputs of the challenger for each block, then those of each rival."""
    classes = classes_of(window) if spec.task.is_classification else ()
    with WindowFile.write(window, bench.window_path(spec.name, order.id)) as file:
        return bench.all_of(
            [
                _call(spec, order, bench, _Block(file, classes, recipe, fold))
                for recipe in _recipes(order)
                for fold in (_unmoved(folds) if _stays(spec, recipe) else folds)
            ]
        )


def _stays(spec: ModelSpec, recipe: Recipe) -> bool:
    """Whether a recipe is fitted once, before the first block.

    A constant that is refitted follows the classes' shares with a lag: pooled over blocks, it
    would say the opposite of the truth, and by a metric that is no mean over rows it would be
    beaten by noise.
    """
    is_counted = spec.task.is_classification and not is_row_mean(spec.metric)
    return recipe.family == CONSTANT.name and is_counted


def _unmoved(folds: Sequence[Fold]) -> list[Fold]:
    return [replace(fold, train=folds[0].train) for fold in folds]


def _recipes(order: Judge) -> tuple[Recipe, ...]:
    """What has to be fitted: the challenger, then the rival or the champion's members."""
    if len(order.champion) > 1:
        return (order.challenger, *(member.recipe for member in order.champion))
    return (order.challenger, order.rival)


def _call(spec: ModelSpec, order: Judge, bench: Bench, block: _Block) -> Call:
    request = BlockRequest(
        window=block.file,
        recipe=block.recipe,
        task=spec.task,
        classes=block.classes,
        train=block.fold.train,
        validation=block.fold.validation,
        seed=spec.search.seed,
        threads=bench.executor.threads,
        changed_seq=order.changed_seq,
    )
    return Call(
        function=predict_block,
        request=request,
        limits=Limits(wall_s=spec.search.trial_s, memory_mb=spec.search.trial_mb),
        priority=Priority.TAKEOVER,
        group=f"{spec.name}/{order.id}",
    )


def _verdict(
    spec: ModelSpec,
    order: Judge,
    window: Window,
    folds: Sequence[Fold],
    outcomes: Sequence[Outcome],
) -> Verdict:
    failed = [number for number, outcome in enumerate(outcomes) if outcome.error]
    if failed:
        who = "challenger" if failed[0] < len(folds) else order.rival_name
        reason = f"The {who} could not be fitted for the gate: {outcomes[failed[0]].error}."
        return gate.refused(spec, rival_name=order.rival_name, reason=reason)
    return gate.judge(
        spec,
        _evidence(spec, order, window, folds, outcomes),
        rival_name=order.rival_name,
        is_simpler=len(order.champion) <= 1
        and complexity(order.challenger) < complexity(order.rival),
        rng=_rng(spec, order),
    )


def _evidence(
    spec: ModelSpec,
    order: Judge,
    window: Window,
    folds: Sequence[Fold],
    outcomes: Sequence[Outcome],
) -> gate.Evidence:
    classes = classes_of(window) if spec.task.is_classification else ()
    positions = [fold.validation for fold in folds]
    rows = window.take(np.concatenate(positions) if positions else np.empty(0, np.int64))
    outputs = [outcome.value for outcome in outcomes]
    empty = np.empty((0, len(classes)) if classes else 0)
    size = len(folds)
    answers = [
        np.concatenate([empty, *outputs[start : start + size]])
        for start in range(0, size * len(_recipes(order)), max(size, 1))
    ] or [empty, empty]
    challenger, rival = answers[0], answers[1]
    if len(order.champion) > 1:
        # The challenger is compared as it would serve: as one more member.
        weights = np.array([member.weight for member in order.champion])
        rival = np.tensordot(weights / weights.sum(), np.array(answers[1:]), axes=1)
        challenger = JOINING * challenger + (1 - JOINING) * rival
    return gate.Evidence(
        target=encoded_target(rows, classes),
        challenger=challenger,
        rival=rival,
        classes=classes,
        lengths=tuple(len(fold.validation) for fold in folds),
        first_seq=int(rows.seq.min()) if len(rows) else 0,
        last_seq=int(rows.seq.max()) if len(rows) else 0,
    )


def _rng(spec: ModelSpec, order: Judge) -> np.random.Generator:
    text = f"{spec.name}/{order.id}/{spec.search.seed}"
    return np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]))
