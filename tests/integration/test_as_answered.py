"""The loss that counts is that of what was really answered."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from tests.integration.door import FEATURE, Door, world
from tests.reigns import reign_of
from tests.samples import window_of

from retuned.cli import OK, main
from retuned.ingest.parse import JSON, parse_labels, parse_rows
from retuned.rows.log import RowLog
from retuned.runtime.clock import VirtualClock
from retuned.serve.champion import Champion
from retuned.serve.served import Answers
from retuned.serve.served_log import ServedLog
from retuned.watch import score_matured, score_members
from retuned_pipelines.fitting import fit
from retuned_pipelines.recipe import Recipe
from retuned_pipelines.schema import Task
from retuned_pipelines.spec import ModelSpec, ServePolicy

NUMBERS = ModelSpec(
    name="demo", task=Task.REGRESSION, target="y", metric="neg_mean_absolute_error", time="t"
)
CLASSES = replace(NUMBERS, task=Task.MULTICLASS, metric="neg_log_loss")
CONSTANT = Recipe(family="constant")
BEGIN = 1_700_000_000.0


class World:
    """A row log and a log of answers on one clock."""

    def __init__(self, directory: Path, spec: ModelSpec) -> None:
        self.spec, self.clock = spec, VirtualClock(BEGIN)
        self.log = RowLog(directory / "rows.sqlite", spec.task, now=self.clock.now)
        self.lost: list[Any] = []
        self.served = ServedLog(directory / "served", dropped=lambda *lost: self.lost.append(lost))

    def close(self) -> None:
        self.served.close()
        self.log.close()

    def rows(self, *names: str) -> None:
        self.wait()
        records = [{"id": name, "t": self.clock.now(), "x": 0.0} for name in names]
        parsed = parse_rows(orjson.dumps(records), JSON, self.spec, self.log.schema, 0)
        self.log.append_rows(parsed.batch, parsed.schema)

    def labels(self, value: object, *names: str) -> int:
        self.wait()
        records = [{"id": name, "label": value} for name in names]
        parsed = parse_labels(orjson.dumps(records), JSON, self.spec)
        return self.log.append_labels(parsed.batch).last_seq

    def answered(
        self,
        output: Sequence[Any],
        *names: str,
        by: str = "1.1",
        classes: tuple[str, ...] = (),
    ) -> None:
        self.wait()
        answers = Answers(
            ids=(),
            at_us=round(self.clock.now() * 1e6),
            revision=by,
            classes=classes,
            output=np.array(output),
        )
        self.served.note("demo", names, answers, ServePolicy())

    def wait(self) -> None:
        self.clock.move_to(self.clock.now() + 10)

    def losses(self) -> dict[tuple[int, int, int], float]:
        """Losses by row, version and revision."""
        with self.log._file.read() as db:
            found = db.execute("SELECT row_seq, version, revision, loss FROM loss").fetchall()
        return {(row, version, revision): loss for row, version, revision, loss in found}


@pytest.fixture
def numbers(tmp_path: Path) -> Iterator[World]:
    found = World(tmp_path, NUMBERS)
    yield found
    found.close()


@pytest.fixture
def classes(tmp_path: Path) -> Iterator[World]:
    found = World(tmp_path, CLASSES)
    yield found
    found.close()


def always(answer: float, as_of: int = 0) -> Champion:
    """Version 1.1, which answers the same to every row."""
    model = fit(CONSTANT, window_of({"x": [0.0, 1.0]}, [answer] * 2), Task.REGRESSION)
    return Champion.of(reign_of([CONSTANT], as_of=as_of), (model,))


def score(world: World, champion: Champion, until: int) -> None:
    score_matured(world.spec, world.log, champion, until, served=world.served)


def test_a_row_that_was_asked_for_counts_as_it_was_answered(numbers: World) -> None:
    numbers.rows("asked", "not asked")
    numbers.answered([7.0], "asked", by="3.2")
    until = numbers.labels(1.0, "asked", "not asked")
    score(numbers, always(0.0), until)
    assert numbers.losses() == {(1, 3, 2): 6.0, (2, 1, 1): 1.0}
    # Each under what answered: the versions' losses are apart.
    assert numbers.log.losses(1, metric=NUMBERS.metric).row_seq.tolist() == [2]
    assert numbers.log.losses(3, metric=NUMBERS.metric).row_seq.tolist() == [1]


def test_an_answer_may_have_come_before_its_row(numbers: World) -> None:
    numbers.answered([7.0], "a", by="3.2")
    numbers.rows("a")
    score(numbers, always(0.0), numbers.labels(1.0, "a"))
    assert numbers.losses() == {(1, 3, 2): 6.0}


def test_of_several_answers_the_last_before_the_label_counts(numbers: World) -> None:
    numbers.rows("a")
    numbers.answered([7.0], "a", by="3.2")
    numbers.answered([5.0], "a", by="3.3")
    until = numbers.labels(1.0, "a")
    numbers.answered([1.0], "a", by="3.4")
    score(numbers, always(0.0), until)
    assert numbers.losses() == {(1, 3, 3): 4.0}


def test_an_answer_after_the_label_says_nothing(numbers: World) -> None:
    numbers.rows("a")
    until = numbers.labels(1.0, "a")
    numbers.answered([1.0], "a", by="3.4")
    score(numbers, always(0.0), until)
    assert numbers.losses() == {(1, 1, 1): 1.0}


def test_a_corrected_label_corrects_the_loss_of_the_same_answer(numbers: World) -> None:
    numbers.rows("a", "not asked")
    numbers.answered([7.0], "a", by="3.2")
    first = numbers.labels(1.0, "a", "not asked")
    score(numbers, always(0.0), first)
    numbers.answered([1.0], "a", by="3.4")
    until = numbers.labels(2.0, "a", "not asked")
    score(numbers, always(0.0), until)
    assert numbers.losses() == {(1, 3, 2): 5.0, (2, 1, 1): 2.0}
    with numbers.log._file.read() as db:
        used = db.execute("SELECT label_seq FROM loss ORDER BY row_seq").fetchall()
    assert used == [(5,), (6,)]


def test_members_are_weighed_by_what_they_answer_now(numbers: World) -> None:
    names = [f"r{n}" for n in range(20)]
    numbers.rows(*names)
    numbers.answered([9.0] * 20, *names, by="1.1")
    until = numbers.labels(1.0, *names)
    came = score_members(NUMBERS, numbers.log, always(0.0), until, served=numbers.served).came
    assert came is not None
    assert [row[0] for row in came.losses] == [1.0, 1.0]
    assert set(numbers.losses().values()) == {8.0}


def test_classes_are_those_that_the_revision_knew(classes: World) -> None:
    classes.rows("a", "b", "c")
    classes.answered([[0.25, 0.75]], "a", by="1.1", classes=('"x"', '"y"'))
    classes.answered([[0.5, 0.125, 0.375]], "b", by="1.2", classes=('"y"', '"x"', '"z"'))
    until = classes.labels("x", "a", "b", "c")
    model = fit(CONSTANT, window_of({"x": np.zeros(2)}, ['"x"', '"y"']), Task.MULTICLASS)
    score(classes, Champion.of(reign_of([CONSTANT], as_of=0), (model,)), until)
    assert classes.losses() == pytest.approx(
        {(1, 1, 1): math.log(4), (2, 1, 2): math.log(8), (3, 1, 1): math.log(2)}
    )


def test_answers_of_another_task_say_nothing(numbers: World) -> None:
    numbers.rows("a")
    numbers.answered([[0.25, 0.75]], "a", classes=('"x"', '"y"'))
    score(numbers, always(0.0), numbers.labels(1.0, "a"))
    assert numbers.losses() == {(1, 1, 1): 1.0}


def test_where_the_answers_cannot_be_read_the_champion_answers_again(
    numbers: World, tmp_path: Path
) -> None:
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "demo.sqlite").write_bytes(b"no database" * 1000)
    numbers.rows("a")
    score(numbers, always(0.0), numbers.labels(1.0, "a"))
    assert numbers.losses() == {(1, 1, 1): 1.0}


# Through the door


def test_what_was_answered_for_a_row_is_told(fresh: Door) -> None:
    rows, labels = world(0, 300)
    path = "/v1/models/bikes"
    fresh.post(f"{path}/rows", rows)
    fresh.post(f"{path}/labels", labels)
    fresh.house.settle()
    asked = {"id": 900, "when": 1_700_000_900, FEATURE: 1.0, "side": "b"}
    given = fresh.post(f"{path}/predict", [asked, {FEATURE: 2.0}]).json()
    found = fresh.get(f"{path}/predictions?id=900").json()
    (item,) = found["items"]
    assert item == {
        "at": fresh.house.clock.now(),
        "version": given["version"],
        "prediction": given["predictions"][0]["prediction"],
    }
    assert fresh.get(f"{path}/predictions?id=901").json() == {"id": "901", "items": []}
    assert fresh.get(f"{path}/predictions").status_code == 422
    # Its loss is that of this answer.
    fresh.post(f"{path}/rows", [asked])
    fresh.post(f"{path}/labels", [{"id": 900, "label": 100.0}])
    fresh.house.workshop._score(fresh.house.spec, fresh.house.log, 10_000)
    newest = fresh.house.log.newest_losses(1, metric=fresh.house.spec.metric)
    assert newest.loss.tolist() == [100.0 - item["prediction"]]
    (told,) = fresh.get(f"{path}/losses?limit=1").json()["items"]
    assert told["version"] == item["version"]
    assert told["label_seq"] == fresh.get(path).json()["last_seq"] == told["row_seq"] + 1
    assert (told["metric"], told["loss"]) == (fresh.house.spec.metric, newest.loss[0])
    # A correction is a label of its own, and changes the loss of the same answer.
    fresh.post(f"{path}/labels", [{"id": 900, "label": 50.0}])
    fresh.house.workshop._score(fresh.house.spec, fresh.house.log, 10_000)
    (again,) = fresh.get(f"{path}/losses?limit=1").json()["items"]
    assert (again["row_seq"], again["label_seq"]) == (told["row_seq"], told["label_seq"] + 1)
    assert again["loss"] == pytest.approx(told["loss"] - 50.0)
    fresh.house.served.forget("bikes", "900")
    assert fresh.get(f"{path}/predictions?id=900").json()["items"] == []


def test_the_delay_of_labels_is_told_and_late_ones_are_quarantined(
    fresh: Door, capsys: pytest.CaptureFixture[str]
) -> None:
    path, spec = "/v1/models/bikes", fresh.house.spec
    labels = replace(spec.labels, horizon_s=3600.0)
    fresh.house.keeper.respec(replace(spec, labels=labels))
    rows = [{"id": n, "when": fresh.house.clock.now() - 60, FEATURE: 1.0} for n in range(4)]
    fresh.post(f"{path}/rows", rows)
    fresh.house.clock.move_to(fresh.house.clock.now() + 600)
    fresh.post(f"{path}/labels", [{"id": n, "label": 1.0} for n in range(2)])
    fresh.house.clock.move_to(fresh.house.clock.now() + 3600)
    late = fresh.post(f"{path}/labels", [{"id": n, "label": 2.0} for n in range(4)]).json()
    assert (late["revised"], late["rejected"]) == (2, 2)
    assert "LABELS__HORIZON_S=3600" in late["reasons"][0]["reason"]
    found = fresh.get(path).json()["label_delay"]
    assert found["since_arrival"]["median_s"] == pytest.approx(600, rel=0.05)
    assert found["since_time"]["p90_s"] == pytest.approx(660, rel=0.05)
    assert (found["labels"], found["unlabelled_overdue"], found["in_time"]) == (2, 2, 0.5)
    page = fresh.get("/metrics").text
    assert 'retuned_label_delay_seconds{model="bikes",quantile="0.5",since="arrival"}' in page
    assert 'retuned_unlabelled_overdue{model="bikes"} 2.0' in page
    assert main(["status", "bikes", "--url", fresh.url]) == OK
    shown = capsys.readouterr().out
    assert "half within 10" in shown
    assert "2 rows are older than the horizon; 50.0% came in time" in shown
    held = fresh.get(f"{path}/quarantine").json()
    assert (held["labels"], held["items"][0]["record"]) == (2, {"id": "3", "label": 2.0})
    # With a longer horizon they can be sent again.
    fresh.house.keeper.respec(replace(spec, labels=replace(labels, horizon_s=7200.0)))
    assert fresh.post(f"{path}/quarantine/resend", {"all": True}).json()["taken"] == 2
    assert fresh.get(path).json()["labelled"] == 4


def test_a_person_who_is_forgotten_leaves_nothing_behind(fresh: Door) -> None:
    rows, labels = world(0, 300)
    path, secret = "/v1/models/bikes", "secret@example.org"
    fresh.post(f"{path}/rows", rows)
    fresh.post(f"{path}/labels", labels)
    fresh.house.settle()
    asked = {"id": secret, "when": 1_700_000_900, FEATURE: 1.0, "side": "b"}
    fresh.post(f"{path}/rows", [asked])
    fresh.post(f"{path}/rows", [{**asked, "wheels": [secret]}])
    fresh.post(f"{path}/labels", [{"id": secret, "label": "no number"}])
    fresh.post(f"{path}/predict", asked)
    assert fresh.get(f"{path}/quarantine").json()["rows"] == 1
    assert len(fresh.get(f"{path}/predictions?id={secret}").json()["items"]) == 1
    assert fresh.client.delete(f"{path}/rows/{secret}").status_code == 200
    assert fresh.get(f"{path}/quarantine").json()["items"] == []
    assert fresh.get(f"{path}/predictions?id={secret}").json()["items"] == []
    for folder in ("rows", "served"):
        for file in (fresh.house.directory / folder).rglob("*"):
            assert file.is_dir() or secret.encode() not in file.read_bytes(), file
    assert fresh.client.delete(f"{path}/rows/{secret}").status_code == 404


def test_what_was_only_refused_or_only_answered_can_be_deleted_too(fresh: Door) -> None:
    path = "/v1/models/bikes"
    rows, labels = world(0, 300)
    fresh.post(f"{path}/rows", rows)
    fresh.post(f"{path}/labels", labels)
    fresh.house.settle()
    fresh.post(f"{path}/rows", [{"id": "refused", "when": 1, "wheels": [1]}])
    fresh.post(f"{path}/predict", {"id": "asked", FEATURE: 1.0})
    for name in ("refused", "asked"):
        assert fresh.client.delete(f"{path}/rows/{name}").status_code == 200
        assert fresh.client.delete(f"{path}/rows/{name}").status_code == 404
