"""What the gate decided about a challenger, and the evidence."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from retuned_pipelines.evaluate.sequential import Pace

if TYPE_CHECKING:
    from collections.abc import Mapping


class Ruling(StrEnum):
    """The gate's answer."""

    PROMOTED = "promoted"
    REFUSED = "refused"


class Aspect(StrEnum):
    """What is looked at beside the metric."""

    DEFAULT = "default"
    GUARD = "guard"
    SLICE = "slice"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Something else that a challenger must not fail at.

    Attributes:
        aspect: the family's default recipe, a guard metric, or a slice of the rows.
        subject: which one: ``lightgbm``, ``recall``, ``region=north``.
        is_passed: whether the challenger did not fail.
        gain: share of the loss removed: of the default's, of the rival's by the guard metric, or
            of the rival's on the slice.
        lower: lower bound of ``gain``.
        upper: upper bound of ``gain``.
        rows: rows compared; 0 where it could not be.
        reason: a plain sentence.
    """

    aspect: Aspect
    subject: str
    is_passed: bool
    gain: float
    lower: float
    upper: float
    rows: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Promoted or refused, with effect, interval, rows and reasons.

    Attributes:
        ruling: the decision.
        metric: scikit-learn scorer name that both were scored by.
        rival: what the challenger was compared with (``champion``, or ``constant``
            where there is no champion yet).
        challenger_score: the challenger's score over all gate rows; higher is better.
        rival_score: the rival's score over the same rows.
        gain: share of the rival's loss that the challenger removes (0.1 is ten per cent).
        lower: lower bound of ``gain``.
        upper: upper bound of ``gain``.
        confidence: one-sided confidence of each bound; 1 less the level that was spent.
        blocks: blocks of rows, each predicted by models fitted on what was known before it.
        rows: rows compared.
        first_seq: smallest sequence number among those rows; 0 without rows.
        last_seq: largest sequence number among those rows; 0 without rows.
        reasons: plain sentences, what decided first.
        number: which challenger of the reign this was, from 1; 0 where nothing reigned yet, and
            in verdicts that do not tell.
        checks: what else was looked at.
        pace: how the differences of both losses scatter, for watching the challenger after its
            promotion; None where there was nothing to tell it from.
    """

    ruling: Ruling
    metric: str
    rival: str
    challenger_score: float
    rival_score: float
    gain: float
    lower: float
    upper: float
    confidence: float
    blocks: int
    rows: int
    first_seq: int
    last_seq: int
    reasons: tuple[str, ...]
    number: int = 0
    checks: tuple[Check, ...] = ()
    pace: Pace | None = None

    @property
    def level(self) -> float:
        """Probability, at most, of promoting by luck."""
        return 1.0 - self.confidence

    @property
    def is_promoted(self) -> bool:
        """Whether the challenger takes over."""
        return self.ruling is Ruling.PROMOTED

    def to_json(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Verdict:
        """Read what `to_json` wrote; of verdicts before there were checks, too."""
        pace = value.get("pace")
        return cls(
            **{
                **value,
                "ruling": Ruling(value["ruling"]),
                "reasons": tuple(value["reasons"]),
                "checks": tuple(
                    Check(**{**check, "aspect": Aspect(check["aspect"])})
                    for check in value.get("checks", ())
                ),
                "pace": None if pace is None else Pace(**pace),
            }
        )
