"""The values of one check: a measurement of each kind of change, and their report."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


class Aspect(StrEnum):
    """What a measurement looks at."""

    INPUT = "input"
    PERFORMANCE = "performance"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One test of change.

    Attributes:
        aspect: inputs or performance.
        subject: the feature's name, or the metric's.
        method: the test (``ks``, ``chi2``, ``missing``, ``welch_newey_west``).
        statistic: the test's statistic.
        p_value: p-value, after false-discovery control where several are tested.
        threshold: the level that ``p_value`` is held against.
        effect: effect size (KS distance, Cramér's V, relative rise of the loss).
        effect_floor: effects below this are no alarm, however significant.
        reference_rows: rows (not missing) of the reference looked at.
        current_rows: rows (not missing) of the current window looked at.
        is_alarm: significant and at least as large as the floor.
        note: why nothing could be measured, where that is so.
    """

    aspect: Aspect
    subject: str
    method: str
    statistic: float
    p_value: float
    threshold: float
    effect: float
    effect_floor: float
    reference_rows: int
    current_rows: int
    is_alarm: bool
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Measurement:
        """Read what `to_json` wrote."""
        return cls(**{**value, "aspect": Aspect(value["aspect"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The rows that a check looked at: their first and last sequence number, and how many."""

    first_seq: int
    last_seq: int
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftReport:
    """All of one check.

    Attributes:
        as_of: the newest sequence number that the check saw.
        reference: what the champion was fitted on, or what came before.
        current: the rows since the last check.
        measurements: every test that was made, alarms or not.
    """

    as_of: int
    reference: Span
    current: Span
    measurements: tuple[Measurement, ...]

    def alarms(self, aspect: Aspect) -> tuple[Measurement, ...]:
        """The alarms of one aspect, largest effect first."""
        found = [m for m in self.measurements if m.aspect is aspect and m.is_alarm]
        return tuple(sorted(found, key=lambda m: -m.effect))

    def to_json(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "as_of": self.as_of,
            "reference": asdict(self.reference),
            "current": asdict(self.current),
            "measurements": [m.to_json() for m in self.measurements],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> DriftReport:
        """Read what `to_json` wrote."""
        return cls(
            as_of=value["as_of"],
            reference=Span(**value["reference"]),
            current=Span(**value["current"]),
            measurements=tuple(Measurement.from_json(m) for m in value["measurements"]),
        )
