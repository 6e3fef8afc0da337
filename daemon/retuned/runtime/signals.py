"""Signals of the service manager and the terminal, for as long as the daemon runs."""

from __future__ import annotations

import asyncio
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def signals(*, stop: Callable[[], None], reload: Callable[[], None]) -> Iterator[None]:
    """Call ``stop`` on SIGTERM and SIGINT, ``reload`` on SIGHUP; restored at the end.

    A second SIGINT or SIGTERM ends the process at once, in case stopping hangs.
    """
    loop = asyncio.get_running_loop()

    def stop_once() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)
        stop()

    loop.add_signal_handler(signal.SIGTERM, stop_once)
    loop.add_signal_handler(signal.SIGINT, stop_once)
    loop.add_signal_handler(signal.SIGHUP, reload)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.remove_signal_handler(number)
