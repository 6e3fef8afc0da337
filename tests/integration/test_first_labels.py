"""What the first labels decide, as a client of a daemon sees it."""

from __future__ import annotations

from dataclasses import replace

from tests.integration.door import Door

from retuned_pipelines.schema import Task

SOLD = "/v1/models/sold"


def binary(door: Door) -> Door:
    """The same daemon, with a model of two classes."""
    door.add_model("sold")
    keeper = door.keepers["sold"]
    keeper.respec(replace(keeper.spec, task=Task.BINARY, metric="neg_log_loss", time=""))
    return door


def test_a_third_class_and_another_type_are_refused_request_after_request(fresh: Door) -> None:
    door = binary(fresh)
    first = door.post(f"{SOLD}/labels", [{"id": 1, "label": 0}, {"id": 2, "label": 1}])
    assert first.json()["accepted"] == 2
    found = door.post(f"{SOLD}/labels", [{"id": 3, "label": 1}, {"id": 4, "label": 2}]).json()
    assert (found["accepted"], found["rejected"]) == (1, 1)
    assert "third class" in found["reasons"][0]["reason"]
    records = [{"id": 5, "x": 1.0, "y": True}, {"id": 6, "x": 2.0, "y": 0}]
    found = door.post(f"{SOLD}/rows", records).json()
    assert (found["accepted"], found["rejected"]) == (1, 1)
    assert "send all labels as one type" in found["reasons"][0]["reason"]


def test_labels_sent_to_the_wrong_place_can_be_sent_to_the_right_one(fresh: Door) -> None:
    door = binary(fresh)
    labels = [{"id": 1, "label": 1}]
    refused = door.post(f"{SOLD}/rows", labels)
    assert refused.status_code == 422
    assert "labels go to /labels" in refused.json()["detail"]
    assert door.post(f"{SOLD}/labels", labels).json()["accepted"] == 1
    assert door.post(f"{SOLD}/rows", {"id": 1, "x": 2.5}).json()["accepted"] == 1
    assert door.get(SOLD).json()["features"] == [{"name": "x", "kind": "number"}]
