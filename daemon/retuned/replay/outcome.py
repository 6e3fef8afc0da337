"""What a replay found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from retuned.registry.events import Event
    from retuned.replay.history import History


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Policy:
    """How one way of keeping the model did.

    Attributes:
        name: of the policy.
        losses: loss of each row after the bootstrap (n): 1 or 0 for a wrong or right class,
            else the absolute error.
        fits: models fitted.
        trials: trials made.
        promotions: versions that took over.
        cpu_s: CPU seconds of all fits.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A replay's result.

    Attributes:
        model: its name.
        metric: what the model optimised.
        history: the rows and periods.
        policies: retuned first, then the baselines, never_refitted among them.
        events: what the keeper told.
        champions: the revision that served in each period.
    """

    model: str
    metric: str
    history: History
    policies: Sequence[Policy]
    events: Sequence[Event]
    champions: Sequence[str] = field(default=())

    @property
    def reference(self) -> Policy:
        """The model that was never refitted."""
        return next(policy for policy in self.policies if policy.name == "never_refitted")

    def to_json(self) -> dict[str, Any]:
        """JSON form; the same replay gives the same, but for ``cpu_s``."""
        return {
            "model": self.model,
            "policies": {
                policy.name: {
                    "loss": policy.loss,
                    "cut": policy.cut(self.reference),
                    "metric": self.metric,
                    "fits": policy.fits,
                    "trials": policy.trials,
                    "cpu_s": round(policy.cpu_s, 3),
                    "promotions": policy.promotions,
                }
                for policy in self.policies
            },
            "periods": self._periods(),
            "decisions": [
                {"at": event.at, **event.body}
                for event in self.events
                if event.kind.value == "decided"
            ],
        }

    def _periods(self) -> list[dict[str, Any]]:
        first = self.history.bootstrap
        return [
            {
                "rows": stop - start,
                "champion": champion,
                "loss": {
                    policy.name: float(np.mean(policy.losses[start - first : stop - first]))
                    for policy in self.policies
                },
            }
            for (start, stop), champion in zip(self.history.spans, self.champions, strict=True)
        ]
