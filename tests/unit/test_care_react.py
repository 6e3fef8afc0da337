"""The rules of care, as tables of facts and orders."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter
from tests.reigns import VERDICT

from retuned_pipelines import upkeep, weights
from retuned_pipelines.care import react, retune
from retuned_pipelines.care.facts import (
    Abandoned,
    Arrived,
    Brought,
    Called,
    Fact,
    Fitted,
    Judged,
    Measured,
    Published,
    Refitted,
    Shelved,
    Studied,
    Ticked,
)
from retuned_pipelines.care.orders import (
    Boundary,
    Judge,
    Measure,
    Notify,
    Order,
    Publish,
    Refit,
    Shelve,
    Study,
    Work,
)
from retuned_pipelines.care.state import CareState, Choice
from retuned_pipelines.drift.report import Aspect, DriftReport, Measurement, Span
from retuned_pipelines.evaluate.verdict import Ruling, Verdict
from retuned_pipelines.models.families import default_recipe
from retuned_pipelines.recipe import Past, Recipe
from retuned_pipelines.schema import Task
from retuned_pipelines.search.trial import Cost
from retuned_pipelines.spec import ModelSpec
from retuned_pipelines.version import Came, Member, Version

SPEC = ModelSpec(name="demo", task=Task.REGRESSION, target="y", metric="neg_mean_absolute_error")
COST = Cost(wall_s=2.0, cpu_s=1.5, peak_mb=100.0)
BETTER = Recipe.of("linear", {"alpha": 0.5}, Past(rows=200))


def arrived(rows: int, labelled: int, now: float = 1.0) -> Arrived:
    return Arrived(now=now, last_seq=rows + labelled, rows=rows, labelled=labelled)


def verdict(ruling: Ruling = Ruling.PROMOTED) -> Verdict:
    return replace(VERDICT, ruling=ruling, rival="champion")


def report(*, loss: bool = False, inputs: bool = False) -> DriftReport:
    def alarm(aspect: Aspect, subject: str, *, is_alarm: bool) -> Measurement:
        return Measurement(
            aspect=aspect,
            subject=subject,
            method="ks",
            statistic=1.0,
            p_value=0.001,
            threshold=0.05,
            effect=0.2,
            effect_floor=0.1,
            reference_rows=1000,
            current_rows=1000,
            is_alarm=is_alarm,
        )

    span = Span(first_seq=1, last_seq=2, rows=2)
    return DriftReport(
        as_of=9,
        reference=span,
        current=span,
        measurements=(
            alarm(Aspect.PERFORMANCE, "loss", is_alarm=loss),
            alarm(Aspect.INPUT, "temp", is_alarm=inputs),
        ),
    )


def result_of(order: Work, *, promoted: bool = True, best: Recipe | None = BETTER) -> Fact:
    """Give what the shell would report for an order that went well."""
    match order:
        case Measure():
            return Measured(now=2.0, order=order.id, report=report())
        case Study():
            boundary = Boundary(5, 5)
            return Studied(
                now=2.0,
                order=order.id,
                best=best,
                trials=4,
                stopped="budget",
                boundary=boundary,
                cost=COST,
            )
        case Judge():
            ruling = Ruling.PROMOTED if promoted else Ruling.REFUSED
            return Judged(now=2.0, order=order.id, verdict=verdict(ruling), cost=COST)
        case Refit():
            return Fitted(
                now=2.0,
                order=order.id,
                made=refitted(order.version),
                shadow=None if order.shadow is None else refitted(order.shadow.version, "b"),
                schema_digest="cd",
                libraries=(("lightgbm", "4.7"),),
                cost=COST,
            )
        case Publish():
            return Published(
                now=2.0, order=order.id, version=order.version, revision=order.revision, epoch=1
            )
        case Shelve():
            return Shelved(now=2.0, order=order.id)


def refitted(version: Version, prefix: str = "a") -> Refitted:
    count = len(version.members)
    return Refitted(
        artifacts=tuple(f"{prefix}{n}" for n in range(count)),
        predict_ms=(0.0,) * count,
        rows=1000,
        first_seq=1,
        last_seq=1000,
    )


def works(orders: tuple[Order, ...]) -> list[Work]:
    return [order for order in orders if not isinstance(order, Notify)]


def told(orders: tuple[Order, ...]) -> list[str]:
    return [order.event for order in orders if isinstance(order, Notify)]


def reasons(orders: tuple[Order, ...]) -> str:
    return " ".join(
        " ".join(order.body["reasons"])
        for order in orders
        if isinstance(order, Notify) and order.event == "decided"
    )


def crowned(rows: int = 1000) -> tuple[CareState, Study]:
    """Bring a model to its first champion; the first study is in flight."""
    state, orders = react(SPEC, CareState(), arrived(rows, rows))
    for kind in (Judge, Refit, Publish):
        (order,) = works(orders)
        assert isinstance(order, kind)
        state, orders = react(SPEC, state, result_of(order))
    (study,) = works(orders)
    assert isinstance(study, Study)
    return state, study


def settled(rows: int = 1000) -> CareState:
    """Have a champion, and nothing in flight: the first study's find was refused."""
    state, study = crowned(rows)
    state, orders = react(SPEC, state, result_of(study))
    (judge,) = works(orders)
    state, orders = react(SPEC, state, result_of(judge, promoted=False))
    assert not works(orders)
    assert not state.flight
    return state


