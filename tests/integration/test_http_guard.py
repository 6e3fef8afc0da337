"""What nobody gets past, and what pages show: hosts, origins, sizes, errors, the dashboard."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.integration.door import FEATURE, MAX_BODY, Door

BIKES = "/v1/models/bikes"


def kind(answer: httpx.Response) -> tuple[int, str]:
    """Status and kind of an answer that must be a problem."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    found: dict[str, Any] = answer.json()
    assert found["status"] == answer.status_code
    assert found["detail"]
    return answer.status_code, found["type"].removeprefix("/problems/")


# Host and origin


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8420", "127.0.0.1", "127.9.9.9:1", "[::1]:8420"]
)
def test_this_machine_may_be_asked_by_its_own_names(grown: Door, host: str) -> None:
    assert grown.get("/healthz", host=host).status_code == 200


def test_a_name_that_the_settings_list_may_be_asked_for(grown: Door) -> None:
    assert grown.get("/healthz", host="models.example:443").status_code == 200
    assert kind(grown.get("/healthz", host="other.example")) == (421, "wrong-host")


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8420", "10.0.0.1", "localhost.evil.example", "[", "[::"]
)
def test_a_page_cannot_reach_the_daemon_under_a_name_of_its_own(grown: Door, host: str) -> None:
    answer = grown.get(f"{BIKES}/champion", host=host)
    assert kind(answer) == (421, "wrong-host")
    assert "RETUNED_HTTP__HOSTS" in answer.json()["detail"]


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", "//["])
def test_a_page_from_elsewhere_may_not_post(grown: Door, origin: str) -> None:
    answer = grown.post(f"{BIKES}/pause", origin=origin)
    assert kind(answer) == (403, "wrong-origin")
    assert grown.get(BIKES).json()["is_paused"] is False


def test_a_page_from_here_may_post(grown: Door) -> None:
    answer = grown.post(f"{BIKES}/predict", [{FEATURE: 1.0}], origin=grown.url)
    assert answer.status_code == 200


# Sizes


def too_much() -> Iterator[bytes]:
    for _ in range(MAX_BODY // 100_000 + 1):
        yield b" " * 100_000


@pytest.mark.parametrize("path", ["rows", "labels", "predict", "pause"])
def test_a_body_that_is_too_large_is_refused_whether_it_tells_its_length_or_not(
    grown: Door, path: str
) -> None:
    for content in (b" " * (MAX_BODY + 1), too_much()):
        answer = grown.client.post(
            f"{BIKES}/{path}", content=content, headers={"content-type": "application/json"}
        )
        assert kind(answer) == (413, "too-large")
        assert "RETUNED_HTTP__MAX_BODY_MB" in answer.json()["detail"]


# Errors


def test_a_path_or_method_that_is_not_there_is_a_problem(grown: Door) -> None:
    assert kind(grown.get("/v2/nothing")) == (404, "not-found")
    answer = grown.post(f"{BIKES}/champion")
    assert kind(answer) == (405, "method-not-allowed")
    assert answer.headers["allow"] == "GET"


def test_an_unexpected_error_is_logged_and_tells_the_client_nothing(
    grown: Door, caplog: pytest.LogCaptureFixture
) -> None:
    try:
        grown.fault = RuntimeError("secret")
        answer = grown.get(f"{BIKES}/drift/c1/report")
    finally:
        grown.fault = None
    assert kind(answer) == (500, "internal")
    assert "secret" not in answer.text
    logged = [r for r in caplog.records if getattr(r, "action", "") == "request_failed"]
    assert len(logged) == 1
    assert logged[0].exc_info is not None
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_an_unexpected_error_costs_a_client_no_connection(grown: Door) -> None:
    with httpx.Client(base_url=grown.url, trust_env=False) as client:
        address = client.get("/healthz").extensions["network_stream"].get_extra_info("client_addr")
        try:
            grown.fault = RuntimeError("secret")
            assert client.get(f"{BIKES}/drift/c1/report").status_code == 500
        finally:
            grown.fault = None
        again = client.get("/healthz").extensions["network_stream"].get_extra_info("client_addr")
    assert again == address


def test_a_client_that_goes_away_in_the_middle_is_no_error(
    grown: Door, caplog: pytest.LogCaptureFixture
) -> None:
    request = (
        b"POST /v1/models/bikes/rows HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99\r\n\r\n["
    )
    with socket.create_connection(grown.address) as client:
        client.sendall(request)
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""  # the server has noticed
    assert grown.get("/healthz").status_code == 200
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.mark.parametrize("path", ["/", "/healthz", "/v1/models", "/nothing"])
def test_every_answer_tells_browsers_to_be_careful(grown: Door, path: str) -> None:
    for host in ("localhost", "evil.example"):
        headers = grown.get(path, host=host).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
        assert "server" not in headers


# Health


def test_the_daemon_lives_even_when_it_is_not_ready(grown: Door) -> None:
    assert grown.get("/readyz").json() == {
        "status": "ready",
        "models": 1,
        "holder": 1,
        "standby": 0,
        "stand_in": 0,
    }
    try:
        grown.is_ready = False
        answer = grown.get("/readyz")
        assert kind(answer) == (503, "not-ready")
        assert int(answer.headers["retry-after"]) > 0
        assert grown.get("/healthz").json() == {"status": "alive", "version": "1.2.3"}
        assert grown.post(f"{BIKES}/predict", {FEATURE: 1.0}).status_code == 200
        assert "retuned_registry_up 0.0" in grown.get("/metrics").text
    finally:
        grown.is_ready = True


def test_figures_tell_what_came_what_was_predicted_and_who_serves(grown: Door) -> None:
    grown.post(f"{BIKES}/predict", [{FEATURE: 1.0}, {FEATURE: 2.0}])
    answer = grown.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    samples = dict(
        line.rsplit(" ", 1) for line in answer.text.splitlines() if not line.startswith("#")
    )
    ingested = 'retuned_ingested_total{kind="rows",model="bikes",outcome="accepted"}'
    assert samples[ingested] == "1200.0"
    assert samples['retuned_rows{kind="labelled",model="bikes"}'] == "1200.0"
    assert float(samples['retuned_predictions_total{model="bikes"}']) >= 2
    assert float(samples['retuned_predict_seconds_count{model="bikes"}']) >= 1
    version, revision = grown.get(BIKES).json()["champion"].split(".")
    assert float(samples['retuned_champion_version{model="bikes"}']) == int(version)
    assert float(samples['retuned_champion_revision{model="bikes"}']) == int(revision)
    assert samples['retuned_orders_in_flight{model="bikes"}'] == "0.0"
    assert samples['retuned_troubles{model="bikes"}'] == "0.0"
    assert samples["retuned_registry_up"] == "1.0"


# Pages


def test_the_overview_lists_every_model(grown: Door) -> None:
    page = grown.get("/").text
    assert 'href="/models/bikes"' in page
    assert "1,200" in page
    assert grown.get(BIKES).json()["champion"] in page


def test_a_models_page_shows_what_was_measured_tried_and_decided(grown: Door) -> None:
    page = grown.get("/models/bikes").text
    for told in ("Loss as served", "Studies", "Checks", "Versions", "Events", "promoted"):
        assert told in page
    assert "<circle" in page
    assert "<polyline" in page
    check = grown.get(f"{BIKES}/drift").json()["items"][0]["id"]
    assert f'href="/v1/models/bikes/drift/{check}/report"' in page


def test_a_page_of_an_unknown_model_is_a_problem(grown: Door) -> None:
    assert kind(grown.get("/models/nobody")) == (404, "no-model")


def test_the_api_page_lists_every_route_and_problems_lead_to_it(grown: Door) -> None:
    page = grown.get("/docs").text
    for path, methods in grown.get("/openapi.json").json()["paths"].items():
        assert f"<code>{path}</code>" in page
        assert all(method["summary"] for method in methods.values())
    answer = grown.client.get("/problems/no-champion", follow_redirects=True)
    assert answer.url.path == "/docs"


@pytest.mark.parametrize("path", ["/", "/models/bikes", "/docs"])
def test_pages_run_no_script_and_load_nothing_from_elsewhere(grown: Door, path: str) -> None:
    answer = grown.get(path)
    assert answer.headers["content-type"].startswith("text/html")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "script-src" not in policy
    assert "<script" not in answer.text
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", answer.text)
    assert "prefers-color-scheme: dark" in answer.text


def test_what_clients_sent_is_shown_as_text(fresh: Door) -> None:
    evil = "<script>alert(1)</script>"
    assert fresh.post(f"{BIKES}/pause", {"who": evil, "reason": f'"{evil}'}).status_code == 202
    fresh.house.forwarder.forward()
    page = fresh.get("/models/bikes").text
    assert evil not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; asked to pause" in page
    assert "paused" in fresh.get("/").text


def test_names_of_features_are_shown_as_text(grown: Door) -> None:
    page = grown.get("/models/bikes").text
    assert FEATURE not in page
    assert "x&lt;b&gt;" in page
