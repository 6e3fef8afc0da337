"""A folder of streams: what there is, and the model file of each."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from retuned.errors import ConfigError
from retuned.replay.run import read_spec
from retuned_pipelines.schema import Task

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from retuned_pipelines.spec import ModelSpec

TARGET, TIME, META = "target", "time", "meta.json"

MOST_CLASSES = 100
"""Whole numbers with more distinct values than this are amounts, not classes."""

_CLASSES_OF_BINARY = 2


@dataclass(frozen=True, slots=True)
class Stream:
    """One file of history.

    Attributes:
        name: the file's, without its suffix.
        path: of the file.
        task: what is predicted.
        has_time: whether a column ``time`` orders the rows; else their order does.
        rows: of the file.
    """

    name: str
    path: Path
    task: Task
    has_time: bool
    rows: int

    def spec(self, policy: Sequence[str], seed: int) -> ModelSpec:
        """The model: task, target and time, everything else by default.

        Args:
            policy: ``KEY=VALUE`` each, further keys of the model file.
            seed: of the search.

        Raises:
            ConfigError: the stream's name is no model name, or a key is wrong.
        """
        lines = [f"TASK={self.task.value}", f"TARGET={TARGET}"]
        lines += [f"TIME={TIME}"] if self.has_time else []
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / f"{self.name}.env"
            path.write_text("\n".join(lines) + "\n")
            return read_spec(path, policy, seed)


def read_folder(folder: Path, only: Sequence[str] = ()) -> tuple[Stream, ...]:
    """Find the streams of a folder, by name.

    What ``meta.json`` does not tell of a stream (its task, whether it has a time) is told by
    the stream's columns.

    Args:
        folder: holds ``<name>.parquet``.
        only: names of those that are wanted; empty for all.

    Raises:
        ConfigError: there is no stream, or not the one that is wanted.
    """
    paths = {path.stem: path for path in sorted(folder.glob("*.parquet"))}
    if not paths:
        message = f"{folder} holds no stream: give a folder of <name>.parquet"
        raise ConfigError(message)
    unknown = [name for name in only if name not in paths]
    if unknown:
        message = f"{folder} has no stream {unknown[0]!r}; it has {', '.join(paths)}"
        raise ConfigError(message)
    meta_file = folder / META
    meta = json.loads(meta_file.read_text()) if meta_file.exists() else {}
    return tuple(_stream(paths[name], meta.get(name, {})) for name in (only or paths))


def infer_task(target: pa.ChunkedArray) -> Task:
    """Tell the task from the labels.

    Numbers with a fraction, and more than `MOST_CLASSES` different numbers, are a regression;
    anything else is a class.

    Raises:
        ConfigError: all labels are the same.
    """
    kind = target.type
    is_float = pa.types.is_floating(kind)
    if is_float and not pc.all(pc.equal(pc.floor(target), target)).as_py():
        return Task.REGRESSION
    distinct = pc.count_distinct(target).as_py()
    if (is_float or pa.types.is_integer(kind)) and distinct > MOST_CLASSES:
        return Task.REGRESSION
    if distinct < _CLASSES_OF_BINARY:
        message = f"the column {TARGET!r} has one value only: there is nothing to predict"
        raise ConfigError(message)
    return Task.BINARY if distinct == _CLASSES_OF_BINARY else Task.MULTICLASS


def _stream(path: Path, meta: Mapping[str, Any]) -> Stream:
    names = pq.read_schema(path).names
    if TARGET not in names:
        message = f"{path} has no column {TARGET!r}; it has {', '.join(names)}"
        raise ConfigError(message)
    told = meta.get("task")
    task = Task(told) if told else infer_task(pq.read_table(path, columns=[TARGET])[TARGET])
    return Stream(
        name=path.stem,
        path=path,
        task=task,
        has_time=bool(meta.get("time", TIME in names)),
        rows=pq.read_metadata(path).num_rows,
    )
