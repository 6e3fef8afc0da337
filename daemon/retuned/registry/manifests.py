"""Sealed manifests of versions and revisions: verified, mended, sealed again."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import orjson

from retuned.registry import keys
from retuned.registry.connect import translated
from retuned.registry.pointer import canonical
from retuned.registry.signing import Forged, UnknownKey
from retuned_pipelines.version import Revision, Version

if TYPE_CHECKING:
    from collections.abc import Mapping

    from redis import Redis

    from retuned.registry.signing import SigningKey

VERSION, REVISION = "version", "revision"

TEXT = """
local function text(sealed) return sealed and string.match(sealed, '\\n(.*)') end
"""
"""A part of scripts: `text` is what was sealed, nil for nothing."""
"""What manifests are sealed as; see `SigningKey.seal`. They are remembered by these names too."""

_log = logging.getLogger(__name__)


def sealed_version(version: Version, key: SigningKey) -> bytes:
    """A version's manifest as it is stored."""
    return key.seal(VERSION, canonical(version.to_json()))


def sealed_revision(revision: Revision, key: SigningKey) -> bytes:
    """A revision's manifest as it is stored."""
    return key.seal(REVISION, canonical(revision.to_json()))


def remembered(version: Version, revision: Revision, key: SigningKey) -> dict[str, bytes]:
    """Both by the names under which they are remembered."""
    return {
        f"{VERSION}:{version.number}": sealed_version(version, key),
        f"{REVISION}:{revision.name}": sealed_revision(revision, key),
    }


def read_version(model: str, number: int, sealed: bytes, key: SigningKey) -> Version:
    """Verify a version's manifest, and only then read it.

    Raises:
        Forged: its signature does not fit, or it is that of another model or number.
    """
    version = Version.from_json(_opened(f"version {number} of {model}", VERSION, sealed, key))
    if (version.model, version.number) != (model, number):
        message = (
            f"the registry's version {number} of {model} is version {version.number} of "
            f"{version.model}: it was moved"
        )
        raise Forged(message)
    return version


def read_revision(model: str, name: str, sealed: bytes, key: SigningKey) -> Revision:
    """Verify a revision's manifest, and only then read it; errors as for `read_version`."""
    revision = Revision.from_json(_opened(f"revision {name} of {model}", REVISION, sealed, key))
    if (revision.model, revision.name) != (model, name):
        message = (
            f"the registry's revision {name} of {model} is {revision.name} of {revision.model}: "
            "it was moved"
        )
        raise Forged(message)
    return revision


def versions(redis: Redis, model: str, key: SigningKey) -> tuple[Version, ...]:
    """The versions that verify, by number; of the others the log tells.

    Raises:
        TransientError: Redis is away.
    """
    found: list[Version] = []
    for number, sealed in stored(redis, keys.versions(model)).items():
        try:
            found.append(read_version(model, number, sealed, key))
        except Forged as error:
            _tell(model, error)
    return tuple(sorted(found, key=lambda version: version.number))


def revisions(redis: Redis, model: str, version: int, key: SigningKey) -> tuple[Revision, ...]:
    """The revisions of a version that verify, by number; as `versions`."""
    found: list[Revision] = []
    for number, sealed in stored(redis, keys.revisions(model, version)).items():
        try:
            found.append(read_revision(model, f"{version}.{number}", sealed, key))
        except Forged as error:
            _tell(model, error)
    return tuple(sorted(found, key=lambda revision: revision.number))


def newest_revision(redis: Redis, model: str, version: int, key: SigningKey) -> Revision | None:
    """The newest revision of a version; None where there is none that verifies.

    Raises:
        TransientError: Redis is away.
    """
    with translated():
        fields: Any = redis.hkeys(keys.revisions(model, version))
    numbers = [int(field) for field in fields if field.isdigit()]
    return one_revision(redis, model, f"{version}.{max(numbers, default=0)}", key)