def test_nothing_happens_before_there_are_enough_labels() -> None:
    state, orders = react(SPEC, CareState(), arrived(5000, SPEC.watch.min_rows - 1))
    assert orders == ()
    assert state.reign is None


def test_the_first_champion_is_the_default_against_a_constant() -> None:
    _, orders = react(SPEC, CareState(), arrived(500, 500))
    (judge,) = works(orders)
    assert isinstance(judge, Judge)
    assert (judge.challenger.family, judge.rival.family) == ("lightgbm", "constant")
    assert judge.rival_name == "constant"


def test_a_first_champion_without_evidence_is_attempted_again_with_half_as_many_labels() -> None:
    def unseen(order: Work) -> Judged:
        few = replace(verdict(Ruling.REFUSED), blocks=SPEC.gate.min_blocks - 1)
        return Judged(now=2.0, order=order.id, verdict=few, cost=COST)

    state, orders = react(SPEC, CareState(), arrived(500, 500))
    state, orders = react(SPEC, state, unseen(works(orders)[0]))
    assert not works(orders)
    state, orders = react(SPEC, state, arrived(749, 749))
    assert not works(orders)
    _, orders = react(SPEC, state, arrived(750, 750))
    assert isinstance(works(orders)[0], Judge)


def test_where_the_default_is_no_better_a_constant_leads_the_first_champion() -> None:
    state, orders = react(SPEC, CareState(), arrived(500, 500))
    state, orders = react(SPEC, state, result_of(works(orders)[0], promoted=False))
    (refit,) = works(orders)
    assert isinstance(refit, Refit)
    families = [member.recipe.family for member in refit.version.members]
    assert families[0] == "constant"
    assert "lightgbm" in families
    assert refit.version.verdict.ruling is Ruling.REFUSED
    # A study looks for something better than the constant, and never puts one forward.
    for _ in range(2):
        state, orders = react(SPEC, state, result_of(works(orders)[0]))
    (study,) = works(orders)
    assert isinstance(study, Study)
    assert "constant" not in {recipe.family for recipe in study.champion}


def test_the_first_champion_is_announced_and_studied_at_once() -> None:
    state, study = crowned()
    assert state.reign is not None
    assert state.reign.revision.name == "1.1"
    weightiest = sorted(state.reign.version.members, key=lambda member: -member.weight)
    assert study.champion == tuple(member.recipe for member in weightiest[:3])
    assert state.last_decision is not None
    assert state.last_decision.choice is Choice.RETUNE


def test_a_study_s_find_meets_the_champion_at_the_gate() -> None:
    state, study = crowned()
    _, orders = react(SPEC, state, result_of(study))
    (judge,) = works(orders)
    assert isinstance(judge, Judge)
    assert (judge.challenger, judge.rival_name) == (BETTER, "champion")
    assert judge.boundary == Boundary(5, 5)


def judged(state: CareState, study: Study) -> Judge:
    """The order by which a study's find meets the champion."""
    _, orders = react(SPEC, state, result_of(study))
    (judge,) = works(orders)
    assert isinstance(judge, Judge)
    return judge


def after_a_find(state: CareState, study: Study, said: Verdict) -> CareState:
    """Let a study's find have this verdict."""
    state, orders = react(SPEC, state, result_of(study))
    (judge,) = works(orders)
    state, _ = react(SPEC, state, Judged(now=2.0, order=judge.id, verdict=said, cost=COST))
    return state


def test_challengers_of_a_reign_are_numbered_and_those_with_evidence_count() -> None:
    state, study = crowned()
    refused = verdict(Ruling.REFUSED)
    for number, told_of in [
        (1, refused),
        # Its losses were not looked at: luck had no chance.
        (2, replace(refused, blocks=SPEC.gate.min_blocks - 1)),
        (2, refused),
        (3, refused),
    ]:
        assert judged(state, study).number == number
        state = after_a_find(state, study, told_of)
        state, orders = react(SPEC, state, Called(now=1.0, action="retune", who="me", reason=""))
        (study,) = [order for order in works(orders) if isinstance(order, Study)]


