"""How much of a reign's error each challenger may spend."""

from __future__ import annotations

import math

_SHARE = 6 / math.pi**2


def level_of(alpha: float, number: int) -> float:
    """The level at which a challenger is judged.

    A champion that many challengers try to replace would at last be replaced by luck: with 5 % for
    each, ten equal ones succeed in four reigns of ten. So the k-th of a reign may spend
    ``alpha * 6 / (pi k)^2``; all together, however many come, spend ``alpha`` (Euler's sum of
    1/k^2, and Boole's inequality, which asks nothing about how they depend on each other). Whoever
    succeeds begins a new reign with all of ``alpha``.

    Most is left to the first (.61 of alpha, then .15, .07, .04): most reigns see one or two, and a
    later challenger comes out of a search that began where an earlier one ended.

    Args:
        alpha: probability, at most, that a reign ends by luck; 1 less ``GATE__CONFIDENCE``.
        number: which challenger of the reign it is, from 1; 0 where nothing reigns yet, and one
            comparison may spend everything.
    """
    return alpha if number == 0 else alpha * _SHARE / number**2
