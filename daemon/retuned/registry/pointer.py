"""The champion pointer: what it says, and which of two came last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from retuned.registry.signing import Forged
from retuned_pipelines.version import Revision, Version

if TYPE_CHECKING:
    from retuned.registry.signing import SigningKey

CHAMPION = "champion"
"""What the pointer is sealed as; see `SigningKey.seal`."""


class Stale(Forged):
    """A pointer that was right once: a newer one has been seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowned:
    """What is champion.

    Attributes:
        version: what was accepted.
        revision: what answers requests.
        epoch: counts the changes of the champion; never goes back.
        predecessor: name (``n.r``) of the last champion of another version; "" for none.
    """

    version: Version
    revision: Revision
    epoch: int
    predecessor: str = ""

    @property
    def predecessor_version(self) -> int:
        """Number of the predecessor's version; 0 for none."""
        return int(self.predecessor.partition(".")[0] or 0)


def canonical(value: object) -> bytes:
    """JSON that is the same for the same value, whatever the order of its keys; one line."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def pointer_text(crowned: Crowned) -> bytes:
    """What is signed: model, epoch, version, revision, their manifests, the artifacts' digests."""
    return canonical(
        {
            "model": crowned.version.model,
            "epoch": crowned.epoch,
            "predecessor": crowned.predecessor,
            "version": crowned.version.to_json(),
            "revision": crowned.revision.to_json(),
        }
    )


def read_pointer(model: str, sealed: bytes, key: SigningKey) -> Crowned:
    """Verify a pointer, and only then read it.

    Raises:
        Forged: its signature does not fit, or it is that of another model.
    """
    try:
        value: Any = orjson.loads(key.unsealed(CHAMPION, sealed))
    except Forged as error:
        message = f"the registry's champion of {model} is refused: {error}"
        raise type(error)(message) from error
    if value["model"] != model:
        message = f"the registry's champion of {model} is one of {value['model']}"
        raise Forged(message)
    return Crowned(
        version=Version.from_json(value["version"]),
        revision=Revision.from_json(value["revision"]),
        epoch=value["epoch"],
        predecessor=value["predecessor"],
    )


def check_order(model: str, sealed: bytes, epoch: int, seen: bytes | None) -> None:
    """Check a verified pointer against the newest that was seen before it was read.

    Raises:
        Stale: it is older.
        Forged: it is another one of the same epoch.
    """
    newest = 0 if seen is None else epoch_of(seen)
    if epoch < newest:
        message = (
            f"the registry's champion of {model} is refused: it is an older one (epoch {epoch}; "
            f"{newest} was seen). It was put back, or Redis has lost what came since"
        )
        raise Stale(message)
    if seen is not None and epoch == newest and _text(sealed) != _text(seen):
        message = (
            f"the registry's champion of {model} is refused: another one of the same epoch "
            f"({epoch}) was seen. Two daemons changed it on two copies of the registry"
        )
        raise Forged(message)


def epoch_of(sealed: bytes) -> int:
    """The epoch of a sealed pointer that is trusted."""
    return int(orjson.loads(_text(sealed))["epoch"])


def _text(sealed: bytes) -> bytes:
    return sealed.partition(b"\n")[2]
