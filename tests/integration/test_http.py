"""The API as a client sees it: a real server on real rooms."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.integration.door import FEATURE, Door, world

from retuned.errors import Interrupted, TransientError
from retuned.registry.connect import connect

BIKES = "/v1/models/bikes"
NDJSON = "application/x-ndjson"


def problem(answer: httpx.Response, status: int, kind: str) -> dict[str, Any]:
    """The problem details of an answer that must be one."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = answer.json()
    assert (found["type"], found["status"]) == (f"/problems/{kind}", status)
    assert found["title"]
    assert found["detail"]
    return found


def row(number: int, value: float | None = 0.5) -> dict[str, Any]:
    return {"id": number, "when": 1_700_000_000 + number, FEATURE: value}


# HEAD


@pytest.mark.parametrize("path", ["/healthz", "/readyz", f"{BIKES}/champion", "/v1/models"])
def test_head_is_a_get_without_its_body(grown: Door, path: str) -> None:
    whole, head = grown.get(path), grown.client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    for name in ("content-type", "content-length", "etag"):
        assert head.headers.get(name) == whole.headers.get(name)


def test_head_tells_problems_and_posts_stay_posts(grown: Door) -> None:
    gone = grown.client.head("/v1/models/nobody")
    assert (gone.status_code, gone.content) == (404, b"")
    assert grown.client.head(f"{BIKES}/rows").status_code == 405


# Rows and labels


def test_rows_are_counted_as_accepted_repeated_and_revised(fresh: Door) -> None:
    first = fresh.post(f"{BIKES}/rows", [row(1), row(2), row(3)]).json()
    assert first == {
        "accepted": 3,
        "duplicates": 0,
        "revised": 0,
        "forgotten": 0,
        "last_seq": 3,
        "rejected": 0,
        "quarantined": 0,
        "reasons": [],
    }
    again = fresh.post(f"{BIKES}/rows", [row(2), row(3, 0.7), row(4)]).json()
    assert (again["accepted"], again["duplicates"], again["revised"]) == (1, 1, 1)
    assert fresh.get(BIKES).json()["rows"] == 4


def test_a_deleted_row_is_gone_for_good(fresh: Door) -> None:
    fresh.post(f"{BIKES}/rows", [row(1), row(2)])
    assert fresh.client.delete(f"{BIKES}/rows/1").json() == {"forgotten": "1"}
    assert fresh.get(BIKES).json()["rows"] == 1
    assert fresh.client.delete(f"{BIKES}/rows/1").status_code == 404
    assert fresh.post(f"{BIKES}/rows", [row(1)]).json()["forgotten"] == 1
    assert fresh.get(BIKES).json()["rows"] == 1


@pytest.mark.parametrize("body", [row(1), [row(1)], {"rows": [row(1)]}])
def test_rows_may_come_alone_in_an_array_or_by_name(fresh: Door, body: object) -> None:
    assert fresh.post(f"{BIKES}/rows", body).json()["accepted"] == 1


def test_rows_may_come_as_lines(fresh: Door) -> None:
    lines = b'{"id": 1, "when": 0, "x": 1}\n\n{"id": "b", "when": "2026-01-01", "x": null}\n'
    answer = fresh.send(f"{BIKES}/rows", lines, f"{NDJSON}; charset=utf-8")
    assert answer.json()["accepted"] == 2


def test_rows_that_are_refused_are_told_and_the_others_are_taken(fresh: Door) -> None:
    bad = {**row(2), "wheels": 2}
    fresh.post(f"{BIKES}/rows", [row(n) for n in range(1000, 1300)])
    answer = fresh.post(f"{BIKES}/rows", [row(1), bad, {"when": 1, FEATURE: 1.0}])
    assert answer.status_code == 200
    found = answer.json()
    assert (found["accepted"], found["rejected"]) == (1, 2)
    assert [(item["index"], item["id"]) for item in found["reasons"]] == [(1, "2"), (2, None)]
    assert "'wheels'" in found["reasons"][0]["reason"]


