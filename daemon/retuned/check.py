"""``retuned check``: everything that can be wrong before the daemon is started."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

from retuned.errors import ConfigError, RetunedError
from retuned.registry.connect import connect, ping, translated
from retuned.registry.server import EmbeddedRedis, find_binary
from retuned.settings import load, load_models

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from retuned.settings import ServerSettings, Settings

LEAST_MB = 1000
"""Free disk space below which the check fails."""


def check(env_file: Path | None, tell: Callable[[str], object]) -> bool:
    """Check settings, model files, Redis, state directory and disk.

    Args:
        env_file: the daemon's settings; None for the environment alone.
        tell: is given each line.

    Returns:
        Whether everything is fine.
    """
    try:
        settings = load(env_file)
    except ConfigError as error:
        for line in str(error).splitlines():
            tell(f"WRONG  {line}")
        return False
    tell(f"ok     settings: {env_file or 'environment alone'}")
    is_fine = True
    for is_ok, line in _findings(settings):
        tell(f"{'ok   ' if is_ok else 'WRONG'}  {line}")
        is_fine = is_fine and is_ok
    return is_fine


def _findings(settings: Settings) -> Iterator[tuple[bool, str]]:
    loaded = load_models(settings.models_dir)
    for finding in loaded.findings:
        yield False, finding.text
    for name, spec in loaded.specs.items():
        yield True, f"model {name}: {spec.task.value} of {spec.target}, metric {spec.metric}"
    if not loaded.specs and not loaded.findings:
        yield False, f"{settings.models_dir}: no model file; put <name>.env there"
    yield from _state(settings.state_dir)
    if settings.redis.url:
        yield from _server(settings.redis, "Redis")
    else:
        yield _private(settings.state_dir)
    private = (settings.state_dir / "redis" / "redis.sock").absolute()
    if settings.stream.url and settings.stream.url != f"unix://{private}":
        yield from _server(settings.stream, "Redis of the streams")
    if settings.spool.every_s and settings.spool.dir is not None:
        yield _spool(settings.spool.dir)


def _spool(directory: Path) -> tuple[bool, str]:
    # Not Path.is_dir, which raises where this user may not look.
    if not os.path.isdir(directory):  # noqa: PTH112
        return (
            False,
            f"RETUNED_SPOOL__DIR={directory} is not there: make it, for this user to write",
        )
    if not os.access(directory, os.W_OK | os.X_OK):
        told = "may not be written: give this user the right to"
        return False, f"RETUNED_SPOOL__DIR={directory} {told}"
    return True, f"spool: {directory}"


def _state(directory: Path) -> Iterator[tuple[bool, str]]:
    existing = directory.absolute()
    # Not Path.exists, which raises where this user may not look.
    while not os.path.exists(existing):  # noqa: PTH110
        existing = existing.parent
    is_there = existing == directory.absolute()
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        what = "may not be written" if is_there else "cannot be made"
        yield False, f"RETUNED_STATE_DIR={directory} {what}: give this user the right to {existing}"
        return
    yield True, f"state directory: {directory}" + ("" if is_there else " (made at the first start)")
    if is_there and directory.stat().st_mode & 0o077:
        yield False, f"{directory} is open to other users: run chmod 700 {directory}"
    free_mb = shutil.disk_usage(existing).free // 1_000_000
    told = f"disk: {free_mb:,} MB free at {existing}"
    if free_mb < LEAST_MB:
        yield False, f"{told}; rows and models need room, free at least {LEAST_MB:,} MB"
    else:
        yield True, told


def _private(state_dir: Path) -> tuple[bool, str]:
    try:
        EmbeddedRedis(state_dir / "redis")
        binary = find_binary()
    except ConfigError as error:
        return False, str(error)
    return True, f"Redis: a private one ({binary}); RETUNED_REDIS__URL is not set"


def _server(server: ServerSettings, name: str) -> Iterator[tuple[bool, str]]:
    try:
        client = connect(server)
        version = ping(client, prefix=server.prefix)
        with translated(prefix=server.prefix):
            # Not CONFIG GET, which hosted servers refuse.
            memory: Any = client.info("memory")
            durable: Any = client.info("persistence")
    except RetunedError as error:
        yield False, f"{server.prefix}URL: {error}"
        return
    yield True, f"{name} {version} answers"
    policy = memory.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        yield (
            False,
            (
                f"{name} may throw away what it holds (maxmemory-policy {policy}): "
                "set maxmemory-policy noeviction"
            ),
        )
    if not durable.get("aof_enabled"):
        yield False, f"{name} does not write what it promises to disk: set appendonly yes"
