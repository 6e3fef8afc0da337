"""Is a new champion worse than the one before it? An answer that may be looked at at any time.

Pair by pair the losses of both on the same rows come in, and bets are made that the new one's are
larger. Each bet is a constant part of a capital of its own, and the capital is what the bets have
together: under the null hypothesis it is a nonnegative supermartingale that begins at 1, so that
it ever reaches 1 / level with probability ``level`` at most (Ville 1939), however often and
whenever somebody looks. This is the capital process of Waudby-Smith & Ramdas (2024), "Estimating
means of bounded random variables by betting", Journal of the Royal Statistical Society B 86 (1),
1-27; a mixture of constant bets in the place of one that follows the data.

The null hypothesis, exactly. Pairs are taken in the order in which their labels came; every
``rows`` pairs make a *block*; the mean difference of a block (new less old) is clipped to
``-clip .. clip``. The null says of every block that the expectation of this clipped mean, given
all that came before, is not above 0. So:

- the test is about clipped means. Of differences that are as often and as far above 0 as below,
  clipping changes nothing; where one champion errs rarely and hugely and the other often and a
  little, the clipped mean is not the mean. So that nobody is called worse for having done away
  with huge losses, the plain mean of all differences has to be above 0 as well: a condition more,
  which makes no error more probable. Block length and clip are fixed before the first pair, from
  the rows of the gate (`Pace`);
- differences may depend on each other within a block as they like. Between blocks dependence has
  to be weak, which is why a block is twice as long as a bootstrap would have it;
- labels may be late, and late for a reason: of each row both answers were given before its label
  came, and the next pair is whichever label comes next. What is said is said of rows in the order
  of their labels. A label counts once, its corrections do not.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from retuned_pipelines.evaluate.resampling import block_length

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

BETS = (0.9, 0.45, 0.225, 0.1125, 0.05625, 0.028125)
"""Parts of the capital at stake, of which the clipped difference (-1 .. 1) wins or loses its share.
Large ones find a large harm soon, small ones a small harm at all."""

CLIP = 3.0
"""The clip, in standard deviations of a block's mean difference."""

LONGER = 2
"""A block's length, in automatic block lengths of the bootstrap: between neighbours of that length
too much dependence is left."""

LEAST_ROWS = 5
"""Rows of a block at the least: dependence may be new, too."""

LEAST_BLOCKS = 8
"""Blocks of the evidence, at the least, from which a block's standard deviation is told."""

_LARGEST = 1e150
_STEPS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How differences of losses scatter, told before the first of them is bet on.

    Attributes:
        rows: rows of a block.
        spread: root mean square of a block's mean difference, in units of the loss; above 0.
    """

    rows: int
    spread: float


def pace(champion: NDArray[np.float64], predecessor: NDArray[np.float64]) -> Pace:
    """Tell the pace from losses of both on the same rows (n) in time order, at least one.

    Where the two never differ there is no spread to tell; then it is the predecessor's mean loss.
    """
    differences = champion - predecessor
    size = len(differences)
    rows = min(LONGER * block_length(differences), size // LEAST_BLOCKS)
    rows = min(max(rows, LEAST_ROWS), size)
    spread = float(np.sqrt(np.mean(np.square(_means(differences, rows)))))
    for usual in (spread, abs(float(np.mean(predecessor)))):
        if math.isfinite(usual) and usual > 0:
            return Pace(rows=rows, spread=usual)
    return Pace(rows=rows, spread=1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Probation:
    """What is remembered of the pairs; as small after a million as after one.

    Attributes:
        level: probability, at most, of calling a champion worse that is not.
        rows: rows of a block.
        clip: largest mean difference of a block that counts, in units of the loss.
        blocks: complete blocks so far.
        total: sum of their clipped means, in clips.
        plain: sum of their means, in units of the loss.
        logs: logarithm of the capital of each of `BETS`.
        highest: logarithm of the largest capital, of all bets together, so far.
        is_worse: the new champion was called worse.
        waiting: pairs of the block that is not complete.
        sum: sum of their differences.
    """

    level: float
    rows: int
    clip: float
    blocks: int = 0
    total: float = 0.0
    plain: float = 0.0
    logs: tuple[float, ...] = (0.0,) * len(BETS)
    highest: float = 0.0
    is_worse: bool = False
    waiting: int = 0
    sum: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Probation:
        """Read what `to_json` wrote."""
        return cls(**{**value, "logs": tuple(value["logs"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What the pairs say so far.

    Attributes:
        is_worse: the new champion is worse: ``e_value`` was at 1 / level, and ``mean`` above 0.
            Once found, it stays found.
        level: probability of that where it is not so, over the whole reign.
        e_value: the capital now; 1 / level is the threshold.
        highest: the largest capital so far.
        estimate: mean of the blocks' clipped mean differences, in units of the loss; above 0 the
            new champion's loss is larger. 0 before the first block.
        mean: the same without the clip.
        lower: lower bound (confidence 1 - level, all times together): the expectation of some
            block's clipped mean is at least this. Above 0 exactly where ``e_value`` is above
            1 / level.
        rows: pairs in complete blocks.
        blocks: complete blocks.
    """

    is_worse: bool
    level: float
    e_value: float
    highest: float
    estimate: float
    mean: float
    lower: float
    rows: int
    blocks: int