def test_a_request_of_which_nothing_can_be_taken_is_a_problem_with_the_reasons(
    fresh: Door,
) -> None:
    found = problem(fresh.post(f"{BIKES}/rows", [{"id": 1}, {"id": 2}]), 422, "all-rejected")
    assert found["rejected"] == 2
    assert [item["id"] for item in found["reasons"]] == ["1", "2"]
    assert "'when'" in found["detail"]
    problem(fresh.post(f"{BIKES}/rows", []), 422, "nothing-sent")


@pytest.mark.parametrize("path", ["rows", "labels"])
def test_a_body_that_cannot_be_read_is_told(fresh: Door, path: str) -> None:
    def sent(content: bytes, kind: str) -> httpx.Response:
        return fresh.send(f"{BIKES}/{path}", content, kind)

    found = problem(sent(b"{", "application/json"), 400, "bad-payload")
    assert "not valid JSON" in found["detail"]
    problem(sent(b"1", "application/json"), 400, "bad-payload")
    problem(sent(b"no", "application/vnd.apache.arrow.stream"), 400, "bad-payload")
    found = problem(sent(b"[1]", "application/json"), 422, "all-rejected")
    assert "not an object" in found["detail"]
    found = problem(sent(b"\n{", NDJSON), 422, "all-rejected")
    assert "line 2" in found["detail"]
    found = problem(sent(b"a,b", "text/html"), 415, "unsupported-content")
    assert "text/csv" in found["detail"]


def test_labels_are_counted_like_rows(fresh: Door) -> None:
    fresh.post(f"{BIKES}/rows", [row(1), row(2)])
    first = fresh.post(f"{BIKES}/labels", [{"id": 1, "label": 3.0}, {"id": 2, "y": 4}]).json()
    assert (first["accepted"], first["rejected"]) == (2, 0)
    again = fresh.post(f"{BIKES}/labels", [{"id": 1, "label": 3.0}, {"id": 2, "label": 5}]).json()
    assert (again["accepted"], again["duplicates"], again["revised"]) == (0, 1, 1)
    refused = problem(
        fresh.post(f"{BIKES}/labels", [{"id": 1, "label": "much"}]), 422, "all-rejected"
    )
    assert "'much'" in refused["detail"]
    assert fresh.get(BIKES).json()["labelled"] == 2


def test_the_keeper_looks_after_rows_and_after_labels(fresh: Door) -> None:
    rows, labels = world(0, 300)
    fresh.post(f"{BIKES}/rows", rows)
    fresh.house.settle()
    assert fresh.house.keeper.state.rows == 300
    assert fresh.get(BIKES).json()["running"] == []
    fresh.post(f"{BIKES}/labels", labels)
    fresh.house.settle()
    assert fresh.get(BIKES).json()["champion"] is not None


# Predictions and the champion


def test_before_there_is_a_champion_clients_are_told_what_is_missing(fresh: Door) -> None:
    for answer in (fresh.post(f"{BIKES}/predict", row(1)), fresh.get(f"{BIKES}/champion")):
        found = problem(answer, 503, "no-champion")
        assert "WATCH__MIN_ROWS" in found["detail"]
        assert int(answer.headers["retry-after"]) > 0


def test_the_champion_predicts_and_tells_its_version(grown: Door) -> None:
    found = grown.post(f"{BIKES}/predict", {"rows": [{FEATURE: 1.0}, {FEATURE: -1.0}]}).json()
    assert found["model"] == "bikes"
    assert found["version"] == grown.get(BIKES).json()["champion"]
    one, other = (answer["prediction"] for answer in found["predictions"])
    assert one == pytest.approx(3.0, abs=0.7)
    assert other == pytest.approx(-3.0, abs=0.7)


@pytest.mark.parametrize("body", [{FEATURE: 1.0}, [{FEATURE: 1.0}], {"rows": [{FEATURE: 1.0}]}])
def test_rows_to_predict_may_come_alone_in_an_array_or_by_name(grown: Door, body: object) -> None:
    (answer,) = grown.post(f"{BIKES}/predict", body).json()["predictions"]
    assert set(answer) == {"prediction"}


def test_a_whole_row_may_be_sent_and_its_id_comes_back(grown: Door) -> None:
    asked = [{**row(7), "y": 1.0, "side": "b"}, {"side": "never seen"}]
    first, second = grown.post(f"{BIKES}/predict", asked).json()["predictions"]
    assert first["id"] == 7
    assert "id" not in second
    assert math.isfinite(second["prediction"])


