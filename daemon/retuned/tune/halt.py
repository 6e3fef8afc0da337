"""What ends a running study before its time: a budget, or an operator."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from retuned.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from retuned_pipelines.search.trial import Trial
    from retuned_pipelines.spec import SearchPolicy


@dataclass(slots=True, kw_only=True)
class Halt:
    """Tells whether a study has to end, and why. Of one thread.

    A study that ends by it is not reproducible: seconds and operators come as they like.

    Attributes:
        policy: its budgets.
        spent_s: seconds that it has taken, as of now.
        trials: those recorded so far; what they cost counts.
        asked: who asked for its end and why; "" where nobody did.
        reason: why it had to end, in plain words; "" as long as it does not.
    """

    policy: SearchPolicy
    spent_s: Callable[[], float]
    trials: Sequence[Trial]
    asked: Callable[[], str]
    reason: str = ""

    @property
    def left_s(self) -> float:
        """Seconds until the budget is used up."""
        return self.policy.budget_s - self.spent_s()

    def is_due(self) -> bool:
        """Whether the study has to end; asked often, while trials run."""
        self.reason = self.reason or self._budgets() or self._wish()
        return bool(self.reason)

    def _budgets(self) -> str:
        policy = self.policy
        if self.left_s <= 0:
            return f"the budget of {policy.budget_s:g} s (SEARCH__BUDGET_S) was used up"
        cpu_s = sum(trial.cost.cpu_s for trial in self.trials)
        if policy.budget_cpu_s and cpu_s >= policy.budget_cpu_s:
            return (
                f"the budget of {policy.budget_cpu_s:g} CPU seconds (SEARCH__BUDGET_CPU_S) was "
                "used up"
            )
        return ""

    def _wish(self) -> str:
        # While the registry is away nobody can ask.
        with suppress(TransientError):
            return self.asked()
        return ""
