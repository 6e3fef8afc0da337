"""Whether all that the registry holds of a model verifies."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from retuned.errors import PermanentError, TransientError
from retuned.registry import artifacts, keys
from retuned.registry.connect import translated
from retuned.registry.manifests import read_revision, read_version, stored
from retuned.registry.pointer import read_pointer
from retuned.registry.signing import Forged

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis import Redis

    from retuned.registry.signing import SigningKey


@dataclass(slots=True)
class Inspection:
    """What was found.

    Attributes:
        champion: its name; "" for none that verifies.
        manifests: how many verify.
        older: seals of keys that were succeeded.
        wrong: what does not verify, and why.
    """

    champion: str = ""
    manifests: int = 0
    older: int = 0
    wrong: list[str] = field(default_factory=list)

    def verify(self, key: SigningKey, sealed: bytes, read: Callable[[], object]) -> None:
        """Count a manifest that verifies, or note why it does not."""
        try:
            read()
        except Forged as error:
            self.wrong.append(str(error))
            return
        self.manifests += 1
        self.older += not key.is_newest(sealed)


def inspected(redis: Redis, model: str, key: SigningKey) -> Inspection:
    """Verify pointer, manifests and artifacts; nothing is changed.

    Whether a newer pointer was seen before is for the daemon to know.

    Raises:
        TransientError: Redis is away.
        PermanentError: it refuses us.
    """
    found = Inspection()
    _inspect_pointer(redis, model, key, found)
    versions = stored(redis, keys.versions(model))
    for number, sealed in versions.items():
        found.verify(key, sealed, partial(read_version, model, number, sealed, key))
        for name, one in stored(redis, keys.revisions(model, number)).items():
            found.verify(key, one, partial(read_revision, model, f"{number}.{name}", one, key))
    with translated():
        names: Any = redis.smembers(keys.artifacts(model))
    for name in sorted(names):
        try:
            artifacts.read(redis, model, name.decode(errors="replace"))
        except TransientError:
            raise
        except PermanentError as error:
            found.wrong.append(str(error))
    return found


def _inspect_pointer(redis: Redis, model: str, key: SigningKey, found: Inspection) -> None:
    with translated():
        sealed: Any = redis.get(keys.champion(model))
    if sealed is None:
        return
    try:
        found.champion = read_pointer(model, sealed, key).revision.name
    except Forged as error:
        found.wrong.append(str(error))
    else:
        found.older += not key.is_newest(sealed)
