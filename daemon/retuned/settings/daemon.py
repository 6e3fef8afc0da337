"""The daemon's own settings: ``RETUNED_...`` in an env file and in the process environment."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError

from retuned.errors import ConfigError
from retuned.settings.envfile import Finding, invalid, known_keys, read_keys, unknown_keys
from retuned.settings.http import HttpSettings
from retuned.settings.servers import RedisSettings, StreamSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = "RETUNED_"
ENVIRONMENT = "environment"
_FROZEN = ConfigDict(frozen=True, extra="forbid")


class SpoolSettings(BaseModel):
    """Folders that files with rows and labels are dropped in."""

    model_config = _FROZEN
    dir: Path | None = Field(
        default=None, description="the spool's folder; empty: spool in the state directory"
    )
    every_s: float = Field(
        default=1.0,
        ge=0.0,
        le=3600.0,
        allow_inf_nan=False,
        description="seconds between two looks; 0: no spool",
    )
    keep_done_days: float = Field(
        default=7.0,
        ge=0.0,
        allow_inf_nan=False,
        description="days that a file is kept once it was taken; 0: it is removed at once",
    )


class WorkSettings(BaseModel):
    """What runs fits."""

    model_config = _FROZEN
    workers: int = Field(
        default=0, ge=0, le=1024, description="child processes at a time; 0: one a core"
    )
    executor: Literal["local"] = Field(default="local", description="where fits run")


class RowSettings(BaseModel):
    """The row logs."""

    model_config = _FROZEN
    spare_mb: int = Field(
        default=200,
        ge=0,
        description="megabytes of the disk that are left to others: with fewer free, rows and "
        "labels are refused until there are more",
    )


class RegistrySettings(BaseModel):
    """What the registry keeps."""

    model_config = _FROZEN
    keep_versions: int = Field(
        default=5,
        ge=1,
        le=1000,
        description="newest versions whose artifacts are kept, so that they can serve again; the "
        "champion, its predecessor and pinned versions are kept in any case",
    )


class LogSettings(BaseModel):
    """Logs, to standard error."""

    model_config = _FROZEN
    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="least level"
    )
    format: Literal["auto", "json", "text"] = Field(
        default="auto", description="auto: JSON under systemd, readable text in a terminal"
    )


class Settings(BaseSettings):
    """The daemon's settings, read once."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        env_ignore_empty=True,
        frozen=True,
        extra="ignore",
    )
    state_dir: Path = Field(
        default=Path("state"),
        description="rows, champions, journal, signing key; relative to the working directory",
    )
    models_dir: Path = Field(
        default=Path("configs/models"), description="holds one file a model, <name>.env"
    )
    signing_key_file: Path | None = Field(
        default=None,
        description="signs what is in the registry, and never goes there; made at the first "
        "start; empty: signing.key in the state directory",
    )
    lease_s: float = Field(
        default=30.0,
        ge=1.0,
        le=3600.0,
        allow_inf_nan=False,
        description="seconds within which a standby on the same Redis takes over from a daemon "
        "that died; of no use without RETUNED_REDIS__URL",
    )
    redis: RedisSettings = RedisSettings()
    registry: RegistrySettings = RegistrySettings()
    http: HttpSettings = HttpSettings()
    rows: RowSettings = RowSettings()
    spool: SpoolSettings = SpoolSettings()
    stream: StreamSettings = StreamSettings()
    search: WorkSettings = WorkSettings()
    log: LogSettings = LogSettings()

    @property
    def spool_dir(self) -> Path:
        """The spool's folder."""
        return self.spool.dir or self.state_dir / "spool"

    @property
    def key_file(self) -> Path:
        """Where the signing key is."""
        return self.signing_key_file or self.state_dir / "signing.key"


def load(env_file: Path | None) -> Settings:
    """Read the settings: the process environment first, then the env file.

    Args:
        env_file: None for the environment alone.

    Raises:
        ConfigError: something is wrong; tells every finding, one a line.
    """
    findings: list[Finding] = []
    given: dict[str, str] = {}
    if env_file is not None:
        given, findings = read_keys(env_file)
        if not given and findings:
            env_file = None
    known = {PREFIX + key for key in known_keys(Settings)}
    findings += unknown_keys(str(env_file), given, known)
    # In upper case: pydantic-settings would take retuned_... too.
    surroundings = [key for key in os.environ if key.upper().startswith(PREFIX)]
    findings += unknown_keys(ENVIRONMENT, surroundings, known)
    settings = None
    try:
        settings = Settings(**_from_file(env_file))
    except ValidationError as error:
        findings += [_placed(f, given, env_file) for f in invalid("", error, PREFIX)]
    except SettingsError as error:
        findings.append(Finding(str(env_file or ENVIRONMENT), "", str(error)))
    if settings is None or findings:
        raise ConfigError("\n".join(finding.text for finding in findings))
    return settings


def _from_file(env_file: Path | None) -> dict[str, Any]:
    # As a dict, because type checkers do not see this argument of pydantic-settings.
    return {"_env_file": env_file}


def _placed(finding: Finding, given: Mapping[str, str], env_file: Path | None) -> Finding:
    """Say whether the environment or the file holds what is wrong."""
    is_environment = finding.key in os.environ or finding.key not in given
    return replace(finding, where=ENVIRONMENT if is_environment else str(env_file))
