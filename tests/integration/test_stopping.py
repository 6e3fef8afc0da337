"""A study that ends before its time: by budget, by an operator, over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.integration.door import Door
from tests.integration.household import Household
from tests.integration.test_main_job import SPEC, world

from retuned.registry.server import EmbeddedRedis
from retuned.words.events import tell
from retuned_pipelines.care.facts import Called
from retuned_pipelines.care.orders import Study
from retuned_pipelines.search.trial import Origin, Trial


@pytest.fixture
def house(redis: EmbeddedRedis, tmp_path: Path) -> Iterator[Household]:
    house = Household(SPEC, tmp_path, redis.socket)
    house.redis.flushall()
    house.keeper.resume()
    yield house
    house.close()


def watched(house: Household, after: int, act: Callable[[str], None]) -> None:
    """Do something to the study when so many trials were made."""

    def observe(_model: str, trial: Trial) -> None:
        if trial.number + 1 == after:
            (study,) = (work for work in house.keeper.state.flight if isinstance(work, Study))
            act(study.id)

    house.settle()
    house.workshop = replace(
        house.workshop, studies=replace(house.workshop.studies, observe=observe)
    )
    house.new_keeper()
    house.keeper.resume()


def test_a_study_that_an_operator_stops_puts_forward_what_it_has(house: Household) -> None:
    def stop(study: str) -> None:
        house.book.ask_to_stop("demo", study, who="ann", reason="enough")
        # A second wish changes nothing.
        house.book.ask_to_stop("demo", study, who="bob", reason="")

    watched(house, 4, stop)
    house.send(world(0, 600))
    house.settle()
    (record,) = house.book.studies("demo")
    assert record.stopped == "ann stopped it: enough; what it tried is not reproducible"
    assert not record.is_reproducible
    assert len(house.book.trials("demo", record.id)) < SPEC.search.trials
    assert record.best is not None
    assert record.finished_at is not None
    assert house.registry.versions("demo")[-1].study == record.id
    (event,) = house.told("study")
    assert "ann stopped it: enough" in tell(event.to_json())


def test_a_wish_outlasts_the_daemon(house: Household) -> None:
    house.book.ask_to_stop("demo", "s1", who="ann", reason="")
    house.send(world(0, 600))
    house.settle()
    (record,) = house.book.studies("demo")
    assert record.stopped.startswith("ann stopped it;")
    assert house.book.trials("demo", record.id) == ()
    # The next study is another one.
    house.keeper.accept(Called(now=house.clock.now(), action="retune", who="ann", reason="again"))
    house.settle()
    assert len(house.book.trials("demo", "s2")) == SPEC.search.trials


def test_a_budget_in_cpu_seconds_ends_a_study(house: Household) -> None:
    house.spec = replace(SPEC, search=replace(SPEC.search, budget_cpu_s=1e-6))
    house.settle()
    house.new_keeper()
    house.keeper.resume()
    house.send(world(0, 600))
    house.settle()
    (record,) = house.book.studies("demo")
    assert "CPU seconds (SEARCH__BUDGET_CPU_S) was used up" in record.stopped
    assert not record.is_reproducible
    assert len(house.book.trials("demo", record.id)) == SPEC.search.batch


def test_what_a_study_found_is_tried_by_the_next(house: Household) -> None:
    house.send(world(0, 600))
    house.settle()
    (record,) = house.book.studies("demo")
    assert house.keeper.state.finds[0] == record.best
    house.keeper.accept(Called(now=house.clock.now(), action="retune", who="ann", reason="again"))
    house.settle()
    assert Origin.EARLIER in {trial.origin for trial in house.book.trials("demo", "s2")}


def test_there_is_nothing_to_stop_where_no_study_runs(grown: Door) -> None:
    path = "/v1/models/bikes/studies"
    ended = grown.get(path).json()["items"][0]["id"]
    for study, status, kind in (("s99", 404, "no-study"), (ended, 409, "study-over")):
        answer = grown.post(f"{path}/{study}/stop")
        assert (answer.status_code, answer.json()["type"]) == (status, f"/problems/{kind}")


def test_a_wish_to_stop_is_told_in_the_history(fresh: Door) -> None:
    state = fresh.house.keeper.state
    study = Study(id="s7", as_of=1, champion=())
    fresh.house.keeper._state = replace(state, flight=(study,))
    answer = fresh.post("/v1/models/bikes/studies/s7/stop", {"who": "ann", "reason": "late"})
    assert answer.status_code == 202
    assert fresh.house.book.asked_to_stop("bikes", "s7") == "ann stopped it: late"
    (event,) = fresh.house.told("operator")
    assert tell(event.to_json()) == "ann asked to stop study s7: late"
