"""Model files: one env file a model, read by itself alone."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from pydantic_settings.exceptions import SettingsError

from retuned.settings.envfile import Finding, invalid, known_keys, read_keys, unknown_keys
from retuned_pipelines.schema import Task
from retuned_pipelines.spec import (
    DEFAULT_METRIC,
    GatePolicy,
    Method,
    ModelSpec,
    SchedulePolicy,
    SearchPolicy,
    WatchPolicy,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_FROZEN = ConfigDict(frozen=True, extra="forbid")
_WATCH, _SEARCH, _GATE, _SCHEDULE = WatchPolicy(), SearchPolicy(), GatePolicy(), SchedulePolicy()


class WatchKeys(BaseModel):
    """When to look for change, and what counts as one."""

    model_config = _FROZEN
    every_rows: int = Field(_WATCH.every_rows, ge=10, description="rows between two checks")
    min_rows: int = Field(
        _WATCH.min_rows, ge=50, description="labelled rows before a first champion is fitted"
    )
    reference_rows: int = Field(
        _WATCH.reference_rows, ge=50, description="rows of a check's reference at the most"
    )
    input_alpha: float = Field(
        _WATCH.input_alpha, gt=0, lt=1, description="false-discovery rate over a check's features"
    )
    input_effect: float = Field(
        _WATCH.input_effect,
        ge=0,
        le=1,
        description="smallest KS distance or Cramer's V that is an alarm",
    )
    loss_alpha: float = Field(
        _WATCH.loss_alpha, gt=0, lt=1, description="level of the test on the champion's loss"
    )
    loss_effect: float = Field(
        _WATCH.loss_effect, ge=0, description="smallest relative rise of the loss: .05 is 5 %"
    )
    refresh_share: float = Field(
        _WATCH.refresh_share,
        gt=0,
        description="share of new labels at which the champion's recipe is refitted",
    )


class SearchKeys(BaseModel):
    """What one study may try, and how much it may cost."""

    model_config = _FROZEN
    method: Method = Field(
        _SEARCH.method, description="auto (random, then Bayesian), random or bayesian"
    )
    families: Annotated[tuple[str, ...], NoDecode] = Field(
        _SEARCH.families, min_length=1, description="model families, comma separated"
    )
    trials: int = Field(_SEARCH.trials, ge=1, le=10_000, description="trials at the most")
    random_trials: int = Field(
        _SEARCH.random_trials, ge=0, description="random trials before Bayesian ones"
    )
    batch: int = Field(_SEARCH.batch, ge=1, le=1000, description="recipes asked for at a time")
    folds: int = Field(_SEARCH.folds, ge=1, le=50, description="time-ordered validation folds")
    budget_s: float = Field(_SEARCH.budget_s, gt=0, description="seconds of a study at the most")
    trial_s: float = Field(_SEARCH.trial_s, gt=0, description="seconds of a trial at the most")
    trial_mb: int = Field(
        _SEARCH.trial_mb, ge=100, description="megabytes that a trial may allocate"
    )
    max_rows: int = Field(
        _SEARCH.max_rows, ge=100, description="labelled rows that a study looks at, the newest"
    )
    cooldown_rows: int = Field(
        _SEARCH.cooldown_rows, ge=0, description="new labels before drift may begin another study"
    )
    seed: int = Field(_SEARCH.seed, ge=0, lt=2**31, description="seed of everything random")

    @field_validator("families", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return tuple(part.strip() for part in value.split(",") if part.strip())


class GateKeys(BaseModel):
    """What a challenger must show."""

    model_config = _FROZEN
    blocks: int = Field(_GATE.blocks, ge=1, le=1000, description="blocks of the newest rows")
    min_blocks: int = Field(_GATE.min_blocks, ge=1, description="fewer blocks are a refusal")
    block_rows: int = Field(_GATE.block_rows, ge=5, description="rows of a block at the least")
    max_rows: int = Field(_GATE.max_rows, ge=20, description="rows of all blocks at the most")
    share: float = Field(
        _GATE.share, gt=0, lt=1, description="share of the labels that a study leaves to the gate"
    )
    min_gain: float = Field(
        _GATE.min_gain,
        ge=0,
        lt=1,
        description="the gain's lower bound must be above this share of the champion's loss",
    )
    margin: float = Field(
        _GATE.margin, ge=0, lt=1, description="up to this much worse counts as equal"
    )
    confidence: float = Field(
        _GATE.confidence, gt=0.5, lt=1, description="one-sided confidence of the bounds"
    )


class ScheduleKeys(BaseModel):
    """When to search without any other reason."""

    model_config = _FROZEN
    cron: str = Field(
        _SCHEDULE.cron, description="five fields as in crontab, UTC, such as 0 3 * * 1; or empty"
    )
    every_s: float = Field(
        _SCHEDULE.every_s, ge=0, description="seconds between two studies; 0: none"
    )


class ModelFile(BaseSettings):
    """The keys of a model file. The process environment is not looked at."""

    model_config = SettingsConfigDict(env_nested_delimiter="__", frozen=True, extra="ignore")
    task: Task = Field(description="binary, multiclass or regression")
    target: str = Field(min_length=1, description="field that holds the label")
    time: str = Field("", description="field that holds a row's time; empty: when it came")
    id: str = Field("id", min_length=1, description="field that holds a row's id")
    metric: str = Field(
        "",
        description="scikit-learn scorer name; empty: neg_log_loss for classes, "
        "neg_mean_absolute_error for numbers",
    )
    watch: WatchKeys = WatchKeys()
    search: SearchKeys = SearchKeys()
    gate: GateKeys = GateKeys()
    schedule: ScheduleKeys = ScheduleKeys()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The file alone: TARGET in somebody's shell is not this model's."""
        del settings_cls, init_settings, env_settings, file_secret_settings
        return (dotenv_settings,)


