"""Labels that come after their horizon."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa

from retuned.ingest.sorting import filtered, in_order
from retuned.rows.batch import Rejected

if TYPE_CHECKING:
    from collections.abc import Collection

    from retuned.ingest.parse import ParsedLabels
    from retuned_pipelines.spec import ModelSpec


def without_late(parsed: ParsedLabels, late: Collection[str], spec: ModelSpec) -> ParsedLabels:
    """Refuse the labels of these rows.

    Args:
        parsed: labels as they were read.
        late: ids of rows that waited longer than the horizon.
        spec: says what the horizon is.
    """
    if not late:
        return parsed
    reason = (
        f"came too late: its row waited longer than LABELS__HORIZON_S={spec.labels.horizon_s:g} "
        f"seconds for a first label, and counts as one that never got any; raise that in "
        f"{spec.name}.env and send it again, if it still matters"
    )
    places = parsed.indices.tolist()
    names, values = parsed.batch.ids.to_pylist(), parsed.batch.values.to_pylist()
    rejected = [
        Rejected(index=index, id=name, reason=reason, record=_record(name, value, spec))
        for index, name, value in zip(places, names, values, strict=True)
        if name in late
    ]
    is_in_time = [name not in late for name in names]
    kept_ids, kept_values = filtered([parsed.batch.ids, parsed.batch.values], pa.array(is_in_time))
    return replace(
        parsed,
        batch=replace(parsed.batch, ids=kept_ids, values=kept_values),
        indices=parsed.indices[is_in_time],
        rejected=in_order([*parsed.rejected, *rejected]),
    )


def _record(name: str, value: float | str, spec: ModelSpec) -> str:
    """The label as it could have been sent: a class is JSON text already."""
    label = value if isinstance(value, str) else json.dumps(value)
    return f'{{{json.dumps(spec.id)}:{json.dumps(name)},"label":{label}}}'