def test_a_refit_does_not_begin_a_new_reign_and_a_promotion_does() -> None:
    state = settled()
    assert state.reign is not None
    assert state.reign.judged == 1
    state, orders = react(SPEC, state, arrived(1200, 1200))
    for _ in range(2):
        state, orders = react(SPEC, state, result_of(works(orders)[0]))
    assert state.reign is not None
    assert (state.reign.revision.name, state.reign.judged) == ("1.2", 1)
    state, study = crowned()
    fact: Fact = result_of(study)
    for _ in range(4):
        state, orders = react(SPEC, state, fact)
        fact = result_of(works(orders)[0]) if works(orders) else fact
    assert state.reign is not None
    assert (state.reign.revision.name, state.reign.judged) == ("2.1", 0)


def test_a_challenger_meets_the_default_of_its_own_family_unless_it_is_that() -> None:
    state, study = crowned()
    default = default_recipe(SPEC.task, "linear")
    assert judged(state, study).default == default
    _, orders = react(SPEC, state, result_of(study, best=default))
    (judge,) = works(orders)
    assert isinstance(judge, Judge)
    assert judge.default is None


def test_a_promoted_challenger_becomes_the_next_version() -> None:
    state, study = crowned()
    fact: Fact = result_of(study)
    for _ in range(4):
        state, orders = react(SPEC, state, fact)
        done = works(orders)
        fact = result_of(done[0]) if done else fact
    assert state.reign is not None
    assert state.reign.version.members[0].recipe == BETTER
    assert (state.reign.revision.name, state.reign.version.parent) == ("2.1", 1)
    assert "promoted" in told(orders)


def test_a_refused_challenger_changes_nothing_but_leaves_its_evidence() -> None:
    state, study = crowned()
    state, orders = react(SPEC, state, result_of(study))
    after, orders = react(SPEC, state, result_of(works(orders)[0], promoted=False))
    assert state.reign is not None
    assert after.reign == replace(state.reign, judged=1)
    assert told(orders) == ["verdict"]


def test_the_champion_s_own_recipe_is_no_challenger() -> None:
    state, study = crowned()
    _, orders = react(SPEC, state, result_of(study, best=study.champion[0]))
    assert not works(orders)
    assert "nothing better" in reasons(orders)


def test_finds_of_recent_studies_are_tried_again_the_oldest_are_forgotten() -> None:
    state = settled()
    assert state.finds == (BETTER,)
    finds = [Recipe.of("linear", {"alpha": float(number)}) for number in range(1, retune.FINDS + 2)]
    for find in (*finds, finds[-2]):
        state, orders = react(
            SPEC, state, Called(now=3.0, action="retune", who="ann", reason="more")
        )
        (study,) = works(orders)
        assert isinstance(study, Study)
        assert study.finds == state.finds
        state, orders = react(SPEC, state, result_of(study, best=find))
        (judge,) = works(orders)
        state, _ = react(SPEC, state, result_of(judge, promoted=False))
    assert state.finds == (finds[3], finds[4], finds[2], finds[1])
    assert len(state.finds) == retune.FINDS


def test_a_state_of_before_finds_were_remembered_is_read() -> None:
    adapter = TypeAdapter(CareState)
    state, _ = crowned()
    stored = adapter.dump_python(state, mode="json")
    assert adapter.validate_python(stored) == state
    del stored["finds"]
    for work in stored["flight"]:
        work.pop("finds", None)
    assert adapter.validate_python(stored) == state


def test_a_study_without_a_good_trial_challenges_nobody() -> None:
    state, study = crowned()
    state, orders = react(SPEC, state, result_of(study, best=None))
    assert not works(orders)
    assert not state.is_searching


def test_new_labels_refit_the_champion_as_a_revision_without_a_gate() -> None:
    state = settled()
    state, orders = react(SPEC, state, arrived(1020, 1020))
    assert not works(orders)
    state, orders = react(SPEC, state, arrived(1021, 1021))
    (refit,) = works(orders)
    assert isinstance(refit, Refit)
    assert state.reign is not None
    assert refit.members == tuple(range(len(state.reign.version.members)))
    assert refit.serving == state.reign.revision
    state, orders = react(SPEC, state, result_of(refit))
    state, orders = react(SPEC, state, result_of(works(orders)[0]))
    assert state.reign is not None
    assert state.reign.revision.name == "1.2"
    assert told(orders) == ["revised"]


def test_a_check_is_made_every_so_many_rows_and_only_one_at_a_time() -> None:
    state = settled()
    state, orders = react(SPEC, state, arrived(2000, 1000))
    (measure,) = works(orders)
    assert isinstance(measure, Measure)
    assert measure.since_seq == 2000
    state, orders = react(SPEC, state, arrived(3000, 1000))
    assert not works(orders)
    state, orders = react(SPEC, state, result_of(measure))
    assert isinstance(works(orders)[0], Measure)


