"""The quarantine as clients and operators see it: over HTTP and on the command line."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.integration.door import FEATURE, Door

from retuned.cli import OK, main
from retuned.http.health import _look

BIKES = "/v1/models/bikes"
HELD = f"{BIKES}/quarantine"


def row(number: int, value: object = 0.5) -> dict[str, Any]:
    return {"id": number, "when": 1_700_000_000 + number, FEATURE: value}


@pytest.fixture
def door(fresh: Door) -> Door:
    """A daemon that has taken one row and refused three, and a label."""
    fresh.post(f"{BIKES}/rows", row(1))
    body = [row(1), row(2, "two"), row(3, "three"), {**row(4), "wheels": [1]}]
    assert fresh.post(f"{BIKES}/rows", body).json()["rejected"] == 3
    assert fresh.post(f"{BIKES}/labels", [{"id": 1, "label": "much"}]).status_code == 422
    return fresh


def rows_held(door: Door) -> list[str]:
    return sorted(item["row"] for item in door.get(HELD).json()["items"])


def test_what_was_refused_is_told_with_reason_and_record(door: Door) -> None:
    found = door.get(HELD).json()
    assert (found["rows"], found["labels"], found["dropped"], found["next"]) == (3, 1, 0, None)
    assert [(r["cargo"], r["records"]) for r in found["reasons"]] == [
        ("rows", 2),
        ("labels", 1),
        ("rows", 1),
    ]
    label, wheels = found["items"][:2]
    assert (label["cargo"], label["record"]) == ("labels", {"id": 1, "label": "much"})
    assert wheels["record"] == {**row(4), "wheels": [1]}
    assert "'wheels'" in wheels["reason"]
    assert (wheels["source"], wheels["times"]) == ("http", 1)
    assert wheels["first_seen_at"] == wheels["last_seen_at"] == door.house.clock.now()


def test_it_is_read_in_pages(door: Door) -> None:
    first = door.get(f"{HELD}?limit=2&cargo=rows").json()
    assert [item["row"] for item in first["items"]] == ["4", "3"]
    rest = door.get(f"{HELD}?limit=2&cargo=rows&after={first['next']}").json()
    assert [item["row"] for item in rest["items"]] == ["2"]
    assert door.get(f"{HELD}?cargo=boats").status_code == 422
    assert door.get("/v1/models/nobody/quarantine").status_code == 404


def test_a_producer_that_repeats_itself_fills_nothing(door: Door) -> None:
    for _ in range(3):
        door.post(f"{BIKES}/rows", [row(1), row(2, "two")])
    found = door.get(f"{HELD}?cargo=rows").json()
    assert found["rows"] == 3
    assert {item["row"]: item["times"] for item in found["items"]} == {"4": 1, "3": 1, "2": 4}


def test_a_row_that_comes_right_by_itself_disappears(door: Door) -> None:
    door.post(f"{BIKES}/rows", [row(2), row(3, "three")])
    assert rows_held(door) == ["1", "3", "4"]
    door.post(f"{BIKES}/labels", [{"id": 1, "label": 3.0}])
    assert rows_held(door) == ["3", "4"]


def test_a_record_is_mended_and_taken(door: Door) -> None:
    (two,) = (item for item in door.get(HELD).json()["items"] if item["row"] == "2")
    wrong = {"ids": [two["id"]], "record": row(2, "zwei")}
    found = door.post(f"{HELD}/resend", wrong).json()
    assert (found["taken"], found["rejected"]) == (0, 1)
    assert "'zwei'" in found["reasons"][0]["reason"]
    right = {"ids": [two["id"]], "record": row(2, 2.0)}
    assert door.post(f"{HELD}/resend", right).json() == {"taken": 1, "rejected": 0, "reasons": []}
    assert rows_held(door) == ["1", "3", "4"]
    assert door.get(BIKES).json()["rows"] == 2
    assert door.post(f"{HELD}/resend", right).status_code == 404


def test_a_record_without_an_id_is_mended_by_its_number(fresh: Door) -> None:
    fresh.post(f"{BIKES}/rows", [row(1), {"when": 1, FEATURE: 1.0}])
    (item,) = fresh.get(HELD).json()["items"]
    assert item["row"] is None
    fresh.post(f"{HELD}/resend", {"ids": [item["id"]], "record": row(9)})
    assert fresh.get(HELD).json()["items"] == []


def test_everything_is_sent_again(door: Door) -> None:
    found = door.post(f"{HELD}/resend", {"all": True}).json()
    assert (found["taken"], found["rejected"]) == (0, 4)
    assert {item["times"] for item in door.get(HELD).json()["items"]} == {2}
    assert door.get(f"{HELD}?limit=1").json()["items"][0]["source"] == "quarantine"


@pytest.mark.parametrize(
    "body",
    [{}, {"all": True, "ids": [1]}, {"all": True, "record": {}}, {"ids": [1, 2], "record": {}}],
)
def test_what_to_send_again_must_be_clear(door: Door, body: dict[str, Any]) -> None:
    assert door.post(f"{HELD}/resend", body).status_code == 422


def test_records_are_let_go_by_number_or_all(door: Door) -> None:
    number = door.get(HELD).json()["items"][0]["id"]
    assert door.client.delete(f"{HELD}?id={number}&id=999").json() == {"removed": 1}
    assert door.client.delete(HELD).json() == {"removed": 3}
    assert door.get(HELD).json()["items"] == []


def test_the_status_the_page_and_the_figures_count_it(door: Door) -> None:
    assert door.get(BIKES).json()["quarantine"] == {"rows": 3, "labels": 1, "dropped": 0}
    assert door.get("/v1/models").json()["items"][0]["quarantined"] == 4
    assert "4 refused, in quarantine" in door.get("/models/bikes").text
    _look(door.desk)
    page = door.metrics.page().decode()
    assert 'retuned_quarantine{kind="rows",model="bikes"} 3.0' in page
    assert 'retuned_quarantine{kind="labels",model="bikes"} 1.0' in page


# The command line


def told(door: Door, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["quarantine", "bikes", *arguments, "--url", door.url]) == OK
    return capsys.readouterr().out


def test_the_command_line_shows_it(door: Door, capsys: pytest.CaptureFixture[str]) -> None:
    shown = told(door, capsys)
    assert shown.startswith("3 rows and 1 labels in quarantine.")
    assert "unknown field 'wheels'" in shown
    assert '{"id": 2, "when": 1700000002, "x<b>": "two"}' in shown
    assert json.loads(told(door, capsys, "--json", "--limit", "1"))["items"][0]["row"] == "1"
    assert main(["status", "bikes", "--url", door.url]) == OK
    assert "3 rows, 1 labels" in capsys.readouterr().out


def test_the_command_line_sends_again_and_clears(
    door: Door, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = told(door, capsys, "--resend")
    assert shown.startswith("bikes: 0 taken, 4 refused again.")
    assert "'wheels'" in shown
    assert told(door, capsys, "--clear") == "bikes: 4 let go.\n"
    assert told(door, capsys) == "0 rows and 0 labels in quarantine.\n"
