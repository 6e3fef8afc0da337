"""Fitting members of a version on everything known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from retuned.errors import PermanentError
from retuned.runtime.libraries import libraries
from retuned.tune.data import WindowFile
from retuned.tune.executor import Call, Limits, Priority
from retuned.tune.work import FitRequest, FitResult, fit_artifacts
from retuned_pipelines.care.facts import Fitted
from retuned_pipelines.models.families import effort
from retuned_pipelines.search.trial import NO_COST

if TYPE_CHECKING:
    from collections.abc import Iterable

    from retuned.rows.log import RowLog
    from retuned.tune.bench import Bench
    from retuned_pipelines.care.orders import Refit
    from retuned_pipelines.provenance import Provenance
    from retuned_pipelines.recipe import Recipe
    from retuned_pipelines.search.trial import Cost
    from retuned_pipelines.spec import ModelSpec
    from retuned_pipelines.version import Came, Revision


def refit(  # noqa: PLR0913 (what a refit needs, and what it reports on)
    spec: ModelSpec,
    order: Refit,
    log: RowLog,
    bench: Bench,
    *,
    now: float,
    came: Came | None,
) -> Fitted:
    """Fit the members that the order names, each loaded once before anybody serves it.

    Args:
        spec: task and limits.
        order: what to fit.
        log: the rows.
        bench: where fits are made.
        now: seconds since the epoch.
        came: how the members did since the last revision; handed on.

    Raises:
        Interrupted: the daemon stops.
        PermanentError: a member could not be fitted, or its artifact cannot be loaded.
        OSError: the disk is full.
    """
    serving = order.serving
    fits = _Fits({}, "" if serving is None else serving.schema_digest, NO_COST)
    if order.members:
        fits = _fitted(spec, order, log, bench)
    artifacts = [""] * len(order.version.members) if serving is None else list(serving.artifacts)
    predict_ms = [0.0] * len(artifacts) if serving is None else list(serving.predict_ms)
    provenance: list[Provenance | None] = [None] * len(artifacts)
    if serving is not None:
        provenance = _known(serving)
    for position, result in fits.results.items():
        artifacts[position] = result.sha256
        predict_ms[position] = result.predict_ms
        provenance[position] = result.provenance
    largest = max((result.rows for result in fits.results.values()), default=0)
    if serving is not None:
        largest = max(largest, serving.rows)
    known: list[FitResult | Revision] = [*fits.results.values()]
    if serving is not None and len(known) < len(artifacts) - artifacts.count(""):
        known.append(serving)
    return Fitted(
        now=now,
        order=order.id,
        artifacts=tuple(artifacts),
        predict_ms=tuple(predict_ms),
        rows=largest,
        first_seq=min(part.first_seq for part in known),
        last_seq=max(part.last_seq for part in known),
        first_time=min(part.first_time for part in known),
        last_time=max(part.last_time for part in known),
        seed=spec.search.seed,
        schema_digest=fits.schema_digest,
        libraries=libraries(),
        cost=fits.cost,
        came=came,
        provenance=tuple(provenance),
    )


def _known(serving: Revision) -> list[Provenance | None]:
    """From what the members that serve were fitted; revisions of an earlier release do not say."""
    return list(serving.provenance or [None] * len(serving.artifacts))


@dataclass(frozen=True, slots=True)
class _Fits:
    """Results by the members' positions, and what they cost."""

    results: dict[int, FitResult]
    schema_digest: str
    cost: Cost


def _fitted(spec: ModelSpec, order: Refit, log: RowLog, bench: Bench) -> _Fits:
    recipes = {position: order.version.members[position].recipe for position in order.members}
    window = log.window(as_of=order.as_of, newest=_rows(recipes.values()), labelled=True)
    groups = _groups(recipes, order.labelled, bench.executor.workers)
    with WindowFile.write(window, bench.window_path(spec.name, order.id)) as file:
        outcomes = bench.all_of(
            [_call(spec, order, bench, file, [recipes[n] for n in group]) for group in groups]
        )
    results: dict[int, FitResult] = {}
    for group, outcome in zip(groups, outcomes, strict=True):
        if outcome.error:
            message = f"version {order.version.number} could not be fitted: {outcome.error}"
            raise PermanentError(message)
        results.update(zip(group, outcome.value, strict=True))
    cost = sum((outcome.cost for outcome in outcomes), NO_COST)
    return _Fits(results, window.schema.digest, cost)


def _rows(recipes: Iterable[Recipe]) -> int | None:
    """The most rows that a member wants; None for all."""
    wanted = [recipe.past.rows for recipe in recipes]
    sizes = [rows for rows in wanted if rows is not None]
    return max(sizes) if len(sizes) == len(wanted) else None


def _groups(recipes: dict[int, Recipe], labelled: int, workers: int) -> list[list[int]]:
    """Share members out among workers, the dearest first, each to who has least to do."""
    costs = {position: effort(recipe, labelled) for position, recipe in recipes.items()}
    groups: list[list[int]] = [[] for _ in range(min(workers, len(recipes)))]
    loads = [0.0] * len(groups)
    for position in sorted(costs, key=lambda n: (-costs[n], n)):
        least = loads.index(min(loads))
        groups[least].append(position)
        loads[least] += costs[position]
    return groups


def _call(
    spec: ModelSpec, order: Refit, bench: Bench, file: WindowFile, recipes: list[Recipe]
) -> Call:
    request = FitRequest(
        window=file,
        recipes=tuple(recipes),
        task=spec.task,
        folder=bench.fits(spec.name),
        seed=spec.search.seed,
        threads=bench.executor.threads,
        changed_seq=order.changed_seq,
        is_timed=spec.serve.max_predict_ms > 0,
    )
    limits = Limits(wall_s=spec.search.trial_s * len(recipes), memory_mb=spec.search.trial_mb)
    return Call(
        function=fit_artifacts,
        request=request,
        limits=limits,
        priority=Priority.TAKEOVER,
        group=f"{spec.name}/{order.id}",
    )
