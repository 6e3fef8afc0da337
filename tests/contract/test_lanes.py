"""What all lanes promise, with threads and without."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from retuned.runtime.lanes import InlineLanes, Lane, Lanes, ThreadLanes

AT_MOST_S = 20.0


class Road:
    """Lanes, and a way to wait until everything has come that is expected."""

    def __init__(self, lanes: ThreadLanes | InlineLanes) -> None:
        self.lanes: Lanes = lanes
        self.came: list[str] = []
        self._change = threading.Condition()
        self._drain: Callable[[], None] = (
            lanes.drain if isinstance(lanes, InlineLanes) else lambda: None
        )

    def pass_by(self, name: str) -> None:
        with self._change:
            self.came.append(name)
            self._change.notify_all()

    def wait_for(self, count: int) -> list[str]:
        self._drain()
        with self._change:
            assert self._change.wait_for(lambda: len(self.came) >= count, AT_MOST_S)
            return list(self.came)


@pytest.fixture
def threads() -> Iterator[ThreadLanes]:
    lanes = ThreadLanes(quick=1, study=1)
    yield lanes
    lanes.close()


@pytest.fixture(params=["threads", "inline"])
def road(request: pytest.FixtureRequest) -> Road:
    return Road(InlineLanes() if request.param == "inline" else request.getfixturevalue("threads"))


class TestEveryLanes:
    @pytest.mark.parametrize("lane", list(Lane))
    def test_work_runs_once(self, road: Road, lane: Lane) -> None:
        road.lanes.submit(lane, lambda: road.pass_by("a"))
        road.lanes.submit(lane, lambda: road.pass_by("b"))
        assert road.wait_for(2) == ["a", "b"]

    def test_work_may_submit_work(self, road: Road) -> None:
        def work() -> None:
            road.lanes.submit(Lane.QUICK, lambda: road.pass_by("inner"))
            road.pass_by("outer")

        road.lanes.submit(Lane.QUICK, work)
        assert sorted(road.wait_for(2)) == ["inner", "outer"]

    def test_what_is_delayed_comes_later(self, road: Road) -> None:
        road.lanes.submit(Lane.QUICK, lambda: road.pass_by("last"), delay_s=0.2)
        road.lanes.submit(Lane.QUICK, lambda: road.pass_by("second"), delay_s=0.1)
        road.lanes.submit(Lane.QUICK, lambda: road.pass_by("first"))
        assert road.wait_for(3) == ["first", "second", "last"]


def test_a_busy_lane_does_not_keep_the_other_from_running(threads: ThreadLanes) -> None:
    road = Road(threads)
    gate = threading.Event()
    threads.submit(Lane.STUDY, lambda: road.pass_by("study" if gate.wait(AT_MOST_S) else "late"))
    threads.submit(Lane.QUICK, lambda: road.pass_by("quick"))
    assert road.wait_for(1) == ["quick"]
    gate.set()
    assert road.wait_for(2) == ["quick", "study"]


def test_work_that_fails_is_logged_and_the_lane_goes_on(
    threads: ThreadLanes, caplog: pytest.LogCaptureFixture
) -> None:
    road = Road(threads)

    def fail() -> None:
        message = "broken"
        raise ValueError(message)

    threads.submit(Lane.QUICK, fail)
    threads.submit(Lane.QUICK, lambda: road.pass_by("next"))
    assert road.wait_for(1) == ["next"]
    assert "broken" in caplog.text


def test_closing_waits_for_what_runs_and_drops_what_waits() -> None:
    lanes = ThreadLanes(quick=1, study=1)
    road = Road(lanes)
    begun, gate = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        gate.wait(AT_MOST_S)
        road.pass_by("running")

    lanes.submit(Lane.QUICK, work)
    lanes.submit(Lane.QUICK, lambda: road.pass_by("waiting"))
    lanes.submit(Lane.QUICK, lambda: road.pass_by("delayed"), delay_s=3600.0)
    assert begun.wait(AT_MOST_S)
    closing = threading.Thread(target=lanes.close)
    closing.start()
    gate.set()
    closing.join(AT_MOST_S)
    assert not closing.is_alive()
    lanes.submit(Lane.QUICK, lambda: road.pass_by("too late"))
    assert road.came == ["running"]


def test_work_that_goes_round_in_circles_is_told() -> None:
    lanes = InlineLanes()

    def again() -> None:
        lanes.submit(Lane.QUICK, again)

    again()
    with pytest.raises(RuntimeError, match="still waits after 50"):
        lanes.drain(at_most=50)


def test_as_many_pieces_as_allowed_are_no_circle() -> None:
    lanes = InlineLanes()
    road = Road(lanes)
    for name in "abc":
        lanes.submit(Lane.QUICK, lambda name=name: road.pass_by(name))  # type: ignore[misc] # bound early
    lanes.drain(at_most=3)
    assert road.came == ["a", "b", "c"]
