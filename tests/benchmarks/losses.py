"""Losses of two models on the same rows, with known truth: what promotion is measured on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

Series = NDArray[np.float64]
Draw = Callable[[np.random.Generator, int, float], tuple[Series, Series]]

SAME = 0.7
"""Share of the rows on which two classifiers answer the same."""

OWN = 0.5
"""Standard deviation of what only one of two models gets wrong, where the common part has 1."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A kind of loss.

    Attributes:
        name: in the table.
        role: whether constants were ``chosen`` on it, or ``checked`` on it; ``beyond``: the
            losses are equal in the mean only, which is less than the null hypothesis says.
        draw: losses of the new model and of the old one, for so many rows in the order of their
            labels; the new one's is this share larger in expectation.
    """

    name: str
    role: str
    draw: Draw

    def differences(self, rng: np.random.Generator, size: int, worse: float) -> Series:
        """New less old."""
        new, old = self.draw(rng, size, worse)
        return new - old


def wrong(
    rng: np.random.Generator, size: int, worse: float, *, rate: float
) -> tuple[Series, Series]:
    """0 or 1: a class is wrong or right."""
    common = rng.random(size)
    own = np.where(rng.random(size) < SAME, common, rng.random(size))
    return (own < rate * (1 + worse)).astype(float), (common < rate).astype(float)


def absolute(rng: np.random.Generator, size: int, worse: float) -> tuple[Series, Series]:
    """Absolute errors that are Gaussian."""
    common = rng.normal(size=size)
    new, old = (np.abs(common + OWN * rng.normal(size=size)) for _ in range(2))
    return (1 + worse) * new, old


def squared(rng: np.random.Generator, size: int, worse: float) -> tuple[Series, Series]:
    """Squared errors with heavy tails: of Student's t with 5 degrees of freedom."""
    common = rng.standard_t(5, size=size)
    new, old = (np.square(common + OWN * rng.normal(size=size)) for _ in range(2))
    return (1 + worse) * new, old


def lognormal(rng: np.random.Generator, size: int, worse: float) -> tuple[Series, Series]:
    """Skewed losses."""
    common = rng.normal(size=size)
    new, old = (np.exp(common + OWN * rng.normal(size=size)) for _ in range(2))
    return (1 + worse) * new, old


def dependent(
    rng: np.random.Generator, size: int, worse: float, *, phi: float
) -> tuple[Series, Series]:
    """Skewed losses, each part an AR(1) series."""
    common = 0.5 * autoregressive(rng, phi, size)
    new, old = (np.exp(common + 0.4 * autoregressive(rng, phi, size)) for _ in range(2))
    return (1 + worse) * new, old


def late(rng: np.random.Generator, size: int, worse: float) -> tuple[Series, Series]:
    """Absolute errors whose labels come up to 500 rows late, the later the larger the error."""
    new, old = absolute(rng, size, worse)
    delay = 500 * rng.random(size) * (new + old) / (1 + new + old)
    order = np.argsort(np.arange(size) + delay, kind="stable")
    return new[order], old[order]


def uneven(
    rng: np.random.Generator, size: int, worse: float, *, is_old_rare: bool
) -> tuple[Series, Series]:
    """One loses always a little, the other rarely much; the same in the mean."""
    always = np.abs(rng.normal(size=size)) / np.sqrt(2 / np.pi)
    rarely = np.exp(1.5 * rng.normal(size=size) - 1.125)
    new, old = (always, rarely) if is_old_rare else (rarely, always)
    return (1 + worse) * new, old


def seasonal(rng: np.random.Generator, size: int, worse: float) -> tuple[Series, Series]:
    """The new one loses 10 % more for 500 rows, and 10 % less for the next 500."""
    new, old = absolute(rng, size, worse)
    swing = np.where((np.arange(size) + rng.integers(1000)) // 500 % 2, 0.9, 1.1)
    return new * swing, old


def autoregressive(rng: np.random.Generator, phi: float, size: int) -> Series:
    """A Gaussian AR(1) series of variance 1."""
    noise = rng.normal(size=size) * np.sqrt(1 - phi**2)
    noise[0] /= np.sqrt(1 - phi**2)
    return np.asarray(lfilter([1.0], [1.0, -phi], noise))


SHAPES = (
    Shape("absolute errors", "chosen", absolute),
    Shape("wrong in 20 %", "chosen", partial(wrong, rate=0.2)),
    Shape("AR(1), .5", "chosen", partial(dependent, phi=0.5)),
    Shape("AR(1), .9", "chosen", partial(dependent, phi=0.9)),
    Shape("wrong in 2 %", "checked", partial(wrong, rate=0.02)),
    Shape("squared errors, t(5)", "checked", squared),
    Shape("lognormal", "checked", lognormal),
    Shape("AR(1), .75", "checked", partial(dependent, phi=0.75)),
    Shape("labels late by loss", "checked", late),
)

BEYOND = (
    Shape("new one rarely, much", "beyond", partial(uneven, is_old_rare=False)),
    Shape("old one rarely, much", "beyond", partial(uneven, is_old_rare=True)),
    Shape("swings of 500 rows", "beyond", seasonal),
)
