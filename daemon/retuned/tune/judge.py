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
from retuned_pipelines.evaluate.evidence import Evidence, slices_of
from retuned_pipelines.evaluate.metrics import is_row_mean
from retuned_pipelines.evaluate.splits import blocks, reserve
from retuned_pipelines.fitting import classes_of, encoded_target
from retuned_pipelines.models.constant import CONSTANT
from retuned_pipelines.models.families import complexity
from retuned_pipelines.search.trial import NO_COST

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from retuned.rows.log import RowLog
    from retuned.tune.bench import Bench
    from retuned_pipelines.care.orders import Judge
    from retuned_pipelines.evaluate.splits import Fold
    from retuned_pipelines.evaluate.verdict import Verdict
    from retuned_pipelines.recipe import Recipe
    from retuned_pipelines.spec import ModelSpec
    from retuned_pipelines.window import Window


AS_IT_IS = (
    "The champion was imported: it was not refitted, and may have learned from some of these rows."
)


@dataclass(frozen=True, slots=True, eq=False)
class _Meeting:
    """Where recipes meet: the rows, the blocks, and who carries fits out."""

    spec: ModelSpec
    order: Judge
    bench: Bench
    window: Window
    folds: tuple[Fold, ...]
    file: WindowFile
    rival: bytes

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes among the labels; empty for regression."""
        return classes_of(self.window) if self.spec.task.is_classification else ()

    def outcomes(self, recipes: Sequence[Recipe]) -> list[Outcome]:
        """Outputs of the first recipe for each block, then those of each other."""
        return self.bench.all_of(
            [
                _call(self, recipe, fold)
                for recipe in recipes
                for fold in (_unmoved(self.folds) if _stays(self.spec, recipe) else self.folds)
            ]
        )


def judge(  # noqa: PLR0913 (what a meeting needs)
    spec: ModelSpec, order: Judge, log: RowLog, bench: Bench, now: float, *, rival: bytes = b""
) -> Judged:
    """Refit both procedures before each block, predict the block, and ask the gate.

    Where the challenger would be promoted, the default of its family is fitted as well, for the
    gate to confirm it.

    Args:
        spec: task, metric and the gate's policy.
        order: who meets whom.
        log: the rows.
        bench: runs the fits.
        now: seconds since the epoch.
        rival: the artifact of a rival that was imported: it is not fitted, and answers as it is.

    Raises:
        Interrupted: the daemon stops.
        OSError: the disk is full.
    """
    window = log.window(as_of=order.as_of, newest=order.rows, labelled=True)
    folds = blocks(window, _first(spec, order, window), spec.gate)
    with WindowFile.write(window, bench.window_path(spec.name, order.id)) as file:
        meeting = _Meeting(spec, order, bench, window, folds, file, rival)
        verdict, outcomes = _meet(meeting)
    if rival:
        verdict = replace(verdict, reasons=(*verdict.reasons, AS_IT_IS))
    classes = max(1, len(meeting.classes))
    return Judged(
        now=now,
        order=order.id,
        verdict=verdict,
        cost=sum((outcome.cost for outcome in outcomes), NO_COST),
        classes=classes if classes > 2 else 1,  # noqa: PLR2004 (two need one tree, as numbers do)
    )


def _meet(meeting: _Meeting) -> tuple[Verdict, list[Outcome]]:
    """The verdict, and everything that was fitted for it."""
    spec, order, folds = meeting.spec, meeting.order, meeting.folds
    outcomes = meeting.outcomes(_recipes(order))
    failed = [number for number, outcome in enumerate(outcomes) if outcome.error]
    if failed:
        who = "challenger" if failed[0] < len(folds) else order.rival_name
        reason = f"The {who} could not be fitted for the gate: {outcomes[failed[0]].error}."
        return gate.refused(spec, rival_name=order.rival_name, reason=reason), outcomes
    evidence, rng = _evidence(meeting, outcomes), _rng(spec, order)
    verdict = gate.judge(
        spec,
        evidence,
        rival_name=order.rival_name,
        is_simpler=len(order.champion) <= 1
        and complexity(order.challenger) < complexity(order.rival),
        number=order.number,
        rng=rng,
    )
    if order.number == 0 or not verdict.is_promoted:
        return verdict, outcomes
    default = order.default
    is_new = default is not None and default not in _recipes(order)
    fitted = meeting.outcomes([default]) if default is not None and is_new else []
    evidence = _with_default(meeting, evidence, outcomes + fitted)
    verdict = gate.confirm(spec, verdict, evidence, family=order.challenger.family, rng=rng)
    return verdict, outcomes + fitted


def _first(spec: ModelSpec, order: Judge, window: Window) -> int:
    """Position of the oldest row that the gate may use."""
    if order.boundary == BEGINNING:
        return reserve(window, spec.gate)
    is_later = (window.time > order.boundary.time) | (
        (window.time == order.boundary.time) & (window.seq > order.boundary.seq)
    )
    return int(np.argmax(is_later)) if is_later.any() else len(window)


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


def _call(meeting: _Meeting, recipe: Recipe, fold: Fold) -> Call:
    spec, order, bench = meeting.spec, meeting.order, meeting.bench
    request = BlockRequest(
        window=meeting.file,
        recipe=recipe,
        task=spec.task,
        classes=meeting.classes,
        train=fold.train,
        validation=fold.validation,
        seed=spec.search.seed,
        threads=bench.executor.threads,
        changed_seq=order.changed_seq,
        fitted=meeting.rival if recipe.is_foreign else b"",
    )
    return Call(
        function=predict_block,
        request=request,
        limits=Limits(wall_s=spec.search.trial_s, memory_mb=spec.search.trial_mb),
        priority=Priority.TAKEOVER,
        group=f"{spec.name}/{order.id}",
    )


def _evidence(meeting: _Meeting, outcomes: Sequence[Outcome]) -> Evidence:
    """What both answered, the challenger as it would serve: as one more member of an ensemble."""
    folds, classes, champion = meeting.folds, meeting.classes, meeting.order.champion
    positions = [fold.validation for fold in folds]
    rows = meeting.window.take(np.concatenate(positions) if positions else np.empty(0, np.int64))
    size = max(len(folds), 1)
    challenger, rival, *more = [
        _answer(meeting, outcomes[start : start + size])
        for start in range(0, size * len(_recipes(meeting.order)), size)
    ]
    if len(champion) > 1:
        weights = np.array([member.weight for member in champion])
        rival = np.tensordot(weights / weights.sum(), np.array([rival, *more]), axes=1)
        challenger = _joining(challenger, rival)
    return Evidence(
        target=encoded_target(rows, classes),
        challenger=challenger,
        rival=rival,
        classes=classes,
        lengths=tuple(len(fold.validation) for fold in folds),
        first_seq=int(rows.seq.min()) if len(rows) else 0,
        last_seq=int(rows.seq.max()) if len(rows) else 0,
        slices=slices_of(meeting.spec, rows),
    )


def _with_default(meeting: _Meeting, evidence: Evidence, outcomes: Sequence[Outcome]) -> Evidence:
    """The evidence with the default in the challenger's place, if it could be fitted.

    The default may be a member of the champion, whose answers are there already.
    """
    order, size = meeting.order, len(meeting.folds)
    if order.default is None:
        return evidence
    first = [*_recipes(order), order.default].index(order.default) * size
    fitted = outcomes[first : first + size]
    if any(outcome.error for outcome in fitted):
        return evidence
    default = _answer(meeting, fitted)
    is_joining = len(order.champion) > 1
    return replace(evidence, default=_joining(default, evidence.rival) if is_joining else default)


def _answer(meeting: _Meeting, outcomes: Sequence[Outcome]) -> NDArray[np.float64]:
    """What one recipe answered to the rows of all blocks."""
    classes = meeting.classes
    empty = np.empty((0, len(classes)) if classes else 0)
    return np.concatenate([empty, *(outcome.value for outcome in outcomes)])


def _joining(answer: NDArray[np.float64], rival: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(JOINING * answer + (1 - JOINING) * rival)


def _rng(spec: ModelSpec, order: Judge) -> np.random.Generator:
    text = f"{spec.name}/{order.id}/{spec.search.seed}"
    return np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]))
