"""From bytes to valid rows and labels: what is wrong is told, what is right is taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retuned.errors import PermanentError
from retuned.ingest.parse import (
    JSON,
    NDJSON,
    BadPayload,
    ParsedLabels,
    ParsedRows,
    UnsupportedContent,
    parse_labels,
    parse_rows,
)
from retuned_pipelines.schema import Feature, Kind, Schema, Task
from retuned_pipelines.spec import ModelSpec

SPEC = ModelSpec(name="demo", task=Task.REGRESSION, target="y", metric="r2")
TIMED = replace(SPEC, time="when")
CLASSES = replace(SPEC, task=Task.MULTICLASS)
PAIR = replace(SPEC, task=Task.BINARY)
SCHEMA = Schema((Feature("x", Kind.NUMBER), Feature("c", Kind.CATEGORY)))
NOW = 1_700_000_000_000_000


def rows(*records: Any, spec: ModelSpec = SPEC, schema: Schema | None = SCHEMA) -> ParsedRows:
    return parse_rows(orjson.dumps(records), JSON, spec, schema, NOW)


def labels(*given: Any, spec: ModelSpec = CLASSES, classes: Sequence[str] = ()) -> ParsedLabels:
    """Read labels of rows 0, 1, and so on."""
    body = orjson.dumps([{"id": str(n), "label": value} for n, value in enumerate(given)])
    return parse_labels(body, JSON, spec, classes=classes)


def reason(*records: Any, spec: ModelSpec = SPEC) -> str:
    """Why the last record is refused, and only that one."""
    parsed = rows(*records, spec=spec)
    (refused,) = parsed.rejected
    assert refused.index == len(records) - 1
    assert len(parsed.batch.ids) == len(records) - 1
    return refused.reason


def label_of(given: Any, spec: ModelSpec = CLASSES) -> Any:
    record = orjson.dumps([{"id": "a", "label": given}])
    parsed = parse_labels(record, JSON, spec)
    return parsed.batch.values[0].as_py() if parsed.batch else parsed.rejected[0].reason


@pytest.mark.parametrize(
    ("payload", "content_type"),
    [
        (b'[{"id": "a", "x": 1}, {"id": "b", "x": 2}]', JSON),
        (
            b'{"rows": [{"id": "a", "x": 1}, {"id": "b", "x": 2}]}',
            "application/json; charset=utf-8",
        ),
        (b'{"id": "a", "x": 1}\n\n{"id": "b", "x": 2}\n', NDJSON),
        (b'{"id": "a", "x": 1}\r\n{"id": "b", "x": 2}', "Application/X-NDJSON"),
    ],
)
def test_rows_come_in_several_forms(payload: bytes, content_type: str) -> None:
    parsed = parse_rows(payload, content_type, SPEC, None, NOW)
    assert parsed.batch.ids.to_pylist() == ["a", "b"]
    assert parsed.batch.features["x"].to_pylist() == [1.0, 2.0]
    assert parsed.batch.time.tolist() == [NOW, NOW]


def test_one_object_is_one_row() -> None:
    assert parse_rows(b'{"id": 7, "x": 1}', JSON, SPEC, None, NOW).batch.ids.to_pylist() == ["7"]


@pytest.mark.parametrize(
    ("payload", "content_type", "complaint"),
    [
        (b"", JSON, "not valid JSON"),
        (b"{", JSON, "not valid JSON"),
        (b"\xff\xfe", JSON, "not valid JSON"),
        (b'"text"', JSON, "expected an array of objects"),
        (b'{"rows": 3}', JSON, "expected an array of objects"),
        (b'[{"id": "a", "x": NaN}]', JSON, "not valid JSON"),
        (b'[{"id": "a", "x": 1e999}]', JSON, "not valid JSON"),
        (b"[" * 5000 + b"]" * 5000, JSON, "not valid JSON"),
    ],
)
def test_a_body_that_cannot_be_read_is_refused_as_a_whole(
    payload: bytes, content_type: str, complaint: str
) -> None:
    with pytest.raises(BadPayload) as caught:
        parse_rows(payload, content_type, SPEC, SCHEMA, NOW)
    assert complaint in str(caught.value)


def test_what_is_no_record_is_refused_and_the_others_are_taken() -> None:
    parsed = parse_rows(b'[{"id": "a", "x": 1}, 3]', JSON, SPEC, SCHEMA, NOW)
    assert parsed.batch.ids.to_pylist() == ["a"]
    (refused,) = parsed.rejected
    assert (refused.reason, refused.record) == ("item 1 is 3, not an object", "3")


@pytest.mark.parametrize("content_type", ["", "text/html", "application/octet-stream"])
def test_a_body_of_another_type_is_refused_with_what_is_read(content_type: str) -> None:
    with pytest.raises(UnsupportedContent, match=NDJSON):
        parse_rows(b"a,b", content_type, SPEC, SCHEMA, NOW)
    with pytest.raises(UnsupportedContent, match=JSON):
        parse_labels(b"a,b", content_type, SPEC)


@pytest.mark.parametrize(
    ("record", "complaint"),
    [
        ({"x": 1}, "field 'id' (the row's id) is None"),
        ({"id": "", "x": 1}, "text of 1 to 512 characters"),
        ({"id": "a" * 513}, "text of 1 to 512 characters"),
        ({"id": 1.5}, "field 'id' (the row's id) is 1.5"),
        ({"id": True}, "field 'id' (the row's id) is True"),
        ({"id": ["a"]}, "field 'id'"),
        ({"id": "b", "x": "1"}, "field 'x' is '1': expected a number or null"),
        ({"id": "b", "x": [1]}, "field 'x' is [1]: expected a number or null"),
        ({"id": "b", "x": 1e200}, "expected a number up to 1e+37"),
        ({"id": "b", "c": 3}, "field 'c' is 3: expected text or null"),
        ({"id": "b", "z": 1}, "unknown field 'z'"),
        ({"id": "b", "y": "high"}, "field 'y' is 'high': expected a number"),
    ],
)
def test_a_wrong_row_is_refused_with_its_reason_and_the_others_are_taken(
    record: dict[str, Any], complaint: str
) -> None:
    assert complaint in reason({"id": "a", "x": 1.0, "c": "red"}, record)


@pytest.mark.parametrize("when", [None, "yesterday", True, [1], 1e30, -1e30, "2024-13-01"])
def test_a_time_that_is_none_is_refused(when: Any) -> None:
    found = reason({"id": "b", "x": 1.0, "when": when}, spec=TIMED)
    assert "expected ISO 8601 text, or seconds since the epoch" in found


@pytest.mark.parametrize(
    ("when", "seconds"),
    [
        (0, 0),
        (1.5, 1.5),
        (-3, -3),
        ("1970-01-02", 86_400),
        ("1970-01-01T00:00:10", 10),
        ("1970-01-01T00:00:10Z", 10),
        ("1970-01-01T02:00:00.25+02:00", 0.25),
        ("9999-12-31T23:59:59Z", 253_402_300_799),
        ("0001-01-01T00:00:00Z", -62_135_596_800),
    ],
)
def test_a_time_is_text_or_seconds(when: str | float, seconds: float) -> None:
    parsed = rows({"id": "a", "when": when}, spec=TIMED)
    assert parsed.batch.time.tolist() == [round(seconds * 1e6)]


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_time_is_kept_to_the_microsecond(when: datetime) -> None:
    parsed = rows({"id": "a", "when": when.isoformat()}, spec=TIMED)
    expected = (when - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1e6
    # Seconds as a float have 15 digits: years far away are kept less exactly.
    assert abs(int(parsed.batch.time[0]) - expected) <= max(1.0, abs(expected) * 1e-15)


@pytest.mark.parametrize(
    ("records", "kinds"),
    [
        ([{"x": 1}, {"x": 2.5}], {"x": Kind.NUMBER}),
        ([{"x": True}, {"x": None}], {"x": Kind.BOOLEAN}),
        ([{"x": True}, {"x": 2}], {"x": Kind.NUMBER}),
        ([{"x": 1}, {"x": 2}], {"x": Kind.NUMBER}),
        ([{"x": "2026-01-31"}, {"x": "2026-01-31T10:00:00Z"}], {"x": Kind.TIMESTAMP}),
        ([{"x": "2026-01-31"}, {"x": "soon"}], {"x": Kind.CATEGORY}),
        ([{"x": "20260131"}], {"x": Kind.CATEGORY}),
        ([{"x": None}, {"c": "a"}], {"c": Kind.CATEGORY}),
        ([{"x": None}, {"x": "a"}], {"x": Kind.CATEGORY}),
        ([{"x": "a"}, {"x": 1}], {"x": Kind.CATEGORY}),
        ([*([{"x": 1}] * 9), {"x": "n/a"}], {"x": Kind.NUMBER}),
        ([*([{"x": 1}] * 8), {"x": "n/a"}], {"x": Kind.CATEGORY}),
        ([{"x": True}, {"x": [1]}], {"x": Kind.BOOLEAN}),
    ],
)
def test_a_schema_is_inferred_from_the_first_rows(
    records: list[dict[str, Any]], kinds: dict[str, Kind]
) -> None:
    parsed = rows(*({"id": f"r{n}", **record} for n, record in enumerate(records)), schema=None)
    assert {feature.name: feature.kind for feature in parsed.schema.features} == kinds


def test_id_time_and_target_are_no_features() -> None:
    parsed = rows({"id": "a", "when": 1, "y": 2.0, "x": 3}, spec=TIMED, schema=None)
    assert parsed.schema.names == ("x",)
    assert parsed.batch.labels.to_pylist() == [2.0]


def test_what_is_no_value_at_all_is_no_feature_but_refused() -> None:
    parsed = rows({"id": "a", "x": 1, "odd": [1, 2]}, schema=None)
    assert parsed.schema.names == ("x",)
    assert "unknown field 'odd'" in parsed.rejected[0].reason


@pytest.mark.parametrize("name", ["__id", "__time", "__origin", "__target"])
def test_names_that_the_log_uses_itself_are_no_features(name: str) -> None:
    parsed = rows({"id": "a", "x": 1, name: "b"}, {"id": "b", "x": 2}, schema=None)
    assert parsed.schema.names == ("x",)
    assert "are retuned's own" in parsed.rejected[0].reason


def test_rows_without_any_feature_do_not_fix_the_schema() -> None:
    parsed = rows({"id": "a", "y": 1.0}, schema=None)
    assert "has no feature" in parsed.rejected[0].reason
    assert not parsed.batch.ids


def test_labels_sent_as_rows_do_not_become_the_only_feature() -> None:
    parsed = rows({"id": "a", "label": 1}, {"id": "b", "label": 0}, schema=None)
    assert parsed.schema.names == ()
    assert [refused.reason for refused in parsed.rejected] == [
        "has no feature: expected fields beside id, time and label; labels go to /labels"
    ] * 2
    assert "labels go to /labels" in rows({"id": "a", "label": 1}).rejected[0].reason


@pytest.mark.parametrize(
    ("key", "spec"),
    [
        ("TARGET", replace(SPEC, target="x")),
        ("TIME", replace(SPEC, time="x")),
        ("ID", replace(SPEC, id="x")),
    ],
)
def test_a_model_file_cannot_claim_a_feature_for_something_else(key: str, spec: ModelSpec) -> None:
    parsed = rows({"id": "a", "x": "b", "c": "red"}, spec=spec)
    assert f"{key}=x in demo.env names a feature" in parsed.rejected[0].reason
    assert not parsed.batch.ids


def test_what_a_row_does_not_have_is_missing() -> None:
    parsed = rows({"id": "a"}, {"id": "b", "x": None, "c": None})
    assert parsed.batch.features.to_pylist() == [{"x": None, "c": None}] * 2


def test_labels_that_come_along_belong_to_their_rows() -> None:
    parsed = rows({"id": "a"}, {"id": "", "y": 1.0}, {"id": "b", "y": 2.0}, {"id": "c", "y": None})
    assert parsed.batch.ids.to_pylist() == ["a", "b", "c"]
    assert parsed.batch.labels.to_pylist() == [None, 2.0, None]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("spam", '"spam"'),
        ("", '""'),
        (1, "1"),
        (1.0, "1"),
        (-3, "-3"),
        (True, "true"),
        ("1", '"1"'),
        ("schön", '"schön"'),
    ],
)
def test_a_class_is_kept_as_the_json_text_of_what_was_sent(given: Any, kept: str) -> None:
    assert label_of(given) == kept


@pytest.mark.parametrize("given", [1.5, [1], {"a": 1}, 1e20, 1e30, 2**63, -(2**63), 2**70])
def test_what_is_no_class_is_refused(given: Any) -> None:
    body = repr(given) if isinstance(given, int) else orjson.dumps(given).decode()
    parsed = parse_labels(f'[{{"id": "a", "label": {body}}}]'.encode(), JSON, CLASSES)
    assert "is no class" in parsed.rejected[0].reason
    assert not parsed.batch.ids


def test_a_binary_task_has_the_two_classes_that_came_first() -> None:
    parsed = labels(0, 1, 2, 1, spec=PAIR)
    assert parsed.batch.values.to_pylist() == ["0", "1", "1"]
    (refused,) = parsed.rejected
    assert "label 2 is a third class: TASK=binary has two, here 0 and 1" in refused.reason
    assert not labels(1, 0, spec=PAIR, classes=["0", "1"]).rejected
    assert len(labels(2, 3, spec=PAIR, classes=["0", "1"]).rejected) == 2
    assert len(labels(2, 3, spec=PAIR, classes=["0"]).rejected) == 1
    assert not labels(0, 1, 2, 3).rejected


@pytest.mark.parametrize("spec", [CLASSES, PAIR])
@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ([1, "1"], 'label "1" is text, but the first label of this model, 1, was a number'),
        ([1, True], "label true is true or false, but"),
        ([True, 0], "label 0 is a number, but the first label of this model, true, was"),
        (["yes", False], 'the first label of this model, "yes", was text'),
        (["true", True], "send all labels as one type"),
    ],
)
def test_a_label_of_another_type_than_the_first_is_refused(
    given: Sequence[Any], complaint: str, spec: ModelSpec
) -> None:
    (refused,) = labels(*given, spec=spec).rejected
    assert complaint in refused.reason
    first = orjson.dumps(given[0]).decode()
    (refused,) = labels(given[1], spec=spec, classes=[first]).rejected
    assert complaint in refused.reason


def test_labels_that_come_with_their_rows_follow_the_same_rules() -> None:
    records = [{"id": str(n), "x": 1.0, "y": value} for n, value in enumerate([0, 2, "0"])]
    parsed = parse_rows(orjson.dumps(records), JSON, PAIR, SCHEMA, NOW, classes=["0", "1"])
    assert parsed.batch.labels.to_pylist() == ["0"]
    assert ["third class" in refused.reason for refused in parsed.rejected] == [True, False]


def test_a_row_that_is_refused_decides_nothing_about_labels() -> None:
    parsed = rows({"id": "", "y": "no"}, {"id": "a", "x": 1, "y": 1}, spec=CLASSES)
    assert parsed.batch.labels.to_pylist() == ["1"]


@pytest.mark.parametrize(("given", "kept"), [(1, 1.0), (2.5, 2.5), (True, 1.0)])
def test_a_number_to_be_predicted_is_kept_as_one(given: Any, kept: float) -> None:
    assert label_of(given, SPEC) == kept


def test_labels_come_under_label_or_under_the_target_s_name() -> None:
    body = orjson.dumps({"labels": [{"id": "a", "label": 1}, {"id": 2, "y": 0, "more": "x"}]})
    parsed = parse_labels(body, JSON, SPEC)
    assert parsed.batch.ids.to_pylist() == ["a", "2"]
    assert parsed.batch.values.to_pylist() == [1.0, 0.0]


@pytest.mark.parametrize(
    ("record", "complaint"),
    [
        ({"id": "a"}, "has no label: expected field 'label' or 'y'"),
        ({"id": "a", "label": None}, "has no label"),
        ({"label": 1}, "field 'id'"),
        ({"id": "a", "label": "x"}, "expected a number"),
        ({"id": "a", "label": 1e200}, "expected a number up to 1e+37"),
    ],
)
def test_a_wrong_label_is_refused_with_its_reason(record: dict[str, Any], complaint: str) -> None:
    body = orjson.dumps([record, {"id": "good", "label": 1}])
    parsed = parse_labels(body, JSON, SPEC)
    assert complaint in parsed.rejected[0].reason
    assert parsed.batch.ids.to_pylist() == ["good"]


ANYTHING = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**64 - 1),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=4),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)
FIELDS = st.one_of(st.sampled_from(["id", "when", "x", "c", "y", "label", "rows"]), st.text())


@given(
    st.one_of(ANYTHING, st.lists(st.dictionaries(FIELDS, ANYTHING, max_size=5), max_size=5)),
    st.sampled_from([SPEC, TIMED, CLASSES]),
    st.sampled_from([None, SCHEMA]),
)
def test_whatever_json_comes_each_record_is_taken_or_refused(
    value: Any, spec: ModelSpec, schema: Schema | None
) -> None:
    body = orjson.dumps(value)
    try:
        parsed = parse_rows(body, JSON, spec, schema, NOW)
        labels = parse_labels(body, JSON, spec)
    except PermanentError:
        return
    taken = len(parsed.batch.ids)
    assert parsed.batch.features.num_rows == len(parsed.batch.time) == taken
    assert len(parsed.batch.labels) == taken
    assert all(refused.reason for refused in (*parsed.rejected, *labels.rejected))
    if isinstance(value, list):
        assert taken + len(parsed.rejected) == len(value)
        assert len(labels.batch.ids) + len(labels.rejected) == len(value)


@given(st.binary(max_size=60), st.sampled_from([JSON, NDJSON]))
def test_whatever_bytes_come_nothing_else_is_raised(body: bytes, content_type: str) -> None:
    try:
        parse_rows(body, content_type, SPEC, None, NOW)
    except PermanentError:
        return
