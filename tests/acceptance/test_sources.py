"""What takes rows and labels in is killed again and again, and so is Redis: nothing is lost."""

from __future__ import annotations

import multiprocessing
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from redis import Redis
from redis.exceptions import RedisError
from tests.acceptance import yard as yards
from tests.acceptance.daemon import RealDaemon
from tests.acceptance.producers import (
    Producer,
    by_http,
    by_spool,
    by_stream,
    http,
    label,
    lines,
    row,
)
from tests.acceptance.yard import Yard

from retuned.demo.daemon import free_port
from retuned.rows.log import RowLog
from retuned_pipelines.schema import Task

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]

KILLS = 50
LONGEST_LIFE_S = 0.15
SETTLED_S = 60.0
QUIET = "WATCH__MIN_ROWS=10000000\nWATCH__EVERY_ROWS=10000000\n"
BIKES = f"TASK=regression\nTARGET=y\nTIME=at\n{QUIET}"


@dataclass
class RealRedis:
    """A redis-server that keeps what it has acknowledged, killed and started again."""

    directory: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self) -> Redis:
        return Redis(port=self.port, socket_timeout=5)

    def start(self) -> None:
        binary = shutil.which("redis-server")
        assert binary is not None, "install redis-server"
        self.directory.mkdir(exist_ok=True)
        options = ["--port", str(self.port), "--dir", str(self.directory), "--save", ""]
        durable = ["--appendonly", "yes", "--appendfsync", "always"]
        command = [binary, *options, *durable, "--bind", "127.0.0.1"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        poll(self._answers, 20)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except RedisError:
            return False


def poll(is_so: Callable[[], bool], at_most_s: float) -> None:
    deadline = time.monotonic() + at_most_s
    while not is_so():
        assert time.monotonic() < deadline, f"not within {at_most_s} s"
        time.sleep(0.02)


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="rt-") as name:
        yield Path(name)