def begun(pace: Pace, level: float) -> Probation:
    """Begin, before the first label of the reign has come."""
    return Probation(level=level, rows=pace.rows, clip=CLIP * pace.spread)


def update(state: Probation, differences: NDArray[np.float64]) -> Probation:
    """Take in pairs.

    Args:
        state: before them.
        differences: loss of the champion less that of its predecessor on the same row (n), in
            the order in which the labels came.

    Raises:
        ValueError: a difference is NaN. A row that one of the two could not answer has no pair.
    """
    given = np.asarray(differences, dtype=np.float64)
    if np.isnan(given).any():
        message = "a difference of losses is NaN; leave out rows that have no pair of losses"
        raise ValueError(message)
    # An infinite loss is a large one: it fills a clip, and two of them cancel each other out.
    given = np.clip(given, -_LARGEST, _LARGEST)
    missing = state.rows - state.waiting
    if len(given) < missing:
        return replace(state, waiting=state.waiting + len(given), sum=state.sum + _sum(given))
    first = (state.sum + _sum(given[:missing])) / state.rows
    means = np.concatenate([[first], _means(given[missing:], state.rows)])
    rest = given[missing + (len(means) - 1) * state.rows :]
    return replace(_bet(state, means), waiting=len(rest), sum=_sum(rest))


def finding(state: Probation) -> Finding:
    """Say what the pairs say so far."""
    count = max(state.blocks, 1)
    return Finding(
        is_worse=state.is_worse,
        level=state.level,
        e_value=_exp(float(_together(np.array(state.logs)))),
        highest=_exp(state.highest),
        estimate=state.clip * state.total / count,
        mean=state.plain / count,
        lower=state.clip * _lower(state),
        rows=state.blocks * state.rows,
        blocks=state.blocks,
    )


def _bet(state: Probation, means: NDArray[np.float64]) -> Probation:
    """Bet on blocks, one after the other."""
    clipped = np.clip(means / state.clip, -1.0, 1.0)
    gains = np.log1p(np.outer(clipped, BETS))
    logs = np.array(state.logs) + np.cumsum(gains, axis=0)
    together, plain = _together(logs), state.plain + np.cumsum(means)
    is_worse = (together >= -math.log(state.level)) & (plain > 0)
    return replace(
        state,
        blocks=state.blocks + len(means),
        total=state.total + _sum(clipped),
        plain=float(plain[-1]),
        is_worse=state.is_worse or bool(is_worse.any()),
        logs=tuple(float(value) for value in logs[-1]),
        highest=max(state.highest, float(np.max(together))),
    )


def _together(logs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logarithm of the mean of the bets' capitals (..., bets), each of which began at 1."""
    most = np.max(logs, axis=-1)
    return np.asarray(most + np.log(np.mean(np.exp(logs - most[..., None]), axis=-1)))


def _lower(state: Probation) -> float:
    """The least mean, in clips, that the pairs do not speak against.

    Against a mean m, a bet of part b has a capital of the product of 1 + b (x - m). What is known
    of the blocks x is their number, their sum, and the product of 1 + b x; log(1 + b (x - m)) less
    log(1 + b x) is concave in x for m > 0 and lies above its chord between -1 and 1, and convex for
    m < 0, where Jensen's inequality bounds the mean. So the capital has a lower bound, which is
    exact for m = 0 and falls with m.
    """
    low, high = -1.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if _capital(state, middle) > -math.log(state.level):
            low = middle
        else:
            high = middle
    return low


def _capital(state: Probation, mean: float) -> float:
    """Logarithm of a lower bound of the capital of bets against a mean, in clips."""
    bets, logs = np.array(BETS), np.array(state.logs)
    if state.blocks == 0:
        return 0.0
    average = state.total / state.blocks
    if mean <= 0:
        shift = np.log1p(bets * (average - mean)) - np.log1p(bets * average)
        return float(_together(logs + state.blocks * shift))
    with np.errstate(divide="ignore", invalid="ignore"):
        worst = np.log1p(bets * (-1.0 - mean)) - np.log1p(-bets)
        best = np.log1p(bets * (1.0 - mean)) - np.log1p(bets)
    shift = (1.0 - average) / 2 * worst + (1.0 + average) / 2 * best
    shift = np.where(bets * (1.0 + mean) < 1.0, shift, -np.inf)
    total = logs + state.blocks * shift
    return float(_together(total)) if np.isfinite(total).any() else -math.inf


def _means(values: NDArray[np.float64], rows: int) -> NDArray[np.float64]:
    count = len(values) // rows
    return np.asarray(values[: count * rows].reshape(count, rows).mean(axis=1))


def _sum(values: NDArray[np.float64]) -> float:
    return float(np.sum(values))


def _exp(value: float) -> float:
    """Infinity has no place in JSON."""
    return math.exp(min(value, 700.0))
