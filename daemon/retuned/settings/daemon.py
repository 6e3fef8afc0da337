"""The daemon's own settings: ``RETUNED_...`` in an env file and in the process environment."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError

from retuned.errors import ConfigError
from retuned.settings.envfile import Finding, invalid, known_keys, read_keys, unknown_keys

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = "RETUNED_"
ENVIRONMENT = "environment"
_FROZEN = ConfigDict(frozen=True, extra="forbid")
_LARGEST_PORT = 65535


class ServerSettings(BaseModel):
    """A Redis server, and who we are to it."""

    model_config = _FROZEN
    prefix: ClassVar[str]
    url: str
    username: str = Field(default="", description="ACL user; empty: the default user")
    password_file: Path | None = Field(default=None, description="file that holds the password")
    tls_ca_file: Path | None = Field(
        default=None, description="CA certificates that the server's own is checked with"
    )

    @field_validator("url", check_fields=False)
    @classmethod
    def _known_scheme(cls, value: str) -> str:
        if value and not value.startswith(("redis://", "rediss://", "unix://")):
            # Not the value itself: it may hold a password.
            message = "is no address of a Redis: expected redis://host:port/db, "
            message += "rediss://host:port/db or unix:///path"
            raise ValueError(message)
        return value

    @field_validator("username", "password_file", "tls_ca_file")
    @classmethod
    def _belongs_to_url(cls, value: object, info: ValidationInfo) -> object:
        url = info.data.get("url")
        if value and url == "":
            message = f"is of no use without {cls.prefix}URL: set both or neither"
            raise ValueError(message)
        if value and url and info.field_name == "tls_ca_file" and not url.startswith("rediss://"):
            message = f"needs TLS: let {cls.prefix}URL begin with rediss://"
            raise ValueError(message)
        return value


class RedisSettings(ServerSettings):
    """Where the registry is; without a URL the daemon runs a private server of its own."""

    prefix: ClassVar[str] = "RETUNED_REDIS__"
    url: str = Field(
        default="",
        description="redis://, rediss:// (TLS) or unix:// address of a server; empty: the daemon "
        "supervises a private, durable one",
    )


class StreamSettings(ServerSettings):
    """Where streams of rows and labels are; without a URL none is read."""

    prefix: ClassVar[str] = "RETUNED_STREAM__"
    url: str = Field(
        default="",
        description="redis://, rediss:// (TLS) or unix:// address of the server with the streams, "
        "which may be the registry's; empty: no stream is read",
    )
    keep_s: float = Field(
        default=0.0,
        ge=0.0,
        allow_inf_nan=False,
        description="seconds that entries stay in their stream once they were taken",
    )


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


class HttpSettings(BaseModel):
    """The HTTP endpoint."""

    model_config = _FROZEN
    listen: str = Field(
        default="127.0.0.1:8420",
        description="loopback address and port, or unix:/path; other addresses are refused, "
        "because there is no access control yet",
    )
    url: str = Field(
        default="",
        description="where other daemons' clients reach this one, told to those who post to a "
        "standby; empty: the address that it listens on",
    )
    hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="further names that the Host header may have, comma separated"
    )
    max_body_mb: int = Field(
        default=64,
        ge=1,
        le=1024,
        description="largest request body that has to be in memory as a whole, unpacked, megabytes",
    )
    max_upload_mb: int = Field(
        default=4096,
        ge=1,
        le=1_000_000,
        description="largest body of rows or labels that is read in pieces, unpacked, megabytes",
    )

    @field_validator("url")
    @classmethod
    def _reachable(cls, value: str) -> str:
        if value and not value.startswith(("http://", "https://", "unix:/")):
            message = f"{value!r} is no address: expected http://host:port, https:// or unix:/path"
            raise ValueError(message)
        return value.rstrip("/")

    @property
    def shown_url(self) -> str:
        """Where clients reach this daemon."""
        is_unix = self.listen.startswith("unix:")
        return self.url or (self.listen if is_unix else f"http://{self.listen}")

    @field_validator("hosts", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return _parts(value)

    @field_validator("hosts")
    @classmethod
    def _lower(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        # Names of hosts are the same in any case; the guard compares in lower case.
        return tuple(name.lower() for name in value)

    @field_validator("listen")
    @classmethod
    def _local(cls, value: str) -> str:
        if value.startswith("unix:/"):
            return value
        host, _, port = value.rpartition(":")
        problem = f"{value!r} is no address to listen on: expected 127.0.0.1:8420 or unix:/path"
        if not port.isdigit() or not 0 <= int(port) <= _LARGEST_PORT:
            raise ValueError(problem)
        try:
            is_local = host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
        except ValueError:
            raise ValueError(problem) from None
        if not is_local:
            message = (
                f"{value!r} can be reached from other machines, and there is no access control "
                "yet: use 127.0.0.1:port, [::1]:port or unix:/path, behind a proxy if need be"
            )
            raise ValueError(message)
        return value


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


def _parts(value: object) -> object:
    """Split what commas separate."""
    if not isinstance(value, str):
        return value
    return tuple(part.strip() for part in value.split(",") if part.strip())
