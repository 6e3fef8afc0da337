"""Groups of policies, each computed and kept apart from the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.benchmarks.peers import MODULES, follow, open_peer
from tests.benchmarks.results import Figures

from retuned.replay.history import read_history
from retuned.replay.policies import BASELINES, Refits, baselines, count_fits
from retuned.replay.run import replay

if TYPE_CHECKING:
    from rich.progress import Progress
    from tests.benchmarks.folder import Stream

    from retuned.replay.history import History
    from retuned.tune.executor import Executor
    from retuned_pipelines.spec import ModelSpec

RETUNED, WINDOWS = "retuned", "windows"

SIX = (
    *BASELINES,
    Refits("newest_10", share=0.1),
    Refits("newest_5", share=0.05),
    Refits("newest_2", share=0.02),
)
"""Six windows to learn from: never again, all, the newest 20 (refit_window), 10, 5 and 2 %."""

GROUPS = (WINDOWS, RETUNED, *MODULES)
"""In the order in which they are computed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """What all policies live through.

    Attributes:
        periods: into how many parts the rows after the bootstrap are cut.
        bootstrap: share of the rows that is known at the start.
        seed: of everything random.
        policy: further keys of every model file, ``KEY=VALUE`` each.
    """

    periods: int
    bootstrap: float
    seed: int
    policy: tuple[str, ...]

    def settings(self, stream: Stream, group: str) -> dict[str, Any]:
        """JSON form of everything that a group's figures depend on."""
        shared = {
            "rows": stream.rows,
            "task": stream.task.value,
            "periods": self.periods,
            "bootstrap": self.bootstrap,
            "seed": self.seed,
        }
        return {**shared, "policy": sorted(self.policy)} if group == RETUNED else shared


def is_for(group: str, stream: Stream) -> bool:
    """Whether a group can be computed on a stream: leveraging bagging is for classes."""
    return group != "lb" or stream.task.is_classification


def compute(
    group: str, stream: Stream, protocol: Protocol, executor: Executor, bar: Progress
) -> dict[str, Figures]:
    """Let the policies of a group live through a stream; figures by policy."""
    spec = stream.spec(protocol.policy, protocol.seed)
    history = read_history(
        stream.path, spec, periods=protocol.periods, bootstrap=protocol.bootstrap
    )
    if group == RETUNED:
        return _retuned(spec, history, executor, bar)
    if group == WINDOWS:
        return _windows(spec, history, executor, bar)
    task = bar.add_task(group, total=len(history.spans), loss="")
    peer = open_peer(group, spec, history)
    policy = follow(group, peer, spec, history, lambda count: bar.advance(task, count))
    return {group: Figures.of(policy, history)}


def _retuned(
    spec: ModelSpec, history: History, executor: Executor, bar: Progress
) -> dict[str, Figures]:
    life = replay([spec], history, executor, bar, refits=()).lives[0]
    return {RETUNED: Figures.of(life.policy, history, life.cpu_s)}


def _windows(
    spec: ModelSpec, history: History, executor: Executor, bar: Progress
) -> dict[str, Figures]:
    task = bar.add_task(WINDOWS, total=count_fits(SIX, len(history.spans)), loss="")
    found = baselines(spec, history, executor, lambda count: bar.advance(task, count), SIX)
    return {policy.name: Figures.of(policy, history) for policy in found}
