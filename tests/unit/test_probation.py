"""A new champion is compared with the one before it; an operator's word goes before both."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pydantic import TypeAdapter
from tests.unit.test_care_react import BETTER, SPEC, arrived, crowned, refitted, result_of, works

from retuned_pipelines.care import react
from retuned_pipelines.care.facts import Abandoned, Called, Fitted, Judged, Published
from retuned_pipelines.care.orders import (
    Judge,
    Notify,
    Order,
    Publish,
    Recall,
    Refit,
    Study,
    announcement,
)
from retuned_pipelines.care.probation import shared
from retuned_pipelines.care.state import AnyWork, CareState
from retuned_pipelines.evaluate.sequential import Pace
from retuned_pipelines.spec import GatePolicy, ModelSpec
from retuned_pipelines.version import Beside, Revision, Shadow, Version

PACE = Pace(rows=5, spread=1.0)
SHORT = replace(SPEC, gate=GatePolicy(probation_rows=200))


def promoting(*, pace: Pace | None = PACE) -> tuple[CareState, tuple[Order, ...]]:
    """Version 2 is about to take over from version 1."""
    state, study = crowned()
    state, orders = react(SHORT, state, result_of(study, best=BETTER))
    judge = one(orders, Judge)
    judged = result_of(judge)
    assert isinstance(judged, Judged)
    judged = replace(judged, verdict=replace(judged.verdict, pace=pace))
    state, orders = react(SHORT, state, judged)
    return react(SHORT, state, result_of(one(orders, Refit)))


def promoted(*, pace: Pace | None = PACE) -> CareState:
    """Version 2 has taken over from version 1."""
    state, orders = promoting(pace=pace)
    state, _ = react(SHORT, state, result_of(one(orders, Publish)))
    assert state.reign is not None
    assert state.reign.version.number == 2
    return state


def one(orders: tuple[Order, ...], kind: type[AnyWork]) -> AnyWork:
    (found,) = [order for order in orders if isinstance(order, kind)]
    return found


def event(orders: tuple[Order, ...], kind: str) -> Notify:
    (found,) = [o for o in orders if isinstance(o, Notify) and o.event == kind]
    return found


def shadow_of(state: CareState) -> Shadow:
    assert state.reign is not None
    assert state.reign.probation is not None
    return state.reign.probation.shadow


def reason_of(state: CareState) -> str:
    assert state.last_decision is not None
    return state.last_decision.reasons[0]


def refit_with(
    state: CareState, difference: float, rows: int, labelled: int
) -> tuple[CareState, tuple[Order, ...]]:
    """New labels come, on all of which the champion's loss is larger by so much."""
    state, orders = react(SHORT, state, arrived(labelled, labelled))
    refit = one(orders, Refit)
    fitted = result_of(refit)
    assert isinstance(fitted, Fitted)
    beside = Beside(differences=(difference,) * rows, until=refit.as_of, came=None)
    return react(SHORT, state, replace(fitted, beside=beside))


def test_the_champion_before_stays_in_shadow_with_the_artifacts_it_shares() -> None:
    state = promoted()
    assert state.reign is not None
    probation = state.reign.probation
    assert probation is not None
    shadow = probation.shadow
    assert (shadow.version.number, shadow.revision.name) == (1, "1.2")
    assert probation.pairs.level == pytest.approx(0.05)
    # Both were fitted on what was known when the new version took over.
    assert probation.compared == state.reign.revision.fitted_as_of == shadow.revision.fitted_as_of


def test_who_had_to_leave_is_fitted_for_the_shadow_alone_when_it_is_due() -> None:
    state = promoted()
    assert state.reign is not None
    assert state.reign.probation is not None
    others = shared(state.reign.probation.shadow, state.reign.version, None)
    left = set(range(len(state.reign.probation.shadow.version.members))) - set(others)
    assert len(left) == 1
    _, orders = react(SHORT, state, arrived(1300, 1300))
    refit = one(orders, Refit)
    assert set(refit.shadow_members) == left
    assert refit.shadow == state.reign.probation.shadow
    for mine, its in others.items():
        known = state.reign.probation.shadow.version.members[mine].recipe
        assert refit.version.members[its].recipe == known


