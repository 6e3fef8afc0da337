"""``make bench-promotion``: how often a reign is begun, or ended, by luck.

Two models that are equal, or of which the new one loses 10 % more, by several kinds of loss. The
gate compares them after every study, the sequential test watches them at every label.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.stats import norm, t
from tests.benchmarks.losses import BEYOND, SHAPES, Series, Shape

from retuned_pipelines.evaluate.evidence import Evidence
from retuned_pipelines.evaluate.gate import judge
from retuned_pipelines.evaluate.sequential import Probation, begun, finding, pace, update
from retuned_pipelines.schema import Task
from retuned_pipelines.spec import GatePolicy, ModelSpec

LABELS = 10_000
"""Labels of a reign."""

START = 2000
"""Labels when it begins."""

EVERY = 2000
"""Labels between two studies, each of which finds a challenger: `SEARCH__COOLDOWN_ROWS`."""

GATE_ROWS = 1000
"""Rows on which a new champion had to pass the gate; they set the pace of the test."""

DAY = 100
"""Labels of a day."""

NUMBERS = (0, 1, 2, 5)
"""Of challengers in a reign; 0 has all of the level."""

WORSE = 0.1
LEVEL = 0.05
POWER = 0.8
LONGEST = 400_000
CHUNK = 1000

SPEC = ModelSpec(name="demo", task=Task.REGRESSION, target="y", metric="neg_mean_absolute_error")


@dataclass(frozen=True, slots=True, kw_only=True)
class AtTheGate:
    """What the gate did by one kind of loss.

    Attributes:
        promoted: share of reigns of equal models in which a challenger was promoted.
        promoted_each: the same, if each challenger had all of the level.
        found: for each of `NUMBERS`, how often a challenger that loses 10 % less is promoted.
    """

    promoted: float
    promoted_each: float
    found: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What the sequential test did by one kind of loss.

    Attributes:
        rolled_back: share of reigns of equal models in which the champion was called worse.
        daily: the same by a one-sided t test on all pairs so far, at the end of each day.
        fixed: rows that a one-sided test of the same level needs for a power of .8, if it is
            made once, and knows how rows depend on each other.
        rows: median of the rows after which a champion that loses 10 % more was called worse.
    """

    rolled_back: float
    daily: float
    fixed: float
    rows: float


def at_the_gate(shape: Shape, reigns: int, seed: int) -> AtTheGate:
    """Measure the gate on so many reigns of equal models, and so many better challengers."""
    rng = _rng(shape, seed)
    turns = [gates_of_a_reign(shape, rng) for _ in range(reigns)]
    better = [passes(shape, -WORSE, GATE_ROWS, NUMBERS, rng) for _ in range(reigns)]
    return AtTheGate(
        promoted=float(np.mean([as_built for as_built, _ in turns])),
        promoted_each=float(np.mean([each for _, each in turns])),
        found=tuple(float(share) for share in np.mean(better, axis=0)),
    )


def watched(shape: Shape, reigns: int, worse: int, seed: int) -> Watched:
    """Measure the test on so many reigns of equal models, and so many of worse champions."""
    rng = _rng(shape, seed)
    fixed = fixed_rows(shape, rng)
    longest = int(min(LONGEST, 10 * fixed))
    rows = [rows_until_worse(shape, WORSE, longest, rng) for _ in range(worse)]
    return Watched(
        rolled_back=float(np.mean([is_called_worse(shape, rng) for _ in range(reigns)])),
        daily=float(np.mean([daily(shape.differences(rng, LABELS, 0.0)) for _ in range(reigns)])),
        fixed=fixed,
        rows=float(np.median(rows)),
    )


def _rng(shape: Shape, seed: int) -> np.random.Generator:
    return np.random.default_rng([seed, *shape.name.encode()])


