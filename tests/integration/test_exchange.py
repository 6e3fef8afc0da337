"""Models leave over HTTP, models come in, and models are fitted once more."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder
from tests.integration.door import FEATURE, MAX_BODY, Door, feed, world
from tests.programs import told_by

from retuned.cli import FAILED, OK, USAGE, main
from retuned.exchange.again import Finding
from retuned.registry import keys
from retuned.registry.pointer import Crowned
from retuned.registry.shelf import Sealed
from retuned.runtime.libraries import libraries
from retuned_pipelines.recipe import Recipe

BASE = "/v1/models/bikes"


def rows(count: int = 50) -> list[dict[str, Any]]:
    bare = [{FEATURE: row[FEATURE], "side": row["side"]} for row in world(7, 7 + count)[0]]
    # A value that is missing, a category never seen, and a row that says nothing.
    return [*bare, {FEATURE: None, "side": "b"}, {FEATURE: 1.0, "side": "never"}, {}]


def answers(door: Door, asked: list[dict[str, Any]]) -> list[float]:
    found = door.post(f"{BASE}/predict", asked).json()["predictions"]
    return [item["prediction"] for item in found]


def unpacked(answer: httpx.Response, folder: Path) -> Path:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        archive.extractall(folder)
    return folder


@contextmanager
def lost(door: Door, name: str) -> Iterator[None]:
    """Let the registry be without a revision's artifacts, those aside that serve as well."""
    registry, (version, revision) = door.house.registry, name.split(".")
    wanted = set(registry.sealed("bikes", int(version), int(revision)).revision.artifacts) - {""}
    found = {digest: registry.artifact("bikes", digest) for digest in wanted}
    for digest in wanted:
        door.house.redis.delete(keys.artifact("bikes", digest))
    yield
    for digest, data in found.items():
        registry.put_artifact("bikes", digest, data)


def foreign(names: list[str], target: object = None) -> bytes:
    frame = pd.DataFrame(
        {FEATURE: [0.0, 1.0, 2.0, 3.0], "side": pd.Series(list("abab"), dtype="str")}
    )
    prepare = ColumnTransformer(
        [("c", OneHotEncoder(handle_unknown="ignore"), [n for n in names if n == "side"])],
        remainder="passthrough",
    )
    model = Pipeline([("prepare", prepare), ("model", RandomForestRegressor(5, random_state=0))])
    model.fit(frame[names], [0.0, 3.0, 6.0, 9.0] if target is None else target)
    return bytes(skops.io.dumps(model))


# Leaving


def test_the_champion_leaves_as_a_skops_file_that_answers_alike(
    grown: Door, tmp_path: Path
) -> None:
    answer = grown.get(f"{BASE}/champion/artifact")
    folder = unpacked(answer, tmp_path)
    name = grown.get(f"{BASE}/champion").json()["name"]
    assert f'filename="bikes-{name}-skops.zip"' in answer.headers["content-disposition"]
    assert {path.name for path in folder.iterdir()} == {"MODEL_CARD.md", "load.py", "model.skops"}
    found = told_by(folder, rows())["predictions"]
    assert found == pytest.approx(answers(grown, rows()), rel=1e-14, abs=1e-14)


def test_the_card_tells_what_the_model_is(grown: Door, tmp_path: Path) -> None:
    told = (
        unpacked(grown.get(f"{BASE}/champion/artifact"), tmp_path) / "MODEL_CARD.md"
    ).read_text()
    crowned = grown.get(f"{BASE}/champion").json()
    for expected in (
        f"# Model card: bikes {crowned['name']}",
        "Predicts `y`, a number.",
        "| `x<b>` | number |",
        "| `side` | category |",
        f"{crowned['revision']['rows']:,} labelled rows",
        "2023-11-14T",
        "The gate's verdict: promoted.",
        "neg_mean_absolute_error",
        "retuned itself is not needed",
        f"scikit-learn {crowned['revision']['libraries']['scikit-learn']}",
    ):
        assert expected in told, expected
    assert (tmp_path / "load.py").read_text() in told


