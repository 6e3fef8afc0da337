"""A whole daemon without threads, processes, time or HTTP: the rooms are real."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from retuned.auditing import Auditing
from retuned.ingest.parse import JSON, parse_labels, parse_rows
from retuned.keeper import Keeper
from retuned.registry.connect import connect
from retuned.registry.history.event_log import EventLog
from retuned.registry.history.events import Event
from retuned.registry.history.forward import Forwarder
from retuned.registry.journal import Journal
from retuned.registry.signing import SigningKey
from retuned.registry.studies import StudyBook
from retuned.registry.versions import Registry
from retuned.rows.house import RowLogs
from retuned.runtime.clock import VirtualClock
from retuned.runtime.lanes import InlineLanes
from retuned.serve.served_log import ServedLog
from retuned.serve.stage import Stage
from retuned.tune.bench import Bench
from retuned.tune.inline import InlineExecutor
from retuned.tune.study import Studies
from retuned.workshop import Workshop
from retuned_pipelines.search.trial import Trial
from retuned_pipelines.spec import ModelSpec


@dataclass
class Household:
    """Rooms around one keeper, on a directory and a Redis socket."""

    spec: ModelSpec
    directory: Path
    socket: Path
    clock: VirtualClock = field(default_factory=lambda: VirtualClock(1_800_000_000.0))
    seen: list[Event] = field(default_factory=list)
    tried: list[Trial] = field(default_factory=list)

    def __post_init__(self) -> None:
        key = SigningKey.load_or_make(self.directory / "signing.key")
        redis = connect(self.socket)
        self.redis = redis
        self.rows = RowLogs(self.directory / "rows", now=self.clock.now)
        self.journal = Journal(self.directory / "journal.sqlite", self.clock)
        self.events = EventLog(redis, key, self.journal)
        self.registry = Registry(redis, key, self.journal, events=self.events)
        self.book = StudyBook(redis)
        self.forwarder = Forwarder(self.events, redis.ping)
        self.stage = Stage(self.directory / "champions", key)
        self.lost: list[tuple[str, int]] = []
        self.served = ServedLog(
            self.directory / "served", dropped=lambda *lost: self.lost.append(lost)
        )
        self.stop = threading.Event()
        self.executor = InlineExecutor()
        bench = Bench(executor=self.executor, directory=self.directory / "work", stop=self.stop)
        self.lanes = InlineLanes()
        self.workshop = Workshop(
            rows=self.rows,
            registry=self.registry,
            studies=Studies(
                bench=bench,
                book=self.book,
                clock=self.clock,
                observe=lambda _, trial: self.tried.append(trial),
            ),
            bench=bench,
            stage=self.stage,
            clock=self.clock,
            served=self.served,
        )
        self.new_keeper()
        self.auditing = Auditing(
            keepers=lambda: {self.spec.name: self.keeper},
            custody=self.workshop.custody,
            events=self.events,
        )

    def new_keeper(self) -> None:
        """Let a fresh keeper take over the workshop as it now is."""
        self.keeper = Keeper(
            self.spec,
            journal=self.journal,
            carry_out=self.workshop.carry_out,
            count=self.workshop.count,
            lanes=self.lanes,
            clock=self.clock,
            observe=self.seen.append,
        )

    def close(self) -> None:
        self.served.close()
        self.rows.close()
        self.journal.close()
        self.redis.close()

    @property
    def log(self) -> Any:
        return self.rows.of(self.spec.name, self.spec.task)

    def send(self, rows: list[dict[str, Any]]) -> None:
        """Append rows and then their labels, and let the keeper look."""
        target = self.spec.target
        bare = [{k: v for k, v in row.items() if k != target} for row in rows]
        labels = [{"id": row["id"], "label": row[target]} for row in rows]
        now = round(self.clock.now() * 1e6)
        parsed = parse_rows(orjson.dumps(bare), JSON, self.spec, self.log.schema, now)
        self.log.append_rows(parsed.batch, parsed.schema)
        self.log.append_labels(parse_labels(orjson.dumps(labels), JSON, self.spec).batch)
        self.keeper.notice()

    def settle(self) -> None:
        self.lanes.drain()

    def told(self, kind: str) -> list[Event]:
        return [event for event in self.seen if event.kind.value == kind]
