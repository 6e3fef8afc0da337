"""Fitting a version's members on everything known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retuned.errors import PermanentError
from retuned.tune.data import WindowFile
from retuned.tune.executor import Call, Limits, Priority
from retuned.tune.work import FitRequest, FitResult, fit_artifact, libraries, prove_artifacts
from retuned_pipelines.care.facts import Fitted
from retuned_pipelines.search.trial import NO_COST

if TYPE_CHECKING:
    from pathlib import Path

    from retuned.rows.log import RowLog
    from retuned.tune.bench import Bench
    from retuned_pipelines.care.orders import Refit
    from retuned_pipelines.recipe import Recipe
    from retuned_pipelines.spec import ModelSpec


def refit(spec: ModelSpec, order: Refit, log: RowLog, bench: Bench, now: float) -> Fitted:
    """Fit each member, and load the result once in a child process before anybody serves it.

    Raises:
        Interrupted: the daemon stops.
        PermanentError: a member could not be fitted, or its artifact cannot be loaded.
        OSError: the disk is full.
    """
    window = log.window(as_of=order.as_of, newest=_rows(order), labelled=True)
    recipes = [member.recipe for member in order.version.members]
    with WindowFile.write(window, bench.window_path(spec.name, order.id)) as file:
        calls = [_call(spec, order, _fit_request(spec, bench, file, recipe)) for recipe in recipes]
        outcomes = bench.all_of(calls)
        fits = [_result(outcome.value, outcome.error, order) for outcome in outcomes]
        paths = tuple(bench.fits / fit.sha256 for fit in fits)
        (proof,) = bench.all_of([_call(spec, order, paths)])
    if proof.error:
        message = f"an artifact of version {order.version.number} cannot be loaded: {proof.error}"
        raise PermanentError(message)
    largest = max(fits, key=lambda result: result.rows)
    return Fitted(
        now=now,
        order=order.id,
        artifacts=tuple(result.sha256 for result in fits),
        rows=largest.rows,
        first_seq=min(result.first_seq for result in fits),
        last_seq=max(result.last_seq for result in fits),
        schema_digest=window.schema.digest,
        libraries=libraries(),
        cost=sum((outcome.cost for outcome in (*outcomes, proof)), NO_COST),
    )


def _rows(order: Refit) -> int | None:
    """The most rows that a member wants; None for all."""
    wanted = [member.recipe.window_rows for member in order.version.members]
    sizes = [rows for rows in wanted if rows is not None]
    return max(sizes) if len(sizes) == len(wanted) else None


def _fit_request(spec: ModelSpec, bench: Bench, file: WindowFile, recipe: Recipe) -> FitRequest:
    return FitRequest(
        window=file,
        recipe=recipe,
        task=spec.task,
        folder=bench.fits,
        seed=spec.search.seed,
        threads=bench.executor.threads,
    )


def _call(spec: ModelSpec, order: Refit, request: FitRequest | tuple[Path, ...]) -> Call:
    return Call(
        function=fit_artifact if isinstance(request, FitRequest) else prove_artifacts,
        request=request,
        limits=Limits(wall_s=spec.search.trial_s, memory_mb=spec.search.trial_mb),
        priority=Priority.TAKEOVER,
        group=f"{spec.name}/{order.id}",
    )


def _result(value: object, error: str, order: Refit) -> FitResult:
    if isinstance(value, FitResult):
        return value
    message = f"version {order.version.number} could not be fitted: {error}"
    raise PermanentError(message)