def test_rows_that_cannot_be_predicted_are_told(grown: Door) -> None:
    def asked(body: object) -> httpx.Response:
        return grown.post(f"{BIKES}/predict", body)

    found = problem(asked([{FEATURE: 1.0}, {"wheels": 2, FEATURE: 1.0}]), 422, "unknown-field")
    assert "row 1" in found["detail"]
    assert "'wheels'" in found["detail"]
    assert FEATURE in found["detail"]
    found = problem(asked([{FEATURE: "1.5"}]), 422, "bad-features")
    assert f"row 0, field '{FEATURE}'" in found["detail"]
    problem(asked([1]), 400, "bad-payload")
    problem(asked({"rows": 1}), 400, "bad-payload")
    problem(grown.send(f"{BIKES}/predict", b"", "application/json"), 400, "bad-payload")
    assert asked([]).json()["predictions"] == []


def test_a_client_that_knows_the_champion_is_not_sent_it_again(grown: Door) -> None:
    answer = grown.get(f"{BIKES}/champion")
    found, etag = answer.json(), answer.headers["etag"]
    assert found["name"] == f"{found['version']['number']}.{found['revision']['number']}"
    assert etag == f'"{found["name"]}-{found["epoch"]}"'
    assert {feature["name"] for feature in found["features"]} == {FEATURE, "side"}
    for known in (etag, f"W/{etag}", f'"1.9-7", {etag}', "*"):
        again = grown.get(f"{BIKES}/champion", if_none_match=known)
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == etag
    assert grown.get(f"{BIKES}/champion", if_none_match='"1.1-0"').status_code == 200


def test_while_the_registry_is_away_the_champion_answers_and_rows_are_taken(
    fresh: Door, tmp_path: Path
) -> None:
    rows, labels = world(0, 300)
    fresh.post(f"{BIKES}/rows", rows)
    fresh.post(f"{BIKES}/labels", labels)
    fresh.house.settle()
    pool = fresh.house.redis.connection_pool
    fresh.house.redis.connection_pool = connect(tmp_path / "nobody").connection_pool
    try:
        assert fresh.post(f"{BIKES}/predict", {FEATURE: 1.0}).status_code == 200
        assert fresh.get(f"{BIKES}/champion").status_code == 200
        assert fresh.get(BIKES).json()["champion"] is not None
        assert fresh.post(f"{BIKES}/rows", {**row(900), "side": "a"}).json()["accepted"] == 1
        for path in ("versions", "versions/1", "studies", "studies/s1"):
            answer = fresh.get(f"{BIKES}/{path}")
            problem(answer, 503, "try-again")
            assert int(answer.headers["retry-after"]) > 0
        events = fresh.get(f"{BIKES}/events").json()
        assert events["source"] == "journal"
        assert "promoted" in {event["kind"] for event in events["items"]}
        page = fresh.get("/models/bikes")
        assert page.status_code == 200
        assert "Redis cannot be reached" in page.text
    finally:
        fresh.house.redis.connection_pool = pool


# What is known of a model


def test_all_models_are_listed_with_what_is_known_in_a_line(grown: Door) -> None:
    (found,) = grown.get("/v1/models").json()["items"]
    assert (found["name"], found["task"]) == ("bikes", "regression")
    assert (found["rows"], found["labelled"]) == (1200, 1200)
    assert (found["is_paused"], found["troubles"], found["running"]) == (False, [], [])


def test_the_status_of_a_model_tells_the_last_decision_with_its_reasons(grown: Door) -> None:
    found = grown.get(BIKES).json()
    assert found["target"] == "y"
    assert found["last_seq"] == 2400
    assert found["studies"] >= 1
    assert found["last_decision"]["decision"] in {"nothing", "refresh", "retune"}
    assert found["last_decision"]["reasons"]
    assert found["features"] == [
        {"name": FEATURE, "kind": "number"},
        {"name": "side", "kind": "category"},
    ]


