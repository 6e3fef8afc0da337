"""What a replay found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from retuned.registry.history.events import Event
    from retuned.replay.history import History

USUAL = "refit_all"
"""What a cron job does."""

SAME = 0.0005
"""Share of a loss that is told as no difference: it would be rounded to 0.0%."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Policy:
    """How one way of keeping the model did.

    Attributes:
        name: of the policy.
        losses: loss of each row after the bootstrap (n): 1 or 0 for a wrong or right class,
            else the absolute error.
        fits: models fitted to serve; of an ensemble each member counts.
        trials: trials made.
        promotions: versions that took over.
        cpu_s: CPU seconds of all fits; of a keeper also of its trials, gate runs, checks and
            scores.
    """

    name: str
    losses: NDArray[np.float64]
    fits: int = 0
    trials: int = 0
    promotions: int = 0
    cpu_s: float = 0.0

    @property
    def loss(self) -> float:
        """Error rate, or mean absolute error."""
        return float(self.losses.mean())

    def cut(self, reference: Policy) -> float:
        """Share of another policy's loss that this one saves."""
        return 1 - self.loss / reference.loss if reference.loss else 0.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Life:
    """What the keeper of one model lived through.

    Attributes:
        name: the model's name.
        metric: what it optimised.
        policy: how it did.
        champions: name (``n.r``) of the revision that served in each period; "" for none.
        events: what the keeper told.
        checks: drift reports in their JSON forms, oldest first, each with its ``id`` and ``at``.
        cpu_s: CPU seconds by what they were used for.
    """

    name: str
    metric: str
    policy: Policy
    champions: Sequence[str]
    events: Sequence[Event]
    checks: Sequence[Mapping[str, Any]]
    cpu_s: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcome:
    """A replay's result.

    Attributes:
        history: the rows and periods.
        lives: the models under care, on the same rows.
        baselines: simple policies, never_refitted among them.
    """

    history: History
    lives: Sequence[Life]
    baselines: Sequence[Policy]

    @property
    def policies(self) -> tuple[Policy, ...]:
        """All policies, retuned's first."""
        return (*(life.policy for life in self.lives), *self.baselines)

    @property
    def reference(self) -> Policy:
        """The model that was never refitted."""
        return next(policy for policy in self.baselines if policy.name == "never_refitted")

    def worth(self, ours: Policy) -> str:
        """Say in a sentence whether a policy was worth it: against the best other, and a cron job.

        Args:
            ours: one of the policies.
        """
        best = min((p for p in self.policies if p is not ours), key=lambda policy: policy.loss)
        told = f"The loss of {ours.name} is {_against(ours, best)}, the best of the others, "
        told += _price(ours, best)
        usual = next((policy for policy in self.baselines if policy.name == USUAL), best)
        if usual is not best:
            told += f"; it is {_against(ours, usual)}, {_price(ours, usual)}"
        return told + "."

    def silence(self, life: Life) -> str:
        """Say in a sentence how long nobody answered; "" where somebody always did."""
        spans = zip(life.champions, self.history.spans, strict=True)
        rows = sum(stop - start for champion, (start, stop) in spans if not champion)
        if not rows:
            return ""
        return (
            f"Nobody answered {rows:,} of the rows, and that counts as wrong (of a number, as an "
            f"answer of 0): {life.name} had no champion yet, which takes WATCH__MIN_ROWS labelled "
            "rows. Set that lower, or give more with --bootstrap."
        )

    def to_json(self) -> dict[str, Any]:
        """JSON form; the same replay gives the same, but for CPU seconds."""
        return {
            "models": [life.name for life in self.lives],
            "policies": {policy.name: self._policy(policy) for policy in self.policies},
            "periods": self._periods(),
            "decisions": [
                {"model": life.name, "at": event.at, **event.body}
                for life in self.lives
                for event in life.events
                if event.kind.value == "decided"
            ],
        }

    def _policy(self, policy: Policy) -> dict[str, Any]:
        metrics = {life.policy.name: life.metric for life in self.lives}
        by = {
            life.policy.name: {name: round(spent, 3) for name, spent in sorted(life.cpu_s.items())}
            for life in self.lives
        }
        return {
            "loss": policy.loss,
            "cut": policy.cut(self.reference),
            "metric": metrics.get(policy.name, self.lives[0].metric),
            "fits": policy.fits,
            "trials": policy.trials,
            "cpu_s": round(policy.cpu_s, 3),
            "promotions": policy.promotions,
            **({"cpu_by": by[policy.name]} if policy.name in by else {}),
        }

    def _periods(self) -> list[dict[str, Any]]:
        first = self.history.bootstrap
        return [
            {
                "rows": stop - start,
                "champions": {life.policy.name: life.champions[number] for life in self.lives},
                "loss": {
                    policy.name: float(np.mean(policy.losses[start - first : stop - first]))
                    for policy in self.policies
                },
            }
            for number, (start, stop) in enumerate(self.history.spans)
        ]


def _against(ours: Policy, other: Policy) -> str:
    """How far a policy's loss is below or above another's."""
    cut = ours.cut(other)
    if ours.loss > other.loss == 0:
        told = "above"
    elif abs(cut) < SAME:
        told = "about the same as"
    else:
        told = f"{abs(cut):.1%} {'below' if cut > 0 else 'above'}"
    return f"{told} that of {other.name}"


def _price(ours: Policy, other: Policy) -> str:
    """How much CPU a policy took, measured by another's."""
    if not other.cpu_s:
        return f"for {ours.cpu_s:,.1f} CPU s where that takes none"
    return f"for {ours.cpu_s / other.cpu_s:,.1f} times its CPU"
