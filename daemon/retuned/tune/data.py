"""Windows in files that child processes map into memory."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from retuned_pipelines.schema import Schema
from retuned_pipelines.window import Window

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType
    from typing import Self


@dataclass(frozen=True, slots=True)
class WindowFile:
    """A window in an Arrow IPC file, written once and removed at the end of its use."""

    path: Path

    @classmethod
    def write(cls, window: Window, path: Path) -> WindowFile:
        """Write a window; a file of that name is replaced as a whole.

        Raises:
            OSError: the disk is full, or the folder cannot be written.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        table = window.to_arrow()
        schema = json.dumps(window.schema.to_json())
        table = table.replace_schema_metadata({**(table.schema.metadata or {}), "schema": schema})
        draft = path.with_suffix(f".{os.getpid()}.tmp")
        with pa.OSFile(str(draft), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
        draft.replace(path)
        return cls(path)

    def read(self) -> Window:
        """Map the window into memory; what is not touched is not read."""
        with pa.memory_map(str(self.path)) as source:
            table = pa.ipc.open_file(source).read_all()
        schema = Schema.from_json(json.loads(table.schema.metadata[b"schema"]))
        return Window.from_arrow(table, schema)

    def __enter__(self) -> Self:
        """Use the file."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove the file."""
        self.path.unlink(missing_ok=True)
