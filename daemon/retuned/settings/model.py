"""Model files: one env file a model, read by itself alone."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import (
    BaseModel,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from pydantic_settings.exceptions import SettingsError

from retuned.settings.envfile import Finding, invalid, known_keys, read_keys, unknown_keys
from retuned.settings.policies import (
    GateKeys,
    LabelKeys,
    QuarantineKeys,
    RetainKeys,
    RowsKeys,
    ScheduleKeys,
    SchemaKeys,
    SearchKeys,
    ServeKeys,
    WatchKeys,
)
from retuned_pipelines.schema import OWN, Feature, Kind, Task
from retuned_pipelines.spec import (
    DEFAULT_METRIC,
    GatePolicy,
    LabelPolicy,
    ModelSpec,
    QuarantinePolicy,
    RetainPolicy,
    RowsPolicy,
    SchedulePolicy,
    SchemaPolicy,
    SearchPolicy,
    ServePolicy,
    WatchPolicy,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")


class ModelFile(BaseSettings):
    """The keys of a model file. The process environment is not looked at."""

    model_config = SettingsConfigDict(
        env_nested_delimiter="__",
        env_ignore_empty=True,
        frozen=True,
        extra="ignore",
        validate_default=True,
    )
    task: Task = Field(description="binary, multiclass or regression")
    target: str = Field(min_length=1, description="field that holds the label")
    time: str = Field(default="", description="field that holds a row's time; empty: when it came")
    id: str = Field(default="id", min_length=1, description="field that holds a row's id")
    metric: str = Field(
        default="",
        description="scikit-learn scorer name; empty: neg_log_loss for classes, "
        "neg_mean_absolute_error for numbers",
    )
    features: Annotated[tuple[Feature, ...], NoDecode] = Field(
        default=(),
        description="the features, name:kind, comma separated; kinds are number, integer, boolean, "
        "category and timestamp; empty: as the first rows have them",
    )
    rows: RowsKeys = RowsKeys()
    schema_: SchemaKeys = Field(default=SchemaKeys(), alias="schema")
    watch: WatchKeys = WatchKeys()
    search: SearchKeys = SearchKeys()
    gate: GateKeys = GateKeys()
    schedule: ScheduleKeys = ScheduleKeys()
    serve: ServeKeys = ServeKeys()
    retain: RetainKeys = RetainKeys()
    labels: LabelKeys = LabelKeys()
    quarantine: QuarantineKeys = QuarantineKeys()

    @field_validator("target", "time", "id")
    @classmethod
    def _are_different_fields(cls, value: str, info: ValidationInfo) -> str:
        for other in ("target", "time"):
            if value and value == info.data.get(other):
                message = f"{value!r} is {other.upper()} already; they are different fields"
                raise ValueError(message)
        return value

    @field_validator("features", mode="before")
    @classmethod
    def _declared(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return tuple(_feature(part.strip()) for part in value.split(",") if part.strip())

    @field_validator("features")
    @classmethod
    def _are_features(cls, value: tuple[Feature, ...], info: ValidationInfo) -> tuple[Feature, ...]:
        names = [feature.name for feature in value]
        if len(set(names)) < len(names):
            message = "names a feature twice"
            raise ValueError(message)
        for key in ("target", "time", "id"):
            if info.data.get(key) in names:
                message = f"names {info.data[key]!r}, which is {key.upper()}; that is no feature"
                raise ValueError(message)
        return value

    @field_validator("metric")
    @classmethod
    def _fits_the_task(cls, value: str, info: ValidationInfo) -> str:
        # Slow to import, and needed only where a model file is read.
        from retuned_pipelines.evaluate.metrics import unfit  # noqa: PLC0415

        task = info.data.get("task")
        problem = unfit(value, task) if value and task else None
        if problem:
            raise ValueError(problem)
        return value

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
    try:
        paths = sorted(path for path in directory.iterdir() if path.name.endswith(".env"))
    except OSError as error:
        problem = f"RETUNED_MODELS_DIR cannot be read: {error.strerror}; expected a directory with "
        return LoadedModels({}, (Finding(str(directory), "", problem + "one <name>.env a model"),))
    specs, findings = {}, []
    for path in paths:
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
    if not given and findings:
        return None, findings
    findings += unknown_keys(where, given, known_keys(ModelFile))
    try:
        # As a dict, because type checkers do not see this argument of pydantic-settings.
        read = ModelFile(**dict[str, Any](_env_file=path))
    except ValidationError as error:
        return None, [*findings, *invalid(where, error)]
    except SettingsError as error:
        return None, [*findings, Finding(where, "", str(error))]
    findings += [Finding(where, key, problem) for key, problem in _impossible(read)]
    return (None if findings else _spec(path.stem, read)), findings


def _impossible(read: ModelFile) -> Iterator[tuple[str, str]]:
    """Keys of the gate that do not go with the task."""
    # Slow to import, and needed only where a model file is read.
    from retuned_pipelines.evaluate.metrics import unfit  # noqa: PLC0415

    for guard in read.gate.guards:
        problem = unfit(guard, read.task)
        if problem:
            yield "GATE__GUARDS", problem
    if read.target in read.gate.slices and not read.task.is_classification:
        problem = f"{read.target} is a number that the model predicts; classes only can be slices"
        yield "GATE__SLICES", problem


def _feature(text: str) -> Feature:
    name, _, kind = text.rpartition(":")
    if not name or kind not in set(Kind) or name.startswith(OWN):
        message = (
            f"{text!r} is no feature: expected name:kind, the name not beginning with {OWN}, and "
            f"the kind one of {', '.join(Kind)}"
        )
        raise ValueError(message)
    return Feature(name, Kind(kind))


def _spec(name: str, read: ModelFile) -> ModelSpec:
    return ModelSpec(
        name=name,
        task=read.task,
        target=read.target,
        time=read.time,
        id=read.id,
        metric=read.metric or DEFAULT_METRIC[read.task],
        features=read.features,
        rows=RowsPolicy(**_values(read.rows, RowsPolicy)),
        schema=SchemaPolicy(**_values(read.schema_, SchemaPolicy)),
        watch=WatchPolicy(**_values(read.watch, WatchPolicy)),
        search=SearchPolicy(**_values(read.search, SearchPolicy)),
        gate=GatePolicy(**_values(read.gate, GatePolicy)),
        schedule=SchedulePolicy(**_values(read.schedule, SchedulePolicy)),
        serve=ServePolicy(**_values(read.serve, ServePolicy)),
        retain=RetainPolicy(**_values(read.retain, RetainPolicy)),
        labels=LabelPolicy(**_values(read.labels, LabelPolicy)),
        quarantine=QuarantinePolicy(**_values(read.quarantine, QuarantinePolicy)),
    )


def _values(keys: BaseModel, policy: type[Any]) -> dict[str, Any]:
    return {item.name: getattr(keys, item.name) for item in fields(policy)}