def measured(state: CareState, found: DriftReport) -> tuple[CareState, tuple[Order, ...]]:
    state, orders = react(SPEC, state, arrived(state.rows + 1000, state.labelled))
    (measure,) = works(orders)
    return react(SPEC, state, Measured(now=3.0, order=measure.id, report=found))


def test_input_drift_alone_never_begins_a_search() -> None:
    state, orders = measured(settled(), report(inputs=True))
    assert not works(orders)
    assert "temp" in reasons(orders)
    assert state.last_decision is not None
    assert state.last_decision.choice is Choice.NOTHING


def known(labelled: int) -> CareState:
    """Have a champion that knows so many labels, of which the last study had 1,000."""
    state = replace(settled(), labelled=labelled, rows=labelled, checked_rows=labelled)
    assert state.reign is not None
    return replace(state, reign=replace(state.reign, labelled=labelled))


def test_a_risen_loss_is_first_met_with_a_refit_of_all_members() -> None:
    state = replace(known(3000), labelled=3030)
    state, orders = measured(state, report(loss=True))
    (refit,) = works(orders)
    assert isinstance(refit, Refit)
    assert state.reign is not None
    assert len(refit.members) == len(state.reign.version.members)
    assert "Refit before searching" in reasons(orders)
    assert state.last_decision is not None
    assert state.last_decision.choice is Choice.REFRESH
    assert refit.changed_seq == state.changed_seq > 0


def test_a_rise_that_a_refit_did_not_recover_begins_a_search() -> None:
    state, orders = measured(known(3000), report(loss=True))
    assert not works(orders)
    assert "knows all labels" in reasons(orders)
    _, orders = measured(state, report(loss=True))
    (study,) = works(orders)
    assert isinstance(study, Study)
    assert "rose by 20.0%" in reasons(orders)
    assert "Refitting did not recover it" in reasons(orders)


def test_a_rise_that_has_passed_is_forgotten() -> None:
    state, _ = measured(known(3000), report(loss=True))
    state, _ = measured(state, report())
    _, orders = measured(state, report(loss=True))
    assert not works(orders)


def refreshed(state: CareState) -> CareState:
    """Let a rise of the loss be found, and the refit that follows be published."""
    state, orders = measured(replace(state, labelled=state.labelled + 30), report(loss=True))
    for kind in (Refit, Publish):
        (order,) = works(orders)
        assert isinstance(order, kind)
        state, orders = react(SPEC, state, result_of(order))
    assert not works(orders)
    assert state.is_worse
    return state


def test_a_rise_is_refreshed_then_searched_then_left_to_the_cooldown() -> None:
    state = refreshed(known(3000))
    changed = state.changed_seq
    state, orders = measured(state, report(loss=True))
    (study,) = works(orders)
    assert isinstance(study, Study)
    assert study.changed_seq == changed > 0
    state, orders = react(SPEC, state, result_of(study))
    (judge,) = works(orders)
    assert isinstance(judge, Judge)
    assert judge.changed_seq == changed
    state, _ = react(SPEC, state, result_of(judge, promoted=False))
    # Neither did the search recover it: it is not repeated on the same rows.
    state, orders = measured(state, report(loss=True))
    assert not works(orders)
    assert "0 labels came since the last one, it waits for 3030" in reasons(orders)
    assert state.last_decision is not None
    assert state.last_decision.choice is Choice.NOTHING
    assert state.last_decision.saved == retune.study_effort(SPEC, state)


def test_a_loss_that_a_refit_recovered_begins_no_search() -> None:
    state, orders = measured(refreshed(known(3000)), report())
    assert not works(orders)
    assert not state.is_worse
    assert reasons(orders) == "No drift."
    # The next rise is a new one: it is met with a refit again, and changes are dated anew.
    before = state.changed_seq
    state = refreshed(state)
    assert state.changed_seq > before


def test_a_rise_while_a_refit_is_under_way_waits_for_it() -> None:
    state, orders = react(SPEC, known(3000), arrived(3000, 3070))
    (refit,) = works(orders)
    assert isinstance(refit, Refit)
    state, orders = react(SPEC, state, arrived(4000, 3070))
    (measure,) = works(orders)
    found = Measured(now=3.0, order=measure.id, report=report(loss=True))
    state, orders = react(SPEC, state, found)
    assert not works(orders)
    assert "A refit is under way already" in reasons(orders)
    assert state.is_worse