def test_a_member_that_retired_from_the_champion_is_fitted_for_the_shadow_alone() -> None:
    state = promoted()
    assert state.reign is not None
    assert state.reign.probation is not None
    shadow, version = state.reign.probation.shadow, state.reign.version
    standing = state.reign.revision.standing
    everybody = shared(shadow, version, standing)
    position = everybody[0]
    gone = tuple(n == position for n in range(len(version.members)))
    assert 0 not in shared(shadow, version, replace(standing, gone=gone))


def test_a_worse_champion_is_replaced_by_the_one_before_it_as_refitted_last() -> None:
    state, orders = refit_with(promoted(), 1.0, 100, 1300)
    publish = one(orders, Publish)
    assert publish.version.number == 1
    assert publish.revision.name == "1.3"
    assert publish.expected == "2.1"
    assert publish.shadow is None
    assert publish.recall is not None
    assert publish.recall.is_rollback
    assert publish.recall.who == "retuned"
    assert publish.recall.evidence["is_worse"]
    before = state
    state, orders = react(SHORT, state, result_of(publish))
    told = event(orders, "rolled_back").body
    assert told["replaces"] == "2.1"
    assert "worse than 1 was" in told["reason"]
    assert told["evidence"]["rows"] == 100
    assert state.reign is not None
    assert state.reign.revision.name == "1.3"
    assert state.reign.probation is None
    # Its reign goes on: what it has spent of the gate's error is not given back.
    assert before.reign is not None
    assert before.reign.judged == 0
    assert state.reign.judged == 1


def test_a_champion_that_is_no_worse_stays_and_its_predecessor_is_let_go_at_last() -> None:
    state, labelled = promoted(), 1000
    for _ in range(3):
        labelled = int(labelled * 1.3)
        state, orders = refit_with(state, -0.1, 90, labelled)
        publish = one(orders, Publish)
        assert publish.version.number == 2
        state, more = react(SHORT, state, result_of(publish))
    told = event(orders, "confirmed").body
    assert (told["version"], told["predecessor"], told["rows"]) == (2, 1, 270)
    assert publish.shadow is None
    assert state.reign is not None
    assert state.reign.probation is None
    assert not [o for o in more if isinstance(o, Notify) and o.event == "rolled_back"]


def test_a_label_counts_once_though_a_refit_is_reported_for_it_twice() -> None:
    state = promoted()
    assert state.reign is not None
    assert state.reign.probation is not None
    old = Beside(differences=(1.0,) * 100, until=state.reign.probation.compared, came=None)
    state, orders = react(SHORT, state, arrived(1300, 1300))
    fitted = result_of(one(orders, Refit))
    assert isinstance(fitted, Fitted)
    state, orders = react(SHORT, state, replace(fitted, beside=old))
    assert one(orders, Publish).version.number == 2


@pytest.mark.parametrize(
    ("pace", "rows"), [(None, 10_000), (PACE, 0)], ids=["no pace is known", "switched off"]
)
def test_without_pace_or_where_nobody_wants_it_there_is_no_probation(
    pace: Pace | None, rows: int
) -> None:
    spec = replace(SPEC, gate=GatePolicy(probation_rows=rows))
    state, study = crowned()
    state, orders = react(spec, state, result_of(study, best=BETTER))
    judged = result_of(one(orders, Judge))
    assert isinstance(judged, Judged)
    judged = replace(judged, verdict=replace(judged.verdict, pace=pace))
    state, orders = react(spec, state, judged)
    refit = one(orders, Refit)
    assert refit.shadow is None
    state, orders = react(spec, state, result_of(refit))
    state, _ = react(spec, state, result_of(one(orders, Publish)))
    assert state.reign is not None
    assert state.reign.probation is None


