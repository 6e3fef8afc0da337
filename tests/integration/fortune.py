"""A daemon whose next study finds what the test says, and whose gate lets it pass."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.integration.door import Door, opened
from tests.integration.household import Household

from retuned.errors import Interrupted
from retuned.keeper import Keeper
from retuned_pipelines.care.facts import Called, Fact, Judged, Studied
from retuned_pipelines.care.orders import Boundary, Judge, Publish, Study, Work
from retuned_pipelines.evaluate.verdict import Ruling
from retuned_pipelines.recipe import Past, Recipe
from retuned_pipelines.search.trial import NO_COST
from retuned_pipelines.spec import ModelSpec

NEARLY_CONSTANT = Recipe.of("linear", {"alpha": 1e6, "loss": "squared"}, Past(rows=200))
"""As good as no model."""


@dataclass
class LuckyHouse(Household):
    """The rooms are real; luck is with whatever `find` is, until it serves."""

    find: Recipe | None = None
    is_killed: bool = False
    """Whether the daemon ends as soon as the registry has a new champion, before it knows."""

    def new_keeper(self) -> None:
        """Let a fresh keeper take over the workshop as it now is."""
        self.keeper = Keeper(
            self.spec,
            journal=self.journal,
            carry_out=self.carry_out,
            count=self.workshop.count,
            lanes=self.lanes,
            clock=self.clock,
            observe=self.seen.append,
        )

    def carry_out(self, spec: ModelSpec, work: Work) -> Fact:
        if isinstance(work, Study):
            return Studied(
                now=self.clock.now(),
                order=work.id,
                best=self.find,
                trials=1,
                stopped="It was luck.",
                boundary=Boundary(0, 0),
                cost=NO_COST,
            )
        fact = self.workshop.carry_out(spec, work)
        if self.is_killed and isinstance(work, Publish):
            message = "killed"
            raise Interrupted(message)
        if isinstance(work, Judge) and isinstance(fact, Judged) and work.rival_name != "constant":
            lucky = replace(fact.verdict, ruling=Ruling.PROMOTED, reasons=("It was luck.",))
            return replace(fact, verdict=lucky)
        return fact

    def succeed(self, recipe: Recipe) -> None:
        """Let a recipe become champion."""
        self.find = recipe
        self.keeper.accept(Called(now=self.clock.now(), action="retune", who="test", reason=""))
        self.settle()
        self.find = None

    @property
    def champion(self) -> str:
        serving = self.stage.of(self.spec.name)
        return "" if serving is None else serving.crowned.revision.name


def lucky_door(spec: ModelSpec, directory: Path) -> AbstractContextManager[Door]:
    """The real server on such a house."""
    return opened(lambda redis: LuckyHouse(spec, directory, redis))


def told(door: Door, kind: str) -> list[dict[str, Any]]:
    """What the events of a kind say, as the API tells them."""
    while door.house.forwarder.forward():
        pass
    items = door.get(f"/v1/models/{door.house.spec.name}/events?limit=1000").json()["items"]
    return [item["body"] for item in items if item["kind"] == kind]