@pytest.fixture
def redis(directory: Path) -> Iterator[RealRedis]:
    server = RealRedis(directory / "redis")
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def processes() -> multiprocessing.context.ForkServerContext:
    """Children that have imported everything: only what they do takes time."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([yards.__name__])
    return context


@contextmanager
def living(
    processes: multiprocessing.context.ForkServerContext, yard: Yard
) -> Iterator[multiprocessing.process.BaseProcess]:
    """One life, which ends with SIGKILL."""
    is_up = processes.Event()
    process = processes.Process(target=yards.live, args=(yard, is_up))
    process.start()
    try:
        assert is_up.wait(60)
        assert process.is_alive()
        yield process
    finally:
        process.kill()
        process.join()


def held_exactly(log: RowLog, rows: int) -> bool:
    counts = log.counts()
    return (counts.rows, counts.labelled) == (rows, rows)


def check(log: RowLog, rows: int) -> None:
    """Every row exactly once, every label on its row, and nothing was ever stored twice."""
    window = log.window(labelled=True)
    expected = {row(n)["id"]: (row(n)["at"], row(n)["x"], label(n)["label"]) for n in range(rows)}
    ids = window.ids.to_pylist()
    assert len(ids) == len(set(ids)) == rows
    times = (window.time // 1_000_000).tolist()
    found = zip(times, window.features["x"].to_pylist(), window.target.to_pylist(), strict=True)
    assert dict(zip(ids, found, strict=True)) == expected
    assert log.counts().last_seq == 2 * rows


@pytest.mark.parametrize("source", ["http", "spool", "stream"])
def test_killed_fifty_times_it_has_every_row_once_and_every_label_on_its_row(
    source: str,
    directory: Path,
    redis: RealRedis,
    processes: multiprocessing.context.ForkServerContext,
) -> None:
    yard, moments = Yard(directory, free_port(), redis.url), np.random.default_rng(len(source))
    with http(yard.url) as client, redis.client() as server, ExitStack() as stack:
        by = {"http": by_http(client), "spool": by_spool(yard.spool), "stream": by_stream(server)}
        producer = stack.enter_context(Producer(by[source]))
        kills = 0
        # On a busy machine a life may be too short for a batch; so there are more of them then.
        while kills < KILLS or producer.batches < KILLS:
            assert kills < 10 * KILLS, producer.batches
            with living(processes, yard) as process:
                process.join(moments.uniform(0, LONGEST_LIFE_S))
                assert producer.is_running, producer.fault
            kills += 1
        producer.stop()
        with living(processes, yard):
            poll(lambda: not producer.is_running, SETTLED_S)
            log = yard.row_log()
            poll(lambda: held_exactly(log, producer.rows), SETTLED_S)
            log.close()
    log = yard.row_log()
    check(log, producer.rows)
    log.close()


def test_retuned_ingest_killed_with_its_daemon_fifty_times_sends_every_row_and_label(
    directory: Path, processes: multiprocessing.context.ForkServerContext
) -> None:
    yard, moments = Yard(directory, free_port(), ""), np.random.default_rng(1)
    rows, interrupted = 20_000, 0
    files = {"rows": directory / "rows.ndjson", "labels": directory / "labels.ndjson"}
    files["rows"].write_bytes(lines([row(n) for n in range(rows)]))
    files["labels"].write_bytes(lines([label(n) for n in range(rows)]))

    def sending(cargo: str) -> multiprocessing.process.BaseProcess:
        arguments = [str(files[cargo]), "--model", "bikes", "--url", yard.url]
        more = ["--batch-rows", "25", *(["--labels"] if cargo == "labels" else [])]
        return processes.Process(target=yards.ingest, args=([*arguments, *more],))

    for number in range(KILLS):
        with living(processes, yard) as process:
            client = sending("labels" if number % 2 else "rows")
            client.start()
            client.join(moments.uniform(0, 3 * LONGEST_LIFE_S))
            interrupted += client.is_alive()
            first, second = (client, process) if moments.random() < 0.5 else (process, client)
            first.kill()
            second.join(moments.uniform(0, LONGEST_LIFE_S))
            second.kill()
            client.join()
    assert interrupted >= 0.9 * KILLS
    with living(processes, yard):
        for cargo in files:
            client = sending(cargo)
            client.start()
            client.join(SETTLED_S)
            assert client.exitcode == 0
    log = yard.row_log()
    check(log, rows)
    log.close()


def wait_for_all(daemon: RealDaemon, rows: int) -> None:
    def is_all_there() -> bool:
        found = daemon.get("/v1/models/bikes")
        return (found["rows"], found["labelled"]) == (rows, rows)

    daemon.wait_until(is_all_there, SETTLED_S)


def look_into(daemon: RealDaemon, rows: int) -> None:
    """Every row once and every label on its row, in the log of a daemon that has stopped."""
    log = RowLog(daemon.state / "rows" / "bikes.sqlite", Task.REGRESSION)
    check(log, rows)
    log.close()


def test_the_whole_daemon_killed_with_all_sources_at_work_loses_nothing(
    directory: Path, redis: RealRedis
) -> None:
    daemon = RealDaemon(directory)
    spool = daemon.state / "spool"
    settings = {"RETUNED_STREAM__URL": redis.url, "RETUNED_SPOOL__EVERY_S": "0.05"}
    daemon.write_model("bikes", BIKES)
    moments = np.random.default_rng(2)
    with ExitStack() as stack:
        stack.callback(lambda: daemon.kill() if daemon.process else None)
        client, server = (stack.enter_context(c) for c in (http(daemon.url), redis.client()))
        # The same rows and labels from all sides: what one has brought is a repetition to others.
        sides = (by_http(client), by_spool(spool), by_stream(server))
        producers = [stack.enter_context(Producer(side)) for side in sides]
        for _ in range(3):
            daemon.start(**settings)
            before = [producer.batches for producer in producers]
            daemon.wait_until(
                lambda at=before: all(
                    p.batches > n + 2 for p, n in zip(producers, at, strict=True)
                ),
                30,
            )
            time.sleep(moments.uniform(0, 0.3))
            daemon.kill()
        daemon.start(**settings)
        for producer in producers:
            producer.stop()
        daemon.wait_until(lambda: not any(p.is_running for p in producers), SETTLED_S)
        rows = max(producer.rows for producer in producers)
        wait_for_all(daemon, rows)
        waiting = [*(spool / "bikes").glob("*/*.ndjson")]
        daemon.wait_until(lambda: not any(path.exists() for path in waiting), SETTLED_S)
        assert daemon.stop() < 10
        assert not [*(spool / "bikes").glob("*/failed/*")]
        assert server.xlen("retuned:{bikes}:in:failed") == 0
    look_into(daemon, rows)


def test_redis_killed_and_started_again_stops_neither_http_nor_spool_and_the_stream_goes_on(
    directory: Path, redis: RealRedis
) -> None:
    daemon = RealDaemon(directory, redis_url=redis.url)
    daemon.write_model("bikes", BIKES)
    daemon.start(RETUNED_STREAM__URL=redis.url, RETUNED_SPOOL__EVERY_S="0.05")
    spool = daemon.state / "spool"
    with ExitStack() as stack:
        stack.callback(lambda: daemon.kill() if daemon.process else None)
        client, server = (stack.enter_context(c) for c in (http(daemon.url), redis.client()))
        sides = {"http": by_http(client), "spool": by_spool(spool), "stream": by_stream(server)}
        by_side = {side: stack.enter_context(Producer(by)) for side, by in sides.items()}
        for _ in range(2):
            redis.kill()
            at = {side: producer.batches for side, producer in by_side.items()}
            # Any answer but 200 ends the producer that posts.
            for side in ("http", "spool"):
                daemon.wait_until(lambda s=side, n=at[side]: by_side[s].batches > n + 30, 30)
            redis.start()
            at = {side: producer.batches for side, producer in by_side.items()}
            for side in by_side:
                daemon.wait_until(lambda s=side, n=at[side]: by_side[s].batches > n + 30, 30)
        for producer in by_side.values():
            producer.stop()
        daemon.wait_until(lambda: not any(p.is_running for p in by_side.values()), SETTLED_S)
        rows = max(producer.rows for producer in by_side.values())
        wait_for_all(daemon, rows)
        assert daemon.stop() < 10
        assert not [*(spool / "bikes").glob("*/failed/*")]
        assert server.xlen("retuned:{bikes}:in:failed") == 0
    look_into(daemon, rows)
