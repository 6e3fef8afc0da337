"""Each model's schedule, on APScheduler.

Jobs live in memory and are rebuilt from the configuration at every start: APScheduler's
Redis store pickles them, and drops what it cannot restore. When a job last ran is part of
the model's own state, so that a run that was missed while the daemon was down is made up
for once.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from apscheduler.events import EVENT_JOB_MISSED
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

if TYPE_CHECKING:
    from collections.abc import Callable

    from apscheduler.events import JobExecutionEvent
    from apscheduler.triggers.base import BaseTrigger

    from retuned_pipelines.spec import SchedulePolicy

_log = logging.getLogger(__name__)

GRACE_S = 3600
"""A run that is late by less than this is still made; APScheduler's own default is 1 s."""


class Schedule:
    """Calls back when a model's schedule comes due. Call from one thread only."""

    def __init__(self) -> None:
        """Start without jobs, not running."""
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": GRACE_S},
        )
        self._scheduler.add_listener(_log_missed, EVENT_JOB_MISSED)

    def start(self) -> None:
        """Begin to call back, on the scheduler's threads."""
        self._scheduler.start()

    def stop(self) -> None:
        """Call back no more; what runs is not waited for."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)

    def put(
        self,
        model: str,
        policy: SchedulePolicy,
        tick: Callable[[], None],
        *,
        last: float,
        now: float,
    ) -> None:
        """Set a model's schedule; replaces an earlier one.

        Args:
            model: the model's name.
            policy: when.
            tick: what to call.
            last: when the schedule last came due, seconds since the epoch; 0 for never.
            now: the present, seconds since the epoch.
        """
        self.drop(model)
        trigger = _trigger(policy, last or now)
        if trigger is None:
            return
        if is_overdue(policy, last=last, now=now):
            _log.info(
                "A scheduled study was missed; it is made up for now.",
                extra={"action": "schedule_caught_up", "model": model},
            )
            tick()
        self._scheduler.add_job(tick, trigger, id=model, name=model)

    def drop(self, model: str) -> None:
        """Forget a model's schedule, if it has one."""
        if self._scheduler.get_job(model) is not None:
            self._scheduler.remove_job(model)


def is_overdue(policy: SchedulePolicy, *, last: float, now: float) -> bool:
    """Whether the schedule came due between its last run and now.

    Args:
        policy: when.
        last: when it last came due, seconds since the epoch; 0 for never, which is never late.
        now: the present, seconds since the epoch.
    """
    trigger = _trigger(policy, last)
    if trigger is None or not last:
        return False
    due = trigger.get_next_fire_time(_moment(last), _moment(last))
    return due is not None and due <= _moment(now)


def _trigger(policy: SchedulePolicy, start: float) -> BaseTrigger | None:
    if policy.cron:
        return CronTrigger.from_crontab(policy.cron, timezone=UTC)
    if policy.every_s:
        first = start + policy.every_s
        return IntervalTrigger(seconds=policy.every_s, start_date=_moment(first), timezone=UTC)
    return None


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _log_missed(event: JobExecutionEvent) -> None:
    _log.warning(
        "A scheduled run of %s was missed by more than %d s.",
        event.job_id,
        GRACE_S,
        extra={"action": "schedule_missed", "model": event.job_id},
    )
