"""The baselines of a replay: simple policies on the same rows with the same label delay."""

from __future__ import annotations

from dataclasses import dataclass
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
    from pathlib import Path

    from numpy.typing import NDArray

    from retuned.replay.history import History
    from retuned.tune.executor import Executor, Outcome
    from retuned_pipelines.spec import ModelSpec

PLAIN = "plain loss, whatever the model optimises"
RECENT_SHARE = 0.2
"""Share of the file that ``refit_window`` learns from."""

_LIMITS = Limits(wall_s=3600.0, memory_mb=16_000)


@dataclass(frozen=True, slots=True)
class _Fit:
    """Learn from some rows (positions), up to ``start``; predict those up to ``stop``."""

    learn_from: int
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
    folder: Path,
    tell: Callable[[int], None],
) -> tuple[Policy, ...]:
    """Follow each simple policy through the periods.

    Args:
        spec: the model.
        history: the rows.
        executor: runs fits.
        folder: for the file that child processes read.
        tell: is given the number of fits that have ended, one at a time.

    Returns:
        never_refitted, refit_all, refit_window, persistence, constant.
    """
    classes = classes_of(history.window) if spec.task.is_classification else ()
    target = encoded_target(history.window, classes)
    first, spans = history.bootstrap, history.spans
    recent = max(1, int(RECENT_SHARE * len(history.window)))
    plans = {
        "never_refitted": [_Fit(0, first, spans[-1][1], classes)],
        "refit_all": [_Fit(0, start, stop, classes) for start, stop in spans],
        "refit_window": [
            _Fit(max(0, start - recent), start, stop, classes) for start, stop in spans
        ],
    }
    with WindowFile.write(history.window, folder / "history.arrow") as file:
        futures = {
            name: [_submit(spec, file, fit, executor, tell) for fit in plan]
            for name, plan in plans.items()
        }
        fitted = [
            _fitted(spec, name, [future.result() for future in group], target[first:])
            for name, group in futures.items()
        ]
    known = np.repeat([start for start, _ in spans], [stop - start for start, stop in spans])
    last = _answers(target[known - 1], classes)
    usual = _usual(target[:first], classes)
    constant = _answers(np.full(len(target) - first, usual), classes)
    return (
        *fitted,
        Policy(name="persistence", losses=plain_losses(spec, target[first:], last)),
        Policy(name="constant", losses=plain_losses(spec, target[first:], constant)),
    )


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
        train=np.arange(fit.learn_from, fit.start),
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


def _answers(target: NDArray[np.generic], classes: tuple[str, ...]) -> NDArray[np.float64]:
    """Answers as a model gives them, from targets: probability 1 for that class."""
    if not classes:
        return np.asarray(target, dtype=np.float64)
    return np.eye(len(classes))[np.asarray(target, dtype=np.int64)]


def _usual(target: NDArray[np.generic], classes: tuple[str, ...]) -> float:
    if not classes:
        return float(np.median(np.asarray(target, dtype=np.float64)))
    return float(np.bincount(np.asarray(target, dtype=np.int64)).argmax())
