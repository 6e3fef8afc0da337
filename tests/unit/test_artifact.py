"""Artifacts: what is tampered with, foreign or not trusted is refused, never run."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import skops.io
from hypothesis import given
from hypothesis import strategies as st
from lightgbm import LGBMRanker
from sklearn.pipeline import Pipeline
from tests.samples import mixed

from retuned_pipelines.fitting import fit
from retuned_pipelines.models import artifact
from retuned_pipelines.models.families import default_recipe
from retuned_pipelines.schema import Task

MODEL = fit(default_recipe(Task.REGRESSION, "linear"), mixed(Task.REGRESSION, 50), Task.REGRESSION)
DATA = artifact.dump(MODEL)


def parts(data: bytes = DATA) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(files: dict[str, bytes]) -> bytes:
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return output.getvalue()


def described(**changes: Any) -> bytes:
    """The artifact with another description of itself; None leaves a key out."""
    about = json.loads(parts()["model.json"]) | changes
    about = {key: value for key, value in about.items() if value is not None}
    return packed(parts() | {"model.json": json.dumps(about).encode()})


class Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.path),))


def refused(data: bytes) -> str:
    with pytest.raises(ValueError) as caught:
        artifact.load(data)
    return str(caught.value)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not a zip",
        DATA[:100],
        DATA[:-30],
        packed({}),
        packed({"model.json": b"{}"}),
        packed({"model.json": b"\xff", "estimator.skops": b""}),
        packed({"model.json": b"[1]", "estimator.skops": b""}),
        packed({"model.json": b"{}", "estimator.skops": b""}),
        packed(parts() | {"estimator.skops": b"no skops file"}),
    ],
)
def test_foreign_bytes_are_refused(data: bytes) -> None:
    assert refused(data)


def test_an_artifact_of_another_release_is_refused_by_its_format() -> None:
    assert "format 2 is not 1" in refused(described(format=2))


@pytest.mark.parametrize(
    "changes", [{"recipe": None}, {"layout": {}}, {"task": "clustering"}, {"classes": 3}]
)
def test_a_description_that_is_not_whole_is_refused(changes: dict[str, Any]) -> None:
    assert refused(described(**changes))


@given(st.integers(0, len(DATA) - 1), st.integers(1, 255))
def test_an_altered_byte_is_refused_or_means_nothing(place: int, change: int) -> None:
    altered = bytearray(DATA)
    altered[place] ^= change
    try:
        found = artifact.load(bytes(altered))
    except ValueError:
        return
    # Dates and such in the archive: the content has checksums.
    assert found.recipe == MODEL.recipe
    assert found.layout == MODEL.layout


def test_a_type_that_is_not_on_the_list_is_refused() -> None:
    foreign = skops.io.dumps(Pipeline([("model", LGBMRanker())]))
    assert "LGBMRanker" in refused(packed(parts() | {"estimator.skops": foreign}))


def test_what_a_file_asks_to_be_run_is_not_run(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    for payload in (pickle.dumps(Touch(trap)), skops_file_that_calls(str(trap))):
        assert refused(packed(parts() | {"estimator.skops": payload}))
        assert not trap.exists()


def skops_file_that_calls(path: str) -> bytes:
    """A skops file that asks for ``os.mkdir`` to be called when it is loaded."""
    schema = {
        "__class__": "mkdir",
        "__module__": "os",
        "__loader__": "ObjectNode",
        "__id__": 1,
        "content": {
            "__class__": "str",
            "__module__": "builtins",
            "__loader__": "JsonNode",
            "__id__": 2,
            "content": json.dumps(path),
            "is_json": True,
        },
        "protocol": 2,
        "_skops_version": "0.16",
    }
    return packed({"schema.json": json.dumps(schema).encode()})


def test_the_list_of_trusted_types_has_nothing_that_can_run_code() -> None:
    roots = {name.partition(".")[0] for name in artifact.TRUSTED}
    assert roots == {"collections", "lightgbm", "numpy", "sklearn"}
    # Of scikit-learn only arrays of nodes; its estimators are skops' own business.
    assert [n for n in artifact.TRUSTED if n.startswith("sklearn")] == ["sklearn.tree._tree.Tree"]
