"""Schedules: due in time, made up for once when missed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from retuned.runtime.schedule import Schedule, is_overdue
from retuned_pipelines.spec import SchedulePolicy

AT_MOST_S = 20.0
NEVER = SchedulePolicy()
HOURLY = SchedulePolicy(every_s=3600.0)
AT_THREE = SchedulePolicy(cron="0 3 * * *")
MONDAYS = SchedulePolicy(cron="30 2 * * mon")


def moment(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.fixture
def schedule() -> Iterator[Schedule]:
    found = Schedule()
    yield found
    found.stop()


@pytest.mark.parametrize(
    ("policy", "last", "now", "expected"),
    [
        (NEVER, "2026-03-01", "2036-03-01", False),
        (HOURLY, "2026-03-01T10:00:00", "2026-03-01T10:59:59", False),
        (HOURLY, "2026-03-01T10:00:00", "2026-03-01T11:00:00", True),
        (HOURLY, "2026-03-01T10:00:00", "2026-03-09", True),
        (AT_THREE, "2026-03-01T03:00:00", "2026-03-01T23:00:00", False),
        (AT_THREE, "2026-03-01T03:00:00", "2026-03-02T02:59:59", False),
        (AT_THREE, "2026-03-01T03:00:00", "2026-03-02T03:00:00", True),
        (AT_THREE, "2026-03-01T02:00:00", "2026-03-01T03:00:01", True),
        (AT_THREE, "2026-03-01T03:00:00", "2026-05-01", True),
        # 2 March 2026 is a Monday.
        (MONDAYS, "2026-03-02T02:30:00", "2026-03-09T02:29:00", False),
        (MONDAYS, "2026-03-02T02:30:00", "2026-03-09T02:30:00", True),
    ],
)
def test_a_run_is_overdue_once_its_time_has_passed(
    *, policy: SchedulePolicy, last: str, now: str, expected: bool
) -> None:
    assert is_overdue(policy, last=moment(last), now=moment(now)) is expected


@pytest.mark.parametrize("policy", [NEVER, HOURLY, AT_THREE])
def test_what_never_came_due_is_not_overdue(policy: SchedulePolicy) -> None:
    assert not is_overdue(policy, last=0.0, now=moment("2026-03-01"))


@pytest.mark.parametrize("policy", [HOURLY, AT_THREE])
def test_many_missed_runs_are_made_up_for_once(schedule: Schedule, policy: SchedulePolicy) -> None:
    ticks: list[str] = []
    now = time.time()
    schedule.start()
    schedule.put("demo", policy, lambda: ticks.append("tick"), last=now - 10 * 86_400, now=now)
    assert ticks == ["tick"]


def test_a_run_that_was_not_missed_is_not_made_up_for(schedule: Schedule) -> None:
    ticks: list[str] = []
    now = time.time()
    for last in (0.0, now - 10, now):
        schedule.put("demo", HOURLY, lambda: ticks.append("tick"), last=last, now=now)
    assert ticks == []


def test_a_schedule_calls_back_again_and_again(schedule: Schedule) -> None:
    twice, count = threading.Event(), 0

    def tick() -> None:
        nonlocal count
        count += 1
        if count == 2:
            twice.set()

    schedule.start()
    now = time.time()
    schedule.put("demo", SchedulePolicy(every_s=0.05), tick, last=now, now=now)
    assert twice.wait(AT_MOST_S)


def test_a_changed_schedule_replaces_the_older_one(schedule: Schedule) -> None:
    came, old = threading.Event(), threading.Event()
    now = time.time()
    # Not begun yet, so that nothing of the older one can come before it is replaced.
    schedule.put("demo", SchedulePolicy(every_s=0.05), old.set, last=now, now=now)
    schedule.put("demo", SchedulePolicy(every_s=0.1), came.set, last=now, now=now)
    schedule.start()
    assert came.wait(AT_MOST_S)
    assert not old.is_set()


@pytest.mark.parametrize("how", ["dropped", "taken out of the model file"])
def test_a_schedule_that_is_gone_calls_back_no_more(schedule: Schedule, how: str) -> None:
    came, old = threading.Event(), threading.Event()
    now = time.time()
    schedule.put("demo", SchedulePolicy(every_s=0.05), old.set, last=now, now=now)
    if how == "dropped":
        schedule.drop("demo")
        schedule.drop("demo")
    else:
        schedule.put("demo", NEVER, old.set, last=now, now=now)
    schedule.put("other", SchedulePolicy(every_s=0.1), came.set, last=now, now=now)
    schedule.start()
    assert came.wait(AT_MOST_S)
    assert not old.is_set()


def test_stopping_twice_changes_nothing() -> None:
    schedule = Schedule()
    schedule.stop()
    schedule.start()
    schedule.stop()
    schedule.stop()
