"""When to check what has changed, and what is told of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from retuned_pipelines.care.orders import Measure, Notify
from retuned_pipelines.care.step import Answer, launch
from retuned_pipelines.drift.report import Aspect

if TYPE_CHECKING:
    from retuned_pipelines.care.state import CareState, Reign
    from retuned_pipelines.drift.report import DriftReport
    from retuned_pipelines.spec import ModelSpec


def check(spec: ModelSpec, state: CareState, reign: Reign) -> Answer:
    """Order a check when enough rows have come since the last one."""
    if state.is_measuring or state.rows - state.checked_rows < spec.watch.every_rows:
        return state, ()
    measure = Measure(
        id=f"d{state.orders + 1}",
        as_of=state.last_seq,
        since_seq=state.checked_seq,
        version=reign.version.number,
        learned_until=reign.revision.fitted_as_of,
        learned_rows=reign.revision.rows,
    )
    return launch(replace(state, checked_rows=state.rows, checked_seq=state.last_seq), measure)


def seen(order: Measure, report: DriftReport) -> Notify:
    """Tell what a check saw."""
    alarms = [
        {
            "aspect": alarm.aspect.value,
            "subject": alarm.subject,
            "effect": round(alarm.effect, 4),
            "p_value": alarm.p_value,
        }
        for aspect in Aspect
        for alarm in report.alarms(aspect)
    ]
    body = {
        "id": order.id,
        "rows": report.current.rows,
        "measurements": len(report.measurements),
        "alarms": alarms,
    }
    return Notify(event="drift", body=body)
