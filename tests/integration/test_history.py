"""The history as a user sees it: what was live when, and whether it verifies."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from tests.integration.door import Door, world
from tests.integration.test_http import BIKES, problem

from retuned.cli import FAILED, OK, main
from retuned.registry import keys
from retuned.registry.connect import connect


def events(door: Door, **query: object) -> dict[str, Any]:
    found: dict[str, Any] = door.client.get(f"{BIKES}/events", params=query).json()  # type: ignore[arg-type]
    return found


def retuned(door: Door, *arguments: str) -> int:
    return main(["events", "bikes", *arguments, "--url", door.url])


@pytest.fixture
def lived(fresh: Door) -> tuple[Door, list[tuple[float, str]]]:
    """A daemon with a history, and who was champion from when on."""
    reigns = []
    for first, last, shift in ((0, 600, 0.0), (600, 1200, 2.0)):
        rows, labels = world(first, last, shift=shift)
        fresh.post(f"{BIKES}/rows", rows)
        fresh.post(f"{BIKES}/labels", labels)
        fresh.house.settle()
        reigns.append((fresh.house.clock.now(), fresh.get(BIKES).json()["champion"]))
        fresh.house.clock.move_to(fresh.house.clock.now() + 100.0)
    while fresh.house.forwarder.forward():
        pass
    return fresh, reigns


def test_what_was_live_is_told_with_reasons_and_evidence(
    lived: tuple[Door, list[tuple[float, str]]], capsys: pytest.CaptureFixture[str]
) -> None:
    door, ((first, before), (second, after)) = lived
    found = events(door, at=first + 50)
    assert (found["champion"], found["since"], found["until"]) == (before, first, second)
    assert found["evidence"]["rows"] > 0
    assert (found["source"], found["is_whole"]) == ("registry", True)
    now = events(door, at=second)
    assert (now["champion"], now["until"]) == (after, None)
    assert now["why"]
    assert events(door, at=first - 1)["champion"] is None
    # The same in a terminal.
    assert retuned(door, "--at", str(first + 50)) == OK
    told = capsys.readouterr().out
    for word in ("live", before, "why", "evidence", "loss removed", "before it", "after it"):
        assert word in told
    assert retuned(door, "--at", str(second), "--json") == OK
    assert json.loads(capsys.readouterr().out)["champion"] == after
    assert retuned(door, "--at", "never") == FAILED
    assert "ISO 8601" in capsys.readouterr().err
    assert retuned(door, "--at", str(first - 1)) == OK
    assert "there was no champion yet" in capsys.readouterr().out


def test_a_moment_may_be_written_in_many_ways(grown: Door) -> None:
    at = grown.house.clock.now() + 0.5
    utc = datetime.fromtimestamp(at, UTC)
    there = utc.astimezone(timezone(timedelta(hours=5, minutes=30)))
    for text in (
        repr(at),
        utc.isoformat(),
        utc.isoformat().replace("+00:00", "Z"),
        utc.replace(tzinfo=None).isoformat(),
        there.isoformat(),
    ):
        assert events(grown, at=text)["at"] == pytest.approx(at, abs=1e-5), text


@pytest.mark.parametrize(
    "text",
    ["yesterday", "2026-13-01", "", "nan", "1e400", "1e13", "-1e300", "9999-12-31T23:59:59-12:00"],
)
def test_what_is_no_moment_is_told(grown: Door, text: str) -> None:
    found = problem(grown.client.get(f"{BIKES}/events", params={"at": text}), 422, "invalid")
    assert "ISO 8601" in found["detail"]


def test_a_history_that_verifies_is_told_so(
    grown: Door, capsys: pytest.CaptureFixture[str]
) -> None:
    chain = events(grown, verify=True)["chain"]
    assert (chain["of"], chain["findings"]) == ("registry", [])
    assert chain["events"] == chain["newest"] > 5
    assert retuned(grown, "--verify") == OK
    assert "all of them verify" in capsys.readouterr().out


def test_a_history_that_was_changed_is_told_and_mended(
    fresh: Door, capsys: pytest.CaptureFixture[str]
) -> None:
    house, stream = fresh.house, keys.events("bikes")
    for action in ("pause", "resume", "pause"):
        fresh.post(f"{BIKES}/{action}", {"who": "ada", "reason": "a test"})
    house.forwarder.forward()
    found: Any = house.redis.xrange(stream)
    house.redis.xdel(stream, found[1][0])
    assert retuned(fresh, "--verify") == FAILED
    assert "WRONG  event 2: not there" in capsys.readouterr().out
    house.auditing.look(is_audit=True)
    house.forwarder.forward()
    assert retuned(fresh, "--verify") == OK
    assert retuned(fresh) == OK
    told = capsys.readouterr().out
    assert "the history of bikes was changed in the registry: event 2: not there" in told
    assert told.count("asked to") == 3


def test_while_redis_is_away_the_journal_answers_and_says_so(
    fresh: Door, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, labels = world(0, 300)
    fresh.post(f"{BIKES}/rows", rows)
    fresh.post(f"{BIKES}/labels", labels)
    fresh.house.settle()
    fresh.house.forwarder.forward()
    before = fresh.get(BIKES).json()["champion"]
    pool = fresh.house.redis.connection_pool
    fresh.house.redis.connection_pool = connect(tmp_path / "nobody").connection_pool
    try:
        found = events(fresh, at=fresh.house.clock.now(), verify=True)
        assert (found["champion"], found["source"]) == (before, "journal")
        assert (found["chain"]["of"], found["chain"]["findings"]) == ("journal", [])
        assert retuned(fresh) == OK
        assert "told from the local journal" in capsys.readouterr().out
        assert retuned(fresh, "--verify") == OK
        assert "local journal's copy" in capsys.readouterr().out
    finally:
        fresh.house.redis.connection_pool = pool
