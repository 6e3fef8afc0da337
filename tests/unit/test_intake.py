"""The way in: what is decided about each kind of oddity, piece by piece."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest

from retuned.ingest.body import Room, TooLarge
from retuned.ingest.intake import Cargo, Intake, Parcel, Taken
from retuned.ingest.media import ARROW_STREAM, CSV, JSON, NDJSON, BadPayload
from retuned.rows.house import RowLogs
from retuned.rows.log import RowLog
from retuned.rows.quarantine import Refusals
from retuned.runtime.clock import VirtualClock
from retuned.runtime.metrics import Metrics
from retuned_pipelines.care.orders import Notify
from retuned_pipelines.schema import Feature, Kind, Task
from retuned_pipelines.spec import (
    ModelSpec,
    Reaction,
    RowsPolicy,
    SchemaPolicy,
    WatchPolicy,
)

NOW = 1_800_000_000
SPEC = ModelSpec(
    name="demo",
    task=Task.REGRESSION,
    target="y",
    metric="r2",
    time="t",
    features=(Feature("n", Kind.NUMBER), Feature("i", Kind.INTEGER), Feature("c", Kind.CATEGORY)),
)
INFERRED = replace(SPEC, features=(), watch=WatchPolicy(min_rows=50))
FULL = {"n": 1.5, "i": 2, "c": "red"}


@dataclass
class House:
    """An intake of one model on real files."""

    directory: Path
    spec: ModelSpec = SPEC
    told: list[dict[str, Any]] = field(default_factory=list)
    noticed: int = 0

    def __post_init__(self) -> None:
        self.rows = RowLogs(self.directory / "rows")
        self.metrics = Metrics()
        self.intake = Intake(
            rows=self.rows,
            spec_of=lambda _: self.spec,
            notice=self._notice,
            metrics=self.metrics,
            clock=VirtualClock(float(NOW)),
            room=Room(whole=2_000_000, upload=500_000_000, folder=self.directory / "uploads"),
            tell=self._tell,
        )

    @property
    def log(self) -> RowLog:
        return self.rows.of("demo", self.spec.task)

    def send(self, *records: Any, strict: bool = False) -> Taken:
        return self.intake.take(
            "demo",
            Parcel(
                cargo=Cargo.ROWS,
                payload=orjson.dumps(records),
                content_type=JSON,
                is_strict=strict,
            ),
        )

    def put(self, payload: bytes | Path, kind: str, cargo: Cargo = Cargo.ROWS) -> Taken:
        return self.intake.take("demo", Parcel(cargo=cargo, payload=payload, content_type=kind))

    def kinds(self) -> dict[str, Kind]:
        schema = self.log.schema
        return {} if schema is None else schema.kinds

    def column(self, name: str) -> list[Any]:
        return list(self.log.window().features[name].to_pylist())

    def _notice(self, _model: str) -> None:
        self.noticed += 1

    def _tell(self, _model: str, notice: Notify) -> None:
        assert notice.event == "schema"
        self.told.append(dict(notice.body))


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., House]]:
    houses: list[House] = []

    def made(spec: ModelSpec = SPEC, **schema: str) -> House:
        policy = SchemaPolicy(**{key: Reaction(value) for key, value in schema.items()})
        houses.append(House(tmp_path, replace(spec, schema=policy)))
        return houses[-1]

    yield made
    for house in houses:
        house.rows.close()


def row(name: str, **fields: Any) -> dict[str, Any]:
    return {"id": name, "t": NOW, **FULL, **fields}


def outcome(taken: Taken) -> tuple[int, int]:
    return 0 if taken.receipt is None else taken.receipt.accepted, taken.refused


def stays(house: House, record: dict[str, Any], complaint: str) -> None:
    """That record alone is refused, and kept as it came."""
    assert outcome(house.send(row("good"), record)) == (1, 1)
    (kept,) = house.log.quarantine.page(limit=9)
    assert complaint in kept.reason
    assert orjson.loads(kept.record) == record


# Declared features


def test_declared_features_are_there_before_any_value(make: Callable[..., House]) -> None:
    house = make()
    assert outcome(house.send({"id": "a", "t": NOW, "n": 1})) == (1, 0)
    assert house.kinds() == {"n": Kind.NUMBER, "i": Kind.INTEGER, "c": Kind.CATEGORY}
    assert house.column("c") == [None]


def test_a_declaration_that_grows_is_followed(make: Callable[..., House]) -> None:
    house = make()
    house.send(row("a"))
    wider = (Feature("i", Kind.NUMBER), Feature("m", Kind.TIMESTAMP))
    house.spec = replace(SPEC, features=wider)
    assert outcome(house.send(row("b", i=2.5, m="2026-01-31"))) == (1, 0)
    assert house.kinds()["i"] is Kind.NUMBER
    assert house.column("i") == [2.0, 2.5]
    assert [value and value.isoformat() for value in house.column("m")] == [
        None,
        "2026-01-31T00:00:00+00:00",
    ]


def test_a_declaration_that_contradicts_the_rows_is_refused(make: Callable[..., House]) -> None:
    house = make()
    house.send(row("a"))
    house.spec = replace(SPEC, features=(Feature("c", Kind.NUMBER),))
    house.send(row("b"))
    house.spec = replace(SPEC, features=(Feature("n", Kind.TIMESTAMP),))
    taken = house.send(row("c"))
    assert "FEATURES in demo.env says n:timestamp" in taken.rejected[0].reason


# Inferred features


def test_in_the_first_window_features_may_still_appear(make: Callable[..., House]) -> None:
    house = make(INFERRED)
    house.send(row("a", n=None, new=None), {"id": "b", "t": NOW, "i": 1})
    assert house.kinds() == {"i": Kind.NUMBER, "c": Kind.CATEGORY}
    house.send(row("c"))
    assert house.kinds() == {"i": Kind.NUMBER, "c": Kind.CATEGORY, "n": Kind.NUMBER}
    assert house.column("n") == [None, None, 1.5]
    assert house.told == []
    house.send(*(row(f"r{n}") for n in range(50)))
    refused = house.send(row("d", late=1)).rejected
    assert "unknown field 'late'" in refused[0].reason
    assert [told["change"] for told in house.told] == ["appeared"]


# Columns that appear


def test_an_unknown_column_is_refused(make: Callable[..., House]) -> None:
    house = make()
    stays(house, row("b", wind=3), "unknown field 'wind'")
    house.send(row("c", wind=4))
    assert house.told == [
        {"change": "appeared", "column": "wind", "policy": "refuse", "was": None, "found": "number"}
    ]


def test_an_unknown_column_is_ignored(make: Callable[..., House]) -> None:
    house = make(appeared="ignore")
    assert outcome(house.send(row("a"), row("b", wind=3), row("c", odd=[1]))) == (3, 0)
    assert "wind" not in house.kinds()
    assert [(told["column"], told["policy"]) for told in house.told] == [("wind", "ignore")]


def test_an_unknown_column_is_adopted_and_older_rows_lack_it(make: Callable[..., House]) -> None:
    house = make(appeared="adopt")
    house.send(row("a"), row("b"))
    assert outcome(house.send(row("c", wind=3), row("d"))) == (2, 0)
    assert house.column("wind") == [None, None, 3.0, None]
    assert [(told["column"], told["found"]) for told in house.told] == [("wind", "number")]
    again = house.send(row("a"))
    assert again.receipt is not None
    assert again.receipt.duplicates == 1
    reopened = RowLog(house.directory / "rows" / "demo.sqlite", Task.REGRESSION)
    assert reopened.window().features["wind"].to_pylist() == [None, None, 3.0, None]
    reopened.close()


def test_labels_and_names_of_our_own_are_never_adopted(make: Callable[..., House]) -> None:
    house = make(appeared="adopt")
    stays(house, row("b", label=3), "labels go to /labels")
    stays_too = house.send(row("c", __id=3))
    assert "retuned's own" in stays_too.rejected[0].reason


# Columns that vanish


def test_a_vanished_column_is_ignored(make: Callable[..., House]) -> None:
    house = make()
    assert outcome(house.send({"id": "a", "t": NOW, "n": 1, "i": None})) == (1, 0)
    assert [(told["change"], told["column"]) for told in house.told] == [("vanished", "c")]
    assert house.intake.gone("demo") == ()


def test_a_vanished_column_is_refused(make: Callable[..., House]) -> None:
    house = make(vanished="refuse")
    taken = house.send({"id": "a", "t": NOW, "n": 1, "i": 1})
    assert "no row of the batch has field 'c'" in taken.rejected[0].reason
    assert outcome(house.send({"id": "a", "t": NOW, "n": 1, "i": 1}, row("b"))) == (2, 0)


def test_a_vanished_column_is_noted_as_gone_until_it_is_back(make: Callable[..., House]) -> None:
    house = make(vanished="adopt")
    house.send({"id": "a", "t": NOW, "n": 1, "i": 1})
    assert house.intake.gone("demo") == ("c",)
    house.send({"id": "b", "t": NOW, "n": 1, "i": 1}, row("c"))
    assert house.intake.gone("demo") == ()
    assert len(house.told) == 1


# Values of another type


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"n": "1"}, "field 'n' is '1': expected a number or null"),
        ({"i": 1.5}, "field 'i' is 1.5: expected a whole number or null"),
        ({"c": 3}, "field 'c' is 3: expected text or null"),
        ({"n": [1]}, "expected a number or null"),
    ],
)
def test_a_value_of_another_type_is_refused(
    make: Callable[..., House], fields: dict[str, Any], complaint: str
) -> None:
    stays(make(), row("b", **fields), complaint)


def test_a_value_of_another_type_is_missing(make: Callable[..., House]) -> None:
    house = make(changed="ignore")
    assert outcome(house.send(row("a", n="x"), row("b", i=1.5), row("c", c=True))) == (3, 0)
    assert [house.column(name) for name in "nic"] == [
        [None, 1.5, 1.5],
        [2, None, 2],
        ["red", "red", None],
    ]
    assert {(told["column"], told["was"], told["found"]) for told in house.told} == {
        ("n", "number", "category"),
        ("i", "integer", "number"),
        ("c", "category", "boolean"),
    }


def test_a_value_of_another_type_widens_the_kind(make: Callable[..., House]) -> None:
    house = make(changed="adopt")
    house.send(row("a"), row("b", n=2.0))
    assert outcome(house.send(row("c", n="x", i=1.5, c=True), row("d", n=3, c=4))) == (2, 0)
    assert house.kinds() == {"n": Kind.CATEGORY, "i": Kind.NUMBER, "c": Kind.CATEGORY}
    assert house.column("n") == ["1.5", "2", "x", "3"]
    assert house.column("i") == [2.0, 2.0, 1.5, 2.0]
    assert house.column("c") == ["red", "red", "true", "4"]
    taken = house.send(row("e", n=float("1e30"), i=[1]))
    assert outcome(taken) == (0, 1)


# What is decided for single rows


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"n": 1e38}, "expected a number up to 1e+37"),
        ({"i": 1e300}, "expected a number up to 1e+37"),
        ({"t": NOW + 86_401}, "too far ahead: until 2027-01-16T08:00:00+00:00"),
        ({"t": NOW - 3601}, "too long ago"),
        ({"id": None}, "the row's id"),
    ],
)
def test_a_row_that_breaks_a_rule_is_refused(
    make: Callable[..., House], fields: dict[str, Any], complaint: str
) -> None:
    house = make(replace(SPEC, rows=RowsPolicy(max_age_s=3600)))
    assert outcome(house.send(row("good", t=NOW + 86_399), row("old", t=NOW - 3600))) == (2, 0)
    taken = house.send(row("also good"), row("b", **fields))
    assert complaint in taken.rejected[0].reason


def test_any_time_is_taken_where_the_limits_are_off(make: Callable[..., House]) -> None:
    house = make(replace(SPEC, rows=RowsPolicy(max_ahead_s=0)))
    times = ["9999-12-31", "0001-01-01", NOW]
    assert outcome(house.send(*(row(f"r{n}", t=t) for n, t in enumerate(times)))) == (3, 0)


def test_of_an_id_twice_in_a_parcel_the_last_content_counts(make: Callable[..., House]) -> None:
    house = make()
    receipt = house.send(row("a", n=1.0), row("a", n=2.0), row("a", n=2.0)).receipt
    assert receipt is not None
    assert (receipt.accepted, receipt.revised, receipt.duplicates) == (1, 1, 1)
    assert house.column("n") == [2.0]


# Strict parcels


def test_a_strict_parcel_with_one_bad_row_is_refused_as_a_whole(make: Callable[..., House]) -> None:
    house = make()
    taken = house.send(row("a"), row("b", n="x"), row("c"), row("d", i="x"), strict=True)
    assert taken.receipt is None
    assert [item.index for item in taken.rejected] == [1, 3]
    assert house.log.quarantine.counts() == Refusals()
    assert (house.log.counts().rows, house.noticed) == (0, 0)
    assert outcome(house.send(row("a"), row("c"), strict=True)) == (2, 0)


def test_a_strict_parcel_is_refused_for_a_row_of_its_last_piece(
    make: Callable[..., House], tmp_path: Path
) -> None:
    house = make(replace(INFERRED, task=Task.BINARY))
    lines = [orjson.dumps({"id": n, "t": NOW, "n": n, "y": n % 2}) for n in range(25_000)]
    path = tmp_path / "rows.ndjson"
    for last in ({"y": 2}, {"n": "x"}):
        path.write_bytes(b"\n".join([*lines, orjson.dumps({"id": "z", "t": NOW, "n": 1, **last})]))
        parcel = Parcel(cargo=Cargo.ROWS, payload=path, content_type=NDJSON, is_strict=True)
        taken = house.intake.take("demo", parcel)
        assert [item.index for item in taken.rejected] == [25_000]
    assert house.log.counts().rows == 0


# Files


def test_a_file_is_taken_in_pieces_and_added_up(make: Callable[..., House], tmp_path: Path) -> None:
    house = make()
    lines = [f"r{n},{NOW},{'x' if n % 10_000 == 0 else n},{n}" for n in range(30_000)]
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(["id,t,n,i", *lines, "short", ""]))
    taken = house.put(path, CSV)
    assert outcome(taken) == (29_997, 4)
    assert taken.quarantined == 4
    assert [item.index for item in taken.rejected] == [0, 10_000, 20_000, 30_000]
    assert house.noticed == 1
    again = house.put(path, CSV)
    assert again.receipt is not None
    assert again.receipt.duplicates == 29_997


def test_where_a_file_breaks_off_what_came_before_was_taken(
    make: Callable[..., House], tmp_path: Path
) -> None:
    house, path = make(), tmp_path / "rows.arrows"
    table = pa.Table.from_pylist([row(f"r{n}") for n in range(25_000)])
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=10_000)
    path.write_bytes(path.read_bytes()[:-20_000])
    with pytest.raises(BadPayload, match="taken: 20000 accepted, 0 refused"):
        house.put(path, ARROW_STREAM)
    assert (house.log.counts().rows, house.noticed) == (20_000, 1)


def test_json_of_a_file_has_to_fit_in_memory(make: Callable[..., House], tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_bytes(b"[" + b" " * 3_000_000 + b"]")
    with pytest.raises(TooLarge, match="MAX_BODY_MB"):
        make().put(path, JSON)


SENDER = """
import resource, sys
from pathlib import Path
from tests.unit.test_intake import *
house = House(Path(sys.argv[1]))
house.put(Path(sys.argv[2]), CSV)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
taken = house.put(Path(sys.argv[3]), sys.argv[4])
assert taken.refused == 0, taken.rejected[:3]
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
house.rows.close()
"""


@pytest.mark.parametrize("kind", [CSV, NDJSON, ARROW_STREAM])
def test_memory_stays_bounded_while_a_large_file_is_taken(kind: str, tmp_path: Path) -> None:
    small, large = tmp_path / "small", tmp_path / "large"
    small.write_text(f"id,t,n,i,c\nwarm,{NOW},1,1,x\n")
    text, rows = "x" * 1000, 120_000
    records = ({**row(f"r{n % 7}", n=1.0), "c": text} for n in range(rows))
    if kind == ARROW_STREAM:
        batch = pa.RecordBatch.from_pylist([next(records) for _ in range(1000)])
        with pa.OSFile(str(large), "wb") as sink, pa.ipc.new_stream(sink, batch.schema) as writer:
            for _ in range(rows // 1000):
                writer.write_batch(batch)
    elif kind == NDJSON:
        with large.open("wb") as file:
            file.writelines(orjson.dumps(record) + b"\n" for record in records)
    else:
        with large.open("w") as text_file:
            text_file.write("id,t,n,i,c\n")
            text_file.writelines(f"{r['id']},{r['t']},1,2,{text}\n" for r in records)
    assert large.stat().st_size > 120_000_000
    ended = subprocess.run(
        [sys.executable, "-c", SENDER, str(tmp_path), str(small), str(large), kind],
        cwd=Path(__file__).parents[2],
        check=True,
        capture_output=True,
    )
    # What is mapped from the file is counted too, though it is not held.
    most = 100 + (large.stat().st_size >> 20 if kind == ARROW_STREAM else 0)
    assert int(ended.stdout) < most
