"""The keeper: facts are kept, orders are tried again, and trouble stays with its model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.reigns import reign_of

from retuned.errors import PermanentError, RetunedError, TransientError
from retuned.keeper import ATTEMPTS, Keeper
from retuned.registry.history.events import Event
from retuned.registry.journal import Journal
from retuned.registry.lease.fencing import Fenced
from retuned.runtime.clock import VirtualClock
from retuned.runtime.lanes import InlineLanes
from retuned_pipelines.care.facts import Arrived, Called, Fact, Judged
from retuned_pipelines.care.orders import Judge, Notify, Work
from retuned_pipelines.evaluate import gate
from retuned_pipelines.recipe import Recipe
from retuned_pipelines.schema import Task
from retuned_pipelines.search.trial import NO_COST
from retuned_pipelines.spec import ModelSpec

SPEC = ModelSpec(name="demo", task=Task.REGRESSION, target="y", metric="neg_mean_absolute_error")


@dataclass
class Bench:
    """A keeper whose orders end as the test says."""

    path: Path
    labelled: int = 500
    errors: list[RetunedError] = field(default_factory=list)
    carried_out: list[Work] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    may_decide: bool = True
    loses_care: bool = False
    meanwhile: Callable[[], object] = lambda: None

    def __post_init__(self) -> None:
        clock = VirtualClock(100.0)
        self.journal = Journal(self.path, clock)
        self.lanes = InlineLanes()
        self.keeper = Keeper(
            SPEC,
            journal=self.journal,
            carry_out=self.carry_out,
            count=self.count,
            lanes=self.lanes,
            clock=clock,
            observe=self.events.append,
            may_decide=lambda: self.may_decide,
        )

    def count(self, _spec: ModelSpec) -> Arrived:
        return Arrived(now=1.0, last_seq=1000, rows=self.labelled, labelled=self.labelled)

    def carry_out(self, spec: ModelSpec, work: Work) -> Fact:
        self.carried_out.append(work)
        self.meanwhile()
        self.may_decide = not self.loses_care
        if self.errors:
            raise self.errors.pop(0)
        assert isinstance(work, Judge)
        verdict = gate.refused(spec, rival_name="constant", reason="Not today.")
        return Judged(now=2.0, order=work.id, verdict=verdict, cost=NO_COST)

    @property
    def told(self) -> list[str]:
        return [event.kind.value for event in self.events]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def bench(*errors: RetunedError) -> Bench:
        made.append(Bench(tmp_path / "journal.sqlite", errors=list(errors)))
        return made[-1]

    yield bench
    for one in made:
        one.journal.close()


def test_a_parked_keeper_begins_nothing(make: Callable[..., Bench]) -> None:
    bench = make()
    bench.keeper.notice()
    bench.lanes.drain()
    assert bench.carried_out == []


def test_what_arrives_is_looked_at_once_and_its_orders_are_carried_out(
    make: Callable[..., Bench],
) -> None:
    bench = make()
    bench.keeper.resume()
    bench.keeper.notice()
    bench.lanes.drain()
    assert [work.kind for work in bench.carried_out] == ["judge"]
    assert bench.told == ["verdict"]
    assert bench.keeper.state.flight == ()


def test_what_passes_by_itself_is_tried_until_it_has_passed(make: Callable[..., Bench]) -> None:
    bench = make(*[TransientError("away")] * (2 * ATTEMPTS))
    bench.keeper.resume()
    bench.lanes.drain()
    assert len(bench.carried_out) == 2 * ATTEMPTS + 1
    assert bench.told == ["failed", "recovered", "verdict"]
    assert bench.keeper.troubles == ()


def test_what_does_not_pass_is_let_go_after_some_attempts(make: Callable[..., Bench]) -> None:
    bench = make(*[PermanentError("broken")] * ATTEMPTS)
    bench.keeper.resume()
    bench.lanes.drain()
    assert len(bench.carried_out) == ATTEMPTS
    assert bench.told == ["failed", "abandoned"]
    assert bench.keeper.state.flight == ()
    assert bench.keeper.troubles == ()
    # More labels are a reason to begin anew.
    bench.labelled = 1000
    bench.keeper.notice()
    bench.lanes.drain()
    assert bench.told[2:] == ["verdict"]


def test_an_order_in_flight_is_begun_again_by_the_next_daemon(make: Callable[..., Bench]) -> None:
    first = make(TransientError("away"))
    first.keeper.resume()
    with pytest.raises(RuntimeError, match="still waits"):
        first.lanes.drain(at_most=2)
    (order,) = first.keeper.state.flight
    second = make()
    assert second.keeper.state == first.keeper.state
    second.keeper.resume()
    second.lanes.drain()
    assert second.carried_out == [order]
    assert second.keeper.state.flight == ()


def test_events_wait_in_the_journal_with_the_state_that_they_tell_of(
    make: Callable[..., Bench],
) -> None:
    bench = make()
    bench.keeper.resume()
    bench.lanes.drain()
    waiting = bench.journal.waiting(10)
    assert [event.id for event in waiting] == [event.id for event in bench.events]


def test_whoever_hands_in_a_fact_is_told_what_follows(make: Callable[..., Bench]) -> None:
    bench = make()
    called = Called(now=1.0, action="promote", who="ada", reason="")
    said, decided = bench.keeper.accept(called)
    assert isinstance(said, Notify)
    assert isinstance(decided, Notify)
    assert (said.event, decided.event) == ("operator", "decided")
    (judge,) = bench.keeper.accept(bench.count(SPEC))
    assert isinstance(judge, Judge)


# Who takes care of the model


def test_while_another_daemon_takes_care_nothing_is_begun(make: Callable[..., Bench]) -> None:
    bench = make()
    bench.may_decide = False
    bench.keeper.resume()
    bench.lanes.drain()
    assert bench.carried_out == []
    assert bench.keeper.state.flight == ()
    bench.may_decide = True
    bench.keeper.resume()
    bench.lanes.drain()
    assert len(bench.carried_out) == 1


def test_a_result_that_comes_after_the_care_was_lost_is_not_taken_in(
    make: Callable[..., Bench],
) -> None:
    bench = make()
    bench.loses_care = True
    bench.keeper.resume()
    bench.lanes.drain()
    (work,) = bench.keeper.state.flight
    assert "verdict" not in bench.told
    bench.loses_care, bench.may_decide = False, True
    bench.keeper.resume()
    bench.lanes.drain()
    assert [done.id for done in bench.carried_out] == [work.id, work.id]
    assert "verdict" in bench.told


def test_an_order_that_is_fenced_is_no_trouble_and_is_begun_again(
    make: Callable[..., Bench],
) -> None:
    bench = make(Fenced("another daemon takes care of it by now"))
    bench.keeper.resume()
    bench.lanes.drain()
    assert len(bench.keeper.state.flight) == 1
    assert bench.keeper.troubles == ()
    assert "failed" not in bench.told
    bench.keeper.resume()
    bench.lanes.drain()
    assert bench.keeper.state.flight == ()


def test_trouble_with_what_an_operator_let_go_is_over(make: Callable[..., Bench]) -> None:
    bench = make(TransientError("away"))
    bench.keeper.resume()
    bench.keeper.notice()
    with pytest.raises(RuntimeError, match="still waits"):
        bench.lanes.drain(at_most=2)
    (trouble,) = bench.keeper.troubles
    crowned = reign_of([Recipe.of("constant", {})], as_of=9)
    bench.keeper.accept(
        Called(
            now=3.0,
            action="promote",
            who="ann",
            reason="better",
            version=crowned.version,
            revision=crowned.revision,
        )
    )
    assert bench.keeper.state.work(trouble.order) is None
    assert bench.keeper.troubles == ()


def test_an_order_that_is_fenced_after_the_lease_was_taken_anew_is_begun_again(
    make: Callable[..., Bench],
) -> None:
    bench = make(Fenced("this daemon's token is an old one"))

    def takes_it_anew() -> None:
        bench.meanwhile = lambda: None
        bench.keeper.resume()
        bench.lanes.drain()

    bench.meanwhile = takes_it_anew
    bench.keeper.resume()
    bench.lanes.drain()
    assert len(bench.carried_out) == 2
    assert bench.keeper.state.flight == ()