@dataclass(frozen=True, slots=True)
class LoadedModels:
    """The models whose files are right, and what is wrong with the others."""

    specs: Mapping[str, ModelSpec]
    findings: tuple[Finding, ...]


def load_models(directory: Path) -> LoadedModels:
    """Read all model files of a directory, in the order of their names."""
    if not directory.is_dir():
        problem = "RETUNED_MODELS_DIR is no directory; make it, with one <name>.env a model"
        return LoadedModels({}, (Finding(str(directory), "", problem),))
    specs, findings = {}, []
    for path in sorted(directory.glob("*.env")):
        spec, found = load_model(path)
        findings += found
        if spec is not None:
            specs[spec.name] = spec
    return LoadedModels(specs, tuple(findings))


def load_model(path: Path) -> tuple[ModelSpec | None, list[Finding]]:
    """Read a model file; None where something is wrong with it, with every finding."""
    where = str(path)
    given, findings = read_keys(path)
    if not NAME.fullmatch(path.stem):
        problem = f"{path.stem!r} is no name of a model: expected {NAME.pattern} before .env"
        findings.append(Finding(where, "", problem))
    findings += unknown_keys(where, given, known_keys(ModelFile))
    try:
        read = ModelFile(_env_file=path)
    except ValidationError as error:
        return None, [*findings, *invalid(where, error)]
    except SettingsError as error:
        return None, [*findings, Finding(where, "", str(error))]
    spec = _spec(path.stem, read)
    findings += [Finding(where, key, problem) for key, problem in _impossible(spec)]
    return (None if findings else spec), findings


def _spec(name: str, read: ModelFile) -> ModelSpec:
    return ModelSpec(
        name=name,
        task=read.task,
        target=read.target,
        time=read.time,
        id=read.id,
        metric=read.metric or DEFAULT_METRIC[read.task],
        watch=WatchPolicy(**_values(read.watch, WatchPolicy)),
        search=SearchPolicy(**_values(read.search, SearchPolicy)),
        gate=GatePolicy(**_values(read.gate, GatePolicy)),
        schedule=SchedulePolicy(**_values(read.schedule, SchedulePolicy)),
    )


def _values(keys: BaseModel, policy: type[Any]) -> dict[str, Any]:
    return {item.name: getattr(keys, item.name) for item in fields(policy)}


def _impossible(spec: ModelSpec) -> list[tuple[str, str]]:
    """What each key allows by itself, but not together, or not here."""
    # Slow to import, and needed only where a model file is read.
    from apscheduler.triggers.cron import CronTrigger  # noqa: PLC0415

    from retuned_pipelines.evaluate.metrics import unfit  # noqa: PLC0415
    from retuned_pipelines.models.families import FAMILIES  # noqa: PLC0415

    found = []
    named = [("TARGET", spec.target), ("TIME", spec.time), ("ID", spec.id)]
    for number, (key, name) in enumerate(named):
        for other, taken in named[:number]:
            if name and name == taken:
                found.append((key, f"{name!r} is {other} already; they are different fields"))
    problem = unfit(spec.metric, spec.task)
    if problem:
        found.append(("METRIC", problem))
    known = sorted(set(FAMILIES) - {"constant"})
    found += [
        ("SEARCH__FAMILIES", f"{name!r} is no model family: known are {', '.join(known)}")
        for name in spec.search.families
        if name not in known
    ]
    if len(set(spec.search.families)) < len(spec.search.families):
        found.append(("SEARCH__FAMILIES", "names a family twice"))
    if spec.gate.min_blocks > spec.gate.blocks:
        problem = f"{spec.gate.min_blocks} is more than GATE__BLOCKS, which is {spec.gate.blocks}"
        found.append(("GATE__MIN_BLOCKS", problem))
    if spec.gate.min_blocks * spec.gate.block_rows > spec.gate.max_rows:
        problem = f"{spec.gate.max_rows} is less than GATE__MIN_BLOCKS x GATE__BLOCK_ROWS"
        found.append(("GATE__MAX_ROWS", problem))
    if spec.schedule.cron and spec.schedule.every_s:
        found.append(("SCHEDULE__EVERY_S", "SCHEDULE__CRON is set too; keep one of the two"))
    if spec.schedule.cron:
        try:
            CronTrigger.from_crontab(spec.schedule.cron)
        except ValueError as error:
            problem = f"{spec.schedule.cron!r} is no crontab schedule ({error}): expected five "
            found.append(("SCHEDULE__CRON", problem + "fields, such as 0 3 * * 1"))
    return found
