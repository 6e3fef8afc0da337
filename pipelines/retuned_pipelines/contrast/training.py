"""How much the rows differ that two revisions learned from."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from retuned_pipelines.drift.inputs import measure_inputs

if TYPE_CHECKING:
    from retuned_pipelines.drift.report import Measurement
    from retuned_pipelines.spec import WatchPolicy
    from retuned_pipelines.version import Revision
    from retuned_pipelines.window import Window

STRONGEST = 10
"""Features that are told of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """What a revision learned from, and what of it was looked at.

    Attributes:
        rows: labelled rows that it learned from.
        first_seq: smallest sequence number among those.
        last_seq: the largest.
        first_time: the oldest time among those, microseconds since the epoch.
        last_time: the newest.
        looked_at: how many of them were compared, evenly spaced in time.
    """

    rows: int
    first_seq: int
    last_seq: int
    first_time: int
    last_time: int
    looked_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """A feature that is not distributed as it was; see `drift.report.Measurement`."""

    name: str
    method: str
    effect: float
    p_value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingDrift:
    """How the training data of both differ.

    Attributes:
        left: what the one learned from.
        right: what the other did.
        features: features that were compared.
        differing: how many of them differ by the model's policy for inputs.
        strongest: the strongest of those, at most `STRONGEST`.
        told: what it means, in a sentence.
    """

    left: Learned
    right: Learned
    features: int
    differing: int
    strongest: tuple[Feature, ...]
    told: str

    def to_json(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)


def training_drift(
    policy: WatchPolicy, revisions: tuple[Revision, Revision], windows: tuple[Window, Window]
) -> TrainingDrift:
    """Compare what two revisions learned from, as a check compares rows.

    Args:
        policy: levels and floors.
        revisions: both.
        windows: rows of each span that are still there, in time order; samples will do.
    """
    left, right = (
        Learned(
            rows=revision.rows,
            first_seq=revision.first_seq,
            last_seq=revision.last_seq,
            first_time=revision.first_time,
            last_time=revision.last_time,
            looked_at=len(window),
        )
        for revision, window in zip(revisions, windows, strict=True)
    )
    found = measure_inputs(*windows, policy) if all(map(len, windows)) else ()
    measured = {one.subject for one in found if not one.note}
    alarms: dict[str, Measurement] = {}
    for one in sorted(found, key=lambda one: -one.effect):
        if one.is_alarm:
            alarms.setdefault(one.subject, one)
    strongest = tuple(
        Feature(name=name, method=one.method, effect=one.effect, p_value=one.p_value)
        for name, one in list(alarms.items())[:STRONGEST]
    )
    return TrainingDrift(
        left=left,
        right=right,
        features=len(measured),
        differing=len(alarms),
        strongest=strongest,
        told=_in_words(left, right, len(measured), strongest, len(alarms)),
    )


def _in_words(
    left: Learned, right: Learned, features: int, strongest: tuple[Feature, ...], differing: int
) -> str:
    if not left.rows or not right.rows:
        return "What one of them learned from is not known: it was not fitted here."
    if not left.looked_at or not right.looked_at:
        side = "left" if not left.looked_at else "right"
        return f"None of the rows that the {side} one learned from is kept any more."
    if not features:
        return "There are too few values to compare."
    if not differing:
        return f"None of {features} features is distributed otherwise."
    first = ", ".join(f"{one.name} ({one.method} {one.effect:.2f})" for one in strongest[:3])
    verb = "is" if differing == 1 else "are"
    return f"{differing} of {features} features {verb} distributed otherwise, most: {first}."