def test_an_older_version_leaves_while_its_artifacts_are_kept(grown: Door, tmp_path: Path) -> None:
    number = grown.get(f"{BASE}/champion").json()["version"]["number"]
    answer = grown.get(f"{BASE}/versions/{number}/artifact")
    assert unpacked(answer, tmp_path)
    with lost(grown, "1.1"):
        gone = grown.get(f"{BASE}/versions/1/artifact?revision=1")
        again = grown.post(f"{BASE}/versions/1/reproduce?revision=1", {})
    assert gone.status_code == 409
    assert "no longer kept" in gone.json()["detail"]
    assert again.json()["finding"] == "identical"


@pytest.mark.parametrize(
    ("path", "status", "kind", "told"),
    [
        ("versions/99/artifact", 404, "no-version", "bikes has no version 99"),
        ("versions/1/artifact?revision=99", 404, "no-version", "no version 1.99"),
        ("champion/artifact?format=onnx", 422, "invalid", "skops"),
        ("champion/artifact?format=lightgbm", 409, "not-exportable", "SERVE__MAX_MEMBERS=1"),
    ],
)
def test_what_cannot_leave_is_told(
    grown: Door, path: str, status: int, kind: str, told: str
) -> None:
    answer = grown.get(f"{BASE}/{path}")
    assert (answer.status_code, answer.json()["type"]) == (status, f"/problems/{kind}")
    assert told in answer.json()["detail"]


def test_before_there_is_a_champion_nothing_can_leave(fresh: Door) -> None:
    answer = fresh.get(f"{BASE}/champion/artifact")
    assert (answer.status_code, answer.json()["type"]) == (503, "/problems/no-champion")


def test_a_revision_that_was_changed_in_redis_does_not_leave(grown: Door) -> None:
    redis = grown.house.redis
    key = keys.revisions("bikes", 1)
    before: Any = redis.hget(key, "1")
    redis.hset(key, "1", before.replace(b'"rows":', b'"rows":9'))
    try:
        answer = grown.get(f"{BASE}/versions/1/artifact?revision=1")
        assert answer.status_code == 500
        assert "the signature does not fit" in answer.json()["detail"]
    finally:
        redis.hset(key, "1", before)


