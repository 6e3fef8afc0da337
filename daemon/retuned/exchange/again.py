"""Fitting the members of a revision once more, and saying whether they come out the same."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from retuned.exchange.work import Again, AgainRequest, fit_again
from retuned.runtime.libraries import libraries
from retuned.tune.data import WindowFile
from retuned.tune.executor import Call, Limits, Outcome, Priority
from retuned_pipelines.weights import serving

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from retuned.registry.shelf import Sealed
    from retuned.rows.log import RowLog
    from retuned.tune.bench import Bench
    from retuned_pipelines.provenance import Provenance
    from retuned_pipelines.recipe import Recipe
    from retuned_pipelines.spec import ModelSpec
    from retuned_pipelines.version import Revision


class Finding(StrEnum):
    """What came of fitting once more."""

    IDENTICAL = "identical"
    DIFFERENT = "different"
    ROWS_GONE = "rows-gone"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberAgain:
    """One member fitted once more.

    Attributes:
        member: its position.
        recipe: what it is.
        weight: its weight in the answers.
        finding: how it came out.
        why: in plain words.
        difference: largest difference of two answers, where both are there.
    """

    member: int
    recipe: Recipe
    weight: float
    finding: Finding
    why: str
    difference: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduced:
    """What came of fitting a revision once more.

    Attributes:
        finding: identical only where every member is.
        members: those that have an artifact.
        libraries: by name the version then and now, where they differ.
    """

    finding: Finding
    members: tuple[MemberAgain, ...]
    libraries: Mapping[str, tuple[str, str]]


_WORST = (Finding.UNKNOWN, Finding.ROWS_GONE, Finding.DIFFERENT, Finding.IDENTICAL)


def members_again(  # noqa: PLR0913 (what a fit depends on)
    spec: ModelSpec,
    sealed: Sealed,
    siblings: Sequence[Revision],
    *,
    log: RowLog,
    bench: Bench,
    folder: Path,
) -> Reproduced:
    """Fit every member that has an artifact once more, one after the other.

    Args:
        spec: task and limits.
        sealed: the revision.
        siblings: all revisions of its version, in which members were fitted.
        log: the rows.
        bench: runs the fits.
        folder: holds the artifacts that are still kept, by their digests.

    Raises:
        Interrupted: the daemon stops.
        OSError: the disk is full.
    """
    revision = sealed.revision
    provenance = revision.provenance or (None,) * len(revision.artifacts)
    weights = serving(revision.standing)
    members = []
    for position, member in enumerate(sealed.version.members):
        name, past = revision.artifacts[position], provenance[position]
        if not name:
            continue
        found, why, difference = Finding.UNKNOWN, _unknown(member.recipe), None
        if past is not None:
            again = _again(spec, member.recipe, past, log=log, bench=bench, stored=folder / name)
            found, why, difference = _judged(again, past)
        members.append(
            MemberAgain(
                member=position,
                recipe=member.recipe,
                weight=weights[position],
                finding=found,
                why=why,
                difference=difference,
            )
        )
    findings = {member.finding for member in members}
    return Reproduced(
        finding=next(finding for finding in _WORST if finding in findings),
        members=tuple(members),
        libraries=_differing(revision, siblings),
    )


def _again(  # noqa: PLR0913 (as above)
    spec: ModelSpec,
    recipe: Recipe,
    past: Provenance,
    *,
    log: RowLog,
    bench: Bench,
    stored: Path,
) -> Outcome:
    window = log.window(as_of=past.as_of, newest=recipe.past.rows, labelled=True)
    with WindowFile.write(window, stored.with_suffix(".arrow")) as file:
        request = AgainRequest(
            window=file,
            recipe=recipe,
            task=spec.task,
            provenance=past,
            threads=bench.executor.threads,
            stored=stored if stored.exists() else None,
        )
        call = Call(
            function=fit_again,
            request=request,
            limits=Limits(wall_s=spec.search.trial_s, memory_mb=spec.search.trial_mb),
            priority=Priority.TRIAL,
            group=f"{spec.name}/exchange",
        )
        (outcome,) = bench.all_of([call])
        return outcome


def _judged(outcome: Outcome, past: Provenance) -> tuple[Finding, str, float | None]:
    if outcome.error:
        return Finding.UNKNOWN, f"it could not be fitted: {outcome.error}", None
    again: Again = outcome.value
    if not again.are_rows_the_same:
        why = (
            f"it learned from {past.rows:,} labelled rows (sequence numbers {past.first_seq:,} to "
            f"{past.last_seq:,}) as known at {past.as_of:,}; of those that it would learn from, "
            f"{again.rows:,} are there now, and not all are the same: rows were dropped "
            "(RETAIN__...) or deleted"
        )
        return Finding.ROWS_GONE, why, None
    if not again.are_features_the_same:
        why = "a feature has changed its kind since, so the rows cannot be read as they were"
        return Finding.UNKNOWN, why, None
    if again.is_identical:
        why = f"the same predictions to the last bit, learned from the same {past.rows:,} rows"
        return Finding.IDENTICAL, why, again.difference
    told = "the artifact is no longer kept, so it cannot be said by how much"
    if again.difference is not None:
        told = f"by {again.difference:.3g} at the most"
    why = f"the same {past.rows:,} rows, but other predictions: {told}"
    return Finding.DIFFERENT, why, again.difference


def _unknown(recipe: Recipe) -> str:
    if recipe.is_foreign:
        return "it came from elsewhere: what it learned from is not known here"
    return "the revision does not say from what it was fitted: an earlier release made it"


def _differing(revision: Revision, siblings: Sequence[Revision]) -> dict[str, tuple[str, str]]:
    """Libraries of which some member was fitted by another version than the one of now.

    A member that was kept from an earlier revision was fitted by the libraries of that one.
    """
    born = {past.as_of for past in revision.provenance if past is not None}
    then = [one for one in siblings if one.fitted_as_of in born] or [revision]
    now = dict(libraries())
    differing = {}
    for one in then:
        for name, found in one.libraries.items():
            if now.get(name, "") != found:
                differing[name] = (found, now.get(name, "not installed"))
    return differing
