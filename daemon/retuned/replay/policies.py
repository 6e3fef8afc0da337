"""The baselines of a replay: simple policies on the same rows with the same label delay."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from retuned.replay.outcome import Policy
from retuned.tune.data import WindowFile
from retuned.tune.executor import Call, Limits, Priority
from retuned.tune.work import BlockRequest, predict_block
from retuned_pipelines.evaluate.metrics import row_losses
from retuned_pipelines.fitting import classes_of, encoded_target
from retuned_pipelines.models.families import default_recipe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future

    from numpy.typing import NDArray

    from retuned.replay.history import History
    from retuned.tune.executor import Executor, Outcome
    from retuned_pipelines.spec import ModelSpec

PLAIN = "plain loss, whatever the model optimises"

_LIMITS = Limits(wall_s=3600.0, memory_mb=16_000)


@dataclass(frozen=True, slots=True)
class Refits:
    """A policy that refits the default recipe on a fixed share of the past.

    Attributes:
        name: of the policy.
        share: newest rows to learn from, as a share of the file; 1 for everything.
        is_once: fitted before the first period, and never again.
    """

    name: str
    share: float = 1.0
    is_once: bool = False

    def learn_from(self, known: int, rows: int) -> int:
        """First position to learn from.

        Args:
            known: how many of the oldest rows have known labels.
            rows: of the whole file.
        """
        return max(0, known - max(1, int(self.share * rows)))


NEVER = Refits("never_refitted", is_once=True)
"""What every cut is measured against."""

BASELINES = (NEVER, Refits("refit_all"), Refits("refit_window", share=0.2))
"""What a replay compares with."""


@dataclass(frozen=True, slots=True)
class _Fit:
    """Learn from some rows (positions), up to ``known``; predict others, up to ``stop``."""

    learn_from: int
    known: int
    start: int
    stop: int
    classes: tuple[str, ...]


def plain_losses(
    spec: ModelSpec, target: NDArray[np.generic], output: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Loss of each row (n): 1 or 0 for a wrong or right class, else the absolute error."""
    return row_losses(PLAIN, spec.task, target, output)


def baselines(
    spec: ModelSpec,
    history: History,
    executor: Executor,
    tell: Callable[[int], None],
    refits: Sequence[Refits] = BASELINES,
) -> tuple[Policy, ...]:
    """Follow each simple policy through the periods.

    Args:
        spec: the model.
        history: the rows.
        executor: runs fits.
        tell: is given the number of fits that have ended, one at a time.
        refits: the policies that fit; persistence and constant need no fit.

    Returns:
        Those that fit, persistence, constant.
    """
    classes = classes_of(history.window) if spec.task.is_classification else ()
    target = encoded_target(history.window, classes)
    first, spans = history.bootstrap, history.spans
    plans = {policy.name: _plan(policy, history, classes) for policy in refits}
    with (
        tempfile.TemporaryDirectory(prefix="retuned-") as folder,
        WindowFile.write(history.window, Path(folder) / "history.arrow") as file,
    ):
        futures = {
            name: [_submit(spec, file, fit, executor, tell) for fit in plan]
            for name, plan in plans.items()
        }
        fitted = [
            _fitted(spec, name, [future.result() for future in group], target[first:])
            for name, group in futures.items()
        ]
    known = np.repeat(
        [history.known(number) for number in range(len(spans))],
        [stop - start for start, stop in spans],
    )
    last = answers(target[known - 1], classes)
    usual = usual_answer(target[:first], classes)
    constant = answers(np.full(len(target) - first, usual), classes)
    return (
        *fitted,
        Policy(name="persistence", losses=plain_losses(spec, target[first:], last)),
        Policy(name="constant", losses=plain_losses(spec, target[first:], constant)),
    )


def count_fits(refits: Sequence[Refits], periods: int) -> int:
    """How many fits `baselines` will make."""
    return sum(1 if policy.is_once else periods for policy in refits)


def answers(target: NDArray[np.generic], classes: tuple[str, ...]) -> NDArray[np.float64]:
    """Answers as a model gives them, from targets: probability 1 for that class."""
    if not classes:
        return np.asarray(target, dtype=np.float64)
    return np.eye(len(classes))[np.asarray(target, dtype=np.int64)]


def usual_answer(target: NDArray[np.generic], classes: tuple[str, ...]) -> float:
    """The most frequent class' code, or the median."""
    if not classes:
        return float(np.median(np.asarray(target, dtype=np.float64)))
    return float(np.bincount(np.asarray(target, dtype=np.int64)).argmax())


def _plan(policy: Refits, history: History, classes: tuple[str, ...]) -> list[_Fit]:
    first, last = history.spans[0][0], history.spans[-1][1]
    spans = ((first, last),) if policy.is_once else history.spans
    rows = len(history.window)
    return [
        _Fit(policy.learn_from(known, rows), known, start, stop, classes)
        for known, (start, stop) in zip(
            (history.known(number) for number in range(len(spans))), spans, strict=True
        )
    ]


def _submit(
    spec: ModelSpec,
    file: WindowFile,
    fit: _Fit,
    executor: Executor,
    tell: Callable[[int], None],
) -> Future[Outcome]:
    request = BlockRequest(
        window=file,
        recipe=default_recipe(spec.task),
        task=spec.task,
        classes=fit.classes,
        train=np.arange(fit.learn_from, fit.known),
        validation=np.arange(fit.start, fit.stop),
        seed=spec.search.seed,
        threads=executor.threads,
    )
    future = executor.submit(
        Call(
            function=predict_block,
            request=request,
            limits=_LIMITS,
            priority=Priority.TRIAL,
            group="baselines",
        )
    )
    future.add_done_callback(lambda _: tell(1))
    return future


def _fitted(
    spec: ModelSpec, name: str, outcomes: Sequence[Outcome], target: NDArray[np.generic]
) -> Policy:
    output = np.concatenate(list(_values(outcomes, name)))
    return Policy(
        name=name,
        losses=plain_losses(spec, target, output),
        fits=len(outcomes),
        cpu_s=sum(outcome.cost.cpu_s for outcome in outcomes),
    )


def _values(outcomes: Sequence[Outcome], name: str) -> Iterator[NDArray[np.float64]]:
    for outcome in outcomes:
        if outcome.error:
            message = f"the baseline {name} could not be fitted: {outcome.error}"
            raise RuntimeError(message)
        yield outcome.value