def test_an_mlflow_folder_has_the_parts_that_mlflow_documents(grown: Door, tmp_path: Path) -> None:
    folder = unpacked(grown.get(f"{BASE}/champion/artifact?format=mlflow"), tmp_path)
    described = (folder / "MLmodel").read_text()
    for line in ("  python_function:", "    loader_module: retuned_model", "    data: model.skops"):
        assert line in described.splitlines()
    # What mlflow.pyfunc.load_model does with it: the code folder, then the loader module.
    script = (
        "import json, sys; sys.path.insert(0, sys.argv[1] + '/code'); import retuned_model, pandas;"
        "model = retuned_model._load_pyfunc(sys.argv[1] + '/model.skops');"
        "print(json.dumps(model.predict(pandas.DataFrame(json.load(sys.stdin))).tolist()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder)],
        input=json.dumps(rows()),
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    assert found == pytest.approx(answers(grown, rows()), rel=1e-14, abs=1e-14)
    assert "scikit-learn==" in (folder / "requirements.txt").read_text()


# Coming in


def test_a_foreign_model_becomes_a_version_that_does_not_serve(fresh: Door) -> None:
    feed(fresh, 0, 300)
    before = fresh.get(f"{BASE}/champion").json()["name"]
    path = f"{BASE}/versions?who=ann&reason=bought"
    answer = fresh.send(path, foreign([FEATURE, "side"]), "application/octet-stream")
    assert answer.status_code == 202, answer.text
    body = answer.json()
    fresh.house.settle()
    assert fresh.get(f"{BASE}/champion").json()["name"] == before
    number = body["version"]
    version = fresh.get(f"{BASE}/versions/{number}").json()
    assert version["members"][0]["recipe"]["family"] == "imported"
    assert version["verdict"]["ruling"] == "refused"
    assert [r["number"] for r in version["revisions"]] == [1]
    (event,) = fresh.house.told("imported")
    assert (event.body["version"], event.body["who"], event.body["reason"]) == (
        number,
        "ann",
        "bought",
    )
    # It is signed, kept through takeovers, and leaves as it came.
    feed(fresh, 300, 600, shift=2.0)
    assert fresh.get(f"{BASE}/champion").json()["name"] != before
    sealed = fresh.house.registry.sealed("bikes", number)
    assert fresh.house.registry.artifact("bikes", sealed.revision.artifacts[0])
    left_as = fresh.get(f"{BASE}/versions/{number}/artifact")
    with zipfile.ZipFile(io.BytesIO(left_as.content)) as archive:
        left = skops.io.loads(archive.read("model.skops"), trusted=["sklearn.tree._tree.Tree"])
        assert "what it learned from is not known" in archive.read("MODEL_CARD.md").decode()
    frame = pd.DataFrame({FEATURE: [0.2, 2.9], "side": ["a", "b"]})
    came = skops.io.loads(foreign([FEATURE, "side"]), trusted=["sklearn.tree._tree.Tree"])
    assert left.predict(frame).tolist() == came.predict(frame).tolist()
    # It can serve: what the registry keeps of it is a champion's whole.
    name = sealed.revision.artifacts[0]
    reign = Crowned(version=sealed.version, revision=sealed.revision, epoch=9)
    fresh.house.stage.crown(reign, {name: fresh.house.registry.artifact("bikes", name)})
    asked = [{FEATURE: 0.2, "side": "a"}, {FEATURE: 2.9, "side": "b"}]
    assert answers(fresh, asked) == came.predict(frame).tolist()
    # Numbers are never used twice.
    numbers = [v["number"] for v in fresh.get(f"{BASE}/versions").json()["items"]]
    assert len(set(numbers)) == len(numbers)


def test_an_imported_champion_stays_as_it_is_until_a_challenger_beats_it(fresh: Door) -> None:
    house = fresh.house
    feed(fresh, 0, 300)
    path = f"{BASE}/versions?who=ann"
    number = fresh.send(path, foreign([FEATURE, "side"]), "application/octet-stream").json()[
        "version"
    ]
    house.settle()
    wish = {"version": number, "reason": "bought"}
    assert fresh.post(f"{BASE}/promote", wish).status_code == 202
    house.settle()
    assert fresh.get(f"{BASE}/champion").json()["name"] == f"{number}.1"
    # Nothing of it is fitted anew, however many labels come, and the decisions say why.
    fresh.post(f"{BASE}/pause", {})
    feed(fresh, 300, 400)
    fresh.post(f"{BASE}/resume", {})
    house.settle()
    assert fresh.get(f"{BASE}/champion").json()["name"] == f"{number}.1"
    told = " ".join(" ".join(event.body["reasons"]) for event in house.told("decided"))
    assert "It was imported, and stays as it is." in told
    # It knows nothing of this world: what a study finds beats it, and takes over alone.
    feed(fresh, 400, 1000)
    fresh.post(f"{BASE}/retune", {})
    house.settle()
    champion = fresh.get(f"{BASE}/champion").json()
    assert champion["version"]["number"] > number
    assert len(champion["version"]["members"]) == 1
    verdict = house.told("verdict")[-1].body["verdict"]
    assert verdict["ruling"] == "promoted"
    assert "was imported: it was not refitted" in verdict["reasons"][-1]
    assert not house.told("abandoned")
    assert not house.told("failed")


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"\x80\x04K\x01.", "no skops file"),
        (foreign([FEATURE, "side"])[:-100], "no skops file"),
        (
            skops.io.dumps(LinearRegression().fit(np.ones((2, 1)), [1.0, 2.0])),
            "does not know its features by name",
        ),
        (
            skops.io.dumps(LinearRegression().fit(pd.DataFrame({"z": [1.0]}), [1.0])),
            "it wants z, which the model's rows do not have; they have x<b>, side",
        ),
        (
            skops.io.dumps(
                LogisticRegression().fit(pd.DataFrame({FEATURE: [1.0, 2.0]}), ["a", "b"])
            ),
            "predicts classes, and the model predicts a number",
        ),
        (
            skops.io.dumps(FunctionTransformer(os.path.exists)),
            "types that are not trusted: genericpath.exists",
        ),
        (
            skops.io.dumps(LinearRegression().fit(pd.DataFrame({"side": [1.0, 2.0]}), [1.0, 2.0])),
            "it fails on the newest",
        ),
    ],
)
def test_a_foreign_model_that_cannot_answer_is_refused_with_the_reason(
    grown: Door, data: bytes, told: str
) -> None:
    before = grown.get(f"{BASE}/versions").json()
    answer = grown.send(f"{BASE}/versions", data, "application/octet-stream")
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/not-importable")
    assert told in answer.json()["detail"]
    assert grown.get(f"{BASE}/versions").json() == before


