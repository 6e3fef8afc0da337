"""``make bench-rows``: what it costs to take rows in, and to read them again.

Rates are ratios side by side in one run: what the HTTP endpoint takes against the bare store, in
this process, for the same batches with the same durability; a store of many rows against one of
few.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np
import pyarrow as pa
from rich.console import Console
from rich.table import Table

from retuned.demo.daemon import free_port
from retuned.rows.batch import LabelBatch, RowBatch
from retuned.rows.log import RowLog
from retuned.rows.retain import Limits
from retuned_pipelines.schema import Feature, Kind, Schema, Task

COLUMNS = 20
BATCH = 1000
SCHEMA = Schema(tuple(Feature(f"x{n}", Kind.NUMBER) for n in range(COLUMNS)))
ARROW, NDJSON = "application/vnd.apache.arrow.stream", "application/x-ndjson"
WINDOW = 50_000
WARM_S = 15.0
TURNS = 5


def main() -> None:
    """Measure, and print."""
    asked = _arguments()
    console = Console(width=100)
    with tempfile.TemporaryDirectory(dir=asked.directory, prefix="bench-") as name:
        bench = Bench(Path(name), console)
        bench.ways(asked.batches)
        bench.curve("ordered", asked.rows)
        bench.curve("random", asked.rows)
        bench.upload(asked.upload_mb)
    console.print(_machine())


@dataclass
class Bench:
    """Measures in a folder, and prints what it finds."""

    directory: Path
    console: Console

    def ways(self, batches: int) -> None:
        """The bare store, and the HTTP endpoint, on the same batches, turn by turn.

        The store is measured before and after each turn: what else runs on a machine comes and
        goes, and a ratio holds only for the same moment.
        """
        bodies = {"Arrow": (ARROW, _arrow), "NDJSON": (NDJSON, _ndjson)}
        bare: list[float] = []
        found: dict[str, list[tuple[float, float]]] = {}
        with _daemon(self.directory / "daemon") as url:
            for turn, (name, senders) in itertools.product(
                range(TURNS), itertools.product(bodies, (1, 4))
            ):
                kind, encode = bodies[name]
                tables = [
                    _table((turn * batches + n) * BATCH, BATCH, "random") for n in range(batches)
                ]
                payloads, rows = [encode(table) for table in tables], batches * BATCH
                model = f"{name.lower()}{senders}"
                before = self._bare(tables, f"before-{model}")
                seconds = _post_all(f"{url}/v1/models/{model}/rows", payloads, kind, senders)
                _check_rows(url, model, (turn + 1) * rows)
                alone_s = (before + self._bare(tables, f"after-{model}")) / 2
                bare.append(rows / alone_s)
                told = f"HTTP, {name}, {senders} at a time"
                found.setdefault(told, []).append((rows / seconds, alone_s / seconds))
            singles = [_ndjson(_table(n, 1, "random")) for n in range(10**9, 10**9 + 2000)]
            alone = {
                senders: len(singles)
                / _post_all(f"{url}/v1/models/single{senders}/rows", singles, NDJSON, senders)
                for senders in (1, 16)
            }
        table = Table(
            "way in", "rows/s", "of the bare store", "from", "to", title=f"{BATCH} x {COLUMNS}"
        )
        table.add_row("bare store", f"{np.median(bare):,.0f}", "1.00", "", "")
        for name, turns in found.items():
            rates, ratios = zip(*turns, strict=True)
            cells = (np.median(ratios), min(ratios), max(ratios))
            table.add_row(name, f"{np.median(rates):,.0f}", *(f"{cell:.2f}" for cell in cells))
        self.console.print(table)
        table = Table("requests at a time", "rows/s", "of one", title="One row a request")
        for senders, rate in alone.items():
            table.add_row(f"{senders}", f"{rate:,.0f}", f"{rate / alone[1]:.2f}")
        self.console.print(table)

    def curve(self, ids: str, most: int) -> None:
        """What a row costs as the log grows, and what a window does."""
        table = Table("rows", "us/row", "window, ms", "labelled, ms", title=f"{ids} ids")
        log = RowLog(self.directory / f"{ids}.sqlite", Task.REGRESSION)
        with closing(log):
            start = 0
            for edge in _edges(most):
                spent = 0.0
                for first in range(start, edge, BATCH):
                    batch = _batch(_table(first, BATCH, ids))
                    begun = time.perf_counter()
                    log.append_rows(batch, SCHEMA)
                    spent += time.perf_counter() - begun
                cost = spent / (edge - start) * 1e6
                _label_newest(log)
                log.tidy(Limits())
                table.add_row(
                    f"{edge:,}",
                    f"{cost:.2f}",
                    f"{_window_ms(log, labelled=False):.1f}" if edge >= WINDOW else "",
                    f"{_window_ms(log, labelled=True):.1f}" if edge >= WINDOW else "",
                )
                start = edge
        self.console.print(table)
        shutil.rmtree(self.directory / f"{ids}.ids", ignore_errors=True)
        (self.directory / f"{ids}.sqlite").unlink()

    def upload(self, megabytes: int) -> None:
        """Memory of the daemon while one large file is sent to it."""
        table = Table("sent", "MB", "rows/s", "memory before", "most", title="One large file, MB")
        with _daemon(self.directory / "upload") as url:
            before = _memory_mb(self.directory / "upload", peak=False)
            begun, rows, size = time.perf_counter(), 0, 0

            def body() -> Iterator[bytes]:
                nonlocal rows, size
                while size < megabytes * 1_000_000:
                    part = _ndjson(_table(rows, 20_000, "random"))
                    rows, size = rows + 20_000, size + len(part)
                    yield part

            target, headers = f"{url}/v1/models/ndjson1/rows", {"content-type": NDJSON}
            answer = httpx.post(target, content=body(), headers=headers, timeout=3600)
            assert answer.is_success, answer.text
            rate = rows / (time.perf_counter() - begun)
            peak = _memory_mb(self.directory / "upload", peak=True)
            table.add_row("NDJSON", f"{size / 1e6:,.0f}", f"{rate:,.0f}", f"{before}", f"{peak}")
        self.console.print(table)

    def _bare(self, tables: list[pa.Table], name: str) -> float:
        """Seconds that the store alone takes for these batches, in a log that grows likewise."""
        log = RowLog(self.directory / f"bare-{name}.sqlite", Task.REGRESSION)
        with closing(log):
            first, *batches = [_batch(table) for table in tables]
            # A daemon has read its index long ago.
            log.append_rows(first, SCHEMA)
            begun = time.perf_counter()
            for batch in batches:
                log.append_rows(batch, SCHEMA)
            return (time.perf_counter() - begun) * len(tables) / len(batches)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench-rows", description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000, help="rows of the largest log")
    parser.add_argument(
        "--batches", type=int, default=150, help="batches of each way in, in a turn"
    )
    parser.add_argument("--upload-mb", type=int, default=1000, help="size of the large file")
    parser.add_argument("--directory", help="on the disk that is measured; default: the system's")
    return parser.parse_args()


def _edges(most: int) -> list[int]:
    edges = [10_000]
    while edges[-1] * 10 <= most:
        edges.append(edges[-1] * 10)
    return edges


def _table(first: int, size: int, ids: str) -> pa.Table:
    """Rows with an id and numbers: the ids in order, or like UUIDs."""
    numbers = range(first, first + size)
    names = [f"row-{number:012d}" for number in numbers]
    if ids == "random":
        names = [hashlib.sha256(name.encode()).hexdigest()[:32] for name in names]
    values = np.random.default_rng(first).normal(size=(COLUMNS, size)).round(4)
    return pa.table([pa.array(names), *values], names=["id", *SCHEMA.names])


def _batch(table: pa.Table) -> RowBatch:
    return RowBatch(
        ids=table["id"].combine_chunks(),
        time=np.full(len(table), time.time_ns() // 1000),
        is_timed=False,
        features=table.drop_columns(["id"]),
        labels=pa.nulls(len(table), pa.float64()),
    )


def _label_newest(log: RowLog) -> None:
    """Give the rows of the window labels, as they come in production."""
    newest = log.window(newest=WINDOW, with_labels=False)
    for start in range(0, len(newest), BATCH):
        ids = newest.ids.slice(start, BATCH)
        log.append_labels(LabelBatch(ids=ids, values=pa.array(np.ones(len(ids)))))


def _arrow(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def _ndjson(table: pa.Table) -> bytes:
    names = table.column_names
    columns = [column.to_pylist() for column in table.columns]
    lines = (json.dumps(dict(zip(names, row, strict=True))) for row in zip(*columns, strict=True))
    return "".join(f"{line}\n" for line in lines).encode()


def _post_all(url: str, payloads: list[bytes], kind: str, senders: int) -> float:
    """Seconds to send payloads over so many kept connections, which the first ones open.

    With the standard library's client: a heavier one would be what is measured.
    """
    address = urlsplit(url)
    connections = threading.local()

    def send(body: bytes) -> None:
        if not hasattr(connections, "http"):
            connections.http = HTTPConnection(address.hostname or "", address.port, timeout=60)
            connections.http.connect()
            connections.http.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connections.http.request("POST", address.path, body, {"content-type": kind})
        answer = connections.http.getresponse()
        text = answer.read()
        assert answer.status == HTTPStatus.OK, text

    with ThreadPoolExecutor(senders) as pool:
        list(pool.map(send, payloads[:senders]))
        begun, rest = time.perf_counter(), payloads[senders:]
        list(pool.map(send, rest))
        return (time.perf_counter() - begun) * len(payloads) / len(rest)


def _check_rows(url: str, model: str, rows: int) -> None:
    held = httpx.get(f"{url}/v1/models/{model}", trust_env=False, timeout=60).json()["rows"]
    assert held == rows, f"{model} holds {held} of {rows} rows"


def _window_ms(log: RowLog, *, labelled: bool) -> float:
    """Milliseconds to read the newest rows: the median of some."""
    spent = []
    for _ in range(5):
        begun = time.perf_counter()
        log.window(newest=WINDOW, with_labels=labelled)
        spent.append(time.perf_counter() - begun)
    return float(np.median(spent)) * 1000


@contextmanager
def _daemon(directory: Path) -> Iterator[str]:
    """A daemon with a model for each way in, whose keepers have nothing to do."""
    models = directory / "models"
    models.mkdir(parents=True)
    for name in ("arrow1", "arrow4", "ndjson1", "ndjson4", "single1", "single16"):
        # So many labelled rows never come: nothing but ingestion is measured.
        features = ",".join(f"{column}:number" for column in SCHEMA.names)
        text = f"TASK=regression\nTARGET=y\nWATCH__MIN_ROWS=1000000000\nFEATURES={features}\n"
        (models / f"{name}.env").write_text(text)
    url = f"127.0.0.1:{free_port()}"
    settings = directory / "retuned.env"
    settings.write_text(
        f"RETUNED_STATE_DIR={directory / 'state'}\nRETUNED_MODELS_DIR={models}\n"
        f"RETUNED_HTTP__LISTEN={url}\n"
    )
    command = [sys.executable, "-m", "retuned", "serve", "--env-file", str(settings)]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        (directory / "pid").write_text(str(process.pid))
        _wait(lambda: httpx.get(f"http://{url}/readyz", trust_env=False).is_success)
        # Its fork server imports for some seconds, on a core that is wanted here.
        time.sleep(WARM_S)
        yield f"http://{url}"
    finally:
        process.terminate()
        process.wait(30)


def _wait(is_so: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if is_so():
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    message = "the daemon did not become ready"
    raise TimeoutError(message)


def _memory_mb(directory: Path, *, peak: bool) -> int:
    """Resident memory of a daemon now, or the most that it ever had."""
    pid = (directory / "pid").read_text()
    wanted = "VmHWM:" if peak else "VmRSS:"
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(wanted):
            return int(line.split()[1]) // 1000
    return 0


def _machine() -> str:
    import sqlite3  # noqa: PLC0415 (for its version)

    libraries = ", ".join(f"{name} {version(name)}" for name in ("pyarrow", "uvicorn", "fastapi"))
    return (
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {libraries}; "
        f"{platform.system()} {platform.machine()}"
    )


if __name__ == "__main__":
    main()
