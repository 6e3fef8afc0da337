"""The policies' keys of a model file: types, ranges, defaults and what they mean."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_settings import NoDecode

from retuned_pipelines.spec import (
    GatePolicy,
    LabelPolicy,
    Method,
    QuarantinePolicy,
    Reaction,
    RetainPolicy,
    RowsPolicy,
    SchedulePolicy,
    SchemaPolicy,
    SearchPolicy,
    ServePolicy,
    WatchPolicy,
)

_FROZEN = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
_SHORTEST_S = 60.0
_LONGEST_S = 366 * 86_400.0
_WATCH, _SEARCH, _GATE, _SCHEDULE = WatchPolicy(), SearchPolicy(), GatePolicy(), SchedulePolicy()
_SERVE, _RETAIN = ServePolicy(), RetainPolicy()
_LABELS, _QUARANTINE = LabelPolicy(), QuarantinePolicy()
_ROWS, _SCHEMA = RowsPolicy(), SchemaPolicy()


class RowsKeys(BaseModel):
    """Which rows are taken."""

    model_config = _FROZEN
    max_ahead_s: float = Field(
        default=_ROWS.max_ahead_s,
        ge=0,
        description="seconds that a row's time may be ahead of the clock; 0: any",
    )
    max_age_s: float = Field(
        default=_ROWS.max_age_s,
        ge=0,
        description="seconds that a row's time may be behind the clock; 0: any",
    )


class SchemaKeys(BaseModel):
    """What happens when rows do not have the columns that the model knows."""

    model_config = _FROZEN
    appeared: Reaction = Field(
        default=_SCHEMA.appeared,
        description="an unknown column: refuse its rows, ignore it, or adopt it as a feature",
    )
    vanished: Reaction = Field(
        default=_SCHEMA.vanished,
        description="a column that no row of a batch has: refuse the rows, ignore it (missing "
        "values), or adopt it (missing, and shown as gone)",
    )
    changed: Reaction = Field(
        default=_SCHEMA.changed,
        description="a value of another type: refuse its row, ignore the value (missing), or adopt "
        "a kind that takes both",
    )


class WatchKeys(BaseModel):
    """When to look for change, and what counts as one."""

    model_config = _FROZEN
    every_rows: int = Field(default=_WATCH.every_rows, ge=10, description="rows between two checks")
    min_rows: int = Field(
        default=_WATCH.min_rows,
        ge=50,
        description="labelled rows before a first champion is fitted",
    )
    reference_rows: int = Field(
        default=_WATCH.reference_rows, ge=50, description="rows of a check's reference at the most"
    )
    input_alpha: float = Field(
        default=_WATCH.input_alpha,
        gt=0,
        lt=1,
        description="false-discovery rate over a check's features",
    )
    input_effect: float = Field(
        default=_WATCH.input_effect,
        ge=0,
        le=1,
        description="smallest KS distance or Cramer's V that is an alarm",
    )
    loss_alpha: float = Field(
        default=_WATCH.loss_alpha,
        gt=0,
        lt=1,
        description="level of the test on the champion's loss",
    )
    loss_effect: float = Field(
        default=_WATCH.loss_effect,
        ge=0,
        description="smallest relative rise of the loss: .05 is 5 %",
    )
    refresh_share: float = Field(
        default=_WATCH.refresh_share,
        gt=0,
        description="share of new labels at which the champion's members are refitted",
    )


class SearchKeys(BaseModel):
    """What one study may try, and how much it may cost."""

    model_config = _FROZEN
    method: Method = Field(
        default=_SEARCH.method,
        description="auto (what is known, random, then Bayesian), grid, random, quasirandom, "
        "bayesian, genetic, cmaes, halving or hyperband",
    )
    families: Annotated[tuple[str, ...], NoDecode] = Field(
        default=_SEARCH.families, min_length=1, description="model families, comma separated"
    )
    trials: int = Field(default=_SEARCH.trials, ge=1, le=10_000, description="trials at the most")
    random_trials: int = Field(
        default=_SEARCH.random_trials, ge=0, description="random trials before Bayesian ones"
    )
    batch: int = Field(
        default=_SEARCH.batch, ge=1, le=1000, description="recipes asked for at a time"
    )
    folds: int = Field(
        default=_SEARCH.folds, ge=1, le=50, description="time-ordered validation folds"
    )
    budget_s: float = Field(
        default=_SEARCH.budget_s, gt=0, description="seconds of a study at the most"
    )
    budget_cpu_s: float = Field(
        default=_SEARCH.budget_cpu_s,
        ge=0,
        description="CPU seconds of a study's trials at the most; 0: no limit",
    )
    min_gain: float = Field(
        default=_SEARCH.min_gain,
        ge=0,
        lt=1,
        description="a study ends when it is expected to gain less than this share of the best "
        "loss; 0: never",
    )
    trial_s: float = Field(
        default=_SEARCH.trial_s, gt=0, description="seconds of a trial at the most"
    )
    trial_mb: int = Field(
        default=_SEARCH.trial_mb, ge=100, description="megabytes that a trial may allocate"
    )
    max_rows: int = Field(
        default=_SEARCH.max_rows,
        ge=100,
        description="labelled rows that a study looks at, the newest",
    )
    cooldown_rows: int = Field(
        default=_SEARCH.cooldown_rows,
        ge=0,
        description="new labels before a rise of the loss may begin another study; "
        "as many as the last one began with at least",
    )
    seed: int = Field(default=_SEARCH.seed, ge=0, lt=2**31, description="seed of everything random")

    @field_validator("families", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return _parts(value)

    @field_validator("families")
    @classmethod
    def _known_families(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        # Slow to import, and needed only where a model file is read.
        from retuned_pipelines.models.families import FAMILIES  # noqa: PLC0415

        known = sorted(set(FAMILIES) - {"constant"})
        unknown = [name for name in value if name not in known]
        if unknown:
            message = f"{', '.join(unknown)}: no such model family; known are {', '.join(known)}"
            raise ValueError(message)
        if len(set(value)) < len(value):
            message = "names a family twice"
            raise ValueError(message)
        return value


class GateKeys(BaseModel):
    """What a challenger must show."""

    # Defaults too: another key can make them impossible.
    model_config = {**_FROZEN, "validate_default": True}
    blocks: int = Field(
        default=_GATE.blocks, ge=1, le=1000, description="blocks of the newest rows"
    )
    min_blocks: int = Field(
        default=_GATE.min_blocks, ge=1, description="fewer blocks are a refusal"
    )
    block_rows: int = Field(
        default=_GATE.block_rows, ge=5, description="rows of a block at the least"
    )
    max_rows: int = Field(
        default=_GATE.max_rows, ge=20, description="rows of all blocks at the most"
    )
    share: float = Field(
        default=_GATE.share,
        gt=0,
        lt=1,
        description="share of the labels that a study leaves to the gate",
    )
    min_gain: float = Field(
        default=_GATE.min_gain,
        ge=0,
        lt=1,
        description="the gain's lower bound must be above this share of the champion's loss",
    )
    margin: float = Field(
        default=_GATE.margin, ge=0, lt=1, description="up to this much worse counts as equal"
    )
    confidence: float = Field(
        default=_GATE.confidence,
        gt=0.5,
        lt=1,
        description="one-sided confidence of the bounds; what is left may be spent in one reign",
    )
    guards: Annotated[tuple[str, ...], NoDecode] = Field(
        default=_GATE.guards,
        description="scikit-learn scorer names that must not get worse, comma separated",
    )
    guard_margin: float = Field(
        default=_GATE.guard_margin,
        ge=0,
        lt=1,
        description="a guard's loss, or the loss on a slice, may rise by this share",
    )
    slices: Annotated[tuple[str, ...], NoDecode] = Field(
        default=_GATE.slices,
        description="columns on whose categories the loss must not rise, comma separated; "
        "the target for each class",
    )
    slice_rows: int = Field(
        default=_GATE.slice_rows,
        ge=20,
        description="categories with fewer rows in the gate are not looked at",
    )
    probation_rows: int = Field(
        default=_GATE.probation_rows,
        ge=0,
        description="labels on which a new champion is compared with the one before it, which "
        "comes back if it was better; 0: never",
    )

    @field_validator("guards", "slices", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return _parts(value)

    @field_validator("guards", "slices")
    @classmethod
    def _are_different(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) < len(value):
            message = "names one twice"
            raise ValueError(message)
        return value

    @field_validator("min_blocks")
    @classmethod
    def _blocks_are_possible(cls, value: int, info: ValidationInfo) -> int:
        blocks = info.data.get("blocks", value)
        if value > blocks:
            message = f"{value} is more than GATE__BLOCKS, which is {blocks}"
            raise ValueError(message)
        return value

    @field_validator("max_rows")
    @classmethod
    def _rows_are_possible(cls, value: int, info: ValidationInfo) -> int:
        needed = info.data.get("min_blocks", 0) * info.data.get("block_rows", 0)
        if needed > value:
            message = f"{value} is less than GATE__MIN_BLOCKS x GATE__BLOCK_ROWS, which is {needed}"
            raise ValueError(message)
        return value


class ServeKeys(BaseModel):
    """What answers requests."""

    model_config = _FROZEN
    max_members: int = Field(
        default=_SERVE.max_members,
        ge=1,
        le=64,
        description="members of the champion at the most; 1: one model answers at a time",
    )
    max_predict_ms: float = Field(
        default=_SERVE.max_predict_ms,
        ge=0,
        description="milliseconds that all members may take for one row; 0: no limit",
    )
    log_predictions: float = Field(
        default=_SERVE.log_predictions,
        ge=0,
        le=1,
        description="share of the rows with an id whose predictions are logged; 0: none",
    )
    log_days: float = Field(
        default=_SERVE.log_days, gt=0, description="days for which logged predictions are kept"
    )
    log_rows: int = Field(
        default=_SERVE.log_rows, ge=1000, description="logged predictions at the most"
    )


class LabelKeys(BaseModel):
    """When a label is too late."""

    model_config = _FROZEN
    horizon_s: float = Field(
        default=_LABELS.horizon_s,
        ge=0,
        description="seconds after its row within which a label has to come; 0: no limit",
    )


class QuarantineKeys(BaseModel):
    """What is kept of refused rows and labels."""

    model_config = _FROZEN
    max_rows: int = Field(
        default=_QUARANTINE.max_rows,
        ge=0,
        le=1_000_000,
        description="refused rows and labels that are kept at the most",
    )


class RetainKeys(BaseModel):
    """How much of the past is kept."""

    model_config = _FROZEN
    rows: int = Field(
        default=_RETAIN.rows, ge=0, description="rows at the most, the newest ones; 0: all"
    )
    days: float = Field(
        default=_RETAIN.days, ge=0, description="days that a row is kept, by its time; 0: for ever"
    )
    mb: int = Field(default=_RETAIN.mb, ge=0, description="megabytes of rows at the most; 0: any")


class ScheduleKeys(BaseModel):
    """When to search without any other reason."""

    model_config = _FROZEN
    cron: str = Field(
        default=_SCHEDULE.cron,
        description="five fields as in crontab, UTC, such as 0 3 * * 1; or empty",
    )
    every_s: float = Field(
        default=_SCHEDULE.every_s,
        ge=0,
        le=_LONGEST_S,
        description="seconds between two studies, 60 or more; 0: none",
    )

    @field_validator("cron")
    @classmethod
    def _is_crontab(cls, value: str) -> str:
        problem = _cron_problem(value) if value else ""
        if problem:
            message = f"{value!r} {problem}: expected five fields in UTC, such as 0 3 * * 1"
            raise ValueError(message)
        return value

    @field_validator("every_s")
    @classmethod
    def _is_the_only_one(cls, value: float, info: ValidationInfo) -> float:
        if 0 < value < _SHORTEST_S:
            message = f"{value:g} is too often: 0 for none, or {_SHORTEST_S:.0f} and more"
            raise ValueError(message)
        if value and info.data.get("cron"):
            message = "SCHEDULE__CRON is set too; keep one of the two"
            raise ValueError(message)
        return value


def _parts(value: object) -> object:
    """The parts of a comma separated text."""
    if not isinstance(value, str):
        return value
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _cron_problem(cron: str) -> str:
    from apscheduler.triggers.cron import CronTrigger  # noqa: PLC0415 (see above)

    try:
        trigger = CronTrigger.from_crontab(cron, timezone=UTC)
    except ValueError as error:
        return f"is no crontab schedule ({error})"
    never = trigger.get_next_fire_time(None, datetime.now(UTC)) is None
    return "never comes" if never else ""