def fixed_rows(shape: Shape, rng: np.random.Generator, turns: int = 40) -> float:
    """(z_.95 + z_.8)^2 times the long-run variance of a difference, by its squared mean."""
    size, long = 50_000, 1000
    series = [shape.differences(rng, size, WORSE) for _ in range(turns)]
    variance = long * np.var(
        [part.mean() for one in series for part in np.split(one, size // long)]
    )
    reach = norm.ppf(1 - LEVEL) + norm.ppf(POWER)
    return float(reach**2 * variance / np.mean(series) ** 2)


def is_called_worse(shape: Shape, rng: np.random.Generator) -> bool:
    """Whether a champion that is as good as its predecessor is called worse in its reign.

    What is found stays found, so that looking at the end is looking after every label.
    """
    state = begun(pace(*shape.draw(rng, GATE_ROWS, 0.0)), LEVEL)
    return finding(update(state, shape.differences(rng, LABELS, 0.0))).is_worse


def rows_until_worse(shape: Shape, worse: float, longest: int, rng: np.random.Generator) -> float:
    """Labels after which a champion is called worse than its predecessor; infinite for never."""
    state = begun(pace(*shape.draw(rng, GATE_ROWS, worse)), LEVEL)
    differences = shape.differences(rng, longest, worse)
    for start in range(0, longest, CHUNK):
        after = update(state, differences[start : start + CHUNK])
        if finding(after).is_worse:
            return start + _first_worse(state, differences[start : start + CHUNK])
        state = after
    return np.inf


def _first_worse(state: Probation, differences: Series) -> int:
    """The first label after which it was found, by halves: what is found stays found."""
    low, high = 0, len(differences)
    while high - low > 1:
        middle = (low + high) // 2
        is_worse = finding(update(state, differences[:middle])).is_worse
        low, high = (low, middle) if is_worse else (middle, high)
    return high


def gates_of_a_reign(shape: Shape, rng: np.random.Generator) -> tuple[bool, bool]:
    """Whether one of the equal challengers of a reign is promoted: as built, and at 5 % each.

    Each has rows of its own; gates that share rows are wrong together, and so in fewer reigns.
    """
    as_built = each = False
    for number in range(1, LABELS // EVERY + 1):
        rows = int(SPEC.gate.share * (START + number * EVERY))
        passed = passes(shape, 0.0, rows, (0, number), rng)
        each |= passed[0]
        as_built |= passed[1]
    return as_built, each


def passes(
    shape: Shape, worse: float, rows: int, numbers: tuple[int, ...], rng: np.random.Generator
) -> list[bool]:
    """Whether a challenger is promoted, if it is the only one (0), or the first, or the second.

    Each number asks for more certainty than the one before it.
    """
    evidence, seed = _evidence(*shape.draw(rng, rows, worse)), int(rng.integers(2**63))
    passed: list[bool] = []
    for number in numbers:
        passed.append(all(passed) and _is_promoted(evidence, number, seed))
    return passed


def daily(differences: Series) -> bool:
    """Whether a t test on all pairs so far says worse at the end of some day."""
    count = np.arange(1, len(differences) + 1)
    mean = np.cumsum(differences) / count
    variance = np.maximum(np.cumsum(np.square(differences)) / count - mean**2, 1e-300)
    ends = np.arange(DAY - 1, len(differences), DAY)
    statistic = mean[ends] / np.sqrt(variance[ends] / (count[ends] - 1))
    return bool(np.any(statistic > t.ppf(1 - LEVEL, count[ends] - 1)))


def _is_promoted(evidence: Evidence, number: int, seed: int) -> bool:
    rng = np.random.default_rng(seed)
    return judge(
        SPEC, evidence, rival_name="champion", is_simpler=False, number=number, rng=rng
    ).is_promoted


def _evidence(challenger: Series, rival: Series) -> Evidence:
    """Errors of these sizes on numbers that are all 0."""
    size, count = len(rival), GatePolicy().blocks
    return Evidence(
        target=np.zeros(size),
        challenger=challenger,
        rival=rival,
        classes=(),
        lengths=tuple(len(part) for part in np.array_split(np.arange(size), count)),
        first_seq=1,
        last_seq=2 * size,
    )


def main() -> None:
    """Measure, and print tables in Markdown, a row as soon as it is known."""
    parser = argparse.ArgumentParser(prog="make bench-promotion", description=__doc__)
    parser.add_argument("--gates", type=int, default=400, help="reigns of equal models, gate")
    parser.add_argument("--reigns", type=int, default=2000, help="reigns of equal models, test")
    parser.add_argument("--worse", type=int, default=400, help="reigns of worse champions")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=["test", "gate"], help="one of the two tables")
    parser.add_argument("--losses", default="", help="those whose names begin so")
    asked = parser.parse_args()
    shapes, beyond = (
        [shape for shape in kinds if shape.name.startswith(asked.losses)]
        for kinds in (SHAPES, BEYOND)
    )
    test = partial(watched, reigns=asked.reigns, worse=asked.worse, seed=asked.seed)
    gate = partial(at_the_gate, reigns=asked.gates, seed=asked.seed)
    with ProcessPoolExecutor() as pool:
        # Queued together, so that no core waits.
        of_test = () if asked.only == "gate" else pool.map(test, (*shapes, *beyond))
        of_gate = () if asked.only == "test" else pool.map(gate, shapes)
        if asked.only != "gate":
            _show_tests((*shapes, *beyond), of_test)
        if asked.only != "test":
            _show_gates(shapes, of_gate)


def _show_tests(shapes: Iterable[Shape], figures: Iterable[Watched]) -> None:
    _say("| loss | | rolled back falsely | daily t test | one test needs | found after | times |")
    _say("|---|---|---|---|---|---|---|")
    for shape, seen in zip(shapes, figures, strict=True):
        _say(
            f"| {shape.name} | {shape.role} | {seen.rolled_back:.1%} | {seen.daily:.1%} | "
            f"{seen.fixed:,.0f} | {seen.rows:,.0f} | {seen.rows / seen.fixed:.2f} |"
        )
    _say("")


def _show_gates(shapes: Iterable[Shape], figures: Iterable[AtTheGate]) -> None:
    _say("| loss | | promoted falsely | at 5 % each | 10 % better: 5 % | 1st | 2nd | 5th |")
    _say("|---|---|---|---|---|---|---|---|")
    for shape, found in zip(shapes, figures, strict=True):
        shares = " | ".join(f"{share:.0%}" for share in found.found)
        _say(
            f"| {shape.name} | {shape.role} | {found.promoted:.1%} | "
            f"{found.promoted_each:.1%} | {shares} |"
        )


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 (a command)


if __name__ == "__main__":
    main()
