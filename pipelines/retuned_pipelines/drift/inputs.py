"""Change of the inputs, feature by feature."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy import stats

from retuned_pipelines.drift.report import Aspect, Measurement
from retuned_pipelines.schema import Kind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from retuned_pipelines.spec import WatchPolicy
    from retuned_pipelines.window import Window

MIN_ROWS = 20
"""Fewer values than this, on either side, are not compared."""

MIN_EXPECTED = 5.0
"""Categories expected less often than this are pooled (Cochran 1954)."""


_ORDERED = frozenset({Kind.NUMBER, Kind.INTEGER, Kind.TIMESTAMP})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Test:
    """A test before false-discovery control."""

    method: str
    statistic: float = 0.0
    p_value: float = 1.0
    effect: float = 0.0
    note: str = ""


def measure_inputs(
    reference: Window, current: Window, policy: WatchPolicy
) -> tuple[Measurement, ...]:
    """Compare every feature of two windows.

    Numbers: two-sample Kolmogorov-Smirnov test, effect is the distance of the distribution
    functions. Categories, truth values, and how often a value is missing: chi-square test of
    homogeneity, effect is Cramér's V, corrected for bias (Bergsma 2013). Moments move on by
    themselves and are not compared. All p-values of a check are adjusted together (Benjamini &
    Hochberg 1995); an alarm is an adjusted p-value of at most
    ``input_alpha`` with an effect of at least ``input_effect``.

    Args:
        reference: rows that the champion could learn from.
        current: rows since the last check.
        policy: levels and floors.
    """
    tests = [
        (feature.name, test, before, after)
        for feature in reference.schema.features
        for before in [_column(reference, feature.name)]
        for after in [_column(current, feature.name)]
        for test in (_values(feature.kind, before, after), _missing(before, after))
        if test is not None
    ]
    adjusted = _adjusted(np.array([test.p_value for _, test, _, _ in tests]))
    return tuple(
        Measurement(
            aspect=Aspect.INPUT,
            subject=name,
            method=test.method,
            statistic=test.statistic,
            p_value=float(p_value),
            threshold=policy.input_alpha,
            effect=test.effect,
            effect_floor=policy.input_effect,
            reference_rows=len(before) - before.null_count,
            current_rows=len(after) - after.null_count,
            is_alarm=bool(
                not test.note
                and p_value <= policy.input_alpha
                and test.effect >= policy.input_effect
            ),
            note=test.note,
        )
        for (name, test, before, after), p_value in zip(tests, adjusted, strict=True)
    )


def _column(window: Window, name: str) -> pa.ChunkedArray:
    return window.features[name]


def _values(kind: Kind, before: pa.ChunkedArray, after: pa.ChunkedArray) -> _Test:
    method = "ks" if kind in _ORDERED else "chi2"
    old, new = before.drop_null(), after.drop_null()
    if min(len(old), len(new)) < MIN_ROWS:
        return _Test(method=method, note=f"fewer than {MIN_ROWS} values to compare")
    if kind is Kind.TIMESTAMP:
        return _Test(method=method, note="moments move on by themselves")
    if kind in _ORDERED:
        found = stats.ks_2samp(old.to_numpy(), new.to_numpy(), method="asymp")
        distance = float(found.statistic)
        return _Test(
            method=method, statistic=distance, p_value=float(found.pvalue), effect=distance
        )
    return replace(_homogeneity(_counts(old, new)), method=method)


def _missing(before: pa.ChunkedArray, after: pa.ChunkedArray) -> _Test | None:
    """How often values are missing; None where none ever is."""
    if before.null_count + after.null_count == 0 or min(len(before), len(after)) < MIN_ROWS:
        return None
    table = np.array(
        [
            [before.null_count, len(before) - before.null_count],
            [after.null_count, len(after) - after.null_count],
        ],
        dtype=np.float64,
    )
    return replace(_homogeneity(table), method="missing")


def _counts(before: pa.ChunkedArray, after: pa.ChunkedArray) -> NDArray[np.float64]:
    """Counts (2, categories) of both windows."""
    names = pc.unique(pa.chunked_array([*before.chunks, *after.chunks], type=before.type))
    rows = []
    for column in (before, after):
        codes = pc.index_in(column, names).to_numpy()
        rows.append(np.bincount(codes, minlength=len(names)))
    return np.array(rows, dtype=np.float64)


def _homogeneity(table: NDArray[np.float64]) -> _Test:
    """Chi-square test of a table of counts (2, categories), rare columns pooled."""
    table = _pooled(table)
    if table.shape[1] < 2 or (table.sum(axis=0) == 0).any():  # noqa: PLR2004 (nothing to compare)
        return _Test(method="chi2", note="constant")
    statistic, p_value, freedom, _ = stats.chi2_contingency(table, correction=False)
    total = table.sum()
    columns = table.shape[1]
    excess = max(0.0, statistic / total - freedom / (total - 1))
    corrected = columns - (columns - 1) ** 2 / (total - 1)
    smaller = min(corrected, 2 - 1 / (total - 1)) - 1
    effect = math.sqrt(excess / smaller) if smaller > 0 else 0.0
    return _Test(method="chi2", statistic=float(statistic), p_value=float(p_value), effect=effect)


def _pooled(table: NDArray[np.float64]) -> NDArray[np.float64]:
    share = table.sum(axis=1).min() / table.sum()
    is_rare = table.sum(axis=0) * share < MIN_EXPECTED
    if not is_rare.any():
        return table
    pooled = np.column_stack([table[:, ~is_rare], table[:, is_rare].sum(axis=1)])
    if pooled[:, -1].sum() * share < MIN_EXPECTED and pooled.shape[1] > 2:  # noqa: PLR2004
        least = int(np.argmin(pooled[:, :-1].sum(axis=0)))
        pooled[:, least] += pooled[:, -1]
        pooled = pooled[:, :-1]
    return np.asarray(pooled[:, pooled.sum(axis=0) > 0])


def _adjusted(p_values: NDArray[np.float64]) -> NDArray[np.float64]:
    if len(p_values) == 0:
        return p_values
    return np.asarray(stats.false_discovery_control(p_values))
