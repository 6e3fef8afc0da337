"""Redis servers: where they are, and who we are to them."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 (pydantic looks it up)
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

_FROZEN = ConfigDict(frozen=True, extra="forbid")


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
