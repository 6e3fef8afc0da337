"""What was live at a moment: told from the events, whatever else happened around it."""

from __future__ import annotations

from typing import Any

import pytest
from tests.takeovers import KEY, MODEL

from retuned.registry.history.archive import Archive
from retuned.registry.history.chain import BEGINNING, Checkpoint, link_of, linked
from retuned.registry.history.events import Event, EventKind
from retuned.registry.history.timeline import Live, live_at, name_of
from retuned.registry.journal import Journal
from retuned.runtime.clock import VirtualClock
from retuned.words.history import live_in_words

VERDICT = {
    "ruling": "promoted",
    "metric": "accuracy",
    "rival": "champion",
    "challenger_score": 0.9,
    "rival_score": 0.8,
    "gain": 0.5,
    "lower": 0.25,
    "upper": 0.75,
    "rows": 1200,
    "blocks": 12,
    "reasons": ["It removes half of the loss."],
}


def told(kind: str, at: float, **body: Any) -> Event:
    return Event(id=f"{kind} {at}", at=at, model=MODEL, kind=EventKind(kind), body=body)


def crowned(kind: str, at: float, which: str, **body: Any) -> Event:
    version, _, revision = which.partition(".")
    more = {"rows": 900} if kind == "revised" else {}
    return told(kind, at, version=int(version), revision=int(revision), **more, **body)


REIGNS = (
    told("verdict", 8.0, study="", verdict={**VERDICT, "reasons": ["The first."]}),
    crowned("promoted", 10.0, "1.1", study="", reasons=["The first."]),
    told("decided", 15.0, decision="refresh", reasons=["2 % more labels came."]),
    crowned("revised", 20.0, "1.2"),
    told("decided", 22.0, decision="retune", reasons=["The loss has risen."]),
    told("decided", 23.0, decision="nothing", reasons=["A study runs."]),
    told("verdict", 24.0, study="s1", verdict={**VERDICT, "ruling": "refused"}),
    told("verdict", 28.0, study="s2", verdict=VERDICT),
    crowned("promoted", 30.0, "2.1", study="s2", reasons=VERDICT["reasons"]),
    told("operator", 31.0, action="pause", who="bob", reason=""),
    crowned("restored", 35.0, "2.1", name="2.1"),
    crowned("revised", 40.0, "2.2"),
)


@pytest.fixture
def archive() -> Archive:
    archive = Journal(None, VirtualClock()).archive
    archive.add(REIGNS)
    return archive


def names(live: Live) -> tuple[str | None, ...]:
    """Before, live, after."""
    return tuple(
        None if event is None else name_of(event) for event in (live.before, live.made, live.after)
    )


@pytest.mark.parametrize(
    ("at", "found"),
    [
        (9.9, (None, None, "1.1")),
        (10.0, (None, "1.1", "1.2")),
        (19.9, (None, "1.1", "1.2")),
        (20.0, ("1.1", "1.2", "2.1")),
        (30.0, ("1.2", "2.1", "2.2")),
        (36.0, ("1.2", "2.1", "2.2")),
        (1e12, ("2.1", "2.2", None)),
    ],
)
def test_the_champion_of_each_moment_is_told(
    archive: Archive, at: float, found: tuple[str | None, ...]
) -> None:
    assert names(live_at(archive, MODEL, at)) == found


def test_a_promotion_tells_its_reasons_and_its_verdict(archive: Archive) -> None:
    found = live_at(archive, MODEL, 33.0).to_json()
    assert (found["champion"], found["since"], found["until"]) == ("2.1", 30.0, 40.0)
    assert found["why"] == ["The loss has risen.", "It removes half of the loss."]
    assert found["evidence"] == VERDICT
    assert (found["predecessor"], found["successor"]) == ("1.2", "2.2")


def test_a_refit_tells_why_and_what_its_version_was_accepted_on(archive: Archive) -> None:
    found = live_at(archive, MODEL, 21.0).to_json()
    assert found["why"] == ["2 % more labels came."]
    assert found["evidence"]["reasons"] == ["The first."]
    assert found["events"]["promotion"]["id"] == "promoted 10.0"
    later = live_at(archive, MODEL, 50.0).to_json()
    assert later["why"] == ["It was refitted on 900 rows as labels came."]
    assert later["evidence"] == VERDICT


def test_one_that_was_put_back_is_live_since_it_came(archive: Archive) -> None:
    assert live_at(archive, MODEL, 39.0).to_json()["since"] == 30.0


def test_another_one_that_was_put_back_is_live_since_then(archive: Archive) -> None:
    archive.add([crowned("restored", 45.0, "1.2", name="1.2")])
    found = live_at(archive, MODEL, 50.0).to_json()
    assert (found["champion"], found["since"]) == ("1.2", 45.0)
    assert "lost it" in found["why"][0]


@pytest.mark.parametrize("who", ["ann", "retuned"])
def test_a_rollback_tells_who_and_on_what(archive: Archive, who: str) -> None:
    evidence = {"effect": -0.1, "rows": 800}
    archive.add(
        [
            crowned("rolled_back", 50.0, "1.3", who=who, reason="It was worse.", evidence=evidence),
            crowned("revised", 55.0, "1.4"),
        ]
    )
    found = live_at(archive, MODEL, 51.0).to_json()
    assert found["why"] == [f"{who}: It was worse."]
    assert found["evidence"] == evidence
    assert live_at(archive, MODEL, 56.0).to_json()["evidence"] == evidence


def test_before_the_first_nobody_was_live_and_it_is_said(archive: Archive) -> None:
    found = {**live_at(archive, MODEL, 5.0).to_json(), "source": "registry"}
    assert (found["champion"], found["why"], found["evidence"]) == (None, [], None)
    assert dict(live_in_words(found))["live"] == "nobody: there was no champion yet"
    nothing = {**live_at(archive, "other", 5.0).to_json(), "source": "registry"}
    assert nothing["known_since"] is None
    assert dict(live_in_words(nothing))["live"].startswith("nobody")


def test_what_is_older_than_the_history_is_not_known(archive: Archive) -> None:
    entries = linked(MODEL, BEGINNING, [event.text for event in REIGNS], KEY)
    archive.keep(MODEL, entries)
    gone = link_of(entries[3])
    checkpoint = Checkpoint(model=MODEL, number=4, digest=gone.digest, at=60.0)
    archive.begin_after(MODEL, 4, checkpoint.sealed(KEY))
    found = {**live_at(archive, MODEL, 21.0).to_json(), "source": "journal"}
    assert (found["champion"], found["known_since"], found["is_whole"]) == (None, 22.0, False)
    words = dict(live_in_words(found))
    assert words["live"].startswith("not known: the history is kept since ")
    assert words["source"] == "the local journal: Redis does not answer"


def test_it_reads_well(archive: Archive) -> None:
    found = {**live_at(archive, MODEL, 33.0).to_json(), "source": "registry"}
    lines = [(name, text) for name, text in live_in_words(found) if "19" not in text]
    assert lines == [
        ("why", "The loss has risen."),
        ("why", "It removes half of the loss."),
        ("evidence", "promoted: It removes half of the loss."),
        ("evidence", "accuracy 0.9 against 0.8 of the champion"),
        ("evidence", "loss removed: +50.0% (+25.0% to +75.0%), on 1,200 rows in 12 blocks"),
        ("before it", "1.2"),
    ]
