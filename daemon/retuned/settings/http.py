"""The HTTP endpoint: where it listens, and what it takes."""

from __future__ import annotations

import ipaddress
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_settings import NoDecode

_LARGEST_PORT = 65535


class HttpSettings(BaseModel):
    """The HTTP endpoint."""

    model_config = ConfigDict(frozen=True, extra="forbid")
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
        if not isinstance(value, str):
            return value
        return tuple(part.strip() for part in value.split(",") if part.strip())

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