def test_without_rows_a_model_cannot_be_tried(fresh: Door) -> None:
    answer = fresh.send(f"{BASE}/versions", foreign([FEATURE]), "application/octet-stream")
    assert answer.status_code == 422
    assert "no rows yet" in answer.json()["detail"]
    assert fresh.send(f"{BASE}/versions", b"", "application/octet-stream").status_code == 422


# Once more


def test_every_revision_comes_out_identical_even_when_its_artifacts_are_gone(grown: Door) -> None:
    for version in grown.get(f"{BASE}/versions").json()["items"]:
        number = version["number"]
        for revision in grown.get(f"{BASE}/versions/{number}").json()["revisions"]:
            again = grown.post(f"{BASE}/versions/{number}/reproduce?revision={revision['number']}")
            assert again.status_code == 200, again.text
            found = again.json()
            assert found["finding"] == "identical", found
            assert found["libraries"] == {}
            assert len(found["members"]) == len([a for a in revision["artifacts"] if a])
            assert all(member["difference"] in {0.0, None} for member in found["members"])


def test_a_deleted_row_is_told(fresh: Door) -> None:
    feed(fresh, 0, 300)
    assert fresh.post(f"{BASE}/versions/1/reproduce?revision=1").json()["finding"] == "identical"
    assert fresh.client.delete(f"{BASE}/rows/17").is_success
    found = fresh.post(f"{BASE}/versions/1/reproduce?revision=1").json()
    assert found["finding"] == "rows-gone"
    assert "deleted" in found["members"][0]["why"]


def test_other_predictions_and_other_libraries_are_told(grown: Door) -> None:
    exchange, spec = grown.desk.exchange, grown.house.spec
    sealed = exchange.sealed("bikes", None)
    is_trees = [member.recipe.family == "lightgbm" for member in sealed.version.members]
    position = is_trees.index(True)
    other = list(sealed.version.members)
    settings = {**other[position].recipe.settings, "num_leaves": 5}
    recipe = Recipe.of("lightgbm", settings, other[position].recipe.past)
    other[position] = replace(other[position], recipe=recipe)
    libraries = {**sealed.revision.libraries, "lightgbm": "4.0.0"}
    changed = Sealed(
        version=replace(sealed.version, members=tuple(other)),
        revision=replace(sealed.revision, libraries=libraries),
    )
    found = exchange.reproduce(spec, changed)
    assert found.finding is Finding.DIFFERENT
    (wrong,) = (member for member in found.members if member.finding is Finding.DIFFERENT)
    assert wrong.member == position
    assert wrong.difference is not None
    assert wrong.difference > 0.001
    assert "other predictions: by " in wrong.why


