"""What the gate decided about a challenger, and the evidence."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


class Ruling(StrEnum):
    """The gate's answer."""

    PROMOTED = "promoted"
    REFUSED = "refused"


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
        confidence: one-sided confidence of each bound.
        blocks: blocks of rows, each predicted by models fitted on what was known before it.
        rows: rows compared.
        first_seq: smallest sequence number among those rows; 0 without rows.
        last_seq: largest sequence number among those rows; 0 without rows.
        reasons: plain sentences.
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

    @property
    def is_promoted(self) -> bool:
        """Whether the challenger takes over."""
        return self.ruling is Ruling.PROMOTED

    def to_json(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Verdict:
        """Read what `to_json` wrote."""
        return cls(
            **{**value, "ruling": Ruling(value["ruling"]), "reasons": tuple(value["reasons"])}
        )
