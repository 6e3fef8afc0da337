"""Keeping leases: renewing those that are held, taking over those whose holders died."""

from __future__ import annotations

import asyncio
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from retuned.errors import RetunedError
from retuned.registry.history.events import EventKind
from retuned.registry.lease.tenure import Role, Tenure
from retuned_pipelines.care.orders import Notify

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from retuned.keeper import Keeper
    from retuned.registry.lease.shared_tenures import SharedTenures
    from retuned.registry.lease.tenure import Term

_log = logging.getLogger(__name__)

AT_ONCE = 8
"""Models whose leases are asked for side by side, so that hundreds take no longer than one."""


class Leasing:
    """Turns every model's lease round, and tells who has to know when one was taken or lost."""

    def __init__(
        self,
        *,
        tenures: SharedTenures,
        keepers: Callable[[], Mapping[str, Keeper]],
        take_up: Callable[[str], None],
        term: Term,
    ) -> None:
        """Take what it needs.

        Args:
            tenures: the leases.
            keepers: the models under care.
            take_up: lets a model's keeper go on, whose lease and rows this daemon has from now on.
            term: how long leases last.
        """
        self._tenures = tenures
        self._keepers = keepers
        self._take_up = take_up
        self._every_s = term.every_s
        self._known: dict[str, tuple[Role, int, int]] = {}
        self._told: dict[str, tuple[Role, int]] = {}
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="lease")
        self._lock = threading.Lock()

    async def run(self) -> None:
        """Look for ever; nobody who looks for one model waits for another one's answer."""
        while True:
            begun = asyncio.get_running_loop().time()
            await asyncio.to_thread(self.turn)
            spent = asyncio.get_running_loop().time() - begun
            await asyncio.sleep(max(0.0, self._every_s - spent))

    def turn(self) -> None:
        """Look once at every model's lease, and let go those of models that are gone."""
        keepers = self._keepers()
        list(self._pool.map(self._turn, keepers.values()))
        for name in set(self._tenures.models) - keepers.keys():
            self._release(name)

    def ask(self, model: str) -> None:
        """Look at one model's lease, before its keeper goes on."""
        keeper = self._keepers().get(model)
        if keeper is not None:
            self._turn(keeper)

    def adopt(self, keeper: Keeper) -> Tenure:
        """Make this daemon's state directory the home of a model, whose lease it has.

        Raises:
            Fenced: it has not.
            TransientError: Redis is away.
        """
        tenure = self._tenures.settle(keeper.spec.name)
        self._follow(keeper)
        return tenure

    def close(self) -> None:
        """Look no more; leases are let go when nothing writes any more (`SharedTenures`)."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _turn(self, keeper: Keeper) -> None:
        name = keeper.spec.name
        try:
            self._tenures.turn(name)
        except RetunedError as error:
            # Redis is away, which is told elsewhere; what is held is held until its end.
            _log.debug("%s", error, extra={"action": "lease_failed", "model": name})
        except Exception:  # noqa: BLE001 (one model's trouble is no other's)
            _log.exception("The lease failed.", extra={"action": "lease_failed", "model": name})
        self._follow(keeper)

    def _follow(self, keeper: Keeper) -> None:
        """Tell of what changed since the last look."""
        name = keeper.spec.name
        with self._lock:
            tenure = self._tenures.of(name)
            state = tenure.role, tenure.token, tenure.stint
            is_new = state != self._known.get(name)
            self._known[name] = state
            is_news = state[:2] != self._told.get(name)
        if not is_new:
            return
        _log.log(
            logging.WARNING if tenure.role is Role.STAND_IN else logging.INFO,
            "%s",
            told(tenure),
            extra={"action": f"lease_{tenure.role.value}", "model": name},
        )
        if is_news and (tenure.took_over or tenure.role is Role.STAND_IN):
            self._told[name] = state[:2]
            body = {
                "role": tenure.role.value,
                "holder": tenure.holder,
                "home": tenure.home,
                "token": tenure.token,
            }
            keeper.tell(Notify(event=EventKind.LEASE, body=body))
        if tenure.role is Role.HOLDER:
            self._take_up(name)

    def _release(self, model: str) -> None:
        self._known.pop(model, None)
        try:
            self._tenures.release(model)
        except RetunedError as error:
            _log.debug("%s", error, extra={"action": "lease_failed", "model": model})


def told(tenure: Tenure) -> str:
    """A tenure in words."""
    if tenure.role is Role.HOLDER:
        return "This daemon takes care of it."
    if tenure.role is Role.STAND_IN:
        return (
            f"This daemon stands in for {tenure.home}, where the rows are: it serves, and decides "
            "nothing. Start that one again, or go on with the rows that are here (retuned adopt)."
        )
    if tenure.is_waiting:
        return "Redis does not say who takes care of it: rows are taken here, decisions wait."
    who = tenure.holder or "nobody for a moment"
    return f"Standby: the champion serves here, and {who} takes care of it."
