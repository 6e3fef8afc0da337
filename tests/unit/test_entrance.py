"""The entrance: no request is lost when another app takes the place of one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from retuned.http.entrance import Entrance

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send


class App:
    """Answers when it may, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.may_answer = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope, receive, send
        self.asked += 1
        await self.may_answer.wait()


async def nothing(*_: object) -> None:
    """Neither receives nor sends."""


def ask(entrance: Entrance) -> asyncio.Task[None]:
    async def asked() -> None:
        await entrance({}, nothing, nothing)  # type: ignore[arg-type]

    return asyncio.create_task(asked())


def test_a_request_ends_with_the_app_that_it_began_with() -> None:
    async def story() -> None:
        old, new = App(), App()
        entrance = Entrance(old)
        first = ask(entrance)
        await asyncio.sleep(0)
        changing = asyncio.create_task(entrance.change(new, at_most_s=20))
        await asyncio.sleep(0)
        second = ask(entrance)
        await asyncio.sleep(0)
        assert (old.asked, new.asked) == (1, 1)
        assert not changing.done()
        old.may_answer.set()
        await changing
        assert first.done()
        new.may_answer.set()
        await second

    asyncio.run(story())


def test_a_request_without_an_end_is_not_waited_for_for_ever() -> None:
    async def story() -> None:
        entrance = Entrance(App())
        endless = ask(entrance)
        await asyncio.sleep(0)
        await entrance.change(App(), at_most_s=0.1)
        assert not endless.done()
        endless.cancel()

    asyncio.run(story())