def test_a_takeover_that_is_let_go_ends_the_probation() -> None:
    state, orders = refit_with(promoted(), -0.1, 10, 1300)
    publish = one(orders, Publish)
    state, _ = react(SHORT, state, Abandoned(now=3.0, order=publish.id, error="no", attempts=3))
    assert state.reign is not None
    assert state.reign.probation is None


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        (replace(SHORT, metric="neg_root_mean_squared_error"), "METRIC is neg_root_mean_squared"),
        (replace(SHORT, gate=GatePolicy(probation_rows=0)), "GATE__PROBATION_ROWS is 0 now"),
    ],
    ids=["METRIC", "GATE__PROBATION_ROWS"],
)
def test_a_probation_whose_model_file_changed_ends_without_a_finding(
    spec: ModelSpec, why: str
) -> None:
    state, orders = react(SHORT, promoted(), arrived(1300, 1300))
    fitted = result_of(one(orders, Refit))
    assert isinstance(fitted, Fitted)
    # In the new unit every difference is huge: it must not be bet on.
    beside = Beside(differences=(1e6,) * 100, until=1300, came=None)
    state, orders = react(spec, state, replace(fitted, beside=beside))
    publish = one(orders, Publish)
    assert (publish.version.number, publish.shadow) == (2, None)
    assert why in " ".join(event(orders, "decided").body["reasons"])
    assert state.reign is not None
    assert state.reign.probation is None
    assert not [o for o in orders if isinstance(o, Notify) and o.event == "confirmed"]


@pytest.mark.parametrize("what", ["takeover", "refit"])
def test_a_daemon_that_was_killed_while_it_published_keeps_the_probation(what: str) -> None:
    if what == "refit":
        state, orders = refit_with(promoted(), -0.1, 10, 1300)
    else:
        state, orders = promoting()
    publish = one(orders, Publish)
    expected, _ = react(SHORT, state, result_of(publish))
    found = Published(
        now=4.0, order="", version=publish.version, revision=publish.revision, epoch=7
    )
    state, _ = react(SHORT, state, found)
    state, _ = react(SHORT, state, result_of(publish))
    assert state == expected
    assert state.reign is not None
    assert state.reign.probation is not None


def test_numbers_that_another_daemon_gave_out_end_no_probation() -> None:
    state = promoted()
    reign = state.reign
    assert reign is not None
    found = Published(
        now=4.0,
        order="",
        version=reign.version,
        revision=reign.revision,
        epoch=7,
        versions=5,
        studies=4,
    )
    after, orders = react(SHORT, state, found)
    assert (after.reign, after.next_version, after.studies) == (reign, 6, 4)
    assert not orders


def test_a_probation_survives_a_restart() -> None:
    state, _ = refit_with(promoted(), 0.1, 33, 1300)
    adapter = TypeAdapter(CareState)
    assert adapter.validate_python(adapter.dump_python(state, mode="json")) == state


# An operator's word


def called(action: str, version: Version, revision: Revision) -> Called:
    assert action in {"promote", "rollback"}
    return Called(
        now=5.0,
        action="promote" if action == "promote" else "rollback",
        who="ann",
        reason="it sells less",
        version=version,
        revision=revision,
    )


@pytest.mark.parametrize(("action", "kind"), [("promote", "promoted"), ("rollback", "rolled_back")])
@pytest.mark.parametrize("is_paused", [False, True])
def test_an_operator_lets_a_known_version_take_over(
    action: str, kind: str, *, is_paused: bool
) -> None:
    state = replace(promoted(), is_paused=is_paused)
    back = shadow_of(state)
    state, orders = react(SHORT, state, called(action, back.version, back.revision))
    wish = event(orders, "operator").body
    assert wish == {"action": action, "who": "ann", "reason": "it sells less", "version": 1}
    publish = one(orders, Publish)
    assert (publish.revision, publish.expected) == (back.revision, "2.1")
    state, orders = react(SHORT, state, result_of(publish))
    told = event(orders, kind).body
    assert (told["who"], told["reason"], told["replaces"]) == ("ann", "it sells less", "2.1")
    assert "evidence" not in told
    assert state.reign is not None
    assert state.reign.version.number == 1
    assert state.reign.probation is None
    assert state.reign.judged == 1