def test_versions_are_listed_and_each_tells_its_verdict_and_revisions(grown: Door) -> None:
    items = grown.get(f"{BIKES}/versions").json()["items"]
    assert [item["number"] for item in items] == list(range(1, len(items) + 1))
    found = grown.get(f"{BIKES}/versions/1").json()
    assert found["verdict"]["ruling"] == "promoted"
    assert found["revisions"][0]["number"] == 1
    problem(grown.get(f"{BIKES}/versions/99"), 404, "no-version")
    invalid = problem(grown.get(f"{BIKES}/versions/one"), 422, "invalid")
    assert invalid["errors"][0]["where"] == "path.number"


def test_checks_are_listed_newest_first_and_told_in_full(grown: Door) -> None:
    items = grown.get(f"{BIKES}/drift").json()["items"]
    assert [item["as_of"] for item in items] == sorted(
        (item["as_of"] for item in items), reverse=True
    )
    assert FEATURE in {alarm["subject"] for alarm in items[0]["alarms"]}
    found = grown.get(f"{BIKES}/drift/{items[0]['id']}").json()
    assert found["id"] == items[0]["id"]
    assert len(found["measurements"]) == items[0]["measurements"]
    assert len(grown.get(f"{BIKES}/drift?limit=1").json()["items"]) == 1
    problem(grown.get(f"{BIKES}/drift/none"), 404, "no-check")