def test_a_forced_refresh_fits_members_that_are_not_due_but_no_retired_ones() -> None:
    state = known(100_000)
    assert state.reign is not None
    count = len(state.reign.version.members)
    standing = replace(
        state.reign.revision.standing,
        fitted=(100_000,) * count,
        patience=(64,) * count,
        gone=(False,) * (count - 1) + (True,),
    )
    revision = replace(state.reign.revision, standing=standing)
    state = replace(state, reign=replace(state.reign, revision=revision), labelled=100_001)
    state, orders = measured(state, report(loss=True))
    (refit,) = works(orders)
    assert isinstance(refit, Refit)
    assert refit.members == tuple(range(count - 1))
    assert state.last_decision is not None
    assert state.last_decision.saved == 0
    assert state.last_decision.effort > 0


@pytest.mark.parametrize(("labelled", "begins"), [(2999, False), (3000, True)])
def test_a_search_waits_for_the_cooldown(labelled: int, begins: bool) -> None:  # noqa: FBT001
    assert SPEC.search.cooldown_rows == 2000
    state, _ = measured(known(labelled), report(loss=True))
    _, orders = measured(state, report(loss=True))
    assert bool(works(orders)) is begins
    if not begins:
        assert "1999 labels came since the last one, it waits for 2000" in reasons(orders)


def test_a_search_waits_for_as_many_labels_as_the_last_one_had() -> None:
    state, _ = measured(replace(known(5000), studied_labelled=2600), report(loss=True))
    _, orders = measured(state, report(loss=True))
    assert not works(orders)


def test_much_more_to_learn_from_begins_a_search_once_fits_have_cost_twice_as_much() -> None:
    state = known(4000)
    cost = retune.study_effort(SPEC, state)
    assert cost == 40 * 3 * 0.75 * 4000
    for spent, begins in ((2 * cost - 1, False), (2 * cost, True)):
        _, orders = react(SPEC, replace(state, spent=spent), arrived(4000, 4000))
        assert bool(works(orders)) is begins
    _, orders = react(SPEC, replace(known(3999), spent=1e9), arrived(3999, 3999))
    assert not works(orders)


def test_fits_are_what_is_spent_and_a_study_begins_anew() -> None:
    state, orders = react(SPEC, settled(), arrived(1021, 1021))
    state, _ = react(SPEC, state, result_of(works(orders)[0]))
    assert state.spent > 1021
    state, _ = react(SPEC, state, call("retune"))
    assert state.spent == 0


def test_where_fits_are_dear_the_first_search_waits() -> None:
    state, orders = react(SPEC, CareState(), arrived(60_000, 60_000))
    for kind in (Judge, Refit, Publish):
        (order,) = works(orders)
        assert isinstance(order, kind)
        state, orders = react(SPEC, state, result_of(order))
    assert not works(orders)
    assert "No first study yet" in reasons(orders)
    assert state.last_decision is not None
    assert state.last_decision.saved > 0
    _, orders = react(SPEC, replace(state, spent=1e9), arrived(60_000, 60_000))
    assert isinstance(works(orders)[0], Study)


def test_where_no_member_is_worth_a_fit_only_the_weights_follow() -> None:
    state = known(100_000)
    assert state.reign is not None
    count = len(state.reign.version.members)
    standing = replace(
        state.reign.revision.standing, fitted=(100_000,) * count, patience=(64,) * count
    )
    revision = replace(state.reign.revision, standing=standing)
    state = replace(state, reign=replace(state.reign, revision=revision))
    state, orders = react(SPEC, state, arrived(103_000, 103_000))
    (refit, _) = works(orders)
    assert isinstance(refit, Refit)
    assert refit.members == ()
    assert refit.wants_elder
    assert "No gain" in reasons(orders)
    assert state.last_decision is not None
    assert state.last_decision.choice is Choice.NOTHING
    assert state.reign is not None
    everybody = tuple(range(count))
    assert state.last_decision.saved == upkeep.cost(
        state.reign.version.members, everybody, 103_000, 1
    )
    # The weights follow, nothing is spent, and everybody keeps the artifact.
    spent, before = state.spent, state.reign.revision
    fitted = result_of(refit)
    assert isinstance(fitted, Fitted)
    losses = ((0.5,) + (1.0,) * (count - 1),) * 8
    made = replace(fitted.made, artifacts=before.artifacts)
    fitted = replace(fitted, made=made, came=Came(losses))
    state, orders = react(SPEC, state, fitted)
    publish = works(orders)[0]
    assert isinstance(publish, Publish)
    assert publish.revision.artifacts == before.artifacts
    assert publish.revision.standing.weights[0] > before.standing.weights[0]
    assert publish.revision.standing.fitted == before.standing.fitted
    assert state.spent == spent


