"""The stage: what answers, what of it survives a restart, and what is never loaded."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from tests.reigns import VERDICT

from retuned.errors import PermanentError, TransientError
from retuned.registry.pointer import CHAMPION, Crowned, canonical
from retuned.registry.signing import Forged, SigningKey
from retuned.serve.champion import BadFeatures, Champion
from retuned.serve.stage import Stage
from retuned_pipelines.fitting import FittedModel, fit
from retuned_pipelines.models import artifact
from retuned_pipelines.models.families import FAMILIES
from retuned_pipelines.recipe import Recipe
from retuned_pipelines.schema import Feature, Kind, Schema, Task
from retuned_pipelines.version import Member, Revision, Version
from retuned_pipelines.weights import begun
from retuned_pipelines.window import Window

KEY = SigningKey(bytes(range(32)))
MODEL = "demo"
SCHEMA = Schema((Feature("x", Kind.NUMBER), Feature("side", Kind.CATEGORY)))
ROWS = 120

X: NDArray[np.float64] = np.linspace(-2, 2, ROWS)
FEATURES = pa.table(
    [pa.array([-1.5, 0.5, 1.9]), pa.array(["left", "right", None])], schema=SCHEMA.arrow
)
LINE = pa.array(3 * X)
SIGN = pa.array(['"up"' if value > 0 else '"down"' for value in X])
MIXED = pa.array(["1" if value > 0 else '"1"' for value in X])
NUMBERS = pa.array(["10" if value > 0 else "2" for value in X])


def fitted(family: str, target: pa.Array, *, rows: slice = slice(None)) -> FittedModel:
    task = Task.REGRESSION if pa.types.is_floating(target.type) else Task.BINARY
    x, known = X[rows], target[rows]
    sides = ["right" if value > 0 else "left" for value in x]
    window = Window(
        schema=SCHEMA,
        features=pa.table([pa.array(x), pa.array(sides)], schema=SCHEMA.arrow),
        ids=pa.array([str(n) for n in range(len(x))]),
        time=np.arange(len(x)),
        seq=np.arange(len(x)),
        label_seq=np.arange(len(x)) + len(x),
        target=known,
        as_of=2 * len(x),
    )
    return fit(Recipe.of(family, FAMILIES[family].default(task)), window, task)


@pytest.fixture(scope="module")
def line() -> FittedModel:
    return fitted("linear", LINE)


@pytest.fixture(scope="module")
def trees() -> FittedModel:
    return fitted("lightgbm", LINE)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path, KEY)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def crowned(
    models: tuple[FittedModel, ...],
    data: tuple[bytes, ...] = (),
    *,
    weights: tuple[float, ...] = (1.0,),
    number: int = 1,
    model: str = MODEL,
) -> Crowned:
    members = zip(models, weights, strict=True)
    version = Version(
        model=model,
        number=number,
        members=tuple(Member(recipe=m.recipe, weight=weight) for m, weight in members),
        verdict=VERDICT,
        study="",
        parent=number - 1,
        created_at=1.0,
    )
    revision = Revision(
        model=model,
        version=number,
        number=1,
        artifacts=tuple(digest(one) for one in data),
        fitted_as_of=240,
        rows=ROWS,
        first_seq=0,
        last_seq=119,
        schema_digest=SCHEMA.digest,
        libraries={},
        created_at=1.0,
        standing=begun(version.members, ROWS, is_single=False),
    )
    return Crowned(version=version, revision=revision, epoch=number)


def champion(*models: FittedModel, weights: tuple[float, ...] = (1.0,)) -> Champion:
    data = tuple(artifact.dump(one) for one in models)
    return Champion.of(crowned(models, data, weights=weights), models)


def crown(stage: Stage, *models: FittedModel, number: int = 1, model: str = MODEL) -> Champion:
    data = tuple(artifact.dump(one) for one in models)
    weights = (1.0,) * len(models)
    reign = crowned(models, data, weights=weights, number=number, model=model)
    return stage.crown(reign, {digest(one): one for one in data})


# What a champion answers


@pytest.mark.parametrize("family", ["linear", "lightgbm"])
def test_regression_answers_a_number_for_each_row(family: str) -> None:
    answers = champion(fitted(family, LINE)).predict([{"x": -1.0, "side": "left"}, {"x": 1.0}])
    assert [set(answer) for answer in answers] == [{"prediction"}, {"prediction"}]
    assert answers[0]["prediction"] == pytest.approx(-3.0, abs=0.3)
    assert answers[0]["prediction"] < answers[1]["prediction"]


def test_a_class_comes_back_as_it_was_sent_with_probabilities_by_its_text() -> None:
    (answer,) = champion(fitted("linear", NUMBERS)).predict([{"x": 2.0, "side": "right"}])
    assert answer["prediction"] == 10
    assert set(answer["probabilities"]) == {"2", "10"}
    assert sum(answer["probabilities"].values()) == pytest.approx(1.0)
    (answer,) = champion(fitted("linear", SIGN)).predict([{"x": 2.0, "side": "right"}])
    assert answer["prediction"] == "up"
    assert answer["probabilities"]["up"] > 0.5


def test_a_number_and_its_text_stay_two_classes() -> None:
    (answer,) = champion(fitted("linear", MIXED)).predict([{"x": 2.0, "side": "right"}])
    assert answer["prediction"] == 1
    assert set(answer["probabilities"]) == {"1", '"1"'}


def test_features_that_are_missing_and_categories_never_seen_are_predicted(
    line: FittedModel, trees: FittedModel
) -> None:
    for model in (line, trees):
        answers = champion(model).predict([{}, {"x": None, "side": None}, {"side": "never"}])
        assert all(np.isfinite(answer["prediction"]) for answer in answers)


def test_no_rows_give_no_answers(line: FittedModel) -> None:
    assert champion(line).predict([]) == []


@pytest.mark.parametrize(
    ("record", "complaint"),
    [
        ({"x": "1.5"}, "row 1, field 'x': '1.5' is not a number or null"),
        ({"x": [1]}, "row 1, field 'x'"),
        ({"side": 4}, "row 1, field 'side': 4 is not text or null"),
        ({"x": 1e308}, "row 1 has numbers that are too large"),
    ],
)
def test_a_value_that_cannot_be_used_is_told_with_its_row(
    line: FittedModel, record: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(BadFeatures, match=complaint.replace("[", r"\[")):
        champion(line).predict([{"x": 1.0}, record])


def test_members_are_averaged_by_their_weights(line: FittedModel, trees: FittedModel) -> None:
    rows = [{"x": 0.7, "side": "right"}, {"x": -1.9}]
    both = champion(line, trees, weights=(3.0, 1.0)).predict(rows)
    alone = [champion(model).predict(rows) for model in (line, trees)]
    for mixed, one, other in zip(both, *alone, strict=True):
        expected = 0.75 * one["prediction"] + 0.25 * other["prediction"]
        assert mixed["prediction"] == pytest.approx(expected)


def test_members_that_know_different_classes_are_aligned() -> None:
    first = fitted("linear", SIGN, rows=slice(0, 60))  # has seen "down" only
    second = fitted("linear", SIGN)
    assert first.classes == ('"down"',)
    both = champion(first, second, weights=(0.5, 0.5))
    (mixed,) = both.predict([{"x": 2.0}])
    (alone,) = champion(second).predict([{"x": 2.0}])
    assert set(mixed["probabilities"]) == {"up", "down"}
    assert mixed["probabilities"]["up"] == pytest.approx(alone["probabilities"]["up"] / 2)
    assert sum(mixed["probabilities"].values()) == pytest.approx(1.0)


def test_a_table_and_the_same_rows_one_by_one_are_predicted_alike(line: FittedModel) -> None:
    table = pa.table([pa.array([0.5, None]), pa.array(["left", None])], schema=SCHEMA.arrow)
    answers = champion(line).predict(table.to_pylist())
    outputs = champion(line).outputs(table)
    assert outputs.tolist() == [answer["prediction"] for answer in answers]


# What the stage keeps


def test_nothing_answers_before_a_champion_is_crowned(stage: Stage) -> None:
    assert stage.of(MODEL) is None
    assert stage.restore(MODEL) is None


def test_a_crowned_champion_answers_and_its_etag_tells_it_apart(
    stage: Stage, line: FittedModel, trees: FittedModel
) -> None:
    first = crown(stage, line)
    assert stage.of(MODEL) is first
    second = crown(stage, trees, number=2)
    assert stage.of(MODEL) is second
    assert (first.etag, second.etag) == ('"1.1-1"', '"2.1-2"')
    assert stage.of("other") is None


def test_a_restored_champion_is_the_one_that_was_crowned(
    stage: Stage, tmp_path: Path, line: FittedModel, trees: FittedModel
) -> None:
    before = crown(stage, line, trees)
    rows = [{"x": value, "side": "left"} for value in (-1.5, 0.0, 1.5)]
    after = Stage(tmp_path, KEY).restore(MODEL)
    assert after is not None
    assert after.crowned == before.crowned
    assert after.predict(rows) == before.predict(rows)


def test_only_the_artifacts_of_the_newest_champion_stay_on_disk(
    stage: Stage, tmp_path: Path, line: FittedModel, trees: FittedModel
) -> None:
    crown(stage, line)
    newest = crown(stage, trees, number=2)
    (name,) = newest.crowned.revision.artifacts
    assert {path.name for path in (tmp_path / MODEL).iterdir()} == {name, "manifest.json"}
    assert (tmp_path / MODEL).stat().st_mode & 0o077 == 0


def test_an_artifact_that_is_not_what_its_digest_says_takes_no_crown(
    stage: Stage, line: FittedModel, trees: FittedModel
) -> None:
    before = crown(stage, line)
    data = artifact.dump(trees)
    reign = crowned((trees,), (data,), number=2)
    with pytest.raises(Forged, match="was changed"):
        stage.crown(reign, {digest(data): data + b"x"})
    assert stage.of(MODEL) is before


def test_an_artifact_that_cannot_be_loaded_takes_no_crown(stage: Stage, line: FittedModel) -> None:
    data = b"no model at all"
    with pytest.raises(PermanentError, match="cannot be loaded"):
        stage.crown(crowned((line,), (data,)), {digest(data): data})
    assert stage.of(MODEL) is None


def test_a_champion_that_cannot_be_kept_does_not_answer(tmp_path: Path, line: FittedModel) -> None:
    (tmp_path / "file").touch()
    stage = Stage(tmp_path / "file", KEY)
    with pytest.raises(TransientError, match="cannot be kept"):
        crown(stage, line)
    assert stage.of(MODEL) is None


# What is never loaded


def manifest(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / MODEL / "manifest.json").read_text())
    return found


def rewrite(folder: Path, value: object) -> None:
    (folder / MODEL / "manifest.json").write_text(json.dumps(value))


def test_a_changed_manifest_is_not_believed(
    stage: Stage, tmp_path: Path, line: FittedModel
) -> None:
    crown(stage, line)
    kept = manifest(tmp_path)
    kept["version"]["members"][0]["weight"] = 0.5
    rewrite(tmp_path, kept)
    with pytest.raises(Forged, match="signature"):
        Stage(tmp_path, KEY).restore(MODEL)


def test_a_champion_signed_with_another_key_is_not_believed(
    stage: Stage, tmp_path: Path, line: FittedModel
) -> None:
    crown(stage, line)
    with pytest.raises(Forged, match="another key"):
        Stage(tmp_path, SigningKey(bytes(32))).restore(MODEL)


def test_the_champion_of_another_model_is_not_taken_for_ones_own(
    stage: Stage, tmp_path: Path, line: FittedModel
) -> None:
    crown(stage, line)
    (tmp_path / MODEL).rename(tmp_path / "other")
    second = Stage(tmp_path, KEY)
    with pytest.raises(Forged, match="one of demo"):
        second.restore("other")
    assert second.of("other") is None


def test_a_changed_artifact_is_not_loaded(stage: Stage, tmp_path: Path, line: FittedModel) -> None:
    (name,) = crown(stage, line).crowned.revision.artifacts
    path = tmp_path / MODEL / name
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(Forged, match="was changed"):
        Stage(tmp_path, KEY).restore(MODEL)


def test_a_missing_artifact_is_told_as_damage_with_what_to_do(
    stage: Stage, tmp_path: Path, line: FittedModel
) -> None:
    (name,) = crown(stage, line).crowned.revision.artifacts
    (tmp_path / MODEL / name).unlink()
    with pytest.raises(PermanentError, match="remove that folder"):
        Stage(tmp_path, KEY).restore(MODEL)


@pytest.mark.parametrize(
    "value", [[], {}, None, "text", {"version": 1, "revision": 2, "epoch": 3, "signature": 4}]
)
def test_a_manifest_of_another_shape_is_told_as_damage(
    stage: Stage, tmp_path: Path, line: FittedModel, value: object
) -> None:
    crown(stage, line)
    rewrite(tmp_path, value)
    with pytest.raises(PermanentError, match="damaged"):
        Stage(tmp_path, KEY).restore(MODEL)


def test_a_signature_of_another_type_is_told_as_damage(
    stage: Stage, tmp_path: Path, line: FittedModel
) -> None:
    crown(stage, line)
    rewrite(tmp_path, {**manifest(tmp_path), "signature": 4})
    with pytest.raises(PermanentError, match="damaged"):
        Stage(tmp_path, KEY).restore(MODEL)


def test_a_crash_between_artifacts_and_manifest_leaves_the_older_champion(
    stage: Stage, tmp_path: Path, line: FittedModel, trees: FittedModel
) -> None:
    before = crown(stage, line)
    # As a takeover leaves it that died before its manifest was in place.
    data = artifact.dump(trees)
    (tmp_path / MODEL / digest(data)).write_bytes(data)
    (tmp_path / MODEL / "manifest.json.tmp").write_text("{")
    after = Stage(tmp_path, KEY).restore(MODEL)
    assert after is not None
    assert after.crowned == before.crowned


# First loads


@dataclass
class Proof:
    """Remembers what was to be loaded elsewhere first, and refuses it where it is told to."""

    bad: set[str] = field(default_factory=set)
    asked: list[set[str]] = field(default_factory=list)

    def __call__(self, model: str, artifacts: Mapping[str, bytes]) -> None:
        assert model == MODEL
        self.asked.append(set(artifacts))
        if self.bad & set(artifacts):
            message = "a child process that loaded it first came to this: killed"
            raise PermanentError(message)


def test_what_nobody_has_loaded_is_loaded_elsewhere_first(
    tmp_path: Path, line: FittedModel, trees: FittedModel
) -> None:
    proof = Proof()
    stage = Stage(tmp_path, KEY, prove=proof)
    first = crown(stage, line)
    (name,) = first.crowned.revision.artifacts
    assert proof.asked == [{name}]
    # What serves already is known, and so is what a child of ours has written.
    data = artifact.dump(trees)
    both = revised(first.crowned, name)
    stage.crown(both, {})
    reign = crowned((trees,), (data,), number=2)
    stage.crown(reign, {digest(data): data}, proven={digest(data)})
    assert proof.asked == [{name}]


def test_what_ends_the_process_that_loads_it_takes_no_crown(
    tmp_path: Path, line: FittedModel, trees: FittedModel
) -> None:
    data = artifact.dump(trees)
    stage = Stage(tmp_path, KEY, prove=Proof(bad={digest(data)}))
    before = crown(stage, line)
    with pytest.raises(PermanentError, match="loaded it first"):
        stage.crown(crowned((trees,), (data,), number=2), {digest(data): data})
    assert stage.of(MODEL) is before
    restored = Stage(tmp_path, KEY).restore(MODEL)
    assert restored is not None
    assert restored.crowned == before.crowned


def test_what_is_no_artifact_by_its_digest_is_not_even_loaded_elsewhere(
    tmp_path: Path, line: FittedModel
) -> None:
    proof = Proof()
    stage = Stage(tmp_path, KEY, prove=proof)
    data = artifact.dump(line)
    with pytest.raises(Forged):
        stage.crown(crowned((line,), (data,)), {digest(data): data[:-1] + b"?"})
    assert proof.asked == []


def test_after_a_restart_only_other_libraries_are_a_reason_to_load_elsewhere(
    stage: Stage, tmp_path: Path, line: FittedModel
) -> None:
    (name,) = crown(stage, line).crowned.revision.artifacts
    proof = Proof()
    assert Stage(tmp_path, KEY, prove=proof).restore(MODEL) is not None
    assert proof.asked == []
    kept = manifest(tmp_path)
    rewrite(tmp_path, {**kept, "loaded_with": {**kept["loaded_with"], "lightgbm": "1.0"}})
    assert Stage(tmp_path, KEY, prove=proof).restore(MODEL) is not None
    assert proof.asked == [{name}]
    assert Stage(tmp_path, KEY, prove=proof).restore(MODEL) is not None
    assert proof.asked == [{name}]


def test_what_an_older_key_signed_is_signed_anew_at_a_restart(
    stage: Stage, tmp_path: Path, line: FittedModel
) -> None:
    before = crown(stage, line)
    newest = SigningKey(bytes(32), (KEY.secret,))
    assert Stage(tmp_path, newest).restore(MODEL) is not None
    restored = Stage(tmp_path, SigningKey(bytes(32))).restore(MODEL)
    assert restored is not None
    assert restored.crowned == before.crowned


def test_what_an_older_release_wrote_is_still_believed(
    stage: Stage, tmp_path: Path, line: FittedModel
) -> None:
    before = crown(stage, line)
    kept = manifest(tmp_path)
    # A field that came later is not there, and was not signed.
    del kept["revision"]["seed"]
    fields = ("epoch", "predecessor", "version", "revision")
    text = canonical({"model": MODEL, **{name: kept[name] for name in fields}})
    kept["signature"] = KEY.seal(CHAMPION, text).partition(b"\n")[0].decode()
    rewrite(tmp_path, kept)
    restored = Stage(tmp_path, KEY).restore(MODEL)
    assert restored is not None
    assert restored.crowned == before.crowned


def test_the_epoch_is_signed_on_disk_too(stage: Stage, tmp_path: Path, line: FittedModel) -> None:
    crown(stage, line)
    rewrite(tmp_path, {**manifest(tmp_path), "epoch": 99})
    with pytest.raises(Forged):
        Stage(tmp_path, KEY).restore(MODEL)


# Revisions of an ensemble


def revised(before: Crowned, *names: str, gone: tuple[bool, ...] = ()) -> Crowned:
    """The same version with other artifacts."""
    standing = replace(before.revision.standing, gone=gone)
    revision = replace(
        before.revision, number=before.revision.number + 1, artifacts=names, standing=standing
    )
    return replace(before, revision=revision, epoch=before.epoch + 1)


def test_who_was_refitted_is_remembered_as_it_was_before(
    stage: Stage, line: FittedModel, trees: FittedModel
) -> None:
    first = crown(stage, line, trees)
    assert first.elder == (None, None)
    newer = artifact.dump(fitted("lightgbm", LINE, rows=slice(60, None)))
    names = (first.crowned.revision.artifacts[0], digest(newer))
    second = stage.crown(revised(first.crowned, *names), {names[1]: newer})
    # What did not change was neither loaded nor written again, so its bytes were not needed.
    assert second.models[0] is first.models[0]
    assert second.elder == (None, first.models[1])
    assert second.elder_outputs(FEATURES)[0] is None
    third = stage.crown(revised(second.crowned, *names), {})
    assert third.elder == (None, None)
    assert third.models == second.models


def test_another_version_has_no_elders(stage: Stage, line: FittedModel, trees: FittedModel) -> None:
    crown(stage, line)
    assert crown(stage, trees, number=2).elder == (None,)


def test_a_retired_member_has_no_artifact_and_is_missed_by_nobody(
    stage: Stage, line: FittedModel, trees: FittedModel, tmp_path: Path
) -> None:
    first = crown(stage, line, trees)
    name = first.crowned.revision.artifacts[1]
    found = revised(first.crowned, "", name, gone=(True, False))
    weights = replace(found.revision.standing, weights=(0.0, 1.0))
    found = replace(found, revision=replace(found.revision, standing=weights))
    champion = stage.crown(found, {})
    assert champion.models[0] is None
    assert champion.member_outputs(FEATURES)[0] is None
    # Nor is it remembered: elders are for telling what a new fit brought.
    assert champion.elder == (None, None)
    assert (
        champion.outputs(FEATURES).tolist() == trees.predict(trees.layout.encode(FEATURES)).tolist()
    )
    assert champion.predict([{"x": 1.0, "side": "right"}])[0]["prediction"]
    # So it is after a restart, and the disk keeps what serves only.
    restored = Stage(tmp_path, KEY).restore(MODEL)
    assert restored is not None
    assert restored.models[0] is None
    assert sorted(path.name for path in (tmp_path / MODEL).iterdir()) == sorted(
        [name, "manifest.json"]
    )


def test_what_is_kept_already_is_not_written_again(
    stage: Stage, line: FittedModel, trees: FittedModel, tmp_path: Path
) -> None:
    first = crown(stage, line, trees)
    folder = tmp_path / MODEL
    before = {path.name: path.stat().st_ino for path in folder.iterdir()}
    names = first.crowned.revision.artifacts
    stage.crown(revised(first.crowned, *names), {})
    after = {path.name: path.stat().st_ino for path in folder.iterdir()}
    assert all(after[name] == before[name] for name in names)
    assert after["manifest.json"] != before["manifest.json"]
    restored = Stage(tmp_path, KEY).restore(MODEL)
    assert restored is not None
    assert restored.crowned.revision.name == "1.2"


def test_a_class_that_appears_later_is_answered_by_who_knows_it(stage: Stage) -> None:
    early, later = fitted("linear", pa.array(["0"] * ROWS)), fitted("linear", NUMBERS)
    first = crown(stage, early, early)
    assert first.predict([{"x": 2.0}])[0]["probabilities"] == {"0": 1.0}
    data = artifact.dump(later)
    names = (first.crowned.revision.artifacts[0], digest(data))
    second = stage.crown(revised(first.crowned, *names), {names[1]: data})
    (answer,) = second.predict([{"x": 2.0, "side": "right"}])
    assert list(answer["probabilities"]) == ["0", "2", "10"]
    assert sum(answer["probabilities"].values()) == pytest.approx(1.0)
    assert answer["probabilities"]["10"] > 0.25


def test_classes_that_one_member_knows_first_are_put_in_one_order() -> None:
    target = pa.array(["0", "2"] * (len(X) // 2))
    late = pa.array(["0", "1", "2", "1"] * (len(X) // 4))
    early, later = fitted("linear", target), fitted("linear", late)
    both = champion(early, later, weights=(0.5, 0.5))
    assert set(both.classes) == {"0", "1", "2"}
    place = [both.classes.index(name) for name in later.classes]
    alone = later.predict(later.layout.encode(FEATURES))
    found = both.member_outputs(FEATURES)[1]
    assert found is not None
    assert found[:, place].tolist() == alone.tolist()
    assert both.outputs(FEATURES).sum(axis=1) == pytest.approx(1.0)


def test_who_is_not_asked_costs_nothing(line: FittedModel, trees: FittedModel) -> None:
    both = champion(line, trees, weights=(0.999, 0.001))
    assert both.weights == (1.0, 0.0)
    alone = line.predict(line.layout.encode(FEATURES))
    assert both.outputs(FEATURES).tolist() == alone.tolist()
