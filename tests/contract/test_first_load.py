"""An artifact that ends the process which loads it ends a child, not the daemon."""

from __future__ import annotations

import hashlib
import io
import threading
import zipfile
from collections.abc import Iterator

import pytest
from tests.samples import mixed

from retuned.errors import PermanentError
from retuned.tune.bench import Bench
from retuned.tune.local import LocalExecutor
from retuned_pipelines.fitting import fit
from retuned_pipelines.models import artifact
from retuned_pipelines.models.families import FAMILIES
from retuned_pipelines.recipe import Recipe
from retuned_pipelines.schema import Task

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    executor = LocalExecutor(workers=1, threads=1)
    folder = tmp_path_factory.mktemp("bench")
    yield Bench(executor=executor, directory=folder, stop=threading.Event())
    executor.close()


@pytest.fixture(scope="module")
def trees() -> bytes:
    task = Task.REGRESSION
    recipe = Recipe.of("lightgbm", FAMILIES["lightgbm"].default(task))
    return artifact.dump(fit(recipe, mixed(task), task))


def corrupted(data: bytes) -> bytes:
    """The same artifact with a word of LightGBM's model text changed; it is whole otherwise."""
    outer = zipfile.ZipFile(io.BytesIO(data))
    inner = zipfile.ZipFile(io.BytesIO(outer.read("estimator.skops")))
    text = inner.read("schema.json").replace(b"Tree=0", b"Trxx=0", 1)
    estimator, output = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(estimator, "w") as archive:
        for name in inner.namelist():
            archive.writestr(name, text if name == "schema.json" else inner.read(name))
    with zipfile.ZipFile(output, "w") as archive:
        archive.writestr("model.json", outer.read("model.json"))
        archive.writestr("estimator.skops", estimator.getvalue())
    return output.getvalue()


def prove(bench: Bench, *artifacts: bytes) -> None:
    bench.prove("demo", {hashlib.sha256(data).hexdigest(): data for data in artifacts})


def test_what_can_be_loaded_is_proven(bench: Bench, trees: bytes) -> None:
    prove(bench, trees)


def test_a_tree_that_aborts_the_process_is_refused_by_name(bench: Bench, trees: bytes) -> None:
    bad = corrupted(trees)
    with pytest.raises(PermanentError, match="child process that loaded it first.*killed") as told:
        prove(bench, trees, bad)
    assert hashlib.sha256(bad).hexdigest()[:12] in str(told.value)
    # The daemon goes on, and so does its bench.
    prove(bench, trees)


def test_what_is_no_artifact_is_refused_with_the_reason(bench: Bench) -> None:
    with pytest.raises(PermanentError, match="no model artifact that can be loaded"):
        prove(bench, b"nothing of the kind")
