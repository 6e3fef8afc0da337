"""``retuned check``: everything that can be wrong before the daemon is started."""

from __future__ import annotations

import os
import shutil
from contextlib import closing, nullcontext
from typing import TYPE_CHECKING, Any

from retuned.errors import ConfigError, RetunedError, TransientError
from retuned.registry.connect import connect, ping, translated
from retuned.registry.history.archive import looked_at
from retuned.registry.history.chain import BEGINNING
from retuned.registry.history.stream import verified
from retuned.registry.inspection import inspected
from retuned.registry.server import EmbeddedRedis, find_binary
from retuned.registry.signing import SigningKey
from retuned.settings import load, load_models

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from redis import Redis

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
    key, findings = _key(settings.key_file)
    yield from findings
    if settings.redis.url:
        yield from _server(settings.redis, "Redis")
    else:
        yield _private(settings.state_dir)
    if key is not None:
        yield from _registry(settings, key, sorted(loaded.specs))
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


def _key(path: Path) -> tuple[SigningKey | None, list[tuple[bool, str]]]:
    # Not Path.exists, see `_state`.
    if not os.path.exists(path):  # noqa: PTH110
        return None, [(True, f"signing key: {path} (made at the first start)")]
    try:
        key = SigningKey.load(path)
    except ConfigError as error:
        return None, [(False, str(error))]
    older = f", {len(key.older)} older still verify" if key.older else ""
    return key, [(True, f"signing key: {key.id} of {path}{older}")]


def _registry(
    settings: Settings, key: SigningKey, models: Sequence[str]
) -> Iterator[tuple[bool, str]]:
    """What the registry holds, where it can be read: of a private one while the daemon runs."""
    source = settings.redis if settings.redis.url else EmbeddedRedis(settings.state_dir / "redis")
    client = connect(source.socket if isinstance(source, EmbeddedRedis) else source)
    path, is_away = settings.state_dir / "journal.sqlite", False
    with closing(client):
        for model in models:
            try:
                if not is_away:
                    yield from _content(client, model, key)
            except TransientError:
                # Told already, or the private one, which ends with its daemon.
                is_away = True
            except RetunedError as error:
                yield False, str(error)
                continue
            try:
                yield from _history(None if is_away else client, path, model, key)
            except RetunedError as error:
                yield False, str(error)


def _content(client: Redis, model: str, key: SigningKey) -> Iterator[tuple[bool, str]]:
    found = inspected(client, model, key)
    yield from ((False, wrong) for wrong in found.wrong)
    if found.older:
        told = f"{found.older} seals of {model} are of an older key"
        yield True, f"registry: {told}; a restarted daemon makes them anew"
    if found.champion:
        yield True, f"registry: {found.champion} of {model}, {found.manifests} manifests"


def _history(
    client: Redis | None, path: Path, model: str, key: SigningKey
) -> Iterator[tuple[bool, str]]:
    """Whether the chain of events verifies: that in the registry, else the journal's copy."""
    # Not Path.exists, see `_state`.
    with looked_at(path) if os.path.exists(path) else nullcontext() as archive:  # noqa: PTH110
        remembered = BEGINNING if archive is None else archive.head(model)
        if client is not None:
            reading = verified(client, model, key, remembered)
        elif archive is not None:
            reading = archive.verified(model, key)
        else:
            return
    where = f"history: {model}" + ", the local journal's copy" * (client is None)
    yield from ((False, f"{where}: {finding}") for finding in reading.findings)
    if reading.entries and not reading.findings:
        away = "; Redis is away, what it holds was not checked" * (client is None)
        yield (
            True,
            f"{where}: {reading.entries} events verify, to number {reading.last.number}{away}",
        )
    if reading.entries and not key.is_newest(reading.last.signature.encode()):
        yield True, f"{where}: its end is signed with an older key; a restarted daemon signs on"


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
