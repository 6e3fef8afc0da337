"""Records of studies and trials in Redis; none is ever overwritten by a repetition."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import orjson

from retuned.registry import keys
from retuned.registry.connect import translated
from retuned_pipelines.care.orders import Boundary
from retuned_pipelines.recipe import Recipe
from retuned_pipelines.search.trial import Trial

if TYPE_CHECKING:
    from collections.abc import Mapping

    from redis import Redis


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyRecord:
    """What is known of a study, apart from its trials.

    Attributes:
        id: unique within the model.
        model: the model's name.
        as_of: newest sequence number that it looks at.
        started_at: when it was first begun, seconds since the epoch.
        rows: labelled rows that it learns from and validates on.
        planned: trials at the most.
        boundary: the newest of its rows.
        finished_at: when it ended; None while it runs.
        stopped: why it ended, in plain words.
        best: what it puts forward; None where it runs, or every trial failed.
        best_trial: the number of that trial.
        spent_s: seconds that it has taken; where it was interrupted, those between do not count.
        is_reproducible: whether no limit in seconds cut it off.
    """

    id: str
    model: str
    as_of: int
    started_at: float
    rows: int
    planned: int
    boundary: Boundary
    finished_at: float | None = None
    stopped: str = ""
    best: Recipe | None = None
    best_trial: int | None = None
    spent_s: float = 0.0
    is_reproducible: bool = True

    def to_json(self) -> dict[str, Any]:
        """JSON form."""
        best = None if self.best is None else self.best.to_json()
        return {**asdict(self), "best": best}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> StudyRecord:
        """Read what `to_json` wrote."""
        best = None if value["best"] is None else Recipe.from_json(value["best"])
        return cls(**{**value, "boundary": Boundary(**value["boundary"]), "best": best})


class StudyBook:
    """Studies in Redis. May be used from any thread."""

    def __init__(self, redis: Redis) -> None:
        """Use a client that returns bytes."""
        self._redis = redis

    def open(self, record: StudyRecord) -> StudyRecord:
        """Begin a study, or find the record of when it was first begun.

        Raises:
            TransientError: Redis is away.
        """
        name = keys.study(record.model, record.id)
        with translated():
            self._redis.set(name, orjson.dumps(record.to_json()), nx=True)
            self._redis.zadd(keys.studies(record.model), {record.id: record.started_at}, nx=True)
            found: Any = self._redis.get(name)
        return StudyRecord.from_json(orjson.loads(found))

    def record(self, model: str, study: str, trial: Trial) -> None:
        """Record a trial; one of that number is not replaced.

        Raises:
            TransientError: Redis is away.
        """
        with translated():
            self._redis.hsetnx(
                keys.trials(model, study), str(trial.number), orjson.dumps(trial.to_json())
            )

    def write(self, record: StudyRecord) -> None:
        """Write down how far a study is, or how it ended.

        Raises:
            TransientError: Redis is away.
        """
        with translated():
            self._redis.set(keys.study(record.model, record.id), orjson.dumps(record.to_json()))

    def trials(self, model: str, study: str) -> tuple[Trial, ...]:
        """The recorded trials by number.

        Raises:
            TransientError: Redis is away.
        """
        with translated():
            found: Any = self._redis.hvals(keys.trials(model, study))
        trials = (Trial.from_json(orjson.loads(value)) for value in found)
        return tuple(sorted(trials, key=lambda trial: trial.number))

    def ask_to_stop(self, model: str, study: str, *, who: str, reason: str) -> None:
        """Let a study end with what it has tried; asking again changes nothing.

        Raises:
            TransientError: Redis is away.
        """
        wish = orjson.dumps({"who": who, "reason": reason})
        with translated():
            self._redis.set(keys.stop(model, study), wish, nx=True)

    def asked_to_stop(self, model: str, study: str) -> str:
        """Who asked a study to end, and why, in plain words; "" where nobody did.

        Raises:
            TransientError: Redis is away.
        """
        with translated():
            found: Any = self._redis.get(keys.stop(model, study))
        if found is None:
            return ""
        wish = orjson.loads(found)
        return f"{wish['who']} stopped it" + (f": {wish['reason']}" if wish["reason"] else "")

    def highest(self, model: str) -> int:
        """The highest number of a study; 0 before there is one.

        Raises:
            TransientError: Redis is away.
        """
        with translated():
            names: Any = self._redis.zrevrange(keys.studies(model), 0, -1)
        numbers = (name.decode().removeprefix("s") for name in names)
        return max((int(number) for number in numbers if number.isdigit()), default=0)

    def study(self, model: str, study: str) -> StudyRecord | None:
        """The record of a study; None if there is none.

        Raises:
            TransientError: Redis is away.
        """
        with translated():
            found: Any = self._redis.get(keys.study(model, study))
        return None if found is None else StudyRecord.from_json(orjson.loads(found))

    def studies(self, model: str, limit: int = 100) -> tuple[StudyRecord, ...]:
        """The newest studies, newest first.

        Raises:
            TransientError: Redis is away.
        """
        with translated():
            names: Any = self._redis.zrevrange(keys.studies(model), 0, limit - 1)
        found = [self.study(model, name.decode()) for name in names]
        return tuple(record for record in found if record is not None)
