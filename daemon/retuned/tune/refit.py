"""Fitting members of a version on everything known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from retuned.errors import PermanentError
from retuned.runtime.libraries import libraries
from retuned.tune.data import WindowFile
from retuned.tune.executor import Call, Limits, Priority
from retuned.tune.work import FitRequest, FitResult, fit_artifacts
from retuned_pipelines.care.facts import Fitted, Refitted
from retuned_pipelines.care.probation import shared
from retuned_pipelines.models.families import effort
from retuned_pipelines.search.trial import NO_COST

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from retuned.rows.log import RowLog
    from retuned.tune.bench import Bench
    from retuned_pipelines.care.orders import Refit
    from retuned_pipelines.provenance import Provenance
    from retuned_pipelines.recipe import Recipe
    from retuned_pipelines.search.trial import Cost
    from retuned_pipelines.spec import ModelSpec
    from retuned_pipelines.version import Beside, Came, Revision, Shadow, Version


def refit(  # noqa: PLR0913 (what a refit needs, and what it reports on)
    spec: ModelSpec,
    order: Refit,
    log: RowLog,
    bench: Bench,
    *,
    now: float,
    came: Came | None,
    beside: Beside | None = None,
) -> Fitted:
    """Fit the members that the order names, each loaded once before anybody serves it.

    Args:
        spec: task and limits.
        order: what to fit.
        log: the rows.
        bench: where fits are made.
        now: seconds since the epoch.
        came: how the members did since the last revision; handed on.
        beside: how champion and shadow did; handed on.

    Raises:
        Interrupted: the daemon stops.
        PermanentError: a member could not be fitted, or its artifact cannot be loaded.
        OSError: the disk is full.
    """
    serving, shadow = order.serving, order.shadow
    fits = _Fits({}, "" if serving is None else serving.schema_digest, NO_COST)
    if order.members or order.shadow_members:
        fits = _fitted(spec, order, log, bench)
    mine = {position: fits.results[position] for position in order.members}
    made = _refitted(order.version, serving, mine)
    return Fitted(
        now=now,
        order=order.id,
        made=made,
        schema_digest=fits.schema_digest,
        libraries=libraries(),
        cost=fits.cost,
        came=came,
        seed=spec.search.seed,
        shadow=None if shadow is None else _shadowed(order, shadow, fits),
        beside=beside,
    )


def _shadowed(order: Refit, shadow: Shadow, fits: _Fits) -> Refitted:
    """What the shadow has of the champion's fits, and of those made for it alone."""
    others = shared(shadow, order.version, order.standing)
    results = {mine: fits.results[its] for mine, its in others.items() if its in fits.results}
    first = len(order.version.members)
    results |= {position: fits.results[first + position] for position in order.shadow_members}
    return _refitted(shadow.version, shadow.revision, results)


def _refitted(
    version: Version, serving: Revision | None, results: Mapping[int, FitResult]
) -> Refitted:
    """Artifacts by position, new ones and those of before, and the rows behind them."""
    artifacts = [""] * len(version.members) if serving is None else list(serving.artifacts)
    predict_ms = [0.0] * len(artifacts) if serving is None else list(serving.predict_ms)
    provenance = _known(serving, len(artifacts))
    for position, result in results.items():
        artifacts[position] = result.sha256
        predict_ms[position] = result.predict_ms
        provenance[position] = result.provenance
    known: list[FitResult | Revision] = [*results.values()]
    if serving is not None and len(known) < len(artifacts) - artifacts.count(""):
        known.append(serving)
    rows = [result.rows for result in results.values()]
    return Refitted(
        artifacts=tuple(artifacts),
        predict_ms=tuple(predict_ms),
        rows=max([*rows, 0 if serving is None else serving.rows]),
        first_seq=min(part.first_seq for part in known),
        last_seq=max(part.last_seq for part in known),
        first_time=min(part.first_time for part in known),
        last_time=max(part.last_time for part in known),
        provenance=tuple(provenance),
    )


def _known(serving: Revision | None, count: int) -> list[Provenance | None]:
    """From what the members that serve were fitted; revisions of an earlier release do not say."""
    if serving is None or not serving.provenance:
        return [None] * count
    return list(serving.provenance)


@dataclass(frozen=True, slots=True)
class _Fits:
    """Results by position, the version's members first and then the shadow's; and their cost."""

    results: dict[int, FitResult]
    schema_digest: str
    cost: Cost


def _fitted(spec: ModelSpec, order: Refit, log: RowLog, bench: Bench) -> _Fits:
    recipes = {position: order.version.members[position].recipe for position in order.members}
    if order.shadow is not None:
        first, others = len(order.version.members), order.shadow.version.members
        recipes |= {first + n: others[n].recipe for n in order.shadow_members}
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
