"""Evidently's report of two windows. Imported in child processes only."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from retuned_pipelines.schema import Kind

if TYPE_CHECKING:
    import pandas as pd

    from retuned_pipelines.window import Window


def page(reference: Window, current: Window) -> str:
    """Render Evidently's data drift preset as a self-contained HTML page.

    Columns that have no value on either side are left out: Evidently cannot test them. So are
    moments, which move on by themselves.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from evidently import DataDefinition, Dataset, Report  # noqa: PLC0415
        from evidently.presets import DataDriftPreset  # noqa: PLC0415

        names = [
            feature.name
            for feature in reference.schema.features
            if feature.kind is not Kind.TIMESTAMP
            and _has_values(reference, feature.name)
            and _has_values(current, feature.name)
        ]
        definition = DataDefinition(
            numerical_columns=[n for n in names if _is_number(reference, n)],
            categorical_columns=[n for n in names if not _is_number(reference, n)],
        )
        before, after = (
            Dataset.from_pandas(_frame(window, names), data_definition=definition)
            for window in (reference, current)
        )
        snapshot = Report([DataDriftPreset()]).run(after, before)
        return str(snapshot.get_html_str(as_iframe=False))


def _has_values(window: Window, name: str) -> bool:
    column = window.features[name]
    return bool(column.null_count < len(column))


def _is_number(window: Window, name: str) -> bool:
    return window.schema.kinds[name] in {Kind.NUMBER, Kind.INTEGER}


def _frame(window: Window, names: list[str]) -> pd.DataFrame:
    frame: pd.DataFrame = window.features.select(names).to_pandas()
    return frame
