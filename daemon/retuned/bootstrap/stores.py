"""Building what is kept: rows, journal, registry, answers, and who takes care of what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from retuned.registry.connect import connect
from retuned.registry.history.event_log import EventLog
from retuned.registry.journal import Journal
from retuned.registry.lease.leases import LeaseBook, Party
from retuned.registry.lease.shared_tenures import SharedTenures
from retuned.registry.lease.tenure import Alone, Term
from retuned.registry.signing import SigningKey
from retuned.registry.studies import StudyBook
from retuned.registry.versions import Registry
from retuned.rows.house import RowLogs
from retuned.runtime.clock import SystemClock
from retuned.runtime.lock import name_of
from retuned.serve.served_log import ServedLog

if TYPE_CHECKING:
    from contextlib import ExitStack
    from pathlib import Path

    from redis import Redis

    from retuned.registry.server import EmbeddedRedis
    from retuned.runtime.clock import Clock
    from retuned.runtime.metrics import Metrics
    from retuned.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a daemon keeps what it keeps.

    Attributes:
        directory: held by this process alone.
        has_rows: whether rows may have their home there; a standby's directory is a cache.
    """

    directory: Path
    has_rows: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """What is kept, in a place and in Redis."""

    key: SigningKey
    client: Redis
    clock: Clock
    rows: RowLogs
    journal: Journal
    tenures: Alone | SharedTenures
    registry: Registry
    studies: StudyBook
    events: EventLog
    served: ServedLog


def stores_of(
    settings: Settings,
    place: Place,
    redis: EmbeddedRedis | None,
    metrics: Metrics,
    stack: ExitStack,
) -> Stores:
    """Open everything; what is closed last is built first.

    Raises:
        RetunedError: something cannot be opened.
    """
    state, clock = place.directory, SystemClock()
    key = SigningKey.load_or_make(settings.key_file)
    client = connect(settings.redis if redis is None else redis.socket)
    stack.callback(client.close)
    rows = RowLogs(state / "rows", spare=settings.rows.spare_mb * 1_000_000, now=clock.now)
    stack.callback(rows.close)
    journal = Journal(state / "journal.sqlite", clock)
    stack.callback(journal.close)
    served = ServedLog(state / "served", dropped=metrics.unlogged)
    stack.callback(served.close)
    tenures: Alone | SharedTenures
    if redis is None:
        tenures = SharedTenures(
            LeaseBook(client),
            journal,
            Party(id=name_of(state), url=settings.http.shown_url),
            Term(lease_s=settings.lease_s),
            may_settle=place.has_rows,
        )
        stack.callback(tenures.close)
    else:
        tenures = Alone(settings.http.shown_url)
    events = EventLog(client, key, journal)
    keep = settings.registry.keep_versions
    return Stores(
        key=key,
        client=client,
        clock=clock,
        rows=rows,
        journal=journal,
        tenures=tenures,
        registry=Registry(client, key, journal, events=events, fence=tenures, keep_versions=keep),
        studies=StudyBook(client),
        events=events,
        served=served,
    )
