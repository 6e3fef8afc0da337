"""Building the sources of rows and labels beside HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retuned.registry.connect import connect
from retuned.sources.inbox import Inboxes
from retuned.sources.spool import Spool
from retuned.sources.stream import StreamSource

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Collection, Mapping
    from contextlib import ExitStack

    from retuned.bootstrap.stores import Stores
    from retuned.ingest.intake import Intake
    from retuned.runtime.metrics import Metrics
    from retuned.settings import Settings

    Sources = Mapping[str, Callable[[threading.Event], None]]
    """What each source's thread runs, by the source's name."""

DAY_S = 86400.0


def sources_of(  # noqa: PLR0913, PLR0917 (what sources share)
    settings: Settings,
    stores: Stores,
    models: Callable[[], Collection[str]],
    intake: Intake,
    metrics: Metrics,
    stack: ExitStack,
) -> Sources:
    """Build the sources that the settings ask for; they take what is for models with rows here."""
    sources: dict[str, Callable[[threading.Event], None]] = {}

    def is_ours(model: str) -> bool:
        return stores.tenures.look(model).is_home

    if settings.spool.every_s:
        sources["spool"] = Spool(
            settings.spool_dir,
            models=models,
            is_ours=is_ours,
            take=intake.take,
            every_s=settings.spool.every_s,
            keep_done_s=settings.spool.keep_done_days * DAY_S,
            metrics=metrics,
            clock=stores.clock,
        ).run
    if settings.stream.url:
        client = connect(settings.stream)
        stack.callback(client.close)
        sources["stream"] = StreamSource(
            Inboxes(client, prefix=settings.stream.prefix),
            models=lambda: [model for model in models() if is_ours(model)],
            take=intake.take,
            keep_s=settings.stream.keep_s,
            metrics=metrics,
            clock=stores.clock,
        ).run
    return sources