def test_what_came_from_elsewhere_cannot_be_fitted_again(grown: Door) -> None:
    sealed = grown.desk.exchange.sealed("bikes", None)
    silent = Sealed(
        version=sealed.version,
        revision=replace(
            sealed.revision, provenance=(), libraries={**dict(libraries()), "lightgbm": "4.0.0"}
        ),
    )
    found = grown.desk.exchange.reproduce(grown.house.spec, silent)
    assert found.finding is Finding.UNKNOWN
    assert "an earlier release made it" in found.members[0].why
    assert found.libraries == {"lightgbm": ("4.0.0", dict(libraries())["lightgbm"])}


# From the command line


def test_the_command_line_exports_imports_and_reproduces(
    grown: Door, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--url", grown.url]
    name = grown.get(f"{BASE}/champion").json()["name"]
    assert main(["export", "bikes", "--to", str(tmp_path / "out"), *where]) == OK
    assert f"bikes {name} is in" in capsys.readouterr().out
    assert (tmp_path / "out" / "MODEL_CARD.md").exists()
    assert main(["export", "bikes", "--to", str(tmp_path / "out"), *where]) == USAGE
    assert "is there already" in capsys.readouterr().err
    assert main(["export", f"bikes@{name}", "--to", str(tmp_path / "two"), *where]) == OK
    with lost(grown, "1.1"):
        assert main(["export", "bikes@1.1", "--to", str(tmp_path / "three"), *where]) == FAILED
    assert "no longer kept" in capsys.readouterr().err
    assert main(["reproduce", f"bikes@{name}", *where]) == OK
    told = capsys.readouterr().out
    assert f"bikes {name} comes out identical." in told
    assert "the same predictions to the last bit" in told
    assert main(["reproduce", "bikes@1", "--json", *where]) == OK
    assert json.loads(capsys.readouterr().out)["finding"] == "identical"
    assert main(["reproduce", "bikes", *where]) == USAGE
    assert main(["reproduce", "bikes@first", *where]) == USAGE
    (tmp_path / "no.skops").write_bytes(b"nothing")
    arguments = ["import", str(tmp_path / "no.skops"), "--model", "bikes", *where]
    assert main(arguments) == FAILED
    assert "the model cannot be imported" in capsys.readouterr().err
    assert main(["import", str(tmp_path / "none"), "--model", "bikes", *where]) == USAGE


def test_the_command_line_imports_a_model(
    fresh: Door, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fresh.post(f"{BASE}/rows", world(0, 20)[0])
    (tmp_path / "forest.skops").write_bytes(foreign([FEATURE]))
    file = str(tmp_path / "forest.skops")
    arguments = ["import", file, "--model", "bikes", "--reason", "try it", "--url", fresh.url]
    assert main(arguments) == OK
    assert f"bikes: {file} is version 1.1; it answered the newest 20" in capsys.readouterr().out
    fresh.house.settle()
    (event,) = fresh.house.told("imported")
    assert event.body["reason"] == "try it"


def test_a_name_that_would_be_another_address_is_refused(
    grown: Door, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--url", grown.url]
    for name in ("bikes?format=mlflow", "bikes/champion", "../bikes", "bikes%20"):
        assert main(["export", name, "--to", str(tmp_path / "out"), *where]) == USAGE
        assert main(["status", name, *where]) == USAGE
        assert capsys.readouterr().err.count(f"'{name}' is no model's name") == 2
    assert not (tmp_path / "out").exists()


def test_a_model_that_is_too_large_is_told_which_limit_it_meets(
    grown: Door, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "large.skops").write_bytes(bytes(MAX_BODY + 1))
    arguments = ["import", str(tmp_path / "large.skops"), "--model", "bikes", "--url", grown.url]
    assert main(arguments) == FAILED
    assert "RETUNED_HTTP__MAX_BODY_MB" in capsys.readouterr().err