def test_a_retired_member_loses_its_artifact_and_is_fitted_no_more() -> None:
    state, orders = react(SPEC, settled(), arrived(1021, 1021))
    (refit,) = works(orders)
    assert isinstance(refit, Refit)
    assert refit.serving is not None
    count = len(refit.version.members)
    nearly = replace(refit.serving.standing, low=(0,) * (count - 1) + (7,))
    nearly = replace(nearly, weights=(1 - 0.001,) + (0.0,) * (count - 2) + (0.001,))
    order = replace(refit, serving=replace(refit.serving, standing=nearly))
    state = replace(state, flight=(order,))
    losses = ((1.0,) * (count - 1) + (9.0,),) * 8
    fitted = result_of(order)
    assert isinstance(fitted, Fitted)
    state, orders = react(SPEC, state, replace(fitted, came=Came(losses)))
    (publish,) = works(orders)
    assert isinstance(publish, Publish)
    assert publish.revision.artifacts[-1] == ""
    assert "" not in publish.revision.artifacts[:-1]
    state, orders = react(SPEC, state, result_of(publish))
    _, orders = react(SPEC, state, arrived(1100, 1100))
    (refit,) = works(orders)
    assert isinstance(refit, Refit)
    assert refit.members == tuple(range(count - 1))


def test_the_schedule_begins_a_search_only_if_labels_came() -> None:
    state, orders = react(SPEC, settled(), Ticked(now=9.0))
    assert not works(orders)
    assert "no label came" in reasons(orders)
    state, _ = react(SPEC, state, arrived(1001, 1001))
    state, orders = react(SPEC, state, Ticked(now=10.0))
    assert isinstance(works(orders)[0], Study)
    assert state.ticked_at == 10.0


def call(action: Any) -> Called:
    return Called(now=4.0, action=action, who="ann", reason="curious")


def test_an_operator_s_search_begins_at_once_and_is_written_down() -> None:
    _, orders = react(SPEC, settled(), call("retune"))
    assert isinstance(works(orders)[0], Study)
    assert told(orders) == ["operator", "decided"]


def test_an_operator_s_search_is_not_begun_twice() -> None:
    state, _ = react(SPEC, settled(), call("retune"))
    _, orders = react(SPEC, state, call("retune"))
    assert not works(orders)
    assert "already under way" in reasons(orders)


def test_a_paused_model_begins_nothing_until_resumed() -> None:
    state, _ = react(SPEC, settled(), call("pause"))
    state, orders = react(SPEC, state, arrived(9000, 9000))
    assert not works(orders)
    state, orders = react(SPEC, state, Ticked(now=9.0))
    assert not works(orders)
    _, orders = react(SPEC, state, call("resume"))
    assert works(orders)


@pytest.mark.parametrize("is_worse", [False, True])
def test_a_check_that_ends_while_paused_begins_nothing(is_worse: bool) -> None:  # noqa: FBT001
    state = replace(known(3000), labelled=3001, is_worse=is_worse)
    state, orders = react(SPEC, state, arrived(4000, 3001))
    (measure,) = works(orders)
    state, _ = react(SPEC, state, call("pause"))
    found = Measured(now=3.0, order=measure.id, report=report(loss=True))
    state, orders = react(SPEC, state, found)
    assert not works(orders)
    assert told(orders) == ["drift", "decided"]
    # Once resumed, the next check has its say.
    state, _ = react(SPEC, state, call("resume"))
    _, orders = measured(state, report(loss=True))
    assert works(orders)


def test_a_takeover_ends_while_paused_and_begins_no_study() -> None:
    state, orders = react(SPEC, CareState(), arrived(1000, 1000))
    state, _ = react(SPEC, state, call("pause"))
    for kind in (Judge, Refit, Publish):
        (order,) = works(orders)
        assert isinstance(order, kind)
        state, orders = react(SPEC, state, result_of(order))
    assert state.reign is not None
    assert not works(orders)


def test_a_result_reported_twice_counts_once() -> None:
    state, study = crowned()
    fact = result_of(study)
    once, _ = react(SPEC, state, fact)
    again, orders = react(SPEC, once, fact)
    assert again == once
    assert orders == ()


def test_a_champion_found_in_the_registry_is_adopted() -> None:
    reign = settled().reign
    assert reign is not None
    found = Published(now=5.0, order="", version=reign.version, revision=reign.revision, epoch=7)
    state, orders = react(SPEC, CareState(), found)
    assert state.reign is not None
    assert state.reign.revision == reign.revision
    assert not orders


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("arrive"), st.integers(0, 3000), st.integers(0, 3000)),
        st.tuples(st.just("tick"), st.just(0), st.just(0)),
        st.tuples(st.sampled_from(["retune", "pause", "resume"]), st.just(0), st.just(0)),
        st.tuples(st.just("finish"), st.integers(0, 9), st.integers(0, 1)),
    ),
    max_size=60,
)


