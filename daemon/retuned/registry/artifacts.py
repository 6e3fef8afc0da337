"""Artifacts in Redis: by their SHA-256, in chunks, the description last."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from retuned.errors import PermanentError, TransientError
from retuned.registry import keys
from retuned.registry.connect import translated
from retuned.registry.lease.fencing import FENCED, REFUSED, refusal
from retuned.registry.signing import Forged

if TYPE_CHECKING:
    from collections.abc import Collection

    from redis import Redis

CHUNK_BYTES = 4_000_000
"""Redis breaks the connection at values over 512 MB; small ones keep others from waiting."""

REMOVE = (
    FENCED
    + """
redis.call('SREM', KEYS[1], ARGV[1])
for number = 2, #KEYS - 1 do redis.call('DEL', KEYS[number]) end
return 1
"""
)
"""KEYS: artifacts, then the artifact and its chunks; last the fence. ARGV: digest, token."""

_DIGITS = 6


def store(redis: Redis, model: str, sha256: str, data: bytes, *, is_checked: bool = False) -> None:
    """Store an artifact; one that is there already is left alone.

    Args:
        redis: the client.
        model: the model's name.
        sha256: digest of the data.
        data: the artifact.
        is_checked: read one that is there, and replace it unless it is whole.

    Raises:
        Forged: the digest is not that of the data.
        TransientError: Redis is away; it can be stored again.
    """
    _check(sha256, data)
    with translated():
        if redis.exists(keys.artifact(model, sha256)) and not (
            is_checked and not _is_whole(redis, model, sha256)
        ):
            return
        # Listed before it is written, so that nothing is kept that nobody knows of.
        redis.sadd(keys.artifacts(model), sha256)
        parts = range(0, max(len(data), 1), CHUNK_BYTES)
        for number, start in enumerate(parts):
            redis.set(keys.chunk(model, sha256, number), data[start : start + CHUNK_BYTES])
        about: dict[Any, Any] = {"chunks": len(parts), "bytes": len(data)}
        redis.hset(keys.artifact(model, sha256), mapping=about)


def read(redis: Redis, model: str, sha256: str) -> bytes:
    """Read an artifact.

    Raises:
        PermanentError: it is not there, or not whole.
        Forged: it was changed.
        TransientError: Redis is away.
    """
    parts: list[bytes] = []
    with translated():
        about: Any = redis.hgetall(keys.artifact(model, sha256))
        # A count that was tampered with ends at the first chunk that is not there.
        while about and str(len(parts)).encode() != about.get(b"chunks"):
            part: Any = redis.get(keys.chunk(model, sha256, len(parts)))
            if part is None:
                parts.clear()
                break
            parts.append(part)
    if not parts:
        message = f"the registry has lost artifact {sha256[:12]} of {model}: refit the model"
        raise PermanentError(message)
    data = b"".join(parts)
    _check(sha256, data)
    return data


def are_kept(redis: Redis, model: str, names: Collection[str]) -> bool:
    """Whether all artifacts of those names are there.

    Raises:
        TransientError: Redis is away.
    """
    with translated():
        return all(redis.exists(keys.artifact(model, name)) for name in sorted(names))


def prune(redis: Redis, model: str, keep: Collection[str], token: str = "") -> None:
    """Remove every artifact but those named.

    Args:
        redis: the client.
        model: the model's name.
        keep: the digests of those that stay.
        token: of the lease that was held before it was known which those are.

    Raises:
        Fenced: another daemon takes care of the model, and may need what is removed here.
        TransientError: Redis is away; it can be pruned again.
    """
    remove = redis.register_script(REMOVE)
    with translated():
        found: Any = redis.smembers(keys.artifacts(model))
        for name in sorted({member.decode() for member in found} - set(keep)):
            about: Any = redis.hget(keys.artifact(model, name), "chunks")
            # A count that was tampered with must not keep us busy, nor stop us.
            chunks = int(about) if about and about.isdigit() and len(about) < _DIGITS else 0
            parts = [keys.chunk(model, name, number) for number in range(chunks)]
            named = [keys.artifacts(model), keys.artifact(model, name), *parts, keys.fence(model)]
            if remove(keys=named, args=[name, token]) == REFUSED:
                raise refusal(redis, model)


def _is_whole(redis: Redis, model: str, sha256: str) -> bool:
    try:
        read(redis, model, sha256)
    except TransientError:
        raise
    except PermanentError:
        return False
    return True


def _check(sha256: str, data: bytes) -> None:
    if hashlib.sha256(data).hexdigest() != sha256:
        message = f"artifact {sha256[:12]} is not what its digest says: it was changed"
        raise Forged(message)