def test_an_operator_goes_before_a_refit_and_a_challenger_that_waits() -> None:
    state = promoted()
    back = shadow_of(state)
    state, orders = react(SHORT, state, arrived(1300, 1300))
    refit = one(orders, Refit)
    state, orders = react(SHORT, state, called("rollback", back.version, back.revision))
    assert not [work for work in state.flight if isinstance(work, Refit)]
    after, more = react(SHORT, state, result_of(refit))
    assert after == state
    assert works(more) == []


def test_a_takeover_that_is_under_way_cannot_be_stopped() -> None:
    state, orders = refit_with(promoted(), -0.1, 10, 1300)
    back = shadow_of(state)
    after, orders = react(SHORT, state, called("rollback", back.version, back.revision))
    assert works(orders) == []
    assert "ask again" in reason_of(after)


def test_the_champion_is_not_promoted_again() -> None:
    state = promoted()
    reign = state.reign
    assert reign is not None
    after, orders = react(SHORT, state, called("promote", reign.version, reign.revision))
    assert works(orders) == []
    assert "already" in reason_of(after)


@pytest.mark.parametrize("which", ["shadow", "champion"])
def test_a_revision_that_was_refitted_since_somebody_looked_is_not_recalled(which: str) -> None:
    state = promoted()
    shadow = shadow_of(state)
    side = (shadow.version, shadow.revision)
    if which == "champion":
        assert state.reign is not None
        side = (state.reign.version, state.reign.revision)
    state, orders = refit_with(state, -0.1, 10, 1300)
    state, _ = react(SHORT, state, result_of(one(orders, Publish)))
    after, orders = react(SHORT, state, called("promote", *side))
    assert works(orders) == []
    assert "ask again" in reason_of(after)


def test_an_operators_takeover_that_fails_changes_nothing() -> None:
    state = promoted()
    known, back = state.reign, shadow_of(state)
    state, orders = react(SHORT, state, called("rollback", back.version, back.revision))
    publish = one(orders, Publish)
    state, _ = react(SHORT, state, Abandoned(now=3.0, order=publish.id, error="no", attempts=3))
    assert state.reign == known


def test_no_two_takeovers_have_the_same_name_though_orders_are_counted_anew() -> None:
    reign = promoted().reign
    assert reign is not None
    publish = Publish(
        id="o3", version=reign.version, revision=reign.revision, expected="", labelled=0
    )
    recall = Recall(who="ann", reason="better", is_rollback=False, at=77.0)
    keys = {announcement(publish).key, announcement(replace(publish, recall=recall)).key}
    assert len(keys) == 2


def test_an_operator_may_begin_with_a_version_where_nothing_serves() -> None:
    reign = promoted().reign
    assert reign is not None
    state, orders = react(SHORT, CareState(), called("promote", reign.version, reign.revision))
    publish = one(orders, Publish)
    assert publish.expected == ""
    state, _ = react(SHORT, state, result_of(publish))
    assert state.reign is not None
    assert state.reign.version.number == 2


def test_a_recalled_version_is_refitted_at_once_on_what_came_since() -> None:
    state, _ = react(SHORT, replace(promoted(), is_paused=True), arrived(2000, 2000))
    back = shadow_of(state)
    state, orders = react(
        SHORT, replace(state, is_paused=False), called("rollback", back.version, back.revision)
    )
    assert not [work for work in works(orders) if isinstance(work, Refit | Study)]
    state, orders = react(SHORT, state, result_of(one(orders, Publish)))
    refit = one(orders, Refit)
    assert refit.version.number == 1
    assert refit.serving == back.revision
    assert refit.shadow is None
    state, orders = react(SHORT, state, result_of(refit))
    assert one(orders, Publish).revision.number == back.revision.number + 1


def test_the_shadow_keeps_its_artifacts_where_nothing_new_is_fitted() -> None:
    state = promoted()
    shadow = shadow_of(state)
    assert shadow.revision.artifacts == refitted(shadow.version, "b").artifacts