def one_revision(redis: Redis, model: str, name: str, key: SigningKey) -> Revision | None:
    """A revision by its name (``n.r``); None where there is none that verifies."""
    version, _, number = name.partition(".")
    with translated():
        sealed: Any = redis.hget(keys.revisions(model, int(version)), number)
    try:
        return None if sealed is None else read_revision(model, name, sealed, key)
    except Forged as error:
        _tell(model, error)
        return None


class Ledger:
    """All manifests of a model: what the registry holds beside what is remembered of it."""

    def __init__(
        self, redis: Redis, model: str, key: SigningKey, known: Mapping[str, bytes]
    ) -> None:
        """Take what is remembered, by `remembered`'s names."""
        self._redis = redis
        self._model = model
        self._key = key
        self._known = known
        self.wrong: list[tuple[str, bool]] = []
        self.learned: dict[str, bytes] = {}
        self.lost = 0

    def mend(self) -> None:
        """Put back what was changed or lost, learn what is new, and seal with the newest key.

        Afterwards `wrong` tells what was refused and whether it was put back, `lost` counts what
        was not there and was put back, and `learned` is to be remembered.

        Raises:
            TransientError: Redis is away; it can be mended again.
        """
        numbers = self._mend(VERSION, keys.versions(self._model), "")
        for number in sorted(numbers):
            self._mend(REVISION, keys.revisions(self._model, number), f"{number}.")

    def _mend(self, kind: str, place: str, prefix: str) -> set[int]:
        held = stored(self._redis, place)
        start = f"{kind}:{prefix}"
        known = {int(name[len(start) :]) for name in self._known if name.startswith(start)}
        numbers = held.keys() | known
        put: dict[Any, Any] = {}
        for number in numbers:
            better = self._better(kind, f"{prefix}{number}", held.get(number))
            if better is not None:
                put[number] = better
        if put:
            with translated():
                self._redis.hset(place, mapping=put)
        return numbers

    def _better(self, kind: str, name: str, sealed: bytes | None) -> bytes | None:
        """What ought to stand there instead; None where it is right, or nobody knows better."""
        known = self._known.get(f"{kind}:{name}")
        if sealed is not None:
            try:
                return self._sealed_anew(kind, name, sealed)
            except UnknownKey as error:
                # Perhaps another daemon's, whose key this one has not got: left as it is.
                self.wrong.append((str(error), False))
                return None
            except Forged as error:
                self.wrong.append((str(error), known is not None))
        elif known is not None:
            self.lost += 1
        return None if known is None else self._key.seal(kind, known.partition(b"\n")[2])

    def _sealed_anew(self, kind: str, name: str, sealed: bytes) -> bytes | None:
        """What verifies, sealed with the newest key; None where it is already."""
        text = self._text(kind, name, sealed)
        is_newest = self._key.is_newest(sealed)
        newest = sealed if is_newest else self._key.seal(kind, text)
        if self._known.get(f"{kind}:{name}") != newest:
            self.learned[f"{kind}:{name}"] = newest
        return None if is_newest else newest

    def _text(self, kind: str, name: str, sealed: bytes) -> bytes:
        if kind == VERSION:
            read_version(self._model, int(name), sealed, self._key)
        else:
            read_revision(self._model, name, sealed, self._key)
        return sealed.partition(b"\n")[2]


def stored(redis: Redis, place: str) -> dict[int, bytes]:
    """Sealed manifests of a hash by number; a field that is no number is nobody's.

    Raises:
        TransientError: Redis is away.
    """
    with translated():
        found: Any = redis.hgetall(place)
    return {int(name): sealed for name, sealed in sorted(found.items()) if name.isdigit()}


def _opened(what: str, kind: str, sealed: bytes, key: SigningKey) -> dict[str, Any]:
    try:
        value: dict[str, Any] = orjson.loads(key.unsealed(kind, sealed))
    except Forged as error:
        message = f"the registry's {what} is refused: {error}"
        raise type(error)(message) from error
    return value


def _tell(model: str, error: Exception) -> None:
    _log.error("%s", error, extra={"action": "manifest_refused", "model": model})