def test_the_report_of_a_check_is_a_page_that_a_browser_keeps_apart(
    grown: Door, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    page.write_text("<h1>Drift</h1>")
    grown.pages["c1"] = page
    answer = grown.get(f"{BIKES}/drift/c1/report")
    assert answer.text == "<h1>Drift</h1>"
    assert answer.headers["content-type"].startswith("text/html")
    policy = answer.headers["content-security-policy"]
    # Without allow-same-origin, its scripts cannot ask this API for anything.
    assert policy.startswith("sandbox allow-scripts;")
    assert "allow-same-origin" not in policy
    problem(grown.get(f"{BIKES}/drift/none/report"), 404, "no-report")


def test_a_report_that_cannot_be_made_now_may_be_asked_for_again(grown: Door) -> None:
    try:
        grown.fault = TransientError("the disk is full", retry_after=7)
        answer = grown.get(f"{BIKES}/drift/c1/report")
        assert "disk is full" in problem(answer, 503, "try-again")["detail"]
        assert answer.headers["retry-after"] == "7"
        grown.fault = Interrupted("stop")
        problem(grown.get(f"{BIKES}/drift/c1/report"), 503, "stopping")
    finally:
        grown.fault = None


def test_studies_are_listed_newest_first_and_each_tells_its_trials(grown: Door) -> None:
    items = grown.get(f"{BIKES}/studies").json()["items"]
    assert [item["started_at"] for item in items] == sorted(
        (item["started_at"] for item in items), reverse=True
    )
    found = grown.get(f"{BIKES}/studies/{items[-1]['id']}").json()
    assert [trial["number"] for trial in found["trials"]] == list(range(4))
    assert {trial["origin"] for trial in found["trials"]} == {"default", "champion"}
    assert found["stopped"]
    problem(grown.get(f"{BIKES}/studies/none"), 404, "no-study")


def test_events_are_the_newest_ones_oldest_first(grown: Door) -> None:
    items = grown.get(f"{BIKES}/events").json()["items"]
    assert [item["at"] for item in items] == sorted(item["at"] for item in items)
    assert {"study", "verdict", "promoted", "drift", "decided"} <= {i["kind"] for i in items}
    assert grown.get(f"{BIKES}/events?limit=2").json()["items"] == items[-2:]


@pytest.mark.parametrize("limit", ["0", "10001", "many"])
def test_a_limit_out_of_range_is_told(grown: Door, limit: str) -> None:
    found = problem(grown.get(f"{BIKES}/events?limit={limit}"), 422, "invalid")
    assert found["errors"][0]["where"] == "query.limit"


# Operators


def test_a_version_is_pinned_and_unpinned_with_who_and_why(grown: Door) -> None:
    assert grown.get(f"{BIKES}/versions/1").json()["pin"] is None
    answer = grown.post(f"{BIKES}/versions/1/pin", {"who": "ada", "reason": "the audit"})
    assert answer.json() == {"model": "bikes", "pinned": [1]}
    pin = grown.get(f"{BIKES}/versions/1").json()["pin"]
    assert (pin["who"], pin["reason"]) == ("ada", "the audit")
    assert grown.get(f"{BIKES}/versions").json()["items"][0]["pin"] == pin
    assert grown.post(f"{BIKES}/versions/1/unpin").json()["pinned"] == []
    problem(grown.post(f"{BIKES}/versions/1/unpin"), 409, "not-pinned")
    problem(grown.post(f"{BIKES}/versions/9/pin"), 409, "not-pinned")
    problem(grown.post("/v1/models/nope/versions/1/pin"), 404, "no-model")
    told = [e for e in grown.get(f"{BIKES}/events").json()["items"] if "pin" in e["kind"]]
    assert [e["kind"] for e in told] == ["pinned", "unpinned"]
    assert told[0]["body"] == {"version": 1, "who": "ada", "reason": "the audit"}


def test_an_operator_pauses_and_resumes_and_the_history_says_who_and_why(fresh: Door) -> None:
    answer = fresh.post(f"{BIKES}/pause", {"who": "ada", "reason": "holidays"})
    assert answer.status_code == 202
    assert answer.json()["is_paused"] is True
    assert fresh.get(BIKES).json()["is_paused"] is True
    assert fresh.post(f"{BIKES}/resume").json()["is_paused"] is False
    fresh.house.forwarder.forward()
    first, second = fresh.get(f"{BIKES}/events").json()["items"]
    assert (first["kind"], first["body"]["who"]) == ("operator", "ada")
    assert (first["body"]["action"], first["body"]["reason"]) == ("pause", "holidays")
    assert second["body"]["action"] == "resume"


def test_an_operator_who_asks_for_a_study_is_told_what_follows(fresh: Door) -> None:
    rows, labels = world(0, 300)
    fresh.post(f"{BIKES}/rows", rows)
    fresh.post(f"{BIKES}/labels", labels)
    fresh.house.settle()
    before = fresh.get(BIKES).json()["studies"]
    answer = fresh.post(f"{BIKES}/retune", {"reason": "try"})
    assert answer.status_code == 202
    assert "study" in answer.json()["running"]
    assert answer.json()["reasons"]
    fresh.house.settle()
    assert fresh.get(BIKES).json()["studies"] == before + 1


def test_what_an_operator_must_not_send_is_told(grown: Door) -> None:
    found = problem(grown.post(f"{BIKES}/pause", {"whom": "ada"}), 422, "invalid")
    assert found["errors"][0]["where"] == "body.whom"
    answer = grown.send(f"{BIKES}/pause", b"{", "application/json")
    problem(answer, 422, "invalid")
    assert grown.get(BIKES).json()["is_paused"] is False


# Several models


def test_every_route_of_an_unknown_model_says_which_are_known(grown: Door) -> None:
    paths = grown.get("/openapi.json").json()["paths"]
    asked = 0
    for path, methods in paths.items():
        if "{model}" not in path:
            continue
        known = {"{model}": "nobody", "{number}": "1", "{check}": "c", "{study}": "s"}
        for name, value in known.items():
            path = path.replace(name, value)  # noqa: PLW2901 (filled in step by step)
        # Two of them ask for a reason before they ask for anything else.
        body = {"promote": {"version": 1, "reason": "x"}, "rollback": {"reason": "x"}}
        for method in methods:
            answer = grown.client.request(method, path, json=body.get(path.rsplit("/")[-1]))
            assert "known: bikes" in problem(answer, 404, "no-model")["detail"]
            asked += 1
    assert asked == 33


def test_a_model_whose_rows_cannot_be_read_costs_no_other_its_answers(fresh: Door) -> None:
    fresh.post(f"{BIKES}/rows", row(1))
    other = fresh.house.directory / "rows" / "other.sqlite"
    other.write_bytes(b"no database" * 1000)
    fresh.add_model("other")
    good, bad = fresh.get("/v1/models").json()["items"]
    assert (good["name"], good["rows"], good["troubles"]) == ("bikes", 1, [])
    assert (bad["name"], bad["rows"]) == ("other", 0)
    assert "damaged" in bad["troubles"][0]["error"]
    assert fresh.get("/").status_code == 200
    assert "damaged" in fresh.get("/models/other").text
    assert 'retuned_rows{kind="rows",model="bikes"} 1.0' in fresh.get("/metrics").text
