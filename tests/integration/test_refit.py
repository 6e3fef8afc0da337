"""Fitting members: some of them or all, by however many workers."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import orjson
import pytest
from tests.reigns import reign_of, version_of

from retuned.errors import PermanentError
from retuned.ingest.parse import JSON, parse_rows
from retuned.rows.log import RowLog
from retuned.tune.bench import Bench
from retuned.tune.executor import Call, Executor, Outcome
from retuned.tune.inline import InlineExecutor
from retuned.tune.local import LocalExecutor
from retuned.tune.refit import refit
from retuned_pipelines.care.facts import Fitted
from retuned_pipelines.care.orders import Refit
from retuned_pipelines.models import artifact
from retuned_pipelines.models.families import default_recipe
from retuned_pipelines.recipe import Past, Recipe
from retuned_pipelines.schema import Task
from retuned_pipelines.search.trial import NO_COST
from retuned_pipelines.spec import ModelSpec, ServePolicy
from retuned_pipelines.version import Came, Revision, Shadow

SPEC = ModelSpec(
    name="demo", task=Task.REGRESSION, target="y", metric="neg_mean_absolute_error", time="t"
)
TREES = default_recipe(Task.REGRESSION)
LINEAR = default_recipe(Task.REGRESSION, "linear")
RECIPES = (
    LINEAR,
    TREES,
    replace(TREES, past=Past(rows=120)),
    replace(LINEAR, past=Past(since_change=True)),
)
ROWS = 400


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RowLog]:
    found = RowLog(tmp_path_factory.mktemp("rows") / "rows.sqlite", Task.REGRESSION)
    rng = np.random.default_rng(1)
    x = rng.normal(size=ROWS)
    rows = [{"id": n, "t": n, "x": value, "y": 2 * value} for n, value in enumerate(x.tolist())]
    # Each label comes with its batch: rows 1 to 100, labels 101 to 200, and so on.
    for start in range(0, ROWS, 100):
        parsed = parse_rows(orjson.dumps(rows[start : start + 100]), JSON, SPEC, found.schema, 0)
        found.append_rows(parsed.batch, parsed.schema)
    yield found
    found.close()


@dataclass
class Recording:
    """Runs calls inline, and remembers them."""

    workers: int = 1
    threads: int = 1
    calls: list[Call] = field(default_factory=list)
    inner: InlineExecutor = field(default_factory=InlineExecutor)

    def submit(self, call: Call) -> Future[Outcome]:
        self.calls.append(call)
        return self.inner.submit(call)

    def cancel(self, group: str) -> None:
        self.inner.cancel(group)

    def close(self) -> None:
        self.inner.close()

    @property
    def shared(self) -> list[list[Recipe]]:
        return [list(call.request.recipes) for call in self.calls]


def order(*members: int, serving: Revision | None = None, changed_seq: int = 0) -> Refit:
    return Refit(
        id="o9",
        as_of=2 * ROWS,
        version=version_of(RECIPES),
        labelled=ROWS,
        members=members,
        serving=serving,
        changed_seq=changed_seq,
    )


def fitted(
    log: RowLog,
    directory: Path,
    wanted: Refit,
    *,
    executor: Executor | None = None,
    spec: ModelSpec = SPEC,
    came: Came | None = None,
) -> Fitted:
    bench = Bench(
        executor=executor or InlineExecutor(), directory=directory, stop=threading.Event()
    )
    return refit(spec, wanted, log, bench, now=5.0, came=came)


def test_all_members_of_a_new_version_are_fitted_and_can_be_loaded(
    log: RowLog, tmp_path: Path
) -> None:
    found = fitted(log, tmp_path, order(0, 1, 2, 3))
    assert len(set(found.made.artifacts)) == len(RECIPES)
    for name, recipe in zip(found.made.artifacts, RECIPES, strict=True):
        data = (tmp_path / "fits" / "demo" / name).read_bytes()
        assert hashlib.sha256(data).hexdigest() == name
        assert artifact.load(data).recipe == recipe
    assert (found.made.rows, found.made.first_seq, found.made.last_seq) == (ROWS, 1, 2 * ROWS - 100)
    assert found.made.predict_ms == (0.0,) * len(RECIPES)
    assert found.cost.cpu_s > 0
    assert not list((tmp_path / "windows").iterdir())


def serving() -> Revision:
    crowned = reign_of(RECIPES, as_of=600, rows=300, artifacts=("one", "two", "three", ""))
    return replace(crowned.revision, predict_ms=(1.0, 2.0, 3.0, 4.0))


def test_who_is_not_fitted_keeps_the_artifact(log: RowLog, tmp_path: Path) -> None:
    found = fitted(log, tmp_path, order(2, serving=serving()))
    one, two, three, gone = found.made.artifacts
    assert (one, two, gone) == ("one", "two", "")
    assert artifact.load((tmp_path / "fits" / "demo" / three).read_bytes()).recipe == RECIPES[2]
    assert found.made.predict_ms == (1.0, 2.0, 0.0, 4.0)


def test_what_a_revision_learned_from_is_that_of_all_its_members(
    log: RowLog, tmp_path: Path
) -> None:
    found = fitted(log, tmp_path, order(2, serving=serving()))
    # The member of 120 rows is new; the others still know the oldest ones.
    assert (found.made.rows, found.made.first_seq, found.made.last_seq) == (300, 1, 2 * ROWS - 100)


def test_where_nobody_is_fitted_only_the_losses_are_handed_on(log: RowLog, tmp_path: Path) -> None:
    before, executor, came = serving(), Recording(), Came(((1.0, 2.0, 3.0, 4.0),))
    found = fitted(log, tmp_path, order(serving=before), executor=executor, came=came)
    assert executor.calls == []
    assert found.made.artifacts == before.artifacts
    assert found.made.predict_ms == before.predict_ms
    assert (found.made.rows, found.made.first_seq, found.made.last_seq) == (300, 1, 600)
    assert found.schema_digest == before.schema_digest
    assert found.cost == NO_COST
    assert found.came == came


def test_a_change_is_told_to_those_who_learn_since_then(log: RowLog, tmp_path: Path) -> None:
    found = fitted(log, tmp_path, order(3, changed_seq=400))
    assert (found.made.rows, found.made.first_seq) == (200, 401)
    assert fitted(log, tmp_path, order(3)).made.rows == ROWS


def answers(found: Fitted, directory: Path) -> list[list[float]]:
    """What each member answers to some rows; the bytes of equal models differ."""
    models = [
        artifact.load((directory / "fits" / "demo" / name).read_bytes())
        for name in found.made.artifacts
    ]
    return [model.predict(np.linspace(-2, 2, 9)[:, None]).tolist() for model in models]


def test_members_are_shared_out_so_that_nobody_waits_long(log: RowLog, tmp_path: Path) -> None:
    two, many = Recording(workers=2), Recording(workers=9)
    one = fitted(log, tmp_path, order(0, 1, 2, 3))
    # The dearest alone; the others together are cheaper still.
    found = fitted(log, tmp_path, order(0, 1, 2, 3), executor=two)
    assert answers(found, tmp_path) == answers(one, tmp_path)
    assert sorted(len(part) for part in two.shared) == [1, 3]
    assert [TREES] in two.shared
    fitted(log, tmp_path, order(0, 1, 2, 3), executor=many)
    assert [len(part) for part in many.shared] == [1, 1, 1, 1]
    # Who fits several may take as long as several.
    limits = {len(call.request.recipes): call.limits.wall_s for call in two.calls}
    assert limits == {1: SPEC.search.trial_s, 3: 3 * SPEC.search.trial_s}


def test_child_processes_fit_the_same_as_this_one(log: RowLog, tmp_path: Path) -> None:
    executor = LocalExecutor(workers=2, threads=1)
    try:
        apart = fitted(log, tmp_path / "apart", order(0, 1, 2, 3), executor=executor)
    finally:
        executor.close()
    here = fitted(log, tmp_path / "here", order(0, 1, 2, 3))
    assert answers(apart, tmp_path / "apart") == answers(here, tmp_path / "here")
    nameless = replace(here.made, artifacts=())
    assert replace(apart.made, artifacts=()) == nameless
    assert replace(apart, cost=NO_COST, made=nameless) == replace(here, cost=NO_COST, made=nameless)


def test_a_row_is_timed_only_where_time_counts(log: RowLog, tmp_path: Path) -> None:
    hasty = replace(SPEC, serve=ServePolicy(max_predict_ms=5.0))
    found = fitted(log, tmp_path, order(0, 1, 2, 3), spec=hasty)
    assert all(ms > 0 for ms in found.made.predict_ms)


def test_a_member_that_cannot_be_fitted_is_told(log: RowLog, tmp_path: Path) -> None:
    bad = Recipe.of("lightgbm", {**TREES.settings, "num_leaves": -1})
    wanted = replace(order(1), version=version_of((TREES, bad)))
    with pytest.raises(PermanentError, match="version 1 could not be fitted: LightGBMError"):
        fitted(log, tmp_path, wanted)


def test_a_shadow_shares_the_champion_s_fits_and_has_others_made_for_it_alone(
    log: RowLog, tmp_path: Path
) -> None:
    before = reign_of((RECIPES[0], RECIPES[3], RECIPES[1]), as_of=600, artifacts=("a", "b", "c"))
    shadow = Shadow(version=before.version, revision=before.revision)
    wanted = replace(
        order(0, serving=serving()),
        version=version_of(RECIPES[:3]),
        shadow=shadow,
        shadow_members=(1,),
    )
    wanted = replace(wanted, serving=replace(serving(), artifacts=("one", "two", "three")))
    found = fitted(log, tmp_path, wanted)
    assert found.shadow is not None
    mine, alone, kept = found.shadow.artifacts
    assert mine == found.made.artifacts[0]
    assert artifact.load((tmp_path / "fits" / "demo" / alone).read_bytes()).recipe == RECIPES[3]
    # The champion's fit of it is an older one, which the shadow has already.
    assert kept == "c"
    assert found.made.artifacts[1:] == ("two", "three")