@given(STEPS)
def test_whatever_happens_the_state_stays_sound(steps: list[tuple[str, int, int]]) -> None:
    adapter = TypeAdapter(CareState)
    state, rows, labelled = CareState(), 0, 0
    for name, first, second in steps:
        fact: Fact | None = None
        if name == "arrive":
            rows, labelled = rows + first, min(rows + first, labelled + second)
            fact = arrived(rows, labelled)
        elif name == "tick":
            fact = Ticked(now=1.0)
        elif name == "finish" and state.flight:
            work = state.flight[first % len(state.flight)]
            fact = result_of(work, promoted=bool(second))
        elif name != "finish":
            fact = call(name)
        if fact is None:
            continue
        before = state
        state, orders = react(SPEC, state, fact)
        begun = works(orders)
        assert all(work in state.flight for work in begun)
        assert len({work.id for work in state.flight}) == len(state.flight)
        assert sum(isinstance(w, (Judge, Refit, Publish)) for w in state.flight) <= 1
        assert sum(isinstance(w, Study) for w in state.flight) <= 1
        assert sum(isinstance(w, Measure) for w in state.flight) <= 1
        assert state.versions >= before.versions
        if before.is_paused and name in {"arrive", "tick"}:
            assert not begun
        if before.is_paused and name == "finish":
            # What is under way ends: a verdict is followed by its fits, and fits by a takeover.
            assert all(isinstance(work, Refit | Publish) for work in begun)
        assert adapter.validate_python(adapter.dump_python(state, mode="json")) == state


@pytest.mark.parametrize("action", ["retune", "pause", "resume"])
def test_calls_before_the_first_champion_do_no_harm(action: str) -> None:
    state, orders = react(SPEC, CareState(), call(action))
    assert not works(orders)
    assert "operator" in told(orders)
    assert state.reign is None


def abandoned(order: Work) -> Abandoned:
    return Abandoned(now=9.0, order=order.id, error="no", attempts=3)


def test_an_abandoned_refit_waits_for_more_labels() -> None:
    state, orders = react(SPEC, settled(), arrived(1021, 1021))
    (refit,) = works(orders)
    state, orders = react(SPEC, state, abandoned(refit))
    assert told(orders) == ["abandoned"]
    assert not works(orders)
    assert not state.is_taking_over
    _, orders = react(SPEC, state, arrived(1041, 1041))
    assert not works(orders)
    _, orders = react(SPEC, state, arrived(1042, 1042))
    assert isinstance(works(orders)[0], Refit)


def test_an_abandoned_first_judgement_is_made_again_with_more_labels() -> None:
    state, orders = react(SPEC, CareState(), arrived(500, 500))
    state, orders = react(SPEC, state, abandoned(works(orders)[0]))
    assert not works(orders)
    _, orders = react(SPEC, state, arrived(750, 750))
    assert isinstance(works(orders)[0], Judge)


def test_a_champion_that_serves_already_keeps_its_reign_when_only_numbers_are_news() -> None:
    state = known(3000)
    assert state.reign is not None
    found = Published(
        now=5.0,
        order="",
        version=state.reign.version,
        revision=state.reign.revision,
        epoch=7,
        versions=9,
        studies=8,
    )
    numbered, orders = react(SPEC, state, found)
    assert (numbered.reign, orders) == (state.reign, ())
    assert (numbered.versions, numbered.studies) == (9, 8)


def test_a_daemon_killed_between_registry_and_journal_still_begins_its_first_study() -> None:
    state, orders = react(SPEC, CareState(), arrived(1000, 1000))
    state, orders = react(SPEC, state, result_of(works(orders)[0]))
    state, orders = react(SPEC, state, result_of(works(orders)[0]))
    (publish,) = works(orders)
    assert isinstance(publish, Publish)
    found = replace(result_of(publish), order="")
    state, orders = react(SPEC, state, found)
    assert not works(orders)
    _, orders = react(SPEC, state, result_of(publish))
    assert isinstance(works(orders)[0], Study)


def brought() -> Brought:
    return Brought(
        now=3.0,
        who="ann",
        reason="bought",
        recipe=Recipe.of("imported", {"sha256": "ab"}),
        artifact="ab",
        schema_digest="cd",
        libraries=(("lightgbm", "4.7"),),
    )


