"""What is remembered of a model between two facts."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from retuned_pipelines.care.orders import (
    Boundary,
    Judge,
    Measure,
    Publish,
    Refit,
    Shelve,
    Study,
    Work,
)
from retuned_pipelines.evaluate.sequential import Probation
from retuned_pipelines.recipe import Recipe
from retuned_pipelines.version import Revision, Shadow, Version


class Choice(StrEnum):
    """What was decided."""

    NOTHING = "nothing"
    REFRESH = "refresh"
    RETUNE = "retune"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to do and why.

    Attributes:
        choice: nothing, refresh or retune.
        as_of: the sequence number that it saw.
        reasons: plain sentences.
        expected_cpu_s: CPU seconds that it will probably cost; None where nothing like it
            was measured yet.
        effort: the same by the cost model; see `models.families.effort`.
        saved: effort of what was decided against.
    """

    choice: Choice
    as_of: int
    reasons: tuple[str, ...]
    expected_cpu_s: float | None
    effort: float = 0.0
    saved: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class OnProbation:
    """How a champion has done beside the one before it.

    Attributes:
        shadow: the one before.
        pairs: what the losses of both say so far.
        compared: newest sequence number of labels on which they were compared.
    """

    shadow: Shadow
    pairs: Probation
    compared: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reign:
    """The champion as the care sees it.

    Attributes:
        version: what was accepted.
        revision: what answers requests.
        labelled: labelled rows that were known when the revision was made.
        judged: challengers that the gate compared with it, on enough evidence to tell.
        probation: how it does beside its predecessor; None where that is no question (any more).
    """

    version: Version
    revision: Revision
    labelled: int
    judged: int = 0
    probation: OnProbation | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenger:
    """A study's find that waits for the gate."""

    recipe: Recipe
    study: str
    boundary: Boundary


@dataclass(frozen=True, slots=True, kw_only=True)
class CareState:
    """Everything that `react` needs to know of the past.

    Attributes:
        last_seq: newest sequence number heard of.
        rows: rows in the log.
        labelled: rows whose labels are known.
        checked_rows: rows in the log at the last check's order.
        checked_seq: sequence number of the last check's order.
        reign: the champion; None before there is one.
        challenger: a study's find that waits for the gate.
        flight: orders whose results have not come back.
        orders: orders given so far; numbers their ids.
        studies: studies begun so far.
        versions: highest version number published.
        studied_labelled: labelled rows known when the last study began.
        founding_labelled: labelled rows known when the first champion was last attempted.
        classes: known when the first champion was judged; 1 for two, and for numbers.
        spent: effort of all fits since the last study began.
        is_worse: the last check found a rise of the loss.
        changed_seq: newest sequence number before the last detected rise of the loss; 0 for none.
        refit_cpu_s: CPU seconds of the last refit.
        study_cpu_s: CPU seconds of the last study.
        ticked_at: when the schedule last came due, or the first champion was published;
            seconds since the epoch, 0 before that.
        is_paused: an operator wants nothing done.
        last_decision: the newest decision.
        finds: what recent studies put forward, the newest first, each once.
    """

    last_seq: int = 0
    rows: int = 0
    labelled: int = 0
    checked_rows: int = 0
    checked_seq: int = 0
    reign: Reign | None = None
    challenger: Challenger | None = None
    flight: tuple[Work, ...] = ()
    orders: int = 0
    studies: int = 0
    versions: int = 0
    studied_labelled: int = 0
    founding_labelled: int = 0
    classes: int = 1
    spent: float = 0.0
    is_worse: bool = False
    changed_seq: int = 0
    refit_cpu_s: float | None = None
    study_cpu_s: float | None = None
    ticked_at: float = 0.0
    is_paused: bool = False
    last_decision: Decision | None = None
    finds: tuple[Recipe, ...] = ()

    @property
    def is_measuring(self) -> bool:
        """Whether a check is in flight."""
        return self._has(Measure)

    @property
    def is_searching(self) -> bool:
        """Whether a study is in flight, or its find still waits for the gate."""
        return self._has(Study) or self.challenger is not None

    @property
    def is_taking_over(self) -> bool:
        """Whether a takeover (judge, refit, publish) is in flight; there is one at a time."""
        return self._has(Judge) or self._has(Refit) or self._has(Publish)

    @property
    def next_version(self) -> int:
        """The next version's number: one that neither the registry has nor an order in flight."""
        begun = (w.version.number for w in self.flight if isinstance(w, Refit | Publish | Shelve))
        return max(self.versions, *begun, 0) + 1

    def in_flight(self, order: str, kind: type[AnyWork]) -> AnyWork | None:
        """Find the order of that id and kind, if its result has not come back yet."""
        for work in self.flight:
            if work.id == order and isinstance(work, kind):
                return work
        return None

    def work(self, order: str) -> Work | None:
        """Find the order of that id, if its result has not come back yet."""
        return next((work for work in self.flight if work.id == order), None)

    def _has(self, kind: type[Work]) -> bool:
        return any(isinstance(work, kind) for work in self.flight)


AnyWork = TypeVar("AnyWork", Measure, Study, Judge, Refit, Publish, Shelve)