def test_a_model_from_elsewhere_is_kept_as_a_version_and_told_of_once() -> None:
    before = settled()
    state, orders = react(SPEC, before, brought())
    (shelve,) = works(orders)
    assert isinstance(shelve, Shelve)
    assert (shelve.version.number, shelve.version.parent) == (2, 1)
    assert not shelve.version.verdict.is_promoted
    assert shelve.revision.artifacts == ("ab",)
    assert told(orders) == []
    state, orders = react(SPEC, state, result_of(shelve))
    assert told(orders) == ["imported"]
    assert state.reign == before.reign
    assert state.versions == 2
    assert react(SPEC, state, result_of(shelve)) == (state, ())


def test_a_model_can_come_before_there_is_a_champion_and_while_paused() -> None:
    state, orders = react(SPEC, CareState(is_paused=True), brought())
    (shelve,) = works(orders)
    assert isinstance(shelve, Shelve)
    assert (shelve.version.number, shelve.version.parent) == (1, 0)
    state, _ = react(SPEC, replace(state, is_paused=False), arrived(500, 500))
    state, orders = react(SPEC, state, result_of(state.flight[-1]))
    (refit,) = works(orders)
    assert isinstance(refit, Refit)
    assert refit.version.number == 2


def test_a_number_in_flight_is_taken() -> None:
    state, orders = react(SPEC, CareState(), arrived(500, 500))
    state, orders = react(SPEC, state, result_of(works(orders)[0]))
    (refit,) = works(orders)
    assert isinstance(refit, Refit)
    state, orders = react(SPEC, state, brought())
    (first,) = works(orders)
    _, orders = react(SPEC, state, brought())
    (second,) = works(orders)
    assert isinstance(first, Shelve)
    assert isinstance(second, Shelve)
    assert [w.version.number for w in (refit, first, second)] == [1, 2, 3]


def test_an_abandoned_import_leaves_no_trace_but_its_event() -> None:
    before = settled()
    state, orders = react(SPEC, before, brought())
    state, orders = react(SPEC, state, abandoned(works(orders)[0]))
    assert told(orders) == ["abandoned"]
    assert state == replace(before, orders=before.orders + 1)


def imported() -> CareState:
    """A model from elsewhere reigns."""
    state = settled()
    assert state.reign is not None
    version = replace(
        state.reign.version, members=(Member(recipe=Recipe.of("imported", {"sha256": "ab"})),)
    )
    revision = replace(
        state.reign.revision,
        artifacts=("ab",),
        standing=weights.begun(version.members, 0, is_single=False),
    )
    return replace(state, reign=replace(state.reign, version=version, revision=revision))


def test_an_imported_champion_stays_as_it_is_and_says_so_once() -> None:
    state, orders = react(SPEC, imported(), arrived(1100, 1100))
    assert not [work for work in works(orders) if isinstance(work, Refit)]
    assert state.last_decision is not None
    assert state.last_decision.reasons[-1] == "It was imported, and stays as it is."
    assert "decided" in told(orders)
    _, orders = react(SPEC, state, arrived(1101, 1101))
    assert "decided" not in told(orders)


def test_a_study_beside_an_imported_champion_does_not_search_from_it() -> None:
    _, orders = react(SPEC, imported(), call("retune"))
    (study,) = works(orders)
    assert isinstance(study, Study)
    assert study.champion == ()


def test_a_challenger_meets_an_imported_champion_as_it_is_and_takes_over_alone() -> None:
    state, orders = react(SPEC, imported(), call("retune"))
    state, orders = react(SPEC, state, result_of(works(orders)[0]))
    (judge,) = works(orders)
    assert isinstance(judge, Judge)
    assert judge.rival.is_foreign
    assert judge.rival_artifact == "ab"
    _, orders = react(SPEC, state, result_of(judge))
    (refit,) = works(orders)
    assert isinstance(refit, Refit)
    assert [member.recipe for member in refit.version.members] == [BETTER]


def test_an_imported_champion_whose_loss_rises_is_searched_for_at_the_second_check() -> None:
    def worse(state: CareState, rows: int) -> tuple[CareState, tuple[Order, ...]]:
        state, orders = react(SPEC, state, arrived(rows, rows))
        (measure,) = works(orders)
        state = replace(state, labelled=state.labelled + 1)
        return react(SPEC, state, Measured(now=2.0, order=measure.id, report=report(loss=True)))

    state, orders = worse(imported(), 2000)
    assert not works(orders)
    assert "was imported and is not refitted. A study follows" in reasons(orders)
    _, orders = worse(state, 3500)
    (study,) = works(orders)
    assert isinstance(study, Study)
    assert "It was imported and is not refitted." in reasons(orders)


def test_beside_an_imported_champion_growth_alone_calls_for_a_study() -> None:
    _, orders = react(SPEC, imported(), arrived(4000, 4000))
    assert any(isinstance(work, Study) for work in works(orders))
    assert "was imported and learns nothing from them" in reasons(orders)
